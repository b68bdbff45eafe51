//! Who asks for what and when: drawn from a day's curve, or as listed. Owns the randomness of arrivals and of links; knows
//! nothing of what becomes of them.

use std::time::Duration;

use super::chance::{Dice, Popular};
use super::servers::{ms, span};
use super::{Ask, Asked, Daily, Demand, Plan};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// All that is asked in a plan's measured time, in order.
pub(super) fn asks(plan: &Plan) -> Vec<Ask> {
    let warm_up = plan.warm_up;
    let later = |ask: Ask| Some(Ask { at: ask.at.checked_sub(warm_up)?, ..ask });
    let mut all: Vec<Ask> = Stream::messages(plan).chain(Stream::reels(plan)).filter_map(later).collect();
    all.sort_by_key(|ask| ask.at);
    all
}

/// What is asked of one kind, in order of time.
pub(super) enum Stream<'a> {
    Drawn(Box<Drawn>),
    Listed { asks: std::slice::Iter<'a, Ask>, reels: bool, later: Duration },
}

pub(super) struct Drawn {
    dice: Dice,
    people: u32,
    /// Mean milliseconds between two, in each piece of a day: from, to, gap.
    pieces: Vec<(i64, i64, f64)>,
    piece: usize,
    midnight: i64,
    at: f64,
    end: i64,
    links: Option<Links>,
}

struct Links {
    popular: Popular,
    /// Milliseconds, the generation of each place, and when it ends.
    circulates: Option<f64>,
    places: Vec<(u32, f64)>,
    dice: Dice,
}

impl<'a> Stream<'a> {
    pub(super) fn messages(plan: &'a Plan) -> Stream<'a> {
        match &plan.demand {
            Demand::Listed(asks) => Stream::Listed { asks: asks.iter(), reels: false, later: plan.warm_up },
            Demand::Daily(daily) => {
                Stream::Drawn(Box::new(Drawn::new(plan, daily, daily.messages_a_day(), 1, plan.warm_up)))
            }
        }
    }

    pub(super) fn reels(plan: &'a Plan) -> Stream<'a> {
        match &plan.demand {
            Demand::Listed(asks) => Stream::Listed { asks: asks.iter(), reels: true, later: plan.warm_up },
            Demand::Daily(daily) => {
                let mut drawn = Drawn::new(plan, daily, daily.reels_a_day(), 2, Duration::ZERO);
                let popularity = &plan.popularity;
                drawn.links = Some(Links {
                    popular: Popular::new(popularity.catalogue, popularity.exponent),
                    circulates: popularity.circulates.map(|days| days * DAY as f64),
                    places: vec![(0, f64::NAN); popularity.catalogue.max(1) as usize],
                    dice: Dice::new(plan.seed, 3),
                });
                Stream::Drawn(Box::new(drawn))
            }
        }
    }
}

impl Iterator for Stream<'_> {
    type Item = Ask;

    fn next(&mut self) -> Option<Ask> {
        match self {
            Stream::Drawn(drawn) => drawn.next(),
            Stream::Listed { asks, reels, later } => {
                let next = asks.find(|ask| matches!(ask.what, Asked::Reel(_)) == *reels)?;
                Some(Ask { at: next.at + *later, ..*next })
            }
        }
    }
}

impl Drawn {
    fn new(plan: &Plan, daily: &Daily, per_day: f64, stream: u64, from: Duration) -> Drawn {
        let sum: f64 = daily.curve.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        let busiest = daily.busiest();
        let mut pieces = Vec::new();
        for (hour, weight) in daily.curve.iter().enumerate() {
            let begin = hour as i64 * HOUR;
            let length = if hour == busiest.hour { busiest.lasts.as_secs_f64() * 1000.0 } else { HOUR as f64 };
            let wanted = per_day * weight / sum;
            if wanted > 0.0 {
                pieces.push((begin, begin + length as i64, length / wanted));
            }
        }
        let start = ms(from);
        Drawn {
            dice: Dice::new(plan.seed, stream),
            people: daily.people.max(1),
            pieces,
            piece: 0,
            midnight: start,
            at: start as f64,
            end: ms(plan.warm_up + plan.span),
            links: None,
        }
    }

    fn next(&mut self) -> Option<Ask> {
        loop {
            if self.pieces.is_empty() || self.midnight >= self.end {
                return None;
            }
            let Some((from, to, gap)) = self.pieces.get(self.piece).copied() else {
                self.piece = 0;
                self.midnight += DAY;
                continue;
            };
            self.at = self.at.max((self.midnight + from) as f64) + self.dice.gap(gap);
            if self.at >= (self.midnight + to) as f64 {
                self.at = (self.midnight + to) as f64;
                self.piece += 1;
                continue;
            }
            if self.at >= self.end as f64 {
                return None;
            }
            let person = self.dice.below(self.people);
            let at = self.at;
            let what = self.links.as_mut().map_or(Asked::Message, |links| Asked::Reel(links.draw(at)));
            return Some(Ask { at: span(at as i64), person, what });
        }
    }
}

impl Links {
    fn draw(&mut self, at: f64) -> u32 {
        let rank = self.popular.draw(&mut self.dice);
        let catalogue = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        let Some((circulates, place)) = self.circulates.zip(self.places.get_mut(rank as usize)) else { return rank };
        if place.1.is_nan() {
            place.1 = self.dice.gap(circulates);
        }
        while place.1 <= at {
            place.0 += 1;
            place.1 += self.dice.gap(circulates).max(1.0);
        }
        rank.wrapping_add(catalogue.wrapping_mul(place.0))
    }
}
