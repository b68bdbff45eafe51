//! What was said in one chat lately, and when more may be. Pure: owns the order in which those who wait get their places,
//! and what progress leaves for finals; never waits itself.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::core::chat::{Allowance, ChatPace};
use crate::ids::{PersonId, TurnId};

/// Sends or edits that a chat remembers: as many as any allowance has, or more.
const REMEMBERED: usize = 32;

/// Answers that grow in one chat at a time. The others are shown when they are finished.
const GROWING: usize = 4;

/// An answer that has not grown for so long is not waited for any more.
const GROWS: Duration = Duration::from_secs(120);

/// Whoever does not come for their place within this time loses it: it was given to somebody who is gone, or who is
/// answered by another instance.
const PLACE_KEPT: Duration = Duration::from_secs(10);

/// What was said in a chat as far back as its allowance goes, and who is next.
#[derive(Debug, Default)]
pub(super) struct Lately {
    sends: VecDeque<Said>,
    edits: VecDeque<Said>,
    /// Finals that wait, in their order.
    places: Vec<Place>,
    /// Answers that are half on screen, and when they were last seen growing.
    growing: Vec<(TurnId, Timestamp)>,
}

/// One send or edit.
#[derive(Clone, Copy, Debug)]
struct Said {
    at: Timestamp,
    /// Whose answer it finished; `None` for progress.
    person: Option<PersonId>,
}

/// The place of a final that waits.
#[derive(Clone, Copy, Debug)]
struct Place {
    turn: TurnId,
    person: PersonId,
    is_edit: bool,
    at: Timestamp,
    /// Pieces of it that are on screen.
    pieces: usize,
}

/// A final, or a piece of one, that is to be said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Final {
    pub turn: TurnId,
    pub person: PersonId,
    pub is_edit: bool,
    /// Pieces of it that are on screen already.
    pub pieces: usize,
}

impl Lately {
    /// When a final may be said: `now` if at once. `paused_until` holds for everything.
    pub fn place(
        &mut self,
        pace: Option<ChatPace>,
        wish: &Final,
        paused_until: Timestamp,
        now: Timestamp,
    ) -> Timestamp {
        self.places.retain(|place| place.at + PLACE_KEPT > now);
        let earliest = now.max(paused_until);
        let Some(pace) = pace else { return earliest };
        let pool = |said: &Said| said.at;
        let said = self.of(pace, wish.is_edit).iter();
        // A place that was given before is kept, unless something else has been said meanwhile.
        let before = self.places.iter().position(|place| place.turn == wish.turn).unwrap_or(self.places.len());
        let ahead = self.places[..before].iter().filter(|place| !pace.edits_apart || place.is_edit == wish.is_edit);
        let times: Vec<Timestamp> = said.map(pool).chain(ahead.map(|place| place.at)).collect();
        let free_at = |Allowance { times: most, within }: Allowance, kept: usize| {
            let most = most.saturating_sub(kept).max(1);
            times.len().checked_sub(most).map_or(now, |nth| times[nth] + within)
        };
        let steady = pace.steady.map_or(now, |steady| free_at(steady, self.kept_from(wish.person, steady, now)));
        earliest.max(free_at(pace.burst, 0)).max(steady)
    }

    /// Keeps this place for a final that has to wait until then.
    pub fn keep(&mut self, wish: &Final, at: Timestamp) {
        let Final { turn, person, is_edit, pieces } = *wish;
        let place = Place { turn, person, is_edit, at, pieces };
        match self.places.iter_mut().find(|place| place.turn == turn) {
            Some(known) => *known = place,
            None => self.places.push(place),
        }
    }

    /// How many pieces of this final were on screen when it began to wait.
    pub fn pieces_of(&self, turn: TurnId) -> usize {
        self.places.iter().find(|place| place.turn == turn).map_or(0, |place| place.pieces)
    }

    /// A final is said, or will not be: its place is free, and nothing is kept for its end.
    pub fn end(&mut self, turn: TurnId) {
        self.places.retain(|place| place.turn != turn);
        self.growing.retain(|(growing, _)| *growing != turn);
    }

    /// Whether progress may be shown now: it leaves enough for the finals that wait, for the ends of the answers that are
    /// half on screen, and for whoever comes next. `turn` is the answer that it shows, if it is one.
    pub fn has_room(&mut self, pace: Option<ChatPace>, is_edit: bool, turn: Option<TurnId>, now: Timestamp) -> bool {
        let Some(pace) = pace else { return true };
        self.growing.retain(|(_, at)| *at + GROWS > now);
        self.places.retain(|place| place.at + PLACE_KEPT > now);
        if self.places.iter().any(|place| !pace.edits_apart || place.is_edit == is_edit) {
            return false;
        }
        let is_new = turn.is_some_and(|turn| self.growing.iter().all(|(growing, _)| *growing != turn));
        if is_new && self.growing.len() >= GROWING {
            return false;
        }
        let free = |Allowance { times, within }: Allowance| {
            let said = self.of(pace, is_edit).iter().rev().take_while(|said| said.at + within > now).count();
            times.saturating_sub(said)
        };
        // Half an answer is finished by an edit.
        let owed = if pace.edits_apart && !is_edit { 0 } else { self.growing.len() + usize::from(is_new) };
        let (long, short) = (pace.steady.unwrap_or(pace.burst), pace.steady.map(|_| pace.burst));
        free(long) >= owed + (long.times / 4).max(1) && short.is_none_or(|short| free(short) > 1)
    }

    /// One was said, and its answer came `at`: it arrived before that, and the next one leaves after it.
    pub fn note(&mut self, pace: Option<ChatPace>, is_edit: bool, person: Option<PersonId>, at: Timestamp) {
        let said = match is_edit && pace.is_none_or(|pace| pace.edits_apart) {
            true => &mut self.edits,
            false => &mut self.sends,
        };
        said.push_back(Said { at, person });
        if said.len() > REMEMBERED {
            said.pop_front();
        }
    }

    /// An answer is half on screen.
    pub fn grows(&mut self, turn: TurnId, now: Timestamp) {
        match self.growing.iter_mut().find(|(growing, _)| *growing == turn) {
            Some((_, at)) => *at = now,
            None => self.growing.push((turn, now)),
        }
    }

    /// Whether there is anything to remember.
    pub fn is_recent(&self, now: Timestamp, kept: Duration) -> bool {
        let latest = self.sends.back().into_iter().chain(self.edits.back()).map(|said| said.at).max();
        !self.places.is_empty() || latest.is_some_and(|at| now.since(at) < kept)
    }

    /// What counts with such a call.
    fn of(&self, pace: ChatPace, is_edit: bool) -> &VecDeque<Said> {
        if is_edit && pace.edits_apart { &self.edits } else { &self.sends }
    }

    /// Who has had a quarter of a group's allowance leaves the last quarter of it to others.
    fn kept_from(&self, person: PersonId, Allowance { times, within }: Allowance, now: Timestamp) -> usize {
        let own = |said: &&Said| said.person == Some(person) && said.at + within > now;
        let quarter = times / 4;
        let had = self.sends.iter().filter(own).count() + self.places.iter().filter(|p| p.person == person).count();
        if had >= quarter { quarter } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(ms: i64) -> Timestamp {
        Timestamp(1_000_000 + ms)
    }

    fn allowance(times: usize, seconds: u64) -> Allowance {
        Allowance { times, within: SECOND * u32::try_from(seconds).unwrap() }
    }

    /// As Discord's channels, Telegram's private chats and Telegram's groups.
    const APART: ChatPace =
        ChatPace { burst: Allowance { times: 2, within: Duration::from_secs(5) }, steady: None, edits_apart: true };

    fn group() -> ChatPace {
        ChatPace { burst: allowance(5, 5), steady: Some(allowance(20, 60)), edits_apart: false }
    }

    fn wish(person: PersonId, is_edit: bool) -> Final {
        Final { turn: TurnId::new(), person, is_edit, pieces: 0 }
    }

    #[test]
    fn a_chat_takes_so_many_in_any_span() {
        let ana = PersonId::new();
        let mut lately = Lately::default();
        for (now, edit, free) in [
            (0, true, 0),
            (100, true, 100),
            (200, true, 5000),
            (200, false, 200),
            (5000, true, 5000),
            (5001, true, 5100),
        ] {
            let wish = wish(ana, edit);
            assert_eq!(lately.place(Some(APART), &wish, at(0), at(now)), at(free), "{now} {edit}");
            assert_eq!(lately.place(None, &wish, at(0), at(now)), at(now));
            if free == now {
                lately.note(Some(APART), edit, None, at(now));
            }
        }
        for ms in 0..1000 {
            lately.note(Some(APART), true, None, at(10_000 + ms));
        }
        assert_eq!(lately.place(Some(APART), &wish(ana, true), at(0), at(11_000)), at(10_998) + SECOND * 5);
        assert!(lately.edits.len() <= REMEMBERED);
    }

    #[test]
    fn those_who_wait_have_places_one_behind_the_other() {
        let people: Vec<PersonId> = (0..14).map(|_| PersonId::new()).collect();
        let mut lately = Lately::default();
        let wishes: Vec<Final> = people.iter().map(|person| wish(*person, false)).collect();
        // The platform wants silence for 30 s.
        let mut places = Vec::new();
        for wish in &wishes[..12] {
            let place = lately.place(Some(group()), wish, at(30_000), at(0));
            lately.keep(wish, place);
            places.push(place.0 - at(0).0);
        }
        assert_eq!(places, [vec![30_000; 5], vec![35_000; 5], vec![40_000; 2]].concat());
        // Nobody overtakes; whoever comes for their place has it.
        assert_eq!(lately.place(Some(group()), &wishes[12], at(0), at(30_000)), at(40_000));
        for wish in &wishes[..5] {
            assert_eq!(lately.place(Some(group()), wish, at(30_000), at(30_000)), at(30_000));
            lately.note(Some(group()), false, Some(wish.person), at(30_000));
            lately.end(wish.turn);
        }
        assert_eq!(lately.place(Some(group()), &wishes[5], at(30_000), at(30_100)), at(35_000));
        // Who never comes is forgotten.
        assert_eq!(lately.place(Some(group()), &wishes[13], at(0), at(60_000)), at(60_000));
    }

    #[test]
    fn one_person_does_not_use_a_groups_minute_up() {
        let (ana, ben) = (PersonId::new(), PersonId::new());
        let mut lately = Lately::default();
        let mut now = at(0);
        let mut said = 0;
        while said < 15 {
            now = lately.place(Some(group()), &wish(ana, false), at(0), now);
            assert!(now < at(59_000), "{said} {now:?}");
            lately.note(Some(group()), false, Some(ana), now);
            said += 1;
        }
        now = now + SECOND * 5;
        assert_eq!(lately.place(Some(group()), &wish(ana, false), at(0), now), at(60_000));
        for _ in 0..5 {
            assert_eq!(lately.place(Some(group()), &wish(ben, false), at(0), now), now);
            lately.note(Some(group()), true, Some(ben), now);
        }
        let cem = PersonId::new();
        assert_eq!(lately.place(Some(group()), &wish(cem, false), at(0), now + SECOND * 5), at(60_000));
    }

    #[test]
    fn what_is_half_on_screen_is_finished_first() {
        let mut lately = Lately::default();
        let turns: Vec<TurnId> = (0..6).map(|_| TurnId::new()).collect();
        let mut shown = 0;
        for (nth, turn) in turns.iter().enumerate() {
            let now = at(3_000 * i64::try_from(nth).unwrap());
            if lately.has_room(Some(group()), false, Some(*turn), now) {
                lately.note(Some(group()), false, None, now);
                lately.grows(*turn, now);
                shown += 1;
            }
        }
        assert_eq!(shown, GROWING);
        let mut frames = 0;
        for second in 18..59 {
            let now = at(1_000 * second);
            while lately.has_room(Some(group()), true, Some(turns[0]), now) {
                lately.note(Some(group()), true, None, now);
                frames += 1;
            }
        }
        // 20 a minute: 4 beginnings, the ends of 4, and 5 more are left for others.
        assert_eq!(frames, 20 - 4 - 4 - 5 + 1);
        let now = at(59_000);
        for turn in turns {
            let wish = Final { turn, person: PersonId::new(), is_edit: true, pieces: 0 };
            assert!(lately.place(Some(group()), &wish, at(0), now) <= now + SECOND * 5);
        }
        let waiting = wish(PersonId::new(), false);
        lately.keep(&waiting, now + SECOND);
        lately.end(lately.growing[0].0);
        assert!(
            !lately.has_room(Some(group()), true, None, now + SECOND * 8),
            "progress gives way to a final that waits"
        );
        lately.end(waiting.turn);
    }

    #[test]
    fn a_private_chat_shows_an_answer_growing() {
        let private = ChatPace { burst: allowance(5, 5), steady: None, edits_apart: false };
        let (mut lately, turn) = (Lately::default(), TurnId::new());
        for frame in 0..40 {
            let now = at(1_500 * frame);
            assert!(lately.has_room(Some(private), frame > 0, Some(turn), now), "{frame}");
            lately.note(Some(private), frame > 0, None, now);
            lately.grows(turn, now);
            let wish = Final { turn, person: PersonId::new(), is_edit: true, pieces: 0 };
            assert_eq!(lately.place(Some(private), &wish, at(0), now), now, "the final never waits");
        }
        lately.end(turn);
        assert!(lately.is_recent(at(60_000), SECOND * 60) && !lately.is_recent(at(300_000), SECOND * 60));
    }
}
