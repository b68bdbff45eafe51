//! Logs, metrics and the reference code that ties what a person was told to what the log says. Owns every
//! metric's name; never sees a text or a secret.

pub mod counts;
pub mod life;
pub mod system;

use std::fmt;
use std::io::IsTerminal;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use rand::Rng;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{Config, LogFormat};

/// Libraries that write people's texts or whole payloads into their logs (async-openai an answer it cannot decode,
/// teloxide and serenity an update), and how much of them may be seen whatever the operator sets.
const PRIVATE_TARGETS: [(&str, Option<Level>); 8] = [
    ("async_openai", None),
    ("teloxide", None),
    ("serenity", Some(Level::ERROR)),
    ("poise", Some(Level::ERROR)),
    ("tungstenite", Some(Level::WARN)),
    ("tokio_tungstenite", Some(Level::WARN)),
    ("h2", Some(Level::WARN)),
    ("reqwest", Some(Level::WARN)),
];

/// Libraries that are too talkative at `info`.
const QUIET_TARGETS: [&str; 2] = ["sqlx=warn", "hyper=warn"];

/// A metric.
#[derive(Debug)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub help: &'static str,
    pub labels: &'static [&'static str],
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, help, labels }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, help, labels }
}

const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Histogram, help, labels }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

pub const TURNS: &str = "reelcoach_turns_total";
pub const TURN_SECONDS: &str = "reelcoach_turn_duration_seconds";
pub const FIRST_TEXT_SECONDS: &str = "reelcoach_first_text_seconds";
pub const REELS: &str = "reelcoach_reels_total";
pub const REEL_SECONDS: &str = "reelcoach_reel_duration_seconds";
pub const BREAKER_OPENED: &str = "reelcoach_breaker_opened_total";
pub const SUBMITTED: &str = "reelcoach_reel_requests_total";
pub const SENDS: &str = "reelcoach_sends_total";
pub const UPSTREAM_CALLS: &str = "reelcoach_upstream_calls_total";
pub const OPENAI_WAIT_SECONDS: &str = "reelcoach_openai_wait_seconds";
pub const ANSWERS: &str = "reelcoach_answers_total";
pub const COST: &str = "reelcoach_cost_micro_usd_total";
pub const OPENAI_UNKNOWN_EVENTS: &str = "reelcoach_openai_unknown_events_total";
pub const OPENAI_TOKENS: &str = "reelcoach_openai_tokens_total";
pub const PROVIDER_RESULTS: &str = "reelcoach_provider_results_total";
pub const PROVIDER_TROUBLE: &str = "reelcoach_provider_trouble";
pub const MODEL_DAYS: &str = "reelcoach_model_days_left";
pub const RATE_LIMITED: &str = "reelcoach_rate_limited_total";
pub const TOOL_CALLS: &str = "reelcoach_tool_calls_total";
pub const TURNS_IN_FLIGHT: &str = "reelcoach_turns_in_flight";
pub const TURNS_OPEN: &str = "reelcoach_turns_open";
pub const OUTBOX_BACKLOG: &str = "reelcoach_outbox_backlog";
pub const QUEUE_LENGTH: &str = "reelcoach_queue_length";
pub const QUEUE_AGE: &str = "reelcoach_queue_age_seconds";
pub const LANES: &str = "reelcoach_lanes";
pub const BREAKER_OPEN: &str = "reelcoach_breaker_open";
pub const LANE_SLOWNESS: &str = "reelcoach_lane_slowness_ratio";
pub const INSTANCES: &str = "reelcoach_instances";
pub const LOST_INSTANCE: &str = "reelcoach_lost_instance_seconds";
pub const CLOCK_SKEW: &str = "reelcoach_clock_skew_seconds";
pub const NO_VIDEO_ROOM: &str = "reelcoach_no_video_room";
pub const DATABASE_CONNECTIONS: &str = "reelcoach_database_connections";
pub const DATABASE_UP: &str = "reelcoach_database_up";
pub const BUDGET_USED: &str = "reelcoach_budget_used_ratio";
pub const COST_TODAY: &str = "reelcoach_cost_today_usd";
pub const TOKENS_TODAY: &str = "reelcoach_openai_tokens_today";
pub const ROLE_HELD: &str = "reelcoach_role_held";
pub const ROLE_SILENCE: &str = "reelcoach_role_silence_seconds";
pub const ALERTS_RAISED: &str = "reelcoach_alerts_raised";
pub const CPU_CORES: &str = "reelcoach_cpu_cores";
pub const MEMORY_LIMIT: &str = "reelcoach_memory_limit_bytes";
pub const BUILD_INFO: &str = "reelcoach_build_info";
pub const PROCESS_CPU: &str = "process_cpu_seconds_total";
pub const PROCESS_MEMORY: &str = "process_resident_memory_bytes";
pub const PROCESS_START: &str = "process_start_time_seconds";
pub const PROCESS_FILES: &str = "process_open_fds";

/// Every metric, declared once. No label takes more values than the configuration has lanes, platforms or rules.
pub const METRICS: &[Metric] = &[
    counter(TURNS, &["kind", "outcome"], "Turns ended, by kind and outcome"),
    histogram(TURN_SECONDS, &["kind"], "From a message's arrival to its final answer"),
    histogram(FIRST_TEXT_SECONDS, &[], "From a message's arrival to the first visible text"),
    gauge(TURNS_IN_FLIGHT, &[], "Answers in the making in this instance"),
    gauge(TURNS_OPEN, &[], "Answers owed by all instances together, at most 10000"),
    gauge(OUTBOX_BACKLOG, &[], "Answers that are known and not delivered yet, among those owed"),
    counter(TOOL_CALLS, &["tool", "outcome"], "Tools that the coach's model called, by tool and outcome"),
    counter(REELS, &["lane", "outcome"], "Reel jobs ended, by lane kind and outcome"),
    histogram(REEL_SECONDS, &["lane"], "Time of a reel job on its lane"),
    counter(BREAKER_OPENED, &["upstream"], "Times that a reel upstream was found failing, by upstream"),
    gauge(BREAKER_OPEN, &["upstream"], "1 while a reel upstream is found failing, by upstream"),
    gauge(QUEUE_LENGTH, &[], "Reels that wait in the line"),
    gauge(QUEUE_AGE, &[], "How long the first reel of the line could have been read already"),
    gauge(LANES, &["state"], "Lanes by state: busy, free, paused, open (its upstream is found failing)"),
    gauge(LANE_SLOWNESS, &["lane"], "Median time of the latest reels as a multiple of the last 7 days', by lane kind"),
    counter(
        SUBMITTED,
        &["outcome"],
        "Reels asked for, by outcome; all but queued and denied cost nothing: cached, joined, failed (remembered)",
    ),
    counter(SENDS, &["platform", "kind", "outcome"], "Messages sent and edited, by platform, kind and outcome"),
    counter(UPSTREAM_CALLS, &["provider", "outcome"], "Paid calls, by provider and outcome"),
    counter(
        PROVIDER_RESULTS,
        &["provider", "outcome"],
        "Answers of OpenAI, videos of Gemini, runs of Apify and of each n8n webhook, by outcome: ok, or why it failed",
    ),
    gauge(
        PROVIDER_TROUBLE,
        &["provider", "trouble"],
        "1 while a paid service needs somebody to act: credit (used up), key (refused), gone (model, actor or webhook), request (refused)",
    ),
    gauge(MODEL_DAYS, &["model"], "Days until OpenAI switches a configured model off; +Inf: no day is known"),
    counter(RATE_LIMITED, &["provider"], "Answers of paid services that ask to wait (429), repeated calls among them"),
    histogram(
        OPENAI_WAIT_SECONDS,
        &[],
        "Time that calls waited for their turn within OpenAI's quota; those that did not wait are not in it",
    ),
    counter(ANSWERS, &["source"], "Coached answers, by source: model, cache"),
    counter(COST, &["provider"], "Money spent in millionths of a US dollar, by provider"),
    gauge(
        COST_TODAY,
        &[],
        "Money spent today (UTC) by all instances, in US dollars, without what is set aside for calls in progress",
    ),
    gauge(BUDGET_USED, &["scope", "span"], "Part of the budgets of the bot and of each platform that is used; 1: all"),
    counter(
        OPENAI_TOKENS,
        &["kind"],
        "Tokens of OpenAI: input, and among it cached and cache_write; output, and among it reasoning",
    ),
    gauge(TOKENS_TODAY, &[], "Tokens of OpenAI today (UTC), in and out, of all instances"),
    counter(OPENAI_UNKNOWN_EVENTS, &[], "Stream events of a type this program does not know"),
    gauge(INSTANCES, &[], "Instances that live"),
    gauge(
        LOST_INSTANCE,
        &[],
        "Silence of an instance that ended without saying so and did not come back; 0: there is none",
    ),
    gauge(CLOCK_SKEW, &[], "How far this machine's clock is ahead of PostgreSQL's, below 0 behind it"),
    gauge(NO_VIDEO_ROOM, &[], "1 while this instance cannot keep videos in its folder for temporary files"),
    gauge(ROLE_HELD, &["role"], "1 while this instance has a role that one at a time may have"),
    gauge(ROLE_SILENCE, &["role"], "Since the last sign of life of a held role: a poll, a heartbeat"),
    gauge(DATABASE_UP, &[], "1 if the database answered this instance's last look"),
    gauge(DATABASE_CONNECTIONS, &["state"], "This instance's connections to the database: busy, idle, max"),
    gauge(ALERTS_RAISED, &["rule"], "Alerts that are raised now, by rule"),
    gauge(CPU_CORES, &[], "Processor cores that this process may use"),
    gauge(MEMORY_LIMIT, &[], "Memory that this process may use: its control group's, or the machine's"),
    gauge(BUILD_INFO, &["version"], "1; the version is the label"),
    counter(PROCESS_CPU, &[], "Processor time used, in seconds"),
    gauge(PROCESS_MEMORY, &[], "Memory in use"),
    gauge(PROCESS_START, &[], "When this process began, in seconds since 1970"),
    gauge(PROCESS_FILES, &[], "Open files and connections"),
];

/// Upper bounds of the buckets of all histograms, in seconds.
pub const SECONDS: [f64; 16] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0];

/// Starts logging to standard error.
///
/// # Errors
/// When `LOG` is not a filter, or a logger is installed already.
pub fn start_logs(config: &Config) -> Result<(), String> {
    let filter = filter(&config.log)?;
    let logs = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        // Colours are for people at a terminal; in a file or a journal they are noise.
        .with_ansi(std::io::stderr().is_terminal());
    let logs = match config.log_format {
        LogFormat::Text => logs.with_target(false).boxed(),
        LogFormat::Json => logs.json().flatten_event(true).boxed(),
    };
    // Filters of the whole, not of the layer: sqlx asks whether a line would be seen without writing one, after which a
    // layer's own filter loses the next line (PostgreSQL's notices at a migration).
    let registry = tracing_subscriber::registry().with(filter).with(filter_fn(may_be_seen)).with(logs);
    registry.try_init().map_err(|error| error.to_string())
}

/// The operator's filter.
///
/// # Errors
/// When it is none.
pub fn filter(log: &str) -> Result<EnvFilter, String> {
    let mut filter = EnvFilter::try_new(log).map_err(|error| error.to_string())?;
    for target in QUIET_TARGETS.iter().filter(|target| !log.contains(target.split('=').next().unwrap_or_default())) {
        filter = filter.add_directive(target.parse().map_err(|_| "a built-in log filter is wrong".to_owned())?);
    }
    Ok(filter)
}

/// Whether a line cannot hold what is nobody's business.
fn may_be_seen(line: &Metadata<'_>) -> bool {
    let private = PRIVATE_TARGETS.iter().find(|(crate_name, _)| {
        line.target()
            .strip_prefix(crate_name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with("::") || rest.starts_with('_'))
    });
    match private {
        Some((_, Some(most))) => line.level() <= most,
        Some((_, None)) => false,
        None => true,
    }
}

/// Collects the process's metrics; the handle renders them for Prometheus, all but those of [`system::exposition`].
///
/// # Errors
/// When metrics are collected already.
pub fn start_metrics() -> Result<PrometheusHandle, String> {
    let (recorder, handle) = recorder(PrometheusBuilder::new())?;
    metrics::set_global_recorder(recorder).map_err(|error| error.to_string())?;
    for metric in METRICS.iter().filter(|metric| !metric.name.starts_with("process_")) {
        match metric.kind {
            Kind::Counter => {
                metrics::describe_counter!(metric.name, metric.help);
                // So that a rule can tell "none yet" from "not there".
                metrics::counter!(metric.name).increment(0);
            }
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
            Kind::Histogram => metrics::describe_histogram!(metric.name, metric.help),
        }
    }
    metrics::gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    let limits = system::limits();
    metrics::gauge!(CPU_CORES).set(limits.cores as f64);
    if let Some(bytes) = limits.memory_bytes {
        metrics::gauge!(MEMORY_LIMIT).set(bytes as f64);
    }
    Ok(handle)
}

fn recorder(builder: PrometheusBuilder) -> Result<(PrometheusRecorder, PrometheusHandle), String> {
    let builder = builder.set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS);
    let recorder = builder.map_err(|error| error.to_string())?.build_recorder();
    let handle = recorder.handle();
    Ok((recorder, handle))
}

/// A short code that stands both in a sentence to a person and in the operator's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference(String);

impl Reference {
    const LETTERS: &[u8] = b"23456789ABCDEFGHJKMNPQRSTVWXYZ";
    const LENGTH: usize = 6;

    /// A new code of six letters and digits that cannot be mistaken for one another.
    pub fn new() -> Self {
        let mut rng = rand::rng();
        let letter = |_| char::from(Self::LETTERS[rng.random_range(0..Self::LETTERS.len())]);
        Self((0..Self::LENGTH).map(letter).collect())
    }

    /// Whether a text begins with one.
    pub fn begins(text: &str) -> bool {
        let code = text.as_bytes().get(..Self::LENGTH);
        code.is_some_and(|code| code.iter().all(|letter| Self::LETTERS.contains(letter)))
    }
}

#[cfg(test)]
impl Reference {
    /// A code that stays the same, for tests of sentences.
    pub fn fixed(code: &str) -> Self {
        Self(code.to_owned())
    }
}

impl Default for Reference {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn private_targets_are_silent_whatever_is_set() {
        let paper = Paper::default();
        let out = paper.clone();
        let logs = tracing_subscriber::fmt::layer().with_writer(move || out.clone());
        let filter = filter("trace,serenity::gateway=trace,async_openai::error=trace").unwrap();
        let subscriber = tracing_subscriber::registry().with(filter).with(filter_fn(may_be_seen)).with(logs);
        tracing::subscriber::with_default(subscriber, || {
            tracing::error!(target: "async_openai::error", "a body");
            tracing::error!(target: "teloxide_core::net", "an update");
            tracing::debug!(target: "serenity::gateway", "a payload");
            tracing::error!(target: "serenity::gateway", "lost");
            tracing::debug!(target: "reelcoach::app", "ours");
        });
        let text = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains("lost") && text.contains("ours"), "{text}");
        assert!(!["a body", "an update", "a payload"].iter().any(|private| text.contains(private)), "{text}");
    }
}
