//! Whether a run held what must hold: nothing lost, nothing twice, people's spacing, lanes, budgets, the ledger, the
//! platforms' limits. Pure: owns the rules, reads only what it is given, and tells of a breach by ids and times, never
//! by a text.

mod flood;
mod once;
mod paid;
mod spacing;
mod story;
mod usual;

use std::collections::HashMap;

use serde::Serialize;

pub(super) use self::paid::is_day;
pub use self::usual::Usual;
use super::crowd::{Asked, Change, State, Stood, standing};
use reelcoach::core::wording::marks;
use reelcoach::store::history::{History, SubscriptionRow, TurnRow};
use reelcoach::upstream::BudgetOf;
use sandbox::hand::{Books, On, OnScreen};

/// All that is known after a run.
pub struct Evidence<'a> {
    pub asked: &'a [Asked],
    /// Said by those who send far more than they may.
    pub flood: &'a [Asked],
    pub changes: &'a [Change],
    pub screens: &'a [OnScreen],
    pub history: &'a History,
    pub books: &'a Books,
    /// Errors in the bot's log.
    pub errors: usize,
    /// Of each instance that ended by itself: how, and what it complained of last.
    pub exits: &'a [String],
    pub rules: &'a Rules,
}

/// What was to hold in this run.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Lanes through Apify and Gemini.
    pub lanes: u32,
    /// What a run of a workflow of n8n is agreed to cost, in micro-USD.
    pub workflow_micro_usd: i64,
    /// Between two new reels of one person.
    pub interval_ms: i64,
    /// Kind of scope, whether it is of a day (or else of a month), micro-USD.
    pub caps: Vec<(&'static str, bool, i64)>,
    /// From so many messages on, each cap must have been felt: somebody was refused for it.
    pub felt_from: Option<usize>,
    /// Upstreams and platforms failed on purpose: a call may have an estimate for its cost, and a send whose fate was
    /// unknown may stand there twice with the mark.
    pub faults: bool,
    /// An instance was killed: a message may stand there that nobody could note any more.
    pub deaths: bool,
    /// Some reels fail on purpose, and hold up none of the others.
    pub usual: Option<Usual>,
    /// The most messages of one person in a minute, where some send more.
    pub per_minute: Option<u32>,
    /// There are more and more people until something gives: answers may be apologies in the end, and errors logged.
    pub overload: bool,
}

/// One rule, and how it was held.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    pub rule: &'static str,
    /// How many things were looked at.
    pub looked_at: usize,
    pub breaches: usize,
    /// What is of interest though it is no breach.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// One thing that did not hold.
#[derive(Clone, Debug, Serialize)]
pub struct Breach {
    pub rule: &'static str,
    pub what: String,
    /// Of the message that it happened to: ids and times.
    pub history: Vec<String>,
}

/// How one message was answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    /// Microseconds of the sandbox's clock.
    pub asked: u64,
    pub first: u64,
    pub last: u64,
    pub kind: Kind,
    pub is_reel: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Answered,
    /// With an apology, also for that too many are waiting.
    Failed,
    /// A budget did not cover it: whose, as far as the answer says.
    Refused(Option<BudgetOf>),
}

/// What the rules say of the evidence.
#[derive(Debug, Default)]
pub struct Verdict {
    pub checks: Vec<Check>,
    pub breaches: Vec<Breach>,
    pub answers: Vec<Answer>,
}

impl Verdict {
    pub(super) fn rule(
        &mut self,
        rule: &'static str,
        looked_at: usize,
        found: Vec<(String, Vec<String>)>,
        note: String,
    ) {
        self.checks.push(Check { rule, looked_at, breaches: found.len(), note });
        self.breaches.extend(found.into_iter().map(|(what, history)| Breach { rule, what, history }));
    }
}

/// Rows by the keys that they are looked for.
pub(super) struct Index<'a> {
    pub turns: HashMap<&'a str, &'a TurnRow>,
    /// By the turn that asked.
    pub wishes: HashMap<&'a str, Vec<&'a SubscriptionRow>>,
    /// Turns that answer a wish, by its id.
    pub answers: HashMap<&'a str, Vec<&'a TurnRow>>,
    /// Turn by chat and message.
    pub inbox: HashMap<(&'a str, &'a str), &'a str>,
    pub standing: HashMap<(On, &'a str, &'a str), Stood>,
    pub screens: HashMap<(On, &'a str, &'a str), &'a OnScreen>,
}

impl<'a> Index<'a> {
    pub fn of(evidence: &Evidence<'a>) -> Index<'a> {
        let history = evidence.history;
        let mut wishes: HashMap<&str, Vec<&SubscriptionRow>> = HashMap::new();
        for wish in &history.subscriptions {
            wishes.entry(&wish.turn_id).or_default().push(wish);
        }
        let mut answers: HashMap<&str, Vec<&TurnRow>> = HashMap::new();
        for turn in &history.turns {
            if let Some(wish) = &turn.subscription_id {
                answers.entry(wish).or_default().push(turn);
            }
        }
        let place = |shown: &'a OnScreen| ((shown.on, shown.chat.as_str(), shown.message.as_str()), shown);
        Index {
            turns: history.turns.iter().map(|turn| (turn.id.as_str(), turn)).collect(),
            wishes,
            answers,
            inbox: history.inbox.iter().map(|row| ((&*row.chat, &*row.message), &*row.turn_id)).collect(),
            standing: standing(evidence.changes),
            screens: evidence.screens.iter().map(place).collect(),
        }
    }

    /// The turn that a message was put into.
    pub fn turn_of(&self, asked: &Asked) -> Option<&'a TurnRow> {
        let chat = chat_id(asked.on, &asked.chat);
        self.inbox.get(&(chat.as_str(), asked.message.as_str())).and_then(|turn| self.turns.get(turn).copied())
    }

    /// The turns that answer a message: its own, and those of the reels it asked for. Messages that came in one go, as after
    /// an outage, share a turn: each of them has the answer for its own reel.
    pub fn answering(&self, asked: &Asked) -> Vec<&'a TurnRow> {
        let Some(turn) = self.turn_of(asked) else { return Vec::new() };
        let wishes = self.wishes.get(turn.id.as_str()).into_iter().flatten();
        let wishes = wishes.filter(|wish| asked.reel.as_deref().is_none_or(|reel| wish.shortcode == reel));
        let of_reels = wishes.filter_map(|wish| self.answers.get(wish.id.as_str())).flatten().copied();
        std::iter::once(turn).chain(of_reels).collect()
    }
}

/// `telegram:42`, as the rows name chats.
pub(super) fn chat_id(on: On, chat: &str) -> String {
    match on {
        On::Telegram => format!("telegram:{chat}"),
        On::Discord => format!("discord:{chat}"),
    }
}

/// The ids of the messages that show a turn's answer.
pub(super) fn shown(turn: &TurnRow) -> Vec<String> {
    serde_json::from_str(&turn.shown).unwrap_or_default()
}

/// Looks at everything.
pub fn check(evidence: &Evidence<'_>) -> Verdict {
    let index = Index::of(evidence);
    let mut verdict = Verdict::default();
    let failed = answered(evidence, &index, &mut verdict);
    well(evidence, &index, &failed, &mut verdict);
    once::held(evidence, &index, &mut verdict);
    once::only_grow(evidence, &index, &mut verdict);
    spacing::held(evidence, &index, &mut verdict);
    spacing::lanes(evidence, &mut verdict);
    paid::budgets(evidence, &mut verdict);
    paid::ledger(evidence, &mut verdict);
    limits(evidence, &mut verdict);
    usual::held(evidence, &mut verdict);
    flood::others(evidence, &index, &mut verdict);
    flood::told(evidence, &mut verdict);
    verdict
}

/// Each message has exactly one final answer, and it is finished on the screen. Those that were answered with an apology.
fn answered<'a>(evidence: &Evidence<'a>, index: &Index<'_>, verdict: &mut Verdict) -> Vec<&'a Asked> {
    let (mut found, mut failed) = (Vec::new(), Vec::new());
    for asked in evidence.asked {
        let turns = index.answering(asked);
        let mut finals = Vec::new();
        let mut fault = None;
        if turns.is_empty() {
            fault = Some("it was never stored");
        }
        for turn in &turns {
            let ids = shown(turn);
            if turn.state != "closed" {
                fault = Some("its answer is still owed");
            } else if turn.outcome.as_deref() == Some("undeliverable") {
                fault = Some("its answer could not be delivered");
            } else if turn.outcome.as_deref() == Some("answered") {
                finals.push(ids);
            }
        }
        if fault.is_none() && finals.len() != 1 {
            fault = Some(if finals.is_empty() { "it has no answer" } else { "it has several answers" });
        }
        if let (None, [ids]) = (fault, &finals[..]) {
            // What is said in a load test is short. Several messages would be one that stands there twice.
            match (answer(asked, ids, index), ids.len()) {
                (Some(answer), 1) => {
                    if answer.kind == Kind::Failed {
                        failed.push(asked);
                    }
                    verdict.answers.push(answer);
                }
                (Some(_), _) => fault = Some("its answer stands there in several messages"),
                (None, _) => fault = Some("its answer does not stand finished on the screen"),
            }
        }
        if let Some(fault) = fault {
            let message = format!("{} {}", chat_id(asked.on, &asked.chat), asked.message);
            found.push((format!("message {message}: {fault}"), story::of(asked, evidence, index)));
        }
    }
    verdict.rule("each message has one final answer", evidence.asked.len(), found, String::new());
    failed
}

/// Every instance lives until it is ended; and where nothing fails on purpose, no answer is an apology and nothing is
/// logged as an error.
fn well(evidence: &Evidence<'_>, index: &Index<'_>, failed: &[&Asked], verdict: &mut Verdict) {
    let rules = evidence.rules;
    let is_meant = |asked: &&&Asked| {
        let reel = asked.reel.as_deref().unwrap_or_default();
        rules.usual.is_some_and(|usual| reel.starts_with(usual.bad))
    };
    // One error in the log for each reel that fails on purpose, and no other.
    let (meant, failed): (Vec<&&Asked>, Vec<&&Asked>) = failed.iter().partition(is_meant);
    let errors = evidence.errors.saturating_sub(meant.len());
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for exit in evidence.exits {
        let mut lines = exit.lines().map(str::to_owned);
        found.push((lines.next().unwrap_or_default(), lines.collect()));
    }
    let mut notes = Vec::new();
    if rules.faults || rules.deaths || rules.overload {
        notes.extend((!failed.is_empty()).then(|| format!("{} answers are apologies", failed.len())));
        notes.extend((errors > 0).then(|| format!("{errors} errors in the log")));
    } else {
        for asked in failed {
            let message = format!("{} {}", chat_id(asked.on, &asked.chat), asked.message);
            found.push((format!("message {message}: its answer is an apology"), story::of(asked, evidence, index)));
        }
        if errors > 0 {
            found.push((format!("{errors} errors in the log"), Vec::new()));
        }
    }
    verdict.rule("nothing fails by itself", evidence.asked.len(), found, notes.join(", "));
}

fn answer(asked: &Asked, ids: &[String], index: &Index<'_>) -> Option<Answer> {
    if ids.is_empty() {
        return None;
    }
    let mut times = Vec::new();
    let mut kind = Kind::Answered;
    for id in ids {
        let key = (asked.on, asked.chat.as_str(), id.as_str());
        let now = index.screens.get(&key)?;
        if State::of(&now.head, &now.tail, now.buttons) != State::Final {
            return None;
        }
        if marks::is_apology(&now.tail) {
            kind = Kind::Failed;
        } else if marks::is_refusal(&now.tail) {
            kind = Kind::Refused(marks::refused_for(&now.head));
        }
        times.push(index.standing.get(&key).copied()?);
    }
    let first = times.iter().map(|stood| stood.first).min()?;
    let last = times.iter().filter_map(|stood| stood.finished).max()?;
    Some(Answer { asked: asked.at, first: first.max(asked.at), last, kind, is_reel: asked.reel.is_some() })
}

/// The platforms never had to refuse the bot for its rate.
fn limits(evidence: &Evidence<'_>, verdict: &mut Verdict) {
    let books = evidence.books;
    let mut found: Vec<(String, Vec<String>)> =
        books.violations.iter().map(|violation| (format!("Discord: {violation}"), Vec::new())).collect();
    let refused = [("Telegram", books.refused_by_telegram), ("Discord", books.refused_by_discord)];
    let mut note = Vec::new();
    for (platform, times) in refused.into_iter().filter(|(_, times)| *times > 0) {
        let what = format!("{platform} refused {times} for their rate (429)");
        // Whoever takes over does not know how much the dead one has said.
        if evidence.rules.deaths {
            note.push(what);
        } else {
            found.push((what, Vec::new()));
        }
    }
    let looked_at = evidence.changes.iter().filter(|change| change.state != State::Typing).count();
    verdict.rule("sends and edits stay within the platforms' limits", looked_at, found, note.join(", "));
}

#[cfg(test)]
mod tests;
