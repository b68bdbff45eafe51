//! The ledger: every paid call once, and the sums that reports are made of.

use crate::clock::Timestamp;
use crate::ids::{ChatId, PersonId};
use crate::upstream::{Provider, Usage};

use super::{Result, Store, read, write};

/// One paid call.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// Names the call: writing it again changes nothing.
    pub key: &'a str,
    pub at: Timestamp,
    pub person: PersonId,
    pub chat: &'a ChatId,
    pub provider: Provider,
    pub model: &'a str,
    /// What it was for: coach, summary, scrape, analysis, n8n.
    pub tool: &'a str,
    pub usage: Usage,
    pub micro_usd: i64,
    pub price_version: &'a str,
    pub latency_ms: i64,
    /// `ok`, the name of the cause of its failure, or [`crate::upstream::STARTED`].
    pub outcome: &'a str,
}

/// Usage of one model over some time.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct ModelUse {
    pub provider: String,
    pub model: String,
    pub calls: i64,
    pub input_tokens: i64,
    pub cached_tokens: i64,
    pub output_tokens: i64,
    pub micro_usd: i64,
}

impl Store {
    /// Writes a call into the ledger; `false` if it stood there already. What was reserved for it gives way to any end
    /// of it, and an estimate to what the provider says.
    pub async fn record(&self, entry: Entry<'_>) -> Result<bool> {
        let count = |tokens: u64| i64::try_from(tokens).unwrap_or(i64::MAX);
        let changed = write!(&self.db, pool => sqlx::query(
                "INSERT INTO ledger (key, at, person_id, platform, chat, provider, model, tool, input_tokens, cached_tokens, \
                 cache_write_tokens, output_tokens, reasoning_tokens, micro_usd, price_version, estimated, latency_ms, outcome) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18) \
                 ON CONFLICT (key) DO UPDATE SET at = excluded.at, model = excluded.model, input_tokens = excluded.input_tokens, \
                 cached_tokens = excluded.cached_tokens, cache_write_tokens = excluded.cache_write_tokens, \
                 output_tokens = excluded.output_tokens, reasoning_tokens = excluded.reasoning_tokens, \
                 micro_usd = excluded.micro_usd, price_version = excluded.price_version, estimated = excluded.estimated, \
                 latency_ms = excluded.latency_ms, outcome = excluded.outcome \
                 WHERE ledger.outcome = 'started' OR (ledger.estimated AND NOT excluded.estimated)")
            .bind(entry.key)
            .bind(entry.at.0)
            .bind(entry.person.to_string())
            .bind(entry.chat.platform.name())
            .bind(entry.chat.to_string())
            .bind(entry.provider.name())
            .bind(entry.model)
            .bind(entry.tool)
            .bind(count(entry.usage.input_tokens))
            .bind(count(entry.usage.cached_tokens))
            .bind(count(entry.usage.cache_write_tokens))
            .bind(count(entry.usage.output_tokens))
            .bind(count(entry.usage.reasoning_tokens))
            .bind(entry.micro_usd)
            .bind(entry.price_version)
            .bind(entry.usage.estimated)
            .bind(entry.latency_ms)
            .bind(entry.outcome)
            .execute(pool)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(changed == 1)
    }

    /// Takes back what was reserved for a call that was not made, or that stands in the ledger under another key.
    pub async fn unreserve(&self, key: &str) -> Result<()> {
        write!(&self.db, pool => sqlx::query("DELETE FROM ledger WHERE key = $1 AND outcome = 'started'")
            .bind(key)
            .execute(pool)
            .await
            .map(|_| ()))?;
        Ok(())
    }

    /// Usage by model from `from` (inclusive) to `to` (exclusive), the dearest first.
    pub async fn usage_by_model(&self, from: Timestamp, to: Timestamp) -> Result<Vec<ModelUse>> {
        let rows = read!(&self.db, pool => sqlx::query_as(
                "SELECT provider, model, COUNT(*) AS calls, \
                 CAST(COALESCE(SUM(input_tokens), 0) AS BIGINT) AS input_tokens, \
                 CAST(COALESCE(SUM(cached_tokens), 0) AS BIGINT) AS cached_tokens, \
                 CAST(COALESCE(SUM(output_tokens), 0) AS BIGINT) AS output_tokens, \
                 CAST(COALESCE(SUM(micro_usd), 0) AS BIGINT) AS micro_usd \
                 FROM ledger WHERE at >= $1 AND at < $2 GROUP BY provider, model ORDER BY 7 DESC, model")
            .bind(from.0)
            .bind(to.0)
            .fetch_all(pool)
            .await)?;
        Ok(rows)
    }
}
