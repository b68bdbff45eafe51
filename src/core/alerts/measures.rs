//! From what is known of the whole bot to the numbers that the rules look at, each with the thing it is of. Pure.

use std::time::Duration;

use super::{Kind, RULES, Rule};
use crate::telemetry::counts::Counts;

/// Tool calls below which their success says nothing.
const FEW_TOOL_CALLS: f64 = 20.0;

/// What is known of the whole bot at one moment.
#[derive(Clone, Debug, Default)]
pub struct Measured {
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
}

#[derive(Clone, Debug, Default)]
pub struct Instance {
    pub name: String,
    pub cpu_percent: Option<f64>,
    pub memory_percent: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneOut {
    /// `direct`, or one n8n webhook.
    pub upstream: String,
    pub cause: String,
    /// Under which the log has the last failure.
    pub reference: String,
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
        cause: String,
        reference: String,
    },
    Slow {
        latest: Duration,
        usual: Duration,
    },
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
                let note = Note::Failing { cause: lane.cause.clone(), reference: lane.reference.clone() };
                (lane.upstream.clone(), 1.0, note)
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_its_number() {
        let counts =
            Counts { first_texts: vec![1.0; 17], tools_ok: 19.0, tools_failed: 1.0, rate_limits: 2.0, tokens: 5.0 };
        let measured = Measured {
            instances: vec![Instance { name: "a:1".into(), cpu_percent: Some(12.5), memory_percent: None }],
            lost: vec![("b:1".into(), Duration::from_secs(61))],
            counts,
            queue_length: 3,
            queue_age: Duration::from_secs(40),
            lanes_out: vec![LaneOut { upstream: "direct".into(), cause: "cut".into(), reference: "K7QX2M".into() }],
            lanes: vec![Lane { kind: "n8n", latest: Duration::from_secs(30), usual: Duration::from_secs(20) }],
            tokens_today: 7,
            micro_usd_today: 2_500_000,
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
        ];
        assert_eq!(seen, expected.map(|(name, subject, value)| (name, subject.to_owned(), value)));
        let idle = measures(&Measured::default());
        assert!(idle.iter().all(|m| m.value == 0.0 && m.subject.is_empty()), "{idle:?}");
        assert_eq!(idle.len(), 5, "nothing was called and nobody answered: {idle:?}");
    }
}
