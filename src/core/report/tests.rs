//! The arithmetic of reports.

use super::*;
use crate::core::command::figures::Lead;

/// 2026-11-24, 12:00 UTC: 6 and a half days are left of the month.
const NOON: Timestamp = Timestamp(1_795_521_600_000);

fn row(day: i64, model: &str, micro_usd: i64) -> ModelRow {
    ModelRow {
        day: number(today(NOON)) + day,
        platform: "discord".into(),
        provider: "openai".into(),
        model: model.into(),
        tool: "coach".into(),
        sums: Sums { calls: 1, input_tokens: 100, cached_tokens: 25, micro_usd, ..Sums::default() },
    }
}

#[test]
fn the_forecast_is_what_is_spent_and_what_the_last_days_cost() {
    let cost = |rows: &[ModelRow]| forecast(rows, NOON).map(|f| (f.micro_usd, f.per_day_micro_usd, f.basis_days));
    assert_eq!(cost(&[]), None);
    assert_eq!(cost(&[row(0, "m", 0)]), None, "nothing has cost anything yet");
    let week: Vec<ModelRow> = (-20..=0).map(|day| row(day, "m", 1_000_000)).collect();
    assert_eq!(cost(&week), Some((27_500_000, 1_000_000, 7)), "21 spent, and 6.5 days to come");
    // What was long ago is no basis.
    let quiet: Vec<ModelRow> = (-20..=-10).map(|day| row(day, "m", 1_000_000)).collect();
    assert_eq!(cost(&quiet), Some((11_000_000, 0, 7)));
    assert_eq!(cost(&[row(-2, "m", 4_000_000)]), Some((17_000_000, 2_000_000, 2)), "as many days as there are");
    assert_eq!(cost(&[row(0, "m", 1_000_000)]), Some((14_000_000, 2_000_000, 0)), "half a day of today");
    // Of the last days of the month before, the cost is the basis alone.
    let first = Timestamp(1_796_083_200_000);
    let before: Vec<ModelRow> = (0..7).map(|day| row(day, "m", 1_000_000)).collect();
    let found = forecast(&before, first).unwrap();
    assert_eq!((found.micro_usd, found.by.to_string().as_str()), (31_000_000, "2026-12-31"));
}

#[test]
fn lines_are_the_dearest_and_the_rest_is_summed() {
    let figures = Figures::read(Lead::Cost, "7d by model").unwrap();
    let days = figures.period.days(NOON);
    let models = (0..5).flat_map(|n| (-2..=0).map(move |day| row(day, &format!("model-{n}"), n * 1000))).collect();
    let facts = Facts { models, ..Facts::default() };
    let report = Report::new(figures, days, facts, None, 2, NOON);
    let names: Vec<_> = report.lines.iter().map(|line| line.name.as_str()).collect();
    assert_eq!(names, ["model-4", "model-3"]);
    assert_eq!((report.more, report.rest.micro_usd, report.total.micro_usd), (3, 9_000, 30_000));
    assert_eq!((report.total.calls, report.cached_share()), (15, Some(0.25)));
    assert!(report.running && report.last_day == today(NOON));
    let daily = &report.daily;
    assert_eq!((daily.days.len(), daily.cost_by_model[0].0.as_str()), (7, "model-4"));
    assert_eq!(daily.cost_by_model[0].1, [0, 0, 0, 0, 4_000, 4_000, 4_000]);
    assert_eq!(report.cost_of(&["coach"]), 30_000);
}

#[test]
fn what_was_called_off_neither_worked_nor_failed() {
    let worked = |calls, failed, called_off| {
        let figures = Figures::read(Lead::Usage, "1d").unwrap();
        let days = figures.period.days(NOON);
        let sums = Sums { calls, failed, called_off, ..Sums::default() };
        let facts = Facts { models: vec![ModelRow { sums, ..row(0, "m", 0) }], ..Facts::default() };
        Report::new(figures, days, facts, None, 9, NOON).success_share()
    };
    assert_eq!(worked(8, 0, 0), Some(1.0));
    assert_eq!(worked(8, 2, 0), Some(0.75));
    assert_eq!(worked(8, 2, 4), Some(0.5));
    assert_eq!(worked(8, 0, 4), Some(1.0));
    assert_eq!(worked(4, 0, 4), None, "nothing ended by itself");
}

#[test]
fn what_happened_is_told_apart() {
    let count = |what: &str, outcome: &str, count| CountRow {
        day: 0,
        platform: "discord".into(),
        what: what.into(),
        outcome: outcome.into(),
        count,
    };
    let activity = Activity::of(&[
        count("request", "queued", 3),
        count("request", "joined", 2),
        count("request", "cached", 4),
        count("request", "failed", 1),
        count("request", "denied", 9),
        count("tool", "ok", 3),
        count("tool", "failed", 1),
        count("talk", "silent", 5),
        count("talk", "answered", 6),
        count("something", "newer", 1),
    ]);
    assert_eq!((activity.hit_share(), activity.tool_share()), (Some(0.7), Some(0.75)));
    assert_eq!((activity.messages_answered, activity.reels_taken()), (6, 10));
    assert_eq!(Activity::default().hit_share(), None);
}

#[test]
fn fields_are_safe_for_spreadsheets() {
    let cases = [
        ("Ana", "Ana"),
        ("a,b", "\"a,b\""),
        ("say \"hi\"", "\"say \"\"hi\"\"\""),
        ("=1+1", "'=1+1"),
        ("@me,", "\"'@me,\""),
    ];
    for (text, wanted) in cases {
        assert_eq!(field(text), wanted);
    }
    assert_eq!([usd(1), usd(12_345_678), usd(-5)], ["0.000001", "12.345678", "-0.000005"]);
}

#[test]
fn a_long_period_has_its_times_by_week() {
    let time = |slot, ms| TimeRow { slot, what: "answer".into(), bucket: Buckets::of(ms), count: 4 };
    let daily = |words: &str| {
        let figures = Figures::read(Lead::Usage, words).unwrap();
        let days = figures.period.days(NOON);
        let facts = Facts { times: vec![time(0, 1_000), time(2, 8_000)], ..Facts::default() };
        Report::new(figures, days, facts, None, 9, NOON).daily.answer[0].clone()
    };
    let known = |values: Vec<Option<f64>>| values.iter().map(Option::is_some).collect::<Vec<_>>();
    assert_eq!(known(daily("4d")), [true, false, true, false]);
    let long = daily("100d");
    assert_eq!((long.len(), long[0], long[6], long[7]), (100, long[6], long[0], None));
    assert!(long[14].is_some() && long[20] == long[14] && long[21].is_none());
}
