//! Tells people whose message cannot be stored that it waits. Owns who has been told during this outage of the
//! database; never stores a message, and promises nothing that the platform or the adapter does not hold: neither has
//! been told that the message arrived.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::chat::{Addressed, Body, Destination, Inbound};
use super::outbox::{Outbox, Progress};
use super::{text, wording};
use crate::clock::{Clock, Timestamp};
use crate::ids::{ChatId, TurnId};

/// A shorter wait needs no words.
const PATIENCE: Duration = Duration::from_secs(5);

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

    /// A message was stored: the outage, if there was one, is over.
    pub fn stored(&self) {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        if outage.since.is_some() {
            *outage = Outage::default();
        }
    }

    /// A message could not be stored, which was tried since `began`: tells its chat, once in an outage. Commands with a
    /// placeholder are answered by their adapter, because they do not come again.
    pub async fn not_stored(&self, inbound: &Inbound, began: Timestamp) {
        if inbound.addressed == Addressed::Overheard || inbound.placeholder.is_some() {
            return;
        }
        let chat = &inbound.message.chat;
        if !self.is_to_be_told(chat, began) {
            return;
        }
        let Some(rules) = self.outbox.rules(chat) else { return };
        let to = Destination { chat: chat.clone(), reply_to: Some(inbound.message.clone()) };
        let Some(piece) = text::render(&Body::text(wording::late()), &rules).into_iter().next() else { return };
        let told = self.outbox.progress(&to, None, &piece, &TurnId::new().nonce(0)).await;
        if !matches!(told, Progress::Shown(_) | Progress::Unsure) {
            // The chat was busy or paused: the next try tells it.
            self.outage.lock().unwrap_or_else(PoisonError::into_inner).told.remove(chat);
        }
    }

    fn is_to_be_told(&self, chat: &ChatId, began: Timestamp) -> bool {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        let since = *outage.since.get_or_insert(began);
        self.clock.now().since(since) >= PATIENCE && outage.told.insert(chat.clone())
    }
}
