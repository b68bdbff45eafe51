//! What is not needed any more is deleted: rows that only say that something was done, and results too old to be used.
//! Never touches what is owed, a conversation that goes on, or the ledger.

use crate::clock::Timestamp;

use super::{Result, Store, args};

/// Rows deleted in one statement, so that nobody waits long for the lock.
const BATCH: i64 = 500;

/// In this order, because later ones are referred to by earlier ones. Each takes the time limit and the batch.
const OLD: [&str; 15] = [
    r"
        DELETE FROM inbox
        WHERE (chat, message) IN (
            SELECT i.chat, i.message
            FROM inbox i
            JOIN turns t ON t.id = i.turn_id
            WHERE t.state = 'closed' AND t.closed_at < $1
            LIMIT $2
        )",
    r"
        DELETE FROM turns
        WHERE id IN (
            SELECT t.id
            FROM turns t
            WHERE t.state = 'closed'
                AND t.closed_at < $1
                AND NOT EXISTS (SELECT 1 FROM inbox i WHERE i.turn_id = t.id)
            LIMIT $2
        )",
    r"
        DELETE FROM subscriptions
        WHERE id IN (
            SELECT id
            FROM subscriptions
            WHERE state IN ('answered', 'cancelled') AND created_at < $1
            LIMIT $2
        )",
    r"
        DELETE FROM boards
        WHERE id IN (
            SELECT b.id
            FROM boards b
            WHERE b.state = 'closed'
                AND b.created_at < $1
                AND NOT EXISTS (SELECT 1 FROM subscriptions s WHERE s.board_id = b.id)
            LIMIT $2
        )",
    r"
        DELETE FROM jobs
        WHERE id IN (
            SELECT j.id
            FROM jobs j
            WHERE j.state IN ('done', 'failed', 'cancelled')
                AND j.finished_at < $1
                AND NOT EXISTS (SELECT 1 FROM subscriptions s WHERE s.job_id = j.id)
            LIMIT $2
        )",
    "DELETE FROM reels WHERE shortcode IN (SELECT shortcode FROM reels WHERE until < $1 LIMIT $2)",
    "DELETE FROM answers WHERE key IN (SELECT key FROM answers WHERE until < $1 LIMIT $2)",
    r"
        DELETE FROM messages
        WHERE id IN (
            SELECT m.id
            FROM messages m
            JOIN conversations c ON c.id = m.conversation_id
            WHERE c.ended_at < $1
            LIMIT $2
        )",
    r"
        DELETE FROM conversations
        WHERE id IN (
            SELECT c.id
            FROM conversations c
            WHERE c.ended_at < $1
                AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.conversation_id = c.id)
            LIMIT $2
        )",
    "DELETE FROM invites WHERE code_hash IN (SELECT code_hash FROM invites WHERE until < $1 LIMIT $2)",
    "DELETE FROM notices WHERE (who, what) IN (SELECT who, what FROM notices WHERE since < $1 LIMIT $2)",
    "DELETE FROM retries WHERE turn_id IN (SELECT turn_id FROM retries WHERE at < $1 LIMIT $2)",
    "DELETE FROM failures WHERE reference IN (SELECT reference FROM failures WHERE at < $1 LIMIT $2)",
    r"
        DELETE FROM provider_calls
        WHERE (minute, name) IN (SELECT minute, name FROM provider_calls WHERE minute < $1 LIMIT $2)",
    r"
        DELETE FROM ended_sessions
        WHERE session IN (SELECT session FROM ended_sessions WHERE until < $1 LIMIT $2)",
];

impl Store {
    /// Deletes some of what ended before `limit`; returns how many rows. Called again until it is 0.
    pub async fn sweep(&self, limit: Timestamp) -> Result<u64> {
        let mut deleted = 0;
        for statement in OLD {
            deleted += self.db.execute(statement, args![limit.0, BATCH]).await?;
        }
        Ok(deleted)
    }
}
