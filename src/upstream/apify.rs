//! Apify: one Instagram scrape as one actor run, from its start to its items. Owns the wire format and
//! what a run is charged; never follows the links it returns and never starts a run that may run already.
//!
//! Facts are from Apify's API reference (run actor, get run, abort run, dataset items) and from recorded
//! items of `apify/instagram-reel-scraper`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{RequestBuilder, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Cause, Failure, Provider, RetryPolicy, Usage, read_body, retry, retry_after, transport_cause};
use crate::clock::{Clock, Timestamp};
use crate::ids::Shortcode;

/// How to reach and to limit Apify.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `https://api.apify.com`, without a trailing slash.
    pub base_url: String,
    pub token: SecretString,
    /// The actor as `user~name` or by its id.
    pub actor: String,
    /// Apify itself ends a run after this time. A post that does not exist takes about a minute.
    pub run_timeout: Duration,
    /// Memory of a run in MB, a power of two from 128; `None` leaves it to the actor.
    pub memory_mb: Option<u32>,
    /// The most one run may be charged, in millionths of a US dollar; above zero.
    pub max_charge_micro_usd: i64,
    /// The longest we wait for a run, queueing at Apify included; longer than `run_timeout`.
    pub deadline: Duration,
    /// The longest one call may take that is answered at once.
    pub call_timeout: Duration,
    /// The pause before a data set that is empty is looked at once more: it may lag behind the run.
    pub second_look: Duration,
    pub retry: RetryPolicy,
}

impl Settings {
    /// The settings that need no choice: the reel actor, 90 s for a run, at most 0.05 USD each.
    pub fn new(base_url: impl Into<String>, token: SecretString) -> Self {
        Self {
            base_url: base_url.into(),
            token,
            actor: "apify~instagram-reel-scraper".into(),
            run_timeout: Duration::from_secs(90),
            memory_mb: None,
            max_charge_micro_usd: 50_000,
            deadline: Duration::from_secs(120),
            call_timeout: Duration::from_secs(30),
            second_look: Duration::from_millis(2500),
            retry: RetryPolicy::STANDARD,
        }
    }
}

/// Apify's id of a run: letters and digits, at most 64 of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RunId(String);

impl RunId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is not the id of a run or of a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an Apify id")]
pub struct BadRunId;

impl FromStr for RunId {
    type Err = BadRunId;
    fn from_str(text: &str) -> Result<Self, BadRunId> {
        let good = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
        if good { Ok(Self(text.to_owned())) } else { Err(BadRunId) }
    }
}

/// How far a run is. READY, RUNNING, TIMING-OUT and ABORTING are all `Active`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunStatus {
    Active,
    Succeeded,
    Failed,
    TimedOut,
    Aborted,
}

/// A run as Apify last told of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    pub id: RunId,
    pub status: RunStatus,
    /// What it was charged: `charged_micro_usd` is `None` when Apify did not say (then it is `estimated`).
    pub usage: Usage,
    /// By Apify's clock.
    pub finished_at: Option<Timestamp>,
    dataset: Option<RunId>,
}

/// What the run of one post found. Each is billed alike.
#[derive(Clone, Debug, PartialEq)]
pub enum Scraped {
    Video(Box<Post>),
    NoVideo {
        kind: Still,
    },
    /// A video without a link.
    NoLink,
    Unavailable {
        reason: Unavailable,
    },
    /// The actor did not get to see the post, by its error's name (refused for its rate, sent to the login): that says
    /// nothing of the post.
    Failed {
        name: String,
    },
}

/// A post without a video.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Still {
    Photo,
    Carousel,
    Other,
}

/// Why the scraper could not see a post. A deleted, a private and an age-restricted one can all look
/// like `NotFound`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unavailable {
    NotFound,
    NoItems,
    RestrictedPage,
    /// The dataset is empty, and stayed so.
    Empty,
}

/// A post with a video. Anyone may have written its texts: untrusted.
#[derive(Clone, Debug, PartialEq)]
pub struct Post {
    pub shortcode: Option<Shortcode>,
    /// Empty where there is none; at most 5,000 characters.
    pub caption: String,
    /// The account's name without `@`; empty where it is not told.
    pub owner: String,
    /// A signed link that expires within hours: never stored, never logged.
    pub video_url: String,
    pub duration_s: Option<f64>,
    /// `None` where hidden or not told; so are the next two.
    pub likes: Option<i64>,
    pub comments: Option<i64>,
    pub plays: Option<i64>,
    /// ISO 8601, UTC.
    pub posted_at: Option<String>,
    /// `song – artist`.
    pub music: Option<String>,
    /// At most 50.
    pub hashtags: Vec<String>,
}

/// The client.
#[derive(Clone, Debug)]
pub struct Apify {
    http: reqwest::Client,
    clock: Clock,
    settings: Settings,
}

impl Apify {
    pub fn new(http: reqwest::Client, clock: Clock, settings: Settings) -> Self {
        Self { http, clock, settings }
    }

    /// The actor, which is what the ledger calls the model.
    pub fn actor(&self) -> &str {
        &self.settings.actor
    }

    /// Starts the run for one post.
    ///
    /// It is repeated only when it has certainly not started (no connection, 429, a 5xx in Apify's own
    /// words): a run that started unseen is paid, and so would be the second one.
    ///
    /// # Errors
    /// A failure with a `usage` (estimated, nothing known) may have started a run all the same.
    pub async fn start(&self, code: &Shortcode) -> Result<RunId, Failure> {
        let again = |f: &Failure| matches!(f.cause, Cause::RateLimited { .. } | Cause::Unavailable { .. });
        retry(self.settings.retry, again, |_| self.start_once(code)).await
    }

    /// Waits until the run is over, however it ended.
    ///
    /// # Errors
    /// [`Cause::TimedOut`] when it is not over by the deadline; the run itself goes on.
    pub async fn wait(&self, run: &RunId) -> Result<Run, Failure> {
        let deadline = Instant::now() + self.settings.deadline;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let found = self.look(run, left.as_secs().clamp(1, 60)).await?;
            if found.status != RunStatus::Active {
                return Ok(found);
            }
            if Instant::now() >= deadline {
                let mut failure = failure(Cause::TimedOut, "the run is not over by the deadline");
                failure.usage = Some(Box::new(Usage { estimated: true, ..found.usage }));
                return Err(failure);
            }
            // Something between us and Apify may answer at once in spite of `waitForFinish`.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Looks at a run as it is now. What a run cost is final some 10 s after it has ended, and may be nothing before.
    ///
    /// # Errors
    /// [`Cause::NotFound`] when there is no such run (any more).
    pub async fn read(&self, run: &RunId) -> Result<Run, Failure> {
        self.look(run, 0).await
    }

    /// Finds a run for this post that was started at `since` or later, and whose id was never heard: its answer was lost,
    /// or the process that waited for it died. The newest that goes on or has succeeded; `None` if there is none.
    ///
    /// Looks at the actor's newest runs, and reads the input of those that come into question (Apify's API reference:
    /// get list of runs, get record `INPUT` of the run's default key-value store).
    pub async fn find_run(&self, code: &Shortcode, since: Timestamp) -> Result<Option<RunId>, Failure> {
        let (base, actor) = (&self.settings.base_url, &self.settings.actor);
        let runs = self.get(&format!("{base}/v2/acts/{actor}/runs?desc=1&limit={NEWEST_RUNS}"), "runs").await?;
        let Some(runs) = runs["data"]["items"].as_array() else {
            return Err(failure(Cause::Malformed, "the answer lists no runs"));
        };
        let since = since.0.saturating_sub(CLOCKS_APART_MS);
        let is_recent = |run: &&Value| {
            let started = run["startedAt"].as_str().and_then(|at| chrono::DateTime::parse_from_rfc3339(at).ok());
            started.is_some_and(|at| at.timestamp_millis() >= since)
        };
        let may_find = |run: &&Value| matches!(run["status"].as_str(), Some("READY" | "RUNNING" | "SUCCEEDED"));
        let wanted = input(actor, code);
        for run in runs.iter().filter(is_recent).filter(may_find) {
            let store = run["defaultKeyValueStoreId"].as_str().and_then(|id| id.parse::<RunId>().ok());
            let (Some(store), Some(id)) = (store, run["id"].as_str().and_then(|id| id.parse().ok())) else { continue };
            let url = format!("{base}/v2/key-value-stores/{store}/records/INPUT");
            match self.get(&url, "input").await {
                // Apify may have added what the actor takes by default.
                Ok(found) if ["username", "directUrls"].iter().all(|name| found[name] == wanted[name]) => {
                    return Ok(Some(id));
                }
                Ok(_) => {}
                Err(failure) if failure.cause == Cause::NotFound => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(None)
    }

    async fn get(&self, url: &str, what: &str) -> Result<Value, Failure> {
        retry(
            self.settings.retry,
            |f| f.cause.is_transient(),
            async |_| {
                let response = self.send(self.http.get(url), self.settings.call_timeout).await;
                self.json(response.map_err(|e| lost(&e, what))?).await
            },
        )
        .await
    }

    /// Reads what a finished run found of one post.
    pub async fn items(&self, run: &Run, code: &Shortcode) -> Result<Scraped, Failure> {
        let Some(dataset) = &run.dataset else {
            return Err(failure(Cause::Malformed, "the run names no dataset"));
        };
        let mut items = self.dataset(dataset).await?;
        if items.is_empty() {
            tokio::time::sleep(self.settings.second_look).await;
            items = self.dataset(dataset).await?;
        }
        Ok(scraped(&items, code))
    }

    async fn dataset(&self, dataset: &RunId) -> Result<Vec<Value>, Failure> {
        let url = format!("{}/v2/datasets/{dataset}/items?clean=true&format=json&limit=50", self.settings.base_url);
        let items = self.get(&url, "items").await?;
        match items {
            Value::Array(items) => Ok(items),
            _ => Err(failure(Cause::Malformed, "the items are not a list")),
        }
    }

    /// Stops a run and tells what it was charged. A run that is over stays as it is.
    pub async fn abort(&self, run: &RunId) -> Result<Run, Failure> {
        let url = format!("{}/v2/actor-runs/{run}/abort", self.settings.base_url);
        let stopped = retry(
            self.settings.retry,
            |f| f.cause.is_transient(),
            async |_| {
                let response = self.send(self.http.post(&url), self.settings.call_timeout).await;
                let response = response.map_err(|e| lost(&e, "abort"))?;
                run_in(&self.json(response).await?)
            },
        )
        .await?;
        // The charge is final only when the run is over.
        if stopped.status == RunStatus::Active { self.look(run, 3).await.or(Ok(stopped)) } else { Ok(stopped) }
    }

    /// Asks whether the token and the actor are good. Costs nothing.
    pub async fn reachable(&self) -> Result<(), Failure> {
        let base = &self.settings.base_url;
        for url in [format!("{base}/v2/users/me"), format!("{base}/v2/acts/{}", self.settings.actor)] {
            let response = self.send(self.http.get(&url), self.settings.call_timeout).await;
            self.json(response.map_err(|e| lost(&e, "no connection"))?).await?;
        }
        Ok(())
    }

    async fn start_once(&self, code: &Shortcode) -> Result<RunId, Failure> {
        let unknown = |cause, detail: &str| Failure {
            usage: Some(Box::new(Usage { estimated: true, ..Usage::default() })),
            ..failure(cause, format!("{detail}; a run may have started"))
        };
        let settings = &self.settings;
        let mut query = vec![
            ("timeout", settings.run_timeout.as_secs().max(1).to_string()),
            ("maxTotalChargeUsd", format!("{:.6}", settings.max_charge_micro_usd as f64 / 1e6)),
        ];
        query.extend(settings.memory_mb.map(|mb| ("memory", mb.to_string())));
        let url = format!("{}/v2/acts/{}/runs", settings.base_url, settings.actor);
        let request = self.http.post(url).query(&query).json(&input(&settings.actor, code));
        let response = self.send(request, settings.call_timeout).await.map_err(|error| {
            if error.is_connect() || error.is_builder() {
                lost(&error, "no connection")
            } else if error.is_timeout() {
                unknown(Cause::TimedOut, "no answer")
            } else {
                unknown(Cause::Cut, "connection lost")
            }
        })?;
        let (status, headers) = (response.status(), response.headers().clone());
        match read_body(response, MAX_BODY).await {
            Ok(body) if status.is_success() => serde_json::from_slice(&body)
                .ok()
                .and_then(|answer| run_in(&answer).ok())
                .map(|run| run.id)
                .ok_or_else(|| unknown(Cause::Malformed, "the answer names no run")),
            Ok(body) if status.is_server_error() && error_type(&body).is_none() => {
                Err(unknown(Cause::Cut, &format!("HTTP {status}, not from Apify")))
            }
            Ok(body) => Err(self.refusal(status, &headers, &body)),
            Err(cause) => Err(unknown(cause, &format!("HTTP {status}"))),
        }
    }

    async fn look(&self, run: &RunId, seconds: u64) -> Result<Run, Failure> {
        let url = format!("{}/v2/actor-runs/{run}?waitForFinish={seconds}", self.settings.base_url);
        retry(
            self.settings.retry,
            |f| f.cause.is_transient(),
            async |_| {
                let timeout = self.settings.call_timeout + Duration::from_secs(seconds);
                let response = self.send(self.http.get(&url), timeout).await;
                let response = response.map_err(|e| lost(&e, "run"))?;
                run_in(&self.json(response).await?)
            },
        )
        .await
    }

    async fn send(&self, request: RequestBuilder, timeout: Duration) -> Result<Response, reqwest::Error> {
        request.bearer_auth(self.settings.token.expose_secret()).timeout(timeout).send().await
    }

    async fn json(&self, response: Response) -> Result<Value, Failure> {
        let (status, headers) = (response.status(), response.headers().clone());
        let body = read_body(response, MAX_BODY).await.map_err(|cause| failure(cause, format!("HTTP {status}")))?;
        if !status.is_success() {
            return Err(self.refusal(status, &headers, &body));
        }
        serde_json::from_slice(&body).map_err(|_| failure(Cause::Malformed, format!("HTTP {status}, not JSON")))
    }

    fn refusal(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
        let kind = error_type(body);
        let kind = kind.as_deref().unwrap_or("");
        let retry_after = retry_after(headers, self.clock.now());
        let cause = match (status.as_u16(), kind) {
            (_, "actor-memory-limit-exceeded") | (429, _) => Cause::RateLimited { retry_after },
            // The monthly limit of the account is reported as a feature that is switched off.
            (402, _) | (403, "platform-feature-disabled" | "monthly-usage-hard-limit-exceeded") => Cause::OutOfCredit,
            (401 | 403, _) => Cause::Unauthorized,
            (404, _) => Cause::NotFound,
            (408, _) => Cause::TimedOut,
            (500.., _) => Cause::Unavailable { retry_after },
            (400..500, _) => Cause::BadRequest,
            _ => Cause::Malformed,
        };
        failure(cause, format!("HTTP {} {kind}", status.as_u16()).trim_end().to_owned())
    }
}

/// Among so many of the actor's newest runs one is looked for whose id was not heard.
const NEWEST_RUNS: u32 = 50;

/// How far Apify's clock and ours may be apart, in milliseconds; an earlier run for the same post is as good.
const CLOCKS_APART_MS: i64 = 10 * 60_000;

/// More than a dataset of one post ever was (about 30 kB with comments).
const MAX_BODY: usize = 8 << 20;

fn failure(cause: Cause, detail: impl Into<String>) -> Failure {
    Failure::new(Provider::Apify, cause, detail)
}

fn lost(error: &reqwest::Error, what: &str) -> Failure {
    if error.is_builder() {
        failure(Cause::Unauthorized, "the address or the token cannot be sent")
    } else if error.is_connect() {
        failure(Cause::Unavailable { retry_after: None }, "no connection")
    } else {
        failure(transport_cause(error), what)
    }
}

/// The input of the known Instagram actors for one post. The reel actor's field is called `username`
/// but takes addresses too.
fn input(actor: &str, code: &Shortcode) -> Value {
    match actor {
        "apify~instagram-scraper" | "shu8hvrXbJbY3Eb9W" | "apify~instagram-api-scraper" => {
            json!({"directUrls": [code.url()], "resultsType": "posts", "resultsLimit": 1})
        }
        "apify~instagram-post-scraper" => json!({"username": [code.url()], "dataDetailLevel": "basicData"}),
        _ => json!({
            "username": [code.url()], "resultsLimit": 1, "includeTranscript": false, "includeSharesCount": false,
            "includeDownloadedVideo": false, "skipPinnedPosts": false, "skipTrialReels": false,
        }),
    }
}

/// `error.type` of Apify's own errors; `None` for whatever a proxy says.
fn error_type(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let kind = body["error"]["type"].as_str()?;
    Some(kind.chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).take(64).collect())
}

fn run_in(answer: &Value) -> Result<Run, Failure> {
    let data = &answer["data"];
    let id = data["id"].as_str().and_then(|id| id.parse().ok());
    let id = id.ok_or_else(|| failure(Cause::Malformed, "the answer names no run"))?;
    let status = match data["status"].as_str() {
        Some("SUCCEEDED") => RunStatus::Succeeded,
        Some("FAILED") => RunStatus::Failed,
        Some("TIMED-OUT") => RunStatus::TimedOut,
        Some("ABORTED") => RunStatus::Aborted,
        _ => RunStatus::Active,
    };
    let usd = data["usageTotalUsd"].as_f64().filter(|usd| (0.0..1e6).contains(usd));
    let charged_micro_usd = usd.map(|usd| (usd * 1e6).round() as i64);
    Ok(Run {
        id,
        status,
        usage: Usage { charged_micro_usd, estimated: charged_micro_usd.is_none(), ..Usage::default() },
        finished_at: data["finishedAt"].as_str().and_then(Timestamp::from_rfc3339),
        dataset: data["defaultDatasetId"].as_str().and_then(|id| id.parse().ok()),
    })
}

/// One address was asked for: the item of that post decides, wherever it stands, else an error, else the first. In an item
/// an error comes before everything else, because an error item can look like half a post.
fn scraped(items: &[Value], code: &Shortcode) -> Scraped {
    let own = |item: &&Value| item["shortCode"].as_str().and_then(|found| found.parse().ok()).as_ref() == Some(code);
    let found = items.iter().find(own).or_else(|| items.iter().find(|item| !item["error"].is_null()));
    let Some(item) = found.or(items.first()) else {
        return Scraped::Unavailable { reason: Unavailable::Empty };
    };
    if !item["error"].is_null() {
        return match error_name(&item["error"]).as_str() {
            "not_found" => Scraped::Unavailable { reason: Unavailable::NotFound },
            "no_items" => Scraped::Unavailable { reason: Unavailable::NoItems },
            "restricted_page" => Scraped::Unavailable { reason: Unavailable::RestrictedPage },
            name => Scraped::Failed { name: name.to_owned() },
        };
    }
    let children = item["childPosts"].as_array().map(Vec::as_slice).unwrap_or_default();
    let link = |post: &Value| post["videoUrl"].as_str().filter(|url| !url.is_empty()).map(str::to_owned);
    let found = link(item).map(|url| (url, item)).or_else(|| children.iter().find_map(|c| Some((link(c)?, c))));
    let Some((video_url, with_video)) = found else {
        return match item["type"].as_str() {
            Some("Video") => Scraped::NoLink,
            Some("Sidecar") => Scraped::NoVideo { kind: Still::Carousel },
            Some("Image") => Scraped::NoVideo { kind: Still::Photo },
            Some(_) => Scraped::NoVideo { kind: Still::Other },
            None => Scraped::Failed { name: "item-without-a-type".into() },
        };
    };
    let count = |name: &str| item[name].as_i64().filter(|count| *count >= 0);
    Scraped::Video(Box::new(Post {
        shortcode: item["shortCode"].as_str().and_then(|code| code.parse().ok()),
        caption: text(item["caption"].as_str().unwrap_or_default(), 5_000),
        owner: text(item["ownerUsername"].as_str().unwrap_or_default(), 64),
        video_url,
        duration_s: with_video["videoDuration"].as_f64().filter(|s| *s > 0.0),
        likes: count("likesCount"),
        comments: count("commentsCount"),
        plays: count("videoPlayCount").or_else(|| count("igPlayCount")).or_else(|| count("videoViewCount")),
        posted_at: item["timestamp"].as_str().map(|at| text(at, 40)),
        music: music(&item["musicInfo"]),
        hashtags: item["hashtags"]
            .as_array()
            .map(|tags| tags.iter().filter_map(Value::as_str).take(50).map(|tag| text(tag, 100)).collect())
            .unwrap_or_default(),
    }))
}

/// An actor's error in one word; some tell it as a text, some as an object.
fn error_name(error: &Value) -> String {
    let parts = ["type", "name", "code"].iter().filter_map(|part| error[*part].as_str());
    let name = error.as_str().or(parts.into_iter().next()).unwrap_or("unnamed");
    name.chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).take(64).collect()
}

fn music(info: &Value) -> Option<String> {
    let names: Vec<&str> = ["song_name", "artist_name"].iter().filter_map(|name| info[*name].as_str()).collect();
    Some(text(&names.join(" – "), 200)).filter(|music| !music.is_empty())
}

fn text(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

#[cfg(test)]
mod tests;
