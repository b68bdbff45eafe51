//! Reports on usage, cost and capacity: which sums are asked for, so that nobody is given more than they may see, and what goes
//! with the text: pictures and tables. Computes nothing and words nothing.

use super::chart::{Chart, Kind, Loads, Look, Painter, PartLoad, Series, Unit};
use crate::clock::Timestamp;
use crate::core::capacity::{self, Part, WATCH};
use crate::core::chat::{Body, File};
use crate::core::command::figures::{By, Figures, Lead};
use crate::core::report::{Daily, Facts, Report, forecast_days, time_step};
use crate::core::wording;
use crate::ids::GuildId;
use crate::locale::fl;
use crate::store::usage::Place;
use crate::store::{Store, StoreError};

/// Lines of a report in a chat; of one by day.
const LINES_SHOWN: usize = 12;
const DAYS_SHOWN: usize = 31;

/// Lines of a report that has room for all.
pub const ALL_LINES: usize = 100_000;

/// What is said to somebody who may see this, with its pictures, and with the whole table as a file if that is asked for.
pub async fn answer(
    store: &Store,
    painter: &Painter,
    wish: Option<Figures>,
    guild: Option<&GuildId>,
    now: Timestamp,
) -> Result<Body, StoreError> {
    let Some(figures) = wish else {
        return Ok(Body { private: true, ..Body::text(wording::usage::unclear_figures()) });
    };
    let most = if figures.by == By::Day { DAYS_SHOWN } else { LINES_SHOWN };
    let report = report(store, figures, guild, most, now).await?;
    let mut body = Body { private: true, ..Body::text(wording::usage::report(&report)) };
    for (name, chart) in charts(&report) {
        match painter.picture(&format!("{name}.png"), chart, Look::Dark).await {
            Ok(file) => body = body.with(file),
            // The words say it all; the picture is for the eyes.
            Err(error) => tracing::warn!(name, "a picture of a report is missing: {error}"),
        }
    }
    if figures.csv {
        let whole = self::report(store, figures, guild, ALL_LINES, now).await?;
        body = body.with(File::csv(&format!("{}.csv", whole.file_name()), whole.csv()));
    }
    Ok(body)
}

/// The report of a period, of what its asker may see, with at most `most` lines.
pub async fn report(
    store: &Store,
    figures: Figures,
    guild: Option<&GuildId>,
    most: usize,
    now: Timestamp,
) -> Result<Report, StoreError> {
    let days = figures.period.days(now);
    let place = match figures.by {
        By::Guild => Some(Place::Guild),
        By::Chat => Some(Place::Chat),
        By::Person => Some(Place::Person),
        By::Model | By::Tool | By::Platform | By::Day => None,
    };
    let places = async {
        match place {
            Some(place) => {
                let limit = u32::try_from(most).unwrap_or(u32::MAX);
                store.usage_of_places(place, days, guild, limit).await
            }
            None => Ok(Vec::new()),
        }
    };
    let (models, places, counts, times, reserved, recent) = futures::try_join!(
        store.usage_of_models(days, guild),
        places,
        store.usage_counts(days, guild),
        store.usage_times(days, time_step(days), guild),
        store.reserved_now(guild),
        store.usage_of_models(forecast_days(now), guild),
    )?;
    let facts = Facts { models, places, counts, times, reserved, recent };
    Ok(Report::new(figures, days, facts, guild, most, now))
}

/// The pictures of what a report begins with, each with the name of its file; none if there is nothing to see.
pub fn charts(report: &Report) -> Vec<(&'static str, Chart)> {
    let Daily { days, cost_by_model, cost_by_tool, messages, reels, answer, wait } = &report.daily;
    let subtitle = |what: String| match report.guild {
        Some(_) => fl!("chart-server", what = what),
        None => what,
    };
    let period = wording::usage::period(report);
    let chart = |title: String, what: String, kind: Kind, unit: Unit, series: Vec<Series>| Chart {
        title,
        subtitle: subtitle(what),
        kind,
        unit,
        days: days.clone(),
        series,
        running: report.running,
    };
    let cost = |by: &[(String, Vec<i64>)]| -> Vec<Series> {
        by.iter().map(|(name, days)| Series::micro_usd(name.as_str(), days.iter().copied())).collect()
    };
    let spread = |[median, high]: &[Vec<Option<f64>>; 2]| -> Vec<Series> {
        let seconds = |values: &[Option<f64>]| values.iter().map(|ms| ms.map(|ms| ms / 1e3)).collect();
        vec![
            Series::new(fl!("chart-series-median"), seconds(median)),
            Series::new(fl!("chart-series-high"), seconds(high)),
        ]
    };
    let has_any = |values: &[Option<f64>]| values.iter().any(Option::is_some);
    let (bars, lines) = (Kind::StackedBars, Kind::Lines);
    let mut charts = Vec::new();
    match report.figures.lead {
        Lead::Cost => {
            if report.total.micro_usd > 0 {
                let by_model = fl!("chart-by-model", period = period.as_str());
                let by_tool = fl!("chart-by-tool", period = period.as_str());
                let per_day = |by: String, costs| chart(fl!("chart-cost"), by, bars, Unit::Usd, cost(costs));
                charts.push(("cost-by-model", per_day(by_model, cost_by_model)));
                charts.push(("cost-by-tool", per_day(by_tool, cost_by_tool)));
            }
        }
        Lead::Usage => {
            if messages.iter().chain(reels).any(|count| *count > 0) {
                let series = vec![
                    Series::counts(fl!("chart-series-messages"), messages.iter().copied()),
                    Series::counts(fl!("chart-series-reels"), reels.iter().copied()),
                ];
                charts.push((
                    "messages-and-reels",
                    chart(fl!("chart-messages"), period.clone(), bars, Unit::Count, series),
                ));
            }
            if has_any(&answer[0]) {
                charts.push((
                    "response-time",
                    chart(fl!("chart-answer-time"), period.clone(), lines, Unit::Seconds, spread(answer)),
                ));
            }
            if has_any(&wait[0]) {
                charts.push((
                    "wait-in-line",
                    chart(fl!("chart-queue-wait"), period.clone(), lines, Unit::Seconds, spread(wait)),
                ));
            }
        }
    }
    charts
}

/// The picture of plans: each part's load in each of them. Parts that nothing limits in any of them are left out.
/// `basis` is told below the title.
pub fn loads(plans: &[capacity::Report], basis: &str) -> Loads {
    let load = |report: &capacity::Report, part: Part| report.loads.iter().find(|load| load.part == part)?.load;
    let parts = Part::ALL.into_iter().map(|part| PartLoad {
        name: wording::part(part),
        loads: plans.iter().map(|report| load(report, part)).collect(),
    });
    Loads {
        title: fl!("chart-load"),
        subtitle: basis.to_owned(),
        cases: plans.iter().map(|report| report.plan.name.clone()).collect(),
        parts: parts.filter(|part| part.loads.iter().any(Option::is_some)).collect(),
        watch: WATCH,
    }
}
