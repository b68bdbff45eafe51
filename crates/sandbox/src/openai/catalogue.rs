//! The models the stand-in knows, as of November 2026. Owns what a model takes and until when it lives;
//! knows no prices. A name it does not know is a reasoning model of the newest kind.

use serde_json::{Value, json};

/// What sets one model apart from another on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Traits {
    /// The values of `reasoning.effort`; empty: the model does not reason.
    pub(super) efforts: &'static [&'static str],
    /// GPT-5.6 and later bill what they write into the prompt cache, and return encrypted reasoning unasked.
    pub(super) writes_cache: bool,
    /// The longest input, in tokens.
    pub(super) context: u64,
    shutdown: Option<&'static str>,
}

const GPT_5: &[&str] = &["minimal", "low", "medium", "high"];
const GPT_5_1: &[&str] = &["none", "low", "medium", "high"];
const GPT_5_4: &[&str] = &["none", "low", "medium", "high", "xhigh"];
const GPT_6: &[&str] = &["none", "low", "medium", "high", "xhigh", "max"];
const THINKS_ALWAYS: &[&str] = &["low", "medium", "high", "xhigh", "max"];

const KNOWN: &[(&str, Traits)] = &[
    ("gpt-4.1", old(1_047_576)),
    ("gpt-4.1-mini", old(1_047_576)),
    ("gpt-4o", old(128_000)),
    ("gpt-4o-mini", old(128_000)),
    ("gpt-5", five(GPT_5, Some("2026-12-11"))),
    ("gpt-5-2025-08-07", five(GPT_5, Some("2026-12-11"))),
    ("gpt-5-mini", five(GPT_5, Some("2026-12-11"))),
    ("gpt-5-mini-2025-08-07", five(GPT_5, Some("2026-12-11"))),
    ("gpt-5-nano", five(GPT_5, Some("2026-12-11"))),
    ("gpt-5-nano-2025-08-07", five(GPT_5, Some("2026-12-11"))),
    ("gpt-5.1", five(GPT_5_1, Some("2027-04-01"))),
    ("gpt-5.2", five(GPT_5_4, None)),
    ("gpt-5.4", five(GPT_5_4, None)),
    ("gpt-5.4-mini", five(GPT_5_4, None)),
    ("gpt-5.4-nano", five(GPT_5_4, Some("2027-04-01"))),
    ("gpt-5.5", five(GPT_5_4, None)),
    ("gpt-5.6-luna", new(GPT_6)),
    ("gpt-5.6-terra", new(GPT_6)),
    ("gpt-5.6-sol", new(GPT_6)),
    ("gpt-6-luna", new(GPT_6)),
    ("gpt-6-sol", new(GPT_6)),
    ("gpt-6-astra", new(THINKS_ALWAYS)),
    ("gpt-6.1-terra", new(GPT_6)),
    ("gpt-6.1-sol", new(THINKS_ALWAYS)),
    ("gpt-6.2-sol", new(THINKS_ALWAYS)),
    ("gpt-6.2-astra", new(THINKS_ALWAYS)),
];

pub(super) fn all() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().map(|(id, _)| *id)
}

pub(super) fn traits(id: &str) -> Traits {
    KNOWN.iter().find(|(known, _)| *known == id).map_or(new(GPT_6), |(_, traits)| *traits)
}

/// The model as `GET /v1/models/{id}` shows it.
pub(super) fn object(id: &str) -> Value {
    json!({
        "id": id,
        "object": "model",
        "created": 1_754_500_000,
        "owned_by": "system",
        "shutdown_date": traits(id).shutdown,
    })
}

const fn old(context: u64) -> Traits {
    Traits { efforts: &[], writes_cache: false, context, shutdown: Some("2027-01-14") }
}

const fn five(efforts: &'static [&'static str], shutdown: Option<&'static str>) -> Traits {
    Traits { efforts, writes_cache: false, context: 272_000, shutdown }
}

const fn new(efforts: &'static [&'static str]) -> Traits {
    Traits { efforts, writes_cache: true, context: 922_000, shutdown: None }
}
