//! Which lanes may take a job now, and which jobs. Owns how trials of an upstream go before everything else; reads
//! nothing.

use std::collections::HashSet;

use crate::clock::Timestamp;
use crate::store::lanes::{BreakerState, Lane, LaneKind, Lanes, TRIAL_WAIT};

/// Lanes that may take a job now, and which jobs.
pub(super) struct Choice<'a> {
    /// In order of preference.
    free: Vec<&'a Lane>,
    /// Upstreams that take jobs, busy ones among them.
    usable: HashSet<&'a str>,
    /// A lane is free that can pick up a paid Apify run, or there is none that ever could.
    pub takes_runs: bool,
    /// Jobs that failed on this upstream wait for another one, which is only busy.
    pub not_from: &'a str,
    /// Only a reel that has not failed before, because this upstream is on trial.
    pub trial_of: Option<&'a str>,
}

/// How an upstream takes jobs now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Any,
    /// One at a time that has not failed before.
    Trial,
    /// The same, or with none of those one that has.
    LongTrial,
    No,
}

impl<'a> Choice<'a> {
    /// In the order in which they are tried: each upstream on trial, then all others together, among them those that
    /// have been on trial for long.
    pub fn all(all: &'a [Lane], busy: &HashSet<&str>, known: &Lanes, now: Timestamp) -> Vec<Choice<'a>> {
        let is_busy = |lane: &Lane| busy.contains(lane.name());
        let takes = |lane: &Lane| {
            if known.is_paused(lane) {
                return Takes::No;
            }
            let upstream = lane.upstream();
            match known.state(upstream, now) {
                BreakerState::Closed => Takes::Any,
                BreakerState::Held { .. } | BreakerState::Open { .. } => Takes::No,
                BreakerState::HalfOpen if all.iter().any(|other| other.upstream() == upstream && is_busy(other)) => {
                    Takes::No
                }
                BreakerState::HalfOpen => {
                    let opened_until = known.breaker(upstream).map_or(now, |breaker| breaker.open_until);
                    if now >= opened_until + TRIAL_WAIT { Takes::LongTrial } else { Takes::Trial }
                }
            }
        };
        let mut usable: HashSet<&str> =
            all.iter().filter(|lane| takes(lane) != Takes::No).map(Lane::upstream).collect();
        // With nothing else, those whose quota of the day is used up take what there is, only to say so.
        let only_refuses = |lane: &Lane| {
            !known.is_paused(lane)
                && known.breaker(lane.upstream()).is_some_and(|breaker| breaker.quota_used_up(now).is_some())
        };
        let refusing: Vec<&Lane> = match usable.is_empty() {
            true => all.iter().filter(|lane| only_refuses(lane)).collect(),
            false => Vec::new(),
        };
        usable.extend(refusing.iter().map(|lane| lane.upstream()));
        let kind_order = |kind| all.iter().position(|lane| lane.kind() == kind);
        let mut free: Vec<&Lane> =
            all.iter().filter(|lane| !is_busy(lane) && (takes(lane) != Takes::No || refusing.contains(lane))).collect();
        free.sort_by_key(|lane| match lane.kind() {
            LaneKind::Direct => (kind_order(lane.kind()), Timestamp(0)),
            LaneKind::N8n => (kind_order(lane.kind()), known.used_at(lane)),
        });
        let is_on_trial = |lane: &&&Lane| matches!(takes(lane), Takes::Trial | Takes::LongTrial);
        let trials: Vec<&Lane> = free.iter().filter(is_on_trial).copied().collect();
        let others: Vec<&Lane> = free.into_iter().filter(|lane| takes(lane) != Takes::Trial).collect();
        let mut on_trial: Vec<&str> = trials.iter().map(|lane| lane.upstream()).collect();
        on_trial.dedup();
        let of = |upstream: &str| trials.iter().copied().filter(|lane| lane.upstream() == upstream).collect();
        let trials = on_trial.iter().map(|upstream| Choice::new(all, of(upstream), &usable, Some(upstream)));
        trials.chain([Choice::new(all, others, &usable, None)]).filter(|choice| !choice.free.is_empty()).collect()
    }

    fn new(all: &[Lane], free: Vec<&'a Lane>, usable: &HashSet<&'a str>, trial_of: Option<&'a str>) -> Choice<'a> {
        let direct = |lane: &&Lane| lane.kind() == LaneKind::Direct;
        let takes_runs =
            free.iter().any(&direct) || !all.iter().any(|lane| direct(&lane) && usable.contains(lane.upstream()));
        let only = free.first().map_or("", |lane| lane.upstream());
        let is_only = free.iter().all(|lane| lane.upstream() == only);
        let not_from = if is_only && usable.len() > 1 { only } else { "" };
        Choice { free, usable: usable.clone(), takes_runs, not_from, trial_of }
    }

    pub fn lane_for(&self, has_run: bool, failed_on: Option<&str>) -> Option<&'a Lane> {
        let elsewhere = failed_on.filter(|failed| self.usable.iter().any(|upstream| upstream != failed));
        let first = |wanted: &dyn Fn(&Lane) -> bool| self.free.iter().find(|lane| wanted(lane)).copied();
        match elsewhere {
            Some(failed) => first(&|lane| lane.upstream() != failed),
            None if has_run => first(&|lane| lane.kind() == LaneKind::Direct).or_else(|| first(&|_| true)),
            None => first(&|_| true),
        }
    }
}
