//! Every sentence about an answer that failed, broke off or may be there twice. Pure, like its parent.

use super::demand::{DAY, HOURS, crowded, daily_quota, overloaded_until};
use super::format::{about, note};
use super::{marks, over_budget};
use crate::clock::Timestamp;
use crate::locale::fl;
use crate::telemetry::Reference;
use crate::upstream::Cause;

/// A turn that could not be answered. What it says of trying again is true: of a pause that the service asks for it tells
/// the length, and what only the owner can fix it says so.
pub fn failure(cause: &Cause, reference: &Reference, now: Timestamp) -> String {
    let sentence = match cause {
        Cause::RateLimited { retry_after: Some(pause) } if *pause >= DAY => daily_quota(now + *pause),
        Cause::RateLimited { retry_after } | Cause::Unavailable { retry_after } => match *retry_after {
            None => fl!("error-busy"),
            Some(pause) if pause < HOURS => fl!("error-busy-wait", wait = about(pause)),
            Some(pause) => overloaded_until(now + pause),
        },
        Cause::DayQuota { resets_at } => daily_quota(*resets_at),
        Cause::TimedOut | Cause::Cut => fl!("error-unfinished"),
        Cause::Malformed | Cause::Unusable | Cause::Unreadable | Cause::Language => fl!("error-unreadable"),
        Cause::OutOfCredit => fl!("error-out-of-credit"),
        Cause::Unauthorized | Cause::NotFound | Cause::BadRequest => fl!("error-misconfigured"),
        Cause::Blocked | Cause::Filtered => fl!("error-declined"),
        Cause::InputTooLong => fl!("error-context"),
        Cause::TooLong => fl!("error-answer-too-long"),
        Cause::Cancelled => fl!("error-cancelled"),
        Cause::NoRoom => fl!("error-no-room"),
        Cause::Crowded { again_in } => return crowded(*again_in, now),
        Cause::OverBudget(budget) => return over_budget(budget),
    };
    fl!("error-reference", sentence = sentence, reference = marks::reference(reference))
}

/// A failure of our own.
pub fn internal_failure(reference: &Reference) -> String {
    fl!("error-internal", reference = marks::reference(reference))
}

/// Behind an answer that broke off: whether it can be continued.
pub fn broke_off(cause: &Cause, reference: &Reference, now: Timestamp) -> String {
    let pause = cause.retry_after().unwrap_or_default();
    match cause {
        Cause::Filtered | Cause::Blocked => {
            note(&fl!("answer-stopped-by-service", reference = marks::reference(reference)))
        }
        Cause::Crowded { .. } | Cause::OverBudget(_) => failure(cause, reference, now),
        _ if cause.is_transient() && pause < HOURS => {
            note(&fl!("answer-broke-off", reference = marks::reference(reference)))
        }
        _ => format!("{} {}", note(&fl!("answer-broke-off-because")), failure(cause, reference, now)),
    }
}

/// Behind an answer that reached the output limit.
pub fn length_limit() -> String {
    note(&fl!("answer-too-long"))
}

/// Behind an answer that may be on screen twice.
pub fn maybe_repeated() -> String {
    note(&fl!("answer-repeated"))
}
