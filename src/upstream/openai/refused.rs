//! What OpenAI's refusals mean: HTTP errors and errors inside a stream. Keeps the type, code and parameter
//! of an error and never its message, which may quote what a person wrote.

use std::time::Duration;

use reqwest::header::HeaderMap;
use serde_json::Value;

use super::{fail, request_id};
use crate::clock::Timestamp;
use crate::upstream::{Cause, Failure, retry_after};

/// Error bodies are short; whatever is longer is not one of OpenAI's.
const LONGEST_BODY: usize = 64 * 1024;

/// Turns an HTTP answer that is not an event stream into a failure.
pub(super) async fn answer(mut response: reqwest::Response, model: &str, now: Timestamp) -> Failure {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > LONGEST_BODY {
            break;
        }
    }
    let failure = http(status, &headers, &body, model, now);
    Failure { request_id: request_id(&headers), ..failure }
}

/// An error that arrives inside a stream: `response.failed` or an `error` event.
pub(super) fn in_stream(error: &Value) -> Failure {
    let told = Told::of(error);
    let cause = match told.code.as_str() {
        _ if told.is_larger_than_the_limit() => Cause::InputTooLong,
        "rate_limit_exceeded" | "slow_down" => Cause::RateLimited { retry_after: None },
        _ if told.is_out_of_credit() => Cause::OutOfCredit,
        _ if told.is_blocked() => Cause::Blocked,
        _ if told.is_too_long() => Cause::InputTooLong,
        "" | "server_error" | "server_is_overloaded" | "internal_error" | "timeout" => {
            Cause::Unavailable { retry_after: None }
        }
        "model_not_found" => Cause::NotFound,
        _ => Cause::BadRequest,
    };
    fail(cause, format!("in the stream{told}"))
}

/// Whether the traffic rose too fast: the rate is to be lowered for a while.
pub(super) fn is_slow_down(failure: &Failure) -> bool {
    failure.detail.contains("code slow_down")
}

/// The pause after which OpenAI takes a request again that it refused for the rate and that cost nothing, if it says so.
pub(super) fn pause(failure: &Failure) -> Option<Duration> {
    match failure.cause {
        Cause::RateLimited { retry_after } if failure.usage.is_none() => retry_after,
        _ => None,
    }
}

/// A word from OpenAI as it may be logged: printable ASCII, at most 100 characters.
pub(super) fn plain(word: &str) -> String {
    word.chars().filter(char::is_ascii_graphic).take(100).collect()
}

/// What an error says, without its message.
#[derive(Debug, Default)]
struct Told {
    kind: String,
    code: String,
    param: String,
    message: String,
}

impl Told {
    fn of(error: &Value) -> Self {
        let field = |name: &str| match &error[name] {
            Value::String(text) => plain(text),
            Value::Number(number) => number.to_string(),
            _ => String::new(),
        };
        let message = error["message"].as_str().unwrap_or_default().to_owned();
        // In a flat `error` event, `type` is the type of the event.
        let kind = Some(field("type")).filter(|kind| kind != "error").unwrap_or_default();
        Told { kind, code: field("code"), param: field("param"), message }
    }

    /// The credit or a spending limit is used up; `insufficient_quota` is the older code and still the
    /// type of the newer ones.
    fn is_out_of_credit(&self) -> bool {
        [&self.kind, &self.code].iter().any(|word| {
            matches!(
                word.as_str(),
                "insufficient_quota"
                    | "credit_balance_exhausted"
                    | "organization_spend_limit_exceeded"
                    | "project_spend_limit_exceeded"
                    | "organization_usage_limit_exceeded"
                    | "billing_hard_limit_reached"
                    | "billing_not_active"
            )
        })
    }

    fn is_blocked(&self) -> bool {
        matches!(
            self.code.as_str(),
            "invalid_prompt"
                | "bio_policy"
                | "misalignment_policy_violation"
                | "content_policy_violation"
                | "content_filter"
                | "moderation_blocked"
        )
    }

    /// The input is longer than the model or the API takes.
    fn is_too_long(&self) -> bool {
        matches!(self.code.as_str(), "context_length_exceeded" | "string_above_max_length" | "array_above_max_length")
    }

    /// One request asks for more tokens than a minute has: it is refused like any other for the rate, but no waiting helps.
    fn is_larger_than_the_limit(&self) -> bool {
        self.message.starts_with("Request too large for")
    }

    /// Whether the model is what is wrong. A refused parameter may name the model too ("not supported
    /// with the 'gpt-6-luna' model"); then `param` tells which one.
    fn names_model(&self, model: &str) -> bool {
        match self.param.as_str() {
            "model" => true,
            "" => self.code.starts_with("model_") || (!model.is_empty() && self.message.contains(model)),
            _ => self.code == "model_not_found",
        }
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, value) in [("type", &self.kind), ("code", &self.code), ("param", &self.param)] {
            if !value.is_empty() {
                write!(f, ", {name} {value}")?;
            }
        }
        Ok(())
    }
}

fn http(status: u16, headers: &HeaderMap, body: &[u8], model: &str, now: Timestamp) -> Failure {
    let json = serde_json::from_slice::<Value>(body).ok();
    let told = json.as_ref().map(|json| Told::of(&json["error"])).unwrap_or_default();
    let cause = match status {
        _ if told.is_out_of_credit() => Cause::OutOfCredit,
        402 => Cause::OutOfCredit,
        401 => Cause::Unauthorized,
        413 => Cause::InputTooLong,
        // As a 503 too (guide "Error codes").
        _ if told.code == "slow_down" => Cause::RateLimited { retry_after: retry_after(headers, now) },
        _ if told.is_too_long() || told.is_larger_than_the_limit() => Cause::InputTooLong,
        408 | 409 | 500.. => Cause::Unavailable { retry_after: retry_after(headers, now) },
        429 => Cause::RateLimited { retry_after: retry_after(headers, now).or_else(|| reset(headers)) },
        404 | 410 => Cause::NotFound,
        400..500 if told.names_model(model) => Cause::NotFound,
        403 => Cause::Unauthorized,
        400..500 if told.is_blocked() => Cause::Blocked,
        400..500 => Cause::BadRequest,
        // A redirect or a success that is not an event stream: there is something else at that address.
        _ => Cause::Malformed,
    };
    let form = if json.is_none() { ", not JSON" } else { "" };
    fail(cause, format!("HTTP {status}{form}{told}"))
}

/// How long until the rate limit lets a request through again, by the `x-ratelimit-*` headers: until the
/// last of the used-up allowances is full. If none is used up, the request was too large for what is
/// left, and the first one to fill up is the best guess.
fn reset(headers: &HeaderMap) -> Option<Duration> {
    let read = |what: &str, of: &str| headers.get(format!("x-ratelimit-{what}-{of}"))?.to_str().ok();
    let mut used_up = None;
    let mut first = None;
    for of in ["requests", "tokens", "project-tokens"] {
        let Some(span) = read("reset", of).and_then(span) else { continue };
        if read("remaining", of).is_some_and(|left| left.trim() == "0") {
            used_up = used_up.max(Some(span));
        }
        first = Some(first.map_or(span, |first: Duration| first.min(span)));
    }
    used_up.or(first)
}

/// A span as OpenAI writes it: `1s`, `6m0s`, `120ms`, `1h2m3.5s`, `2d`.
fn span(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut seconds = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let (number, tail) = rest.split_at(unit_at);
        let unit_end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let scale = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86400.0,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * scale;
        rest = tail;
    }
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)));
        pairs.collect()
    }

    fn cause(status: u16, body: &str) -> Cause {
        http(status, &HeaderMap::new(), body.as_bytes(), "gpt-5-mini", Timestamp(0)).cause
    }

    #[test]
    fn every_documented_error_has_its_treatment() {
        let limited = Cause::RateLimited { retry_after: None };
        let unavailable = Cause::Unavailable { retry_after: None };
        let error = |fields: &str| format!("{{\"error\":{{\"message\":\"m\",{fields}}}}}");
        for (status, fields, want) in [
            (
                400,
                r#""type":"invalid_request_error","param":"input","code":"context_length_exceeded""#,
                Cause::InputTooLong,
            ),
            (
                400,
                r#""type":"invalid_request_error","param":"input[3].content","code":"string_above_max_length""#,
                Cause::InputTooLong,
            ),
            (413, r#""type":"invalid_request_error","code":null"#, Cause::InputTooLong),
            (400, r#""type":"invalid_request_error","param":"model","code":"model_not_found""#, Cause::NotFound),
            (400, r#""type":"invalid_request_error","param":null,"code":"invalid_prompt""#, Cause::Blocked),
            (
                400,
                r#""type":"invalid_request_error","param":null,"code":"billing_hard_limit_reached""#,
                Cause::OutOfCredit,
            ),
            (401, r#""type":"invalid_request_error","code":"invalid_api_key""#, Cause::Unauthorized),
            (
                403,
                r#""type":"invalid_request_error","code":"unsupported_country_region_territory""#,
                Cause::Unauthorized,
            ),
            (403, r#""type":"invalid_request_error","code":"model_not_found""#, Cause::NotFound),
            (404, r#""type":"invalid_request_error","code":"model_not_found""#, Cause::NotFound),
            (408, r#""type":"timeout""#, unavailable.clone()),
            (409, r#""type":"conflict""#, unavailable.clone()),
            (429, r#""type":"requests","code":"rate_limit_exceeded""#, limited.clone()),
            (429, r#""type":"requests","code":"slow_down""#, limited.clone()),
            (429, r#""type":"insufficient_quota","code":"credit_balance_exhausted""#, Cause::OutOfCredit),
            (429, r#""type":"insufficient_quota","code":"organization_spend_limit_exceeded""#, Cause::OutOfCredit),
            (429, r#""type":"insufficient_quota","code":"anything_new""#, Cause::OutOfCredit),
            (429, r#""type":null,"code":"project_spend_limit_exceeded""#, Cause::OutOfCredit),
            (429, r#""type":"requests","code":"insufficient_quota""#, Cause::OutOfCredit),
            (429, r#""type":"requests","code":429"#, limited.clone()),
            (500, r#""type":"server_error""#, unavailable.clone()),
            (503, r#""type":"server_error","code":"server_is_overloaded""#, unavailable.clone()),
            (503, r#""type":"server_error","code":"slow_down""#, limited.clone()),
        ] {
            assert_eq!(cause(status, &error(fields)), want, "{status} {fields}");
        }
        let large = r#"{"error":{"message":"Request too large for gpt-5-mini in organization org-1 on tokens per min (TPM): Limit 30000, Requested 40000.","type":"tokens","code":"rate_limit_exceeded"}}"#;
        assert_eq!(cause(429, large), Cause::InputTooLong, "no pause makes it smaller");
        assert_eq!(cause(429, "<html>"), limited);
        assert_eq!(cause(502, "<html>Bad gateway</html>"), unavailable);
        assert_eq!(cause(200, "<html>Log in</html>"), Cause::Malformed);
        assert_eq!(cause(302, ""), Cause::Malformed);
    }

    #[test]
    fn a_4xx_that_names_the_model_means_that_it_is_gone() {
        let gone = r#"{"error":{"message":"gpt-5-mini has been shut down","type":"invalid_request_error","param":null,"code":null}}"#;
        assert_eq!(cause(400, gone), Cause::NotFound);
        let effort = r#"{"error":{"message":"'minimal' is not supported with the 'gpt-5-mini' model","param":"reasoning.effort","code":"unsupported_value"}}"#;
        assert_eq!(cause(400, effort), Cause::BadRequest);
    }

    #[test]
    fn the_message_is_not_kept() {
        let body =
            r#"{"error":{"message":"You wrote: my secret","type":"t y\np\u0000e","param":"input[3]","code":"c"}}"#;
        let failure = http(400, &HeaderMap::new(), body.as_bytes(), "m", Timestamp(0));
        assert_eq!(failure.detail, "HTTP 400, type type, code c, param input[3]");
        assert_eq!(http(502, &HeaderMap::new(), b"<html>", "m", Timestamp(0)).detail, "HTTP 502, not JSON");
        let event = serde_json::json!({ "type": "error", "code": "server_error", "message": "my secret" });
        assert_eq!(in_stream(&event).detail, "in the stream, code server_error");
    }

    #[test]
    fn errors_in_the_stream() {
        for (code, want) in [
            ("rate_limit_exceeded", Cause::RateLimited { retry_after: None }),
            ("insufficient_quota", Cause::OutOfCredit),
            ("server_error", Cause::Unavailable { retry_after: None }),
            ("bio_policy", Cause::Blocked),
            ("invalid_prompt", Cause::Blocked),
            ("context_length_exceeded", Cause::InputTooLong),
            ("model_not_found", Cause::NotFound),
            ("data_residency_mismatch", Cause::BadRequest),
        ] {
            assert_eq!(in_stream(&serde_json::json!({ "code": code })).cause, want, "{code}");
        }
    }

    #[test]
    fn the_pause_is_taken_from_the_best_header() {
        let pause = |pairs: &[(&'static str, &'static str)]| match http(
            429,
            &headers(pairs),
            b"{}",
            "m",
            Timestamp(1_795_564_800_000),
        )
        .cause
        {
            Cause::RateLimited { retry_after } => retry_after.map(|pause| pause.as_millis()),
            other => panic!("{other:?}"),
        };
        let requests = [("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "120ms")];
        let tokens = [("x-ratelimit-remaining-tokens", "12"), ("x-ratelimit-reset-tokens", "6m0s")];
        let no_tokens = [("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "6m0s")];
        assert_eq!(pause(&[]), None);
        assert_eq!(pause(&[("retry-after", "20")]), Some(20_000));
        assert_eq!(pause(&[("retry-after", "20"), ("retry-after-ms", "1500")]), Some(1_500));
        assert_eq!(pause(&[("retry-after", "Wed, 25 Nov 2026 00:00:30 GMT")]), Some(30_000));
        assert_eq!(pause(&[requests, tokens].concat()), Some(120));
        assert_eq!(pause(&[requests, no_tokens].concat()), Some(360_000));
        assert_eq!(pause(&tokens), Some(360_000));
        assert_eq!(pause(&[&requests[..], &[("retry-after", "1")]].concat()), Some(1_000));
    }

    #[test]
    fn spans() {
        for (text, want) in [
            ("1s", Some(1_000)),
            ("6m0s", Some(360_000)),
            ("120ms", Some(120)),
            ("1h2m3.5s", Some(3_723_500)),
            ("2d", Some(172_800_000)),
            (" 0s ", Some(0)),
            ("", None),
            ("12", None),
            ("s", None),
            ("-1s", None),
            ("1w", None),
            ("1e400s", None),
            ("NaNs", None),
        ] {
            assert_eq!(span(text).map(|span| span.as_millis()), want, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_answer_can_break_it(status in 100u16..700, body: Vec<u8>, text: String, model: String) {
            http(status, &HeaderMap::new(), &body, &model, Timestamp(0));
            span(&text);
            let failure = in_stream(&serde_json::json!({ "type": text, "code": text, "param": text }));
            prop_assert!(failure.detail.is_ascii());
        }
    }
}
