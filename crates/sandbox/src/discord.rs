//! A stand-in for Discord: REST under `/api/v10`, the gateway, and the hands of the people who write to the
//! bot. As strict as the documentation says Discord is; what it could not refuse but the bot should not do, it notes
//! ([`DiscordSandbox::violations`]). There are two guilds; where none is named, the first is meant.

mod faults;
mod form;
mod gateway;
mod live;
mod rest;
mod rules;
mod world;

use std::collections::HashMap;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::extract::{State, WebSocketUpgrade};
use axum::http::{HeaderMap, header};
use axum::routing::get;
use serde_json::{Value, json};

pub use self::live::live;
pub use self::world::GatewayLog;

use self::world::{
    APPLICATION, BOT, Channel, Down, GUILD, GUILDS, GUILDS_THERE_ARE, Interaction, MANAGE_GUILD, Member, OTHER_GUILD,
    World, merge,
};
use super::{Control, Served};

/// How the stand-in behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// 0: any free port.
    pub port: u16,
    /// The bot token that is accepted.
    pub token: String,
    /// Whether the Message Content Intent is switched on in the portal.
    pub message_content: bool,
    /// Whether more than five sends or edits a channel in five seconds are refused.
    pub enforce_limits: bool,
    /// Epoch milliseconds to go by instead of the system's clock; shared with whoever moves it.
    pub time: Option<Arc<AtomicI64>>,
}

impl Default for Settings {
    fn default() -> Self {
        let token = "sandbox-discord-token".to_owned();
        Self { port: 0, token, message_content: true, enforce_limits: false, time: None }
    }
}

/// A running stand-in.
pub struct DiscordSandbox {
    pub served: Served,
    pub control: Control,
    shared: Shared,
}

/// A message as it is on screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub id: String,
    pub from_bot: bool,
    pub content: String,
    pub edits: u32,
    /// Label and `custom_id`.
    pub buttons: Vec<(String, String)>,
    pub reply_to: Option<String>,
    /// Only the asker sees it.
    pub ephemeral: bool,
    /// "Thinking…": acknowledged, without content yet.
    pub deferred: bool,
    /// The interaction whose first answer it is.
    pub interaction: Option<String>,
    /// Name and content of the attached files.
    pub files: Vec<(String, Vec<u8>)>,
    /// The message flags as Discord has them.
    pub flags: u64,
}

/// A way to lose the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disconnect {
    /// Op 7: the client is asked to come back and resume.
    Reconnect,
    /// The socket is closed without a word; the session can be resumed.
    DropSocket,
    /// Op 9 with `false`: the session is over.
    Invalidate,
}

/// Something a person cannot do, such as running a command that is not registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Impossible(String);

#[derive(Clone)]
struct Shared {
    settings: Arc<Settings>,
    control: Control,
    world: Arc<Mutex<World>>,
}

impl DiscordSandbox {
    /// # Errors
    /// When the port is taken.
    pub async fn start(settings: Settings) -> std::io::Result<Self> {
        let mut world = World::default();
        world.time.clone_from(&settings.time);
        let port = settings.port;
        let control = Control::default();
        world.control = control.clone();
        let shared =
            Shared { settings: Arc::new(settings), control: control.clone(), world: Arc::new(Mutex::new(world)) };
        let router = Router::new().route("/", get(upgrade)).fallback(rest::answer).with_state(shared.clone());
        Ok(Self { served: Served::start(port, router).await?, control, shared })
    }

    /// The ids of the bot's user and of its application, which differ.
    pub fn bot(&self) -> (String, String) {
        (BOT.to_string(), APPLICATION.to_string())
    }

    /// Makes a text channel in the guild.
    pub fn guild_channel(&self, name: &str) -> String {
        self.new_channel(0, name, None, GUILD)
    }

    /// Makes a text channel in the other guild.
    pub fn other_guild_channel(&self, name: &str) -> String {
        self.new_channel(0, name, None, OTHER_GUILD)
    }

    /// The ids of the guild and of the other one.
    pub fn guilds(&self) -> [String; 2] {
        GUILDS_THERE_ARE.map(|(id, _)| id.to_string())
    }

    /// Gives a person these roles in a guild, and perhaps Manage Server.
    pub fn set_member(&self, guild: &str, user: &str, roles: &[u64], manages: bool) {
        let permissions = if manages { MANAGE_GUILD } else { 0 };
        let member = Member { roles: roles.to_vec(), permissions };
        self.shared.world().members.insert((id(guild), id(user)), member);
    }

    /// The bot is a member of a guild no more: only who has installed it for themselves brings its commands along.
    pub fn leave(&self, guild: &str) {
        let mut world = self.shared.world();
        world.left.insert(id(guild));
        // Without `unavailable`: it is no outage.
        world.dispatch("GUILD_DELETE", |intents| (intents & GUILDS != 0).then(|| json!({"id": guild})));
    }

    /// The bot is invited to a guild again.
    pub fn rejoin(&self, guild: &str) {
        let mut world = self.shared.world();
        world.left.remove(&id(guild));
        let created = world.guild(id(guild), "Again");
        world.dispatch("GUILD_CREATE", |intents| (intents & GUILDS != 0).then(|| created.clone()));
    }

    /// A guild is not available for a while. Nothing that the bot does is refused meanwhile.
    pub fn outage(&self, guild: &str) {
        let gone = json!({"id": guild, "unavailable": true});
        self.shared.world().dispatch("GUILD_DELETE", |intents| (intents & GUILDS != 0).then(|| gone.clone()));
    }

    /// Makes a public thread in a channel.
    pub fn thread(&self, parent: &str, name: &str) -> String {
        let guild = self.shared.world().channels.get(&id(parent)).map_or(GUILD, |channel| channel.guild);
        self.new_channel(11, name, parent.parse().ok(), guild)
    }

    /// The direct messages between a person and the bot.
    pub fn dm(&self, user: &str) -> String {
        let user = id(user);
        let mut world = self.shared.world();
        world.people.entry(user).or_insert_with(|| "someone".to_owned());
        world.dm(user).to_string()
    }

    /// A person writes. `<@id>` in the text mentions.
    pub fn say(&self, channel: &str, user: &str, name: &str, text: &str) -> String {
        self.say_with(channel, user, name, text, json!({}))
    }

    /// A person answers a message, without a ping.
    pub fn reply(&self, channel: &str, user: &str, name: &str, text: &str, to: &str) -> String {
        let original = self.shared.world().messages.get(&id(to)).map(|message| message.object.clone());
        let fields = json!({"type": 19, "message_reference": {"type": 0, "message_id": to, "channel_id": channel},
            "referenced_message": original});
        self.say_with(channel, user, name, text, fields)
    }

    /// A person forwards a message with this text and the address of its preview.
    pub fn forward(&self, channel: &str, user: &str, name: &str, text: &str, preview: Option<&str>) -> String {
        let embeds: Vec<Value> = preview.iter().map(|url| json!({"type": "video", "url": url})).collect();
        let snapshot = json!({"content": text, "timestamp": "2026-11-24T00:00:00+00:00", "edited_timestamp": null,
            "mentions": [], "mention_roles": [], "attachments": [], "embeds": embeds, "type": 0, "flags": 0});
        let fields = json!({"message_reference": {"type": 1, "message_id": "1", "channel_id": "1"},
            "message_snapshots": [{"message": snapshot}]});
        self.say_with(channel, user, name, "", fields)
    }

    /// A person writes, with fields of the message object over the usual ones.
    pub fn say_with(&self, channel: &str, user: &str, name: &str, text: &str, fields: Value) -> String {
        let user = id(user);
        let mut world = self.shared.world();
        world.people.insert(user, name.to_owned());
        let mut all = json!({"content": text});
        merge(&mut all, &fields);
        let message = world.put(id(channel), user, &all, false, None);
        drop(world);
        self.control.touch();
        message.to_string()
    }

    /// Sends any event to every session.
    pub fn push(&self, event: &str, data: &Value) {
        self.shared.world().dispatch(event, |_| Some(data.clone()));
    }

    /// A person runs a slash command; `options` are name and text, of a choice its name.
    ///
    /// # Errors
    /// When the command is not registered with these options, or does not take such a value.
    pub fn slash(
        &self,
        channel: &str,
        user: &str,
        name: &str,
        command: &str,
        options: &[(&str, &str)],
    ) -> Result<String, Impossible> {
        let mut world = self.shared.world();
        let registered = world.registered(1, command)?;
        let known = registered["options"].as_array().cloned().unwrap_or_default();
        let given = |option: &Value| options.iter().any(|(name, _)| option["name"] == *name);
        if known.iter().any(|option| option["required"] == true && !given(option))
            || options.iter().any(|(name, _)| !known.iter().any(|option| option["name"] == *name))
        {
            return Err(Impossible(format!("/{command} does not take these options")));
        }
        let mut sent = Vec::new();
        for (name, value) in options {
            let option = known.iter().find(|option| option["name"] == *name);
            sent.push(typed(option.unwrap_or(&Value::Null), name, value)?);
        }
        let data = json!({"id": registered["id"], "name": command, "type": 1, "options": sent});
        let made = world.interact(2, id(channel), id(user), name, data, None);
        drop(world);
        self.control.touch();
        Ok(made)
    }

    /// A person picks a command from the menu of a message.
    ///
    /// # Errors
    /// When the command is not registered or the message is not there.
    pub fn context_menu(
        &self,
        channel: &str,
        user: &str,
        name: &str,
        command: &str,
        target: &str,
    ) -> Result<String, Impossible> {
        let mut world = self.shared.world();
        let registered = world.registered(3, command)?;
        let message = world.messages.get(&id(target)).ok_or_else(|| Impossible("no such message".to_owned()))?;
        let data = json!({"id": registered["id"], "name": command, "type": 3, "target_id": target,
            "resolved": {"messages": {target: message.object}}});
        Ok(world.interact(2, id(channel), id(user), name, data, None))
    }

    /// A person presses a button.
    ///
    /// # Errors
    /// When the message has no such button.
    pub fn press(
        &self,
        channel: &str,
        user: &str,
        name: &str,
        message: &str,
        custom_id: &str,
    ) -> Result<String, Impossible> {
        let mut world = self.shared.world();
        let found = world.messages.get(&id(message)).filter(|m| buttons(&m.object).iter().any(|b| b.1 == custom_id));
        let object = found.map(|m| m.object.clone()).ok_or_else(|| Impossible("no such button".to_owned()))?;
        let data = json!({"custom_id": custom_id, "component_type": 2});
        Ok(world.interact(3, id(channel), id(user), name, data, Some(object)))
    }

    /// A person presses a button of the bot's last message in a channel that has gone from it meanwhile: what they see may
    /// be older than what stands there.
    ///
    /// # Errors
    /// When there is no message of the bot.
    pub fn press_late(&self, channel: &str, user: &str, name: &str, custom_id: &str) -> Result<String, Impossible> {
        let mut world = self.shared.world();
        let own = world.messages.values().rfind(|message| message.from_bot && message.channel == id(channel));
        let object = own.map(|m| m.object.clone()).ok_or_else(|| Impossible("no message of the bot".to_owned()))?;
        let data = json!({"custom_id": custom_id, "component_type": 2});
        Ok(world.interact(3, id(channel), id(user), name, data, Some(object)))
    }

    /// What is on screen in a channel, oldest first.
    pub fn screen(&self, channel: &str) -> Vec<Shown> {
        let world = self.shared.world();
        let here = world.messages.iter().filter(|(_, message)| message.channel == id(channel));
        here.map(|(id, message)| shown(*id, message, &world.uploads)).collect()
    }

    /// The bot's messages with their channels, oldest first.
    pub fn shown_by_bot(&self) -> Vec<(String, Shown)> {
        let world = self.shared.world();
        let answers = world
            .interactions
            .values()
            .filter(|made| made.kind == 2)
            .filter_map(|interaction| Some((interaction.original?, interaction.id)));
        let answers: HashMap<u64, u64> = answers.collect();
        let own = world.messages.iter().filter(|(_, message)| message.from_bot);
        own.map(|(id, message)| {
            let interaction = answers.get(id).map(ToString::to_string);
            (message.channel.to_string(), Shown { interaction, ..shown(*id, message, &world.uploads) })
        })
        .collect()
    }

    /// The event about a message of a person's comes again.
    pub fn redeliver(&self, message: &str) {
        self.shared.world().announce("MESSAGE_CREATE", id(message));
    }

    /// Somebody deletes a message.
    pub fn delete(&self, message: &str) {
        self.shared.world().messages.remove(&id(message));
    }

    /// The bot may not write in this channel any more (a person blocks it, a permission is taken away).
    pub fn forbid(&self, channel: &str) {
        if let Some(channel) = self.shared.world().channels.get_mut(&id(channel)) {
            channel.forbidden = true;
        }
    }

    /// Somebody deletes a channel, and with it what stood in it and its threads, of which nothing is told.
    pub fn remove_channel(&self, channel: &str) {
        let mut world = self.shared.world();
        let gone = id(channel);
        let object = world.channel(gone);
        let event = match world.channels.remove(&gone).map(|channel| channel.kind) {
            Some(0) => Some("CHANNEL_DELETE"),
            Some(11) => Some("THREAD_DELETE"),
            _ => None,
        };
        world.channels.retain(|_, channel| channel.parent != Some(gone));
        let World { channels, messages, .. } = &mut *world;
        messages.retain(|_, message| channels.contains_key(&message.channel));
        if let Some(event) = event {
            world.dispatch(event, |intents| (intents & GUILDS != 0).then(|| object.clone()));
        }
    }

    /// The bot may write in a channel again.
    pub fn permit(&self, channel: &str) {
        if let Some(channel) = self.shared.world().channels.get_mut(&id(channel)) {
            channel.forbidden = false;
        }
    }

    /// Makes all interactions so far this much older.
    pub fn age_interactions(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX / 4);
        for interaction in self.shared.world().interactions.values_mut() {
            interaction.made -= by;
        }
    }

    /// Breaks the connection of every session.
    pub fn disconnect(&self, how: Disconnect) {
        let mut world = self.shared.world();
        for session in world.sessions.values_mut() {
            let Some(link) = session.link.take() else { continue };
            let last = match how {
                Disconnect::Reconnect => Down::Payload(json!({"op": 7, "t": null, "s": null, "d": null})),
                Disconnect::Invalidate => Down::Payload(json!({"op": 9, "t": null, "s": null, "d": false})),
                Disconnect::DropSocket => Down::Drop,
            };
            // A connection that is gone already needs no telling.
            let _ = link.send(last);
        }
        if how == Disconnect::Invalidate {
            world.sessions.clear();
        }
    }

    /// Whether a session is connected now.
    pub fn is_connected(&self) -> bool {
        self.shared.world().sessions.values().any(|session| session.link.is_some())
    }

    /// What happened on the gateway so far.
    pub fn gateway_log(&self) -> Vec<GatewayLog> {
        self.shared.world().gateway_log.clone()
    }

    /// What the bot did that Discord would have allowed but people would not have liked.
    pub fn violations(&self) -> Vec<String> {
        self.shared.world().violations.clone()
    }

    /// The registered commands.
    pub fn commands(&self) -> Vec<Value> {
        self.shared.world().commands.clone()
    }

    fn new_channel(&self, kind: u64, name: &str, parent: Option<u64>, guild: u64) -> String {
        let mut world = self.shared.world();
        let made = world.snowflake();
        let channel = Channel { kind, name: name.to_owned(), parent, guild, recipient: None, forbidden: false };
        world.channels.insert(made, channel);
        let object = world.channel(made);
        let event = if kind == 11 { "THREAD_CREATE" } else { "CHANNEL_CREATE" };
        world.dispatch(event, |intents| (intents & GUILDS != 0).then(|| object.clone()));
        made.to_string()
    }
}

impl Shared {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn log(&self, entry: GatewayLog) {
        self.world().gateway_log.push(entry);
        self.control.touch();
    }

    fn is_token(&self, sent: &str) -> bool {
        sent.strip_prefix("Bot ").unwrap_or(sent) == self.settings.token
    }
}

impl World {
    fn registered(&self, kind: u64, name: &str) -> Result<Value, Impossible> {
        let found = self.commands.iter().find(|command| rules::kind_of(command) == kind && command["name"] == name);
        found.cloned().ok_or_else(|| Impossible(format!("the command {name} is not registered")))
    }

    /// Tells every session of an interaction; its id.
    fn interact(
        &mut self,
        kind: u64,
        channel: u64,
        user: u64,
        name: &str,
        data: Value,
        message: Option<Value>,
    ) -> String {
        self.people.insert(user, name.to_owned());
        let made = self.snowflake();
        let token = format!("aW50ZXJhY3Rpb246{made}");
        let direct = self.channels.get(&channel).is_some_and(|channel| channel.kind == 1);
        let mut object = json!({"id": made.to_string(), "application_id": APPLICATION.to_string(), "type": kind,
            "data": data, "channel": self.channel(channel), "channel_id": channel.to_string(), "token": token,
            "version": 1, "locale": "en-US", "app_permissions": "2248473465835073", "entitlements": [],
            "attachment_size_limit": 10_485_760});
        if direct {
            object["user"] = self.user(user);
            object["context"] = json!(1);
            object["authorizing_integration_owners"] = json!({"0": "0"});
        } else {
            let guild = self.channels.get(&channel).map_or(GUILD, |channel| channel.guild);
            object["member"] = self.member(guild, user, true);
            object["guild_id"] = json!(guild.to_string());
            object["guild_locale"] = json!("en-US");
            object["context"] = json!(0);
            object["authorizing_integration_owners"] = match self.left.contains(&guild) {
                true => json!({"1": user.to_string()}),
                false => json!({"0": guild.to_string()}),
            };
        }
        let original = message.as_ref().map(|message| self::id(message["id"].as_str().unwrap_or("")));
        if let Some(message) = message {
            object["message"] = message;
        }
        let made_at = self.now();
        let interaction =
            Interaction { id: made, kind, channel, made: made_at, acknowledged: false, ephemeral: false, original };
        self.interactions.insert(token, interaction);
        self.dispatch("INTERACTION_CREATE", |_| Some(object.clone()));
        made.to_string()
    }
}

async fn upgrade(
    State(shared): State<Shared>,
    headers: HeaderMap,
    socket: WebSocketUpgrade,
) -> axum::response::Response {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("").to_owned();
    socket.on_upgrade(move |socket| gateway::serve(socket, shared, host))
}

/// A value as Discord sends it for an option: of the option's type, and a choice as what it stands for.
fn typed(option: &Value, name: &str, value: &str) -> Result<Value, Impossible> {
    let kind = option["type"].as_u64().unwrap_or(3);
    let impossible = || Impossible(format!("{name} does not take {value}"));
    let value = match (option["choices"].as_array().filter(|choices| !choices.is_empty()), kind) {
        (Some(choices), _) => {
            let chosen = choices.iter().find(|choice| choice["name"] == value).ok_or_else(impossible)?;
            chosen["value"].clone()
        }
        // INTEGER and BOOLEAN.
        (None, 4) => json!(value.parse::<i64>().map_err(|_| impossible())?),
        (None, 5) => json!(value.parse::<bool>().map_err(|_| impossible())?),
        (None, _) => json!(value),
    };
    Ok(json!({"name": name, "type": kind, "value": value}))
}

/// Ids come as texts, as on the wire; one that is none names nothing.
fn id(text: &str) -> u64 {
    text.parse().unwrap_or(0)
}

fn shown(id: u64, message: &world::Message, uploads: &HashMap<String, Vec<u8>>) -> Shown {
    Shown {
        id: id.to_string(),
        from_bot: message.from_bot,
        content: message.object["content"].as_str().unwrap_or("").to_owned(),
        edits: message.edits,
        buttons: buttons(&message.object),
        reply_to: message.object["message_reference"]["message_id"].as_str().map(str::to_owned),
        ephemeral: message.ephemeral,
        deferred: message.deferred,
        interaction: None,
        files: files(&message.object["attachments"], uploads),
        flags: message.object["flags"].as_u64().unwrap_or(0),
    }
}

fn buttons(message: &Value) -> Vec<(String, String)> {
    let rows = message["components"].as_array().into_iter().flatten();
    let buttons = rows.flat_map(|row| row["components"].as_array().into_iter().flatten());
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    buttons.map(|button| (text(&button["label"]), text(&button["custom_id"]))).collect()
}

fn files(attachments: &Value, uploads: &HashMap<String, Vec<u8>>) -> Vec<(String, Vec<u8>)> {
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let content = |id: &Value| uploads.get(&text(id)).cloned().unwrap_or_default();
    let all = attachments.as_array().into_iter().flatten();
    all.map(|one| (text(&one["filename"]), content(&one["id"]))).collect()
}
