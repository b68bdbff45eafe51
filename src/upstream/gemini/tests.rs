//! The client against the stand-in: both ways in, every refusal, and what was used each time.

use std::io::{Seek, Write};

use super::*;
use crate::upstream::patient_http_client;
use sandbox::Fault;
use sandbox::gemini::{GeminiSandbox, Settings as SandboxSettings};

const QUICK: RetryPolicy =
    RetryPolicy { attempts: 3, first_pause: Duration::from_millis(1), longest_pause: Duration::from_millis(50) };

async fn sandbox() -> (GeminiSandbox, Gemini) {
    let sandbox = GeminiSandbox::start(SandboxSettings {
        analysis: Duration::from_millis(5),
        activation: Duration::from_millis(30),
        ..SandboxSettings::default()
    })
    .await
    .unwrap();
    let gemini = client(&sandbox, |_| {});
    (sandbox, gemini)
}

fn client(sandbox: &GeminiSandbox, change: impl FnOnce(&mut Settings)) -> Gemini {
    let mut settings = Settings {
        retry: QUICK,
        poll: Duration::from_millis(5),
        ..Settings::new(sandbox.served.url(), SecretString::from("AIza-sandbox"))
    };
    change(&mut settings);
    Gemini::new(patient_http_client().unwrap(), Clock::System, settings)
}

/// A file that begins as MP4 does.
fn video(bytes: usize) -> Video {
    let mut file = tempfile::tempfile().unwrap();
    let mut content = b"\0\0\0\x18ftypisom\0\0\x02\0isommp42".to_vec();
    content.resize(bytes, 7);
    file.write_all(&content).unwrap();
    file.rewind().unwrap();
    Video::of(file, bytes as u64, "video/mp4")
}

fn hint(code: &str) -> String {
    format!("https://www.instagram.com/reel/{code}/\nby @someone\ncaption")
}

async fn analyse(gemini: &Gemini, bytes: usize, code: &str) -> Result<Analysed, Failure> {
    gemini.analyse(&video(bytes), &hint(code), &CancellationToken::new()).await
}

const SMALL: usize = 10_000;

#[tokio::test]
async fn a_small_video_travels_inside_the_request() {
    let (sandbox, gemini) = sandbox().await;
    let Analysed { analysis, usage, audio_tokens, model } = analyse(&gemini, SMALL, "DLlGZiCOBQ0").await.unwrap();
    assert!(analysis.transcript.len() >= 7 && !analysis.hook.is_empty() && analysis.scenes.len() >= 3);
    assert!(analysis.transcript.is_sorted_by(|a, b| a.at_s <= b.at_s));
    let charged = &sandbox.charged()[..];
    let [charge] = charged else { panic!("{charged:?}") };
    assert_eq!((usage.input_tokens, usage.output_tokens), (charge.input_tokens, charge.output_tokens));
    assert_eq!(audio_tokens, charge.audio_tokens);
    assert!(audio_tokens > 0 && usage.reasoning_tokens > 0 && !usage.estimated && model == "gemini-3.8-flash");
    assert_eq!(sandbox.control.asked().len(), 1, "no file was uploaded");
}

#[tokio::test]
async fn a_large_video_is_uploaded_awaited_and_deleted() {
    let (sandbox, _) = sandbox().await;
    let gemini = client(&sandbox, |settings| settings.inline_limit = 100_000);
    let analysed = analyse(&gemini, 1_000_000, "DLlGZiCOBQ0").await.unwrap();
    assert!(!analysed.analysis.transcript.is_empty());
    let calls: Vec<String> = sandbox.control.asked().iter().map(|asked| asked.method.clone()).collect();
    assert!(calls.starts_with(&["POST".into(), "POST".into(), "GET".into()]), "{calls:?}");
    assert_eq!(calls.last().map(String::as_str), Some("DELETE"));
    assert_eq!(sandbox.files(), 0);
}

#[tokio::test]
async fn an_uploaded_video_is_deleted_whatever_happens() {
    let (sandbox, _) = sandbox().await;
    let gemini = client(&sandbox, |settings| settings.inline_limit = 0);
    let refusal = |code, status: &str| GeminiSandbox::refusal(code, status, "no", Value::Null);
    for (path, fault, cause) in [
        (":generateContent", refusal(400, "INVALID_ARGUMENT"), Cause::BadRequest),
        (":generateContent", Fault::DropAfter, Cause::Cut),
        ("upload/v1beta/files", refusal(403, "PERMISSION_DENIED"), Cause::Unauthorized),
    ] {
        sandbox.control.fault(path, fault);
        assert_eq!(analyse(&gemini, SMALL, "DLlGZiCOBQ0").await.unwrap_err().cause, cause, "{path}");
        assert_eq!(sandbox.files(), 0, "{path}");
    }
    assert_eq!(analyse(&gemini, SMALL, "DSAFE000000").await.unwrap_err().cause, Cause::Blocked);
    // A hiccup of the deletion is tried again.
    sandbox.control.fault("files/reel-", refusal(503, "UNAVAILABLE"));
    sandbox.control.fault("files/reel-", Fault::Drop);
    assert!(analyse(&gemini, SMALL, "DLlGZiCOBQ0").await.is_ok());
    assert_eq!(sandbox.files(), 0);
}

#[tokio::test]
async fn the_answer_to_an_upload_may_be_lost_without_leaving_a_file() {
    let (sandbox, _) = sandbox().await;
    let gemini = client(&sandbox, |settings| settings.inline_limit = 0);
    // The start waits for the first fault, the content meets the second one.
    sandbox.control.fault("upload/v1beta/files", Fault::Slow(Duration::from_millis(1)));
    sandbox.control.fault("upload/v1beta/files", Fault::DropAfter);
    let failure = analyse(&gemini, SMALL, "DLlGZiCOBQ0").await.unwrap_err();
    assert!(failure.cause.is_transient() && failure.usage.is_none(), "{failure:?}");
    assert_eq!((sandbox.files(), sandbox.charged().len()), (0, 0));
}

#[tokio::test]
async fn a_file_that_is_no_video_or_never_ready_ends_in_time() {
    let (sandbox, _) = sandbox().await;
    let never = client(&sandbox, |settings| {
        settings.inline_limit = 0;
        settings.activation = Duration::ZERO;
    });
    assert_eq!(analyse(&never, SMALL, "DLlGZiCOBQ0").await.unwrap_err().cause, Cause::TimedOut);
    let gemini = client(&sandbox, |settings| settings.inline_limit = 0);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&[7; 100]).unwrap();
    let broken = Video::of(file, 100, "video/mp4");
    let failure = gemini.analyse(&broken, "", &CancellationToken::new()).await.unwrap_err();
    assert_eq!((failure.cause, sandbox.files()), (Cause::Unreadable, 0));
}

#[tokio::test]
async fn a_blocked_and_a_cut_answer_are_paid() {
    let (sandbox, gemini) = sandbox().await;
    for (code, cause) in [("DSAFE000000", Cause::Blocked), ("DCUTJ000000", Cause::TooLong)] {
        let failure = analyse(&gemini, SMALL, code).await.unwrap_err();
        let charge = sandbox.charged().pop().unwrap();
        let usage = failure.usage.as_deref().copied().unwrap();
        assert_eq!((failure.cause, usage.estimated), (cause, false), "{code}");
        assert_eq!((usage.input_tokens, usage.output_tokens), (charge.input_tokens, charge.output_tokens));
        assert_eq!(failure.audio_tokens, charge.audio_tokens, "{code}");
        assert!(failure.request_id.is_some());
    }
    assert_eq!(sandbox.charged().len(), 2, "neither was asked twice");
    let mute = analyse(&gemini, SMALL, "DMUTE000000").await.unwrap();
    assert!(mute.analysis.transcript.is_empty() && !mute.analysis.summary.is_empty());
}

fn quota(id: &str) -> Value {
    json!({"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": id}]})
}

#[tokio::test]
async fn refusals_have_their_causes() {
    let (sandbox, gemini) = sandbox().await;
    let exhausted = "RESOURCE_EXHAUSTED";
    let wait = |delay: &str| json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay});
    let seconds = |s| Some(Duration::from_secs_f64(s));
    let midnight = quota::next_midnight(Clock::System.now());
    for (code, status, message, detail, cause, calls) in [
        (429, exhausted, "slow", wait("36.5s"), Cause::RateLimited { retry_after: seconds(36.5) }, 1),
        (429, exhausted, "slow", wait("0.01s"), Cause::RateLimited { retry_after: seconds(0.01) }, 3),
        (
            429,
            exhausted,
            "slow",
            quota("GenerateRequestsPerMinutePerProject"),
            Cause::RateLimited { retry_after: None },
            3,
        ),
        (
            429,
            exhausted,
            "no",
            quota("GenerateRequestsPerDayPerProjectPerModel"),
            Cause::DayQuota { resets_at: midnight },
            1,
        ),
        (429, exhausted, "Your prepayment credits are depleted.", Value::Null, Cause::OutOfCredit, 1),
        (400, "INVALID_ARGUMENT", "API key", json!({"reason": "API_KEY_INVALID"}), Cause::Unauthorized, 1),
        (400, "FAILED_PRECONDITION", "not in your country", Value::Null, Cause::Unauthorized, 1),
        (400, "INVALID_ARGUMENT", "bad", Value::Null, Cause::BadRequest, 1),
        (400, "INVALID_ARGUMENT", "Unable to process input video.", Value::Null, Cause::Unreadable, 1),
        (400, "INVALID_ARGUMENT", "Unsupported MIME type: video/x-odd", Value::Null, Cause::Unreadable, 1),
        (400, "INVALID_ARGUMENT", "The input token count exceeds the maximum.", Value::Null, Cause::Unreadable, 1),
        (
            400,
            "INVALID_ARGUMENT",
            "Invalid JSON payload received. Unknown name \"videoMetadata\"",
            Value::Null,
            Cause::BadRequest,
            1,
        ),
        (
            400,
            "INVALID_ARGUMENT",
            "Invalid value at 'generation_config.media_resolution'",
            Value::Null,
            Cause::BadRequest,
            1,
        ),
        (400, "INVALID_ARGUMENT", "Request contains an invalid argument.", Value::Null, Cause::BadRequest, 1),
        (
            403,
            "PERMISSION_DENIED",
            "You do not have permission to access the File reel-1 or it may not exist.",
            Value::Null,
            Cause::Unavailable { retry_after: None },
            3,
        ),
        (403, "PERMISSION_DENIED", "no", Value::Null, Cause::Unauthorized, 1),
        (404, "NOT_FOUND", "no", Value::Null, Cause::NotFound, 1),
        (500, "INTERNAL", "oops", Value::Null, Cause::Unavailable { retry_after: None }, 3),
        (503, "UNAVAILABLE", "overloaded", wait("40s"), Cause::Unavailable { retry_after: seconds(40.0) }, 1),
    ] {
        let before = sandbox.control.asked().len();
        for _ in 0..calls {
            sandbox.control.fault("", GeminiSandbox::refusal(code, status, message, detail.clone()));
        }
        let failure = analyse(&gemini, SMALL, "DLlGZiCOBQ0").await.unwrap_err();
        assert_eq!((failure.cause, failure.usage), (cause, None), "{code} {message}");
        assert_eq!(sandbox.control.asked().len() - before, calls, "{code} {message}");
    }
    assert_eq!(sandbox.charged(), []);
}

#[tokio::test]
async fn an_overloaded_moment_passes() {
    let (sandbox, gemini) = sandbox().await;
    sandbox.control.fault("", GeminiSandbox::refusal(503, "UNAVAILABLE", "overloaded", Value::Null));
    let not_active = "The File abc is not in an ACTIVE state and usage is not allowed.";
    sandbox.control.fault("", GeminiSandbox::refusal(400, "FAILED_PRECONDITION", not_active, Value::Null));
    let analysed = analyse(&gemini, SMALL, "DLlGZiCOBQ0").await.unwrap();
    assert!(!analysed.usage.estimated);
}

#[tokio::test]
async fn a_lost_answer_is_not_asked_again_and_counts_as_used() {
    let (sandbox, gemini) = sandbox().await;
    let html = Fault::Answer { status: 200, headers: vec![], body: "<html>".into() };
    for (fault, cause) in [(Fault::DropAfter, Cause::Cut), (Fault::Cut, Cause::Cut), (html, Cause::Malformed)] {
        let before = sandbox.control.asked().len();
        sandbox.control.fault("", fault);
        let failure = analyse(&gemini, SMALL, "DLlGZiCOBQ0").await.unwrap_err();
        assert_eq!(failure.cause, cause);
        assert!(failure.usage.is_some_and(|usage| usage.estimated));
        assert_eq!(sandbox.control.asked().len() - before, 1);
    }
    sandbox.control.fault("", Fault::Slow(Duration::from_secs(60)));
    let hasty = client(&sandbox, |settings| settings.timeout = Duration::from_millis(50));
    let failure = analyse(&hasty, SMALL, "DLlGZiCOBQ0").await.unwrap_err();
    assert_eq!((failure.cause, failure.usage.is_some()), (Cause::TimedOut, true));
}

#[tokio::test]
async fn calling_off_deletes_the_file_and_tells_what_may_have_been_used() {
    let (sandbox, _) = sandbox().await;
    let gemini = client(&sandbox, |settings| settings.inline_limit = 0);
    sandbox.control.fault(":generateContent", Fault::Slow(Duration::from_secs(3600)));
    let cancel = CancellationToken::new();
    let call_off = async {
        sandbox.control.until(|asked| asked.iter().any(|a| a.path.contains(":generateContent"))).await;
        cancel.cancel();
    };
    let film = video(SMALL);
    let (analysed, ()) = tokio::join!(gemini.analyse(&film, "", &cancel), call_off);
    let failure = analysed.unwrap_err();
    assert_eq!((failure.cause, sandbox.files()), (Cause::Cancelled, 0));
    assert!(failure.usage.is_some_and(|usage| usage.estimated));
}

#[tokio::test]
async fn a_doctor_learns_of_a_bad_key_and_a_bad_model() {
    let (sandbox, gemini) = sandbox().await;
    assert_eq!(gemini.model_exists().await, Ok(()));
    let bad_model = client(&sandbox, |settings| settings.model = "gemini-1.0-nano".into());
    assert_eq!(bad_model.model_exists().await.unwrap_err().cause, Cause::NotFound);
    assert_eq!(analyse(&bad_model, SMALL, "DLlGZiCOBQ0").await.unwrap_err().cause, Cause::NotFound);
    for key in ["wrong", "line\nbreak"] {
        let bad_key = client(&sandbox, |settings| settings.api_key = SecretString::from(key));
        assert_eq!(bad_key.model_exists().await.unwrap_err().cause, Cause::Unauthorized, "{key}");
    }
}

#[tokio::test]
async fn other_models_are_asked_in_their_own_way() {
    let (sandbox, _) = sandbox().await;
    for model in ["gemini-2.5-flash-lite", "gemini-3.5-flash-lite", "gemini-flash-latest"] {
        let gemini = client(&sandbox, |settings| {
            settings.model = model.into();
            settings.media_resolution = Some("MEDIA_RESOLUTION_HIGH".into());
        });
        assert_eq!(analyse(&gemini, SMALL, "DLlGZiCOBQ0").await.unwrap().model, model);
    }
}

#[tokio::test]
async fn the_stand_in_refuses_what_google_refuses() {
    let (sandbox, gemini) = sandbox().await;
    let part = json!({"text": "hi"});
    for (model, config) in [
        ("gemini-3.8-flash", json!({"temperature": 0.2})),
        ("gemini-3.8-flash", json!({"thinkingConfig": {"thinkingLevel": "MINIMAL"}})),
        ("gemini-3.8-flash", json!({"thinkingConfig": {"thinkingBudget": 0}})),
        ("gemini-2.5-flash", json!({"thinkingConfig": {"thinkingLevel": "LOW"}})),
        ("gemini-3.8-flash", json!({"responseJsonSchema": {"type": "object"}})),
        ("gemini-3.8-flash", json!({"mediaResolution": "HIGH"})),
        ("gemini-3.8-flash", json!({"maxTokens": 3})),
    ] {
        let url = format!("{}/v1beta/models/{model}:generateContent", sandbox.served.url());
        let body = json!({"contents": [{"role": "user", "parts": [part]}], "generationConfig": config});
        let failure = gemini.json(gemini.http.post(url).json(&body), CALL_TIMEOUT).await.unwrap_err();
        assert_eq!(failure.cause, Cause::BadRequest, "{config}");
    }
    let url = format!("{}/v1beta/files/none", sandbox.served.url());
    let failure = gemini.json(gemini.http.get(url), CALL_TIMEOUT).await.unwrap_err();
    assert_eq!(failure.detail, "HTTP 403 PERMISSION_DENIED");
}

#[test]
fn the_model_that_answered_sets_the_price() {
    let settings = Settings::new("http://127.0.0.1:1", SecretString::from("k"));
    let gemini = Gemini::new(patient_http_client().unwrap(), Clock::System, settings);
    for (answered, priced) in [
        ("gemini-3.8-flash", "gemini-3.8-flash"),
        ("gemini-3.8-flash-001", "gemini-3.8-flash"),
        ("gemini-3.8-flash-lite", "gemini-3.8-flash-lite"),
        ("gemini-3.5-flash-lite", "gemini-3.5-flash-lite"),
    ] {
        assert_eq!(gemini.priced_as(answered), priced);
    }
}

#[test]
fn every_end_of_an_answer_is_understood() {
    let stop = |reason: &str| json!({"candidates": [{"finishReason": reason, "content": {"parts": []}}]});
    for (answer, cause) in [
        (json!({"promptFeedback": {"blockReason": "SAFETY"}}), Cause::Blocked),
        (stop("SAFETY"), Cause::Blocked),
        (stop("RECITATION"), Cause::Blocked),
        (stop("SPII"), Cause::Blocked),
        (stop("MAX_TOKENS"), Cause::TooLong),
        (stop("LANGUAGE"), Cause::Language),
        (stop("IMAGE_PROHIBITED_CONTENT"), Cause::Blocked),
        (stop("OTHER"), Cause::Unreadable),
        (stop("SOMETHING_NEW"), Cause::Unreadable),
        (stop("STOP"), Cause::Unusable),
        (stop("MALFORMED_RESPONSE"), Cause::Unusable),
        (json!({}), Cause::Unusable),
        (json!({"candidates": []}), Cause::Unusable),
    ] {
        assert_eq!(read(&answer).unwrap_err().cause, cause, "{answer}");
    }
    let parts = json!([{"text": "let me think", "thought": true}, {"text": "{\"summary\":"}, {"text": "\"s\"}"}]);
    let answer = json!({"candidates": [{"finishReason": "STOP", "content": {"parts": parts}}]});
    assert_eq!(read(&answer).unwrap().summary, "s");
}
