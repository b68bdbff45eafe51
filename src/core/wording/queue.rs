//! Every sentence about the queue: positions, phases, lanes, what was taken and what was not. Pure, like its parent.

use std::fmt::Write;
use std::time::Duration;

use super::format::{about, between, elapsed, exactly, seconds_up};
use super::reels::{failure_in_short, known_failure, named};
use crate::clock::Timestamp;
use crate::core::chat::{Body, Button};
use crate::core::reels::REELS_PER_MESSAGE;
use crate::ids::{BoardId, Shortcode};
use crate::locale::fl;
use crate::store::reels::{Denied, JobPhase, Submitted};

/// The state of one reel on a board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReelState {
    /// In the queue. `place` counts from the next one to start; `left` is the time until its coaching begins. `slow`: an
    /// upstream is out, so that it takes longer than usual.
    Queued {
        place: usize,
        left: Duration,
        slow: bool,
    },
    /// Not yet, because of the asker's own spacing.
    Spaced {
        left: Duration,
    },
    /// It failed, and is tried again; `pause` is the time until then.
    Again {
        pause: Duration,
        left: Duration,
    },
    /// In the queue, and nothing starts.
    Held {
        place: usize,
        hold: Hold,
    },
    /// `late`: it takes longer than usual.
    Scraping {
        left: Duration,
        late: bool,
    },
    Analysing {
        left: Duration,
        late: bool,
    },
    /// Its result is known, and the answer is being written.
    Coaching,
    Answered,
    /// There is no result; `content` tells why, as JSON. `is_told`: the sentence about it has been sent.
    Failed {
        content: String,
        is_told: bool,
    },
    Cancelled,
}

/// Why nothing starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// By an admin.
    Paused,
    /// No upstream works; one is tried again after this time.
    Trouble { again: Duration },
}

/// One lane, for admins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneLine {
    pub name: String,
    pub paused: bool,
    pub at_work: Option<LaneWork>,
    /// `Some` while its upstream is not used: the time until it is tried again.
    pub out_for: Option<Duration>,
    pub last_failure: Option<LastFailure>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneWork {
    pub reel: Shortcode,
    pub phase: JobPhase,
    pub since: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastFailure {
    pub cause: String,
    pub reference: String,
    pub ago: Duration,
}

/// The words of a board and its buttons.
pub fn board(id: BoardId, note: &str, reels: &[(Shortcode, ReelState)]) -> Body {
    let mut text = String::new();
    if !note.is_empty() {
        text.push_str(note);
        text.push_str("\n\n");
    }
    match reels {
        [(_, state)] => text.push_str(&reel_state(state)),
        many => {
            for (at, (code, state)) in many.iter().enumerate() {
                let _ = writeln!(text, "{}. {}", at + 1, listed(code, state));
            }
        }
    }
    let waiting = reels.iter().any(|(_, state)| match state {
        ReelState::Queued { .. }
        | ReelState::Spaced { .. }
        | ReelState::Again { .. }
        | ReelState::Held { .. }
        | ReelState::Scraping { .. }
        | ReelState::Analysing { .. } => true,
        ReelState::Coaching | ReelState::Answered | ReelState::Failed { .. } | ReelState::Cancelled => false,
    });
    let buttons = if waiting {
        vec![Button { label: fl!("button-cancel"), command: format!("/cancel {id}") }]
    } else {
        Vec::new()
    };
    Body { buttons, ..Body::text(text.trim_end()) }
}

/// The only reel of a board.
fn reel_state(state: &ReelState) -> String {
    match state {
        ReelState::Queued { place, left, slow } => {
            with_slow(fl!("queue-position", position = *place, eta = about(*left)), *slow)
        }
        ReelState::Spaced { left } => fl!("queue-spaced", eta = about(*left)),
        ReelState::Again { pause, left } if pause.is_zero() => fl!("queue-retry-now", eta = about(*left)),
        ReelState::Again { pause, left } => fl!("queue-retry-later", wait = about(*pause), eta = about(*left)),
        ReelState::Held { place, hold: Hold::Paused } => fl!("queue-paused", position = *place),
        ReelState::Held { place, hold: Hold::Trouble { again } } if again.is_zero() => {
            fl!("queue-trouble-now", position = *place)
        }
        ReelState::Held { place, hold: Hold::Trouble { again } } => {
            fl!("queue-trouble-later", wait = about(*again), position = *place)
        }
        ReelState::Scraping { left, late: false } => fl!("queue-fetching", eta = between(*left)),
        ReelState::Scraping { late: true, .. } => fl!("queue-fetching-late"),
        ReelState::Analysing { left, late: false } => fl!("queue-watching", eta = between(*left)),
        ReelState::Analysing { late: true, .. } => fl!("queue-watching-late"),
        ReelState::Coaching => fl!("queue-writing"),
        ReelState::Answered => fl!("queue-done"),
        ReelState::Failed { content, .. } => fl!("queue-failed", reason = failure_in_short(content)),
        ReelState::Cancelled => fl!("queue-cancelled"),
    }
}

/// One reel of several, by its name.
fn listed(code: &Shortcode, state: &ReelState) -> String {
    let reel = named(code);
    match state {
        ReelState::Queued { place, left, slow } => {
            with_slow(fl!("queue-position-listed", reel = reel, position = *place, eta = about(*left)), *slow)
        }
        ReelState::Spaced { left } => fl!("queue-spaced-listed", reel = reel, eta = about(*left)),
        ReelState::Again { pause, left } if pause.is_zero() => {
            fl!("queue-retry-now-listed", reel = reel, eta = about(*left))
        }
        ReelState::Again { pause, left } => {
            fl!("queue-retry-later-listed", reel = reel, wait = about(*pause), eta = about(*left))
        }
        ReelState::Held { place, hold: Hold::Paused } => fl!("queue-paused-listed", reel = reel, position = *place),
        ReelState::Held { place, hold: Hold::Trouble { again } } if again.is_zero() => {
            fl!("queue-trouble-now-listed", reel = reel, position = *place)
        }
        ReelState::Held { place, hold: Hold::Trouble { again } } => {
            fl!("queue-trouble-later-listed", reel = reel, wait = about(*again), position = *place)
        }
        ReelState::Scraping { left, late: false } => fl!("queue-fetching-listed", reel = reel, eta = between(*left)),
        ReelState::Scraping { late: true, .. } => fl!("queue-fetching-late-listed", reel = reel),
        ReelState::Analysing { left, late: false } => fl!("queue-watching-listed", reel = reel, eta = between(*left)),
        ReelState::Analysing { late: true, .. } => fl!("queue-watching-late-listed", reel = reel),
        ReelState::Coaching => fl!("queue-writing-listed", reel = reel),
        ReelState::Answered => fl!("queue-done-listed", reel = reel),
        ReelState::Failed { content, .. } => {
            fl!("queue-failed-listed", reel = reel, reason = failure_in_short(content))
        }
        ReelState::Cancelled => fl!("queue-cancelled-listed", reel = reel),
    }
}

fn with_slow(sentence: String, slow: bool) -> String {
    if slow { format!("{sentence} {}", fl!("queue-slow")) } else { sentence }
}

/// A board's standing words about those reels of a message that do not wait. Nothing for one that waits alone.
pub fn submission_note(
    reels: &[Shortcode],
    outcomes: &[Submitted],
    also: &[String],
    limit_seconds: u64,
    now: Timestamp,
) -> String {
    let mut lines = Vec::new();
    let queued = outcomes.iter().filter(|outcome| matches!(outcome, Submitted::Queued { .. })).count();
    if queued > 1 {
        lines.push(match limit_seconds {
            0 => fl!("queue-several-unspaced", count = queued),
            seconds => fl!("queue-several", count = queued, interval = exactly(Duration::from_secs(seconds))),
        });
    }
    for (code, outcome) in reels.iter().zip(outcomes) {
        let sentence = match outcome {
            Submitted::Cached | Submitted::Joined | Submitted::Queued { .. } => continue,
            Submitted::Failed(content) => known_failure(content),
            Submitted::Denied(denied) => self::denied(*denied, now),
        };
        lines.push(fl!("queue-line", reel = named(code), sentence = sentence));
    }
    lines.extend(also.iter().cloned());
    lines.join("\n")
}

/// More reels than one message may bring.
pub fn left_out(count: usize) -> String {
    fl!("queue-left-out", limit = REELS_PER_MESSAGE, count = count)
}

/// Why a reel was not taken.
pub fn denied(denied: Denied, now: Timestamp) -> String {
    match denied {
        Denied::Draining => fl!("queue-denied-draining"),
        Denied::TooManyWaiting { limit, again_at } => {
            fl!("queue-denied-waiting", limit = limit, wait = about(again_at.since(now)))
        }
        Denied::LineFull { again_at, .. } => fl!("queue-denied-full", wait = about(again_at.since(now))),
    }
}

/// `codes` has a reel once for each person who waited for it.
pub fn cancelled(codes: &[Shortcode]) -> String {
    let mut codes = codes.to_vec();
    codes.dedup();
    match &codes[..] {
        [] => fl!("cancel-nothing"),
        codes @ [first, ..] => fl!("cancel-done", count = codes.len(), reel = named(first)),
    }
}

pub fn not_waiting(code: &Shortcode) -> String {
    fl!("cancel-not-in-queue", reel = named(code))
}

/// A Cancel button pressed by somebody else, or too late.
pub fn not_yours_to_cancel() -> String {
    fl!("cancel-not-yours")
}

pub fn fresh_is_for_admins() -> String {
    fl!("queue-fresh-admins-only")
}

/// What an admin finds under the queue: each lane, the oldest that waits, the latest failures.
pub fn lanes(
    lanes: &[LaneLine],
    oldest: Option<Duration>,
    draining: bool,
    failures: &[(Shortcode, String, Duration)],
) -> String {
    let mut text = String::from("```\n");
    for lane in lanes {
        let _ = writeln!(text, "{:<9} {}", lane.name, lane_state(lane));
        if let Some(LastFailure { cause, reference, ago }) = &lane.last_failure {
            let last =
                fl!("lanes-last-failure", ago = elapsed(*ago), cause = cause.as_str(), reference = reference.as_str());
            let _ = writeln!(text, "{:<9} {last}", "");
        }
    }
    text.push_str("```");
    let mut lines = Vec::new();
    lines.extend(oldest.map(|oldest| fl!("lanes-longest-wait", wait = elapsed(oldest))));
    lines.extend(draining.then(|| fl!("lanes-draining")));
    lines.push(fl!("lanes-hint"));
    lines.extend((!failures.is_empty()).then(|| fl!("lanes-failures")));
    lines.extend(failures.iter().map(|(code, failure, ago)| {
        let (ago, sentence) = (elapsed(*ago), known_failure(failure));
        format!("- {}", fl!("lanes-failure-line", reel = named(code), ago = ago, sentence = sentence))
    }));
    format!("{text}\n{}", lines.join("\n"))
}

fn lane_state(lane: &LaneLine) -> String {
    match (&lane.at_work, lane.out_for) {
        (Some(work), _) => {
            let (phase, reel, seconds) = (phase(work.phase), work.reel.to_string(), work.since.as_secs());
            match lane.paused {
                true => fl!("lanes-working-paused", phase = phase, reel = reel, seconds = seconds),
                false => fl!("lanes-working", phase = phase, reel = reel, seconds = seconds),
            }
        }
        (None, _) if lane.paused => fl!("lanes-paused-state"),
        (None, None) => fl!("lanes-free"),
        (None, Some(again)) if again.is_zero() => fl!("lanes-testing"),
        (None, Some(again)) => fl!("lanes-out", seconds = seconds_up(again)),
    }
}

/// What is done with a reel right now.
pub fn phase(phase: JobPhase) -> String {
    match phase {
        JobPhase::Waiting | JobPhase::Scraping => fl!("phase-fetching"),
        JobPhase::Analysing => fl!("phase-watching"),
    }
}

/// What admins have done to lanes; `opened`: the queue takes new reels again.
pub fn lanes_set(names: &[String], paused: bool, opened: bool) -> String {
    let names = names.join(", ");
    match (paused, opened) {
        (true, _) => fl!("lanes-paused", lanes = names),
        (false, true) => fl!("lanes-resumed-all", lanes = names),
        (false, false) => fl!("lanes-resumed", lanes = names),
    }
}

pub fn draining() -> String {
    fl!("lanes-drain")
}

pub fn unclear_queue_wish(lanes: &[String]) -> String {
    fl!("queue-usage", lanes = lanes.join(", "))
}

/// The queue as a whole, and the asker's own reels.
pub fn queue(waiting: usize, working: usize, typical: Duration, own: &[(Shortcode, ReelState)]) -> String {
    let eta = about(typical);
    let mut lines = vec![match (working, waiting) {
        (0, 0) => fl!("queue-status-empty", eta = eta),
        (working, waiting) => fl!("queue-status", working = working, waiting = waiting, eta = eta),
    }];
    if own.is_empty() {
        lines.push(fl!("queue-none-yours"));
    }
    lines.extend(own.iter().map(|(code, state)| listed(code, state)));
    lines.join("\n")
}
