//! The ledger.

use reelcoach::store::ledger::{Entry, ModelUse};
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
            charged_micro_usd: None,
            estimated: true,
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
        let used = db.usage_by_model(START, at(10)).await.unwrap();
        assert_eq!(used.len(), 1);
        assert_eq!((used[0].calls, used[0].micro_usd), (1, 1234));
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

    async fn usage_is_summed_by_model_in_a_half_open_time(db: TestDb) {
        let (mia, chat) = (person(&db, "mia").await, chat("1"));
        for (key, model, time) in
            [("a", "small", START), ("b", "large", START), ("c", "large", at(5)), ("d", "large", at(10))]
        {
            assert!(db.record(entry(key, model, mia, &chat, time)).await.unwrap());
        }
        let dear = Entry { micro_usd: 9_000_000_000, ..entry("e", "dear", mia, &chat, at(1)) };
        let dear = Entry { usage: Usage { input_tokens: u64::MAX, ..dear.usage }, ..dear };
        assert!(db.record(dear).await.unwrap());
        let model = |model: &str, calls: i64| ModelUse {
            provider: "openai".into(),
            model: model.into(),
            calls,
            input_tokens: 1000 * calls,
            cached_tokens: 200 * calls,
            output_tokens: 300 * calls,
            micro_usd: 1234 * calls,
        };
        let used = db.usage_by_model(START, at(10)).await.unwrap();
        assert_eq!((used[0].model.as_str(), used[0].micro_usd), ("dear", 9_000_000_000));
        assert_eq!(used[0].input_tokens, i64::MAX, "a number beyond BIGINT is the largest one");
        assert_eq!(used[1..], [model("large", 2), model("small", 1)]);
        assert!(db.usage_by_model(at(11), at(12)).await.unwrap().is_empty());
    }
}
