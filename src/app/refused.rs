//! What a platform refuses for good: the operator must change a variable, so it counts as a wrong configuration.

use crate::platforms::discord::RunEnded;

/// A platform that does not let the bot in. Its text names the variable and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {problem}")]
pub struct Refused {
    /// The variable.
    pub name: &'static str,
    problem: String,
}

impl Refused {
    /// Telegram refuses the token.
    pub fn telegram() -> Self {
        let problem = "Telegram refuses the token. Copy it again from @BotFather".to_owned();
        Self { name: "TELEGRAM_TOKEN", problem }
    }

    /// Discord refuses the token or the intents.
    pub fn discord(ended: RunEnded) -> Self {
        let name = match ended {
            RunEnded::TokenRefused => "DISCORD_TOKEN",
            RunEnded::IntentsInvalid | RunEnded::IntentsDisallowed => "DISCORD_MESSAGE_CONTENT",
        };
        Self { name, problem: ended.to_string() }
    }
}
