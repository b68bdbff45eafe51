//! What of a chart is drawn: which series, which steps in time, and the sums. Owns no pixel.

use chrono::{Datelike, NaiveDate, Weekday};

use super::lettering::{clean, ellipsis};
use super::{Chart, Kind, MOST_SERIES, MOST_STEPS, Unit};

/// The longest name of a series, in pixels of the legend.
const NAME_WIDTH: f64 = 210.0;
/// The longest title and subtitle.
const TITLE_WIDTH: f64 = 640.0;
const SUBTITLE_WIDTH: f64 = 720.0;

/// A chart of which everything fits.
pub(super) struct Prepared {
    pub title: String,
    pub subtitle: String,
    pub kind: Kind,
    pub unit: Unit,
    pub steps: Vec<Step>,
    pub series: Vec<Drawn>,
    /// The last step is not over.
    pub running: bool,
    /// The sum of everything.
    pub total: f64,
    /// There is something to show.
    pub any: bool,
    /// Names the chart within a page.
    pub key: String,
}

impl Prepared {
    /// The sum of a step.
    pub fn stack(&self, step: usize) -> f64 {
        self.series.iter().filter_map(|series| series.values.get(step).copied().flatten()).sum()
    }
}

/// A day or a week.
pub(super) struct Step {
    pub from: NaiveDate,
    pub to: NaiveDate,
}

pub(super) struct Drawn {
    pub name: String,
    /// One for each step.
    pub values: Vec<Option<f64>>,
    /// The number of its colour; `None` for "other".
    pub colour: Option<usize>,
    pub total: f64,
}

pub(super) fn prepare(chart: &Chart) -> Prepared {
    let days = chart.days.len();
    let mut series: Vec<Drawn> = chart
        .series
        .iter()
        .map(|series| {
            let value = |at: usize| series.values.get(at).copied().flatten().filter(|v| v.is_finite() && *v >= 0.0);
            let values: Vec<Option<f64>> = (0..days).map(value).collect();
            let total = sum(values.iter().flatten());
            let name = ellipsis(&clean(&series.name), 13.0, false, NAME_WIDTH);
            let name = if name.is_empty() { "unnamed".to_owned() } else { name };
            Drawn { name, values, colour: None, total }
        })
        .collect();
    if chart.kind == Kind::StackedBars {
        series.retain(|series| series.total > 0.0);
    } else {
        series.retain(|series| series.values.iter().any(Option::is_some));
    }
    fold(&mut series, chart.kind);

    let mut steps: Vec<Step> = chart.days.iter().map(|day| Step { from: *day, to: *day }).collect();
    let mut subtitle = clean(&chart.subtitle);
    if days > MOST_STEPS {
        steps = weeks(&chart.days);
        let (told, of_a_week): (&str, fn(&mut Vec<f64>) -> f64) = match chart.kind {
            Kind::StackedBars => ("each bar a week", |values| sum(values.iter())),
            Kind::Lines => ("each point the median of a week", |values| median(values)),
        };
        for series in &mut series {
            series.values = by_step(&series.values, &chart.days, &steps, of_a_week);
        }
        subtitle = if subtitle.is_empty() { told.to_owned() } else { format!("{subtitle} · {told}") };
    }
    let total = sum(series.iter().map(|series| &series.total));
    Prepared {
        title: ellipsis(&clean(&chart.title), 24.0, true, TITLE_WIDTH),
        subtitle: ellipsis(&subtitle, 14.0, false, SUBTITLE_WIDTH),
        kind: chart.kind,
        unit: chart.unit,
        any: !series.is_empty(),
        running: chart.running && !steps.is_empty(),
        steps,
        total,
        key: format!("c{:016x}", hash(format!("{chart:?}").as_bytes())),
        series,
    }
}

/// The largest series keep their order; what is too much becomes "other": a sum of bars, or nothing of lines, which do
/// not add up.
fn fold(series: &mut Vec<Drawn>, kind: Kind) {
    if series.len() > MOST_SERIES {
        let mut order: Vec<usize> = (0..series.len()).collect();
        order.sort_by(|a, b| series[*b].total.total_cmp(&series[*a].total).then(a.cmp(b)));
        let kept = if kind == Kind::StackedBars { MOST_SERIES - 1 } else { MOST_SERIES };
        let small = order.split_off(kept);
        let mut at = 0;
        let mut rest: Vec<Drawn> = Vec::new();
        series.retain_mut(|one| {
            let keep = !small.contains(&at);
            at += 1;
            if !keep {
                let taken = Drawn { name: String::new(), values: std::mem::take(&mut one.values), ..*one };
                rest.push(taken);
            }
            keep
        });
        if kind == Kind::StackedBars {
            let steps = rest.first().map_or(0, |one| one.values.len());
            let at = |step: usize| Some(sum(rest.iter().filter_map(|one| one.values.get(step)?.as_ref())));
            let name = format!("other ({})", rest.len());
            let total = sum(rest.iter().map(|one| &one.total));
            series.push(Drawn { name, values: (0..steps).map(at).collect(), colour: None, total });
        }
    }
    let named =
        series.len().min(MOST_SERIES) - usize::from(series.last().is_some_and(|last| last.name.starts_with("other (")));
    for (colour, one) in series.iter_mut().take(named).enumerate() {
        one.colour = Some(colour);
    }
}

/// Monday to Sunday; the first and the last may be shorter.
fn weeks(days: &[NaiveDate]) -> Vec<Step> {
    let mut weeks: Vec<Step> = Vec::new();
    for &day in days {
        match weeks.last_mut().filter(|_| day.weekday() != Weekday::Mon) {
            Some(week) => week.to = day,
            None => weeks.push(Step { from: day, to: day }),
        }
    }
    weeks
}

/// One value for each step, made by `of` of the known ones in it.
fn by_step(
    values: &[Option<f64>],
    days: &[NaiveDate],
    steps: &[Step],
    of: fn(&mut Vec<f64>) -> f64,
) -> Vec<Option<f64>> {
    let mut made = Vec::with_capacity(steps.len());
    let mut all = days.iter().zip(values).peekable();
    for step in steps {
        let mut known = Vec::new();
        while let Some((_, value)) = all.next_if(|(day, _)| **day <= step.to) {
            known.extend(*value);
        }
        made.push((!known.is_empty()).then(|| of(&mut known)));
    }
    made
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle), values.len() % 2) {
        (Some(high), 0) => (values[middle - 1] + high) / 2.0,
        (Some(value), _) => *value,
        (None, _) => 0.0,
    }
}

/// From 0: the standard library's sum of nothing is -0.
fn sum<'a>(values: impl Iterator<Item = &'a f64>) -> f64 {
    values.fold(0.0, |sum, value| sum + value)
}

/// FNV-1a: the same everywhere, unlike the standard library's.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
