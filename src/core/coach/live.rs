//! The answer in the making: what can be shown of it now, which is its text, or that its turn has not come yet. Owns no
//! call and no message; whoever shows it is told that something has changed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::clock::Timestamp;
use crate::core::wording;
use crate::upstream::Usage;
use crate::upstream::openai::Meter;

/// Parts what was said in two calls of one turn.
const BETWEEN: &str = "\n\n";

/// A shorter wait is not worth a word: the typing indicator says enough.
const WORTH_TELLING: Duration = Duration::from_secs(2);

/// The answer in the making.
#[derive(Debug, Default)]
pub struct Live {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Of earlier calls of the turn.
    said: String,
    /// Of the call that runs.
    current: String,
    /// How long the call will probably wait for its turn, if that is worth telling.
    wait: Option<Duration>,
    /// The call that runs, for the ledger if it is abandoned.
    in_flight: Option<InFlight>,
    /// Grows with everything that changes what is shown.
    version: u64,
}

/// A call that is under way.
#[derive(Clone, Debug)]
pub(super) struct InFlight {
    pub(super) key: String,
    pub(super) model: String,
    /// What it is for.
    pub(super) tool: &'static str,
    pub(super) began: Timestamp,
    pub(super) cost: CallCost,
}

/// What a call has cost so far.
#[derive(Clone, Debug)]
pub(super) enum CallCost {
    /// It waits for its turn, or to repeat a free attempt.
    Nothing,
    /// An attempt is under way.
    Running(Arc<Meter>),
    /// The attempt is over.
    Known(Usage),
}

impl InFlight {
    /// The best known usage; `None`: it has cost nothing.
    pub(super) fn usage(&self) -> Option<Usage> {
        match &self.cost {
            CallCost::Nothing => None,
            CallCost::Running(meter) => Some(meter.usage(Instant::now())),
            CallCost::Known(usage) => Some(*usage),
        }
    }
}

/// What there is to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub text: String,
    /// There is nothing of the answer in it yet: it says that its turn has not come.
    pub is_wait: bool,
    /// For [`Live::newer_than`].
    pub version: u64,
}

impl Live {
    /// Everything anew, with a text that stands there before the model speaks. Versions count from the start again.
    pub fn restart(&self, said: String) {
        let version = u64::from(!said.is_empty());
        *self.lock() = State { said, version, ..State::default() };
    }

    /// What can be shown now.
    pub fn shown(&self) -> Shown {
        let state = self.lock();
        let text = join(&state.said, &state.current);
        match state.wait {
            Some(left) => {
                Shown { is_wait: text.is_empty(), text: join(&text, &wording::in_demand(left)), version: state.version }
            }
            None => Shown { text, is_wait: false, version: state.version },
        }
    }

    /// Whether a call waits for its turn, so that nothing comes for a while.
    pub fn waits(&self) -> bool {
        self.lock().wait.is_some()
    }

    /// Waits until there is something newer to show than that; there is something at all from 1 on.
    pub async fn newer_than(&self, version: u64) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.lock().version > version {
                return;
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin(&self, in_flight: InFlight) {
        self.lock().in_flight = Some(in_flight);
    }

    /// The call waits; it will probably be so long.
    pub(super) fn wait(&self, left: Duration) {
        let mut state = self.lock();
        // Once told, it is told to the end.
        if state.wait.is_none() && left <= WORTH_TELLING || state.wait == Some(left) {
            return;
        }
        state.wait = Some(left);
        state.version += 1;
        drop(state);
        self.changed.notify_waiters();
    }

    /// What the call costs from now on: its request leaves, perhaps not for the first time, or an attempt is over.
    pub(super) fn costs(&self, cost: CallCost) {
        if let Some(in_flight) = &mut self.lock().in_flight {
            in_flight.cost = cost;
        }
    }

    /// The call is settled, and stands in the ledger.
    pub(super) fn settled(&self) {
        self.lock().in_flight = None;
    }

    /// Text of the call that runs was shown.
    pub(super) fn has_text(&self) -> bool {
        !self.lock().current.is_empty()
    }

    pub(super) fn push(&self, delta: &str) {
        self.write(|current| current.push_str(delta));
    }

    /// The text of the call that runs is this one, whatever was shown of it.
    pub(super) fn revise(&self, text: &str) {
        self.write(|current| text.clone_into(current));
    }

    fn write(&self, change: impl FnOnce(&mut String)) {
        let mut state = self.lock();
        // What was said of the wait stands until there is something better.
        state.wait = None;
        change(&mut state.current);
        state.version += 1;
        drop(state);
        self.changed.notify_waiters();
    }

    /// The call has ended; returns its text.
    pub(super) fn end(&self) -> String {
        let mut state = self.lock();
        (state.in_flight, state.wait) = (None, None);
        let current = std::mem::take(&mut state.current);
        state.said = join(&state.said, &current);
        current
    }

    /// The call that runs.
    pub(super) fn in_flight(&self) -> Option<InFlight> {
        self.lock().in_flight.clone()
    }
}

fn join(said: &str, current: &str) -> String {
    let between = if said.is_empty() || current.is_empty() { "" } else { BETWEEN };
    format!("{said}{between}{current}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_text_is_said_then_current() {
        let live = Live::default();
        live.push("Let me look.");
        assert_eq!(live.end(), "Let me look.");
        live.push("Found");
        live.push(" it.");
        let shown = live.shown();
        assert_eq!((shown.text.as_str(), shown.is_wait, shown.version), ("Let me look.\n\nFound it.", false, 3));
    }

    #[test]
    fn the_last_word_replaces_what_was_shown() {
        let live = Live::default();
        live.push("Let me look.");
        live.end();
        live.push("Fuond it");
        live.revise("Found it.");
        assert_eq!((live.shown().text.as_str(), live.shown().version), ("Let me look.\n\nFound it.", 3));
        assert_eq!(live.end(), "Found it.");
    }

    #[test]
    fn an_abandoned_call_costs_what_was_sent_and_what_came_back() {
        let live = Live::default();
        let (key, model, began) = ("k".to_owned(), "gpt-6-luna".to_owned(), Timestamp(0));
        live.begin(InFlight { key, model, tool: "coach", began, cost: CallCost::Nothing });
        let known = || live.in_flight().unwrap().usage();
        assert_eq!(known(), None, "it waits");
        let meter = Arc::new(Meter::new(2_000, 4_000, false));
        live.costs(CallCost::Running(Arc::clone(&meter)));
        meter.wrote("Start with the crust, close up", Instant::now());
        let usage = known().unwrap();
        assert_eq!((usage.input_tokens, usage.output_tokens, usage.estimated), (2_000, 7, true));
        // That attempt was refused, which is free: until the next one leaves nothing is owed.
        live.costs(CallCost::Nothing);
        assert_eq!(known(), None, "it waits again");
        live.costs(CallCost::Running(Arc::new(Meter::new(3_000, 4_000, false))));
        assert_eq!(known().map(|usage| (usage.input_tokens, usage.output_tokens)), Some((3_000, 0)));
        let whole = Usage { input_tokens: 2_900, output_tokens: 7, ..Usage::default() };
        live.costs(CallCost::Known(whole));
        assert_eq!(known(), Some(whole), "it has ended, and its real usage is known");
        live.settled();
        assert!(live.in_flight().is_none());
        live.end();
        assert!(live.in_flight().is_none());
    }

    #[test]
    fn a_wait_is_shown_until_there_is_text() {
        let live = Live::default();
        live.wait(Duration::from_secs(2));
        assert_eq!((live.shown().text.as_str(), live.waits()), ("", false));
        live.wait(Duration::from_secs(12));
        assert!(live.shown().is_wait && live.shown().text.contains("about 15 s"), "{:?}", live.shown());
        let version = live.shown().version;
        live.wait(Duration::from_secs(1));
        assert!(live.shown().version > version && live.shown().text.contains("a few seconds"));
        live.push("Hi");
        assert_eq!((live.shown().text.as_str(), live.waits()), ("Hi", false));
        live.end();
        live.wait(Duration::from_secs(30));
        assert!(live.shown().text.starts_with("Hi\n\n*") && !live.shown().is_wait);
    }
}
