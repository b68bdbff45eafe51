//! What the dashboard shows, panel by panel, from an overview. Each is replaced on an open page when it changes, so it
//! holds no field that somebody types into. Owns how things are told; never what they are.

use std::time::Duration;

use chrono::SecondsFormat;
use maud::{Markup, html};

use super::chart;
use crate::clock::Timestamp;
use crate::core::admin::overview::{Day, ModelUse, Overview};
use crate::core::board::{InLine, View};
use crate::core::money::dollars;
use crate::core::providers::{ProviderHealth, ProviderStatus, provider_of, title};
use crate::core::report::Forecast;
use crate::core::wording::{LaneLine, alerts};
use crate::ids::InstanceId;
use crate::store::budgets::{Scope, Span, Spending};
use crate::store::failures::Noted;
use crate::store::instances::Seen;
use crate::store::providers::Trouble;
use crate::upstream::Provider;

/// Reels of the line that are shown one by one.
const SHOWN_IN_LINE: usize = 12;

/// Models and failures that are shown one by one.
const SHOWN_MODELS: usize = 8;
const SHOWN_FAILURES: usize = 10;

/// From this part of a budget on it is drawn as nearly used up, in percent.
const NEARLY: i64 = 80;

/// One part of the page that changes by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panel {
    pub id: &'static str,
    pub html: String,
}

/// How a state is coloured; the words beside it say the same.
#[derive(Clone, Copy)]
enum Tone {
    Good,
    Idle,
    Busy,
    Warn,
    Bad,
}

impl Tone {
    fn class(self) -> &'static str {
        match self {
            Tone::Good => "pill good",
            Tone::Idle => "pill idle",
            Tone::Busy => "pill busy",
            Tone::Warn => "pill warn",
            Tone::Bad => "pill bad",
        }
    }
}

/// Every panel of an overview.
pub fn all(overview: &Overview) -> Vec<Panel> {
    let (now, line, sums) = (overview.at, &*overview.line, &*overview.sums);
    vec![
        panel("clock", clock(now)),
        panel("notice", notice(line, &overview.providers)),
        panel("tiles", tiles(overview)),
        panel("lanes", lanes(&line.lanes)),
        panel("queue", queue(line, now)),
        panel("budgets", budgets(&sums.spending, sums.forecast.as_ref(), now)),
        panel("usage", usage(&sums.days)),
        panel("models", models(&sums.models)),
        panel("upstreams", upstreams(&overview.providers, now)),
        panel("failures", failures(&overview.failures, now)),
        panel("instances", instances(&overview.instances, overview.instance)),
    ]
}

/// What is told where the database does not answer.
pub fn no_database() -> Panel {
    panel("notice", html! { p.notice.bad { "The database does not answer. What you see may be old." } })
}

fn panel(id: &'static str, inner: Markup) -> Panel {
    Panel { id, html: html! { div data-panel id=(id) { (inner) } }.into_string() }
}

fn clock(now: Timestamp) -> Markup {
    html! { (moment(now)) }
}

fn notice(line: &View, providers: &[ProviderHealth]) -> Markup {
    let out = line.lanes.iter().filter(|lane| lane.out_for.is_some() && !lane.paused).count();
    let paused = line.lanes.iter().filter(|lane| lane.paused).count();
    html! {
        @for provider in providers {
            @if let ProviderStatus::Stuck(trouble) = provider.status {
                p.notice.bad { (provider_name(&provider.name)) ": " (alerts::trouble(&provider.target, trouble)) }
            }
        }
        @if line.draining { p.notice.warn { "The line runs empty: no new reel is taken. " code { "/queue resume" } " opens it." } }
        @if paused == line.lanes.len() { p.notice.warn { "Every lane is paused: the line waits." } }
        @else if out + paused == line.lanes.len() { p.notice.bad { "No lane is in use: every upstream of the line is failing." } }
    }
}

fn tiles(overview: &Overview) -> Markup {
    let line = &*overview.line;
    let usable = line.lanes.iter().filter(|lane| !lane.paused && lane.out_for.is_none()).count();
    let of = |span: Span| {
        let mut spending = overview.sums.spending.iter();
        spending.find(|spending| spending.scope == Scope::Bot && spending.span == span)
    };
    let spent = |span: Span| dollars(of(span).map_or(0, |spending| spending.used.spent));
    let limit = |span: Span| match of(span).and_then(|spending| spending.cap) {
        Some(cap) => format!("of {}", dollars(cap)),
        None => "no limit".to_owned(),
    };
    let tile = |name: &str, value: String, more: String, tone: &str| {
        html! { div.tile.(tone) { dt { (name) } dd { strong { (value) } " " span { (more) } } } }
    };
    let waited = line.oldest.map_or("nobody waits".into(), |oldest| format!("longest {}", span_of(oldest)));
    let count = line.lanes.len();
    let lanes_told = match count {
        1 if usable == 1 => "of 1 lane".to_owned(),
        _ if usable == count => format!("of {count} lanes"),
        _ => format!("of {count}, {usable} usable"),
    };
    let failed_tone = if overview.failed_today > 0 { "warn" } else { "calm" };
    html! {
        dl.tiles {
            (tile("At work", line.working.to_string(), lanes_told, "calm"))
            (tile("Waiting", line.waiting.to_string(), waited, "calm"))
            (tile("A reel takes", span_of(line.typical), "usually".into(), "calm"))
            (tile("Spent today", spent(Span::Day), limit(Span::Day), "calm"))
            (tile("Spent this month", spent(Span::Month), limit(Span::Month), "calm"))
            (tile("Failures", overview.failed_today.to_string(), "in 24 h".into(), failed_tone))
        }
    }
}

fn lanes(lanes: &[LaneLine]) -> Markup {
    html! {
        ul.lanes {
            @for lane in lanes {
                @let (tone, state) = lane_state(lane);
                li {
                    span.name { (lane.name) }
                    span.(tone.class()) { (state) }
                    @if let Some(work) = &lane.at_work {
                        span.doing { (work.phase) " " code { (work.reel) } " for " (span_of(work.since)) }
                    }
                    @if let Some(failure) = &lane.last_failure {
                        span.past {
                            "last failed " (span_of(failure.ago)) " ago: " (words(&failure.cause)) " "
                            a href=(format!("/failure/{}", failure.reference)) { (failure.reference) }
                        }
                    }
                }
            }
        }
    }
}

fn lane_state(lane: &LaneLine) -> (Tone, String) {
    match (lane.paused, lane.out_for, &lane.at_work) {
        (true, _, Some(_)) => (Tone::Warn, "pauses after this".into()),
        (true, _, None) => (Tone::Warn, "paused".into()),
        (false, Some(again), _) if again.is_zero() => (Tone::Warn, "on trial".into()),
        (false, Some(again), _) => (Tone::Bad, format!("out, tried in {}", span_of(again))),
        (false, None, Some(_)) => (Tone::Busy, "at work".into()),
        (false, None, None) => (Tone::Good, "free".into()),
    }
}

fn queue(line: &View, now: Timestamp) -> Markup {
    let shown = &line.first[..line.first.len().min(SHOWN_IN_LINE)];
    let hidden = (line.working + line.waiting).saturating_sub(shown.len());
    html! {
        @if shown.is_empty() {
            p.empty { "The line is empty." }
        } @else {
            table {
                caption.quiet { "Reels at work, then those that wait, in order" }
                thead { tr {
                    th scope="col" { "Place" } th scope="col" { "Reel" } th scope="col" { "State" }
                    th.number.wide scope="col" { "Asked" } th.number scope="col" { "Read in" }
                } }
                tbody { @for reel in shown {
                    tr {
                        td.number { @if reel.place > 0 { (reel.place) } @else { span.quiet { "at work" } span aria-hidden="true" { "▸" } } }
                        th scope="row" { code { (reel.reel) } }
                        td { (state(reel, now)) }
                        td.number.wide { (span_of(now.since(reel.asked_at))) " ago" }
                        td.number { "~ " (span_of(reel.end.since(now))) }
                    }
                } }
            }
            @if hidden > 0 { p.more { "and " (hidden) " more" } }
        }
    }
}

fn state(reel: &InLine, now: Timestamp) -> String {
    let is_later = reel.ready_at > now + Duration::from_secs(1);
    match reel.phase {
        Some(phase) => phase.name().to_owned(),
        None if reel.again => "tried again".to_owned(),
        None if is_later => format!("spaced, {}", span_of(reel.ready_at.since(now))),
        None => "waits".to_owned(),
    }
}

fn budgets(spending: &[Spending], forecast: Option<&Forecast>, now: Timestamp) -> Markup {
    let shown = spending.iter().filter(|of| of.scope == Scope::Bot || of.cap.is_some() || of.used.total() > 0);
    html! {
        ul.budgets {
            @for of in shown {
                @let forecast = forecast.filter(|_| of.scope == Scope::Bot && of.span == Span::Month);
                li { (budget(of, forecast, now)) }
            }
        }
        @match forecast {
            Some(forecast) => p.more {
                "At this pace the month will have cost " strong { (dollars(forecast.micro_usd)) }
                ": " (dollars(forecast.per_day_micro_usd)) " a day, the average of the last "
                (forecast.basis_days) @if forecast.basis_days == 1 { " complete day." } @else { " complete days." }
            },
            None => p.more { "A forecast needs one complete day with a cost." },
        }
    }
}

fn budget(of: &Spending, forecast: Option<&Forecast>, now: Timestamp) -> Markup {
    let whose = match &of.scope {
        Scope::Bot => "The bot",
        Scope::Platform(platform) => match platform {
            crate::ids::Platform::Discord => "Discord",
            crate::ids::Platform::Telegram => "Telegram",
            crate::ids::Platform::Console => "Console",
        },
        Scope::Guild(_) => "A server",
        Scope::Chat(_) => "A chat",
        Scope::Person(_) => "A person",
    };
    let span = match of.span {
        Span::Day => "today",
        Span::Month => "this month",
    };
    let left = span_of(of.resets_at.since(now));
    let Some(cap) = of.cap else {
        return html! {
            span.label { (whose) ", " (span) }
            span.amount { strong { (dollars(of.used.spent)) } " no limit" }
            (set_aside(of))
        };
    };
    let percent = percent(of.used.spent, cap);
    let expected = forecast.map(|forecast| self::percent(forecast.micro_usd, cap));
    let tone = match percent {
        100.. => "over",
        NEARLY.. => "near",
        _ => "within",
    };
    html! {
        span.label { (whose) ", " (span) }
        span.amount { strong { (dollars(of.used.spent)) } " of " (dollars(cap)) }
        (chart::bar(&format!("{whose}, {span}: {percent}% of the budget is used"), percent, expected, tone))
        span.past {
            (percent) "% used, resets in " (left)
            @if let Some(expected) = expected { ", forecast " (expected) "%" }
        }
        (set_aside(of))
    }
}

/// What calls under way may still cost, where there are any.
fn set_aside(of: &Spending) -> Markup {
    html! {
        @if of.used.set_aside > 0 {
            span.past { "+ " (dollars(of.used.set_aside)) " set aside" }
        }
    }
}

fn percent(part: i64, whole: i64) -> i64 {
    match whole {
        ..=0 => 100,
        whole => (i128::from(part) * 100 / i128::from(whole)).clamp(0, 100_000) as i64,
    }
}

fn usage(days: &[Day]) -> Markup {
    let series = |of: fn(&Day) -> i64| -> Vec<_> { days.iter().map(|day| (day.date, of(day))).collect() };
    let count = |value: i64| grouped(value);
    if days.iter().all(|day| day.messages == 0 && day.reels == 0 && day.micro_usd == 0) {
        return html! { p.empty { "Nothing has happened yet. Days with messages, reels and cost will stand here." } };
    }
    html! {
        div.charts {
            (chart::days("Messages", &series(|day| day.messages), count))
            (chart::days("Reels read", &series(|day| day.reels), count))
            (chart::days("Cost", &series(|day| day.micro_usd), dollars))
        }
        details id="usage-numbers" {
            summary { "The same in numbers" }
            div.scroll tabindex="0" role="region" aria-label="Usage per day" {
                table {
                    caption.quiet { "Usage per day (UTC)" }
                    thead { tr {
                        th scope="col" { "Day" } th.number scope="col" { "Messages" }
                        th.number scope="col" { "Reels" } th.number scope="col" { "Cost" }
                    } }
                    tbody { @for day in days.iter().rev() { tr {
                        th scope="row" { (day.date) } td.number { (grouped(day.messages)) }
                        td.number { (grouped(day.reels)) } td.number { (dollars(day.micro_usd)) }
                    } } }
                }
            }
        }
    }
}

fn models(models: &[ModelUse]) -> Markup {
    let shown = &models[..models.len().min(SHOWN_MODELS)];
    html! {
        @if shown.is_empty() { p.empty { "No paid call this month." } }
        @else {
            table {
                caption.quiet { "Calls and cost of this month by model" }
                thead { tr {
                    th scope="col" { "Model" } th.number scope="col" { "Calls" } th.number.wide scope="col" { "Tokens in" }
                    th.number.wide scope="col" { "Cached" } th.number.wide scope="col" { "Out" } th.number scope="col" { "Cost" }
                } }
                tbody { @for used in shown { tr {
                    th scope="row" { (used.model) " " span.past { (provider_name(&used.provider)) } }
                    td.number { (grouped(used.used.calls)) }
                    td.number.wide { (grouped(used.used.input_tokens)) }
                    td.number.wide {
                        @if used.used.input_tokens > 0 { (percent(used.used.cached_tokens, used.used.input_tokens)) "%" } @else { "–" }
                    }
                    td.number.wide { (grouped(used.used.output_tokens)) }
                    td.number { (dollars(used.used.micro_usd)) }
                } } }
            }
            @if models.len() > shown.len() { p.more { "and " (models.len() - shown.len()) " more" } }
        }
    }
}

fn upstreams(providers: &[ProviderHealth], now: Timestamp) -> Markup {
    html! {
        @if providers.is_empty() { p.empty { "No call within the last hour." } }
        @else {
            table {
                caption.quiet { "Calls to each provider within the last hour" }
                thead { tr {
                    th scope="col" { "Provider" } th scope="col" { "State" } th.number scope="col" { "Calls" }
                    th.number scope="col" { "Failed" } th.number scope="col" { abbr title="Too many requests" { "429" } }
                } }
                tbody { @for provider in providers {
                    @let (tone, state) = provider_state(provider.status);
                    @let calls = &provider.calls;
                    tr {
                        th scope="row" {
                            (provider_name(&provider.name))
                            @if let Some((cause, at)) = &provider.last_failure {
                                span.past.block { (words(cause)) ", " (span_of(now.since(*at))) " ago" }
                            }
                        }
                        td { span.(tone.class()) { (state) } }
                        td.number { (grouped(calls.calls)) } td.number { (grouped(calls.failed)) }
                        td.number { (grouped(calls.rate_limited)) }
                    }
                } }
            }
        }
    }
}

fn provider_state(status: ProviderStatus) -> (Tone, &'static str) {
    match status {
        ProviderStatus::Working => (Tone::Good, "working"),
        ProviderStatus::SomeFail => (Tone::Warn, "some fail"),
        ProviderStatus::Failing => (Tone::Bad, "failing"),
        ProviderStatus::Stuck(Trouble::Credit) => (Tone::Bad, "out of credit"),
        ProviderStatus::Stuck(Trouble::Key) => (Tone::Bad, "key refused"),
        ProviderStatus::Stuck(Trouble::Gone) => (Tone::Bad, "not found"),
        ProviderStatus::Stuck(Trouble::Request) => (Tone::Bad, "bad request"),
    }
}

fn failures(failures: &[Noted], now: Timestamp) -> Markup {
    html! {
        @if failures.is_empty() { p.empty { "No failure is noted." } }
        @else {
            table {
                caption.quiet { "The latest failures, newest first" }
                thead { tr {
                    th scope="col" { "Code" } th scope="col" { "Cause" } th.wide scope="col" { "What" }
                    th.number scope="col" { "When" }
                } }
                tbody { @for failure in failures.iter().take(SHOWN_FAILURES) { tr {
                    th.code scope="row" { a href=(format!("/failure/{}", failure.reference)) { code { (failure.reference) } } }
                    td { (words(&failure.cause)) }
                    td.wide.whole { (failure.part) " " code { (short_id(&failure.subject)) } }
                    td.number { time datetime=(iso(failure.at)) title=(moment_text(failure.at)) { (span_of(now.since(failure.at))) " ago" } }
                } } }
            }
        }
    }
}

fn instances(seen: &[Seen], own: InstanceId) -> Markup {
    let own = own.to_string();
    let is_seen = seen.iter().any(|seen| seen.instance == own);
    let silent = Seen { instance: own.clone(), roles: Vec::new(), turns: 0, jobs: 0 };
    let rows = seen.iter().chain((!is_seen).then_some(&silent));
    html! {
        table {
            caption.quiet { "Instances that live" }
            thead { tr {
                th scope="col" { "Instance" } th scope="col" { "Roles" }
                th.number scope="col" { "Answers" } th.number scope="col" { "Reels" }
            } }
            tbody { @for instance in rows { tr {
                th scope="row" {
                    code { (short_id(&instance.instance)) }
                    @if instance.instance == own { " " span.(Tone::Idle.class()) { "this one" } }
                }
                td { @if instance.roles.is_empty() { span.past { "none" } } @else { (instance.roles.join(", ")) } }
                td.number { (instance.turns) } td.number { (instance.jobs) }
            } } }
        }
    }
}

/// A span for people: `12 s`, `3 min`, `5 h`, `2 d`.
pub fn span_of(span: Duration) -> String {
    match span.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// A moment, for people and programs.
pub fn moment(at: Timestamp) -> Markup {
    html! { time datetime=(iso(at)) { (moment_text(at)) } }
}

fn moment_text(at: Timestamp) -> String {
    at.utc().map(|at| at.format("%Y-%m-%d %H:%M:%S UTC").to_string()).unwrap_or_default()
}

fn iso(at: Timestamp) -> String {
    at.utc().map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true)).unwrap_or_default()
}

/// A cause's name for people.
pub fn words(cause: &str) -> String {
    cause.replace('_', " ")
}

fn provider_name(name: &str) -> String {
    match provider_of(name) {
        Some(Provider::N8n) => name.to_owned(),
        Some(provider) => title(provider).to_owned(),
        None => name.to_owned(),
    }
}

/// Enough of an id to tell it from others; its end, because ids that are made one after the other begin alike.
fn short_id(id: &str) -> String {
    match id.char_indices().rev().nth(7) {
        Some((from, _)) if id.len() == 32 => format!("…{}", &id[from..]),
        _ => id.to_owned(),
    }
}

/// `1,234,567`.
fn grouped(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = String::from(if value < 0 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_spans_are_short() {
        assert_eq!([0, 999, 1000, -1_234_567].map(grouped), ["0", "999", "1,000", "-1,234,567"]);
        let spans = [0, 119, 120, 7199, 7200, 172_800].map(|seconds| span_of(Duration::from_secs(seconds)));
        assert_eq!(spans, ["0 s", "119 s", "2 min", "119 min", "2 h", "2 d"]);
        assert_eq!(short_id("0190b6f0d1e27a3c8f4e5d6c7b8a9f01"), "…7b8a9f01");
        assert_eq!(short_id("DLlGZiCOBQ0"), "DLlGZiCOBQ0");
        assert_eq!([percent(1, 0), percent(1, 3), percent(i64::MAX, 1)], [100, 33, 100_000]);
    }

    #[test]
    fn names_are_never_markup() {
        let hostile = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>";
        let used = ModelUse {
            provider: hostile.into(),
            model: hostile.repeat(9),
            used: crate::store::usage::Sums { calls: 1, micro_usd: 1, ..Default::default() },
        };
        let noted = Noted {
            reference: hostile.into(),
            at: Timestamp(0),
            part: hostile.into(),
            subject: hostile.into(),
            cause: hostile.into(),
            detail: hostile.into(),
        };
        let shown = models(&[used]).into_string() + &failures(&[noted], Timestamp(0)).into_string();
        assert!(!shown.contains("<script") && !shown.contains("<img"), "{shown}");
        assert!(shown.contains("&lt;script&gt;") && !shown.contains("\"'>"), "{shown}");
    }
}
