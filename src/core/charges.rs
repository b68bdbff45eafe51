//! Asks a provider again what a call cost, where its first word is not final. Apify's is not: the cost of a run is complete
//! some seconds after the run has ended, and until then the ledger holds an estimate. Owns when a charge is asked for again
//! and when the estimate stays; the ledger's rows say which calls are due, so that any instance goes on after a restart.

use std::sync::Arc;
use std::time::Duration;

use super::money::{CONFIRM_AFTER, Purse};
use crate::clock::Clock;
use crate::store::ledger::Unconfirmed;
use crate::store::{Store, StoreError};
use crate::telemetry::COST;
use crate::upstream::apify::{Apify, RunId, RunStatus};
use crate::upstream::{Cause, Provider};

/// Charges asked for in one round.
const BATCH: u32 = 20;

/// Pauses after an answer that says nothing; after the last one the estimate stays for good.
const PAUSES: [Duration; 5] = [
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(300),
    Duration::from_secs(1_800),
    LONGEST_PAUSE,
];
pub const LONGEST_PAUSE: Duration = Duration::from_secs(7_200);

/// The charges that are not final.
pub struct Charges {
    store: Arc<Store>,
    purse: Arc<Purse>,
    apify: Apify,
    clock: Clock,
}

/// What Apify says of a run.
enum Word {
    /// This is what it cost, in micro-USD.
    Final(i64),
    /// Nothing yet: the run has not ended, or ended too short a time ago, or Apify could not be asked.
    NotYet,
    /// It knows no such run.
    Never,
}

impl Charges {
    pub fn new(store: Arc<Store>, purse: Arc<Purse>, apify: Apify, clock: Clock) -> Self {
        Self { store, purse, apify, clock }
    }

    /// Asks for the charges that are due, a batch of them; how many those were.
    pub async fn confirm_due(&self) -> Result<usize, StoreError> {
        let due = self.store.charges_to_confirm(self.clock.now(), BATCH).await?;
        for charge in &due {
            self.confirm(charge).await?;
        }
        Ok(due.len())
    }

    async fn confirm(&self, charge: &Unconfirmed) -> Result<(), StoreError> {
        let word = match charge.key.parse::<RunId>() {
            Ok(run) if charge.provider == Provider::Apify.name() => self.ask(&run).await,
            _ => Word::Never,
        };
        let now = self.clock.now();
        match word {
            Word::Final(micro_usd) => {
                if let Some(difference) = self.purse.confirm(&charge.key, micro_usd).await? {
                    metrics::counter!(COST, "provider" => charge.provider.clone())
                        .increment(difference.max(0).unsigned_abs());
                }
            }
            Word::NotYet | Word::Never => {
                let pause = match word {
                    Word::Never => None,
                    _ => usize::try_from(charge.tries).ok().and_then(|tries| PAUSES.get(tries)),
                };
                if pause.is_none() {
                    tracing::warn!(
                        key = charge.key,
                        "the cost of a call stays an estimate: {} cannot tell it",
                        charge.provider
                    );
                }
                let at = pause.map(|pause| now + *pause);
                self.store.postpone_charge(&charge.key, at, charge.tries + 1).await?;
            }
        }
        Ok(())
    }

    async fn ask(&self, run: &RunId) -> Word {
        match self.apify.read(run).await {
            Ok(run) if run.status == RunStatus::Active => Word::NotYet,
            // By Apify's clock, as far as it goes with ours: one that is far off says nothing.
            Ok(run)
                if run
                    .finished_at
                    .is_some_and(|at| at <= self.clock.now() && self.clock.now() < at + CONFIRM_AFTER) =>
            {
                Word::NotYet
            }
            Ok(run) => run.usage.charged_micro_usd.map_or(Word::NotYet, Word::Final),
            Err(failure) if failure.cause == Cause::NotFound => Word::Never,
            Err(failure) => {
                tracing::warn!(run = run.as_str(), "the cost of a run could not be asked for: {failure}");
                Word::NotYet
            }
        }
    }
}
