//! How fast and how small the whole bot is: the real program as a process of its own, on SQLite, against the sandbox
//! in this process. Owns the load and the clock; the bot is told nothing but addresses.
//!
//! `cargo bench --bench turns -- [--json FILE] [--quick] [--only latency,polling,throughput,memory,start]`
//!
//! # What is measured, and how
//!
//! - The sandbox answers at once, so what is left is what the bot, the two HTTP stacks and the machine add. Bot, sandbox
//!   and load share the machine's cores: the figures are the bot's own or worse.
//! - An update is posted to the bot's `/telegram` route, as Telegram's servers would through a proxy that ends TLS (the
//!   bot only registers https addresses). A latency runs from just before that request to the moment at which the
//!   sandbox has read the bot's first `sendMessage` for that chat. `polling` measures the same through `getUpdates`.
//! - Arrivals are open-loop (a Poisson process): a slow answer does not slow down the next question.
//! - `MERGE_WINDOW_MS=0`: the merge window is a deliberate wait, spent while the model thinks.
//! - `TELEGRAM_PER_SECOND=10000`: by default the bot keeps to the 30 messages a second that Telegram takes, which no
//!   program can exceed; here the question is what the bot itself could do.
//! - What is aimed at and not met makes it exit 1: nothing lost, no message astray, no warning; the first text within
//!   10 ms (99 %) at 50 turns a second, 200 turns a second, 60 MB with a thousand people in conversation.
//! - Other programs disturb: their share of the machine's processors stands beside each figure, and the latency is
//!   measured up to three times if it was above a tenth. All runs are shown, the best one counts.
#![expect(clippy::disallowed_methods, reason = "a program of its own: it starts its tasks and reads the time itself")]

#[path = "shared/database.rs"]
mod database;
#[path = "shared/options.rs"]
mod options;
#[path = "shared/start.rs"]
mod start;
#[path = "shared/process.rs"]
mod process;
#[path = "turns/stage.rs"]
mod stage;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reelcoach::store::Store;
use sandbox::Sandbox;
use sandbox::openai::{self, OpenAiSandbox};
use serde_json::{Value, json};
use sqlx::Connection;
use tokio::task::JoinSet;

use database::Outcome;
use options::Options;
use stage::{Entrance, PEOPLE, Percentiles, SETTINGS, Setting, Stage, Took};

fn main() -> ExitCode {
    start::start(&["latency", "polling", "throughput", "memory", "start"], run)
}

/// A third of the time for each scenario if it is to be quick.
fn seconds(options: &Options, whole: u64) -> Duration {
    Duration::from_secs(if options.quick { whole.div_ceil(3) } else { whole })
}

async fn run(options: &Options) -> Outcome<bool> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("The bot against the sandbox at zero latency, SQLite, {cores} cores shared by bot, sandbox and load.");
    println!(
        "MERGE_WINDOW_MS=0 and TELEGRAM_PER_SECOND=10000: neither the deliberate wait nor Telegram's own limit.\n"
    );
    let mut report = serde_json::Map::new();
    report.insert("cores".into(), json!(cores));
    let mut broken = Vec::new();
    let mut add = |name: &str, figures: Value, aims: &[(&str, bool)]| {
        broken.extend(aims.iter().filter(|(_, met)| !met).map(|(aim, _)| format!("{name}: {aim}")));
        report.insert(name.to_owned(), figures);
    };
    if options.wants("latency") {
        let mut runs = Vec::new();
        while runs.len() < 3 {
            let run = latency(seconds(options, 30), Entrance::Webhook).await?;
            let calm = run.disturbed < 0.1;
            runs.push(run.show("webhook, 50 turns/s"));
            if calm {
                break;
            }
        }
        let best = runs.iter().filter_map(|run| run["first_text_ms"]["p99"].as_f64()).fold(f64::INFINITY, f64::min);
        let whole = runs.iter().all(is_whole);
        add("latency", Value::Array(runs), &[("everything answered once", whole), ("first text, 99 %", best <= 10.0)]);
    }
    if options.wants("polling") {
        let run = latency(seconds(options, 15), Entrance::Polling).await?;
        let run = run.show("long polling, 50 turns/s");
        let whole = is_whole(&run);
        add("polling", run, &[("everything answered once", whole)]);
    }
    if options.wants("throughput") {
        let mut runs = Vec::new();
        for in_flight in [64, 256] {
            runs.push(throughput(seconds(options, 12), in_flight).await?);
        }
        let whole = runs.iter().all(is_whole);
        let fast = runs.iter().all(|run| run["turns_per_second"].as_f64().is_some_and(|rate| rate >= 200.0));
        add("throughput", Value::Array(runs), &[("everything answered once", whole), ("200 turns a second", fast)]);
    }
    if options.wants("memory") {
        let figures = memory().await?;
        let small = figures["active_mb"].as_f64().is_some_and(|mb| mb <= 60.0);
        add("memory", figures, &[("60 MB with 1,000 people in conversation", small)]);
    }
    if options.wants("start") {
        add("start", start(if options.quick { 3 } else { 7 }).await?, &[]);
    }
    if let Some(file) = &options.json {
        fs::write(file, serde_json::to_string_pretty(&Value::Object(report))?)?;
    }
    broken.iter().for_each(|what| println!("NOT MET: {what}"));
    Ok(broken.is_empty())
}

/// Whether every question of a run had its one answer, and the bot had nothing to complain of.
fn is_whole(run: &Value) -> bool {
    ["lost", "stray_messages", "warnings"].iter().all(|count| run[*count] == 0)
}

struct Latency {
    turns: usize,
    lost: usize,
    first: Percentiles,
    last: Percentiles,
    cpu_per_turn: Duration,
    stray: usize,
    complaints: usize,
    disturbed: f64,
}

impl Latency {
    fn show(&self, name: &str) -> Value {
        println!(
            "{name}: {} turns, {} lost, {} stray messages, {} warnings",
            self.turns, self.lost, self.stray, self.complaints
        );
        println!("  to the first visible text  {}", self.first);
        println!("  to the final answer        {}", self.last);
        println!(
            "  bot's processor time       {:.2} ms per turn; others used {:.0} % of the machine\n",
            self.cpu_per_turn.as_secs_f64() * 1e3,
            self.disturbed * 100.0
        );
        json!({"turns": self.turns, "lost": self.lost, "stray_messages": self.stray, "warnings": self.complaints,
            "first_text_ms": self.first.json(), "final_ms": self.last.json(),
            "cpu_ms_per_turn": self.cpu_per_turn.as_secs_f64() * 1e3, "others_share": self.disturbed})
    }
}

/// Open-loop arrivals at 50 turns a second.
async fn latency(span: Duration, entrance: Entrance) -> Outcome<Latency> {
    let stage = Arc::new(Stage::set(Setting::new(entrance)).await?);
    // Connections, statements and pages are there before the clock runs.
    stage.everybody_once(100).await;
    let meter = stage.meter();
    let took = stage.arrive(PEOPLE, 50.0, span, stage::QUESTION).await;
    let used = meter.stop();
    let answered: Vec<Took> = took.iter().flatten().copied().collect();
    Ok(Latency {
        turns: took.len(),
        lost: took.len() - answered.len(),
        first: Percentiles::of(answered.iter().map(|took| took.first)),
        last: Percentiles::of(answered.iter().map(|took| took.last)),
        cpu_per_turn: used.bot / u32::try_from(took.len().max(1))?,
        stray: stage.stray_messages(),
        complaints: stage.complaints(),
        disturbed: used.others_share,
    })
}

/// Each of `in_flight` people asks again as soon as they are answered.
async fn throughput(span: Duration, in_flight: i64) -> Outcome<Value> {
    let stage = Arc::new(Stage::set(Setting::new(Entrance::Webhook)).await?);
    stage.everybody_once(100).await;
    let meter = stage.meter();
    let began = Instant::now();
    let mut running = JoinSet::new();
    for person in 1..=in_flight {
        let stage = stage.clone();
        running.spawn(async move {
            let (mut answered, mut lost, mut chat) = (Vec::new(), 0, person);
            while began.elapsed() < span {
                match stage.ask(chat).await {
                    Some(took) => answered.push(took),
                    None => lost += 1,
                }
                // All of the people take part, so that conversations grow as they would.
                chat = person + (chat + in_flight - person) % (PEOPLE / in_flight * in_flight);
            }
            (answered, lost)
        });
    }
    let done = running.join_all().await;
    let whole = began.elapsed();
    let used = meter.stop();
    let answered: Vec<Took> = done.iter().flat_map(|(answered, _)| answered).copied().collect();
    let lost: u32 = done.iter().map(|(_, lost)| lost).sum();
    let first = Percentiles::of(answered.iter().map(|took| took.first));
    let rate = answered.len() as f64 / whole.as_secs_f64();
    let (bot, own) = (used.bot.as_secs_f64() / whole.as_secs_f64(), used.own.as_secs_f64() / whole.as_secs_f64());
    let (rss, peak) = stage.memory()?;
    let (stray, complaints) = (stage.stray_messages(), stage.complaints());
    let per_turn = used.bot.as_secs_f64() * 1e3 / answered.len().max(1) as f64;
    println!(
        "throughput, {in_flight} people asking all the time: {rate:.0} complete turns/s, {lost} lost, {stray} stray messages, {complaints} warnings"
    );
    println!("  to the first visible text  {first}");
    println!(
        "  cores: bot {bot:.2}, sandbox and load {own:.2}, others {:.0} % of the machine; {per_turn:.2} ms of the bot per turn; RSS {rss:.1} MB (peak {peak:.1})\n",
        used.others_share * 100.0
    );
    Ok(json!({"in_flight": in_flight, "turns_per_second": rate, "turns": answered.len(), "lost": lost,
        "first_text_ms": first.json(), "bot_cores": bot, "sandbox_and_load_cores": own, "cpu_ms_per_turn": per_turn,
        "rss_mb": rss, "peak_mb": peak, "stray_messages": stray, "warnings": complaints, "others_share": used.others_share}))
}

/// A thousand people in conversation: each asked five times within the minute, then all at the same moment, while the
/// model takes two seconds to begin.
async fn memory() -> Outcome<Value> {
    let slow = openai::Settings {
        first_token: Duration::from_secs(2),
        per_token: Duration::from_millis(10),
        ..openai::Settings::default()
    };
    let slow = OpenAiSandbox::start(slow).await?;
    let fresh = Stage::set(Setting::new(Entrance::Webhook)).await?;
    let (at_start, _) = fresh.memory()?;
    for _ in 0..5 {
        fresh.everybody_once(64).await;
    }
    let (active, active_peak) = fresh.memory()?;
    drop(fresh);
    let stage = Stage::set(Setting { openai: Some(slow.base_url()), ..Setting::new(Entrance::Webhook) }).await?;
    let _unread = slow.control.follow();
    stage.everybody_once(usize::MAX >> 3).await;
    let (after, at_once) = stage.memory()?;
    println!(
        "memory (resident): {at_start:.1} MB ready, {active:.1} MB after 5 turns of each of {PEOPLE} people (peak {active_peak:.1})"
    );
    println!("  {PEOPLE} answers in the making at the same moment: peak {at_once:.1} MB, {after:.1} MB afterwards\n");
    Ok(json!({"ready_mb": at_start, "active_mb": active, "active_peak_mb": active_peak,
        "all_at_once_peak_mb": at_once, "all_at_once_after_mb": after}))
}

/// From the start of the process to 200 from `/readyz`, with 100,000 stored messages.
async fn start(times: usize) -> Outcome<Value> {
    let folder = tempfile::tempdir()?;
    let sandbox = Sandbox::start(SETTINGS).await?;
    let file = folder.path().join("bot.db");
    let size = fill(&file).await?;
    let mut spans = Vec::new();
    for _ in 0..times {
        let database = format!("sqlite://{}", file.display());
        let bot = stage::start(&sandbox, &database, folder.path(), &Setting::new(Entrance::Webhook)).await?;
        spans.push(bot.ready_after);
    }
    let spans = Percentiles::of(spans.into_iter());
    println!("start to ready with 100,000 stored messages ({size:.0} MB): {spans}\n");
    Ok(json!({"database_mb": size, "ready_ms": spans.json()}))
}

/// A database as after a year: 1,000 people, 50,000 turns, 100,000 lines of memory, a ledger row for each turn.
async fn fill(file: &Path) -> Outcome<f64> {
    let url = format!("sqlite://{}", file.display());
    let store = Store::open(&url, 2).await?;
    store.migrate().await?;
    store.close().await;
    let mut db = sqlx::SqliteConnection::connect(&url).await?;
    let numbers =
        |to: u32| format!("WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {to})");
    let id = |what: char, number: &str| format!("printf('{what}0000000-0000-7000-8000-%012x', {number})");
    let (person, turn, line) = (id('a', "i % 1000"), id('b', "i"), id('c', "i"));
    let conversation = id('d', "(i / 2) % 1000");
    let words = "a sentence of a conversation about hooks, cuts and captions, of usual length. ".repeat(4);
    let (thousand, fifty, hundred) = (numbers(1000), numbers(50_000), numbers(100_000));
    let statements = [
        "BEGIN".to_owned(),
        format!("{thousand} INSERT INTO people (id, created_at) SELECT {person}, i FROM n"),
        format!("{thousand} INSERT INTO accounts SELECT 'telegram', i, {person}, 'Person', i FROM n"),
        format!("{thousand} INSERT INTO chats SELECT 'telegram:' || i, 'telegram', i, i, TRUE FROM n"),
        format!(
            "{thousand} INSERT INTO conversations SELECT {}, {person}, 'telegram:' || i, i, NULL, '', '' FROM n",
            id('d', "i")
        ),
        format!(
            "{fifty} INSERT INTO turns (id, kind, state, person_id, chat, merge_until, inputs, aside, sealed, due_at, attempt, shown, \
             outcome, created_at, closed_at) SELECT {turn}, 'talk', 'closed', {person}, 'telegram:' || (i % 1000), i, 1, FALSE, TRUE, i, 1, \
             '[\"7\"]', 'answered', i, i + 1 FROM n"
        ),
        format!("{fifty} INSERT INTO inbox SELECT 'telegram:' || (i % 1000), i, {turn}, '', i FROM n"),
        format!(
            "{hundred} INSERT INTO messages SELECT {line}, {conversation}, {}, CASE i % 2 WHEN 0 THEN 'person' ELSE 'coach' END, '{words}', i FROM n",
            id('b', "i / 2")
        ),
        format!(
            "{fifty} INSERT INTO ledger SELECT {turn} || ':1:0:1', i, {person}, 'telegram', 'telegram:' || (i % 1000), 'openai', \
             'gpt-6.1-sol', 'coach', 2000, 1500, 0, 300, 50, 4000, 'x', FALSE, 1500, 'ok', NULL FROM n"
        ),
        "COMMIT".to_owned(),
    ];
    for statement in statements {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut db).await?;
    }
    let (stored,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM messages").fetch_one(&mut db).await?;
    assert_eq!(stored, 100_000);
    db.close().await?;
    Ok(fs::metadata(file)?.len() as f64 / 1e6)
}
