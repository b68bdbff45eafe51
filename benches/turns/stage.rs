//! The stage of a load test: the real program as a process of its own, the sandbox it talks to, and the people. Owns
//! how updates go in and how answers are recognised; knows no scenario.

#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sandbox::{Sandbox, Settings};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

use crate::database::{Database, Failed, Outcome};
use crate::process::{Bot, Share};

const SECRET: &str = "bench-secret";
/// The mark at the end of a text that is still growing: what lacks it is a final answer.
const CURSOR: char = '▌';
/// A turn that takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(20);
/// What everybody asks.
pub const QUESTION: &str = "How do I open a video about sourdough so that people stay?";
/// People who take part if nothing else is said.
pub const PEOPLE: i64 = 1000;

/// Everything answers at once.
pub const SETTINGS: Settings = Settings { port: 0, speed: f64::INFINITY, enforce_limits: false };

/// How updates come in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Entrance {
    Webhook,
    Polling,
}

/// What is set up.
pub struct Setting {
    pub entrance: Entrance,
    pub people: i64,
    /// Another model than the sandbox's own.
    pub openai: Option<String>,
    /// A PostgreSQL server; SQLite without.
    pub server: Option<String>,
    pub instances: usize,
    /// How much of one core each instance has; without, as much as there is.
    pub cores: Option<f64>,
}

impl Setting {
    pub fn new(entrance: Entrance) -> Setting {
        Setting { entrance, people: PEOPLE, openai: None, server: None, instances: 1, cores: None }
    }
}

/// The bot, the sandbox it talks to, and the people.
pub struct Stage {
    bots: Vec<Bot>,
    /// Ended after the bots.
    _shares: Vec<Share>,
    pub sandbox: Sandbox,
    entrance: Entrance,
    people: i64,
    database: Database,
    http: reqwest012::Client,
    /// Telegram opens no more than the bot has asked for (`max_connections` of setWebhook).
    connections: Semaphore,
    updates: AtomicI64,
    asked: AtomicU64,
    waiting: Arc<Mutex<HashMap<i64, Waiting>>>,
    folder: tempfile::TempDir,
    /// Lines in the logs when the bots were ready.
    said: usize,
}

struct Waiting {
    since: Instant,
    first: Option<Duration>,
    answered: oneshot::Sender<Took>,
}

/// From the update to what the sandbox got.
#[derive(Clone, Copy)]
pub struct Took {
    pub first: Duration,
    pub last: Duration,
}

impl Stage {
    pub async fn set(setting: Setting) -> Outcome<Stage> {
        let folder = tempfile::tempdir()?;
        let sandbox = Sandbox::start(SETTINGS).await?;
        let Setting { entrance, people: crowd, .. } = setting;
        for chat in 1..=crowd {
            sandbox.telegram.open(chat);
        }
        let name = format!("load{}", sandbox.apify.served.addr.port());
        let database = Database::make(folder.path(), setting.server.as_deref(), &name).await?;
        let (mut bots, mut shares) = (Vec::new(), Vec::new());
        for number in 0..setting.instances {
            let own = folder.path().join(number.to_string());
            fs::create_dir(&own)?;
            let bot = start(&sandbox, &database.url, &own, &setting).await?;
            shares.extend(setting.cores.map(|cores| Share::of_one(bot.id(), cores)).transpose()?);
            bots.push(bot);
        }
        let waiting: Arc<Mutex<HashMap<i64, Waiting>>> = Arc::default();
        let mut calls = sandbox.telegram.control.follow();
        // Nobody reads of these; they are not to be kept.
        drop((sandbox.openai.control.follow(), sandbox.discord.control.follow()));
        let people = waiting.clone();
        tokio::spawn(async move {
            while let Some((at, call)) = calls.recv().await {
                let is_text = call.path.ends_with("/sendMessage") || call.path.ends_with("/editMessageText");
                if let (true, Some(chat)) = (is_text, number(&call.body["chat_id"])) {
                    heard(&mut lock(&people), chat, at, call.body["text"].as_str().unwrap_or_default());
                }
            }
        });
        let http = reqwest012::Client::builder().no_proxy().tcp_nodelay(true).build()?;
        let (connections, updates, asked) = (Semaphore::new(40), AtomicI64::new(1), AtomicU64::new(0));
        let mut stage = Stage {
            bots,
            _shares: shares,
            sandbox,
            entrance,
            people: crowd,
            database,
            http,
            connections,
            updates,
            asked,
            waiting,
            folder,
            said: 0,
        };
        stage.said = stage.logs().lines().count();
        Ok(stage)
    }

    /// Stops the bots and removes the database.
    pub async fn end(mut self) -> Outcome<()> {
        self.bots.clear();
        self.database.remove().await
    }

    /// One turn of one person; `None` if it was not answered in time.
    pub async fn ask(&self, chat: i64) -> Option<Took> {
        self.say(chat, QUESTION).await
    }

    /// One message of one person, and its answer; `None` if it was not answered in time.
    pub async fn say(&self, chat: i64, text: &str) -> Option<Took> {
        let number = self.updates.fetch_add(1, Ordering::Relaxed);
        let (answered, answer) = oneshot::channel();
        self.asked.fetch_add(1, Ordering::Relaxed);
        lock(&self.waiting).insert(chat, Waiting { since: Instant::now(), first: None, answered });
        match self.entrance {
            Entrance::Polling => {
                self.sandbox.telegram.say(chat, chat, "Person", text);
            }
            Entrance::Webhook => {
                let update = json!({"update_id": number, "message": {"message_id": 1_000_000 + number, "date": 1_790_000_000,
                    "from": {"id": chat, "is_bot": false, "first_name": "Person"},
                    "chat": {"id": chat, "type": "private", "first_name": "Person"}, "text": text}});
                let _connection = self.connections.acquire().await.ok()?;
                // As a load balancer would: to one after the other.
                let bot = &self.bots[usize::try_from(number).unwrap_or(0) % self.bots.len()];
                let request = self.http.post(format!("{}/telegram", bot.url));
                let request = request.header("x-telegram-bot-api-secret-token", SECRET).body(update.to_string());
                let posted = request.header("content-type", "application/json").send().await;
                if !posted.is_ok_and(|response| response.status().is_success()) {
                    lock(&self.waiting).remove(&chat);
                    return None;
                }
            }
        }
        tokio::time::timeout(PATIENCE, answer).await.ok()?.ok()
    }

    /// Open-loop arrivals at `rate` a second (a Poisson process), of one person after the other; `None` for what was not
    /// answered.
    pub async fn arrive(
        self: &Arc<Self>,
        people: i64,
        rate: f64,
        span: Duration,
        text: &'static str,
    ) -> Vec<Option<Took>> {
        let mut gaps = StdRng::seed_from_u64(1);
        let mut running = JoinSet::new();
        let began = tokio::time::Instant::now();
        let (mut at, mut turn) = (Duration::ZERO, 0);
        while at < span {
            tokio::time::sleep_until(began + at).await;
            let (stage, chat) = (self.clone(), 1 + turn % people);
            running.spawn(async move { stage.say(chat, text).await });
            at += Duration::from_secs_f64(-gaps.random_range(f64::EPSILON..1.0).ln() / rate);
            turn += 1;
        }
        running.join_all().await
    }

    /// Every person asks once, at most so many at a time; how many were not answered.
    pub async fn everybody_once(&self, at_a_time: usize) -> usize {
        self.once(1..=self.people, at_a_time).await
    }

    /// Each of these people asks once.
    pub async fn once(&self, people: std::ops::RangeInclusive<i64>, at_a_time: usize) -> usize {
        let places = Semaphore::new(at_a_time);
        let asking = people.map(|chat| {
            let places = &places;
            async move {
                let _place = places.acquire().await;
                self.ask(chat).await.is_some()
            }
        });
        let answered = futures::future::join_all(asking).await;
        let lost = answered.iter().filter(|answered| !**answered).count();
        if lost > 0 {
            println!("  ({lost} of {} were not answered)", answered.len());
        }
        lost
    }

    /// Messages on screen beyond one finished answer for each turn.
    pub fn stray_messages(&self) -> usize {
        let mut finished = 0;
        let mut stray = 0;
        for chat in 1..=self.people {
            for message in self.sandbox.telegram.screen(chat).iter().filter(|message| message.from_bot) {
                if message.text.ends_with(CURSOR) { stray += 1 } else { finished += 1 }
            }
        }
        stray + usize::try_from(self.asked.load(Ordering::Relaxed)).unwrap_or(usize::MAX).abs_diff(finished)
    }

    /// Warnings and errors in the bots' logs since they were ready: what they say of their settings is left out.
    pub fn complaints(&self) -> usize {
        let log = self.logs();
        if let (Some(line), true) =
            (log.lines().nth(self.said), std::env::args().any(|argument| argument == "--verbose"))
        {
            eprintln!("{line}");
        }
        log.lines().count().saturating_sub(self.said)
    }

    fn logs(&self) -> String {
        let logs = (0..self.bots.len()).map(|number| self.folder.path().join(number.to_string()).join("log"));
        logs.map(|file| fs::read_to_string(file).unwrap_or_default()).collect()
    }

    pub fn meter(&self) -> Meter {
        Meter::start(self.bots.iter().map(|bot| bot.id()).collect())
    }

    /// The most turns that the (first) bot has in flight at a time in the next seconds, until it has none any more.
    pub async fn most_in_flight(&self) -> i64 {
        let Some(bot) = self.bots.first() else { return 0 };
        let (mut most, mut seen) = (0, 0);
        for _ in 0..600 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let Ok(told) = self.http.get(format!("{}/metrics", bot.url)).send().await else { continue };
            let told = told.text().await.unwrap_or_default();
            let gauge = told.lines().find_map(|line| line.strip_prefix("reelcoach_turns_in_flight "));
            seen = gauge.and_then(|value| value.parse::<f64>().ok()).map_or(seen, |value| value as i64);
            most = most.max(seen);
            if most > 0 && seen == 0 {
                break;
            }
        }
        most
    }

    /// Resident memory of the (first) bot in MB: now, and the most so far.
    pub fn memory(&self) -> Outcome<(f64, f64)> {
        let id = self.bots.first().map(|bot| bot.id()).unwrap_or_default();
        let status = fs::read_to_string(format!("/proc/{id}/status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.trim().split(' ').next()).and_then(|kib| kib.parse::<f64>().ok());
            kib.map(|kib| kib * 1024.0 / 1e6).ok_or_else(|| Failed::from(format!("/proc tells no {name}")))
        };
        Ok((field("VmRSS:")?, field("VmHWM:")?))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

fn heard(waiting: &mut HashMap<i64, Waiting>, chat: i64, at: Instant, text: &str) {
    let Some(person) = waiting.get_mut(&chat) else { return };
    let took = at.saturating_duration_since(person.since);
    let first = *person.first.get_or_insert(took);
    if !text.ends_with(CURSOR)
        && let Some(person) = waiting.remove(&chat)
    {
        let _ = person.answered.send(Took { first, last: took });
    }
}

/// The program with the variables of this load test.
pub async fn start(sandbox: &Sandbox, database: &str, folder: &Path, setting: &Setting) -> Outcome<Bot> {
    let mut variables = sandbox.environment();
    let mut set = |name: &str, value: &str| variables.push((name.to_owned(), value.to_owned()));
    set("DATABASE_URL", database);
    // Everybody asks the same; and the question is what the bot can do, not what a tier of OpenAI allows.
    set("ANSWER_CACHE_HOURS", "0");
    set("OPENAI_RPM", "10000000");
    set("OPENAI_TPM", "4000000000");
    set("MERGE_WINDOW_MS", "0");
    set("TELEGRAM_PER_SECOND", "10000");
    set("TELEGRAM_PER_CHAT", "1000");
    set("MESSAGES_PER_MINUTE", "0");
    // What an operator would be told of such a day is no complaint.
    set("ALERTS", "tokens_day=off,cost_day_usd=off");
    if let Some(url) = &setting.openai {
        set("OPENAI_BASE_URL", url);
    }
    if setting.entrance == Entrance::Webhook {
        set("TELEGRAM_WEBHOOK_URL", "https://127.0.0.1/telegram");
        set("TELEGRAM_WEBHOOK_SECRET", SECRET);
    }
    let bot = Bot::start(folder, variables).await?;
    if setting.entrance == Entrance::Webhook {
        // It is ready a moment before it knows its own name at Telegram; what comes before that, Telegram repeats.
        let http = reqwest012::Client::builder().no_proxy().build()?;
        let url = format!("{}/telegram", bot.url);
        while http.post(&url).send().await?.status() == reqwest012::StatusCode::SERVICE_UNAVAILABLE {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    Ok(bot)
}

/// Processor time over a span, from /proc.
pub struct Meter {
    bots: Vec<u32>,
    began: Instant,
    at_start: [Duration; 3],
}

pub struct Used {
    pub bot: Duration,
    pub own: Duration,
    /// What all other processes used, of all cores.
    pub others_share: f64,
}

impl Meter {
    fn start(bots: Vec<u32>) -> Meter {
        let at_start = Meter::read(&bots);
        Meter { bots, began: Instant::now(), at_start }
    }

    pub fn stop(self) -> Used {
        let [bot, own, all] = Meter::read(&self.bots);
        let [bot_before, own_before, all_before] = self.at_start;
        let (bot, own, all) = (bot - bot_before, own - own_before, all - all_before);
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let others = all.saturating_sub(bot + own).as_secs_f64();
        Used { bot, own, others_share: others / (self.began.elapsed().as_secs_f64() * cores) }
    }

    /// Of the bots, of this process, of the whole machine.
    fn read(bots: &[u32]) -> [Duration; 3] {
        let ticks = |text: String, from: usize, fields: &[usize]| -> u64 {
            // The name of a program may hold spaces; it ends at the last parenthesis.
            let rest = text.get(from..).unwrap_or_default();
            let numbers: Vec<&str> = rest.split_whitespace().collect();
            fields.iter().filter_map(|at| numbers.get(*at)?.parse::<u64>().ok()).sum()
        };
        let process = |id: u32| {
            let text = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            let from = text.rfind(')').map_or(0, |at| at + 1);
            // utime and stime, counted from the state (proc(5)).
            ticks(text, from, &[11, 12])
        };
        let all = fs::read_to_string("/proc/stat").unwrap_or_default();
        // user, nice, system, irq, softirq
        let all = ticks(all, 3, &[0, 1, 2, 5, 6]);
        // A tick is 10 ms wherever Linux runs (USER_HZ).
        [bots.iter().copied().map(process).sum(), process(std::process::id()), all]
            .map(|ticks| Duration::from_millis(ticks * 10))
    }
}

/// Of a number of spans.
pub struct Percentiles {
    pub p50: Duration,
    pub p95: Duration,
    pub p99: Duration,
    pub max: Duration,
}

impl Percentiles {
    pub fn of(values: impl Iterator<Item = Duration>) -> Percentiles {
        let mut sorted: Vec<Duration> = values.collect();
        sorted.sort_unstable();
        let at = |part: f64| {
            let rank = (part * sorted.len() as f64).ceil() as usize;
            sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
        };
        Percentiles { p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1.0) }
    }

    pub fn json(&self) -> Value {
        let ms = |span: Duration| (span.as_secs_f64() * 1e5).round() / 100.0;
        json!({"p50": ms(self.p50), "p95": ms(self.p95), "p99": ms(self.p99), "max": ms(self.max)})
    }
}

impl std::fmt::Display for Percentiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |span: Duration| span.as_secs_f64() * 1e3;
        let (p50, p95, p99, max) = (ms(self.p50), ms(self.p95), ms(self.p99), ms(self.max));
        write!(f, "p50 {p50:.1} ms, p95 {p95:.1} ms, p99 {p99:.1} ms, max {max:.1} ms")
    }
}
