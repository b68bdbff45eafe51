//! Places and memory.

use reelcoach::store::chats::Role;
use reelcoach::store::turns::NewMessage;
use reelcoach::store::turns::memory::Remembered;

use super::*;

/// One exchange is answered and remembered.
async fn exchange(db: &TestDb, person: PersonId, chat: &ChatId, id: &str, now: Timestamp) {
    says(db, person, chat, id, now).await;
    let turn = claim_one(db, now).await;
    let conversation = db.memory(person, chat, now).await.unwrap().conversation;
    let lines = [
        NewMessage { role: Role::Person, content: format!("q{id}") },
        NewMessage { role: Role::Coach, content: format!("a{id}") },
    ];
    assert!(db.answer_turn(&turn, "{}", Some(&Remembered::of(conversation, &lines)), now).await.unwrap());
    assert!(db.close_turn(&turn, Outcome::Answered, now).await.unwrap());
}

async fn remembered(db: &TestDb, person: PersonId, chat: &ChatId) -> (String, Vec<String>) {
    let memory = db.memory(person, chat, at(1000)).await.unwrap();
    (memory.summary, memory.lines.into_iter().map(|line| line.content).collect())
}

on_both! {
    async fn calls_that_are_dropped_on_the_way_leave_the_database_usable(db: TestDb) {
        let (mia, dm) = (person(&db, "mia").await, chat("1"));
        for n in 0..200 {
            let forgotten = db.forget(mia, &dm, at(n));
            let _ = tokio::time::timeout(std::time::Duration::from_micros(n * 10), forgotten).await;
        }
        let begun = db.memory(mia, &dm, at(200)).await.unwrap();
        assert!(db.forget(mia, &dm, at(201)).await.unwrap(), "a transaction comes to its end");
        assert_ne!(db.memory(mia, &dm, at(202)).await.unwrap().conversation, begun.conversation);
    }

    async fn a_conversation_begins_once(db: TestDb) {
        let (mia, dm) = (person(&db, "mia").await, chat("1"));
        let instances = three_instances(&db).await;
        let tasks = (0..16).map(|n| {
            let (store, dm) = (instances[n % 3].clone(), dm.clone());
            tokio::spawn(async move { store.memory(mia, &dm, at(n as u64)).await.unwrap().conversation })
        });
        let conversations = all(tasks).await;
        assert!(conversations.iter().all(|c| *c == conversations[0]), "{conversations:?}");
        let again = db.memory(mia, &dm, at(500)).await.unwrap();
        assert!(again.started_at <= at(15));
        assert_eq!((again.summary.as_str(), again.lines.len()), ("", 0));
    }

    async fn memory_is_per_person_and_chat(db: TestDb) {
        let (mia, noor, group) = (person(&db, "mia").await, person(&db, "noor").await, chat("-100"));
        exchange(&db, mia, &group, "1", START).await;
        assert_eq!(remembered(&db, mia, &group).await.1, ["q1", "a1"]);
        assert!(remembered(&db, noor, &group).await.1.is_empty());
        assert!(remembered(&db, mia, &chat("1")).await.1.is_empty());
    }

    async fn a_summary_replaces_the_lines_it_covers(db: TestDb) {
        let (mia, dm) = (person(&db, "mia").await, chat("1"));
        for (id, seconds) in [("1", 0), ("2", 10), ("3", 20)] {
            exchange(&db, mia, &dm, id, at(seconds)).await;
        }
        let memory = db.memory(mia, &dm, at(30)).await.unwrap();
        assert_eq!(memory.lines.len(), 6);
        db.summarise(memory.conversation, "they\0 spoke", &memory.lines[3].id).await.unwrap();
        assert_eq!(remembered(&db, mia, &dm).await, ("they spoke".into(), vec!["q3".into(), "a3".into()]));
        // A summary that covers less, made meanwhile by another worker, comes too late.
        db.summarise(memory.conversation, "older", &memory.lines[1].id).await.unwrap();
        assert_eq!(remembered(&db, mia, &dm).await.0, "they spoke");
    }

    async fn what_is_forgotten_is_not_remembered(db: TestDb) {
        let (mia, dm) = (person(&db, "mia").await, chat("1"));
        assert!(!db.forget(mia, &dm, START).await.unwrap(), "there is nothing yet");
        exchange(&db, mia, &dm, "1", START).await;
        exchange(&db, mia, &chat("2"), "1", START).await;
        let old = db.memory(mia, &dm, START).await.unwrap().conversation;
        assert!(db.forget(mia, &dm, at(5)).await.unwrap());
        assert!(!db.forget(mia, &dm, at(5)).await.unwrap());
        let new = db.memory(mia, &dm, at(6)).await.unwrap();
        assert_ne!(new.conversation, old);
        assert_eq!((new.started_at, new.lines.len()), (at(6), 0));
        assert_eq!(remembered(&db, mia, &chat("2")).await.1, ["q1", "a1"], "elsewhere it stays");
        exchange(&db, mia, &dm, "2", at(7)).await;
        assert_eq!(remembered(&db, mia, &dm).await.1, ["q2", "a2"]);
    }

    async fn a_chat_has_been_spoken_in_once_a_turn_was_answered(db: TestDb) {
        let mia = person(&db, "mia").await;
        assert!(!db.has_spoken(&chat("1")).await.unwrap(), "an unknown chat");
        for (key, outcome, spoken) in
            [("1", Outcome::Answered, true), ("2", Outcome::Silent, true), ("3", Outcome::Undeliverable, false)]
        {
            says(&db, mia, &chat(key), "1", START).await;
            assert!(!db.has_spoken(&chat(key)).await.unwrap());
            let turn = claim_one(&db, START).await;
            assert!(db.close_turn(&turn, outcome, at(1)).await.unwrap());
            assert_eq!(db.has_spoken(&chat(key)).await.unwrap(), spoken, "{outcome:?}");
        }
    }

    async fn active_chats_come_newest_first(db: TestDb) {
        let mia = person(&db, "mia").await;
        let discord = |key: &str| ChatId::new(Platform::Discord, key);
        for (key, id, seconds) in [("a", "1", 0), ("b", "2", 10), ("c", "3", 20), ("a", "4", 30)] {
            says(&db, mia, &discord(key), id, at(seconds)).await;
        }
        says(&db, mia, &chat("telegram"), "9", at(40)).await;
        let command = MessageRef::new(discord("b"), "interaction-1");
        db.receive(Arrival { atomic: true, ..arrival(&command, mia, "{}", at(25)) }).await.unwrap();
        let command = MessageRef::new(discord("d"), "interaction-2");
        db.receive(Arrival { atomic: true, ..arrival(&command, mia, "{}", at(5)) }).await.unwrap();

        let chats = db.active_chats(Platform::Discord, START, 10).await.unwrap();
        let row = |key: &str, id: Option<&str>| (discord(key), id.map(str::to_owned));
        let expected = [row("a", Some("4")), row("b", Some("2")), row("c", Some("3")), row("d", None)];
        assert_eq!(chats, expected, "a command is no message to read on from");
        assert_eq!(db.active_chats(Platform::Discord, START, 2).await.unwrap(), expected[..2]);
        assert_eq!(db.active_chats(Platform::Discord, at(20), 10).await.unwrap(), expected[..3]);
        assert!(db.active_chats(Platform::Console, START, 10).await.unwrap().is_empty());
    }
}
