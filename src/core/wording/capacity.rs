//! Every sentence about capacity: parts, changes, and what admins see of the plan in a chat. Pure, like its parent.

use std::fmt::Write;
use std::time::Duration;

use crate::core::capacity::chance::Spread;
use crate::core::capacity::{Change, Load, Part, Report, Status, Tried};

/// What a part is called.
pub fn part(part: Part) -> &'static str {
    match part {
        Part::Lanes => "Transcriber lanes",
        Part::Requests => "OpenAI requests/min",
        Part::Tokens => "OpenAI tokens/min",
        Part::TokensADay => "OpenAI tokens/day",
        Part::Spending => "OpenAI spending limit",
        Part::Processor => "Bot: processors",
        Part::Turns => "Bot: answers at once",
        Part::Database => "Database",
    }
}

/// What a change does, as something to do.
pub fn change(change: &Change) -> String {
    match change {
        Change::Lanes(1) => "one more direct lane".into(),
        Change::Lanes(more) => format!("{more} more direct lanes"),
        Change::Webhooks(1) => "one more n8n webhook".into(),
        Change::Webhooks(more) => format!("{more} more n8n webhooks"),
        Change::Tier(number) => format!("OpenAI tier {number}"),
        Change::Model(model) => format!("{model} as the coach's model"),
        Change::Instances(1) => "one more instance, on PostgreSQL".into(),
        Change::Instances(more) => format!("{more} more instances, on PostgreSQL"),
        Change::Postgres => "PostgreSQL instead of SQLite".into(),
    }
}

/// What a change costs and does: `+$20.00 a month, load 38 %`.
pub fn effect(tried: &Tried) -> String {
    let mut text = match tried.extra {
        0 => "no extra cost".to_owned(),
        extra if extra > 0 => format!("+{} a month", usd(extra)),
        saved => format!("saves {} a month", usd(-saved)),
    };
    if let Change::Tier(_) = tried.change {
        let _ = write!(text, " once {} are paid in all", usd(tried.report.plan.tier.paid_before));
    }
    let _ = match tried.load {
        Some(load) => write!(text, ", load {}", percent(load)),
        None => write!(text, ", no limit"),
    };
    text
}

/// Dollars with cents where they matter: `$0.44`, `$12.30`, `$1,663`.
pub fn usd(micro_usd: i64) -> String {
    let usd = micro_usd as f64 / 1e6;
    if usd < 100.0 { format!("${usd:.2}") } else { format!("${}", grouped(usd)) }
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

/// `38 %`, `0.4 %`; beyond ten times all of it `>999 %`.
pub fn percent(load: f64) -> String {
    let percent = load * 100.0;
    match percent {
        _ if percent >= 999.5 => ">999 %".into(),
        _ if !(0.05..9.95).contains(&percent) => format!("{percent:.0} %"),
        _ => format!("{percent:.1} %"),
    }
}

/// A wait as precise as it matters: `840 ms`, `2.4 s`, `48 s`, `3 min 20 s`.
pub fn wait(span: Duration) -> String {
    let (ms, s) = (span.as_millis(), span.as_secs_f64());
    match ms {
        0..=999 => format!("{ms} ms"),
        1_000..=9_949 => format!("{s:.1} s"),
        9_950..=119_499 => format!("{s:.0} s"),
        _ if s < 3_600.0 => format!("{:.0} min {:02.0} s", (s / 60.0).floor(), (s % 60.0).floor()),
        _ => format!("{:.0} h {:02.0} min", (s / 3_600.0).floor(), (s % 3_600.0 / 60.0).floor()),
    }
}

/// The wait that so many percent of all are not longer than; `-` if nobody waited.
pub fn wait_of(spread: &Spread, percent: f64) -> String {
    if spread.count() > 0 { wait(spread.percentile(percent)) } else { "-".into() }
}

/// The plan in a chat: `past` is how many days it was measured over; `None`: the scenarios, because there was too little.
pub fn capacity(reports: &[Report], past: Option<f64>) -> String {
    let mut text = match past {
        Some(days) => format!("**Capacity**, planned from the last {days:.0} days:\n```\n"),
        None => "**Capacity** of three example communities (small, growing, viral). There isn't enough usage yet to plan from yours:\n```\n"
            .to_owned(),
    };
    let row = |text: &mut String, label: &str, cell: &dyn Fn(&Report) -> String| {
        let _ = write!(text, "{label:<21}");
        reports.iter().for_each(|report| {
            let _ = write!(text, " {:>13}", cell(report));
        });
        text.push('\n');
    };
    row(&mut text, "", &|report| report.plan.name.clone());
    for (at, each) in Part::ALL.into_iter().enumerate() {
        let of = |report: &Report| report.loads.get(at).copied();
        if reports.iter().filter_map(of).any(|load| load.load.is_some()) {
            row(&mut text, part(each), &|report| of(report).map(loaded).unwrap_or_default());
        }
    }
    row(&mut text, "Reel, median", &|report| wait_of(&report.outcome.reel_wait, 50.0));
    row(&mut text, "Reel, 95 %", &|report| wait_of(&report.outcome.reel_wait, 95.0));
    row(&mut text, "First text, 95 %", &|report| wait_of(&report.outcome.first_text, 95.0));
    row(&mut text, "Free reels", &|report| {
        let counts = &report.outcome.counts;
        if counts.asked > 0 { percent(counts.free()) } else { "-".into() }
    });
    row(&mut text, "Cost a month", &|report| usd(report.cost.total()));
    row(&mut text, "Break-even, people", &|report| report.break_even().map_or("-".into(), |people| people.to_string()));
    text.push_str("```\n");
    for report in reports {
        let Some(worst) = report.bottleneck() else { continue };
        let _ =
            write!(text, "- {}: {} at {}", report.plan.name, part(worst.part), percent(worst.load.unwrap_or_default()));
        let _ = match report.advice() {
            Some(tried) => write!(text, "; cheapest: {} ({}).", change(&tried.change), effect(tried)),
            None => write!(text, "; nothing that was tried is enough."),
        };
        let _ = match also_loaded(report) {
            Some(others) => writeln!(text, " {others}."),
            None => writeln!(text),
        };
    }
    if reports.iter().all(|report| report.bottleneck().is_none()) {
        text.push_str("Nothing runs short.");
    }
    text.trim_end().to_owned()
}

/// `Also near or over their limits: Database at 92 %, Transcriber lanes at 84 %`; `None` if there is nothing to name.
pub fn also_loaded(report: &Report) -> Option<String> {
    let one = |load: &Load| format!("{} at {}", part(load.part), percent(load.load.unwrap_or_default()));
    let others: Vec<String> = report.also_loaded().iter().map(one).collect();
    (!others.is_empty()).then(|| format!("Also near or over their limits: {}", others.join(", ")))
}

/// What a picture of the loads says below its title. `past` is as for [`capacity`].
pub fn basis(past: Option<f64>) -> String {
    match past {
        Some(days) => format!("when each is loaded most, planned from the last {days:.0} days"),
        None => "at the busiest moment, in three example communities".into(),
    }
}

fn loaded(load: Load) -> String {
    let percent = load.load.map_or("no limit".into(), percent);
    match load.status() {
        Status::Fine => percent,
        Status::Watch => format!("{percent} watch"),
        Status::Over => format!("{percent} OVER"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::capacity::{self, Plan};
    use crate::core::money::Prices;

    #[test]
    fn amounts() {
        let waits =
            [0, 999, 1_000, 9_940, 47_600, 119_000, 200_000, 3_600_000].map(|ms| wait(Duration::from_millis(ms)));
        assert_eq!(waits, ["0 ms", "999 ms", "1.0 s", "9.9 s", "48 s", "119 s", "3 min 20 s", "1 h 00 min"]);
        assert_eq!(
            [0.0, 0.004, 0.0994, 0.38, 1.2, 12.0].map(percent),
            ["0 %", "0.4 %", "9.9 %", "38 %", "120 %", ">999 %"]
        );
    }

    #[test]
    fn sentences() {
        let mut plan = Plan::default();
        let fine = capacity::report(&plan, &Prices::built_in()).unwrap();
        plan.name = "crowded".into();
        plan.tier = capacity::tiers::Tier::of(1, &plan.answers.model);
        if let capacity::Demand::Daily(daily) = &mut plan.demand {
            (daily.people, daily.reels_per_person) = (4_000, 1.0);
        }
        plan.popularity.catalogue = 100_000;
        plan.span = Duration::from_secs(86_400);
        plan.warm_up = Duration::ZERO;
        let crowded = capacity::report(&plan, &Prices::built_in()).unwrap();
        let said = [
            capacity(std::slice::from_ref(&fine), Some(29.6)),
            capacity(&[fine, crowded], None),
            [Change::Lanes(1), Change::Lanes(3), Change::Webhooks(1), Change::Webhooks(2), Change::Tier(3)]
                .iter()
                .chain(&[
                    Change::Model("gpt-6-luna".into()),
                    Change::Instances(1),
                    Change::Instances(2),
                    Change::Postgres,
                ])
                .map(change)
                .collect::<Vec<_>>()
                .join("\n"),
        ];
        insta::assert_snapshot!(said.join("\n---\n"));
    }
}
