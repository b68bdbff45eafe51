//! How the paid services stand: what each last said, its calls minute by minute, and until when its models live. Rows,
//! so that every instance sees the same and a restart forgets nothing. Never decides what is told of it.

use std::time::Duration;

use crate::clock::Timestamp;

use super::{Result, Store, StoreError, args, storable};

/// The width of a row of `provider_calls`.
const MINUTE: i64 = 60_000;

/// A refused request of ours stays known for this long, although other requests work meanwhile: it is a fault of the
/// program, and would otherwise be told again with every one of them.
const REQUEST_KEPT: Duration = Duration::from_secs(3600);

/// What a paid service says that waiting does not mend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Its credit or spending limit is used up.
    Credit,
    /// It refuses the key.
    Key,
    /// It does not know the model, the actor or the webhook.
    Gone,
    /// It refuses a request as such.
    Request,
}

impl Trouble {
    pub const ALL: [Trouble; 4] = [Trouble::Credit, Trouble::Key, Trouble::Gone, Trouble::Request];

    /// The name in the database, the metrics and `/readyz`.
    pub fn name(self) -> &'static str {
        match self {
            Trouble::Credit => "credit",
            Trouble::Key => "key",
            Trouble::Gone => "gone",
            Trouble::Request => "request",
        }
    }
}

/// A paid service, asked for one model, actor or webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderRow {
    /// `openai`, `apify`, `gemini`, or `n8n:0` and so on: each webhook for itself.
    pub name: String,
    /// The model or the actor; empty for a webhook.
    pub target: String,
    /// Its latest call failed.
    pub failing: bool,
    pub trouble: Option<Trouble>,
    pub failed_at: Timestamp,
    /// Of the latest failure or, while there is one, of the trouble, as [`crate::upstream::Cause::name`] tells it.
    pub cause: String,
    pub detail: String,
    pub reference: String,
    /// The day on which the provider switches the model off, as 2026-12-11.
    pub shutdown_on: Option<String>,
}

/// The calls of one service in some time.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct ProviderCalls {
    pub name: String,
    pub calls: i64,
    pub failed: i64,
    /// Among the failed.
    pub rate_limited: i64,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallEnd<'a> {
    Worked,
    Failed {
        cause: &'a str,
        /// `None`: it may pass.
        trouble: Option<Trouble>,
        detail: &'a str,
        /// The code under which the failure is noted, or its subject until [`Store::note_failure`] gives it one.
        reference: &'a str,
    },
}

#[derive(sqlx::FromRow)]
struct StoredProvider {
    name: String,
    target: String,
    failing: bool,
    trouble: String,
    failed_at: i64,
    cause: String,
    detail: String,
    reference: String,
    shutdown_on: Option<String>,
}

impl Store {
    /// Notes how a call to a service ended that began at `began`. One that began before the latest failure clears
    /// nothing.
    pub async fn note_provider(
        &self,
        name: &str,
        target: &str,
        end: CallEnd<'_>,
        began: Timestamp,
        now: Timestamp,
    ) -> Result<()> {
        match end {
            CallEnd::Worked => {
                let sql = r"
                    UPDATE providers
                    SET failing = FALSE, trouble = ''
                    WHERE name = $1 AND (failing OR trouble <> '') AND failed_at <= $2
                        AND (target = $3 OR trouble NOT IN ('', 'gone'))
                        AND (trouble <> 'request' OR failed_at <= $4)";
                self.db.execute(sql, args![name, began.0, target, (began - REQUEST_KEPT).0]).await?;
            }
            CallEnd::Failed { cause, trouble, detail, reference } => {
                // While there is a trouble, what is told is about it.
                let sql = r"
                    INSERT INTO providers (name, target, failing, trouble, failed_at, cause, detail, reference,
                        looked_up_at)
                    VALUES ($1, $2, TRUE, $3, $4, $5, $6, $7, 0)
                    ON CONFLICT (name, target) DO UPDATE SET
                        failing = TRUE,
                        failed_at = excluded.failed_at,
                        trouble = CASE
                            WHEN excluded.trouble = '' THEN providers.trouble
                            ELSE excluded.trouble
                        END,
                        cause = CASE
                            WHEN excluded.trouble = '' AND providers.trouble <> '' THEN providers.cause
                            ELSE excluded.cause
                        END,
                        detail = CASE
                            WHEN excluded.trouble = '' AND providers.trouble <> '' THEN providers.detail
                            ELSE excluded.detail
                        END,
                        reference = CASE
                            WHEN excluded.trouble = '' AND providers.trouble <> '' THEN providers.reference
                            ELSE excluded.reference
                        END";
                let (trouble, detail) = (trouble.map_or("", Trouble::name), storable(detail));
                self.db.execute(sql, args![name, target, trouble, now.0, cause, detail, reference]).await?;
            }
        }
        Ok(())
    }

    /// Counts an answer, a video or a run of a service by how it ended.
    pub async fn count_provider_call(&self, name: &str, end: CallEnd<'_>, now: Timestamp) -> Result<()> {
        let (failed, limited) = match end {
            CallEnd::Worked => (0, 0),
            CallEnd::Failed { cause, .. } => (1, i64::from(cause == "rate_limited")),
        };
        let sql = r"
            INSERT INTO provider_calls (minute, name, calls, failed, rate_limited)
            VALUES ($1, $2, 1, $3, $4)
            ON CONFLICT (minute, name)
            DO UPDATE SET calls = provider_calls.calls + 1,
                failed = provider_calls.failed + excluded.failed,
                rate_limited = provider_calls.rate_limited + excluded.rate_limited";
        self.db.execute(sql, args![now.0 - now.0.rem_euclid(MINUTE), name, failed, limited]).await?;
        Ok(())
    }

    /// Every service that ever failed or was looked up: as many rows as there are models, actors and webhooks.
    pub async fn providers(&self) -> Result<Vec<ProviderRow>> {
        let sql = r"
            SELECT name, target, failing, trouble, failed_at, cause, detail, reference, shutdown_on
            FROM providers
            ORDER BY name, target";
        let rows: Vec<StoredProvider> = self.db.fetch_all(sql, args![]).await?;
        rows.into_iter().map(row).collect()
    }

    /// The calls of each service since the minute of `from`.
    pub async fn provider_calls(&self, from: Timestamp) -> Result<Vec<ProviderCalls>> {
        let sql = r"
            SELECT name, CAST(SUM(calls) AS BIGINT) AS calls, CAST(SUM(failed) AS BIGINT) AS failed,
                CAST(SUM(rate_limited) AS BIGINT) AS rate_limited
            FROM provider_calls
            WHERE minute >= $1
            GROUP BY name
            ORDER BY name";
        self.db.fetch_all(sql, args![from.0 - from.0.rem_euclid(MINUTE)]).await
    }

    /// Takes it upon the caller to look a model up, if nobody has since `before`.
    pub async fn claim_look_up(&self, name: &str, target: &str, before: Timestamp, now: Timestamp) -> Result<bool> {
        let sql = r"
            INSERT INTO providers (
                name, target, failing, trouble, failed_at, cause, detail, reference, looked_up_at
            )
            VALUES ($1, $2, FALSE, '', 0, '', '', '', $3)
            ON CONFLICT (name, target) DO UPDATE SET looked_up_at = excluded.looked_up_at
            WHERE providers.looked_up_at <= $4";
        let changed = self.db.execute(sql, args![name, target, now.0, before.0]).await?;
        Ok(changed == 1)
    }

    /// Notes on which day a model is switched off; `None`: on none that is known.
    pub async fn note_shutdown(&self, name: &str, target: &str, day: Option<&str>) -> Result<()> {
        self.db
            .execute(
                "UPDATE providers SET shutdown_on = $1 WHERE name = $2 AND target = $3",
                args![day.map(storable), name, target],
            )
            .await?;
        Ok(())
    }
}

fn row(row: StoredProvider) -> Result<ProviderRow> {
    let trouble = Trouble::ALL.into_iter().find(|known| known.name() == row.trouble);
    if trouble.is_none() && !row.trouble.is_empty() {
        return Err(StoreError::Corrupt("providers.trouble"));
    }
    Ok(ProviderRow {
        name: row.name,
        target: row.target,
        failing: row.failing,
        trouble,
        failed_at: Timestamp(row.failed_at),
        cause: row.cause,
        detail: row.detail,
        reference: row.reference,
        shutdown_on: row.shutdown_on,
    })
}
