//! What a report costs over a long ledger, and what keeping its sums adds to a paid call: a year of ten thousand people,
//! told in the product's own words. Owns the fixture and the bounds; the code under measure is the product's.
//!
//! `cargo bench --bench reports -- [--json FILE] [--quick] [--only report,call]`, with `TEST_DATABASE_URL=postgres://…` for
//! PostgreSQL. `--quick` leaves the longest ledger out. Ends with 1 if a bound is not met.
#![expect(clippy::disallowed_methods, reason = "a program of its own: it reads the environment itself")]

#[path = "shared/database.rs"]
mod database;
#[path = "shared/options.rs"]
mod options;
#[path = "shared/start.rs"]
mod start;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use reelcoach::clock::Timestamp;
use reelcoach::core::admin::figures::report;
use reelcoach::core::command::figures::{Figures, Lead};
use reelcoach::core::wording;
use reelcoach::ids::{ChatId, GuildId, PersonId, Platform};
use reelcoach::store::Store;
use reelcoach::store::budgets::Span;
use reelcoach::store::ledger::Entry;
use reelcoach::upstream::{Provider, STARTED, Usage};
use serde_json::{Value, json};

use database::{Database, Outcome, server};
use options::Options;

/// 2026-11-24, 12:00 UTC.
const NOW: Timestamp = Timestamp(1_795_521_600_000);
const YEAR_MS: i64 = 365 * 86_400_000;

const PEOPLE: i64 = 10_000;
const ROWS: [i64; 3] = [10_000, 100_000, 1_000_000];

/// A report is made within this.
const REPORT: Duration = Duration::from_millis(300);
/// A reservation with its settling, median, on SQLite.
const CALL: Duration = Duration::from_millis(2);

const TIMES: usize = 9;
const CALLS: usize = 400;

/// What is asked for; of one community where it begins with one.
const WISHES: [(&str, bool); 9] = [
    ("month by model", false),
    ("year by model", false),
    ("year by day", false),
    ("year by server", false),
    ("year by chat", false),
    ("year by person", false),
    // As many single days at both edges as there can be.
    ("2025-12-02..2026-11-23 by person", false),
    ("year by person", true),
    ("2025-12-02..2026-11-23 by chat", true),
];

fn main() -> ExitCode {
    start::start(&["report", "call"], run)
}

async fn run(options: &Options) -> Outcome<bool> {
    let folder = tempfile::tempdir()?;
    let server = server()?;
    let kinds = [("SQLite", None), ("PostgreSQL", Some(server.as_str()))];
    let sizes = if options.quick { &ROWS[..2] } else { &ROWS[..] };
    let (mut found, mut broken) = (Vec::new(), Vec::new());
    for (kind, server) in kinds {
        println!("\n{kind}: a year of {PEOPLE} people; medians in ms.");
        println!("{:<44}{}", "rows of the ledger", sizes.iter().map(|rows| format!("{rows:>12}")).collect::<String>());
        let mut columns = Vec::new();
        for rows in sizes {
            columns.push(measure(options, folder.path(), server, *rows).await?);
        }
        for (at, (name, _)) in columns[0].iter().enumerate() {
            let spans: Vec<Duration> = columns.iter().map(|column| column[at].1).collect();
            let cells: String = spans.iter().map(|span| format!("{:>12.2}", span.as_secs_f64() * 1e3)).collect();
            println!("{name:<44}{cells}");
            let last = spans[spans.len() - 1];
            let bound = match name.as_str() {
                "fill the roll-ups (migration)" => None,
                "reserve and settle a call" => server.is_none().then_some(CALL),
                _ => Some(REPORT),
            };
            if bound.is_some_and(|bound| last > bound) {
                broken.push(format!("{kind}: {name}: {:.1} ms", last.as_secs_f64() * 1e3));
            }
            let ms: Vec<f64> = spans.iter().map(|span| span.as_secs_f64() * 1e3).collect();
            found.push(json!({"database": kind, "what": name, "rows": sizes, "median_ms": ms}));
        }
    }
    if let Some(file) = &options.json {
        fs::write(file, serde_json::to_string_pretty(&Value::Array(found))?)?;
    }
    println!();
    broken.iter().for_each(|what| println!("NOT MET: {what}"));
    Ok(broken.is_empty())
}

/// Everything over a ledger of so many rows: what, and its median.
async fn measure(
    options: &Options,
    folder: &Path,
    server: Option<&str>,
    rows: i64,
) -> Outcome<Vec<(String, Duration)>> {
    let mut database = Database::make(folder, server, &format!("reports{rows}")).await?;
    let store = Store::open(&database.url, 4).await?;
    store.migrate().await?;
    let mut found = vec![("fill the roll-ups (migration)".to_owned(), fill(&mut database, rows).await?)];
    let guild = GuildId::new(Platform::Discord, "1007");
    for (wish, of_guild) in WISHES.iter().filter(|_| options.wants("report")) {
        let of_whom = of_guild.then_some(&guild);
        let lead = if wish.ends_with("day") { Lead::Usage } else { Lead::Cost };
        let figures = Figures::read(lead, wish).ok_or("a wish that is not understood")?;
        let mut spans = Vec::new();
        for _ in 0..TIMES {
            let from = Instant::now();
            let made = report(&store, figures, of_whom, 12, NOW).await?;
            let text = wording::usage::report(&made);
            spans.push(from.elapsed());
            if made.total.calls == 0 || made.lines.is_empty() || text.is_empty() {
                return Err(format!("“{wish}” found nothing").into());
            }
        }
        let whose = if *of_guild { "one server, " } else { "" };
        found.push((format!("{whose}{wish}"), median(&mut spans)));
    }
    if options.wants("call") {
        found.push(("reserve and settle a call".to_owned(), call(&store).await?));
    }
    store.close().await;
    database.remove().await?;
    Ok(found)
}

/// Reserves and settles calls of many people, one after the other.
async fn call(store: &Store) -> Outcome<Duration> {
    let caps = [
        ("bot", Span::Day, i64::MAX / 4),
        ("bot", Span::Month, i64::MAX / 4),
        ("platform", Span::Month, i64::MAX / 4),
        ("guild", Span::Month, i64::MAX / 4),
        ("chat", Span::Month, i64::MAX / 4),
        ("person", Span::Day, i64::MAX / 4),
        ("person", Span::Month, i64::MAX / 4),
    ];
    let mut spans = Vec::new();
    for at in 0..CALLS {
        let (key, chat) = (format!("measured-{at}"), ChatId::new(Platform::Discord, (at % 400).to_string()));
        let person: PersonId = format!("a0000000000070008000{:012}", at as i64 % PEOPLE).parse()?;
        let usage = Usage { input_tokens: 2_000, cached_tokens: 1_000, output_tokens: 300, ..Usage::default() };
        let reserved = Entry {
            key: &key,
            at: NOW,
            person,
            chat: &chat,
            provider: Provider::OpenAi,
            model: "gpt-6.1-sol",
            tool: "coach",
            usage: Usage { estimated: true, ..usage },
            micro_usd: 40_000,
            price_version: "2026-11",
            latency_ms: 0,
            outcome: STARTED,
        };
        let from = Instant::now();
        store.reserve(&reserved, &caps, NOW + Duration::from_secs(60)).await?;
        store.record(Entry { usage, micro_usd: 3_000, latency_ms: 900, outcome: "ok", ..reserved }).await?;
        spans.push(from.elapsed());
    }
    Ok(median(&mut spans))
}

/// A year's ledger, and its sums as the migration makes them; how long that took. What no migration fills in is filled in
/// as densely as a busy year would.
async fn fill(database: &mut Database, rows: i64) -> Outcome<Duration> {
    let settings: &[&str] = match database.is_postgres() {
        true => &["SET session_replication_role = replica", "SET synchronous_commit = off"],
        false => &["PRAGMA foreign_keys = OFF", "PRAGMA synchronous = OFF", "PRAGMA cache_size = -200000"],
    };
    for setting in settings {
        database.run(*setting).await?;
    }
    let numbers =
        |to: i64| format!("WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {to})");
    let person =
        |number: &str| format!("'a0000000000070008000' || SUBSTR(CAST(1000000000000 + {number} AS TEXT), 2, 12)");
    let step = YEAR_MS / rows;
    // Half of the people write in one of 400 channels of 80 servers, half in chats of their own.
    let who = format!("(CAST(i AS BIGINT) * 7919 % {PEOPLE})");
    let (is_guild, channel) = (format!("({who} % 2 = 0)"), format!("CAST({who} % 400 AS TEXT)"));
    let guild = format!("'discord:' || CAST(1000 + {who} % 400 / 5 AS TEXT)");
    let statements = [
        format!("{} INSERT INTO people (id, created_at) SELECT {}, 0 FROM n", numbers(PEOPLE), person("i")),
        format!(
            "{} INSERT INTO accounts (platform, account, person_id, name, created_at) \
             SELECT 'telegram', CAST(i AS TEXT), {}, 'Person ' || CAST(i AS TEXT), 0 FROM n",
            numbers(PEOPLE),
            person("i")
        ),
        format!(
            "{} INSERT INTO chats (id, platform, last_at, spoken, guild) SELECT 'discord:' || CAST(i AS TEXT), 'discord', 0, TRUE, \
             'discord:' || CAST(1000 + i / 5 AS TEXT) FROM n",
            numbers(400)
        ),
        format!(
            "{} INSERT INTO ledger (key, at, person_id, platform, chat, provider, model, tool, input_tokens, cached_tokens, \
             cache_write_tokens, output_tokens, reasoning_tokens, micro_usd, price_version, estimated, latency_ms, outcome, guild) \
             SELECT 'k' || CAST(i AS TEXT), {} - i * CAST({step} AS BIGINT), {}, \
             CASE WHEN {is_guild} THEN 'discord' ELSE 'telegram' END, \
             CASE WHEN {is_guild} THEN 'discord:' || {channel} ELSE 'telegram:' || CAST({who} AS TEXT) END, \
             CASE WHEN i % 10 < 7 THEN 'openai' WHEN i % 10 < 9 THEN 'apify' ELSE 'gemini' END, \
             CASE WHEN i % 10 < 5 THEN 'gpt-6.1-sol' WHEN i % 10 < 7 THEN 'gpt-6-luna' WHEN i % 10 < 9 THEN 'apify~instagram-reel-scraper' ELSE 'gemini-3.8-flash' END, \
             CASE WHEN i % 10 < 6 THEN 'coach' WHEN i % 10 < 7 THEN 'summary' WHEN i % 10 < 9 THEN 'scrape' ELSE 'analyse' END, \
             2000, 1200, 0, 300, 100, 1000 + i % 5000, '2026-11', FALSE, 900, \
             CASE WHEN i % 97 = 0 THEN 'timed_out' ELSE 'ok' END, CASE WHEN {is_guild} THEN {guild} ELSE NULL END FROM n",
            numbers(rows),
            NOW.0,
            person(&who),
        ),
        format!(
            "{} INSERT INTO usage_counts SELECT '', 20781 - i / 36, CASE WHEN i % 3 = 0 THEN 'discord' WHEN i % 3 = 1 THEN 'telegram' ELSE 'console' END, \
             'talk', 'outcome ' || CAST(i / 3 % 12 AS TEXT), 100 FROM n",
            numbers(365 * 36)
        ),
        format!(
            "{} INSERT INTO usage_times SELECT '', 20781 - i / 240, CASE WHEN i / 80 % 3 = 0 THEN 'answer' WHEN i / 80 % 3 = 1 THEN 'first_text' ELSE 'wait' END, \
             40 + i % 80, 10 FROM n",
            numbers(365 * 240)
        ),
    ];
    for statement in statements {
        database.run(statement).await?;
    }
    let migration = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/0009_usage.sql"))?;
    let lines: Vec<&str> = migration.lines().filter(|line| !line.starts_with("--")).collect();
    let from = Instant::now();
    for statement in lines.join("\n").split(';').filter(|statement| statement.trim().starts_with("INSERT")) {
        database.run(statement).await?;
    }
    let took = from.elapsed();
    let last: &[&str] = match database.is_postgres() {
        // A bot writes them day by day; the migration, all at once, leaves them in the order of a hash.
        true => &["CLUSTER usage_places USING usage_places_pkey", "VACUUM ANALYZE"],
        false => &["PRAGMA wal_checkpoint(TRUNCATE)"],
    };
    for statement in last {
        database.run(*statement).await?;
    }
    Ok(took)
}

fn median(spans: &mut [Duration]) -> Duration {
    spans.sort_unstable();
    spans.get(spans.len() / 2).copied().unwrap_or_default()
}
