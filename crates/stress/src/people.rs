//! More people from step to step, until something gives; and what it was. Owns the steps and the judgement.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::check::{Answer, Kind};
use super::faults::Faults;
use super::measure::{Meter, Percentiles, Used, cores};
use super::report::{Entry, Gave, Step};
use super::scene::{self, Played, Scene, figures};
use super::{Run, talk};
use sandbox::Terms;

/// People who are there at a time, unless it is said otherwise.
pub const STEPS: [u32; 6] = [10, 50, 100, 500, 2_000, 10_000];

/// Each of them writes this often; a step lasts so long at least, so that everybody does.
const EVERY: Duration = Duration::from_secs(10);

/// The longest that an answer is waited for.
const AFTER: Duration = Duration::from_secs(12);

/// An answer may take this much longer than the model, at the 95th percentile.
const BOUND_MS: f64 = 3_000.0;

/// Requests a minute of usage tier 2.
const RPM: u32 = 5_000;

/// From this part of a limit on it is at its end.
const AT_ITS_END: f64 = 0.8;

/// The same of the database's time for a sign of life.
const SLOW_DATABASE_MS: f64 = 500.0;

/// How long the model takes: 0.5 s to the first piece, then 5 ms for each further one.
const TERMS: Terms = Terms {
    first_token: 0.5,
    per_token: 0.005,
    scrape: 2.5,
    settles: 8.0,
    analysis: 5.0,
    activation: 0.5,
    workflow: 8.0,
    spread: 0.0,
    rpm: Some(RPM),
    tpm: None,
    telegram_per_second: 30.0,
    telegram_per_chat: 1.0,
};

/// One step as it was measured.
#[derive(Clone, Debug)]
struct Tried {
    people: u32,
    spoke: usize,
    /// The sandbox's times of its first and last message.
    during: (u64, u64),
    asked: usize,
    seconds: f64,
    /// Not answered in time.
    late: usize,
    apologies: usize,
    /// The 95th percentile of what the answers took, milliseconds; those that are late took the longest.
    p95_ms: f64,
    /// While people came, and until the last answer.
    used: Used,
    used_in_all: Used,
    refused_by_openai: usize,
    /// Sends and edits: Telegram counts both.
    telegram_per_second: f64,
    database_ms: f64,
    interrupted: bool,
    gave: Option<Gave>,
}

/// Climbs for as long as everything holds.
pub(super) async fn climb(run: &Run<'_>) -> anyhow::Result<Vec<Entry>> {
    let steps = &run.settings.people;
    let mut play = run.play(TERMS);
    // What gives is to be found, not what gives when something is broken.
    play.faults = Faults::None;
    play.rules.overload = true;
    (play.setting.instances, play.setting.is_breakable) = (1, false);
    let tried: Mutex<Vec<Tried>> = Mutex::default();
    let played = scene::play(run.host, play, run.stop, &|_| {}, async |scene| {
        for (at, people) in steps.iter().enumerate() {
            let tell = |part: f64| (run.tell)((at as f64 + part) / steps.len() as f64);
            let step = step(scene, *people, run.settings.messages, &tell).await?;
            let is_last = step.gave.is_some() || step.interrupted;
            tried.lock().unwrap_or_else(PoisonError::into_inner).push(step);
            if is_last {
                break;
            }
        }
        Ok(())
    });
    let played = played.await?;
    let tried = tried.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut entries: Vec<Entry> = tried.iter().map(|tried| tried.entry(&played)).collect();
    if let (Some(entry), Some(tried)) = (entries.last_mut(), tried.last()) {
        entry.note.push_str(&tried.end());
        // They are of all steps.
        entry.figures.checks.clone_from(&played.figures.checks);
        entry.figures.breaches.clone_from(&played.figures.breaches);
        entry.figures.warnings = played.figures.warnings;
        entry.figures.errors = played.figures.errors;
    }
    Ok(entries)
}

/// What an answer may take at the 95th percentile.
fn bound_ms() -> f64 {
    (TERMS.first_token + f64::from(talk::PIECES) * TERMS.per_token) * 1e3 + BOUND_MS
}

/// So many people for a while; each begins at a moment of their own, and writes again so much later, or when they are
/// answered. All of them speak, whatever `most` is; more than so many messages there are not.
async fn step(scene: &Scene<'_>, people: u32, most: usize, tell: &(dyn Fn(f64) + Sync)) -> anyhow::Result<Tried> {
    let held = EVERY.max(scene.play.span);
    let mut random = StdRng::seed_from_u64(scene.play.seed ^ u64::from(people));
    let (from, apologies) = (scene.crowd.asked_count(), scene.crowd.apologies());
    let books = scene.stage.reach.books().await?;
    let on_telegram = scene.crowd.changes_on_telegram();
    let (meter, began) = (Meter::start(scene.stage.reading()), Instant::now());
    let again = AtomicUsize::new(most.saturating_sub(people as usize));
    let one_by_one = (0..people).map(|person| {
        let first = EVERY.mul_f64(random.random_range(0.0..1.0));
        let again = &again;
        async move {
            let mut took = Vec::new();
            for round in 0.. {
                let at = first + EVERY * round;
                let is_one_too_many = || {
                    let take = |left: usize| left.checked_sub(1);
                    again.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err()
                };
                if at >= held || (round > 0 && is_one_too_many()) {
                    break;
                }
                let text = talk::SIMPLE(u64::from(person) + u64::from(round) * u64::from(people));
                let answer = async {
                    tokio::time::sleep_until((began + at).into()).await;
                    tell((at.as_secs_f64() / held.as_secs_f64()).min(1.0));
                    scene.crowd.ask(scene.wish(u64::from(person), text, None, 1.0), AFTER).await
                };
                tokio::select! {
                    answer = answer => took.push(answer),
                    () = scene.stop.cancelled() => break,
                }
            }
            took
        }
    });
    let answers = futures::future::join_all(one_by_one);
    let database = async {
        let mut worst: f64 = 0.0;
        while began.elapsed() < held && !scene.stop.is_cancelled() {
            let asked = Instant::now();
            scene.stage.store.ping().await?;
            worst = worst.max(asked.elapsed().as_secs_f64() * 1e3);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok::<_, reelcoach::store::StoreError>(worst)
    };
    let used = async {
        tokio::select! {
            () = tokio::time::sleep(held) => {}
            () = scene.stop.cancelled() => {}
        }
        meter.stop(scene.stage.reading())
    };
    let (answers, database_ms, used) = tokio::join!(answers, database, used);
    let answers: Vec<Option<Duration>> = answers.into_iter().flatten().collect();
    let longest = |answer: &Option<Duration>| answer.unwrap_or(AFTER).as_secs_f64() * 1e3;
    let after = scene.stage.reach.books().await?;
    let asked: Vec<_> = scene.crowd.asked().split_off(from);
    let during = (asked.first().map_or(u64::MAX, |first| first.at), asked.last().map_or(0, |last| last.at));
    let seconds = began.elapsed().as_secs_f64();
    let tried = Tried {
        people,
        spoke: asked.iter().map(|asked| (asked.on, asked.who)).collect::<HashSet<_>>().len(),
        during,
        asked: asked.len(),
        seconds: seconds.min(held.as_secs_f64()),
        late: answers.iter().filter(|answer| answer.is_none()).count(),
        apologies: scene.crowd.apologies() - apologies,
        p95_ms: Percentiles::of(answers.iter().map(longest)).p95,
        used,
        used_in_all: meter.stop(scene.stage.reading()),
        refused_by_openai: after.refused_by_openai - books.refused_by_openai,
        telegram_per_second: (scene.crowd.changes_on_telegram() - on_telegram) as f64 / seconds,
        database_ms: database_ms?,
        interrupted: scene.stop.is_cancelled(),
        gave: None,
    };
    // What was cut short cannot be judged.
    let gave = if tried.interrupted { None } else { tried.judge() };
    Ok(Tried { gave, ..tried })
}

impl Tried {
    /// What gave, if something did.
    fn judge(&self) -> Option<Gave> {
        let bound = bound_ms();
        let mut what = Vec::new();
        if self.late > 0 {
            what.push(format!("{} answers took longer than {} s", self.late, AFTER.as_secs()));
        }
        // The late ones are not waited for: how long they took is not known.
        if self.p95_ms > bound && self.p95_ms < AFTER.as_secs_f64() * 1e3 {
            what.push(format!("the p95 of the answers was {:.1} s (bound {:.1} s)", self.p95_ms / 1e3, bound / 1e3));
        }
        if self.apologies > 0 {
            what.push(format!("{} answers were apologies", self.apologies));
        }
        if self.refused_by_openai > 0 {
            what.push(format!("OpenAI refused {} calls", self.refused_by_openai));
        }
        (!what.is_empty()).then(|| Gave { what, at_its_end: self.at_its_end() })
    }

    /// The limits that were reached.
    fn at_its_end(&self) -> Vec<String> {
        let seconds = self.used.seconds.max(1e-3);
        let (bot, load) = (self.used.bot_cpu_seconds / seconds, self.used.load_cpu_seconds / seconds);
        let others = self.used.others_share * cores();
        let per_second = self.asked as f64 / self.seconds.max(1e-3);
        let mut all = Vec::new();
        if self.refused_by_openai > 0 || per_second * 60.0 > AT_ITS_END * f64::from(RPM) {
            all.push(format!(
                "OpenAI's tier ({RPM} requests a minute; {:.0} a minute were asked for)",
                per_second * 60.0
            ));
        }
        if self.telegram_per_second > AT_ITS_END * TERMS.telegram_per_second {
            all.push(format!(
                "Telegram's {:.0} sends and edits a second ({:.0} were made)",
                TERMS.telegram_per_second, self.telegram_per_second
            ));
        }
        if bot + load + others > AT_ITS_END * cores() {
            all.push(format!(
                "CPU (of {:.0} cores {bot:.1} for the bot, {load:.1} for sandbox and load, {others:.1} for other programs)",
                cores()
            ));
        }
        if self.database_ms > SLOW_DATABASE_MS {
            all.push(format!("the database ({:.0} ms for a sign of life)", self.database_ms));
        }
        all
    }

    /// How the climb ended with this step.
    fn end(&self) -> String {
        match &self.gave {
            Some(Gave { what, at_its_end }) => {
                let end = if at_its_end.is_empty() { "nothing that is measured".into() } else { at_its_end.join(", ") };
                format!("; gave: {}; at its end: {end}", what.join(", "))
            }
            None if self.interrupted => "; stopped before it was judged".to_owned(),
            None => format!("; nothing gave up to {}", self.people),
        }
    }

    fn entry(&self, played: &Played) -> Entry {
        let (first, last) = self.during;
        let mine = |answer: &&Answer| (first..=last).contains(&answer.asked);
        let answers: Vec<Answer> = played.answers.iter().filter(mine).copied().collect();
        let of = |kind: Kind| answers.iter().filter(|answer| answer.kind == kind).count();
        let mut figures = figures(&answers);
        figures.messages = self.asked;
        (figures.answered, figures.failed) = (of(Kind::Answered), of(Kind::Failed));
        figures.lost = self.asked.saturating_sub(answers.len());
        figures.used = self.used_in_all;
        let note = format!(
            "{} of {} people spoke, each every {} s: {} messages in {:.0} s",
            self.spoke,
            self.people,
            EVERY.as_secs(),
            self.asked,
            self.seconds
        );
        let step = Step { people: self.people, spoke: self.spoke, gave: self.gave.clone() };
        Entry { step: Some(step), ..Entry::of(&format!("people {}", self.people), note, TERMS, figures) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A step of 100 people in which everything held.
    fn held() -> Tried {
        Tried {
            people: 100,
            spoke: 100,
            during: (0, 10),
            asked: 100,
            seconds: 10.0,
            late: 0,
            apologies: 0,
            p95_ms: bound_ms(),
            used: Used { seconds: 10.0, ..Used::default() },
            used_in_all: Used::default(),
            refused_by_openai: 0,
            telegram_per_second: 5.0,
            database_ms: 1.0,
            interrupted: false,
            gave: None,
        }
    }

    #[test]
    fn whatever_gives_is_told_with_what_was_at_its_end() {
        assert_eq!(held().judge(), None);
        assert_eq!(held().end(), "; nothing gave up to 100");
        type Spoil = fn(&mut Tried);
        let spoils: [(Spoil, &str); 4] = [
            (|tried| tried.late = 2, "2 answers took longer than 12 s"),
            (|tried| tried.p95_ms += 1.0, "the p95 of the answers was 4.2 s (bound 4.2 s)"),
            (|tried| tried.apologies = 1, "1 answers were apologies"),
            (|tried| tried.refused_by_openai = 3, "OpenAI refused 3 calls"),
        ];
        for (spoil, told) in spoils {
            let mut tried = held();
            spoil(&mut tried);
            assert_eq!(tried.judge().unwrap().what, [told]);
        }
        let ends: [(Spoil, &str); 5] = [
            (|_| {}, "nothing that is measured"),
            (|tried| tried.asked = 700, "OpenAI's tier (5000 requests a minute; 4200 a minute were asked for)"),
            (|tried| tried.telegram_per_second = 24.5, "Telegram's 30 sends and edits a second (24 were made)"),
            (|tried| tried.used.bot_cpu_seconds = 10.0 * cores(), "CPU (of "),
            (|tried| tried.database_ms = 600.0, "the database (600 ms for a sign of life)"),
        ];
        for (spoil, told) in ends {
            let mut tried = Tried { late: 1, ..held() };
            spoil(&mut tried);
            tried.gave = tried.judge();
            let end = tried.end();
            assert!(end.contains(&format!("gave: 1 answers took longer than 12 s; at its end: {told}")), "{end}");
        }
        // One does not hide another.
        let all = Tried { late: 1, telegram_per_second: 29.0, database_ms: 600.0, ..held() };
        assert_eq!(all.judge().unwrap().at_its_end.len(), 2);
        assert_eq!(Tried { interrupted: true, ..held() }.end(), "; stopped before it was judged");
    }
}
