//! Conversations, end to end: Telegram and Discord in, model and tools, messages out.

use sandbox::Fault;
use sandbox::openai::Script;
use serde_json::json;

use crate::bot::{TestBot, until};
use crate::support::TestDb;

const ANA: i64 = 42;

on_both! {
    async fn a_greeting_is_answered_once(db: TestDb) {
        let bot = TestBot::start(db, &[]).await;
        bot.sandbox.telegram.say(ANA, ANA, "Ana", "hi");
        bot.drain().await;
        let screen = bot.telegram(ANA);
        assert_eq!(screen.len(), 1, "{screen:?}");
        assert!(!screen[0].contains('▌') && screen[0].len() > 10, "{screen:?}");
        assert_eq!(bot.sandbox.openai.charged().len(), 1);
        bot.end().await;
    }

    async fn the_row_of_an_answer_names_all_messages_that_show_it(db: TestDb) {
        let bot = TestBot::start(db, &[]).await;
        // In one piece, streamed, and in several pieces.
        bot.sandbox.openai.script(Script::Text("A whole answer.".into()));
        bot.sandbox.openai.script(Script::Text("A long answer, word by word. ".repeat(300)));
        for text in ["/help", "hi", "and at length?"] {
            let before = bot.sandbox.telegram.screen(ANA).len();
            bot.sandbox.telegram.say(ANA, ANA, "Ana", text);
            bot.drain().await;
            let screen = bot.sandbox.telegram.screen(ANA).split_off(before);
            let ids = screen.iter().filter(|shown| shown.from_bot).map(|shown| shown.message_id.to_string());
            let kept = bot.db.text("SELECT shown FROM turns ORDER BY id DESC LIMIT 1").await;
            assert_eq!(serde_json::from_str::<Vec<String>>(&kept).unwrap(), ids.collect::<Vec<_>>(), "{text}");
        }
        assert!(bot.db.text("SELECT shown FROM turns ORDER BY id DESC LIMIT 1").await.contains(','));
        bot.end().await;
    }

    async fn what_stands_there_in_the_end_is_what_the_model_said_in_the_end(db: TestDb) {
        let bot = TestBot::start(db, &[]).await;
        for (streamed, whole) in [("Strat with the crust", "Start with the crust."), ("Cut it", "Cut it early.\n\nThen wait.")] {
            bot.sandbox.openai.script(Script::Retold { streamed: streamed.into(), whole: whole.into() });
            bot.sandbox.telegram.say(ANA, ANA, "Ana", "How do I open?");
            bot.drain().await;
            assert_eq!(bot.telegram(ANA).pop().unwrap(), whole);
        }
        bot.sandbox.telegram.say(ANA, ANA, "Ana", "Why?");
        bot.drain().await;
        let last = bot.sandbox.openai.control.asked().pop().unwrap().body["input"].to_string();
        assert!(last.contains("Start with the crust.") && !last.contains("Strat"), "it is remembered: {last}");
        bot.end().await;
    }

    async fn an_answer_that_the_content_rules_cut_does_not_invite_to_go_on(db: TestDb) {
        let bot = TestBot::start(db, &[]).await;
        bot.sandbox.openai.script(Script::Incomplete { text: "First you".into(), reason: "content_filter".into() });
        bot.sandbox.telegram.say(ANA, ANA, "Ana", "How do I open?");
        bot.drain().await;
        let told = bot.telegram(ANA).pop().unwrap();
        assert!(told.starts_with("First you\n\n") && told.contains("Try putting it another way"), "{told}");
        assert!(!told.contains("go on") && !told.contains("continue"), "{told}");
        bot.end().await;
    }

    async fn memory_is_per_person_and_place_and_survives_a_restart(db: TestDb) {
        let mut bot = TestBot::start(db, &[]).await;
        bot.sandbox.openai.script(Script::Text("Noted: you bake.".into()));
        bot.sandbox.telegram.say(ANA, ANA, "Ana", "I bake bread on camera");
        bot.drain().await;
        bot.stop().await;
        bot.leaves_work = true;
        let (sandbox, db) = (bot.sandbox.clone(), bot.db.clone());
        drop(bot);

        let bot = TestBot::start_on(sandbox, db, &[]).await;
        bot.sandbox.telegram.say(ANA, ANA, "Ana", "what do I do?");
        bot.sandbox.telegram.say(77, 77, "Ben", "what do I do?");
        bot.drain().await;
        let asked = bot.sandbox.openai.control.asked();
        let inputs: Vec<String> = asked.iter().filter(|a| a.path.contains("responses")).map(|a| a.body["input"].to_string()).collect();
        let knowing = inputs.iter().filter(|input| input.contains("I bake bread") && input.contains("Noted: you bake.")).count();
        assert_eq!((inputs.len(), knowing), (3, 1), "Ana's second question knows of the first; Ben's does not");

        bot.sandbox.telegram.say(ANA, ANA, "Ana", "/new");
        bot.drain().await;
        bot.sandbox.telegram.say(ANA, ANA, "Ana", "and now?");
        bot.drain().await;
        let last = bot.sandbox.openai.control.asked().pop().unwrap().body["input"].to_string();
        assert!(last.contains("and now?") && !last.contains("bread"), "{last}");
        bot.end().await;
    }

    async fn messages_that_arrive_together_are_one_turn(db: TestDb) {
        let bot = TestBot::start(db, &[("MERGE_WINDOW_MS", "1500")]).await;
        bot.sandbox.telegram.say(ANA, ANA, "Ana", "first half,");
        bot.sandbox.telegram.say(ANA, ANA, "Ana", "second half");
        bot.drain().await;
        assert_eq!(bot.telegram(ANA).len(), 1);
        let last = bot.sandbox.openai.control.asked().pop().unwrap().body["input"].to_string();
        assert!(last.contains("first half,\\nsecond half"), "{last}");
        bot.end().await;
    }

    async fn the_coach_is_told_of_a_file_beside_the_words(db: TestDb) {
        let bot = TestBot::start(db, &[]).await;
        bot.until_on_discord().await;
        let asked = || bot.sandbox.openai.control.asked().pop().expect("a request").body["input"].to_string();
        bot.sandbox.telegram.push(json!({"message": {"message_id": 900, "date": 1_790_000_000, "chat": {"id": ANA, "type": "private"},
            "from": {"id": ANA, "is_bot": false, "first_name": "Ana"}, "caption": "please shorten my script",
            "document": {"file_id": "BQAC", "file_unique_id": "AgAD", "file_name": "script.txt", "file_size": 9000}}}));
        bot.drain().await;
        assert!(asked().contains("please shorten my script") && asked().contains("can't open the attachment"), "{}", asked());
        let channel = bot.sandbox.discord.dm("80000000000000001");
        let file = |id: &str| {
            json!({"id": id, "filename": "message.txt", "size": 9000, "url": "https://cdn.example/a", "proxy_url": "https://cdn.example/b"})
        };
        let fields = json!({"attachments": [file("41"), file("42")]});
        bot.sandbox.discord.say_with(&channel, "80000000000000001", "Ana", "please shorten these", fields);
        bot.until("the model is asked", async || asked().contains("shorten these")).await;
        bot.drain().await;
        assert!(asked().contains("can't open the 2 attachments"), "{}", asked());
        bot.end().await;
    }

    async fn a_link_and_its_comment_are_one_turn(db: TestDb) {
        let bot = TestBot::start(db, &[("MERGE_WINDOW_MS", "1500")]).await;
        bot.sandbox.telegram.say(ANA, ANA, "Ana", "https://www.instagram.com/reel/DLlGZiCOBQ0/");
        bot.until("it is stored", async || bot.db.number("SELECT COUNT(*) FROM inbox", &[]).await == 1).await;
        bot.sandbox.telegram.say(ANA, ANA, "Ana", "is the hook any good?");
        bot.drain().await;
        assert_eq!(bot.telegram(ANA).len(), 1, "one message: the board that becomes the answer");
        let last = bot.sandbox.openai.control.asked().pop().unwrap().body["input"].to_string();
        assert!(last.contains("is the hook any good?") && last.contains("<reel-"), "{last}");
        bot.end().await;
    }

    async fn a_reel_that_was_pasted_before_can_be_asked_for_by_the_model(db: TestDb) {
        let bot = TestBot::start(db, &[]).await;
        let call = |url: &str| Script::Calls(vec![("transcribe_reel".to_owned(), format!("{{\"url\":\"{url}\"}}"))]);
        let link = "https://www.instagram.com/reel/DLlGZiCOBQ0/";
        bot.sandbox.openai.script(call(link));
        bot.sandbox.openai.script(Script::Text("Paste it.".into()));
        bot.sandbox.telegram.say(ANA, ANA, "Ana", "read that reel");
        bot.drain().await;
        let told = bot.sandbox.openai.control.asked().pop().unwrap().body["input"].to_string();
        assert!(told.contains("has not given this link"), "{told}");

        bot.sandbox.telegram.say(ANA, ANA, "Ana", link);
        bot.drain().await;
        bot.sandbox.openai.script(call(link));
        bot.sandbox.openai.script(Script::Text("Here it is.".into()));
        bot.sandbox.telegram.say(ANA, ANA, "Ana", "read that reel again");
        bot.drain().await;
        let told = bot.sandbox.openai.control.asked().pop().unwrap().body["input"].to_string();
        // Once in the memory of the first coaching, once as the tool's output.
        assert_eq!(told.matches("<reel-").count(), 2, "{told}");
        assert_eq!(bot.sandbox.apify.runs().len(), 1, "what is known is not bought again");
        bot.end().await;
    }

    async fn tools_are_called_at_once_and_their_outputs_answered(db: TestDb) {
        let bot = TestBot::start(db, &[]).await;
        let calls = vec![("queue_status".to_owned(), "{}".to_owned()), ("list_my_reels".to_owned(), "{}".to_owned())];
        bot.sandbox.openai.script(Script::Calls(calls));
        bot.sandbox.openai.script(Script::Text("You are free to send one.".into()));
        bot.sandbox.telegram.say(ANA, ANA, "Ana", "what is up?");
        bot.drain().await;
        assert_eq!(bot.telegram(ANA), ["You are free to send one."]);
        let second = bot.sandbox.openai.control.asked().pop().unwrap().body["input"].to_string();
        assert!(second.contains("The queue is empty") && second.contains("\\\"reels\\\":[]"), "{second}");
        bot.end().await;
    }

    async fn trouble_upstream_ends_in_a_sentence(db: TestDb) {
        let bot = TestBot::start(db, &[]).await;
        let quota = r#"{"error":{"message":"…","type":"insufficient_quota","param":null,"code":"credit_balance_exhausted"}}"#;
        bot.sandbox.openai.control.fault("/responses", Fault::Answer { status: 429, headers: vec![], body: quota.into() });
        bot.sandbox.telegram.say(ANA, ANA, "Ana", "hello?");
        bot.drain().await;
        let screen = bot.telegram(ANA);
        assert!(screen.len() == 1 && screen[0].contains("credit") && screen[0].contains("reference"), "{screen:?}");

        bot.sandbox.openai.script(Script::CutAfter("The first thing to".into()));
        bot.sandbox.telegram.say(ANA, ANA, "Ana", "go on");
        bot.drain().await;
        let screen = bot.telegram(ANA);
        assert!(screen[1].starts_with("The first thing to") && screen[1].contains("broke off"), "{screen:?}");
        assert_eq!(bot.sandbox.openai.control.count("/responses"), 2, "what was shown is not begun again");
        bot.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_history_is_summarised() {
    let bot = TestBot::start(TestDb::sqlite().await, &[("HISTORY_CHARS", "2000")]).await;
    for round in 0..6 {
        bot.sandbox.openai.script(Script::Text(format!("Answer {round}. {}", "word ".repeat(100))));
        bot.sandbox.telegram.say(ANA, ANA, "Ana", &format!("question {round}"));
        bot.drain().await;
    }
    until("a summary was asked for", async || {
        bot.sandbox
            .openai
            .control
            .asked()
            .iter()
            .any(|a| a.body["instructions"].as_str().is_some_and(|i| i.contains("Summarise")))
    })
    .await;
    bot.sandbox.telegram.say(ANA, ANA, "Ana", "/history");
    bot.drain().await;
    let shown = bot.telegram(ANA).pop().unwrap();
    assert!(shown.contains("what came before"), "{shown}");
    bot.end().await;
}
