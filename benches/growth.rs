//! How the bot's own work grows with its input: each figure at one size and at a hundred times that size (or a
//! thousand), and how many times dearer it became. Owns fixtures and the clock; the code under measure is the product's.
//!
//! `cargo bench --bench growth -- [--json FILE]`, with `TEST_DATABASE_URL=postgres://…` for PostgreSQL beside SQLite.
//!
//! Figures are medians. A pure function is run until a tenth of a second has gone by; a statement a hundred times.
#![expect(clippy::disallowed_methods, reason = "a program of its own: it reads the environment itself")]

use std::fs;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use reelcoach::clock::Timestamp;
use reelcoach::core::chat::{Body, LengthUnit, Markup, MessengerRules};
use reelcoach::core::reels::eta::{self, LaneState};
use reelcoach::core::reels::link::{self, Hosts};
use reelcoach::core::text;
use reelcoach::ids::{ChatId, InstanceId, MessageRef, PersonId, Platform, Shortcode, TurnId};
use reelcoach::store::Store;
use reelcoach::store::chats::Role;
use reelcoach::store::lanes::{Lane, LaneKind};
use reelcoach::store::reels::{JobEnd, QueueLimits, Wish};
use reelcoach::store::turns::{Arrival, NewMessage, Outcome as Ended};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};

type Failed = Box<dyn std::error::Error + Send + Sync>;
type Outcome<T> = Result<T, Failed>;

const NOW: Timestamp = Timestamp(1_790_000_000_000);
/// Times a statement is measured.
const TIMES: usize = 100;

fn main() -> ExitCode {
    let file = std::env::args().skip_while(|argument| argument != "--json").nth(1);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ran = runtime.map_err(Failed::from).and_then(|runtime| {
        let mut table = Table::default();
        pure(&mut table);
        runtime.block_on(stored(&mut table))?;
        file.map_or(Ok(()), |file| Ok(fs::write(file, serde_json::to_string_pretty(&table.json())?)?))
    });
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("growth: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What was measured: a name, and a time for each size.
#[derive(Default)]
struct Table(Vec<(String, Vec<(String, Duration)>)>);

impl Table {
    fn row(&mut self, name: impl Into<String>, sizes: Vec<(String, Duration)>) {
        let name = name.into();
        let cells: Vec<String> =
            sizes.iter().map(|(size, span)| format!("{size}: {:.1} µs", span.as_secs_f64() * 1e6)).collect();
        println!("{name:<34} {}   ×{:.1}", cells.join("   "), grown(&sizes));
        self.0.push((name, sizes));
    }

    fn json(&self) -> Value {
        let rows = self.0.iter().map(|(name, sizes)| {
            let us: serde_json::Map<String, Value> =
                sizes.iter().map(|(size, span)| (size.clone(), json!(span.as_secs_f64() * 1e6))).collect();
            json!({"name": name, "microseconds": us, "growth": grown(sizes)})
        });
        Value::Array(rows.collect())
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
}

fn rules(markup: Markup, unit: LengthUnit, limit: usize) -> MessengerRules {
    let edit_interval = Duration::from_secs(1);
    MessengerRules { unit, limit, markup, edit_interval, editable_for: None, dedupes_sends: false, per_second: 30 }
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
async fn stored(table: &mut Table) -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let server = std::env::var("TEST_DATABASE_URL").ok();
    let mut kinds = vec![("SQLite", None)];
    kinds.extend(server.as_deref().map(|server| ("PostgreSQL", Some(server))));
    for (kind, server) in kinds {
        println!("\n{kind}: 100 and 10,000 jobs in the line.");
        let mut rows = Vec::new();
        for jobs in [100, 10_000] {
            let mut place = Place::make(folder.path(), server, &format!("jobs{jobs}")).await?;
            place.fill(jobs, 0).await?;
            rows.push((jobs.to_string(), queue(&place.store).await?));
            place.remove().await?;
        }
        show(table, kind, rows);
        println!("\n{kind}: 1,000 and 100,000 finished turns.");
        let mut rows = Vec::new();
        for turns in [1000, 100_000] {
            let mut place = Place::make(folder.path(), server, &format!("turns{turns}")).await?;
            place.fill(0, turns).await?;
            rows.push((turns.to_string(), talk(&place.store).await?));
            place.remove().await?;
        }
        show(table, kind, rows);
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

/// One job comes, one goes: the line keeps its length.
async fn queue(store: &Store) -> Outcome<Times> {
    let limits = QueueLimits { interval: Duration::ZERO, waiting_per_person: i64::MAX, waiting: i64::MAX, pipeline: 1 };
    let lanes = [Lane { name: "direct:0".to_owned(), kind: LaneKind::Direct }];
    let (who, lease) = (InstanceId::new(), Duration::from_secs(60));
    let (mut submit, mut claim, mut finish, mut line) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for at in 0..TIMES {
        let chat = ChatId::new(Platform::Telegram, at.to_string());
        let person = store.person(Platform::Telegram, &format!("new{at}"), "Ana", NOW).await?;
        let reels: [Shortcode; 1] = [format!("E{at:010}").parse()?];
        let wish = Wish {
            turn: TurnId::new(),
            person,
            chat: &chat,
            reply_to: None,
            placeholder: None,
            question: "",
            reels: &reels,
            fresh: false,
        };
        timed(&mut submit, store.submit(&wish, limits, |_| String::new(), NOW)).await?;
        let job = timed(&mut claim, store.claim_job(who, &lanes, NOW, lease)).await?.ok_or("no job")?;
        let end = JobEnd::Done { content: "{}".to_owned(), pipeline: 1, until: NOW + lease };
        timed(&mut finish, store.finish_job(&job, &end, Duration::ZERO, NOW)).await?;
        timed(&mut line, store.line()).await?;
    }
    Ok(vec![("submit", submit), ("claim a job", claim), ("finish a job", finish), ("read the line", line)])
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
            person,
            payload: "{}",
            placeholder: None,
            atomic: false,
            aside: false,
            merge_window: Duration::ZERO,
            at: NOW,
        };
        timed(receive, store.receive(arrival)).await?;
        let mut claimed = timed(claim, store.claim_turns(who, &Platform::ALL, NOW, lease, 64)).await?;
        let turn = claimed.pop().ok_or("no turn")?;
        let conversation = timed(memory, store.memory(person, &turn.chat, NOW)).await?.conversation;
        let lines = [Role::Person, Role::Coach]
            .map(|role| NewMessage { role, content: "A sentence of usual length.".to_owned() });
        timed(answer, store.answer_turn(&turn, "{}", Some((conversation, &lines)), NOW)).await?;
        timed(close, store.close_turn(&turn, Ended::Answered, NOW)).await?;
        timed(spoken, store.is_idle()).await?;
    }
    let names =
        ["receive", "claim a turn", "read the memory", "answer a turn", "close a turn", "ask whether all is answered"];
    Ok(names.into_iter().zip(times).collect())
}

/// A database of this program's own.
struct Place {
    store: Store,
    behind: Behind,
    /// The server, and the name on it.
    server: Option<(String, String)>,
}

enum Behind {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Place {
    async fn make(folder: &std::path::Path, server: Option<&str>, name: &str) -> Outcome<Place> {
        let Some(server) = server else {
            let url = format!("sqlite://{}", folder.join(name).with_extension("db").display());
            let store = Store::open(&url, 4).await?;
            store.migrate().await?;
            let behind = Behind::Sqlite(SqliteConnection::connect(&url).await?);
            return Ok(Place { store, behind, server: None });
        };
        let name = format!("reelcoach_growth_{}_{name}", std::process::id());
        let mut admin = PgConnection::connect(server).await?;
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut admin).await?;
        let mut url = url::Url::parse(server)?;
        url.set_path(&name);
        let store = Store::open(url.as_str(), 4).await?;
        store.migrate().await?;
        let behind = Behind::Postgres(PgConnection::connect(url.as_str()).await?);
        Ok(Place { store, behind, server: Some((server.to_owned(), name)) })
    }

    /// 1,000 people, so many jobs in the line and so many finished turns, in SQL that both databases know.
    async fn fill(&mut self, jobs: u32, turns: u32) -> Outcome<()> {
        let numbers =
            |to: u32| format!("WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {to})");
        let id = |what: char, number: &str| {
            format!("'{what}0000000-0000-7000-8000-' || SUBSTR(CAST(1000000000000 + {number} AS TEXT), 2, 12)")
        };
        let (one, person, job, turn) = (id('a', "i"), id('a', "i % 1000"), id('e', "i"), id('b', "i"));
        let at = NOW.0 - 1_000_000_000;
        let people = numbers(1000);
        let mut statements = vec![
            format!("{people} INSERT INTO people (id, created_at) SELECT {one}, {at} FROM n"),
            format!("{people} INSERT INTO accounts SELECT 'telegram', CAST(i AS TEXT), {one}, 'Person', {at} FROM n"),
            format!(
                "{people} INSERT INTO chats SELECT 'telegram:' || CAST(i AS TEXT), 'telegram', 'x', {at}, TRUE FROM n"
            ),
            format!(
                "{people} INSERT INTO conversations SELECT {}, {one}, 'telegram:' || CAST(i AS TEXT), {at}, NULL, '', '' FROM n",
                id('d', "i")
            ),
        ];
        if jobs > 0 {
            let line = numbers(jobs);
            statements.push(format!(
                "{line} INSERT INTO jobs (id, shortcode, state, phase, asked_by, ready_at, attempt, leased_until, cancel, created_at) \
                 SELECT {job}, 'D' || SUBSTR(CAST(100000000000 + i AS TEXT), 2), 'queued', 'waiting', {person}, {at} + i, 0, 0, FALSE, {at} FROM n"
            ));
            statements.push(format!(
                "{line} INSERT INTO boards (id, state, person_id, chat, note, shown, posting_until, created_at) \
                 SELECT {}, 'open', {person}, 'telegram:' || CAST(i % 1000 AS TEXT), '', '', 0, {at} FROM n",
                id('f', "i")
            ));
            statements.push(format!(
                "{line} INSERT INTO subscriptions (id, state, job_id, shortcode, board_id, person_id, chat, turn_id, question, created_at) \
                 SELECT {}, 'waiting', {job}, 'D' || SUBSTR(CAST(100000000000 + i AS TEXT), 2), {}, {person}, \
                 'telegram:' || CAST(i % 1000 AS TEXT), {turn}, '', {at} FROM n",
                id('c', "i"),
                id('f', "i")
            ));
        }
        if turns > 0 {
            let past = numbers(turns);
            statements.push(format!(
                "{past} INSERT INTO turns (id, kind, state, person_id, chat, merge_until, inputs, sealed, due_at, attempt, shown, \
                 outcome, created_at, closed_at) SELECT {turn}, 'talk', 'closed', {person}, 'telegram:' || CAST(i % 1000 AS TEXT), {at}, 1, TRUE, \
                 {at} + i, 1, '[]', 'answered', {at}, {at} FROM n"
            ));
            statements.push(format!(
                "{past} INSERT INTO inbox SELECT 'telegram:' || CAST(i % 1000 AS TEXT), 'old' || CAST(i AS TEXT), {turn}, '', {at} FROM n"
            ));
            // The same short memory for everyone: only the tables around it are large.
            statements.push(format!(
                "{people} INSERT INTO messages SELECT {}, {}, {turn}, 'person', 'A sentence of usual length.', {at} FROM n",
                id('c', "i"),
                id('d', "i")
            ));
        }
        if self.server.is_some() {
            statements.push("ANALYZE".to_owned());
        }
        for statement in statements {
            let statement = AssertSqlSafe(statement);
            let _rows = match &mut self.behind {
                Behind::Sqlite(connection) => sqlx::query(statement).execute(connection).await?.rows_affected(),
                Behind::Postgres(connection) => sqlx::query(statement).execute(connection).await?.rows_affected(),
            };
        }
        Ok(())
    }

    async fn remove(self) -> Outcome<()> {
        self.store.close().await;
        match self.behind {
            Behind::Sqlite(connection) => connection.close().await?,
            Behind::Postgres(connection) => connection.close().await?,
        }
        if let Some((server, name)) = self.server {
            let mut admin = PgConnection::connect(&server).await?;
            sqlx::query(AssertSqlSafe(format!("DROP DATABASE {name}"))).execute(&mut admin).await?;
        }
        Ok(())
    }
}
