//! A database for one run of a load test: a file, or one made on a PostgreSQL server and dropped again. Owns its life;
//! knows no table.

use std::path::Path;

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::{Result, StoreError};

/// The database, until [`Scratch::remove`].
#[derive(Debug)]
pub struct Scratch {
    /// As `DATABASE_URL` takes it.
    pub url: String,
    /// The server, and the name on it.
    server: Option<(String, String)>,
}

impl Scratch {
    /// In `folder`, or on the `server` of a postgres:// address, under a name that is not taken yet: no database that
    /// is there already is touched.
    ///
    /// # Errors
    /// When the server cannot be reached, or the role there may not make databases.
    pub async fn make(folder: &Path, server: Option<&str>) -> Result<Scratch> {
        let Some(server) = server else {
            let url = format!("sqlite://{}", folder.join("bot.db").display());
            return Ok(Scratch { url, server: None });
        };
        let name = format!("reelcoach_stress_{}", uuid::Uuid::new_v4().simple());
        let mut url = url::Url::parse(server).map_err(|_| StoreError::Url("not a valid postgres:// address".into()))?;
        let mut admin = PgConnection::connect(server).await.map_err(StoreError::Open)?;
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut admin).await?;
        admin.close().await?;
        url.set_path(&name);
        Ok(Scratch { url: url.into(), server: Some((server.to_owned(), name)) })
    }

    /// Whether it is on a server.
    pub fn is_far(&self) -> bool {
        self.server.is_some()
    }

    /// On a server: from now on, or no longer, every session can only read. Those that are open are ended, as in a
    /// failover.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn refuse_writes(&self, refused: bool) -> Result<()> {
        let Some((server, name)) = &self.server else { return Ok(()) };
        let mut admin = PgConnection::connect(server).await?;
        let to = if refused { "SET default_transaction_read_only = on" } else { "RESET default_transaction_read_only" };
        sqlx::query(AssertSqlSafe(format!("ALTER DATABASE {name} {to}"))).execute(&mut admin).await?;
        sqlx::query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1")
            .bind(name)
            .execute(&mut admin)
            .await?;
        admin.close().await?;
        Ok(())
    }

    /// Drops what was made on a server; a file goes with its folder.
    pub async fn remove(self) -> Result<()> {
        if let Some((server, name)) = self.server {
            let mut admin = PgConnection::connect(&server).await?;
            sqlx::query(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")))
                .execute(&mut admin)
                .await?;
            admin.close().await?;
        }
        Ok(())
    }
}
