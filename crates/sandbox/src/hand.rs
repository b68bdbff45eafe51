//! A person's hand and eyes over HTTP, for whoever runs the sandbox as a process: says something on a platform, reads
//! what stands on the screen there, and for a load test the same by the thousand. Owns what is asked over HTTP; what
//! people can do is the platforms'.
//!
//! - `POST /telegram/42?name=Ana` with a text: Ana (account 42) writes to the bot. `GET /telegram/42`: her screen.
//! - `POST /discord/42?name=Ana`, `GET /discord/42`: the same in Discord's direct messages.
//! - `POST /say` with [`Say`]s: many write at once; the answer tells when ([`Said`]). `GET /seen?after=N&wait=MS`: what
//!   the bot put on screens since ([`Seen`]). `GET /screens`: all that it shows now ([`OnScreen`]).
//! - `GET /books`: what the providers charge, and what the platforms had to refuse ([`Books`]).
//! - `POST /trouble` with a [`Trouble`]: something goes wrong.
//!
//! Times are microseconds since the sandbox started, so that all of them are of one clock.

mod say;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc};

use super::apify::ApifySandbox;
use super::discord::{Disconnect, DiscordSandbox};
use super::gemini::GeminiSandbox;
use super::n8n::N8nSandbox;
use super::openai::OpenAiSandbox;
use super::telegram::TelegramSandbox;
use super::{Fault, Stood};

/// A platform of the sandbox.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum On {
    Telegram,
    Discord,
}

/// One message of one person.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Say {
    pub on: On,
    /// The person's account.
    pub who: u64,
    pub text: String,
    /// In the group that everybody is in, not in direct messages.
    #[serde(default)]
    pub in_group: bool,
    #[serde(default)]
    pub kind: SayKind,
    /// The platform delivers it twice.
    #[serde(default)]
    pub twice: bool,
    /// The platform keeps it to itself: a lie, for checks of whoever checks.
    #[serde(default)]
    pub lost: bool,
}

/// How something is said.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SayKind {
    /// A message; in the group one that mentions the bot.
    #[default]
    Text,
    /// A command without options: its name.
    Command,
    /// A press of a button: its data.
    Press,
}

/// What became of a [`Say`].
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Said {
    /// The chat and the message, as the platform names them.
    pub chat: String,
    pub message: String,
    pub at: u64,
}

/// Something the bot put on a screen; of its text only the ends.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Seen {
    pub at: u64,
    /// Only that the bot is at work there.
    #[serde(default)]
    pub typing: bool,
    pub on: On,
    pub chat: String,
    pub message: String,
    pub head: String,
    pub tail: String,
    /// Of the whole text.
    pub chars: usize,
    pub buttons: usize,
    pub is_edit: bool,
}

/// The answer to `GET /seen`.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct SeenSince {
    pub seen: Vec<Seen>,
    /// What to ask after next time.
    pub next: usize,
}

/// A message of the bot's as it stands there now.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct OnScreen {
    pub on: On,
    pub chat: String,
    pub message: String,
    pub head: String,
    pub tail: String,
    pub buttons: usize,
    pub edits: usize,
    /// The message that it answers.
    pub reply_to: Option<String>,
    /// The interaction that it answers, on Discord.
    #[serde(default)]
    pub interaction: Option<String>,
}

/// One call of a model that its provider charges.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Charge {
    pub model: String,
    pub input: u64,
    pub cached: u64,
    pub cache_write: u64,
    /// Reasoning among them.
    pub output: u64,
    /// The answer was given to its end.
    pub finished: bool,
}

/// One run of Apify.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Run {
    pub id: String,
    pub code: String,
    pub status: String,
    pub micro_usd: i64,
    pub at: u64,
    pub until: u64,
}

/// One run of a workflow of n8n.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Workflow {
    /// The last part of its webhook's path.
    pub webhook: String,
    /// The bot's name for it.
    pub job: String,
    pub code: String,
    pub at: u64,
    pub until: u64,
}

/// What the providers charge, and what the platforms had to refuse.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Books {
    pub openai: Vec<Charge>,
    pub gemini: Vec<Charge>,
    pub apify: Vec<Run>,
    pub n8n: Vec<Workflow>,
    /// Requests refused for their rate, not by a fault.
    pub refused_by_openai: usize,
    pub refused_by_telegram: usize,
    pub refused_by_discord: usize,
    /// What Discord would have allowed but people would not have liked.
    pub violations: Vec<String>,
    /// How many requests met which fault; by service and kind.
    #[serde(default)]
    pub troubles: BTreeMap<String, usize>,
    /// What people on Telegram were told by notices on their buttons.
    #[serde(default)]
    pub notices: Vec<String>,
    /// Updates that Telegram still holds.
    pub pending: usize,
    pub is_connected: bool,
}

/// Something that goes wrong once.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// The next request to `at` with `path` in its path is answered so.
    Answer {
        at: At,
        path: String,
        status: u16,
        headers: Vec<(String, String)>,
        body: String,
    },
    Slow {
        at: At,
        path: String,
        ms: u64,
    },
    /// The connection is closed without an answer; `after`: after the request was carried out.
    Drop {
        at: At,
        path: String,
        after: bool,
    },
    /// The answer breaks off in the middle.
    Cut {
        at: At,
        path: String,
    },
    /// Nothing of this is to happen any more, as far as it has not yet.
    Calm,
    /// Discord's gateway: the client is asked to come back.
    Reconnect,
    /// Discord's gateway: the socket is closed without a word.
    DropSocket,
    /// A lie: the bot's last message on Telegram stands there once more.
    DoubleMessage,
    /// A lie: OpenAI charges its last call once more.
    DoubleCharge,
}

/// Whose requests.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum At {
    OpenAi,
    Apify,
    Gemini,
    N8n,
    Telegram,
    Discord,
}

/// As much of a text is told, in characters, from each of its ends.
const ENDS: usize = 160;

/// So many faults wait at a stand-in at most.
const FAULTS: usize = 2;

/// The longest that `GET /seen` waits.
const LONGEST_WAIT: u64 = 10_000;

/// The stand-ins that it reaches.
#[derive(Clone)]
pub(super) struct Hand(Arc<Reach>);

struct Reach {
    telegram: Arc<TelegramSandbox>,
    discord: Arc<DiscordSandbox>,
    openai: Arc<OpenAiSandbox>,
    apify: Arc<ApifySandbox>,
    gemini: Arc<GeminiSandbox>,
    n8n: Arc<N8nSandbox>,
    /// How many times Discord's gateway was taken away.
    disconnected: AtomicUsize,
    /// Discord's channels by person: there it is looked for among all of them.
    channels: Mutex<HashMap<u64, String>>,
    /// Discord's channel of the group, once somebody has written there.
    group: Mutex<Option<String>>,
    since: Instant,
    /// What was put on screens, once somebody has asked for it.
    seen: Mutex<Option<Vec<Seen>>>,
    grown: Notify,
}

impl Reach {
    fn troubles(&self) -> BTreeMap<String, usize> {
        let services = [
            ("OpenAI", &self.openai.control),
            ("Apify", &self.apify.control),
            ("Gemini", &self.gemini.control),
            ("n8n", &self.n8n.control),
            ("Telegram", &self.telegram.control),
            ("Discord", &self.discord.control),
        ];
        let mut all: BTreeMap<String, usize> = services
            .into_iter()
            .flat_map(|(name, control)| control.met().into_iter().map(move |(kind, n)| (format!("{name} {kind}"), n)))
            .collect();
        let disconnected = self.disconnected.load(Ordering::Relaxed);
        if disconnected > 0 {
            all.insert("Discord's gateway lost".to_owned(), disconnected);
        }
        all
    }
}

impl Hand {
    pub fn new(
        telegram: Arc<TelegramSandbox>,
        discord: Arc<DiscordSandbox>,
        openai: Arc<OpenAiSandbox>,
        apify: Arc<ApifySandbox>,
        gemini: Arc<GeminiSandbox>,
        n8n: Arc<N8nSandbox>,
    ) -> Hand {
        let (channels, seen) = (Mutex::default(), Mutex::default());
        let (since, grown, disconnected) = (Instant::now(), Notify::new(), AtomicUsize::new(0));
        let group = Mutex::default();
        let reach =
            Reach { telegram, discord, openai, apify, gemini, n8n, disconnected, channels, group, since, seen, grown };
        Hand(Arc::new(reach))
    }

    fn at(&self, moment: Instant) -> u64 {
        u64::try_from(moment.saturating_duration_since(self.0.since).as_micros()).unwrap_or(u64::MAX)
    }

    fn channel(&self, user: u64) -> String {
        lock(&self.0.channels).entry(user).or_insert_with(|| self.0.discord.dm(&user.to_string())).clone()
    }

    /// Watches both platforms from the first time on that somebody wants to know.
    #[expect(clippy::disallowed_methods, reason = "a stand-in lives apart from the app, as the real service does")]
    fn watch(&self) {
        let mut seen = lock(&self.0.seen);
        if seen.is_some() {
            return;
        }
        *seen = Some(Vec::new());
        for (on, watched) in
            [(On::Telegram, self.0.telegram.control.watch()), (On::Discord, self.0.discord.control.watch())]
        {
            tokio::spawn(self.clone().note(on, watched));
        }
    }

    async fn note(self, on: On, mut watched: mpsc::UnboundedReceiver<(Instant, Stood)>) {
        while let Some((at, stood)) = watched.recv().await {
            let ((head, tail), chars) = (ends(&stood.text), stood.text.chars().count());
            let Stood { typing, chat, message, buttons, is_edit, .. } = stood;
            let seen = Seen { at: self.at(at), typing, on, chat, message, head, tail, chars, buttons, is_edit };
            lock(&self.0.seen).get_or_insert_default().push(seen);
            self.0.grown.notify_waiters();
        }
    }
}

#[derive(Deserialize)]
struct Who {
    #[serde(default = "somebody")]
    name: String,
}

fn somebody() -> String {
    "Somebody".to_owned()
}

pub(super) fn router(hand: Hand) -> Router {
    Router::new()
        .route("/telegram/{chat}", get(telegram_screen).post(telegram_say))
        .route("/discord/{user}", get(discord_screen).post(discord_say))
        .route("/say", post(say))
        .route("/seen", get(seen))
        .route("/screens", get(screens))
        .route("/books", get(books))
        .route("/trouble", post(trouble))
        .with_state(hand)
}

async fn telegram_say(
    State(hand): State<Hand>,
    Path(chat): Path<i64>,
    Query(who): Query<Who>,
    text: String,
) -> StatusCode {
    if text.trim().is_empty() {
        return StatusCode::BAD_REQUEST;
    }
    hand.0.telegram.say(chat, chat, &who.name, &text);
    StatusCode::NO_CONTENT
}

async fn telegram_screen(State(hand): State<Hand>, Path(chat): Path<i64>) -> String {
    let screen = hand.0.telegram.screen(chat);
    lines(screen.into_iter().map(|shown| {
        let files = shown.photo.into_iter().chain(shown.document);
        (shown.from_bot, with_files(shown.text, files), shown.buttons)
    }))
}

async fn discord_say(
    State(hand): State<Hand>,
    Path(user): Path<u64>,
    Query(who): Query<Who>,
    text: String,
) -> StatusCode {
    if text.trim().is_empty() {
        return StatusCode::BAD_REQUEST;
    }
    hand.0.discord.say(&hand.channel(user), &user.to_string(), &who.name, &text);
    StatusCode::NO_CONTENT
}

async fn discord_screen(State(hand): State<Hand>, Path(user): Path<u64>) -> String {
    let screen = hand.0.discord.screen(&hand.channel(user));
    lines(screen.into_iter().map(|shown| (shown.from_bot, with_files(shown.content, shown.files), shown.buttons)))
}

/// The text, and the names and sizes of the files below it.
fn with_files(text: String, files: impl IntoIterator<Item = (String, Vec<u8>)>) -> String {
    let name = |(name, content): (String, Vec<u8>)| format!(" ({name}, {} bytes)", content.len());
    text + &files.into_iter().map(name).collect::<String>()
}

async fn say(State(hand): State<Hand>, Json(all): Json<Vec<Say>>) -> Json<Vec<Said>> {
    Json(all.iter().map(|said| hand.say(said)).collect())
}

#[derive(Deserialize)]
struct Since {
    after: usize,
    wait: u64,
}

async fn seen(State(hand): State<Hand>, Query(Since { after, wait }): Query<Since>) -> Json<SeenSince> {
    hand.watch();
    let until = tokio::time::Instant::now() + Duration::from_millis(wait.min(LONGEST_WAIT));
    loop {
        let grown = hand.0.grown.notified();
        let new = lock(&hand.0.seen).iter().flatten().skip(after).cloned().collect::<Vec<_>>();
        if !new.is_empty() || tokio::time::timeout_at(until, grown).await.is_err() {
            return Json(SeenSince { next: after + new.len(), seen: new });
        }
    }
}

async fn screens(State(hand): State<Hand>) -> Json<Vec<OnScreen>> {
    let telegram = hand.0.telegram.shown_by_bot().into_iter().map(|(chat, shown)| {
        let (head, tail) = ends(&shown.text);
        let (chat, message) = (chat.to_string(), shown.message_id.to_string());
        let (buttons, edits) = (shown.buttons.len(), shown.edits);
        let reply_to = shown.reply_to.map(|id| id.to_string());
        OnScreen { on: On::Telegram, chat, message, head, tail, buttons, edits, reply_to, interaction: None }
    });
    let discord = hand.0.discord.shown_by_bot().into_iter().map(|(chat, shown)| {
        let (head, tail) = ends(&shown.content);
        let (buttons, edits) = (shown.buttons.len(), usize::try_from(shown.edits).unwrap_or(usize::MAX));
        let (message, reply_to, interaction) = (shown.id, shown.reply_to, shown.interaction);
        OnScreen { on: On::Discord, chat, message, head, tail, buttons, edits, reply_to, interaction }
    });
    Json(telegram.chain(discord).collect())
}

async fn books(State(hand): State<Hand>) -> Json<Books> {
    let reach = &hand.0;
    let openai = reach.openai.charged().into_iter().map(|charged| Charge {
        model: charged.model,
        input: charged.usage.input,
        cached: charged.usage.cached,
        cache_write: charged.usage.cache_write,
        output: charged.usage.output,
        finished: charged.finished,
    });
    let gemini = reach.gemini.charged().into_iter().map(|charged| Charge {
        model: charged.model,
        input: charged.input_tokens,
        cached: 0,
        cache_write: 0,
        output: charged.output_tokens,
        finished: true,
    });
    let runs = reach.apify.runs().into_iter().zip(reach.apify.times()).map(|(run, (at, takes))| Run {
        id: run.id,
        code: run.code,
        status: run.status.to_owned(),
        micro_usd: run.charged_micro_usd,
        at: hand.at(at.into_std()),
        until: hand.at(at.into_std() + takes),
    });
    let workflows = reach.n8n.runs().into_iter().map(|run| Workflow {
        webhook: run.webhook,
        job: run.job,
        code: run.code,
        at: hand.at(run.at),
        until: hand.at(run.at + run.takes),
    });
    Json(Books {
        openai: openai.collect(),
        gemini: gemini.collect(),
        apify: runs.collect(),
        n8n: workflows.collect(),
        refused_by_openai: reach.openai.control.refused(),
        refused_by_telegram: reach.telegram.control.refused(),
        refused_by_discord: reach.discord.control.refused(),
        violations: reach.discord.violations(),
        troubles: reach.troubles(),
        notices: reach.telegram.notices(),
        pending: reach.telegram.pending(),
        is_connected: reach.discord.is_connected(),
    })
}

async fn trouble(State(hand): State<Hand>, Json(trouble): Json<Trouble>) -> StatusCode {
    let reach = &hand.0;
    let fault = |at: At, path: &str, fault: Fault| {
        let control = match at {
            At::OpenAi => &reach.openai.control,
            At::Apify => &reach.apify.control,
            At::Gemini => &reach.gemini.control,
            At::N8n => &reach.n8n.control,
            At::Telegram => &reach.telegram.control,
            At::Discord => &reach.discord.control,
        };
        // One request must not meet one after another, however slow the bot is.
        if control.faults_waiting() < FAULTS {
            control.fault(path, fault);
        }
    };
    let disconnect = |how: Disconnect| {
        reach.disconnected.fetch_add(usize::from(reach.discord.is_connected()), Ordering::Relaxed);
        reach.discord.disconnect(how);
    };
    match trouble {
        Trouble::Answer { at, path, status, headers, body } => {
            fault(at, &path, Fault::Answer { status, headers, body });
        }
        Trouble::Slow { at, path, ms } => fault(at, &path, Fault::Slow(Duration::from_millis(ms))),
        Trouble::Drop { at, path, after: false } => fault(at, &path, Fault::Drop),
        Trouble::Drop { at, path, after: true } => fault(at, &path, Fault::DropAfter),
        Trouble::Cut { at, path } => fault(at, &path, Fault::Cut),
        Trouble::Calm => {
            reach.openai.control.calm();
            reach.apify.control.calm();
            reach.gemini.control.calm();
            reach.n8n.control.calm();
            reach.telegram.control.calm();
            reach.discord.control.calm();
        }
        Trouble::Reconnect => disconnect(Disconnect::Reconnect),
        Trouble::DropSocket => disconnect(Disconnect::DropSocket),
        Trouble::DoubleMessage => reach.telegram.double_last(),
        Trouble::DoubleCharge => reach.openai.double_last_charge(),
    }
    StatusCode::NO_CONTENT
}

fn lines(screen: impl Iterator<Item = (bool, String, Vec<(String, String)>)>) -> String {
    let mut text = String::new();
    for (from_bot, said, buttons) in screen {
        text.push_str(if from_bot { "coach: " } else { "you: " });
        text.push_str(&said);
        for (label, _) in buttons {
            text.push_str(&format!(" [{label}]"));
        }
        text.push('\n');
    }
    text
}

/// The first and the last characters of a text.
fn ends(text: &str) -> (String, String) {
    let length = text.chars().count();
    (text.chars().take(ENDS).collect(), text.chars().skip(length.saturating_sub(ENDS)).collect())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
