//! The live messages of the line under the platforms' own limits, over restarts and over an hour. Owns no wire.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use reelcoach::store::lanes::Lane;
use sandbox::{Sandbox, Settings};

use crate::bot::TestBot;
use crate::reels::link;
use crate::support::TestDb;

const ANA: i64 = 42;
const BEN: i64 = 77;
/// Longer than any test waits, and within the time that a run is given: it ends when the test says so.
const HELD: Duration = Duration::from_secs(80);
/// People on each platform.
const EACH: usize = 12;

/// The words that each message was edited to, in order.
type Edits = HashMap<String, Vec<String>>;

fn discord_edits(bot: &TestBot) -> Edits {
    let mut edits = Edits::new();
    for asked in bot.sandbox.discord.control.asked() {
        if asked.method == "PATCH" && asked.path.contains("/messages/") {
            edits.entry(asked.path).or_default().push(asked.body["content"].to_string());
        }
    }
    edits
}

fn telegram_edits(bot: &TestBot) -> Edits {
    let mut edits = Edits::new();
    for asked in bot.sandbox.telegram.control.asked() {
        if asked.path.to_ascii_lowercase().ends_with("/editmessagetext") {
            let message = format!("{} {}", asked.body["chat_id"], asked.body["message_id"]);
            edits.entry(message).or_default().push(asked.body["text"].to_string());
        }
    }
    assert!(edits.len() >= EACH, "every board became its answer: {edits:?}");
    edits
}

/// What a message was edited to although it said so already.
fn repeats(edits: &Edits) -> Vec<String> {
    let pairs = edits.values().flat_map(|words| words.windows(2));
    pairs.filter(|pair| pair[0] == pair[1]).map(|pair| pair[0].clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_boards_stay_within_the_limits_and_end_as_the_answers() {
    let settings = Settings { port: 0, speed: f64::INFINITY, enforce_limits: true };
    let sandbox = Arc::new(Sandbox::start(settings).await.unwrap());
    let bot = TestBot::start_on(sandbox, Arc::new(TestDb::sqlite().await), &[("REEL_LANES", "4")]).await;
    bot.until_on_discord().await;
    bot.sandbox.apify.set_scrape(HELD);
    let channel = bot.sandbox.discord.guild_channel("reels");
    let (me, _) = bot.sandbox.discord.bot();
    let mut asked = Vec::new();
    for n in 0..EACH {
        let chat = 1000 + n as i64;
        bot.sandbox.telegram.say(chat, chat, "T", &link(&format!("DTELEGR{n:04}")));
        let user = format!("{}", 80_000_000_000_000_000 + n);
        let text = format!("<@{me}> {}", link(&format!("DDISCRD{n:04}")));
        asked.push(bot.sandbox.discord.say(&channel, &user, "D", &text));
    }
    bot.until("all wait in the line", async || {
        bot.db.number("SELECT COUNT(*) FROM jobs", &[]).await == 2 * EACH as i64
    })
    .await;
    bot.until("each has a board", async || {
        bot.said_in(&channel).len() == EACH && (0..EACH).all(|n| !bot.shown(1000 + n as i64).is_empty())
    })
    .await;
    bot.sandbox.apify.set_scrape(Duration::ZERO);
    bot.sandbox.apify.finish_runs();
    bot.until("all is answered", async || bot.sandbox.telegram.pending() == 0 && bot.store.is_idle().await.unwrap())
        .await;
    for (n, asked) in asked.iter().enumerate() {
        let shown = bot.shown(1000 + n as i64);
        assert!(shown.len() == 1 && shown[0].text.contains("Hook") && shown[0].buttons.is_empty(), "{n}: {shown:?}");
        let said = bot.said_in(&channel);
        let said: Vec<_> = said.iter().filter(|shown| shown.reply_to.as_ref() == Some(asked)).collect();
        assert!(said.len() == 1 && said[0].content.contains("Hook") && said[0].buttons.is_empty(), "{n}: {said:?}");
    }
    let refused = (bot.sandbox.telegram.control.refused(), bot.sandbox.discord.control.refused());
    assert_eq!(refused, (0, 0), "429 of Telegram and of Discord");
    assert_eq!(repeats(&telegram_edits(&bot)), Vec::<String>::new(), "edited without a change");
    assert_eq!(repeats(&discord_edits(&bot)), Vec::<String>::new(), "edited without a change");
    bot.end().await;
}

on_both! {
    async fn a_board_is_edited_on_by_another_instance(db: TestDb) {
        let one_lane = [("REEL_LANES", "1")];
        let mut bot = TestBot::start(db, &one_lane).await;
        bot.until_on_discord().await;
        let lane = Lane::direct(0);
        bot.store.pause_lanes(std::slice::from_ref(&lane), true).await.unwrap();
        bot.sandbox.telegram.say(ANA, ANA, "Ana", &link("DWAITING001"));
        bot.sandbox.telegram.say(BEN, BEN, "Ben", &link("DWAITING002"));
        let dm = bot.sandbox.discord.dm("99");
        bot.sandbox.discord.say(&dm, "99", "Mia", &link("DWAITING003"));
        bot.until("all have a board", async || {
            let telegram = [ANA, BEN].iter().all(|person| bot.shown(*person).len() == 1);
            telegram && bot.said_in(&dm).len() == 1
        })
        .await;
        let before = (bot.shown(ANA)[0].message_id, bot.shown(BEN)[0].message_id, bot.said_in(&dm)[0].id.clone());
        let (sandbox, db) = (bot.sandbox.clone(), bot.db.clone());
        bot.stop().await;
        bot.leaves_work = true;
        drop(bot);
        let bot = TestBot::start_on(sandbox, db, &one_lane).await;
        bot.until_on_discord().await;
        bot.sandbox.apify.set_scrape(HELD);
        bot.store.pause_lanes(&[lane], false).await.unwrap();
        bot.until("the first one's board goes on", async || {
            let texts = [bot.telegram(ANA), bot.telegram(BEN), bot.said_in(&dm).into_iter().map(|shown| shown.content).collect()];
            texts.concat().iter().filter(|text| text.contains("Getting your reel")).count() == 1
        })
        .await;
        bot.sandbox.apify.set_scrape(Duration::ZERO);
        bot.sandbox.apify.finish_runs();
        bot.drain().await;
        for person in [ANA, BEN] {
            let shown = bot.shown(person);
            assert!(shown.len() == 1 && shown[0].text.contains("Hook"), "{shown:?}");
        }
        let said = bot.said_in(&dm);
        assert!(said.len() == 1 && said[0].content.contains("Hook"), "{said:?}");
        assert_eq!((bot.shown(ANA)[0].message_id, bot.shown(BEN)[0].message_id, said[0].id.clone()), before);
        bot.end().await;
    }

    async fn an_old_message_on_discord_is_replaced(db: TestDb) {
        let bot = TestBot::start(db, &[("REEL_LANES", "1")]).await;
        bot.until_on_discord().await;
        let lane = Lane::direct(0);
        bot.store.pause_lanes(std::slice::from_ref(&lane), true).await.unwrap();
        let dm = bot.sandbox.discord.dm("99");
        bot.sandbox.discord.say(&dm, "99", "Mia", &link("DWAITING001"));
        bot.until("it is paused", async || bot.said_in(&dm).iter().any(|shown| shown.content.contains("paused"))).await;
        // An hour goes by: nothing changes, so nothing is written.
        bot.db.execute("UPDATE boards SET posted_at = posted_at - 56 * 60 * 1000").await;
        bot.sandbox.apify.set_scrape(HELD);
        bot.store.pause_lanes(&[lane], false).await.unwrap();
        bot.until("a new message tells it", async || {
            bot.said_in(&dm).get(1).is_some_and(|shown| shown.content.contains("Getting your reel"))
        })
        .await;
        let said = bot.said_in(&dm);
        assert!(said.len() == 2 && !said[1].buttons.is_empty(), "{said:?}");
        assert!(said[0].content.contains("paused"), "{said:?}");
        assert_eq!(said[0].edits, 0, "the old one is left alone");
        bot.until("its run has begun", async || !bot.sandbox.apify.runs().is_empty()).await;
        bot.sandbox.apify.finish_runs();
        bot.drain().await;
        let said = bot.said_in(&dm);
        assert!(said.len() == 2 && said[1].content.contains("Hook"), "{said:?}");
        bot.end().await;
    }
}
