//! The errors of the API, in its own words (OpenAI, "Error codes"). Decides nothing about what is refused.

use std::time::Duration;

use serde_json::{Value, json};

/// An error as the API answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) kind: &'static str,
    pub(super) code: Option<&'static str>,
    pub(super) param: Option<String>,
    pub(super) message: String,
    pub(super) retry_after: Option<Duration>,
}

impl Refusal {
    pub(super) fn body(&self) -> Value {
        let (message, kind, param, code) = (&self.message, self.kind, &self.param, self.code);
        json!({ "error": { "message": message, "type": kind, "param": param, "code": code } })
    }

    pub(super) fn wrong_key(key: &str) -> Self {
        let shown: String = key.chars().take(3).collect();
        let message = format!(
            "Incorrect API key provided: {shown}***. You can find your API key at https://platform.openai.com/account/api-keys."
        );
        Self { status: 401, ..invalid("invalid_api_key", "", message) }
    }

    pub(super) fn no_key() -> Self {
        let message = "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth.";
        Self { status: 401, code: None, ..invalid("", "", message) }
    }

    pub(super) fn not_json() -> Self {
        let message = "We could not parse the JSON body of your request. The OpenAI API expects a JSON payload.";
        Self { code: None, ..invalid("", "", message) }
    }

    pub(super) fn no_url(method: &str, path: &str) -> Self {
        Self { status: 404, code: None, ..invalid("", "", format!("Invalid URL ({method} {path})")) }
    }

    pub(super) fn no_model(model: &str) -> Self {
        let message = format!("The model `{model}` does not exist or you do not have access to it.");
        Self { status: 404, ..invalid("model_not_found", "", message) }
    }

    pub(super) fn server_error() -> Self {
        let message = "The server had an error while processing your request. Sorry about that!";
        Self { status: 500, kind: "server_error", code: None, ..invalid("", "", message) }
    }

    /// `of` is `requests` or `tokens`.
    pub(super) fn rate_limited(
        model: &str,
        of: &'static str,
        limit: u64,
        used: u64,
        requested: u64,
        pause: Duration,
    ) -> Self {
        let short = if of == "requests" { "RPM" } else { "TPM" };
        let message = format!(
            "Rate limit reached for {model} in organization org-sandbox on {of} per min ({short}): Limit {limit}, Used {used}, \
             Requested {requested}. Please try again in {:.3}s.",
            pause.as_secs_f64()
        );
        Self { status: 429, kind: of, retry_after: Some(pause), ..invalid("rate_limit_exceeded", "", message) }
    }
}

pub(super) fn missing(param: &str) -> Refusal {
    invalid("missing_required_parameter", param, format!("Missing required parameter: '{param}'."))
}

pub(super) fn wrong_type(param: &str, expected: &str) -> Refusal {
    invalid("invalid_type", param, format!("Invalid type for '{param}': expected {expected}."))
}

/// A 400. An empty code or parameter is null on the wire.
pub(super) fn invalid(code: &'static str, param: &str, message: impl Into<String>) -> Refusal {
    Refusal {
        status: 400,
        kind: "invalid_request_error",
        code: (!code.is_empty()).then_some(code),
        param: (!param.is_empty()).then(|| param.to_owned()),
        message: message.into(),
        retry_after: None,
    }
}
