//! The methods of the Bot API that the stand-in knows, each as strict as the real one. Owns their rules
//! and the words of their refusals (tdlib/telegram-bot-api, Client.cpp); never sees HTTP.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::html::Formatted;
use super::media;
use super::params::{Params, Refusal, bad, buttons, check_length, formatted};
use super::world::{Chat, Message, State, Webhook, World};
use crate::Stood;

/// Longest text, in UTF-16 units.
const TEXT: usize = 4096;
/// Longest text before its markup is read, in bytes.
const RAW_TEXT: usize = 32_768;
/// Longest wait of `getUpdates`.
const LONGEST_POLL: u64 = 50;

/// The methods by their documented names.
pub(super) const METHODS: [&str; 14] = [
    "getMe",
    "getUpdates",
    "setWebhook",
    "deleteWebhook",
    "getWebhookInfo",
    "setMyCommands",
    "sendMessage",
    "editMessageText",
    "sendChatAction",
    "answerCallbackQuery",
    "deleteMessage",
    "sendDocument",
    "sendPhoto",
    "editMessageMedia",
];

/// Carries out one method, named as in [`METHODS`].
pub(super) async fn carry_out(world: &World, method: &str, params: Params) -> Result<Value, Refusal> {
    if method == "getUpdates" {
        return get_updates(world, &params).await;
    }
    let done = {
        let mut state = world.state();
        match method {
            "getMe" => {
                let mut me = world.bot_user();
                for (name, value) in [
                    ("can_join_groups", true),
                    ("can_read_all_group_messages", !state.privacy_mode),
                    ("supports_inline_queries", false),
                    ("can_connect_to_business", false),
                    ("has_main_web_app", false),
                ] {
                    me[name] = json!(value);
                }
                Ok(me)
            }
            "setWebhook" => set_webhook(&mut state, &params),
            "deleteWebhook" => {
                state.webhook = None;
                if params.flag("drop_pending_updates") {
                    state.updates.clear();
                }
                Ok(json!(true))
            }
            "getWebhookInfo" => Ok(webhook_info(&state)),
            "setMyCommands" => set_my_commands(&mut state, &params),
            "sendMessage" | "sendDocument" | "sendPhoto" => send(world, &mut state, method, &params),
            "editMessageText" => edit(world, &mut state, &params),
            "editMessageMedia" => edit_media(world, &mut state, &params),
            "sendChatAction" => chat_action(world, &mut state, &params),
            "answerCallbackQuery" => answer_callback_query(&mut state, &params),
            "deleteMessage" => delete_message(&mut state, &params),
            _ => Err(Refusal::new(404, "Not Found: method not found")),
        }
    };
    world.ring();
    done
}

async fn get_updates(world: &World, params: &Params) -> Result<Value, Refusal> {
    let poll = {
        let mut state = world.state();
        if state.webhook.is_some() {
            return Err(Refusal::new(
                409,
                "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first",
            ));
        }
        take_allowed(&mut state, params)?;
        match params.int("offset") {
            Some(offset @ ..=-1) => {
                let kept = usize::try_from(offset.unsigned_abs()).unwrap_or(usize::MAX);
                let confirmed = state.updates.len().saturating_sub(kept);
                state.updates.drain(..confirmed);
            }
            Some(offset) => state.updates.retain(|(id, _)| *id >= offset),
            None => {}
        }
        state.polls += 1;
        state.polls
    };
    world.ring();
    let limit = params.int("limit").and_then(|limit| usize::try_from(limit).ok()).unwrap_or(100).clamp(1, 100);
    let seconds = params.int("timeout").and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(0);
    let until = tokio::time::Instant::now() + Duration::from_secs(seconds.min(LONGEST_POLL));
    loop {
        let changed = world.changed.notified();
        {
            let state = world.state();
            if state.webhook.is_some() {
                return Err(Refusal::new(409, "Conflict: terminated by setWebhook request"));
            }
            if state.polls != poll {
                return Err(Refusal::new(
                    409,
                    "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running",
                ));
            }
            if !state.updates.is_empty() {
                return Ok(state.updates.iter().take(limit).map(|(_, update)| update.clone()).collect());
            }
        }
        if tokio::time::timeout_at(until, changed).await.is_err() {
            return Ok(json!([]));
        }
    }
}

/// `allowed_updates` holds until it is given again; an empty list is all of the usual kinds.
fn take_allowed(state: &mut State, params: &Params) -> Result<(), Refusal> {
    if let Some(list) = params.json("allowed_updates")? {
        let kinds: Vec<String> =
            serde_json::from_value(list).map_err(|_| bad("can't parse allowed updates: expected an Array"))?;
        state.allowed = (!kinds.is_empty()).then_some(kinds);
    }
    Ok(())
}

fn set_webhook(state: &mut State, params: &Params) -> Result<Value, Refusal> {
    let url = params.text("url").unwrap_or_default();
    if url.is_empty() {
        state.webhook = None;
        return Ok(json!(true));
    }
    let parsed = url::Url::parse(&url).map_err(|_| bad("bad webhook: invalid webhook URL specified"))?;
    // The real service takes https alone; a stand-in on loopback has to deliver to loopback.
    let loopback = matches!(parsed.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
    if !loopback && parsed.scheme() != "https" {
        return Err(bad("bad webhook: An HTTPS URL must be provided for webhook"));
    }
    if !loopback && ![443, 80, 88, 8443].contains(&parsed.port_or_known_default().unwrap_or(0)) {
        return Err(bad("bad webhook: Webhook can be set up only on ports 80, 88, 443 or 8443"));
    }
    let secret = params.text("secret_token").filter(|secret| !secret.is_empty());
    if let Some(secret) = &secret {
        if secret.len() > 256 {
            return Err(bad("secret token is too long"));
        }
        if !secret.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
            return Err(bad("secret token contains unallowed characters"));
        }
    }
    take_allowed(state, params)?;
    let max_connections = params.int("max_connections").unwrap_or(40).clamp(1, 100);
    let max_connections = usize::try_from(max_connections).unwrap_or(40);
    state.webhook = Some(Webhook { url, secret, max_connections });
    state.webhook_error = None;
    if params.flag("drop_pending_updates") {
        state.updates.clear();
    }
    Ok(json!(true))
}

fn webhook_info(state: &State) -> Value {
    let mut info = json!({
        "url": state.webhook.as_ref().map_or("", |webhook| webhook.url.as_str()),
        "has_custom_certificate": false,
        "pending_update_count": state.updates.len(),
    });
    if let Some(webhook) = &state.webhook {
        info["max_connections"] = json!(webhook.max_connections);
    }
    if let Some(error) = &state.webhook_error {
        info["last_error_date"] = json!(super::world::DATE);
        info["last_error_message"] = json!(error);
    }
    if let Some(allowed) = &state.allowed {
        info["allowed_updates"] = json!(allowed);
    }
    info
}

fn set_my_commands(state: &mut State, params: &Params) -> Result<Value, Refusal> {
    let commands = params.json("commands")?.unwrap_or_default();
    let list = commands.as_array().ok_or_else(|| bad("can't parse commands: expected an Array"))?;
    if list.len() > 100 {
        return Err(bad("too many commands specified"));
    }
    for command in list {
        let word = |name: &str| command[name].as_str().unwrap_or_default().to_owned();
        let (name, description) = (word("command"), word("description"));
        let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_';
        if !(1..=32).contains(&name.len()) || !name.bytes().all(fits) {
            return Err(bad("BOT_COMMAND_INVALID"));
        }
        if !(1..=256).contains(&description.encode_utf16().count()) {
            return Err(bad("BOT_COMMAND_DESCRIPTION_INVALID"));
        }
    }
    let scope = params.json("scope")?;
    let scope = scope.as_ref().and_then(|scope| scope["type"].as_str()).unwrap_or("default").to_owned();
    state.commands.insert(scope, commands);
    Ok(json!(true))
}

fn send(world: &World, state: &mut State, method: &str, params: &Params) -> Result<Value, Refusal> {
    let media = (method != "sendMessage").then(|| media::sent(method, params)).transpose()?;
    let (raw, formatted) = match media {
        Some(_) => media::caption(params)?,
        None => text(params, "message is too long")?,
    };
    let buttons = buttons(params)?;
    let id = chat_to_write_to(world, state, params)?;
    let message_id = state.new_message_id();
    let chat = chat(state, id)?;
    let thread = thread(chat, params)?;
    let reply_to = reply_to(chat, params)?;
    let message = Message {
        id: message_id,
        from: world.bot_user(),
        from_bot: true,
        formatted,
        raw,
        edits: 0,
        buttons,
        reply_to,
        thread,
        media,
    };
    let shown = chat.message_json(id, &message);
    world.control.stand(|| stood(id, &message));
    chat.messages.insert(message_id, message);
    Ok(shown)
}

/// The chat and the message that are to be edited.
fn to_edit(world: &World, state: &mut State, params: &Params) -> Result<(i64, i64), Refusal> {
    let id = chat_to_write_to(world, state, params)?;
    let message = params.int("message_id").ok_or_else(|| bad("message identifier is not specified"))?;
    Ok((id, message))
}

/// A bot edits its own messages only.
fn own_message(chat: &mut Chat, id: i64) -> Result<&mut Message, Refusal> {
    let message = chat.messages.get_mut(&id).ok_or_else(|| bad("message to edit not found"))?;
    if message.from_bot { Ok(message) } else { Err(bad("message can't be edited")) }
}

fn edit(world: &World, state: &mut State, params: &Params) -> Result<Value, Refusal> {
    let (raw, formatted) = text(params, "MESSAGE_TOO_LONG")?;
    let buttons = buttons(params)?;
    let (id, message_id) = to_edit(world, state, params)?;
    let chat = chat(state, id)?;
    let message = own_message(chat, message_id)?;
    if message.media.is_some() {
        return Err(bad("there is no text in the message to edit"));
    }
    if message.formatted == formatted && message.buttons == buttons {
        return Err(bad(
            "message is not modified: specified new message content and reply markup are exactly the same as a current content and reply markup of the message",
        ));
    }
    (message.raw, message.formatted, message.buttons) = (raw, formatted, buttons);
    message.edits += 1;
    let message = message.clone();
    world.control.stand(|| stood(id, &message));
    Ok(chat.message_json(id, &message))
}

/// "Use this method to edit … photo … messages, or to add media to text messages" (Bot API, editMessageMedia).
fn edit_media(world: &World, state: &mut State, params: &Params) -> Result<Value, Refusal> {
    let wanted = params.json("media")?.ok_or_else(|| bad("there is no media in the request"))?;
    let fields = wanted.as_object().cloned().ok_or_else(|| bad("can't parse InputMedia: expected an Object"))?;
    let kind = wanted["type"].as_str().unwrap_or_default();
    if !["photo", "document"].contains(&kind) {
        return Err(bad("can't parse InputMedia: invalid media type specified"));
    }
    let field = wanted["media"].as_str().and_then(|name| name.strip_prefix("attach://")).unwrap_or_default();
    let file = media::file(kind, field, params)?;
    let (raw, formatted) = media::caption(&Params { fields, files: Vec::new() })?;
    let buttons = buttons(params)?;
    let (id, message_id) = to_edit(world, state, params)?;
    let chat = chat(state, id)?;
    let message = own_message(chat, message_id)?;
    (message.raw, message.formatted, message.buttons, message.media) = (raw, formatted, buttons, Some(file));
    message.edits += 1;
    let message = message.clone();
    Ok(chat.message_json(id, &message))
}

fn stood(chat: i64, message: &Message) -> Stood {
    Stood {
        typing: false,
        chat: chat.to_string(),
        message: message.id.to_string(),
        text: message.formatted.text.clone(),
        buttons: message.buttons.len(),
        is_edit: message.edits > 0,
    }
}

fn chat_action(world: &World, state: &mut State, params: &Params) -> Result<Value, Refusal> {
    const ACTIONS: [&str; 11] = [
        "typing",
        "upload_photo",
        "record_video",
        "upload_video",
        "record_voice",
        "upload_voice",
        "upload_document",
        "choose_sticker",
        "find_location",
        "record_video_note",
        "upload_video_note",
    ];
    let id = chat_id(params)?;
    may_write(world, state, id, false)?;
    thread(chat(state, id)?, params)?;
    let action = params.text("action").unwrap_or_default();
    if !ACTIONS.contains(&action.as_str()) {
        return Err(bad("wrong parameter action in request"));
    }
    world.control.stand(|| Stood::typing(id));
    Ok(json!(true))
}

fn answer_callback_query(state: &mut State, params: &Params) -> Result<Value, Refusal> {
    let id = params.text("callback_query_id").unwrap_or_default();
    if params.text("text").is_some_and(|text| text.encode_utf16().count() > 200) {
        return Err(bad("MESSAGE_TOO_LONG"));
    }
    // A press takes one answer.
    match state.presses.get_mut(&id) {
        Some(answer @ None) => {
            *answer = Some(params.text("text").unwrap_or_default());
            Ok(json!(true))
        }
        Some(Some(_)) | None => Err(bad("query is too old and response timeout expired or query ID is invalid")),
    }
}

fn delete_message(state: &mut State, params: &Params) -> Result<Value, Refusal> {
    let id = chat_id(params)?;
    let message_id = params.int("message_id").ok_or_else(|| bad("message identifier is not specified"))?;
    let chat = chat(state, id)?;
    let message = chat.messages.get(&message_id).ok_or_else(|| bad("message to delete not found"))?;
    // In a private chat a bot may delete what the person wrote, too.
    if !message.from_bot && id < 0 {
        return Err(bad("message can't be deleted"));
    }
    chat.messages.remove(&message_id);
    Ok(json!(true))
}

fn chat_id(params: &Params) -> Result<i64, Refusal> {
    match params.text("chat_id") {
        None => Err(bad("chat_id is empty")),
        Some(text) => text.trim().parse().map_err(|_| bad("chat not found")),
    }
}

pub(super) fn chat(state: &mut State, id: i64) -> Result<&mut Chat, Refusal> {
    state.chats.get_mut(&id).ok_or_else(|| bad("chat not found"))
}

pub(super) fn chat_to_write_to(world: &World, state: &mut State, params: &Params) -> Result<i64, Refusal> {
    let id = chat_id(params)?;
    may_write(world, state, id, true)?;
    Ok(id)
}

fn may_write(world: &World, state: &mut State, id: i64, counted: bool) -> Result<(), Refusal> {
    let chat = chat(state, id)?;
    if let Some(supergroup) = chat.migrated {
        let words = "Bad Request: group chat was upgraded to a supergroup chat";
        let parameters = Some(json!({"migrate_to_chat_id": supergroup}));
        return Err(Refusal { code: 400, description: words.to_owned(), parameters });
    }
    if chat.blocked {
        let words = match id {
            1.. => "Forbidden: bot was blocked by the user",
            ..=-1_000_000_000_000 => "Forbidden: bot was kicked from the supergroup chat",
            _ => "Forbidden: bot was kicked from the group chat",
        };
        return Err(Refusal::new(403, words));
    }
    if world.enforce_limits && counted {
        state.limits.take(id, Instant::now()).map_err(|wait| {
            world.control.refuse();
            let seconds = wait.as_millis().div_ceil(1000).max(1);
            let description = format!("Too Many Requests: retry after {seconds}");
            Refusal { code: 429, description, parameters: Some(json!({"retry_after": seconds as u64})) }
        })?;
    }
    Ok(())
}

fn text(params: &Params, too_long: &str) -> Result<(String, Formatted), Refusal> {
    let raw = params.text("text").unwrap_or_default();
    if raw.len() > RAW_TEXT {
        return Err(bad("text is too long"));
    }
    let formatted = formatted(&raw, params)?;
    if formatted.text.trim().is_empty() {
        return Err(bad("message text is empty"));
    }
    check_length(&formatted, TEXT, too_long)?;
    Ok((raw, formatted))
}

fn thread(chat: &Chat, params: &Params) -> Result<Option<i64>, Refusal> {
    match params.int("message_thread_id") {
        None | Some(0) => Ok(None),
        Some(topic) if chat.topics.contains(&topic) => Ok(Some(topic)),
        Some(_) => Err(bad("message thread not found")),
    }
}

fn reply_to(chat: &Chat, params: &Params) -> Result<Option<i64>, Refusal> {
    let Some(reply) = params.json("reply_parameters")? else { return Ok(None) };
    let id = reply["message_id"].as_i64().ok_or_else(|| bad("can't parse reply parameters JSON object"))?;
    if chat.messages.contains_key(&id) {
        Ok(Some(id))
    } else if reply["allow_sending_without_reply"].as_bool() == Some(true) {
        Ok(None)
    } else {
        Err(bad("message to be replied not found"))
    }
}
