//! The capacity planner: what a number of people will make of the bot, its upstreams and its bill, by simulation of single
//! events over the product's own rules. Pure and the same for the same seed; reads no database, no clock, no file.
//!
//! [`simulate`] plays a [`Plan`]; [`report`] adds what it costs, how loaded each part is, and the cheapest change that
//! removes the bottleneck. A plan is made from the [`scenarios`], from what was measured ([`from_past`]), or by hand.

pub mod chance;
pub mod line;
pub mod tiers;
mod demand;
mod servers;
mod quota;
mod run;
mod change;
mod bill;
mod advice;
pub mod scenarios;
mod past;

#[cfg(test)]
mod queueing_tests;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::store::lanes::Lane;
use crate::store::reels::QueueLimits;
use crate::upstream::Usage;

use chance::{Dice, Spread, Times};
use tiers::Tier;

pub use self::advice::report;
pub use self::bill::{Cost, Load, Part, Report, Status, Tried, WATCH};
pub use self::change::Change;
pub use self::past::{from_past, too_little};
pub use self::run::simulate;

/// Everything that a simulation needs. [`Plan::default`] documents what is taken where nothing is known.
#[derive(Clone, Debug)]
pub struct Plan {
    pub name: String,
    pub seed: u64,
    /// How long is measured. Figures of a month are 30 days' worth of it.
    pub span: Duration,
    /// Reels are asked for this long before that, so that the cache is as full as it will be.
    pub warm_up: Duration,
    pub demand: Demand,
    pub popularity: Popularity,
    /// 30 s, 5 waiting for one person, 500 in all.
    pub limits: QueueLimits,
    /// How long a result is used again.
    pub cache: Duration,
    /// The wait for further messages before a link is submitted.
    pub merge: Duration,
    pub reels: ReelWork,
    pub answers: Answers,
    pub tier: Tier,
    pub bot: Bot,
    pub money: Money,
}

/// Who asks for what, and when.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one in a plan")]
pub enum Demand {
    Daily(Daily),
    /// Exactly these, in order of time; the span is the plan's.
    Listed(Vec<Ask>),
}

/// A day like all others.
#[derive(Clone, Debug)]
pub struct Daily {
    pub people: u32,
    pub messages_per_person: f64,
    pub reels_per_person: f64,
    /// The weight of each hour of the day (UTC).
    pub curve: [f64; 24],
    /// So many talk at the same time in the busiest hour, each of them every [`Daily::pace`]: its messages come at that
    /// pace as long as they last ([`Daily::busiest`]). `None`: evenly over the hour.
    pub at_once: Option<u32>,
    pub pace: Duration,
}

/// The busiest time of a day: its busiest hour's demand, in the part of that hour in which it comes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Burst {
    /// The hour of the day (UTC) with whose beginning it begins.
    pub hour: usize,
    /// The whole hour if nobody is said to talk at once.
    pub lasts: Duration,
    /// On average over the days; both come at random moments of it.
    pub messages: f64,
    pub reels: f64,
}

impl Daily {
    pub fn messages_a_day(&self) -> f64 {
        f64::from(self.people) * self.messages_per_person
    }

    pub fn reels_a_day(&self) -> f64 {
        f64::from(self.people) * self.reels_per_person
    }

    /// When most is asked. At the pace of those who talk at once the messages of the busiest hour are through in a part of
    /// it; reels keep to the same time.
    pub fn busiest(&self) -> Burst {
        let most = self.curve.iter().copied().fold(0.0, f64::max);
        let hour = self.curve.iter().position(|weight| *weight == most).unwrap_or_default();
        let part = most / self.curve.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        let messages = self.messages_a_day() * part;
        let lasts = self.at_once.filter(|_| messages > 0.0).map_or(1.0, |at_once| {
            let an_hour = f64::from(at_once) * HOUR.as_secs_f64() / self.pace.as_secs_f64().max(1e-3);
            (messages / an_hour.max(1e-9)).clamp(1e-3, 1.0)
        });
        Burst { hour, lasts: HOUR.mul_f64(lasts), messages, reels: self.reels_a_day() * part }
    }
}

/// One thing that somebody sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// From the start.
    pub at: Duration,
    pub person: u32,
    pub what: Asked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Message,
    /// A link to this reel.
    Reel(u32),
}

/// Which links people send.
#[derive(Clone, Debug)]
pub struct Popularity {
    /// Distinct reels that circulate at one time.
    pub catalogue: u32,
    /// Rank r is asked for in proportion to 1/r^exponent.
    pub exponent: f64,
    /// Days until a place in the catalogue is taken by a new reel, on average; `None`: never.
    pub circulates: Option<f64>,
    /// The part of the links that turn out to be deleted, private or no video.
    pub unreadable: f64,
    /// How long that is remembered.
    pub unreadable_for: Duration,
}

/// What reads reels.
#[derive(Clone, Debug)]
pub struct ReelWork {
    pub direct_lanes: u32,
    pub n8n_lanes: u32,
    pub scrape: Times,
    pub analysis: Times,
    /// One run of a webhook.
    pub n8n: Times,
    /// Of reels of which it is known how long they take among others (0: the least, 1: the most); of all others it is drawn.
    pub known: BTreeMap<u32, f64>,
}

/// What answering takes.
#[derive(Clone, Debug)]
pub struct Answers {
    pub model: String,
    /// The model that is tried as the cheaper one.
    pub cheaper_model: String,
    /// From the call to the first text.
    pub first_text: Times,
    /// From the first text to the end.
    pub writing: Times,
    /// Calls of the model for one answer, tools among them.
    pub calls: f64,
    /// Tokens of all calls for one answer to a message.
    pub message: Usage,
    /// The same for the coaching on a reel, whose transcript is in it.
    pub reel: Usage,
    /// Output tokens that a call asks for at most (COACH_MAX_OUTPUT_TOKENS).
    pub max_output: u64,
    /// Longest wait for the model's quota (OPENAI_WAIT_SECONDS): an answer that would have to wait for more than four
    /// fifths of it is given up at once.
    pub longest_wait: Duration,
}

impl Answers {
    /// What the calls for one answer of this usage are charged against the tokens a minute: each the larger one of what it
    /// sends and what it may bring back (OpenAI, guide "Rate limits"), as the bot and OpenAI do.
    pub fn charged_tokens(&self, usage: &Usage) -> f64 {
        (usage.input_tokens as f64).max(self.calls * self.max_output as f64)
    }
}

/// The bot's own processes and its database.
#[derive(Clone, Debug)]
pub struct Bot {
    pub instances: u32,
    /// Processors of one instance.
    pub cores: u32,
    /// Processor time of one turn.
    pub cpu: Duration,
    /// Answers in the making at a time, of one instance.
    pub turns_at_once: u32,
    pub database: Database,
    /// Time in the database of one turn.
    pub database_time: Duration,
    /// Time that a reel holds its lane beside the upstreams' own: requests to them, the download, rows.
    pub lane_time: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    /// One writer; one instance.
    Sqlite,
    /// [`PG_WRITERS`] transactions at a time.
    Postgres,
}

/// Transactions at a time that the smallest PostgreSQL on two processors carries out without waiting.
pub const PG_WRITERS: u32 = 2;

const HOUR: Duration = Duration::from_secs(3_600);

/// Its stream of chance, apart from those of the simulation.
const UNREADABLE: u64 = 1 << 32;

/// Prices that are not in the table of models, in micro-USD.
#[derive(Clone, Debug)]
pub struct Money {
    /// The day whose prices hold.
    pub at: Timestamp,
    /// What OpenAI is paid for beside an answer's own calls, for each answer: summaries of long conversations.
    pub beside_answer: i64,
    pub apify_run: i64,
    pub n8n_run: i64,
    /// n8n's own plan, a month, if there are webhooks.
    pub n8n_month: i64,
    pub gemini_model: String,
    /// Tokens of one analysis.
    pub gemini: Usage,
    /// One instance or database server, a month.
    pub hosting_month: i64,
    /// What one person pays a month.
    pub subscription: i64,
}

/// What came of a plan.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub span: Duration,
    pub counts: Counts,
    /// From asking for a reel that was not known yet to its result, whoever asked first.
    pub reel_wait: Spread,
    /// From asking for a reel, known or not, to the end of what is said about it: the answer, or why there is none. Of all
    /// who were not refused.
    pub reel_answer: Spread,
    /// From asking for it to the start of the work on it, of those who asked first.
    pub line_wait: Spread,
    /// From a message to the first text of its answer.
    pub first_text: Spread,
    /// From a message to the end of its answer.
    pub whole_answer: Spread,
    /// By how many thousandths the time told on asking was wrong, of those who asked first.
    pub told_wrong: Spread,
    pub busiest: Busiest,
    /// Reels waiting, on average over time.
    pub mean_waiting: f64,
    /// Each run of a lane in the measured time, in the order of their starts.
    pub runs: Vec<Run>,
}

/// How often what happened. `asked = cached + remembered + joined + queued + refused()`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub messages: u64,
    /// Reels asked for.
    pub asked: u64,
    pub cached: u64,
    /// Known to be unreadable.
    pub remembered: u64,
    pub joined: u64,
    /// New: each is run once.
    pub queued: u64,
    pub refused_for_person: u64,
    pub refused_for_line: u64,
    pub direct_runs: u64,
    pub n8n_runs: u64,
    /// Of the direct ones: with nothing to analyse.
    pub unreadable_runs: u64,
    /// Answers written, to messages and on reels.
    pub message_answers: u64,
    pub reel_answers: u64,
    /// Of those who waited for a reel: told that it cannot be read, which takes no model.
    pub told_unreadable: u64,
    /// Answers that the model's quota would have kept waiting for too long.
    pub given_up: u64,
}

impl Counts {
    pub fn refused(&self) -> u64 {
        self.refused_for_person + self.refused_for_line
    }

    /// Everything that was to be answered by the model.
    pub fn answers(&self) -> u64 {
        self.message_answers + self.reel_answers + self.given_up
    }

    /// The part of [`Counts::answers`] that the model's quota would have kept waiting for too long.
    pub fn given_up_part(&self) -> f64 {
        self.given_up as f64 / self.answers().max(1) as f64
    }

    /// The part of the reels that cost nothing.
    pub fn free(&self) -> f64 {
        (self.cached + self.remembered + self.joined) as f64 / self.asked.max(1) as f64
    }
}

/// What was asked of each part when most was.
#[derive(Clone, Copy, Debug, Default)]
pub struct Busiest {
    /// Lane time that new reels asked for in the busiest five minutes, of the lane time that there is; 1 is all of it.
    pub lanes: f64,
    /// Processor and database time that turns asked for in the busiest minute, of what there is.
    pub cpu: f64,
    pub database: f64,
    /// Answers that were owed at one time, of those that may be in the making.
    pub turns: f64,
    /// Of the model in the busiest minute: calls, and the tokens that they are charged.
    pub requests: f64,
    pub tokens: f64,
    /// On one day.
    pub tokens_a_day: f64,
    /// Reels waiting at one time, answers in the making, and these with those that wait to be.
    pub waiting: usize,
    pub turns_at_once: usize,
    pub owed_at_once: usize,
}

/// One job on a lane. Times are from the start of what is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub lane: usize,
    pub person: u32,
    pub asked: Duration,
    pub ready: Duration,
    pub started: Duration,
    pub ended: Duration,
}

impl Plan {
    /// The lanes in the order of preference.
    pub fn lanes(&self) -> Vec<Lane> {
        (0..self.reels.direct_lanes).map(Lane::direct).chain((0..self.reels.n8n_lanes).map(Lane::n8n)).collect()
    }

    /// Whether a reel turns out to be deleted, private or no video: a property of the reel, drawn by the plan's seed.
    pub fn is_unreadable(&self, reel: u32) -> bool {
        Dice::new(self.seed ^ u64::from(reel), UNREADABLE).part() < self.popularity.unreadable
    }

    /// Its money with the prices of a day.
    pub fn money_at(&self, at: Timestamp) -> Money {
        Money { at, ..self.money.clone() }
    }

    /// The same in `factor` times less time, as a stress run against stand-ins plays it: demand, upstreams and limits are
    /// quicker; what the bot and its database need for a turn is not.
    pub fn compressed(&self, factor: f64) -> Plan {
        let quick = |span: Duration| span.div_f64(factor);
        let mut plan = self.clone();
        plan.span = quick(self.span);
        plan.warm_up = quick(self.warm_up);
        plan.cache = quick(self.cache);
        plan.merge = quick(self.merge);
        plan.limits.interval = quick(self.limits.interval);
        plan.popularity.unreadable_for = quick(self.popularity.unreadable_for);
        plan.popularity.circulates = self.popularity.circulates.map(|days| days / factor);
        plan.reels.scrape = self.reels.scrape.compressed(factor);
        plan.reels.analysis = self.reels.analysis.compressed(factor);
        plan.reels.n8n = self.reels.n8n.compressed(factor);
        plan.answers.first_text = self.answers.first_text.compressed(factor);
        plan.answers.writing = self.answers.writing.compressed(factor);
        plan.answers.longest_wait = quick(self.answers.longest_wait);
        plan.tier = self.tier.compressed(factor);
        if let Demand::Listed(asks) = &mut plan.demand {
            asks.iter_mut().for_each(|ask| ask.at = quick(ask.at));
        } else {
            // A day has 24 hours: it is played as the list that it makes, from an empty cache on.
            plan.warm_up = Duration::ZERO;
            let asks = demand::asks(self).into_iter().map(|ask| Ask { at: quick(ask.at), ..ask });
            plan.demand = Demand::Listed(asks.collect());
        }
        plan
    }
}
