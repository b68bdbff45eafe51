//! Bars as inline SVG that stretch to the width there is; the words around them are HTML, so that they stay legible on a
//! phone. Owns shapes alone: colours are the stylesheet's.

use chrono::NaiveDate;
use maud::{Markup, html};

use crate::locale::fl;

/// A bar's height, in the chart's own units.
const HEIGHT: i64 = 100;

/// A slot's width and the gap within it.
const SLOT: usize = 10;
const GAP: usize = 2;

/// Something that is there is seen, however little it is.
const LEAST: i64 = 2;

/// One value for each day, as bars; the last one is today.
pub fn days(title: &str, series: &[(NaiveDate, i64)], told: impl Fn(i64) -> String) -> Markup {
    let most = series.iter().map(|(_, value)| *value).max().unwrap_or(0).max(1);
    let total: i64 = series.iter().map(|(_, value)| *value).sum();
    let today = series.last().map_or(0, |(_, value)| *value);
    let (width, last) = (series.len() * SLOT, series.len().saturating_sub(1));
    let (days, total_told, today_told) = (series.len(), told(total), told(today));
    let summary = fl!("web-usage-alt", title = title, days = days, total = total_told, today = today_told);
    let height = |value: i64| match value {
        ..=0 => 0,
        value => (i128::from(value) * i128::from(HEIGHT) / i128::from(most)).clamp(i128::from(LEAST), 100) as i64,
    };
    html! {
        figure {
            figcaption { span.label { (title) } strong { (told(total)) } span.past { (fl!("web-usage-peak", peak = told(most.min(total)), today = told(today))) } }
            div.plot {
                svg viewBox=(format!("0 0 {width} {HEIGHT}")) preserveAspectRatio="none" role="img" aria-label=(summary) {
                    title { (summary) }
                    @for (at, (date, value)) in series.iter().enumerate() {
                        @let tall = height(*value);
                        g {
                            title { (date) ": " (told(*value)) }
                            rect.slot x=(at * SLOT) y="0" width=(SLOT) height=(HEIGHT) {}
                            rect.value.today[at == last] x=(at * SLOT + GAP / 2) y=(HEIGHT - tall)
                                width=(SLOT - GAP) height=(tall) {}
                        }
                    }
                }
            }
            div.axis aria-hidden="true" {
                @if let (Some((first, _)), Some((end, _))) = (series.first(), series.last()) {
                    span { (first.format("%-d %b")) } span { (end.format("%-d %b")) }
                }
            }
        }
    }
}

/// How much of a budget is used, and what it is expected to be used to; in percent.
pub fn bar(summary: &str, percent: i64, expected: Option<i64>, tone: &str) -> Markup {
    let within = |percent: i64| percent.clamp(0, 100);
    html! {
        svg.bar.(tone) viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label=(summary) {
            title { (summary) }
            rect.track x="0" y="0" width="100" height="8" {}
            @if let Some(expected) = expected { rect.expected x="0" y="0" width=(within(expected)) height="8" {} }
            rect.used x="0" y="0" width=(if percent > 0 { within(percent).to_string() } else { "0".into() }) height="8" {}
        }
    }
}
