//! The quotas of all models: a call waits here for its turn, first come first served for each model. Owns the waiting;
//! [`super::lane`] decides. Never sends anything.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::MonotonicClock;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::fail;
use super::lane::{Counts, Lane, Left, Limits, Ticket, Told, Turn};
use crate::telemetry::OPENAI_WAIT_SECONDS;
use crate::upstream::{Cause, Failure};

/// How often those who wait look how long it still takes.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// What is assumed, and how long is waited.
#[derive(Clone, Copy, Debug)]
pub struct QuotaSettings {
    /// Of each model, until its first answer tells its own limits.
    pub limits: Limits,
    /// Nobody waits longer; whoever would have to wait for most of it is refused at once.
    pub longest_wait: Duration,
}

/// All models' lanes.
#[derive(Debug)]
pub(super) struct Pacer {
    settings: QuotaSettings,
    instances: AtomicU32,
    next: AtomicU64,
    lanes: Mutex<HashMap<String, Lane>>,
}

impl Pacer {
    pub(super) fn new(settings: QuotaSettings) -> Self {
        Self { settings, instances: AtomicU32::new(1), next: AtomicU64::new(0), lanes: Mutex::default() }
    }

    /// A place in the order, which a call keeps over its attempts.
    pub(super) fn ticket(&self) -> Ticket {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Waits for a call's turn; `on_wait` is told how long that will probably take, again and again. `since`: when the
    /// call took its place for the first time, if the service has refused it since.
    ///
    /// # Errors
    /// `Cause::Crowded` if it would take too long.
    pub(super) async fn admit(
        self: &Arc<Self>,
        model: &str,
        ticket: Ticket,
        tokens: u64,
        since: Option<Instant>,
        mut on_wait: impl FnMut(Duration),
    ) -> Result<Admitted, Failure> {
        let joined = Instant::now();
        let began = since.unwrap_or(joined);
        let wake = Arc::new(Notify::new());
        self.with(model, |lane| lane.join(ticket, tokens, Arc::clone(&wake)));
        let _place = Place { pacer: self, model, ticket };
        let mut looked: Option<Instant> = None;
        loop {
            let (turn, left) = self.with(model, |lane| (lane.turn(ticket), lane.wait(ticket)));
            let pause = match turn {
                Turn::Now(sent) => {
                    if looked.is_some() {
                        metrics::histogram!(OPENAI_WAIT_SECONDS).record(joined.elapsed());
                    }
                    let (pacer, model, is_open) = (Arc::clone(self), model.to_owned(), AtomicBool::new(true));
                    return Ok(Admitted { pacer, model, tokens, sent, is_open });
                }
                Turn::In(pause) => pause.min(LOOK_AGAIN),
                Turn::Behind => LOOK_AGAIN,
            };
            let longest = self.settings.longest_wait;
            // Whoever has begun to wait is not sent away because the estimate was a little short.
            let is_too_long = match looked.is_none() && since.is_none() {
                true => left > longest / 5 * 4,
                false => left > longest || began.elapsed() >= longest,
            };
            if is_too_long {
                return Err(fail(Cause::Crowded { again_in: left }, "the quota of the model is taken"));
            }
            if looked.is_none_or(|looked| looked.elapsed() >= LOOK_AGAIN) {
                on_wait(left);
                looked = Some(Instant::now());
            }
            // Either way it is looked at again.
            let _ = timeout(pause, wake.notified()).await;
        }
    }

    /// OpenAI refused a request of this model for its rate.
    pub(super) fn refused(&self, model: &str, retry_after: Option<Duration>, slow_down: bool) {
        self.with(model, |lane| lane.refused(retry_after, slow_down));
    }

    /// From now on so many instances share the quotas.
    pub(super) fn share_between(&self, instances: u32) {
        self.instances.store(instances, Ordering::Relaxed);
        for lane in self.lanes().values_mut() {
            lane.share_between(instances);
        }
    }

    fn with<T>(&self, model: &str, run: impl FnOnce(&mut Lane) -> T) -> T {
        let mut lanes = self.lanes();
        if let Some(lane) = lanes.get_mut(model) {
            return run(lane);
        }
        let instances = self.instances.load(Ordering::Relaxed);
        let lane = Lane::new(MonotonicClock, self.settings.limits, instances);
        run(lanes.entry(model.to_owned()).or_insert(lane))
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<String, Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that may be made.
#[derive(Debug)]
pub(super) struct Admitted {
    pacer: Arc<Pacer>,
    model: String,
    tokens: u64,
    /// What had been sent with it.
    sent: Counts,
    is_open: AtomicBool,
}

impl Admitted {
    /// Takes in the headers of its answer.
    pub(super) fn answered(&self, status: StatusCode, headers: &HeaderMap) {
        self.end();
        self.pacer.with(&self.model, |lane| {
            lane.told(&told(headers), self.sent);
            if status.is_success() {
                lane.accepted(self.sent);
            }
        });
    }

    fn end(&self) {
        if self.is_open.swap(false, Ordering::Relaxed) {
            self.pacer.with(&self.model, |lane| lane.ended(self.tokens));
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.end();
    }
}

/// A place in the order, given up when dropped.
struct Place<'a> {
    pacer: &'a Pacer,
    model: &'a str,
    ticket: Ticket,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.pacer.with(self.model, |lane| lane.leave(self.ticket));
    }
}

/// What the `x-ratelimit-*` headers say (OpenAI, guide "Rate limits"). A project may have a limit of tokens of its own:
/// the one of which less is left counts.
fn told(headers: &HeaderMap) -> Told {
    let number = |what: &str, of: &str| {
        headers.get(format!("x-ratelimit-{what}-{of}"))?.to_str().ok()?.trim().parse::<u64>().ok()
    };
    let left = |of: &str| {
        let limit = number("limit", of).filter(|limit| *limit > 0)?;
        Some(Left { limit, remaining: number("remaining", of)?.min(limit) })
    };
    let tokens = [left("tokens"), left("project-tokens")].into_iter().flatten().min_by_key(|left| left.remaining);
    Told { requests: left("requests"), tokens }
}
