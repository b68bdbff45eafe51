//! Ticks: which values and days are written at the axes, and how. Owns no pixel.

use chrono::{Datelike, NaiveDate};

use super::Unit;
use super::prepare::Step;

/// The lines of the value axis, from 0 up; the last is at or above `most`.
pub(super) fn ticks(most: f64, unit: Unit) -> Vec<f64> {
    let least = match unit {
        Unit::Count => 1.0,
        Unit::Usd => 1e-6,
        Unit::Seconds => 1e-3,
        Unit::Share => 0.01,
    };
    let step = nice(most / 4.0, unit).max(least);
    let count = (most / step - 1e-9).ceil().clamp(1.0, 8.0) as u32;
    (0..=count).map(|n| f64::from(n) * step).collect()
}

/// A value at the axis whose ticks are `step` apart.
pub(super) fn tick(value: f64, step: f64, unit: Unit) -> String {
    match unit {
        Unit::Usd if step < 1000.0 => format!("${}", grouped(value, decimals(step, 2))),
        Unit::Usd => format!("${}", short(value)),
        Unit::Count if step < 1000.0 => grouped(value, decimals(step, 0)),
        Unit::Count => short(value),
        Unit::Seconds if step >= 3600.0 => format!("{} h", trimmed(value / 3600.0, 1)),
        Unit::Seconds if step >= 60.0 => format!("{} min", trimmed(value / 60.0, 1)),
        Unit::Seconds if step >= 0.1 => format!("{} s", grouped(value, decimals(step, 0))),
        Unit::Seconds => format!("{} ms", trimmed(value * 1000.0, 1)),
        Unit::Share => format!("{}%", trimmed(value * 100.0, 1)),
    }
}

/// A value on its own.
pub(super) fn exact(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Usd if value > 0.0 && value < 0.0001 => "< $0.0001".to_owned(),
        Unit::Usd if value > 0.0 && value < 0.1 => format!("${value:.4}"),
        Unit::Usd if value < 100_000.0 => format!("${}", grouped(value, 2)),
        Unit::Usd => format!("${}", short(value)),
        Unit::Count if value < 1e6 => grouped(value, 0),
        Unit::Count => short(value),
        Unit::Seconds if value < 0.9995 => format!("{} ms", grouped(value * 1000.0, 0)),
        Unit::Seconds if value < 10.0 => format!("{value:.1} s"),
        Unit::Seconds if value < 120.0 => format!("{value:.0} s"),
        Unit::Seconds if value < 7200.0 => format!("{:.0} min", value / 60.0),
        Unit::Seconds => format!("{} h", trimmed(value / 3600.0, 1)),
        Unit::Share => format!("{}%", trimmed(value * 100.0, 1)),
    }
}

/// A day or a week in words.
pub(super) fn name(step: &Step) -> String {
    let day = |day: NaiveDate| day.format("%b %-d").to_string();
    if step.from == step.to { day(step.from) } else { format!("{} to {}", day(step.from), day(step.to)) }
}

/// The steps that are written below, and how. `room` is how many labels fit.
pub(super) fn days(steps: &[Step], room: usize) -> Vec<(usize, String)> {
    let (Some(first), Some(last)) = (steps.first(), steps.last()) else { return Vec::new() };
    let span = (last.to - first.from).num_days();
    if span > 92 {
        return months(steps, room);
    }
    let every = [1, 2, 3, 7, 14, 28].into_iter().find(|every| steps.len().div_ceil(*every) <= room).unwrap_or(28);
    let label = |at: usize| steps[at].from.format("%b %-d").to_string();
    (0..steps.len()).step_by(every).map(|at| (at, label(at))).collect()
}

/// Where a month begins; a year is written where it begins, and at the first label.
fn months(steps: &[Step], room: usize) -> Vec<(usize, String)> {
    let month = |day: NaiveDate| (day.year(), day.month());
    let begins = |at: &usize| {
        let step = &steps[*at];
        step.from.day() == 1
            || (*at > 0 && month(steps[*at - 1].to) != month(step.to))
            || month(step.from) != month(step.to)
    };
    let starts: Vec<usize> = (0..steps.len()).filter(begins).collect();
    let every = [1, 2, 3, 6, 12].into_iter().find(|every| starts.len().div_ceil(*every) <= room).unwrap_or(24);
    let chosen = starts.into_iter().step_by(every).enumerate();
    let label = |(n, at): (usize, usize)| {
        let day = steps[at].to;
        let form = if n == 0 || day.month() <= every as u32 && day.month() == 1 { "%b %Y" } else { "%b" };
        (at, day.format(form).to_string())
    };
    chosen.map(label).collect()
}

/// The smallest of 1, 2, 2.5 and 5 times a power of ten that is at least `value`; of minutes and hours in their own
/// steps.
fn nice(value: f64, unit: Unit) -> f64 {
    if !(value.is_finite() && value > 0.0) {
        return match unit {
            Unit::Count | Unit::Seconds => 1.0,
            Unit::Usd | Unit::Share => 0.25,
        };
    }
    if unit == Unit::Seconds && value > 10.0 && value <= 6.0 * 3600.0 {
        let clock = [15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 10_800.0, 21_600.0];
        return clock.into_iter().find(|step| *step >= value).unwrap_or(21_600.0);
    }
    let power = 10f64.powf(value.log10().floor());
    let steps: &[f64] = if unit == Unit::Count { &[1.0, 2.0, 5.0, 10.0] } else { &[1.0, 2.0, 2.5, 5.0, 10.0] };
    let step = steps.iter().find(|step| **step * power >= value * (1.0 - 1e-9)).copied().unwrap_or(10.0);
    step * power
}

/// How many decimals ticks need that are `step` apart; `usual` if there are any.
fn decimals(step: f64, usual: usize) -> usize {
    let needed = (0..=6).find(|n| {
        let scaled = step * 10f64.powi(*n);
        (scaled - scaled.round()).abs() < 1e-6
    });
    match needed.unwrap_or(6) {
        0 => 0,
        n => usize::try_from(n).unwrap_or(6).max(usual),
    }
}

/// `12,345.60`
fn grouped(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if rest.is_empty() { grouped } else { format!("{grouped}.{rest}") }
}

/// `1.2k`, `3.4M`
fn short(value: f64) -> String {
    let (scale, sign) = match value {
        v if v >= 999_950_000.0 => (1e9, "B"),
        v if v >= 999_950.0 => (1e6, "M"),
        v if v >= 1000.0 => (1e3, "k"),
        _ => (1.0, ""),
    };
    format!("{}{sign}", trimmed(value / scale, if value / scale < 10.0 { 2 } else { 1 }))
}

/// Without zeros at the end of the decimals.
fn trimmed(value: f64, decimals: usize) -> String {
    let text = grouped(value, decimals);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round_and_reach_the_top() {
        for (most, unit, labels) in [
            (0.0, Unit::Usd, vec!["$0", "$0.25"]),
            (0.93, Unit::Usd, vec!["$0.00", "$0.25", "$0.50", "$0.75", "$1.00"]),
            (0.000_8, Unit::Usd, vec!["$0.0000", "$0.0002", "$0.0004", "$0.0006", "$0.0008"]),
            (100.0, Unit::Usd, vec!["$0", "$25", "$50", "$75", "$100"]),
            (17_000.0, Unit::Usd, vec!["$0", "$5k", "$10k", "$15k", "$20k"]),
            (1.0, Unit::Count, vec!["0", "1"]),
            (7.0, Unit::Count, vec!["0", "2", "4", "6", "8"]),
            (1_234.0, Unit::Count, vec!["0", "500", "1,000", "1,500"]),
            (8_000_000.0, Unit::Count, vec!["0", "2M", "4M", "6M", "8M"]),
            (0.4, Unit::Seconds, vec!["0.0 s", "0.1 s", "0.2 s", "0.3 s", "0.4 s"]),
            (5.0, Unit::Seconds, vec!["0 s", "2 s", "4 s", "6 s"]),
            (55.0, Unit::Seconds, vec!["0 s", "15 s", "30 s", "45 s", "60 s"]),
            (400.0, Unit::Seconds, vec!["0 min", "2 min", "4 min", "6 min", "8 min"]),
            (0.83, Unit::Share, vec!["0%", "25%", "50%", "75%", "100%"]),
        ] {
            let ticks = ticks(most, unit);
            let written: Vec<String> = ticks.iter().map(|value| tick(*value, ticks[1], unit)).collect();
            if most > 0.0 {
                assert_eq!(written, labels, "{most} {unit:?}");
            }
            assert!(*ticks.last().unwrap() >= most * (1.0 - 1e-9) && ticks.len() <= 9, "{most} {ticks:?}");
        }
    }

    #[test]
    fn values_are_written_as_people_do() {
        for (value, unit, written) in [
            (0.0, Unit::Usd, "$0.00"),
            (0.000_01, Unit::Usd, "< $0.0001"),
            (0.0312, Unit::Usd, "$0.0312"),
            (12.345, Unit::Usd, "$12.35"),
            (1_234.5, Unit::Usd, "$1,234.50"),
            (1_234_567.0, Unit::Count, "1.23M"),
            (12_345.0, Unit::Count, "12,345"),
            (0.25, Unit::Seconds, "250 ms"),
            (0.9999, Unit::Seconds, "1.0 s"),
            (59.6, Unit::Seconds, "60 s"),
            (5_400.0, Unit::Seconds, "90 min"),
            (0.375, Unit::Share, "37.5%"),
        ] {
            assert_eq!(exact(value, unit), written);
        }
    }
}
