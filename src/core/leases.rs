//! The leases that this process holds, and until when as far as it knows. Decides nothing: whoever is about to take up
//! work whose lease has ended learns here that its holder may sit next door.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use crate::clock::Timestamp;

/// Leases by what they are on. While the database refuses writes none of them can be renewed, although the work goes on;
/// when it takes writes again, the holders go first, so that nothing is bought a second time.
pub struct Leases<Key: Eq + Hash> {
    until: Mutex<HashMap<Key, Timestamp>>,
}

/// One of them; given up when dropped.
pub struct Held<'a, Key: Eq + Hash> {
    leases: &'a Leases<Key>,
    key: Key,
}

impl<Key: Eq + Hash> Default for Leases<Key> {
    fn default() -> Self {
        Self { until: Mutex::default() }
    }
}

impl<Key: Eq + Hash + Clone> Leases<Key> {
    pub fn hold(&self, key: Key, until: Timestamp) -> Held<'_, Key> {
        self.set(key.clone(), until);
        Held { leases: self, key }
    }

    /// Whether one of them has ended without being renewed or given up.
    pub fn any_overdue(&self, now: Timestamp) -> bool {
        self.until.lock().unwrap_or_else(PoisonError::into_inner).values().any(|until| *until <= now)
    }

    fn set(&self, key: Key, until: Timestamp) {
        self.until.lock().unwrap_or_else(PoisonError::into_inner).insert(key, until);
    }
}

impl<Key: Eq + Hash + Clone> Held<'_, Key> {
    pub fn renewed(&self, until: Timestamp) {
        self.leases.set(self.key.clone(), until);
    }
}

impl<Key: Eq + Hash> Drop for Held<'_, Key> {
    fn drop(&mut self) {
        self.leases.until.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_overdue_until_it_is_renewed_or_given_up() {
        let leases = Leases::default();
        let (one, two) = (leases.hold(1, Timestamp(10)), leases.hold(2, Timestamp(20)));
        assert_eq!([9, 10, 30].map(|now| leases.any_overdue(Timestamp(now))), [false, true, true]);
        one.renewed(Timestamp(40));
        assert_eq!([19, 20].map(|now| leases.any_overdue(Timestamp(now))), [false, true]);
        drop(two);
        assert_eq!([39, 40].map(|now| leases.any_overdue(Timestamp(now))), [false, true]);
        drop(one);
        assert!(!leases.any_overdue(Timestamp(99)));
    }
}
