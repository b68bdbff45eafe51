//! What a method is called with, and how it is refused. Owns the forms that parameters come in (Bot API, Making requests).

use serde_json::{Map, Value};

use super::html::{self, Formatted};

/// Longest `callback_data`, in bytes.
const BUTTON_DATA: usize = 64;

/// An answer with `"ok":false`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Refusal {
    pub code: u16,
    pub description: String,
    pub parameters: Option<Value>,
}

impl Refusal {
    pub fn new(code: u16, description: impl Into<String>) -> Self {
        Refusal { code, description: description.into(), parameters: None }
    }
}

/// A 400.
pub(super) fn bad(words: impl std::fmt::Display) -> Refusal {
    Refusal::new(400, format!("Bad Request: {words}"))
}

/// The parameters of a call, however they came.
#[derive(Debug, Default)]
pub(super) struct Params {
    pub fields: Map<String, Value>,
    /// Uploaded files: field, name, content.
    pub files: Vec<(String, String, Vec<u8>)>,
}

impl Params {
    pub fn text(&self, name: &str) -> Option<String> {
        match self.fields.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        }
    }

    pub fn int(&self, name: &str) -> Option<i64> {
        self.text(name)?.trim().parse().ok()
    }

    pub fn flag(&self, name: &str) -> bool {
        self.text(name).is_some_and(|text| text.eq_ignore_ascii_case("true") || text == "1")
    }

    /// An object or array, which may come as text that holds JSON.
    pub fn json(&self, name: &str) -> Result<Option<Value>, Refusal> {
        match self.fields.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => match serde_json::from_str(text) {
                Ok(value) => Ok(Some(value)),
                Err(_) => Err(bad(format!("can't parse {} JSON object", name.replace('_', " ")))),
            },
            Some(value) => Ok(Some(value.clone())),
        }
    }
}

pub(super) fn check_length(formatted: &Formatted, limit: usize, words: &str) -> Result<(), Refusal> {
    if formatted.text.trim().encode_utf16().count() > limit { Err(bad(words)) } else { Ok(()) }
}

pub(super) fn formatted(raw: &str, params: &Params) -> Result<Formatted, Refusal> {
    match params.text("parse_mode").map(|mode| mode.to_ascii_lowercase()).as_deref() {
        None | Some("") => Ok(Formatted { text: raw.to_owned(), entities: Vec::new() }),
        Some("html") => html::parse(raw).map_err(|words| bad(format!("can't parse entities: {words}"))),
        // The real service knows Markdown and MarkdownV2, too; nothing here writes them.
        Some(_) => Err(bad("unsupported parse_mode")),
    }
}

pub(super) fn buttons(params: &Params) -> Result<Vec<(String, String)>, Refusal> {
    let Some(markup) = params.json("reply_markup")? else { return Ok(Vec::new()) };
    let wrong = || bad("object expected as reply markup");
    let rows = markup.get("inline_keyboard").and_then(Value::as_array).ok_or_else(wrong)?;
    let mut buttons = Vec::new();
    for row in rows {
        for button in row.as_array().ok_or_else(wrong)? {
            let label = button["text"].as_str().unwrap_or_default();
            if label.is_empty() {
                return Err(bad("can't parse inline keyboard button: field \"text\" must be non-empty"));
            }
            let data = button["callback_data"].as_str().ok_or_else(|| {
                bad("can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard")
            })?;
            if !(1..=BUTTON_DATA).contains(&data.len()) {
                return Err(bad("BUTTON_DATA_INVALID"));
            }
            buttons.push((label.to_owned(), data.to_owned()));
        }
    }
    Ok(buttons)
}
