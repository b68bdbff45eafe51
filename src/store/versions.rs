//! The version of the tables: brings them to this program's, and tells a database that is too new for it. Never changes
//! tables in another way than by a migration.
//!
//! A migration only adds (expand), so that the release before it can still work on the tables; what is not used any
//! more goes away a release later (contract). A migration that an older program cannot work with sets
//! `compatibility.readable_from` to the newest migration that a program must know. An instance of the release before
//! may so start again in the middle of a rolling update, and after one that was taken back.

use sqlx::Connection;
use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnection;

use super::{Db, Result, Store, StoreError, args, lend};

static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// How a database's tables stand to this program. A version is the number of the newest migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tables {
    /// This program's, or older ones, or none yet.
    Known,
    /// A newer program has changed them, in a way that this one can work with.
    Newer { found: i64, own: i64 },
}

impl Store {
    /// Brings the tables to this program's version; does nothing when they are there already.
    ///
    /// # Errors
    /// [`StoreError::Newer`] for tables that this program cannot work with.
    pub async fn migrate(&self) -> Result<()> {
        let newer;
        let migrator = match self.tables().await? {
            Tables::Known => &MIGRATOR,
            Tables::Newer { found, own } => {
                tracing::warn!(found, own, "the database was changed by a newer reelcoach: update this one");
                let mut known = Migrator::with_migrations(MIGRATOR.iter().cloned().collect());
                known.set_ignore_missing(true);
                newer = known;
                &newer
            }
        };
        match &self.db {
            Db::Sqlite { write, .. } => migrator.run(&mut *lend(write).await?).await?,
            Db::Pg(pool) => {
                // A session without our bounds: a change of a large table takes its time, and other instances that
                // start meanwhile wait for the migrator's lock.
                let mut connection = PgConnection::connect_with(&pool.own.connect_options()).await?;
                migrator.run(&mut connection).await?;
                connection.close().await?;
            }
        }
        Ok(())
    }

    /// Whether this program can work on the tables, as far as their version tells. Changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Newer`] if it cannot.
    pub async fn tables(&self) -> Result<Tables> {
        let own = MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or(0);
        let found = self.newest("SELECT MAX(version) FROM _sqlx_migrations", "_sqlx_migrations").await?;
        let Some(found) = found.filter(|found| *found > own) else { return Ok(Tables::Known) };
        let readable_from = self.newest("SELECT MAX(readable_from) FROM compatibility", "compatibility").await?;
        match readable_from {
            Some(readable_from) if readable_from <= own => Ok(Tables::Newer { found, own }),
            _ => Err(StoreError::Newer { found, own }),
        }
    }

    /// The only value of a statement; `None` where there is no such table.
    async fn newest(&self, sql: &'static str, table: &str) -> Result<Option<i64>> {
        let find = match &self.db {
            Db::Sqlite { .. } => "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = $1",
            Db::Pg(_) => "SELECT COUNT(*) FROM pg_class WHERE oid = to_regclass($1)",
        };
        let tables: i64 = self.db.fetch_value(find, args![table]).await?;
        if tables == 0 {
            return Ok(None);
        }
        self.db.fetch_value(sql, args![]).await
    }
}
