//! Every sentence about waiting for the model, and about answers that were given before. Pure, like its parent.

use std::time::Duration;

use super::format::{about, moment, note};
use crate::clock::Timestamp;
use crate::core::chat::{Body, Button};
use crate::ids::TurnId;
use crate::locale::fl;

/// In place of an answer whose turn has not come.
pub fn in_demand(left: Duration) -> String {
    note(&fl!("chat-in-demand", eta = about(left)))
}

/// Too many are waiting, or the service takes nothing for hours.
pub fn crowded(again_in: Duration, now: Timestamp) -> String {
    if again_in >= DAY {
        daily_quota(now + again_in)
    } else if again_in >= HOURS {
        overloaded_until(now + again_in)
    } else {
        fl!("chat-crowded", wait = about(again_in))
    }
}

/// Somebody sends more than they may; said once.
pub fn too_fast(again_in: Duration) -> String {
    fl!("slow-down", wait = about(again_in))
}

/// From here on the time is told at which a pause ends, not how long it is.
pub(super) const HOURS: Duration = Duration::from_secs(3600);

/// Only of a day's quota does the service ask for such a pause.
pub(super) const DAY: Duration = Duration::from_secs(12 * 3600);

/// The service takes nothing for hours.
pub(super) fn overloaded_until(until: Timestamp) -> String {
    fl!("error-busy-until", until = moment(until))
}

/// The service takes nothing until its next day.
pub(super) fn daily_quota(until: Timestamp) -> String {
    fl!("error-daily-quota", until = moment(until))
}

/// An answer that was given before, marked, with a button that asks once more what this turn asked.
pub fn from_memory(answer: &str, turn: TurnId) -> Body {
    Body {
        text: format!("{answer}\n\n{}", note(&fl!("chat-from-memory"))),
        buttons: vec![Button { label: fl!("button-fresh"), command: again(turn) }],
        ..Body::default()
    }
}

/// Under an apology: asks once more what this turn asked.
pub fn try_again(turn: TurnId) -> Button {
    Button { label: fl!("button-try-again"), command: again(turn) }
}

fn again(turn: TurnId) -> String {
    format!("/again {turn}")
}

/// The question that is to be asked once more is not kept any more.
pub fn try_again_gone() -> String {
    fl!("try-again-gone")
}

/// That button, pressed by somebody else.
pub fn not_yours_to_ask_again() -> String {
    fl!("try-again-not-yours")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences() {
        let turn: TurnId = "0192f5e2b3c47d5e8f901234567890ab".parse().unwrap();
        let body = from_memory("Begin with a question.", turn);
        let button = try_again(turn);
        assert!(body.buttons[0].command.len() <= 64, "Telegram takes no more");
        let said = [
            in_demand(Duration::from_millis(11_700)),
            in_demand(Duration::from_secs(90)),
            crowded(Duration::from_secs(150), Timestamp(1_795_500_000_000)),
            too_fast(Duration::from_secs(43)),
            format!("{} [{}: {}]", body.text, body.buttons[0].label, body.buttons[0].command),
            format!("[{}: {}]", button.label, button.command),
            crowded(Duration::from_secs(3_600), Timestamp(1_795_500_000_000)),
            crowded(Duration::from_secs(86_400), Timestamp(1_795_500_000_000)),
            try_again_gone(),
            not_yours_to_ask_again(),
        ];
        insta::assert_snapshot!(said.join("\n---\n"));
    }
}
