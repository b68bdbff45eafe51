//! What people say through the hand, in direct messages and in the one group on each platform. Owns how it is put on each
//! platform; what is said is the caller's.

use std::time::Instant;

use super::{Hand, On, Said, Say, SayKind, lock};
use crate::telegram::TelegramSandbox;

/// The group on Telegram that everybody is in.
const TELEGRAM_GROUP: i64 = -1_001_000_000_001;

impl Hand {
    pub fn say(&self, said: &Say) -> Said {
        let at = self.at(Instant::now());
        let (chat, message) = match said.on {
            On::Telegram => self.say_on_telegram(said),
            On::Discord => self.say_on_discord(said),
        };
        Said { chat, message, at }
    }

    fn say_on_telegram(&self, said: &Say) -> (String, String) {
        let telegram = &self.0.telegram;
        let who = i64::try_from(said.who).unwrap_or(i64::MAX);
        let chat = if said.in_group { TELEGRAM_GROUP } else { who };
        let bot = TelegramSandbox::USERNAME;
        let text = match (said.kind, said.in_group) {
            (SayKind::Text, true) => format!("@{bot} {}", said.text),
            (SayKind::Command, true) => format!("/{}@{bot}", said.text),
            (SayKind::Command, false) => format!("/{}", said.text),
            (SayKind::Text | SayKind::Press, _) => said.text.clone(),
        };
        let message = match said.kind {
            _ if said.lost => "0".to_owned(),
            // One that is too old to be shown.
            SayKind::Press => telegram.press(chat, who, 1, &text),
            SayKind::Text | SayKind::Command => {
                let message = telegram.say(chat, who, "Somebody", &text);
                if said.twice {
                    telegram.redeliver(chat, message);
                }
                message.to_string()
            }
        };
        (chat.to_string(), message)
    }

    fn say_on_discord(&self, said: &Say) -> (String, String) {
        let discord = &self.0.discord;
        let chat = match said.in_group {
            true => lock(&self.0.group).get_or_insert_with(|| discord.guild_channel("everybody")).clone(),
            false => self.channel(said.who),
        };
        let (who, text) = (said.who.to_string(), said.text.as_str());
        let none = || "0".to_owned();
        let message = match said.kind {
            _ if said.lost => none(),
            // What is not there yet cannot be used: nothing is sent then.
            SayKind::Command => discord.slash(&chat, &who, "Somebody", text, &[]).unwrap_or_else(|_| none()),
            SayKind::Press => discord.press_late(&chat, &who, "Somebody", text).unwrap_or_else(|_| none()),
            SayKind::Text => {
                let text = if said.in_group { format!("<@{}> {text}", discord.bot().0) } else { text.to_owned() };
                let message = discord.say(&chat, &who, "Somebody", &text);
                if said.twice {
                    discord.redeliver(&message);
                }
                message
            }
        };
        (chat, message)
    }
}
