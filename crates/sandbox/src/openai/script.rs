//! What a test has the stand-in answer, instead of what its built-in coach would say.

use std::time::Duration;

/// What the next call is answered, instead of what the built-in coach would say.
#[derive(Clone, Debug)]
pub enum Script {
    Text(String),
    Refusal(String),
    /// This text, and a refusal behind it.
    RefusalAfter {
        text: String,
        refusal: String,
    },
    /// Function calls: name, and arguments as JSON text.
    Calls(Vec<(String, String)>),
    Incomplete {
        text: String,
        reason: String,
    },
    /// The stream ends in `response.failed`.
    Failed {
        code: String,
        message: String,
    },
    /// The stream ends in an `error` event: flat as documented, or nested as it is seen in the wild.
    ErrorEvent {
        nested: bool,
        code: String,
    },
    /// This text, with event types, item types and fields around it that no client knows yet.
    UnknownEvents(String),
    /// This text, then the stream ends without a terminal event.
    CutAfter(String),
    /// This text, then silence.
    Stall(String),
    /// A long thought, then this text.
    Think(Thought, String),
    /// The events tell the first text, the final response has the second one.
    Retold {
        streamed: String,
        whole: String,
    },
}

/// How a model thinks before it writes.
#[derive(Clone, Copy, Debug)]
pub struct Thought {
    /// In so many steps, each of which is followed by its sign.
    pub steps: u32,
    pub step: Duration,
    pub sign: Sign,
    /// Reasoning tokens in all.
    pub tokens: u64,
}

/// What comes over the wire while a model thinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    Nothing,
    /// `event: keepalive`, as long thoughts of gpt-6 models have it.
    Keepalive,
    /// A comment of the event stream.
    Comment,
}
