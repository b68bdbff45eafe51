//! Long polling. Owns the offset, which acknowledges updates to Telegram, and the pauses after errors;
//! never acknowledges an update before the core has stored it.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::api::{self, Fault, NewUpdates, WANTED};
use super::inbound::{translate, update_id};
use super::{Me, Telegram};
use crate::core::chat::Receive;
use crate::ids::ChatId;

/// The longest pause after errors in a row.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Why polling ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PollEnded {
    /// The token is refused: it was revoked, or it is wrong. Only the operator can mend it.
    #[error("Telegram refuses the bot's token")]
    BadToken,
}

/// See [`Telegram::poll`].
pub(super) async fn poll(
    telegram: &Telegram,
    me: &Me,
    receive: &Receive,
    stop: &CancellationToken,
) -> Result<(), PollEnded> {
    let mut offset = None;
    let mut failures = 0;
    loop {
        let asked = NewUpdates { offset, timeout: telegram.poll_timeout().as_secs(), allowed_updates: WANTED };
        let answer = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            answer = api::call(telegram.poller(), asked) => answer,
        };
        let pause = match answer {
            Ok(batch) => match take(telegram, me, receive, stop, batch, &mut offset).await {
                Taken::All => {
                    failures = 0;
                    continue;
                }
                Taken::Stopped => return Ok(()),
                Taken::NotStored => {
                    let pause = grown(Duration::from_secs(1), failures);
                    tracing::error!(
                        failures,
                        pause_ms = millis(pause),
                        "telegram: an update could not be stored, it will be asked for again"
                    );
                    pause
                }
                Taken::NoIds => {
                    let pause = grown(Duration::from_secs(1), failures);
                    tracing::error!(failures, pause_ms = millis(pause), "telegram: updates without an id");
                    pause
                }
            },
            Err(fault) if fault.is_bad_token() => return Err(PollEnded::BadToken),
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

enum Taken {
    All,
    Stopped,
    /// The database said no; everything from that update on comes again.
    NotStored,
    /// Nothing in the batch could be acknowledged.
    NoIds,
}

/// Hands over a batch in order and moves `offset` behind each update that is done with.
async fn take(
    telegram: &Telegram,
    me: &Me,
    receive: &Receive,
    stop: &CancellationToken,
    batch: Vec<Value>,
    offset: &mut Option<i64>,
) -> Taken {
    let had_updates = !batch.is_empty();
    let mut had_ids = false;
    let mut batch = batch.into_iter();
    while let Some(update) = batch.next() {
        if stop.is_cancelled() {
            return Taken::Stopped;
        }
        let id = update_id(&update);
        if let ControlFlow::Break(chat) = hand_over(telegram, me, receive, update).await {
            try_others(telegram, me, receive, chat, batch).await;
            return Taken::NotStored;
        }
        if let Some(id) = id {
            *offset = Some(id.saturating_add(1));
            had_ids = true;
        }
    }
    if had_updates && !had_ids { Taken::NoIds } else { Taken::All }
}

/// Hands one update over; breaks with its chat if it is not stored.
async fn hand_over(telegram: &Telegram, me: &Me, receive: &Receive, update: Value) -> ControlFlow<ChatId> {
    let inbound = match translate(update, me, telegram.clock().now()) {
        Ok(Some(inbound)) => inbound,
        Ok(None) => return ControlFlow::Continue(()),
        Err(error) => {
            tracing::warn!(%error, "telegram: an update was passed over");
            return ControlFlow::Continue(());
        }
    };
    match receive(inbound.clone()).await {
        Ok(()) => {
            telegram.acknowledge(&inbound).await;
            ControlFlow::Continue(())
        }
        Err(_) => ControlFlow::Break(inbound.message.chat),
    }
}

/// The first message of each other chat behind one that was not stored: those people wait too, and the core tells
/// whoever it cannot serve. All of it comes again, since nothing is acknowledged here.
async fn try_others(
    telegram: &Telegram,
    me: &Me,
    receive: &Receive,
    chat: ChatId,
    updates: impl Iterator<Item = Value>,
) {
    let mut tried = HashSet::from([chat]);
    let first = updates
        .filter_map(|update| translate(update, me, telegram.clock().now()).ok().flatten())
        .filter(|inbound| tried.insert(inbound.message.chat.clone()));
    futures::future::join_all(first.map(|inbound| receive(inbound))).await;
}

/// Logs a failed `getUpdates` and says how long to wait. The words are those of tdlib/telegram-bot-api.
fn after(fault: &Fault, failures: u32) -> Duration {
    let words = match fault {
        Fault::Refused(words) => words.as_str(),
        _ => "",
    };
    if words.contains("terminated by other getUpdates") {
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
            "telegram: a webhook is set for this bot, so long polling gets nothing. Run in webhook mode, or remove the webhook (Bot API: deleteWebhook)"
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
