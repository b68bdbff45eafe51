//! How many turns this instance answers at a time, so that it neither runs out of memory nor pays for the same answers again
//! and again. Owns that number; never which turns are taken (`store::turns`).
//!
//! ```text
//! clean start ─────────────────────► as many as the memory and MAX_TURNS allow
//! after an unclean end: a few ──×2 each 10 s──►      │      ▲
//!                                          memory is short  │ there is room again
//!                                                    ▼      │
//!                                                   a few ──┘
//! ```

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::CLAIM_BATCH;
use crate::clock::{Clock, Timestamp};
use crate::store::turns::{ALONE_AFTER, Shares, Turn};
use crate::telemetry::system;

/// So many are answered whatever happens, and at first after an unclean end. Of those whose holder ended once, no more than so
/// many are answered at a time.
const FEW: u32 = 8;

/// The memory that the program takes without answering anybody, and what one answer takes (measured, rounded up).
const BASE_BYTES: u64 = 40 << 20;
const ANSWER_BYTES: u64 = (1 << 20) / 10;

/// After an unclean end the number doubles so often.
const DOUBLES_EVERY: Duration = Duration::from_secs(10);

/// Memory is short beyond this part of what the process may use, in percent.
const SHORT_PERCENT: u64 = 85;

/// The slots of one instance.
pub(super) struct Slots {
    most: u32,
    limit_bytes: Option<u64>,
    clock: Clock,
    /// When it began, by the steady time, if the one before it ended in the middle of something.
    careful_since: OnceLock<Timestamp>,
    used: Mutex<Used>,
}

#[derive(Clone, Copy, Default)]
struct Used {
    slots: u32,
    /// Those that answer a turn whose holder ended.
    suspects: u32,
    /// One of them answers a turn that nothing else may be answered beside.
    alone: bool,
}

/// One slot; free again when dropped.
pub(super) struct Slot {
    slots: Arc<Slots>,
    lost: i64,
}

impl Slots {
    /// At most `configured`, and no more than there is memory for.
    pub fn new(configured: u32, limit_bytes: Option<u64>, clock: Clock) -> Arc<Slots> {
        let most = most(configured, limit_bytes);
        let limit_mb = limit_bytes.map(|bytes| bytes >> 20);
        tracing::info!(most, configured, memory_limit_mb = limit_mb, "answers at a time");
        Arc::new(Slots { most, limit_bytes, clock, careful_since: OnceLock::new(), used: Mutex::default() })
    }

    /// Begins with few.
    pub fn be_careful(&self) {
        let now = self.clock.steady();
        self.careful_since.get_or_init(|| now);
        tracing::warn!(
            few = FEW,
            "the instance before this one ended in the middle of its work: it begins with few answers at a time"
        );
    }

    /// What may be claimed now.
    pub fn free(&self) -> Shares {
        let used = *self.used();
        let allowed = self.allowed(system::held_bytes());
        let free = if used.alone { 0 } else { allowed.saturating_sub(used.slots) };
        let shares = Shares::of_slots(allowed, free.min(CLAIM_BATCH));
        Shares { suspects: FEW.saturating_sub(used.suspects), idle: used.slots == 0, ..shares }
    }

    /// How many are answered now.
    pub fn in_use(&self) -> u32 {
        self.used().slots
    }

    pub fn take(self: &Arc<Self>, turn: &Turn) -> Slot {
        let mut used = self.used();
        used.slots += 1;
        used.suspects += u32::from(turn.holders_lost > 0);
        used.alone |= turn.holders_lost >= ALONE_AFTER;
        if used.alone {
            tracing::warn!(turn = %turn.id, holders_lost = turn.holders_lost, "a turn is answered alone: whoever answered it before ended");
        }
        Slot { slots: self.clone(), lost: turn.holders_lost }
    }

    /// How many may be answered at a time now, where the process holds so much memory.
    fn allowed(&self, held: Option<u64>) -> u32 {
        let is_short = held.zip(self.limit_bytes).is_some_and(|(held, limit)| held > limit / 100 * SHORT_PERCENT);
        if is_short {
            return self.most.min(FEW);
        }
        let Some(since) = self.careful_since.get() else { return self.most };
        let doubled = self.clock.steady().since(*since).as_secs() / DOUBLES_EVERY.as_secs();
        let doubled = u32::try_from(doubled).unwrap_or(u32::MAX).min(24);
        self.most.min(FEW << doubled)
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut used = self.slots.used();
        used.slots -= 1;
        used.suspects -= u32::from(self.lost > 0);
        used.alone &= self.lost < ALONE_AFTER;
    }
}

fn most(configured: u32, limit_bytes: Option<u64>) -> u32 {
    let Some(limit) = limit_bytes else { return configured };
    let fits = limit.saturating_sub(BASE_BYTES) / ANSWER_BYTES;
    u32::try_from(fits).unwrap_or(u32::MAX).max(FEW).min(configured)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;

    #[test]
    fn the_memory_decides_how_many_there_are() {
        let with = |megabytes: u64| most(2000, Some(megabytes * MB));
        assert_eq!([16, 40, 41, 64, 256, 4096].map(with), [8, 8, 10, 240, 2000, 2000]);
        assert_eq!((most(2000, None), most(4, Some(16 * MB)), most(4, Some(4096 * MB))), (2000, 4, 4));
    }

    #[test]
    fn after_an_unclean_end_it_begins_with_few() {
        let clock = Clock::manual(Timestamp(1_000_000));
        let slots = Slots::new(100, Some(1024 * MB), clock.clone());
        assert_eq!(slots.allowed(Some(MB)), 100);
        slots.be_careful();
        let mut seen = Vec::new();
        for _ in 0..6 {
            seen.push(slots.allowed(Some(MB)));
            clock.advance(Duration::from_secs(9));
            clock.set_by(-3_600_000);
        }
        assert_eq!(seen, [8, 8, 16, 32, 64, 100], "however often the clock is set back");
        assert_eq!(slots.allowed(Some(900 * MB)), 8, "memory is short");
        assert_eq!(slots.allowed(None), 100);
    }
}
