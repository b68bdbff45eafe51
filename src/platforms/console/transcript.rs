//! What has been said in the console. Owns which messages may still change and which are settled; never
//! knows how they are drawn.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::core::chat::{Button, Piece};
use crate::core::text::CURSOR;

/// One message on screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub id: String,
    /// Whose chat it stands in.
    pub person: String,
    /// Said by the person, not by the coach.
    pub own: bool,
    /// Markdown.
    pub text: String,
    pub buttons: Vec<Button>,
    /// Changed after it had been settled.
    pub edited: bool,
    pub changed_at: Timestamp,
}

impl Entry {
    /// Still being written.
    pub(super) fn is_frame(&self) -> bool {
        self.text.trim_end().ends_with(CURSOR)
    }
}

/// The messages of this run.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    /// Those that may still change, oldest first.
    live: Vec<Entry>,
    /// Those that are settled and not taken by [`Transcript::settled`] yet.
    ready: Vec<Entry>,
    /// What was said last in settled messages, so that an edit that changes something is noticed.
    past: VecDeque<Entry>,
    nonces: HashMap<String, String>,
    typing: HashMap<String, Timestamp>,
}

/// Nothing more is expected of a message without buttons after this time, or sooner if a newer one
/// stands below it.
const QUIET: Duration = Duration::from_secs(3);
const QUIET_AND_OLD: Duration = Duration::from_millis(1200);
/// The same for a message with buttons or a cursor: a waiting reel, or an answer that was never finished.
const QUIET_BOARD: Duration = Duration::from_secs(90);
/// How long "is typing" is shown.
const TYPING: Duration = Duration::from_secs(6);
/// How many settled messages can still be edited.
const REMEMBERED: usize = 500;

impl Transcript {
    /// A message of the person's own. It goes below everything that is not expected to change.
    pub(super) fn say(&mut self, id: String, person: &str, text: &str, now: Timestamp) {
        self.settle(|entry, _| !entry.is_frame() && entry.buttons.is_empty());
        self.ready.push(Entry {
            id,
            person: person.to_owned(),
            own: true,
            text: text.to_owned(),
            buttons: Vec::new(),
            edited: false,
            changed_at: now,
        });
    }

    /// A new message of the coach, or the id of the one that this nonce already made.
    pub(super) fn sent(
        &mut self,
        id: String,
        person: &str,
        piece: &Piece,
        nonce: &str,
        now: Timestamp,
    ) -> Result<(), String> {
        if let Some(known) = self.nonces.get(nonce) {
            return Err(known.clone());
        }
        self.nonces.insert(nonce.to_owned(), id.clone());
        self.typing.remove(person);
        self.live.push(Entry {
            id,
            person: person.to_owned(),
            own: false,
            text: shown(piece),
            buttons: piece.buttons.clone(),
            edited: false,
            changed_at: now,
        });
        Ok(())
    }

    /// Changes a message; `None` if there is none with this id. The entry as it is now, if it changed.
    pub(super) fn edited(&mut self, id: &str, piece: &Piece, now: Timestamp) -> Option<Option<&Entry>> {
        let text = shown(piece);
        if !self.live.iter().any(|entry| entry.id == id) {
            let at = self.past.iter().position(|entry| entry.id == id)?;
            if self.past[at].text == text && self.past[at].buttons == piece.buttons {
                return Some(None);
            }
            let mut again = self.past.remove(at)?;
            again.edited = true;
            self.live.push(again);
        }
        let entry = self.live.iter_mut().find(|entry| entry.id == id)?;
        if entry.text == text && entry.buttons == piece.buttons {
            return Some(None);
        }
        self.typing.remove(&entry.person);
        entry.text = text;
        entry.buttons = piece.buttons.clone();
        entry.changed_at = now;
        Some(Some(entry))
    }

    pub(super) fn typing(&mut self, person: &str, now: Timestamp) {
        self.typing.insert(person.to_owned(), now + TYPING);
    }

    pub(super) fn is_typing(&self, now: Timestamp) -> bool {
        self.typing.values().any(|&until| until > now)
    }

    /// The messages that may still change.
    pub(super) fn live(&self) -> &[Entry] {
        &self.live
    }

    /// The messages that have settled since the last call, in the order in which they are to stand.
    pub(super) fn settled(&mut self, now: Timestamp) -> Vec<Entry> {
        self.settle(|entry, newest| {
            let quiet = now.since(entry.changed_at);
            let open = entry.is_frame() || !entry.buttons.is_empty();
            match (open, newest) {
                (true, _) => quiet >= QUIET_BOARD,
                (false, true) => quiet >= QUIET,
                (false, false) => quiet >= QUIET_AND_OLD,
            }
        });
        std::mem::take(&mut self.ready)
    }

    /// Everything, at the end.
    pub(super) fn all(&mut self) -> Vec<Entry> {
        self.settle(|_, _| true);
        std::mem::take(&mut self.ready)
    }

    /// `done` is asked with whether the entry is the newest of those that may change.
    fn settle(&mut self, done: impl Fn(&Entry, bool) -> bool) {
        let count = self.live.len();
        for (index, entry) in std::mem::take(&mut self.live).into_iter().enumerate() {
            if !done(&entry, index + 1 == count) {
                self.live.push(entry);
                continue;
            }
            self.past.push_back(entry.clone());
            if self.past.len() > REMEMBERED {
                self.past.pop_front();
            }
            self.ready.push(entry);
        }
    }
}

/// What a terminal may be given.
fn shown(piece: &Piece) -> String {
    piece.markup.chars().filter(|&c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(text: &str) -> Piece {
        Piece { markup: text.into(), plain: text.into(), ..Piece::default() }
    }

    fn texts(entries: &[Entry]) -> Vec<&str> {
        entries.iter().map(|entry| entry.text.as_str()).collect()
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp(ms)
    }

    #[test]
    fn a_message_settles_when_nothing_more_is_expected() {
        let mut transcript = Transcript::default();
        transcript.sent("m1".into(), "ann", &piece("Hel▌"), "n1", at(0)).unwrap();
        assert!(transcript.settled(at(10_000)).is_empty());
        transcript.edited("m1", &piece("Hello"), at(10_000)).unwrap();
        assert!(transcript.settled(at(12_999)).is_empty());
        assert_eq!(texts(&transcript.settled(at(13_000))), ["Hello"]);
        assert!(transcript.live().is_empty());
    }

    #[test]
    fn a_board_stays_while_others_pass() {
        let mut transcript = Transcript::default();
        let mut board = piece("position 3");
        board.buttons.push(Button { label: "Cancel".into(), command: "/cancel 1".into() });
        transcript.sent("m1".into(), "ann", &board, "n1", at(0)).unwrap();
        transcript.sent("m2".into(), "ann", &piece("Hi"), "n2", at(0)).unwrap();
        transcript.say("m3".into(), "ann", "thanks", at(100));
        assert_eq!(texts(&transcript.settled(at(100))), ["Hi", "thanks"]);
        assert_eq!(texts(transcript.live()), ["position 3"]);
        assert_eq!(texts(&transcript.all()), ["position 3"]);
    }

    #[test]
    fn a_late_edit_stands_below_again() {
        let mut transcript = Transcript::default();
        transcript.sent("m1".into(), "ann", &piece("one"), "n1", at(0)).unwrap();
        transcript.settled(at(5_000));
        assert_eq!(transcript.edited("m1", &piece("one"), at(6_000)), Some(None));
        assert!(transcript.live().is_empty());
        let edited = transcript.edited("m1", &piece("two"), at(6_000)).flatten().cloned().unwrap();
        assert!(edited.edited && edited.text == "two");
        assert_eq!(transcript.edited("m9", &piece("x"), at(6_000)), None);
    }

    #[test]
    fn a_nonce_sends_once() {
        let mut transcript = Transcript::default();
        transcript.sent("m1".into(), "ann", &piece("one"), "n1", at(0)).unwrap();
        assert_eq!(transcript.sent("m2".into(), "ann", &piece("one"), "n1", at(0)), Err("m1".into()));
        assert_eq!(transcript.live().len(), 1);
    }
}
