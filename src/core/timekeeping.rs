//! Keeps this instance's time right. Owns when the database's clock is read, what follows from a step of the machine's clock, and
//! whether this instance may take work; never sets anybody's clock.
//!
//! On PostgreSQL every instance goes by the database's clock: leases, due times and limits of several machines then agree,
//! however wrong the machines are. The clock is followed ([`Clock::follow`]) instead of being asked in each statement, so that no
//! statement and no pure rule need know of it; between two looks the steady time goes on. Between two looks, too, a machine
//! may be suspended or its clock set: both show without asking anybody, and are looked into before the next claim.
//!
//! An instance whose machine is further off than a third of the shortest lease takes no work, as long as another one is right:
//! something is wrong with that machine, and its following the database's clock is all that keeps its leases apart.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::board::POSTING_LEASE;
use super::charges::LONGEST_PAUSE as CHARGE_AGAIN;
use super::money::RESERVED_FOR;
use super::reels::Reels;
use super::reels::pipeline::LONGEST_LIFETIME;
use super::{reply, worker};
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::store::instances::{ClockState, LONGEST_LEASE};
use crate::store::waits::{LongestWaits, TURN_PUT_OFF};
use crate::store::{Store, StoreError};

/// How often the database's clock is read, and how often in a row at the start.
pub const EVERY: Duration = Duration::from_secs(3);
const FIRST_LOOKS: u32 = 5;

/// The database's clock was set, or this machine was suspended, if the time has changed by so much.
const STEP: Duration = Duration::from_secs(1);

/// After that no work is taken until every instance has read the clock and renewed its leases by it (a renewal each 7 s).
const SETTLING: Duration = Duration::from_secs(EVERY.as_secs() + 7);

/// How often the times in rows are looked at without a cause.
const SHORTEN_EVERY: Duration = Duration::from_secs(60);

/// By how much instances that follow one clock may differ: a lease that is so much longer is none that a wrong clock made.
const SLACK: Duration = Duration::from_secs(2);

/// Counts of the clock's steps. A step that is noticed while an earlier one is dealt with stays pending.
#[derive(Debug, Default)]
struct ClockSteps {
    noticed: AtomicU64,
    /// How many of them are dealt with.
    settled: AtomicU64,
}

impl ClockSteps {
    fn note(&self) {
        self.noticed.fetch_add(1, Ordering::AcqRel);
    }

    fn noticed(&self) -> u64 {
        self.noticed.load(Ordering::Acquire)
    }

    /// The first `noticed` of them are dealt with.
    fn settle(&self, noticed: u64) {
        self.settled.fetch_max(noticed, Ordering::AcqRel);
    }

    fn are_pending(&self) -> bool {
        self.settled.load(Ordering::Acquire) < self.noticed()
    }
}

/// Keeps the time of one instance.
pub struct Timekeeper {
    store: Arc<Store>,
    clock: Clock,
    reels: Arc<Reels>,
    /// But the spacing, which admins may set.
    rules: LongestWaits,
    steps: ClockSteps,
    looking: tokio::sync::Mutex<()>,
    /// In ms of the steady time.
    settled_at: AtomicI64,
    shortened_at: AtomicI64,
    /// By how much the machines of the other instances that live are off, in ms. `None`: not known yet.
    others: Mutex<Option<Vec<i64>>>,
    /// Nobody else can be there.
    is_alone: bool,
    is_stopped: AtomicBool,
    /// What the log says of it.
    is_told: AtomicBool,
}

impl Timekeeper {
    /// `is_alone`: no other instance is heard of.
    pub fn new(store: Arc<Store>, clock: Clock, reels: Arc<Reels>, is_alone: bool, config: &Config) -> Self {
        let rules = LongestWaits {
            spacing: config.reels.interval,
            merging: config.coach.merge_window,
            turn: reply::LEASE + SLACK,
            job: worker::LEASE + SLACK,
            board: POSTING_LEASE + SLACK,
            role: LONGEST_LEASE + SLACK,
            turn_again: TURN_PUT_OFF + SLACK,
            upstream_pause: worker::LONGEST_PAUSE,
            reservation: RESERVED_FOR,
            charge_again: CHARGE_AGAIN,
            reel: config.reels.cache,
            answer: config.coach.answer_cache,
            reel_failure: LONGEST_LIFETIME,
        };
        Self {
            store,
            clock,
            reels,
            rules,
            steps: ClockSteps::default(),
            looking: tokio::sync::Mutex::default(),
            settled_at: AtomicI64::new(0),
            shortened_at: AtomicI64::new(0),
            others: Mutex::default(),
            is_alone,
            is_stopped: AtomicBool::new(false),
            is_told: AtomicBool::new(false),
        }
    }

    /// Follows the database's clock from now on, and brings the times in rows back to what the rules allow.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn begin(&self) -> Result<(), StoreError> {
        self.store.follow_time(&self.clock, FIRST_LOOKS).await?;
        self.judge();
        self.shorten_waits().await
    }

    /// Reads the database's clock once more, and deals with a step since the last time.
    pub async fn look(&self) {
        self.notice_step();
        let _one = self.looking.lock().await;
        if let Err(error) = self.look_alone().await {
            tracing::warn!("the time could not be kept: {error}");
        }
    }

    async fn look_alone(&self) -> Result<(), StoreError> {
        let change = self.store.follow_time(&self.clock, 1).await?.unwrap_or_default();
        if change >= STEP {
            let change_ms = u64::try_from(change.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(change_ms, "the database's clock was set, or this machine was suspended");
            self.settled_at.store((self.clock.steady() + SETTLING).0, Ordering::Relaxed);
            self.steps.note();
        }
        self.judge();
        // Before the clock is read: a step that is noticed from now on needs another look.
        let noticed = self.steps.noticed();
        if self.steps.are_pending() {
            self.shorten_waits().await?;
            self.steps.settle(noticed);
        }
        Ok(())
    }

    /// Whether this instance may take work now. A step of the clock is dealt with first.
    pub async fn may_claim(&self) -> bool {
        self.notice_step();
        if self.steps.are_pending() {
            self.look().await;
        }
        !self.steps.are_pending()
            && !self.is_stopped.load(Ordering::Relaxed)
            && self.clock.steady().0 >= self.settled_at.load(Ordering::Relaxed)
    }

    /// By how much the machines of the other instances that live are off.
    pub fn note_others(&self, skews_ms: Vec<i64>) {
        *self.others.lock().unwrap_or_else(PoisonError::into_inner) = Some(skews_ms);
        self.judge();
    }

    /// How this instance's clock stands; `None` where there is nothing to compare it with.
    pub fn state(&self) -> Option<ClockState> {
        let skew_ms = self.clock.skew_ms()?;
        Some(ClockState { skew_ms, is_stopped: self.is_stopped.load(Ordering::Relaxed) })
    }

    /// Looks at the times in rows once a minute.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn shorten_now_and_then(&self) -> Result<(), StoreError> {
        let last = Timestamp(self.shortened_at.load(Ordering::Relaxed));
        match self.clock.steady().since(last) >= SHORTEN_EVERY {
            true => self.shorten_waits().await,
            false => Ok(()),
        }
    }

    fn notice_step(&self) {
        if self.clock.has_stepped() {
            tracing::warn!("this machine's clock was set, or it was suspended");
            self.steps.note();
        }
    }

    async fn shorten_waits(&self) -> Result<(), StoreError> {
        let spacing = self.reels.limits().await?.interval;
        let rules = LongestWaits { spacing, ..self.rules.clone() };
        let shortened = self.store.shorten_waits(&rules, self.clock.now()).await?;
        if shortened > 0 {
            tracing::warn!(shortened, "times that were further ahead than the rules allow are brought back");
        }
        self.shortened_at.store(self.clock.steady().0, Ordering::Relaxed);
        Ok(())
    }

    fn judge(&self) {
        let Some(skew_ms) = self.clock.skew_ms() else { return };
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Until the others are known one of them may be right.
        let is_known = others.is_some() || self.is_alone;
        let others = others.unwrap_or(if self.is_alone { Vec::new() } else { vec![0] });
        let is_stopped = ClockState::of(skew_ms, &others).is_stopped;
        self.is_stopped.store(is_stopped, Ordering::Relaxed);
        if !is_known || self.is_told.swap(is_stopped, Ordering::Relaxed) == is_stopped {
            return;
        }
        match is_stopped {
            true => {
                tracing::error!(skew_ms, "this machine's clock is too far off: no work is taken until it is set right")
            }
            false => tracing::info!(skew_ms, "this machine's clock is right again: work is taken"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_is_noticed_while_another_is_dealt_with_stays_pending() {
        let steps = ClockSteps::default();
        assert!(!steps.are_pending());
        steps.note();
        let noticed = steps.noticed();
        assert!(steps.are_pending());
        steps.note();
        steps.settle(noticed);
        assert!(steps.are_pending(), "the second one");
        steps.settle(steps.noticed());
        assert!(!steps.are_pending());
    }
}
