//! Twice as many questions as a tier allows: how many calls the service refuses all the same, how much of the tier is
//! used, and what those hear who have to wait or are too many.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reelcoach::store::Store;
use sandbox::{Sandbox, Settings, Terms};
use serde_json::{Value, json};

use crate::database::{Database, Outcome, server};
use crate::process::Bot;
use crate::{Found, until};

/// Of the calls, refused at most; of the tier, used at least.
const REFUSED: f64 = 0.001;
const USED: f64 = 0.9;

/// Requests a minute of the tier; where tokens are what is short, about as many calls.
const CALLS_PER_MINUTE: u32 = 240;

/// `OPENAI_WAIT_SECONDS`.
const LONGEST_WAIT: u64 = 30;
/// `COACH_MAX_OUTPUT_TOKENS`: below the length of a prompt, so that what counts is the estimate of that.
const MOST_OUTPUT: u64 = 1_000;

#[derive(Clone, Copy, PartialEq)]
enum Short {
    Requests,
    Tokens,
}

/// One setting and what came of it.
struct Ran {
    database: &'static str,
    instances: usize,
    short: Short,
    /// Of what the tier allows.
    offered: f64,
    people: usize,
    calls: usize,
    refused: usize,
    used: f64,
    told_to_wait: usize,
    told_when: usize,
    answered: usize,
    unanswered: usize,
}

pub async fn run(quick: bool) -> Outcome<Found> {
    let (warm, span) = if quick { (30, 45) } else { (32, 182) };
    println!(
        "Quota: {span} s of questions at twice the tier's rate, each by somebody else, after {warm} s in which what the tier\n\
         grants at once is used up. Requests: {CALLS_PER_MINUTE} a minute, tokens plenty. Tokens: as many as {CALLS_PER_MINUTE} questions take,\n\
         requests plenty. OPENAI_RPM and OPENAI_TPM are the tier's, OPENAI_WAIT_SECONDS={LONGEST_WAIT}, TELEGRAM_PER_SECOND=10000;\n\
         the model takes 0.6 s."
    );
    println!(
        "  database    instances  short     offered  people  calls  refused (429)    tier used  told to wait  told when  answered"
    );
    let (mut figures, mut broken) = (Vec::new(), Vec::new());
    let mean = probe().await?;
    for short in [Short::Requests, Short::Tokens] {
        let one = flood(short, mean, None, (warm, span));
        let two = flood(short, mean, Some(server()?), (warm, span));
        // At the same time: what is counted does not depend on the processors' load.
        let (one, two) = tokio::join!(one, two);
        for ran in [one?, two?] {
            figures.push(show(&ran, &mut broken));
        }
    }
    Ok(Found { figures: Value::Array(figures), broken })
}

fn show(ran: &Ran, broken: &mut Vec<String>) -> Value {
    let Ran { database, instances, people, calls, refused, used, told_to_wait, told_when, answered, .. } = ran;
    let short = if ran.short == Short::Requests { "requests" } else { "tokens" };
    let share = *refused as f64 / (*calls).max(1) as f64;
    println!(
        "  {database:<11} {instances:>9}  {short:<8} {:>8.2}  {people:>6} {calls:>6} {refused:>6} = {:>6.3} % {:>10.1} % {told_to_wait:>13} {told_when:>10} {answered:>9}",
        ran.offered,
        share * 100.0,
        used * 100.0
    );
    let name = format!("quota, {database}, {instances} instances, {short}");
    if share > REFUSED {
        broken.push(format!("{name}: {:.3} % of the calls were refused, promised 0.1 %", share * 100.0));
    }
    if *used < USED {
        broken.push(format!("{name}: {:.1} % of the tier were used, promised 90 %", used * 100.0));
    }
    if ran.unanswered > 0 {
        broken.push(format!("{name}: {} people got neither an answer nor a time", ran.unanswered));
    }
    json!({"database": database, "instances": instances, "short": short, "offered_of_tier": ran.offered, "people": people,
        "calls": calls, "refused": refused, "refused_share": share, "tier_used": used, "told_to_wait": told_to_wait,
        "told_when_to_ask_again": told_when, "answered": answered, "unanswered": ran.unanswered})
}

/// One flood of questions.
async fn flood(short: Short, mean: f64, server: Option<String>, (warm, span): (u64, u64)) -> Outcome<Ran> {
    let instances = if server.is_some() { 2 } else { 1 };
    let sandbox = sandbox().await?;
    let folder = tempfile::tempdir()?;
    let name = format!("quota{}", sandbox.openai.served.addr.port());
    let database = Database::make(folder.path(), server.as_deref(), &name).await?;
    let told = listen(&sandbox);
    let sent = calls(&sandbox);
    let tpm = match short {
        Short::Requests => 100_000_000,
        Short::Tokens => (mean * f64::from(CALLS_PER_MINUTE)) as u64,
    };
    let rpm = if short == Short::Requests { CALLS_PER_MINUTE } else { CALLS_PER_MINUTE * 10 };
    sandbox.openai.limit(Some(rpm), Some(tpm));
    let mut bots = Vec::new();
    for at in 0..instances {
        let place = folder.path().join(at.to_string());
        std::fs::create_dir(&place)?;
        bots.push(start(&sandbox, &place, &database, rpm, tpm).await?);
    }
    if instances > 1 {
        // Each has counted the others.
        tokio::time::sleep(Duration::from_secs(10)).await;
    }

    let rate = 2.0 * f64::from(CALLS_PER_MINUTE) / 60.0;
    let mut random = StdRng::seed_from_u64(7);
    let began = tokio::time::Instant::now();
    let (mut at, mut people) = (Duration::ZERO, 0);
    while at < Duration::from_secs(warm + span) {
        tokio::time::sleep_until(began + at).await;
        people += 1;
        sandbox.telegram.say(
            FIRST + people,
            FIRST + people,
            "Person",
            &question(people, random.random_range(0..MOST_SENTENCES)),
        );
        at += Duration::from_secs_f64(-random.random_range(f64::EPSILON..1.0).ln() / rate);
    }
    let store = Store::open(&database.url, 2).await?;
    let patience = Duration::from_secs(LONGEST_WAIT + 120);
    until("everybody has heard something", patience, async || {
        tokio::time::sleep(Duration::from_millis(500)).await;
        Ok(sandbox.telegram.pending() == 0 && store.is_idle().await?)
    })
    .await
    .map_err(|late| {
        format!("{late}; {} updates are waiting, {} calls were made", sandbox.telegram.pending(), count(&sent))
    })?;
    store.close().await;
    drop(bots);

    let (from, to) =
        (began.into_std() + Duration::from_secs(warm), began.into_std() + Duration::from_secs(warm + span));
    let each = mean_tokens(&sandbox);
    let (calls, within) = {
        let sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
        (sent.len(), sent.iter().filter(|at| (from..to).contains(*at)).count() as f64)
    };
    let minutes = span as f64 / 60.0;
    let (used, offered) = match short {
        Short::Requests => (within / minutes / f64::from(rpm), rate * 60.0 / f64::from(rpm)),
        Short::Tokens => (within * each / minutes / tpm as f64, rate * 60.0 * each / tpm as f64),
    };
    let told_to_wait = told.lock().unwrap_or_else(PoisonError::into_inner).len();
    let mut ran = Ran {
        database: if server.is_some() { "PostgreSQL" } else { "SQLite" },
        instances,
        short,
        offered,
        people: usize::try_from(people)?,
        calls,
        refused: sandbox.openai.control.refused(),
        used,
        told_to_wait,
        told_when: 0,
        answered: 0,
        unanswered: 0,
    };
    for chat in (1..=people).map(|person| FIRST + person) {
        let last = sandbox.telegram.screen(chat).into_iter().rfind(|shown| shown.from_bot);
        match last.map(|shown| shown.text) {
            Some(text) if text.contains("please ask again in") => ran.told_when += 1,
            Some(text) if !text.contains(WAITS) && !text.contains("reference") => ran.answered += 1,
            _ => ran.unanswered += 1,
        }
    }
    database.remove().await?;
    Ok(ran)
}

fn count(sent: &Mutex<Vec<Instant>>) -> usize {
    sent.lock().unwrap_or_else(PoisonError::into_inner).len()
}

/// The chats of those who ask come after this one.
const FIRST: i64 = 1_000;

/// Of a question, at most.
const MOST_SENTENCES: usize = 50;

/// What somebody is told whose turn has not come.
const WAITS: &str = "your answer begins in";

/// From a line to a page.
fn question(person: i64, sentences: usize) -> String {
    let page = "I film at home, mostly in the kitchen, and people leave after the first cut. ";
    format!("Question {person}: how do I open a reel about bread? {}", page.repeat(sentences))
}

/// The tokens that a question is charged on average, seen where nothing is short.
async fn probe() -> Outcome<f64> {
    let (sandbox, folder) = (sandbox().await?, tempfile::tempdir()?);
    let database = Database::make(folder.path(), None, "probe").await?;
    let _bot = start(&sandbox, folder.path(), &database, 1_000_000, 1_000_000_000).await?;
    for (person, sentences) in (FIRST..FIRST + 200).zip((0..MOST_SENTENCES).cycle()) {
        sandbox.telegram.say(person, person, "Person", &question(person, sentences));
    }
    until("the probe is answered", Duration::from_secs(60), async || Ok(sandbox.openai.charged().len() >= 200)).await?;
    Ok(mean_tokens(&sandbox))
}

fn mean_tokens(sandbox: &Sandbox) -> f64 {
    let charged = sandbox.openai.charged();
    let tokens: u64 = charged.iter().map(|call| call.usage.input.max(MOST_OUTPUT)).sum();
    tokens as f64 / charged.len().max(1) as f64
}

async fn sandbox() -> Outcome<Sandbox> {
    let settings = Settings { port: 0, speed: f64::INFINITY, enforce_limits: false };
    Ok(Sandbox::start_on(settings, Terms { first_token: 0.6, ..Terms::at(f64::INFINITY) }).await?)
}

async fn start(sandbox: &Sandbox, place: &std::path::Path, database: &Database, rpm: u32, tpm: u64) -> Outcome<Bot> {
    let mut variables = sandbox.environment();
    let own = [
        ("DATABASE_URL", database.url.clone()),
        ("OPENAI_RPM", rpm.to_string()),
        ("OPENAI_TPM", tpm.to_string()),
        ("OPENAI_WAIT_SECONDS", LONGEST_WAIT.to_string()),
        ("COACH_MAX_OUTPUT_TOKENS", MOST_OUTPUT.to_string()),
        ("TELEGRAM_PER_SECOND", "10000".to_owned()),
        ("TELEGRAM_PER_CHAT", "1000".to_owned()),
        ("MESSAGES_PER_MINUTE", "0".to_owned()),
        ("MERGE_WINDOW_MS", "0".to_owned()),
        ("BUDGET_MONTH_USD", "none".to_owned()),
    ];
    variables.extend(own.map(|(name, value)| (name.to_owned(), value)));
    Bot::start(place, variables).await
}

/// Who is told to wait.
fn listen(sandbox: &Sandbox) -> Arc<Mutex<HashSet<i64>>> {
    let told: Arc<Mutex<HashSet<i64>>> = Arc::default();
    let (mut calls, found) = (sandbox.telegram.control.follow(), told.clone());
    tokio::spawn(async move {
        while let Some((_, call)) = calls.recv().await {
            let chat = call.body["chat_id"].as_i64().or_else(|| call.body["chat_id"].as_str()?.parse().ok());
            if let (true, Some(chat)) = (call.body["text"].as_str().is_some_and(|text| text.contains(WAITS)), chat) {
                found.lock().unwrap_or_else(PoisonError::into_inner).insert(chat);
            }
        }
    });
    told
}

/// When each call of the model was made.
fn calls(sandbox: &Sandbox) -> Arc<Mutex<Vec<Instant>>> {
    let made: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let (mut calls, found) = (sandbox.openai.control.follow(), made.clone());
    tokio::spawn(async move {
        while let Some((at, call)) = calls.recv().await {
            if call.method == "POST" && call.path == "/v1/responses" {
                found.lock().unwrap_or_else(PoisonError::into_inner).push(at);
            }
        }
    });
    made
}
