//! What is on screen of an answer in the making: frames of its text, each longer than the one before it. Owns when a frame is
//! shown; what stands there for good is delivered by the final.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Replies;
use super::beside::RENEWAL_AGAIN;
use crate::clock::Timestamp;
use crate::core::chat::{Destination, MessengerRules};
use crate::core::coach::Live;
use crate::core::leases::HeldTurn;
use crate::core::outbox::{self, Progress};
use crate::core::text;
use crate::crash;
use crate::store::StoreError;
use crate::store::turns::{Sealed, Told, Turn};
use crate::telemetry::FIRST_TEXT_SECONDS;

/// A first sign of life where the model takes longer than this.
const TYPING_AFTER: Duration = Duration::from_millis(300);

/// Telegram shows "typing" for 5 s, Discord for 10 s.
const TYPING_AGAIN: Duration = Duration::from_secs(4);

/// Between two attempts to show progress where the first was not possible.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// An answer of up to this length is noted once. The room doubles up to [`DOUBLED_ROOM`], and grows by [`ROOM_STEP`] beyond
/// it: a frame that is full is often shorter than a message may be, and must not stay below what was noted.
const SHORTEST_ROOM: usize = 256;
const DOUBLED_ROOM: usize = 1024;
const ROOM_STEP: usize = 512;

/// Why the showing of an answer in the making ended.
pub(super) enum ShowEnd {
    /// The answer is there: the final takes over.
    Answered,
    /// More messages have joined the turn.
    Grown,
    Lost,
}

/// What is on screen of a turn's answer.
pub(super) struct Screen {
    pub(super) shown: Vec<String>,
    /// A send of which nobody knows whether it arrived.
    pub(super) unsure: bool,
    pub(super) sealed: bool,
    /// Text of the answer was shown.
    pub(super) began: bool,
    /// A frame that is shorter would take away what an earlier attempt has shown.
    pub(super) shortest: usize,
    /// No longer frame is shown before its length is noted.
    pub(super) noted: usize,
    pub(super) inputs: i64,
    pub(super) merge_until: Timestamp,
    pub(super) told: Told,
}

impl Replies {
    /// Shows the answer as it grows, until it is `answered` or not ours to speak in (any more). Must not be dropped: a
    /// send that is under way would be of unknown outcome.
    pub(super) async fn show(
        &self,
        turn: &HeldTurn,
        live: &Live,
        screen: &mut Screen,
        answered: &CancellationToken,
    ) -> Result<ShowEnd, StoreError> {
        let mut pause = TYPING_AFTER;
        loop {
            tokio::select! {
                biased;
                () = answered.cancelled() => return Ok(ShowEnd::Answered),
                () = live.newer_than(0) => break,
                () = tokio::time::sleep(pause) => {
                    // A placeholder says it already.
                    if turn.placeholder.is_none() && screen.shown.is_empty() && turn.lease.is_good() {
                        self.outbox.typing(&turn.chat).await;
                    }
                    pause = TYPING_AGAIN;
                }
            }
        }
        if let Some(end) = self.seal(turn, screen).await? {
            return Ok(end);
        }
        let to = Destination { chat: turn.chat.clone(), reply_to: outbox::reply_to(turn) };
        let longest = self.outbox.rules(&turn.chat).map_or(usize::MAX, |rules| longest_frame(&rules));
        // What is noted may be more than fits: nothing would ever be shown.
        screen.shortest = screen.shortest.min(longest);
        let (mut seen, mut refused) = (0, 0);
        while let Some(rules) = self.outbox.rules(&turn.chat) {
            tokio::select! {
                biased;
                () = answered.cancelled() => return Ok(ShowEnd::Answered),
                () = live.newer_than(seen) => {}
                () = tokio::time::sleep(TYPING_AGAIN), if live.waits() => {
                    turn.lease.good().await;
                    self.outbox.typing(&turn.chat).await;
                    continue;
                }
            }
            let shown = live.shown();
            let piece = text::frame(&shown.text, &rules);
            // Of the answer itself: that its turn has not come yet is no part of it.
            let length = if shown.is_wait { 0 } else { text::measure(&piece.plain, rules.unit) };
            if length < screen.shortest {
                seen = shown.version;
                continue;
            }
            if !screen.shown.is_empty() && !self.note_length(turn, length, longest, screen).await {
                tokio::select! {
                    () = answered.cancelled() => return Ok(ShowEnd::Answered),
                    () = tokio::time::sleep(RENEWAL_AGAIN) => continue,
                }
            }
            let message = screen.shown.first().or(turn.placeholder.as_ref()).map(String::as_str);
            let pause = match self.outbox.grow(turn, &to, message, &piece).await {
                Progress::Shown(id) => {
                    if !screen.began && !shown.is_wait {
                        screen.began = true;
                        let now = self.clock.now();
                        screen.told.first_text.get_or_insert(now);
                        metrics::histogram!(FIRST_TEXT_SECONDS).record(now.since(turn.created_at));
                    }
                    seen = shown.version;
                    if screen.shown.first() != Some(&id) {
                        crash::point("first text sent");
                        screen.shown = vec![id];
                        screen.noted = screen.noted.max(room_for(length, longest));
                        let room = i64::try_from(screen.noted).ok();
                        let noted = || self.store.show_turn(turn, &screen.shown, room);
                        if !self.store.insist("noting what is on screen", noted).await? {
                            return Ok(ShowEnd::Lost);
                        }
                        crash::point("first text noted");
                    }
                    rules.edit_interval
                }
                Progress::NotNow if !turn.lease.is_good() => {
                    tokio::select! {
                        () = answered.cancelled() => return Ok(ShowEnd::Answered),
                        () = turn.lease.good() => LOOK_AGAIN,
                    }
                }
                Progress::NotNow => LOOK_AGAIN,
                Progress::Refused if refused == 1 => break,
                Progress::Refused => {
                    refused += 1;
                    rules.edit_interval
                }
                Progress::Gone if screen.shown.is_empty() => break,
                Progress::Gone => {
                    screen.shown.clear();
                    screen.shortest = 0;
                    LOOK_AGAIN
                }
                Progress::Unsure => {
                    // The final will settle it: under the same nonce, or marked.
                    screen.unsure |= screen.shown.is_empty();
                    break;
                }
                // What is not paid for yet need not be: nobody would read it.
                Progress::Closed => {
                    self.leave(turn, &screen.told).await?;
                    return Ok(ShowEnd::Lost);
                }
            };
            tokio::select! {
                () = answered.cancelled() => return Ok(ShowEnd::Answered),
                () = tokio::time::sleep(pause) => {}
            }
        }
        answered.cancelled().await;
        Ok(ShowEnd::Answered)
    }

    /// Notes that the text on screen may be so long from now on, so that whoever goes on with the turn shows no shorter one.
    /// `false` if it could not be noted.
    async fn note_length(&self, turn: &Turn, length: usize, longest: usize, screen: &mut Screen) -> bool {
        if length <= screen.noted {
            return true;
        }
        let room = room_for(length, longest);
        let noted = self.store.show_turn(turn, &screen.shown, i64::try_from(room).ok()).await;
        let is_noted = noted.unwrap_or_else(|error| {
            tracing::warn!(turn = %turn.id, "how long a text is could not be noted: {error}");
            false
        });
        if is_noted {
            screen.noted = room;
        }
        is_noted
    }

    /// Waits until no more messages can join, then takes the right to speak.
    pub(super) async fn seal(&self, turn: &Turn, screen: &mut Screen) -> Result<Option<ShowEnd>, StoreError> {
        if screen.sealed {
            return Ok(None);
        }
        self.clock.sleep_until(screen.merge_until).await;
        match self.store.insist("sealing a turn", || self.store.seal_turn(turn, screen.inputs)).await? {
            Sealed::Yes => {
                screen.sealed = true;
                crash::point("turn sealed");
                Ok(None)
            }
            Sealed::Grown { inputs, merge_until } => {
                screen.inputs = inputs;
                screen.merge_until = merge_until;
                Ok(Some(ShowEnd::Grown))
            }
            Sealed::Lost => Ok(Some(ShowEnd::Lost)),
        }
    }
}

/// The length that is noted for a text: with room to grow, so that a long answer takes a few notes and not one a frame, but
/// no more than what the `longest` frame shows.
fn room_for(length: usize, longest: usize) -> usize {
    let room = match length {
        0 => return 0,
        1..=DOUBLED_ROOM => length.next_power_of_two().max(SHORTEST_ROOM),
        _ => length.next_multiple_of(ROOM_STEP),
    };
    room.min(longest.max(length))
}

/// The length of the longest frame: a message is cut a little below its limit, and the cursor takes its place.
fn longest_frame(rules: &MessengerRules) -> usize {
    text::measure(&text::frame(&"x".repeat(rules.limit), rules).plain, rules.unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::chat::Markup;

    #[test]
    fn no_more_room_is_noted_than_a_frame_can_show() {
        for (markup, limit) in [(Markup::Discord, 2000), (Markup::Html, 4096), (Markup::Markdown, 4096)] {
            let rules = text::test_rules(markup, limit);
            let longest = longest_frame(&rules);
            assert!((limit / 10 * 9..=limit).contains(&longest), "{markup:?}: {longest}");
            assert!((1..=longest).all(|length| (length..=longest).contains(&room_for(length, longest))), "{markup:?}");
        }
        let rooms = [0, 1, 256, 257, 1024, 1025, 1537, 1900, 1901].map(|length| room_for(length, 1900));
        assert_eq!(rooms, [0, 256, 256, 512, 1024, 1536, 1900, 1900, 1901]);
    }
}
