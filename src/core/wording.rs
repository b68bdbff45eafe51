//! Every sentence a person sees, from typed outcomes: matches without `_`, so that a new outcome does not compile until it has
//! its sentence. The sentences themselves are in `locales/`, the coach's own words are the model's. Pure.

mod access;
pub mod alerts;
mod capacity;
mod demand;
mod failure;
mod format;
pub mod marks;
pub mod menu;
mod money;
mod queue;
mod reels;
pub mod usage;

use std::time::Duration;

use super::command::COMMANDS;
use super::text::escape;
use crate::clock::Timestamp;
use crate::locale::fl;

pub use self::access::{
    audit, block_removed, block_set, blocked, budget_only_here, budget_only_lower, cancelled_by_block, cannot_block,
    greeting, invitation, invite_revoked, invites, limit_set, limits, my_limits, nearly_used, no_longer_yours,
    not_for_managers, pause_set, paused, reel_cancelled, refused, resumed, unclear_audit, unclear_invitation,
    unclear_invites, unclear_limits, unclear_person, who_is_that,
};
pub use self::capacity::{also_loaded, basis, capacity, change, effect, part, wait_of};
pub use self::demand::{crowded, from_memory, in_demand, not_yours_to_ask_again, too_fast, try_again, try_again_gone};
pub use self::failure::{broke_off, failure, internal_failure, length_limit, maybe_repeated};
pub use self::format::{about, clock_time, elapsed, grouped, load, measured, usd};
pub use self::money::{budget_set, budgets, me, over_budget, sparing, unclear_budget};
pub use self::queue::{
    Hold, LaneLine, LaneWork, LastFailure, ReelState, board, cancelled, denied, draining, fresh_is_for_admins, lanes,
    lanes_set, left_out, not_waiting, not_yours_to_cancel, phase, queue, submission_note, unclear_queue_wish,
};
pub use self::reels::{
    failure_in_short, failure_of, known_failure, no_link, reel_failure, share_unresolved, transcript, unsupported,
};

/// A message of files alone.
pub fn only_attachments() -> String {
    fl!("chat-attachment-only")
}

/// Beside an answer to words that came with files.
pub fn files_beside(files: u32) -> String {
    fl!("chat-file-beside", count = files)
}

/// A message without words.
pub fn nothing_said() -> String {
    fl!("chat-here")
}

/// What the bot can do. `interval` is the time between two new reels of one person.
pub fn help(is_admin: bool, interval: Duration) -> String {
    format!("{}\n\n{}", fl!("help"), commands(is_admin, interval))
}

/// The commands, one a line, and how often a reel may be sent.
fn commands(is_admin: bool, interval: Duration) -> String {
    let lines = |is_for_admins: bool| {
        COMMANDS.iter().filter(move |entry| entry.admin == is_for_admins).map(|entry| {
            let argument = if entry.argument.is_empty() { String::new() } else { format!(" <{}>", entry.argument) };
            fl!("help-command", usage = format!("{}{argument}", entry.name), meaning = (entry.meaning)())
        })
    };
    let mut text: Vec<String> = lines(false).collect();
    if is_admin {
        text.push(format!("\n{}", fl!("help-admin")));
        text.extend(lines(true));
    }
    text.push(match interval {
        Duration::ZERO => format!("\n{}", fl!("help-no-spacing")),
        interval => format!("\n{}", fl!("help-spacing", interval = format::exactly(interval))),
    });
    text.join("\n")
}

/// A command that could not be taken in.
pub fn not_stored() -> String {
    fl!("error-not-saved")
}

/// A message that could not be stored yet, and will be.
pub fn late() -> String {
    fl!("error-late")
}

/// A command in a form that is not known (an old menu).
pub fn outdated_command() -> String {
    fl!("error-outdated-command")
}

pub fn unknown_command(name: &str) -> String {
    fl!("unknown-command", name = name)
}

/// A conversation was set aside, if there was one.
pub fn new_conversation(had_one: bool) -> String {
    if had_one { fl!("memory-new") } else { fl!("memory-new-already") }
}

/// What is remembered of a conversation: a summary, and the last `lines` messages.
pub fn history(summary: &str, lines: usize, since: Timestamp) -> String {
    if summary.is_empty() && lines == 0 {
        return fl!("memory-empty");
    }
    let mut text = fl!("memory-lines", date = format::date_and_time(since), count = lines);
    if !summary.is_empty() {
        text.push_str(&format!(" {}\n\n> {}\n", fl!("memory-summary"), quoted(summary)));
    }
    format!("{text}\n{}", fl!("memory-reset"))
}

/// The lines of a quote: words that a model wrote about a person's, without anything live in them.
fn quoted(text: &str) -> String {
    text.lines().map(escape).collect::<Vec<_>>().join("\n> ")
}

pub fn not_an_admin() -> String {
    fl!("admin-only")
}

/// Figures that are not for everybody in the chat.
pub fn ask_in_private() -> String {
    fl!("ask-in-private")
}

#[cfg(test)]
mod tests;
