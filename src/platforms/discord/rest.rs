//! One REST call to Discord and what its answer means. Owns the mapping of error codes to [`SendError`];
//! never logs a body, a token or an address (the address of an interaction holds its token).
//!
//! Calls go through serenity's rate limiter where it is on. Where it is off (an address of our own), they go
//! out the way serenity would send them, but the answer is read here: serenity drops the `retry_after`.

use std::sync::Arc;
use std::time::Duration;

use reqwest012::header::{AUTHORIZATION, USER_AGENT};
use reqwest012::multipart::{Form, Part};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use serenity::http::{Http, HttpBuilder, HttpError, LightMethod, Request, Route};

use crate::clock::{Clock, RemoteClock, Timestamp};
use crate::core::chat::{File, SendError};
use crate::upstream;

/// The longest wait for one answer, the waits of serenity's rate limiter among it.
const DEADLINE: Duration = Duration::from_secs(60);

/// The pause after a 429 that does not say how long.
const UNTOLD_PAUSE: Duration = Duration::from_secs(5);

/// A serenity HTTP client: at `api_url` without serenity's rate limiter (which ignores the address), or at
/// Discord's own address with it.
///
/// # Errors
/// When TLS cannot be set up.
pub(super) fn http(
    token: &SecretString,
    api_url: Option<&url::Url>,
) -> Result<(Http, reqwest012::Client), CannotBuild> {
    let client = reqwest012::Client::builder()
        .connect_timeout(Duration::from_secs(5))
        .timeout(Duration::from_secs(30))
        .redirect(reqwest012::redirect::Policy::none())
        .build()
        .map_err(|_| CannotBuild)?;
    let mut builder = HttpBuilder::new(token.expose_secret()).client(client.clone());
    if let Some(url) = api_url {
        builder = builder.proxy(url.as_str()).ratelimiter_disabled(true);
    }
    Ok((builder.build(), client))
}

/// The HTTP client could not be set up: no TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("can't set up the HTTP client for Discord")]
pub struct CannotBuild;

/// The way to Discord's REST interface.
#[derive(Clone)]
pub(super) struct Rest {
    http: Arc<Http>,
    client: reqwest012::Client,
    time: Arc<DiscordTime>,
}

/// Discord's own time, as far as its answers tell it. Snowflakes are times of that clock, and so is the end of an
/// interaction's token: by this machine's, which may be wrong, a token would seem to have ended, or not to have.
pub(super) struct DiscordTime {
    clock: Clock,
    discord: RemoteClock,
}

impl DiscordTime {
    /// `None` before the first answer.
    pub(super) fn now(&self) -> Option<Timestamp> {
        self.discord.now(self.clock.steady())
    }

    /// Something has arrived that was `made` then by Discord's clock; by this instance's, as [`DiscordTime::here`].
    pub(super) fn arrived(&self, made: Timestamp) -> Timestamp {
        self.discord.has_passed(made, self.clock.steady());
        self.here(made)
    }

    /// When something was made that Discord says was `made` then, by this instance's clock. Clocks that differ by no more
    /// than the header's whole second, and a little, are the same.
    fn here(&self, made: Timestamp) -> Timestamp {
        let now = self.clock.now();
        match self.now() {
            Some(there) if there.0.abs_diff(now.0) >= SAME_MS => now - there.since(made),
            _ => made,
        }
    }
}

/// How far the time in a `Date` header may be behind.
const WHOLE_SECOND: Duration = Duration::from_secs(1);
const SAME_MS: u64 = 2000;

/// Why a call did not give what it was made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Discord said no.
    Answered { status: u16, code: i64, detail: String, retry_after: Option<Duration> },
    /// The request never left.
    Unreachable,
    /// No answer, or one that cannot be read: it may have been carried out.
    Silent(&'static str),
}

impl Rest {
    pub(super) fn new(token: &SecretString, api_url: Option<&url::Url>, clock: Clock) -> Result<Self, CannotBuild> {
        let (http, client) = http(token, api_url)?;
        let time = Arc::new(DiscordTime { clock, discord: RemoteClock::default() });
        Ok(Self { http: Arc::new(http), client, time })
    }

    pub(super) fn time(&self) -> &DiscordTime {
        &self.time
    }

    /// Makes one call. `body` goes as JSON, with `files` beside it as a form.
    pub(super) async fn call(
        &self,
        method: LightMethod,
        route: Route<'_>,
        body: Option<&Value>,
        files: &[File],
        params: Option<Vec<(&'static str, String)>>,
    ) -> Result<Value, Refused> {
        let answer = async {
            if files.is_empty() {
                let body = body.map(|body| body.to_string().into_bytes());
                return self.perform(Request::new(route, method).params(params).body(body)).await;
            }
            self.upload(method, &route, body.unwrap_or(&Value::Null), files).await
        };
        let sent = self.time.clock.steady();
        let read = async {
            let response = answer.await?;
            if let Some(shown) = upstream::date(response.headers()) {
                self.time.discord.observe(shown, WHOLE_SECOND, sent, self.time.clock.steady());
            }
            read(response).await
        };
        match tokio::time::timeout(DEADLINE, read).await {
            Ok(answer) => answer,
            Err(_) => Err(Refused::Silent("no answer in time")),
        }
    }

    async fn perform(&self, request: Request<'_>) -> Result<reqwest012::Response, Refused> {
        match &self.http.ratelimiter {
            Some(limiter) => limiter.perform(request).await.map_err(transport),
            None => {
                let built = request.build(&self.client, self.http.token(), self.http.proxy.as_deref());
                let built = built.map_err(transport)?;
                built.send().await.map_err(|error| lost(&error))
            }
        }
    }

    /// A form with `payload_json` and the parts `files[0]`, `files[1]`, … (Discord API reference, Uploading Files). It
    /// goes past serenity's rate limiter, whose requests give every file the number 0; a 429 pauses the sender as any.
    async fn upload(
        &self,
        method: LightMethod,
        route: &Route<'_>,
        body: &Value,
        files: &[File],
    ) -> Result<reqwest012::Response, Refused> {
        let mut form = Form::new().text("payload_json", body.to_string());
        for (n, file) in files.iter().enumerate() {
            let part = Part::stream(file.content.clone()).file_name(file.name().to_owned());
            let part = part.mime_str(file.kind.mime()).map_err(|error| lost(&error))?;
            form = form.part(format!("files[{n}]"), part);
        }
        let mut path = route.path().to_string();
        if let Some(proxy) = self.http.proxy.as_deref() {
            path = path.replace("https://discord.com", proxy.trim_end_matches('/'));
        }
        let request = self.client.request(method.reqwest_method(), path);
        let request = request.header(USER_AGENT, serenity::constants::USER_AGENT);
        let request = request.header(AUTHORIZATION, self.http.token()).multipart(form);
        request.send().await.map_err(|error| lost(&error))
    }
}

async fn read(response: reqwest012::Response) -> Result<Value, Refused> {
    let status = response.status().as_u16();
    let told = header_seconds(response.headers());
    let text = response.bytes().await.map_err(|_| Refused::Silent("the answer broke off"))?;
    let value = serde_json::from_slice::<Value>(&text).ok();
    match status {
        204 => Ok(Value::Null),
        200..=299 => value.ok_or(Refused::Silent("the answer is not JSON")),
        500..=599 => Err(Refused::Silent("a server error")),
        _ => Err(refusal(status, &value.unwrap_or_default(), told)),
    }
}

impl From<Refused> for SendError {
    fn from(refused: Refused) -> SendError {
        let (status, code, detail, retry_after) = match refused {
            Refused::Unreachable => return SendError::Unreachable("no connection to Discord".to_owned()),
            Refused::Silent(why) => return SendError::Unknown(why.to_owned()),
            Refused::Answered { status, code, detail, retry_after } => (status, code, detail, retry_after),
        };
        match (code, status) {
            (_, 429) => SendError::RateLimited { retry_after: retry_after.unwrap_or(UNTOLD_PAUSE) },
            // Unknown message, webhook, interaction; a token that has run out; too many edits of an old message.
            (10008 | 10015 | 10062 | 50027 | 30046, _) => SendError::Gone,
            // The channel is deleted; no access, no permission, a person who takes no direct messages. Any other 403 is of
            // this one request, or of whatever stands in front of Discord.
            (10003 | 50001 | 50013 | 50007 | 50278, _) => SendError::Forbidden,
            _ => SendError::Failed(detail),
        }
    }
}

fn transport(error: serenity::Error) -> Refused {
    match error {
        serenity::Error::Http(HttpError::Request(error)) => lost(&error),
        _ => Refused::Silent("the request could not be made"),
    }
}

fn lost(error: &reqwest012::Error) -> Refused {
    if error.is_connect() || error.is_builder() {
        Refused::Unreachable
    } else if error.is_timeout() {
        Refused::Silent("no answer in time")
    } else {
        Refused::Silent("the connection broke off")
    }
}

fn refusal(status: u16, body: &Value, told: Option<Duration>) -> Refused {
    let code = body["code"].as_i64().unwrap_or(0);
    let retry_after = body["retry_after"].as_f64().and_then(|s| Duration::try_from_secs_f64(s).ok()).or(told);
    let mut detail = format!("HTTP {status}, code {code}");
    let mut at = Vec::new();
    faults(&body["errors"], "", &mut at);
    if !at.is_empty() {
        detail.push_str(&format!(" ({})", at.join(", ")));
    }
    Refused::Answered { status, code, detail, retry_after }
}

/// The codes in Discord's `errors` tree with the field each is at; their sentences may repeat a person's
/// text, so they are left out.
fn faults(errors: &Value, path: &str, found: &mut Vec<String>) {
    let Some(errors) = errors.as_object() else { return };
    for (key, below) in errors {
        if key == "_errors" {
            let codes = below.as_array().into_iter().flatten().filter_map(|fault| fault["code"].as_str());
            found.extend(codes.map(|code| format!("{code} at {path}")));
        } else {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            faults(below, &path, found);
        }
    }
}

fn header_seconds(headers: &reqwest012::header::HeaderMap) -> Option<Duration> {
    ["retry-after", "x-ratelimit-reset-after"].iter().find_map(|name| {
        let seconds: f64 = headers.get(*name)?.to_str().ok()?.trim().parse().ok()?;
        Duration::try_from_secs_f64(seconds).ok()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_refusal_has_its_treatment() {
        let failed = |text: &str| SendError::Failed(text.to_owned());
        let cases = [
            (404, json!({"code": 10003}), SendError::Forbidden),
            (404, json!({"code": 10008}), SendError::Gone),
            (404, json!({"code": 10015}), SendError::Gone),
            (404, json!({"code": 10062}), SendError::Gone),
            (401, json!({"code": 50027}), SendError::Gone),
            (400, json!({"code": 30046}), SendError::Gone),
            (403, json!({"code": 50001}), SendError::Forbidden),
            (403, json!({"code": 50013}), SendError::Forbidden),
            (403, json!({"code": 50007}), SendError::Forbidden),
            (400, json!({"code": 50278}), SendError::Forbidden),
            (403, json!({"code": 160_002}), failed("HTTP 403, code 160002")),
            (403, Value::Null, failed("HTTP 403, code 0")),
            (401, json!({"code": 0, "message": "401: Unauthorized"}), failed("HTTP 401, code 0")),
            (400, json!({"code": 50006}), failed("HTTP 400, code 50006")),
            (429, json!({"retry_after": 1.336}), SendError::RateLimited { retry_after: Duration::from_millis(1336) }),
            (429, Value::Null, SendError::RateLimited { retry_after: UNTOLD_PAUSE }),
        ];
        for (status, body, expected) in cases {
            assert_eq!(SendError::from(refusal(status, &body, None)), expected, "{status} {body}");
        }
        let told = refusal(429, &Value::Null, Some(Duration::from_secs(7)));
        assert_eq!(SendError::from(told), SendError::RateLimited { retry_after: Duration::from_secs(7) });
    }

    #[test]
    fn a_refused_form_tells_where_and_never_what() {
        let body = json!({"code": 50035, "message": "Invalid Form Body", "errors": {
            "content": {"_errors": [{"code": "BASE_TYPE_MAX_LENGTH", "message": "my secret text is too long"}]},
            "components": {"0": {"_errors": [{"code": "X", "message": "y"}]}}}});
        let SendError::Failed(text) = SendError::from(refusal(400, &body, None)) else { panic!("not failed") };
        assert!(text.contains("BASE_TYPE_MAX_LENGTH at content") && text.contains("X at components.0"), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
}
