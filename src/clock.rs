//! The one place that knows the time. Everything below takes `now` as a value or asks a [`Clock`].
//!
//! A machine's clock may be wrong and may be set while the program runs, so two times are told apart. [`Clock::now`] is the
//! time that goes into rows and is shown to people: the database's, once [`Clock::follow`] knows it, so that all instances on one
//! database go by one clock; else the machine's. [`Clock::steady`] only ever moves on, as fast as time does, whatever is
//! done to the machine's clock: it is for what this process alone waits for. A step of the machine's clock, or a machine that
//! was suspended, shows as a difference between the two ([`Clock::has_stepped`]).

use std::fmt;
use std::ops::{Add, Sub};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Later than any time that is ever asked for, and far from overflow.
    pub const NEVER: Timestamp = Timestamp(i64::MAX / 4);

    /// How long from `earlier` to `self`; zero if `earlier` is later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0).max(0).unsigned_abs())
    }

    /// The moment of a text like `2026-11-24T10:00:14.000Z` (RFC 3339); `None` if it is none.
    pub fn from_rfc3339(text: &str) -> Option<Timestamp> {
        chrono::DateTime::parse_from_rfc3339(text).ok().map(|at| Timestamp(at.timestamp_millis()))
    }

    /// This time as a calendar date and time in UTC; `None` outside chrono's range.
    pub fn utc(self) -> Option<chrono::DateTime<chrono::Utc>> {
        chrono::DateTime::from_timestamp_millis(self.0)
    }
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;
    fn add(self, span: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(milliseconds(span)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Timestamp;
    fn sub(self, span: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(milliseconds(span)))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

fn milliseconds(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(Timestamp::NEVER.0)
}

/// The machine's clock for one look at it, or the one that an instance keeps.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    #[default]
    System,
    Kept(Arc<Kept>),
    /// Of the same instance, its steady time.
    Steady(Arc<Kept>),
}

/// The time that an instance keeps.
#[derive(Debug)]
pub struct Kept {
    machine: Machine,
    /// The database's clock, where it has one of its own.
    database: RemoteClock,
    /// By how much the machine's clock was ahead of the steady time at the last look for a step.
    lead_ms: AtomicI64,
}

#[derive(Debug)]
enum Machine {
    Real {
        started: Instant,
        started_at: Timestamp,
        /// By how much tests have set it.
        set_ms: AtomicI64,
    },
    /// Stands still until a test moves it.
    Manual { wall_ms: AtomicI64, steady_ms: AtomicI64 },
}

/// A change of the machine's clock against the steady time that is a step and not the usual correction: those slow it down or
/// speed it up by half a thousandth.
const STEP_MS: u64 = 500;

impl Clock {
    /// The clock of an instance: this machine's, until it follows a database.
    pub fn kept() -> Clock {
        let started_at = machine_time();
        Clock::Kept(Arc::new(Kept::of(Machine::Real {
            started: Instant::now(),
            started_at,
            set_ms: AtomicI64::new(0),
        })))
    }

    /// A clock that stands at `start` until [`Clock::advance`] moves it. It is the database's, too: it follows none.
    pub fn manual(start: Timestamp) -> Self {
        let at = || AtomicI64::new(start.0);
        Clock::Kept(Arc::new(Kept::of(Machine::Manual { wall_ms: at(), steady_ms: at() })))
    }

    pub fn now(&self) -> Timestamp {
        match self {
            Clock::System => machine_time(),
            Clock::Kept(kept) => kept.database.now(kept.steady()).unwrap_or_else(|| kept.wall()),
            Clock::Steady(kept) => kept.steady(),
        }
    }

    /// What this machine's clock shows, whatever the database's does.
    pub fn machine(&self) -> Timestamp {
        match self {
            Clock::System => machine_time(),
            Clock::Kept(kept) | Clock::Steady(kept) => kept.wall(),
        }
    }

    /// The time since an arbitrary moment near the start of the process, written as a time near the real one. It is never
    /// set, so it is no time of day, and means nothing to another process.
    pub fn steady(&self) -> Timestamp {
        match self {
            Clock::System => machine_time(),
            Clock::Kept(kept) | Clock::Steady(kept) => kept.steady(),
        }
    }

    /// A clock whose `now` is the steady time.
    pub fn steady_clock(&self) -> Clock {
        match self {
            Clock::System => Clock::System,
            Clock::Kept(kept) | Clock::Steady(kept) => Clock::Steady(kept.clone()),
        }
    }

    /// When something becomes due by [`Clock::now`] that is due at `steady` by the steady time.
    pub fn at_steady(&self, steady: Timestamp) -> Timestamp {
        self.now() + steady.since(self.steady())
    }

    /// Whether there is a machine behind it whose clock may differ from a database's.
    pub fn may_follow(&self) -> bool {
        matches!(self, Clock::Kept(kept) if kept.is_real())
    }

    /// Goes by the database's clock from now on, which showed `shown` between `sent` and `received`, both of
    /// [`Clock::steady`].
    pub fn follow(&self, shown: Timestamp, sent: Timestamp, received: Timestamp) {
        if let Clock::Kept(kept) = self {
            kept.database.observe(shown, Duration::from_millis(1), sent, received);
        }
    }

    /// By how much this machine's clock is ahead of the database's, in ms; `None` as long as that is not known.
    pub fn skew_ms(&self) -> Option<i64> {
        let Clock::Kept(kept) = self else { return None };
        let database = kept.database.now(kept.steady())?;
        Some(kept.wall().0 - database.0)
    }

    /// Whether the machine's clock was set, or the machine was suspended, since this was last asked.
    pub fn has_stepped(&self) -> bool {
        let Clock::Kept(kept) = self else { return false };
        let lead = kept.lead();
        kept.lead_ms.swap(lead, Ordering::Relaxed).abs_diff(lead) >= STEP_MS
    }

    /// Moves a manual clock on; a machine's moves by itself and is left alone.
    pub fn advance(&self, span: Duration) {
        if let Clock::Kept(kept) = self
            && let Machine::Manual { wall_ms, steady_ms } = &kept.machine
        {
            wall_ms.fetch_add(milliseconds(span), Ordering::SeqCst);
            steady_ms.fetch_add(milliseconds(span), Ordering::SeqCst);
        }
    }

    /// Sets the machine's clock forward by so many ms, or back, as far as this process sees it: as its owner would.
    pub fn set_by(&self, ms: i64) {
        if let Clock::Kept(kept) = self {
            let (Machine::Real { set_ms: clock, .. } | Machine::Manual { wall_ms: clock, .. }) = &kept.machine;
            clock.fetch_add(ms, Ordering::SeqCst);
        }
    }

    /// Waits until `at`, as far away as it is now: a clock that is set meanwhile makes nobody wait longer. A manual clock is
    /// asked again every few milliseconds, because whoever moves it does not know who waits.
    pub async fn sleep_until(&self, at: Timestamp) {
        let left = at.since(self.now());
        match self {
            Clock::Kept(kept) | Clock::Steady(kept) if !kept.is_real() => {
                let end = kept.steady() + left;
                while kept.steady() < end {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
            Clock::System | Clock::Kept(_) | Clock::Steady(_) => tokio::time::sleep(left).await,
        }
    }
}

impl Kept {
    fn of(machine: Machine) -> Kept {
        let kept = Kept { machine, database: RemoteClock::default(), lead_ms: AtomicI64::new(0) };
        kept.lead_ms.store(kept.lead(), Ordering::Relaxed);
        kept
    }

    fn is_real(&self) -> bool {
        matches!(self.machine, Machine::Real { .. })
    }

    fn wall(&self) -> Timestamp {
        match &self.machine {
            Machine::Real { set_ms, .. } => Timestamp(machine_time().0 + set_ms.load(Ordering::SeqCst)),
            Machine::Manual { wall_ms, .. } => Timestamp(wall_ms.load(Ordering::SeqCst)),
        }
    }

    fn steady(&self) -> Timestamp {
        match &self.machine {
            Machine::Real { started, started_at, .. } => *started_at + started.elapsed(),
            Machine::Manual { steady_ms, .. } => Timestamp(steady_ms.load(Ordering::SeqCst)),
        }
    }

    fn lead(&self) -> i64 {
        self.wall().0 - self.steady().0
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
fn machine_time() -> Timestamp {
    Timestamp(chrono::Utc::now().timestamp_millis())
}

/// What is known of another machine's clock: by how much it is ahead of this process's steady time. Each answer of that
/// machine bounds it from both sides, by when the question left and when the answer came; what is known already stays as
/// far as the bounds allow it, so that a slow answer takes nothing away from what a fast one has told.
#[derive(Debug)]
pub struct RemoteClock {
    ahead_ms: AtomicI64,
}

const UNKNOWN: i64 = i64::MIN;

impl Default for RemoteClock {
    fn default() -> Self {
        Self { ahead_ms: AtomicI64::new(UNKNOWN) }
    }
}

impl RemoteClock {
    /// It showed a time from `shown` to a `resolution` later at some moment between `sent` and `received` of the steady time.
    pub fn observe(&self, shown: Timestamp, resolution: Duration, sent: Timestamp, received: Timestamp) {
        let least = shown.0.saturating_sub(received.0);
        let most = (shown + resolution).0.saturating_sub(sent.0).max(least);
        self.change(|known| known.map_or(least + (most - least) / 2, |known| known.clamp(least, most)));
    }

    /// It had shown `shown` when `received` was: something that it made then has arrived.
    pub fn has_passed(&self, shown: Timestamp, received: Timestamp) {
        let least = shown.0.saturating_sub(received.0);
        self.change(|known| known.map_or(least, |known| known.max(least)));
    }

    /// What it shows at this moment of the steady time; `None` before the first answer.
    pub fn now(&self, steady: Timestamp) -> Option<Timestamp> {
        let ahead = Some(self.ahead_ms.load(Ordering::Relaxed)).filter(|ahead| *ahead != UNKNOWN)?;
        Some(Timestamp(steady.0.saturating_add(ahead)))
    }

    fn change(&self, next: impl Fn(Option<i64>) -> i64) {
        // The closure never refuses.
        let _ = self.ahead_ms.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |known| {
            Some(next(Some(known).filter(|known| *known != UNKNOWN)))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp(1_795_500_000_000 + ms)
    }

    #[test]
    fn answers_narrow_down_another_clock() {
        let (remote, exact) = (RemoteClock::default(), Duration::ZERO);
        assert_eq!(remote.now(at(0)), None);
        remote.observe(at(30_000), exact, at(0), at(1000));
        assert_eq!(remote.now(at(1000)), Some(at(30_500)), "in the middle of what is possible");
        remote.observe(at(32_000), exact, at(2000), at(2010));
        assert_eq!(remote.now(at(3000)), Some(at(32_990)), "nearly 30 s");
        remote.observe(at(41_000), exact, at(10_000), at(12_000));
        assert_eq!(remote.now(at(12_000)), Some(at(41_990)), "a slow answer says no more than that");
        remote.observe(at(3_600_000), Duration::from_secs(1), at(20_000), at(20_000));
        assert_eq!(remote.now(at(20_000)), Some(at(3_600_000)), "it was set");
        remote.has_passed(at(3_600_500), at(20_000));
        remote.has_passed(at(0), at(20_000));
        assert_eq!(remote.now(at(20_000)), Some(at(3_600_500)));
    }

    #[test]
    fn a_step_is_noticed_once_and_the_steady_time_knows_of_none() {
        for clock in [Clock::kept(), Clock::manual(at(0))] {
            assert!(!clock.has_stepped());
            let (now, steady) = (clock.now(), clock.steady());
            clock.set_by(-3_600_000);
            assert!(clock.now() < now - Duration::from_secs(3500) && clock.steady() >= steady);
            assert!(clock.has_stepped() && !clock.has_stepped());
            clock.set_by(3_600_000);
            assert!(clock.has_stepped() && clock.now() >= now);
            clock.set_by(200);
            assert!(!clock.has_stepped(), "such differences come and go");
        }
        let clock = Clock::manual(at(0));
        clock.advance(Duration::from_secs(60));
        assert!(!clock.has_stepped() && clock.steady() == at(60_000));
        clock.set_by(5000);
        assert_eq!(clock.at_steady(at(61_000)), at(66_000));
    }

    #[test]
    fn who_follows_a_database_goes_by_its_time() {
        let clock = Clock::kept();
        assert_eq!(clock.skew_ms(), None);
        let asked = || (clock.steady(), clock.steady());
        clock.set_by(30_000);
        let (sent, received) = asked();
        clock.follow(clock.now() - Duration::from_secs(30), sent, received);
        assert!(clock.skew_ms().is_some_and(|ms| (29_900..30_100).contains(&ms)), "{:?}", clock.skew_ms());
        let before = clock.now();
        clock.set_by(-86_400_000);
        assert!(
            clock.now().since(before) < Duration::from_secs(1) && clock.now() >= before,
            "the machine's is passed over"
        );
    }

    #[tokio::test]
    async fn nobody_sleeps_longer_because_the_clock_is_set() {
        for clock in [Clock::kept(), Clock::manual(at(0))] {
            let mut wait = std::pin::pin!(clock.sleep_until(clock.now() + Duration::from_millis(30)));
            assert!(futures::poll!(&mut wait).is_pending());
            clock.set_by(-3_600_000);
            let waiting = tokio::time::timeout(Duration::from_secs(20), wait);
            clock.advance(Duration::from_millis(30));
            waiting.await.expect("it waits for the hour to come again");
        }
    }
}
