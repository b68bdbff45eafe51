//! What this process has counted, read back from its own metrics as Prometheus would read them, so that what is told in a
//! chat and what a Prometheus rule says come from the same numbers. Owns no metric.

use serde::{Deserialize, Serialize};

use super::{FIRST_TEXT_SECONDS, OPENAI_TOKENS, RATE_LIMITED, SECONDS, TOOL_CALLS};

/// Counts since the process began, or between two moments.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Answers whose first text came within each of [`SECONDS`], and all of them last.
    pub first_texts: Vec<f64>,
    pub tools_ok: f64,
    pub tools_failed: f64,
    /// Answers of paid services that ask to wait (429).
    pub rate_limits: f64,
    /// OpenAI's, in and out.
    pub tokens: f64,
}

impl Counts {
    /// From the text that `/metrics` gives (Prometheus, Exposition formats, text format 0.0.4).
    pub fn read(exposition: &str) -> Counts {
        let mut counts = Counts { first_texts: vec![0.0; SECONDS.len() + 1], ..Counts::default() };
        let buckets = format!("{FIRST_TEXT_SECONDS}_bucket");
        for line in exposition.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            if name == buckets {
                let bound = label(labels, "le").unwrap_or_default();
                let at = SECONDS.iter().position(|seconds| bound.parse() == Ok(*seconds));
                counts.first_texts[at.unwrap_or(SECONDS.len())] += value;
            } else if name == TOOL_CALLS {
                match label(labels, "outcome") {
                    Some("ok") => counts.tools_ok += value,
                    Some("failed") => counts.tools_failed += value,
                    _ => {}
                }
            } else if name == RATE_LIMITED {
                counts.rate_limits += value;
            } else if name == OPENAI_TOKENS && matches!(label(labels, "kind"), Some("input" | "output")) {
                counts.tokens += value;
            }
        }
        counts
    }

    /// What came between `earlier` and `self`.
    pub fn since(&self, earlier: &Counts) -> Counts {
        self.combined(earlier, |now, before| (now - before).max(0.0))
    }

    /// Those of two processes together.
    pub fn and(&self, other: &Counts) -> Counts {
        self.combined(other, |one, other| one + other)
    }

    /// How long 95% of the answers took at most to their first text, in seconds, read from the buckets as Prometheus does
    /// (`histogram_quantile`): `None` if there were none.
    pub fn p95(&self) -> Option<f64> {
        let all = self.first_texts.last().copied().filter(|all| *all > 0.0)?;
        let rank = all * 0.95;
        let at = self.first_texts.iter().position(|within| *within >= rank)?;
        let Some(bound) = SECONDS.get(at) else { return SECONDS.last().copied() };
        let (from, below) = match at.checked_sub(1) {
            Some(before) => (SECONDS[before], self.first_texts[before]),
            None => (0.0, 0.0),
        };
        let inside = (self.first_texts[at] - below).max(f64::MIN_POSITIVE);
        Some(from + (bound - from) * (rank - below) / inside)
    }

    fn combined(&self, other: &Counts, each: impl Fn(f64, f64) -> f64) -> Counts {
        let length = self.first_texts.len().max(other.first_texts.len());
        let at = |counts: &Counts, at: usize| counts.first_texts.get(at).copied().unwrap_or(0.0);
        Counts {
            first_texts: (0..length).map(|bucket| each(at(self, bucket), at(other, bucket))).collect(),
            tools_ok: each(self.tools_ok, other.tools_ok),
            tools_failed: each(self.tools_failed, other.tools_failed),
            rate_limits: each(self.rate_limits, other.rate_limits),
            tokens: each(self.tokens, other.tokens),
        }
    }
}

/// The value of a label; ours hold no quotes.
fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = labels.split_once(&format!("{name}=\""))?;
    rest.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use metrics_exporter_prometheus::PrometheusBuilder;

    #[test]
    fn what_was_counted_is_read_back() {
        let (recorder, handle) = crate::telemetry::recorder(PrometheusBuilder::new()).unwrap();
        let before = metrics::with_local_recorder(&recorder, || {
            metrics::counter!(TOOL_CALLS, "tool" => "get_reel", "outcome" => "ok").increment(1);
            Counts::read(&handle.render())
        });
        metrics::with_local_recorder(&recorder, || {
            for tool in ["get_reel", "queue_status"] {
                metrics::counter!(TOOL_CALLS, "tool" => tool, "outcome" => "ok").increment(2);
                metrics::counter!(TOOL_CALLS, "tool" => tool, "outcome" => "failed").increment(1);
            }
            metrics::counter!(RATE_LIMITED, "provider" => "openai").increment(3);
            for (kind, tokens) in [("input", 100), ("cached", 50), ("output", 20)] {
                metrics::counter!(OPENAI_TOKENS, "kind" => kind).increment(tokens);
            }
            for seconds in [0.7, 0.8, 7.0, 400.0] {
                metrics::histogram!(FIRST_TEXT_SECONDS).record(seconds);
            }
        });
        let counts = Counts::read(&handle.render()).since(&before);
        assert_eq!((counts.tools_ok, counts.tools_failed, counts.rate_limits), (4.0, 2.0, 3.0));
        assert_eq!(counts.tokens, 120.0, "cached ones are among the input");
        let within = |seconds: f64| counts.first_texts[SECONDS.iter().position(|bound| *bound == seconds).unwrap()];
        assert_eq!((within(0.5), within(1.0), within(5.0), within(10.0), within(300.0)), (0.0, 2.0, 2.0, 3.0, 3.0));
        assert_eq!(counts.first_texts.last(), Some(&4.0));
        let twice = counts.and(&counts);
        assert_eq!((twice.tools_ok, twice.first_texts.last()), (8.0, Some(&8.0)));
    }

    #[test]
    fn the_95th_percentile_as_prometheus_reads_it() {
        let of = |durations: &[f64]| {
            let within = |bound: f64| durations.iter().filter(|seconds| **seconds <= bound).count() as f64;
            let first_texts = SECONDS.iter().map(|bound| within(*bound)).chain([durations.len() as f64]).collect();
            let p95 = Counts { first_texts, ..Counts::default() }.p95();
            p95.map(|seconds| (seconds * 1e5).round() / 1e5)
        };
        assert_eq!(of(&[]), None);
        assert_eq!(Counts::default().p95(), None);
        assert_eq!(of(&[0.001; 100]), Some(0.00475));
        assert_eq!(of(&[400.0]), Some(300.0), "beyond the last bound");
        let mut some = [1.5; 100];
        some[..5].fill(7.0);
        assert_eq!(of(&some), Some(2.5), "the slowest twentieth does not count");
        some[..10].fill(7.0);
        assert_eq!(of(&some), Some(7.5));
    }
}
