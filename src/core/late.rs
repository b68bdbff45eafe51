//! Tells people whose message, or whose answer, cannot be stored that it waits. Owns who has been told during this outage of the
//! database; never stores a message, and promises nothing that the platform or the adapter does not hold: neither has
//! been told that the message arrived.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::chat::{Addressed, Body, Destination, Inbound};
use super::outbox::{Outbox, Progress};
use super::{text, wording};
use crate::clock::{Clock, Timestamp};
use crate::ids::{ChatId, MessageRef, TurnId};

/// A shorter wait needs no words.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The messages that wait.
pub struct Late {
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
    pub fn new(outbox: Arc<Outbox>, clock: Clock) -> Self {
        Self { outbox, clock, outage: Mutex::default() }
    }

    /// The outage, if there was one, is over: something was stored.
    pub fn over(&self) {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        if outage.since.is_some() || !outage.told.is_empty() {
            *outage = Outage::default();
        }
    }

    /// A message could not be stored, which was tried since `began`: tells its chat, once in an outage. Commands with a
    /// placeholder are answered by their adapter, because they do not come again.
    pub async fn not_stored(&self, inbound: &Inbound, began: Timestamp) {
        if inbound.addressed == Addressed::Overheard || inbound.placeholder.is_some() {
            return;
        }
        if self.has_lasted(began) {
            self.tell(&inbound.message.chat, Some(inbound.message.clone())).await;
        }
    }

    /// An answer has waited for [`PATIENCE`] to be stored: tells its chat, once in an outage. `false` if that is to be
    /// tried again.
    pub async fn not_answered(&self, chat: &ChatId, reply_to: Option<MessageRef>) -> bool {
        self.tell(chat, reply_to).await
    }

    async fn tell(&self, chat: &ChatId, reply_to: Option<MessageRef>) -> bool {
        if !self.outage.lock().unwrap_or_else(PoisonError::into_inner).told.insert(chat.clone()) {
            return true;
        }
        let Some(rules) = self.outbox.rules(chat) else { return true };
        let to = Destination { chat: chat.clone(), reply_to };
        let Some(piece) = text::render(&Body::text(wording::late()), &rules).into_iter().next() else { return true };
        let told = self.outbox.progress(&to, None, &piece, &TurnId::new().nonce(0)).await;
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
