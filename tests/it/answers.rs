//! Answers to common questions, through the whole bot: given again to others, marked, and anew on request.

use crate::bot::TestBot;

const ANA: i64 = 42;
const BEN: i64 = 43;
const QUESTION: &str = "How do I open a reel about bread?";
const MARK: &str = "Answered before, from memory.";

async fn say(bot: &TestBot, who: i64, name: &str, text: &str) -> String {
    bot.sandbox.telegram.say(who, who, name, text);
    bot.drain().await;
    bot.telegram(who).pop().unwrap()
}

fn calls(bot: &TestBot) -> usize {
    bot.sandbox.openai.charged().len()
}

/// The newest message, and the command of its button.
fn button(bot: &TestBot, chat: i64) -> (i64, String) {
    let shown = bot.sandbox.telegram.screen(chat).pop().expect("a message");
    (shown.message_id, shown.buttons[0].1.clone())
}

on_both! {
    async fn the_same_first_question_is_answered_from_memory(db: TestDb) {
        let bot = TestBot::start(db, &[("ANSWER_CACHE_HOURS", "24")]).await;
        let first = say(&bot, ANA, "Ana Secret", QUESTION).await;
        assert!(!first.contains(MARK));
        let sent = bot.sandbox.openai.control.asked()[0].body.to_string();
        assert!(!sent.contains("Ana Secret") && !sent.contains("telegram") && !sent.contains("UTC"), "{sent}");
        let again = say(&bot, BEN, "Ben", "  how do I open a reel about BREAD ").await;
        assert!(again.contains(MARK) && again.starts_with(&first[..20]), "{again}");
        assert_eq!((calls(&bot), bot.db.number("SELECT COUNT(*) FROM ledger", &[]).await), (1, 1), "it cost nothing");
        // It is part of the conversation, whose next question is Ben's own.
        let next = say(&bot, BEN, "Ben", "And how do I end it?").await;
        assert!(!next.contains(MARK));
        let sent = bot.sandbox.openai.control.asked().pop().unwrap().body.to_string();
        assert!(sent.contains("about BREAD") && sent.contains("\"assistant\"") && !sent.contains(MARK), "{sent}");
        assert!(sent.contains("Ben"), "now it is his own conversation");
        // The same words in the middle of a conversation mean something else.
        assert!(!say(&bot, BEN, "Ben", QUESTION).await.contains(MARK));
        assert_eq!(calls(&bot), 3);
        bot.end().await;
    }

    async fn a_fresh_answer_takes_the_place_of_the_kept_one(db: TestDb) {
        let bot = TestBot::start(db, &[("ANSWER_CACHE_HOURS", "24"), ("ADMIN_IDS", "telegram:42")]).await;
        say(&bot, ANA, "Ana", QUESTION).await;
        say(&bot, BEN, "Ben", QUESTION).await;
        let (message, command) = button(&bot, BEN);
        assert!(command.starts_with("/fresh ") && command.len() <= 64, "{command}");
        bot.sandbox.openai.script(reelcoach::sandbox::openai::Script::Text("Something quite new.".into()));
        bot.sandbox.telegram.press(BEN, BEN, message, &command);
        bot.drain().await;
        assert_eq!(bot.telegram(BEN).pop().unwrap(), "Something quite new.");
        let sent = bot.sandbox.openai.control.asked().pop().unwrap().body;
        assert_eq!(sent["input"].as_array().map(Vec::len), Some(2), "the question alone: {sent}");
        assert_eq!((calls(&bot), bot.db.number("SELECT COUNT(*) FROM answers", &[]).await), (2, 1));
        let third = say(&bot, 44, "Cem", QUESTION).await;
        assert!(third.starts_with("Something quite new.") && third.contains(MARK), "{third}");
        // A pause holds for buttons too.
        say(&bot, ANA, "Ana", "/pause new keys").await;
        bot.sandbox.telegram.press(BEN, BEN, message, &command);
        bot.drain().await;
        assert_eq!(calls(&bot), 2, "{:?}", bot.telegram(BEN).pop());
        say(&bot, ANA, "Ana", "/resume").await;
        // What is not kept any more cannot be asked anew.
        bot.db.empty("answers").await;
        bot.sandbox.telegram.press(BEN, BEN, message, &command);
        bot.drain().await;
        assert!(bot.telegram(BEN).pop().unwrap().starts_with("I do not remember that question"));
        bot.end().await;
    }

    async fn what_is_known_is_answered_when_the_budget_is_used_up(db: TestDb) {
        let bot = TestBot::start(db, &[("ANSWER_CACHE_HOURS", "24"), ("BUDGET_MONTH_USD", "1")]).await;
        say(&bot, ANA, "Ana", QUESTION).await;
        bot.db.execute("UPDATE spending SET micro_usd = 999999 WHERE scope = 'bot'").await;
        assert!(say(&bot, BEN, "Ben", QUESTION).await.contains(MARK));
        assert!(say(&bot, 44, "Cem", "What else?").await.contains("My budget is used up"));
        let told = "SELECT alerted FROM spending WHERE scope = 'bot' AND LENGTH(period) = 7";
        assert_eq!(bot.db.number(told, &[]).await, 100, "what is left covers no call");
        let kept = "SELECT CAST(SUM(count) AS BIGINT) FROM usage_counts WHERE what = 'source' AND outcome = 'recalled'";
        assert_eq!(bot.db.number(kept, &[]).await, 1);
        assert_eq!(calls(&bot), 1);
        bot.end().await;
    }

    async fn what_the_cheaper_model_said_is_only_given_where_it_would_answer(db: TestDb) {
        let bot = TestBot::start(db, &[("ANSWER_CACHE_HOURS", "24"), ("BUDGET_MONTH_USD", "1")]).await;
        say(&bot, 50, "Eva", "Hello there").await;
        bot.db.execute("UPDATE spending SET micro_usd = 850000 WHERE scope = 'bot'").await;
        assert!(say(&bot, ANA, "Ana", QUESTION).await.contains("85% of my budget"));
        assert!(say(&bot, BEN, "Ben", QUESTION).await.contains(MARK));
        bot.db.execute("UPDATE spending SET micro_usd = 1000 WHERE scope = 'bot'").await;
        assert!(!say(&bot, 44, "Cem", QUESTION).await.contains(MARK), "the better one answers again");
        bot.end().await;
    }

    async fn what_the_cheaper_model_said_is_given_where_the_rest_covers_nothing_better(db: TestDb) {
        let bot = TestBot::start(db, &[("ANSWER_CACHE_HOURS", "24"), ("BUDGET_MONTH_USD", "0.05"), ("COACH_MAX_OUTPUT_TOKENS", "2000")]).await;
        say(&bot, 50, "Eva", "Hello there").await;
        bot.db.execute("UPDATE spending SET micro_usd = 35000 WHERE scope = 'bot'").await;
        assert!(say(&bot, ANA, "Ana", QUESTION).await.contains("I answered more simply"));
        let paid = calls(&bot);
        assert!(say(&bot, BEN, "Ben", QUESTION).await.contains(MARK), "the usual model does not fit this time either");
        assert_eq!(calls(&bot), paid, "it is not paid again");
        // At less than 80 % neither fits: a kept answer is better than none.
        bot.db.execute("INSERT INTO budgets (scope, span, micro_usd) VALUES ('person', 'day', 100)").await;
        assert!(say(&bot, 44, "Cem", QUESTION).await.contains(MARK));
        assert!(say(&bot, 45, "Dan", "What else?").await.starts_with("What is left of your budget does not cover"));
        assert_eq!(calls(&bot), paid);
        bot.end().await;
    }

    async fn an_answer_is_kept_for_a_day_and_only_if_it_is_whole(db: TestDb) {
        let bot = TestBot::start(db, &[("ANSWER_CACHE_HOURS", "24")]).await;
        let cut = reelcoach::sandbox::openai::Script::Incomplete { text: "Begin with".into(), reason: "max_output_tokens".into() };
        bot.sandbox.openai.script(cut);
        say(&bot, ANA, "Ana", QUESTION).await;
        // One for which a tool was used tells of a person.
        say(&bot, 50, "Eva", "Where is my reel in the queue?").await;
        assert!(bot.sandbox.openai.control.asked().len() > 2, "a tool was used");
        // One with an address in it.
        say(&bot, 51, "Fay", "What of https://example.org/me do you like?").await;
        assert_eq!(bot.db.number("SELECT COUNT(*) FROM answers", &[]).await, 0);
        assert!(!say(&bot, BEN, "Ben", QUESTION).await.contains(MARK));
        assert_eq!(bot.db.number("SELECT COUNT(*) FROM answers", &[]).await, 1);
        bot.db.execute("UPDATE answers SET until = until - 86400000").await;
        assert!(!say(&bot, 44, "Cem", QUESTION).await.contains(MARK), "too old");
        assert!(say(&bot, 45, "Dan", QUESTION).await.contains(MARK), "a new one is kept");
        bot.end().await;
    }

    async fn it_can_be_turned_off(db: TestDb) {
        let bot = TestBot::start(db, &[("ANSWER_CACHE_HOURS", "0")]).await;
        say(&bot, ANA, "Ana", QUESTION).await;
        assert!(!say(&bot, BEN, "Ben", QUESTION).await.contains(MARK));
        assert_eq!((calls(&bot), bot.db.number("SELECT COUNT(*) FROM answers", &[]).await), (2, 0));
        bot.end().await;
    }
}
