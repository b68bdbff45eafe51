//! Answers that failed, through the whole bot: what people are told, what is remembered, and the same question once more,
//! by the button and in words.

use sandbox::apify::ApifySandbox;
use sandbox::openai::Script;
use sandbox::telegram::Shown;
use sandbox::{Fault, Sandbox};

use crate::bot::TestBot;
use crate::reels::link;
use crate::support::TestDb;

const ANA: i64 = 42;
const QUESTION: &str = "How do I open a reel about sourdough?";

/// A page in place of an answer: nothing is paid, and nothing is tried again.
fn page() -> Fault {
    let headers = vec![("content-type".into(), "text/html".into())];
    Fault::Answer { status: 200, headers, body: "<h1>Hello</h1>".into() }
}

fn refusal(status: u16, code: &str) -> Fault {
    let body = format!(r#"{{"error":{{"message":"m","type":"invalid_request_error","param":null,"code":"{code}"}}}}"#);
    Fault::Answer { status, headers: vec![], body }
}

fn fails_with(fault: Fault) -> impl Fn(&Sandbox) {
    move |sandbox| sandbox.openai.control.fault("/responses", fault.clone())
}

/// Its name, what fails, what is said, whether the button can help, and whether the question is remembered.
type Case = (&'static str, Box<dyn Fn(&Sandbox)>, &'static str, bool, bool);

impl TestBot {
    /// The newest message after a text of Ana's.
    async fn ana_says(&self, text: &str) -> Shown {
        self.sandbox.telegram.say(ANA, ANA, "Ana", text);
        self.newest().await
    }

    async fn newest(&self) -> Shown {
        self.drain().await;
        self.shown(ANA).pop().expect("a message")
    }

    /// Presses the only button under a message of Ana's.
    async fn ana_presses(&self, shown: &Shown) -> Shown {
        assert_eq!(shown.buttons.len(), 1, "{shown:?}");
        self.sandbox.telegram.press(ANA, ANA, shown.message_id, &shown.buttons[0].1);
        self.newest().await
    }

    /// What the model was sent last, as text.
    fn last_input(&self) -> String {
        let asked = self.sandbox.openai.control.asked();
        asked.last().expect("a request").body["input"].to_string()
    }

    /// How many lines of the memory contain these words.
    async fn times_remembered(&self, words: &str) -> i64 {
        let count = format!("SELECT COUNT(*) FROM messages WHERE content LIKE '%{words}%'");
        self.db.number(&count, &[]).await
    }

    fn requests(&self) -> usize {
        self.sandbox.openai.control.count("/responses")
    }
}

on_both! {
    async fn the_button_asks_again_and_nothing_is_there_twice(db: TestDb) {
        let bot = TestBot::start(db, &[]).await;
        bot.sandbox.openai.control.fault("/responses", page());
        let failed = bot.ana_says(QUESTION).await;
        assert!(failed.text.starts_with("The AI service sent back something I couldn't read."), "{}", failed.text);
        assert_eq!(failed.buttons[0].0, "Try again");
        // It fails once more: there is a new button, and no second question.
        bot.sandbox.openai.control.fault("/responses", page());
        let again = bot.ana_presses(&failed).await;
        assert!(again.message_id != failed.message_id && again.buttons[0].1 != failed.buttons[0].1, "{again:?}");
        // Twice at once is as good as once.
        bot.sandbox.telegram.press(ANA, ANA, again.message_id, &again.buttons[0].1);
        let answer = bot.ana_presses(&again).await;
        assert_eq!((bot.shown(ANA).len(), bot.requests()), (3, 3));
        assert!(answer.text.contains("sourdough") && answer.buttons.is_empty(), "{answer:?}");
        let sent = bot.last_input();
        assert!(sent.matches(QUESTION).count() == 1 && !sent.contains("No answer"), "{sent}");
        // Further presses do nothing.
        let (shown, calls) = (bot.shown(ANA).len(), bot.requests());
        for button in [&failed, &again] {
            bot.ana_presses(button).await;
        }
        assert_eq!((bot.shown(ANA).len(), bot.requests()), (shown, calls));
        bot.ana_says("And how do I end it?").await;
        let sent = bot.last_input();
        assert_eq!((sent.matches(QUESTION).count(), sent.matches("\"assistant\"").count()), (1, 1), "{sent}");
        bot.end().await;
    }

    async fn please_try_again_is_understood(db: TestDb) {
        let bot = TestBot::start(db, &[("ANSWER_CACHE_HOURS", "24")]).await;
        // Somebody else has said the same before, and three people make it common.
        for who in [50, 51, 52] {
            bot.sandbox.telegram.say(who, who, "Somebody", "please try again");
            bot.drain().await;
        }
        bot.sandbox.openai.control.fault("/responses", page());
        bot.ana_says(QUESTION).await;
        let answer = bot.ana_says("please try again").await;
        assert!(!answer.text.contains("before"), "{}", answer.text);
        let sent = bot.last_input();
        let (question, failed, words) = (sent.find(QUESTION), sent.find("(No answer"), sent.find("please try again"));
        assert!(question.is_some() && question < failed && failed < words && sent.contains(r#"here is \"Ana\""#), "{sent}");
        // The button is there all the same.
        let failed = bot.shown(ANA).into_iter().find(|shown| !shown.buttons.is_empty()).expect("a button");
        bot.ana_presses(&failed).await;
        assert_eq!(bot.last_input().matches(QUESTION).count(), 1);
        bot.end().await;
    }

    async fn a_reel_that_was_paid_for_is_not_forgotten(db: TestDb) {
        let bot = TestBot::start(db, &[]).await;
        bot.sandbox.openai.control.fault("/responses", page());
        let failed = bot.ana_says(&format!("{} is the hook good?", link("DLlGZiCOBQ0"))).await;
        assert!(failed.text.starts_with("Transcript") && failed.text.contains("couldn't read"), "{}", failed.text);
        // In words, whatever they are; this fails as well.
        bot.sandbox.openai.control.fault("/responses", page());
        bot.ana_says("try again, and the caption?").await;
        let sent = bot.last_input();
        assert!(sent.contains("<reel-") && sent.contains("is the hook good?"), "{sent}");
        // By the button, without the transcript that stands there already.
        let answer = bot.ana_presses(&failed).await;
        assert!(answer.text.contains("Hook") && !answer.text.starts_with("Transcript"), "{}", answer.text);
        let sent = bot.last_input();
        assert_eq!((sent.matches("<reel-").count(), sent.matches("is the hook good?").count()), (1, 1), "{sent}");
        assert_eq!(bot.scrapes(), 1, "it is not bought again");
        assert_eq!(bot.db.number("SELECT COUNT(*) FROM ledger WHERE provider = 'gemini'", &[]).await, 1);
        bot.end().await;
    }

    async fn a_reel_that_could_not_be_watched_is_watched_by_the_button(db: TestDb) {
        let bot = TestBot::start(db, &[]).await;
        for _ in 0..9 {
            bot.sandbox.apify.control.fault("/runs", ApifySandbox::refusal(500, "internal-server-error"));
        }
        bot.sandbox.telegram.say(ANA, ANA, "Ana", &format!("{} is the hook good?", link("DLlGZiCOBQ0")));
        bot.until("it is given up", async || {
            // Without the pauses before further tries.
            let again = "UPDATE jobs SET not_before = 1 WHERE state = 'queued' AND attempt > 0 AND not_before > 1";
            bot.db.execute(again).await;
            bot.sandbox.telegram.pending() == 0 && bot.store.is_idle().await.unwrap()
        })
        .await;
        let busy = bot.newest().await;
        assert!(busy.text.contains("are overloaded") && busy.buttons[0].0 == "Try again", "{busy:?}");
        // Until the failure is too old, it is the answer; the button under it works in its turn.
        let known = bot.ana_presses(&busy).await;
        assert!(known.text.contains("are overloaded") && known.buttons[0].1 != busy.buttons[0].1, "{known:?}");
        assert_eq!(bot.times_remembered("is the hook good?").await, 1);
        bot.db.empty("reels").await;
        bot.db.empty("breakers").await;
        // A line that takes nothing uses up the button that was pressed, and gives a new one.
        bot.db.execute("UPDATE line SET draining = TRUE").await;
        let mut pressed = known;
        for _ in 0..2 {
            let denied = bot.ana_presses(&pressed).await;
            assert!(denied.message_id != pressed.message_id && denied.buttons[0].0 == "Try again", "{denied:?}");
            assert_eq!(bot.times_remembered("is the hook good?").await, 1);
            pressed = denied;
        }
        bot.db.execute("UPDATE line SET draining = FALSE").await;
        let answer = bot.ana_presses(&pressed).await;
        assert!(answer.text.contains("Hook"), "{}", answer.text);
        let sent = bot.last_input();
        assert_eq!((sent.matches("<reel-").count(), sent.matches("is the hook good?").count()), (1, 1), "{sent}");
        assert!(!sent.contains("are overloaded"), "{sent}");
        assert_eq!(bot.times_remembered("is the hook good?").await, 1);
        bot.end().await;
    }

    async fn with_a_new_conversation_the_button_is_of_no_use(db: TestDb) {
        let bot = TestBot::start(db, &[]).await;
        bot.sandbox.openai.control.fault("/responses", page());
        let failed = bot.ana_says(QUESTION).await;
        bot.ana_says("/new").await;
        let calls = bot.requests();
        let gone = bot.ana_presses(&failed).await;
        assert_eq!((gone.text.as_str(), bot.requests()), ("I don't have that message anymore. Please send it again.", calls));
        bot.ana_says("hello").await;
        assert!(!bot.last_input().contains("sourdough"));
        bot.end().await;
    }

    async fn a_turn_that_is_given_up_keeps_its_question(db: TestDb) {
        let bot = TestBot::start(db, &[]).await;
        // Too many workers have died of it.
        bot.sandbox.openai.control.fault("/responses", Fault::Slow(std::time::Duration::from_secs(60)));
        bot.sandbox.telegram.say(ANA, ANA, "Ana", QUESTION);
        bot.until("it is asked", async || bot.requests() == 1).await;
        bot.db.execute("UPDATE turns SET attempt = 6, due_at = 0").await;
        let failed = bot.newest().await;
        assert!(failed.text.contains("Something went wrong on my side"), "{}", failed.text);
        let answer = bot.ana_presses(&failed).await;
        assert!(answer.text.contains("sourdough"), "{}", answer.text);
        assert_eq!(bot.last_input().matches(QUESTION).count(), 1);
        bot.end().await;
    }

    async fn what_is_said_of_a_failure_is_true(db: TestDb) {
        let bot = TestBot::start(db, &[]).await;
        let failed = |code: &str| Script::Failed { code: code.into(), message: "m".into() };
        let script = |script: Script| -> Box<dyn Fn(&Sandbox)> { Box::new(move |s| s.openai.script(script.clone())) };
        let fault = |fault: Fault| -> Box<dyn Fn(&Sandbox)> { Box::new(fails_with(fault)) };
        let filtered = |text: &str| Script::Incomplete { text: text.into(), reason: "content_filter".into() };
        let day = Fault::Answer { status: 429, headers: vec![("retry-after".into(), "86400".into())], body: "{}".into() };
        let long = "This conversation has grown too long for me. Start fresh with /new, or send a shorter message.";
        let owner = "The bot's owner needs to fix this.";
        let declined = "The AI service won't answer that one. Try putting it another way.";
        let cases: Vec<Case> = vec![
            ("context", fault(refusal(400, "context_length_exceeded")), long, false, true),
            ("context in the stream", script(failed("context_length_exceeded")), long, false, true),
            ("nested", script(Script::ErrorEvent { nested: true, code: "context_length_exceeded".into() }), long, false, true),
            ("a gone model", fault(refusal(404, "model_not_found")), owner, false, true),
            ("a gone model in the stream", script(failed("model_not_found")), owner, false, true),
            ("credit", fault(refusal(429, "credit_balance_exhausted")), owner, false, true),
            ("a declined question", fault(refusal(400, "invalid_prompt")), declined, false, false),
            ("a filtered answer", script(filtered("")), declined, false, true),
            ("a filter after text", script(filtered("So far")), "Try putting it another way.", false, true),
            ("no answer", fault(page()), "Please try again.", true, true),
            ("a day", fault(day), "I've used up today's allowance at the AI service. Please try again after", true, true),
        ];
        for (name, fail, said, has_button, is_kept) in cases {
            fail(&bot.sandbox);
            let word = format!("secret of {name}");
            let shown = bot.ana_says(&word).await;
            assert!(shown.text.contains(said), "{name}: {}", shown.text);
            assert!(!shown.text.contains("continue") && !shown.text.contains("a minute"), "{name}: {}", shown.text);
            assert_eq!(!shown.buttons.is_empty(), has_button, "{name}");
            let newest = "SELECT content FROM messages WHERE role <> 'reel' ORDER BY id DESC LIMIT 1";
            assert!(!bot.db.text(newest).await.is_empty(), "{name}");
            let kept = format!("SELECT COUNT(*) FROM messages WHERE content LIKE '%{word}%'");
            assert_eq!(bot.db.number(&kept, &[]).await, i64::from(is_kept), "{name}");
        }
        // That the service takes nothing for a day is known: nobody waits for it.
        let (calls, began) = (bot.requests(), std::time::Instant::now());
        let shown = bot.ana_says("and now?").await;
        assert!(shown.text.starts_with("I've used up today's allowance"), "{}", shown.text);
        assert!(bot.requests() == calls && began.elapsed() < std::time::Duration::from_secs(20));
        bot.end().await;
    }

    async fn who_is_over_budget_is_not_forgotten_either(db: TestDb) {
        let bot = TestBot::start(db, &[("BUDGET_MONTH_USD", "0.000001")]).await;
        let shown = bot.ana_says(QUESTION).await;
        assert!(shown.text.contains("budget") && shown.buttons.is_empty(), "{shown:?}");
        bot.db.execute("INSERT INTO budgets (scope, span, micro_usd) VALUES ('bot', 'month', 9000000)").await;
        bot.ana_says("please try again").await;
        assert!(bot.last_input().contains(QUESTION));
        bot.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn among_people_the_button_is_the_askers_own() {
    const ON_DISCORD: &str = "80351110224678912";
    let bot = TestBot::start(TestDb::sqlite().await, &[]).await;
    bot.until_on_discord().await;
    let channel = bot.sandbox.discord.guild_channel("coach");
    bot.sandbox.openai.control.fault("/responses", page());
    bot.sandbox.discord.slash(&channel, ON_DISCORD, "Ana", "coach", &[("text", QUESTION)]).unwrap();
    bot.until("she is told", async || bot.said_in(&channel).iter().any(|shown| !shown.buttons.is_empty())).await;
    bot.drain().await;
    let failed = bot.said_in(&channel).pop().expect("an apology");
    let (label, command) = failed.buttons[0].clone();
    assert_eq!(label, "Try again");
    bot.sandbox.discord.press(&channel, "99", "Ben", &failed.id, &command).unwrap();
    bot.until("he is told", async || bot.said_in(&channel).len() == 2).await;
    let told = bot.said_in(&channel).pop().expect("an answer");
    assert!(told.ephemeral && told.content.starts_with("That's someone else's question"), "{told:?}");
    assert_eq!(bot.requests(), 1, "nothing was asked for him");
    bot.sandbox.discord.press(&channel, ON_DISCORD, "Ana", &failed.id, &command).unwrap();
    bot.until("she is answered", async || bot.said_in(&channel).iter().any(|s| s.content.contains("sourdough"))).await;
    assert_eq!(bot.last_input().matches(QUESTION).count(), 1);
    bot.end().await;
}
