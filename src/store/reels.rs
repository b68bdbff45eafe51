//! The queue: jobs, who waits for them, and what is known of a reel. The rules are exact because each of
//! them is decided in the transaction that writes.

mod cancel;
mod choice;
mod slots;
mod submit;
mod work;

use std::time::Duration;

use crate::clock::Timestamp;
use crate::ids::{BoardId, ChatId, InstanceId, JobId, PersonId, Shortcode, SubscriptionId, TurnId};

use super::lanes::Lane;
use super::{Conn, Result, Store, StoreError, args};

pub use self::cancel::Cancelled;
pub(crate) use self::slots::gap;
pub use self::submit::Note;
pub(super) use self::work::WorkSpan;

/// The caps that [`Store::submit`] holds.
#[derive(Clone, Copy, Debug)]
pub struct QueueLimits {
    /// The time between two new reels of one person.
    pub interval: Duration,
    /// New reels that may wait for one person.
    pub waiting_per_person: i64,
    /// Reels that may wait in all.
    pub waiting: i64,
    /// Results of another version are not used.
    pub pipeline: i64,
}

/// Who wishes for reels, and where the answer goes.
#[derive(Clone, Debug)]
pub struct Wish<'a> {
    pub turn: TurnId,
    pub person: PersonId,
    pub chat: &'a ChatId,
    pub reply_to: Option<&'a str>,
    /// A message on screen that the board may take over.
    pub placeholder: Option<&'a str>,
    /// What the person asks about them; empty if nothing.
    pub question: &'a str,
    /// Distinct, in order.
    pub reels: &'a [Shortcode],
    /// Read anew, whatever is known of them.
    pub fresh: bool,
}

/// What became of one wished reel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// Known: nothing is owed but the coaching.
    Cached,
    /// Known not to work; the cause as JSON.
    Failed(String),
    /// Somebody waits for it already; free.
    Joined,
    /// In the line, not before the time given.
    Queued {
        ready_at: Timestamp,
    },
    Denied(Denied),
}

impl Submitted {
    /// The name in the metrics and the reports.
    pub fn name(&self) -> &'static str {
        match self {
            Submitted::Cached => "cached",
            Submitted::Failed(_) => "failed",
            Submitted::Joined => "joined",
            Submitted::Queued { .. } => "queued",
            Submitted::Denied(_) => "denied",
        }
    }
}

/// Why a new reel was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// An admin lets the line run empty.
    Draining,
    TooManyWaiting {
        limit: i64,
        again_at: Timestamp,
    },
    LineFull {
        limit: i64,
        again_at: Timestamp,
    },
}

/// How far a running job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobPhase {
    Waiting,
    Scraping,
    Analysing,
}

impl JobPhase {
    /// The name in the database and the admins' view.
    pub fn name(self) -> &'static str {
        match self {
            JobPhase::Waiting => "waiting",
            JobPhase::Scraping => "scraping",
            JobPhase::Analysing => "analysing",
        }
    }

    fn parse(name: &str) -> Result<JobPhase> {
        [JobPhase::Waiting, JobPhase::Scraping, JobPhase::Analysing]
            .into_iter()
            .find(|p| p.name() == name)
            .ok_or(StoreError::Corrupt("jobs.phase"))
    }
}

/// A job under lease.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub job: JobId,
    pub shortcode: Shortcode,
    pub lane: Lane,
    /// 1 for the first worker that takes it. With `leased_by` it names the lease.
    pub attempt: i64,
    /// How many of the earlier attempts only found that their payer's budget does not cover it.
    pub passed: i64,
    /// The Apify run of an earlier attempt, which is paid for.
    pub run_id: Option<String>,
    /// The upstream on which the last attempt failed.
    pub failed_on: Option<String>,
    /// Nobody waits for it any more; its last worker did not come to stop it.
    pub cancel: bool,
    /// Earlier attempts have or may have cost something.
    pub bought: bool,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When work on it began, moved on by the times in which nobody could work on it.
    pub began_at: Timestamp,
    /// The upstream's quota of the day is used up until then: it can only be told so.
    pub quota_until: Option<Timestamp>,
    /// Who pays for it.
    pub asked_by: PersonId,
    /// Where they asked: the ledger's place of the cost.
    pub chat: ChatId,
    pub leased_by: InstanceId,
}

impl Claimed {
    /// The attempts that count, this one among them: being passed on is none of the reel's fault.
    pub fn tries(&self) -> i64 {
        self.attempt - self.passed
    }
}

/// What a worker learns when it renews its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobLease {
    Held,
    /// Nobody waits for it any more: stop, then finish as cancelled.
    CancelWanted,
    Lost,
}

/// How a job ends.
#[derive(Clone, Debug)]
pub enum JobEnd {
    Done {
        content: String,
        pipeline: i64,
        until: Timestamp,
    },
    /// `content` is the cause as JSON; it answers further askers until `until`. With `refund` the person gets
    /// their time back.
    Failed {
        content: String,
        pipeline: i64,
        until: Timestamp,
        refund: bool,
    },
    Cancelled {
        refund: bool,
    },
}

/// A job in the line or at work.
#[derive(Clone, Debug)]
pub struct LiveJob {
    pub job: JobId,
    pub shortcode: Shortcode,
    /// Whose spacing it waits for.
    pub asked_by: PersonId,
    pub ready_at: Timestamp,
    pub created_at: Timestamp,
    /// It was tried, and is tried again.
    pub has_failed: bool,
    pub running: Option<Running>,
}

#[derive(Clone, Debug)]
pub struct Running {
    pub lane: String,
    pub phase: JobPhase,
    pub started_at: Timestamp,
}

/// A reel a person asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    pub shortcode: Shortcode,
    pub state: SubscriptionState,
    pub at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscriptionState {
    Waiting,
    Answering,
    Answered,
    Cancelled,
}

impl SubscriptionState {
    pub(super) fn parse(name: &str) -> Result<Self> {
        match name {
            "waiting" => Ok(Self::Waiting),
            "answering" => Ok(Self::Answering),
            "answered" => Ok(Self::Answered),
            "cancelled" => Ok(Self::Cancelled),
            _ => Err(StoreError::Corrupt("subscriptions.state")),
        }
    }
}

/// What a reel turn is about.
#[derive(Clone, Debug)]
pub struct Subscription {
    pub id: SubscriptionId,
    pub shortcode: Shortcode,
    pub question: String,
    pub board: BoardId,
    /// How many reels the board speaks of.
    pub on_board: i64,
    /// Asked for by a command or a button, whose place for an answer is the board's.
    pub by_command: bool,
    pub reply_to: Option<String>,
    /// The reel as JSON, or why it failed.
    pub result: std::result::Result<String, String>,
}

impl Store {
    /// What is known of a reel, as JSON; `None` if nothing is that may still be used.
    pub async fn reel(
        &self,
        code: &Shortcode,
        pipeline: i64,
        now: Timestamp,
    ) -> Result<Option<std::result::Result<String, String>>> {
        #[derive(sqlx::FromRow)]
        struct KnownReel {
            state: String,
            content: String,
        }
        let sql = "SELECT state, content FROM reels WHERE shortcode = $1 AND pipeline = $2 AND until > $3";
        let known: Option<KnownReel> = self.db.fetch_optional(sql, args![code.as_str(), pipeline, now.0]).await?;
        Ok(known.map(|known| if known.state == "done" { Ok(known.content) } else { Err(known.content) }))
    }

    /// The reels a person asked for in a chat, newest first.
    pub async fn reels_of(&self, person: PersonId, chat: &ChatId, limit: u32) -> Result<Vec<Asked>> {
        #[derive(sqlx::FromRow)]
        struct AskedRow {
            shortcode: String,
            state: String,
            created_at: i64,
        }
        let sql = r"
            SELECT shortcode, state, created_at
            FROM subscriptions
            WHERE person_id = $1 AND chat = $2
            ORDER BY id DESC
            LIMIT $3";
        let args = args![person.to_string(), chat.to_string(), i64::from(limit)];
        let rows: Vec<AskedRow> = self.db.fetch_all(sql, args).await?;
        let asked = |row: AskedRow| {
            let (shortcode, state) = (row.shortcode.parse()?, SubscriptionState::parse(&row.state)?);
            Ok(Asked { shortcode, state, at: Timestamp(row.created_at) })
        };
        rows.into_iter().map(asked).collect()
    }

    /// What a reel turn is about.
    pub async fn subscription(&self, id: SubscriptionId) -> Result<Subscription> {
        #[derive(sqlx::FromRow)]
        struct SubscriptionRow {
            shortcode: String,
            question: String,
            board_id: String,
            reply_to: Option<String>,
            failure: Option<String>,
            content: Option<String>,
            on_board: i64,
            placeholder: Option<String>,
        }
        let sql = r"
            SELECT s.shortcode, s.question, s.board_id, s.reply_to, j.failure, r.content,
                (SELECT COUNT(*) FROM subscriptions o WHERE o.board_id = s.board_id) AS on_board,
                (SELECT b.placeholder FROM boards b WHERE b.id = s.board_id) AS placeholder
            FROM subscriptions s
            LEFT JOIN jobs j ON j.id = s.job_id
            LEFT JOIN reels r ON r.shortcode = s.shortcode AND r.state = 'done'
            WHERE s.id = $1";
        let row: SubscriptionRow = self.db.fetch_one(sql, args![id.to_string()]).await?;
        let result = match (row.failure, row.content) {
            (Some(failure), _) => Err(failure),
            (None, Some(content)) => Ok(content),
            (None, None) => return Err(StoreError::Corrupt("a subscription without a result")),
        };
        Ok(Subscription {
            id,
            shortcode: row.shortcode.parse()?,
            question: row.question,
            board: row.board_id.parse()?,
            on_board: row.on_board,
            by_command: row.placeholder.is_some(),
            reply_to: row.reply_to,
            result,
        })
    }
}

/// Who is owed an answer about a reel.
#[derive(sqlx::FromRow)]
struct Asker {
    /// The subscription.
    id: String,
    person_id: String,
    chat: String,
    reply_to: Option<String>,
}

/// Owes an answer about a reel. It is due at once; whoever claims it puts it to sleep if it has to wait its
/// turn ([`Store::park_turn`]), because the line's lock is not the talk's.
async fn insert_reel_turn(tx: &mut Conn<'_>, asker: &Asker, now: Timestamp) -> Result<()> {
    let sql = r"
        INSERT INTO turns (id, kind, state, person_id, chat, subscription_id, reply_to, merge_until, inputs, aside,
            sealed, due_at, attempt, shown, created_at)
        VALUES ($1, 'reel', 'open', $2, $3, $4, $5, $6, 0, FALSE, FALSE, $6, 0, '[]', $6)";
    let Asker { id, person_id, chat, reply_to } = asker;
    tx.execute(sql, args![TurnId::new().to_string(), person_id, chat, id, reply_to, now.0]).await?;
    Ok(())
}

/// So many more jobs are queued, or fewer.
async fn wait_in_line(tx: &mut Conn<'_>, change: i64) -> Result<()> {
    tx.execute("UPDATE line SET waiting = waiting + $1", args![change]).await?;
    Ok(())
}
