//! From what is known of the whole bot to the numbers that the rules look at, each with the thing it is of. Pure.

use std::time::Duration;

use chrono::NaiveDate;

use super::{Kind, RULES, Rule};
use crate::clock::Timestamp;
use crate::core::providers::{FEW_CALLS, ProviderTarget, relevant};
use crate::store::instances::ClockState;
use crate::store::providers::{ProviderCalls, ProviderRow, Trouble};
use crate::telemetry::counts::Counts;

/// What is not known: it raises nothing, and what is raised stays.
const UNKNOWN: f64 = f64::NAN;

/// Tool calls below which their success says nothing.
const FEW_TOOL_CALLS: f64 = 20.0;

/// What is known of the whole bot at one moment.
#[derive(Clone, Debug)]
pub struct Measured {
    pub now: Timestamp,
    /// Those that live.
    pub instances: Vec<Instance>,
    /// Those that ended without saying so, and how long ago they were last seen.
    pub lost: Vec<(String, Duration)>,
    /// Of all instances, over the window.
    pub counts: Counts,
    pub queue_length: i64,
    pub queue_age: Duration,
    /// Upstreams whose breaker is not closed.
    pub lanes_out: Vec<LaneOut>,
    pub lanes: Vec<Lane>,
    pub tokens_today: i64,
    pub micro_usd_today: i64,
    /// The paid services that this configuration uses, how they stand, and their calls in the window.
    pub targets: Vec<ProviderTarget>,
    pub providers: Vec<ProviderRow>,
    pub provider_calls: Vec<ProviderCalls>,
}

#[derive(Clone, Debug, Default)]
pub struct Instance {
    pub name: String,
    pub cpu_percent: Option<f64>,
    pub memory_percent: Option<f64>,
    pub clock: Option<ClockState>,
    /// Why it cannot keep videos, if it cannot.
    pub no_room: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneOut {
    /// `direct`, or one n8n webhook.
    pub upstream: String,
    pub cause: String,
    /// Under which the log has the last failure.
    pub reference: String,
    /// The service that failed, where it is known.
    pub provider: Option<String>,
    /// It stands still until somebody does something about it, which another rule tells.
    pub stuck: bool,
}

/// How long reels take on a kind of lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    pub kind: &'static str,
    pub latest: Duration,
    /// In the last 7 days.
    pub usual: Duration,
}

impl Lane {
    /// How many times as long as usual.
    pub fn slowness(&self) -> f64 {
        self.latest.as_secs_f64() / self.usual.as_secs_f64().max(0.001)
    }
}

/// One number under one rule.
#[derive(Clone, Debug)]
pub struct Measure {
    pub rule: &'static Rule,
    /// The instance, the upstream or the lane it is of; empty for the whole bot.
    pub subject: String,
    pub value: f64,
    pub note: Note,
}

/// What else the operator wants to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Note {
    #[default]
    Nothing,
    Failing {
        provider: Option<String>,
        cause: String,
        reference: String,
    },
    /// Of a paid service that waiting does not mend.
    Stuck {
        target: ProviderTarget,
        detail: String,
        reference: String,
    },
    CallsFailed {
        cause: String,
        calls: i64,
    },
    Going {
        target: ProviderTarget,
        /// As 2026-12-11.
        day: String,
    },
    /// What the system says of the folder.
    NoRoom(String),
    Slow {
        latest: Duration,
        usual: Duration,
    },
    /// An instance takes no work because its clock is off.
    Stopped,
}

/// Every number that can be told now.
pub fn measures(of: &Measured) -> Vec<Measure> {
    RULES.iter().flat_map(|rule| values(rule.kind, of).into_iter().map(move |value| (rule, value))).map(build).collect()
}

type Value = (String, f64, Note);

fn build((rule, (subject, value, note)): (&'static Rule, Value)) -> Measure {
    Measure { rule, subject, value, note }
}

fn values(kind: Kind, of: &Measured) -> Vec<Value> {
    let whole = |value: f64| vec![(String::new(), value, Note::Nothing)];
    let each = |value: fn(&Instance) -> Option<f64>| {
        let instances = of.instances.iter();
        instances.filter_map(|instance| Some((instance.name.clone(), value(instance)?, Note::Nothing))).collect()
    };
    match kind {
        Kind::Cpu => each(|instance| instance.cpu_percent),
        Kind::Memory => each(|instance| instance.memory_percent),
        Kind::FirstText => of.counts.p95().map(whole).unwrap_or_default(),
        Kind::ToolSuccess => {
            let calls = of.counts.tools_ok + of.counts.tools_failed;
            if calls < FEW_TOOL_CALLS { Vec::new() } else { whole(of.counts.tools_ok * 100.0 / calls) }
        }
        Kind::RateLimits => whole(of.counts.rate_limits),
        Kind::TokensToday => whole(of.tokens_today as f64),
        Kind::CostToday => whole(of.micro_usd_today as f64 / 1e6),
        Kind::QueueLength => whole(of.queue_length as f64),
        Kind::QueueAge => whole(of.queue_age.as_secs_f64()),
        Kind::LaneOut => {
            let failing = |lane: &LaneOut| {
                let (cause, reference) = (lane.cause.clone(), lane.reference.clone());
                let note = Note::Failing { provider: lane.provider.clone(), cause, reference };
                (lane.upstream.clone(), if lane.stuck { UNKNOWN } else { 1.0 }, note)
            };
            of.lanes_out.iter().map(failing).collect()
        }
        Kind::LaneSlow => {
            let slow = |lane: &Lane| {
                let note = Note::Slow { latest: lane.latest, usual: lane.usual };
                (lane.kind.to_owned(), lane.slowness() * 100.0, note)
            };
            of.lanes.iter().map(slow).collect()
        }
        Kind::InstanceLost => {
            of.lost.iter().map(|(name, since)| (name.clone(), since.as_secs_f64(), Note::Nothing)).collect()
        }
        Kind::ClockOff => {
            let off = |instance: &Instance| {
                let clock = instance.clock?;
                let note = if clock.is_stopped { Note::Stopped } else { Note::Nothing };
                Some((instance.name.clone(), clock.skew().as_secs_f64(), note))
            };
            of.instances.iter().filter_map(off).collect()
        }
        Kind::NoRoom => {
            let without = |instance: &Instance| {
                let why = instance.no_room.clone()?;
                Some((instance.name.clone(), 1.0, Note::NoRoom(why)))
            };
            of.instances.iter().filter_map(without).collect()
        }
        Kind::OutOfCredit => stuck(of, Trouble::Credit),
        Kind::KeyRefused => stuck(of, Trouble::Key),
        Kind::TargetGone => stuck(of, Trouble::Gone),
        Kind::BadRequest => stuck(of, Trouble::Request),
        Kind::CallsFailed => calls_failed(of),
        Kind::ModelDays => model_days(of),
    }
}

/// Services in this trouble. What only one model or actor of theirs is in, is told of each.
fn stuck(of: &Measured, trouble: Trouble) -> Vec<Value> {
    let in_it = relevant(&of.providers, &of.targets).filter(|(_, row)| row.trouble == Some(trouble));
    in_it
        .map(|(target, row)| {
            let subject = match trouble {
                Trouble::Gone => subject_of(target),
                Trouble::Credit | Trouble::Key | Trouble::Request => row.name.clone(),
            };
            let (detail, reference) = (row.detail.clone(), row.reference.clone());
            (subject, 1.0, Note::Stuck { target: target.clone(), detail, reference })
        })
        .collect()
}

/// The share of failed calls of each service. Of few calls nothing is known while the latest one failed: what was told then
/// is not over because nobody asks any more.
fn calls_failed(of: &Measured) -> Vec<Value> {
    let mut names: Vec<&str> = of.targets.iter().map(|target| target.name.as_str()).collect();
    names.dedup();
    let value = |name: &str| {
        let calls = of.provider_calls.iter().find(|calls| calls.name == name);
        let (all, failed) = calls.map_or((0, 0), |calls| (calls.calls, calls.failed));
        let latest = relevant(&of.providers, &of.targets)
            .map(|(_, row)| row)
            .filter(|row| row.name == name)
            .max_by_key(|row| row.failed_at);
        let share = match latest {
            _ if all >= FEW_CALLS => failed as f64 * 100.0 / all as f64,
            Some(row) if row.failing => UNKNOWN,
            _ => return None,
        };
        let cause = latest.map(|row| row.cause.clone()).unwrap_or_default();
        Some((name.to_owned(), share, Note::CallsFailed { cause, calls: all }))
    };
    names.into_iter().filter_map(value).collect()
}

/// How long each model has until its provider switches it off, where that has a day.
fn model_days(of: &Measured) -> Vec<Value> {
    let dated = relevant(&of.providers, &of.targets).filter_map(|(target, row)| {
        let day = row.shutdown_on.clone()?;
        let days = days_until(&day, of.now)?;
        Some((subject_of(target), days, Note::Going { target: target.clone(), day }))
    });
    dated.collect()
}

/// Service and what it is asked for: one that is replaced by another is told anew.
fn subject_of(target: &ProviderTarget) -> String {
    format!("{} {}", target.name, target.target).trim_end().to_owned()
}

/// Days from `now` to the beginning of a day (UTC); negative once it has begun.
pub fn days_until(day: &str, now: Timestamp) -> Option<f64> {
    let begin = day.parse::<NaiveDate>().ok()?.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis();
    Some((begin - now.0) as f64 / 86_400_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Provider;

    #[test]
    fn every_rule_has_its_number() {
        let counts =
            Counts { first_texts: vec![1.0; 17], tools_ok: 19.0, tools_failed: 1.0, rate_limits: 2.0, tokens: 5.0 };
        let now = Timestamp(1_795_521_600_000);
        let target = |provider, name: &str, target: &str, variable| ProviderTarget {
            provider,
            name: name.into(),
            target: target.into(),
            variables: vec![variable],
        };
        let row = |name: &str, target: &str, trouble, shutdown_on: Option<&str>| ProviderRow {
            name: name.into(),
            target: target.into(),
            failing: true,
            trouble,
            failed_at: now,
            cause: "cut".into(),
            detail: String::new(),
            reference: "K7QX2M".into(),
            shutdown_on: shutdown_on.map(str::to_owned),
        };
        let measured = Measured {
            now,
            instances: vec![Instance {
                name: "a:1".into(),
                cpu_percent: Some(12.5),
                memory_percent: None,
                clock: Some(ClockState { skew_ms: -3_500, is_stopped: true }),
                no_room: Some("full".into()),
            }],
            lost: vec![("b:1".into(), Duration::from_secs(61))],
            counts,
            queue_length: 3,
            queue_age: Duration::from_secs(40),
            lanes_out: vec![LaneOut {
                upstream: "direct".into(),
                cause: "cut".into(),
                reference: "K7QX2M".into(),
                provider: None,
                stuck: false,
            }],
            lanes: vec![Lane { kind: "n8n", latest: Duration::from_secs(30), usual: Duration::from_secs(20) }],
            tokens_today: 7,
            micro_usd_today: 2_500_000,
            targets: vec![
                target(Provider::OpenAi, "openai", "gpt-5", "COACH_MODEL"),
                target(Provider::OpenAi, "openai", "gpt-5-nano", "ECONOMY_MODEL"),
                target(Provider::Apify, "apify", "actor", "APIFY_ACTOR"),
                target(Provider::N8n, "n8n:0", "", "N8N_WEBHOOK_URLS"),
                target(Provider::N8n, "n8n:1", "", "N8N_WEBHOOK_URLS"),
            ],
            providers: vec![
                row("apify", "actor", Some(Trouble::Credit), None),
                row("n8n:0", "", Some(Trouble::Key), None),
                row("n8n:1", "", Some(Trouble::Request), None),
                row("openai", "gpt-4.1", Some(Trouble::Gone), Some("2026-10-23")),
                row("openai", "gpt-5", None, Some("2026-12-08")),
                row("openai", "gpt-5-nano", Some(Trouble::Gone), None),
            ],
            provider_calls: vec![
                ProviderCalls { name: "apify".into(), calls: 9, failed: 9, rate_limited: 0 },
                ProviderCalls { name: "openai".into(), calls: 40, failed: 10, rate_limited: 0 },
            ],
        };
        let seen: Vec<(&str, String, f64)> =
            measures(&measured).into_iter().map(|m| (m.rule.name, m.subject, m.value)).collect();
        let expected = [
            ("cpu_percent", "a:1", 12.5),
            ("p95_s", "", 0.00475),
            ("tool_success_percent", "", 95.0),
            ("queue_length", "", 3.0),
            ("queue_age_s", "", 40.0),
            ("lane_out", "direct", 1.0),
            ("lane_slow_percent", "n8n", 150.0),
            ("rate_limits", "", 2.0),
            ("tokens_day", "", 7.0),
            ("cost_day_usd", "", 2.5),
            ("instance_lost_s", "b:1", 61.0),
            ("clock_s", "a:1", 3.5),
            ("no_video_room", "a:1", 1.0),
            ("out_of_credit", "apify", 1.0),
            ("key_refused", "n8n:0", 1.0),
            ("not_found", "openai gpt-5-nano", 1.0),
            ("bad_request", "n8n:1", 1.0),
            ("failed_percent", "openai", 25.0),
            ("model_days", "openai gpt-5", 13.5),
        ];
        // Nine calls are too few; that the latest one failed keeps what was told of them.
        let seen: Vec<_> = seen.into_iter().filter(|(_, _, value)| !value.is_nan()).collect();
        assert_eq!(seen, expected.map(|(name, subject, value)| (name, subject.to_owned(), value)));
        let idle = measures(&Measured {
            instances: Vec::new(),
            lost: Vec::new(),
            counts: Counts::default(),
            queue_length: 0,
            queue_age: Duration::ZERO,
            lanes_out: Vec::new(),
            lanes: Vec::new(),
            tokens_today: 0,
            micro_usd_today: 0,
            providers: Vec::new(),
            provider_calls: Vec::new(),
            ..measured
        });
        assert!(idle.iter().all(|m| m.value == 0.0 && m.subject.is_empty()), "{idle:?}");
        assert_eq!(idle.len(), 5, "nothing was called and nobody answered: {idle:?}");
    }
}
