//! Chats that the bot is thrown out of, that are deleted, or in which it may not write: nothing more is bought for them, others
//! go on, and once it is back what stands there is brought up to date.

use std::time::Duration;

use sandbox::Fault;
use sandbox::openai::Script;

use crate::bot::TestBot;
use crate::support::TestDb;

const ANA: i64 = 42;
const BEN: i64 = 77;
const GROUP: i64 = -1_001_234_567_890;
const ADA: &str = "101";

/// Longer than any test, and within the time that a run is given.
const HELD: Duration = Duration::from_secs(80);

const WAITING: &str = "SELECT COUNT(*) FROM subscriptions WHERE state = 'waiting'";
const CANCELLED: &str = "SELECT COUNT(*) FROM jobs WHERE state = 'cancelled'";
const GONE: &str = "SELECT COUNT(*) FROM chats WHERE gone_since IS NOT NULL";
const UNDELIVERABLE: &str = "SELECT COUNT(*) FROM turns WHERE outcome = 'undeliverable'";

fn link(nth: usize) -> String {
    format!("https://www.instagram.com/reel/DLEFT{nth:06}/")
}

impl TestBot {
    async fn count(&self, sql: &str) -> i64 {
        self.db.number(sql, &[]).await
    }

    fn paid(&self) -> (usize, usize, usize) {
        let openai = self.sandbox.openai.control.count("/responses");
        (self.sandbox.apify.runs().len(), self.sandbox.gemini.charged().len(), openai)
    }

    /// A bot with one lane, which a reel of Ben's holds, on both platforms.
    async fn busy(db: TestDb) -> TestBot {
        let bot = TestBot::start(db, &[("REEL_LANES", "1")]).await;
        bot.until("Discord is connected", async || bot.sandbox.discord.is_connected()).await;
        bot.sandbox.apify.set_scrape(HELD);
        bot.sandbox.telegram.say(BEN, BEN, "Ben", &link(0));
        bot.until("Ben's is scraped", async || bot.paid().0 == 1).await;
        bot
    }

    fn bot_says_in(&self, channel: &str) -> Vec<String> {
        let screen = self.sandbox.discord.screen(channel).into_iter().filter(|shown| shown.from_bot);
        screen.map(|shown| shown.content).collect()
    }
}

on_both! {
    async fn a_group_that_threw_the_bot_out_has_its_reels_cancelled(db: TestDb) {
        let bot = TestBot::busy(db).await;
        for nth in 1..=3 {
            bot.sandbox.telegram.say(GROUP, ANA, "Ana", &format!("@reelcoach_bot {}", link(nth)));
        }
        // What somebody else waits for, too, goes on.
        bot.sandbox.telegram.say(BEN, BEN, "Ben", &link(3));
        bot.until("all wait and are shown", async || {
            bot.count(WAITING).await == 5 && bot.telegram(GROUP).len() == 3 && bot.telegram(BEN).len() == 2
        })
        .await;
        bot.sandbox.telegram.block(GROUP);
        bot.until("the group's are cancelled", async || bot.count(WAITING).await == 2 && bot.count(GONE).await == 1).await;
        assert_eq!(bot.count(CANCELLED).await, 2);
        bot.sandbox.apify.set_scrape(Duration::ZERO);
        bot.sandbox.apify.finish_runs();
        bot.drain().await;
        assert_eq!(bot.paid(), (2, 2, 2), "Ben's two");
        assert_eq!(bot.count(UNDELIVERABLE).await, 0, "nothing was made for the group");
        let before = bot.sandbox.telegram.control.count("editMessageText");
        let screen = bot.telegram(GROUP);
        assert!(screen.iter().all(|text| !text.contains("ancelled")), "{screen:?}");
        // It is taken in again: each board says once how it ended.
        bot.sandbox.telegram.unblock(GROUP);
        bot.until("the boards are up to date", async || {
            bot.telegram(GROUP).iter().all(|text| text.contains("ancelled"))
        })
        .await;
        bot.drain().await;
        assert_eq!(bot.telegram(GROUP).len(), 3, "no new message");
        assert_eq!(bot.sandbox.telegram.control.count("editMessageText"), before + 3);
        assert_eq!(bot.count(GONE).await, 0);
        bot.end().await;
    }

    async fn a_server_that_removed_the_bot_has_its_reels_cancelled(db: TestDb) {
        let bot = TestBot::busy(db).await;
        let [guild, _] = bot.sandbox.discord.guilds();
        let (here, elsewhere) = (bot.sandbox.discord.guild_channel("reels"), bot.sandbox.discord.other_guild_channel("reels"));
        let say = |channel: &str, nth: usize| bot.sandbox.discord.say(channel, ADA, "Ada", &format!("<@{}> {}", bot.sandbox.discord.bot().0, link(nth)));
        for nth in 1..=2 {
            say(&here, nth);
        }
        say(&elsewhere, 3);
        bot.until("all wait and are shown", async || {
            bot.count(WAITING).await == 4 && bot.bot_says_in(&here).len() == 2 && bot.bot_says_in(&elsewhere).len() == 1
        })
        .await;
        // An outage is not the end.
        bot.sandbox.discord.outage(&guild);
        bot.sandbox.discord.leave(&guild);
        bot.until("the server's are cancelled", async || bot.count(CANCELLED).await == 2 && bot.count(GONE).await == 1).await;
        assert_eq!(bot.count(WAITING).await, 2, "those of the other server and of Ben");
        bot.sandbox.apify.set_scrape(Duration::ZERO);
        bot.sandbox.apify.finish_runs();
        bot.drain().await;
        assert_eq!(bot.paid(), (2, 2, 2));
        assert!(bot.bot_says_in(&here).iter().all(|text| !text.contains("ancelled")), "{:?}", bot.bot_says_in(&here));
        bot.sandbox.discord.rejoin(&guild);
        bot.until("the boards are up to date", async || {
            bot.bot_says_in(&here).iter().all(|text| text.contains("ancelled"))
        })
        .await;
        bot.drain().await;
        assert_eq!((bot.bot_says_in(&here).len(), bot.count(GONE).await), (2, 0));
        bot.end().await;
    }

    async fn a_deleted_channel_has_its_reels_cancelled_with_those_of_its_threads(db: TestDb) {
        let bot = TestBot::busy(db).await;
        let channel = bot.sandbox.discord.guild_channel("reels");
        let (thread, lone) = (bot.sandbox.discord.thread(&channel, "mine"), bot.sandbox.discord.thread(&bot.sandbox.discord.guild_channel("other"), "t"));
        let say = |channel: &str, nth: usize| bot.sandbox.discord.say(channel, ADA, "Ada", &format!("<@{}> {}", bot.sandbox.discord.bot().0, link(nth)));
        for (nth, channel) in [&channel, &thread, &lone].into_iter().enumerate() {
            say(channel, nth + 1);
        }
        bot.until("all wait and are shown", async || {
            bot.count(WAITING).await == 4 && [&channel, &thread, &lone].iter().all(|at| bot.bot_says_in(at).len() == 1)
        })
        .await;
        let typing = || {
            let count = |at: &String| bot.sandbox.discord.control.count(&format!("{at}/typing"));
            [&channel, &thread, &lone].map(count)
        };
        let before = typing();
        bot.sandbox.discord.remove_channel(&channel);
        bot.until("both are cancelled", async || bot.count(WAITING).await == 2).await;
        bot.sandbox.discord.remove_channel(&lone);
        bot.until("the third is cancelled", async || bot.count(WAITING).await == 1).await;
        bot.sandbox.apify.set_scrape(Duration::ZERO);
        bot.sandbox.apify.finish_runs();
        bot.drain().await;
        assert_eq!((bot.count(CANCELLED).await, bot.paid()), (3, (1, 1, 1)));
        assert_eq!(typing(), before, "what Discord says is not asked about");
        bot.end().await;
    }

    async fn a_refused_board_cancels_what_nobody_would_read(db: TestDb) {
        let bot = TestBot::busy(db).await;
        let (quiet, other) = (bot.sandbox.discord.guild_channel("quiet"), bot.sandbox.discord.guild_channel("other"));
        let mention = format!("<@{}>", bot.sandbox.discord.bot().0);
        // Groups that are deleted tell nobody of it; a channel may become one in which the bot may not write.
        bot.sandbox.telegram.open(GROUP);
        bot.sandbox.telegram.close(GROUP);
        bot.sandbox.discord.forbid(&quiet);
        bot.sandbox.telegram.say(GROUP, ANA, "Ana", &format!("@reelcoach_bot {}", link(1)));
        bot.sandbox.discord.say(&quiet, ADA, "Ada", &format!("{mention} {}", link(2)));
        bot.sandbox.discord.say(&other, ADA, "Ada", &format!("{mention} {}", link(3)));
        bot.until("both are cancelled", async || bot.count(CANCELLED).await == 2 && bot.count(GONE).await == 2).await;
        bot.until("the third has its board", async || bot.bot_says_in(&other).len() == 1).await;
        // Nothing is paid for whoever asks there, however often.
        for nth in 0..3 {
            bot.sandbox.telegram.say(GROUP, ANA, "Ana", &format!("@reelcoach_bot what about {nth}?"));
            bot.sandbox.discord.say(&quiet, ADA, "Ada", &format!("{mention} what about {nth}?"));
        }
        bot.until("they end", async || bot.count(UNDELIVERABLE).await == 6).await;
        assert_eq!(bot.paid(), (1, 0, 0));
        bot.sandbox.discord.permit(&quiet);
        bot.sandbox.discord.say(&quiet, ADA, "Ada", &format!("{mention} and now?"));
        bot.until("she is answered", async || bot.bot_says_in(&quiet).len() == 1).await;
        bot.sandbox.apify.set_scrape(Duration::ZERO);
        bot.sandbox.apify.finish_runs();
        bot.drain().await;
        assert_eq!(bot.paid(), (2, 2, 3));
        assert_eq!(bot.count(GONE).await, 1);
        bot.end().await;
    }
}

/// Blocked while the answer is made: the model is not listened to until its end.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_cannot_be_shown_is_not_made_to_its_end() {
    let bot = TestBot::start(TestDb::sqlite().await, &[]).await;
    bot.sandbox.openai.script(Script::Stall("Words and ".to_owned()));
    bot.sandbox.telegram.open(ANA);
    bot.sandbox.telegram.close(ANA);
    bot.sandbox.telegram.say(ANA, ANA, "Ana", "tell me something");
    bot.until("it ends", async || bot.count(UNDELIVERABLE).await == 1).await;
    bot.until("its cost is known", async || {
        bot.count("SELECT COUNT(*) FROM ledger WHERE outcome NOT IN ('started', 'ok')").await == 1
    })
    .await;
    assert_eq!(bot.count(GONE).await, 1);
    bot.end().await;
}

/// Whether anything arrives there again cannot be learned: the question is answered, and not given up for that.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_where_nobody_knows_whether_the_bot_is_back() {
    let bot = TestBot::start(TestDb::sqlite().await, &[]).await;
    bot.until("Discord is connected", async || bot.sandbox.discord.is_connected()).await;
    let quiet = bot.sandbox.discord.guild_channel("quiet");
    let mention = format!("<@{}>", bot.sandbox.discord.bot().0);
    let ask = |what: &str| bot.sandbox.discord.say(&quiet, ADA, "Ada", &format!("{mention} {what}"));
    bot.sandbox.discord.forbid(&quiet);
    ask("what about this?");
    bot.until("it ends", async || bot.count(UNDELIVERABLE).await == 1).await;
    assert_eq!(bot.count(GONE).await, 1);
    // More than there are looks.
    for _ in 0..7 {
        let fault = Fault::Answer { status: 502, headers: Vec::new(), body: "{}".to_owned() };
        bot.sandbox.discord.control.fault(&format!("{quiet}/typing"), fault);
    }
    bot.sandbox.discord.permit(&quiet);
    let before = bot.paid().2;
    ask("and now?");
    bot.until("she is answered", async || bot.bot_says_in(&quiet).len() == 1).await;
    bot.drain().await;
    assert_eq!((bot.paid().2, bot.count(UNDELIVERABLE).await), (before + 1, 1));
    bot.end().await;
}

/// What a platform tells may be long past: it is asked before anything is cancelled.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_word_cancels_nothing() {
    let bot = TestBot::busy(TestDb::sqlite().await).await;
    bot.sandbox.telegram.say(GROUP, ANA, "Ana", &format!("@reelcoach_bot {}", link(1)));
    bot.until("it waits", async || bot.count(WAITING).await == 2).await;
    // Taken in again before the bot hears of it.
    bot.sandbox.telegram.block_and_unblock(GROUP);
    bot.until("both are heard", async || bot.sandbox.telegram.pending() == 0).await;
    assert_eq!((bot.count(WAITING).await, bot.count(GONE).await), (2, 0));
    bot.sandbox.apify.set_scrape(Duration::ZERO);
    bot.sandbox.apify.finish_runs();
    bot.drain().await;
    assert_eq!(bot.paid().0, 2);
    bot.end().await;
}
