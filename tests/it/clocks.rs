//! Clocks that are wrong, differ, or are set while the bot runs: nobody waits longer for that than the rules allow, and of
//! several instances the one that is off takes no work.

use std::sync::Arc;
use std::time::Duration;

use reelcoach::clock::{Clock, Timestamp};
use reelcoach::store::Store;
use reelcoach::store::waits::LongestWaits;
use sandbox::{Fault, Sandbox};
use serde_json::Value;

use crate::bot::{TestBot, sandbox, until};
use crate::support::TestDb;

const ANA: i64 = 42;
const OPERATOR: i64 = 900;

const HOUR: i64 = 3_600_000;
const WEEK: i64 = 7 * 24 * HOUR;

fn link(nth: i64) -> String {
    format!("https://www.instagram.com/reel/DCLOCK{nth:05}/")
}

/// Times that nobody waits for: when something happened, or until when it may be used.
const RECORDS: &[&str] = &[
    "accounts.created_at",
    "admissions.at",
    "askers.asked_at",
    "audit.at",
    "blocks.at",
    "boards.created_at",
    "boards.posted_at",
    "breakers.failed_at",
    "chats.gone_since",
    "chats.last_at",
    "conversations.ended_at",
    "conversations.started_at",
    // Only when its row may go.
    "ended_sessions.until",
    "failures.at",
    "inbox.received_at",
    "instances.started_at",
    "invites.at",
    // As long as an admin has said.
    "invites.until",
    "jobs.created_at",
    "jobs.finished_at",
    "ledger.at",
    // Held against the time of each message.
    "message_rates.since",
    "messages.at",
    "moved_chats.at",
    "pause.at",
    "people.created_at",
    "provider_calls.minute",
    "reels.at",
    "retries.at",
    "subscriptions.created_at",
    "turns.closed_at",
    "write_check.at",
];

/// Every time in the database is held to a rule or is a record: a new column is to be put into one of the tables.
#[tokio::test]
async fn every_time_in_the_database_is_waited_for_or_a_record() {
    let db = TestDb::postgres().await;
    let columns = db
        .text(
            "SELECT STRING_AGG(table_name || '.' || column_name, ' ' ORDER BY table_name || '.' || column_name) \
             FROM information_schema.columns WHERE table_schema = 'public' AND data_type = 'bigint' AND table_name <> '_sqlx_migrations' \
             AND (column_name LIKE '%\\_at' OR column_name LIKE '%until' OR column_name LIKE '%since' \
             OR column_name IN ('at', 'not_before', 'minute'))",
        )
        .await;
    let mut known = Store::waited_for();
    known.extend(RECORDS.iter().map(|column| (*column).to_owned()));
    known.sort();
    let mut found: Vec<&str> = columns.split(' ').collect();
    found.sort_unstable();
    assert_eq!(found, known);
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// The rules, each with a number of its own.
const RULES: LongestWaits = LongestWaits {
    spacing: seconds(30),
    merging: seconds(2),
    turn: seconds(20),
    job: seconds(15),
    board: seconds(16),
    role: seconds(25),
    turn_again: seconds(600),
    upstream_pause: seconds(601),
    reservation: seconds(7200),
    charge_again: seconds(7201),
    reel: seconds(86_400 * 2),
    answer: seconds(86_400),
    reel_failure: seconds(86_401),
};

/// What somebody waits for, and after how many seconds that is over at the latest.
const AFTER: &[(&str, u64)] = &[
    // The third of three, and the next one.
    ("SELECT MAX(ready_at) FROM jobs WHERE state = 'queued'", 90),
    ("SELECT MIN(ready_at) FROM jobs WHERE state = 'queued'", 30),
    ("SELECT MAX(slot_at) FROM jobs WHERE state = 'queued'", 90),
    ("SELECT next_reel_at FROM people WHERE id = 'one'", 120),
    ("SELECT next_reel_at FROM people WHERE id = 'two'", 30),
    ("SELECT due_at FROM turns WHERE id = 'leased'", 20),
    ("SELECT due_at FROM turns WHERE id = 'put off'", 600),
    ("SELECT MAX(merge_until) FROM turns", 2),
    ("SELECT MAX(created_at) FROM turns", 0),
    ("SELECT MAX(not_before) FROM jobs WHERE state = 'queued'", 601),
    ("SELECT leased_until FROM jobs WHERE id = 'running'", 15),
    ("SELECT MAX(began_at) FROM jobs", 0),
    ("SELECT MAX(started_at) FROM jobs WHERE state = 'running'", 0),
    ("SELECT posting_until FROM boards", 16),
    ("SELECT until FROM leases", 25),
    ("SELECT open_until FROM breakers", 3600),
    ("SELECT held_until FROM breakers", 601),
    ("SELECT quota_until FROM breakers", 25 * 3600),
    ("SELECT at FROM breaker_reels", 0),
    ("SELECT used_at FROM lanes", 0),
    ("SELECT until FROM reels WHERE state = 'failed'", 86_401),
    ("SELECT until FROM reels WHERE state = 'done'", 86_400 * 2),
    ("SELECT until FROM answers", 86_400),
    ("SELECT reserved_until FROM ledger", 7200),
    ("SELECT confirm_at FROM ledger", 7201),
    ("SELECT since FROM notices", 0),
    ("SELECT raised_at FROM alerts", 0),
    ("SELECT turning_since FROM alerts", 0),
    ("SELECT since FROM alerts", 0),
    ("SELECT seen_at FROM alerts", 0),
    ("SELECT seen_at FROM instances", 0),
    ("SELECT failed_at FROM providers", 0),
    ("SELECT looked_up_at FROM providers", 0),
];

/// One row or more of everything that somebody waits for.
async fn fill(db: &TestDb, now: i64) {
    let turn = |id: &str, leased_by: &str| {
        format!(
            "INSERT INTO turns (id, kind, state, person_id, chat, merge_until, inputs, aside, sealed, due_at, attempt, leased_by, \
             shown, created_at) VALUES ('{id}', 'talk', 'open', 'one', 'telegram:1', {now}, 1, FALSE, FALSE, {now}, 0, {leased_by}, '[]', {now})"
        )
    };
    let job = |id: &str, state: &str| {
        format!(
            "INSERT INTO jobs (id, shortcode, state, phase, asked_by, slot_at, ready_at, attempt, leased_until, cancel, created_at, \
             started_at, began_at) VALUES ('{id}', '{id}', '{state}', 'waiting', 'one', {now}, {now}, 0, {now}, FALSE, {now}, {now}, {now})"
        )
    };
    let reel = |id: &str, state: &str| {
        format!(
            "INSERT INTO reels (shortcode, pipeline, state, content, at, until) VALUES ('{id}', 1, '{state}', '', {now}, {now})"
        )
    };
    let rows = [
        format!(
            "INSERT INTO people (id, created_at, next_reel_at) VALUES ('one', {now}, {now}), ('two', {now}, {now})"
        ),
        turn("leased", "'somebody'"),
        turn("put off", "NULL"),
        job("1", "queued"),
        job("2", "queued"),
        job("3", "queued"),
        job("running", "running"),
        format!(
            "INSERT INTO boards (id, state, person_id, chat, note, shown, posting_until, created_at) \
             VALUES ('b', 'open', 'one', 'telegram:1', '', '', {now}, {now})"
        ),
        format!("INSERT INTO leases (name, holder, until) VALUES ('a role', 'somebody', {now})"),
        format!(
            "INSERT INTO breakers (upstream, failures, trips, open_until, cause, reference, failed_at, held_until, quota_until) \
             VALUES ('direct', 3, 1, {now}, '', '', {now}, {now}, {now})"
        ),
        format!("INSERT INTO breaker_reels (upstream, shortcode, person_id, at) VALUES ('direct', 'x', 'one', {now})"),
        format!("INSERT INTO lanes (name, paused, used_at) VALUES ('n8n:0', FALSE, {now})"),
        reel("good", "done"),
        reel("bad", "failed"),
        format!("INSERT INTO answers (key, question, answer, until) VALUES ('k', '', '', {now})"),
        format!(
            "INSERT INTO ledger (key, at, person_id, platform, chat, provider, model, tool, input_tokens, cached_tokens, \
             cache_write_tokens, output_tokens, reasoning_tokens, micro_usd, price_version, estimated, latency_ms, outcome, \
             reserved_until, confirm_at) VALUES ('k', {now}, 'one', 'telegram', 'telegram:1', 'apify', '', 'scrape', 0, 0, 0, 0, 0, 0, \
             '', TRUE, 0, 'started', {now}, {now})"
        ),
        format!("INSERT INTO notices (who, what, since, times) VALUES ('one', 'x', {now}, 1)"),
        format!(
            "INSERT INTO alerts (rule, subject, raised_at, turning_since, since, worst, seen_at) \
             VALUES ('cpu_percent', '', {now}, {now}, {now}, 1.0, {now})"
        ),
        format!("INSERT INTO instances (id, name, started_at, seen_at, measured) VALUES ('i', 'i', {now}, {now}, '')"),
        format!(
            "INSERT INTO providers (name, target, failing, trouble, failed_at, cause, detail, reference, looked_up_at) \
             VALUES ('openai', 'm', TRUE, '', {now}, '', '', '', {now})"
        ),
    ];
    for row in rows {
        db.execute(&row).await;
    }
}

on_both! {
    async fn nobody_waits_longer_than_the_rules_allow_whatever_stands_in_a_row(db: TestDb) {
        let now = Timestamp(1_795_500_000_000);
        fill(&db, now.0).await;
        db.execute(&format!(
            "INSERT INTO turns (id, kind, state, person_id, chat, merge_until, inputs, aside, sealed, due_at, attempt, shown, created_at) \
             VALUES ('sleeps', 'talk', 'open', 'two', 'telegram:1', 0, 1, FALSE, FALSE, {}, 0, '[]', 0)",
            Timestamp::NEVER.0
        ))
        .await;
        assert_eq!(db.shorten_waits(&RULES, now).await.unwrap(), 0, "what the rules allow is left alone");
        for ahead in [HOUR, WEEK] {
            for column in Store::waited_for() {
                let (table, column) = column.split_once('.').unwrap();
                let far = now.0 + ahead;
                db.execute(&format!("UPDATE {table} SET {column} = {far} WHERE {column} IS NOT NULL AND {column} < {}", Timestamp::NEVER.0)).await;
            }
            assert!(db.shorten_waits(&RULES, now).await.unwrap() > 0);
            for (sql, most) in AFTER {
                let wait = db.number(sql, &[]).await - now.0;
                assert!(wait <= i64::try_from(most * 1000).unwrap(), "{sql}: {wait} ms");
            }
            assert_eq!(db.number("SELECT due_at FROM turns WHERE id = 'sleeps'", &[]).await, Timestamp::NEVER.0);
            assert_eq!(db.shorten_waits(&RULES, now).await.unwrap(), 0, "once is enough");
        }
    }
}

/// A bot that spaces a person's reels by 30 s, by this clock.
async fn spaced(sandbox: &Arc<Sandbox>, db: &Arc<TestDb>, clock: &Clock) -> TestBot {
    TestBot::start_at(sandbox.clone(), db.clone(), &[("REEL_INTERVAL_SECONDS", "30")], clock.clone(), None).await
}

on_both! {
    async fn a_clock_that_is_set_right_makes_nobody_wait(db: TestDb) {
        let (sandbox, db) = (sandbox().await, Arc::new(db));
        let mut nth = 0;
        for (ahead, is_running) in [(HOUR, true), (HOUR, false), (WEEK, true), (WEEK, false)] {
            let clock = Clock::manual(Timestamp(Clock::System.now().0 + ahead));
            let mut bot = spaced(&sandbox, &db, &clock).await;
            bot.sandbox.telegram.say(ANA, ANA, "Ana", &link(nth));
            bot.drain().await;
            if is_running {
                clock.set_by(-ahead);
            } else {
                bot.stop().await;
                bot.leaves_work = true;
                drop(bot);
                clock.set_by(-ahead);
                bot = spaced(&sandbox, &db, &clock).await;
            }
            bot.sandbox.telegram.say(ANA, ANA, "Ana", &link(nth + 1));
            bot.until("it is in the line", async || db.number("SELECT COUNT(*) FROM jobs WHERE state <> 'done'", &[]).await == 1).await;
            let ready_at = db.number("SELECT ready_at FROM jobs WHERE state <> 'done'", &[]).await;
            let wait = ready_at - clock.now().0;
            assert!(wait <= 30_000, "{ahead} ms set back, running: {is_running}: {wait} ms");
            bot.sandbox.telegram.say(ANA, ANA, "Ana", "And how do I open it?");
            for _ in 0..3 {
                clock.advance(Duration::from_secs(10));
            }
            bot.end().await;
            nth += 2;
            clock.advance(Duration::from_secs(30));
        }
    }
}

on_both! {
    async fn a_pause_that_a_platform_asks_for_is_no_longer_where_the_clock_is_set_back(db: TestDb) {
        let (sandbox, db, clock) = (sandbox().await, Arc::new(db), Clock::manual(Clock::System.now()));
        let bot = spaced(&sandbox, &db, &clock).await;
        let body = r#"{"ok":false,"error_code":429,"description":"Too Many Requests: retry after 20","parameters":{"retry_after":20}}"#;
        sandbox.telegram.control.fault("sendMessage", Fault::Answer { status: 429, headers: Vec::new(), body: body.to_owned() });
        sandbox.telegram.say(ANA, ANA, "Ana", "/help");
        bot.until("Telegram asks for a pause", async || sandbox.telegram.control.faults_waiting() == 0).await;
        clock.set_by(-HOUR);
        let answered = async || !bot.telegram(ANA).is_empty();
        assert!(!answered().await, "it waits");
        bot.until("it is put off by the clock as it is now", async || {
            db.number("SELECT due_at FROM turns", &[]).await <= clock.now().0 + 20_000
        })
        .await;
        for _ in 0..3 {
            clock.advance(Duration::from_secs(10));
        }
        bot.until("it is answered", answered).await;
        bot.end().await;
    }
}

on_both! {
    async fn a_turn_waits_for_a_platforms_hour_ten_minutes_at_a_time_and_without_a_call(db: TestDb) {
        let (sandbox, db, clock) = (sandbox().await, Arc::new(db), Clock::manual(Clock::System.now()));
        let bot = spaced(&sandbox, &db, &clock).await;
        let body = r#"{"ok":false,"error_code":429,"description":"Too Many Requests: retry after 3600","parameters":{"retry_after":3600}}"#;
        let refuse = || {
            let refusal = Fault::Answer { status: 429, headers: Vec::new(), body: body.to_owned() };
            sandbox.telegram.control.fault("sendMessage", refusal);
        };
        refuse();
        sandbox.telegram.say(ANA, ANA, "Ana", "/help");
        let put_off = "SELECT COUNT(*) FROM turns WHERE leased_by IS NULL AND state = 'answered' AND attempt = $1";
        bot.until("it is put off", async || db.number(put_off, &[1]).await == 1).await;
        let wait = db.number("SELECT due_at FROM turns", &[]).await - clock.now().0;
        assert_eq!(wait, 600_000, "no longer than the rules allow");
        // The next call would meet this.
        refuse();
        clock.advance(Duration::from_secs(600));
        bot.until("it is put off again", async || db.number(put_off, &[2]).await == 1).await;
        assert_eq!(sandbox.telegram.control.faults_waiting(), 1, "nothing is sent into the pause");
        sandbox.telegram.control.calm();
        clock.advance(Duration::from_secs(3000));
        bot.until("it is answered", async || !bot.telegram(ANA).is_empty()).await;
        bot.end().await;
    }
}

async fn ready(bot: &TestBot) -> Value {
    let answer = reqwest012::get(format!("http://{}/readyz", bot.http)).await.unwrap();
    serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
}

/// The database's own time, as the bot sees it.
const DATABASE_TIME: &str = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)";

#[tokio::test(flavor = "multi_thread")]
async fn on_postgresql_the_databases_clock_counts() {
    for off in [-WEEK, -HOUR, HOUR, WEEK] {
        let (db, clock) = (Arc::new(TestDb::postgres().await), Clock::kept());
        clock.set_by(off);
        let bot = spaced(&sandbox().await, &db, &clock).await;
        bot.sandbox.telegram.say(ANA, ANA, "Ana", &link(0));
        bot.drain().await;
        let wait = db.number("SELECT next_reel_at FROM people", &[]).await - db.number(DATABASE_TIME, &[]).await;
        assert!(wait <= 30_000 && wait > -30_000, "{off}: {wait} ms");
        for written in
            ["SELECT MAX(closed_at) FROM turns", "SELECT MAX(at) FROM ledger", "SELECT MAX(seen_at) FROM instances"]
        {
            let age = db.number(DATABASE_TIME, &[]).await - db.number(written, &[]).await;
            assert!((-1000..60_000).contains(&age), "{off}: {written}: {age} ms ago");
        }
        // Alone it is right enough to work.
        let state = ready(&bot).await;
        assert!((state["clock"]["skew_ms"].as_i64().unwrap() - off).abs() < 1000, "{state}");
        assert_eq!((&state["clock"]["takes_work"], &state["degraded"]), (&true.into(), &true.into()), "{state}");
        bot.end().await;
    }
}

/// A database whose clock can be set: sessions find this `clock_timestamp` before PostgreSQL's own.
async fn with_a_clock_of_its_own() -> TestDb {
    let db = TestDb::postgres().await;
    db.execute_all(
        "CREATE SCHEMA machine; CREATE TABLE machine.clock (ahead INTERVAL); INSERT INTO machine.clock VALUES ('0'); \
         CREATE FUNCTION machine.clock_timestamp() RETURNS TIMESTAMPTZ LANGUAGE SQL VOLATILE \
         AS 'SELECT pg_catalog.clock_timestamp() + ahead FROM machine.clock'",
    )
    .await;
    let name = db.text("SELECT CAST(current_database() AS TEXT)").await;
    db.execute(&format!("ALTER DATABASE {name} SET search_path = public, machine, pg_catalog")).await;
    db
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_whose_clock_is_set_takes_its_instances_along() {
    let (sandbox, db) = (sandbox().await, Arc::new(with_a_clock_of_its_own().await));
    for (nth, ahead) in (0..).zip(["1 hour", "0"]) {
        let clock = Clock::kept();
        let bot = spaced(&sandbox, &db, &clock).await;
        bot.sandbox.telegram.say(ANA, ANA, "Ana", &link(nth));
        bot.drain().await;
        db.execute(&format!("UPDATE machine.clock SET ahead = '{ahead}'")).await;
        let database =
            || async { db.number(&DATABASE_TIME.replace("clock_timestamp()", "machine.clock_timestamp()"), &[]).await };
        until("the bot has read the clock", async || (clock.now().0 - database().await).abs() < 1000).await;
        until("it takes work again", async || ready(&bot).await["clock"]["takes_work"] == true).await;
        bot.sandbox.telegram.say(ANA, ANA, "Ana", "And how do I open it?");
        bot.drain().await;
        let wait = db.number("SELECT next_reel_at FROM people", &[]).await - database().await;
        assert!(wait <= 30_000, "{ahead}: {wait} ms");
        bot.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_instances_the_one_whose_clock_is_off_takes_no_work() {
    let (sandbox, db) = (sandbox().await, Arc::new(TestDb::postgres().await));
    sandbox.telegram.open(OPERATOR);
    let settings = [("ALERT_CHAT", "telegram:900"), ("REEL_LANES", "3"), ("DATABASE_CONNECTIONS", "4")];
    let start = async |off: i64| {
        let clock = Clock::kept();
        clock.set_by(off);
        (TestBot::start_at(sandbox.clone(), db.clone(), &settings, clock.clone(), None).await, clock)
    };
    let (mut right, _) = start(0).await;
    until("the first is there", async || db.number("SELECT COUNT(*) FROM instances", &[]).await == 1).await;
    let (wrong, clock) = start(30_000).await;
    until("it has stopped", async || ready(&wrong).await["clock"]["takes_work"] == false).await;
    for person in 1..=10 {
        sandbox.telegram.say(person, person, "P", &format!("hi, I am number {person}"));
        sandbox.telegram.say(person, person, "P", &link(person));
    }
    right.drain().await;
    assert_eq!(sandbox.apify.runs().len(), 10, "nothing is bought twice");
    assert_eq!(sandbox.openai.charged().len(), 20);
    assert_eq!(db.number("SELECT COUNT(DISTINCT instance) FROM ledger", &[]).await, 1, "one of them did it all");
    for person in 1..=10 {
        assert_eq!(
            right.telegram(person).len(),
            2,
            "one answer each, and no board is left: {:#?}",
            right.telegram(person)
        );
    }
    until("the operator is told", async || !right.telegram(OPERATOR).is_empty()).await;
    let told = right.telegram(OPERATOR).remove(0);
    assert!(told.starts_with("⚠️ Clock: ") && told.contains(" is 30 s off and has stopped taking work."), "{told}");
    let state = ready(&wrong).await;
    assert_eq!((&state["ready"], &state["degraded"]), (&true.into(), &true.into()), "{state}");

    // Set right, it takes work again by itself.
    clock.set_by(-30_000);
    until("it goes on", async || ready(&wrong).await["clock"]["takes_work"] == true).await;
    // And so it does where nobody else is left.
    clock.set_by(30_000);
    until("it has stopped again", async || ready(&wrong).await["clock"]["takes_work"] == false).await;
    right.stop().await;
    right.leaves_work = true;
    until("it is the only one left", async || ready(&wrong).await["clock"]["takes_work"] == true).await;
    sandbox.telegram.say(ANA, ANA, "Ana", "hi");
    wrong.end().await;
}
