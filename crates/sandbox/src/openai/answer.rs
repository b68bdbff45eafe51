//! An answer as the wire has it: the events of its stream in the documented order, and its usage up to any
//! of them (OpenAI API reference, "Streaming events"). Decides nothing about what is said.

use std::time::Duration;

use axum::body::Bytes;
use serde_json::{Value, json};

use super::check::{ENCRYPTED, Prompted, UNKNOWN_ITEM};
use super::meter::Tokens;
use super::tokens::{CHARS, count, tokens};
use super::{Script, Sign, Thought};

/// What is said, before it is put into events.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    parts: Vec<Part>,
    last: Last,
    /// Unknown events and items around the parts.
    strange: bool,
    /// The thought before them, if it is not the usual one.
    thought: Option<Thought>,
    /// The text of the final response, if it is not that of the events.
    whole: Option<String>,
}

#[derive(Clone, Debug)]
pub(super) enum Part {
    Text(String),
    Refusal(String),
    /// Name, and arguments as JSON text.
    Call(String, String),
}

#[derive(Clone, Debug)]
enum Last {
    Completed,
    Incomplete(String),
    Failed { code: String, message: String },
    Error { nested: bool, code: String },
    Missing(End),
}

/// What comes after the last event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Close,
    /// The connection stays open and silent.
    Stall,
}

impl Plan {
    pub(super) fn parts(parts: Vec<Part>) -> Self {
        Self { parts, last: Last::Completed, strange: false, thought: None, whole: None }
    }

    pub(super) fn scripted(script: Script) -> Self {
        let text = |text: String| Plan::parts(vec![Part::Text(text)]);
        match script {
            Script::Text(said) => text(said),
            Script::Refusal(said) => Plan::parts(vec![Part::Refusal(said)]),
            Script::RefusalAfter { text, refusal } => Plan::parts(vec![Part::Text(text), Part::Refusal(refusal)]),
            Script::Calls(calls) => Plan::parts(calls.into_iter().map(|(name, args)| Part::Call(name, args)).collect()),
            Script::Incomplete { text: said, reason } => Plan { last: Last::Incomplete(reason), ..text(said) },
            Script::Failed { code, message } => {
                Plan { last: Last::Failed { code, message }, ..Plan::parts(Vec::new()) }
            }
            Script::ErrorEvent { nested, code } => {
                Plan { last: Last::Error { nested, code }, ..Plan::parts(Vec::new()) }
            }
            Script::UnknownEvents(said) => Plan { strange: true, ..text(said) },
            Script::CutAfter(said) => Plan { last: Last::Missing(End::Close), ..text(said) },
            Script::Stall(said) => Plan { last: Last::Missing(End::Stall), ..text(said) },
            Script::Think(thought, said) => Plan { thought: Some(thought), ..text(said) },
            Script::Retold { streamed, whole } => Plan { whole: Some(whole), ..text(streamed) },
        }
    }

    /// Cuts what is said down to `limit` output tokens, of which `reasoning` are gone already.
    fn limit(&mut self, reasoning: u64, limit: Option<u64>) {
        let Some(limit) = limit else { return };
        let mut left = limit.saturating_sub(reasoning);
        for i in 0..self.parts.len() {
            let (Part::Text(said) | Part::Refusal(said) | Part::Call(_, said)) = &mut self.parts[i];
            let needed = count(said);
            if needed > left {
                *said = said.chars().take(usize::try_from(left).unwrap_or(usize::MAX).saturating_mul(CHARS)).collect();
                self.parts.truncate(if left == 0 { i } else { i + 1 });
                self.last = Last::Incomplete("max_output_tokens".into());
                return;
            }
            left -= needed;
        }
    }
}

/// One event of the stream, or what stands in its place.
#[derive(Debug)]
pub(super) struct Frame {
    /// Null: a comment, or nothing.
    payload: Value,
    /// Output tokens written once this event is out.
    output: u64,
    wait: Wait,
}

/// What a frame waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    Nothing,
    /// The first piece of the answer.
    First,
    /// Another piece.
    Next,
    /// The model thinks.
    Thought(Duration, Sign),
}

impl Frame {
    pub(super) fn payload(&self) -> &Value {
        &self.payload
    }

    /// How long after the frame before it comes; the paces are those of the first piece and of each other one.
    pub(super) fn pause(&self, [first, next]: [Duration; 2]) -> Duration {
        match self.wait {
            Wait::Nothing => Duration::ZERO,
            Wait::First => first,
            Wait::Next => next,
            Wait::Thought(pause, _) => pause,
        }
    }

    /// In the form of a server-sent event.
    pub(super) fn bytes(&self) -> Bytes {
        match self.wait {
            Wait::Thought(_, Sign::Nothing) => return Bytes::new(),
            Wait::Thought(_, Sign::Comment) => return Bytes::from_static(b": still thinking\n\n"),
            _ => {}
        }
        let name = self.payload["type"].as_str().unwrap_or("error");
        Bytes::from(format!("event: {name}\ndata: {}\n\n", self.payload))
    }
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) frames: Vec<Frame>,
    pub(super) end: End,
    input: Tokens,
}

impl Answer {
    /// `input` is the input side of the usage; `id` makes ids with a prefix.
    pub(super) fn new(request: &Prompted, mut plan: Plan, input: Tokens, id: impl Fn(&str) -> String) -> Self {
        let thought = plan.thought;
        let reasoning = thought.map_or_else(|| reasoning_tokens(request), |thought| thought.tokens);
        plan.limit(reasoning, request.max_output_tokens);
        let is_reasoning_all = plan.parts.is_empty() && matches!(plan.last, Last::Incomplete(_));
        let reasoning = match request.max_output_tokens {
            Some(limit) if is_reasoning_all => reasoning.min(limit),
            _ => reasoning,
        };
        let input = Tokens { reasoning, ..input };
        let mut script = Writer { request, frames: Vec::new(), output: 0, items: Vec::new(), id: &id };
        let response = script.response(&id("resp"));
        script.event("response.created", json!({ "response": response }));
        script.event("response.in_progress", json!({ "response": response }));
        if reasoning > 0 {
            script.reasoning(reasoning, thought);
        }
        if plan.strange {
            script.event("response.hologram.started", json!({ "shape": { "type": "sphere" } }));
            script.unknown_item();
        }
        for part in &plan.parts {
            match part {
                Part::Text(text) => script.message(text, "output_text", plan.strange, &plan.last),
                Part::Refusal(text) => script.message(text, "refusal", plan.strange, &plan.last),
                Part::Call(name, arguments) => script.call(name, arguments, &plan.last),
            }
        }
        if plan.strange {
            script.event("response.hologram.done", json!({ "delta": "not text" }));
        }
        if let Some(whole) = &plan.whole {
            script.retell(whole);
        }
        let end = script.last(response, plan.last, input);
        Answer { frames: script.frames, end, input }
    }

    /// The usage once the first `frames` events are out.
    pub(super) fn usage_after(&self, frames: usize) -> Tokens {
        let written = frames.checked_sub(1).and_then(|last| self.frames.get(last)).map_or(0, |frame| frame.output);
        Tokens { output: written, reasoning: self.input.reasoning.min(written), ..self.input }
    }
}

/// Writes the events in order.
struct Writer<'a> {
    request: &'a Prompted,
    frames: Vec<Frame>,
    output: u64,
    items: Vec<Value>,
    id: &'a dyn Fn(&str) -> String,
}

impl Writer<'_> {
    fn event(&mut self, kind: &str, mut fields: Value) {
        fields["type"] = json!(kind);
        fields["sequence_number"] = json!(self.frames.len());
        let is_paced = kind.ends_with(".delta");
        if is_paced && self.request.obfuscate {
            fields["obfuscation"] = json!("aGk0");
        }
        let wait = match is_paced {
            false => Wait::Nothing,
            true if self.frames.iter().any(|frame| frame.wait == Wait::First) => Wait::Next,
            true => Wait::First,
        };
        self.frames.push(Frame { payload: fields, output: self.output, wait });
    }

    /// The response as it is before anything was written.
    fn response(&self, id: &str) -> Value {
        let body = &self.request.body;
        let effort = Some(&self.request.effort).filter(|effort| !effort.is_empty());
        json!({
            "id": id,
            "object": "response",
            "created_at": created_at(),
            "status": "in_progress",
            "background": false,
            "error": null,
            "incomplete_details": null,
            "instructions": body["instructions"],
            "max_output_tokens": body["max_output_tokens"],
            "metadata": {},
            "model": self.request.model,
            "output": [],
            "parallel_tool_calls": body["parallel_tool_calls"] != false,
            "previous_response_id": null,
            "prompt_cache_key": body["prompt_cache_key"],
            "reasoning": { "effort": effort, "summary": null },
            "safety_identifier": body["safety_identifier"],
            "service_tier": self.request.tier,
            "store": body["store"] != false,
            "temperature": 1.0,
            "text": { "format": { "type": "text" }, "verbosity": "medium" },
            "tool_choice": if body["tool_choice"].is_null() { json!("auto") } else { body["tool_choice"].clone() },
            "tools": self.request.tools,
            "top_p": 1.0,
            "truncation": "disabled",
            "usage": null,
            "user": null,
        })
    }

    fn reasoning(&mut self, tokens: u64, thought: Option<Thought>) {
        let index = self.items.len();
        let mut item = json!({ "id": (self.id)("rs"), "type": "reasoning", "summary": [] });
        self.event("response.output_item.added", json!({ "output_index": index, "item": item }));
        let before = self.output;
        if let Some(Thought { steps, step, sign, .. }) = thought {
            for at in 1..=u64::from(steps) {
                self.output = before + tokens * at / u64::from(steps);
                let payload = match sign {
                    Sign::Keepalive => json!({ "type": "keepalive", "sequence_number": self.frames.len() }),
                    Sign::Nothing | Sign::Comment => Value::Null,
                };
                self.frames.push(Frame { payload, output: self.output, wait: Wait::Thought(step, sign) });
            }
        }
        self.output = before + tokens;
        if self.request.encrypted {
            let hidden = "0aZ9".repeat(usize::try_from(tokens).unwrap_or(0));
            item["encrypted_content"] = json!(format!("{ENCRYPTED}{hidden}"));
        }
        self.done(item);
    }

    fn unknown_item(&mut self) {
        let item = json!({ "id": (self.id)("hc"), "type": UNKNOWN_ITEM, "status": "completed", "beams": [1, 2] });
        self.event("response.output_item.added", json!({ "output_index": self.items.len(), "item": item }));
        self.done(item);
    }

    /// `kind` is `output_text` or `refusal`.
    fn message(&mut self, text: &str, kind: &str, strange: bool, last: &Last) {
        let index = self.items.len();
        let id = (self.id)("msg");
        let at = |mut fields: Value| {
            fields["item_id"] = json!(id);
            fields["output_index"] = json!(index);
            fields["content_index"] = json!(0);
            fields
        };
        let part = |text: &str| match kind {
            "refusal" => json!({ "type": "refusal", "refusal": text }),
            _ => json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] }),
        };
        let field = if kind == "refusal" { "refusal" } else { "text" };
        let mut item = json!({ "id": id, "type": "message", "role": "assistant", "status": "in_progress",
                               "phase": "final_answer", "content": [] });
        self.event("response.output_item.added", json!({ "output_index": index, "item": item }));
        self.event("response.content_part.added", at(json!({ "part": part("") })));
        let before = self.output;
        let mut written = 0;
        for word in text.split_inclusive(char::is_whitespace) {
            written += word.chars().count();
            self.output = before + tokens(written);
            let mut fields = at(json!({ "delta": word }));
            if kind != "refusal" {
                fields["logprobs"] = json!([]);
            }
            self.event(&format!("response.{kind}.delta"), fields);
            if strange {
                self.event("response.hologram.delta", json!({ "delta": "not text" }));
            }
        }
        if matches!(last, Last::Missing(_)) {
            return;
        }
        self.event(&format!("response.{kind}.done"), at(json!({ field: text })));
        self.event("response.content_part.done", at(json!({ "part": part(text) })));
        item["status"] = json!(status(last));
        item["content"] = json!([part(text)]);
        self.done(item);
    }

    fn call(&mut self, name: &str, arguments: &str, last: &Last) {
        let index = self.items.len();
        let id = (self.id)("fc");
        let mut item = json!({ "id": id, "type": "function_call", "status": "in_progress", "arguments": "",
                               "call_id": (self.id)("call"), "name": name });
        self.event("response.output_item.added", json!({ "output_index": index, "item": item }));
        let letters: Vec<char> = arguments.chars().collect();
        for piece in letters.chunks(8) {
            self.output += tokens(piece.len());
            let delta: String = piece.iter().collect();
            let fields = json!({ "item_id": id, "output_index": index, "delta": delta });
            self.event("response.function_call_arguments.delta", fields);
        }
        let fields = json!({ "item_id": id, "output_index": index, "name": name, "arguments": arguments });
        self.event("response.function_call_arguments.done", fields);
        item["status"] = json!(status(last));
        item["arguments"] = json!(arguments);
        self.done(item);
    }

    fn done(&mut self, item: Value) {
        self.event("response.output_item.done", json!({ "output_index": self.items.len(), "item": item }));
        self.items.push(item);
    }

    /// Other words in the items of the final response than in the events.
    fn retell(&mut self, whole: &str) {
        for item in self.items.iter_mut().filter(|item| item["type"] == "message") {
            item["content"][0]["text"] = json!(whole);
        }
    }

    /// The terminal event, if there is one.
    fn last(&mut self, mut response: Value, last: Last, input: Tokens) -> End {
        let total = input.input + self.output;
        response["usage"] = json!({
            "input_tokens": input.input,
            "input_tokens_details": { "cached_tokens": input.cached, "cache_write_tokens": input.cache_write },
            "output_tokens": self.output,
            "output_tokens_details": { "reasoning_tokens": input.reasoning.min(self.output) },
            "total_tokens": total,
        });
        response["output"] = json!(self.items);
        response["status"] = json!(status(&last));
        match last {
            Last::Completed => {
                response["completed_at"] = json!(created_at());
                self.event("response.completed", json!({ "response": response }));
            }
            Last::Incomplete(reason) => {
                response["incomplete_details"] = json!({ "reason": reason });
                self.event("response.incomplete", json!({ "response": response }));
            }
            Last::Failed { code, message } => {
                response["error"] = json!({ "code": code, "message": message });
                self.event("response.failed", json!({ "response": response }));
            }
            Last::Error { nested: false, code } => {
                self.event("error", json!({ "code": code, "message": "Something went wrong.", "param": null }));
            }
            Last::Error { nested: true, code } => {
                let error = json!({ "type": code, "code": code, "message": "Something went wrong.", "param": null });
                self.event("error", json!({ "error": error }));
            }
            Last::Missing(end) => return end,
        }
        End::Close
    }
}

fn status(last: &Last) -> &'static str {
    match last {
        Last::Completed => "completed",
        Last::Incomplete(_) => "incomplete",
        Last::Failed { .. } | Last::Error { .. } => "failed",
        Last::Missing(_) => "in_progress",
    }
}

/// The more effort, the more hidden tokens; the same request always the same number.
fn reasoning_tokens(request: &Prompted) -> u64 {
    match request.effort.as_str() {
        "" | "none" => 0,
        "minimal" => 16,
        "low" => 32,
        "medium" => 64,
        "high" => 256,
        "xhigh" => 512,
        _ => 1024,
    }
}

#[expect(clippy::disallowed_methods, reason = "a stand-in has a clock of its own, as the real service does")]
fn created_at() -> i64 {
    chrono::Utc::now().timestamp()
}
