//! What the pipeline tells while it runs, written down: its runs, phases and costs. Owns that nothing is bought under a lease
//! that may be over.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use super::Worker;
use crate::core::leases::Held;
use crate::core::money::{Allowed, Call};
use crate::core::reels::pipeline::{Phase, ReelFailure, Spent, Watch};
use crate::crash;
use crate::store::reels::{Claimed, JobPhase};
use crate::telemetry::UPSTREAM_CALLS;
use crate::upstream::Provider;

/// Of one job.
pub(super) struct JobWatch<'a> {
    pub worker: &'a Worker,
    pub job: &'a Claimed,
    pub lease: &'a Held,
    /// What is set aside for a call that waits for the lease: nothing has been bought for it.
    waits: Mutex<Option<String>>,
}

impl<'a> JobWatch<'a> {
    pub fn new(worker: &'a Worker, job: &'a Claimed, lease: &'a Held) -> Self {
        JobWatch { worker, job, lease, waits: Mutex::default() }
    }

    /// The job is somebody else's, and the pipeline was dropped: gives back what was set aside for the call it did not make.
    pub async fn lost(&self) {
        let waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(key) = waits {
            self.unreserve(&key).await;
        }
    }
}

#[async_trait]
impl Watch for JobWatch<'_> {
    async fn run_started(&self, run: &str) {
        let store = &self.worker.store;
        // Nobody else knows of the run: forgotten, it would be bought again.
        match store.insist("noting a paid run", || store.note_run(self.job, Some(run))).await {
            Ok(_) => crash::point("scrape started"),
            Err(error) => tracing::error!(job = %self.job.job, run, "a paid run could not be noted: {error}"),
        }
    }

    async fn phase(&self, phase: Phase) {
        let phase = match phase {
            Phase::Scraping => JobPhase::Scraping,
            Phase::Analysing => {
                crash::point("scrape done");
                JobPhase::Analysing
            }
        };
        if let Err(error) = self.worker.store.note_phase(self.job, phase).await {
            tracing::warn!(job = %self.job.job, "a phase could not be noted: {error}");
        }
    }

    async fn reserve(&self, spent: Spent) -> Result<(), ReelFailure> {
        match self.worker.purse.reserve(&self.call(&spent)).await {
            Ok(Allowed::Yes) => {}
            Ok(Allowed::Over(standing)) => return Err(ReelFailure::OverBudget(standing.budget())),
            Ok(Allowed::Unpriced) => return Err(ReelFailure::Misconfigured),
            Err(error) => {
                tracing::error!(job = %self.job.job, key = %spent.key, "a cost could not be reserved: {error}");
                return Err(ReelFailure::UpstreamBusy);
            }
        }
        match spent.provider {
            Provider::Apify => crash::point("scrape reserved"),
            Provider::Gemini => crash::point("analysis reserved"),
            Provider::OpenAi | Provider::N8n => {}
        }
        crash::freeze_point("purchase due");
        // What another instance may be buying by now is not bought here, however long the reservation took.
        self.waits.lock().unwrap_or_else(PoisonError::into_inner).replace(spent.key);
        self.lease.good().await;
        self.waits.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(())
    }

    async fn rekey(&self, key: &str, new: &str) {
        if let Err(error) = self.worker.purse.rekey(key, new).await {
            // It is counted twice until it is given up: the safe side.
            tracing::warn!(job = %self.job.job, key, "a reserved cost could not be given its key: {error}");
        }
    }

    async fn adopt(&self, prefix: &str, run: &str) -> bool {
        let adopted = self.worker.purse.adopt(prefix, self.job.created_at, run).await;
        adopted.unwrap_or_else(|error| {
            // It stays counted as lost, and the run is counted as well: the safe side.
            tracing::warn!(job = %self.job.job, run, "a lost cost could not be given its run: {error}");
            true
        })
    }

    async fn unreserve(&self, key: &str) {
        if let Err(error) = self.worker.purse.unreserve(key).await {
            // It is counted although it cost nothing: the safe side.
            tracing::warn!(job = %self.job.job, key, "a reserved cost could not be taken back: {error}");
        }
    }

    async fn spent(&self, spent: Spent) {
        match spent.provider {
            Provider::Apify => crash::point("scrape paid"),
            Provider::Gemini => crash::point("analysis paid"),
            Provider::OpenAi | Provider::N8n => {}
        }
        metrics::counter!(UPSTREAM_CALLS, "provider" => spent.provider.name(), "outcome" => spent.outcome).increment(1);
        match self.worker.purse.settle_with_audio(&self.call(&spent), spent.audio_tokens).await {
            Ok(Some(_)) => crash::point("cost written"),
            Ok(None) => {}
            Err(error) => {
                tracing::error!(job = %self.job.job, key = %spent.key, "a cost could not be written down: {error}");
            }
        }
    }
}

impl JobWatch<'_> {
    fn call<'a>(&'a self, spent: &'a Spent) -> Call<'a> {
        Call {
            key: &spent.key,
            person: self.job.asked_by,
            chat: &self.job.chat,
            provider: spent.provider,
            model: &spent.model,
            tool: spent.tool,
            latency_ms: i64::try_from(spent.latency_ms).unwrap_or(i64::MAX),
            outcome: spent.outcome,
            usage: spent.usage,
        }
    }
}
