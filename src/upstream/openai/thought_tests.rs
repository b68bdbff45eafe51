//! Long thoughts, and what is counted of attempts that never told what they used.

use serde_json::json;

use super::wire_tests::{RESPONSES, Stage, ask, tool};
use super::*;
use crate::upstream::ServiceTier;
use sandbox::Fault;
use sandbox::openai::{Script, Sign, Thought};

#[tokio::test]
async fn lost_connections_cost_one_input_at_most() {
    for fault in [Fault::Drop, Fault::DropAfter] {
        let stage = Stage::new().await;
        let lose = |times: usize| (0..times).for_each(|_| stage.sandbox.control.fault(RESPONSES, fault.clone()));
        // The service gave a connection up that was kept open: nothing was carried out.
        lose(1);
        let (paid, ended) = stage.insist(&ask("hi")).await;
        assert_eq!((paid.len(), ended.expect("a reply").usage.estimated, stage.requests()), (1, false, 2));

        lose(2);
        let (paid, ended) = stage.insist(&ask("hi")).await;
        assert!(ended.is_ok() && paid.len() == 2, "{paid:?}");
        let whole = stage.sandbox.charged()[0].usage.input;
        let is_input = |usage: &Usage| usage.estimated && usage.input_tokens >= whole && usage.output_tokens == 0;
        assert!(is_input(&paid[0]) && !paid[1].estimated, "{paid:?}");

        // No answer at all, and no more requests than the policy allows.
        lose(3);
        let before = stage.requests();
        let (paid, ended) = stage.insist(&ask("hi")).await;
        let failure = ended.expect_err("a failure");
        assert_eq!((failure.cause, failure.usage), (Cause::Unavailable { retry_after: None }, None));
        assert_eq!((stage.requests() - before, stage.sandbox.control.faults_waiting()), (3, 0));
        assert!(paid.len() == 1 && is_input(&paid[0]), "{paid:?}");
    }
}

/// A thought of that many steps of 100 ms.
fn thought(steps: u32, sign: Sign) -> Thought {
    Thought { steps, step: Duration::from_millis(100), sign, tokens: 900 }
}

#[tokio::test]
async fn signs_of_life_keep_a_long_thought_alive() {
    // Thirty steps of thinking, each far shorter than the longest silence, and all together far longer.
    let stage = Stage::with(
        |_| {},
        |ours| {
            ours.deadlines = |_| Deadlines { silence: Duration::from_millis(1_500), total: Duration::from_secs(60) };
        },
    )
    .await;
    for sign in [Sign::Keepalive, Sign::Comment] {
        stage.sandbox.script(Script::Think(thought(30, sign), "At last.".into()));
        let began = Instant::now();
        let reply = stage.reply(&ask("hi")).await;
        assert_eq!((reply.text.as_str(), reply.usage.reasoning_tokens), ("At last.", 900));
        assert!(began.elapsed() >= Duration::from_secs(3));
    }
    stage.sandbox.script(Script::Think(thought(30, Sign::Nothing), "At last.".into()));
    let (shown, failure) = stage.failure(&ask("hi")).await;
    assert_eq!((shown.as_str(), failure.cause, failure.detail.as_str()), ("", Cause::TimedOut, "idle_timeout"));
    // But not for ever.
    let stage = Stage::with(
        |_| {},
        |ours| {
            ours.deadlines = |_| Deadlines { silence: Duration::from_millis(500), total: Duration::from_millis(1_500) };
        },
    )
    .await;
    stage.sandbox.script(Script::Think(thought(100, Sign::Comment), "At last.".into()));
    assert_eq!(stage.failure(&ask("hi")).await.1.detail, "total_timeout");
}

#[tokio::test]
async fn the_effort_says_how_long_a_model_may_be_silent() {
    // The real table, two hundred times as fast: a thought of eight minutes without a byte takes 2.4 s.
    let scaled = |ours: &mut Settings| {
        ours.deadlines = |effort| {
            let Deadlines { silence, total } = Deadlines::of(effort);
            Deadlines { silence: silence / 200, total: total / 200 }
        };
    };
    let stage = Stage::with(|_| {}, scaled).await;
    let silent = Thought { steps: 1, step: Duration::from_secs(8 * 60) / 200, sign: Sign::Nothing, tokens: 900 };
    for (effort, lives) in [(Effort::Low, false), (Effort::Max, true)] {
        stage.sandbox.script(Script::Think(silent, "At last.".into()));
        let (shown, ended) = stage.ask(&Ask { effort: Some(effort), ..ask("hi") }).await;
        assert_eq!((ended.is_ok(), shown.is_empty()), (lives, !lives), "{effort} {ended:?}");
    }
}

#[tokio::test]
async fn hidden_thought_that_is_cut_is_counted_by_its_time() {
    let stage = Stage::with(
        |_| {},
        |ours| {
            ours.deadlines = |_| Deadlines { silence: Duration::from_secs(20), total: Duration::from_millis(2_500) };
        },
    )
    .await;
    stage.sandbox.script(Script::Think(thought(100, Sign::Keepalive), "At last.".into()));
    let (_, failure) = stage.failure(&ask("hi")).await;
    let usage = failure.usage.expect("an estimate");
    stage.sandbox.control.until(|_| !stage.sandbox.charged().is_empty()).await;
    assert!(usage.estimated && usage.input_tokens >= stage.sandbox.charged()[0].usage.input);
    // About 2.5 s at 70 tokens a second, however slow this machine is; and never beyond the limit.
    assert!((150..=2_000).contains(&usage.output_tokens) && usage.reasoning_tokens == usage.output_tokens, "{usage:?}");
    stage.sandbox.script(Script::Think(thought(100, Sign::Keepalive), "At last.".into()));
    let (_, failure) = stage.failure(&Ask { max_output_tokens: 100, ..ask("hi") }).await;
    assert_eq!(failure.usage.map(|usage| usage.output_tokens), Some(100));
    // A model that does not think was only slow.
    stage.sandbox.script(Script::Stall(String::new()));
    let (_, failure) = stage.failure(&Ask { model: "gpt-4.1".into(), effort: None, ..ask("hi") }).await;
    assert_eq!(failure.usage.map(|usage| usage.output_tokens), Some(0));
}

#[tokio::test]
async fn the_final_response_has_the_last_word() {
    let stage = Stage::new().await;
    for (streamed, whole) in [("Fuond it", "Found it."), ("Found", "Found it."), ("Found it. Or not", "Found it.")] {
        stage.sandbox.script(Script::Retold { streamed: streamed.into(), whole: whole.into() });
        assert_eq!(stage.reply(&ask("hi")).await.text, whole);
    }
}

#[tokio::test]
async fn the_tier_that_the_answer_names_is_counted() {
    let stage = Stage::new().await;
    for (named, tier) in
        [("priority", ServiceTier::Priority), ("flex", ServiceTier::Flex), ("scale", ServiceTier::Unknown)]
    {
        stage.sandbox.process_in_tier(named);
        assert_eq!(stage.reply(&ask("hi")).await.usage.tier, tier);
        stage.sandbox.script(Script::CutAfter("Start".into()));
        let (_, failure) = stage.failure(&ask("hi")).await;
        assert_eq!(failure.usage.map(|usage| usage.tier), Some(tier), "its first event tells");
    }
}

#[tokio::test]
async fn after_the_last_round_the_tools_stay_and_may_not_be_called() {
    let stage = Stage::new().await;
    let mut ask = Ask { tools: [tool("queue_status")].into(), ..ask("how long is the queue?") };
    assert_eq!(stage.reply(&ask).await.calls.len(), 1);
    ask.tool_choice = ToolChoice::None;
    assert_eq!(stage.reply(&ask).await.calls, []);
    let bodies = stage.sandbox.control.asked();
    assert_eq!(bodies[0].body["tools"], bodies[1].body["tools"]);
    assert_eq!((&bodies[0].body["tool_choice"], &bodies[1].body["tool_choice"]), (&Value::Null, &json!("none")));
}
