//! One scene of a load test: a stage, a crowd, something that they do, and the verdict on it. Owns the order of these,
//! and the waiting until nothing is owed any more.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::check::{Answer, Breach, Check, Evidence, Kind, Rules, check};
use super::crowd::{Crowd, State, Wish};
use super::faults::{Course, Faults, Happened};
use super::measure::{Meter, Percentiles, Used};
use super::stage::{Clock, Host, Setting, Stage};
use super::{Lie, Stop};
use reelcoach::store::history::History;
use reelcoach::upstream::STARTED;
use sandbox::hand::{On, OnScreen, Trouble};

/// The longest that one message is waited for.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Nothing is owed, but a message was never stored: it will not be any more.
const GIVEN_UP: Duration = Duration::from_secs(3);

/// What a scene is played with.
#[derive(Clone)]
pub struct Play {
    pub setting: Setting,
    /// But for those about faults and deaths: whether there were any is known afterwards.
    pub rules: Rules,
    pub faults: Faults,
    pub seed: u64,
    /// How long the load is meant to take.
    pub span: Duration,
    /// How much longer than [`PATIENCE`] the last answer may take.
    pub backlog: Duration,
    /// Those who take part are numbered from 0 to below this.
    pub people: u64,
    pub lie: Option<Lie>,
}

/// What is there while it is played.
pub struct Scene<'a> {
    pub stage: &'a Stage,
    pub crowd: &'a Crowd,
    pub play: &'a Play,
    pub stop: &'a Stop,
    /// Tells how much of the load is through, 0 to 1.
    pub progress: &'a (dyn Fn(f64) + Sync),
    pub course: &'a Course,
    /// How many wishes there were.
    wishes: AtomicUsize,
}

impl Scene<'_> {
    /// So much of the load is through, 0 to 1.
    pub fn reached(&self, part: f64) {
        (self.progress)(part.min(1.0));
    }

    /// Until what goes wrong for long is over, or the run is to end.
    pub async fn troubles_over(&self) {
        tokio::select! {
            () = self.course.over() => {}
            () = self.stop.cancelled() => {}
        }
    }

    /// How long a person waits for an answer before they write again.
    pub fn patience(&self) -> Duration {
        if self.play.lie == Some(Lie::Lost) { Duration::from_secs(3) } else { PATIENCE }
    }

    /// A message of a person; every other person is on Discord.
    pub fn wish(&self, person: u64, text: String, reel: Option<String>, dice: f64) -> Wish {
        let on = if person.is_multiple_of(2) { On::Telegram } else { On::Discord };
        let nth = self.wishes.fetch_add(1, Ordering::Relaxed);
        let lost = self.play.lie == Some(Lie::Lost) && nth == 3;
        Wish { on, who: 1_000_000 + person, text, reel, in_group: false, twice: dice < self.play.faults.twice(), lost }
    }
}

/// What came of it.
pub struct Played {
    pub figures: Figures,
    pub answers: Vec<Answer>,
    pub history: History,
    /// For each kill -9, how many answers were owed.
    pub kills: Vec<usize>,
}

/// What is reported of a scene.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    pub messages: usize,
    pub answered: usize,
    /// Answered with an apology.
    pub failed: usize,
    /// Refused because a budget was used up.
    pub refused: usize,
    /// Without an answer.
    pub lost: usize,
    pub reels: usize,
    /// Answers a second, from the first message to the last answer.
    pub per_second: f64,
    /// From the message to its answer's first text, and to its end.
    pub first_text_ms: Percentiles,
    pub final_ms: Percentiles,
    /// Until the last answer was given.
    pub used: Used,
    /// What went wrong on purpose; in parts that know no faults there is nothing to tell.
    pub happened: Option<Happened>,
    pub warnings: usize,
    pub errors: usize,
    pub checks: Vec<Check>,
    pub breaches: Vec<Breach>,
}

/// The user wanted no more: neither the last answers nor the check.
#[derive(Debug, thiserror::Error)]
#[error("ended at once: nothing of this part was checked")]
pub struct Ended;

/// Plays `load`.
///
/// # Errors
/// When something does not start, or the sandbox is lost; [`Ended`] when the run is to end at once. Nothing is left of it
/// in any case.
pub async fn play(
    host: &Host,
    play: Play,
    stop: &Stop,
    progress: &(dyn Fn(f64) + Sync),
    load: impl AsyncFnOnce(&Scene<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<Played> {
    let stage = Stage::set(host, play.setting.clone()).await?;
    let played = tokio::select! {
        played = on(&stage, &play, stop, progress, load) => played,
        () = stop.at_once() => Err(Ended.into()),
    };
    let struck = stage.strike().await;
    let played = played?;
    struck?;
    Ok(played)
}

async fn on(
    stage: &Stage,
    play: &Play,
    stop: &Stop,
    progress: &(dyn Fn(f64) + Sync),
    load: impl AsyncFnOnce(&Scene<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<Played> {
    let crowd = Crowd::new(stage.reach.clone());
    let course = Course::new(play.faults, play.seed);
    let tell = |part: f64| {
        course.reached(part);
        progress(part);
    };
    let (progress, wishes) = (&tell, AtomicUsize::new(0));
    let scene = Scene { stage, crowd: &crowd, play, stop, progress, course: &course, wishes };
    let (greetings, used, complaints) = crowd
        .during(async {
            if play.faults.kill() {
                greet(&scene).await;
            }
            let greetings = crowd.asked_count();
            let meter = Meter::start(stage.reading());
            let whole = async {
                load(&scene).await?;
                scene.reached(1.0);
                scene.troubles_over().await;
                Ok(())
            };
            tokio::select! {
                done = whole => done,
                failed = course.run(stage, &crowd) => failed,
                // What it owed is found out without waiting for it.
                () = stage.exit() => Ok(()),
            }?;
            if play.lie == Some(Lie::Exit) {
                stage.crash_bot()?;
                stage.exit().await;
            }
            stage.reach.trouble(&Trouble::Calm).await?;
            recover(stage).await?;
            drain(&scene).await?;
            let used = meter.stop(stage.reading());
            all_seen(&scene).await?;
            Ok((greetings, used, stage.complaints()))
        })
        .await?;
    if let Some(lie) = play.lie {
        lie.on_stage(stage).await?;
    }
    let mut history = settled(stage).await?;
    let (mut screens, mut books) = (stage.reach.screens().await?, stage.reach.books().await?);
    let (asked, mut changes, exits) = (crowd.asked(), crowd.changes(), stage.exits());
    if let Some(lie) = play.lie {
        lie.tamper(&play.rules, &mut history, &mut books, &mut screens);
        lie.misremember(&mut changes);
    }
    let mut happened = course.happened();
    happened.delivered_twice = asked.iter().filter(|asked| asked.twice).count();
    happened.troubles.clone_from(&books.troubles);
    // What did not go wrong excuses nothing.
    let kills = happened.kills.clone();
    let (faults, deaths) = (happened.is_anything(), !kills.is_empty());
    let rules = &Rules { faults, deaths, ..play.rules.clone() };
    let verdict = check(&Evidence {
        asked: &asked,
        flood: &crowd.flooded(),
        changes: &changes,
        screens: &screens,
        history: &history,
        books: &books,
        errors: complaints.1,
        exits: &exits,
        rules,
    });
    // The greetings were answered before anything was measured.
    let since = asked.get(greetings).map_or(u64::MAX, |first| first.at);
    let answers: Vec<Answer> = verdict.answers.into_iter().filter(|answer| answer.asked >= since).collect();
    let messages = asked.len() - greetings;
    let of = |kind: Kind| answers.iter().filter(|answer| answer.kind == kind).count();
    let figures = Figures {
        messages,
        answered: of(Kind::Answered),
        failed: of(Kind::Failed),
        refused: answers.iter().filter(|answer| matches!(answer.kind, Kind::Refused(_))).count(),
        lost: messages.saturating_sub(answers.len()),
        reels: books.apify.len(),
        used,
        happened: (play.faults != Faults::None).then_some(happened),
        warnings: complaints.0,
        errors: complaints.1,
        checks: verdict.checks,
        breaches: verdict.breaches,
        ..figures(&answers)
    };
    Ok(Played { figures, answers, history, kills })
}

/// Rate and percentiles of answers.
pub fn figures(answers: &[Answer]) -> Figures {
    let ms = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1e3;
    let from = answers.iter().map(|answer| answer.asked).min().unwrap_or(0);
    let to = answers.iter().map(|answer| answer.last).max().unwrap_or(0);
    let seconds = ms(from, to) / 1e3;
    Figures {
        messages: answers.len(),
        per_second: if seconds > 0.0 { answers.len() as f64 / seconds } else { 0.0 },
        first_text_ms: Percentiles::of(answers.iter().map(|answer| ms(answer.asked, answer.first))),
        final_ms: Percentiles::of(answers.iter().map(|answer| ms(answer.asked, answer.last))),
        ..Figures::default()
    }
}

/// Discord tells a message once. After a death the bot reads the chats again in which it has spoken, and no others: so
/// that a message can be held to its answer, everybody there has had one before.
pub(super) async fn greet(scene: &Scene<'_>) {
    let on_discord = (0..scene.play.people).filter(|person| !person.is_multiple_of(2));
    let greetings = on_discord.map(|person| {
        let wish = scene.wish(person, format!("hello, I am number {person}"), None, 1.0);
        scene.crowd.ask(wish, PATIENCE)
    });
    futures::future::join_all(greetings).await;
}

/// What was taken away for the run comes back.
async fn recover(stage: &Stage) -> anyhow::Result<()> {
    if let Some(proxy) = &stage.proxy {
        proxy.set(super::proxy::Path::Open).await;
    }
    // Those that ended by themselves do not count.
    stage.exits();
    while stage.instances() < stage.setting.instances {
        stage.start_bot(Clock::Right).await?;
    }
    Ok(())
}

/// Until nothing is owed to anybody, or nothing comes any more.
pub(super) async fn drain(scene: &Scene<'_>) -> anyhow::Result<()> {
    let (began, mut idle_since) = (Instant::now(), None);
    let patience = PATIENCE + scene.play.backlog;
    let (said, exits) = (scene.crowd.sent_count(), scene.stage.exits().len());
    while began.elapsed() < patience && scene.stage.exits().len() == exits {
        // In this order: what comes in between is not idle any more.
        let stored = usize::try_from(scene.stage.store.messages_received().await?).unwrap_or(0);
        let idle = scene.stage.reach.books().await?.pending == 0 && scene.stage.store.is_idle().await?;
        if idle && stored >= said {
            return Ok(());
        }
        match (idle, idle_since) {
            (true, None) => idle_since = Some(Instant::now()),
            (true, Some(since)) if since.elapsed() > GIVEN_UP => return Ok(()),
            (true, Some(_)) => {}
            (false, _) => idle_since = None,
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Until the crowd has been told of everything that stands on a screen: the bot may know that its last message was taken
/// before those who look on do.
async fn all_seen(scene: &Scene<'_>) -> anyhow::Result<()> {
    let screens = scene.stage.reach.screens().await?;
    let began = Instant::now();
    while began.elapsed() < GIVEN_UP {
        let changes = scene.crowd.changes();
        let seen: HashMap<(On, &str, &str), State> =
            changes.iter().map(|seen| ((seen.on, seen.chat.as_str(), seen.message.as_str()), seen.state)).collect();
        let is_seen = |shown: &OnScreen| {
            let state = State::of(&shown.head, &shown.tail, shown.buttons);
            seen.get(&(shown.on, shown.chat.as_str(), shown.message.as_str())) == Some(&state)
        };
        if screens.iter().all(is_seen) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// How long Apify's last word on what its runs cost is waited for.
const CHARGES: Duration = Duration::from_secs(40);

/// The rows, once no call is under way any more and every cost is final; a call whose process died stays under way.
async fn settled(stage: &Stage) -> anyhow::Result<History> {
    let began = Instant::now();
    loop {
        let history = stage.store.history().await?;
        let under_way = history.ledger.iter().any(|row| row.outcome == STARTED);
        let is_final = stage.store.next_charge_at().await?.is_none();
        let late = |patience| began.elapsed() > patience;
        if (!under_way || late(Duration::from_secs(2))) && (is_final || late(CHARGES)) {
            return Ok(history);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
