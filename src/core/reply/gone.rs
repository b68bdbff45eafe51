//! Turns in chats that nothing arrives in: they end before anything is paid for them. Owns what becomes of such a turn; which
//! chats those are is kept in [`crate::core::presence`].

use super::Replies;
use crate::ids::{ChatScope, Platform};
use crate::store::StoreError;
use crate::store::reels::Subscription;
use crate::store::turns::{Outcome, Told, Turn};

/// Attempts at a turn that may end with a look of unknown outcome. The others are the answer's, so that no turn is given up
/// for having been put off.
const LOOKS: i64 = 2;

impl Replies {
    /// Ends a turn whose chat was found gone and is gone, or puts it off a few times where that is not known. `false`: it is
    /// to be answered, because the bot reaches the chat, or because only the send itself will tell.
    pub(super) async fn is_for_nobody(&self, turn: &Turn, wish: Option<&Subscription>) -> Result<bool, StoreError> {
        let is_command = turn.placeholder.is_some() || wish.is_some_and(|wish| wish.by_command);
        // The answer to a command on Discord has a way of its own.
        if !turn.is_chat_gone || (is_command && turn.chat.platform == Platform::Discord) {
            return Ok(false);
        }
        match self.presence.is_back(&turn.chat).await? {
            Ok(true) => return Ok(false),
            Ok(false) => self.close(turn, Outcome::Undeliverable, &Told::default()).await?,
            Err(pause) if turn.attempt <= LOOKS => {
                self.store.release_turn(turn, self.clock.now() + pause).await?;
            }
            Err(_) => return Ok(false),
        }
        Ok(true)
    }

    /// Ends a turn in a chat that takes nothing from the bot any more.
    pub(super) async fn leave(&self, turn: &Turn, told: &Told) -> Result<(), StoreError> {
        self.presence.gone(&ChatScope::SendsTo(turn.chat.clone())).await?;
        self.close(turn, Outcome::Undeliverable, told).await
    }
}
