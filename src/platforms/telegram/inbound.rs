//! Turns one message or press of the Bot API into an [`Inbound`]. Owns what is read of it; never talks to
//! anybody. The types here are narrow on purpose: teloxide 0.17 knows Bot API 9.1 and refuses a whole
//! message for one entity or field it does not know, and then a person would get no answer.

use std::ops::Range;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::Me;
use crate::clock::Timestamp;
use crate::core::chat::{Addressed, Author, Inbound};
use crate::core::command::{self, is_known};
use crate::ids::{ChatId, MessageRef, Platform};

/// What stands before the id of a button press in its [`MessageRef`].
const PRESS: &str = "cb";

/// Fields of a message that stand for something a person sent beside text. A message holds at most one
/// of them (an animation comes as `document` too); an album is several messages.
const ATTACHMENTS: [&str; 19] = [
    "photo",
    "video",
    "document",
    "voice",
    "audio",
    "video_note",
    "animation",
    "sticker",
    "story",
    "paid_media",
    "live_photo",
    "contact",
    "location",
    "venue",
    "poll",
    "dice",
    "game",
    "checklist",
    "invoice",
];

/// The id of the press that this is of, if it is one.
pub(super) fn press_of(message: &MessageRef) -> Option<&str> {
    message.id.strip_prefix(PRESS)
}

/// The old and the new id of a group, if the message says that it became a supergroup.
pub(super) fn moved(message: &Message) -> Option<(ChatId, ChatId)> {
    let (from, to) = match (message.migrate_to_chat_id, message.migrate_from_chat_id) {
        (Some(to), _) => (message.chat.id, to),
        (None, Some(from)) => (from, message.chat.id),
        (None, None) => return None,
    };
    Some((chat_id(from, None), chat_id(to, None)))
}

#[derive(Deserialize)]
pub(super) struct Message {
    message_id: i64,
    /// Epoch seconds.
    date: Option<i64>,
    message_thread_id: Option<i64>,
    #[serde(default)]
    is_topic_message: bool,
    from: Option<User>,
    /// The group itself for an anonymous admin, or a channel.
    sender_chat: Option<Chat>,
    #[serde(default)]
    is_automatic_forward: bool,
    chat: Chat,
    migrate_to_chat_id: Option<i64>,
    migrate_from_chat_id: Option<i64>,
    reply_to_message: Option<Replied>,
    text: Option<String>,
    caption: Option<String>,
    #[serde(default, deserialize_with = "those_that_fit")]
    entities: Vec<Entity>,
    #[serde(default, deserialize_with = "those_that_fit")]
    caption_entities: Vec<Entity>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Deserialize)]
struct Replied {
    message_id: i64,
    from: Option<User>,
}

#[derive(Deserialize)]
pub(super) struct Press {
    id: String,
    from: User,
    /// Also when it is too old to be shown (`InaccessibleMessage`): chat and id are there all the same.
    message: Option<Pressed>,
    data: Option<String>,
}

#[derive(Deserialize)]
struct Pressed {
    message_id: i64,
    message_thread_id: Option<i64>,
    #[serde(default)]
    is_topic_message: bool,
    chat: Chat,
}

#[derive(Deserialize)]
struct User {
    id: i64,
    #[serde(default)]
    is_bot: bool,
    #[serde(default)]
    first_name: String,
    last_name: Option<String>,
}

#[derive(Deserialize)]
struct Chat {
    id: i64,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Entity {
    #[serde(rename = "type")]
    kind: String,
    /// In UTF-16 units, as `length`.
    offset: usize,
    length: usize,
    url: Option<String>,
    user: Option<User>,
}

fn those_that_fit<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Entity>, D::Error> {
    let all = Vec::<Value>::deserialize(from)?;
    Ok(all.into_iter().filter_map(|entity| Entity::deserialize(entity).ok()).collect())
}

/// What a person said, or `None` for what is not for the bot: other bots, service messages, channels, small talk without a
/// link or text.
pub(super) fn said(message: Message, me: &Me, at: Timestamp) -> Option<Inbound> {
    let private = message.chat.kind == "private";
    // What a channel posts appears in its group by itself: nobody says it to the bot.
    if message.chat.kind == "channel" || message.is_automatic_forward {
        return None;
    }
    let is_person = message.sender_chat.is_none();
    let author = match message.sender_chat {
        Some(chat) => Author { account: chat.id.to_string(), name: String::new() },
        None => author(message.from.filter(|user| !user.is_bot)?),
    };
    let attachments = u32::from(ATTACHMENTS.iter().any(|kind| message.rest.contains_key(*kind)));
    let (text, entities) = match (message.text, message.caption) {
        (Some(text), _) => (text, message.entities),
        (None, Some(caption)) => (caption, message.caption_entities),
        (None, None) if attachments > 0 => (String::new(), Vec::new()),
        (None, None) => return None,
    };

    let links = links(&text, &entities);
    let mentions = mentions(&text, &entities, me);
    let mut text_left = without(&text, &mentions);
    let mut addressed = if private { Addressed::Direct } else { Addressed::Overheard };
    let meant = if private { Addressed::Direct } else { Addressed::Mentioned };
    if !mentions.is_empty() {
        addressed = meant;
    }

    // In a topic the first message of the topic stands as the one answered when there is none.
    let root = message.message_thread_id.filter(|_| message.is_topic_message);
    let replied = message.reply_to_message.filter(|replied| root != Some(replied.message_id));
    if replied.as_ref().and_then(|replied| replied.from.as_ref()).is_some_and(|user| user.id == me.id) {
        addressed = meant;
    }

    let command = Command::read(&text_left);
    let atomic = command.is_some();
    if let Some(Command { name, to, rest }) = command {
        match to {
            Some(to) if to.eq_ignore_ascii_case(&me.username) => {
                addressed = meant;
                text_left = format!("/{name}{rest}");
            }
            Some(_) if !private => return None,
            None if is_known(name) => addressed = meant,
            Some(_) | None => {}
        }
    }
    let is_small_talk = text_left.is_empty() && links.is_empty();
    if addressed == Addressed::Overheard && (is_small_talk || !is_person) {
        return None;
    }

    let chat = chat_id(message.chat.id, root);
    Some(Inbound {
        message: MessageRef::new(chat.clone(), message.message_id.to_string()),
        author,
        guild: None,
        text: text_left,
        links,
        attachments,
        reply_to: replied.map(|replied| MessageRef::new(chat, replied.message_id.to_string())),
        addressed,
        placeholder: None,
        atomic,
        at,
        sent_at: message.date.map(|seconds| Timestamp(seconds.saturating_mul(1000))),
    })
}

/// What a person pressed.
pub(super) fn pressed(press: Press, at: Timestamp) -> Option<Inbound> {
    let (message, text) = (press.message?, press.data?);
    if press.from.is_bot {
        return None;
    }
    let chat = chat_id(message.chat.id, message.message_thread_id.filter(|_| message.is_topic_message));
    let own = MessageRef::new(chat.clone(), format!("{PRESS}{}", press.id));
    // Telegram waits for the answer to a press, but not as long as the coach may take.
    let placeholder = (!command::Command::read(&text).asks_the_coach()).then(|| own.clone());
    Some(Inbound {
        message: own,
        author: author(press.from),
        guild: None,
        text,
        links: Vec::new(),
        attachments: 0,
        reply_to: Some(MessageRef::new(chat, message.message_id.to_string())),
        addressed: Addressed::Direct,
        placeholder,
        atomic: true,
        at,
        // The date that comes with a press is that of the message with the button.
        sent_at: None,
    })
}

pub(super) fn chat_id(chat: i64, topic: Option<i64>) -> ChatId {
    let key = topic.map_or_else(|| chat.to_string(), |topic| format!("{chat}/{topic}"));
    ChatId::new(Platform::Telegram, key)
}

fn author(user: User) -> Author {
    let name = match user.last_name {
        Some(last) => format!("{} {last}", user.first_name),
        None => user.first_name,
    };
    Author { account: user.id.to_string(), name: name.trim().to_owned() }
}

/// Every address in the text: those written out, and those behind a word (`text_link`).
fn links(text: &str, entities: &[Entity]) -> Vec<String> {
    let mut links: Vec<String> = Vec::new();
    for entity in entities {
        let link = match entity.kind.as_str() {
            "text_link" => entity.url.clone(),
            "url" => span(text, entity).and_then(|range| text.get(range)).map(str::to_owned),
            _ => None,
        };
        links.extend(link.filter(|link| !links.contains(link)));
    }
    links
}

/// Where the bot is mentioned, in bytes, in order.
fn mentions(text: &str, entities: &[Entity], me: &Me) -> Vec<Range<usize>> {
    let is_me = |entity: &Entity, range: &Range<usize>| match entity.kind.as_str() {
        "mention" => text
            .get(range.clone())
            .and_then(|word| word.strip_prefix('@'))
            .is_some_and(|name| name.eq_ignore_ascii_case(&me.username)),
        "text_mention" => entity.user.as_ref().is_some_and(|user| user.id == me.id),
        _ => false,
    };
    let mut found: Vec<Range<usize>> = entities
        .iter()
        .filter_map(|entity| Some((entity, span(text, entity)?)))
        .filter(|(entity, range)| is_me(entity, range))
        .map(|(_, range)| range)
        .collect();
    found.sort_by_key(|range| range.start);
    found.dedup_by(|next, kept| next.start < kept.end);
    found
}

/// An entity's place in bytes; `None` if it lies outside the text or inside a character.
fn span(text: &str, entity: &Entity) -> Option<Range<usize>> {
    let end = entity.offset.checked_add(entity.length)?;
    let mut units = 0;
    let mut bytes = 0;
    let mut start = (entity.offset == 0).then_some(0);
    let mut chars = text.chars();
    while units < end {
        let char = chars.next()?;
        units += char.len_utf16();
        bytes += char.len_utf8();
        if units == entity.offset {
            start = Some(bytes);
        }
    }
    (units == end).then_some(start?..bytes)
}

/// The text without these parts, and without the white space and punctuation that only served them.
fn without(text: &str, parts: &[Range<usize>]) -> String {
    let mut left = String::with_capacity(text.len());
    let mut from = 0;
    for part in parts {
        left.push_str(&text[from..part.start]);
        let after = &text[part.end..];
        let needless = |c: char| c == ' ' || c == '\n';
        let at_start = left.trim().is_empty();
        from = part.end;
        if at_start {
            left.clear();
            from += after.len() - after.trim_start_matches([' ', '\n', ',', ':']).len();
        } else if left.ends_with(needless) && after.chars().next().is_none_or(|c| needless(c) || ",.!?:;".contains(c)) {
            left.pop();
        }
    }
    left.push_str(&text[from..]);
    left.trim().to_owned()
}

/// A text that begins with a command: `/name`, `/name@bot`, both perhaps with more behind.
struct Command<'t> {
    name: &'t str,
    to: Option<&'t str>,
    /// With the white space before it.
    rest: &'t str,
}

impl<'t> Command<'t> {
    fn read(text: &'t str) -> Option<Self> {
        let (word, rest) = text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()));
        let word = word.strip_prefix('/')?;
        let (name, to) = word.split_once('@').map_or((word, None), |(name, to)| (name, Some(to)));
        let fits = (1..=32).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        fits.then_some(Command { name, to, rest })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::update::{Undecodable, Update, translate};
    use super::*;

    fn me() -> Me {
        Me { id: 1, username: "CoachBot".to_owned(), can_read_all_group_messages: true }
    }

    /// A message from Ann (7) in a private chat, or in the group -5, with these fields laid over it.
    fn message(group: bool, fields: Value) -> Value {
        let chat = if group { json!({"id": -5, "type": "supergroup"}) } else { json!({"id": 7, "type": "private"}) };
        let from = json!({"id": 7, "is_bot": false, "first_name": "Ann", "last_name": "Lee"});
        let mut message = json!({"message_id": 20, "date": 1, "chat": chat, "from": from});
        message.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        json!({"update_id": 9, "message": message})
    }

    fn read(update: Value) -> Option<Inbound> {
        match translate(update, &me(), Timestamp(5)).unwrap()? {
            Update::Said(inbound) => Some(*inbound),
            Update::Moved { .. } | Update::Presence { .. } => None,
        }
    }

    fn in_group(fields: Value) -> Option<Inbound> {
        read(message(true, fields))
    }

    #[test]
    fn a_private_message_is_direct() {
        let inbound = read(message(false, json!({"text": "hello"}))).unwrap();
        let chat: ChatId = "telegram:7".parse().unwrap();
        assert_eq!(
            inbound,
            Inbound {
                message: MessageRef::new(chat, "20"),
                author: Author { account: "7".to_owned(), name: "Ann Lee".to_owned() },
                guild: None,
                text: "hello".to_owned(),
                links: vec![],
                attachments: 0,
                reply_to: None,
                addressed: Addressed::Direct,
                placeholder: None,
                atomic: false,
                at: Timestamp(5),
                sent_at: Some(Timestamp(1000)),
            }
        );
    }

    #[test]
    fn in_a_group_only_what_is_meant_for_the_bot_is_addressed() {
        let mention = |offset: usize, length: usize| json!([{"type": "mention", "offset": offset, "length": length}]);
        for (fields, text, addressed, atomic) in [
            (json!({"text": "just talk"}), "just talk", Addressed::Overheard, false),
            (
                json!({"text": "@coachbot what now?", "entities": mention(0, 9)}),
                "what now?",
                Addressed::Mentioned,
                false,
            ),
            (
                json!({"text": "😀😀 hey @CoachBot, look", "entities": mention(9, 9)}),
                "😀😀 hey, look",
                Addressed::Mentioned,
                false,
            ),
            (json!({"text": "@CoachBot: hi", "entities": mention(0, 9)}), "hi", Addressed::Mentioned, false),
            (json!({"text": "@CoachBot", "entities": mention(0, 9)}), "", Addressed::Mentioned, false),
            // Another name that begins in the same way, and the name without being a mention.
            (
                json!({"text": "@CoachBot2 hi", "entities": mention(0, 10)}),
                "@CoachBot2 hi",
                Addressed::Overheard,
                false,
            ),
            (json!({"text": "x@CoachBot.com"}), "x@CoachBot.com", Addressed::Overheard, false),
            (
                json!({"text": "Coach hi", "entities": [{"type": "text_mention", "offset": 0, "length": 5,
                       "user": {"id": 1, "is_bot": true, "first_name": "Coach"}}]}),
                "hi",
                Addressed::Mentioned,
                false,
            ),
            (
                json!({"text": "and then?", "reply_to_message": {"message_id": 3, "from": {"id": 1, "is_bot": true}}}),
                "and then?",
                Addressed::Mentioned,
                false,
            ),
            (
                json!({"text": "and then?", "reply_to_message": {"message_id": 3, "from": {"id": 8, "is_bot": false}}}),
                "and then?",
                Addressed::Overheard,
                false,
            ),
            (json!({"text": "/reel https://x"}), "/reel https://x", Addressed::Mentioned, true),
            (json!({"text": "/queue@coachbot now"}), "/queue now", Addressed::Mentioned, true),
            (json!({"text": "/anything@CoachBot"}), "/anything", Addressed::Mentioned, true),
            (
                json!({"text": "@CoachBot /cancel x", "entities": mention(0, 9)}),
                "/cancel x",
                Addressed::Mentioned,
                true,
            ),
            (json!({"text": "/weather"}), "/weather", Addressed::Overheard, true),
            (json!({"text": "/usr/bin"}), "/usr/bin", Addressed::Overheard, false),
        ] {
            let inbound = in_group(fields.clone()).unwrap();
            assert_eq!(
                (inbound.text.as_str(), inbound.addressed, inbound.atomic),
                (text, addressed, atomic),
                "{fields}"
            );
        }
    }

    #[test]
    fn what_is_not_for_the_bot_is_passed_over() {
        let from_bot = json!({"id": 1_087_968_824, "is_bot": true, "first_name": "Group"});
        for update in [
            message(true, json!({"text": "/reel@OtherBot https://x"})),
            message(true, json!({"text": "as admin", "from": from_bot})),
            message(true, json!({"text": "as channel", "sender_chat": {"id": -9, "type": "channel"}})),
            message(true, json!({"text": "x", "chat": {"id": -9, "type": "channel"}})),
            message(true, json!({"photo": [{"file_id": "x"}]})),
            message(false, json!({"new_chat_title": "x"})),
            message(false, json!({"text": "x", "from": null})),
            json!({"update_id": 1, "edited_message": {"message_id": 1, "text": "again"}}),
            json!({"update_id": 1, "channel_post": {"message_id": 1}}),
            json!({"update_id": 1, "chat_member": {}}),
            json!({"update_id": 1, "a_kind_of_the_future": [1]}),
            json!({"update_id": 1}),
            json!({"update_id": 1, "callback_query": {"id": "1", "from": {"id": 7}, "game_short_name": "x"}}),
        ] {
            assert_eq!(read(update.clone()), None, "{update}");
        }
    }

    #[test]
    fn a_private_chat_takes_every_text_and_every_attachment() {
        let inbound = read(message(false, json!({"text": "/start abc"}))).unwrap();
        assert_eq!((inbound.text.as_str(), inbound.atomic), ("/start abc", true));
        let inbound = read(message(false, json!({"voice": {"file_id": "x"}}))).unwrap();
        assert_eq!((inbound.text.as_str(), inbound.attachments), ("", 1));
        let both = json!({"animation": {"file_id": "x"}, "document": {"file_id": "x"}, "caption": "see"});
        let inbound = read(message(false, both)).unwrap();
        assert_eq!((inbound.text.as_str(), inbound.attachments), ("see", 1));
        let forwarded = json!({"text": "read this", "forward_origin": {"type": "channel"}});
        assert_eq!(read(message(false, forwarded)).unwrap().text, "read this");
    }

    #[test]
    fn links_are_found_behind_words_in_captions_and_after_emoji() {
        let text = "😀 instagram.com/p/abcde and here";
        let entities = json!([
            {"type": "url", "offset": 3, "length": 21},
            {"type": "text_link", "offset": 29, "length": 4, "url": "https://instagram.com/reel/fghij/"},
            {"type": "text_link", "offset": 29, "length": 4, "url": "https://instagram.com/reel/fghij/"},
            {"type": "date_time", "offset": 0, "length": 2, "unix_time": 1},
            {"type": "url", "offset": 1, "length": 3},
            {"type": "url", "offset": 900, "length": 3},
            {"type": "url", "offset": usize::MAX, "length": 3},
            {"nonsense": true},
        ]);
        let wanted = ["instagram.com/p/abcde", "https://instagram.com/reel/fghij/"];
        let inbound = in_group(json!({"text": text, "entities": entities})).unwrap();
        assert_eq!(inbound.links, wanted);
        assert_eq!((inbound.text.as_str(), inbound.addressed), (text, Addressed::Overheard));
        let inbound = in_group(json!({"caption": text, "caption_entities": entities, "video": {}})).unwrap();
        assert_eq!(inbound.links, wanted);
    }

    #[test]
    fn a_topic_is_a_chat_of_its_own_and_its_root_is_no_reply() {
        let topic = json!({"text": "hi", "message_thread_id": 4, "is_topic_message": true,
                           "reply_to_message": {"message_id": 4, "from": {"id": 1, "is_bot": true}}});
        let inbound = in_group(topic).unwrap();
        assert_eq!(inbound.message.chat.key, "-5/4");
        assert_eq!((inbound.reply_to, inbound.addressed), (None, Addressed::Overheard));
        // A thread of replies outside a forum is not a topic.
        let replies = json!({"text": "hi", "message_thread_id": 4, "reply_to_message": {"message_id": 4}});
        let inbound = in_group(replies).unwrap();
        assert_eq!(inbound.message.chat.key, "-5");
        assert_eq!(inbound.reply_to.unwrap().id, "4");
    }

    #[test]
    fn a_press_is_its_data_also_under_a_message_that_is_out_of_sight() {
        for message in [
            json!({"message_id": 3, "date": 5, "chat": {"id": -5, "type": "supergroup"}, "text": "x"}),
            json!({"message_id": 3, "date": 0, "chat": {"id": -5, "type": "supergroup"}}),
        ] {
            let press = json!({"id": "77", "from": {"id": 7, "first_name": "Ann"}, "message": message,
                               "chat_instance": "1", "data": "/cancel 0192"});
            let inbound = read(json!({"update_id": 1, "callback_query": press})).unwrap();
            assert_eq!((inbound.message.id.as_str(), inbound.text.as_str()), ("cb77", "/cancel 0192"));
            assert_eq!(inbound.reply_to.unwrap().id, "3");
            assert_eq!((inbound.addressed, inbound.atomic), (Addressed::Direct, true));
        }
    }

    #[test]
    fn an_unknown_shape_is_an_error_that_tells_nothing() {
        let error = translate(message(false, json!({"text": ["secret"]})), &me(), Timestamp(0)).unwrap_err();
        assert_eq!(error, Undecodable::UnknownShape { update_id: 9, kind: "message" });
        assert!(!format!("{error} {error:?}").contains("secret"));
        for not_one in [json!({}), json!([]), json!("x"), json!({"update_id": "1"}), Value::Null] {
            assert_eq!(translate(not_one, &me(), Timestamp(0)), Err(Undecodable::NotAnUpdate));
        }
    }

    proptest! {
        #[test]
        fn no_entity_breaks_the_reading(text in ".{0,40}", at in prop::collection::vec((0usize..50, 0usize..20), 0..6)) {
            let entities: Vec<Value> = at
                .iter()
                .flat_map(|(offset, length)| ["url", "text_mention"].map(|kind| {
                    json!({"type": kind, "offset": offset, "length": length, "user": {"id": 1}})
                }))
                .collect();
            let inbound = read(message(false, json!({"text": text, "entities": entities}))).unwrap();
            prop_assert!(inbound.text.len() <= text.len());
            prop_assert!(inbound.links.iter().all(|link| text.contains(link.as_str())));
        }
    }
}
