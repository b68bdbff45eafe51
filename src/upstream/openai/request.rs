//! The body of `POST /v1/responses`. Pure; never sends anything.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::effort::efforts;
use super::{Ask, Item, ToolSpec};

/// A request, written down: the text takes a fraction of the memory that its JSON takes as a tree.
pub(super) struct Request {
    pub(super) json: Box<RawValue>,
    /// Of everything in it that the model reads.
    pub(super) input_chars: usize,
}

impl Request {
    pub(super) fn of(ask: &Ask) -> serde_json::Result<Request> {
        let body = body(ask);
        Ok(Request { json: serde_json::value::to_raw_value(&body)?, input_chars: input_chars(&body) })
    }
}

/// What a request with so much input is charged against the tokens per minute: the larger one of what it sends and what
/// it may bring back (OpenAI, guide "Rate limits").
pub(super) fn charged_tokens(ask: &Ask, input_chars: usize) -> u64 {
    estimated_tokens(input_chars).max(u64::from(ask.max_output_tokens))
}

/// The request as JSON. Nothing that a reasoning model refuses (`temperature`, `top_p`) is ever in it.
fn body(ask: &Ask) -> Value {
    let mut body = json!({
        "model": ask.model,
        "instructions": ask.instructions,
        "input": ask.input.iter().filter_map(item).collect::<Vec<_>>(),
        "max_output_tokens": ask.max_output_tokens,
        "store": false,
        "stream": true,
        "stream_options": { "include_obfuscation": false },
        "prompt_cache_key": ask.cache_key,
        "safety_identifier": ask.safety_id,
    });
    if !ask.tools.is_empty() {
        body["tools"] = ask.tools.iter().map(tool).collect();
    }
    if let Some(effort) = ask.effort {
        body["reasoning"] = json!({ "effort": effort.name() });
    }
    // Without `store`, reasoning can be replayed only in its encrypted form. Newer models send that
    // unasked; older ones must be asked; models that do not reason refuse the question.
    if efforts(&ask.model) != Some(&[]) {
        body["include"] = json!(["reasoning.encrypted_content"]);
    }
    body
}

/// A rough count of the tokens of a request or a piece of one: four characters each.
pub(super) fn estimated_tokens(chars: usize) -> u64 {
    u64::try_from(chars.div_ceil(4)).unwrap_or(u64::MAX)
}

/// The characters of everything in the request that the model reads.
fn input_chars(body: &Value) -> usize {
    ["instructions", "input", "tools"].iter().filter_map(|part| body.get(part)).map(chars).sum()
}

fn item(item: &Item) -> Option<Value> {
    let message = |role: &str, text: &str| json!({ "type": "message", "role": role, "content": text });
    Some(match item {
        Item::User(text) => message("user", text),
        Item::Assistant(text) => message("assistant", text),
        Item::System(text) => message("developer", text),
        // Nobody can read it: OpenAI did not store it, and we did not get its content.
        Item::Raw(raw) if raw["type"] == "reasoning" && !raw["encrypted_content"].is_string() => return None,
        Item::Raw(raw) => raw.clone(),
        Item::ToolOutput { call_id, output } => {
            json!({ "type": "function_call_output", "call_id": call_id, "output": output })
        }
    })
}

fn tool(tool: &ToolSpec) -> Value {
    json!({
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "strict": true,
        "parameters": tool.parameters,
    })
}

fn chars(value: &Value) -> usize {
    match value {
        Value::String(text) => text.chars().count(),
        Value::Array(values) => values.iter().map(chars).sum(),
        Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + chars(value)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 4,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Effort;
    use super::*;

    fn ask(model: &str) -> Ask {
        Ask {
            model: model.into(),
            instructions: "Coach.".into(),
            input: Arc::new(vec![
                Item::System("Speak German.".into()),
                Item::User("hi".into()),
                Item::Assistant("hello".into()),
                Item::Raw(json!({ "type": "reasoning", "id": "rs_1", "summary": [] })),
                Item::Raw(json!({ "type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "x" })),
                Item::ToolOutput { call_id: "call_1".into(), output: "3".into() },
            ]),
            tools: [ToolSpec { name: "queue_status", description: "d", parameters: json!({ "type": "object" }) }]
                .into(),
            effort: Some(Effort::Low),
            max_output_tokens: 100,
            cache_key: "c".into(),
            safety_id: "s".into(),
        }
    }

    #[test]
    fn the_whole_request() {
        assert_eq!(
            body(&ask("gpt-6-luna")),
            json!({
                "model": "gpt-6-luna",
                "instructions": "Coach.",
                "input": [
                    { "type": "message", "role": "developer", "content": "Speak German." },
                    { "type": "message", "role": "user", "content": "hi" },
                    { "type": "message", "role": "assistant", "content": "hello" },
                    { "type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "x" },
                    { "type": "function_call_output", "call_id": "call_1", "output": "3" },
                ],
                "tools": [{ "type": "function", "name": "queue_status", "description": "d", "strict": true,
                            "parameters": { "type": "object" } }],
                "reasoning": { "effort": "low" },
                "include": ["reasoning.encrypted_content"],
                "max_output_tokens": 100,
                "store": false,
                "stream": true,
                "stream_options": { "include_obfuscation": false },
                "prompt_cache_key": "c",
                "safety_identifier": "s",
            })
        );
    }

    #[test]
    fn a_model_that_does_not_reason_is_not_asked_for_reasoning() {
        let body = body(&Ask { effort: None, tools: [].into(), ..ask("gpt-4.1") });
        for absent in ["reasoning", "include", "tools", "temperature", "top_p"] {
            assert_eq!(body.get(absent), None, "{absent}");
        }
    }

    #[test]
    fn the_estimate_counts_characters_not_bytes() {
        let of = |text: &str| input_chars(&json!({ "instructions": text, "model": "not counted" }));
        assert_eq!(of("abcd"), 4);
        assert_eq!(of("привет"), 6);
        assert_eq!(estimated_tokens(0), 0);
        assert_eq!(estimated_tokens(5), 2);
    }
}
