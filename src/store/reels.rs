//! The queue: jobs, who waits for them, and what is known of a reel. The rules are exact because each of
//! them is decided in the transaction that writes.

use std::collections::HashSet;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::ids::{BoardId, ChatId, InstanceId, JobId, PersonId, Shortcode, SubscriptionId, TurnId};

use super::{Result, Store, StoreError, exclusive, read, write};

/// Serialises submissions, claims and endings.
const QUEUE: &str = "reel queue";

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

/// Why a new reel was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    TooManyWaiting { limit: i64, again_at: Timestamp },
    LineFull { limit: i64, again_at: Timestamp },
}

/// A lane: one slot of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    pub name: String,
    pub kind: LaneKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LaneKind {
    Direct,
    N8n,
}

impl LaneKind {
    pub fn name(self) -> &'static str {
        match self {
            LaneKind::Direct => "direct",
            LaneKind::N8n => "n8n",
        }
    }
}

/// How far a running job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobPhase {
    Waiting,
    Scraping,
    Analysing,
}

impl JobPhase {
    fn name(self) -> &'static str {
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
    /// 1 for the first worker that takes it.
    pub attempt: i64,
    /// The Apify run of an earlier attempt, which is paid for.
    pub run_id: Option<String>,
    pub asked_by: PersonId,
    /// Where the first asker asked: the ledger's place of the cost.
    pub chat: ChatId,
    pub leased_by: InstanceId,
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
    pub ready_at: Timestamp,
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
            let earlier: Vec<(String, String)> = sqlx::query_as("SELECT shortcode, board_id FROM subscriptions WHERE turn_id = $1")
                .bind(&turn)
                .fetch_all(&mut *tx)
                .await?;
            let board = match earlier.first() {
                Some((_, board)) => board.clone(),
                None => BoardId::new().to_string(),
            };
            let mut outcomes = Vec::with_capacity(wish.reels.len());
            // Inserted last, because they refer to the board, which is only made when one is needed.
            let mut subscriptions: Vec<(&Shortcode, Option<String>)> = Vec::new();
            for code in wish.reels {
                let known: Option<(String, String)> = sqlx::query_as(
                        "SELECT state, content FROM reels WHERE shortcode = $1 AND pipeline = $2 AND until > $3")
                    .bind(code.as_str())
                    .bind(limits.pipeline)
                    .bind(now.0)
                    .fetch_optional(&mut *tx)
                    .await?;
                if let Some((state, content)) = known {
                    if state == "failed" {
                        outcomes.push(Submitted::Failed(content));
                    } else {
                        outcomes.push(Submitted::Cached);
                        subscriptions.push((code, None));
                    }
                    continue;
                }
                let live: Option<(String,)> =
                    sqlx::query_as("SELECT id FROM jobs WHERE shortcode = $1 AND state IN ('queued', 'running')")
                        .bind(code.as_str())
                        .fetch_optional(&mut *tx)
                        .await?;
                if let Some((job,)) = live {
                    // Somebody waits again: a wish to stop it is void.
                    sqlx::query("UPDATE jobs SET cancel = FALSE WHERE id = $1 AND cancel")
                        .bind(&job)
                        .execute(&mut *tx)
                        .await?;
                    outcomes.push(Submitted::Joined);
                    subscriptions.push((code, Some(job)));
                    continue;
                }
                if earlier.iter().any(|(earlier, _)| earlier == code.as_str()) {
                    // Asked in an earlier attempt of this turn and ended since: its result is on the way.
                    outcomes.push(Submitted::Joined);
                    continue;
                }
                let (waiting, last_ready): (i64, i64) = sqlx::query_as(
                        "SELECT COUNT(*), CAST(COALESCE(MAX(ready_at), 0) AS BIGINT) FROM jobs WHERE asked_by = $1 AND state = 'queued'")
                    .bind(&person)
                    .fetch_one(&mut *tx)
                    .await?;
                let (in_line,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM jobs WHERE state = 'queued'")
                    .fetch_one(&mut *tx)
                    .await?;
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
                let ready_at = Timestamp(next_reel_at.max(now.0));
                let job = JobId::new().to_string();
                sqlx::query(
                        "INSERT INTO jobs (id, shortcode, state, phase, asked_by, ready_at, attempt, leased_until, cancel, created_at) \
                         VALUES ($1, $2, 'queued', 'waiting', $3, $4, 0, 0, FALSE, $5)")
                    .bind(&job)
                    .bind(code.as_str())
                    .bind(&person)
                    .bind(ready_at.0)
                    .bind(now.0)
                    .execute(&mut *tx)
                    .await?;
                sqlx::query("UPDATE people SET next_reel_at = $1 WHERE id = $2")
                    .bind((ready_at + limits.interval).0)
                    .bind(&person)
                    .execute(&mut *tx)
                    .await?;
                outcomes.push(Submitted::Queued { ready_at });
                subscriptions.push((code, Some(job)));
            }
            // One known reel alone is answered by the turn that asked; it needs no board and no further turn.
            let alone = wish.reels.len() == 1 && subscriptions.iter().all(|(_, job)| job.is_none());
            if alone || subscriptions.is_empty() {
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
                let added = sqlx::query(
                        "INSERT INTO subscriptions (id, state, job_id, shortcode, board_id, person_id, chat, turn_id, reply_to, question, created_at) \
                         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (turn_id, shortcode) DO NOTHING")
                    .bind(&subscription)
                    .bind(if job.is_some() { "waiting" } else { "answering" })
                    .bind(&job)
                    .bind(code.as_str())
                    .bind(&board)
                    .bind(&person)
                    .bind(&chat)
                    .bind(&turn)
                    .bind(wish.reply_to)
                    .bind(wish.question)
                    .bind(now.0)
                    .execute(&mut *tx)
                    .await?;
                if job.is_none() && added.rows_affected() == 1 {
                    insert_reel_turn!(tx, &subscription, &person, &chat, wish.reply_to, now);
                }
            }
            Ok(outcomes)
        });
        self.jobs_changed().await;
        outcomes
    }

    /// Takes the next job for one of `lanes` that is free: first one whose worker was lost, then the first of
    /// the line. Prefers lanes in the order given.
    pub async fn claim_job(
        &self,
        who: InstanceId,
        lanes: &[Lane],
        now: Timestamp,
        lease: Duration,
    ) -> Result<Option<Claimed>> {
        exclusive!(&self.db, [QUEUE], tx => {
            let busy: Vec<(String,)> =
                sqlx::query_as("SELECT lane FROM jobs WHERE state = 'running' AND leased_until > $1 AND lane IS NOT NULL")
                    .bind(now.0)
                    .fetch_all(&mut *tx)
                    .await?;
            let busy: HashSet<&str> = busy.iter().map(|(lane,)| lane.as_str()).collect();
            let mut free = lanes.iter().filter(|lane| !busy.contains(lane.name.as_str()));
            let Some(first_free) = free.clone().next() else {
                return Ok(None);
            };
            type Row = (String, String, Option<String>, String, i64);
            let orphan: Option<Row> = sqlx::query_as(
                    "SELECT id, shortcode, run_id, asked_by, attempt FROM jobs WHERE state = 'running' AND leased_until <= $1 \
                     ORDER BY started_at, id LIMIT 1")
                .bind(now.0)
                .fetch_optional(&mut *tx)
                .await?;
            let row = match orphan {
                Some(row) => Some(row),
                None => {
                    sqlx::query_as(
                            "SELECT id, shortcode, run_id, asked_by, attempt FROM jobs WHERE state = 'queued' AND ready_at <= $1 \
                             ORDER BY ready_at, id LIMIT 1")
                        .bind(now.0)
                        .fetch_optional(&mut *tx)
                        .await?
                }
            };
            let Some((id, shortcode, run_id, asked_by, attempt)) = row else {
                return Ok(None);
            };
            // A paid Apify run can only be picked up by a direct lane.
            let lane = match free.find(|lane| lane.kind == LaneKind::Direct) {
                Some(direct) if run_id.is_some() => direct,
                _ => first_free,
            };
            sqlx::query(
                    "UPDATE jobs SET state = 'running', phase = CASE WHEN state = 'running' THEN phase ELSE 'scraping' END, lane = $1, \
                     lane_kind = $2, attempt = attempt + 1, leased_by = $3, leased_until = $4, started_at = COALESCE(started_at, $5) \
                     WHERE id = $6")
                .bind(&lane.name)
                .bind(lane.kind.name())
                .bind(who.to_string())
                .bind((now + lease).0)
                .bind(now.0)
                .bind(&id)
                .execute(&mut *tx)
                .await?;
            let place: Option<(String,)> =
                sqlx::query_as("SELECT chat FROM subscriptions WHERE job_id = $1 AND person_id = $2 ORDER BY id LIMIT 1")
                    .bind(&id)
                    .bind(&asked_by)
                    .fetch_optional(&mut *tx)
                    .await?;
            let (chat,) = place.ok_or(StoreError::Corrupt("a job without its asker"))?;
            Ok(Some(Claimed {
                job: id.parse()?,
                shortcode: shortcode.parse()?,
                lane: lane.clone(),
                attempt: attempt + 1,
                run_id,
                asked_by: asked_by.parse()?,
                chat: chat.parse()?,
                leased_by: who,
            }))
        })
    }

    /// Extends the lease and tells whether the job is still wanted.
    pub async fn renew_job(&self, job: &Claimed, until: Timestamp) -> Result<JobLease> {
        let row: Option<(bool,)> = write!(&self.db, pool => sqlx::query_as(
                "UPDATE jobs SET leased_until = $1 WHERE id = $2 AND leased_by = $3 AND attempt = $4 AND state = 'running' RETURNING cancel")
            .bind(until.0)
            .bind(job.job.to_string())
            .bind(job.leased_by.to_string())
            .bind(job.attempt)
            .fetch_optional(pool)
            .await)?;
        Ok(match row {
            None => JobLease::Lost,
            Some((true,)) => JobLease::CancelWanted,
            Some((false,)) => JobLease::Held,
        })
    }

    /// Notes the Apify run that is being paid for, or with `None` that it is of no use any more.
    pub async fn note_run(&self, job: &Claimed, run: Option<&str>) -> Result<bool> {
        let changed = write!(&self.db, pool => sqlx::query(
                "UPDATE jobs SET run_id = $1 WHERE id = $2 AND leased_by = $3 AND attempt = $4 AND state = 'running'")
            .bind(run)
            .bind(job.job.to_string())
            .bind(job.leased_by.to_string())
            .bind(job.attempt)
            .execute(pool)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(changed == 1)
    }

    /// Notes how far the job is.
    pub async fn note_phase(&self, job: &Claimed, phase: JobPhase) -> Result<()> {
        write!(&self.db, pool => sqlx::query(
                "UPDATE jobs SET phase = $1 WHERE id = $2 AND leased_by = $3 AND attempt = $4 AND state = 'running'")
            .bind(phase.name())
            .bind(job.job.to_string())
            .bind(job.leased_by.to_string())
            .bind(job.attempt)
            .execute(pool)
            .await
            .map(|_| ()))?;
        self.jobs_changed().await;
        Ok(())
    }

    /// Puts a job back into the line, not before `ready_at`; its run id stays. `false` once the lease is lost.
    pub async fn requeue_job(&self, job: &Claimed, ready_at: Timestamp) -> Result<bool> {
        let changed = write!(&self.db, pool => sqlx::query(
                "UPDATE jobs SET state = 'queued', phase = 'waiting', lane = NULL, lane_kind = NULL, leased_by = NULL, leased_until = 0, \
                 started_at = NULL, ready_at = $1 WHERE id = $2 AND leased_by = $3 AND attempt = $4 AND state = 'running'")
            .bind(ready_at.0)
            .bind(job.job.to_string())
            .bind(job.leased_by.to_string())
            .bind(job.attempt)
            .execute(pool)
            .await
            .map(|done| done.rows_affected()))?;
        self.jobs_changed().await;
        Ok(changed == 1)
    }

    /// Ends a job: keeps what is known and owes an answer to everyone who waits, in one transaction. `false`
    /// once the lease is lost.
    pub async fn finish_job(&self, job: &Claimed, end: &JobEnd, interval: Duration, now: Timestamp) -> Result<bool> {
        let id = job.job.to_string();
        let (state, failure, refund) = match end {
            JobEnd::Done { .. } => ("done", None, false),
            JobEnd::Failed { content, refund, .. } => ("failed", Some(content), *refund),
            JobEnd::Cancelled { refund } => ("cancelled", None, *refund),
        };
        let finished: Result<bool> = exclusive!(&self.db, [QUEUE], tx => {
            let changed = sqlx::query(
                    "UPDATE jobs SET state = $1, failure = $2, finished_at = $3, leased_by = NULL, leased_until = 0, lane = NULL \
                     WHERE id = $4 AND leased_by = $5 AND attempt = $6 AND state = 'running'")
                .bind(state)
                .bind(failure)
                .bind(now.0)
                .bind(&id)
                .bind(job.leased_by.to_string())
                .bind(job.attempt)
                .execute(&mut *tx)
                .await?;
            if changed.rows_affected() == 0 {
                return Ok(false);
            }
            let known = match end {
                JobEnd::Done { content, pipeline, until } => Some(("done", content, pipeline, until)),
                JobEnd::Failed { content, pipeline, until, .. } => Some(("failed", content, pipeline, until)),
                JobEnd::Cancelled { .. } => None,
            };
            if let Some((state, content, pipeline, until)) = known {
                sqlx::query(
                        "INSERT INTO reels (shortcode, pipeline, state, content, at, until) VALUES ($1, $2, $3, $4, $5, $6) \
                         ON CONFLICT (shortcode) DO UPDATE SET pipeline = excluded.pipeline, state = excluded.state, \
                         content = excluded.content, at = excluded.at, until = excluded.until")
                    .bind(job.shortcode.as_str())
                    .bind(pipeline)
                    .bind(state)
                    .bind(content)
                    .bind(now.0)
                    .bind(until.0)
                    .execute(&mut *tx)
                    .await?;
            }
            if known.is_none() {
                // Somebody may have joined since the last asker left: then it goes back into the line.
                let again = sqlx::query(
                        "UPDATE jobs SET state = 'queued', phase = 'waiting', ready_at = $1, run_id = NULL, started_at = NULL, \
                         finished_at = NULL, cancel = FALSE WHERE id = $2 AND EXISTS \
                         (SELECT 1 FROM subscriptions s WHERE s.job_id = $2 AND s.state = 'waiting')")
                    .bind(now.0)
                    .bind(&id)
                    .execute(&mut *tx)
                    .await?;
                if again.rows_affected() == 1 {
                    return Ok(true);
                }
            }
            if refund {
                give_time_back!(tx, &job.asked_by.to_string(), interval, now);
            }
            if known.is_none() {
                return Ok(true);
            }
            let waiting: Vec<(String, String, String, Option<String>)> = sqlx::query_as(
                    "SELECT id, person_id, chat, reply_to FROM subscriptions WHERE job_id = $1 AND state = 'waiting' ORDER BY id")
                .bind(&id)
                .fetch_all(&mut *tx)
                .await?;
            for (subscription, person, chat, reply_to) in &waiting {
                insert_reel_turn!(tx, subscription, person, chat, reply_to, now);
            }
            sqlx::query("UPDATE subscriptions SET state = 'answering' WHERE job_id = $1 AND state = 'waiting'")
                .bind(&id)
                .execute(&mut *tx)
                .await?;
            Ok(true)
        });
        self.turns_changed();
        self.jobs_changed().await;
        finished
    }

    /// Takes a person's wish back: for one board, or for all reels they wait for. A job that nobody waits for
    /// any more leaves the line at once, or is stopped by its worker. Returns the reels taken back.
    pub async fn cancel(
        &self,
        person: PersonId,
        board: Option<BoardId>,
        interval: Duration,
        now: Timestamp,
    ) -> Result<Vec<Shortcode>> {
        let cancelled: Result<Vec<Shortcode>> = exclusive!(&self.db, [QUEUE], tx => {
            let board = board.map(|board| board.to_string());
            let rows: Vec<(String, String, String)> = sqlx::query_as(
                    "SELECT id, job_id, shortcode FROM subscriptions WHERE person_id = $1 AND state = 'waiting' AND job_id IS NOT NULL \
                     AND ($2 IS NULL OR board_id = $2) ORDER BY id")
                .bind(person.to_string())
                .bind(&board)
                .fetch_all(&mut *tx)
                .await?;
            let mut codes = Vec::with_capacity(rows.len());
            for (subscription, job, code) in rows {
                codes.push(code.parse()?);
                sqlx::query("UPDATE subscriptions SET state = 'cancelled' WHERE id = $1")
                    .bind(&subscription)
                    .execute(&mut *tx)
                    .await?;
                let (others,): (i64,) =
                    sqlx::query_as("SELECT COUNT(*) FROM subscriptions WHERE job_id = $1 AND state = 'waiting'")
                        .bind(&job)
                        .fetch_one(&mut *tx)
                        .await?;
                if others > 0 {
                    continue;
                }
                let left: Option<(String,)> = sqlx::query_as(
                        "UPDATE jobs SET state = 'cancelled', finished_at = $1 WHERE id = $2 AND state = 'queued' RETURNING asked_by")
                    .bind(now.0)
                    .bind(&job)
                    .fetch_optional(&mut *tx)
                    .await?;
                match left {
                    Some((asked_by,)) => {
                        give_time_back!(tx, &asked_by, interval, now);
                    }
                    None => {
                        sqlx::query("UPDATE jobs SET cancel = TRUE WHERE id = $1 AND state = 'running'")
                            .bind(&job)
                            .execute(&mut *tx)
                            .await?;
                    }
                }
            }
            Ok(codes)
        });
        self.jobs_changed().await;
        cancelled
    }

    /// All jobs in the line, in order, after those at work.
    pub async fn line(&self) -> Result<Vec<LiveJob>> {
        type Row = (String, i64, String, Option<String>, String, Option<i64>);
        let rows: Vec<Row> = read!(&self.db, pool => sqlx::query_as(
                "SELECT id, ready_at, state, lane, phase, started_at FROM jobs WHERE state IN ('queued', 'running') \
                 ORDER BY state DESC, ready_at, id")
            .fetch_all(pool)
            .await)?;
        rows.into_iter()
            .map(|(id, ready_at, _, lane, phase, started_at)| {
                let running = match (lane, started_at) {
                    (Some(lane), Some(started_at)) => {
                        Some(Running { lane, phase: JobPhase::parse(&phase)?, started_at: Timestamp(started_at) })
                    }
                    _ => None,
                };
                Ok(LiveJob { job: id.parse()?, ready_at: Timestamp(ready_at), running })
            })
            .collect()
    }

    /// When the next queued job becomes ready.
    pub async fn next_ready(&self) -> Result<Option<Timestamp>> {
        let (at,): (Option<i64>,) = read!(&self.db, pool => sqlx::query_as("SELECT MIN(ready_at) FROM jobs WHERE state = 'queued'")
            .fetch_one(pool)
            .await)?;
        Ok(at.map(Timestamp))
    }

    /// How long the latest finished jobs of a kind of lane took, newest first.
    pub async fn recent_durations(&self, kind: LaneKind, limit: u32) -> Result<Vec<Duration>> {
        let rows: Vec<(i64, i64)> = read!(&self.db, pool => sqlx::query_as(
                "SELECT started_at, finished_at FROM jobs WHERE lane_kind = $1 AND state = 'done' AND started_at IS NOT NULL \
                 ORDER BY finished_at DESC LIMIT $2")
            .bind(kind.name())
            .bind(i64::from(limit))
            .fetch_all(pool)
            .await)?;
        Ok(rows.into_iter().map(|(from, to)| Timestamp(to).since(Timestamp(from))).collect())
    }

    /// What is known of a reel, as JSON; `None` if nothing is that may still be used.
    pub async fn reel(
        &self,
        code: &Shortcode,
        pipeline: i64,
        now: Timestamp,
    ) -> Result<Option<std::result::Result<String, String>>> {
        let row: Option<(String, String)> = read!(&self.db, pool => sqlx::query_as(
                "SELECT state, content FROM reels WHERE shortcode = $1 AND pipeline = $2 AND until > $3")
            .bind(code.as_str())
            .bind(pipeline)
            .bind(now.0)
            .fetch_optional(pool)
            .await)?;
        Ok(row.map(|(state, content)| if state == "done" { Ok(content) } else { Err(content) }))
    }

    /// The reels a person asked for, newest first.
    pub async fn reels_of(&self, person: PersonId, limit: u32) -> Result<Vec<Asked>> {
        let rows: Vec<(String, String, i64)> = read!(&self.db, pool => sqlx::query_as(
                "SELECT shortcode, state, created_at FROM subscriptions WHERE person_id = $1 ORDER BY id DESC LIMIT $2")
            .bind(person.to_string())
            .bind(i64::from(limit))
            .fetch_all(pool)
            .await)?;
        rows.into_iter()
            .map(|(code, state, at)| {
                Ok(Asked { shortcode: code.parse()?, state: SubscriptionState::parse(&state)?, at: Timestamp(at) })
            })
            .collect()
    }

    /// What a reel turn is about.
    pub async fn subscription(&self, id: SubscriptionId) -> Result<Subscription> {
        type Row = (String, String, String, Option<String>, Option<String>, Option<String>, i64);
        let row: Row = read!(&self.db, pool => sqlx::query_as(
                "SELECT s.shortcode, s.question, s.board_id, s.reply_to, j.failure, r.content, \
                 (SELECT COUNT(*) FROM subscriptions o WHERE o.board_id = s.board_id) \
                 FROM subscriptions s LEFT JOIN jobs j ON j.id = s.job_id \
                 LEFT JOIN reels r ON r.shortcode = s.shortcode AND r.state = 'done' WHERE s.id = $1")
            .bind(id.to_string())
            .fetch_one(pool)
            .await)?;
        let (shortcode, question, board, reply_to, failure, content, on_board) = row;
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
            reply_to,
            result,
        })
    }

    /// A reel turn waits while an earlier turn of its person and chat is open. `true` if it was put to sleep.
    pub async fn park_turn(&self, turn: &super::turns::Turn) -> Result<bool> {
        exclusive!(&self.db, [super::turns::talk_lock(turn.person, &turn.chat)], tx => {
            let parked = sqlx::query(
                    "UPDATE turns SET leased_by = NULL, due_at = $1 WHERE id = $2 AND leased_by = $3 AND attempt = $4 AND EXISTS \
                     (SELECT 1 FROM turns o WHERE o.person_id = $5 AND o.chat = $6 AND o.state <> 'closed' AND o.id < $2)")
                .bind(Timestamp::NEVER.0)
                .bind(turn.id.to_string())
                .bind(turn.leased_by.to_string())
                .bind(turn.attempt)
                .bind(turn.person.to_string())
                .bind(turn.chat.to_string())
                .execute(&mut *tx)
                .await?;
            Ok(parked.rows_affected() == 1)
        })
    }
}

/// Owes an answer about a reel. It is due at once; whoever claims it puts it to sleep if it has to wait its
/// turn ([`Store::park_turn`]), because the line's lock is not the talk's.
macro_rules! insert_reel_turn {
    ($tx:ident, $subscription:expr, $person:expr, $chat:expr, $reply_to:expr, $now:expr) => {
        sqlx::query(
            "INSERT INTO turns (id, kind, state, person_id, chat, subscription_id, reply_to, merge_until, inputs, sealed, due_at, \
             attempt, shown, created_at) VALUES ($1, 'reel', 'open', $2, $3, $4, $5, $6, 0, FALSE, $6, 0, '[]', $6)",
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

/// Undoes one reel's share of a person's spacing.
macro_rules! give_time_back {
    ($tx:ident, $person:expr, $interval:expr, $now:expr) => {
        sqlx::query(
            "UPDATE people SET next_reel_at = CASE WHEN next_reel_at - $1 > $2 THEN next_reel_at - $1 ELSE $2 END WHERE id = $3",
        )
        .bind(i64::try_from($interval.as_millis()).unwrap_or(0))
        .bind($now.0)
        .bind($person)
        .execute(&mut *$tx)
        .await?
    };
}
use {give_time_back, insert_reel_turn};
