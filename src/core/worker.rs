//! Door 2: everything the queue owes. Claims a job for a free lane, runs the pipeline under a lease that is renewed,
//! writes down what was paid, and ends the job; the answers it owes are turns from then on.

mod verdicts;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use self::watch::JobWatch;
use super::leases::{Held, Moment};
use super::money::Purse;
use super::providers::{self, ProviderTarget};
use super::reels::KnownFailure;
use super::reels::pipeline::{Earlier, Fault, PIPELINE_VERSION, Pipeline, Reel, ReelFailure, Stopped, run_n8n};
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::crash;
use crate::ids::InstanceId;
use crate::store::access::LimitName;
use crate::store::failures::Noted;
use crate::store::lanes::{Health, Lane, LaneKind, ReelTrouble, Weight};
use crate::store::reels::{Claimed, JobEnd, JobLease};
use crate::store::{Store, StoreError};
use crate::telemetry::{BREAKER_OPENED, REEL_SECONDS, REELS, Reference};
use crate::upstream::n8n::N8n;
use crate::upstream::{BudgetOf, Cause, Failure, Provider};

/// How long a job is held without renewal.
pub const LEASE: Duration = Duration::from_secs(15);

/// How often a lease is renewed and a cancellation looked for.
const RENEWAL: Duration = Duration::from_secs(1);

/// Runs of one job, the first among them.
const ATTEMPTS: i64 = 3;

/// A job that was taken up so often without an end has ended its workers: it is given up.
const TAKEN_UP: i64 = 8;

/// The pause before another run; doubles.
const PAUSE: Duration = Duration::from_secs(10);

/// An attempt that could not even take so long is not worth what it may buy.
const SHORTEST_ATTEMPT: Duration = Duration::from_secs(10);

/// The longest pause that an upstream may ask for.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// Runs reel jobs.
pub struct Worker {
    store: Arc<Store>,
    pipeline: Pipeline,
    /// One lane each, in the order of their lanes.
    n8n: Vec<N8n>,
    lanes: Vec<Lane>,
    targets: Vec<ProviderTarget>,
    purse: Arc<Purse>,
    clock: Clock,
    instance: InstanceId,
    cache: Duration,
    /// Of the configuration.
    limits: PersonLimits,
    /// The longest that one reel may take, all attempts together.
    deadline: Duration,
}

/// What a person may have of the line.
#[derive(Clone, Copy)]
struct PersonLimits {
    /// The time between two new reels.
    interval: Duration,
    /// New reels that may wait.
    waiting: i64,
}

/// The lanes that a configuration has: direct ones first.
pub fn lanes(config: &Config) -> Vec<Lane> {
    let direct = (0..config.reels.lanes).map(Lane::direct);
    let n8n = (0..).zip(&config.n8n.webhooks).map(|(at, _)| Lane::n8n(at));
    direct.chain(n8n).collect()
}

impl Worker {
    pub fn new(
        store: Arc<Store>,
        pipeline: Pipeline,
        n8n: Vec<N8n>,
        purse: Arc<Purse>,
        clock: Clock,
        instance: InstanceId,
        config: &Config,
    ) -> Self {
        Self {
            store,
            pipeline,
            n8n,
            lanes: lanes(config),
            targets: providers::targets(config),
            purse,
            clock,
            instance,
            cache: config.reels.cache,
            limits: PersonLimits {
                interval: config.reels.interval,
                waiting: i64::from(config.reels.waiting_per_person),
            },
            deadline: config.reels.deadline,
        }
    }

    /// Takes the next job, if one is ready and a lane is free.
    pub async fn claim(&self) -> Result<Option<(Claimed, Held)>, StoreError> {
        let asked = Moment::now(&self.clock);
        let claimed = self.store.claim_job(self.instance, &self.lanes, asked.wall, LEASE).await?;
        // At once: the next claim must know of it.
        let held = |job: Claimed| {
            let lease = Held::new(self.store.clone(), job.job, &self.clock, LEASE, asked);
            (job, lease)
        };
        let claimed = claimed.map(held);
        if claimed.is_some() {
            crash::point("job claimed");
        }
        Ok(claimed)
    }

    /// When a job becomes ready that is not yet.
    pub async fn next_ready(&self) -> Result<Option<Timestamp>, StoreError> {
        self.store.next_ready().await
    }

    /// Runs a job to its end, or leaves it to whoever takes it next.
    pub async fn run(&self, job: Claimed, lease: Held) {
        if let Err(error) = self.work(&job, &lease).await {
            // The lease runs out by itself, and the job is taken up where it stands.
            let reference = Reference::new();
            tracing::error!(job = %job.job, attempt = job.attempt, %reference, "a job could not be written down: {error}");
        }
    }

    async fn work(&self, job: &Claimed, lease: &Held) -> Result<(), StoreError> {
        let began = self.clock.now();
        if job.tries() > TAKEN_UP {
            let reference = Reference::new();
            tracing::error!(job = %job.job, reel = %job.shortcode, %reference, "a job is given up after {TAKEN_UP} attempts without an end");
            let stopped = Stopped { why: ReelFailure::UpstreamBusy, cause: None, again: false, bought: true };
            self.note_failure(job, &stopped, &reference, began).await;
            let (end, interval) = (self.failed(job, &stopped, &reference, began), self.spacing().await?);
            return self.store.finish_job(job, &end, interval, began).await.map(|_| ());
        }
        let result = match job.quota_until {
            // Known before anything is bought.
            Some(resets_at) => {
                let why = ReelFailure::DayQuota { resets_at };
                Err(Stopped { why, cause: None, again: false, bought: false })
            }
            None => match self.attempt(job, lease).await {
                Some(result) => result,
                None => {
                    tracing::warn!(job = %job.job, "the job was taken over by another instance");
                    return Ok(());
                }
            },
        };
        // Held to the end: as long as the database does not take what became of it, nobody else may begin it anew.
        let (nobody_asks, is_over) = (CancellationToken::new(), AtomicBool::new(true));
        let mut ending = std::pin::pin!(self.conclude(job, result, began));
        tokio::select! {
            ended = &mut ending => ended,
            // Then it is ended already, or somebody else's: the row says so.
            () = self.keep(job, lease, None, &nobody_asks, &is_over) => ending.await,
        }
    }

    /// Writes down what became of a job.
    async fn conclude(&self, job: &Claimed, result: Result<Reel, Stopped>, began: Timestamp) -> Result<(), StoreError> {
        let job = &Claimed { bought: result.as_ref().err().is_none_or(|stopped| bought(job, stopped)), ..job.clone() };
        let now = self.clock.now();
        let reference = Reference::new();
        self.note_health(job, &result, &reference, now).await;
        self.note_providers(job, &result, &reference, began, now).await;
        if let Err(stopped) = &result {
            self.note_failure(job, stopped, &reference, now).await;
        }
        let outcome = match &result {
            Ok(_) => "done",
            Err(stopped) if stopped.why == ReelFailure::Cancelled => "cancelled",
            Err(_) => "failed",
        };
        let end = match result {
            Ok(reel) => self.done(&reel, now),
            Err(stopped) if stopped.why == ReelFailure::Cancelled => JobEnd::Cancelled { refund: !job.bought },
            Err(stopped) => {
                let (id, reel, attempt, lane) = (job.job, &job.shortcode, job.attempt, job.lane.name());
                if let Some(again) = self.again(job, &stopped, now) {
                    tracing::warn!(job = %id, %reel, attempt, lane, %reference, "a reel is tried again: {stopped}");
                    // A pause that the upstream asks for is none of the reel's own time.
                    let job = &Claimed { began_at: job.began_at + again.asked, ..job.clone() };
                    let requeue = || self.store.requeue_job(job, now + again.pause, again.failed_on);
                    self.store.insist("requeueing a job", requeue).await?;
                    return Ok(());
                }
                if self.is_passed_on(job, &stopped, now).await? {
                    tracing::info!(job = %id, %reel, "a reel goes on at the cost of somebody else who waits for it");
                    return Ok(());
                }
                match (&stopped.why, stopped.why.fault()) {
                    // For the operator to look at; a quota is told once, by the reel that finds it used up.
                    (ReelFailure::DayQuota { .. }, _) if stopped.cause.is_none() => {
                        tracing::info!(job = %id, %reel, attempt, lane, "a reel was not begun: {stopped}");
                    }
                    (ReelFailure::ForeignAddress, _) | (_, Fault::Passing | Fault::Lasting | Fault::Machine) => {
                        tracing::error!(job = %id, %reel, attempt, lane, %reference, "a reel failed: {stopped}");
                    }
                    _ => tracing::info!(job = %id, %reel, attempt, lane, %reference, "a reel failed: {stopped}"),
                }
                self.failed(job, &stopped, &reference, now)
            }
        };
        crash::point("job ran");
        let interval = self.store.insist("reading a limit", || self.spacing()).await?;
        let finish = || self.store.finish_job(job, &end, interval, now);
        if self.store.insist("ending a job", finish).await? {
            crash::point("job finished");
            let took_ms = u64::try_from(now.since(began).as_millis()).unwrap_or(u64::MAX);
            tracing::info!(job = %job.job, reel = %job.shortcode, lane = %job.lane.name(), outcome, took_ms, "a reel is through");
            metrics::counter!(REELS, "lane" => job.lane.kind().name(), "outcome" => outcome).increment(1);
            metrics::histogram!(REEL_SECONDS, "lane" => job.lane.kind().name()).record(now.since(began));
        }
        Ok(())
    }

    /// Runs the pipeline once; `None` if the job was taken over meanwhile.
    async fn attempt(&self, job: &Claimed, lease: &Held) -> Option<Result<Reel, Stopped>> {
        let (cancel, is_overdue) = (CancellationToken::new(), AtomicBool::new(false));
        // Its time goes on steadily, even where a clock is set while it runs.
        let ends = self.clock.steady() + (job.began_at + self.deadline).since(self.clock.now());
        if job.cancel {
            cancel.cancel();
        }
        self.call_off_overdue(ends, &cancel, &is_overdue);
        let watch = JobWatch::new(self, job, lease);
        // Beside each other, never one inside the other: the pipeline may hold or wait for the database connection that
        // the renewal needs.
        let result = tokio::select! {
            result = self.pipeline(job, &watch, &cancel) => result,
            () = self.keep(job, lease, Some(ends), &cancel, &is_overdue) => {
                watch.lost().await;
                return None;
            }
        };
        Some(match result {
            Err(stopped) if stopped.why == ReelFailure::Cancelled && is_overdue.load(Ordering::Relaxed) => {
                let detail = format!("not over within {} s, attempt {}", self.deadline.as_secs(), job.attempt);
                let provider = stopped.cause.as_ref().map_or(Provider::Apify, |failure| failure.provider);
                let cause = Some(Failure::new(provider, Cause::TimedOut, detail));
                Err(Stopped { why: ReelFailure::Timeout, cause, ..stopped })
            }
            result => result,
        })
    }

    /// Whether a reel that its payer's budget does not cover goes on at the cost of somebody else who waits for it.
    async fn is_passed_on(&self, job: &Claimed, stopped: &Stopped, now: Timestamp) -> Result<bool, StoreError> {
        match stopped.why {
            ReelFailure::OverBudget(budget) if budget.whose != BudgetOf::Everybody => {
                let limits = self.store.insist("reading a limit", || self.limits()).await?;
                let pass_on = || self.store.pass_on(job, budget.whose, limits.interval, limits.waiting, now);
                self.store.insist("passing a job on", pass_on).await
            }
            _ => Ok(false),
        }
    }

    /// What a person may have, as it is in force.
    async fn limits(&self) -> Result<PersonLimits, StoreError> {
        let mut limits = self.limits;
        for (limit, value) in self.store.set_limits().await? {
            match limit {
                LimitName::Spacing => limits.interval = Duration::from_secs(value.unsigned_abs()),
                LimitName::Waiting => limits.waiting = value,
                LimitName::Line => {}
            }
        }
        Ok(limits)
    }

    async fn spacing(&self) -> Result<Duration, StoreError> {
        Ok(self.limits().await?.interval)
    }

    /// Whether and how a failed reel is tried once more.
    fn again<'a>(&self, job: &'a Claimed, stopped: &Stopped, now: Timestamp) -> Option<Again<'a>> {
        let upstream = job.lane.upstream();
        let is_elsewhere = self.lanes.iter().any(|lane| lane.upstream() != upstream);
        let elsewhere = Again { pause: Duration::ZERO, asked: Duration::ZERO, failed_on: Some(upstream) };
        let pause = PAUSE * 2u32.pow(u32::try_from(job.tries() - 1).unwrap_or(0).min(6));
        // What the deadline would end at once is not begun.
        let time_left = (job.began_at + self.deadline).since(now);
        let left = job.tries() < ATTEMPTS && time_left >= pause + SHORTEST_ATTEMPT;
        match stopped.why {
            // Only the operator, or the next day, mends this one: another upstream is not concerned. One that was there
            // already is, too.
            ReelFailure::OutOfCredit | ReelFailure::Misconfigured | ReelFailure::DayQuota { .. }
                if job.failed_on.is_none() && is_elsewhere =>
            {
                Some(elsewhere)
            }
            ReelFailure::UpstreamBusy if stopped.again && left => Some(match is_elsewhere && !job.bought {
                true => elsewhere,
                // What is paid for is picked up where it was bought.
                false => {
                    let asked = asked_pause(stopped).unwrap_or_default();
                    Again { pause: pause.max(asked), asked, failed_on: None }
                }
            }),
            // Spread over all the time that it has: there may be room again, here or on another instance.
            ReelFailure::NoRoom => {
                let pause = (self.deadline / u32::try_from(TAKEN_UP).unwrap_or(1)).max(PAUSE);
                let left = job.tries() < TAKEN_UP && time_left >= pause + SHORTEST_ATTEMPT;
                left.then_some(Again { pause, asked: Duration::ZERO, failed_on: None })
            }
            _ => None,
        }
    }

    /// Tells the breaker how the upstream did.
    async fn note_health(&self, job: &Claimed, result: &Result<Reel, Stopped>, reference: &Reference, now: Timestamp) {
        let upstream = job.lane.upstream();
        let reference = reference.to_string();
        let health = match result {
            Ok(_) => Health::Worked,
            // It did not run.
            Err(_) if job.quota_until.is_some() => return,
            Err(stopped) => match stopped.why.fault() {
                Fault::Passing | Fault::Lasting => {
                    let cause = stopped.cause.as_ref().map(|failure| &failure.cause);
                    let held_until = asked_pause(stopped).map(|pause| now + pause);
                    let weight = match (&stopped.why, cause) {
                        (ReelFailure::DayQuota { resets_at }, _) => Weight::QuotaUntil(*resets_at),
                        (_, Some(Cause::RateLimited { retry_after: Some(_) })) => Weight::Waits,
                        // Perhaps this reel alone makes our request, or the workflow's answer, what it is.
                        (_, Some(Cause::Malformed | Cause::BadRequest)) => Weight::OfSeveral,
                        (why, _) if why.fault() == Fault::Lasting => Weight::Lasting,
                        _ => Weight::OfSeveral,
                    };
                    Health::Failed(ReelTrouble {
                        reel: &job.shortcode,
                        person: job.asked_by,
                        cause: cause.map_or("unavailable", Cause::name),
                        reference: &reference,
                        weight,
                        held_until,
                    })
                }
                // It did its work: the reel is the trouble.
                Fault::Video => Health::Worked,
                // On the direct way that says nothing of its second half.
                Fault::Post => match job.lane.kind() {
                    LaneKind::N8n => Health::Worked,
                    LaneKind::Direct => return,
                },
                Fault::Machine | Fault::Ours => return,
            },
        };
        match self.store.note_health(upstream, health, now).await {
            Ok(Some(breaker)) => {
                let open_s = breaker.open_until.since(now).as_secs();
                tracing::error!(
                    upstream,
                    cause = breaker.cause,
                    failures = breaker.failures,
                    open_s,
                    reference,
                    "no reel is sent there for a while"
                );
                metrics::counter!(BREAKER_OPENED, "upstream" => upstream.to_owned()).increment(1);
            }
            Ok(None) => {}
            // The next run tells as much.
            Err(error) => tracing::warn!(upstream, "it could not be noted how an upstream did: {error}"),
        }
    }

    /// Notes how each service that took part did.
    async fn note_providers(
        &self,
        job: &Claimed,
        result: &Result<Reel, Stopped>,
        reference: &Reference,
        began: Timestamp,
        now: Timestamp,
    ) {
        let reference = reference.to_string();
        for (provider, end) in verdicts::of(job.lane.kind(), result) {
            let of_provider = |target: &&ProviderTarget| match provider {
                Provider::N8n => target.name == job.lane.name(),
                _ => target.provider == provider,
            };
            let Some(target) = self.targets.iter().find(of_provider) else { continue };
            providers::note(&self.store, target, &end, &reference, began, now).await;
        }
    }

    /// Notes why a reel failed, for an operator who is told the code.
    async fn note_failure(&self, job: &Claimed, stopped: &Stopped, reference: &Reference, at: Timestamp) {
        if matches!(stopped.why, ReelFailure::Cancelled | ReelFailure::OverBudget(_)) {
            return;
        }
        let noted = Noted {
            reference: reference.to_string(),
            at,
            part: "reel".into(),
            subject: job.shortcode.to_string(),
            cause: stopped
                .cause
                .as_ref()
                .map_or_else(|| stopped.why.to_string(), |failure| failure.cause.name().into()),
            detail: format!("{}, attempt {}: {stopped}", job.lane.name(), job.attempt),
        };
        if let Err(error) = self.store.note_failure(&noted).await {
            tracing::warn!(%reference, "a failure could not be noted: {error}");
        }
    }

    /// Renews the lease until it is lost; calls the pipeline off when nobody waits any more, or when it ends too late.
    async fn keep(
        &self,
        job: &Claimed,
        lease: &Held,
        ends: Option<Timestamp>,
        cancel: &CancellationToken,
        is_overdue: &AtomicBool,
    ) {
        loop {
            lease.due(RENEWAL).await;
            if let Some(ends) = ends {
                self.call_off_overdue(ends, cancel, is_overdue);
            }
            let asked = lease.now();
            let renewed = self.store.renew_job(job, asked.wall + LEASE);
            // A later try may get through where this one waits for a connection that is dead.
            let Ok(renewed) = tokio::time::timeout(RENEWAL * 3, renewed).await else { continue };
            match renewed {
                Ok(JobLease::Held) => lease.renewed(asked),
                Ok(JobLease::CancelWanted) => {
                    lease.renewed(asked);
                    cancel.cancel();
                }
                Ok(JobLease::Lost) => return,
                Err(error) => tracing::warn!(job = %job.job, "a lease could not be renewed: {error}"),
            }
        }
    }

    fn call_off_overdue(&self, ends: Timestamp, cancel: &CancellationToken, is_overdue: &AtomicBool) {
        if self.clock.steady() >= ends && !cancel.is_cancelled() {
            is_overdue.store(true, Ordering::Relaxed);
            cancel.cancel();
        }
    }

    async fn pipeline(&self, job: &Claimed, watch: &JobWatch<'_>, cancel: &CancellationToken) -> Result<Reel, Stopped> {
        match job.lane.kind() {
            LaneKind::N8n => match self.n8n.get(job.lane.index()) {
                Some(n8n) => run_n8n(n8n, job.job, &job.shortcode, watch, cancel).await,
                // Never by the way that is paid for: only lanes that the configuration has take jobs.
                None => Err(Stopped { why: ReelFailure::Misconfigured, cause: None, again: false, bought: false }),
            },
            LaneKind::Direct => {
                let unheard_since = job.bought.then_some(job.created_at);
                let earlier = Earlier { run: job.run_id.clone(), unheard_since };
                self.pipeline.run(job.job, &job.shortcode, earlier, watch, cancel).await
            }
        }
    }

    fn done(&self, reel: &Reel, now: Timestamp) -> JobEnd {
        JobEnd::Done {
            content: serde_json::to_string(reel).unwrap_or_default(),
            pipeline: PIPELINE_VERSION,
            until: now + self.cache,
        }
    }

    fn failed(&self, job: &Claimed, stopped: &Stopped, reference: &Reference, now: Timestamp) -> JobEnd {
        let known = KnownFailure {
            // Of what is the reel's own doing, the sentence says all that the log does.
            reference: (stopped.cause.is_some() || stopped.why == ReelFailure::UpstreamBusy)
                .then(|| reference.to_string()),
            failure: stopped.why.clone(),
        };
        JobEnd::Failed {
            content: serde_json::to_string(&known).unwrap_or_default(),
            pipeline: PIPELINE_VERSION,
            until: now + stopped.why.lifetime(),
            refund: !job.bought,
        }
    }
}

/// How a failed reel is tried once more.
struct Again<'a> {
    pause: Duration,
    /// How much of it the upstream asks for.
    asked: Duration,
    failed_on: Option<&'a str>,
}

/// Whether the job has or may have cost anything, earlier attempts among them.
fn bought(job: &Claimed, stopped: &Stopped) -> bool {
    stopped.bought || job.bought || job.run_id.is_some()
}

/// The pause that the upstream asks for, within reason.
fn asked_pause(stopped: &Stopped) -> Option<Duration> {
    let asked = stopped.cause.as_ref().and_then(|failure| failure.cause.retry_after());
    asked.map(|pause| pause.min(LONGEST_PAUSE))
}
