//! What the operator is told of trouble, through the whole bot: once, in each of the chats, and that it is over. Time is the
//! test's own, so that minutes pass at once.

use std::sync::Arc;
use std::time::Duration;

use reelcoach::clock::Clock;
use sandbox::Sandbox;
use sandbox::apify::ApifySandbox;
use tokio::net::TcpListener;

use crate::bot::{TestBot, sandbox, until};
use crate::reels::link;
use crate::support::TestDb;

/// The chat that is told.
const OPERATOR: i64 = 900;
const ANA: i64 = 42;

/// A look of the watcher.
pub const LOOK: Duration = Duration::from_secs(10);

/// Both platforms' alert chats, and a clock that begins now.
async fn scene() -> (Arc<Sandbox>, String, Clock) {
    let sandbox = sandbox().await;
    sandbox.telegram.open(OPERATOR);
    let channel = sandbox.discord.guild_channel("operators");
    (sandbox, channel, Clock::manual(Clock::System.now()))
}

/// What stands in both chats; they must say the same.
async fn told(bot: &TestBot, channel: &str) -> Vec<String> {
    let on_discord = || bot.sandbox.discord.screen(channel).into_iter().map(|shown| shown.content).collect::<Vec<_>>();
    until("both chats say as much", async || {
        bot.drain().await;
        bot.telegram(OPERATOR).len() == on_discord().len()
    })
    .await;
    for (telegram, discord) in bot.telegram(OPERATOR).iter().zip(on_discord()) {
        // The formatting differs.
        let plain = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
        assert_eq!(plain(telegram), plain(&discord));
    }
    on_discord()
}

/// Lets time pass, one look after the other, each made by every instance.
pub async fn pass(db: &TestDb, clock: &Clock, span: Duration) {
    for _ in 0..span.as_secs().div_ceil(LOOK.as_secs()) {
        clock.advance(LOOK);
        let now = clock.now().0;
        until("all have looked", async || {
            db.number("SELECT CAST(COALESCE(MIN(seen_at), 0) AS BIGINT) FROM instances", &[]).await >= now
        })
        .await;
    }
}

on_both! {
    async fn a_failing_reel_service_is_told_once_and_then_that_it_works(db: TestDb) {
        let (sandbox, channel, clock) = scene().await;
        let db = Arc::new(db);
        let chats = format!("telegram:{OPERATOR},discord:{channel}");
        let settings = [("ALERT_CHAT", chats.as_str()), ("REEL_LANES", "1")];
        let mut bot = TestBot::start_at(sandbox.clone(), db.clone(), &settings, clock.clone(), None).await;
        bot.until_on_discord().await;
        sandbox.apify.control.fault("/runs", ApifySandbox::refusal(402, "not-enough-usage-to-run-paid-actor"));
        sandbox.telegram.say(ANA, ANA, "Ana", &link("DNOCREDIT01"));
        bot.drain().await;
        pass(&db, &clock, LOOK).await;
        bot.until("it is told", async || !bot.telegram(OPERATOR).is_empty()).await;
        let all = told(&bot, &channel).await;
        assert!(all.len() == 1 && all[0].starts_with("⚠️ **Apify**: out of credit. Top up at "), "{all:?}");

        pass(&db, &clock, Duration::from_secs(60)).await;
        assert_eq!(told(&bot, &channel).await.len(), 1, "nothing is repeated");
        bot.stop().await;
        bot.leaves_work = true;
        drop(bot);
        clock.advance(Duration::from_secs(600));
        let bot = TestBot::start_at(sandbox.clone(), db.clone(), &settings, clock.clone(), None).await;
        bot.until_on_discord().await;
        pass(&db, &clock, Duration::from_secs(30)).await;
        assert_eq!(told(&bot, &channel).await.len(), 1, "a restart neither repeats it nor takes it for over");

        sandbox.telegram.say(ANA, ANA, "Ana", &link("DWORKS00001"));
        bot.drain().await;
        pass(&db, &clock, Duration::from_secs(40)).await;
        assert_eq!(told(&bot, &channel).await.len(), 1, "it must hold for a minute");
        pass(&db, &clock, Duration::from_secs(40)).await;
        bot.until("it is over", async || bot.telegram(OPERATOR).len() == 2).await;
        let all = told(&bot, &channel).await;
        assert!(all[1].starts_with("✅ **Apify**: working again after ") && all[1].ends_with(" min."), "{all:?}");
        pass(&db, &clock, Duration::from_secs(60)).await;
        assert_eq!(told(&bot, &channel).await.len(), 2);
        assert_eq!(db.number("SELECT COUNT(*) FROM alerts", &[]).await, 0, "nothing is kept of what is over");
        bot.end().await;
    }

    async fn each_mark_of_a_budget_is_told_once(db: TestDb) {
        let (sandbox, channel, clock) = scene().await;
        let db = Arc::new(db);
        let chats = format!("telegram:{OPERATOR},discord:{channel}");
        let settings = [("ALERT_CHAT", chats.as_str()), ("BUDGET_MONTH_USD", "1"), ("ALERTS", "cost_day_usd=off")];
        let bot = TestBot::start_at(sandbox.clone(), db.clone(), &settings, clock.clone(), None).await;
        bot.until_on_discord().await;
        let mut before = 0;
        for (spent, mark) in [(550_000, Some("50%")), (560_000, None), (850_000, Some("80%")), (1_000_000, Some("100%")), (1_000_000, None)] {
            sandbox.telegram.say(ANA, ANA, "Ana", "How do I open a reel about bread?");
            bot.drain().await;
            db.execute(&format!("UPDATE spending SET micro_usd = {spent} WHERE scope = 'bot'")).await;
            sandbox.telegram.say(ANA, ANA, "Ana", "And how do I end it?");
            bot.drain().await;
            pass(&db, &clock, 2 * LOOK).await;
            let all = told(&bot, &channel).await;
            let new: Vec<&String> = all[before..].iter().collect();
            match mark {
                None => assert!(new.is_empty(), "{spent}: {new:?}"),
                Some(mark) => {
                    let begins = "⚠️ **Budget of the whole bot for ";
                    assert!(new.len() == 1 && new[0].starts_with(begins), "{spent}: {new:?}");
                    assert!(new[0].contains(&format!(": {mark} used, $")) && new[0].contains(" of $1.00. "), "{new:?}");
                }
            }
            before = all.len();
        }
        let answered = "SELECT CAST(SUM(count) AS BIGINT) FROM usage_counts WHERE what = 'talk' AND guild = ''";
        assert_eq!(db.number(answered, &[]).await, 10, "an alert answers nobody");
        bot.end().await;
    }

    async fn a_long_wait_is_told_with_its_remedy(db: TestDb) {
        let (sandbox, channel, clock) = scene().await;
        let db = Arc::new(db);
        let chats = format!("telegram:{OPERATOR},discord:{channel}");
        let settings = [("ALERT_CHAT", chats.as_str()), ("ALERTS", "queue_age_s=300,queue_length=off"), ("ADMIN_IDS", "telegram:42")];
        let bot = TestBot::start_at(sandbox.clone(), db.clone(), &settings, clock.clone(), None).await;
        bot.until_on_discord().await;
        sandbox.telegram.say(ANA, ANA, "Ana", "/queue pause");
        bot.drain().await;
        sandbox.telegram.say(43, 43, "Ben", &link("DWAITING001"));
        bot.until("it waits", async || db.number("SELECT waiting FROM line", &[]).await == 1).await;
        pass(&db, &clock, Duration::from_secs(290)).await;
        assert_eq!(bot.telegram(OPERATOR), Vec::<String>::new());
        pass(&db, &clock, Duration::from_secs(30)).await;
        bot.until("it is told", async || bot.telegram(OPERATOR).len() == 1).await;
        let alert = &bot.telegram(OPERATOR)[0];
        assert!(alert.contains("has waited 5 min (limit 5 min). Add lanes with REEL_LANES"), "{alert}");
        sandbox.telegram.say(ANA, ANA, "Ana", "/queue resume");
        bot.drain().await;
        pass(&db, &clock, Duration::from_secs(140)).await;
        bot.until("it is over", async || bot.telegram(OPERATOR).len() == 2).await;
        assert!(bot.telegram(OPERATOR)[1].contains("Queue wait: resolved after"), "{:?}", bot.telegram(OPERATOR));
        bot.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_tell_it_once() {
    let (sandbox, channel, clock) = scene().await;
    let db = Arc::new(TestDb::postgres().await);
    let chats = format!("telegram:{OPERATOR},discord:{channel}");
    let settings = [("ALERT_CHAT", chats.as_str()), ("REEL_LANES", "1"), ("DATABASE_CONNECTIONS", "6")];
    let one = TestBot::start_at(sandbox.clone(), db.clone(), &settings, clock.clone(), None).await;
    let mut two = TestBot::start_at(sandbox.clone(), db.clone(), &settings, clock.clone(), None).await;
    one.until_on_discord().await;
    one.until("both live", async || db.number("SELECT COUNT(*) FROM instances", &[]).await == 2).await;
    sandbox.apify.control.fault("/runs", ApifySandbox::refusal(402, "not-enough-usage-to-run-paid-actor"));
    sandbox.telegram.say(ANA, ANA, "Ana", &link("DNOCREDIT01"));
    one.drain().await;
    pass(&db, &clock, 4 * LOOK).await;
    one.until("it is told", async || !one.telegram(OPERATOR).is_empty()).await;
    let all = told(&one, &channel).await;
    assert!(all.len() == 1 && all[0].contains("Apify"), "{all:?}");
    // Whoever held the rules may be the one that ends: the other goes on, and nothing is said of a clean end.
    two.stop().await;
    two.leaves_work = true;
    assert_eq!(db.number("SELECT COUNT(*) FROM instances", &[]).await, 1);
    pass(&db, &clock, 10 * LOOK).await;
    assert_eq!(told(&one, &channel).await.len(), 1);
    // One that ends without a word is missed.
    db.execute(&format!(
        "INSERT INTO instances (id, name, started_at, seen_at, measured) VALUES ('x', 'web-9:8080', 0, {}, '{{}}')",
        clock.now().0
    ))
    .await;
    for _ in 0..8 {
        clock.advance(LOOK);
        let now = clock.now().0;
        let looked = "SELECT COUNT(*) FROM instances WHERE id <> 'x' AND seen_at >= $1";
        until("it has looked", async || db.number(looked, &[now]).await == 1).await;
    }
    one.until("it is told", async || one.telegram(OPERATOR).len() == 2).await;
    assert!(one.telegram(OPERATOR)[1].contains("Instance web-9:8080: silent for"), "{:?}", one.telegram(OPERATOR));
    one.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_polls_and_hears_nothing_is_not_ready() {
    let (sandbox, _, clock) = scene().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let db = Arc::new(TestDb::sqlite().await);
    let settings = [("DISCORD_TOKEN", "")];
    let bot = TestBot::start_at(sandbox.clone(), db, &settings, clock.clone(), Some(listener)).await;
    let ready = async || {
        let answer = reqwest012::get(format!("http://{address}/readyz")).await.unwrap();
        let status = answer.status().as_u16();
        let state: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        (status, state["roles"]["telegram polling"].clone())
    };
    bot.until("it polls", async || ready().await.1["held"] == true).await;
    sandbox.telegram.say(ANA, ANA, "Ana", "/help");
    bot.drain().await;
    assert_eq!(ready().await, (200, serde_json::json!({"held": true, "silent_s": 0, "well": true})));
    // The poll that is held open is not answered for three minutes.
    clock.advance(Duration::from_secs(181));
    assert_eq!(ready().await, (503, serde_json::json!({"held": true, "silent_s": 181, "well": false})));
    sandbox.telegram.say(ANA, ANA, "Ana", "/help");
    bot.until("it is ready again", async || ready().await.0 == 200).await;
    bot.end().await;
}
