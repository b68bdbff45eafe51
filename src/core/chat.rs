//! The neutral vocabulary between the platforms and the core. Owns the words; never knows a platform.

mod file;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

pub use self::file::{File, FileKind};

use crate::clock::Timestamp;
use crate::ids::{ChatId, ChatScope, GuildId, MessageRef, Platform};

/// One thing a person did: a message, a command, a button.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inbound {
    /// The message itself, and the key by which a second delivery of it is recognised.
    pub message: MessageRef,
    pub author: Author,
    /// The community it was said in; `None` in direct messages.
    #[serde(default)]
    pub guild: Option<Guild>,
    /// What was written, without the mention of the bot. A command or a button is its text form
    /// (`/reel https://…`, `/cancel 0192…`), whatever the platform made of it.
    pub text: String,
    /// Links that are not in the visible text: Telegram `text_link` entities, Discord embeds.
    pub links: Vec<String>,
    /// How many files came with it; the bot opens none of them.
    pub attachments: u32,
    /// The message this one answers, if any.
    pub reply_to: Option<MessageRef>,
    pub addressed: Addressed,
    /// A message that is already on screen for the answer ("thinking…"), or the adapter's word for a way to tell the author
    /// alone (a button that was pressed): the first output edits it instead of sending a new one.
    pub placeholder: Option<MessageRef>,
    /// A command or a button: complete in itself, never merged with what came before or after.
    pub atomic: bool,
    pub at: Timestamp,
    /// When the platform says that it was sent, if `at` is only when it was received.
    #[serde(default)]
    pub sent_at: Option<Timestamp>,
}

impl Inbound {
    /// Whether others read what is said in its chat: in a server, or in a Telegram group.
    pub fn is_among_people(&self) -> bool {
        self.guild.is_some() || self.message.chat.is_telegram_group()
    }

    /// Who would see an answer that is meant for its author.
    pub fn audience(&self) -> Audience {
        match (self.is_among_people(), &self.placeholder, self.message.chat.platform) {
            (false, ..) => Audience::Author,
            (true, None, _) => Audience::Room,
            (true, Some(_), Platform::Telegram) => Audience::Notice,
            (true, Some(_), Platform::Discord | Platform::Console) => Audience::Author,
        }
    }
}

/// Who would see an answer that is meant for one person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// That person alone: in a direct message, or as the answer to a command or button on Discord.
    Author,
    /// That person alone, but only [`NOTICE`] characters without files: a button in a Telegram group.
    Notice,
    /// Everybody in the chat.
    Room,
}

/// The longest notice on a button, in UTF-16 units (Bot API, answerCallbackQuery).
pub const NOTICE: usize = 200;

/// Who wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// The platform's id of the account. On Telegram a negative number is the group or the channel in whose name somebody
    /// writes.
    pub account: String,
    /// The display name, for the model and the people in the chat; never logged.
    pub name: String,
}

/// The community in which something was said, and what the author is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guild {
    pub id: GuildId,
    /// The channel, as the platform numbers it; of a thread, the channel it hangs on where that is known.
    pub channel: String,
    /// The platform's ids of the author's roles; `None` if they are not known: of a message that was read again after a gap
    /// nobody tells them.
    pub roles: Option<Vec<String>>,
    /// Whether the author may manage the community (Discord's Manage Server, or Administrator). Known of commands and
    /// buttons alone: Discord tells permissions with interactions, not with messages.
    pub manages: bool,
    /// Whether the bot was added to the community. Who installs the bot for themselves uses its commands in any server.
    #[serde(default = "usually")]
    pub installed: bool,
}

fn usually() -> bool {
    true
}

/// Whether the bot was meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Addressed {
    /// A direct message, a command, a button.
    Direct,
    /// A mention, a reply to the bot, or a thread it takes part in.
    Mentioned,
    /// Said in a place where the bot listens, to somebody else: only a reel link matters there.
    Overheard,
}

/// The door of the core, as an adapter sees it: `Ok` once the row is committed, was there already, or is not wanted.
pub type Receive = Arc<dyn Fn(Inbound) -> BoxFuture<'static, Result<Taken, ReceiveFailed>> + Send + Sync>;

/// How the bot's place in a chat has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PresenceChange {
    /// It was removed or blocked, or the chat was deleted.
    Gone,
    Back,
}

/// Who is told when that changes: `Ok` once it is kept.
pub type TellPresence =
    Arc<dyn Fn(ChatScope, PresenceChange) -> BoxFuture<'static, Result<(), ReceiveFailed>> + Send + Sync>;

/// What became of something that may be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is answered, as far as it is to be.
    Stored,
    /// Its author sends too many: nothing is kept, and after `again_in` they are heard again. They are told so once; where
    /// they wait for the answer to a command, by the adapter if this `is_first`.
    TooFast { again_in: Duration, is_first: bool },
}

/// The database said no: do not acknowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not stored")]
pub struct ReceiveFailed;

/// Something the bot says. It is stored as JSON until it is delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    /// Markdown. May be empty if there are files.
    pub text: String,
    pub buttons: Vec<Button>,
    /// Shown to the asker alone where the platform can do that.
    pub private: bool,
    /// What goes with it, in the order in which it is shown. An empty file, or one that is larger than the platform
    /// takes ([`FileRules`]), is named in the text instead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
}

impl Body {
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// The same with one more file.
    #[must_use]
    pub fn with(mut self, file: File) -> Self {
        self.files.push(file);
        self
    }
}

/// A button under a message. Pressing it arrives as an [`Inbound`] whose text is `command`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Button {
    pub label: String,
    /// A command in its text form, at most 64 bytes (Telegram's `callback_data`).
    pub command: String,
}

/// One message ready for a platform: at most the platform's limit long, in its own markup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// In the platform's markup ([`Markup`]).
    pub markup: String,
    /// The same text for when the platform cannot parse the markup.
    pub plain: String,
    /// At most [`FileRules::most`] of them, none empty or too large; the texts above may be empty then.
    pub files: Vec<File>,
    pub buttons: Vec<Button>,
    pub private: bool,
}

/// Where a new message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    pub chat: ChatId,
    /// Shown as the message it answers; it may be gone.
    pub reply_to: Option<MessageRef>,
}

/// What a platform shows and allows in one chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessengerRules {
    pub unit: LengthUnit,
    /// The longest text of one message, in `unit`.
    pub limit: usize,
    pub markup: Markup,
    /// The shortest time between two edits of one message that only show progress.
    pub edit_interval: Duration,
    /// How old a message may be and still be edited; `None` if that does not matter.
    pub editable_for: Option<Duration>,
    /// Whether a repeated send with the same nonce is recognised by the platform.
    pub dedupes_sends: bool,
    /// Sends and edits that the whole bot may make in a second on this platform.
    pub per_second: u32,
    /// What one chat takes of sends and edits; `None` where only `edit_interval` holds.
    pub in_chat: Option<ChatPace>,
    pub files: FileRules,
}

/// What a platform takes of files in one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileRules {
    /// So many, at least 1.
    pub most: usize,
    /// The longest text beside them, in [`MessengerRules::unit`].
    pub caption: usize,
    /// The largest picture, in bytes.
    pub picture_bytes: usize,
    /// The largest other file, in bytes.
    pub file_bytes: usize,
    /// All files of one message together, in bytes.
    pub all_bytes: usize,
}

/// What one chat takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChatPace {
    pub burst: Allowance,
    /// Over a longer span, where that is less. Several people share such a chat.
    pub steady: Option<Allowance>,
    /// Whether edits have an allowance of their own, as large as that of sends.
    pub edits_apart: bool,
}

/// So many at most within any span of this length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// 1 to 32.
    pub times: usize,
    /// A minute at most.
    pub within: Duration,
}

/// How a platform counts the length of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LengthUnit {
    /// UTF-16 code units (Telegram).
    Utf16,
    /// Unicode scalar values (Discord, console).
    Chars,
}

/// What a platform makes of formatting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Markup {
    /// Telegram's HTML subset.
    Html,
    /// Discord's Markdown.
    Discord,
    /// Markdown as it is.
    Markdown,
}

/// What a platform can do for the core.
#[async_trait]
pub trait Messenger: Send + Sync {
    fn rules(&self, chat: &ChatId) -> MessengerRules;

    /// Sends one new message. `nonce` (at most 25 ASCII characters) names the send, so that a platform
    /// that can do so recognises a repeat. With `plain` the text goes without formatting.
    async fn send(&self, to: &Destination, piece: &Piece, plain: bool, nonce: &str) -> Result<MessageRef, SendError>;

    /// Replaces the text, buttons and files of a message of the bot's own.
    async fn edit(&self, message: &MessageRef, piece: &Piece, plain: bool) -> Result<(), SendError>;

    /// Ends the wait that an [`Inbound::placeholder`] shows, for an answer that stands elsewhere.
    async fn dismiss(&self, placeholder: &MessageRef) -> Result<(), SendError>;

    /// Whether a message still waits for the bot, as far as the platform knows: no process of this bot has acknowledged or
    /// answered it. For a process that cannot ask the database.
    async fn is_unanswered(&self, message: &MessageRef) -> Result<bool, SendError>;

    /// Shows for some seconds that the bot is at work.
    async fn typing(&self, chat: &ChatId) -> Result<(), SendError>;
}

/// Why a send or an edit did not work: one variant for each way of going on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The message or its chat is no longer there (or an interaction token has run out): send anew.
    #[error("the message is gone")]
    Gone,
    /// Nothing of the bot arrives in that chat (blocked, kicked, deleted, no permission): stop writing there.
    #[error("the bot may not write there")]
    Forbidden,
    /// Wait, for the whole chat.
    #[error("rate limited for {} ms", retry_after.as_millis())]
    RateLimited { retry_after: Duration },
    /// The platform does not understand the markup: the same text as plain.
    #[error("the markup was not understood")]
    Unparsable,
    /// An edit that changes nothing: as good as done.
    #[error("nothing to change")]
    NotModified,
    /// No answer: it may have been delivered. Repeat with the same nonce.
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// No connection: surely not delivered, but not refused either. The same again, a little later.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// Refused for good: the same again would fail again.
    #[error("failed: {0}")]
    Failed(String),
}
