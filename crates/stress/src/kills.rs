//! Deaths, one after another: people write and paste reels, an instance is killed at any moment of it, and what they are
//! owed must come all the same, once, and be paid for once. Owns the trials and what is counted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;

use super::Stop;
use super::check::Rules;
use super::faults::Faults;
use super::scene::{self, Figures, Play, Played, Scene};
use super::stage::{Clock, Host, Setting};
use super::talk;
use sandbox::Terms;

/// Those who take turns; half of them on each platform.
const PEOPLE: u64 = 36;

/// In each trial so many ask, and so many more paste a reel.
const QUESTIONS: u64 = 4;
const REELS: u64 = 2;
const EACH: u64 = QUESTIONS + REELS;

/// An instance dies so long after they wrote at most: their reels are done by then.
const LATEST: Duration = Duration::from_millis(2_500);

/// One death in three is followed by another one this soon.
const AGAIN: f64 = 1.0 / 3.0;
const SOON: Duration = Duration::from_secs(1);

/// Between two new reels of a person; it is long over when their turn comes again.
const INTERVAL: u64 = 1;

/// What came of all trials together.
#[derive(Debug, Serialize)]
pub struct Killed {
    pub trials: usize,
    pub kills: usize,
    /// Answers owed at a death, over all of them.
    pub owed: usize,
    pub figures: Figures,
    pub reels: Paid,
    pub analyses: Paid,
    /// A call that a death cut is made again, and what the provider had written by then is paid.
    pub answers: Paid,
}

/// What was needed once each, and how often it was paid for to its end.
#[derive(Debug, Serialize)]
pub struct Paid {
    pub needed: usize,
    pub paid: usize,
}

/// Runs the trials on one database, with two instances where it is a server's.
///
/// # Errors
/// When something does not start, or the sandbox is lost. What does not hold is in the figures.
pub async fn kills(
    host: &Host,
    trials: usize,
    seed: u64,
    stop: &Stop,
    progress: &(dyn Fn(f64) + Sync),
) -> anyhow::Result<Killed> {
    let terms = Terms { first_token: 0.3, per_token: 0.01, scrape: 0.3, settles: 0.3, analysis: 0.7, ..Terms::at(1.0) };
    let setting = Setting::new(terms).with("REEL_LANES", 2).with("REEL_INTERVAL_SECONDS", INTERVAL);
    let play = Play {
        setting: Setting { instances: if host.server.is_some() { 2 } else { 1 }, ..setting },
        rules: Rules { lanes: 2, interval_ms: 1_000 * i64::try_from(INTERVAL)?, ..Rules::default() },
        // Nothing else goes wrong.
        faults: Faults::None,
        seed,
        span: LATEST,
        backlog: Duration::ZERO,
        people: PEOPLE,
        lie: None,
    };
    let played = scene::play(host, play, stop, progress, async |scene| {
        scene::greet(scene).await;
        let mut random = StdRng::seed_from_u64(seed ^ 0x0dea_d000);
        for trial in 0..trials {
            if stop.is_cancelled() {
                break;
            }
            one(scene, trial as u64, &mut random).await?;
            // On a server's database the leases of the dead run out first, in which time others can die.
            let is_round = (trial as u64 + 1).is_multiple_of(PEOPLE / EACH) || trial + 1 == trials;
            if host.server.is_none() || is_round {
                scene::drain(scene).await?;
            }
            scene.reached((trial + 1) as f64 / trials as f64);
        }
        Ok(())
    });
    Ok(counted(trials, played.await?))
}

async fn one(scene: &Scene<'_>, trial: u64, random: &mut StdRng) -> anyhow::Result<()> {
    for nth in 0..EACH {
        let (number, who) = (trial * EACH + nth, (trial * EACH + nth) % PEOPLE);
        let reel = (nth >= QUESTIONS).then(|| format!("DK{number:09}"));
        let text = match &reel {
            Some(code) => format!("https://www.instagram.com/reel/{code}/"),
            None => talk::SIMPLE(number),
        };
        scene.crowd.say(scene.wish(who, text, reel, 1.0)).await;
    }
    die(scene, random.random_range(Duration::ZERO..LATEST)).await?;
    if random.random_bool(AGAIN) {
        die(scene, random.random_range(Duration::ZERO..SOON)).await?;
    }
    Ok(())
}

/// An instance is killed after so long, and another one started.
async fn die(scene: &Scene<'_>, after: Duration) -> anyhow::Result<()> {
    tokio::time::sleep(after).await;
    let owed = scene.crowd.owed();
    if scene.stage.kill_bot() {
        scene.course.killed(owed);
        scene.stage.start_bot(Clock::Right).await?;
    }
    Ok(())
}

fn counted(trials: usize, played: Played) -> Killed {
    let Played { figures, history, kills, .. } = played;
    let is_done = |of: &str| history.ledger.iter().filter(|row| row.provider == of && row.outcome == "ok").count();
    let reels: BTreeSet<&str> = history.jobs.iter().map(|job| job.shortcode.as_str()).collect();
    let mut answers: BTreeMap<&str, usize> = history.turns.iter().map(|turn| (turn.id.as_str(), 0)).collect();
    for row in history.ledger.iter().filter(|row| row.provider == "openai" && row.outcome == "ok") {
        let turn = row.key.split(':').next().unwrap_or_default();
        answers.entry(turn).and_modify(|calls| *calls += 1);
    }
    let answers: Vec<usize> = answers.into_values().filter(|calls| *calls > 0).collect();
    Killed {
        trials,
        kills: kills.len(),
        owed: kills.iter().sum(),
        // The runs that Apify has started, whatever the ledger says of them.
        reels: Paid { needed: reels.len(), paid: figures.reels },
        analyses: Paid { needed: reels.len(), paid: is_done("gemini") },
        answers: Paid { needed: answers.len(), paid: answers.iter().sum() },
        figures,
    }
}
