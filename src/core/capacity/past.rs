//! A plan from what was measured: the demand and the times of the past weeks in the place of assumptions. Owns when that
//! is too little to plan with; the database was read by [`crate::store::measured`].

use std::collections::BTreeSet;

use super::chance::Times;
use super::scenarios::{daily, enough};
use super::{Daily, Demand, Plan};
use crate::core::reels::KnownFailure;
use crate::core::reels::pipeline::ReelFailure;
use crate::store::measured::Measured;
use crate::upstream::Usage;

/// Fewer answers than this say nothing of an hour of the day.
const ANSWERS: i64 = 200;
/// Fewer runs than this say nothing of how long one takes.
const RUNS: usize = 10;

/// Whether there is too little to make a plan of.
pub fn too_little(measured: &Measured) -> bool {
    measured.answers() < ANSWERS || measured.days < 1.0
}

/// `base` with everything in it that was measured; what was too seldom to be measured stays as it is.
pub fn from_past(base: &Plan, measured: &Measured) -> Plan {
    let mut plan = base.clone();
    plan.name = "measured".to_owned();
    let days = measured.days.max(1.0);
    let people = (measured.person_days as f64 / days).round().max(1.0);
    let a_day = |count: i64| count as f64 / days;
    // Coached on, known ones among them, or told that they cannot be read.
    let asked = (measured.reels_coached + measured.reels_failed).max(measured.reels_run);
    let reels = a_day(asked);
    let messages = a_day((measured.answers() - measured.reels_coached).max(0));
    let mut curve = measured.answers_by_hour.map(|answers| answers as f64);
    if curve.iter().all(|weight| *weight == 0.0) {
        curve = daily().curve;
    }
    plan.demand = Demand::Daily(Daily {
        people: people as u32,
        messages_per_person: messages / people,
        reels_per_person: reels / people,
        curve,
        at_once: None,
        ..daily()
    });
    plan.span = enough(&plan);
    if let Some(part) = unreadable(measured) {
        plan.popularity.unreadable = part;
    }
    // The catalogue stays an assumption: the one whose share of free reels is the measured one.
    let wanted = 1.0 - measured.reels_run as f64 / asked.max(1) as f64;
    if measured.reels_run as usize >= RUNS && wanted > 0.0 {
        plan.popularity.catalogue = catalogue(&plan, wanted);
    }
    let times = |spans: &Vec<_>| (spans.len() >= RUNS).then(|| Times::measured(spans.clone())).flatten();
    let work = &mut plan.reels;
    for (of, spans) in
        [(&mut work.scrape, &measured.scrape), (&mut work.analysis, &measured.analysis), (&mut work.n8n, &measured.n8n)]
    {
        if let Some(times) = times(spans) {
            *of = times;
        }
    }
    let answers = measured.answers().max(1);
    let each = |tokens: i64| tokens.unsigned_abs().div_ceil(answers.unsigned_abs());
    let usage = Usage {
        input_tokens: each(measured.input_tokens),
        cached_tokens: each(measured.cached_tokens),
        cache_write_tokens: each(measured.cache_write_tokens),
        output_tokens: each(measured.output_tokens),
        ..Usage::default()
    };
    // The ledger does not tell answers on reels from others, nor those from memory, which took no call: each has its part
    // of everything that was used, by calls that failed too.
    (plan.answers.message, plan.answers.reel) = (usage, usage);
    plan.answers.calls = measured.coach_calls as f64 / answers as f64;
    if let Some(whole) = times(&measured.coach) {
        // Of a call the first third is taken to pass before its first text.
        plan.answers.first_text = whole.compressed(3.0);
        plan.answers.writing = whole.compressed(1.5);
    }
    let mean = |sum: i64, count: i64| (count > 0).then(|| sum / count);
    let money = &mut plan.money;
    money.beside_answer = measured.beside_micro_usd / answers;
    money.apify_run = mean(measured.apify_micro_usd, measured.apify_runs).unwrap_or(money.apify_run);
    money.n8n_run = mean(measured.n8n_micro_usd, measured.n8n_runs).unwrap_or(money.n8n_run);
    if let Some(input) = mean(measured.gemini_input, measured.gemini_calls) {
        let output = mean(measured.gemini_output, measured.gemini_calls).unwrap_or_default();
        money.gemini =
            Usage { input_tokens: input.unsigned_abs(), output_tokens: output.unsigned_abs(), ..Usage::default() };
    }
    plan
}

/// The part of the links that turned out to be none that can be read; `None` if too few were run. What an upstream could not
/// do is not the link's doing, and what the analysis refuses was analysed.
fn unreadable(measured: &Measured) -> Option<f64> {
    let is_its_own = |cause: &str| {
        let known = serde_json::from_str(cause).map(|KnownFailure { failure, .. }| failure);
        use ReelFailure::{NotVideo, TooLarge, TooLong, Unavailable};
        matches!(known, Ok(Unavailable | NotVideo | TooLong { .. } | TooLarge))
    };
    let failed = measured.failed.iter().filter(|(_, cause)| is_its_own(cause));
    let links: BTreeSet<&str> = failed.map(|(link, _)| link.as_str()).collect();
    (measured.links_run as usize >= RUNS).then(|| links.len() as f64 / measured.links_run as f64)
}

/// The catalogue with which about `wanted` of the reels asked for are free: among catalogues that double.
fn catalogue(plan: &Plan, wanted: f64) -> u32 {
    let mut reels_only = plan.clone();
    if let Demand::Daily(daily) = &mut reels_only.demand {
        daily.messages_per_person = 0.0;
    }
    let free = |catalogue: u32| {
        let mut tried = reels_only.clone();
        tried.popularity.catalogue = catalogue;
        (super::simulate(&tried).counts.free() - wanted).abs()
    };
    let sizes = (0..12).map(|doublings| 50u32 << doublings);
    sizes.min_by(|one, other| free(*one).total_cmp(&free(*other))).unwrap_or(plan.popularity.catalogue)
}
