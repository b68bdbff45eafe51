//! The gateway of the stand-in: HELLO, IDENTIFY, RESUME, heartbeats, the fatal close codes (Discord API
//! reference, Gateway). Owns connections; what goes through them, the world decides.

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::Shared;
use super::world::{APPLICATION, BOT, Down, GUILDS, GUILDS_THERE_ARE, GatewayLog, MESSAGE_CONTENT, Session};

/// The usual heartbeat interval in milliseconds.
const HEARTBEAT_MS: u64 = 41_250;

/// All intents there are (bits 0 to 25 with the gaps of the documentation).
const KNOWN_INTENTS: u64 = 0x0331_ffff;

/// Serves one connection until one of the two sides ends it.
pub(super) async fn serve(mut socket: WebSocket, shared: Shared, host: String) {
    shared.log(GatewayLog::Connected);
    let hello = json!({"op": 10, "t": null, "s": null, "d": {"heartbeat_interval": HEARTBEAT_MS}});
    if socket.send(text(&hello)).await.is_err() {
        return;
    }
    let (link, mut down) = mpsc::unbounded_channel();
    let mut session: Option<String> = None;
    loop {
        tokio::select! {
            out = down.recv() => match out {
                Some(Down::Payload(payload)) => {
                    if socket.send(text(&payload)).await.is_err() {
                        break;
                    }
                }
                Some(Down::Drop) | None => break,
            },
            got = socket.recv() => {
                let payload = match got {
                    Some(Ok(Message::Text(text))) => serde_json::from_str::<Value>(&text).unwrap_or_default(),
                    Some(Ok(Message::Close(frame))) => {
                        let code = frame.map(|frame| frame.code);
                        // A clean close ends the session; any other can be resumed.
                        if let (Some(1000 | 1001), Some(id)) = (code, &session) {
                            shared.world().sessions.remove(id);
                        }
                        shared.log(GatewayLog::Closed { code });
                        break;
                    }
                    Some(Ok(_)) => continue,
                    Some(Err(_)) | None => {
                        shared.log(GatewayLog::Closed { code: None });
                        break;
                    }
                };
                match react(&payload, &shared, &link, &host) {
                    Reaction::Say(payload) => {
                        if socket.send(text(&payload)).await.is_err() {
                            break;
                        }
                    }
                    Reaction::Begin(id) => session = Some(id),
                    Reaction::Refuse(code, reason) => {
                        shared.log(GatewayLog::Refused { code });
                        let frame = CloseFrame { code, reason: reason.into() };
                        // The client may be gone already; there is nothing left to do for it.
                        let _ = socket.send(Message::Close(Some(frame))).await;
                        break;
                    }
                    Reaction::Nothing => {}
                }
            }
        }
    }
    if let Some(id) = session
        && let Some(session) = shared.world().sessions.get_mut(&id)
    {
        // Another connection may have taken the session over; then the link is not this one's.
        session.link.take_if(|taken| taken.same_channel(&link));
    }
    shared.control.touch();
}

enum Reaction {
    Say(Value),
    Begin(String),
    Refuse(u16, &'static str),
    Nothing,
}

fn react(payload: &Value, shared: &Shared, link: &mpsc::UnboundedSender<Down>, host: &str) -> Reaction {
    match payload["op"].as_u64() {
        Some(1) => Reaction::Say(json!({"op": 11, "t": null, "s": null, "d": null})),
        Some(2) => identify(&payload["d"], shared, link, host),
        Some(6) => resume(&payload["d"], shared, link),
        Some(3 | 4 | 8) => Reaction::Nothing,
        _ => Reaction::Refuse(4001, "Unknown opcode."),
    }
}

fn identify(data: &Value, shared: &Shared, link: &mpsc::UnboundedSender<Down>, host: &str) -> Reaction {
    if !shared.is_token(data["token"].as_str().unwrap_or("")) {
        return Reaction::Refuse(4004, "Authentication failed.");
    }
    let intents = match data["intents"].as_u64() {
        Some(intents) if intents & !KNOWN_INTENTS == 0 => intents,
        _ => return Reaction::Refuse(4013, "Invalid intent(s)."),
    };
    if intents & MESSAGE_CONTENT != 0 && !shared.settings.message_content {
        return Reaction::Refuse(4014, "Disallowed intent(s).");
    }
    let mut world = shared.world();
    let id = format!("session{}", world.snowflake());
    let mut user = world.user(BOT);
    user["verified"] = json!(true);
    user["mfa_enabled"] = json!(false);
    user["email"] = Value::Null;
    let there = || GUILDS_THERE_ARE.into_iter().filter(|(id, _)| !world.left.contains(id));
    let guilds: Vec<Value> = there().map(|(id, _)| json!({"id": id.to_string(), "unavailable": true})).collect();
    let ready = json!({"v": 10, "user": user, "guilds": guilds,
        "session_id": id, "resume_gateway_url": format!("ws://{host}"), "shard": data["shard"],
        "application": {"id": APPLICATION.to_string(), "flags": 0}});
    let guilds: Vec<Value> = there().map(|(id, name)| world.guild(id, name)).collect();
    let mut session = Session { intents, seq: 0, events: Vec::new(), link: Some(link.clone()) };
    session.dispatch("READY", &ready);
    if intents & GUILDS != 0 {
        for guild in &guilds {
            session.dispatch("GUILD_CREATE", guild);
        }
    }
    world.sessions.insert(id.clone(), session);
    drop(world);
    shared.log(GatewayLog::Identified { intents });
    Reaction::Begin(id)
}

fn resume(data: &Value, shared: &Shared, link: &mpsc::UnboundedSender<Down>) -> Reaction {
    if !shared.is_token(data["token"].as_str().unwrap_or("")) {
        return Reaction::Refuse(4004, "Authentication failed.");
    }
    let (Some(id), Some(seq)) = (data["session_id"].as_str(), data["seq"].as_u64()) else {
        return Reaction::Refuse(4002, "Error while decoding payload.");
    };
    let mut world = shared.world();
    let Some(session) = world.sessions.get_mut(id) else {
        drop(world);
        shared.log(GatewayLog::ResumeRefused);
        return Reaction::Say(json!({"op": 9, "t": null, "s": null, "d": false}));
    };
    if seq > session.seq {
        return Reaction::Refuse(4007, "Invalid seq.");
    }
    let missed: Vec<Value> =
        session.events.iter().filter(|(at, _)| *at > seq).map(|(_, event)| event.clone()).collect();
    let replayed = missed.len();
    for event in missed {
        // The receiver lives in the caller's loop.
        let _ = link.send(Down::Payload(event));
    }
    session.link = Some(link.clone());
    session.dispatch("RESUMED", &json!({"_trace": []}));
    drop(world);
    shared.log(GatewayLog::Resumed { replayed });
    Reaction::Begin(id.to_owned())
}

fn text(payload: &Value) -> Message {
    Message::Text(payload.to_string().into())
}
