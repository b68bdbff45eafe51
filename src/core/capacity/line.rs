//! The line of reels without a database: what the store's transactions decide, decided in memory. Owns a copy of those
//! rules, which `tests/it/capacity.rs` holds to the store's own over random afternoons; never draws anything.
//!
//! Left out, because a plan has none of it: breakers, paused lanes, cancelling, leases that end, retries.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::core::reels::eta::{self, LaneState};
use crate::store::lanes::{Lane, LaneKind};
use crate::store::reels::{Denied, QueueLimits, Submitted};

/// A reel, by a number that the caller chooses.
pub type ReelNumber = u64;

/// A job in the line or at work, numbered in the order of submission as job ids are.
pub type JobNumber = u64;

/// See the module.
#[derive(Debug)]
pub struct Line {
    limits: QueueLimits,
    lanes: Vec<Slot>,
    /// Until when it is known, and whether as one that cannot be read.
    known: HashMap<ReelNumber, (Timestamp, bool)>,
    live: HashMap<ReelNumber, JobNumber>,
    /// In order.
    queue: BTreeSet<(Timestamp, JobNumber)>,
    queued: HashMap<JobNumber, (ReelNumber, u32)>,
    people: HashMap<u32, Person>,
    next_job: JobNumber,
}

#[derive(Debug)]
struct Slot {
    lane: Lane,
    used_at: Timestamp,
    running: Option<(JobNumber, ReelNumber, Timestamp)>,
}

#[derive(Clone, Copy, Debug)]
struct Person {
    next_reel_at: Timestamp,
    waiting: i64,
    last_ready: Timestamp,
}

/// A job that a lane has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    pub job: JobNumber,
    pub reel: ReelNumber,
    /// Its place in the list of lanes.
    pub lane: usize,
    pub kind: LaneKind,
    pub ready_at: Timestamp,
}

impl Line {
    /// `lanes` in the order of preference.
    pub fn new(limits: QueueLimits, lanes: &[Lane]) -> Line {
        let slot = |lane: &Lane| Slot { lane: lane.clone(), used_at: Timestamp(0), running: None };
        Line {
            limits,
            lanes: lanes.iter().map(slot).collect(),
            known: HashMap::new(),
            live: HashMap::new(),
            queue: BTreeSet::new(),
            queued: HashMap::new(),
            people: HashMap::new(),
            next_job: 0,
        }
    }

    /// As [`crate::store::Store::submit`] decides on one reel; and the job that is waited for, if one is.
    pub fn submit(&mut self, person: u32, reel: ReelNumber, now: Timestamp) -> (Submitted, Option<JobNumber>) {
        if let Some((until, failed)) = self.known.get(&reel)
            && *until > now
        {
            return (if *failed { Submitted::Failed(String::new()) } else { Submitted::Cached }, None);
        }
        if let Some(job) = self.live.get(&reel) {
            return (Submitted::Joined, Some(*job));
        }
        let nobody = Person { next_reel_at: Timestamp(0), waiting: 0, last_ready: Timestamp(0) };
        let asker = self.people.entry(person).or_insert(nobody);
        let interval = self.limits.interval;
        if asker.waiting >= self.limits.waiting_per_person {
            let last = if asker.waiting > 0 { asker.last_ready } else { Timestamp(0) };
            let again = Timestamp(last.0.max(now.0)) - interval * (asker.waiting.clamp(1, 100) as u32 - 1);
            let again_at = again.max(now + interval);
            let limit = self.limits.waiting_per_person;
            return (Submitted::Denied(Denied::TooManyWaiting { limit, again_at }), None);
        }
        if self.queue.len() as i64 >= self.limits.waiting {
            let denied = Denied::LineFull { limit: self.limits.waiting, again_at: now + interval };
            return (Submitted::Denied(denied), None);
        }
        let ready_at = asker.next_reel_at.max(now);
        *asker = Person { next_reel_at: ready_at + interval, waiting: asker.waiting + 1, last_ready: ready_at };
        let job = self.next_job;
        self.next_job += 1;
        self.live.insert(reel, job);
        self.queue.insert((ready_at, job));
        self.queued.insert(job, (reel, person));
        (Submitted::Queued { ready_at }, Some(job))
    }

    /// As [`crate::store::Store::claim_job`]: the first of the line that is ready, on the lane that is preferred among the
    /// free ones: kinds in the order of the list, webhooks by turns.
    pub fn claim(&mut self, now: Timestamp) -> Option<Taken> {
        let (ready_at, job) = *self.queue.first().filter(|(ready_at, _)| *ready_at <= now)?;
        let first_of = |kind: LaneKind| self.lanes.iter().position(|slot| slot.lane.kind == kind);
        let lane = (0..self.lanes.len()).filter(|at| self.lanes[*at].running.is_none()).min_by_key(|at| {
            let slot = &self.lanes[*at];
            let turn = if slot.lane.kind == LaneKind::N8n { slot.used_at } else { Timestamp(0) };
            (first_of(slot.lane.kind), turn, *at)
        })?;
        self.queue.remove(&(ready_at, job));
        let (reel, person) = self.queued.remove(&job)?;
        if let Some(asker) = self.people.get_mut(&person) {
            asker.waiting -= 1;
        }
        let slot = self.lanes.get_mut(lane)?;
        slot.used_at = now;
        slot.running = Some((job, reel, now));
        Some(Taken { job, reel, lane, kind: slot.lane.kind, ready_at })
    }

    /// The job on a lane ends; what is known of its reel then holds until `until`.
    pub fn finish(&mut self, lane: usize, until: Timestamp, failed: bool) {
        if let Some((_, reel, _)) = self.lanes.get_mut(lane).and_then(|slot| slot.running.take()) {
            self.live.remove(&reel);
            self.known.insert(reel, (until, failed));
        }
    }

    /// When the first of the line becomes ready, if a lane could take it.
    pub fn next_start(&self) -> Option<Timestamp> {
        let is_free = self.lanes.iter().any(|slot| slot.running.is_none());
        self.queue.first().filter(|_| is_free).map(|(ready_at, _)| *ready_at)
    }

    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// When a waiting job will be done, as people are told ([`eta::ends`]); `usual` is the time on each kind of lane.
    pub fn told_end(
        &self,
        job: JobNumber,
        ready_at: Timestamp,
        usual: impl Fn(LaneKind) -> Duration,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let ready: Vec<Timestamp> = self.queue.range(..=(ready_at, job)).map(|(ready_at, _)| *ready_at).collect();
        let lanes = self.lanes.iter().map(|slot| {
            let each = usual(slot.lane.kind);
            let free_at = slot.running.map_or(now, |(_, _, started)| eta::running_end(now, started, each));
            LaneState { free_at, each }
        });
        eta::ends(now, &ready, &lanes.collect::<Vec<_>>()).last().copied()
    }
}
