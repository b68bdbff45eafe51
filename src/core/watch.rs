//! Looks at the whole bot every few seconds: tells the database that this instance lives, keeps the gauges of `/metrics`, and
//! on the one instance whose turn it is holds the rules to what it sees and owes the alert chats what has changed. Reads
//! nothing that grows with the number of rows.

mod judge;
mod lifetimes;
mod past;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use serde::{Deserialize, Serialize};

use self::judge::Look;
pub use self::past::Past;
use super::alerts::{self, Instance, LONG_OUTAGE, LaneOut, Measured, Thresholds};
use super::chat::Body;
use super::money::Purse;
use super::providers::{self, ProviderTarget, WINDOW};
use super::timekeeping::Timekeeper;
use super::wording;
use crate::clock::{Clock, Timestamp};
use crate::ids::{ChatId, InstanceId, PersonId};
use crate::store::budgets::{Scope, Span};
use crate::store::instances::{ClockState, HEARTBEAT, Heartbeat, LONGEST_LEASE};
use crate::store::lanes::{Lane, LaneKind};
use crate::store::providers::{ProviderRow, Trouble};
use crate::store::{Store, StoreError};
use crate::telemetry::counts::Counts;
use crate::telemetry::life::Role;
use crate::telemetry::{self, system};
use crate::upstream::{Provider, video};

/// Between two looks: each of them is a heartbeat.
pub const EVERY: Duration = HEARTBEAT;

/// One that is lost is waited for so long.
const WAITED_FOR: Duration = Duration::from_secs(3600);

/// An instance that takes no work, because another one's clock is right, takes some again when that was not heard of for so
/// long: two heartbeats, and a moment for the second. That it is dead is not known before 40 s.
const HEARD_LATELY: Duration = Duration::from_millis(2_200 * HEARTBEAT.as_secs());

/// The name of the lease of whoever holds the rules, and how long that is without renewal.
const ROLE: &str = "alerts";
const ROLE_LEASE: Duration = LONGEST_LEASE;

/// The account under which alerts are owed to a chat.
const ACCOUNT: &str = "alerts";

/// The name of the day's sum of tokens.
const TOKENS: &str = "openai_tokens";

/// The watcher of one instance.
pub struct Watch {
    pub store: Arc<Store>,
    pub purse: Arc<Purse>,
    pub clock: Clock,
    pub time: Arc<Timekeeper>,
    pub instance: InstanceId,
    /// Host and port: the same after a restart.
    pub name: String,
    pub lanes: Vec<Lane>,
    /// The paid services that the configuration uses.
    pub targets: Vec<ProviderTarget>,
    pub roles: Vec<Arc<Role>>,
    pub chats: Vec<ChatId>,
    pub thresholds: Thresholds,
    /// What this process counts; set once it does.
    pub metrics: OnceLock<PrometheusHandle>,
}

/// What an instance tells of itself.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Told {
    cpu_percent: Option<f64>,
    memory_percent: Option<f64>,
    counts: Counts,
    /// By how much its machine is ahead of the database's clock.
    clock_skew_ms: Option<i64>,
    /// Why videos cannot be kept, if they cannot.
    #[serde(default)]
    no_room: Option<String>,
}

impl Watch {
    /// One look. `past` is what this instance remembers of the ones before.
    pub async fn look(&self, past: &mut Past) {
        let now = self.clock.now();
        let counts = self.metrics.get().map(|handle| Counts::read(&handle.render()));
        past.note(self.clock.steady(), system::used().map(|used| used.cpu), counts.unwrap_or_default());
        self.gauge_process();
        match self.look_at_database(past, now).await {
            Ok(()) => metrics::gauge!(telemetry::DATABASE_UP).set(1.0),
            Err(error) => {
                metrics::gauge!(telemetry::DATABASE_UP).set(0.0);
                if error.is_outage() {
                    past.outage_since.get_or_insert(now);
                }
                tracing::warn!("the bot could not be looked at: {error}");
            }
        }
    }

    /// This instance begins; whether the one before it ended without saying so, as far as is known.
    pub async fn begin(&self) -> bool {
        let begun = self.store.begin_instance(self.instance, &self.name, self.clock.now()).await;
        begun.unwrap_or_else(|error| {
            tracing::warn!("it is not known how the instance before this one ended: {error}");
            true
        })
    }

    /// This instance ends, as it should.
    pub async fn leave(&self) {
        let leave = async {
            self.store.let_go(ROLE, self.instance).await?;
            self.store.forget_instance(&self.instance.to_string()).await
        };
        match tokio::time::timeout(Duration::from_secs(3), leave).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("it could not be said that this instance ends: {error}"),
            Err(_) => tracing::warn!("it could not be said in time that this instance ends"),
        }
    }

    async fn look_at_database(&self, past: &mut Past, now: Timestamp) -> Result<(), StoreError> {
        let limits = system::limits();
        let own = Told {
            cpu_percent: past.cpu_percent(limits.cores),
            memory_percent: system::used()
                .zip(limits.memory_bytes)
                .map(|(used, limit)| used.resident_bytes as f64 * 100.0 / limit.max(1) as f64),
            counts: past.window(),
            clock_skew_ms: self.clock.skew_ms(),
            no_room: self.no_room().await,
        };
        let measured = serde_json::to_string(&own).unwrap_or_default();
        let began = *past.began.get_or_insert(now);
        self.store.note_instance(self.instance, &self.name, began, now, &measured).await?;
        let outage = past.outage_since.take().map(|since| (since, now)).filter(|_| past.reached.is_some());
        past.reached = Some(now);
        let tokens = past.latest().tokens - past.tokens_told;
        if tokens >= 1.0 {
            self.store.tally(TOKENS, now, tokens as i64).await?;
            past.tokens_told += tokens;
        }
        let mut measured = self.gauge_all(now).await?;
        measured.lanes = self.lane_times(past, now).await?;
        if self.store.hold(ROLE, self.instance, now, now + ROLE_LEASE).await? {
            self.purse.give_up_lost().await?;
            self.time.shorten_now_and_then().await?;
            let outage = outage.filter(|(since, until)| until.since(*since) >= LONG_OUTAGE);
            self.judge(past, &measured, outage, now).await?;
        }
        Ok(())
    }

    /// Why videos cannot be kept, where this instance downloads any.
    async fn no_room(&self) -> Option<String> {
        if self.lanes.iter().all(|lane| lane.kind() != LaneKind::Direct) {
            return None;
        }
        let no_room = video::look_for_room().await.err().map(|no_room| no_room.to_string());
        metrics::gauge!(telemetry::NO_VIDEO_ROOM).set(f64::from(u8::from(no_room.is_some())));
        no_room
    }

    /// Sets the gauges of the whole bot; what the rules need of them.
    async fn gauge_all(&self, now: Timestamp) -> Result<Measured, StoreError> {
        let heartbeats = self.store.heartbeats().await?;
        let Crew { live, lost, gone } = Crew::of(&heartbeats, now);
        for instance in gone {
            self.store.forget_instance(&instance.id).await?;
        }
        let told: Vec<(&Heartbeat, Told)> = live
            .into_iter()
            .map(|heartbeat| (heartbeat, serde_json::from_str(&heartbeat.measured).unwrap_or_default()))
            .collect();
        let others_of = |id: &str| -> Vec<i64> {
            let others = told.iter().filter(|(other, _)| other.id != id && now.since(other.at) < HEARD_LATELY);
            others.filter_map(|(_, told)| told.clock_skew_ms).collect()
        };
        self.time.note_others(others_of(&self.instance.to_string()));
        let clocks: Vec<Option<ClockState>> = told
            .iter()
            .map(|(heartbeat, told)| Some(ClockState::of(told.clock_skew_ms?, &others_of(&heartbeat.id))))
            .collect();
        let line = self.store.line_size(now).await?;
        let queue_age = line.ready_since.map_or(Duration::ZERO, |at| now.since(at));
        let known = self.store.lanes().await?;
        let rows = self.store.providers().await?;
        let calls = self.store.provider_calls(now - WINDOW).await?;
        self.gauge_providers(&rows, now);
        let mut states: HashMap<&str, f64> =
            ["busy", "free", "paused", "open"].into_iter().map(|state| (state, 0.0)).collect();
        let mut lanes_out: Vec<LaneOut> = Vec::new();
        for lane in &self.lanes {
            let is_out = known.state(lane.upstream(), now).is_failing();
            let state = match () {
                () if line.busy.iter().any(|busy| busy == lane.name()) => "busy",
                () if known.is_paused(lane) => "paused",
                () if is_out => "open",
                () => "free",
            };
            *states.entry(state).or_default() += 1.0;
            let upstream = lane.upstream().to_owned();
            metrics::gauge!(telemetry::BREAKER_OPEN, "upstream" => upstream.clone()).set(f64::from(u8::from(is_out)));
            if is_out && lanes_out.iter().all(|out| out.upstream != upstream) {
                let breaker = known.breaker(&upstream);
                let cause = breaker.map(|breaker| breaker.cause.clone()).unwrap_or_default();
                let reference = breaker.map(|breaker| breaker.reference.clone()).unwrap_or_default();
                let failed = providers::failed_for(lane, &cause, &rows, &self.targets);
                let provider = failed.map(|row| row.name.clone());
                let stuck = failed.is_some_and(|row| row.trouble.is_some());
                lanes_out.push(LaneOut { upstream, cause, reference, provider, stuck });
            }
        }
        for (state, lanes) in states {
            metrics::gauge!(telemetry::LANES, "state" => state).set(lanes);
        }
        let owed = self.store.owed().await?;
        for standing in self.purse.overall().await? {
            let scope = match standing.cap.scope {
                Scope::Platform(platform) => platform.name(),
                Scope::Bot | Scope::Guild(_) | Scope::Chat(_) | Scope::Person(_) => "bot",
            };
            let used = standing.used.spent as f64 / standing.cap.micro_usd.max(1) as f64;
            metrics::gauge!(telemetry::BUDGET_USED, "scope" => scope, "span" => standing.cap.span.name()).set(used);
        }
        let raised = self.store.raised_alerts().await?;
        for rule in alerts::RULES {
            let count = raised.iter().find(|(name, _)| name == rule.name).map_or(0, |(_, count)| *count);
            metrics::gauge!(telemetry::ALERTS_RAISED, "rule" => rule.name).set(count as f64);
        }
        let measured = Measured {
            now,
            targets: self.targets.clone(),
            providers: rows,
            provider_calls: calls,
            counts: told.iter().fold(Counts::default(), |sum, (_, told)| sum.and(&told.counts)),
            instances: told
                .into_iter()
                .zip(clocks)
                .map(|((heartbeat, told), clock)| Instance {
                    name: heartbeat.name.clone(),
                    cpu_percent: told.cpu_percent,
                    memory_percent: told.memory_percent,
                    clock,
                    no_room: told.no_room,
                })
                .collect(),
            lost: lost.into_iter().map(|lost| (lost.name.clone(), now.since(lost.at))).collect(),
            queue_length: line.waiting,
            queue_age,
            lanes_out,
            lanes: Vec::new(),
            tokens_today: self.store.tallied(TOKENS, now).await?,
            micro_usd_today: self.store.used(&Scope::Bot, Span::Day, now).await?.spent,
        };
        let lost_for = measured.lost.iter().map(|(_, silent)| *silent).max().unwrap_or_default();
        for (name, value) in [
            (telemetry::QUEUE_LENGTH, line.waiting as f64),
            (telemetry::QUEUE_AGE, queue_age.as_secs_f64()),
            (telemetry::TURNS_OPEN, owed.open as f64),
            (telemetry::OUTBOX_BACKLOG, owed.undelivered as f64),
            (telemetry::INSTANCES, measured.instances.len() as f64),
            (telemetry::LOST_INSTANCE, lost_for.as_secs_f64()),
            (telemetry::TOKENS_TODAY, measured.tokens_today as f64),
            (telemetry::COST_TODAY, measured.micro_usd_today as f64 / 1e6),
        ] {
            metrics::gauge!(name).set(value);
        }
        Ok(measured)
    }

    fn gauge_providers(&self, rows: &[ProviderRow], now: Timestamp) {
        let known: Vec<(&ProviderTarget, &ProviderRow)> = providers::relevant(rows, &self.targets).collect();
        for target in &self.targets {
            let own = || known.iter().filter(|(of, _)| of.name == target.name).map(|(_, row)| row);
            for trouble in Trouble::ALL {
                let stands = own().any(|row| row.trouble == Some(trouble));
                let labels = [("provider", target.name.clone()), ("trouble", trouble.name().to_owned())];
                metrics::gauge!(telemetry::PROVIDER_TROUBLE, &labels).set(f64::from(u8::from(stands)));
            }
            if target.provider == Provider::OpenAi {
                let day = own().find(|row| row.target == target.target).and_then(|row| row.shutdown_on.as_deref());
                // One without a day lives for ever, as far as is known.
                let days = day.and_then(|day| alerts::days_until(day, now)).unwrap_or(f64::INFINITY);
                metrics::gauge!(telemetry::MODEL_DAYS, "model" => target.target.clone()).set(days);
            }
        }
    }

    fn gauge_process(&self) {
        let skew = self.clock.skew_ms().unwrap_or_default();
        metrics::gauge!(telemetry::CLOCK_SKEW).set(skew as f64 / 1000.0);
        let connections = self.store.connections();
        for (state, count) in [("busy", connections.busy), ("idle", connections.idle), ("max", connections.max)] {
            metrics::gauge!(telemetry::DATABASE_CONNECTIONS, "state" => state).set(f64::from(count));
        }
        for role in &self.roles {
            let state = role.state(self.clock.steady());
            metrics::gauge!(telemetry::ROLE_HELD, "role" => role.name).set(f64::from(u8::from(state.is_held)));
            let silence = state.silence.unwrap_or_default();
            metrics::gauge!(telemetry::ROLE_SILENCE, "role" => role.name).set(silence.as_secs_f64());
        }
    }

    /// How long reels take on each kind of lane, now and usually; looked up anew every few minutes.
    async fn lane_times(&self, past: &mut Past, now: Timestamp) -> Result<Vec<alerts::Lane>, StoreError> {
        if past.lanes_at.is_some_and(|at| self.clock.steady().since(at) < past::LANES_KEPT) {
            return Ok(past.lanes.clone());
        }
        let mut lanes = Vec::new();
        for kind in [LaneKind::Direct, LaneKind::N8n] {
            if self.lanes.iter().all(|lane| lane.kind() != kind) {
                continue;
            }
            let latest = self.store.recent_durations(kind, past::LATEST).await?;
            let (parts, each) = past::SAMPLE;
            let usual = self.store.sampled_durations(kind, now - past::USUAL, now, parts, each).await?;
            if let Some(lane) = past::lane(kind.name(), latest, usual) {
                metrics::gauge!(telemetry::LANE_SLOWNESS, "lane" => lane.kind).set(lane.slowness());
                lanes.push(lane);
            }
        }
        past.lanes_at = Some(self.clock.steady());
        past.lanes.clone_from(&lanes);
        Ok(lanes)
    }

    /// Holds the rules to what was measured, and owes the chats what has changed.
    async fn judge(
        &self,
        past: &mut Past,
        measured: &Measured,
        outage: Option<(Timestamp, Timestamp)>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut chats: Vec<(PersonId, ChatId)> = Vec::new();
        for chat in &self.chats {
            let person = match past.owed_to.get(chat) {
                Some(person) => *person,
                None => self.store.person(chat.platform, ACCOUNT, ACCOUNT, now).await?,
            };
            past.owed_to.insert(chat.clone(), person);
            chats.push((person, chat.clone()));
        }
        let look = Look {
            measures: alerts::measures(measured),
            thresholds: &self.thresholds,
            amounts: self.purse.amounts().await?,
            outage,
            now,
        };
        self.store.judge(&chats, now, |stood, marks| look.judge(stood, marks)).await?;
        let say = |old: &str, new: &str| {
            serde_json::to_string(&Body::text(wording::alerts::group_upgraded(old, new))).unwrap_or_default()
        };
        self.store.announce_moves(&chats, now, say).await
    }
}

/// The instances by how they are.
struct Crew<'a> {
    live: Vec<&'a Heartbeat>,
    /// Ended without saying so.
    lost: Vec<&'a Heartbeat>,
    /// Of these, those that have started again or are not waited for any more.
    gone: Vec<&'a Heartbeat>,
}

impl<'a> Crew<'a> {
    fn of(all: &'a [Heartbeat], now: Timestamp) -> Crew<'a> {
        let mut crew = Crew { live: Vec::new(), lost: Vec::new(), gone: Vec::new() };
        for instance in all {
            let is_back = || all.iter().any(|new| new.name == instance.name && new.started_at > instance.at);
            if instance.is_alive(now) {
                crew.live.push(instance);
            } else if is_back() || now.since(instance.at) > WAITED_FOR {
                crew.gone.push(instance);
            } else {
                crew.lost.push(instance);
            }
        }
        crew
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_lives_who_is_lost_and_who_is_back() {
        let at = |seconds: i64| Timestamp(1_000_000_000 + seconds * 1000);
        let beat = |name: &str, started: i64, last: i64| Heartbeat {
            id: format!("{name}{started}"),
            name: name.into(),
            started_at: at(started),
            at: at(last),
            measured: String::new(),
        };
        let all = [beat("a", 0, 61), beat("b", 0, 60), beat("c", 0, 10), beat("c", 20, 95), beat("d", -9000, -3600)];
        let crew = Crew::of(&all, at(100));
        let ids = |instances: Vec<&Heartbeat>| instances.into_iter().map(|one| one.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(crew.live), ["a0", "c20"]);
        assert_eq!(ids(crew.lost), ["b0"]);
        assert_eq!(ids(crew.gone), ["c0", "d-9000"]);
    }
}
