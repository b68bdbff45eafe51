//! The rows that this process works on under a lease. Whatever the row says of its lease, no claim of this process
//! takes one of them a second time: the lease of one is renewed instead.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Store;

/// Ids of turns and jobs, and how often each is held.
#[derive(Debug, Default)]
pub(super) struct HeldRows(Mutex<HashMap<String, u32>>);

impl HeldRows {
    pub(super) fn contains(&self, id: &str) -> bool {
        self.lock().contains_key(id)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// This process works on a row, until as many calls of [`Store::work_ends`].
    pub fn work_begins(&self, id: impl Display) {
        *self.held.lock().entry(id.to_string()).or_default() += 1;
    }

    /// The work on a row is over.
    pub fn work_ends(&self, id: impl Display) {
        let (id, mut held) = (id.to_string(), self.held.lock());
        match held.get_mut(&id) {
            Some(times @ 2..) => *times -= 1,
            _ => drop(held.remove(&id)),
        }
    }
}
