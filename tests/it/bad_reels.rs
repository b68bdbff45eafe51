//! What one reel, one person or one service does to everybody else's reels, end to end: deadlines, pauses that a service
//! asks for, its quota of a day, and joining. Owns no wire.

use std::sync::Arc;
use std::time::Duration;

use reelcoach::clock::Clock;
use sandbox::gemini::GeminiSandbox;
use serde_json::json;

use crate::bot::{TestBot, sandbox};
use crate::reels::link;
use crate::support::TestDb;

const ANA: i64 = 42;
const BEN: i64 = 77;
const GOOD: &str = "DLlGZiCOBQ0";

/// A bot by a clock that stands still until it is moved.
async fn by_hand(db: TestDb, overrides: &[(&str, &str)]) -> (TestBot, Clock) {
    let clock = Clock::manual(Clock::System.now());
    let bot = TestBot::start_at(sandbox().await, Arc::new(db), overrides, clock.clone(), None).await;
    (bot, clock)
}

impl TestBot {
    fn pastes(&self, person: i64, code: &str) {
        self.sandbox.telegram.say(person, person, "P", &link(code));
    }

    async fn shows(&self, person: i64, words: &str) {
        let shown = async || self.telegram(person).iter().any(|text| text.contains(words));
        self.until(&format!("{person} is shown “{words}”"), shown).await;
    }
}

on_both! {
    async fn a_reel_that_never_ends_is_given_up_and_the_next_one_done(db: TestDb) {
        let limits = [("REEL_LANES", "1"), ("REEL_DEADLINE_SECONDS", "30")];
        let (bot, clock) = by_hand(db, &limits).await;
        bot.pastes(ANA, "DEVER000001");
        bot.until("its run has begun", async || bot.scrapes() == 1).await;
        bot.pastes(BEN, GOOD);
        bot.shows(BEN, "next in the queue").await;
        // The lease is renewed meanwhile: somebody works on it all the time.
        for _ in 0..4 {
            clock.advance(Duration::from_secs(8));
            let now = clock.now().0;
            let renewed = "SELECT COUNT(*) FROM jobs WHERE shortcode = 'DEVER000001' AND (leased_until > $1 + 14000 OR state <> 'running')";
            bot.until("its lease is renewed", async || bot.db.number(renewed, &[now]).await == 1).await;
        }
        bot.shows(ANA, "This reel took too long, so I stopped. Please send it again in a few minutes.").await;
        bot.shows(BEN, "Hook").await;
        let runs: Vec<_> = bot.sandbox.apify.runs().into_iter().map(|run| (run.code, run.status)).collect();
        assert_eq!(runs, [("DEVER000001".to_owned(), "ABORTED"), (GOOD.to_owned(), "SUCCEEDED")]);
        // The aborted run is counted at no less than a usual one until Apify is asked again; it is not bought again, and the
        // upstream is not blamed for it alone.
        let paid = "SELECT CAST(SUM(micro_usd) AS BIGINT) FROM ledger WHERE provider = 'apify' AND estimated";
        assert_eq!(bot.db.number(paid, &[]).await, 3600 + 3600);
        assert_eq!(bot.db.number("SELECT COUNT(*) FROM breakers WHERE trips > 0", &[]).await, 0);
        bot.end().await;
    }

    async fn whoever_joins_a_reel_that_waits_for_somebody_elses_spacing_has_it_at_once(db: TestDb) {
        let (bot, clock) = by_hand(db, &[("REEL_INTERVAL_SECONDS", "30")]).await;
        let codes: Vec<String> = (1..=5).map(|n| format!("DQ00000000{n}")).collect();
        let links: Vec<String> = codes.iter().map(|code| link(code)).collect();
        bot.sandbox.telegram.say(ANA, ANA, "Ana", &links.join(" "));
        bot.until("her first one is read", async || bot.scrapes() == 1).await;
        // His own 30 s are free: the clock stands still.
        bot.pastes(BEN, &codes[4]);
        bot.shows(BEN, "Hook").await;
        bot.shows(ANA, "Hook").await;
        assert_eq!(bot.scrapes(), 2);
        // Another one of hers takes his next slot, which is earlier than hers.
        bot.pastes(BEN, &codes[3]);
        bot.shows(BEN, "Next up: your reel starts soon").await;
        clock.advance(Duration::from_secs(200));
        // All of it is said in one chat, at the pace that a chat allows: time goes on.
        bot.until("everything is answered", async || {
            clock.advance(Duration::from_millis(20));
            bot.sandbox.telegram.pending() == 0 && bot.store.is_idle().await.unwrap()
        })
        .await;
        assert_eq!(bot.scrapes(), 5, "each is read once");
        bot.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pause_that_a_service_asks_for_is_kept_by_everybody() {
    let (bot, clock) = by_hand(TestDb::sqlite().await, &[("REEL_LANES", "2")]).await;
    let detail = json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "37s"});
    let refusal = GeminiSandbox::refusal(429, "RESOURCE_EXHAUSTED", "Please retry in 36.96s.", detail);
    bot.sandbox.gemini.control.fault(":generateContent", refusal);
    bot.pastes(ANA, "DFIRST00001");
    let held = "SELECT COUNT(*) FROM jobs WHERE not_before > 1 AND state = 'queued'";
    bot.until("it is to be tried again", async || bot.db.number(held, &[]).await == 1).await;
    // The next one neither buys its scrape for nothing nor runs into the same refusal.
    bot.pastes(BEN, "DSECOND0001");
    bot.shows(BEN, "I'll try again in about 40 s").await;
    clock.advance(Duration::from_secs(36));
    assert_eq!((bot.scrapes(), bot.sandbox.gemini.control.count(":generateContent")), (1, 1));
    clock.advance(Duration::from_secs(2));
    bot.drain().await;
    for person in [ANA, BEN] {
        bot.shows(person, "Hook").await;
    }
    assert_eq!((bot.scrapes(), bot.sandbox.gemini.control.count(":generateContent")), (2, 3));
    let failures = "SELECT CAST(COALESCE(SUM(failures + trips), 0) AS BIGINT) FROM breakers";
    assert_eq!(bot.db.number(failures, &[]).await, 0, "it is no failure");
    bot.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_up_quota_of_the_day_is_told_at_once_and_costs_no_scrape() {
    let bot = TestBot::start(TestDb::sqlite().await, &[("REEL_INTERVAL_SECONDS", "600")]).await;
    let violation = json!({"quotaId": "GenerateRequestsPerDayPerProjectPerModel"});
    let detail = json!({"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]});
    let refusal = GeminiSandbox::refusal(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota.", detail);
    bot.sandbox.gemini.control.fault(":generateContent", refusal);
    bot.pastes(ANA, "DFIRST00001");
    bot.shows(ANA, "as many reels as the reel service allows in a day").await;
    bot.drain().await;
    for code in ["DSECOND0001", "DTHIRD00001"] {
        // It took none of his ten minutes either.
        bot.pastes(BEN, code);
        bot.drain().await;
    }
    let shown = bot.telegram(BEN);
    let resets = shown.iter().filter(|text| text.contains("after ") && text.contains(":00 UTC")).count();
    assert_eq!((resets, bot.scrapes()), (2, 1), "{shown:?}");
    assert_eq!(bot.db.number("SELECT COUNT(*) FROM reels", &[]).await, 0, "nothing is held against the reels");
    bot.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_is_refused_again_and_again_gives_the_time_back() {
    let (bot, clock) = by_hand(TestDb::sqlite().await, &[("REEL_INTERVAL_SECONDS", "600")]).await;
    for _ in 0..9 {
        let refusal = sandbox::apify::ApifySandbox::refusal(500, "internal-server-error");
        bot.sandbox.apify.control.fault("/runs", refusal);
    }
    bot.pastes(ANA, GOOD);
    for attempt in 1..3 {
        let failed = "SELECT COUNT(*) FROM jobs WHERE state = 'queued' AND attempt = $1";
        bot.until("it is to be tried again", async || bot.db.number(failed, &[attempt]).await == 1).await;
        clock.advance(Duration::from_secs(21));
    }
    bot.shows(ANA, "are overloaded right now").await;
    assert_eq!(bot.db.number("SELECT COUNT(*) FROM jobs WHERE slot_at IS NOT NULL", &[]).await, 0);
    bot.pastes(ANA, "DANOTHER001");
    bot.shows(ANA, "Hook").await;
    bot.end().await;
}
