//! The history of one message: when it was said, what the rows say of it, what stood on the screen. Ids and times only.

use std::collections::HashSet;

use super::{Evidence, Index, chat_id};
use crate::crowd::Asked;

/// A screen's changes are told up to so many.
const CHANGES: usize = 40;

/// In the order in which it happened, as far as the two clocks allow: the sandbox's (s) and the rows' (epoch ms).
pub(super) fn of(asked: &Asked, evidence: &Evidence<'_>, index: &Index<'_>) -> Vec<String> {
    let history = evidence.history;
    let chat = chat_id(asked.on, &asked.chat);
    let seconds = |at: u64| at as f64 / 1e6;
    let mut lines = vec![format!(
        "said {chat} message {} at {:.3} s{}{}",
        asked.message,
        seconds(asked.at),
        asked.reel.as_ref().map(|code| format!(", reel {code}")).unwrap_or_default(),
        if asked.twice { ", delivered twice" } else { "" }
    )];
    for row in history.inbox.iter().filter(|row| row.chat == chat && row.message == asked.message) {
        lines.push(format!("inbox: received at {}, turn {}", row.received_at, row.turn_id));
    }
    let turns = index.answering(asked);
    let mut keys: HashSet<&str> = HashSet::new();
    for turn in &turns {
        keys.insert(&turn.id);
        lines.push(format!(
            "turn {} ({}): {} {}, attempt {}, shown {}, created {}, closed {}",
            turn.id,
            turn.kind,
            turn.state,
            turn.outcome.as_deref().unwrap_or("-"),
            turn.attempt,
            turn.shown,
            turn.created_at,
            turn.closed_at.map_or_else(|| "-".to_owned(), |at| at.to_string())
        ));
    }
    let wishes = turns.first().and_then(|turn| index.wishes.get(turn.id.as_str())).into_iter().flatten();
    for wish in wishes {
        let job = wish.job_id.as_deref().unwrap_or("-");
        lines.push(format!(
            "wish {}: {}, reel {}, board {}, job {job}",
            wish.id, wish.state, wish.shortcode, wish.board_id
        ));
        for board in history.boards.iter().filter(|board| board.id == wish.board_id) {
            let message = board.message.as_deref().unwrap_or("-");
            lines.push(format!("board {}: {}, message {message}", board.id, board.state));
        }
        for job in history.jobs.iter().filter(|job| Some(&job.id) == wish.job_id.as_ref()) {
            keys.insert(&job.id);
            lines.push(format!(
                "job {}: {} on {}, attempt {}, ready {}, slot {:?}, started {:?}, finished {:?}",
                job.id,
                job.state,
                job.lane.as_deref().unwrap_or("-"),
                job.attempt,
                job.ready_at,
                job.slot_at,
                job.started_at,
                job.finished_at
            ));
        }
        for run in evidence.books.apify.iter().filter(|run| run.code == wish.shortcode) {
            lines.push(format!(
                "Apify's run {}: {} from {:.3} s to {:.3} s",
                run.id,
                run.status,
                seconds(run.at),
                seconds(run.until)
            ));
        }
    }
    for row in history.ledger.iter().filter(|row| keys.iter().any(|key| row.key.contains(key))) {
        let estimated = if row.estimated { ", estimated" } else { "" };
        lines.push(format!(
            "ledger {}: {} micro-USD, {}{estimated}, at {}",
            row.key, row.micro_usd, row.outcome, row.at
        ));
    }
    let here = evidence.changes.iter().filter(|change| change.on == asked.on && change.chat == asked.chat);
    for change in here.take(CHANGES) {
        let how = if change.is_edit { "edited" } else { "sent" };
        lines.push(format!(
            "screen: message {} {how} at {:.3} s, {:?} of {} characters",
            change.message,
            seconds(change.at),
            change.state,
            change.chars
        ));
    }
    lines
}
