//! Every sentence and table of the reports on usage and cost. Pure, like its parent. A table is no wider than a phone
//! shows in a block of code: 40 columns.

use std::fmt::Write;

use chrono::NaiveDate;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::thousands;
use crate::core::command::figures::{By, GRAMMAR, Lead};
use crate::core::money::dollars;
use crate::core::report::{Activity, Forecast, Report, Spread};
use crate::store::usage::Buckets;

/// Columns of the names.
const NAME: usize = 20;

/// What was used and what it cost in a period, as it is asked for.
pub fn report(report: &Report) -> String {
    let mut text = String::new();
    let what = match report.figures.lead {
        Lead::Usage => "Usage",
        Lead::Cost => "Cost",
    };
    let whose = if report.guild.is_some() { " of this server" } else { "" };
    let _ = writeln!(text, "**{what}{whose}, {}**", period(report));
    match report.figures.lead {
        Lead::Usage => {
            usage(&mut text, report);
            let _ = writeln!(text, "{}", money(report));
            unsettled(&mut text, report);
        }
        Lead::Cost => cost(&mut text, report),
    }
    table(&mut text, report);
    text.trim_end().to_owned()
}

/// Both in whole, without the table: lines of what, a colon, and how much.
pub fn summary(report: &Report) -> String {
    let mut text = String::new();
    cost(&mut text, report);
    usage(&mut text, report);
    text
}

/// A number as tables show it: `9876`, `12k`, `34M`.
pub fn compact(count: i64) -> String {
    thousands(count)
}

/// The words behind `/usage` or `/cost` are not understood.
pub fn unclear_figures() -> String {
    format!("I know `/usage` and `/cost` with a period and what to list it by, such as `/cost 7d by tool`: {GRAMMAR}.")
}

/// `1–24 November 2026`.
pub fn period(report: &Report) -> String {
    let (first, last) = (report.first_day, report.last_day);
    let so_far = if report.running { " so far" } else { "" };
    let day = |day: NaiveDate, format: &str| day.format(format).to_string();
    let (format_first, format_last) = ("%-d %B %Y", "%-d %B %Y");
    let days = if first == last {
        day(last, format_last)
    } else if day(first, "%Y-%m") == day(last, "%Y-%m") {
        format!("{}–{}", day(first, "%-d"), day(last, format_last))
    } else if day(first, "%Y") == day(last, "%Y") {
        format!("{} – {}", day(first, "%-d %B"), day(last, format_last))
    } else {
        format!("{} – {}", day(first, format_first), day(last, format_last))
    };
    format!("{days}{so_far}, UTC")
}

/// `$41.20 by 30 November: $1.54 a day over the last 7 days`.
pub fn forecast(forecast: &Forecast) -> String {
    let basis = match forecast.basis_days {
        0 => "of today so far".to_owned(),
        1 => "of yesterday".to_owned(),
        days => format!("over the last {days} days"),
    };
    let by = forecast.by.format("%-d %B");
    format!("{} by {by}: {} a day {basis}", dollars(forecast.micro_usd), dollars(forecast.per_day_micro_usd))
}

fn usage(text: &mut String, report: &Report) {
    let Activity { messages_answered, reels_answered, undeliverable, .. } = report.activity;
    let _ = write!(text, "Answered: {}, {}", count(messages_answered, "message"), count(reels_answered, "reel"));
    let _ = match undeliverable {
        0 => writeln!(text),
        many => writeln!(text, "; {many} could not be delivered"),
    };
    let Activity { by_model, recalled, own_sentences, failures, .. } = report.activity;
    let sources = [
        (by_model, "the model"),
        (recalled, "earlier answers"),
        (own_sentences, "my own sentences"),
        (failures, "apologies"),
    ];
    let sources: Vec<String> =
        sources.iter().filter(|(many, _)| *many > 0).map(|(many, what)| format!("{many} {what}")).collect();
    if !sources.is_empty() {
        let _ = writeln!(text, "From: {}", sources.join(", "));
    }
    if let Some(hits) = report.activity.hit_share() {
        let Activity { new, joined, cached, known_failures, denied, .. } = report.activity;
        let _ = write!(text, "Reels asked for: {new} new, {joined} joined, {cached} known");
        if known_failures > 0 {
            let _ = write!(text, ", {known_failures} known to fail");
        }
        let refused = if denied > 0 { format!("; {denied} refused") } else { String::new() };
        let _ = writeln!(text, " ({} without a new run){refused}", percent(hits));
    } else if report.activity.denied > 0 {
        let _ = writeln!(text, "Reels refused: {}", report.activity.denied);
    }
    let times = [("First words", report.first_text), ("Whole answer", report.answer), ("Wait in line", report.wait)];
    for (what, spread) in times.iter().filter_map(|(what, spread)| Some((what, (*spread)?))) {
        let Spread { p50_ms, p95_ms, .. } = spread;
        let _ = writeln!(text, "{what}: p50 {}, p95 {}", span(p50_ms), span(p95_ms));
    }
    let worked = [(report.success_share(), "calls"), (report.activity.tool_share(), "the model's tools")];
    let worked: Vec<String> =
        worked.iter().filter_map(|(share, what)| Some(format!("{} of {what}", percent((*share)?)))).collect();
    if !worked.is_empty() {
        let _ = writeln!(text, "Worked: {}", worked.join(", "));
    }
    if report.total.input_tokens > 0 {
        let cached = report.cached_share().map_or(String::new(), |share| format!(" ({} cached)", percent(share)));
        let (input, output) = (thousands(report.total.input_tokens), thousands(report.total.output_tokens));
        let _ = writeln!(text, "Tokens: {input} in{cached}, {output} out");
    }
}

fn cost(text: &mut String, report: &Report) {
    let _ = writeln!(text, "{}", money(report));
    unsettled(text, report);
    if let Some(known) = &report.forecast {
        let _ = writeln!(text, "Forecast: {}", forecast(known));
    }
    let (talk, reels) =
        (report.cost_of(&["coach", "summary", "judge"]), report.cost_of(&["scrape", "analyse", "workflow"]));
    let per_message = report.per_message(talk).map(|each| format!("{} an answer of the model", dollars(each)));
    let per_reel = (report.activity.done > 0).then(|| format!("{} a new reel", dollars(reels / report.activity.done)));
    let each: Vec<String> = [per_message, per_reel].into_iter().flatten().collect();
    if !each.is_empty() {
        let _ = writeln!(text, "On average: {}", each.join(", "));
    }
    let mut free = Vec::new();
    free.extend(report.cached_share().map(|share| format!("{} of the input was cached", percent(share))));
    free.extend(report.activity.hit_share().map(|share| format!("{} of the reels needed no new run", percent(share))));
    if !free.is_empty() {
        let _ = writeln!(text, "Saved: {}", free.join(", "));
    }
}

/// Which part of the cost no provider has confirmed, and what calls in progress may still cost.
fn unsettled(text: &mut String, report: &Report) {
    if report.total.estimated_micro_usd > 0 {
        let _ = writeln!(text, "Estimated: {} of that", dollars(report.total.estimated_micro_usd));
    }
    if report.reserved_micro_usd > 0 {
        let _ = writeln!(text, "Set aside: {} for calls in progress", dollars(report.reserved_micro_usd));
    }
}

fn money(report: &Report) -> String {
    let days = (report.last_day - report.first_day).num_days() + 1;
    let a_day = if days > 1 { format!(", {} a day", dollars(report.total.micro_usd / days)) } else { String::new() };
    format!("Cost: {} in {}{a_day}", dollars(report.total.micro_usd), count(report.total.calls, "paid call"))
}

fn table(text: &mut String, report: &Report) {
    if report.lines.is_empty() {
        return;
    }
    let by = report.figures.by;
    let _ = write!(text, "```\n{} ", fitted(by.name()));
    let _ = match report.figures.lead {
        Lead::Usage => writeln!(text, "{:>6} {:>5} {:>5}", "calls", "in", "out"),
        Lead::Cost => writeln!(text, "{:>6} {:>10}", "calls", "cost"),
    };
    let more = match report.more {
        0 => None,
        many => Some((format!("and {many} more"), report.rest)),
    };
    let lines = report.lines.iter().map(|line| (shown(&line.name, by), line.sums)).chain(more);
    for (name, sums) in lines {
        let _ = write!(text, "{} {:>6} ", fitted(&name), thousands(sums.calls));
        let _ = match report.figures.lead {
            Lead::Usage => writeln!(text, "{:>5} {:>5}", thousands(sums.input_tokens), thousands(sums.output_tokens)),
            Lead::Cost => writeln!(text, "{:>10}", dollars(sums.micro_usd)),
        };
    }
    text.push_str("```\n");
    if report.figures.lead == Lead::Usage && (report.answer.is_some() || report.wait.is_some()) {
        let _ = writeln!(text, "Times are within {}%.", Buckets::ERROR_PERCENT);
    }
}

/// A name as a table shows it: an id without what all of its kind have in common.
fn shown(name: &str, by: By) -> String {
    match by {
        By::Guild => name.trim_start_matches("discord:").to_owned(),
        By::Chat => name.replacen("discord:", "d:", 1).replacen("telegram:", "t:", 1).replacen("console:", "c:", 1),
        // What somebody calls themselves must not end the block.
        By::Person => name.replace('`', "'"),
        By::Model | By::Tool | By::Platform | By::Day => name.to_owned(),
    }
}

/// As wide as the column, whatever is in it.
fn fitted(name: &str) -> String {
    let name: String = name.chars().filter(|c| !c.is_control()).collect();
    let mut kept = name.clone();
    if name.width() > NAME {
        kept.clear();
        let mut width = 0;
        for c in name.chars() {
            width += c.width().unwrap_or(0);
            if width > NAME - 1 {
                break;
            }
            kept.push(c);
        }
        kept.push('…');
    }
    kept.extend(std::iter::repeat_n(' ', NAME.saturating_sub(kept.width())));
    kept
}

fn count(many: i64, what: &str) -> String {
    if many == 1 { format!("1 {what}") } else { format!("{many} {what}s") }
}

/// `98.3%`; never 100 where something is missing, nor 0 where there is something.
fn percent(share: f64) -> String {
    match share * 100.0 {
        all if all >= 100.0 => "100%".into(),
        most if most > 99.9 => "99.9%".into(),
        none if none <= 0.0 => "0%".into(),
        few if few < 0.1 => "0.1%".into(),
        percent if percent > 10.0 && percent < 90.0 => format!("{percent:.0}%"),
        percent => format!("{percent:.1}%"),
    }
}

/// Milliseconds for people.
fn span(ms: f64) -> String {
    match ms {
        ..995.0 => format!("{ms:.0} ms"),
        ..9_950.0 => format!("{:.1} s", ms / 1e3),
        ..119_500.0 => format!("{:.0} s", ms / 1e3),
        ..7_170_000.0 => format!("{:.0} min", ms / 6e4),
        _ => format!("{:.0} h", ms / 3.6e6),
    }
}

#[cfg(test)]
mod tests;
