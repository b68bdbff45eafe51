//! Who may use the bot, as it is configured: the ways in, and the lists. Owns how a list is written; who gets in is
//! decided in the core.

use std::collections::BTreeSet;

use super::reader::Reader;

/// Who may use the bot on a platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessMode {
    /// Everybody who is not blocked.
    Open,
    /// The listed, and who comes with an invitation.
    Invite,
    /// The listed alone.
    List,
}

/// The configured rules of access.
#[derive(Clone, Debug)]
pub struct AccessConfig {
    pub discord: AccessMode,
    pub telegram: AccessMode,
    pub allowed: AccessLists,
    pub blocked: AccessLists,
}

/// Who and what is listed; each entry as `platform:id`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessLists {
    pub guilds: BTreeSet<String>,
    /// Discord channels (their threads among them) and Telegram groups.
    pub channels: BTreeSet<String>,
    pub roles: BTreeSet<String>,
    pub people: BTreeSet<String>,
}

impl Reader<'_> {
    pub(super) fn access(&mut self, name: &'static str) -> AccessMode {
        match self.word(name, &["list", "invite", "open"]) {
            "open" => AccessMode::Open,
            "invite" => AccessMode::Invite,
            _ => AccessMode::List,
        }
    }

    /// Ids of Discord, with or without its name before them.
    pub(super) fn discord_ids(&mut self, name: &'static str) -> BTreeSet<String> {
        let mut ids = BTreeSet::new();
        for text in self.list(name) {
            let id = text.strip_prefix("discord:").unwrap_or(&text);
            if id.is_empty() || !id.bytes().all(|b| b.is_ascii_digit()) {
                self.fault(name, "one entry isn't a Discord ID", "Give IDs as numbers, separated by commas. In Discord: Settings, Advanced, Developer Mode, then Copy ID");
                continue;
            }
            ids.insert(format!("discord:{id}"));
        }
        ids
    }

    /// `platform:id` of Discord or Telegram.
    pub(super) fn platform_ids(&mut self, name: &'static str) -> BTreeSet<String> {
        let mut ids = BTreeSet::new();
        for text in self.list(name) {
            let is_number = |id: &str| id.strip_prefix('-').unwrap_or(id).bytes().all(|b| b.is_ascii_digit());
            match text.split_once(':') {
                Some(("discord" | "telegram", id)) if !id.trim_start_matches('-').is_empty() && is_number(id) => {
                    ids.insert(text);
                }
                _ => self.fault(
                    name,
                    "one entry can't be read",
                    "Give platform:id, such as discord:80351110224678912,telegram:-1001234",
                ),
            }
        }
        ids
    }
}
