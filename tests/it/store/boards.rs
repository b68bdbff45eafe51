//! Boards.

use reelcoach::store::boards::TakenBoard;

use super::*;

async fn one_board(db: &TestDb) -> reelcoach::store::boards::Board {
    let mia = person(db, "mia").await;
    let dm = chat("1");
    let turn = asking_turn(db, mia, &dm, START).await;
    let reels = [code(1), code(2)];
    let wish = Wish {
        turn: turn.id,
        person: mia,
        chat: &dm,
        reply_to: Some("5"),
        placeholder: Some("6"),
        question: "",
        reels: &reels,
        fresh: false,
    };
    db.submit(&wish, LIMITS, &|_| "two reels".into(), START).await.unwrap();
    let mut boards = db.open_boards().await.unwrap();
    assert_eq!(boards.len(), 1);
    boards.remove(0)
}

/// A message in the board's chat.
fn posted_as(id: &str) -> MessageRef {
    MessageRef::new(chat("1"), id)
}

on_both! {
    async fn a_board_shows_what_was_asked(db: TestDb) {
        let board = one_board(&db).await;
        assert_eq!((&board.chat, board.note.as_str()), (&chat("1"), "two reels"));
        assert_eq!((board.reply_to.as_deref(), board.placeholder.as_deref()), (Some("5"), Some("6")));
        assert_eq!((board.message, board.posted_at, board.shown.as_str()), (None, None, ""));
        let codes: Vec<_> = board.reels.iter().map(|reel| reel.shortcode.clone()).collect();
        assert_eq!(codes, [code(1), code(2)]);
        assert!(board.reels.iter().all(|reel| reel.job.is_some()));
    }

    async fn one_of_many_writes_to_a_board(db: TestDb) {
        let board = one_board(&db).await.id;
        let instances = three_instances(&db).await;
        let tasks = (0..16).map(|n| {
            let store = instances[n % 3].clone();
            tokio::spawn(async move { store.begin_posting(board, "", START, at(10)).await.unwrap() })
        });
        assert_eq!(all(tasks).await.into_iter().filter(|mine| *mine).count(), 1);
        assert!(!db.begin_posting(board, "", at(9), at(19)).await.unwrap());
        assert!(db.begin_posting(board, "", at(10), at(20)).await.unwrap(), "whoever had it was lost");
        assert!(db.posted(board, at(20), None).await.unwrap());
        assert!(db.begin_posting(board, "", at(11), at(21)).await.unwrap(), "it could not be posted");
        assert!(!db.posted(board, at(20), Some((&posted_as("66"), "late", at(12)))).await.unwrap(), "a right that has run out");
        assert!(!db.extend_posting(board, at(20), at(30)).await.unwrap(), "nor can it be extended");
        assert!(db.extend_posting(board, at(21), at(31)).await.unwrap());
        assert!(db.posted(board, at(31), Some((&posted_as("77"), "words", at(12)))).await.unwrap());
        let shown = db.open_boards().await.unwrap().remove(0);
        assert_eq!((shown.message.as_deref(), shown.posted_at), (Some("77"), Some(at(12))));
        assert_eq!(shown.shown, "words");
        assert!(!db.begin_posting(board, "", at(12), at(22)).await.unwrap(), "somebody has changed the words since");
        assert!(db.begin_posting(board, "words", at(12), at(22)).await.unwrap());
        db.close_board(board).await.unwrap();
        db.posted(board, at(22), None).await.unwrap();
        assert!(!db.begin_posting(board, "words", at(99), at(100)).await.unwrap());
        assert!(db.open_boards().await.unwrap().is_empty());
    }

    async fn a_person_sees_their_own_boards(db: TestDb) {
        let board = one_board(&db).await;
        let other = person(&db, "noa").await;
        assert_eq!(db.open_boards_of(board.person).await.unwrap().len(), 1);
        assert!(db.open_boards_of(other).await.unwrap().is_empty());
    }

    async fn a_board_is_not_taken_while_it_is_being_posted(db: TestDb) {
        let board = one_board(&db).await.id;
        assert!(db.begin_posting(board, "", START, at(10)).await.unwrap());
        assert_eq!(db.take_board(board, at(9), true).await.unwrap(), TakenBoard::BeingPosted);
        assert_eq!(db.open_boards().await.unwrap().len(), 1);
        assert!(db.posted(board, at(10), Some((&posted_as("77"), "words", at(9)))).await.unwrap());
        let taken = TakenBoard::Taken { message: Some("77".into()), placeholder: Some("6".into()) };
        assert_eq!(db.take_board(board, at(9), true).await.unwrap(), taken);
        assert!(db.open_boards().await.unwrap().is_empty());
        assert_eq!(db.take_board(board, at(9), true).await.unwrap(), taken, "also by the next worker of that turn");
    }

    async fn a_board_whose_poster_was_lost_is_not_taken_before_its_message_is_known(db: TestDb) {
        let board = one_board(&db).await.id;
        assert!(!db.open_boards().await.unwrap()[0].perhaps_posted);
        assert!(db.begin_posting(board, "", START, at(10)).await.unwrap());
        // The process died, and starts again where nobody else works on the database.
        db.release_everything(at(5)).await.unwrap();
        let left = db.open_boards().await.unwrap().remove(0);
        assert!(left.perhaps_posted, "its message may be on screen");
        assert_eq!(db.take_board(board, at(11), true).await.unwrap(), TakenBoard::BeingPosted);
        assert!(db.begin_posting(board, "", at(5), at(20)).await.unwrap(), "it is posted again under its nonce");
        assert!(db.extend_posting(board, at(20), at(6)).await.unwrap(), "it could not be");
        assert_eq!(db.take_board(board, at(11), true).await.unwrap(), TakenBoard::BeingPosted);
        assert!(db.begin_posting(board, "", at(6), at(21)).await.unwrap());
        assert_eq!(db.take_board(board, at(20), false).await.unwrap(), TakenBoard::BeingPosted, "not while it is posted");
        assert!(db.posted(board, at(21), Some((&posted_as("77"), "", at(7)))).await.unwrap());
        assert!(!db.open_boards().await.unwrap()[0].perhaps_posted);
        let taken = TakenBoard::Taken { message: Some("77".into()), placeholder: Some("6".into()) };
        assert_eq!(db.take_board(board, at(11), true).await.unwrap(), taken);
    }

    async fn a_board_that_is_closed_or_was_never_posted_is_taken_without_a_message(db: TestDb) {
        let board = one_board(&db).await.id;
        let taken = TakenBoard::Taken { message: None, placeholder: Some("6".into()) };
        assert_eq!(db.take_board(board, at(1), true).await.unwrap(), taken);
        let closed = "UPDATE boards SET state = 'closed', posting_until = 1";
        db.execute(closed).await;
        assert_eq!(db.take_board(board, at(10), true).await.unwrap(), taken, "nobody posts it again");
    }

    async fn a_board_that_cannot_be_found_is_taken_without_a_message(db: TestDb) {
        let board = one_board(&db).await.id;
        assert!(db.begin_posting(board, "", START, at(10)).await.unwrap());
        assert_eq!(db.take_board(board, at(10), true).await.unwrap(), TakenBoard::BeingPosted);
        let taken = TakenBoard::Taken { message: None, placeholder: Some("6".into()) };
        assert_eq!(db.take_board(board, at(10), false).await.unwrap(), taken);
    }
}
