//! Common questions, through the whole bot: personal until three people have asked, judged once, then shared and marked;
//! never where the question means something that only this person knows.

use sandbox::Fault;
use sandbox::openai::Script;
use serde_json::Value;

use crate::bot::TestBot;
use crate::reels::link;

const ANA: i64 = 42;
const BEN: i64 = 43;
const CEM: i64 = 44;
const DAN: i64 = 45;
const QUESTION: &str = "How do I open a reel about bread?";
const MARK: &str = "I've answered this one before";
const ON: (&str, &str) = ("ANSWER_CACHE_HOURS", "24");

async fn say(bot: &TestBot, who: i64, name: &str, text: &str) -> String {
    bot.sandbox.telegram.say(who, who, name, text);
    bot.drain().await;
    bot.telegram(who).pop().unwrap()
}

/// Three people who are not met again ask it.
async fn make_common(bot: &TestBot, question: &str) {
    for who in [70, 71, 72] {
        say(bot, who, "Somebody", "/new").await;
        assert!(!say(bot, who, "Somebody", question).await.contains(MARK));
    }
}

/// What the model was sent, without what the judge was.
fn asked(bot: &TestBot) -> Vec<Value> {
    let asked = bot.sandbox.openai.control.asked().into_iter().filter(|asked| asked.path.contains("responses"));
    asked.map(|asked| asked.body).filter(|body| !is_judge(body)).collect()
}

fn judged(bot: &TestBot) -> Vec<Value> {
    let asked = bot.sandbox.openai.control.asked().into_iter().map(|asked| asked.body);
    asked.filter(is_judge).collect()
}

fn is_judge(body: &Value) -> bool {
    body["instructions"].as_str().is_some_and(|text| text.contains("Answer with one word"))
}

/// Whether the latest answer was made for this person: with the name, the platform and the time.
fn is_personal(bot: &TestBot, name: &str) -> bool {
    let sent = asked(bot).pop().unwrap()["input"].to_string();
    let personal = [name, "telegram", "UTC"].map(|word| sent.contains(word));
    assert!(personal.iter().all(|has| *has == personal[0]), "all of it or nothing: {sent}");
    personal[0]
}

async fn kept(bot: &TestBot) -> i64 {
    bot.db.number("SELECT COUNT(*) FROM answers", &[]).await
}

/// The newest message, and the command of its button.
fn button(bot: &TestBot, chat: i64) -> (i64, String) {
    let shown = bot.sandbox.telegram.screen(chat).pop().expect("a message");
    (shown.message_id, shown.buttons[0].1.clone())
}

on_both! {
    async fn a_question_is_shared_once_three_people_have_asked_it(db: TestDb) {
        let bot = TestBot::start(db, &[ON]).await;
        for (who, name) in [(ANA, "Ana Secret"), (BEN, "Ben Secret")] {
            assert!(!say(&bot, who, name, QUESTION).await.contains(MARK));
            assert!(is_personal(&bot, name));
        }
        // However often one person asks, they are one.
        for _ in 0..3 {
            say(&bot, ANA, "Ana Secret", "/new").await;
            say(&bot, ANA, "Ana Secret", QUESTION).await;
            assert!(is_personal(&bot, "Ana Secret"));
        }
        assert_eq!((judged(&bot).len(), kept(&bot).await), (0, 0));
        let hashes = bot.db.text("SELECT MIN(question || asker) FROM askers").await;
        assert!(hashes.len() == 128 && hashes.bytes().all(|b| b.is_ascii_hexdigit()), "{hashes}");
        // With the third one it is judged, without a word of who asks, and answered for everyone.
        let first = say(&bot, CEM, "Cem Secret", QUESTION).await;
        assert!(!first.contains(MARK) && !is_personal(&bot, "Cem Secret"));
        let judge = judged(&bot);
        assert_eq!((judge.len(), kept(&bot).await), (1, 1));
        assert_eq!(judge[0]["input"].as_array().map(Vec::len), Some(1));
        let told = judge[0].to_string();
        assert!(told.contains("{\\\"question\\\":\\\"how do i open a reel about bread\\\"}"), "{told}");
        assert!(!told.contains("Cem") && !told.contains("telegram"), "{told}");
        assert_eq!(bot.db.number("SELECT COUNT(*) FROM ledger WHERE tool = 'judge' AND outcome = 'ok'", &[]).await, 1);
        // From now on it costs nothing.
        let calls = bot.sandbox.openai.charged().len();
        let again = say(&bot, DAN, "Dan", "  how do i  open a reel about BREAD ").await;
        assert!(again.contains(MARK) && again.starts_with(&first[..20]), "{again}");
        assert_eq!(bot.sandbox.openai.charged().len(), calls);
        let recalled = "SELECT CAST(SUM(count) AS BIGINT) FROM usage_counts WHERE what = 'source' AND outcome = 'recalled'";
        assert_eq!(bot.db.number(recalled, &[]).await, 1);
        // It is part of the conversation, whose next question is Dan's own.
        assert!(!say(&bot, DAN, "Dan", "And how do I end it?").await.contains(MARK));
        let sent = asked(&bot).pop().unwrap().to_string();
        assert!(sent.contains("about BREAD") && sent.contains("\"assistant\"") && !sent.contains(MARK), "{sent}");
        assert!(is_personal(&bot, "Dan"));
        // The same words in the middle of a conversation mean something else.
        assert!(!say(&bot, DAN, "Dan", QUESTION).await.contains(MARK));
        assert!(is_personal(&bot, "Dan"));
        bot.end().await;
    }

    async fn what_is_not_the_same_for_everyone_is_judged_once_and_stays_personal(db: TestDb) {
        let bot = TestBot::start(db, &[ON]).await;
        let said = ["please try again", "hi", "What about the ending of that reel?", "I don't want to live any more"];
        for (n, text) in said.iter().enumerate() {
            for who in 0..6 {
                say(&bot, 100 + who, "Somebody", "/new").await;
                assert!(!say(&bot, 100 + who, "Somebody", text).await.contains(MARK), "{text}");
                assert!(is_personal(&bot, "Somebody"), "{text}");
            }
            assert_eq!((judged(&bot).len(), kept(&bot).await), (n + 1, 0), "{text}");
        }
        bot.end().await;
    }

    async fn nobody_gets_a_shared_answer_while_something_else_is_going_on(db: TestDb) {
        let bot = TestBot::start(db, &[ON]).await;
        make_common(&bot, QUESTION).await;
        // The last answer failed.
        for _ in 0..3 {
            let fault = Fault::Answer { status: 500, headers: vec![], body: "{}".into() };
            bot.sandbox.openai.control.fault("/responses", fault);
        }
        assert!(say(&bot, ANA, "Ana", "My sourdough?").await.contains("overloaded"));
        assert!(!say(&bot, ANA, "Ana", QUESTION).await.contains(MARK));
        assert!(is_personal(&bot, "Ana"));
        // A reel is on its way.
        bot.sandbox.apify.set_scrape(std::time::Duration::from_secs(80));
        bot.sandbox.telegram.say(BEN, BEN, "Ben", &link("DLlGZiCOBQ0"));
        bot.until("it is being watched", async || bot.scrapes() == 1).await;
        bot.sandbox.telegram.say(BEN, BEN, "Ben", QUESTION);
        bot.until("it is answered", async || {
            bot.sandbox.telegram.pending() == 0 && bot.store.open_turns().await.unwrap() == 0
        })
        .await;
        assert!(!bot.telegram(BEN).iter().any(|text| text.contains(MARK)) && is_personal(&bot, "Ben"));
        bot.sandbox.apify.set_scrape(std::time::Duration::ZERO);
        bot.sandbox.apify.finish_runs();
        bot.drain().await;
        // It answers another message.
        let message = bot.sandbox.telegram.say(CEM, CEM, "Cem", "/help");
        bot.drain().await;
        bot.sandbox.telegram.reply(CEM, CEM, "Cem", message, QUESTION);
        bot.drain().await;
        assert!(!bot.telegram(CEM).pop().unwrap().contains(MARK) && is_personal(&bot, "Cem"));
        // With a new conversation nothing is left of it.
        for (who, name) in [(ANA, "Ana"), (BEN, "Ben"), (CEM, "Cem")] {
            say(&bot, who, name, "/new").await;
            assert!(say(&bot, who, name, QUESTION).await.contains(MARK), "{name}");
        }
        bot.end().await;
    }

    async fn only_whole_answers_that_were_made_of_nothing_else_are_kept(db: TestDb) {
        let bot = TestBot::start(db, &[ON]).await;
        let yes = || Script::Text("Yes.".into());
        let refusal = || Script::RefusalAfter { text: "Sure, here is how:".into(), refusal: "I can't help with that.".into() };
        let cut = Script::Incomplete { text: "Begin with".into(), reason: "max_output_tokens".into() };
        let tool = Script::Calls(vec![("queue_status".to_owned(), "{}".to_owned())]);
        // What the third one is answered, and whether the fourth one's answer is still for everyone.
        for (question, scripts, is_shared) in [
            ("How do I film a refusal?", vec![refusal()], false),
            ("How do I film a cut?", vec![cut], true),
            ("How do I film a tool?", vec![tool, Script::Text("The queue is empty.".into())], false),
        ] {
            for who in [50, 51] {
                say(&bot, who, "Somebody", "/new").await;
                say(&bot, who, "Somebody", question).await;
            }
            bot.sandbox.openai.script(yes());
            scripts.into_iter().for_each(|script| bot.sandbox.openai.script(script));
            say(&bot, 52, "Somebody", "/new").await;
            let answer = say(&bot, 52, "Somebody", question).await;
            assert!(!question.contains("refusal") || answer == "Sure, here is how:\n\nI can't help with that.", "{answer}");
            assert_eq!(kept(&bot).await, 0, "{question}");
            assert!(!say(&bot, 53, "Somebody", "/new").await.contains(MARK));
            assert!(!say(&bot, 53, "Somebody", question).await.contains(MARK), "{question}");
            assert_eq!(is_personal(&bot, "Somebody"), !is_shared, "{question}");
            assert_eq!(kept(&bot).await, i64::from(is_shared), "{question}");
            bot.db.empty("answers").await;
        }
        // Whatever it is that the judge does not clearly say yes to.
        for who in [50, 51] {
            say(&bot, who, "Somebody", "/new").await;
            say(&bot, who, "Somebody", QUESTION).await;
        }
        bot.sandbox.openai.control.fault("/responses", Fault::Answer { status: 400, headers: vec![], body: "{}".into() });
        for (script, judgements) in [(None, 4), (Some(Script::Text("Yes, because".into())), 5), (None, 5)] {
            script.into_iter().for_each(|script| bot.sandbox.openai.script(script));
            say(&bot, 52, "Somebody", "/new").await;
            assert!(!say(&bot, 52, "Somebody", QUESTION).await.contains(MARK));
            assert!(is_personal(&bot, "Somebody"));
            assert_eq!((judged(&bot).len(), kept(&bot).await), (judgements, 0), "one that failed is asked again, once");
        }
        bot.end().await;
    }

    async fn what_the_old_rule_kept_is_not_given(db: TestDb) {
        let bot = TestBot::start(db, &[ON]).await;
        make_common(&bot, QUESTION).await;
        bot.db.execute("UPDATE answers SET key = 'old' || key").await;
        assert!(!say(&bot, ANA, "Ana", QUESTION).await.contains(MARK));
        bot.db.execute("UPDATE answers SET until = until - 86400000").await;
        assert!(!say(&bot, BEN, "Ben", QUESTION).await.contains(MARK), "too old");
        assert!(say(&bot, CEM, "Cem", QUESTION).await.contains(MARK), "a new one is kept");
        // A month later nobody is known to have asked.
        bot.db.execute("UPDATE askers SET asked_at = asked_at - 2592000000").await;
        assert!(!say(&bot, DAN, "Dan", QUESTION).await.contains(MARK));
        assert!(is_personal(&bot, "Dan"));
        bot.end().await;
    }

    async fn a_fresh_answer_is_the_persons_own(db: TestDb) {
        let bot = TestBot::start(db, &[ON, ("ADMIN_IDS", "telegram:42")]).await;
        make_common(&bot, QUESTION).await;
        say(&bot, BEN, "Ben", QUESTION).await;
        let (message, command) = button(&bot, BEN);
        assert!(command.starts_with("/again ") && command.len() <= 64, "{command}");
        // A pause holds for buttons too.
        say(&bot, ANA, "Ana", "/pause new keys").await;
        let calls = bot.sandbox.openai.charged().len();
        bot.sandbox.telegram.press(BEN, BEN, message, &command);
        bot.drain().await;
        assert_eq!(bot.sandbox.openai.charged().len(), calls, "{:?}", bot.telegram(BEN).pop());
        say(&bot, ANA, "Ana", "/resume").await;
        bot.sandbox.openai.script(Script::Text("Something quite new.".into()));
        bot.sandbox.telegram.press(BEN, BEN, message, &command);
        bot.drain().await;
        assert_eq!(bot.telegram(BEN).pop().unwrap(), "Something quite new.");
        assert!(is_personal(&bot, "Person 43"));
        let sent = asked(&bot).pop().unwrap()["input"].to_string();
        assert_eq!(sent.matches(QUESTION).count(), 2, "the model knows what it said before: {sent}");
        assert!(say(&bot, CEM, "Cem", QUESTION).await.contains(MARK));
        assert!(!bot.telegram(CEM).pop().unwrap().contains("quite new"), "others keep theirs");
        // A second press finds it answered; one of an earlier version, or of a conversation that is over, finds nothing.
        let (shown, calls) = (bot.telegram(BEN).len(), bot.sandbox.openai.charged().len());
        bot.sandbox.telegram.press(BEN, BEN, message, &command);
        bot.drain().await;
        assert_eq!((bot.telegram(BEN).len(), bot.sandbox.openai.charged().len()), (shown, calls));
        bot.sandbox.telegram.press(BEN, BEN, message, "/fresh 0123456789abcdef0123456789abcdef");
        bot.drain().await;
        assert!(bot.telegram(BEN).pop().unwrap().starts_with("I don't have that message anymore"));
        let (message, command) = button(&bot, CEM);
        say(&bot, CEM, "Cem", "/new").await;
        bot.sandbox.telegram.press(CEM, CEM, message, &command);
        bot.drain().await;
        assert!(bot.telegram(CEM).pop().unwrap().starts_with("I don't have that message anymore"));
        bot.end().await;
    }

    async fn what_is_known_is_answered_when_the_budget_is_used_up(db: TestDb) {
        let bot = TestBot::start(db, &[ON, ("BUDGET_MONTH_USD", "1")]).await;
        make_common(&bot, QUESTION).await;
        let paid = bot.sandbox.openai.charged().len();
        bot.db.execute("UPDATE spending SET micro_usd = 999999 WHERE scope = 'bot'").await;
        assert!(say(&bot, BEN, "Ben", QUESTION).await.contains(MARK));
        assert!(say(&bot, CEM, "Cem", "What else?").await.contains("My budget is used up"));
        let told = "SELECT alerted FROM spending WHERE scope = 'bot' AND LENGTH(period) = 7";
        assert_eq!(bot.db.number(told, &[]).await, 100, "what is left covers no call");
        assert_eq!(bot.sandbox.openai.charged().len(), paid);
        bot.end().await;
    }

    async fn what_the_cheaper_model_said_is_only_given_where_it_would_answer(db: TestDb) {
        let bot = TestBot::start(db, &[ON, ("BUDGET_MONTH_USD", "1")]).await;
        for who in [ANA, BEN] {
            say(&bot, who, "Somebody", QUESTION).await;
        }
        bot.db.execute("UPDATE spending SET micro_usd = 850000 WHERE scope = 'bot'").await;
        assert!(say(&bot, CEM, "Cem", QUESTION).await.contains("used 85% of my budget"));
        assert!(say(&bot, DAN, "Dan", QUESTION).await.contains(MARK));
        bot.db.execute("UPDATE spending SET micro_usd = 1000 WHERE scope = 'bot'").await;
        assert!(!say(&bot, 46, "Eva", QUESTION).await.contains(MARK), "the better one answers again");
        bot.end().await;
    }

    async fn what_the_cheaper_model_said_is_given_where_the_rest_covers_nothing_better(db: TestDb) {
        let limits = [ON, ("BUDGET_MONTH_USD", "0.05"), ("COACH_MAX_OUTPUT_TOKENS", "2000")];
        let bot = TestBot::start(db, &limits).await;
        for who in [ANA, BEN] {
            say(&bot, who, "Somebody", QUESTION).await;
        }
        bot.db.execute("UPDATE spending SET micro_usd = 35000 WHERE scope = 'bot'").await;
        assert!(say(&bot, CEM, "Cem", QUESTION).await.contains("so this one is simpler"));
        let paid = bot.sandbox.openai.charged().len();
        assert!(say(&bot, DAN, "Dan", QUESTION).await.contains(MARK), "the usual model does not fit this time either");
        assert_eq!(bot.sandbox.openai.charged().len(), paid, "it is not paid again");
        // At less than 80 % neither fits: a kept answer is better than none.
        bot.db.execute("INSERT INTO budgets (scope, span, micro_usd) VALUES ('person', 'day', 100)").await;
        assert!(say(&bot, 46, "Eva", QUESTION).await.contains(MARK));
        assert!(say(&bot, 47, "Fay", "What else?").await.starts_with("You don't have enough budget left for this answer"));
        assert_eq!(bot.sandbox.openai.charged().len(), paid);
        bot.end().await;
    }

    async fn it_can_be_turned_off(db: TestDb) {
        let bot = TestBot::start(db, &[("ANSWER_CACHE_HOURS", "0")]).await;
        for who in [ANA, BEN, CEM, DAN] {
            assert!(!say(&bot, who, "Somebody", QUESTION).await.contains(MARK));
            assert!(is_personal(&bot, "Somebody"));
        }
        assert_eq!((judged(&bot).len(), kept(&bot).await), (0, 0));
        assert_eq!(bot.db.number("SELECT COUNT(*) FROM askers", &[]).await, 0);
        bot.end().await;
    }
}
