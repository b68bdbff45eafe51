//! The translation of messages, in tables.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const BOT: UserId = UserId::new(900);

/// A message of Ada's in channel 7, with `fields` over the usual ones.
fn written(fields: Value) -> Message {
    let mut message = json!({
        "id": "1300000000000000001", "channel_id": "7", "content": "hello", "timestamp": "2026-11-24T10:00:00Z",
        "edited_timestamp": null, "tts": false, "mention_everyone": false, "mentions": [], "mention_roles": [],
        "attachments": [], "embeds": [], "pinned": false, "type": 0, "author": person(1),
    });
    for (key, value) in fields.as_object().unwrap() {
        message[key] = value.clone();
    }
    serde_json::from_value(message).unwrap()
}

fn person(id: u64) -> Value {
    json!({"id": id.to_string(), "username": "ada", "discriminator": "0", "avatar": null, "global_name": "Ada L."})
}

fn snapshot(content: &str, embeds: Value) -> Value {
    json!([{"message": {"content": content, "timestamp": "2026-11-24T09:00:00Z", "edited_timestamp": null,
        "mentions": [], "mention_roles": [], "attachments": [], "embeds": embeds, "type": 0}}])
}

fn reply(author: u64) -> Value {
    let original = json!({
        "id": "55", "channel_id": "7", "content": "x", "timestamp": "2026-11-24T10:00:00Z", "edited_timestamp": null,
        "tts": false, "mention_everyone": false, "mentions": [], "mention_roles": [], "attachments": [], "embeds": [],
        "pinned": false, "type": 0, "author": person(author),
    });
    json!({"type": 19, "message_reference": {"message_id": "55", "channel_id": "7"}, "referenced_message": original})
}

#[test]
fn who_is_meant() {
    let cases = [
        (json!({}), Place::Direct, Addressed::Direct),
        (json!({}), Place::Channel, Addressed::Overheard),
        (json!({}), Place::Thread(ChannelId::new(5)), Addressed::Overheard),
        (json!({"mentions": [person(900)]}), Place::Channel, Addressed::Mentioned),
        (json!({"mentions": [person(901)]}), Place::Channel, Addressed::Overheard),
        (json!({"mention_everyone": true, "content": "@everyone look"}), Place::Channel, Addressed::Overheard),
        (json!({"mention_roles": ["900"], "content": "<@&900>"}), Place::Channel, Addressed::Overheard),
        (reply(900), Place::Channel, Addressed::Mentioned),
        (reply(900), Place::Thread(ChannelId::new(5)), Addressed::Mentioned),
        (reply(2), Place::Channel, Addressed::Overheard),
    ];
    for (fields, place, expected) in cases {
        let inbound = message(&written(fields.clone()), BOT, place).unwrap();
        assert_eq!(inbound.addressed, expected, "{fields} {place:?}");
    }
}

#[test]
fn the_server_and_what_the_author_is_there() {
    let member =
        json!({"roles": ["31", "32"], "deaf": false, "mute": false, "flags": 0, "joined_at": "2026-01-01T00:00:00Z"});
    let said = json!({"guild_id": "613", "member": member});
    for (place, channel) in [(Place::Channel, "7"), (Place::Thread(ChannelId::new(5)), "5")] {
        let guild = message(&written(said.clone()), BOT, place).unwrap().guild.unwrap();
        assert_eq!((guild.id.to_string().as_str(), guild.channel.as_str()), ("discord:613", channel));
        assert_eq!((guild.roles, guild.manages), (Some(vec!["31".to_owned(), "32".to_owned()]), false));
    }
    assert_eq!(message(&written(json!({})), BOT, Place::Direct).unwrap().guild, None);
}

#[test]
fn what_is_not_for_reading() {
    let cases = [
        json!({"author": person(900)}),
        json!({"author": {"id": "3", "username": "x", "discriminator": "0", "avatar": null, "bot": true}}),
        json!({"webhook_id": "5"}),
        json!({"type": 7}),
        json!({"type": 18}),
        json!({"type": 21}),
        // The content is withheld.
        json!({"content": ""}),
    ];
    for fields in cases {
        assert_eq!(message(&written(fields.clone()), BOT, Place::Channel), None, "{fields}");
    }
    assert!(message(&written(json!({"content": ""})), BOT, Place::Direct).is_some());
    assert!(message(&written(json!({"content": "<@900>", "mentions": [person(900)]})), BOT, Place::Channel).is_some());
}

#[test]
fn the_mention_is_cut_out() {
    let cases = [
        ("<@900> hello", "hello"),
        ("<@!900> hello", "hello"),
        ("hello <@900>", "hello"),
        ("hey <@900> how are you", "hey how are you"),
        ("<@900>", ""),
        ("<@900><@900> a", "a"),
        ("<@9001> a", "<@9001> a"),
        ("a\n<@900>\nb", "a\n\nb"),
        ("see <https://x.y/> ||https://z|| [t](https://u)", "see <https://x.y/> ||https://z|| [t](https://u)"),
    ];
    for (content, text) in cases {
        let inbound = message(&written(json!({"content": content})), BOT, Place::Direct).unwrap();
        assert_eq!(inbound.text, text, "{content}");
    }
}

#[test]
fn a_forward_brings_its_text_and_its_links() {
    let forward = written(json!({
        "content": "", "message_reference": {"type": 1, "message_id": "5", "channel_id": "8"},
        "message_snapshots": snapshot("look https://a", json!([{"url": "https://b"}, {"title": "no url"}])),
    }));
    let inbound = message(&forward, BOT, Place::Channel).unwrap();
    assert_eq!((inbound.text.as_str(), inbound.links.as_slice()), ("look https://a", &["https://b".to_owned()][..]));
    assert_eq!(inbound.reply_to, None);

    let with_own_words = written(json!({
        "content": "what do you think?", "embeds": [{"url": "https://b"}],
        "message_snapshots": snapshot("look", json!([{"url": "https://b"}, {"url": "https://c"}])),
    }));
    let inbound = message(&with_own_words, BOT, Place::Direct).unwrap();
    assert_eq!(inbound.text, "what do you think?\nlook");
    assert_eq!(inbound.links, ["https://b", "https://c"]);
}

#[test]
fn names_and_references() {
    let member = json!({"nick": "Countess", "roles": [], "deaf": false, "mute": false});
    let mut fields = reply(900);
    fields["member"] = member;
    let inbound = message(&written(fields), BOT, Place::Channel).unwrap();
    assert_eq!(inbound.author, Author { account: "1".to_owned(), name: "Countess".to_owned() });
    assert_eq!(inbound.message, MessageRef::new(chat(7), "1300000000000000001"));
    assert_eq!(inbound.reply_to, Some(MessageRef::new(chat(7), "55")));
    assert!(!inbound.atomic);
    assert_eq!(message(&written(json!({})), BOT, Place::Direct).unwrap().author.name, "Ada L.");
}

proptest! {
    #[test]
    fn no_mention_is_left_and_nothing_panics(content in "(<@!?900>|<@|>|[a-zé \n]){0,12}") {
        let text = without_mention(&content, BOT);
        prop_assert!(!text.contains("<@900>"));
    }
}
