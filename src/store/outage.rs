//! Which errors of the database pass, and how long what must not be lost is repeated for. Owns the table of codes and
//! what is known of a present outage; never decides what people are told of it.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use sqlx::error::DatabaseError;
use sqlx::postgres::PgDatabaseError;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Result, Store, StoreError};
use crate::telemetry::Reference;

/// How long [`Store::insist`] repeats what the database refuses.
pub const INSIST_FOR: Duration = Duration::from_secs(600);

/// The pause before the next try.
const AGAIN: Duration = Duration::from_secs(1);

/// The first pause after a conflict with another transaction; doubles up to [`AGAIN`].
const AFTER_CONFLICT: Duration = Duration::from_millis(20);

/// What works again for so long is taken to do so for good.
const CALM: Duration = Duration::from_secs(5);

/// How often a wait that goes on is logged.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// What is to be expected of the same statement later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recovery {
    /// The database works again once somebody has acted, or a neighbour is through.
    Later,
    /// Another transaction went first: the same works at once, or at the next try.
    AtOnce,
}

/// SQLite's primary result codes (<https://www.sqlite.org/rescode.html>): the low byte of the extended ones.
const SQLITE: [(i32, Recovery); 7] = [
    (5, Recovery::Later),  // BUSY: another program holds the lock
    (6, Recovery::Later),  // LOCKED: another connection of this process does
    (8, Recovery::Later),  // READONLY: the file or its file system became so
    (10, Recovery::Later), // IOERR
    (13, Recovery::Later), // FULL: the disk, or a quota
    (14, Recovery::Later), // CANTOPEN: a file beside the database is out of reach, or there are too many open ones
    (15, Recovery::Later), // PROTOCOL: no lock on the write-ahead log within its retries
];

/// Beginnings of PostgreSQL's SQLSTATEs (<https://www.postgresql.org/docs/current/errcodes-appendix.html>): two
/// characters are a class.
const POSTGRES: [(&str, Recovery); 11] = [
    ("08", Recovery::Later),     // connection exceptions
    ("25006", Recovery::Later),  // read-only: a standby, or a primary that was made so
    ("25P03", Recovery::Later),  // the session idled in a transaction for too long
    ("25P04", Recovery::Later),  // the transaction took too long
    ("40001", Recovery::AtOnce), // serialization failure
    ("40P01", Recovery::AtOnce), // deadlock
    ("40003", Recovery::Later),  // whether the statement was completed is unknown
    ("53", Recovery::Later),     // insufficient resources: disk full, too many connections
    ("55P03", Recovery::Later),  // a lock was not to be had in time
    ("57", Recovery::Later),     // operator intervention: shutdown, start-up, statement timeout
    ("58", Recovery::Later),     // errors of the system around it, I/O among them
];

impl StoreError {
    /// Whether the database could not be asked, did not answer, or does not take this for the moment: the same may work
    /// later, and if it was a write, it may have been done.
    pub fn is_outage(&self) -> bool {
        self.recovery().is_some()
    }

    fn recovery(&self) -> Option<Recovery> {
        let StoreError::Query(error) = self else { return None };
        match error {
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut | sqlx::Error::WorkerCrashed => {
                Some(Recovery::Later)
            }
            sqlx::Error::Database(refused) => recovery_of(refused.as_ref()),
            _ => None,
        }
    }
}

fn recovery_of(refused: &dyn DatabaseError) -> Option<Recovery> {
    let code = refused.code()?;
    if refused.try_downcast_ref::<PgDatabaseError>().is_some() {
        return POSTGRES.iter().find(|(start, _)| code.starts_with(start)).map(|(_, recovery)| *recovery);
    }
    let primary = code.parse::<i32>().ok()? & 0xff;
    SQLITE.iter().find(|(known, _)| *known == primary).map(|(_, recovery)| *recovery)
}

/// Since when something that must not be lost is refused, by any caller of this process.
#[derive(Debug)]
pub(super) struct Refusals {
    since: watch::Sender<Option<Instant>>,
    /// Callers that wait for the database this moment.
    waiting: AtomicUsize,
}

/// A caller that waits. When the last one has given up or was dropped, nothing is known to be refused any more.
struct Waiting<'a> {
    refusals: &'a Refusals,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.refusals.waiting.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.refusals.answered();
        }
    }
}

impl Default for Refusals {
    fn default() -> Self {
        Self { since: watch::Sender::new(None), waiting: AtomicUsize::new(0) }
    }
}

impl Refusals {
    fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        Waiting { refusals: self }
    }

    fn refused(&self) {
        self.since.send_if_modified(|since| {
            let is_new = since.is_none();
            since.get_or_insert_with(Instant::now);
            is_new
        });
    }

    fn answered(&self) {
        if self.since.borrow().is_some() {
            self.since.send_replace(None);
        }
    }
}

impl Store {
    /// Runs a statement of this store until the database has answered, for [`INSIST_FOR`] at most: for what nobody else
    /// knows, such as a paid run or an answer on screen. Each of them may be repeated, because it is keyed or fenced.
    ///
    /// # Errors
    /// What the database answers, a closed store, and an outage that is longer.
    pub async fn insist<T, R>(&self, what: &'static str, run: impl Fn() -> R + Sync) -> Result<T>
    where
        T: Send,
        R: Future<Output = Result<T>> + Send,
    {
        insist_for(INSIST_FOR, &self.refusals, what, &|| Box::pin(run())).await
    }

    /// Waits until something that must not be lost has been refused for so long.
    pub async fn refused_for(&self, span: Duration) {
        let mut refusals = self.refusals.since.subscribe();
        loop {
            // The sender is the store's own: it is there for as long as this waits.
            let Ok(since) = refusals.wait_for(Option::is_some).await.map(|since| *since) else { continue };
            let Some(since) = since else { continue };
            tokio::select! {
                () = tokio::time::sleep_until(since + span) => return,
                _ = refusals.wait_for(Option::is_none) => {}
            }
        }
    }

    /// Waits until nothing is refused any more, for good as it seems: a full disk may have room for a little.
    pub async fn writes_again(&self) {
        let mut refusals = self.refusals.since.subscribe();
        loop {
            let _ = refusals.wait_for(Option::is_none).await;
            tokio::select! {
                () = tokio::time::sleep(CALM) => return,
                _ = refusals.wait_for(Option::is_some) => {}
            }
        }
    }
}

/// A statement that may be repeated.
type Run<'a, T> = &'a (dyn Fn() -> BoxFuture<'a, Result<T>> + Sync);

/// Compiled once for each kind of answer, not for each caller.
async fn insist_for<T>(longest: Duration, refusals: &Refusals, what: &'static str, run: Run<'_, T>) -> Result<T> {
    let began = Instant::now();
    let mut logged: Option<Instant> = None;
    let mut after_conflict = AFTER_CONFLICT;
    let mut waiting = None;
    loop {
        let result = run().await;
        let Some((error, recovery)) = result.as_ref().err().and_then(|error| Some((error, error.recovery()?))) else {
            refusals.answered();
            return result;
        };
        waiting.get_or_insert_with(|| refusals.wait());
        refusals.refused();
        if began.elapsed() >= longest {
            let waited_s = began.elapsed().as_secs();
            tracing::error!(what, waited_s, reference = %Reference::new(), "gave up waiting for the database: {error}");
            return result;
        }
        let pause = match recovery {
            Recovery::AtOnce => {
                let pause = after_conflict;
                after_conflict = (after_conflict * 2).min(AGAIN);
                pause
            }
            Recovery::Later => AGAIN,
        };
        if logged.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            logged = Some(Instant::now());
            tracing::warn!(what, "waiting for the database: {error}");
        }
        tokio::time::sleep(pause.min(longest)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    fn outage() -> StoreError {
        StoreError::Query(sqlx::Error::PoolTimedOut)
    }

    #[tokio::test]
    async fn what_is_refused_for_too_long_is_given_up() {
        let (refusals, tries) = (Refusals::default(), AtomicU32::new(0));
        let refused = || -> BoxFuture<'_, Result<()>> {
            tries.fetch_add(1, Ordering::Relaxed);
            Box::pin(std::future::ready(Err(outage())))
        };
        let given_up = insist_for(Duration::from_millis(30), &refusals, "a test", &refused).await;
        assert!(given_up.is_err_and(|error| error.is_outage()));
        assert_eq!(tries.into_inner(), 2);
        assert!(refusals.since.borrow().is_none(), "nobody waits any more");
        // So it is when somebody is dropped who waits; as long as another one waits, something is refused.
        let never = || -> BoxFuture<'_, Result<()>> { Box::pin(std::future::ready(Err(outage()))) };
        let mut one = Box::pin(insist_for(INSIST_FOR, &refusals, "a test", &never));
        let mut two = Box::pin(insist_for(INSIST_FOR, &refusals, "a test", &never));
        assert!(futures::poll!(&mut one).is_pending() && futures::poll!(&mut two).is_pending());
        drop(one);
        assert!(refusals.since.borrow().is_some(), "the other still waits");
        drop(two);
        assert!(refusals.since.borrow().is_none());
        assert_eq!(INSIST_FOR, Duration::from_secs(10 * 60));
    }

    #[tokio::test]
    async fn an_answer_ends_it_also_where_it_is_an_error() {
        for answer in [None, Some(StoreError::Corrupt("a column")), Some(StoreError::Query(sqlx::Error::PoolClosed))] {
            let refusals = Refusals::default();
            refusals.refused();
            let is_error = answer.is_some();
            let answer = std::sync::Mutex::new(answer);
            let answered = || -> BoxFuture<'_, Result<()>> {
                Box::pin(std::future::ready(answer.lock().unwrap().take().map_or(Ok(()), Err)))
            };
            let result = insist_for(INSIST_FOR, &refusals, "a test", &answered).await;
            assert_eq!(result.is_err(), is_error);
            assert!(refusals.since.borrow().is_none());
        }
    }
}
