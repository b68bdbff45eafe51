//! Lanes that are paused, upstreams that fail, the line that runs empty.

use reelcoach::store::lanes::{Breaker, BreakerState, Health, ReelTrouble, Weight};
use reelcoach::store::reels::Denied;

use super::*;

/// A reel of a person fails on an upstream; the breaker if it opened by that.
async fn fails(db: &TestDb, upstream: &str, who: &str, n: u32, weight: Weight, now: Timestamp) -> Option<Breaker> {
    let (reel, person) = (code(n), person(db, who).await);
    let trouble =
        ReelTrouble { reel: &reel, person, cause: "unavailable", reference: "7K3QXZ", weight, held_until: None };
    db.note_health(upstream, Health::Failed(trouble), now).await.unwrap()
}

/// Three reels of three people fail one after another, until `now`.
async fn open(db: &TestDb, upstream: &str, now: Timestamp) -> Breaker {
    for n in 0..2 {
        assert_eq!(fails(db, upstream, &format!("unlucky {n}"), 900 + n, Weight::OfSeveral, now).await, None);
    }
    fails(db, upstream, "unlucky 2", 902, Weight::OfSeveral, now).await.expect("the third reel in a row")
}

async fn claims(db: &TestDb, lanes: &[Lane], now: Timestamp) -> Option<Claimed> {
    db.claim_job(InstanceId::new(), lanes, now, LEASE).await.unwrap()
}

async fn takes(db: &TestDb, lanes: &[Lane], now: Timestamp) -> Option<String> {
    db.claim_job(InstanceId::new(), lanes, now, LEASE).await.unwrap().map(|job| job.lane.name().to_owned())
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
            order.push(job.lane.name().to_owned());
            assert!(db.finish_job(&job, &done(), INTERVAL, at(n)).await.unwrap());
        }
        assert_eq!(order, ["n8n:0", "n8n:1", "n8n:2", "n8n:0", "n8n:1", "n8n:2"]);
    }

    async fn an_upstream_that_fails_is_left_alone_and_tried_again(db: TestDb) {
        line_of(&db, 5).await;
        let all = lanes(2, 0);
        let breaker = open(&db, "direct", at(2)).await;
        assert_eq!((breaker.failures, breaker.open_until), (3, at(32)));
        assert_eq!(takes(&db, &all, at(31)).await, None);
        // One tries; the others wait for what comes of it.
        let trial = claims(&db, &all, at(32)).await.expect("a trial");
        assert_eq!(takes(&db, &all, at(32)).await, None);
        let known = db.lanes().await.unwrap();
        assert_eq!(known.state("direct", at(32)), BreakerState::HalfOpen);
        assert_eq!(known.breaker("direct").unwrap().reference, "7K3QXZ");
        assert!(db.requeue_job(&trial, at(40), None).await.unwrap());
        assert!(fails(&db, "direct", "person 0", 0, Weight::OfSeveral, at(33)).await.is_some(), "open again, for longer");
        assert_eq!(db.lanes().await.unwrap().state("direct", at(60)), BreakerState::Open { until: at(93) });
        let second = claims(&db, &all, at(93)).await.expect("another trial");
        assert_ne!(second.job, trial.job, "it failed before");
        assert!(db.finish_job(&second, &done(), INTERVAL, at(94)).await.unwrap());
        assert_eq!(db.note_health("direct", Health::Worked, at(94)).await.unwrap(), None);
        assert_eq!(db.lanes().await.unwrap().state("direct", at(94)), BreakerState::Closed);
        assert!(takes(&db, &all, at(94)).await.is_some() && takes(&db, &all, at(94)).await.is_some());
        assert_eq!(db.number("SELECT COUNT(*) FROM breaker_reels", &[]).await, 0);
    }

    async fn one_reel_or_one_persons_reels_leave_the_breaker_closed(db: TestDb) {
        for second in 0..20 {
            assert_eq!(fails(&db, "direct", "mia", 1, Weight::OfSeveral, at(second)).await, None, "one reel");
        }
        for n in 2..20 {
            assert_eq!(fails(&db, "direct", "mia", n, Weight::OfSeveral, at(30)).await, None, "one person");
        }
        assert_eq!(db.lanes().await.unwrap().state("direct", at(31)), BreakerState::Closed);
        // Nor does what failed on another upstream, or long ago.
        assert_eq!(fails(&db, "n8n:0", "noor", 50, Weight::OfSeveral, at(30)).await, None);
        assert_eq!(fails(&db, "direct", "noor", 50, Weight::OfSeveral, at(86_500)).await, None, "a day later");
        assert_eq!(fails(&db, "direct", "mia", 51, Weight::OfSeveral, at(86_501)).await, None);
        assert!(fails(&db, "direct", "kim", 52, Weight::OfSeveral, at(86_502)).await.is_some(), "three of three people");
    }

    async fn a_trial_is_of_somebody_whose_reels_have_not_failed(db: TestDb) {
        // Mia's reels fail and Noor's has failed; Mia has one more in the line, before everybody's.
        let (mia, kim, lee) = (person(&db, "mia").await, person(&db, "kim").await, person(&db, "lee").await);
        submit(&db, mia, &[4], START).await;
        submit(&db, kim, &[5], at(1)).await;
        submit(&db, lee, &[6], at(2)).await;
        let all = lanes(2, 0);
        for n in [1, 2] {
            assert_eq!(fails(&db, "direct", "mia", n, Weight::OfSeveral, at(2)).await, None);
        }
        assert!(fails(&db, "direct", "noor", 3, Weight::OfSeveral, at(2)).await.is_some());
        let trial = claims(&db, &all, at(32)).await.expect("a trial");
        assert_eq!((trial.shortcode.clone(), trial.asked_by), (code(5), kim));
        // It fails: the next one is Lee's, and it was not longer than before that Mia would have made them wait.
        assert!(db.requeue_job(&trial, at(33), None).await.unwrap());
        assert!(fails(&db, "direct", "kim", 5, Weight::OfSeveral, at(33)).await.is_some());
        let trial = claims(&db, &all, at(93)).await.expect("a trial");
        assert_eq!(trial.asked_by, lee);
        assert!(db.finish_job(&trial, &failed(false), INTERVAL, at(94)).await.unwrap());
        assert!(fails(&db, "direct", "lee", 6, Weight::OfSeveral, at(94)).await.is_some());
        // Mia's new one is the only one left that has not failed; it makes nobody wait for longer than they do.
        let trial = claims(&db, &all, at(94 + 120)).await.expect("a trial");
        assert_eq!(trial.asked_by, mia);
        assert!(db.requeue_job(&trial, at(215), None).await.unwrap());
        let again = fails(&db, "direct", "mia", 4, Weight::OfSeveral, at(215)).await.expect("a new reel");
        assert_eq!(again.open_until, at(215 + 120));
        // Only failed ones are left: they wait for one that has not, but not for ever, and one at a time.
        assert_eq!(takes(&db, &all, at(335)).await, None);
        assert_eq!(takes(&db, &all, at(394)).await, None);
        assert!(takes(&db, &all, at(395)).await.is_some());
        assert_eq!(takes(&db, &all, at(395)).await, None);
    }

    async fn however_late_a_trial_is_of_a_reel_that_has_not_failed_if_there_is_one(db: TestDb) {
        open(&db, "direct", START).await;
        let (mia, noor, kim) = (person(&db, "mia").await, person(&db, "noor").await, person(&db, "kim").await);
        submit(&db, mia, &[902], START).await;
        submit(&db, noor, &[7], at(80)).await;
        let trial = claims(&db, &lanes(2, 0), at(100)).await.expect("a trial");
        assert_eq!(trial.shortcode, code(7), "the one that failed stood before it");
        // Its worker is lost, and it is known to have failed meanwhile: another one that has not goes first.
        assert!(fails(&db, "direct", "noor", 7, Weight::OfSeveral, at(101)).await.is_some(), "it is open again");
        submit(&db, kim, &[8], at(150)).await;
        let trial = claims(&db, &lanes(2, 0), at(250)).await.expect("a trial");
        assert_eq!(trial.shortcode, code(8));
        assert!(db.finish_job(&trial, &failed(false), INTERVAL, at(251)).await.unwrap());
        assert_eq!(claims(&db, &lanes(2, 0), at(251)).await.expect("no other is there").shortcode, code(7));
    }

    async fn a_reel_that_failed_for_good_is_no_trial_when_it_is_asked_for_again(db: TestDb) {
        open(&db, "direct", START).await;
        let (mia, noor) = (person(&db, "mia").await, person(&db, "noor").await);
        submit(&db, mia, &[902], START).await;
        submit(&db, noor, &[7], at(5)).await;
        let trial = claims(&db, &lanes(1, 0), at(30)).await.expect("a trial");
        assert_eq!(trial.shortcode, code(7));
    }

    async fn a_success_forgets_no_failure_that_is_noted_meanwhile(db: TestDb) {
        let instances = three_instances(&db).await;
        let mia = person(&db, "mia").await;
        for round in 0..60 {
            fails(&db, "direct", "mia", 1, Weight::OfSeveral, at(round)).await;
            let mut tasks = Vec::new();
            for (n, store) in (2..).zip(instances.clone()) {
                let failing = store.clone();
                tasks.push(tokio::spawn(async move {
                    let reel = code(n);
                    let trouble = ReelTrouble { reel: &reel, person: mia, cause: "unavailable", reference: "7K3QXZ", weight: Weight::OfSeveral, held_until: None };
                    failing.note_health("direct", Health::Failed(trouble), at(round)).await.unwrap();
                }));
                tasks.push(tokio::spawn(async move {
                    store.note_health("direct", Health::Worked, at(round)).await.unwrap();
                }));
            }
            for task in tasks {
                task.await.unwrap();
            }
            let counted = db.number("SELECT CAST(COALESCE(SUM(failures), 0) AS BIGINT) FROM breakers", &[]).await;
            assert_eq!(counted, db.number("SELECT COUNT(*) FROM breaker_reels", &[]).await, "round {round}");
        }
    }

    async fn an_upstream_that_asks_to_wait_gets_nothing_until_then(db: TestDb) {
        line_of(&db, 3).await;
        let all = lanes(2, 1);
        let (reel, mia) = (code(9), person(&db, "mia").await);
        let trouble = ReelTrouble {
            reel: &reel,
            person: mia,
            cause: "rate_limited",
            reference: "7K3QXZ",
            weight: Weight::Waits,
            held_until: Some(at(37)),
        };
        for _ in 0..5 {
            assert_eq!(db.note_health("direct", Health::Failed(trouble), START).await.unwrap(), None);
        }
        let known = db.lanes().await.unwrap();
        assert_eq!(known.state("direct", at(36)), BreakerState::Held { until: at(37) });
        assert_eq!(known.breaker("direct").unwrap().failures, 0, "it is no failure");
        // An earlier pause does not end a later one, and a reel that was under way does not either.
        let sooner = ReelTrouble { held_until: Some(at(10)), ..trouble };
        assert_eq!(db.note_health("direct", Health::Failed(sooner), at(1)).await.unwrap(), None);
        db.note_health("direct", Health::Worked, at(2)).await.unwrap();
        assert_eq!(takes(&db, &all, at(36)).await.as_deref(), Some("n8n:0"), "the other upstream goes on");
        assert_eq!(takes(&db, &all, at(36)).await, None);
        // Then all its lanes at once: it is not on trial.
        assert_eq!(takes(&db, &all, at(37)).await.as_deref(), Some("direct:0"));
        assert_eq!(takes(&db, &all, at(37)).await.as_deref(), Some("direct:1"));
    }

    async fn a_quota_of_the_day_is_told_to_those_who_wait(db: TestDb) {
        line_of(&db, 4).await;
        let midnight = at(9000);
        assert!(fails(&db, "direct", "mia", 9, Weight::QuotaUntil(midnight), START).await.is_some());
        // Another upstream has them all.
        let n8n = claims(&db, &lanes(1, 1), at(1)).await.unwrap();
        assert_eq!((n8n.lane.name(), n8n.quota_until), ("n8n:0", None));
        assert_eq!(takes(&db, &lanes(1, 1), at(1)).await, None);
        // Without one they are not left waiting until midnight.
        let told = claims(&db, &lanes(1, 0), at(2)).await.unwrap();
        assert_eq!((told.lane.name(), told.quota_until), ("direct:0", Some(midnight)));
        assert!(db.finish_job(&told, &failed(true), INTERVAL, at(2)).await.unwrap());
        // One an hour tries.
        let tried = claims(&db, &lanes(2, 0), at(3600)).await.unwrap();
        assert_eq!(tried.quota_until, None);
        assert_eq!(takes(&db, &lanes(2, 0), at(3600)).await, None);
        db.note_health("direct", Health::Worked, at(3601)).await.unwrap();
        assert_eq!(claims(&db, &lanes(2, 0), at(3601)).await.unwrap().quota_until, None);
    }

    async fn one_upstream_fails_and_the_other_goes_on(db: TestDb) {
        line_of(&db, 4).await;
        let all = lanes(1, 1);
        assert!(fails(&db, "direct", "mia", 9, Weight::Lasting, START).await.is_some(), "waiting does not help");
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
        assert_eq!((next.lane.name(), next.shortcode), ("direct:0", code(2)));
        assert!(db.finish_job(&n8n, &done(), INTERVAL, at(2)).await.unwrap());
        let again = db.claim_job(InstanceId::new(), &all, at(2), LEASE).await.unwrap().unwrap();
        assert_eq!((again.lane.name(), again.job), ("n8n:0", direct.job));
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
        assert_eq!(db.submit(&wish, LIMITS, &|_| String::new(), at(100)).await.unwrap(), [queued(100)]);
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
        assert_eq!(db.submit(&wish, LIMITS, &|_| String::new(), at(100)).await.unwrap(), [queued(100)]);
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
