//! The real client against the stand-in, over a real connection.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;

use super::*;
use ::sandbox::Fault;
use ::sandbox::openai::{self as sandbox, OpenAiSandbox, Script};

pub(super) const RESPONSES: &str = "/v1/responses";

pub(super) struct Stage {
    pub(super) sandbox: OpenAiSandbox,
    pub(super) openai: OpenAi,
}

impl Stage {
    pub(super) async fn new() -> Self {
        Self::with(|_| {}, |_| {}).await
    }

    pub(super) async fn with(real: impl FnOnce(&mut sandbox::Settings), ours: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = sandbox::Settings::default();
        real(&mut settings);
        let sandbox = OpenAiSandbox::start(settings).await.expect("a free port");
        let mut settings = Settings {
            base_url: sandbox.base_url(),
            api_key: "sk-sandbox".into(),
            retry: RetryPolicy {
                attempts: 3,
                first_pause: Duration::from_millis(1),
                longest_pause: Duration::from_secs(2),
            },
            deadlines: |_| Deadlines { silence: Duration::from_secs(20), total: Duration::from_secs(60) },
            quota: QuotaSettings {
                limits: Limits { requests: 5_000, tokens: 1_000_000 },
                longest_wait: Duration::from_secs(30),
            },
        };
        ours(&mut settings);
        let http = crate::upstream::patient_http_client().expect("a client");
        Self { openai: OpenAi::new(http, Clock::System, settings), sandbox }
    }

    /// As the coach asks: what failed and was paid is asked again where it may be. What it cost in all, and how it ended.
    pub(super) async fn insist(&self, ask: &Ask) -> (Vec<Usage>, Result<Reply, Failure>) {
        let (mut paid, lost) = (Vec::new(), LostConnections::default());
        loop {
            let (shown, ended) = self.ask_once(ask, &lost).await;
            let failure = match &ended {
                Ok(reply) => {
                    paid.push(reply.usage);
                    return (paid, ended);
                }
                Err(failure) => failure,
            };
            paid.extend(failure.usage.as_deref());
            let attempt = u32::try_from(paid.len()).unwrap_or(u32::MAX);
            match self.openai.again(ask, failure, attempt, Duration::ZERO).filter(|_| shown.is_empty()) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return (paid, ended),
            }
        }
    }

    /// What was shown, and how it ended.
    pub(super) async fn ask(&self, ask: &Ask) -> (String, Result<Reply, Failure>) {
        self.ask_once(ask, &LostConnections::default()).await
    }

    async fn ask_once(&self, ask: &Ask, lost: &LostConnections) -> (String, Result<Reply, Failure>) {
        let mut shown = String::new();
        let mut hear = |heard: Heard<'_>| match heard {
            Heard::Text(text) => shown.push_str(text),
            Heard::Revised(text) => text.clone_into(&mut shown),
            Heard::Waits(_) | Heard::Leaves(_) | Heard::Ended(_) => {}
        };
        let ended = self.openai.respond(ask, lost, &mut hear).await;
        (shown, ended)
    }

    pub(super) async fn reply(&self, ask: &Ask) -> Reply {
        let (shown, ended) = self.ask(ask).await;
        let reply = ended.expect("a reply");
        assert_eq!(shown, reply.text);
        reply
    }

    pub(super) async fn failure(&self, ask: &Ask) -> (String, Failure) {
        let (shown, ended) = self.ask(ask).await;
        (shown, ended.expect_err("a failure"))
    }

    pub(super) fn fault(&self, status: u16, headers: &[(&str, &str)], body: &Value) {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.sandbox.control.fault(RESPONSES, Fault::Answer { status, headers, body: body.to_string() });
    }

    pub(super) fn requests(&self) -> usize {
        self.sandbox.control.count(RESPONSES)
    }
}

pub(super) fn ask(said: &str) -> Ask {
    Ask {
        model: "gpt-6-luna".into(),
        instructions: "You are a coach.".into(),
        input: Arc::new(vec![Item::User(said.into())]),
        tools: [].into(),
        tool_choice: ToolChoice::Auto,
        effort: Some(Effort::Low),
        max_output_tokens: 2_000,
        cache_key: "person-1".into(),
        safety_id: "5f3a".into(),
    }
}

pub(super) fn tool(name: &'static str) -> ToolSpec {
    ToolSpec {
        name,
        description: "A tool.",
        parameters: json!({ "type": "object", "properties": { "of": { "type": ["string", "null"] } },
                            "required": ["of"], "additionalProperties": false }),
    }
}

pub(super) fn error(kind: &str, code: &str) -> Value {
    json!({ "error": { "message": "You wrote: secret", "type": kind, "param": null, "code": code } })
}

#[tokio::test]
async fn text_arrives_in_pieces_with_its_usage() {
    let stage = Stage::new().await;
    stage.sandbox.script(Script::Text("Open on the result.\n\nThen explain, ok? 🎬".into()));
    let mut pieces = Vec::new();
    let mut hear = |heard: Heard<'_>| {
        if let Heard::Text(text) = heard {
            pieces.push(text.to_owned());
        }
    };
    let lost = LostConnections::default();
    let reply = stage.openai.respond(&ask("hi"), &lost, &mut hear).await.expect("a reply");
    assert_eq!(reply.text, "Open on the result.\n\nThen explain, ok? 🎬");
    assert_eq!(pieces.concat(), reply.text);
    assert!(pieces.len() > 5, "{pieces:?}");
    assert_eq!((reply.ending, reply.refusal, reply.model.as_str()), (Ending::Completed, None, "gpt-6-luna"));
    assert!(reply.request_id.is_some_and(|id| id.starts_with("req_")));
    let charged = stage.sandbox.charged();
    assert_eq!(charged.len(), 1);
    assert!(charged[0].finished);
    assert_eq!(charged[0].cache_key, "person-1");
    let usage = charged[0].usage;
    assert_eq!((reply.usage.input_tokens, reply.usage.output_tokens), (usage.input, usage.output));
    assert_eq!((reply.usage.reasoning_tokens, reply.usage.estimated), (32, false));
}

#[tokio::test]
async fn every_model_takes_our_request_and_every_effort_we_hold_for_right() {
    let stage = Stage::new().await;
    for model in sandbox::Settings::default().models {
        let known = efforts(&model).unwrap_or_default();
        for effort in [None].into_iter().chain(known.iter().copied().map(Some)) {
            let reply = stage.reply(&Ask { model: model.clone(), effort, ..ask("hi") }).await;
            assert!(!reply.text.is_empty(), "{model} {effort:?}");
        }
        for effort in Effort::ALL.into_iter().filter(|effort| efforts(&model).is_some() && !known.contains(effort)) {
            let (_, failure) = stage.failure(&Ask { model: model.clone(), effort: Some(effort), ..ask("hi") }).await;
            assert_eq!(failure.cause, Cause::BadRequest, "{model} {effort}");
        }
    }
}

#[tokio::test]
async fn several_calls_at_once_and_the_round_after_them() {
    for model in ["gpt-6-luna", "gpt-5-mini", "gpt-4.1-mini", "gpt-5.1"] {
        let stage = Stage::new().await;
        let mut ask =
            Ask { model: model.into(), effort: None, ..ask("how long is the queue, and which are my reels?") };
        ask.tools = [tool("queue_status"), tool("list_my_reels")].into();
        let reply = stage.reply(&ask).await;
        let names: Vec<&str> = reply.calls.iter().map(|call| call.name.as_str()).collect();
        assert_eq!(names, ["queue_status", "list_my_reels"]);
        assert_eq!(reply.calls[0].arguments, r#"{"of":null}"#);
        assert_eq!(reply.text, "");

        Arc::make_mut(&mut ask.input).extend(reply.items.into_iter().map(Item::Raw));
        for call in reply.calls {
            Arc::make_mut(&mut ask.input)
                .push(Item::ToolOutput { call_id: call.call_id, output: r#"{"position":2}"#.into() });
        }
        let reply = stage.reply(&ask).await;
        assert!(reply.text.starts_with("Here is where your queue stands: position: 2."), "{model}: {}", reply.text);
    }
}

#[tokio::test]
async fn scripted_calls_keep_their_arguments() {
    let stage = Stage::new().await;
    let arguments = r#"{"url":"https://instagram.com/reel/Äbc/"}"#;
    stage.sandbox.script(Script::Calls(vec![("a".into(), arguments.into()), ("b".into(), "{}".into())]));
    let reply = stage.reply(&ask("go")).await;
    assert_eq!(reply.calls[0].arguments, arguments);
    assert_ne!(reply.calls[0].call_id, reply.calls[1].call_id);
    assert_eq!(reply.items.len(), 3, "reasoning and two calls");
}

#[tokio::test]
async fn a_refusal_is_returned_and_not_shown() {
    let stage = Stage::new().await;
    stage.sandbox.script(Script::Refusal("I cannot help with that.".into()));
    let reply = stage.reply(&ask("bad")).await;
    assert_eq!((reply.text.as_str(), reply.refusal.as_deref()), ("", Some("I cannot help with that.")));
}

#[tokio::test]
async fn an_incomplete_answer_is_an_answer() {
    let stage = Stage::new().await;
    stage.sandbox.script(Script::Incomplete { text: "The first".into(), reason: "content_filter".into() });
    let reply = stage.reply(&ask("hi")).await;
    assert_eq!(reply.ending, Ending::Incomplete("content_filter".into()));
    assert_eq!(reply.text, "The first");

    // All of the allowance went into reasoning: paid, and nothing to see.
    let reply = stage.reply(&Ask { max_output_tokens: 16, ..ask("hi") }).await;
    assert_eq!(reply.ending, Ending::Incomplete("max_output_tokens".into()));
    assert_eq!(reply.text, "");
    assert!(reply.usage.output_tokens > 0);
}

#[tokio::test]
async fn unknown_events_and_items_are_passed_over() {
    let stage = Stage::new().await;
    stage.sandbox.script(Script::UnknownEvents("Still here.".into()));
    let reply = stage.reply(&ask("hi")).await;
    assert_eq!(reply.text, "Still here.");
    assert!(!reply.usage.estimated);
}

#[tokio::test]
async fn a_failed_response_may_be_asked_again_and_both_are_paid() {
    let stage = Stage::new().await;
    let failed = |code: &str| Script::Failed { code: code.into(), message: "secret".into() };
    stage.sandbox.script(failed("server_error"));
    stage.sandbox.script(Script::Text("Second time lucky.".into()));
    let (paid, ended) = stage.insist(&ask("hi")).await;
    assert_eq!(ended.expect("a reply").text, "Second time lucky.");
    let charged = stage.sandbox.charged();
    let [first, _] = &charged[..] else { panic!("two calls") };
    let told: Vec<_> = paid.iter().map(|usage| (usage.input_tokens, usage.output_tokens, usage.estimated)).collect();
    let known: Vec<_> = charged.iter().map(|charge| (charge.usage.input, charge.usage.output, false)).collect();
    assert_eq!(told, known, "each by itself");

    stage.sandbox.script(failed("invalid_prompt"));
    let (_, failure) = stage.failure(&ask("hi")).await;
    assert_eq!(failure.cause, Cause::Blocked);
    assert!(!failure.to_string().contains("secret"), "{failure}");
    assert_eq!(failure.usage.map(|usage| usage.input_tokens), Some(first.usage.input));
    assert_eq!(stage.requests(), 3);
}

#[tokio::test]
async fn error_events_flat_and_nested() {
    let stage = Stage::new().await;
    for nested in [false, true] {
        stage.sandbox.script(Script::ErrorEvent { nested, code: "rate_limit_exceeded".into() });
        stage.sandbox.script(Script::Text("Now.".into()));
        assert_eq!(stage.insist(&ask("hi")).await.1.expect("a reply").text, "Now.");
        stage.sandbox.script(Script::ErrorEvent { nested, code: "insufficient_quota".into() });
        assert_eq!(stage.failure(&ask("hi")).await.1.cause, Cause::OutOfCredit);
    }
    for _ in 0..3 {
        stage.sandbox.script(Script::ErrorEvent { nested: true, code: "rate_limit_exceeded".into() });
    }
    let (paid, ended) = stage.insist(&ask("hi")).await;
    assert_eq!(ended.expect_err("a failure").cause, Cause::RateLimited { retry_after: None });
    assert_eq!(paid.len(), 3, "the model had begun to reason");
    assert_eq!(stage.requests(), 2 * 3 + 3, "no more attempts than the policy allows");
}

#[tokio::test]
async fn a_stream_cut_before_any_text_is_paid_before_it_is_asked_again() {
    let stage = Stage::new().await;
    stage.sandbox.script(Script::CutAfter(String::new()));
    let (_, failure) = stage.failure(&ask("hi")).await;
    assert_eq!((failure.cause.clone(), stage.requests()), (Cause::Cut, 1), "one reservation covers one paid attempt");
    let usage = failure.usage.clone().expect("it may have been paid");
    assert!(usage.estimated && usage.input_tokens >= stage.sandbox.charged()[0].usage.input, "{usage:?}");

    let asked = ask("hi");
    let (again, second) = (|attempt, took| stage.openai.again(&asked, &failure, attempt, took), Duration::from_secs(1));
    assert!(again(1, second).is_some() && again(2, second).is_some());
    assert_eq!((again(3, second), again(1, Duration::from_secs(60))), (None, None), "no more, and no later");
    let free = Failure { usage: None, ..failure.clone() };
    assert_eq!(stage.openai.again(&asked, &free, 1, second), None, "what is free was repeated already");
    let late = Failure { cause: Cause::TimedOut, ..failure.clone() };
    assert_eq!(stage.openai.again(&asked, &late, 1, second), None);

    stage.sandbox.script(Script::CutAfter(String::new()));
    stage.sandbox.script(Script::Text("Whole.".into()));
    let (paid, ended) = stage.insist(&ask("hi")).await;
    assert_eq!((ended.expect("a reply").text.as_str(), paid.len()), ("Whole.", 2));
    assert!(paid[0].estimated && !paid[1].estimated, "the first attempt never told its usage: {paid:?}");
}

#[tokio::test]
async fn whoever_listens_knows_what_each_attempt_cost() {
    let stage = Stage::new().await;
    stage.fault(503, &[("retry-after-ms", "1")], &error("server_error", "server_is_overloaded"));
    let mut ended = Vec::new();
    let mut left = 0;
    let mut hear = |heard: Heard<'_>| match heard {
        Heard::Leaves(_) => left += 1,
        Heard::Ended(usage) => ended.push(usage),
        Heard::Waits(_) | Heard::Text(_) | Heard::Revised(_) => {}
    };
    let reply = stage.openai.respond(&ask("hi"), &LostConnections::default(), &mut hear).await.expect("a reply");
    assert_eq!((left, ended), (2, vec![None, Some(reply.usage)]), "a refusal is free");
}

#[tokio::test]
async fn a_stream_cut_after_text_is_not_tried_again() {
    let stage = Stage::new().await;
    stage.sandbox.script(Script::CutAfter("Start with the ".into()));
    let (shown, failure) = stage.failure(&ask("hi")).await;
    assert_eq!(shown, "Start with the ");
    assert_eq!((failure.cause, stage.requests()), (Cause::Cut, 1));
    assert!(failure.request_id.is_some());
    let usage = failure.usage.expect("an estimate");
    assert!(usage.estimated && usage.input_tokens > 0 && usage.output_tokens >= 4, "{usage:?}");
}

#[tokio::test]
async fn a_connection_that_breaks_counts_like_a_cut() {
    let stage = Stage::new().await;
    stage.sandbox.script(Script::Text("one two three four five six seven eight nine ten".into()));
    stage.sandbox.control.fault(RESPONSES, Fault::Cut);
    let (shown, failure) = stage.failure(&ask("hi")).await;
    assert!(shown.starts_with("one") && !shown.ends_with("ten"), "{shown}");
    assert_eq!((failure.cause, stage.requests()), (Cause::Cut, 1));
    assert!(!stage.sandbox.charged()[0].finished);
}

#[tokio::test]
async fn nobody_listens() {
    let stage = Stage::with(|_| {}, |ours| ours.base_url = "http://127.0.0.1:9/v1".into()).await;
    let (_, failure) = stage.failure(&ask("hi")).await;
    assert_eq!((failure.cause, failure.usage), (Cause::Unavailable { retry_after: None }, None));
    let stage = Stage::with(|_| {}, |ours| ours.base_url = "not a url".into()).await;
    assert_eq!(stage.failure(&ask("hi")).await.1.cause, Cause::BadRequest);
}

#[tokio::test]
async fn a_rate_limit_is_waited_for() {
    let stage = Stage::new().await;
    let limited = error("requests", "rate_limit_exceeded");
    stage.fault(429, &[("retry-after-ms", "5")], &limited);
    stage.fault(429, &[("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "3ms")], &limited);
    assert!(!stage.reply(&ask("hi")).await.text.is_empty());
    assert_eq!(stage.requests(), 3);

    // Too long to wait for: whoever asked is told at once.
    stage.fault(429, &[("retry-after", "3600")], &limited);
    let (_, failure) = stage.failure(&ask("hi")).await;
    assert_eq!(failure.cause, Cause::RateLimited { retry_after: Some(Duration::from_secs(3600)) });
    assert_eq!((stage.requests(), failure.usage.is_none()), (4, true));
    assert!(!failure.to_string().contains("secret"), "{failure}");
}

#[tokio::test]
async fn an_empty_purse_is_not_tried_again() {
    let stage = Stage::new().await;
    stage.fault(429, &[("retry-after", "1")], &error("insufficient_quota", "credit_balance_exhausted"));
    let (_, failure) = stage.failure(&ask("hi")).await;
    assert_eq!((failure.cause, stage.requests()), (Cause::OutOfCredit, 1));
    stage.fault(429, &[], &error("tokens", "insufficient_quota"));
    let (_, failure) = stage.failure(&ask("hi")).await;
    assert_eq!((failure.cause, stage.requests()), (Cause::OutOfCredit, 2));
}

#[tokio::test]
async fn server_errors_are_tried_again_as_often_as_allowed() {
    let stage = Stage::new().await;
    stage.fault(500, &[], &error("server_error", ""));
    assert!(!stage.reply(&ask("hi")).await.text.is_empty());
    let html = |status| Fault::Answer { status, headers: Vec::new(), body: "<html>Bad gateway</html>".into() };
    for _ in 0..3 {
        stage.sandbox.control.fault(RESPONSES, html(502));
    }
    let (_, failure) = stage.failure(&ask("hi")).await;
    assert_eq!((failure.cause, stage.requests()), (Cause::Unavailable { retry_after: None }, 5));
    assert_eq!(failure.detail, "HTTP 502, not JSON");
    stage.sandbox.control.fault(RESPONSES, html(200));
    let (_, failure) = stage.failure(&ask("hi")).await;
    assert_eq!((failure.cause, stage.requests()), (Cause::Malformed, 6));
}

#[tokio::test]
async fn what_the_operator_must_mend_is_told_apart() {
    let stage = Stage::with(|_| {}, |ours| ours.api_key = "sk-wrong".into()).await;
    assert_eq!(stage.failure(&ask("hi")).await.1.cause, Cause::Unauthorized);
    let stage = Stage::with(|_| {}, |ours| ours.api_key = "not a\nheader".into()).await;
    assert_eq!(stage.failure(&ask("hi")).await.1.cause, Cause::Unauthorized);

    let stage = Stage::new().await;
    let (_, failure) = stage.failure(&Ask { model: "gpt-9".into(), ..ask("hi") }).await;
    assert_eq!(failure.cause, Cause::NotFound);
    let (_, failure) = stage.failure(&Ask { effort: Some(Effort::Minimal), ..ask("hi") }).await;
    assert_eq!(failure.cause, Cause::BadRequest);
    assert_eq!(failure.detail, "HTTP 400, type invalid_request_error, code unsupported_value, param reasoning.effort");
    let orphan = Item::ToolOutput { call_id: "call_x".into(), output: "1".into() };
    let (_, failure) = stage.failure(&Ask { input: Arc::new(vec![Item::User("hi".into()), orphan]), ..ask("") }).await;
    assert_eq!((failure.cause, failure.usage), (Cause::BadRequest, None));
    assert_eq!(stage.requests(), 3, "none of it is tried again");
}

#[tokio::test]
async fn silence_ends_in_a_timeout() {
    let silent = |ours: &mut Settings| {
        ours.deadlines = |_| Deadlines { silence: Duration::from_millis(250), total: Duration::from_secs(60) };
    };
    let stage = Stage::with(|_| {}, silent).await;
    stage.sandbox.script(Script::Stall("Wait ".into()));
    let (shown, failure) = stage.failure(&ask("hi")).await;
    assert_eq!((shown.as_str(), failure.cause, failure.detail.as_str()), ("Wait ", Cause::TimedOut, "idle_timeout"));
    assert!(failure.usage.is_some_and(|usage| usage.estimated));

    stage.sandbox.control.fault(RESPONSES, Fault::Slow(Duration::from_secs(60)));
    let (_, failure) = stage.failure(&ask("hi")).await;
    assert_eq!((failure.cause, failure.detail.as_str()), (Cause::TimedOut, "first_event_timeout"));

    let hurried = |ours: &mut Settings| {
        ours.deadlines = |_| Deadlines { silence: Duration::from_secs(60), total: Duration::from_millis(750) };
    };
    let stage = Stage::with(|_| {}, hurried).await;
    stage.sandbox.script(Script::Stall("Wait ".into()));
    let (shown, failure) = stage.failure(&ask("hi")).await;
    assert_eq!((shown.as_str(), failure.cause, failure.detail.as_str()), ("Wait ", Cause::TimedOut, "total_timeout"));
    assert!(failure.usage.is_some_and(|usage| usage.estimated && usage.output_tokens > 0));
    assert!(failure.request_id.is_some());
    stage.fault(503, &[("retry-after", "2")], &error("server_error", "server_is_overloaded"));
    let (_, failure) = stage.failure(&ask("hi")).await;
    assert_eq!((failure.cause, failure.usage), (Cause::TimedOut, None), "a pause costs nothing");
}

#[tokio::test]
async fn whoever_goes_away_stops_the_answer() {
    let stage = Stage::with(
        |real| real.per_token = Duration::from_secs(60),
        |ours| ours.deadlines = |_| Deadlines { silence: Duration::from_secs(600), total: Duration::from_secs(600) },
    )
    .await;
    stage.sandbox.script(Script::Text("one two three".into()));
    let shown = Notify::new();
    let ask = ask("hi");
    let mut hear = |heard: Heard<'_>| {
        if matches!(heard, Heard::Text(_)) {
            shown.notify_one();
        }
    };
    let lost = LostConnections::default();
    tokio::select! {
        ended = stage.openai.respond(&ask, &lost, &mut hear) => panic!("ended: {ended:?}"),
        () = shown.notified() => {}
    }
    stage.sandbox.control.until(|_| !stage.sandbox.charged().is_empty()).await;
    let charged = stage.sandbox.charged();
    assert!(!charged[0].finished);
    assert_eq!(charged[0].usage.output, 32 + 1, "reasoning and one word");
}

#[tokio::test]
async fn a_long_prompt_that_grows_is_read_from_the_cache() {
    let stage = Stage::new().await;
    let long = Ask { instructions: "Coach well. ".repeat(500).into(), ..ask("hi") };
    let first = stage.reply(&long).await.usage;
    assert_eq!(first.cached_tokens, 0);
    assert!(first.cache_write_tokens >= 1024, "{first:?}");
    let said = ["hi", "and now?"].map(|text| Item::User(text.into())).to_vec();
    let second = stage.reply(&Ask { input: Arc::new(said), ..long.clone() }).await.usage;
    assert_eq!(second.cached_tokens, first.cache_write_tokens, "up to the end of the question before: {second:?}");
    // The instructions are the same, but nothing ended there.
    let elsewhere = Arc::new(vec![Item::User("something else".into())]);
    let another = stage.reply(&Ask { input: elsewhere, ..long.clone() }).await.usage;
    assert_eq!(another.cached_tokens, 0);
    let other = stage.reply(&Ask { cache_key: "person-2".into(), ..long }).await.usage;
    assert_eq!(other.cached_tokens, 0);
}

#[tokio::test]
async fn every_request_has_what_must_always_be_sent() {
    let stage = Stage::new().await;
    stage.reply(&Ask { tools: [tool("queue_status")].into(), ..ask("hi") }).await;
    let body = stage.sandbox.control.asked()[0].body.clone();
    assert_eq!(body["store"], false);
    assert_eq!(body["service_tier"], "default");
    assert_eq!(body["stream"], true);
    assert_eq!(body["stream_options"]["include_obfuscation"], false);
    assert_eq!((&body["prompt_cache_key"], &body["safety_identifier"]), (&json!("person-1"), &json!("5f3a")));
    assert_eq!(body.get("temperature"), None);
    assert_eq!(body["tools"][0]["strict"], true);
}

#[tokio::test]
async fn models_tell_when_they_end() {
    let stage = Stage::new().await;
    let model = stage.openai.model("gpt-5").await.expect("a model");
    assert_eq!(model, Model { id: "gpt-5".into(), shutdown_date: Some("2026-12-11".into()) });
    assert_eq!(stage.openai.model("gpt-6-luna").await.expect("a model").shutdown_date, None);
    for id in ["gpt-9", "../responses", "a/b?c#d", ""] {
        assert_eq!(stage.openai.model(id).await.expect_err("none").cause, Cause::NotFound, "{id}");
    }
    let busy = Fault::Answer { status: 503, headers: Vec::new(), body: String::new() };
    stage.sandbox.control.fault("/v1/models", busy);
    assert!(stage.openai.model("gpt-5").await.is_ok());
}
