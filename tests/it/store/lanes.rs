//! Lanes that are paused, upstreams that fail, the line that runs empty.

use reelcoach::store::lanes::{BreakerState, Health};
use reelcoach::store::reels::Denied;

use super::*;

const TROUBLE: Health<'static> = Health::Failed { cause: "unavailable", reference: "7K3QXZ", lasting: false };

async fn takes(db: &TestDb, lanes: &[Lane], now: Timestamp) -> Option<String> {
    db.claim_job(InstanceId::new(), lanes, now, LEASE).await.unwrap().map(|job| job.lane.name)
}

async fn line_of(db: &TestDb, n: u32) {
    for n in 0..n {
        let person = person(db, &format!("person {n}")).await;
        assert_eq!(submit(db, person, &[n], START).await, [queued(0)]);
    }
}

on_both! {
    async fn a_paused_lane_takes_nothing(db: TestDb) {
        line_of(&db, 3).await;
        let all = lanes(2, 1);
        db.pause_lanes(&all[..1], true).await.unwrap();
        assert!(db.lanes().await.unwrap().is_paused(&all[0]));
        assert_eq!(takes(&db, &all, START).await.as_deref(), Some("direct:1"));
        assert_eq!(takes(&db, &all, START).await.as_deref(), Some("n8n:0"));
        assert_eq!(takes(&db, &all, START).await, None);
        db.pause_lanes(&all, false).await.unwrap();
        assert_eq!(takes(&db, &all, START).await.as_deref(), Some("direct:0"));
    }

    async fn webhooks_take_turns(db: TestDb) {
        line_of(&db, 6).await;
        let all = lanes(0, 3);
        let mut order = Vec::new();
        for n in 0..6 {
            let job = db.claim_job(InstanceId::new(), &all, at(n), LEASE).await.unwrap().unwrap();
            order.push(job.lane.name.clone());
            assert!(db.finish_job(&job, &done(), INTERVAL, at(n)).await.unwrap());
        }
        assert_eq!(order, ["n8n:0", "n8n:1", "n8n:2", "n8n:0", "n8n:1", "n8n:2"]);
    }

    async fn an_upstream_that_fails_is_left_alone_and_tried_again(db: TestDb) {
        line_of(&db, 5).await;
        let all = lanes(2, 0);
        for n in 0..2 {
            assert_eq!(db.note_health("direct", TROUBLE, at(n)).await.unwrap(), None);
        }
        let breaker = db.note_health("direct", TROUBLE, at(2)).await.unwrap().expect("the third in a row");
        assert_eq!((breaker.failures, breaker.open_until), (3, at(32)));
        assert_eq!(takes(&db, &all, at(31)).await, None);
        // One tries; the others wait for what comes of it.
        let trial = db.claim_job(InstanceId::new(), &all, at(32), LEASE).await.unwrap().expect("a trial");
        assert_eq!(takes(&db, &all, at(32)).await, None);
        let known = db.lanes().await.unwrap();
        assert_eq!(known.state("direct", at(32)), BreakerState::HalfOpen);
        assert_eq!(known.breaker("direct").unwrap().reference, "7K3QXZ");
        assert!(db.requeue_job(&trial, at(40), None).await.unwrap());
        assert!(db.note_health("direct", TROUBLE, at(33)).await.unwrap().is_some(), "open again, for longer");
        assert_eq!(db.lanes().await.unwrap().state("direct", at(60)), BreakerState::Open { until: at(93) });
        let trial = db.claim_job(InstanceId::new(), &all, at(93), LEASE).await.unwrap().expect("another trial");
        assert!(db.finish_job(&trial, &done(), INTERVAL, at(94)).await.unwrap());
        assert_eq!(db.note_health("direct", Health::Worked, at(94)).await.unwrap(), None);
        assert_eq!(db.lanes().await.unwrap().state("direct", at(94)), BreakerState::Closed);
        assert!(takes(&db, &all, at(94)).await.is_some() && takes(&db, &all, at(94)).await.is_some());
    }

    async fn one_upstream_fails_and_the_other_goes_on(db: TestDb) {
        line_of(&db, 4).await;
        let all = lanes(1, 1);
        let lasting = Health::Failed { cause: "out_of_credit", reference: "7K3QXZ", lasting: true };
        assert!(db.note_health("direct", lasting, START).await.unwrap().is_some(), "waiting does not mend it");
        assert_eq!(takes(&db, &all, at(1)).await.as_deref(), Some("n8n:0"));
        assert_eq!(takes(&db, &all, at(1)).await, None);
    }

    async fn what_failed_on_one_upstream_waits_for_the_other(db: TestDb) {
        line_of(&db, 3).await;
        let all = lanes(1, 1);
        let direct = db.claim_job(InstanceId::new(), &all, START, LEASE).await.unwrap().unwrap();
        let n8n = db.claim_job(InstanceId::new(), &all, START, LEASE).await.unwrap().unwrap();
        assert!(db.requeue_job(&direct, START, Some("direct")).await.unwrap());
        // The free lane is the one it failed on: the next in line has it.
        let next = db.claim_job(InstanceId::new(), &all, at(1), LEASE).await.unwrap().unwrap();
        assert_eq!((next.lane.name.as_str(), next.shortcode), ("direct:0", code(2)));
        assert!(db.finish_job(&n8n, &done(), INTERVAL, at(2)).await.unwrap());
        let again = db.claim_job(InstanceId::new(), &all, at(2), LEASE).await.unwrap().unwrap();
        assert_eq!((again.lane.name.as_str(), again.job), ("n8n:0", direct.job));
        assert_eq!(again.failed_on.as_deref(), Some("direct"));
    }

    async fn with_no_other_upstream_it_stays_where_it_failed(db: TestDb) {
        line_of(&db, 1).await;
        let all = lanes(1, 1);
        let job = db.claim_job(InstanceId::new(), &all, START, LEASE).await.unwrap().unwrap();
        assert!(db.requeue_job(&job, START, Some("direct")).await.unwrap());
        db.pause_lanes(&all[1..], true).await.unwrap();
        assert_eq!(takes(&db, &all, at(1)).await.as_deref(), Some("direct:0"));
    }

    async fn a_paid_run_waits_for_its_own_upstream_unless_that_is_out(db: TestDb) {
        line_of(&db, 1).await;
        let all = lanes(1, 1);
        let job = db.claim_job(InstanceId::new(), &all, START, LEASE).await.unwrap().unwrap();
        assert!(db.note_run(&job, Some("run")).await.unwrap());
        assert!(db.requeue_job(&job, START, None).await.unwrap());
        line_of_one_more(&db).await;
        let other = db.claim_job(InstanceId::new(), &all[1..], at(1), LEASE).await.unwrap().unwrap();
        assert!(db.requeue_job(&other, START, None).await.unwrap());
        db.pause_lanes(&all[..1], true).await.unwrap();
        assert_eq!(takes(&db, &all, at(2)).await.as_deref(), Some("n8n:0"));
    }

    async fn a_line_that_runs_empty_takes_nothing_new(db: TestDb) {
        make_known(&db, 7, &done(), START).await;
        line_of(&db, 1).await;
        db.drain_line(true).await.unwrap();
        let (mia, noor) = (person(&db, "mia").await, person(&db, "noor").await);
        assert_eq!(submit(&db, mia, &[2], at(1)).await, [Submitted::Denied(Denied::Draining)]);
        assert_eq!(submit(&db, noor, &[7], at(1)).await, [Submitted::Cached], "what is known is told all the same");
        assert!(db.lanes().await.unwrap().draining);
        db.drain_line(false).await.unwrap();
        assert_eq!(submit(&db, mia, &[2], at(2)).await, [queued(2)], "and it took none of her time");
    }

    async fn read_anew_although_it_is_known(db: TestDb) {
        make_known(&db, 7, &done(), START).await;
        let mia = person(&db, "mia").await;
        let chat = chat("dm");
        let reels = [code(7)];
        let wish = Wish { turn: TurnId::new(), person: mia, chat: &chat, reply_to: None, placeholder: None, question: "", reels: &reels, fresh: true };
        assert_eq!(db.submit(&wish, LIMITS, |_| String::new(), at(100)).await.unwrap(), [queued(100)]);
    }

    async fn a_fresh_reading_that_fails_leaves_what_is_known(db: TestDb) {
        make_known(&db, 7, &done(), START).await;
        let (mia, chat, reels) = (person(&db, "mia").await, chat("dm"), [code(7)]);
        let wish = Wish {
            turn: TurnId::new(),
            person: mia,
            chat: &chat,
            reply_to: None,
            placeholder: None,
            question: "",
            reels: &reels,
            fresh: true,
        };
        assert_eq!(db.submit(&wish, LIMITS, |_| String::new(), at(100)).await.unwrap(), [queued(100)]);
        let job = claim_job(&db, at(100)).await.unwrap();
        assert!(db.finish_job(&job, &failed(false), INTERVAL, at(101)).await.unwrap());
        assert!(db.reel(&code(7), PIPELINE, at(102)).await.unwrap().unwrap().is_ok());
    }

    async fn an_admin_takes_a_reel_back_for_everyone(db: TestDb) {
        let (mia, noor) = (person(&db, "mia").await, person(&db, "noor").await);
        submit(&db, mia, &[1, 2], START).await;
        submit(&db, noor, &[1], START).await;
        assert_eq!(db.cancel(&Cancelled::Reel(code(1), Some(noor)), INTERVAL, at(1)).await.unwrap(), [code(1)]);
        assert_eq!(db.line().await.unwrap().len(), 2, "mia still waits for it");
        submit(&db, noor, &[1], at(2)).await;
        assert_eq!(db.cancel(&Cancelled::Reel(code(1), None), INTERVAL, at(3)).await.unwrap(), [code(1), code(1)]);
        assert_eq!(db.line().await.unwrap().len(), 1);
        let boards = db.open_boards_of(mia).await.unwrap();
        assert_eq!(db.cancel(&Cancelled::Board(boards[0].id, None), INTERVAL, at(3)).await.unwrap(), [code(2)]);
        assert!(db.line().await.unwrap().is_empty());
    }
}

async fn line_of_one_more(db: &TestDb) {
    let person = person(db, "one more").await;
    assert_eq!(submit(db, person, &[9], START).await, [queued(0)]);
}
