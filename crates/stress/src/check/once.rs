//! Whether anything is on a screen that nobody is owed.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Evidence, Index, Verdict, chat_id, shown, story};
use crate::crowd::State;
use reelcoach::core::wording::marks;
use reelcoach::store::history::History;
use sandbox::hand::On;

/// Nothing stands on a screen but the answers, one board for each person's waiting reels, and the notes of an outage; and
/// every answer is one to a message that was sent.
pub(super) fn held(evidence: &Evidence<'_>, index: &Index<'_>, verdict: &mut Verdict) {
    let history = evidence.history;
    let owed = named(history);
    let is_unsure = evidence.rules.faults || evidence.rules.deaths;
    // Telegram has no key by which a repeat is recognised: the second one says so, and accounts for one other.
    let mut accounted: HashMap<&str, usize> = HashMap::new();
    for shown in evidence.screens.iter().filter(|shown| shown.on == On::Telegram && marks::is_repeated(&shown.tail)) {
        *accounted.entry(&shown.chat).or_default() += usize::from(is_unsure);
    }
    let (mut found, mut left, mut repeated) = (Vec::new(), 0, 0);
    for shown in evidence.screens {
        let chat = chat_id(shown.on, &shown.chat);
        let state = State::of(&shown.head, &shown.tail, shown.buttons);
        let answers = shown.interaction.as_ref().is_some_and(|id| owed.contains(&(chat.clone(), of_interaction(id))));
        // Whoever sends too many commands is told so by the adapter.
        let is_told = marks::is_too_fast(&shown.head) && !evidence.flood.is_empty();
        if answers || is_told || owed.contains(&(chat.clone(), shown.message.clone())) || state == State::Late {
            continue;
        }
        if state == State::Final
            && shown.on == On::Telegram
            && let Some(others @ 1..) = accounted.get_mut(shown.chat.as_str())
        {
            *others -= 1;
            repeated += 1;
            continue;
        }
        // A send that arrived, whose answer nobody heard.
        if matches!(state, State::Growing | State::Board) && is_unsure && shown.on == On::Telegram {
            left += 1;
            continue;
        }
        let what = format!("{chat} {}: a message that nobody is owed ({state:?})", shown.message);
        let asked = evidence.asked.iter().rev().find(|asked| asked.on == shown.on && asked.chat == shown.chat);
        found.push((what, asked.map(|asked| story::of(asked, evidence, index)).unwrap_or_default()));
    }
    let asked_for: HashSet<&str> = evidence
        .asked
        .iter()
        .chain(evidence.flood)
        .flat_map(|asked| index.answering(asked))
        .map(|turn| turn.id.as_str())
        .collect();
    let answers = history.turns.iter().filter(|turn| turn.outcome.as_deref() == Some("answered"));
    for turn in answers.filter(|turn| !asked_for.contains(turn.id.as_str())) {
        let what = format!("turn {} in {} answers nothing that was asked", turn.id, turn.chat);
        found.push((what, vec![format!("turn {} ({}), shown {}", turn.id, turn.kind, turn.shown)]));
    }
    let open = history.boards.iter().filter(|board| board.state != "closed");
    found.extend(open.map(|board| (format!("board {} in {} is still open", board.id, board.chat), Vec::new())));
    let notes = BTreeMap::from([
        ("repeated with the mark", repeated),
        ("left unfinished by a send whose fate was unknown", left),
        ("delivered twice by the platform", evidence.asked.iter().filter(|asked| asked.twice).count()),
    ]);
    let notes: Vec<String> = notes.into_iter().filter(|(_, n)| *n > 0).map(|(what, n)| format!("{n} {what}")).collect();
    verdict.rule("nothing is answered twice, one board each", evidence.screens.len(), found, notes.join(", "));
}

/// Closing marks of a text that grows come and go.
const MARKUP: usize = 16;

/// Nobody sees less of an answer than they have seen: neither while it grows, nor where an instance goes on that stood still
/// while others answered.
pub(super) fn only_grow(evidence: &Evidence<'_>, index: &Index<'_>, verdict: &mut Verdict) {
    // A board may look finished before the answer takes its place.
    let boards: HashSet<(&str, &str)> =
        evidence.history.boards.iter().filter_map(|board| Some((&*board.chat, board.message.as_deref()?))).collect();
    let (mut before, mut found, mut looked_at) = (HashMap::new(), Vec::new(), 0);
    for change in evidence.changes.iter().filter(|change| matches!(change.state, State::Growing | State::Final)) {
        let (was, chars) = before
            .insert((change.on, &change.chat, &change.message), (change.state, change.chars))
            .unwrap_or((State::Growing, 0));
        looked_at += 1;
        if change.state == State::Final {
            continue;
        }
        let chat = chat_id(change.on, &change.chat);
        let is_late = was == State::Final && !boards.contains(&(chat.as_str(), change.message.as_str()));
        if is_late || was == State::Growing && change.chars + MARKUP < chars {
            let what = format!("{chat} {}: {chars} characters stood there, then {}", change.message, change.chars);
            let asked = evidence.asked.iter().rev().find(|asked| asked.on == change.on && asked.chat == change.chat);
            found.push((what, asked.map(|asked| story::of(asked, evidence, index)).unwrap_or_default()));
        }
    }
    verdict.rule("no answer goes back on the screen", looked_at, found, String::new());
}

/// The first answer to an interaction, which rows name by it.
fn of_interaction(id: &str) -> String {
    format!("@{id}")
}

/// The messages that rows name, by their chats.
fn named(history: &History) -> HashSet<(String, String)> {
    let mut named: HashSet<(String, String)> = HashSet::new();
    for turn in &history.turns {
        named.extend(shown(turn).into_iter().map(|id| {
            // `@application:interaction:seen:token`, and the message if it is not the first answer.
            let parts: Vec<&str> = id.strip_prefix('@').map(|parts| parts.split(':').collect()).unwrap_or_default();
            let named = match parts[..] {
                [_, _, _, _, message] => message.to_owned(),
                [_, interaction, ..] => of_interaction(interaction),
                _ => id,
            };
            (turn.chat.clone(), named)
        }));
    }
    named.extend(history.boards.iter().filter_map(|board| Some((board.chat.clone(), board.message.clone()?))));
    named
}
