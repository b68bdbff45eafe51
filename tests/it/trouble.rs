//! What a person sees, what is paid and what the breakers say when the services behind reels fail: one table, each row
//! through the whole bot. Owns no wire; the faults are the sandbox's.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use reelcoach::clock::Clock;
use sandbox::apify::ApifySandbox;
use sandbox::gemini::GeminiSandbox;
use sandbox::{Fault, Sandbox};
use serde_json::{Value, json};

use crate::bot::{TestBot, sandbox};
use crate::reels::link;
use crate::support::TestDb;

const ANA: i64 = 42;
/// Bots at a time.
const AT_ONCE: usize = 6;

/// The lanes that a bot has.
#[derive(Clone, Copy)]
enum Lanes {
    /// One of Apify and Gemini.
    Direct,
    /// One webhook.
    N8n,
    /// One of each; the direct one is asked first.
    Both,
    /// Two webhooks.
    Webhooks,
}
use Lanes::{Both, Direct, N8n, Webhooks};

/// How a breaker stands in the end.
#[derive(Debug, PartialEq)]
enum Is {
    /// Closed, after so many failures since it last worked.
    Closed(i64),
    Open,
}
use Is::{Closed, Open};

struct Case {
    name: &'static str,
    lanes: Lanes,
    code: &'static str,
    trouble: fn(&Sandbox),
    /// In what the person sees in the end.
    sees: &'static str,
    /// Provider, outcome and number of the ledger's rows, without the coaching's.
    paid: &'static [(&'static str, &'static str, i64)],
    breaker: (&'static str, Is),
}

const GOOD: &str = "DLlGZiCOBQ0";
/// In every coaching.
const COACHING: &str = "Hook";
const UNAVAILABLE: &str = "It's private, deleted or restricted";
const BUSY: &str = "are overloaded right now";
const NO_VIDEO: &str = "Instagram didn't give me a video";
const NOT_DOWNLOADED: &str = "I couldn't download this video";
const UNREADABLE: &str = "couldn't make sense of this video";
const TOMORROW: &str = "as many reels as the reel service allows in a day";
const NO_CREDIT: &str = "the reel service is out of credit";
const NOT_SET_UP: &str = "the reel service isn't set up correctly";
const BOUGHT: &[(&str, &str, i64)] = &[("apify", "ok", 1), ("gemini", "ok", 1)];

fn case(name: &'static str, code: &'static str, trouble: fn(&Sandbox), sees: &'static str) -> Case {
    Case { name, lanes: Direct, code, trouble, sees, paid: BOUGHT, breaker: ("direct", Closed(0)) }
}

impl Case {
    fn on(self, lanes: Lanes) -> Case {
        let upstream = if matches!(lanes, N8n | Webhooks) { "n8n:0" } else { "direct" };
        Case { lanes, breaker: (upstream, self.breaker.1), ..self }
    }

    fn paid(self, paid: &'static [(&'static str, &'static str, i64)]) -> Case {
        Case { paid, ..self }
    }

    fn breaker(self, is: Is) -> Case {
        Case { breaker: (self.breaker.0, is), ..self }
    }
}

fn answer(status: u16, kind: &str, body: &str) -> Fault {
    Fault::Answer { status, headers: vec![("content-type".into(), kind.into())], body: body.into() }
}

/// A proxy's page in place of the service's answer.
fn page(status: u16) -> Fault {
    answer(status, "text/html", "<!doctype html><title>Bad gateway</title><h1>Bad gateway</h1>")
}

fn with_header(fault: Fault, name: &str, value: &str) -> Fault {
    match fault {
        Fault::Answer { status, mut headers, body } => {
            headers.push((name.into(), value.into()));
            Fault::Answer { status, headers, body }
        }
        other => other,
    }
}

fn apify(at: &'static str, times: usize, fault: &dyn Fn() -> Fault, sandbox: &Sandbox) {
    (0..times).for_each(|_| sandbox.apify.control.fault(at, fault()));
}

fn gemini(times: usize, fault: &dyn Fn() -> Fault, sandbox: &Sandbox) {
    (0..times).for_each(|_| sandbox.gemini.control.fault(":generateContent", fault()));
}

fn n8n(times: usize, fault: &dyn Fn() -> Fault, sandbox: &Sandbox) {
    (0..times).for_each(|_| sandbox.n8n.control.fault("/webhook", fault()));
}

/// An answer of Gemini that stops after half of its JSON, although it says that it is whole.
fn half_json() -> Fault {
    let body = json!({"candidates": [{"content": {"role": "model", "parts": [{"text": "{\"language\": \"en\", \"transc"}]},
        "finishReason": "STOP", "index": 0}], "modelVersion": "gemini-3.8-flash",
        "usageMetadata": {"promptTokenCount": 3000, "candidatesTokenCount": 12, "totalTokenCount": 3012}});
    answer(200, "application/json; charset=UTF-8", &body.to_string())
}

fn quota(id: &str) -> Fault {
    let violation = json!({"quotaId": id, "quotaMetric": "generativelanguage.googleapis.com/generate_requests"});
    let detail = json!({"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]});
    GeminiSandbox::refusal(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota.", detail)
}

fn retry_info() -> Fault {
    let detail = json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.2s"});
    GeminiSandbox::refusal(429, "RESOURCE_EXHAUSTED", "Resource has been exhausted.", detail)
}

fn unknown_name() -> Fault {
    let message = "Invalid JSON payload received. Unknown name \"responseJsonSchema\" at 'generation_config'";
    GeminiSandbox::refusal(400, "INVALID_ARGUMENT", message, Value::Null)
}

fn in_n8ns_words(message: &str) -> Fault {
    answer(200, "application/json; charset=utf-8", &json!({"message": message}).to_string())
}

fn nothing(_: &Sandbox) {}

/// Apify: starting a run, waiting for it, reading what it found; and the video server.
fn of_apify() -> Vec<Case> {
    fn limited_for_a_second() -> Fault {
        with_header(ApifySandbox::refusal(429, "rate-limit-exceeded"), "retry-after", "1")
    }
    vec![
        case("start 429 with Retry-After", GOOD, |s| apify("/runs", 1, &limited_for_a_second, s), COACHING),
        case(
            "start 429",
            GOOD,
            |s| apify("/runs", 1, &|| ApifySandbox::refusal(429, "rate-limit-exceeded"), s),
            COACHING,
        ),
        case(
            "start 500",
            GOOD,
            |s| apify("/runs", 2, &|| ApifySandbox::refusal(500, "internal-server-error"), s),
            COACHING,
        ),
        case(
            "start 500 for long",
            GOOD,
            |s| apify("/runs", 9, &|| ApifySandbox::refusal(500, "internal-server-error"), s),
            BUSY,
        )
        .paid(&[])
        .breaker(Closed(1)),
        case(
            "start 500 for long, n8n takes it",
            GOOD,
            |s| apify("/runs", 3, &|| ApifySandbox::refusal(500, "internal-server-error"), s),
            COACHING,
        )
        .on(Both)
        .paid(&[("n8n", "ok", 1)])
        .breaker(Closed(1)),
        // Whether a run has started is not known: it is counted, and another one is bought a little later.
        case("start 502 of a proxy", GOOD, |s| apify("/runs", 1, &|| page(502), s), COACHING).paid(&[
            ("apify", "cut", 1),
            ("apify", "ok", 1),
            ("gemini", "ok", 1),
        ]),
        // The run has started: it is found a little later, and no other one is bought.
        case("start unanswered", GOOD, |s| apify("/runs", 1, &|| Fault::DropAfter, s), COACHING)
            .paid(&[("apify", "cut", 1), ("gemini", "ok", 1)]),
        case(
            "start timed out at Apify",
            GOOD,
            |s| apify("/runs", 1, &|| ApifySandbox::refusal(408, "request-timeout"), s),
            COACHING,
        ),
        case("start HTML", GOOD, |s| apify("/runs", 1, &|| page(200), s), COACHING).paid(&[
            ("apify", "malformed", 1),
            ("apify", "ok", 1),
            ("gemini", "ok", 1),
        ]),
        case(
            "no credit",
            GOOD,
            |s| apify("/runs", 1, &|| ApifySandbox::refusal(402, "not-enough-usage-to-run-paid-actor"), s),
            NO_CREDIT,
        )
        .paid(&[])
        .breaker(Open),
        case(
            "no credit, n8n takes it",
            GOOD,
            |s| apify("/runs", 1, &|| ApifySandbox::refusal(402, "not-enough-usage-to-run-paid-actor"), s),
            COACHING,
        )
        .on(Both)
        .paid(&[("n8n", "ok", 1)])
        .breaker(Open),
        case(
            "token refused",
            GOOD,
            |s| apify("/runs", 1, &|| ApifySandbox::refusal(401, "token-not-valid"), s),
            NOT_SET_UP,
        )
        .paid(&[])
        .breaker(Open),
        case(
            "waiting 429",
            GOOD,
            |s| apify("/actor-runs", 1, &|| ApifySandbox::refusal(429, "rate-limit-exceeded"), s),
            COACHING,
        ),
        case("waiting cut", GOOD, |s| apify("/actor-runs", 1, &|| Fault::Cut, s), COACHING),
        // The paid run is picked up, not bought again; its row stays what it was first.
        case("waiting HTML for long", GOOD, |s| apify("/actor-runs", 3, &|| page(200), s), COACHING)
            .paid(&[("apify", "malformed", 1), ("gemini", "ok", 1)]),
        case(
            "items 503",
            GOOD,
            |s| apify("/items", 1, &|| ApifySandbox::refusal(503, "service-unavailable"), s),
            COACHING,
        ),
        // The row of the run stays what it was first: paid once, and the charge is known.
        case("items HTML for long", GOOD, |s| apify("/items", 3, &|| page(200), s), COACHING)
            .paid(&[("apify", "malformed", 1), ("gemini", "ok", 1)]),
        // However often one reel fails, it is one.
        case("run failed", "DFAIL000001", nothing, BUSY).paid(&[("apify", "run_failed", 3)]).breaker(Closed(1)),
        case("run timed out", "DTIME000001", nothing, BUSY).paid(&[("apify", "run_timed_out", 3)]).breaker(Closed(1)),
        case("an error that nobody knows", "DERRN000001", nothing, BUSY)
            .paid(&[("apify", "unavailable", 3)])
            .breaker(Closed(1)),
        case("gone", "DGONE000001", nothing, UNAVAILABLE).paid(&[("apify", "not_available", 1)]),
        case("private", "DPRIV000001", nothing, UNAVAILABLE).paid(&[("apify", "not_available", 1)]),
        case("restricted", "DREST000001", nothing, UNAVAILABLE).paid(&[("apify", "not_available", 1)]),
        case("empty dataset", "DEMPT000001", nothing, UNAVAILABLE).paid(&[("apify", "not_available", 1)]),
        case("empty at the first look", "DLATE000001", nothing, COACHING),
        case("another post first", "DNEXT000001", nothing, COACHING),
        case("no video URL", "DNURL000001", nothing, NO_VIDEO).paid(&[("apify", "no_link", 1)]),
        case("a page instead of the video", "DHTML000001", nothing, NO_VIDEO).paid(&[("apify", "ok", 1)]),
        case("a playlist instead of the video", "DHLSV000001", nothing, NO_VIDEO).paid(&[("apify", "ok", 1)]),
        case("video elsewhere", "DOUTS000001", nothing, "I'm not allowed to download from").paid(&[("apify", "ok", 1)]),
        case("video cut always", "DVCUT000001", nothing, NOT_DOWNLOADED).paid(&[("apify", "ok", 1)]),
        case("video 503 always", "DDOWN000001", nothing, NOT_DOWNLOADED).paid(&[("apify", "ok", 1)]).breaker(Closed(1)),
        case("video 403 always", "DEXPI000001", nothing, NOT_DOWNLOADED).paid(&[("apify", "ok", 2)]).breaker(Closed(1)),
        case("photo", "DPHOT000001", nothing, "There's no video in this post").paid(&[("apify", "no_video", 1)]),
        case("too long", "DLONG000001", nothing, "This video is 40:00 long").paid(&[("apify", "ok", 1)]),
        case("too large", "DHUGE000001", nothing, "file is too big for me").paid(&[("apify", "ok", 1)]),
        case("video cut", GOOD, |s| apify("/video/", 1, &|| Fault::Cut, s), COACHING),
        case("video 503 for long", GOOD, |s| apify("/video/", 3, &|| page(503), s), COACHING),
        case(
            "video 403",
            GOOD,
            |s| apify("/video/", 1, &|| answer(403, "text/plain", "URL signature expired"), s),
            COACHING,
        ),
    ]
}

fn of_gemini() -> Vec<Case> {
    const AGAIN: &[(&str, &str, i64)] = &[("apify", "ok", 1), ("gemini", "ok", 1), ("gemini", "malformed", 1)];
    const ONCE_MORE: &[(&str, &str, i64)] = &[("apify", "ok", 1), ("gemini", "ok", 1), ("gemini", "unusable", 1)];
    const TWICE: &[(&str, &str, i64)] = &[("apify", "ok", 1), ("gemini", "unusable", 2)];
    const CUT: &[(&str, &str, i64)] = &[("apify", "ok", 1), ("gemini", "ok", 1), ("gemini", "cut", 1)];
    fn overloaded() -> Fault {
        GeminiSandbox::refusal(503, "UNAVAILABLE", "The model is overloaded.", Value::Null)
    }
    vec![
        case("429 with a delay", GOOD, |s| gemini(1, &retry_info, s), COACHING),
        case(
            "429",
            GOOD,
            |s| gemini(1, &|| GeminiSandbox::refusal(429, "RESOURCE_EXHAUSTED", "Slow down.", Value::Null), s),
            COACHING,
        ),
        case("503", GOOD, |s| gemini(2, &overloaded, s), COACHING),
        // The scrape is paid for and is used again.
        case("503 for long", GOOD, |s| gemini(3, &overloaded, s), COACHING),
        case("503 for very long", GOOD, |s| gemini(9, &overloaded, s), BUSY)
            .paid(&[("apify", "ok", 1)])
            .breaker(Closed(1)),
        case(
            "504",
            GOOD,
            |s| {
                gemini(
                    1,
                    &|| {
                        GeminiSandbox::refusal(
                            504,
                            "DEADLINE_EXCEEDED",
                            "Deadline expired before operation could complete.",
                            Value::Null,
                        )
                    },
                    s,
                )
            },
            COACHING,
        ),
        case("unanswered", GOOD, |s| gemini(1, &|| Fault::DropAfter, s), COACHING).paid(CUT),
        case("cut", GOOD, |s| gemini(1, &|| Fault::Cut, s), COACHING).paid(CUT),
        case("HTML", GOOD, |s| gemini(1, &|| page(200), s), COACHING).paid(AGAIN),
        case("cut JSON", GOOD, |s| gemini(1, &half_json, s), COACHING).paid(ONCE_MORE),
        case("half JSON always", "DHALF000001", nothing, UNREADABLE).paid(TWICE),
        case("prose always", "DPROS000001", nothing, UNREADABLE).paid(TWICE),
        case("no candidate ever", "DNOCA000001", nothing, UNREADABLE).paid(TWICE),
        case("language", "DLANG000001", nothing, "I can't process the language of this video")
            .paid(&[("apify", "ok", 1), ("gemini", "language", 1)]),
        case("it ends for another reason", "DOTHE000001", nothing, UNREADABLE)
            .paid(&[("apify", "ok", 1), ("gemini", "unreadable", 1)]),
        case("it cannot process the video", "DUNPR000001", nothing, UNREADABLE).paid(&[("apify", "ok", 1)]),
        case("a request of ours is refused", GOOD, |s| gemini(1, &unknown_name, s), NOT_SET_UP)
            .paid(&[("apify", "ok", 1)])
            .breaker(Closed(1)),
        case("MAX_TOKENS", "DCUTJ000001", nothing, UNREADABLE).paid(&[("apify", "ok", 1), ("gemini", "too_long", 1)]),
        case("blocked", "DSAFE000001", nothing, "won't describe this video")
            .paid(&[("apify", "ok", 1), ("gemini", "blocked", 1)]),
        case("nobody speaks", "DMUTE000001", nothing, COACHING),
        case(
            "quota of the day",
            GOOD,
            |s| gemini(1, &|| quota("GenerateRequestsPerDayPerProjectPerModel"), s),
            TOMORROW,
        )
        .paid(&[("apify", "ok", 1)])
        .breaker(Open),
        case(
            "quota of the day, n8n takes it",
            GOOD,
            |s| gemini(1, &|| quota("GenerateRequestsPerDayPerProjectPerModel"), s),
            COACHING,
        )
        .on(Both)
        .paid(&[("apify", "ok", 1), ("n8n", "ok", 1)])
        .breaker(Open),
        case(
            "model not there",
            GOOD,
            |s| gemini(1, &|| GeminiSandbox::refusal(404, "NOT_FOUND", "models/x is not found", Value::Null), s),
            NOT_SET_UP,
        )
        .paid(&[("apify", "ok", 1)])
        .breaker(Open),
    ]
}

fn of_n8n() -> Vec<Case> {
    let all = vec![
        case("good", GOOD, nothing, COACHING).paid(&[("n8n", "ok", 1)]),
        case("only started", "DSTAR000001", nothing, NOT_SET_UP).paid(&[("n8n", "malformed", 1)]).breaker(Closed(1)),
        case("no data", "DNODA000001", nothing, NOT_SET_UP).paid(&[("n8n", "malformed", 1)]).breaker(Closed(1)),
        case("empty 200", "DEMP2000001", nothing, NOT_SET_UP).paid(&[("n8n", "malformed", 1)]).breaker(Closed(1)),
        case("HTML", GOOD, |s| n8n(1, &|| page(200), s), NOT_SET_UP)
            .paid(&[("n8n", "malformed", 1)])
            .breaker(Closed(1)),
        // Once more, and each run pays.
        case("failed", "DERR5000001", nothing, BUSY).paid(&[("n8n", "unavailable", 2)]).breaker(Closed(1)),
        case("failed once", "DERR1000001", nothing, COACHING).paid(&[("n8n", "unavailable", 1), ("n8n", "ok", 1)]),
        case("not set up", "DNORE000001", nothing, NOT_SET_UP).paid(&[]).breaker(Closed(1)),
        // It may still run and pay: not sent again.
        case("524 of a proxy", "D524X000001", nothing, BUSY).paid(&[("n8n", "timed_out", 1)]).breaker(Closed(1)),
        case("502 of a proxy", GOOD, |s| n8n(1, &|| page(502), s), BUSY).paid(&[("n8n", "cut", 1)]).breaker(Closed(1)),
        case("unanswered", GOOD, |s| n8n(1, &|| Fault::DropAfter, s), BUSY)
            .paid(&[("n8n", "cut", 1)])
            .breaker(Closed(1)),
        case("no answer in time", GOOD, |s| n8n(1, &|| Fault::Slow(Duration::from_secs(60)), s), BUSY)
            .paid(&[("n8n", "timed_out", 1)])
            .breaker(Closed(1)),
        case("429", GOOD, |s| n8n(1, &|| answer(429, "text/plain", "Too Many Requests"), s), COACHING)
            .paid(&[("n8n", "ok", 1)]),
        case(
            "secret refused",
            GOOD,
            |s| n8n(1, &|| answer(403, "text/plain", "Authorization data is wrong!"), s),
            NOT_SET_UP,
        )
        .paid(&[])
        .breaker(Open),
        case("private", "DPRIV000002", nothing, UNAVAILABLE).paid(&[("n8n", "refused", 1)]),
        case("blocked", "DSAFE000002", nothing, "won't describe this video").paid(&[("n8n", "refused", 1)]),
    ];
    let mut all: Vec<Case> = all.into_iter().map(|case| case.on(N8n)).collect();
    all.push(
        case(
            "only started, the other webhook takes it",
            GOOD,
            |s| n8n(1, &|| in_n8ns_words("Workflow was started"), s),
            COACHING,
        )
        .on(Webhooks)
        .paid(&[("n8n", "malformed", 1), ("n8n", "ok", 1)])
        .breaker(Closed(1)),
    );
    all
}

impl TestBot {
    /// Brings everything to its end without waiting for the pauses before further tries.
    async fn drain_without_pauses(&self) {
        self.until("everything is answered", async || {
            self.db
                .execute("UPDATE jobs SET not_before = 1 WHERE state = 'queued' AND attempt > 0 AND not_before > 1")
                .await;
            self.sandbox.telegram.pending() == 0 && self.store.is_idle().await.unwrap()
        })
        .await;
    }

    async fn breaker(&self, upstream: &str) -> Is {
        let of =
            |column: &str| format!("SELECT COALESCE((SELECT {column} FROM breakers WHERE upstream = '{upstream}'), 0)");
        match self.db.number(&of("trips"), &[]).await {
            0 => Closed(self.db.number(&of("failures"), &[]).await),
            _ => Open,
        }
    }
}

/// What is wrong with a case; empty if it is as the table says.
async fn differences(case: &Case) -> Vec<String> {
    let sandbox = sandbox().await;
    let mut overrides: Vec<(String, String)> = Vec::new();
    let webhook = sandbox.n8n.webhook_url();
    if !matches!(case.lanes, Direct) {
        overrides.extend(sandbox.n8n_environment());
        overrides.push(("N8N_DEADLINE_SECONDS".into(), "10".into()));
    }
    if matches!(case.lanes, Webhooks) {
        overrides.push(("N8N_WEBHOOK_URLS".into(), format!("{webhook},{webhook}-2")));
    }
    let direct = if matches!(case.lanes, N8n | Webhooks) { "0" } else { "1" };
    overrides.push(("REEL_LANES".into(), direct.into()));
    let overrides: Vec<(&str, &str)> = overrides.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    (case.trouble)(&sandbox);
    let bot = TestBot::start_on(sandbox, Arc::new(TestDb::sqlite().await), &overrides).await;
    bot.sandbox.telegram.say(ANA, ANA, "Ana", &link(case.code));
    bot.drain_without_pauses().await;
    let mut wrong = Vec::new();
    let shown = bot.telegram(ANA);
    if shown.len() != 1 || !shown[0].contains(case.sees) {
        wrong.push(format!("sees {shown:?}"));
    }
    let mut rows = 0;
    for (provider, outcome, count) in case.paid {
        let sql = format!("SELECT COUNT(*) FROM ledger WHERE provider = '{provider}' AND outcome = '{outcome}'");
        let found = bot.db.number(&sql, &[]).await;
        rows += count;
        if found != *count {
            wrong.push(format!("paid {found} x {provider} {outcome}"));
        }
    }
    let all = bot.db.number("SELECT COUNT(*) FROM ledger WHERE provider <> 'openai'", &[]).await;
    if all != rows {
        wrong.push(format!("{all} rows in the ledger"));
    }
    let breaker = bot.breaker(case.breaker.0).await;
    if breaker != case.breaker.1 {
        wrong.push(format!("the breaker is {breaker:?}"));
    }
    // The ledger has what Apify took, and no less than what a usual run costs: none of them is asked about again yet.
    let runs = bot.sandbox.apify.runs();
    let charged: i64 = runs.iter().map(|run| run.charged_micro_usd.max(3_600)).sum();
    let told =
        case.paid.iter().all(|(provider, outcome, _)| *provider != "apify" || !matches!(*outcome, "cut" | "malformed"));
    let counted = bot
        .db
        .number("SELECT CAST(COALESCE(SUM(micro_usd), 0) AS BIGINT) FROM ledger WHERE provider = 'apify'", &[])
        .await;
    if told && counted != charged {
        wrong.push(format!("Apify's runs come to {charged}, counted are {counted}"));
    }
    bot.end().await;
    wrong
}

async fn holds(cases: Vec<Case>) {
    let results = futures::stream::iter(cases)
        .map(|case| async move {
            let name = case.name;
            (name, AssertUnwindSafe(differences(&case)).catch_unwind().await)
        })
        .buffer_unordered(AT_ONCE);
    let wrong: Vec<String> = results
        .filter_map(|(name, wrong)| async move {
            match wrong {
                Ok(wrong) if wrong.is_empty() => None,
                Ok(wrong) => Some(format!("{name}: {}", wrong.join("; "))),
                // What it says stands above.
                Err(_) => Some(format!("{name}: it panicked")),
            }
        })
        .collect()
        .await;
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn apify_in_trouble() {
    holds(of_apify()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn gemini_in_trouble() {
    holds(of_gemini()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn n8n_in_trouble() {
    holds(of_n8n()).await;
}

/// From the first failures to the first success, as those who wait see it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_breaker_opens_tries_again_and_closes() {
    let overrides = [("REEL_LANES", "2"), ("ADMIN_IDS", "telegram:42")];
    let bot = TestBot::start(TestDb::sqlite().await, &overrides).await;
    let fails = |times: usize| {
        apify("/runs", times, &|| ApifySandbox::refusal(503, "service-unavailable"), &bot.sandbox);
    };
    let sees = async |person: i64, words: &str| {
        let shown = async || bot.telegram(person).iter().any(|text| text.contains(words));
        bot.until(&format!("{person} sees “{words}”"), shown).await;
    };
    let starts = || bot.sandbox.apify.control.count("/runs");
    let half_open = async || {
        let now = Clock::System.now().0;
        bot.db.execute(&format!("UPDATE breakers SET open_until = {now}")).await;
    };
    // Three people's reels; each attempt asks three times.
    fails(9);
    for (person, code) in [(ANA, "DFIRST00001"), (2, "DFIRST00002"), (3, "DFIRST00003")] {
        bot.sandbox.telegram.say(person, person, "P", &link(code));
    }
    bot.until("it is open", async || bot.breaker("direct").await == Open).await;
    assert_eq!(starts(), 9);
    // Nothing is sent there, and whoever waits is told.
    for (person, code) in [(4, "DSECOND0001"), (5, "DTHIRD00001")] {
        bot.sandbox.telegram.say(person, person, "P", &link(code));
        sees(person, "The reel services aren't responding. I'll try again in").await;
    }
    sees(5, "still number 5").await;
    bot.sandbox.telegram.say(ANA, ANA, "Ana", "/queue");
    sees(ANA, "out of use, next try in").await;
    assert_eq!(starts(), 9);
    // Half-open: one tries that has not failed before, on one of two lanes, and fails; then it is open for longer.
    fails(3);
    half_open().await;
    let for_long = "SELECT COUNT(*) FROM breakers WHERE trips = 2 AND open_until - failed_at > 59000";
    bot.until("it is open again", async || bot.db.number(for_long, &[]).await == 1).await;
    assert_eq!(starts(), 12, "the others did not try");
    let failed = "SELECT COUNT(*) FROM jobs WHERE shortcode = 'DSECOND0001' AND not_before > 0";
    bot.until("it is one that had not failed", async || bot.db.number(failed, &[]).await == 1).await;
    sees(2, "The reel services aren't responding. I'll try again in about 1 min").await;
    // Half-open, and it works: one goes ahead, then everything does.
    bot.sandbox.apify.set_scrape(Duration::from_secs(80));
    half_open().await;
    bot.until("one tries", async || bot.scrapes() == 1).await;
    assert_eq!(bot.sandbox.apify.runs()[0].code, "DTHIRD00001");
    bot.sandbox.telegram.say(6, 6, "P", &link("DFOURTH0001"));
    sees(6, "The reel services aren't responding, so I'm trying them again now.").await;
    assert_eq!(bot.scrapes(), 1);
    bot.sandbox.apify.set_scrape(Duration::ZERO);
    bot.sandbox.apify.finish_runs();
    bot.drain_without_pauses().await;
    assert_eq!(bot.breaker("direct").await, Closed(0));
    for person in [2, 3, 4, 5, 6] {
        let shown = bot.telegram(person);
        assert!(shown.len() == 1 && shown[0].contains(COACHING), "{person}: {shown:?}");
    }
    bot.end().await;
}
