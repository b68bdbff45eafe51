//! Everything that is done with the line, one after the other, each timed: what comes in goes out again, so that the
//! line keeps its length.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reelcoach::clock::{Clock, Timestamp};
use reelcoach::config::{Config, Environment};
use reelcoach::core::board::Boards;
use reelcoach::core::outbox::Outbox;
use reelcoach::core::presence::Presence;
use reelcoach::core::reels::Reels;
use reelcoach::ids::{ChatId, InstanceId, PersonId, Platform, Shortcode, TurnId};
use reelcoach::store::Store;
use reelcoach::store::lanes::{Lane, LaneKind};
use reelcoach::store::reels::{Cancelled, JobEnd, JobPhase, QueueLimits, Submitted, Wish};

use crate::NOW;
use crate::database::{Failed, Outcome};
use crate::plans::Ear;

/// No action is measured for longer than this at one size; a slow one is measured less often.
const LONGEST: Duration = Duration::from_secs(2);
const FEWEST: usize = 5;

/// What is done in the background, over everything there is: it may grow, and it is shown.
pub const BACKGROUND: [&str; 3] = ["look at the whole line", "read all open boards", "look for old rows"];

/// Either the time or the statements of each action.
pub struct Probe {
    pub actions: Vec<Action>,
    ear: Option<Ear>,
}

pub struct Action {
    pub name: &'static str,
    pub times: Vec<Duration>,
    pub statements: Vec<String>,
}

impl Probe {
    pub fn timing() -> Probe {
        Probe { actions: Vec::new(), ear: None }
    }

    pub fn listening(ear: &Ear) -> Probe {
        Probe { actions: Vec::new(), ear: Some(ear.clone()) }
    }

    async fn run<T, E: Into<Failed>>(
        &mut self,
        name: &'static str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Outcome<T> {
        if let Some(ear) = &self.ear {
            ear.open();
        }
        let from = Instant::now();
        let done = work.await.map_err(Into::into)?;
        let took = from.elapsed();
        let statements = match &self.ear {
            Some(ear) => ear.close().await,
            None => Vec::new(),
        };
        let action = match self.actions.iter_mut().position(|action| action.name == name) {
            Some(at) => &mut self.actions[at],
            None => {
                self.actions.push(Action { name, times: Vec::new(), statements: Vec::new() });
                let last = self.actions.len() - 1;
                &mut self.actions[last]
            }
        };
        action.times.push(took);
        for statement in statements {
            if !action.statements.contains(&statement) {
                action.statements.push(statement);
            }
        }
        Ok(done)
    }

    /// Whether it has been measured well enough.
    fn is_known(&self, name: &str) -> bool {
        let action = self.actions.iter().find(|action| action.name == name);
        action.is_some_and(|action| action.times.len() >= FEWEST && action.times.iter().sum::<Duration>() > LONGEST)
    }
}

pub struct Line {
    store: Arc<Store>,
    boards: Boards,
    lanes: Vec<Lane>,
    who: InstanceId,
    limits: QueueLimits,
    made: usize,
}

impl Line {
    pub fn new(store: Arc<Store>) -> Line {
        let clock = Clock::manual(NOW);
        let lanes: Vec<Lane> = (0..2).map(Lane::direct).collect();
        let outbox = Arc::new(Outbox::new(Vec::new(), store.clone(), clock.clone()));
        let http = reelcoach::upstream::http_client().expect("a client that asks nobody can be made");
        let config = Config::read(&Environment::default()).0;
        let reels = Arc::new(Reels::new(store.clone(), clock.clone(), http, &config.reels));
        let presence = Arc::new(Presence::new(store.clone(), outbox.clone(), reels, clock.clone()));
        let boards = Boards::new(store.clone(), outbox, presence, clock, lanes.clone());
        let limits = QueueLimits { interval: Duration::ZERO, waiting_per_person: 5, waiting: i64::MAX, pipeline: 1 };
        Line { store, boards, lanes, who: InstanceId::new(), limits, made: 0 }
    }

    /// Everything once.
    pub async fn round(&mut self, probe: &mut Probe) -> Outcome<()> {
        let store = self.store.clone();
        let (person, chat, code) = self.somebody().await?;
        probe.run("submit a new reel", self.submit(person, &chat, &code)).await?;
        if probe.run("read a person's boards", store.open_boards_of(person)).await?.len() != 1 {
            return Err("somebody who waits has no board".into());
        }
        probe.run("when the next is ready", store.next_ready()).await?;
        probe.run("recent times of a lane", store.recent_durations(LaneKind::Direct, 21)).await?;
        let lease = Duration::from_secs(60);
        let job =
            probe.run("claim a job", store.claim_job(self.who, &self.lanes, NOW, lease)).await?.ok_or("no job")?;
        probe.run("renew a lease", store.renew_job(&job, NOW + lease)).await?;
        probe.run("note a run", store.note_run(&job, Some("abcdefghijklmnopq"))).await?;
        probe.run("note a phase", store.note_phase(&job, JobPhase::Analysing)).await?;
        // To the front of the line, so that it is the next to be claimed.
        probe.run("put a job back", store.requeue_job(&job, NOW - Duration::from_secs(5_000_000), None)).await?;
        let job = store.claim_job(self.who, &self.lanes, NOW, lease).await?.ok_or("no job")?;
        let end = JobEnd::Done { content: "{}".to_owned(), pipeline: 1, until: NOW + lease };
        if !probe.run("finish a job", store.finish_job(&job, &end, self.limits.interval, NOW)).await? {
            return Err("a lease was lost".into());
        }
        probe.run("look up a reel", store.reel(&job.shortcode, 1, NOW)).await?;
        // One: with more of the past there would be more to tell.
        probe.run("a person's latest reel", store.reels_of(job.asked_by, &job.chat, 1)).await?;
        let (other, chat, _) = self.somebody().await?;
        let known = probe.run("submit a known reel", self.submit(other, &chat, &job.shortcode)).await?;
        if known != Submitted::Cached {
            return Err(format!("a finished reel is not known: {known:?}").into());
        }
        let (other, chat, code) = self.somebody().await?;
        self.submit(other, &chat, &code).await?;
        let taken_back = probe.run("cancel", store.cancel(&Cancelled::AllOf(other), self.limits.interval, NOW)).await?;
        if taken_back.len() != 1 {
            return Err("nothing was cancelled".into());
        }
        Ok(())
    }

    /// What may look at everything, so many times at most. It comes last: it leaves cold caches behind.
    pub async fn look(&mut self, probe: &mut Probe, times: usize) -> Outcome<()> {
        let store = self.store.clone();
        let (person, chat, code) = self.somebody().await?;
        self.submit(person, &chat, &code).await?;
        for _ in 0..times {
            if !probe.is_known("a place and an ETA") {
                // What the boards' own rounds do in the background: people who ask find what they have seen.
                self.boards.look().await?;
                let asked = async {
                    let own = store.open_boards_of(person).await?;
                    let (_, states) = self.boards.states_of(person, own.iter().flat_map(|board| &board.reels)).await?;
                    Ok::<_, Failed>(states)
                };
                let states = probe.run("a place and an ETA", asked).await?;
                if states.len() != 1 {
                    return Err("somebody who waits has no place".into());
                }
            }
            if !probe.is_known(BACKGROUND[0]) {
                probe.run(BACKGROUND[0], self.boards.look()).await?;
                probe.run(BACKGROUND[1], store.open_boards()).await?;
                probe.run(BACKGROUND[2], store.sweep(Timestamp(1))).await?;
            }
        }
        store.cancel(&Cancelled::AllOf(person), self.limits.interval, NOW).await?;
        Ok(())
    }

    /// Somebody new, who wants a reel that nobody has wanted yet.
    async fn somebody(&mut self) -> Outcome<(PersonId, ChatId, Shortcode)> {
        self.made += 1;
        let name = format!("new{}", self.made);
        let person = self.store.person(Platform::Telegram, &name, "Ana", NOW).await?;
        Ok((person, ChatId::new(Platform::Telegram, name), format!("E{:010}", self.made).parse()?))
    }

    async fn submit(&self, person: PersonId, chat: &ChatId, code: &Shortcode) -> Outcome<Submitted> {
        let reels = std::slice::from_ref(code);
        let wish = Wish {
            turn: TurnId::new(),
            person,
            chat,
            reply_to: None,
            placeholder: None,
            question: "",
            reels,
            fresh: false,
        };
        let outcomes = self.store.submit(&wish, self.limits, &|_| String::new(), NOW).await?;
        outcomes.into_iter().next().ok_or_else(|| "nothing became of a wish".into())
    }
}
