//! Whether each person's spacing and the lanes were held, from what the stand-in for Apify saw.

use std::collections::{BTreeMap, HashMap};

use super::{Evidence, Index, Verdict, story};
use crate::stress::crowd::Asked;

/// Rows hold whole milliseconds.
const ROUNDING_US: u64 = 2_000;

/// A person's nth new reel is not begun before the spacing allows it. In the order in which they were asked for, one may
/// begin when it was asked for, and no sooner than the spacing after the moment the one before might have begun.
pub(super) fn held(evidence: &Evidence<'_>, index: &Index<'_>, verdict: &mut Verdict) {
    let interval = u64::try_from(evidence.rules.interval_ms).unwrap_or(0) * 1000;
    let history = evidence.history;
    let mut begun: HashMap<&str, u64> = HashMap::new();
    for run in &evidence.books.apify {
        let first = begun.entry(&run.code).or_insert(run.at);
        *first = run.at.min(*first);
    }
    // Who asked for a job first: the earliest wish for it.
    let mut askers: HashMap<&str, &Asked> = HashMap::new();
    let by_turn: HashMap<&str, &Asked> =
        evidence.asked.iter().filter_map(|asked| Some((index.turn_of(asked)?.id.as_str(), asked))).collect();
    for wish in &history.subscriptions {
        if let (Some(job), Some(asked)) = (&wish.job_id, by_turn.get(wish.turn_id.as_str())) {
            askers.entry(job).or_insert(asked);
        }
    }
    let mut people: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    // A slot that was given back counts as if it had not been taken.
    for job in history.jobs.iter().filter(|job| job.slot_at.is_some()) {
        people.entry(&job.asked_by).or_default().push(job);
    }
    let (mut found, mut several) = (Vec::new(), 0);
    for jobs in people.values_mut() {
        jobs.sort_by_key(|job| job.slot_at);
        several += usize::from(jobs.len() > 1);
        let mut earliest = 0;
        for pair in jobs.windows(2) {
            if let [Some(before), Some(after)] = [pair[0].slot_at, pair[1].slot_at]
                && after - before < evidence.rules.interval_ms
            {
                let what =
                    format!("jobs {} and {}: their slots are {} ms apart", pair[0].id, pair[1].id, after - before);
                let asked = askers.get(pair[1].id.as_str());
                found.push((what, asked.map(|asked| story::of(asked, evidence, index)).unwrap_or_default()));
            }
        }
        for job in jobs {
            let Some(asked) = askers.get(job.id.as_str()) else { continue };
            let allowed = asked.at.max(earliest);
            earliest = allowed + interval;
            let early = begun.get(job.shortcode.as_str()).map_or(0, |at| allowed.saturating_sub(*at));
            if early > ROUNDING_US {
                let what = format!("job {}: its scrape began {} ms too early", job.id, early / 1000);
                found.push((what, story::of(asked, evidence, index)));
            }
        }
    }
    let note = if several > 0 { format!("{several} people with more than one new reel") } else { String::new() };
    verdict.rule("one new reel per person in the interval", history.jobs.len(), found, note);
}

/// No more runs at a time than lanes, and no lane with two jobs at once.
pub(super) fn lanes(evidence: &Evidence<'_>, verdict: &mut Verdict) {
    let mut found = Vec::new();
    let most = evidence.books.most_runs_at_once;
    if most > evidence.rules.lanes as usize {
        found.push((format!("{most} runs of Apify at a time on {} lanes", evidence.rules.lanes), Vec::new()));
    }
    let mut lanes: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for job in &evidence.history.jobs {
        if let (Some(lane), Some(from), Some(to)) = (&job.lane, job.started_at, job.finished_at) {
            lanes.entry(lane).or_default().push((from, to, &job.id));
        }
    }
    for (lane, jobs) in &mut lanes {
        jobs.sort();
        for pair in jobs.windows(2) {
            if pair[1].0 < pair[0].1 {
                found.push((format!("lane {lane}: jobs {} and {} at the same time", pair[0].2, pair[1].2), Vec::new()));
            }
        }
    }
    let note = if most > 0 { format!("{most} at once") } else { String::new() };
    verdict.rule("lanes are never exceeded", evidence.books.apify.len(), found, note);
}
