//! Chance that is the same on every machine and in every version: a generator with a seed, and what is drawn from it.
//! Owns no state beyond its seed, and never asks the system for randomness.

use std::time::Duration;

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// `stream` keeps what is drawn for one purpose apart from what is drawn for another, so that a change of the plan
    /// in one place leaves the chance in all others as it was.
    pub fn new(seed: u64, stream: u64) -> Dice {
        let mut dice = Dice(seed ^ stream.wrapping_mul(0xd6e8_feb8_6659_fd93));
        dice.next();
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 (inclusive) to 1 (exclusive).
    pub fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// From 0 to `n` (exclusive); 0 if there is nothing to choose from.
    pub fn below(&mut self, n: u32) -> u32 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u32
    }

    /// The time to the next of events that happen at random, `mean` apart on average.
    pub fn gap(&mut self, mean: f64) -> f64 {
        -(1.0 - self.part()).ln() * mean
    }
}

/// How long something takes.
#[derive(Clone, Debug, PartialEq)]
pub enum Times {
    /// Anything between the two, equally likely.
    Between(Duration, Duration),
    /// One of those measured, equally likely; sorted. See [`Times::measured`].
    Samples(Vec<Duration>),
}

impl Times {
    /// Always the same.
    pub fn exactly(span: Duration) -> Times {
        Times::Between(span, span)
    }

    /// Of measured spans; `None` without any.
    pub fn measured(mut spans: Vec<Duration>) -> Option<Times> {
        spans.sort_unstable();
        (!spans.is_empty()).then_some(Times::Samples(spans))
    }

    /// The span that the part `part` (0 to 1) of all are shorter than.
    pub fn at(&self, part: f64) -> Duration {
        match self {
            Times::Between(least, most) => {
                let (least, most) = (least.as_secs_f64(), most.as_secs_f64());
                Duration::try_from_secs_f64(least + (most - least) * part).unwrap_or_default()
            }
            Times::Samples(spans) => {
                let at = (part * spans.len() as f64) as usize;
                spans.get(at.min(spans.len().saturating_sub(1))).copied().unwrap_or_default()
            }
        }
    }

    pub fn mean(&self) -> Duration {
        match self {
            Times::Between(least, most) => (*least + *most) / 2,
            Times::Samples(spans) => {
                spans.iter().sum::<Duration>() / u32::try_from(spans.len()).unwrap_or(u32::MAX).max(1)
            }
        }
    }

    /// The same, `factor` times as quick.
    pub fn compressed(&self, factor: f64) -> Times {
        match self {
            Times::Between(least, most) => Times::Between(least.div_f64(factor), most.div_f64(factor)),
            Times::Samples(spans) => Times::Samples(spans.iter().map(|span| span.div_f64(factor)).collect()),
        }
    }
}

/// Which link is asked for: rank r of a catalogue in proportion to 1/r^exponent.
#[derive(Clone, Debug)]
pub struct Popular {
    /// Up to and with each rank, of all.
    sums: Vec<f64>,
}

impl Popular {
    pub fn new(catalogue: u32, exponent: f64) -> Popular {
        let mut sum = 0.0;
        let sums = (1..=catalogue.max(1)).map(|rank| {
            sum += f64::from(rank).powf(-exponent);
            sum
        });
        Popular { sums: sums.collect() }
    }

    /// A rank, the most popular is 0.
    pub fn draw(&self, dice: &mut Dice) -> u32 {
        let wanted = dice.part() * self.sums.last().copied().unwrap_or_default();
        let rank = self.sums.partition_point(|sum| *sum <= wanted);
        u32::try_from(rank.min(self.sums.len().saturating_sub(1))).unwrap_or(u32::MAX)
    }
}

/// Spans that were seen, in whole milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// Sorted once all are in.
    ms: Vec<u32>,
}

impl Spread {
    pub(super) fn add(&mut self, ms: i64) {
        self.ms.push(u32::try_from(ms.max(0)).unwrap_or(u32::MAX));
    }

    pub(super) fn close(&mut self) {
        self.ms.sort_unstable();
    }

    pub fn count(&self) -> usize {
        self.ms.len()
    }

    /// The shortest span that `percent` of all are not longer than; zero if none was seen.
    pub fn percentile(&self, percent: f64) -> Duration {
        let rank = (percent / 100.0 * self.ms.len() as f64).ceil() as usize;
        let ms = self.ms.get(rank.clamp(1, self.ms.len().max(1)) - 1).copied().unwrap_or_default();
        Duration::from_millis(u64::from(ms))
    }

    pub fn longest(&self) -> Duration {
        Duration::from_millis(u64::from(self.ms.last().copied().unwrap_or_default()))
    }

    pub fn mean(&self) -> Duration {
        let sum: u64 = self.ms.iter().map(|ms| u64::from(*ms)).sum();
        Duration::from_secs_f64(sum as f64 / 1000.0 / self.ms.len().max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_is_the_same_chance() {
        let draw = |seed, stream| {
            let mut dice = Dice::new(seed, stream);
            (0..3).map(|_| dice.next()).collect::<Vec<_>>()
        };
        assert_eq!(draw(1, 1), draw(1, 1));
        assert_ne!(draw(1, 1), draw(1, 2));
        assert_ne!(draw(1, 1), draw(2, 1));
    }

    #[test]
    fn what_is_drawn_has_its_mean() {
        let mut dice = Dice::new(7, 0);
        let n = 200_000;
        let part = (0..n).map(|_| dice.part()).sum::<f64>() / f64::from(n);
        let gap = (0..n).map(|_| dice.gap(8.0)).sum::<f64>() / f64::from(n);
        let below = (0..n).map(|_| f64::from(dice.below(10))).sum::<f64>() / f64::from(n);
        assert!((part - 0.5).abs() < 0.005 && (gap - 8.0).abs() < 0.08 && (below - 4.5).abs() < 0.05);
        assert_eq!(dice.below(0), 0);
    }

    #[test]
    fn popular_links_come_as_often_as_they_should() {
        let popular = Popular::new(100, 1.0);
        let mut dice = Dice::new(3, 0);
        let mut seen = [0u32; 100];
        (0..100_000).for_each(|_| seen[popular.draw(&mut dice) as usize] += 1);
        let harmonic: f64 = (1..=100).map(|rank| 1.0 / f64::from(rank)).sum();
        for rank in [1, 2, 10] {
            let wanted = 100_000.0 / harmonic / rank as f64;
            assert!((f64::from(seen[rank - 1]) / wanted - 1.0).abs() < 0.06, "rank {rank}: {}", seen[rank - 1]);
        }
    }

    #[test]
    fn percentiles_are_of_what_was_seen() {
        let mut spread = Spread::default();
        assert_eq!(spread.percentile(95.0), Duration::ZERO);
        (1..=100).rev().for_each(|ms| spread.add(ms));
        spread.close();
        let at = |percent| spread.percentile(percent).as_millis();
        assert_eq!((at(0.0), at(50.0), at(95.0), at(100.0)), (1, 50, 95, 100));
        assert_eq!((spread.longest().as_millis(), spread.mean().as_micros()), (100, 50_500));
    }

    #[test]
    fn times_have_their_bounds() {
        let s = Duration::from_secs;
        let between = Times::Between(s(5), s(15));
        assert_eq!((between.at(0.0), between.at(0.5), between.mean()), (s(5), s(10), s(10)));
        assert_eq!(between.compressed(5.0), Times::Between(s(1), s(3)));
        let samples = Times::measured(vec![s(9), s(1), s(2)]).unwrap();
        assert_eq!((samples.at(0.0), samples.at(0.5), samples.at(0.999), samples.mean()), (s(1), s(2), s(9), s(4)));
        assert_eq!(Times::measured(Vec::new()), None);
    }
}
