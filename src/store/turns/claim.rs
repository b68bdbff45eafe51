//! Which due turns are taken under lease, and how they are given back. Owns the shares: one chat or person never has
//! more than a few turns under lease, so that nobody takes all the slots there are.
//!
//! A turn whose holder ended in the middle of it may be what ended it: those are taken a few at a time, and one whose
//! holders ended twice is taken alone.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::FromRow;

use super::{Turn, TurnRow};
use sqlx::AssertSqlSafe;

use crate::clock::Timestamp;
use crate::ids::{InstanceId, Platform};
use crate::store::instances::ALIVE;
use crate::store::{Arg, Conn, Result, Store, args};

/// Due turns that are looked at in one transaction: at least, and at most.
const LEAST: u32 = 32;
const WINDOW: u32 = 128;

/// Transactions in one claim. Between two of them others may write.
const ROUNDS: u32 = 32;

/// A turn beyond a share is looked at again after this time, and the next one of the same chat or person a little
/// later, so that however many wait, they are looked at 10 times a second.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
const LOOK_AGAIN_APART: Duration = Duration::from_millis(100);

/// Longest time that giving an instance's turns back may take at a stop, so that it fits into the grace period.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(2);

/// How many turns a claim takes, and how many may be under lease, on all instances together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    pub limit: u32,
    pub per_person: u32,
    pub per_chat: u32,
    /// How many of those taken may be turns whose holder ended once.
    pub suspects: u32,
    /// Nothing else is answered here: a turn whose holders ended twice may be taken, and nothing beside it.
    pub idle: bool,
}

/// A turn whose holders ended so often is taken alone.
pub const ALONE_AFTER: i64 = 2;

impl Shares {
    /// Of so many slots, none of which is in use: at most a quarter of them for one person and half of them for one
    /// chat.
    pub fn of_slots(slots: u32, limit: u32) -> Shares {
        let (per_person, per_chat) = ((slots / 4).clamp(1, 4), (slots / 2).clamp(1, 16));
        Shares { limit, per_person, per_chat, suspects: limit, idle: true }
    }
}

impl From<u32> for Shares {
    /// With as many slots as anybody could want.
    fn from(limit: u32) -> Shares {
        Shares::of_slots(u32::MAX, limit)
    }
}

/// A due turn, and how many turns of its chat and person are under lease.
#[derive(FromRow)]
struct Due {
    id: String,
    person_id: String,
    chat: String,
    leased_by: Option<String>,
    in_chat: i64,
    for_person: i64,
    /// How many of its holders ended in the middle of it.
    lost: i64,
}

/// What becomes of due turns.
#[derive(Debug, Default, PartialEq, Eq)]
struct Picked {
    taken: Vec<String>,
    /// This process still works on these: their leases go on.
    renewed: Vec<String>,
    /// Looked at again then.
    deferred: Vec<(String, Timestamp)>,
    /// How many of those taken are suspects.
    suspects: u32,
    /// The next one is to be taken alone: nothing more is taken until it has ended.
    ends_here: bool,
}

const DUE: &str = r"
    SELECT t.id, t.person_id, t.chat, t.leased_by,
        (
            SELECT COUNT(*)
            FROM turns l
            WHERE l.chat = t.chat AND l.state <> 'closed' AND l.leased_by IS NOT NULL AND l.due_at > $1
        ) AS in_chat,
        (
            SELECT COUNT(*)
            FROM turns l
            WHERE l.person_id = t.person_id AND l.state <> 'closed' AND l.leased_by IS NOT NULL AND l.due_at > $1
        ) AS for_person,
        t.holders_lost + CASE
            WHEN t.leased_by IS NOT NULL AND t.leased_by <> $6
                AND NOT EXISTS (SELECT 1 FROM instances i WHERE i.id = t.leased_by AND i.seen_at > $7) THEN 1
            ELSE 0
        END AS lost
    FROM turns t
    WHERE t.state <> 'closed' AND t.due_at <= $1
        AND (
            (t.chat LIKE 'discord:%' AND $3) OR (t.chat LIKE 'telegram:%' AND $4) OR (t.chat LIKE 'console:%' AND $5)
        )
        AND (t.kind = 'talk' OR t.state = 'answered' OR NOT EXISTS (SELECT 1 FROM pause))
    ORDER BY t.due_at, t.id
    LIMIT $2";

/// How many holders of a row of `turns` have ended in the middle of it, whoever has its lease among them. `$1` is the
/// instance that asks, which lives, `$2` the oldest heartbeat of one that lives.
const HOLDERS_LOST: &str = r"
    holders_lost = turns.holders_lost + CASE
        WHEN turns.leased_by IS NOT NULL AND turns.leased_by <> $1
            AND NOT EXISTS (SELECT 1 FROM instances i WHERE i.id = turns.leased_by AND i.seen_at > $2) THEN 1
        ELSE 0
    END";

impl Store {
    /// Takes due turns of these platforms under lease for `lease`, the oldest first, as far as the shares of their
    /// chats and people allow; none while leases are not renewed in time. While the whole bot pauses, reels wait. A
    /// turn that this process works on is never taken: it keeps its lease, or, where another instance has had it
    /// meanwhile, waits until the work on it has ended here.
    pub async fn claim_turns(
        &self,
        who: InstanceId,
        platforms: &[Platform],
        now: Timestamp,
        lease: Duration,
        shares: impl Into<Shares>,
    ) -> Result<Vec<Turn>> {
        if self.is_full(lease) {
            return Ok(Vec::new());
        }
        let mut shares = shares.into();
        let mut turns: Vec<TurnRow> = Vec::new();
        for _ in 0..ROUNDS {
            let round = self.claim_some(who, platforms, now, lease, shares).await;
            let (rows, suspects, is_more) = match round {
                Ok(round) => round,
                Err(error) if turns.is_empty() => return Err(error),
                Err(error) => {
                    // Turns of earlier rounds are leased already: dropped here, they would wait until their leases end.
                    tracing::warn!(claimed = turns.len(), "a claim ends early: {error}");
                    break;
                }
            };
            shares.limit -= u32::try_from(rows.len()).unwrap_or(shares.limit).min(shares.limit);
            shares.suspects -= suspects;
            shares.idle &= rows.is_empty();
            turns.extend(rows);
            if !is_more || shares.limit == 0 {
                break;
            }
        }
        if !turns.is_empty()
            // Before anything of an answer is sent: a power cut must not make it a first attempt again.
            && let Err(error) = self.db.synced().await
        {
            if let Err(error) = self.unclaim(who, &turns, now).await {
                // Their leases run out by themselves.
                tracing::warn!("turns that were claimed could not be given back: {error}");
            }
            return Err(error);
        }
        turns.into_iter().map(|row| row.turn(who)).collect()
    }

    /// Gives back turns of a claim whose sync failed. Nobody has worked on them, so the attempt does not count. This
    /// write is not synced either.
    async fn unclaim(&self, who: InstanceId, turns: &[TurnRow], now: Timestamp) -> Result<()> {
        let sql = format!(
            r"
                UPDATE turns
                SET leased_by = NULL, due_at = $1, attempt = attempt - 1
                WHERE leased_by = $2 AND id IN ({})",
            places(3, turns.len())
        );
        let mut args = vec![Arg::from(now.0), Arg::from(who.to_string())];
        args.extend(turns.iter().map(|turn| Arg::from(&turn.id)));
        self.claims.execute(AssertSqlSafe(sql), &args).await?;
        Ok(())
    }

    /// One round; how many suspects are among them, and whether more may be due.
    async fn claim_some(
        &self,
        who: InstanceId,
        platforms: &[Platform],
        now: Timestamp,
        lease: Duration,
        shares: Shares,
    ) -> Result<(Vec<TurnRow>, u32, bool)> {
        let (me, alive) = (who.to_string(), (now - ALIVE).0);
        let window = shares.limit.saturating_mul(2).clamp(LEAST, WINDOW);
        // One claimer at a time: two of them would count the same leases.
        let round = async |tx: &mut Conn<'_>| {
            let [discord, telegram, console] = [Platform::Discord, Platform::Telegram, Platform::Console]
                .map(|platform| platforms.contains(&platform));
            let args = args![now.0, i64::from(window), discord, telegram, console, &me, alive];
            let due: Vec<Due> = tx.fetch_all(DUE, args).await?;
            let is_window_full = due.len() == window as usize;
            let work = |due: &Due| match self.held.contains(&due.id) {
                true if due.leased_by.as_deref() == Some(&me) => Work::Ours,
                true => Work::Lost,
                false => Work::Free,
            };
            let Picked { taken, renewed, deferred, suspects, ends_here } = pick(due, shares, now, work);
            let is_more = is_window_full && !ends_here;
            if !renewed.is_empty() {
                let mut args = vec![Arg::from((now + lease).0)];
                args.extend(renewed.iter().map(Arg::from));
                tx.execute(AssertSqlSafe(renew(renewed.len())), &args).await?;
            }
            if !deferred.is_empty() {
                let mut args = vec![Arg::from(&me), Arg::from(alive)];
                args.extend(deferred.iter().flat_map(|(id, at)| [Arg::from(id), Arg::from(at.0)]));
                tx.execute(AssertSqlSafe(defer(deferred.len())), &args).await?;
            }
            let mut turns = Vec::new();
            if !taken.is_empty() {
                let mut args = vec![Arg::from(&me), Arg::from(alive), Arg::from((now + lease).0)];
                args.extend(taken.iter().map(Arg::from));
                turns = tx.fetch_all(AssertSqlSafe(take(taken.len())), &args).await?;
            }
            Ok((turns, suspects, is_more))
        };
        self.claims.exclusive(&["turns"], round).await
    }

    /// Gives a turn back until `due_at`: whoever comes then goes on with it. Everything that is on screen of it is
    /// noted.
    pub async fn release_turn(&self, turn: &Turn, due_at: Timestamp) -> Result<bool> {
        self.give_back(turn, due_at, false).await
    }

    /// The same where a part of its answer may be on screen without its id being noted.
    pub async fn release_unsure_turn(&self, turn: &Turn, due_at: Timestamp) -> Result<bool> {
        self.give_back(turn, due_at, true).await
    }

    /// Gives back every turn that an instance still holds when it stops. None of them counts as lost: they did not end
    /// it. Its work on them may go on for a moment, so they are due when their leases would have ended; on a database
    /// that no other instance uses they are due at once.
    pub async fn release_turns_of(&self, who: InstanceId, now: Timestamp) -> Result<u64> {
        let is_only = !self.is_shared();
        let given_back = async {
            let sql = r"
                UPDATE turns
                SET leased_by = NULL, unsure = TRUE,
                    due_at = CASE WHEN $2 THEN CAST($3 AS BIGINT) ELSE due_at END
                WHERE leased_by = $1 AND state <> 'closed'";
            self.leases.execute(sql, args![who.to_string(), is_only, now.0]).await
        };
        let given_back = tokio::time::timeout(GIVEN_BACK_WITHIN, given_back).await;
        let changed = given_back.unwrap_or(Err(sqlx::Error::PoolTimedOut.into()))?;
        self.turns_changed();
        Ok(changed)
    }

    async fn give_back(&self, turn: &Turn, due_at: Timestamp, unsure: bool) -> Result<bool> {
        let sql = r"
            UPDATE turns
            SET leased_by = NULL, due_at = $1, unsure = (unsure OR $5)
            WHERE id = $2 AND leased_by = $3 AND attempt = $4 AND state <> 'closed'";
        let changed = self
            .db
            .execute(sql, args![due_at.0, turn.id.to_string(), turn.leased_by.to_string(), turn.attempt, unsure])
            .await?;
        self.turns_changed();
        Ok(changed == 1)
    }
}

/// Whether this process works on a turn that is due.
#[derive(Clone, Copy)]
enum Work {
    Free,
    /// Under the lease that is to be renewed.
    Ours,
    /// It has lost its lease, and does not know it yet.
    Lost,
}

/// Takes turns in their order as long as their chats and people have room. One that is to be taken alone waits until
/// those before it have ended, and those behind it until it has.
fn pick(due: Vec<Due>, shares: Shares, now: Timestamp, work: impl Fn(&Due) -> Work) -> Picked {
    let mut chats: HashMap<String, i64> = HashMap::new();
    let mut people: HashMap<String, i64> = HashMap::new();
    let mut waiting: HashMap<String, u32> = HashMap::new();
    let mut picked = Picked::default();
    for due in due {
        if picked.taken.len() >= shares.limit as usize {
            break;
        }
        let work = work(&due);
        let Due { id, person_id, chat, in_chat, for_person, lost, .. } = due;
        match work {
            Work::Free => {}
            Work::Ours => {
                picked.renewed.push(id);
                continue;
            }
            Work::Lost => {
                picked.deferred.push((id, now + LOOK_AGAIN));
                continue;
            }
        }
        let of_chat = chats.entry(chat).or_insert(in_chat);
        let of_person = people.entry(person_id.clone()).or_insert(for_person);
        let has_room = *of_chat < i64::from(shares.per_chat) && *of_person < i64::from(shares.per_person);
        if has_room && lost >= ALONE_AFTER {
            if shares.idle && picked.taken.is_empty() {
                picked.taken.push(id);
            }
            picked.ends_here = true;
            break;
        }
        if has_room && (lost == 0 || picked.suspects < shares.suspects) {
            *of_chat += 1;
            *of_person += 1;
            picked.suspects += u32::from(lost > 0);
            picked.taken.push(id);
        } else {
            let before = waiting.entry(person_id).or_default();
            picked.deferred.push((id, now + LOOK_AGAIN + LOOK_AGAIN_APART * *before));
            *before += 1;
        }
    }
    picked
}

/// Renews the leases of so many turns. `$1` until when, then their ids.
fn renew(turns: usize) -> String {
    format!("UPDATE turns SET due_at = $1 WHERE id IN ({})", places(2, turns))
}

/// So many arguments from that one on: `$2, $3`.
fn places(first: usize, count: usize) -> String {
    let all: Vec<String> = (first..first + count).map(|nth| format!("${nth}")).collect();
    all.join(", ")
}

/// Takes so many turns under lease. A lease that ran out was lost in the middle of something. `$1` who takes them, `$2`
/// the oldest heartbeat of an instance that lives, `$3` until when, then their ids.
fn take(turns: usize) -> String {
    format!(
        r"
            UPDATE turns
            SET unsure = (unsure OR leased_by IS NOT NULL), leased_by = $1, due_at = $3, attempt = attempt + 1,
            {HOLDERS_LOST}
            WHERE id IN ({})
            RETURNING id, kind, person_id, chat, subscription_id, reply_to, placeholder, merge_until, inputs, aside,
                sealed, attempt, unsure, holders_lost, shown, shown_length, answer, created_at,
                (SELECT c.gone_since FROM chats c WHERE c.id = turns.chat) AS gone_since",
        places(4, turns)
    )
}

/// Puts so many turns off, each until a time of its own: `$1` who asks, `$2` the oldest heartbeat of an instance that
/// lives, then pairs of id and time.
fn defer(turns: usize) -> String {
    let pair = |nth| format!("(CAST(${} AS TEXT), CAST(${} AS BIGINT))", 2 * nth + 3, 2 * nth + 4);
    let pairs: Vec<String> = (0..turns).map(pair).collect();
    format!(
        r"
            UPDATE turns
            SET unsure = (unsure OR leased_by IS NOT NULL), leased_by = NULL, due_at = put_off.column2,
            {HOLDERS_LOST}
            FROM (VALUES {}) AS put_off
            WHERE turns.id = put_off.column1",
        pairs.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(id: u32, person: &str, chat: &str, in_chat: i64, for_person: i64) -> Due {
        let (id, person_id, chat) = (id.to_string(), person.into(), chat.into());
        Due { id, person_id, chat, leased_by: None, in_chat, for_person, lost: 0 }
    }

    #[test]
    fn a_turn_whose_holders_ended_is_taken_with_care() {
        let shares = Shares { suspects: 2, ..Shares::of_slots(100, 64) };
        let now = Timestamp(1_000);
        let line = |lost: &[i64]| -> Vec<Due> {
            let turn = |(nth, lost): (usize, &i64)| {
                let name = nth.to_string();
                Due { lost: *lost, ..due(nth as u32, &name, &name, 0, 0) }
            };
            lost.iter().enumerate().map(turn).collect()
        };
        let few = pick(line(&[1, 1, 1, 0]), shares, now, |_| Work::Free);
        assert_eq!((few.taken, few.suspects), (vec!["0".into(), "1".into(), "3".into()], 2));
        assert_eq!(few.deferred, [("2".to_owned(), now + LOOK_AGAIN)]);
        let taken = |lost: &[i64], idle| {
            let picked = pick(line(lost), Shares { idle, ..shares }, now, |_| Work::Free);
            (picked.taken.join(" "), picked.deferred.len(), picked.ends_here)
        };
        assert_eq!(taken(&[2, 0, 0], true), ("0".into(), 0, true), "alone");
        assert_eq!(taken(&[2, 0, 0], false), (String::new(), 0, true), "those before it must have ended");
        assert_eq!(taken(&[0, 3, 0], true), ("0".into(), 0, true), "and nothing behind it begins before");
    }

    #[test]
    fn nobody_has_more_than_their_share() {
        let shares = Shares { per_person: 2, per_chat: 3, ..Shares::of_slots(100, 64) };
        let now = Timestamp(1_000);
        let all = vec![
            due(1, "ana", "a", 1, 1),
            due(2, "ana", "a", 1, 1),
            due(3, "ana", "b", 0, 1),
            due(4, "ben", "a", 1, 0),
            due(5, "cem", "a", 1, 0),
            due(6, "dia", "d", 0, 0),
        ];
        let Picked { taken, deferred, .. } = pick(all, shares, now, |_| Work::Free);
        assert_eq!(taken, ["1", "4", "6"]);
        let put_off: Vec<(&str, i64)> = deferred.iter().map(|(id, at)| (id.as_str(), at.0 - now.0)).collect();
        assert_eq!(put_off, [("2", 500), ("3", 600), ("5", 500)]);
        let all = (0..9).map(|n| due(n, &n.to_string(), &n.to_string(), 0, 0)).collect();
        let few = pick(all, Shares { limit: 4, ..shares }, now, |_| Work::Free);
        assert_eq!((few.taken.len(), few.deferred.len()), (4, 0), "what nobody has room for stays as it is");
    }

    #[test]
    fn a_share_is_a_part_of_the_slots() {
        let shares = |slots| {
            let Shares { per_person, per_chat, .. } = Shares::of_slots(slots, 64);
            (per_person, per_chat)
        };
        assert_eq!([1, 4, 8, 2000].map(shares), [(1, 1), (1, 2), (2, 4), (4, 16)]);
    }
}
