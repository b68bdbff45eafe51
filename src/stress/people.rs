//! More people from step to step, until something gives; and what it was. Owns the steps and the judgement.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;

use super::check::Answer;
use super::measure::{Meter, Percentiles, Used, cores};
use super::report::Entry;
use super::scene::{self, Scene, figures};
use super::{Run, talk};
use crate::sandbox::Terms;
use crate::sandbox::hand::On;

/// People who are there at a time.
const STEPS: [u64; 6] = [10, 50, 100, 500, 2_000, 10_000];

/// Each of them writes this often.
const EVERY: Duration = Duration::from_secs(10);

/// After a step, its last answers are waited for so long.
const AFTER: Duration = Duration::from_secs(12);

/// An answer may take this much longer than the model, at the 95th percentile.
const BOUND_MS: f64 = 3_000.0;

/// Usage tier 2 (the operator's guide).
const RPM: u32 = 5_000;

/// How long the model takes: 0.5 s to the first piece, then some 100 pieces.
const TERMS: Terms = Terms {
    first_token: 0.5,
    per_token: 0.005,
    scrape: 2.5,
    analysis: 5.0,
    activation: 0.5,
    workflow: 8.0,
    spread: 0.0,
    rpm: Some(RPM),
    tpm: None,
    telegram_per_second: 30.0,
    telegram_per_chat: 1.0,
};

/// What one step came to.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    pub people: u64,
    /// What gave, if something did.
    pub gave: Option<String>,
}

/// One step while it is judged.
struct Tried {
    people: u64,
    from: usize,
    to: usize,
    asked_per_second: f64,
    late: usize,
    /// The 95th percentile of what the answers took, as the asking saw it.
    p95_ms: f64,
    used: Used,
    refused_by_openai: usize,
    telegram_per_second: f64,
    database_ms: f64,
}

/// Climbs for as long as everything holds.
pub(super) async fn climb(run: &Run<'_>) -> anyhow::Result<Vec<Entry>> {
    let mut play = run.play(TERMS);
    play.faults = super::Faults::None;
    (play.rules.faults, play.rules.deaths, play.rules.overload) = (false, false, true);
    (play.setting.instances, play.setting.is_breakable) = (1, false);
    let tried: Mutex<Vec<Tried>> = Mutex::default();
    let played = scene::play(run.host, play, run.stop, &|_| {}, async |scene| {
        for (at, people) in STEPS.into_iter().enumerate() {
            (run.tell)(at as f64 / STEPS.len() as f64);
            let step = step(scene, people, run.settings.messages).await?;
            let has_given = step.late > 0 || step.refused_by_openai > 0 || step.p95_ms > model_ms() + BOUND_MS;
            tried.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(step);
            if has_given || run.stop.is_cancelled() {
                break;
            }
        }
        Ok(())
    });
    let played = played.await?;
    let tried = tried.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut entries = Vec::new();
    let mut sorted = played.answers.clone();
    sorted.sort_by_key(|answer| answer.asked);
    for tried in &tried {
        let answers: Vec<Answer> = sorted.iter().skip(tried.from).take(tried.to - tried.from).copied().collect();
        let asked = tried.to - tried.from;
        let mut figures = figures(&answers);
        figures.messages = asked;
        figures.failed = answers.iter().filter(|answer| answer.kind == super::check::Kind::Failed).count();
        figures.answered = answers.len() - figures.failed;
        figures.lost = asked.saturating_sub(answers.len());
        figures.used = tried.used;
        let late = figures.final_ms.p95 > model_ms() + BOUND_MS || figures.failed > 0 || tried.late > 0;
        let gave =
            (late || tried.refused_by_openai > 0).then(|| tried.why(figures.final_ms.p95 - model_ms(), figures.failed));
        let note = format!(
            "{} people write every {} s ({:.1}/s){}",
            tried.people,
            EVERY.as_secs(),
            tried.asked_per_second,
            gave.as_ref().map(|gave| format!("; gave: {gave}")).unwrap_or_default()
        );
        let entry = Entry::of(&format!("people {}", tried.people), note, TERMS, figures);
        entries.push(Entry { step: Some(Step { people: tried.people, gave }), ..entry });
    }
    if let Some(last) = entries.last_mut() {
        last.figures.checks.clone_from(&played.figures.checks);
        last.figures.breaches.clone_from(&played.figures.breaches);
        last.figures.warnings = played.figures.warnings;
        last.figures.errors = played.figures.errors;
    }
    Ok(entries)
}

/// What the model takes of an answer's time.
fn model_ms() -> f64 {
    (TERMS.first_token + 100.0 * TERMS.per_token) * 1e3
}

/// So many people for a while, each at moments of their own.
async fn step(scene: &Scene<'_>, people: u64, most: usize) -> anyhow::Result<Tried> {
    let rate = people as f64 / EVERY.as_secs_f64();
    let span = scene.play.span.min(Duration::from_secs_f64(most as f64 / rate));
    let mut random = StdRng::seed_from_u64(scene.play.seed ^ people);
    let from = scene.crowd.asked_count();
    let books = scene.stage.reach.books().await?;
    let changes = scene.crowd.changes().len();
    let (bots, sandbox) = scene.stage.processes();
    let (meter, began) = (Meter::start(bots, sandbox), Instant::now());
    let count = ((rate * span.as_secs_f64()).round() as u64).max(2);
    let mut asking: FuturesUnordered<_> = (0..count)
        .map(|nth| {
            let at = began + span.mul_f64(random.random_range(0.0..1.0));
            // In turn: nobody writes sooner again than all the others have.
            let wish = scene.wish(nth % people, talk::SIMPLE(nth), None, 1.0);
            async move {
                tokio::time::sleep_until(at.into()).await;
                let asked = Instant::now();
                let answered = scene.stop.is_cancelled() || scene.crowd.ask(wish, AFTER).await;
                (answered, asked.elapsed().as_secs_f64() * 1e3)
            }
        })
        .collect();
    let answers = async {
        let (mut late, mut took) = (0, Vec::new());
        while let Some((answered, ms)) = asking.next().await {
            late += usize::from(!answered);
            took.push(ms);
        }
        (late, Percentiles::of(took.into_iter()).p95)
    };
    let database = async {
        let mut worst: f64 = 0.0;
        loop {
            let asked = Instant::now();
            scene.stage.store.ping().await?;
            worst = worst.max(asked.elapsed().as_secs_f64() * 1e3);
            if began.elapsed() > span {
                return Ok::<_, crate::store::StoreError>(worst);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let used = async {
        tokio::time::sleep(span).await;
        meter.stop()
    };
    let ((late, p95_ms), database, used) = tokio::join!(answers, database, used);
    let after = scene.stage.reach.books().await?;
    let new = scene.crowd.changes();
    let on_telegram = new.iter().skip(changes).filter(|change| change.on == On::Telegram).count();
    Ok(Tried {
        people,
        from,
        to: scene.crowd.asked_count(),
        asked_per_second: count as f64 / span.as_secs_f64(),
        late,
        p95_ms,
        used,
        refused_by_openai: after.refused_by_openai - books.refused_by_openai,
        telegram_per_second: on_telegram as f64 / began.elapsed().as_secs_f64(),
        database_ms: database?,
    })
}

impl Tried {
    /// What gave, by what was at its end.
    fn why(&self, beyond_model_ms: f64, failed: usize) -> String {
        let busy = (self.used.bot_cpu_seconds + self.used.load_cpu_seconds) / self.used.seconds.max(1e-3);
        let all = busy / cores() + self.used.others_share;
        let telegram = TERMS.telegram_per_second;
        match () {
            () if self.refused_by_openai > 0 => {
                format!("OpenAI's tier ({RPM} requests a minute): {} were refused", self.refused_by_openai)
            }
            () if self.telegram_per_second > 0.8 * telegram => {
                format!("Telegram's {telegram} messages a second ({:.0} were sent)", self.telegram_per_second)
            }
            () if self.asked_per_second > f64::from(RPM) / 60.0 => {
                format!("OpenAI's tier ({RPM} requests a minute, {:.0} a second were asked)", self.asked_per_second)
            }
            () if all > 0.85 => format!(
                "CPU ({:.1} of {:.0} cores for the bot, {:.1} for sandbox and load, {:.1} for other programs)",
                self.used.bot_cpu_seconds / self.used.seconds.max(1e-3),
                cores(),
                self.used.load_cpu_seconds / self.used.seconds.max(1e-3),
                self.used.others_share * cores()
            ),
            () if self.database_ms > 500.0 => {
                format!("the database (it took {:.0} ms for a sign of life)", self.database_ms)
            }
            () if failed > 0 => format!("{failed} answers were apologies"),
            () => format!("the latency bound ({beyond_model_ms:.0} ms beyond the model at p95)"),
        }
    }
}
