//! Work on the queue: claiming a job for a lane, keeping its lease, ending it. Decides nothing about who may ask.

use std::collections::HashSet;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::ids::{ChatId, InstanceId, Shortcode, TurnId};
use crate::store::budgets::guild_of;
use crate::store::lanes::{
    BREAKERS, BreakerRow, BreakerState, Lane, LaneKind, Lanes, SETTINGS, SettingRow, TRIAL_WAIT,
};
use crate::store::renewals::{Kind, LeaseKey, Renewed};
use crate::store::usage::{Counted, Timed, Within, count_up, time_up};
use crate::store::{Result, Store, StoreError, exclusive, read, write};

use super::slots::{give_time_back, inherit_job, move_job};
use super::{Claimed, JobEnd, JobLease, JobPhase, LiveJob, QUEUE, Running, insert_reel_turn, wait_in_line};

impl Store {
    /// Takes the next job for one of `lanes` that is free, not paused and whose upstream's breaker lets it: first one
    /// whose worker was lost, then the first of the line. Prefers lanes in the order given; those of n8n take turns. An
    /// upstream that is on trial gets a reel that has not failed before, if it can of somebody whose reels have not. A job
    /// that this process works on is never taken: it keeps its lease. None while leases
    /// are not renewed in time.
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
        let claimed: Result<Option<Claimed>> = exclusive!(&self.claims, [QUEUE], tx => {
            let running: Vec<(String, String, Option<String>, i64)> = sqlx::query_as(
                    "SELECT id, lane, leased_by, leased_until FROM jobs WHERE state = 'running' AND lane IS NOT NULL")
                .fetch_all(&mut *tx)
                .await?;
            let own = who.to_string();
            let is_at_work =
                |id: &str, leased_by: &Option<String>| leased_by.as_deref() == Some(&own) && self.held.contains(id);
            let mut busy: HashSet<&str> = HashSet::new();
            for (id, lane, leased_by, leased_until) in &running {
                let is_overdue = *leased_until <= now.0;
                if is_overdue && is_at_work(id, leased_by) {
                    sqlx::query("UPDATE jobs SET leased_until = $1 WHERE id = $2").bind((now + lease).0).bind(id).execute(&mut *tx).await?;
                }
                if !is_overdue || is_at_work(id, leased_by) {
                    busy.insert(lane);
                }
            }
            if lanes.iter().all(|lane| busy.contains(lane.name.as_str())) {
                return Ok(None);
            }
            let settings: Vec<SettingRow> = sqlx::query_as(SETTINGS).fetch_all(&mut *tx).await?;
            let breakers: Vec<BreakerRow> = sqlx::query_as(BREAKERS).fetch_all(&mut *tx).await?;
            let known = Lanes::from_rows(settings, breakers, false);
            let mut found = None;
            for choice in Choice::all(lanes, &busy, &known, now) {
                let orphans: Vec<ClaimRow> = sqlx::query_as(ORPHANS)
                    .bind(now.0)
                    .bind(choice.takes_runs)
                    .bind(choice.not_from)
                    .bind(choice.trial_of.unwrap_or_default())
                    .fetch_all(&mut *tx)
                    .await?;
                // One that this process has lost without knowing it yet waits until the work on it has ended here.
                let orphan = orphans.into_iter().find(|row| !self.held.contains(&row.id));
                let is_queued = orphan.is_none();
                let row: Option<ClaimRow> = match (orphan, choice.trial_of) {
                    (Some(row), _) => Some(row),
                    (None, None) => {
                        sqlx::query_as(NEXT)
                            .bind(now.0)
                            .bind(choice.takes_runs)
                            .bind(choice.not_from)
                            .fetch_optional(&mut *tx)
                            .await?
                    }
                    (None, Some(upstream)) => {
                        sqlx::query_as(TRIAL)
                            .bind(now.0)
                            .bind(choice.takes_runs)
                            .bind(choice.not_from)
                            .bind(upstream)
                            .fetch_optional(&mut *tx)
                            .await?
                    }
                };
                let lane = row.as_ref().and_then(|row| choice.lane_for(row.run_id.is_some(), row.failed_on.as_deref()));
                if let (Some(row), Some(lane)) = (row, lane) {
                    found = Some((row, lane, is_queued));
                    break;
                }
            }
            let Some((row, lane, is_queued)) = found else { return Ok(None) };
            let ClaimRow { id, shortcode, run_id, failed_on, asked_by, attempt, cancel, created_at, bought, .. } = row;
            // The times in which nobody could work on it are not its own: in the queue behind its pause, or without a worker.
            let idle_from = if is_queued { row.not_before } else { row.leased_until };
            let idle = if attempt > 0 && idle_from > 0 { now.since(Timestamp(idle_from)) } else { Duration::ZERO };
            let began_at = row.began_at.map_or(now, |began_at| Timestamp(began_at) + idle);
            // What a lost worker bought is not known.
            let bought = bought || !is_queued;
            // A job whose lease on this lane has ended loses the lane for good: renewed late, it would make two on one.
            sqlx::query("UPDATE jobs SET leased_by = NULL, leased_until = 0, lane = NULL WHERE state = 'running' AND lane = $1 AND id <> $2")
                .bind(&lane.name)
                .bind(&id)
                .execute(&mut *tx)
                .await?;
            sqlx::query(
                    "UPDATE jobs SET state = 'running', phase = CASE WHEN state = 'running' THEN phase ELSE 'scraping' END, lane = $1, \
                     lane_kind = $2, attempt = attempt + 1, leased_by = $3, leased_until = $4, started_at = COALESCE(started_at, $5), \
                     began_at = $6, bought = $7 WHERE id = $8")
                .bind(&lane.name)
                .bind(lane.kind.name())
                .bind(who.to_string())
                .bind((now + lease).0)
                .bind(now.0)
                .bind(began_at.0)
                .bind(bought)
                .bind(&id)
                .execute(&mut *tx)
                .await?;
            if is_queued {
                wait_in_line!(tx, -1);
            }
            sqlx::query(
                    "INSERT INTO lanes (name, paused, used_at) VALUES ($1, FALSE, $2) ON CONFLICT (name) DO UPDATE SET used_at = excluded.used_at")
                .bind(&lane.name)
                .bind(now.0)
                .execute(&mut *tx)
                .await?;
            let place: Option<(String,)> =
                sqlx::query_as(
                        "SELECT chat FROM subscriptions WHERE job_id = $1 AND person_id = $2 \
                         ORDER BY CASE WHEN state = 'waiting' THEN 0 ELSE 1 END, id LIMIT 1")
                    .bind(&id)
                    .bind(&asked_by)
                    .fetch_optional(&mut *tx)
                    .await?;
            let chat: ChatId = place.ok_or(StoreError::Corrupt("a job without its asker"))?.0.parse()?;
            let (passed,): (i64,) =
                sqlx::query_as("SELECT COUNT(DISTINCT person_id) FROM subscriptions WHERE job_id = $1 AND unfunded")
                    .bind(&id)
                    .fetch_one(&mut *tx)
                    .await?;
            if attempt == 0 {
                let within = Within::new(&chat, guild_of!(tx, &chat));
                time_up!(tx, within, now, [(Timed::Wait, now.since(Timestamp(created_at)))]);
            }
            Ok(Some(Claimed {
                job: id.parse()?,
                shortcode: shortcode.parse()?,
                lane: lane.clone(),
                attempt: attempt + 1,
                passed,
                run_id,
                failed_on,
                cancel,
                bought,
                began_at,
                quota_until: known.breaker(lane.upstream()).and_then(|breaker| breaker.quota_used_up(now)),
                asked_by: asked_by.parse()?,
                chat,
                leased_by: who,
            }))
        });
        let claimed = claimed?;
        if claimed.is_some() {
            self.db.synced().await?;
        }
        Ok(claimed)
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
        let changed = write!(&self.db, connection => sqlx::query(
                "UPDATE jobs SET run_id = $1 WHERE id = $2 AND leased_by = $3 AND attempt = $4 AND state = 'running'")
            .bind(run)
            .bind(job.job.to_string())
            .bind(job.leased_by.to_string())
            .bind(job.attempt)
            .execute(connection)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(changed == 1)
    }

    /// Notes how far the job is.
    pub async fn note_phase(&self, job: &Claimed, phase: JobPhase) -> Result<()> {
        write!(&self.db, connection => sqlx::query(
                "UPDATE jobs SET phase = $1 WHERE id = $2 AND leased_by = $3 AND attempt = $4 AND state = 'running'")
            .bind(phase.name())
            .bind(job.job.to_string())
            .bind(job.leased_by.to_string())
            .bind(job.attempt)
            .execute(connection)
            .await
            .map(|_| ()))?;
        self.jobs_changed().await;
        Ok(())
    }

    /// Puts a job back into the line at its old place, to be tried again not before `at`; its run id stays, and what `job` says of
    /// its beginning and of what was bought. With `failed_on` another upstream takes it, if there is one that works. A job
    /// that nobody waits for any more ends instead. `false` once the lease is lost.
    pub async fn requeue_job(&self, job: &Claimed, at: Timestamp, failed_on: Option<&str>) -> Result<bool> {
        let changed: Result<bool> = exclusive!(&self.db, [QUEUE], tx => {
            let state: Option<(String,)> = sqlx::query_as(
                    "UPDATE jobs SET state = CASE WHEN cancel THEN 'cancelled' ELSE 'queued' END, \
                     finished_at = CASE WHEN cancel THEN $1 ELSE NULL END, phase = 'waiting', lane = NULL, lane_kind = NULL, \
                     leased_by = NULL, leased_until = 0, started_at = NULL, not_before = $1, failed_on = $2, began_at = $6, \
                     bought = $7 WHERE id = $3 AND leased_by = $4 AND attempt = $5 AND state = 'running' RETURNING state")
                .bind(at.0)
                .bind(failed_on)
                .bind(job.job.to_string())
                .bind(job.leased_by.to_string())
                .bind(job.attempt)
                .bind(job.began_at.0)
                .bind(job.bought)
                .fetch_optional(&mut *tx)
                .await?;
            if state.as_ref().is_some_and(|(state,)| state == "queued") {
                wait_in_line!(tx, 1);
                // In the slot in which it was begun; only the next attempts are somebody else's to pay.
                let heir = inherit_job!(tx, &job.job.to_string(), at);
                if let Some((heir, _)) = heir {
                    sqlx::query("UPDATE jobs SET asked_by = $1, slot_at = NULL WHERE id = $2")
                        .bind(heir)
                        .bind(job.job.to_string())
                        .execute(&mut *tx)
                        .await?;
                }
            }
            Ok(state.is_some())
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
            // A failure that says nothing of the reel is not kept, and none takes the place of a good result.
            let kept = known.filter(|(state, .., until)| *state == "done" || **until > now);
            if let Some((state, content, pipeline, until)) = kept {
                sqlx::query(
                        "INSERT INTO reels (shortcode, pipeline, state, content, at, until) VALUES ($1, $2, $3, $4, $5, $6) \
                         ON CONFLICT (shortcode) DO UPDATE SET pipeline = excluded.pipeline, state = excluded.state, \
                         content = excluded.content, at = excluded.at, until = excluded.until \
                         WHERE excluded.state = 'done' OR reels.state = 'failed' OR reels.until <= excluded.at \
                         OR reels.pipeline <> excluded.pipeline")
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
                        "UPDATE jobs SET state = 'queued', phase = 'waiting', ready_at = $1, not_before = 0, failed_on = NULL, \
                         run_id = NULL, started_at = NULL, began_at = NULL, finished_at = NULL, cancel = FALSE WHERE id = $2 AND EXISTS \
                         (SELECT 1 FROM subscriptions s WHERE s.job_id = $2 AND s.state = 'waiting')")
                    .bind(now.0)
                    .bind(&id)
                    .execute(&mut *tx)
                    .await?;
                if again.rows_affected() == 1 {
                    wait_in_line!(tx, 1);
                    let heir = inherit_job!(tx, &id, now);
                    if let Some((heir, next_reel_at)) = heir {
                        if refund {
                            give_time_back!(tx, &id, interval, now);
                        }
                        move_job!(tx, &id, &heir, Timestamp(next_reel_at).max(now), interval);
                    }
                    return Ok(true);
                }
            }
            if refund {
                give_time_back!(tx, &id, interval, now);
            }
            let within = Within::new(&job.chat, guild_of!(tx, &job.chat));
            if known.is_none() {
                count_up!(tx, within, now, [(Counted::Job, state)]);
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
            count_up!(tx, within, now, [(Counted::Job, state)]);
            Ok(true)
        });
        self.turns_changed();
        self.jobs_changed().await;
        finished
    }

    /// All jobs in the line, in order, after those at work.
    pub async fn line(&self) -> Result<Vec<LiveJob>> {
        type Row = (String, String, String, i64, i64, i64, Option<String>, String, Option<i64>);
        let rows: Vec<Row> = read!(&self.db, connection => sqlx::query_as(
                "SELECT id, shortcode, asked_by, ready_at, created_at, not_before, lane, phase, started_at FROM jobs \
                 WHERE state IN ('queued', 'running') ORDER BY state DESC, ready_at, id")
            .fetch_all(connection)
            .await)?;
        rows.into_iter()
            .map(|(id, shortcode, asked_by, ready_at, created_at, not_before, lane, phase, started_at)| {
                let running = match (lane, started_at) {
                    (Some(lane), Some(started_at)) => {
                        Some(Running { lane, phase: JobPhase::parse(&phase)?, started_at: Timestamp(started_at) })
                    }
                    _ => None,
                };
                Ok(LiveJob {
                    job: id.parse()?,
                    shortcode: shortcode.parse()?,
                    asked_by: asked_by.parse()?,
                    ready_at: Timestamp(ready_at.max(not_before)),
                    created_at: Timestamp(created_at),
                    has_failed: not_before > 0,
                    running,
                })
            })
            .collect()
    }

    /// The latest jobs that failed, newest first: which reel, why (as JSON), when.
    pub async fn recent_failures(&self, limit: u32) -> Result<Vec<(Shortcode, String, Timestamp)>> {
        let rows: Vec<(String, String, i64)> = read!(&self.db, connection => sqlx::query_as(
                "SELECT shortcode, failure, finished_at FROM jobs WHERE state = 'failed' AND failure IS NOT NULL \
                 AND finished_at IS NOT NULL ORDER BY finished_at DESC LIMIT $1")
            .bind(i64::from(limit))
            .fetch_all(connection)
            .await)?;
        rows.into_iter().map(|(code, failure, at)| Ok((code.parse()?, failure, Timestamp(at)))).collect()
    }

    /// When the next queued job becomes ready.
    pub async fn next_ready(&self) -> Result<Option<Timestamp>> {
        let (at,): (Option<i64>,) = read!(&self.db, connection => sqlx::query_as("SELECT MIN(ready_at) FROM jobs WHERE state = 'queued'")
            .fetch_one(connection)
            .await)?;
        Ok(at.map(Timestamp))
    }

    /// How long the latest finished jobs of a kind of lane took, newest first.
    pub async fn recent_durations(&self, kind: LaneKind, limit: u32) -> Result<Vec<Duration>> {
        let rows: Vec<(i64, i64)> = read!(&self.db, connection => sqlx::query_as(
                "SELECT started_at, finished_at FROM jobs WHERE lane_kind = $1 AND state = 'done' AND started_at IS NOT NULL \
                 ORDER BY finished_at DESC LIMIT $2")
            .bind(kind.name())
            .bind(i64::from(limit))
            .fetch_all(connection)
            .await)?;
        Ok(rows.into_iter().map(|(from, to)| Timestamp(to).since(Timestamp(from))).collect())
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

/// The columns of a [`ClaimRow`].
macro_rules! claim_columns {
    () => {
        "SELECT id, shortcode, run_id, failed_on, asked_by, attempt, cancel, created_at, began_at, bought, not_before, \
         leased_until FROM jobs"
    };
}

/// Which queued jobs may be taken now.
macro_rules! queued {
    () => {
        "state = 'queued' AND ready_at <= $1 AND not_before <= $1 AND (run_id IS NULL OR $2 OR failed_on = 'direct') \
         AND (failed_on IS NULL OR failed_on <> $3)"
    };
}

/// The jobs whose workers were lost, at most one a lane; `$4`: for this upstream on trial only those that have not failed,
/// empty for any.
const ORPHANS: &str = concat!(
    claim_columns!(),
    " WHERE state = 'running' AND leased_until <= $1 AND (run_id IS NULL OR $2 OR failed_on = 'direct') \
     AND (failed_on IS NULL OR failed_on <> $3) AND ($4 = '' OR (not_before = 0 \
     AND shortcode NOT IN (SELECT shortcode FROM breaker_reels WHERE upstream = $4))) ORDER BY started_at, id"
);

const NEXT: &str = concat!(claim_columns!(), " WHERE ", queued!(), " ORDER BY ready_at, id LIMIT 1");

/// For an upstream on trial.
const TRIAL: &str = concat!(
    claim_columns!(),
    " WHERE ",
    queued!(),
    " AND not_before = 0 AND shortcode NOT IN (SELECT shortcode FROM breaker_reels WHERE upstream = $4) \
     ORDER BY CASE WHEN asked_by IN (SELECT person_id FROM breaker_reels WHERE upstream = $4) THEN 1 ELSE 0 END, \
     ready_at, id LIMIT 1"
);

/// Lanes that may take a job now, and which jobs.
struct Choice<'a> {
    /// In order of preference.
    free: Vec<&'a Lane>,
    /// Upstreams that take jobs, busy ones among them.
    usable: HashSet<&'a str>,
    /// A lane is free that can pick up a paid Apify run, or there is none that ever could.
    takes_runs: bool,
    /// Jobs that failed on this upstream wait for another one, which is only busy.
    not_from: &'a str,
    /// Only a reel that has not failed before, because this upstream is on trial.
    trial_of: Option<&'a str>,
}

/// How an upstream takes jobs now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Any,
    /// One at a time that has not failed before.
    Trial,
    /// The same, or with none of those one that has.
    LongTrial,
    No,
}

impl<'a> Choice<'a> {
    /// In the order in which they are tried: each upstream on trial, then all others together, among them those that have
    /// been on trial for long.
    fn all(all: &'a [Lane], busy: &HashSet<&str>, known: &Lanes, now: Timestamp) -> Vec<Choice<'a>> {
        let is_busy = |lane: &Lane| busy.contains(lane.name.as_str());
        let takes = |lane: &Lane| {
            if known.is_paused(lane) {
                return Takes::No;
            }
            let upstream = lane.upstream();
            match known.state(upstream, now) {
                BreakerState::Closed => Takes::Any,
                BreakerState::Held { .. } | BreakerState::Open { .. } => Takes::No,
                BreakerState::HalfOpen if all.iter().any(|other| other.upstream() == upstream && is_busy(other)) => {
                    Takes::No
                }
                BreakerState::HalfOpen => {
                    let opened_until = known.breaker(upstream).map_or(now, |breaker| breaker.open_until);
                    if now >= opened_until + TRIAL_WAIT { Takes::LongTrial } else { Takes::Trial }
                }
            }
        };
        let mut usable: HashSet<&str> =
            all.iter().filter(|lane| takes(lane) != Takes::No).map(Lane::upstream).collect();
        // With nothing else, those whose quota of the day is used up take what there is, only to say so.
        let only_refuses = |lane: &Lane| {
            !known.is_paused(lane)
                && known.breaker(lane.upstream()).is_some_and(|breaker| breaker.quota_used_up(now).is_some())
        };
        let refusing: Vec<&Lane> = match usable.is_empty() {
            true => all.iter().filter(|lane| only_refuses(lane)).collect(),
            false => Vec::new(),
        };
        usable.extend(refusing.iter().map(|lane| lane.upstream()));
        let kind_order = |kind| all.iter().position(|lane| lane.kind == kind);
        let mut free: Vec<&Lane> =
            all.iter().filter(|lane| !is_busy(lane) && (takes(lane) != Takes::No || refusing.contains(lane))).collect();
        free.sort_by_key(|lane| match lane.kind {
            LaneKind::Direct => (kind_order(lane.kind), Timestamp(0)),
            LaneKind::N8n => (kind_order(lane.kind), known.used_at(lane)),
        });
        let is_on_trial = |lane: &&&Lane| matches!(takes(lane), Takes::Trial | Takes::LongTrial);
        let trials: Vec<&Lane> = free.iter().filter(is_on_trial).copied().collect();
        let others: Vec<&Lane> = free.into_iter().filter(|lane| takes(lane) != Takes::Trial).collect();
        let mut on_trial: Vec<&str> = trials.iter().map(|lane| lane.upstream()).collect();
        on_trial.dedup();
        let of = |upstream: &str| trials.iter().copied().filter(|lane| lane.upstream() == upstream).collect();
        let trials = on_trial.iter().map(|upstream| Choice::new(all, of(upstream), &usable, Some(upstream)));
        trials.chain([Choice::new(all, others, &usable, None)]).filter(|choice| !choice.free.is_empty()).collect()
    }

    fn new(all: &[Lane], free: Vec<&'a Lane>, usable: &HashSet<&'a str>, trial_of: Option<&'a str>) -> Choice<'a> {
        let direct = |lane: &&Lane| lane.kind == LaneKind::Direct;
        let takes_runs =
            free.iter().any(&direct) || !all.iter().any(|lane| direct(&lane) && usable.contains(lane.upstream()));
        let only = free.first().map_or("", |lane| lane.upstream());
        let is_only = free.iter().all(|lane| lane.upstream() == only);
        let not_from = if is_only && usable.len() > 1 { only } else { "" };
        Choice { free, usable: usable.clone(), takes_runs, not_from, trial_of }
    }

    fn lane_for(&self, has_run: bool, failed_on: Option<&str>) -> Option<&'a Lane> {
        let elsewhere = failed_on.filter(|failed| self.usable.iter().any(|upstream| upstream != failed));
        let first = |wanted: &dyn Fn(&Lane) -> bool| self.free.iter().find(|lane| wanted(lane)).copied();
        match elsewhere {
            Some(failed) => first(&|lane| lane.upstream() != failed),
            None if has_run => first(&|lane| lane.kind == LaneKind::Direct).or_else(|| first(&|_| true)),
            None => first(&|_| true),
        }
    }
}
