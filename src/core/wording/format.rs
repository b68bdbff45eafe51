//! Times, dates, numbers and shares as people read them, each written in one place. Pure, like its parent.

use std::time::Duration;

use chrono::NaiveDate;

use crate::clock::Timestamp;
use crate::core::reels::eta;
use crate::locale::fl;

/// `about 25 s`: a time that is still to go, coarse enough not to change at every look.
pub fn about(span: Duration) -> String {
    let seconds = eta::rounded(span).as_secs();
    let span = match seconds {
        0..=5 => return fl!("duration-few-seconds"),
        6..60 => fl!("duration-seconds", count = seconds),
        _ if seconds >= 600 => fl!("duration-minutes", count = seconds.div_ceil(60)),
        _ => minutes(seconds),
    };
    fl!("duration-about", span = span)
}

/// `20–25 s`: what is left of work in progress.
pub fn between(span: Duration) -> String {
    let seconds = eta::rounded(span).as_secs();
    match seconds {
        0..=5 => fl!("duration-few-seconds"),
        6..=60 => {
            let from = seconds - 5;
            fl!("duration-range", from = from, to = seconds)
        }
        _ => about(span),
    }
}

/// `45 s`, `12 min`, `3 h 5 min`, `31 d`: a time that has gone by.
pub fn elapsed(span: Duration) -> String {
    let seconds = span.as_secs_f64().round() as u64;
    let minutes = (seconds + 30) / 60;
    match seconds {
        0..100 => fl!("duration-seconds", count = seconds),
        100..5_970 => fl!("duration-minutes", count = minutes),
        172_800.. => {
            let days = (seconds + 43_200) / 86_400;
            fl!("duration-days", count = days)
        }
        _ => {
            let (hours, minutes) = (minutes / 60, minutes % 60);
            fl!("duration-hours-minutes", hours = hours, minutes = minutes)
        }
    }
}

/// `30 s`, `2 min`, `1 min 30 s`: an exact span, of a setting.
pub fn exactly(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        60 | 120.. => minutes(seconds),
        _ => fl!("duration-seconds", count = seconds),
    }
}

/// `2 min`, `1 min 30 s`.
fn minutes(seconds: u64) -> String {
    match (seconds / 60, seconds % 60) {
        (minutes, 0) => fl!("duration-minutes", count = minutes),
        (minutes, seconds) => fl!("duration-minutes-seconds", minutes = minutes, seconds = seconds),
    }
}

/// `840 ms`, `2.4 s`, `48 s`, `3 min 20 s`: a measured time, as precise as it matters.
pub fn measured(span: Duration) -> String {
    let (ms, s) = (span.as_millis(), span.as_secs_f64());
    match ms {
        0..=999 => fl!("duration-milliseconds", count = span.as_millis().to_string()),
        1_000..=9_949 => fl!("duration-seconds", count = format!("{s:.1}")),
        9_950..=119_499 => fl!("duration-seconds", count = format!("{s:.0}")),
        _ if s < 3_600.0 => {
            let (minutes, seconds) = (span.as_secs() / 60, span.as_secs() % 60);
            fl!("duration-minutes-seconds", minutes = minutes, seconds = format!("{seconds:02}"))
        }
        _ => {
            let (hours, minutes) = (span.as_secs() / 3_600, span.as_secs() % 3_600 / 60);
            fl!("duration-hours-minutes", hours = hours, minutes = format!("{minutes:02}"))
        }
    }
}

/// `1:05`, `1:02:05`: a moment in a video, or its length.
pub fn clock_time(span: Duration) -> String {
    let seconds = span.as_secs();
    if seconds >= 3600 {
        format!("{}:{:02}:{:02}", seconds / 3600, seconds % 3600 / 60, seconds % 60)
    } else {
        format!("{}:{:02}", seconds / 60, seconds % 60)
    }
}

/// `25 November, 06:00 UTC`: a moment within the next weeks.
pub fn moment(at: Timestamp) -> String {
    written(at, "%-d %B, %H:%M UTC")
}

/// `24 November 2026, 12:00 UTC`.
pub fn date_and_time(at: Timestamp) -> String {
    written(at, "%-d %B %Y, %H:%M UTC")
}

/// `November 2026`, `24 November 2026`: a budget's period, from its name in the database.
pub fn period(name: &str) -> String {
    let first = if name.len() == 7 { format!("{name}-01") } else { name.to_owned() };
    let format = if name.len() == 7 { "%B %Y" } else { "%-d %B %Y" };
    NaiveDate::parse_from_str(&first, "%Y-%m-%d").map_or(name.to_owned(), |day| day.format(format).to_string())
}

/// `2026-11-24`, for lists.
pub fn day(at: Timestamp) -> String {
    written(at, "%Y-%m-%d")
}

/// `2026-11-24 12:00 UTC`, for lists.
pub fn minute(at: Timestamp) -> String {
    written(at, "%Y-%m-%d %H:%M UTC")
}

/// `12:00:07 UTC`.
pub fn second(at: Timestamp) -> String {
    written(at, "%H:%M:%S UTC")
}

fn written(at: Timestamp, format: &str) -> String {
    at.utc().map(|at| at.format(format).to_string()).unwrap_or_default()
}

/// Whole seconds, rounded up, so that nobody is sent back too early.
pub fn seconds_up(span: Duration) -> u64 {
    span.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)
}

/// A count as tables show it: `9876`, `12k`, `34M`.
pub fn compact(count: i64) -> String {
    match count {
        ..10_000 => count.to_string(),
        10_000..10_000_000 => format!("{}k", count / 1000),
        _ => format!("{}M", count / 1_000_000),
    }
}

/// `12,345`.
pub fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// With one decimal where there is one: `7.5`, `12`.
pub fn rounded(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// Dollars with cents where they matter: `$0.44`, `$12.30`, `$1,663`.
pub fn usd(micro_usd: i64) -> String {
    let usd = micro_usd as f64 / 1e6;
    if usd < 100.0 { format!("${usd:.2}") } else { format!("${}", grouped(usd)) }
}

/// The load of a part: `38%`, `0.4%`; beyond ten times all of it `>999%`.
pub fn load(load: f64) -> String {
    let percent = load * 100.0;
    match percent {
        _ if percent >= 999.5 => ">999%".into(),
        _ if !(0.05..9.95).contains(&percent) => format!("{percent:.0}%"),
        _ => format!("{percent:.1}%"),
    }
}

/// A share of a whole: `98.3%`; never 100 where something is missing, nor 0 where there is something.
pub fn share(share: f64) -> String {
    match share * 100.0 {
        all if all >= 100.0 => "100%".into(),
        most if most > 99.9 => "99.9%".into(),
        none if none <= 0.0 => "0%".into(),
        few if few < 0.1 => "0.1%".into(),
        percent if percent > 10.0 && percent < 90.0 => format!("{percent:.0}%"),
        percent => format!("{percent:.1}%"),
    }
}

/// The italics of a note behind an answer.
pub(super) fn note(text: &str) -> String {
    format!("*{text}*")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn spans_are_coarse() {
        let said: Vec<String> = [0, 4, 7, 42, 60, 80, 185, 610, 3600].map(|s| about(seconds(s))).into();
        insta::assert_debug_snapshot!(said);
        assert_eq!(
            [3, 26, 60, 61].map(|s| between(seconds(s))),
            ["a few seconds", "25–30 s", "55–60 s", "about 1 min 15 s"]
        );
    }

    #[test]
    fn periods_are_written_out() {
        assert_eq!(["2026-11", "2026-11-04", "x"].map(period), ["November 2026", "4 November 2026", "x"]);
    }

    #[test]
    fn times_gone_by() {
        let said = [0, 45, 99, 100, 720, 5_969, 5_970, 36_000, 216_000].map(|s| elapsed(seconds(s)));
        assert_eq!(said, ["0 s", "45 s", "99 s", "2 min", "12 min", "99 min", "1 h 40 min", "10 h 0 min", "3 d"]);
        assert_eq!(
            [0, 30, 60, 90, 120, 150].map(|s| exactly(seconds(s))),
            ["0 s", "30 s", "1 min", "90 s", "2 min", "2 min 30 s"]
        );
    }

    #[test]
    fn measured_times_and_shares() {
        let waits = [0, 999, 1_000, 9_940, 47_600, 119_000, 200_000, 3_600_000];
        assert_eq!(
            waits.map(|ms| measured(Duration::from_millis(ms))),
            ["0 ms", "999 ms", "1.0 s", "9.9 s", "48 s", "119 s", "3 min 20 s", "1 h 00 min"]
        );
        assert_eq!([0.0, 0.004, 0.0994, 0.38, 1.2, 12.0].map(load), ["0%", "0.4%", "9.9%", "38%", "120%", ">999%"]);
        let shares = [0.0, 0.0001, 0.042, 0.5, 0.955, 0.99999, 1.0].map(share);
        assert_eq!(shares, ["0%", "0.1%", "4.2%", "50%", "95.5%", "99.9%", "100%"]);
    }
}
