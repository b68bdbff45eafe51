//! Typed ids. Owns their text form, which is what the database, the logs and the buttons carry; never
//! knows what they stand for.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A text that is not an id of the wanted kind.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a valid {kind}")]
pub struct BadId {
    kind: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id. Ids made later in one process sort later (UUID version 7), which makes the
            /// id a tie-breaker where two rows carry the same time.
            #[expect(clippy::new_without_default, reason = "a default id would be a new one each time")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// A name of at most 25 characters for the `piece`-th send that serves this id (Discord's `nonce`).
            pub fn nonce(&self, piece: usize) -> String {
                format!("{}{}", URL_SAFE_NO_PAD.encode(self.0.as_bytes()), piece.min(999))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.simple().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0.simple())
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                Uuid::parse_str(text).map(Self).map_err(|_| BadId { kind: stringify!($name) })
            }
        }
    };
}

id!(
    /// A human being, apart from the accounts they write from.
    PersonId
);
id!(
    /// One run of the reel pipeline for one shortcode.
    JobId
);
id!(
    /// One change that an admin made.
    ChangeId
);
id!(
    /// One owed answer.
    TurnId
);
id!(
    /// One person's wish for the result of one job.
    SubscriptionId
);
id!(
    /// One message on screen that shows the state of waiting reels.
    BoardId
);
id!(
    /// One thread of memory of one person in one chat.
    ConversationId
);
id!(
    /// One running process.
    InstanceId
);

/// Where people talk to the bot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    Discord,
    Telegram,
    Console,
}

impl Platform {
    pub const ALL: [Platform; 3] = [Platform::Discord, Platform::Telegram, Platform::Console];

    /// The name in the database, the metrics and the logs.
    pub fn name(self) -> &'static str {
        match self {
            Platform::Discord => "discord",
            Platform::Telegram => "telegram",
            Platform::Console => "console",
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Platform {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        Self::ALL.into_iter().find(|p| p.name() == text).ok_or(BadId { kind: "Platform" })
    }
}

/// A name within a platform: `platform:key` in its text form.
macro_rules! place {
    ($(#[$doc:meta])* $name:ident { $(#[$key:meta])* key }) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name {
            pub platform: Platform,
            $(#[$key])*
            pub key: String,
        }

        impl $name {
            pub fn new(platform: Platform, key: impl Into<String>) -> Self {
                Self { platform, key: key.into() }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}:{}", self.platform, self.key)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                let (platform, key) = text.split_once(':').ok_or(BadId { kind: stringify!($name) })?;
                Ok(Self { platform: platform.parse()?, key: key.to_owned() })
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadId;
            fn try_from(text: String) -> Result<Self, BadId> {
                text.parse()
            }
        }
    };
}

place!(
    /// A place where messages stand: a Discord channel or thread, a Telegram chat with its topic, the
    /// console. Its text form is `platform:key`; only the platform's own adapter reads the key.
    ChatId {
        /// Discord: the channel id. Telegram: `chat` or `chat/topic`. Console: any name.
        key
    }
);
impl ChatId {
    /// Whether it is a group on Telegram, or a topic of one: their ids are negative (Bot API, Chat).
    pub fn is_telegram_group(&self) -> bool {
        self.platform == Platform::Telegram && self.key.starts_with('-')
    }
}

/// Some chats.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ChatScope {
    /// One, with its topics.
    Chat(ChatId),
    /// What is sent to one. The answer to a command on Discord has a way of its own.
    SendsTo(ChatId),
    /// All of a community.
    Guild(GuildId),
}

impl std::fmt::Display for ChatScope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ChatScope::Chat(chat) | ChatScope::SendsTo(chat) => chat.fmt(f),
            ChatScope::Guild(guild) => write!(f, "all of {guild}"),
        }
    }
}

place!(
    /// A community that chats belong to: a Discord server. Telegram has none: a group is one chat.
    GuildId {
        /// Discord: the guild id.
        key
    }
);

/// One message on a platform. Data, not a handle: any instance can edit it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MessageRef {
    pub chat: ChatId,
    /// The platform's own id of the message, or an adapter's word for something that stands for one
    /// (a Discord interaction, a button press).
    pub id: String,
}

impl MessageRef {
    pub fn new(chat: ChatId, id: impl Into<String>) -> Self {
        Self { chat, id: id.into() }
    }
}

/// The key of an Instagram post: 5 to 11 characters of `A-Za-z0-9-_`. `/p/`, `/reel/`, `/reels/` and
/// `/tv/` with one code are one post.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Shortcode(String);

impl Shortcode {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address that opens any kind of post.
    pub fn url(&self) -> String {
        format!("https://www.instagram.com/reel/{}/", self.0)
    }
}

impl fmt::Display for Shortcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Shortcode {
    type Err = BadId;

    /// Takes the 39-character form of a private post too and keeps its first 11 characters: the rest
    /// is probably an access token, so it is neither stored nor logged.
    fn from_str(text: &str) -> Result<Self, BadId> {
        let bad = BadId { kind: "Shortcode" };
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            return Err(bad);
        }
        match text.len() {
            5..=11 if text != "audio" => Ok(Self(text.to_owned())),
            39 => Ok(Self(text[..11].to_owned())),
            _ => Err(bad),
        }
    }
}

impl From<Shortcode> for String {
    fn from(code: Shortcode) -> String {
        code.0
    }
}

impl TryFrom<String> for Shortcode {
    type Error = BadId;
    fn try_from(text: String) -> Result<Self, BadId> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_made_later_sort_later() {
        let ids: Vec<JobId> = (0..1000).map(|_| JobId::new()).collect();
        assert!(ids.windows(2).all(|w| w[0] < w[1] && w[0].to_string() < w[1].to_string()));
    }

    #[test]
    fn text_forms_round_trip() {
        let id = PersonId::new();
        assert_eq!(id.to_string().parse(), Ok(id));
        let chat = ChatId::new(Platform::Telegram, "-100123/7");
        assert_eq!(chat.to_string(), "telegram:-100123/7");
        assert_eq!(chat.to_string().parse(), Ok(chat));
        assert!("nowhere:1".parse::<ChatId>().is_err());
    }

    #[test]
    fn a_private_code_keeps_no_token() {
        let long = format!("DLlGZiCOBQ0{}", "x".repeat(28));
        assert_eq!(long.parse::<Shortcode>().unwrap().as_str(), "DLlGZiCOBQ0");
        for bad in ["audio", "abcd", "DLlGZiCOBQ0x", "DLlG ZiCOB", "../../etc"] {
            assert!(bad.parse::<Shortcode>().is_err(), "{bad}");
        }
    }
}
