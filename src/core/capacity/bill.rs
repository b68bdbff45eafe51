//! What an outcome means: how loaded each part is, what a month costs, how many paying people carry it. Owns when a part
//! is worth watching; prices are [`crate::core::money`]'s.

use std::time::Duration;

use super::change::Change;
use super::run::simulate;
use super::{Demand, Outcome, Plan};
use crate::core::money::{Prices, UnknownPrice};

/// From this load on a part is worth watching: beyond it waits grow quickly.
pub const WATCH: f64 = 0.7;
/// Beyond this a part is named beside the bottleneck: a change that helps the one may run into the other.
const NAMED: f64 = 0.8;
const MONTH: Duration = Duration::from_secs(30 * 86_400);

/// What can run short. Each is looked at in its busiest minute ([`super::Busiest`]), the lanes in their busiest five.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    Lanes,
    /// Calls a minute of the tier.
    Requests,
    Tokens,
    TokensADay,
    /// The tier's limit of a month's spending.
    Spending,
    /// The bot's processors.
    Processor,
    /// Answers that are owed at one time.
    Turns,
    Database,
}

impl Part {
    pub const ALL: [Part; 8] = [
        Part::Lanes,
        Part::Requests,
        Part::Tokens,
        Part::TokensADay,
        Part::Spending,
        Part::Processor,
        Part::Turns,
        Part::Database,
    ];

    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Part::Lanes => "transcriber_lanes",
            Part::Requests => "openai_requests_a_minute",
            Part::Tokens => "openai_tokens_a_minute",
            Part::TokensADay => "openai_tokens_a_day",
            Part::Spending => "openai_spending_a_month",
            Part::Processor => "bot_processor",
            Part::Turns => "bot_answers_at_once",
            Part::Database => "database",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    Fine,
    /// More than 70 %.
    Watch,
    /// More than 100 %.
    Over,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Status::Fine => "fine",
            Status::Watch => "watch",
            Status::Over => "over",
        }
    }
}

/// How loaded a part is when it is loaded most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    pub part: Part,
    /// 1 is all that it can do; `None` if nothing limits it.
    pub load: Option<f64>,
}

impl Load {
    pub fn status(&self) -> Status {
        match self.load {
            Some(load) if load > 1.0 => Status::Over,
            Some(load) if load > WATCH => Status::Watch,
            _ => Status::Fine,
        }
    }
}

/// A month, in micro-USD.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    pub openai: i64,
    pub apify: i64,
    pub gemini: i64,
    pub n8n: i64,
    pub hosting: i64,
}

impl Cost {
    pub fn total(&self) -> i64 {
        self.openai + self.apify + self.gemini + self.n8n + self.hosting
    }

    /// What a plan's outcome costs in 30 days.
    pub fn of(plan: &Plan, outcome: &Outcome, prices: &Prices) -> Result<Cost, UnknownPrice> {
        let (counts, money) = (&outcome.counts, &plan.money);
        let months = MONTH.as_secs_f64() / outcome.span.as_secs_f64().max(1e-3);
        let month = |count: u64, each: i64| (count as f64 * months * each as f64).round() as i64;
        let coach = |usage| Ok(prices.cost(&plan.answers.model, usage, money.at)? + money.beside_answer);
        let analysis = prices.cost(&money.gemini_model, &money.gemini, money.at)?;
        let servers = plan.bot.instances + u32::from(plan.bot.database == super::Database::Postgres);
        Ok(Cost {
            openai: month(counts.message_answers, coach(&plan.answers.message)?)
                + month(counts.reel_answers, coach(&plan.answers.reel)?),
            apify: month(counts.direct_runs, money.apify_run),
            gemini: month(counts.direct_runs - counts.unreadable_runs, analysis),
            n8n: month(counts.n8n_runs, money.n8n_run) + if plan.reels.n8n_lanes > 0 { money.n8n_month } else { 0 },
            hosting: i64::from(servers) * money.hosting_month,
        })
    }
}

/// A change and what came of it.
#[derive(Clone, Debug)]
pub struct Tried {
    pub change: Change,
    /// What a month costs more, in micro-USD; negative if it saves.
    pub extra: i64,
    /// The bottleneck's load with the change; `None` if nothing limits it any more.
    pub load: Option<f64>,
    /// The bottleneck is not worth watching any more.
    pub removes: bool,
    /// What runs short next.
    pub next: Option<Load>,
    /// With the change; without any advice of its own.
    pub report: Box<Report>,
}

/// A plan, what came of it, and what to do about it.
#[derive(Clone, Debug)]
pub struct Report {
    pub plan: Plan,
    pub outcome: Outcome,
    pub cost: Cost,
    pub loads: Vec<Load>,
    /// Changes that were tried against the bottleneck, the best first; empty if nothing is worth watching.
    pub tried: Vec<Tried>,
}

impl Report {
    /// The part that is loaded most, if it is worth watching.
    pub fn bottleneck(&self) -> Option<Load> {
        bottleneck(&self.loads)
    }

    /// The other parts that a little more would stop, the most loaded first.
    pub fn also_loaded(&self) -> Vec<Load> {
        let worst = self.bottleneck().map(|load| load.part);
        let is_loaded = |load: &&Load| Some(load.part) != worst && load.load.is_some_and(|load| load > NAMED);
        let mut loaded: Vec<Load> = self.loads.iter().filter(is_loaded).copied().collect();
        loaded.sort_by(|one, other| other.load.unwrap_or_default().total_cmp(&one.load.unwrap_or_default()));
        loaded
    }

    /// The cheapest of the changes that remove the bottleneck.
    pub fn advice(&self) -> Option<&Tried> {
        self.tried.first().filter(|tried| tried.removes)
    }

    /// Paying people whose subscriptions carry the month; `None` if nobody pays anything.
    pub fn break_even(&self) -> Option<i64> {
        let each = self.plan.money.subscription;
        (each > 0).then(|| (self.cost.total() + each - 1) / each)
    }

    /// A month of one of the people who are there daily, in micro-USD; `None` for a list of single requests.
    pub fn cost_per_person(&self) -> Option<i64> {
        match &self.plan.demand {
            Demand::Daily(daily) => Some(self.cost.total() / i64::from(daily.people.max(1))),
            Demand::Listed(_) => None,
        }
    }
}

/// Plays a plan; what to do about it is `advice`'s.
///
/// # Errors
/// A model whose price is not known.
pub(super) fn played(plan: &Plan, prices: &Prices) -> Result<Report, UnknownPrice> {
    let outcome = simulate(plan);
    let cost = Cost::of(plan, &outcome, prices)?;
    let (busiest, tier) = (&outcome.busiest, &plan.tier);
    let of = |amount: f64, limit: Option<f64>| limit.map(|limit| amount / limit.max(1e-9));
    let loads = Part::ALL.map(|part| {
        let load = match part {
            Part::Lanes => Some(busiest.lanes),
            Part::Requests => of(busiest.requests, tier.requests_a_minute),
            Part::Tokens => of(busiest.tokens, tier.tokens_a_minute),
            Part::TokensADay => of(busiest.tokens_a_day, tier.tokens_a_day),
            Part::Spending => of(cost.openai as f64, tier.spending_a_month.map(|limit| limit as f64)),
            Part::Processor => Some(busiest.cpu),
            Part::Turns => Some(busiest.turns),
            Part::Database => Some(busiest.database),
        };
        Load { part, load }
    });
    Ok(Report { plan: plan.clone(), outcome, cost, loads: loads.to_vec(), tried: Vec::new() })
}

/// The part that is loaded most, if it is worth watching.
pub(super) fn bottleneck(loads: &[Load]) -> Option<Load> {
    let most = loads.iter().filter(|load| load.status() > Status::Fine);
    most.max_by(|one, other| one.load.unwrap_or_default().total_cmp(&other.load.unwrap_or_default())).copied()
}
