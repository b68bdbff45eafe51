//! Conversations: so many people at a time ask, and when one is answered the next one asks. Owns what they say.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

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

/// Until the scene's time or messages are up.
pub async fn keep_asking(scene: &Scene<'_>, at_a_time: usize, text: Text, most: usize) {
    let (began, next) = (Instant::now(), AtomicU64::new(0));
    let seats = (0..at_a_time as u64).map(|seat| {
        let next = &next;
        let mut random = StdRng::seed_from_u64(scene.play.seed.wrapping_add(seat));
        async move {
            let mut turn = 0;
            while scene.goes_on(began, most) {
                let person = (seat + at_a_time as u64 * turn) % people(at_a_time, scene.play.rules.deaths);
                turn += 1;
                let text = text(next.fetch_add(1, Ordering::Relaxed));
                // One that is not answered is found by the checks.
                scene.crowd.ask(scene.wish(person, text, None, random.random_range(0.0..1.0)), scene.patience()).await;
            }
        }
    });
    futures::future::join_all(seats).await;
}
