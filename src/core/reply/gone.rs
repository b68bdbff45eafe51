//! Turns in chats that nothing arrives in: they end before anything is paid for them. Owns what becomes of such a turn; which
//! chats those are is kept in [`crate::core::presence`].

use super::{ATTEMPTS, Replies};
use crate::ids::{ChatScope, Platform};
use crate::store::StoreError;
use crate::store::reels::Subscription;
use crate::store::turns::{Outcome, Told, Turn};

impl Replies {
    /// Ends a turn whose chat was found gone, or puts it off while that is not known. `false`: something arrives there.
    pub(super) async fn is_for_nobody(&self, turn: &Turn, wish: Option<&Subscription>) -> Result<bool, StoreError> {
        let is_command = turn.placeholder.is_some() || wish.is_some_and(|wish| wish.by_command);
        // The answer to a command on Discord has a way of its own.
        if !turn.is_chat_gone || (is_command && turn.chat.platform == Platform::Discord) {
            return Ok(false);
        }
        match self.presence.is_back(&turn.chat).await? {
            Ok(true) => return Ok(false),
            Err(pause) if turn.attempt <= ATTEMPTS => {
                self.store.release_turn(turn, self.clock.now() + pause).await?;
            }
            Ok(false) | Err(_) => self.close(turn, Outcome::Undeliverable, &Told::default()).await?,
        }
        Ok(true)
    }

    /// Ends a turn in a chat that takes nothing from the bot any more.
    pub(super) async fn leave(&self, turn: &Turn, told: &Told) -> Result<(), StoreError> {
        self.presence.gone(&ChatScope::SendsTo(turn.chat.clone())).await?;
        self.close(turn, Outcome::Undeliverable, told).await
    }
}
