//! How true the told times are: what the product says of each waiting reel at every moment, against the moment at
//! which its coaching really began.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reelcoach::clock::{Clock, Timestamp};
use reelcoach::core::board::Boards;
use reelcoach::core::outbox::Outbox;
use reelcoach::core::presence::Presence;
use reelcoach::core::reels::Reels;
use reelcoach::core::wording::ReelState;
use reelcoach::core::worker;
use reelcoach::ids::{JobId, PersonId, Shortcode};
use reelcoach::store::boards::BoardReel;
use reelcoach::store::reels::SubscriptionState;
use sandbox::Settings;
use serde_json::json;

use crate::bot::{Bot, link, until};
use crate::database::Outcome;
use crate::{Found, at};

const LANES: usize = 3;
/// The scrape and the analysis at the sandbox's usual speed.
const SCRAPE: f64 = 2.5;
const ANALYSIS: f64 = 5.0;
/// A reel takes this part more or less, evenly spread.
const VARIES: f64 = 0.2;
const BOUND: f64 = 0.2;

/// One thing said of one reel.
struct Told {
    job: String,
    at: Timestamp,
    end: Timestamp,
}

pub async fn run(quick: bool) -> Outcome<Found> {
    let people = if quick { 24 } else { 72 };
    let settings = Settings { port: 0, speed: 1.0, enforce_limits: false };
    let mut bot = Bot::start(settings, None, &[("REEL_LANES", LANES.to_string())]).await?;
    let store = bot.store.clone();
    let outbox = Arc::new(Outbox::new(Vec::new(), store.clone(), Clock::System));
    let http = reelcoach::upstream::http_client()?;
    let reels = Arc::new(Reels::new(store.clone(), Clock::System, http, &bot.config.reels));
    let presence = Arc::new(Presence::new(store.clone(), outbox.clone(), reels, Clock::System));
    let boards = Boards::new(store.clone(), outbox, presence, Clock::System, worker::lanes(&bot.config));
    let mut random = StdRng::seed_from_u64(11);
    let mut told: Vec<Told> = Vec::new();
    // The first guess is of the real services, which take 27 s: a few reels tell the product the sandbox's time.
    let warm = LANES * 2;
    for person in 0..warm {
        ask(&bot, person)?;
    }
    let mut vary = vary(&mut random);
    until("the warm-up is through", Duration::from_secs(120), async || {
        bot.sandbox.apify.set_scrape(vary());
        Ok(bot.database.number("SELECT COUNT(*) FROM jobs WHERE state = 'done'").await? >= i64::try_from(warm)?)
    })
    .await?;
    // They come twice as fast as they can be served, so that the line grows to half of them.
    let pause = (SCRAPE + ANALYSIS) / LANES as f64 / 2.0;
    let mut arrivals = StdRng::seed_from_u64(12);
    let mut next = tokio::time::Instant::now();
    let (mut asked, mut last_look) = (0, tokio::time::Instant::now());
    loop {
        bot.sandbox.apify.set_scrape(vary());
        while asked < people && tokio::time::Instant::now() >= next {
            ask(&bot, warm + asked)?;
            asked += 1;
            next += Duration::from_secs_f64(pause * -arrivals.random_range(1e-6_f64..1.0).ln());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        if last_look.elapsed() < Duration::from_millis(250) {
            continue;
        }
        last_look = tokio::time::Instant::now();
        let live: Vec<(String, String)> = bot
            .database
            .rows("SELECT id, shortcode FROM jobs WHERE state IN ('queued', 'running') ORDER BY ready_at, id")
            .await?;
        if live.is_empty() && asked == people {
            break;
        }
        let view = boards.view().await?;
        // What is told of the time left is the same for everybody who reads.
        let reader = PersonId::new();
        let now = Clock::System.now();
        for (job, code) in live {
            let shortcode: Shortcode = code.parse()?;
            let id: JobId = job.parse()?;
            let reel = BoardReel { shortcode, state: SubscriptionState::Waiting, job: Some(id), failure: None };
            if let Some(
                ReelState::Queued { left, .. } | ReelState::Scraping { left, .. } | ReelState::Analysing { left, .. },
            ) = view.state(reader, &reel, now)
            {
                told.push(Told { job, at: now, end: now + left });
            }
        }
    }
    let ends: Vec<(String, i64, i64)> = bot
        .database
        .rows("SELECT id, ready_at, finished_at FROM jobs WHERE state = 'done' ORDER BY ready_at, id")
        .await?;
    until("every reel is answered", Duration::from_secs(60), async || Ok(store.is_idle().await?)).await?;
    bot.end().await?;
    Ok(judge(people, &told, &ends))
}

fn ask(bot: &Bot, person: usize) -> Outcome<()> {
    let chat = i64::try_from(person)? + 1;
    bot.sandbox.telegram.say(chat, chat, "Person", &link(person));
    Ok(())
}

/// The scrape's time of the next run, such that the whole reel takes ±20 %.
fn vary(random: &mut StdRng) -> impl FnMut() -> Duration {
    let spread = VARIES * (SCRAPE + ANALYSIS);
    move || Duration::from_secs_f64(SCRAPE + random.random_range(-spread..spread))
}

fn judge(people: usize, told: &[Told], ends: &[(String, i64, i64)]) -> Found {
    let truth: HashMap<&str, i64> = ends.iter().map(|(job, _, end)| (job.as_str(), *end)).collect();
    let error = |told: &Told| {
        let end = *truth.get(told.job.as_str())?;
        let left = end - told.at.0;
        (left > 0).then(|| (told.end.0 - end).abs() as f64 / left as f64)
    };
    let mut first: HashMap<&str, &Told> = HashMap::new();
    for told in told {
        first.entry(told.job.as_str()).or_insert(told);
    }
    let mut at_first: Vec<f64> = first.values().filter_map(|told| error(told)).collect();
    let mut always: Vec<f64> = told.iter().filter_map(error).collect();
    at_first.sort_unstable_by(f64::total_cmp);
    always.sort_unstable_by(f64::total_cmp);
    // Neighbours in the line, as each was told on coming.
    let line: Vec<(&Told, i64)> =
        ends.iter().filter_map(|(job, _, end)| first.get(job.as_str()).map(|told| (*told, *end))).collect();
    let told_jump = line.windows(2).map(|pair| (pair[1].0.end.0 - pair[0].0.end.0).abs()).max().unwrap_or(0);
    let true_jump = line.windows(2).map(|pair| (pair[1].1 - pair[0].1).abs()).max().unwrap_or(0);
    // One person, from one look to the next.
    let mut latest: HashMap<&str, i64> = HashMap::new();
    let mut own_jump = 0;
    for told in told {
        if let Some(before) = latest.insert(&told.job, told.end.0) {
            own_jump = own_jump.max((told.end.0 - before).abs());
        }
    }
    let past = told.iter().filter(|told| told.end <= told.at).count();
    let wait = |part| {
        let mut waits: Vec<i64> = line.iter().map(|(told, end)| end - told.at.0).collect();
        waits.sort_unstable();
        at(&waits, part) as f64 / 1e3
    };
    let (median, p90) = (at(&at_first, 0.5), at(&at_first, 0.9));
    let seconds = |ms: i64| ms as f64 / 1e3;
    println!(
        "ETA: {people} people come to {LANES} lanes twice as fast as they can be served; a reel takes {:.1} s ±20 % at random.",
        SCRAPE + ANALYSIS
    );
    println!("  they waited {:.0} s (median) to {:.0} s (longest) until their coaching began", wait(0.5), wait(1.0));
    println!(
        "  |told - true| / true, on coming:     median {:.1} %   p90 {:.1} %   ({} reels)",
        median * 100.0,
        p90 * 100.0,
        at_first.len()
    );
    println!(
        "  the same four times a second:        median {:.1} %   p90 {:.1} %   ({} times)",
        at(&always, 0.5) * 100.0,
        at(&always, 0.9) * 100.0,
        always.len()
    );
    println!(
        "  largest jump between neighbours:     told {:.1} s, true {:.1} s",
        seconds(told_jump),
        seconds(true_jump)
    );
    println!("  largest jump of one person's time:   {:.1} s from one look to the next", seconds(own_jump));
    println!("  told to be in the past:              {past} times");
    let mut broken = Vec::new();
    if at_first.len() < people {
        broken.push(format!("eta: only {} of {people} were told a time", at_first.len()));
    }
    if median > BOUND {
        broken.push(format!("eta: median error {:.1} %, promised 20 %", median * 100.0));
    }
    if past > 0 {
        broken.push(format!("eta: {past} told times were in the past"));
    }
    let figures = json!({"people": people, "lanes": LANES, "median": median, "p90": p90, "always_median": at(&always, 0.5),
        "always_p90": at(&always, 0.9), "told_jump_s": seconds(told_jump), "true_jump_s": seconds(true_jump),
        "own_jump_s": seconds(own_jump), "in_the_past": past});
    Found { figures, broken }
}
