//! A person's hand and eyes over HTTP, for whoever runs the sandbox as a process: says something on a platform, and
//! reads what stands on the screen there.
//!
//! - `POST /telegram/42?name=Ana` with a text: Ana (account 42) writes to the bot. `GET /telegram/42`: her screen.
//! - `POST /discord/42?name=Ana`, `GET /discord/42`: the same in Discord's direct messages.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use serde::Deserialize;

use super::discord::DiscordSandbox;
use super::telegram::TelegramSandbox;

/// The platforms that it reaches.
#[derive(Clone)]
pub(super) struct Hand {
    pub telegram: Arc<TelegramSandbox>,
    pub discord: Arc<DiscordSandbox>,
}

#[derive(Deserialize)]
struct Who {
    #[serde(default = "somebody")]
    name: String,
}

fn somebody() -> String {
    "Somebody".to_owned()
}

pub(super) fn router(hand: Hand) -> Router {
    Router::new()
        .route("/telegram/{chat}", get(telegram_screen).post(telegram_say))
        .route("/discord/{user}", get(discord_screen).post(discord_say))
        .with_state(hand)
}

async fn telegram_say(
    State(hand): State<Hand>,
    Path(chat): Path<i64>,
    Query(who): Query<Who>,
    text: String,
) -> StatusCode {
    if text.trim().is_empty() {
        return StatusCode::BAD_REQUEST;
    }
    hand.telegram.say(chat, chat, &who.name, &text);
    StatusCode::NO_CONTENT
}

async fn telegram_screen(State(hand): State<Hand>, Path(chat): Path<i64>) -> String {
    let screen = hand.telegram.screen(chat);
    lines(screen.into_iter().map(|shown| {
        let files = shown.photo.into_iter().chain(shown.document);
        (shown.from_bot, with_files(shown.text, files), shown.buttons)
    }))
}

async fn discord_say(
    State(hand): State<Hand>,
    Path(user): Path<u64>,
    Query(who): Query<Who>,
    text: String,
) -> StatusCode {
    if text.trim().is_empty() {
        return StatusCode::BAD_REQUEST;
    }
    let user = user.to_string();
    let channel = hand.discord.dm(&user);
    hand.discord.say(&channel, &user, &who.name, &text);
    StatusCode::NO_CONTENT
}

async fn discord_screen(State(hand): State<Hand>, Path(user): Path<u64>) -> String {
    let channel = hand.discord.dm(&user.to_string());
    let screen = hand.discord.screen(&channel);
    lines(screen.into_iter().map(|shown| (shown.from_bot, with_files(shown.content, shown.files), shown.buttons)))
}

/// The text, and the names and sizes of the files below it.
fn with_files(text: String, files: impl IntoIterator<Item = (String, Vec<u8>)>) -> String {
    let name = |(name, content): (String, Vec<u8>)| format!(" ({name}, {} bytes)", content.len());
    text + &files.into_iter().map(name).collect::<String>()
}

fn lines(screen: impl Iterator<Item = (bool, String, Vec<(String, String)>)>) -> String {
    let mut text = String::new();
    for (from_bot, said, buttons) in screen {
        text.push_str(if from_bot { "coach: " } else { "you: " });
        text.push_str(&said);
        for (label, _) in buttons {
            text.push_str(&format!(" [{label}]"));
        }
        text.push('\n');
    }
    text
}
