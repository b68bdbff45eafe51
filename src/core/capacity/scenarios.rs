//! Three example communities, and what is assumed where nothing was measured. Owns those assumptions: each stands here with
//! its source.

use std::collections::BTreeMap;
use std::time::Duration;

use super::chance::Times;
use super::tiers::Tier;
use super::{Answers, Bot, Daily, Database, Demand, Money, Plan, Popularity, ReelWork};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::core::money::Prices;
use crate::core::reels::pipeline::{PIPELINE_VERSION, ReelFailure};
use crate::store::reels::QueueLimits;
use crate::upstream::Usage;

/// An evening peak: the weight of each hour of the day. A fifth of the day's messages come from 19 to 21 h.
pub const EVENING: [f64; 24] = [
    2.0, 1.2, 0.8, 0.5, 0.5, 0.8, 1.5, 2.5, 3.5, 4.0, 4.2, 4.5, 5.0, 4.8, 4.5, 4.5, 5.0, 6.0, 7.5, 9.5, 10.0, 8.0, 5.5,
    3.7,
];

/// The same weight for every hour.
pub const FLAT: [f64; 24] = [1.0; 24];

/// Processor time of one turn: `cargo bench --bench load -- --only sustained` measures 6.8 to 7.9 ms for a message whose
/// answer of 150 words is streamed.
pub const TURN_CPU: Duration = Duration::from_millis(7);

const DAY: Duration = Duration::from_secs(86_400);
/// Messages that a scenario is played for: enough for steady percentiles.
const ENOUGH: f64 = 300_000.0;
/// Messages and reels that one simulation is good for: each takes some 20 bytes, and all of them a few seconds.
pub const MOST_ASKS: f64 = 20e6;

/// One of the example communities. This is the one place of their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// Up to 100 people a day, 1,000 messages, 10 reels, 20 people at a time.
    Small,
    /// Up to 1,000 people a day, 10,000 messages, 100 reels, 100 people at a time.
    Growing,
    /// Up to 10,000 people a day, 100,000 messages, 1,000 reels, 500 people at a time.
    Viral,
}

impl Scenario {
    pub const ALL: [Scenario; 3] = [Scenario::Small, Scenario::Growing, Scenario::Viral];

    pub fn name(self) -> &'static str {
        match self {
            Scenario::Small => "small",
            Scenario::Growing => "growing",
            Scenario::Viral => "viral",
        }
    }

    /// Who asks for how much on one of its days: people, [`Daily::messages_a_day`], [`Daily::reels_a_day`], people at once,
    /// and [`Daily::busiest`], their burst.
    pub fn demand(self) -> Daily {
        let (people, at_once) = match self {
            Scenario::Small => (100, 20),
            Scenario::Growing => (1_000, 100),
            Scenario::Viral => (10_000, 500),
        };
        Daily { people, at_once: Some(at_once), ..daily() }
    }

    /// Distinct reels that circulate at one time. An assumption.
    pub fn catalogue(self) -> u32 {
        match self {
            Scenario::Small | Scenario::Growing => 1_000,
            Scenario::Viral => 5_000,
        }
    }

    /// `base` with this scenario's demand.
    pub fn plan(self, base: &Plan) -> Plan {
        let mut plan = base.clone();
        plan.name = self.name().to_owned();
        plan.demand = Demand::Daily(self.demand());
        plan.popularity.catalogue = self.catalogue();
        if self == Scenario::Small {
            // A small machine's price.
            plan.money.hosting_month = 5_000_000;
        }
        plan.span = enough(&plan);
        plan
    }
}

/// As many days as it takes for steady figures, from 3 to 30; fewer if so many people ask for more than [`MOST_ASKS`] in
/// them, but one at least.
pub fn enough(plan: &Plan) -> Duration {
    let span = days(&plan.demand, ENOUGH).max(DAY * 3);
    match &plan.demand {
        Demand::Daily(daily) => {
            let before = asks(&Plan { span: Duration::ZERO, ..plan.clone() });
            let a_day = daily.messages_a_day() + daily.reels_a_day();
            let most = ((MOST_ASKS - before) / a_day.max(1e-9)).floor().clamp(1.0, 366.0);
            span.min(DAY * most as u32)
        }
        Demand::Listed(_) => days(&plan.demand, ENOUGH),
    }
}

/// Messages and reels that a plan asks for on average, those of its warm-up among them.
pub fn asks(plan: &Plan) -> f64 {
    let days = |span: Duration| span.as_secs_f64() / DAY.as_secs_f64();
    match &plan.demand {
        Demand::Daily(daily) => {
            daily.messages_a_day() * days(plan.span) + daily.reels_a_day() * days(plan.warm_up + plan.span)
        }
        Demand::Listed(asks) => asks.len() as f64,
    }
}

/// The same in less time, for somebody who waits for it in a chat: figures are a little less steady.
pub fn quick(plan: &Plan) -> Plan {
    Plan { span: days(&plan.demand, ENOUGH / 6.0), ..plan.clone() }
}

fn days(demand: &Demand, messages: f64) -> Duration {
    match demand {
        Demand::Daily(daily) => DAY * ((messages / daily.messages_a_day().max(1.0)).ceil().clamp(1.0, 30.0) as u32),
        Demand::Listed(asks) => asks.last().map_or(Duration::ZERO, |ask| ask.at + Duration::from_millis(1)),
    }
}

/// A day of 100 people in the scenarios' proportions: 10 messages of each, one reel of each tenth.
pub fn daily() -> Daily {
    Daily {
        people: 100,
        messages_per_person: 10.0,
        reels_per_person: 0.1,
        curve: EVENING,
        at_once: None,
        pace: Duration::from_secs(60),
    }
}

impl Default for Plan {
    /// The small scenario without a burst, on the product's defaults and the prices of 24 November 2026.
    fn default() -> Plan {
        let (s, ms) = (Duration::from_secs, Duration::from_millis);
        let model = "gpt-6.1-sol";
        let usage = |input_tokens, cached_tokens, cache_write_tokens, output_tokens| Usage {
            input_tokens,
            cached_tokens,
            cache_write_tokens,
            output_tokens,
            ..Usage::default()
        };
        Plan {
            name: "plan".to_owned(),
            seed: 1,
            // What `enough` gives for it.
            span: DAY * 30,
            warm_up: DAY * 30,
            demand: Demand::Daily(daily()),
            // As in benches/queue/hits.rs: there is no published figure for any of it.
            popularity: Popularity {
                catalogue: 1_000,
                exponent: 1.1,
                circulates: None,
                unreadable: 0.06,
                unreadable_for: ReelFailure::Unavailable.lifetime(),
            },
            // The defaults of REEL_INTERVAL_SECONDS and those beside it.
            limits: QueueLimits { interval: s(30), waiting_per_person: 5, waiting: 500, pipeline: PIPELINE_VERSION },
            cache: DAY * 30,
            merge: ms(800),
            // Assumed: scraping 5-10 s, analysis 15-20 s; a workflow does the same.
            reels: ReelWork {
                direct_lanes: 2,
                n8n_lanes: 0,
                scrape: Times::Between(s(5), s(10)),
                analysis: Times::Between(s(15), s(20)),
                n8n: Times::Between(s(20), s(30)),
                known: BTreeMap::new(),
            },
            answers: Answers {
                model: model.to_owned(),
                cheaper_model: "gpt-6-luna".to_owned(),
                first_text: Times::Between(ms(1_000), ms(3_000)),
                writing: Times::Between(ms(2_000), ms(6_000)),
                calls: 1.2,
                // Prompt and tools of about 2,000 tokens and half a memory of 24,000 characters. That four fifths of it are
                // cached is an assumption; `cargo bench --bench openai -- --only cache` measures the share over
                // conversations of 20 turns by OpenAI's documented rule.
                message: usage(4_000, 3_200, 600, 350),
                // A transcript more.
                reel: usage(6_000, 3_200, 2_000, 600),
                max_output: 4_000,
                // The default of OPENAI_WAIT_SECONDS.
                longest_wait: s(120),
            },
            tier: Tier::of(2, model),
            // Time in the database by `cargo bench --bench turns`: 339 turns a second on one SQLite.
            bot: Bot {
                instances: 1,
                cores: 2,
                cpu: TURN_CPU,
                turns_at_once: 2_000,
                database: Database::Sqlite,
                database_time: ms(3),
                // `cargo bench --bench queue -- --only lanes`: 98.7 % of what upstreams of 2.667 s allow.
                lane_time: ms(35),
            },
            money: Money {
                at: Timestamp(1_795_478_400_000),
                // Six summaries in 480 turns, of the economy model: `cargo bench --bench openai -- --only cache`.
                beside_answer: 0,
                apify_run: 3_600,
                n8n_run: 10_000,
                n8n_month: 20_000_000,
                gemini_model: "gemini-3.8-flash".to_owned(),
                // Google, "Video understanding": a reel of 60 s is about 6,000 tokens, the prompt some hundred.
                gemini: usage(6_500, 0, 0, 1_500),
                hosting_month: 20_000_000,
                subscription: 20_000_000,
            },
        }
    }
}

impl Plan {
    /// The default plan with what this bot is configured to: lanes, models, limits, the quota that it assumes, prices of
    /// the table's day.
    pub fn of(config: &Config, prices: &Prices) -> Plan {
        let mut plan = Plan::default();
        let (reels, coach, openai) = (&config.reels, &config.coach, &config.openai);
        plan.limits.interval = reels.interval;
        plan.limits.waiting_per_person = i64::from(reels.waiting_per_person);
        plan.limits.waiting = i64::from(reels.waiting);
        plan.cache = reels.cache;
        plan.warm_up = reels.cache.min(DAY * 30);
        plan.merge = coach.merge_window;
        plan.reels.direct_lanes = reels.lanes;
        plan.reels.n8n_lanes = u32::try_from(config.n8n.webhooks.len()).unwrap_or(u32::MAX);
        plan.answers.model.clone_from(&coach.model);
        plan.answers.cheaper_model.clone_from(&coach.economy_model);
        plan.answers.max_output = u64::from(coach.max_output_tokens);
        plan.answers.longest_wait = openai.longest_wait;
        plan.tier = Tier::allowing(openai.requests_per_minute, openai.tokens_per_minute, &coach.model);
        plan.bot.turns_at_once = coach.max_turns;
        if config.database_url.starts_with("postgres") {
            plan.bot.database = Database::Postgres;
        }
        plan.money.apify_run = config.apify.estimate_micro_usd;
        plan.money.n8n_run = config.n8n.estimate_micro_usd;
        plan.money.gemini_model.clone_from(&config.gemini.model);
        // The day in front of the table's version: the prices of a plan do not change overnight.
        let day = prices.version.get(..10).and_then(|day| day.parse::<chrono::NaiveDate>().ok());
        if let Some(day) = day {
            plan.money.at = Timestamp(day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_millis());
        }
        plan
    }
}
