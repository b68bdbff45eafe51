//! How a reel comes to no result: each way once, with what it means for the next who asks and for the upstream. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::upstream::{Budget, Cause, Failure};

/// Why there is no result. What a person is told depends on this alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ReelFailure {
    /// Deleted, private or restricted. The scrape was bought.
    #[error("not available")]
    Unavailable,
    /// A photo or a carousel of photos. The scrape was bought.
    #[error("not a video")]
    NotVideo,
    /// Longer than the limit; `seconds` is its own length, 0 if that is not known. The scrape was bought.
    #[error("too long ({seconds} s)")]
    TooLong { seconds: u32 },
    /// More bytes than the limit. The scrape was bought.
    #[error("too large")]
    TooLarge,
    /// There is no address of a video, or none behind it (a page, nothing, a playlist, sound). The scrape was bought.
    #[error("no video behind the address")]
    NoVideoAddress,
    /// The address is outside the allowed origins: never asked. The scrape was bought.
    #[error("the video is stored elsewhere")]
    ForeignAddress,
    /// The video did not arrive: cut twice, too slow, refused with a fresh address too. The scrape was bought.
    #[error("not downloaded")]
    Download,
    /// The analysing model's safety or copyright rules stopped it. Scrape and analysis were bought.
    #[error("blocked")]
    Blocked,
    /// The analysing model does not take its language. Scrape and analysis were bought.
    #[error("language not supported")]
    Language,
    /// The analysis did not fit into its limit, or came to nothing twice. Scrape and analysis were bought.
    #[error("unreadable")]
    Unreadable,
    /// All attempts together took longer than a reel may. Anything may have been bought.
    #[error("took too long")]
    Timeout,
    /// A service did not answer, after its own retries: the one kind that another attempt may mend (see
    /// [`Stopped::again`]). Anything may have been bought.
    #[error("upstream busy")]
    UpstreamBusy,
    /// A service's quota of the day is used up.
    #[error("quota of the day used up")]
    DayQuota { resets_at: Timestamp },
    /// A service's credit is used up: for the operator.
    #[error("out of credit")]
    OutOfCredit,
    /// A key is refused; an actor, a model or a webhook is not there; a request of ours is refused: for the operator.
    #[error("misconfigured")]
    Misconfigured,
    /// The video could not be kept on this machine's disk: for the operator. The scrape was bought.
    #[error("no room on the disk")]
    NoRoom,
    /// Called off by us. Anything may have been bought.
    #[error("cancelled")]
    Cancelled,
    /// A budget does not cover the next call.
    #[error("over budget")]
    OverBudget(Budget),
}

/// Whose fault a failure is, which decides what becomes of the job, its upstream and the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The reel's own: the scraper's half of the work, which says nothing of the analysis.
    Post,
    /// The reel's own, and found by the last step: every service did its work.
    Video,
    /// A service's, which may pass.
    Passing,
    /// A service's or ours, which waiting does not mend.
    Lasting,
    /// This machine's: no service is concerned, and another instance may do it.
    Machine,
    /// Nobody's: we wanted it so.
    Ours,
}

/// The longest that a failure is remembered.
pub const LONGEST_LIFETIME: Duration = Duration::from_secs(24 * 3600);

impl ReelFailure {
    pub fn fault(&self) -> Fault {
        match self {
            ReelFailure::Unavailable
            | ReelFailure::NotVideo
            | ReelFailure::TooLong { .. }
            | ReelFailure::TooLarge
            | ReelFailure::NoVideoAddress
            | ReelFailure::ForeignAddress
            | ReelFailure::Download => Fault::Post,
            ReelFailure::Blocked | ReelFailure::Language | ReelFailure::Unreadable => Fault::Video,
            ReelFailure::Timeout | ReelFailure::UpstreamBusy => Fault::Passing,
            ReelFailure::DayQuota { .. } | ReelFailure::OutOfCredit | ReelFailure::Misconfigured => Fault::Lasting,
            ReelFailure::NoRoom => Fault::Machine,
            ReelFailure::Cancelled | ReelFailure::OverBudget(_) => Fault::Ours,
        }
    }

    /// How long the failure answers for the reel, so that asking again buys nothing. Zero: not at all,
    /// because it says nothing about the reel.
    pub fn lifetime(&self) -> Duration {
        const MINUTE: Duration = Duration::from_secs(60);
        match self {
            // Whoever made it private may open it again.
            ReelFailure::Unavailable => 30 * MINUTE,
            ReelFailure::NotVideo
            | ReelFailure::TooLong { .. }
            | ReelFailure::TooLarge
            | ReelFailure::Blocked
            | ReelFailure::Language
            | ReelFailure::Unreadable => LONGEST_LIFETIME,
            // Instagram may give another address, and the operator may allow the origin.
            ReelFailure::NoVideoAddress | ReelFailure::ForeignAddress => 60 * MINUTE,
            ReelFailure::Download => 5 * MINUTE,
            ReelFailure::UpstreamBusy | ReelFailure::Timeout => MINUTE,
            ReelFailure::DayQuota { .. }
            | ReelFailure::OutOfCredit
            | ReelFailure::Misconfigured
            | ReelFailure::NoRoom
            | ReelFailure::Cancelled
            | ReelFailure::OverBudget(_) => Duration::ZERO,
        }
    }

    /// Whether the same reel may be watched a little later, without anybody's doing.
    pub fn is_passing(&self) -> bool {
        self.fault() == Fault::Passing || *self == ReelFailure::Download
    }

    /// The name in the database, the metrics and the logs.
    pub fn name(&self) -> &'static str {
        match self {
            ReelFailure::Unavailable => "unavailable",
            ReelFailure::NotVideo => "not_video",
            ReelFailure::TooLong { .. } => "too_long",
            ReelFailure::TooLarge => "too_large",
            ReelFailure::NoVideoAddress => "no_video_address",
            ReelFailure::ForeignAddress => "foreign_address",
            ReelFailure::Download => "download",
            ReelFailure::Blocked => "blocked",
            ReelFailure::Language => "language",
            ReelFailure::Unreadable => "unreadable",
            ReelFailure::Timeout => "timeout",
            ReelFailure::UpstreamBusy => "upstream_busy",
            ReelFailure::DayQuota { .. } => "day_quota",
            ReelFailure::OutOfCredit => "out_of_credit",
            ReelFailure::Misconfigured => "misconfigured",
            ReelFailure::OverBudget(_) => "over_budget",
            ReelFailure::NoRoom => "no_room",
            ReelFailure::Cancelled => "cancelled",
        }
    }
}

/// A reel that came to no result.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{why}{}", .cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default())]
pub struct Stopped {
    pub why: ReelFailure,
    /// The call that failed, for the operator; `None` where every call went well.
    pub cause: Option<Failure>,
    /// Whether the same job may work a little later. Not after a workflow that may still run.
    pub again: bool,
    /// Whether anything was or may have been bought, in this attempt.
    pub bought: bool,
}

/// What a failed call means for the reel, where no step knows better.
pub(super) fn said(failure: &Failure) -> ReelFailure {
    match failure.cause {
        Cause::RateLimited { .. } | Cause::Unavailable { .. } | Cause::Crowded { .. } => ReelFailure::UpstreamBusy,
        Cause::TimedOut | Cause::Cut | Cause::Malformed => ReelFailure::UpstreamBusy,
        Cause::DayQuota { resets_at } => ReelFailure::DayQuota { resets_at },
        Cause::OutOfCredit => ReelFailure::OutOfCredit,
        Cause::Unauthorized | Cause::NotFound | Cause::BadRequest => ReelFailure::Misconfigured,
        Cause::Blocked | Cause::Filtered => ReelFailure::Blocked,
        Cause::Language => ReelFailure::Language,
        Cause::TooLong | Cause::InputTooLong | Cause::Unusable | Cause::Unreadable => ReelFailure::Unreadable,
        Cause::NoRoom => ReelFailure::NoRoom,
        Cause::Cancelled => ReelFailure::Cancelled,
        Cause::OverBudget(budget) => ReelFailure::OverBudget(budget),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_stored_as_plain_json() {
        let stored = serde_json::to_value(ReelFailure::TooLong { seconds: 2400 }).unwrap();
        assert_eq!(stored, serde_json::json!({"kind": "too_long", "seconds": 2400}));
        assert_eq!(serde_json::from_value::<ReelFailure>(stored).unwrap(), ReelFailure::TooLong { seconds: 2400 });
    }
}
