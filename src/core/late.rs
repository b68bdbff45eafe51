//! Tells people whose message, or whose answer, cannot be stored that it waits. Owns who has been told during this outage of the
//! database; never stores a message, and promises nothing that the platform or the adapter does not hold: neither has
//! been told that the message arrived.
//!
//! Another instance may have the message, and answer it: after a stall of this one, or where only this one is cut off from
//! the database. So nobody is told before the database was asked, or, where it cannot be, the platform.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::chat::{Addressed, Body, Destination, Inbound};
use super::leases::{HeldTurn, Lease};
use super::outbox::{Outbox, Progress};
use super::{text, wording};
use crate::clock::{Clock, Timestamp};
use crate::ids::{ChatId, MessageRef, TurnId};
use crate::store::Store;

/// A shorter wait needs no words.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// How long the database is asked whether a message is stored.
const LOOK: Duration = Duration::from_secs(2);

/// From the end of a role's lease until whoever wants the role has it, and has handed over what waited at the platform.
const TAKEN_UP: Duration = Duration::from_secs(3);

/// The messages that wait.
pub struct Late {
    store: Arc<Store>,
    outbox: Arc<Outbox>,
    clock: Clock,
    outage: Mutex<Outage>,
}

#[derive(Default)]
struct Outage {
    since: Option<Timestamp>,
    told: HashSet<ChatId>,
}

impl Late {
    pub fn new(store: Arc<Store>, outbox: Arc<Outbox>, clock: Clock) -> Self {
        Self { store, outbox, clock, outage: Mutex::default() }
    }

    /// The outage, if there was one, is over: something was stored.
    pub fn over(&self) {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        if outage.since.is_some() || !outage.told.is_empty() {
            *outage = Outage::default();
        }
    }

    /// Waits for `storing` to store a message. Tells its chat if it fails, and meanwhile if it takes too long: the messages
    /// behind it wait for this one. `role`: what lets this process hear the platform.
    pub async fn while_storing<T, E>(
        &self,
        storing: impl Future<Output = Result<T, E>>,
        inbound: &Inbound,
        role: Option<&Lease>,
    ) -> Result<T, E> {
        let began = self.clock.now();
        let mut storing = pin!(storing);
        tokio::select! {
            biased;
            stored = &mut storing => {
                if stored.is_err() {
                    self.not_stored(inbound, began, role, &AtomicBool::new(false)).await;
                }
                return stored;
            }
            () = tokio::time::sleep(self.patience()) => {}
        }
        let sends = AtomicBool::new(false);
        let mut notice = pin!(self.not_stored(inbound, began, role, &sends));
        tokio::select! {
            biased;
            stored = &mut storing => {
                // A send that is cut off in the middle would be of unknown outcome. One that has not begun is not needed.
                if stored.is_err() || sends.load(Ordering::Relaxed) {
                    notice.await;
                }
                stored
            }
            () = &mut notice => storing.await,
        }
    }

    /// How long a message may take to be stored before its chat is told: less where an outage is known.
    fn patience(&self) -> Duration {
        let outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = outage.since.is_some_and(|since| self.clock.now().since(since) >= PATIENCE);
        if is_known { LOOK } else { PATIENCE }
    }

    /// A message could not be stored, which was tried since `began`: tells its chat, once in an outage. Commands with a
    /// placeholder are answered by their adapter, because they do not come again. Sets `sends` right before it sends.
    async fn not_stored(&self, inbound: &Inbound, began: Timestamp, role: Option<&Lease>, sends: &AtomicBool) {
        if inbound.addressed == Addressed::Overheard || inbound.placeholder.is_some() {
            return;
        }
        let (chat, message) = (&inbound.message.chat, &inbound.message);
        if self.has_lasted(began) && !self.is_told(chat) && !self.is_elsewhere(message, role).await {
            sends.store(true, Ordering::Relaxed);
            self.tell(chat, Some(message.clone()), None).await;
        }
    }

    /// An answer has waited for [`PATIENCE`] to be stored: tells its chat, once in an outage, unless another instance may
    /// have the turn. `false` if that is to be tried again.
    pub async fn not_answered(&self, turn: &HeldTurn, reply_to: Option<MessageRef>) -> bool {
        self.tell(&turn.chat, reply_to, Some(&turn.lease)).await
    }

    /// Whether another instance has a message.
    async fn is_elsewhere(&self, message: &MessageRef, role: Option<&Lease>) -> bool {
        if let Some(is_stored) = self.is_stored(message).await {
            return is_stored;
        }
        match role.filter(|role| !role.is_good()) {
            // Nobody else hears this platform.
            None => false,
            Some(role) => {
                role.good_or_over_for(TAKEN_UP).await;
                match self.is_stored(message).await {
                    Some(is_stored) => is_stored,
                    None => !self.outbox.is_unanswered(message).await,
                }
            }
        }
    }

    /// `None` if the database does not tell.
    async fn is_stored(&self, message: &MessageRef) -> Option<bool> {
        tokio::time::timeout(LOOK, self.store.is_received(message)).await.ok()?.ok()
    }

    fn is_told(&self, chat: &ChatId) -> bool {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner).told.contains(chat)
    }

    async fn tell(&self, chat: &ChatId, reply_to: Option<MessageRef>, lease: Option<&Lease>) -> bool {
        if !self.outage.lock().unwrap_or_else(PoisonError::into_inner).told.insert(chat.clone()) {
            return true;
        }
        let Some(rules) = self.outbox.rules(chat) else { return true };
        let to = Destination { chat: chat.clone(), reply_to };
        let Some(piece) = text::render(&Body::text(wording::late()), &rules).into_iter().next() else { return true };
        let told = self.outbox.progress(&to, None, &piece, &TurnId::new().nonce(0), lease).await;
        let is_told = matches!(told, Progress::Shown(_) | Progress::Unsure);
        if !is_told {
            // The chat was busy or paused: the next try tells it.
            self.outage.lock().unwrap_or_else(PoisonError::into_inner).told.remove(chat);
        }
        is_told
    }

    fn has_lasted(&self, began: Timestamp) -> bool {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        let since = *outage.since.get_or_insert(began);
        self.clock.now().since(since) >= PATIENCE
    }
}
