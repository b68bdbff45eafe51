//! Gemini: what is said and shown in one video. Owns the request, its retries, what it used and how its
//! refusals are read; never judges the content, and leaves no file behind at the Files API.
//!
//! Facts are from Google's Gemini API reference (generateContent, Files, error codes).

pub mod analysis;
mod files;
mod quota;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{RequestBuilder, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio_util::sync::CancellationToken;

pub use self::analysis::{Analysis, Line, Scene};
pub use self::quota::next_midnight;
use super::video::Video;
use super::{Cause, Failure, Provider, RetryPolicy, Usage, read_body, retry, retry_after, transport_cause};
use crate::clock::Clock;

/// How to reach Gemini and what to ask of it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `https://generativelanguage.googleapis.com`, without a trailing slash.
    pub base_url: String,
    pub api_key: SecretString,
    /// `gemini-3.8-flash`, without `models/`.
    pub model: String,
    /// Videos up to this many bytes travel inside the request, larger ones through the Files API.
    /// Google bounds the request at 20 MB, and base64 adds a third: at most 14 MB.
    pub inline_limit: u64,
    /// `MEDIA_RESOLUTION_HIGH` reads small print better at three times the price; `None` is the default.
    pub media_resolution: Option<String>,
    /// Thinking and answer together.
    pub max_output_tokens: u32,
    /// The longest one answer may take. It comes at once or not at all, so `http` must allow as much silence.
    pub timeout: Duration,
    /// The longest an uploaded file may take to become usable.
    pub activation: Duration,
    /// The pause between two looks at an uploaded file.
    pub poll: Duration,
    pub retry: RetryPolicy,
}

impl Settings {
    /// The settings that need no choice.
    pub fn new(base_url: impl Into<String>, api_key: SecretString) -> Self {
        Self {
            base_url: base_url.into(),
            api_key,
            model: "gemini-3.8-flash".into(),
            inline_limit: 14_000_000,
            media_resolution: None,
            max_output_tokens: 24_000,
            timeout: Duration::from_secs(180),
            activation: Duration::from_secs(120),
            poll: Duration::from_secs(1),
            retry: RetryPolicy::STANDARD,
        }
    }
}

/// A finished analysis.
#[derive(Clone, Debug, PartialEq)]
pub struct Analysed {
    pub analysis: Analysis,
    /// Of all attempts together.
    pub usage: Usage,
    /// How many of the input tokens were audio.
    pub audio_tokens: u64,
    /// The configured model, or the one that answered where that is another one (an alias, a retired
    /// model that Google routes elsewhere): it sets the price.
    pub model: String,
}

/// The client.
#[derive(Clone, Debug)]
pub struct Gemini {
    http: reqwest::Client,
    clock: Clock,
    settings: Settings,
}

impl Gemini {
    pub fn new(http: reqwest::Client, clock: Clock, settings: Settings) -> Self {
        Self { http, clock, settings }
    }

    /// The configured model.
    pub fn model(&self) -> &str {
        &self.settings.model
    }

    /// What the analysis of a video of so many seconds uses at most.
    pub fn most(&self, seconds: u64, post_hint: &str) -> Usage {
        // A token is a byte at least.
        let texts =
            analysis::INSTRUCTION.len() + analysis::question(post_hint).len() + analysis::schema().to_string().len();
        let input_tokens = seconds.saturating_mul(MOST_PER_SECOND).saturating_add(texts as u64);
        Usage {
            input_tokens,
            // Estimated, so this is whichever kind of input is dearest, audio among them.
            cache_write_tokens: input_tokens,
            output_tokens: u64::from(self.settings.max_output_tokens),
            estimated: true,
            ..Usage::default()
        }
    }

    /// Transcribes and describes a video. `post_hint` is what its page says (address, owner, caption):
    /// untrusted text, fenced in the prompt.
    ///
    /// An uploaded file is deleted whatever happens, `cancel` included. Dropping the future instead
    /// leaves it there for Google's 48 hours.
    ///
    /// # Errors
    /// [`Cause::Blocked`], [`Cause::TooLong`], [`Cause::Language`] and [`Cause::Unreadable`] are about this video, and so
    /// is [`Cause::Unusable`] if it stays; `usage` is there whenever something was or may have been used.
    pub async fn analyse(
        &self,
        video: &Video,
        post_hint: &str,
        cancel: &CancellationToken,
    ) -> Result<Analysed, Failure> {
        let meter = Meter::default();
        let analysed = if video.bytes <= self.settings.inline_limit {
            tokio::select! {
                analysed = self.inline(video, post_hint, &meter) => analysed,
                () = cancel.cancelled() => Err(failure(Cause::Cancelled, "called off")),
            }
        } else {
            let name = files::new_name();
            let analysed = tokio::select! {
                analysed = self.uploaded(&name, video, post_hint, &meter) => analysed,
                () = cancel.cancelled() => Err(failure(Cause::Cancelled, "called off")),
            };
            self.forget(&name).await;
            analysed
        };
        match analysed {
            Ok((analysis, model)) => {
                let (usage, audio_tokens) = meter.total().unwrap_or_default();
                Ok(Analysed { analysis, usage, audio_tokens, model: self.priced_as(&model) })
            }
            Err(failure) => {
                let (usage, audio_tokens) = meter.total().unzip();
                Err(Failure { usage: usage.map(Box::new), audio_tokens: audio_tokens.unwrap_or_default(), ..failure })
            }
        }
    }

    /// Asks whether the key and the model are good. Costs nothing.
    pub async fn model_exists(&self) -> Result<(), Failure> {
        let url = format!("{}/v1beta/models/{}", self.settings.base_url, self.settings.model);
        self.json(self.http.get(url), CALL_TIMEOUT).await.map(drop)
    }

    async fn inline(&self, video: &Video, hint: &str, meter: &Meter) -> Result<(Analysis, String), Failure> {
        let disk = |e: std::io::Error| {
            failure(Cause::Unavailable { retry_after: None }, format!("reading the video: {}", e.kind()))
        };
        let mut content = Vec::with_capacity(usize::try_from(video.bytes).unwrap_or(0));
        video.open().await.map_err(disk)?.read_to_end(&mut content).await.map_err(disk)?;
        let data = base64::engine::general_purpose::STANDARD.encode(content);
        let part = json!({"inlineData": {"mimeType": video.mime, "data": data}});
        self.generate(part, hint, meter).await
    }

    async fn uploaded(
        &self,
        name: &str,
        video: &Video,
        hint: &str,
        meter: &Meter,
    ) -> Result<(Analysis, String), Failure> {
        let uri = self.upload(name, video).await?;
        let part = json!({"fileData": {"mimeType": video.mime, "fileUri": uri}});
        self.generate(part, hint, meter).await
    }

    async fn generate(&self, video: Value, hint: &str, meter: &Meter) -> Result<(Analysis, String), Failure> {
        let settings = &self.settings;
        let mut config = json!({
            "responseMimeType": "application/json",
            "responseJsonSchema": analysis::schema(),
            "maxOutputTokens": settings.max_output_tokens,
        });
        if let Some(resolution) = &settings.media_resolution {
            config["mediaResolution"] = json!(resolution);
        }
        // Models before 3 know a budget instead of levels.
        if !settings.model.starts_with("gemini-2") {
            config["thinkingConfig"] = json!({"thinkingLevel": "LOW"});
        }
        let request = json!({
            "systemInstruction": {"parts": [{"text": analysis::INSTRUCTION}]},
            "contents": [{"role": "user", "parts": [video, {"text": analysis::question(hint)}]}],
            "generationConfig": config,
        });
        let body = Bytes::from(request.to_string());
        drop(request);
        let url = format!("{}/v1beta/models/{}:generateContent", settings.base_url, settings.model);
        // A lost or late answer is paid, so only a refusal is asked again.
        let again = |f: &Failure| matches!(f.cause, Cause::RateLimited { .. } | Cause::Unavailable { .. });
        let answer = retry(settings.retry, again, async |_| {
            let request = self.http.post(&url).header("content-type", "application/json").body(body.clone());
            meter.asked();
            match self.json(request, settings.timeout).await {
                Ok(answer) => {
                    let metadata = &answer["usageMetadata"];
                    meter.used(usage_in(metadata), audio_in(metadata));
                    Ok(answer)
                }
                Err(failure) => {
                    if !matches!(failure.cause, Cause::TimedOut | Cause::Cut | Cause::Malformed) {
                        meter.refused();
                    }
                    Err(failure)
                }
            }
        })
        .await?;
        let model = answer["modelVersion"].as_str().unwrap_or(&settings.model).to_owned();
        read(&answer).map(|analysis| (analysis, model)).map_err(|mut failure| {
            failure.request_id = answer["responseId"].as_str().map(|id| id.chars().take(64).collect());
            failure
        })
    }

    fn priced_as(&self, answered: &str) -> String {
        // `gemini-3.8-flash-001` is the configured `gemini-3.8-flash`; `gemini-3.8-flash-lite` is not.
        let same = answered.strip_prefix(self.settings.model.as_str()).is_some_and(|rest| {
            rest.is_empty() || rest.strip_prefix('-').is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()))
        });
        if same { self.settings.model.clone() } else { answered.to_owned() }
    }

    async fn send(&self, request: RequestBuilder, timeout: Duration) -> Result<Response, Failure> {
        let mut key = reqwest::header::HeaderValue::from_str(self.settings.api_key.expose_secret())
            .map_err(|_| failure(Cause::Unauthorized, "the key holds characters that no key has"))?;
        key.set_sensitive(true);
        let response = request.header("x-goog-api-key", key).timeout(timeout).send().await;
        response.map_err(|error| match transport_cause(&error) {
            _ if error.is_builder() => failure(Cause::NotFound, "the address cannot be asked"),
            _ if error.is_connect() => failure(Cause::Unavailable { retry_after: None }, "no connection"),
            Cause::TimedOut => failure(Cause::TimedOut, "no answer"),
            // The request may have been carried out, so it is not a plain refusal.
            _ => failure(Cause::Cut, "connection lost"),
        })
    }

    async fn json(&self, request: RequestBuilder, timeout: Duration) -> Result<Value, Failure> {
        let response = self.send(request, timeout).await?;
        self.decode(response).await
    }

    async fn decode(&self, response: Response) -> Result<Value, Failure> {
        let (status, headers) = (response.status(), response.headers().clone());
        let body = read_body(response, MAX_BODY).await.map_err(|cause| failure(cause, format!("HTTP {status}")))?;
        if !status.is_success() {
            return Err(self.refusal(status, &headers, &body));
        }
        serde_json::from_slice(&body).map_err(|_| failure(Cause::Malformed, format!("HTTP {status}, not JSON")))
    }

    fn refusal(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let error = &body["error"];
        let details = error["details"].as_array().map(Vec::as_slice).unwrap_or_default();
        let message = error["message"].as_str().unwrap_or_default();
        let reason = details.iter().find_map(|d| d["reason"].as_str()).unwrap_or_default();
        let quotas: Vec<&str> = details
            .iter()
            .filter_map(|d| d["violations"].as_array())
            .flatten()
            .filter_map(|v| v["quotaId"].as_str())
            .collect();
        let retry_after = details
            .iter()
            .find_map(|d| d["retryDelay"].as_str()?.strip_suffix('s')?.parse().ok())
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .or_else(|| retry_after(headers, self.clock.now()));
        let name = error["status"].as_str().unwrap_or_default();
        let cause = match (status.as_u16(), name) {
            _ if reason.starts_with("API_KEY_") => Cause::Unauthorized,
            // A file is asked for before it is ready, or before it is known everywhere: that passes.
            (400, _) if message.contains("ACTIVE state") => Cause::Unavailable { retry_after },
            (403, _) if message.contains("access the File") => Cause::Unavailable { retry_after },
            // Billing is not set up, or the free tier is not offered where the server stands.
            (400, "FAILED_PRECONDITION") | (401 | 403, _) => Cause::Unauthorized,
            (404, _) => Cause::NotFound,
            (402, _) => Cause::OutOfCredit,
            (429, _) if message.contains("credits are depleted") => Cause::OutOfCredit,
            (429, _) if quotas.iter().any(|q| q.contains("PerDay")) => {
                Cause::DayQuota { resets_at: next_midnight(self.clock.now()) }
            }
            (429, _) => Cause::RateLimited { retry_after },
            (500.., _) => Cause::Unavailable { retry_after },
            (400..500, _) if is_about_the_video(message) => Cause::Unreadable,
            (400..500, _) => Cause::BadRequest,
            _ => Cause::Malformed,
        };
        let words = [name, reason].into_iter().chain(quotas).filter(|word| !word.is_empty());
        let words = words.map(|word| word.chars().take(80).collect::<String>()).collect::<Vec<_>>().join(" ");
        failure(cause, format!("HTTP {} {words}", status.as_u16()).trim_end().to_owned())
    }
}

/// Whether a refused request is refused for what is in the video. All else in it is the same for every reel, so that
/// refused for anything else it is a fault of ours.
fn is_about_the_video(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    let is_ours =
        ["unknown name", "invalid json payload", "invalid value at", "is not supported for", "is not supported by"];
    let is_video = ["video", "audio", "mime type", "frames", "token count", "corrupt", "uploaded file", "media"];
    !is_ours.iter().any(|words| message.contains(words)) && is_video.iter().any(|words| message.contains(words))
}

/// The longest a call may take that is answered at once.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// The most tokens that a second of video is counted at: at one frame a second 258 or, in high resolution, 280 for the
/// frame and 32 for the sound (Google's pages on video and on tokens differ; these are the highest of them), and a few for
/// its time code.
const MOST_PER_SECOND: u64 = 280 + 32 + 8;

/// Above any answer of the largest output limit.
const MAX_BODY: usize = 4 << 20;

fn failure(cause: Cause, detail: impl Into<String>) -> Failure {
    Failure::new(Provider::Gemini, cause, detail)
}

/// What one analysis used so far. Shared with the attempts, so that it is known of an analysis that was
/// called off too.
#[derive(Debug, Default)]
struct Meter(Mutex<Metered>);

#[derive(Debug, Default)]
struct Metered {
    known: Option<Usage>,
    audio_tokens: u64,
    /// Attempts whose end is not known.
    open: u32,
}

impl Meter {
    fn lock(&self) -> MutexGuard<'_, Metered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self) {
        self.lock().open += 1;
    }

    fn refused(&self) {
        let mut metered = self.lock();
        metered.open = metered.open.saturating_sub(1);
    }

    fn used(&self, usage: Option<Usage>, audio_tokens: u64) {
        let mut metered = self.lock();
        if let Some(usage) = usage {
            metered.open = metered.open.saturating_sub(1);
            let known = metered.known.get_or_insert_default();
            known.input_tokens += usage.input_tokens;
            known.cached_tokens += usage.cached_tokens;
            known.output_tokens += usage.output_tokens;
            known.reasoning_tokens += usage.reasoning_tokens;
            metered.audio_tokens += audio_tokens;
        }
    }

    /// With its audio tokens; `None` when certainly nothing was used.
    fn total(&self) -> Option<(Usage, u64)> {
        let metered = self.lock();
        let estimated = metered.open > 0;
        let known = metered.known.or(estimated.then(Usage::default));
        known.map(|usage| (Usage { estimated, ..usage }, metered.audio_tokens))
    }
}

/// Zero counts are left out on the wire. Thinking is billed as output.
fn usage_in(metadata: &Value) -> Option<Usage> {
    metadata.as_object()?;
    let count = |name: &str| metadata[name].as_u64().unwrap_or(0);
    let thoughts = count("thoughtsTokenCount");
    Some(Usage {
        input_tokens: count("promptTokenCount") + count("toolUsePromptTokenCount"),
        cached_tokens: count("cachedContentTokenCount"),
        output_tokens: count("candidatesTokenCount") + thoughts,
        reasoning_tokens: thoughts,
        ..Usage::default()
    })
}

/// How much of the input was audio (`usageMetadata.promptTokensDetails`, a list by modality).
fn audio_in(metadata: &Value) -> u64 {
    let details = metadata["promptTokensDetails"].as_array().map(Vec::as_slice).unwrap_or_default();
    let audio = details.iter().filter(|part| part["modality"] == json!("AUDIO"));
    audio.filter_map(|part| part["tokenCount"].as_u64()).fold(0, u64::saturating_add)
}

/// The analysis in an answer with status 200, which may still be a refusal or a stump.
fn read(answer: &Value) -> Result<Analysis, Failure> {
    if let Some(reason) = answer["promptFeedback"]["blockReason"].as_str() {
        return Err(failure(Cause::Blocked, format!("blockReason {}", word(reason))));
    }
    let candidate = &answer["candidates"][0];
    let finish = candidate["finishReason"].as_str().unwrap_or("STOP");
    let told = || format!("finishReason {}", word(finish));
    match finish {
        "STOP" | "FINISH_REASON_UNSPECIFIED" => {}
        "MAX_TOKENS" => return Err(failure(Cause::TooLong, told())),
        "LANGUAGE" => return Err(failure(Cause::Language, told())),
        "RECITATION" | "SPII" => return Err(failure(Cause::Blocked, told())),
        rule if ["SAFETY", "PROHIBITED", "BLOCKLIST"].iter().any(|words| rule.contains(words)) => {
            return Err(failure(Cause::Blocked, told()));
        }
        slip if slip.starts_with("MALFORMED") => return Err(failure(Cause::Unusable, told())),
        // OTHER, and what is not known yet: it is the video that the model cannot end with.
        _ => return Err(failure(Cause::Unreadable, told())),
    }
    let parts = candidate["content"]["parts"].as_array().map(Vec::as_slice).unwrap_or_default();
    let text: String =
        parts.iter().filter(|part| part["thought"] != json!(true)).filter_map(|part| part["text"].as_str()).collect();
    analysis::decode(&text).ok_or_else(|| failure(Cause::Unusable, format!("no analysis in {} bytes", text.len())))
}

fn word(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(40).collect()
}

#[cfg(test)]
mod tests;
