//! The load test as it is shipped: small runs hold every rule, and a run in which the sandbox lies does not.

#![expect(clippy::disallowed_methods, reason = "the environment names the server that databases may be made on")]

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// Far beyond what such a run takes.
const PATIENCE: Duration = Duration::from_secs(300);

/// What a run that ended said.
#[derive(Debug)]
struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn command(args: &[&str], folder: &tempfile::TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stress"));
    command.args(args).env_clear().current_dir(folder.path()).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it to its end, in an empty folder and with no environment.
async fn run(args: &[&str]) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(args, &folder);
    let ran = tokio::time::timeout(PATIENCE, command.output()).await.expect("it does not end").unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: ran.status.code().expect("it was killed"), out: text(ran.stdout), err: text(ran.stderr) }
}

/// The PostgreSQL server of the tests.
fn server() -> String {
    std::env::var("TEST_DATABASE_URL").expect("TEST_DATABASE_URL is not set: run the tests with `tests/run`")
}

/// Runs it; what it printed, and its JSON.
async fn stress(args: &[&str]) -> (Ran, Value) {
    let folder = tempfile::tempdir().unwrap();
    let (json, html) = (folder.path().join("run.json"), folder.path().join("run.html"));
    let files = ["--json", json.to_str().unwrap(), "--html", html.to_str().unwrap()];
    let args: Vec<&str> = ["--seed", "7"].iter().chain(args).chain(&files).copied().collect();
    let ran = run(&args).await;
    let page = std::fs::read_to_string(&html).unwrap_or_default();
    assert!(page.contains("<svg") && page.contains("</html>"), "{ran:?}");
    // One file: nothing is fetched from anywhere, and nobody's words are in it.
    for told in [&ran.out, &page] {
        assert!(!told.contains("src=") && !told.contains("sourdough") && !told.contains("sandbox-"), "{told}");
    }
    let report = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    (ran, report)
}

/// What a run that held looks like.
fn assert_holds(ran: &Ran, report: &Value) {
    assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
    assert_eq!(report["seed"], 7);
    assert_held(report["entries"].as_array().unwrap());
}

fn assert_held(entries: &[Value]) {
    for entry in entries {
        assert!(entry["messages"].as_u64().unwrap() > 0 && entry["lost"] == 0, "{entry:#}");
        assert!(entry["final_ms"]["p50"].as_f64().unwrap() >= entry["first_text_ms"]["p50"].as_f64().unwrap());
        assert!(entry["used"]["bot_rss_mb"].as_f64().unwrap() > 1.0, "{entry:#}");
        let checks = entry["checks"].as_array().unwrap();
        // One part has a rule of its own.
        let rules = if entry["name"] == "bad-reel" { 12 } else { 11 };
        assert!(checks.len() == rules && checks.iter().all(|check| check["breaches"] == 0), "{entry:#}");
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
    assert!(entries.iter().all(|entry| entry["messages"].as_u64().unwrap() <= 12), "{entries:#?}");
    assert!(ran.out.contains("seed 7") && ran.out.contains("holds") && !ran.out.contains("BROKEN"), "{}", ran.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_with_faults_holds_every_rule_on_postgres() {
    let server = server();
    let only = ["--only", "simple", "--seconds", "3", "--messages", "60", "--faults", "light"];
    let (ran, report) = stress(&[&only[..], &["--database-url", server.as_str()]].concat()).await;
    assert_holds(&ran, &report);
    assert_eq!((&report["database"], &report["faults"]), (&"PostgreSQL".into(), &"light".into()));
    let happened = &report["entries"][0]["happened"];
    assert!(!happened["troubles"].as_object().unwrap().is_empty() && happened["kills"] == json!([]), "{happened:#}");
    assert!(ran.out.contains("    faults: ") && !ran.out.contains("left out"), "{}", ran.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn reels_that_fail_hold_nobody_elses_up() {
    let only = ["--only", "bad-reel", "--seconds", "1", "--messages", "20"];
    let (ran, report) = stress(&only).await;
    assert_holds(&ran, &report);
    let entry = &report["entries"][0];
    assert_eq!((looked_at(entry, "hold nobody"), &entry["failed"]), (15, &json!(5)), "{entry:#}");
    // On the other database, and with one that was held up: it is found, and all else holds.
    let server = server();
    let lying = ["--database-url", server.as_str(), "--lie", "held-up"];
    let (ran, report) = stress(&[&only[..], &lying].concat()).await;
    assert_eq!((ran.code, &report["database"]), (1, &"PostgreSQL".into()), "{}", ran.out);
    let breaches = report["entries"][0]["breaches"].as_array().unwrap();
    assert!(breaches.len() == 1 && breaches[0]["rule"] == "failing reels hold nobody else's up", "{breaches:#?}");
}

/// However short it is, everything goes wrong while somebody waits; the greetings are no figures.
#[tokio::test(flavor = "multi_thread")]
async fn heavy_faults_happen_and_are_told() {
    let server = server();
    let only = ["--only", "streaming", "--seconds", "1", "--messages", "30", "--faults", "heavy"];
    let no_server = "the outage of the database (SQLite has no server)";
    for (database, outages, left_out) in
        [(&["--database-url", server.as_str()][..], 1, json!([])), (&[], 0, json!([no_server]))]
    {
        let (ran, report) = stress(&[&only[..], database].concat()).await;
        assert_holds(&ran, &report);
        let entry = &report["entries"][0];
        let (happened, checked) = (&entry["happened"], &entry["checks"][0]["looked_at"]);
        assert_eq!((&happened["outages"], &happened["left_out"]), (&json!(outages), &left_out));
        for of in ["freezes", "kills"] {
            let owed = happened[of].as_array().unwrap();
            assert!(owed.len() == 1 && owed[0].as_u64().unwrap() > 0, "{of}: {happened:#}");
        }
        assert_eq!((&happened["refusals"], &happened["clock_ahead"]), (&json!(1), &json!(30)));
        let told =
            ["1 time without writes for 4 s, 1 instance still for 60 s with ", "1 kill -9 with ", "1 clock 30 s ahead"];
        assert!(told.iter().all(|told| ran.out.contains(told)), "{}", ran.out);
        // 30 of the 60 people are on Discord.
        assert_eq!(checked.as_u64().unwrap(), entry["messages"].as_u64().unwrap() + 30);
        assert_eq!(entry["messages"], 30);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_people_of_a_step_speak_and_what_gave_is_told() {
    let (ran, report) = stress(&["--only", "people", "--people", "3,6", "--seconds", "1", "--messages", "1"]).await;
    assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
    let entries = report["entries"].as_array().unwrap();
    // They were checked together.
    assert_held(&entries[entries.len() - 1..]);
    for entry in entries {
        let step = &entry["step"];
        assert_eq!(step["spoke"], step["people"], "{entry:#}");
        assert_eq!(entry["messages"], step["people"], "{entry:#}");
    }
    let last = &entries.last().unwrap()["step"];
    let end = match last["gave"]["at_its_end"].as_array() {
        None => "nothing gave up to 6".to_owned(),
        Some(ends) => format!("at its end: {}", ends.first().map_or("nothing", |end| end.as_str().unwrap())),
    };
    assert!(ran.out.contains("3 of 3 people spoke") && ran.out.contains(&end), "{}", ran.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_growing_answers_are_measured() {
    let (ran, report) = stress(&["--only", "health,streaming", "--seconds", "2", "--messages", "8"]).await;
    assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
    let [health, streaming] = report["entries"].as_array().unwrap().as_slice() else { panic!("{report:#}") };
    assert!(health["answered"].as_u64().unwrap() > 100 && health["failed"] == 0, "{health:#}");
    assert_eq!((&streaming["messages"], &streaming["answered"]), (&json!(8), &json!(8)));
    // The model takes 20 ms for each further piece.
    let ms = |of: &str| streaming[of]["p50"].as_f64().unwrap();
    assert!(ms("final_ms") > ms("first_text_ms") + 1_000.0, "{streaming:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_is_the_planners_scenario_in_times_as_in_life() {
    let (ran, report) = stress(&["--profile", "small", "--seconds", "1"]).await;
    assert_holds(&ran, &report);
    let entry = &report["entries"][0];
    // 20 people at once who each write every minute, and one reel.
    assert_eq!((&report["profile"], &entry["compress"], &entry["messages"]), (&json!("small"), &json!(30), &json!(21)));
    assert!(ran.out.contains("20 of 20 people spoke, each every 60 s, and 1 reels were asked for"), "{}", ran.out);
    // The model's first text takes 2 s, the whole answer 6 s; a reel 25 s and its answer.
    let seconds = |of: &str| entry[of]["p50"].as_f64().unwrap() / 1e3;
    assert!(seconds("first_text_ms") > 2.0 && seconds("final_ms") > 6.0, "{entry:#}");
    assert!(entry["storm"]["wait_s"]["p50"].as_f64().unwrap() > 25.0, "{entry:#}");
    assert!(ran.out.contains("times and rates are as in life"), "{}", ran.out);
}

/// One account sends more than it may, on both platforms, in direct messages and in a group.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_in_nobodys_way_on_both_databases() {
    let server = server();
    for database in [&[][..], &["--database-url", server.as_str()]] {
        let only = ["--only", "flood", "--seconds", "15", "--messages", "40"];
        let (ran, report) = stress(&[&only[..], database].concat()).await;
        assert_holds(&ran, &report);
        let flood = &report["entries"][0];
        assert_eq!(looked_at(flood, "told once"), 2, "{flood:#}");
        let note = check(flood, "told once")["note"].as_str().unwrap();
        assert!(note.matches("told 1 times").count() == 2 && note.contains("208 messages"), "{note}");
        let signs = check(flood, "sign of life")["note"].as_str().unwrap();
        // One in a group every 2.5 s for 15 s is too few for a percentile, and that is told.
        for place in ["Telegram, direct messages", "Discord, direct messages"] {
            assert!(signs.contains(place) && !signs.contains(&format!("{place}: fewer")), "{signs}");
        }
        for place in ["Telegram, in the group", "Discord, in the group"] {
            assert!(signs.contains(&format!("{place}: fewer than 8, not judged")), "{signs}");
        }
        assert!(looked_at(flood, "sign of life") >= 20, "{signs}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lie_about_a_flood_is_a_breach() {
    assert_found_out("flood", "silence", "a sign of life", "p95 ").await;
    assert_found_out("flood", "told-again", "told once", "told ").await;
}

/// Runs a part in which something is made up, which must break that rule and no other, and be told.
async fn assert_found_out(part: &str, lie: &str, rule: &str, told: &str) -> Vec<String> {
    let messages = match part {
        "money" => "30",
        "flood" => "40",
        _ => "12",
    };
    // A flood is judged by how soon enough others are heard.
    let seconds = if part == "flood" { "15" } else { "1" };
    let (ran, report) = stress(&["--only", part, "--seconds", seconds, "--messages", messages, "--lie", lie]).await;
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
    assert_found_out("simple", "goes-back", "goes back on the screen", "627 characters stood there, then 53").await;
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

/// However long a step is: the first signal ends the load, the second one everything.
#[tokio::test]
async fn a_signal_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    for (signals, code) in [(1, 0), (2, 130)] {
        let json = folder.path().join(format!("{signals}.json"));
        let only = ["--only", "people", "--seconds", "3600", "--json", json.to_str().unwrap()];
        let mut process = command(&only, &folder).stdout(Stdio::null()).spawn().unwrap();
        let id = process.id().unwrap().to_string();
        let mut said = BufReader::new(process.stderr.take().unwrap()).lines();
        let ended = async {
            for sign in ["people (1 of 1)", "Stopping"].into_iter().take(signals) {
                while !said.next_line().await.unwrap().expect("it says so before it ends").contains(sign) {}
                let sent = Command::new("kill").args(["-TERM", &id]).status().await.unwrap();
                assert!(sent.success());
            }
            // What it says further must not hold it up.
            while said.next_line().await.unwrap().is_some() {}
            process.wait().await.unwrap()
        };
        let ended = tokio::time::timeout(PATIENCE, ended).await.expect("it ends");
        assert_eq!(ended.code(), Some(code));
        let report: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
        assert_eq!((&report["interrupted"], &report["ended_at_once"]), (&json!(true), &json!(signals > 1)));
        let checked = report["entries"].as_array().unwrap().len();
        assert_eq!(checked, usize::from(signals == 1), "{report:#}");
    }
}

#[tokio::test]
async fn another_machine_is_never_spoken_to() {
    let args = ["--database-url", "postgres://me@db.example.org/x"];
    let ran = run(&args).await;
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("db.example.org is not this machine"), "{}", ran.err);
}
