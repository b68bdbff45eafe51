//! What the operator sees at a glance: the line, money, usage, upstreams, failures, instances. Owns what belongs together
//! and how often it is looked at; never how it is shown.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{Datelike, NaiveDate};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::chart::{Chart, Kind, Series, Unit};
use super::midnight;
use crate::clock::{Clock, Timestamp};
use crate::core::board::{Boards, View};
use crate::core::money::Purse;
use crate::ids::InstanceId;
use crate::store::budgets::{Scope, Span, Spending};
use crate::store::days::{Day, ModelDay};
use crate::store::failures::{Noted, ProviderHealth};
use crate::store::instances::Seen;
use crate::store::ledger::ModelUse;
use crate::store::{Store, StoreError};

/// Days in the charts.
const DAYS: u32 = 30;

/// Latest failures that are shown.
const FAILURES: u32 = 20;

/// How far back the providers' calls are looked at.
pub const HEALTH_SPAN: Duration = Duration::from_secs(3600);

/// The line is looked at no more often, however many look.
const FRESH: Duration = Duration::from_millis(900);

/// Sums over many rows are used again for so long, and for so many times as long as they took.
const SUMS_FRESH: Duration = Duration::from_secs(10);
const SUMS_SHARE: u32 = 20;

/// Complete days that the forecast is the average of, at most.
const FORECAST_DAYS: usize = 7;

/// Everything at one moment.
#[derive(Clone, Debug)]
pub struct Overview {
    pub at: Timestamp,
    pub line: Arc<View>,
    /// Noted failures of the last 24 hours.
    pub failed_today: i64,
    /// Newest first.
    pub failures: Vec<Noted>,
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
    /// What each model cost on each of `days`, in no order; names of models only.
    pub costs: Vec<ModelDay>,
    /// Of the last [`HEALTH_SPAN`].
    pub providers: Vec<ProviderHealth>,
}

impl Sums {
    /// The charts of `days`: cost by model, messages, reels.
    pub fn charts(&self) -> [Chart; 3] {
        let days: Vec<NaiveDate> = self.days.iter().map(|day| day.date).collect();
        let chart = |title: &str, subtitle: &str, unit, series| Chart {
            title: title.into(),
            subtitle: subtitle.into(),
            kind: Kind::StackedBars,
            unit,
            days: days.clone(),
            series,
            running: true,
        };
        let mut models: BTreeMap<&str, BTreeMap<NaiveDate, i64>> = BTreeMap::new();
        for cost in &self.costs {
            *models.entry(&cost.used.model).or_default().entry(cost.date).or_default() += cost.used.micro_usd;
        }
        let of = |costs: &BTreeMap<NaiveDate, i64>| {
            days.iter().map(|day| costs.get(day).copied().unwrap_or(0)).collect::<Vec<_>>()
        };
        let costs = models.into_iter().map(|(model, costs)| Series::micro_usd(model, of(&costs))).collect();
        let counts = |name, of: fn(&Day) -> i64| vec![Series::counts(name, self.days.iter().map(of))];
        [
            chart("Cost per day", "Last 30 days, by model, UTC", Unit::Usd, costs),
            chart("Messages per day", "Last 30 days, UTC", Unit::Count, counts("Messages", |day| day.messages)),
            chart("Reels read per day", "Last 30 days, UTC", Unit::Count, counts("Reels", |day| day.reels)),
        ]
    }
}

/// What the month will have cost at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    pub micro_usd: i64,
    /// The average of so many complete days is what the rest of the month is taken to cost a day.
    pub basis_days: usize,
    pub per_day_micro_usd: i64,
}

/// Makes overviews, one for all who look at the same time.
pub struct Overviews {
    store: Arc<Store>,
    boards: Arc<Boards>,
    purse: Arc<Purse>,
    clock: Clock,
    instance: InstanceId,
    latest: Mutex<Option<(Instant, Arc<Overview>)>>,
    sums: Mutex<Option<(Instant, Duration, Arc<Sums>)>>,
}

impl Overviews {
    pub fn new(
        store: Arc<Store>,
        boards: Arc<Boards>,
        purse: Arc<Purse>,
        clock: Clock,
        instance: InstanceId,
    ) -> Overviews {
        Overviews { store, boards, purse, clock, instance, latest: Mutex::new(None), sums: Mutex::new(None) }
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
        if let Some((at, took, sums)) = &*kept
            && at.elapsed() < SUMS_FRESH.max(*took * SUMS_SHARE)
        {
            return Ok(sums.clone());
        }
        let began = Instant::now();
        let now = self.clock.now();
        let today = now.utc().map(|now| now.date_naive()).unwrap_or_default();
        let month = today.with_day(1).unwrap_or(today);
        let spending = self.purse.spending().await?;
        let days = self.store.days(DAYS, now).await?;
        let first = days.first().map_or(month, |day| day.date);
        let costs = self.store.days_by_model(midnight(first.min(month))).await?;
        let sums = Arc::new(Sums {
            forecast: forecast(&spending, &days, now),
            spending,
            days,
            models: models(costs.iter().filter(|cost| cost.date >= month)),
            costs: costs.into_iter().filter(|cost| cost.date >= first).collect(),
            providers: self.store.provider_health(now - HEALTH_SPAN).await?,
        });
        *kept = Some((began, began.elapsed(), sums.clone()));
        Ok(sums)
    }
}

/// The sums of each model, the dearest first.
fn models<'a>(days: impl Iterator<Item = &'a ModelDay>) -> Vec<ModelUse> {
    let mut all: BTreeMap<(&str, &str), ModelUse> = BTreeMap::new();
    for ModelDay { used, .. } in days {
        let sums = all.entry((&used.provider, &used.model)).or_insert_with(|| ModelUse {
            provider: used.provider.clone(),
            model: used.model.clone(),
            calls: 0,
            input_tokens: 0,
            cached_tokens: 0,
            output_tokens: 0,
            micro_usd: 0,
        });
        sums.calls += used.calls;
        sums.input_tokens += used.input_tokens;
        sums.cached_tokens += used.cached_tokens;
        sums.output_tokens += used.output_tokens;
        sums.micro_usd += used.micro_usd;
    }
    let mut all: Vec<ModelUse> = all.into_values().collect();
    all.sort_by_key(|used| std::cmp::Reverse(used.micro_usd));
    all
}

/// The month's cost at its end: what is spent, and the recent days' average for each day that is left. `None` before the
/// first complete day with a cost.
fn forecast(spending: &[Spending], days: &[Day], now: Timestamp) -> Option<Forecast> {
    let month = spending.iter().find(|spending| spending.scope == Scope::Bot && spending.span == Span::Month)?;
    let (today, complete) = days.split_last()?;
    let begun = complete.iter().position(|day| day.micro_usd > 0)?;
    let known = &complete[begun..];
    let basis = &known[known.len().saturating_sub(FORECAST_DAYS)..];
    let count = i64::try_from(basis.len()).ok().filter(|count| *count > 0)?;
    let per_day = basis.iter().map(|day| day.micro_usd).sum::<i64>() / count;
    let days_left = i64::try_from(Span::Month.end(now).since(Span::Day.end(now)).as_secs() / 86_400).ok()?;
    let rest_of_today = (per_day - today.micro_usd).max(0);
    let micro_usd = month.spent.saturating_add(rest_of_today).saturating_add(per_day.saturating_mul(days_left));
    Some(Forecast { micro_usd, basis_days: basis.len(), per_day_micro_usd: per_day })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-24, noon.
    const NOW: Timestamp = Timestamp(1_795_521_600_000);

    fn month(spent: i64) -> Vec<Spending> {
        let resets_at = Span::Month.end(NOW);
        vec![Spending { scope: Scope::Bot, span: Span::Month, spent, cap: None, resets_at }]
    }

    fn days(costs: &[i64]) -> Vec<Day> {
        let first = NaiveDate::from_ymd_opt(2026, 11, 25).unwrap() - chrono::Days::new(costs.len() as u64);
        let day = |(at, micro_usd): (usize, &i64)| Day {
            date: first + chrono::Days::new(at as u64),
            messages: 0,
            reels: 0,
            micro_usd: *micro_usd,
        };
        costs.iter().enumerate().map(day).collect()
    }

    #[test]
    fn the_forecast_is_the_recent_average_for_what_is_left() {
        // Six days are left after the 24th.
        let told = |spent, costs: &[i64]| {
            forecast(&month(spent), &days(costs), NOW).map(|f| (f.micro_usd, f.basis_days, f.per_day_micro_usd))
        };
        assert_eq!(told(0, &[0, 0, 0]), None, "nothing was ever spent");
        assert_eq!(told(50, &[0, 0, 50]), None, "only today");
        assert_eq!(told(300, &[0, 100, 200, 0]), Some((300 + 150 + 6 * 150, 2, 150)));
        assert_eq!(told(300, &[100, 200]), Some((300 + 6 * 100, 1, 100)), "today is above the average already");
        assert_eq!(told(9, &[1000, 7, 7, 7, 7, 7, 7, 7, 7]), Some((9 + 6 * 7, 7, 7)), "a week at most");
        assert_eq!(told(i64::MAX, &[5, 0]), Some((i64::MAX, 1, 5)), "no overflow");
    }
}
