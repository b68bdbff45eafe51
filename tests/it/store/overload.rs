//! A database with more to do than it can: leases are kept all the same, and while they cannot be, nothing is claimed.

use std::sync::Arc;

use futures::future::join_all;
use reelcoach::store::reels::JobLease;
use sqlx::{Connection, Executor, PgConnection};

use super::*;
use crate::bot::until;

/// Sessions of the database that wait for a lock.
const WAIT_FOR_LOCKS: &str =
    "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";

#[tokio::test(flavor = "multi_thread")]
async fn leases_and_costs_do_not_wait_behind_a_crowd() {
    let db = TestDb::postgres().await;
    let (mia, dm, me) = (person(&db, "mia").await, chat("1"), InstanceId::new());
    let turn = asking_turn(&db, mia, &dm, START).await;
    submit(&db, mia, &[1], START).await;
    let job = claim_job(&db, START).await.unwrap();
    let store = Arc::new(Store::open(&db.url, 2).await.unwrap());
    store.reserve(&entry("call", mia, &dm, 5, STARTED), &[], at(900)).await.unwrap();

    let mut holder = PgConnection::connect(&db.url).await.unwrap();
    holder.execute("BEGIN; LOCK TABLE tallies IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let crowd: Vec<_> = (0..12)
        .map(|_| {
            let store = store.clone();
            // Whoever has waited for too long is refused, and asks again: none gets through before the lock is free.
            tokio::spawn(async move { while store.tally("x", START, 1).await.is_err() {} })
        })
        .collect();
    until("every connection is taken", async || db.number(WAIT_FOR_LOCKS, &[]).await == 2).await;
    // Behind the crowd they would be refused, too.
    assert!(store.renew_turn(&turn, at(90)).await.unwrap());
    assert_eq!(store.renew_job(&job, at(90)).await.unwrap(), JobLease::Held);
    assert!(store.hold("role", me, START, at(9)).await.unwrap());
    store.note_instance(me, "me", START, START, "{}").await.unwrap();
    assert!(store.record(entry("call", mia, &dm, 5, "ok")).await.unwrap());
    assert!(crowd.iter().all(|waits| !waits.is_finished()), "the crowd waits all the time");
    holder.execute("ROLLBACK").await.unwrap();
    for waits in crowd {
        waits.await.unwrap();
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
    // A renewal that has waited for 5 s fails, and is asked for again, as a keeper does.
    let renewed = tokio::spawn(async move {
        loop {
            if let Ok(is_held) = store.renew_turn(&turn, at(90)).await {
                break is_held;
            }
        }
    });
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
    let take_job = async || db.claim_job(who, &lanes, START, SHORT).await.unwrap();
    // Behind a renewal that has failed one may be taken, but not as many as there are lanes.
    let mut reels = 0;
    loop {
        reels += 1;
        submit(&db, person(&db, &format!("r{reels}")).await, &[reels], START).await;
        if take_job().await.is_none() {
            break;
        }
        assert!(reels < 5, "of reels none either");
    }
    assert!(!renewed.is_finished());
    holder.execute("ROLLBACK").await.unwrap();
    until("it is renewed", async || renewed.is_finished()).await;
    assert!(renewed.await.unwrap(), "it is held all the time");
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

#[tokio::test]
async fn a_claim_that_fails_in_its_second_round_gives_what_the_first_has_taken() {
    /// Turns that are looked at in one round.
    const ROUND: usize = 128;
    let db = TestDb::sqlite().await;
    for nth in 0..ROUND + 2 {
        let (who, dm) = (format!("p{nth}"), format!("dm {nth}"));
        says(&db, person(&db, &who).await, &chat(&dm), &format!("m{nth}"), START).await;
    }
    let last = db.text("SELECT id FROM turns ORDER BY due_at DESC, id DESC LIMIT 1").await;
    db.execute(&format!(
        "CREATE TRIGGER broken BEFORE UPDATE ON turns WHEN NEW.id = '{last}' BEGIN SELECT RAISE(ABORT, 'broken'); END"
    ))
    .await;
    let me = InstanceId::new();
    assert_eq!(claim(&db, me, START).await.len(), ROUND);
    let leased = "SELECT COUNT(*) FROM turns WHERE leased_by IS NOT NULL";
    assert_eq!(db.number(leased, &[]).await, i64::try_from(ROUND).unwrap(), "and no others are leased");
    assert!(db.claim_turns(me, &Platform::ALL, START, LEASE, 1000).await.is_err(), "nothing else is there to give");
    db.execute("DROP TRIGGER broken").await;
    assert_eq!(claim(&db, me, START).await.len(), 2);
}

on_both! {
    async fn turns_that_are_given_back_at_the_end_count_as_nobodys_loss(db: TestDb) {
        let (me, other) = (InstanceId::new(), InstanceId::new());
        let turns = [asking_turn(&db, person(&db, "a").await, &chat("1"), START).await,
            asking_turn(&db, person(&db, "b").await, &chat("2"), START).await];
        // The leases of `asking_turn` are each another instance's.
        for turn in &turns {
            assert_eq!(db.release_turns_of(me, START).await.unwrap(), 0);
            assert_eq!(db.release_turns_of(turn.leased_by, START).await.unwrap(), 1);
            assert!(!db.renew_turn(turn, at(90)).await.unwrap(), "it is not its holder's any more");
        }
        let early = claim(&db, other, at(1)).await;
        assert_eq!(early.len(), if db.is_shared() { 0 } else { 2 }, "its holder may still be at work");
        let late = claim(&db, other, START + LEASE).await;
        let taken = [early, late].concat();
        assert_eq!(taken.len(), 2);
        assert!(taken.iter().all(|turn| turn.holders_lost == 0 && turn.unsure && turn.attempt == 2), "{taken:?}");
    }
}
