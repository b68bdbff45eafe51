//! Puts the parts together and runs them. The only place that knows every part, and the only one that starts tasks.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::config::Config;
use crate::core::access::{Gate, Rules};
use crate::core::admin::Admin;
use crate::core::board::Boards;
use crate::core::capacity::Plan;
use crate::core::charges::Charges;
use crate::core::chat::{Messenger, Receive, ReceiveFailed, Taken};
use crate::core::coach::{self, ASKED_WITHIN, Coach, CoachSettings};
use crate::core::inbox::{Inbox, InboxSettings};
use crate::core::late::Late;
use crate::core::leases::Lease;
use crate::core::money::Purse;
use crate::core::outbox::Outbox;
use crate::core::presence::Presence;
use crate::core::reels::Reels;
use crate::core::reply::Replies;
use crate::core::timekeeping::{self, Timekeeper};
use crate::core::watch::Watch;
use crate::core::worker::{self, Worker};
use crate::crash;
use crate::fence::Fences;
use crate::ids::{InstanceId, Platform};
use crate::platforms::Platforms;
use crate::store::turns::Received;
use crate::store::{Store, StoreError};
use crate::telemetry::{Reference, TURNS_IN_FLIGHT, system};
use crate::upstream::openai::OpenAi;

mod checked;
mod edges;
mod refused;
mod roles;
mod slots;
mod upstreams;
mod watching;

pub use checked::CheckedConfig;
pub use refused::Refused;
use roles::Roles;
use slots::Slots;
pub use upstreams::{Upstreams, upstreams};

/// How often due work is looked for where no hint comes.
const POLL: Duration = Duration::from_millis(500);

/// How often open boards are brought up to date.
const BOARD_TICK: Duration = Duration::from_secs(1);

/// The boards rest for so many times as long as reading them took.
const BOARD_REST: u32 = 3;

/// How often old rows are looked for, and the pause between two batches of them.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);
const SWEEP_PAUSE: Duration = Duration::from_millis(200);

/// How often charges are looked for that are due to be asked for again.
const CHARGES_EVERY: Duration = Duration::from_secs(5);

/// Turns claimed in one statement.
const CLAIM_BATCH: u32 = 64;

/// A message that is not stored by then is not: it is asked for again, and the person is told.
const STORED_WITHIN: Duration = Duration::from_secs(8);

/// An outage of the database that is shorter lets no lease run out: each is renewed well before its last 8 s.
const SHORT_OUTAGE: Duration = Duration::from_secs(8);

/// After a longer one, whoever is still at work has renewed its leases within this time (a second's pause and 3 s for
/// the renewal, in `core::worker` and `core::reply`); what nobody has renewed then is taken over.
const RENEWAL_GRACE: Duration = Duration::from_secs(6);

/// An endless loop of the core, by name.
type Loop = (&'static str, futures::future::BoxFuture<'static, anyhow::Result<()>>);

/// A part that is built, before it runs.
pub struct App {
    config: Config,
    clock: Clock,
    time: Arc<Timekeeper>,
    instance: InstanceId,
    store: Arc<Store>,
    inbox: Arc<Inbox>,
    late: Arc<Late>,
    presence: Arc<Presence>,
    replies: Arc<Replies>,
    worker: Arc<Worker>,
    boards: Arc<Boards>,
    purse: Arc<Purse>,
    charges: Charges,
    openai: OpenAi,
    platforms: Platforms,
    roles: Roles,
    watch: Arc<Watch>,
    slots: Arc<Slots>,
    tracker: TaskTracker,
}

impl App {
    /// Opens and migrates the database and builds every part. The configuration must have been read without faults.
    pub async fn build(checked: CheckedConfig, clock: Clock, platforms: Platforms) -> anyhow::Result<App> {
        let CheckedConfig { config, prices, thresholds, persona } = checked;
        let mut store = Store::open(&config.database_url, config.database_connections).await?;
        store.claim()?;
        store.migrate().await?;
        let store = Arc::new(store);
        if !store.is_shared() {
            // Nobody else uses the file, so whatever is leased was this program's before it ended.
            store.release_everything(clock.now()).await?;
        }
        let instance = InstanceId::new();
        let http = crate::upstream::http_client()
            .context("the HTTP client cannot be made (is the package ca-certificates installed?)")?;
        let Upstreams { openai, apify, gemini, n8n } = upstreams(&config, http.clone(), clock.clone())?;
        let plan = Plan::of(&config, &prices);
        // At the console nobody watches, so that no heartbeat is written.
        let heard_of = platforms.console.is_none().then_some(instance);
        let purse = Arc::new(Purse::new(store.clone(), prices, clock.clone(), heard_of, &config));
        let messengers = platforms.messengers();
        let outbox = Arc::new(Outbox::new(messengers, store.clone(), clock.clone()));
        let reels = Arc::new(Reels::new(store.clone(), clock.clone(), http.clone(), &config.reels));
        let is_alone = platforms.console.is_some();
        let time = Arc::new(Timekeeper::new(store.clone(), clock.clone(), reels.clone(), is_alone, &config));
        time.begin().await?;
        let presence = Arc::new(Presence::new(store.clone(), outbox.clone(), reels.clone(), clock.clone()));
        let lanes = worker::lanes(&config);
        let boards = Boards::new(store.clone(), outbox.clone(), presence.clone(), clock.clone(), lanes);
        let boards = Arc::new(boards);
        let coach = Arc::new(Coach::new(
            openai.clone(),
            store.clone(),
            reels.clone(),
            boards.clone(),
            purse.clone(),
            clock.clone(),
            coach_settings(&config, &persona, &store).await?,
        ));
        let admin = Arc::new(Admin::new(store.clone(), purse.clone(), reels.clone(), config.admin_ids.clone(), plan));
        let charges = Charges::new(store.clone(), purse.clone(), apify.clone(), clock.clone());
        let worker = Arc::new(Worker::new(
            store.clone(),
            upstreams::pipeline(&config, apify, gemini, http),
            n8n,
            purse.clone(),
            clock.clone(),
            instance,
            &config,
        ));
        let gate = Arc::new(Gate::new(store.clone(), Rules::new(config.access.clone(), config.admin_ids.clone())));
        let settings = InboxSettings {
            merge_window: config.coach.merge_window,
            overheard_reels: config.coach.overheard_reels,
            per_minute: config.coach.messages_per_minute,
        };
        let inbox = Arc::new(Inbox::new(store.clone(), gate.clone(), clock.clone(), settings));
        let roles = Roles::of(&platforms, &clock);
        let watch = Arc::new(watching::build(
            &config,
            thresholds,
            clock.clone(),
            time.clone(),
            instance,
            &roles,
            store.clone(),
            purse.clone(),
        ));
        let late = Arc::new(Late::new(store.clone(), outbox.clone(), clock.clone()));
        let slots = Slots::new(config.coach.max_turns, system::limits().memory_bytes, clock.clone());
        let replies = Arc::new(Replies {
            store: store.clone(),
            outbox,
            presence: presence.clone(),
            reels,
            boards: boards.clone(),
            coach,
            admin,
            gate,
            late: late.clone(),
            clock: clock.clone(),
            instance,
        });
        Ok(App {
            config,
            clock,
            time,
            instance,
            store,
            inbox,
            late,
            presence,
            replies,
            worker,
            boards,
            purse,
            charges,
            roles,
            watch,
            openai,
            platforms,
            slots,
            tracker: TaskTracker::new(),
        })
    }

    /// The core's door, for adapters; `role` is what lets an adapter hear its platform.
    pub fn receive(&self, role: Option<Arc<Lease>>) -> Receive {
        let (inbox, late, clock) = (self.inbox.clone(), self.late.clone(), self.clock.clone());
        Arc::new(move |inbound| {
            let (inbox, late, clock, role) = (inbox.clone(), late.clone(), clock.clone(), role.clone());
            Box::pin(async move {
                let Some(sender) = inbox.wait_for(&inbound).await else { return Ok(Taken::Stored) };
                let storing = async {
                    crash::freeze_point("message due");
                    match tokio::time::timeout(STORED_WITHIN, inbox.receive(&inbound, sender)).await {
                        Ok(stored) => stored.map_err(|error| error.to_string()),
                        Err(_) => Err(format!("the database did not answer within {STORED_WITHIN:?}")),
                    }
                };
                use Received::{Duplicate, Joined, New, TooFast};
                let received = late.while_storing(storing, &inbound, role.as_deref()).await.map_err(|problem| {
                    tracing::error!(chat = %inbound.message.chat, reference = %Reference::new(), "a message could not be stored: {problem}");
                    ReceiveFailed
                })?;
                // What was refused says nothing of whether the database stores. What is there already was stored meanwhile.
                if matches!(received, Some(New | Joined | Duplicate | TooFast { is_first: true, .. })) {
                    late.over();
                }
                Ok(match received {
                    Some(TooFast { until, is_first }) => {
                        Taken::TooFast { again_in: until.since(clock.now()), is_first }
                    }
                    _ => Taken::Stored,
                })
            })
        })
    }

    /// The database, for those who ask whether all is answered.
    pub fn store(&self) -> Arc<Store> {
        self.store.clone()
    }

    /// Runs until `stop`: first the adapters end, then the answers in the making, bounded by `SHUTDOWN_SECONDS`.
    ///
    /// # Errors
    /// When a part ends that must not: a refused token, a lost listener. Everything else is stopped cleanly then too.
    pub async fn run(
        self,
        web: Option<(TcpListener, Option<PrometheusHandle>)>,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let app = Arc::new(self);
        let doors = stop.child_token();
        let work = CancellationToken::new();
        let (ended_tx, mut ended) = tokio::sync::mpsc::channel::<anyhow::Error>(8);
        if let Some((_, Some(metrics))) = &web {
            // Set once: this is the only run.
            let _ = app.watch.metrics.set(metrics.clone());
        }
        if app.platforms.console.is_none() && app.watch.begin().await {
            app.slots.be_careful();
        }
        let adapters = app.start_adapters(web, &doors, &ended_tx);
        let (workers, watchers, alive) = (TaskTracker::new(), TaskTracker::new(), CancellationToken::new());
        for (tracker, (name, future)) in app
            .loops(&work)
            .into_iter()
            .map(|task| (&workers, task))
            .chain(app.watching(&alive).map(|task| (&watchers, task)))
        {
            let ended_tx = ended_tx.clone();
            spawn(tracker, async move {
                if let Err(error) = future.await {
                    let _ = ended_tx.send(error.context(name)).await;
                }
            });
        }
        let fault = tokio::select! {
            () = stop.cancelled() => None,
            error = ended.recv() => error,
        };
        tracing::info!("stopping");
        doors.cancel();
        adapters.close();
        if tokio::time::timeout(Duration::from_secs(10), adapters.wait()).await.is_err() {
            tracing::warn!("an adapter did not stop in time");
        }
        work.cancel();
        workers.close();
        app.tracker.close();
        let in_flight = app.tracker.len();
        let done = async {
            workers.wait().await;
            app.tracker.wait().await;
        };
        let is_over = tokio::time::timeout(app.config.shutdown, done).await.is_ok();
        // Until here it is alive: what it has reserved is nobody else's to give up, and its part of the quota is its own.
        alive.cancel();
        watchers.close();
        watchers.wait().await;
        let mut failure = None;
        if !is_over {
            // An instance that leaves with turns under lease counts as one that they ended.
            let given_back = app.store.release_turns_of(app.instance, app.clock.now()).await;
            failure = given_back.err().map(|error| error.to_string());
            tracing::warn!(in_flight, failure, "some answers did not end in time; they are taken up at the next start");
        }
        if app.platforms.console.is_none() && failure.is_none() {
            app.watch.leave().await;
        }
        app.store.close().await;
        tracing::info!("stopped");
        fault.map_or(Ok(()), Err)
    }

    /// The endless loops of the core, by name.
    fn loops(self: &Arc<Self>, work: &CancellationToken) -> Vec<Loop> {
        let (a, b, c, d, e) = (self.clone(), self.clone(), self.clone(), self.clone(), self.clone());
        let (f, g, h) = (self.clone(), self.clone(), self.clone());
        // Those that claim or send look at `work` themselves, between two rounds: dropped in the middle of one they would
        // leave a lease behind that nobody serves, or a message that nobody knows.
        let (stop_a, stop_b, stop_c, stop_e) = (work.clone(), work.clone(), work.clone(), work.clone());
        let stop_g = work.clone();
        let mut loops = vec![
            ("answering", Box::pin(async move { a.answer_turns(&stop_a).await }) as _),
            ("the reel queue", Box::pin(async move { b.run_jobs(&stop_b).await }) as _),
            ("the boards", Box::pin(async move { c.refresh_boards(&stop_c).await }) as _),
            ("listening to the database", Box::pin(until(work.clone(), async move { d.listen().await })) as _),
            ("sharing the quota", Box::pin(until(work.clone(), async move { f.share_quota().await })) as _),
            ("keeping the time", Box::pin(until(work.clone(), async move { h.keep_time().await })) as _),
            ("sweeping", Box::pin(async move { e.sweep(&stop_e).await }) as _),
            ("asking for final costs", Box::pin(async move { g.confirm_charges(&stop_g).await }) as _),
        ];
        if self.platforms.console.is_none() {
            let app = self.clone();
            loops.push((
                "looking models up",
                Box::pin(until(work.clone(), async move { app.look_up_models().await })) as _,
            ));
        }
        loops
    }

    /// The loop that tells the others that this instance is alive. At the console there is nobody to tell or to alert.
    fn watching(self: &Arc<Self>, alive: &CancellationToken) -> Option<Loop> {
        let (app, alive) = (self.clone(), alive.clone());
        self.platforms.console.is_none().then(|| ("watching", Box::pin(async move { app.watch(&alive).await }) as _))
    }

    async fn answer_turns(&self, stop: &CancellationToken) -> anyhow::Result<()> {
        let mut reached = Instant::now();
        while !stop.is_cancelled() {
            let mut wake = std::pin::pin!(self.store.wake.turns.notified());
            wake.as_mut().enable();
            metrics::gauge!(TURNS_IN_FLIGHT).set(f64::from(self.slots.in_use()));
            let free = self.slots.free();
            let mut is_more = false;
            let asked = Instant::now();
            if free.limit > 0 && self.time.may_claim().await {
                let turns = match self.replies.claim(free).await {
                    Ok(turns) => turns,
                    Err(error) => {
                        self.trouble("turns could not be claimed", &error, reached, stop).await;
                        continue;
                    }
                };
                reached = Instant::now();
                is_more = turns.len() == free.limit as usize;
                for turn in turns {
                    let slot = self.slots.take(&turn);
                    let (replies, slots, store) = (self.replies.clone(), self.slots.clone(), self.store.clone());
                    spawn(&self.tracker, async move {
                        replies.answer(turn).await;
                        let was_full = slots.free().limit == 0;
                        drop(slot);
                        if was_full || slots.in_use() == 0 {
                            store.wake.turns.notify_waiters();
                        }
                    });
                }
            }
            if asked.elapsed() >= SHORT_OUTAGE {
                // That was an outage, too.
                wait(stop, RENEWAL_GRACE).await;
            } else if !is_more {
                tokio::select! {
                    () = wake => {}
                    () = wait(stop, POLL) => {}
                }
            }
        }
        Ok(())
    }

    async fn run_jobs(&self, stop: &CancellationToken) -> anyhow::Result<()> {
        let mut reached = Instant::now();
        while !stop.is_cancelled() {
            let mut wake = std::pin::pin!(self.store.wake.jobs.notified());
            wake.as_mut().enable();
            let asked = Instant::now();
            let claimed = match self.time.may_claim().await {
                true => self.worker.claim().await,
                false => Ok(None),
            };
            match claimed {
                Ok(Some((job, lease))) => {
                    let worker = self.worker.clone();
                    spawn(&self.tracker, async move { worker.run(job, lease).await });
                    self.store.wake.boards.notify_waiters();
                    if asked.elapsed() >= SHORT_OUTAGE {
                        wait(stop, RENEWAL_GRACE).await;
                    }
                    continue;
                }
                Ok(None) => reached = Instant::now(),
                Err(error) => {
                    self.trouble("a job could not be claimed", &error, reached, stop).await;
                    continue;
                }
            }
            let next = self.worker.next_ready().await.ok().flatten();
            // A job that is ready already waits for a lane, whose end is a hint of its own.
            let until_ready = next.map(|at| at.since(self.clock.now())).filter(|left| !left.is_zero());
            let next = until_ready.map_or(POLL * 2, |left| left.min(POLL * 2));
            tokio::select! {
                () = wake => {}
                () = wait(stop, next) => {}
            }
        }
        Ok(())
    }

    async fn refresh_boards(&self, stop: &CancellationToken) -> anyhow::Result<()> {
        let mut reached = Instant::now();
        while !stop.is_cancelled() {
            let mut wake = std::pin::pin!(self.store.wake.boards.notified());
            wake.as_mut().enable();
            if !self.time.may_claim().await {
                wait(stop, POLL * 4).await;
                continue;
            }
            let (rest, pause) = match self.boards.run_once().await {
                Ok(Some(reading)) => (reading * BOARD_REST, BOARD_TICK),
                Ok(None) => (Duration::ZERO, POLL * 4),
                Err(error) => {
                    self.trouble("the boards could not be read", &error, reached, stop).await;
                    continue;
                }
            };
            reached = Instant::now();
            // Reading takes longer the longer the line is: it must not take all the time there is.
            wait(stop, rest).await;
            tokio::select! {
                () = wake => {}
                () = wait(stop, pause) => {}
            }
        }
        Ok(())
    }

    /// Asks again for costs that were not final. Several instances may ask for the same one: the row takes the first answer.
    async fn confirm_charges(&self, stop: &CancellationToken) -> anyhow::Result<()> {
        while !stop.is_cancelled() {
            if let Err(error) = self.charges.confirm_due().await {
                tracing::warn!("costs could not be confirmed: {error}");
            }
            wait(stop, CHARGES_EVERY).await;
        }
        Ok(())
    }

    /// Deletes what is not needed any more, a little at a time.
    async fn sweep(&self, stop: &CancellationToken) -> anyhow::Result<()> {
        while !stop.is_cancelled() {
            if let Err(error) = self.purse.give_up_lost().await {
                tracing::warn!("reservations could not be given up: {error}");
            }
            if let Err(error) = self.purse.free_left_over().await {
                tracing::warn!("what is set aside for ended calls could not be taken back: {error}");
            }
            let pause = match self.delete_old().await {
                Ok(0) => SWEEP_EVERY,
                Ok(_) => SWEEP_PAUSE,
                Err(error) => {
                    tracing::warn!("old rows could not be deleted: {error}");
                    SWEEP_EVERY
                }
            };
            wait(stop, pause).await;
        }
        Ok(())
    }

    async fn delete_old(&self) -> Result<u64, StoreError> {
        let now = self.clock.now();
        let askers = self.store.forget_askers(now - ASKED_WITHIN).await?;
        Ok(askers + self.store.sweep(now - self.config.retention).await?)
    }

    async fn keep_time(&self) -> anyhow::Result<()> {
        loop {
            tokio::time::sleep(timekeeping::EVERY).await;
            self.time.look().await;
        }
    }

    async fn listen(&self) -> anyhow::Result<()> {
        loop {
            if let Err(error) = self.store.listen().await {
                // Hints only: everything is polled for as well.
                tracing::warn!("hints from the database are interrupted: {error}");
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    }

    /// A database that does not answer is waited for: the rows are safe, and nothing is acknowledged meanwhile. After an
    /// outage in which leases may have run out, those who hold them go first: what they have bought or sent meanwhile
    /// only they know.
    async fn trouble(&self, what: &str, error: &StoreError, reached: Instant, stop: &CancellationToken) {
        tracing::error!(reference = %Reference::new(), "{what}: {error}");
        wait(stop, Duration::from_secs(1)).await;
        if reached.elapsed() < SHORT_OUTAGE {
            return;
        }
        while !stop.is_cancelled() && self.store.check_writes(self.clock.now()).await.is_err() {
            wait(stop, Duration::from_secs(1)).await;
        }
        wait(stop, RENEWAL_GRACE).await;
    }
}

impl Platforms {
    /// What each connected platform offers the outbox.
    fn messengers(&self) -> Vec<(Platform, Arc<dyn Messenger>)> {
        let mut all: Vec<(Platform, Arc<dyn Messenger>)> = Vec::new();
        if let Some(discord) = &self.discord {
            all.push((Platform::Discord, Arc::new(discord.clone())));
        }
        if let Some(telegram) = &self.telegram {
            all.push((Platform::Telegram, Arc::new(telegram.clone())));
        }
        if let Some(console) = &self.console {
            all.push((Platform::Console, Arc::new(console.clone())));
        }
        all
    }
}

async fn coach_settings(config: &Config, persona: &str, store: &Store) -> anyhow::Result<CoachSettings> {
    let settings = &config.coach;
    Ok(CoachSettings {
        model: settings.model.clone(),
        effort: settings.effort,
        economy_model: settings.economy_model.clone(),
        economy_effort: settings.economy_effort,
        max_output_tokens: settings.max_output_tokens,
        instructions: coach::instructions(persona).into(),
        fences: Fences::new(&store.secret("fences of prompts", &Fences::fresh_secret()).await?),
        history_chars: settings.history_chars,
        answer_cache: settings.answer_cache,
    })
}

/// Ends a loop at `stop`; a loop that ends by itself ends the process aloud.
async fn until(stop: CancellationToken, endless: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        result = endless => result.and_then(|()| Err(anyhow!("ended by itself"))),
    }
}

async fn wait(stop: &CancellationToken, span: Duration) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(span) => {}
    }
}

fn spawn(tracker: &TaskTracker, future: impl Future<Output = ()> + Send + 'static) {
    tracker.spawn(future);
}
