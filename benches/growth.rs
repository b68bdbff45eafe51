//! How the bot's own work grows with its input: each figure at one size and at a hundred or a thousand times that size,
//! and how many times dearer it became; how the databases carry out what is done with the line. Owns the clock; the code
//! under measure is the product's.
//!
//! `cargo bench --bench growth -- [--json FILE] [--only pure,line,talk]`, with `TEST_DATABASE_URL=postgres://…`
//! for PostgreSQL beside SQLite. Ends with 1 if an action on the line becomes more than twice as dear with 100,000 jobs
//! waiting, and with 1,000,000 ended ones beside them, as with 100 waiting.
//!
//! Figures are medians. A pure function is run until a tenth of a second has gone by; an action on a database a hundred
//! times, a slow one less often.
#![expect(clippy::disallowed_methods, reason = "a program of its own: it reads the environment itself")]

#[path = "shared/database.rs"]
mod database;
#[path = "growth/fixture.rs"]
mod fixture;
#[path = "growth/line.rs"]
mod line;
#[path = "shared/options.rs"]
mod options;
#[path = "growth/plans.rs"]
mod plans;
#[path = "shared/start.rs"]
mod start;

use std::fs;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use reelcoach::clock::Timestamp;
use reelcoach::core::admin::chart::{self, Chart, Kind, Look, Painter, Series, Unit};
use reelcoach::core::capacity::scenarios::Scenario;
use reelcoach::core::capacity::tiers::Tier;
use reelcoach::core::capacity::{self, Plan};
use reelcoach::core::chat::{Body, FileRules, LengthUnit, Markup, MessengerRules};
use reelcoach::core::reels::eta::{self, LaneState};
use reelcoach::core::reels::link::{self, Hosts};
use reelcoach::core::text;
use reelcoach::ids::{ChatId, InstanceId, MessageRef, PersonId, Platform};
use reelcoach::store::Store;
use reelcoach::store::chats::Role;
use reelcoach::store::turns::memory::Remembered;
use reelcoach::store::turns::{Arrival, NewMessage, Outcome as Ended};
use serde_json::{Value, json};

use database::{Outcome, server};
use fixture::Place;
use line::{BACKGROUND, Line, Probe};
use options::Options;
use plans::{Ear, plans};

const NOW: Timestamp = Timestamp(1_790_000_000_000);
/// Times a statement is measured.
const TIMES: usize = 100;
/// Jobs in the line, few and many, and ended ones beside them.
const FEW: u32 = 100;
const MANY: u32 = 100_000;
const ENDED: u32 = 1_000_000;
/// Ended jobs that are there from the start: more than are looked at for the usual time of one.
const SAMPLE: u32 = 50;
/// How many times dearer an action on the line may become.
const BOUND: f64 = 2.0;

fn main() -> ExitCode {
    start::start(&["pure", "line", "talk"], run)
}

async fn run(options: &Options) -> Outcome<bool> {
    let mut table = Table::default();
    if options.wants("pure") {
        pure(&mut table);
    }
    stored(&mut table, options).await?;
    if let Some(file) = &options.json {
        fs::write(file, serde_json::to_string_pretty(&table.json())?)?;
    }
    println!();
    table.broken.iter().for_each(|what| println!("NOT MET: {what}"));
    Ok(table.broken.is_empty())
}

/// What was measured: a name, and a time for each size.
#[derive(Default)]
struct Table {
    rows: Vec<(String, Vec<(String, Duration)>)>,
    plans: Vec<Value>,
    /// What was promised and is not so.
    broken: Vec<String>,
}

impl Table {
    fn row(&mut self, name: impl Into<String>, sizes: Vec<(String, Duration)>) {
        let name = name.into();
        let cells: Vec<String> =
            sizes.iter().map(|(size, span)| format!("{size}: {:.1} µs", span.as_secs_f64() * 1e6)).collect();
        println!("{name:<34} {}   ×{:.1}", cells.join("   "), grown(&sizes));
        self.rows.push((name, sizes));
    }

    fn json(&self) -> Value {
        let rows = self.rows.iter().map(|(name, sizes)| {
            let us: serde_json::Map<String, Value> =
                sizes.iter().map(|(size, span)| (size.clone(), json!(span.as_secs_f64() * 1e6))).collect();
            json!({"name": name, "microseconds": us, "growth": grown(sizes)})
        });
        json!({"rows": rows.collect::<Vec<_>>(), "plans": self.plans, "broken": self.broken})
    }
}

fn grown(sizes: &[(String, Duration)]) -> f64 {
    match (sizes.first(), sizes.last()) {
        (Some((_, first)), Some((_, last))) => last.as_secs_f64() / first.as_secs_f64().max(1e-9),
        _ => 1.0,
    }
}

/// What needs no database.
fn pure(table: &mut Table) {
    println!("Text of 10 kB, 100 kB, 1 MB: linear is ×100.");
    let telegram = rules(Markup::Html, LengthUnit::Utf16, 4096);
    let discord = rules(Markup::Discord, LengthUnit::Chars, 2000);
    let hosts = Hosts::default();
    let prose = "Open on the **result**, then say _why_ it matters: `cut` early. See https://example.org/a?b=c, then:\n\n- one\n- two 🎬\n\n";
    let links = "look www.instagram.com/reel/CODE/?igsh=abc and https://example.org/x ";
    type Work<'a> = Box<dyn Fn(&str) + 'a>;
    let works: [(&str, Work); 7] = [
        ("links in prose", Box::new(|text| drop(black_box(link::find(text, &[], &hosts))))),
        ("links in nothing but links", Box::new(|text| drop(black_box(link::find(text, &[], &hosts))))),
        ("render for Telegram", Box::new(|text| drop(black_box(text::render(&Body::text(text), &telegram))))),
        ("render for Discord", Box::new(|text| drop(black_box(text::render(&Body::text(text), &discord))))),
        ("frame for Telegram", Box::new(|text| drop(black_box(text::frame(text, &telegram))))),
        ("frame for Discord", Box::new(|text| drop(black_box(text::frame(text, &discord))))),
        ("split", Box::new(|text| drop(black_box(text::split(text, LengthUnit::Chars, 2000))))),
    ];
    for (name, work) in works {
        let sizes = [("10 kB", 10_000), ("100 kB", 100_000), ("1 MB", 1_000_000)].map(|(size, bytes)| {
            let input = if name.contains("nothing but") { many_links(links, bytes) } else { repeated(prose, bytes) };
            (size.to_owned(), median_of_many(|| work(&input)))
        });
        table.row(name, sizes.to_vec());
    }
    println!("\nJobs in the line: linear is ×1000.");
    let sizes = [10, 100, 1000, 10_000].map(|jobs: i64| {
        let ready: Vec<Timestamp> = (0..jobs).map(|at| Timestamp(NOW.0 + at * 10)).collect();
        let lanes = [LaneState { free_at: NOW, each: Duration::from_secs(27) }; 7];
        (jobs.to_string(), median_of_many(|| drop(black_box(eta::ends(NOW, &ready, &lanes)))))
    });
    table.row("expected ends", sizes.to_vec());
    println!("\nDays in a chart of eight series.");
    let painter = Painter::default();
    for name in ["chart as SVG", "chart as PNG"] {
        let sizes = [1, 30, 365].map(|days| {
            let work = || match name {
                "chart as PNG" => drop(black_box(painter.png(cost(days), Look::Dark))),
                _ => drop(black_box(chart::svg(&cost(days), Look::Dark))),
            };
            (days.to_string(), median_of_many(work))
        });
        table.row(name, sizes.to_vec());
    }
    println!("\nDays of the viral scenario that are planned: linear is ×30.");
    let sizes = [1, 10, 30].map(|days: u32| {
        let mut plan = Scenario::Viral.plan(&Plan::default());
        plan.span = Duration::from_secs(86_400) * days;
        plan.tier = Tier::unlimited();
        (days.to_string(), median_of_many(|| drop(black_box(capacity::simulate(&plan)))))
    });
    table.row("plan capacity", sizes.to_vec());
}

fn cost(days: usize) -> Chart {
    let values = |series: i64| (0..days).map(move |day| 40_000 * (series + 1) + 7_000 * (day as i64 * 31 % 17));
    Chart {
        title: "Cost per day".into(),
        subtitle: "by model".into(),
        kind: Kind::StackedBars,
        unit: Unit::Usd,
        days: chrono::NaiveDate::default().iter_days().take(days).collect(),
        series: (0..8).map(|at| Series::micro_usd(format!("model {at}"), values(at))).collect(),
        running: true,
    }
}

fn rules(markup: Markup, unit: LengthUnit, limit: usize) -> MessengerRules {
    let edit_interval = Duration::from_secs(1);
    MessengerRules {
        unit,
        limit,
        markup,
        edit_interval,
        editable_for: None,
        dedupes_sends: false,
        per_second: 30,
        in_chat: None,
        files: FileRules { most: 1, caption: 1024, picture_bytes: 1 << 20, file_bytes: 1 << 20, all_bytes: 1 << 20 },
    }
}

fn repeated(unit: &str, bytes: usize) -> String {
    unit.repeat(bytes / unit.len() + 1)
}

/// Every link another reel.
fn many_links(unit: &str, bytes: usize) -> String {
    (0..bytes / unit.len() + 1).map(|at| unit.replace("CODE", &code(at).to_string())).collect()
}

fn code(at: usize) -> String {
    format!("D{at:010}")
}

fn median_of_many(run: impl Fn()) -> Duration {
    let mut spans = Vec::new();
    let began = Instant::now();
    while spans.len() < 5 || began.elapsed() < Duration::from_millis(100) {
        let from = Instant::now();
        run();
        spans.push(from.elapsed());
    }
    median(&mut spans)
}

fn median(spans: &mut [Duration]) -> Duration {
    spans.sort_unstable();
    spans.get(spans.len() / 2).copied().unwrap_or_default()
}

/// What the database does, on each that there is.
async fn stored(table: &mut Table, options: &Options) -> Outcome<()> {
    let ear = Ear::installed();
    let folder = tempfile::tempdir()?;
    let server = server()?;
    for (kind, server) in [("SQLite", None), ("PostgreSQL", Some(server.as_str()))] {
        if options.wants("line") {
            let mut place = Place::make(folder.path(), server, "line").await?;
            in_line(table, kind, &mut place, &ear).await?;
            place.remove().await?;
        }
        if options.wants("talk") {
            println!("\n{kind}: 1,000 and 100,000 finished turns.");
            let mut rows = Vec::new();
            for turns in [1000, 100_000] {
                let mut place = Place::make(folder.path(), server, &format!("turns{turns}")).await?;
                place.talk(turns).await?;
                rows.push((turns.to_string(), talk(&place.store).await?));
                place.remove().await?;
            }
            show(table, kind, rows);
        }
    }
    Ok(())
}

/// What is done with the line, as it and the past behind it grow.
async fn in_line(table: &mut Table, kind: &str, place: &mut Place, ear: &Ear) -> Outcome<()> {
    println!("\n{kind}: {FEW} jobs in the line, {MANY}, and {MANY} with {ENDED} ended ones beside them.");
    place.end(0, SAMPLE).await?;
    let mut line = Line::new(place.store.clone());
    let mut sizes = Vec::new();
    for size in [format!("{FEW}"), format!("{MANY}"), format!("{MANY} + {ENDED} ended")] {
        match sizes.len() {
            0 => place.wait(0, FEW).await?,
            1 => place.wait(FEW, MANY).await?,
            _ => place.end(SAMPLE, ENDED).await?,
        }
        let mut probe = Probe::timing();
        for _ in 0..TIMES {
            line.round(&mut probe).await?;
        }
        line.look(&mut probe, TIMES).await?;
        sizes.push((size, probe.actions));
    }
    let mut probe = Probe::listening(ear);
    line.round(&mut probe).await?;
    line.look(&mut probe, 1).await?;
    let names: Vec<&str> = probe.actions.iter().map(|action| action.name).collect();
    for name in &names {
        let of = |actions: &mut Vec<line::Action>| {
            let found = actions.iter_mut().find(|action| action.name == *name);
            found.map(|action| median(&mut action.times)).unwrap_or_default()
        };
        let cells: Vec<_> = sizes.iter_mut().map(|(size, actions)| (size.clone(), of(actions))).collect();
        let first = cells.first().map_or(0.0, |(_, span)| span.as_secs_f64());
        let most = cells.iter().map(|(_, span)| span.as_secs_f64()).fold(0.0, f64::max) / first.max(1e-9);
        let label =
            if BACKGROUND.contains(name) { format!("{kind}: {name} (background)") } else { format!("{kind}: {name}") };
        if most > BOUND && !BACKGROUND.contains(name) {
            table.broken.push(format!("{label}: ×{most:.1}, promised ×{BOUND:.0}"));
        }
        table.row(label, cells);
    }
    println!("\n{kind}: how these are carried out; !! reads a whole table or index.");
    let mut shown = Vec::new();
    for action in &probe.actions {
        for plan in plans(&mut place.database, &action.statements).await? {
            table.plans.push(json!({"database": kind, "action": action.name, "statement": plan.statement,
                "plan": plan.lines, "scans": plan.scans}));
            if shown.contains(&plan.statement) {
                continue;
            }
            println!("  {}: {}", action.name, plan.statement);
            for line in &plan.lines {
                let mark = if plan.scans.iter().any(|scan| scan == line.trim()) { "!!" } else { "  " };
                println!("   {mark}   {line}");
            }
            shown.push(plan.statement);
        }
    }
    Ok(())
}

type Times = Vec<(&'static str, Vec<Duration>)>;

fn show(table: &mut Table, kind: &str, mut sizes: Vec<(String, Times)>) {
    let names: Vec<&str> =
        sizes.first().map(|(_, times)| times.iter().map(|(name, _)| *name).collect()).unwrap_or_default();
    for (at, name) in names.into_iter().enumerate() {
        let cells = sizes.iter_mut().map(|(size, times)| (size.clone(), median(&mut times[at].1)));
        table.row(format!("{kind}: {name}"), cells.collect());
    }
}

async fn timed<T, E>(into: &mut Vec<Duration>, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let from = Instant::now();
    let done = work.await;
    into.push(from.elapsed());
    done
}

/// One turn after another, of people who have talked before.
async fn talk(store: &Store) -> Outcome<Times> {
    let (who, lease) = (InstanceId::new(), Duration::from_secs(60));
    let mut times: [Vec<Duration>; 6] = Default::default();
    let [receive, claim, memory, answer, close, spoken] = &mut times;
    for at in 0..TIMES {
        let person: PersonId = store.person(Platform::Telegram, &at.to_string(), "Person", NOW).await?;
        let message = MessageRef::new(ChatId::new(Platform::Telegram, at.to_string()), format!("new{at}"));
        let arrival = Arrival {
            message: &message,
            guild: None,
            person,
            payload: "{}",
            placeholder: None,
            atomic: false,
            aside: false,
            merge_window: Duration::ZERO,
            limit: None,
            at: NOW,
        };
        timed(receive, store.receive(arrival)).await?;
        let mut claimed = timed(claim, store.claim_turns(who, &Platform::ALL, NOW, lease, 64)).await?;
        let turn = claimed.pop().ok_or("no turn")?;
        let conversation = timed(memory, store.memory(person, &turn.chat, NOW)).await?.conversation;
        let lines = [Role::Person, Role::Coach]
            .map(|role| NewMessage { role, content: "A sentence of usual length.".to_owned() });
        timed(answer, store.answer_turn(&turn, "{}", Some(&Remembered::of(conversation, &lines)), NOW)).await?;
        timed(close, store.close_turn(&turn, Ended::Answered, NOW)).await?;
        timed(spoken, store.is_idle()).await?;
    }
    let names =
        ["receive", "claim a turn", "read the memory", "answer a turn", "close a turn", "ask whether all is answered"];
    Ok(names.into_iter().zip(times).collect())
}
