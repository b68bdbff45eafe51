//! A database with more to do than it can: leases are kept all the same, and while they cannot be, nothing is claimed.

use std::sync::Arc;
use std::time::Instant;

use futures::future::join_all;
use reelcoach::store::ledger::Entry;
use reelcoach::store::reels::JobLease;
use reelcoach::upstream::{Provider, STARTED, Usage};
use sqlx::{Connection, Executor, PgConnection};

use super::*;
use crate::bot::until;

/// Sessions of the database that wait for a lock.
const WAIT_FOR_LOCKS: &str =
    "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";

fn call<'a>(person: PersonId, chat: &'a ChatId, outcome: &'a str) -> Entry<'a> {
    Entry {
        key: "call",
        at: START,
        person,
        chat,
        provider: Provider::OpenAi,
        model: "gpt",
        tool: "coach",
        usage: Usage::default(),
        micro_usd: 5,
        price_version: "1",
        latency_ms: 0,
        outcome,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_and_costs_do_not_wait_behind_a_crowd() {
    let db = TestDb::postgres().await;
    let (mia, dm, me) = (person(&db, "mia").await, chat("1"), InstanceId::new());
    let turn = asking_turn(&db, mia, &dm, START).await;
    submit(&db, mia, &[1], START).await;
    let job = claim_job(&db, START).await.unwrap();
    let store = Arc::new(Store::open(&db.url, 2).await.unwrap());
    store.reserve(&call(mia, &dm, STARTED), &[], at(900)).await.unwrap();

    let mut holder = PgConnection::connect(&db.url).await.unwrap();
    holder.execute("BEGIN; LOCK TABLE tallies IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let crowd: Vec<_> = (0..12)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.tally("x", START, 1).await })
        })
        .collect();
    until("every connection is taken", async || db.number(WAIT_FOR_LOCKS, &[]).await == 2).await;
    // A connection that waits for the lock does so for 5 s.
    let began = Instant::now();
    assert!(store.renew_turn(&turn, at(90)).await.unwrap());
    assert_eq!(store.renew_job(&job, at(90)).await.unwrap(), JobLease::Held);
    assert!(store.hold("role", me, START, at(9)).await.unwrap());
    store.note_instance(me, "me", START, START, "{}").await.unwrap();
    assert!(store.record(call(mia, &dm, "ok")).await.unwrap());
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert!(crowd.iter().all(|waits| !waits.is_finished()));
    holder.execute("ROLLBACK").await.unwrap();
    for waits in crowd {
        // Whoever has waited for too long is refused.
        let _ = waits.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_claimed_while_leases_are_renewed_late() {
    const SHORT: Duration = Duration::from_secs(3);
    let db = TestDb::postgres().await;
    let (who, lanes) = (InstanceId::new(), lanes(9, 0));
    let held = asking_turn(&db, person(&db, "mia").await, &chat("1"), START).await;
    let take = async || db.claim_turns(who, &Platform::ALL, START, SHORT, 1000).await.unwrap();
    let mut holder = PgConnection::connect(&db.url).await.unwrap();
    holder
        .execute(sqlx::AssertSqlSafe(format!("BEGIN; SELECT 1 FROM turns WHERE id = '{}' FOR UPDATE", held.id)))
        .await
        .unwrap();
    let (store, turn) = (db.store(), held.clone());
    let renewed = tokio::spawn(async move { store.renew_turn(&turn, at(90)).await });
    until("the renewal waits", async || db.number(WAIT_FOR_LOCKS, &[]).await == 1).await;

    let mut asked = 0;
    let ask = async |nth: i32| {
        says(&db, person(&db, &format!("p{nth}")).await, &chat(&format!("dm {nth}")), &format!("m{nth}"), START).await;
    };
    loop {
        asked += 1;
        ask(asked).await;
        if take().await.is_empty() {
            break;
        }
    }
    submit(&db, held.person, &[1], START).await;
    let take_job = async || db.claim_job(who, &lanes, START, SHORT).await.unwrap();
    assert!(take_job().await.is_none(), "of reels neither");
    assert!(!renewed.is_finished());
    holder.execute("ROLLBACK").await.unwrap();
    assert!(renewed.await.unwrap().unwrap(), "it is held all the time");
    until("work is taken again", async || !take().await.is_empty()).await;
    until("reels too", async || take_job().await.is_some()).await;
}

on_both! {
    async fn renewals_of_one_moment_are_told_apart(db: TestDb) {
        const PEOPLE: usize = 70;
        for nth in 0..PEOPLE {
            says(&db, person(&db, &format!("p{nth}")).await, &chat(&format!("dm {nth}")), &format!("m{nth}"), START).await;
        }
        let turns = claim(&db, InstanceId::new(), START).await;
        assert_eq!(turns.len(), PEOPLE);
        // Each third was taken by somebody else, or a second time, or has ended.
        let mut asked = turns.clone();
        for (nth, turn) in asked.iter_mut().enumerate() {
            match nth % 6 {
                0 => turn.leased_by = InstanceId::new(),
                2 => turn.attempt += 1,
                4 => assert!(db.close_turn(turn, Outcome::Silent, START).await.unwrap()),
                _ => {}
            }
        }
        let until = |nth: usize| at(100 + nth as u64);
        let renewed = join_all(asked.iter().enumerate().map(|(nth, turn)| db.renew_turn(turn, until(nth)))).await;
        for (nth, renewed) in renewed.into_iter().enumerate() {
            assert_eq!(renewed.unwrap(), nth % 2 == 1, "{nth}");
        }
        let ends = "SELECT CAST(COALESCE(SUM(due_at), 0) AS BIGINT) FROM turns WHERE state <> 'closed'";
        let wanted: i64 = (0..PEOPLE).filter(|nth| nth % 6 != 4).map(|nth| if nth % 2 == 1 { until(nth) } else { START + LEASE }.0).sum();
        assert_eq!(db.number(ends, &[]).await, wanted, "and each has its own end");
    }

    async fn a_renewal_outlives_whoever_asked_first(db: TestDb) {
        let turns = [asking_turn(&db, person(&db, "a").await, &chat("1"), START).await,
            asking_turn(&db, person(&db, "b").await, &chat("2"), START).await];
        let mut first = Box::pin(db.renew_turn(&turns[0], at(90)));
        assert!(futures::poll!(&mut first).is_pending());
        let mut second = Box::pin(db.renew_turn(&turns[1], at(90)));
        assert!(futures::poll!(&mut second).is_pending());
        drop(first);
        assert!(second.await.unwrap());
        let ends = "SELECT COUNT(*) FROM turns WHERE due_at = $1";
        assert_eq!(db.number(ends, &[at(90).0]).await, 2, "both were on their way");
    }
}
