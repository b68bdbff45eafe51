//! Whether one account that never stops writing is in anybody's way, and whether it is told so.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Evidence, Index, Verdict, chat_id, shown, story};
use crate::crowd::{Change, State};
use crate::measure::Percentiles;
use reelcoach::core::wording::marks;
use sandbox::hand::On;

/// The first sign of life comes within this time, at the 95th percentile.
const SIGN_MS: f64 = 2_000.0;

/// Fewer say nothing of the other messages.
const ENOUGH: usize = 8;

/// In direct messages and in the group of each platform, the others soon see that they are heard: the bot is typing there,
/// or their answer begins.
pub(super) fn others(evidence: &Evidence<'_>, index: &Index<'_>, verdict: &mut Verdict) {
    const RULE: &str = "nobody waits for a sign of life because of a flood";
    if evidence.flood.is_empty() {
        return verdict.rule(RULE, 0, Vec::new(), "nobody sends too much here".into());
    }
    let mut by_chat: HashMap<(On, &str), Vec<&Change>> = HashMap::new();
    for change in evidence.changes {
        by_chat.entry((change.on, &change.chat)).or_default().push(change);
    }
    let mut places: BTreeMap<(On, bool), Vec<(f64, usize)>> = BTreeMap::new();
    for (nth, asked) in evidence.asked.iter().enumerate() {
        let own: HashSet<String> = index.answering(asked).into_iter().flat_map(shown).collect();
        let here = by_chat.get(&(asked.on, asked.chat.as_str())).into_iter().flatten();
        let signs = here.filter(|change| change.at >= asked.at && change.state != State::Late);
        let first =
            signs.filter(|change| change.state == State::Typing || own.contains(&change.message)).map(|c| c.at).min();
        let ms = first.map_or(f64::INFINITY, |first| (first - asked.at) as f64 / 1e3);
        places.entry((asked.on, asked.in_group)).or_default().push((ms, nth));
    }
    let (mut found, mut notes, mut judged) = (Vec::new(), Vec::new(), 0);
    for ((on, in_group), signs) in places {
        let Percentiles { p50, p95, max, .. } = Percentiles::of(signs.iter().map(|(ms, _)| *ms));
        let place = format!("{on:?}, {}", if in_group { "in the group" } else { "direct messages" });
        notes.push(format!(
            "{place}: first sign of life p50 {p50:.0} ms, p95 {p95:.0} ms, max {max:.0} ms of {}",
            signs.len()
        ));
        if signs.len() < ENOUGH {
            notes.push(format!("{place}: fewer than {ENOUGH}, not judged"));
            continue;
        }
        judged += signs.len();
        let slowest = signs.iter().max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, nth)| &evidence.asked[*nth]);
        if let Some(slowest) = slowest.filter(|_| p95 > SIGN_MS) {
            let what = format!("{place}: p95 {p95:.0} ms, slowest {} {}", chat_id(on, &slowest.chat), slowest.message);
            found.push((what, story::of(slowest, evidence, index)));
        }
    }
    verdict.rule(RULE, judged, found, notes.join("; "));
}

/// Whoever sends more than they may is told so, once.
pub(super) fn told(evidence: &Evidence<'_>, verdict: &mut Verdict) {
    let mut sent: BTreeMap<(On, u64), (usize, HashSet<&str>)> = BTreeMap::new();
    for said in evidence.flood {
        let (count, chats) = sent.entry((said.on, said.who)).or_default();
        *count += 1;
        chats.insert(&said.chat);
    }
    let (mut found, mut notes) = (Vec::new(), Vec::new());
    for ((on, who), (count, chats)) in &sent {
        let is_told = |shown: &&sandbox::hand::OnScreen| {
            shown.on == *on && chats.contains(shown.chat.as_str()) && marks::is_too_fast(&shown.head)
        };
        // A notice names no account; but nobody else sends too much.
        let notices = evidence.books.notices.iter().filter(|notice| *on == On::Telegram && marks::is_too_fast(notice));
        let told = evidence.screens.iter().filter(is_told).count() + notices.count();
        let expected = usize::from(evidence.rules.per_minute.is_some_and(|most| *count > most as usize));
        notes.push(format!("{on:?}: {count} messages of one account, told {told} times"));
        if told != expected {
            found.push((format!("{on:?}, account {who}: {count} messages, told {told} times"), Vec::new()));
        }
    }
    verdict.rule("whoever sends too much is told once", sent.len(), found, notes.join("; "));
}
