//! What happened on each day (UTC), for reports over time. Owns the counting alone.

use chrono::{DateTime, NaiveDate};

use crate::clock::Timestamp;

use super::budgets::{Scope, Span};
use super::ledger::ModelUse;
use super::{Result, Store, read};

/// One day (UTC).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Day {
    pub date: NaiveDate,
    /// Messages that people wrote to the bot.
    pub messages: i64,
    /// Reels that were read.
    pub reels: i64,
    pub micro_usd: i64,
}

/// Calls of one model on one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelDay {
    pub date: NaiveDate,
    pub used: ModelUse,
}

const DAY_MS: i64 = 86_400_000;

impl Store {
    /// The last `count` days up to that of `now`, oldest first, without gaps. Messages and reels only as far back as they
    /// are kept.
    pub async fn days(&self, count: u32, now: Timestamp) -> Result<Vec<Day>> {
        let last = now.0.div_euclid(DAY_MS);
        let first = last - i64::from(count.max(1)) + 1;
        let from = first * DAY_MS;
        let messages: Vec<(i64, i64)> = read!(&self.db, pool => sqlx::query_as(
                "SELECT received_at / 86400000 AS day, COUNT(*) FROM inbox WHERE received_at >= $1 GROUP BY 1")
            .bind(from)
            .fetch_all(pool)
            .await)?;
        let reels: Vec<(i64, i64)> = read!(&self.db, pool => sqlx::query_as(
                "SELECT finished_at / 86400000 AS day, COUNT(*) FROM jobs WHERE state = 'done' AND finished_at >= $1 GROUP BY 1")
            .bind(from)
            .fetch_all(pool)
            .await)?;
        let spent: Vec<(String, i64)> = read!(&self.db, pool => sqlx::query_as(
                "SELECT period, micro_usd FROM spending WHERE scope = $1 AND period >= $2 AND LENGTH(period) = 10")
            .bind(Scope::Bot.name())
            .bind(Span::Day.period(Timestamp(from)))
            .fetch_all(pool)
            .await)?;
        let of = |rows: &[(i64, i64)], day| rows.iter().find(|(at, _)| *at == day).map_or(0, |(_, count)| *count);
        let days = (first..=last).filter_map(|day| {
            let date = DateTime::from_timestamp_millis(day * DAY_MS)?.date_naive();
            let period = Span::Day.period(Timestamp(day * DAY_MS));
            let micro_usd = spent.iter().find(|(name, _)| *name == period).map_or(0, |(_, spent)| *spent);
            Some(Day { date, messages: of(&messages, day), reels: of(&reels, day), micro_usd })
        });
        Ok(days.collect())
    }

    /// Calls by day and model from `from` on, in no order.
    pub async fn days_by_model(&self, from: Timestamp) -> Result<Vec<ModelDay>> {
        type Row = (i64, String, String, i64, i64, i64, i64, i64);
        let rows: Vec<Row> = read!(&self.db, pool => sqlx::query_as(
                "SELECT at / 86400000 AS day, provider, model, COUNT(*), CAST(SUM(input_tokens) AS BIGINT), \
                 CAST(SUM(cached_tokens) AS BIGINT), CAST(SUM(output_tokens) AS BIGINT), CAST(SUM(micro_usd) AS BIGINT) \
                 FROM ledger WHERE at >= $1 GROUP BY 1, provider, model")
            .bind(from.0)
            .fetch_all(pool)
            .await)?;
        let days = rows.into_iter().filter_map(
            |(day, provider, model, calls, input_tokens, cached_tokens, output_tokens, micro_usd)| {
                let date = DateTime::from_timestamp_millis(day.checked_mul(DAY_MS)?)?.date_naive();
                let used = ModelUse { provider, model, calls, input_tokens, cached_tokens, output_tokens, micro_usd };
                Some(ModelDay { date, used })
            },
        );
        Ok(days.collect())
    }
}
