//! What the stand-in remembers: chats with their messages, updates that wait for the bot, who may have
//! them. Owns the state and how it looks as JSON; never answers a request.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::Notify;

use super::Settings;
use super::html::Formatted;
use super::limits::Limits;
use super::media::{self, Media};
use crate::Control;

/// The `date` of every message: what is shown must be the same in every run.
pub(super) const DATE: i64 = 1_790_000_000;
/// The bot's name, as `getMe` tells it.
pub(super) const BOT_USERNAME: &str = "reelcoach_bot";

pub(super) struct World {
    pub token: String,
    pub enforce_limits: bool,
    pub control: Control,
    /// Rings when there are updates, or other rules for having them.
    pub changed: Notify,
    state: Mutex<State>,
}

pub(super) struct State {
    pub chats: BTreeMap<i64, Chat>,
    pub updates: VecDeque<(i64, Value)>,
    /// The kinds the bot asked for last; `None`: all.
    pub allowed: Option<Vec<String>>,
    /// How many `getUpdates` there were: only the latest may wait.
    pub polls: u64,
    pub webhook: Option<Webhook>,
    pub webhook_retry: Duration,
    pub webhook_error: Option<String>,
    /// Queues with a delivery under way.
    pub in_flight: HashSet<i64>,
    /// Presses, and with which words they were answered; an expired one is gone.
    pub presses: HashMap<String, Option<String>>,
    pub commands: BTreeMap<String, Value>,
    pub limits: Limits,
    pub privacy_mode: bool,
    next_update: i64,
    next_message: i64,
    next_press: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Webhook {
    pub url: String,
    pub secret: Option<String>,
    pub max_connections: usize,
}

#[derive(Debug, Default)]
pub(super) struct Chat {
    pub messages: BTreeMap<i64, Message>,
    pub topics: BTreeSet<i64>,
    pub blocked: bool,
    /// The supergroup this group has become.
    pub migrated: Option<i64>,
}

#[derive(Clone, Debug)]
pub(super) struct Message {
    pub id: i64,
    /// The sender as a `User`.
    pub from: Value,
    pub from_bot: bool,
    pub formatted: Formatted,
    /// As it was sent, markup included.
    pub raw: String,
    pub edits: usize,
    /// Label and `callback_data` of each button.
    pub buttons: Vec<(String, String)>,
    pub reply_to: Option<i64>,
    pub thread: Option<i64>,
    pub media: Option<Media>,
}

impl World {
    pub fn new(settings: &Settings, control: Control) -> Self {
        let state = State {
            chats: BTreeMap::new(),
            updates: VecDeque::new(),
            allowed: None,
            polls: 0,
            webhook: None,
            webhook_retry: Duration::from_secs(1),
            webhook_error: None,
            in_flight: HashSet::new(),
            presses: HashMap::new(),
            commands: BTreeMap::new(),
            limits: Limits::new(settings.per_second, settings.per_chat, Instant::now()),
            privacy_mode: false,
            next_update: 700_000_001,
            next_message: 101,
            next_press: 5_000_000_000_000_001,
        };
        let (token, enforce_limits) = (settings.token.clone(), settings.enforce_limits);
        World { token, enforce_limits, control, changed: Notify::new(), state: Mutex::new(state) }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes whoever waits for updates or looks at a screen. Not while [`World::state`] is held.
    pub fn ring(&self) {
        self.changed.notify_waiters();
        self.control.touch();
    }

    /// The bot as a `User`: its id is the number at the head of its token.
    pub fn bot_user(&self) -> Value {
        let id: i64 = self.token.split(':').next().and_then(|id| id.parse().ok()).unwrap_or(1);
        json!({"id": id, "is_bot": true, "first_name": "Reel Coach", "username": BOT_USERNAME})
    }
}

impl State {
    pub fn new_message_id(&mut self) -> i64 {
        self.next_message += 1;
        self.next_message - 1
    }

    pub fn new_press_id(&mut self) -> String {
        self.next_press += 1;
        (self.next_press - 1).to_string()
    }

    /// Puts an update into the queue, unless the bot did not ask for its kind. Gives it an id if it has
    /// none, and returns that.
    pub fn push(&mut self, mut update: Value) -> i64 {
        let id = update.get("update_id").and_then(Value::as_i64).unwrap_or(self.next_update);
        self.next_update = self.next_update.max(id + 1);
        if let Some(update) = update.as_object_mut() {
            update.insert("update_id".to_owned(), json!(id));
        }
        let wanted = self.allowed.as_ref().is_none_or(|allowed| {
            let kinds = update.as_object().into_iter().flatten().map(|(key, _)| key);
            kinds.filter(|key| *key != "update_id").all(|kind| allowed.contains(kind))
        });
        if wanted {
            self.updates.push_back((id, update));
        }
        id
    }
}

/// A chat as the Bot API shows it: positive ids are people, ids below -10^12 supergroups.
pub(super) fn chat_json(chat: i64, forum: bool) -> Value {
    match chat {
        1.. => json!({"id": chat, "type": "private", "first_name": format!("Person {chat}")}),
        ..=-1_000_000_000_000 if forum => {
            json!({"id": chat, "type": "supergroup", "title": "A forum", "is_forum": true})
        }
        ..=-1_000_000_000_000 => json!({"id": chat, "type": "supergroup", "title": "A supergroup"}),
        _ => json!({"id": chat, "type": "group", "title": "A group", "all_members_are_administrators": true}),
    }
}

impl Chat {
    /// A message as the Bot API shows it, with the message it answers one level deep.
    pub fn message_json(&self, chat: i64, message: &Message) -> Value {
        let mut shown = self.shallow_json(chat, message);
        // Without an answered message, the first message of the topic stands there.
        let answered = message.reply_to.and_then(|id| self.messages.get(&id));
        if let Some(answered) = answered {
            shown["reply_to_message"] = self.shallow_json(chat, answered);
        } else if let Some(topic) = message.thread {
            let from = json!({"id": 99, "is_bot": false, "first_name": "Owner"});
            shown["reply_to_message"] = json!({"message_id": topic, "from": from, "chat": chat_json(chat, true),
                "date": DATE, "message_thread_id": topic, "is_topic_message": true,
                "forum_topic_created": {"name": "A topic", "icon_color": 7_322_096}});
        }
        shown
    }

    fn shallow_json(&self, chat: i64, message: &Message) -> Value {
        let mut shown = json!({
            "message_id": message.id,
            "from": message.from,
            "chat": chat_json(chat, !self.topics.is_empty()),
            "date": DATE,
        });
        let (text, entities) = match &message.media {
            Some(media) => {
                let (field, object) = media::object(message.id, media);
                shown[field] = object;
                ("caption", "caption_entities")
            }
            None => ("text", "entities"),
        };
        if !message.formatted.text.is_empty() || text == "text" {
            shown[text] = json!(message.formatted.text);
        }
        let all: Vec<Value> = message.formatted.entities.iter().map(entity_json).collect();
        if !all.is_empty() {
            shown[entities] = Value::Array(all);
        }
        if message.edits > 0 {
            shown["edit_date"] = json!(DATE + 1);
        }
        if let Some(topic) = message.thread {
            shown["message_thread_id"] = json!(topic);
            shown["is_topic_message"] = json!(true);
        }
        if !message.buttons.is_empty() {
            let row: Vec<Value> =
                message.buttons.iter().map(|(label, data)| json!({"text": label, "callback_data": data})).collect();
            shown["reply_markup"] = json!({"inline_keyboard": [row]});
        }
        shown
    }
}

fn entity_json(entity: &super::html::Entity) -> Value {
    let mut shown = json!({"type": entity.kind, "offset": entity.offset, "length": entity.length});
    match entity.kind {
        "text_link" => shown["url"] = json!(entity.argument),
        "custom_emoji" => shown["custom_emoji_id"] = json!(entity.argument),
        "pre" if !entity.argument.is_empty() => shown["language"] = json!(entity.argument),
        _ => {}
    }
    shown
}
