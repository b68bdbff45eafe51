//! What the rows tell of a run, for whoever checks it afterwards. Owns the reading of whole tables, without a text of
//! anybody's; not for a database that has grown.

use super::{Result, Store, args};

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
        let inbox = "SELECT chat, message, turn_id, received_at FROM inbox ORDER BY received_at";
        let turns = r"
            SELECT id, kind, state, chat, subscription_id, attempt, shown, outcome, created_at, closed_at
            FROM turns
            ORDER BY id";
        let subscriptions = "SELECT id, state, job_id, shortcode, board_id, turn_id FROM subscriptions ORDER BY id";
        let boards = "SELECT id, state, chat, message FROM boards ORDER BY id";
        let jobs = r"
            SELECT id, shortcode, state, asked_by, slot_at, ready_at, lane, attempt, created_at, started_at,
                finished_at
            FROM jobs
            ORDER BY id";
        let ledger = r"
            SELECT key, at, person_id, platform, provider, model, input_tokens, cached_tokens, cache_write_tokens,
                output_tokens, micro_usd, estimated, outcome
            FROM ledger
            ORDER BY at, key";
        let spending = "SELECT scope, period, micro_usd FROM spending ORDER BY scope, period";
        Ok(History {
            inbox: self.db.fetch_all(inbox, args![]).await?,
            turns: self.db.fetch_all(turns, args![]).await?,
            subscriptions: self.db.fetch_all(subscriptions, args![]).await?,
            boards: self.db.fetch_all(boards, args![]).await?,
            jobs: self.db.fetch_all(jobs, args![]).await?,
            ledger: self.db.fetch_all(ledger, args![]).await?,
            spending: self.db.fetch_all(spending, args![]).await?,
        })
    }

    /// How many messages have been stored.
    pub async fn messages_received(&self) -> Result<i64> {
        self.db.fetch_value("SELECT COUNT(*) FROM inbox", args![]).await
    }
}
