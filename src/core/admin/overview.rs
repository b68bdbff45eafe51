//! What the operator sees at a glance: the line, money, usage, upstreams, failures, instances. Owns what belongs together
//! and how often it is looked at; never how it is shown.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{Datelike, NaiveDate};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::chart::{Chart, Kind, Series, Unit};
use crate::clock::{Clock, Timestamp};
use crate::core::board::{Boards, View};
use crate::core::command::figures::{date, number, today};
use crate::core::money::Purse;
use crate::core::providers::{self, ProviderHealth, ProviderTarget};
use crate::core::report::{Forecast, forecast, forecast_days};
use crate::ids::InstanceId;
use crate::locale::fl;
use crate::store::budgets::Spending;
use crate::store::failures::Noted;
use crate::store::instances::Seen;
use crate::store::usage::{CountRow, Days, ModelRow, Sums as Used};
use crate::store::{Store, StoreError};

/// Days in the charts.
const DAYS: i64 = 30;

/// Latest failures that are shown.
const FAILURES: u32 = 20;

/// How far back the providers' calls are looked at.
pub const HEALTH_SPAN: Duration = Duration::from_secs(3600);

/// The line is looked at no more often, however many look.
const FRESH: Duration = Duration::from_millis(900);

/// Sums are used again for so long.
const SUMS_FRESH: Duration = Duration::from_secs(10);

/// Everything at one moment.
#[derive(Clone, Debug)]
pub struct Overview {
    pub at: Timestamp,
    pub line: Arc<View>,
    /// Noted failures of the last 24 hours.
    pub failed_today: i64,
    /// Newest first.
    pub failures: Vec<Noted>,
    /// Of the last [`HEALTH_SPAN`]; as fresh as the lanes, which stand beside it.
    pub providers: Vec<ProviderHealth>,
    pub instances: Vec<Seen>,
    /// Who tells this.
    pub instance: InstanceId,
    pub sums: Arc<Sums>,
}

/// What is summed over many rows, and a little older.
#[derive(Clone, Debug)]
pub struct Sums {
    /// The bot's day and month, then each platform's month.
    pub spending: Vec<Spending>,
    pub forecast: Option<Forecast>,
    /// Oldest first, without gaps; the last one is today.
    pub days: Vec<Day>,
    /// This month's, the dearest first.
    pub models: Vec<ModelUse>,
    /// What each model cost on each of `days`, in no order.
    costs: Vec<(NaiveDate, String, i64)>,
}

/// One day (UTC).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Day {
    pub date: NaiveDate,
    /// Messages that were answered.
    pub messages: i64,
    /// Reels that were read.
    pub reels: i64,
    pub micro_usd: i64,
}

/// What a model was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelUse {
    pub provider: String,
    pub model: String,
    pub used: Used,
}

impl Sums {
    /// The charts of `days`: cost by model, messages, reels.
    pub fn charts(&self) -> [Chart; 3] {
        let days: Vec<NaiveDate> = self.days.iter().map(|day| day.date).collect();
        let chart = |title: String, subtitle: String, unit, series| Chart {
            title,
            subtitle,
            kind: Kind::StackedBars,
            unit,
            days: days.clone(),
            series,
            running: true,
        };
        let last = || fl!("chart-overview-last");
        let mut models: BTreeMap<&str, BTreeMap<NaiveDate, i64>> = BTreeMap::new();
        for (day, model, micro_usd) in &self.costs {
            *models.entry(model).or_default().entry(*day).or_default() += micro_usd;
        }
        let of = |costs: &BTreeMap<NaiveDate, i64>| {
            days.iter().map(|day| costs.get(day).copied().unwrap_or(0)).collect::<Vec<_>>()
        };
        let costs = models.into_iter().map(|(model, costs)| Series::micro_usd(model, of(&costs))).collect();
        let counts = |name: String, of: fn(&Day) -> i64| vec![Series::counts(name, self.days.iter().map(of))];
        [
            chart(fl!("chart-cost"), fl!("chart-overview-by-model"), Unit::Usd, costs),
            chart(
                fl!("chart-overview-messages"),
                last(),
                Unit::Count,
                counts(fl!("chart-series-messages"), |day| day.messages),
            ),
            chart(fl!("chart-overview-reels"), last(), Unit::Count, counts(fl!("chart-series-reels"), |day| day.reels)),
        ]
    }
}

/// Makes overviews, one for all who look at the same time.
pub struct Overviews {
    store: Arc<Store>,
    boards: Arc<Boards>,
    purse: Arc<Purse>,
    clock: Clock,
    instance: InstanceId,
    targets: Vec<ProviderTarget>,
    latest: Mutex<Option<(Instant, Arc<Overview>)>>,
    sums: Mutex<Option<(Instant, Arc<Sums>)>>,
}

impl Overviews {
    pub fn new(
        store: Arc<Store>,
        boards: Arc<Boards>,
        purse: Arc<Purse>,
        clock: Clock,
        instance: InstanceId,
        targets: Vec<ProviderTarget>,
    ) -> Overviews {
        let (latest, sums) = (Mutex::new(None), Mutex::new(None));
        Overviews { store, boards, purse, clock, instance, targets, latest, sums }
    }

    /// How things stand, no more than about a second ago; sums are some seconds older.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn look(&self) -> Result<Arc<Overview>, StoreError> {
        let mut latest = self.latest.lock().await;
        if let Some((at, overview)) = &*latest
            && at.elapsed() < FRESH
        {
            return Ok(overview.clone());
        }
        let began = Instant::now();
        let sums = self.sums().await?;
        let at = self.clock.now();
        let overview = Arc::new(Overview {
            at,
            line: self.boards.view().await?,
            failed_today: self.store.failures_since(at - Duration::from_secs(86_400)).await?,
            failures: self.store.failures(FAILURES).await?,
            providers: providers::health(
                &self.store.providers().await?,
                &self.store.provider_calls(at - HEALTH_SPAN).await?,
                &self.targets,
            ),
            instances: self.store.instances_seen(at).await?,
            instance: self.instance,
            sums,
        });
        *latest = Some((began, overview.clone()));
        Ok(overview)
    }

    /// What is known under a reference code; in any case and with spaces around it.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn failure(&self, reference: &str) -> Result<Option<Noted>, StoreError> {
        self.store.failure(&reference.trim().to_ascii_uppercase()).await
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn sums(&self) -> Result<Arc<Sums>, StoreError> {
        let mut kept = self.sums.lock().await;
        if let Some((at, sums)) = &*kept
            && at.elapsed() < SUMS_FRESH
        {
            return Ok(sums.clone());
        }
        let began = Instant::now();
        let now = self.clock.now();
        let last = today(now);
        let month = number(last.with_day(1).unwrap_or(last));
        let shown = Days { from: number(last) + 1 - DAYS, to: number(last) + 1 };
        let rows =
            self.store.usage_of_models(Days { from: shown.from.min(forecast_days(now).from), ..shown }, None).await?;
        let counts = self.store.usage_counts(shown, None).await?;
        let sums = Arc::new(Sums {
            spending: self.purse.spending().await?,
            forecast: forecast(&rows, now),
            days: days(shown, &rows, &counts),
            models: models(rows.iter().filter(|row| row.day >= month)),
            costs: rows
                .iter()
                .filter(|row| row.day >= shown.from)
                .map(|row| (date(row.day), row.model.clone(), row.sums.micro_usd))
                .collect(),
        });
        *kept = Some((began, sums.clone()));
        Ok(sums)
    }
}

/// The days of a period, without gaps.
fn days(period: Days, used: &[ModelRow], counts: &[CountRow]) -> Vec<Day> {
    let counted = |day: i64, fits: fn(&CountRow) -> bool| -> i64 {
        counts.iter().filter(|row| row.day == day && fits(row)).map(|row| row.count).sum()
    };
    (period.from..period.to)
        .map(|day| Day {
            date: date(day),
            messages: counted(day, CountRow::is_message),
            reels: counted(day, CountRow::is_read_reel),
            micro_usd: used.iter().filter(|row| row.day == day).map(|row| row.sums.micro_usd).sum(),
        })
        .collect()
}

/// The sums of each model, the dearest first.
fn models<'a>(rows: impl Iterator<Item = &'a ModelRow>) -> Vec<ModelUse> {
    let mut all: BTreeMap<(&str, &str), Used> = BTreeMap::new();
    for row in rows {
        *all.entry((&row.provider, &row.model)).or_default() += row.sums;
    }
    let named = |((provider, model), used): ((&str, &str), Used)| ModelUse {
        provider: provider.to_owned(),
        model: model.to_owned(),
        used,
    };
    let mut all: Vec<ModelUse> = all.into_iter().map(named).collect();
    all.sort_by_key(|of| std::cmp::Reverse(of.used.micro_usd));
    all
}
