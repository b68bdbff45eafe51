//! `deploy/prometheus` and `deploy/grafana` against the code: every query is PromQL about metrics and labels that there are,
//! and the rules say what the alerts in a chat say.

use std::collections::BTreeSet;
use std::time::Duration;

use promql_parser::label::Matchers;
use promql_parser::parser::{self, Expr, LabelModifier};
use promql_parser::util::{ExprVisitor, walk_expr};
use reelcoach::core::alerts::{LONG_OUTAGE, RULES, Side};
use reelcoach::core::money::TOLD_AT;
use reelcoach::telemetry::{Kind, METRICS};
use serde_json::Value;

const PROMETHEUS: &str = include_str!("../../deploy/prometheus/rules.yml");
const BOARD: &str = include_str!("../../deploy/grafana/reelcoach.json");

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}"))
}

/// What Grafana puts in place of its variables.
fn query(text: &str) -> Expr {
    let text = text.replace("$__rate_interval", "1m").replace("$instance", ".*");
    parser::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Metrics and labels of a query.
#[derive(Default)]
struct Names {
    metrics: BTreeSet<String>,
    /// Labels that are matched, with the metric.
    matched: Vec<(String, String)>,
    /// Labels that are grouped by.
    grouped: BTreeSet<String>,
}

impl Names {
    fn of(query: &Expr) -> Names {
        let mut names = Names::default();
        walk_expr(&mut names, query).unwrap();
        names
    }

    fn select(&mut self, name: Option<&String>, matchers: &Matchers) {
        let name = name.expect("a metric is named").clone();
        self.matched.extend(matchers.matchers.iter().map(|matcher| (name.clone(), matcher.name.clone())));
        self.metrics.insert(name);
    }

    /// What is wrong with them.
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut known: BTreeSet<&str> = ["instance", "job"].into();
        for name in &self.metrics {
            match labels(name) {
                Some(labels) => known.extend(labels),
                None => faults.push(format!("there is no metric {name}")),
            }
        }
        for (metric, label) in &self.matched {
            let has = |labels: Vec<&str>| labels.contains(&label.as_str());
            if !["instance", "job"].contains(&label.as_str()) && !labels(metric).is_some_and(has) {
                faults.push(format!("{metric} has no label {label}"));
            }
        }
        faults.extend(
            self.grouped
                .iter()
                .filter(|label| !known.contains(label.as_str()))
                .map(|label| format!("nothing has a label {label}")),
        );
        faults
    }
}

impl ExprVisitor for Names {
    type Error = std::convert::Infallible;

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, Self::Error> {
        match expr {
            Expr::VectorSelector(selector) => self.select(selector.name.as_ref(), &selector.matchers),
            Expr::MatrixSelector(selector) => self.select(selector.vs.name.as_ref(), &selector.vs.matchers),
            Expr::Aggregate(aggregate) => {
                if let Some(LabelModifier::Include(by) | LabelModifier::Exclude(by)) = &aggregate.modifier {
                    self.grouped.extend(by.labels.iter().cloned());
                }
            }
            _ => {}
        }
        Ok(true)
    }
}

/// The labels of a metric, if there is such a one; that of Prometheus itself for each scrape among them.
fn labels(name: &str) -> Option<Vec<&'static str>> {
    if name == "up" {
        return Some(Vec::new());
    }
    let metric = METRICS.iter().find(|metric| match metric.kind {
        Kind::Histogram => {
            name.strip_prefix(metric.name).is_some_and(|part| ["_bucket", "_sum", "_count"].contains(&part))
        }
        Kind::Counter | Kind::Gauge => metric.name == name,
    })?;
    let mut labels = metric.labels.to_vec();
    if name.ends_with("_bucket") {
        labels.push("le");
    }
    Some(labels)
}

/// The comparison with a number that makes a query an alert.
fn threshold(query: &Expr) -> Option<(Side, f64)> {
    match query {
        Expr::Paren(inner) => threshold(&inner.expr),
        Expr::Binary(binary) => match (binary.op.to_string().as_str(), &*binary.rhs) {
            (">" | ">=", Expr::NumberLiteral(number)) => Some((Side::Above, number.val)),
            ("<" | "<=", Expr::NumberLiteral(number)) => Some((Side::Below, number.val)),
            _ => threshold(&binary.lhs),
        },
        _ => None,
    }
}

struct Alert {
    name: String,
    /// The name of the rule in the code.
    rule: String,
    query: Expr,
    lasts: Duration,
}

fn alerts() -> Vec<Alert> {
    let mut alerts = Vec::new();
    for group in yaml(PROMETHEUS)["groups"].as_array().unwrap() {
        for alert in group["rules"].as_array().unwrap() {
            let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{alert:#}")).to_owned();
            let lasts = match alert["for"].as_str() {
                None => Duration::ZERO,
                Some(span) => {
                    let (number, unit) = span.split_at(span.len() - 1);
                    Duration::from_secs(number.parse::<u64>().unwrap() * if unit == "m" { 60 } else { 1 })
                }
            };
            for words in ["summary", "description"] {
                assert!(!text(&alert["annotations"][words]).is_empty());
            }
            let severity = text(&alert["labels"]["severity"]);
            assert!(["info", "warning", "critical"].contains(&severity.as_str()), "{severity}");
            let (name, rule) = (text(&alert["alert"]), text(&alert["labels"]["rule"]));
            alerts.push(Alert { name, rule, query: query(&text(&alert["expr"])), lasts });
        }
    }
    alerts
}

#[test]
fn the_prometheus_rules_are_the_alerts_of_the_chat() {
    let alerts = alerts();
    for rule in RULES {
        let of_rule: Vec<&Alert> = alerts.iter().filter(|alert| alert.rule == rule.name).collect();
        let [alert] = of_rule[..] else { panic!("{} alerts are labelled rule: {}", of_rule.len(), rule.name) };
        assert_eq!(threshold(&alert.query), Some((rule.side, rule.threshold)), "{}", rule.name);
        assert_eq!(alert.lasts, rule.raise_after, "{}", rule.name);
    }
    let mut marks: Vec<f64> = alerts
        .iter()
        .filter(|alert| alert.rule == "budget")
        .map(|alert| threshold(&alert.query).unwrap().1 * 100.0)
        .collect();
    marks.sort_by(f64::total_cmp);
    let mut told = TOLD_AT.map(|percent| percent as f64);
    told.sort_by(f64::total_cmp);
    assert_eq!(marks, told);
    let outage = alerts.iter().find(|alert| alert.rule == "database").unwrap();
    assert_eq!(outage.lasts, LONG_OUTAGE);
    // What the bot cannot say of itself.
    let own = ["budget", "database", "down", "role"];
    for alert in &alerts {
        assert!(
            own.contains(&alert.rule.as_str()) || RULES.iter().any(|rule| rule.name == alert.rule),
            "{}",
            alert.name
        );
    }
    let names: BTreeSet<&str> = alerts.iter().map(|alert| alert.name.as_str()).collect();
    assert_eq!(names.len(), alerts.len());
}

#[test]
fn every_query_is_about_metrics_and_labels_that_there_are() {
    let mut queries: Vec<(String, Expr)> = alerts().into_iter().map(|alert| (alert.name, alert.query)).collect();
    let in_rules = queries.len();
    let board: Value = serde_json::from_str(BOARD).unwrap();
    let mut rows = Vec::new();
    for panel in board["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap().to_owned();
        if panel["type"] == "row" {
            rows.push(title);
            continue;
        }
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title} has a unit");
        assert!(panel["description"].as_str().is_some_and(|text| !text.is_empty()), "{title} says what it is");
        for target in panel["targets"].as_array().unwrap() {
            queries.push((title.clone(), query(target["expr"].as_str().unwrap())));
        }
    }
    assert_eq!(rows, ["Health", "Chat", "Reels", "Money"]);
    assert!(in_rules > 15 && queries.len() > in_rules + 25, "{in_rules} of {}", queries.len());
    let mut faults = Vec::new();
    let mut used = BTreeSet::new();
    for (title, query) in &queries {
        let names = Names::of(query);
        faults.extend(names.faults().into_iter().map(|fault| format!("{title}: {fault}")));
        used.extend(names.metrics);
    }
    assert!(faults.is_empty(), "{faults:#?}");
    // What is declared is there to be looked at.
    let unseen = [
        "reelcoach_openai_unknown_events_total",
        "reelcoach_role_held",
        "process_start_time_seconds",
        "process_open_fds",
    ];
    for metric in METRICS.iter().filter(|metric| !unseen.contains(&metric.name)) {
        assert!(used.iter().any(|name| name.starts_with(metric.name)), "no query uses {}", metric.name);
    }
}

#[test]
fn the_panels_fill_the_board_without_overlap() {
    let board: Value = serde_json::from_str(BOARD).unwrap();
    let mut taken = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in board["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{}", panel["title"]);
        let at = |side: &str| panel["gridPos"][side].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24);
        for (x, y) in (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y))) {
            assert!(taken.insert((x, y)), "{} covers another panel", panel["title"]);
        }
    }
    let height = taken.iter().map(|(_, y)| y + 1).max().unwrap();
    assert_eq!(taken.len() as u64, 24 * height, "no gaps");
}

#[test]
fn the_yaml_files_are_yaml_and_name_files_that_are_there() {
    let prometheus = yaml(include_str!("../../deploy/prometheus/prometheus.yml"));
    assert_eq!(prometheus["rule_files"], serde_json::json!(["rules.yml"]));
    assert_eq!(prometheus["scrape_configs"][0]["job_name"], "reelcoach", "the rules name the job");
    let source = yaml(include_str!("../../deploy/grafana/datasource.yml"));
    let board: Value = serde_json::from_str(BOARD).unwrap();
    assert_eq!(board["templating"]["list"][0]["current"]["value"], source["datasources"][0]["uid"]);
    let boards = yaml(include_str!("../../deploy/grafana/boards.yml"));
    let deploy = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    for file in ["compose.yaml", "compose.scale.yaml"] {
        let compose = yaml(&std::fs::read_to_string(deploy.join(file)).unwrap());
        for name in ["prometheus", "grafana"] {
            let service = &compose["services"][name];
            assert_eq!(service["profiles"], serde_json::json!(["monitoring"]), "{file}: only if asked for");
            for port in service["ports"].as_array().unwrap() {
                assert!(port.as_str().unwrap().starts_with("127.0.0.1:"), "{file}: {name} is not for everybody");
            }
            for volume in service["volumes"].as_array().unwrap() {
                let (from, to) = volume.as_str().unwrap().split_once(':').unwrap();
                match from.strip_prefix("./") {
                    Some(path) => assert!(deploy.join(path).exists(), "{file}: {path}"),
                    None => assert!(compose["volumes"].get(from).is_some(), "{file}: {from} {to}"),
                }
            }
        }
        let mounted = compose["services"]["grafana"]["volumes"].to_string();
        assert!(mounted.contains(boards["providers"][0]["options"]["path"].as_str().unwrap()), "{file}");
        assert!(compose["services"]["reelcoach"].is_object(), "prometheus.yml looks for it by this name");
    }
}

/// What every service of the compose files is held to.
#[test]
fn containers_are_confined() {
    let deploy = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    for file in ["compose.yaml", "compose.scale.yaml"] {
        let compose = yaml(&std::fs::read_to_string(deploy.join(file)).unwrap());
        for (name, service) in compose["services"].as_object().unwrap() {
            let what = format!("{file}: {name}");
            assert_eq!(service["read_only"], true, "{what}: the root is read-only");
            assert_eq!(service["cap_drop"], serde_json::json!(["ALL"]), "{what}");
            assert_eq!(service["security_opt"], serde_json::json!(["no-new-privileges:true"]), "{what}");
            assert!(service["pids_limit"].is_u64() && service["mem_limit"].is_string(), "{what} is bounded");
            assert!(service["tmpfs"].to_string().contains("/tmp:size="), "{what} has a bounded /tmp");
            match service["image"].as_str() {
                Some(image) => assert!(is_pinned(image), "{what}: {image}"),
                None => assert_eq!(service["build"]["dockerfile"], "deploy/Dockerfile", "{what}"),
            }
        }
        let bot = &compose["services"]["reelcoach"];
        assert!(bot["ulimits"]["nofile"].as_u64().unwrap() >= 4096, "{file}");
        assert_eq!(bot["ulimits"]["core"], 0, "{file}: a core would hold people's texts");
    }
    let dockerfile = std::fs::read_to_string(deploy.join("Dockerfile")).unwrap();
    let images: Vec<&str> = dockerfile.lines().filter_map(|line| line.strip_prefix("FROM ")).collect();
    assert_eq!(images.len(), 2);
    for image in images {
        assert!(is_pinned(image.split(' ').next().unwrap()), "{image}");
    }
}

/// A tag for people, and the digest that is taken.
fn is_pinned(image: &str) -> bool {
    image.split_once("@sha256:").is_some_and(|(tag, digest)| {
        tag.contains(':') && digest.len() == 64 && digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

#[test]
fn the_unit_is_bounded() {
    let unit = include_str!("../../deploy/reelcoach.service");
    let value = |name: &str| {
        let mut values = unit.lines().filter_map(|line| line.strip_prefix(&format!("{name}=")));
        values.next().unwrap_or_else(|| panic!("{name} is not set"))
    };
    assert!(value("LimitNOFILE").parse::<u32>().unwrap() >= 4096);
    assert_eq!(value("LimitCORE"), "0");
    assert_eq!(value("MemoryMax"), "1G");
    assert!(value("TasksMax").parse::<u32>().unwrap() >= 1024, "blocking work of the runtime takes up to 512 threads");
}

/// Prometheus asks each instance by the address that it has on the compose network, which the bot knows as its own: a name
/// would have to be in `PUBLIC_URL`.
#[test]
fn prometheus_asks_by_address() {
    let prometheus = yaml(include_str!("../../deploy/prometheus/prometheus.yml"));
    let found = &prometheus["scrape_configs"][0]["dns_sd_configs"][0];
    assert_eq!((&found["type"], &found["names"]), (&serde_json::json!("A"), &serde_json::json!(["reelcoach"])));
    assert!(prometheus["scrape_configs"][0].get("static_configs").is_none());
}
