//! What the rows tell of a run, for whoever checks it afterwards. Owns the reading of whole tables, without a text of
//! anybody's; not for a database that has grown.

use super::{Result, Store, read};

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub inbox: Vec<InboxRow>,
    pub turns: Vec<TurnRow>,
    pub subscriptions: Vec<SubscriptionRow>,
    pub boards: Vec<BoardRow>,
    pub jobs: Vec<JobRow>,
    pub ledger: Vec<LedgerRow>,
    pub spending: Vec<SpendingRow>,
}

#[derive(Clone, Debug, sqlx::FromRow)]
pub struct InboxRow {
    pub chat: String,
    pub message: String,
    pub turn_id: String,
    pub received_at: i64,
}

#[derive(Clone, Debug, sqlx::FromRow)]
pub struct TurnRow {
    pub id: String,
    pub kind: String,
    pub state: String,
    pub chat: String,
    pub subscription_id: Option<String>,
    pub attempt: i64,
    /// JSON: ids of the messages that show the answer.
    pub shown: String,
    pub outcome: Option<String>,
    pub created_at: i64,
    pub closed_at: Option<i64>,
}

#[derive(Clone, Debug, sqlx::FromRow)]
pub struct SubscriptionRow {
    pub id: String,
    pub state: String,
    pub job_id: Option<String>,
    pub shortcode: String,
    pub board_id: String,
    /// The turn that asked.
    pub turn_id: String,
}

#[derive(Clone, Debug, sqlx::FromRow)]
pub struct BoardRow {
    pub id: String,
    pub state: String,
    pub chat: String,
    pub message: Option<String>,
}

#[derive(Clone, Debug, sqlx::FromRow)]
pub struct JobRow {
    pub id: String,
    pub shortcode: String,
    pub state: String,
    pub asked_by: String,
    pub slot_at: Option<i64>,
    pub ready_at: i64,
    pub lane: Option<String>,
    pub attempt: i64,
    pub created_at: i64,
    pub started_at: Option<i64>,
    pub finished_at: Option<i64>,
}

#[derive(Clone, Debug, sqlx::FromRow)]
pub struct LedgerRow {
    pub key: String,
    pub at: i64,
    pub person_id: String,
    pub platform: String,
    pub provider: String,
    pub model: String,
    pub input_tokens: i64,
    pub cached_tokens: i64,
    pub cache_write_tokens: i64,
    pub output_tokens: i64,
    pub micro_usd: i64,
    pub estimated: bool,
    pub outcome: String,
}

#[derive(Clone, Debug, sqlx::FromRow)]
pub struct SpendingRow {
    pub scope: String,
    pub period: String,
    pub micro_usd: i64,
}

impl Store {
    /// Every row that tells of a message, a reel or a cost.
    pub async fn history(&self) -> Result<History> {
        macro_rules! all {
            ($sql:literal) => {
                read!(&self.db, connection => sqlx::query_as($sql).fetch_all(connection).await)?
            };
        }
        Ok(History {
            inbox: all!("SELECT chat, message, turn_id, received_at FROM inbox ORDER BY received_at"),
            turns: all!(
                "SELECT id, kind, state, chat, subscription_id, attempt, shown, outcome, created_at, closed_at FROM turns ORDER BY id"
            ),
            subscriptions: all!(
                "SELECT id, state, job_id, shortcode, board_id, turn_id FROM subscriptions ORDER BY id"
            ),
            boards: all!("SELECT id, state, chat, message FROM boards ORDER BY id"),
            jobs: all!(
                "SELECT id, shortcode, state, asked_by, slot_at, ready_at, lane, attempt, created_at, started_at, finished_at \
                 FROM jobs ORDER BY id"
            ),
            ledger: all!(
                "SELECT key, at, person_id, platform, provider, model, input_tokens, cached_tokens, cache_write_tokens, \
                 output_tokens, micro_usd, estimated, outcome FROM ledger ORDER BY at, key"
            ),
            spending: all!("SELECT scope, period, micro_usd FROM spending ORDER BY scope, period"),
        })
    }

    /// How many messages have been stored.
    pub async fn messages_received(&self) -> Result<i64> {
        let (count,): (i64,) =
            read!(&self.db, connection => sqlx::query_as("SELECT COUNT(*) FROM inbox").fetch_one(connection).await)?;
        Ok(count)
    }
}
