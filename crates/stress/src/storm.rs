//! Reel storms: people ask for reels at given moments, on given lanes, and the waits are measured. All times of a setting
//! and of what is measured are as in life; the run itself is compressed.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::ensure;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;

use super::Stop;
use super::check::{Breach, Rules};
use super::faults::Faults;
use super::measure::Percentiles;
use super::scene::{Play, Played, Scene, play};
use super::stage::{Host, Setting};
use sandbox::Terms;

/// What a run of a workflow is agreed to cost.
const WORKFLOW_MICRO_USD: i64 = 12_000;

/// Somebody asks for a reel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Arrival {
    /// From the start.
    pub at: Duration,
    pub person: u32,
    pub reel: u32,
}

/// What is stormed.
#[derive(Clone, Debug, Serialize)]
pub struct StormSetting {
    /// Lanes through Apify and Gemini, and workflows of n8n.
    pub lanes: u32,
    pub workflows: u32,
    pub scrape: Duration,
    pub analysis: Duration,
    /// How long a workflow takes in all.
    pub workflow: Duration,
    /// By which part of these times one reel takes longer or shorter than another.
    pub spread: f64,
    /// Between two new reels of one person; a multiple of `compress` seconds, or nothing.
    pub interval: Duration,
    /// The wait for further messages before a link is submitted.
    pub merge: Duration,
    /// The model's first piece, and each further one.
    pub first_token: Duration,
    pub per_token: Duration,
    /// The model's requests and tokens a minute, of the bot and of the stand-in; `None`: no limit. Of a minute as it is
    /// played: what is granted at once cannot be compressed.
    pub rpm: Option<u32>,
    pub tpm: Option<u64>,
    /// How many times faster than in life it runs.
    pub compress: u32,
    pub arrivals: Vec<Arrival>,
    /// The reels that turn out to be deleted.
    pub gone: BTreeSet<u32>,
    pub seed: u64,
}

impl StormSetting {
    /// As in the planner's scenarios: a scrape of 5-10 s, an analysis of 15-20 s, two lanes, 30 s between a person's reels.
    pub fn usual(arrivals: Vec<Arrival>, seed: u64) -> StormSetting {
        StormSetting {
            lanes: 2,
            workflows: 0,
            scrape: Duration::from_millis(7500),
            analysis: Duration::from_millis(17_500),
            workflow: Duration::from_secs(27),
            spread: 0.0,
            interval: Duration::from_secs(30),
            merge: Duration::ZERO,
            first_token: Duration::from_millis(600),
            per_token: Duration::from_millis(12),
            rpm: None,
            tpm: None,
            compress: 30,
            arrivals,
            gone: BTreeSet::new(),
            seed,
        }
    }

    /// `reels` of `links` different links, asked for by `people` over `span`, by the seed; each person begins with
    /// another one.
    pub fn arrivals(people: u32, reels: u32, links: u32, span: Duration, seed: u64) -> Vec<Arrival> {
        let mut random = StdRng::seed_from_u64(seed);
        let mut all: Vec<Arrival> = (0..reels)
            .map(|at| Arrival {
                at: span.mul_f64(random.random_range(0.0..1.0)),
                person: at % people.max(1),
                reel: if links >= reels { at } else { random.random_range(0..links.max(1)) },
            })
            .collect();
        all.sort_by_key(|arrival| arrival.at);
        all
    }

    /// How long the stand-ins take for a reel among others: 0 is the least of the spread, 1 the most.
    pub fn pace(&self, reel: u32) -> f64 {
        sandbox::scripts::pace(&self.code(reel))
    }

    /// A reel of the stand-in, by its number.
    fn code(&self, reel: u32) -> String {
        if self.gone.contains(&reel) { format!("DGONE{reel:06}") } else { format!("DQ{reel:09}") }
    }

    fn terms(&self) -> Terms {
        let by = f64::from(self.compress);
        let at = |span: Duration| span.as_secs_f64() / by;
        Terms {
            first_token: at(self.first_token),
            per_token: at(self.per_token),
            scrape: at(self.scrape),
            settles: at(Duration::from_secs(8)),
            analysis: at(self.analysis),
            activation: at(Duration::from_millis(500)),
            workflow: at(self.workflow),
            spread: self.spread,
            rpm: self.rpm,
            tpm: self.tpm,
            telegram_per_second: 30.0 * by,
            telegram_per_chat: by,
        }
    }

    /// # Errors
    /// When the interval cannot be compressed: the bot's configuration knows whole seconds.
    pub(super) fn play(&self, faults: Faults, host: &Host) -> anyhow::Result<Play> {
        let interval = self.interval.as_secs();
        let by = u64::from(self.compress.max(1));
        ensure!(
            interval.is_multiple_of(by),
            "{interval} s cannot be compressed {by} times: whole seconds must be left"
        );
        let setting = Setting::new(self.terms())
            .with("REEL_LANES", self.lanes)
            .with("N8N_ESTIMATE_USD", WORKFLOW_MICRO_USD as f64 / 1e6)
            .with("REEL_INTERVAL_SECONDS", interval / by)
            .with("MERGE_WINDOW_MS", (self.merge / self.compress.max(1)).as_millis());
        let setting = Setting { workflows: self.workflows, ..setting };
        let last = self.arrivals.iter().map(|arrival| arrival.at).max().unwrap_or_default();
        let lanes = (self.lanes + self.workflows).max(1);
        let each = (self.scrape + self.analysis).max(Duration::from_secs(1));
        let backlog = each * u32::try_from(self.arrivals.len()).unwrap_or(u32::MAX) / lanes / self.compress.max(1);
        Ok(super::faulty(
            Play {
                setting,
                rules: Rules {
                    lanes: self.lanes,
                    workflow_micro_usd: WORKFLOW_MICRO_USD,
                    interval_ms: i64::try_from(interval / by * 1000).unwrap_or(0),
                    ..Rules::default()
                },
                faults,
                seed: self.seed,
                span: last / self.compress.max(1) + Duration::from_millis(10),
                backlog: backlog * 2,
                people: self.arrivals.iter().map(|arrival| u64::from(arrival.person) + 1).max().unwrap_or(0),
                lie: None,
            },
            host,
        ))
    }
}

/// What a storm came to, in times as in life.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// Reels asked for, and how many of them had to be read or turned out to be gone.
    pub asked: usize,
    pub read: usize,
    pub answered: usize,
    /// Reels read in a minute, from the first start to the last end.
    pub throughput_per_minute: f64,
    /// From the message's arrival at its platform to the whole answer on the screen, of every message, in seconds.
    pub wait_s: Percentiles,
    /// From its place in the line to its start on a lane, of each reel that was read, in seconds.
    pub queue_s: Percentiles,
    pub breaches: usize,
    /// What did not hold: the rule, how, and the history of the message that it happened to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub broken: Vec<String>,
}

/// Runs a storm on a bot and a sandbox of its own, without faults.
///
/// # Errors
/// When the setting cannot be compressed, or something does not start.
pub async fn reel_storm(host: &Host, setting: &StormSetting) -> anyhow::Result<Measured> {
    let stop = Stop::default();
    let play = setting.play(Faults::None, host)?;
    storm(host, setting, play, &stop, &|_| {}).await.map(|(measured, _)| measured)
}

/// The same with what else there is to say of it.
pub(super) async fn storm(
    host: &Host,
    setting: &StormSetting,
    play_it: Play,
    stop: &Stop,
    progress: &(dyn Fn(f64) + Sync),
) -> anyhow::Result<(Measured, Played)> {
    let played = play(host, play_it, stop, progress, async |scene| {
        come(scene, setting).await;
        Ok(())
    })
    .await?;
    Ok((measured(setting, &played), played))
}

/// Everybody comes at their moment.
pub(super) async fn come(scene: &Scene<'_>, setting: &StormSetting) {
    let began = Instant::now();
    let mut random = StdRng::seed_from_u64(setting.seed ^ 0x00c0_ffee);
    let coming = setting.arrivals.iter().map(|arrival| {
        let dice = random.random_range(0.0..1.0);
        async move {
            let at = tokio::time::Instant::from_std(began + arrival.at / setting.compress.max(1));
            tokio::select! {
                () = tokio::time::sleep_until(at) => {}
                () = scene.stop.cancelled() => return,
            }
            (scene.progress)((began.elapsed().as_secs_f64() / scene.play.span.as_secs_f64()).min(1.0));
            let part = (arrival.at / setting.compress.max(1)).div_duration_f64(scene.play.span);
            tokio::select! {
                () = scene.course.let_out(part) => {}
                () = scene.stop.cancelled() => return,
            }
            let code = setting.code(arrival.reel);
            let text = format!("https://www.instagram.com/reel/{code}/");
            // Nobody hears it only when all is over.
            let _ = scene.crowd.say(scene.wish(u64::from(arrival.person), text, Some(code), dice)).await;
        }
    });
    futures::future::join_all(coming).await;
}

pub(super) fn measured(setting: &StormSetting, played: &Played) -> Measured {
    let by = f64::from(setting.compress);
    let reels: Vec<_> = played.answers.iter().filter(|answer| answer.is_reel).collect();
    let seconds = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1e6 * by;
    let ended = |state: &str| matches!(state, "done" | "failed");
    let done: Vec<_> = played.history.jobs.iter().filter(|job| ended(&job.state)).collect();
    let first = done.iter().filter_map(|job| job.started_at).min().unwrap_or(0);
    let last = done.iter().filter_map(|job| job.finished_at).max().unwrap_or(0);
    let minutes = (last - first) as f64 / 60_000.0 * by;
    let queued = done.iter().filter_map(|job| Some((job.started_at? - job.created_at) as f64 / 1e3 * by));
    Measured {
        asked: setting.arrivals.len(),
        read: done.len(),
        answered: reels.len(),
        throughput_per_minute: if minutes > 0.0 { done.len() as f64 / minutes } else { 0.0 },
        wait_s: Percentiles::of(reels.iter().map(|answer| seconds(answer.asked, answer.last))),
        queue_s: Percentiles::of(queued),
        breaches: played.figures.breaches.len(),
        broken: played
            .figures
            .breaches
            .iter()
            .map(|Breach { rule, what, history }| format!("{rule}: {what}\n    {}", history.join("\n    ")))
            .collect(),
    }
}
