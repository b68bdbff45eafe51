//! Every sentence about waiting for the model, and about answers that were given before. Pure, like its parent.

use std::time::Duration;

use super::{about, marks};
use crate::core::chat::{Body, Button};

/// In place of an answer whose turn has not come.
pub fn in_demand(left: Duration) -> String {
    format!("*The coach is in great demand: your answer begins in {}.*", about(left))
}

/// Too many are waiting.
pub fn crowded(again_in: Duration) -> String {
    format!("The coach is in great demand right now. {} {}.", marks::CROWDED, about(again_in))
}

/// An answer that was given before, marked, with a button that asks anew. `key` names it.
pub fn from_memory(answer: &str, key: &str) -> Body {
    Body {
        text: format!("{answer}\n\n*Answered before, from memory.*"),
        buttons: vec![Button { label: "Fresh answer".into(), command: format!("/fresh {key}") }],
        ..Body::default()
    }
}

/// The answer that is to be made anew is not kept any more.
pub fn not_in_memory() -> String {
    "I do not remember that question any more. Please ask it again.".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences() {
        let body = from_memory("Begin with a question.", "0123456789abcdef0123456789abcdef");
        assert!(body.buttons[0].command.len() <= 64, "Telegram takes no more");
        let said = [
            in_demand(Duration::from_millis(11_700)),
            in_demand(Duration::from_secs(90)),
            crowded(Duration::from_secs(150)),
            format!("{} [{}: {}]", body.text, body.buttons[0].label, body.buttons[0].command),
            not_in_memory(),
        ];
        insta::assert_snapshot!(said.join("\n---\n"));
    }
}
