//! The text form of an interaction as a [`MessageRef`] id, and the time inside a snowflake. Owns how long
//! a token lives; never sends anything. A token lets its holder speak as the bot for 15 minutes, so
//! nothing here has a `Debug` that shows it.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::ids::{ChatId, MessageRef};

/// 2015-01-01 UTC in epoch milliseconds, where snowflakes begin (Discord API reference, Snowflakes).
const DISCORD_EPOCH: i64 = 1_420_070_400_000;

/// How long a token works, a little less than the 15 minutes of the documentation: a request that leaves in
/// the last seconds would arrive too late.
const TOKEN_LIFE: Duration = Duration::from_secs(15 * 60 - 10);

/// When the thing with this snowflake was made.
pub(super) fn snowflake_time(id: u64) -> Timestamp {
    Timestamp(i64::try_from(id >> 22).unwrap_or(0) + DISCORD_EPOCH)
}

/// The smallest snowflake of this time: `after=` with it means "since then".
pub(super) fn snowflake_at(time: Timestamp) -> u64 {
    u64::try_from(time.0.saturating_sub(DISCORD_EPOCH)).unwrap_or(0) << 22
}

/// The snowflake inside a [`MessageRef`] id of any form: `123`, `i123`, `@app:123:…`.
pub(super) fn snowflake_in(id: &str) -> Option<u64> {
    match InteractionRef::parse(id) {
        Some(interaction) => Some(interaction.message.unwrap_or(interaction.interaction)),
        None => id.strip_prefix('i').unwrap_or(id).parse().ok(),
    }
}

/// An answer to an interaction that is reached by the interaction's token:
/// `@<application>:<interaction>:<e|p|f>:<token>`, and a fifth part for the id of a follow-up message that
/// only its asker sees. Without the fifth part it is the interaction's first answer (`@original`); with `f` there is none.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct InteractionRef {
    pub application: u64,
    pub interaction: u64,
    /// Only the asker sees it.
    pub ephemeral: bool,
    /// A button that was acknowledged without a message: only follow-ups answer it.
    pub unanswered: bool,
    pub token: String,
    /// A follow-up message; `None` is `@original`.
    pub message: Option<u64>,
}

impl InteractionRef {
    pub(super) fn parse(id: &str) -> Option<Self> {
        let mut parts = id.strip_prefix('@')?.split(':');
        let application = parts.next()?.parse().ok()?;
        let interaction = parts.next()?.parse().ok()?;
        let (ephemeral, unanswered) = match parts.next()? {
            "e" => (true, false),
            "p" => (false, false),
            "f" => (true, true),
            _ => return None,
        };
        let token = parts.next().filter(|token| !token.is_empty())?.to_owned();
        let message = parts.next().map(str::parse).transpose().ok()?;
        parts.next().is_none().then_some(Self { application, interaction, ephemeral, unanswered, token, message })
    }

    pub(super) fn reference(&self, chat: ChatId) -> MessageRef {
        let seen = match (self.unanswered, self.ephemeral) {
            (true, _) => 'f',
            (false, true) => 'e',
            (false, false) => 'p',
        };
        let mut id = format!("@{}:{}:{seen}:{}", self.application, self.interaction, self.token);
        if let Some(message) = self.message {
            id.push_str(&format!(":{message}"));
        }
        MessageRef::new(chat, id)
    }

    /// Whether the token still works at `now` of Discord's own time. Where that is not known, Discord is to say so.
    pub(super) fn alive(&self, now: Option<Timestamp>) -> bool {
        now.is_none_or(|now| now.since(snowflake_time(self.interaction)) < TOKEN_LIFE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Platform;

    #[test]
    fn the_text_form_round_trips() {
        let chat = ChatId::new(Platform::Discord, "7");
        for id in ["@1:2:e:tok_-=en", "@1:2:p:t", "@1:2:e:t:99", "@1:2:f:t", "@1:2:f:t:99"] {
            let parsed = InteractionRef::parse(id).unwrap();
            assert_eq!(parsed.reference(chat.clone()).id, id);
        }
        for bad in ["1", "i1", "@1:2:x:t", "@1:2:e:", "@1:2:e", "@a:2:e:t", "@1:2:e:t:x", "@1:2:e:t:9:9"] {
            assert!(InteractionRef::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_snowflake_tells_its_time() {
        // The example of the documentation: 175928847299117063 is 2016-04-30T11:18:25.796Z.
        assert_eq!(snowflake_time(175_928_847_299_117_063), Timestamp(1_462_015_105_796));
        assert_eq!(snowflake_time(snowflake_at(Timestamp(1_462_015_105_796))), Timestamp(1_462_015_105_796));
        assert_eq!(snowflake_at(Timestamp(0)), 0);
        for (id, found) in
            [("5", Some(5)), ("i5", Some(5)), ("@1:5:e:t", Some(5)), ("@1:5:e:t:6", Some(6)), ("x", None)]
        {
            assert_eq!(snowflake_in(id), found, "{id}");
        }
    }

    #[test]
    fn a_token_lives_a_quarter_of_an_hour() {
        let made = Timestamp(1_800_000_000_000);
        let id = format!("@1:{}:p:t", snowflake_at(made));
        let interaction = InteractionRef::parse(&id).unwrap();
        assert!(interaction.alive(Some(made + Duration::from_secs(14 * 60))));
        assert!(!interaction.alive(Some(made + Duration::from_secs(15 * 60))));
        assert!(interaction.alive(None));
    }
}
