//! What goes wrong during a run, by the seed: refusals, broken streams, slow upstreams, lost connections, the database,
//! and the death of an instance. Owns what, when, and the record of what did happen; what must hold all the same is
//! `check`'s.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::crowd::Crowd;
use super::proxy::Path;
use super::stage::{Clock, Stage};
use sandbox::hand::{At, Trouble};

/// How much goes wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Faults {
    #[default]
    None,
    /// 429s, 5xx, cut streams, slow upstreams, redelivered updates, gateway reconnects.
    Light,
    /// The same more often, requests that are carried out but not answered, a database that refuses writes, an instance
    /// that stands still for a minute, a kill -9, a clock that is 30 s off; on PostgreSQL also an outage of the database.
    /// There two instances run, and what starts after the kill has the wrong clock; on SQLite the only one has it.
    Heavy,
}

impl Faults {
    /// Of a hundred messages, so many are delivered twice.
    pub fn twice(self) -> f64 {
        match self {
            Faults::None => 0.0,
            Faults::Light => 0.1,
            Faults::Heavy => 0.2,
        }
    }

    /// Whether an instance is to die.
    pub fn kill(self) -> bool {
        self == Faults::Heavy
    }

    /// Between two of them.
    fn pause(self) -> Duration {
        Duration::from_millis(if self == Faults::Heavy { 150 } else { 400 })
    }
}

/// How long the database is gone, and how long it takes no writes.
const OUTAGE: Duration = Duration::from_secs(2);
const REFUSAL: Duration = Duration::from_secs(4);

/// How long an instance stands still: longer than any lease.
const FREEZE: Duration = Duration::from_secs(60);

/// After the death of an instance the next one starts.
const RESTART: Duration = Duration::from_secs(1);

/// What is to happen when which part of the load is through.
const OUTAGE_AT: f64 = 0.1;
const REFUSAL_AT: f64 = 0.2;
const FREEZE_AT: f64 = 0.3;

/// An instance dies so soon after somebody began to wait.
const DEATH: Duration = Duration::from_millis(300);

/// What did go wrong on purpose.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Happened {
    /// Outages of the database.
    pub outages: usize,
    /// Times it took no writes for a while.
    pub refusals: usize,
    /// For each instance that stood still, and for each kill -9, how many messages had no answer at that moment.
    pub freezes: Vec<usize>,
    pub kills: Vec<usize>,
    /// An instance had a clock that was so many seconds ahead.
    pub clock_ahead: Option<u64>,
    /// Messages that their platform delivered twice.
    pub delivered_twice: usize,
    /// How many requests met which fault; by service and kind.
    pub troubles: BTreeMap<String, usize>,
    /// What was asked for and did not happen, and why.
    pub left_out: Vec<&'static str>,
}

impl Happened {
    /// Whether anything failed: a message that comes twice is no failure.
    pub fn is_anything(&self) -> bool {
        let is_large = self.outages + self.refusals + self.freezes.len() + self.kills.len() > 0;
        is_large || self.clock_ahead.is_some() || !self.troubles.is_empty()
    }

    /// In one line.
    pub fn told(&self) -> String {
        let mut all = Vec::new();
        if self.outages > 0 {
            all.push(format!("{} outage of the database for {} s", self.outages, OUTAGE.as_secs()));
        }
        if self.refusals > 0 {
            all.push(format!("{} time without writes for {} s", self.refusals, REFUSAL.as_secs()));
        }
        let still = FREEZE.as_secs();
        all.extend(self.freezes.iter().map(|owed| format!("1 instance still for {still} s with {owed} answers owed")));
        all.extend(self.kills.iter().map(|owed| format!("1 kill -9 with {owed} answers owed")));
        all.extend(self.clock_ahead.map(|seconds| format!("1 clock {seconds} s ahead")));
        if self.delivered_twice > 0 {
            all.push(format!("{} messages delivered twice", self.delivered_twice));
        }
        all.extend(self.troubles.iter().map(|(what, times)| format!("{times} x {what}")));
        let mut line = if all.is_empty() { "nothing went wrong".to_owned() } else { all.join(", ") };
        for left_out in &self.left_out {
            // Writing to a String cannot fail.
            let _ = write!(line, "; left out: {left_out}");
        }
        line
    }
}

/// So much of the load goes out before an instance that stood still goes on, so much before one dies, and then the rest:
/// there is always somebody who waits.
const BEFORE_THAW: f64 = 0.5;
const BEFORE_DEATH: f64 = 0.75;

/// After so long an instance dies also if nobody waits.
const NOBODY: Duration = Duration::from_secs(5);

/// What goes wrong for long in a run: when it is due, and how much of the load waits for its end.
pub struct Course {
    faults: Faults,
    seed: u64,
    /// How much of the load is through, 0 to 1.
    through: watch::Sender<f64>,
    /// How much of it may go out by now; all of it once everything is over.
    gate: watch::Sender<f64>,
    happened: Mutex<Happened>,
}

impl Course {
    pub fn new(faults: Faults, seed: u64) -> Course {
        let gate = watch::Sender::new(if faults.kill() { BEFORE_THAW } else { 1.0 });
        Course { faults, seed, through: watch::Sender::new(0.0), gate, happened: Mutex::default() }
    }

    /// So much of the load is through, 0 to 1.
    pub fn reached(&self, part: f64) {
        self.through.send_if_modified(|through| {
            let is_more = part > *through;
            *through = through.max(part);
            is_more
        });
    }

    pub fn is_over(&self) -> bool {
        *self.gate.borrow() >= 1.0
    }

    /// Until all that is to go wrong for long is over.
    pub async fn over(&self) {
        // It fails only without a sender, and this is one.
        let _ = self.gate.subscribe().wait_for(|gate| *gate >= 1.0).await;
    }

    /// Until that part of the load may go out, 0 to 1.
    pub async fn let_out(&self, part: f64) {
        // It fails only without a sender, and this is one.
        let _ = self.gate.subscribe().wait_for(|gate| *gate >= 1.0 || part < *gate).await;
    }

    /// What has happened to this side of the sandbox.
    pub fn happened(&self) -> Happened {
        let mut happened = self.lock().clone();
        if self.faults.kill() && happened.kills.is_empty() {
            happened.left_out.push("the kill -9 (the load was stopped before)");
        }
        happened
    }

    /// An instance was killed while so many answers were owed.
    pub fn killed(&self, owed: usize) {
        self.lock().kills.push(owed);
    }

    /// Makes trouble until it is dropped.
    pub async fn run(&self, stage: &Stage, crowd: &Crowd) -> anyhow::Result<()> {
        if self.faults == Faults::None {
            return std::future::pending().await;
        }
        tokio::select! {
            failed = self.small(stage) => failed,
            failed = self.large(stage, crowd) => failed,
        }
    }

    async fn small(&self, stage: &Stage) -> anyhow::Result<()> {
        let mut random = StdRng::seed_from_u64(self.seed ^ 0x000f_a117);
        loop {
            tokio::time::sleep(self.faults.pause()).await;
            stage.reach.trouble(&one(self.faults, &mut random)).await?;
        }
    }

    async fn large(&self, stage: &Stage, crowd: &Crowd) -> anyhow::Result<()> {
        if !self.faults.kill() {
            return std::future::pending().await;
        }
        match &stage.proxy {
            Some(proxy) => {
                self.until(OUTAGE_AT).await;
                proxy.set(Path::Cut).await;
                self.lock().outages += 1;
                tokio::time::sleep(OUTAGE).await;
                proxy.set(Path::Open).await;
            }
            None => self.lock().left_out.push("the outage of the database (SQLite has no server)"),
        }
        self.until(REFUSAL_AT).await;
        stage.refuse_writes(true).await?;
        self.lock().refusals += 1;
        tokio::time::sleep(REFUSAL).await;
        stage.refuse_writes(false).await?;
        self.until(FREEZE_AT).await;
        let owed = crowd.owed();
        if let Some(frozen) = stage.freeze_bot()? {
            self.lock().freezes.push(owed);
            tokio::time::sleep(FREEZE).await;
            drop(frozen);
        }
        self.gate.send_replace(BEFORE_DEATH);
        let began = Instant::now();
        while began.elapsed() < NOBODY && crowd.owed() == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // While their answers are being made.
        tokio::time::sleep(DEATH).await;
        let owed = crowd.owed();
        if stage.kill_bot() {
            self.killed(owed);
            tokio::time::sleep(RESTART).await;
            stage.start_bot(Clock::Wrong).await?;
        }
        self.note_clock(stage.clock_ahead());
        self.gate.send_replace(1.0);
        std::future::pending().await
    }

    fn note_clock(&self, ahead: Option<u64>) {
        let mut happened = self.lock();
        happened.clock_ahead = ahead;
        if ahead.is_none() {
            happened.left_out.push("the wrong clock (there is no C compiler)");
        }
    }

    async fn until(&self, part: f64) {
        // It fails only without a sender, and this is one.
        let _ = self.through.subscribe().wait_for(|through| *through >= part).await;
    }

    fn lock(&self) -> MutexGuard<'_, Happened> {
        self.happened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A kind of fault.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Status(u16),
    Slow,
    Cut,
    Unanswered,
    /// Discord's gateway asks the client to come back, or closes without a word.
    Gateway,
}

/// What may go wrong at all, each as likely as the others; what stands here twice, twice as likely.
const LIGHT: [(At, Kind); 21] = [
    (At::OpenAi, Kind::Status(429)),
    (At::OpenAi, Kind::Status(503)),
    (At::OpenAi, Kind::Cut),
    (At::OpenAi, Kind::Cut),
    (At::OpenAi, Kind::Slow),
    (At::Telegram, Kind::Status(429)),
    (At::Telegram, Kind::Status(502)),
    (At::Telegram, Kind::Slow),
    (At::Discord, Kind::Status(429)),
    (At::Discord, Kind::Status(503)),
    (At::Discord, Kind::Slow),
    (At::Discord, Kind::Gateway),
    (At::Apify, Kind::Status(429)),
    (At::Apify, Kind::Status(500)),
    (At::Apify, Kind::Slow),
    (At::Gemini, Kind::Status(429)),
    (At::Gemini, Kind::Status(503)),
    (At::Gemini, Kind::Slow),
    (At::N8n, Kind::Status(429)),
    (At::N8n, Kind::Status(503)),
    (At::N8n, Kind::Slow),
];

/// And besides where it is heavy.
const HEAVY: [(At, Kind); 3] =
    [(At::Telegram, Kind::Unanswered), (At::Discord, Kind::Unanswered), (At::OpenAi, Kind::Unanswered)];

fn one(faults: Faults, random: &mut StdRng) -> Trouble {
    let kinds = LIGHT.len() + if faults == Faults::Heavy { HEAVY.len() } else { 0 };
    let drawn = random.random_range(0..kinds);
    let (at, kind) = if drawn < LIGHT.len() { LIGHT[drawn] } else { HEAVY[drawn - LIGHT.len()] };
    let path = match at {
        At::OpenAi => "/v1/responses",
        At::Apify => "/actor-runs/",
        At::Gemini => ":generateContent",
        At::N8n => "/webhook/",
        At::Telegram => "/sendMessage",
        At::Discord => "/messages",
    };
    let path = path.to_owned();
    match kind {
        Kind::Status(status) => {
            let (mut headers, body) = refusal(at, status);
            headers.push(("content-type", "application/json"));
            let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            Trouble::Answer { at, path, status, headers, body: body.to_string() }
        }
        Kind::Slow => Trouble::Slow { at, path, ms: random.random_range(300..1500) },
        Kind::Cut => Trouble::Cut { at, path },
        // Whether a message stands there is known of those that were carried out; a call of the model may be neither.
        Kind::Unanswered => Trouble::Drop { at, path, after: at != At::OpenAi || random.random_bool(0.5) },
        Kind::Gateway if random.random_bool(0.5) => Trouble::Reconnect,
        Kind::Gateway => Trouble::DropSocket,
    }
}

/// How a service says no.
fn refusal(at: At, status: u16) -> (Vec<(&'static str, &'static str)>, Value) {
    let retry = vec![("retry-after", "1")];
    match (at, status) {
        (At::OpenAi, 429) => {
            let error = json!({"error": {"message": "Rate limit reached", "type": "requests", "param": null,
                "code": "rate_limit_exceeded"}});
            (retry, error)
        }
        (At::OpenAi, _) => {
            let error = json!({"error": {"message": "The server is overloaded", "type": "server_error", "param": null,
                "code": null}});
            (Vec::new(), error)
        }
        (At::Telegram, 429) => {
            let refused = json!({"ok": false, "error_code": 429, "description": "Too Many Requests: retry after 1",
                "parameters": {"retry_after": 1}});
            (Vec::new(), refused)
        }
        (At::Telegram, _) => (Vec::new(), json!({"ok": false, "error_code": status, "description": "Bad Gateway"})),
        (At::Discord, 429) => {
            let more = [("x-ratelimit-scope", "shared"), ("x-ratelimit-reset-after", "1")];
            let refused = json!({"message": "You are being rate limited.", "retry_after": 1.0, "global": false});
            (retry.into_iter().chain(more).collect(), refused)
        }
        (At::Discord, _) => (Vec::new(), json!({"message": "upstream connect error", "code": 0})),
        (At::Apify, 429) => {
            let error =
                json!({"error": {"type": "rate-limit-exceeded", "message": "You have exceeded the rate limit."}});
            (Vec::new(), error)
        }
        (At::Apify, _) => (Vec::new(), json!({"error": {"type": "internal-error", "message": "We have bugs"}})),
        (At::N8n, 429) => (retry, json!({"message": "Too many requests"})),
        (At::N8n, _) => (Vec::new(), json!({"message": "Database is not ready!"})),
        (At::Gemini, 429) => {
            let error = json!({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "Please retry in 1s.",
                "details": [
                    {"@type": "type.googleapis.com/google.rpc.QuotaFailure",
                        "violations": [{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel"}]},
                    {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1s"}]}});
            (Vec::new(), error)
        }
        (At::Gemini, _) => {
            let error = json!({"error": {"code": 503, "status": "UNAVAILABLE", "message": "The model is overloaded.",
                "details": []}});
            (Vec::new(), error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_told_and_what_did_not_too() {
        let course = Course::new(Faults::Heavy, 1);
        assert_eq!(course.happened().told(), "nothing went wrong; left out: the kill -9 (the load was stopped before)");
        assert!(!course.is_over() && !course.happened().is_anything());
        *course.lock() = Happened {
            outages: 1,
            refusals: 1,
            freezes: vec![4],
            kills: vec![17],
            clock_ahead: Some(30),
            delivered_twice: 5,
            troubles: [("OpenAI 429".to_owned(), 12), ("Discord gateway".to_owned(), 2)].into(),
            left_out: Vec::new(),
        };
        assert_eq!(
            course.happened().told(),
            "1 outage of the database for 2 s, 1 time without writes for 4 s, 1 instance still for 60 s with 4 answers owed, \
             1 kill -9 with 17 answers owed, 1 clock 30 s ahead, 5 messages delivered twice, 2 x Discord gateway, 12 x OpenAI 429"
        );
        assert!(Course::new(Faults::Light, 1).is_over());
        assert_eq!(Course::new(Faults::Light, 1).happened().told(), "nothing went wrong");
    }

    #[test]
    fn everything_that_may_go_wrong_does_by_and_by() {
        let mut random = StdRng::seed_from_u64(1);
        let drawn: Vec<Trouble> = (0..2_000).map(|_| one(Faults::Heavy, &mut random)).collect();
        for at in [At::OpenAi, At::Telegram, At::Discord, At::Apify, At::Gemini, At::N8n] {
            let refuses = |drawn: &Trouble| matches!(drawn, Trouble::Answer { at: of, status: 429, .. } if *of == at);
            let is_slow = |drawn: &Trouble| matches!(drawn, Trouble::Slow { at: of, .. } if *of == at);
            assert!(drawn.iter().any(refuses) && drawn.iter().any(is_slow), "{at:?}");
        }
        assert!(drawn.contains(&Trouble::Reconnect) && drawn.contains(&Trouble::DropSocket));
    }
}
