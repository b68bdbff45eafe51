//! Renewals of leases, all of a moment in one statement on a connection of their own: the more leases there are, and
//! the slower the database is, the more of them each statement renews. Knows by that whether they are renewed in time;
//! while they are not, nothing is claimed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::time::Instant;

use super::{Arg, Db, Result, Store};
use sqlx::AssertSqlSafe;

use crate::clock::Timestamp;
use crate::ids::InstanceId;

/// The longest that one statement is waited for: a later one may get through where this one waits on a dead connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two statements. Whoever asks meanwhile goes with the next.
const PAUSE: Duration = Duration::from_millis(50);

/// Leases renewed in one statement.
const MOST: usize = 512;

/// What leases are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Turn,
    Job,
}

/// Names a lease: the row, who took it, and which time that was.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct LeaseKey {
    pub row: String,
    pub by: InstanceId,
    pub attempt: i64,
}

/// Whether a lease is still held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renewed {
    Held { cancel: bool },
    Lost,
}

/// Renewals that are asked for, of each kind.
#[derive(Debug, Default)]
pub(super) struct Renewals {
    turns: Renewing,
    jobs: Renewing,
    /// Nothing is claimed: logged.
    is_behind: AtomicBool,
}

#[derive(Debug, Default)]
struct Renewing {
    /// Those that the next statement takes along.
    asked: Arc<Mutex<Vec<Asked>>>,
    round: Mutex<Round>,
}

#[derive(Debug, Default)]
struct Round {
    /// The statement that is under way. All who wait drive it: it goes on when one of them goes away, and when the last
    /// of them does, it ends, and gives its connection back.
    running: Option<WeakShared<BoxFuture<'static, bool>>>,
    /// When it began, or had to because of somebody who waits.
    since: Option<Instant>,
    last: Option<Ended>,
}

impl Round {
    /// What is under way, while anybody waits for it.
    fn running(&self) -> Option<Shared<BoxFuture<'static, bool>>> {
        self.running.as_ref().and_then(WeakShared::upgrade)
    }
}

/// How the last statement went.
#[derive(Clone, Copy, Debug)]
struct Ended {
    at: Instant,
    took: Duration,
    is_done: bool,
}

#[derive(Debug)]
struct Asked {
    lease: LeaseKey,
    until: Timestamp,
    /// Gets the text of an error: the error itself is everybody's.
    answer: oneshot::Sender<std::result::Result<Renewed, String>>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Renewing {
    async fn renew(&self, leases: &Db, kind: Kind, lease: LeaseKey, until: Timestamp) -> Result<Renewed> {
        let (answer, mut answered) = oneshot::channel();
        locked(&self.asked).push(Asked { lease, until, answer });
        loop {
            let running = self.running(leases, kind);
            let is_done = running.clone().await;
            self.ended(&running, is_done);
            match answered.try_recv() {
                Ok(Ok(renewed)) => return Ok(renewed),
                Ok(Err(error)) => return Err(sqlx::Error::Io(std::io::Error::other(error)).into()),
                // Asked for too late for that one.
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Closed) => return Err(sqlx::Error::WorkerCrashed.into()),
            }
        }
    }

    /// The statement under way, or the next one.
    fn running(&self, leases: &Db, kind: Kind) -> Shared<BoxFuture<'static, bool>> {
        let mut round = locked(&self.round);
        if let Some(running) = round.running() {
            return running;
        }
        let begins = round.last.map_or_else(Instant::now, |last| last.at + PAUSE);
        let (leases, asked) = (leases.clone(), Arc::clone(&self.asked));
        let sent = async move {
            tokio::time::sleep_until(begins).await;
            let all: Vec<Asked> = {
                let mut asked = locked(&asked);
                let most = asked.len().min(MOST);
                asked.drain(..most).collect()
            };
            let sent = tokio::time::timeout(PATIENCE, renew_all(&leases, kind, &all)).await;
            let sent = sent.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()).into()));
            let sent = sent.map_err(|error| error.to_string());
            for Asked { lease, answer, .. } in all {
                let renewed = sent.as_ref().map(|held| held.get(&lease).copied().unwrap_or(Renewed::Lost));
                // Its asker may be gone.
                let _ = answer.send(renewed.map_err(Clone::clone));
            }
            sent.is_ok()
        };
        let running = sent.boxed().shared();
        round.running = running.downgrade();
        round.since = Some(Instant::now());
        running
    }

    /// Notes the end of a statement, once.
    fn ended(&self, ended: &Shared<BoxFuture<'static, bool>>, is_done: bool) {
        let mut round = locked(&self.round);
        if round.running().is_some_and(|running| running.ptr_eq(ended)) {
            let took = round.since.take().map_or(Duration::ZERO, |since| since.elapsed());
            round.last = Some(Ended { at: Instant::now(), took, is_done });
            round.running = None;
        }
    }

    /// Whether leases of this length are not renewed in time: a statement takes longer than a third of it, or the last
    /// one did or failed. Where nobody asks again, nothing is known any more after that time.
    fn is_behind(&self, lease: Duration) -> bool {
        let (round, longest) = (locked(&self.round), lease / 3);
        let was_bad = |last: Ended| (!last.is_done || last.took > longest) && last.at.elapsed() <= longest;
        let is_under_way = round.running().is_some();
        (is_under_way && round.since.is_some_and(|since| since.elapsed() > longest)) || round.last.is_some_and(was_bad)
    }
}

impl Store {
    /// Extends a lease.
    pub(super) async fn renew(&self, kind: Kind, lease: LeaseKey, until: Timestamp) -> Result<Renewed> {
        let renewing = match kind {
            Kind::Turn => &self.renewals.turns,
            Kind::Job => &self.renewals.jobs,
        };
        renewing.renew(&self.leases, kind, lease, until).await
    }

    /// Whether as much is held as can be renewed: who takes more loses what he has. Logged once.
    pub(super) fn is_full(&self, lease: Duration) -> bool {
        let is_behind = self.renewals.turns.is_behind(lease) || self.renewals.jobs.is_behind(lease);
        if self.renewals.is_behind.swap(is_behind, Ordering::Relaxed) != is_behind {
            match is_behind {
                true => tracing::warn!("leases are renewed late: no new work is taken until they are renewed in time"),
                false => tracing::info!("leases are renewed in time again: new work is taken"),
            }
        }
        is_behind
    }
}

#[derive(sqlx::FromRow)]
struct RenewedRow {
    id: String,
    leased_by: String,
    attempt: i64,
    cancel: bool,
}

/// The leases that are still held.
async fn renew_all(leases: &Db, kind: Kind, asked: &[Asked]) -> Result<HashMap<LeaseKey, Renewed>> {
    // Whoever gave up waiting has asked again: of two ends, the database would take either.
    let mut ends: HashMap<&LeaseKey, Timestamp> = HashMap::new();
    for Asked { lease, until, .. } in asked {
        ends.entry(lease).and_modify(|end| *end = (*end).max(*until)).or_insert(*until);
    }
    let ends: Vec<(&LeaseKey, Timestamp)> = ends.into_iter().collect();
    let Some(last) = ends.len().checked_sub(1) else { return Ok(HashMap::new()) };
    // A few lengths, so that the database need not prepare a statement for each.
    let places = ends.len().next_power_of_two();
    let mut args = Vec::with_capacity(4 * places);
    for nth in 0..places {
        let (lease, until) = ends[nth.min(last)];
        args.extend([Arg::from(&lease.row), Arg::from(lease.by.to_string())]);
        args.extend([lease.attempt, until.0].map(Arg::from));
    }
    let sql = AssertSqlSafe(extend(kind, places));
    let rows: Vec<RenewedRow> = leases.write(async |connection| connection.fetch_all(sql, &args).await).await?;
    let renewed = |RenewedRow { id, leased_by, attempt, cancel }| {
        Ok((LeaseKey { row: id, by: leased_by.parse()?, attempt }, Renewed::Held { cancel }))
    };
    rows.into_iter().map(renewed).collect()
}

/// Extends so many leases, each of them row, instance, attempt and end.
fn extend(kind: Kind, leases: usize) -> String {
    let lease = |nth| {
        let [row, by, attempt, until] = [1, 2, 3, 4].map(|column| format!("${}", 4 * nth + column));
        format!("(CAST({row} AS TEXT), CAST({by} AS TEXT), CAST({attempt} AS BIGINT), CAST({until} AS BIGINT))")
    };
    let leases: Vec<String> = (0..leases).map(lease).collect();
    let (table, end, is_live, cancel) = match kind {
        Kind::Turn => ("turns", "due_at", "state <> 'closed'", "FALSE"),
        Kind::Job => ("jobs", "leased_until", "state = 'running'", "cancel"),
    };
    format!(
        r"
            UPDATE {table}
            SET {end} = asked.column4
            FROM (VALUES {}) AS asked
            WHERE {table}.id = asked.column1 AND leased_by = asked.column2 AND attempt = asked.column3 AND {is_live}
            RETURNING {table}.id AS id, leased_by, attempt, {cancel} AS cancel",
        leases.join(", ")
    )
}
