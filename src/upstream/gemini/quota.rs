//! When Google's quotas of a day are there again: at midnight in California, summer time or not. Pure.

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, TimeDelta, Utc, Weekday};

use crate::clock::Timestamp;

/// The first midnight there after `now`.
pub fn next_midnight(now: Timestamp) -> Timestamp {
    let Some(utc) = now.utc() else { return now };
    let today = (utc - behind_utc(utc)).date_naive();
    let tomorrow = today.checked_add_days(Days::new(1)).unwrap_or(today);
    // Summer time begins and ends at two in the morning: at midnight it is what it was before.
    let midnight = tomorrow.and_time(NaiveTime::MIN).and_utc();
    let standard = midnight + TimeDelta::hours(8);
    Timestamp((midnight + behind_utc(standard)).timestamp_millis())
}

/// Since 2007: from the second Sunday in March to the first one in November, at two o'clock of the time before.
fn behind_utc(at: DateTime<Utc>) -> TimeDelta {
    let of = |month, nth, hour: i64| {
        let day = NaiveDate::from_weekday_of_month_opt(at.year(), month, Weekday::Sun, nth).unwrap_or_default();
        day.and_time(NaiveTime::MIN).and_utc() + TimeDelta::hours(hour)
    };
    let is_summer = of(3, 2, 10) <= at && at < of(11, 1, 9);
    TimeDelta::hours(if is_summer { 7 } else { 8 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_midnight_in_california() {
        for (now, expected) in [
            ("2026-11-24T12:00:00Z", "2026-11-25T08:00:00Z"),
            ("2026-11-25T07:59:59Z", "2026-11-25T08:00:00Z"),
            ("2026-11-25T08:00:00Z", "2026-11-26T08:00:00Z"),
            ("2026-07-01T06:59:59Z", "2026-07-01T07:00:00Z"),
            ("2026-07-01T07:00:00Z", "2026-07-02T07:00:00Z"),
            // Summer time begins on 8 March and ends on 1 November.
            ("2026-03-08T07:00:00Z", "2026-03-08T08:00:00Z"),
            ("2026-03-08T12:00:00Z", "2026-03-09T07:00:00Z"),
            ("2026-11-01T06:00:00Z", "2026-11-01T07:00:00Z"),
            ("2026-11-01T12:00:00Z", "2026-11-02T08:00:00Z"),
            ("2026-12-31T12:00:00Z", "2027-01-01T08:00:00Z"),
        ] {
            let at = |text: &str| Timestamp(text.parse::<DateTime<Utc>>().unwrap().timestamp_millis());
            assert_eq!(next_midnight(at(now)), at(expected), "{now}");
        }
    }
}
