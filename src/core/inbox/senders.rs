//! Who is writing this moment: one event of an account is stored at a time, so that nobody takes all the connections to
//! the database; and whoever is known to send too many is refused without asking it. Only a shortcut: what an account may
//! send is counted by the database, and here only of those whom it does not know.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::clock::Timestamp;
use crate::store::turns::MINUTE;

/// Beyond so many accounts those that nobody needs any more are forgotten.
const MANY: usize = 4096;

/// The accounts that were heard lately.
#[derive(Default)]
pub(super) struct Senders(Mutex<HashMap<String, Arc<Account>>>);

#[derive(Default)]
struct Account {
    turn: Arc<tokio::sync::Mutex<()>>,
    rate: Mutex<Rate>,
}

/// What is known of how fast an account sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rate {
    /// Nothing of it is taken before then.
    refused_until: Timestamp,
    /// When the minute began in which its messages are counted here, and how many they are.
    since: Timestamp,
    messages: u32,
}

/// The right to store an event of an account.
pub struct Sender {
    account: Arc<Account>,
    _turn: OwnedMutexGuard<()>,
}

impl Senders {
    /// Waits until no other event of this account is being stored.
    pub async fn wait_for(&self, account: &str) -> Sender {
        let account = self.account(account);
        let turn = account.turn.clone().lock_owned().await;
        Sender { account, _turn: turn }
    }

    /// Until when an account is refused, as far as it is known here.
    pub fn refused_until(&self, account: &str, at: Timestamp) -> Option<Timestamp> {
        let accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.get(account)?.rate().refused_until(at)
    }

    fn account(&self, name: &str) -> Arc<Account> {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = accounts.get(name) {
            return known.clone();
        }
        if accounts.len() >= MANY {
            let newest = accounts.values().map(|account| account.rate().newest()).max();
            let is_new = |rate: Rate| newest.is_some_and(|newest| rate.newest() + MINUTE > newest);
            accounts.retain(|_, account| Arc::strong_count(account) > 1 || is_new(account.rate()));
        }
        accounts.entry(name.to_owned()).or_default().clone()
    }
}

impl Account {
    fn rate(&self) -> Rate {
        *self.rate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sender {
    /// Until when this account is refused.
    pub fn refused_until(&self, at: Timestamp) -> Option<Timestamp> {
        self.account.rate().refused_until(at)
    }

    /// The database refuses it until then.
    pub fn refuse(&self, until: Timestamp) {
        self.account.rate.lock().unwrap_or_else(PoisonError::into_inner).refused_until = until;
    }

    /// Counts an event of an account that has no row to be counted in.
    pub fn count(&self, per_minute: u32, at: Timestamp) {
        self.account.rate.lock().unwrap_or_else(PoisonError::into_inner).count(per_minute, at);
    }
}

impl Default for Rate {
    fn default() -> Rate {
        Rate { refused_until: Timestamp(0), since: Timestamp(0), messages: 0 }
    }
}

impl Rate {
    fn refused_until(&self, at: Timestamp) -> Option<Timestamp> {
        // What was sent well before that minute is of another one, though it comes later.
        let is_of_it = at < self.refused_until && at + MINUTE * 2 >= self.refused_until;
        is_of_it.then_some(self.refused_until)
    }

    fn newest(&self) -> Timestamp {
        self.refused_until.max(self.since)
    }

    fn count(&mut self, per_minute: u32, at: Timestamp) {
        if self.since + MINUTE <= at || at + MINUTE < self.since {
            (self.since, self.messages) = (at, 0);
        }
        self.messages += 1;
        if self.messages >= per_minute {
            self.refused_until = self.since + MINUTE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_sends_too_many_is_refused_until_the_minute_is_over() {
        let at = |seconds: i64| Timestamp(1_000_000 + seconds * 1000);
        let mut rate = Rate::default();
        for second in 0..3 {
            assert_eq!(rate.refused_until(at(second)), None);
            rate.count(3, at(second));
        }
        assert_eq!(rate.refused_until(at(3)), Some(at(60)));
        assert_eq!(rate.refused_until(at(60)), None);
        assert_eq!(rate.refused_until(at(-61)), None, "of another minute, though it comes later");
        rate.count(3, at(61));
        assert_eq!(rate, Rate { refused_until: at(60), since: at(61), messages: 1 });
    }

    #[tokio::test]
    async fn one_event_of_an_account_at_a_time() {
        let senders = Senders::default();
        let first = senders.wait_for("telegram:1").await;
        let waiting = senders.wait_for("telegram:1");
        let mut waiting = std::pin::pin!(waiting);
        assert!(futures::poll!(&mut waiting).is_pending());
        drop(senders.wait_for("telegram:2").await);
        first.refuse(Timestamp(60_000));
        drop(first);
        assert_eq!(waiting.await.refused_until(Timestamp(59_999)), Some(Timestamp(60_000)));
        assert_eq!(senders.refused_until("telegram:1", Timestamp(5)), Some(Timestamp(60_000)));
        assert_eq!(senders.refused_until("telegram:2", Timestamp(5)), None);
    }
}
