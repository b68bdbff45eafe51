//! The sentences of the chat, as people read them.

use super::*;
use crate::core::reels::KnownFailure;
use crate::core::reels::link::Unsupported;
use crate::core::reels::pipeline::ReelFailure;
use crate::ids::BoardId;
use crate::ids::Shortcode;
use crate::store::reels::{Denied, Submitted};
use crate::telemetry::Reference;
use crate::upstream::Cause;

const NOW: Timestamp = Timestamp(1_795_500_000_000);

fn code(text: &str) -> Shortcode {
    text.parse().unwrap()
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn sentences() {
    let board_id: BoardId = "0192f5e2b3c47d5e8f901234567890ab".parse().unwrap();
    let reference = Reference::fixed("7K3QXZ");
    let one = [code("DLlGZiCOBQ0")];
    let two = [code("DLlGZiCOBQ0"), code("DAAAAAAAAAA")];
    let states = [
        ReelState::Queued { place: 3, left: seconds(80), slow: false },
        ReelState::Queued { place: 3, left: seconds(160), slow: true },
        ReelState::Spaced { left: seconds(25) },
        ReelState::Again { pause: seconds(0), left: seconds(26) },
        ReelState::Again { pause: seconds(10), left: seconds(36) },
        ReelState::Held { place: 2, hold: Hold::Paused },
        ReelState::Held { place: 2, hold: Hold::Trouble { again: seconds(0) } },
        ReelState::Held { place: 2, hold: Hold::Trouble { again: seconds(43) } },
        ReelState::Scraping { left: seconds(26), late: false },
        ReelState::Scraping { left: seconds(4), late: true },
        ReelState::Analysing { left: seconds(18), late: false },
        ReelState::Analysing { left: seconds(4), late: true },
        ReelState::Coaching,
        ReelState::Answered,
        ReelState::Cancelled,
        ReelState::Failed { content: r#"{"kind":"unavailable"}"#.into(), is_told: false },
    ];
    let mut said: Vec<String> =
        states.iter().map(|state| board(board_id, "", &[(one[0].clone(), state.clone())]).text).collect();
    let waiting = ReelState::Queued { place: 2, left: seconds(65), slow: false };
    said.push(board(board_id, "A note.", &[(two[0].clone(), ReelState::Answered), (two[1].clone(), waiting)]).text);
    let failure = KnownFailure { failure: ReelFailure::UpstreamBusy, reference: Some("7K3QXZ".into()) };
    let failure = serde_json::to_string(&failure).unwrap();
    let outcomes = [Submitted::Queued { ready_at: NOW }, Submitted::Failed(failure)];
    said.push(submission_note(&two, &outcomes, &[left_out(2)], 30, NOW));
    said.push(submission_note(
        &two,
        &[Submitted::Queued { ready_at: NOW }, Submitted::Queued { ready_at: NOW }],
        &[],
        30,
        NOW,
    ));
    said.push(denied(Denied::Draining, NOW));
    said.push(denied(Denied::TooManyWaiting { limit: 5, again_at: NOW + seconds(31) }, NOW));
    said.push(denied(Denied::LineFull { limit: 500, again_at: NOW + Duration::from_millis(29_001) }, NOW));
    let failures = [
        ReelFailure::Unavailable,
        ReelFailure::NotVideo,
        ReelFailure::TooLong { seconds: 2400 },
        ReelFailure::TooLong { seconds: 0 },
        ReelFailure::TooLarge,
        ReelFailure::Blocked,
        ReelFailure::Unreadable,
        ReelFailure::UpstreamBusy,
        ReelFailure::Timeout,
        ReelFailure::Download,
        ReelFailure::NoVideoAddress,
        ReelFailure::ForeignAddress,
        ReelFailure::Language,
        ReelFailure::DayQuota { resets_at: NOW },
        ReelFailure::OutOfCredit,
        ReelFailure::Misconfigured,
        ReelFailure::NoRoom,
        ReelFailure::Cancelled,
    ];
    said.extend(failures.iter().map(reel_failure));
    let remembered = failures
        .iter()
        .map(|failure| serde_json::to_string(&KnownFailure { failure: failure.clone(), reference: None }).unwrap());
    said.push(remembered.map(|content| failure_in_short(&content)).collect::<Vec<_>>().join("\n"));
    said.push(failure_in_short("of a newer program"));
    said.push(failure_of(&one[0], r#"{"kind":"not_video"}"#));
    let kinds = [
        Unsupported::Story,
        Unsupported::Highlight,
        Unsupported::Profile,
        Unsupported::Audio,
        Unsupported::Explore,
        Unsupported::Incomplete,
        Unsupported::Other,
    ];
    said.extend(kinds.map(unsupported));
    let causes = [
        Cause::RateLimited { retry_after: None },
        Cause::Unavailable { retry_after: None },
        Cause::TimedOut,
        Cause::Cut,
        Cause::Malformed,
        Cause::OutOfCredit,
        Cause::Unauthorized,
        Cause::NotFound,
        Cause::BadRequest,
        Cause::Blocked,
        Cause::Filtered,
        Cause::InputTooLong,
        Cause::TooLong,
        Cause::Cancelled,
        Cause::Crowded { again_in: seconds(150) },
        Cause::RateLimited { retry_after: Some(seconds(130)) },
        Cause::RateLimited { retry_after: Some(seconds(3_600)) },
        Cause::RateLimited { retry_after: Some(seconds(86_400)) },
        Cause::Unavailable { retry_after: Some(seconds(40)) },
        Cause::Unavailable { retry_after: Some(seconds(86_400)) },
    ];
    said.extend(causes.iter().map(|cause| super::failure(cause, &reference, NOW)));
    let broken = [Cause::Cut, Cause::Filtered, Cause::OutOfCredit, Cause::InputTooLong];
    said.extend(broken.iter().map(|cause| broke_off(cause, &reference, NOW)));
    said.extend([
        share_unresolved(),
        no_link(),
        only_attachments(),
        files_beside(1),
        files_beside(3),
        nothing_said(),
        unknown_command("dance"),
    ]);
    said.extend([new_conversation(true), new_conversation(false), not_an_admin(), length_limit()]);
    said.extend([maybe_repeated(), internal_failure(&reference), cancelled(&[]), cancelled(&one), cancelled(&two)]);
    said.extend([history("", 0, NOW), history("", 4, NOW), history("Ana bakes.\nShe wants reach.", 12, NOW)]);
    said.push(queue(0, 0, seconds(27), &[]));
    said.push(queue(7, 2, seconds(27), &[(one[0].clone(), ReelState::Analysing { left: seconds(9), late: false })]));
    said.push(help(true, seconds(30)));
    said.push(greeting(false, seconds(0)));
    insta::assert_snapshot!(said.join("\n---\n"));
}
