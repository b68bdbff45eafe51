//! The rules as tables: what is measured minute by minute, and what is told.

use super::*;
use crate::clock::Clock;

fn rule(name: &str) -> &'static Rule {
    RULES.iter().find(|rule| rule.name == name).unwrap()
}

/// One look a minute; what was told, by the minute it was told in. `restart_at`: the state goes through its row there.
fn told(rule: &Rule, values: &[Option<f64>]) -> Vec<(usize, Change)> {
    let clock = Clock::manual(Timestamp(1_795_500_000_000));
    let mut standing = None;
    let mut told = Vec::new();
    for (minute, value) in values.iter().enumerate() {
        let (next, change) = step(rule, Some(rule.threshold), standing, *value, clock.now());
        standing = next;
        told.extend(change.map(|change| (minute, change)));
        clock.advance(minutes(1));
    }
    told
}

fn raised(value: f64) -> Change {
    Change::Raised { value }
}

fn cleared(after: u64, worst: f64) -> Change {
    Change::Cleared { lasted: minutes(after), worst }
}

fn values(values: &[f64]) -> Vec<Option<f64>> {
    values.iter().copied().map(Some).collect()
}

#[test]
fn it_is_told_once_after_it_has_lasted_and_once_when_it_is_over() {
    let cpu = rule("cpu_percent");
    let mut minutes = vec![90.0; 6];
    minutes.extend([95.0, 85.0, 81.0, 93.0]);
    minutes.extend([10.0; 8]);
    assert_eq!(told(cpu, &values(&minutes)), [(5, raised(90.0)), (15, cleared(10, 95.0))]);
}

#[test]
fn a_short_peak_is_not_told() {
    let cpu = rule("cpu_percent");
    assert_eq!(told(cpu, &values(&[90.0, 90.0, 90.0, 90.0, 90.0, 79.0, 90.0, 90.0, 90.0, 90.0, 90.0])), []);
}

#[test]
fn between_threshold_and_all_clear_nothing_changes() {
    let cpu = rule("cpu_percent");
    let mut minutes = vec![90.0; 6];
    // 72 and below is over.
    minutes.extend([75.0; 30]);
    assert_eq!(told(cpu, &values(&minutes)), [(5, raised(90.0))]);
}

#[test]
fn flapping_is_one_alert() {
    let p95 = rule("p95_s");
    let minutes: Vec<f64> = [9.0, 9.0, 9.0].into_iter().chain((0..60).map(|at| [1.0, 1.0, 9.0][at % 3])).collect();
    assert_eq!(told(p95, &values(&minutes)), [(2, raised(9.0))]);
    let calm: Vec<f64> = minutes.iter().copied().chain([1.0; 6]).collect();
    assert_eq!(told(p95, &values(&calm)), [(2, raised(9.0)), (68, cleared(63, 9.0))]);
}

#[test]
fn what_cannot_be_measured_is_no_trouble() {
    let p95 = rule("p95_s");
    let mut minutes = values(&[9.0, 9.0, 9.0]);
    minutes.extend([None; 6]);
    assert_eq!(told(p95, &minutes), [(2, raised(9.0)), (8, cleared(3, 9.0))]);
    assert_eq!(told(p95, &[Some(9.0), None, Some(9.0), None, Some(9.0)]), []);
}

#[test]
fn a_rate_of_success_is_trouble_below() {
    let tools = rule("tool_success_percent");
    let mut minutes = vec![90.0, 80.0, 90.0, 90.0];
    minutes.extend([96.0; 10]);
    minutes.extend([99.0; 6]);
    assert_eq!(told(tools, &values(&minutes)), [(2, raised(90.0)), (19, cleared(14, 80.0))]);
}

#[test]
fn what_is_told_at_once_and_what_is_over_at_once() {
    let lane = rule("lane_out");
    assert_eq!(told(lane, &values(&[0.0, 1.0, 1.0, 0.0, 0.0])), [(1, raised(1.0)), (4, cleared(2, 1.0))]);
    let tokens = rule("tokens_day");
    assert_eq!(
        told(tokens, &values(&[2.9e6, 3.1e6, 3.2e6, 0.0])),
        [(1, raised(3.1e6)), (3, cleared(2, 3.2e6))],
        "a new day"
    );
}

#[test]
fn what_is_not_known_neither_raises_nor_clears() {
    let failed = rule("failed_percent");
    let unknown = Some(f64::NAN);
    assert_eq!(told(failed, &[unknown; 9]), []);
    let mut minutes = vec![Some(50.0)];
    minutes.extend([unknown; 30]);
    assert_eq!(told(failed, &minutes), [(0, raised(50.0))], "nobody asks any more, so it is not known to be over");
    minutes.extend([Some(0.0); 6]);
    assert_eq!(told(failed, &minutes), [(0, raised(50.0)), (36, cleared(31, 50.0))]);
}

#[test]
fn the_end_of_a_model_is_told_at_each_mark_once() {
    let going = rule("model_days");
    // One look every six hours of the last 16 days and the first two after it.
    let days: Vec<f64> = (0..72).map(|at| 15.9 - 0.25 * f64::from(at)).collect();
    let told: Vec<f64> = told(going, &values(&days))
        .into_iter()
        .map(|(_, change)| match change {
            Change::Raised { value } => (value * 100.0).round() / 100.0,
            Change::Cleared { .. } => panic!("it is not over by itself"),
        })
        .collect();
    assert_eq!(told, [13.9, 6.9, 0.9, -0.1]);
    let late = rule("model_days");
    assert_eq!(super::tests::told(late, &values(&[3.0, 2.9])), [(0, raised(3.0))], "learnt of late");
    let changed = [Some(13.0), Some(13.0), None];
    assert_eq!(super::tests::told(late, &changed), [(0, raised(13.0)), (2, cleared(2, 13.0))], "another model is set");
}

#[test]
fn a_restart_neither_repeats_nor_forgets() {
    let cpu = rule("cpu_percent");
    let at = |minute: u64| Timestamp(1_795_500_000_000) + minutes(minute);
    let look = |standing, value, minute| step(cpu, Some(80.0), standing, Some(value), at(minute));
    let raised = Standing { raised_at: Some(at(5)), turning_since: None, since: at(0), worst: 91.0, seen_at: at(6) };
    // Down for two hours, and still hot: nothing is said again.
    assert_eq!(look(Some(raised), 90.0, 126), (Some(Standing { seen_at: at(126), ..raised }), None));
    // Calm: the five minutes are counted from now, because nobody has looked meanwhile.
    let turning = Standing { turning_since: Some(at(6)), ..raised };
    let (next, change) = look(Some(turning), 10.0, 126);
    assert_eq!((next.unwrap().turning_since, change), (Some(at(126)), None));
    let (_, change) = look(Some(Standing { seen_at: at(130), ..next.unwrap() }), 10.0, 131);
    assert_eq!(change, Some(cleared(126, 91.0)));
    // On its way before a gap: begun anew.
    let rising = Standing { raised_at: None, turning_since: Some(at(0)), since: at(0), worst: 85.0, seen_at: at(3) };
    assert_eq!(look(Some(rising), 90.0, 126).1, None);
    assert_eq!(look(Some(rising), 90.0, 5).1, Some(super::Change::Raised { value: 90.0 }));
}

#[test]
fn a_rule_that_is_switched_off_is_silent() {
    let cpu = rule("cpu_percent");
    let now = Timestamp(1_795_500_000_000);
    let raised = Standing { raised_at: Some(now), turning_since: None, since: now, worst: 91.0, seen_at: now };
    assert_eq!(step(cpu, None, Some(raised), Some(99.0), now), (None, None));
}

#[test]
fn thresholds_are_read_with_clear_errors() {
    let read = |text: &str| Thresholds::read(text);
    assert_eq!(read(""), Ok(Thresholds::default()));
    let own = read(" queue_age_s=900, p95_s = 2.5,cpu_percent=off,").unwrap();
    assert_eq!(own.of(rule("queue_age_s")), Some(900.0));
    assert_eq!(own.of(rule("p95_s")), Some(2.5));
    assert_eq!(own.of(rule("cpu_percent")), None);
    assert_eq!(own.of(rule("memory_percent")), Some(80.0));
    for (text, problem) in [
        ("queue_age=5", "there is no rule “queue_age”; the rules are cpu_percent, "),
        ("queue_age_s", "“queue_age_s” is not name=number"),
        ("p95_s=fast", "p95_s is neither a number of at least 0 nor off"),
        ("p95_s=-1", "p95_s is neither"),
        ("p95_s=NaN", "p95_s is neither"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.starts_with(problem), "{text}: {error}");
    }
}

#[test]
fn the_default_limits_are_as_documented() {
    let default = |name: &str| rule(name).threshold;
    assert_eq!(
        [default("cpu_percent"), default("memory_percent"), default("p95_s"), default("tokens_day")],
        [80.0, 80.0, 5.0, 3_000_000.0]
    );
    assert!((default("cost_day_usd") * 30.0 - 100.0).abs() < 2.0, "100 USD a month");
    for (at, rule) in RULES.iter().enumerate() {
        assert!(RULES[..at].iter().all(|other| other.name != rule.name && other.kind != rule.kind), "{}", rule.name);
    }
}
