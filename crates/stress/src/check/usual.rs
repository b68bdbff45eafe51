//! A reel that fails holds up no other. Owns the rule.

use super::{Evidence, Verdict};

/// What reels are to be read in their usual time although others fail.
#[derive(Clone, Copy, Debug)]
pub struct Usual {
    /// How the shortcodes of those begin that fail on purpose.
    pub bad: &'static str,
    /// The longest that any other may take from its slot to its end.
    pub ms: i64,
}

/// Every good reel is read, in its usual time.
pub(super) fn held(evidence: &Evidence<'_>, verdict: &mut Verdict) {
    let Some(usual) = evidence.rules.usual else { return };
    let good: Vec<_> = evidence.history.jobs.iter().filter(|job| !job.shortcode.starts_with(usual.bad)).collect();
    let mut found = Vec::new();
    let mut longest = 0;
    for job in &good {
        let took = job.finished_at.map(|end| end - job.ready_at).filter(|_| job.state == "done");
        longest = longest.max(took.unwrap_or(0));
        if took.is_none_or(|took| took > usual.ms) {
            let told = took.map_or_else(|| "was not read".to_owned(), |took| format!("took {took} ms"));
            let history = format!(
                "job {}: ready at {}, started at {:?}, ended at {:?}",
                job.id, job.ready_at, job.started_at, job.finished_at
            );
            found.push((format!("job {} {told}, usual are {} ms at most", job.id, usual.ms), vec![history]));
        }
    }
    let note = format!("the longest took {longest} ms as it was played");
    verdict.rule("failing reels hold nobody else's up", good.len(), found, note);
}
