//! A database that refuses writes, as the real ones do: SQLite by locks, page counts and files, PostgreSQL by its own
//! settings, or by a trigger that raises what the server would. Nothing of the product knows of it.

use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection, Executor};

use crate::support::TestDb;

/// Why writes are refused. The names of SQLite are those of its primary result codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Another program holds the lock.
    Busy,
    /// Another connection to a cache that is shared holds it.
    Locked,
    /// The file is opened for reading only: see [`Why::parameters`].
    ReadOnly,
    /// The journal cannot be read.
    IoError,
    /// No page, and no row id, is left.
    Full,
    /// The journal cannot be opened.
    CannotOpen,
    /// PostgreSQL's sessions are read-only: 25006.
    ReadOnlySessions,
    /// PostgreSQL raises this.
    Raised(&'static str),
}

impl Why {
    /// How SQLite is opened where it is refused so: these happen with a shared cache, or without a write-ahead log only.
    pub fn parameters(self) -> &'static str {
        match self {
            Why::Locked => "?cache=shared",
            Why::IoError | Why::CannotOpen => "?vfs=unix-dotfile",
            Why::ReadOnly | Why::Busy | Why::Full | Why::ReadOnlySessions | Why::Raised(_) => "",
        }
    }

    /// What SQLite is opened with while it is refused so.
    pub fn meanwhile(self) -> &'static str {
        if self == Why::ReadOnly { "?mode=ro" } else { "" }
    }

    /// Whether an error of the store is this one.
    pub fn is(self, text: &str) -> bool {
        let sqlite = |primary: i32| {
            let code = text.split_once("(code: ").and_then(|(_, rest)| rest.split_once(')'));
            code.and_then(|(code, _)| code.parse::<i32>().ok()).is_some_and(|code| code & 0xff == primary)
        };
        match self {
            Why::Busy => sqlite(5),
            Why::Locked => sqlite(6),
            Why::ReadOnly => sqlite(8),
            Why::IoError => sqlite(10),
            Why::Full => sqlite(13),
            Why::CannotOpen => sqlite(14),
            Why::ReadOnlySessions => text.contains("read-only transaction"),
            Why::Raised(code) => text.contains(&format!("refused with {code}")),
        }
    }
}

/// Writes are refused until this ends.
pub struct Refusal<'a> {
    db: &'a TestDb,
    why: Why,
    holder: Option<SqliteConnection>,
}

impl<'a> Refusal<'a> {
    pub async fn begin(db: &'a TestDb, why: Why) -> Refusal<'a> {
        let mut holder = None;
        match why {
            Why::Busy | Why::Locked => {
                let options = db.url.parse::<SqliteConnectOptions>().unwrap();
                let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
                connection.execute("BEGIN IMMEDIATE").await.unwrap();
                connection.execute("UPDATE write_check SET at = 0").await.unwrap();
                holder = Some(connection);
            }
            Why::ReadOnly => {}
            Why::IoError => std::fs::create_dir(journal(db)).unwrap(),
            Why::CannotOpen => std::os::unix::fs::symlink("/nowhere/at/all", journal(db)).unwrap(),
            Why::Full => {
                // The largest row id is taken: the next one is SQLITE_FULL.
                db.execute("CREATE TABLE full_disk (id INTEGER PRIMARY KEY AUTOINCREMENT, x BIGINT)").await;
                db.execute("INSERT INTO full_disk (id, x) VALUES (9223372036854775807, 1)").await;
                for (table, change) in tables_and_changes(db).await {
                    db.execute(&format!(
                        "CREATE TRIGGER refuse_{table}_{change} BEFORE {change} ON {table} \
                         BEGIN INSERT INTO full_disk (x) VALUES (1); END"
                    ))
                    .await;
                }
            }
            Why::ReadOnlySessions => {
                db.execute(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", name(db).await)).await;
                end_sessions(db).await;
            }
            Why::Raised(code) => {
                let raise = format!("RAISE EXCEPTION 'refused with {code}' USING ERRCODE = '{code}';");
                each_change_runs(db, &raise).await;
                for (table, change) in tables_and_changes(db).await {
                    db.execute(&format!(
                        "CREATE OR REPLACE TRIGGER refuse_{change} BEFORE {change} ON {table} EXECUTE FUNCTION refuse()"
                    ))
                    .await;
                }
            }
        }
        Refusal { db, why, holder }
    }

    pub async fn end(self) {
        let db = self.db;
        match self.why {
            Why::Busy | Why::Locked => {
                let mut holder = self.holder.unwrap();
                holder.execute("ROLLBACK").await.unwrap();
                holder.close().await.unwrap();
            }
            Why::ReadOnly => {}
            Why::IoError => std::fs::remove_dir(journal(db)).unwrap(),
            Why::CannotOpen => std::fs::remove_file(journal(db)).unwrap(),
            Why::Full => {
                for (table, change) in tables_and_changes(db).await {
                    db.execute(&format!("DROP TRIGGER refuse_{table}_{change}")).await;
                }
            }
            Why::ReadOnlySessions => {
                // What the test itself asks is read-only, too.
                let back = format!(
                    "SET default_transaction_read_only = off; ALTER DATABASE {} RESET default_transaction_read_only",
                    name(db).await
                );
                db.execute_all(&back).await;
                end_sessions(db).await;
            }
            // The triggers stay: dropping them locks all tables, which those who write meanwhile would be in the way of.
            Why::Raised(_) => each_change_runs(db, "RETURN NULL;").await,
        }
    }
}

/// What PostgreSQL runs before each statement that changes a table.
async fn each_change_runs(db: &TestDb, body: &str) {
    db.execute(&format!(
        "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$"
    ))
    .await;
}

async fn tables_and_changes(db: &TestDb) -> Vec<(String, &'static str)> {
    let tables = match db.is_shared() {
        true => {
            "SELECT string_agg(tablename, ',') FROM pg_tables WHERE schemaname = 'public' AND tablename <> '_sqlx_migrations'"
        }
        false => {
            "SELECT group_concat(name) FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' \
             AND name NOT IN ('_sqlx_migrations', 'full_disk')"
        }
    };
    let tables = db.text(tables).await;
    let changes = ["INSERT", "UPDATE", "DELETE"];
    tables.split(',').flat_map(|table| changes.map(|change| (table.to_owned(), change))).collect()
}

async fn name(db: &TestDb) -> String {
    db.text("SELECT current_database()::text").await
}

/// All but the test's own: a setting of the database is one of new sessions.
async fn end_sessions(db: &TestDb) {
    db.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    .await;
}

fn file(db: &TestDb) -> PathBuf {
    let path = db.url.strip_prefix("sqlite://").unwrap();
    Path::new(path.split('?').next().unwrap()).to_owned()
}

fn journal(db: &TestDb) -> PathBuf {
    let mut name = file(db).into_os_string();
    name.push("-journal");
    name.into()
}
