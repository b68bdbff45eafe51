//! What a report says, made of the sums that the store keeps. Pure: owns the arithmetic (shares, percentiles, the
//! forecast, what stands in a line), never a sentence, a table's width or a query.

use std::collections::BTreeMap;

use chrono::{Datelike, Months, NaiveDate};
use serde::Serialize;

use crate::clock::Timestamp;
use crate::core::command::figures::{By, Figures, date, number, today};
use crate::ids::GuildId;
use crate::store::usage::{Buckets, CountRow, Days, ModelRow, PlaceRow, ReservedNow, Sums, TimeRow, Timed};

/// What the store says of a period, of what its asker may see.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub models: Vec<ModelRow>,
    /// By community, chat or person, where lines are by one of them; the dearest of them.
    pub places: Vec<PlaceRow>,
    pub counts: Vec<CountRow>,
    /// In slots of [`time_step`] days.
    pub times: Vec<TimeRow>,
    pub reserved: ReservedNow,
    /// Of [`forecast_days`], for the forecast.
    pub recent: Vec<ModelRow>,
}

/// A report.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    #[serde(skip)]
    pub figures: Figures,
    pub first_day: NaiveDate,
    pub last_day: NaiveDate,
    /// The last day is not over.
    pub running: bool,
    /// It tells of this community alone.
    pub guild: Option<GuildId>,
    pub total: Sums,
    /// The dearest first; days from the last one back.
    pub lines: Vec<Line>,
    /// How many more lines there are than `lines` holds, and what they come to.
    pub more: i64,
    pub rest: Sums,
    pub activity: Activity,
    pub first_text: Option<Spread>,
    pub answer: Option<Spread>,
    pub wait: Option<Spread>,
    /// Set aside this moment for calls that have not ended; not in any sum above.
    pub reserved_micro_usd: i64,
    /// To the end of this month, whatever the period.
    pub forecast: Option<Forecast>,
    #[serde(skip)]
    pub daily: Daily,
}

/// A line of a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What it is called; of a community or chat its id.
    pub name: String,
    #[serde(flatten)]
    pub sums: Sums,
}

/// What happened, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Activity {
    /// Turns of messages and reels that were answered, and those whose answer could not be delivered.
    pub messages_answered: i64,
    pub reels_answered: i64,
    pub undeliverable: i64,
    /// Answers by their source.
    pub by_model: i64,
    pub recalled: i64,
    pub own_sentences: i64,
    pub failures: i64,
    /// Reels asked for, by outcome.
    pub new: i64,
    pub joined: i64,
    pub cached: i64,
    pub known_failures: i64,
    pub denied: i64,
    /// Reels that were worked on.
    pub done: i64,
    pub failed: i64,
    pub cancelled: i64,
    /// Calls of the model's own tools.
    pub tools_ok: i64,
    pub tools_failed: i64,
}

/// How long something took, in milliseconds; off by no more than [`Buckets::ERROR_PERCENT`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    pub count: i64,
    pub p50_ms: f64,
    pub p95_ms: f64,
}

/// What this month will have cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Forecast {
    pub micro_usd: i64,
    /// The month's last day.
    pub by: NaiveDate,
    /// The basis: what a day costs, of these many whole days up to yesterday; 0: of today so far.
    pub per_day_micro_usd: i64,
    pub basis_days: i64,
}

/// The same by day, for charts: one value for each day of the period.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Daily {
    pub days: Vec<NaiveDate>,
    /// Micro-USD by model and by tool, the dearest first.
    pub cost_by_model: Vec<(String, Vec<i64>)>,
    pub cost_by_tool: Vec<(String, Vec<i64>)>,
    /// Answered messages, and reels asked for that were not refused.
    pub messages: Vec<i64>,
    pub reels: Vec<i64>,
    /// p50 and p95 in milliseconds of the slot ([`time_step`]) that the day is in; `None` without any.
    pub answer: [Vec<Option<f64>>; 2],
    pub wait: [Vec<Option<f64>>; 2],
}

/// What a forecast at `now` is made of: this month so far, and the seven days before today.
pub fn forecast_days(now: Timestamp) -> Days {
    let today = today(now);
    let first = today.with_day(1).unwrap_or(today);
    Days { from: number(first).min(number(today) - 7), to: number(today) + 1 }
}

/// How many days a slot of the times has: a picture shows days only where there are no more than a quarter of a year's.
pub fn time_step(days: Days) -> i64 {
    if days.count() > 92 { 7 } else { 1 }
}

impl Report {
    /// Of `days`, with at most `most` lines.
    pub fn new(
        figures: Figures,
        days: Days,
        facts: Facts,
        guild: Option<&GuildId>,
        most: usize,
        now: Timestamp,
    ) -> Report {
        let mut total = Sums::default();
        for row in &facts.models {
            total += row.sums;
        }
        let (mut lines, groups) = match figures.by {
            By::Guild | By::Chat | By::Person => {
                let groups = facts.places.first().map_or(0, |row| row.groups);
                (facts.places.iter().map(place_line).collect(), groups)
            }
            by => {
                let lines = grouped(&facts.models, by);
                let groups = lines.len() as i64;
                (lines, groups)
            }
        };
        lines.truncate(most);
        let mut rest = total;
        for line in &lines {
            rest += -line.sums;
        }
        let spread = |what: Timed| spread(&histogram(facts.times.iter().filter(|row| row.what == what.name())));
        Report {
            figures,
            first_day: date(days.from),
            last_day: date(days.to - 1),
            running: days.to > Days::of(now),
            guild: guild.cloned(),
            total,
            more: groups - lines.len() as i64,
            rest,
            lines,
            activity: Activity::of(&facts.counts),
            first_text: spread(Timed::FirstText),
            answer: spread(Timed::Answer),
            wait: spread(Timed::Wait),
            reserved_micro_usd: facts.reserved.micro_usd,
            forecast: forecast(&facts.recent, now),
            daily: Daily::of(days, &facts),
        }
    }

    /// The part of the input that the providers had cached, from 0 to 1; `None` without input.
    pub fn cached_share(&self) -> Option<f64> {
        share(self.total.cached_tokens, self.total.input_tokens)
    }

    /// The part of the paid calls that worked, of those that ended by themselves: a call that was called off, because the
    /// person did or the program was shut down, says nothing about whether it would have worked.
    pub fn success_share(&self) -> Option<f64> {
        let Sums { calls, failed, called_off, .. } = self.total;
        share(calls - failed - called_off, calls - called_off)
    }

    /// What one answer by the model cost, in micro-USD.
    pub fn per_message(&self, models: i64) -> Option<i64> {
        let answers = self.activity.by_model + self.activity.recalled;
        (answers > 0).then(|| models / answers)
    }

    /// What the calls for these tools cost together.
    pub fn cost_of(&self, tools: &[&str]) -> i64 {
        let of = self.daily.cost_by_tool.iter().filter(|(tool, _)| tools.contains(&tool.as_str()));
        of.flat_map(|(_, days)| days).sum()
    }

    /// The table as a file (RFC 4180): every line it holds.
    pub fn csv(&self) -> String {
        let by = self.figures.by.name();
        let mut text = format!(
            "{by},calls,failed,called_off,input_tokens,cached_tokens,cache_write_tokens,output_tokens,reasoning_tokens,usd,estimated_usd\r\n"
        );
        for Line { name, sums } in &self.lines {
            text.push_str(&format!(
                "{},{},{},{},{},{},{},{},{},{},{}\r\n",
                field(name),
                sums.calls,
                sums.failed,
                sums.called_off,
                sums.input_tokens,
                sums.cached_tokens,
                sums.cache_write_tokens,
                sums.output_tokens,
                sums.reasoning_tokens,
                usd(sums.micro_usd),
                usd(sums.estimated_micro_usd)
            ));
        }
        text
    }

    /// What a file of it is called, without an extension.
    pub fn file_name(&self) -> String {
        format!("reelcoach-{}-{}-by-{}", self.first_day, self.last_day, self.figures.by.name())
    }
}

impl Activity {
    fn of(counts: &[CountRow]) -> Activity {
        let mut all = Activity::default();
        for row in counts {
            let place = match (row.what.as_str(), row.outcome.as_str()) {
                ("talk", "answered") => &mut all.messages_answered,
                ("reel", "answered") => &mut all.reels_answered,
                ("talk" | "reel", "undeliverable") => &mut all.undeliverable,
                ("source", "model") => &mut all.by_model,
                ("source", "recalled") => &mut all.recalled,
                ("source", "own") => &mut all.own_sentences,
                ("source", "failure") => &mut all.failures,
                ("request", "queued") => &mut all.new,
                ("request", "joined") => &mut all.joined,
                ("request", "cached") => &mut all.cached,
                ("request", "failed") => &mut all.known_failures,
                ("request", "denied") => &mut all.denied,
                ("job", "done") => &mut all.done,
                ("job", "failed") => &mut all.failed,
                ("job", "cancelled") => &mut all.cancelled,
                ("tool", "ok") => &mut all.tools_ok,
                ("tool", "failed") => &mut all.tools_failed,
                // A newer program's.
                _ => continue,
            };
            *place += row.count;
        }
        all
    }

    /// Reels asked for and taken.
    pub fn reels_taken(&self) -> i64 {
        self.new + self.joined + self.cached + self.known_failures
    }

    /// The part of the reels asked for that needed no new run.
    pub fn hit_share(&self) -> Option<f64> {
        share(self.reels_taken() - self.new, self.reels_taken())
    }

    /// The part of the calls of the model's tools that worked.
    pub fn tool_share(&self) -> Option<f64> {
        share(self.tools_ok, self.tools_ok + self.tools_failed)
    }
}

impl Daily {
    fn of(days: Days, facts: &Facts) -> Daily {
        let count = usize::try_from(days.count()).unwrap_or(0);
        let at = |day: i64| usize::try_from(day - days.from).ok().filter(|at| *at < count);
        let by_day = |what: &dyn Fn(&CountRow) -> bool| {
            let mut values = vec![0; count];
            for row in facts.counts.iter().filter(|row| what(row)) {
                if let Some(at) = at(row.day) {
                    values[at] += row.count;
                }
            }
            values
        };
        Daily {
            days: (days.from..days.to).map(date).collect(),
            cost_by_model: stacked(&facts.models, count, days.from, |row| &row.model),
            cost_by_tool: stacked(&facts.models, count, days.from, |row| &row.tool),
            messages: by_day(&CountRow::is_message),
            reels: by_day(&|row| row.what == "request" && row.outcome != "denied"),
            answer: quantiles(&facts.times, Timed::Answer, days),
            wait: quantiles(&facts.times, Timed::Wait, days),
        }
    }
}

/// What this month will have cost: what it has cost, and for the rest of it what the last seven whole days cost a day (or
/// as many as there are since the first that cost anything, or today so far). `None` before anything did.
pub fn forecast(recent: &[ModelRow], now: Timestamp) -> Option<Forecast> {
    let today = today(now);
    let first = today.with_day(1)?;
    let by = first.checked_add_months(Months::new(1))?.pred_opt()?;
    let (this_day, month) = (number(today), number(first));
    let cost = |from: i64, to: i64| -> i64 {
        recent.iter().filter(|row| (from..to).contains(&row.day)).map(|row| row.sums.micro_usd).sum()
    };
    let since = recent.iter().filter(|row| row.sums.micro_usd > 0).map(|row| row.day).min()?;
    let basis_days = (this_day - since).clamp(0, 7);
    let day_ms = Days::begin(1).0;
    let per_day = match basis_days {
        0 => {
            // A first hour tells little; a shorter time would be blown up beyond all sense.
            let so_far = (now.0 - Days::begin(this_day).0).max(day_ms / 24);
            (i128::from(cost(this_day, this_day + 1)) * i128::from(day_ms) / i128::from(so_far)) as i64
        }
        days => cost(this_day - days, this_day) / days,
    };
    let left_ms = Days::begin(number(by) + 1).0 - now.0;
    let to_come = (i128::from(per_day) * i128::from(left_ms) / i128::from(day_ms)) as i64;
    Some(Forecast { micro_usd: cost(month, this_day + 1) + to_come, by, per_day_micro_usd: per_day, basis_days })
}

fn place_line(row: &PlaceRow) -> Line {
    let name = match &row.name {
        Some(name) if !name.trim().is_empty() => name.clone(),
        _ if row.key.is_empty() => "no server".to_owned(),
        _ => row.key.clone(),
    };
    Line { name, sums: row.sums }
}

fn grouped(models: &[ModelRow], by: By) -> Vec<Line> {
    let mut groups: BTreeMap<String, Sums> = BTreeMap::new();
    for row in models {
        let name = match by {
            By::Tool => row.tool.clone(),
            By::Platform => row.platform.clone(),
            By::Day => date(row.day).to_string(),
            By::Model | By::Guild | By::Chat | By::Person => row.model.clone(),
        };
        *groups.entry(name).or_default() += row.sums;
    }
    let mut lines: Vec<Line> = groups.into_iter().map(|(name, sums)| Line { name, sums }).collect();
    if by == By::Day {
        lines.reverse();
    } else {
        // What costs the same stays in the order of its names.
        lines.sort_by_key(|line| std::cmp::Reverse((line.sums.micro_usd, line.sums.calls)));
    }
    lines
}

/// Micro-USD by day of each name, the dearest first.
fn stacked(
    models: &[ModelRow],
    count: usize,
    from: i64,
    name: impl Fn(&ModelRow) -> &String,
) -> Vec<(String, Vec<i64>)> {
    let mut series: BTreeMap<&String, Vec<i64>> = BTreeMap::new();
    for row in models {
        let values = series.entry(name(row)).or_insert_with(|| vec![0; count]);
        if let Some(value) = usize::try_from(row.day - from).ok().and_then(|at| values.get_mut(at)) {
            *value += row.sums.micro_usd;
        }
    }
    let mut series: Vec<_> = series.into_iter().map(|(name, values)| (name.clone(), values)).collect();
    series.sort_by_key(|(_, values)| std::cmp::Reverse(values.iter().sum::<i64>()));
    series
}

/// p50 and p95 of each day: those of the slot it is in.
fn quantiles(times: &[TimeRow], what: Timed, days: Days) -> [Vec<Option<f64>>; 2] {
    let mut slots: BTreeMap<i64, Vec<&TimeRow>> = BTreeMap::new();
    for row in times.iter().filter(|row| row.what == what.name()) {
        slots.entry(row.slot).or_default().push(row);
    }
    let spreads: BTreeMap<i64, Spread> =
        slots.into_iter().filter_map(|(slot, rows)| Some((slot, spread(&histogram(rows))?))).collect();
    let of_day = |value: fn(&Spread) -> f64| {
        (0..days.count()).map(|day| spreads.get(&(day / time_step(days))).map(value)).collect()
    };
    [of_day(|spread| spread.p50_ms), of_day(|spread| spread.p95_ms)]
}

fn histogram<'a>(rows: impl IntoIterator<Item = &'a TimeRow>) -> Vec<(i64, i64)> {
    let mut buckets: BTreeMap<i64, i64> = BTreeMap::new();
    for row in rows {
        *buckets.entry(row.bucket).or_default() += row.count;
    }
    buckets.into_iter().collect()
}

fn spread(histogram: &[(i64, i64)]) -> Option<Spread> {
    Some(Spread {
        count: histogram.iter().map(|(_, count)| count).sum(),
        p50_ms: Buckets::quantile(histogram, 0.5)?,
        p95_ms: Buckets::quantile(histogram, 0.95)?,
    })
}

fn share(part: i64, whole: i64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// A field of a CSV file. What a spreadsheet would take for a formula is made a text: names are anybody's.
fn field(text: &str) -> String {
    let guarded = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() };
    if guarded.contains([',', '"', '\n', '\r']) { format!("\"{}\"", guarded.replace('"', "\"\"")) } else { guarded }
}

fn usd(micro_usd: i64) -> String {
    let sign = if micro_usd < 0 { "-" } else { "" };
    let micro = micro_usd.unsigned_abs();
    format!("{sign}{}.{:06}", micro / 1_000_000, micro % 1_000_000)
}

#[cfg(test)]
mod tests;
