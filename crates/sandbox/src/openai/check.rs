//! What the Responses API refuses, with the words it uses for it (OpenAI API reference, "Create a model
//! response"; error codes). Pure: a body goes in, a request or a refusal comes out.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::catalogue::{self, Traits};
use super::refusal::{Refusal, invalid, missing, wrong_type};
use super::rendered::Rendered;
use super::tokens;

/// How every encrypted content begins.
pub(super) const ENCRYPTED: &str = "gAAAAA";
/// An item type that no client knows.
pub(super) const UNKNOWN_ITEM: &str = "hologram_call";

/// A request that was accepted.
#[derive(Clone, Debug, Default)]
pub(super) struct Prompted {
    pub(super) model: String,
    pub(super) instructions: String,
    /// As items, also if it came as plain text.
    pub(super) input: Vec<Value>,
    pub(super) tools: Vec<Value>,
    /// Empty for a model that does not reason.
    pub(super) effort: String,
    pub(super) max_output_tokens: Option<u64>,
    pub(super) cache_key: String,
    pub(super) stream: bool,
    /// Deltas are padded with random characters.
    pub(super) obfuscate: bool,
    /// Reasoning items carry their encrypted content.
    pub(super) encrypted: bool,
    /// The service tier that is asked for.
    pub(super) tier: String,
    /// All that the model reads.
    pub(super) prompt: Rendered,
    /// The body as it came, for what a response repeats of it.
    pub(super) body: Value,
}

/// The top-level fields that exist.
const FIELDS: &[&str] = &[
    "background",
    "context_management",
    "conversation",
    "include",
    "input",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "model",
    "moderation",
    "parallel_tool_calls",
    "previous_response_id",
    "prompt",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
];

/// Checks a body of `POST /v1/responses` as the real API does. `models` are those that exist.
pub(super) fn check(body: &Value, models: &[String]) -> Result<Prompted, Refusal> {
    let fields = body.as_object().ok_or_else(Refusal::not_json)?;
    if let Some(field) = fields.keys().find(|field| !FIELDS.contains(&field.as_str())) {
        return Err(invalid("unknown_parameter", field, format!("Unknown parameter: '{field}'.")));
    }
    let model = text(body, "model", None)?.ok_or_else(|| missing("model"))?;
    if !models.iter().any(|known| known == model) {
        return Err(Refusal::no_model(model));
    }
    let traits = catalogue::traits(model);
    let effort = effort(body, model, traits)?;
    for field in ["temperature", "top_p"] {
        let allowed = traits.efforts.is_empty() || effort == "none";
        if !body[field].is_null() && !allowed {
            let message = format!("Unsupported parameter: '{field}' is not supported with this model.");
            return Err(invalid("unsupported_parameter", field, message));
        }
    }
    if let Some(id) = text(body, "previous_response_id", None)? {
        let message = format!("Previous response with id '{id}' not found.");
        return Err(Refusal { status: 404, ..invalid("previous_response_not_found", "previous_response_id", message) });
    }
    text(body, "safety_identifier", Some(128))?;
    let tier = one_of(body, "service_tier", &["auto", "default", "flex", "scale", "priority", "fast"])?;
    let tool_choice = &body["tool_choice"];
    if !tool_choice.is_object() {
        one_of(body, "tool_choice", &["none", "auto", "required"])?;
    }
    let include = include(body, traits)?;
    let stored = flag(body, "store", true)?;
    let stream = flag(body, "stream", false)?;
    flag(body, "parallel_tool_calls", true)?;
    let options = &body["stream_options"];
    if !options.is_null() && !stream {
        let message = "The 'stream_options' parameter is only allowed when 'stream' is enabled.";
        return Err(invalid("unsupported_parameter", "stream_options", message));
    }
    let input = input(body, stored)?;
    let tools = tools(body)?;
    if tools.is_empty() && !tool_choice.is_null() && tool_choice != "auto" {
        let message = "Tool choices other than auto are only allowed when 'tools' are specified.";
        return Err(invalid("", "tool_choice", message));
    }
    let instructions = text(body, "instructions", None)?.unwrap_or_default().to_owned();
    let prompt = Rendered::new(body, &effort, &tools, &instructions, &input);
    caching(body, &prompt, traits)?;
    if tokens::count(&prompt.text) > traits.context {
        let message = "Your input exceeds the context window of this model. Please adjust your input and try again.";
        return Err(invalid("context_length_exceeded", "input", message));
    }
    Ok(Prompted {
        model: model.to_owned(),
        instructions,
        input,
        tools,
        effort,
        max_output_tokens: max_output_tokens(body)?,
        cache_key: text(body, "prompt_cache_key", None)?.unwrap_or_default().to_owned(),
        stream,
        obfuscate: options["include_obfuscation"] != false,
        tier: tier.unwrap_or("auto").to_owned(),
        encrypted: include || (!stored && traits.writes_cache),
        prompt,
        body: body.clone(),
    })
}

/// The text of a message item: a string, or the text parts of a list.
pub(super) fn message_text(item: &Value) -> String {
    match &item["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n"),
        _ => String::new(),
    }
}

fn effort(body: &Value, model: &str, traits: Traits) -> Result<String, Refusal> {
    let reasoning = &body["reasoning"];
    if reasoning.is_null() {
        return Ok(if traits.efforts.is_empty() { String::new() } else { "medium".into() });
    }
    if traits.efforts.is_empty() {
        let message = "Unsupported parameter: 'reasoning.effort' is not supported with this model.";
        return Err(invalid("unsupported_parameter", "reasoning.effort", message));
    }
    let Some(effort) = text(reasoning, "effort", None)? else { return Ok("medium".into()) };
    if traits.efforts.contains(&effort) {
        return Ok(effort.to_owned());
    }
    let supported: Vec<String> = traits.efforts.iter().map(|effort| format!("'{effort}'")).collect();
    let message = format!(
        "Unsupported value: '{effort}' is not supported with the '{model}' model. Supported values are: {}.",
        supported.join(", ")
    );
    Err(invalid("unsupported_value", "reasoning.effort", message))
}

/// Whether encrypted reasoning is asked for.
fn include(body: &Value, traits: Traits) -> Result<bool, Refusal> {
    let Some(include) = body["include"].as_array() else { return Ok(false) };
    let encrypted = include.iter().any(|what| what == "reasoning.encrypted_content");
    if encrypted && traits.efforts.is_empty() {
        return Err(invalid("", "include", "Encrypted content is not supported with this model."));
    }
    Ok(encrypted)
}

/// What the caller wants of the prompt cache: only from GPT-5.6 on there is a choice.
fn caching(body: &Value, prompt: &Rendered, traits: Traits) -> Result<(), Refusal> {
    let options = &body["prompt_cache_options"];
    if !traits.writes_cache && (!options.is_null() || !prompt.marks.is_empty()) {
        let message = "Unsupported parameter: 'prompt_cache_options' is not supported with this model.";
        return Err(invalid("unsupported_parameter", "prompt_cache_options", message));
    }
    for (field, values) in [("mode", ["implicit", "explicit"]), ("ttl", ["30m", "30m"])] {
        if let Some(value) = text(options, field, None)?.filter(|value| !values.contains(value)) {
            let param = format!("prompt_cache_options.{field}");
            return Err(invalid("invalid_value", &param, format!("Invalid value: '{value}'.")));
        }
    }
    Ok(())
}

fn max_output_tokens(body: &Value) -> Result<Option<u64>, Refusal> {
    let name = "max_output_tokens";
    match &body[name] {
        Value::Null => Ok(None),
        value => match value.as_u64() {
            Some(n) if n >= 16 => Ok(Some(n)),
            Some(n) => Err(invalid(
                "integer_below_min_value",
                name,
                format!("Invalid '{name}': integer below minimum value. Expected a value >= 16, but got {n} instead."),
            )),
            None => Err(wrong_type(name, "an integer")),
        },
    }
}

fn input(body: &Value, stored: bool) -> Result<Vec<Value>, Refusal> {
    let items = match &body["input"] {
        Value::String(text) => vec![json!({ "type": "message", "role": "user", "content": text })],
        Value::Array(items) => items.clone(),
        Value::Null => return Err(missing("input")),
        _ => return Err(wrong_type("input", "a string or an array")),
    };
    if items.is_empty() {
        let message =
            "Invalid 'input': empty array. Expected an array with minimum length 1, but got an empty array instead.";
        return Err(invalid("empty_array", "input", message));
    }
    let mut called = HashSet::new();
    let mut answered = HashSet::new();
    for (i, item) in items.iter().enumerate() {
        let need = |field: &str| {
            let param = format!("input[{i}].{field}");
            item[field].as_str().ok_or_else(|| missing(&param))
        };
        match item["type"].as_str().unwrap_or("message") {
            "message" => message(item, i)?,
            "reasoning" => reasoning(item, items.get(i + 1), stored)?,
            "function_call" => {
                need("name")?;
                need("arguments")?;
                called.insert(need("call_id")?);
            }
            "function_call_output" => {
                let call_id = need("call_id")?;
                if !item["output"].is_string() && !item["output"].is_array() {
                    return Err(missing(&format!("input[{i}].output")));
                }
                if !called.contains(call_id) {
                    let message = format!("No tool call found for function call output with call_id {call_id}.");
                    return Err(invalid("", "input", message));
                }
                answered.insert(call_id);
            }
            UNKNOWN_ITEM => {}
            other => {
                let message = format!("Invalid value: '{other}'.");
                return Err(invalid("invalid_value", &format!("input[{i}]"), message));
            }
        }
    }
    let order = items.iter().filter_map(|item| item["call_id"].as_str());
    if let Some(call_id) = order.into_iter().find(|id| called.contains(id) && !answered.contains(id)) {
        return Err(invalid("", "input", format!("No tool output found for function call {call_id}.")));
    }
    Ok(items)
}

fn message(item: &Value, i: usize) -> Result<(), Refusal> {
    let role = item["role"].as_str().ok_or_else(|| missing(&format!("input[{i}].role")))?;
    let parts: &[&str] = match role {
        "user" | "system" | "developer" => &["input_text", "input_image", "input_file"],
        "assistant" => &["output_text", "refusal"],
        _ => {
            let message = format!(
                "Invalid value: '{role}'. Supported values are: 'assistant', 'system', 'developer', and 'user'."
            );
            return Err(invalid("invalid_value", &format!("input[{i}].role"), message));
        }
    };
    let content = match &item["content"] {
        Value::String(_) => return Ok(()),
        Value::Array(content) => content,
        _ => return Err(missing(&format!("input[{i}].content"))),
    };
    for (j, part) in content.iter().enumerate() {
        let kind = part["type"].as_str().unwrap_or_default();
        if !parts.contains(&kind) {
            let supported: Vec<String> = parts.iter().map(|part| format!("'{part}'")).collect();
            let message = format!("Invalid value: '{kind}'. Supported values are: {}.", supported.join(", "));
            return Err(invalid("invalid_value", &format!("input[{i}].content[{j}]"), message));
        }
    }
    Ok(())
}

fn reasoning(item: &Value, next: Option<&Value>, stored: bool) -> Result<(), Refusal> {
    let id = item["id"].as_str().unwrap_or_default();
    let follows = next.and_then(|next| next["type"].as_str());
    if !matches!(follows, Some("message" | "function_call" | "reasoning" | UNKNOWN_ITEM)) {
        let message = format!("Item '{id}' of type 'reasoning' was provided without its required following item.");
        return Err(invalid("", "input", message));
    }
    match item["encrypted_content"].as_str() {
        Some(content) if content.starts_with(ENCRYPTED) => Ok(()),
        Some(_) => {
            let message = format!("The encrypted content for item {id} could not be verified.");
            Err(invalid("invalid_encrypted_content", "", message))
        }
        None if stored => Ok(()),
        None => {
            let message = format!(
                "Item with id '{id}' not found. Items are not persisted when `store` is set to false. Try again with \
                 `store` set to true, or remove this item from your input."
            );
            Err(Refusal { status: 404, ..invalid("", "input", message) })
        }
    }
}

fn tools(body: &Value) -> Result<Vec<Value>, Refusal> {
    let tools = match &body["tools"] {
        Value::Null => return Ok(Vec::new()),
        Value::Array(tools) => tools.clone(),
        _ => return Err(wrong_type("tools", "an array of objects")),
    };
    for (i, tool) in tools.iter().enumerate() {
        let kind = tool["type"].as_str().ok_or_else(|| missing(&format!("tools[{i}].type")))?;
        if kind != "function" {
            let message = format!("Invalid value: '{kind}'. The stand-in offers 'function' only.");
            return Err(invalid("invalid_value", &format!("tools[{i}].type"), message));
        }
        let name = tool["name"].as_str().ok_or_else(|| missing(&format!("tools[{i}].name")))?;
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
            let message = format!(
                "Invalid 'tools[{i}].name': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'."
            );
            return Err(invalid("invalid_value", &format!("tools[{i}].name"), message));
        }
        if !tool["parameters"].is_object() {
            return Err(missing(&format!("tools[{i}].parameters")));
        }
        if tool["strict"] != false {
            strict(&tool["parameters"], "()").map_err(|why| {
                let message = format!("Invalid schema for function '{name}': {why}");
                invalid("invalid_function_parameters", &format!("tools[{i}].parameters"), message)
            })?;
        }
    }
    Ok(tools)
}

/// The rules of a strict schema (OpenAI, "Structured outputs"): every object forbids additional properties
/// and requires all of its own.
fn strict(schema: &Value, context: &str) -> Result<(), String> {
    let is_object = schema["type"] == "object"
        || schema["type"].as_array().is_some_and(|types| types.iter().any(|kind| kind == "object"));
    if is_object {
        if schema["additionalProperties"] != false {
            return Err(format!(
                "In context={context}, 'additionalProperties' is required to be supplied and to be false."
            ));
        }
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            if !required.contains(&name.as_str()) {
                return Err(format!(
                    "In context={context}, 'required' is required to be supplied and to be an array including every key \
                     in properties. Missing '{name}'."
                ));
            }
            strict(property, &format!("('properties', '{name}')"))?;
        }
    } else if context == "()" {
        return Err(format!("schema must be a JSON Schema of 'type: \"object\"', got 'type: {}'.", schema["type"]));
    }
    if schema["items"].is_object() {
        strict(&schema["items"], "('items')")?;
    }
    for (i, option) in schema["anyOf"].as_array().into_iter().flatten().enumerate() {
        strict(option, &format!("('anyOf', '{i}')"))?;
    }
    Ok(())
}

fn text<'a>(body: &'a Value, name: &str, longest: Option<usize>) -> Result<Option<&'a str>, Refusal> {
    match &body[name] {
        Value::Null => Ok(None),
        Value::String(text) => match (longest, text.chars().count()) {
            (Some(longest), got) if got > longest => Err(invalid(
                "string_above_max_length",
                name,
                format!(
                    "Invalid '{name}': string too long. Expected a string with maximum length {longest}, but got a \
                     string with length {got} instead."
                ),
            )),
            _ => Ok(Some(text)),
        },
        _ => Err(wrong_type(name, "a string")),
    }
}

fn one_of<'a>(body: &'a Value, name: &str, values: &[&str]) -> Result<Option<&'a str>, Refusal> {
    let Some(value) = text(body, name, None)? else { return Ok(None) };
    if values.contains(&value) {
        return Ok(Some(value));
    }
    let supported: Vec<String> = values.iter().map(|value| format!("'{value}'")).collect();
    let message = format!("Invalid value: '{value}'. Supported values are: {}.", supported.join(", "));
    Err(invalid("invalid_value", name, message))
}

fn flag(body: &Value, name: &str, default: bool) -> Result<bool, Refusal> {
    match &body[name] {
        Value::Null => Ok(default),
        Value::Bool(flag) => Ok(*flag),
        _ => Err(wrong_type(name, "a boolean")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(change: impl FnOnce(&mut Value)) -> Result<Prompted, Refusal> {
        let mut body = json!({
            "model": "gpt-6-luna",
            "input": [{ "role": "user", "content": "hi" }],
            "tools": [{ "type": "function", "name": "f", "strict": true, "parameters": {
                "type": "object", "properties": { "a": { "type": "string" } }, "required": ["a"],
                "additionalProperties": false } }],
            "store": false,
            "stream": true,
            "stream_options": { "include_obfuscation": false },
            "reasoning": { "effort": "low" },
            "max_output_tokens": 16,
            "safety_identifier": "s".repeat(128),
        });
        change(&mut body);
        let models: Vec<String> = catalogue::all().map(str::to_owned).collect();
        check(&body, &models)
    }

    #[test]
    fn a_right_request_is_accepted() {
        let request = checked(|_| {}).expect("accepted");
        assert!(request.stream && !request.obfuscate && request.encrypted);
        assert_eq!((request.effort.as_str(), request.max_output_tokens), ("low", Some(16)));
        assert!(checked(|body| body["input"] = json!("hi")).is_ok());
        assert!(checked(|body| body["reasoning"] = json!({ "effort": "none" })).is_ok());
    }

    #[test]
    fn what_is_wrong_is_refused_in_the_words_of_the_real_one() {
        type Change = fn(&mut Value);
        let cases: &[(Change, u16, &str, &str)] = &[
            (|b| b["model"] = json!("gpt-9"), 404, "model_not_found", "The model `gpt-9` does not exist"),
            (|b| b["temperature"] = json!(1), 400, "unsupported_parameter", "Unsupported parameter: 'temperature'"),
            (|b| b["messages"] = json!([]), 400, "unknown_parameter", "Unknown parameter: 'messages'."),
            (|b| b["reasoning"]["effort"] = json!("minimal"), 400, "unsupported_value", "Unsupported value: 'minimal'"),
            (|b| b["input"] = json!([]), 400, "empty_array", "Invalid 'input': empty array"),
            (|b| b["input"] = json!(null), 400, "missing_required_parameter", "Missing required parameter: 'input'"),
            (|b| b["max_output_tokens"] = json!(15), 400, "integer_below_min_value", "Invalid 'max_output_tokens'"),
            (|b| b["safety_identifier"] = json!("s".repeat(129)), 400, "string_above_max_length", "Invalid 'safety_id"),
            (|b| b["stream"] = json!(false), 400, "unsupported_parameter", "The 'stream_options' parameter"),
            (
                |b| b["service_tier"] = json!("warp"),
                400,
                "invalid_value",
                "Invalid value: 'warp'. Supported values are",
            ),
            (|b| b["service_tier"] = json!(1), 400, "invalid_type", "Invalid type for 'service_tier'"),
            (
                |b| b["tool_choice"] = json!("never"),
                400,
                "invalid_value",
                "Invalid value: 'never'. Supported values are",
            ),
            (
                |b| (b["tools"], b["tool_choice"]) = (json!([]), json!("none")),
                400,
                "",
                "Tool choices other than auto are only allowed when 'tools' are specified.",
            ),
            (|b| b["stream"] = json!("yes"), 400, "invalid_type", "Invalid type for 'stream'"),
            (|b| b["previous_response_id"] = json!("resp_1"), 404, "previous_response_not_found", "Previous response"),
            (|b| b["input"][0]["role"] = json!("bot"), 400, "invalid_value", "Invalid value: 'bot'"),
            (
                |b| b["input"][0] = json!({ "role": "assistant", "content": [{ "type": "input_text", "text": "x" }] }),
                400,
                "invalid_value",
                "Invalid value: 'input_text'. Supported values are: 'output_text', 'refusal'.",
            ),
            (
                |b| b["tools"][0] = json!({ "type": "function", "function": { "name": "f" } }),
                400,
                "missing_required_parameter",
                "Missing required parameter: 'tools[0].name'.",
            ),
            (
                |b| b["tools"][0]["parameters"]["additionalProperties"] = json!(true),
                400,
                "invalid_function_parameters",
                "Invalid schema for function 'f': In context=(), 'additionalProperties' is required",
            ),
            (
                |b| b["tools"][0]["parameters"]["required"] = json!([]),
                400,
                "invalid_function_parameters",
                "Invalid schema for function 'f': In context=(), 'required' is required",
            ),
            (
                |b| {
                    b["tools"][0]["parameters"]["properties"]["a"] =
                        json!({ "type": "array", "items": { "type": "object" } })
                },
                400,
                "invalid_function_parameters",
                "Invalid schema for function 'f': In context=('items'), 'additionalProperties'",
            ),
            (
                |b| b["input"] = json!([{ "type": "function_call_output", "call_id": "call_1", "output": "x" }]),
                400,
                "",
                "No tool call found for function call output with call_id call_1.",
            ),
            (
                |b| {
                    b["input"] =
                        json!([{ "type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}" }])
                },
                400,
                "",
                "No tool output found for function call call_1.",
            ),
            (
                |b| b["input"] = json!([{ "type": "reasoning", "id": "rs_1", "encrypted_content": "gAAAA" }]),
                400,
                "",
                "Item 'rs_1' of type 'reasoning' was provided without its required following item.",
            ),
            (
                |b| b["input"] = json!([{ "type": "reasoning", "id": "rs_1" }, { "type": "message", "role": "assistant", "content": "x" }]),
                404,
                "",
                "Item with id 'rs_1' not found.",
            ),
            (
                |b| b["input"] = json!("x".repeat(tokens::CHARS * 922_001)),
                400,
                "context_length_exceeded",
                "Your input exceeds",
            ),
        ];
        for (change, status, code, message) in cases {
            let refusal = checked(change).expect_err(message);
            assert_eq!((refusal.status, refusal.code.unwrap_or_default()), (*status, *code), "{message}");
            assert!(refusal.message.starts_with(message), "{} is not {message}", refusal.message);
        }
    }

    #[test]
    fn efforts_follow_the_model() {
        for (model, effort, fine) in [
            ("gpt-5-mini", "minimal", true),
            ("gpt-5-mini", "none", false),
            ("gpt-6.2-sol", "none", false),
            ("gpt-6.2-sol", "max", true),
            ("gpt-4.1", "low", false),
        ] {
            let result = checked(|body| {
                body["model"] = json!(model);
                body["reasoning"]["effort"] = json!(effort);
            });
            assert_eq!(result.is_ok(), fine, "{model} {effort}");
        }
    }
}
