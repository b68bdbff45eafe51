//! What the gateway heard, on its way to the core. Owns the order of messages, the wait when the core cannot
//! store one, and the reading of what a gap left out; translates nothing itself. Changes of where the bot is wait beside the
//! messages, not before them.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream;
use serde_json::Value;
use serenity::all::{ChannelId, GuildId, Message, RoleId, UserId};
use serenity::http::{LightMethod, Route};
use tokio::sync::mpsc;

use super::commands::Given;
use super::gateway::Heard;
use super::inbound::{self, Place};
use super::interaction::{snowflake_at, snowflake_in};
use super::rest::{Refused, Rest};
use super::{ActiveChat, Door};
use crate::clock::Clock;
use crate::core::chat::{Addressed, Inbound, PresenceChange};
use crate::ids::ChatScope;

/// How far back a gap is read, and how many messages of a chat.
const GAP: Duration = Duration::from_secs(24 * 3600);
const GAP_MESSAGES: usize = 100;

/// Pages of a chat that are read at most: the bot's own messages count in a page too.
const GAP_PAGES: usize = 5;

/// Chats that are read at the same time.
const GAP_CHATS: usize = 8;

/// Tries for one page of a chat.
const GAP_TRIES: u32 = 3;

/// The longest pause between two tries to store one message: shorter than the time that a stop leaves for it.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long it is tried to store that the bot is gone from a chat or back: afterwards a refused send or the next message
/// there tells.
const PRESENCE_KEPT_WITHIN: Duration = Duration::from_secs(600);

/// The kinds of threads (Discord API reference, Channel Types).
const THREADS: [u64; 3] = [10, 11, 12];

/// A change of where the bot is, until it is stored.
struct PresenceEvent {
    scope: ChatScope,
    change: PresenceChange,
    give_up_at: Instant,
}

pub(super) struct Intake<'a> {
    pub door: &'a Door,
    pub rest: &'a Rest,
    pub clock: &'a Clock,
    /// A message found no room in the queue.
    pub missed: std::sync::Arc<std::sync::atomic::AtomicBool>,
    /// What REST told of channels that the gateway's cache did not know, with their servers.
    pub places: Mutex<HashMap<u64, (Place, Option<GuildId>)>>,
}

impl Intake<'_> {
    /// Hands over everything that comes, until both senders are gone and all is handed over.
    pub(super) async fn run(&self, heard: mpsc::Receiver<Heard>, given: mpsc::UnboundedReceiver<Given>) {
        let (changes, changed) = mpsc::unbounded_channel();
        tokio::join!(self.messages(heard, changes), self.presence(changed), self.commands(given));
    }

    /// One after the other, so that the core meets them in the order they were written.
    async fn messages(&self, mut heard: mpsc::Receiver<Heard>, changes: mpsc::UnboundedSender<PresenceEvent>) {
        let mut bot = None;
        while let Some(event) = heard.recv().await {
            match event {
                Heard::NewSession { bot: id } => {
                    bot = Some(id);
                    self.catch_up(id).await;
                }
                Heard::Message { message, place } => {
                    if let Some(bot) = bot {
                        self.take(&message, bot, place).await;
                    }
                }
                Heard::Presence { scope, change } => {
                    // Its receiver is there as long as this is.
                    let give_up_at = Instant::now() + PRESENCE_KEPT_WITHIN;
                    let _ = changes.send(PresenceEvent { scope, change, give_up_at });
                }
            }
            if self.missed.swap(false, Ordering::SeqCst)
                && let Some(bot) = bot
            {
                self.catch_up(bot).await;
            }
        }
    }

    /// One after the other, so that of two changes of a chat the last one counts.
    async fn presence(&self, mut changed: mpsc::UnboundedReceiver<PresenceEvent>) {
        while let Some(event) = changed.recv().await {
            self.tell_presence(event).await;
        }
    }

    /// Each at once: a person waits, and each is complete in itself.
    async fn commands(&self, given: mpsc::UnboundedReceiver<Given>) {
        let given = stream::unfold(given, |mut given| async move { given.recv().await.map(|one| (one, given)) });
        given
            .for_each_concurrent(None, async |Given { mut inbound, stored }| {
                inbound.at = self.rest.time().arrived(inbound.at);
                // Who asked may be gone with its connection; the row is there all the same.
                let _ = stored.send((self.door.receive)(inbound).await.ok());
            })
            .await;
    }

    async fn take(&self, message: &Message, bot: UserId, place: Option<Place>) {
        let place = match place {
            Some(place) => place,
            None => self.place_of(message.channel_id).await,
        };
        let Some(mut inbound) = inbound::message(message, bot, place) else { return };
        inbound.at = self.rest.time().arrived(inbound.at);
        if inbound.guild.is_none() && place != Place::Direct {
            let Some(id) = self.guild_of(message.channel_id).await else {
                // Whether the bot may speak there cannot be known.
                tracing::warn!(channel = %message.channel_id, "a message is left out: Discord does not tell its server");
                return;
            };
            let roles = self.roles(id, message.author.id).await;
            inbound.guild = Some(inbound::guild(id, place.channel(message), roles.as_deref()));
        }
        if matches!(place, Place::Thread(_))
            && inbound.addressed == Addressed::Overheard
            && (self.door.takes_part)(inbound.message.chat.clone()).await
        {
            inbound.addressed = Addressed::Mentioned;
        }
        self.store(inbound).await;
    }

    /// There is no "not acknowledged" on the gateway: what is not stored now would be lost, so it is tried
    /// until it is stored. What comes meanwhile waits behind it.
    async fn store(&self, inbound: Inbound) {
        let mut pause = Duration::from_millis(250);
        while (self.door.receive)(inbound.clone()).await.is_err() {
            tracing::warn!(id = inbound.message.id, "a message waits until it can be stored");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Nobody tells of it again either, so it is tried for a while.
    async fn tell_presence(&self, PresenceEvent { scope, change, give_up_at }: PresenceEvent) {
        let mut pause = Duration::from_millis(250);
        while (self.door.tell_presence)(scope.clone(), change).await.is_err() {
            if Instant::now() >= give_up_at {
                tracing::error!(chats = %scope, ?change, "what is known of a chat is given up: it could not be stored");
                return;
            }
            tracing::warn!(chats = %scope, "what is known of a chat waits until it can be stored");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Reads what was written while no session was there.
    async fn catch_up(&self, bot: UserId) {
        let chats = (self.door.active)().await;
        let mut gaps = stream::iter(chats).map(|chat| self.gap(chat, bot)).buffer_unordered(GAP_CHATS);
        let mut found = 0_usize;
        while let Some((place, messages)) = gaps.next().await {
            found += messages.len();
            for message in messages {
                self.take(&message, bot, Some(place)).await;
            }
        }
        if found > 0 {
            tracing::info!(messages = found, "read what was written while Discord was not connected");
        }
    }

    /// The messages of people in one chat since the last stored one, oldest first.
    async fn gap(&self, active: ActiveChat, bot: UserId) -> (Place, Vec<Message>) {
        let mut found = Vec::new();
        let Some(channel) = active.chat.key.parse().ok().filter(|id| *id != 0).map(ChannelId::new) else {
            return (Place::Channel, found);
        };
        let earliest = snowflake_at(self.rest.time().now().unwrap_or_else(|| self.clock.now()) - GAP);
        let mut after = active.last_message.as_deref().and_then(snowflake_in).unwrap_or(0).max(earliest);
        for _ in 0..GAP_PAGES {
            let Some(mut page) = self.page(channel, after).await else { break };
            page.sort_by_key(|message| message.id);
            let Some(last) = page.last() else { break };
            after = last.id.get();
            found.extend(page.into_iter().filter(|message| inbound::is_from_a_person(message, bot)));
            if found.len() >= GAP_MESSAGES {
                break;
            }
        }
        found.truncate(GAP_MESSAGES);
        let place = if found.is_empty() { Place::Channel } else { self.place_of(channel).await };
        (place, found)
    }

    async fn page(&self, channel: ChannelId, after: u64) -> Option<Vec<Message>> {
        let route = Route::ChannelMessages { channel_id: channel };
        let params = vec![("limit", GAP_MESSAGES.to_string()), ("after", after.to_string())];
        let page = self.ask(route, Some(params)).await?;
        let messages = page.as_array()?.iter();
        // One message that cannot be read must not hide the others.
        Some(messages.filter_map(|message| serde_json::from_value(message.clone()).ok()).collect())
    }

    /// The server of a channel, which a message that is read again does not name.
    async fn guild_of(&self, channel: ChannelId) -> Option<GuildId> {
        self.look_up(channel).await?.1
    }

    /// The roles of a member, which nobody tells of a message that is read again; `None` if Discord does not say.
    async fn roles(&self, guild_id: GuildId, user_id: UserId) -> Option<Vec<RoleId>> {
        let member = self.ask(Route::GuildMember { guild_id, user_id }, None).await?;
        serde_json::from_value(member["roles"].clone()).ok()
    }

    /// Asks Discord what a channel is; what it does not tell is taken for a plain channel, where only a
    /// mention counts.
    async fn place_of(&self, channel: ChannelId) -> Place {
        self.look_up(channel).await.map_or(Place::Channel, |(place, _)| place)
    }

    async fn look_up(&self, channel: ChannelId) -> Option<(Place, Option<GuildId>)> {
        let places = || self.places.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let known = places().get(&channel.get()).copied();
        if known.is_some() {
            return known;
        }
        let told = self.ask(Route::Channel { channel_id: channel }, None).await?;
        let place = match told["type"].as_u64() {
            Some(1) => Place::Direct,
            Some(kind) if THREADS.contains(&kind) => {
                let parent = told["parent_id"].as_str().and_then(|id| id.parse().ok());
                Place::Thread(parent.unwrap_or(channel))
            }
            _ => Place::Channel,
        };
        let guild = told["guild_id"].as_str().and_then(|id| id.parse::<u64>().ok()).filter(|id| *id != 0);
        let found = (place, guild.map(GuildId::new));
        places().insert(channel.get(), found);
        Some(found)
    }

    /// A GET, a few times where it may work again.
    async fn ask(&self, route: Route<'_>, params: Option<Vec<(&'static str, String)>>) -> Option<Value> {
        for tried in 1..=GAP_TRIES {
            let refused = match self.rest.call(LightMethod::Get, route, None, &[], params.clone()).await {
                Ok(answer) => return Some(answer),
                Err(refused) => refused,
            };
            let pause = match &refused {
                Refused::Answered { status: 429, retry_after, .. } => retry_after.unwrap_or(Duration::from_secs(5)),
                Refused::Answered { status: ..500, .. } => return None,
                // Nobody tells of these messages again.
                Refused::Answered { .. } | Refused::Unreachable | Refused::Silent(_) => Duration::from_secs(1) * tried,
            };
            if tried < GAP_TRIES {
                tokio::time::sleep(pause.min(Duration::from_secs(30))).await;
            }
        }
        tracing::warn!("Discord did not tell what was written while it was not connected");
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use futures::FutureExt;
    use serde_json::json;

    use super::*;
    use crate::core::chat::{ReceiveFailed, Taken};

    /// A core that tells of each message, and cannot store where the bot is.
    fn door(taken: mpsc::UnboundedSender<String>, tries: mpsc::UnboundedSender<ChatScope>) -> Door {
        Door {
            receive: Arc::new(move |inbound| {
                taken.send(inbound.text).unwrap();
                async { Ok(Taken::Stored) }.boxed()
            }),
            tell_presence: Arc::new(move |scope, _| {
                tries.send(scope).unwrap();
                async { Err(ReceiveFailed) }.boxed()
            }),
            takes_part: Arc::new(|_| async { false }.boxed()),
            is_welcome: Arc::new(|_| async { true }.boxed()),
            active: Arc::new(|| async { Vec::new() }.boxed()),
        }
    }

    fn deleted() -> ChatScope {
        ChatScope::Chat(inbound::chat(7))
    }

    #[tokio::test]
    async fn a_change_that_cannot_be_stored_holds_up_no_message_and_is_given_up() {
        let (clock, (taken, mut takes), (tries, mut tried)) =
            (Clock::kept(), mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let rest = Rest::new(&"token".to_owned().into(), None, clock.clone()).unwrap();
        let (door, missed) = (door(taken, tries), Arc::new(AtomicBool::new(false)));
        let intake = Intake { door: &door, rest: &rest, clock: &clock, missed, places: Mutex::default() };
        let message: Message = serde_json::from_value(json!({
            "id": "1300000000000000001", "channel_id": "8", "content": "hello", "timestamp": "2026-11-24T10:00:00Z",
            "edited_timestamp": null, "tts": false, "mention_everyone": false, "mentions": [], "mention_roles": [],
            "attachments": [], "embeds": [], "pinned": false, "type": 0,
            "author": {"id": "1", "username": "ada", "discriminator": "0", "avatar": null, "global_name": "Ada L."},
        }))
        .unwrap();
        let (hear, heard) = mpsc::channel(3);
        let (_give, given) = mpsc::unbounded_channel();
        let presence = Heard::Presence { scope: deleted(), change: PresenceChange::Gone };
        for event in [
            Heard::NewSession { bot: UserId::new(900) },
            presence,
            Heard::Message { message: Box::new(message), place: Some(Place::Direct) },
        ] {
            assert!(hear.try_send(event).is_ok());
        }
        tokio::select! {
            () = intake.run(heard, given) => panic!("it ended"),
            text = takes.recv() => assert_eq!(text.as_deref(), Some("hello")),
        }
        while tried.try_recv().is_ok() {}
        let event = PresenceEvent { scope: deleted(), change: PresenceChange::Gone, give_up_at: Instant::now() };
        intake.tell_presence(event).await;
        assert_eq!((tried.try_recv(), tried.try_recv().is_ok()), (Ok(deleted()), false));
    }
}
