//! What a report is asked for: `/usage`, `/cost` and the command line have one grammar, read here once. Pure: today is a
//! value.

use std::fmt;

use chrono::{DateTime, Datelike, Days as DaysLater, Months, NaiveDate, Utc};

use crate::clock::Timestamp;
use crate::store::usage::Days;

/// The words of the grammar, for those who got it wrong.
pub const GRAMMAR: &str = "today, yesterday, week, month, year, 7d, 2026-10, 2026-10-05 or 2026-10-01..2026-10-31; by model, tool, platform, server, chat, person or day; csv";

/// The forms of a period.
pub const PERIODS: &str = "today, yesterday, week, month, year, 7d, 2026-10, 2026-10-05, 2026-10-01..2026-10-31";

/// The longest period of a report in days.
const LONGEST: i64 = 366;

/// A report that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    pub lead: Lead,
    pub period: Period,
    pub by: By,
    /// Every line of it as a file.
    pub csv: bool,
}

/// What a report begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lead {
    Usage,
    Cost,
}

/// Days of UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    Today,
    Yesterday,
    /// From Monday on.
    Week,
    Month,
    Year,
    /// So many days, today the last of them.
    Last(u16),
    MonthOf(NaiveDate),
    /// Both among them.
    Dates(NaiveDate, NaiveDate),
}

/// By what the lines of a report are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Model,
    Tool,
    Platform,
    Guild,
    Chat,
    Person,
    Day,
}

impl By {
    pub const ALL: [By; 7] = [By::Model, By::Tool, By::Platform, By::Guild, By::Chat, By::Person, By::Day];

    pub fn name(self) -> &'static str {
        match self {
            By::Model => "model",
            By::Tool => "tool",
            By::Platform => "platform",
            By::Guild => "server",
            By::Chat => "chat",
            By::Person => "person",
            By::Day => "day",
        }
    }
}

impl Figures {
    /// Reads the words behind the command's name, in any order; `None` if they are not understood.
    pub fn read(lead: Lead, words: &str) -> Option<Figures> {
        let mut figures = Figures { lead, period: Period::Month, by: By::Model, csv: false };
        let (mut has_period, mut has_by) = (false, false);
        let mut words = words.split_whitespace().map(str::to_ascii_lowercase);
        while let Some(word) = words.next() {
            match word.as_str() {
                "csv" | "csv:true" if !figures.csv => figures.csv = true,
                "by" if !has_by => {
                    let name = words.next()?;
                    figures.by = By::ALL.into_iter().find(|by| by.name() == name)?;
                    has_by = true;
                }
                word if !has_period => {
                    figures.period = Period::read(word)?;
                    has_period = true;
                }
                _ => return None,
            }
        }
        Some(figures)
    }
}

impl Period {
    fn read(word: &str) -> Option<Period> {
        let date = |text: &str| {
            let date = (text.len() == 10).then(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok())??;
            (2000..=2999).contains(&date.year()).then_some(date)
        };
        Some(match word {
            "today" => Period::Today,
            "yesterday" => Period::Yesterday,
            "week" => Period::Week,
            "month" => Period::Month,
            "year" => Period::Year,
            word => {
                if let Some(days) = word.strip_suffix('d') {
                    let days: u16 = days.bytes().all(|b| b.is_ascii_digit()).then(|| days.parse().ok())??;
                    (1..=LONGEST).contains(&i64::from(days)).then_some(Period::Last(days))?
                } else if let Some((from, to)) = word.split_once("..") {
                    let (from, to) = (date(from)?, date(to)?);
                    (1..=LONGEST).contains(&((to - from).num_days() + 1)).then_some(Period::Dates(from, to))?
                } else if word.len() == 7 {
                    Period::MonthOf(date(&format!("{word}-01"))?)
                } else {
                    let day = date(word)?;
                    Period::Dates(day, day)
                }
            }
        })
    }

    /// The days meant at `now`; those to come are among them.
    pub fn days(self, now: Timestamp) -> Days {
        let today = today(now);
        let month_from = |first: NaiveDate| (first, first.checked_add_months(Months::new(1)).unwrap_or(first));
        let one_more = |last: NaiveDate| last.checked_add_days(DaysLater::new(1)).unwrap_or(last);
        let back = |days: u64| today.checked_sub_days(DaysLater::new(days)).unwrap_or(today);
        let (from, to) = match self {
            Period::Today => (today, one_more(today)),
            Period::Yesterday => (back(1), today),
            Period::Week => (back(u64::from(today.weekday().num_days_from_monday())), one_more(today)),
            Period::Month => (today.with_day(1).unwrap_or(today), one_more(today)),
            Period::Year => (today.with_ordinal(1).unwrap_or(today), one_more(today)),
            Period::Last(days) => (back(u64::from(days.max(1)) - 1), one_more(today)),
            Period::MonthOf(first) => month_from(first),
            Period::Dates(from, to) => (from, one_more(to)),
        };
        Days { from: number(from), to: number(to) }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Period::Today => f.write_str("today"),
            Period::Yesterday => f.write_str("yesterday"),
            Period::Week => f.write_str("week"),
            Period::Month => f.write_str("month"),
            Period::Year => f.write_str("year"),
            Period::Last(days) => write!(f, "{days}d"),
            Period::MonthOf(first) => write!(f, "{}", first.format("%Y-%m")),
            Period::Dates(from, to) if from == to => write!(f, "{from}"),
            Period::Dates(from, to) => write!(f, "{from}..{to}"),
        }
    }
}

/// The date of a moment.
pub fn today(now: Timestamp) -> NaiveDate {
    now.utc().as_ref().map(DateTime::<Utc>::date_naive).unwrap_or_default()
}

/// The number of a day ([`Days`]).
pub fn number(day: NaiveDate) -> i64 {
    Days::of(Timestamp(day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_millis()))
}

/// The date of a day's number.
pub fn date(day: i64) -> NaiveDate {
    today(Days::begin(day))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Tuesday: 2026-11-24, 13:46 UTC.
    const NOW: Timestamp = Timestamp(1_795_528_000_000);

    fn shown(words: &str) -> Option<String> {
        let figures = Figures::read(Lead::Cost, words)?;
        let days = figures.period.days(NOW);
        let csv = if figures.csv { " csv" } else { "" };
        Some(format!("{}..{} by {}{csv}", date(days.from), date(days.to - 1), figures.by.name()))
    }

    #[test]
    fn the_grammar() {
        let cases = [
            ("", "2026-11-01..2026-11-24 by model"),
            ("today", "2026-11-24..2026-11-24 by model"),
            ("yesterday by tool", "2026-11-23..2026-11-23 by tool"),
            ("by person WEEK csv", "2026-11-23..2026-11-24 by person csv"),
            ("month by server", "2026-11-01..2026-11-24 by server"),
            ("year by chat", "2026-01-01..2026-11-24 by chat"),
            ("7d", "2026-11-18..2026-11-24 by model"),
            ("366d by day", "2025-11-24..2026-11-24 by day"),
            ("2026-02", "2026-02-01..2026-02-28 by model"),
            ("2026-10-05", "2026-10-05..2026-10-05 by model"),
            ("2026-10-01..2026-10-31 by platform csv:true", "2026-10-01..2026-10-31 by platform csv"),
        ];
        for (words, wanted) in cases {
            assert_eq!(shown(words).as_deref(), Some(wanted), "{words}");
        }
        for unclear in [
            "dance",
            "by",
            "by moon",
            "0d",
            "367d",
            "-7d",
            "+7d",
            "7d 8d",
            "by day by day",
            "csv csv",
            "2026-13",
            "2026-02-30",
            "2026-10-31..2026-10-01",
            "2024-01-01..2026-01-01",
            "9999-01",
        ] {
            assert_eq!(shown(unclear), None, "{unclear}");
        }
    }

    #[test]
    fn a_period_is_shown_as_it_is_asked_for() {
        for words in ["today", "week", "30d", "2026-10", "2026-10-05", "2026-10-01..2026-10-31"] {
            assert_eq!(Period::read(words).map(|period| period.to_string()).as_deref(), Some(words));
        }
    }
}
