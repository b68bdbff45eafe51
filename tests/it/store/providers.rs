//! How the paid services stand, on both databases.

use std::time::Duration;

use reelcoach::store::Store;
use reelcoach::store::failures::Noted;
use reelcoach::store::providers::{CallEnd, ProviderCalls, ProviderRow, Trouble};

use super::at;

fn failed(cause: &str, trouble: Option<Trouble>) -> CallEnd<'_> {
    CallEnd::Failed { cause, trouble, detail: "HTTP 4\0xx", reference: "turn-1" }
}

async fn stands(store: &Store) -> Vec<(String, String, bool, Option<Trouble>)> {
    let plain = |row: ProviderRow| (row.name, row.target, row.failing, row.trouble);
    store.providers().await.unwrap().into_iter().map(plain).collect()
}

fn row(name: &str, target: &str, failing: bool, trouble: Option<Trouble>) -> (String, String, bool, Option<Trouble>) {
    (name.into(), target.into(), failing, trouble)
}

on_both! {
    async fn a_call_that_works_ends_the_trouble_of_those_before_it(db: TestDb) {
        let note = async |target: &str, end: CallEnd<'_>, began: u64, ended: u64| {
            db.note_provider("openai", target, end, at(began), at(ended)).await.unwrap();
        };
        note("a", CallEnd::Worked, 0, 1).await;
        assert_eq!(stands(&db).await, [], "nothing is kept of what works");
        note("a", failed("unauthorized", Some(Trouble::Key)), 1, 10).await;
        note("a", failed("timed_out", None), 11, 12).await;
        let known = db.providers().await.unwrap().remove(0);
        assert_eq!((known.trouble, known.cause.as_str(), known.failed_at), (Some(Trouble::Key), "unauthorized", at(12)));
        assert_eq!((known.detail.as_str(), known.reference.as_str()), ("HTTP 4xx", "turn-1"));
        note("a", CallEnd::Worked, 9, 13).await;
        assert_eq!(stands(&db).await, [row("openai", "a", true, Some(Trouble::Key))], "it began before the failure");
        db.note_provider("openai:1", "a", CallEnd::Worked, at(20), at(21)).await.unwrap();
        assert_eq!(stands(&db).await, [row("openai", "a", true, Some(Trouble::Key))], "of another service");
        note("b", CallEnd::Worked, 20, 21).await;
        assert_eq!(stands(&db).await, [row("openai", "a", false, None)], "a key is one for all models");

        note("a", failed("not_found", Some(Trouble::Gone)), 30, 31).await;
        note("b", CallEnd::Worked, 32, 33).await;
        assert_eq!(stands(&db).await, [row("openai", "a", true, Some(Trouble::Gone))], "of another model");
        note("a", CallEnd::Worked, 34, 35).await;
        note("a", failed("cut", None), 40, 41).await;
        note("b", CallEnd::Worked, 42, 43).await;
        assert_eq!(stands(&db).await, [row("openai", "a", true, None)]);
        note("a", CallEnd::Worked, 44, 45).await;
        note("a", failed("bad_request", Some(Trouble::Request)), 50, 51).await;
        note("a", CallEnd::Worked, 60, 61).await;
        assert_eq!(stands(&db).await, [row("openai", "a", true, Some(Trouble::Request))], "told once an hour at most");
        note("a", CallEnd::Worked, 3651, 3652).await;
        assert_eq!(stands(&db).await, [row("openai", "a", false, None)]);
    }

    async fn a_failure_is_known_under_the_code_that_a_person_was_told(db: TestDb) {
        db.note_provider("openai", "a", failed("bad_request", Some(Trouble::Request)), at(0), at(1)).await.unwrap();
        let noted = Noted {
            reference: "K7QX2M".into(),
            at: at(1),
            part: "answer".into(),
            subject: "turn-1".into(),
            cause: "bad_request".into(),
            detail: String::new(),
        };
        db.note_failure(&noted).await.unwrap();
        assert_eq!(db.providers().await.unwrap()[0].reference, "K7QX2M");
        assert_eq!(db.failure("K7QX2M").await.unwrap(), Some(noted));
    }

    async fn calls_are_counted_by_the_minute_whoever_makes_them(db: TestDb) {
        let tasks = (0..64_u64).map(|n| {
            let store = db.store();
            tokio::spawn(async move {
                let end = match n % 4 {
                    0 => failed("rate_limited", None),
                    1 => failed("cut", None),
                    _ => CallEnd::Worked,
                };
                store.count_provider_call("apify", end, at(n)).await.unwrap();
            })
        });
        futures::future::try_join_all(tasks).await.unwrap();
        let calls = |calls, failed, rate_limited| ProviderCalls { name: "apify".into(), calls, failed, rate_limited };
        assert_eq!(db.provider_calls(at(0)).await.unwrap(), [calls(64, 32, 16)]);
        assert_eq!(db.provider_calls(at(60)).await.unwrap(), [calls(4, 2, 1)]);
        assert_eq!(db.provider_calls(at(120)).await.unwrap(), []);
        assert_eq!(db.number("SELECT COUNT(*) FROM provider_calls", &[]).await, 2, "a row for each minute");
        while db.sweep(at(120)).await.unwrap() > 0 {}
        assert_eq!(db.provider_calls(at(0)).await.unwrap(), []);
    }

    async fn a_model_is_looked_up_by_one_once_a_day(db: TestDb) {
        let (day, now) = (Duration::from_secs(86_400), at(1_000_000));
        let tasks = (0..16).map(|_| {
            let store = db.store();
            tokio::spawn(async move { store.claim_look_up("openai", "gpt-5", now - day, now).await.unwrap() })
        });
        let claimed = futures::future::try_join_all(tasks).await.unwrap();
        assert_eq!(claimed.into_iter().filter(|is_mine| *is_mine).count(), 1);
        db.note_shutdown("openai", "gpt-5", Some("2026-12-11")).await.unwrap();
        assert_eq!(db.providers().await.unwrap()[0].shutdown_on.as_deref(), Some("2026-12-11"));
        let tomorrow = now + day;
        assert!(!db.claim_look_up("openai", "gpt-5", now - day, now).await.unwrap(), "not again today");
        assert!(db.claim_look_up("openai", "gpt-5", tomorrow - day, tomorrow).await.unwrap());
        // A failure of the same model leaves the day alone.
        db.note_provider("openai", "gpt-5", failed("cut", None), at(0), at(1)).await.unwrap();
        assert_eq!(db.providers().await.unwrap()[0].shutdown_on.as_deref(), Some("2026-12-11"));
        db.note_shutdown("openai", "gpt-5", None).await.unwrap();
        assert_eq!(db.providers().await.unwrap()[0].shutdown_on, None);
    }

    async fn ended_sessions_are_kept_until_they_would_have_ended(db: TestDb) {
        assert!(!db.is_session_ended("a").await.unwrap());
        db.end_session("a", at(100)).await.unwrap();
        db.end_session("a", at(100)).await.unwrap();
        assert!(db.is_session_ended("a").await.unwrap() && !db.is_session_ended("b").await.unwrap());
        while db.sweep(at(100)).await.unwrap() > 0 {}
        assert!(db.is_session_ended("a").await.unwrap());
        while db.sweep(at(101)).await.unwrap() > 0 {}
        assert!(!db.is_session_ended("a").await.unwrap());
    }
}
