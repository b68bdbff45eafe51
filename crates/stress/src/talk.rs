//! Conversations: so many people at a time ask, and when one is answered the next one asks. Owns what they say.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::scene::Scene;

/// Conversations at a time in the parts about conversations.
pub const IN_FLIGHT: usize = 20;

/// People who take turns in each place, so that nobody writes faster than a platform lets a chat be answered.
const TURNS: u64 = 25;

/// The same where each of them is greeted before.
const GREETED_TURNS: u64 = 3;

/// Who takes part with so many places.
pub fn people(at_a_time: usize, greeted: bool) -> u64 {
    at_a_time as u64 * if greeted { GREETED_TURNS } else { TURNS }
}

/// Pieces of the stand-in's usual answer to it.
pub const PIECES: u32 = 130;

/// What is said; different for each message.
pub type Text = fn(u64) -> String;

/// Needs no tool.
pub const SIMPLE: Text = |nth| {
    const SUBJECTS: [&str; 6] =
        ["sourdough", "push-ups", "watercolours", "budget travel", "chess openings", "houseplants"];
    let subject = SUBJECTS[(nth % SUBJECTS.len() as u64) as usize];
    format!("How do I open a video about {subject} so that people stay? (take {nth})")
};

/// Makes the stand-in for the model call a tool.
pub const TOOLS: Text = |nth| format!("How long is the queue right now, for take {nth}?");

/// How many messages there may be, and how many there were.
struct Ration {
    most: usize,
    taken: AtomicUsize,
}

impl Ration {
    /// The number of one more, from 0.
    fn take(&self) -> Option<usize> {
        let next = |taken: usize| (taken < self.most).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok()
    }

    fn through(&self) -> f64 {
        self.taken.load(Ordering::Relaxed) as f64 / self.most.max(1) as f64
    }
}

/// In each place people take turns; see [`keep_asking`].
pub async fn in_turns(scene: &Scene<'_>, at_a_time: usize, text: Text, most: usize) {
    let places = at_a_time as u64;
    let who = |place, turn| (place + places * turn) % people(at_a_time, scene.play.faults.kill());
    keep_asking(scene, places, text, most, who, |_| Duration::ZERO).await;
}

/// Until the scene's time or messages are up; the last answers are waited for by whoever asks whether all is well. What is
/// to go wrong for long goes wrong meanwhile: a part of the messages is kept for afterwards, and the time is longer if it
/// must be. Whoever waits for an answer when an instance dies is not waited for: the next one asks.
/// `who` asks in a place when it is their turn there, and how long a place rests after it is answered.
pub async fn keep_asking(
    scene: &Scene<'_>,
    places: u64,
    text: Text,
    most: usize,
    who: impl Fn(u64, u64) -> u64,
    rest: impl Fn(u64) -> Duration,
) {
    let began = Instant::now();
    let ration = Ration { most, taken: AtomicUsize::new(0) };
    let (course, span) = (scene.course, scene.play.span);
    let through = || (began.elapsed().as_secs_f64() / span.as_secs_f64()).max(ration.through());
    let asking = (0..places).map(|place| {
        let (ration, through, who, rest) = (&ration, &through, &who, rest(place));
        let mut random = StdRng::seed_from_u64(scene.play.seed.wrapping_add(place));
        async move {
            for turn in 0.. {
                scene.reached(through());
                course.let_out(ration.through()).await;
                let Some(nth) = ration.take() else { break };
                let wish = scene.wish(who(place, turn), text(nth as u64), None, random.random_range(0.0..1.0));
                // One that is not answered is found by the checks.
                let answered = scene.crowd.ask(wish, scene.patience());
                if course.is_over() {
                    answered.await;
                } else {
                    tokio::select! {
                        _ = answered => {}
                        () = course.over() => {}
                    }
                }
                tokio::time::sleep(rest).await;
            }
        }
    });
    let time = async {
        let afterwards = async {
            if !course.is_over() {
                course.over().await;
                tokio::time::sleep(span / 2).await;
            }
        };
        tokio::join!(tokio::time::sleep_until((began + span).into()), afterwards)
    };
    tokio::select! {
        _ = futures::future::join_all(asking) => {}
        _ = time => {}
        () = scene.stop.cancelled() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_said_than_there_may_be() {
        let ration = Ration { most: 3, taken: AtomicUsize::new(0) };
        let taken: Vec<Option<usize>> = (0..5).map(|_| ration.take()).collect();
        assert_eq!(taken, [Some(0), Some(1), Some(2), None, None]);
        assert!((ration.through() - 1.0).abs() < f64::EPSILON);
    }
}
