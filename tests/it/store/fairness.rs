//! That the line is fair, over many random afternoons: a simulation with a clock of its own. Each seed is a case of its
//! own and always the same one.

use std::collections::BTreeMap;

use super::*;

/// How long a reel takes on each lane.
const WORK: Duration = Duration::from_secs(28);
const LANES: u32 = 2;

/// One reel of the simulation.
#[derive(Clone, Debug)]
struct Seen {
    who: usize,
    asked: Timestamp,
    ready: Timestamp,
    /// How many were asked for before.
    at: usize,
    started: Option<Timestamp>,
}

/// xorshift64*, so that a case is named by its seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }
}

/// The line with its lanes, second by second.
struct Afternoon<'a> {
    db: &'a TestDb,
    people: Vec<PersonId>,
    running: Vec<(Claimed, Timestamp)>,
    seen: BTreeMap<u32, Seen>,
    /// In the order of their starts.
    started: Vec<u32>,
}

impl<'a> Afternoon<'a> {
    async fn new(db: &'a TestDb, people: usize) -> Self {
        let mut all = Vec::new();
        for n in 0..people {
            all.push(person(db, &format!("person {n}")).await);
        }
        Self { db, people: all, running: Vec::new(), seen: BTreeMap::new(), started: Vec::new() }
    }

    /// Somebody asks for new reels; those that were taken are noted.
    async fn asks(&mut self, who: usize, reels: &[u32], now: Timestamp) {
        let outcomes = submit(self.db, self.people[who], reels, now).await;
        for (reel, outcome) in reels.iter().zip(outcomes) {
            match outcome {
                Submitted::Queued { ready_at } => {
                    let at = self.seen.len();
                    self.seen.insert(*reel, Seen { who, asked: now, ready: ready_at, at, started: None });
                }
                Submitted::Denied(_) => {}
                other => panic!("reel {reel} is new: {other:?}"),
            }
        }
    }

    /// Ends what is through, starts what may start, and checks that no lane idles while somebody is ready.
    async fn tick(&mut self, now: Timestamp) {
        let (over, going) = self.running.drain(..).partition(|(_, until)| *until <= now);
        self.running = going;
        let over: Vec<(Claimed, Timestamp)> = over;
        for (job, _) in over {
            assert!(self.db.finish_job(&job, &done(), INTERVAL, now).await.unwrap());
        }
        while let Some(job) = self.db.claim_job(InstanceId::new(), &lanes(LANES, 0), now, WORK * 2).await.unwrap() {
            let n: u32 = job.shortcode.as_str()["REEL".len()..].parse().unwrap();
            let seen = self.seen.get_mut(&n).expect("only what was asked for starts");
            assert_eq!(seen.started.replace(now), None, "reel {n} starts once");
            assert!(seen.ready <= now, "reel {n} starts before its time");
            self.started.push(n);
            self.running.push((job, now + WORK));
            assert!(self.running.len() <= LANES as usize);
        }
        let ready = self.seen.values().filter(|seen| seen.started.is_none() && seen.ready <= now).count();
        assert!(self.running.len() == LANES as usize || ready == 0, "{ready} are ready and a lane idles");
    }

    fn is_over(&self) -> bool {
        self.running.is_empty() && self.seen.values().all(|seen| seen.started.is_some())
    }

    fn started(&self, n: u32) -> Timestamp {
        self.seen[&n].started.expect("it has started")
    }

    /// Whoever was ready first (among equals: asked first) started first.
    fn in_order(&self) {
        let order: Vec<_> = self.started.iter().map(|n| ((self.seen[n].ready, self.seen[n].at), n)).collect();
        // Of two, the later ready may have started first only if the other one was not asked for yet.
        for (at, (place, n)) in order.iter().enumerate() {
            for (later_place, later) in &order[at + 1..] {
                assert!(
                    place < later_place || self.seen[later].asked > self.started(**n),
                    "reel {n} {place:?} started before reel {later} {later_place:?}"
                );
            }
        }
    }
}

/// All of these are asked for at once, and the line runs until it is empty.
async fn starts<'a>(db: &'a TestDb, asks: &[(usize, Vec<u32>)], begin: Timestamp) -> Afternoon<'a> {
    let mut afternoon = Afternoon::new(db, 21).await;
    for (who, reels) in asks {
        afternoon.asks(*who, reels, begin).await;
    }
    let mut now = begin;
    while !afternoon.is_over() {
        afternoon.tick(now).await;
        now = now + Duration::from_secs(1);
        assert!(now < begin + Duration::from_secs(3600), "it comes to an end");
    }
    afternoon
}

on_both! {
    async fn five_links_of_one_person_delay_nobody_by_more_than_a_slot(db: TestDb) {
        // The one with five is there first, which is the worst for the others.
        let greedy = (20, vec![900, 901, 902, 903, 904]);
        let others: Vec<(usize, Vec<u32>)> = (0..20).map(|n| (n, vec![n as u32])).collect();
        let with: Vec<_> = std::iter::once(greedy.clone()).chain(others.clone()).collect();
        let with = starts(&db, &with, START).await;
        with.in_order();
        // The same without that person, later.
        let others: Vec<(usize, Vec<u32>)> = (0..20).map(|n| (n, vec![100 + n as u32])).collect();
        let without = starts(&db, &others, at(7200)).await;
        for n in 0..20 {
            let waited = with.started(n).since(START);
            let undisturbed = without.started(100 + n).since(at(7200));
            assert!(waited <= undisturbed + WORK, "person {n} waited {waited:?} instead of {undisturbed:?}");
        }
        // The one with five gets them all, none before its time.
        let own: Vec<Duration> = greedy.1.iter().map(|n| with.started(*n).since(START)).collect();
        assert_eq!(own[0], Duration::ZERO, "the first of them was the first of all");
        assert!((0..5).zip(&own).all(|(n, waited)| *waited >= INTERVAL * n), "{own:?}");
    }

    async fn nobody_starves_whoever_comes_when(db: TestDb) {
        for seed in 1..=6_u64 {
            let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let mut afternoon = Afternoon::new(&db, 12).await;
            let begin = START + Duration::from_secs(seed * 20_000);
            let mut next = u32::try_from(seed).unwrap() * 1000;
            let mut now = begin;
            let arrivals = begin + Duration::from_secs(240);
            loop {
                let is_open = now < arrivals;
                if is_open {
                    // About one reel in 14 s, which the lanes can just do; some bring five at once.
                    if dice.below(10) == 0 {
                        let who = dice.below(12) as usize;
                        let many = if dice.below(6) == 0 { 5 } else { 1 };
                        let reels: Vec<u32> = (0..many).map(|n| next + n).collect();
                        next += many;
                        afternoon.asks(who, &reels, now).await;
                    }
                } else if afternoon.is_over() {
                    break;
                }
                afternoon.tick(now).await;
                assert!(now < arrivals + Duration::from_secs(3600), "seed {seed}: it comes to an end");
                now = now + Duration::from_secs(1);
            }
            assert!(afternoon.seen.len() > 10, "seed {seed}: {} came", afternoon.seen.len());
            afternoon.in_order();
            for (n, seen) in &afternoon.seen {
                // Nobody waits for more than those who were ready before them, and those at work.
                let is_before = |other: &Seen| (other.ready, other.at) < (seen.ready, seen.at) && other.started > Some(seen.ready);
                let before = u32::try_from(afternoon.seen.values().filter(|other| is_before(other)).count()).unwrap();
                let bound = WORK * (before / LANES + 1) + Duration::from_secs(2);
                let waited = seen.started.unwrap().since(seen.ready);
                assert!(waited <= bound, "seed {seed}: reel {n} of person {} waited {waited:?} behind {before}", seen.who);
            }
        }
    }
}
