//! What admins see of the line and do to it, on each platform, and what everybody else is refused. Owns no wire.

use std::time::Duration;

use sandbox::apify::ApifySandbox;

use crate::bot::{TestBot, environment, sandbox};
use crate::process::run;
use crate::reels::link;
use crate::support::TestDb;

/// The admin on both platforms.
const ANA: i64 = 42;
const BEN: i64 = 77;
const ADMINS: (&str, &str) = ("ADMIN_IDS", "telegram:42,discord:42,console:Ana");
const HELD: Duration = Duration::from_secs(80);

impl TestBot {
    /// Says it in a Telegram chat of one's own, and waits for the answer to it.
    async fn asked_by(&self, person: i64, text: &str) -> String {
        let before = self.telegram(person).len();
        self.sandbox.telegram.say(person, person, "P", text);
        self.until(&format!("{text} is answered"), async || self.telegram(person).len() > before).await;
        self.telegram(person).pop().unwrap()
    }

    async fn until_shown(&self, person: i64, words: &str) {
        let shown = async || self.telegram(person).iter().any(|text| text.contains(words));
        self.until(&format!("{person} sees “{words}”"), shown).await;
    }
}

fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part}: {text}");
    }
}

on_both! {
    async fn the_line_is_paused_and_goes_on(db: TestDb) {
        let bot = TestBot::start(db, &[ADMINS, ("REEL_LANES", "2")]).await;
        let empty = bot.asked_by(ANA, "/queue").await;
        has(&empty, &["The queue is empty", "direct:0  free", "direct:1  free", "/queue pause"]);
        let public = bot.asked_by(BEN, "/queue").await;
        assert!(public.contains("The queue is empty") && !public.contains("direct"), "{public}");
        for wish in ["/queue pause", "/queue resume direct:0", "/queue drain", "/queue dance"] {
            has(&bot.asked_by(BEN, wish).await, &["Only the bot's admins"]);
        }
        has(&bot.asked_by(ANA, "/queue pause direct:7").await, &["/queue pause, /queue resume", "Lanes: direct:0, direct:1."]);

        has(&bot.asked_by(ANA, "/queue pause DIRECT:0").await, &["Paused: direct:0."]);
        has(&bot.asked_by(ANA, "/queue pause").await, &["Paused: direct:0, direct:1."]);
        bot.sandbox.telegram.say(BEN, BEN, "Ben", &link("DWAITING001"));
        bot.until_shown(BEN, "Reels are paused for now. You're number 1 and you keep your position.").await;
        let paused = bot.asked_by(ANA, "/queue").await;
        has(&paused, &["0 in progress, 1 waiting", "direct:0  paused", "direct:1  paused", "Longest wait right now:"]);
        assert_eq!(bot.scrapes(), 0);
        bot.sandbox.apify.set_scrape(HELD);
        has(&bot.asked_by(ANA, "/queue resume direct:1").await, &["Resumed: direct:1."]);
        bot.until("it runs", async || bot.scrapes() == 1).await;
        let running = bot.asked_by(ANA, "/queue").await;
        has(&running, &["1 in progress, 0 waiting", "direct:0  paused", "direct:1  fetching DWAITING001 for"]);
        bot.sandbox.apify.finish_runs();
        bot.until_shown(BEN, "Hook").await;
        bot.end().await;
    }

    async fn the_line_runs_empty(db: TestDb) {
        let bot = TestBot::start(db, &[ADMINS, ("REEL_LANES", "1")]).await;
        bot.sandbox.telegram.say(BEN, BEN, "Ben", &link("DKNOWN00001"));
        bot.until_shown(BEN, "Hook").await;
        bot.sandbox.apify.set_scrape(HELD);
        bot.sandbox.telegram.say(BEN, BEN, "Ben", &link("DRUNNING001"));
        bot.until("it runs", async || bot.scrapes() == 2).await;
        has(&bot.asked_by(ANA, "/queue drain").await, &["Draining: no new reels from now on"]);
        has(&bot.asked_by(ANA, "/queue").await, &["Draining: finishing the queue, taking no new reels.", "fetching DRUNNING001"]);
        has(&bot.asked_by(3, &link("DTOOLATE001")).await, &["DTOOLATE001: I'm not taking new reels right now"]);
        bot.sandbox.telegram.say(4, 4, "P", &link("DKNOWN00001"));
        bot.until_shown(4, "Hook").await;
        bot.sandbox.apify.finish_runs();
        bot.drain().await;
        assert_eq!(bot.telegram(BEN).iter().filter(|text| text.contains("Hook")).count(), 2, "what was in it is read");
        has(&bot.asked_by(ANA, "/queue resume").await, &["Resumed: direct:0. New reels are welcome again."]);
        bot.sandbox.apify.set_scrape(Duration::ZERO);
        bot.sandbox.telegram.say(3, 3, "P", &link("DTOOLATE001"));
        bot.until_shown(3, "Hook").await;
        bot.end().await;
    }

    async fn a_reel_is_read_anew_for_admins(db: TestDb) {
        let bot = TestBot::start(db, &[ADMINS]).await;
        bot.until_on_discord().await;
        let url = link("DLlGZiCOBQ0");
        bot.sandbox.telegram.say(BEN, BEN, "Ben", &url);
        bot.drain().await;
        has(&bot.asked_by(BEN, &format!("/reel {url} fresh:true")).await, &["Only the bot's admins can have a reel watched again"]);
        bot.drain().await;
        assert_eq!(bot.scrapes(), 1);
        bot.sandbox.telegram.say(ANA, ANA, "Ana", &format!("/reel {url} fresh:true"));
        bot.drain().await;
        assert_eq!(bot.scrapes(), 2);
        has(&bot.telegram(ANA)[0], &["Hook"]);
        let channel = bot.sandbox.discord.guild_channel("coach");
        for (user, fresh, scrapes) in [("42", "true", 3), ("42", "false", 3), ("99", "true", 3)] {
            let before = bot.said_in(&channel).len();
            bot.sandbox.discord.slash(&channel, user, "P", "reel", &[("url", &url), ("fresh", fresh)]).unwrap();
            bot.until("it is answered", async || bot.said_in(&channel).len() > before).await;
            bot.drain().await;
            assert_eq!(bot.scrapes(), scrapes, "{user} {fresh}");
            let answer = bot.said_in(&channel).pop().unwrap();
            has(&answer.content, &[if user == "42" { "Hook" } else { "Only the bot's admins" }]);
        }
        bot.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_told_to_admins_alone() {
    let bot = TestBot::start(TestDb::sqlite().await, &[ADMINS, ("REEL_LANES", "1")]).await;
    bot.sandbox.telegram.say(BEN, BEN, "Ben", &link("DPRIV000001"));
    bot.drain().await;
    bot.sandbox.apify.control.fault("/runs", ApifySandbox::refusal(402, "not-enough-usage-to-run-paid-actor"));
    bot.sandbox.telegram.say(BEN, BEN, "Ben", &link("DNOCREDIT01"));
    bot.drain().await;
    let told = bot.telegram(BEN).pop().unwrap();
    let line = bot.asked_by(ANA, "/queue").await;
    has(
        &line,
        &[
            "direct:0  out of use, next try in",
            "last failed",
            "out_of_credit (",
            "Latest failures",
            "DPRIV000001, ",
            "DNOCREDIT01, ",
        ],
    );
    // The code that the person was told is the one that the admin sees.
    let code = told.split("reference ").nth(1).and_then(|rest| rest.split(')').next()).expect("a reference").to_owned();
    has(&line, &[&code]);
    let public = bot.asked_by(BEN, "/queue").await;
    assert!(!public.contains("failed") && !public.contains("direct:0"), "{public}");
    bot.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_line_on_discord() {
    let bot = TestBot::start(TestDb::sqlite().await, &[ADMINS]).await;
    bot.until_on_discord().await;
    let channel = bot.sandbox.discord.guild_channel("coach");
    let slash = async |user: &str, options: &[(&str, &str)]| {
        let before = bot.said_in(&channel).len();
        bot.sandbox.discord.slash(&channel, user, "P", "queue", options).unwrap();
        bot.until("it is answered", async || bot.said_in(&channel).len() > before).await;
        let answer = bot.said_in(&channel).pop().unwrap();
        assert!(answer.ephemeral, "{answer:?}");
        answer.content
    };
    has(&slash("42", &[]).await, &["The queue is empty", "direct:0  free", "direct:1  free"]);
    assert!(!slash("99", &[]).await.contains("direct"));
    has(&slash("99", &[("action", "Pause")]).await, &["Only the bot's admins"]);
    has(&slash("42", &[("action", "Pause"), ("lane", "direct:1")]).await, &["Paused: direct:1."]);
    has(&slash("42", &[]).await, &["direct:0  free", "direct:1  paused"]);
    has(&slash("42", &[("action", "Drain (take no new reels)")]).await, &["Draining: no new reels"]);
    has(&slash("42", &[("action", "Resume")]).await, &["Resumed: direct:0, direct:1."]);
    // In words that all can read, an admin sees what all may see.
    let (me, _) = bot.sandbox.discord.bot();
    bot.sandbox.discord.say(&channel, "42", "Ana", &format!("<@{me}> /queue"));
    bot.until("it is said to all", async || bot.said_in(&channel).iter().any(|shown| !shown.ephemeral)).await;
    let public = bot.said_in(&channel).into_iter().find(|shown| !shown.ephemeral).unwrap();
    assert!(public.content.contains("The queue is empty") && !public.content.contains("direct"), "{public:?}");
    bot.end().await;
}

#[tokio::test]
async fn the_line_at_the_console() {
    let (sandbox, db) = (sandbox().await, TestDb::sqlite().await);
    let environment = environment(&sandbox, &db, &[]);
    let says = async |person: &str, command: &str| {
        let ran = run(&["chat", "--as", person], &environment, "ADMIN_IDS=console:Ana\n", command).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.out
    };
    has(&says("Ana", "/queue").await, &["The queue is empty", "direct:0  free"]);
    has(&says("Ana", "/queue pause direct:0").await, &["Paused: direct:0."]);
    has(&says("Ana", "/queue").await, &["direct:0  paused", "direct:1  free"]);
    let public = says("Ben", "/queue").await;
    assert!(public.contains("The queue is empty") && !public.contains("direct:0"), "{public}");
    has(&says("Ben", "/queue resume").await, &["Only the bot's admins"]);
}
