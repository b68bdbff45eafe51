//! One SQL text on two databases. Owns how a statement gets its arguments, and how its rows become structs.
//!
//! Only the decoding of rows is generic. Everything else is compiled once, and in a box, so that the future of whoever
//! runs a statement holds a pointer.

use std::borrow::Cow;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::TryStreamExt;
use futures::future::BoxFuture;
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{Arguments, Encode, FromRow, SqlSafeStr, SqlStr, Type};
use tokio::time::Instant;

use super::Result;

/// A connection to either database.
pub enum Conn<'c> {
    Sqlite {
        connection: &'c mut SqliteConnection,
        trips: &'c RoundTrips,
    },
    /// What is not answered at `until` fails.
    Pg {
        connection: &'c mut PgConnection,
        until: Instant,
        trips: &'c RoundTrips,
    },
}

/// How often a database was asked: statements, and the beginnings and ends of transactions.
#[derive(Debug, Default)]
pub struct RoundTrips(AtomicU64);

impl RoundTrips {
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// An argument of a statement. One that is NULL keeps its type, which PostgreSQL has to know.
#[derive(Clone, Debug)]
pub enum Arg<'a> {
    Text(Option<Cow<'a, str>>),
    Int(Option<i64>),
    Bool(Option<bool>),
    Real(Option<f64>),
}

/// The arguments of a statement, `$1` first.
macro_rules! args {
    ($($value:expr),* $(,)?) => { &[$($crate::store::conn::Arg::from($value)),*] };
}

/// Joins constants into one SQL text, with one space between two of them.
macro_rules! sql {
    ($($part:expr),* $(,)?) => {{
        const PARTS: &[&str] = &[$($part),*];
        const BYTES: [u8; $crate::store::conn::joined_length(PARTS)] = $crate::store::conn::joined(PARTS);
        const TEXT: &str = match std::str::from_utf8(&BYTES) {
            Ok(text) => text,
            Err(_) => panic!("SQL that is not UTF-8"),
        };
        TEXT
    }};
}

pub(in crate::store) use {args, sql};

/// The length of [`joined`].
pub const fn joined_length(parts: &[&str]) -> usize {
    let (mut length, mut part) = (0, 0);
    while part < parts.len() {
        length += parts[part].len() + 1;
        part += 1;
    }
    length
}

/// The bytes of all parts, a space behind each.
pub const fn joined<const LENGTH: usize>(parts: &[&str]) -> [u8; LENGTH] {
    let (mut all, mut length, mut part) = ([b' '; LENGTH], 0, 0);
    while part < parts.len() {
        let bytes = parts[part].as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            all[length + at] = bytes[at];
            at += 1;
        }
        length += bytes.len() + 1;
        part += 1;
    }
    all
}

impl<'a> From<&'a str> for Arg<'a> {
    fn from(text: &'a str) -> Self {
        Arg::Text(Some(Cow::Borrowed(text)))
    }
}

impl<'a> From<&'a String> for Arg<'a> {
    fn from(text: &'a String) -> Self {
        Arg::Text(Some(Cow::Borrowed(text)))
    }
}

impl From<String> for Arg<'_> {
    fn from(text: String) -> Self {
        Arg::Text(Some(Cow::Owned(text)))
    }
}

impl<'a> From<Option<&'a str>> for Arg<'a> {
    fn from(text: Option<&'a str>) -> Self {
        Arg::Text(text.map(Cow::Borrowed))
    }
}

impl<'a> From<Option<&'a String>> for Arg<'a> {
    fn from(text: Option<&'a String>) -> Self {
        Arg::Text(text.map(|text| Cow::Borrowed(text.as_str())))
    }
}

impl<'a> From<&'a Option<String>> for Arg<'a> {
    fn from(text: &'a Option<String>) -> Self {
        Arg::from(text.as_deref())
    }
}

impl From<Option<String>> for Arg<'_> {
    fn from(text: Option<String>) -> Self {
        Arg::Text(text.map(Cow::Owned))
    }
}

impl From<i64> for Arg<'_> {
    fn from(number: i64) -> Self {
        Arg::Int(Some(number))
    }
}

impl From<Option<i64>> for Arg<'_> {
    fn from(number: Option<i64>) -> Self {
        Arg::Int(number)
    }
}

impl From<bool> for Arg<'_> {
    fn from(truth: bool) -> Self {
        Arg::Bool(Some(truth))
    }
}

impl From<Option<bool>> for Arg<'_> {
    fn from(truth: Option<bool>) -> Self {
        Arg::Bool(truth)
    }
}

impl From<f64> for Arg<'_> {
    fn from(number: f64) -> Self {
        Arg::Real(Some(number))
    }
}

impl From<Option<f64>> for Arg<'_> {
    fn from(number: Option<f64>) -> Self {
        Arg::Real(number)
    }
}

/// What either database's rows can become: whatever derives [`FromRow`].
pub trait Row: Send + Unpin + for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> {}

impl<T: Send + Unpin + for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow>> Row for T {}

/// A row of either database.
pub enum AnyRow {
    Sqlite(SqliteRow),
    Pg(PgRow),
}

impl AnyRow {
    pub fn read<T: Row>(&self) -> sqlx::Result<T> {
        match self {
            AnyRow::Sqlite(row) => <T as FromRow<SqliteRow>>::from_row(row),
            AnyRow::Pg(row) => <T as FromRow<PgRow>>::from_row(row),
        }
    }
}

/// What takes the rows of a statement, one by one.
pub type Take<'a> = &'a mut (dyn FnMut(AnyRow) -> sqlx::Result<()> + Send);

impl Conn<'_> {
    /// Runs a statement; how many rows it has changed.
    pub async fn execute(&mut self, sql: impl SqlSafeStr, args: &[Arg<'_>]) -> Result<u64> {
        self.run(sql.into_sql_str(), args).await
    }

    /// The only row of a statement.
    ///
    /// # Errors
    /// [`sqlx::Error::RowNotFound`] where there is none.
    pub async fn fetch_one<T: Row>(&mut self, sql: impl SqlSafeStr, args: &[Arg<'_>]) -> Result<T> {
        let row = self.first(sql.into_sql_str(), args).await?;
        Ok(row.ok_or(sqlx::Error::RowNotFound)?.read()?)
    }

    /// The first row of a statement, if there is one.
    pub async fn fetch_optional<T: Row>(&mut self, sql: impl SqlSafeStr, args: &[Arg<'_>]) -> Result<Option<T>> {
        let row = self.first(sql.into_sql_str(), args).await?;
        Ok(row.map(|row| row.read()).transpose()?)
    }

    /// All rows of a statement.
    pub async fn fetch_all<T: Row>(&mut self, sql: impl SqlSafeStr, args: &[Arg<'_>]) -> Result<Vec<T>> {
        let mut rows = Vec::new();
        let mut take = |row: AnyRow| {
            rows.push(row.read()?);
            Ok(())
        };
        self.each(sql.into_sql_str(), args, &mut take).await?;
        Ok(rows)
    }

    /// The only value of a statement.
    pub async fn fetch_value<T>(&mut self, sql: impl SqlSafeStr, args: &[Arg<'_>]) -> Result<T>
    where
        (T,): Row,
    {
        Ok(self.fetch_one::<(T,)>(sql, args).await?.0)
    }

    /// The value of the only row of a statement, if there is one.
    pub async fn fetch_optional_value<T>(&mut self, sql: impl SqlSafeStr, args: &[Arg<'_>]) -> Result<Option<T>>
    where
        (T,): Row,
    {
        Ok(self.fetch_optional::<(T,)>(sql, args).await?.map(|(value,)| value))
    }

    pub fn run<'a>(&'a mut self, sql: SqlStr, args: &'a [Arg<'_>]) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move {
            Ok(match self {
                Conn::Sqlite { connection, trips } => {
                    trips.add();
                    let query = sqlx::query_with(sql, bound::<SqliteArguments>(args)?);
                    query.execute(&mut **connection).await?.rows_affected()
                }
                Conn::Pg { connection, until, trips } => {
                    trips.add();
                    let query = sqlx::query_with(sql, bound::<PgArguments>(args)?);
                    within(*until, query.execute(&mut **connection)).await?.rows_affected()
                }
            })
        })
    }

    pub fn first<'a>(&'a mut self, sql: SqlStr, args: &'a [Arg<'_>]) -> BoxFuture<'a, Result<Option<AnyRow>>> {
        Box::pin(async move {
            Ok(match self {
                Conn::Sqlite { connection, trips } => {
                    trips.add();
                    let query = sqlx::query_with(sql, bound::<SqliteArguments>(args)?);
                    query.fetch_optional(&mut **connection).await?.map(AnyRow::Sqlite)
                }
                Conn::Pg { connection, until, trips } => {
                    trips.add();
                    let query = sqlx::query_with(sql, bound::<PgArguments>(args)?);
                    within(*until, query.fetch_optional(&mut **connection)).await?.map(AnyRow::Pg)
                }
            })
        })
    }

    pub fn each<'a>(&'a mut self, sql: SqlStr, args: &'a [Arg<'_>], take: Take<'a>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            match self {
                Conn::Sqlite { connection, trips } => {
                    trips.add();
                    let query = sqlx::query_with(sql, bound::<SqliteArguments>(args)?);
                    let mut rows = query.fetch(&mut **connection);
                    while let Some(row) = rows.try_next().await? {
                        take(AnyRow::Sqlite(row))?;
                    }
                }
                Conn::Pg { connection, until, trips } => {
                    trips.add();
                    let query = sqlx::query_with(sql, bound::<PgArguments>(args)?);
                    let mut rows = query.fetch(&mut **connection);
                    let all = async {
                        while let Some(row) = rows.try_next().await? {
                            take(AnyRow::Pg(row))?;
                        }
                        Ok(())
                    };
                    within(*until, all).await?;
                }
            }
            Ok(())
        })
    }
}

/// Gives up at `until` on a path that does not answer.
pub async fn within<T>(until: Instant, asked: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    let answered = tokio::time::timeout_at(until, asked).await;
    answered.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
}

fn bound<A: Arguments>(args: &[Arg<'_>]) -> sqlx::Result<A>
where
    for<'q> Option<&'q str>: Encode<'q, A::Database> + Type<A::Database>,
    for<'q> Option<i64>: Encode<'q, A::Database> + Type<A::Database>,
    for<'q> Option<bool>: Encode<'q, A::Database> + Type<A::Database>,
    for<'q> Option<f64>: Encode<'q, A::Database> + Type<A::Database>,
{
    let mut bound = A::default();
    for arg in args {
        let added = match arg {
            Arg::Text(text) => bound.add(text.as_deref()),
            Arg::Int(number) => bound.add(*number),
            Arg::Bool(truth) => bound.add(*truth),
            Arg::Real(number) => bound.add(*number),
        };
        added.map_err(sqlx::Error::Encode)?;
    }
    Ok(bound)
}
