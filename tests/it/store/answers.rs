//! Answers that are given again.

use reelcoach::store::answers::KeptAnswer;

use super::*;

on_both! {
    async fn an_answer_is_kept_until_its_time_and_replaced(db: TestDb) {
        let kept = |answer: &str| Some(KeptAnswer { key: "k".into(), answer: answer.into() });
        assert_eq!(db.kept_answer("k", START).await.unwrap(), None);
        db.keep_answer("k", "Why?", "Because.", at(10)).await.unwrap();
        assert_eq!(db.kept_answer("k", at(9)).await.unwrap(), kept("Because."));
        assert_eq!(db.kept_answer("other", at(9)).await.unwrap(), None);
        assert_eq!(db.kept_answer("k", at(10)).await.unwrap(), None, "its time is over");
        assert_eq!(db.question_of("k").await.unwrap().as_deref(), Some("Why?"));
        db.keep_answer("k", "why", "There\0fore.", at(20)).await.unwrap();
        assert_eq!(db.kept_answer("k", at(10)).await.unwrap(), kept("Therefore."));
        assert_eq!(db.question_of("k").await.unwrap().as_deref(), Some("why"));
        db.sweep(at(20)).await.unwrap();
        assert!(db.question_of("k").await.unwrap().is_some());
        db.sweep(at(21)).await.unwrap();
        assert_eq!(db.question_of("k").await.unwrap(), None);
    }

    async fn sixteen_that_keep_the_same_leave_one(db: TestDb) {
        let instances = three_instances(&db).await;
        let tasks = (0..16).map(|n| {
            let store = instances[n % 3].clone();
            tokio::spawn(async move { store.keep_answer("k", "Why?", &format!("answer {n}"), at(10)).await.unwrap() })
        });
        all(tasks).await;
        assert_eq!(db.number("SELECT COUNT(*) FROM answers", &[]).await, 1);
    }
}
