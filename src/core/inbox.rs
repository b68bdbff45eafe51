//! Door 1: everything a person starts. Owns what is taken in; whoever answers comes later.

use std::sync::Arc;
use std::time::Duration;

use super::chat::{Addressed, Inbound};
use super::command::Command;
use crate::clock::{Clock, Timestamp};
use crate::crash;
use crate::ids::{ChatId, Platform};
use crate::store::turns::{Arrival, Received};
use crate::store::{Store, StoreError};

/// The door.
pub struct Inbox {
    store: Arc<Store>,
    clock: Clock,
    merge_window: Duration,
    /// Whether reel links are taken from messages that are not for the bot.
    overheard_reels: bool,
}

impl Inbox {
    pub fn new(store: Arc<Store>, clock: Clock, merge_window: Duration, overheard_reels: bool) -> Self {
        Self { store, clock, merge_window, overheard_reels }
    }

    /// Takes an event in: once it returns `Ok`, the row is committed and the platform may be told so. `None` for what
    /// is not for the bot.
    pub async fn receive(&self, inbound: &Inbound) -> Result<Option<Received>, StoreError> {
        if inbound.addressed == Addressed::Overheard && !(self.overheard_reels && mentions_instagram(inbound)) {
            return Ok(None);
        }
        let platform = inbound.message.chat.platform;
        let person =
            self.store.person(platform, &inbound.author.account, &inbound.author.name, self.clock.now()).await?;
        let payload = serde_json::to_string(inbound).unwrap_or_default();
        let received = self
            .store
            .receive(Arrival {
                message: &inbound.message,
                guild: inbound.guild.as_ref().map(|guild| &guild.id),
                person,
                payload: &payload,
                placeholder: inbound.placeholder.as_ref().map(|message| message.id.as_str()),
                atomic: inbound.atomic,
                aside: inbound.atomic && Command::read(&inbound.text).is_aside(),
                merge_window: self.merge_window,
                // A platform's clock may be ahead of this machine's, by which everything here is timed.
                at: inbound.at.min(self.clock.now()),
            })
            .await?;
        crash::point("message received");
        Ok(Some(received))
    }

    /// Whether the bot has said something in this chat: a thread it takes part in needs no mention.
    pub async fn takes_part(&self, chat: &ChatId) -> Result<bool, StoreError> {
        self.store.has_spoken(chat).await
    }

    /// Chats in which something may have been missed, with the newest message known of each.
    pub async fn active_chats(&self, platform: Platform) -> Result<Vec<(ChatId, Option<String>)>, StoreError> {
        let since = Timestamp(self.clock.now().0) - Duration::from_secs(3 * 86_400);
        self.store.active_chats(platform, since, 200).await
    }
}

/// A cheap look, to keep what is overheard out of the database; the links are found later.
fn mentions_instagram(inbound: &Inbound) -> bool {
    let has = |text: &str| text.to_ascii_lowercase().contains("instagram.com/");
    has(&inbound.text) || inbound.links.iter().any(|link| has(link))
}
