//! When a waiting reel will be done, and how that is shown. Owns the estimate; pure, and never knows the
//! store or a platform.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::clock::Timestamp;

/// One slot of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneState {
    /// `now` or earlier if it is idle, else when its running job is expected to end ([`running_end`]), or when its
    /// upstream is tried again.
    pub free_at: Timestamp,
    /// How long a job usually takes on it.
    pub each: Duration,
}

/// When the job that a lane has been running since `started` is expected to end: after the usual time,
/// and once it is later than that, a tenth of the usual time (at least 2 s) from now, again and again:
/// a job that hangs is always "about to end", because nothing better is known.
pub fn running_end(now: Timestamp, started: Timestamp, usual: Duration) -> Timestamp {
    let soon = now + (usual / 10).max(Duration::from_secs(2));
    (started + usual).max(soon)
}

/// When each job of a queue will be done, if each takes its lane's usual time, the lane that is free first takes the
/// next one (of two, the first in the list), and no job starts before it is ready. `ready` are the times at which they may
/// start, in queue order. Without any lane they never will ([`Timestamp::NEVER`]).
pub fn ends(now: Timestamp, ready: &[Timestamp], lanes: &[LaneState]) -> Vec<Timestamp> {
    let mut free: BinaryHeap<Reverse<(Timestamp, usize)>> =
        lanes.iter().enumerate().map(|(at, lane)| Reverse((lane.free_at.max(now), at))).collect();
    let mut next = |&ready: &Timestamp| {
        let Some(mut first) = free.peek_mut() else { return Timestamp::NEVER };
        let Reverse((free_at, at)) = *first;
        let end = free_at.max(ready) + lanes.get(at).map_or(Duration::ZERO, |lane| lane.each);
        *first = Reverse((end, at));
        end
    };
    ready.iter().map(&mut next).collect()
}

/// The usual duration of a job: the median of recent ones, or `default` if there are none. Of an even
/// number the longer of the two in the middle: to be early is better than to be late.
pub fn median(recent: &[Duration], default: Duration) -> Duration {
    let mut sorted = recent.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or(default)
}

/// The position that is shown for a place in the queue (the first is 1): the smallest of 1 2 3 4 5 6 7 9
/// 11 14 18 23 29 36 45 ... that is not less, so that a message far back in the queue is not edited at
/// every step.
pub fn shown(position: usize) -> usize {
    let mut step = 1usize;
    while step < position {
        // A quarter more each time, rounded half up.
        step = if step < 7 { step + 1 } else { step.saturating_mul(5).saturating_add(2) / 4 };
        if step > usize::MAX / 8 {
            return position;
        }
    }
    step
}

/// A duration in steps coarse enough for words, which grow with it so that far back in the line they change seldom: 5 s
/// below 1 min, 15 s below 3 min, 1 min below 10 min, 5 min below 1 h, 15 min above. Rounded up, and never zero.
pub fn rounded(span: Duration) -> Duration {
    let ms = span.as_millis().max(1);
    let step = match ms {
        0..=60_000 => 5_000,
        60_001..=180_000 => 15_000,
        180_001..=600_000 => 60_000,
        600_001..=3_600_000 => 300_000,
        _ => 900_000,
    };
    Duration::from_millis(u64::try_from(ms.div_ceil(step).saturating_mul(step)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn at(seconds: i64) -> Timestamp {
        Timestamp(NOW.0 + seconds * 1000)
    }

    fn lanes(free: &[i64], each: Duration) -> Vec<LaneState> {
        free.iter().map(|&seconds| LaneState { free_at: at(seconds), each }).collect()
    }

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn jobs_take_the_lanes_in_order() {
        for (ready, free, want) in [
            (&[0][..], &[0, 0][..], &[60][..]),
            (&[0, 0, 0], &[0, 0], &[60, 60, 120]),
            (&[0, 0, 0], &[20, 50], &[80, 110, 140]),
            // A job that may not start yet leaves its lane idle.
            (&[0, 30, 90], &[0], &[60, 120, 180]),
            (&[0, 30, 200], &[0, 0], &[60, 90, 260]),
            // A lane that should have been free long ago is free now.
            (&[0], &[-500], &[60]),
            (&[], &[0], &[]),
        ] {
            let ready: Vec<Timestamp> = ready.iter().map(|&seconds| at(seconds)).collect();
            let want: Vec<Timestamp> = want.iter().map(|&seconds| at(seconds)).collect();
            assert_eq!(ends(NOW, &ready, &lanes(free, secs(60))), want);
        }
        assert_eq!(ends(NOW, &[NOW], &[]), [Timestamp::NEVER]);
    }

    #[test]
    fn a_quick_lane_takes_more() {
        let lanes = [LaneState { free_at: NOW, each: secs(20) }, LaneState { free_at: NOW, each: secs(50) }];
        let ends = ends(NOW, &[NOW; 6], &lanes);
        assert_eq!(ends, [20, 50, 40, 60, 100, 80].map(at));
    }

    #[test]
    fn a_late_job_is_about_to_end() {
        assert_eq!(running_end(NOW, at(-20), secs(60)), at(40));
        assert_eq!(running_end(NOW, at(-58), secs(60)), at(6));
        assert_eq!(running_end(NOW, at(-600), secs(60)), at(6));
        assert_eq!(running_end(NOW, at(-600), secs(1)), at(2));
    }

    #[test]
    fn the_median_is_one_of_the_recent_ones() {
        assert_eq!(median(&[], secs(45)), secs(45));
        assert_eq!(median(&[secs(10), secs(90), secs(20)], secs(45)), secs(20));
        assert_eq!(median(&[secs(10), secs(20)], secs(45)), secs(20));
    }

    #[test]
    fn shown_positions_thin_out() {
        let mut seen: Vec<usize> = (1..=45).map(shown).collect();
        seen.dedup();
        assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7, 9, 11, 14, 18, 23, 29, 36, 45]);
        assert_eq!((shown(0), shown(8), shown(46)), (1, 9, 56));
        assert!(shown(usize::MAX) > 0);
    }

    #[test]
    fn words_change_in_coarse_steps() {
        for (ms, want) in [
            (0, 5),
            (5_000, 5),
            (5_001, 10),
            (59_999, 60),
            (61_000, 75),
            (180_000, 180),
            (181_000, 240),
            (600_000, 600),
            (601_000, 900),
            (3_600_000, 3_600),
            (3_601_000, 4_500),
        ] {
            assert_eq!(rounded(Duration::from_millis(ms)), secs(want), "{ms} ms");
        }
        assert!(rounded(Duration::MAX) > Duration::ZERO);
    }

    proptest! {
        #[test]
        fn estimates_are_in_order_and_never_in_the_past(
            ready in proptest::collection::vec(-100i64..2000, 0..40),
            free in proptest::collection::vec(-100i64..500, 1..6),
            more in -100i64..500,
            usual in 0u64..300,
        ) {
            let mut ready: Vec<Timestamp> = ready.into_iter().map(at).collect();
            ready.sort_unstable();
            let few = ends(NOW, &ready, &lanes(&free, secs(usual)));
            prop_assert!(few.windows(2).all(|pair| pair[0] <= pair[1]));
            prop_assert!(few.iter().zip(&ready).all(|(&end, &ready)| end >= ready.max(NOW) + secs(usual)));
            let free: Vec<i64> = free.into_iter().chain([more]).collect();
            let many = ends(NOW, &ready, &lanes(&free, secs(usual)));
            prop_assert!(many.iter().zip(&few).all(|(many, few)| many <= few));
        }

        #[test]
        fn shown_is_never_less(position in 1usize..1_000_000) {
            prop_assert!(shown(position) >= position);
            prop_assert!(shown(position) <= shown(position + 1));
            prop_assert_eq!(shown(shown(position)), shown(position));
        }

        #[test]
        fn rounded_never_goes_down(ms in 0u64..10_000_000) {
            let span = Duration::from_millis(ms);
            prop_assert!(rounded(span) >= span && rounded(span) <= rounded(span + Duration::from_millis(1)));
        }
    }
}
