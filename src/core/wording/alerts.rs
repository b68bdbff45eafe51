//! Every sentence that tells the owner of trouble, and that it is over: the number, the limit, and what to do. Pure, like its
//! parent.

use std::time::Duration;

use super::format::{self, elapsed, rounded, second};
use super::money::budget_name;
use crate::clock::Timestamp;
use crate::core::alerts::{Kind, Note, Rule, Unit};
use crate::core::money::dollars;
use crate::core::providers::{self, ProviderTarget};
use crate::locale::fl;
use crate::store::providers::Trouble;
use crate::upstream::Provider;

pub use super::format::elapsed as span;

/// A group on Telegram became a supergroup.
pub fn group_upgraded(old: &str, new: &str) -> String {
    fl!("alert-group-upgraded", old = old, new = new)
}

/// Trouble: `subject` is what it is of, empty for the whole bot.
pub fn raised(rule: &Rule, subject: &str, value: f64, threshold: f64, note: &Note) -> String {
    let days_left = value.ceil() as i64;
    let count = value.round() as i64;
    let micro_usd = value * 1e6;
    let limit = amount(rule.unit, threshold);
    let value = amount(rule.unit, value);
    let sentence = match (rule.kind, note) {
        (Kind::Cpu, _) => fl!("alert-in-use-cpu", value = value, limit = limit),
        (Kind::Memory, _) => fl!("alert-in-use-memory", value = value, limit = limit),
        (Kind::FirstText, _) => fl!("alert-first-text", value = value, limit = limit),
        (Kind::TokensToday, _) => fl!("alert-tokens", value = value, limit = limit),
        (Kind::RateLimits, _) => fl!("alert-rate-limits", count = count, limit = limit),
        (Kind::CostToday, _) => {
            fl!("alert-cost", value = value, limit = limit, suggested = a_cap_above(micro_usd))
        }
        (Kind::LaneOut, Note::Failing { provider, cause, reference }) => {
            let (cause, reference) = (words(cause), reference.as_str());
            match provider.as_deref().and_then(providers::provider_of).map(providers::title) {
                Some(provider) => {
                    fl!("alert-lane-out-provider", provider = provider, cause = cause, reference = reference)
                }
                None => fl!("alert-lane-out-cause", cause = cause, reference = reference),
            }
        }
        (Kind::LaneOut, _) => fl!("alert-lane-out"),
        (Kind::LaneSlow, Note::Slow { latest, usual }) => {
            let (latest, usual) = (elapsed(*latest), elapsed(*usual));
            fl!("alert-lane-slow-times", latest = latest, usual = usual, value = value, limit = limit)
        }
        (Kind::LaneSlow, _) => fl!("alert-lane-slow", value = value, limit = limit),
        (Kind::QueueLength, _) => fl!("alert-queue-length", count = count, limit = limit),
        (Kind::QueueAge, _) => fl!("alert-queue-wait", value = value, limit = limit),
        (Kind::ToolSuccess, _) => fl!("alert-tools", value = value, limit = limit),
        (Kind::InstanceLost, _) => fl!("alert-instance", value = value),
        (Kind::ClockOff, Note::Stopped) => fl!("alert-clock-stopped", instance = subject, value = value),
        (Kind::ClockOff, _) => fl!("alert-clock", instance = subject, value = value),
        (Kind::NoRoom, Note::NoRoom(why)) => fl!("alert-disk", cause = why.as_str()),
        (Kind::NoRoom, _) => fl!("alert-disk", cause = fl!("alert-disk-cause")),
        (Kind::OutOfCredit, Note::Stuck { target, .. }) => out_of_credit(target),
        (Kind::KeyRefused, Note::Stuck { target, .. }) => key_refused(target),
        (Kind::TargetGone, Note::Stuck { target, .. }) => not_found(target),
        (Kind::BadRequest, Note::Stuck { detail, reference, .. }) => {
            fl!("alert-request-detail", detail = detail.as_str(), reference = reference.as_str())
        }
        (Kind::CallsFailed, Note::CallsFailed { cause, calls }) => calls_failed(subject, value, *calls, cause),
        (Kind::ModelDays, Note::Going { target, day }) => going(target, day, days_left),
        // Never without its note.
        (
            Kind::OutOfCredit
            | Kind::KeyRefused
            | Kind::TargetGone
            | Kind::BadRequest
            | Kind::CallsFailed
            | Kind::ModelDays,
            _,
        ) => fl!("alert-plain", what = rule.measures, limit = limit),
    };
    fl!("alert-raised", title = title(rule.kind, subject), sentence = sentence)
}

/// What a trouble means and what ends it, in one line for the dashboard too.
pub fn trouble(target: &ProviderTarget, trouble: Trouble) -> String {
    match trouble {
        Trouble::Credit => out_of_credit(target),
        Trouble::Key => key_refused(target),
        Trouble::Gone => not_found(target),
        Trouble::Request => fl!("alert-request"),
    }
}

fn out_of_credit(target: &ProviderTarget) -> String {
    match target.provider {
        Provider::OpenAi => fl!("alert-openai-credit"),
        Provider::Gemini => fl!("alert-gemini-credit"),
        Provider::Apify => fl!("alert-apify-credit"),
        Provider::N8n => fl!("alert-n8n-credit", lane = target.name.as_str()),
    }
}

fn key_refused(target: &ProviderTarget) -> String {
    match target.provider {
        Provider::OpenAi => fl!("alert-openai-key"),
        Provider::Gemini => fl!("alert-gemini-key"),
        Provider::Apify => fl!("alert-apify-key"),
        Provider::N8n => fl!("alert-n8n-key"),
    }
}

fn not_found(target: &ProviderTarget) -> String {
    let model = target.target.as_str();
    match target.provider {
        Provider::OpenAi if target.variables.contains(&"COACH_MODEL") => {
            fl!("alert-openai-gone-coach", model = model, remedy = replace(target))
        }
        Provider::OpenAi => fl!("alert-openai-gone-economy", model = model, remedy = replace(target)),
        Provider::Gemini => fl!("alert-gemini-gone", model = model, remedy = replace(target)),
        Provider::Apify => fl!("alert-apify-gone", actor = model),
        Provider::N8n => fl!("alert-n8n-gone"),
    }
}

fn going(target: &ProviderTarget, date: &str, days_left: i64) -> String {
    let (model, remedy) = (target.target.as_str(), replace(target));
    match days_left {
        ..0 => fl!("alert-went", model = model, date = date, remedy = remedy),
        days => fl!("alert-going", days = days, model = model, date = date, remedy = remedy),
    }
}

/// `Set COACH_MODEL to gpt-6.1-sol`.
fn replace(target: &ProviderTarget) -> String {
    let variables = target.variables.join(&format!(" {} ", fl!("alert-set-and")));
    match target.successor() {
        Some(successor) => fl!("alert-set", variables = variables, successor = successor.to_string()),
        None => fl!("alert-set-current", variables = variables),
    }
}

fn calls_failed(subject: &str, share: String, count: i64, cause: &str) -> String {
    let is_limited = ["rate_limited", "crowded"].contains(&cause);
    let cause = words(cause);
    let provider = providers::provider_of(subject);
    let remedy = match provider {
        Some(Provider::OpenAi) if is_limited => fl!("alert-check-openai-limited"),
        Some(Provider::OpenAi) => fl!("alert-check-openai"),
        Some(Provider::Gemini) if is_limited => fl!("alert-check-gemini-limited"),
        Some(Provider::Gemini) => fl!("alert-check-gemini"),
        Some(Provider::Apify) if is_limited => fl!("alert-check-apify-limited"),
        Some(Provider::Apify) => fl!("alert-check-apify"),
        Some(Provider::N8n) => fl!("alert-check-n8n"),
        None => fl!("alert-check-other"),
    };
    match provider {
        Some(Provider::OpenAi) => {
            fl!("alert-failing-openai", share = share, count = count, cause = cause, remedy = remedy)
        }
        Some(Provider::Gemini) => {
            fl!("alert-failing-gemini", share = share, count = count, cause = cause, remedy = remedy)
        }
        Some(Provider::Apify | Provider::N8n) => {
            fl!("alert-failing-runs", share = share, count = count, cause = cause, remedy = remedy)
        }
        None => fl!("alert-failing-calls", share = share, count = count, cause = cause, remedy = remedy),
    }
}

/// A cause's name for people.
fn words(cause: &str) -> String {
    cause.replace('_', " ")
}

/// Whole dollars above what a day has cost already, for a cap that does not stop everything at once.
fn a_cap_above(micro_usd: f64) -> i64 {
    let usd = micro_usd / 1e6 * 1.25;
    let step = if usd < 10.0 { 1.0 } else { 5.0 };
    ((usd / step).ceil() * step).max(1.0) as i64
}

/// It is over.
pub fn cleared(rule: &Rule, subject: &str, lasted: Duration, worst: f64) -> String {
    let lasted = elapsed(lasted);
    let worst = amount(rule.unit, worst);
    let sentence = match rule.kind {
        Kind::LaneOut => fl!("alert-cleared-lane", lasted = lasted),
        Kind::OutOfCredit | Kind::KeyRefused | Kind::TargetGone | Kind::BadRequest | Kind::CallsFailed => {
            fl!("alert-cleared-provider", lasted = lasted)
        }
        Kind::ModelDays => {
            let model = subject.split(' ').nth(1).unwrap_or(subject);
            fl!("alert-cleared-model", lasted = lasted, model = model)
        }
        Kind::ClockOff => fl!("alert-cleared-clock", instance = subject, lasted = lasted),
        Kind::InstanceLost => fl!("alert-cleared-instance", lasted = lasted),
        Kind::NoRoom => fl!("alert-cleared-disk", lasted = lasted),
        Kind::ToolSuccess => fl!("alert-cleared-lowest", lasted = lasted, worst = worst),
        Kind::Cpu
        | Kind::Memory
        | Kind::FirstText
        | Kind::TokensToday
        | Kind::RateLimits
        | Kind::CostToday
        | Kind::LaneSlow
        | Kind::QueueLength
        | Kind::QueueAge => fl!("alert-cleared-peak", lasted = lasted, worst = worst),
    };
    fl!("alert-cleared", title = title(rule.kind, subject), sentence = sentence)
}

/// A budget has passed a mark. `scope`: its name in the database; `period`: a day or a month.
pub fn budget_mark(scope: &str, period: &str, percent: i64, spent: i64, budget: Option<i64>) -> String {
    let spent = match budget {
        Some(cap) => fl!("alert-budget-of", spent = dollars(spent), cap = dollars(cap)),
        None => dollars(spent),
    };
    let what = match percent {
        ..80 => fl!("alert-budget-early"),
        80..100 => fl!("alert-budget-saving"),
        _ => fl!("alert-budget-used-up"),
    };
    let title = fl!("alert-title-budget", budget = budget_name(scope), period = format::period(period));
    let sentence = format!("{} {what}", fl!("alert-budget", percent = percent, spent = spent));
    fl!("alert-raised", title = title, sentence = sentence)
}

/// The database was away.
pub fn outage_over(lasted: Duration, until: Timestamp) -> String {
    let sentence = fl!("alert-database-over", lasted = elapsed(lasted), until = second(until));
    fl!("alert-cleared", title = fl!("alert-database"), sentence = sentence)
}

fn title(kind: Kind, subject: &str) -> String {
    let title = match kind {
        Kind::Cpu => fl!("alert-title-cpu"),
        Kind::Memory => fl!("alert-title-memory"),
        Kind::FirstText => fl!("alert-title-first-text"),
        Kind::TokensToday => fl!("alert-title-tokens"),
        Kind::RateLimits => fl!("alert-title-rate-limits"),
        Kind::CostToday => fl!("alert-title-cost"),
        Kind::LaneOut => fl!("alert-title-lane-out"),
        Kind::LaneSlow if !subject.is_empty() => return format!("{}, {subject}", fl!("alert-title-lane-slow")),
        Kind::LaneSlow => fl!("alert-title-lane-slow"),
        Kind::QueueLength => fl!("alert-title-queue-length"),
        Kind::QueueAge => fl!("alert-title-queue-wait"),
        Kind::ToolSuccess => fl!("alert-title-tools"),
        Kind::InstanceLost => fl!("alert-title-instance"),
        Kind::ClockOff => return fl!("alert-title-clock"),
        Kind::NoRoom => fl!("alert-title-disk"),
        Kind::OutOfCredit
        | Kind::KeyRefused
        | Kind::TargetGone
        | Kind::BadRequest
        | Kind::CallsFailed
        | Kind::ModelDays => return provider_title(subject),
    };
    if subject.is_empty() { title } else { format!("{title} {subject}") }
}

/// `OpenAI`, `n8n (n8n:0)`; what the service is asked for stands in the sentence.
fn provider_title(subject: &str) -> String {
    let name = subject.split(' ').next().unwrap_or(subject);
    match providers::provider_of(name) {
        Some(Provider::N8n) => fl!("alert-title-n8n", lane = name),
        Some(provider) => providers::title(provider).to_owned(),
        None => name.to_owned(),
    }
}

fn amount(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Percent => format!("{value:.0}%"),
        Unit::Seconds if value < 10.0 => fl!("duration-seconds", count = rounded(value)),
        Unit::Seconds => elapsed(Duration::try_from_secs_f64(value).unwrap_or_default()),
        Unit::Count if value >= 1e6 => fl!("alert-million", count = rounded(value / 1e6)),
        Unit::Count => format!("{value:.0}"),
        Unit::Dollars => dollars((value * 1e6).round() as i64),
        Unit::Days => fl!("alert-days", count = format!("{value:.0}")),
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
                Kind::ClockOff => ("web-2:8080", 2.43, 31.0),
                Kind::NoRoom => ("web-2:8080", 1.0, 1.0),
                Kind::OutOfCredit | Kind::KeyRefused | Kind::TargetGone | Kind::BadRequest => continue,
                Kind::CallsFailed | Kind::ModelDays => continue,
            };
            let note = match rule.kind {
                Kind::LaneOut => Note::Failing {
                    provider: Some("apify".into()),
                    cause: "timed_out".into(),
                    reference: "K7QX2M".into(),
                },
                Kind::LaneSlow => Note::Slow { latest: seconds(44), usual: seconds(27) },
                Kind::NoRoom => Note::NoRoom("no room for videos in /tmp (no storage space)".into()),
                _ => Note::Nothing,
            };
            said.push(raised(rule, subject, value, rule.threshold, &note));
            said.push(cleared(rule, subject, seconds(720), worst));
            if rule.kind == Kind::ClockOff {
                said.push(raised(rule, subject, 31.0, rule.threshold, &Note::Stopped));
            }
        }
        said.push(budget_mark("bot", "2026-11", 50, 50_100_000, Some(100_000_000)));
        said.push(budget_mark("platform:discord", "2026-11", 80, 8_000_000, Some(10_000_000)));
        said.push(budget_mark("chat:telegram:-100123", "2026-11", 100, 2_000_001, None));
        said.push(outage_over(seconds(42), Timestamp(1_795_500_000_000)));
        insta::assert_snapshot!(said.join("\n"));
    }

    #[test]
    fn sentences_about_paid_services() {
        let rule = |kind: Kind| RULES.iter().find(|rule| rule.kind == kind).unwrap();
        let target = |name: &str, target: &str, variables: &[&'static str]| ProviderTarget {
            provider: providers::provider_of(name).unwrap(),
            name: name.into(),
            target: target.into(),
            variables: variables.to_vec(),
        };
        let all = [
            target("openai", "gpt-5", &["COACH_MODEL"]),
            target("openai", "gpt-5-nano", &["ECONOMY_MODEL"]),
            target("openai", "gpt-6.1-sol", &["COACH_MODEL", "ECONOMY_MODEL"]),
            target("gemini", "gemini-2.5-pro", &["GEMINI_MODEL"]),
            target("apify", "somebody~scraper", &["APIFY_ACTOR"]),
            target("n8n:1", "", &["N8N_WEBHOOK_URLS"]),
        ];
        let mut said = Vec::new();
        for target in &all {
            let subject = format!("{} {}", target.name, target.target).trim_end().to_owned();
            for kind in [Kind::OutOfCredit, Kind::KeyRefused, Kind::TargetGone, Kind::BadRequest] {
                let (detail, reference) = ("400 invalid_request_error".into(), "K7QX2M".into());
                let note = Note::Stuck { target: target.clone(), detail, reference };
                said.push(raised(rule(kind), &subject, 1.0, 0.0, &note));
            }
            for cause in ["timed_out", "rate_limited"] {
                let note = Note::CallsFailed { cause: cause.into(), calls: 12 };
                said.push(raised(rule(Kind::CallsFailed), &target.name, 41.7, 20.0, &note));
            }
            said.push(cleared(rule(Kind::OutOfCredit), &target.name, Duration::from_secs(720), 1.0));
        }
        for days in [13.2, 6.9, 0.9, -0.1, -1.1] {
            let note = Note::Going { target: all[0].clone(), day: "2026-12-11".into() };
            said.push(raised(rule(Kind::ModelDays), "openai gpt-5", days, 14.0, &note));
        }
        said.push(cleared(rule(Kind::ModelDays), "openai gpt-5", Duration::from_secs(720), 3.0));
        for sentence in &said {
            assert!(!sentence.contains("by itself"), "{sentence}");
        }
        insta::assert_snapshot!(said.join("\n"));
    }
}
