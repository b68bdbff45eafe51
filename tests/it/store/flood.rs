//! That nobody takes all there is: how many messages of a person are taken, and how many turns of a person and chat are
//! under lease.

use reelcoach::store::turns::{MessageLimit, Shares};

use super::*;

const TOLD: &str = "{\"text\":\"slow down\"}";

fn told(_: Timestamp) -> String {
    TOLD.to_owned()
}

/// A person who may send three messages a minute sends one more.
async fn limited(store: &Store, person: PersonId, chat: &ChatId, id: &str, at: Timestamp) -> Received {
    let message = MessageRef::new(chat.clone(), id);
    let limit = Some(MessageLimit { per_minute: 3, sent_at: at, told: Some(&told) });
    store.receive(Arrival { limit, atomic: true, ..arrival(&message, person, "{}", at) }).await.unwrap()
}

fn too_fast(until: u64, is_first: bool) -> Received {
    Received::TooFast { until: at(until), is_first }
}

/// So many turns of each person and chat, all due.
async fn due(db: &TestDb, turns: &[(&str, &str)]) {
    for (nth, (account, key)) in turns.iter().enumerate() {
        let (who, place) = (person(db, account).await, chat(key));
        assert_eq!(says(db, who, &place, &format!("m{nth}"), START).await, Received::New);
    }
}

on_both! {
    async fn messages_are_counted_over_all_chats_and_instances(db: TestDb) {
        let [one, two, three] = three_instances(&db).await;
        let mia = person(&db, "mia").await;
        for (nth, (store, key)) in [(&one, "1"), (&two, "-100"), (&three, "-200")].into_iter().enumerate() {
            assert_eq!(limited(store, mia, &chat(key), &format!("m{nth}"), at(nth as u64)).await, Received::New);
        }
        assert_eq!(limited(&two, mia, &chat("1"), "m3", at(10)).await, too_fast(60, true));
        assert_eq!(limited(&one, mia, &chat("1"), "m3", at(11)).await, Received::Duplicate, "it was told under this message");
        assert_eq!(limited(&one, mia, &chat("1"), "m4", at(12)).await, too_fast(60, false), "once");
        let noor = person(&db, "noor").await;
        assert_eq!(limited(&one, noor, &chat("1"), "n1", at(12)).await, Received::New);
        assert_eq!(db.number("SELECT COUNT(*) FROM message_rates", &[]).await, 2, "a row for each person");
        // The sentence is due at once, whatever else waits there.
        let answers: Vec<_> = claim(&db, InstanceId::new(), at(12)).await.into_iter().filter_map(|turn| turn.answer).collect();
        assert_eq!(answers, [TOLD]);
        assert_eq!(db.number("SELECT COUNT(*) FROM inbox WHERE message = 'm4'", &[]).await, 0);
    }

    /// A platform that held messages back hands them over by chat, so that an earlier minute may come later.
    async fn what_was_sent_in_another_minute_counts_there(db: TestDb) {
        let mia = person(&db, "mia").await;
        for nth in 0..3 {
            assert_eq!(limited(&db, mia, &chat("1"), &format!("a{nth}"), at(600)).await, Received::New);
        }
        for nth in 0..3 {
            assert_eq!(limited(&db, mia, &chat("-100"), &format!("b{nth}"), at(30 + nth)).await, Received::New);
        }
        assert_eq!(limited(&db, mia, &chat("-100"), "b3", at(33)).await, too_fast(90, true));
        assert!(db.is_received(&MessageRef::new(chat("-100"), "b2")).await.unwrap());
        assert_eq!(limited(&db, mia, &chat("-100"), "b4", at(34)).await, too_fast(90, false));
        assert!(!db.is_received(&MessageRef::new(chat("-100"), "b4")).await.unwrap(), "nothing is kept of it");
    }

    async fn a_flood_is_told_once_until_it_ends(db: TestDb) {
        let (mia, dm) = (person(&db, "mia").await, chat("1"));
        // Four messages at the beginning of each minute.
        let mut firsts = Vec::new();
        for minute in [0, 1, 2, 4] {
            for nth in 0..4 {
                let received = limited(&db, mia, &dm, &format!("{minute}-{nth}"), at(minute * 60)).await;
                if nth < 3 {
                    assert_eq!(received, Received::New, "{minute}");
                } else {
                    firsts.push(received);
                }
            }
        }
        let expected = [too_fast(60, true), too_fast(120, false), too_fast(180, false), too_fast(300, true)];
        assert_eq!(firsts, expected, "minutes of the same flood; and after a quiet one");
    }

    async fn sixteen_at_once_are_counted_exactly(db: TestDb) {
        let instances = three_instances(&db).await;
        let mia = person(&db, "mia").await;
        let tasks = (0..16).map(|n| {
            let store = instances[n % 3].clone();
            tokio::spawn(async move { limited(&store, mia, &chat(&n.to_string()), "1", START).await })
        });
        let got = all(tasks).await;
        assert_eq!(got.iter().filter(|received| **received == Received::New).count(), 3, "{got:?}");
        assert_eq!(got.iter().filter(|received| **received == too_fast(60, true)).count(), 1, "{got:?}");
    }

    async fn nobody_has_more_than_a_few_turns_under_lease(db: TestDb) {
        let chats: Vec<String> = (0..10).map(|n| n.to_string()).collect();
        let people: Vec<String> = (0..30).map(|n| format!("of the group {n}")).collect();
        let mut turns: Vec<(&str, &str)> = chats.iter().map(|key| ("mia", key.as_str())).collect();
        turns.extend(people.iter().map(|account| (account.as_str(), "-100")));
        turns.push(("noor", "noor"));
        due(&db, &turns).await;
        let one = claim(&db, InstanceId::new(), START).await;
        let (mia, noor) = (person(&db, "mia").await, person(&db, "noor").await);
        let of = |who: PersonId| one.iter().filter(|turn| turn.person == who).count();
        let in_group = one.iter().filter(|turn| turn.chat == chat("-100")).count();
        assert_eq!((of(mia), in_group, of(noor), one.len()), (4, 16, 1, 21));
        // Whoever asks next, also on another instance, finds nothing of theirs before a turn of theirs has ended.
        let other = db.another_instance().await;
        assert!(claim(&other, InstanceId::new(), at(10)).await.is_empty());
        for turn in one.iter().filter(|turn| turn.person == mia).take(2) {
            assert!(db.close_turn(turn, Outcome::Answered, at(10)).await.unwrap());
        }
        let next = claim(&other, InstanceId::new(), at(20)).await;
        assert!(next.len() == 2 && next.iter().all(|turn| turn.person == mia && turn.attempt == 1 && !turn.unsure), "{next:?}");
    }

    async fn those_behind_a_crowd_are_found(db: TestDb) {
        let people: Vec<String> = (0..300).map(|n| format!("of the group {n}")).collect();
        let mut turns: Vec<(&str, &str)> = people.iter().map(|account| (account.as_str(), "-100")).collect();
        turns.push(("noor", "noor"));
        due(&db, &turns).await;
        let shares = Shares::of_slots(8, 8);
        let got = db.claim_turns(InstanceId::new(), &Platform::ALL, START, LEASE, shares).await.unwrap();
        assert_eq!(got.len(), 5, "half of 8 slots for one chat");
        assert!(got.iter().any(|turn| turn.chat == chat("noor")), "{got:?}");
    }

    async fn what_is_answered_beside_the_talk_is_one_at_a_time(db: TestDb) {
        let (mia, dm) = (person(&db, "mia").await, chat("1"));
        for nth in 0..3 {
            let message = MessageRef::new(dm.clone(), nth.to_string());
            let aside = Arrival { atomic: true, aside: true, ..arrival(&message, mia, "{}", START) };
            assert_eq!(db.receive(aside).await.unwrap(), Received::New);
        }
        let first = claim_one(&db, at(1)).await;
        assert_eq!(first.reply_to.as_deref(), Some("0"));
        // Once its answer is known the next one is due, however long its delivery takes.
        assert!(db.answer_turn(&first, "{}", None, at(2)).await.unwrap());
        assert!(db.release_turn(&first, at(50)).await.unwrap());
        let second = claim_one(&db, at(2)).await;
        assert_eq!(second.reply_to.as_deref(), Some("1"));
        assert!(claim(&db, InstanceId::new(), at(3)).await.is_empty());
        assert!(db.close_turn(&second, Outcome::Silent, at(3)).await.unwrap());
        let third = claim_one(&db, at(3)).await;
        assert_eq!(third.reply_to.as_deref(), Some("2"));
        assert!(db.close_turn(&third, Outcome::Answered, at(4)).await.unwrap());
        let again = claim_one(&db, at(50)).await;
        assert_eq!((again.id, again.answer.as_deref(), again.unsure), (first.id, Some("{}"), false), "given back in good order");
    }

    async fn a_lease_that_ran_out_leaves_doubt(db: TestDb) {
        let (mia, dm) = (person(&db, "mia").await, chat("1"));
        says(&db, mia, &dm, "1", START).await;
        assert!(!claim_one(&db, START).await.unsure);
        let second = claim_one(&db, at(40)).await;
        assert!(second.unsure, "whoever had it may have sent something");
        assert!(db.release_turn(&second, at(41)).await.unwrap());
        assert!(claim_one(&db, at(41)).await.unsure, "nobody has found out since");
        let (noor, other) = (person(&db, "noor").await, chat("2"));
        says(&db, noor, &other, "1", at(50)).await;
        let turn = claim_one(&db, at(50)).await;
        assert!(db.release_unsure_turn(&turn, at(51)).await.unwrap());
        assert!(claim_one(&db, at(51)).await.unsure);
    }
}
