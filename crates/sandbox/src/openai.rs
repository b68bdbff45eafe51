//! A stand-in for api.openai.com: the Responses API (streamed or not) and the list of models, as strict as
//! the real one, with its rate limits, prompt cache and usage. Answers come from a queue of [`Script`]s, else
//! from a built-in coach. Owns the HTTP side; never uses a module of the product.

mod answer;
mod cache;
mod check;
mod coach;
mod meter;
mod rates;
mod catalogue;
mod tokens;
mod reel;
mod refusal;
mod rendered;
mod script;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::{Value, json};

use self::answer::{Answer, End, Frame, Plan};
use self::refusal::Refusal;
use super::{Asked, Control, Fault, Served};

pub use self::meter::Tokens;
pub use self::script::{Script, Sign, Thought};

/// How the stand-in behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// 0: any free port.
    pub port: u16,
    /// The one key that is right.
    pub api_key: String,
    /// From the start of an answer to its first visible piece.
    pub first_token: Duration,
    /// Before each further piece (a word, or some characters of a call's arguments).
    pub per_token: Duration,
    /// Requests per minute of each model; `None`: as many as you like.
    pub rpm: Option<u32>,
    /// Tokens per minute of each model: of a request the larger one of its input and the output asked for.
    pub tpm: Option<u64>,
    /// The models that exist.
    pub models: Vec<String>,
}

impl Default for Settings {
    /// Any port, the key `sk-sandbox`, no delays, no limits, the models of November 2026.
    fn default() -> Self {
        Self {
            port: 0,
            api_key: "sk-sandbox".into(),
            first_token: Duration::ZERO,
            per_token: Duration::ZERO,
            rpm: None,
            tpm: None,
            models: catalogue::all().map(str::to_owned).collect(),
        }
    }
}

/// One call that was carried out, at least in part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charged {
    pub model: String,
    /// The caller's `prompt_cache_key`.
    pub cache_key: String,
    /// The output only as far as it was written when the caller left.
    pub usage: Tokens,
    /// The service tier that it is billed by.
    pub tier: String,
    /// The answer was written to its end.
    pub finished: bool,
}

/// The running stand-in. It ends when dropped.
#[derive(Debug)]
pub struct OpenAiSandbox {
    pub served: Served,
    pub control: Control,
    house: Arc<House>,
}

impl OpenAiSandbox {
    /// # Errors
    /// When the port is taken.
    pub async fn start(settings: Settings) -> io::Result<Self> {
        let control = Control::default();
        let port = settings.port;
        let house = Arc::new(House {
            state: Mutex::new(Books {
                meter: meter::Meter::new(rates::Rates::new(settings.rpm, settings.tpm)),
                ..Books::default()
            }),
            control: control.clone(),
            settings,
            ids: AtomicU64::new(1),
        });
        let router = Router::new()
            .route("/v1/responses", post(respond))
            .route("/v1/models", get(list_models))
            .route("/v1/models/{id}", get(show_model))
            .fallback(nowhere)
            .layer(DefaultBodyLimit::max(32 * 1024 * 1024))
            .with_state(Arc::clone(&house));
        Ok(Self { served: Served::start(port, router).await?, control, house })
    }

    /// Queues an answer. A call that is refused leaves the queue alone.
    pub fn script(&self, script: Script) {
        self.house.books().scripts.push_back(script);
    }

    /// From now on these are the requests and tokens per minute of each model; all of them are there at first.
    pub fn limit(&self, rpm: Option<u32>, tpm: Option<u64>) {
        *self.house.books().meter.rates() = rates::Rates::new(rpm, tpm);
    }

    /// From now on calls are processed in this service tier, whatever they ask for: the project is set so.
    pub fn process_in_tier(&self, tier: &str) {
        self.house.books().tier = Some(tier.to_owned());
    }

    /// All calls so far, in the order in which they ended.
    pub fn charged(&self) -> Vec<Charged> {
        self.house.books().charged.clone()
    }

    /// A lie, for checks of whoever checks: the last call is charged once more.
    pub fn double_last_charge(&self) {
        let mut books = self.house.books();
        let last = books.charged.last().cloned();
        books.charged.extend(last);
    }

    /// With the version: `http://127.0.0.1:port/v1`.
    pub fn base_url(&self) -> String {
        format!("{}/v1", self.served.url())
    }
}

#[derive(Debug)]
struct House {
    settings: Settings,
    control: Control,
    state: Mutex<Books>,
    ids: AtomicU64,
}

#[derive(Debug, Default)]
struct Books {
    scripts: VecDeque<Script>,
    charged: Vec<Charged>,
    meter: meter::Meter,
    /// Instead of the tier that is asked for.
    tier: Option<String>,
}

impl House {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn id(&self, prefix: &str) -> String {
        format!("{prefix}_{:032x}", self.ids.fetch_add(1, Ordering::Relaxed))
    }

    /// Notes the request, and meets the fault that waits for it. What is left of a fault concerns the answer.
    async fn enter(&self, method: &str, path: &str, body: Value) -> Result<Late, Response> {
        match self.control.ask(Asked { method: method.to_owned(), path: path.to_owned(), body }) {
            None => Ok(Late::Nothing),
            Some(Fault::Slow(pause)) => {
                tokio::time::sleep(pause).await;
                Ok(Late::Nothing)
            }
            Some(Fault::Answer { status, headers, body }) => {
                let mut response = Response::new(Body::from(body));
                *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                set(response.headers_mut(), "x-request-id", &self.id("req"));
                for (name, value) in headers {
                    set(response.headers_mut(), &name, &value);
                }
                Err(response)
            }
            Some(Fault::Drop) => hang_up(),
            Some(Fault::DropAfter) => Ok(Late::Drop),
            Some(Fault::Cut) => Ok(Late::Cut),
        }
    }

    fn authorised(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        match given.and_then(|value| value.strip_prefix("Bearer ")) {
            Some(key) if key == self.settings.api_key => Ok(()),
            Some(key) => Err(Refusal::wrong_key(key)),
            None => Err(Refusal::no_key()),
        }
    }

    fn json(&self, status: u16, body: &Value, model: Option<&str>) -> Response {
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        self.mark(response.headers_mut(), model);
        set(response.headers_mut(), "content-type", "application/json");
        response
    }

    fn refuse(&self, refusal: &Refusal, model: Option<&str>) -> Response {
        if refusal.status == 429 {
            self.control.refuse();
        }
        let mut response = self.json(refusal.status, &refusal.body(), model);
        if let Some(pause) = refusal.retry_after {
            set(response.headers_mut(), "retry-after", &pause.as_secs_f64().ceil().to_string());
            set(response.headers_mut(), "retry-after-ms", &pause.as_millis().to_string());
        }
        response
    }

    /// The answer to a question about models, if the fault leaves one.
    fn finish(&self, late: Late, body: &Value) -> Response {
        if late != Late::Nothing {
            hang_up();
        }
        self.json(200, body, None)
    }

    /// The headers of every answer, and those of the limits of a model that was asked.
    fn mark(&self, headers: &mut HeaderMap, model: Option<&str>) {
        set(headers, "x-request-id", &self.id("req"));
        set(headers, "openai-processing-ms", "12");
        set(headers, "openai-version", "2020-10-01");
        if let Some(model) = model {
            for (name, value) in self.books().meter.rates().headers(Instant::now(), model) {
                set(headers, &name, &value);
            }
        }
    }
}

/// What is left of a fault once the request is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Late {
    Nothing,
    Drop,
    Cut,
}

async fn respond(State(house): State<Arc<House>>, headers: HeaderMap, body: Bytes) -> Response {
    let body: Option<Value> = serde_json::from_slice(&body).ok();
    let model = body.as_ref().and_then(|body| body["model"].as_str()).unwrap_or_default().to_owned();
    let late = match house.enter("POST", "/v1/responses", body.clone().unwrap_or_default()).await {
        Ok(late) => late,
        Err(response) => return response,
    };
    let accepted = house.authorised(&headers).and_then(|()| {
        let body = body.ok_or_else(Refusal::not_json)?;
        let request = check::check(&body, &house.settings.models);
        let now = Instant::now();
        let mut books = house.books();
        // A request that is refused counts against the limit too.
        let asked = request.as_ref().map_or(0, |r| tokens::count(&r.prompt.text).max(r.max_output_tokens.unwrap_or(0)));
        books.meter.rates().admit(now, &model, asked)?;
        let mut request = request?;
        match &books.tier {
            Some(tier) => request.tier.clone_from(tier),
            None if request.tier == "auto" => request.tier = "default".to_owned(),
            None => {}
        }
        let input = books.meter.input(now, &request);
        let plan = match books.scripts.pop_front() {
            Some(script) => Plan::scripted(script),
            None => Plan::parts(coach::answer(&request)),
        };
        Ok((request, plan, input))
    });
    let (request, plan, input) = match accepted {
        Ok(accepted) => accepted,
        Err(refusal) => return house.refuse(&refusal, Some(&model)),
    };
    let answer = Answer::new(&request, plan, input, |prefix| house.id(prefix));
    let (model, key, tier) = (request.model, request.cache_key, request.tier);
    let mut bill = Bill { house: Arc::clone(&house), answer: None, model, key, tier };
    match late {
        // A stream begins when its response is created. Of one that is lost before that, nothing is charged.
        Late::Drop if request.stream => hang_up(),
        Late::Drop => {
            let frames = answer.frames.len();
            bill.answer = Some((answer, frames));
            drop(bill);
            hang_up()
        }
        Late::Nothing | Late::Cut if request.stream => stream(&house, answer, bill, late == Late::Cut),
        Late::Nothing | Late::Cut => whole(&house, answer, bill, late == Late::Cut).await,
    }
}

/// The answer as an event stream.
fn stream(house: &Arc<House>, answer: Answer, mut bill: Bill, cut: bool) -> Response {
    let model = bill.model.clone();
    let settings = &house.settings;
    let paces = [settings.first_token, settings.per_token];
    let breaks_at = if cut { answer.frames.len() / 2 } else { usize::MAX };
    bill.answer = Some((answer, 0));
    let due = tokio::time::Instant::now();
    let frames = futures::stream::unfold((bill, due), move |(mut bill, mut due)| async move {
        let (answer, at) = bill.answer.as_ref()?;
        let at = *at;
        if at >= breaks_at {
            // What was written before the break leaves first.
            tokio::task::yield_now().await;
            return Some((Err(io::Error::other("the connection breaks off here")), (bill, due)));
        }
        let Some(frame) = answer.frames.get(at) else {
            match answer.end {
                End::Stall => std::future::pending::<()>().await,
                End::Close => {}
            }
            return None;
        };
        let (bytes, pause) = (frame.bytes(), frame.pause(paces));
        if !pause.is_zero() {
            // Not so long after the one before: a timer knows whole milliseconds, and what it rounds would add up.
            due += pause;
            tokio::time::sleep_until(due).await;
        }
        if let Some((_, at)) = bill.answer.as_mut() {
            *at += 1;
        }
        Some((Ok(bytes), (bill, due)))
    });
    let mut response = Response::new(Body::from_stream(frames));
    house.mark(response.headers_mut(), Some(&model));
    set(response.headers_mut(), "content-type", "text/event-stream; charset=utf-8");
    set(response.headers_mut(), "cache-control", "no-store");
    response
}

/// The answer as one JSON object.
async fn whole(house: &Arc<House>, answer: Answer, mut bill: Bill, cut: bool) -> Response {
    let settings = &house.settings;
    let paces = [settings.first_token, settings.per_token];
    tokio::time::sleep(answer.frames.iter().map(|frame| frame.pause(paces)).sum()).await;
    if answer.end == End::Stall {
        std::future::pending::<()>().await;
    }
    let model = bill.model.clone();
    let last = answer.frames.last().map(Frame::payload).cloned().unwrap_or_default();
    let len = answer.frames.len();
    bill.answer = Some((answer, len));
    match &last["response"] {
        response @ Value::Object(_) if cut => {
            let text = response.to_string();
            let half = text.get(..text.len() / 2).unwrap_or_default().to_owned();
            let pieces = [Ok(Bytes::from(half)), Err(io::Error::other("the connection breaks off here"))];
            Response::new(Body::from_stream(futures::stream::iter(pieces)))
        }
        response @ Value::Object(_) if response["status"] != "in_progress" => house.json(200, response, Some(&model)),
        _ if last["type"] == "error" => house.refuse(&Refusal::server_error(), Some(&model)),
        _ => {
            drop(bill);
            hang_up()
        }
    }
}

async fn list_models(State(house): State<Arc<House>>, headers: HeaderMap) -> Response {
    let late = match house.enter("GET", "/v1/models", Value::Null).await {
        Ok(late) => late,
        Err(response) => return response,
    };
    if let Err(refusal) = house.authorised(&headers) {
        return house.refuse(&refusal, None);
    }
    let data: Vec<Value> = house.settings.models.iter().map(|id| catalogue::object(id)).collect();
    house.finish(late, &json!({ "object": "list", "data": data }))
}

async fn show_model(State(house): State<Arc<House>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let late = match house.enter("GET", &format!("/v1/models/{id}"), Value::Null).await {
        Ok(late) => late,
        Err(response) => return response,
    };
    if let Err(refusal) = house.authorised(&headers) {
        return house.refuse(&refusal, None);
    }
    if !house.settings.models.contains(&id) {
        return house.refuse(&Refusal::no_model(&id), None);
    }
    house.finish(late, &catalogue::object(&id))
}

async fn nowhere(State(house): State<Arc<House>>, request: Request) -> Result<Response, Infallible> {
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    Ok(match house.enter(&method, &path, Value::Null).await {
        Ok(_) => house.refuse(&Refusal::no_url(&method, &path), None),
        Err(response) => response,
    })
}

/// Writes a call into the books when it is over, also when the caller goes away in the middle.
#[derive(Debug)]
struct Bill {
    house: Arc<House>,
    /// The answer, and how many of its frames went out.
    answer: Option<(Answer, usize)>,
    model: String,
    key: String,
    tier: String,
}

impl Drop for Bill {
    fn drop(&mut self) {
        let Some((answer, frames)) = self.answer.take() else { return };
        self.house.books().charged.push(Charged {
            model: std::mem::take(&mut self.model),
            cache_key: std::mem::take(&mut self.key),
            tier: std::mem::take(&mut self.tier),
            usage: answer.usage_after(frames),
            finished: frames >= answer.frames.len(),
        });
        self.house.control.touch();
    }
}

/// Closes the connection without an answer: unwinding ends the connection's task, and only that. The panic
/// hook is not run.
fn hang_up() -> ! {
    std::panic::resume_unwind(Box::new("the stand-in hangs up"))
}

fn set(headers: &mut HeaderMap, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sandbox() -> (OpenAiSandbox, reqwest::Client) {
        // Fails if a provider is installed already, which is just as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let sandbox = OpenAiSandbox::start(Settings::default()).await.expect("a free port");
        (sandbox, reqwest::Client::builder().build().expect("a client"))
    }

    async fn post(sandbox: &OpenAiSandbox, http: &reqwest::Client, body: &Value) -> (u16, HeaderMap, String) {
        let request = http.post(format!("{}/responses", sandbox.base_url())).bearer_auth("sk-sandbox");
        let response = request.body(body.to_string()).send().await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        (status, headers, response.text().await.expect("a body"))
    }

    /// The JSON in the `data:` lines of a stream.
    fn events(body: &str) -> Vec<Value> {
        let data = body.lines().filter_map(|line| line.strip_prefix("data: "));
        data.map(|data| serde_json::from_str(data).expect("JSON")).collect()
    }

    #[tokio::test]
    async fn a_stream_has_the_documented_order() {
        let (sandbox, http) = sandbox().await;
        sandbox.script(Script::Text("Hello there".into()));
        let (status, headers, body) =
            post(&sandbox, &http, &json!({ "model": "gpt-6-luna", "input": "hi", "stream": true })).await;
        assert_eq!(status, 200);
        for name in
            ["x-request-id", "openai-processing-ms", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-requests"]
        {
            assert!(headers.contains_key(name), "{name}");
        }
        let events = events(&body);
        let kinds: Vec<&str> = events.iter().filter_map(|event| event["type"].as_str()).collect();
        assert_eq!(
            kinds,
            [
                "response.created",
                "response.in_progress",
                "response.output_item.added",
                "response.output_item.done",
                "response.output_item.added",
                "response.content_part.added",
                "response.output_text.delta",
                "response.output_text.delta",
                "response.output_text.done",
                "response.content_part.done",
                "response.output_item.done",
                "response.completed",
            ]
        );
        for (event, number) in events.iter().zip(0..) {
            assert_eq!(event["sequence_number"], number);
        }
        assert_eq!(events[6]["delta"], "Hello ");
        assert!(events[6]["obfuscation"].is_string(), "on unless switched off");
        assert_eq!(events[2]["item"]["type"], "reasoning");
        let response = &events[11]["response"];
        assert_eq!(response["output"][1]["content"][0]["text"], "Hello there");
        assert_eq!(
            response["usage"]["total_tokens"],
            sandbox.charged()[0].usage.input + sandbox.charged()[0].usage.output
        );
    }

    #[tokio::test]
    async fn without_a_stream_it_is_one_object() {
        let (sandbox, http) = sandbox().await;
        let (status, _, body) = post(&sandbox, &http, &json!({ "model": "gpt-4.1", "input": "hello" })).await;
        let body: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(
            (status, &body["status"], &body["output"][0]["type"]),
            (200, &json!("completed"), &json!("message"))
        );
        sandbox.script(Script::ErrorEvent { nested: false, code: "server_error".into() });
        let (status, _, _) = post(&sandbox, &http, &json!({ "model": "gpt-4.1", "input": "hello" })).await;
        assert_eq!(status, 500);
        assert_eq!(sandbox.charged().len(), 2);
    }

    #[tokio::test]
    async fn what_is_not_there_or_not_allowed() {
        let (sandbox, http) = sandbox().await;
        let get = async |path: &str, key: &str| {
            let response = http.get(format!("{}{path}", sandbox.base_url())).bearer_auth(key).send().await;
            let response = response.expect("an answer");
            (response.status().as_u16(), response.json::<Value>().await.expect("JSON"))
        };
        let (status, list) = get("/models", "sk-sandbox").await;
        assert_eq!((status, list["data"].as_array().map(Vec::len)), (200, Some(Settings::default().models.len())));
        let (status, body) = get("/models", "sk-wrong-secret").await;
        assert_eq!((status, &body["error"]["code"]), (401, &json!("invalid_api_key")));
        assert!(!body.to_string().contains("secret"));
        assert_eq!(get("/models/gpt-9", "sk-sandbox").await.1["error"]["code"], "model_not_found");
        assert_eq!(get("/chat/completions", "sk-sandbox").await.0, 404);
        let (status, _, body) = post(&sandbox, &http, &json!("not an object")).await;
        assert_eq!(status, 400, "{body}");
    }
}
