//! The line of reels without a database: what the store's transactions decide, decided in memory. Owns a copy of those
//! rules, which `tests/it/capacity.rs` holds to the store's own over random afternoons; never draws anything.
//!
//! Left out, because a plan has none of it: breakers, paused lanes, cancelling, leases that end, retries.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::core::reels::eta::{self, LaneState};
use crate::store::lanes::{Lane, LaneKind};
use crate::store::reels::{Denied, QueueLimits, Submitted, gap};

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
    /// Which reel, whose, and from when on it may start.
    queued: HashMap<JobNumber, (ReelNumber, u32, Timestamp)>,
    people: HashMap<u32, Person>,
    next_job: JobNumber,
}

#[derive(Debug)]
struct Slot {
    lane: Lane,
    used_at: Timestamp,
    running: Option<(JobNumber, ReelNumber, Timestamp)>,
}

#[derive(Debug, Default)]
struct Person {
    next_reel_at: Timestamp,
    /// Their slots in which a reel still waits; it is ready when its slot begins.
    waiting: BTreeSet<(Timestamp, JobNumber)>,
    /// Those in which one has begun, as far back as they keep a later one off.
    begun: Vec<Timestamp>,
}

impl Person {
    /// As the store gives time back: `slot` is free again, and later ones move forward into the gap. By how much, which are
    /// moved with the jobs in them.
    fn give_back(&mut self, slot: Timestamp, interval: Duration, now: Timestamp) -> (i64, Vec<(Timestamp, JobNumber)>) {
        let later: Vec<_> = self.waiting.iter().copied().filter(|(at, _)| *at > slot).collect();
        let before = self.waiting.iter().map(|(at, _)| *at).filter(|at| *at <= slot);
        let kept = before.chain(self.begun.iter().copied()).filter(|at| *at > now - interval).max();
        let first = later.first().map_or(self.next_reel_at, |(at, _)| *at);
        let shift = gap(kept, first, interval, now);
        for (at, job) in &later {
            self.waiting.remove(&(*at, *job));
            self.waiting.insert((Timestamp(at.0 - shift), *job));
        }
        self.next_reel_at = Timestamp(self.next_reel_at.0 - shift);
        (shift, later)
    }
}

/// A job that a lane has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    pub job: JobNumber,
    pub reel: ReelNumber,
    /// Its place in the list of lanes.
    pub lane: usize,
    pub kind: LaneKind,
    /// Whose slot it has: not always the one who asked first.
    pub person: u32,
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
        if let Some(job) = self.live.get(&reel).copied() {
            self.move_if_earlier(job, person, now);
            return (Submitted::Joined, Some(job));
        }
        let asker = self.people.entry(person).or_default();
        let interval = self.limits.interval;
        let waiting = asker.waiting.len() as i64;
        if waiting >= self.limits.waiting_per_person {
            let last = asker.waiting.last().map_or(Timestamp(0), |(at, _)| *at);
            let again = Timestamp(last.0.max(now.0)) - interval * (waiting.clamp(1, 100) as u32 - 1);
            let again_at = again.max(now + interval);
            let limit = self.limits.waiting_per_person;
            return (Submitted::Denied(Denied::TooManyWaiting { limit, again_at }), None);
        }
        if self.queue.len() as i64 >= self.limits.waiting {
            let denied = Denied::LineFull { limit: self.limits.waiting, again_at: now + interval };
            return (Submitted::Denied(denied), None);
        }
        let ready_at = asker.next_reel_at.max(now);
        let job = self.next_job;
        asker.next_reel_at = ready_at + interval;
        asker.waiting.insert((ready_at, job));
        self.next_job += 1;
        self.live.insert(reel, job);
        self.queue.insert((ready_at, job));
        self.queued.insert(job, (reel, person, ready_at));
        (Submitted::Queued { ready_at }, Some(job))
    }

    /// Nobody waits out another person's spacing: a job that waits for it goes to whoever joins it with an earlier slot and
    /// may have one more waiting.
    fn move_if_earlier(&mut self, job: JobNumber, person: u32, now: Timestamp) {
        let Some(&(reel, owner, ready_at)) = self.queued.get(&job) else { return };
        let joins = self.people.entry(person).or_default();
        let own = joins.next_reel_at.max(now);
        let interval = self.limits.interval;
        let may_wait = (joins.waiting.len() as i64) < self.limits.waiting_per_person;
        if owner == person || ready_at <= now || own >= ready_at || !may_wait {
            return;
        }
        joins.next_reel_at = own + interval;
        joins.waiting.insert((own, job));
        self.queue.remove(&(ready_at, job));
        self.queue.insert((own, job));
        self.queued.insert(job, (reel, person, own));
        let Some(left) = self.people.get_mut(&owner) else { return };
        left.waiting.remove(&(ready_at, job));
        let (shift, moved) = left.give_back(ready_at, interval, now);
        for (at, job) in moved {
            let sooner = Timestamp(at.0 - shift);
            self.queue.remove(&(at, job));
            self.queue.insert((sooner, job));
            if let Some((.., ready_at)) = self.queued.get_mut(&job) {
                *ready_at = sooner;
            }
        }
    }

    /// As [`crate::store::Store::claim_job`]: the first of the line that is ready, on the lane that is preferred among the
    /// free ones: kinds in the order of the list, webhooks by turns.
    pub fn claim(&mut self, now: Timestamp) -> Option<Taken> {
        let (ready_at, job) = *self.queue.first().filter(|(ready_at, _)| *ready_at <= now)?;
        let first_of = |kind: LaneKind| self.lanes.iter().position(|slot| slot.lane.kind() == kind);
        let lane = (0..self.lanes.len()).filter(|at| self.lanes[*at].running.is_none()).min_by_key(|at| {
            let slot = &self.lanes[*at];
            let turn = if slot.lane.kind() == LaneKind::N8n { slot.used_at } else { Timestamp(0) };
            (first_of(slot.lane.kind()), turn, *at)
        })?;
        self.queue.remove(&(ready_at, job));
        let (reel, person, _) = self.queued.remove(&job)?;
        if let Some(asker) = self.people.get_mut(&person) {
            asker.waiting.remove(&(ready_at, job));
            let interval = self.limits.interval;
            asker.begun.retain(|at| *at > now - interval);
            asker.begun.push(ready_at);
        }
        let slot = self.lanes.get_mut(lane)?;
        slot.used_at = now;
        slot.running = Some((job, reel, now));
        Some(Taken { job, reel, lane, kind: slot.lane.kind(), person, ready_at })
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
            let each = usual(slot.lane.kind());
            let free_at = slot.running.map_or(now, |(_, _, started)| eta::running_end(now, started, each));
            LaneState { free_at, each }
        });
        eta::ends(now, &ready, &lanes.collect::<Vec<_>>()).last().copied()
    }
}
