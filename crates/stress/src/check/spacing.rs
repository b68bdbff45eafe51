//! Whether each person's spacing and the lanes were held, from what the stand-ins for Apify and n8n saw.

use std::collections::{BTreeMap, HashMap};

use super::{Evidence, Index, Verdict, story};
use crate::crowd::Asked;
use reelcoach::store::history::JobRow;

/// Rows hold whole milliseconds.
const ROUNDING_US: u64 = 2_000;

/// A person's nth new reel is not begun before the spacing allows it. In the order in which they were asked for, one may
/// begin when it was asked for, and no sooner than the spacing after the moment the one before might have begun.
pub(super) fn held(evidence: &Evidence<'_>, index: &Index<'_>, verdict: &mut Verdict) {
    let interval = u64::try_from(evidence.rules.interval_ms).unwrap_or(0) * 1000;
    let history = evidence.history;
    let mut begun: HashMap<&str, Vec<u64>> = HashMap::new();
    let runs = evidence.books.apify.iter().map(|run| (&run.code, run.at));
    for (code, at) in runs.chain(evidence.books.n8n.iter().map(|run| (&run.code, run.at))) {
        begun.entry(code).or_default().push(at);
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
    let told = |job: &JobRow| {
        let asked = askers.get(job.id.as_str());
        asked.map(|asked| story::of(asked, evidence, index)).unwrap_or_default()
    };
    let mut people: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    let (mut found, mut several, mut pairs) = (Vec::new(), 0, 0);
    for job in &history.jobs {
        match (job.slot_at, job.state.as_str()) {
            (Some(_), _) => people.entry(&job.asked_by).or_default().push(job),
            (None, "done") => found.push((format!("job {} is done, and took no slot", job.id), told(job))),
            // A slot that was given back counts as if it had not been taken.
            (None, _) => {}
        }
    }
    for jobs in people.values_mut() {
        jobs.sort_by_key(|job| job.slot_at);
        several += usize::from(jobs.len() > 1);
        pairs += jobs.len() - 1;
        let mut earliest = 0;
        for pair in jobs.windows(2) {
            if let [Some(before), Some(after)] = [pair[0].slot_at, pair[1].slot_at]
                && after - before < evidence.rules.interval_ms
            {
                let what =
                    format!("jobs {} and {}: their slots are {} ms apart", pair[0].id, pair[1].id, after - before);
                found.push((what, told(pair[1])));
            }
        }
        for job in jobs {
            let Some(asked) = askers.get(job.id.as_str()) else { continue };
            let allowed = asked.at.max(earliest);
            earliest = allowed + interval;
            // A reel may have been read before for somebody else, to no end.
            let runs = begun.get(job.shortcode.as_str()).into_iter().flatten();
            let own = runs.copied().filter(|at| at + ROUNDING_US >= asked.at).min();
            let early = own.map_or(0, |at| allowed.saturating_sub(at));
            if early > ROUNDING_US {
                let what = format!("job {}: it began {} ms too early", job.id, early / 1000);
                found.push((what, told(job)));
            }
        }
    }
    let note = if several > 0 { format!("{several} people with more than one new reel") } else { String::new() };
    verdict.rule("one new reel per person in the interval", pairs, found, note);
}

/// No more runs at a time than lanes, no webhook with two workflows at once, and no lane with two jobs.
pub(super) fn lanes(evidence: &Evidence<'_>, verdict: &mut Verdict) {
    let (books, lanes) = (evidence.books, evidence.rules.lanes);
    let mut found = Vec::new();
    let most = most_at_once(books.apify.iter().map(|run| (run.at, run.until)));
    if most > lanes as usize {
        found.push((format!("{most} runs of Apify at a time on {lanes} lanes"), Vec::new()));
    }
    let mut webhooks: BTreeMap<&str, Vec<(u64, u64)>> = BTreeMap::new();
    for run in &books.n8n {
        webhooks.entry(&run.webhook).or_default().push((run.at, run.until));
    }
    for (webhook, runs) in &webhooks {
        let most = most_at_once(runs.iter().copied());
        if most > 1 {
            found.push((format!("{most} workflows at a time behind {webhook}"), Vec::new()));
        }
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
    let workflows = most_at_once(books.n8n.iter().map(|run| (run.at, run.until)));
    let notes = [(most, "runs at once"), (workflows, "workflows at once")];
    let notes: Vec<String> = notes.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    verdict.rule("lanes are never exceeded", books.apify.len() + books.n8n.len(), found, notes.join(", "));
}

/// Of spans, the most at one moment.
fn most_at_once(spans: impl Iterator<Item = (u64, u64)>) -> usize {
    // What ends at a moment does so before what begins then.
    let mut ends: Vec<(u64, bool)> = spans.flat_map(|(from, to)| [(from, true), (to.max(from + 1), false)]).collect();
    ends.sort_unstable();
    let (mut now, mut most) = (0_usize, 0);
    for (_, begins) in ends {
        now = if begins { now + 1 } else { now.saturating_sub(1) };
        most = most.max(now);
    }
    most
}
