//! The database: SQLite or PostgreSQL behind one SQL text. Owns every statement (in `store/`), the
//! transactions that make limits exact, and the wake-up hints; never decides what is said to anyone.
//!
//! Columns are TEXT, BIGINT and BOOLEAN; times are epoch milliseconds, money is micro-USD. Read-then-write
//! goes through `exclusive!`. Every change of a leased row names the lease, so that a worker that lost it
//! cannot write.

pub mod boards;
pub mod chats;
pub mod instances;
pub mod lanes;
pub mod ledger;
pub mod people;
pub mod reels;
pub mod retention;
pub mod turns;

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use tokio::sync::Notify;

static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// What can go wrong with the database. Its text names no value of any row.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("DATABASE_URL: {0}")]
    Url(String),
    #[error("the database file is in use by another reelcoach; several instances need PostgreSQL")]
    InUse,
    #[error("the database cannot be opened: {0}")]
    Open(#[source] sqlx::Error),
    #[error("the database cannot be migrated: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error("the database failed: {0}")]
    Query(#[from] sqlx::Error),
    /// A row that this program cannot have written.
    #[error("the database holds something unreadable in {0}")]
    Corrupt(&'static str),
}

impl From<crate::ids::BadId> for StoreError {
    fn from(_: crate::ids::BadId) -> Self {
        StoreError::Corrupt("an id column")
    }
}

pub type Result<T> = std::result::Result<T, StoreError>;

/// The open database.
#[derive(Debug)]
pub enum Db {
    /// One connection writes, some read: SQLite has one writer anyway, and a queue in front of it is
    /// fairer than its busy handler.
    Sqlite {
        read: SqlitePool,
        write: SqlitePool,
    },
    Pg(PgPool),
}

/// Runs one expression on the native pool, whichever it is: `read!(db, pool => query.fetch_all(pool).await)`.
macro_rules! read {
    ($db:expr, $pool:ident => $run:expr) => {
        match $db {
            $crate::store::Db::Sqlite { read: $pool, .. } => $run,
            $crate::store::Db::Pg($pool) => $run,
        }
    };
}

/// The same on the pool that may write.
macro_rules! write {
    ($db:expr, $pool:ident => $run:expr) => {
        match $db {
            $crate::store::Db::Sqlite { write: $pool, .. } => $run,
            $crate::store::Db::Pg($pool) => $run,
        }
    };
}

/// Runs a block in one transaction that nobody with one of the same locks runs at the same time: BEGIN
/// IMMEDIATE on SQLite, `pg_advisory_xact_lock` for each lock, in the order given, on PostgreSQL. The block's
/// `Err` rolls back.
macro_rules! exclusive {
    ($db:expr, $locks:expr, $tx:ident => $body:block) => {
        match $db {
            $crate::store::Db::Sqlite { write, .. } => {
                let mut transaction = write.begin_with("BEGIN IMMEDIATE").await?;
                let outcome: $crate::store::Result<_> = {
                    let $tx = &mut *transaction;
                    async { $body }.await
                };
                let value = outcome?;
                transaction.commit().await?;
                Ok(value)
            }
            $crate::store::Db::Pg(pool) => {
                let mut transaction = pool.begin().await?;
                for lock in $locks {
                    sqlx::query("SELECT pg_advisory_xact_lock($1)")
                        .bind($crate::store::lock_key(&lock))
                        .execute(&mut *transaction)
                        .await?;
                }
                let outcome: $crate::store::Result<_> = {
                    let $tx = &mut *transaction;
                    async { $body }.await
                };
                let value = outcome?;
                transaction.commit().await?;
                Ok(value)
            }
        }
    };
}
pub(crate) use {exclusive, read, write};

/// The store: the database and the hints that something in it has changed.
#[derive(Debug)]
pub struct Store {
    db: Db,
    /// Held for its lock alone.
    lock: Option<std::fs::File>,
    pub wake: Wake,
}

/// Hints, beside polling: a waiter registers, looks at the database, then waits for the hint or a while.
#[derive(Debug, Default)]
pub struct Wake {
    /// A turn became due.
    pub turns: Notify,
    /// A job became ready, a lane free, a cancellation wanted.
    pub jobs: Notify,
    /// Words on a board may have changed.
    pub boards: Notify,
}

impl Store {
    /// Opens the database of `url` (`sqlite://path` or `postgres://…`; a database in memory is refused because it
    /// is one per connection) without migrating it.
    ///
    /// # Errors
    /// [`StoreError::Url`] for any other scheme, [`StoreError::Open`] when it cannot be reached.
    pub async fn open(url: &str, connections: u32) -> Result<Store> {
        let db = if url.starts_with("sqlite:") {
            if url.contains(":memory:") || url.contains("mode=memory") {
                return Err(StoreError::Url("a database in memory is gone with its connection: name a file".into()));
            }
            open_sqlite(url, connections).await?
        } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            let options = PgConnectOptions::from_str(url)
                .map_err(|_| StoreError::Url("not a valid postgres:// address".into()))?
                .application_name("reelcoach");
            let pool = PgPoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(Duration::from_secs(10))
                .connect_with(options)
                .await
                .map_err(StoreError::Open)?;
            Db::Pg(pool)
        } else {
            return Err(StoreError::Url("must begin with sqlite:// or postgres://".into()));
        };
        Ok(Store { db, lock: None, wake: Wake::default() })
    }

    /// Brings the tables to this program's version; does nothing when they are there already.
    pub async fn migrate(&self) -> Result<()> {
        write!(&self.db, pool => MIGRATOR.run(pool).await?);
        Ok(())
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<()> {
        read!(&self.db, pool => sqlx::query("SELECT 1").execute(pool).await.map(|_| ()))?;
        Ok(())
    }

    /// Whether several instances can share this database.
    pub fn is_shared(&self) -> bool {
        matches!(self.db, Db::Pg(_))
    }

    /// Makes this process the only one that works on the database, where only one can: on SQLite a lock on the file
    /// `….lock` beside it, held until the store is dropped.
    ///
    /// # Errors
    /// [`StoreError::InUse`] while another process has it.
    pub fn claim(&mut self) -> Result<()> {
        let Db::Sqlite { write, .. } = &self.db else { return Ok(()) };
        let mut name = write.connect_options().get_filename().as_os_str().to_owned();
        name.push(".lock");
        make_private_file(Path::new(&name)).map_err(|error| StoreError::Open(sqlx::Error::Io(error)))?;
        let file = std::fs::File::open(&name).map_err(|error| StoreError::Open(sqlx::Error::Io(error)))?;
        match file.try_lock() {
            Ok(()) => {
                self.lock = Some(file);
                Ok(())
            }
            Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::InUse),
            Err(std::fs::TryLockError::Error(error)) => Err(StoreError::Open(sqlx::Error::Io(error))),
        }
    }

    /// Passes on the hints of other instances until the connection breaks; on SQLite there are none and this
    /// never returns.
    ///
    /// # Errors
    /// When the listening connection cannot be made or is lost for good.
    pub async fn listen(&self) -> Result<()> {
        let Db::Pg(pool) = &self.db else {
            return std::future::pending().await;
        };
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen("reelcoach").await?;
        loop {
            let hint = listener.recv().await?;
            if hint.payload() == "jobs" {
                self.wake.jobs.notify_waiters();
                self.wake.boards.notify_waiters();
            }
        }
    }

    /// Closes all connections.
    pub async fn close(&self) {
        match &self.db {
            Db::Sqlite { read, write } => {
                read.close().await;
                write.close().await;
            }
            Db::Pg(pool) => pool.close().await,
        }
    }

    /// Hints at due turns here; other instances find them by polling if this one does not.
    fn turns_changed(&self) {
        self.wake.turns.notify_waiters();
    }

    /// Hints at the queue here and everywhere.
    async fn jobs_changed(&self) {
        self.wake.jobs.notify_waiters();
        self.wake.boards.notify_waiters();
        if let Db::Pg(pool) = &self.db
            && let Err(error) = sqlx::query("SELECT pg_notify('reelcoach', 'jobs')").execute(pool).await
        {
            // Only a hint was lost: the others poll.
            tracing::debug!(%error, "a wake-up could not be sent");
        }
    }
}

/// A folder for people's texts: for its owner alone. One that is there already is left as it is.
fn make_private_folder(folder: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// The same for the database file, which SQLite would make readable for everybody.
fn make_private_file(file: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file).map(|_| ())
}

async fn open_sqlite(url: &str, connections: u32) -> Result<Db> {
    let options = SqliteConnectOptions::from_str(url)
        .map_err(|_| StoreError::Url("not a valid sqlite:// address".into()))?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(5));
    if let Some(folder) = options.get_filename().parent()
        && !folder.as_os_str().is_empty()
    {
        make_private_folder(folder).map_err(|error| StoreError::Open(sqlx::Error::Io(error)))?;
    }
    make_private_file(options.get_filename()).map_err(|error| StoreError::Open(sqlx::Error::Io(error)))?;
    // A connection has a thread of its own: the pools are kept small and never closed for idleness.
    let write = SqlitePoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .acquire_timeout(Duration::from_secs(30))
        .connect_with(options.clone())
        .await
        .map_err(StoreError::Open)?;
    let read = SqlitePoolOptions::new()
        .max_connections(connections.clamp(1, 4))
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .acquire_timeout(Duration::from_secs(30))
        .connect_with(options)
        .await
        .map_err(StoreError::Open)?;
    Ok(Db::Sqlite { read, write })
}

/// What people and models write, as PostgreSQL's TEXT can hold it: without NUL.
fn storable(text: &str) -> String {
    text.replace('\0', "")
}

/// A lock's name as PostgreSQL's 64-bit key (FNV-1a: stable over versions and machines).
fn lock_key(name: &str) -> i64 {
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    i64::from_ne_bytes(hash.to_ne_bytes())
}
