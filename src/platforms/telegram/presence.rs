//! Where the bot is: reads `my_chat_member`, which tells that it was taken into a chat or thrown out, and that a person blocked
//! it or took that back.

use serde::Deserialize;

use super::inbound::chat_id;
use crate::core::chat::PresenceChange;
use crate::ids::ChatId;

/// Of the bot itself in a chat (Bot API, ChatMemberUpdated).
#[derive(Deserialize)]
pub(super) struct Membership {
    chat: Chat,
    new_chat_member: Member,
}

#[derive(Deserialize)]
struct Member {
    status: String,
    /// Of one who is restricted: whether they are there at all, and may write.
    is_member: Option<bool>,
    can_send_messages: Option<bool>,
}

/// Where the bot's place has changed, and how.
pub(super) fn presence(membership: &Membership) -> (ChatId, PresenceChange) {
    let Member { status, is_member, can_send_messages } = &membership.new_chat_member;
    let is_there = match status.as_str() {
        "left" | "kicked" => false,
        "restricted" => *is_member != Some(false) && *can_send_messages != Some(false),
        _ => true,
    };
    let change = if is_there { PresenceChange::Back } else { PresenceChange::Gone };
    (chat_id(membership.chat.id, None), change)
}

#[derive(Deserialize)]
struct Chat {
    id: i64,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::Me;
    use super::super::update::{Update, translate};
    use super::*;
    use crate::clock::Timestamp;

    #[test]
    fn where_the_bot_is_is_told_by_its_membership() {
        let me = Me { id: 1, username: "coach".to_owned(), can_read_all_group_messages: false };
        let change = |new: Value| {
            let chat = json!({"id": -5, "type": "group"});
            let old = json!({"status": "member"});
            let member = json!({"chat": chat, "date": 1, "old_chat_member": old, "new_chat_member": new});
            match translate(json!({"update_id": 9, "my_chat_member": member}), &me, Timestamp(5)).unwrap() {
                Some(Update::Presence { chat, change }) if chat.key == "-5" => change,
                other => panic!("{other:?}"),
            }
        };
        for status in ["left", "kicked"] {
            assert_eq!(change(json!({"status": status})), PresenceChange::Gone, "{status}");
        }
        for status in ["member", "administrator", "creator"] {
            assert_eq!(change(json!({"status": status})), PresenceChange::Back, "{status}");
        }
        let restricted = |is_member: bool, can_send_messages: bool| {
            change(json!({"status": "restricted", "is_member": is_member, "can_send_messages": can_send_messages}))
        };
        assert_eq!(restricted(true, true), PresenceChange::Back);
        assert_eq!([restricted(false, true), restricted(true, false)], [PresenceChange::Gone; 2]);
        let unreadable = json!({"update_id": 9, "my_chat_member": {"chat": 7}});
        assert!(translate(unreadable, &me, Timestamp(5)).is_err(), "passed over");
    }
}
