//! What to change when a part runs short: candidates for each part, each of them simulated, the cheapest that helps first.
//! Owns which candidates there are; never says it in words.

use super::bill::{Load, Part, Report, Status, Tried, bottleneck, played};
use super::change::Change;
use super::tiers::Tier;
use super::{Database, Plan};
use crate::core::money::{Prices, UnknownPrice};

/// A load that leaves room.
const ROOM: f64 = 0.65;
/// More of anything than this is not a change but another plan.
const MOST: u32 = 32;

/// Plays a plan, and changes to it if something runs short.
///
/// # Errors
/// A model whose price is not known.
pub fn report(plan: &Plan, prices: &Prices) -> Result<Report, UnknownPrice> {
    let mut report = played(plan, prices)?;
    report.tried = tried(&report, prices)?;
    Ok(report)
}

/// Simulates what may help against the bottleneck of a report.
fn tried(report: &Report, prices: &Prices) -> Result<Vec<Tried>, UnknownPrice> {
    let Some(worst) = report.bottleneck() else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for change in candidates(&report.plan, worst, prices) {
        let after = played(&change.apply(&report.plan), prices)?;
        let load = after.loads.iter().find(|load| load.part == worst.part).copied();
        let next = bottleneck(&after.loads);
        all.push(Tried {
            change,
            extra: after.cost.total() - report.cost.total(),
            load: load.and_then(|load| load.load),
            removes: load.is_none_or(|load| load.status() == Status::Fine),
            next,
            report: Box::new(after),
        });
    }
    // What removes it comes first, the cheapest first; of what does not, the one that comes nearest.
    let thousandths = |tried: &Tried| (tried.load.unwrap_or_default() * 1000.0) as i64;
    all.sort_by_key(|tried| (!tried.removes, if tried.removes { tried.extra } else { thousandths(tried) }));
    Ok(all)
}

fn candidates(plan: &Plan, worst: Load, prices: &Prices) -> Vec<Change> {
    let load = worst.load.unwrap_or_default();
    // As many as leave room, if each does as much as those that are there; and a single one.
    let more = |of: u32| ((f64::from(of.max(1)) * (load / ROOM - 1.0)).ceil().max(1.0) as u32).min(MOST);
    let mut all = Vec::new();
    match worst.part {
        Part::Lanes => {
            let lanes = plan.reels.direct_lanes + plan.reels.n8n_lanes;
            for more in dedup([1, more(lanes)]) {
                all.extend([Change::Lanes(more), Change::Webhooks(more)]);
            }
        }
        Part::Requests | Part::Tokens | Part::TokensADay | Part::Spending => {
            // Given limits have no next tier.
            if (1..Tier::LAST).contains(&plan.tier.number) {
                all.extend((plan.tier.number + 1..=Tier::LAST).map(Change::Tier));
            }
            let cheaper = &plan.answers.cheaper_model;
            if *cheaper != plan.answers.model && prices.provider_of(cheaper).is_some() {
                all.push(Change::Model(cheaper.clone()));
            }
        }
        Part::Processor | Part::Turns => {
            all.extend(dedup([1, more(plan.bot.instances)]).into_iter().map(Change::Instances));
        }
        Part::Database if plan.bot.database == Database::Sqlite => all.push(Change::Postgres),
        // A larger database server is measured, not planned.
        Part::Database => {}
    }
    all
}

fn dedup(pair: [u32; 2]) -> Vec<u32> {
    let mut all = pair.to_vec();
    all.dedup();
    all
}
