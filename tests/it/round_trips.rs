//! How often a message asks the database, from its arrival until nothing is owed for it any more.

use crate::bot::{TestBot, until};

const ANA: i64 = 42;

/// Statements, and beginnings and ends of transactions, for a message that is answered at once.
const MOST: u64 = 48;

/// What goes on besides, as looking for due work, only adds to what is counted: one message that nothing came in between of
/// tells what they all ask.
const MESSAGES: usize = 40;

on_both! {
    async fn a_plain_message_asks_no_more_than_this(db: TestDb) {
        let bot = TestBot::start(db, &[("MESSAGES_PER_MINUTE", "10000")]).await;
        let mut counts = Vec::new();
        while counts.len() < MESSAGES && counts.last().is_none_or(|least| *least > MOST) {
            let before = bot.store.round_trips();
            bot.sandbox.telegram.say(ANA, ANA, "Ana", &format!("How do I open video {}?", counts.len()));
            // Looked for on other connections, which are not counted.
            until("it is answered", async || {
                bot.sandbox.telegram.pending() == 0 && bot.db.is_idle().await.unwrap()
            })
            .await;
            counts.push(bot.store.round_trips() - before);
        }
        assert!(counts.last().is_some_and(|least| *least <= MOST), "{counts:?}");
        bot.end().await;
    }
}
