//! Every sentence and table of the reports on usage and cost. Pure, like its parent. A table is no wider than a phone
//! shows in a block of code: 40 columns.

use std::fmt::Write;
use std::time::Duration;

use chrono::NaiveDate;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::format::{measured, share};
use crate::core::command::figures::{By, Lead, PERIODS};
use crate::core::money::dollars;
use crate::core::report::{Activity, Forecast, Report, Spread};
use crate::locale::fl;
use crate::store::usage::Buckets;

pub use super::format::compact;

/// Columns of the names.
const NAME: usize = 20;

/// What was used and what it cost in a period, as it is asked for.
pub fn report(report: &Report) -> String {
    let period = period(report);
    let title = match (report.figures.lead, report.guild.is_some()) {
        (Lead::Usage, false) => fl!("report-title-usage", period = period),
        (Lead::Usage, true) => fl!("report-title-usage-server", period = period),
        (Lead::Cost, false) => fl!("report-title-cost", period = period),
        (Lead::Cost, true) => fl!("report-title-cost-server", period = period),
    };
    let mut text = format!("{title}\n");
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

/// The words behind `/usage` or `/cost` are not understood.
pub fn unclear_figures() -> String {
    let groups: Vec<&str> = By::ALL.iter().map(|by| by.name()).collect();
    fl!("report-usage", periods = PERIODS, groups = groups.join(", "))
}

/// `1–24 November 2026 so far, UTC`.
pub fn period(report: &Report) -> String {
    let (first, last) = (report.first_day, report.last_day);
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
    if report.running { fl!("report-period-running", days = days) } else { fl!("report-period", days = days) }
}

/// `$41.20 by 30 November, at $1.54 a day (last 7 days)`.
pub fn forecast(forecast: &Forecast) -> String {
    fl!(
        "report-forecast-amount",
        basis = forecast.basis_days,
        amount = dollars(forecast.micro_usd),
        by = forecast.by.format("%-d %B").to_string(),
        per_day = dollars(forecast.per_day_micro_usd)
    )
}

fn usage(text: &mut String, report: &Report) {
    let Activity { messages_answered, reels_answered, undeliverable, .. } = report.activity;
    let mut answered = fl!("report-answered", messages = messages_answered, reels = reels_answered);
    if undeliverable > 0 {
        let _ = write!(answered, "; {}", fl!("report-undelivered", count = undeliverable));
    }
    let _ = writeln!(text, "{answered}");
    let sources = sources(&report.activity);
    if !sources.is_empty() {
        let _ = writeln!(text, "{}", fl!("report-sources", sources = sources.join(", ")));
    }
    reels(text, report);
    let times = |text: &mut String, spread: Option<Spread>, line: fn(String, String) -> String| {
        let Some(Spread { p50_ms, p95_ms, .. }) = spread else { return };
        let _ = writeln!(text, "{}", line(milliseconds(p50_ms), milliseconds(p95_ms)));
    };
    times(text, report.first_text, |p50, p95| fl!("report-first-text", p50 = p50, p95 = p95));
    times(text, report.answer, |p50, p95| fl!("report-whole-answer", p50 = p50, p95 = p95));
    times(text, report.wait, |p50, p95| fl!("report-queue-wait", p50 = p50, p95 = p95));
    let mut worked = Vec::new();
    worked.extend(report.success_share().map(|of| fl!("report-success-calls", share = share(of))));
    worked.extend(report.activity.tool_share().map(|of| fl!("report-success-tools", share = share(of))));
    if !worked.is_empty() {
        let _ = writeln!(text, "{}", fl!("report-success", shares = worked.join(", ")));
    }
    if report.total.input_tokens > 0 {
        let (input, output) = (compact(report.total.input_tokens), compact(report.total.output_tokens));
        let _ = match report.cached_share() {
            Some(cached) => {
                let cached = share(cached);
                writeln!(text, "{}", fl!("report-tokens-cached", input = input, cached = cached, output = output))
            }
            None => writeln!(text, "{}", fl!("report-tokens", input = input, output = output)),
        };
    }
}

/// By what the answers were given.
fn sources(activity: &Activity) -> Vec<String> {
    let Activity { by_model, recalled, own_sentences, failures, .. } = *activity;
    let mut sources = Vec::new();
    sources.extend((by_model > 0).then(|| fl!("report-source-model", count = by_model)));
    sources.extend((recalled > 0).then(|| fl!("report-source-memory", count = recalled)));
    sources.extend((own_sentences > 0).then(|| fl!("report-source-own", count = own_sentences)));
    sources.extend((failures > 0).then(|| fl!("report-source-failures", count = failures)));
    sources
}

/// What became of the reels that were sent.
fn reels(text: &mut String, report: &Report) {
    let Activity { new, joined, cached, known_failures, denied, .. } = report.activity;
    let Some(hits) = report.activity.hit_share() else {
        if denied > 0 {
            let _ = writeln!(text, "{}", fl!("report-reels-refused-alone", count = denied));
        }
        return;
    };
    let mut line = fl!("report-reels", new = new, joined = joined, cached = cached);
    if known_failures > 0 {
        let _ = write!(line, ", {}", fl!("report-reels-known-failing", count = known_failures));
    }
    let _ = write!(line, " {}", fl!("report-reels-share", share = share(hits)));
    if denied > 0 {
        let _ = write!(line, "; {}", fl!("report-reels-refused", count = denied));
    }
    let _ = writeln!(text, "{line}");
}

fn cost(text: &mut String, report: &Report) {
    let _ = writeln!(text, "{}", money(report));
    unsettled(text, report);
    if let Some(known) = &report.forecast {
        let _ = writeln!(text, "{}", fl!("report-forecast", forecast = forecast(known)));
    }
    let (talk, reels) =
        (report.cost_of(&["coach", "summary", "judge"]), report.cost_of(&["scrape", "analyse", "workflow"]));
    let mut each = Vec::new();
    each.extend(report.per_message(talk).map(|each| fl!("report-average-answer", amount = dollars(each))));
    if report.activity.done > 0 {
        each.push(fl!("report-average-reel", amount = dollars(reels / report.activity.done)));
    }
    if !each.is_empty() {
        let _ = writeln!(text, "{}", fl!("report-average", parts = each.join(", ")));
    }
    let mut free = Vec::new();
    free.extend(report.cached_share().map(|of| fl!("report-saved-cached", share = share(of))));
    free.extend(report.activity.hit_share().map(|of| fl!("report-saved-reels", share = share(of))));
    if !free.is_empty() {
        let _ = writeln!(text, "{}", fl!("report-saved", parts = free.join(", ")));
    }
}

/// Which part of the cost no provider has confirmed, and what calls in progress may still cost.
fn unsettled(text: &mut String, report: &Report) {
    if report.total.estimated_micro_usd > 0 {
        let _ = writeln!(text, "{}", fl!("report-estimated", amount = dollars(report.total.estimated_micro_usd)));
    }
    if report.reserved_micro_usd > 0 {
        let _ = writeln!(text, "{}", fl!("report-set-aside", amount = dollars(report.reserved_micro_usd)));
    }
}

fn money(report: &Report) -> String {
    let days = (report.last_day - report.first_day).num_days() + 1;
    let mut line = fl!("report-cost", calls = report.total.calls, amount = dollars(report.total.micro_usd));
    if days > 1 {
        let _ = write!(line, ", {}", fl!("report-cost-per-day", amount = dollars(report.total.micro_usd / days)));
    }
    line
}

fn table(text: &mut String, report: &Report) {
    if report.lines.is_empty() {
        return;
    }
    let by = report.figures.by;
    let calls = fl!("report-head-calls");
    let _ = write!(text, "```\n{} ", fitted(by.name()));
    let _ = match report.figures.lead {
        Lead::Usage => {
            writeln!(text, "{calls:>6} {:>5} {:>5}", fl!("report-head-in"), fl!("report-head-out"))
        }
        Lead::Cost => writeln!(text, "{calls:>6} {:>10}", fl!("report-head-cost")),
    };
    let more = match report.more {
        0 => None,
        many => Some((fl!("report-more", count = many), report.rest)),
    };
    let lines = report.lines.iter().map(|line| (shown(&line.name, by), line.sums)).chain(more);
    for (name, sums) in lines {
        let _ = write!(text, "{} {:>6} ", fitted(&name), compact(sums.calls));
        let _ = match report.figures.lead {
            Lead::Usage => writeln!(text, "{:>5} {:>5}", compact(sums.input_tokens), compact(sums.output_tokens)),
            Lead::Cost => writeln!(text, "{:>10}", dollars(sums.micro_usd)),
        };
    }
    text.push_str("```\n");
    if report.figures.lead == Lead::Usage && (report.answer.is_some() || report.wait.is_some()) {
        let _ = writeln!(text, "{}", fl!("report-precision", percent = Buckets::ERROR_PERCENT.to_string()));
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

/// Milliseconds for people.
fn milliseconds(ms: f64) -> String {
    measured(Duration::try_from_secs_f64(ms / 1e3).unwrap_or_default())
}

#[cfg(test)]
mod tests;
