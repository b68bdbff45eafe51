//! What it costs that a message outlives a power cut on SQLite: messages stored and acknowledged per second by one, ten and
//! a hundred writers. Owns the comparison; the bot's own way is `src/store/wal.rs`, with the same few lines.
//!
//! `cargo bench --bench sync -- [--json FILE] [--quick] [--only none,each,shared]`
//!
//! - `none`: nobody waits for the disk (`synchronous = NORMAL`); the last messages before a power cut are lost.
//! - `each`: SQLite syncs its log in each commit (`FULL`), and everybody else waits meanwhile.
//! - `shared`: commits as `none`; then each writer waits for a sync that began after its commit, which it shares with all
//!   who wait.
//!
//! The database is in the folder for temporary files: on a file system in memory all three are alike.
#![expect(clippy::disallowed_methods, reason = "a program of its own: it starts its tasks and reads the time itself")]

#[path = "shared/database.rs"]
mod database;
#[path = "shared/options.rs"]
mod options;
#[path = "shared/start.rs"]
mod start;

use std::fs::File;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Connection};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use database::Outcome;
use options::Options;

const WAYS: [&str; 3] = ["none", "each", "shared"];
const WRITERS: [usize; 3] = [1, 10, 100];

const TABLES: &str = "CREATE TABLE chats (id TEXT PRIMARY KEY, at BIGINT); \
    CREATE TABLE turns (id TEXT PRIMARY KEY, chat TEXT, due_at BIGINT); CREATE INDEX due ON turns (due_at); \
    CREATE TABLE inbox (chat TEXT, message TEXT, payload TEXT, PRIMARY KEY (chat, message))";

fn main() -> ExitCode {
    start::start(&WAYS, run)
}

async fn run(options: &Options) -> Outcome<bool> {
    println!("Messages stored and acknowledged on SQLite, three rows each in one transaction.\n");
    let span = Duration::from_secs(if options.quick { 2 } else { 6 });
    let mut figures = Vec::new();
    for writers in WRITERS {
        for way in WAYS.into_iter().filter(|way| options.wants(way)) {
            let mut took = write(way, writers, span).await?;
            took.sort();
            let rate = took.len() as f64 / span.as_secs_f64();
            let part = |part: usize| took[(took.len() - 1) * part / 100].as_secs_f64() * 1e3;
            let (p50, p99) = (part(50), part(99));
            println!("{writers:>4} writers, sync {way:<6} {rate:>7.0}/s, p50 {p50:.2} ms, p99 {p99:.2} ms");
            figures.push(json!({"writers": writers, "sync": way, "per_second": rate, "p50_ms": p50, "p99_ms": p99}));
        }
    }
    if let Some(file) = &options.json {
        std::fs::write(file, serde_json::to_string_pretty(&figures)?)?;
    }
    Ok(true)
}

/// How long each message took.
async fn write(way: &str, writers: usize, span: Duration) -> Outcome<Vec<Duration>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("bench.db");
    let synchronous = if way == "each" { SqliteSynchronous::Full } else { SqliteSynchronous::Normal };
    let options = SqliteConnectOptions::new()
        .filename(&file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous);
    let mut database = SqliteConnection::connect_with(&options).await?;
    for table in TABLES.split(';') {
        sqlx::query(AssertSqlSafe(table.to_owned())).execute(&mut database).await?;
    }
    let log = Arc::new(Log {
        file: Arc::new(File::options().write(true).open(folder.path().join("bench.db-wal"))?),
        commits: AtomicU64::new(0),
        synced: Mutex::new(0),
    });
    let database = Arc::new(Mutex::new(database));
    let (began, is_shared) = (Instant::now(), way == "shared");
    let mut running = JoinSet::new();
    for writer in 0..writers {
        let (database, log) = (database.clone(), log.clone());
        running.spawn(async move {
            let mut took = Vec::new();
            while began.elapsed() < span {
                let asked = Instant::now();
                message(&mut *database.lock().await, writer, took.len()).await?;
                if is_shared {
                    log.sync().await?;
                }
                took.push(asked.elapsed());
            }
            Ok::<_, sqlx::Error>(took)
        });
    }
    let mut all = Vec::new();
    for took in running.join_all().await {
        all.extend(took?);
    }
    Ok(all)
}

async fn message(database: &mut SqliteConnection, writer: usize, nth: usize) -> sqlx::Result<()> {
    let (chat, id) = (format!("telegram:{writer}"), i64::try_from(nth).unwrap_or(0));
    let mut transaction = database.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query("INSERT INTO turns VALUES ($1, $2, $3)")
        .bind(format!("{writer}-{nth}"))
        .bind(&chat)
        .bind(id)
        .execute(&mut *transaction)
        .await?;
    sqlx::query("INSERT INTO inbox VALUES ($1, $2, $3)")
        .bind(&chat)
        .bind(nth.to_string())
        .bind("x".repeat(300))
        .execute(&mut *transaction)
        .await?;
    sqlx::query("INSERT INTO chats VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET at = excluded.at")
        .bind(&chat)
        .bind(id)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}

struct Log {
    file: Arc<File>,
    commits: AtomicU64,
    synced: Mutex<u64>,
}

impl Log {
    async fn sync(&self) -> sqlx::Result<()> {
        let own = self.commits.fetch_add(1, Ordering::AcqRel) + 1;
        let mut synced = self.synced.lock().await;
        if *synced >= own {
            return Ok(());
        }
        let until = self.commits.load(Ordering::Acquire);
        let file = self.file.clone();
        tokio::task::spawn_blocking(move || file.sync_data()).await.map_err(|_| sqlx::Error::WorkerCrashed)??;
        *synced = until;
        Ok(())
    }
}
