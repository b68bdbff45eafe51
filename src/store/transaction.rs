//! Connections that are lent, and transactions on them. Owns the beginning and the end of both; a connection that was
//! left inside a transaction never does anything else before that is undone.

use std::sync::Arc;

use deadpool::unmanaged;
use futures::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::postgres::Postgres;
use sqlx::sqlite::{Sqlite, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection, Executor, SqlSafeStr, SqlStr};
use tokio::time::Instant;

use super::conn::{AnyRow, Arg, Conn, RoundTrips, Row, Take, within};
use super::pool::acquire;
use super::{CALL, Db, Result, lend};

/// A connection to either database, given back when it is dropped.
pub enum Held {
    Sqlite(unmanaged::Object<SqliteConnection>, Arc<RoundTrips>),
    /// Whatever it is held for has to be done at that time.
    Pg(PoolConnection<Postgres>, Instant, Arc<RoundTrips>),
}

/// What a connection is held for. SQLite has one that may write.
#[derive(Clone, Copy)]
enum Use {
    Read,
    Write,
}

impl Held {
    fn conn(&mut self) -> Conn<'_> {
        match self {
            Held::Sqlite(connection, trips) => Conn::Sqlite { connection, trips },
            Held::Pg(connection, until, trips) => Conn::Pg { connection, until: *until, trips },
        }
    }

    /// BEGIN IMMEDIATE on SQLite, whose one writer needs no other lock; on PostgreSQL `pg_advisory_xact_lock` for each
    /// lock, in the order given, on the same way as the BEGIN.
    fn begin<'h>(&'h mut self, locks: &'h [i64]) -> BoxFuture<'h, Result<Transaction<'h>>> {
        Box::pin(async move {
            match self {
                Held::Sqlite(connection, trips) => {
                    trips.add();
                    Ok(Transaction::Sqlite(connection.begin_with("BEGIN IMMEDIATE").await?, trips))
                }
                Held::Pg(connection, until, trips) => {
                    let transaction = PgTransaction { connection, until: *until, trips, is_open: true };
                    let locks: Vec<String> =
                        locks.iter().map(|key| format!("; SELECT pg_advisory_xact_lock({key})")).collect();
                    transaction.trips.add();
                    let begin = sqlx::raw_sql(AssertSqlSafe(format!("BEGIN{}", locks.concat())));
                    within(*until, transaction.connection.execute(begin)).await?;
                    Ok(Transaction::Pg(transaction))
                }
            }
        })
    }
}

/// One transaction. Dropped before its end, as by a caller that goes away, it is rolled back.
enum Transaction<'h> {
    Sqlite(sqlx::Transaction<'h, Sqlite>, &'h RoundTrips),
    Pg(PgTransaction<'h>),
}

/// A transaction on PostgreSQL. Dropped before its end, it takes the connection with it: sqlx's own counts a
/// transaction only once its BEGIN is answered, so that a future dropped before leaves one open that nobody knows of,
/// and whatever the next user of the connection writes is undone with it. The server ends the transaction, and gives
/// its locks back, when it sees the connection closed.
struct PgTransaction<'h> {
    connection: &'h mut PoolConnection<Postgres>,
    until: Instant,
    trips: &'h RoundTrips,
    is_open: bool,
}

impl Drop for PgTransaction<'_> {
    fn drop(&mut self) {
        if self.is_open {
            self.connection.close_on_drop();
        }
    }
}

impl<'h> Transaction<'h> {
    fn conn(&mut self) -> Conn<'_> {
        match self {
            Transaction::Sqlite(transaction, trips) => Conn::Sqlite { connection: transaction, trips },
            Transaction::Pg(PgTransaction { connection, until, trips, .. }) => {
                Conn::Pg { connection, until: *until, trips }
            }
        }
    }

    /// Once it returns `Ok`, what was written holds; on SQLite once it is synced, too.
    fn commit(self) -> BoxFuture<'h, Result<()>> {
        Box::pin(async move {
            match self {
                Transaction::Sqlite(transaction, trips) => {
                    trips.add();
                    transaction.commit().await?;
                }
                Transaction::Pg(transaction) => transaction.end("COMMIT").await?,
            }
            Ok(())
        })
    }

    /// One that cannot be undone is closed, which undoes it, too.
    fn roll_back(self) -> BoxFuture<'h, ()> {
        Box::pin(async move {
            if let Transaction::Pg(transaction) = self {
                let _ = transaction.end("ROLLBACK").await;
            }
        })
    }
}

impl PgTransaction<'_> {
    async fn end(mut self, how: &'static str) -> sqlx::Result<()> {
        self.trips.add();
        within(self.until, self.connection.execute(how)).await?;
        self.is_open = false;
        Ok(())
    }
}

impl Db {
    fn hold(&self, what_for: Use) -> BoxFuture<'_, Result<Held>> {
        Box::pin(async move {
            Ok(match self {
                Db::Sqlite { read, write, trips, .. } => {
                    let from = match what_for {
                        Use::Read => read,
                        Use::Write => write,
                    };
                    Held::Sqlite(lend(from).await?, Arc::clone(trips))
                }
                Db::Pg(pool) => {
                    let until = Instant::now() + CALL;
                    Held::Pg(within(until, acquire(pool)).await?, until, Arc::clone(&pool.trips))
                }
            })
        })
    }

    /// Runs a block in one transaction that nobody with one of the same locks runs at the same time. The block's `Err`
    /// rolls back; once this returns `Ok`, what was written holds, through a power cut too.
    pub async fn exclusive<T, L: AsRef<str>>(
        &self,
        locks: &[L],
        run: impl AsyncFnOnce(&mut Conn<'_>) -> Result<T>,
    ) -> Result<T> {
        let locks: Vec<i64> = locks.iter().map(|lock| lock_key(lock.as_ref())).collect();
        let mut held = self.hold(Use::Write).await?;
        let mut transaction = held.begin(&locks).await?;
        let value = match run(&mut transaction.conn()).await {
            Ok(value) => value,
            Err(error) => {
                transaction.roll_back().await;
                return Err(error);
            }
        };
        transaction.commit().await?;
        drop(held);
        self.synced().await?;
        Ok(value)
    }

    /// Runs a block on a connection that may write, each statement by itself. Once this returns `Ok`, what was written
    /// holds, through a power cut too.
    pub async fn write<T>(&self, run: impl AsyncFnOnce(&mut Conn<'_>) -> Result<T>) -> Result<T> {
        let mut held = self.hold(Use::Write).await?;
        let value = run(&mut held.conn()).await?;
        drop(held);
        self.synced().await?;
        Ok(value)
    }

    /// Runs one statement that writes, as [`Db::write`] does; how many rows it has changed.
    pub async fn execute(&self, sql: impl SqlSafeStr, args: &[Arg<'_>]) -> Result<u64> {
        self.run(sql.into_sql_str(), args).await
    }

    fn run<'a>(&'a self, sql: SqlStr, args: &'a [Arg<'_>]) -> BoxFuture<'a, Result<u64>> {
        Box::pin(self.write(async move |connection| connection.run(sql, args).await))
    }

    /// Runs one statement that nobody with the same lock runs at the same time; how many rows it has changed. SQLite's
    /// one writer is enough for that.
    pub async fn execute_alone(&self, lock: &str, sql: impl SqlSafeStr, args: &[Arg<'_>]) -> Result<u64> {
        match self {
            Db::Sqlite { .. } => self.execute(sql, args).await,
            Db::Pg(_) => self.exclusive(&[lock], async |tx| tx.execute(sql, args).await).await,
        }
    }

    /// The only row of a statement that reads.
    ///
    /// # Errors
    /// [`sqlx::Error::RowNotFound`] where there is none.
    pub async fn fetch_one<T: Row>(&self, sql: impl SqlSafeStr, args: &[Arg<'_>]) -> Result<T> {
        let row = self.first(sql.into_sql_str(), args).await?;
        Ok(row.ok_or(sqlx::Error::RowNotFound)?.read()?)
    }

    /// The first row of a statement that reads, if there is one.
    pub async fn fetch_optional<T: Row>(&self, sql: impl SqlSafeStr, args: &[Arg<'_>]) -> Result<Option<T>> {
        let row = self.first(sql.into_sql_str(), args).await?;
        Ok(row.map(|row| row.read()).transpose()?)
    }

    /// All rows of a statement that reads.
    pub async fn fetch_all<T: Row>(&self, sql: impl SqlSafeStr, args: &[Arg<'_>]) -> Result<Vec<T>> {
        let mut rows = Vec::new();
        let mut take = |row: AnyRow| {
            rows.push(row.read()?);
            Ok(())
        };
        self.each(sql.into_sql_str(), args, &mut take).await?;
        Ok(rows)
    }

    /// The only value of a statement that reads.
    pub async fn fetch_value<T>(&self, sql: impl SqlSafeStr, args: &[Arg<'_>]) -> Result<T>
    where
        (T,): Row,
    {
        Ok(self.fetch_one::<(T,)>(sql, args).await?.0)
    }

    /// The value of the only row of a statement that reads, if there is one.
    pub async fn fetch_optional_value<T>(&self, sql: impl SqlSafeStr, args: &[Arg<'_>]) -> Result<Option<T>>
    where
        (T,): Row,
    {
        Ok(self.fetch_optional::<(T,)>(sql, args).await?.map(|(value,)| value))
    }

    /// The values of all rows of a statement that reads.
    pub async fn fetch_values<T>(&self, sql: impl SqlSafeStr, args: &[Arg<'_>]) -> Result<Vec<T>>
    where
        (T,): Row,
    {
        Ok(self.fetch_all::<(T,)>(sql, args).await?.into_iter().map(|(value,)| value).collect())
    }

    fn first<'a>(&'a self, sql: SqlStr, args: &'a [Arg<'_>]) -> BoxFuture<'a, Result<Option<AnyRow>>> {
        Box::pin(async move {
            let mut held = self.hold(Use::Read).await?;
            held.conn().first(sql, args).await
        })
    }

    fn each<'a>(&'a self, sql: SqlStr, args: &'a [Arg<'_>], take: Take<'a>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let mut held = self.hold(Use::Read).await?;
            held.conn().each(sql, args, take).await
        })
    }
}

/// A lock's name as PostgreSQL's 64-bit key (FNV-1a: stable over versions and machines).
fn lock_key(name: &str) -> i64 {
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    i64::from_ne_bytes(hash.to_ne_bytes())
}
