//! One coaching turn as a state machine: what to do next, given what happened. Pure: no IO, no clock.

use std::sync::Arc;

use crate::upstream::openai::{Ask, Effort, Ending, Item, Reply, ToolCall, ToolChoice, ToolSpec};
use crate::upstream::{Cause, Failure, Provider};

/// Rounds of tool calls in one turn; after the last one the model has to answer and may call nothing.
pub const TOOL_ROUNDS: u32 = 6;

/// What stays the same over all calls of a turn.
#[derive(Clone, Debug)]
pub struct Frame {
    pub model: String,
    pub effort: Option<Effort>,
    pub max_output_tokens: u32,
    pub instructions: Arc<str>,
    pub tools: Arc<[ToolSpec]>,
    pub cache_key: String,
    pub safety_id: String,
}

/// What to do next.
#[derive(Debug)]
pub enum Step {
    Ask(Box<Ask>),
    /// All of them, at once.
    Run(Vec<ToolCall>),
    Answer(Answer),
    GiveUp(Failure),
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    Replied(Reply),
    Failed(Failure),
    /// The outputs, by call id, in any order.
    Ran(Vec<(String, String)>),
}

/// An answer that can be shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub text: String,
    pub ending: AnswerEnding,
    /// The model declined, at least in part: the text says so.
    pub refused: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum AnswerEnding {
    Whole,
    /// The output limit was reached.
    LengthLimit,
    /// The stream broke after text had been shown; it is not begun again.
    BrokeOff(Failure),
}

/// The state of one turn.
#[derive(Debug)]
pub struct Turn {
    frame: Frame,
    input: Arc<Vec<Item>>,
    rounds: u32,
    /// What was said in rounds that went on to call tools.
    said: String,
}

impl Turn {
    pub fn new(frame: Frame, input: Vec<Item>) -> Self {
        Self { frame, input: Arc::new(input), rounds: 0, said: String::new() }
    }

    /// The first step.
    pub fn begin(&self) -> Step {
        self.ask()
    }

    /// How many tool rounds have been asked for.
    pub fn rounds(&self) -> u32 {
        self.rounds
    }

    /// The next step. `visible` is the text of the current call that has been shown already.
    pub fn next(&mut self, event: Event, visible: &str) -> Step {
        match event {
            Event::Replied(reply) => self.replied(reply),
            Event::Failed(failure) if visible.is_empty() && self.said.is_empty() => Step::GiveUp(failure),
            Event::Failed(failure) => {
                let text = self.with_said(visible);
                Step::Answer(Answer { text, ending: AnswerEnding::BrokeOff(failure), refused: false })
            }
            Event::Ran(outputs) => {
                Arc::make_mut(&mut self.input)
                    .extend(outputs.into_iter().map(|(call_id, output)| Item::ToolOutput { call_id, output }));
                self.ask()
            }
        }
    }

    fn replied(&mut self, reply: Reply) -> Step {
        // Calls of a cut answer may be incomplete: they are not run.
        if !reply.calls.is_empty() && reply.ending == Ending::Completed && self.rounds < TOOL_ROUNDS {
            self.rounds += 1;
            self.said = self.with_said(&reply.text);
            Arc::make_mut(&mut self.input).extend(reply.items.into_iter().map(Item::Raw));
            return Step::Run(reply.calls);
        }
        // What it declines may come behind what it has said already.
        let refused = reply.refusal.is_some();
        let text = with(&self.with_said(&reply.text), reply.refusal.as_deref().unwrap_or_default());
        let fail = |cause, detail: String| Failure::new(Provider::OpenAi, cause, detail);
        let (ending, without_text) = match reply.ending {
            // Without text it was read well, and there is no answer in it.
            Ending::Completed => {
                let detail = format!("an answer without text, after {} rounds of tools", self.rounds);
                (AnswerEnding::Whole, fail(Cause::Cut, detail))
            }
            Ending::Incomplete(reason) if reason == "content_filter" => {
                let failure = fail(Cause::Filtered, "incomplete: content_filter".into());
                (AnswerEnding::BrokeOff(failure.clone()), failure)
            }
            Ending::Incomplete(reason) => {
                (AnswerEnding::LengthLimit, fail(Cause::TooLong, format!("incomplete: {reason}, no text")))
            }
        };
        match text.is_empty() {
            true => Step::GiveUp(without_text),
            false => Step::Answer(Answer { text, ending, refused }),
        }
    }

    fn ask(&self) -> Step {
        let tool_choice = if self.rounds < TOOL_ROUNDS { ToolChoice::Auto } else { ToolChoice::None };
        Step::Ask(Box::new(Ask {
            model: self.frame.model.clone(),
            instructions: self.frame.instructions.clone(),
            input: self.input.clone(),
            tools: self.frame.tools.clone(),
            tool_choice,
            effort: self.frame.effort,
            max_output_tokens: self.frame.max_output_tokens,
            cache_key: self.frame.cache_key.clone(),
            safety_id: self.frame.safety_id.clone(),
        }))
    }

    /// What was said before in this turn, then `text`.
    fn with_said(&self, text: &str) -> String {
        with(&self.said, text)
    }
}

/// One text behind another, as a paragraph of its own.
fn with(said: &str, text: &str) -> String {
    match (said.trim(), text.trim()) {
        ("", text) => text.to_owned(),
        (said, "") => said.to_owned(),
        (said, text) => format!("{said}\n\n{text}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::upstream::Usage;

    fn turn() -> Turn {
        let tool = ToolSpec { name: "queue_status", description: "", parameters: json!({}) };
        Turn::new(
            Frame {
                model: "m".into(),
                effort: None,
                max_output_tokens: 100,
                instructions: "i".into(),
                tools: [tool].into(),
                cache_key: "k".into(),
                safety_id: "s".into(),
            },
            vec![Item::User("hi".into())],
        )
    }

    fn reply(text: &str, calls: usize, ending: Ending) -> Event {
        let calls: Vec<ToolCall> = (0..calls)
            .map(|at| ToolCall { call_id: format!("call_{at}"), name: "queue_status".into(), arguments: "{}".into() })
            .collect();
        let items = calls.iter().map(|call| json!({"type": "function_call", "call_id": call.call_id})).collect();
        Event::Replied(Reply {
            text: text.into(),
            refusal: None,
            calls,
            items,
            usage: Usage::default(),
            ending,
            request_id: None,
            model: "m".into(),
        })
    }

    #[test]
    fn tools_run_and_their_outputs_go_back_behind_the_calls() {
        let mut turn = turn();
        let Step::Run(calls) = turn.next(reply("Let me look.", 2, Ending::Completed), "Let me look.") else { panic!() };
        assert_eq!(calls.len(), 2);
        let outputs = vec![("call_0".to_owned(), "a".to_owned()), ("call_1".to_owned(), "b".to_owned())];
        let Step::Ask(ask) = turn.next(Event::Ran(outputs), "") else { panic!() };
        assert_eq!(ask.input.len(), 1 + 2 + 2);
        assert!(matches!(&ask.input[4], Item::ToolOutput { call_id, output } if call_id == "call_1" && output == "b"));
        let Step::Answer(answer) = turn.next(reply("You are first.", 0, Ending::Completed), "") else { panic!() };
        let whole =
            Answer { text: "Let me look.\n\nYou are first.".into(), ending: AnswerEnding::Whole, refused: false };
        assert_eq!(answer, whole);
    }

    #[test]
    fn after_the_last_round_the_same_tools_may_not_be_called() {
        let mut turn = turn();
        for round in 1..=TOOL_ROUNDS {
            assert!(matches!(turn.next(reply("", 1, Ending::Completed), ""), Step::Run(_)), "round {round}");
            let Step::Ask(ask) = turn.next(Event::Ran(vec![("call_0".into(), "x".into())]), "") else { panic!() };
            assert_eq!((ask.tools.len(), ask.tool_choice == ToolChoice::None), (1, round == TOOL_ROUNDS));
        }
        // A model that calls all the same is not obeyed, and what it sent is not called unreadable.
        let Step::GiveUp(failure) = turn.next(reply("", 1, Ending::Completed), "") else { panic!() };
        assert_eq!(failure.cause, Cause::Cut);
    }

    #[test]
    fn endings() {
        let cut = || Failure::new(Provider::OpenAi, Cause::Cut, "");
        assert!(matches!(turn().next(Event::Failed(cut()), ""), Step::GiveUp(f) if f.cause == Cause::Cut));
        let Step::Answer(answer) = turn().next(Event::Failed(cut()), "So far") else { panic!() };
        let broke_off = Answer { text: "So far".into(), ending: AnswerEnding::BrokeOff(cut()), refused: false };
        assert_eq!(answer, broke_off);
        assert!(matches!(turn().next(reply("", 0, Ending::Completed), ""), Step::GiveUp(f) if f.cause == Cause::Cut));
        let limit = || Ending::Incomplete("max_output_tokens".into());
        assert!(
            matches!(turn().next(reply("a", 1, limit()), "a"), Step::Answer(a) if a.ending == AnswerEnding::LengthLimit)
        );
        assert!(matches!(turn().next(reply("", 0, limit()), ""), Step::GiveUp(f) if f.cause == Cause::TooLong));
        let filter = || Ending::Incomplete("content_filter".into());
        assert!(matches!(turn().next(reply("", 0, filter()), ""), Step::GiveUp(f) if f.cause == Cause::Filtered));
        let Step::Answer(answer) = turn().next(reply("So far", 0, filter()), "So far") else { panic!() };
        assert!(matches!(answer.ending, AnswerEnding::BrokeOff(f) if f.cause == Cause::Filtered));
    }

    #[test]
    fn a_refusal_is_shown_behind_what_was_said() {
        let declined = |said: &str| match reply(said, 0, Ending::Completed) {
            Event::Replied(reply) => {
                Event::Replied(Reply { refusal: Some("I cannot help with that.".into()), ..reply })
            }
            other => other,
        };
        for (said, whole) in
            [("", "I cannot help with that."), ("Sure, here is how:", "Sure, here is how:\n\nI cannot help with that.")]
        {
            let Step::Answer(answer) = turn().next(declined(said), said) else { panic!("{said}") };
            assert_eq!((answer.text.as_str(), answer.refused, answer.ending), (whole, true, AnswerEnding::Whole));
        }
    }
}
