//! Logs, metrics and the reference code that ties what a person was told to what the log says. Owns every
//! metric's name; never sees a text or a secret.

use std::fmt;
use std::io::IsTerminal;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
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
pub const COST: &str = "reelcoach_cost_micro_usd_total";
pub const OPENAI_UNKNOWN_EVENTS: &str = "reelcoach_openai_unknown_events_total";

/// Every metric, declared once.
pub const METRICS: &[Metric] = &[
    Metric { name: TURNS, kind: Kind::Counter, help: "Turns ended, by kind and outcome" },
    Metric { name: TURN_SECONDS, kind: Kind::Histogram, help: "From a message's arrival to its final answer" },
    Metric {
        name: FIRST_TEXT_SECONDS,
        kind: Kind::Histogram,
        help: "From a message's arrival to the first visible text",
    },
    Metric { name: REELS, kind: Kind::Counter, help: "Reel jobs ended, by lane kind and outcome" },
    Metric { name: REEL_SECONDS, kind: Kind::Histogram, help: "Time of a reel job on its lane" },
    Metric {
        name: BREAKER_OPENED,
        kind: Kind::Counter,
        help: "Times that a reel upstream was found failing, by upstream",
    },
    Metric {
        name: SUBMITTED,
        kind: Kind::Counter,
        help: "Reels asked for, by outcome; all but queued and denied cost nothing: cached, joined, failed (remembered)",
    },
    Metric { name: SENDS, kind: Kind::Counter, help: "Messages sent and edited, by platform, kind and outcome" },
    Metric { name: UPSTREAM_CALLS, kind: Kind::Counter, help: "Paid calls, by provider and outcome" },
    Metric { name: COST, kind: Kind::Counter, help: "Money spent in millionths of a US dollar, by provider" },
    Metric {
        name: OPENAI_UNKNOWN_EVENTS,
        kind: Kind::Counter,
        help: "Stream events of a type this program does not know",
    },
];

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

/// Collects the process's metrics; the handle renders them for Prometheus.
///
/// # Errors
/// When metrics are collected already.
pub fn start_metrics() -> Result<PrometheusHandle, String> {
    let seconds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0];
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &seconds)
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(|error| error.to_string())?;
    for metric in METRICS {
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
    Ok(handle)
}

/// A short code that stands both in a sentence to a person and in the operator's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference(String);

impl Reference {
    /// A new code of six letters and digits that cannot be mistaken for one another.
    pub fn new() -> Self {
        const LETTERS: &[u8] = b"23456789ABCDEFGHJKMNPQRSTVWXYZ";
        let mut rng = rand::rng();
        Self((0..6).map(|_| char::from(LETTERS[rng.random_range(0..LETTERS.len())])).collect())
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
