//! The planner's side of a setting. Owns how a storm is told as a plan: the same arrivals, the same reels gone, and of each
//! reel whether it is a long one. Nothing is left to chance; the simulation is the product's.

use std::time::Duration;

use reelcoach::core::capacity::chance::Times;
use reelcoach::core::capacity::tiers::Tier;
use reelcoach::core::capacity::{Ask, Asked, Database, Demand, Outcome, Plan, simulate};

use crate::settings::Compared;

/// As in life.
pub struct Planned {
    pub read: usize,
    pub per_minute: f64,
    pub p50: f64,
    pub p95: f64,
}

pub fn planned(compared: &Compared) -> Planned {
    let storm = &compared.storm;
    let factor = f64::from(storm.compress);
    let mut plan = plan(compared).compressed(factor);
    // The bot's minute is not compressed, and neither is how long it lets somebody wait: both are those of its clock.
    plan.tier = Tier {
        requests_a_minute: storm.rpm.map(f64::from),
        tokens_a_minute: storm.tpm.map(|tokens| tokens as f64),
        ..Tier::unlimited()
    };
    plan.answers.longest_wait = Plan::default().answers.longest_wait;
    read(&simulate(&plan), factor)
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
    plan.reels.known = storm.arrivals.iter().map(|arrival| (arrival.reel, storm.pace(arrival.reel))).collect();
    plan.answers.calls = 1.0;
    // The stand-ins' transcripts are short: a call is charged its longest answer.
    plan.answers.reel.input_tokens = 0;
    plan.answers.first_text = Times::exactly(storm.first_token);
    plan.answers.writing = Times::exactly(Duration::ZERO);
    if compared.on_server {
        plan.bot.database = Database::Postgres;
    }
    plan
}

fn read(outcome: &Outcome, factor: f64) -> Planned {
    let first = outcome.runs.iter().map(|run| run.started).min().unwrap_or_default();
    let last = outcome.runs.iter().map(|run| run.ended).max().unwrap_or_default();
    let reels = outcome.runs.len();
    let wait = |percent: f64| outcome.reel_answer.percentile(percent).as_secs_f64() * factor;
    Planned {
        read: reels,
        per_minute: reels as f64 * 60.0 / ((last - first).as_secs_f64() * factor).max(1e-9),
        p50: wait(50.0),
        p95: wait(95.0),
    }
}
