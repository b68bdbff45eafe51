//! What admins ask. Owns who is one: deny by default, checked on every call.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{Datelike, NaiveDate};

use super::chat::Body;
use super::wording;
use crate::clock::Timestamp;
use crate::ids::Platform;
use crate::store::{Store, StoreError};

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
