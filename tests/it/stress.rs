//! The load test as it is shipped: small runs hold every rule, and a run in which the sandbox lies does not.

use std::time::Duration;

use serde_json::Value;

use crate::process::{Ran, run_within};
use crate::support::server;

/// Far beyond what such a run takes.
const PATIENCE: Duration = Duration::from_secs(150);

/// Runs it; what it printed, and its JSON.
async fn stress(args: &[&str]) -> (Ran, Value) {
    let folder = tempfile::tempdir().unwrap();
    let (json, html) = (folder.path().join("run.json"), folder.path().join("run.html"));
    let files = ["--json", json.to_str().unwrap(), "--html", html.to_str().unwrap()];
    let args: Vec<&str> = ["stress", "--seed", "7"].iter().chain(args).chain(&files).copied().collect();
    let ran = run_within(PATIENCE, &args, &[], "", "").await;
    let page = std::fs::read_to_string(&html).unwrap_or_default();
    assert!(page.contains("<svg") && page.contains("</html>"), "{ran:?}");
    // One file: nothing is fetched from anywhere, and nobody's words are in it.
    for told in [&ran.out, &page] {
        assert!(!told.contains("src=") && !told.contains("sourdough") && !told.contains("sandbox-"), "{told}");
    }
    let report = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    (ran, report)
}

/// What an entry of a run that held looks like.
fn assert_holds(ran: &Ran, report: &Value) {
    assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
    assert_eq!(report["seed"], 7);
    for entry in report["entries"].as_array().unwrap() {
        assert!(entry["messages"].as_u64().unwrap() > 0 && entry["lost"] == 0, "{entry:#}");
        assert!(entry["final_ms"]["p50"].as_f64().unwrap() >= entry["first_text_ms"]["p50"].as_f64().unwrap());
        assert!(entry["used"]["bot_rss_mb"].as_f64().unwrap() > 1.0, "{entry:#}");
        let checks = entry["checks"].as_array().unwrap();
        assert!(checks.len() == 8 && checks.iter().all(|check| check["breaches"] == 0), "{entry:#}");
        assert_eq!(entry["breaches"], Value::Array(Vec::new()));
    }
}

/// How an entry held the rule that has this in its name.
fn check<'a>(entry: &'a Value, rule: &str) -> &'a Value {
    let checks = entry["checks"].as_array().unwrap();
    checks.iter().find(|check| check["rule"].as_str().unwrap().contains(rule)).unwrap()
}

/// How many things that rule looked at.
fn looked_at(entry: &Value, rule: &str) -> u64 {
    check(entry, rule)["looked_at"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn budgets_are_used_up_and_people_refused() {
    let (ran, report) = stress(&["--only", "money", "--seconds", "15", "--messages", "100"]).await;
    assert_holds(&ran, &report);
    let money = &report["entries"][0];
    assert!(money["refused"].as_u64().unwrap() > 0 && looked_at(money, "budget") > 0, "{money:#}");
    let note = check(money, "budget")["note"].as_str().unwrap();
    assert!(note.contains("person: ") && note.contains("bot: ") && !note.contains(" 0 refused"), "{note}");
}

#[tokio::test(flavor = "multi_thread")]
async fn talk_and_reels_hold_every_rule_on_sqlite() {
    let (ran, report) = stress(&["--only", "tools,reels", "--seconds", "1", "--messages", "12"]).await;
    assert_holds(&ran, &report);
    let entries = report["entries"].as_array().unwrap();
    let names: Vec<&str> = entries.iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["tools", "reels, few links", "reels, many links", "reels, workflows"]);
    assert!(entries[2]["storm"]["read"] == 12 && entries[2]["storm"]["wait_s"]["p95"].as_f64().unwrap() > 0.0);
    // Every rule that such a part is about has seen something.
    assert!(looked_at(&entries[2], "interval") > 0 && looked_at(&entries[2], "lanes") == 12, "{:#}", entries[2]);
    assert_eq!((looked_at(&entries[3], "lanes"), looked_at(&entries[3], "budget")), (12, 0));
    assert!(check(&entries[3], "lanes")["note"].as_str().unwrap().contains("2 workflows at once"), "{:#}", entries[3]);
    assert!(ran.out.contains("nothing to see   no budget"), "{}", ran.out);
    assert!(ran.out.contains("seed 7") && ran.out.contains("holds") && !ran.out.contains("BROKEN"), "{}", ran.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_with_faults_holds_every_rule_on_postgres() {
    let server = server();
    let only = ["--only", "simple", "--seconds", "3", "--messages", "60", "--faults", "light"];
    let (ran, report) = stress(&[&only[..], &["--database-url", server.as_str()]].concat()).await;
    assert_holds(&ran, &report);
    assert_eq!((&report["database"], &report["faults"]), (&"PostgreSQL".into(), &"light".into()));
}

/// Runs a part in which something is made up, which must break that rule and no other, and be told.
async fn assert_found_out(part: &str, lie: &str, rule: &str, told: &str) -> Vec<String> {
    let messages = if part == "money" { "30" } else { "12" };
    let (ran, report) = stress(&["--only", part, "--seconds", "1", "--messages", messages, "--lie", lie]).await;
    assert_eq!(ran.code, 1, "{lie}: {}", ran.out);
    let entries = report["entries"].as_array().unwrap();
    let breaches: Vec<&Value> = entries.iter().flat_map(|entry| entry["breaches"].as_array().unwrap()).collect();
    assert!(breaches.iter().all(|breach| breach["rule"].as_str().unwrap().contains(rule)), "{lie}: {breaches:#?}");
    assert!(ran.out.contains("BREACH") && ran.out.contains("BROKEN") && ran.out.contains(told), "{lie}: {}", ran.out);
    let history = breaches[0]["history"].as_array().unwrap();
    history.iter().map(|line| line.as_str().unwrap().to_owned()).collect()
}

/// What is not as it was is found, and the history of the message is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_lie_about_answers_is_a_breach() {
    let said = [
        ("lost", "each message has one final answer", "it was never stored"),
        ("double-message", "nothing is answered twice", "a message that nobody is owed"),
        ("apology", "nothing fails by itself", "its answer is an apology"),
    ];
    for (lie, rule, told) in said {
        let history = assert_found_out("simple", lie, rule, told).await;
        assert!(history[0].starts_with("said "), "{lie}: {history:#?}");
        if lie != "lost" {
            for part in ["inbox: ", "turn ", "ledger ", "screen: "] {
                assert!(history.iter().any(|line| line.starts_with(part)), "{lie}, {part}: {history:#?}");
            }
        }
    }
    assert_found_out("simple", "limit", "the platforms' limits", "Discord refused 1 for their rate").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lie_about_money_is_a_breach() {
    let charged =
        assert_found_out("simple", "double-charge", "the ledger is what was charged", "1 charges without").await;
    assert!(charged[0].starts_with("charged and not in the ledger"), "{charged:#?}");
    let beyond = assert_found_out("simple", "no-charge", "the ledger is what was charged", "1 rows beyond").await;
    assert!(beyond[0].starts_with("ledger "), "{beyond:#?}");
    assert_found_out("money", "budget", "no budget is overspent", "1001 of 1000 micro-USD").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lie_about_reels_is_a_breach() {
    assert_found_out("reels", "lanes", "lanes are never exceeded", "workflows at a time behind reel-").await;
    let history = assert_found_out("reels", "spacing", "one new reel per person", "their slots are 999 ms apart").await;
    assert!(history[0].starts_with("said ") && history.iter().any(|line| line.starts_with("job ")), "{history:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_ends_by_itself_is_a_breach() {
    let (ran, report) = stress(&["--only", "simple", "--seconds", "1", "--messages", "12", "--lie", "exit"]).await;
    assert_eq!(ran.code, 1, "{}", ran.out);
    let breaches = report["entries"][0]["breaches"].as_array().unwrap();
    let exit = breaches.iter().find(|breach| breach["rule"] == "nothing fails by itself").unwrap();
    assert_eq!(exit["what"], "an instance ended by itself (signal: 9 (SIGKILL))");
}

#[tokio::test]
async fn another_machine_is_never_spoken_to() {
    let args = ["stress", "--database-url", "postgres://me@db.example.org/x"];
    let ran = run_within(PATIENCE, &args, &[], "", "").await;
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("db.example.org is not this machine"), "{}", ran.err);
}
