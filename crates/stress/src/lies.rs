//! Lies, so that it is seen that each rule is checked: what is made of a run or of its records. Owns what each of them
//! changes; whether it is found out is `check`'s.

use std::time::Duration;

use serde::Serialize;

use super::check::{Rules, is_day};
use super::crowd::{Change, State};
use super::stage::Stage;
use reelcoach::core::wording;
use reelcoach::store::history::History;
use reelcoach::telemetry::Reference;
use sandbox::hand::{Books, OnScreen, Trouble};

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Lie {
    /// A platform keeps a message to itself.
    Lost,
    /// An answer stands there twice.
    DoubleMessage,
    /// A call is charged twice.
    DoubleCharge,
    /// The ledger holds a call that nobody charged.
    NoCharge,
    /// An answer was an apology.
    Apology,
    /// An instance ends, and nobody has ended it.
    Exit,
    /// A platform has refused a send for its rate.
    Limit,
    /// Everything that ran on a lane ran at the same time.
    Lanes,
    /// A person's second reel took its slot too early.
    Spacing,
    /// A person has spent more than they may.
    Budget,
    /// Somebody's good reel was held up.
    HeldUp,
    /// Nobody sees anything for 3 s.
    Silence,
    /// Somebody saw less of an answer than they had seen.
    GoesBack,
    /// Whoever sends too many is told so with every answer.
    ToldAgain,
}

impl Lie {
    /// Makes a lie of the run, where it is one of that kind.
    ///
    /// # Errors
    /// When the sandbox is lost.
    pub async fn on_stage(self, stage: &Stage) -> anyhow::Result<()> {
        match self {
            Lie::DoubleMessage => stage.reach.trouble(&Trouble::DoubleMessage).await,
            Lie::DoubleCharge => stage.reach.trouble(&Trouble::DoubleCharge).await,
            _ => Ok(()),
        }
    }

    /// Makes a lie of what was seen, where it is one of that kind.
    pub fn misremember(self, changes: &mut Vec<Change>) {
        match self {
            Lie::Silence => changes.iter_mut().for_each(|change| change.at += 3_000_000),
            Lie::GoesBack => {
                if let Some(at) = changes.iter().rposition(|change| change.state == State::Final) {
                    let frame = |chars| Change { state: State::Growing, chars, ..changes[at].clone() };
                    let frames = [frame(627), frame(53)];
                    changes.splice(at..at, frames);
                }
            }
            _ => {}
        }
    }

    /// Makes a lie of the records, where it is one of that kind.
    pub fn tamper(self, rules: &Rules, history: &mut History, books: &mut Books, screens: &mut [OnScreen]) {
        match self {
            Lie::Lost | Lie::DoubleMessage | Lie::DoubleCharge | Lie::Exit | Lie::Silence | Lie::GoesBack => {}
            Lie::ToldAgain => {
                let sentence = wording::too_fast(Duration::from_secs(30));
                screens.iter_mut().take(3).for_each(|shown| shown.head.clone_from(&sentence));
            }
            Lie::NoCharge => drop(books.openai.pop()),
            Lie::Apology => {
                let apology = wording::internal_failure(&Reference::new());
                screens.iter_mut().take(1).for_each(|shown| shown.tail.clone_from(&apology));
            }
            Lie::Limit => books.refused_by_discord += 1,
            Lie::Lanes => {
                let spans = books.apify.iter_mut().map(|run| &mut run.until);
                spans.chain(books.n8n.iter_mut().map(|run| &mut run.until)).for_each(|until| *until = u64::MAX);
            }
            Lie::Spacing => {
                for at in 0..history.jobs.len() {
                    let (before, rest) = history.jobs.split_at_mut(at);
                    let Some(job) = rest.first_mut() else { continue };
                    let own = before.iter().filter(|other| other.asked_by == job.asked_by);
                    if let Some(earlier) = own.filter_map(|other| other.slot_at).max() {
                        job.slot_at = Some(earlier + rules.interval_ms - 1);
                        break;
                    }
                }
            }
            Lie::HeldUp => {
                if let Some(usual) = rules.usual {
                    let mut jobs = history.jobs.iter_mut();
                    let good = jobs.find(|job| job.state == "done" && !job.shortcode.starts_with(usual.bad));
                    good.into_iter().for_each(|job| job.finished_at = job.finished_at.map(|end| end + usual.ms));
                }
            }
            Lie::Budget => {
                let capped = rules.caps.iter().find(|(kind, ..)| *kind == "person");
                let mut days = history.spending.iter_mut().filter(|row| is_day(row));
                let row = days.find(|row| row.scope.starts_with("person:"));
                if let (Some((_, _, cap)), Some(row)) = (capped, row) {
                    row.micro_usd = cap + 1;
                }
            }
        }
    }
}
