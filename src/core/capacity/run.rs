//! The simulation: draws who asks for what, and plays it through the line, the bot, its database and the model's limits.
//! Owns the order of events; the rules of the line are [`super::line`]'s.
//!
//! A turn passes its parts one after another, first come first served, so that each part needs to know only when its
//! servers are free again: an event costs the same however many went before.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use super::chance::{Dice, Times};
use super::demand::Stream;
use super::line::{JobNumber, Line};
use super::quota::Quota;
use super::servers::{Largest, Servers, micros, ms, span};
use super::{Ask, Asked, Busiest, Database, Demand, Outcome, PG_WRITERS, Plan, Run};
use crate::clock::Timestamp;
use crate::store::lanes::LaneKind;
use crate::store::reels::{Denied, Submitted};

const DAY: i64 = 86_400_000;

/// Over so many minutes it is counted what the lanes are asked for: a line takes in what comes in a single one, and a burst
/// lasts as long at least.
const LANE_MINUTES: i64 = 5;

/// Plays a plan. Takes time in proportion to what is asked in it.
pub fn simulate(plan: &Plan) -> Outcome {
    let mut world = World::new(plan);
    let (mut messages, mut reels) = (Stream::messages(plan), Stream::reels(plan));
    let (mut next_message, mut next_reel) = (messages.next(), reels.next());
    loop {
        let of = |ask: &Option<Ask>, later: i64| ask.map_or(i64::MAX, |ask| ms(ask.at) + later);
        let asked = of(&next_message, 0);
        let submitted = of(&next_reel, world.merge);
        let ended = world.ends.peek().map_or(i64::MAX, |Reverse((at, _))| *at);
        // What became ready while all lanes were busy starts when one ends.
        let started = world.line.next_start().map_or(i64::MAX, |at| at.0.max(world.now));
        let now = asked.min(submitted).min(ended).min(started);
        if now == i64::MAX {
            break;
        }
        world.pass(now);
        if ended == now {
            world.end_run();
        } else if started == now {
            world.start_run();
        } else if submitted == now {
            if let Some(ask) = next_reel {
                world.submit(ask);
            }
            next_reel = reels.next();
        } else {
            world.message();
            next_message = messages.next();
        }
    }
    world.close()
}

/// A job's asker and all who joined: when they asked.
struct Waiting {
    /// 0 to 1: how long it takes among others; the same on whatever lane.
    part: f64,
    unreadable: bool,
    asked: Vec<(i64, bool)>,
    /// Whose slot it has.
    person: u32,
    told: Option<Timestamp>,
}

struct World<'a> {
    plan: &'a Plan,
    now: i64,
    /// When what is measured begins.
    begin: i64,
    end: i64,
    merge: i64,
    line: Line,
    waiting: HashMap<JobNumber, Waiting>,
    /// Running jobs: when each ends, on which lane.
    ends: BinaryHeap<Reverse<(i64, usize)>>,
    running: HashMap<usize, (JobNumber, Timestamp, i64)>,
    work: Dice,
    talk: Dice,
    turns: Servers,
    cpu: Servers,
    database: Servers,
    quota: Quota,
    /// New reels in some minutes, and turns in one.
    new_reels: Largest,
    worked: Largest,
    /// When each answer ends that is in the making or waits for its turn.
    owed: BinaryHeap<Reverse<i64>>,
    requests: Largest,
    tokens: Largest,
    tokens_a_day: Largest,
    /// Reels waiting, times milliseconds.
    waited: f64,
    outcome: Outcome,
}

impl<'a> World<'a> {
    fn new(plan: &'a Plan) -> World<'a> {
        let bot = &plan.bot;
        let writers = match bot.database {
            Database::Sqlite => 1,
            Database::Postgres => PG_WRITERS,
        };
        let begin = ms(plan.warm_up);
        World {
            plan,
            now: 0,
            begin,
            end: begin + ms(plan.span),
            merge: ms(plan.merge),
            line: Line::new(plan.limits, &plan.lanes()),
            waiting: HashMap::new(),
            ends: BinaryHeap::new(),
            running: HashMap::new(),
            work: Dice::new(plan.seed, 4),
            talk: Dice::new(plan.seed, 5),
            turns: Servers::new(bot.turns_at_once.saturating_mul(bot.instances)),
            cpu: Servers::new(bot.cores.saturating_mul(bot.instances)),
            database: Servers::new(writers),
            quota: Quota::of(plan),
            new_reels: Largest::new(LANE_MINUTES * plan.tier.minute_ms),
            worked: Largest::new(plan.tier.minute_ms),
            owed: BinaryHeap::new(),
            requests: Largest::new(plan.tier.minute_ms),
            tokens: Largest::new(plan.tier.minute_ms),
            tokens_a_day: Largest::new(DAY),
            waited: 0.0,
            outcome: Outcome { span: plan.span, ..Outcome::default() },
        }
    }

    fn is_measured(&self) -> bool {
        // All of a list counts.
        let is_before_end = self.now < self.end + self.merge || matches!(self.plan.demand, Demand::Listed(_));
        self.begin <= self.now && is_before_end
    }

    /// Time goes on.
    fn pass(&mut self, now: i64) {
        let from = self.now.max(self.begin);
        self.waited += self.line.waiting() as f64 * (now - from).max(0) as f64;
        self.now = now;
    }

    fn message(&mut self) {
        self.outcome.counts.messages += 1;
        self.turn(None);
    }

    /// A turn that needs the model, from now on; `reel`: about one that was asked for then.
    fn turn(&mut self, reel: Option<i64>) {
        let (plan, asked) = (self.plan, self.now * 1000);
        let answers = &plan.answers;
        let (cpu, database) = (micros(plan.bot.cpu), micros(plan.bot.database_time));
        let free = self.turns.take(asked);
        let worked = self.cpu.serve(free, cpu);
        let stored = self.database.serve(worked, database);
        self.worked.add(self.now, 1.0);
        let usage = if reel.is_some() { &answers.reel } else { &answers.message };
        let charged = answers.charged_tokens(usage);
        self.requests.add(self.now, answers.calls);
        self.tokens.add(self.now, charged);
        self.tokens_a_day.add(self.now - self.begin, (usage.input_tokens + usage.output_tokens) as f64);
        let first = micros(answers.first_text.at(self.talk.part()));
        let writing = micros(answers.writing.at(self.talk.part()));
        // Calls of one answer count together.
        let Some(called) = self.quota.admit(stored, answers.calls, charged) else {
            self.outcome.counts.given_up += 1;
            self.end_turn(asked, stored);
            return;
        };
        let end = called + first + writing;
        self.end_turn(asked, end);
        let outcome = &mut self.outcome;
        if let Some(since) = reel {
            outcome.counts.reel_answers += 1;
            outcome.reel_answer.add((end - since * 1000) / 1000);
        } else {
            outcome.counts.message_answers += 1;
            outcome.first_text.add((called + first - asked) / 1000);
            outcome.whole_answer.add((end - asked) / 1000);
        }
    }

    fn end_turn(&mut self, asked: i64, end: i64) {
        self.turns.until(end);
        while self.owed.peek().is_some_and(|Reverse(end)| *end <= asked) {
            self.owed.pop();
        }
        self.owed.push(Reverse(end));
        let busiest = &mut self.outcome.busiest;
        busiest.turns_at_once = busiest.turns_at_once.max(self.turns.free.len());
        busiest.owed_at_once = busiest.owed_at_once.max(self.owed.len());
    }

    /// A sentence that needs no model, about a reel that was asked for then.
    fn sentence(&mut self, since: i64) {
        let bot = &self.plan.bot;
        let worked = self.cpu.serve(self.now * 1000, micros(bot.cpu));
        let stored = self.database.serve(worked, micros(bot.database_time));
        self.worked.add(self.now, 1.0);
        self.outcome.reel_answer.add(stored / 1000 - since);
    }

    fn submit(&mut self, ask: Ask) {
        let Asked::Reel(number) = ask.what else { return };
        let measured = self.is_measured();
        let now = Timestamp(self.now);
        // What was drawn for a job stays its own whatever becomes of others.
        let drawn = self.work.part();
        let part = self.plan.reels.known.get(&number).copied().unwrap_or(drawn);
        let unreadable = self.plan.is_unreadable(number);
        let (submitted, job) = self.line.submit(ask.person, u64::from(number), now);
        let asked = (ms(ask.at), measured);
        if let Submitted::Queued { ready_at } = submitted {
            let job = job.unwrap_or_default();
            let told = measured
                .then(|| {
                    let usual = |kind| self.takes(kind, 0.5, false);
                    self.line.told_end(job, ready_at, usual, now)
                })
                .flatten();
            self.waiting.insert(job, Waiting { part, unreadable, asked: vec![asked], person: ask.person, told });
        } else if let Some(waiting) = job.and_then(|job| self.waiting.get_mut(&job)) {
            waiting.asked.push(asked);
        }
        if !measured {
            return;
        }
        // The turn that asked: it works without the model.
        self.worked.add(self.now, 1.0);
        let waiting = self.line.waiting();
        self.outcome.busiest.waiting = self.outcome.busiest.waiting.max(waiting);
        let counts = &mut self.outcome.counts;
        counts.asked += 1;
        match submitted {
            Submitted::Cached => {
                counts.cached += 1;
                self.turn(Some(asked.0));
            }
            Submitted::Failed(_) => {
                counts.remembered += 1;
                self.sentence(asked.0);
            }
            Submitted::Joined => counts.joined += 1,
            Submitted::Queued { .. } => {
                counts.queued += 1;
                self.new_reels.add(self.now, 1.0);
            }
            Submitted::Denied(Denied::LineFull { .. }) => counts.refused_for_line += 1,
            Submitted::Denied(Denied::TooManyWaiting { .. } | Denied::Draining) => counts.refused_for_person += 1,
        }
    }

    /// How long a job takes on a lane.
    fn takes(&self, kind: LaneKind, part: f64, unreadable: bool) -> Duration {
        let reels = &self.plan.reels;
        match kind {
            LaneKind::N8n => reels.n8n.at(part),
            LaneKind::Direct if unreadable => reels.scrape.at(part),
            LaneKind::Direct => reels.scrape.at(part) + reels.analysis.at(part),
        }
    }

    fn start_run(&mut self) {
        let Some(taken) = self.line.claim(Timestamp(self.now)) else { return };
        let Some((part, unreadable, asked, measured)) = self.waiting.get(&taken.job).and_then(|waiting| {
            let (asked, measured) = waiting.asked.first()?;
            Some((waiting.part, waiting.unreadable, *asked, *measured))
        }) else {
            return;
        };
        let end = self.now + ms(self.takes(taken.kind, part, unreadable) + self.plan.bot.lane_time);
        self.ends.push(Reverse((end, taken.lane)));
        if let Some(waiting) = self.waiting.get_mut(&taken.job) {
            waiting.person = taken.person;
        }
        self.running.insert(taken.lane, (taken.job, taken.ready_at, self.now));
        if !measured {
            return;
        }
        self.outcome.line_wait.add(self.now - asked);
        let counts = &mut self.outcome.counts;
        match taken.kind {
            LaneKind::Direct => counts.direct_runs += 1,
            LaneKind::N8n => counts.n8n_runs += 1,
        }
        counts.unreadable_runs += u64::from(unreadable && taken.kind == LaneKind::Direct);
    }

    fn end_run(&mut self) {
        let Some(Reverse((_, lane))) = self.ends.pop() else { return };
        let Some((job, ready_at, started)) = self.running.remove(&lane) else { return };
        let Some(waiting) = self.waiting.remove(&job) else { return };
        let known_for = if waiting.unreadable { self.plan.popularity.unreadable_for } else { self.plan.cache };
        self.line.finish(lane, Timestamp(self.now) + known_for, waiting.unreadable);
        let first_asked = waiting.asked.first().copied();
        for (asked, measured) in waiting.asked {
            if measured {
                self.outcome.reel_wait.add(self.now - asked);
                if waiting.unreadable {
                    self.outcome.counts.told_unreadable += 1;
                    self.sentence(asked);
                } else {
                    self.turn(Some(asked));
                }
            }
        }
        let Some((asked, true)) = first_asked else { return };
        if let Some(told) = waiting.told {
            let wrong = (told.0 - self.now).abs() * 1000 / (self.now - asked).max(1);
            self.outcome.told_wrong.add(wrong);
        }
        let at = |ms: i64| span(ms - self.begin);
        self.outcome.runs.push(Run {
            lane,
            person: waiting.person,
            asked: at(asked),
            ready: at(ready_at.0),
            started: at(started),
            ended: at(self.now),
        });
    }

    fn close(mut self) -> Outcome {
        let plan = self.plan;
        let outcome = &mut self.outcome;
        outcome.runs.sort_by_key(|run| (run.started, run.lane));
        for spread in [
            &mut outcome.reel_wait,
            &mut outcome.reel_answer,
            &mut outcome.line_wait,
            &mut outcome.first_text,
            &mut outcome.whole_answer,
            &mut outcome.told_wrong,
        ] {
            spread.close();
        }
        let minute = plan.tier.minute_ms as f64 * 1000.0;
        let cores = f64::from(plan.bot.cores) * f64::from(plan.bot.instances);
        let slots = f64::from(plan.bot.turns_at_once) * f64::from(plan.bot.instances);
        let work = |each: Duration| self.worked.most * each.as_micros() as f64 / minute;
        outcome.busiest = Busiest {
            lanes: self.new_reels.most * lane_time(plan) / (LANE_MINUTES as f64 * minute),
            cpu: work(plan.bot.cpu) / cores.max(1.0),
            database: work(plan.bot.database_time) / self.database.most as f64,
            turns: outcome.busiest.owed_at_once as f64 / slots.max(1.0),
            requests: self.requests.most,
            tokens: self.tokens.most,
            tokens_a_day: self.tokens_a_day.most,
            ..outcome.busiest
        };
        outcome.mean_waiting = self.waited / (self.now - self.begin).max(1) as f64;
        self.outcome
    }
}

/// Microseconds between two reels that all lanes together can read, on average.
fn lane_time(plan: &Plan) -> f64 {
    let reels = &plan.reels;
    let mean = |times: &Times| times.mean().as_micros().max(1) as f64;
    let unreadable = plan.popularity.unreadable;
    let beside = plan.bot.lane_time.as_micros() as f64;
    let direct = mean(&reels.scrape) + (1.0 - unreadable) * mean(&reels.analysis) + beside;
    let per_micro = f64::from(reels.direct_lanes) / direct + f64::from(reels.n8n_lanes) / (mean(&reels.n8n) + beside);
    1.0 / per_micro.max(1e-12)
}
