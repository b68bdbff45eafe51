//! A request as the model reads it, and the places in it where the prompt cache may cut. Owns the order of the parts;
//! pure.

use serde_json::Value;

/// All that the model reads, in order. Places are in bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Rendered {
    pub(super) text: String,
    /// Where the messages end that the service itself may cut after: those of the user, the last tool response in a row,
    /// and the last developer message before all others (OpenAI, guide "Prompt caching", "Implicit mode").
    pub(super) endings: Vec<usize>,
    /// Where the developer messages before all others end.
    pub(super) opening: Option<usize>,
    /// Where the caller wants a cut (`prompt_cache_breakpoint`).
    pub(super) marks: Vec<usize>,
    /// The caller's marks alone count (`prompt_cache_options.mode` is `explicit`).
    pub(super) marked_only: bool,
}

impl Rendered {
    pub(super) fn new(body: &Value, effort: &str, tools: &[Value], instructions: &str, input: &[Value]) -> Self {
        // What changes the rendering comes first: with another value nothing is the same.
        let mut rendered = Self { text: format!("{effort}\n"), ..Self::default() };
        for setting in [&body["parallel_tool_calls"], &body["text"]] {
            if !setting.is_null() {
                rendered.text.push_str(&format!("{setting}\n"));
            }
        }
        for tool in tools {
            rendered.text.push_str(&format!("{} {} {}\n", tool["name"], tool["description"], tool["parameters"]));
        }
        rendered.text.push_str(instructions);
        rendered.marked_only = body["prompt_cache_options"]["mode"] == "explicit";
        let first_other = input.iter().position(|item| !is_developers(item)).unwrap_or(input.len());
        for (at, item) in input.iter().enumerate() {
            rendered.text.push('\n');
            rendered.push(item);
            let is_eligible = match kind(item) {
                "message" => item["role"] == "user" || at + 1 == first_other,
                "function_call_output" => input.get(at + 1).is_none_or(|next| kind(next) != "function_call_output"),
                _ => false,
            };
            if is_eligible {
                rendered.endings.push(rendered.text.len());
            }
            if at + 1 == first_other {
                rendered.opening = Some(rendered.text.len());
            }
        }
        rendered
    }

    fn push(&mut self, item: &Value) {
        match kind(item) {
            "message" => {
                self.text.push_str(&format!("{}: ", item["role"]));
                self.content(&item["content"]);
            }
            "reasoning" => self.text.push_str("(thought)"),
            "function_call" => self.text.push_str(&format!("{}({})", item["name"], item["arguments"])),
            _ => self.content(&item["output"]),
        }
    }

    fn content(&mut self, content: &Value) {
        let Some(parts) = content.as_array() else {
            self.text.push_str(content.as_str().unwrap_or_default());
            return;
        };
        for (at, part) in parts.iter().enumerate() {
            if at > 0 {
                self.text.push('\n');
            }
            match part["text"].as_str() {
                Some(text) => self.text.push_str(text),
                None => self.text.push_str(&part.to_string()),
            }
            if part["prompt_cache_breakpoint"].is_object() {
                self.marks.push(self.text.len());
            }
        }
    }
}

fn kind(item: &Value) -> &str {
    item["type"].as_str().unwrap_or("message")
}

fn is_developers(item: &Value) -> bool {
    kind(item) == "message" && (item["role"] == "developer" || item["role"] == "system")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What stands before each of the places.
    fn cut(rendered: &Rendered, places: &[usize]) -> Vec<String> {
        places.iter().map(|at| rendered.text[..*at].rsplit('\n').next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn where_it_may_be_cut() {
        let input = [
            json!({ "role": "developer", "content": "a" }),
            json!({ "role": "system", "content": "b" }),
            json!({ "role": "user", "content": [{ "type": "input_text", "text": "c" },
                { "type": "input_text", "text": "d", "prompt_cache_breakpoint": { "mode": "explicit" } },
                { "type": "input_text", "text": "e" }] }),
            json!({ "role": "assistant", "content": "f" }),
            json!({ "type": "function_call", "call_id": "1", "name": "n", "arguments": "{}" }),
            json!({ "type": "function_call_output", "call_id": "1", "output": "g" }),
            json!({ "type": "function_call_output", "call_id": "2", "output": "h" }),
            json!({ "role": "developer", "content": "i" }),
        ];
        let rendered = Rendered::new(&json!({}), "low", &[], "Be kind.", &input);
        assert_eq!(cut(&rendered, &rendered.endings), ["\"system\": b", "e", "h"]);
        assert_eq!(cut(&rendered, &rendered.marks), ["d"]);
        assert_eq!(cut(&rendered, rendered.opening.as_slice()), ["\"system\": b"]);
        assert!(rendered.text.starts_with("low\nBe kind.\n") && !rendered.marked_only);
        let other = Rendered::new(&json!({ "parallel_tool_calls": false }), "low", &[], "Be kind.", &input);
        assert!(!other.text.starts_with("low\nBe kind."), "what comes after is not the same prefix");
    }
}
