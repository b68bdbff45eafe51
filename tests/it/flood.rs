//! One account that never stops writing: others are answered as ever, and it is told once. A chat that must wait keeps
//! nobody else waiting.

use std::sync::Arc;
use std::time::Duration;

use reelcoach::ids::BoardId;
use sandbox::{Fault, Sandbox, Settings, Terms};

use crate::bot::{TestBot, until, until_within};
use crate::support::TestDb;

const ANA: i64 = 42;
const BEN: i64 = 77;
const GROUP: i64 = -1_001_234_567_890;
const ADA: &str = "101";
const BOB: &str = "202";
const TOO_FAST: &str = "You're sending faster than I can answer";

/// Longest wait of somebody who has to do with no flood; on a busy machine.
const SOON: Duration = Duration::from_secs(10);

/// A sandbox that answers at once and holds the bot to what the platforms take, so many times faster than in life.
async fn strict(times: f64) -> Arc<Sandbox> {
    let settings = Settings { port: 0, speed: f64::INFINITY, enforce_limits: true };
    let usual = Terms::at(f64::INFINITY);
    let terms = Terms { telegram_per_chat: times, telegram_per_second: 30.0 * times, ..usual };
    Arc::new(Sandbox::start_on(settings, terms).await.unwrap())
}

fn help(bot: &TestBot, chat: i64, who: i64) {
    let text = if chat < 0 { "/help@reelcoach_bot" } else { "/help" };
    bot.sandbox.telegram.say(chat, who, "Somebody", text);
}

/// What a person sees in their direct messages on Discord.
fn discord(bot: &TestBot, channel: &str) -> Vec<String> {
    let screen = bot.sandbox.discord.screen(channel);
    screen.into_iter().filter(|shown| shown.from_bot && !shown.deferred).map(|shown| shown.content).collect()
}

async fn connected(bot: &TestBot) {
    until("Discord is connected", async || bot.sandbox.discord.is_connected()).await;
}

/// Even without a limit: a backlog of one account takes one slot of four, and no 429 is caused.
#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_of_one_account_keeps_nobody_waiting() {
    let few = [("MAX_TURNS", "4"), ("MESSAGES_PER_MINUTE", "0"), ("TELEGRAM_PER_CHAT", "1")];
    let mut bot = TestBot::start_on(strict(1.0).await, TestDb::sqlite().await.into(), &few).await;
    connected(&bot).await;
    let (general, dm) = (bot.sandbox.discord.guild_channel("general"), bot.sandbox.discord.dm(BOB));
    for _ in 0..100 {
        help(&bot, ANA, ANA);
        help(&bot, GROUP, ANA);
        bot.sandbox.discord.slash(&general, ADA, "Ada", "help", &[]).unwrap();
    }
    until("the flood is stored", async || {
        bot.sandbox.telegram.pending() == 0 && bot.db.number("SELECT COUNT(*) FROM turns", &[]).await == 300
    })
    .await;
    bot.sandbox.telegram.say(BEN, BEN, "Ben", "how do I begin?");
    bot.sandbox.telegram.say(GROUP, BEN, "Ben", "@reelcoach_bot how do I begin?");
    bot.sandbox.discord.say(&dm, BOB, "Bob", "how do I begin?");
    until_within(SOON, "others are answered in direct messages", async || {
        !bot.telegram(BEN).is_empty() && !discord(&bot, &dm).is_empty()
    })
    .await;
    until_within(SOON, "others are answered in the group", async || {
        bot.db.number("SELECT COUNT(*) FROM turns WHERE NOT aside AND state = 'closed'", &[]).await == 3
    })
    .await;
    // 20 a minute are said in the group: its hundred take minutes.
    let waiting = "SELECT COUNT(*) FROM turns WHERE aside AND state <> 'closed' AND chat = 'telegram:-1001234567890'";
    assert!(bot.db.number(waiting, &[]).await > 0, "the flood is far from answered");
    assert_eq!((bot.sandbox.telegram.control.refused(), bot.sandbox.discord.control.refused()), (0, 0));
    bot.leaves_work = true;
    bot.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_too_much_is_told_once_on_telegram() {
    let bot =
        TestBot::start_on(strict(100.0).await, TestDb::postgres().await.into(), &[("TELEGRAM_PER_CHAT", "100")]).await;
    for nth in 0..60 {
        help(&bot, ANA, ANA);
        help(&bot, GROUP, ANA);
        bot.sandbox.telegram.say(ANA, ANA, "Ana", &format!("and another thing ({nth})"));
        bot.sandbox.telegram.press(ANA, ANA, 1, &format!("/cancel {}", BoardId::new()));
    }
    help(&bot, GROUP, BEN);
    bot.drain().await;
    let all = [bot.telegram(ANA), bot.telegram(GROUP), bot.sandbox.telegram.notices()].concat();
    assert_eq!(all.iter().filter(|text| text.contains(TOO_FAST)).count(), 1, "{all:#?}");
    // 30 of hers, the sentence, and Ben's.
    assert_eq!(bot.db.number("SELECT COUNT(*) FROM inbox", &[]).await, 32);
    assert!(all.iter().all(|text| !text.contains("Seeing this twice?")), "{all:#?}");
    assert_eq!(bot.sandbox.telegram.control.refused(), 0);
    bot.end().await;
}

/// In a group everybody may read it; whoever presses a button there sees a notice.
#[tokio::test(flavor = "multi_thread")]
async fn who_sends_too_much_in_a_group_is_told_there() {
    for db in [TestDb::sqlite().await, TestDb::postgres().await] {
        let few = [("MESSAGES_PER_MINUTE", "5"), ("TELEGRAM_PER_CHAT", "100")];
        let bot = TestBot::start_on(strict(100.0).await, db.into(), &few).await;
        for _ in 0..20 {
            help(&bot, GROUP, ANA);
            bot.sandbox.telegram.press(GROUP, BEN, 1, &format!("/cancel {}", BoardId::new()));
        }
        bot.drain().await;
        let told = |said: Vec<String>| said.iter().filter(|text| text.contains(TOO_FAST)).count();
        assert_eq!(told(bot.telegram(GROUP)), 1, "{:#?}", bot.telegram(GROUP));
        assert_eq!(told(bot.sandbox.telegram.notices()), 1, "{:#?}", bot.sandbox.telegram.notices());
        bot.end().await;
    }
}

/// What was sent over an hour comes in one second.
#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_counts_in_the_minutes_in_which_it_was_sent() {
    for db in [TestDb::sqlite().await, TestDb::postgres().await] {
        let few = [("MESSAGES_PER_MINUTE", "5"), ("TELEGRAM_PER_CHAT", "100")];
        let bot = TestBot::start_on(strict(100.0).await, db.into(), &few).await;
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        for nth in 0..20 {
            bot.sandbox.telegram.say_at(ANA, ANA, "/help", now - 3600 + 90 * nth);
        }
        // Somebody else did send that many in a minute of it.
        for nth in 0..20 {
            bot.sandbox.telegram.say_at(BEN, BEN, "/help", now - 3600 + nth);
        }
        bot.drain().await;
        assert_eq!(bot.telegram(ANA).len(), 20);
        assert!(bot.telegram(ANA).iter().all(|text| !text.contains(TOO_FAST)));
        assert_eq!(bot.telegram(BEN).len(), 6, "five answers, and that they are too many");
        bot.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_too_much_is_told_once_on_discord() {
    let few = [("MESSAGES_PER_MINUTE", "5")];
    let bot = TestBot::start_on(strict(1.0).await, TestDb::sqlite().await.into(), &few).await;
    connected(&bot).await;
    let general = bot.sandbox.discord.guild_channel("general");
    for _ in 0..40 {
        bot.sandbox.discord.slash(&general, ADA, "Ada", "help", &[]).unwrap();
    }
    bot.sandbox.discord.slash(&general, BOB, "Bob", "help", &[]).unwrap();
    let shown = || bot.sandbox.discord.screen(&general);
    let told = || shown().iter().filter(|shown| shown.content.contains(TOO_FAST)).count();
    until("all are answered, or know that they are not", async || {
        shown().iter().all(|shown| !shown.deferred) && shown().len() == 7
    })
    .await;
    assert_eq!(told(), 1, "{:#?}", shown());
    assert!(shown().iter().all(|shown| shown.ephemeral), "nobody else sees any of it");
    // Texts and presses of the same minute are of the same flood.
    let dm = bot.sandbox.discord.dm(ADA);
    bot.sandbox.discord.say(&dm, ADA, "Ada", "and another thing");
    bot.sandbox.discord.press_late(&general, ADA, "Ada", &format!("/cancel {}", BoardId::new())).unwrap();
    bot.sandbox.discord.say(&bot.sandbox.discord.dm(BOB), BOB, "Bob", "how do I begin?");
    until("Bob is answered", async || !discord(&bot, &bot.sandbox.discord.dm(BOB)).is_empty()).await;
    bot.drain().await;
    assert_eq!((told(), discord(&bot, &dm).len(), shown().len()), (1, 0, 7));
    bot.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_that_is_paused_holds_no_slot() {
    let bot = TestBot::start(TestDb::sqlite().await, &[("MAX_TURNS", "1")]).await;
    let body = r#"{"ok":false,"error_code":429,"description":"Too Many Requests: retry after 5","parameters":{"retry_after":5}}"#;
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    bot.sandbox.telegram.control.fault("sendMessage", Fault::Answer { status: 429, headers, body: body.into() });
    help(&bot, ANA, ANA);
    until("the pause has begun", async || bot.sandbox.telegram.control.count("sendMessage") == 1).await;
    bot.sandbox.telegram.say(BEN, BEN, "Ben", "how do I begin?");
    until("another chat is answered in the only slot", async || !bot.telegram(BEN).is_empty()).await;
    assert!(bot.telegram(ANA).is_empty());
    bot.drain().await;
    let answer = bot.telegram(ANA);
    assert!(answer.len() == 1 && !answer[0].contains("Seeing this twice?"), "nothing was sent before: {answer:?}");
    bot.end().await;
}

/// 40 people at once in a group that takes 20 messages a minute, here in 3 s.
#[tokio::test(flavor = "multi_thread")]
async fn a_busy_group_is_answered_at_its_pace() {
    let bot =
        TestBot::start_on(strict(20.0).await, TestDb::sqlite().await.into(), &[("TELEGRAM_PER_CHAT", "20")]).await;
    for who in 1..=40 {
        bot.sandbox.telegram.say(GROUP, 1000 + who, "Somebody", "@reelcoach_bot how do I begin?");
    }
    bot.drain().await;
    let answers = bot.telegram(GROUP);
    assert_eq!(answers.len(), 40, "{answers:#?}");
    assert!(answers.iter().all(|text| !text.ends_with('▌') && !text.contains("Seeing this twice?")), "{answers:#?}");
    assert_eq!(bot.sandbox.telegram.control.refused(), 0);
    bot.end().await;
}
