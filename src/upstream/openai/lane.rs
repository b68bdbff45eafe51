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

/// So long at most is held back because of one 429: what is told beyond it is looked at again then.
const LONGEST_HOLD: Duration = Duration::from_secs(60);

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
        if let Some(left) = left_until::<C>(self.held_until, now) {
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
        let until = now + Nanos::from(retry_after.unwrap_or(UNTOLD).min(LONGEST_HOLD));
        self.held_until = Some(self.held_until.map_or(until, |held| held.max(until)));
        self.requests.correct(0, 0, now);
        self.tokens.correct(0, 0, now);
        if slow_down {
            self.slow_until = Some(now + Nanos::from(SLOW_FOR));
            self.refit();
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
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    const TIER: Limits = Limits { requests: 600, tokens: 60_000 };

    struct Stage {
        clock: FakeRelativeClock,
        lane: Lane<FakeRelativeClock>,
        next: Ticket,
    }

    impl Stage {
        fn new(limits: Limits, instances: u32) -> Self {
            let clock = FakeRelativeClock::default();
            Self { lane: Lane::new(clock.clone(), limits, instances), clock, next: 0 }
        }

        fn join(&mut self, tokens: u64) -> Ticket {
            self.next += 1;
            self.lane.join(self.next, tokens, Arc::default());
            self.next
        }

        /// How many of that size may be made now, each asking by itself.
        fn room(&mut self, tokens: u64) -> usize {
            let mut made = 0;
            loop {
                let ticket = self.join(tokens);
                match self.lane.turn(ticket) {
                    Turn::Now(_) => made += 1,
                    _ => {
                        self.lane.leave(ticket);
                        return made;
                    }
                }
            }
        }

        fn sent(&self) -> Counts {
            self.lane.sent
        }

        /// All that was sent is answered.
        fn answered(&mut self) -> Counts {
            self.lane.open = Counts::default();
            self.lane.sent
        }

        fn told(&mut self, requests: (u64, u64), tokens: (u64, u64), mark: Counts) {
            let left = |(limit, remaining)| Some(Left { limit, remaining });
            self.lane.told(&Told { requests: left(requests), tokens: left(tokens) }, mark);
        }
    }

    fn seconds(count: f64) -> Duration {
        Duration::from_secs_f64(count)
    }

    #[test]
    fn half_a_minute_is_there_at_once_and_the_rest_comes_evenly() {
        let mut stage = Stage::new(TIER, 1);
        assert_eq!(stage.room(1), 300);
        stage.clock.advance(seconds(1.0));
        assert_eq!(stage.room(1), 10);
        // Tokens are the narrower ones here: 30,000 at once, 1,000 a second.
        let mut stage = Stage::new(TIER, 1);
        assert_eq!(stage.room(1_000), 30);
        stage.clock.advance(seconds(3.0));
        assert_eq!(stage.room(1_000), 3);
    }

    #[test]
    fn in_no_minute_more_than_the_bucket_of_the_service_has() {
        let mut stage = Stage::new(TIER, 1);
        let mut real = 600.0_f64;
        for _ in 0..3_000 {
            real = (real + 1.0).min(600.0);
            stage.clock.advance(seconds(0.1));
            real -= stage.room(1) as f64;
            assert!(real >= 0.0);
        }
        assert!(real >= 290.0, "half of it stays for what nobody here knows: {real}");
    }

    #[test]
    fn first_come_first_served() {
        let mut stage = Stage::new(TIER, 1);
        assert_eq!(stage.room(1_000), 30);
        let (large, small) = (stage.join(5_000), stage.join(1));
        assert_eq!(stage.lane.turn(small), Turn::Behind, "a small one does not slip past");
        assert!(matches!(stage.lane.turn(large), Turn::In(_)));
        assert_eq!(stage.lane.wait(small).as_secs_f64().round(), 5.0);
        stage.clock.advance(seconds(5.1));
        assert!(matches!(stage.lane.turn(large), Turn::Now(_)));
        assert!(matches!(stage.lane.turn(small), Turn::Now(_)));
        // Whoever goes away leaves the way free.
        stage.room(1_000);
        let (gone, next) = (stage.join(5_000), stage.join(1));
        stage.lane.leave(gone);
        stage.clock.advance(seconds(0.1));
        assert!(matches!(stage.lane.turn(next), Turn::Now(_)));
    }

    #[test]
    fn one_call_may_be_larger_than_the_bucket() {
        let mut stage = Stage::new(TIER, 1);
        let huge = stage.join(90_000);
        assert_eq!(stage.lane.wait(huge), seconds(60.0));
        let mut waited = 0.0;
        while let Turn::In(wait) = stage.lane.turn(huge) {
            stage.clock.advance(wait);
            waited += wait.as_secs_f64();
            assert!(waited < 70.0);
        }
        assert!((59.0..62.0).contains(&waited), "{waited}");
    }

    #[test]
    fn the_rate_is_shared_and_one_may_have_what_the_others_leave() {
        let mut stage = Stage::new(TIER, 3);
        assert_eq!(stage.room(1), 100);
        stage.clock.advance(seconds(3.0));
        assert_eq!(stage.room(1), 10);
        // 510 are left of all: of what is above the half, a third.
        let mark = stage.answered();
        stage.told((600, 510), (60_000, 60_000), mark);
        assert_eq!(stage.room(1), 70);
        // The others have woken up.
        let mark = stage.sent();
        stage.told((600, 60), (60_000, 60_000), mark);
        assert_eq!(stage.room(1), 0);
        stage.clock.advance(seconds(3.0));
        assert_eq!(stage.room(1), 10);
        // The others are gone: as full as before, of three times as much.
        stage.lane.share_between(1);
        assert_eq!(stage.room(1), 0);
        stage.clock.advance(seconds(3.0));
        assert_eq!(stage.room(1), 30);
    }

    #[test]
    fn what_was_sent_since_is_not_in_the_numbers_yet() {
        let mut stage = Stage::new(TIER, 1);
        let first = stage.join(1);
        let Turn::Now(mark) = stage.lane.turn(first) else { panic!("there is room") };
        assert_eq!(stage.room(1), 299);
        // The first one's answer knows nothing of the other 299.
        stage.lane.ended(1);
        stage.told((600, 599), (60_000, 59_999), mark);
        assert_eq!(stage.room(1), 0);
    }

    #[test]
    fn somebody_else_uses_the_same_key() {
        let mut stage = Stage::new(TIER, 1);
        stage.told((600, 600), (60_000, 13_000), Counts::default());
        assert_eq!(stage.room(1_000), 10, "a twentieth is left alone");
        let mark = stage.sent();
        stage.told((600, 590), (60_000, 100), mark);
        assert_eq!(stage.room(1), 0);
    }

    #[test]
    fn other_limits_than_assumed() {
        let mut stage = Stage::new(TIER, 1);
        stage.told((6_000, 5_999), (600_000, 599_999), Counts::default());
        assert_eq!(stage.room(1), 3_000);
        let mut stage = Stage::new(TIER, 1);
        stage.told((60, 59), (60_000, 59_999), Counts::default());
        assert_eq!(stage.room(1), 30);
    }

    #[test]
    fn a_refusal_holds_everybody_back() {
        let mut stage = Stage::new(TIER, 1);
        stage.lane.refused(Some(seconds(5.0)), false);
        let ticket = stage.join(1);
        assert_eq!((stage.lane.turn(ticket), stage.lane.wait(ticket)), (Turn::In(seconds(5.0)), seconds(5.0)));
        stage.clock.advance(seconds(5.0));
        assert!(matches!(stage.lane.turn(ticket), Turn::Now(_)));
        assert_eq!(stage.room(1), 49, "what came in meanwhile, no more");
        // What is told is obeyed up to a minute.
        stage.lane.refused(Some(seconds(3_600.0)), false);
        let ticket = stage.join(1);
        assert_eq!(stage.lane.wait(ticket), LONGEST_HOLD);
    }

    #[test]
    fn slow_down_halves_the_rate_for_a_quarter_of_an_hour() {
        let mut stage = Stage::new(TIER, 1);
        stage.lane.refused(None, true);
        stage.clock.advance(UNTOLD);
        stage.room(1);
        stage.clock.advance(seconds(2.0));
        assert_eq!(stage.room(1), 10);
        stage.clock.advance(SLOW_FOR);
        stage.room(1);
        stage.clock.advance(seconds(2.0));
        assert_eq!(stage.room(1), 20);
    }
}
