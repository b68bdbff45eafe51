//! Every sentence that tells the operator of trouble, and that it is over: the number, the limit, and what to do. Pure, like
//! its parent.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::core::alerts::{Kind, Note, Rule, Unit};
use crate::core::money::dollars;

/// A group on Telegram became a supergroup.
pub fn group_upgraded(old: &str, new: &str) -> String {
    format!(
        "The group `{old}` got a new ID: `{new}`. Settings and budgets moved along. Update ALLOWED_CHANNELS or ALERT_CHAT if \
         they name the old one."
    )
}

/// Trouble: `subject` is what it is of, empty for the whole bot.
pub fn raised(rule: &Rule, subject: &str, value: f64, threshold: f64, note: &Note) -> String {
    let title = title(rule.kind, subject);
    let limit = format!("limit {}", amount(rule.unit, threshold));
    let value = amount(rule.unit, value);
    let what = match (rule.kind, note) {
        (Kind::Cpu | Kind::Memory, _) => format!("{value} in use ({limit})."),
        (Kind::FirstText, _) => {
            format!("of the answers of the last 10 min, 95% began within {value} ({limit}).")
        }
        (Kind::TokensToday, _) => format!("{value} tokens of OpenAI since midnight UTC ({limit})."),
        (Kind::RateLimits, _) => format!("paid services asked {value} times to wait in the last 10 min ({limit})."),
        (Kind::CostToday, _) => format!("{value} since midnight UTC ({limit})."),
        (Kind::LaneOut, Note::Failing { cause, reference }) => {
            format!("out of use, last failure {cause} (reference {reference}).")
        }
        (Kind::LaneOut, _) => "out of use.".to_owned(),
        (Kind::LaneSlow, Note::Slow { latest, usual }) => {
            format!("a reel takes {}, usually {}: {value} ({limit}).", span(*latest), span(*usual))
        }
        (Kind::LaneSlow, _) => format!("reels take {value} of what is usual ({limit})."),
        (Kind::QueueLength, _) => format!("{value} reels wait ({limit})."),
        (Kind::QueueAge, _) => format!("the first reel of the line has waited for {value} ({limit})."),
        (Kind::ToolSuccess, _) => format!("{value} of the last 10 min's tool calls worked ({limit})."),
        (Kind::InstanceLost, _) => format!("not heard of for {value}."),
    };
    format!("⚠️ **{title}**: {what} {}", remedy(rule.kind))
}

/// It is over.
pub fn cleared(rule: &Rule, subject: &str, lasted: Duration, worst: f64) -> String {
    let title = title(rule.kind, subject);
    let lasted = span(lasted);
    match rule.kind {
        Kind::LaneOut => format!("✅ **{title}**: resolved after {lasted}, it works again."),
        Kind::InstanceLost => format!("✅ **{title}**: resolved after {lasted}, it is back or no longer waited for."),
        _ => format!("✅ **{title}**: resolved after {lasted}, worst {}.", amount(rule.unit, worst)),
    }
}

/// A budget has passed a mark. `scope`: its name in the database; `period`: a day or a month.
pub fn budget_mark(scope: &str, period: &str, percent: i64, spent: i64, budget: Option<i64>) -> String {
    let whose = match scope.split_once(':') {
        None => "the bot".to_owned(),
        Some((_, name)) => format!("`{name}`"),
    };
    let of = budget.map(|budget| format!(" of {}", dollars(budget))).unwrap_or_default();
    let what = match percent {
        ..80 => "Nothing changes yet; `/usage` says for what.",
        80..100 => "Answers get simpler from here on, and end when it is used up; `/budget` changes it.",
        _ => "What costs money is refused until it is filled again; `/budget` changes it.",
    };
    format!("⚠️ **Budget of {whose} for {period}**: {percent}% is used, {}{of}. {what}", dollars(spent))
}

/// The database was away.
pub fn outage_over(lasted: Duration, until: Timestamp) -> String {
    let until = until.utc().map(|at| at.format("%H:%M:%S UTC").to_string()).unwrap_or_default();
    format!(
        "✅ **Database**: it did not answer for {}, until {until}. Nothing is lost: what was written meanwhile is answered now. Look at its log if you did not restart it.",
        span(lasted)
    )
}

fn title(kind: Kind, subject: &str) -> String {
    let title = match kind {
        Kind::Cpu => "Processor",
        Kind::Memory => "Memory",
        Kind::FirstText => "Response time",
        Kind::TokensToday => "Tokens today",
        Kind::RateLimits => "Rate limits",
        Kind::CostToday => "Cost today",
        Kind::LaneOut => "Reel service",
        Kind::LaneSlow => "Reel time",
        Kind::QueueLength => "Queue length",
        Kind::QueueAge => "Queue wait",
        Kind::ToolSuccess => "Tools",
        Kind::InstanceLost => "Instance",
    };
    if subject.is_empty() { title.to_owned() } else { format!("{title} {subject}") }
}

fn remedy(kind: Kind) -> &'static str {
    match kind {
        Kind::Cpu => "Give it more cores or start another instance, or lower `MAX_TURNS`.",
        Kind::Memory => "Give it more memory, or lower `MAX_TURNS`.",
        Kind::FirstText => "Look at OpenAI's status; a lower `COACH_EFFORT` or a faster `COACH_MODEL` begins sooner.",
        Kind::TokensToday => {
            "Compare with the tokens per day of your OpenAI tier; `/usage` says which model used them."
        }
        Kind::RateLimits => {
            "Ask the service for a higher tier, or lower `MAX_TURNS` (answers) or `REEL_LANES` (reels)."
        }
        Kind::CostToday => "`/usage` says for what; `/budget bot day 5` would cap it.",
        Kind::LaneOut => "It is tried again by itself; `/queue` says when, the log says more under the reference.",
        Kind::LaneSlow => "Look at the status of Apify, Gemini or your n8n; `/queue` shows the lanes.",
        Kind::QueueLength | Kind::QueueAge => "Add a lane: `REEL_LANES` or `N8N_WEBHOOK_URLS`; see `/queue`.",
        Kind::ToolSuccess => "The log says which tool failed and why (“a tool failed”).",
        Kind::InstanceLost => "Others take over its work; look at its log and start it again.",
    }
}

fn amount(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Percent => format!("{value:.0}%"),
        Unit::Seconds if value < 10.0 => format!("{} s", rounded(value)),
        Unit::Seconds => span(Duration::try_from_secs_f64(value).unwrap_or_default()),
        Unit::Count if value >= 1e6 => format!("{} million", rounded(value / 1e6)),
        Unit::Count => format!("{value:.0}"),
        Unit::Dollars => dollars((value * 1e6).round() as i64),
    }
}

/// With one decimal where there is one.
fn rounded(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// `45 s`, `12 min`, `3 h 5 min`.
fn span(span: Duration) -> String {
    let seconds = span.as_secs_f64().round() as u64;
    match seconds {
        0..100 => format!("{seconds} s"),
        100..5_970 => format!("{} min", (seconds + 30) / 60),
        _ => format!("{} h {} min", (seconds + 30) / 3600, (seconds + 30) % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::alerts::RULES;

    #[test]
    fn sentences() {
        let seconds = Duration::from_secs;
        let mut said = Vec::new();
        for rule in RULES {
            let (subject, value, worst) = match rule.kind {
                Kind::Cpu | Kind::Memory => ("web-1:8080", 93.4, 97.0),
                Kind::FirstText => ("", 7.53, 12.4),
                Kind::TokensToday => ("", 3_123_456.0, 3_900_000.0),
                Kind::RateLimits => ("", 12.0, 31.0),
                Kind::CostToday => ("", 3.456, 4.0),
                Kind::LaneOut => ("direct", 1.0, 1.0),
                Kind::LaneSlow => ("n8n", 163.0, 200.0),
                Kind::QueueLength => ("", 52.0, 71.0),
                Kind::QueueAge => ("", 845.0, 4000.0),
                Kind::ToolSuccess => ("", 91.2, 85.0),
                Kind::InstanceLost => ("web-2:8080", 61.0, 300.0),
            };
            let note = match rule.kind {
                Kind::LaneOut => Note::Failing { cause: "out_of_credit".into(), reference: "K7QX2M".into() },
                Kind::LaneSlow => Note::Slow { latest: seconds(44), usual: seconds(27) },
                _ => Note::Nothing,
            };
            said.push(raised(rule, subject, value, rule.threshold, &note));
            said.push(cleared(rule, subject, seconds(720), worst));
        }
        said.push(budget_mark("bot", "2026-11", 50, 50_100_000, Some(100_000_000)));
        said.push(budget_mark("platform:discord", "2026-11", 80, 8_000_000, Some(10_000_000)));
        said.push(budget_mark("chat:telegram:-100123", "2026-11", 100, 2_000_001, None));
        said.push(outage_over(seconds(42), Timestamp(1_795_500_000_000)));
        insta::assert_snapshot!(said.join("\n"));
    }

    #[test]
    fn spans_for_people() {
        let said = [0, 45, 99, 100, 720, 5_969, 5_970, 36_000].map(|seconds| span(Duration::from_secs(seconds)));
        assert_eq!(said, ["0 s", "45 s", "99 s", "2 min", "12 min", "99 min", "1 h 40 min", "10 h 0 min"]);
    }
}
