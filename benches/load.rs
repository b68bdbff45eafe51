//! What one machine carries, and what it costs: the real program as processes of their own, against the sandbox in this
//! one. Owns the load, the promises and the clock; the bot is told nothing but addresses.
//!
//! `cargo bench --bench load -- [--json FILE] [--quick] [--only sustained,idle,flight,hits,instances]`
//!
//! # What is measured, and how
//!
//! - Updates come in as in `turns` (webhook, Poisson arrivals), and `TELEGRAM_PER_SECOND=10000`: Telegram itself takes no
//!   more than 30 messages a second of a bot; here the question is what the machine carries.
//! - `sustained`: 10,000 people, each of whom asks once within two minutes (5,000 messages a minute), while the model takes 2 s to its first word and then streams.
//!   Added time is what is left of the time to the first visible text without those 2 s.
//! - `idle`: what the bot's memory grows by, when 10,000 people have spoken to it instead of 1,000.
//! - `flight`: 2,000 people ask at once, and wait for 2 s; the bot's own gauge tells how many it works for.
//! - `hits`: people paste a link that was read before; the time to its whole answer, the model answering at once.
//! - `instances`: as many messages as one and as three instances can answer on one PostgreSQL (`TEST_DATABASE_URL`), each
//!   with a fifth of a core to itself, so that three fit beside the load on this machine (needs the right to make a
//!   control group).
//! - A promise that is not met makes it exit 1. Bot, sandbox and load share the cores: the figures are the bot's own or
//!   worse.
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
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sandbox::openai::{self, OpenAiSandbox};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use database::Outcome;
use options::Options;
use stage::{Entrance, Percentiles, Setting, Stage, Took};

/// The model's time to its first word.
const FIRST_TOKEN: Duration = Duration::from_secs(2);
/// Between the words after it.
const PER_TOKEN: Duration = Duration::from_millis(10);

fn main() -> ExitCode {
    start::start(&["sustained", "idle", "flight", "hits", "instances"], run)
}

/// What came of one scenario.
struct Found {
    /// What is promised: its name, what was measured, the bound, and whether it holds.
    promises: Vec<(&'static str, String, &'static str, bool)>,
    figures: Value,
}

async fn run(options: &Options) -> Outcome<bool> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("The bot against the sandbox, {cores} cores shared by bot, sandbox and load.\n");
    let mut report = serde_json::Map::new();
    let mut promises = Vec::new();
    let mut add = |name: &str, found: Found| {
        report.insert(name.to_owned(), found.figures);
        promises.extend(found.promises);
    };
    if options.wants("sustained") {
        add("sustained", sustained(if options.quick { 15 } else { 120 }).await?);
    }
    if options.wants("idle") {
        add("idle", idle().await?);
    }
    if options.wants("flight") {
        add("flight", flight().await?);
    }
    if options.wants("hits") {
        add("hits", hits(if options.quick { 5 } else { 20 }).await?);
    }
    if options.wants("instances") {
        add("instances", instances(&database::server()?, if options.quick { 5 } else { 15 }).await?);
    }
    println!("{:<58} {:>22}  {:<18}", "promise", "measured", "bound");
    for (name, measured, bound, holds) in &promises {
        println!("{name:<58} {measured:>22}  {bound:<18} {}", if *holds { "kept" } else { "NOT KEPT" });
    }
    let kept = promises.iter().all(|(.., holds)| *holds);
    if let Some(file) = &options.json {
        let table = promises.iter().map(|(name, measured, bound, holds)| {
            json!({"promise": name, "measured": measured, "bound": bound, "kept": holds})
        });
        report.insert("promises".into(), table.collect());
        fs::write(file, serde_json::to_string_pretty(&Value::Object(report))?)?;
    }
    Ok(kept)
}

async fn slow_model() -> Outcome<OpenAiSandbox> {
    let slow = openai::Settings { first_token: FIRST_TOKEN, per_token: PER_TOKEN, ..openai::Settings::default() };
    let slow = OpenAiSandbox::start(slow).await?;
    // Nobody reads of these; they are not to be kept.
    drop(slow.control.follow());
    Ok(slow)
}

async fn sustained(seconds: u64) -> Outcome<Found> {
    let (people, a_minute) = (10_000, 5_000.0);
    let model = slow_model().await?;
    let setting = Setting { people, openai: Some(model.base_url()), ..Setting::new(Entrance::Webhook) };
    let stage = Arc::new(Stage::set(setting).await?);
    stage.once(1..=200, 100).await;
    let meter = stage.meter();
    let began = Instant::now();
    let took = stage.arrive(people, a_minute / 60.0, Duration::from_secs(seconds), stage::QUESTION).await;
    let (used, whole) = (meter.stop(), began.elapsed().as_secs_f64());
    let answered: Vec<Took> = took.iter().flatten().copied().collect();
    let lost = took.len() - answered.len();
    let added = Percentiles::of(answered.iter().map(|took| took.first.saturating_sub(FIRST_TOKEN)));
    let last = Percentiles::of(answered.iter().map(|took| took.last));
    let (rss, peak) = stage.memory()?;
    let cpu = used.bot.as_secs_f64() * 1e3 / took.len().max(1) as f64;
    println!(
        "sustained, {a_minute:.0} messages a minute of {people} people, the model's first word after 2 s: {} messages, {lost} lost, {} stray messages, {} warnings",
        took.len(),
        stage.stray_messages(),
        stage.complaints()
    );
    println!("  added to the first visible text  {added}");
    println!("  to the final answer              {last}");
    println!(
        "  bot's processor time             {cpu:.2} ms per turn; RSS {rss:.1} MB (peak {peak:.1}); cores: bot {:.2}, sandbox and load {:.2}; others used {:.0} % of the machine\n",
        used.bot.as_secs_f64() / whole,
        used.own.as_secs_f64() / whole,
        used.others_share * 100.0
    );
    let failed = lost + stage.stray_messages() + stage.complaints();
    Ok(Found {
        promises: vec![
            ("5,000 messages a minute: lost, stray or warned of", failed.to_string(), "0", failed == 0),
            (
                "added to the first text at that load, p99",
                format!("{:.1} ms", added.p99.as_secs_f64() * 1e3),
                "15 ms",
                added.p99 <= Duration::from_millis(15),
            ),
        ],
        figures: json!({"messages": took.len(), "lost": lost, "stray_messages": stage.stray_messages(), "warnings": stage.complaints(),
            "added_first_text_ms": added.json(), "final_ms": last.json(), "cpu_ms_per_turn": cpu, "rss_mb": rss, "peak_mb": peak,
            "others_share": used.others_share}),
    })
}

async fn idle() -> Outcome<Found> {
    let (few, many) = (1_000, 10_000);
    let stage = Stage::set(Setting { people: many, ..Setting::new(Entrance::Webhook) }).await?;
    let (ready, _) = stage.memory()?;
    let mut lost = stage.once(1..=few, 32).await;
    let (before, _) = stage.memory()?;
    lost += stage.once(few + 1..=many, 32).await;
    let (after, peak) = stage.memory()?;
    let per_person = (after - before) * 1e3 / (many - few) as f64;
    println!(
        "idle: {ready:.1} MB ready, {before:.1} MB when {few} people have spoken, {after:.1} MB when {many} have (peak {peak:.1}), {lost} lost"
    );
    println!("  {per_person:.2} KB for each person known\n");
    Ok(Found {
        promises: vec![(
            "memory for each idle person known",
            format!("{per_person:.2} KB"),
            "4 KB",
            per_person <= 4.0 && lost == 0,
        )],
        figures: json!({"ready_mb": ready, "thousand_mb": before, "ten_thousand_mb": after, "kb_per_person": per_person, "lost": lost}),
    })
}

async fn flight() -> Outcome<Found> {
    let people = 2_000;
    let model = slow_model().await?;
    let setting = Setting { people, openai: Some(model.base_url()), ..Setting::new(Entrance::Webhook) };
    let stage = Stage::set(setting).await?;
    let (ready, _) = stage.memory()?;
    let (lost, in_flight) = tokio::join!(stage.everybody_once(usize::MAX >> 3), stage.most_in_flight());
    let (after, peak) = stage.memory()?;
    println!(
        "flight: {people} ask at once, {in_flight} in flight: peak {peak:.1} MB (ready {ready:.1}, afterwards {after:.1}), {lost} lost\n"
    );
    Ok(Found {
        promises: vec![(
            "resident memory with 2,000 turns in flight",
            format!("{peak:.1} MB"),
            "150 MB",
            peak <= 150.0 && lost == 0 && in_flight >= people,
        )],
        figures: json!({"in_flight": in_flight, "ready_mb": ready, "peak_mb": peak, "after_mb": after, "lost": lost}),
    })
}

async fn hits(seconds: u64) -> Outcome<Found> {
    let (people, link) = (5_000, "https://www.instagram.com/reel/DQ000000001/");
    let stage = Arc::new(Stage::set(Setting { people, ..Setting::new(Entrance::Webhook) }).await?);
    if stage.say(people, link).await.is_none() {
        let screen = stage.sandbox.telegram.screen(people);
        let seen: Vec<&str> = screen.iter().map(|shown| shown.text.as_str()).collect();
        return Err(format!("the first to paste the link got no answer, but {seen:?}").into());
    }
    stage.once(1..=200, 100).await;
    let scraped = stage.sandbox.apify.runs().len();
    let took = stage.arrive(people - 1, 50.0, Duration::from_secs(seconds), link).await;
    let answered: Vec<Took> = took.iter().flatten().copied().collect();
    let lost = took.len() - answered.len();
    let last = Percentiles::of(answered.iter().map(|took| took.last));
    let bought = stage.sandbox.apify.runs().len() - scraped;
    println!(
        "hits, 50 a second: {} pastes of a known link, {lost} lost, {bought} runs of Apify, {} warnings",
        took.len(),
        stage.complaints()
    );
    println!("  to the final answer  {last}\n");
    let holds = last.p99 <= Duration::from_millis(50) && lost + bought == 0;
    Ok(Found {
        promises: vec![(
            "a known reel, to its whole answer, p99",
            format!("{:.1} ms", last.p99.as_secs_f64() * 1e3),
            "50 ms",
            holds,
        )],
        figures: json!({"pastes": took.len(), "lost": lost, "bought": bought, "final_ms": last.json()}),
    })
}

async fn instances(server: &str, seconds: u64) -> Outcome<Found> {
    let mut rates = Vec::new();
    for count in [1, 3] {
        let setting = Setting {
            people: 2_000,
            server: Some(server.to_owned()),
            instances: count,
            cores: Some(0.2),
            ..Setting::new(Entrance::Webhook)
        };
        let stage = Arc::new(Stage::set(setting).await?);
        stage.once(1..=100, 8).await;
        let (span, in_flight) = (Duration::from_secs(seconds), 32 * i64::try_from(count)?);
        let meter = stage.meter();
        let began = Instant::now();
        let mut running = JoinSet::new();
        for person in 1..=in_flight {
            let stage = stage.clone();
            running.spawn(async move {
                let (mut answered, mut chat) = (0_u32, person);
                while began.elapsed() < span {
                    answered += u32::from(stage.ask(chat).await.is_some());
                    chat = person + (chat + in_flight - person) % (2_000 / in_flight * in_flight);
                }
                answered
            });
        }
        let answered: u32 = running.join_all().await.iter().sum();
        let (whole, used) = (began.elapsed().as_secs_f64(), meter.stop());
        let rate = f64::from(answered) / whole;
        println!(
            "instances, {count} with 0.2 core each: {rate:.1} turns/s; cores: bots {:.2}, sandbox and load {:.2}; PostgreSQL and others {:.0} % of the machine; {} warnings",
            used.bot.as_secs_f64() / whole,
            used.own.as_secs_f64() / whole,
            used.others_share * 100.0,
            stage.complaints()
        );
        rates.push(rate);
        Arc::into_inner(stage).ok_or("somebody is still asking")?.end().await?;
    }
    let times = rates[1] / rates[0];
    println!("  three are {times:.2} times one\n");
    Ok(Found {
        promises: vec![(
            "three instances on one PostgreSQL, of one",
            format!("{times:.2} times"),
            "2.5 times",
            times >= 2.5,
        )],
        figures: json!({"one": rates[0], "three": rates[1], "times": times}),
    })
}
