//! Which instances are alive, and roles that one at a time holds.

use reelcoach::store::instances::ALIVE;

use super::*;

on_both! {
    async fn a_role_has_one_holder_until_its_lease_ends(db: TestDb) {
        let (a, b) = (InstanceId::new(), InstanceId::new());
        assert!(db.hold("telegram", a, START, at(10)).await.unwrap());
        assert!(!db.hold("telegram", b, at(1), at(11)).await.unwrap());
        assert!(db.hold("discord", b, at(1), at(11)).await.unwrap(), "another role is free");
        assert!(db.hold("telegram", a, at(9), at(19)).await.unwrap(), "the holder keeps it");
        assert!(!db.hold("telegram", b, at(18), at(28)).await.unwrap());
        assert!(db.hold("telegram", b, at(19), at(29)).await.unwrap(), "it ended");
        assert!(!db.hold("telegram", a, at(20), at(30)).await.unwrap());
    }

    async fn a_role_given_up_is_free_at_once(db: TestDb) {
        let (a, b) = (InstanceId::new(), InstanceId::new());
        assert!(db.hold("telegram", a, START, at(10)).await.unwrap());
        db.let_go("telegram", b).await.unwrap();
        assert!(!db.hold("telegram", b, at(1), at(11)).await.unwrap(), "only its holder gives it up");
        db.let_go("telegram", a).await.unwrap();
        assert!(db.hold("telegram", b, at(1), at(11)).await.unwrap());
    }

    async fn of_sixteen_that_want_a_role_one_gets_it(db: TestDb) {
        let instances = three_instances(&db).await;
        let tasks = (0..16).map(|n| {
            let store = instances[n % 3].clone();
            tokio::spawn(async move { store.hold("telegram", InstanceId::new(), START, at(10)).await.unwrap() })
        });
        assert_eq!(all(tasks).await.into_iter().filter(|got| *got).count(), 1);
    }

    async fn those_that_are_there_are_counted(db: TestDb) {
        let (a, b) = (InstanceId::new(), InstanceId::new());
        db.note_instance(a, "a", START, START, "{}").await.unwrap();
        db.note_instance(b, "b", START, at(5), "{}").await.unwrap();
        let alive = ALIVE.as_secs();
        for (now, live) in [(at(5), 2), (at(alive - 1), 2), (at(alive), 1), (at(alive + 4), 1), (at(alive + 5), 0)] {
            assert_eq!(db.live_instances(now).await.unwrap(), live, "{now:?}");
            let heartbeats = db.heartbeats().await.unwrap();
            assert_eq!(heartbeats.iter().filter(|heartbeat| heartbeat.is_alive(now)).count(), live as usize);
            assert_eq!(db.instances_seen(now).await.unwrap().len(), live as usize, "everybody means the same by it");
        }
        db.forget_instance(&b.to_string()).await.unwrap();
        assert_eq!(db.live_instances(START).await.unwrap(), 1);
    }

    async fn an_instance_that_did_not_say_good_bye_is_noticed_by_the_next_one(db: TestDb) {
        let [a, b, c, d] = [(); 4].map(|()| InstanceId::new());
        assert!(!db.begin_instance(a, "web:1", START).await.unwrap(), "the first of all");
        assert!(db.begin_instance(b, "web:1", at(1)).await.unwrap(), "the one before was killed");
        assert_eq!(db.heartbeats().await.unwrap().len(), 1, "it is not waited for");
        db.forget_instance(&b.to_string()).await.unwrap();
        assert!(!db.begin_instance(c, "web:1", at(2)).await.unwrap(), "the one before said good-bye");
        // Beside others only what is its own, and what was not heard of for long, says anything.
        let is_noticed = !db.is_shared();
        assert_eq!(db.begin_instance(d, "web:2", at(3)).await.unwrap(), is_noticed);
        let long_after = at(2) + ALIVE;
        assert!(db.begin_instance(InstanceId::new(), "web:3", long_after).await.unwrap(), "web:1 is lost");
    }

    async fn a_turn_whose_holders_ended_twice_is_taken_alone(db: TestDb) {
        let names = ["mia", "noor", "ola"];
        for (nth, name) in names.into_iter().enumerate() {
            let who = person(&db, name).await;
            says(&db, who, &chat(&nth.to_string()), "1", START).await;
        }
        let lives = async |nth: u64, limit: u32| {
            let who = InstanceId::new();
            let now = at(100 * nth);
            db.begin_instance(who, "web:1", now).await.unwrap();
            (who, db.claim_turns(who, &Platform::ALL, now, LEASE, limit).await.unwrap())
        };
        let (_, taken) = lives(0, 2).await;
        assert_eq!(taken.iter().map(|turn| turn.holders_lost).collect::<Vec<_>>(), [0, 0]);
        let (who, taken) = lives(1, 64).await;
        let lost = |turns: &[Turn]| turns.iter().map(|turn| turn.holders_lost).collect::<Vec<_>>();
        assert_eq!(lost(&taken).iter().sum::<i64>(), 2);
        assert_eq!(taken.len(), 3);
        // A lease that ran out while its holder lives is no end of it.
        let now = at(100) + LEASE;
        db.note_instance(who, "web:1", at(100), now, "{}").await.unwrap();
        let other = InstanceId::new();
        db.note_instance(other, "web:2", now, now, "{}").await.unwrap();
        let same = db.claim_turns(other, &Platform::ALL, now, LEASE, 64).await.unwrap();
        assert_eq!((same.len(), lost(&same).iter().sum::<i64>()), (3, 2));
        db.forget_instance(&other.to_string()).await.unwrap();
        let (who, taken) = lives(2, 64).await;
        assert_eq!(lost(&taken), [2], "alone");
        let again = db.claim_turns(who, &Platform::ALL, at(200), LEASE, 64).await.unwrap();
        assert_eq!(lost(&again), [2], "as nothing else is answered here, by what is said");
        for turn in taken.iter().chain(&again) {
            db.close_turn(turn, Outcome::Answered, at(201)).await.unwrap();
        }
        let rest = db.claim_turns(who, &Platform::ALL, at(201), LEASE, 64).await.unwrap();
        assert_eq!(lost(&rest), [1]);
    }
}
