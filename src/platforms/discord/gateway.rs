//! One connection to Discord's gateway, on a thread of its own. Owns serenity's client; translates nothing
//! but what must be answered within 3 s.
//!
//! Why a thread: serenity starts a task for every event and lets no one wait for the tasks behind a
//! connection. On a runtime with a single thread the tasks begin in the order of the events, and when the
//! runtime is dropped none of them lives on (a lost lease must not leave a second listener behind).

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serenity::all::{
    ChannelId, ComponentInteraction, Context, CreateAllowedMentions, CreateInteractionResponse,
    CreateInteractionResponseFollowup, CreateInteractionResponseMessage, EventHandler, GatewayIntents, Guild,
    GuildChannel, GuildId, Interaction, InteractionContext, Message, PartialGuildChannel, Ready, ShardId, ShardManager,
    ShardStageUpdateEvent, UnavailableGuild, UserId,
};
use serenity::client::ClientBuilder;
use serenity::gateway::{ConnectionStage, GatewayError};
use serenity::http::Http;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::commands::{self, Desk, code};
use super::inbound::{self, Place};
use super::interaction::InteractionRef;
use crate::clock::{Clock, Timestamp};
use crate::core::chat::{PresenceChange, Taken};
use crate::core::command::Command;
use crate::core::wording;
use crate::ids::ChatScope;
use crate::telemetry::life::SignOfLife;

/// What the gateway told.
pub(super) enum Heard {
    /// A new session: what happened before it was not delivered.
    NewSession { bot: UserId },
    /// A message of a person. `place` is `None` where only Discord can say.
    Message { message: Box<Message>, place: Option<Place> },
    /// The bot was taken into a server or thrown out of it, or a channel was deleted.
    Presence { scope: ChatScope, change: PresenceChange },
}

/// Where a connection hands its events.
#[derive(Clone)]
pub(super) struct Ears {
    pub heard: mpsc::Sender<Heard>,
    pub desk: Desk,
    /// Set when a message found no room and has to be read again over REST.
    pub missed: Arc<AtomicBool>,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It was told to stop.
    Stopped,
    /// Close code 4004.
    TokenRefused,
    /// Close code 4013.
    IntentsInvalid,
    /// Close code 4014.
    IntentsDisallowed,
    /// New session after new session: going on would use up the day's thousand, after which Discord
    /// resets the token.
    TooManySessions,
    /// Anything else.
    Lost,
}

/// What a connection needs to begin.
pub(super) struct Start {
    pub http: Http,
    /// The gateway's address, as `GET /gateway/bot` told it.
    pub url: String,
    pub shards: u32,
    pub intents: GatewayIntents,
    /// Told of every heartbeat that Discord acknowledges.
    pub sign: Arc<SignOfLife>,
    pub clock: Clock,
}

/// A running connection. Dropping it stops it.
pub(super) struct Connection {
    stop: CancellationToken,
    ended: oneshot::Receiver<Ended>,
    _stop_when_dropped: DropGuard,
}

impl Connection {
    /// Connects, on a new thread.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn start(start: Start, ears: Ears) -> std::io::Result<Self> {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let (tell, ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("discord-gateway".to_owned()).spawn(move || {
            let how = runtime.block_on(connect(start, ears, stopped));
            // Ends every task of the connection, and with them the senders they hold.
            runtime.shutdown_background();
            // The other side may have stopped waiting.
            let _ = tell.send(how);
        })?;
        Ok(Self { _stop_when_dropped: stop.clone().drop_guard(), stop, ended })
    }

    /// Waits for the end of the connection.
    pub(super) async fn ended(&mut self) -> Ended {
        (&mut self.ended).await.unwrap_or(Ended::Lost)
    }

    /// Says good-bye to Discord and waits for the end, at most `patience`.
    pub(super) async fn close(mut self, patience: Duration) {
        self.stop.cancel();
        if tokio::time::timeout(patience, self.ended()).await.is_err() {
            tracing::warn!("the connection to Discord took too long to close and is left alone");
        }
    }
}

async fn connect(start: Start, ears: Ears, stop: CancellationToken) -> Ended {
    let too_many = Arc::new(Notify::new());
    let listener = Listener {
        ears: ears.clone(),
        sessions: Mutex::new(VecDeque::new()),
        allowed: SESSIONS_ALLOWED * start.shards.max(1) as usize,
        too_many: too_many.clone(),
        left: Mutex::default(),
    };
    let mut settings = serenity::cache::Settings::default();
    settings.max_messages = 0;
    settings.cache_users = false;
    let client = ClientBuilder::new_with_http(start.http, start.intents)
        .cache_settings(settings)
        .event_handler(listener)
        .framework(commands::framework(ears.desk));
    let built = tokio::select! {
        built = client => built,
        () = stop.cancelled() => return Ended::Stopped,
    };
    let Ok(mut client) = built else { return Ended::Lost };
    // serenity asked for the address again and falls back to a fixed one when that fails.
    *client.ws_url.lock().await = start.url;
    let shards = client.shard_manager.clone();
    let how = tokio::select! {
        ended = client.start_shards(start.shards.max(1)) => return match ended {
            Err(serenity::Error::Gateway(GatewayError::InvalidAuthentication)) => Ended::TokenRefused,
            Err(serenity::Error::Gateway(GatewayError::InvalidGatewayIntents)) => Ended::IntentsInvalid,
            Err(serenity::Error::Gateway(GatewayError::DisallowedGatewayIntents)) => Ended::IntentsDisallowed,
            Ok(()) | Err(_) => Ended::Lost,
        },
        () = stop.cancelled() => Ended::Stopped,
        () = too_many.notified() => Ended::TooManySessions,
        () = watch(&shards, start.shards.max(1) as usize, &start.sign, &start.clock) => Ended::Lost,
    };
    // A clean close (1000) tells Discord that the session is over. The runtime ends what does not hear it.
    if tokio::time::timeout(Duration::from_secs(1), shards.shutdown_all()).await.is_err() {
        tracing::debug!("Discord did not answer the good-bye");
    }
    how
}

/// How often the shards are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Passes on the heartbeats that Discord acknowledges: serenity tells of one by a new latency alone. Never ends.
async fn watch(shards: &ShardManager, count: usize, sign: &SignOfLife, clock: &Clock) {
    let mut heard: HashMap<ShardId, (Option<Duration>, Timestamp)> = HashMap::new();
    loop {
        tokio::time::sleep(LOOK).await;
        let now = clock.steady();
        for (shard, runner) in shards.runners.lock().await.iter() {
            if runner.stage != ConnectionStage::Connected {
                continue;
            }
            let known = heard.entry(*shard).or_insert((runner.latency, now));
            if known.0 != runner.latency {
                *known = (runner.latency, now);
            }
        }
        if heard.len() == count
            && let Some(longest_ago) = heard.values().map(|(_, at)| *at).min()
        {
            sign.give(longest_ago);
        }
    }
}

/// New sessions within [`SESSIONS_WITHIN`] after which a connection is given up for a while, per shard.
const SESSIONS_ALLOWED: usize = 6;
const SESSIONS_WITHIN: Duration = Duration::from_secs(600);

struct Listener {
    ears: Ears,
    sessions: Mutex<VecDeque<Instant>>,
    allowed: usize,
    too_many: Arc<Notify>,
    /// Servers that the bot was removed from under this connection.
    left: Mutex<HashSet<GuildId>>,
}

#[serenity::async_trait]
impl EventHandler for Listener {
    async fn shard_stage_update(&self, _: Context, event: ShardStageUpdateEvent) {
        if event.new != ConnectionStage::Identifying {
            return;
        }
        let now = Instant::now();
        let mut sessions = self.sessions.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        sessions.retain(|began| now.duration_since(*began) < SESSIONS_WITHIN);
        sessions.push_back(now);
        if sessions.len() > self.allowed {
            self.too_many.notify_one();
        }
    }

    async fn ready(&self, _: Context, ready: Ready) {
        tracing::info!(guilds = ready.guilds.len(), "connected to Discord");
        // This one must not be lost, and it is rare: it may wait for room.
        if self.ears.heard.send(Heard::NewSession { bot: ready.user.id }).await.is_err() {
            tracing::debug!("nobody listens to Discord any more");
        }
    }

    async fn message(&self, ctx: Context, message: Message) {
        let bot = ctx.cache.current_user().id;
        if !inbound::is_from_a_person(&message, bot) {
            return;
        }
        let place = place(&ctx, &message);
        if self.ears.heard.try_send(Heard::Message { message: Box::new(message), place }).is_err() {
            self.ears.missed.store(true, Ordering::SeqCst);
        }
    }

    async fn guild_create(&self, _: Context, guild: Guild, is_new: Option<bool>) {
        // Each one is told again at the beginning of a session, and after an outage; serenity takes one that was left during
        // an outage for such a one.
        if self.left().remove(&guild.id) || is_new == Some(true) {
            self.tell_presence(ChatScope::Guild(inbound::guild_id(guild.id)), PresenceChange::Back).await;
        }
    }

    async fn guild_delete(&self, _: Context, guild: UnavailableGuild, _: Option<Guild>) {
        // An outage, otherwise: it comes back by itself.
        if !guild.unavailable {
            self.left().insert(guild.id);
            self.tell_presence(ChatScope::Guild(inbound::guild_id(guild.id)), PresenceChange::Gone).await;
        }
    }

    async fn channel_delete(&self, ctx: Context, channel: GuildChannel, _: Option<Vec<Message>>) {
        let threads: Vec<ChannelId> = match ctx.cache.guild(channel.guild_id) {
            Some(guild) => {
                let of_it = guild.threads.iter().filter(|thread| thread.parent_id == Some(channel.id));
                of_it.map(|thread| thread.id).collect()
            }
            None => Vec::new(),
        };
        for id in threads.into_iter().chain([channel.id]) {
            self.tell_presence(ChatScope::Chat(inbound::chat(id.get())), PresenceChange::Gone).await;
        }
    }

    async fn thread_delete(&self, _: Context, thread: PartialGuildChannel, _: Option<GuildChannel>) {
        self.tell_presence(ChatScope::Chat(inbound::chat(thread.id.get())), PresenceChange::Gone).await;
    }

    async fn interaction_create(&self, ctx: Context, interaction: Interaction) {
        // Commands are poise's.
        if let Interaction::Component(press) = interaction {
            self.pressed(&ctx, &press).await;
        }
    }
}

impl Listener {
    fn left(&self) -> std::sync::MutexGuard<'_, HashSet<GuildId>> {
        self.left.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// These are rare and told once: they wait for room.
    async fn tell_presence(&self, scope: ChatScope, change: PresenceChange) {
        if self.ears.heard.send(Heard::Presence { scope, change }).await.is_err() {
            tracing::debug!("nobody listens to Discord any more");
        }
    }

    /// Answers a press so that only whoever pressed sees it. What the coach answers takes its time: "thinking…" stands there
    /// for it meanwhile. Any other button says something only if there is something to say.
    async fn pressed(&self, ctx: &Context, press: &ComponentInteraction) {
        let asks_the_coach = Command::read(&press.data.custom_id).asks_the_coach();
        let is_alone = press.context == Some(InteractionContext::BotDm);
        let response = match asks_the_coach {
            true => CreateInteractionResponse::Defer(CreateInteractionResponseMessage::new().ephemeral(!is_alone)),
            false => CreateInteractionResponse::Acknowledge,
        };
        let response = press.create_response(ctx, response).await;
        let is_first_response = response.is_ok();
        match response {
            Ok(()) => {}
            // Another instance was faster; the message for the answer is there all the same.
            Err(error) if code(&error) == Some(40060) => {}
            Err(error) => {
                tracing::warn!(interaction = %press.id, code = code(&error), "a button could not be acknowledged");
                // An answer could only be public. Discord itself says that the button failed.
                if asks_the_coach {
                    return;
                }
                // What was pressed counts all the same.
            }
        }
        let placeholder = InteractionRef {
            application: press.application_id.get(),
            interaction: press.id.get(),
            ephemeral: !(asks_the_coach && is_alone),
            unanswered: !asks_the_coach,
            token: press.token.clone(),
            message: None,
        };
        let placeholder = placeholder.reference(inbound::chat(press.channel_id.get()));
        let sentence = match self.ears.desk.give(inbound::press(press, placeholder)).await {
            Some(Taken::TooFast { again_in, is_first: true }) => wording::too_fast(again_in),
            // They know it; nothing of this delivery must go on saying that an answer comes.
            Some(Taken::TooFast { .. }) if asks_the_coach && is_first_response => {
                if let Err(error) = press.delete_response(ctx).await {
                    tracing::warn!(interaction = %press.id, code = code(&error), "a button's sign could not be removed");
                }
                return;
            }
            Some(Taken::Stored | Taken::TooFast { .. }) => return,
            None => wording::not_stored(),
        };
        let sentence = CreateInteractionResponseFollowup::new()
            .content(sentence)
            .ephemeral(true)
            .allowed_mentions(CreateAllowedMentions::new());
        if let Err(error) = press.create_followup(ctx, sentence).await {
            tracing::warn!(interaction = %press.id, code = code(&error), "a button could not be answered");
        }
    }
}

/// What the cache knows of the channel of a message.
fn place(ctx: &Context, message: &Message) -> Option<Place> {
    let Some(guild) = message.guild_id else { return Some(Place::Direct) };
    let guild = ctx.cache.guild(guild)?;
    if guild.channels.contains_key(&message.channel_id) {
        return Some(Place::Channel);
    }
    let thread = guild.threads.iter().find(|thread| thread.id == message.channel_id)?;
    Some(Place::Thread(thread.parent_id.unwrap_or(thread.id)))
}
