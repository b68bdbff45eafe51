//! Gathers an answer from the events of its stream. Pure: takes one event at a time, whatever is in it;
//! never panics and never waits. Event and field names: OpenAI API reference, "Streaming events".

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use tokio::time::Instant;

use super::meter::Meter;
use super::refused;
use super::{Ask, Ending, Reply, ToolCall, fail};
use crate::upstream::{Cause, Failure, ServiceTier, Usage};

/// About as many tokens as a call takes beside its name and arguments.
const AROUND_A_CALL: u64 = 2;

/// Parts the texts of two messages.
const BETWEEN_MESSAGES: &str = "\n\n";

/// Counts an event whose type we do not know. OpenAI adds types without notice; none of them may end a call.
pub(super) fn count_unknown() {
    metrics::counter!(crate::telemetry::OPENAI_UNKNOWN_EVENTS).increment(1);
}

/// What one event means.
#[derive(Debug)]
pub(super) enum Step {
    Nothing,
    /// Visible text to pass on.
    Text(String),
    Ended(Terminal),
    Failed(Failure),
}

/// The last event of a stream that did not fail.
#[derive(Debug)]
pub(super) struct Terminal {
    ending: Ending,
    response: Value,
}

/// What a stream brought so far.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) events: u64,
    text: String,
    refusal: String,
    /// Text of each part of each message, to tell what a `done` event adds to the deltas before it.
    parts: BTreeMap<(u64, u64), String>,
    /// The message that the text is from at present.
    message: Option<u64>,
    /// Complete output items by their place.
    items: BTreeMap<u64, Value>,
    /// What all of it has cost.
    meter: Arc<Meter>,
}

impl Gathered {
    pub(super) fn new(meter: Arc<Meter>) -> Self {
        Self {
            events: 0,
            text: String::new(),
            refusal: String::new(),
            parts: BTreeMap::new(),
            message: None,
            items: BTreeMap::new(),
            meter,
        }
    }

    /// Takes the event that came at `now`.
    pub(super) fn take(&mut self, event: &Value, now: Instant) -> Step {
        self.events += 1;
        if let Some(tier) = event["response"]["service_tier"].as_str() {
            self.meter.billed_by(ServiceTier::of(tier));
        }
        let text = |name: &str| event[name].as_str().unwrap_or_default();
        match text("type") {
            "response.created" | "response.in_progress" => {
                self.meter.created(now);
                Step::Nothing
            }
            "response.output_text.delta" => {
                self.meter.wrote(text("delta"), now);
                self.show(place(event), text("delta"))
            }
            "response.output_text.done" => {
                let place = place(event);
                let so_far = self.parts.get(&place).map_or("", String::as_str);
                let rest = text("text").strip_prefix(so_far).unwrap_or_default();
                self.meter.wrote(rest, now);
                self.show(place, rest)
            }
            "response.refusal.delta" => {
                self.meter.wrote(text("delta"), now);
                self.refusal.push_str(text("delta"));
                Step::Nothing
            }
            "response.refusal.done" => {
                if self.refusal.is_empty() {
                    self.refusal.push_str(text("refusal"));
                }
                Step::Nothing
            }
            "response.function_call_arguments.delta" => {
                self.meter.wrote(text("delta"), now);
                Step::Nothing
            }
            "response.output_item.added" => {
                let item = &event["item"];
                self.meter.began(item["type"] == "reasoning", now);
                if item["type"] == "function_call" {
                    self.meter.wrote(item["name"].as_str().unwrap_or_default(), now);
                    self.meter.wrote_tokens(AROUND_A_CALL);
                }
                Step::Nothing
            }
            "response.output_item.done" => {
                let item = &event["item"];
                if item["type"] == "reasoning" {
                    self.meter.reasoned(item["encrypted_content"].as_str().unwrap_or_default(), now);
                }
                self.items.insert(place(event).0, item.clone());
                Step::Nothing
            }
            "response.completed" => {
                Step::Ended(Terminal { ending: Ending::Completed, response: event["response"].clone() })
            }
            "response.incomplete" => {
                let reason = event["response"]["incomplete_details"]["reason"].as_str().unwrap_or("unknown");
                let ending = Ending::Incomplete(reason.to_owned());
                Step::Ended(Terminal { ending, response: event["response"].clone() })
            }
            "response.failed" => Step::Failed(refused::in_stream(&event["response"]["error"])),
            // Documented flat, sent nested.
            "error" if event["error"].is_object() => Step::Failed(refused::in_stream(&event["error"])),
            "error" => Step::Failed(refused::in_stream(event)),
            "" if event["error"].is_object() => Step::Failed(refused::in_stream(&event["error"])),
            known if is_known(known) => Step::Nothing,
            _ => {
                count_unknown();
                Step::Nothing
            }
        }
    }

    /// Takes over what the final response says in the end: its text and refusal count, whatever the events before it
    /// brought. Returns the whole text if it is another one than was shown. A response that says nothing at all changes
    /// nothing.
    pub(super) fn conclude(&mut self, terminal: &Terminal) -> Option<String> {
        let output = terminal.response["output"].as_array().map_or(&[][..], Vec::as_slice);
        let (mut text, mut refusal) = (String::new(), String::new());
        for item in output.iter().filter(|item| item["type"] == "message") {
            let mut message = String::new();
            for part in item["content"].as_array().into_iter().flatten() {
                match part["type"].as_str() {
                    Some("output_text") => message.push_str(part["text"].as_str().unwrap_or_default()),
                    Some("refusal") => refusal.push_str(part["refusal"].as_str().unwrap_or_default()),
                    _ => {}
                }
            }
            if !text.is_empty() && !message.is_empty() {
                text.push_str(BETWEEN_MESSAGES);
            }
            text.push_str(&message);
        }
        if text.is_empty() && refusal.is_empty() {
            return None;
        }
        self.refusal = refusal;
        (self.text != text).then(|| {
            self.text.clone_from(&text);
            text
        })
    }

    /// The reply, once the stream has ended well.
    ///
    /// # Errors
    /// `Cause::Malformed` if the model calls a function without saying which.
    pub(super) fn reply(
        self,
        terminal: &Terminal,
        ask: &Ask,
        request_id: Option<String>,
        now: Instant,
    ) -> Result<Reply, Failure> {
        let response = &terminal.response;
        let usage = self.usage_told(response).unwrap_or_else(|| self.meter.usage(now));
        let items = match response["output"].as_array() {
            Some(output) if !output.is_empty() => output.clone(),
            _ => self.items.into_values().collect(),
        };
        let mut calls = Vec::new();
        for item in items.iter().filter(|item| item["type"] == "function_call" && item["status"] != "incomplete") {
            let field = |name: &str| item[name].as_str().filter(|value| !value.is_empty()).map(str::to_owned);
            let (Some(call_id), Some(name)) = (field("call_id"), field("name")) else {
                let failure = fail(Cause::Malformed, "a function call without call_id or name");
                return Err(Failure { request_id, usage: Some(Box::new(usage)), ..failure });
            };
            calls.push(ToolCall { call_id, name, arguments: field("arguments").unwrap_or_else(|| "{}".into()) });
        }
        Ok(Reply {
            text: self.text,
            refusal: (!self.refusal.is_empty()).then_some(self.refusal),
            calls,
            items,
            usage,
            ending: terminal.ending.clone(),
            request_id,
            model: response["model"].as_str().unwrap_or(&ask.model).to_owned(),
        })
    }

    /// What an attempt used that OpenAI itself called failed: what it says, else nothing unless the model had begun.
    pub(super) fn usage_of_failure(&self, event: &Value, now: Instant) -> Option<Usage> {
        self.usage_told(&event["response"]).or_else(|| self.meter.has_begun().then(|| self.meter.usage(now)))
    }

    fn usage_told(&self, response: &Value) -> Option<Usage> {
        usage(&response["usage"]).map(|usage| Usage { tier: self.meter.tier(), ..usage })
    }

    /// Notes text of a message. A new message begins after an empty line.
    fn show(&mut self, place: (u64, u64), text: &str) -> Step {
        if text.is_empty() {
            return Step::Nothing;
        }
        let begins = self.message.is_some_and(|message| message != place.0);
        self.message = Some(place.0);
        self.parts.entry(place).or_default().push_str(text);
        let text = if begins { format!("{BETWEEN_MESSAGES}{text}") } else { text.to_owned() };
        self.text.push_str(&text);
        Step::Text(text)
    }
}

/// The usage object, field by field: a missing detail is 0, a missing object is no usage at all.
fn usage(usage: &Value) -> Option<Usage> {
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    if !usage["input_tokens"].is_u64() && !usage["output_tokens"].is_u64() {
        return None;
    }
    Some(Usage {
        input_tokens: number(&usage["input_tokens"]),
        cached_tokens: number(&usage["input_tokens_details"]["cached_tokens"]),
        cache_write_tokens: number(&usage["input_tokens_details"]["cache_write_tokens"]),
        output_tokens: number(&usage["output_tokens"]),
        reasoning_tokens: number(&usage["output_tokens_details"]["reasoning_tokens"]),
        ..Usage::default()
    })
}

fn place(event: &Value) -> (u64, u64) {
    (event["output_index"].as_u64().unwrap_or(0), event["content_index"].as_u64().unwrap_or(0))
}

/// Types that are documented and tell us nothing we need.
fn is_known(kind: &str) -> bool {
    matches!(
        kind,
        "response.queued"
            | "response.content_part.added"
            | "response.content_part.done"
            | "response.output_text.annotation.added"
            | "response.function_call_arguments.done"
            | "response.reasoning_text.delta"
            | "response.reasoning_text.done"
            | "response.reasoning_summary_part.added"
            | "response.reasoning_summary_part.done"
            | "response.reasoning_summary_text.delta"
            | "response.reasoning_summary_text.done"
            // Only where it came without a name of its own: async-openai drops those that have one.
            | "keepalive"
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use serde_json::json;

    use super::super::ToolChoice;
    use super::*;

    fn gathered() -> Gathered {
        Gathered::new(Arc::new(Meter::new(0, 100, true)))
    }

    fn ask() -> Ask {
        Ask {
            model: "gpt-6-luna".into(),
            instructions: "".into(),
            input: Arc::default(),
            tools: [].into(),
            tool_choice: ToolChoice::Auto,
            effort: None,
            max_output_tokens: 100,
            cache_key: String::new(),
            safety_id: String::new(),
        }
    }

    /// What was shown, and the reply or failure.
    fn read(events: &[Value]) -> (String, Option<Result<Reply, Failure>>) {
        let (mut gathered, now) = (gathered(), Instant::now());
        let mut shown = String::new();
        for event in events {
            match gathered.take(event, now) {
                Step::Nothing => {}
                Step::Text(text) => shown.push_str(&text),
                Step::Ended(terminal) => {
                    if let Some(text) = gathered.conclude(&terminal) {
                        shown = text;
                    }
                    return (shown, Some(gathered.reply(&terminal, &ask(), None, now)));
                }
                Step::Failed(failure) => return (shown, Some(Err(failure))),
            }
        }
        (shown, None)
    }

    fn delta(output: u64, part: u64, text: &str) -> Value {
        json!({ "type": "response.output_text.delta", "output_index": output, "content_index": part, "delta": text })
    }

    fn completed(response: Value) -> Value {
        json!({ "type": "response.completed", "response": response })
    }

    fn replied(events: &[Value]) -> Reply {
        let (shown, ended) = read(events);
        let reply = ended.expect("a terminal event").expect("a reply");
        assert_eq!(shown, reply.text, "what was shown is what is returned");
        reply
    }

    #[test]
    fn parts_join_and_messages_are_parted() {
        let reply = replied(&[
            delta(1, 0, "Let me "),
            delta(1, 0, "look."),
            delta(2, 0, "A"),
            delta(2, 1, "B"),
            completed(json!({ "model": "gpt-6-luna-x" })),
        ]);
        assert_eq!(reply.text, "Let me look.\n\nAB");
        assert_eq!(reply.model, "gpt-6-luna-x");
    }

    #[test]
    fn text_without_its_deltas_is_not_lost() {
        let done = |text: &str| json!({ "type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": text });
        assert_eq!(replied(&[delta(0, 0, "Hel"), done("Hello"), completed(json!({}))]).text, "Hello");
        assert_eq!(replied(&[delta(0, 0, "Hello"), done("Hello"), completed(json!({}))]).text, "Hello");
        assert_eq!(replied(&[delta(0, 0, "Hallo"), done("Hello"), completed(json!({}))]).text, "Hallo");
        let output = json!([
            { "type": "reasoning", "id": "rs_1" },
            { "type": "message", "content": [{ "type": "output_text", "text": "a" }, { "type": "new", "x": 1 }] },
            { "type": "message", "content": [{ "type": "output_text", "text": "b" }] },
        ]);
        assert_eq!(replied(&[completed(json!({ "output": output }))]).text, "a\n\nb");
    }

    #[test]
    fn the_final_response_has_the_last_word() {
        let message = |content: Value| json!({ "type": "message", "content": content });
        let said = |text: &str| message(json!([{ "type": "output_text", "text": text }]));
        let ended = |items: Value| completed(json!({ "output": items }));
        for (deltas, items, text) in [
            ("Hel", json!([said("Hello")]), "Hello"),
            ("Hello there", json!([said("Hello")]), "Hello"),
            ("Hallo", json!([said("Hello")]), "Hello"),
            ("Hello", json!([said("Hello"), said("and more")]), "Hello\n\nand more"),
            ("Hello", json!([said(""), said("More")]), "More"),
            // It says nothing of its own.
            ("Hello", json!([]), "Hello"),
            ("Hello", json!([said("")]), "Hello"),
            ("Hello", json!([message(json!(null))]), "Hello"),
            ("Hello", json!("nothing"), "Hello"),
        ] {
            assert_eq!(replied(&[delta(0, 0, deltas), ended(items.clone())]).text, text, "{deltas} {items}");
        }
        let refused = message(json!([{ "type": "refusal", "refusal": "I can't." }]));
        let reply = replied(&[delta(0, 0, "Sure: "), ended(json!([refused]))]);
        assert_eq!((reply.text.as_str(), reply.refusal.as_deref()), ("", Some("I can't.")), "it was taken back");
        let reply = replied(&[delta(0, 0, "Sure: "), ended(json!([said("Sure: "), refused]))]);
        assert_eq!((reply.text.as_str(), reply.refusal.as_deref()), ("Sure: ", Some("I can't.")));
    }

    #[test]
    fn the_tier_of_the_answer_is_the_one_that_is_billed() {
        let usage = json!({ "input_tokens": 10, "output_tokens": 5 });
        for (named, tier) in [
            (json!(null), ServiceTier::Standard),
            (json!("default"), ServiceTier::Standard),
            (json!("flex"), ServiceTier::Flex),
            (json!("priority"), ServiceTier::Priority),
            (json!("fast"), ServiceTier::Priority),
            (json!("warp"), ServiceTier::Unknown),
        ] {
            let event = completed(json!({ "usage": usage, "service_tier": named }));
            assert_eq!(replied(&[event]).usage.tier, tier, "{named}");
            // Without a usage of its own.
            let created = json!({ "type": "response.created", "response": { "service_tier": named } });
            assert_eq!(replied(&[created, completed(json!({}))]).usage.tier, tier, "{named}");
        }
    }

    #[test]
    fn items_come_from_the_events_when_the_response_has_none() {
        let call = json!({ "type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}" });
        let done = |index: u64, item: &Value| json!({ "type": "response.output_item.done", "output_index": index, "item": item });
        let reasoning = json!({ "type": "reasoning", "encrypted_content": "abcdefgh" });
        let reply = replied(&[done(1, &call), done(0, &reasoning), completed(json!({ "output": [] }))]);
        assert_eq!(reply.items, [reasoning, call]);
        assert_eq!(reply.calls, [ToolCall { call_id: "call_1".into(), name: "f".into(), arguments: "{}".into() }]);
        assert!(reply.usage.estimated);
        assert_eq!((reply.usage.output_tokens, reply.usage.reasoning_tokens), (2, 2), "8 encrypted characters");
    }

    #[test]
    fn a_call_that_was_cut_is_not_made() {
        let output = json!([{ "type": "function_call", "call_id": "c", "name": "f", "arguments": "{\"a", "status": "incomplete" }]);
        let event = json!({ "type": "response.incomplete", "response": {
            "output": output, "incomplete_details": { "reason": "max_output_tokens" } } });
        let reply = replied(&[event]);
        assert_eq!(reply.calls, []);
        assert_eq!(reply.ending, Ending::Incomplete("max_output_tokens".into()));
    }

    #[test]
    fn a_call_without_a_name_is_malformed_and_paid() {
        let output = json!([{ "type": "function_call", "arguments": "{}" }]);
        let usage = json!({ "input_tokens": 10, "output_tokens": 5 });
        let (_, ended) = read(&[completed(json!({ "output": output, "usage": usage }))]);
        let failure = ended.expect("ended").expect_err("malformed");
        assert_eq!(failure.cause, Cause::Malformed);
        assert_eq!(failure.usage.map(|u| (u.input_tokens, u.output_tokens)), Some((10, 5)));
    }

    #[test]
    fn usage_is_read_field_by_field() {
        for (given, want) in [
            (json!(null), None),
            (json!({ "input_tokens": "many" }), None),
            (json!({ "input_tokens": 7 }), Some((7, 0, 0, 0, 0))),
            (json!({ "input_tokens": 7, "input_tokens_details": null, "output_tokens": -1 }), Some((7, 0, 0, 0, 0))),
            (
                json!({ "input_tokens": 9, "input_tokens_details": { "cached_tokens": 4, "cache_write_tokens": 3 },
                        "output_tokens": 8, "output_tokens_details": { "reasoning_tokens": 2 } }),
                Some((9, 4, 3, 8, 2)),
            ),
        ] {
            let told = usage(&given);
            let fields = told
                .map(|u| (u.input_tokens, u.cached_tokens, u.cache_write_tokens, u.output_tokens, u.reasoning_tokens));
            assert_eq!(fields, want, "{given}");
        }
    }

    #[test]
    fn every_shape_of_an_error_is_one() {
        for event in [
            json!({ "type": "error", "code": "server_error", "message": "m", "param": null }),
            json!({ "type": "error", "error": { "type": "server_error", "code": null, "message": "m" } }),
            json!({ "error": { "code": "server_error" } }),
            json!({ "type": "response.failed", "response": { "error": { "code": "server_error" } } }),
            json!({ "type": "response.failed" }),
            json!({ "type": "error" }),
        ] {
            let (_, ended) = read(std::slice::from_ref(&event));
            let failure = ended.expect("ended").expect_err("failed");
            assert_eq!(failure.cause, Cause::Unavailable { retry_after: None }, "{event}");
        }
    }

    #[test]
    fn a_refusal_is_not_text() {
        let reply = replied(&[
            json!({ "type": "response.refusal.delta", "delta": "I " }),
            json!({ "type": "response.refusal.delta", "delta": "cannot." }),
            json!({ "type": "response.refusal.done", "refusal": "I cannot." }),
            completed(json!({})),
        ]);
        assert_eq!((reply.text.as_str(), reply.refusal.as_deref()), ("", Some("I cannot.")));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_event_can_break_it(kinds in proptest::collection::vec("(response\\.)?[a-z_.]{0,30}", 0..6), field: String, number: i64) {
            let (mut gathered, now) = (gathered(), Instant::now());
            for kind in kinds {
                for value in [json!(field), json!(number), json!([field]), json!({ "type": field }), json!(null)] {
                    let event = json!({ "type": kind, "delta": value, "item": value, "response": value, "text": value,
                                        "output_index": value, "content_index": value, "error": value });
                    gathered.take(&event, now);
                    gathered.take(&value, now);
                }
            }
        }
    }
}
