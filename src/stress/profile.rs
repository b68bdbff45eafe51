//! The three scenarios of the operator's guide, in their busiest hour and compressed. Owns their numbers and how they are
//! made into arrivals.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::scene::{Play, Scene};
use super::stage::Host;
use super::storm::{self, Arrival, StormSetting};
use super::{Profile, Settings, talk};

/// Part of a day's messages that fall into its busiest hour.
const BUSIEST: f64 = 0.12;

/// How many times faster than in life it runs. The 30 s between a person's reels become 1 s: the configuration knows
/// whole seconds.
const COMPRESS: u32 = 30;

/// Of a hundred reels, so many are of the few links that everybody passes around.
const POPULAR: f64 = 0.3;
const POPULAR_LINKS: u32 = 5;

/// Of a hundred conversations, so many need a tool.
const WITH_TOOLS: f64 = 0.2;

/// One scenario.
pub struct Scenario {
    /// In the middle of the guide's ranges.
    people_a_day: u32,
    messages_a_day: f64,
    reels_a_day: f64,
}

impl Scenario {
    pub fn of(profile: Profile) -> Scenario {
        match profile {
            Profile::Small => Scenario { people_a_day: 50, messages_a_day: 750.0, reels_a_day: 7.5 },
            Profile::Growing => Scenario { people_a_day: 550, messages_a_day: 7_500.0, reels_a_day: 75.0 },
            Profile::Viral => Scenario { people_a_day: 5_500, messages_a_day: 75_000.0, reels_a_day: 750.0 },
        }
    }

    fn in_span(&self, a_day: f64, span: Duration) -> u32 {
        let count = a_day * BUSIEST / 3600.0 * span.as_secs_f64() * f64::from(COMPRESS);
        (count.round() as u32).max(1)
    }

    pub fn note(&self, span: Duration) -> String {
        format!(
            "{} people, {:.0} messages and {:.1} reels a day; {:.0} min of the busiest hour, compressed {COMPRESS} times",
            self.people_a_day,
            self.messages_a_day,
            self.reels_a_day,
            span.as_secs_f64() * f64::from(COMPRESS) / 60.0
        )
    }

    /// The reels as a storm of which the talk is apart.
    pub(super) fn play(
        &self,
        span: Duration,
        settings: &Settings,
        host: &Host,
    ) -> anyhow::Result<(StormSetting, Play)> {
        let mut random = StdRng::seed_from_u64(settings.seed);
        let in_life = span * COMPRESS;
        let arrivals = (0..self.in_span(self.reels_a_day, span)).map(|nth| Arrival {
            at: in_life.mul_f64(random.random_range(0.0..1.0)),
            person: random.random_range(0..self.people()),
            reel: if random.random_bool(POPULAR) { random.random_range(0..POPULAR_LINKS) } else { POPULAR_LINKS + nth },
        });
        let mut arrivals: Vec<Arrival> = arrivals.collect();
        arrivals.sort_by_key(|arrival| arrival.at);
        let setting =
            StormSetting { first_token: Duration::from_secs(2), ..StormSetting::usual(arrivals, settings.seed) };
        let mut play = setting.play(settings.faults, host)?;
        play.span = span;
        play.people = u64::from(self.people());
        play.lie = settings.lie;
        Ok((setting, play))
    }

    /// A fifth of a day's people are there in its busiest hour.
    fn people(&self) -> u32 {
        self.people_a_day / 5
    }
}

/// Lets everybody come.
pub async fn live(scene: &Scene<'_>, scenario: &Scenario, setting: &StormSetting) {
    let began = Instant::now();
    let mut random = StdRng::seed_from_u64(setting.seed ^ 0x7a1c);
    let count = scenario.in_span(scenario.messages_a_day, scene.play.span);
    let talking = (0..u64::from(count)).map(|nth| {
        let at = began + scene.play.span.mul_f64(random.random_range(0.0..1.0));
        let person = u64::from(random.random_range(0..scenario.people().max(1)));
        let text = if random.random_bool(WITH_TOOLS) { talk::TOOLS } else { talk::SIMPLE }(nth);
        let dice = random.random_range(0.0..1.0);
        async move {
            tokio::select! {
                () = tokio::time::sleep_until(at.into()) => {}
                () = scene.stop.cancelled() => return,
            }
            (scene.progress)((began.elapsed().as_secs_f64() / scene.play.span.as_secs_f64()).min(1.0));
            // Nobody hears it only when all is over.
            let _ = scene.crowd.say(scene.wish(person, text, None, dice)).await;
        }
    });
    let talking: Vec<_> = talking.collect();
    tokio::join!(futures::future::join_all(talking), storm::come(scene, setting));
}
