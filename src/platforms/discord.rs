//! The Discord adapter: serenity for the gateway and REST, poise for the commands. It only translates: what
//! people do becomes an `Inbound`, what the core says becomes a message. Never decides anything about a
//! conversation.
//!
//! serenity logs whole payloads when it cannot read one and puts them into spans: [`LOG_FILTER`] must be part
//! of the log filter, or people's messages end up in the log.

mod commands;
mod gateway;
mod inbound;
mod intake;
mod interaction;
mod rest;
mod send;

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use secrecy::SecretString;
use serde_json::Value;
use serenity::all::GatewayIntents;
use serenity::http::{LightMethod, Route};
use serenity::model::id::{ApplicationId, GuildId};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use self::rest::CannotBuild;

use self::commands::Desk;
use self::gateway::{Connection, Ears, Ended, Start};
use self::intake::Intake;
use self::rest::{Refused, Rest};
use crate::clock::Clock;
use crate::core::chat::{Inbound, Receive, TellPresence};
use crate::ids::ChatId;
use crate::telemetry::life::SignOfLife;

/// Directives for the log filter. serenity's warnings hold the payload they are about.
pub const LOG_FILTER: &str = "serenity=error,poise=error";

/// A chat that may have gone on while the bot was away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveChat {
    pub chat: ChatId,
    /// The id of the newest stored message of the chat.
    pub last_message: Option<String>,
}

/// What the adapter asks of the core.
#[derive(Clone)]
pub struct Door {
    pub receive: Receive,
    /// Told of servers that the bot is taken into or thrown out of, and of channels that are deleted.
    pub tell_presence: TellPresence,
    /// Whether the bot has spoken in this thread. Asked for every message in threads that is not a mention.
    pub takes_part: Arc<dyn Fn(ChatId) -> BoxFuture<'static, bool> + Send + Sync>,
    /// Whether the author of this may use the bot there; asked before a command's answer is made visible to all.
    pub is_welcome: Arc<dyn Fn(Inbound) -> BoxFuture<'static, bool> + Send + Sync>,
    /// The direct messages and threads of the last days; asked at the start of every new session.
    pub active: Arc<dyn Fn() -> BoxFuture<'static, Vec<ActiveChat>> + Send + Sync>,
}

/// How to reach Discord.
#[derive(Clone, Debug)]
pub struct Settings {
    pub token: SecretString,
    /// Another address than Discord's own; serenity's rate limiter is off then, and a 429 comes back at once.
    pub api_url: Option<url::Url>,
    /// Ask for the privileged MESSAGE_CONTENT intent. Without it the bot reads direct messages, mentions and
    /// commands, but overhears nothing and needs a mention in its threads too.
    pub message_content: bool,
    /// Register the commands in this server (at once) instead of globally.
    pub guild_commands: Option<u64>,
}

/// The bot as Discord knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Me {
    pub id: String,
    pub name: String,
    pub application: String,
    /// Whether the Message Content Intent is switched on in the developer portal.
    pub message_content: bool,
}

/// Why the bot could not be identified.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentifyError {
    #[error("Discord refuses the token. Copy it again from the developer portal (Bot, Reset Token)")]
    TokenRefused,
    #[error("Discord doesn't respond: {0}")]
    Unavailable(String),
}

/// Why [`Discord::run`] ended although nobody stopped it: only the operator can mend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunEnded {
    #[error("Discord refuses the token (4004). Copy it again from the developer portal (Bot, Reset Token)")]
    TokenRefused,
    #[error("Discord doesn't know the intents this version asks for (4013). Update reelcoach")]
    IntentsInvalid,
    #[error(
        "Discord doesn't allow the Message Content Intent (4014). Turn it on in the developer portal \
         (Bot, Privileged Gateway Intents), or set DISCORD_MESSAGE_CONTENT=false"
    )]
    IntentsDisallowed,
}

/// The adapter. Cheap to clone; a [`Messenger`](crate::core::chat::Messenger).
#[derive(Clone)]
pub struct Discord {
    settings: Arc<Settings>,
    rest: Rest,
    clock: Clock,
    sign: Arc<SignOfLife>,
}

/// Messages that wait for the core at most; what finds no room is read again over REST.
const WAITING_MESSAGES: usize = 10_000;

/// Pauses between connections: after a failure, and after too many sessions.
const SHORT_PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
const LONG_PAUSES: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(15 * 60));

/// A connection that held so long was a good one: the pauses begin anew.
const GOOD_CONNECTION: Duration = Duration::from_secs(600);

/// Sessions of the day's thousand that are kept in reserve.
const SESSIONS_KEPT: u64 = 20;

impl Discord {
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn new(settings: Settings, clock: Clock) -> Result<Self, CannotBuild> {
        let rest = Rest::new(&settings.token, settings.api_url.as_ref(), clock.clone())?;
        Ok(Self { settings: Arc::new(settings), rest, clock, sign: Arc::default() })
    }

    /// When Discord last acknowledged a heartbeat, or a session began: on the shard for which that is longest ago.
    pub fn sign_of_life(&self) -> &Arc<SignOfLife> {
        &self.sign
    }

    /// Asks Discord who the token belongs to.
    ///
    /// # Errors
    /// When the token is refused, or Discord does not answer.
    pub async fn identify(&self) -> Result<Me, IdentifyError> {
        let user = self.get(Route::UserMe).await?;
        let application = self.get(Route::Oauth2ApplicationCurrent).await?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let unreadable = || IdentifyError::Unavailable("the answer cannot be read".to_owned());
        // GATEWAY_MESSAGE_CONTENT and GATEWAY_MESSAGE_CONTENT_LIMITED (Discord API reference, Application Flags).
        let toggles = (1 << 18) | (1 << 19);
        Ok(Me {
            id: text(&user["id"]).ok_or_else(unreadable)?,
            name: text(&user["global_name"]).or_else(|| text(&user["username"])).unwrap_or_default(),
            application: text(&application["id"]).ok_or_else(unreadable)?,
            message_content: application["flags"].as_u64().unwrap_or(0) & toggles != 0,
        })
    }

    /// Listens until `stop`, and ends within 3 s then. A lost connection is made again, with longer and longer
    /// pauses; what was written meanwhile is read over REST.
    ///
    /// # Errors
    /// When only the operator can help.
    pub async fn run(&self, door: Door, stop: &CancellationToken) -> Result<(), RunEnded> {
        let (heard, hear) = mpsc::channel(WAITING_MESSAGES);
        let (give, given) = mpsc::unbounded_channel();
        let ears = Ears {
            heard,
            desk: Desk { give, is_welcome: door.is_welcome.clone() },
            missed: Arc::new(AtomicBool::new(false)),
        };
        let missed = ears.missed.clone();
        let intake =
            Intake { door: &door, rest: &self.rest, clock: &self.clock, missed, places: Mutex::new(HashMap::new()) };
        let mut intake = std::pin::pin!(intake.run(hear, given).fuse());
        let ended = tokio::select! {
            ended = self.keep_connected(ears, stop) => ended,
            () = &mut intake => Ok(()),
        };
        // The senders are gone now: what was heard already gets a moment to be stored, beyond the pause that it may be in.
        if tokio::time::timeout(Duration::from_millis(1500), intake).await.is_err() {
            tracing::warn!("stopped listening to Discord before everything heard was stored");
        }
        ended
    }

    async fn keep_connected(&self, ears: Ears, stop: &CancellationToken) -> Result<(), RunEnded> {
        let mut short = SHORT_PAUSES.0;
        let mut long = LONG_PAUSES.0;
        let mut registered = false;
        loop {
            let began = Instant::now();
            let next = tokio::select! {
                next = self.prepare(&mut registered) => next,
                () = stop.cancelled() => return Ok(()),
            };
            let ended = match next {
                Ok(start) => self.listen(start, ears.clone(), stop).await,
                Err(Unprepared::TokenRefused) => Ended::TokenRefused,
                Err(Unprepared::NotNow) => Ended::Lost,
                Err(Unprepared::NoSessionsLeft { until }) => {
                    long = long.max(until);
                    Ended::TooManySessions
                }
            };
            if began.elapsed() > GOOD_CONNECTION {
                (short, long) = (SHORT_PAUSES.0, LONG_PAUSES.0);
            }
            let pause = match ended {
                Ended::Stopped => return Ok(()),
                Ended::TokenRefused => return Err(RunEnded::TokenRefused),
                Ended::IntentsInvalid => return Err(RunEnded::IntentsInvalid),
                Ended::IntentsDisallowed => return Err(RunEnded::IntentsDisallowed),
                Ended::Lost => {
                    let pause = short;
                    short = (short * 2).min(SHORT_PAUSES.1);
                    pause
                }
                Ended::TooManySessions => {
                    let pause = long;
                    long = (long * 2).min(LONG_PAUSES.1);
                    pause
                }
            };
            tracing::warn!(pause_ms = pause.as_millis() as u64, how = ?ended, "not connected to Discord");
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    /// Everything before a connection: the commands are registered (once), and Discord says where its gateway
    /// is and whether a session is left.
    async fn prepare(&self, registered: &mut bool) -> Result<Start, Unprepared> {
        if !*registered {
            self.register().await?;
            *registered = true;
        }
        let plan = self.get(Route::GatewayBot).await?;
        let limit = &plan["session_start_limit"];
        if limit["remaining"].as_u64().is_some_and(|left| left < SESSIONS_KEPT) {
            let until = Duration::from_millis(limit["reset_after"].as_u64().unwrap_or(0));
            return Err(Unprepared::NoSessionsLeft { until });
        }
        let url = plan["url"].as_str().ok_or(Unprepared::NotNow)?.to_owned();
        let shards = plan["shards"].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(1);
        let http = rest::http(&self.settings.token, self.settings.api_url.as_ref());
        let (http, _) = http.map_err(|CannotBuild| Unprepared::NotNow)?;
        let mut intents = GatewayIntents::GUILDS | GatewayIntents::GUILD_MESSAGES | GatewayIntents::DIRECT_MESSAGES;
        if self.settings.message_content {
            intents |= GatewayIntents::MESSAGE_CONTENT;
        }
        Ok(Start { http, url, shards, intents, sign: self.sign.clone(), clock: self.clock.clone() })
    }

    /// Registers the commands. A refusal of the form is logged and does not keep the bot from listening: the
    /// commands of the last version are still there.
    async fn register(&self) -> Result<(), Unprepared> {
        let application = self.identify().await?.application.parse::<u64>().ok().filter(|id| *id != 0);
        let application_id = ApplicationId::new(application.ok_or(Unprepared::NotNow)?);
        let route = match self.settings.guild_commands.filter(|id| *id != 0) {
            Some(guild) => Route::GuildCommands { application_id, guild_id: GuildId::new(guild) },
            None => Route::Commands { application_id },
        };
        match self.rest.call(LightMethod::Put, route, Some(&commands::registration()), &[], None).await {
            Ok(_) => Ok(()),
            Err(Refused::Answered { status, detail, .. }) if status != 429 => {
                tracing::error!(detail, "Discord refuses the commands");
                Ok(())
            }
            Err(_) => Err(Unprepared::NotNow),
        }
    }

    async fn listen(&self, start: Start, ears: Ears, stop: &CancellationToken) -> Ended {
        let mut connection = match Connection::start(start, ears) {
            Ok(connection) => connection,
            Err(error) => {
                tracing::error!(%error, "no thread for the connection to Discord");
                return Ended::Lost;
            }
        };
        tokio::select! {
            ended = connection.ended() => return ended,
            () = stop.cancelled() => {}
        }
        connection.close(Duration::from_millis(1300)).await;
        Ended::Stopped
    }

    async fn get(&self, route: Route<'_>) -> Result<Value, IdentifyError> {
        self.rest.call(LightMethod::Get, route, None, &[], None).await.map_err(|refused| match refused {
            Refused::Answered { status: 401, .. } => IdentifyError::TokenRefused,
            Refused::Answered { detail, .. } => IdentifyError::Unavailable(detail),
            Refused::Unreachable => IdentifyError::Unavailable("no connection".to_owned()),
            Refused::Silent(why) => IdentifyError::Unavailable(why.to_owned()),
        })
    }
}

/// Why no connection can be made now.
enum Unprepared {
    TokenRefused,
    NotNow,
    NoSessionsLeft { until: Duration },
}

impl From<IdentifyError> for Unprepared {
    fn from(error: IdentifyError) -> Self {
        match error {
            IdentifyError::TokenRefused => Unprepared::TokenRefused,
            IdentifyError::Unavailable(why) => {
                tracing::warn!(why, "Discord cannot be reached");
                Unprepared::NotNow
            }
        }
    }
}
