//! A lane by a clock that the test moves.

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
}

#[test]
fn a_pause_of_a_day_is_told_and_looked_at_now_and_then() {
    let mut stage = Stage::new(TIER, 1);
    let first = stage.join(1);
    let Turn::Now(before) = stage.lane.turn(first) else { panic!("there is room") };
    stage.lane.refused(Some(seconds(86_400.0)), false);
    let ticket = stage.join(1);
    assert_eq!(stage.lane.wait(ticket), seconds(86_400.0), "whoever comes is told how long it really takes");
    assert_eq!(stage.lane.turn(ticket), Turn::In(LOOK_AFTER));
    stage.lane.accepted(before);
    assert_eq!(stage.lane.turn(ticket), Turn::In(LOOK_AFTER), "that one was sent before");
    // One looks; the others still wait.
    stage.clock.advance(LOOK_AFTER);
    assert!(matches!(stage.lane.turn(ticket), Turn::Now(_)));
    let other = stage.join(1);
    assert_eq!(stage.lane.turn(other), Turn::In(LOOK_AFTER));
    // What it hears last counts.
    stage.lane.refused(Some(seconds(20.0)), false);
    assert_eq!((stage.lane.turn(other), stage.lane.wait(other)), (Turn::In(seconds(20.0)), seconds(20.0)));
    stage.lane.refused(Some(seconds(1e9)), false);
    assert_eq!(stage.lane.wait(other), LONGEST_HOLD);
    stage.clock.advance(LOOK_AFTER);
    let Turn::Now(mark) = stage.lane.turn(other) else { panic!("it looks") };
    stage.lane.accepted(mark);
    assert!(stage.room(1) > 10, "it does not hold any more");
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
