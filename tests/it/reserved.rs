//! What a process that died had reserved: it does not stay in anybody's way.

use std::sync::Arc;
use std::time::Duration;

use reelcoach::clock::Clock;
use reelcoach::core::watch::EVERY;
use reelcoach::ids::{ChatId, InstanceId, Platform};
use reelcoach::store::instances::ALIVE;
use reelcoach::store::ledger::{Entry, Hold};
use reelcoach::upstream::{Provider, STARTED, Usage};

use crate::bot::{TestBot, sandbox};
use crate::support::TestDb;

/// At the start on SQLite, where nobody else can be at work; on PostgreSQL at the next look after its death is known.
async fn what_a_dead_instance_reserved_is_free_soon(db: TestDb) {
    assert!(ALIVE + EVERY <= Duration::from_secs(60));
    let now = Clock::System.now();
    let (dead, alive) = (InstanceId::new(), InstanceId::new());
    db.note_instance(dead, "dead", now - ALIVE * 2, now - ALIVE, "{}").await.unwrap();
    db.note_instance(alive, "alive", now, now + ALIVE * 9, "{}").await.unwrap();
    let person = db.person(Platform::Telegram, "42", "Ana", now).await.unwrap();
    let chat = ChatId::new(Platform::Telegram, "42");
    let most = Usage { input_tokens: 1000, cache_write_tokens: 1000, output_tokens: 4000, ..Usage::default() };
    let call = |key, provider, model| Entry {
        key,
        at: now - ALIVE * 2,
        person,
        chat: &chat,
        provider,
        model,
        tool: "x",
        usage: Usage { estimated: true, ..most },
        micro_usd: 50_000,
        price_version: "1",
        latency_ms: 0,
        outcome: STARTED,
    };
    for (key, provider, model, by) in [
        ("answer", Provider::OpenAi, "gpt-6.1-sol", dead),
        ("run", Provider::Apify, "actor", dead),
        ("living", Provider::OpenAi, "gpt-6.1-sol", alive),
    ] {
        let hold = Hold { until: now + Duration::from_secs(7200), by: Some(by) };
        db.reserve(&call(key, provider, model), &[], hold).await.unwrap();
    }
    let (is_shared, db) = (db.is_shared(), Arc::new(db));
    let bot = TestBot::start_on(sandbox().await, db.clone(), &[("APIFY_ESTIMATE_USD", "0.0036")]).await;
    let left = i64::from(is_shared);
    bot.until("the dead one's are given up", async || {
        db.number("SELECT COUNT(*) FROM ledger WHERE reserved_until IS NOT NULL", &[]).await == left
    })
    .await;
    // What was sent is known; of a run the usual price is.
    let cost = |key: &str| {
        format!("SELECT micro_usd FROM ledger WHERE key = '{key}' AND outcome = 'lost' AND output_tokens = 0")
    };
    assert_eq!(db.number(&cost("answer"), &[]).await, 2500);
    assert_eq!(db.number(&cost("run"), &[]).await, 3600);
    bot.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_dead_reserved_is_free_soon() {
    tokio::join!(
        what_a_dead_instance_reserved_is_free_soon(TestDb::sqlite().await),
        what_a_dead_instance_reserved_is_free_soon(TestDb::postgres().await),
    );
}
