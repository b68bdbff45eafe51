//! A database of a benchmark's own: a SQLite file, or one made on a PostgreSQL server and dropped again. Owns its life
//! and plain SQL beside the store; knows no table.

#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::path::Path;

use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Connection, FromRow, PgConnection, SqliteConnection};

pub type Failed = Box<dyn std::error::Error + Send + Sync>;
pub type Outcome<T> = Result<T, Failed>;

/// The database, and a connection beside the store's.
pub struct Database {
    pub url: String,
    behind: Behind,
    /// The server, and the name on it.
    server: Option<(String, String)>,
}

enum Behind {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Database {
    /// In `folder`, or on `server`; `name` is unique within the process. Its tables are not made.
    pub async fn make(folder: &Path, server: Option<&str>, name: &str) -> Outcome<Database> {
        let Some(server) = server else {
            let url = format!("sqlite://{}?mode=rwc", folder.join(name).with_extension("db").display());
            let behind = Behind::Sqlite(SqliteConnection::connect(&url).await?);
            return Ok(Database { url, behind, server: None });
        };
        let name = format!("reelcoach_bench_{}_{name}", std::process::id());
        let mut admin = PgConnection::connect(server).await?;
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut admin).await?;
        let mut url = url::Url::parse(server)?;
        url.set_path(&name);
        let behind = Behind::Postgres(PgConnection::connect(url.as_str()).await?);
        Ok(Database { url: url.into(), behind, server: Some((server.to_owned(), name)) })
    }

    pub fn is_postgres(&self) -> bool {
        self.server.is_some()
    }

    /// Runs one statement; the rows it changed.
    pub async fn run(&mut self, sql: impl Into<String>) -> Outcome<u64> {
        let sql = AssertSqlSafe(sql.into());
        Ok(match &mut self.behind {
            Behind::Sqlite(connection) => sqlx::query(sql).execute(connection).await?.rows_affected(),
            Behind::Postgres(connection) => sqlx::query(sql).execute(connection).await?.rows_affected(),
        })
    }

    /// The rows of one query.
    pub async fn rows<T>(&mut self, sql: impl Into<String>) -> Outcome<Vec<T>>
    where
        T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        let sql = AssertSqlSafe(sql.into());
        Ok(match &mut self.behind {
            Behind::Sqlite(connection) => sqlx::query_as(sql).fetch_all(connection).await?,
            Behind::Postgres(connection) => sqlx::query_as(sql).fetch_all(connection).await?,
        })
    }

    /// The one number that a query gives.
    pub async fn number(&mut self, sql: impl Into<String>) -> Outcome<i64> {
        let rows: Vec<(i64,)> = self.rows(sql).await?;
        rows.first().map(|(number,)| *number).ok_or_else(|| "a query gave nothing".into())
    }

    /// How the database would carry out a statement, line by line, whatever the values of its parameters are.
    pub async fn plan(&mut self, statement: &str) -> Outcome<Vec<String>> {
        match &mut self.behind {
            Behind::Sqlite(connection) => {
                let sql = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
                let rows: Vec<(i64, i64, i64, String)> = sqlx::query_as(sql).fetch_all(connection).await?;
                Ok(rows.into_iter().map(|(.., line)| line).collect())
            }
            Behind::Postgres(connection) => {
                let highest = (1..=32).rev().find(|at| statement.contains(&format!("${at}"))).unwrap_or(0);
                let values = vec!["NULL"; highest].join(", ");
                let values = if highest == 0 { values } else { format!("({values})") };
                sqlx::raw_sql("SET plan_cache_mode = force_generic_plan").execute(&mut *connection).await?;
                // The program names the types of its parameters; where they cannot be told from the statement, one of
                // them does for all.
                let named = (0..highest).flat_map(|at| [(at, "text"), (at, "bigint")]).map(|(at, name)| {
                    let mut types = vec!["unknown"; highest];
                    types[at] = name;
                    format!("({})", types.join(", "))
                });
                let mut prepared = Err("no statement".into());
                for types in std::iter::once(String::new()).chain(named) {
                    let sql = AssertSqlSafe(format!("PREPARE measured{types} AS {statement}"));
                    prepared = sqlx::raw_sql(sql).execute(&mut *connection).await.map_err(Failed::from);
                    if prepared.is_ok() {
                        break;
                    }
                }
                prepared?;
                let explain = AssertSqlSafe(format!("EXPLAIN (COSTS OFF) EXECUTE measured{values}"));
                let rows = sqlx::raw_sql(explain).fetch_all(&mut *connection).await;
                sqlx::raw_sql("DEALLOCATE measured").execute(&mut *connection).await?;
                let line = |row: &PgRow| sqlx::Row::try_get::<String, _>(row, 0);
                Ok(rows?.iter().map(line).collect::<Result<_, _>>()?)
            }
        }
    }

    /// Closes the connection and drops what was made on a server. The stores on it are closed before.
    pub async fn remove(self) -> Outcome<()> {
        match self.behind {
            Behind::Sqlite(connection) => connection.close().await?,
            Behind::Postgres(connection) => connection.close().await?,
        }
        if let Some((server, name)) = self.server {
            let mut admin = PgConnection::connect(&server).await?;
            sqlx::query(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).execute(&mut admin).await?;
        }
        Ok(())
    }
}

/// Where a PostgreSQL server is (`TEST_DATABASE_URL`).
///
/// # Errors
/// When none is named: what is left out would seem to be kept.
pub fn server() -> Outcome<String> {
    let url = std::env::var("TEST_DATABASE_URL").ok().filter(|url| !url.is_empty());
    url.ok_or_else(|| {
        "TEST_DATABASE_URL: name a PostgreSQL server (postgres://…, a user that may create databases)".into()
    })
}
