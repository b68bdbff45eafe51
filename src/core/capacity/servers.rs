//! Parts that serve one after another, and what is counted of them. Owns when each is free again; never draws anything.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

pub(super) fn ms(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX / 4)
}

pub(super) fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX / 4)
}

pub(super) fn span(ms: i64) -> Duration {
    Duration::from_millis(ms.max(0).unsigned_abs())
}

/// Servers that all take the next one who comes, and when each is free again.
pub(super) struct Servers {
    pub(super) free: BinaryHeap<Reverse<i64>>,
    pub(super) most: usize,
}

impl Servers {
    pub(super) fn new(most: u32) -> Servers {
        Servers { free: BinaryHeap::new(), most: most.max(1) as usize }
    }

    /// When the first is free; it is taken, and given back by [`Servers::until`].
    pub(super) fn take(&mut self, at: i64) -> i64 {
        while self.free.peek().is_some_and(|Reverse(free)| *free <= at) {
            self.free.pop();
        }
        if self.free.len() < self.most {
            return at;
        }
        self.free.pop().map_or(at, |Reverse(free)| free)
    }

    pub(super) fn until(&mut self, end: i64) {
        self.free.push(Reverse(end));
    }

    /// Of jobs that take equally long: when one that comes at `at` is through.
    pub(super) fn serve(&mut self, at: i64, takes: i64) -> i64 {
        let end = self.take(at) + takes;
        self.until(end);
        end
    }
}

/// Sums over minutes or days that follow one another; only the largest is kept.
pub(super) struct Largest {
    length: i64,
    current: i64,
    sum: f64,
    pub(super) most: f64,
}

impl Largest {
    pub(super) fn new(length: i64) -> Largest {
        Largest { length: length.max(1), current: i64::MIN, sum: 0.0, most: 0.0 }
    }

    pub(super) fn add(&mut self, at: i64, amount: f64) {
        let current = at.div_euclid(self.length);
        if current != self.current {
            (self.current, self.sum) = (current, 0.0);
        }
        self.sum += amount;
        self.most = self.most.max(self.sum);
    }
}
