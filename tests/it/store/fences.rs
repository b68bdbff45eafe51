//! Whatever became of a job: a worker that lost its lease on it cannot write.

use reelcoach::store::ledger::Entry;
use reelcoach::store::reels::{JobLease, JobPhase};
use reelcoach::upstream::{Provider, STARTED, Usage};

use super::*;

/// What became of a job after its first worker was lost.
#[derive(Clone, Copy, Debug)]
enum Became {
    TakenOver,
    Requeued,
    Done,
    Failed,
    Cancelled,
}

/// All that a worker may write to: the job, what is known of reels, who is owed what, whose turn is when.
async fn everything(db: &TestDb) -> String {
    let jobs = "SELECT id || state || phase || COALESCE(run_id, '-') || COALESCE(failure, '-') || CAST(attempt AS TEXT) || ' ' || \
        CAST(ready_at AS TEXT) || ' ' || CAST(leased_until AS TEXT) || ' ' || COALESCE(leased_by, '-') || ' ' || \
        CAST(COALESCE(started_at, 0) AS TEXT) || ' ' || CAST(COALESCE(finished_at, 0) AS TEXT) FROM jobs ORDER BY id DESC LIMIT 1";
    let mut all = db.text(jobs).await;
    for count in [
        "SELECT COUNT(*) FROM reels WHERE state = 'done'",
        "SELECT COUNT(*) FROM reels WHERE state = 'failed'",
        "SELECT COUNT(*) FROM turns WHERE state <> 'closed'",
        "SELECT COUNT(*) FROM subscriptions WHERE state = 'waiting'",
        "SELECT COUNT(*) FROM subscriptions WHERE state = 'cancelled'",
        "SELECT CAST(SUM(next_reel_at) AS BIGINT) FROM people",
        "SELECT COUNT(*) FROM jobs WHERE cancel",
    ] {
        all.push_str(&format!(" {}", db.number(count, &[]).await));
    }
    all
}

fn scrape<'a>(key: &'a str, job: &'a Claimed, micro_usd: i64, outcome: &'a str) -> Entry<'a> {
    Entry {
        key,
        at: START,
        person: job.asked_by,
        chat: &job.chat,
        provider: Provider::Apify,
        model: "actor",
        tool: "scrape",
        usage: Usage { estimated: outcome == STARTED, ..Usage::default() },
        micro_usd,
        price_version: "2026-11",
        latency_ms: 1,
        outcome,
    }
}

on_both! {
    async fn whatever_became_of_a_job_its_lost_worker_changes_nothing(db: TestDb) {
        let lane = lanes(1, 0);
        let all = [Became::TakenOver, Became::Requeued, Became::Done, Became::Failed, Became::Cancelled];
        for (n, became) in (0_u32..).zip(all) {
            let now = |seconds: u64| at(1000 * u64::from(n) + seconds);
            let mia = person(&db, &format!("mia {n}")).await;
            submit(&db, mia, &[n], now(0)).await;
            let old = db.claim_job(InstanceId::new(), &lane, now(0), LEASE).await.unwrap().unwrap();
            assert!(db.note_run(&old, Some("run-1")).await.unwrap());
            let new = db.claim_job(InstanceId::new(), &lane, now(31), LEASE).await.unwrap().unwrap();
            assert_eq!((new.job, new.attempt, new.run_id.as_deref()), (old.job, 2, Some("run-1")), "{became:?}");
            match became {
                Became::TakenOver => {}
                Became::Requeued => assert!(db.requeue_job(&new, now(900), None).await.unwrap()),
                Became::Done => assert!(db.finish_job(&new, &done(), INTERVAL, now(40)).await.unwrap()),
                Became::Failed => assert!(db.finish_job(&new, &failed(false), INTERVAL, now(40)).await.unwrap()),
                Became::Cancelled => {
                    db.cancel(&Cancelled::AllOf(mia), INTERVAL, now(39)).await.unwrap();
                    assert!(db.finish_job(&new, &JobEnd::Cancelled { refund: false }, INTERVAL, now(40)).await.unwrap());
                }
            }
            let before = everything(&db).await;

            assert_eq!(db.renew_job(&old, now(999)).await.unwrap(), JobLease::Lost, "{became:?}");
            assert!(!db.note_run(&old, Some("run-2")).await.unwrap(), "{became:?}");
            assert!(!db.note_run(&old, None).await.unwrap(), "{became:?}");
            for phase in [JobPhase::Scraping, JobPhase::Analysing] {
                db.note_phase(&old, phase).await.unwrap();
            }
            assert!(!db.requeue_job(&old, now(41), None).await.unwrap(), "{became:?}");
            for end in [done(), failed(true), JobEnd::Cancelled { refund: true }] {
                assert!(!db.finish_job(&old, &end, INTERVAL, now(42)).await.unwrap(), "{became:?}");
            }
            assert_eq!(everything(&db).await, before, "{became:?}");

            // The next round has the line for itself.
            let rest = if let Became::Requeued = became {
                db.claim_job(InstanceId::new(), &lane, now(900), LEASE).await.unwrap().unwrap()
            } else {
                new
            };
            db.finish_job(&rest, &done(), INTERVAL, now(950)).await.unwrap();
        }
    }

    /// The run that both have waited for has one row; what only the lost one has bought stays counted.
    async fn a_lost_worker_settles_a_cost_once(db: TestDb) {
        let mia = person(&db, "mia").await;
        submit(&db, mia, &[1], START).await;
        let old = claim_job(&db, START).await.unwrap();
        assert!(db.record(scrape("job:scrape:1", &old, 3600, STARTED)).await.unwrap());
        assert!(db.note_run(&old, Some("run-1")).await.unwrap());
        assert!(db.rekey("job:scrape:1", "run-1").await.unwrap());
        let new = claim_job(&db, at(31)).await.unwrap();
        assert_eq!(new.run_id.as_deref(), Some("run-1"));
        assert!(db.record(scrape("job:analyse:1", &old, 900, STARTED)).await.unwrap());
        assert!(db.record(scrape("run-1", &new, 3500, "ok")).await.unwrap());

        assert!(!db.record(scrape("run-1", &old, 9999, "timed_out")).await.unwrap());
        assert!(!db.record(scrape("run-1", &old, 9999, STARTED)).await.unwrap());
        db.unreserve("run-1").await.unwrap();
        let sum = "SELECT CAST(SUM(micro_usd) AS BIGINT) FROM ledger";
        assert_eq!(db.number(sum, &[]).await, 3500 + 900);
        assert!(db.record(scrape("job:analyse:1", &old, 700, "ok")).await.unwrap(), "its own call was paid for");
        assert!(!db.record(scrape("job:analyse:1", &old, 700, "ok")).await.unwrap());
        assert_eq!(db.number(sum, &[]).await, 3500 + 700);
        assert_eq!(db.number("SELECT COUNT(*) FROM ledger", &[]).await, 2);
    }
}
