//! Door 1: everything a person starts. Owns what is taken in, and how much of one person; whoever answers comes later.

mod senders;

use std::sync::Arc;
use std::time::Duration;

pub use self::senders::Sender;
use self::senders::Senders;
use super::access::{Entry, Gate, Refusal, Verdict};
use super::chat::{Addressed, Audience, Author, Body, Inbound};
use super::command::Command;
use super::wording;
use crate::clock::{Clock, Timestamp};
use crate::crash;
use crate::ids::{ChatId, PersonId, Platform};
use crate::store::turns::{Arrival, MessageLimit, Received};
use crate::store::{Store, StoreError};

/// What is kept of a code that does not work.
pub const WRONG_CODE: &str = "/start -";

/// The door.
pub struct Inbox {
    store: Arc<Store>,
    gate: Arc<Gate>,
    clock: Clock,
    settings: InboxSettings,
    senders: Senders,
}

/// What is taken in.
#[derive(Clone, Copy, Debug)]
pub struct InboxSettings {
    /// How long further messages of the same person and chat are one with the first.
    pub merge_window: Duration,
    /// Whether reel links are taken from messages that are not for the bot.
    pub overheard_reels: bool,
    /// The most messages, commands and buttons of one person in a minute; `None`: no limit.
    pub per_minute: Option<u32>,
}

impl Inbox {
    pub fn new(store: Arc<Store>, gate: Arc<Gate>, clock: Clock, settings: InboxSettings) -> Self {
        Self { store, gate, clock, settings, senders: Senders::default() }
    }

    /// Waits until no other event of its author is being stored; `None` for what is not for the bot.
    pub async fn wait_for(&self, inbound: &Inbound) -> Option<Sender> {
        let is_unwanted = inbound.addressed == Addressed::Overheard
            && !(self.settings.overheard_reels && mentions_instagram(inbound));
        match is_unwanted {
            true => None,
            false => Some(self.senders.wait_for(&account(inbound)).await),
        }
    }

    /// Takes an event in, whose author's turn it is ([`Inbox::wait_for`]): once it returns `Ok`, the row is committed and the
    /// platform may be told so. `None` for what is turned away without a word. Of somebody who is refused nothing is kept
    /// but that they are to be told.
    pub async fn receive(&self, inbound: &Inbound, sender: Sender) -> Result<Option<Received>, StoreError> {
        let author = &inbound.author;
        let now = self.clock.now();
        // A platform's clock may be ahead of this machine's, by which everything here is timed.
        let at = inbound.at.min(now);
        // What waited at the platform comes all at once, but was not sent so.
        let sent_at = inbound.sent_at.unwrap_or(at).min(now);
        let per_minute = self.settings.per_minute.filter(|_| !self.gate.is_exempt(inbound));
        // Whoever waits for the answer to a command or a button on Discord is told by its adapter.
        let is_waited_for = inbound.placeholder.is_some() && inbound.message.chat.platform == Platform::Discord;
        if let Some(until) = sender.refused_until(sent_at) {
            // A second delivery of something that was taken: the answer to it is under way.
            if is_waited_for && self.store.is_received(&inbound.message).await? {
                return Ok(Some(Received::Duplicate));
            }
            return Ok(Some(Received::TooFast { until, is_first: false }));
        }
        let kept;
        let (inbound, person) = match self.gate.enter(inbound, now).await? {
            Entry::Welcome(known) => {
                let person = known.person.filter(|_| known.name == author.name);
                (inbound, self.person(person, inbound, &author.name, now).await?)
            }
            Entry::Invited => {
                kept = Inbound { text: "/start".to_owned(), ..inbound.clone() };
                (&kept, self.person(None, &kept, &author.name, now).await?)
            }
            Entry::Refused { told, person, refusal } => {
                // They may have no row that they could be counted in.
                if let Some(per_minute) = per_minute {
                    sender.count(per_minute, sent_at);
                }
                if !told {
                    return Ok(None);
                }
                kept = redacted(inbound, &refusal);
                (&kept, self.person(person, &kept, "", now).await?)
            }
        };
        let payload = serde_json::to_string(inbound).unwrap_or_default();
        let private = inbound.audience() != Audience::Room;
        let told = |until: Timestamp| {
            let body = Body { private, ..Body::text(wording::too_fast(until.since(now))) };
            serde_json::to_string(&body).unwrap_or_default()
        };
        let limit = per_minute.map(|per_minute| MessageLimit {
            per_minute,
            sent_at,
            told: (!is_waited_for).then_some(&told as _),
        });
        let received = self
            .store
            .receive(Arrival {
                message: &inbound.message,
                guild: inbound.guild.as_ref().map(|guild| &guild.id),
                person,
                payload: &payload,
                placeholder: inbound.placeholder.as_ref().map(|message| message.id.as_str()),
                atomic: inbound.atomic,
                aside: inbound.atomic && (inbound.text.is_empty() || Command::read(&inbound.text).is_aside()),
                merge_window: self.settings.merge_window,
                limit,
                at,
            })
            .await?;
        if let Received::TooFast { until, is_first } = received {
            sender.refuse(until);
            if is_first {
                tracing::warn!(account = %account(inbound), per_minute, "somebody sends too many messages and is slowed down");
            }
            return Ok(Some(received));
        }
        crash::point("message received");
        Ok(Some(received))
    }

    /// The author of a message, looked up under this name unless it is `known` who it is.
    async fn person(
        &self,
        known: Option<PersonId>,
        inbound: &Inbound,
        name: &str,
        now: Timestamp,
    ) -> Result<PersonId, StoreError> {
        match known {
            Some(person) => Ok(person),
            None => self.store.person(inbound.message.chat.platform, &inbound.author.account, name, now).await,
        }
    }

    /// Whether its author may use the bot there and does not send too much; when that is not known, it is told later.
    pub async fn is_welcome(&self, inbound: &Inbound) -> bool {
        if self.senders.refused_until(&account(inbound), self.clock.now()).is_some() {
            return false;
        }
        match self.gate.judge(inbound).await {
            Ok(verdict) => verdict == Verdict::Welcome,
            Err(error) => {
                tracing::warn!("it is not known whether somebody may use the bot: {error}");
                true
            }
        }
    }

    /// The platform gave a chat another id: everything kept under the old one goes over, and the lists that name the old one
    /// hold for the new one.
    pub async fn chat_moved(&self, from: &ChatId, to: &ChatId) -> Result<(), StoreError> {
        if self.store.move_chat(from, to, self.clock.now()).await? {
            tracing::warn!(
                old = %from,
                new = %to,
                "a group became a supergroup and has a new id: put it into ALLOWED_CHANNELS, BLOCKED_CHANNELS or ALERT_CHAT \
                 where they name the old one"
            );
        }
        Ok(())
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

/// Who wrote it: `platform:account`.
fn account(inbound: &Inbound) -> String {
    format!("{}:{}", inbound.message.chat.platform, inbound.author.account)
}

/// What is kept of something that was refused: who is to be told, and where.
fn redacted(inbound: &Inbound, refusal: &Refusal) -> Inbound {
    let text = if *refusal == Refusal::BadCode { WRONG_CODE } else { "" };
    Inbound {
        author: Author { name: String::new(), ..inbound.author.clone() },
        text: text.to_owned(),
        links: Vec::new(),
        attachments: 0,
        atomic: true,
        ..inbound.clone()
    }
}

/// A cheap look, to keep what is overheard out of the database; the links are found later.
fn mentions_instagram(inbound: &Inbound) -> bool {
    let has = |text: &str| text.to_ascii_lowercase().contains("instagram.com/");
    has(&inbound.text) || inbound.links.iter().any(|link| has(link))
}
