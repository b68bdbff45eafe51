//! Work on the queue.

use std::collections::HashSet;

use reelcoach::store::reels::{JobLease, JobPhase};

use reelcoach::store::lanes::LaneKind;

use super::*;

/// So many people ask for a reel each: codes 0, 1, ….
async fn line_of(db: &TestDb, n: u32) -> Vec<PersonId> {
    let mut people = Vec::new();
    for n in 0..n {
        let person = person(db, &format!("person {n}")).await;
        assert_eq!(submit(db, person, &[n], START).await, [queued(0)]);
        people.push(person);
    }
    people
}

on_both! {
    async fn jobs_are_taken_in_the_lines_order(db: TestDb) {
        let (mia, noor) = (person(&db, "mia").await, person(&db, "noor").await);
        submit(&db, mia, &[1, 2], START).await;
        submit(&db, noor, &[3, 4], START).await;
        let line: Vec<_> = db.line().await.unwrap().into_iter().map(|job| (job.job, job.ready_at)).collect();
        let mut taken = Vec::new();
        for now in [START, START, at(30), at(30)] {
            let job = db.claim_job(InstanceId::new(), &lanes(9, 0), now, LEASE * 9).await.unwrap().unwrap();
            taken.push((job.shortcode, job.job));
        }
        assert_eq!(taken.iter().map(|t| t.0.clone()).collect::<Vec<_>>(), [code(1), code(3), code(2), code(4)]);
        assert_eq!(taken.iter().map(|t| t.1).collect::<Vec<_>>(), line.iter().map(|l| l.0).collect::<Vec<_>>());
        assert_eq!(line.iter().map(|l| l.1).collect::<Vec<_>>(), [START, START, at(30), at(30)]);
    }

    async fn nothing_is_taken_before_it_is_ready(db: TestDb) {
        let mia = person(&db, "mia").await;
        assert_eq!(db.next_ready().await.unwrap(), None);
        submit(&db, mia, &[1, 2], START).await;
        assert!(claim_job(&db, at_ms(0) - Duration::from_millis(1)).await.is_none());
        let job = claim_job(&db, START).await.unwrap();
        assert_eq!((job.attempt, job.lane.name(), job.run_id.as_deref()), (1, "direct:0", None));
        assert_eq!(db.next_ready().await.unwrap(), Some(at(30)));
        assert!(claim_job(&db, at_ms(29_999)).await.is_none());
        assert_eq!(claim_job(&db, at(30)).await.unwrap().shortcode, code(1), "the lost one before the next");
        assert_eq!(claim_job(&db, at(30)).await.unwrap().shortcode, code(2));
    }

    async fn lanes_are_never_exceeded(db: TestDb) {
        line_of(&db, 12).await;
        let instances = three_instances(&db).await;
        let lanes = lanes(2, 1);
        for round in 0..3 {
            // Three instances with lanes in different orders; the leases of the earlier round have ended.
            let now = at(round * 60);
            let tasks = (0..16).map(|n| {
                let (store, mut lanes) = (instances[n % 3].clone(), lanes.clone());
                lanes.rotate_left(n % 3);
                tokio::spawn(async move { store.claim_job(InstanceId::new(), &lanes, now, LEASE).await.unwrap() })
            });
            let claimed: Vec<Claimed> = all(tasks).await.into_iter().flatten().collect();
            let names: HashSet<&str> = claimed.iter().map(|job| job.lane.name()).collect();
            assert_eq!((claimed.len(), names.len()), (3, 3), "{claimed:?}");
            let jobs: HashSet<_> = claimed.iter().map(|job| job.job).collect();
            assert_eq!(jobs.len(), 3);
            assert!(claimed.iter().all(|job| job.attempt == i64::try_from(round).unwrap() + 1), "lost ones come first");
        }
    }

    async fn a_lease_that_ended_cannot_come_back_beside_another_on_its_lane(db: TestDb) {
        line_of(&db, 3).await;
        let (lanes, who) = (lanes(2, 0), InstanceId::new());
        let first = db.claim_job(who, &lanes, START, LEASE).await.unwrap().unwrap();
        let second = db.claim_job(who, &lanes, START, LEASE).await.unwrap().unwrap();
        assert_eq!((first.lane.name(), second.lane.name()), ("direct:0", "direct:1"));
        // Both leases end. The first job is taken over on the second's lane; then the second's worker wakes up.
        let reversed: Vec<Lane> = lanes.iter().rev().cloned().collect();
        let taken_over = db.claim_job(who, &reversed, at(30), LEASE).await.unwrap().unwrap();
        assert_eq!((taken_over.job, taken_over.lane.name()), (first.job, "direct:1"));
        assert_eq!(db.renew_job(&second, at(60)).await.unwrap(), JobLease::Lost);
        assert!(!db.note_run(&second, Some("run")).await.unwrap());
        let other = db.claim_job(who, &lanes, at(30), LEASE).await.unwrap().unwrap();
        assert_eq!((other.job, other.lane.name()), (second.job, "direct:0"));
        assert!(db.claim_job(who, &lanes, at(30), LEASE).await.unwrap().is_none(), "both lanes are taken");
        // Where nobody came meanwhile, a late renewal is as good as one in time.
        assert_eq!(db.renew_job(&other, at(99)).await.unwrap(), JobLease::Held);
    }

    async fn a_lane_is_free_once_its_job_ends(db: TestDb) {
        line_of(&db, 3).await;
        let one = lanes(1, 0);
        let who = InstanceId::new();
        let first = db.claim_job(who, &one, START, LEASE).await.unwrap().unwrap();
        assert!(db.claim_job(who, &one, START, LEASE).await.unwrap().is_none());
        assert!(db.finish_job(&first, &done(), INTERVAL, at(1)).await.unwrap());
        let second = db.claim_job(who, &one, at(1), LEASE).await.unwrap().unwrap();
        assert!(db.requeue_job(&second, at(50), None).await.unwrap());
        let third = db.claim_job(who, &one, at(1), LEASE).await.unwrap().unwrap();
        assert_eq!(third.shortcode, code(2));
        assert!(db.claim_job(who, &[], at(1), LEASE).await.unwrap().is_none(), "without lanes there is no work");
    }

    async fn lanes_are_taken_in_the_order_given(db: TestDb) {
        line_of(&db, 3).await;
        let mut all_lanes = lanes(0, 3);
        for expected in ["n8n:0", "n8n:1", "n8n:2"] {
            let job = db.claim_job(InstanceId::new(), &all_lanes, START, LEASE).await.unwrap().unwrap();
            assert_eq!((job.lane.name(), job.lane.kind()), (expected, LaneKind::N8n));
            assert!(db.finish_job(&job, &done(), INTERVAL, at(1)).await.unwrap());
            all_lanes.rotate_left(1);
        }
    }

    async fn a_paid_run_is_picked_up_on_a_direct_lane(db: TestDb) {
        line_of(&db, 3).await;
        let lanes = [lanes(0, 1), lanes(1, 0)].concat();
        let who = InstanceId::new();
        let direct = [lanes[1].clone()];
        let job = db.claim_job(who, &direct, START, LEASE).await.unwrap().unwrap();
        assert!(db.note_run(&job, Some("run-7")).await.unwrap());

        // Its worker is lost. n8n stands first and is free, but could only buy it again.
        let orphan = db.claim_job(who, &lanes, at(30), LEASE).await.unwrap().unwrap();
        assert_eq!((orphan.job, orphan.attempt, orphan.run_id.as_deref()), (job.job, 2, Some("run-7")));
        assert_eq!(orphan.lane.name(), "direct:0");
        assert!(db.requeue_job(&orphan, at(31), None).await.unwrap());
        assert_eq!(db.claim_job(who, &lanes, at(30), LEASE).await.unwrap().unwrap().shortcode, code(1), "not before its time");
        let again = db.claim_job(who, &lanes, at(31), LEASE).await.unwrap().unwrap();
        assert_eq!((again.shortcode.clone(), again.run_id.as_deref(), again.attempt), (code(0), Some("run-7"), 3), "its place is kept");
        assert_eq!(again.lane.name(), "direct:0");
        assert!(db.note_run(&again, None).await.unwrap());
        let fresh = claim_job(&db, at(90)).await.unwrap();
        assert_eq!(fresh.run_id, None, "it was said to be of no use");
    }

    async fn a_paid_run_waits_for_a_direct_lane_while_others_go_on(db: TestDb) {
        line_of(&db, 3).await;
        let lanes = lanes(1, 1);
        let who = InstanceId::new();
        let job = db.claim_job(who, &lanes, START, LEASE).await.unwrap().unwrap();
        assert!(db.note_run(&job, Some("run-7")).await.unwrap());
        assert!(db.requeue_job(&job, START, None).await.unwrap());
        let second = db.claim_job(who, &lanes[..1], START, LEASE).await.unwrap().unwrap();
        assert_eq!(second.job, job.job, "the first of the line");
        assert!(db.requeue_job(&second, START, None).await.unwrap());
        db.execute("UPDATE jobs SET run_id = NULL, state = 'running', lane = 'direct:0', lane_kind = 'direct', leased_until = \
            9999999999999 WHERE shortcode = 'REEL000001'").await;
        let third = db.claim_job(who, &lanes, START, LEASE).await.unwrap().unwrap();
        assert_eq!((third.shortcode, third.lane.name()), (code(2), "n8n:0"));
        assert!(db.claim_job(who, &lanes, START, LEASE).await.unwrap().is_none());
        // Where no direct lane is offered at all, buying it again is better than never answering.
        let n8n = [Lane::n8n(1)];
        assert_eq!(db.claim_job(who, &n8n, START, LEASE).await.unwrap().unwrap().shortcode, code(0));
    }

    async fn a_lost_worker_changes_nothing(db: TestDb) {
        let people = line_of(&db, 1).await;
        let who = InstanceId::new();
        let old = db.claim_job(who, &lanes(1, 0), START, LEASE).await.unwrap().unwrap();
        assert_eq!(db.renew_job(&old, at(40)).await.unwrap(), JobLease::Held);
        assert!(db.claim_job(who, &lanes(1, 0), at(39), LEASE).await.unwrap().is_none());
        assert!(db.note_run(&old, Some("run-1")).await.unwrap());
        db.note_phase(&old, JobPhase::Analysing).await.unwrap();
        let new = db.claim_job(who, &lanes(1, 0), at(40), LEASE).await.unwrap().unwrap();
        assert_eq!((new.job, new.attempt), (old.job, 2));

        assert_eq!(db.renew_job(&old, at(999)).await.unwrap(), JobLease::Lost);
        assert!(!db.note_run(&old, Some("run-2")).await.unwrap());
        db.note_phase(&old, JobPhase::Scraping).await.unwrap();
        assert!(!db.requeue_job(&old, at(41), None).await.unwrap());
        for end in [done(), failed(true), JobEnd::Cancelled { refund: true }] {
            assert!(!db.finish_job(&old, &end, INTERVAL, at(41)).await.unwrap());
        }
        assert_eq!(db.reel(&code(0), PIPELINE, at(41)).await.unwrap(), None);
        assert_eq!(db.open_turns().await.unwrap(), 0);
        let running = db.line().await.unwrap()[0].running.clone().unwrap();
        assert_eq!((running.phase, running.lane.as_str()), (JobPhase::Analysing, "direct:0"));
        assert_eq!(running.started_at, START, "it began with the first worker");
        assert_eq!(submit(&db, people[0], &[5], at(10)).await, [queued(30)], "nor did time come back");
        assert!(db.note_run(&new, Some("run-3")).await.unwrap());
        assert!(db.finish_job(&new, &done(), INTERVAL, at(42)).await.unwrap());
        assert_eq!(db.renew_job(&new, at(99)).await.unwrap(), JobLease::Lost, "it has ended");
        assert!(!db.finish_job(&new, &failed(true), INTERVAL, at(43)).await.unwrap());
    }

    async fn phases_are_seen_in_the_line(db: TestDb) {
        line_of(&db, 2).await;
        let job = db.claim_job(InstanceId::new(), &lanes(1, 0), at(1), LEASE).await.unwrap().unwrap();
        let first = |line: Vec<reelcoach::store::reels::LiveJob>| {
            assert_eq!(line.len(), 2);
            assert!(line[1].running.is_none());
            let running = line[0].running.clone().expect("those at work come first");
            (line[0].job, running.phase, running.started_at)
        };
        assert_eq!(first(db.line().await.unwrap()), (job.job, JobPhase::Scraping, at(1)));
        db.note_phase(&job, JobPhase::Analysing).await.unwrap();
        assert_eq!(first(db.line().await.unwrap()), (job.job, JobPhase::Analysing, at(1)));
        assert!(db.requeue_job(&job, at(90), None).await.unwrap());
        let line = db.line().await.unwrap();
        assert!(line.iter().all(|job| job.running.is_none()));
        assert_eq!((line[0].job, line[0].ready_at, line[0].has_failed), (job.job, at(90), true), "its place is kept");
        assert!(!line[1].has_failed);
    }

    async fn a_reel_that_is_done_is_known_and_owed_to_all(db: TestDb) {
        let (mia, noor) = (person(&db, "mia").await, person(&db, "noor").await);
        submit(&db, mia, &[1], START).await;
        submit(&db, noor, &[1, 2], START).await;
        let job = claim_job(&db, START).await.unwrap();
        assert_eq!(job.shortcode, code(1));
        assert!(db.finish_job(&job, &done(), INTERVAL, at(17)).await.unwrap());
        assert!(matches!(db.reel(&code(1), PIPELINE, at(17)).await.unwrap(), Some(Ok(_))));
        let turns = claim(&db, InstanceId::new(), at(17)).await;
        assert_eq!(turns.len(), 2);
        for turn in &turns {
            assert_eq!((turn.inputs, turn.attempt, turn.created_at), (0, 1, at(17)));
            let subscription = db.subscription(subscription_of(turn)).await.unwrap();
            assert_eq!(subscription.on_board, if turn.person == mia { 1 } else { 2 });
            assert!(subscription.result.is_ok());
            assert_eq!(turn.chat, chat(&format!("dm-{}", turn.person)));
        }
        for turn in &turns {
            assert!(db.close_turn(turn, Outcome::Answered, at(18)).await.unwrap());
        }
        assert_eq!(db.number("SELECT COUNT(*) FROM subscriptions WHERE state = 'answered'", &[]).await, 2);
        assert_eq!(db.number("SELECT COUNT(*) FROM subscriptions WHERE state = 'waiting'", &[]).await, 1);
    }

    async fn a_failed_reel_is_answered_with_its_cause(db: TestDb) {
        let mia = person(&db, "mia").await;
        submit(&db, mia, &[1, 2], START).await;
        let job = claim_job(&db, START).await.unwrap();
        assert!(db.finish_job(&job, &failed(true), INTERVAL, at(5)).await.unwrap());
        let turn = claim_one(&db, at(5)).await;
        let subscription = db.subscription(subscription_of(&turn)).await.unwrap();
        assert_eq!(subscription.result, Err("\"private\"".into()));
        assert_eq!(db.line().await.unwrap()[0].ready_at, at(5), "her time is back");
        let job = claim_job(&db, at(5)).await.unwrap();
        assert!(db.finish_job(&job, &failed(false), INTERVAL, at(6)).await.unwrap());
        assert_eq!(submit(&db, mia, &[3], at(6)).await, [queued(35)], "this time something was bought");
        // A later success of the same reel does not change what the failed one is answered with.
        let noor = person(&db, "noor").await;
        submit(&db, noor, &[1], at(700)).await;
        let job = db.claim_job(InstanceId::new(), &lanes(1, 0), at(700), LEASE).await.unwrap().unwrap();
        assert_eq!(job.shortcode, code(3));
        assert!(db.finish_job(&job, &done(), INTERVAL, at(701)).await.unwrap());
        let job = claim_job(&db, at(701)).await.unwrap();
        assert_eq!(job.shortcode, code(1));
        assert!(db.finish_job(&job, &done(), INTERVAL, at(702)).await.unwrap());
        assert!(db.subscription(subscription_of(&turn)).await.unwrap().result.is_err());
        assert!(matches!(db.reel(&code(1), PIPELINE, at(702)).await.unwrap(), Some(Ok(_))));
    }

    async fn a_cancelled_job_that_somebody_joined_goes_back_into_the_line(db: TestDb) {
        let (mia, noor) = (person(&db, "mia").await, person(&db, "noor").await);
        submit(&db, mia, &[1], START).await;
        let job = claim_job(&db, START).await.unwrap();
        assert!(db.note_run(&job, Some("run-1")).await.unwrap());
        db.cancel(&Cancelled::AllOf(mia), INTERVAL, at(1)).await.unwrap();
        assert_eq!(db.renew_job(&job, at(40)).await.unwrap(), JobLease::CancelWanted);
        assert_eq!(submit(&db, noor, &[1], at(2)).await, [Submitted::Joined]);
        // The worker has stopped it already and knows nothing of the second.
        assert!(db.finish_job(&job, &JobEnd::Cancelled { refund: true }, INTERVAL, at(3)).await.unwrap());
        assert_eq!(db.renew_job(&job, at(50)).await.unwrap(), JobLease::Lost);
        let again = claim_job(&db, at(3)).await.unwrap();
        assert_eq!((again.job, again.attempt, again.run_id.as_deref()), (job.job, 2, None), "its run was stopped");
        assert_eq!((again.asked_by, &again.chat), (noor, &chat(&format!("dm-{noor}"))), "who still waits for it pays");
        assert_eq!(db.renew_job(&again, at(50)).await.unwrap(), JobLease::Held);
        assert!(db.finish_job(&again, &done(), INTERVAL, at(4)).await.unwrap());
        assert_eq!(claim_one(&db, at(4)).await.person, noor);
        assert_eq!(submit(&db, mia, &[2], at(5)).await, [queued(5)], "hers is given back");
        assert_eq!(submit(&db, noor, &[3], at(5)).await, [queued(33)], "it took noor's slot");
    }

    async fn a_job_is_paid_for_where_its_owner_still_waits_for_it(db: TestDb) {
        let mia = person(&db, "mia").await;
        submit(&db, mia, &[1], START).await;
        let (group, reels) = (chat("-100"), [code(1)]);
        let wish = Wish { turn: TurnId::new(), person: mia, chat: &group, reply_to: None, placeholder: None, question: "", reels: &reels, fresh: false };
        assert_eq!(db.submit(&wish, LIMITS, &|_| String::new(), at(1)).await.unwrap(), [Submitted::Joined]);
        let boards = db.open_boards_of(mia).await.unwrap();
        let dm = boards.iter().map(|board| board.id).min().expect("the first one");
        assert_eq!(db.cancel(&Cancelled::Board(dm, None), INTERVAL, at(2)).await.unwrap(), [code(1)]);
        assert_eq!(claim_job(&db, at(3)).await.unwrap().chat, group);
    }

    async fn a_job_that_nobody_waits_for_does_not_go_back_into_the_line(db: TestDb) {
        let mia = person(&db, "mia").await;
        submit(&db, mia, &[1], START).await;
        let job = claim_job(&db, START).await.unwrap();
        db.cancel(&Cancelled::AllOf(mia), INTERVAL, at(1)).await.unwrap();
        assert!(db.requeue_job(&job, at(2), None).await.unwrap());
        assert!(db.line().await.unwrap().is_empty());
        assert!(claim_job(&db, at(99)).await.is_none());
        assert_eq!(submit(&db, mia, &[1], at(99)).await, [queued(99)]);
    }

    async fn a_join_and_a_requeue_at_once_lose_nobody(db: TestDb) {
        for n in 0..20 {
            let (mia, noor) = (person(&db, &format!("mia {n}")).await, person(&db, &format!("noor {n}")).await);
            submit(&db, mia, &[n], START).await;
            let job = claim_job(&db, START).await.unwrap();
            db.cancel(&Cancelled::AllOf(mia), INTERVAL, START).await.unwrap();
            let store = db.store();
            let joining = tokio::spawn(async move { submit(&store, noor, &[n], START).await });
            assert!(db.requeue_job(&job, START, None).await.unwrap());
            joining.await.unwrap();
            let again = claim_job(&db, START).await.expect("somebody waits for it");
            assert_eq!((again.shortcode.clone(), again.asked_by), (code(n), noor));
            assert!(db.finish_job(&again, &done(), INTERVAL, START).await.unwrap());
            assert_eq!(claim_one(&db, START).await.person, noor);
        }
    }

    async fn durations_are_of_the_latest_of_a_kind(db: TestDb) {
        line_of(&db, 4).await;
        let all_lanes = [lanes(1, 0), lanes(0, 1)];
        for (n, seconds) in [(0, 10), (1, 20), (0, 30)] {
            let begin = at(100 * seconds);
            let job = db.claim_job(InstanceId::new(), &all_lanes[n], begin, LEASE * 9).await.unwrap().unwrap();
            let end = begin + Duration::from_secs(seconds);
            assert!(db.finish_job(&job, &done(), INTERVAL, end).await.unwrap());
        }
        let job = db.claim_job(InstanceId::new(), &all_lanes[0], at(9000), LEASE * 9).await.unwrap().unwrap();
        assert!(db.finish_job(&job, &failed(true), INTERVAL, at(9001)).await.unwrap());
        let seconds = |n| Duration::from_secs(n);
        assert_eq!(db.recent_durations(LaneKind::Direct, 9).await.unwrap(), [seconds(30), seconds(10)]);
        assert_eq!(db.recent_durations(LaneKind::Direct, 1).await.unwrap(), [seconds(30)]);
        assert_eq!(db.recent_durations(LaneKind::N8n, 9).await.unwrap(), [seconds(20)]);
    }
}
