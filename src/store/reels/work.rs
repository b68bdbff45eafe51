//! Work on the queue: claiming a job for a lane, keeping its lease, ending it. Decides nothing about who may ask.

use std::collections::HashSet;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::ids::{ChatId, InstanceId, Shortcode};
use crate::store::budgets::guild_of;
use crate::store::lanes::{BREAKERS, Lane, LaneKind, Lanes, SETTINGS};
use crate::store::renewals::{Kind, LeaseKey, Renewed};
use crate::store::usage::{Counted, Timed, Within, count_up, time_up};
use crate::store::{Conn, Result, Store, StoreError, args, sql};

use super::choice::Choice;
use super::slots::{give_time_back, heir, move_job};
use super::{Asker, Claimed, JobEnd, JobLease, JobPhase, LiveJob, Running, insert_reel_turn, wait_in_line};
use crate::store::locks::QUEUE;

impl Store {
    /// Takes the next job for one of `lanes` that is free, not paused and whose upstream's breaker lets it: first one
    /// whose worker was lost, then the first of the line. Prefers lanes in the order given; those of n8n take turns. An
    /// upstream that is on trial gets a reel that has not failed before, if it can of somebody whose reels have not. A
    /// job that this process works on is never taken: it keeps its lease. None while leases are not renewed in time.
    pub async fn claim_job(
        &self,
        who: InstanceId,
        lanes: &[Lane],
        now: Timestamp,
        lease: Duration,
    ) -> Result<Option<Claimed>> {
        if self.is_full(lease) {
            return Ok(None);
        }
        let claim = async |tx: &mut Conn<'_>| {
            let busy = self.busy_lanes(tx, who, now, lease).await?;
            let busy: HashSet<&str> = busy.iter().map(String::as_str).collect();
            if lanes.iter().all(|lane| busy.contains(lane.name())) {
                return Ok(None);
            }
            let (settings, breakers) = (tx.fetch_all(SETTINGS, args![]).await?, tx.fetch_all(BREAKERS, args![]).await?);
            let known = Lanes::from_rows(settings, breakers, false);
            for choice in Choice::all(lanes, &busy, &known, now) {
                if let Some(found) = self.find_job(tx, &choice, now).await? {
                    return take_job(tx, found, &known, who, now, lease).await.map(Some);
                }
            }
            Ok(None)
        };
        let claimed = self.claims.exclusive(&[QUEUE], claim).await?;
        if claimed.is_some() {
            self.db.synced().await?;
        }
        Ok(claimed)
    }

    /// The lanes at work. A job that this process works on keeps its lease, and its lane, although it is overdue.
    async fn busy_lanes(
        &self,
        tx: &mut Conn<'_>,
        who: InstanceId,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Vec<String>> {
        #[derive(sqlx::FromRow)]
        struct RunningRow {
            id: String,
            lane: String,
            leased_by: Option<String>,
            leased_until: i64,
        }
        let sql = "SELECT id, lane, leased_by, leased_until FROM jobs WHERE state = 'running' AND lane IS NOT NULL";
        let running: Vec<RunningRow> = tx.fetch_all(sql, args![]).await?;
        let own = who.to_string();
        let mut busy = Vec::with_capacity(running.len());
        for RunningRow { id, lane, leased_by, leased_until } in running {
            let is_overdue = leased_until <= now.0;
            let is_at_work = leased_by.as_deref() == Some(&own) && self.held.contains(&id);
            if is_overdue && is_at_work {
                let sql = "UPDATE jobs SET leased_until = $1 WHERE id = $2";
                tx.execute(sql, args![(now + lease).0, id]).await?;
            }
            if !is_overdue || is_at_work {
                busy.push(lane);
            }
        }
        Ok(busy)
    }

    /// The job that comes next for these lanes, and the lane that takes it.
    async fn find_job<'l>(
        &self,
        tx: &mut Conn<'_>,
        choice: &Choice<'l>,
        now: Timestamp,
    ) -> Result<Option<FoundJob<'l>>> {
        let Choice { takes_runs, not_from, trial_of, .. } = *choice;
        let args = args![now.0, takes_runs, not_from, trial_of.unwrap_or_default()];
        let orphans: Vec<ClaimRow> = tx.fetch_all(ORPHANS, args).await?;
        // One that this process has lost without knowing it yet waits until the work on it has ended here.
        let orphan = orphans.into_iter().find(|row| !self.held.contains(&row.id));
        let is_queued = orphan.is_none();
        let row: Option<ClaimRow> = match (orphan, trial_of) {
            (Some(row), _) => Some(row),
            (None, None) => tx.fetch_optional(NEXT, args![now.0, takes_runs, not_from]).await?,
            (None, Some(upstream)) => tx.fetch_optional(TRIAL, args![now.0, takes_runs, not_from, upstream]).await?,
        };
        let Some(row) = row else { return Ok(None) };
        let lane = choice.lane_for(row.run_id.is_some(), row.failed_on.as_deref());
        Ok(lane.map(|lane| FoundJob { row, lane, is_queued }))
    }

    /// Extends the lease and tells whether the job is still wanted.
    pub async fn renew_job(&self, job: &Claimed, until: Timestamp) -> Result<JobLease> {
        let lease = LeaseKey { row: job.job.to_string(), by: job.leased_by, attempt: job.attempt };
        Ok(match self.renew(Kind::Job, lease, until).await? {
            Renewed::Held { cancel: false } => JobLease::Held,
            Renewed::Held { cancel: true } => JobLease::CancelWanted,
            Renewed::Lost => JobLease::Lost,
        })
    }

    /// Notes the Apify run that is being paid for, or with `None` that it is of no use any more.
    pub async fn note_run(&self, job: &Claimed, run: Option<&str>) -> Result<bool> {
        let sql = r"
            UPDATE jobs
            SET run_id = $1
            WHERE id = $2 AND leased_by = $3 AND attempt = $4 AND state = 'running'";
        let changed =
            self.db.execute(sql, args![run, job.job.to_string(), job.leased_by.to_string(), job.attempt]).await?;
        Ok(changed == 1)
    }

    /// Notes how far the job is.
    pub async fn note_phase(&self, job: &Claimed, phase: JobPhase) -> Result<()> {
        let sql = r"
            UPDATE jobs
            SET phase = $1
            WHERE id = $2 AND leased_by = $3 AND attempt = $4 AND state = 'running'";
        self.db.execute(sql, args![phase.name(), job.job.to_string(), job.leased_by.to_string(), job.attempt]).await?;
        self.jobs_changed().await;
        Ok(())
    }

    /// Puts a job back into the line at its old place, to be tried again not before `at`; its run id stays, and what
    /// `job` says of its beginning and of what was bought. With `failed_on` another upstream takes it, if there is one
    /// that works. A job that nobody waits for any more ends instead. `false` once the lease is lost.
    pub async fn requeue_job(&self, job: &Claimed, at: Timestamp, failed_on: Option<&str>) -> Result<bool> {
        let requeue = async |tx: &mut Conn<'_>| {
            let id = job.job.to_string();
            let sql = r"
                UPDATE jobs
                SET state = CASE WHEN cancel THEN 'cancelled' ELSE 'queued' END,
                    finished_at = CASE WHEN cancel THEN $1 ELSE NULL END,
                    phase = 'waiting', lane = NULL, lane_kind = NULL, leased_by = NULL, leased_until = 0,
                    started_at = NULL, not_before = $1, failed_on = $2, began_at = $6, bought = $7
                WHERE id = $3 AND leased_by = $4 AND attempt = $5 AND state = 'running'
                RETURNING state";
            let leased_by = job.leased_by.to_string();
            let args = args![at.0, failed_on, &id, leased_by, job.attempt, job.began_at.0, job.bought];
            let state: Option<String> = tx.fetch_optional_value(sql, args).await?;
            if state.as_deref() == Some("queued") {
                wait_in_line(tx, 1).await?;
                // In the slot in which it was begun; only the next attempts are somebody else's to pay.
                if let Some(heir) = heir(tx, &id, at).await? {
                    let sql = "UPDATE jobs SET asked_by = $1, slot_at = NULL WHERE id = $2";
                    tx.execute(sql, args![heir.person_id, id]).await?;
                }
            }
            Ok(state.is_some())
        };
        let changed = self.db.exclusive(&[QUEUE], requeue).await;
        self.jobs_changed().await;
        changed
    }

    /// Ends a job: keeps what is known and owes an answer to everyone who waits, in one transaction. `false`
    /// once the lease is lost.
    pub async fn finish_job(&self, job: &Claimed, end: &JobEnd, interval: Duration, now: Timestamp) -> Result<bool> {
        let finished = self.db.exclusive(&[QUEUE], async |tx| finish_job(tx, job, end, interval, now).await).await;
        self.turns_changed();
        self.jobs_changed().await;
        finished
    }

    /// All jobs in the line, in order, after those at work.
    pub async fn line(&self) -> Result<Vec<LiveJob>> {
        #[derive(sqlx::FromRow)]
        struct LiveJobRow {
            id: String,
            shortcode: String,
            asked_by: String,
            ready_at: i64,
            created_at: i64,
            not_before: i64,
            lane: Option<String>,
            phase: String,
            started_at: Option<i64>,
        }
        let sql = r"
            SELECT id, shortcode, asked_by, ready_at, created_at, not_before, lane, phase, started_at
            FROM jobs
            WHERE state IN ('queued', 'running')
            ORDER BY state DESC, ready_at, id";
        let rows: Vec<LiveJobRow> = self.db.fetch_all(sql, args![]).await?;
        let live = |row: LiveJobRow| {
            let running = match (row.lane, row.started_at) {
                (Some(lane), Some(started_at)) => {
                    Some(Running { lane, phase: JobPhase::parse(&row.phase)?, started_at: Timestamp(started_at) })
                }
                _ => None,
            };
            Ok(LiveJob {
                job: row.id.parse()?,
                shortcode: row.shortcode.parse()?,
                asked_by: row.asked_by.parse()?,
                ready_at: Timestamp(row.ready_at.max(row.not_before)),
                created_at: Timestamp(row.created_at),
                has_failed: row.not_before > 0,
                running,
            })
        };
        rows.into_iter().map(live).collect()
    }

    /// The latest jobs that failed, newest first: which reel, why (as JSON), when.
    pub async fn recent_failures(&self, limit: u32) -> Result<Vec<(Shortcode, String, Timestamp)>> {
        #[derive(sqlx::FromRow)]
        struct FailedRow {
            shortcode: String,
            failure: String,
            finished_at: i64,
        }
        let sql = r"
            SELECT shortcode, failure, finished_at
            FROM jobs
            WHERE state = 'failed' AND failure IS NOT NULL AND finished_at IS NOT NULL
            ORDER BY finished_at DESC
            LIMIT $1";
        let rows: Vec<FailedRow> = self.db.fetch_all(sql, args![i64::from(limit)]).await?;
        rows.into_iter().map(|row| Ok((row.shortcode.parse()?, row.failure, Timestamp(row.finished_at)))).collect()
    }

    /// When the next queued job becomes ready.
    pub async fn next_ready(&self) -> Result<Option<Timestamp>> {
        let at: Option<i64> =
            self.db.fetch_value("SELECT MIN(ready_at) FROM jobs WHERE state = 'queued'", args![]).await?;
        Ok(at.map(Timestamp))
    }

    /// How long the latest finished jobs of a kind of lane took, newest first.
    pub async fn recent_durations(&self, kind: LaneKind, limit: u32) -> Result<Vec<Duration>> {
        let sql = r"
            SELECT started_at, finished_at
            FROM jobs
            WHERE lane_kind = $1 AND state = 'done' AND started_at IS NOT NULL
            ORDER BY finished_at DESC
            LIMIT $2";
        let rows: Vec<WorkSpan> = self.db.fetch_all(sql, args![kind.name(), i64::from(limit)]).await?;
        Ok(rows.into_iter().map(WorkSpan::length).collect())
    }
}

/// A job as it is claimed.
#[derive(sqlx::FromRow)]
struct ClaimRow {
    id: String,
    shortcode: String,
    run_id: Option<String>,
    failed_on: Option<String>,
    asked_by: String,
    attempt: i64,
    cancel: bool,
    created_at: i64,
    began_at: Option<i64>,
    bought: bool,
    not_before: i64,
    leased_until: i64,
}

const CLAIM_ROW: &str = r"
    SELECT id, shortcode, run_id, failed_on, asked_by, attempt, cancel, created_at, began_at, bought, not_before,
        leased_until
    FROM jobs
    WHERE";

/// Which queued jobs may be taken now.
const QUEUED: &str = r"
    state = 'queued' AND ready_at <= $1 AND not_before <= $1
    AND (run_id IS NULL OR $2 OR failed_on = 'direct')
    AND (failed_on IS NULL OR failed_on <> $3)";

/// The jobs whose workers were lost, at most one a lane; `$4`: for this upstream on trial only those that have not
/// failed, empty for any.
const ORPHANS: &str = sql!(
    CLAIM_ROW,
    r"state = 'running' AND leased_until <= $1
    AND (run_id IS NULL OR $2 OR failed_on = 'direct')
    AND (failed_on IS NULL OR failed_on <> $3)
    AND (
        $4 = ''
        OR (not_before = 0 AND shortcode NOT IN (SELECT shortcode FROM breaker_reels WHERE upstream = $4))
    )
    ORDER BY started_at, id"
);

const NEXT: &str = sql!(CLAIM_ROW, QUEUED, "ORDER BY ready_at, id LIMIT 1");

/// For an upstream on trial.
const TRIAL: &str = sql!(
    CLAIM_ROW,
    QUEUED,
    r"
        AND not_before = 0 AND shortcode NOT IN (SELECT shortcode FROM breaker_reels WHERE upstream = $4)
        ORDER BY CASE WHEN asked_by IN (SELECT person_id FROM breaker_reels WHERE upstream = $4) THEN 1 ELSE 0 END,
            ready_at, id
        LIMIT 1"
);

/// A job that is about to be taken.
struct FoundJob<'l> {
    row: ClaimRow,
    lane: &'l Lane,
    /// Not left by a lost worker.
    is_queued: bool,
}

async fn take_job(
    tx: &mut Conn<'_>,
    found: FoundJob<'_>,
    known: &Lanes,
    who: InstanceId,
    now: Timestamp,
    lease: Duration,
) -> Result<Claimed> {
    #[derive(sqlx::FromRow)]
    struct JobAskers {
        chat: Option<String>,
        passed: i64,
    }
    let FoundJob { row, lane, is_queued } = found;
    let ClaimRow { id, shortcode, run_id, failed_on, asked_by, attempt, cancel, created_at, bought, .. } = row;
    // The times in which nobody could work on it are not its own: in the queue behind its pause, or without a worker.
    let idle_from = if is_queued { row.not_before } else { row.leased_until };
    let idle = if attempt > 0 && idle_from > 0 { now.since(Timestamp(idle_from)) } else { Duration::ZERO };
    let began_at = row.began_at.map_or(now, |began_at| Timestamp(began_at) + idle);
    // What a lost worker bought is not known.
    let bought = bought || !is_queued;
    // A job whose lease on this lane has ended loses the lane for good: renewed late, it would make two on one.
    let sql = r"
        UPDATE jobs
        SET leased_by = NULL, leased_until = 0, lane = NULL
        WHERE state = 'running' AND lane = $1 AND id <> $2";
    tx.execute(sql, args![lane.name(), &id]).await?;
    let sql = r"
        UPDATE jobs
        SET state = 'running', phase = CASE WHEN state = 'running' THEN phase ELSE 'scraping' END,
            lane = $1, lane_kind = $2, attempt = attempt + 1, leased_by = $3, leased_until = $4,
            started_at = COALESCE(started_at, $5), began_at = $6, bought = $7
        WHERE id = $8";
    let (kind, until) = (lane.kind().name(), now + lease);
    tx.execute(sql, args![lane.name(), kind, who.to_string(), until.0, now.0, began_at.0, bought, &id]).await?;
    if is_queued {
        wait_in_line(tx, -1).await?;
    }
    let sql = r"
        INSERT INTO lanes (name, paused, used_at)
        VALUES ($1, FALSE, $2)
        ON CONFLICT (name) DO UPDATE SET used_at = excluded.used_at";
    tx.execute(sql, args![lane.name(), now.0]).await?;
    let sql = r"
        SELECT
            (
                SELECT chat
                FROM subscriptions
                WHERE job_id = $1 AND person_id = $2
                ORDER BY CASE WHEN state = 'waiting' THEN 0 ELSE 1 END, id
                LIMIT 1
            ) AS chat,
            (SELECT COUNT(DISTINCT person_id) FROM subscriptions WHERE job_id = $1 AND unfunded) AS passed";
    let asking: JobAskers = tx.fetch_one(sql, args![&id, &asked_by]).await?;
    let chat: ChatId = asking.chat.ok_or(StoreError::Corrupt("a job without its asker"))?.parse()?;
    if attempt == 0 {
        let within = Within::new(&chat, guild_of(tx, &chat).await?);
        time_up(tx, &within, now, &[(Timed::Wait, now.since(Timestamp(created_at)))]).await?;
    }
    Ok(Claimed {
        job: id.parse()?,
        shortcode: shortcode.parse()?,
        lane: lane.clone(),
        attempt: attempt + 1,
        passed: asking.passed,
        run_id,
        failed_on,
        cancel,
        bought,
        created_at: Timestamp(created_at),
        began_at,
        quota_until: known.breaker(lane.upstream()).and_then(|breaker| breaker.quota_used_up(now)),
        asked_by: asked_by.parse()?,
        chat,
        leased_by: who,
    })
}

async fn finish_job(
    tx: &mut Conn<'_>,
    job: &Claimed,
    end: &JobEnd,
    interval: Duration,
    now: Timestamp,
) -> Result<bool> {
    let id = job.job.to_string();
    let (state, failure, refund) = match end {
        JobEnd::Done { .. } => ("done", None, false),
        JobEnd::Failed { content, refund, .. } => ("failed", Some(content), *refund),
        JobEnd::Cancelled { refund } => ("cancelled", None, *refund),
    };
    let sql = r"
        UPDATE jobs
        SET state = $1, failure = $2, finished_at = $3, leased_by = NULL, leased_until = 0, lane = NULL
        WHERE id = $4 AND leased_by = $5 AND attempt = $6 AND state = 'running'";
    let args = args![state, failure, now.0, &id, job.leased_by.to_string(), job.attempt];
    if tx.execute(sql, args).await? == 0 {
        return Ok(false);
    }
    let is_known = match end {
        JobEnd::Done { content, pipeline, until } | JobEnd::Failed { content, pipeline, until, .. } => {
            // A failure that says nothing of the reel is not kept.
            if state == "done" || *until > now {
                keep_reel(tx, &job.shortcode, state, content, *pipeline, *until, now).await?;
            }
            true
        }
        JobEnd::Cancelled { .. } => false,
    };
    // Somebody may have joined since the last asker left.
    if !is_known && queue_again(tx, &id, refund, interval, now).await? {
        return Ok(true);
    }
    if refund {
        give_time_back(tx, &id, interval, now).await?;
    }
    if is_known {
        let sql = r"
            SELECT id, person_id, chat, reply_to
            FROM subscriptions
            WHERE job_id = $1 AND state = 'waiting'
            ORDER BY id";
        let waiting: Vec<Asker> = tx.fetch_all(sql, args![&id]).await?;
        for asker in &waiting {
            insert_reel_turn(tx, asker, now).await?;
        }
        let sql = "UPDATE subscriptions SET state = 'answering' WHERE job_id = $1 AND state = 'waiting'";
        tx.execute(sql, args![id]).await?;
    }
    let within = Within::new(&job.chat, guild_of(tx, &job.chat).await?);
    count_up(tx, &within, now, &[(Counted::Job, state)]).await?;
    Ok(true)
}

/// Keeps what is known of a reel. A failure does not take the place of a good result.
async fn keep_reel(
    tx: &mut Conn<'_>,
    code: &Shortcode,
    state: &str,
    content: &str,
    pipeline: i64,
    until: Timestamp,
    now: Timestamp,
) -> Result<()> {
    let sql = r"
        INSERT INTO reels (shortcode, pipeline, state, content, at, until)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (shortcode) DO UPDATE SET pipeline = excluded.pipeline, state = excluded.state,
            content = excluded.content, at = excluded.at, until = excluded.until
        WHERE excluded.state = 'done' OR reels.state = 'failed' OR reels.until <= excluded.at
            OR reels.pipeline <> excluded.pipeline";
    tx.execute(sql, args![code.as_str(), pipeline, state, content, now.0, until.0]).await?;
    Ok(())
}

/// Puts a job that was cancelled back into the line, if somebody waits for it.
async fn queue_again(tx: &mut Conn<'_>, id: &str, refund: bool, interval: Duration, now: Timestamp) -> Result<bool> {
    let sql = r"
        UPDATE jobs
        SET state = 'queued', phase = 'waiting', ready_at = $1, not_before = 0, failed_on = NULL, run_id = NULL,
            started_at = NULL, began_at = NULL, finished_at = NULL, cancel = FALSE
        WHERE id = $2 AND EXISTS (SELECT 1 FROM subscriptions s WHERE s.job_id = $2 AND s.state = 'waiting')";
    if tx.execute(sql, args![now.0, id]).await? == 0 {
        return Ok(false);
    }
    wait_in_line(tx, 1).await?;
    if let Some(heir) = heir(tx, id, now).await? {
        if refund {
            give_time_back(tx, id, interval, now).await?;
        }
        move_job(tx, id, &heir.person_id, heir.slot(now), interval).await?;
    }
    Ok(true)
}

/// From when to when a job was worked on.
#[derive(sqlx::FromRow)]
pub(in crate::store) struct WorkSpan {
    started_at: i64,
    finished_at: i64,
}

impl WorkSpan {
    pub(in crate::store) fn length(self) -> Duration {
        Timestamp(self.finished_at).since(Timestamp(self.started_at))
    }
}
