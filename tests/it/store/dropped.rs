//! A caller that goes away in the middle of a transaction, at each of its awaits: what is reported as done afterwards, on
//! the same connection, stays done.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use reelcoach::store::ledger::Entry;
use reelcoach::upstream::{Provider, STARTED, Usage};

use super::*;

/// More awaits than any transaction has.
const MOST_AWAITS: usize = 400;

/// Drops a future after it was polled so many times; its result if it ended before.
async fn dropped_after<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let (mut future, mut left) = (pin!(future), polls);
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending => {
            left -= 1;
            if left == 0 { Poll::Ready(None) } else { Poll::Pending }
        }
    })
    .await
}

/// Begins `transaction` again and again, each time for one await longer, until it ends by itself. After each time a plain
/// statement on the same connection must be seen by everybody.
async fn holds_at_every_await<F: Future>(db: &TestDb, store: &Store, name: &str, transaction: impl Fn(usize) -> F) {
    let written = || db.number("SELECT CAST(COALESCE(SUM(value), 0) AS BIGINT) FROM tallies", &[]);
    let mut polls = 1;
    for nth in 1..MOST_AWAITS {
        let before = written().await;
        let ended = dropped_after(polls, transaction(nth)).await.is_some();
        store.tally(name, START, 1).await.unwrap();
        assert_eq!(written().await, before + 1, "{name} was dropped at its await {polls}");
        match ended {
            true if polls > 1 => return,
            // Each answer was there before it was waited for, as a busy machine may have it: nothing was dropped.
            true => {}
            false => polls += 1,
        }
    }
    panic!("{name} does not end, or is never dropped");
}

on_both! {
    async fn a_write_after_a_dropped_transaction_holds(db: TestDb) {
        let mia = person(&db, "mia").await;
        let dm = chat("1");
        let turn = asking_turn(&db, mia, &dm, START).await;
        // One connection, so that the write is on the one that was left behind.
        let store = Store::open(&db.url, 1).await.unwrap();

        holds_at_every_await(&db, &store, "receive", |nth| {
            let (store, dm) = (&store, &dm);
            async move {
                let message = MessageRef::new(dm.clone(), format!("m{nth}"));
                store.receive(arrival(&message, mia, "{}", START)).await.unwrap()
            }
        })
        .await;
        holds_at_every_await(&db, &store, "reserve", |nth| {
            let (store, dm) = (&store, &dm);
            async move {
                let key = format!("call {nth}");
                let entry = Entry {
                    key: &key,
                    at: START,
                    person: mia,
                    chat: dm,
                    provider: Provider::OpenAi,
                    model: "gpt",
                    tool: "coach",
                    usage: Usage::default(),
                    micro_usd: 5,
                    price_version: "1",
                    latency_ms: 0,
                    outcome: STARTED,
                };
                store.reserve(&entry, &[], at(3600)).await.unwrap()
            }
        })
        .await;
        // One statement under a lock.
        holds_at_every_await(&db, &store, "park", |_| store.park_turn(&turn)).await;
        let lanes = lanes(1, 0);
        holds_at_every_await(&db, &store, "claim", |_| store.claim_job(InstanceId::new(), &lanes, START, LEASE)).await;
        store.close().await;
    }
}
