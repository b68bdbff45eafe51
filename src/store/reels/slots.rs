//! A person's slots in the line: when their next new reel may start, what is given back, and how a reel that several wait
//! for changes from one person's slot to another's. Each is part of the transaction that decides it.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::store::budgets::guild_of;
use crate::store::{Result, Store, exclusive};
use crate::upstream::BudgetOf;

use super::{Claimed, QUEUE, wait_in_line};

/// Undoes one job's share of its asker's spacing: the asker's later reels, and the time of their next one, move
/// forward into the gap.
macro_rules! give_time_back {
    ($tx:ident, $job:expr, $interval:expr, $now:expr) => {
        let share: Option<(String, i64, i64)> = sqlx::query_as(
            "SELECT j.asked_by, j.slot_at, p.next_reel_at FROM jobs j JOIN people p ON p.id = j.asked_by \
             WHERE j.id = $1 AND j.slot_at IS NOT NULL",
        )
        .bind($job)
        .fetch_optional(&mut *$tx)
        .await?;
        if let Some((person, slot, next)) = share {
            sqlx::query("UPDATE jobs SET slot_at = NULL WHERE id = $1").bind($job).execute(&mut *$tx).await?;
            let (kept, later): (Option<i64>, Option<i64>) = sqlx::query_as(
                "SELECT MAX(CASE WHEN state = 'queued' AND attempt = 0 AND slot_at > $2 THEN NULL ELSE slot_at END), \
                 MIN(CASE WHEN state = 'queued' AND attempt = 0 AND slot_at > $2 THEN slot_at END) \
                 FROM jobs WHERE asked_by = $1 AND slot_at > $3",
            )
            .bind(&person)
            .bind(slot)
            .bind(($now - $interval).0)
            .fetch_one(&mut *$tx)
            .await?;
            let shift = $crate::store::reels::slots::gap(
                kept.map(Timestamp),
                Timestamp(later.unwrap_or(next)),
                $interval,
                $now,
            );
            if shift > 0 {
                sqlx::query(
                    "UPDATE jobs SET slot_at = slot_at - $1, ready_at = ready_at - $1 \
                     WHERE asked_by = $2 AND state = 'queued' AND attempt = 0 AND slot_at > $3",
                )
                .bind(shift)
                .bind(&person)
                .bind(slot)
                .execute(&mut *$tx)
                .await?;
                sqlx::query("UPDATE people SET next_reel_at = next_reel_at - $1 WHERE id = $2")
                    .bind(shift)
                    .bind(&person)
                    .execute(&mut *$tx)
                    .await?;
            }
        }
    };
}

/// Makes a job another person's: it starts in their slot, which begins at `$own`, and they pay for it.
macro_rules! move_job {
    ($tx:ident, $job:expr, $person:expr, $own:expr, $interval:expr) => {
        sqlx::query("UPDATE jobs SET asked_by = $1, slot_at = $2, ready_at = $2 WHERE id = $3")
            .bind($person)
            .bind($own.0)
            .bind($job)
            .execute(&mut *$tx)
            .await?;
        sqlx::query("UPDATE people SET next_reel_at = $1 WHERE id = $2")
            .bind(($own + $interval).0)
            .bind($person)
            .execute(&mut *$tx)
            .await?
    };
}

/// Moves a queued job to the slot of somebody who joins it, if that is earlier and they may have one more waiting.
macro_rules! move_if_earlier {
    ($tx:ident, $job:expr, $person:expr, $ready_at:expr, $limits:expr, $now:expr) => {
        let (next_reel_at, waiting, unfunded): (i64, i64, i64) = sqlx::query_as(
            "SELECT next_reel_at, (SELECT COUNT(*) FROM jobs WHERE asked_by = $1 AND state = 'queued'), \
             (SELECT COUNT(*) FROM subscriptions WHERE job_id = $2 AND person_id = $1 AND unfunded) \
             FROM people WHERE id = $1",
        )
        .bind($person)
        .bind($job)
        .fetch_one(&mut *$tx)
        .await?;
        let own = Timestamp(next_reel_at).max($now);
        if own < $ready_at && waiting < $limits.waiting_per_person && unfunded == 0 {
            give_time_back!($tx, $job, $limits.interval, $now);
            move_job!($tx, $job, $person, own, $limits.interval);
        }
    };
}

/// Moves a queued job, whose owner does not want it any more and which waits for their spacing, to the earliest slot of
/// those who wait for it. Only of people with no queued reel of their own, so that nobody has more than may wait.
macro_rules! move_to_who_waits {
    ($tx:ident, $job:expr, $left:expr, $interval:expr, $now:expr) => {
        let heir: Option<(String, i64)> = sqlx::query_as(
            "SELECT s.person_id, p.next_reel_at FROM jobs j JOIN subscriptions s ON s.job_id = j.id JOIN people p ON p.id = s.person_id \
             WHERE j.id = $1 AND j.state = 'queued' AND j.asked_by = $2 AND j.ready_at > $3 AND p.next_reel_at <= j.ready_at \
             AND s.state = 'waiting' \
             AND NOT EXISTS (SELECT 1 FROM subscriptions u WHERE u.job_id = $1 AND u.person_id = s.person_id AND u.unfunded) \
             AND NOT EXISTS (SELECT 1 FROM subscriptions o WHERE o.job_id = $1 AND o.person_id = $2 AND o.state = 'waiting') \
             AND NOT EXISTS (SELECT 1 FROM jobs o WHERE o.asked_by = s.person_id AND o.state = 'queued') \
             ORDER BY CASE WHEN p.next_reel_at > $3 THEN p.next_reel_at ELSE $3 END, s.id LIMIT 1",
        )
        .bind($job)
        .bind($left)
        .bind($now.0)
        .fetch_optional(&mut *$tx)
        .await?;
        if let Some((heir, next_reel_at)) = heir {
            let own = Timestamp(next_reel_at).max($now);
            give_time_back!($tx, $job, $interval, $now);
            move_job!($tx, $job, &heir, own, $interval);
        }
    };
}

/// Whose a job becomes that goes back into the line although its owner does not wait for it any more, and when their next
/// reel may start: of those who wait for it the one with the earliest slot, if one can pay for it, of those.
macro_rules! inherit_job {
    ($tx:ident, $job:expr, $now:expr) => {{
        let heir: Option<(String, i64)> = sqlx::query_as(
            "SELECT s.person_id, p.next_reel_at FROM subscriptions s JOIN people p ON p.id = s.person_id \
             WHERE s.job_id = $1 AND s.state = 'waiting' AND NOT EXISTS (SELECT 1 FROM jobs j JOIN subscriptions o \
             ON o.job_id = j.id AND o.person_id = j.asked_by WHERE j.id = $1 AND o.state = 'waiting') \
             ORDER BY CASE WHEN EXISTS (SELECT 1 FROM subscriptions u WHERE u.job_id = $1 AND u.person_id = s.person_id \
             AND u.unfunded) THEN 1 ELSE 0 END, CASE WHEN p.next_reel_at > $2 THEN p.next_reel_at ELSE $2 END, s.id LIMIT 1",
        )
        .bind($job)
        .bind($now.0)
        .fetch_optional(&mut *$tx)
        .await?;
        heir
    }};
}
pub(super) use {give_time_back, inherit_job, move_if_earlier, move_job, move_to_who_waits};

impl Store {
    /// Makes a running job, which the budget of `whose` does not cover, somebody else's who waits for it: it goes back into
    /// the line, into their slot, unless as many wait for them as may. The budget of a chat or of a community is that of all
    /// who wait for it there. `false` if nobody else is left, or the lease is lost.
    pub async fn pass_on(
        &self,
        job: &Claimed,
        whose: BudgetOf,
        interval: Duration,
        waiting_per_person: i64,
        now: Timestamp,
    ) -> Result<bool> {
        let id = job.job.to_string();
        let chat = (whose == BudgetOf::Chat).then(|| job.chat.to_string());
        let passed: Result<bool> = exclusive!(&self.db, [QUEUE], tx => {
            let held: Option<(String,)> = sqlx::query_as(
                    "SELECT id FROM jobs WHERE id = $1 AND leased_by = $2 AND attempt = $3 AND state = 'running'")
                .bind(&id)
                .bind(job.leased_by.to_string())
                .bind(job.attempt)
                .fetch_optional(&mut *tx)
                .await?;
            if held.is_none() {
                return Ok(false);
            }
            sqlx::query("UPDATE subscriptions SET unfunded = TRUE WHERE job_id = $1 AND person_id = $2")
                .bind(&id)
                .bind(job.asked_by.to_string())
                .execute(&mut *tx)
                .await?;
            let guild = match whose {
                BudgetOf::Guild => guild_of!(tx, &job.chat).map(|guild| guild.to_string()),
                BudgetOf::Person | BudgetOf::Chat | BudgetOf::Everybody => None,
            };
            let heir: Option<(String, i64)> = sqlx::query_as(
                    "SELECT s.person_id, p.next_reel_at FROM subscriptions s JOIN people p ON p.id = s.person_id \
                     WHERE s.job_id = $1 AND s.state = 'waiting' AND s.chat <> COALESCE($3, '') AND ($4 IS NULL \
                     OR s.chat NOT IN (SELECT id FROM chats WHERE guild = $4)) \
                     AND (SELECT COUNT(*) FROM jobs o WHERE o.asked_by = s.person_id AND o.state = 'queued') < $5 AND NOT EXISTS (SELECT 1 FROM subscriptions u WHERE u.job_id = $1 AND u.person_id = s.person_id AND u.unfunded) \
                     ORDER BY CASE WHEN p.next_reel_at > $2 THEN p.next_reel_at ELSE $2 END, s.id LIMIT 1")
                .bind(&id)
                .bind(now.0)
                .bind(&chat)
                .bind(&guild)
                .bind(waiting_per_person)
                .fetch_optional(&mut *tx)
                .await?;
            let Some((heir, next_reel_at)) = heir else { return Ok(false) };
            let own = Timestamp(next_reel_at).max(now);
            if !job.bought {
                give_time_back!(tx, &id, interval, now);
            }
            sqlx::query(
                    "UPDATE jobs SET state = 'queued', phase = 'waiting', lane = NULL, lane_kind = NULL, leased_by = NULL, \
                     leased_until = 0, started_at = NULL, began_at = $1, bought = $2, not_before = 0 WHERE id = $3")
                .bind(job.began_at.0)
                .bind(job.bought)
                .bind(&id)
                .execute(&mut *tx)
                .await?;
            move_job!(tx, &id, &heir, own, interval);
            wait_in_line!(tx, 1);
            Ok(true)
        });
        self.jobs_changed().await;
        passed
    }
}

/// By how many milliseconds the reels from `first` on may move forward: neither into the past nor closer than
/// `interval` to the last one before them, `kept`, and by no more than the one interval given back.
pub(crate) fn gap(kept: Option<Timestamp>, first: Timestamp, interval: Duration, now: Timestamp) -> i64 {
    let earliest = kept.map_or(now, |kept| now.max(kept + interval));
    i64::try_from(first.since(earliest).min(interval).as_millis()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_closed_without_breaking_the_spacing() {
        let s = |seconds: i64| Timestamp(seconds * 1000);
        let interval = Duration::from_secs(30);
        for (kept, first, now, expected) in [
            // Nothing before: the gap closes wholly, or up to now.
            (None, s(60), s(10), 30),
            (None, s(60), s(45), 15),
            (None, s(60), s(61), 0),
            // One before that is kept.
            (Some(s(0)), s(60), s(10), 30),
            (Some(s(30)), s(60), s(10), 0),
            (Some(s(20)), s(60), s(40), 10),
            (Some(s(20)), s(60), s(55), 5),
        ] {
            assert_eq!(gap(kept, first, interval, now), expected * 1000, "{kept:?} {first:?} {now:?}");
        }
    }
}
