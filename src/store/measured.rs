//! What the database tells of the past weeks, for the capacity planner: counts, durations and tokens, as sums over
//! indexed ranges. Reads only; owns no judgement of what is too little.
//!
//! Bounded: people and hours come from the ledger (one row per paid call, by its index on time), answers and reels from
//! messages by their ids, durations from the latest `SAMPLES` calls of a kind, causes from the latest `ROWS` failed
//! runs; where a time has more than `CALLS` calls, only its last days count.

use std::time::Duration;

use crate::clock::Timestamp;

use super::{Result, Store, StoreError, args};

/// Calls that are looked at: with more in the time, its latest whole days.
const CALLS: i64 = 200_000;

/// Durations taken of one kind.
const SAMPLES: i64 = 1_000;

/// Ledger rows looked at for durations, from the newest on: kinds that are rarer than one in ten of the samples' calls
/// are taken as far as they are among these.
const ROWS: i64 = 20_000;

/// Outcomes of calls for a reel after which nobody asks again: they told something of it.
const TOLD: [&str; 6] = ["ok", "not_available", "no_video", "blocked", "too_long", "refused"];

/// What was measured from `from` on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// The days from the first call in the time to the end of it; at most the whole time.
    pub days: f64,
    /// People who had something answered, summed over the days: one who was there on two days counts twice.
    pub person_days: i64,
    /// Calls of the model that went well, by the hour of the day (UTC).
    pub answers_by_hour: [i64; 24],
    /// Calls of the model that were made for these and for answers that came to nothing, however they ended; and what
    /// they used.
    pub coach_calls: i64,
    pub input_tokens: i64,
    pub cached_tokens: i64,
    pub cache_write_tokens: i64,
    pub output_tokens: i64,
    /// What else OpenAI was paid for: summaries, and calls whose end is not known.
    pub beside_micro_usd: i64,
    /// What people said and the coach answered, in conversations that are still kept. Answers from memory and sentences
    /// about reels that could not be read are among the answers.
    pub said: i64,
    pub answered: i64,
    /// Reels that were coached on, known ones among them.
    pub reels_coached: i64,
    /// Reels that were read, well or not.
    pub reels_run: i64,
    /// Of the runs: failed, for whatever cause.
    pub reels_failed: i64,
    /// Different links among the runs.
    pub links_run: i64,
    /// Link and cause of the latest failed runs, the newest first; the cause as it is stored
    /// ([`super::reels::JobEnd`]).
    pub failed: Vec<(String, String)>,
    /// Calls that told something of a reel, if only that it is gone; and what they and those that had to be made again
    /// used or cost.
    pub gemini_calls: i64,
    pub gemini_input: i64,
    pub gemini_output: i64,
    pub apify_runs: i64,
    pub apify_micro_usd: i64,
    pub n8n_runs: i64,
    pub n8n_micro_usd: i64,
    pub scrape: Vec<Duration>,
    pub analysis: Vec<Duration>,
    pub n8n: Vec<Duration>,
    /// Whole calls of the model: from the request to the end of its answer.
    pub coach: Vec<Duration>,
}

const DAY: i64 = 86_400_000;

impl Measured {
    /// Answers that the coach gave, those from memory among them; calls that went well where none of them is kept.
    pub fn answers(&self) -> i64 {
        // A reel that cannot be read is told without the coach.
        let kept = self.answered - self.reels_failed;
        if kept > 0 { kept } else { self.answers_by_hour.iter().sum() }
    }
}

#[derive(sqlx::FromRow)]
struct HourRow {
    hour: i64,
    answers: i64,
}

#[derive(sqlx::FromRow)]
struct UsageRow {
    tool: String,
    outcome: String,
    calls: i64,
    input: i64,
    cached: i64,
    written: i64,
    output: i64,
    micro_usd: i64,
}

#[derive(sqlx::FromRow)]
struct RoleRow {
    role: String,
    count: i64,
}

#[derive(sqlx::FromRow)]
struct RunsRow {
    runs: i64,
    failed: i64,
    links: i64,
}

#[derive(sqlx::FromRow)]
struct FailedRun {
    shortcode: String,
    failure: String,
}

impl Store {
    /// What was measured from `from` (inclusive) to `to` (exclusive).
    pub async fn measured(&self, from: Timestamp, to: Timestamp) -> Result<Measured> {
        let sql = r"
            SELECT at
            FROM ledger
            WHERE at >= $1 AND at < $2
            ORDER BY at DESC
            LIMIT 1 OFFSET $3";
        let oldest: Option<i64> = self.db.fetch_optional_value(sql, args![from.0, to.0, CALLS]).await?;
        // Whole days, so that each hour of the day is as often in it as the others.
        let from = oldest.map_or(from, |at| Timestamp(to.0 - ((to.0 - at) / DAY).max(1) * DAY));
        let first: Option<i64> =
            self.db.fetch_value("SELECT MIN(at) FROM ledger WHERE at >= $1 AND at < $2", args![from.0, to.0]).await?;
        let Some(first) = first else { return Ok(Measured::default()) };
        let mut measured = Measured { days: (to.0 - first).max(1) as f64 / DAY as f64, ..Measured::default() };
        let sql = r"
            SELECT COUNT(*)
            FROM (
                SELECT DISTINCT person_id, at / 86400000
                FROM ledger
                WHERE at >= $1 AND at < $2
            ) AS days";
        measured.person_days = self.db.fetch_value(sql, args![from.0, to.0]).await?;
        let sql = r"
            SELECT (at / 3600000) % 24 AS hour, COUNT(*) AS answers
            FROM ledger
            WHERE at >= $1 AND at < $2 AND tool = 'coach' AND outcome = 'ok'
            GROUP BY 1
            ORDER BY 1";
        let hours: Vec<HourRow> = self.db.fetch_all(sql, args![from.0, to.0]).await?;
        for HourRow { hour, answers } in hours {
            if let Some(place) = usize::try_from(hour).ok().and_then(|hour| measured.answers_by_hour.get_mut(hour)) {
                *place = answers;
            }
        }
        self.measure_usage(&mut measured, from, to).await?;
        self.measure_reels(&mut measured, from, to).await?;
        measured.scrape = self.latencies("scrape", from, to).await?;
        measured.analysis = self.latencies("analyse", from, to).await?;
        measured.n8n = self.latencies("workflow", from, to).await?;
        measured.coach = self.latencies("coach", from, to).await?;
        Ok(measured)
    }

    async fn measure_usage(&self, measured: &mut Measured, from: Timestamp, to: Timestamp) -> Result<()> {
        let sql = r"
            SELECT tool, outcome, COUNT(*) AS calls,
                CAST(COALESCE(SUM(input_tokens), 0) AS BIGINT) AS input,
                CAST(COALESCE(SUM(cached_tokens), 0) AS BIGINT) AS cached,
                CAST(COALESCE(SUM(cache_write_tokens), 0) AS BIGINT) AS written,
                CAST(COALESCE(SUM(output_tokens), 0) AS BIGINT) AS output,
                CAST(COALESCE(SUM(micro_usd), 0) AS BIGINT) AS micro_usd
            FROM ledger
            WHERE at >= $1 AND at < $2 AND outcome <> 'started'
            GROUP BY tool, outcome
            ORDER BY tool, outcome";
        let rows: Vec<UsageRow> = self.db.fetch_all(sql, args![from.0, to.0]).await?;
        for row in rows {
            let UsageRow { tool, outcome, calls, input, cached, written, output, micro_usd } = row;
            let told = if TOLD.contains(&outcome.as_str()) { calls } else { 0 };
            match tool.as_str() {
                // Its tokens are those that it might have used.
                "coach" if outcome == "lost" => measured.beside_micro_usd += micro_usd,
                "coach" => {
                    measured.coach_calls += calls;
                    measured.input_tokens += input;
                    measured.cached_tokens += cached;
                    measured.cache_write_tokens += written;
                    measured.output_tokens += output;
                }
                "summary" | "judge" => measured.beside_micro_usd += micro_usd,
                "scrape" => {
                    measured.apify_runs += told;
                    measured.apify_micro_usd += micro_usd;
                }
                "analyse" if outcome == "lost" => {}
                "analyse" => {
                    measured.gemini_calls += told;
                    measured.gemini_input += input;
                    measured.gemini_output += output;
                }
                "workflow" => {
                    measured.n8n_runs += told;
                    measured.n8n_micro_usd += micro_usd;
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn measure_reels(&self, measured: &mut Measured, from: Timestamp, to: Timestamp) -> Result<()> {
        // A message's id begins with its time.
        let (first, last) = (first_id(from), first_id(to));
        let sql = r"
            SELECT role, COUNT(*) AS count
            FROM messages
            WHERE id >= $1 AND id < $2
            GROUP BY role
            ORDER BY role";
        let rows: Vec<RoleRow> = self.db.fetch_all(sql, args![&first, &last]).await?;
        for RoleRow { role, count } in rows {
            match role.as_str() {
                "person" => measured.said = count,
                "coach" => measured.answered = count,
                "reel" => measured.reels_coached = count,
                _ => return Err(StoreError::Corrupt("messages.role")),
            }
        }
        let sql = r"
            SELECT COUNT(*) AS runs,
                CAST(COALESCE(SUM(CASE WHEN state = 'failed' THEN 1 ELSE 0 END), 0) AS BIGINT) AS failed,
                COUNT(DISTINCT shortcode) AS links
            FROM jobs
            WHERE state IN ('done', 'failed', 'cancelled')
                AND finished_at >= $1
                AND finished_at < $2
                AND started_at IS NOT NULL";
        let runs: RunsRow = self.db.fetch_one(sql, args![from.0, to.0]).await?;
        (measured.reels_run, measured.reels_failed, measured.links_run) = (runs.runs, runs.failed, runs.links);
        let sql = r"
            SELECT shortcode, failure
            FROM jobs
            WHERE state = 'failed'
                AND finished_at >= $1
                AND finished_at < $2
                AND started_at IS NOT NULL
                AND failure IS NOT NULL
            ORDER BY finished_at DESC, id DESC
            LIMIT $3";
        let failures: Vec<FailedRun> = self.db.fetch_all(sql, args![from.0, to.0, ROWS]).await?;
        measured.failed = failures.into_iter().map(|row| (row.shortcode, row.failure)).collect();
        Ok(())
    }

    /// How long the latest calls of a tool took that went well.
    async fn latencies(&self, tool: &str, from: Timestamp, to: Timestamp) -> Result<Vec<Duration>> {
        let sql = r"
            SELECT latency_ms
            FROM (
                SELECT latency_ms, tool, outcome
                FROM ledger
                WHERE at >= $1 AND at < $2
                ORDER BY at DESC
                LIMIT $3
            ) AS latest
            WHERE tool = $4 AND outcome = 'ok'
            LIMIT $5";
        let rows: Vec<i64> = self.db.fetch_values(sql, args![from.0, to.0, ROWS, tool, SAMPLES]).await?;
        Ok(rows.into_iter().map(|ms| Duration::from_millis(ms.max(0).unsigned_abs())).collect())
    }
}

/// The first id of a time: ids are UUIDs of version 7 (RFC 9562), whose first 48 bits are the milliseconds.
fn first_id(at: Timestamp) -> String {
    format!("{:012x}{:020x}", at.0.clamp(0, (1 << 48) - 1), 0)
}
