//! What a process works on is never claimed by it a second time, whatever the rows say of its lease.

use super::*;

on_both! {
    async fn a_turn_that_is_answered_here_keeps_its_lease(db: TestDb) {
        let (mia, dm) = (person(&db, "mia").await, chat("1"));
        says(&db, mia, &dm, "1", START).await;
        let who = InstanceId::new();
        let turn = claim(&db, who, START).await.remove(0);
        db.work_begins(turn.id);
        assert!(claim(&db, who, at(31)).await.is_empty());
        assert_eq!(db.number("SELECT due_at FROM turns", &[]).await, at(61).0, "its lease goes on");
        assert!(db.renew_turn(&turn, at(50)).await.unwrap(), "under the same attempt");
        // Another instance that came before it, and gave it back.
        let elsewhere = db.another_instance().await;
        let other = if elsewhere.is_shared() {
            let other = claim(&elsewhere, InstanceId::new(), at(50)).await.remove(0);
            assert!(elsewhere.release_turn(&other, at(52)).await.unwrap());
            assert!(claim(&db, who, at(52)).await.is_empty(), "the old work has not ended here");
            1
        } else {
            0
        };
        db.work_ends(turn.id);
        let again = claim(&db, who, at(90)).await.remove(0);
        assert_eq!((again.id, again.attempt), (turn.id, 2 + other));
    }

    async fn those_that_are_answered_here_keep_nobody_from_being_answered(db: TestDb) {
        let who = InstanceId::new();
        let mut held = Vec::new();
        for n in 0..150 {
            let name = format!("p{n}");
            says(&db, person(&db, &name).await, &chat(&name), "1", START).await;
        }
        while held.len() < 150 {
            held.extend(claim(&db, who, START).await);
        }
        held.iter().for_each(|turn| db.work_begins(turn.id));
        says(&db, person(&db, "mia").await, &chat("mia"), "1", at(31)).await;
        let claimed = claim(&db, who, at(40)).await;
        assert!(claimed.len() == 1 && held.iter().all(|turn| turn.id != claimed[0].id), "{claimed:#?}");
        held.iter().for_each(|turn| db.work_ends(turn.id));
    }

    async fn a_job_that_runs_here_keeps_its_lease_and_its_lane(db: TestDb) {
        let who = InstanceId::new();
        let (mia, lane) = (person(&db, "mia").await, lanes(2, 0));
        submit(&db, mia, &[1], START).await;
        let job = db.claim_job(who, &lane, START, LEASE).await.unwrap().unwrap();
        db.work_begins(job.job);
        assert!(db.claim_job(who, &lane, at(40), LEASE).await.unwrap().is_none());
        assert_eq!(db.number("SELECT leased_until FROM jobs", &[]).await, (at(40) + LEASE).0);
        db.work_ends(job.job);
        let again = db.claim_job(who, &lane, at(80), LEASE).await.unwrap().unwrap();
        assert_eq!((again.job, again.attempt), (job.job, 2));
    }

    async fn a_renewal_that_nobody_waits_for_any_more_stops_nothing(db: TestDb) {
        let (mia, dm) = (person(&db, "mia").await, chat("1"));
        let turn = asking_turn(&db, mia, &dm, START).await;
        let mut renewal = Box::pin(db.renew_turn(&turn, at(90)));
        assert!(futures::poll!(&mut renewal).is_pending());
        drop(renewal);
        says(&db, person(&db, "ben").await, &chat("2"), "2", START).await;
        // By a third of this lease a statement that is under way would be late.
        let lease = Duration::from_millis(30);
        tokio::time::sleep(lease).await;
        let platforms = [Platform::Discord, Platform::Telegram];
        assert_eq!(db.claim_turns(InstanceId::new(), &platforms, at(1), lease, 10_u32).await.unwrap().len(), 1);
        assert!(db.renew_turn(&turn, at(91)).await.unwrap());
    }

    async fn of_two_renewals_of_a_lease_the_later_end_counts(db: TestDb) {
        let turn = asking_turn(&db, person(&db, "mia").await, &chat("1"), START).await;
        let (early, late) = (at(60), at(90));
        for (first, second) in [(early, late), (late, early)] {
            let (one, other) = futures::join!(db.renew_turn(&turn, first), db.renew_turn(&turn, second));
            assert!(one.unwrap() && other.unwrap());
            assert_eq!(db.number("SELECT due_at FROM turns", &[]).await, late.0);
        }
    }
}
