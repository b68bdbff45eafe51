//! The edges: adapters that only translate. Owns which of them a configuration connects, and why not the others.

pub mod console;
pub mod discord;
pub mod telegram;

use std::time::Duration;

use crate::clock::Clock;
use crate::config::Config;

/// The connected platforms.
#[derive(Clone, Default)]
pub struct Platforms {
    pub discord: Option<discord::Discord>,
    pub telegram: Option<telegram::Telegram>,
    pub console: Option<console::Console>,
}

impl Platforms {
    /// Those that have a token.
    ///
    /// # Errors
    /// A sentence, when a token cannot be one.
    pub fn from_config(config: &Config, clock: &Clock) -> Result<Platforms, String> {
        let discord = match &config.discord.token {
            Some(token) => Some(
                discord::Discord::new(
                    discord::Settings {
                        token: token.clone(),
                        api_url: config.discord.api_url.clone(),
                        message_content: config.discord.message_content,
                        guild_commands: config.discord.guild,
                    },
                    clock.clone(),
                )
                .map_err(|error| format!("DISCORD_TOKEN: {error}"))?,
            ),
            None => None,
        };
        let telegram = config.telegram.token.as_ref().map(|token| {
            telegram::Telegram::new(
                telegram::Settings {
                    token: token.clone(),
                    api_url: config.telegram.api_url.clone(),
                    poll_timeout: Duration::from_secs(50),
                    per_second: config.telegram.per_second,
                    per_chat: config.telegram.per_chat,
                },
                clock.clone(),
            )
        });
        Ok(Platforms { discord, telegram, console: None })
    }

    /// Whether anybody could talk to the bot.
    pub fn any(&self) -> bool {
        self.discord.is_some() || self.telegram.is_some() || self.console.is_some()
    }

    /// A line for each platform: on, or what to set.
    pub fn report(&self, config: &Config) -> Vec<String> {
        let discord = match &self.discord {
            Some(_) if config.discord.message_content => "Discord: on, with the Message Content Intent".to_owned(),
            Some(_) => {
                "Discord: on (direct messages, mentions, replies, commands). DISCORD_MESSAGE_CONTENT=true adds threads"
                    .to_owned()
            }
            None => "Discord: off (DISCORD_TOKEN isn't set)".to_owned(),
        };
        let telegram = match (&self.telegram, &config.telegram.webhook) {
            (Some(_), Some(_)) => "Telegram: on (webhook)".to_owned(),
            (Some(_), None) => "Telegram: on (long polling)".to_owned(),
            (None, _) => "Telegram: off (TELEGRAM_TOKEN isn't set)".to_owned(),
        };
        vec![discord, telegram]
    }
}
