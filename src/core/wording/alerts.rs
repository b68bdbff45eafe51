//! Every sentence that tells the operator of trouble, and that it is over: the number, the limit, and what to do. Pure, like
//! its parent.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::core::alerts::{Kind, Note, Rule, Unit};
use crate::core::money::dollars;
use crate::core::providers::{self, ProviderTarget};
use crate::store::providers::Trouble;
use crate::upstream::Provider;

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
    let days_left = value.ceil() as i64;
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
        (Kind::LaneOut, Note::Failing { provider, cause, reference }) => {
            let who = provider.as_deref().and_then(providers::provider_of).map(providers::title);
            let who = who.map(|who| format!("{who}: ")).unwrap_or_default();
            format!("out of use after {who}{} (reference {reference}).", words(cause))
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
        (Kind::ClockOff, Note::Stopped) => format!("{subject} is {value} off and has stopped taking work."),
        (Kind::ClockOff, _) => format!("{subject} is {value} off."),
        (Kind::NoRoom, Note::NoRoom(why)) => format!("{why}."),
        (Kind::NoRoom, _) => "no room for videos.".to_owned(),
        (Kind::OutOfCredit, Note::Stuck { target, .. }) => return stuck(&title, &out_of_credit(target)),
        (Kind::KeyRefused, Note::Stuck { target, .. }) => return stuck(&title, &key_refused(target)),
        (Kind::TargetGone, Note::Stuck { target, .. }) => return stuck(&title, &not_found(target)),
        (Kind::BadRequest, Note::Stuck { detail, reference, .. }) => {
            let what = format!(
                "refused a request of mine ({detail}, reference {reference}). This is a fault in reelcoach. Please report it."
            );
            return stuck(&title, &what);
        }
        (Kind::CallsFailed, Note::CallsFailed { cause, calls }) => {
            format!("{value} of the last {calls} {} failed ({}).", calls_of(subject), words(cause))
        }
        (Kind::ModelDays, Note::Going { target, day }) => {
            return stuck(&title, &going(target, day, days_left));
        }
        // Never without its note.
        (
            Kind::OutOfCredit
            | Kind::KeyRefused
            | Kind::TargetGone
            | Kind::BadRequest
            | Kind::CallsFailed
            | Kind::ModelDays,
            _,
        ) => format!("{} ({limit}).", rule.measures),
    };
    format!("⚠️ **{title}**: {what} {}", remedy(rule.kind, subject, note))
}

fn stuck(title: &str, what: &str) -> String {
    format!("⚠️ **{title}**: {what}")
}

/// What a trouble means and what ends it, in one line for the dashboard too.
pub fn trouble(target: &ProviderTarget, trouble: Trouble) -> String {
    match trouble {
        Trouble::Credit => out_of_credit(target),
        Trouble::Key => key_refused(target),
        Trouble::Gone => not_found(target),
        Trouble::Request => "refused a request of mine. This is a fault in reelcoach. Please report it.".to_owned(),
    }
}

fn out_of_credit(target: &ProviderTarget) -> String {
    match target.provider {
        Provider::OpenAi => {
            "out of credit. Add credit or raise the limit at platform.openai.com (Billing). No answers until then."
                .to_owned()
        }
        Provider::Gemini => {
            "out of quota or billing is off. Check billing of the key's project at aistudio.google.com. \
             No new reels on direct lanes until then."
                .to_owned()
        }
        Provider::Apify => {
            "out of credit. Top up at console.apify.com/billing. No new reels on direct lanes until then.".to_owned()
        }
        Provider::N8n => format!(
            "its services are out of credit. Check the workflow's last execution. Lane {} is out of use until then.",
            target.name
        ),
    }
}

fn key_refused(target: &ProviderTarget) -> String {
    let (what, until) = match target.provider {
        Provider::OpenAi => ("refuses the key. Replace OPENAI_API_KEY and restart.", " No answers until then."),
        Provider::Gemini => {
            ("refuses the key. Replace GEMINI_API_KEY and restart.", " No new reels on direct lanes until then.")
        }
        Provider::Apify => {
            ("refuses the token. Replace APIFY_TOKEN and restart.", " No new reels on direct lanes until then.")
        }
        Provider::N8n => ("refuses the secret. Make N8N_SECRET match the workflow's X-Reel-Secret and restart.", ""),
    };
    format!("{what}{until}")
}

fn not_found(target: &ProviderTarget) -> String {
    let name = &target.target;
    match target.provider {
        Provider::OpenAi => {
            let until = match target.variables.contains(&"COACH_MODEL") {
                true => "No answers until then.",
                false => "No summaries until then.",
            };
            format!("no longer has the model {name}. {} and restart. {until}", replace(target))
        }
        Provider::Gemini => format!(
            "no longer has the model {name}. {} and restart. No new reels on direct lanes until then.",
            replace(target)
        ),
        Provider::Apify => format!(
            "no longer has the actor {name}. Set APIFY_ACTOR and restart. No new reels on direct lanes until then."
        ),
        Provider::N8n => "doesn't know the webhook. Publish the workflow and check N8N_WEBHOOK_URLS.".to_owned(),
    }
}

fn going(target: &ProviderTarget, day: &str, days_left: i64) -> String {
    let name = &target.target;
    let when = match days_left {
        ..0 => format!("was switched off on {day}"),
        0 => format!("is switched off today ({day})"),
        1 => format!("is switched off tomorrow ({day})"),
        days => format!("is switched off in {days} days ({day})"),
    };
    let before = if days_left < 0 { "" } else { " before then" };
    format!("{name} {when}. {} and restart{before}.", replace(target))
}

/// `Set COACH_MODEL to gpt-6.1-sol`.
fn replace(target: &ProviderTarget) -> String {
    let variables = target.variables.join(" and ");
    match target.successor() {
        Some(successor) => format!("Set {variables} to {successor}"),
        None => format!("Set {variables} to a current model (docs/models-and-money.md)"),
    }
}

/// What a service is asked for, counted.
fn calls_of(subject: &str) -> &'static str {
    match providers::provider_of(subject) {
        Some(Provider::OpenAi) => "answers",
        Some(Provider::Gemini) => "videos",
        Some(Provider::Apify | Provider::N8n) => "runs",
        None => "calls",
    }
}

/// A cause's name for people.
fn words(cause: &str) -> String {
    cause.replace('_', " ")
}

/// It is over.
pub fn cleared(rule: &Rule, subject: &str, lasted: Duration, worst: f64) -> String {
    let title = title(rule.kind, subject);
    let lasted = span(lasted);
    match rule.kind {
        Kind::LaneOut => format!("✅ **{title}**: resolved after {lasted}, it's working again."),
        Kind::OutOfCredit | Kind::KeyRefused | Kind::TargetGone | Kind::BadRequest | Kind::CallsFailed => {
            format!("✅ **{title}**: working again after {lasted}.")
        }
        Kind::ModelDays => {
            let model = subject.split(' ').nth(1).unwrap_or(subject);
            format!("✅ **{title}**: resolved after {lasted}, {model} is no longer used or stays longer.")
        }
        Kind::ClockOff => format!("✅ **{title}**: {subject} is right again after {lasted}."),
        Kind::InstanceLost => format!("✅ **{title}**: resolved after {lasted}, it is back or no longer waited for."),
        Kind::NoRoom => format!("✅ **{title}**: resolved after {lasted}, there is room for videos again."),
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
        Kind::LaneOut => "Lane",
        Kind::LaneSlow => "Reel time",
        Kind::QueueLength => "Queue length",
        Kind::QueueAge => "Queue wait",
        Kind::ToolSuccess => "Tools",
        Kind::InstanceLost => "Instance",
        Kind::ClockOff => return "Clock".to_owned(),
        Kind::NoRoom => "Disk",
        Kind::OutOfCredit
        | Kind::KeyRefused
        | Kind::TargetGone
        | Kind::BadRequest
        | Kind::CallsFailed
        | Kind::ModelDays => return provider_title(subject),
    };
    if subject.is_empty() { title.to_owned() } else { format!("{title} {subject}") }
}

/// `OpenAI`, `n8n (n8n:0)`; what the service is asked for stands in the sentence.
fn provider_title(subject: &str) -> String {
    let name = subject.split(' ').next().unwrap_or(subject);
    match providers::provider_of(name) {
        Some(Provider::N8n) => format!("n8n ({name})"),
        Some(provider) => providers::title(provider).to_owned(),
        None => name.to_owned(),
    }
}

fn remedy(kind: Kind, subject: &str, note: &Note) -> &'static str {
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
        Kind::LaneOut => "I'm trying it again on my own; `/queue` shows when.",
        Kind::LaneSlow => "Look at the status of Apify, Gemini or your n8n; `/queue` shows the lanes.",
        Kind::QueueLength | Kind::QueueAge => "Add a lane: `REEL_LANES` or `N8N_WEBHOOK_URLS`; see `/queue`.",
        Kind::ToolSuccess => "The log says which tool failed and why (“a tool failed”).",
        Kind::ClockOff if *note == Note::Stopped => "Fix its clock and restart it.",
        Kind::ClockOff => "Set up time synchronisation there.",
        Kind::InstanceLost => "Others take over its work; look at its log and start it again.",
        Kind::NoRoom => "Free space there, or set `TMPDIR` to a folder that it may write to. Reels wait until then.",
        Kind::CallsFailed => calls_remedy(subject, note),
        // Theirs are part of what is said.
        Kind::OutOfCredit | Kind::KeyRefused | Kind::TargetGone | Kind::BadRequest | Kind::ModelDays => "",
    }
}

fn calls_remedy(subject: &str, note: &Note) -> &'static str {
    let is_limited =
        matches!(note, Note::CallsFailed { cause, .. } if ["rate_limited", "crowded"].contains(&cause.as_str()));
    match providers::provider_of(subject) {
        Some(Provider::OpenAi) if is_limited => "Ask OpenAI for a higher tier or lower `MAX_TURNS`. I keep trying.",
        Some(Provider::OpenAi) => "Check status.openai.com. I keep trying.",
        Some(Provider::Gemini) if is_limited => "Ask Google for a higher tier or lower `REEL_LANES`. I keep trying.",
        Some(Provider::Gemini) => "Check Google's status page. I keep trying.",
        Some(Provider::Apify) => "Check status.apify.com. I keep trying.",
        Some(Provider::N8n) => "Check the workflow's executions. I keep trying.",
        None => "I keep trying.",
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
        Unit::Days => format!("{value:.0} days"),
    }
}

/// With one decimal where there is one.
fn rounded(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// `45 s`, `12 min`, `3 h 5 min`.
pub fn span(span: Duration) -> String {
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

    #[test]
    fn spans_for_people() {
        let said = [0, 45, 99, 100, 720, 5_969, 5_970, 36_000].map(|seconds| span(Duration::from_secs(seconds)));
        assert_eq!(said, ["0 s", "45 s", "99 s", "2 min", "12 min", "99 min", "1 h 40 min", "10 h 0 min"]);
    }
}
