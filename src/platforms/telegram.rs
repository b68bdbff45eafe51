//! The Telegram adapter: translates between the Bot API and the core's vocabulary. Owns the bot's
//! identity, polling, webhooks and sending; never decides what is answered, and never waits for its turn
//! to speak (the outbox does).
//!
//! Updates come in through [`Telegram::poll`] or, in webhook mode, through [`Telegram::decode`]; both end
//! in the core's door. teloxide makes the calls; updates and answers are read here, narrowly, because
//! Telegram adds fields and entities faster than teloxide learns them.

mod api;
mod inbound;
mod polling;
mod presence;
mod send;
mod update;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use teloxide::Bot;
use teloxide::payloads::{
    AnswerCallbackQuery, DeleteWebhook, GetMe, GetWebhookInfo, SetMyCommands, SetMyCommandsSetters as _, SetWebhook,
    SetWebhookSetters as _,
};
use teloxide::types::{BotCommand, BotCommandScope, CallbackQueryId};
use tokio_util::sync::CancellationToken;
use url::Url;

use self::api::{Fault, WANTED};
use self::polling::{grown, millis};
use crate::clock::Clock;
use crate::core::chat::{Inbound, Receive, ReceiveFailed, Taken, TellPresence};
use crate::core::command::COMMANDS;
use crate::core::leases::Lease;
use crate::ids::{ChatId, ChatScope};
use crate::telemetry::life::SignOfLife;

pub use self::polling::PollEnded;
pub use self::update::{Undecodable, Update};

/// Deliveries that Telegram may make to the webhook at one time (1 to 100, Bot API, setWebhook).
const WEBHOOK_CONNECTIONS: u8 = 40;
/// How long `getUpdates` may be held open by Telegram (tdlib/telegram-bot-api, Client.h).
const LONGEST_POLL: Duration = Duration::from_secs(50);
/// How long a call may take. Telegram answers within a second; the rest is for a slow line.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the reading of updates waits for a press to be answered.
const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(3);

/// How the bot reaches Telegram.
#[derive(Clone, Debug)]
pub struct Settings {
    pub token: SecretString,
    /// Another server that speaks the Bot API (http or https); `None` for api.telegram.org.
    pub api_url: Option<Url>,
    /// How long one `getUpdates` waits for something to happen: 1 to 50 s.
    pub poll_timeout: Duration,
    /// Sends and edits that the whole bot makes in a second.
    pub per_second: u32,
    /// The same in one chat.
    pub per_chat: u32,
}

/// Who the bot is, as Telegram tells it (`getMe`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Me {
    pub id: i64,
    /// Without `@`.
    pub username: String,
    /// Whether privacy mode is off, so that the bot hears everything in groups.
    #[serde(default)]
    pub can_read_all_group_messages: bool,
}

/// Why the bot could not find out who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentifyError {
    /// The token is wrong. Only the operator can mend it.
    #[error("Telegram refuses the token. Copy it again from @BotFather")]
    BadToken,
    /// The process was told to stop before Telegram answered.
    #[error("stopped before Telegram responded")]
    Stopped,
}

/// A call for the operator that did not work. Holds Telegram's words, never the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Telegram: {0}")]
pub struct CallFailed(String);

/// The state of the webhook (`getWebhookInfo`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct WebhookInfo {
    /// Empty if none is set.
    pub url: String,
    pub pending_update_count: u64,
    /// Epoch seconds.
    pub last_error_date: Option<i64>,
    pub last_error_message: Option<String>,
    pub max_connections: Option<u32>,
    pub allowed_updates: Vec<String>,
}

/// Who is told that a group (the first id) is a supergroup now (the second one): `Ok` once that is kept, or was known.
pub type ChatMoved = Arc<dyn Fn(ChatId, ChatId) -> BoxFuture<'static, Result<(), ReceiveFailed>> + Send + Sync>;

/// The bot on Telegram. Cheap to clone.
#[derive(Clone)]
pub struct Telegram(Arc<Inner>);

struct Inner {
    bot: Bot,
    /// The same bot with a client that waits longer than `getUpdates` does.
    poller: Bot,
    poll_timeout: Duration,
    per_second: u32,
    per_chat: u32,
    clock: Clock,
    sign: Arc<SignOfLife>,
    chat_moved: OnceLock<ChatMoved>,
    /// Who the bot is, once Telegram has told.
    me: OnceLock<Me>,
    /// One look at what waits at Telegram at a time: of two calls of `getUpdates` the first is refused.
    looking: tokio::sync::Mutex<()>,
    tell_presence: OnceLock<TellPresence>,
}

impl fmt::Debug for Telegram {
    // teloxide's own `Debug` prints the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telegram").finish_non_exhaustive()
    }
}

impl Telegram {
    /// `clock` dates what comes in and times the pauses after errors. An `api_url` that can not be a base
    /// address (`mailto:…`) is logged and not used.
    pub fn new(settings: Settings, clock: Clock) -> Self {
        let poll_timeout = settings.poll_timeout.clamp(Duration::from_secs(1), LONGEST_POLL);
        let bot = |timeout| bot(&settings, timeout);
        let poller = bot(poll_timeout + Duration::from_secs(15));
        let (per_second, per_chat) = (settings.per_second, settings.per_chat);
        Telegram(Arc::new(Inner {
            bot: bot(CALL_TIMEOUT),
            poller,
            poll_timeout,
            per_second,
            per_chat,
            clock,
            sign: Arc::default(),
            chat_moved: OnceLock::new(),
            me: OnceLock::new(),
            looking: tokio::sync::Mutex::default(),
            tell_presence: OnceLock::new(),
        }))
    }

    /// From now on `chat_moved` is told of groups that became supergroups, whether an update says so or a refused send.
    pub fn on_chat_moved(&self, chat_moved: ChatMoved) {
        // Set once: each bot has one core.
        let _ = self.0.chat_moved.set(chat_moved);
    }

    /// From now on `tell` hears of chats that the bot is taken into or thrown out of.
    pub fn on_presence(&self, tell: TellPresence) {
        // Set once, as above.
        let _ = self.0.tell_presence.set(tell);
    }

    /// Tells that a group became a supergroup.
    ///
    /// # Errors
    /// When it could not be kept: the update that said so must come again.
    pub async fn chat_moved(&self, from: ChatId, to: ChatId) -> Result<(), ReceiveFailed> {
        match self.0.chat_moved.get() {
            Some(chat_moved) => chat_moved(from, to).await,
            None => Ok(()),
        }
    }

    /// Asks Telegram who the bot is, again and again with growing pauses until it answers, and then sets
    /// the menu of commands. A menu that can not be set is only logged.
    ///
    /// # Errors
    /// When the token is refused, or `stop` comes first.
    pub async fn identify(&self, stop: &CancellationToken) -> Result<Me, IdentifyError> {
        let mut failures = 0;
        let me: Me = loop {
            let answer = tokio::select! {
                biased;
                () = stop.cancelled() => return Err(IdentifyError::Stopped),
                answer = api::call(self.bot(), GetMe::new()) => answer,
            };
            let fault = match answer {
                Ok(me) => break me,
                Err(fault) if fault.is_bad_token() => return Err(IdentifyError::BadToken),
                Err(fault) => fault,
            };
            let pause = match fault {
                Fault::RateLimited(asked) => asked.max(Duration::from_secs(1)),
                _ => grown(Duration::from_secs(1), failures),
            };
            failures += 1;
            tracing::warn!(failures, pause_ms = millis(pause), "telegram: getMe failed: {}", fault.words());
            tokio::select! {
                biased;
                () = stop.cancelled() => return Err(IdentifyError::Stopped),
                () = self.clock().sleep_until(self.clock().now() + pause) => {}
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.set_menu() => {}
        }
        let _ = self.0.me.set(me.clone());
        Ok(me)
    }

    /// Reads updates by long polling until `stop`. An update is acknowledged only after `receive` said
    /// `Ok`; if it did not, that update and all after it are asked for again after a pause. Updates that
    /// can not be read are logged and passed over. Errors make growing pauses.
    ///
    /// `role`: what lets this process poll. Whoever cannot renew it and hears that another process polls, which only one that
    /// has the role does, stops until it can ask again.
    ///
    /// Does not remove a webhook by itself, because another instance may live on it: the log says what to do.
    ///
    /// At the end the last updates may be unacknowledged; Telegram serves them again, and the core knows them.
    ///
    /// # Errors
    /// When the token is refused.
    pub async fn poll(
        &self,
        me: &Me,
        receive: Receive,
        role: &Lease,
        stop: &CancellationToken,
    ) -> Result<(), PollEnded> {
        polling::poll(self, me, &receive, role, stop).await
    }

    /// Reads the body of one webhook delivery; `None` if it is not for the bot. Whoever calls this hands
    /// the result to [`Telegram::take`], then answers 200, and 500 if that failed: Telegram repeats what was not answered
    /// with 2xx.
    ///
    /// # Errors
    /// [`Undecodable::NotAnUpdate`]: answer 400. [`Undecodable::UnknownShape`]: log it and answer 200,
    /// because a repeat would be no better and would hold up everything after it.
    pub fn decode(&self, me: &Me, body: &[u8]) -> Result<Option<Update>, Undecodable> {
        let update: Value = serde_json::from_slice(body).map_err(|_| Undecodable::NotAnUpdate)?;
        update::translate(update, me, self.clock().now())
    }

    /// Hands an update to the core's door, and ends the waiting sign on a button that is answered by a message.
    ///
    /// # Errors
    /// When it could not be stored: it must come again.
    pub async fn take(&self, update: Update, receive: &Receive) -> Result<(), ReceiveFailed> {
        match update {
            Update::Said(inbound) => {
                match receive((*inbound).clone()).await? {
                    Taken::Stored => self.acknowledge(&inbound).await,
                    // Everybody else would wait for the answers to such presses.
                    Taken::TooFast { .. } => {}
                }
                Ok(())
            }
            Update::Moved { from, to } => self.chat_moved(from, to).await,
            Update::Presence { chat, change } => match self.0.tell_presence.get() {
                Some(tell) => tell(ChatScope::Chat(chat), change).await,
                None => Ok(()),
            },
        }
    }

    /// Ends the waiting sign on a button, unless an answer to it is on its way. A failure is only logged: the sign ends by
    /// itself.
    async fn acknowledge(&self, inbound: &Inbound) {
        let Some(press) = inbound::press_of(&inbound.message).filter(|_| inbound.placeholder.is_none()) else { return };
        let answered = tokio::time::timeout(ACKNOWLEDGE_TIMEOUT, self.answer_press(press, None)).await;
        match answered {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => tracing::debug!("telegram: answerCallbackQuery failed: {}", fault.words()),
            Err(_) => tracing::debug!("telegram: answerCallbackQuery timed out"),
        }
    }

    /// Answers a press, perhaps with a notice that only whoever pressed sees. A press takes one answer.
    async fn answer_press(&self, press: &str, notice: Option<&str>) -> Result<(), Fault> {
        let mut answer = AnswerCallbackQuery::new(CallbackQueryId(press.to_owned()));
        answer.text = notice.map(str::to_owned);
        answer.show_alert = notice.map(|_| true);
        let _: IgnoredAny = api::call(self.bot(), answer).await?;
        Ok(())
    }

    /// Tells Telegram to deliver updates to `url`, with `secret` in the header
    /// `X-Telegram-Bot-Api-Secret-Token` (1 to 256 characters of `A-Za-z0-9_-`). Polling ends with that.
    ///
    /// # Errors
    /// When Telegram refuses or can not be reached.
    pub async fn set_webhook(&self, url: &Url, secret: &SecretString) -> Result<(), CallFailed> {
        let set = SetWebhook::new(url.clone())
            .secret_token(secret.expose_secret())
            .allowed_updates(WANTED)
            .max_connections(WEBHOOK_CONNECTIONS);
        let _: IgnoredAny = api::upload(self.bot(), set).await?;
        Ok(())
    }

    /// Removes the webhook; waiting updates are kept.
    ///
    /// # Errors
    /// When Telegram refuses or can not be reached.
    pub async fn delete_webhook(&self) -> Result<(), CallFailed> {
        let _: IgnoredAny = api::call(self.bot(), DeleteWebhook::new()).await?;
        Ok(())
    }

    /// The state of the webhook, for the operator.
    ///
    /// # Errors
    /// When Telegram refuses or can not be reached.
    pub async fn webhook_info(&self) -> Result<WebhookInfo, CallFailed> {
        Ok(api::call(self.bot(), GetWebhookInfo::new()).await?)
    }

    async fn set_menu(&self) {
        // The menu only shows them; rights are checked by the core. `/help` shows admins theirs.
        let shown = || COMMANDS.iter().filter(|entry| !entry.admin);
        let commands = || shown().map(|entry| BotCommand::new(entry.name, (entry.meaning)())).collect::<Vec<_>>();
        for scope in [BotCommandScope::Default, BotCommandScope::AllPrivateChats, BotCommandScope::AllGroupChats] {
            let set = SetMyCommands::new(commands()).scope(scope);
            if let Err(fault) = api::call::<_, IgnoredAny>(self.bot(), set).await {
                tracing::warn!("telegram: setMyCommands failed: {}", fault.words());
            }
        }
    }

    fn bot(&self) -> &Bot {
        &self.0.bot
    }

    fn poller(&self) -> &Bot {
        &self.0.poller
    }

    fn poll_timeout(&self) -> Duration {
        self.0.poll_timeout
    }

    fn per_second(&self) -> u32 {
        self.0.per_second
    }

    fn per_chat(&self) -> u32 {
        self.0.per_chat
    }

    /// When Telegram last answered a poll.
    pub fn sign_of_life(&self) -> &Arc<SignOfLife> {
        &self.0.sign
    }

    fn clock(&self) -> &Clock {
        &self.0.clock
    }
}

impl From<Fault> for CallFailed {
    fn from(fault: Fault) -> Self {
        CallFailed(fault.words())
    }
}

fn bot(settings: &Settings, timeout: Duration) -> Bot {
    let client = reqwest012::Client::builder()
        .connect_timeout(Duration::from_secs(5))
        .timeout(timeout)
        // Shorter than servers keep an idle connection, so that a send does not meet a closed one.
        .pool_idle_timeout(Duration::from_secs(30))
        .pool_max_idle_per_host(64)
        .tcp_nodelay(true)
        .redirect(reqwest012::redirect::Policy::none())
        .build()
        .expect("a client with built-in roots and only timeouts set can be built");
    let bot = Bot::with_client(settings.token.expose_secret(), client);
    match &settings.api_url {
        Some(url) if url.cannot_be_a_base() => {
            tracing::error!("telegram: the API address can not be used, api.telegram.org is used instead");
            bot
        }
        Some(url) => {
            // teloxide appends path segments: one trailing slash would become two.
            let mut url = url.clone();
            let path = url.path().trim_end_matches('/').to_owned();
            url.set_path(&path);
            bot.set_api_url(url)
        }
        None => bot,
    }
}
