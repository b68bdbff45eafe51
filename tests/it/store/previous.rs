//! The release before this one on the tables of this one: in a rolling update both work on them, and whoever goes back
//! starts on them.

/// What the release whose newest migration was 20 writes and reads for one question, one reel and their cost, in its words.
const STATEMENTS: &[&str] = &[
    "INSERT INTO people (id, created_at) VALUES ('p', 1)",
    "INSERT INTO accounts (platform, account, person_id, name, created_at) VALUES ('telegram', '1', 'p', 'Ana', 1)",
    "INSERT INTO turns (id, kind, state, person_id, chat, reply_to, placeholder, merge_until, inputs, aside, sealed, due_at, \
     attempt, shown, created_at) VALUES ('t', 'talk', 'open', 'p', 'telegram:1', '5', NULL, 1, 1, FALSE, FALSE, 1, 0, '[]', 1)",
    "UPDATE turns SET inputs = inputs + 1, merge_until = 2 WHERE id = 't' AND state = 'open' AND kind = 'talk' AND NOT sealed \
     AND merge_until > 0 AND created_at > 0",
    "INSERT INTO inbox (chat, message, turn_id, payload, received_at) VALUES ('telegram:1', '5', 't', '{}', 1)",
    "INSERT INTO chats (id, platform, last_message, last_at, spoken, guild) VALUES ('telegram:1', 'telegram', '5', 1, FALSE, NULL) \
     ON CONFLICT (id) DO UPDATE SET last_message = COALESCE(excluded.last_message, chats.last_message), \
     last_at = excluded.last_at, guild = COALESCE(excluded.guild, chats.guild)",
    "INSERT INTO instances (id, name, started_at, seen_at, measured) VALUES ('i', 'host', 1, 1, '{}') \
     ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, measured = excluded.measured",
    "INSERT INTO leases (name, holder, until) VALUES ('telegram polling', 'i', 9) ON CONFLICT (name) DO UPDATE \
     SET holder = excluded.holder, until = excluded.until WHERE leases.holder = 'i' OR leases.until <= 1",
    "UPDATE turns SET leased_by = 'i', due_at = 20, attempt = attempt + 1 WHERE id IN (SELECT id FROM turns \
     WHERE state <> 'closed' AND due_at <= 5 AND (kind = 'talk' OR state = 'answered' OR NOT EXISTS (SELECT 1 FROM pause)) \
     ORDER BY due_at, id LIMIT 4) AND due_at <= 5",
    "INSERT INTO conversations (id, person_id, chat, started_at, summary, summary_until) \
     VALUES ('c', 'p', 'telegram:1', 1, '', '') ON CONFLICT DO NOTHING",
    "INSERT INTO ledger (key, at, person_id, platform, chat, provider, model, tool, input_tokens, cached_tokens, \
     cache_write_tokens, output_tokens, reasoning_tokens, micro_usd, price_version, estimated, latency_ms, outcome, \
     reserved_until, guild) VALUES ('k', 1, 'p', 'telegram', 'telegram:1', 'openai', 'gpt', 'coach', 1, 0, 0, 9, 0, 50, 'v', TRUE, \
     0, 'started', 99, NULL) ON CONFLICT (key) DO UPDATE SET model = excluded.model",
    "INSERT INTO spending (scope, period, micro_usd, alerted) VALUES ('bot', '2026-01', 50, 0), ('person:p', '2026-01', 50, 0) \
     ON CONFLICT (scope, period) DO UPDATE SET micro_usd = spending.micro_usd + excluded.micro_usd",
    "UPDATE turns SET sealed = (sealed OR inputs = 2) WHERE id = 't' AND leased_by = 'i' AND attempt = 1",
    "UPDATE ledger SET micro_usd = 7, estimated = FALSE, outcome = 'ok', reserved_until = NULL WHERE key = 'k' \
     AND outcome IN ('started', 'lost')",
    "UPDATE turns SET state = 'answered', sealed = TRUE, answer = '{}' WHERE id = 't' AND leased_by = 'i' AND attempt = 1 \
     AND state = 'open'",
    "INSERT INTO messages (id, conversation_id, turn_id, role, content, at) VALUES ('m', 'c', 't', 'coach', 'yes', 1)",
    "UPDATE turns SET state = 'closed', outcome = 'answered', closed_at = 9, answer = NULL, leased_by = NULL, shown = '[\"6\"]' \
     WHERE id = 't' AND leased_by = 'i' AND attempt = 1 AND state <> 'closed'",
    "UPDATE inbox SET payload = '' WHERE turn_id = 't'",
    "INSERT INTO jobs (id, shortcode, state, phase, asked_by, slot_at, ready_at, attempt, leased_until, cancel, created_at) \
     VALUES ('j', 'REEL1', 'queued', 'waiting', 'p', 1, 1, 0, 0, FALSE, 1)",
    "INSERT INTO boards (id, state, person_id, chat, reply_to, placeholder, note, shown, posting_until, created_at) \
     VALUES ('b', 'open', 'p', 'telegram:1', '5', NULL, '', '', 0, 1)",
    "INSERT INTO subscriptions (id, state, job_id, shortcode, board_id, person_id, chat, turn_id, reply_to, question, created_at) \
     VALUES ('s', 'waiting', 'j', 'REEL1', 'b', 'p', 'telegram:1', 't', '5', '', 1)",
    "UPDATE jobs SET state = 'running', phase = 'scraping', lane = 'direct:0', lane_kind = 'direct', attempt = attempt + 1, \
     leased_by = 'i', leased_until = 15, started_at = COALESCE(started_at, 1) WHERE id = 'j'",
    "INSERT INTO lanes (name, paused, used_at) VALUES ('direct:0', FALSE, 1) ON CONFLICT (name) DO UPDATE SET used_at = excluded.used_at",
    "UPDATE jobs SET run_id = 'r' WHERE id = 'j' AND leased_by = 'i' AND attempt = 1 AND state = 'running'",
    "UPDATE boards SET message = '7', shown = 'x', posted_at = 2, posting_until = 0 WHERE id = 'b' AND posting_until = 0 AND state = 'open'",
    "UPDATE jobs SET state = 'done', failure = NULL, finished_at = 9, leased_by = NULL, leased_until = 0, lane = NULL \
     WHERE id = 'j' AND leased_by = 'i' AND attempt = 1 AND state = 'running'",
    "INSERT INTO reels (shortcode, pipeline, state, content, at, until) VALUES ('REEL1', 1, 'done', '{}', 9, 99) \
     ON CONFLICT (shortcode) DO UPDATE SET pipeline = excluded.pipeline, state = excluded.state, content = excluded.content, \
     at = excluded.at, until = excluded.until WHERE excluded.state = 'done' OR reels.until <= excluded.at",
    "INSERT INTO turns (id, kind, state, person_id, chat, subscription_id, reply_to, merge_until, inputs, aside, sealed, due_at, \
     attempt, shown, created_at) VALUES ('u', 'reel', 'open', 'p', 'telegram:1', 's', '5', 9, 0, FALSE, FALSE, 9, 0, '[]', 9)",
    "UPDATE subscriptions SET state = 'answering' WHERE job_id = 'j' AND state = 'waiting'",
    "INSERT INTO failures (reference, at, part, subject, cause, detail) VALUES ('K7QX2M', 9, 'reel', 'REEL1', 'x', 'y') \
     ON CONFLICT (reference) DO NOTHING",
    "INSERT INTO notices (who, what, since, times) VALUES ('p', 'x', 1, 1) ON CONFLICT (who, what) DO UPDATE SET times = 2",
    "INSERT INTO tallies (name, day, value) VALUES ('openai_tokens', '2026-01-01', 9) \
     ON CONFLICT (name, day) DO UPDATE SET value = tallies.value + excluded.value",
    "INSERT INTO budgets (scope, span, micro_usd) VALUES ('bot', 'day', 5) ON CONFLICT (scope, span) DO UPDATE SET micro_usd = excluded.micro_usd",
];

/// Each is 1 afterwards.
const READ: &[&str] = &[
    "SELECT COUNT(*) FROM turns WHERE id = 't' AND state = 'closed' AND outcome = 'answered' AND inputs = 2 AND attempt = 1",
    "SELECT COUNT(*) FROM ledger WHERE key = 'k' AND micro_usd = 7 AND outcome = 'ok' AND reserved_until IS NULL",
    "SELECT COUNT(*) FROM jobs WHERE id = 'j' AND state = 'done' AND run_id = 'r' AND not_before = 0 AND failed_on IS NULL",
    "SELECT COUNT(*) FROM boards WHERE id = 'b' AND message = '7'",
    "SELECT COUNT(*) FROM subscriptions WHERE state = 'answering'",
    "SELECT COUNT(*) FROM messages m JOIN conversations c ON c.id = m.conversation_id AND m.id > c.summary_until",
    "SELECT COUNT(*) FROM spending WHERE alerted > announced OR scope = 'bot'",
];

on_both! {
    async fn the_release_before_works_on_these_tables(db: TestDb) {
        for statement in STATEMENTS {
            db.execute(statement).await;
        }
        for count in READ {
            assert_eq!(db.number(count, &[]).await, 1, "{count}");
        }
    }
}

/// A migration that takes something away, or asks for more than the release before gives, says from when on programs can
/// work on the tables.
#[test]
fn a_migration_only_adds_or_says_who_can_still_read() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
    let mut faults = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        let number: i64 = name.split('_').next().unwrap().parse().unwrap();
        if number <= 20 {
            continue;
        }
        let text = std::fs::read_to_string(file.path()).unwrap();
        let sql: Vec<&str> = text.lines().map(|line| line.split("--").next().unwrap()).collect();
        let sql = sql.join(" ").to_uppercase();
        // A table that it makes for itself may go.
        let is_own = |table: &str| sql.contains(&format!("CREATE TEMPORARY TABLE {}", table.trim()));
        let takes_away = |statement: &str| {
            ["DROP COLUMN", "RENAME", "ALTER COLUMN"].iter().any(|word| statement.contains(word))
                || statement.split_once("DROP TABLE").is_some_and(|(_, table)| !is_own(table))
                || statement.contains("ADD COLUMN") && statement.contains("NOT NULL") && !statement.contains("DEFAULT")
        };
        if sql.split(';').any(takes_away) && !sql.contains("READABLE_FROM") {
            faults.push(name);
        }
    }
    assert!(
        faults.is_empty(),
        "these break the release before, and do not set compatibility.readable_from: {faults:?}"
    );
}
