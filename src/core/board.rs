//! The live boards: each waiting person sees one message that tells where their reels are. Owns what the line looks
//! like from outside (place, time left, phase) and when a message is edited; the words are `wording`'s.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::chat::{Body, Destination};
use super::leases::{Lease, Moment};
use super::outbox::{Outbox, Progress};
use super::presence::Presence;
use super::reels::eta::{self, LaneState};
use super::text;
use super::wording::{self, Hold, LaneLine, LaneWork, LastFailure, ReelState};
use crate::clock::{Clock, Timestamp};
use crate::crash;
use crate::ids::{BoardId, ChatScope, JobId, MessageRef, PersonId, Shortcode};
use crate::store::boards::{Board, BoardReel};
use crate::store::lanes::{BreakerState, Lane, LaneKind};
use crate::store::reels::{JobPhase, LiveJob, SubscriptionState};
use crate::store::{Store, StoreError};

/// The time of a reel before any has been measured: scrape 5-10 s, video 15-20 s.
const FIRST_GUESS: Duration = Duration::from_secs(27);

/// The median is taken over so many finished reels.
const SAMPLE: u32 = 21;

/// Nobody else writes to a board while somebody may be at it; renewed while a send takes longer.
pub const POSTING_LEASE: Duration = Duration::from_secs(15);

/// Boards that are written to at a time.
const AT_ONCE: usize = 16;

/// Part of a reel's time that is the scrape, in percent: from 5-10 s of 25-30 s.
const SCRAPE_SHARE: u32 = 30;

/// A running job is late once it takes so much longer than usual, in percent.
const LATE: u32 = 125;

/// A look at the line is used again for so many times as long as it took, so that looking never keeps a core busy.
const LOOK_SHARE: u32 = 20;

/// So many reels of the line are told one by one.
const FIRST: usize = 40;

/// Keeps the boards true.
pub struct Boards {
    store: Arc<Store>,
    outbox: Arc<Outbox>,
    presence: Arc<Presence>,
    clock: Clock,
    lanes: Vec<Lane>,
    latest: Mutex<Option<Look>>,
}

#[derive(Clone)]
struct Look {
    view: Arc<View>,
    at: Instant,
    took: Duration,
}

/// The line as seen from outside at one moment.
#[derive(Debug)]
pub struct View {
    pub working: usize,
    pub waiting: usize,
    /// How long a reel takes on its lane.
    pub typical: Duration,
    /// For admins.
    pub lanes: Vec<LaneLine>,
    /// How long the reel that has waited longest has waited.
    pub oldest: Option<Duration>,
    pub draining: bool,
    /// The reels at work and the first in line, in this order; for admins.
    pub first: Vec<InLine>,
    jobs: HashMap<JobId, Place>,
    slow: bool,
    hold: Option<Hold>,
}

/// A reel in the line.
#[derive(Clone, Debug)]
pub struct InLine {
    pub reel: Shortcode,
    /// From 1 on; 0 while it is at work.
    pub place: usize,
    /// `None` while it waits.
    pub phase: Option<JobPhase>,
    pub asked_at: Timestamp,
    /// Not before then.
    pub ready_at: Timestamp,
    /// When it is expected to be read.
    pub end: Timestamp,
    /// It failed before and is tried again.
    pub again: bool,
}

/// Where a job is, with times that stay true for a while.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// `owner`: whose spacing it waits for.
    Queued {
        place: usize,
        owner: PersonId,
        ready_at: Timestamp,
        end: Timestamp,
        again: bool,
    },
    Running {
        phase: JobPhase,
        end: Timestamp,
        late: bool,
    },
}

impl View {
    /// The state of one wish of a person; `None` if the job is not in this view, because it came or went since.
    pub fn state(&self, person: PersonId, reel: &BoardReel, now: Timestamp) -> Option<ReelState> {
        match reel.state {
            SubscriptionState::Cancelled => Some(ReelState::Cancelled),
            SubscriptionState::Answered | SubscriptionState::Answering if reel.failure.is_some() => {
                let content = reel.failure.clone().unwrap_or_default();
                Some(ReelState::Failed { content, is_told: reel.state == SubscriptionState::Answered })
            }
            SubscriptionState::Answered => Some(ReelState::Answered),
            SubscriptionState::Answering => Some(ReelState::Coaching),
            SubscriptionState::Waiting => self.jobs.get(&reel.job?).map(|place| self.waiting(person, *place, now)),
        }
    }

    fn waiting(&self, person: PersonId, place: Place, now: Timestamp) -> ReelState {
        match place {
            Place::Running { phase: JobPhase::Analysing, end, late } => {
                ReelState::Analysing { left: end.since(now), late }
            }
            Place::Running { phase: JobPhase::Waiting | JobPhase::Scraping, end, late } => {
                ReelState::Scraping { left: end.since(now), late }
            }
            Place::Queued { place, owner, ready_at, end, again } => {
                let left = end.since(now);
                // Whose own slot were earlier would have it: for everybody else it is a place in the line.
                let is_spaced = owner == person && ready_at > now + Duration::from_secs(1);
                match self.hold {
                    Some(hold) => ReelState::Held { place: eta::shown(place), hold },
                    None if again => ReelState::Again { pause: ready_at.since(now), left },
                    None if is_spaced => ReelState::Spaced { left },
                    None => ReelState::Queued { place: eta::shown(place), left, slow: self.slow },
                }
            }
        }
    }
}

impl Boards {
    pub fn new(
        store: Arc<Store>,
        outbox: Arc<Outbox>,
        presence: Arc<Presence>,
        clock: Clock,
        lanes: Vec<Lane>,
    ) -> Self {
        Self { store, outbox, presence, clock, lanes, latest: Mutex::new(None) }
    }

    /// The lanes there are.
    pub fn lanes(&self) -> &[Lane] {
        &self.lanes
    }

    /// The line as it was a moment ago; how long ago grows with the line, because looking does too.
    pub async fn view(&self) -> Result<Arc<View>, StoreError> {
        let mut latest = self.latest.lock().await;
        match &*latest {
            Some(look) if look.at.elapsed() < look.took * LOOK_SHARE => Ok(look.view.clone()),
            _ => self.look_into(&mut latest).await,
        }
    }

    /// The line as it is now.
    pub async fn look(&self) -> Result<Arc<View>, StoreError> {
        let asked = Instant::now();
        let mut latest = self.latest.lock().await;
        match &*latest {
            // Somebody else looked while this one waited.
            Some(look) if look.at > asked => Ok(look.view.clone()),
            _ => self.look_into(&mut latest).await,
        }
    }

    async fn look_into(&self, latest: &mut Option<Look>) -> Result<Arc<View>, StoreError> {
        let at = Instant::now();
        let view = Arc::new(self.read_line().await?);
        *latest = Some(Look { view: view.clone(), at, took: at.elapsed() });
        Ok(view)
    }

    /// The wishes of these of one person that are still in the line, with their states.
    pub async fn states_of<'a>(
        &self,
        person: PersonId,
        reels: impl Iterator<Item = &'a BoardReel> + Clone,
    ) -> Result<(Arc<View>, Vec<(Shortcode, ReelState)>), StoreError> {
        let waiting = reels.filter(|reel| reel.state == SubscriptionState::Waiting);
        let mut view = self.view().await?;
        let now = self.clock.now();
        if waiting.clone().any(|reel| view.state(person, reel, now).is_none()) {
            view = self.look().await?;
        }
        let states =
            waiting.filter_map(|reel| Some((reel.shortcode.clone(), view.state(person, reel, now)?))).collect();
        Ok((view, states))
    }

    async fn read_line(&self) -> Result<View, StoreError> {
        let now = self.clock.now();
        let line = self.store.line().await?;
        let known = self.store.lanes().await?;
        let mut usual = HashMap::new();
        for kind in [LaneKind::Direct, LaneKind::N8n] {
            if self.lanes.iter().any(|lane| lane.kind() == kind) {
                let recent = self.store.recent_durations(kind, SAMPLE).await?;
                usual.insert(kind, eta::median(&recent, FIRST_GUESS));
            }
        }
        let usual = |lane: &Lane| usual.get(&lane.kind()).copied().unwrap_or(FIRST_GUESS);
        let mut jobs = HashMap::with_capacity(line.len());
        let mut free = Vec::with_capacity(self.lanes.len());
        let mut lines = Vec::with_capacity(self.lanes.len());
        for lane in &self.lanes {
            let each = usual(lane);
            let job = line.iter().find_map(|job| {
                let running = job.running.as_ref().filter(|running| running.lane == lane.name())?;
                Some((job, running))
            });
            let busy_until = job.map(|(_, running)| eta::running_end(now, running.started_at, each));
            if let Some((job, running)) = job {
                let late = now.since(running.started_at) > each * LATE / 100;
                // Never less than what the next phase alone takes; a workflow does not tell its phases.
                let ahead = match (lane.kind(), running.phase) {
                    (LaneKind::Direct, JobPhase::Waiting | JobPhase::Scraping) => each * (100 - SCRAPE_SHARE) / 100,
                    _ => Duration::ZERO,
                };
                let end = busy_until.unwrap_or(now).max(now + ahead);
                jobs.insert(job.job, Place::Running { phase: running.phase, end, late });
            }
            let paused = known.is_paused(lane);
            let out_for = match known.state(lane.upstream(), now) {
                BreakerState::Closed => None,
                BreakerState::Held { until } | BreakerState::Open { until } => Some(until.since(now)),
                BreakerState::HalfOpen => Some(Duration::ZERO),
            };
            if !paused {
                free.push(LaneState {
                    free_at: busy_until.unwrap_or(now).max(now + out_for.unwrap_or_default()),
                    each,
                });
            }
            lines.push(LaneLine {
                name: lane.name().to_owned(),
                paused,
                at_work: job.map(|(job, running)| LaneWork {
                    reel: job.shortcode.clone(),
                    phase: running.phase,
                    since: now.since(running.started_at),
                }),
                out_for,
                last_failure: known.breaker(lane.upstream()).map(|breaker| LastFailure {
                    cause: breaker.cause.clone(),
                    reference: breaker.reference.clone(),
                    ago: now.since(breaker.failed_at),
                }),
            });
        }
        let typical = self.lanes.iter().map(usual).min().unwrap_or(FIRST_GUESS);
        // On a lane that this instance does not know: another one is configured differently.
        for (job, running) in line.iter().filter_map(|job| Some((job, job.running.as_ref()?))) {
            let end = eta::running_end(now, running.started_at, typical);
            jobs.entry(job.job).or_insert(Place::Running { phase: running.phase, end, late: false });
        }
        let queued: Vec<_> = line.iter().filter(|job| job.running.is_none()).collect();
        let ready: Vec<Timestamp> = queued.iter().map(|job| job.ready_at).collect();
        let ends = eta::ends(now, &ready, &free);
        for (at, (job, end)) in queued.iter().zip(ends).enumerate() {
            let (owner, ready_at, again) = (job.asked_by, job.ready_at, job.has_failed);
            jobs.insert(job.job, Place::Queued { place: at + 1, owner, ready_at, end, again });
        }
        let in_line = |job: &LiveJob| {
            let (place, phase, end) = match jobs.get(&job.job)? {
                Place::Running { phase, end, .. } => (0, Some(*phase), *end),
                Place::Queued { place, end, .. } => (*place, None, *end),
            };
            let (reel, again) = (job.shortcode.clone(), job.has_failed);
            Some(InLine { reel, place, phase, asked_at: job.created_at, ready_at: job.ready_at, end, again })
        };
        let first = line.iter().filter_map(in_line).take(FIRST).collect();
        let open = || lines.iter().filter(|lane| !lane.paused);
        let hold = match open().map(|lane| lane.out_for).min() {
            None => Some(Hold::Paused),
            Some(None) => None,
            Some(Some(again)) => Some(Hold::Trouble { again }),
        };
        Ok(View {
            working: line.len() - queued.len(),
            waiting: queued.len(),
            typical,
            oldest: queued.iter().map(|job| job.created_at).min().map(|at| now.since(at)),
            draining: known.draining,
            slow: open().any(|lane| lane.out_for.is_some()),
            hold,
            lanes: lines,
            first,
            jobs,
        })
    }

    /// Brings every board to the present; returns how long reading them and the line took, `None` if none is open.
    pub async fn run_once(&self) -> Result<Option<Duration>, StoreError> {
        let began = Instant::now();
        let mut boards = self.store.open_boards().await?;
        // Those that nobody has seen yet come first, where a chat takes only some.
        boards.sort_by_key(|board| board.message.is_some());
        if boards.is_empty() {
            return Ok(None);
        }
        let view = self.look().await?;
        let reading = began.elapsed();
        futures::stream::iter(&boards)
            .for_each_concurrent(AT_ONCE, |board| async {
                if let Err(error) = self.refresh(board, &view).await {
                    tracing::warn!(board = %board.id, "a board could not be refreshed: {error}");
                }
            })
            .await;
        Ok(Some(reading))
    }

    async fn refresh(&self, board: &Board, view: &View) -> Result<(), StoreError> {
        let now = self.clock.now();
        let states =
            board.reels.iter().map(|reel| Some((reel.shortcode.clone(), view.state(board.person, reel, now)?)));
        // One that came or went since the view was taken is told in the next round, which that change calls for.
        let Some(reels) = states.collect::<Option<Vec<_>>>() else { return Ok(()) };
        let is_answered =
            |state: &ReelState| matches!(state, ReelState::Answered | ReelState::Failed { is_told: true, .. });
        let ended = reels.iter().all(|(_, state)| is_answered(state) || *state == ReelState::Cancelled);
        // The message of a single reel becomes its answer: from the coaching on it is the turn's to close.
        let handed_over = matches!(&reels[..], [(_, ReelState::Coaching | ReelState::Failed { is_told: false, .. })]);
        // What nobody has seen need not end on screen, unless it is the only word there is of it.
        let all_answered = reels.iter().all(|(_, state)| is_answered(state));
        let unseen = board.message.is_none() && !self.can_be_found(board);
        let never_needed = unseen && (handed_over || (all_answered && board.placeholder.is_none()));
        let body = wording::board(board.id, &board.note, &reels);
        let true_now = never_needed || body.text == board.shown || self.write(board, &body).await?;
        if true_now && ended && !handed_over {
            self.store.close_board(board.id).await?;
        }
        Ok(())
    }

    /// Puts the words on screen: into the board's message, or into a new one where there is none that can be edited.
    /// `false` if the screen still shows the old ones.
    async fn write(&self, board: &Board, body: &Body) -> Result<bool, StoreError> {
        let Some(rules) = self.outbox.rules(&board.chat) else { return Ok(false) };
        let Some(piece) = text::render(body, &rules).into_iter().next() else { return Ok(false) };
        let asked = Moment::now(&self.clock);
        let now = asked.wall;
        if !self.outbox.has_room(&board.chat, board.message.is_some()) {
            return Ok(false);
        }
        if !self.store.begin_posting(board.id, &board.shown, now, now + POSTING_LEASE).await? {
            return Ok(false);
        }
        let lease = Lease::granted(&self.clock, POSTING_LEASE, asked);
        let too_old = rules.editable_for.is_some_and(|span| board.posted_at.is_some_and(|at| now.since(at) > span));
        let to = Destination {
            chat: board.chat.clone(),
            reply_to: board.reply_to.as_ref().map(|id| MessageRef::new(board.chat.clone(), id)),
        };
        // A second message of one board needs a name of its own.
        let nonce = board.id.nonce(usize::from(board.message.is_some()));
        let is_sought = self.can_be_found(board);
        let editable = board.message.as_deref().or(board.placeholder.as_deref()).filter(|_| !too_old);
        let mut edited = editable.is_some() && board.message.is_some();
        let send = async {
            let progress = self.outbox.progress(&to, editable, &piece, &nonce, Some(&lease)).await;
            if progress == Progress::Gone && editable.is_some() {
                edited = false;
                return self.outbox.progress(&to, None, &piece, &nonce, Some(&lease)).await;
            }
            progress
        };
        let progress = tokio::select! {
            progress = send => progress,
            () = self.keep(board.id, &lease) => Progress::Unsure,
        };
        let until = lease.until();
        match progress {
            Progress::Shown(message) => {
                let posted_at = board.posted_at.filter(|_| edited).unwrap_or_else(|| self.clock.now());
                crash::point("board posted");
                // Under a nonce that was used before, the message is the old one, with the words of then.
                let shown = if is_sought { "" } else { &body.text };
                let message = MessageRef::new(board.chat.clone(), message);
                let noted = || self.store.posted(board.id, until, Some((&message, shown, posted_at)));
                if !self.store.insist("noting a board", noted).await? {
                    // Its chat has got another id meanwhile: it is to be posted there.
                    self.store.posted(board.id, until, None).await?;
                    return Ok(false);
                }
                crash::point("board noted");
                Ok(!is_sought)
            }
            // Whether there is a message is as unknown as before.
            Progress::NotNow if is_sought => {
                self.store.extend_posting(board.id, until, now).await?;
                Ok(false)
            }
            Progress::NotNow | Progress::Refused => {
                self.store.posted(board.id, until, None).await?;
                Ok(false)
            }
            // The right to write runs out by itself, and then it is tried again under the same nonce.
            Progress::Unsure => Ok(false),
            Progress::Closed => {
                self.store.posted(board.id, until, None).await?;
                self.presence.gone(&ChatScope::SendsTo(board.chat.clone())).await?;
                Ok(false)
            }
            Progress::Gone => {
                self.store.close_posting(board.id, until).await?;
                Ok(false)
            }
        }
    }

    /// Whether it may be on screen under an id that nobody knows, and the platform would tell it: the same send again, under
    /// its nonce, is the same message there.
    fn can_be_found(&self, board: &Board) -> bool {
        board.perhaps_posted && self.outbox.rules(&board.chat).is_some_and(|rules| rules.dedupes_sends)
    }

    /// Renews the right to write for as long as a send takes; never returns.
    async fn keep(&self, board: BoardId, lease: &Lease) {
        loop {
            lease.due(POSTING_LEASE / 3).await;
            let (from, asked) = (lease.until(), lease.now());
            match self.store.extend_posting(board, from, asked.wall + POSTING_LEASE).await {
                Ok(true) => lease.renewed(asked),
                // The send goes on all the same; what it comes to is fenced.
                Ok(false) => {}
                Err(error) => tracing::warn!(%board, "the right to write to a board could not be renewed: {error}"),
            }
        }
    }
}
