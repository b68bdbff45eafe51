//! Signs of life: when an adapter last heard from its platform, and which roles this process holds. Plain numbers that the
//! adapters set and `/readyz` reads; never decides what follows from a long silence.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::clock::Timestamp;

/// When something last worked.
#[derive(Debug, Default)]
pub struct SignOfLife(AtomicI64);

impl SignOfLife {
    /// It worked at `now`; an earlier moment than the known one changes nothing.
    pub fn give(&self, now: Timestamp) {
        self.0.fetch_max(now.0, Ordering::Relaxed);
    }

    pub fn last(&self) -> Option<Timestamp> {
        Some(self.0.load(Ordering::Relaxed)).filter(|at| *at > 0).map(Timestamp)
    }
}

/// What one instance at a time does.
#[derive(Debug)]
pub struct Role {
    pub name: &'static str,
    /// Whoever holds the role and has heard nothing for longer is not ready.
    longest_silence: Duration,
    sign: Arc<SignOfLife>,
    /// 0: not held.
    held_since: AtomicI64,
}

/// How a role stands in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleState {
    pub is_held: bool,
    /// Since the last sign of life, or since the role was taken up; `None` where it is not held.
    pub silence: Option<Duration>,
    /// Not held, or not silent for too long.
    pub is_well: bool,
}

impl Role {
    pub fn new(name: &'static str, longest_silence: Duration, sign: Arc<SignOfLife>) -> Self {
        Self { name, longest_silence, sign, held_since: AtomicI64::new(0) }
    }

    /// This process has the role from `now` on.
    pub fn take_up(&self, now: Timestamp) {
        self.held_since.store(now.0.max(1), Ordering::Relaxed);
    }

    /// It has it no more.
    pub fn give_up(&self) {
        self.held_since.store(0, Ordering::Relaxed);
    }

    pub fn state(&self, now: Timestamp) -> RoleState {
        let since = self.held_since.load(Ordering::Relaxed);
        if since == 0 {
            return RoleState { is_held: false, silence: None, is_well: true };
        }
        let heard = self.sign.last().map_or(since, |at| at.0.max(since));
        let silence = now.since(Timestamp(heard));
        RoleState { is_held: true, silence: Some(silence), is_well: silence <= self.longest_silence }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_well_until_it_is_silent_for_too_long() {
        let at = |seconds: i64| Timestamp(1_000_000 + seconds * 1000);
        let sign = Arc::new(SignOfLife::default());
        let role = Role::new("polling", Duration::from_secs(10), sign.clone());
        sign.give(at(0));
        assert_eq!(role.state(at(500)), RoleState { is_held: false, silence: None, is_well: true });
        role.take_up(at(500));
        let held = |silence, is_well| RoleState { is_held: true, silence: Some(Duration::from_secs(silence)), is_well };
        assert_eq!(role.state(at(505)), held(5, true), "what was heard before it had the role counts for nothing");
        assert_eq!(role.state(at(511)), held(11, false));
        sign.give(at(511));
        sign.give(at(400));
        assert_eq!(role.state(at(512)), held(1, true));
        role.give_up();
        assert!(role.state(at(9999)).is_well);
    }
}
