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
        assert!(checks.len() == 7 && checks.iter().all(|check| check["breaches"] == 0), "{entry:#}");
        assert_eq!(entry["breaches"], Value::Array(Vec::new()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn talk_and_reels_hold_every_rule_on_sqlite() {
    let (ran, report) = stress(&["--only", "tools,reels", "--seconds", "1", "--messages", "12"]).await;
    assert_holds(&ran, &report);
    let entries = report["entries"].as_array().unwrap();
    let names: Vec<&str> = entries.iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["tools", "reels, few links", "reels, many links"]);
    assert!(entries[2]["storm"]["read"] == 12 && entries[2]["storm"]["wait_s"]["p95"].as_f64().unwrap() > 0.0);
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

/// What the sandbox lies about is found, and the history of the message is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_lie_of_the_sandbox_is_a_breach() {
    for (lie, rule, told) in [
        ("lost", "each message has one final answer", "it was never stored"),
        ("double-message", "nothing is answered twice", "a message that nobody is owed"),
        ("double-charge", "the ledger is what was charged", "charged and not in the ledger"),
    ] {
        let (ran, report) = stress(&["--only", "simple", "--seconds", "1", "--messages", "10", "--lie", lie]).await;
        assert_eq!(ran.code, 1, "{lie}: {}", ran.out);
        let breaches = report["entries"][0]["breaches"].as_array().unwrap();
        assert!(breaches.iter().all(|breach| breach["rule"].as_str().unwrap().contains(rule)), "{lie}: {breaches:#?}");
        assert!(ran.out.contains("BREACH") && ran.out.contains(told), "{lie}: {}", ran.out);
        let history = breaches[0]["history"].as_array().unwrap();
        let begins = if lie == "double-charge" { "charged" } else { "said " };
        assert!(history[0].as_str().unwrap().starts_with(begins), "{lie}: {history:#?}");
        if lie == "double-message" {
            for part in ["inbox: ", "turn ", "ledger ", "screen: "] {
                assert!(history.iter().any(|line| line.as_str().unwrap().starts_with(part)), "{part}: {history:#?}");
            }
        }
    }
}

#[tokio::test]
async fn another_machine_is_never_spoken_to() {
    let args = ["stress", "--database-url", "postgres://me@db.example.org/x"];
    let ran = run_within(PATIENCE, &args, &[], "", "").await;
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("db.example.org is not this machine"), "{}", ran.err);
}
