//! Turns one update of the Bot API into what it tells. Owns which kinds are used; what is read of a message or a press is
//! in `inbound`.

use serde::Deserialize;
use serde_json::Value;

use super::Me;
use super::inbound::{self, Message, Press};
use super::presence::{Membership, presence};
use crate::clock::Timestamp;
use crate::core::chat::{Inbound, PresenceChange};
use crate::ids::ChatId;

/// An update that is not what the Bot API documents. Nothing of its content is in here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    /// Not an update at all: it can not come from Telegram.
    #[error("not an update")]
    NotAnUpdate,
    /// An update of a kind we use, in a shape we do not know. A repeat would be no better: acknowledge it.
    #[error("update {update_id}: a {kind} of an unknown shape")]
    UnknownShape { update_id: i64, kind: &'static str },
}

/// The id of an update, if it has one.
pub(super) fn update_id(update: &Value) -> Option<i64> {
    update.get("update_id").and_then(Value::as_i64)
}

/// What an update tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Update {
    /// A person did something.
    Said(Box<Inbound>),
    /// A group became a supergroup, which has another id. Both chats tell it.
    Moved { from: ChatId, to: ChatId },
    /// The bot was taken into a chat or thrown out of it, or a person blocked it or took that back.
    Presence { chat: ChatId, change: PresenceChange },
}

impl Update {
    /// The chat in which it is told.
    pub(super) fn chat(&self) -> &ChatId {
        match self {
            Update::Said(inbound) => &inbound.message.chat,
            Update::Moved { to, .. } => to,
            Update::Presence { chat, .. } => chat,
        }
    }
}

/// What an update tells, or `None` for what is not for the bot: kinds that are not used, other bots, most service
/// messages, channels, small talk without a link or text.
///
/// An edited message is passed over: the first version has been answered, and a second answer to one
/// message would be worse than an answer to its old wording.
pub(super) fn translate(mut update: Value, me: &Me, at: Timestamp) -> Result<Option<Update>, Undecodable> {
    let update_id = update_id(&update).ok_or(Undecodable::NotAnUpdate)?;
    if let Some(message) = update.get_mut("message").map(Value::take) {
        let shape = Undecodable::UnknownShape { update_id, kind: "message" };
        let message = Message::deserialize(message).map_err(|_| shape)?;
        return Ok(match inbound::moved(&message) {
            Some((from, to)) => Some(Update::Moved { from, to }),
            None => inbound::said(message, me, at).map(|inbound| Update::Said(Box::new(inbound))),
        });
    }
    if let Some(press) = update.get_mut("callback_query").map(Value::take) {
        let shape = Undecodable::UnknownShape { update_id, kind: "callback_query" };
        let press = Press::deserialize(press).map_err(|_| shape)?;
        return Ok(inbound::pressed(press, at).map(|inbound| Update::Said(Box::new(inbound))));
    }
    if let Some(member) = update.get_mut("my_chat_member").map(Value::take) {
        let shape = Undecodable::UnknownShape { update_id, kind: "my_chat_member" };
        let member = Membership::deserialize(member).map_err(|_| shape)?;
        let (chat, change) = presence(&member);
        return Ok(Some(Update::Presence { chat, change }));
    }
    Ok(None)
}
