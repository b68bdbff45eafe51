//! What admins ask. Owns who is one: deny by default, checked on every call.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{Datelike, NaiveDate};

use super::board::View;
use super::chat::Body;
use super::command::QueueWish;
use super::wording;
use crate::clock::Timestamp;
use crate::ids::Platform;
use crate::store::lanes::Lane;
use crate::store::{Store, StoreError};

/// Failures that admins see of the line.
const FAILURES_SHOWN: u32 = 3;

/// The admins' side of the core.
pub struct Admin {
    store: Arc<Store>,
    ids: BTreeSet<String>,
}

impl Admin {
    /// `ids` are `platform:account`.
    pub fn new(store: Arc<Store>, ids: BTreeSet<String>) -> Self {
        Self { store, ids }
    }

    pub fn is_admin(&self, platform: Platform, account: &str) -> bool {
        self.ids.contains(&format!("{platform}:{account}"))
    }

    /// The lanes and the latest failures.
    pub async fn lanes(&self, view: &View, now: Timestamp) -> Result<String, StoreError> {
        let failures: Vec<_> = self
            .store
            .recent_failures(FAILURES_SHOWN)
            .await?
            .into_iter()
            .map(|(code, failure, at)| (code, failure, now.since(at)))
            .collect();
        Ok(wording::lanes(&view.lanes, view.oldest, view.draining, &failures))
    }

    /// Pauses lanes, lets them go on, or closes the line; what is said of it.
    pub async fn set_queue(&self, wish: &QueueWish, lanes: &[Lane], by: &str) -> Result<String, StoreError> {
        let chosen = |name: &Option<String>| -> Vec<Lane> {
            lanes
                .iter()
                .filter(|lane| name.as_ref().is_none_or(|name| lane.name.eq_ignore_ascii_case(name)))
                .cloned()
                .collect()
        };
        let names = |lanes: &[Lane]| lanes.iter().map(|lane| lane.name.clone()).collect::<Vec<_>>();
        let (chosen, paused) = match wish {
            QueueWish::Pause(name) => (chosen(name), true),
            QueueWish::Resume(name) => (chosen(name), false),
            QueueWish::Drain => {
                self.store.drain_line(true).await?;
                tracing::info!(by, "an admin lets the line run empty");
                return Ok(wording::draining());
            }
            QueueWish::Show | QueueWish::Unclear => (Vec::new(), false),
        };
        if chosen.is_empty() {
            return Ok(wording::unclear_queue_wish(&names(lanes)));
        }
        self.store.pause_lanes(&chosen, paused).await?;
        if !paused {
            self.store.drain_line(false).await?;
        }
        let names = names(&chosen);
        tracing::info!(by, lanes = names.join(","), paused, "an admin has set lanes");
        Ok(wording::lanes_set(&names, paused))
    }

    /// Usage and cost by model: today, the last 7 days, this month (UTC).
    pub async fn usage(&self, now: Timestamp) -> Result<Body, StoreError> {
        let today = now.utc().map(|now| now.date_naive()).unwrap_or_default();
        let week = today - chrono::Days::new(6);
        let month = today.with_day(1).unwrap_or(today);
        let mut periods = Vec::new();
        for (title, from) in [("Today", today), ("Last 7 days", week), ("This month", month)] {
            periods.push((title, self.store.usage_by_model(midnight(from), Timestamp::NEVER).await?));
        }
        Ok(Body { private: true, ..Body::text(wording::usage(&periods)) })
    }
}

fn midnight(day: NaiveDate) -> Timestamp {
    Timestamp(day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_millis())
}
