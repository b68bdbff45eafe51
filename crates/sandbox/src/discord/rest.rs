//! The REST interface of the stand-in, under `/api/v10`. Owns which request does what; the limits and error
//! bodies are in `rules`.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::form::{self, Upload};
use super::rules::{self, No, invalid, no, unknown_channel, unknown_message};
use super::world::{APPLICATION, BOT, Channel, GUILDS_THERE_ARE, Interaction, World, iso, merge};
use super::{Shared, faults};
use crate::{Asked, Stood};

/// Message flags (Discord API reference, Message Flags).
const EPHEMERAL: u64 = 64;
const LOADING: u64 = 128;

/// How long an enforced nonce is remembered ("within the last few minutes").
const NONCE_MS: i64 = 5 * 60 * 1000;

const TOKEN_MS: i64 = 15 * 60 * 1000;

/// The first response to an interaction must come within this time.
const FIRST_ANSWER_MS: i64 = 3000;

/// Edits that are allowed of a message older than an hour; the documentation names no number.
const LATE_EDITS: u32 = 3;

/// One request, read.
struct Sent {
    body: Value,
    files: Vec<Upload>,
    query: String,
}

/// Answers one request, unless a fault was laid for it.
pub(super) async fn answer(State(shared): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, 25 << 20).await else { return respond(rules::too_large()) };
    let query = parts.uri.query().unwrap_or("").to_owned();
    let path = parts.uri.path().trim_start_matches("/api/v10").to_owned();
    let method = parts.method.as_str().to_owned();
    let authorised = is_authorised(&shared, &parts.headers);
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("").to_owned();
    let (body, files) = form::read(&parts.headers, bytes).await;
    let asked = Asked { method: method.clone(), path: without_tokens(&path), body: body.clone() };
    let fault = shared.control.ask(asked);
    let sent = Sent { body, files, query };
    faults::meet(fault, async || {
        let mut answered = shared.carry_out(&method, &path, &sent, authorised, &host);
        if let Some(date) = shared.world().date().and_then(|date| date.parse().ok()) {
            answered.headers_mut().insert(header::DATE, date);
        }
        shared.control.touch();
        answered
    })
    .await
}

impl Shared {
    fn carry_out(&self, method: &str, path: &str, sent: &Sent, authorised: bool, host: &str) -> Response {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let open = matches!(parts.first(), Some(&"webhooks" | &"interactions"));
        if !authorised && !open {
            return respond(no(401, 0, "401: Unauthorized"));
        }
        let mut world = self.world();
        let limits = self.settings.enforce_limits;
        let answered = match (method, parts.as_slice()) {
            ("GET", ["gateway"]) => Ok(json!({"url": format!("ws://{host}")})),
            ("GET", ["gateway", "bot"]) => Ok(json!({"url": format!("ws://{host}"), "shards": 1,
                "session_start_limit":
                    {"total": 1000, "remaining": 999, "reset_after": 86_400_000, "max_concurrency": 1}})),
            ("GET", ["users", "@me"]) => Ok(world.user(BOT)),
            ("GET", ["applications", "@me"] | ["oauth2", "applications", "@me"]) => Ok(self.application(&world)),
            ("PUT", ["applications", app, "commands"] | ["applications", app, "guilds", _, "commands"]) => {
                world.register(app, &sent.body)
            }
            ("POST", ["users", "@me", "channels"]) => {
                let recipient = sent.body["recipient_id"].as_str().and_then(|id| id.parse().ok());
                match recipient.filter(|id| world.people.contains_key(id)) {
                    Some(id) => {
                        let channel = world.dm(id);
                        Ok(world.channel(channel))
                    }
                    None => Err(no(400, 50033, "Invalid Recipient(s)")),
                }
            }
            ("GET", ["guilds", guild, "members", user]) => {
                let ids = (guild.parse().unwrap_or(0), user.parse().unwrap_or(0));
                match GUILDS_THERE_ARE.iter().any(|(id, _)| *id == ids.0) && world.people.contains_key(&ids.1) {
                    true => {
                        // Only interactions tell the permissions.
                        let mut member = world.member(ids.0, ids.1, true);
                        member.as_object_mut().map(|member| member.remove("permissions"));
                        Ok(member)
                    }
                    false => Err(no(404, 10007, "Unknown Member")),
                }
            }
            ("GET", ["channels", channel]) => world.open(channel).map(|id| world.channel(id)),
            ("POST", ["channels", channel, "typing"]) => world.open(channel).map(|id| {
                self.control.stand(|| Stood::typing(id));
                Value::Null
            }),
            ("GET", ["channels", channel, "messages"]) => {
                world.open(channel).and_then(|id| world.page(id, &sent.query))
            }
            ("GET", ["channels", channel, "messages", message]) => {
                world.open(channel).and_then(|id| world.own_view(id, message))
            }
            ("POST", ["channels", channel, "messages"]) => {
                world.open(channel).and_then(|id| world.pace(limits, id, "send").and_then(|()| world.send(id, sent)))
            }
            ("PATCH", ["channels", channel, "messages", message]) => world
                .open(channel)
                .and_then(|id| world.pace(limits, id, "edit").and_then(|()| world.edit_in(id, message, sent))),
            ("POST", ["interactions", id, token, "callback"]) => world.callback(id, token, &sent.body),
            (_, ["webhooks", app, token, rest @ ..]) => world.webhook(method, app, token, rest, sent),
            _ => Err(no(404, 0, "404: Not Found")),
        };
        drop(world);
        match answered {
            Ok(Value::Null) => StatusCode::NO_CONTENT.into_response(),
            Ok(value) => (pace_headers("5", None), axum::Json(value)).into_response(),
            Err(no) => {
                if no.status == 429 {
                    self.control.refuse();
                }
                respond(no)
            }
        }
    }

    fn application(&self, world: &World) -> Value {
        // GATEWAY_MESSAGE_CONTENT_LIMITED.
        let flags = if self.settings.message_content { 1 << 19 } else { 0 };
        json!({"id": APPLICATION.to_string(), "name": "Coach", "icon": null, "description": "", "summary": "",
            "bot_public": true, "bot_require_code_grant": false, "verify_key": "00", "team": null, "flags": flags,
            "owner": world.user(BOT), "bot": world.user(BOT)})
    }
}

impl World {
    /// The direct message channel with this person, made when it is not there.
    pub fn dm(&mut self, user: u64) -> u64 {
        if let Some((id, _)) = self.channels.iter().find(|(_, channel)| channel.recipient == Some(user)) {
            return *id;
        }
        let id = self.snowflake();
        let channel =
            Channel { kind: 1, name: String::new(), parent: None, guild: 0, recipient: Some(user), forbidden: false };
        self.channels.insert(id, channel);
        id
    }

    fn register(&mut self, application: &str, body: &Value) -> Result<Value, No> {
        if application != APPLICATION.to_string() {
            return Err(no(403, 20012, "You are not authorized to perform this action on this application"));
        }
        rules::commands(body)?;
        let mut registered = body.as_array().cloned().unwrap_or_default();
        for command in &mut registered {
            let kind = rules::kind_of(command);
            let id = self.snowflake().to_string();
            merge(command, &json!({"id": id, "application_id": application, "version": id, "type": kind}));
        }
        self.commands.clone_from(&registered);
        Ok(Value::Array(registered))
    }

    /// A channel that the bot may use.
    fn open(&self, channel: &str) -> Result<u64, No> {
        let id = channel.parse().map_err(|_| invalid("channel_id", "NUMBER_TYPE_COERCE", "Value is not snowflake."))?;
        let found = self.channels.get(&id).ok_or_else(unknown_channel)?;
        if self.left.contains(&found.guild) {
            return Err(no(403, 50001, "Missing Access"));
        }
        match (found.forbidden, found.kind) {
            (false, _) => Ok(id),
            (true, 1) => Err(no(403, 50007, "Cannot send messages to this user")),
            (true, _) => Err(no(403, 50013, "Missing Permissions")),
        }
    }

    /// Five a channel in five seconds, sends and edits apart (what is commonly seen; not documented).
    fn pace(&mut self, limits: bool, channel: u64, kind: &'static str) -> Result<(), No> {
        let now = self.now();
        let times = self.pace.entry((channel, kind)).or_default();
        times.retain(|at| now - at < 5000);
        if limits && times.len() >= 5 {
            let oldest = times.front().copied().unwrap_or(now);
            let wait = u32::try_from((oldest + 5000 - now).max(1)).unwrap_or(5000);
            return Err(rules::rate_limited(f64::from(wait) / 1000.0));
        }
        times.push_back(now);
        Ok(())
    }

    fn page(&self, channel: u64, query: &str) -> Result<Value, No> {
        let number = |name: &str| {
            let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            value.map(|value| value.parse::<u64>().map_err(|_| invalid(name, "NUMBER_TYPE_COERCE", "Not a number.")))
        };
        let limit = number("limit").transpose()?.unwrap_or(50);
        if !(1..=100).contains(&limit) {
            return Err(invalid("limit", "NUMBER_TYPE_MAX", "int value should be less than or equal to 100."));
        }
        let limit = usize::try_from(limit).unwrap_or(100);
        let mut ids: Vec<u64> =
            self.messages.iter().filter(|(_, m)| m.channel == channel && !m.ephemeral).map(|(id, _)| *id).collect();
        match (number("after").transpose()?, number("before").transpose()?) {
            (Some(after), _) => {
                ids.retain(|id| *id > after);
                ids.truncate(limit);
            }
            (None, before) => {
                ids.retain(|id| before.is_none_or(|before| *id < before));
                ids.drain(..ids.len().saturating_sub(limit));
            }
        }
        // Newest first, whatever was asked.
        Ok(ids.iter().rev().filter_map(|id| self.messages.get(id)).map(|message| message.object.clone()).collect())
    }

    fn own_view(&self, channel: u64, message: &str) -> Result<Value, No> {
        let found = message.parse().ok().and_then(|id| self.messages.get(&id));
        found.filter(|m| m.channel == channel && !m.ephemeral).map(|m| m.object.clone()).ok_or_else(unknown_message)
    }

    fn send(&mut self, channel: u64, sent: &Sent) -> Result<Value, No> {
        self.look(sent);
        self.check(sent, true)?;
        let body = &sent.body;
        let nonce = body["nonce"].as_str().map(str::to_owned);
        let now = self.now();
        if body["enforce_nonce"] == true {
            let Some(nonce) = &nonce else {
                return Err(invalid("nonce", "BASE_TYPE_REQUIRED", "This field is required"));
            };
            let same =
                |m: &&super::world::Message| m.from_bot && m.nonce.as_ref() == Some(nonce) && now - m.at < NONCE_MS;
            if let Some(first) = self.messages.values().find(same) {
                return Ok(first.object.clone());
            }
        }
        let mut fields = self.shown(sent, &Value::Null);
        let reference = &body["message_reference"];
        if let Some(original) = reference["message_id"].as_str() {
            match self.own_view(channel, original) {
                Ok(original) => {
                    fields["type"] = json!(19);
                    fields["message_reference"] =
                        json!({"type": 0, "message_id": original["id"], "channel_id": channel.to_string()});
                    fields["referenced_message"] = original;
                }
                Err(_) if reference["fail_if_not_exists"] == false => {}
                Err(_) => return Err(invalid("message_reference", "REPLIES_UNKNOWN_MESSAGE", "Unknown message")),
            }
        }
        if let Some(nonce) = &nonce {
            fields["nonce"] = json!(nonce);
        }
        let id = self.put(channel, BOT, &fields, false, nonce);
        self.own_view(channel, &id.to_string())
    }

    fn edit_in(&mut self, channel: u64, message: &str, sent: &Sent) -> Result<Value, No> {
        self.own_view(channel, message)?;
        let id = message.parse().map_err(|_| unknown_message())?;
        self.edit(id, sent)
    }

    fn edit(&mut self, id: u64, sent: &Sent) -> Result<Value, No> {
        self.look(sent);
        let now = self.now();
        let message = self.messages.get(&id).ok_or_else(unknown_message)?;
        if !message.from_bot {
            return Err(no(403, 50005, "Cannot edit a message authored by another user"));
        }
        if now - message.at > 3_600_000 && message.edits >= LATE_EDITS {
            return Err(no(
                400,
                30046,
                "Maximum number of edits to messages older than 1 hour reached. Try again later",
            ));
        }
        self.check(sent, false)?;
        let there = message.object["attachments"].clone();
        let mut fields = self.shown(sent, &there);
        fields["edited_timestamp"] = json!(iso(now));
        let message = self.messages.get_mut(&id).ok_or_else(unknown_message)?;
        let flags = message.object["flags"].as_u64().unwrap_or(0);
        fields["flags"] = json!((flags & !LOADING) | fields["flags"].as_u64().unwrap_or(0));
        merge(&mut message.object, &fields);
        message.edits += u32::from(!message.deferred);
        message.deferred = false;
        let (object, ephemeral) = (message.object.clone(), message.ephemeral);
        if !ephemeral {
            self.announce("MESSAGE_UPDATE", id);
        }
        self.stand(id, true);
        Ok(object)
    }

    fn check(&self, sent: &Sent, new: bool) -> Result<(), No> {
        form::check(&sent.body, &sent.files)?;
        rules::message(&sent.body, sent.files.len(), new)
    }

    /// The fields of a request that a message keeps; `there` are the attachments that it has so far.
    fn shown(&mut self, sent: &Sent, there: &Value) -> Value {
        let mut fields = json!({});
        for field in ["content", "components", "embeds", "flags"] {
            if let Some(value) = sent.body.get(field) {
                fields[field] = value.clone();
            }
        }
        let named = sent.body["attachments"].as_array();
        // Without the field all that is there stays.
        let stays = |old: &&Value| named.is_none_or(|named| named.iter().any(|one| one["id"] == old["id"]));
        let mut attachments: Vec<Value> = there.as_array().into_iter().flatten().filter(stays).cloned().collect();
        for upload in &sent.files {
            let id = self.snowflake().to_string();
            self.uploads.insert(id.clone(), upload.content.to_vec());
            attachments.push(json!({"id": id, "filename": upload.name, "size": upload.content.len(),
                "content_type": upload.kind, "url": "https://cdn.invalid/file", "proxy_url": "https://cdn.invalid/file"}));
        }
        if named.is_some() || !sent.files.is_empty() {
            fields["attachments"] = Value::Array(attachments);
        }
        fields
    }

    fn look(&mut self, sent: &Sent) {
        self.violations.extend(rules::mentions(&sent.body));
    }

    fn callback(&mut self, id: &str, token: &str, body: &Value) -> Result<Value, No> {
        let now = self.now();
        let unknown = || no(404, 10062, "Unknown interaction");
        let interaction = self.interactions.get(token).filter(|i| i.id.to_string() == id).ok_or_else(unknown)?;
        if now - interaction.made > FIRST_ANSWER_MS && !interaction.acknowledged {
            return Err(unknown());
        }
        if interaction.acknowledged {
            return Err(no(400, 40060, "Interaction has already been acknowledged."));
        }
        let (kind, channel) = (interaction.kind, interaction.channel);
        let ephemeral = body["data"]["flags"].as_u64().unwrap_or(0) & EPHEMERAL != 0;
        let original = match (body["type"].as_u64(), kind) {
            (Some(4), _) => {
                let sent = Sent { body: body["data"].clone(), files: Vec::new(), query: String::new() };
                self.check(&sent, true)?;
                let fields = self.shown(&sent, &Value::Null);
                Some(self.put(channel, BOT, &fields, ephemeral, None))
            }
            (Some(5), _) => {
                let flags = LOADING | if ephemeral { EPHEMERAL } else { 0 };
                let made = self.put(channel, BOT, &json!({"flags": flags, "type": 20}), ephemeral, None);
                if let Some(message) = self.messages.get_mut(&made) {
                    message.deferred = true;
                }
                Some(made)
            }
            (Some(6), 3) => None,
            _ => return Err(invalid("type", "BASE_TYPE_CHOICES", "Value must be one of the allowed types.")),
        };
        if let Some(interaction) = self.interactions.get_mut(token) {
            interaction.acknowledged = true;
            interaction.ephemeral = ephemeral;
            interaction.original = original.or(interaction.original);
        }
        Ok(Value::Null)
    }

    fn webhook(&mut self, method: &str, app: &str, token: &str, rest: &[&str], sent: &Sent) -> Result<Value, No> {
        let unknown = || no(404, 10015, "Unknown Webhook");
        let interaction = self.interactions.get(token).ok_or_else(unknown)?;
        if app != APPLICATION.to_string() || !interaction.acknowledged {
            return Err(unknown());
        }
        if self.now() - interaction.made > TOKEN_MS {
            return Err(no(401, 50027, "Invalid Webhook Token"));
        }
        let Interaction { channel, ephemeral, original, .. } = *interaction;
        let named = |name: &str| match name {
            "@original" => original.ok_or_else(unknown_message),
            id => id.parse().map_err(|_| unknown_message()),
        };
        match (method, rest) {
            ("GET", ["messages", name]) => {
                let id = named(name)?;
                self.messages.get(&id).map(|message| message.object.clone()).ok_or_else(unknown_message)
            }
            ("PATCH", ["messages", name]) => {
                let id = named(name)?;
                self.edit(id, sent)
            }
            ("DELETE", ["messages", name]) => {
                let id = named(name)?;
                self.messages.remove(&id).map(|_| Value::Null).ok_or_else(unknown_message)
            }
            ("POST", []) => {
                // A follow-up right after a deferred answer takes its place.
                if let Some(id) = original.filter(|id| self.messages.get(id).is_some_and(|m| m.deferred)) {
                    return self.edit(id, sent);
                }
                self.look(sent);
                self.check(sent, true)?;
                let asked = sent.body["flags"].as_u64().unwrap_or(0) & EPHEMERAL != 0;
                let mut fields = self.shown(sent, &Value::Null);
                fields["application_id"] = json!(app);
                fields["webhook_id"] = json!(app);
                let id = self.put(channel, BOT, &fields, asked || (ephemeral && original.is_none()), None);
                self.messages.get(&id).map(|message| message.object.clone()).ok_or_else(unknown_message)
            }
            _ => Err(no(405, 0, "405: Method Not Allowed")),
        }
    }
}

fn is_authorised(shared: &Shared, headers: &HeaderMap) -> bool {
    let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or("");
    sent.starts_with("Bot ") && shared.is_token(sent)
}

/// The path without the tokens of interactions.
fn without_tokens(path: &str) -> String {
    let mut parts: Vec<&str> = path.split('/').collect();
    if matches!(parts.get(1), Some(&"webhooks" | &"interactions"))
        && let Some(token) = parts.get_mut(3)
    {
        *token = "***";
    }
    parts.join("/")
}

fn respond(no: No) -> Response {
    let status = StatusCode::from_u16(no.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let wait = no.body["retry_after"].as_f64();
    (status, pace_headers("0", wait), axum::Json(no.body)).into_response()
}

fn pace_headers(remaining: &'static str, wait: Option<f64>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut set = |name: &'static str, value: String| {
        if let Ok(value) = value.parse() {
            headers.insert(name, value);
        }
    };
    set("x-ratelimit-limit", "5".to_owned());
    set("x-ratelimit-remaining", remaining.to_owned());
    set("x-ratelimit-bucket", "sandbox".to_owned());
    if let Some(wait) = wait {
        set("retry-after", wait.ceil().to_string());
        set("x-ratelimit-reset-after", wait.to_string());
        set("x-ratelimit-scope", "user".to_owned());
    }
    headers
}
