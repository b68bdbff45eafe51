//! The store, every method on both databases.

mod access;
mod answers;
mod boards;
mod budgets;
mod chats;
mod dropped;
mod fairness;
mod fences;
mod flood;
mod held;
mod instances;
mod joining;
mod jobs;
mod lanes;
mod ledger;
mod memory;
mod moves;
mod opening;
mod overload;
mod people;
mod plans;
mod previous;
mod providers;
mod reels;
mod refused;
mod storm;
mod turns;
mod usage;

use std::time::Duration;

use reelcoach::clock::Timestamp;
use reelcoach::ids::{ChatId, InstanceId, MessageRef, PersonId, Platform, Shortcode, SubscriptionId, TurnId};
use reelcoach::store::Store;
use reelcoach::store::lanes::Lane;
use reelcoach::store::ledger::Entry;
use reelcoach::store::reels::{Cancelled, Claimed, JobEnd, QueueLimits, Submitted, Wish};
use reelcoach::store::turns::{Arrival, Outcome, Received, Turn, TurnKind};

use reelcoach::upstream::{Provider, STARTED, Usage};

use crate::support::TestDb;

/// When the tests begin: 2026-01-01.
const START: Timestamp = Timestamp(1_767_225_600_000);
const LEASE: Duration = Duration::from_secs(30);
const INTERVAL: Duration = Duration::from_secs(30);
const WINDOW: Duration = Duration::from_millis(800);
const PIPELINE: i64 = 1;
const LIMITS: QueueLimits = QueueLimits { interval: INTERVAL, waiting_per_person: 5, waiting: 500, pipeline: PIPELINE };

/// So many seconds after [`START`].
fn at(seconds: u64) -> Timestamp {
    START + Duration::from_secs(seconds)
}

/// So many milliseconds after [`START`].
fn at_ms(millis: u64) -> Timestamp {
    START + Duration::from_millis(millis)
}

fn code(n: u32) -> Shortcode {
    format!("REEL{n:06}").parse().unwrap()
}

fn chat(key: &str) -> ChatId {
    ChatId::new(Platform::Telegram, key)
}

async fn person(store: &Store, account: &str) -> PersonId {
    store.person(Platform::Telegram, account, account, START).await.unwrap()
}

/// A message of a person arrives.
async fn says(store: &Store, person: PersonId, chat: &ChatId, id: &str, at: Timestamp) -> Received {
    let message = MessageRef::new(chat.clone(), id);
    let payload = format!("{{\"text\":\"{id}\"}}");
    store.receive(arrival(&message, person, &payload, at)).await.unwrap()
}

/// A call in the ledger.
fn entry<'a>(key: &'a str, person: PersonId, chat: &'a ChatId, micro_usd: i64, outcome: &'a str) -> Entry<'a> {
    Entry {
        key,
        at: START,
        person,
        chat,
        provider: Provider::OpenAi,
        model: "gpt",
        tool: "coach",
        usage: Usage { estimated: outcome == STARTED, ..Usage::default() },
        micro_usd,
        price_version: "1",
        latency_ms: 1,
        outcome,
    }
}

fn arrival<'a>(message: &'a MessageRef, person: PersonId, payload: &'a str, at: Timestamp) -> Arrival<'a> {
    Arrival {
        message,
        guild: None,
        person,
        payload,
        placeholder: None,
        atomic: false,
        aside: false,
        merge_window: WINDOW,
        limit: None,
        at,
    }
}

/// All due turns, under lease of `who`.
async fn claim(store: &Store, who: InstanceId, now: Timestamp) -> Vec<Turn> {
    let mut turns = store.claim_turns(who, &Platform::ALL, now, LEASE, 1000).await.unwrap();
    turns.sort_by_key(|turn| turn.id);
    turns
}

/// The only due turn.
async fn claim_one(store: &Store, now: Timestamp) -> Turn {
    let mut turns = claim(store, InstanceId::new(), now).await;
    assert_eq!(turns.len(), 1, "{turns:?}");
    turns.remove(0)
}

/// A person's message with reels, claimed: what the submissions of the tests hang on.
async fn asking_turn(store: &Store, person: PersonId, chat: &ChatId, now: Timestamp) -> Turn {
    let id = format!("ask-{}", TurnId::new());
    let received = says(store, person, chat, &id, now).await;
    assert_eq!(received, Received::New);
    let turns = claim(store, InstanceId::new(), now).await;
    turns.into_iter().find(|turn| turn.person == person && turn.chat == *chat).expect("the message made a due turn")
}

/// Submits reels as a turn of its own that needs no inbox row.
async fn submit(store: &Store, person: PersonId, reels: &[u32], now: Timestamp) -> Vec<Submitted> {
    submit_as(store, TurnId::new(), person, reels, now).await
}

async fn submit_as(store: &Store, turn: TurnId, person: PersonId, reels: &[u32], now: Timestamp) -> Vec<Submitted> {
    let chat = chat(&format!("dm-{person}"));
    let reels: Vec<Shortcode> = reels.iter().map(|n| code(*n)).collect();
    let wish = Wish {
        turn,
        person,
        chat: &chat,
        reply_to: Some("17"),
        placeholder: None,
        question: "is the hook\0 any good?",
        reels: &reels,
        fresh: false,
    };
    store.submit(&wish, LIMITS, &|outcomes| format!("{} reels", outcomes.len()), now).await.unwrap()
}

fn queued(seconds: u64) -> Submitted {
    Submitted::Queued { ready_at: at(seconds) }
}

/// `direct` direct lanes, then `n8n` lanes of n8n.
fn lanes(direct: u32, n8n: u32) -> Vec<Lane> {
    let direct = (0..direct).map(Lane::direct);
    let n8n = (0..n8n).map(Lane::n8n);
    direct.chain(n8n).collect()
}

async fn claim_job(store: &Store, now: Timestamp) -> Option<Claimed> {
    store.claim_job(InstanceId::new(), &lanes(2, 0), now, LEASE).await.unwrap()
}

fn done() -> JobEnd {
    JobEnd::Done { content: "{\"transcript\":\"hello\"}".into(), pipeline: PIPELINE, until: at(86_400 * 30) }
}

fn failed(refund: bool) -> JobEnd {
    JobEnd::Failed { content: "\"private\"".into(), pipeline: PIPELINE, until: at(600), refund }
}

/// Takes one reel through the queue until its result is known.
async fn make_known(store: &Store, n: u32, end: &JobEnd, now: Timestamp) {
    let someone = person(store, "the one who asked before").await;
    submit(store, someone, &[n], now).await;
    let later = now + INTERVAL * 10;
    let job = claim_job(store, later).await.expect("a job is ready");
    assert_eq!(job.shortcode, code(n));
    assert!(store.finish_job(&job, end, INTERVAL, now).await.unwrap());
    for turn in claim(store, InstanceId::new(), now).await {
        assert!(store.close_turn(&turn, Outcome::Answered, now).await.unwrap());
    }
}

/// The subscription that a reel turn answers.
fn subscription_of(turn: &Turn) -> SubscriptionId {
    match turn.kind {
        TurnKind::Reel(subscription) => subscription,
        TurnKind::Talk => panic!("a talk turn, not a reel's: {turn:?}"),
    }
}

/// Waits for all tasks and gives their results.
async fn all<T: Send + 'static>(tasks: impl IntoIterator<Item = tokio::task::JoinHandle<T>>) -> Vec<T> {
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.expect("the task ran to its end"));
    }
    results
}

/// The store as three instances have it.
async fn three_instances(db: &TestDb) -> [std::sync::Arc<Store>; 3] {
    [db.store(), db.another_instance().await, db.another_instance().await]
}
