//! The settings that are compared: what differs between them, and how much of it there is. Owns the numbers; plays nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use reelcoach::core::capacity::Plan;
use reelcoach::core::capacity::chance::{Dice, Popular};
use stress::storm::{Arrival, StormSetting};

/// One setting. Times are as in life.
pub struct Compared {
    pub name: &'static str,
    pub about: &'static str,
    pub storm: StormSetting,
    /// The part of the reels that cannot be read.
    pub unreadable: f64,
    /// On PostgreSQL, where a server is given.
    pub on_server: bool,
}

const SEED: u64 = 20_261_124;

/// How many times as fast most are played. Of a line that is nearly as busy as it can be, a little more work makes a much
/// longer wait, and of short reels it is a larger part; what the machine takes for it is not compressed. Such settings are
/// played more slowly.
const COMPRESS: u32 = 10;
const BUSY: u32 = 5;

/// Every setting; `quick`: half of the reels.
pub fn all(quick: bool) -> Vec<Compared> {
    let s = Duration::from_secs;
    let one = |name, about, storm| Compared { name, about, storm, unreadable: 0.0, on_server: false };
    let some = |reels: u32| if quick { reels / 2 } else { reels };
    // So many reels, each another one's and of another person, at `load` of what the lanes can do.
    let even = |lanes: u32, each: f64, reels: u32, load: f64| {
        let reels = some(reels);
        let span = f64::from(reels) * each / f64::from(lanes) / load;
        usual(lanes, StormSetting::arrivals(reels, reels, u32::MAX, Duration::from_secs_f64(span), SEED))
    };
    let storm = |lanes: u32, reels: u32| usual(lanes, crowd(some(reels), s(60)));
    let reels_of =
        |people: u32, reels: u32, span: u64| StormSetting::arrivals(people, some(reels), u32::MAX, s(span), SEED);
    let mut all = vec![
        one(
            "1-half",
            "1 lane, half loaded, reels of 10 s",
            StormSetting { scrape: s(3), analysis: s(7), compress: BUSY, ..even(1, 10.0, 64, 0.5) },
        ),
        one("1-storm", "1 lane, 64 people within a minute", storm(1, 64)),
        one("2-half", "2 lanes, half loaded", even(2, 25.0, 80, 0.5)),
        one("2-busy", "2 lanes, 90 % loaded, merge window 800 ms", {
            StormSetting { merge: Duration::from_millis(800), compress: BUSY, ..even(2, 25.0, 90, 0.9) }
        }),
        one("2-storm", "2 lanes, 80 people within a minute", storm(2, 80)),
        one("3-busy", "3 lanes, 90 % loaded", StormSetting { compress: BUSY, ..even(3, 25.0, 120, 0.9) }),
        one("5-storm", "5 lanes, 150 people within a minute", storm(5, 150)),
        one(
            "1-and-1",
            "1 lane and 1 workflow of 40 s, 85 % loaded",
            StormSetting { workflows: 1, workflow: s(40), ..even(1, 25.0 * 40.0 / 65.0, 90, 0.85) },
        ),
        one("2-and-3", "2 lanes and 3 workflows, 150 people within a minute", {
            StormSetting { workflows: 3, ..storm(2, 150) }
        }),
        one("workflows", "no lane, 2 workflows, 80 people within a minute", {
            StormSetting { workflows: 2, ..storm(0, 80) }
        }),
        one("4-people", "5 lanes, 4 people with 20 reels each: their 30 s bind", usual(5, reels_of(4, 80, 60))),
        one("1-person", "2 lanes, one person who asks for 60 reels in 5 min: 20 s bind", {
            StormSetting { interval: s(20), ..usual(2, reels_of(1, 60, 300)) }
        }),
        one("few-links", "2 lanes, 240 asks for 12 links in 5 min", usual(2, few_links(some(240)))),
        one("popular", "2 lanes, 300 asks for 150 links by Zipf (1.1) in 15 min", {
            usual(2, popular(some(300), 150, s(900)))
        }),
        one(
            "short",
            "3 lanes, reels of 6 s, 120 people within a minute",
            StormSetting { scrape: s(2), analysis: s(4), compress: BUSY, ..storm(3, 120) },
        ),
        one(
            "long",
            "5 lanes, reels of 90 s, 60 people within a minute",
            StormSetting { scrape: s(30), analysis: s(60), ..storm(5, 60) },
        ),
        one("spread-busy", "3 lanes, reels of 25 s ± 40 %, 85 % loaded", {
            StormSetting { spread: 0.4, compress: BUSY, ..even(3, 25.0, 120, 0.85) }
        }),
        one("spread-storm", "3 lanes, reels of 25 s ± 40 %, 120 people within a minute", {
            StormSetting { spread: 0.4, ..storm(3, 120) }
        }),
        one("requests", "2 lanes, 240 asks for 12 links in 5 min, 12 model calls a minute", {
            let compress = 10;
            StormSetting { rpm: Some(12 * compress), compress, ..usual(2, few_links(some(240))) }
        }),
        one("tokens", "the same with the tokens of 15 calls a minute, each of 4,000", {
            let compress = 10;
            StormSetting { tpm: Some(15 * 4_000 * u64::from(compress)), compress, ..usual(2, few_links(some(240))) }
        }),
        one("slow-model", "3 lanes, 85 % loaded, answers that begin after 20 s", {
            StormSetting { first_token: s(20), compress: BUSY, ..even(3, 25.0, 90, 0.85) }
        }),
    ];
    all.push(Compared {
        unreadable: 0.25,
        ..one("gone", "2 lanes, 90 people within a minute, a quarter of the reels deleted", storm(2, 90))
    });
    all.push(Compared {
        on_server: true,
        ..one("postgres", "2 lanes, 80 people within a minute, on PostgreSQL", storm(2, 80))
    });
    for compared in &mut all {
        let plan = compared.drawn();
        let reels: BTreeSet<u32> = compared.storm.arrivals.iter().map(|arrival| arrival.reel).collect();
        compared.storm.gone = reels.into_iter().filter(|reel| plan.is_unreadable(*reel)).collect();
    }
    all
}

impl Compared {
    /// The plan by whose draw it is decided which reels are gone.
    pub fn drawn(&self) -> Plan {
        let mut plan = Plan { seed: SEED, ..Plan::default() };
        plan.popularity.unreadable = self.unreadable;
        plan
    }
}

fn usual(lanes: u32, arrivals: Vec<Arrival>) -> StormSetting {
    let first_token = Duration::from_secs(2);
    StormSetting {
        lanes,
        compress: COMPRESS,
        first_token,
        per_token: Duration::ZERO,
        ..StormSetting::usual(arrivals, SEED)
    }
}

/// As many people, each with a reel of their own.
fn crowd(people: u32, span: Duration) -> Vec<Arrival> {
    StormSetting::arrivals(people, people, u32::MAX, span, SEED)
}

/// Twelve links that everybody asks for, two of each person in 5 min.
fn few_links(asks: u32) -> Vec<Arrival> {
    StormSetting::arrivals(asks.div_ceil(2), asks, 12, Duration::from_secs(300), SEED)
}

/// Each of them another person's.
fn popular(asks: u32, links: u32, span: Duration) -> Vec<Arrival> {
    let popular = Popular::new(links, 1.1);
    let mut dice = Dice::new(SEED, 0);
    let evenly = StormSetting::arrivals(asks, asks, u32::MAX, span, SEED);
    evenly.into_iter().map(|arrival| Arrival { reel: popular.draw(&mut dice), ..arrival }).collect()
}
