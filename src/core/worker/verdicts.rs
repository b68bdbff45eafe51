//! What a run of a reel says of the services that took part in it. Pure.

use crate::core::providers::{CallReport, CallVerdict, verdict};
use crate::core::reels::pipeline::{Fault, Reel, ReelFailure, Stopped};
use crate::store::lanes::LaneKind;
use crate::store::providers::Trouble;
use crate::upstream::Provider;

/// The services that took part in a run, and what it says of each.
pub(super) fn of(kind: LaneKind, result: &Result<Reel, Stopped>) -> Vec<(Provider, CallReport)> {
    let worked = |provider| (provider, CallReport::worked());
    match (kind, result) {
        (LaneKind::Direct, Ok(_)) => vec![worked(Provider::Apify), worked(Provider::Gemini)],
        (LaneKind::N8n, Ok(_)) => vec![worked(Provider::N8n)],
        (_, Err(stopped)) => match (&stopped.cause, kind) {
            (Some(failure), _) => {
                // A scrape that is followed by anything went well.
                let scraped = (failure.provider == Provider::Gemini).then(|| worked(Provider::Apify));
                let verdict = match (verdict(&failure.cause), stopped.why.fault()) {
                    // The reel's own fault, or this machine's: the service did its work.
                    (_, Fault::Post | Fault::Video | Fault::Machine) => CallVerdict::Worked,
                    // What may pass, as the step knows that failed: a run that is gone, a link that has expired.
                    (CallVerdict::Stuck(_), Fault::Passing) => CallVerdict::Failed,
                    (verdict, _) => verdict,
                };
                let failed = (failure.provider, CallReport::of(verdict, failure.cause.name(), failure.to_string()));
                scraped.into_iter().chain([failed]).collect()
            }
            (None, LaneKind::Direct) => match stopped.why.fault() {
                Fault::Post => vec![worked(Provider::Apify)],
                Fault::Video => vec![worked(Provider::Apify), worked(Provider::Gemini)],
                // Without a call that failed, it is ours.
                Fault::Passing | Fault::Lasting | Fault::Machine | Fault::Ours => Vec::new(),
            },
            (None, LaneKind::N8n) => {
                let name = stopped.why.name();
                match stopped.why {
                    ReelFailure::Cancelled | ReelFailure::OverBudget(_) => Vec::new(),
                    // Nothing was asked: the cost could not be set aside.
                    ReelFailure::UpstreamBusy | ReelFailure::Misconfigured if !stopped.bought => Vec::new(),
                    ReelFailure::OutOfCredit => {
                        let verdict = CallVerdict::Stuck(Trouble::Credit);
                        vec![(Provider::N8n, CallReport::of(verdict, name, "the workflow says so".into()))]
                    }
                    ReelFailure::UpstreamBusy | ReelFailure::DayQuota { .. } | ReelFailure::Misconfigured => {
                        let detail = "the workflow says so".into();
                        vec![(Provider::N8n, CallReport::of(CallVerdict::Failed, name, detail))]
                    }
                    _ => vec![worked(Provider::N8n)],
                }
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{Cause, Failure};

    /// What is said, and what should be.
    type Case = (Vec<(Provider, CallReport)>, &'static [(Provider, CallVerdict)]);

    fn stopped(why: ReelFailure, failure: Option<(Provider, Cause, &str)>, bought: bool) -> Result<Reel, Stopped> {
        let cause = failure.map(|(provider, cause, detail)| Failure::new(provider, cause, detail));
        Err(Stopped { why, cause, again: false, bought })
    }

    #[test]
    fn each_service_is_held_to_what_it_did_itself() {
        use CallVerdict::{Failed, Silent, Stuck, Worked};
        use Provider::{Apify, Gemini, N8n};
        use ReelFailure as Why;
        let direct = |why, failure| of(LaneKind::Direct, &stopped(why, failure, true));
        let n8n = |why, failure| of(LaneKind::N8n, &stopped(why, failure, true));
        let cases: [Case; 21] = [
            (direct(Why::NoRoom, Some((Apify, Cause::NoRoom, "video: disk"))), &[(Apify, Worked)]),
            (direct(Why::OutOfCredit, Some((Apify, Cause::OutOfCredit, "402"))), &[(Apify, Stuck(Trouble::Credit))]),
            (
                direct(Why::Misconfigured, Some((Gemini, Cause::Unauthorized, "400"))),
                &[(Apify, Worked), (Gemini, Stuck(Trouble::Key))],
            ),
            (direct(Why::Misconfigured, Some((Apify, Cause::NotFound, "404"))), &[(Apify, Stuck(Trouble::Gone))]),
            (direct(Why::UpstreamBusy, Some((Apify, Cause::NotFound, "video: 403"))), &[(Apify, Failed)]),
            (direct(Why::ForeignAddress, Some((Apify, Cause::BadRequest, "video: origin"))), &[(Apify, Worked)]),
            (direct(Why::Download, Some((Apify, Cause::TimedOut, "video: slow"))), &[(Apify, Worked)]),
            (direct(Why::TooLarge, Some((Apify, Cause::TooLong, "video: bytes"))), &[(Apify, Worked)]),
            (direct(Why::Unreadable, Some((Gemini, Cause::Unusable, "twice"))), &[(Apify, Worked), (Gemini, Worked)]),
            (direct(Why::Language, Some((Gemini, Cause::Language, "zu"))), &[(Apify, Worked), (Gemini, Worked)]),
            (
                direct(Why::Misconfigured, Some((Gemini, Cause::BadRequest, "400"))),
                &[(Apify, Worked), (Gemini, Stuck(Trouble::Request))],
            ),
            (direct(Why::Blocked, Some((Gemini, Cause::Blocked, "safety"))), &[(Apify, Worked), (Gemini, Worked)]),
            (direct(Why::UpstreamBusy, Some((Apify, Cause::TimedOut, "run_timed_out"))), &[(Apify, Failed)]),
            (direct(Why::Cancelled, Some((Apify, Cause::Cancelled, "called off"))), &[(Apify, Silent)]),
            (direct(Why::Unavailable, None), &[(Apify, Worked)]),
            (direct(Why::UpstreamBusy, None), &[]),
            (n8n(Why::Misconfigured, Some((N8n, Cause::Malformed, "html"))), &[(N8n, Failed)]),
            (n8n(Why::Misconfigured, Some((N8n, Cause::Unauthorized, "403"))), &[(N8n, Stuck(Trouble::Key))]),
            (n8n(Why::OutOfCredit, None), &[(N8n, Stuck(Trouble::Credit))]),
            (n8n(Why::UpstreamBusy, None), &[(N8n, Failed)]),
            (n8n(Why::Unavailable, None), &[(N8n, Worked)]),
        ];
        for (at, (reports, expected)) in cases.into_iter().enumerate() {
            let said: Vec<_> = reports.iter().map(|(provider, report)| (*provider, report.verdict())).collect();
            assert_eq!(said, expected, "case {at}");
        }
        let unpaid = of(LaneKind::N8n, &stopped(Why::UpstreamBusy, None, false));
        assert_eq!(unpaid, [], "the cost could not be set aside");
    }
}
