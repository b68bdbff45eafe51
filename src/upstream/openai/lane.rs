//! The quota of one model: who may call now, who waits and for how long. Owns the arithmetic; pure but for its clock,
//! which tests move by hand. Never sleeps and never calls anything.
//!
//! OpenAI keeps two buckets for a model, requests and tokens, each holding a minute's worth and filling up evenly
//! (OpenAI, guide "Rate limits"). A lane has the same two, with two differences that keep it on the safe side: it shares
//! the rate with the other instances, and it holds only half a minute's worth. The other half is for what nobody here can
//! know: a restart, another instance, tokens counted differently. The headers of each answer say what is really left, of
//! which each instance may take its part: that lets one that is busy have what the others leave.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, MonotonicClock, Reference};
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::sync::Notify;

/// What a model may be asked in a minute, by all instances together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub requests: u64,
    pub tokens: u64,
}

/// Counts of requests and tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub requests: u64,
    pub tokens: u64,
}

/// What the headers of an answer say; `None` where they are silent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub requests: Option<Left>,
    pub tokens: Option<Left>,
}

/// One limit, and what is left of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    pub limit: u64,
    pub remaining: u64,
}

/// Whether a call may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Now. All that this instance has sent so far, for [`Lane::told`].
    Now(Counts),
    /// It is the first one, and has to wait so long.
    In(Duration),
    /// Others are before it.
    Behind,
}

/// A place in the order: earlier ones go first.
pub(super) type Ticket = u64;

/// `slow_down`: the rate is to be lowered for so long (OpenAI, changelog of 2026-09-02).
const SLOW_FOR: Duration = Duration::from_secs(15 * 60);

/// A 429 that does not say how long.
const UNTOLD: Duration = Duration::from_secs(1);

/// While the service asks for a longer pause than this, one call in such a time looks whether it still holds. Nobody may
/// wait so long for a turn (OPENAI_WAIT_SECONDS), so whoever comes meanwhile is told the real time.
const LOOK_AFTER: Duration = Duration::from_secs(240);

/// No pause is longer: a day, and what clocks differ by.
const LONGEST_HOLD: Duration = Duration::from_secs(25 * 3600);

/// One model.
#[derive(Debug)]
pub(super) struct Lane<C: Clock + Clone = MonotonicClock> {
    clock: C,
    limits: Limits,
    /// How many share the limits.
    instances: u32,
    requests: Bucket<C>,
    tokens: Bucket<C>,
    held_until: Option<C::Instant>,
    /// When one call may be made although all are held back.
    look_at: Option<C::Instant>,
    /// Requests sent before all were held back: what they are answered says nothing about it.
    held_after: u64,
    slow_until: Option<C::Instant>,
    sent: Counts,
    /// Of what was sent: what no answer has come to yet. Nobody knows whether the service has counted it.
    open: Counts,
    waiting: BTreeMap<Ticket, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    /// What it still needs.
    needs: Counts,
    /// The tokens it needs in all.
    all: u64,
    wake: Arc<Notify>,
}

impl<C: Clock + Clone> Lane<C> {
    pub(super) fn new(clock: C, limits: Limits, instances: u32) -> Self {
        let (requests, tokens) = (Bucket::full(clock.clone(), 1), Bucket::full(clock.clone(), 1));
        let mut lane = Self {
            clock,
            limits,
            instances: instances.max(1),
            requests,
            tokens,
            held_until: None,
            look_at: None,
            held_after: 0,
            slow_until: None,
            sent: Counts::default(),
            open: Counts::default(),
            waiting: BTreeMap::new(),
        };
        lane.requests = Bucket::full(lane.clock.clone(), lane.share(limits.requests));
        lane.tokens = Bucket::full(lane.clock.clone(), lane.share(limits.tokens));
        lane
    }

    /// Takes a place for a call that is charged so many tokens. `wake` is notified when the place may have come up.
    pub(super) fn join(&mut self, ticket: Ticket, tokens: u64, wake: Arc<Notify>) {
        self.waiting.insert(ticket, Waiting { needs: Counts { requests: 1, tokens }, all: tokens, wake });
    }

    /// Whether it is this one's turn; then its place is gone.
    pub(super) fn turn(&mut self, ticket: Ticket) -> Turn {
        let now = self.clock.now();
        self.speed_up(now);
        let Some(mut first) = self.waiting.first_entry().filter(|first| *first.key() == ticket) else {
            return Turn::Behind;
        };
        let is_held = left_until::<C>(self.held_until, now).is_some();
        if let Some(left) = left_until::<C>(self.look_at.filter(|_| is_held), now) {
            return Turn::In(left);
        }
        let needs = &mut first.get_mut().needs;
        let buckets = [
            (&mut self.requests, &mut needs.requests, &mut self.sent.requests, &mut self.open.requests),
            (&mut self.tokens, &mut needs.tokens, &mut self.sent.tokens, &mut self.open.tokens),
        ];
        for (bucket, needed, sent, open) in buckets {
            while *needed > 0 {
                // More than a bucket holds is taken in parts.
                let part = u32::try_from(*needed).unwrap_or(u32::MAX).min(bucket.burst);
                if let Err(wait) = bucket.take(part, now) {
                    return Turn::In(wait);
                }
                *needed -= u64::from(part);
                *sent += u64::from(part);
                *open += u64::from(part);
            }
        }
        first.remove();
        if is_held {
            self.look_at = Some(now + Nanos::from(LOOK_AFTER));
        }
        self.wake_first();
        Turn::Now(self.sent)
    }

    /// How long this one will probably wait.
    pub(super) fn wait(&self, ticket: Ticket) -> Duration {
        let now = self.clock.now();
        let mut needed = Counts::default();
        for waiting in self.waiting.range(..=ticket).map(|(_, waiting)| waiting) {
            needed.requests += waiting.needs.requests;
            needed.tokens = needed.tokens.saturating_add(waiting.needs.tokens);
        }
        let filled = self.requests.filled_in(needed.requests, now).max(self.tokens.filled_in(needed.tokens, now));
        filled.max(left_until::<C>(self.held_until, now).unwrap_or_default())
    }

    /// Gives a place up.
    pub(super) fn leave(&mut self, ticket: Ticket) {
        let Some(gone) = self.waiting.remove(&ticket) else { return };
        let taken = Counts { requests: 1 - gone.needs.requests, tokens: gone.all.saturating_sub(gone.needs.tokens) };
        self.close(taken);
        self.wake_first();
    }

    /// The service has answered a request that was charged so many tokens, or never will.
    pub(super) fn ended(&mut self, tokens: u64) {
        self.close(Counts { requests: 1, tokens });
    }

    fn close(&mut self, counts: Counts) {
        self.open.requests = self.open.requests.saturating_sub(counts.requests);
        self.open.tokens = self.open.tokens.saturating_sub(counts.tokens);
    }

    /// Takes in what an answer says is left. `mark` is what had been sent with its request: what was sent since is not
    /// in its numbers yet.
    pub(super) fn told(&mut self, told: &Told, mark: Counts) {
        let limits = Limits {
            requests: told.requests.map_or(self.limits.requests, |left| left.limit),
            tokens: told.tokens.map_or(self.limits.tokens, |left| left.limit),
        };
        if limits != self.limits {
            self.limits = limits;
            self.refit();
        }
        let now = self.clock.now();
        let instances = u64::from(self.instances);
        let since = Counts { requests: self.sent.requests - mark.requests, tokens: self.sent.tokens - mark.tokens };
        let slow = self.slow_until.is_some();
        for (bucket, left, since, open) in [
            (&mut self.requests, told.requests, since.requests, self.open.requests),
            (&mut self.tokens, told.tokens, since.tokens, self.open.tokens),
        ] {
            let Some(left) = left else { continue };
            let really = left.remaining.saturating_sub(since);
            let most = really.saturating_sub(left.limit / 20) / instances;
            let surely = really.saturating_sub(open);
            let least = if slow { 0 } else { surely.saturating_sub(left.limit / 2) / instances };
            bucket.correct(least, most, now);
        }
        self.wake_first();
    }

    /// Too many requests: everybody waits. `slow_down`: the traffic rose too fast.
    pub(super) fn refused(&mut self, retry_after: Option<Duration>, slow_down: bool) {
        let now = self.clock.now();
        let pause = retry_after.unwrap_or(UNTOLD).min(LONGEST_HOLD);
        let until = now + Nanos::from(pause);
        // Of several pauses that are asked for at a time the longest counts; of a long one, what was heard last.
        let held =
            self.held_until.filter(|_| left_until::<C>(self.held_until, now).is_some_and(|left| left <= LOOK_AFTER));
        let held = held.map_or(until, |held| held.max(until));
        self.held_until = Some(held);
        self.look_at = Some(held.min(now + Nanos::from(LOOK_AFTER)));
        self.held_after = self.sent.requests;
        self.requests.correct(0, 0, now);
        self.tokens.correct(0, 0, now);
        if slow_down {
            self.slow_until = Some(now + Nanos::from(SLOW_FOR));
            self.refit();
        }
    }

    /// A request was accepted: `mark` as for [`Lane::told`]. One that was sent after a refusal ends the pause.
    pub(super) fn accepted(&mut self, mark: Counts) {
        if mark.requests > self.held_after {
            (self.held_until, self.look_at) = (None, None);
            self.wake_first();
        }
    }

    /// From now on so many instances share the limits.
    pub(super) fn share_between(&mut self, instances: u32) {
        if self.instances != instances.max(1) {
            self.instances = instances.max(1);
            self.refit();
            self.wake_first();
        }
    }

    /// Half speed has lasted long enough.
    fn speed_up(&mut self, now: C::Instant) {
        if self.slow_until.is_some_and(|until| until <= now) {
            self.slow_until = None;
            self.refit();
        }
    }

    /// Buckets for other limits, as full as the old ones.
    fn refit(&mut self) {
        let now = self.clock.now();
        let (requests, tokens) = (self.share(self.limits.requests), self.share(self.limits.tokens));
        self.requests.refit(requests, now);
        self.tokens.refit(tokens, now);
    }

    fn share(&self, limit: u64) -> u64 {
        let slower = if self.slow_until.is_some() { 2 } else { 1 };
        (limit / u64::from(self.instances) / slower).max(1)
    }

    fn wake_first(&self) {
        if let Some((_, first)) = self.waiting.first_key_value() {
            first.wake.notify_one();
        }
    }
}

fn left_until<C: Clock>(until: Option<C::Instant>, now: C::Instant) -> Option<Duration> {
    let left = Duration::from(until?.duration_since(now));
    (!left.is_zero()).then_some(left)
}

/// One limit of this instance.
#[derive(Debug)]
struct Bucket<C: Clock + Clone> {
    clock: C,
    limiter: RateLimiter<NotKeyed, InMemoryState, C, StateInformationMiddleware>,
    per_minute: u64,
    /// The most it holds.
    burst: u32,
    /// What it held at some time; it fills up from there. The limiter decides, and does not tell without being asked for
    /// something.
    held: f64,
    at: C::Instant,
}

impl<C: Clock + Clone> Bucket<C> {
    fn full(clock: C, per_minute: u64) -> Self {
        let rate = NonZeroU32::new(u32::try_from(per_minute).unwrap_or(u32::MAX)).unwrap_or(NonZeroU32::MIN);
        let burst = NonZeroU32::new(rate.get() / 2).unwrap_or(NonZeroU32::MIN);
        let limiter =
            RateLimiter::direct_with_clock(Quota::per_minute(rate).allow_burst(burst), clock.clone()).with_middleware();
        let at = clock.now();
        Self { clock, limiter, per_minute: u64::from(rate.get()), burst: burst.get(), held: f64::from(burst.get()), at }
    }

    /// Takes so many, at most the burst, or says how long until they are there.
    fn take(&mut self, count: u32, now: C::Instant) -> Result<(), Duration> {
        let Some(count) = NonZeroU32::new(count) else { return Ok(()) };
        match self.limiter.check_n(count) {
            Ok(Ok(state)) => {
                (self.held, self.at) = (f64::from(state.remaining_burst_capacity()), now);
                Ok(())
            }
            Ok(Err(not_until)) => Err(not_until.wait_time_from(now)),
            // It asks for no more than the burst.
            Err(_) => Err(Duration::from_secs(60)),
        }
    }

    fn level(&self, now: C::Instant) -> f64 {
        let since = Duration::from(now.duration_since(self.at));
        (self.held + self.per_second() * since.as_secs_f64()).min(f64::from(self.burst))
    }

    fn per_second(&self) -> f64 {
        self.per_minute as f64 / 60.0
    }

    /// How long until so many have come in over what is there.
    fn filled_in(&self, needed: u64, now: C::Instant) -> Duration {
        let missing = (needed as f64 - self.level(now)).max(0.0);
        Duration::try_from_secs_f64(missing / self.per_second()).unwrap_or(Duration::MAX)
    }

    /// Makes it hold no less and no more than that.
    fn correct(&mut self, least: u64, most: u64, now: C::Instant) {
        let level = self.level(now);
        let (least, most) = ((least as f64).min(f64::from(self.burst)), most as f64);
        if level > most {
            let surplus = (level - most).ceil().min(f64::from(self.burst));
            if self.take(surplus as u32, now).is_err() {
                self.set(most, now);
            }
        } else if least - level > f64::from(self.burst) / 20.0 {
            self.set(least, now);
        }
    }

    fn refit(&mut self, per_minute: u64, now: C::Instant) {
        if self.per_minute != per_minute {
            let part = self.level(now) / f64::from(self.burst);
            *self = Self::full(self.clock.clone(), per_minute);
            self.set(part * f64::from(self.burst), now);
        }
    }

    fn set(&mut self, level: f64, now: C::Instant) {
        *self = Self::full(self.clock.clone(), self.per_minute);
        let gone = f64::from(self.burst) - level.max(0.0);
        if gone >= 1.0 {
            // A full one has them.
            let _ = self.take(gone as u32, now);
        }
    }
}

#[cfg(test)]
mod tests;
