//! The simulation against queueing theory: where a formula is exact, the simulation must meet it.

use super::tests::listed;
use super::*;

/// Requests at random moments (Poisson), each for another reel by another person, all equally long, on `lanes`: M/D/c.
fn queue(load: f64, lanes: u32, asks: u32) -> Outcome {
    let service = 25.0;
    let gap = service / (load * f64::from(lanes));
    let mut plan = listed(11, asks, u32::MAX, u32::MAX);
    // `listed` spreads them over an hour.
    let stretch = gap * f64::from(asks) / 3_600.0;
    if let Demand::Listed(asks) = &mut plan.demand {
        asks.iter_mut().for_each(|ask| ask.at = ask.at.mul_f64(stretch));
    }
    plan.span = plan.span.mul_f64(stretch);
    plan.limits.waiting = i64::MAX;
    plan.limits.interval = Duration::ZERO;
    plan.reels.direct_lanes = lanes;
    plan.reels.scrape = Times::exactly(Duration::ZERO);
    plan.reels.analysis = Times::exactly(Duration::from_secs_f64(service));
    simulate(&plan)
}

/// Mean wait of M/D/c in service times, by Crommelin's argument: whoever is at work now is through one service time later,
/// so that `n` in the system become `max(n - c, 0)` and those who came meanwhile; iterated until nothing changes.
fn crommelin(load: f64, lanes: usize) -> f64 {
    const STATES: usize = 600;
    let mean = load * lanes as f64;
    let mut come = vec![(-mean).exp()];
    for k in 1..STATES {
        come.push(come[k - 1] * mean / k as f64);
    }
    let mut now = vec![0.0; STATES];
    now[0] = 1.0;
    for _ in 0..600 {
        let mut next = vec![0.0; STATES];
        for (n, part) in now.iter().enumerate().filter(|(_, part)| **part > 1e-14) {
            let left = n.saturating_sub(lanes);
            for (more, chance) in
                come.iter().enumerate().take(STATES - left).take_while(|(k, c)| *k < 40 || **c > 1e-14)
            {
                next[left + more] += part * chance;
            }
        }
        now = next;
    }
    let waiting: f64 = now.iter().enumerate().map(|(n, part)| n.saturating_sub(lanes) as f64 * part).sum();
    waiting / mean
}

#[test]
fn the_reference_is_right() {
    // M/D/1: Pollaczek and Khinchine.
    for load in [0.3, 0.6, 0.8] {
        let exact = load / (2.0 * (1.0 - load));
        assert!((crommelin(load, 1) / exact - 1.0).abs() < 1e-6, "{load}");
    }
}

#[test]
fn waits_are_those_of_theory() {
    for (load, lanes, within) in [(0.5, 1, 0.05), (0.8, 1, 0.08), (0.6, 2, 0.06), (0.8, 2, 0.08), (0.85, 5, 0.1)] {
        let outcome = queue(load, lanes, 60_000);
        let wanted = 25.0 * crommelin(load, lanes as usize);
        let found = outcome.line_wait.mean().as_secs_f64();
        assert!((found / wanted - 1.0).abs() < within, "M/D/{lanes} at {load}: {found:.2} s instead of {wanted:.2} s");
        // The load itself.
        let busy: f64 = outcome.runs.iter().map(|run| (run.ended - run.started).as_secs_f64()).sum();
        let over = outcome.span.as_secs_f64() * f64::from(lanes);
        assert!((busy / over / load - 1.0).abs() < 0.02, "M/D/{lanes}: {}", busy / over);
    }
}
