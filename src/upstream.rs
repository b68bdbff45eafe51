//! What every paid call has in common: its usage, the ways it fails, deadline and retry. Owns no provider; never logs a
//! body, a key or a URL with a key in it.

pub mod apify;
pub mod gemini;
pub mod n8n;
pub mod openai;
pub mod video;

use std::fmt;
use std::future::Future;
use std::sync::Once;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// Who is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    OpenAi,
    Apify,
    Gemini,
    N8n,
}

impl Provider {
    /// The name in the ledger, the metrics and the logs.
    pub fn name(self) -> &'static str {
        match self {
            Provider::OpenAi => "openai",
            Provider::Apify => "apify",
            Provider::Gemini => "gemini",
            Provider::N8n => "n8n",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The outcome in the ledger of a call that is under way: its row holds what it may cost, until its end replaces it. It
/// stays if the process dies in between.
pub const STARTED: &str = "started";

/// What one call used, as the provider counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// All input tokens, the cached and cache-written ones among them.
    pub input_tokens: u64,
    pub cached_tokens: u64,
    pub cache_write_tokens: u64,
    /// All output tokens, the reasoning ones among them.
    pub output_tokens: u64,
    pub reasoning_tokens: u64,
    /// What the provider itself says it charged, in millionths of a US dollar (Apify's `usageTotalUsd`).
    pub charged_micro_usd: Option<i64>,
    /// The call ended before the provider told its usage: the numbers are the best known ones.
    pub estimated: bool,
    /// What its tokens are billed by.
    pub tier: ServiceTier,
}

/// How fast a call was processed, which changes its price (OpenAI's `service_tier`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceTier {
    #[default]
    Standard,
    Flex,
    Priority,
    /// One that is not documented, so that its price is not known.
    Unknown,
}

impl ServiceTier {
    /// By the name that an answer gives it.
    pub fn of(name: &str) -> Self {
        match name {
            // `auto` names none: the tier that was asked for.
            "default" | "auto" => ServiceTier::Standard,
            "flex" => ServiceTier::Flex,
            "priority" | "fast" => ServiceTier::Priority,
            _ => ServiceTier::Unknown,
        }
    }
}

/// A call that failed. Its `Display` is for the operator's log; it holds no secret and no text of a person.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{provider}: {cause} ({detail}{})", .request_id.as_deref().map(|id| format!(", request {id}")).unwrap_or_default())]
pub struct Failure {
    pub provider: Provider,
    pub cause: Cause,
    /// Status codes, error types and codes: what an operator needs to look it up.
    pub detail: String,
    /// The provider's id of the request, where it gave one.
    pub request_id: Option<String>,
    /// What the failed call used all the same; boxed because failures travel through every `Result`.
    pub usage: Option<Box<Usage>>,
    /// How many of its input tokens were audio, where that may have a price of its own (Gemini).
    pub audio_tokens: u64,
}

impl Failure {
    pub fn new(provider: Provider, cause: Cause, detail: impl Into<String>) -> Self {
        Self { provider, cause, detail: detail.into(), request_id: None, usage: None, audio_tokens: 0 }
    }
}

/// Why a call failed: one variant for each different treatment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// Too many requests; try again, not before `retry_after` where it is given.
    #[error("rate limited")]
    RateLimited { retry_after: Option<Duration> },
    /// 5xx, overloaded, a connection that could not be made: try again.
    #[error("unavailable")]
    Unavailable { retry_after: Option<Duration> },
    /// No answer within the deadline.
    #[error("timed out")]
    TimedOut,
    /// The answer began and broke off.
    #[error("cut off")]
    Cut,
    /// The answer is not what the provider documents (HTML, cut JSON, a missing field).
    #[error("malformed answer")]
    Malformed,
    /// The answer came whole and holds no result: asked once more, it may.
    #[error("unusable answer")]
    Unusable,
    /// The provider cannot make anything of what it was given: asked again, it could not either.
    #[error("unreadable")]
    Unreadable,
    /// The provider does not take the language.
    #[error("language not supported")]
    Language,
    /// Credit or spending limit used up: only the operator can mend it.
    #[error("out of credit")]
    OutOfCredit,
    /// The quota of the day is used up.
    #[error("quota of the day used up")]
    DayQuota { resets_at: Timestamp },
    /// The key is refused.
    #[error("not authorised")]
    Unauthorized,
    /// The configured model, actor or webhook is not there.
    #[error("not found")]
    NotFound,
    /// The request itself is refused, whatever it is about: a fault of ours.
    #[error("bad request")]
    BadRequest,
    /// The provider's safety rules refuse the request.
    #[error("blocked")]
    Blocked,
    /// The provider's safety rules stopped the answer.
    #[error("filtered")]
    Filtered,
    /// The request is longer than the model, or the account, takes: a shorter one may work.
    #[error("input too long")]
    InputTooLong,
    /// The answer did not fit into the output limit.
    #[error("too long")]
    TooLong,
    /// We called it off ourselves.
    #[error("cancelled")]
    Cancelled,
    /// What was received could not be kept on this machine's disk: nothing is said of the provider.
    #[error("no room on the disk")]
    NoRoom,
    /// The provider's quota is taken by those who came before: it was not made. After that time it may be.
    #[error("too many are waiting")]
    Crowded { again_in: Duration },
    /// A budget does not cover it: it was not made.
    #[error("over budget")]
    OverBudget(Budget),
}

/// A budget that does not cover something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    pub whose: BudgetOf,
    pub resets_at: Timestamp,
    /// How much of it is used.
    #[serde(default = "all_of_it")]
    pub percent: u32,
}

/// Of what was written down before it was noted.
fn all_of_it() -> u32 {
    100
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BudgetOf {
    Person,
    Chat,
    /// A community's, with all its chats.
    Guild,
    /// The platform's, or the bot's as a whole.
    Everybody,
}

impl Cause {
    /// Whether the same call may work a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Cause::RateLimited { .. }
            | Cause::Unavailable { .. }
            | Cause::TimedOut
            | Cause::Cut
            | Cause::Malformed
            | Cause::Unusable
            | Cause::Crowded { .. } => true,
            Cause::OutOfCredit
            | Cause::DayQuota { .. }
            | Cause::Unreadable
            | Cause::Language
            | Cause::Unauthorized
            | Cause::NotFound
            | Cause::BadRequest
            | Cause::Blocked
            | Cause::Filtered
            | Cause::InputTooLong
            | Cause::TooLong
            | Cause::Cancelled
            | Cause::NoRoom
            | Cause::OverBudget(_) => false,
        }
    }

    /// The name in the ledger and the metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Cause::RateLimited { .. } => "rate_limited",
            Cause::Unavailable { .. } => "unavailable",
            Cause::TimedOut => "timed_out",
            Cause::Cut => "cut",
            Cause::Malformed => "malformed",
            Cause::Unusable => "unusable",
            Cause::Unreadable => "unreadable",
            Cause::Language => "language",
            Cause::OutOfCredit => "out_of_credit",
            Cause::DayQuota { .. } => "day_quota",
            Cause::Unauthorized => "unauthorized",
            Cause::NotFound => "not_found",
            Cause::BadRequest => "bad_request",
            Cause::Blocked => "blocked",
            Cause::Filtered => "filtered",
            Cause::InputTooLong => "input_too_long",
            Cause::TooLong => "too_long",
            Cause::Cancelled => "cancelled",
            Cause::NoRoom => "no_room",
            Cause::Crowded { .. } => "crowded",
            Cause::OverBudget(_) => "over_budget",
        }
    }

    /// How long the provider asks to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Cause::RateLimited { retry_after } | Cause::Unavailable { retry_after } => *retry_after,
            _ => None,
        }
    }
}

/// How often and how long a call is repeated.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// Calls in all, the first one among them.
    pub attempts: u32,
    /// The first pause; it doubles, with jitter.
    pub first_pause: Duration,
    /// The longest pause; a longer `Retry-After` ends the retries.
    pub longest_pause: Duration,
}

impl RetryPolicy {
    pub const STANDARD: RetryPolicy =
        RetryPolicy { attempts: 3, first_pause: Duration::from_millis(500), longest_pause: Duration::from_secs(30) };
}

/// Repeats `call` while it fails in a way that `again` calls repeatable, within the policy. A
/// `Retry-After` is obeyed; one beyond the longest pause ends the retries, because whoever waits is
/// better told so.
pub async fn retry<T, F>(
    policy: RetryPolicy,
    again: impl Fn(&Failure) -> bool,
    mut call: impl FnMut(u32) -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let mut pauses = ExponentialBuilder::default()
        .with_min_delay(policy.first_pause)
        .with_max_delay(policy.longest_pause)
        .with_max_times(policy.attempts.saturating_sub(1) as usize)
        .with_jitter()
        .build();
    let mut attempt = 1;
    loop {
        let failure = match call(attempt).await {
            Ok(value) => return Ok(value),
            Err(failure) => failure,
        };
        if matches!(failure.cause, Cause::RateLimited { .. }) {
            metrics::counter!(crate::telemetry::RATE_LIMITED, "provider" => failure.provider.name()).increment(1);
        }
        let asked = failure.cause.retry_after();
        let pause = match pauses.next() {
            Some(pause) if again(&failure) && asked.is_none_or(|asked| asked <= policy.longest_pause) => {
                asked.map_or(pause, |asked| asked.max(pause.min(Duration::from_millis(100))))
            }
            _ => return Err(failure),
        };
        tracing::warn!(provider = %failure.provider, cause = failure.cause.name(), attempt, pause_ms = pause.as_millis() as u64, "retrying: {failure}");
        tokio::time::sleep(pause).await;
        attempt += 1;
    }
}

/// The HTTP client that all our own calls share. `read_timeout` bounds the silence between two reads;
/// the whole of a call is bounded by whoever makes it, because a stream has no total.
///
/// # Errors
/// When the system has no CA certificates (Debian: package `ca-certificates`).
pub fn http_client() -> Result<reqwest::Client, reqwest::Error> {
    client().read_timeout(Duration::from_secs(90)).build()
}

/// The HTTP client for calls that stay silent until they answer, for minutes perhaps (Gemini's
/// `generateContent`, an n8n workflow): like [`http_client`], but silence has no bound of its own, so
/// every request made with it must have a total timeout.
///
/// # Errors
/// As [`http_client`].
pub fn patient_http_client() -> Result<reqwest::Client, reqwest::Error> {
    client().build()
}

fn client() -> reqwest::ClientBuilder {
    install_crypto();
    reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(5))
        // A burst leaves a connection for each of its calls; beyond these they are not worth their memory (20 KB each).
        .pool_max_idle_per_host(64)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("reelcoach/", env!("CARGO_PKG_VERSION")))
}

/// Makes ring the process's TLS provider. reqwest panics without one, so every client goes through here.
pub fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that a provider is installed already, which is just as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// Turns what reqwest says of a call into a cause, without the URL.
pub fn transport_cause(error: &reqwest::Error) -> Cause {
    if error.is_timeout() {
        Cause::TimedOut
    } else if error.is_connect() || error.is_request() {
        Cause::Unavailable { retry_after: None }
    } else if error.is_decode() {
        Cause::Malformed
    } else {
        Cause::Cut
    }
}

/// The whole body of an answer. One of more than `max` bytes is [`Cause::Malformed`]: nothing that is
/// read this way is documented to be that long.
pub async fn read_body(mut response: reqwest::Response, max: usize) -> Result<Vec<u8>, Cause> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= max => body.extend_from_slice(&chunk),
            Ok(Some(_)) => return Err(Cause::Malformed),
            Ok(None) => return Ok(body),
            Err(error) if error.is_timeout() => return Err(Cause::TimedOut),
            Err(_) => return Err(Cause::Cut),
        }
    }
}

/// The pause that a `Retry-After` header asks for: seconds, or an HTTP date.
pub fn retry_after(headers: &reqwest::header::HeaderMap, now: Timestamp) -> Option<Duration> {
    if let Some(ms) = headers.get("retry-after-ms").and_then(|v| v.to_str().ok()).and_then(|v| v.trim().parse().ok()) {
        return Some(Duration::from_millis(ms));
    }
    let value = headers.get(reqwest::header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    Some(http_date(value)?.since(now))
}

/// When an answer was made, by the clock of whoever made it: its `Date` header, which tells whole seconds.
pub fn date(headers: &reqwest::header::HeaderMap) -> Option<Timestamp> {
    http_date(headers.get(reqwest::header::DATE)?.to_str().ok()?)
}

fn http_date(value: &str) -> Option<Timestamp> {
    let at = chrono::DateTime::parse_from_rfc2822(value).ok()?;
    Some(Timestamp(at.timestamp_millis()))
}
