//! Everything the stand-in for Discord knows: people, channels, messages, interactions, sessions. Owns the
//! shape of its objects on the wire and who is sent which event; answers no request itself.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::{Control, Stood};

/// Epoch milliseconds of snowflake zero (Discord API reference, Snowflakes).
const EPOCH: i64 = 1_420_070_400_000;

pub(super) const BOT: u64 = 700_000_000_000_000_001;
/// Not the bot's id: with old applications the two differ, and whoever mixes them up should notice.
pub(super) const APPLICATION: u64 = 700_000_000_000_000_002;
pub(super) const GUILD: u64 = 700_000_000_000_000_003;
/// Another server, which others manage.
pub(super) const OTHER_GUILD: u64 = 700_000_000_000_000_004;
pub(super) const GUILDS_THERE_ARE: [(u64, &str); 2] = [(GUILD, "Sandbox"), (OTHER_GUILD, "Elsewhere")];

/// What everybody may do: view, write, react, use commands; nothing that manages (Discord API reference, Permissions).
const EVERYBODY: u64 = 2_248_473_465_835_073;
pub(super) const MANAGE_GUILD: u64 = 1 << 5;

/// Gateway intents (Discord API reference, Gateway Intents).
pub(super) const GUILDS: u64 = 1;
pub(super) const GUILD_MESSAGES: u64 = 1 << 9;
pub(super) const DIRECT_MESSAGES: u64 = 1 << 12;
pub(super) const MESSAGE_CONTENT: u64 = 1 << 15;

#[derive(Default)]
pub(super) struct World {
    pub control: Control,
    pub time: Option<Arc<AtomicI64>>,
    serial: u64,
    pub people: BTreeMap<u64, String>,
    /// Of guild and person: what is not usual about them there.
    pub members: BTreeMap<(u64, u64), Member>,
    pub channels: BTreeMap<u64, Channel>,
    /// Guilds of which the bot is no member.
    pub left: BTreeSet<u64>,
    pub messages: BTreeMap<u64, Message>,
    /// What was uploaded, by the attachment's id.
    pub uploads: HashMap<String, Vec<u8>>,
    /// By token.
    pub interactions: HashMap<String, Interaction>,
    pub commands: Vec<Value>,
    /// By session id.
    pub sessions: BTreeMap<String, Session>,
    pub gateway_log: Vec<GatewayLog>,
    pub violations: Vec<String>,
    /// Times of sends and edits, by channel and kind.
    pub pace: HashMap<(u64, &'static str), VecDeque<i64>>,
}

/// What happened on the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GatewayLog {
    Connected,
    Identified {
        intents: u64,
    },
    Resumed {
        replayed: usize,
    },
    ResumeRefused,
    /// The server closed with this code.
    Refused {
        code: u16,
    },
    /// The client closed, with this code where it gave one.
    Closed {
        code: Option<u16>,
    },
}

/// What is not usual about somebody in a guild.
#[derive(Default)]
pub(super) struct Member {
    pub roles: Vec<u64>,
    /// Permissions beyond everybody's.
    pub permissions: u64,
}

/// 0 a text channel of a guild, 1 a direct message, 11 a public thread.
pub(super) struct Channel {
    pub kind: u64,
    pub name: String,
    pub parent: Option<u64>,
    /// Of what is no direct message.
    pub guild: u64,
    pub recipient: Option<u64>,
    pub forbidden: bool,
}

pub(super) struct Message {
    pub channel: u64,
    pub from_bot: bool,
    /// The message object, without what only the gateway adds.
    pub object: Value,
    pub edits: u32,
    pub deferred: bool,
    pub ephemeral: bool,
    pub nonce: Option<String>,
    pub at: i64,
}

pub(super) struct Interaction {
    pub id: u64,
    /// 2 a command, 3 a component.
    pub kind: u64,
    pub channel: u64,
    pub made: i64,
    pub acknowledged: bool,
    pub ephemeral: bool,
    /// The first answer, or the message of the button.
    pub original: Option<u64>,
}

pub(super) struct Session {
    pub intents: u64,
    pub seq: u64,
    pub events: Vec<(u64, Value)>,
    pub link: Option<mpsc::UnboundedSender<Down>>,
}

/// What goes down a connection.
pub(super) enum Down {
    Payload(Value),
    /// The socket is closed without a word.
    Drop,
}

impl World {
    #[expect(clippy::disallowed_methods, reason = "a stand-in uses no product module, the clock among them")]
    pub fn now(&self) -> i64 {
        match &self.time {
            Some(time) => time.load(Ordering::SeqCst),
            None => chrono::Utc::now().timestamp_millis(),
        }
    }

    /// The time as the `Date` header of an answer tells it.
    pub fn date(&self) -> Option<String> {
        let now = chrono::DateTime::from_timestamp_millis(self.now())?;
        Some(now.format("%a, %d %b %Y %H:%M:%S GMT").to_string())
    }

    /// A new id that sorts after all others of the same or an earlier time.
    pub fn snowflake(&mut self) -> u64 {
        self.serial += 1;
        let since = u64::try_from(self.now().saturating_sub(EPOCH)).unwrap_or(0);
        (since << 22) | (self.serial & 0x3f_ffff)
    }

    pub fn user(&self, id: u64) -> Value {
        let bot = id == BOT;
        let name = if bot { "Coach" } else { self.people.get(&id).map_or("someone", String::as_str) };
        json!({"id": id.to_string(), "username": name.to_lowercase(), "discriminator": "0", "global_name": name,
            "avatar": null, "bot": bot, "system": false, "public_flags": 0})
    }

    /// A member of a guild, with the user and the permissions only where Discord sends them.
    pub fn member(&self, guild: u64, id: u64, whole: bool) -> Value {
        let unusual = self.members.get(&(guild, id));
        let roles: Vec<String> = unusual.iter().flat_map(|member| &member.roles).map(u64::to_string).collect();
        let mut member = json!({"roles": roles, "joined_at": "2026-01-01T00:00:00+00:00", "premium_since": null,
            "deaf": false, "mute": false, "flags": 0, "nick": null, "avatar": null, "pending": false,
            "communication_disabled_until": null});
        if whole {
            member["user"] = self.user(id);
            member["permissions"] = json!((EVERYBODY | unusual.map_or(0, |member| member.permissions)).to_string());
        }
        member
    }

    pub fn channel(&self, id: u64) -> Value {
        let Some(channel) = self.channels.get(&id) else { return Value::Null };
        let mut object = json!({"id": id.to_string(), "type": channel.kind, "last_message_id": null, "flags": 0});
        match channel.recipient {
            Some(recipient) => object["recipients"] = json!([self.user(recipient)]),
            None => {
                let fields = json!({"guild_id": channel.guild.to_string(), "name": channel.name, "position": 0,
                    "permission_overwrites": [], "nsfw": false, "topic": null, "rate_limit_per_user": 0,
                    "parent_id": channel.parent.map(|id| id.to_string())});
                merge(&mut object, &fields);
            }
        }
        if channel.kind == 11 {
            let fields = json!({"owner_id": BOT.to_string(), "message_count": 0, "member_count": 1,
                "thread_metadata": {"archived": false, "auto_archive_duration": 1440, "locked": false,
                    "archive_timestamp": "2026-11-24T00:00:00+00:00"}});
            merge(&mut object, &fields);
        }
        object
    }

    /// Puts a message into a channel and tells everybody who may see it.
    pub fn put(&mut self, channel: u64, author: u64, fields: &Value, ephemeral: bool, nonce: Option<String>) -> u64 {
        let id = self.snowflake();
        let at = self.now();
        let mut object = json!({"id": id.to_string(), "channel_id": channel.to_string(), "author": self.user(author),
            "content": "", "timestamp": iso(at), "edited_timestamp": null, "tts": false, "mention_everyone": false,
            "mentions": [], "mention_roles": [], "attachments": [], "embeds": [], "components": [], "pinned": false,
            "type": 0, "flags": 0});
        merge(&mut object, fields);
        let content = object["content"].as_str().unwrap_or("").to_owned();
        if content.contains("<@") && object["mentions"].as_array().is_none_or(Vec::is_empty) {
            let people = self.people.keys().chain([&BOT]);
            let named =
                people.filter(|id| content.contains(&format!("<@{id}>")) || content.contains(&format!("<@!{id}>")));
            object["mentions"] = named.map(|id| self.user(*id)).collect();
        }
        object["mention_everyone"] = json!(content.contains("@everyone"));
        let from_bot = author == BOT;
        let message = Message { channel, from_bot, object, edits: 0, deferred: false, ephemeral, nonce, at };
        self.messages.insert(id, message);
        if !ephemeral {
            self.announce("MESSAGE_CREATE", id);
        }
        if from_bot {
            self.stand(id, false);
        }
        id
    }

    /// Tells whoever watches how a message of the bot's stands there.
    pub fn stand(&self, id: u64, is_edit: bool) {
        let Some(message) = self.messages.get(&id) else { return };
        let rows = message.object["components"].as_array().into_iter().flatten();
        self.control.stand(|| Stood {
            typing: false,
            chat: message.channel.to_string(),
            message: id.to_string(),
            text: message.object["content"].as_str().unwrap_or_default().to_owned(),
            buttons: rows.map(|row| row["components"].as_array().map_or(0, Vec::len)).sum(),
            is_edit,
        });
    }

    /// Sends the event about a message to every session that asked for it.
    pub fn announce(&mut self, event: &str, id: u64) {
        let Some(message) = self.messages.get(&id) else { return };
        if self.channels.get(&message.channel).is_some_and(|channel| self.left.contains(&channel.guild)) {
            return;
        }
        let direct = self.channels.get(&message.channel).is_some_and(|channel| channel.kind == 1);
        let mut object = message.object.clone();
        if !direct {
            let guild = self.channels.get(&message.channel).map_or(GUILD, |channel| channel.guild);
            let author = object["author"]["id"].as_str().and_then(|id| id.parse().ok()).unwrap_or(0);
            object["guild_id"] = json!(guild.to_string());
            object["member"] = self.member(guild, author, false);
        }
        let mentioned = object["mentions"].as_array().is_some_and(|all| all.iter().any(is_bot));
        let open = direct || message.from_bot || mentioned;
        let wanted = if direct { DIRECT_MESSAGES } else { GUILD_MESSAGES };
        self.dispatch(event, |intents| {
            let mut object = (intents & wanted != 0).then(|| object.clone())?;
            if !open && intents & MESSAGE_CONTENT == 0 {
                object["content"] = json!("");
                for field in ["embeds", "attachments", "components"] {
                    object[field] = json!([]);
                }
                if let Some(object) = object.as_object_mut() {
                    // A forward is content too.
                    object.remove("message_snapshots");
                }
            }
            Some(object)
        });
    }

    /// Sends an event to every session for whose intents `seen` has something to show.
    pub fn dispatch(&mut self, event: &str, seen: impl Fn(u64) -> Option<Value>) {
        for session in self.sessions.values_mut() {
            if let Some(data) = seen(session.intents) {
                session.dispatch(event, &data);
            }
        }
    }

    /// A guild as GUILD_CREATE shows it.
    pub fn guild(&self, id: u64, name: &str) -> Value {
        let of_kind = |kind: u64| -> Vec<Value> {
            let here = self.channels.iter().filter(|(_, channel)| channel.kind == kind && channel.guild == id);
            let ids = here.map(|(id, _)| *id);
            ids.map(|id| self.channel(id)).collect()
        };
        json!({"id": id.to_string(), "name": name, "icon": null, "splash": null, "discovery_splash": null,
            "owner_id": "1", "afk_channel_id": null, "afk_timeout": 300, "verification_level": 0,
            "default_message_notifications": 0, "explicit_content_filter": 0, "emojis": [], "features": [],
            "roles": [{"id": id.to_string(), "name": "@everyone", "color": 0,
                "colors": {"primary_color": 0, "secondary_color": null, "tertiary_color": null}, "hoist": false, "position": 0,
                "permissions": EVERYBODY.to_string(), "managed": false, "mentionable": false, "flags": 0}],
            "mfa_level": 0, "application_id": null, "system_channel_id": null, "system_channel_flags": 0,
            "rules_channel_id": null, "vanity_url_code": null, "description": null, "banner": null, "premium_tier": 0,
            "preferred_locale": "en-US", "public_updates_channel_id": null, "nsfw_level": 0, "stickers": [],
            "premium_progress_bar_enabled": false, "joined_at": "2026-01-01T00:00:00+00:00", "large": false,
            "unavailable": false, "member_count": 2, "voice_states": [], "members": [self.member(id, BOT, true)],
            "channels": of_kind(0), "threads": of_kind(11), "presences": [], "stage_instances": [],
            "guild_scheduled_events": [], "safety_alerts_channel_id": null, "soundboard_sounds": []})
    }
}

impl Session {
    pub fn dispatch(&mut self, event: &str, data: &Value) {
        self.seq += 1;
        let payload = json!({"op": 0, "t": event, "s": self.seq, "d": data});
        self.events.push((self.seq, payload.clone()));
        // A connection that is gone is noticed by its own task; the event waits for a resume.
        if let Some(link) = &self.link {
            let _ = link.send(Down::Payload(payload));
        }
    }
}

/// Writes the fields of `from` over those of `into`.
pub(super) fn merge(into: &mut Value, from: &Value) {
    for (key, value) in from.as_object().into_iter().flatten() {
        into[key.as_str()] = value.clone();
    }
}

pub(super) fn iso(ms: i64) -> String {
    chrono::DateTime::from_timestamp_millis(ms).map(|time| time.to_rfc3339()).unwrap_or_default()
}

fn is_bot(user: &Value) -> bool {
    user["id"].as_str().and_then(|id| id.parse().ok()) == Some(BOT)
}
