//! What answers leave in the memory, and questions that are asked once more.

use reelcoach::store::chats::Role;
use reelcoach::store::turns::memory::{Remembered, Retried, Retry};
use reelcoach::store::turns::{NewMessage, Turn};

use super::*;

fn line(role: Role, content: &str) -> NewMessage {
    NewMessage { role, content: content.to_owned() }
}

/// A turn of somebody, claimed.
async fn turn(db: &TestDb, person: PersonId, chat: &ChatId, id: &str) -> Turn {
    says(db, person, chat, id, START).await;
    claim_one(db, START).await
}

/// Ends a turn without an answer, or as `retry` has it.
async fn fails(db: &TestDb, turn: &Turn, question: &str, retry: Retry, replaces: Option<&Turn>) {
    let conversation = db.memory(turn.person, &turn.chat, START).await.unwrap().conversation;
    let lines = [line(Role::Reel, "a reel"), line(Role::Person, question), line(Role::Coach, "no answer")];
    let replaces = replaces.map(|turn| turn.id);
    let remembered = Remembered { retry: Some(retry), replaces, ..Remembered::of(conversation, &lines) };
    assert!(db.answer_turn(turn, "{}", Some(&remembered), START).await.unwrap());
    assert!(db.close_turn(turn, Outcome::Answered, START).await.unwrap());
}

async fn remembered(db: &TestDb, person: PersonId, chat: &ChatId) -> Vec<String> {
    db.memory(person, chat, START).await.unwrap().lines.into_iter().map(|line| line.content).collect()
}

fn contents(retried: &Retried) -> Vec<&str> {
    let Retried::Taken { lines, .. } = retried else { panic!("{retried:?}") };
    lines.iter().map(|line| line.content.as_str()).collect()
}

on_both! {
    async fn a_failed_question_is_taken_once_by_who_asked_it(db: TestDb) {
        let (mia, noor, here, there) = (person(&db, "mia").await, person(&db, "noor").await, chat("1"), chat("2"));
        let failed = turn(&db, mia, &here, "1").await;
        fails(&db, &failed, "why", Retry::Failed, None).await;
        for (who, chat) in [(noor, &here), (mia, &there)] {
            let press = turn(&db, who, chat, "2").await;
            assert_eq!(db.take_retry(failed.id, &press).await.unwrap(), Retried::NotTheirs);
            db.close_turn(&press, Outcome::Answered, START).await.unwrap();
        }
        let press = turn(&db, mia, &here, "3").await;
        let unknown = reelcoach::ids::TurnId::new();
        assert_eq!(db.take_retry(unknown, &press).await.unwrap(), Retried::Gone);
        let taken = db.take_retry(failed.id, &press).await.unwrap();
        assert_eq!(contents(&taken), ["a reel", "why", "no answer"]);
        assert_eq!(db.take_retry(failed.id, &press).await.unwrap(), taken, "whoever goes on with the turn finds it too");
        // Its lines take the place of the failed ones, and it can be asked again itself.
        fails(&db, &press, "why again", Retry::Failed, Some(&failed)).await;
        assert_eq!(remembered(&db, mia, &here).await, ["a reel", "why again", "no answer"]);
        let second = turn(&db, mia, &here, "4").await;
        assert_eq!(db.take_retry(failed.id, &second).await.unwrap(), Retried::Already);
        assert_eq!(contents(&db.take_retry(press.id, &second).await.unwrap()), ["a reel", "why again", "no answer"]);
        fails(&db, &second, "why at last", Retry::Recalled, Some(&press)).await;
        // One that was answered stays.
        let third = turn(&db, mia, &here, "5").await;
        assert!(matches!(db.take_retry(second.id, &third).await.unwrap(), Retried::Taken { failed: false, .. }));
        fails(&db, &third, "fresh", Retry::Failed, Some(&second)).await;
        assert_eq!(remembered(&db, mia, &here).await.len(), 6);
        // A conversation that is over takes its questions with it.
        let fourth = turn(&db, mia, &here, "6").await;
        db.forget(mia, &here, START).await.unwrap();
        assert_eq!(db.take_retry(third.id, &fourth).await.unwrap(), Retried::Gone);
    }

    async fn somebody_with_a_failed_question_is_occupied(db: TestDb) {
        let (mia, here) = (person(&db, "mia").await, chat("1"));
        let free = async |turn: &Turn| db.is_unoccupied(mia, &here, turn.id).await.unwrap();
        let first = turn(&db, mia, &here, "1").await;
        assert!(free(&first).await, "its own turn does not count");
        says(&db, mia, &here, "2", START + WINDOW).await;
        assert!(!free(&first).await, "another one is open");
        fails(&db, &first, "why", Retry::Failed, None).await;
        let second = claim_one(&db, START + WINDOW).await;
        assert!(!free(&second).await, "the one before had no answer");
        db.take_retry(first.id, &second).await.unwrap();
        assert!(free(&second).await, "that is its own question now");
        fails(&db, &second, "why", Retry::Failed, Some(&first)).await;
        db.forget(mia, &here, START).await.unwrap();
        let third = turn(&db, mia, &here, "3").await;
        assert!(free(&third).await, "a new conversation");
        submit(&db, mia, &[1], START).await;
        assert!(!db.is_unoccupied(mia, &chat_of_submissions(&db, mia).await, third.id).await.unwrap(), "a reel is on its way");
    }

    async fn a_question_of_which_nothing_came_can_be_taken_again(db: TestDb) {
        let (mia, here) = (person(&db, "mia").await, chat("1"));
        let failed = turn(&db, mia, &here, "1").await;
        fails(&db, &failed, "why", Retry::Failed, None).await;
        let press = turn(&db, mia, &here, "2").await;
        let taken = db.take_retry(failed.id, &press).await.unwrap();
        let other = Turn { id: reelcoach::ids::TurnId::new(), ..press.clone() };
        assert_eq!(db.take_retry(failed.id, &other).await.unwrap(), Retried::Already, "its answer is on its way");
        db.close_turn(&press, Outcome::Silent, START).await.unwrap();
        let second = turn(&db, mia, &here, "3").await;
        assert_eq!(db.take_retry(failed.id, &second).await.unwrap(), taken);
        fails(&db, &second, "why again", Retry::Failed, Some(&failed)).await;
        let third = turn(&db, mia, &here, "4").await;
        assert_eq!(db.take_retry(failed.id, &third).await.unwrap(), Retried::Already, "it was answered");
    }

    async fn who_keeps_pressing_has_a_short_memory_too(db: TestDb) {
        let (mia, here) = (person(&db, "mia").await, chat("1"));
        for n in 0..30 {
            let failed = turn(&db, mia, &here, &format!("m{n}")).await;
            fails(&db, &failed, &format!("question {n}"), Retry::Failed, None).await;
            let press = turn(&db, mia, &here, &format!("p{n}")).await;
            assert!(matches!(db.take_retry(failed.id, &press).await.unwrap(), Retried::Taken { failed: true, .. }));
            db.close_turn(&press, Outcome::Silent, START).await.unwrap();
        }
        let lines = remembered(&db, mia, &here).await;
        assert_eq!((lines.len(), lines[1].as_str()), (60, "question 10"), "the latest 20");
    }

    async fn nothing_but_failures_leaves_a_short_memory(db: TestDb) {
        let (mia, here) = (person(&db, "mia").await, chat("1"));
        for n in 0..30 {
            let turn = turn(&db, mia, &here, &format!("m{n}")).await;
            fails(&db, &turn, &format!("question {n}"), Retry::Failed, None).await;
        }
        let lines = remembered(&db, mia, &here).await;
        assert_eq!((lines.len(), lines[1].as_str()), (60, "question 10"), "the latest 20");
        assert_eq!(db.number("SELECT COUNT(*) FROM retries", &[]).await, 20);
        while db.sweep(at(1)).await.unwrap() > 0 {}
        assert_eq!(db.number("SELECT COUNT(*) FROM retries", &[]).await, 0);
    }
}

/// The chat in which [`submit`] asks.
async fn chat_of_submissions(db: &TestDb, person: PersonId) -> ChatId {
    let boards = db.open_boards_of(person).await.unwrap();
    boards.first().expect("a board").chat.clone()
}
