//! The tools the model may call. Adding one is one entry in [`specs`] and one arm in [`call`]. A tool never fails:
//! a fault is text for the model.
//!
//! Only words that the person wrote count as a wish that spends: `transcribe_reel` takes no link that appears only
//! in a transcript.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::block::reel_block;
use crate::core::board::{Boards, View};
use crate::core::reels::Reels;
use crate::core::reels::link::Link;
use crate::core::wording::{self, ReelState};
use crate::fence::Fences;
use crate::ids::Shortcode;
use crate::store::reels::{Submitted, SubscriptionState, Wish};
use crate::store::turns::Turn;
use crate::store::{Store, StoreError};
use crate::telemetry::TOOL_CALLS;
use crate::upstream::openai::{ToolCall, ToolSpec};

/// Reels that `list_my_reels` tells of.
const LISTED: u32 = 10;

/// What the tools work on.
pub struct Toolbox<'a> {
    pub store: &'a Store,
    pub reels: &'a Reels,
    pub boards: &'a Boards,
    pub turn: &'a Turn,
    pub fences: &'a Fences,
    /// The links that the person has written in this conversation.
    pub named: &'a [Link],
}

/// What the model is told of the tools.
pub fn specs() -> Vec<ToolSpec> {
    let no_arguments = json!({"type": "object", "properties": {}, "required": [], "additionalProperties": false});
    let one = |name: &str, meaning: &str| {
        json!({
            "type": "object",
            "properties": {name: {"type": "string", "description": meaning}},
            "required": [name],
            "additionalProperties": false
        })
    };
    vec![
        ToolSpec {
            name: "transcribe_reel",
            description: "Watch an Instagram reel whose link the person gave you. Returns its transcript if it is known, else its position in the queue; the coaching then arrives as a message of its own.",
            parameters: one("url", "The reel's link as the person wrote it"),
        },
        ToolSpec {
            name: "get_reel",
            description: "Transcript and data of a reel that was watched before.",
            parameters: one("shortcode", "The code in the reel's link, for example DLlGZiCOBQ0"),
        },
        ToolSpec {
            name: "list_my_reels",
            description: "The reels this person has asked for in this chat lately, newest first, with their state.",
            parameters: no_arguments.clone(),
        },
        ToolSpec {
            name: "queue_status",
            description: "Length of the reel queue and the positions of this person's reels.",
            parameters: no_arguments,
        },
    ]
}

/// Runs one call.
pub async fn call(tools: &Toolbox<'_>, call: &ToolCall) -> String {
    let output = match call.name.as_str() {
        "transcribe_reel" => match argument::<UrlArgument>(call) {
            Ok(UrlArgument { url }) => transcribe_reel(tools, &url).await,
            Err(fault) => Ok(fault),
        },
        "get_reel" => match argument::<ShortcodeArgument>(call) {
            Ok(ShortcodeArgument { shortcode }) => get_reel(tools, &shortcode).await,
            Err(fault) => Ok(fault),
        },
        "list_my_reels" => list_my_reels(tools).await,
        "queue_status" => queue_status(tools).await,
        _ => Ok(json!({"error": "There is no such tool."})),
    };
    let outcome = match &output {
        Ok(output) if output.get("error").is_some() => "refused",
        Ok(_) => "ok",
        Err(_) => "failed",
    };
    metrics::counter!(TOOL_CALLS, "tool" => known_name(&call.name), "outcome" => outcome).increment(1);
    // What is refused to the model works as it should.
    if let Err(error) = tools.store.count_tool(&tools.turn.chat, outcome != "failed", tools.reels.now()).await {
        tracing::warn!(turn = %tools.turn.id, "a tool's call could not be counted: {error}");
    }
    match output {
        Ok(output) => output.to_string(),
        Err(error) => {
            tracing::error!(turn = %tools.turn.id, tool = %known_name(&call.name), "a tool failed: {error}");
            json!({"error": "the tool failed; say that it did not work right now"}).to_string()
        }
    }
}

#[derive(Deserialize)]
struct UrlArgument {
    url: String,
}

#[derive(Deserialize)]
struct ShortcodeArgument {
    shortcode: String,
}

fn argument<T: for<'a> Deserialize<'a>>(call: &ToolCall) -> Result<T, Value> {
    serde_json::from_str(&call.arguments).map_err(|_| json!({"error": "the arguments are not what the tool takes"}))
}

async fn transcribe_reel(tools: &Toolbox<'_>, url: &str) -> Result<Value, StoreError> {
    let Some(link) = tools.reels.find(url, &[]).links.into_iter().next() else {
        return Ok(json!({"error": wording::no_link()}));
    };
    if !tools.named.contains(&link) {
        return Ok(json!({"error": "the person has not given this link themselves; ask them to paste it"}));
    }
    let code = match link {
        Link::Reel(code) => code,
        Link::Share { .. } => match tools.reels.mentioned(url, &[]).await.reels.into_iter().next() {
            Some(code) => code,
            None => return Ok(json!({"error": wording::share_unresolved()})),
        },
        Link::Unsupported(kind) => return Ok(json!({"error": wording::unsupported(kind)})),
    };
    let now = tools.reels.now();
    let wish = Wish {
        turn: tools.turn.id,
        person: tools.turn.person,
        chat: &tools.turn.chat,
        reply_to: tools.turn.reply_to.as_deref(),
        placeholder: None,
        question: "",
        reels: std::slice::from_ref(&code),
        fresh: false,
    };
    let outcome = tools.reels.submit(&wish, &|_| String::new(), now).await?.into_iter().next();
    Ok(match outcome {
        Some(Submitted::Cached) => known_reel(tools, &code).await?,
        Some(Submitted::Failed(content)) => json!({"error": wording::known_failure(&content)}),
        Some(Submitted::Denied(denied)) => json!({"error": wording::denied(denied, now)}),
        Some(Submitted::Joined | Submitted::Queued { .. }) => {
            let view = tools.boards.view().await?;
            json!({
                "state": "in the line",
                "waiting": view.waiting,
                "at_work": view.working,
                "a_reel_takes": wording::about(view.typical),
                "note": "A live message shows the progress, and the coaching arrives by itself."
            })
        }
        None => json!({"error": "nothing was submitted"}),
    })
}

async fn get_reel(tools: &Toolbox<'_>, shortcode: &str) -> Result<Value, StoreError> {
    match shortcode.trim().parse::<Shortcode>() {
        Ok(code) => known_reel(tools, &code).await,
        Err(_) => Ok(json!({"error": "that is not a shortcode"})),
    }
}

async fn known_reel(tools: &Toolbox<'_>, code: &Shortcode) -> Result<Value, StoreError> {
    Ok(match tools.reels.known(code, tools.reels.now()).await? {
        Some(Ok(reel)) => json!({"reel": reel_block(&reel, tools.fences)}),
        Some(Err(failure)) => json!({"error": wording::known_failure(&failure)}),
        None => json!({"error": "This reel hasn't been watched, or too long ago."}),
    })
}

async fn list_my_reels(tools: &Toolbox<'_>) -> Result<Value, StoreError> {
    let asked = tools.store.reels_of(tools.turn.person, &tools.turn.chat, LISTED).await?;
    let now = tools.reels.now();
    let reels: Vec<Value> = asked
        .into_iter()
        .map(|reel| {
            let state = match reel.state {
                SubscriptionState::Waiting => "waiting",
                SubscriptionState::Answering | SubscriptionState::Answered => "read",
                SubscriptionState::Cancelled => "cancelled",
            };
            json!({"shortcode": reel.shortcode.as_str(), "state": state, "asked_minutes_ago": now.since(reel.at).as_secs() / 60})
        })
        .collect();
    Ok(json!({"reels": reels}))
}

async fn queue_status(tools: &Toolbox<'_>) -> Result<Value, StoreError> {
    let (view, own) = own_reels(tools.store, tools.boards, tools.turn).await?;
    Ok(json!({"text": wording::queue(view.waiting, view.working, view.typical, &own)}))
}

/// The states of the reels that a person waits for in this chat: what they do elsewhere is nobody's business here.
pub async fn own_reels(
    store: &Store,
    boards: &Boards,
    turn: &Turn,
) -> Result<(Arc<View>, Vec<(Shortcode, ReelState)>), StoreError> {
    let own = store.open_boards_of(turn.person).await?;
    let here = own.iter().filter(|board| board.chat == turn.chat).flat_map(|board| &board.reels);
    boards.states_of(turn.person, here).await
}

/// The model's word for a tool is not logged unless it is one of ours.
fn known_name(name: &str) -> &'static str {
    specs().iter().map(|spec| spec.name).find(|known| *known == name).unwrap_or("unknown")
}
