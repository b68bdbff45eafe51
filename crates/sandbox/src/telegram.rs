//! A stand-in for api.telegram.org: the Bot API over loopback HTTP, and the hand of the people who write
//! to the bot. Owns the wire format of its own accord, as an independent witness: it uses nothing of the
//! product, and refuses what the real service refuses, in the same words.
//!
//! Not modelled: media groups, inline mode, business accounts, payments, Markdown as a parse mode, and
//! method calls in the answer to a webhook.

mod delivery;
mod html;
mod limits;
mod live;
mod media;
mod methods;
mod params;
mod server;
mod world;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::html::Formatted;
use self::world::{Chat, DATE, Message, State, World, chat_json};
use super::{Control, Served};

pub use self::live::live;

/// How the stand-in is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// 0: any free port.
    pub port: u16,
    /// The only token it takes; the number before the colon is the bot's id.
    pub token: String,
    /// Whether too many sends and edits are refused with 429.
    pub enforce_limits: bool,
    /// How many of them the bot has a second in all; Telegram grants 30, and more to who pays for it.
    pub per_second: f64,
    /// The same in one chat: 1 where time is not compressed. A group's allowance is in proportion to it.
    pub per_chat: f64,
}

impl Default for Settings {
    fn default() -> Self {
        let token = "4242424242:AAF_sandbox_sandbox_sandbox_sandbox".to_owned();
        Self { port: 0, token, enforce_limits: false, per_second: 30.0, per_chat: 1.0 }
    }
}

/// One message on a screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub message_id: i64,
    pub from_bot: bool,
    /// As a person sees it; the caption, if there is a file.
    pub text: String,
    /// As it was sent.
    pub html: String,
    /// How often it was edited.
    pub edits: usize,
    /// Label and `callback_data`.
    pub buttons: Vec<(String, String)>,
    pub reply_to: Option<i64>,
    /// The forum topic.
    pub thread: Option<i64>,
    /// Name and content of a picture.
    pub photo: Option<(String, Vec<u8>)>,
    /// Name and content of another file.
    pub document: Option<(String, Vec<u8>)>,
}

/// A running stand-in; it ends when dropped.
pub struct TelegramSandbox {
    pub served: Served,
    /// What was asked (`/bot***/sendMessage`), and the faults to make.
    pub control: Control,
    world: Arc<World>,
    _deliveries: DropGuard,
}

impl TelegramSandbox {
    /// The bot's name without `@`.
    pub const USERNAME: &str = world::BOT_USERNAME;

    /// # Errors
    /// When the port is taken.
    #[expect(clippy::disallowed_methods, reason = "a stand-in lives apart from the app, as the real service does")]
    pub async fn start(settings: Settings) -> std::io::Result<Self> {
        let control = Control::default();
        let world = Arc::new(World::new(&settings, control.clone()));
        let served = Served::start(settings.port, server::router(world.clone())).await?;
        let stop = CancellationToken::new();
        tokio::spawn(delivery::run(world.clone(), stop.clone()));
        Ok(TelegramSandbox { served, control, world, _deliveries: stop.drop_guard() })
    }

    /// The address to give the product as the Bot API's.
    pub fn url(&self) -> String {
        self.served.url()
    }

    /// A person writes a text. Ids of private chats are the person's own and positive, those of groups are
    /// negative. Returns the message's id.
    pub fn say(&self, chat: i64, user: i64, name: &str, text: &str) -> i64 {
        self.write(chat, user, name, text, None, None)
    }

    /// The same at that time, in epoch seconds: it waited since.
    pub fn say_at(&self, chat: i64, user: i64, text: &str, date: u64) -> i64 {
        let from = json!({"id": user, "is_bot": false, "first_name": format!("Person {user}")});
        self.write_from(chat, from, text, None, None, json!({"date": date}))
    }

    /// The same in a forum topic, which is there from then on.
    pub fn say_in_topic(&self, chat: i64, topic: i64, user: i64, name: &str, text: &str) -> i64 {
        self.write(chat, user, name, text, Some(topic), None)
    }

    /// The same as an answer to a message.
    pub fn reply(&self, chat: i64, user: i64, name: &str, to: i64, text: &str) -> i64 {
        self.write(chat, user, name, text, None, Some(to))
    }

    /// Any other update, as it is; it gets an `update_id` if it has none. Returns that.
    pub fn push(&self, update: Value) -> i64 {
        let id = self.world.state().push(update);
        self.world.ring();
        id
    }

    /// A message of a person comes again, in an update of its own: the same message all the same.
    pub fn redeliver(&self, chat: i64, message: i64) {
        let mut state = self.world.state();
        let found =
            state.chats.get(&chat).and_then(|place| Some(place.message_json(chat, place.messages.get(&message)?)));
        if let Some(mut update) = found {
            update["entities"] = found_entities(update["text"].as_str().unwrap_or_default());
            state.push(json!({"message": update}));
        }
        drop(state);
        self.world.ring();
    }

    /// The bot's messages in all chats, oldest first.
    pub fn shown_by_bot(&self) -> Vec<(i64, Shown)> {
        let state = self.world.state();
        let all = state.chats.iter().flat_map(|(id, chat)| chat.messages.values().map(move |message| (*id, message)));
        all.filter(|(_, message)| message.from_bot).map(|(id, message)| (id, shown(message))).collect()
    }

    /// A lie, for checks of whoever checks: the last message of the bot's stands there once more.
    pub fn double_last(&self) {
        let mut state = self.world.state();
        let id = state.new_message_id();
        let last = state.chats.values_mut().filter_map(|chat| {
            let message = chat.messages.values().rev().find(|message| message.from_bot)?.clone();
            Some((chat, message))
        });
        if let Some((chat, message)) = last.max_by_key(|(_, message)| message.id) {
            chat.messages.insert(id, Message { id, ..message });
        }
    }

    /// A person presses a button. Returns the id of the callback query. A message that is not there is
    /// pressed as one that is too old to be shown.
    pub fn press(&self, chat: i64, user: i64, message_id: i64, data: &str) -> String {
        let mut state = self.world.state();
        let id = state.new_press_id();
        let found = state.chats.get(&chat);
        let message =
            found.and_then(|found| found.messages.get(&message_id).map(|message| found.message_json(chat, message)));
        let message =
            message.unwrap_or_else(|| json!({"message_id": message_id, "date": 0, "chat": chat_json(chat, false)}));
        let from = json!({"id": user, "is_bot": false, "first_name": format!("Person {user}")});
        state.presses.insert(id.clone(), None);
        state.push(json!({"callback_query": {"id": id, "from": from, "message": message,
            "chat_instance": format!("instance-{chat}"), "data": data}}));
        drop(state);
        self.world.ring();
        id
    }

    /// Whether a press was answered; `None` if there was none or it has expired.
    pub fn answered(&self, press: &str) -> Option<bool> {
        self.world.state().presses.get(press).map(Option::is_some)
    }

    /// What whoever pressed was told, and nobody else; empty if the press was answered without a word.
    pub fn notice(&self, press: &str) -> Option<String> {
        self.world.state().presses.get(press).cloned().flatten()
    }

    /// Every notice that somebody saw who pressed.
    pub fn notices(&self) -> Vec<String> {
        self.world.state().presses.values().flatten().filter(|notice| !notice.is_empty()).cloned().collect()
    }

    /// Makes a press too old to be answered.
    pub fn expire(&self, press: &str) {
        self.world.state().presses.remove(press);
    }

    /// What stands in a chat, oldest first.
    pub fn screen(&self, chat: i64) -> Vec<Shown> {
        let state = self.world.state();
        state.chats.get(&chat).into_iter().flat_map(|chat| chat.messages.values()).map(shown).collect()
    }

    /// Waits until a chat looks as wanted. For tests: it has no timeout of its own.
    pub async fn until_shown(&self, chat: i64, wanted: impl Fn(&[Shown]) -> bool) {
        self.control.until(|_| wanted(&self.screen(chat))).await;
    }

    /// Updates the bot has not acknowledged.
    pub fn pending(&self) -> usize {
        self.world.state().updates.len()
    }

    /// Makes a chat known in which nobody has written yet.
    pub fn open(&self, chat: i64) {
        self.world.state().chats.entry(chat).or_default();
    }

    /// The person blocks the bot, or the group throws it out.
    pub fn block(&self, chat: i64) {
        self.set_blocked(chat, true);
    }

    /// The person takes that back, or the group takes the bot in again.
    pub fn unblock(&self, chat: i64) {
        self.set_blocked(chat, false);
    }

    /// The same without the update that tells of it, as of a group that is deleted.
    pub fn close(&self, chat: i64) {
        self.world.state().chats.entry(chat).or_default().blocked = true;
    }

    /// Both before the bot hears of either.
    pub fn block_and_unblock(&self, chat: i64) {
        let mut state = self.world.state();
        self.push_blocked(&mut state, chat, true);
        self.push_blocked(&mut state, chat, false);
        drop(state);
        self.world.ring();
    }

    fn set_blocked(&self, chat: i64, blocked: bool) {
        self.push_blocked(&mut self.world.state(), chat, blocked);
        self.world.ring();
    }

    fn push_blocked(&self, state: &mut State, chat: i64, blocked: bool) {
        state.chats.entry(chat).or_default().blocked = blocked;
        let bot = self.world.bot_user();
        let member = |is_there: bool| match is_there {
            true => json!({"user": bot, "status": "member"}),
            false => json!({"user": bot, "status": "kicked", "until_date": 0}),
        };
        let from = json!({"id": chat.max(1), "is_bot": false, "first_name": "Person"});
        state.push(json!({"my_chat_member": {"chat": chat_json(chat, false), "from": from, "date": DATE,
            "old_chat_member": member(blocked), "new_chat_member": member(!blocked)}}));
    }

    /// A forum topic is deleted, with what stood in it.
    pub fn close_topic(&self, chat: i64, topic: i64) {
        if let Some(chat) = self.world.state().chats.get_mut(&chat) {
            chat.topics.remove(&topic);
            chat.messages.retain(|_, message| message.thread != Some(topic));
        }
    }

    /// A group becomes a supergroup. The bot is not told of it yet.
    pub fn migrate(&self, group: i64, supergroup: i64) {
        let mut state = self.world.state();
        state.chats.entry(group).or_default().migrated = Some(supergroup);
        state.chats.entry(supergroup).or_default();
    }

    /// The service messages about that, one in each chat.
    pub fn tell_of_migration(&self, group: i64, supergroup: i64) {
        let mut state = self.world.state();
        let from = json!({"id": 1_087_968_824, "is_bot": true, "first_name": "Group", "username": "GroupAnonymousBot"});
        for (chat, field, other) in
            [(group, "migrate_to_chat_id", supergroup), (supergroup, "migrate_from_chat_id", group)]
        {
            let id = state.new_message_id();
            let mut message = json!({"message_id": id, "date": DATE, "chat": chat_json(chat, false), "from": from,
                "sender_chat": chat_json(chat, false)});
            message[field] = json!(other);
            state.push(json!({"message": message}));
        }
        drop(state);
        self.world.ring();
    }

    /// Somebody writes in a group as a chat: as the group itself, which its admins may do, or as a channel.
    pub fn say_as(&self, chat: i64, sender: i64, text: &str) -> i64 {
        let (from, sender) = match sender == chat {
            true => ((1_087_968_824, "GroupAnonymousBot"), chat_json(chat, false)),
            false => ((136_817_688, "Channel_Bot"), json!({"id": sender, "type": "channel", "title": "A channel"})),
        };
        let from = json!({"id": from.0, "is_bot": true, "first_name": "Group", "username": from.1});
        self.write_from(chat, from, text, None, None, json!({"sender_chat": sender}))
    }

    /// A person edits what they wrote.
    pub fn edit(&self, chat: i64, message: i64, text: &str) {
        let mut state = self.world.state();
        let Some(place) = state.chats.get_mut(&chat) else { return };
        let Some(written) = place.messages.get_mut(&message) else { return };
        written.formatted.text = text.to_owned();
        written.edits += 1;
        let written = written.clone();
        let mut update = place.message_json(chat, &written);
        update["entities"] = found_entities(text);
        state.push(json!({"edited_message": update}));
        drop(state);
        self.world.ring();
    }

    /// The first pause before a failed webhook delivery is repeated (the real service: 1 s).
    pub fn set_webhook_retry(&self, pause: Duration) {
        self.world.state().webhook_retry = pause;
    }

    /// Whether the bot hears in groups only what is meant for it. Only `getMe` tells; this hand delivers all.
    pub fn set_privacy_mode(&self, on: bool) {
        self.world.state().privacy_mode = on;
    }

    /// The menu of commands of a scope (`default`, `all_private_chats`, …).
    pub fn commands(&self, scope: &str) -> Vec<String> {
        let state = self.world.state();
        let list = state.commands.get(scope).and_then(Value::as_array).cloned().unwrap_or_default();
        list.iter().filter_map(|command| command["command"].as_str().map(str::to_owned)).collect()
    }

    fn write(&self, chat: i64, user: i64, name: &str, text: &str, topic: Option<i64>, reply: Option<i64>) -> i64 {
        let from = json!({"id": user, "is_bot": false, "first_name": name});
        self.write_from(chat, from, text, topic, reply, json!({}))
    }

    /// The same of any sender, with more fields of the message.
    fn write_from(
        &self,
        chat: i64,
        from: Value,
        text: &str,
        topic: Option<i64>,
        reply: Option<i64>,
        more: Value,
    ) -> i64 {
        let mut state = self.world.state();
        let id = state.new_message_id();
        let place: &mut Chat = state.chats.entry(chat).or_default();
        place.topics.extend(topic);
        let message = Message {
            id,
            from,
            from_bot: false,
            formatted: Formatted { text: text.to_owned(), entities: Vec::new() },
            raw: text.to_owned(),
            edits: 0,
            buttons: Vec::new(),
            reply_to: reply,
            thread: topic,
            media: None,
        };
        let mut update = place.message_json(chat, &message);
        place.messages.insert(id, message);
        update["entities"] = found_entities(text);
        #[allow(clippy::disallowed_methods, reason = "a stand-in has the time of the world, not of the product")]
        let now = chrono::Utc::now();
        update["date"] = json!(now.timestamp());
        for (field, value) in more.as_object().into_iter().flatten() {
            update[field.as_str()] = value.clone();
        }
        state.push(json!({"message": update}));
        drop(state);
        self.world.ring();
        id
    }
}

fn shown(message: &Message) -> Shown {
    let file = |photo: bool| {
        let media = message.media.as_ref().filter(|media| media.photo == photo);
        media.map(|media| (media.name.clone(), media.content.clone()))
    };
    Shown {
        message_id: message.id,
        from_bot: message.from_bot,
        text: message.formatted.text.clone(),
        html: message.raw.clone(),
        edits: message.edits,
        buttons: message.buttons.clone(),
        reply_to: message.reply_to,
        thread: message.thread,
        photo: file(true),
        document: file(false),
    }
}

/// What the real service finds in a plain text by itself: addresses, mentions, commands.
fn found_entities(text: &str) -> Value {
    let mut found = Vec::new();
    let mut units = 0;
    for word in text.split_inclusive(char::is_whitespace) {
        let offset = units;
        units += word.encode_utf16().count();
        let word = word.trim_end().trim_end_matches(['.', ',', ':', ';', '!', '?', ')', '"']);
        let kind = match word.split_at_checked(1) {
            Some(("@", name)) if name.len() >= 3 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') => {
                "mention"
            }
            Some(("/", name)) if !name.is_empty() && !name.contains(['/', '.']) => "bot_command",
            _ if word.contains("://") || word.starts_with("www.") || word.contains(".com/") => "url",
            _ => continue,
        };
        found.push(json!({"type": kind, "offset": offset, "length": word.encode_utf16().count()}));
    }
    Value::Array(found)
}
