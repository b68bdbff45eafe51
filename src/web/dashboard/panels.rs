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
use crate::core::wording::{self, LaneLine, alerts, elapsed};
use crate::ids::InstanceId;
use crate::locale::fl;
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
    panel("notice", html! { p.notice.bad { (fl!("web-notice-database")) } })
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
                @let problem = alerts::trouble(&provider.target, trouble);
                p.notice.bad { (fl!("web-notice-provider", provider = provider_name(&provider.name), problem = problem)) }
            }
        }
        @if line.draining { p.notice.warn { (fl!("web-notice-draining")) } }
        @if paused == line.lanes.len() { p.notice.warn { (fl!("web-notice-lanes-paused")) } }
        @else if out + paused == line.lanes.len() { p.notice.bad { (fl!("web-notice-lanes-out")) } }
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
        Some(cap) => fl!("web-tile-cap", cap = dollars(cap)),
        None => fl!("web-tile-no-limit"),
    };
    let tile = |name: String, value: String, more: String, tone: &str| {
        html! { div.tile.(tone) { dt { (name) } dd { strong { (value) } " " span { (more) } } } }
    };
    let waited = match line.oldest {
        Some(oldest) => fl!("web-tile-longest", wait = elapsed(oldest)),
        None => fl!("web-tile-nobody"),
    };
    let count = line.lanes.len();
    let lanes_told = match usable == count {
        true => fl!("web-tile-lanes", count = count),
        false => fl!("web-tile-lanes-usable", count = count, usable = usable),
    };
    let failed_tone = if overview.failed_today > 0 { "warn" } else { "calm" };
    html! {
        dl.tiles {
            (tile(fl!("web-tile-working"), line.working.to_string(), lanes_told, "calm"))
            (tile(fl!("web-tile-waiting"), line.waiting.to_string(), waited, "calm"))
            (tile(fl!("web-tile-typical"), elapsed(line.typical), fl!("web-tile-usually"), "calm"))
            (tile(fl!("web-tile-spent-today"), spent(Span::Day), limit(Span::Day), "calm"))
            (tile(fl!("web-tile-spent-month"), spent(Span::Month), limit(Span::Month), "calm"))
            (tile(fl!("web-tile-failures"), overview.failed_today.to_string(), fl!("web-tile-day"), failed_tone))
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
                        @let (phase, reel) = (wording::phase(work.phase), work.reel.to_string());
                        span.doing { (fl!("web-lane-doing", phase = phase, reel = reel, time = elapsed(work.since))) }
                    }
                    @if let Some(failure) = &lane.last_failure {
                        span.past {
                            (fl!("web-lane-last", ago = elapsed(failure.ago), cause = words(&failure.cause))) " "
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
        (true, _, Some(_)) => (Tone::Warn, fl!("web-lane-pausing")),
        (true, _, None) => (Tone::Warn, fl!("web-lane-paused")),
        (false, Some(again), _) if again.is_zero() => (Tone::Warn, fl!("web-lane-testing")),
        (false, Some(again), _) => (Tone::Bad, fl!("web-lane-out", wait = elapsed(again))),
        (false, None, Some(_)) => (Tone::Busy, fl!("web-lane-working")),
        (false, None, None) => (Tone::Good, fl!("web-lane-free")),
    }
}

fn queue(line: &View, now: Timestamp) -> Markup {
    let shown = &line.first[..line.first.len().min(SHOWN_IN_LINE)];
    let hidden = (line.working + line.waiting).saturating_sub(shown.len());
    html! {
        @if shown.is_empty() {
            p.empty { (fl!("web-queue-empty")) }
        } @else {
            table {
                caption.quiet { (fl!("web-queue-caption")) }
                thead { tr {
                    th scope="col" { (fl!("web-queue-position")) } th scope="col" { (fl!("web-queue-reel")) }
                    th scope="col" { (fl!("web-queue-state")) } th.number.wide scope="col" { (fl!("web-queue-sent")) }
                    th.number scope="col" { (fl!("web-queue-ready")) }
                } }
                tbody { @for reel in shown {
                    tr {
                        td.number { @if reel.place > 0 { (reel.place) } @else { span.quiet { (fl!("web-queue-working")) } span aria-hidden="true" { "▸" } } }
                        th scope="row" { code { (reel.reel) } }
                        td { (state(reel, now)) }
                        td.number.wide { (ago(reel.asked_at, now)) }
                        td.number { (fl!("web-queue-about", wait = elapsed(reel.end.since(now)))) }
                    }
                } }
            }
            @if hidden > 0 { p.more { (fl!("web-more", count = hidden)) } }
        }
    }
}

fn state(reel: &InLine, now: Timestamp) -> String {
    let is_later = reel.ready_at > now + Duration::from_secs(1);
    match reel.phase {
        Some(phase) => wording::phase(phase),
        None if reel.again => fl!("web-queue-retrying"),
        None if is_later => fl!("web-queue-spaced", wait = elapsed(reel.ready_at.since(now))),
        None => fl!("web-queue-waiting"),
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
            Some(forecast) => p.more { (expected(forecast)) },
            None => p.more { (fl!("web-forecast-none")) },
        }
    }
}

fn expected(forecast: &Forecast) -> String {
    let (amount, per_day) = (dollars(forecast.micro_usd), dollars(forecast.per_day_micro_usd));
    fl!("web-forecast", basis = forecast.basis_days, amount = amount, per_day = per_day)
}

fn budget(of: &Spending, forecast: Option<&Forecast>, now: Timestamp) -> Markup {
    let whose = match &of.scope {
        Scope::Bot => fl!("web-budget-bot"),
        Scope::Platform(platform) => match platform {
            crate::ids::Platform::Discord => "Discord".to_owned(),
            crate::ids::Platform::Telegram => "Telegram".to_owned(),
            crate::ids::Platform::Console => "Console".to_owned(),
        },
        Scope::Guild(_) => fl!("web-budget-server"),
        Scope::Chat(_) => fl!("web-budget-chat"),
        Scope::Person(_) => fl!("web-budget-person"),
    };
    let label = fl!("web-budget", span = of.span.name(), whose = whose);
    let left = elapsed(of.resets_at.since(now));
    let Some(cap) = of.cap else {
        return html! {
            span.label { (label) }
            span.amount { strong { (dollars(of.used.spent)) } " " (fl!("web-budget-no-limit")) }
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
        span.label { (label) }
        span.amount { strong { (dollars(of.used.spent)) } " " (fl!("web-budget-of", cap = dollars(cap))) }
        (chart::bar(&fl!("web-budget-bar", budget = label.as_str(), percent = percent), percent, expected, tone))
        span.past {
            @match expected {
                Some(expected) => (fl!("web-budget-resets-forecast", percent = percent, wait = left, forecast = expected)),
                None => (fl!("web-budget-resets", percent = percent, wait = left)),
            }
        }
        (set_aside(of))
    }
}

/// What calls under way may still cost, where there are any.
fn set_aside(of: &Spending) -> Markup {
    html! {
        @if of.used.set_aside > 0 {
            span.past { (fl!("web-budget-aside", amount = dollars(of.used.set_aside))) }
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
        return html! { p.empty { (fl!("web-usage-empty")) } };
    }
    html! {
        div.charts {
            (chart::days(&fl!("web-usage-messages"), &series(|day| day.messages), count))
            (chart::days(&fl!("web-usage-watched"), &series(|day| day.reels), count))
            (chart::days(&fl!("web-usage-cost"), &series(|day| day.micro_usd), dollars))
        }
        details id="usage-numbers" {
            summary { (fl!("web-usage-numbers")) }
            div.scroll tabindex="0" role="region" aria-label=(fl!("web-usage-table")) {
                table {
                    caption.quiet { (fl!("web-usage-caption")) }
                    thead { tr {
                        th scope="col" { (fl!("web-usage-day")) } th.number scope="col" { (fl!("web-usage-messages")) }
                        th.number scope="col" { (fl!("web-usage-reels")) } th.number scope="col" { (fl!("web-usage-cost")) }
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
        @if shown.is_empty() { p.empty { (fl!("web-models-empty")) } }
        @else {
            table {
                caption.quiet { (fl!("web-models-caption")) }
                thead { tr {
                    th scope="col" { (fl!("web-models-model")) } th.number scope="col" { (fl!("web-models-calls")) }
                    th.number.wide scope="col" { (fl!("web-models-in")) } th.number.wide scope="col" { (fl!("web-models-cached")) }
                    th.number.wide scope="col" { (fl!("web-models-out")) } th.number scope="col" { (fl!("web-models-cost")) }
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
            @if models.len() > shown.len() { @let hidden = models.len() - shown.len(); p.more { (fl!("web-more", count = hidden)) } }
        }
    }
}

fn upstreams(providers: &[ProviderHealth], now: Timestamp) -> Markup {
    html! {
        @if providers.is_empty() { p.empty { (fl!("web-providers-empty")) } }
        @else {
            table {
                caption.quiet { (fl!("web-providers-caption")) }
                thead { tr {
                    th scope="col" { (fl!("web-providers-provider")) } th scope="col" { (fl!("web-providers-state")) }
                    th.number scope="col" { (fl!("web-providers-calls")) } th.number scope="col" { (fl!("web-providers-failed")) }
                    th.number scope="col" { abbr title=(fl!("web-providers-limited")) { "429" } }
                } }
                tbody { @for provider in providers {
                    @let (tone, state) = provider_state(provider.status);
                    @let calls = &provider.calls;
                    tr {
                        th scope="row" {
                            (provider_name(&provider.name))
                            @if let Some((cause, at)) = &provider.last_failure {
                                span.past.block { (fl!("web-provider-last", cause = words(cause), ago = elapsed(now.since(*at)))) }
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

fn provider_state(status: ProviderStatus) -> (Tone, String) {
    match status {
        ProviderStatus::Working => (Tone::Good, fl!("web-provider-working")),
        ProviderStatus::SomeFail => (Tone::Warn, fl!("web-provider-some-fail")),
        ProviderStatus::Failing => (Tone::Bad, fl!("web-provider-failing")),
        ProviderStatus::Stuck(Trouble::Credit) => (Tone::Bad, fl!("web-provider-credit")),
        ProviderStatus::Stuck(Trouble::Key) => (Tone::Bad, fl!("web-provider-key")),
        ProviderStatus::Stuck(Trouble::Gone) => (Tone::Bad, fl!("web-provider-gone")),
        ProviderStatus::Stuck(Trouble::Request) => (Tone::Bad, fl!("web-provider-request")),
    }
}

fn failures(failures: &[Noted], now: Timestamp) -> Markup {
    html! {
        @if failures.is_empty() { p.empty { (fl!("web-failures-empty")) } }
        @else {
            table {
                caption.quiet { (fl!("web-failures-caption")) }
                thead { tr {
                    th scope="col" { (fl!("web-failures-reference")) } th scope="col" { (fl!("web-failures-cause")) }
                    th.wide scope="col" { (fl!("web-failures-where")) } th.number scope="col" { (fl!("web-failures-when")) }
                } }
                tbody { @for failure in failures.iter().take(SHOWN_FAILURES) { tr {
                    th.code scope="row" { a href=(format!("/failure/{}", failure.reference)) { code { (failure.reference) } } }
                    td { (words(&failure.cause)) }
                    td.wide.whole { (failure.part) " " code { (short_id(&failure.subject)) } }
                    td.number { time datetime=(iso(failure.at)) title=(moment_text(failure.at)) { (ago(failure.at, now)) } }
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
            caption.quiet { (fl!("web-instances-caption")) }
            thead { tr {
                th scope="col" { (fl!("web-instances-instance")) } th scope="col" { (fl!("web-instances-roles")) }
                th.number scope="col" { (fl!("web-instances-answers")) } th.number scope="col" { (fl!("web-instances-reels")) }
            } }
            tbody { @for instance in rows { tr {
                th scope="row" {
                    code { (short_id(&instance.instance)) }
                    @if instance.instance == own { " " span.(Tone::Idle.class()) { (fl!("web-instances-this")) } }
                }
                td { @if instance.roles.is_empty() { span.past { (fl!("web-instances-none")) } } @else { (instance.roles.join(", ")) } }
                td.number { (instance.turns) } td.number { (instance.jobs) }
            } } }
        }
    }
}

/// How long ago a moment was.
pub fn ago(at: Timestamp, now: Timestamp) -> String {
    fl!("web-ago", time = elapsed(now.since(at)))
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
    let digits = wording::grouped(value.unsigned_abs() as f64);
    if value < 0 { format!("-{digits}") } else { digits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_ids_are_short() {
        assert_eq!([0, 999, 1000, -1_234_567].map(grouped), ["0", "999", "1,000", "-1,234,567"]);
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
