//! Chats that the bot is gone from: removed, blocked, without permission, or deleted. Owns what follows: reels that are waited
//! for there are cancelled before anything is bought for them, nothing paid is begun, and once the bot is back the boards that
//! stand there are brought up to date.
//!
//! ```text
//!          an event says so, or a send is refused
//! there ────────────────────────────────────────────► gone: reels cancelled, boards closed
//!   ▲                                                  │
//!   └── an event says so, or a first sign of life ─────┘
//!       gets through when somebody writes there
//! ```

use std::sync::Arc;
use std::time::Duration;

use super::chat::PresenceChange;
use super::outbox::{Outbox, Reached};
use super::reels::Reels;
use crate::clock::Clock;
use crate::ids::{ChatId, ChatScope, Platform};
use crate::store::reels::Cancelled;
use crate::store::{Store, StoreError};

/// Between two tries where it is not known whether anything arrives: somebody waits for the answer meanwhile.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// Who knows in which chats the bot is.
pub struct Presence {
    store: Arc<Store>,
    outbox: Arc<Outbox>,
    reels: Arc<Reels>,
    clock: Clock,
}

impl Presence {
    pub fn new(store: Arc<Store>, outbox: Arc<Outbox>, reels: Arc<Reels>, clock: Clock) -> Self {
        Self { store, outbox, reels, clock }
    }

    /// A platform tells that the bot is gone from some chats, or back.
    pub async fn told(&self, scope: &ChatScope, change: PresenceChange) -> Result<(), StoreError> {
        match (change, scope) {
            (PresenceChange::Back, _) => self.back(scope).await,
            // What was told may be long past, or of the old one of two ids: then it arrives there, or nobody may say so. Discord
            // only tells of deletions, which are for good.
            (PresenceChange::Gone, ChatScope::Chat(chat))
                if chat.platform != Platform::Discord
                    && matches!(self.outbox.reaches(chat).await, Reached::Yes | Reached::Elsewhere) =>
            {
                Ok(())
            }
            (PresenceChange::Gone, _) => self.gone(scope).await,
        }
    }

    /// Nothing arrives in these chats.
    pub async fn gone(&self, scope: &ChatScope) -> Result<(), StoreError> {
        let now = self.clock.now();
        // First of all: should this be all that is done, the next refused send does the rest.
        let cancelled = self.reels.cancel(&Cancelled::In(scope.clone()), now).await?;
        if self.store.chats_are_gone(scope, now).await? {
            tracing::info!(chats = %scope, reels_cancelled = cancelled.len(), "the bot is gone from a chat");
        }
        Ok(())
    }

    /// It arrives there again.
    pub async fn back(&self, scope: &ChatScope) -> Result<(), StoreError> {
        if self.store.chats_are_back(scope).await? {
            tracing::info!(chats = %scope, "the bot is back in a chat");
        }
        Ok(())
    }

    /// Whether anything arrives in a chat that was found gone, where somebody has written since; `Err(pause)`: not known yet.
    pub async fn is_back(&self, chat: &ChatId) -> Result<Result<bool, Duration>, StoreError> {
        match self.outbox.reaches(chat).await {
            Reached::Yes => {
                self.back(&ChatScope::Chat(chat.clone())).await?;
                Ok(Ok(true))
            }
            Reached::No | Reached::Elsewhere => Ok(Ok(false)),
            Reached::NotKnown => Ok(Err(TRY_AGAIN)),
        }
    }
}
