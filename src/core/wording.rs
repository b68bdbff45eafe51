//! Every sentence a person sees, from typed outcomes. Pure; matches without `_`, so that a new outcome does not
//! compile until it has its sentence. The coach's own words are the model's.

mod access;
pub mod alerts;
mod capacity;
mod demand;
mod line;
pub mod marks;
mod money;
pub mod usage;

use std::fmt::Write;
use std::time::Duration;

use super::command::COMMANDS;
use super::money::SPARING;
use super::reels::KnownFailure;
use super::reels::link::Unsupported;
use super::reels::pipeline::{Reel, ReelFailure};
use super::text::escape;
use crate::clock::Timestamp;
use crate::ids::Shortcode;
use crate::telemetry::Reference;
use crate::upstream::{Budget, BudgetOf, Cause};

pub use self::access::{
    admins_in_private, audit, block_removed, block_set, blocked, budget_only_here, budget_only_lower, cannot_block,
    greeting, invitation, invite_revoked, invites, limit_set, limits, my_limits, nearly_used, no_longer_yours,
    not_for_managers, pause_set, paused, reel_cancelled, refused, resumed, taken_off_the_line, unclear_audit,
    unclear_invitation, unclear_invites, unclear_limits, unclear_person, who_is_that,
};
pub use self::capacity::{also_loaded, basis, capacity, change, effect, grouped, part, percent, usd, wait, wait_of};
use self::demand::{DAY, HOURS, daily_quota, overloaded};
pub use self::demand::{crowded, from_memory, in_demand, not_yours_to_ask_again, too_fast, try_again, try_again_gone};
pub use self::line::{
    Hold, LaneLine, LaneWork, LastFailure, ReelState, board, cancelled, denied, draining, fresh_is_for_admins, lanes,
    lanes_set, left_out, not_waiting, not_yours_to_cancel, queue, submission_note, unclear_queue_wish,
};
pub use self::money::{budget_set, budgets, me, sparing, unclear_budget};

/// The sentence for a failure that is remembered as JSON, with its reference if it has one.
pub fn known_failure(content: &str) -> String {
    let Ok(KnownFailure { failure, reference }) = serde_json::from_str(content) else {
        // Written by a newer program: still a clear sentence.
        return "I could not read this reel. Please try again later.".to_owned();
    };
    match reference {
        Some(reference) => format!("{} ({})", reel_failure(&failure), marks::reference(reference)),
        None => reel_failure(&failure),
    }
}

/// The sentence for a failure of one reel among several of a message, which says of which.
pub fn failure_of(code: &Shortcode, content: &str) -> String {
    format!("`{code}`: {}", known_failure(content))
}

/// Why a reel failed, in a few words behind its name; see [`known_failure`].
pub fn failure_in_short(content: &str) -> &'static str {
    let Ok(KnownFailure { failure, .. }) = serde_json::from_str(content) else {
        return "I couldn't watch it. Please try again later.";
    };
    match failure {
        ReelFailure::Unavailable => "private, deleted or restricted.",
        ReelFailure::NotVideo => "no video in this post.",
        ReelFailure::TooLong { .. } => "longer than I can watch.",
        ReelFailure::TooLarge => "file too big.",
        ReelFailure::Blocked => "the reel service won't describe it.",
        ReelFailure::Unreadable => "I couldn't make sense of it.",
        ReelFailure::NoVideoAddress => "Instagram didn't give me a video.",
        ReelFailure::ForeignAddress => "stored somewhere I'm not allowed to download from.",
        ReelFailure::Download => "I couldn't download it. Send it again in a few minutes.",
        ReelFailure::Language => "I can't process its language yet.",
        ReelFailure::Timeout => "it took too long. Send it again in a few minutes.",
        ReelFailure::DayQuota { .. } => "the video service's daily limit is used up.",
        ReelFailure::UpstreamBusy => "the reel services are overloaded. Send it again in a few minutes.",
        ReelFailure::OutOfCredit => "the reel service is out of credit.",
        ReelFailure::Misconfigured => "the reel service isn't set up correctly.",
        ReelFailure::NoRoom => "I'm out of disk space.",
        ReelFailure::Cancelled => "cancelled.",
        ReelFailure::OverBudget(_) => "not enough budget left for it.",
    }
}

pub fn reel_failure(failure: &ReelFailure) -> String {
    match failure {
        ReelFailure::Unavailable => {
            "I cannot see this reel: it is deleted, private or restricted. If it is yours, make the account public or paste its text here.".into()
        }
        ReelFailure::NotVideo => "This post has no video in it, so there is nothing to transcribe. Paste a reel link instead.".into(),
        ReelFailure::TooLong { seconds: 0 } => "This video is longer than I watch. Try a shorter one.".into(),
        ReelFailure::TooLong { seconds } => {
            let length = clock_time(Duration::from_secs(u64::from(*seconds)));
            format!("This video is {length} long, which is more than I watch. Try a shorter one.")
        }
        ReelFailure::TooLarge => "This video's file is larger than I can take. Try a shorter one.".into(),
        ReelFailure::Blocked => "The video service refuses to describe this video, so I cannot coach on it.".into(),
        ReelFailure::Unreadable => "The video service could not make sense of this video. Try another one.".into(),
        ReelFailure::UpstreamBusy => "The reel services are overloaded or down right now. Please send the link again in a few minutes.".into(),
        ReelFailure::Timeout => "This reel took too long, so I stopped. Please send it again in a few minutes.".into(),
        ReelFailure::Download => "I couldn't download this video. Please send the link again in a few minutes.".into(),
        ReelFailure::NoVideoAddress => "Instagram didn't give me a video for this reel. Try another one.".into(),
        ReelFailure::ForeignAddress => "This video is stored somewhere I'm not allowed to download from. Try another one.".into(),
        ReelFailure::Language => "I can't process the language of this video yet. Tell me what's said and we'll work from that.".into(),
        ReelFailure::DayQuota { resets_at } => {
            let resets = moment(*resets_at);
            format!("I've watched as many reels as the video service allows in a day. Please send the link again after {resets}.")
        }
        ReelFailure::OutOfCredit => "I cannot read reels right now: the credit with the reel service is used up. Only the operator can mend that.".into(),
        ReelFailure::Misconfigured => "I cannot read reels right now: the reel service is not set up correctly. Only the operator can mend that.".into(),
        ReelFailure::NoRoom => "I couldn't watch this reel: I'm out of disk space. The bot's owner needs to fix this.".into(),
        ReelFailure::Cancelled => "This reel was cancelled.".into(),
        // Everybody who waits is told, not only who asked first.
        ReelFailure::OverBudget(Budget { whose: BudgetOf::Person | BudgetOf::Chat | BudgetOf::Guild, percent, .. }) => {
            let of = marks::OF_ANOTHER;
            let why = match i64::from(*percent) >= SPARING {
                true => format!("{of} is used up"),
                false => format!("what is left of {of} does not cover it"),
            };
            format!("I could not read this reel: {why}. Paste it again to have it read on yours; `/me` says what you have left.")
        }
        ReelFailure::OverBudget(budget) => format!("I could not read this reel. {}", over_budget(budget, "it")),
    }
}

pub fn unsupported(kind: Unsupported) -> String {
    let what = match kind {
        Unsupported::Incomplete => {
            return "That link looks incomplete or mistyped. Copy it again: tap Share → Copy link on the reel.".into();
        }
        Unsupported::Story => "Stories vanish and need a login, so I cannot read them.",
        Unsupported::Highlight => "Highlights need a login, so I cannot read them.",
        Unsupported::Profile => "That is a profile, not a reel.",
        Unsupported::Audio => "That is an audio page, not a reel.",
        Unsupported::Explore => "That is a search page, not a reel.",
        Unsupported::Other => "I cannot read that Instagram page.",
    };
    format!("{what} Open the reel itself, tap Share → Copy link, and paste it here (instagram.com/reel/…).")
}

/// Why a share link led nowhere.
pub fn share_unresolved() -> String {
    "Instagram does not tell me where this share link leads. Please open it and copy the address of the reel itself (instagram.com/reel/…).".into()
}

pub fn no_link() -> String {
    "I see no reel link in that. Paste one like https://www.instagram.com/reel/DLlGZiCOBQ0/".into()
}

pub fn only_attachments() -> String {
    "I cannot open files yet. Paste an Instagram reel link, or tell me in words what you are working on.".into()
}

/// Beside an answer to words that came with files.
pub fn files_beside(files: u32) -> String {
    let what = if files == 1 { "attachment".to_owned() } else { format!("{files} attachments") };
    format!("I can't open the {what} you sent, so this is based on your words alone.")
}

pub fn nothing_said() -> String {
    "I am here. Ask me about your content, or paste a reel link.".into()
}

/// What the bot can do. `interval` is the time between two new reels of one person.
pub fn help(is_admin: bool, interval: Duration) -> String {
    let mut text = String::from(
        "I coach creators. Talk to me about your hooks, scripts and ideas, or paste an Instagram reel link: I watch it, transcribe it and coach you on hook, structure, pacing, call to action and caption.\n\n",
    );
    for entry in COMMANDS.iter().filter(|entry| is_admin || !entry.admin) {
        let argument = if entry.argument.is_empty() { String::new() } else { format!(" <{}>", entry.argument) };
        let _ = writeln!(text, "`/{}{argument}`: {}", entry.name, entry.meaning);
    }
    let _ = write!(
        text,
        "\nOne new reel per person every {} s. Reels that somebody had me read before are free and come at once.",
        interval.as_secs()
    );
    text
}

/// A command that could not be taken in.
pub fn not_stored() -> &'static str {
    "I could not take this in just now, so nothing was started. Please try again in a minute."
}

/// A message that could not be stored yet, and will be.
pub fn late() -> &'static str {
    "I cannot get at my notes just now, so this takes longer. Your message is not lost: the answer follows."
}

/// A command in a form that is not known (an old menu).
pub fn outdated_command() -> &'static str {
    "This command has changed. Please restart Discord and try again."
}

pub fn unknown_command(name: &str) -> String {
    format!("I do not know `/{name}`. `/help` lists what I can do.")
}

pub fn new_conversation(had_one: bool) -> String {
    if had_one {
        "A fresh start: I have put our conversation aside. What are you working on?".into()
    } else {
        "We have a fresh start already. What are you working on?".into()
    }
}

pub fn history(summary: &str, lines: usize, since: Timestamp) -> String {
    if summary.is_empty() && lines == 0 {
        return "I remember nothing yet: this conversation is new.".into();
    }
    let since = since.utc().map(|at| at.format("%-d %B %Y, %H:%M UTC").to_string()).unwrap_or_default();
    let mut text = format!("This conversation began on {since}. I remember its last {lines} messages word for word");
    if summary.is_empty() {
        text.push_str(".\n");
    } else {
        let _ = write!(text, ", and of what came before:\n\n> {}\n", quoted(summary));
    }
    text.push_str("\n`/new` begins afresh.");
    text
}

/// The lines of a quote: words that a model wrote about a person's, without anything live in them.
fn quoted(text: &str) -> String {
    text.lines().map(escape).collect::<Vec<_>>().join("\n> ")
}

pub fn not_an_admin() -> String {
    "Only the bot's admins can see that.".into()
}

/// Figures that are not for everybody in the chat.
pub fn ask_in_private() -> String {
    "Ask me that in a direct message: here everybody would see it.".into()
}

/// What is said in a reel, before the coaching: its lines with their times, shortened if it is long.
pub fn transcript(reel: &Reel) -> String {
    if reel.transcript.is_empty() && !reel.notes.is_empty() {
        // A workflow's free text is for the coach.
        return String::new();
    }
    let mut text = format!("**Transcript** of `{}`", reel.shortcode);
    if !reel.owner.is_empty() {
        let _ = write!(text, " by {}", escape(&reel.owner));
    }
    if reel.transcript.is_empty() {
        text.push_str("\n> (nobody speaks)");
        return text;
    }
    let mut shown = 0;
    for line in &reel.transcript {
        let at = clock_time(Duration::try_from_secs_f64(reel.within(line.at_s)).unwrap_or_default());
        shown += line.text.chars().count() + 8;
        if shown > TRANSCRIPT_SHOWN {
            text.push_str("\n> …");
            break;
        }
        let _ = write!(text, "\n> {at} {}", escape(&line.text));
    }
    text
}

/// Characters of a transcript that are shown, so that it fits into one message with the coaching's beginning.
const TRANSCRIPT_SHOWN: usize = 700;

/// A turn that could not be answered. What it says of trying again is true: of a pause that the service asks for it tells
/// the length, and what only the owner can mend it says so.
pub fn failure(cause: &Cause, reference: &Reference, now: Timestamp) -> String {
    let what = match cause {
        Cause::RateLimited { retry_after: Some(pause) } if *pause >= DAY => daily_quota(now + *pause),
        Cause::RateLimited { retry_after } | Cause::Unavailable { retry_after } => {
            let when = match *retry_after {
                None => "in a minute".to_owned(),
                Some(pause) if pause < HOURS => format!("in {}", about(pause)),
                Some(pause) => format!("after {}", moment(now + pause)),
            };
            overloaded(&when)
        }
        Cause::DayQuota { resets_at } => daily_quota(*resets_at),
        Cause::TimedOut | Cause::Cut => "The AI service didn't finish its answer. Please try again.".into(),
        Cause::Malformed | Cause::Unusable | Cause::Unreadable | Cause::Language => {
            "The AI service sent back something I couldn't read. Please try again.".into()
        }
        Cause::OutOfCredit => {
            "I can't answer right now: the AI service is out of credit. The bot's owner needs to fix this.".into()
        }
        Cause::Unauthorized | Cause::NotFound | Cause::BadRequest => {
            "I can't answer right now: the AI service isn't set up correctly. The bot's owner needs to fix this.".into()
        }
        Cause::Blocked | Cause::Filtered => "The AI service won't answer that one. Try putting it another way.".into(),
        Cause::InputTooLong => {
            "This conversation has grown too long for me. Start fresh with `/new`, or send a shorter message.".into()
        }
        Cause::TooLong => "That needs a longer answer than I can give at once. Ask for one part of it.".into(),
        Cause::Cancelled => "I stopped before I could answer. Please ask again.".into(),
        Cause::NoRoom => "I'm out of disk space. The bot's owner needs to fix this.".into(),
        Cause::Crowded { again_in } => return crowded(*again_in, now),
        Cause::OverBudget(budget) => return over_budget(budget, "an answer to this"),
    };
    format!("{what} ({})", marks::reference(reference))
}

/// A budget does not cover something: near its end it is used up to people, but not before.
pub fn over_budget(budget: &Budget, what: &str) -> String {
    let why = match i64::from(budget.percent) < SPARING {
        true => format!("{}{} does not cover {what}", marks::LEFT, whose(budget)),
        false => marks::used_up(budget.whose).to_owned(),
    };
    let (resets, still) = (filled_again(budget), marks::STILL);
    format!("{why}. It is filled again on {resets}. {still}: `/help`, and reels that were read before.")
}

fn whose(budget: &Budget) -> &'static str {
    marks::budget_of(budget.whose)
}

fn filled_again(budget: &Budget) -> String {
    moment(budget.resets_at)
}

/// `25 November, 06:00 UTC`.
fn moment(at: Timestamp) -> String {
    at.utc().map(|at| at.format("%-d %B, %H:%M UTC").to_string()).unwrap_or_default()
}

/// A failure of our own.
pub fn internal_failure(reference: &Reference) -> String {
    format!(
        "Something went wrong on my side. Please try again; if it stays, tell the operator the {}.",
        marks::reference(reference)
    )
}

/// Behind an answer that broke off: whether it can be continued.
pub fn broke_off(cause: &Cause, reference: &Reference, now: Timestamp) -> String {
    let pause = cause.retry_after().unwrap_or_default();
    match cause {
        Cause::Filtered | Cause::Blocked => {
            let reference = marks::reference(reference);
            format!("*The AI service stopped my answer here ({reference}). Try putting it another way.*")
        }
        Cause::Crowded { .. } | Cause::OverBudget(_) => failure(cause, reference, now),
        _ if cause.is_transient() && pause < HOURS => {
            format!("*My answer broke off here ({}). Say “continue” and I'll pick it up.*", marks::reference(reference))
        }
        _ => format!("*My answer broke off here.* {}", failure(cause, reference, now)),
    }
}

/// Behind an answer that reached the output limit.
pub fn length_limit() -> String {
    "*I stopped here because the answer grew too long. Ask me to go on.*".into()
}

/// Behind an answer that may be on screen twice.
pub fn maybe_repeated() -> String {
    format!("*({}: I was interrupted while sending.)*", marks::TWICE)
}

/// About so long, coarse enough not to change at every look.
pub fn about(span: Duration) -> String {
    let seconds = super::reels::eta::rounded(span).as_secs();
    match seconds {
        0..=5 => "a few seconds".into(),
        6..60 => format!("about {seconds} s"),
        _ if seconds.is_multiple_of(60) => format!("about {} min", seconds / 60),
        _ if seconds < 600 => format!("about {} min {} s", seconds / 60, seconds % 60),
        _ => format!("about {} min", seconds.div_ceil(60)),
    }
}

/// `1:05`, `1:02:05`.
pub fn clock_time(span: Duration) -> String {
    let seconds = span.as_secs();
    if seconds >= 3600 {
        format!("{}:{:02}:{:02}", seconds / 3600, seconds % 3600 / 60, seconds % 60)
    } else {
        format!("{}:{:02}", seconds / 60, seconds % 60)
    }
}

fn thousands(count: i64) -> String {
    match count {
        0..10_000 => count.to_string(),
        10_000..10_000_000 => format!("{}k", count / 1000),
        _ => format!("{}M", count / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::BoardId;
    use crate::store::reels::{Denied, Submitted};

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
        said.push(failure_in_short("of a newer program").to_owned());
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
        said.push(queue(
            7,
            2,
            seconds(27),
            &[(one[0].clone(), ReelState::Analysing { left: seconds(9), late: false })],
        ));
        said.push(help(true, seconds(30)));
        insta::assert_snapshot!(said.join("\n---\n"));
    }

    #[test]
    fn spans_are_coarse() {
        let said: Vec<String> = [0, 4, 7, 42, 60, 80, 185, 610, 3600].map(|s| about(seconds(s))).into();
        insta::assert_debug_snapshot!(said);
    }
}
