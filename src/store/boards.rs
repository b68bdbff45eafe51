//! Boards: the messages on screen that show the state of waiting reels.

use crate::clock::Timestamp;
use crate::ids::{BoardId, ChatId, JobId, MessageRef, PersonId, Shortcode};

use super::reels::SubscriptionState;
use super::{Result, Store, args, sql};

/// An open board with what it speaks of.
#[derive(Clone, Debug)]
pub struct Board {
    pub id: BoardId,
    pub person: PersonId,
    pub chat: ChatId,
    pub reply_to: Option<String>,
    pub placeholder: Option<String>,
    pub note: String,
    /// Its message id, once posted.
    pub message: Option<String>,
    /// A message was on its way when whoever sent it was last heard of: it may be on screen.
    pub perhaps_posted: bool,
    pub posted_at: Option<Timestamp>,
    /// The words on screen.
    pub shown: String,
    /// In the order asked.
    pub reels: Vec<BoardReel>,
}

#[derive(Clone, Debug)]
pub struct BoardReel {
    pub shortcode: Shortcode,
    pub state: SubscriptionState,
    pub job: Option<JobId>,
    /// Why its job failed, as JSON.
    pub failure: Option<String>,
}

/// What a reel turn finds of its board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TakenBoard {
    /// The board is closed; its message, if it has one, or its placeholder, is the turn's now.
    Taken { message: Option<String>, placeholder: Option<String> },
    /// Somebody is posting it, or its message is on screen under an id that is still to be found out: look again.
    BeingPosted,
}

impl Store {
    /// All open boards, oldest first.
    pub async fn open_boards(&self) -> Result<Vec<Board>> {
        boards(self.db.fetch_all(sql!(OPEN, "ORDER BY b.id, s.id"), args![]).await?)
    }

    /// A person's open boards, oldest first.
    pub async fn open_boards_of(&self, person: PersonId) -> Result<Vec<Board>> {
        let sql = sql!(OPEN, "AND b.person_id = $1 ORDER BY b.id, s.id");
        boards(self.db.fetch_all(sql, args![person.to_string()]).await?)
    }

    /// Takes the right to write to a board until `until`; `false` if somebody has it, or if the board does not
    /// show `shown` any more. Whoever has it writes, then calls [`Store::posted`].
    pub async fn begin_posting(&self, board: BoardId, shown: &str, now: Timestamp, until: Timestamp) -> Result<bool> {
        let sql = r"
            UPDATE boards
            SET posting_until = $1
            WHERE id = $2 AND state = 'open' AND posting_until <= $3 AND shown = $4";
        let changed = self.db.execute(sql, args![until.0, board.to_string(), now.0, shown]).await?;
        Ok(changed == 1)
    }

    /// Holds the right to write, which was held until `from`, until `to`; `false` if somebody else has it by now.
    pub async fn extend_posting(&self, board: BoardId, from: Timestamp, to: Timestamp) -> Result<bool> {
        let changed = self
            .db
            .execute(
                "UPDATE boards SET posting_until = $1 WHERE id = $2 AND posting_until = $3",
                args![to.0, board.to_string(), from.0],
            )
            .await?;
        Ok(changed == 1)
    }

    /// Gives the right to write back, which was held until `until`. The board stands on screen as a message with these
    /// words since `posted_at`; with `None` nothing has changed. `false` if somebody else has the right by now, or the
    /// board's chat has another id: a message means nothing there unless it names its chat.
    pub async fn posted(
        &self,
        board: BoardId,
        until: Timestamp,
        change: Option<(&MessageRef, &str, Timestamp)>,
    ) -> Result<bool> {
        let id = board.to_string();
        let changed = match change {
            Some((message, shown, posted_at)) => {
                let sql = r"
                    UPDATE boards
                    SET message = $1, shown = $2, posted_at = $3, posting_until = 0
                    WHERE id = $4 AND posting_until = $5 AND state = 'open' AND (chat = $6 OR $1 LIKE '%:%')";
                let args = args![&message.id, shown, posted_at.0, id, until.0, message.chat.to_string()];
                self.db.execute(sql, args).await?
            }
            None => {
                let sql = "UPDATE boards SET posting_until = 0 WHERE id = $1 AND posting_until = $2";
                self.db.execute(sql, args![id, until.0]).await?
            }
        };
        Ok(changed == 1)
    }

    /// Nothing is owed on this board any more.
    pub async fn close_board(&self, board: BoardId) -> Result<()> {
        self.db.execute("UPDATE boards SET state = 'closed' WHERE id = $1", args![board.to_string()]).await?;
        Ok(())
    }

    /// Nothing can be shown there any more, as whoever has the right to write until `until` was told.
    pub async fn close_posting(&self, board: BoardId, until: Timestamp) -> Result<()> {
        self.db
            .execute(
                "UPDATE boards SET state = 'closed' WHERE id = $1 AND posting_until = $2",
                args![board.to_string(), until.0],
            )
            .await?;
        Ok(())
    }

    /// A reel turn takes over its board's message. With `find`, one whose message may be on screen under an id that
    /// nobody knows is not taken: whoever keeps the boards finds it out, where the platform recognises a send that is
    /// repeated.
    pub async fn take_board(&self, board: BoardId, now: Timestamp, find: bool) -> Result<TakenBoard> {
        #[derive(sqlx::FromRow)]
        struct TakenRow {
            message: Option<String>,
            placeholder: Option<String>,
        }
        let sql = r"
            UPDATE boards
            SET state = 'closed'
            WHERE id = $1 AND posting_until <= $2
                AND (NOT $3 OR posting_until = 0 OR message IS NOT NULL OR state = 'closed')
            RETURNING message, placeholder";
        let args = args![board.to_string(), now.0, find];
        let row: Option<TakenRow> =
            self.db.write(async |connection| connection.fetch_optional(sql, args).await).await?;
        Ok(match row {
            Some(TakenRow { message, placeholder }) => TakenBoard::Taken { message, placeholder },
            None => TakenBoard::BeingPosted,
        })
    }
}

/// Open boards with their reels.
const OPEN: &str = r"
    SELECT b.id, b.person_id, b.chat, b.reply_to, b.placeholder, b.note, b.message, b.posted_at, b.shown,
        b.posting_until, s.shortcode, s.state, s.job_id, j.failure
    FROM boards b
    JOIN subscriptions s ON s.board_id = b.id
    LEFT JOIN jobs j ON j.id = s.job_id AND j.state = 'failed'
    WHERE b.state = 'open'";

#[derive(sqlx::FromRow)]
struct OpenBoardRow {
    id: String,
    person_id: String,
    chat: String,
    reply_to: Option<String>,
    placeholder: Option<String>,
    note: String,
    message: Option<String>,
    posted_at: Option<i64>,
    shown: String,
    posting_until: i64,
    shortcode: String,
    state: String,
    job_id: Option<String>,
    failure: Option<String>,
}

/// Gathers rows that are in the order of their boards.
fn boards(rows: Vec<OpenBoardRow>) -> Result<Vec<Board>> {
    let mut boards: Vec<Board> = Vec::new();
    for row in rows {
        let id: BoardId = row.id.parse()?;
        let reel = BoardReel {
            shortcode: row.shortcode.parse()?,
            state: SubscriptionState::parse(&row.state)?,
            job: row.job_id.map(|job| job.parse()).transpose()?,
            failure: row.failure,
        };
        match boards.last_mut() {
            Some(board) if board.id == id => board.reels.push(reel),
            _ => boards.push(Board {
                id,
                person: row.person_id.parse()?,
                chat: row.chat.parse()?,
                reply_to: row.reply_to,
                placeholder: row.placeholder,
                note: row.note,
                perhaps_posted: row.message.is_none() && row.posting_until > 0,
                message: row.message,
                posted_at: row.posted_at.map(Timestamp),
                shown: row.shown,
                reels: vec![reel],
            }),
        }
    }
    Ok(boards)
}
