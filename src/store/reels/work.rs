//! Work on the queue: claiming a job for a lane, keeping its lease, ending it. Decides nothing about who may ask.

use std::collections::HashSet;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::ids::{InstanceId, TurnId};
use crate::store::{Result, Store, StoreError, exclusive, read, write};

use super::{
    Claimed, JobEnd, JobLease, JobPhase, Lane, LaneKind, LiveJob, QUEUE, Running, give_time_back, insert_reel_turn,
};

impl Store {
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
            // A paid Apify run can only be picked up by a direct lane: it waits for one, unless there is none.
            let any = free.clone().any(|lane| lane.kind == LaneKind::Direct)
                || lanes.iter().all(|lane| lane.kind != LaneKind::Direct);
            let orphan: Option<Row> = sqlx::query_as(
                    "SELECT id, shortcode, run_id, asked_by, attempt FROM jobs WHERE state = 'running' AND leased_until <= $1 \
                     AND ($2 OR run_id IS NULL) ORDER BY started_at, id LIMIT 1")
                .bind(now.0)
                .bind(any)
                .fetch_optional(&mut *tx)
                .await?;
            let row = match orphan {
                Some(row) => Some(row),
                None => {
                    sqlx::query_as(
                            "SELECT id, shortcode, run_id, asked_by, attempt FROM jobs WHERE state = 'queued' AND ready_at <= $1 \
                             AND ($2 OR run_id IS NULL) ORDER BY ready_at, id LIMIT 1")
                        .bind(now.0)
                        .bind(any)
                        .fetch_optional(&mut *tx)
                        .await?
                }
            };
            let Some((id, shortcode, run_id, asked_by, attempt)) = row else {
                return Ok(None);
            };
            let lane = match free.find(|lane| lane.kind == LaneKind::Direct) {
                Some(direct) if run_id.is_some() => direct,
                _ => first_free,
            };
            // A job whose lease on this lane has ended loses the lane for good: renewed late, it would make two on one.
            sqlx::query("UPDATE jobs SET leased_by = NULL, leased_until = 0, lane = NULL WHERE state = 'running' AND lane = $1 AND id <> $2")
                .bind(&lane.name)
                .bind(&id)
                .execute(&mut *tx)
                .await?;
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

    /// Puts a job back into the line, not before `ready_at`; its run id stays. One that nobody waits for any more
    /// ends instead. `false` once the lease is lost.
    pub async fn requeue_job(&self, job: &Claimed, ready_at: Timestamp) -> Result<bool> {
        let changed: Result<bool> = exclusive!(&self.db, [QUEUE], tx => {
            let changed = sqlx::query(
                    "UPDATE jobs SET state = CASE WHEN cancel THEN 'cancelled' ELSE 'queued' END, \
                     finished_at = CASE WHEN cancel THEN $1 ELSE NULL END, phase = 'waiting', lane = NULL, lane_kind = NULL, \
                     leased_by = NULL, leased_until = 0, started_at = NULL, ready_at = $1 \
                     WHERE id = $2 AND leased_by = $3 AND attempt = $4 AND state = 'running'")
                .bind(ready_at.0)
                .bind(job.job.to_string())
                .bind(job.leased_by.to_string())
                .bind(job.attempt)
                .execute(&mut *tx)
                .await?;
            Ok(changed.rows_affected() == 1)
        });
        self.jobs_changed().await;
        changed
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
                give_time_back!(tx, &id, interval, now);
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
}
