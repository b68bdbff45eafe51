//! Boards: the messages on screen that show the state of waiting reels.

use crate::clock::Timestamp;
use crate::ids::{BoardId, ChatId, JobId, PersonId, Shortcode};

use super::reels::SubscriptionState;
use super::{Result, Store, read, write};

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
}

/// What a reel turn finds of its board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TakenBoard {
    /// The board is closed; its message, if it has one, or its placeholder, is the turn's now.
    Taken { message: Option<String>, placeholder: Option<String> },
    /// Somebody is posting it: look again.
    BeingPosted,
}

impl Store {
    /// All open boards, oldest first.
    pub async fn open_boards(&self) -> Result<Vec<Board>> {
        #[derive(sqlx::FromRow)]
        struct Row {
            id: String,
            person_id: String,
            chat: String,
            reply_to: Option<String>,
            placeholder: Option<String>,
            note: String,
            message: Option<String>,
            posted_at: Option<i64>,
            shown: String,
            shortcode: String,
            state: String,
            job_id: Option<String>,
        }
        let rows: Vec<Row> = read!(&self.db, pool => sqlx::query_as(
                "SELECT b.id, b.person_id, b.chat, b.reply_to, b.placeholder, b.note, b.message, b.posted_at, b.shown, \
                 s.shortcode, s.state, s.job_id \
                 FROM boards b JOIN subscriptions s ON s.board_id = b.id WHERE b.state = 'open' ORDER BY b.id, s.id")
            .fetch_all(pool)
            .await)?;
        let mut boards: Vec<Board> = Vec::new();
        for row in rows {
            let id: BoardId = row.id.parse()?;
            let reel = BoardReel {
                shortcode: row.shortcode.parse()?,
                state: SubscriptionState::parse(&row.state)?,
                job: row.job_id.map(|job| job.parse()).transpose()?,
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
                    message: row.message,
                    posted_at: row.posted_at.map(Timestamp),
                    shown: row.shown,
                    reels: vec![reel],
                }),
            }
        }
        Ok(boards)
    }

    /// Takes the right to post a board until `until`; `false` if somebody has it or it is posted.
    pub async fn begin_posting(&self, board: BoardId, now: Timestamp, until: Timestamp) -> Result<bool> {
        let changed = write!(&self.db, pool => sqlx::query(
                "UPDATE boards SET posting_until = $1 WHERE id = $2 AND state = 'open' AND posting_until <= $3")
            .bind(until.0)
            .bind(board.to_string())
            .bind(now.0)
            .execute(pool)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(changed == 1)
    }

    /// The board stands on screen as `message`; with `None` it could not be posted.
    pub async fn posted(&self, board: BoardId, message: Option<&str>, shown: &str, now: Timestamp) -> Result<()> {
        write!(&self.db, pool => match message {
            Some(message) => sqlx::query(
                    "UPDATE boards SET message = $1, shown = $2, posted_at = $3, posting_until = 0 WHERE id = $4")
                .bind(message)
                .bind(shown)
                .bind(now.0)
                .bind(board.to_string())
                .execute(pool)
                .await
                .map(|_| ()),
            None => sqlx::query("UPDATE boards SET posting_until = 0 WHERE id = $1")
                .bind(board.to_string())
                .execute(pool)
                .await
                .map(|_| ()),
        })?;
        Ok(())
    }

    /// Takes the right to change the words on screen; `false` if somebody else has changed them.
    pub async fn change_words(&self, board: BoardId, from: &str, to: &str) -> Result<bool> {
        let changed = write!(&self.db, pool => sqlx::query("UPDATE boards SET shown = $1 WHERE id = $2 AND shown = $3 AND state = 'open'")
            .bind(to)
            .bind(board.to_string())
            .bind(from)
            .execute(pool)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(changed == 1)
    }

    /// Nothing is owed on this board any more.
    pub async fn close_board(&self, board: BoardId) -> Result<()> {
        write!(&self.db, pool => sqlx::query("UPDATE boards SET state = 'closed' WHERE id = $1")
            .bind(board.to_string())
            .execute(pool)
            .await
            .map(|_| ()))?;
        Ok(())
    }

    /// A reel turn takes over its board's message.
    pub async fn take_board(&self, board: BoardId, now: Timestamp) -> Result<TakenBoard> {
        let row: Option<(Option<String>, Option<String>)> = write!(&self.db, pool => sqlx::query_as(
                "UPDATE boards SET state = 'closed' WHERE id = $1 AND posting_until <= $2 RETURNING message, placeholder")
            .bind(board.to_string())
            .bind(now.0)
            .fetch_optional(pool)
            .await)?;
        Ok(match row {
            Some((message, placeholder)) => TakenBoard::Taken { message, placeholder },
            None => TakenBoard::BeingPosted,
        })
    }
}
