//! The planner's side of a setting. Owns how a storm is told as a plan; the simulation is the product's.

use std::time::Duration;

use reelcoach::core::capacity::chance::Times;
use reelcoach::core::capacity::tiers::Tier;
use reelcoach::core::capacity::{Ask, Asked, Database, Demand, Outcome, Plan, simulate};

use crate::settings::Compared;

/// Simulations with other chance, of which the mean is taken: what a storm draws is only one of them.
const DRAWS: u64 = 64;

/// As in life.
pub struct Planned {
    pub read: f64,
    pub per_minute: f64,
    pub p50: f64,
    pub p95: f64,
}

pub fn planned(compared: &Compared) -> Planned {
    let storm = &compared.storm;
    let factor = f64::from(storm.compress);
    let plan = plan(compared);
    // Without a spread there is nothing to draw but which reels are gone, and those are the storm's.
    let seeds = if storm.spread > 0.0 { DRAWS } else { 1 };
    let all: Vec<Planned> = (0..seeds)
        .map(|seed| read(&simulate(&Plan { seed: plan.seed + seed, ..plan.clone() }.compressed(factor)), factor))
        .collect();
    let mean = |of: fn(&Planned) -> f64| all.iter().map(of).sum::<f64>() / seeds as f64;
    Planned { read: mean(|p| p.read), per_minute: mean(|p| p.per_minute), p50: mean(|p| p.p50), p95: mean(|p| p.p95) }
}

/// What the storm is told, with everything else as it is known of the bot.
fn plan(compared: &Compared) -> Plan {
    let storm = &compared.storm;
    let asks = storm.arrivals.iter().map(|arrival| {
        let what = Asked::Reel(arrival.reel);
        Ask { at: arrival.at, person: arrival.person, what }
    });
    let varied = |usual: Duration| Times::Between(usual.mul_f64(1.0 - storm.spread), usual.mul_f64(1.0 + storm.spread));
    let mut plan = compared.drawn();
    plan.demand = Demand::Listed(asks.collect());
    plan.span = storm.arrivals.iter().map(|arrival| arrival.at).max().unwrap_or_default();
    plan.warm_up = Duration::ZERO;
    plan.limits.interval = storm.interval;
    // As the load test configures them.
    (plan.limits.waiting_per_person, plan.limits.waiting) = (100, 100_000);
    plan.merge = storm.merge;
    plan.reels.direct_lanes = storm.lanes;
    plan.reels.n8n_lanes = storm.workflows;
    plan.reels.scrape = varied(storm.scrape);
    plan.reels.analysis = varied(storm.analysis);
    plan.reels.n8n = varied(storm.workflow);
    plan.answers.calls = 1.0;
    plan.answers.first_text = Times::exactly(storm.first_token);
    plan.answers.writing = Times::exactly(Duration::ZERO);
    plan.tier = Tier::unlimited();
    if compared.on_server {
        plan.bot.database = Database::Postgres;
    }
    plan
}

fn read(outcome: &Outcome, factor: f64) -> Planned {
    let first = outcome.runs.iter().map(|run| run.started).min().unwrap_or_default();
    let last = outcome.runs.iter().map(|run| run.ended).max().unwrap_or_default();
    let reels = outcome.runs.len() as f64;
    let wait = |percent: f64| outcome.reel_answer.percentile(percent).as_secs_f64() * factor;
    Planned {
        read: reels,
        per_minute: reels * 60.0 / ((last - first).as_secs_f64() * factor).max(1e-9),
        p50: wait(50.0),
        p95: wait(95.0),
    }
}
