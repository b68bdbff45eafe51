//! A transaction on PostgreSQL. Owns its beginning and its end; a connection that was left inside one is closed, never
//! lent again.

use std::ops::{Deref, DerefMut};

use sqlx::Executor;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, Postgres};

use super::pool::{Pool, acquire};

/// One transaction. Dropped before its end, as by a caller that goes away, it takes the connection with it: sqlx's own
/// counts a transaction only once its BEGIN is answered, so that a future dropped before leaves one open that nobody
/// knows of, and whatever the next user of the connection writes is undone with it. The server ends the
/// transaction, and gives its locks back, when it sees the connection closed.
pub struct Transaction {
    connection: PoolConnection<Postgres>,
    is_open: bool,
}

impl Transaction {
    pub async fn begin(pool: &Pool) -> sqlx::Result<Transaction> {
        let connection = acquire(pool).await?;
        let mut transaction = Transaction { connection, is_open: true };
        transaction.connection.execute("BEGIN").await?;
        Ok(transaction)
    }

    /// Once it returns `Ok`, what was written holds.
    pub async fn commit(self) -> sqlx::Result<()> {
        self.end("COMMIT").await
    }

    pub async fn rollback(self) -> sqlx::Result<()> {
        self.end("ROLLBACK").await
    }

    async fn end(mut self, how: &'static str) -> sqlx::Result<()> {
        self.connection.execute(how).await?;
        self.is_open = false;
        Ok(())
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if self.is_open {
            self.connection.close_on_drop();
        }
    }
}

impl Deref for Transaction {
    type Target = PgConnection;
    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}
