//! Taking wishes into the line. Each limit is exact, because it is decided in the transaction that writes.

use sqlx::FromRow;

use crate::clock::Timestamp;
use crate::ids::{BoardId, JobId, Shortcode, SubscriptionId};
use crate::store::budgets::guild_of;
use crate::store::usage::{Counted, Within, count_up};
use crate::store::{Conn, Result, Store, args, storable};

use super::slots::move_if_earlier;
use super::{Asker, Denied, QueueLimits, Submitted, Wish, insert_reel_turn, wait_in_line};
use crate::store::locks::QUEUE;

/// Makes a board's standing words from the outcomes.
pub type Note<'a> = &'a (dyn Fn(&[Submitted]) -> String + Send + Sync);

impl Store {
    /// Takes a message's reels into the line, joins those that are in it, and opens a board where something is
    /// waited for (or where several results come). Submitting the same turn again changes nothing. `note` makes
    /// the board's standing words from the outcomes.
    pub async fn submit(
        &self,
        wish: &Wish<'_>,
        limits: QueueLimits,
        note: Note<'_>,
        now: Timestamp,
    ) -> Result<Vec<Submitted>> {
        let outcomes = self.db.exclusive(&[QUEUE], async |tx| submit(tx, wish, limits, note, now).await).await;
        // What was known already is due at once.
        self.turns_changed();
        self.jobs_changed().await;
        outcomes
    }
}

/// A wish that an earlier attempt of the turn has written.
#[derive(FromRow)]
struct Earlier {
    shortcode: String,
    job_id: Option<String>,
    board_id: String,
}

/// What becomes of a reel, and who is owed an answer about it later.
enum TakenReel {
    /// Nobody.
    No(Submitted),
    /// Whoever asks; it is known.
    Known,
    /// Whoever asks, when this job has ended.
    Waits(Submitted, String),
}

async fn submit(
    tx: &mut Conn<'_>,
    wish: &Wish<'_>,
    limits: QueueLimits,
    note: Note<'_>,
    now: Timestamp,
) -> Result<Vec<Submitted>> {
    let sql = "SELECT shortcode, job_id, board_id FROM subscriptions WHERE turn_id = $1";
    let earlier: Vec<Earlier> = tx.fetch_all(sql, args![wish.turn.to_string()]).await?;
    let earlier_wish = |code: &Shortcode| earlier.iter().find(|earlier| earlier.shortcode == code.as_str());
    let mut outcomes = Vec::with_capacity(wish.reels.len());
    // Inserted last, because they refer to the board, which is only made when one is needed.
    let mut subscriptions: Vec<(&Shortcode, Option<String>)> = Vec::new();
    for code in wish.reels {
        // Asked in an earlier attempt of this turn: that wish stands, whatever has become of it since.
        if let Some(earlier) = earlier_wish(code) {
            outcomes.push(if earlier.job_id.is_some() { Submitted::Joined } else { Submitted::Cached });
            continue;
        }
        outcomes.push(match take(tx, wish, code, limits, now).await? {
            TakenReel::No(outcome) => outcome,
            TakenReel::Known => {
                subscriptions.push((code, None));
                Submitted::Cached
            }
            TakenReel::Waits(outcome, job) => {
                subscriptions.push((code, Some(job)));
                outcome
            }
        });
    }
    // One known reel alone is answered by the turn that asked; it needs no board and no further turn.
    let alone = wish.reels.len() == 1 && subscriptions.iter().all(|(_, job)| job.is_none());
    if !alone && !subscriptions.is_empty() {
        let board = match earlier.first() {
            Some(earlier) => earlier.board_id.clone(),
            None => open_board(tx, wish, &note(&outcomes), now).await?,
        };
        for (code, job) in subscriptions {
            subscribe(tx, wish, &board, code, job.as_deref(), now).await?;
        }
    }
    // What was asked in an earlier attempt is counted already.
    let asked: Vec<_> = std::iter::zip(wish.reels, &outcomes)
        .filter(|(code, _)| earlier_wish(code).is_none())
        .map(|(_, outcome)| (Counted::Request, outcome.name()))
        .collect();
    if !asked.is_empty() {
        let within = Within::new(wish.chat, guild_of(tx, wish.chat).await?);
        count_up(tx, &within, now, &asked).await?;
    }
    Ok(outcomes)
}

/// Takes one reel into the line, if it is not known or in it already.
async fn take(
    tx: &mut Conn<'_>,
    wish: &Wish<'_>,
    code: &Shortcode,
    limits: QueueLimits,
    now: Timestamp,
) -> Result<TakenReel> {
    #[derive(FromRow)]
    struct KnownReel {
        state: String,
        content: String,
    }

    #[derive(FromRow)]
    struct JobInLine {
        id: String,
        state: String,
        asked_by: String,
        ready_at: i64,
    }
    if !wish.fresh {
        let sql = "SELECT state, content FROM reels WHERE shortcode = $1 AND pipeline = $2 AND until > $3";
        let known: Option<KnownReel> = tx.fetch_optional(sql, args![code.as_str(), limits.pipeline, now.0]).await?;
        match known {
            Some(known) if known.state == "failed" => return Ok(TakenReel::No(Submitted::Failed(known.content))),
            Some(_) => return Ok(TakenReel::Known),
            None => {}
        }
    }
    let sql = r"
        SELECT id, state, asked_by, ready_at
        FROM jobs
        WHERE shortcode = $1 AND state IN ('queued', 'running')";
    let live: Option<JobInLine> = tx.fetch_optional(sql, args![code.as_str()]).await?;
    let Some(live) = live else { return new_job(tx, wish, code, limits, now).await };
    // Somebody waits again: a wish to stop it is void.
    tx.execute("UPDATE jobs SET cancel = FALSE WHERE id = $1 AND cancel", args![&live.id]).await?;
    // Nobody waits out another person's spacing.
    let person = wish.person.to_string();
    if live.state == "queued" && live.asked_by != person && live.ready_at > now.0 {
        move_if_earlier(tx, &live.id, &person, Timestamp(live.ready_at), limits, now).await?;
    }
    Ok(TakenReel::Waits(Submitted::Joined, live.id))
}

/// Puts a new job into the line, if there is room for it.
async fn new_job(
    tx: &mut Conn<'_>,
    wish: &Wish<'_>,
    code: &Shortcode,
    limits: QueueLimits,
    now: Timestamp,
) -> Result<TakenReel> {
    #[derive(FromRow)]
    struct Room {
        /// Of the person: reels that wait, when the last of them may start, when their next one may.
        waiting: i64,
        last_ready: i64,
        next_reel_at: i64,
        /// Of everybody.
        in_line: i64,
        draining: bool,
    }
    let person = wish.person.to_string();
    let sql = r"
        SELECT COUNT(*) AS waiting, CAST(COALESCE(MAX(ready_at), 0) AS BIGINT) AS last_ready,
            (SELECT next_reel_at FROM people WHERE id = $1) AS next_reel_at,
            (SELECT waiting FROM line) AS in_line,
            (SELECT draining FROM line) AS draining
        FROM jobs
        WHERE asked_by = $1 AND state = 'queued'";
    let room: Room = tx.fetch_one(sql, args![&person]).await?;
    let last_ready = Timestamp(room.last_ready.max(now.0));
    if room.draining {
        return Ok(TakenReel::No(Submitted::Denied(Denied::Draining)));
    }
    if room.waiting >= limits.waiting_per_person {
        let again_at = last_ready - limits.interval * (room.waiting.clamp(1, 100) as u32 - 1);
        let (limit, again_at) = (limits.waiting_per_person, again_at.max(now + limits.interval));
        return Ok(TakenReel::No(Submitted::Denied(Denied::TooManyWaiting { limit, again_at })));
    }
    if room.in_line >= limits.waiting {
        let (limit, again_at) = (limits.waiting, now + limits.interval);
        return Ok(TakenReel::No(Submitted::Denied(Denied::LineFull { limit, again_at })));
    }
    // One spacing after the last one that waits is late enough, whatever clock said more.
    let ready_at = Timestamp(room.next_reel_at.max(now.0)).min(last_ready + limits.interval);
    let job = JobId::new().to_string();
    let sql = r"
        INSERT INTO jobs (id, shortcode, state, phase, asked_by, slot_at, ready_at, attempt, leased_until, cancel,
            created_at)
        VALUES ($1, $2, 'queued', 'waiting', $3, $4, $4, 0, 0, FALSE, $5)";
    tx.execute(sql, args![&job, code.as_str(), &person, ready_at.0, now.0]).await?;
    wait_in_line(tx, 1).await?;
    let sql = "UPDATE people SET next_reel_at = $1 WHERE id = $2";
    tx.execute(sql, args![(ready_at + limits.interval).0, person]).await?;
    Ok(TakenReel::Waits(Submitted::Queued { ready_at }, job))
}

async fn open_board(tx: &mut Conn<'_>, wish: &Wish<'_>, note: &str, now: Timestamp) -> Result<String> {
    let board = BoardId::new().to_string();
    let sql = r"
        INSERT INTO boards (id, state, person_id, chat, reply_to, placeholder, note, shown, posting_until, created_at)
        VALUES ($1, 'open', $2, $3, $4, $5, $6, '', 0, $7)";
    let (person, chat) = (wish.person.to_string(), wish.chat.to_string());
    tx.execute(sql, args![&board, person, chat, wish.reply_to, wish.placeholder, note, now.0]).await?;
    Ok(board)
}

/// Owes an answer about a reel: when its job has ended, or at once where there is none.
async fn subscribe(
    tx: &mut Conn<'_>,
    wish: &Wish<'_>,
    board: &str,
    code: &Shortcode,
    job: Option<&str>,
    now: Timestamp,
) -> Result<()> {
    let asker = Asker {
        id: SubscriptionId::new().to_string(),
        person_id: wish.person.to_string(),
        chat: wish.chat.to_string(),
        reply_to: wish.reply_to.map(str::to_owned),
    };
    let sql = r"
        INSERT INTO subscriptions (id, state, job_id, shortcode, board_id, person_id, chat, turn_id, reply_to,
            question, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    let args = args![
        &asker.id,
        if job.is_some() { "waiting" } else { "answering" },
        job,
        code.as_str(),
        board,
        &asker.person_id,
        &asker.chat,
        wish.turn.to_string(),
        wish.reply_to,
        storable(wish.question),
        now.0,
    ];
    tx.execute(sql, args).await?;
    if job.is_none() {
        insert_reel_turn(tx, &asker, now).await?;
    }
    Ok(())
}
