//! The names under which transactions exclude each other. Owns every name; each says what it serialises.

use crate::ids::{ChatId, PersonId};

/// Serialises what changes the sums.
pub(super) const MONEY: &str = "money";

/// Serialises submissions, claims and endings.
pub(super) const QUEUE: &str = "reel queue";

/// Serialises what arrives and closes for one person in one chat.
pub(super) fn talk_lock(person: PersonId, chat: &ChatId) -> String {
    format!("talk:{person}:{chat}")
}
