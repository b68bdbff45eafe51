//! Each write that must not be lost, under each way in which a database refuses writes for a while: it is done once the
//! database works again, and what else is wrong with a statement is said at once.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use futures::FutureExt;
use futures::future::BoxFuture;
use reelcoach::ids::{BoardId, ConversationId};
use reelcoach::store::ledger::{Entry, Reserved};
use reelcoach::store::turns::memory::Remembered;
use reelcoach::store::turns::{NewMessage, Sealed, Told};
use reelcoach::store::{Result, StoreError, chats};
use reelcoach::upstream::{BudgetOf, Provider, STARTED, Usage};

use super::*;
use crate::bot::until;
use crate::refusals::{Refusal, Why};

/// What one of the writes is about.
struct Scene {
    nth: usize,
    person: PersonId,
    chat: ChatId,
    turn: Turn,
    job: Claimed,
    board: BoardId,
    /// The message that shows it.
    posted: MessageRef,
    conversation: ConversationId,
    /// Names what is reserved.
    key: String,
}

type Write = for<'a> fn(&'a Store, &'a Scene) -> BoxFuture<'a, Result<bool>>;

/// Every write that is insisted on, by what it is for: whether it was done.
const WRITES: [(&str, Write); 20] = [
    ("reserving a cost", |store, scene| {
        let reserve = async move { store.reserve(&call(scene, "new", STARTED), &[], at(900)).await };
        reserve.map(|reserved| Ok(matches!(reserved?, Reserved::Yes))).boxed()
    }),
    ("writing a cost down", |store, scene| async move { store.record(call(scene, "", "ok")).await }.boxed()),
    ("writing a final cost down", |store, scene| {
        async move { store.confirm_charge(&format!("charge {}", scene.nth), 5, &[]).await.map(|change| change.is_some()) }
            .boxed()
    }),
    ("giving a reserved cost its key", |store, scene| {
        async move { store.rekey(&scene.key, &format!("{}-run", scene.key)).await }.boxed()
    }),
    ("giving a lost cost its run", |store, scene| {
        async move { store.adopt(&scene.key, Timestamp(0), &format!("{}-lost", scene.key), at(9)).await }.boxed()
    }),
    ("taking a reserved cost back", |store, scene| {
        async move { store.unreserve(&scene.key).await.map(|()| true) }.boxed()
    }),
    ("noting what is on screen", |store, scene| {
        async move { store.show_turn(&scene.turn, &["9".to_owned()], None).await }.boxed()
    }),
    ("sealing a turn", |store, scene| async move { Ok(store.seal_turn(&scene.turn, 1).await? == Sealed::Yes) }.boxed()),
    ("storing an answer", |store, scene| {
        async move {
            let lines = [NewMessage { role: chats::Role::Coach, content: "yes".into() }];
            store.answer_turn(&scene.turn, "{}", Some(&Remembered::of(scene.conversation, &lines)), at(5)).await
        }
        .boxed()
    }),
    ("giving a turn back", |store, scene| async move { store.release_turn(&scene.turn, at(9)).await }.boxed()),
    ("closing a turn", |store, scene| {
        async move { store.end_turn(&scene.turn, Outcome::Answered, &Told::default(), at(9)).await }.boxed()
    }),
    ("reading the memory", |store, scene| {
        let elsewhere = chat(&format!("other {}", scene.nth));
        async move { store.memory(scene.person, &elsewhere, at(9)).await.map(|memory| memory.lines.is_empty()) }.boxed()
    }),
    ("storing a summary", |store, scene| {
        async move { store.summarise(scene.conversation, "short", "z").await.map(|()| true) }.boxed()
    }),
    ("reading a budget", |store, scene| async move { store.may_tell(&scene.key, "x", 1, LEASE, at(9)).await }.boxed()),
    ("noting a board", |store, scene| {
        async move { store.posted(scene.board, at(60), Some((&scene.posted, "number 1", at(5)))).await }.boxed()
    }),
    ("noting a paid run", |store, scene| async move { store.note_run(&scene.job, Some("run")).await }.boxed()),
    ("requeueing a job", |store, scene| async move { store.requeue_job(&scene.job, at(9), None).await }.boxed()),
    // Nobody else waits for it: that is what it notes.
    ("passing a job on", |store, scene| {
        async move { Ok(!store.pass_on(&scene.job, BudgetOf::Person, INTERVAL, 5, at(9)).await?) }.boxed()
    }),
    ("ending a job", |store, scene| {
        async move { store.finish_job(&scene.job, &done(), INTERVAL, at(9)).await }.boxed()
    }),
    ("ending a job", |store, scene| {
        async move { store.finish_job(&scene.job, &failed(true), INTERVAL, at(9)).await }.boxed()
    }),
];

fn call<'a>(scene: &'a Scene, key: &'a str, outcome: &'a str) -> Entry<'a> {
    Entry {
        key: if key.is_empty() { &scene.key } else { key },
        at: START,
        person: scene.person,
        chat: &scene.chat,
        provider: Provider::OpenAi,
        model: "gpt",
        tool: "coach",
        usage: Usage::default(),
        micro_usd: 7,
        price_version: "1",
        latency_ms: 0,
        outcome,
    }
}

async fn scenes(db: &TestDb, round: usize) -> Vec<Scene> {
    let mut scenes = Vec::new();
    for nth in round * WRITES.len()..(round + 1) * WRITES.len() {
        let person = person(db, &format!("person {nth}")).await;
        let chat = chat(&format!("dm {nth}"));
        let turn = asking_turn(db, person, &chat, START).await;
        let known: BTreeSet<String> =
            db.open_boards().await.unwrap().iter().map(|board| board.id.to_string()).collect();
        submit(db, person, &[nth as u32], START).await;
        let boards = db.open_boards().await.unwrap();
        let board = boards.iter().find(|board| !known.contains(&board.id.to_string())).unwrap();
        let posted = MessageRef::new(board.chat.clone(), "17");
        let board = board.id;
        assert!(db.begin_posting(board, "", START, at(60)).await.unwrap());
        let lanes: Vec<Lane> = (0..200).map(Lane::direct).collect();
        let job = db.claim_job(InstanceId::new(), &lanes, START, LEASE).await.unwrap().unwrap();
        assert_eq!(job.shortcode, code(nth as u32));
        let conversation = db.memory(person, &chat, START).await.unwrap().conversation;
        let scene = Scene { nth, person, chat, turn, job, board, posted, conversation, key: format!("call {nth}") };
        db.reserve(&call(&scene, "", STARTED), &[], at(900)).await.unwrap();
        let charge = format!("charge {nth}");
        db.settle(call(&scene, &charge, "ok"), &[], Some(at(900))).await.unwrap().expect("it is new");
        scenes.push(scene);
    }
    scenes
}

/// Refuses every write, lets all of them be tried, and ends it.
async fn refused(db: &TestDb, why: Why, round: usize) {
    let mut tries = Vec::new();
    // Each by a store of its own where SQLite's lock is waited for, so that none waits behind another one.
    let is_alone = matches!(why, Why::Busy | Why::Locked | Why::ReadOnly);
    for scene in scenes(db, round).await {
        let store = match is_alone {
            false => db.store(),
            true => Arc::new(Store::open(&format!("{}{}", db.url, why.meanwhile()), 1).await.unwrap()),
        };
        tries.push((scene, Arc::new(Mutex::new(store)), Arc::new(Mutex::new(BTreeSet::<String>::new()))));
    }
    let stores: Vec<_> = tries.iter().map(|(_, store, _)| store.clone()).collect();
    let refusal = Refusal::begin(db, why).await;
    let mut running = Vec::new();
    for ((name, write), (scene, store, errors)) in WRITES.into_iter().zip(tries) {
        let (seen, insisting) = (errors.clone(), db.store());
        let run = tokio::spawn(async move {
            let once = async || {
                let store = store.lock().unwrap().clone();
                let result = write(&store, &scene).await;
                if let Err(error) = &result {
                    seen.lock().unwrap().insert(error.to_string());
                }
                result
            };
            insisting.insist(name, once).await
        });
        running.push((name, run, errors));
    }
    for (name, run, errors) in &running {
        until(&format!("{why:?}: {name} is refused"), async || {
            assert!(!run.is_finished(), "{why:?}: {name} gave up: {errors:?}");
            errors.lock().unwrap().iter().any(|error| why.is(error))
        })
        .await;
    }
    refusal.end().await;
    if why == Why::ReadOnly {
        // The file can be written to again.
        stores.iter().for_each(|store| *store.lock().unwrap() = db.store());
    }
    for (name, run, errors) in running {
        let done = tokio::time::timeout(Duration::from_secs(60), run).await.expect(name).unwrap();
        assert!(matches!(done, Ok(true)), "{why:?}: {name}: {done:?} after {errors:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_sqlite_refuses_for_a_while_is_done_afterwards() {
    let whys = [Why::Busy, Why::Locked, Why::ReadOnly, Why::IoError, Why::Full, Why::CannotOpen];
    let each = whys.map(async |why| {
        let db = TestDb::sqlite_opened(why.parameters()).await;
        refused(&db, why, 0).await;
        // Not only those that were refused: the database is whole.
        assert_eq!(db.text("PRAGMA integrity_check").await, "ok", "{why:?}");
    });
    futures::future::join_all(each).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_postgresql_refuses_for_a_while_is_done_afterwards() {
    let read_only = async {
        let db = TestDb::postgres().await;
        refused(&db, Why::ReadOnlySessions, 0).await;
    };
    let raised = async {
        let db = TestDb::postgres().await;
        let codes = ["40001", "40P01", "53100", "53300", "55P03", "57014", "58030", "08006", "25006"];
        for (round, code) in codes.into_iter().enumerate() {
            refused(&db, Why::Raised(code), round).await;
        }
    };
    tokio::join!(read_only, raised);
}

on_both! {
    /// The answer to a write may be lost although it was done: repeated, it is done once, and said to be.
    async fn a_write_may_be_repeated(db: TestDb) {
        let scenes = scenes(&db, 0).await;
        let (reserve, answer) = (&scenes[0], &scenes[1]);
        let caps = [("person", reelcoach::store::budgets::Span::Day, 21)];
        for _ in 0..2 {
            let reserved = db.reserve(&call(reserve, "new", STARTED), &caps, at(900)).await.unwrap();
            assert!(matches!(reserved, Reserved::Yes), "{reserved:?}");
        }
        let other = db.reserve(&call(reserve, "other", STARTED), &caps, at(900)).await.unwrap();
        assert!(matches!(other, Reserved::Over(_)), "{other:?}");
        let lines = [NewMessage { role: chats::Role::Coach, content: "yes".into() }];
        for _ in 0..2 {
            assert!(db.answer_turn(&answer.turn, "{}", Some(&Remembered::of(answer.conversation, &lines)), at(5)).await.unwrap());
        }
        assert!(!db.answer_turn(&answer.turn, "another", None, at(6)).await.unwrap());
        assert_eq!(db.number("SELECT COUNT(*) FROM messages", &[]).await, 1);
    }
}

/// Of what is insisted on, only this writes nothing.
const ONLY_READS: &str = "reading a limit";

#[test]
fn every_place_that_insists_is_here() {
    let mut missing = BTreeSet::new();
    let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for call in text.split(".insist(").skip(1) {
                let Some(label) = call.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next()) else {
                    continue;
                };
                if label != ONLY_READS && WRITES.iter().all(|(name, _)| *name != label) {
                    missing.insert(label.to_owned());
                }
            }
        }
    }
    assert!(missing.is_empty(), "add them to WRITES, so that each is tried while the database refuses it: {missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_pass_is_said_at_once() {
    let db = TestDb::postgres().await;
    for (round, code) in ["23505", "42501", "22003", "XX001", "25P02"].into_iter().enumerate() {
        let scenes = scenes(&db, round).await;
        let refusal = Refusal::begin(&db, Why::Raised(code)).await;
        for ((name, write), scene) in WRITES.iter().zip(&scenes) {
            let error = db.insist(name, || write(&db, scene)).await.expect_err(name);
            assert!(matches!(error, StoreError::Query(_)) && !error.is_outage(), "{name}: {error}");
        }
        refusal.end().await;
    }
    db.close().await;
    let closed = db.insist("anything", || db.check_writes(START)).await.expect_err("it is closed");
    assert!(!closed.is_outage(), "{closed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_takes_no_writes_is_seen() {
    let db = TestDb::sqlite().await;
    let read_only = Store::open(&format!("{}{}", db.url, Why::ReadOnly.meanwhile()), 1).await.unwrap();
    let error = read_only.check_writes(START).await.expect_err("it is refused");
    assert!(error.is_outage() && Why::ReadOnly.is(&error.to_string()), "{error}");
    let sqlite = [Why::Busy, Why::Locked, Why::IoError, Why::Full, Why::CannotOpen];
    let each = sqlite.map(async |why| {
        let db = TestDb::sqlite_opened(why.parameters()).await;
        takes_no_writes(&db, why).await;
    });
    let postgres = async {
        let db = TestDb::postgres().await;
        takes_no_writes(&db, Why::ReadOnlySessions).await;
        takes_no_writes(&db, Why::Raised("53100")).await;
    };
    tokio::join!(futures::future::join_all(each), postgres);
}

async fn takes_no_writes(db: &TestDb, why: Why) {
    db.check_writes(START).await.unwrap();
    let refusal = Refusal::begin(db, why).await;
    let error = db.check_writes(at(1)).await.expect_err("it is refused");
    assert!(error.is_outage(), "{why:?}: {error}");
    refusal.end().await;
    until(&format!("{why:?} is over"), async || db.check_writes(at(2)).await.is_ok()).await;
}
