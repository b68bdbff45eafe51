//! The queue: jobs, who waits for them, and what is known of a reel. The rules are exact because each of
//! them is decided in the transaction that writes.

mod cancel;
mod slots;
mod work;

use std::time::Duration;

use crate::clock::Timestamp;
use crate::ids::{BoardId, ChatId, InstanceId, JobId, PersonId, Shortcode, SubscriptionId, TurnId};

use super::budgets::guild_of;
use super::lanes::Lane;
use super::usage::{Counted, Within, count_up};
use super::{Result, Store, StoreError, exclusive, read, storable};

pub use self::cancel::Cancelled;
pub(crate) use self::slots::gap;
use self::slots::{give_time_back, move_if_earlier, move_job};

/// Serialises submissions, claims and endings.
pub(super) const QUEUE: &str = "reel queue";

/// The caps that [`Store::submit`] holds.
#[derive(Clone, Copy, Debug)]
pub struct QueueLimits {
    /// The time between two new reels of one person.
    pub interval: Duration,
    /// New reels that may wait for one person.
    pub waiting_per_person: i64,
    /// Reels that may wait in all.
    pub waiting: i64,
    /// Results of another version are not used.
    pub pipeline: i64,
}

/// Who wishes for reels, and where the answer goes.
#[derive(Clone, Debug)]
pub struct Wish<'a> {
    pub turn: TurnId,
    pub person: PersonId,
    pub chat: &'a ChatId,
    pub reply_to: Option<&'a str>,
    /// A message on screen that the board may take over.
    pub placeholder: Option<&'a str>,
    /// What the person asks about them; empty if nothing.
    pub question: &'a str,
    /// Distinct, in order.
    pub reels: &'a [Shortcode],
    /// Read anew, whatever is known of them.
    pub fresh: bool,
}

/// What became of one wished reel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// Known: nothing is owed but the coaching.
    Cached,
    /// Known not to work; the cause as JSON.
    Failed(String),
    /// Somebody waits for it already; free.
    Joined,
    /// In the line, not before the time given.
    Queued {
        ready_at: Timestamp,
    },
    Denied(Denied),
}

impl Submitted {
    /// The name in the metrics and the reports.
    pub fn name(&self) -> &'static str {
        match self {
            Submitted::Cached => "cached",
            Submitted::Failed(_) => "failed",
            Submitted::Joined => "joined",
            Submitted::Queued { .. } => "queued",
            Submitted::Denied(_) => "denied",
        }
    }
}

/// Why a new reel was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// An admin lets the line run empty.
    Draining,
    TooManyWaiting {
        limit: i64,
        again_at: Timestamp,
    },
    LineFull {
        limit: i64,
        again_at: Timestamp,
    },
}

/// How far a running job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobPhase {
    Waiting,
    Scraping,
    Analysing,
}

impl JobPhase {
    /// The name in the database and the admins' view.
    pub fn name(self) -> &'static str {
        match self {
            JobPhase::Waiting => "waiting",
            JobPhase::Scraping => "scraping",
            JobPhase::Analysing => "analysing",
        }
    }

    fn parse(name: &str) -> Result<JobPhase> {
        [JobPhase::Waiting, JobPhase::Scraping, JobPhase::Analysing]
            .into_iter()
            .find(|p| p.name() == name)
            .ok_or(StoreError::Corrupt("jobs.phase"))
    }
}

/// A job under lease.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub job: JobId,
    pub shortcode: Shortcode,
    pub lane: Lane,
    /// 1 for the first worker that takes it. With `leased_by` it names the lease.
    pub attempt: i64,
    /// How many of the earlier attempts only found that their payer's budget does not cover it.
    pub passed: i64,
    /// The Apify run of an earlier attempt, which is paid for.
    pub run_id: Option<String>,
    /// The upstream on which the last attempt failed.
    pub failed_on: Option<String>,
    /// Nobody waits for it any more; its last worker did not come to stop it.
    pub cancel: bool,
    /// Earlier attempts have or may have cost something.
    pub bought: bool,
    /// When work on it began, moved on by the times in which nobody could work on it.
    pub began_at: Timestamp,
    /// The upstream's quota of the day is used up until then: it can only be told so.
    pub quota_until: Option<Timestamp>,
    /// Who pays for it.
    pub asked_by: PersonId,
    /// Where they asked: the ledger's place of the cost.
    pub chat: ChatId,
    pub leased_by: InstanceId,
}

impl Claimed {
    /// The attempts that count, this one among them: being passed on is none of the reel's fault.
    pub fn tries(&self) -> i64 {
        self.attempt - self.passed
    }
}

/// What a worker learns when it renews its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobLease {
    Held,
    /// Nobody waits for it any more: stop, then finish as cancelled.
    CancelWanted,
    Lost,
}

/// How a job ends.
#[derive(Clone, Debug)]
pub enum JobEnd {
    Done {
        content: String,
        pipeline: i64,
        until: Timestamp,
    },
    /// `content` is the cause as JSON; it answers further askers until `until`. With `refund` the person gets
    /// their time back.
    Failed {
        content: String,
        pipeline: i64,
        until: Timestamp,
        refund: bool,
    },
    Cancelled {
        refund: bool,
    },
}

/// A job in the line or at work.
#[derive(Clone, Debug)]
pub struct LiveJob {
    pub job: JobId,
    pub shortcode: Shortcode,
    /// Whose spacing it waits for.
    pub asked_by: PersonId,
    pub ready_at: Timestamp,
    pub created_at: Timestamp,
    /// It was tried, and is tried again.
    pub has_failed: bool,
    pub running: Option<Running>,
}

#[derive(Clone, Debug)]
pub struct Running {
    pub lane: String,
    pub phase: JobPhase,
    pub started_at: Timestamp,
}

/// A reel a person asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    pub shortcode: Shortcode,
    pub state: SubscriptionState,
    pub at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscriptionState {
    Waiting,
    Answering,
    Answered,
    Cancelled,
}

impl SubscriptionState {
    pub(super) fn parse(name: &str) -> Result<Self> {
        match name {
            "waiting" => Ok(Self::Waiting),
            "answering" => Ok(Self::Answering),
            "answered" => Ok(Self::Answered),
            "cancelled" => Ok(Self::Cancelled),
            _ => Err(StoreError::Corrupt("subscriptions.state")),
        }
    }
}

/// What a reel turn is about.
#[derive(Clone, Debug)]
pub struct Subscription {
    pub id: SubscriptionId,
    pub shortcode: Shortcode,
    pub question: String,
    pub board: BoardId,
    /// How many reels the board speaks of.
    pub on_board: i64,
    /// Asked for by a command or a button, whose place for an answer is the board's.
    pub by_command: bool,
    pub reply_to: Option<String>,
    /// The reel as JSON, or why it failed.
    pub result: std::result::Result<String, String>,
}

impl Store {
    /// Takes a message's reels into the line, joins those that are in it, and opens a board where something is
    /// waited for (or where several results come). Submitting the same turn again changes nothing. `note` makes
    /// the board's standing words from the outcomes.
    pub async fn submit(
        &self,
        wish: &Wish<'_>,
        limits: QueueLimits,
        note: impl Fn(&[Submitted]) -> String + Send + Sync,
        now: Timestamp,
    ) -> Result<Vec<Submitted>> {
        let turn = wish.turn.to_string();
        let person = wish.person.to_string();
        let chat = wish.chat.to_string();
        let outcomes: Result<Vec<Submitted>> = exclusive!(&self.db, [QUEUE], tx => {
            let earlier: Vec<(String, Option<String>, String)> =
                sqlx::query_as("SELECT shortcode, job_id, board_id FROM subscriptions WHERE turn_id = $1")
                    .bind(&turn)
                    .fetch_all(&mut *tx)
                    .await?;
            let board = match earlier.first() {
                Some((_, _, board)) => board.clone(),
                None => BoardId::new().to_string(),
            };
            let mut outcomes = Vec::with_capacity(wish.reels.len());
            // Inserted last, because they refer to the board, which is only made when one is needed.
            let mut subscriptions: Vec<(&Shortcode, Option<String>)> = Vec::new();
            for code in wish.reels {
                // Asked in an earlier attempt of this turn: that wish stands, whatever has become of it since.
                if let Some((_, job, _)) = earlier.iter().find(|(earlier, ..)| earlier == code.as_str()) {
                    outcomes.push(if job.is_some() { Submitted::Joined } else { Submitted::Cached });
                    continue;
                }
                let known: Option<(String, String)> = sqlx::query_as(
                        "SELECT state, content FROM reels WHERE shortcode = $1 AND pipeline = $2 AND until > $3")
                    .bind(code.as_str())
                    .bind(limits.pipeline)
                    .bind(now.0)
                    .fetch_optional(&mut *tx)
                    .await?;
                if let Some((state, content)) = known.filter(|_| !wish.fresh) {
                    if state == "failed" {
                        outcomes.push(Submitted::Failed(content));
                    } else {
                        outcomes.push(Submitted::Cached);
                        subscriptions.push((code, None));
                    }
                    continue;
                }
                let live: Option<(String, String, String, i64)> = sqlx::query_as(
                        "SELECT id, state, asked_by, ready_at FROM jobs WHERE shortcode = $1 AND state IN ('queued', 'running')")
                    .bind(code.as_str())
                    .fetch_optional(&mut *tx)
                    .await?;
                if let Some((job, state, asked_by, ready_at)) = live {
                    // Somebody waits again: a wish to stop it is void.
                    sqlx::query("UPDATE jobs SET cancel = FALSE WHERE id = $1 AND cancel")
                        .bind(&job)
                        .execute(&mut *tx)
                        .await?;
                    // Nobody waits out another person's spacing.
                    if state == "queued" && asked_by != person && ready_at > now.0 {
                        move_if_earlier!(tx, &job, &person, Timestamp(ready_at), limits, now);
                    }
                    outcomes.push(Submitted::Joined);
                    subscriptions.push((code, Some(job)));
                    continue;
                }
                let (waiting, last_ready): (i64, i64) = sqlx::query_as(
                        "SELECT COUNT(*), CAST(COALESCE(MAX(ready_at), 0) AS BIGINT) FROM jobs WHERE asked_by = $1 AND state = 'queued'")
                    .bind(&person)
                    .fetch_one(&mut *tx)
                    .await?;
                let (in_line, draining): (i64, bool) = sqlx::query_as("SELECT waiting, draining FROM line").fetch_one(&mut *tx).await?;
                if draining {
                    outcomes.push(Submitted::Denied(Denied::Draining));
                    continue;
                }
                let (next_reel_at,): (i64,) = sqlx::query_as("SELECT next_reel_at FROM people WHERE id = $1")
                    .bind(&person)
                    .fetch_one(&mut *tx)
                    .await?;
                if waiting >= limits.waiting_per_person {
                    let again_at = Timestamp(last_ready.max(now.0)) - limits.interval * (waiting.clamp(1, 100) as u32 - 1);
                    outcomes.push(Submitted::Denied(Denied::TooManyWaiting {
                        limit: limits.waiting_per_person,
                        again_at: again_at.max(now + limits.interval),
                    }));
                    continue;
                }
                if in_line >= limits.waiting {
                    outcomes.push(Submitted::Denied(Denied::LineFull {
                        limit: limits.waiting,
                        again_at: now + limits.interval,
                    }));
                    continue;
                }
                // One spacing after the last one that waits is late enough, whatever clock said more.
                let latest = Timestamp(last_ready.max(now.0)) + limits.interval;
                let ready_at = Timestamp(next_reel_at.max(now.0)).min(latest);
                let job = JobId::new().to_string();
                sqlx::query(
                        "INSERT INTO jobs (id, shortcode, state, phase, asked_by, slot_at, ready_at, attempt, leased_until, cancel, created_at) \
                         VALUES ($1, $2, 'queued', 'waiting', $3, $4, $4, 0, 0, FALSE, $5)")
                    .bind(&job)
                    .bind(code.as_str())
                    .bind(&person)
                    .bind(ready_at.0)
                    .bind(now.0)
                    .execute(&mut *tx)
                    .await?;
                wait_in_line!(tx, 1);
                sqlx::query("UPDATE people SET next_reel_at = $1 WHERE id = $2")
                    .bind((ready_at + limits.interval).0)
                    .bind(&person)
                    .execute(&mut *tx)
                    .await?;
                outcomes.push(Submitted::Queued { ready_at });
                subscriptions.push((code, Some(job)));
            }
            // What was asked in an earlier attempt is counted already.
            let asked: Vec<_> = std::iter::zip(wish.reels, &outcomes)
                .filter(|(code, _)| !earlier.iter().any(|(earlier, ..)| earlier == code.as_str()))
                .map(|(_, outcome)| (Counted::Request, outcome.name()))
                .collect();
            // One known reel alone is answered by the turn that asked; it needs no board and no further turn.
            let alone = wish.reels.len() == 1 && subscriptions.iter().all(|(_, job)| job.is_none());
            if alone || subscriptions.is_empty() {
                count_up!(tx, Within::new(wish.chat, guild_of!(tx, &chat)), now, asked);
                return Ok(outcomes);
            }
            if earlier.is_empty() {
                sqlx::query(
                        "INSERT INTO boards (id, state, person_id, chat, reply_to, placeholder, note, shown, posting_until, created_at) \
                         VALUES ($1, 'open', $2, $3, $4, $5, $6, '', 0, $7)")
                    .bind(&board)
                    .bind(&person)
                    .bind(&chat)
                    .bind(wish.reply_to)
                    .bind(wish.placeholder)
                    .bind(note(&outcomes))
                    .bind(now.0)
                    .execute(&mut *tx)
                    .await?;
            }
            for (code, job) in subscriptions {
                let subscription = SubscriptionId::new().to_string();
                sqlx::query(
                        "INSERT INTO subscriptions (id, state, job_id, shortcode, board_id, person_id, chat, turn_id, reply_to, question, created_at) \
                         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)")
                    .bind(&subscription)
                    .bind(if job.is_some() { "waiting" } else { "answering" })
                    .bind(&job)
                    .bind(code.as_str())
                    .bind(&board)
                    .bind(&person)
                    .bind(&chat)
                    .bind(&turn)
                    .bind(wish.reply_to)
                    .bind(storable(wish.question))
                    .bind(now.0)
                    .execute(&mut *tx)
                    .await?;
                if job.is_none() {
                    insert_reel_turn!(tx, &subscription, &person, &chat, wish.reply_to, now);
                }
            }
            count_up!(tx, Within::new(wish.chat, guild_of!(tx, &chat)), now, asked);
            Ok(outcomes)
        });
        // What was known already is due at once.
        self.turns_changed();
        self.jobs_changed().await;
        outcomes
    }

    /// What is known of a reel, as JSON; `None` if nothing is that may still be used.
    pub async fn reel(
        &self,
        code: &Shortcode,
        pipeline: i64,
        now: Timestamp,
    ) -> Result<Option<std::result::Result<String, String>>> {
        let row: Option<(String, String)> = read!(&self.db, connection => sqlx::query_as(
                "SELECT state, content FROM reels WHERE shortcode = $1 AND pipeline = $2 AND until > $3")
            .bind(code.as_str())
            .bind(pipeline)
            .bind(now.0)
            .fetch_optional(connection)
            .await)?;
        Ok(row.map(|(state, content)| if state == "done" { Ok(content) } else { Err(content) }))
    }

    /// The reels a person asked for in a chat, newest first.
    pub async fn reels_of(&self, person: PersonId, chat: &ChatId, limit: u32) -> Result<Vec<Asked>> {
        let rows: Vec<(String, String, i64)> = read!(&self.db, connection => sqlx::query_as(
                "SELECT shortcode, state, created_at FROM subscriptions WHERE person_id = $1 AND chat = $2 ORDER BY id DESC LIMIT $3")
            .bind(person.to_string())
            .bind(chat.to_string())
            .bind(i64::from(limit))
            .fetch_all(connection)
            .await)?;
        rows.into_iter()
            .map(|(code, state, at)| {
                Ok(Asked { shortcode: code.parse()?, state: SubscriptionState::parse(&state)?, at: Timestamp(at) })
            })
            .collect()
    }

    /// What a reel turn is about.
    pub async fn subscription(&self, id: SubscriptionId) -> Result<Subscription> {
        type Row = (String, String, String, Option<String>, Option<String>, Option<String>, i64, Option<String>);
        let row: Row = read!(&self.db, connection => sqlx::query_as(
                "SELECT s.shortcode, s.question, s.board_id, s.reply_to, j.failure, r.content, \
                 (SELECT COUNT(*) FROM subscriptions o WHERE o.board_id = s.board_id), \
                 (SELECT b.placeholder FROM boards b WHERE b.id = s.board_id) \
                 FROM subscriptions s LEFT JOIN jobs j ON j.id = s.job_id \
                 LEFT JOIN reels r ON r.shortcode = s.shortcode AND r.state = 'done' WHERE s.id = $1")
            .bind(id.to_string())
            .fetch_one(connection)
            .await)?;
        let (shortcode, question, board, reply_to, failure, content, on_board, placeholder) = row;
        let result = match (failure, content) {
            (Some(failure), _) => Err(failure),
            (None, Some(content)) => Ok(content),
            (None, None) => return Err(StoreError::Corrupt("a subscription without a result")),
        };
        Ok(Subscription {
            id,
            shortcode: shortcode.parse()?,
            question,
            board: board.parse()?,
            on_board,
            by_command: placeholder.is_some(),
            reply_to,
            result,
        })
    }
}

/// Owes an answer about a reel. It is due at once; whoever claims it puts it to sleep if it has to wait its
/// turn ([`Store::park_turn`]), because the line's lock is not the talk's.
macro_rules! insert_reel_turn {
    ($tx:ident, $subscription:expr, $person:expr, $chat:expr, $reply_to:expr, $now:expr) => {
        sqlx::query(
            "INSERT INTO turns (id, kind, state, person_id, chat, subscription_id, reply_to, merge_until, inputs, aside, sealed, \
             due_at, attempt, shown, created_at) VALUES ($1, 'reel', 'open', $2, $3, $4, $5, $6, 0, FALSE, FALSE, $6, 0, '[]', $6)",
        )
        .bind(TurnId::new().to_string())
        .bind($person)
        .bind($chat)
        .bind($subscription)
        .bind($reply_to)
        .bind($now.0)
        .execute(&mut *$tx)
        .await?
    };
}

/// So many more jobs are queued, or fewer.
macro_rules! wait_in_line {
    ($tx:ident, $change:expr) => {
        sqlx::query("UPDATE line SET waiting = waiting + $1").bind::<i64>($change).execute(&mut *$tx).await?
    };
}
use {insert_reel_turn, wait_in_line};
