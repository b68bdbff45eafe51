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
}
