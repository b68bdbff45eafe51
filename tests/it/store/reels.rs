//! Asking for reels, and taking the wish back.

use reelcoach::store::reels::{Denied, JobLease, SubscriptionState};

use super::*;

async fn states(db: &TestDb, person: PersonId) -> Vec<(Shortcode, SubscriptionState)> {
    let mut asked: Vec<_> = db
        .reels_of(person, &chat(&format!("dm-{person}")), 100)
        .await
        .unwrap()
        .into_iter()
        .map(|asked| (asked.shortcode, asked.state))
        .collect();
    asked.reverse();
    asked
}

/// The times from which the queued jobs are ready, in the line's order.
async fn ready_times(db: &TestDb) -> Vec<Timestamp> {
    db.line().await.unwrap().into_iter().filter(|job| job.running.is_none()).map(|job| job.ready_at).collect()
}

on_both! {
    async fn a_known_reel_alone_needs_no_board(db: TestDb) {
        make_known(&db, 1, &done(), START).await;
        let boards = db.open_boards().await.unwrap().len();
        let mia = person(&db, "mia").await;
        assert_eq!(submit(&db, mia, &[1], at(10)).await, [Submitted::Cached]);
        assert_eq!(db.open_boards().await.unwrap().len(), boards);
        assert!(states(&db, mia).await.is_empty());
        assert_eq!(db.open_turns().await.unwrap(), 0, "the turn that asked answers");
        // It took none of her time either.
        assert_eq!(submit(&db, mia, &[2], at(10)).await, [queued(10)]);
        assert_eq!(db.reel(&code(1), PIPELINE, at(10)).await.unwrap(), Some(Ok("{\"transcript\":\"hello\"}".into())));
        assert_eq!(db.reel(&code(2), PIPELINE, at(10)).await.unwrap(), None);
    }

    async fn what_is_known_gets_old(db: TestDb) {
        make_known(&db, 1, &done(), START).await;
        make_known(&db, 2, &failed(false), START).await;
        let mia = person(&db, "mia").await;
        assert_eq!(submit(&db, mia, &[2], at(599)).await, [Submitted::Failed("\"private\"".into())]);
        assert_eq!(db.reel(&code(2), PIPELINE, at(599)).await.unwrap(), Some(Err("\"private\"".into())));
        assert_eq!(db.reel(&code(2), PIPELINE, at(600)).await.unwrap(), None);
        assert_eq!(submit(&db, mia, &[2], at(600)).await, [queued(600)]);
        let month = at(86_400 * 30);
        assert_eq!(db.reel(&code(1), PIPELINE, month).await.unwrap(), None);
        assert_eq!(db.reel(&code(1), PIPELINE + 1, at(10)).await.unwrap(), None, "another version made it");
        assert_eq!(submit(&db, mia, &[1], month).await, [Submitted::Queued { ready_at: month }]);
    }

    async fn known_and_new_reels_share_a_board(db: TestDb) {
        make_known(&db, 1, &done(), START).await;
        make_known(&db, 2, &failed(false), START).await;
        for board in db.open_boards().await.unwrap() {
            db.close_board(board.id).await.unwrap();
        }
        let mia = person(&db, "mia").await;
        let outcomes = submit(&db, mia, &[1, 2, 3], at(10)).await;
        assert_eq!(outcomes, [Submitted::Cached, Submitted::Failed("\"private\"".into()), queued(10)]);
        let board = db.open_boards().await.unwrap().remove(0);
        assert_eq!((board.person, board.note.as_str(), board.reply_to.as_deref()), (mia, "3 reels", Some("17")));
        let reels: Vec<_> = board.reels.iter().map(|reel| (&reel.shortcode, reel.state)).collect();
        assert_eq!(reels, [(&code(1), SubscriptionState::Answering), (&code(3), SubscriptionState::Waiting)]);
        assert_eq!((board.reels[0].job, board.reels[1].job.is_some()), (None, true));

        let turn = claim_one(&db, at(10)).await;
        let subscription = db.subscription(subscription_of(&turn)).await.unwrap();
        assert_eq!((subscription.shortcode, subscription.board), (code(1), board.id));
        assert_eq!(subscription.result, Ok("{\"transcript\":\"hello\"}".into()));
        assert_eq!((subscription.on_board, subscription.question.as_str()), (2, "is the hook any good?"));
        assert_eq!(subscription.reply_to.as_deref(), Some("17"));
    }

    async fn several_known_reels_are_answered_one_by_one(db: TestDb) {
        make_known(&db, 1, &done(), START).await;
        make_known(&db, 2, &done(), START).await;
        let mia = person(&db, "mia").await;
        assert_eq!(submit(&db, mia, &[1, 2], at(10)).await, [Submitted::Cached, Submitted::Cached]);
        assert_eq!(claim(&db, InstanceId::new(), at(10)).await.len(), 2);
    }

    async fn a_reel_that_is_in_the_line_is_joined(db: TestDb) {
        let (mia, noor, kim) = (person(&db, "mia").await, person(&db, "noor").await, person(&db, "kim").await);
        assert_eq!(submit(&db, mia, &[1], START).await, [queued(0)]);
        assert_eq!(submit(&db, noor, &[1], at(1)).await, [Submitted::Joined]);
        let job = claim_job(&db, at(2)).await.unwrap();
        assert_eq!(submit(&db, kim, &[1], at(3)).await, [Submitted::Joined], "also while it runs");
        assert_eq!(submit(&db, noor, &[2], at(3)).await, [queued(3)], "joining is free");
        assert_eq!((job.asked_by, &job.chat), (mia, &chat(&format!("dm-{mia}"))));
        assert!(db.finish_job(&job, &done(), INTERVAL, at(20)).await.unwrap());
        let turns = claim(&db, InstanceId::new(), at(20)).await;
        let mut people: Vec<_> = turns.iter().map(|turn| turn.person).collect();
        people.sort();
        let mut expected = vec![mia, noor, kim];
        expected.sort();
        assert_eq!(people, expected);
        assert_eq!(submit(&db, mia, &[1], at(21)).await, [Submitted::Cached]);
    }

    async fn new_reels_of_a_person_are_thirty_seconds_apart(db: TestDb) {
        let (mia, noor) = (person(&db, "mia").await, person(&db, "noor").await);
        assert_eq!(submit(&db, mia, &[1, 2, 3], START).await, [queued(0), queued(30), queued(60)]);
        assert_eq!(submit(&db, noor, &[4], START).await, [queued(0)], "another person's are not");
        assert_eq!(submit(&db, mia, &[5], at(10)).await, [queued(90)]);
        assert_eq!(submit(&db, noor, &[6], at(100)).await, [queued(100)]);
        assert_eq!(db.next_ready().await.unwrap(), Some(START));
    }

    async fn sixteen_submissions_of_one_person_at_once_are_spaced(db: TestDb) {
        // One person, two accounts' platforms, three instances.
        let instances = three_instances(&db).await;
        let mia = person(&db, "mia").await;
        let tasks = (0..16).map(|n: u32| {
            let store = instances[(n % 3) as usize].clone();
            tokio::spawn(async move {
                let platform = if n.is_multiple_of(2) { Platform::Telegram } else { Platform::Discord };
                let chat = ChatId::new(platform, n.to_string());
                let reels = [code(n)];
                let wish = Wish {
                    turn: TurnId::new(),
                    person: mia,
                    chat: &chat,
                    reply_to: None,
                    placeholder: None,
                    question: "",
                    reels: &reels,
                    fresh: false,
                };
                let limits = QueueLimits { waiting_per_person: 16, ..LIMITS };
                store.submit(&wish, limits, &|_| String::new(), START).await.unwrap()
            })
        });
        all(tasks).await;
        let expected: Vec<_> = (0..16).map(|n| at(n * 30)).collect();
        assert_eq!(ready_times(&db).await, expected);
    }

    async fn sixteen_people_at_once_are_not_spaced(db: TestDb) {
        let instances = three_instances(&db).await;
        let tasks = (0..16).map(|n: u32| {
            let store = instances[(n % 3) as usize].clone();
            tokio::spawn(async move {
                let person = person(&store, &n.to_string()).await;
                submit(&store, person, &[n, 99], START).await
            })
        });
        let outcomes = all(tasks).await;
        assert!(outcomes.iter().all(|outcome| outcome[0] == queued(0)), "{outcomes:?}");
        assert_eq!(outcomes.iter().filter(|outcome| outcome[1] == queued(30)).count(), 1, "one asked for it first");
        assert_eq!(outcomes.iter().filter(|outcome| outcome[1] == Submitted::Joined).count(), 15);
        assert_eq!(ready_times(&db).await.len(), 17);
    }

    async fn five_wait_for_a_person_then_no_more(db: TestDb) {
        let (mia, noor) = (person(&db, "mia").await, person(&db, "noor").await);
        submit(&db, mia, &[1, 2, 3, 4, 5], START).await;
        let again = |seconds| [Submitted::Denied(Denied::TooManyWaiting { limit: 5, again_at: at(seconds) })];
        assert_eq!(submit(&db, mia, &[6], START).await, again(30), "not before the next one can begin");
        assert_eq!(submit(&db, noor, &[1], START).await, [Submitted::Joined]);
        assert_eq!(submit(&db, mia, &[1], START).await, [Submitted::Joined], "joining is never denied");
        assert_eq!(states(&db, mia).await.len(), 6, "what is denied leaves nothing");
        let first = claim_job(&db, START).await.unwrap();
        assert_eq!(submit(&db, mia, &[6], at(1)).await, [queued(150)], "one of them is at work now");
        assert_eq!(submit(&db, mia, &[7], at(1)).await, again(31));
        // From the time given on one is taken, if the line moves.
        assert!(db.finish_job(&first, &done(), INTERVAL, at(20)).await.unwrap());
        claim_job(&db, at(31)).await.unwrap();
        assert_eq!(submit(&db, mia, &[7], at(31)).await, [queued(180)]);
        // A later reel of one message is denied while the first is taken.
        let outcomes = submit(&db, noor, &[11, 12, 13, 14, 15], at(31)).await;
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Submitted::Queued { .. })));
        let outcomes = submit(&db, noor, &[16, 3], at(31)).await;
        assert!(matches!(outcomes[..], [Submitted::Denied(_), Submitted::Joined]), "{outcomes:?}");
    }

    async fn a_full_line_takes_no_more(db: TestDb) {
        let limits = QueueLimits { waiting: 3, ..LIMITS };
        let ask = async |n: u32| {
            let person = person(&db, &n.to_string()).await;
            let (chat, reels) = (chat("1"), [code(n)]);
            let wish = Wish {
                turn: TurnId::new(),
                person,
                chat: &chat,
                reply_to: None,
                placeholder: None,
                question: "",
                reels: &reels,
                fresh: false,
            };
            db.submit(&wish, limits, &|_| String::new(), START).await.unwrap()
        };
        for n in 0..3 {
            assert_eq!(ask(n).await, [queued(0)]);
        }
        assert_eq!(ask(3).await, [Submitted::Denied(Denied::LineFull { limit: 3, again_at: at(30) })]);
        assert_eq!(ask(0).await, [Submitted::Joined]);
        claim_job(&db, START).await.unwrap();
        assert_eq!(ask(4).await, [queued(0)]);
    }

    async fn asking_again_for_the_same_turn_changes_nothing(db: TestDb) {
        make_known(&db, 9, &done(), START).await;
        let mia = person(&db, "mia").await;
        let turn = TurnId::new();
        let first = submit_as(&db, turn, mia, &[9, 1, 2], START).await;
        assert_eq!(first, [Submitted::Cached, queued(0), queued(30)]);
        let expected = [Submitted::Cached, Submitted::Joined, Submitted::Joined];
        for _ in 0..2 {
            assert_eq!(submit_as(&db, turn, mia, &[9, 1, 2], at(1)).await, expected);
        }
        assert_eq!(states(&db, mia).await.len(), 3);
        assert_eq!(ready_times(&db).await, [START, at(30)]);
        assert_eq!(claim(&db, InstanceId::new(), at(1)).await.len(), 1, "one turn for the known one");
        assert_eq!(submit(&db, mia, &[3], at(1)).await, [queued(60)]);
        let tasks = (0..8).map(|_| {
            let store = db.store();
            tokio::spawn(async move { submit_as(&store, turn, mia, &[9, 1, 2], at(2)).await })
        });
        assert!(all(tasks).await.into_iter().all(|outcomes| outcomes == expected));
        let board = "SELECT COUNT(*) FROM (SELECT DISTINCT board_id FROM subscriptions WHERE question <> '') b";
        assert_eq!(db.number(board, &[]).await, 3, "the maker's, and one for each of the two messages");
    }

    async fn a_turn_that_asks_again_after_the_end_answers_nothing_twice(db: TestDb) {
        // Its worker died after the submission; meanwhile the reel was done and its own turn was made.
        for end in [done(), failed(true)] {
            let mia = person(&db, &format!("{end:?}")).await;
            let turn = TurnId::new();
            let n = if matches!(end, JobEnd::Done { .. }) { 1 } else { 2 };
            submit_as(&db, turn, mia, &[n], START).await;
            let job = claim_job(&db, START).await.unwrap();
            assert!(db.finish_job(&job, &end, INTERVAL, at(5)).await.unwrap());
            assert_eq!(submit_as(&db, turn, mia, &[n], at(40)).await, [Submitted::Joined], "its result is on the way");
            let reel = claim_one(&db, at(40)).await;
            assert!(db.close_turn(&reel, Outcome::Answered, at(41)).await.unwrap());
            assert_eq!(states(&db, mia).await, [(code(n), SubscriptionState::Answered)]);
        }
    }

    async fn a_turn_that_asks_again_after_a_cancel_revives_nothing(db: TestDb) {
        let mia = person(&db, "mia").await;
        let turn = TurnId::new();
        submit_as(&db, turn, mia, &[1], START).await;
        let job = claim_job(&db, START).await.unwrap();
        assert_eq!(db.cancel(&Cancelled::AllOf(mia), INTERVAL, at(1)).await.unwrap(), [code(1)]);
        submit_as(&db, turn, mia, &[1], at(2)).await;
        assert_eq!(db.renew_job(&job, at(40)).await.unwrap(), JobLease::CancelWanted);
    }

    async fn the_last_one_who_waits_takes_the_job_with_them(db: TestDb) {
        let (mia, noor) = (person(&db, "mia").await, person(&db, "noor").await);
        submit(&db, mia, &[1], START).await;
        submit(&db, noor, &[1], at(1)).await;
        assert_eq!(db.cancel(&Cancelled::AllOf(mia), INTERVAL, at(2)).await.unwrap(), [code(1)]);
        assert_eq!(db.line().await.unwrap().len(), 1, "the second still waits");
        assert_eq!(submit(&db, mia, &[2], at(2)).await, [queued(30)], "no time back for what still runs");
        assert_eq!(db.cancel(&Cancelled::AllOf(noor), INTERVAL, at(3)).await.unwrap(), [code(1)]);
        assert_eq!(ready_times(&db).await, [at(3)], "gone at once, and the first asker's next one moves up");
        assert_eq!(states(&db, noor).await, [(code(1), SubscriptionState::Cancelled)]);
        assert!(db.cancel(&Cancelled::AllOf(noor), INTERVAL, at(3)).await.unwrap().is_empty());
        assert_eq!(db.open_turns().await.unwrap(), 0);
        assert_eq!(submit(&db, noor, &[1], at(4)).await, [queued(4)], "it can be asked for anew");
    }

    async fn the_second_gets_it_though_the_first_took_it_back(db: TestDb) {
        let (mia, noor) = (person(&db, "mia").await, person(&db, "noor").await);
        submit(&db, mia, &[1], START).await;
        submit(&db, noor, &[1], at(1)).await;
        let job = claim_job(&db, at(2)).await.unwrap();
        db.cancel(&Cancelled::AllOf(mia), INTERVAL, at(3)).await.unwrap();
        assert_eq!(db.renew_job(&job, at(40)).await.unwrap(), JobLease::Held);
        assert!(db.finish_job(&job, &done(), INTERVAL, at(20)).await.unwrap());
        let turn = claim_one(&db, at(20)).await;
        assert_eq!(turn.person, noor);
    }

    async fn a_running_job_that_nobody_waits_for_is_told_so(db: TestDb) {
        let mia = person(&db, "mia").await;
        submit(&db, mia, &[1], START).await;
        let job = claim_job(&db, START).await.unwrap();
        assert_eq!(db.renew_job(&job, at(40)).await.unwrap(), JobLease::Held);
        db.cancel(&Cancelled::AllOf(mia), INTERVAL, at(1)).await.unwrap();
        assert_eq!(db.renew_job(&job, at(40)).await.unwrap(), JobLease::CancelWanted);
        // Somebody wants it before the worker has stopped.
        let noor = person(&db, "noor").await;
        assert_eq!(submit(&db, noor, &[1], at(2)).await, [Submitted::Joined]);
        assert_eq!(db.renew_job(&job, at(40)).await.unwrap(), JobLease::Held);
        db.cancel(&Cancelled::AllOf(noor), INTERVAL, at(3)).await.unwrap();
        assert!(db.finish_job(&job, &JobEnd::Cancelled { refund: true }, INTERVAL, at(4)).await.unwrap());
        assert!(db.line().await.unwrap().is_empty());
        assert_eq!(db.open_turns().await.unwrap(), 0);
        assert_eq!(submit(&db, mia, &[2], at(5)).await, [queued(5)], "her time is back");
    }

    async fn one_board_is_taken_back_and_the_other_stays(db: TestDb) {
        let (mia, noor) = (person(&db, "mia").await, person(&db, "noor").await);
        submit(&db, mia, &[1, 2], START).await;
        submit(&db, mia, &[3, 2], START).await;
        let boards = db.open_boards().await.unwrap();
        assert_eq!(boards.len(), 2);
        assert!(db.cancel(&Cancelled::Board(boards[0].id, Some(noor)), INTERVAL, at(1)).await.unwrap().is_empty(), "not hers");
        assert_eq!(db.cancel(&Cancelled::Board(boards[0].id, Some(mia)), INTERVAL, at(1)).await.unwrap(), [code(1), code(2)]);
        assert_eq!(db.line().await.unwrap().len(), 2, "the second reel is waited for on the other board too");
        assert_eq!(
            states(&db, mia).await.into_iter().map(|(_, state)| state).collect::<Vec<_>>(),
            [
                SubscriptionState::Cancelled,
                SubscriptionState::Cancelled,
                SubscriptionState::Waiting,
                SubscriptionState::Waiting
            ]
        );
    }

    async fn time_given_back_moves_the_later_ones_up_and_keeps_them_apart(db: TestDb) {
        let mia = person(&db, "mia").await;
        submit(&db, mia, &[1, 2, 3, 4], START).await;
        let first = claim_job(&db, START).await.unwrap();
        // The second one (at 30 s) is taken back: the third takes its place, the fourth the third's.
        let board = db.open_boards().await.unwrap()[0].id;
        db.execute("UPDATE subscriptions SET state = 'cancelled' WHERE shortcode IN ('REEL000003', 'REEL000004')").await;
        db.execute("UPDATE subscriptions SET job_id = NULL WHERE shortcode = 'REEL000001'").await;
        assert_eq!(db.cancel(&Cancelled::Board(board, Some(mia)), INTERVAL, at(10)).await.unwrap(), [code(2)]);
        assert_eq!(ready_times(&db).await, [at(30), at(60)]);
        assert_eq!(submit(&db, mia, &[5], at(10)).await, [queued(90)]);
        // The first fails before anything was bought: all move up to now, and stay apart.
        assert!(db.finish_job(&first, &failed(true), INTERVAL, at(12)).await.unwrap());
        assert_eq!(ready_times(&db).await, [at(12), at(42), at(72)]);
        // The next, at work since, is kept: what comes after it stays behind it.
        let next = claim_job(&db, at(13)).await.unwrap();
        assert_eq!(next.shortcode, code(3));
        assert_eq!(submit(&db, mia, &[6], at(13)).await, [queued(102)]);
        let orphan = claim_job(&db, at(60)).await.unwrap();
        assert_eq!((&orphan.shortcode, orphan.attempt), (&code(3), 2), "its worker was lost");
        let fourth = claim_job(&db, at(60)).await.unwrap();
        assert_eq!(fourth.shortcode, code(4));
        assert!(db.finish_job(&orphan, &failed(true), INTERVAL, at(61)).await.unwrap());
        assert_eq!(ready_times(&db).await, [at(72), at(102)], "the fourth began at 42 s");
        assert!(db.finish_job(&fourth, &failed(false), INTERVAL, at(62)).await.unwrap());
        assert_eq!(ready_times(&db).await, [at(72), at(102)], "no refund");
    }

    async fn reels_of_a_person_come_newest_first(db: TestDb) {
        let mia = person(&db, "mia").await;
        submit(&db, mia, &[1, 2], START).await;
        submit(&db, mia, &[3], at(5)).await;
        let asked = db.reels_of(mia, &chat(&format!("dm-{mia}")), 2).await.unwrap();
        assert!(db.reels_of(mia, &chat("elsewhere"), 2).await.unwrap().is_empty(), "what is asked elsewhere is nobody's business here");
        let asked: Vec<_> = asked.into_iter().map(|asked| (asked.shortcode, asked.at)).collect();
        assert_eq!(asked, [(code(3), at(5)), (code(2), START)]);
    }
}
