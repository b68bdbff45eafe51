//! Databases full of rows that never were: so many people, jobs in the line, ended jobs, finished turns. Owns the SQL,
//! which both databases know.

use reelcoach::store::Store;

use crate::NOW;
use crate::database::{Database, Outcome};

/// People who are there from the start: no more than five reels wait for one of them.
const PEOPLE: u32 = 20_000;

const AT: i64 = NOW.0 - 1_000_000_000;

/// A store with its tables, and a connection beside it that fills them.
pub struct Place {
    pub store: std::sync::Arc<Store>,
    pub database: Database,
}

impl Place {
    pub async fn make(folder: &std::path::Path, server: Option<&str>, name: &str) -> Outcome<Place> {
        let mut database = Database::make(folder, server, name).await?;
        let store = Store::open(&database.url, 4).await?;
        store.migrate().await?;
        // Only for speed: what is inserted refers to what is there.
        let settings: &[&str] = match database.is_postgres() {
            true => &["SET session_replication_role = replica", "SET synchronous_commit = off"],
            false => &["PRAGMA foreign_keys = OFF", "PRAGMA synchronous = OFF", "PRAGMA cache_size = -200000"],
        };
        for setting in settings {
            database.run(*setting).await?;
        }
        let mut place = Place { store: std::sync::Arc::new(store), database };
        place.people().await?;
        Ok(place)
    }

    async fn people(&mut self) -> Outcome<()> {
        let (people, one) = (numbers(0, PEOPLE), id("a0000000", "i"));
        self.insert(&[
            format!("{people} INSERT INTO people (id, created_at) SELECT {one}, {AT} FROM n"),
            format!(
                "{people} INSERT INTO accounts (platform, account, person_id, name, created_at) \
                 SELECT 'telegram', CAST(i AS TEXT), {one}, 'Person', {AT} FROM n"
            ),
            format!(
                "{people} INSERT INTO chats (id, platform, last_message, last_at, spoken) \
                 SELECT 'telegram:' || CAST(i AS TEXT), 'telegram', 'x', {AT}, TRUE FROM n"
            ),
            format!(
                "{people} INSERT INTO conversations (id, person_id, chat, started_at, summary, summary_until) \
                 SELECT {}, {one}, 'telegram:' || CAST(i AS TEXT), {AT}, '', '' FROM n",
                id("d0000000", "i")
            ),
        ])
        .await
    }

    /// Jobs number `from` to `to` come into the line, each with its board and its asker, all ready.
    pub async fn wait(&mut self, from: u32, to: u32) -> Outcome<()> {
        let (line, person, job, board) = (numbers(from, to), person(), id("e0000000", "i"), id("f0000000", "i"));
        let code = code('D', "i");
        self.insert(&[
            format!(
                "{line} INSERT INTO jobs (id, shortcode, state, phase, asked_by, slot_at, ready_at, attempt, leased_until, cancel, created_at) \
                 SELECT {job}, {code}, 'queued', 'waiting', {person}, {AT} + i, {AT} + i, 0, 0, FALSE, {AT} FROM n"
            ),
            format!(
                "{line} INSERT INTO boards (id, state, person_id, chat, note, shown, posting_until, created_at) \
                 SELECT {board}, 'open', {person}, {}, '', '', 0, {AT} FROM n",
                chat()
            ),
            format!(
                "{line} INSERT INTO subscriptions (id, state, job_id, shortcode, board_id, person_id, chat, turn_id, question, created_at) \
                 SELECT {}, 'waiting', {job}, {code}, {board}, {person}, {}, {}, '', {AT} FROM n",
                id("c0000000", "i"),
                chat(),
                id("b0000000", "i")
            ),
            "UPDATE line SET waiting = (SELECT COUNT(*) FROM jobs WHERE state = 'queued')".to_owned(),
        ])
        .await
    }

    /// Jobs number `from` to `to` have ended, each with its reel, its answered asker and its closed board.
    pub async fn end(&mut self, from: u32, to: u32) -> Outcome<()> {
        let (past, person, job, board) = (numbers(from, to), person(), id("e1000000", "i"), id("f1000000", "i"));
        let code = code('F', "i");
        self.insert(&[
            format!(
                "{past} INSERT INTO jobs (id, shortcode, state, phase, asked_by, slot_at, ready_at, lane_kind, attempt, leased_until, \
                 run_id, cancel, created_at, started_at, finished_at) SELECT {job}, {code}, 'done', 'analysing', {person}, {AT} - i, \
                 {AT} - i, 'direct', 1, 0, 'abcdefghijklmnopq', FALSE, {AT} - i, {AT} - i, {AT} - i + 27000 FROM n"
            ),
            format!(
                "{past} INSERT INTO boards (id, state, person_id, chat, note, message, posted_at, shown, posting_until, created_at) \
                 SELECT {board}, 'closed', {person}, {}, '', '1', {AT}, 'Some words.', 0, {AT} FROM n",
                chat()
            ),
            format!(
                "{past} INSERT INTO subscriptions (id, state, job_id, shortcode, board_id, person_id, chat, turn_id, question, created_at) \
                 SELECT {}, 'answered', {job}, {code}, {board}, {person}, {}, {}, '', {AT} FROM n",
                id("c1000000", "i"),
                chat(),
                id("b1000000", "i")
            ),
            format!(
                "{past} INSERT INTO reels (shortcode, pipeline, state, content, at, until) SELECT {code}, 1, 'done', \
                 '{{\"summary\": \"A reel of usual length, cut short.\"}}', {AT} - i, {} + i FROM n",
                NOW.0
            ),
        ])
        .await
    }

    /// So many turns are closed; everyone has the same short memory: only the tables around it are large.
    pub async fn talk(&mut self, turns: u32) -> Outcome<()> {
        let (past, people, turn) = (numbers(0, turns), numbers(0, PEOPLE), id("b0000000", "i"));
        self.insert(&[
            format!(
                "{past} INSERT INTO turns (id, kind, state, person_id, chat, merge_until, inputs, aside, sealed, due_at, attempt, shown, \
                 outcome, created_at, closed_at) SELECT {turn}, 'talk', 'closed', {}, {}, {AT}, 1, FALSE, TRUE, {AT} + i, 1, '[]', \
                 'answered', {AT}, {AT} FROM n",
                person(),
                chat()
            ),
            format!(
                "{past} INSERT INTO inbox (chat, message, turn_id, payload, received_at) \
                 SELECT {}, 'old' || CAST(i AS TEXT), {turn}, '', {AT} FROM n",
                chat()
            ),
            format!(
                "{people} INSERT INTO messages (id, conversation_id, turn_id, role, content, at) \
                 SELECT {}, {}, {turn}, 'person', 'A sentence of usual length.', {AT} FROM n",
                id("c0000000", "i"),
                id("d0000000", "i")
            ),
        ])
        .await
    }

    async fn insert(&mut self, statements: &[String]) -> Outcome<()> {
        for statement in statements {
            self.database.run(statement.as_str()).await?;
        }
        let last = if self.database.is_postgres() { "VACUUM ANALYZE" } else { "PRAGMA wal_checkpoint(TRUNCATE)" };
        self.database.run(last).await?;
        Ok(())
    }

    pub async fn remove(self) -> Outcome<()> {
        self.store.close().await;
        self.database.remove().await
    }
}

fn numbers(from: u32, to: u32) -> String {
    format!("WITH RECURSIVE n(i) AS (SELECT {from} UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {to})")
}

fn id(what: &str, number: &str) -> String {
    format!("'{what}000070008000' || SUBSTR(CAST(1000000000000 + {number} AS TEXT), 2, 12)")
}

fn code(first: char, number: &str) -> String {
    format!("'{first}' || SUBSTR(CAST(100000000000 + {number} AS TEXT), 3)")
}

fn person() -> String {
    id("a0000000", &format!("i % {PEOPLE}"))
}

fn chat() -> String {
    format!("'telegram:' || CAST(i % {PEOPLE} AS TEXT)")
}
