//! What the model is sent from turn to turn, and within one: the beginning stays the same, so that the provider's prompt
//! cache has it.

use reelcoach::core::coach::turn::TOOL_ROUNDS;
use sandbox::openai::Script;
use serde_json::Value;

use crate::bot::TestBot;

const ANA: i64 = 42;

/// Through the latest message of the user, which is as far as the provider keeps a prompt (OpenAI, guide "Prompt caching").
fn kept(input: &[Value]) -> &[Value] {
    let last = input.iter().rposition(|item| item["role"] == "user").expect("somebody asks");
    &input[..=last]
}

on_both! {
    async fn what_was_sent_before_a_question_is_sent_again_before_the_next_one(db: TestDb) {
        let bot = TestBot::start(db, &[]).await;
        let said = [
            "How do I open a reel about bread?",
            "https://www.instagram.com/reel/DLlGZiCOBQ0/ is the hook any good?",
            "Write me a better one.",
            "How long is the queue?",
            "And a caption, please.",
            "Shorter.",
        ];
        for (n, text) in said.iter().enumerate() {
            if n == 3 {
                // Two rounds of a tool in one turn.
                for _ in 0..2 {
                    bot.sandbox.openai.script(Script::Calls(vec![("queue_status".to_owned(), "{}".to_owned())]));
                }
            }
            bot.sandbox.telegram.say(ANA, ANA, "Ana", text);
            bot.drain().await;
        }
        let asked = bot.sandbox.openai.control.asked();
        let asked: Vec<&Value> = asked.iter().filter(|a| a.path.contains("responses")).map(|a| &a.body).collect();
        assert_eq!(asked.len(), said.len() + 2);
        for pair in asked.windows(2) {
            let inputs = [0, 1].map(|at| pair[at]["input"].as_array().expect("items").as_slice());
            let before = kept(inputs[0]);
            assert_eq!(inputs[1].get(..before.len()), Some(before), "what changes stands behind the question");
            for same in ["model", "instructions", "tools", "reasoning", "prompt_cache_key"] {
                assert_eq!(pair[0][same], pair[1][same], "{same}");
            }
        }
        let usage: Vec<_> = bot.sandbox.openai.charged().iter().map(|call| call.usage).collect();
        let mut written = 0;
        for (body, usage) in asked.iter().zip(&usage) {
            assert!(usage.cached >= written, "what was written with the latest question is read: {usage:?}");
            // What a tool said is of no use to the next turn.
            if !body["input"].to_string().contains("function_call_output") {
                written = usage.cached + usage.cache_write;
                assert!(written > 0 || usage.input < 1_024, "a shorter one is not kept: {usage:?}");
            }
        }
        let last = usage.last().expect("calls");
        assert!(last.cached * 100 >= last.input * 85, "{last:?}");
        bot.end().await;
    }

    async fn the_last_round_of_tools_is_sent_the_same_beginning(db: TestDb) {
        let bot = TestBot::start(db, &[]).await;
        let call = || Script::Calls(vec![("queue_status".to_owned(), "{}".to_owned())]);
        (0..TOOL_ROUNDS).for_each(|_| bot.sandbox.openai.script(call()));
        bot.sandbox.openai.script(Script::Text("Nothing waits.".into()));
        // Long enough for the cache.
        bot.sandbox.telegram.say(ANA, ANA, "Ana", &"How long is the queue, and why? ".repeat(150));
        bot.drain().await;
        assert_eq!(bot.telegram(ANA), ["Nothing waits."]);
        let asked = bot.sandbox.openai.control.asked();
        let asked: Vec<&Value> = asked.iter().filter(|a| a.path.contains("responses")).map(|a| &a.body).collect();
        assert_eq!(asked.len() as u32, TOOL_ROUNDS + 1);
        let first = asked[0];
        for (round, body) in asked.iter().enumerate() {
            for same in ["model", "instructions", "tools", "reasoning", "prompt_cache_key"] {
                assert_eq!(body[same].to_string(), first[same].to_string(), "{same} of round {round}");
            }
            let before = first["input"].as_array().expect("items");
            assert_eq!(body["input"].as_array().and_then(|input| input.get(..before.len())), Some(&before[..]));
            let may_call = round + 1 < asked.len();
            assert_eq!(body["tool_choice"], if may_call { Value::Null } else { "none".into() }, "round {round}");
        }
        let charged = bot.sandbox.openai.charged();
        let [.., last] = &charged[..] else { panic!("no calls") };
        assert!(last.usage.cached * 100 >= last.usage.input * 90, "{last:?}");

        // One that calls all the same, and says nothing.
        (0..=TOOL_ROUNDS).for_each(|_| bot.sandbox.openai.script(call()));
        bot.sandbox.telegram.say(ANA, ANA, "Ana", "And now?");
        bot.drain().await;
        let told = bot.telegram(ANA).pop().unwrap();
        assert!(told.starts_with("The AI service didn't finish its answer."), "{told}");
        bot.end().await;
    }
}
