//! The body of `POST /v1/responses`. Pure; never sends anything.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::effort::efforts;
use super::tokens::TokenEstimate;
use super::{Ask, Item, ToolChoice, ToolSpec};
use crate::config::Effort;

/// A request, written down: the text takes a fraction of the memory that its JSON takes as a tree.
pub(super) struct Request {
    pub(super) json: Box<RawValue>,
    /// About how many tokens the model reads.
    pub(super) input_tokens: u64,
}

impl Request {
    pub(super) fn of(ask: &Ask) -> serde_json::Result<Request> {
        let body = body(ask);
        Ok(Request { json: serde_json::value::to_raw_value(&body)?, input_tokens: input_tokens(&body) })
    }
}

/// What a request with so much input is charged against the tokens per minute: the larger one of what it sends and what
/// it may bring back (OpenAI, guide "Rate limits").
pub(super) fn charged_tokens(ask: &Ask, input_tokens: u64) -> u64 {
    input_tokens.max(u64::from(ask.max_output_tokens))
}

/// Whether the model thinks before it writes, unseen and paid.
pub(super) fn thinks(ask: &Ask) -> bool {
    ask.effort != Some(Effort::None) && efforts(&ask.model) != Some(&[])
}

/// The request as JSON. Nothing that a reasoning model refuses (`temperature`, `top_p`) is ever in it.
fn body(ask: &Ask) -> Value {
    let mut body = json!({
        "model": ask.model,
        "instructions": ask.instructions,
        "input": ask.input.iter().filter_map(item).collect::<Vec<_>>(),
        "max_output_tokens": ask.max_output_tokens,
        // Not what the project is set to, which may cost twice as much.
        "service_tier": "default",
        "store": false,
        "stream": true,
        "stream_options": { "include_obfuscation": false },
        "prompt_cache_key": ask.cache_key,
        "safety_identifier": ask.safety_id,
    });
    if !ask.tools.is_empty() {
        body["tools"] = ask.tools.iter().map(tool).collect();
        // Beside the tools and not instead of them: without them, nothing of the prompt would be found in the cache.
        if ask.tool_choice == ToolChoice::None {
            body["tool_choice"] = json!("none");
        }
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

/// About the tokens of everything in the request that the model reads.
fn input_tokens(body: &Value) -> u64 {
    let mut estimate = TokenEstimate::default();
    for part in ["instructions", "input", "tools"] {
        add(&mut estimate, &body[part]);
    }
    estimate.tokens()
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

fn add(estimate: &mut TokenEstimate, value: &Value) {
    match value {
        Value::String(text) => estimate.push(text),
        Value::Array(values) => values.iter().for_each(|value| add(estimate, value)),
        Value::Object(fields) => {
            for (name, value) in fields {
                estimate.push(name);
                add(estimate, value);
            }
        }
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) => estimate.add(1),
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
            tool_choice: ToolChoice::Auto,
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
                "service_tier": "default",
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
    fn a_model_that_may_call_nothing_more_is_sent_the_same_tools() {
        let last = Ask { tool_choice: ToolChoice::None, ..ask("gpt-6-luna") };
        let (mut with, without) = (body(&last), body(&ask("gpt-6-luna")));
        assert_eq!(with["tool_choice"], "none");
        with.as_object_mut().expect("an object").remove("tool_choice");
        assert_eq!(with, without);
        assert_eq!(body(&Ask { tools: [].into(), ..last }).get("tool_choice"), None, "there is nothing to choose");
    }

    #[test]
    fn what_the_model_reads_is_counted_and_nothing_else() {
        let of = |body: Value| input_tokens(&body);
        assert_eq!(of(json!({ "instructions": "abcde abcde", "model": "not counted" })), 3);
        assert_eq!(of(json!({ "input": [{ "content": "abc" }], "tools": [{ "strict": true }] })), 2 + 1 + 2);
        assert_eq!(of(json!({})), 0);
    }

    #[test]
    fn who_thinks() {
        assert!(thinks(&ask("gpt-6-luna")) && thinks(&Ask { effort: None, ..ask("gpt-7") }));
        assert!(!thinks(&Ask { effort: None, ..ask("gpt-4.1") }));
        assert!(!thinks(&Ask { effort: Some(Effort::None), ..ask("gpt-6-luna") }));
    }
}
