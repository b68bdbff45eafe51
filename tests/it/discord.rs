//! The real Discord adapter (serenity, poise) against the stand-in, over loopback.

mod presses;
mod sending;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use reelcoach::clock::{Clock, Timestamp};
use reelcoach::core::chat::{
    Addressed, Button, Destination, File, Inbound, Messenger, Piece, ReceiveFailed, SendError, Taken,
};
use reelcoach::core::command::COMMANDS;
use reelcoach::core::wording;
use reelcoach::ids::{ChatId, MessageRef, Platform};
use reelcoach::platforms::discord::{self, ActiveChat, Discord, Door, IdentifyError, RunEnded};
use sandbox::Fault;
use sandbox::discord::{Disconnect, DiscordSandbox, GatewayLog, Settings, Shown};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const ADA: &str = "101";
const BOB: &str = "102";

/// The longest any step may take; serenity waits up to 10 s before it begins a new session.
const PATIENCE: Duration = Duration::from_secs(30);

/// One bot with its stand-in, and what its core has received.
struct Bot {
    sandbox: DiscordSandbox,
    discord: Discord,
    door: Door,
    received: tokio::sync::Mutex<mpsc::UnboundedReceiver<Inbound>>,
    stored: Arc<AtomicBool>,
    active: Arc<Mutex<Vec<ActiveChat>>>,
    threads: Arc<Mutex<Vec<ChatId>>>,
    stop: CancellationToken,
}

impl Bot {
    async fn new(settings: Settings, message_content: bool, clock: Clock) -> Bot {
        let token = settings.token.clone();
        Self::with_token(settings, message_content, clock, &token).await
    }

    async fn with_token(settings: Settings, message_content: bool, clock: Clock, token: &str) -> Bot {
        let sandbox = DiscordSandbox::start(settings).await.unwrap();
        let settings = discord::Settings {
            token: token.to_owned().into(),
            api_url: Some(sandbox.served.url().parse().unwrap()),
            message_content,
            guild_commands: None,
        };
        let (tell, received) = mpsc::unbounded_channel();
        let stored = Arc::new(AtomicBool::new(true));
        let active = Arc::new(Mutex::new(Vec::new()));
        let threads = Arc::new(Mutex::new(Vec::new()));
        let door = Door {
            tell_presence: Arc::new(|_, _| Box::pin(async { Ok(()) })),
            is_welcome: Arc::new(|_| Box::pin(async { true })),
            receive: {
                let stored = stored.clone();
                Arc::new(move |inbound| {
                    let told = match stored.load(Ordering::SeqCst) {
                        true => tell.send(inbound).map(|()| Taken::Stored).map_err(|_| ReceiveFailed),
                        false => Err(ReceiveFailed),
                    };
                    Box::pin(async move { told })
                })
            },
            takes_part: {
                let threads: Arc<Mutex<Vec<ChatId>>> = threads.clone();
                Arc::new(move |chat| {
                    let takes_part = threads.lock().unwrap().contains(&chat);
                    Box::pin(async move { takes_part })
                })
            },
            active: {
                let active: Arc<Mutex<Vec<ActiveChat>>> = active.clone();
                Arc::new(move || {
                    let active = active.lock().unwrap().clone();
                    Box::pin(async move { active })
                })
            },
        };
        let received = tokio::sync::Mutex::new(received);
        let discord = Discord::new(settings, clock).unwrap();
        Bot { sandbox, discord, door, received, stored, active, threads, stop: CancellationToken::new() }
    }

    async fn usual() -> Bot {
        Self::new(Settings::default(), true, Clock::System).await
    }

    /// Runs the bot beside `test` and stops it after.
    async fn run(&self, test: impl AsyncFnOnce(&Bot)) {
        let beside = async {
            self.until(|bot| bot.sandbox.is_connected()).await;
            test(self).await;
            self.stop.cancel();
        };
        let (ended, ()) = tokio::join!(self.discord.run(self.door.clone(), &self.stop), beside);
        ended.unwrap();
        assert_eq!(self.sandbox.violations(), Vec::<String>::new());
    }

    async fn next(&self) -> Inbound {
        let next = tokio::time::timeout(PATIENCE, async { self.received.lock().await.recv().await }).await;
        next.expect("nothing was received").unwrap()
    }

    async fn until(&self, holds: impl Fn(&Bot) -> bool) {
        let held = self.sandbox.control.until(|_| holds(self));
        tokio::time::timeout(PATIENCE, held).await.expect("it never came to that");
    }

    /// Waits until so many requests had this in their path.
    async fn asked(&self, path: &str, times: usize) {
        let asked = self.sandbox.control.until(|asked| asked.iter().filter(|a| a.path.contains(path)).count() >= times);
        tokio::time::timeout(PATIENCE, asked).await.expect("it was never asked for");
    }

    fn shown(&self, channel: &str) -> Vec<Shown> {
        self.sandbox.screen(channel).into_iter().filter(|shown| shown.from_bot).collect()
    }
}

fn chat(channel: &str) -> ChatId {
    ChatId::new(Platform::Discord, channel)
}

fn to(channel: &str) -> Destination {
    Destination { chat: chat(channel), reply_to: None }
}

fn piece(text: &str) -> Piece {
    Piece { markup: text.to_owned(), plain: text.to_owned(), ..Piece::default() }
}

fn cancel_button() -> Button {
    Button { label: "Cancel".to_owned(), command: "/cancel 7".to_owned() }
}

#[tokio::test]
async fn messages_arrive_as_what_they_are() {
    let bot = Bot::usual().await;
    let general = bot.sandbox.guild_channel("general");
    bot.run(async |bot| {
        let dm = bot.sandbox.dm(ADA);
        let said = bot.sandbox.say(&dm, ADA, "Ada", "hello");
        let heard = bot.next().await;
        assert_eq!((heard.text.as_str(), heard.addressed), ("hello", Addressed::Direct));
        assert_eq!(heard.message, MessageRef::new(chat(&dm), said));
        assert_eq!((heard.author.account.as_str(), heard.author.name.as_str()), (ADA, "Ada"));

        let (me, _) = bot.sandbox.bot();
        bot.sandbox.say(&general, ADA, "Ada", &format!("hey <@{me}> look"));
        let heard = bot.next().await;
        assert_eq!((heard.text.as_str(), heard.addressed), ("hey look", Addressed::Mentioned));

        bot.sandbox.say(&general, BOB, "Bob", "@everyone lunch https://www.instagram.com/reel/DLlGZiCOBQ0/");
        assert_eq!(bot.next().await.addressed, Addressed::Overheard);

        let answer = bot.discord.send(&to(&general), &piece("hi"), false, "n1").await.unwrap();
        let said = bot.sandbox.reply(&general, BOB, "Bob", "thanks", &answer.id);
        let heard = bot.next().await;
        assert_eq!((heard.addressed, heard.reply_to), (Addressed::Mentioned, Some(answer)));
        assert_eq!(heard.message.id, said);
    })
    .await;
}

#[tokio::test]
async fn a_thread_the_bot_takes_part_in_is_a_conversation() {
    let bot = Bot::usual().await;
    let general = bot.sandbox.guild_channel("general");
    let before = bot.sandbox.thread(&general, "made before");
    bot.run(async |bot| {
        let during = bot.sandbox.thread(&general, "made while it listens");
        bot.threads.lock().unwrap().extend([chat(&before), chat(&during), chat(&general)]);
        for thread in [&before, &during] {
            bot.sandbox.say(thread, ADA, "Ada", "go on");
            assert_eq!(bot.next().await.addressed, Addressed::Mentioned);
        }
        // Having spoken in a channel makes not everything there a word to the bot.
        bot.sandbox.say(&general, ADA, "Ada", "lunch?");
        assert_eq!(bot.next().await.addressed, Addressed::Overheard);
        bot.threads.lock().unwrap().clear();
        bot.sandbox.say(&before, ADA, "Ada", "among us");
        assert_eq!(bot.next().await.addressed, Addressed::Overheard);
    })
    .await;
}

#[tokio::test]
async fn without_the_content_intent_only_what_is_for_the_bot_arrives() {
    let bot = Bot::new(Settings { message_content: false, ..Settings::default() }, false, Clock::System).await;
    let general = bot.sandbox.guild_channel("general");
    bot.run(async |bot| {
        let (me, _) = bot.sandbox.bot();
        bot.sandbox.say(&general, ADA, "Ada", "not for the bot");
        bot.sandbox.say(&general, ADA, "Ada", &format!("<@{me}> for the bot"));
        assert_eq!(bot.next().await.text, "for the bot");
        assert!(!bot.discord.identify().await.unwrap().message_content);
    })
    .await;
}

#[tokio::test]
async fn a_forward_brings_its_link() {
    let bot = Bot::usual().await;
    bot.run(async |bot| {
        let dm = bot.sandbox.dm(ADA);
        bot.sandbox.forward(&dm, ADA, "Ada", "look at this", Some("https://www.instagram.com/reel/DLlGZiCOBQ0/"));
        let heard = bot.next().await;
        assert_eq!(heard.text, "look at this");
        assert_eq!(heard.links, ["https://www.instagram.com/reel/DLlGZiCOBQ0/"]);
        assert_eq!(heard.reply_to, None);
    })
    .await;
}

#[tokio::test]
async fn messages_keep_their_order() {
    let bot = Bot::usual().await;
    bot.run(async |bot| {
        let dm = bot.sandbox.dm(ADA);
        for n in 0..200 {
            bot.sandbox.say(&dm, ADA, "Ada", &n.to_string());
        }
        for n in 0..200 {
            assert_eq!(bot.next().await.text, n.to_string());
        }
    })
    .await;
}

#[tokio::test]
async fn a_slash_command_is_deferred_and_then_answered() {
    let bot = Bot::usual().await;
    let general = bot.sandbox.guild_channel("general");
    bot.run(async |bot| {
        let id = bot.sandbox.slash(&general, ADA, "Ada", "reel", &[("url", "https://x.y/reel/1")]).unwrap();
        let heard = bot.next().await;
        assert_eq!(heard.text, "/reel https://x.y/reel/1");
        assert_eq!(
            (heard.message.id.clone(), heard.atomic, heard.addressed),
            (format!("i{id}"), true, Addressed::Direct)
        );
        assert_eq!(heard.author.name, "Ada");
        let shown = bot.shown(&general);
        assert!(shown[0].deferred && !shown[0].ephemeral);

        let placeholder = heard.placeholder.unwrap();
        let board = Piece { buttons: vec![cancel_button()], ..piece("Position 1") };
        bot.discord.edit(&placeholder, &board, false).await.unwrap();
        bot.discord.edit(&placeholder, &piece("The answer"), false).await.unwrap();
        let after = Destination { chat: chat(&general), reply_to: Some(placeholder) };
        let more = bot.discord.send(&after, &piece("second part"), false, "n2").await.unwrap();
        let shown = bot.shown(&general);
        assert_eq!(shown.iter().map(|s| s.content.as_str()).collect::<Vec<_>>(), ["The answer", "second part"]);
        assert_eq!((shown[0].deferred, shown[0].buttons.len()), (false, 0));
        // A public follow-up is a message like any other.
        bot.discord.edit(&more, &piece("second part, better"), false).await.unwrap();
        assert_eq!(bot.shown(&general)[1].content, "second part, better");
    })
    .await;
}

#[tokio::test]
async fn a_command_that_cannot_be_acknowledged_is_answered_in_the_channel_or_not_at_all() {
    let bot = Bot::usual().await;
    let general = bot.sandbox.guild_channel("general");
    let late = || Fault::Answer {
        status: 404,
        headers: Vec::new(),
        body: r#"{"message": "Unknown interaction", "code": 10062}"#.to_owned(),
    };
    bot.run(async |bot| {
        bot.sandbox.control.fault("/callback", late());
        bot.sandbox.slash(&general, ADA, "Ada", "coach", &[("text", "hi")]).unwrap();
        let heard = bot.next().await;
        assert_eq!((heard.text.as_str(), heard.placeholder), ("/coach hi", None));
        // The answer to this one is for its asker alone, and that has become impossible.
        bot.sandbox.control.fault("/callback", late());
        bot.sandbox.slash(&general, ADA, "Ada", "history", &[]).unwrap();
        bot.asked("/callback", 2).await;
        bot.sandbox.slash(&general, ADA, "Ada", "new", &[]).unwrap();
        assert_eq!(bot.next().await.text, "/new");
    })
    .await;
}

#[tokio::test]
async fn a_private_command_is_answered_to_its_asker_alone() {
    let bot = Bot::usual().await;
    let general = bot.sandbox.guild_channel("general");
    bot.run(async |bot| {
        bot.sandbox.slash(&general, ADA, "Ada", "queue", &[]).unwrap();
        let placeholder = bot.next().await.placeholder.unwrap();
        let after = Destination { chat: chat(&general), reply_to: Some(placeholder.clone()) };
        let private = Piece { private: true, ..piece("yours") };
        bot.discord.edit(&placeholder, &private, false).await.unwrap();
        let more = bot.discord.send(&after, &private, false, "n").await.unwrap();
        bot.discord.edit(&more, &piece("yours too"), false).await.unwrap();
        let shown = bot.shown(&general);
        assert!(shown.iter().all(|s| s.ephemeral), "{shown:?}");
        assert_eq!(shown.iter().map(|s| s.content.as_str()).collect::<Vec<_>>(), ["yours", "yours too"]);
    })
    .await;
}

#[tokio::test]
async fn files_come_with_answers_to_commands_seen_by_all_or_by_one() {
    let bot = Bot::usual().await;
    let general = bot.sandbox.guild_channel("general");
    bot.run(async |bot| {
        let files = vec![File::png("cost.png", crate::files::PNG), File::csv("cost.csv", crate::files::CSV)];
        let contents: Vec<_> = files.iter().map(|file| (file.name().to_owned(), file.content.to_vec())).collect();
        for (command, options, private) in [("coach", vec![("text", "cost?")], false), ("queue", vec![], true)] {
            let before = bot.shown(&general).len();
            bot.sandbox.slash(&general, ADA, "Ada", command, &options).unwrap();
            let placeholder = bot.next().await.placeholder.unwrap();
            let answer = Piece { files: files.clone(), private, buttons: vec![cancel_button()], ..piece("Cost") };
            bot.discord.edit(&placeholder, &answer, false).await.unwrap();
            let after = Destination { chat: chat(&general), reply_to: Some(placeholder.clone()) };
            let more = Piece { files: files[..1].to_vec(), private, ..Piece::default() };
            let more = bot.discord.send(&after, &more, false, "n").await.unwrap();
            bot.discord
                .edit(&more, &Piece { files: files[1..].to_vec(), private, ..piece("more") }, false)
                .await
                .unwrap();
            let shown = bot.shown(&general).split_off(before);
            assert_eq!(shown.len(), 2, "{shown:?}");
            assert!(shown.iter().all(|shown| shown.ephemeral == private && !shown.deferred), "{shown:?}");
            assert_eq!((shown[0].content.as_str(), shown[0].buttons.len()), ("Cost", 1));
            assert_eq!((&shown[0].files, &shown[1].files[..]), (&contents, &contents[1..]));
            // Once more: the old files do not stay beside the new ones.
            bot.discord.edit(&placeholder, &answer, false).await.unwrap();
            assert_eq!(bot.shown(&general)[before].files, contents);
        }
    })
    .await;
}

#[tokio::test]
async fn after_its_token_an_interaction_is_answered_in_the_channel() {
    let bot = Bot::usual().await;
    let general = bot.sandbox.guild_channel("general");
    bot.run(async |bot| {
        bot.sandbox.slash(&general, ADA, "Ada", "coach", &[("text", "hi")]).unwrap();
        let public = bot.next().await.placeholder.unwrap();
        bot.sandbox.slash(&general, ADA, "Ada", "queue", &[]).unwrap();
        let private = bot.next().await.placeholder.unwrap();
        bot.sandbox.age_interactions(Duration::from_secs(16 * 60));
        assert_eq!(bot.discord.edit(&public, &piece("late"), false).await, Err(SendError::Gone));
        let after = Destination { chat: chat(&general), reply_to: Some(public) };
        let sent = bot.discord.send(&after, &piece("late"), false, "n3").await.unwrap();
        let shown = bot.shown(&general);
        let late = shown.iter().find(|s| s.id == sent.id).unwrap();
        assert_eq!((late.content.as_str(), &late.reply_to), ("late", &None));

        let after = Destination { chat: chat(&general), reply_to: Some(private) };
        let secret = Piece { private: true, ..piece("secret") };
        let refused = bot.discord.send(&after, &secret, false, "n4").await;
        assert!(matches!(refused, Err(SendError::Failed(_))), "{refused:?}");
        assert!(bot.shown(&general).iter().all(|s| s.content != "secret"));
    })
    .await;
}

#[tokio::test]
async fn the_message_menu_takes_text_and_previews_along() {
    let bot = Bot::usual().await;
    let general = bot.sandbox.guild_channel("general");
    bot.run(async |bot| {
        let fields = json!({"embeds": [{"type": "video", "url": "https://www.instagram.com/reel/DLlGZiCOBQ0/"}]});
        let target = bot.sandbox.say_with(&general, BOB, "Bob", "my new reel", fields);
        assert_eq!(bot.next().await.text, "my new reel");
        bot.sandbox.context_menu(&general, ADA, "Ada", "Coach this reel", &target).unwrap();
        let heard = bot.next().await;
        assert_eq!(heard.text, "/reel my new reel");
        assert_eq!(heard.links, ["https://www.instagram.com/reel/DLlGZiCOBQ0/"]);
        assert_eq!(heard.author.account, ADA);
        assert!(heard.placeholder.is_some());
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_stored_is_said_or_tried_again() {
    let bot = Bot::usual().await;
    let general = bot.sandbox.guild_channel("general");
    bot.run(async |bot| {
        bot.stored.store(false, Ordering::SeqCst);
        bot.sandbox.slash(&general, ADA, "Ada", "coach", &[("text", "hi")]).unwrap();
        bot.until(|bot| bot.shown(&general).iter().any(|s| s.content.contains(&wording::not_stored()))).await;
        let dm = bot.sandbox.dm(ADA);
        bot.sandbox.say(&dm, ADA, "Ada", "one");
        bot.sandbox.say(&dm, ADA, "Ada", "two");
        bot.stored.store(true, Ordering::SeqCst);
        assert_eq!(bot.next().await.text, "one");
        assert_eq!(bot.next().await.text, "two");
    })
    .await;
}

#[tokio::test]
async fn a_dropped_socket_loses_nothing() {
    let bot = Bot::usual().await;
    bot.run(async |bot| {
        let dm = bot.sandbox.dm(ADA);
        for how in [Disconnect::DropSocket, Disconnect::Reconnect] {
            bot.sandbox.disconnect(how);
            bot.sandbox.say(&dm, ADA, "Ada", "while it is away");
            assert_eq!(bot.next().await.text, "while it is away", "{how:?}");
        }
        let resumed = bot.sandbox.gateway_log().iter().filter(|l| matches!(l, GatewayLog::Resumed { .. })).count();
        assert_eq!(resumed, 2);
    })
    .await;
}

#[tokio::test]
async fn after_an_invalid_session_the_gap_is_read() {
    let bot = Bot::usual().await;
    let general = bot.sandbox.guild_channel("general");
    let thread = bot.sandbox.thread(&general, "a talk");
    let dm = bot.sandbox.dm(ADA);
    let before = bot.sandbox.say(&dm, ADA, "Ada", "stored long ago");
    bot.threads.lock().unwrap().push(chat(&thread));
    *bot.active.lock().unwrap() = vec![
        ActiveChat { chat: chat(&dm), last_message: Some(before) },
        ActiveChat { chat: chat(&thread), last_message: None },
    ];
    bot.run(async |bot| {
        // The first session reads the gap before it, which is empty.
        bot.asked("/messages", 2).await;
        bot.sandbox.disconnect(Disconnect::Invalidate);
        let mut expected = Vec::new();
        for n in 0..3 {
            bot.sandbox.say(&dm, ADA, "Ada", &format!("missed {n}"));
            expected.push((chat(&dm), format!("missed {n}"), Addressed::Direct));
        }
        bot.sandbox.say(&thread, BOB, "Bob", "missed too");
        expected.push((chat(&thread), "missed too".to_owned(), Addressed::Mentioned));
        let mut heard = Vec::new();
        for _ in 0..4 {
            let inbound = bot.next().await;
            heard.push((inbound.message.chat, inbound.text, inbound.addressed));
        }
        // Within a chat in order; chats among each other as they come.
        heard.sort_by_key(|(chat, _, _)| *chat == ChatId::new(Platform::Discord, thread.clone()));
        assert_eq!(heard, expected);
        bot.sandbox.say(&dm, ADA, "Ada", "and live again");
        assert_eq!(bot.next().await.text, "and live again");
    })
    .await;
}

#[tokio::test]
async fn a_gap_is_read_though_discord_has_trouble_to_tell_it() {
    let bot = Bot::usual().await;
    let dm = bot.sandbox.dm(ADA);
    *bot.active.lock().unwrap() = vec![ActiveChat { chat: chat(&dm), last_message: None }];
    bot.run(async |bot| {
        bot.asked("/messages", 1).await;
        let (headers, body) = (Vec::new(), "upstream connect error".to_owned());
        bot.sandbox.control.fault("/messages", Fault::Answer { status: 503, headers, body });
        bot.sandbox.disconnect(Disconnect::Invalidate);
        bot.sandbox.say(&dm, ADA, "Ada", "missed");
        assert_eq!(bot.next().await.text, "missed");
        assert_eq!(bot.sandbox.control.faults_waiting(), 0);
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_read_is_survived() {
    let bot = Bot::usual().await;
    bot.run(async |bot| {
        bot.sandbox.push("MESSAGE_CREATE", &json!({"id": "not a number", "content": 5}));
        bot.sandbox.push("MESSAGE_CREATE", &json!(null));
        bot.sandbox.push("SOMETHING_NEW", &json!({"a": 1}));
        bot.sandbox.push("INTERACTION_CREATE", &json!({"type": 99}));
        let dm = bot.sandbox.dm(ADA);
        bot.sandbox.say(&dm, ADA, "Ada", "still there?");
        assert_eq!(bot.next().await.text, "still there?");
    })
    .await;
}

#[tokio::test]
async fn what_only_the_operator_can_mend_ends_the_run() {
    let bot = Bot::new(Settings { message_content: false, ..Settings::default() }, true, Clock::System).await;
    let ended = tokio::time::timeout(PATIENCE, bot.discord.run(bot.door.clone(), &bot.stop)).await.unwrap();
    assert_eq!(ended, Err(RunEnded::IntentsDisallowed));
    assert!(ended.unwrap_err().to_string().contains("Message Content Intent"));
    assert!(bot.sandbox.gateway_log().contains(&GatewayLog::Refused { code: 4014 }));

    let bot = Bot::with_token(Settings::default(), true, Clock::System, "wrong").await;
    assert_eq!(bot.discord.identify().await, Err(IdentifyError::TokenRefused));
    let ended = tokio::time::timeout(PATIENCE, bot.discord.run(bot.door.clone(), &bot.stop)).await.unwrap();
    assert_eq!(ended, Err(RunEnded::TokenRefused));
}

#[tokio::test]
async fn stop_ends_the_run_at_once() {
    let bot = Bot::usual().await;
    let began = Mutex::new(None);
    bot.run(async |_| *began.lock().unwrap() = Some(Instant::now())).await;
    let took = began.lock().unwrap().unwrap().elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    bot.until(|bot| bot.sandbox.gateway_log().contains(&GatewayLog::Closed { code: Some(1000) })).await;
    assert!(!bot.sandbox.is_connected());

    // Before there is a connection, too.
    let bot = Bot::usual().await;
    bot.sandbox.control.fault("/users/@me", Fault::Slow(Duration::from_secs(60)));
    let began = Instant::now();
    let stop = async {
        bot.asked("/users/@me", 1).await;
        bot.stop.cancel();
    };
    let (ended, ()) = tokio::join!(bot.discord.run(bot.door.clone(), &bot.stop), stop);
    assert_eq!(ended, Ok(()));
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn the_bot_knows_itself_and_its_commands_are_registered() {
    let bot = Bot::usual().await;
    let me = bot.discord.identify().await.unwrap();
    assert_eq!((me.id, me.application), bot.sandbox.bot());
    assert_eq!((me.name.as_str(), me.message_content), ("Coach", true));
    bot.run(async |bot| {
        let names: Vec<String> =
            bot.sandbox.commands().iter().map(|command| command["name"].as_str().unwrap().to_owned()).collect();
        let all = COMMANDS.iter().map(|entry| entry.name).chain(["Coach this reel"]);
        assert_eq!(names.iter().map(String::as_str).collect::<BTreeSet<_>>(), all.collect::<BTreeSet<_>>());
        assert_eq!(names.len(), COMMANDS.len() + 1, "{names:?}");
        assert!(bot.sandbox.slash("1", ADA, "Ada", "nonsense", &[]).is_err());
    })
    .await;
}
