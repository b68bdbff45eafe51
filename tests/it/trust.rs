//! Whatever people say in whatever order, what one of them wrote never reaches another: not in an answer, and not in what
//! the model is sent for them. Generated conversations, through the whole bot.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use sandbox::Fault;

use crate::bot::TestBot;
use crate::reels::link;
use crate::support::TestDb;

/// What each person is called, and tells of themselves; nobody else has a reason to hear it.
const SECRETS: [&str; 4] = ["Quillfern", "Brambleax", "Ottervane", "Mirthquay"];
/// What several of them ask.
const QUESTIONS: [&str; 3] =
    ["How do I open a reel about bread?", "please try again", "Which hook is best for a video of cats?"];
const MARK: &str = "I've answered this one before";

#[derive(Clone, Copy, Debug)]
enum Action {
    Ask(usize),
    /// Something of their own.
    Tell,
    Reel,
    /// The next call of the model fails.
    Fail,
    /// The newest button in their chat.
    Press,
    New,
}

fn actions() -> impl Strategy<Value = Vec<(usize, Action)>> {
    let action = prop_oneof![
        10 => prop_oneof![4 => Just(0), 1 => Just(1), 1 => Just(2)].prop_map(Action::Ask),
        2 => Just(Action::Tell),
        1 => Just(Action::Reel),
        2 => Just(Action::Fail),
        3 => Just(Action::Press),
        6 => Just(Action::New),
    ];
    prop::collection::vec((0..SECRETS.len(), action), 15..30)
}

fn chat(person: usize) -> i64 {
    100 + i64::try_from(person).unwrap()
}

/// What is known of the conversations so far.
#[derive(Default)]
struct Known {
    /// Who asked which question as the first of a conversation.
    askers: HashMap<&'static str, HashSet<usize>>,
    /// Who has said something since they last began anew.
    talking: HashSet<usize>,
}

/// How often an answer was made for everyone, and how often one was given again.
#[derive(Default)]
struct Shared {
    made: AtomicUsize,
    given: AtomicUsize,
}

async fn holds(actions: &[(usize, Action)], shared: &Shared) -> Result<(), TestCaseError> {
    let bot = TestBot::start(TestDb::sqlite().await, &[("ANSWER_CACHE_HOURS", "24")]).await;
    let mut known = Known::default();
    for (person, action) in actions {
        let (requests, screens) = (bot.sandbox.openai.control.asked().len(), bot.screens());
        let is_first = !known.talking.contains(person);
        let mut question = None;
        let text = match action {
            Action::Ask(n) => {
                question = Some(QUESTIONS[*n]);
                if is_first {
                    known.askers.entry(QUESTIONS[*n]).or_default().insert(*person);
                }
                QUESTIONS[*n].to_owned()
            }
            Action::Tell => format!("I am {} and bake in the attic. What shall I post?", SECRETS[*person]),
            Action::Reel => format!("{} what would {} say?", link("DLlGZiCOBQ0"), SECRETS[*person]),
            Action::New => "/new".to_owned(),
            Action::Fail => {
                let headers = vec![("content-type".into(), "text/html".into())];
                bot.sandbox
                    .openai
                    .control
                    .fault("/responses", Fault::Answer { status: 200, headers, body: "no".into() });
                continue;
            }
            Action::Press => {
                let shown = bot.shown(chat(*person));
                let Some(pressed) = shown.iter().rev().find(|shown| !shown.buttons.is_empty()) else { continue };
                bot.sandbox.telegram.press(chat(*person), chat(*person), pressed.message_id, &pressed.buttons[0].1);
                String::new()
            }
        };
        if !text.is_empty() {
            bot.sandbox.telegram.say(chat(*person), chat(*person), SECRETS[*person], &text);
        }
        match action {
            Action::New => known.talking.remove(person),
            _ => known.talking.insert(*person),
        };
        bot.drain().await;
        let is_shareable = is_first && question.is_some_and(|question| known.askers[question].len() >= 3);
        for asked in bot.sandbox.openai.control.asked().split_off(requests) {
            let sent = asked.body.to_string();
            for (other, secret) in SECRETS.iter().enumerate() {
                prop_assert!(other == *person || !sent.contains(secret), "{action:?} of {person}: {sent}");
            }
            // What is sent without a name is for everyone.
            if !sent.contains(SECRETS[*person]) && !sent.contains("Person ") {
                prop_assert!(is_shareable, "{action:?} of {person}, who has asked something else or too few: {sent}");
                shared.made.fetch_add(1, Ordering::Relaxed);
            }
        }
        for (other, (before, after)) in screens.into_iter().zip(bot.screens()).enumerate() {
            let new = &after[before.len()..];
            prop_assert!(other == *person || new.is_empty(), "{action:?} of {person} is answered to {other}: {new:?}");
            for text in new {
                let foreign = SECRETS.iter().enumerate().find(|(of, secret)| of != person && text.contains(*secret));
                prop_assert!(foreign.is_none(), "{action:?} of {person}: {text}");
                prop_assert!(!text.contains(MARK) || is_shareable, "{action:?} of {person}: {text}");
                shared.given.fetch_add(usize::from(text.contains(MARK)), Ordering::Relaxed);
            }
        }
    }
    for secret in SECRETS {
        let kept = format!("SELECT COUNT(*) FROM answers WHERE answer LIKE '%{secret}%' OR question LIKE '%{secret}%'");
        prop_assert_eq!(bot.db.number(&kept, &[]).await, 0);
    }
    bot.end().await;
    Ok(())
}

impl TestBot {
    /// What each of them has been told.
    fn screens(&self) -> Vec<Vec<String>> {
        (0..SECRETS.len()).map(|person| self.telegram(chat(person))).collect()
    }
}

#[test]
fn what_one_person_says_never_reaches_another() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let config = Config { cases: 12, failure_persistence: None, max_shrink_iters: 20, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let shared = Shared::default();
    runner.run(&actions(), |actions| runtime.block_on(holds(&actions, &shared))).unwrap();
    let (made, given) = (shared.made.into_inner(), shared.given.into_inner());
    assert!(made >= 5 && given >= 3, "it is put to the test: {made} were made for everyone, {given} given again");
}
