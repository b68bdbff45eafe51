//! Every sentence about capacity: parts, changes, and what admins see of the plan in a chat. Pure, like its parent.

use std::fmt::Write;

use super::format::{load, measured, usd};
use crate::core::capacity::chance::Spread;
use crate::core::capacity::{Change, Load, Part, Report, Status, Tried};
use crate::locale::fl;

/// What a part is called.
pub fn part(part: Part) -> String {
    match part {
        Part::Lanes => fl!("capacity-part-lanes"),
        Part::Requests => fl!("capacity-part-requests"),
        Part::Tokens => fl!("capacity-part-tokens"),
        Part::TokensADay => fl!("capacity-part-tokens-a-day"),
        Part::Spending => fl!("capacity-part-spending"),
        Part::Processor => fl!("capacity-part-processor"),
        Part::Turns => fl!("capacity-part-turns"),
        Part::Database => fl!("capacity-part-database"),
    }
}

/// What a change does, as something to do.
pub fn change(change: &Change) -> String {
    match change {
        Change::Lanes(more) => fl!("capacity-change-lanes", count = *more),
        Change::Webhooks(more) => fl!("capacity-change-webhooks", count = *more),
        Change::Tier(number) => fl!("capacity-change-tier", tier = *number),
        Change::Model(model) => fl!("capacity-change-model", model = model.as_str()),
        Change::Instances(more) => fl!("capacity-change-instances", count = *more),
        Change::Postgres => fl!("capacity-change-postgres"),
    }
}

/// What a change costs and does: `+$20.00 a month, load 38%`.
pub fn effect(tried: &Tried) -> String {
    let mut text = match tried.extra {
        0 => fl!("capacity-effect-free"),
        extra if extra > 0 => fl!("capacity-effect-more", amount = usd(extra)),
        saved => fl!("capacity-effect-less", amount = usd(-saved)),
    };
    if let Change::Tier(_) = tried.change {
        let _ = write!(text, " {}", fl!("capacity-effect-paid", amount = usd(tried.report.plan.tier.paid_before)));
    }
    let left = match tried.load {
        Some(left) => fl!("capacity-effect-load", percent = load(left)),
        None => fl!("capacity-no-limit"),
    };
    format!("{text}, {left}")
}

/// The wait that so many percent of all are not longer than; `-` if nobody waited.
pub fn wait_of(spread: &Spread, percent: f64) -> String {
    if spread.count() > 0 { measured(spread.percentile(percent)) } else { "-".into() }
}

/// The plan in a chat: `past` is how many days it was measured over; `None`: the scenarios, because there was too little.
pub fn capacity(reports: &[Report], past: Option<f64>) -> String {
    let title = match past {
        Some(days) => fl!("capacity-title", days = whole(days)),
        None => fl!("capacity-title-scenarios"),
    };
    let mut text = format!("{title}\n```\n");
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
            row(&mut text, &part(each), &|report| of(report).map(loaded).unwrap_or_default());
        }
    }
    row(&mut text, &fl!("capacity-row-reel"), &|report| wait_of(&report.outcome.reel_wait, 50.0));
    row(&mut text, &fl!("capacity-row-reel-high"), &|report| wait_of(&report.outcome.reel_wait, 95.0));
    row(&mut text, &fl!("capacity-row-first-text"), &|report| wait_of(&report.outcome.first_text, 95.0));
    row(&mut text, &fl!("capacity-row-free"), &|report| {
        let counts = &report.outcome.counts;
        if counts.asked > 0 { load(counts.free()) } else { "-".into() }
    });
    row(&mut text, &fl!("capacity-row-cost"), &|report| usd(report.cost.total()));
    row(&mut text, &fl!("capacity-row-break-even"), &|report| {
        report.break_even().map_or("-".into(), |people| people.to_string())
    });
    text.push_str("```\n");
    for report in reports {
        let Some(worst) = report.bottleneck() else { continue };
        let percent = load(worst.load.unwrap_or_default());
        let bottleneck =
            fl!("capacity-bottleneck", plan = report.plan.name.as_str(), part = part(worst.part), percent = percent);
        let advice = match report.advice() {
            Some(tried) => fl!("capacity-advice", change = change(&tried.change), effect = effect(tried)),
            None => fl!("capacity-no-advice"),
        };
        let others = also_loaded(report).map(|others| format!(" {others}.")).unwrap_or_default();
        let _ = writeln!(text, "- {bottleneck}; {advice}.{others}");
    }
    if reports.iter().all(|report| report.bottleneck().is_none()) {
        text.push_str(&fl!("capacity-fine"));
    }
    text.trim_end().to_owned()
}

/// `Also near or over the limit: Database at 92%, Lanes at 84%`; `None` if there is nothing to name.
pub fn also_loaded(report: &Report) -> Option<String> {
    let one =
        |each: &Load| fl!("capacity-also-part", part = part(each.part), percent = load(each.load.unwrap_or_default()));
    let others: Vec<String> = report.also_loaded().iter().map(one).collect();
    (!others.is_empty()).then(|| fl!("capacity-also", parts = others.join(", ")))
}

/// What a picture of the loads says below its title. `past` is as for [`capacity`].
pub fn basis(past: Option<f64>) -> String {
    match past {
        Some(days) => fl!("capacity-basis", days = whole(days)),
        None => fl!("capacity-basis-scenarios"),
    }
}

fn whole(days: f64) -> i64 {
    days.round() as i64
}

fn loaded(each: Load) -> String {
    let percent = each.load.map_or_else(|| fl!("capacity-no-limit"), load);
    match each.status() {
        Status::Fine => percent,
        Status::Watch => fl!("capacity-watch", percent = percent),
        Status::Over => fl!("capacity-over", percent = percent),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::core::capacity::{self, Plan};
    use crate::core::money::Prices;

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
