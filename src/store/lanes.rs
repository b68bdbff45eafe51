//! Lanes beside the jobs on them: paused ones, the circuit breakers of their upstreams, the line's own switch. Owns when
//! a breaker opens and closes (pure) and its row; never decides which job a lane takes.

use std::time::Duration;

use crate::clock::Timestamp;

use super::reels::QUEUE;
use super::{Result, Store, exclusive, read, write};

/// Failures in a row that open a breaker.
const TRIP: i64 = 3;

/// How long a breaker is open the first time; it doubles each time that the trial fails.
const FIRST_OPEN: Duration = Duration::from_secs(30);

const LONGEST_OPEN: Duration = Duration::from_secs(600);

/// A lane: one slot of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    pub name: String,
    pub kind: LaneKind,
}

impl Lane {
    /// The `at`th slot of the way through Apify and Gemini.
    pub fn direct(at: u32) -> Lane {
        Lane { name: format!("direct:{at}"), kind: LaneKind::Direct }
    }

    /// The one slot of the `at`th webhook.
    pub fn n8n(at: u32) -> Lane {
        Lane { name: format!("n8n:{at}"), kind: LaneKind::N8n }
    }

    /// What it is a slot of: lanes with the same upstream fail together.
    pub fn upstream(&self) -> &str {
        match self.kind {
            LaneKind::Direct => "direct",
            LaneKind::N8n => &self.name,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LaneKind {
    Direct,
    N8n,
}

impl LaneKind {
    pub fn name(self) -> &'static str {
        match self {
            LaneKind::Direct => "direct",
            LaneKind::N8n => "n8n",
        }
    }
}

/// Stops sending jobs to an upstream that fails, and tries it with one job after a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// In a row.
    pub failures: i64,
    /// How often it opened since the upstream last worked.
    pub trips: i64,
    pub open_until: Timestamp,
    /// Of the last failure, as [`crate::upstream::Cause::name`] tells it.
    pub cause: String,
    /// The code under which the log has the last failure.
    pub reference: String,
    pub failed_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    Closed,
    /// Nothing starts before `until`.
    Open {
        until: Timestamp,
    },
    /// One job at a time tries whether the upstream works again.
    HalfOpen,
}

/// What a run says about its upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health<'a> {
    Worked,
    /// `lasting`: waiting does not mend it (a refused key, no credit), so that one failure opens the breaker.
    Failed {
        cause: &'a str,
        reference: &'a str,
        lasting: bool,
    },
}

impl Breaker {
    pub fn state(&self, now: Timestamp) -> BreakerState {
        if self.trips == 0 {
            BreakerState::Closed
        } else if self.open_until > now {
            BreakerState::Open { until: self.open_until }
        } else {
            BreakerState::HalfOpen
        }
    }

    /// Whether it opened by this. A failure while it is open, of a job that began before, changes nothing but the count.
    fn fail(&mut self, lasting: bool, now: Timestamp) -> bool {
        self.failures += 1;
        let opens = match self.state(now) {
            BreakerState::Closed => lasting || self.failures >= TRIP,
            BreakerState::HalfOpen => true,
            BreakerState::Open { .. } => false,
        };
        if opens {
            let doubled = u32::try_from(self.trips).unwrap_or(u32::MAX).min(16);
            self.trips += 1;
            self.open_until = now + (FIRST_OPEN * 2u32.pow(doubled)).min(LONGEST_OPEN);
        }
        opens
    }
}

/// A lane's own settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneSetting {
    pub name: String,
    pub paused: bool,
    pub used_at: Timestamp,
}

/// What is known of all lanes at one moment.
#[derive(Clone, Debug, Default)]
pub struct Lanes {
    settings: Vec<LaneSetting>,
    breakers: Vec<(String, Breaker)>,
    /// No new reel is taken.
    pub draining: bool,
}

pub(super) type SettingRow = (String, bool, i64);
pub(super) type BreakerRow = (String, i64, i64, i64, String, String, i64);
pub(super) const SETTINGS: &str = "SELECT name, paused, used_at FROM lanes UNION ALL SELECT '*', TRUE, 0 FROM pause";
pub(super) const BREAKERS: &str =
    "SELECT upstream, failures, trips, open_until, cause, reference, failed_at FROM breakers";

impl Lanes {
    pub(super) fn from_rows(settings: Vec<SettingRow>, breakers: Vec<BreakerRow>, draining: bool) -> Lanes {
        let settings = settings
            .into_iter()
            .map(|(name, paused, used_at)| LaneSetting { name, paused, used_at: Timestamp(used_at) })
            .collect();
        Lanes { settings, breakers: breakers.into_iter().map(breaker).collect(), draining }
    }

    /// By itself, or with the whole bot (`*`).
    pub fn is_paused(&self, lane: &Lane) -> bool {
        self.settings.iter().any(|setting| (setting.name == lane.name || setting.name == "*") && setting.paused)
    }

    /// When it last took a job.
    pub fn used_at(&self, lane: &Lane) -> Timestamp {
        self.settings.iter().find(|setting| setting.name == lane.name).map_or(Timestamp(0), |setting| setting.used_at)
    }

    /// `None` if the upstream never failed.
    pub fn breaker(&self, upstream: &str) -> Option<&Breaker> {
        self.breakers.iter().find(|(name, _)| name == upstream).map(|(_, breaker)| breaker)
    }

    pub fn state(&self, upstream: &str, now: Timestamp) -> BreakerState {
        self.breaker(upstream).map_or(BreakerState::Closed, |breaker| breaker.state(now))
    }
}

impl Store {
    /// What is known of all lanes.
    pub async fn lanes(&self) -> Result<Lanes> {
        let settings: Vec<SettingRow> =
            read!(&self.db, connection => sqlx::query_as(SETTINGS).fetch_all(connection).await)?;
        let breakers: Vec<BreakerRow> =
            read!(&self.db, connection => sqlx::query_as(BREAKERS).fetch_all(connection).await)?;
        let (draining,): (bool,) =
            read!(&self.db, connection => sqlx::query_as("SELECT draining FROM line").fetch_one(connection).await)?;
        Ok(Lanes::from_rows(settings, breakers, draining))
    }

    /// Pauses lanes or lets them go on; a running job ends all the same.
    pub async fn pause_lanes(&self, lanes: &[Lane], paused: bool) -> Result<()> {
        for lane in lanes {
            write!(&self.db, connection => sqlx::query(
                    "INSERT INTO lanes (name, paused, used_at) VALUES ($1, $2, 0) ON CONFLICT (name) DO UPDATE SET paused = excluded.paused")
                .bind(&lane.name)
                .bind(paused)
                .execute(connection)
                .await
                .map(|_| ()))?;
        }
        self.jobs_changed().await;
        Ok(())
    }

    /// Whether new reels are taken into the line; those in it go on either way.
    pub async fn drain_line(&self, draining: bool) -> Result<()> {
        write!(&self.db, connection => sqlx::query("UPDATE line SET draining = $1").bind(draining).execute(connection).await.map(|_| ()))?;
        self.jobs_changed().await;
        Ok(())
    }

    /// Notes what a run says about its upstream; the breaker if it opened by that.
    pub async fn note_health(&self, upstream: &str, health: Health<'_>, now: Timestamp) -> Result<Option<Breaker>> {
        let Health::Failed { cause, reference, lasting } = health else {
            let closed = write!(&self.db, connection => sqlx::query(
                    "UPDATE breakers SET failures = 0, trips = 0, open_until = 0 WHERE upstream = $1 AND failures > 0")
                .bind(upstream)
                .execute(connection)
                .await
                .map(|done| done.rows_affected()))?;
            if closed > 0 {
                self.jobs_changed().await;
            }
            return Ok(None);
        };
        let opened: Result<Option<Breaker>> = exclusive!(&self.db, [QUEUE], tx => {
            let row: Option<BreakerRow> = sqlx::query_as(
                    "SELECT upstream, failures, trips, open_until, cause, reference, failed_at FROM breakers WHERE upstream = $1")
                .bind(upstream)
                .fetch_optional(&mut *tx)
                .await?;
            let new = (upstream.to_owned(), 0, 0, 0, String::new(), String::new(), now.0);
            let (_, mut breaker) = breaker(row.unwrap_or(new));
            let opened = breaker.fail(lasting, now);
            breaker.cause = cause.to_owned();
            breaker.reference = reference.to_owned();
            breaker.failed_at = now;
            sqlx::query(
                    "INSERT INTO breakers (upstream, failures, trips, open_until, cause, reference, failed_at) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (upstream) DO UPDATE SET failures = excluded.failures, \
                     trips = excluded.trips, open_until = excluded.open_until, cause = excluded.cause, \
                     reference = excluded.reference, failed_at = excluded.failed_at")
                .bind(upstream)
                .bind(breaker.failures)
                .bind(breaker.trips)
                .bind(breaker.open_until.0)
                .bind(cause)
                .bind(reference)
                .bind(now.0)
                .execute(&mut *tx)
                .await?;
            Ok(opened.then_some(breaker))
        });
        self.jobs_changed().await;
        opened
    }
}

fn breaker((upstream, failures, trips, open_until, cause, reference, failed_at): BreakerRow) -> (String, Breaker) {
    let (open_until, failed_at) = (Timestamp(open_until), Timestamp(failed_at));
    (upstream, Breaker { failures, trips, open_until, cause, reference, failed_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1000)
    }

    fn new() -> Breaker {
        breaker(("direct".into(), 0, 0, 0, String::new(), String::new(), 0)).1
    }

    #[test]
    fn it_opens_tries_and_opens_for_longer() {
        let mut breaker = new();
        assert!(!breaker.fail(false, at(1)) && !breaker.fail(false, at(2)));
        assert_eq!(breaker.state(at(2)), BreakerState::Closed);
        assert!(breaker.fail(false, at(3)), "the third in a row");
        assert_eq!(breaker.state(at(32)), BreakerState::Open { until: at(33) });
        assert!(!breaker.fail(false, at(10)), "a job that began before");
        assert_eq!(breaker.state(at(33)), BreakerState::HalfOpen);
        let mut now = at(33);
        for seconds in [60, 120, 240, 480, 600, 600] {
            assert!(breaker.fail(false, now), "the trial failed");
            assert_eq!(breaker.state(now), BreakerState::Open { until: now + Duration::from_secs(seconds) });
            now = breaker.open_until;
        }
    }

    #[test]
    fn what_waiting_does_not_mend_opens_it_at_once() {
        let mut breaker = new();
        assert!(breaker.fail(true, at(0)));
        assert_eq!(breaker.state(at(29)), BreakerState::Open { until: at(30) });
    }
}
