//! What this process knows of a lease that it holds: until when it is surely good. Whoever writes on a screen asks this
//! first, because a process that was stopped for a while does not notice that somebody else has its work by now. Renews
//! nothing by itself: each lease has a keeper that does.
//!
//! ```text
//! good ──► nearly over ──► renewed: good
//!              │      └──► refused: the keeper ends, and the work with it
//!              └─ nothing is written meanwhile; whoever wants to write waits, and wakes the keeper
//! ```

use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use crate::clock::{Clock, Timestamp};
use crate::store::Store;
use crate::store::turns::Turn;

/// The last part of a lease, in which nothing new is begun: a write takes its time.
const LAST_PART: u32 = 4;

/// A moment by each clock. While a machine is suspended its monotonic clock may stand still, and so does the time in rows as
/// long as it follows the database's; the machine's own clock may be set back. A span is over when any of them says so.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The time in rows.
    pub wall: Timestamp,
    machine: Timestamp,
    monotonic: Instant,
}

impl Moment {
    pub fn now(clock: &Clock) -> Moment {
        Moment { wall: clock.now(), machine: clock.machine(), monotonic: Instant::now() }
    }

    /// What is left at `now` of a span that began here.
    fn left(&self, span: Duration, now: Moment) -> Duration {
        let by_wall = (self.wall + span).since(now.wall).min((self.machine + span).since(now.machine));
        by_wall.min(span.saturating_sub(now.monotonic.saturating_duration_since(self.monotonic)))
    }
}

/// A lease, as far as this process knows.
#[derive(Debug)]
pub struct Lease {
    clock: Clock,
    span: Duration,
    /// Nobody else can take it, however long it is not renewed.
    is_exclusive: bool,
    /// When the last grant that was heard of was asked for; `None`: it is not held.
    granted: watch::Sender<Option<Moment>>,
    wanted: Notify,
}

impl Lease {
    /// One that is not held yet.
    pub fn unheld(clock: &Clock, span: Duration) -> Lease {
        let granted = watch::Sender::new(None);
        Lease { clock: clock.clone(), span, is_exclusive: false, granted, wanted: Notify::new() }
    }

    /// One that was granted, and asked for at this moment.
    pub fn granted(clock: &Clock, span: Duration, asked: Moment) -> Lease {
        let lease = Lease::unheld(clock, span);
        lease.renewed(asked);
        lease
    }

    pub fn now(&self) -> Moment {
        Moment::now(&self.clock)
    }

    /// When it ends by the wall clock, as its row says.
    pub fn until(&self) -> Timestamp {
        self.granted.borrow().map_or(Timestamp(0), |asked| asked.wall + self.span)
    }

    /// It was granted anew. Counts from `asked`, the moment before the request left: when it arrived is not known.
    pub fn renewed(&self, asked: Moment) {
        self.granted.send_replace(Some(asked));
    }

    pub fn given_up(&self) {
        self.granted.send_replace(None);
    }

    /// Whether it surely lasts long enough to write something.
    pub fn is_good(&self) -> bool {
        self.left() > self.span / LAST_PART
    }

    /// Waits until it is good. Wakes the keeper where it is not; never returns once the lease is lost, because the keeper
    /// then ends the work.
    pub async fn good(&self) {
        let mut granted = self.granted.subscribe();
        while !self.is_good() {
            self.wanted.notify_one();
            // The sender is this lease's own.
            let _ = granted.changed().await;
        }
    }

    /// Waits until it is good, or until somebody else has had so long after its end to take it.
    pub async fn good_or_over_for(&self, span: Duration) {
        tokio::select! {
            () = self.good() => {}
            () = tokio::time::sleep(self.left() + span) => {}
        }
    }

    /// For the keeper: waits until it is to be renewed, which is `after` a while or as soon as somebody waits for it.
    pub async fn due(&self, after: Duration) {
        tokio::select! {
            () = tokio::time::sleep(after) => {}
            () = self.wanted.notified() => {}
        }
    }

    /// Does something for as long as the lease lasts; `None` once it has ended. Looks before each step, so that what a
    /// process was about to send when it was stopped is not sent when it goes on.
    pub async fn unless_over<T>(&self, doing: impl Future<Output = T>) -> Option<T> {
        let mut doing = pin!(doing);
        poll_fn(|context| match self.left() {
            Duration::ZERO => Poll::Ready(None),
            _ => doing.as_mut().poll(context).map(Some),
        })
        .await
    }

    fn left(&self) -> Duration {
        if self.is_exclusive {
            return self.span;
        }
        self.granted.borrow().map_or(Duration::ZERO, |asked| asked.left(self.span, self.now()))
    }
}

/// A lease on a row that this process works on: none of its claims takes that row while this is there.
pub struct Held {
    store: Arc<Store>,
    id: String,
    lease: Lease,
}

impl Held {
    /// `asked`: the moment before it was claimed.
    pub fn new(store: Arc<Store>, id: impl Display, clock: &Clock, span: Duration, asked: Moment) -> Held {
        store.work_begins(&id);
        // Where no other process can come, only the claims of this one could take it.
        let lease = Lease { is_exclusive: !store.is_shared(), ..Lease::granted(clock, span, asked) };
        Held { store, id: id.to_string(), lease }
    }
}

impl Deref for Held {
    type Target = Lease;

    fn deref(&self) -> &Lease {
        &self.lease
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.store.work_ends(&self.id);
    }
}

/// A turn that this process answers.
pub struct HeldTurn {
    turn: Turn,
    pub lease: Held,
}

impl HeldTurn {
    pub fn new(turn: Turn, store: Arc<Store>, clock: &Clock, span: Duration, asked: Moment) -> HeldTurn {
        let lease = Held::new(store, turn.id, clock, span, asked);
        HeldTurn { turn, lease }
    }
}

impl Deref for HeldTurn {
    type Target = Turn;

    fn deref(&self) -> &Turn {
        &self.turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const SPAN: Duration = Duration::from_secs(20);

    fn lease(clock: &Clock) -> Lease {
        Lease::granted(clock, SPAN, Moment::now(clock))
    }

    /// So long ago by the monotonic clock alone.
    fn asked_before(clock: &Clock, span: Duration) -> Moment {
        let Moment { wall, machine, monotonic } = Moment::now(clock);
        Moment {
            wall,
            machine,
            monotonic: monotonic.checked_sub(span).expect("the machine runs for longer than a minute"),
        }
    }

    #[test]
    fn a_lease_is_good_until_either_clock_says_that_it_is_nearly_over() {
        let clock = Clock::manual(Timestamp(1_000_000));
        let held = lease(&clock);
        assert_eq!(held.until(), Timestamp(1_020_000));
        clock.advance(SECOND * 14);
        assert!(held.is_good());
        clock.advance(SECOND);
        assert!(!held.is_good(), "what is begun now may end too late");
        held.renewed(held.now());
        assert!(held.is_good());
        held.renewed(asked_before(&clock, SECOND * 16));
        assert!(!held.is_good(), "a wall clock that stands still, or goes back, makes no lease longer");
        held.given_up();
        assert!(!held.is_good() && !Lease::unheld(&clock, SPAN).is_good());
    }

    #[tokio::test]
    async fn whoever_wants_to_write_wakes_the_keeper_and_waits() {
        let clock = Clock::manual(Timestamp(1_000_000));
        let held = lease(&clock);
        held.good().await;
        clock.advance(SECOND * 60);
        let mut writing = pin!(held.good());
        assert!(futures::poll!(&mut writing).is_pending());
        held.due(Duration::from_secs(3600)).await;
        assert!(futures::poll!(&mut writing).is_pending());
        held.renewed(held.now());
        writing.await;
        clock.advance(SECOND * 60);
        held.good_or_over_for(Duration::ZERO).await;
    }

    #[tokio::test]
    async fn what_was_begun_does_not_go_on_behind_the_end() {
        let clock = Clock::manual(Timestamp(1_000_000));
        let held = lease(&clock);
        assert_eq!(held.unless_over(async { 1 }).await, Some(1));
        let (go, gone) = (Notify::new(), std::cell::Cell::new(false));
        let mut sending = pin!(held.unless_over(async {
            go.notified().await;
            gone.set(true);
        }));
        assert!(futures::poll!(&mut sending).is_pending());
        // It is stopped here for a minute.
        clock.advance(SECOND * 60);
        go.notify_one();
        assert_eq!((sending.await, gone.get()), (None, false));
    }
}
