//! A process that ends again and again: it pays for few answers each time, and in a small memory it does not end at all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sandbox::{Fault, Sandbox, Settings};

use crate::bot::{environment, until, until_within};
use crate::process::Process;
use crate::support::TestDb;

const LIMIT: u64 = 64 << 20;

/// Nothing is told of growing answers: only what is said in the end counts here.
const ANSWERED: &str = "SELECT COUNT(*) FROM turns WHERE state = 'closed' AND outcome = 'answered'";

/// Calls of the person for whom most were begun, whatever became of them.
const MOST_OFTEN: &str = "SELECT COALESCE(MAX(calls), 0) FROM \
    (SELECT COUNT(*) AS calls FROM ledger WHERE provider = 'openai' GROUP BY person_id) AS each_person";

const CALLS: &str = "SELECT COUNT(*) FROM ledger WHERE provider = 'openai'";

fn ask_all(sandbox: &Sandbox, people: i64) {
    for person in 1..=people {
        sandbox.telegram.say(person, person, "P", &format!("how do I begin? I am number {person}"));
    }
}

/// However many ask, none is answered.
fn think_for_ever(sandbox: &Sandbox) {
    for _ in 0..1000 {
        sandbox.openai.control.fault("/responses", Fault::Slow(Duration::from_secs(600)));
    }
}

/// A container of 64 MB with a supervisor: whatever takes more is killed and started again.
#[tokio::test(flavor = "multi_thread")]
async fn nine_hundred_are_answered_in_64_mb() {
    const PEOPLE: i64 = 900;
    let sandbox = Arc::new(Sandbox::start(Settings { port: 0, speed: 20.0, enforce_limits: false }).await.unwrap());
    let db = TestDb::sqlite().await;
    let environment = environment(&sandbox, &db, &[("TELEGRAM_PER_SECOND", "1000")]);
    ask_all(&sandbox, PEOPLE);
    let mut process = Process::serve_with_memory(LIMIT, &environment);
    process.ready().await;
    let (mut killed, mut most) = (0, 0);
    let told = process.log().iter().any(|line| line["message"] == "answers at a time" && line["most"] == 240);
    assert!(told, "{:#?}", process.log());
    let run = async {
        while db.number(ANSWERED, &[]).await < PEOPLE {
            for _ in 0..10 {
                let held = process.held_bytes();
                most = held.max(most);
                if held > LIMIT {
                    killed += 1;
                    process.kill();
                    process = Process::serve_with_memory(LIMIT, &environment);
                    process.ready().await;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(600), run).await.expect("not everybody is answered");
    until("nothing is owed", async || db.is_idle().await.unwrap()).await;
    process.stop().await;
    let most_often = db.number(MOST_OFTEN, &[]).await;
    assert!(
        most_often <= 2,
        "killed {killed} times, at {} MB at most: somebody is paid for {most_often} times",
        most >> 20
    );
    for person in 1..=PEOPLE {
        assert!(sandbox.telegram.screen(person).iter().any(|shown| shown.from_bot), "person {person}");
    }
}

/// Killed six times while the model is thinking: after the first time it begins with few, and takes new questions before those
/// that were in hand, so that nothing is paid for more than twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loop_pays_for_few_answers_each_time() {
    const PEOPLE: i64 = 300;
    let sandbox =
        Arc::new(Sandbox::start(Settings { port: 0, speed: f64::INFINITY, enforce_limits: false }).await.unwrap());
    let db = TestDb::sqlite().await;
    let environment = environment(&sandbox, &db, &[("MAX_TURNS", "100"), ("TELEGRAM_PER_SECOND", "1000")]);
    ask_all(&sandbox, PEOPLE);
    let calls = async || db.number(CALLS, &[]).await;
    let mut before = 0;
    for life in 0..6 {
        think_for_ever(&sandbox);
        let began = Instant::now();
        let mut process = Process::serve(&environment, &[]);
        process.ready().await;
        let few = if life == 0 { 100 } else { 8 };
        until("all wait, and as many are asked as may be", async || {
            db.number("SELECT COUNT(*) FROM turns", &[]).await == PEOPLE && calls().await >= before + few
        })
        .await;
        process.kill();
        // Twice as many for each 10 s that it has lived, and never more than MAX_TURNS.
        let doubled = (began.elapsed().as_secs() / 10).min(4);
        let now = calls().await;
        assert!(
            now - before <= (few << doubled).min(100),
            "life {life}: {before}, then {now}, doubled {doubled} times"
        );
        before = now;
    }
    assert_eq!(db.number(MOST_OFTEN, &[]).await, 1, "new questions come first");
    sandbox.openai.control.calm();
    let mut process = Process::serve(&environment, &[]);
    until_within(Duration::from_secs(120), "everybody is answered", async || {
        db.number(ANSWERED, &[]).await == PEOPLE && db.is_idle().await.unwrap()
    })
    .await;
    process.stop().await;
    assert_eq!(db.number(MOST_OFTEN, &[]).await, 2, "what was in hand is asked once more");
    assert_eq!(calls().await, before + PEOPLE);
}

/// The one that ends whoever answers it is answered alone: others that were in hand with it twice do not end with it again.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_in_hand_twice_is_answered_alone() {
    let sandbox =
        Arc::new(Sandbox::start(Settings { port: 0, speed: f64::INFINITY, enforce_limits: false }).await.unwrap());
    let db = TestDb::sqlite().await;
    let environment = environment(&sandbox, &db, &[]);
    ask_all(&sandbox, 3);
    let running = "SELECT COUNT(*) FROM turns WHERE leased_by IS NOT NULL AND state <> 'closed'";
    think_for_ever(&sandbox);
    for life in 1..=2_i64 {
        let mut process = Process::serve(&environment, &[]);
        until("all three are in hand", async || db.number(CALLS, &[]).await == 3 * life).await;
        process.kill();
    }
    let mut process = Process::serve(&environment, &[]);
    until("one is in hand", async || db.number(CALLS, &[]).await == 7).await;
    sandbox.telegram.say(9, 9, "Nia", "and me?");
    until("a new one waits", async || db.number("SELECT COUNT(*) FROM turns", &[]).await == 4).await;
    let lost =
        "SELECT COUNT(*) FROM turns WHERE leased_by IS NOT NULL AND due_at > 0 AND holders_lost = 2 AND attempt = 3";
    assert_eq!((db.number(lost, &[]).await, db.number(CALLS, &[]).await), (1, 7), "{}", db.number(running, &[]).await);
    process.kill();
    sandbox.openai.control.calm();
    let mut process = Process::serve(&environment, &[]);
    until("all are answered", async || db.number(ANSWERED, &[]).await == 4 && db.is_idle().await.unwrap()).await;
    process.stop().await;
}

/// Stopped twice while the model is thinking, each time for longer than it may take: that is no crash, so nothing is answered
/// alone or with care behind it.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_runs_out_of_time_is_no_crash() {
    let sandbox =
        Arc::new(Sandbox::start(Settings { port: 0, speed: f64::INFINITY, enforce_limits: false }).await.unwrap());
    let db = TestDb::sqlite().await;
    let environment = environment(&sandbox, &db, &[("SHUTDOWN_SECONDS", "1")]);
    let given_back =
        "SELECT COUNT(*) FROM turns WHERE state <> 'closed' AND leased_by IS NULL AND unsure AND holders_lost = 0";
    ask_all(&sandbox, 3);
    think_for_ever(&sandbox);
    for life in 1..=2_i64 {
        let mut process = Process::serve(&environment, &[]);
        until("all three are in hand", async || db.number(CALLS, &[]).await == 3 * life).await;
        process.stop().await;
        let left = db.number("SELECT COUNT(*) FROM instances", &[]).await;
        assert_eq!((db.number(given_back, &[]).await, left), (3, 0), "{:#?}", process.log());
    }
    sandbox.openai.control.calm();
    let mut process = Process::serve(&environment, &[]);
    until("all are answered", async || db.number(ANSWERED, &[]).await == 3 && db.is_idle().await.unwrap()).await;
    process.stop().await;
}
