//! Lanes beside the jobs on them: paused ones, the circuit breakers of their upstreams, the line's own switch. Owns
//! when a breaker opens and closes (pure) and its row; never decides which job a lane takes.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::ids::{PersonId, Shortcode};

use super::locks::QUEUE;
use super::{Conn, Result, Store, args, sql};

/// Different reels that fail in a row before a breaker opens, and different people whose reels they are. One person's
/// bad reels would otherwise keep everybody else's out.
const TRIP_REELS: i64 = 3;
const TRIP_PEOPLE: i64 = 2;

/// How long a reel that failed counts as one of a row.
const ROW: Duration = Duration::from_secs(24 * 3600);

/// How long a breaker is open the first time; it doubles each time that the trial fails for somebody new.
const FIRST_OPEN: Duration = Duration::from_secs(30);

const LONGEST_OPEN: Duration = Duration::from_secs(600);

/// How long a half-open breaker takes only reels that have not failed before. Beyond it one that has may try when there
/// is no other: it holds nobody up.
pub(super) const TRIAL_WAIT: Duration = Duration::from_secs(60);

/// How often an upstream is tried whose quota of the day is used up: it may have been raised.
const QUOTA_RECHECK: Duration = Duration::from_secs(3600);

/// A lane: one slot of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    kind: LaneKind,
    index: u32,
    /// `direct:0`, `n8n:1`: what rows and people call it.
    name: String,
}

impl Lane {
    /// A slot of the way through Apify and Gemini; the first is 0.
    pub fn direct(index: u32) -> Lane {
        Lane::new(LaneKind::Direct, index)
    }

    /// The one slot of a webhook, by the webhook's place in the configuration; the first is 0.
    pub fn n8n(index: u32) -> Lane {
        Lane::new(LaneKind::N8n, index)
    }

    fn new(kind: LaneKind, index: u32) -> Lane {
        Lane { kind, index, name: format!("{}:{index}", kind.name()) }
    }

    pub fn kind(&self) -> LaneKind {
        self.kind
    }

    /// Its place among those of its kind.
    pub fn index(&self) -> usize {
        self.index as usize
    }

    /// `direct:0`, `n8n:1`.
    pub fn name(&self) -> &str {
        &self.name
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    /// Different reels, in a row.
    pub failures: i64,
    /// How often it opened for longer since the upstream last worked.
    pub trips: i64,
    pub open_until: Timestamp,
    /// The upstream has asked to wait until then, which is no failure.
    pub held_until: Timestamp,
    /// Its quota of the day is used up until then.
    pub quota_until: Timestamp,
    /// Of the last failure, as [`crate::upstream::Cause::name`] tells it.
    pub cause: String,
    /// The code under which the log has the last failure.
    pub reference: String,
    pub failed_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    Closed,
    /// The upstream works, and has asked to wait: nothing starts before `until`.
    Held {
        until: Timestamp,
    },
    /// Nothing starts before `until`.
    Open {
        until: Timestamp,
    },
    /// One job at a time tries whether the upstream works again.
    HalfOpen,
}

impl BreakerState {
    /// Whether the upstream is found failing; one that has asked to wait is not.
    pub fn is_failing(self) -> bool {
        matches!(self, BreakerState::Open { .. } | BreakerState::HalfOpen)
    }
}

/// What a run says about its upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health<'a> {
    Worked,
    Failed(ReelTrouble<'a>),
}

/// A reel that failed on an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReelTrouble<'a> {
    pub reel: &'a Shortcode,
    /// Who pays for it.
    pub person: PersonId,
    pub cause: &'a str,
    pub reference: &'a str,
    pub weight: Weight,
    /// The upstream has asked to wait until then.
    pub held_until: Option<Timestamp>,
}

/// How much a failure says about its upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Nothing but that it wants to wait.
    Waits,
    /// One reel of several that it takes.
    OfSeveral,
    /// Waiting does not help (a refused key, no credit): one is enough.
    Lasting,
    /// The quota of the day is used up until then: one is enough.
    QuotaUntil(Timestamp),
}

/// What is known of the failures in a row when one more reel fails.
#[derive(Clone, Copy, Debug)]
struct FailureRow {
    /// This one among them.
    reels: i64,
    people: i64,
    is_new_reel: bool,
    is_new_person: bool,
}

impl Breaker {
    pub fn state(&self, now: Timestamp) -> BreakerState {
        if self.trips > 0 && self.open_until > now {
            BreakerState::Open { until: self.open_until.max(self.held_until) }
        } else if self.held_until > now {
            BreakerState::Held { until: self.held_until }
        } else if self.trips > 0 {
            BreakerState::HalfOpen
        } else {
            BreakerState::Closed
        }
    }

    /// When the quota of the day is there again, if it is used up and is not to be tried now.
    pub fn quota_used_up(&self, now: Timestamp) -> Option<Timestamp> {
        Some(self.quota_until).filter(|until| *until > now && self.open_until > now)
    }

    /// Whether it opened by this. While it is open, a failure of a job that began before changes nothing but the count;
    /// and a reel that failed before says nothing new.
    fn fail(&mut self, weight: Weight, row: FailureRow, now: Timestamp) -> bool {
        let enough = row.reels >= TRIP_REELS && row.people >= TRIP_PEOPLE;
        let opens = match (weight, self.trips > 0 && self.open_until > now) {
            (Weight::Waits, _) => return false,
            (Weight::QuotaUntil(until), is_open) => {
                self.trips = self.trips.max(1);
                self.open_until = until.min(now + QUOTA_RECHECK);
                self.quota_until = until;
                self.failures = row.reels;
                return !is_open;
            }
            (_, true) => false,
            (Weight::Lasting, false) => true,
            (Weight::OfSeveral, false) => row.is_new_reel && (enough || self.trips > 0),
        };
        self.failures = row.reels;
        if opens {
            if self.trips == 0 || row.is_new_person || weight == Weight::Lasting {
                self.trips += 1;
            }
            let doubled = u32::try_from(self.trips - 1).unwrap_or(u32::MAX).min(16);
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

#[derive(sqlx::FromRow)]
pub(super) struct SettingRow {
    name: String,
    paused: bool,
    used_at: i64,
}

#[derive(sqlx::FromRow)]
pub(super) struct BreakerRow {
    upstream: String,
    failures: i64,
    trips: i64,
    open_until: i64,
    held_until: i64,
    quota_until: i64,
    cause: String,
    reference: String,
    failed_at: i64,
}

pub(super) const SETTINGS: &str = r"
    SELECT name, paused, used_at
    FROM lanes
    UNION ALL
    SELECT '*', TRUE, 0
    FROM pause";
pub(super) const BREAKERS: &str = r"
    SELECT upstream, failures, trips, open_until, held_until, quota_until, cause, reference, failed_at
    FROM breakers";

impl Lanes {
    pub(super) fn from_rows(settings: Vec<SettingRow>, breakers: Vec<BreakerRow>, draining: bool) -> Lanes {
        let setting =
            |row: SettingRow| LaneSetting { name: row.name, paused: row.paused, used_at: Timestamp(row.used_at) };
        let settings = settings.into_iter().map(setting).collect();
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
        let settings = self.db.fetch_all(SETTINGS, args![]).await?;
        let breakers = self.db.fetch_all(BREAKERS, args![]).await?;
        let draining = self.db.fetch_value("SELECT draining FROM line", args![]).await?;
        Ok(Lanes::from_rows(settings, breakers, draining))
    }

    /// Pauses lanes or lets them go on; a running job ends all the same.
    pub async fn pause_lanes(&self, lanes: &[Lane], paused: bool) -> Result<()> {
        for lane in lanes {
            let sql = r"
                INSERT INTO lanes (name, paused, used_at)
                VALUES ($1, $2, 0)
                ON CONFLICT (name) DO UPDATE SET paused = excluded.paused";
            self.db.execute(sql, args![&lane.name, paused]).await?;
        }
        self.jobs_changed().await;
        Ok(())
    }

    /// Whether new reels are taken into the line; those in it go on either way.
    pub async fn drain_line(&self, draining: bool) -> Result<()> {
        self.db.execute("UPDATE line SET draining = $1", args![draining]).await?;
        self.jobs_changed().await;
        Ok(())
    }

    /// Notes what a run says about its upstream; the breaker if it opened by that.
    pub async fn note_health(&self, upstream: &str, health: Health<'_>, now: Timestamp) -> Result<Option<Breaker>> {
        let noted = match health {
            Health::Failed(trouble) => {
                self.db.exclusive(&[QUEUE], async |tx| note_trouble(tx, upstream, trouble, now).await).await
            }
            Health::Worked => {
                // A success is the usual case: it takes the line's lock only when there is something to forget.
                let sql = "SELECT COUNT(*) FROM breakers WHERE upstream = $1 AND (failures > 0 OR trips > 0)";
                let has_failed: i64 = self.db.fetch_value(sql, args![upstream]).await?;
                if has_failed == 0 {
                    return Ok(None);
                }
                // In one transaction, because a failure may be noted meanwhile.
                self.db.exclusive(&[QUEUE], async |tx| forget_troubles(tx, upstream).await).await?;
                Ok(None)
            }
        };
        self.jobs_changed().await;
        noted
    }
}

async fn forget_troubles(tx: &mut Conn<'_>, upstream: &str) -> Result<()> {
    let sql = "UPDATE breakers SET failures = 0, trips = 0, open_until = 0, quota_until = 0 WHERE upstream = $1";
    tx.execute(sql, args![upstream]).await?;
    tx.execute("DELETE FROM breaker_reels WHERE upstream = $1", args![upstream]).await?;
    Ok(())
}

async fn note_trouble(
    tx: &mut Conn<'_>,
    upstream: &str,
    trouble: ReelTrouble<'_>,
    now: Timestamp,
) -> Result<Option<Breaker>> {
    #[derive(sqlx::FromRow)]
    struct TroubleCounts {
        reels: i64,
        people: i64,
        same_reel: i64,
        same_person: i64,
    }
    let (person, reel) = (trouble.person.to_string(), trouble.reel.as_str());
    let row: Option<BreakerRow> = tx.fetch_optional(sql!(BREAKERS, "WHERE upstream = $1"), args![upstream]).await?;
    let mut breaker = row.map(|row| breaker(row).1).unwrap_or_default();
    let sql = "DELETE FROM breaker_reels WHERE upstream = $1 AND at < $2";
    tx.execute(sql, args![upstream, (now - ROW).0]).await?;
    let sql = r"
        SELECT COUNT(*) AS reels, COUNT(DISTINCT person_id) AS people,
            CAST(COALESCE(SUM(CASE WHEN shortcode = $2 THEN 1 ELSE 0 END), 0) AS BIGINT) AS same_reel,
            CAST(COALESCE(SUM(CASE WHEN person_id = $3 THEN 1 ELSE 0 END), 0) AS BIGINT) AS same_person
        FROM breaker_reels
        WHERE upstream = $1";
    let counted: TroubleCounts = tx.fetch_one(sql, args![upstream, reel, &person]).await?;
    let (is_new_reel, is_new_person) = (counted.same_reel == 0, counted.same_person == 0);
    let failures = FailureRow {
        reels: counted.reels + i64::from(is_new_reel),
        people: counted.people + i64::from(is_new_person),
        is_new_reel,
        is_new_person,
    };
    let opened = breaker.fail(trouble.weight, failures, now);
    if trouble.weight != Weight::Waits {
        let sql = r"
            INSERT INTO breaker_reels (upstream, shortcode, person_id, at)
            VALUES ($1, $2, $3, $4)
            ON CONFLICT (upstream, shortcode) DO UPDATE SET at = excluded.at";
        tx.execute(sql, args![upstream, reel, &person, now.0]).await?;
    }
    breaker.held_until = trouble.held_until.unwrap_or_default().max(breaker.held_until);
    breaker.cause = trouble.cause.to_owned();
    breaker.reference = trouble.reference.to_owned();
    breaker.failed_at = now;
    let sql = r"
        INSERT INTO breakers (upstream, failures, trips, open_until, held_until, quota_until, cause, reference,
            failed_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        ON CONFLICT (upstream) DO UPDATE SET failures = excluded.failures, trips = excluded.trips,
            open_until = excluded.open_until, held_until = excluded.held_until, quota_until = excluded.quota_until,
            cause = excluded.cause, reference = excluded.reference, failed_at = excluded.failed_at";
    let args = args![
        upstream,
        breaker.failures,
        breaker.trips,
        breaker.open_until.0,
        breaker.held_until.0,
        breaker.quota_until.0,
        trouble.cause,
        trouble.reference,
        now.0,
    ];
    tx.execute(sql, args).await?;
    Ok(opened.then_some(breaker))
}

fn breaker(row: BreakerRow) -> (String, Breaker) {
    let breaker = Breaker {
        failures: row.failures,
        trips: row.trips,
        open_until: Timestamp(row.open_until),
        held_until: Timestamp(row.held_until),
        quota_until: Timestamp(row.quota_until),
        cause: row.cause,
        reference: row.reference,
        failed_at: Timestamp(row.failed_at),
    };
    (row.upstream, breaker)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1000)
    }

    /// A reel that never failed before, of somebody whose reels did not.
    fn one_more(reels: i64) -> FailureRow {
        FailureRow { reels, people: reels, is_new_reel: true, is_new_person: true }
    }

    fn fails(breaker: &mut Breaker, row: FailureRow, now: Timestamp) -> bool {
        breaker.fail(Weight::OfSeveral, row, now)
    }

    #[test]
    fn it_opens_tries_and_opens_for_longer() {
        let mut breaker = Breaker::default();
        assert!(!fails(&mut breaker, one_more(1), at(1)) && !fails(&mut breaker, one_more(2), at(2)));
        assert_eq!(breaker.state(at(2)), BreakerState::Closed);
        assert!(fails(&mut breaker, one_more(3), at(3)), "the third in a row");
        assert_eq!(breaker.state(at(32)), BreakerState::Open { until: at(33) });
        assert!(!fails(&mut breaker, one_more(4), at(10)), "a job that began before");
        assert_eq!(breaker.state(at(33)), BreakerState::HalfOpen);
        let mut now = at(33);
        for (reels, seconds) in (5..).zip([60, 120, 240, 480, 600, 600]) {
            assert!(fails(&mut breaker, one_more(reels), now), "the trial failed");
            assert_eq!(breaker.state(now), BreakerState::Open { until: now + Duration::from_secs(seconds) });
            now = breaker.open_until;
        }
    }

    #[test]
    fn what_waiting_does_not_help_opens_it_at_once() {
        let mut breaker = Breaker::default();
        assert!(breaker.fail(Weight::Lasting, one_more(1), at(0)));
        assert_eq!(breaker.state(at(29)), BreakerState::Open { until: at(30) });
    }

    #[test]
    fn neither_one_reel_nor_one_persons_reels_open_it() {
        let mut breaker = Breaker::default();
        let again = FailureRow { reels: 1, people: 1, is_new_reel: false, is_new_person: false };
        assert!(!fails(&mut breaker, one_more(1), at(0)));
        assert!((1..50).all(|second| !fails(&mut breaker, again, at(second))));
        for reels in 2..50 {
            let of_one = FailureRow { reels, people: 1, is_new_reel: true, is_new_person: false };
            assert!(!fails(&mut breaker, of_one, at(reels)), "{reels}");
        }
        assert_eq!((breaker.failures, breaker.state(at(99))), (49, BreakerState::Closed));
        let second = FailureRow { reels: 50, people: 2, is_new_reel: true, is_new_person: true };
        assert!(fails(&mut breaker, second, at(99)));
        // Those whose reels failed before do not hold the others out for longer and longer.
        for reels in 51..55 {
            let known = FailureRow { reels, people: 2, is_new_reel: true, is_new_person: false };
            let now = breaker.open_until;
            assert!(fails(&mut breaker, known, now));
            assert_eq!(breaker.state(now), BreakerState::Open { until: now + FIRST_OPEN });
        }
        let now = breaker.open_until;
        let same = FailureRow { reels: 54, people: 2, is_new_reel: false, is_new_person: false };
        assert!(!fails(&mut breaker, same, now), "it failed before: nothing new");
    }

    #[test]
    fn who_asks_to_wait_does_not_fail() {
        let mut breaker = Breaker::default();
        for reels in 1..9 {
            assert!(!breaker.fail(Weight::Waits, one_more(reels), at(reels)));
        }
        breaker.held_until = at(40);
        assert_eq!(breaker.state(at(39)), BreakerState::Held { until: at(40) });
        assert!(!breaker.state(at(39)).is_failing());
        assert_eq!((breaker.failures, breaker.state(at(40))), (0, BreakerState::Closed));
    }

    #[test]
    fn a_quota_of_the_day_is_tried_every_hour_until_it_is_there_again() {
        let mut breaker = Breaker::default();
        let midnight = at(5400);
        assert!(breaker.fail(Weight::QuotaUntil(midnight), one_more(1), at(0)));
        assert_eq!((breaker.quota_used_up(at(3599)), breaker.quota_used_up(at(3600))), (Some(midnight), None));
        assert!(breaker.fail(Weight::QuotaUntil(midnight), one_more(2), at(3600)));
        assert_eq!(breaker.state(at(5399)), BreakerState::Open { until: midnight });
        assert_eq!((breaker.quota_used_up(midnight), breaker.state(midnight)), (None, BreakerState::HalfOpen));
    }
}
