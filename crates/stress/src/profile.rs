//! One of the planner's scenarios while most people talk at once, compressed. Owns how a scenario is made into arrivals and
//! terms; its numbers are [`reelcoach::core::capacity::scenarios`]'.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures::StreamExt;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::report::Entry;
use super::scene::{self, Scene};
use super::storm::{self, Arrival, StormSetting};
use super::{Run, talk};
use reelcoach::core::capacity::chance::{Dice, Popular};
use reelcoach::core::capacity::scenarios::Scenario;
use reelcoach::core::capacity::{Daily, Plan};

/// How many times faster than in life it may run: what the 30 s between a person's reels can be divided by, because the
/// configuration knows whole seconds.
const COMPRESS: [u32; 8] = [30, 15, 10, 6, 5, 3, 2, 1];

/// So many messages a second at most: the bot keeps Discord's limit of 50 sends and edits a second, which cannot be
/// compressed, and every other person is there.
const MOST_PER_SECOND: f64 = 45.0;

/// Messages that wait for their moments at the same time.
const AHEAD: usize = 256;

/// What is played of a scenario. Times are as in life.
struct Busiest {
    plan: Plan,
    daily: Daily,
    /// Who talk at the same time, each of them every [`Daily::pace`].
    people: u32,
    compress: u32,
    /// How long it is played.
    span: Duration,
    messages: Vec<Moment>,
    reels: Vec<Arrival>,
}

/// When somebody writes.
#[derive(Clone, Copy, Debug)]
struct Moment {
    at: Duration,
    person: u32,
}

impl Busiest {
    /// For `span` as it is played, or as long as it takes until everybody has spoken, unless that were more than `most`
    /// messages.
    fn of(scenario: Scenario, span: Duration, most: usize, seed: u64) -> anyhow::Result<Busiest> {
        let (plan, daily) = (scenario.plan(&Plan::default()), scenario.demand());
        let people = daily.at_once.context("a scenario in which nobody talks at once")?;
        let per_second = f64::from(people) / daily.pace.as_secs_f64();
        let fits = |compress: &u32| per_second * f64::from(*compress) <= MOST_PER_SECOND;
        let compress = COMPRESS.into_iter().find(fits).unwrap_or(1);
        let span = daily.pace.max(span * compress);
        let mut random = StdRng::seed_from_u64(seed ^ 0x7a1c);
        let first: Vec<f64> = (0..people).map(|_| random.random_range(0.0..1.0)).collect();
        let rounds = (span.as_secs_f64() / daily.pace.as_secs_f64()).ceil() as u32;
        let all = (0..rounds).flat_map(|round| {
            let at = |first: &f64| daily.pace.mul_f64(f64::from(round) + first);
            first.iter().zip(0..).map(move |(first, person)| Moment { at: at(first), person }).collect::<Vec<_>>()
        });
        let mut messages: Vec<Moment> = all.filter(|moment| moment.at < span).collect();
        messages.sort_by_key(|moment| moment.at);
        // No thinner than it is: it ends earlier.
        let span = messages.get(most).map_or(span, |first_too_many| first_too_many.at);
        messages.truncate(most);
        // In a day's proportion of reels to messages.
        let part = daily.reels_a_day() / daily.messages_a_day().max(f64::MIN_POSITIVE);
        let count = ((messages.len() as f64 * part).round() as u32).max(1);
        let popular = Popular::new(plan.popularity.catalogue, plan.popularity.exponent);
        let mut dice = Dice::new(seed, 3);
        let mut reels: Vec<Arrival> = (0..count)
            .map(|_| Arrival {
                at: span.mul_f64(dice.part()),
                person: dice.below(people),
                reel: popular.draw(&mut dice),
            })
            .collect();
        reels.sort_by_key(|arrival| arrival.at);
        Ok(Busiest { plan, daily, people, compress, span, messages, reels })
    }

    fn setting(&self, seed: u64) -> StormSetting {
        let (plan, reels) = (&self.plan, &self.plan.reels);
        let spread = (reels.analysis.at(1.0).as_secs_f64() / reels.analysis.mean().as_secs_f64().max(1e-3)) - 1.0;
        StormSetting {
            lanes: reels.direct_lanes,
            workflows: reels.n8n_lanes,
            scrape: reels.scrape.mean(),
            analysis: reels.analysis.mean(),
            workflow: reels.n8n.mean(),
            spread,
            interval: plan.limits.interval,
            merge: plan.merge,
            first_token: plan.answers.first_text.mean(),
            per_token: plan.answers.writing.mean() / talk::PIECES,
            compress: self.compress,
            ..StormSetting::usual(self.reels.clone(), seed)
        }
    }

    /// How long it takes as it is played.
    fn played(&self) -> Duration {
        self.span / self.compress
    }

    /// Those who say something.
    fn speakers(&self) -> usize {
        self.messages.iter().map(|moment| moment.person).collect::<HashSet<_>>().len()
    }
}

/// Plays the busiest time of a scenario.
pub(super) async fn run(run: &Run<'_>, scenario: Scenario) -> anyhow::Result<Vec<Entry>> {
    let settings = run.settings;
    let busiest = Busiest::of(scenario, run.span(), settings.messages, settings.seed)?;
    let setting = busiest.setting(settings.seed);
    let mut play = setting.play(settings.faults, run.host)?;
    play.span = busiest.played();
    play.people = u64::from(busiest.people);
    play.lie = settings.lie;
    let terms = play.setting.terms;
    let played = scene::play(run.host, play, run.stop, run.tell, async |scene| {
        tokio::join!(talk(scene, &busiest), storm::come(scene, &setting));
        Ok(())
    });
    let played = played.await?;
    let measured = storm::measured(&setting, &played);
    let note = format!(
        "{} people and {:.0} messages a day; {:.0} s of the busiest time, {} times as fast: {} of {} people spoke, each every \
         {} s, and {} reels were asked for; wait for a reel p50 {:.0} s, p95 {:.0} s",
        busiest.daily.people,
        busiest.daily.messages_a_day(),
        busiest.span.as_secs_f64(),
        busiest.compress,
        busiest.speakers(),
        busiest.people,
        busiest.daily.pace.as_secs(),
        busiest.reels.len(),
        measured.wait_s.p50,
        measured.wait_s.p95
    );
    let entry = Entry::of(scenario.name(), note, terms, played.figures).compressed(busiest.compress);
    Ok(vec![Entry { storm: Some(measured), ..entry }])
}

/// Everybody writes at their moments.
async fn talk(scene: &Scene<'_>, busiest: &Busiest) {
    let began = Instant::now();
    let mut random = StdRng::seed_from_u64(scene.play.seed ^ 0x007a_1c02);
    // A tool is another call of the model.
    let with_tools = (busiest.plan.answers.calls - 1.0).clamp(0.0, 1.0);
    let wishes = busiest.messages.iter().zip(0..).map(|(moment, nth)| {
        let text = if random.random_bool(with_tools) { talk::TOOLS } else { talk::SIMPLE }(nth);
        (moment, text, random.random_range(0.0..1.0))
    });
    let saying = futures::stream::iter(wishes).for_each_concurrent(AHEAD, |(moment, text, dice)| async move {
        tokio::select! {
            () = tokio::time::sleep_until((began + moment.at / busiest.compress).into()) => {}
            () = scene.stop.cancelled() => return,
        }
        scene.reached(moment.at.as_secs_f64() / busiest.span.as_secs_f64().max(1e-3));
        // Nobody hears it only when all is over.
        let _ = scene.crowd.say(scene.wish(u64::from(moment.person), text, None, dice)).await;
    });
    saying.await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The scenarios' own people are there, each of them at their own pace.
    #[test]
    fn a_scenario_is_played_with_all_who_talk_at_once() {
        for (scenario, people, compress, seconds) in
            [(Scenario::Small, 20, 30, 6), (Scenario::Growing, 100, 15, 6), (Scenario::Viral, 500, 5, 12)]
        {
            let busiest = Busiest::of(scenario, Duration::from_secs(6), 2_000, 7).unwrap();
            assert_eq!((busiest.people, busiest.compress), (people, compress), "{scenario:?}");
            assert_eq!((busiest.speakers() as u32, busiest.played().as_secs()), (people, seconds), "{scenario:?}");
            let minutes = busiest.span.as_secs_f64() / 60.0;
            let per_person = busiest.messages.len() as f64 / f64::from(people);
            assert!((per_person - minutes).abs() < 0.5, "{scenario:?}: {per_person} messages in {minutes} min");
            assert!((busiest.messages.len() / 200..=busiest.messages.len() / 50).contains(&busiest.reels.len()));
        }
    }

    #[test]
    fn fewer_messages_are_a_shorter_time_and_no_thinner() {
        let whole = Busiest::of(Scenario::Viral, Duration::from_secs(6), 2_000, 7).unwrap();
        let some = Busiest::of(Scenario::Viral, Duration::from_secs(6), 100, 7).unwrap();
        assert_eq!((whole.messages.len(), some.messages.len()), (500, 100));
        let rate = |of: &Busiest| of.messages.len() as f64 / of.span.as_secs_f64();
        assert!((rate(&some) / rate(&whole) - 1.0).abs() < 0.3, "{} {}", rate(&some), rate(&whole));
        assert!(some.reels.iter().all(|arrival| arrival.at <= some.span));
    }
}
