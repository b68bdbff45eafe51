//! What admins ask. Owns who is one: deny by default, checked on every call.

pub mod chart;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{Datelike, NaiveDate};

use super::board::View;
use super::capacity::scenarios::{Scenario, quick};
use super::capacity::{self, Report, from_past, too_little};
use super::chat::Body;
use super::command::{BudgetTarget, BudgetWish, QueueWish};
use super::money::{Purse, dollars};
use super::wording;
use crate::clock::Timestamp;
use crate::ids::Platform;
use crate::store::budgets::Scope;
use crate::store::lanes::Lane;
use crate::store::turns::Turn;
use crate::store::{Store, StoreError};

/// Failures that admins see of the line.
const FAILURES_SHOWN: u32 = 3;

/// What capacity is planned from.
const PLANNED_FROM: Duration = Duration::from_secs(30 * 86_400);

/// Changes that `/audit` shows.
const CHANGES_SHOWN: u32 = 15;

/// The admins' side of the core.
pub struct Admin {
    store: Arc<Store>,
    purse: Arc<Purse>,
    ids: BTreeSet<String>,
    /// The plan of this configuration.
    plan: capacity::Plan,
}

impl Admin {
    /// `ids` are `platform:account`; `plan` is what capacity is planned with.
    pub fn new(store: Arc<Store>, purse: Arc<Purse>, ids: BTreeSet<String>, plan: capacity::Plan) -> Self {
        Self { store, purse, ids, plan }
    }

    pub fn is_admin(&self, platform: Platform, account: &str) -> bool {
        self.ids.contains(&format!("{platform}:{account}"))
    }

    /// What this person has used and has left.
    pub async fn me(&self, turn: &Turn, waiting: usize, now: Timestamp) -> Result<String, StoreError> {
        let standings = self.purse.standings(turn.person, &turn.chat).await?;
        let next_reel = self.store.next_reel_at(turn.person).await?.since(now);
        Ok(wording::me(&standings, waiting, next_reel))
    }

    /// Shows the budgets or sets one; what is said of it.
    pub async fn budget(&self, wish: BudgetWish, turn: &Turn, by: &str, now: Timestamp) -> Result<String, StoreError> {
        let (whose, span, micro_usd) = match wish {
            BudgetWish::Show => {
                let standings = self.purse.standings(turn.person, &turn.chat).await?;
                return Ok(wording::budgets(&standings, &self.store.budgets().await?));
            }
            BudgetWish::Unclear => return Ok(wording::unclear_budget()),
            BudgetWish::Set { whose, span, micro_usd } => (whose, span, micro_usd),
        };
        let scope = match whose {
            BudgetTarget::Bot => Scope::Bot.name(),
            BudgetTarget::EachPlatform => "platform".to_owned(),
            BudgetTarget::EachGuild => "guild".to_owned(),
            BudgetTarget::EachChat => "chat".to_owned(),
            BudgetTarget::EachPerson => "person".to_owned(),
            BudgetTarget::Here => match self.store.guild_of(&turn.chat).await? {
                Some(guild) => Scope::Guild(guild).name(),
                None => Scope::Chat(turn.chat.clone()).name(),
            },
        };
        self.store.set_budget(&scope, span, micro_usd).await?;
        let said = wording::budget_set(&scope, span, micro_usd);
        self.changed(
            by,
            &format!("budget of {scope} for a {}: {}", span.name(), micro_usd.map_or("none".into(), dollars)),
            now,
        )
        .await?;
        Ok(said)
    }

    /// How loaded each part is, what it costs and what to change, in words.
    pub async fn capacity(&self, now: Timestamp) -> Result<String, StoreError> {
        let (reports, past) = self.planned(now).await?;
        Ok(wording::capacity(&reports, past))
    }

    /// The plan of the last 30 days and over how many of them it was measured; the scenarios if that is too little.
    /// [`Report::load_figures`] are what a chart of it shows.
    pub async fn planned(&self, now: Timestamp) -> Result<(Vec<Report>, Option<f64>), StoreError> {
        let measured = self.store.measured(now - PLANNED_FROM, now).await?;
        let past = (!too_little(&measured)).then_some(measured.days);
        let (base, prices) =
            (capacity::Plan { money: self.plan.money_at(now), ..self.plan.clone() }, self.purse.prices.clone());
        // A second of work at most, beside those who answer.
        let work = tokio::task::spawn_blocking(move || {
            let plans = match past {
                Some(_) => vec![from_past(&base, &measured)],
                None => Scenario::ALL.map(|scenario| scenario.plan(&base)).to_vec(),
            };
            // A model without a price was refused at the start.
            plans.iter().filter_map(|plan| capacity::report(&quick(plan), &prices).ok()).collect()
        });
        Ok((work.await.unwrap_or_default(), past))
    }

    /// What admins have changed.
    pub async fn audit(&self) -> Result<String, StoreError> {
        Ok(wording::audit(&self.store.changes(CHANGES_SHOWN).await?))
    }

    /// Every change is written down, for other admins.
    async fn changed(&self, by: &str, change: &str, now: Timestamp) -> Result<(), StoreError> {
        tracing::info!(by, change, "an admin has changed something");
        self.store.note_change(by, change, now).await
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
    pub async fn set_queue(
        &self,
        wish: &QueueWish,
        lanes: &[Lane],
        by: &str,
        now: Timestamp,
    ) -> Result<String, StoreError> {
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
                self.changed(by, "the line runs empty", now).await?;
                return Ok(wording::draining());
            }
            QueueWish::Show | QueueWish::Unclear => (Vec::new(), false),
        };
        if chosen.is_empty() {
            return Ok(wording::unclear_queue_wish(&names(lanes)));
        }
        self.store.pause_lanes(&chosen, paused).await?;
        let opened = *wish == QueueWish::Resume(None);
        if opened {
            self.store.drain_line(false).await?;
        }
        let names = names(&chosen);
        let done = if paused { "paused" } else { "going on" };
        self.changed(by, &format!("lanes {done}: {}", names.join(", ")), now).await?;
        Ok(wording::lanes_set(&names, paused, opened))
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
