//! The [`Messenger`] of Discord. Owns what a message looks like on the wire and which way it goes: the
//! channel, or the token of an interaction. Never retries; the sender above does.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use serenity::http::{LightMethod, Route};
use serenity::model::id::{ApplicationId, ChannelId, MessageId};

use super::Discord;
use super::interaction::InteractionRef;
use super::rest::Refused;
use crate::core::chat::{
    Allowance, Button, ChatPace, Destination, File, FileRules, LengthUnit, Markup, Messenger, MessengerRules, Piece,
    SendError,
};
use crate::ids::{ChatId, MessageRef};

/// Message flags (Discord API reference, Message Flags).
const SUPPRESS_EMBEDS: u64 = 1 << 2;
const EPHEMERAL: u64 = 1 << 6;

/// The longest label of a button, in characters (Discord API reference, Button).
const LABEL_LIMIT: usize = 80;

/// Messages behind one that are looked at for an answer to it.
const LOOKED_AT: usize = 50;

#[async_trait]
impl Messenger for Discord {
    fn rules(&self, _chat: &ChatId) -> MessengerRules {
        MessengerRules {
            unit: LengthUnit::Chars,
            limit: 2000,
            markup: Markup::Discord,
            // About 5 edits in 5 s are allowed in a channel; sends share the sender's attention.
            edit_interval: Duration::from_millis(1200),
            // Edits of messages older than an hour are counted and then refused (error 30046).
            editable_for: Some(Duration::from_secs(55 * 60)),
            dedupes_sends: true,
            // 50 a second for the whole bot, with room for what serenity itself asks.
            per_second: 45,
            // What is commonly seen; Discord documents no number, only that the headers tell.
            in_chat: Some(ChatPace {
                burst: Allowance { times: 5, within: Duration::from_secs(5) },
                steady: None,
                edits_apart: true,
            }),
            // 10 MiB is what a server without boosts takes; 25 MiB is the whole request (Uploading Files).
            files: FileRules {
                most: 10,
                caption: 2000,
                picture_bytes: 10 << 20,
                file_bytes: 10 << 20,
                all_bytes: 24 << 20,
            },
        }
    }

    async fn send(&self, to: &Destination, piece: &Piece, plain: bool, nonce: &str) -> Result<MessageRef, SendError> {
        let here = to.reply_to.as_ref().filter(|reply| reply.chat == to.chat);
        let interaction = here.and_then(|reply| InteractionRef::parse(&reply.id));
        if let Some(interaction) = interaction {
            let sent = match interaction.alive(self.rest.time().now()) {
                true => self.follow_up(&interaction, to, piece, plain).await,
                false => Err(SendError::Gone),
            };
            match sent {
                // What one person alone may see must not end up in front of everybody, nor the answer to a button.
                Err(SendError::Gone) if piece.private || interaction.ephemeral => {
                    return Err(SendError::Failed("a private answer came too late for its token".to_owned()));
                }
                Err(SendError::Gone) => {}
                sent => return sent,
            }
        }
        let channel = channel(&to.chat)?;
        let mut body = message_body(piece, plain, 0);
        body["nonce"] = json!(nonce);
        body["enforce_nonce"] = json!(true);
        if let Some(message) = here.and_then(|reply| reply.id.parse::<u64>().ok()) {
            body["message_reference"] = json!({"message_id": message.to_string(), "fail_if_not_exists": false});
        }
        let route = Route::ChannelMessages { channel_id: channel };
        let sent = self.rest.call(LightMethod::Post, route, Some(&body), &piece.files, None).await?;
        Ok(MessageRef::new(to.chat.clone(), id_of(&sent)?.to_string()))
    }

    async fn edit(&self, message: &MessageRef, piece: &Piece, plain: bool) -> Result<(), SendError> {
        let mut body = message_body(piece, plain, 0);
        // An empty list removes the buttons; without the field they would stay.
        body["components"] = components(&piece.buttons);
        // So with the files: only those that are named here stay.
        body["attachments"] = attachments(&piece.files);
        if let Some(interaction) = InteractionRef::parse(&message.id) {
            if !interaction.alive(self.rest.time().now()) || interaction.unanswered && interaction.message.is_none() {
                return Err(SendError::Gone);
            }
            if piece.private && !interaction.ephemeral {
                // Everybody sees that message. Who may see an answer is settled when it begins, so it needs another one.
                self.delete(&interaction).await?;
                let to = Destination { chat: message.chat.clone(), reply_to: None };
                return self.follow_up(&interaction, &to, piece, plain).await.map(|_| ());
            }
            let application_id = application(&interaction)?;
            let token = interaction.token.as_str();
            let route = match interaction.message {
                None => Route::WebhookOriginalInteractionResponse { application_id, token },
                Some(id) => Route::WebhookFollowupMessage { application_id, token, message_id: message_id(id)? },
            };
            self.rest.call(LightMethod::Patch, route, Some(&body), &piece.files, None).await?;
            return Ok(());
        }
        let id = message.id.parse().map_err(|_| SendError::Gone)?;
        let route = Route::ChannelMessage { channel_id: channel(&message.chat)?, message_id: message_id(id)? };
        self.rest.call(LightMethod::Patch, route, Some(&body), &piece.files, None).await?;
        Ok(())
    }

    async fn dismiss(&self, placeholder: &MessageRef) -> Result<(), SendError> {
        match InteractionRef::parse(&placeholder.id) {
            Some(interaction) if !interaction.unanswered => self.delete(&interaction).await,
            Some(_) | None => Ok(()),
        }
    }

    /// Every answer names the message that it answers.
    async fn is_unanswered(&self, message: &MessageRef) -> Result<bool, SendError> {
        let route = Route::ChannelMessages { channel_id: channel(&message.chat)? };
        let params = vec![("limit", LOOKED_AT.to_string()), ("after", message.id.clone())];
        let behind = self.rest.call(LightMethod::Get, route, None, &[], Some(params)).await?;
        let is_answer = |other: &Value| {
            other["author"]["bot"] == json!(true) && other["message_reference"]["message_id"] == json!(message.id)
        };
        Ok(!behind.as_array().is_some_and(|all| all.iter().any(is_answer)))
    }

    async fn typing(&self, chat: &ChatId) -> Result<(), SendError> {
        let route = Route::ChannelTyping { channel_id: channel(chat)? };
        self.rest.call(LightMethod::Post, route, None, &[], None).await?;
        Ok(())
    }
}

impl Discord {
    /// One more message after the first answer to an interaction. Discord knows no nonce here, so a repeat
    /// after an unknown outcome may show twice.
    async fn follow_up(
        &self,
        interaction: &InteractionRef,
        to: &Destination,
        piece: &Piece,
        plain: bool,
    ) -> Result<MessageRef, SendError> {
        let ephemeral = interaction.ephemeral || piece.private;
        let body = message_body(piece, plain, if ephemeral { EPHEMERAL } else { 0 });
        let application_id = application(interaction)?;
        let route = Route::WebhookFollowupMessages { application_id, token: &interaction.token };
        let sent = self.rest.call(LightMethod::Post, route, Some(&body), &piece.files, None).await?;
        let id = id_of(&sent)?;
        // A message that only its asker sees is reached by the token alone.
        Ok(match ephemeral {
            true => InteractionRef { ephemeral, message: Some(id), ..interaction.clone() }.reference(to.chat.clone()),
            false => MessageRef::new(to.chat.clone(), id.to_string()),
        })
    }

    /// Takes the first answer to an interaction away. One that is gone already is as good.
    async fn delete(&self, interaction: &InteractionRef) -> Result<(), SendError> {
        let route = Route::WebhookOriginalInteractionResponse {
            application_id: application(interaction)?,
            token: &interaction.token,
        };
        match self.rest.call(LightMethod::Delete, route, None, &[], None).await.map_err(SendError::from) {
            Ok(_) | Err(SendError::Gone) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// The fields that a new message, a follow-up and an edit have in common.
fn message_body(piece: &Piece, plain: bool, flags: u64) -> Value {
    let text = if plain { &piece.plain } else { &piece.markup };
    let flags = if text.contains("://") { flags | SUPPRESS_EMBEDS } else { flags };
    let mut body = json!({"content": text, "allowed_mentions": {"parse": [], "replied_user": false}});
    if flags != 0 {
        body["flags"] = json!(flags);
    }
    if !piece.buttons.is_empty() {
        body["components"] = components(&piece.buttons);
    }
    if !piece.files.is_empty() {
        body["attachments"] = attachments(&piece.files);
    }
    body
}

/// The ids are the numbers of the form's parts `files[n]` (Discord API reference, Uploading Files).
fn attachments(files: &[File]) -> Value {
    files.iter().enumerate().map(|(n, file)| json!({"id": n, "filename": file.name()})).collect()
}

/// Rows of five; Discord takes five rows, so the 26th button would be refused and is left out.
fn components(buttons: &[Button]) -> Value {
    let row = |row: &[Button]| json!({"type": 1, "components": row.iter().map(button).collect::<Vec<_>>()});
    buttons.chunks(5).take(5).map(row).collect()
}

fn button(button: &Button) -> Value {
    let label: String = button.label.chars().take(LABEL_LIMIT).collect();
    json!({"type": 2, "style": 2, "label": label, "custom_id": button.command})
}

fn channel(chat: &ChatId) -> Result<ChannelId, SendError> {
    match chat.key.parse::<u64>() {
        Ok(id) if id != 0 => Ok(ChannelId::new(id)),
        _ => Err(SendError::Failed("not a Discord channel".to_owned())),
    }
}

fn message_id(id: u64) -> Result<MessageId, SendError> {
    if id == 0 { Err(SendError::Gone) } else { Ok(MessageId::new(id)) }
}

fn application(interaction: &InteractionRef) -> Result<ApplicationId, SendError> {
    if interaction.application == 0 { Err(SendError::Gone) } else { Ok(ApplicationId::new(interaction.application)) }
}

fn id_of(message: &Value) -> Result<u64, SendError> {
    let id = message["id"].as_str().and_then(|id| id.parse().ok());
    id.ok_or_else(|| Refused::Silent("the answer names no message").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_mentions_nobody_and_shows_no_previews() {
        let piece = Piece { markup: "see https://x.y".to_owned(), plain: "hi".to_owned(), ..Piece::default() };
        let body = message_body(&piece, false, EPHEMERAL);
        assert_eq!(body["allowed_mentions"], json!({"parse": [], "replied_user": false}));
        assert_eq!(body["flags"], 4 | 64);
        let plain = message_body(&piece, true, 0);
        assert_eq!((&plain["content"], plain.get("flags")), (&json!("hi"), None));
    }

    #[test]
    fn buttons_stand_in_rows_of_five() {
        let button = |n: usize| Button { label: "ä".repeat(90), command: format!("/cancel {n}") };
        let rows = components(&(0..27).map(button).collect::<Vec<_>>());
        let rows = rows.as_array().unwrap();
        assert_eq!(rows.len(), 5);
        assert!(rows.iter().all(|row| row["components"].as_array().unwrap().len() == 5));
        assert_eq!(rows[0]["components"][0]["label"].as_str().unwrap().chars().count(), 80);
        assert_eq!(rows[4]["components"][4]["custom_id"], "/cancel 24");
        assert_eq!(components(&[]), json!([]));
    }
}
