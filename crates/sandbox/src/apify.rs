//! A stand-in for Apify's Instagram actors and for Instagram's own share links and video servers. Owns
//! the documented answers of the run, dataset and account endpoints; no page is ever scraped.
//!
//! The shortcode decides how a run ends: `DFAIL…` failed, `DTIME…` timed out, `DEVER…` never, `DSLOW…` three times as
//! slow. What a scrape finds and what the video servers give is in `posts`; anything else is a good reel.

mod posts;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::scripts::{number_of, varied};
use super::{Asked, Control, Fault, Served};

/// What this stand-in is like.
#[derive(Clone, Debug)]
pub struct Settings {
    /// 0: any free port.
    pub port: u16,
    pub token: String,
    /// How long a run takes, and by which part of it this differs from reel to reel.
    pub scrape: Duration,
    pub spread: f64,
    /// What a run with one item costs; an aborted or failed one costs the start alone.
    pub price_usd: f64,
    /// How long after a run its cost is still told as nothing: Apify's totals are "eventually consistent".
    pub settles: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            port: 0,
            token: "apify_api_sandbox".into(),
            scrape: Duration::from_millis(50),
            spread: 0.0,
            price_usd: 0.0036,
            settles: Duration::ZERO,
        }
    }
}

/// A run that was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunSeen {
    pub id: String,
    pub code: String,
    /// Apify's word: READY, RUNNING, SUCCEEDED, FAILED, TIMED-OUT, ABORTED.
    pub status: &'static str,
    /// In millionths of a US dollar.
    pub charged_micro_usd: i64,
}

/// The running stand-in.
#[derive(Debug)]
pub struct ApifySandbox {
    pub served: Served,
    pub control: Control,
    apify: Arc<Apify>,
}

impl ApifySandbox {
    pub async fn start(settings: Settings) -> std::io::Result<Self> {
        let control = Control::default();
        let apify = Arc::new(Apify {
            scrape: Mutex::new(settings.scrape),
            settings,
            control: control.clone(),
            runs: Mutex::default(),
            changed: Notify::new(),
        });
        let router = Router::new().fallback(serve).with_state(apify.clone());
        let served = Served::start(apify.settings.port, router).await?;
        Ok(Self { served, control, apify })
    }

    /// Every run started so far, in order.
    pub fn runs(&self) -> Vec<RunSeen> {
        self.apify.lock().iter().map(|run| run.seen(&self.apify.settings)).collect()
    }

    /// When each of them started, and how long it takes.
    pub fn times(&self) -> Vec<(Instant, Duration)> {
        self.apify.lock().iter().map(|run| (run.at, run.takes)).collect()
    }

    /// The most runs that were going on at one time.
    pub fn most_at_once(&self) -> usize {
        let runs = self.apify.lock();
        let going = |at: Instant| runs.iter().filter(|run| run.at <= at && at < run.at + run.takes).count();
        runs.iter().map(|run| going(run.at)).max().unwrap_or(0)
    }

    /// How long the runs take that start from now on.
    pub fn set_scrape(&self, takes: Duration) {
        *self.apify.scrape.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = takes;
    }

    /// Brings every run that is going on to its end now.
    pub fn finish_runs(&self) {
        for run in self.apify.lock().iter_mut().filter(|run| matches!(run.status(), "READY" | "RUNNING")) {
            run.takes = run.at.elapsed();
        }
        self.apify.changed.notify_waiters();
    }

    /// A refusal in Apify's own shape: (401, "token-not-valid"), (402,
    /// "not-enough-usage-to-run-paid-actor"), (429, "rate-limit-exceeded") and the like.
    pub fn refusal(status: u16, kind: &str) -> Fault {
        let headers = vec![("content-type".to_owned(), "application/json; charset=utf-8".to_owned())];
        Fault::Answer { status, headers, body: error_body(kind, "Told so by the test.").to_string() }
    }
}

#[derive(Debug)]
struct Apify {
    settings: Settings,
    /// How long a run takes that starts now.
    scrape: Mutex<Duration>,
    control: Control,
    runs: Mutex<Vec<Started>>,
    /// A run ended before its time.
    changed: Notify,
}

#[derive(Clone, Debug)]
struct Started {
    id: String,
    actor: String,
    url: String,
    input: Value,
    code: String,
    at: Instant,
    takes: Duration,
    ends: &'static str,
    limit_usd: f64,
    memory: u64,
    /// In seconds, as it was asked for.
    timeout: u64,
    aborted_at: Option<Instant>,
    /// How often its items were read.
    looks: u32,
}

/// What starting a run costs, whatever it finds.
const START_USD: f64 = 0.001;

impl Started {
    fn status(&self) -> &'static str {
        let passed = self.at.elapsed();
        match () {
            () if self.aborted_at.is_some() => "ABORTED",
            () if passed >= self.takes => self.ends,
            () if passed * 10 < self.takes => "READY",
            () => "RUNNING",
        }
    }

    fn charged_usd(&self, settings: &Settings) -> f64 {
        if self.status() == "SUCCEEDED" { settings.price_usd.min(self.limit_usd) } else { START_USD }
    }

    /// What its cost is told as now.
    fn told_usd(&self, settings: &Settings) -> f64 {
        let ended_at = self.aborted_at.unwrap_or(self.at + self.takes);
        let is_over = !matches!(self.status(), "READY" | "RUNNING");
        if is_over && ended_at.elapsed() < settings.settles { 0.0 } else { self.charged_usd(settings) }
    }

    fn store(&self) -> String {
        format!("kv{}", self.id)
    }

    fn dataset(&self) -> String {
        format!("ds{}", self.id)
    }

    fn seen(&self, settings: &Settings) -> RunSeen {
        RunSeen {
            id: self.id.clone(),
            code: self.code.clone(),
            status: self.status(),
            charged_micro_usd: (self.charged_usd(settings) * 1e6).round() as i64,
        }
    }

    fn wire(&self, settings: &Settings, status: &str) -> Value {
        let over = !matches!(status, "READY" | "RUNNING" | "ABORTING");
        json!({"data": {
            "id": self.id, "actId": self.actor, "userId": "sandboxUser", "status": status, "statusMessage": null,
            "startedAt": ago(self.at.elapsed()),
            "finishedAt": over.then(|| ago(self.aborted_at.unwrap_or(self.at + self.takes).elapsed())),
            "exitCode": over.then_some(i32::from(status != "SUCCEEDED")),
            "meta": {"origin": "API"},
            "stats": {"restartCount": 0, "resurrectCount": 0, "computeUnits": 0.01},
            "options": {"build": "latest", "timeoutSecs": self.timeout, "memoryMbytes": self.memory, "diskMbytes": 2 * self.memory,
                "maxTotalChargeUsd": self.limit_usd},
            "buildId": "sandboxBuild", "buildNumber": "0.0.1", "generalAccess": "FOLLOW_USER_SETTING",
            "defaultDatasetId": self.dataset(), "defaultKeyValueStoreId": self.store(),
            "defaultRequestQueueId": format!("rq{}", self.id),
            "chargedEventCounts": {"actor-start": 1, "result": i32::from(status == "SUCCEEDED")},
            "usageTotalUsd": self.told_usd(settings),
        }})
    }
}

/// The moment `passed` before now, in the format of Apify's API.
#[expect(clippy::disallowed_methods, reason = "a stand-in uses no product module, the clock among them")]
fn ago(passed: Duration) -> String {
    (chrono::Utc::now() - passed).format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

impl Apify {
    /// The runs of an actor, a page of them.
    fn list(&self, actor: &str, query: &HashMap<String, String>) -> Response {
        let number = |name: &str, usual: usize| query.get(name).map_or(Some(usual), |text| text.parse().ok());
        let (Some(offset), Some(limit @ 1..=1000)) = (number("offset", 0), number("limit", 1000)) else {
            return error(400, "invalid-value", "Query parameters offset and limit must be numbers, limit 1 to 1000");
        };
        let desc = query.get("desc").is_some_and(|desc| matches!(desc.as_str(), "1" | "true"));
        let mut runs: Vec<Started> = self.lock().iter().filter(|run| run.actor == actor).cloned().collect();
        let total = runs.len();
        if desc {
            runs.reverse();
        }
        let named = [
            "id",
            "actId",
            "status",
            "startedAt",
            "finishedAt",
            "buildId",
            "buildNumber",
            "meta",
            "usageTotalUsd",
            "defaultKeyValueStoreId",
            "defaultDatasetId",
            "defaultRequestQueueId",
        ];
        let short = |run: &Started| {
            let whole = run.wire(&self.settings, run.status());
            named
                .iter()
                .map(|name| ((*name).to_owned(), whole["data"][*name].clone()))
                .collect::<serde_json::Map<_, _>>()
        };
        let items: Vec<_> = runs.iter().skip(offset).take(limit).map(short).collect();
        let count = items.len();
        axum::Json(json!({"data": {"total": total, "offset": offset, "limit": limit, "desc": desc, "count": count,
            "items": items}}))
        .into_response()
    }

    /// A record of a key-value store: of each run's own store, what it was started with.
    fn record(&self, store: &str, key: &str) -> Response {
        let runs = self.lock();
        match runs.iter().find(|run| run.store() == store) {
            None => error(404, "record-not-found", "Key-value Store was not found"),
            Some(run) if key == "INPUT" => axum::Json(run.input.clone()).into_response(),
            Some(_) => error(404, "record-not-found", "Record was not found"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Started>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, id: &str) -> Option<Started> {
        self.lock().iter().find(|run| run.id == id).cloned()
    }

    async fn run(&self, id: &str, query: &HashMap<String, String>) -> Response {
        let wait = match query.get("waitForFinish").map(|wait| wait.parse::<u64>()) {
            None => Duration::ZERO,
            Some(Ok(seconds @ 0..=60)) => Duration::from_secs(seconds),
            Some(_) => return error(400, "invalid-value", "Query parameter waitForFinish must be between 0 and 60"),
        };
        let deadline = Instant::now() + wait;
        loop {
            let changed = self.changed.notified();
            let Some(run) = self.find(id) else { return error(404, "record-not-found", "Actor run was not found") };
            let status = run.status();
            if !matches!(status, "READY" | "RUNNING") || Instant::now() >= deadline {
                return axum::Json(run.wire(&self.settings, status)).into_response();
            }
            tokio::select! {
                () = tokio::time::sleep_until(deadline.min(run.at + run.takes)) => {}
                () = changed => {}
            }
        }
    }

    fn abort(&self, id: &str) -> Response {
        let mut runs = self.lock();
        let Some(run) = runs.iter_mut().find(|run| run.id == id) else {
            return error(404, "record-not-found", "Actor run was not found");
        };
        let before = run.status();
        let active = matches!(before, "READY" | "RUNNING");
        run.aborted_at = run.aborted_at.or(active.then(Instant::now));
        let answer = axum::Json(run.wire(&self.settings, if active { "ABORTING" } else { before })).into_response();
        drop(runs);
        self.changed.notify_waiters();
        answer
    }

    fn start(&self, actor: &str, query: &HashMap<String, String>, input: &Value) -> Response {
        let field = match actor {
            "apify~instagram-scraper" | "shu8hvrXbJbY3Eb9W" | "apify~instagram-api-scraper" => "directUrls",
            _ => "username",
        };
        let url = match input[field].as_array().map(Vec::as_slice) {
            Some([Value::String(url)]) => url.clone(),
            _ => return error(400, "invalid-input", &format!("Input is not valid: Field input.{field} is required")),
        };
        let path = url.strip_prefix("https://www.instagram.com/").unwrap_or_default();
        let code = match path.trim_end_matches('/').split('/').collect::<Vec<_>>()[..] {
            ["reel" | "reels" | "p" | "tv", code] if !code.is_empty() => code.to_owned(),
            _ => return error(400, "invalid-input", "Input is not valid: not an Instagram post URL"),
        };
        let number = |name: &str| query.get(name).map(|text| text.parse::<f64>().unwrap_or(f64::NAN));
        let (limit_usd, memory) = (number("maxTotalChargeUsd").unwrap_or(1.0), number("memory").unwrap_or(1024.0));
        let timeout = number("timeout").unwrap_or(300.0);
        match () {
            () if limit_usd.is_nan() || limit_usd <= 0.0 => {
                return error(400, "max-total-charge-usd-must-be-greater-than-zero", "Must be greater than zero");
            }
            () if limit_usd < START_USD => {
                return error(400, "max-total-charge-usd-below-minimum", "Below the minimum of the Actor");
            }
            () if memory < 128.0 || memory.fract() != 0.0 || !(memory as u64).is_power_of_two() => {
                return error(400, "invalid-value", "Memory must be a power of 2 and at least 128");
            }
            () if timeout.is_nan() || timeout < 0.0 => return error(400, "invalid-value", "Timeout is not valid"),
            () => {}
        }
        let scrape = *self.scrape.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut takes = varied(scrape, self.settings.spread, &code) * if code.starts_with("DSLOW") { 3 } else { 1 };
        let mut ends = match code.get(..5) {
            Some("DFAIL") => "FAILED",
            Some("DTIME") => "TIMED-OUT",
            _ => "SUCCEEDED",
        };
        if code.starts_with("DEVER") {
            takes = Duration::from_secs(365 * 24 * 3600);
        }
        // The time of a run that stays READY does not run.
        if timeout > 0.0 && Duration::from_secs_f64(timeout.min(1e6)) < takes && !code.starts_with("DEVER") {
            (takes, ends) = (Duration::from_secs_f64(timeout), "TIMED-OUT");
        }
        let mut runs = self.lock();
        let id = format!("{:017x}", number_of(format!("{code} {}", runs.len()).as_bytes()));
        let run = Started {
            id,
            actor: actor.to_owned(),
            url,
            input: input.clone(),
            code,
            at: Instant::now(),
            takes,
            ends,
            limit_usd,
            memory: memory as u64,
            timeout: timeout as u64,
            aborted_at: None,
            looks: 0,
        };
        let answer = run.wire(&self.settings, "READY");
        runs.push(run);
        (StatusCode::CREATED, axum::Json(answer)).into_response()
    }

    fn items(&self, dataset: &str, host: &str) -> Response {
        let mut runs = self.lock();
        let Some(run) = runs.iter_mut().find(|run| run.dataset() == dataset) else {
            return error(404, "record-not-found", "Dataset was not found");
        };
        run.looks += 1;
        let found = if run.status() != "SUCCEEDED" || run.limit_usd < self.settings.price_usd {
            json!([])
        } else {
            posts::found(&run.code, &run.url, host, run.looks)
        };
        axum::Json(found).into_response()
    }
}

const ACTORS: [&str; 6] = [
    "apify~instagram-reel-scraper",
    "xMc5Ga1oCONPmWJIa",
    "apify~instagram-scraper",
    "shu8hvrXbJbY3Eb9W",
    "apify~instagram-api-scraper",
    "apify~instagram-post-scraper",
];

async fn serve(State(apify): State<Arc<Apify>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let query: HashMap<String, String> =
        url::form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let token = query.get("token").map_or(String::new(), |token| format!("token={token}"));
    let path = head.uri.to_string();
    let path = if token.is_empty() { path } else { path.replace(&token, "token=***") };
    let asked = Asked { method: head.method.to_string(), path, body: body.clone() };
    let control = apify.control.clone();
    let carry_out = async { route(&apify, &head.method, head.uri.path(), &query, &head.headers, &body).await };
    control.answer(asked, carry_out).await
}

async fn route(
    apify: &Apify,
    method: &Method,
    path: &str,
    query: &HashMap<String, String>,
    headers: &HeaderMap,
    body: &Value,
) -> Response {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("127.0.0.1");
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    match (method.as_str(), &segments[..]) {
        ("GET" | "HEAD", ["video", file]) => return posts::video(file.trim_end_matches(".mp4")),
        ("GET" | "HEAD", ["share", "reel" | "p", token] | ["share", token]) => return share(token),
        ("GET" | "HEAD", ["reel" | "p", _] | ["accounts", "login"]) => {
            return ([(header::CONTENT_TYPE, "text/html")], "<!doctype html><title>Instagram</title>").into_response();
        }
        (_, ["v2", ..]) => {}
        _ => return error(404, "page-not-found", "There is no API endpoint at this URL"),
    }
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = bearer.and_then(|value| value.strip_prefix("Bearer ")).or(query.get("token").map(String::as_str));
    match token {
        None => return error(401, "token-not-provided", "Authentication token was not provided"),
        Some(token) if token != apify.settings.token => {
            return error(401, "token-not-valid", "Authentication token is not valid");
        }
        Some(_) => {}
    }
    match (method.as_str(), &segments[1..]) {
        ("GET", ["users", "me"]) => {
            axum::Json(json!({"data": {"id": "sandboxUser", "username": "sandbox"}})).into_response()
        }
        (_, ["acts" | "actors", actor, ..]) if !ACTORS.contains(actor) => {
            error(404, "record-not-found", "Actor was not found")
        }
        ("GET", ["acts" | "actors", actor]) => axum::Json(json!({"data": {"id": actor}})).into_response(),
        ("POST", ["acts" | "actors", actor, "runs"]) => apify.start(actor, query, body),
        ("GET", ["acts" | "actors", actor, "runs"]) => apify.list(actor, query),
        ("GET", ["key-value-stores", store, "records", key]) => apify.record(store, key),
        ("GET", ["actor-runs", id]) => apify.run(id, query).await,
        ("POST", ["actor-runs", id, "abort"]) => apify.abort(id),
        ("GET", ["datasets", id, "items"]) => apify.items(id, host),
        _ => error(404, "page-not-found", "There is no API endpoint at this URL"),
    }
}

fn error_body(kind: &str, message: &str) -> Value {
    json!({"error": {"type": kind, "message": message}})
}

fn error(status: u16, kind: &str, message: &str) -> Response {
    (StatusCode::from_u16(status).unwrap_or_default(), axum::Json(error_body(kind, message))).into_response()
}

/// A share link: `LOGIN…` asks for a login as Instagram may; any other token leads to its reel.
fn share(token: &str) -> Response {
    let to = if token.starts_with("LOGIN") {
        "/accounts/login/?next=%2F".to_owned()
    } else {
        let code: String = token.chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).take(10).collect();
        format!("/reel/D{code}/?igsh=sandbox")
    };
    (StatusCode::FOUND, [(header::LOCATION, to)]).into_response()
}
