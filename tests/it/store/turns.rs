//! The inbox and the turns.

use std::collections::{HashMap, HashSet};

use reelcoach::store::chats::Role;
use reelcoach::store::turns::memory::Remembered;
use reelcoach::store::turns::{NewMessage, Sealed};

use reelcoach::ids::Platform;

use super::*;

on_both! {
    async fn an_arrival_becomes_a_due_turn(db: TestDb) {
        let (mia, dm) = (person(&db, "mia").await, chat("1"));
        let message = MessageRef::new(dm.clone(), "100");
        let with_placeholder = Arrival { placeholder: Some("99"), ..arrival(&message, mia, "{\"a\":1}", START) };
        assert_eq!(db.receive(with_placeholder).await.unwrap(), Received::New);
        let turn = claim_one(&db, START).await;
        assert_eq!((turn.kind, turn.person, &turn.chat), (TurnKind::Talk, mia, &dm));
        assert_eq!((turn.reply_to.as_deref(), turn.placeholder.as_deref()), (Some("100"), Some("99")));
        assert_eq!((turn.inputs, turn.attempt, turn.sealed), (1, 1, false));
        assert_eq!((turn.merge_until, turn.created_at), (START + WINDOW, START));
        assert!(turn.shown.is_empty() && turn.answer.is_none());
        assert_eq!(db.turn_inputs(turn.id).await.unwrap(), ["{\"a\":1}"]);
        assert_eq!(db.open_turns().await.unwrap(), 1);
    }

    async fn a_second_delivery_changes_nothing(db: TestDb) {
        let (mia, dm) = (person(&db, "mia").await, chat("1"));
        assert_eq!(says(&db, mia, &dm, "1", START).await, Received::New);
        assert_eq!(says(&db, mia, &dm, "1", START).await, Received::Duplicate);
        let turn = claim_one(&db, START).await;
        assert!(db.close_turn(&turn, Outcome::Answered, at(1)).await.unwrap());
        assert_eq!(says(&db, mia, &dm, "1", at(2)).await, Received::Duplicate, "also after its turn is closed");
        assert_eq!(says(&db, mia, &chat("2"), "1", at(2)).await, Received::New, "the same id in another chat");
        assert_eq!(db.open_turns().await.unwrap(), 1);
    }

    async fn sixteen_deliveries_at_once_are_one(db: TestDb) {
        let instances = three_instances(&db).await;
        let mia = person(&db, "mia").await;
        let tasks = (0..16).map(|n| {
            let store = instances[n % 3].clone();
            tokio::spawn(async move { says(&store, mia, &chat("1"), "1", START).await })
        });
        let got = all(tasks).await;
        assert_eq!(got.iter().filter(|r| **r == Received::New).count(), 1, "{got:?}");
        assert_eq!(got.iter().filter(|r| **r == Received::Duplicate).count(), 15, "{got:?}");
    }

    async fn sixteen_messages_at_once_are_one_turn(db: TestDb) {
        let instances = three_instances(&db).await;
        let mia = person(&db, "mia").await;
        let tasks = (0..16).map(|n| {
            let store = instances[n % 3].clone();
            tokio::spawn(async move { says(&store, mia, &chat("1"), &n.to_string(), START).await })
        });
        let got = all(tasks).await;
        assert_eq!(got.iter().filter(|r| **r == Received::New).count(), 1, "{got:?}");
        let turn = claim_one(&db, START).await;
        assert_eq!(turn.inputs, 16);
        assert_eq!(db.turn_inputs(turn.id).await.unwrap().len(), 16);
    }

    async fn messages_within_the_window_join(db: TestDb) {
        let (mia, dm) = (person(&db, "mia").await, chat("1"));
        says(&db, mia, &dm, "9", START).await;
        assert_eq!(says(&db, mia, &dm, "10", at_ms(500)).await, Received::Joined);
        assert_eq!(says(&db, mia, &dm, "11", at_ms(1200)).await, Received::Joined, "each moves the window on");
        let turn = claim_one(&db, at_ms(1300)).await;
        assert_eq!((turn.inputs, turn.merge_until), (3, at_ms(2000)));
        let texts = db.turn_inputs(turn.id).await.unwrap();
        assert_eq!(texts, ["{\"text\":\"9\"}", "{\"text\":\"10\"}", "{\"text\":\"11\"}"]);
        assert_eq!(says(&db, mia, &dm, "12", at_ms(2000)).await, Received::New, "after the window");
    }

    async fn nobody_else_joins(db: TestDb) {
        let (mia, noor, group) = (person(&db, "mia").await, person(&db, "noor").await, chat("-100"));
        assert_eq!(says(&db, mia, &group, "1", START).await, Received::New);
        assert_eq!(says(&db, noor, &group, "2", START).await, Received::New, "another person");
        assert_eq!(says(&db, mia, &chat("-200"), "3", START).await, Received::New, "another chat");
        assert_eq!(claim(&db, InstanceId::new(), START).await.len(), 3, "each due at once");
    }

    async fn however_many_come_a_turn_waits_five_windows(db: TestDb) {
        let (mia, dm) = (person(&db, "mia").await, chat("1"));
        let mut last = None;
        for n in 0..20 {
            let received = says(&db, mia, &dm, &n.to_string(), at_ms(n * 500)).await;
            if received == Received::New {
                last = Some(n);
            }
            if n == 7 {
                assert_eq!(last, Some(0), "3.5 s are within 5 windows of 0.8 s");
            }
        }
        assert_ne!(last, Some(0));
        assert!(db.number("SELECT MAX(inputs) FROM turns", &[]).await <= 8);
    }

    async fn nothing_joins_a_sealed_turn(db: TestDb) {
        let (mia, dm) = (person(&db, "mia").await, chat("1"));
        says(&db, mia, &dm, "1", START).await;
        let turn = claim_one(&db, START).await;
        assert_eq!(says(&db, mia, &dm, "2", at_ms(100)).await, Received::Joined, "it is claimed but says nothing yet");
        let grown = db.seal_turn(&turn, 1).await.unwrap();
        assert_eq!(grown, Sealed::Grown { inputs: 2, merge_until: at_ms(900) });
        assert_eq!(says(&db, mia, &dm, "3", at_ms(200)).await, Received::Joined, "refused seals seal nothing");
        assert_eq!(db.seal_turn(&turn, 3).await.unwrap(), Sealed::Yes);
        assert_eq!(db.seal_turn(&turn, 3).await.unwrap(), Sealed::Yes);
        assert_eq!(says(&db, mia, &dm, "4", at_ms(300)).await, Received::New);
        assert_eq!(db.turn_inputs(turn.id).await.unwrap().len(), 3);
    }

    async fn a_message_is_sealed_in_or_begins_a_turn(db: TestDb) {
        // Whatever the order of a seal and an arrival: the message is in what was sealed, or in the next turn.
        for n in 0..25 {
            let (mia, dm) = (person(&db, &n.to_string()).await, chat(&n.to_string()));
            says(&db, mia, &dm, "1", START).await;
            let turn = claim_one(&db, START).await;
            let (store, dm) = (db.store(), dm.clone());
            let arriving = tokio::spawn(async move { says(&store, mia, &dm, "2", at_ms(100)).await });
            let sealed = db.seal_turn(&turn, 1).await.unwrap();
            let received = arriving.await.unwrap();
            match (sealed, received) {
                (Sealed::Yes, Received::New) | (Sealed::Grown { inputs: 2, .. }, Received::Joined) => {}
                other => panic!("{other:?}"),
            }
            assert!(db.close_turn(&turn, Outcome::Answered, at(1)).await.unwrap());
            for turn in claim(&db, InstanceId::new(), at(1)).await {
                assert!(db.close_turn(&turn, Outcome::Answered, at(1)).await.unwrap());
            }
        }
    }

    async fn an_atomic_arrival_stands_alone(db: TestDb) {
        let (mia, dm) = (person(&db, "mia").await, chat("1"));
        says(&db, mia, &dm, "1", START).await;
        let command = MessageRef::new(dm.clone(), "interaction-7");
        let atomic = Arrival { atomic: true, ..arrival(&command, mia, "{}", at_ms(100)) };
        assert_eq!(db.receive(atomic).await.unwrap(), Received::New);
        assert_eq!(says(&db, mia, &dm, "2", at_ms(100)).await, Received::New);
        // Another instance's clock is behind.
        let (noor, other) = (person(&db, "noor").await, chat("2"));
        let command = MessageRef::new(other.clone(), "interaction-8");
        db.receive(Arrival { atomic: true, ..arrival(&command, noor, "{}", at_ms(100)) }).await.unwrap();
        assert_eq!(says(&db, noor, &other, "3", at_ms(40)).await, Received::New);
    }

    async fn a_second_turn_sleeps_until_the_first_closes(db: TestDb) {
        let (mia, dm) = (person(&db, "mia").await, chat("1"));
        for (id, seconds) in [("1", 0), ("2", 10), ("3", 20)] {
            assert_eq!(says(&db, mia, &dm, id, at(seconds)).await, Received::New);
        }
        for id in ["1", "2", "3"] {
            let turn = claim_one(&db, at(100)).await;
            assert_eq!(turn.reply_to.as_deref(), Some(id), "one at a time, oldest first");
            assert!(claim(&db, InstanceId::new(), at(100)).await.is_empty());
            assert!(db.close_turn(&turn, Outcome::Answered, at(100)).await.unwrap());
        }
        assert_eq!(db.open_turns().await.unwrap(), 0);
        assert_eq!(says(&db, mia, &dm, "4", at(101)).await, Received::New);
        claim_one(&db, at(101)).await;
    }

    async fn every_due_turn_goes_to_one_of_sixteen_claimers(db: TestDb) {
        for n in 0..32 {
            let mia = person(&db, &format!("{n}")).await;
            says(&db, mia, &chat(&n.to_string()), "1", START).await;
        }
        let instances = three_instances(&db).await;
        let tasks = (0..16).map(|n| {
            let store = instances[n % 3].clone();
            tokio::spawn(async move { store.claim_turns(InstanceId::new(), &Platform::ALL, START, LEASE, 2).await.unwrap() })
        });
        let claimed = all(tasks).await;
        assert!(claimed.iter().all(|turns| turns.len() == 2), "nobody goes away empty-handed while something is due");
        let ids: HashSet<TurnId> = claimed.iter().flatten().map(|turn| turn.id).collect();
        assert_eq!(ids.len(), 32);
        assert!(claimed.iter().flatten().all(|turn| turn.attempt == 1));
        assert_eq!(claim(&db, InstanceId::new(), at(29)).await.len(), 0, "all are under lease");
    }

    async fn an_expired_lease_is_taken_over_and_the_old_one_is_worth_nothing(db: TestDb) {
        let (mia, dm) = (person(&db, "mia").await, chat("1"));
        says(&db, mia, &dm, "1", START).await;
        let who = InstanceId::new();
        let old = claim(&db, who, START).await.remove(0);
        assert!(db.renew_turn(&old, at(40)).await.unwrap());
        assert!(db.show_turn(&old, &["m1".into(), "m2".into()], None).await.unwrap());
        assert!(claim(&db, InstanceId::new(), at(39)).await.is_empty());
        // By the same instance: the attempt tells the leases apart.
        let new = claim(&db, who, at(40)).await.remove(0);
        assert_eq!((new.id, new.attempt), (old.id, 2));
        assert_eq!(new.shown, ["m1", "m2"]);

        let memory = db.memory(mia, &dm, at(40)).await.unwrap();
        let lines = [NewMessage { role: Role::Coach, content: "lost".into() }];
        assert!(!db.renew_turn(&old, at(999)).await.unwrap());
        assert!(!db.show_turn(&old, &["m3".into()], None).await.unwrap());
        assert_eq!(db.seal_turn(&old, 1).await.unwrap(), Sealed::Lost);
        assert!(!db.answer_turn(&old, "\"lost\"", Some(&Remembered::of(memory.conversation, &lines)), at(41)).await.unwrap());
        assert!(!db.close_turn(&old, Outcome::Answered, at(41)).await.unwrap());
        assert!(!db.release_turn(&old, at(41)).await.unwrap());
        assert!(!db.park_turn(&old).await.unwrap());

        assert!(db.memory(mia, &dm, at(41)).await.unwrap().lines.is_empty());
        assert_eq!(db.turn_inputs(new.id).await.unwrap().len(), 1);
        assert!(claim(&db, who, at(69)).await.is_empty(), "the new lease stands as it was");
        let third = claim(&db, who, at(70)).await.remove(0);
        assert_eq!((third.attempt, third.sealed, third.answer.as_deref()), (3, false, None));
        assert_eq!(third.shown, ["m1", "m2"]);
    }

    async fn the_last_of_two_workers_wins_whatever_their_order(db: TestDb) {
        let (mia, dm) = (person(&db, "mia").await, chat("1"));
        says(&db, mia, &dm, "1", START).await;
        let old = claim_one(&db, START).await;
        let new = claim_one(&db, at(30)).await;
        let conversation = db.memory(mia, &dm, START).await.unwrap().conversation;
        let tasks = [old, new].into_iter().map(|turn| {
            let store = db.store();
            tokio::spawn(async move {
                let lines = [NewMessage { role: Role::Coach, content: format!("answer {}", turn.attempt) }];
                let memory = Remembered::of(conversation, &lines);
                let answered = store.answer_turn(&turn, "{}", Some(&memory), at(31)).await.unwrap();
                (answered, store.close_turn(&turn, Outcome::Answered, at(31)).await.unwrap())
            })
        });
        assert_eq!(all(tasks).await, [(false, false), (true, true)]);
        let lines = db.memory(mia, &dm, at(32)).await.unwrap().lines;
        assert_eq!(lines.iter().map(|line| line.content.as_str()).collect::<Vec<_>>(), ["answer 2"]);
    }

    async fn an_answer_and_its_memory_are_one(db: TestDb) {
        let (mia, dm) = (person(&db, "mia").await, chat("1"));
        says(&db, mia, &dm, "1", START).await;
        let turn = claim_one(&db, START).await;
        let conversation = db.memory(mia, &dm, START).await.unwrap().conversation;
        let lines = [
            NewMessage { role: Role::Person, content: "Wie ist der Hook?".into() },
            NewMessage { role: Role::Reel, content: "{…}".into() },
            NewMessage { role: Role::Coach, content: "Stark\0 💪".into() },
        ];
        // A conversation that is not there: nothing is answered either.
        let nowhere = reelcoach::ids::ConversationId::new();
        assert!(db.answer_turn(&turn, "{}", Some(&Remembered::of(nowhere, &lines)), at(1)).await.is_err());
        assert!(db.memory(mia, &dm, at(1)).await.unwrap().lines.is_empty());

        assert!(db.answer_turn(&turn, "{\"text\":\"Stark\"}", Some(&Remembered::of(conversation, &lines)), at(1)).await.unwrap());
        assert!(!db.answer_turn(&turn, "{\"text\":\"again\"}", Some(&Remembered::of(conversation, &lines)), at(2)).await.unwrap());
        let memory = db.memory(mia, &dm, at(2)).await.unwrap();
        let remembered: Vec<_> = memory.lines.iter().map(|line| (line.role, line.content.as_str())).collect();
        assert_eq!(remembered, [(Role::Person, "Wie ist der Hook?"), (Role::Reel, "{…}"), (Role::Coach, "Stark 💪")]);

        // Only its delivery is owed now, to whoever comes.
        let again = claim_one(&db, at(60)).await;
        assert_eq!(again.answer.as_deref(), Some("{\"text\":\"Stark\"}"));
        assert!(again.sealed);
        assert!(db.close_turn(&again, Outcome::Answered, at(61)).await.unwrap());
        assert!(!db.close_turn(&again, Outcome::Answered, at(62)).await.unwrap());
        assert_eq!(db.turn_inputs(turn.id).await.unwrap(), [""], "what people wrote is not kept");
        assert_eq!(db.number("SELECT COUNT(*) FROM turns WHERE answer IS NOT NULL", &[]).await, 0);
        assert_eq!(db.number("SELECT COUNT(*) FROM turns WHERE state = 'closed' AND outcome = 'answered'", &[]).await, 1);
    }

    async fn a_turn_given_back_is_due_when_it_says(db: TestDb) {
        let (mia, dm) = (person(&db, "mia").await, chat("1"));
        says(&db, mia, &dm, "1", START).await;
        let turn = claim_one(&db, START).await;
        assert!(db.release_turn(&turn, at(10)).await.unwrap());
        assert!(!db.release_turn(&turn, START).await.unwrap(), "it is given back already");
        assert!(!db.renew_turn(&turn, at(90)).await.unwrap());
        assert!(claim(&db, InstanceId::new(), at(9)).await.is_empty());
        assert_eq!(claim_one(&db, at(10)).await.attempt, 2);
    }

    async fn a_reel_turn_waits_for_the_talk_before_it(db: TestDb) {
        let mia = person(&db, "mia").await;
        let dm = chat(&format!("dm-{mia}"));
        says(&db, mia, &dm, "1", START).await;
        let talk = claim_one(&db, START).await;
        submit(&db, mia, &[1], START).await;
        let job = claim_job(&db, START).await.unwrap();
        assert!(db.finish_job(&job, &done(), INTERVAL, at(5)).await.unwrap());
        let reel = claim_one(&db, at(5)).await;
        assert_eq!((reel.person, &reel.chat, reel.reply_to.as_deref()), (mia, &dm, Some("17")));
        assert!(db.park_turn(&reel).await.unwrap());
        assert!(!db.park_turn(&reel).await.unwrap());
        assert!(!db.renew_turn(&reel, at(90)).await.unwrap());
        assert!(db.renew_turn(&talk, at(5000)).await.unwrap());
        assert!(claim(&db, InstanceId::new(), at(4000)).await.is_empty());
        assert_eq!(says(&db, mia, &dm, "2", at(10)).await, Received::New, "nothing joins a reel's turn");
        assert!(db.close_turn(&talk, Outcome::Answered, at(11)).await.unwrap());
        let again = claim_one(&db, at(11)).await;
        assert_eq!(again.id, reel.id);
        assert!(!db.park_turn(&again).await.unwrap(), "nothing is before it now");
        assert!(db.close_turn(&again, Outcome::Answered, at(12)).await.unwrap());
        assert_eq!(claim_one(&db, at(12)).await.reply_to.as_deref(), Some("2"));
    }

    async fn two_turns_never_sleep_for_each_other(db: TestDb) {
        // The reel's turn was made by an instance whose clock is ahead: its id is the later one although the
        // message came after it, and sleeps for it.
        let mia = person(&db, "mia").await;
        let dm = chat(&format!("dm-{mia}"));
        submit(&db, mia, &[1], START).await;
        let job = claim_job(&db, START).await.unwrap();
        assert!(db.finish_job(&job, &done(), INTERVAL, at(5)).await.unwrap());
        db.execute("UPDATE turns SET id = 'ffffffffffff7fffbfffffffffffffff'").await;
        assert_eq!(says(&db, mia, &dm, "2", at(6)).await, Received::New);
        let reel = claim_one(&db, at(6)).await;
        assert!(!db.park_turn(&reel).await.unwrap());
        assert!(db.close_turn(&reel, Outcome::Answered, at(7)).await.unwrap());
        assert_eq!(claim_one(&db, at(7)).await.reply_to.as_deref(), Some("2"));
    }

    async fn one_turn_of_a_talk_is_open_at_a_time(db: TestDb) {
        // Messages and results come while sixteen workers answer; nobody is answered twice at a time, nothing is left.
        let instances = three_instances(&db).await;
        let mut people = HashMap::new();
        for n in 0..4 {
            let person = person(&db, &n.to_string()).await;
            people.insert(n, person);
        }
        let arrivals = (0..48).map(|n: u64| {
            let (store, person) = (instances[(n % 3) as usize].clone(), people[&(n % 4)]);
            tokio::spawn(async move { says(&store, person, &chat(&person.to_string()), &n.to_string(), at(n * 10)).await })
        });
        let got = all(arrivals).await;
        assert!(!got.contains(&Received::Duplicate));
        let answering = std::sync::Arc::new(std::sync::Mutex::new(HashSet::new()));
        let workers = (0..16).map(|n| {
            let (store, answering) = (instances[n % 3].clone(), answering.clone());
            tokio::spawn(async move {
                let mut closed = 0;
                while store.open_turns().await.unwrap() > 0 {
                    for turn in store.claim_turns(InstanceId::new(), &Platform::ALL, at(9999), LEASE, 3).await.unwrap() {
                        assert!(answering.lock().unwrap().insert(turn.person), "two turns of one talk at a time");
                        tokio::task::yield_now().await;
                        assert!(answering.lock().unwrap().remove(&turn.person));
                        assert!(store.close_turn(&turn, Outcome::Answered, at(9999)).await.unwrap());
                        closed += 1;
                    }
                }
                closed
            })
        });
        let closed: i64 = all(workers).await.into_iter().sum();
        assert_eq!(closed, db.number("SELECT COUNT(*) FROM turns WHERE state = 'closed'", &[]).await);
        assert_eq!(db.number("SELECT COUNT(*) FROM inbox", &[]).await, 48);
    }

    async fn a_turn_aside_waits_for_none_and_none_waits_for_it(db: TestDb) {
        let mia = person(&db, "mia").await;
        let dm = chat("1");
        let said = MessageRef::new(dm.clone(), "1");
        db.receive(arrival(&said, mia, "{}", START)).await.unwrap();
        let talk = claim_one(&db, START).await;
        let look = MessageRef::new(dm.clone(), "2");
        db.receive(Arrival { atomic: true, aside: true, ..arrival(&look, mia, "{}", at(1)) }).await.unwrap();
        let aside = claim_one(&db, at(1)).await;
        let later = MessageRef::new(dm.clone(), "3");
        db.receive(Arrival { atomic: true, ..arrival(&later, mia, "{}", at(2)) }).await.unwrap();
        assert!(claim(&db, InstanceId::new(), at(2)).await.is_empty(), "the next message waits for the talk");
        assert!(db.close_turn(&aside, Outcome::Answered, at(3)).await.unwrap());
        assert!(claim(&db, InstanceId::new(), at(3)).await.is_empty(), "and goes on waiting");
        assert!(db.close_turn(&talk, Outcome::Answered, at(4)).await.unwrap());
        assert_eq!(claim(&db, InstanceId::new(), at(4)).await.len(), 1);
    }
}
