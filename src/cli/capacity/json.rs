//! The planner's figures as JSON: the table's and more, in whole units that their names tell. Owns those names.

use serde_json::{Map, Value, json};

use crate::core::capacity::chance::Spread;
use crate::core::capacity::{Cost, Demand, Report, Tried};
use crate::core::money::Prices;
use crate::core::wording::change;

/// All reports, in order.
pub fn of(reports: &[Report], prices: &Prices) -> Value {
    json!({"prices": prices.version, "plans": reports.iter().map(plan).collect::<Vec<_>>()})
}

fn plan(report: &Report) -> Value {
    let (plan, outcome) = (&report.plan, &report.outcome);
    let counts = &outcome.counts;
    let demand = match &plan.demand {
        Demand::Daily(daily) => json!({"people": daily.people, "messages_per_person": daily.messages_per_person,
            "reels_per_person": daily.reels_per_person, "at_once": daily.at_once, "curve": daily.curve}),
        Demand::Listed(asks) => json!({"listed": asks.len()}),
    };
    let loads: Map<String, Value> = report
        .loads
        .iter()
        .map(|load| (load.part.name().to_owned(), json!({"load": load.load, "status": load.status().name()})))
        .collect();
    json!({
        "name": plan.name, "seed": plan.seed, "days": outcome.span.as_secs_f64() / 86_400.0, "demand": demand,
        "direct_lanes": plan.reels.direct_lanes, "n8n_lanes": plan.reels.n8n_lanes, "model": plan.answers.model,
        "tier": plan.tier.number, "requests_a_minute": plan.tier.requests_a_minute,
        "tokens_a_minute": plan.tier.tokens_a_minute, "longest_wait_s": plan.answers.longest_wait.as_secs_f64(),
        "instances": plan.bot.instances,
        "catalogue": plan.popularity.catalogue, "zipf": plan.popularity.exponent,
        "loads": loads,
        "reel_ms": spread(&outcome.reel_wait), "line_ms": spread(&outcome.line_wait),
        "first_text_ms": spread(&outcome.first_text), "whole_answer_ms": spread(&outcome.whole_answer),
        "told_wrong_median_percent": outcome.told_wrong.percentile(50.0).as_millis() as f64 / 10.0,
        "messages": counts.messages, "reels": {"asked": counts.asked, "cached": counts.cached,
            "remembered_failures": counts.remembered, "joined": counts.joined, "run": counts.queued,
            "refused_for_person": counts.refused_for_person, "refused_for_line": counts.refused_for_line, "free": counts.free()},
        "answers_given_up": counts.given_up, "longest_line": outcome.busiest.waiting, "mean_line": outcome.mean_waiting,
        "most_answers_at_once": outcome.busiest.turns_at_once,
        "micro_usd_a_month": cost(&report.cost), "micro_usd_per_person": report.cost_per_person(),
        "break_even_people": report.break_even(),
        "bottleneck": report.bottleneck().map(|load| load.part.name()),
        "tried": report.tried.iter().map(tried).collect::<Vec<_>>(),
    })
}

fn tried(tried: &Tried) -> Value {
    let outcome = &tried.report.outcome;
    json!({"change": change(&tried.change), "extra_micro_usd_a_month": tried.extra, "load": tried.load,
        "removes": tried.removes, "next_bottleneck": tried.next.map(|load| load.part.name()),
        "reel_ms": spread(&outcome.reel_wait), "first_text_ms": spread(&outcome.first_text)})
}

fn spread(spread: &Spread) -> Value {
    let at = |percent| spread.percentile(percent).as_millis() as u64;
    json!({"count": spread.count(), "mean": spread.mean().as_millis() as u64, "p50": at(50.0), "p95": at(95.0), "p99": at(99.0),
        "max": spread.longest().as_millis() as u64})
}

fn cost(cost: &Cost) -> Value {
    json!({"openai": cost.openai, "apify": cost.apify, "gemini": cost.gemini, "n8n": cost.n8n, "hosting": cost.hosting,
        "total": cost.total()})
}
