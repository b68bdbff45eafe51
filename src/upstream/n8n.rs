//! An n8n workflow as another way through a reel: one webhook call, answered when the workflow is done.
//! Owns the contract with the workflow and what the many other answers of n8n mean; never repeats a call
//! whose workflow may still run.
//!
//! The contract (ours; n8n wraps the request under `body`):
//! `POST {url}`, header `X-Reel-Secret`, `{"job_id","shortcode","url","question":null}` →
//! `200 {"job_id","ok":true,"caption","owner","analysis"}` or
//! `200 {"job_id","ok":false,"error":{"kind","message"}}`.
//! What else n8n may answer is from its source (2.41, `dist/webhooks`) and documentation.

use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::{Cause, Failure, Provider, RetryPolicy, Usage, read_body, retry, retry_after, transport_cause};
use crate::clock::Clock;
use crate::ids::{JobId, Shortcode};

/// One webhook.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The whole production address, `https://…/webhook/…`.
    pub url: String,
    /// What the webhook node expects in the header `X-Reel-Secret`.
    pub secret: SecretString,
    /// The longest a workflow may take. n8n Cloud ends a silent call after 100 s. The answer comes in
    /// one piece at the end, so `http` must allow as much silence.
    pub timeout: Duration,
    /// For calls that did not start the workflow.
    pub retry: RetryPolicy,
}

/// What the workflow answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum N8nResult {
    /// All three are untrusted; at most 5,000, 64 and 40,000 characters.
    Done { caption: String, owner: String, analysis: String },
    /// The workflow could not serve this reel. `kind`: `private`, `not_video` and the like.
    Refused { kind: String, message: String },
}

/// The client of one webhook.
#[derive(Clone, Debug)]
pub struct N8n {
    http: reqwest::Client,
    clock: Clock,
    settings: Settings,
}

impl N8n {
    pub fn new(http: reqwest::Client, clock: Clock, settings: Settings) -> Self {
        Self { http, clock, settings }
    }

    /// Whether the address is one of n8n's test webhooks, which serve one call after a click.
    pub fn is_test_url(&self) -> bool {
        self.settings.url.contains("/webhook-test/")
    }

    /// Has the workflow process one reel: one run of it at most.
    ///
    /// # Errors
    /// A failure with a `usage` (estimated, nothing known) has or may have run the workflow, which pays for each of its
    /// runs. [`Cause::Unavailable`] with one: the workflow ran and failed, by n8n's own word. [`Cause::Malformed`] and
    /// [`Cause::BadRequest`] tell in `detail` how to mend the workflow.
    pub async fn run(&self, job: &JobId, code: &Shortcode) -> Result<N8nResult, Failure> {
        let again =
            |f: &Failure| f.usage.is_none() && matches!(f.cause, Cause::RateLimited { .. } | Cause::Unavailable { .. });
        retry(self.settings.retry, again, |_| self.run_once(job, code)).await
    }

    async fn run_once(&self, job: &JobId, code: &Shortcode) -> Result<N8nResult, Failure> {
        let body = json!({"job_id": job.to_string(), "shortcode": code, "url": code.url(), "question": null});
        let mut secret = reqwest::header::HeaderValue::from_str(self.settings.secret.expose_secret())
            .map_err(|_| failure(Cause::Unauthorized, "the secret cannot be sent in a header"))?;
        secret.set_sensitive(true);
        let request = self.http.post(&self.settings.url).header("X-Reel-Secret", secret).json(&body);
        let response = request.timeout(self.settings.timeout).send().await.map_err(|error| {
            if error.is_builder() {
                failure(Cause::NotFound, "the address cannot be asked")
            } else if error.is_connect() {
                failure(Cause::Unavailable { retry_after: None }, "no connection")
            } else if transport_cause(&error) == Cause::TimedOut {
                ran(Cause::TimedOut, "no answer; the workflow may still run")
            } else {
                ran(Cause::Cut, "connection lost; the workflow may still run")
            }
        })?;
        let (status, headers) = (response.status(), response.headers().clone());
        let content_type = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let is_json = content_type.split(';').next().unwrap_or_default().trim().ends_with("json");
        let body = read_body(response, MAX_BODY).await.map_err(|cause| ran(cause, format!("HTTP {status}")))?;
        let answer: Option<Value> = if is_json { serde_json::from_slice(&body).ok() } else { None };
        let message = answer.as_ref().and_then(|answer| answer["message"].as_str()).unwrap_or_default();
        let message = self.without_secrets(message);
        let retry_after = retry_after(&headers, self.clock.now());
        let status = status.as_u16();
        let (cause, why) = match status {
            200..=299 => return done(job, answer, &message, body.len()),
            401 | 403 | 428 => (Cause::Unauthorized, "the webhook refuses the secret"),
            404 if message.contains("not registered for") => (Cause::NotFound, "the Webhook node must accept POST"),
            404 => (Cause::NotFound, "no such webhook; is the workflow active, and the address its production URL?"),
            408 | 504 | 524 => (Cause::TimedOut, "a proxy gave up; the workflow may still run"),
            429 => (Cause::RateLimited { retry_after }, "a proxy asks to wait"),
            // Without n8n's own words it is a proxy, which does not know whether the workflow runs.
            500.. if message.is_empty() => (Cause::Cut, "not from n8n; the workflow may still run"),
            500.. if SET_UP_WRONG.iter().any(|words| message.contains(words)) => {
                (Cause::BadRequest, "the workflow is not set up")
            }
            500.. => (Cause::Unavailable { retry_after }, "the workflow failed: see its executions"),
            400..500 => (Cause::BadRequest, "refused"),
            _ => (Cause::BadRequest, "a redirect: use the address it leads to"),
        };
        let said = if message.is_empty() { String::new() } else { format!(" (n8n: {message})") };
        let detail = format!("HTTP {status}: {why}{said}");
        Err(match cause {
            Cause::TimedOut | Cause::Cut | Cause::Unavailable { .. } => ran(cause, detail),
            _ => failure(cause, detail),
        })
    }

    /// What n8n says itself, as far as a log may hold it: one line, without the secret and without addresses.
    fn without_secrets(&self, message: &str) -> String {
        let message = message.replace(self.settings.secret.expose_secret(), "***");
        let words = message.split_whitespace().map(|word| if word.contains("://") { "…" } else { word });
        let line = words.collect::<Vec<_>>().join(" ");
        line.chars().filter(|c| !c.is_control()).take(200).collect()
    }
}

/// What n8n says before it runs anything, because the workflow's nodes do not fit together.
const SET_UP_WRONG: [&str; 5] = [
    "Respond to Webhook node",
    "could not be started",
    "authentication data defined",
    "not correctly configured",
    "has no trigger",
];

/// Far above any analysis.
const MAX_BODY: usize = 1 << 20;

fn failure(cause: Cause, detail: impl Into<String>) -> Failure {
    Failure::new(Provider::N8n, cause, detail)
}

/// The workflow has run, or may have.
fn ran(cause: Cause, detail: impl Into<String>) -> Failure {
    let usage = Usage { estimated: true, ..Usage::default() };
    Failure { usage: Some(Box::new(usage)), ..failure(cause, detail) }
}

const RESPOND: &str = "the Webhook node must respond with 'Using Respond to Webhook node' or 'When last node finishes'";

/// Reads an answer with status 2xx, which n8n gives for much that is no result.
fn done(job: &JobId, answer: Option<Value>, message: &str, bytes: usize) -> Result<N8nResult, Failure> {
    let broken = |detail: String| ran(Cause::Malformed, detail);
    if bytes == 0 {
        return Err(broken(format!("an empty answer: Respond to Webhook was not reached; {RESPOND}")));
    }
    let Some(mut answer) = answer else {
        return Err(broken(format!("the answer is not JSON; {RESPOND} and send JSON")));
    };
    if message.starts_with("Workflow was started") || message.starts_with("Workflow got started") {
        return Err(broken(format!("the workflow was only started; {RESPOND}")));
    }
    if message.contains("no data was returned") || message.contains("did not return any data") {
        return Err(broken(format!("the last node returned no data; {RESPOND}")));
    }
    // "All incoming items" gives a list of one.
    if let Some(first) = answer.as_array_mut().filter(|items| items.len() == 1).and_then(|items| items.pop()) {
        answer = first;
    }
    if answer["job_id"].as_str().is_some_and(|id| id != job.to_string()) {
        return Err(broken("the answer is about another job".into()));
    }
    let text = |value: &Value, most: usize| value.as_str().unwrap_or_default().chars().take(most).collect::<String>();
    match answer["ok"].as_bool() {
        Some(false) => {
            let kind = text(&answer["error"]["kind"], 40);
            let kind = kind.chars().filter(|c| c.is_ascii_alphanumeric() || "_-".contains(*c)).collect();
            Ok(N8nResult::Refused { kind, message: text(&answer["error"]["message"], 500) })
        }
        Some(true) => {
            let analysis = match &answer["analysis"] {
                analysis @ (Value::Object(_) | Value::Array(_)) => text(&json!(analysis.to_string()), 40_000),
                analysis => text(analysis, 40_000),
            };
            if analysis.trim().is_empty() {
                return Err(broken("\"ok\" is true, but \"analysis\" is empty".into()));
            }
            let (caption, owner) = (text(&answer["caption"], 5_000), text(&answer["owner"], 64));
            Ok(N8nResult::Done { caption, owner, analysis })
        }
        None => Err(broken("the answer has no \"ok\": the last node must give the documented fields".into())),
    }
}

#[cfg(test)]
mod tests;
