//! A person's slots in the line: when their next new reel may start, what is given back, and how a reel that several
//! wait for changes from one person's slot to another's. Each is part of the transaction that decides it.

use std::time::Duration;

use sqlx::FromRow;

use crate::clock::Timestamp;
use crate::store::budgets::guild_of;
use crate::store::{Conn, Result, Store, args};
use crate::upstream::BudgetOf;

use super::{Claimed, QueueLimits, wait_in_line};
use crate::store::locks::QUEUE;

/// Who a job may go over to, and when their next reel may start.
#[derive(FromRow)]
pub(super) struct Heir {
    pub person_id: String,
    next_reel_at: i64,
}

impl Heir {
    /// Where their next slot begins.
    pub(super) fn slot(&self, now: Timestamp) -> Timestamp {
        Timestamp(self.next_reel_at).max(now)
    }
}

/// Undoes one job's share of its asker's spacing: the asker's later reels, and the time of their next one, move
/// forward into the gap.
pub(super) async fn give_time_back(tx: &mut Conn<'_>, job: &str, interval: Duration, now: Timestamp) -> Result<()> {
    #[derive(FromRow)]
    struct Share {
        asked_by: String,
        slot_at: i64,
        next_reel_at: i64,
    }

    /// The last slot before the gap, and the first behind it.
    #[derive(FromRow)]
    struct Neighbours {
        kept: Option<i64>,
        later: Option<i64>,
    }
    let sql = r"
        SELECT j.asked_by, j.slot_at, p.next_reel_at
        FROM jobs j
        JOIN people p ON p.id = j.asked_by
        WHERE j.id = $1 AND j.slot_at IS NOT NULL";
    let share: Option<Share> = tx.fetch_optional(sql, args![job]).await?;
    let Some(Share { asked_by, slot_at, next_reel_at }) = share else { return Ok(()) };
    tx.execute("UPDATE jobs SET slot_at = NULL WHERE id = $1", args![job]).await?;
    let sql = r"
        SELECT
            MAX(CASE WHEN state = 'queued' AND attempt = 0 AND slot_at > $2 THEN NULL ELSE slot_at END) AS kept,
            MIN(CASE WHEN state = 'queued' AND attempt = 0 AND slot_at > $2 THEN slot_at END) AS later
        FROM jobs
        WHERE asked_by = $1 AND slot_at > $3";
    let neighbours: Neighbours = tx.fetch_one(sql, args![&asked_by, slot_at, (now - interval).0]).await?;
    let first = Timestamp(neighbours.later.unwrap_or(next_reel_at));
    let shift = gap(neighbours.kept.map(Timestamp), first, interval, now);
    if shift > 0 {
        let sql = r"
            UPDATE jobs
            SET slot_at = slot_at - $1, ready_at = ready_at - $1
            WHERE asked_by = $2 AND state = 'queued' AND attempt = 0 AND slot_at > $3";
        tx.execute(sql, args![shift, &asked_by, slot_at]).await?;
        let sql = "UPDATE people SET next_reel_at = next_reel_at - $1 WHERE id = $2";
        tx.execute(sql, args![shift, &asked_by]).await?;
    }
    Ok(())
}

/// Makes a job another person's: it starts in their slot, which begins at `own`, and they pay for it.
pub(super) async fn move_job(
    tx: &mut Conn<'_>,
    job: &str,
    person: &str,
    own: Timestamp,
    interval: Duration,
) -> Result<()> {
    let sql = "UPDATE jobs SET asked_by = $1, slot_at = $2, ready_at = $2 WHERE id = $3";
    tx.execute(sql, args![person, own.0, job]).await?;
    let sql = "UPDATE people SET next_reel_at = $1 WHERE id = $2";
    tx.execute(sql, args![(own + interval).0, person]).await?;
    Ok(())
}

/// Moves a queued job to the slot of somebody who joins it, if that is earlier and they may have one more waiting.
pub(super) async fn move_if_earlier(
    tx: &mut Conn<'_>,
    job: &str,
    person: &str,
    ready_at: Timestamp,
    limits: QueueLimits,
    now: Timestamp,
) -> Result<()> {
    #[derive(FromRow)]
    struct Joiner {
        next_reel_at: i64,
        waiting: i64,
        unfunded: i64,
    }
    let sql = r"
        SELECT next_reel_at,
            (SELECT COUNT(*) FROM jobs WHERE asked_by = $1 AND state = 'queued') AS waiting,
            (SELECT COUNT(*) FROM subscriptions WHERE job_id = $2 AND person_id = $1 AND unfunded) AS unfunded
        FROM people
        WHERE id = $1";
    let joiner: Joiner = tx.fetch_one(sql, args![person, job]).await?;
    let own = Timestamp(joiner.next_reel_at).max(now);
    if own < ready_at && joiner.waiting < limits.waiting_per_person && joiner.unfunded == 0 {
        give_time_back(tx, job, limits.interval, now).await?;
        move_job(tx, job, person, own, limits.interval).await?;
    }
    Ok(())
}

/// Moves a queued job, which `left` does not want any more and which waits for their spacing, to the earliest slot of
/// those who wait for it. Only of people with no queued reel of their own, so that nobody has more than may wait.
pub(super) async fn move_to_who_waits(
    tx: &mut Conn<'_>,
    job: &str,
    left: &str,
    interval: Duration,
    now: Timestamp,
) -> Result<()> {
    let sql = r"
        SELECT s.person_id, p.next_reel_at
        FROM jobs j
        JOIN subscriptions s ON s.job_id = j.id
        JOIN people p ON p.id = s.person_id
        WHERE j.id = $1
            AND j.state = 'queued'
            AND j.asked_by = $2
            AND j.ready_at > $3
            AND p.next_reel_at <= j.ready_at
            AND s.state = 'waiting'
            AND NOT EXISTS (
                SELECT 1
                FROM subscriptions u
                WHERE u.job_id = $1 AND u.person_id = s.person_id AND u.unfunded
            )
            AND NOT EXISTS (
                SELECT 1
                FROM subscriptions o
                WHERE o.job_id = $1 AND o.person_id = $2 AND o.state = 'waiting'
            )
            AND NOT EXISTS (SELECT 1 FROM jobs o WHERE o.asked_by = s.person_id AND o.state = 'queued')
        ORDER BY CASE WHEN p.next_reel_at > $3 THEN p.next_reel_at ELSE $3 END, s.id
        LIMIT 1";
    let heir: Option<Heir> = tx.fetch_optional(sql, args![job, left, now.0]).await?;
    if let Some(heir) = heir {
        give_time_back(tx, job, interval, now).await?;
        move_job(tx, job, &heir.person_id, heir.slot(now), interval).await?;
    }
    Ok(())
}

/// Whose a job becomes that goes back into the line although its owner does not wait for it any more: of those who wait
/// for it the one with the earliest slot, if one can pay for it, of those.
pub(super) async fn heir(tx: &mut Conn<'_>, job: &str, now: Timestamp) -> Result<Option<Heir>> {
    let sql = r"
        SELECT s.person_id, p.next_reel_at
        FROM subscriptions s
        JOIN people p ON p.id = s.person_id
        WHERE s.job_id = $1
            AND s.state = 'waiting'
            AND NOT EXISTS (
                SELECT 1
                FROM jobs j
                JOIN subscriptions o ON o.job_id = j.id AND o.person_id = j.asked_by
                WHERE j.id = $1 AND o.state = 'waiting'
            )
        ORDER BY
            CASE
                WHEN EXISTS (
                    SELECT 1
                    FROM subscriptions u
                    WHERE u.job_id = $1 AND u.person_id = s.person_id AND u.unfunded
                ) THEN 1
                ELSE 0
            END,
            CASE WHEN p.next_reel_at > $2 THEN p.next_reel_at ELSE $2 END,
            s.id
        LIMIT 1";
    tx.fetch_optional(sql, args![job, now.0]).await
}

impl Store {
    /// Makes a running job, which the budget of `whose` does not cover, somebody else's who waits for it: it goes back
    /// into the line, into their slot, unless as many wait for them as may. The budget of a chat or of a community is
    /// that of all who wait for it there. `false` if nobody else is left, or the lease is lost.
    pub async fn pass_on(
        &self,
        job: &Claimed,
        whose: BudgetOf,
        interval: Duration,
        waiting_per_person: i64,
        now: Timestamp,
    ) -> Result<bool> {
        let pass_on = async |tx: &mut Conn<'_>| pass_on(tx, job, whose, interval, waiting_per_person, now).await;
        let passed = self.db.exclusive(&[QUEUE], pass_on).await;
        self.jobs_changed().await;
        passed
    }
}

async fn pass_on(
    tx: &mut Conn<'_>,
    job: &Claimed,
    whose: BudgetOf,
    interval: Duration,
    waiting_per_person: i64,
    now: Timestamp,
) -> Result<bool> {
    let id = job.job.to_string();
    let sql = "SELECT id FROM jobs WHERE id = $1 AND leased_by = $2 AND attempt = $3 AND state = 'running'";
    let held: Option<String> = tx.fetch_optional_value(sql, args![&id, job.leased_by.to_string(), job.attempt]).await?;
    if held.is_none() {
        return Ok(false);
    }
    let sql = "UPDATE subscriptions SET unfunded = TRUE WHERE job_id = $1 AND person_id = $2";
    tx.execute(sql, args![&id, job.asked_by.to_string()]).await?;
    let chat = (whose == BudgetOf::Chat).then(|| job.chat.to_string());
    let guild = match whose {
        BudgetOf::Guild => guild_of(tx, &job.chat).await?.map(|guild| guild.to_string()),
        BudgetOf::Person | BudgetOf::Chat | BudgetOf::Everybody => None,
    };
    let sql = r"
        SELECT s.person_id, p.next_reel_at
        FROM subscriptions s
        JOIN people p ON p.id = s.person_id
        WHERE s.job_id = $1
            AND s.state = 'waiting'
            AND s.chat <> COALESCE($3, '')
            AND ($4 IS NULL OR s.chat NOT IN (SELECT id FROM chats WHERE guild = $4))
            AND (SELECT COUNT(*) FROM jobs o WHERE o.asked_by = s.person_id AND o.state = 'queued') < $5
            AND NOT EXISTS (
                SELECT 1
                FROM subscriptions u
                WHERE u.job_id = $1 AND u.person_id = s.person_id AND u.unfunded
            )
        ORDER BY CASE WHEN p.next_reel_at > $2 THEN p.next_reel_at ELSE $2 END, s.id
        LIMIT 1";
    let heir: Option<Heir> = tx.fetch_optional(sql, args![&id, now.0, chat, guild, waiting_per_person]).await?;
    let Some(heir) = heir else { return Ok(false) };
    if !job.bought {
        give_time_back(tx, &id, interval, now).await?;
    }
    let sql = r"
        UPDATE jobs
        SET state = 'queued', phase = 'waiting', lane = NULL, lane_kind = NULL, leased_by = NULL, leased_until = 0,
            started_at = NULL, began_at = $1, bought = $2, not_before = 0
        WHERE id = $3";
    tx.execute(sql, args![job.began_at.0, job.bought, &id]).await?;
    move_job(tx, &id, &heir.person_id, heir.slot(now), interval).await?;
    wait_in_line(tx, 1).await?;
    Ok(true)
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
