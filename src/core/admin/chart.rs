//! Reports as pictures. Owns how a chart looks; pure, and never knows where its numbers come from.
//!
//! A [`Drawing`] is a [`Chart`] of some days, the [`Loads`] of some parts, or some [`Measures`]. [`Drawing::svg`] draws it for a page
//! ([`Look::Page`]: colours follow the page); a [`Painter`] makes it a picture. The same drawing gives the same bytes
//! everywhere, but for characters that only fonts of the machine show.
//!
//! A chart mends what it is given: missing values are gaps, more than [`MOST_SERIES`] series become the largest and
//! "other", long names are cut, more than [`MOST_STEPS`] days become weeks, and without data it says so.

mod axis;
mod body;
mod fonts;
mod lettering;
mod loads;
mod measures;
mod picture;
mod prepare;
mod sheet;

use chrono::NaiveDate;

pub use self::picture::{CannotDraw, Painter};
use self::sheet::Sheet;

/// The size of a chart in logical pixels. A picture has twice as many each way.
pub const SIZE: (u32, u32) = (1000, 560);

/// More series than this become the largest ones and "other".
pub const MOST_SERIES: usize = 8;

/// More days than this are shown as weeks: sums of what adds up, else medians.
pub const MOST_STEPS: usize = 92;

/// More cases than this are not compared in one picture.
pub const MOST_CASES: usize = 3;

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

/// How much of what each part can do is asked of it, as bars against its limit.
#[derive(Clone, Debug, PartialEq)]
pub struct Loads {
    pub title: String,
    pub subtitle: String,
    /// The cases that are compared, up to [`MOST_CASES`] are drawn; one alone is not named.
    pub cases: Vec<String>,
    pub parts: Vec<PartLoad>,
    /// From this load on a part is worth watching; 1 is its limit.
    pub watch: f64,
}

/// One part, in each of the cases.
#[derive(Clone, Debug, PartialEq)]
pub struct PartLoad {
    pub name: String,
    /// One for each case; `None` where nothing limits it.
    pub loads: Vec<Option<f64>>,
}

/// A few values of one unit, as bars.
#[derive(Clone, Debug, PartialEq)]
pub struct Measures {
    pub title: String,
    pub subtitle: String,
    pub unit: Unit,
    /// What each value is, and the value. What is not a number from 0 up is left out.
    pub rows: Vec<(String, f64)>,
}

/// What can be drawn.
#[derive(Clone, Debug, PartialEq)]
pub enum Drawing {
    Days(Chart),
    Loads(Loads),
    Measures(Measures),
}

impl From<Chart> for Drawing {
    fn from(chart: Chart) -> Self {
        Drawing::Days(chart)
    }
}

impl From<Loads> for Drawing {
    fn from(loads: Loads) -> Self {
        Drawing::Loads(loads)
    }
}

impl From<Measures> for Drawing {
    fn from(measures: Measures) -> Self {
        Drawing::Measures(measures)
    }
}

impl Drawing {
    /// A whole `<svg>` element with a title for those who do not see it. Names are escaped; ids begin with a hash of the
    /// chart, so that several charts can stand in one page.
    pub fn svg(&self, look: Look) -> String {
        match self {
            Drawing::Days(chart) => svg(chart, look),
            Drawing::Loads(loads) => loads::draw(loads, look),
            Drawing::Measures(measures) => measures::draw(measures, look),
        }
    }

    /// With other texts; a name of which no letter is left is told by its place.
    fn with_texts(mut self, text: &dyn Fn(&str) -> String) -> Self {
        let name = |place: usize, name: &str| {
            let shown = text(name);
            let has = |text: &str| text.chars().any(char::is_alphanumeric);
            if has(name) && !has(&shown) { format!("no. {} (no font for its name)", place + 1) } else { shown }
        };
        match &mut self {
            Drawing::Days(Chart { title, subtitle, series, .. }) => {
                (*title, *subtitle) = (text(title), text(subtitle));
                series.iter_mut().enumerate().for_each(|(at, one)| one.name = name(at, &one.name));
            }
            Drawing::Loads(Loads { title, subtitle, cases, parts, .. }) => {
                (*title, *subtitle) = (text(title), text(subtitle));
                cases.iter_mut().enumerate().for_each(|(at, case)| *case = name(at, case));
                parts.iter_mut().enumerate().for_each(|(at, part)| part.name = name(at, &part.name));
            }
            Drawing::Measures(Measures { title, subtitle, rows, .. }) => {
                (*title, *subtitle) = (text(title), text(subtitle));
                rows.iter_mut().enumerate().for_each(|(at, (row, _))| *row = name(at, row));
            }
        }
        self
    }
}

/// [`Drawing::svg`] of a chart.
pub fn svg(chart: &Chart, look: Look) -> String {
    let chart = &prepare::prepare(chart);
    let mut sheet = Sheet::new(look, &chart.key);
    sheet.open(&chart.title, &sheet::description(chart));
    let caption = if chart.running { "total so far" } else { "total" };
    let total = (chart.kind == Kind::StackedBars).then(|| (axis::exact(chart.total, chart.unit), caption));
    sheet.head(&chart.title, &chart.subtitle, total);
    let legend_end = sheet.legend(&sheet::entries(&sheet, chart));
    let plot = sheet.axes(chart, legend_end, body::end_labels_width(chart));
    match (chart.any, chart.kind) {
        (false, _) => sheet.nothing((plot.left + plot.right) / 2.0, (plot.top + plot.bottom) / 2.0),
        (true, Kind::StackedBars) => body::bars(&mut sheet, chart, &plot),
        (true, Kind::Lines) => body::lines(&mut sheet, chart, &plot),
    }
    sheet.close()
}

#[cfg(test)]
mod tests;
