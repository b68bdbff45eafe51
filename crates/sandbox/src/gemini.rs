//! A stand-in for the Gemini API: generateContent for videos and the Files API. Owns their rules, their
//! refusals and the counting of tokens; looks at no picture and hears no word.
//!
//! The prompt's first `instagram.com/reel/CODE` decides: `DSAFE…` a blocked prompt, `DCUTJ…` an answer cut
//! at the token limit, `DTHNK…` thought up to that limit, `DMUTE…` nobody speaks, `DLANG…` a language it does not take, `DOTHE…`
//! an end for a reason of its own, `DMALF…` a slip of the model, `DNOCA…` no candidate, `DHALF…` half a JSON text, `DPROS…` prose,
//! `DSCHM…` JSON of another schema, `DNOTH…` an empty object, `DUNPR…` a video that it cannot process; anything else the
//! script of that code.

mod files;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use serde_json::{Value, json};

use self::files::Files;
use super::scripts::{Script, number_of, script_of, varied};
use super::{Asked, Control, Fault, Served};

/// What this stand-in is like.
#[derive(Clone, Debug)]
pub struct Settings {
    /// 0: any free port.
    pub port: u16,
    pub api_key: String,
    /// How long an answer takes, and by which part of it this differs from reel to reel.
    pub analysis: Duration,
    pub spread: f64,
    /// How long an uploaded file is PROCESSING.
    pub activation: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            port: 0,
            api_key: "AIza-sandbox".into(),
            analysis: Duration::from_millis(50),
            spread: 0.0,
            activation: Duration::from_millis(50),
        }
    }
}

/// One answer that Google would bill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    pub model: String,
    pub input_tokens: u64,
    /// Among the input tokens.
    pub audio_tokens: u64,
    /// Thinking among them.
    pub output_tokens: u64,
}

/// The running stand-in.
#[derive(Debug)]
pub struct GeminiSandbox {
    pub served: Served,
    pub control: Control,
    gemini: Arc<Gemini>,
}

impl GeminiSandbox {
    pub async fn start(settings: Settings) -> std::io::Result<Self> {
        let control = Control::default();
        let port = settings.port;
        let gemini = Arc::new(Gemini {
            files: Files::new(settings.activation),
            settings,
            control: control.clone(),
            charged: Mutex::default(),
        });
        let served = Served::start(port, Router::new().fallback(serve).with_state(gemini.clone())).await?;
        Ok(Self { served, control, gemini })
    }

    /// Every answer billed so far, in order.
    pub fn charged(&self) -> Vec<Charge> {
        self.gemini.charged().clone()
    }

    /// How many uploaded files are there now.
    pub fn files(&self) -> usize {
        self.gemini.files.count()
    }

    /// A refusal in Google's own shape. `detail` is one entry of `details`.
    pub fn refusal(code: u16, status: &str, message: &str, detail: Value) -> Fault {
        let details = if detail.is_null() { json!([]) } else { json!([detail]) };
        let body = json!({"error": {"code": code, "status": status, "message": message, "details": details}});
        let headers = vec![("content-type".to_owned(), "application/json; charset=UTF-8".to_owned())];
        Fault::Answer { status: code, headers, body: body.to_string() }
    }
}

#[derive(Debug)]
struct Gemini {
    settings: Settings,
    control: Control,
    files: Files,
    charged: Mutex<Vec<Charge>>,
}

/// Models that take video. `true`: still takes sampling parameters (all before 3.6 but 3.5 Flash-Lite).
const MODELS: [(&str, bool); 11] = [
    ("gemini-2.5-flash", true),
    ("gemini-2.5-flash-lite", true),
    ("gemini-3.1-flash-lite", true),
    ("gemini-3.1-pro-preview", true),
    ("gemini-3.5-flash", true),
    ("gemini-3.5-flash-lite", false),
    ("gemini-3.6-flash", false),
    ("gemini-3.7-flash", false),
    ("gemini-3.8-flash", false),
    ("gemini-flash-latest", false),
    ("gemini-flash-lite-latest", false),
];

const MAX_REQUEST: usize = 20 << 20;

async fn serve(State(gemini): State<Arc<Gemini>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let asked = |body: Value| Asked { method: head.method.to_string(), path: head.uri.path().to_owned(), body };
    let is_content = head.headers.get("x-goog-upload-command").is_some_and(|command| command != "start");
    if is_content {
        return gemini.control.answer(asked(Value::Null), gemini.files.content(&head, body)).await;
    }
    let Ok(bytes) = to_bytes(body, MAX_REQUEST).await else {
        return refuse(400, "INVALID_ARGUMENT", "Request payload size exceeds the limit: 20971520 bytes.");
    };
    let body: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    gemini.control.answer(asked(without_content(&body)), route(&gemini, &head, &body)).await
}

/// The request for the log, without the video.
fn without_content(body: &Value) -> Value {
    let mut body = body.clone();
    if let Some(parts) = body.pointer_mut("/contents/0/parts").and_then(Value::as_array_mut) {
        for part in parts {
            if let Some(data) = part.pointer_mut("/inlineData/data") {
                *data = json!(format!("{} characters", data.as_str().map_or(0, str::len)));
            }
        }
    }
    body
}

async fn route(gemini: &Gemini, head: &Parts, body: &Value) -> Response {
    if let Some(refusal) = key_refused(gemini, &head.headers) {
        return refusal;
    }
    let path = head.uri.path();
    match (head.method.as_str(), path.trim_start_matches('/').split('/').collect::<Vec<_>>()[..].as_ref()) {
        ("POST", ["v1beta", "models", call]) => match call.split_once(':') {
            Some((model, "generateContent")) => gemini.generate(model, body).await,
            _ => refuse(404, "NOT_FOUND", "Method not found."),
        },
        ("GET", ["v1beta", "models", model]) => match MODELS.iter().any(|known| known.0 == *model) {
            true => axum::Json(
                json!({"name": format!("models/{model}"), "supportedGenerationMethods": ["generateContent"]}),
            )
            .into_response(),
            false => no_model(model),
        },
        ("POST", ["upload", "v1beta", "files"]) => gemini.files.open(head, body),
        ("GET", ["v1beta", "files", id]) => gemini.files.get(id),
        ("DELETE", ["v1beta", "files", id]) => gemini.files.delete(id),
        _ => refuse(404, "NOT_FOUND", "Requested entity was not found."),
    }
}

fn key_refused(gemini: &Gemini, headers: &HeaderMap) -> Option<Response> {
    match headers.get("x-goog-api-key") {
        None => Some(refuse(
            403,
            "PERMISSION_DENIED",
            "Method doesn't allow unregistered callers. Please use API Key or other form of API consumer identity.",
        )),
        Some(key) if key.as_bytes() != gemini.settings.api_key.as_bytes() => {
            let detail = json!({"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID",
                "domain": "googleapis.com"});
            let body = json!({"error": {"code": 400, "status": "INVALID_ARGUMENT",
                "message": "API key not valid. Please pass a valid API key.", "details": [detail]}});
            Some((StatusCode::BAD_REQUEST, axum::Json(body)).into_response())
        }
        Some(_) => None,
    }
}

fn refuse(code: u16, status: &str, message: &str) -> Response {
    let body = json!({"error": {"code": code, "status": status, "message": message}});
    (StatusCode::from_u16(code).unwrap_or_default(), axum::Json(body)).into_response()
}

fn no_model(model: &str) -> Response {
    refuse(404, "NOT_FOUND", &format!("models/{model} is not found for API version v1beta."))
}

impl Gemini {
    fn charged(&self) -> MutexGuard<'_, Vec<Charge>> {
        self.charged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn generate(&self, model: &str, body: &Value) -> Response {
        let Some((_, old)) = MODELS.iter().find(|known| known.0 == model) else { return no_model(model) };
        let prompt = match self.checked(model, *old, body) {
            Ok(prompt) => prompt,
            Err((status, name, message)) => return refuse(status, name, &message),
        };
        let code = code_in(&prompt.text).unwrap_or_else(|| format!("{:x}", prompt.number));
        tokio::time::sleep(varied(self.settings.analysis, self.settings.spread, &code)).await;
        if code.starts_with("DUNPR") {
            return refuse(
                400,
                "INVALID_ARGUMENT",
                "Unable to process input video. Please retry or report in the help center.",
            );
        }
        let script = script_of(&code);
        let seconds = script.seconds as u64;
        let (video, audio, text) = (70 * seconds, 25 * seconds, prompt.text.chars().count() as u64 / 4 + 1);
        let mut usage = json!({"promptTokenCount": video + audio + text, "promptTokensDetails": [
            {"modality": "VIDEO", "tokenCount": video}, {"modality": "AUDIO", "tokenCount": audio},
            {"modality": "TEXT", "tokenCount": text}]});
        let mut answer = json!({"modelVersion": model, "responseId": format!("r{:016x}", prompt.number ^ self.charged().len() as u64)});
        let mut output = 0;
        if code.starts_with("DSAFE") {
            answer["promptFeedback"] = json!({"blockReason": "PROHIBITED_CONTENT"});
        } else {
            let cut = code.starts_with("DCUTJ");
            let mut text = filled(&prompt.schema, script, code.starts_with("DMUTE")).to_string();
            if cut {
                text = text.chars().take(text.chars().count() / 2).collect();
            }
            let words = text.chars().count() as u64 / 4;
            let thoughts = match body["generationConfig"]["maxOutputTokens"].as_u64() {
                // Thinking and answer share the limit.
                Some(most) if code.starts_with("DTHNK") => most.saturating_sub(words),
                _ => 120 + prompt.number % 200,
            };
            usage["candidatesTokenCount"] = json!(words);
            usage["thoughtsTokenCount"] = json!(thoughts);
            output = thoughts + words;
            let (finish, text) = match code.get(..5) {
                _ if cut => ("MAX_TOKENS", text),
                Some("DLANG") => ("LANGUAGE", String::new()),
                Some("DOTHE") => ("OTHER", String::new()),
                Some("DMALF") => ("MALFORMED_RESPONSE", String::new()),
                Some("DHALF") => ("STOP", text.chars().take(text.chars().count() / 2).collect()),
                Some("DPROS") => ("STOP", "The video shows somebody at a desk.".to_owned()),
                Some("DSCHM") => ("STOP", json!({"title": "A desk", "tags": ["desk"]}).to_string()),
                Some("DNOTH") => ("STOP", "{}".to_owned()),
                _ => ("STOP", text),
            };
            if !code.starts_with("DNOCA") {
                answer["candidates"] = json!([{"content": {"role": "model", "parts": [{"text": text}]},
                    "finishReason": finish, "index": 0, "safetyRatings": []}]);
            }
        }
        usage["totalTokenCount"] = json!(video + audio + text + output);
        answer["usageMetadata"] = usage;
        let input_tokens = video + audio + text;
        self.charged().push(Charge {
            model: model.to_owned(),
            input_tokens,
            audio_tokens: audio,
            output_tokens: output,
        });
        axum::Json(answer).into_response()
    }

    /// Refuses what Google refuses, and gives what the answer depends on.
    fn checked(&self, model: &str, old: bool, body: &Value) -> Result<Prompt, (u16, &'static str, String)> {
        let bad = |message: String| (400, "INVALID_ARGUMENT", message);
        let known = |at: &str, value: &Value, names: &[&str]| {
            let unknown = value.as_object().and_then(|o| o.keys().find(|name| !names.contains(&name.as_str())));
            unknown.map_or(Ok(()), |name| {
                Err(bad(format!(
                    "Invalid JSON payload received. Unknown name \"{name}\" at '{at}': Cannot find field."
                )))
            })
        };
        known("", body, &["contents", "systemInstruction", "generationConfig", "safetySettings", "tools"])?;
        let config = &body["generationConfig"];
        known("generation_config", config, &CONFIG)?;
        known(
            "generation_config.thinking_config",
            &config["thinkingConfig"],
            &["thinkingLevel", "thinkingBudget", "includeThoughts"],
        )?;
        if let Some(name) = ["temperature", "topP", "topK"].into_iter().find(|name| !old && !config[*name].is_null()) {
            return Err(bad(format!("{name} is not supported by this model.")));
        }
        let level = &config["thinkingConfig"]["thinkingLevel"];
        let levels: &[&str] = match model {
            _ if model.starts_with("gemini-2") => &[],
            "gemini-3.8-flash" | "gemini-flash-latest" => &["LOW", "MEDIUM", "HIGH"],
            _ => &["MINIMAL", "LOW", "MEDIUM", "HIGH"],
        };
        if !level.is_null() && !level.as_str().is_some_and(|level| levels.contains(&level)) {
            return Err(bad("Thinking level is not supported for this model.".into()));
        }
        if !config["thinkingConfig"]["thinkingBudget"].is_null() && !model.starts_with("gemini-2") {
            return Err(bad("Thinking budget is not supported for this model.".into()));
        }
        let resolutions = ["MEDIA_RESOLUTION_LOW", "MEDIA_RESOLUTION_MEDIUM", "MEDIA_RESOLUTION_HIGH"];
        let resolution = &config["mediaResolution"];
        if !resolution.is_null() && !resolution.as_str().is_some_and(|wanted| resolutions.contains(&wanted)) {
            return Err(bad("Invalid value at 'generation_config.media_resolution'".into()));
        }
        let schema = &config["responseJsonSchema"];
        if !schema.is_null() {
            if !config["responseSchema"].is_null() {
                return Err(bad("Only one of response_schema and response_json_schema may be set.".into()));
            }
            if config["responseMimeType"] != "application/json" || !schema["type"].is_string() {
                return Err(bad("A response schema needs response_mime_type application/json and a type.".into()));
            }
        }
        let contents = body["contents"].as_array().map(Vec::as_slice).unwrap_or_default();
        let parts: Vec<&Value> = contents.iter().filter_map(|content| content["parts"].as_array()).flatten().collect();
        if parts.is_empty() {
            return Err(bad("* GenerateContentRequest.contents: contents is not specified".into()));
        }
        let mut prompt = Prompt { text: String::new(), schema: schema.clone(), number: 0 };
        for part in parts {
            known(
                "contents[0].parts[0]",
                part,
                &["text", "inlineData", "fileData", "videoMetadata", "mediaResolution"],
            )?;
            prompt.text.push_str(part["text"].as_str().unwrap_or_default());
            let (inline, file) = (&part["inlineData"], &part["fileData"]);
            let media = if inline.is_null() { file } else { inline };
            if media.is_null() {
                continue;
            }
            if !media["mimeType"].as_str().is_some_and(|mime| MIME.contains(&mime)) {
                return Err(bad("Unsupported MIME type".into()));
            }
            prompt.number ^= if inline.is_null() {
                self.files.usable(file["fileUri"].as_str().unwrap_or_default())?
            } else {
                let data = inline["data"].as_str().unwrap_or_default();
                let content = base64::engine::general_purpose::STANDARD.decode(data);
                let content = content.map_err(|_| bad("Invalid value at 'data': Base64 decoding failed".into()))?;
                if content.get(4..8) != Some(b"ftyp") {
                    return Err(
                        bad("Unable to process input video. Please retry or report in the help center.".into()),
                    );
                }
                number_of(&content)
            };
        }
        Ok(prompt)
    }
}

const CONFIG: [&str; 16] = [
    "responseMimeType",
    "responseSchema",
    "responseJsonSchema",
    "maxOutputTokens",
    "mediaResolution",
    "thinkingConfig",
    "temperature",
    "topP",
    "topK",
    "seed",
    "stopSequences",
    "candidateCount",
    "presencePenalty",
    "frequencyPenalty",
    "responseModalities",
    "speechConfig",
];

const MIME: [&str; 10] = [
    "video/mp4",
    "video/mpeg",
    "video/mov",
    "video/quicktime",
    "video/avi",
    "video/x-flv",
    "video/mpg",
    "video/webm",
    "video/wmv",
    "video/3gpp",
];

#[derive(Debug)]
struct Prompt {
    text: String,
    schema: Value,
    /// Depends on the bytes of the video.
    number: u64,
}

fn code_in(text: &str) -> Option<String> {
    let (_, after) = text.split_once("instagram.com/reel/")?;
    let code: String = after.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect();
    (!code.is_empty()).then_some(code)
}

/// The properties that the schema asks for: those of a reel from the script, any other by its type.
fn filled(schema: &Value, script: &Script, mute: bool) -> Value {
    let lines =
        |lines: &[(u32, &str)]| -> Value { lines.iter().map(|(at, text)| json!({"at_s": at, "text": text})).collect() };
    let Some(properties) = schema["properties"].as_object() else { return json!({"summary": script.summary}) };
    let filled = properties.iter().map(|(name, about)| {
        let value = match name.as_str() {
            "language" => json!(if mute { "" } else { script.language }),
            "transcript" => lines(if mute { &[] } else { script.spoken }),
            "on_screen_text" => lines(script.shown),
            "hook" => json!(script.hook),
            "summary" => json!(script.summary),
            "scenes" => {
                script.scenes.iter().map(|(from, to, what)| json!({"from_s": from, "to_s": to, "what": what})).collect()
            }
            _ => match about["type"].as_str() {
                Some("string") => json!(""),
                Some("array") => json!([]),
                Some("object") => json!({}),
                Some("boolean") => json!(false),
                _ => json!(0),
            },
        };
        (name.clone(), value)
    });
    Value::Object(filled.collect())
}
