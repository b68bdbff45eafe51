//! The ledger.

use reelcoach::store::instances::ALIVE;
use reelcoach::store::ledger::{Entry, Hold};
use reelcoach::upstream::{Provider, STARTED, Usage};

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

/// One that is only begun.
pub(super) fn call<'a>(key: &'a str, person: PersonId, chat: &'a ChatId) -> Entry<'a> {
    Entry { outcome: STARTED, ..entry(key, "gpt", person, chat, START) }
}

on_both! {
    /// Of an instance that is known to be dead, or of which nothing was heard for as long; never of one that lives, or of
    /// one that nobody hears of.
    async fn what_the_dead_have_reserved_is_given_up(db: TestDb) {
        let (mia, chat) = (person(&db, "mia").await, chat("1"));
        let [alive, dead, gone] = [InstanceId::new(), InstanceId::new(), InstanceId::new()];
        for (key, by) in [("alive", Some(alive)), ("dead", Some(dead)), ("gone", Some(gone)), ("console", None)] {
            db.reserve(&call(key, mia, &chat), &[], Hold { until: at(7200), by }).await.unwrap();
        }
        let lost = async |now| {
            let lost = db.lost_reservations(now, 9).await.unwrap();
            lost.into_iter().map(|call| call.key).collect::<std::collections::BTreeSet<_>>()
        };
        db.note_instance(alive, "a", START, START, "{}").await.unwrap();
        db.note_instance(dead, "d", START, START, "{}").await.unwrap();
        let silent = START + ALIVE;
        assert!(lost(silent - Duration::from_millis(1)).await.is_empty(), "they may live");
        db.note_instance(alive, "a", START, silent, "{}").await.unwrap();
        assert_eq!(lost(silent).await, ["dead", "gone"].map(str::to_owned).into());
        for key in ["dead", "gone"] {
            db.give_up_reservation(key, 3).await.unwrap();
        }
        assert!(lost(silent).await.is_empty());
        assert_eq!(db.number("SELECT micro_usd FROM ledger WHERE key = 'dead'", &[]).await, 3);
        // It was not dead after all: what it says counts.
        assert!(db.record(entry("dead", "gpt", mia, &chat, START)).await.unwrap());
        assert_eq!(db.number("SELECT micro_usd FROM ledger WHERE key = 'dead'", &[]).await, 1234);
    }

    /// A run that nobody heard of gets what was reserved for it, and one that is settled is another call's.
    async fn a_lost_call_gets_its_run(db: TestDb) {
        let (mia, chat) = (person(&db, "mia").await, chat("1"));
        let adopt = async |run: &str| db.adopt("job:scrape:", START, run, at(9)).await.unwrap();
        assert!(!adopt("run-0").await, "nothing was reserved");
        for key in ["job:scrape:1", "other:scrape:1"] {
            db.reserve(&call(key, mia, &chat), &[], at(7200)).await.unwrap();
        }
        db.give_up_reservation("job:scrape:1", 3).await.unwrap();
        assert!(adopt("run-1").await);
        assert!(adopt("run-1").await, "by the next process, if this one died behind it");
        assert!(db.record(entry("run-1", "gpt", mia, &chat, at(2))).await.unwrap());
        assert!(!adopt("run-1").await, "it is settled");
        // One that ended without anybody knowing how is asked about.
        let cut = Entry { outcome: "cut", ..entry("job:scrape:2", "gpt", mia, &chat, at(3)) };
        assert!(db.record(cut).await.unwrap());
        assert!(!adopt("run-1").await && adopt("run-2").await);
        assert_eq!(db.number("SELECT confirm_at FROM ledger WHERE key = 'run-2'", &[]).await, at(9).0);
        assert_eq!(db.number("SELECT COUNT(*) FROM ledger", &[]).await, 3, "the other job's stays");
        assert_eq!(db.number("SELECT CAST(SUM(micro_usd) AS BIGINT) FROM ledger", &[]).await, 3 * 1234);
    }

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
