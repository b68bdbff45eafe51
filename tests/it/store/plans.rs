//! What is looked for every few seconds, or every hour, in tables that grow for years: by an index, not by reading them.

use reelcoach::store::alerts::NEW_MARKS;
use reelcoach::store::ledger::LEFT_OVER;

use super::*;

const ROWS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) SELECT";

on_both! {
    async fn nothing_reads_a_whole_table_to_find_little(db: TestDb) {
        let mia = person(&db, "mia").await;
        db.execute(&format!(
            "INSERT INTO spending (scope, period, micro_usd, alerted, announced) {ROWS} 'person:' || i, '2026-01', 1, 50, 50 FROM n"
        ))
        .await;
        db.execute(&format!(
            "INSERT INTO ledger (key, at, person_id, platform, chat, provider, model, tool, input_tokens, cached_tokens, \
             cache_write_tokens, output_tokens, reasoning_tokens, micro_usd, price_version, estimated, latency_ms, outcome) \
             {ROWS} 'call ' || i, i, '{mia}', 'telegram', 'telegram:1', 'openai', 'gpt', 'coach', 1, 0, 0, 9, 0, 50, 'v', FALSE, 0, 'ok' FROM n"
        ))
        .await;
        for (statement, index) in [(NEW_MARKS, "spending_marks"), (LEFT_OVER, "ledger_set_aside")] {
            let plan = db.plan(statement).await;
            assert!(plan.contains(index), "{statement}\n{plan}");
        }
    }
}
