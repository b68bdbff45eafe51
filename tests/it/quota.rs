//! The model provider's quota, through the whole bot: a burst beyond it is answered all the same, people are told that they
//! wait, and instances share it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::bot::{PATIENCE, TestBot, sandbox, until};

const QUESTION: &str = "How do I open a reel about bread?";
const DEMAND: &str = "Lots of people are asking right now";

/// The texts that one person was sent, edits among them.
fn said_to(bot: &TestBot, chat: i64) -> Vec<String> {
    let asked = bot.sandbox.telegram.control.asked();
    let to = asked.iter().filter(|asked| asked.body["chat_id"].as_i64() == Some(chat));
    to.filter_map(|asked| asked.body["text"].as_str().map(str::to_owned)).collect()
}

on_both! {
    async fn a_burst_beyond_the_quota_is_answered_and_those_who_wait_are_told(db: TestDb) {
        let (sandbox, db) = (sandbox().await, Arc::new(db));
        // Two a second; thirty seconds' worth at once.
        sandbox.openai.limit(Some(120), None);
        let bot = TestBot::start_on(sandbox, db, &[("OPENAI_RPM", "120")]).await;
        let began = Instant::now();
        for n in 0..90 {
            bot.sandbox.telegram.say(1000 + n, 1000 + n, "Somebody", QUESTION);
        }
        bot.drain().await;
        assert!(began.elapsed() >= Duration::from_secs(13), "{:?}", began.elapsed());
        assert_eq!(bot.sandbox.openai.control.refused(), 0);
        let mut told = 0;
        for n in 0..90 {
            let shown = bot.telegram(1000 + n);
            assert!(shown.len() == 1 && !shown[0].contains(DEMAND), "{shown:#?}");
            told += usize::from(said_to(&bot, 1000 + n).iter().any(|text| text.contains(DEMAND)));
        }
        assert!((3..=30).contains(&told), "{told} of the last 30 were told that they wait");
        assert_eq!(bot.db.number("SELECT COUNT(*) FROM ledger WHERE outcome = 'ok'", &[]).await, 90);
        bot.end().await;
    }

    async fn whoever_would_wait_too_long_is_told_when_to_ask_again_and_pays_nothing(db: TestDb) {
        let (sandbox, db) = (sandbox().await, Arc::new(db));
        sandbox.openai.limit(Some(4), None);
        let bot = TestBot::start_on(sandbox, db, &[("OPENAI_RPM", "4"), ("OPENAI_WAIT_SECONDS", "5")]).await;
        for n in 0..3 {
            bot.sandbox.telegram.say(1000 + n, 1000 + n, "Somebody", QUESTION);
        }
        bot.drain().await;
        let refused: Vec<String> = (0..3).flat_map(|n| bot.telegram(1000 + n)).filter(|text| text.contains("swamped")).collect();
        assert_eq!(refused, ["I'm swamped right now, so I haven't started on this. Please ask again in about 15 s."]);
        assert_eq!(bot.sandbox.openai.charged().len(), 2);
        assert_eq!(bot.db.number("SELECT COUNT(*) FROM ledger", &[]).await, 2, "nothing is counted, nothing stays reserved");
        let sums = "SELECT (SELECT CAST(SUM(micro_usd) AS BIGINT) FROM ledger) - (SELECT MAX(micro_usd) FROM spending WHERE scope = 'bot')";
        assert_eq!(bot.db.number(sums, &[]).await, 0);
        bot.end().await;
    }

    async fn a_refusal_all_the_same_is_obeyed(db: TestDb) {
        let bot = TestBot::start(db, &[]).await;
        let body = r#"{"error":{"message":"m","type":"requests","param":null,"code":"rate_limit_exceeded"}}"#;
        let fault = sandbox::Fault::Answer {
            status: 429,
            headers: vec![("retry-after".into(), "3".into())],
            body: body.into(),
        };
        bot.sandbox.openai.control.fault("/v1/responses", fault);
        let began = Instant::now();
        bot.sandbox.telegram.say(42, 42, "Ana", QUESTION);
        bot.drain().await;
        assert!(began.elapsed() >= Duration::from_secs(3));
        assert!(said_to(&bot, 42).iter().any(|text| text.contains(DEMAND)), "she is told that she waits");
        assert!(bot.telegram(42)[0].len() > 20 && !bot.telegram(42)[0].contains("reference"), "{:?}", bot.telegram(42));
        bot.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_instances_together_stay_within_the_quota() {
    let (sandbox, db) = (sandbox().await, Arc::new(crate::support::TestDb::postgres().await));
    // Four a second: each of the two could have it alone.
    sandbox.openai.limit(Some(240), None);
    let overrides = [("OPENAI_RPM", "240"), ("DATABASE_CONNECTIONS", "6")];
    let one = TestBot::start_on(sandbox.clone(), db.clone(), &overrides).await;
    let mut two = TestBot::start_on(sandbox.clone(), db.clone(), &overrides).await;
    let here = "SELECT COUNT(*) FROM instances";
    until("both are there", async || db.number(here, &[]).await == 2).await;
    for n in 0..200 {
        sandbox.telegram.say(1000 + n, 1000 + n, "Somebody", QUESTION);
    }
    crate::bot::until_within(PATIENCE * 2, "everybody is answered", async || {
        sandbox.telegram.pending() == 0 && db.is_idle().await.unwrap()
    })
    .await;
    assert_eq!((sandbox.openai.control.refused(), sandbox.openai.charged().len()), (0, 200));
    for n in 0..200 {
        assert!(!one.telegram(1000 + n)[0].contains(DEMAND));
    }
    two.stop().await;
    two.leaves_work = true;
    assert_eq!(db.number(here, &[]).await, 1, "one that goes leaves its part at once");
    one.end().await;
}
