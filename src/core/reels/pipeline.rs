//! One reel from its shortcode to its result: scrape, download, analyse. Owns the order of the paid
//! calls, what is reported of them and how each failure ends; knows the clients, never the database.

mod failure;
mod workflow;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::Timestamp;
use crate::config::Origin;
use crate::ids::{JobId, Shortcode};
use crate::upstream::apify::{Apify, Post, RunId, RunStatus, Scraped};
use crate::upstream::gemini::{Analysis, Gemini, Line, Scene};
use crate::upstream::video::{Bounds, Pace, Video};
use crate::upstream::{Cause, Failure, Provider, RetryPolicy, STARTED, Usage, retry};

use self::failure::said;
pub use self::failure::{Fault, LONGEST_LIFETIME, ReelFailure, Stopped};
pub use self::workflow::run_n8n;

/// Stored with every result; a result of another version is made anew.
pub const PIPELINE_VERSION: i64 = 1;

/// How far a reel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Scraping,
    Analysing,
}

/// Which way a result came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Direct,
    N8n,
}

/// A finished reel, stored as JSON text. Every text in it was written or said by strangers: untrusted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reel {
    pub shortcode: Shortcode,
    pub source: Source,
    pub caption: String,
    /// Without `@`; empty where it is not known.
    pub owner: String,
    pub duration_s: Option<f64>,
    pub plays: Option<i64>,
    pub likes: Option<i64>,
    pub comments: Option<i64>,
    /// ISO 8601, UTC.
    pub posted_at: Option<String>,
    pub music: Option<String>,
    pub hashtags: Vec<String>,
    /// BCP 47; empty where nothing is said.
    pub language: String,
    /// Empty where nobody speaks.
    pub transcript: Vec<Line>,
    pub on_screen_text: Vec<Line>,
    pub hook: String,
    pub scenes: Vec<Scene>,
    pub summary: String,
    /// The free text of an n8n workflow, in place of everything from `language` on; empty otherwise.
    pub notes: String,
}

impl Reel {
    /// A time of it, no later than its end: the model that watched it is not to be trusted with numbers.
    pub fn within(&self, seconds: f64) -> f64 {
        seconds.min(self.duration_s.unwrap_or(f64::INFINITY)).max(0.0)
    }
}

/// One paid call.
#[derive(Clone, Debug, PartialEq)]
pub struct Spent {
    pub provider: Provider,
    /// Apify: the actor. Gemini: the model that answered. n8n: `workflow`.
    pub model: String,
    /// `scrape`, `analyse` or `workflow`.
    pub tool: &'static str,
    /// Estimated where the provider did not say: Apify without `charged_micro_usd`, Gemini with a guess
    /// from the length of the video.
    pub usage: Usage,
    /// How many of the input tokens were audio.
    pub audio_tokens: u64,
    /// Unique to the call. A scrape has the id of its run, also when a later attempt picks the run up
    /// again: a second record with the same key is the same money, and better if the first was estimated.
    pub key: String,
    pub latency_ms: u64,
    /// `ok`, or the reason in one word.
    pub outcome: &'static str,
}

impl Spent {
    /// A call that is about to be made, at what it may cost.
    fn begun(provider: Provider, model: &str, tool: &'static str, usage: Usage, key: String) -> Spent {
        Spent { provider, model: model.to_owned(), tool, usage, audio_tokens: 0, key, latency_ms: 0, outcome: STARTED }
    }
}

/// Who is told while a reel is being processed. Each call is awaited before the next step.
#[async_trait]
pub trait Watch: Send + Sync {
    /// A run was started and will be paid: its id must be stored when this returns.
    async fn run_started(&self, run: &str);
    async fn phase(&self, phase: Phase);
    /// A call that costs is about to be made; this is what it may cost. [`Watch::spent`] under the same key replaces it.
    ///
    /// # Errors
    /// It must not be made, for this reason.
    async fn reserve(&self, spent: Spent) -> Result<(), ReelFailure>;
    /// What is reserved under this key is for what is told as `new`.
    async fn rekey(&self, key: &str, new: &str);
    /// What an earlier attempt reserved last under a key that begins so is for `run`, whose id nobody heard. `false` if it
    /// is another call's: it has been settled, or nothing was reserved that it could be for.
    async fn adopt(&self, prefix: &str, run: &str) -> bool;
    /// The call under this key cost nothing.
    async fn unreserve(&self, key: &str);
    async fn spent(&self, spent: Spent);
}

/// The tool that a scrape is in the ledger.
const SCRAPE: &str = "scrape";

/// The longest that a run is looked for whose id nobody heard; then another one is started.
const SEARCH: Duration = Duration::from_secs(15);

/// What earlier attempts at a reel have left behind.
#[derive(Clone, Debug, Default)]
pub struct Earlier {
    /// The Apify run whose id was noted last.
    pub run: Option<String>,
    /// Since when a run may have been started whose id nobody heard; `None` if none can have been.
    pub unheard_since: Option<Timestamp>,
}

/// What is accepted, and from where.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longer videos are refused before the download.
    pub max_seconds: u32,
    pub max_bytes: u64,
    /// Where videos may be downloaded from.
    pub origins: Vec<Origin>,
    /// The longest a download may take, all tries together.
    pub download: Duration,
    /// The slowest a download may be.
    pub slowest: Pace,
    /// How often one address is tried in one attempt.
    pub retry: RetryPolicy,
}

impl Limits {
    /// 15 minutes, 200 MB, 90 s for the download at 16 KiB/s or faster.
    pub fn new(origins: Vec<Origin>) -> Self {
        Self {
            max_seconds: 15 * 60,
            max_bytes: 200_000_000,
            origins,
            download: Duration::from_secs(90),
            slowest: Pace { bytes: 240 << 10, within: Duration::from_secs(15) },
            retry: RetryPolicy { attempts: 2, ..RetryPolicy::STANDARD },
        }
    }
}

/// The direct way: Apify, the video server, Gemini.
#[derive(Clone, Debug)]
pub struct Pipeline {
    apify: Apify,
    gemini: Gemini,
    http: reqwest::Client,
    limits: Limits,
}

impl Pipeline {
    /// `http` downloads the videos; it must not follow redirects by itself.
    pub fn new(apify: Apify, gemini: Gemini, http: reqwest::Client, limits: Limits) -> Self {
        Self { apify, gemini, http, limits }
    }

    /// Processes one reel. A run of an earlier attempt is paid, so it is picked up, and another one is started only if it
    /// came to nothing or its link has expired, and none is found that was started without its id being heard.
    ///
    /// `cancel` aborts a run under way, deletes an uploaded video and reports what was used; the future
    /// must be driven on until it returns, which takes seconds at most.
    pub async fn run(
        &self,
        job: JobId,
        code: &Shortcode,
        earlier: Earlier,
        watch: &dyn Watch,
        cancel: &CancellationToken,
    ) -> Result<Reel, Stopped> {
        let going = Going { job, code, watch, cancel, bought: AtomicBool::new(false) };
        watch.phase(Phase::Scraping).await;
        let mut resume: Option<RunId> = earlier.run.and_then(|run| run.parse().ok());
        let mut unheard_since = earlier.unheard_since;
        let mut is_first = true;
        loop {
            // At most three rounds: the run that was noted, one that nobody heard of, a new one.
            if resume.is_none()
                && let Some(since) = unheard_since.take()
            {
                resume = self.unheard(&going, since).await?;
            }
            let resumed = resume.is_some();
            let run = match resume.take() {
                Some(run) => run,
                None => self.start(&going).await?,
            };
            let Some(scraped) = self.scraped(&going, &run, resumed).await? else {
                is_first = false;
                continue;
            };
            let post = self.acceptable(&going, scraped)?;
            let video = match going.unless_cancelled(self.download(&post)).await? {
                Ok(video) => video,
                Err(failure) if failure.cause == Cause::NotFound && resumed => {
                    is_first = false;
                    continue;
                }
                Err(failure) => {
                    let why = match failure.cause {
                        Cause::NoRoom => ReelFailure::NoRoom,
                        Cause::TooLong => ReelFailure::TooLarge,
                        Cause::BadRequest => ReelFailure::ForeignAddress,
                        Cause::Malformed => ReelFailure::NoVideoAddress,
                        // A fresh link that has expired is a whim of the video server, once.
                        Cause::NotFound if is_first => ReelFailure::UpstreamBusy,
                        // The same address gets no third round.
                        Cause::RateLimited { .. } | Cause::Unavailable { .. } if !resumed => ReelFailure::UpstreamBusy,
                        _ => ReelFailure::Download,
                    };
                    return Err(going.stopped(why, Some(failure)));
                }
            };
            watch.phase(Phase::Analysing).await;
            return self.analysed(&going, *post, &video).await;
        }
    }

    /// Looks for a run that an earlier attempt started, and makes it this one's.
    async fn unheard(&self, going: &Going<'_>, since: Timestamp) -> Result<Option<RunId>, Stopped> {
        let found = tokio::time::timeout(SEARCH, self.apify.find_run(going.code, since));
        let found = going.unless_cancelled(found).await?.unwrap_or_else(|_| {
            Err(Failure::new(Provider::Apify, Cause::TimedOut, "its runs are not all read in time"))
        });
        match found {
            // The ledger knows whose it is: it may be an earlier job's for the same reel.
            Ok(Some(run)) if going.watch.adopt(&format!("{}:{SCRAPE}:", going.job), run.as_str()).await => {
                tracing::info!(job = %going.job, %run, "a run whose id was not heard is picked up");
                going.bought.store(true, Ordering::Relaxed);
                going.watch.run_started(run.as_str()).await;
                Ok(Some(run))
            }
            Ok(_) => Ok(None),
            Err(failure) => {
                tracing::warn!(job = %going.job, "it is not known whether a run was started, so another one is: {failure}");
                Ok(None)
            }
        }
    }

    /// Starts a run and has its id stored. A call that is under way when it is called off gets a moment
    /// to tell the id, because a run without a known id cannot be aborted.
    async fn start(&self, going: &Going<'_>) -> Result<RunId, Stopped> {
        going.check()?;
        let began = Instant::now();
        let too_late = async {
            going.cancel.cancelled().await;
            tokio::time::sleep(Duration::from_secs(5)).await;
        };
        let key = going.new_key(SCRAPE);
        let estimated = Usage { estimated: true, ..Usage::default() };
        let call = Spent::begun(Provider::Apify, self.apify.actor(), SCRAPE, estimated, key.clone());
        going.watch.reserve(call).await.map_err(|why| going.stopped(why, None))?;
        let started = tokio::select! {
            started = self.apify.start(going.code) => started,
            () = too_late => Err(Failure {
                usage: Some(Box::new(Usage { estimated: true, ..Usage::default() })),
                ..Failure::new(Provider::Apify, Cause::Cancelled, "called off while a run was being started")
            }),
        };
        match started {
            Ok(run) => {
                going.bought.store(true, Ordering::Relaxed);
                going.watch.run_started(run.as_str()).await;
                // From here on it is the run that costs.
                going.watch.rekey(&key, run.as_str()).await;
                Ok(run)
            }
            Err(failure) => {
                match failure.usage.as_deref().copied() {
                    Some(usage) => self.scrape_spent(going, key, usage, began, failure.cause.name()).await,
                    None => going.watch.unreserve(&key).await,
                }
                Err(going.stopped(said(&failure), Some(failure)))
            }
        }
    }

    /// What a run found; `None` when the run is an earlier attempt's and came to nothing.
    async fn scraped(&self, going: &Going<'_>, run: &RunId, resumed: bool) -> Result<Option<Scraped>, Stopped> {
        let began = Instant::now();
        let waited = tokio::select! {
            waited = self.apify.wait(run) => waited,
            () = going.cancel.cancelled() => Err(Failure::new(Provider::Apify, Cause::Cancelled, "called off")),
        };
        let over = match waited {
            Ok(over) => over,
            Err(failure) if failure.cause == Cause::NotFound && resumed => return Ok(None),
            Err(mut failure) => {
                not_there_yet(&mut failure);
                // The retry picks the run up if it is only Apify's answers that fail; otherwise the run
                // must end now, because nobody will come back for it.
                let mut usage = failure.usage.as_deref().copied().unwrap_or_default();
                usage.estimated = true;
                if matches!(failure.cause, Cause::Cancelled | Cause::TimedOut) {
                    match tokio::time::timeout(ABORT, self.apify.abort(run)).await {
                        Ok(Ok(aborted)) => usage = aborted.usage,
                        Ok(Err(failure)) => tracing::warn!(run = %run, "a run was not aborted: {failure}"),
                        Err(_) => tracing::warn!(run = %run, "a run was not aborted in time"),
                    }
                }
                self.scrape_spent(going, run.to_string(), usage, began, failure.cause.name()).await;
                return Err(going.stopped(said(&failure), Some(failure)));
            }
        };
        let ended = match over.status {
            RunStatus::Succeeded => None,
            RunStatus::TimedOut => Some((Cause::TimedOut, "run_timed_out")),
            RunStatus::Aborted => Some((Cause::Unavailable { retry_after: None }, "run_aborted")),
            RunStatus::Failed | RunStatus::Active => Some((Cause::Unavailable { retry_after: None }, "run_failed")),
        };
        if let Some((cause, outcome)) = ended {
            self.scrape_spent(going, run.to_string(), over.usage, began, outcome).await;
            let failure = Failure::new(Provider::Apify, cause, format!("{outcome} {run}"));
            return if resumed { Ok(None) } else { Err(going.stopped(said(&failure), Some(failure))) };
        }
        let mut items = tokio::select! {
            items = self.apify.items(&over, going.code) => items,
            () = going.cancel.cancelled() => Err(Failure::new(Provider::Apify, Cause::Cancelled, "called off")),
        };
        let has_failed = matches!(items, Ok(Scraped::Failed { .. }));
        if let Ok(Scraped::Failed { name }) = &items {
            let cause = Cause::Unavailable { retry_after: None };
            items = Err(Failure::new(Provider::Apify, cause, format!("the actor failed: {name}")));
        }
        let outcome = match &items {
            Ok(Scraped::Video(_)) => "ok",
            Ok(Scraped::NoVideo { .. }) => "no_video",
            Ok(Scraped::NoLink) => "no_link",
            Ok(Scraped::Unavailable { .. } | Scraped::Failed { .. }) => "not_available",
            Err(failure) => failure.cause.name(),
        };
        self.scrape_spent(going, run.to_string(), over.usage, began, outcome).await;
        match items {
            Ok(scraped) => Ok(Some(scraped)),
            // What a run found stays what it was: only another one may find more.
            Err(failure) if resumed && (has_failed || failure.cause == Cause::NotFound) => Ok(None),
            Err(mut failure) => {
                not_there_yet(&mut failure);
                Err(going.stopped(said(&failure), Some(failure)))
            }
        }
    }

    fn acceptable(&self, going: &Going<'_>, scraped: Scraped) -> Result<Box<Post>, Stopped> {
        let post = match scraped {
            Scraped::Video(post) => post,
            Scraped::NoVideo { .. } => return Err(going.stopped(ReelFailure::NotVideo, None)),
            Scraped::NoLink => return Err(going.stopped(ReelFailure::NoVideoAddress, None)),
            Scraped::Failed { .. } => return Err(going.stopped(ReelFailure::UpstreamBusy, None)),
            Scraped::Unavailable { reason } => {
                tracing::info!(job = %going.job, code = %going.code, ?reason, "the reel is not available");
                return Err(going.stopped(ReelFailure::Unavailable, None));
            }
        };
        // Another post in place of the asked one would be remembered under the wrong name.
        if post.shortcode.as_ref().is_some_and(|found| found != going.code) {
            tracing::warn!(job = %going.job, code = %going.code, "the scraper found another post");
            return Err(going.stopped(ReelFailure::Unavailable, None));
        }
        match post.duration_s {
            Some(seconds) if seconds > f64::from(self.limits.max_seconds) => {
                Err(going.stopped(ReelFailure::TooLong { seconds: seconds as u32 }, None))
            }
            _ => Ok(post),
        }
    }

    /// Tries one address, twice at most; a slow server and a broken answer are tried once more, a refusal is not.
    async fn download(&self, post: &Post) -> Result<Video, Failure> {
        let limits = &self.limits;
        let bounds = Bounds { max_bytes: limits.max_bytes, slowest: limits.slowest };
        let tries = retry(
            limits.retry,
            |f| f.cause.is_transient(),
            |_| Video::download(&self.http, &post.video_url, &limits.origins, bounds),
        );
        match tokio::time::timeout(limits.download, tries).await {
            Ok(downloaded) => downloaded,
            Err(_) => {
                let detail = format!("video: not downloaded within {} s", limits.download.as_secs());
                Err(Failure::new(Provider::Apify, Cause::TimedOut, detail))
            }
        }
    }

    async fn analysed(&self, going: &Going<'_>, post: Post, video: &Video) -> Result<Reel, Stopped> {
        let mut analysis = self.analysed_once(going, &post, video).await?;
        // An answer without a result may be a slip of the model; a second one is this video's doing.
        if analysis.as_ref().is_err_and(|failure| failure.cause == Cause::Unusable) {
            analysis = self.analysed_once(going, &post, video).await?;
        }
        let analysis = analysis.map_err(|failure| going.stopped(said(&failure), Some(failure)))?;
        Ok(Reel {
            shortcode: going.code.clone(),
            source: Source::Direct,
            caption: post.caption,
            owner: post.owner,
            duration_s: post.duration_s,
            plays: post.plays,
            likes: post.likes,
            comments: post.comments,
            posted_at: post.posted_at,
            music: post.music,
            hashtags: post.hashtags,
            language: analysis.language,
            transcript: analysis.transcript,
            on_screen_text: analysis.on_screen_text,
            hook: analysis.hook,
            scenes: analysis.scenes,
            summary: analysis.summary,
            notes: String::new(),
        })
    }

    /// One paid analysis; `Err(Stopped)` if it must not be made.
    async fn analysed_once(
        &self,
        going: &Going<'_>,
        post: &Post,
        video: &Video,
    ) -> Result<Result<Analysis, Failure>, Stopped> {
        going.check()?;
        let began = Instant::now();
        let hint = format!("{}\nby @{}\n{}", going.code.url(), post.owner, post.caption);
        // What is told of a length is rounded, and the last frame counts.
        let told = post.duration_s.filter(|seconds| *seconds > 0.0);
        let longest = told.map_or(u64::from(self.limits.max_seconds), |seconds| seconds.ceil() as u64) + 2;
        let most = self.gemini.most(longest, &hint);
        let call = Spent::begun(Provider::Gemini, self.gemini.model(), "analyse", most, going.new_key("analyse"));
        going.watch.reserve(call.clone()).await.map_err(|why| going.stopped(why, None))?;
        let analysed = self.gemini.analyse(video, &hint, going.cancel).await;
        let (usage, mut audio_tokens, model, outcome) = match &analysed {
            Ok(analysed) => (Some(analysed.usage), analysed.audio_tokens, analysed.model.clone(), "ok"),
            Err(failure) => {
                let usage = failure.usage.as_deref().copied();
                (usage, failure.audio_tokens, self.gemini.model().to_owned(), failure.cause.name())
            }
        };
        match usage {
            Some(mut usage) => {
                if usage.estimated {
                    // An attempt whose end is not known is taken to be a usual one: about 100 tokens a second of video,
                    // a quarter of them sound (Gemini 3), and an answer of the usual length.
                    let seconds = post.duration_s.unwrap_or(60.0).clamp(1.0, 3600.0) as u64;
                    usage.input_tokens += 1_000 + 100 * seconds;
                    usage.output_tokens += 2_000;
                    audio_tokens += 25 * seconds;
                }
                let latency_ms = ms(began);
                going.spent(Spent { model, usage, audio_tokens, latency_ms, outcome, ..call }).await;
            }
            None => going.watch.unreserve(&call.key).await,
        }
        Ok(analysed.map(|analysed| analysed.analysis))
    }

    async fn scrape_spent(&self, going: &Going<'_>, key: String, usage: Usage, began: Instant, outcome: &'static str) {
        let call = Spent::begun(Provider::Apify, self.apify.actor(), SCRAPE, usage, key);
        going.spent(Spent { latency_ms: ms(began), outcome, ..call }).await;
    }
}

/// A run and its items may not be there for a moment after Apify has told of them; it is the start that would say that the
/// actor is not there.
fn not_there_yet(failure: &mut Failure) {
    if failure.cause == Cause::NotFound {
        failure.cause = Cause::Unavailable { retry_after: None };
    }
}

/// How long a run that is called off may take to end.
const ABORT: Duration = Duration::from_secs(10);

/// One reel under way.
struct Going<'a> {
    job: JobId,
    code: &'a Shortcode,
    watch: &'a dyn Watch,
    cancel: &'a CancellationToken,
    bought: AtomicBool,
}

impl Going<'_> {
    fn check(&self) -> Result<(), Stopped> {
        if self.cancel.is_cancelled() { Err(self.stopped(ReelFailure::Cancelled, None)) } else { Ok(()) }
    }

    async fn unless_cancelled<T>(&self, step: impl Future<Output = T>) -> Result<T, Stopped> {
        tokio::select! {
            done = step => Ok(done),
            () = self.cancel.cancelled() => Err(self.stopped(ReelFailure::Cancelled, None)),
        }
    }

    async fn spent(&self, spent: Spent) {
        self.bought.store(true, Ordering::Relaxed);
        self.watch.spent(spent).await;
    }

    fn new_key(&self, tool: &str) -> String {
        format!("{}:{tool}:{}", self.job, uuid::Uuid::now_v7().simple())
    }

    fn stopped(&self, why: ReelFailure, cause: Option<Failure>) -> Stopped {
        let again = why == ReelFailure::UpstreamBusy;
        Stopped { why, cause, again, bought: self.bought.load(Ordering::Relaxed) }
    }
}

fn ms(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod resume_tests;
#[cfg(test)]
mod tests;
