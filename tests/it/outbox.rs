//! What the one sender does over the wire: pauses, refusals, long answers, answers that grow.

use std::time::{Duration, Instant};

use reelcoach::store::Store;
use sandbox::openai::Script;
use sandbox::{Asked, Control, Fault, Sandbox, Settings};
use serde_json::{Value, json};

use crate::bot::{TestBot, until};
use crate::support::TestDb;

const ANA: i64 = 42;
const BEN: i64 = 77;
const ADA: &str = "101";
const CURSOR: char = '▌';

/// A refusal of the Bot API.
fn refusal(code: u16, description: &str, parameters: Value) -> Fault {
    let mut body = json!({"ok": false, "error_code": code, "description": description});
    if !parameters.is_null() {
        body["parameters"] = parameters;
    }
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    Fault::Answer { status: code, headers, body: body.to_string() }
}

fn too_many(seconds: u64) -> Fault {
    refusal(429, &format!("Too Many Requests: retry after {seconds}"), json!({"retry_after": seconds}))
}

/// Calls with this in their path that concern a chat, with the time they came.
fn calls(control: &Control, path: &str, chat: i64) -> Vec<(Instant, Asked)> {
    let about = |asked: &Asked| {
        asked.path.contains(path) && [json!(chat), json!(chat.to_string())].contains(&asked.body["chat_id"])
    };
    control.timed().into_iter().filter(|(_, asked)| about(asked)).collect()
}

/// A bot whose coach writes word by word.
async fn growing() -> TestBot {
    let sandbox = Sandbox::start(Settings { port: 0, speed: 0.7, enforce_limits: false }).await.unwrap();
    TestBot::start_on(sandbox.into(), TestDb::sqlite().await.into(), &[]).await
}

fn words(count: usize) -> String {
    (0..count).map(|at| format!("w{at}")).collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_final_waits_for_the_pause_and_nothing_else_is_said_in_the_chat() {
    let bot = TestBot::start(TestDb::sqlite().await, &[]).await;
    bot.sandbox.telegram.control.fault("sendMessage", too_many(2));
    bot.sandbox.telegram.say(ANA, ANA, "Ana", "/help");
    until("the pause has begun", async || !calls(&bot.sandbox.telegram.control, "sendMessage", ANA).is_empty()).await;
    bot.sandbox.telegram.say(ANA, ANA, "Ana", "/queue");
    bot.sandbox.telegram.say(BEN, BEN, "Ben", "/help");
    until("another chat goes on", async || !bot.telegram(BEN).is_empty()).await;
    assert!(bot.telegram(ANA).is_empty());
    bot.drain().await;
    let screen = bot.telegram(ANA);
    // `/queue` is answered beside the talk, so either may come first.
    let has = |words: &str| screen.iter().filter(|text| text.contains(words)).count();
    assert!(screen.len() == 2 && has("/reel") == 1 && has("queue is empty") == 1, "{screen:?}");
    let all: Vec<Instant> = ["sendMessage", "editMessageText", "sendChatAction"]
        .iter()
        .flat_map(|path| calls(&bot.sandbox.telegram.control, path, ANA))
        .map(|(at, _)| at)
        .collect();
    let first = all.iter().min().unwrap();
    let next = all.iter().filter(|at| *at > first).min().unwrap();
    let pause = next.duration_since(*first);
    assert!(pause >= Duration::from_secs(2) && pause < Duration::from_secs(4), "{pause:?}");
    assert_eq!(all.len(), 3, "the refused one and the two that came");
    bot.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_on_a_frame_never_loses_the_final() {
    let bot = growing().await;
    let answer = words(120);
    bot.sandbox.openai.script(Script::Text(answer.clone()));
    bot.sandbox.telegram.control.fault("sendMessage", too_many(1));
    bot.sandbox.telegram.control.fault("editMessageText", too_many(1));
    bot.sandbox.telegram.say(ANA, ANA, "Ana", "hello");
    bot.drain().await;
    assert_eq!(bot.telegram(ANA), [answer]);
    bot.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn markup_that_is_not_understood_goes_as_plain_text() {
    let bot = TestBot::start(TestDb::sqlite().await, &[]).await;
    let words = "Bad Request: can't parse entities: Unsupported start tag \"x\" at byte offset 3";
    bot.sandbox.telegram.control.fault("sendMessage", refusal(400, words, Value::Null));
    bot.sandbox.telegram.say(ANA, ANA, "Ana", "/help");
    bot.drain().await;
    let sent = calls(&bot.sandbox.telegram.control, "sendMessage", ANA);
    assert_eq!(sent.len(), 2);
    assert_eq!((&sent[0].1.body["parse_mode"], sent[1].1.body.get("parse_mode")), (&json!("HTML"), None));
    let shown = bot.telegram(ANA);
    assert_eq!(shown, [sent[1].1.body["text"].as_str().unwrap()]);
    assert!(sent[0].1.body["text"].as_str().unwrap().contains("<code>") && !shown[0].contains("<code>"), "{shown:?}");
    bot.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_blocks_the_bot_is_left_alone() {
    let bot = TestBot::start(TestDb::sqlite().await, &[]).await;
    // Longer than the test.
    bot.sandbox.apify.set_scrape(Duration::from_secs(80));
    bot.sandbox.telegram.block(ANA);
    bot.sandbox.telegram.say(ANA, ANA, "Ana", "tell me something");
    bot.sandbox.telegram.say(BEN, BEN, "Ben", "https://www.instagram.com/reel/DLlGZiCOBQ0/");
    until("Ben has a board", async || !bot.telegram(BEN).is_empty()).await;
    bot.sandbox.telegram.block(BEN);
    bot.drain().await;
    let undeliverable = "SELECT COUNT(*) FROM turns WHERE outcome = 'undeliverable'";
    assert_eq!(bot.db.number(undeliverable, &[]).await, 1);
    assert_eq!(bot.db.number("SELECT COUNT(*) FROM jobs WHERE state = 'cancelled'", &[]).await, 1);
    assert_eq!(bot.sandbox.gemini.charged().len(), 0);
    let tries =
        ["sendMessage", "editMessageText"].iter().map(|path| calls(&bot.sandbox.telegram.control, path, ANA).len());
    assert!(tries.clone().sum::<usize>() <= 2, "{:?}", tries.collect::<Vec<_>>());
    // Whoever comes back is answered.
    bot.sandbox.telegram.unblock(ANA);
    bot.sandbox.telegram.say(ANA, ANA, "Ana", "/help");
    bot.drain().await;
    assert_eq!(bot.telegram(ANA).len(), 1);
    bot.end().await;
}

/// 10,000 characters: prose around a code block that is longer than a message.
fn long_answer() -> (String, Vec<String>) {
    let line = |at: usize| format!("let line_{at} = {at}; // what line {at} does");
    let prose = |at: usize| format!("Sentence {at} says one more thing about hooks.");
    let code: Vec<String> = (0..130).map(line).collect();
    let before: Vec<String> = (0..60).map(prose).collect();
    let after: Vec<String> = (60..110).map(prose).collect();
    let text = format!("{}\n\n```rust\n{}\n```\n\n{}", before.join(" "), code.join("\n"), after.join(" "));
    assert!((9_500..11_000).contains(&text.len()), "{}", text.len());
    (text, [before, code, after].concat())
}

/// Every part stands there once, in order.
fn assert_whole(pieces: &[String], parts: &[String]) {
    let whole = pieces.join("\n").replace('\n', " ");
    let mut from = 0;
    for part in parts {
        let at = whole[from..].find(part.as_str()).unwrap_or_else(|| panic!("{part:?} is missing or out of order"));
        from += at + part.len();
        assert_eq!(whole.matches(part.as_str()).count(), 1, "{part}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_arrives_whole_in_pieces() {
    let bot = TestBot::start(TestDb::sqlite().await, &[]).await;
    until("Discord is connected", async || bot.sandbox.discord.is_connected()).await;
    let (answer, parts) = long_answer();
    bot.sandbox.openai.script(Script::Text(answer.clone()));
    bot.sandbox.telegram.say(ANA, ANA, "Ana", "everything");
    bot.drain().await;
    let pieces = bot.telegram(ANA);
    assert!((3..=4).contains(&pieces.len()), "{}", pieces.len());
    assert!(pieces.iter().all(|piece| piece.encode_utf16().count() <= 4096));
    assert_whole(&pieces, &parts);
    let inside = bot.sandbox.telegram.screen(ANA).iter().filter(|shown| shown.html.contains("language-rust")).count();
    assert!(inside >= 2, "the code goes on as code in the next message");

    let channel = bot.sandbox.discord.dm(ADA);
    bot.sandbox.openai.script(Script::Text(answer));
    bot.sandbox.discord.say(&channel, ADA, "Ada", "everything");
    until("the last piece is there", async || {
        let last = bot.sandbox.discord.screen(&channel).pop();
        last.is_some_and(|shown| shown.content.contains("Sentence 109"))
    })
    .await;
    bot.drain().await;
    let screen = bot.sandbox.discord.screen(&channel);
    let pieces: Vec<String> = screen.into_iter().filter(|s| s.from_bot).map(|s| s.content).collect();
    assert!((6..=8).contains(&pieces.len()), "{}", pieces.len());
    for piece in &pieces {
        assert!(piece.chars().count() <= 2000);
        assert_eq!(piece.matches("```").count() % 2, 0, "{piece}");
    }
    assert!(pieces.iter().filter(|piece| piece.contains("```rust")).count() >= 3);
    assert_whole(&pieces, &parts);
    bot.end().await;
}

/// Frames are at least `interval` apart, each longer than the one before; the last edit is the final.
fn assert_paced(frames: &[(Instant, String)], interval: Duration, answer: &str) {
    let (last, growing) = frames.split_last().unwrap();
    assert_eq!(last.1, answer);
    assert!(growing.len() >= 3, "it was seen growing {} times", growing.len());
    for pair in growing.windows(2) {
        let apart = pair[1].0.duration_since(pair[0].0);
        // The bot's clock counts whole milliseconds.
        assert!(apart >= interval - Duration::from_millis(5), "{apart:?}");
        assert!(pair[1].1.len() >= pair[0].1.len());
    }
    assert!(growing.iter().all(|(_, text)| text.ends_with(CURSOR)), "{growing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_grows_in_one_message_at_the_platforms_pace() {
    let bot = growing().await;
    until("Discord is connected", async || bot.sandbox.discord.is_connected()).await;
    let channel = bot.sandbox.discord.dm(ADA);
    let answer = words(350);
    bot.sandbox.openai.script(Script::Text(answer.clone()));
    bot.sandbox.openai.script(Script::Text(answer.clone()));
    bot.sandbox.telegram.say(ANA, ANA, "Ana", "go");
    bot.sandbox.discord.say(&channel, ADA, "Ada", "go");
    until("both are answered", async || {
        let discord = bot.sandbox.discord.screen(&channel);
        discord.last().is_some_and(|shown| shown.content == answer) && bot.telegram(ANA) == [answer.clone()]
    })
    .await;
    bot.drain().await;

    let text = |asked: &Asked, field: &str| asked.body[field].as_str().unwrap_or_default().to_owned();
    let of = |path: &str| calls(&bot.sandbox.telegram.control, path, ANA);
    assert_eq!(of("sendMessage").len(), 1, "one message only");
    let frames: Vec<_> =
        [of("sendMessage"), of("editMessageText")].concat().iter().map(|(at, a)| (*at, text(a, "text"))).collect();
    assert_paced(&frames, Duration::from_millis(1500), &answer);

    let written: Vec<(Instant, Asked)> = bot
        .sandbox
        .discord
        .control
        .timed()
        .into_iter()
        .filter(|(_, asked)| asked.body["content"].is_string())
        .collect();
    assert_eq!(written.iter().filter(|(_, asked)| asked.method == "POST").count(), 1, "one message only");
    let frames: Vec<_> = written.iter().map(|(at, asked)| (*at, text(asked, "content"))).collect();
    assert_paced(&frames, Duration::from_millis(1200), &answer);
    bot.end().await;
}

async fn is_idle(store: &Store) -> bool {
    store.is_idle().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_whose_token_has_died_is_answered_by_a_plain_message() {
    let bot = TestBot::start(TestDb::sqlite().await, &[]).await;
    let channel = bot.sandbox.discord.guild_channel("general");
    until("Discord is connected", async || bot.sandbox.discord.is_connected()).await;
    bot.sandbox.openai.control.fault("/responses", Fault::Slow(Duration::from_millis(600)));
    bot.sandbox.openai.script(Script::Text("Better late than never.".into()));
    bot.sandbox.discord.slash(&channel, ADA, "Ada", "coach", &[("text", "what now?")]).unwrap();
    until("the coach is asked", async || bot.sandbox.openai.control.count("/responses") == 1).await;
    assert!(bot.sandbox.discord.screen(&channel)[0].deferred, "it says that it thinks");
    bot.sandbox.discord.age_interactions(Duration::from_secs(16 * 60));
    until("it is answered", async || is_idle(&bot.store).await).await;
    let screen = bot.sandbox.discord.screen(&channel);
    let answers: Vec<_> = screen.iter().filter(|shown| !shown.deferred).collect();
    assert_eq!(answers.len(), 1, "{screen:?}");
    assert_eq!(answers[0].content, "Better late than never.");
    bot.end().await;
}
