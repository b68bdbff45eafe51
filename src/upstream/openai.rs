//! The client for one streamed call of OpenAI's Responses API, and for looking a model up. Owns the wire:
//! what is sent, how the event stream is read, what counts as a failure and what is tried again. Never
//! runs a tool, never keeps a conversation (`store` is always false), never reads the environment.
//!
//! Only what cost nothing is tried again here: whoever asks has set the cost of one attempt aside. One that failed and
//! cost something is theirs to repeat ([`OpenAi::again`]), once they have paid it. Nothing is tried again once a part of
//! the answer was shown, because a second answer would not continue the first one.
//!
//! Privacy: async-openai logs an event that is not JSON, whole, under the target `async_openai::error`.
//! Telemetry must filter `async_openai=off`. HTTP error bodies never reach it: they are turned into a
//! [`Failure`] in the middleware, which keeps the type, code and parameter and drops the message.

mod arrival;
mod effort;
mod lane;
mod lost;
mod meter;
mod pacer;
mod refused;
mod request;
mod stream;
mod tokens;
#[cfg(test)]
mod quota_tests;
#[cfg(test)]
mod thought_tests;
#[cfg(test)]
mod wire_tests;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_openai::Client;
use async_openai::config::Config;
use async_openai::error::OpenAIError;
use async_openai::middleware::HttpRequestFactory;
use futures::StreamExt;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout, timeout_at};

use self::arrival::LastByte;
use self::pacer::{Admitted, Pacer};
use self::request::{Request, charged_tokens, thinks};
use self::stream::{Gathered, Step};
use crate::clock::Clock;
use crate::upstream::{Cause, Failure, Provider, RetryPolicy, Usage, retry};

pub use self::effort::{Deadlines, efforts};
pub use self::lane::Limits;
pub use self::lost::LostConnections;
pub use self::meter::Meter;
pub use self::pacer::QuotaSettings;
pub use crate::config::Effort;

/// Refusals for the rate that one call waits out, however short the pauses are.
const MOST_REFUSALS: u32 = 10;

/// The longest time that a question about a model takes.
const LOOK_UP: Duration = Duration::from_secs(60);

/// Where and how OpenAI is called.
#[derive(Clone, Debug)]
pub struct Settings {
    /// With the version and without a trailing slash: `https://api.openai.com/v1`.
    pub base_url: String,
    pub api_key: SecretString,
    pub retry: RetryPolicy,
    /// How long a call of this effort may take: [`Deadlines::of`].
    pub deadlines: fn(Option<Effort>) -> Deadlines,
    pub quota: QuotaSettings,
}

/// What is heard of a call while it goes on.
#[derive(Clone, Copy, Debug)]
pub enum Heard<'a> {
    /// It waits for its turn; this is how long that will probably take. Said again and again.
    Waits(Duration),
    /// The request leaves now: from here on it costs what its meter shows.
    Leaves(&'a Arc<Meter>),
    /// The attempt is over and has cost this; `None`: nothing. It may be tried again.
    Ended(Option<Usage>),
    /// A piece of visible text.
    Text(&'a str),
    /// The whole visible text in the end, which is another one than was heard.
    Revised(&'a str),
}

/// What one call asks.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    pub model: String,
    pub instructions: Arc<str>,
    pub input: Arc<Vec<Item>>,
    pub tools: Arc<[ToolSpec]>,
    pub tool_choice: ToolChoice,
    /// `None`: the model's own default.
    pub effort: Option<Effort>,
    /// At least 16; the reasoning counts too.
    pub max_output_tokens: u32,
    /// Keeps one customer's prompt cache apart from another's; opaque.
    pub cache_key: String,
    /// Stands for the person who asks; hashed, at most 128 characters.
    pub safety_id: String,
}

/// One item of the input.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    User(String),
    Assistant(String),
    /// Instructions in the middle of a conversation (role `developer`).
    System(String),
    /// An output item of an earlier reply, as it came.
    Raw(Value),
    ToolOutput {
        call_id: String,
        output: String,
    },
}

/// A function the model may call. Always strict: `parameters` must forbid additional properties and
/// require every property.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolSpec {
    pub name: &'static str,
    pub description: &'static str,
    /// JSON Schema.
    pub parameters: Value,
}

/// Whether the model may call the tools that it is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolChoice {
    Auto,
    None,
}

/// A call of a function that the model asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCall {
    /// Ties [`Item::ToolOutput`] to this call.
    pub call_id: String,
    pub name: String,
    /// JSON, as the model wrote it.
    pub arguments: String,
}

/// What the model answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// As the final response has it, or exactly what was heard; several messages are parted by an empty line.
    pub text: String,
    /// The model declined; this is what it says about that. It was not heard.
    pub refusal: Option<String>,
    /// Complete calls only: one that an incomplete answer cut is left out.
    pub calls: Vec<ToolCall>,
    /// All output items in order, for replay ([`Item::Raw`]) before the tool outputs.
    pub items: Vec<Value>,
    /// Of the attempt that was answered; those before it were free.
    pub usage: Usage,
    pub ending: Ending,
    pub request_id: Option<String>,
    /// The model that answered, by OpenAI's account.
    pub model: String,
}

/// How an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    Completed,
    /// The reason: `max_output_tokens`, `content_filter`, … The text may be empty.
    Incomplete(String),
}

/// A model as `GET /v1/models/{id}` tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    pub id: String,
    /// `YYYY-MM-DD`, once OpenAI has set one.
    pub shutdown_date: Option<String>,
}

/// The client. Cheap to clone.
#[derive(Clone, Debug)]
pub struct OpenAi {
    http: reqwest::Client,
    clock: Clock,
    settings: Arc<Settings>,
    access: Access,
    pacer: Arc<Pacer>,
}

impl OpenAi {
    pub fn new(http: reqwest::Client, clock: Clock, settings: Settings) -> Self {
        let access = Access::new(settings.base_url.clone(), settings.api_key.clone());
        let pacer = Arc::new(Pacer::new(settings.quota));
        Self { http, clock, settings: Arc::new(settings), access, pacer }
    }

    /// From now on so many instances share the provider's quotas.
    pub fn share_between(&self, instances: u32) {
        self.pacer.share_between(instances);
    }

    /// One model call, streamed: first it waits for its turn within the model's quota, in the order of arrival. `hear`
    /// gets each piece of visible text as soon as it arrives. Attempts that cost nothing are repeated; at most one is
    /// paid, so that the worst case is that of one request. `lost` goes through all calls for one message. Dropping the
    /// future ends the request at OpenAI too.
    ///
    /// # Errors
    /// `Cause::Crowded`: it would wait too long for its turn, and was not made. Every failure carries what its last attempt
    /// used, as far as OpenAI told it or it can be estimated; nothing: it was free. If text was shown before the failure,
    /// it stays shown: the caller says that the rest is missing.
    pub async fn respond(
        &self,
        ask: &Ask,
        lost: &LostConnections,
        hear: &mut (dyn FnMut(Heard<'_>) + Send),
    ) -> Result<Reply, Failure> {
        let Request { json, input_tokens } = written(ask)?;
        let ticket = self.pacer.ticket();
        let call = Mutex::new(Call { hear, ticket, since: None, json: Some(json), input_tokens, lost, open: None });
        let may_repeat = |failure: &Failure| repeatable(failure) && lost.count() < self.settings.retry.attempts;
        let again =
            |failure: &Failure| may_repeat(failure) && failure.usage.is_none() && refused::pause(failure).is_none();
        let attempts = async {
            let (began, mut refusals) = (Instant::now(), 0);
            loop {
                let ended = retry(self.settings.retry, again, |_| self.attempt(ask, &call)).await;
                // A pause that the service asks for is waited for in the order, like any other wait, and within its bound.
                let pause = ended.as_ref().err().and_then(refused::pause);
                let longest = self.settings.quota.longest_wait;
                match pause {
                    Some(pause) if refusals < MOST_REFUSALS && began.elapsed() + pause <= longest => refusals += 1,
                    _ => return ended,
                }
                call.lock().await.since = Some(began);
            }
        };
        let ended = timeout((self.settings.deadlines)(ask.effort).total, attempts).await;
        ended.unwrap_or_else(|_| {
            let mut failure = late("total_timeout");
            if let Some(open) = call.into_inner().open.take() {
                failure = used(failure, open.meter.usage(Instant::now()));
                failure.request_id = open.request_id.get().cloned();
            }
            Err(failure)
        })
    }

    /// The pause after which a call that failed and cost something may be made again, if nothing of its answer was shown:
    /// `attempt` counts the calls that were paid, from 1; `took`: how long ago the first one began. `None`: no more.
    pub fn again(&self, ask: &Ask, failure: &Failure, attempt: u32, took: Duration) -> Option<Duration> {
        let retry = self.settings.retry;
        let pause = failure.cause.retry_after().unwrap_or(retry.first_pause * attempt).min(retry.longest_pause);
        let may = repeatable(failure) && failure.usage.is_some() && attempt < retry.attempts;
        (may && took + pause < (self.settings.deadlines)(ask.effort).total).then_some(pause)
    }

    /// Looks a model up: `GET /v1/models/{id}`.
    ///
    /// # Errors
    /// `Cause::NotFound` if there is no such model, or not for this key.
    pub async fn model(&self, id: &str) -> Result<Model, Failure> {
        retry(self.settings.retry, repeatable, |_| self.look_up(id)).await
    }

    async fn look_up(&self, id: &str) -> Result<Model, Failure> {
        let mut url = reqwest::Url::parse(&self.access.url("/models"))
            .map_err(|_| fail(Cause::BadRequest, "the base URL is not a URL"))?;
        if let Ok(mut path) = url.path_segments_mut() {
            path.push(id);
        }
        let request = self.http.get(url).headers(self.access.headers()).timeout(LOOK_UP);
        let response = request.send().await.map_err(|error| transport(&error))?;
        if !response.status().is_success() {
            return Err(refused::answer(response, id, self.clock.now()).await);
        }
        let request_id = request_id(response.headers());
        let malformed = |detail: &str| Failure { request_id: request_id.clone(), ..fail(Cause::Malformed, detail) };
        let bytes = response.bytes().await.map_err(|error| transport(&error))?;
        let model: Value = serde_json::from_slice(&bytes).map_err(|_| malformed("the model is not JSON"))?;
        let id = model["id"].as_str().ok_or_else(|| malformed("the model has no id"))?;
        Ok(Model { id: id.to_owned(), shutdown_date: model["shutdown_date"].as_str().map(str::to_owned) })
    }

    /// One request and its stream.
    async fn attempt(&self, ask: &Ask, call: &Mutex<Call<'_>>) -> Result<Reply, Failure> {
        let call = &mut *call.lock().await;
        let tokens = charged_tokens(ask, call.input_tokens);
        let admitted = self
            .pacer
            .admit(&ask.model, call.ticket, tokens, call.since, |left| (call.hear)(Heard::Waits(left)))
            .await?;
        let meter = Arc::new(Meter::new(call.input_tokens, ask.max_output_tokens, thinks(ask)));
        (call.hear)(Heard::Leaves(&meter));
        let request_id = Arc::default();
        call.open = Some(Open { request_id: Arc::clone(&request_id), meter: Arc::clone(&meter) });
        let mut gathered = Gathered::new(Arc::clone(&meter));
        let ended = self.stream(ask, admitted, Arc::clone(&request_id), &meter, &mut gathered, call).await;
        call.open = None;
        let request_id = request_id.get().cloned();
        let replied = ended.and_then(|terminal| gathered.reply(&terminal, ask, request_id.clone(), Instant::now()));
        (call.hear)(Heard::Ended(match &replied {
            Ok(reply) => Some(reply.usage),
            Err(failure) => failure.usage.as_deref().copied(),
        }));
        replied.map_err(|mut failure| {
            failure.request_id = failure.request_id.or(request_id);
            failure
        })
    }

    /// Reads the stream to its terminal event.
    async fn stream(
        &self,
        ask: &Ask,
        admitted: Admitted,
        request_id: Arc<OnceLock<String>>,
        meter: &Meter,
        gathered: &mut Gathered,
        call: &mut Call<'_>,
    ) -> Result<stream::Terminal, Failure> {
        let Call { hear, json, lost, input_tokens, .. } = call;
        let last_byte = LastByte::default();
        let client = self.client(ask.model.clone(), admitted, request_id, last_byte.clone());
        let responses = client.responses();
        let silence = (self.settings.deadlines)(ask.effort).silence;
        let sent = Instant::now();

        // Gone before the model thinks: of many who wait for it at a time, each would hold what it sent.
        let body = match json.take() {
            Some(body) => body,
            None => written(ask)?.json,
        };
        let opened = timeout_at(sent + silence, responses.create_stream_byot::<_, Value>(&body)).await;
        drop(body);
        let mut events = match opened {
            Ok(Ok(events)) => events,
            Ok(Err(error)) => return Err(unopened(error, lost, *input_tokens)),
            Err(_) => return Err(used(late("first_event_timeout"), meter.usage(Instant::now()))),
        };
        let mut latest = sent;
        loop {
            let event = match timeout_at(latest + silence, events.next()).await {
                // Bytes came that are no event: a comment, or a sign that the model still thinks.
                Err(_) if last_byte.at().is_some_and(|at| at > latest) => {
                    latest = last_byte.at().unwrap_or(latest);
                    continue;
                }
                Err(_) => {
                    let awaited = if gathered.events == 0 { "first_event_timeout" } else { "idle_timeout" };
                    return Err(used(late(awaited), meter.usage(Instant::now())));
                }
                Ok(Some(Ok(event))) => event,
                // Not JSON: whatever it was, a stream that it mattered to has no terminal event.
                Ok(Some(Err(OpenAIError::JSONDeserialize(..)))) => {
                    stream::count_unknown();
                    Value::Null
                }
                Ok(Some(Err(_)) | None) => {
                    let detail = format!("the stream ended without a terminal event, after {} events", gathered.events);
                    return Err(used(fail(Cause::Cut, detail), meter.usage(Instant::now())));
                }
            };
            latest = Instant::now();
            match gathered.take(&event, latest) {
                Step::Nothing => {}
                Step::Text(text) => hear(Heard::Text(&text)),
                Step::Ended(terminal) => {
                    if let Some(text) = gathered.conclude(&terminal) {
                        hear(Heard::Revised(&text));
                    }
                    return Ok(terminal);
                }
                Step::Failed(failure) => {
                    self.hold_back(&ask.model, &failure);
                    return Err(used(failure, gathered.usage_of_failure(&event, latest)));
                }
            }
        }
    }

    /// async-openai's client for one attempt: our own headers, no retries of its own, and every answer
    /// that is not a stream turned into a [`Failure`] before async-openai reads (and logs) it.
    fn client(
        &self,
        model: String,
        admitted: Admitted,
        id: Arc<OnceLock<String>>,
        last_byte: LastByte,
    ) -> Client<Access> {
        let (this, admitted) = (self.clone(), Arc::new(admitted));
        let service = tower::service_fn(move |factory: HttpRequestFactory| {
            let (this, model, id) = (this.clone(), model.clone(), Arc::clone(&id));
            let (admitted, last_byte) = (Arc::clone(&admitted), last_byte.clone());
            async move {
                let mut request = factory.build().await?;
                if let Ok(value) = HeaderValue::from_str(&uuid::Uuid::new_v4().to_string()) {
                    request.headers_mut().insert("x-client-request-id", value);
                }
                let response = this.http.execute(request).await?;
                admitted.answered(response.status(), response.headers());
                if let Some(given) = request_id(response.headers()) {
                    id.get_or_init(|| given);
                }
                if response.status().is_success() && is_event_stream(response.headers()) {
                    return Ok(last_byte.watch(response));
                }
                let failure = refused::answer(response, &model, this.clock.now()).await;
                this.hold_back(&model, &failure);
                Err(OpenAIError::Boxed(Box::new(failure)))
            }
        });
        Client::build(self.http.clone(), self.access.clone()).with_http_service(service)
    }

    /// After a refusal for the rate, everybody who asks the same model waits.
    fn hold_back(&self, model: &str, failure: &Failure) {
        if let Cause::RateLimited { retry_after } = failure.cause {
            self.pacer.refused(model, retry_after, refused::is_slow_down(failure));
        }
    }
}

/// What the attempts of one call share.
struct Call<'a> {
    hear: &'a mut (dyn FnMut(Heard<'_>) + Send),
    /// Its place in the order.
    ticket: u64,
    /// When it took its place, once it was refused for the rate.
    since: Option<Instant>,
    /// What the first attempt sends.
    json: Option<Box<RawValue>>,
    /// About what each attempt sends.
    input_tokens: u64,
    lost: &'a LostConnections,
    /// The attempt under way.
    open: Option<Open>,
}

struct Open {
    request_id: Arc<OnceLock<String>>,
    meter: Arc<Meter>,
}

/// Where and with which key, for async-openai; its own configuration would read the environment.
#[derive(Clone, Debug)]
struct Access {
    base_url: String,
    api_key: SecretString,
    headers: HeaderMap,
}

impl Access {
    fn new(base_url: String, api_key: SecretString) -> Self {
        let mut headers = HeaderMap::new();
        // A key that cannot be a header is refused by OpenAI (401), like any other wrong key.
        if let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {}", api_key.expose_secret())) {
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Self { base_url, api_key, headers }
    }
}

impl Config for Access {
    fn headers(&self) -> HeaderMap {
        self.headers.clone()
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base_url)
    }

    fn query(&self) -> Vec<(&str, &str)> {
        Vec::new()
    }

    fn api_base(&self) -> &str {
        &self.base_url
    }

    fn api_key(&self) -> &SecretString {
        &self.api_key
    }
}

/// Whether the same call may be made again at once: not after a timeout, which has used up the patience
/// of whoever waits, and not after an answer that makes no sense.
fn repeatable(failure: &Failure) -> bool {
    matches!(failure.cause, Cause::RateLimited { .. } | Cause::Unavailable { .. } | Cause::Cut)
}

fn written(ask: &Ask) -> Result<Request, Failure> {
    Request::of(ask).map_err(|_| fail(Cause::BadRequest, "the request could not be written as JSON"))
}

/// A request that did not become a stream. An answer with an error status is free, and so is a connection that was never
/// made; of those that were lost, `lost` knows.
fn unopened(error: OpenAIError, lost: &LostConnections, input_tokens: u64) -> Failure {
    match error {
        OpenAIError::Boxed(error) => match error.downcast::<Failure>() {
            Ok(failure) => *failure,
            Err(_) => fail(Cause::Unavailable { retry_after: None }, "the request could not be sent"),
        },
        OpenAIError::Reqwest(error) if error.is_connect() || error.is_builder() => transport(&error),
        OpenAIError::Reqwest(error) => used(transport(&error), lost.one_more(input_tokens)),
        OpenAIError::JSONDeserialize(..) | OpenAIError::ApiError(_) => fail(Cause::Malformed, "not an event stream"),
        _ => fail(Cause::BadRequest, "the request could not be built"),
    }
}

fn transport(error: &reqwest::Error) -> Failure {
    if error.is_builder() {
        return fail(Cause::BadRequest, "the request could not be built");
    }
    if error.is_connect() {
        return fail(Cause::Unavailable { retry_after: None }, "no connection");
    }
    fail(crate::upstream::transport_cause(error), "the connection failed")
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(reqwest::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/event-stream"))
}

fn request_id(headers: &HeaderMap) -> Option<String> {
    headers.get("x-request-id")?.to_str().ok().map(refused::plain)
}

fn late(awaited: &str) -> Failure {
    fail(Cause::TimedOut, awaited)
}

fn fail(cause: Cause, detail: impl Into<String>) -> Failure {
    Failure::new(Provider::OpenAi, cause, detail)
}

fn used(failure: Failure, usage: impl Into<Option<Usage>>) -> Failure {
    Failure { usage: usage.into().map(Box::new), ..failure }
}
