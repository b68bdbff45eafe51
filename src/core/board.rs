//! The live boards: each waiting person sees one message that tells where their reels are. Owns what the line looks
//! like from outside (place, time left, phase) and when a message is edited; the words are `wording`'s.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures::StreamExt;

use super::chat::{Body, Destination};
use super::outbox::{Outbox, Progress};
use super::reels::eta::{self, LaneState};
use super::text;
use super::wording::{self, ReelState};
use crate::clock::{Clock, Timestamp};
use crate::crash;
use crate::ids::{BoardId, JobId, MessageRef};
use crate::store::boards::{Board, BoardReel};
use crate::store::reels::{JobPhase, Lane, LaneKind, SubscriptionState};
use crate::store::{Store, StoreError};

/// The time of a reel before any has been measured: scrape 5-10 s, video 15-20 s.
const FIRST_GUESS: Duration = Duration::from_secs(27);

/// The median is taken over so many finished reels.
const SAMPLE: u32 = 21;

/// Nobody else writes to a board while somebody may be at it; renewed while a send takes longer.
const POSTING_LEASE: Duration = Duration::from_secs(15);

/// Boards that are written to at a time.
const AT_ONCE: usize = 16;

/// Part of a reel's time that is the scrape, in percent: from 5-10 s of 25-30 s.
const SCRAPE_SHARE: u32 = 30;

/// Keeps the boards true.
pub struct Boards {
    store: Arc<Store>,
    outbox: Arc<Outbox>,
    clock: Clock,
    lanes: Vec<Lane>,
}

/// The line as seen from outside at one moment.
#[derive(Debug)]
pub struct View {
    pub working: usize,
    pub waiting: usize,
    /// How long a reel takes on its lane.
    pub typical: Duration,
    states: HashMap<JobId, ReelState>,
}

impl View {
    /// The state of one wish.
    pub fn state(&self, reel: &BoardReel) -> ReelState {
        match reel.state {
            SubscriptionState::Cancelled => ReelState::Cancelled,
            SubscriptionState::Answered => ReelState::Answered,
            SubscriptionState::Answering => ReelState::Coaching,
            SubscriptionState::Waiting => {
                reel.job.and_then(|job| self.states.get(&job).cloned()).unwrap_or(ReelState::Coaching)
            }
        }
    }
}

impl Boards {
    pub fn new(store: Arc<Store>, outbox: Arc<Outbox>, clock: Clock, lanes: Vec<Lane>) -> Self {
        Self { store, outbox, clock, lanes }
    }

    /// Looks at the line.
    pub async fn view(&self) -> Result<View, StoreError> {
        let now = self.clock.now();
        let line = self.store.line().await?;
        let mut recent = self.store.recent_durations(LaneKind::Direct, SAMPLE).await?;
        if self.lanes.iter().any(|lane| lane.kind == LaneKind::N8n) {
            recent.extend(self.store.recent_durations(LaneKind::N8n, SAMPLE).await?);
        }
        let typical = eta::median(&recent, FIRST_GUESS);
        let mut states = HashMap::with_capacity(line.len());
        let mut lanes: Vec<LaneState> = Vec::new();
        for job in &line {
            let Some(running) = &job.running else { continue };
            let end = eta::running_end(now, running.started_at, typical);
            lanes.push(LaneState { free_at: end });
            let left = end.since(now);
            let state = match running.phase {
                JobPhase::Waiting | JobPhase::Scraping => {
                    // Never less than what the next phase alone takes.
                    ReelState::Scraping { left: left.max(typical * (100 - SCRAPE_SHARE) / 100) }
                }
                JobPhase::Analysing => ReelState::Analysing { left },
            };
            states.insert(job.job, state);
        }
        let working = lanes.len();
        while lanes.len() < self.lanes.len().max(1) {
            lanes.push(LaneState { free_at: now });
        }
        let queued: Vec<_> = line.iter().filter(|job| job.running.is_none()).collect();
        let ready: Vec<Timestamp> = queued.iter().map(|job| job.ready_at).collect();
        let ends = eta::ends(now, &ready, &lanes, typical);
        for (at, (job, end)) in queued.iter().zip(ends).enumerate() {
            let state = ReelState::Queued {
                place: eta::shown(at + 1),
                left: end.since(now),
                spaced: job.ready_at > now + Duration::from_secs(1),
            };
            states.insert(job.job, state);
        }
        Ok(View { working, waiting: queued.len(), typical, states })
    }

    /// Brings every board to the present; returns whether any is open.
    pub async fn run_once(&self) -> Result<bool, StoreError> {
        let boards = self.store.open_boards().await?;
        if boards.is_empty() {
            return Ok(false);
        }
        let view = self.view().await?;
        futures::stream::iter(&boards)
            .for_each_concurrent(AT_ONCE, |board| async {
                if let Err(error) = self.refresh(board, &view).await {
                    tracing::warn!(board = %board.id, "a board could not be refreshed: {error}");
                }
            })
            .await;
        Ok(true)
    }

    async fn refresh(&self, board: &Board, view: &View) -> Result<(), StoreError> {
        let reels: Vec<_> = board.reels.iter().map(|reel| (reel.shortcode.clone(), view.state(reel))).collect();
        let ended = reels.iter().all(|(_, state)| matches!(state, ReelState::Answered | ReelState::Cancelled));
        // The message of a single reel becomes its answer: from the coaching on it is the turn's to close.
        let handed_over = matches!(&reels[..], [(_, ReelState::Coaching)]);
        let never_needed = board.message.is_none() && (handed_over || ended);
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
        let now = self.clock.now();
        let until = now + POSTING_LEASE;
        if !self.store.begin_posting(board.id, &board.shown, now, until).await? {
            return Ok(false);
        }
        let too_old = rules.editable_for.is_some_and(|span| board.posted_at.is_some_and(|at| now.since(at) > span));
        let to = Destination {
            chat: board.chat.clone(),
            reply_to: board.reply_to.as_ref().map(|id| MessageRef::new(board.chat.clone(), id)),
        };
        // A second message of one board needs a name of its own.
        let nonce = board.id.nonce(usize::from(board.message.is_some()));
        let editable = board.message.as_deref().or(board.placeholder.as_deref()).filter(|_| !too_old);
        let until = AtomicI64::new(until.0);
        let mut edited = editable.is_some() && board.message.is_some();
        let send = async {
            let progress = self.outbox.progress(&to, editable, &piece, &nonce).await;
            if progress == Progress::Gone && editable.is_some() {
                edited = false;
                return self.outbox.progress(&to, None, &piece, &nonce).await;
            }
            progress
        };
        let progress = tokio::select! {
            progress = send => progress,
            () = self.keep(board.id, &until) => Progress::Unsure,
        };
        let until = Timestamp(until.into_inner());
        match progress {
            Progress::Shown(message) => {
                let posted_at = board.posted_at.filter(|_| edited).unwrap_or_else(|| self.clock.now());
                crash::point("board posted");
                self.store.posted(board.id, until, Some((&message, &body.text, posted_at))).await?;
                crash::point("board noted");
                Ok(true)
            }
            Progress::NotNow | Progress::Refused => {
                self.store.posted(board.id, until, None).await?;
                Ok(false)
            }
            // The right to write runs out by itself, and then it is tried again under the same nonce.
            Progress::Unsure => Ok(false),
            Progress::Gone | Progress::Closed => {
                self.store.close_board(board.id).await?;
                Ok(false)
            }
        }
    }

    /// Renews the right to write for as long as a send takes; never returns.
    async fn keep(&self, board: BoardId, until: &AtomicI64) {
        loop {
            tokio::time::sleep(POSTING_LEASE / 3).await;
            let (from, to) = (Timestamp(until.load(Ordering::Relaxed)), self.clock.now() + POSTING_LEASE);
            match self.store.extend_posting(board, from, to).await {
                Ok(true) => until.store(to.0, Ordering::Relaxed),
                // The send goes on all the same; what it comes to is fenced.
                Ok(false) => {}
                Err(error) => tracing::warn!(%board, "the right to write to a board could not be renewed: {error}"),
            }
        }
    }
}
