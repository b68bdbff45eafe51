//! The connections to PostgreSQL that a caller may have. Owns who waits for which.

use std::sync::Arc;

use futures::future::BoxFuture;
use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgPool;

use super::conn::RoundTrips;

/// A pool, and one that is asked too while all of the first are taken.
#[derive(Clone, Debug)]
pub struct Pool {
    pub own: PgPool,
    pub other: Option<PgPool>,
    pub trips: Arc<RoundTrips>,
}

impl Pool {
    fn is_taken(&self) -> bool {
        self.own.num_idle() == 0 && self.own.size() >= self.own.options().get_max_connections()
    }
}

/// A connection to PostgreSQL. In a box: the way there may lead through a new connection, whose state is of kilobytes,
/// and each place that waits for one, in each turn that is in flight, would hold room for it.
pub fn acquire(pool: &Pool) -> BoxFuture<'static, sqlx::Result<PoolConnection<Postgres>>> {
    let own = pool.own.acquire();
    match &pool.other {
        Some(other) if pool.is_taken() => {
            let other = other.acquire();
            Box::pin(async move {
                tokio::select! {
                    biased;
                    connection = own => connection,
                    connection = other => connection,
                }
            })
        }
        _ => Box::pin(own),
    }
}
