//! What the tests stand on: a fresh, migrated database for each test, on SQLite and on PostgreSQL.

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use reelcoach::store::Store;
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, SqlitePool};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};
use url::Url;

use crate::power::Disk;

/// One test on both databases: `on_both! { async fn name(db: TestDb) { … } }` makes the tests `name::sqlite` and
/// `name::postgres`.
macro_rules! on_both {
    ($($(#[$meta:meta])* async fn $name:ident($db:ident: TestDb) $body:block)+) => {$(
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            $(#[$meta])*
            async fn body($db: crate::support::TestDb) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn sqlite() {
                body(crate::support::TestDb::sqlite().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn postgres() {
                body(crate::support::TestDb::postgres().await).await;
            }
        }
    )+};
}

/// What a program of later days notes in the database, on SQLite and on PostgreSQL.
pub const LATER_MIGRATION: [&str; 2] = [
    "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'later', TRUE, X'00', 0)",
    "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'later', TRUE, '\\x00', 0)",
];

/// A database of this test's own, gone when it is dropped. Dereferences to its [`Store`].
pub struct TestDb {
    pub url: String,
    store: Arc<Store>,
    /// A connection of the test's own.
    behind: Behind,
    backend: Backend,
}

enum Behind {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

enum Backend {
    Sqlite { _folder: tempfile::TempDir },
    OnDisk,
    Postgres { server: Url, name: String, _place: SemaphorePermit<'static> },
}

impl Deref for TestDb {
    type Target = Store;
    fn deref(&self) -> &Store {
        &self.store
    }
}

impl TestDb {
    pub async fn sqlite() -> TestDb {
        Self::sqlite_opened("").await
    }

    /// One whose address has these parameters (`?vfs=…`).
    pub async fn sqlite_opened(parameters: &str) -> TestDb {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}{parameters}", folder.path().join("test.db").display());
        let store = Store::open(&url, 4).await.unwrap();
        store.migrate().await.unwrap();
        let options = url.parse::<SqliteConnectOptions>().unwrap().busy_timeout(Duration::from_secs(10));
        let behind = SqlitePoolOptions::new().max_connections(1).connect_lazy_with(options);
        TestDb {
            url,
            store: Arc::new(store),
            behind: Behind::Sqlite(behind),
            backend: Backend::Sqlite { _folder: folder },
        }
    }

    /// One on a disk whose power can be cut.
    pub async fn sqlite_on(disk: &Disk) -> TestDb {
        let file = disk.path().join("test.db");
        let store = Store::open(&format!("sqlite://{}", file.display()), 4).await.unwrap();
        store.migrate().await.unwrap();
        store.close().await;
        disk.sync();
        Self::sqlite_file(&file).await
    }

    async fn sqlite_file(file: &Path) -> TestDb {
        let url = format!("sqlite://{}", file.display());
        let store = Store::open(&url, 4).await.unwrap();
        let options = url.parse::<SqliteConnectOptions>().unwrap().busy_timeout(Duration::from_secs(10));
        let behind = SqlitePoolOptions::new().max_connections(1).connect_lazy_with(options);
        TestDb { url, store: Arc::new(store), behind: Behind::Sqlite(behind), backend: Backend::OnDisk }
    }

    /// The power of its disk goes and comes back. Nobody else may have it open.
    pub async fn lose_power(&mut self, disk: &Disk) {
        self.store.close().await;
        if let Behind::Sqlite(pool) = &self.behind {
            pool.close().await;
        }
        disk.cut();
        *self = Self::sqlite_file(&disk.path().join("test.db")).await;
    }

    pub async fn postgres() -> TestDb {
        let template = template(&server()).await;
        Self::postgres_like(&format!("TEMPLATE {template}")).await
    }

    /// One that nobody has migrated yet.
    pub async fn empty_postgres() -> TestDb {
        Self::postgres_like("").await
    }

    async fn postgres_like(template: &str) -> TestDb {
        let place = POSTGRES_PLACES.acquire().await.unwrap();
        let server = server();
        let name = unique_name();
        let mut admin = connect(&server).await;
        run(&mut admin, format!("CREATE DATABASE {name} {template}")).await;
        admin.close().await.unwrap();
        let url = on_server(&server, &name);
        let store = Store::open(url.as_str(), 8).await.unwrap();
        let behind = PgPoolOptions::new().max_connections(1).connect_lazy(url.as_str()).unwrap();
        TestDb {
            url: url.into(),
            store: Arc::new(store),
            behind: Behind::Postgres(behind),
            backend: Backend::Postgres { server, name, _place: place },
        }
    }

    /// The store, to be given to tasks.
    pub fn store(&self) -> Arc<Store> {
        self.store.clone()
    }

    /// The store as another instance has it: with connections of its own where instances can share a database.
    pub async fn another_instance(&self) -> Arc<Store> {
        match self.backend {
            Backend::Sqlite { .. } | Backend::OnDisk => self.store.clone(),
            Backend::Postgres { .. } => Arc::new(Store::open(&self.url, 4).await.unwrap()),
        }
    }

    /// The only column of the only row, for looking behind the store. `$1`, `$2`, … are `values`.
    pub async fn number(&self, sql: &str, values: &[i64]) -> i64 {
        let statement = AssertSqlSafe(sql.to_owned());
        let number = match &self.behind {
            Behind::Sqlite(pool) => {
                values
                    .iter()
                    .fold(sqlx::query_scalar(statement), |query, value| query.bind(*value))
                    .fetch_one(pool)
                    .await
            }
            Behind::Postgres(pool) => {
                values
                    .iter()
                    .fold(sqlx::query_scalar(statement), |query, value| query.bind(*value))
                    .fetch_one(pool)
                    .await
            }
        };
        number.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The same of a text, without values.
    pub async fn text(&self, sql: &str) -> String {
        let statement = AssertSqlSafe(sql.to_owned());
        let text = match &self.behind {
            Behind::Sqlite(pool) => sqlx::query_scalar(statement).fetch_one(pool).await,
            Behind::Postgres(pool) => sqlx::query_scalar(statement).fetch_one(pool).await,
        };
        text.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// How the database carries a statement out, whose parameters have the value 1; its tables are filled by then.
    pub async fn plan(&self, sql: &str) -> String {
        self.execute("ANALYZE").await;
        let sql = (1..9).fold(sql.to_owned(), |sql, nth| sql.replace(&format!("${nth}"), "1"));
        let lines: Vec<String> = match &self.behind {
            Behind::Sqlite(pool) => {
                let statement = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
                let rows: Vec<(i64, i64, i64, String)> = sqlx::query_as(statement).fetch_all(pool).await.unwrap();
                rows.into_iter().map(|(_, _, _, detail)| detail).collect()
            }
            Behind::Postgres(pool) => {
                sqlx::query_scalar(AssertSqlSafe(format!("EXPLAIN {sql}"))).fetch_all(pool).await.unwrap()
            }
        };
        lines.join("\n")
    }

    /// Removes all rows of a table.
    pub async fn empty(&self, table: &str) {
        self.execute(&format!("DELETE FROM {table}")).await;
    }

    /// Several statements on PostgreSQL, by one session and each on its own.
    pub async fn execute_all(&self, statements: &str) {
        let Behind::Postgres(pool) = &self.behind else { panic!("not on SQLite") };
        let mut connection = pool.acquire().await.unwrap();
        for statement in statements.split(';') {
            run(&mut connection, statement.to_owned()).await;
        }
    }

    /// Changes rows behind the store's back.
    pub async fn execute(&self, sql: &str) {
        let statement = AssertSqlSafe(sql.to_owned());
        let done = match &self.behind {
            Behind::Sqlite(pool) => sqlx::query(statement).execute(pool).await.map(|_| ()),
            Behind::Postgres(pool) => sqlx::query(statement).execute(pool).await.map(|_| ()),
        };
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

impl Drop for TestDb {
    fn drop(&mut self) {
        let Backend::Postgres { server, name, .. } = &self.backend else { return };
        let (server, name) = (server.clone(), name.clone());
        // A thread of its own: the test's runtime may be unwinding. Without the wait the process could end first.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut admin = connect(&server).await;
                run(&mut admin, format!("DROP DATABASE {name} WITH (FORCE)")).await;
            });
        })
        .join();
        if dropped.is_err() && !std::thread::panicking() {
            panic!("the test's database could not be dropped");
        }
    }
}

/// Databases that exist at a time, so that their connections stay below the server's limit on any machine.
static POSTGRES_PLACES: Semaphore = Semaphore::const_new(8);

/// The migrated database that the tests' databases are copies of.
static TEMPLATE: OnceCell<String> = OnceCell::const_new();

/// The server that the tests may make databases on.
pub fn server() -> Url {
    let url = std::env::var("TEST_DATABASE_URL")
        .expect("TEST_DATABASE_URL is not set: run the tests with `tests/run`, which starts a PostgreSQL for them");
    Url::parse(&url).expect("TEST_DATABASE_URL is not a postgres:// address")
}

fn on_server(server: &Url, database: &str) -> Url {
    let mut url = server.clone();
    url.set_path(database);
    url
}

/// Names the migrations' text, so that a template of an earlier state is never used.
fn migrations_digest() -> String {
    use sha2::Digest;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut hash = sha2::Sha256::new();
    for file in files {
        hash.update(file.file_name().unwrap().as_encoded_bytes());
        hash.update(std::fs::read(&file).unwrap());
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Makes the template if this server has none yet; several test processes may come at once.
async fn template(server: &Url) -> &'static str {
    TEMPLATE
        .get_or_init(|| async {
            let name = format!("reelcoach_template_{}", migrations_digest());
            let mut admin = connect(server).await;
            sqlx::query("SELECT pg_advisory_lock(7205759)").execute(&mut admin).await.unwrap();
            let there: Option<i32> = sqlx::query_scalar("SELECT 1 FROM pg_database WHERE datname = $1")
                .bind(&name)
                .fetch_optional(&mut admin)
                .await
                .unwrap();
            if there.is_none() {
                // It gets its name last: one that was killed half-way is never taken for a template.
                let unfinished = unique_name();
                run(&mut admin, format!("CREATE DATABASE {unfinished}")).await;
                let store = Store::open(on_server(server, &unfinished).as_str(), 2).await.unwrap();
                store.migrate().await.unwrap();
                store.close().await;
                run(&mut admin, format!("ALTER DATABASE {unfinished} RENAME TO {name}")).await;
            }
            admin.close().await.unwrap();
            name
        })
        .await
}

fn unique_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let nonce = uuid::Uuid::new_v4().simple().to_string();
    format!("reelcoach_test_{}_{}", &nonce[..12], NEXT.fetch_add(1, Ordering::Relaxed))
}

async fn connect(server: &Url) -> PgConnection {
    PgConnection::connect(server.as_str()).await.expect("the server of TEST_DATABASE_URL does not answer")
}

async fn run(admin: &mut PgConnection, sql: String) {
    sqlx::query(AssertSqlSafe(sql.clone())).execute(admin).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}
