//! Several instances on one PostgreSQL, and what comes twice: each message is answered once, whoever answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sandbox::{Fault, Sandbox, Settings};
use serde_json::json;

use crate::bot::{TestBot, environment, sandbox, until};
use crate::process::Process;
use crate::support::TestDb;

const ANA: i64 = 42;
const ADA: &str = "101";

/// Runs go on until they are released.
const HELD: Duration = Duration::from_secs(60);

/// Waits until so many runs go on at a time, brings them to their end, and lets the others be short.
async fn release_when(sandbox: &Sandbox, runs: usize) {
    until(&format!("{runs} runs go on"), async || sandbox.apify.runs().len() == runs).await;
    sandbox.apify.set_scrape(Duration::from_millis(100));
    sandbox.apify.finish_runs();
}

fn link(person: i64) -> String {
    format!("https://www.instagram.com/reel/DINST{person:06}/")
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_answer_each_message_once_and_share_the_lanes() {
    let (sandbox, db) = (sandbox().await, Arc::new(TestDb::postgres().await));
    sandbox.apify.set_scrape(HELD);
    let settings = [("REEL_LANES", "3"), ("DATABASE_CONNECTIONS", "6")];
    let first = TestBot::start_on(sandbox.clone(), db.clone(), &settings).await;
    let mut second = TestBot::start_on(sandbox.clone(), db.clone(), &settings).await;
    until("one polls", async || sandbox.telegram.control.count("getUpdates") > 0).await;
    for person in 1..=20 {
        sandbox.telegram.say(person, person, "P", &format!("hi, I am number {person}"));
        sandbox.telegram.say(person, person, "P", &link(person));
    }
    release_when(&sandbox, 3).await;
    first.drain().await;
    for person in 1..=20 {
        let screen = first.telegram(person);
        assert!(screen.len() == 2 && screen[1].contains("Hook"), "{person}: {screen:#?}");
    }
    assert_eq!(sandbox.apify.runs().len(), 20);
    assert_eq!(sandbox.apify.most_at_once(), 3, "all lanes at once, and never more");
    assert_eq!(sandbox.openai.charged().len(), 40, "nothing is asked twice");
    assert_eq!(db.number("SELECT COUNT(*) FROM ledger", &[]).await, 80);
    let holders = "SELECT COUNT(DISTINCT holder) FROM leases WHERE name = 'telegram polling'";
    assert_eq!(db.number(holders, &[]).await, 1);
    second.stop().await;
    second.leaves_work = true;
    first.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_instances_keep_five_lanes_busy_and_no_more() {
    const LANES: i64 = 5;
    const REELS: i64 = 25;
    let (sandbox, db) = (sandbox().await, Arc::new(TestDb::postgres().await));
    sandbox.apify.set_scrape(HELD);
    let settings = [("REEL_LANES", "5"), ("DATABASE_CONNECTIONS", "4")];
    let mut bots = Vec::new();
    for _ in 0..3 {
        bots.push(TestBot::start_on(sandbox.clone(), db.clone(), &settings).await);
    }
    for person in 1..=REELS {
        sandbox.telegram.say(person, person, "P", &link(person));
    }
    release_when(&sandbox, LANES as usize).await;
    until("all reels are read", async || {
        db.number("SELECT COUNT(*) FROM jobs WHERE state = 'done'", &[]).await == REELS
    })
    .await;
    let mut last = bots.remove(0);
    for mut bot in bots {
        bot.stop().await;
        bot.leaves_work = true;
    }
    last.drain().await;
    last.stop().await;
    last.leaves_work = true;

    assert_eq!(sandbox.apify.runs().len(), REELS as usize);
    assert_eq!(sandbox.apify.most_at_once(), LANES as usize, "all lanes at once, and never more");
    let workers = "SELECT COUNT(*) FROM ledger WHERE provider = 'apify' AND outcome = 'ok'";
    assert_eq!(db.number(workers, &[]).await, REELS);
}

/// Three that start at once on an empty database, as `deploy/compose.scale.yaml` starts them.
#[tokio::test(flavor = "multi_thread")]
async fn three_that_start_at_once_on_an_empty_database_all_come_up() {
    let (sandbox, db) = (sandbox().await, TestDb::empty_postgres().await);
    let environment = environment(&sandbox, &db, &[]);
    let mut processes: Vec<Process> = (0..3).map(|_| Process::serve(&environment, &[])).collect();
    for process in &mut processes {
        let address = process.ready().await;
        until("it is ready", async || {
            reqwest012::get(format!("http://{address}/readyz")).await.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
    }
    sandbox.telegram.say(ANA, ANA, "Ana", "/help");
    until("it is answered", async || sandbox.telegram.pending() == 0 && db.is_idle().await.unwrap()).await;
    for process in &mut processes {
        process.stop().await;
    }
    assert_eq!(sandbox.telegram.screen(ANA).into_iter().filter(|shown| shown.from_bot).count(), 1);
    let twice = "SELECT COUNT(*) FROM _sqlx_migrations WHERE NOT success";
    assert_eq!(db.number(twice, &[]).await, 0);
}

/// Waits until one of two processes has taken up polling; whether it is the first.
async fn poller(one: &Process, other: &Process) -> bool {
    let polls = |process: &Process| {
        process
            .log()
            .iter()
            .any(|line| line["role"] == "telegram polling" && line["message"] == "this instance has the role")
    };
    until("one of them polls", async || polls(one) || polls(other)).await;
    polls(one)
}

async fn two_processes() -> (Arc<Sandbox>, TestDb, Process, Process) {
    let sandbox = Arc::new(Sandbox::start(Settings { port: 0, speed: 4.0, enforce_limits: false }).await.unwrap());
    let db = TestDb::postgres().await;
    let environment = environment(&sandbox, &db, &[]);
    let (mut one, mut other) = (Process::serve(&environment, &[]), Process::serve(&environment, &[]));
    one.ready().await;
    other.ready().await;
    let (holder, spare) = if poller(&one, &other).await { (one, other) } else { (other, one) };
    (sandbox, db, holder, spare)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_dies_is_followed_by_the_other() {
    let (sandbox, db, mut holder, mut spare) = two_processes().await;
    for person in 1..=12 {
        let text = if person % 3 == 0 { link(person) } else { format!("how long is the queue for {person}?") };
        sandbox.telegram.say(person, person, "P", &text);
    }
    until("answers are in the making", async || {
        (1..=12).any(|person| sandbox.telegram.screen(person).iter().any(|shown| shown.from_bot))
    })
    .await;
    holder.kill();
    let died = Instant::now();
    sandbox.telegram.say(ANA, ANA, "Ana", "/help");
    until("the other one polls and answers", async || sandbox.telegram.screen(ANA).iter().any(|shown| shown.from_bot))
        .await;
    // A role's lease of 8 s, and the second between two looks at it.
    assert!(died.elapsed() < Duration::from_secs(10), "{:?}", died.elapsed());
    // A turn's lease of 20 s, and the time of an answer: within the patience of `until`.
    until("everything is answered", async || sandbox.telegram.pending() == 0 && db.is_idle().await.unwrap()).await;
    spare.stop().await;
    for person in 1..=12 {
        let screen: Vec<_> = sandbox.telegram.screen(person).into_iter().filter(|shown| shown.from_bot).collect();
        let finals = screen.iter().filter(|shown| !shown.text.contains('▌') && shown.buttons.is_empty());
        let (marked, plain): (Vec<_>, Vec<_>) = finals.partition(|shown| shown.text.contains("Seeing this twice?"));
        assert!(plain.len() <= 1 && plain.len() + marked.len() >= 1, "{person}: {screen:#?}");
    }
    assert!(sandbox.apify.most_at_once() <= 2);
    let paid = "SELECT COUNT(*) FROM ledger WHERE provider = 'apify' AND outcome <> 'started'";
    assert_eq!(db.number(paid, &[]).await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_stop_hands_the_role_over_at_once() {
    let (sandbox, db, mut holder, mut spare) = two_processes().await;
    holder.stop().await;
    let stopped = Instant::now();
    sandbox.telegram.say(ANA, ANA, "Ana", "/help");
    until("the other one answers", async || sandbox.telegram.screen(ANA).iter().any(|shown| shown.from_bot)).await;
    assert!(stopped.elapsed() < Duration::from_secs(5), "{:?}", stopped.elapsed());
    until("nothing is owed", async || db.is_idle().await.unwrap()).await;
    spare.stop().await;
}

/// A death behind the submission, and a reel that is read before the dead one's turn is taken up again.
#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_comes_back_late_does_not_answer_its_reel_again() {
    let sandbox = Arc::new(Sandbox::start(Settings { port: 0, speed: 20.0, enforce_limits: false }).await.unwrap());
    let db = TestDb::postgres().await;
    let environment = environment(&sandbox, &db, &[]);
    sandbox.apify.control.fault("/runs", Fault::Slow(Duration::from_secs(5)));
    let mut process = Process::serve(&environment, &["--crash-at", "reel submitted"]);
    process.ready().await;
    sandbox.telegram.say(ANA, ANA, "Ana", &link(1));
    process.aborted("reel submitted").await;
    db.execute("UPDATE jobs SET leased_until = 0").await;
    let mut process = Process::serve(&environment, &[]);
    until("the reel is read", async || db.number("SELECT COUNT(*) FROM jobs WHERE state = 'done'", &[]).await == 1)
        .await;
    let open = "SELECT COUNT(*) FROM turns WHERE kind = 'talk' AND state <> 'closed'";
    assert_eq!(db.number(open, &[]).await, 1, "the turn that asked is still leased to the dead");
    until("nothing is owed", async || sandbox.telegram.pending() == 0 && db.is_idle().await.unwrap()).await;
    process.stop().await;
    let screen: Vec<_> = sandbox.telegram.screen(ANA).into_iter().filter(|shown| shown.from_bot).collect();
    let coached = screen.iter().filter(|shown| shown.text.contains("Hook")).count();
    assert_eq!(coached, 1, "{screen:#?}");
    assert_eq!(sandbox.openai.charged().len(), 1);
}

on_both! {
    async fn an_update_that_comes_twice_is_answered_once(db: TestDb) {
        let bot = TestBot::start(db, &[]).await;
        let update = |update: i64, message: i64| json!({"update_id": update, "message": {
            "message_id": message, "date": 1_790_000_000, "text": "/help",
            "from": {"id": ANA, "is_bot": false, "first_name": "Ana"},
            "chat": {"id": ANA, "type": "private", "first_name": "Ana"}}});
        bot.sandbox.telegram.open(ANA);
        bot.sandbox.telegram.push(update(900_000_001, 5001));
        bot.drain().await;
        // The acknowledgement was lost, as it were: the same again, then the next one.
        bot.sandbox.telegram.push(update(900_000_001, 5001));
        bot.sandbox.telegram.push(update(900_000_001, 5001));
        bot.sandbox.telegram.push(update(900_000_002, 5002));
        bot.drain().await;
        assert_eq!(bot.telegram(ANA).len(), 2);
        assert_eq!(bot.db.number("SELECT COUNT(*) FROM inbox", &[]).await, 2);
        bot.end().await;
    }

    async fn what_the_gateway_and_the_catch_up_both_tell_is_answered_once(db: TestDb) {
        let bot = TestBot::start(db, &[]).await;
        let discord = &bot.sandbox.discord;
        until("Discord is connected", async || discord.is_connected()).await;
        let channel = discord.dm(ADA);
        let from_bot = || discord.screen(&channel).iter().filter(|shown| shown.from_bot).count();
        discord.say(&channel, ADA, "Ada", "/help");
        until("it is answered", async || from_bot() == 1).await;
        bot.drain().await;
        // The reading of what was missed takes its time; what is written meanwhile is told by both.
        discord.control.fault(&format!("{channel}/messages"), Fault::Slow(Duration::from_millis(500)));
        discord.disconnect(sandbox::discord::Disconnect::Invalidate);
        let reads = || discord.control.asked().iter().filter(|a| a.method == "GET" && a.path.ends_with("/messages")).count();
        until("it reads what it missed", async || reads() == 1).await;
        discord.say(&channel, ADA, "Ada", "/queue");
        until("both are answered", async || from_bot() == 2).await;
        until("the gateway's own is stored, too", async || discord.is_connected()).await;
        discord.say(&channel, ADA, "Ada", "/history");
        until("what comes behind is answered", async || from_bot() >= 3).await;
        bot.drain().await;
        assert_eq!(from_bot(), 3, "{:#?}", discord.screen(&channel));
        assert_eq!(bot.db.number("SELECT COUNT(*) FROM inbox", &[]).await, 3);
        bot.end().await;
    }
}
