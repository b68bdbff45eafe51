//! Every sentence about the line: places, phases, lanes, what was taken and what was not. Pure, like its parent.

use std::fmt::Write;
use std::time::Duration;

use super::{about, failure_in_short, known_failure};
use crate::clock::Timestamp;
use crate::core::chat::{Body, Button};
use crate::core::reels::eta;
use crate::ids::{BoardId, Shortcode};
use crate::store::reels::{Denied, Submitted};

/// The state of one reel on a board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReelState {
    /// In the line. `place` counts from the next one to start; `left` is the time until its coaching begins. `slow`: an
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
    /// In the line, and nothing starts.
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
    pub phase: &'static str,
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
        [(code, state)] => {
            let _ = write!(text, "{}", reel_state(code, state));
        }
        many => {
            for (at, (code, state)) in many.iter().enumerate() {
                let _ = writeln!(text, "{}. {}", at + 1, reel_state(code, state));
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
    let buttons =
        if waiting { vec![Button { label: "Cancel".into(), command: format!("/cancel {id}") }] } else { Vec::new() };
    Body { buttons, ..Body::text(text.trim_end()) }
}

fn reel_state(code: &Shortcode, state: &ReelState) -> String {
    match state {
        ReelState::Queued { place, left, slow: false } => {
            format!("⏳ Reel `{code}` is number {place} in line, {} to go.", about(*left))
        }
        ReelState::Queued { place, left, slow: true } => format!(
            "⏳ Reel `{code}` is number {place} in line, {} to go. One of my reel services does not answer, so it takes longer than usual.",
            about(*left)
        ),
        ReelState::Spaced { left } => format!("⏳ Reel `{code}` waits for your turn, {} to go.", about(*left)),
        ReelState::Again { pause, left } if pause.is_zero() => {
            format!("🔁 Reel `{code}`: that did not work. The next try comes now, {} to go.", about(*left))
        }
        ReelState::Again { pause, left } => {
            format!("🔁 Reel `{code}`: that did not work. I try again in {}, {} to go.", about(*pause), about(*left))
        }
        ReelState::Held { place, hold: Hold::Paused } => {
            format!(
                "⏸️ Reel `{code}` is number {place} in line. The operator has paused the reading of reels; your place is kept."
            )
        }
        ReelState::Held { place, hold: Hold::Trouble { again } } if again.is_zero() => format!(
            "⚠️ Reel `{code}` is number {place} in line. The reel services did not answer; I am trying them again now."
        ),
        ReelState::Held { place, hold: Hold::Trouble { again } } => format!(
            "⚠️ Reel `{code}` is number {place} in line. The reel services do not answer; I try them again in {}.",
            about(*again)
        ),
        ReelState::Scraping { left, late: false } => {
            format!("🔎 Processing reel `{code}`: fetching it from Instagram, {} to go.", between(*left))
        }
        ReelState::Scraping { late: true, .. } => {
            format!(
                "🔎 Processing reel `{code}`: fetching it from Instagram. It takes longer than usual; I stay on it."
            )
        }
        ReelState::Analysing { left, late: false } => {
            format!("🎬 Processing reel `{code}`: watching the video, {} to go.", between(*left))
        }
        ReelState::Analysing { late: true, .. } => {
            format!("🎬 Processing reel `{code}`: watching the video. It takes longer than usual; I stay on it.")
        }
        ReelState::Failed { content, .. } => format!("❌ Reel `{code}`: {}", failure_in_short(content)),
        ReelState::Coaching => format!("✍️ Reel `{code}` is done. Writing to you…"),
        ReelState::Answered => format!("✅ Reel `{code}`: answered."),
        ReelState::Cancelled => format!("Reel `{code}` is cancelled."),
    }
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
    let queued = outcomes.iter().filter(|o| matches!(o, Submitted::Queued { .. })).count();
    if queued > 1 {
        lines.push(format!("{queued} new reels; they start {limit_seconds} s apart, so that everybody gets a turn."));
    }
    for (code, outcome) in reels.iter().zip(outcomes) {
        match outcome {
            Submitted::Cached | Submitted::Joined | Submitted::Queued { .. } => {}
            Submitted::Failed(content) => lines.push(format!("Reel `{code}`: {}", known_failure(content))),
            Submitted::Denied(denied) => lines.push(format!("Reel `{code}`: {}", self::denied(*denied, now))),
        }
    }
    lines.extend(also.iter().cloned());
    lines.join("\n")
}

/// More reels than one message may bring.
pub fn left_out(count: usize) -> String {
    format!("I take 5 reels from one message; {count} more were left out. Send them again later.")
}

pub fn denied(denied: Denied, now: Timestamp) -> String {
    match denied {
        Denied::Draining => {
            "I take no new reels for the moment, because the operator is at work on me. Those in line are still read; please send this one again later.".into()
        }
        Denied::TooManyWaiting { limit, again_at } => {
            format!(
                "you have {limit} reels waiting already, which is the most. Try again in {} s.",
                seconds_up(again_at.since(now))
            )
        }
        Denied::LineFull { limit, again_at } => {
            format!("the line is full ({limit} reels). Try again in {} s.", seconds_up(again_at.since(now)))
        }
    }
}

/// `codes` has a reel once for each person who waited for it.
pub fn cancelled(codes: &[Shortcode]) -> String {
    let mut codes = codes.to_vec();
    codes.dedup();
    match &codes[..] {
        [] => "You have no reel waiting.".into(),
        [code] => format!("Reel `{code}` is cancelled."),
        many => format!("{} reels are cancelled.", many.len()),
    }
}

pub fn not_waiting(code: &Shortcode) -> String {
    format!("Reel `{code}` is not in the line.")
}

/// A Cancel button pressed by somebody else, or too late.
pub fn not_yours_to_cancel() -> String {
    "There is nothing of yours to cancel there. Only who asked for a reel can take it back, and only while it waits."
        .into()
}

pub fn fresh_is_for_admins() -> String {
    "Only the bot's admins can have a reel read anew. Without `fresh` you get what is known of it, at once.".into()
}

/// What an admin finds under the line: each lane, the oldest that waits, the latest failures.
pub fn lanes(
    lanes: &[LaneLine],
    oldest: Option<Duration>,
    draining: bool,
    failures: &[(Shortcode, String, Duration)],
) -> String {
    let mut text = String::from("```\n");
    for lane in lanes {
        let mut doing = match &lane.at_work {
            Some(work) => format!("{} {} for {} s", work.phase, work.reel, work.since.as_secs()),
            None if lane.paused => "paused".into(),
            None => match lane.out_for {
                None => "free".into(),
                Some(again) if again.is_zero() => "on trial".into(),
                Some(again) => format!("out of use, tried again in {} s", seconds_up(again)),
            },
        };
        if lane.at_work.is_some() && lane.paused {
            doing.push_str(", then paused");
        }
        let _ = writeln!(text, "{:<9} {doing}", lane.name);
        if let Some(failure) = &lane.last_failure {
            let LastFailure { cause, reference, ago } = failure;
            let _ = writeln!(text, "{:<9} last failed {} ago: {cause} ({reference})", "", short(*ago));
        }
    }
    text.push_str("```");
    if let Some(oldest) = oldest {
        let _ = write!(text, "\nThe longest wait so far is {}.", short(oldest));
    }
    if draining {
        text.push_str("\n**The line runs empty: no new reel is taken.**");
    }
    text.push_str("\n`/queue pause` and `/queue resume` (a lane, or all), `/queue drain` (take no new reels).");
    for (at, (code, failure, ago)) in failures.iter().enumerate() {
        let title = if at == 0 { "\n**Latest failures**\n" } else { "" };
        let _ = writeln!(text, "{title}- `{code}`, {} ago: {}", short(*ago), known_failure(failure));
    }
    text.trim_end().to_owned()
}

/// What an admin has done to lanes; `opened`: the line takes new reels again.
pub fn lanes_set(names: &[String], paused: bool, opened: bool) -> String {
    let names = names.join(", ");
    match (paused, opened) {
        (true, _) => format!("Paused: {names}. What runs there ends; the line waits. `/queue resume` lets it go on."),
        (false, true) => format!("Going on: {names}. New reels are taken."),
        (false, false) => format!("Going on: {names}."),
    }
}

pub fn draining() -> String {
    "No new reel is taken from now on; those in line are read to the end. `/queue resume` opens it again.".into()
}

pub fn unclear_queue_wish(lanes: &[String]) -> String {
    format!(
        "I know `/queue`, `/queue pause`, `/queue resume` (with a lane or for all of them) and `/queue drain`. The lanes are {}.",
        lanes.join(", ")
    )
}

/// The line as a whole, and the asker's own reels.
pub fn queue(waiting: usize, working: usize, typical: Duration, own: &[(Shortcode, ReelState)]) -> String {
    let mut text = match (working, waiting) {
        (0, 0) => format!("The line is empty. A reel takes {}.", about(typical)),
        (working, waiting) => format!("{working} at work, {waiting} waiting. A reel takes {}.", about(typical)),
    };
    if own.is_empty() {
        text.push_str("\nYou have no reel waiting.");
    }
    for (code, state) in own {
        let _ = write!(text, "\n{}", reel_state(code, state));
    }
    text
}

/// What is left of work under way, as an expectation: `25-30 s`.
pub fn between(span: Duration) -> String {
    let seconds = eta::rounded(span).as_secs();
    match seconds {
        0..=5 => "a few seconds".into(),
        6..=60 => format!("{}-{seconds} s", seconds - 5),
        _ => about(span),
    }
}

/// A time that has gone by.
fn short(span: Duration) -> String {
    match span.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

pub(super) fn seconds_up(span: Duration) -> u64 {
    span.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)
}
