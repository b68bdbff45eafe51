//! Loopback stand-ins that speak the real wire protocols, as strict as the real services. Owns what all
//! of them share: being served, the log of what they were asked, the faults they are told to make.
//! The product never knows that it talks to one; only URLs differ.

pub mod apify;
pub mod discord;
pub mod gemini;
pub mod hand;
pub mod n8n;
pub mod openai;
pub mod scripts;
pub mod telegram;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::http::HeaderName;
use axum::middleware::map_response_with_state;
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

/// What one request was.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    /// Path without host; secrets in it are replaced by `***`.
    pub path: String,
    /// The JSON body, or null.
    pub body: Value,
}

/// What a sandbox in a process of its own says when it is ready.
#[derive(Debug, Deserialize, Serialize)]
pub struct Ready {
    /// What a bot needs to be pointed at it.
    pub environment: Vec<(String, String)>,
    /// What makes n8n a lane, too.
    pub workflow: Vec<(String, String)>,
    /// Where people's hands are moved.
    pub hand: String,
}

/// A fault for the next request that matches.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This answer instead of the real one.
    Answer { status: u16, headers: Vec<(String, String)>, body: String },
    /// No answer for so long, then the real one.
    Slow(Duration),
    /// The connection is closed without an answer; the request was NOT carried out.
    Drop,
    /// The request is carried out, but the connection is closed without an answer.
    DropAfter,
    /// The answer breaks off in the middle.
    Cut,
}

impl Fault {
    /// As it is counted.
    fn kind(&self) -> String {
        match self {
            Fault::Answer { status, .. } => status.to_string(),
            Fault::Slow(_) => "slow".to_owned(),
            Fault::Drop => "connection lost".to_owned(),
            Fault::DropAfter => "carried out but not answered".to_owned(),
            Fault::Cut => "answer cut".to_owned(),
        }
    }
}

/// What a stand-in is told from outside and what it tells: shared by the server and its owner.
#[derive(Clone, Debug, Default)]
pub struct Control(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    asked: Vec<Asked>,
    /// When each of them came.
    at: Vec<Instant>,
    /// A fault, and the part of the path it waits for.
    faults: VecDeque<(String, Fault)>,
    /// How many requests met which kind of fault.
    met: BTreeMap<String, usize>,
    /// Requests refused because there were too many of them.
    refused: usize,
    /// Who hears of each request as it arrives.
    follower: Option<mpsc::UnboundedSender<(Instant, Asked)>>,
    /// Who hears of what the bot puts on screens.
    watcher: Option<mpsc::UnboundedSender<(Instant, Stood)>>,
}

/// A message of the bot's as it stands on a screen from now on, or that it is at work: what a platform took, not what it was
/// asked.
#[derive(Clone, Debug)]
pub struct Stood {
    /// Only that the bot is at work: no message.
    pub typing: bool,
    pub chat: String,
    pub message: String,
    pub text: String,
    pub buttons: usize,
    pub is_edit: bool,
}

impl Stood {
    /// The bot is seen at work in a chat.
    pub fn typing(chat: impl ToString) -> Stood {
        let (message, text) = (String::new(), String::new());
        Stood { typing: true, chat: chat.to_string(), message, text, buttons: 0, is_edit: false }
    }
}

impl Control {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The next request whose path contains `path` meets `fault`. Faults queue up.
    pub fn fault(&self, path: &str, fault: Fault) {
        self.lock().faults.push_back((path.to_owned(), fault));
    }

    /// How many faults wait for their requests.
    pub fn faults_waiting(&self) -> usize {
        self.lock().faults.len()
    }

    /// Takes back the faults that still wait.
    pub fn calm(&self) {
        self.lock().faults.clear();
    }

    /// For the server: notes a request and takes the fault that waits for it, if any.
    pub fn ask(&self, asked: Asked) -> Option<Fault> {
        let mut state = self.lock();
        let at = state.faults.iter().position(|(path, _)| asked.path.contains(path.as_str()));
        let fault = at.and_then(|at| state.faults.remove(at)).map(|(_, fault)| fault);
        if let Some(fault) = &fault {
            *state.met.entry(fault.kind()).or_default() += 1;
        }
        match &state.follower {
            // A load test makes too many to keep.
            Some(follower) => drop(follower.send((Instant::now(), asked))),
            None => {
                state.asked.push(asked);
                state.at.push(Instant::now());
            }
        }
        drop(state);
        self.0.changed.notify_waiters();
        fault
    }

    /// Answers one request of plain HTTP: notes it, and lets `carry_out` answer unless a fault waits for it.
    pub async fn answer(&self, asked: Asked, carry_out: impl Future<Output = Response>) -> Response {
        match self.ask(asked) {
            None => carry_out.await,
            Some(Fault::Answer { status, headers, body }) => {
                let mut response = Response::new(Body::from(body));
                *response.status_mut() = axum::http::StatusCode::from_u16(status).unwrap_or_default();
                for (name, value) in headers {
                    if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse()) {
                        response.headers_mut().insert(name, value);
                    }
                }
                response
            }
            Some(Fault::Slow(pause)) => {
                tokio::time::sleep(pause).await;
                carry_out.await
            }
            Some(Fault::Drop) => unanswered(),
            Some(Fault::DropAfter) => {
                carry_out.await;
                unanswered()
            }
            Some(Fault::Cut) => cut(carry_out.await).await,
        }
    }

    /// How many requests met which kind of fault.
    pub fn met(&self) -> BTreeMap<String, usize> {
        self.lock().met.clone()
    }

    /// From here on every request goes to the returned end, with the moment of its arrival, instead of into the log.
    pub fn follow(&self) -> mpsc::UnboundedReceiver<(Instant, Asked)> {
        let (follower, followed) = mpsc::unbounded_channel();
        self.lock().follower = Some(follower);
        followed
    }

    /// For the server: the bot has put this on a screen.
    pub fn stand(&self, stood: impl FnOnce() -> Stood) {
        if let Some(watcher) = &self.lock().watcher {
            // Whoever watched may have stopped.
            let _ = watcher.send((Instant::now(), stood()));
        }
    }

    /// From here on the returned end hears of what the bot puts on screens.
    pub fn watch(&self) -> mpsc::UnboundedReceiver<(Instant, Stood)> {
        let (watcher, watched) = mpsc::unbounded_channel();
        self.lock().watcher = Some(watcher);
        watched
    }

    /// From here on requests are not kept: there will be too many.
    pub fn forget(&self) {
        drop(self.follow());
        self.lock().asked = Vec::new();
        self.lock().at = Vec::new();
    }

    /// Everything asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.lock().asked.clone()
    }

    /// Everything asked so far, with the time it came.
    pub fn timed(&self) -> Vec<(Instant, Asked)> {
        let state = self.lock();
        state.at.iter().copied().zip(state.asked.iter().cloned()).collect()
    }

    /// How many requests had this in their path.
    pub fn count(&self, path: &str) -> usize {
        self.lock().asked.iter().filter(|a| a.path.contains(path)).count()
    }

    /// For the server: a request was refused for its rate (HTTP 429), not by a [`Fault`].
    pub fn refuse(&self) {
        self.lock().refused += 1;
    }

    /// How many requests were refused for their rate.
    pub fn refused(&self) -> usize {
        self.lock().refused
    }

    /// Waits until `seen` holds of what was asked. For tests: it has no timeout of its own.
    pub async fn until(&self, seen: impl Fn(&[Asked]) -> bool) {
        loop {
            let changed = self.0.changed.notified();
            if seen(&self.lock().asked) {
                return;
            }
            changed.await;
        }
    }

    /// Tells those who wait in [`Control::until`] to look again.
    pub fn touch(&self) {
        self.0.changed.notify_waiters();
    }
}

/// Closes the connection without an answer: hyper gives a connection up, its head unsent, when the
/// first frame of the body fails.
pub fn unanswered() -> Response {
    Body::from_stream(futures::stream::once(async { Err::<bytes::Bytes, _>(broken()) })).into_response()
}

/// The same answer, broken off in the middle of its body.
pub async fn cut(response: Response) -> Response {
    let (head, body) = response.into_parts();
    let whole = to_bytes(body, 64 << 20).await.unwrap_or_default();
    let half = whole.slice(..whole.len() / 2);
    let body = futures::stream::unfold(Some(half), |rest| async move {
        match rest {
            Some(half) if !half.is_empty() => Some((Ok(half), Some(bytes::Bytes::new()))),
            Some(_) => {
                // The pause lets hyper send what it has before the connection breaks.
                tokio::time::sleep(Duration::from_millis(10)).await;
                Some((Err(broken()), None))
            }
            None => None,
        }
    });
    Response::from_parts(head, Body::from_stream(body))
}

fn broken() -> std::io::Error {
    std::io::Error::other("the stand-in was told to break this connection")
}

/// One running stand-in: where it listens, and its end when dropped.
#[derive(Debug)]
pub struct Served {
    pub addr: SocketAddr,
    /// By how many seconds its clock is ahead, as its `Date` headers tell it.
    pub clock_ahead_s: Arc<AtomicI64>,
    stop: CancellationToken,
}

impl Served {
    /// `http://127.0.0.1:port`, without a trailing slash.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Serves `router` on `127.0.0.1:port` (0: any free port).
    ///
    /// # Errors
    /// When the port is taken.
    #[expect(clippy::disallowed_methods, reason = "a stand-in lives apart from the app, as the real service does")]
    pub async fn start(port: u16, router: axum::Router) -> std::io::Result<Served> {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
        let addr = listener.local_addr()?;
        // The real services do not hold small writes back for 40 ms either.
        let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
        let clock_ahead_s = Arc::new(AtomicI64::new(0));
        let router = router.layer(map_response_with_state(clock_ahead_s.clone(), date));
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                served = async { axum::serve(listener, router).await } => {
                    if let Err(error) = served {
                        tracing::error!(%error, "a sandbox server ended");
                    }
                }
                () = stopped.cancelled() => {}
            }
        });
        Ok(Served { addr, clock_ahead_s, stop })
    }
}

/// A clock that is right is told by the server itself.
#[expect(clippy::disallowed_methods, reason = "a stand-in uses no product module, the clock among them")]
async fn date(ahead_s: axum::extract::State<Arc<AtomicI64>>, mut response: Response) -> Response {
    let ahead_s = ahead_s.load(Ordering::Relaxed);
    if ahead_s != 0 {
        let told =
            (chrono::Utc::now() + chrono::TimeDelta::seconds(ahead_s)).format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        if let Ok(told) = told.parse() {
            response.headers_mut().insert(axum::http::header::DATE, told);
        }
    }
    response
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// How the whole sandbox is started.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The first port; each stand-in takes the next one. 0: any free ones.
    pub port: u16,
    /// How many times faster than usual everything answers. At 1 a reel takes about 8 s; infinity: at once.
    pub speed: f64,
    /// Whether the platforms hold the bot to their published rates.
    pub enforce_limits: bool,
}

/// What the outside world takes and allows, where a load test sets it apart from [`Settings::speed`].
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Terms {
    /// The model's first visible piece, and each further one, in seconds.
    pub first_token: f64,
    pub per_token: f64,
    /// Apify's run, Gemini's answer, a file's activation there, an n8n workflow, in seconds.
    pub scrape: f64,
    /// How long after a run Apify still tells its cost as nothing, in seconds.
    #[serde(default)]
    pub settles: f64,
    pub analysis: f64,
    pub activation: f64,
    pub workflow: f64,
    /// By which part of the usual time a reel is scraped, analysed or worked through faster or slower than another.
    #[serde(default)]
    pub spread: f64,
    /// OpenAI's requests and tokens a minute; `None`: as many as you like.
    pub rpm: Option<u32>,
    pub tpm: Option<u64>,
    /// Messages a second that Telegram takes from the bot in all.
    pub telegram_per_second: f64,
    /// And in one chat.
    #[serde(default = "one")]
    pub telegram_per_chat: f64,
}

fn one() -> f64 {
    1.0
}

impl Terms {
    /// The usual ones, so many times faster.
    pub fn at(speed: f64) -> Terms {
        let at = |seconds: f64| seconds / speed.max(0.001);
        Terms {
            first_token: at(0.6),
            per_token: at(0.012),
            scrape: at(2.5),
            settles: at(8.0),
            analysis: at(5.0),
            activation: at(0.5),
            workflow: at(8.0),
            spread: 0.0,
            rpm: None,
            tpm: None,
            telegram_per_second: 30.0,
            telegram_per_chat: 1.0,
        }
    }
}

/// Every stand-in at once.
pub struct Sandbox {
    pub openai: Arc<openai::OpenAiSandbox>,
    pub apify: Arc<apify::ApifySandbox>,
    pub gemini: Arc<gemini::GeminiSandbox>,
    pub n8n: Arc<n8n::N8nSandbox>,
    pub telegram: Arc<telegram::TelegramSandbox>,
    pub discord: Arc<discord::DiscordSandbox>,
    /// Where people speak and look over HTTP.
    pub hand: Served,
}

/// Keys that only the sandbox takes.
const OPENAI_KEY: &str = "sk-sandbox";
const APIFY_TOKEN: &str = "apify_api_sandbox";
const GEMINI_KEY: &str = "AIza-sandbox";
const N8N_SECRET: &str = "n8n-sandbox";
const TELEGRAM_TOKEN: &str = "1234567890:AAsandboxsandboxsandboxsandboxsandb";
const DISCORD_TOKEN: &str = "MTIzNDU2Nzg5MDEyMzQ1Njc4.sandbo.sandboxsandboxsandboxsandboxsandboxsan";

impl Sandbox {
    /// Starts all stand-ins.
    ///
    /// # Errors
    /// When a port is taken.
    pub async fn start(settings: Settings) -> std::io::Result<Sandbox> {
        Self::start_on(settings, Terms::at(settings.speed)).await
    }

    /// Starts all stand-ins on these terms, whatever the settings' speed is.
    ///
    /// # Errors
    /// When a port is taken.
    pub async fn start_on(settings: Settings, terms: Terms) -> std::io::Result<Sandbox> {
        let at = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or_default();
        let port = |offset: u16| if settings.port == 0 { 0 } else { settings.port.saturating_add(offset) };
        let telegram = telegram::TelegramSandbox::start(telegram::Settings {
            port: port(4),
            token: TELEGRAM_TOKEN.into(),
            enforce_limits: settings.enforce_limits,
            per_second: terms.telegram_per_second,
            per_chat: terms.telegram_per_chat,
        });
        let discord = discord::DiscordSandbox::start(discord::Settings {
            port: port(5),
            token: DISCORD_TOKEN.into(),
            enforce_limits: settings.enforce_limits,
            ..discord::Settings::default()
        });
        let (telegram, discord) = (Arc::new(telegram.await?), Arc::new(discord.await?));
        let openai = openai::OpenAiSandbox::start(openai::Settings {
            port: port(0),
            api_key: OPENAI_KEY.into(),
            first_token: at(terms.first_token),
            per_token: at(terms.per_token),
            rpm: terms.rpm,
            tpm: terms.tpm,
            ..openai::Settings::default()
        });
        let apify = apify::ApifySandbox::start(apify::Settings {
            port: port(1),
            token: APIFY_TOKEN.into(),
            scrape: at(terms.scrape),
            spread: terms.spread,
            settles: at(terms.settles),
            ..apify::Settings::default()
        });
        let gemini = gemini::GeminiSandbox::start(gemini::Settings {
            port: port(2),
            api_key: GEMINI_KEY.into(),
            analysis: at(terms.analysis),
            spread: terms.spread,
            activation: at(terms.activation),
        });
        let n8n = n8n::N8nSandbox::start(n8n::Settings {
            port: port(3),
            secret: N8N_SECRET.into(),
            duration: at(terms.workflow),
            spread: terms.spread,
        });
        let (openai, apify) = (Arc::new(openai.await?), Arc::new(apify.await?));
        let (gemini, n8n) = (Arc::new(gemini.await?), Arc::new(n8n.await?));
        let hand = hand::Hand::new(
            telegram.clone(),
            discord.clone(),
            openai.clone(),
            apify.clone(),
            gemini.clone(),
            n8n.clone(),
        );
        let hand = Served::start(port(6), hand::router(hand)).await?;
        Ok(Sandbox { openai, apify, gemini, n8n, telegram, discord, hand })
    }

    /// For many requests: they are not kept.
    pub fn forget(&self) {
        let n8n = &self.n8n.control;
        for control in [&self.openai.control, &self.apify.control, &self.gemini.control, n8n] {
            control.forget();
        }
        self.telegram.control.forget();
        self.discord.control.forget();
    }

    /// The variables that add an n8n lane.
    pub fn n8n_environment(&self) -> Vec<(String, String)> {
        vec![("N8N_WEBHOOK_URLS".into(), self.n8n.webhook_url()), ("N8N_SECRET".into(), N8N_SECRET.into())]
    }

    /// The variables that point a bot at it, without n8n.
    pub fn environment(&self) -> Vec<(String, String)> {
        [
            ("OPENAI_API_KEY", OPENAI_KEY.to_owned()),
            ("OPENAI_BASE_URL", self.openai.base_url()),
            ("APIFY_TOKEN", APIFY_TOKEN.to_owned()),
            ("APIFY_BASE_URL", self.apify.served.url()),
            ("MEDIA_ORIGINS", self.apify.served.url()),
            ("INSTAGRAM_URL", self.apify.served.url()),
            ("GEMINI_API_KEY", GEMINI_KEY.to_owned()),
            ("GEMINI_BASE_URL", self.gemini.served.url()),
            ("TELEGRAM_TOKEN", TELEGRAM_TOKEN.to_owned()),
            ("TELEGRAM_API_URL", self.telegram.served.url()),
            ("DISCORD_TOKEN", DISCORD_TOKEN.to_owned()),
            ("DISCORD_API_URL", self.discord.served.url()),
            ("DISCORD_MESSAGE_CONTENT", "true".to_owned()),
            // Nobody there is a stranger.
            ("DISCORD_ACCESS", "open".to_owned()),
            ("TELEGRAM_ACCESS", "open".to_owned()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }
}
