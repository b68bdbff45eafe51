//! The database: SQLite or PostgreSQL behind one SQL text. Owns every statement (in `store/`), the
//! transactions that make limits exact, and the wake-up hints; never decides what is said to anyone.
//!
//! Columns are TEXT, BIGINT and BOOLEAN; times are epoch milliseconds, money is micro-USD. A statement is run by `Db`
//! or, within a transaction, by `Conn`; its rows are structs that derive `FromRow`. Read-then-write goes through
//! [`Db::exclusive`]. Every change of a leased row names the lease, so that a worker that lost it cannot write.

pub mod access;
pub mod alerts;
pub mod answers;
pub mod boards;
pub mod budgets;
pub mod chats;
mod conn;
pub mod failures;
mod files;
mod held;
pub mod history;
pub mod instances;
pub mod lanes;
pub mod ledger;
mod locks;
pub mod measured;
pub mod moves;
pub mod outage;
pub mod people;
mod pool;
pub mod presence;
pub mod providers;
pub mod reels;
mod renewals;
pub mod retention;
pub mod scratch;
pub mod sessions;
mod transaction;
pub mod turns;
pub mod usage;
pub mod versions;
pub mod vitals;
pub mod waits;
mod wal;

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use deadpool::unmanaged;
use futures::future::BoxFuture;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Connection, Executor};
use tokio::sync::Notify;

use crate::clock::Timestamp;

use conn::{Arg, Conn, RoundTrips, args, sql};
use files::{make_private_file, make_private_folder, unwritable};
use pool::Pool;

/// What can go wrong with the database. Its text names no value of any row.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("DATABASE_URL: {0}")]
    Url(String),
    #[error("another reelcoach is using the database file. Stop it, or use PostgreSQL to run several instances")]
    InUse,
    /// Its cause is part of its text, and of those below.
    #[error("can't open the database: {0}. Check DATABASE_URL.")]
    Open(sqlx::Error),
    #[error("can't write to {} as {user}. Change its owner, or set DATABASE_URL to another folder.", folder.display())]
    Folder { folder: PathBuf, user: String },
    #[error("can't update the database's tables: {0}")]
    Migrate(sqlx::migrate::MigrateError),
    /// Versions of the tables.
    #[error(
        "DATABASE_URL: this database was written by a newer reelcoach (tables {found}) than this program (tables {own}). \
         Update reelcoach, or restore a backup from before the update."
    )]
    Newer { found: i64, own: i64 },
    #[error("database error: {0}")]
    Query(sqlx::Error),
    /// A row that this program cannot have written.
    #[error("unexpected data in {0}")]
    Corrupt(&'static str),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        StoreError::Query(error)
    }
}

impl From<sqlx::migrate::MigrateError> for StoreError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        StoreError::Migrate(error)
    }
}

impl From<crate::ids::BadId> for StoreError {
    fn from(_: crate::ids::BadId) -> Self {
        StoreError::Corrupt("an id column")
    }
}

pub type Result<T> = std::result::Result<T, StoreError>;

/// The open database, or some of the ways to it.
#[derive(Clone, Debug)]
pub enum Db {
    /// One connection writes, some read: SQLite has one writer anyway, and a queue in front of it is
    /// fairer than its busy handler.
    Sqlite {
        read: Connections,
        write: Connections,
        /// Whoever has written waits until the log is on the disk; `None`: for what a power cut may undo.
        wal: Option<Arc<wal::Wal>>,
        trips: Arc<RoundTrips>,
    },
    Pg(Pool),
}

impl Db {
    /// The same for what a power cut may undo, because nothing that is told to anyone rests on it alone.
    fn unsynced(&self) -> Db {
        match self {
            Db::Sqlite { read, write, trips, .. } => {
                Db::Sqlite { read: read.clone(), write: write.clone(), wal: None, trips: Arc::clone(trips) }
            }
            Db::Pg(pool) => Db::Pg(pool.clone()),
        }
    }

    /// Returns once every commit before this call would survive a power cut. PostgreSQL answers a COMMIT only then.
    fn synced(&self) -> BoxFuture<'_, Result<()>> {
        match self {
            Db::Sqlite { write, wal: Some(wal), .. } => Box::pin(async move { Ok(wal.sync(write).await?) }),
            Db::Sqlite { .. } | Db::Pg(_) => Box::pin(std::future::ready(Ok(()))),
        }
    }
}

/// Connections to SQLite, open for as long as the store. sqlx's own pool asks each one that comes back for a sign of
/// life, which costs another way to the connection's thread and back, as much as the statement itself; a file needs
/// none.
#[derive(Clone, Debug)]
pub struct Connections {
    free: unmanaged::Pool<SqliteConnection>,
    options: Arc<SqliteConnectOptions>,
}

impl Connections {
    async fn open(options: &Arc<SqliteConnectOptions>, count: u32) -> sqlx::Result<Connections> {
        let mut free = Vec::new();
        for _ in 0..count {
            free.push(SqliteConnection::connect_with(options).await?);
        }
        Ok(Connections { free: unmanaged::Pool::from(free), options: Arc::clone(options) })
    }
}

/// How long a connection to SQLite is waited for.
const LENT: Duration = Duration::from_secs(30);

/// A connection to SQLite, given back when it is dropped. What its last user left undone in it, rows that nobody reads
/// any more or a transaction, its thread ends before it begins with anything else.
async fn lend(from: &Connections) -> sqlx::Result<unmanaged::Object<SqliteConnection>> {
    let lent = tokio::time::timeout(LENT, from.free.get()).await.map_err(|_| sqlx::Error::PoolTimedOut)?;
    let mut lent = lent.map_err(|_| sqlx::Error::PoolClosed)?;
    // A commit that failed on a full disk has ended the transaction in SQLite, but not in sqlx, which begins no other
    // then.
    if lent.is_in_transaction() && (lent.ping().await.is_err() || lent.is_in_transaction()) {
        tracing::warn!("a transaction could not be undone: its connection to SQLite is made anew");
        *lent = SqliteConnection::connect_with(&from.options).await?;
    }
    Ok(lent)
}

/// How long PostgreSQL may take to give a connection, and a call in all: beyond it the path to it is taken for dead.
/// Without a bound of our own a path that swallows packets in silence is noticed after some 15 minutes, or never.
const CONNECT: Duration = Duration::from_secs(10);
const CALL: Duration = Duration::from_secs(15);

/// How long a pooled connection may take to show that it is alive.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);

/// A connection that was returned no longer ago than this has just shown it.
const FRESH: Duration = Duration::from_millis(500);

/// Connections to PostgreSQL besides those of `DATABASE_CONNECTIONS`, so that a crowd that waits for those delays
/// neither the leases, without which others take over, nor the costs of calls that have ended. Costs may have the
/// others' as well: with fewer than those who set something aside they would wait for the same lock the longer.
pub const FOR_LEASES: u32 = 2;
pub const FOR_COSTS: u32 = 2;

/// How often a listener that hears nothing makes sure that it could.
const QUIET: Duration = Duration::from_secs(15);

/// What each session of ours asks of the server. A server does not hear that its client is gone: a transaction that was
/// cut off would keep its locks, the queue's among them, until TCP gives up. Of others that were cut off while they
/// waited for the lock, one gets it next, and the rest have stopped waiting by then: after 6 s it is free. No statement
/// is spread over several of the server's processes: a year's report takes half as long again where it is. Whoever has
/// waited for a lock must see what its last holder wrote, whatever the server's default is.
const SESSION: &str = "SET default_transaction_isolation = 'read committed'; \
     SET idle_in_transaction_session_timeout = '3s'; SET lock_timeout = '5s'; SET statement_timeout = '8s'; \
     SET tcp_keepalives_idle = 15; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3; \
     SET max_parallel_workers_per_gather = 0";

/// The store: the database and the hints that something in it has changed.
#[derive(Debug)]
pub struct Store {
    db: Db,
    /// Of the same connections. A claim is worth nothing after a power cut; who got something waits for it himself.
    claims: Db,
    /// Connections of their own, for what must not wait behind the rest.
    leases: Db,
    costs: Db,
    renewals: renewals::Renewals,
    /// Held for its lock alone.
    lock: Option<std::fs::File>,
    refusals: outage::Refusals,
    held: held::HeldRows,
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
        let [db, leases, costs] = if url.starts_with("sqlite:") {
            if url.contains(":memory:") || url.contains("mode=memory") {
                return Err(StoreError::Url("a database in memory is gone with its connection: name a file".into()));
            }
            open_sqlite(url, connections).await?
        } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            let options = PgConnectOptions::from_str(url)
                .map_err(|_| StoreError::Url("not a valid postgres:// address".into()))?
                .application_name("reelcoach");
            // An IPv6 address stands in brackets in a URL only.
            let bare = options.get_host().strip_prefix('[').and_then(|host| host.strip_suffix(']')).map(str::to_owned);
            let options = match bare {
                Some(host) => options.host(&host),
                None => options,
            };
            open_postgres(options, connections).await?
        } else {
            return Err(StoreError::Url("must begin with sqlite:// or postgres://".into()));
        };
        Ok(Store {
            claims: db.unsynced(),
            db,
            leases,
            costs,
            renewals: renewals::Renewals::default(),
            lock: None,
            refusals: outage::Refusals::default(),
            held: held::HeldRows::default(),
            wake: Wake::default(),
        })
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<()> {
        let asked = self.db.fetch_value::<i64>("SELECT CAST(1 AS BIGINT)", args![]);
        let asked = tokio::time::timeout(SIGN_OF_LIFE * 2, asked).await;
        asked.unwrap_or(Err(sqlx::Error::PoolTimedOut.into())).map(|_| ())
    }

    /// Whether the database takes writes: a full disk, a lock that another program holds and a standby still answer
    /// [`Store::ping`].
    pub async fn check_writes(&self, now: Timestamp) -> Result<()> {
        let sql = r"
            INSERT INTO write_check (id, at)
            VALUES (1, $1)
            ON CONFLICT (id) DO UPDATE SET at = excluded.at";
        let written = tokio::time::timeout(SIGN_OF_LIFE * 2, self.db.execute(sql, args![now.0])).await;
        written.unwrap_or(Err(sqlx::Error::PoolTimedOut.into())).map(|_| ())
    }

    /// How often this store has asked its database by now.
    pub fn round_trips(&self) -> u64 {
        match &self.db {
            Db::Sqlite { trips, .. } => trips.count(),
            Db::Pg(pool) => pool.trips.count(),
        }
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
        let mut name = write.options.get_filename().as_os_str().to_owned();
        name.push(".lock");
        let name = Path::new(&name);
        make_private_file(name).map_err(|error| unwritable(name, error))?;
        let file = std::fs::File::open(name).map_err(|error| unwritable(name, error))?;
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
        let mut listener = PgListener::connect_with(&pool.own).await?;
        listener.listen("reelcoach").await?;
        // What was hinted at before this connection was there is unknown.
        self.wake.jobs.notify_waiters();
        self.wake.boards.notify_waiters();
        loop {
            while let Ok(hint) = tokio::time::timeout(QUIET, listener.try_recv()).await {
                match hint? {
                    Some(hint) if hint.payload() != "jobs" => {}
                    // None: the connection was lost and made again.
                    Some(_) | None => {
                        self.wake.jobs.notify_waiters();
                        self.wake.boards.notify_waiters();
                    }
                }
            }
            let alive = sqlx::query("SELECT 1").execute(&mut listener);
            tokio::time::timeout(SIGN_OF_LIFE, alive).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
        }
    }

    /// Closes all connections.
    pub async fn close(&self) {
        match &self.db {
            // The writer last: whoever closes last empties the log into the file.
            Db::Sqlite { read, write, .. } => {
                for connections in [&read.free, &write.free] {
                    let each = async {
                        while connections.status().size > 0
                            && let Ok(connection) = connections.remove().await
                        {
                            let _ = connection.close().await;
                        }
                    };
                    if tokio::time::timeout(LENT, each).await.is_err() {
                        tracing::warn!("some connections to the database could not be closed in good order");
                    }
                    connections.close();
                }
            }
            Db::Pg(_) => {
                let pools = [&self.db, &self.leases, &self.costs];
                let pools = pools
                    .into_iter()
                    .filter_map(|db| if let Db::Pg(pool) = db { Some(pool.own.close()) } else { None });
                if tokio::time::timeout(SIGN_OF_LIFE * 2, futures::future::join_all(pools)).await.is_err() {
                    tracing::warn!("some connections to the database could not be closed in good order");
                }
            }
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
        let Db::Pg(pool) = &self.db else { return };
        let sent = sqlx::query("SELECT pg_notify('reelcoach', 'jobs')").execute(&pool.own);
        // Only a hint would be lost: the others poll.
        match tokio::time::timeout(SIGN_OF_LIFE, sent).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a wake-up could not be sent"),
            Err(_) => tracing::debug!("a wake-up could not be sent in time"),
        }
    }
}

/// The connections that all share, those for leases, and those for costs.
async fn open_postgres(options: PgConnectOptions, connections: u32) -> Result<[Db; 3]> {
    // sqlx asks a connection for a sign of life at both ends of its use, but waits for it without end, and what it
    // waits for keeps its place in the pool.
    async fn is_alive(connection: &mut PgConnection) -> sqlx::Result<bool> {
        let alive = tokio::time::timeout(SIGN_OF_LIFE, connection.ping());
        alive.await.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map(|()| true)
    }
    // What is wrong is said at once: the pool tries again until its time is up, and then tells only that.
    let first = tokio::time::timeout(CONNECT, PgConnection::connect_with(&options)).await;
    let first = first.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())));
    let _ = first.map_err(StoreError::Open)?.close().await;
    let pool = PgPoolOptions::new()
        .acquire_timeout(CONNECT)
        .after_connect(|connection, _| Box::pin(async move { connection.execute(SESSION).await.map(|_| ()) }))
        .test_before_acquire(false)
        .before_acquire(|connection, now| {
            Box::pin(async move { if now.idle_for < FRESH { Ok(true) } else { is_alive(connection).await } })
        })
        .after_release(|connection, _| Box::pin(is_alive(connection)));
    let of = |connections| pool.clone().max_connections(connections);
    let shared = of(connections).connect_with(options.clone()).await.map_err(StoreError::Open)?;
    let [leases, costs] = [FOR_LEASES, FOR_COSTS].map(|connections| of(connections).connect_lazy_with(options.clone()));
    let trips = Arc::<RoundTrips>::default();
    let pool = |own, other| Db::Pg(Pool { own, other, trips: Arc::clone(&trips) });
    Ok([pool(shared.clone(), None), pool(leases, None), pool(costs, Some(shared))])
}

/// The same of SQLite, whose one writer serves them in turn: what writes, what a power cut may undo, and what writes
/// again.
async fn open_sqlite(url: &str, connections: u32) -> Result<[Db; 3]> {
    let options = SqliteConnectOptions::from_str(url)
        .map_err(|_| StoreError::Url("not a valid sqlite:// address".into()))?
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(5));
    if let Some(folder) = options.get_filename().parent()
        && !folder.as_os_str().is_empty()
    {
        make_private_folder(folder).map_err(|error| unwritable(options.get_filename(), error))?;
    }
    // Nobody else makes it: a connection that is made anew while the file is gone must not begin an empty one.
    make_private_file(options.get_filename()).map_err(|error| unwritable(options.get_filename(), error))?;
    let options = Arc::new(options);
    let write = Connections::open(&options, 1).await.map_err(StoreError::Open)?;
    // A connection has a thread of its own: a few are enough.
    let read = Connections::open(&options, connections.clamp(1, 4)).await.map_err(StoreError::Open)?;
    let opened = async { wal::Wal::open(options.get_filename(), &mut *lend(&write).await?).await };
    let wal = opened.await.map_err(StoreError::Open)?.map(Arc::new);
    let db = Db::Sqlite { read, write, wal, trips: Arc::default() };
    Ok([db.clone(), db.unsynced(), db])
}

/// What people and models write, as PostgreSQL's TEXT can hold it: without NUL.
fn storable(text: &str) -> String {
    text.replace('\0', "")
}
