//! Common questions: who asked, what was judged, and the answers that are shared.

use std::time::Duration;

use reelcoach::store::answers::Asked;

use super::*;

on_both! {
    async fn an_answer_is_kept_until_its_time_and_replaced(db: TestDb) {
        let kept = async |now| db.kept_answer("k", now).await.unwrap();
        assert_eq!(kept(START).await, None);
        db.keep_answer("k", "why", "Because.", at(10)).await.unwrap();
        assert_eq!(kept(at(9)).await.as_deref(), Some("Because."));
        assert_eq!(db.kept_answer("other", at(9)).await.unwrap(), None);
        assert_eq!(kept(at(10)).await, None, "its time is over");
        db.keep_answer("k", "why", "There\0fore.", at(20)).await.unwrap();
        assert_eq!(kept(at(10)).await.as_deref(), Some("Therefore."));
        let rows = "SELECT COUNT(*) FROM answers";
        db.sweep(at(20)).await.unwrap();
        assert_eq!(db.number(rows, &[]).await, 1);
        db.sweep(at(21)).await.unwrap();
        assert_eq!(db.number(rows, &[]).await, 0);
    }

    async fn sixteen_that_keep_the_same_leave_one(db: TestDb) {
        let instances = three_instances(&db).await;
        let tasks = (0..16).map(|n| {
            let store = instances[n % 3].clone();
            tokio::spawn(async move { store.keep_answer("k", "why", &format!("answer {n}"), at(10)).await.unwrap() })
        });
        all(tasks).await;
        assert_eq!(db.number("SELECT COUNT(*) FROM answers", &[]).await, 1);
    }

    async fn people_who_ask_are_counted_once_and_for_a_while(db: TestDb) {
        let asks = async |who: &str, now: u64| {
            let since = at(now) - Duration::from_secs(100);
            db.note_asker("q", who, at(now), since, 3).await.unwrap().people
        };
        let mut counts = Vec::new();
        for (who, now) in [("a", 0), ("a", 1), ("b", 50), ("a", 60), ("c", 149), ("d", 151)] {
            counts.push(asks(who, now).await);
        }
        // a asked again at 60; b's question is too old at 151.
        assert_eq!(counts, [1, 1, 2, 2, 3, 3]);
        assert_eq!(db.number("SELECT COUNT(*) FROM askers", &[]).await, 3, "the latest three are enough");
        assert_eq!(asks("e", 400).await, 1);
        // A verdict lives as long as somebody asks; that the answer is not for everyone is final.
        for (verdict, stands) in [(true, true), (false, false), (true, false)] {
            db.note_verdict("q", verdict).await.unwrap();
            let asked = db.note_asker("q", "e", at(401), at(0), 3).await.unwrap();
            assert_eq!(asked.shareable, Some(stands));
        }
        assert_eq!(db.note_asker("other", "e", at(401), at(0), 3).await.unwrap(), Asked { people: 1, shareable: None });
        while db.forget_askers(at(401)).await.unwrap() > 0 {}
        assert_eq!(db.number("SELECT COUNT(*) FROM verdicts", &[]).await, 1);
        while db.forget_askers(at(402)).await.unwrap() > 0 {}
        let left = "SELECT (SELECT COUNT(*) FROM verdicts) + (SELECT COUNT(*) FROM askers)";
        assert_eq!(db.number(left, &[]).await, 0);
    }

    async fn sixteen_who_ask_at_once_are_counted_exactly(db: TestDb) {
        let instances = three_instances(&db).await;
        let tasks = (0..16).map(|n| {
            let store = instances[n % 3].clone();
            // Two questions each of eight people.
            tokio::spawn(async move {
                store.note_asker("q", &format!("person {}", n / 2), at(1), at(0), 99).await.unwrap().people
            })
        });
        let mut counts = all(tasks).await;
        counts.sort_unstable();
        counts.dedup();
        assert_eq!(counts, (1..=8).collect::<Vec<_>>(), "each number was seen by whoever made it so");
    }

    async fn a_secret_is_made_once(db: TestDb) {
        let instances = three_instances(&db).await;
        let tasks = (0..16).map(|n| {
            let store = instances[n % 3].clone();
            tokio::spawn(async move { store.secret("s", &format!("made {n}")).await.unwrap() })
        });
        let mut made = all(tasks).await;
        made.dedup();
        assert_eq!(made.len(), 1, "{made:?}");
    }
}
