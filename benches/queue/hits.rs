//! How many requests cost nothing: days of requests through the real store on SQLite, at a time of our own. Owns the
//! popularity of links and the length of a run; what is cached, joined or remembered is the store's to decide.
//!
//! Which links people send is not known; what is assumed stands beside each figure. A catalogue is the distinct reels
//! that circulate at one time, and rank r of it is asked for in proportion to 1/r^1.1. With a lifetime, each place in
//! it is taken by a new reel after so many days on average, because reels go out of fashion.

use std::collections::HashMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reelcoach::clock::Timestamp;
use reelcoach::core::reels::pipeline::{PIPELINE_VERSION, ReelFailure};
use reelcoach::ids::{ChatId, InstanceId, PersonId, Platform, Shortcode, TurnId};
use reelcoach::store::Store;
use reelcoach::store::lanes::Lane;
use reelcoach::store::reels::{Claimed, JobEnd, QueueLimits, Submitted, Wish};
use serde_json::{Value, json};

use crate::Found;
use crate::database::{Database, Outcome};

const START: i64 = 1_790_000_000_000;
const DAY: i64 = 86_400_000;
const SKEW: f64 = 1.1;
const CACHE: Duration = Duration::from_secs(30 * 86_400);
/// As long as nothing in the cache is too old yet.
const WARM_UP: i64 = 30;
/// Of a hundred links: deleted or private, and not a video. An assumption; there is no published figure.
const UNAVAILABLE: u64 = 4;
const NOT_VIDEO: u64 = 2;
const BOUND: f64 = 0.7;

struct Scenario {
    name: &'static str,
    requests_per_day: f64,
    people: usize,
    catalogue: usize,
    days: i64,
    /// How often the days are lived through, each time with other links: a popular one that is gone weighs heavily.
    times: u64,
    /// Days for which a reel circulates; `None`: for ever.
    lifetime: Option<f64>,
    /// Whether the promise is about this one.
    stated: bool,
}

#[derive(Default)]
struct Counts {
    requests: u64,
    cached: u64,
    joined: u64,
    failed: u64,
    queued: u64,
    denied: u64,
}

impl Counts {
    fn free(&self) -> f64 {
        (self.cached + self.joined + self.failed) as f64 / self.requests.max(1) as f64
    }
}

pub async fn run(quick: bool) -> Outcome<Found> {
    println!(
        "Hits: requests at random moments (Poisson), links by Zipf with s = {SKEW}, cache of 30 days, 25-30 s a run on 2 lanes,\n\
         {UNAVAILABLE} % of the links unavailable and {NOT_VIDEO} % no video. `free`: cached, joined or a remembered failure, of all requests after\n\
         the first {WARM_UP} days (in brackets: with them). Scenario 2: four times 60 days, 3: 40 days. The promise is about the rows marked *."
    );
    println!(
        "    scenario   requests/day  catalogue  circulates   cached   joined   failed   bought   denied      free"
    );
    let (mut figures, mut broken) = (Vec::new(), Vec::new());
    for scenario in scenarios(quick) {
        let (mut warm, mut all) = (Counts::default(), Counts::default());
        for time in 0..scenario.times {
            simulate(&scenario, time, &mut warm, &mut all).await?;
        }
        let part = |count: u64| count as f64 * 100.0 / warm.requests.max(1) as f64;
        let circulates = scenario.lifetime.map_or("for ever".to_owned(), |days| format!("{days:.0} days"));
        println!(
            "  {} {:<10} {:>12} {:>10}  {circulates:>10} {:>6.1} % {:>6.1} % {:>6.1} % {:>6.1} % {:>6.1} %  {:>6.1} % ({:.1} %)",
            if scenario.stated { '*' } else { ' ' },
            scenario.name,
            scenario.requests_per_day,
            scenario.catalogue,
            part(warm.cached),
            part(warm.joined),
            part(warm.failed),
            part(warm.queued),
            part(warm.denied),
            warm.free() * 100.0,
            all.free() * 100.0
        );
        if scenario.stated && warm.free() < BOUND {
            let free = warm.free() * 100.0;
            broken.push(format!(
                "hits: {free:.1} % free in {}, {} links: promised 70 %",
                scenario.name, scenario.catalogue
            ));
        }
        figures.push(figure(&scenario, &warm, &all));
    }
    Ok(Found { figures: json!(figures), broken })
}

fn figure(scenario: &Scenario, warm: &Counts, all: &Counts) -> Value {
    json!({"scenario": scenario.name, "requests_per_day": scenario.requests_per_day, "catalogue": scenario.catalogue,
        "lifetime_days": scenario.lifetime, "stated": scenario.stated, "requests": warm.requests, "cached": warm.cached,
        "joined": warm.joined, "remembered_failures": warm.failed, "bought": warm.queued, "denied": warm.denied,
        "free": warm.free(), "free_with_warm_up": all.free()})
}

fn scenarios(quick: bool) -> Vec<Scenario> {
    let mut all = Vec::new();
    let some = [("Scenario 2", 100.0, 500, 60, if quick { 1 } else { 4 }), ("Scenario 3", 1000.0, 5000, 40, 1)];
    for (name, requests_per_day, people, days, times) in some {
        for catalogue in [200, 500, 1000, 5000] {
            for lifetime in [None, Some(30.0)] {
                let stated = catalogue == 1000 && lifetime.is_none();
                if !quick || stated || requests_per_day < 200.0 {
                    all.push(Scenario { name, requests_per_day, people, catalogue, days, times, lifetime, stated });
                }
            }
        }
    }
    all
}

/// Counts what comes after the warm-up, and all.
async fn simulate(scenario: &Scenario, time: u64, warm: &mut Counts, all: &mut Counts) -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let database = Database::make(folder.path(), None, "hits").await?;
    let store = Store::open(&database.url, 2).await?;
    store.migrate().await?;
    let mut random = StdRng::seed_from_u64(scenario.catalogue as u64 * 10 + time);
    let mut people: HashMap<usize, PersonId> = HashMap::new();
    let mut catalogue = Catalogue::new(scenario, time, &mut random);
    let mut upstream = Upstream::new();
    let mut now = START;
    loop {
        let gap = -random.random_range(1e-9_f64..1.0).ln() / scenario.requests_per_day * DAY as f64;
        let next = now + gap as i64;
        upstream.until(&store, now, next, &mut random).await?;
        now = next;
        if now > START + scenario.days * DAY {
            break;
        }
        let number = random.random_range(0..scenario.people);
        let at = Timestamp(now);
        let person = match people.get(&number) {
            Some(person) => *person,
            None => {
                let person = store.person(Platform::Telegram, &number.to_string(), "Person", at).await?;
                people.insert(number, person);
                person
            }
        };
        let code: Shortcode = catalogue.link(now, &mut random).parse()?;
        let chat = ChatId::new(Platform::Telegram, number.to_string());
        let outcome = submit(&store, TurnId::new(), person, &chat, &code, limits(), at).await?;
        for counts in [Some(&mut *all), (now >= START + WARM_UP * DAY).then_some(&mut *warm)].into_iter().flatten() {
            counts.requests += 1;
            *match outcome {
                Submitted::Cached => &mut counts.cached,
                Submitted::Joined => &mut counts.joined,
                Submitted::Failed(_) => &mut counts.failed,
                Submitted::Queued { .. } => &mut counts.queued,
                Submitted::Denied(_) => &mut counts.denied,
            } += 1;
        }
    }
    store.close().await;
    database.remove().await?;
    Ok(())
}

/// The product's usual limits.
pub fn limits() -> QueueLimits {
    QueueLimits { interval: Duration::from_secs(30), waiting_per_person: 5, waiting: 500, pipeline: PIPELINE_VERSION }
}

/// One person wishes for one reel.
pub async fn submit(
    store: &Store,
    turn: TurnId,
    person: PersonId,
    chat: &ChatId,
    code: &Shortcode,
    limits: QueueLimits,
    now: Timestamp,
) -> Outcome<Submitted> {
    let reels = std::slice::from_ref(code);
    let wish = Wish { turn, person, chat, reply_to: None, placeholder: None, question: "", reels, fresh: false };
    let outcomes = store.submit(&wish, limits, &|_| String::new(), now).await?;
    outcomes.into_iter().next().ok_or_else(|| "nothing became of a wish".into())
}

/// The links that circulate.
struct Catalogue {
    /// Summed shares of the ranks.
    shares: Vec<f64>,
    /// Each rank's reel: a number, and until when it circulates.
    reels: Vec<(u64, i64)>,
    lifetime: Option<f64>,
    made: u64,
}

impl Catalogue {
    fn new(scenario: &Scenario, time: u64, random: &mut StdRng) -> Catalogue {
        let mut sum = 0.0;
        let share = |rank: usize| {
            sum += (rank as f64).powf(-SKEW);
            sum
        };
        let shares: Vec<f64> = (1..=scenario.catalogue).map(share).collect();
        let mut catalogue =
            Catalogue { shares, reels: Vec::new(), lifetime: scenario.lifetime, made: time * 100_000_000 };
        for _ in 0..scenario.catalogue {
            let reel = catalogue.new_reel(START, random);
            catalogue.reels.push(reel);
        }
        catalogue
    }

    fn new_reel(&mut self, now: i64, random: &mut StdRng) -> (u64, i64) {
        self.made += 1;
        let days = self.lifetime.map(|mean| -random.random_range(1e-9_f64..1.0).ln() * mean);
        (self.made, days.map_or(i64::MAX, |days| now + (days * DAY as f64) as i64))
    }

    fn link(&mut self, now: i64, random: &mut StdRng) -> String {
        let wanted = random.random_range(0.0..self.shares.last().copied().unwrap_or(1.0));
        let rank = self.shares.partition_point(|sum| *sum < wanted).min(self.reels.len() - 1);
        if self.reels[rank].1 < now {
            self.reels[rank] = self.new_reel(now, random);
        }
        format!("DH{:09}", self.reels[rank].0)
    }
}

/// Two lanes that take 25-30 s for a reel.
struct Upstream {
    instance: InstanceId,
    lanes: [Lane; 2],
    running: Vec<(i64, Claimed)>,
}

impl Upstream {
    fn new() -> Upstream {
        Upstream { instance: InstanceId::new(), lanes: [Lane::direct(0), Lane::direct(1)], running: Vec::new() }
    }

    /// Everything that happens between two requests.
    async fn until(&mut self, store: &Store, from: i64, to: i64, random: &mut StdRng) -> Outcome<()> {
        let mut now = from;
        loop {
            while self.running.len() < self.lanes.len() {
                let lease = Duration::from_secs(120);
                let Some(job) = store.claim_job(self.instance, &self.lanes, Timestamp(now), lease).await? else {
                    break;
                };
                self.running.push((now + random.random_range(25_000..=30_000), job));
            }
            let ready = store.next_ready().await?.map(|at| at.0).filter(|at| *at > now && self.running.len() < 2);
            let first =
                self.running.iter().enumerate().min_by_key(|(_, (end, _))| *end).map(|(at, (end, _))| (at, *end));
            match (first, ready) {
                (Some((at, end)), ready) if end <= to && ready.is_none_or(|ready| end <= ready) => {
                    now = end;
                    let (_, job) = self.running.swap_remove(at);
                    store.finish_job(&job, &ended(&job.shortcode, now), limits().interval, Timestamp(now)).await?;
                }
                (_, Some(ready)) if ready <= to => now = ready,
                _ => return Ok(()),
            }
        }
    }
}

/// What becomes of a reel: always the same of the same one.
fn ended(code: &Shortcode, now: i64) -> JobEnd {
    let number: u64 =
        code.as_str().bytes().skip(2).fold(0, |all, digit| all * 10 + u64::from(digit.saturating_sub(b'0')));
    let chance = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let failure = match chance % 100 {
        chance if chance < UNAVAILABLE => ReelFailure::Unavailable,
        chance if chance < UNAVAILABLE + NOT_VIDEO => ReelFailure::NotVideo,
        _ => {
            return JobEnd::Done {
                content: "{}".to_owned(),
                pipeline: PIPELINE_VERSION,
                until: Timestamp(now) + CACHE,
            };
        }
    };
    let until = Timestamp(now) + failure.lifetime();
    JobEnd::Failed { content: "{}".to_owned(), pipeline: PIPELINE_VERSION, until, refund: false }
}
