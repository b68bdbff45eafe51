//! Reports as pictures. Owns how a chart looks; pure, and never knows where its numbers come from.
//!
//! [`svg`] draws a [`Chart`] for a page ([`Look::Page`]: colours follow the page) or for a picture, [`png()`] turns the
//! latter into a file, and [`picture()`] does both for a message. The same chart gives the same bytes everywhere.
//!
//! A chart mends what it is given: missing values are gaps, more than [`MOST_SERIES`] series become the largest and
//! "other", long names are cut, more than [`MOST_STEPS`] days become weeks, and without data it says so.

mod axis;
mod body;
mod lettering;
mod picture;
mod prepare;
mod sheet;

use chrono::NaiveDate;

pub use self::picture::{CannotDraw, picture, png};

/// The size of a chart in logical pixels. A picture has twice as many each way.
pub const SIZE: (u32, u32) = (1000, 560);

/// More series than this become the largest ones and "other".
pub const MOST_SERIES: usize = 8;

/// More days than this are shown as weeks: sums of what adds up, else medians.
pub const MOST_STEPS: usize = 92;

/// What a report shows of some days.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// A few words: "Cost per day". Bars add their total at the other end of the line.
    pub title: String,
    /// What exactly: "November 2026, by model, UTC".
    pub subtitle: String,
    pub kind: Kind,
    pub unit: Unit,
    /// The days in order, without holes.
    pub days: Vec<NaiveDate>,
    pub series: Vec<Series>,
    /// The last day is not over: it is marked as "so far".
    pub running: bool,
}

/// How the values are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// For what adds up: cost, messages.
    StackedBars,
    /// For what does not: response times, shares. A missing value breaks the line.
    Lines,
}

/// What the values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Dollars.
    Usd,
    Count,
    Seconds,
    /// 1 is 100%.
    Share,
}

/// One colour.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    pub name: String,
    /// One for each day, `None` where nothing is known. What is not a number from 0 up counts as missing.
    pub values: Vec<Option<f64>>,
}

impl Series {
    pub fn new(name: impl Into<String>, values: Vec<Option<f64>>) -> Self {
        Self { name: name.into(), values }
    }

    /// From the ledger's millionths of a dollar.
    pub fn micro_usd(name: impl Into<String>, values: impl IntoIterator<Item = i64>) -> Self {
        Self::new(name, values.into_iter().map(|micro| Some(micro as f64 / 1e6)).collect())
    }

    /// Of things that are counted.
    pub fn counts(name: impl Into<String>, values: impl IntoIterator<Item = i64>) -> Self {
        Self::new(name, values.into_iter().map(|count| Some(count as f64)).collect())
    }
}

/// Where a chart is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// A picture with a dark ground of its own, for chats of any colour.
    Dark,
    /// A picture with a light ground of its own.
    Light,
    /// Inline in a page: no ground, text in `currentColor`, and series in `var(--chart-1)` to `var(--chart-8)`
    /// and `var(--chart-other)`, which have defaults. `var(--chart-ground)` is the page's own colour.
    Page,
}

/// The chart as a whole `<svg>` element with a title for those who do not see it. Names are escaped; ids begin with
/// a hash of the chart, so that several charts can stand in one page.
pub fn svg(chart: &Chart, look: Look) -> String {
    sheet::draw(&prepare::prepare(chart, look != Look::Page), look)
}

#[cfg(test)]
mod tests;
