//! What admins ask and change, as far as their [`Authority`] goes. Who runs the bot (`ADMIN_IDS`) may do everything; who
//! manages a Discord server sees and changes what concerns that server alone.

mod people;

pub mod chart;
pub mod figures;
pub mod overview;

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chrono::{Datelike, NaiveDate};

use self::chart::Painter;
use super::access::Authority;
use super::board::View;
use super::capacity::scenarios::{Scenario, quick};
use super::capacity::{self, Report, from_past, too_little};
use super::chat::{Body, Inbound};
use super::command::{AuditWish, BudgetTarget, BudgetWish, Command, LimitsWish, QueueWish};
use super::money::{Purse, SPARING, dollars};
use super::reels::Reels;
use super::wording;
use crate::clock::Timestamp;
use crate::ids::{GuildId, Platform};
use crate::store::access::Pause;
use crate::store::budgets::{Scope, Span, Standing};
use crate::store::lanes::Lane;
use crate::store::turns::Turn;
use crate::store::{Store, StoreError};

/// Failures that admins see of the line.
const FAILURES_SHOWN: u32 = 3;

/// What capacity is planned from.
const PLANNED_FROM: Duration = Duration::from_secs(30 * 86_400);

/// Changes on a page of `/audit`.
const CHANGES_SHOWN: u32 = 15;

const DAY: Duration = Duration::from_secs(86_400);

/// An admin's wish, with who asked and what they may.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    pub turn: &'a Turn,
    pub inbound: &'a Inbound,
    pub authority: &'a Authority,
    pub now: Timestamp,
}

impl Asked<'_> {
    /// Who asked, as `platform:account`.
    fn by(&self) -> String {
        format!("{}:{}", self.turn.chat.platform, self.inbound.author.account)
    }
}

/// The admins' side of the core.
pub struct Admin {
    store: Arc<Store>,
    purse: Arc<Purse>,
    reels: Arc<Reels>,
    /// Who runs the bot: nobody can block them.
    ids: BTreeSet<String>,
    /// The plan of this configuration.
    plan: capacity::Plan,
    painter: Painter,
    /// The bot's name on Telegram, once it is known there.
    telegram: OnceLock<String>,
}

impl Admin {
    /// `ids` are `platform:account`; `plan` is what capacity is planned with.
    pub fn new(
        store: Arc<Store>,
        purse: Arc<Purse>,
        reels: Arc<Reels>,
        ids: BTreeSet<String>,
        plan: capacity::Plan,
    ) -> Self {
        Self { store, purse, reels, ids, plan, painter: Painter::default(), telegram: OnceLock::new() }
    }

    /// The bot's name on Telegram, for the links of invitations.
    pub fn is_named_on_telegram(&self, username: &str) {
        // It is the same each time.
        let _ = self.telegram.set(username.to_owned());
    }

    /// Does what an admin's command asks, as far as their authority goes; what is said of it. `None` for what is no
    /// admin's command.
    pub async fn answer(&self, command: Command, asked: &Asked<'_>) -> Result<Option<Body>, StoreError> {
        let is_whole = *asked.authority == Authority::Everything;
        let text = match command {
            Command::Usage(wish) => {
                return Ok(Some(
                    figures::answer(&self.store, &self.painter, wish, asked.authority.guild(), asked.now).await?,
                ));
            }
            Command::Budget(wish) => self.budget(wish, asked).await?,
            Command::Audit(Some(wish)) => self.audit(wish, asked).await?,
            Command::Audit(None) => wording::unclear_audit(),
            Command::Block(Some((who, reason))) => self.block(&who, &reason, asked).await?,
            Command::Unblock(Some(who)) => self.unblock(&who, asked).await?,
            Command::Block(None) | Command::Unblock(None) => wording::unclear_person(),
            Command::Blocked => self.blocked(asked).await?,
            Command::Limits(LimitsWish::Show) => self.limits(asked).await?,
            Command::Limits(_)
            | Command::Invite(_)
            | Command::Invites(_)
            | Command::Pause(_)
            | Command::Resume
            | Command::Capacity
                if !is_whole =>
            {
                wording::not_for_managers()
            }
            Command::Capacity => return Ok(Some(self.capacity(asked.now).await?)),
            Command::Limits(LimitsWish::Set(limit, value)) => {
                self.store.set_limit(limit, value).await?;
                let shown = value.map_or("as configured".into(), |value| value.to_string());
                self.changed(asked, "limits", &format!("limit {}: {shown}", limit.name())).await?;
                wording::limit_set(limit, value)
            }
            Command::Limits(LimitsWish::Unclear) => wording::unclear_limits(),
            Command::Invite(Some(wish)) => self.invite(wish, asked).await?,
            Command::Invite(None) => wording::unclear_invitation(),
            Command::Invites(wish) => self.invites(wish, asked).await?,
            Command::Pause(reason) => {
                self.store.pause_all(&reason, &asked.by(), asked.now).await?;
                self.changed(asked, "pause", format!("paused the bot: {reason}").trim_end_matches(": ")).await?;
                wording::pause_set(&Pause { reason, at: asked.now })
            }
            Command::Resume => {
                let was_paused = self.store.resume_all().await?;
                if was_paused {
                    self.changed(asked, "resume", "let the bot go on").await?;
                }
                wording::resumed(was_paused)
            }
            Command::Talk(_)
            | Command::Reel { .. }
            | Command::Again(_)
            | Command::Queue(_)
            | Command::Cancel(_)
            | Command::New
            | Command::History
            | Command::Help
            | Command::Start { .. }
            | Command::Me
            | Command::Unknown(_) => return Ok(None),
        };
        Ok(Some(Body { private: true, ..Body::text(text) }))
    }

    /// What this person has used and has left.
    pub async fn me(&self, turn: &Turn, account: &str, waiting: usize, now: Timestamp) -> Result<String, StoreError> {
        let standings = self.purse.standings(turn.person, &turn.chat).await?;
        let next_reel = self.store.next_reel_at(turn.person).await?.since(now);
        let today = now.utc().map(|now| now.date_naive()).unwrap_or_default();
        let month = today.with_day(1).unwrap_or(today);
        let of_today = self.store.activity(turn.person, midnight(today)).await?;
        let of_month = self.store.activity(turn.person, midnight(month)).await?;
        let account = format!("{}:{account}", turn.chat.platform);
        let limits = wording::my_limits(&self.reels.limits().await?, of_today, of_month, &account);
        Ok(format!("{}\n{limits}", wording::me(&standings, waiting, next_reel)))
    }

    /// What stands behind an answer when most of a person's day is used up: once a day.
    pub async fn nearly_used(&self, turn: &Turn, now: Timestamp) -> Result<Option<String>, StoreError> {
        let standings = self.purse.standings(turn.person, &turn.chat).await?;
        let near = |standing: &&Standing| {
            matches!(standing.cap.scope, Scope::Person(_))
                && standing.cap.span == Span::Day
                && standing.percent() >= SPARING
        };
        let Some(standing) = standings.iter().find(near) else { return Ok(None) };
        let (who, today) = (turn.person.to_string(), Span::Day.period(now));
        let is_news = self.store.may_tell(&who, &format!("day nearly used, {today}"), 1, DAY, now).await?;
        Ok(is_news.then(|| wording::nearly_used(standing)))
    }

    /// Shows the budgets or sets one; what is said of it.
    async fn budget(&self, wish: BudgetWish, asked: &Asked<'_>) -> Result<String, StoreError> {
        let turn = asked.turn;
        let own = asked.authority.guild().map(|guild| Scope::Guild(guild.clone()));
        let mut standings = self.purse.standings(turn.person, &turn.chat).await?;
        let (whose, span, micro_usd) = match wish {
            BudgetWish::Show => {
                let mut set = self.store.budgets().await?;
                if let Some(own) = &own {
                    standings.retain(|standing| standing.cap.scope == *own);
                    set.retain(|budget| budget.scope == own.name());
                }
                return Ok(wording::budgets(&standings, &set));
            }
            BudgetWish::Unclear => return Ok(wording::unclear_budget()),
            BudgetWish::Set { whose, span, micro_usd } => (whose, span, micro_usd),
        };
        let mut guild = None;
        let (scope, shown) = match (whose, &own) {
            (BudgetTarget::Here, Some(own)) => return self.lower_budget(own, span, micro_usd, asked).await,
            (_, Some(_)) => return Ok(wording::budget_only_here()),
            (BudgetTarget::Bot, None) => (Scope::Bot.name(), Scope::Bot.name()),
            (BudgetTarget::EachPlatform, None) => ("platform".into(), "platform".into()),
            (BudgetTarget::EachGuild, None) => ("guild".into(), "guild".into()),
            (BudgetTarget::EachChat, None) => ("chat".into(), "chat".into()),
            (BudgetTarget::EachPerson, None) => ("person".into(), "person".into()),
            (BudgetTarget::Here, None) => {
                let scope = match self.store.guild_of(&turn.chat).await? {
                    Some(here) => {
                        guild = Some(here.clone());
                        Scope::Guild(here)
                    }
                    None => Scope::Chat(turn.chat.clone()),
                };
                (scope.name(), scope.name())
            }
            (BudgetTarget::Guild(id), None) => {
                let named = GuildId::new(Platform::Discord, id);
                guild = Some(named.clone());
                (Scope::Guild(named.clone()).name(), Scope::Guild(named).name())
            }
            (BudgetTarget::Person(who), None) => match self.find(&who, asked).await? {
                Ok((person, account)) => (Scope::Person(person).name(), format!("person {account}")),
                Err(sentence) => return Ok(sentence),
            },
        };
        self.store.set_budget(&scope, span, micro_usd).await?;
        let said = wording::budget_set(&shown, span, micro_usd);
        let change = format!("budget of {shown} for a {}: {}", span.name(), micro_usd.map_or("none".into(), dollars));
        self.changed_in(guild.as_ref(), asked, "budget", &change).await?;
        Ok(said)
    }

    /// Lowers the budget of a server for its managers. What it may use at most is for whoever pays to say, now and later: this
    /// stands beside it, and the lower of the two holds.
    async fn lower_budget(
        &self,
        own: &Scope,
        span: Span,
        micro_usd: Option<i64>,
        asked: &Asked<'_>,
    ) -> Result<String, StoreError> {
        let name = own.name();
        let granted = self.purse.amounts().await?.granted(&name, span);
        if let Some(granted) = granted
            && micro_usd.is_none_or(|micro_usd| micro_usd > granted)
        {
            return Ok(wording::budget_only_lower(&dollars(granted)));
        }
        self.store.lower_budget(own, span, micro_usd).await?;
        let change = format!("budget of {name} for a {}: {}", span.name(), micro_usd.map_or("none".into(), dollars));
        self.changed(asked, "budget", &change).await?;
        Ok(wording::budget_set(&name, span, micro_usd))
    }

    /// How loaded each part is, what it costs and what to change, in words and with a picture.
    pub async fn capacity(&self, now: Timestamp) -> Result<Body, StoreError> {
        let (reports, past) = self.planned(now).await?;
        let body = Body { private: true, ..Body::text(wording::capacity(&reports, past)) };
        let loads = figures::loads(&reports, &wording::basis(past));
        Ok(match self.painter.picture("capacity.png", loads, chart::Look::Dark).await {
            Ok(file) => body.with(file),
            // The words say it all; the picture is for the eyes.
            Err(error) => {
                tracing::warn!("the picture of the capacity is missing: {error}");
                body
            }
        })
    }

    /// The plan of the last 30 days and over how many of them it was measured; the scenarios if that is too little.
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
    async fn audit(&self, wish: AuditWish, asked: &Asked<'_>) -> Result<String, StoreError> {
        let since = wish.days.map_or(Timestamp(0), |days| asked.now - DAY * days);
        let skip = (wish.page.saturating_sub(1)).saturating_mul(CHANGES_SHOWN);
        let guild = asked.authority.guild();
        let mut changes = self.store.changes_since(guild, since, skip, CHANGES_SHOWN + 1).await?;
        let more = changes.len() > CHANGES_SHOWN as usize;
        changes.truncate(CHANGES_SHOWN as usize);
        Ok(wording::audit(&changes, wish.page, more))
    }

    /// The limits in force.
    async fn limits(&self, asked: &Asked<'_>) -> Result<String, StoreError> {
        let set: Vec<_> = self.store.set_limits().await?.into_iter().map(|(limit, _)| limit).collect();
        let blocked = self.store.count_blocks(asked.authority.guild()).await?;
        Ok(wording::limits(&self.reels.limits().await?, &set, blocked))
    }

    /// Every change is written down, for other admins. The log hears of it without the words that somebody wrote.
    async fn changed(&self, asked: &Asked<'_>, what: &'static str, change: &str) -> Result<(), StoreError> {
        self.changed_in(asked.authority.guild(), asked, what, change).await
    }

    async fn changed_in(
        &self,
        guild: Option<&GuildId>,
        asked: &Asked<'_>,
        what: &'static str,
        change: &str,
    ) -> Result<(), StoreError> {
        let by = asked.by();
        tracing::info!(by, what, "an admin has changed something");
        self.store.note_change_in(guild, &by, change, asked.now).await
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
    pub async fn set_queue(&self, wish: &QueueWish, lanes: &[Lane], asked: &Asked<'_>) -> Result<String, StoreError> {
        let chosen = |name: &Option<String>| -> Vec<Lane> {
            lanes
                .iter()
                .filter(|lane| name.as_ref().is_none_or(|name| lane.name().eq_ignore_ascii_case(name)))
                .cloned()
                .collect()
        };
        let names = |lanes: &[Lane]| lanes.iter().map(|lane| lane.name().to_owned()).collect::<Vec<_>>();
        let (chosen, paused) = match wish {
            QueueWish::Pause(name) => (chosen(name), true),
            QueueWish::Resume(name) => (chosen(name), false),
            QueueWish::Drain => {
                self.store.drain_line(true).await?;
                self.changed(asked, "queue", "the line runs empty").await?;
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
        self.changed(asked, "queue", &format!("lanes {done}: {}", names.join(", "))).await?;
        Ok(wording::lanes_set(&names, paused, opened))
    }
}

/// Midnight (UTC) at the beginning of a day.
fn midnight(day: NaiveDate) -> Timestamp {
    Timestamp(day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_millis())
}
