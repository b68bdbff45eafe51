//! Every sentence about one reel: why it failed, what is said in it, and links that are none. Pure, like its parent.

use std::fmt::Write;
use std::time::Duration;

use super::format::{clock_time, moment};
use super::marks;
use super::money::over_budget_for_reel;
use crate::core::reels::KnownFailure;
use crate::core::reels::link::Unsupported;
use crate::core::reels::pipeline::{Reel, ReelFailure};
use crate::core::text::escape;
use crate::ids::Shortcode;
use crate::locale::fl;
use crate::upstream::{Budget, BudgetOf};

/// A reel as sentences name it.
pub(super) fn named(code: &Shortcode) -> String {
    format!("`{code}`")
}

/// The sentence for a failure that is remembered as JSON, with its reference if it has one.
pub fn known_failure(content: &str) -> String {
    let Ok(KnownFailure { failure, reference }) = serde_json::from_str(content) else {
        // Written by a newer program: still a clear sentence.
        return fl!("reel-failed");
    };
    match reference {
        Some(reference) => {
            fl!("error-reference", sentence = reel_failure(&failure), reference = marks::reference(reference))
        }
        None => reel_failure(&failure),
    }
}

/// The sentence for a failure of one reel among several of a message, which says of which.
pub fn failure_of(code: &Shortcode, content: &str) -> String {
    fl!("queue-line", reel = named(code), sentence = known_failure(content))
}

/// Why a reel failed, in a few words behind its name; see [`known_failure`].
pub fn failure_in_short(content: &str) -> String {
    let Ok(KnownFailure { failure, .. }) = serde_json::from_str(content) else {
        return fl!("reel-failed-listed");
    };
    match failure {
        ReelFailure::Unavailable => fl!("reel-unavailable-listed"),
        ReelFailure::NotVideo => fl!("reel-not-video-listed"),
        ReelFailure::TooLong { .. } => fl!("reel-too-long-listed"),
        ReelFailure::TooLarge => fl!("reel-too-large-listed"),
        ReelFailure::Blocked => fl!("reel-blocked-listed"),
        ReelFailure::Unreadable => fl!("reel-unreadable-listed"),
        ReelFailure::NoVideoAddress => fl!("reel-no-video-address-listed"),
        ReelFailure::ForeignAddress => fl!("reel-foreign-address-listed"),
        ReelFailure::Download => fl!("reel-download-listed"),
        ReelFailure::Language => fl!("reel-language-listed"),
        ReelFailure::Timeout => fl!("reel-timeout-listed"),
        ReelFailure::DayQuota { .. } => fl!("reel-day-quota-listed"),
        ReelFailure::UpstreamBusy => fl!("reel-busy-listed"),
        ReelFailure::OutOfCredit => fl!("reel-out-of-credit-listed"),
        ReelFailure::Misconfigured => fl!("reel-misconfigured-listed"),
        ReelFailure::NoRoom => fl!("reel-no-room-listed"),
        ReelFailure::Cancelled => fl!("reel-cancelled-listed"),
        ReelFailure::OverBudget(_) => fl!("reel-budget-listed"),
    }
}

/// Why a reel failed, and what to do.
pub fn reel_failure(failure: &ReelFailure) -> String {
    match failure {
        ReelFailure::Unavailable => fl!("reel-unavailable"),
        ReelFailure::NotVideo => fl!("reel-not-video"),
        ReelFailure::TooLong { seconds: 0 } => fl!("reel-too-long-unknown"),
        ReelFailure::TooLong { seconds } => {
            fl!("reel-too-long", length = clock_time(Duration::from_secs(u64::from(*seconds))))
        }
        ReelFailure::TooLarge => fl!("reel-too-large"),
        ReelFailure::Blocked => fl!("reel-blocked"),
        ReelFailure::Unreadable => fl!("reel-unreadable"),
        ReelFailure::UpstreamBusy => fl!("reel-busy"),
        ReelFailure::Timeout => fl!("reel-timeout"),
        ReelFailure::Download => fl!("reel-download"),
        ReelFailure::NoVideoAddress => fl!("reel-no-video-address"),
        ReelFailure::ForeignAddress => fl!("reel-foreign-address"),
        ReelFailure::Language => fl!("reel-language"),
        ReelFailure::DayQuota { resets_at } => fl!("reel-day-quota", resets = moment(*resets_at)),
        ReelFailure::OutOfCredit => fl!("reel-out-of-credit"),
        ReelFailure::Misconfigured => fl!("reel-misconfigured"),
        ReelFailure::NoRoom => fl!("reel-no-room"),
        ReelFailure::Cancelled => fl!("reel-cancelled"),
        // Everybody who waits is told, not only who asked first.
        ReelFailure::OverBudget(Budget { whose: BudgetOf::Person | BudgetOf::Chat | BudgetOf::Guild, .. }) => {
            fl!("reel-budget-other")
        }
        ReelFailure::OverBudget(budget) => fl!("reel-budget-bot", why = over_budget_for_reel(budget)),
    }
}

/// A link of Instagram that is no reel's.
pub fn unsupported(kind: Unsupported) -> String {
    match kind {
        Unsupported::Incomplete => fl!("link-incomplete"),
        Unsupported::Story => fl!("link-story"),
        Unsupported::Highlight => fl!("link-highlight"),
        Unsupported::Profile => fl!("link-profile"),
        Unsupported::Audio => fl!("link-audio"),
        Unsupported::Explore => fl!("link-explore"),
        Unsupported::Other => fl!("link-other"),
    }
}

/// Why a share link led nowhere.
pub fn share_unresolved() -> String {
    fl!("link-share-lost")
}

pub fn no_link() -> String {
    fl!("link-missing")
}

/// What is said in a reel, before the coaching: its lines with their times, shortened if it is long.
pub fn transcript(reel: &Reel) -> String {
    if reel.transcript.is_empty() && !reel.notes.is_empty() {
        // A workflow's free text is for the coach.
        return String::new();
    }
    let code = named(&reel.shortcode);
    let mut text = match reel.owner.as_str() {
        "" => fl!("transcript-title", reel = code),
        owner => fl!("transcript-title-creator", reel = code, creator = escape(owner).to_string()),
    };
    if reel.transcript.is_empty() {
        let _ = write!(text, "\n> {}", fl!("transcript-no-speech"));
        return text;
    }
    let mut shown = 0;
    for line in &reel.transcript {
        let at = clock_time(Duration::try_from_secs_f64(reel.within(line.at_s)).unwrap_or_default());
        shown += line.text.chars().count() + 8;
        if shown > TRANSCRIPT_SHOWN {
            let _ = write!(text, "\n> {}", fl!("transcript-more"));
            break;
        }
        let _ = write!(text, "\n> {at} {}", escape(&line.text));
    }
    text
}

/// Characters of a transcript that are shown, so that it fits into one message with the coaching's beginning.
const TRANSCRIPT_SHOWN: usize = 700;
