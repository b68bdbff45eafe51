//! Whatever happens in whatever order: the queue's invariants hold, and everyone is answered once.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use reelcoach::ids::Platform;

use super::*;

const LANES: u32 = 3;
const PEOPLE: usize = 5;
const REELS: u32 = 9;

/// Each counts rows that break a rule.
const INVARIANTS: &[(&str, &str)] = &[
    (
        "more jobs at work than lanes, or two on one lane",
        "SELECT COUNT(*) - COUNT(DISTINCT lane) + (CASE WHEN COUNT(*) > 3 THEN 1 ELSE 0 END) \
         FROM jobs WHERE state = 'running' AND leased_until > $1",
    ),
    (
        "the count of the line is wrong",
        "SELECT ABS((SELECT COUNT(*) FROM jobs WHERE state = 'queued') - waiting) FROM line",
    ),
    (
        "two live jobs for one reel",
        "SELECT COUNT(*) - COUNT(DISTINCT shortcode) FROM jobs WHERE state IN ('queued', 'running')",
    ),
    (
        "somebody waits for a job that has ended",
        "SELECT COUNT(*) FROM subscriptions s JOIN jobs j ON j.id = s.job_id \
         WHERE s.state = 'waiting' AND j.state NOT IN ('queued', 'running')",
    ),
    (
        "a job is in the line and nobody waits for it",
        "SELECT COUNT(*) FROM jobs j WHERE j.state = 'queued' AND NOT EXISTS \
         (SELECT 1 FROM subscriptions s WHERE s.job_id = j.id AND s.state = 'waiting')",
    ),
    (
        "a job runs, nobody waits for it, and its worker is not told",
        "SELECT COUNT(*) FROM jobs j WHERE j.state = 'running' AND NOT j.cancel AND NOT EXISTS \
         (SELECT 1 FROM subscriptions s WHERE s.job_id = j.id AND s.state = 'waiting')",
    ),
    (
        "a result that is owed has not exactly one turn, or one that is not owed has one",
        "SELECT COUNT(*) FROM subscriptions s WHERE (SELECT COUNT(*) FROM turns t WHERE t.subscription_id = s.id) <> \
         CASE WHEN s.state IN ('answering', 'answered') THEN 1 ELSE 0 END",
    ),
    (
        "a result's turn is closed and the result still owed, or the other way round",
        "SELECT COUNT(*) FROM subscriptions s JOIN turns t ON t.subscription_id = s.id \
         WHERE (t.state = 'closed') <> (s.state = 'answered')",
    ),
    (
        "two new reels of one person are less than 30 s apart",
        "SELECT COUNT(*) FROM jobs a JOIN jobs b ON b.asked_by = a.asked_by AND b.id <> a.id \
         WHERE b.slot_at >= a.slot_at AND b.slot_at < a.slot_at + 30000",
    ),
    (
        "the next reel of a person would be less than 30 s after another",
        "SELECT COUNT(*) FROM jobs j JOIN people p ON p.id = j.asked_by WHERE j.slot_at > p.next_reel_at - 30000",
    ),
    (
        "a reel is ready before its time",
        "SELECT COUNT(*) FROM jobs WHERE state = 'queued' AND attempt = 0 AND ready_at <> slot_at",
    ),
    (
        "more than five new reels wait for a person",
        "SELECT COUNT(*) FROM (SELECT asked_by FROM jobs WHERE state = 'queued' AND attempt = 0 \
         GROUP BY asked_by HAVING COUNT(*) > 5) p",
    ),
    (
        "all turns of a talk are asleep",
        "SELECT COUNT(*) FROM (SELECT person_id FROM turns WHERE state <> 'closed' GROUP BY person_id, chat \
         HAVING MIN(due_at) > 9000000000000) t",
    ),
];

/// With a clock that others move meanwhile, what depends on it only counts where it stood still.
async fn check(db: &TestDb, clock: &AtomicI64, context: &str) {
    let now = clock.load(Ordering::SeqCst);
    let all: Vec<String> = INVARIANTS.iter().map(|(_, broken)| format!("({broken})")).collect();
    if db.number(&format!("SELECT {}", all.join(" + ")), &[now]).await == 0 || clock.load(Ordering::SeqCst) != now {
        return;
    }
    for (rule, broken) in INVARIANTS {
        let count = db.number(broken, if broken.contains("$1") { std::slice::from_ref(&now) } else { &[] }).await;
        assert_eq!(count, 0, "{rule} ({context})");
    }
    panic!("a rule was broken for a moment ({context})");
}

/// One who asks, works, takes back, and is sometimes lost, at random.
struct Actor {
    rng: StdRng,
    store: Arc<Store>,
    who: InstanceId,
    people: Vec<PersonId>,
    now: Arc<AtomicI64>,
    /// The latest leases taken, also such as are lost by now.
    jobs: Vec<Claimed>,
    turns: Vec<Turn>,
}

impl Actor {
    fn now(&self) -> Timestamp {
        Timestamp(self.now.load(Ordering::SeqCst))
    }

    /// Does one thing and says what.
    async fn step(&mut self) -> String {
        let now = self.now();
        let person = *self.people.choose(&mut self.rng).expect("there are people");
        match self.rng.random_range(0..100) {
            0..22 => {
                let reels: Vec<u32> = rand::seq::index::sample(&mut self.rng, REELS as usize, 3)
                    .iter()
                    .map(|n| u32::try_from(n).expect("below REELS"))
                    .collect();
                let reels = &reels[..self.rng.random_range(1..=3)];
                let outcomes = submit(&self.store, person, reels, now).await;
                format!("{person:?} asks for {reels:?}: {outcomes:?}")
            }
            22..46 => {
                let mut lanes = lanes(LANES - 1, 1);
                lanes.rotate_left(self.rng.random_range(0..3));
                let job = self.store.claim_job(self.who, &lanes, now, LEASE).await.unwrap();
                let said = format!("{:?} claims {job:?}", self.who);
                self.jobs.extend(job);
                forget_all_but(5, &mut self.jobs);
                said
            }
            46..56 => {
                let Some(job) = self.jobs.choose(&mut self.rng).cloned() else { return "idles".into() };
                let end = match self.rng.random_range(0..4) {
                    // Old soon, so that reels are asked for anew.
                    0 | 1 => JobEnd::Done { content: "{}".into(), pipeline: PIPELINE, until: now + LEASE },
                    2 => JobEnd::Failed {
                        content: "{}".into(),
                        pipeline: PIPELINE,
                        until: now,
                        refund: self.rng.random(),
                    },
                    _ => JobEnd::Cancelled { refund: self.rng.random() },
                };
                // A worker ends a job as cancelled only when it is told to.
                if matches!(end, JobEnd::Cancelled { .. })
                    && self.store.renew_job(&job, now + LEASE).await.unwrap()
                        != reelcoach::store::reels::JobLease::CancelWanted
                {
                    return "goes on".into();
                }
                let done = self.store.finish_job(&job, &end, INTERVAL, now).await.unwrap();
                format!("finishes {job:?} with {end:?}: {done}")
            }
            56..68 => {
                let Some(job) = self.jobs.choose(&mut self.rng).cloned() else { return "idles".into() };
                let lease = self.store.renew_job(&job, now + LEASE).await.unwrap();
                format!("renews {job:?}: {lease:?}")
            }
            68..71 => {
                let Some(job) = self.jobs.choose(&mut self.rng).cloned() else { return "idles".into() };
                self.store.note_run(&job, Some("run")).await.unwrap();
                let failed_on = ["direct", "n8n:0", ""].choose(&mut self.rng).copied().filter(|name| !name.is_empty());
                let done = self.store.requeue_job(&job, now + Duration::from_secs(5), failed_on).await.unwrap();
                format!("puts back {job:?}: {done}")
            }
            71..78 => {
                let codes = self.store.cancel(&Cancelled::AllOf(person), INTERVAL, now).await.unwrap();
                format!("{person:?} takes back {codes:?}")
            }
            78..84 => {
                let id = self.rng.random_range(0..1_000_000).to_string();
                let received = says(&self.store, person, &chat(&format!("dm-{person}")), &id, now).await;
                format!("{person:?} says {id}: {received:?}")
            }
            84..92 => {
                let turns = self.store.claim_turns(self.who, &Platform::ALL, now, LEASE, 2).await.unwrap();
                for turn in turns {
                    if matches!(turn.kind, TurnKind::Talk) || !self.store.park_turn(&turn).await.unwrap() {
                        self.turns.push(turn);
                    }
                }
                forget_all_but(5, &mut self.turns);
                "claims turns".into()
            }
            92..96 => {
                let Some(turn) = self.turns.choose(&mut self.rng).cloned() else { return "idles".into() };
                let closed = self.store.close_turn(&turn, Outcome::Answered, now).await.unwrap();
                format!("closes {turn:?}: {closed}")
            }
            _ => {
                let millis = self.rng.random_range(0..40_000);
                self.now.fetch_add(millis, Ordering::SeqCst);
                format!("{millis} ms pass")
            }
        }
    }
}

fn forget_all_but<T>(n: usize, latest: &mut Vec<T>) {
    latest.drain(..latest.len().saturating_sub(n));
}

async fn actor(db: &TestDb, seed: u64, store: Arc<Store>, now: &Arc<AtomicI64>) -> Actor {
    let mut people = Vec::new();
    for n in 0..PEOPLE {
        people.push(person(db, &n.to_string()).await);
    }
    Actor {
        rng: StdRng::seed_from_u64(seed),
        store,
        who: InstanceId::new(),
        people,
        now: now.clone(),
        jobs: Vec::new(),
        turns: Vec::new(),
    }
}

/// Workers that are never lost do all that is left; then nothing is.
async fn drain(db: &TestDb, mut now: Timestamp) {
    let who = InstanceId::new();
    for _ in 0..10_000 {
        now = now + LEASE;
        while let Some(job) = db.claim_job(who, &lanes(LANES - 1, 1), now, LEASE).await.unwrap() {
            let lease = db.renew_job(&job, now + LEASE).await.unwrap();
            let end = match lease {
                reelcoach::store::reels::JobLease::Held => done(),
                _ => JobEnd::Cancelled { refund: true },
            };
            assert!(db.finish_job(&job, &end, INTERVAL, now).await.unwrap());
        }
        for turn in claim(db, who, now).await {
            if matches!(turn.kind, TurnKind::Talk) || !db.park_turn(&turn).await.unwrap() {
                assert!(db.close_turn(&turn, Outcome::Answered, now).await.unwrap());
            }
        }
        if db.line().await.unwrap().is_empty() && db.open_turns().await.unwrap() == 0 {
            check(db, &AtomicI64::new(now.0), "at the end").await;
            let owed = "SELECT COUNT(*) FROM subscriptions WHERE state IN ('waiting', 'answering')";
            assert_eq!(db.number(owed, &[]).await, 0);
            let ended = "SELECT COUNT(*) FROM jobs WHERE state IN ('done', 'failed')";
            assert!(db.number(ended, &[]).await > 5, "the storm did something");
            return;
        }
    }
    panic!("the queue does not come to its end");
}

on_both! {
    async fn one_thing_after_another(db: TestDb) {
        for seed in 20..32 {
            let now = Arc::new(AtomicI64::new(at(seed * 100_000).0));
            let mut actor = actor(&db, seed, db.store(), &now).await;
            let mut story = Vec::new();
            for _ in 0..150 {
                story.push(actor.step().await);
                let latest = &story[story.len().saturating_sub(12)..];
                check(&db, &now, &format!("seed {seed}, after:\n{}", latest.join("\n"))).await;
            }
            drain(&db, actor.now()).await;
            for everything in ["messages", "conversations", "inbox", "subscriptions", "boards", "turns", "jobs", "reels"] {
                db.empty(everything).await;
            }
        }
    }

    async fn all_at_once(db: TestDb) {
        let instances = three_instances(&db).await;
        let now = Arc::new(AtomicI64::new(START.0));
        let mut tasks = Vec::new();
        for n in 0..12_u64 {
            let mut actor = actor(&db, 1000 + n, instances[(n % 3) as usize].clone(), &now).await;
            tasks.push(tokio::spawn(async move {
                for _ in 0..40 {
                    actor.step().await;
                }
            }));
        }
        while tasks.iter().any(|task| !task.is_finished()) {
            check(&db, &now, "in the middle").await;
        }
        all(tasks).await;
        check(&db, &now, "after the storm").await;
        drain(&db, Timestamp(now.load(Ordering::SeqCst))).await;
    }
}
