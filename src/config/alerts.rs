//! The chats that alerts go to, as they are configured. The thresholds are checked where the rules are.

use super::reader::Reader;
use crate::ids::{ChatId, Platform};

/// Who is told of trouble, and from when on it is trouble.
#[derive(Clone, Debug, Default)]
pub struct AlertsConfig {
    pub chats: Vec<ChatId>,
    /// `rule=number`, separated by commas.
    pub thresholds: String,
}

impl Reader<'_> {
    pub(super) fn alerts(&mut self, chats: &'static str, thresholds: &'static str) -> AlertsConfig {
        let mut known: Vec<ChatId> = Vec::new();
        for text in self.list(chats) {
            match text.parse::<ChatId>() {
                Ok(chat) if is_chat(&chat) && !known.contains(&chat) => known.push(chat),
                Ok(chat) if known.contains(&chat) => {}
                _ => self.fault(
                    chats,
                    format!("“{}” isn't a chat", super::reader::shorten(&text)),
                    "Give telegram:chat, telegram:chat/topic or discord:channel as numbers, separated by commas",
                ),
            }
        }
        AlertsConfig { chats: known, thresholds: self.text(thresholds) }
    }
}

fn is_chat(chat: &ChatId) -> bool {
    let number = |text: &str| text.parse::<i64>().is_ok_and(|number| number != 0);
    match chat.platform {
        Platform::Discord => chat.key.parse::<u64>().is_ok_and(|number| number != 0),
        Platform::Telegram => match chat.key.split_once('/') {
            Some((group, topic)) => number(group) && number(topic),
            None => number(&chat.key),
        },
        Platform::Console => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Environment};

    fn read(chats: &str) -> (Vec<String>, Vec<String>) {
        let environment: Environment = [("ALERT_CHAT".to_owned(), chats.to_owned())].into_iter().collect();
        let (config, faults) = Config::read(&environment);
        let faults = faults.into_iter().filter(|fault| fault.name == "ALERT_CHAT").map(|fault| fault.problem);
        (config.alerts.chats.iter().map(ToString::to_string).collect(), faults.collect())
    }

    #[test]
    fn chats_are_read() {
        assert_eq!(read(""), (vec![], vec![]));
        let all = "telegram:42, discord:80351110224678912,telegram:-100123/7,telegram:42";
        let chats = ["telegram:42", "discord:80351110224678912", "telegram:-100123/7"].map(str::to_owned);
        assert_eq!(read(all), (chats.into(), vec![]));
        for wrong in ["42", "console:Ana", "telegram:ana", "telegram:0", "discord:-5", "discord:1/2", "telegram:1/x"] {
            assert_eq!(read(wrong), (vec![], vec![format!("“{wrong}” isn't a chat")]), "{wrong}");
        }
    }
}
