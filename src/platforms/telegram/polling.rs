//! Long polling. Owns the offset, which acknowledges updates to Telegram, and the pauses after errors;
//! never acknowledges an update before the core has stored it.

use std::time::Duration;

use futures::StreamExt;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::api::{self, Fault, NewUpdates, WANTED};
use super::update::{Update, translate, update_id};
use super::{Me, Telegram};
use crate::clock::Timestamp;
use crate::core::chat::Receive;
use crate::core::leases::Lease;
use crate::ids::{ChatId, MessageRef};

/// The longest pause after errors in a row.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The longest pause after an update that could not be stored: the database is this bot's own, and everybody waits for it.
const LONGEST_STORE_PAUSE: Duration = Duration::from_secs(5);

/// Chats whose updates are stored at the same time: what one pool of connections has use for.
const AT_A_TIME: usize = 16;

/// Updates in one answer (Bot API, getUpdates).
const LARGEST_BATCH: usize = 100;

/// Why polling ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PollEnded {
    /// The token is refused: it was revoked, or it is wrong. Only the operator can mend it.
    #[error("Telegram refuses the token. Copy it again from @BotFather")]
    BadToken,
}

/// See [`Telegram::poll`].
pub(super) async fn poll(
    telegram: &Telegram,
    me: &Me,
    receive: &Receive,
    role: &Lease,
    stop: &CancellationToken,
) -> Result<(), PollEnded> {
    let mut offset = None;
    let mut failures = 0;
    loop {
        let asked = NewUpdates { offset, timeout: telegram.poll_timeout().as_secs(), allowed_updates: WANTED };
        let answer = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            answer = api::updates(telegram.poller(), asked) => answer,
        };
        if answer.is_ok() {
            telegram.sign_of_life().give(telegram.clock().steady());
        }
        let pause = match answer {
            Ok(batch) => match take(telegram, me, receive, stop, batch, &mut offset).await {
                Batch::All => {
                    failures = 0;
                    continue;
                }
                Batch::Stopped => return Ok(()),
                Batch::NotStored => {
                    let pause = grown(Duration::from_secs(1), failures).min(LONGEST_STORE_PAUSE);
                    tracing::error!(
                        failures,
                        pause_ms = millis(pause),
                        "telegram: an update could not be stored, it will be asked for again"
                    );
                    pause
                }
                Batch::NoIds => {
                    let pause = grown(Duration::from_secs(1), failures);
                    tracing::error!(failures, pause_ms = millis(pause), "telegram: updates without an id");
                    pause
                }
            },
            Err(fault) if fault.is_bad_token() => return Err(PollEnded::BadToken),
            Err(fault) if is_conflict(&fault) && !role.is_good() => {
                tracing::warn!("telegram: another process polls, and the role cannot be renewed: waiting until it can");
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return Ok(()),
                    () = role.good() => continue,
                }
            }
            Err(fault) => after(&fault, failures),
        };
        failures += 1;
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            () = telegram.clock().sleep_until(telegram.clock().now() + pause) => {}
        }
    }
}

enum Batch {
    All,
    Stopped,
    /// The database said no; everything from that update on comes again.
    NotStored,
    /// Nothing in the batch could be acknowledged.
    NoIds,
}

/// Hands over a batch, each chat's updates in order and the chats beside each other: where the database is away, each
/// person who waits is told after one deadline, not after all those of others. Moves `offset` behind what is done with;
/// what comes again although it was stored is recognised.
async fn take(
    telegram: &Telegram,
    me: &Me,
    receive: &Receive,
    stop: &CancellationToken,
    batch: Vec<Value>,
    offset: &mut Option<i64>,
) -> Batch {
    if batch.is_empty() {
        return Batch::All;
    }
    let mut ids: Vec<i64> = batch.iter().filter_map(update_id).collect();
    ids.sort_unstable();
    let Some(newest) = ids.last() else { return Batch::NoIds };
    let mut chats: Vec<(ChatId, Vec<(i64, Update)>)> = Vec::new();
    for update in batch {
        // What has no id could not be acknowledged, and would come for ever.
        let Some(id) = update_id(&update) else { continue };
        let Some(update) = read(update, me, telegram.clock().now()) else { continue };
        let chat = update.chat().clone();
        match chats.iter_mut().find(|(known, _)| *known == chat) {
            Some((_, updates)) => updates.push((id, update)),
            None => chats.push((chat, vec![(id, update)])),
        }
    }
    let handing_over = chats.into_iter().map(|(_, updates)| hand_over(telegram, receive, stop, updates));
    let left: Vec<Left> = futures::stream::iter(handing_over).buffer_unordered(AT_A_TIME).collect().await;
    let first_left = left.iter().filter_map(|left| left.from).min();
    *offset = Some(first_left.unwrap_or(newest.saturating_add(1)));
    if stop.is_cancelled() {
        Batch::Stopped
    } else if left.iter().any(|left| left.failed) {
        Batch::NotStored
    } else {
        Batch::All
    }
}

/// What a chat has left of its part of a batch.
#[derive(Default)]
struct Left {
    /// The first update that is not done with.
    from: Option<i64>,
    /// It could not be stored.
    failed: bool,
}

/// Hands the updates of one chat over in order, up to the first that is not stored.
async fn hand_over(
    telegram: &Telegram,
    receive: &Receive,
    stop: &CancellationToken,
    updates: Vec<(i64, Update)>,
) -> Left {
    for (from, update) in updates {
        if stop.is_cancelled() {
            return Left { from: Some(from), failed: false };
        }
        if telegram.take(update, receive).await.is_err() {
            return Left { from: Some(from), failed: true };
        }
    }
    Left::default()
}

/// An update as the core knows it; `None` for what nobody has to read.
fn read(update: Value, me: &Me, now: Timestamp) -> Option<Update> {
    translate(update, me, now).unwrap_or_else(|error| {
        tracing::warn!(%error, "telegram: an update was passed over");
        None
    })
}

/// Whether Telegram still holds an update for the bot: what a process has stored it acknowledges. Acknowledges nothing.
///
/// # Errors
/// When Telegram does not tell, as where it delivers to a webhook.
pub(super) async fn is_pending(telegram: &Telegram, message: &MessageRef) -> Result<bool, Fault> {
    let Some(me) = telegram.0.me.get() else { return Ok(true) };
    let _one_at_a_time = telegram.0.looking.lock().await;
    let asked = NewUpdates { offset: None, timeout: 0, allowed_updates: WANTED };
    let batch: Vec<Value> = match api::call(telegram.bot(), asked).await {
        // Somebody else polls.
        Err(fault) if is_conflict(&fault) => return Ok(false),
        batch => batch?,
    };
    // Behind a full batch there may be more.
    let is_full = batch.len() >= LARGEST_BATCH;
    let now = telegram.clock().now();
    let is_it = |update| matches!(read(update, me, now), Some(Update::Said(inbound)) if inbound.message == *message);
    Ok(batch.into_iter().any(is_it) || is_full)
}

/// Whether another process has begun to poll.
fn is_conflict(fault: &Fault) -> bool {
    matches!(fault, Fault::Refused(words) if words.contains("terminated by other getUpdates"))
}

/// Logs a failed `getUpdates` and says how long to wait. The words are those of tdlib/telegram-bot-api.
fn after(fault: &Fault, failures: u32) -> Duration {
    let words = match fault {
        Fault::Refused(words) => words.as_str(),
        _ => "",
    };
    if is_conflict(fault) {
        // Telegram itself delays repeated conflicts by 3 s.
        let pause = grown(Duration::from_secs(3), failures);
        tracing::error!(
            failures,
            pause_ms = millis(pause),
            "telegram: another process polls with this bot's token; only one may. Stop the other one or give it a token of its own"
        );
        pause
    } else if words.contains("webhook is active") || words.contains("terminated by setWebhook") {
        let pause = grown(Duration::from_secs(5), failures);
        tracing::error!(
            failures,
            pause_ms = millis(pause),
            "telegram: a webhook is set, so long polling receives nothing. Set TELEGRAM_WEBHOOK_URL, or run `reelcoach doctor --fix`"
        );
        pause
    } else {
        let pause = match fault {
            Fault::RateLimited(asked) => (*asked).max(Duration::from_secs(1)),
            _ => grown(Duration::from_secs(1), failures),
        };
        tracing::warn!(failures, pause_ms = millis(pause), "telegram: getUpdates failed: {}", fault.words());
        pause
    }
}

/// `first`, doubled for each failure before this one.
pub(super) fn grown(first: Duration, failures: u32) -> Duration {
    first.saturating_mul(1 << failures.min(10)).min(LONGEST_PAUSE)
}

pub(super) fn millis(pause: Duration) -> u64 {
    u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_waits_at_least_three_seconds_and_longer_each_time() {
        let other = Fault::Refused(
            "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
                .to_owned(),
        );
        let pauses: Vec<u64> = (0..7).map(|failures| after(&other, failures).as_secs()).collect();
        assert_eq!(pauses, [3, 6, 12, 24, 48, 60, 60]);
        assert_eq!(after(&Fault::RateLimited(Duration::from_secs(17)), 0).as_secs(), 17);
        assert_eq!(after(&Fault::Unreachable, u32::MAX), LONGEST_PAUSE);
    }
}
