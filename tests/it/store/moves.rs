//! A group gets another id: everything that is kept under the old one goes over, once.

use reelcoach::ids::InstanceId;
use reelcoach::store::budgets::{Scope, Span};
use reelcoach::store::chats::Role;
use reelcoach::store::turns::NewMessage;
use reelcoach::store::turns::memory::Remembered;

use super::*;

const UNTIL: Timestamp = Timestamp(START.0 + 600_000);

/// Says something and has it answered, so that both are remembered.
async fn talk(db: &TestDb, person: PersonId, chat: &ChatId, id: &str, now: Timestamp) {
    says(db, person, chat, id, now).await;
    let turn = claim_one(db, now + WINDOW).await;
    let memory = db.memory(person, &turn.chat, now).await.unwrap();
    let lines = [NewMessage { role: Role::Person, content: id.into() }];
    assert!(db.answer_turn(&turn, "{}", Some(&Remembered::of(memory.conversation, &lines)), now).await.unwrap());
    assert!(db.close_turn(&turn, Outcome::Answered, now).await.unwrap());
}

async fn remembered(db: &TestDb, person: PersonId, chat: &ChatId) -> Vec<String> {
    db.memory(person, chat, at(99)).await.unwrap().lines.into_iter().map(|line| line.content).collect()
}

on_both! {
    async fn all_that_is_kept_of_a_group_goes_over(db: TestDb) {
        let (ana, ben) = (person(&db, "ana").await, person(&db, "ben").await);
        let (old, new) = (chat("-5"), chat("-1005"));
        talk(&db, ana, &old, "bread", at(1)).await;
        talk(&db, ben, &old, "cake", at(2)).await;
        // Ben was quicker than the news of the new id.
        talk(&db, ben, &new, "pie", at(3)).await;
        db.set_budget(&Scope::Chat(old.clone()).name(), Span::Month, Some(70)).await.unwrap();
        db.reserve(&entry("a", ana, &old, 30, STARTED), &[], UNTIL).await.unwrap();
        db.record(entry("b", ana, &old, 20, "ok")).await.unwrap();
        db.record(entry("c", ben, &new, 5, "ok")).await.unwrap();
        let asking = asking_turn(&db, ana, &old, at(4)).await;
        let reels = [code(1)];
        let wish = Wish {
            turn: asking.id,
            person: ana,
            chat: &old,
            reply_to: Some("17"),
            placeholder: None,
            question: "",
            reels: &reels,
            fresh: false,
        };
        db.submit(&wish, LIMITS, &|_| String::new(), at(4)).await.unwrap();
        let board = db.open_boards().await.unwrap().remove(0);
        assert!(db.begin_posting(board.id, "", at(4), at(9)).await.unwrap());
        assert!(db.posted(board.id, at(9), Some((&MessageRef::new(old.clone(), "57"), "words", at(4)))).await.unwrap());

        let instances = three_instances(&db).await;
        let tasks = (0..9).map(|n| {
            let (store, old, new) = (instances[n % 3].clone(), old.clone(), new.clone());
            tokio::spawn(async move { store.move_chat(&old, &new, at(5)).await.unwrap() })
        });
        assert_eq!(all(tasks).await.into_iter().filter(|moved| *moved).count(), 1);
        assert!(!db.move_chat(&new, &old, at(6)).await.unwrap(), "never back");

        for chat in [&new, &old] {
            assert_eq!(remembered(&db, ana, chat).await, ["bread"]);
            assert_eq!(remembered(&db, ben, chat).await, ["cake", "pie"]);
        }
        let board = db.open_boards().await.unwrap().remove(0);
        assert_eq!((&board.chat, board.message, board.reply_to, board.shown.as_str()), (&new, None, None, ""));
        // Whoever posted it meanwhile tells of a message in the old group, or of one in the new.
        assert!(db.begin_posting(board.id, "", at(10), at(19)).await.unwrap());
        let posted = |id| MessageRef::new(old.clone(), id);
        assert!(!db.posted(board.id, at(19), Some((&posted("57"), "words", at(11)))).await.unwrap());
        assert!(db.posted(board.id, at(19), Some((&posted("-1005:58"), "words", at(11)))).await.unwrap());
        assert_eq!(db.reels_of(ana, &new, 9).await.unwrap().len(), 1);
        let spent = async |chat: &ChatId| db.used(&Scope::Chat(chat.clone()), Span::Month, START).await.unwrap().total();
        assert_eq!((spent(&old).await, spent(&new).await), (0, 55));
        // What was under way is written down by somebody who knows the old id alone.
        db.record(entry("a", ana, &old, 10, "ok")).await.unwrap();
        db.record(entry("d", ana, &old, 1, "ok")).await.unwrap();
        assert_eq!((spent(&old).await, spent(&new).await), (0, 36));
        assert_eq!(db.number("SELECT CAST(SUM(micro_usd) AS BIGINT) FROM usage_places WHERE days = 1 AND chat = 'telegram:-1005'", &[]).await, 36);
        assert_eq!(db.standings(ana, &new, &[("chat", Span::Month, 1000)], START).await.unwrap()[0].cap.micro_usd, 70);
        assert_eq!(db.number("SELECT COUNT(*) FROM chats WHERE id = 'telegram:-5'", &[]).await, 0);
        assert!(db.has_spoken(&new).await.unwrap());
        // A second delivery of what was said in the old group is still known for one.
        assert_eq!(says(&db, ana, &old, "bread", at(7)).await, Received::Duplicate);
    }

    async fn an_answer_under_way_wakes_what_waits_behind_it_under_the_new_id(db: TestDb) {
        let ana = person(&db, "ana").await;
        let (old, new) = (chat("-5"), chat("-1005"));
        says(&db, ana, &old, "1", at(1)).await;
        let turn = claim_one(&db, at(2)).await;
        assert!(db.seal_turn(&turn, 1).await.is_ok());
        assert!(db.show_turn(&turn, &["57".into()], None).await.unwrap());
        says(&db, ana, &old, "2", at(3)).await;
        assert!(db.move_chat(&old, &new, at(4)).await.unwrap());
        says(&db, ana, &new, "3", at(5)).await;
        assert_eq!(claim(&db, InstanceId::new(), at(6)).await.len(), 0, "both wait");
        assert!(db.renew_turn(&turn, at(40)).await.unwrap(), "nobody takes it away");
        assert!(db.close_turn(&turn, Outcome::Answered, at(7)).await.unwrap());
        assert!(!db.close_turn(&turn, Outcome::Answered, at(7)).await.unwrap());
        let next = claim_one(&db, at(8)).await;
        assert_eq!((&next.chat, next.reply_to.as_deref()), (&new, None));
        assert!(db.close_turn(&next, Outcome::Answered, at(9)).await.unwrap());
        assert_eq!(claim_one(&db, at(10)).await.chat, new);
    }

    async fn a_chain_of_ids_is_followed(db: TestDb) {
        let ana = person(&db, "ana").await;
        let ids = ["-5", "-6", "-1007"].map(chat);
        talk(&db, ana, &ids[0], "bread", at(1)).await;
        assert!(db.move_chat(&ids[1], &ids[2], at(2)).await.unwrap(), "the second step is told first");
        assert!(db.move_chat(&ids[0], &ids[1], at(3)).await.unwrap());
        for id in &ids {
            assert_eq!(db.current_id(id).await.unwrap(), ids[2]);
            assert_eq!(remembered(&db, ana, id).await, ["bread"]);
            let mut others = db.other_ids(id).await.unwrap();
            others.sort();
            let mut wanted: Vec<ChatId> = ids.iter().filter(|other| *other != id).cloned().collect();
            wanted.sort();
            assert_eq!(others, wanted, "{id}");
        }
        assert_eq!(db.other_ids(&chat("-9")).await.unwrap(), []);
        assert!(!db.move_chat(&ids[2], &ids[0], at(4)).await.unwrap(), "no circle");
        assert!(!db.move_chat(&ids[0], &ids[0], at(4)).await.unwrap());
    }

    async fn the_owner_is_told_once(db: TestDb) {
        let ana = person(&db, "ana").await;
        db.move_chat(&chat("-5"), &chat("-1005"), at(1)).await.unwrap();
        db.move_chat(&chat("-6"), &chat("-1006"), at(2)).await.unwrap();
        let instances = three_instances(&db).await;
        let tasks = (0..9).map(|n| {
            let store = instances[n % 3].clone();
            tokio::spawn(async move {
                let chats = [(ana, chat("42")), (ana, chat("-5"))];
                store.announce_moves(&chats, at(3), |old, new| format!("{old} {new}")).await.unwrap();
            })
        });
        all(tasks).await;
        let turns = claim(&db, InstanceId::new(), at(4)).await;
        let mut told: Vec<(String, String)> = turns.into_iter().map(|turn| (turn.chat.key, turn.answer.unwrap())).collect();
        told.sort();
        let told: Vec<(&str, &str)> = told.iter().map(|(chat, answer)| (chat.as_str(), answer.as_str())).collect();
        let (one, other) = ("telegram:-5 telegram:-1005", "telegram:-6 telegram:-1006");
        assert_eq!(told, [("-1005", one), ("-1005", other), ("42", one), ("42", other)]);
    }
}

#[test]
fn every_table_that_knows_a_chat_goes_over() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/");
    let carried = std::fs::read_to_string(format!("{root}src/store/moves.rs")).unwrap();
    let carried = carried.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut tables = 0;
    for file in std::fs::read_dir(format!("{root}migrations")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let mut table = "";
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("CREATE TABLE ") {
                table = name.trim_end_matches([' ', '(']);
            }
            // The key of a second delivery stays what it was.
            if line.starts_with("chat ") && table != "inbox" {
                let is_carried = carried.contains(&format!("UPDATE {table} SET chat = $2"))
                    || carried.contains(&format!("DELETE FROM {table} WHERE chat = $1"));
                assert!(is_carried, "{table} knows a chat, and src/store/moves.rs does not carry it over");
                tables += 1;
            }
        }
    }
    assert!(tables > 5, "the tables are found");
}
