//! When the operator is told: a table of rules, and for each thing that a rule looks at a state with hysteresis. Pure: what
//! is measured and when comes in, what has changed comes out. Owns the thresholds; says nothing itself.

mod measures;

use std::time::Duration;

use crate::clock::Timestamp;
use crate::store::instances::STOPPED_FROM_S;

pub use self::measures::{Instance, Lane, LaneOut, Measure, Measured, Note, days_until, measures};

/// What a rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Cpu,
    Memory,
    FirstText,
    TokensToday,
    RateLimits,
    CostToday,
    LaneOut,
    LaneSlow,
    QueueLength,
    QueueAge,
    ToolSuccess,
    InstanceLost,
    ClockOff,
    NoRoom,
    OutOfCredit,
    KeyRefused,
    TargetGone,
    BadRequest,
    CallsFailed,
    ModelDays,
}

/// How a number is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Percent,
    Seconds,
    Count,
    Dollars,
    Days,
}

/// On which side of the threshold the trouble is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Above,
    Below,
}

/// One rule.
#[derive(Debug)]
pub struct Rule {
    pub kind: Kind,
    /// In `ALERTS`, the database, the metrics and the Prometheus rules.
    pub name: &'static str,
    pub measures: &'static str,
    pub unit: Unit,
    pub side: Side,
    pub threshold: f64,
    /// It is over at this part of the threshold: between the two nothing changes.
    clear: f64,
    /// How long it must last until it is told, and be over until that is told.
    pub raise_after: Duration,
    pub clear_after: Duration,
    /// Passing one of these tells it once more.
    again_at: &'static [f64],
}

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

const fn rule(kind: Kind, name: &'static str, unit: Unit, threshold: f64, clear: f64, measures: &'static str) -> Rule {
    Rule {
        kind,
        name,
        measures,
        unit,
        side: Side::Above,
        threshold,
        clear,
        raise_after: minutes(2),
        clear_after: minutes(5),
        again_at: &[],
    }
}

impl Rule {
    const fn after(self, raise_after: Duration, clear_after: Duration) -> Rule {
        Rule { raise_after, clear_after, ..self }
    }

    const fn below(self) -> Rule {
        Rule { side: Side::Below, ..self }
    }

    const fn again_at(self, again_at: &'static [f64]) -> Rule {
        Rule { again_at, ..self }
    }
}

/// What a paid service says that stays until somebody does something about it: told at once, over once a call has worked
/// and none failed for a minute.
const fn stuck(kind: Kind, name: &'static str, measures: &'static str) -> Rule {
    rule(kind, name, Unit::Count, 0.0, 1.0, measures).after(Duration::ZERO, minutes(1))
}

/// Every rule.
pub const RULES: &[Rule] = &[
    rule(Kind::Cpu, "cpu_percent", Unit::Percent, 80.0, 0.9, "Processor time of an instance, of all its cores")
        .after(minutes(5), minutes(5)),
    rule(Kind::Memory, "memory_percent", Unit::Percent, 80.0, 0.95, "Memory of an instance, of what it may use"),
    rule(Kind::FirstText, "p95_s", Unit::Seconds, 5.0, 0.8, "95th percentile of the time to an answer's first text"),
    rule(Kind::ToolSuccess, "tool_success_percent", Unit::Percent, 95.0, 1.02, "Tool calls that worked, of 20 or more")
        .below(),
    rule(Kind::QueueLength, "queue_length", Unit::Count, 40.0, 0.75, "Reels that wait"),
    rule(Kind::QueueAge, "queue_age_s", Unit::Seconds, 600.0, 0.5, "How long the first reel of the line has waited")
        .after(Duration::ZERO, minutes(2)),
    rule(Kind::LaneOut, "lane_out", Unit::Count, 0.0, 1.0, "1 while a reel upstream is found failing (its breaker)")
        .after(Duration::ZERO, minutes(1)),
    rule(Kind::LaneSlow, "lane_slow_percent", Unit::Percent, 150.0, 0.85, "Median of 21 reels, of the last 7 days'")
        .after(minutes(5), minutes(10)),
    rule(Kind::RateLimits, "rate_limits", Unit::Count, 5.0, 0.4, "Answers that ask to wait (429)")
        .after(Duration::ZERO, minutes(5)),
    rule(Kind::TokensToday, "tokens_day", Unit::Count, 3_000_000.0, 1.0, "Tokens of OpenAI today (UTC)")
        .after(Duration::ZERO, Duration::ZERO),
    rule(
        Kind::CostToday,
        "cost_day_usd",
        Unit::Dollars,
        3.3,
        1.0,
        "Spent today (UTC), without what is set aside for calls in progress",
    )
    .after(minutes(1), minutes(1)),
    rule(
        Kind::InstanceLost,
        "instance_lost_s",
        Unit::Seconds,
        60.0,
        1.0,
        "Since an instance that did not say good-bye",
    )
    .after(Duration::ZERO, Duration::ZERO),
    rule(Kind::ClockOff, "clock_s", Unit::Seconds, 2.0, 0.5, "How far an instance's clock and PostgreSQL's are apart")
        .after(Duration::ZERO, minutes(1))
        .again_at(&[STOPPED_FROM_S]),
    rule(
        Kind::NoRoom,
        "no_video_room",
        Unit::Count,
        0.0,
        1.0,
        "1 while an instance cannot keep videos in its folder for temporary files",
    )
    .after(Duration::ZERO, minutes(1)),
    stuck(Kind::OutOfCredit, "out_of_credit", "1 while a paid service says that its credit is used up"),
    stuck(Kind::KeyRefused, "key_refused", "1 while a paid service refuses its key"),
    stuck(Kind::TargetGone, "not_found", "1 while a paid service does not know the model, actor or webhook"),
    stuck(Kind::BadRequest, "bad_request", "1 for an hour after a paid service refused a request as wrong"),
    rule(
        Kind::CallsFailed,
        "failed_percent",
        Unit::Percent,
        20.0,
        0.5,
        "Calls to a paid service that failed, of 10 or more",
    )
    .after(Duration::ZERO, minutes(5)),
    rule(
        Kind::ModelDays,
        "model_days",
        Unit::Days,
        14.0,
        1.0,
        "Days until OpenAI switches a model off; told again at 7, 1 and 0",
    )
    .below()
    .after(Duration::ZERO, Duration::ZERO)
    .again_at(&[7.0, 1.0, 0.0]),
];

/// An outage of the database is told when it is over, if it lasted at least so long.
pub const LONG_OUTAGE: Duration = Duration::from_secs(10);

/// After a longer time without a look, what began before it begins anew.
const GAP: Duration = minutes(5);

/// The thresholds in force; a rule without one is off.
#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds(Vec<Option<f64>>);

impl Default for Thresholds {
    fn default() -> Self {
        Self(RULES.iter().map(|rule| Some(rule.threshold)).collect())
    }
}

impl Thresholds {
    /// The defaults, changed by `name=number` or `name=off`, separated by commas.
    ///
    /// # Errors
    /// A sentence that names the rule.
    pub fn read(text: &str) -> Result<Thresholds, String> {
        let mut thresholds = Thresholds::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let short: String = part.chars().take(40).collect();
            let (name, value) = part.split_once('=').ok_or_else(|| format!("“{short}” is not name=number"))?;
            let (name, value) = (name.trim(), value.trim());
            let at = RULES.iter().position(|rule| rule.name == name).ok_or_else(|| {
                let names: Vec<&str> = RULES.iter().map(|rule| rule.name).collect();
                let name: String = name.chars().take(40).collect();
                format!("there is no rule “{name}”; the rules are {}", names.join(", "))
            })?;
            thresholds.0[at] = match value.parse::<f64>() {
                _ if value.eq_ignore_ascii_case("off") => None,
                Ok(number) if number.is_finite() && number >= 0.0 => Some(number),
                _ => return Err(format!("{name} is neither a number of at least 0 nor off")),
            };
        }
        Ok(thresholds)
    }

    pub fn of(&self, rule: &Rule) -> Option<f64> {
        RULES.iter().position(|known| known.kind == rule.kind).and_then(|at| self.0[at])
    }
}

/// How one thing stands under one rule. Nothing is kept of what is calm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// When it was told, if it was.
    pub raised_at: Option<Timestamp>,
    /// Since when it is to be told, or once it was told, since when it is over. `None`: told, and not over.
    pub turning_since: Option<Timestamp>,
    /// When the trouble began.
    pub since: Timestamp,
    pub worst: f64,
    /// The last look.
    pub seen_at: Timestamp,
}

/// What is to be told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    Raised { value: f64 },
    Cleared { lasted: Duration, worst: f64 },
}

impl Rule {
    /// Whether the value is trouble, is over, or neither.
    fn judge(&self, threshold: f64, value: Option<f64>) -> Verdict {
        let Some(value) = value else { return Verdict::Over };
        let over = threshold * self.clear;
        let (trouble, is_over) = match self.side {
            Side::Above => (value > threshold, value <= over),
            Side::Below => (value < threshold, value >= over.min(99.0)),
        };
        match (trouble, is_over) {
            (true, _) => Verdict::Trouble(value),
            (false, true) => Verdict::Over,
            // Also of what is not a number: it is not known, so nothing changes.
            (false, false) => Verdict::Between(value),
        }
    }

    /// Whether a value that is told already has passed a mark since the worst one before it.
    fn passes_mark(&self, worst: f64, value: f64) -> bool {
        self.again_at.iter().any(|mark| match self.side {
            Side::Above => value > *mark && worst <= *mark,
            Side::Below => value < *mark && worst >= *mark,
        })
    }

    fn worse(&self, one: f64, other: f64) -> f64 {
        match self.side {
            Side::Above => one.max(other),
            Side::Below => one.min(other),
        }
    }
}

enum Verdict {
    Trouble(f64),
    Between(f64),
    Over,
}

/// The next standing, and what is to be told of it. Without a `value` there is nothing to measure, and so no trouble; a rule
/// that is off (`threshold` is `None`) is forgotten in silence.
pub fn step(
    rule: &Rule,
    threshold: Option<f64>,
    standing: Option<Standing>,
    value: Option<f64>,
    now: Timestamp,
) -> (Option<Standing>, Option<Change>) {
    let Some(threshold) = threshold else { return (None, None) };
    let verdict = rule.judge(threshold, value);
    let known = standing.map(|mut known| {
        if now.since(known.seen_at) > GAP {
            known.turning_since = known.turning_since.map(|_| now);
        }
        known.seen_at = now;
        known
    });
    let told = known.filter(|known| known.raised_at.is_some());
    match (told, verdict) {
        (None, Verdict::Trouble(value)) => {
            let begin = Standing { raised_at: None, turning_since: Some(now), since: now, worst: value, seen_at: now };
            let mut next = known.unwrap_or(begin);
            next.worst = rule.worse(next.worst, value);
            let since = next.turning_since.unwrap_or(now);
            if now.since(since) < rule.raise_after {
                return (Some(next), None);
            }
            (Some(Standing { raised_at: Some(now), turning_since: None, ..next }), Some(Change::Raised { value }))
        }
        // What was on its way and is trouble no more was none.
        (None, Verdict::Between(_) | Verdict::Over) => (None, None),
        (Some(told), Verdict::Trouble(value) | Verdict::Between(value)) => {
            let again = rule.passes_mark(told.worst, value).then_some(Change::Raised { value });
            (Some(Standing { turning_since: None, worst: rule.worse(told.worst, value), ..told }), again)
        }
        (Some(told), Verdict::Over) => {
            let over_since = told.turning_since.unwrap_or(now);
            if now.since(over_since) < rule.clear_after {
                return (Some(Standing { turning_since: Some(over_since), ..told }), None);
            }
            (None, Some(Change::Cleared { lasted: over_since.since(told.since), worst: told.worst }))
        }
    }
}

#[cfg(test)]
mod tests;
