//! The ledger.

use reelcoach::store::ledger::Entry;
use reelcoach::upstream::{Provider, Usage};

use super::*;

fn entry<'a>(key: &'a str, model: &'a str, person: PersonId, chat: &'a ChatId, at: Timestamp) -> Entry<'a> {
    Entry {
        key,
        at,
        person,
        chat,
        provider: Provider::OpenAi,
        model,
        tool: "coach",
        usage: Usage {
            input_tokens: 1000,
            cached_tokens: 200,
            cache_write_tokens: 10,
            output_tokens: 300,
            reasoning_tokens: 100,
            estimated: true,
            ..Usage::default()
        },
        micro_usd: 1234,
        price_version: "2026-01",
        latency_ms: 900,
        outcome: "ok",
    }
}

on_both! {
    async fn a_call_is_counted_once(db: TestDb) {
        let (mia, chat) = (person(&db, "mia").await, chat("1"));
        assert!(db.record(entry("call-1", "gpt", mia, &chat, START)).await.unwrap());
        assert!(!db.record(entry("call-1", "gpt", mia, &chat, at(9))).await.unwrap());
        assert_eq!(db.number("SELECT CAST(SUM(micro_usd) AS BIGINT) FROM ledger", &[]).await, 1234);
        let sum = "SELECT cache_write_tokens + reasoning_tokens + latency_ms FROM ledger WHERE estimated AND tool = 'coach'";
        assert_eq!(db.number(sum, &[]).await, 10 + 100 + 900);
    }

    async fn one_key_written_by_sixteen_is_counted_once(db: TestDb) {
        let instances = three_instances(&db).await;
        let mia = person(&db, "mia").await;
        let tasks = (0..16).map(|n| {
            let store = instances[n % 3].clone();
            tokio::spawn(async move { store.record(entry("call-1", "gpt", mia, &chat("1"), START)).await.unwrap() })
        });
        assert_eq!(all(tasks).await.into_iter().filter(|new| *new).count(), 1);
    }
}
