//! The built-in coach: what the stand-in says when nothing is scripted. Deterministic: the same request gets
//! the same answer. Never looks at anything but the request.

use serde_json::{Map, Value, json};

use super::answer::Part;
use super::check::{Prompted, message_text};
use super::reel::{self, opening, seed};

/// At most so many calls at once.
const MOST_CALLS: usize = 5;

/// The parts of the answer to this request.
pub(super) fn answer(request: &Prompted) -> Vec<Part> {
    let said = last_user_text(&request.input);
    if request.instructions.contains("Summarise") {
        return vec![Part::Text(summary(&request.input))];
    }
    if request.instructions.contains("Answer with one word") {
        return vec![Part::Text(verdict(&said).into())];
    }
    let outputs = outputs(&request.input);
    if !outputs.is_empty() {
        return vec![Part::Text(report(&outputs))];
    }
    if let Some(reel) = reel::find(&recent_user_text(&request.input)) {
        return vec![Part::Text(reel::coaching(&reel))];
    }
    let calls = calls(request, &said);
    if !calls.is_empty() {
        return calls;
    }
    vec![Part::Text(if is_greeting(&said) { greeting(&said) } else { advice(&said) })]
}

/// The user's last words.
fn last_user_text(input: &[Value]) -> String {
    input.iter().rev().find(|item| item["role"] == "user").map(message_text).unwrap_or_default()
}

/// Everything from the user since the assistant's last word.
fn recent_user_text(input: &[Value]) -> String {
    let since = input.iter().rposition(|item| item["role"] == "assistant").map_or(0, |at| at + 1);
    let recent = input.get(since..).unwrap_or_default();
    let texts: Vec<String> = recent.iter().filter(|item| item["role"] == "user").map(message_text).collect();
    texts.join("\n")
}

/// The outputs of tools since the last word of the user: name of the tool, output.
fn outputs(input: &[Value]) -> Vec<(String, String)> {
    let since = input.iter().rposition(|item| item["role"] == "user").map_or(0, |at| at + 1);
    let recent = input.get(since..).unwrap_or_default();
    let outputs = recent.iter().filter(|item| item["type"] == "function_call_output");
    let named = outputs.map(|output| {
        let call = recent.iter().find(|i| i["type"] == "function_call" && i["call_id"] == output["call_id"]);
        let name = call.and_then(|call| call["name"].as_str()).unwrap_or_default().to_owned();
        (name, output["output"].as_str().map_or_else(|| output["output"].to_string(), str::to_owned))
    });
    named.collect()
}

fn report(outputs: &[(String, String)]) -> String {
    let texts = |output: &str| match serde_json::from_str::<Value>(output) {
        Ok(Value::Object(fields)) => fields.values().filter_map(Value::as_str).collect::<Vec<_>>().join("\n"),
        _ => output.to_owned(),
    };
    if let Some(reel) = outputs.iter().find_map(|(_, output)| reel::find(&texts(output))) {
        return reel::coaching(&reel);
    }
    let mut sentences: Vec<String> = Vec::new();
    for (name, output) in outputs {
        let said = readable(output);
        sentences.push(match name.as_str() {
            "queue_status" => format!("Here is where your queue stands: {said}"),
            "list_my_reels" => format!("These are the reels I have from you: {said}"),
            "transcribe_reel" => format!("Your reel is in: {said}"),
            _ => format!("Here is what I found: {said}"),
        });
    }
    let next = match outputs.first().map(|(name, _)| name.as_str()) {
        Some("transcribe_reel") => "I will go through hook, structure and call to action as soon as it is ready.",
        Some("list_my_reels") => "Tell me which one we should sharpen first.",
        _ => "Anything you want to work on in the meantime?",
    };
    sentences.push(next.into());
    sentences.join("\n\n")
}

/// What a tool returned as a person would say it: the fields of an object as `name: value`.
fn readable(output: &str) -> String {
    fn tell(value: &Value) -> String {
        match value {
            Value::Null => "nothing".into(),
            Value::String(text) => text.clone(),
            Value::Array(values) if values.is_empty() => "none yet".into(),
            Value::Array(values) => values.iter().map(tell).collect::<Vec<_>>().join("; "),
            Value::Object(fields) => {
                let fields = fields.iter().map(|(name, value)| format!("{}: {}", name.replace('_', " "), tell(value)));
                fields.collect::<Vec<_>>().join(", ")
            }
            other => other.to_string(),
        }
    }
    let told = serde_json::from_str::<Value>(output).map_or_else(|_| output.trim().to_owned(), |value| tell(&value));
    let short: String = told.chars().take(600).collect();
    let whole = if short.len() < told.len() { format!("{short}…") } else { short };
    if whole.ends_with(['.', '!', '?', '…']) { whole } else { format!("{whole}.") }
}

/// The calls of tools that the text asks for, of those that are offered.
fn calls(request: &Prompted, said: &str) -> Vec<Part> {
    if request.body["tool_choice"] == "none" {
        return Vec::new();
    }
    let offered = |name: &str| request.tools.iter().find(|tool| tool["name"] == name);
    let call = |tool: &Value, text: &str| {
        let name = tool["name"].as_str().unwrap_or_default().to_owned();
        Part::Call(name, arguments(&tool["parameters"], text).to_string())
    };
    let links: Vec<&str> = said.split_whitespace().filter_map(link).collect();
    if let Some(tool) = offered("transcribe_reel").filter(|_| !links.is_empty()) {
        return links.iter().take(MOST_CALLS).map(|link| call(tool, link)).collect();
    }
    let lower = said.to_lowercase();
    let mut calls = Vec::new();
    if lower.contains("queue") || lower.contains("how long") {
        calls.extend(offered("queue_status").map(|tool| call(tool, said)));
    }
    if lower.contains("my reels") {
        calls.extend(offered("list_my_reels").map(|tool| call(tool, said)));
    }
    calls
}

/// The link to Instagram in a word, without what is around it.
fn link(word: &str) -> Option<&str> {
    let at = word.find("http").unwrap_or(0);
    let link = word.get(at..)?.trim_end_matches(['>', ')', ']', ',', '.', '!', '?', '"', '*', '_']);
    (link.contains("instagram.com/") || link.contains("instagr.am/")).then_some(link)
}

/// Arguments that fit a strict schema: every property has a value, and a text gets the given one.
fn arguments(schema: &Value, text: &str) -> Value {
    if let Some(first) = schema["enum"].as_array().and_then(|values| values.first()) {
        return first.clone();
    }
    if let Some(first) = schema["anyOf"].as_array().and_then(|options| options.first()) {
        return arguments(first, text);
    }
    let kind = match &schema["type"] {
        // Nullable: what may be left out is left out.
        Value::Array(kinds) if kinds.iter().any(|kind| kind == "null") => "null",
        Value::Array(kinds) => kinds.first().and_then(Value::as_str).unwrap_or("null"),
        kind => kind.as_str().unwrap_or("null"),
    };
    match kind {
        "object" => {
            let properties = schema["properties"].as_object().into_iter().flatten();
            Value::Object(
                properties.map(|(name, schema)| (name.clone(), arguments(schema, text))).collect::<Map<_, _>>(),
            )
        }
        "array" => json!([arguments(&schema["items"], text)]),
        "string" => json!(text),
        "integer" | "number" => schema["minimum"].as_i64().map_or_else(|| json!(1), |minimum| json!(minimum)),
        "boolean" => json!(false),
        _ => Value::Null,
    }
}

/// Whether a question is about making content and means the same whoever asks it. A judge that knows its words alone: it
/// says no where in doubt.
fn verdict(said: &str) -> &'static str {
    const ABOUT: &[&str] =
        &["reel", "reels", "hook", "hooks", "caption", "captions", "video", "videos", "script", "film", "edit", "post"];
    const OF_SOMEBODY: &[&str] = &[
        "me", "my", "mine", "we", "us", "our", "am", "i'm", "that", "this", "it", "again", "today", "tomorrow",
        "weekend", "queue",
    ];
    let question = serde_json::from_str::<Value>(said).map(|json| json["question"].as_str().unwrap_or("").to_owned());
    let words = words(&question.unwrap_or_default());
    let has = |list: &[&str]| words.iter().any(|word| list.contains(&word.as_str()));
    if words.len() >= 4 && has(ABOUT) && !has(OF_SOMEBODY) { "yes" } else { "no" }
}

/// A conversation comes as messages, or as one that holds it as lines of JSON.
fn summary(input: &[Value]) -> String {
    let messages: Vec<(String, String)> = input
        .iter()
        .flat_map(|item| {
            let (role, text) = (item["role"].as_str().unwrap_or_default().to_owned(), message_text(item));
            let entries = text.lines().map(serde_json::from_str::<Value>).collect::<Result<Vec<_>, _>>();
            let entry = |entry: &Value| Some((entry["from"].as_str()?.to_owned(), entry["text"].as_str()?.to_owned()));
            entries.ok().and_then(|all| all.iter().map(entry).collect()).unwrap_or_else(|| vec![(role, text)])
        })
        .collect();
    let texts = |names: [&str; 2]| {
        let of_theirs = messages.iter().filter(|(from, _)| names.contains(&from.as_str()));
        of_theirs.map(|(_, text)| text.clone()).collect::<Vec<_>>()
    };
    let (asked, told) = (texts(["user", "person"]), texts(["assistant", "coach"]));
    let first = asked.first().map(|text| opening(text, 12)).unwrap_or_default();
    let last = asked.last().map(|text| opening(text, 12)).unwrap_or_default();
    format!(
        "The creator wrote {} messages and got {} answers, starting with “{first}”. Most recently they asked about “{last}”.",
        asked.len(),
        told.len(),
    )
}

fn is_greeting(said: &str) -> bool {
    const GREETINGS: &[&str] = &[
        "hi",
        "hello",
        "hey",
        "hiya",
        "yo",
        "morning",
        "evening",
        "afternoon",
        "sup",
        "hola",
        "hallo",
        "moin",
        "salut",
        "bonjour",
        "ciao",
        "привет",
        "start",
    ];
    let words = words(said);
    words.len() <= 6 && words.iter().any(|word| GREETINGS.contains(&word.as_str()))
}

fn greeting(said: &str) -> String {
    let warm = pick(
        said,
        &[
            "Hey, good to see you! 👋",
            "Hi there! Glad you stopped by.",
            "Hello! Great timing, I was just thinking about hooks. 🎬",
        ],
    );
    let invite = pick(
        &format!("{said}?"),
        &[
            "Paste an Instagram reel link and I will take it apart with you, or ask me anything about hooks, pacing or captions.",
            "What are you working on? Send me a reel link, or tell me where your viewers drop off.",
            "Ask me about your next reel, or drop a link and I will tell you what to keep and what to change.",
        ],
    );
    format!("{warm} {invite}")
}

fn advice(said: &str) -> String {
    let topic = topic(said);
    let about = if topic.is_empty() { "On that".to_owned() } else { format!("On **{topic}**") };
    match seed(said) % 3 {
        0 => format!(
            "{about}: start with the first two seconds, because that is where most viewers decide.\n\n\
             1. **Open on the result.** Show the finished thing or say the surprising number before you explain anything.\n\
             2. **Name the viewer.** “If you film on your phone…” beats “Hi everyone”: the right people stop, the others were not going to stay.\n\
             3. **Promise an end.** Say that there are three steps, and put the best one last, so that there is a reason to wait for it.\n\n\
             Film three different openings for the same reel and keep the body unchanged. Post the one that a friend \
             watches to the end without being asked. If you want, send me your script or a reel link and I will mark \
             the exact line where attention drops."
        ),
        1 => format!(
            "{about}, I would look at retention before reach: people who stay are what gets a reel shown to new people.\n\n\
             - **Cut the run-up.** Delete every word before the first one that carries meaning.\n\
             - **Change something every two or three seconds:** angle, text on screen, or distance to the camera.\n\
             - **Open a small question early** (“there is one mistake in this shot”) and answer it near the end.\n\
             - **Finish on the line, not after it.** A clean loop brings a second view for free.\n\n\
             Check the retention graph of your last five reels: where the curve falls in the first three seconds, the hook \
             is at fault; where it sags in the middle, a step is too long. Which of the two do you see?"
        ),
        _ => format!(
            "{about}: pick one idea for each reel and let everything else wait for the next one.\n\n\
             **Hook.** Say what changes for the viewer, in under ten words, with your face or the object large in the frame.\n\n\
             **Middle.** Three beats are enough: the problem, what you did, what happened. Each beat gets its own shot, so \
             that the eye has a reason to stay.\n\n\
             **Close.** Ask for one thing only. A question that can be answered in a word brings more comments than “let me \
             know what you think”.\n\n\
             Write the last line first and work backwards; it keeps the reel short. Tell me the idea in one sentence and \
             I will draft three hooks for it."
        ),
    }
}

/// The few words that say what a text is about.
fn topic(said: &str) -> String {
    const EMPTY: &[&str] = &[
        "about", "after", "again", "also", "because", "before", "could", "does", "doing", "from", "give", "good",
        "have", "help", "here", "improve", "into", "just", "know", "like", "make", "more", "much", "need", "please",
        "really", "should", "some", "tell", "than", "that", "their", "them", "then", "there", "they", "thing", "think",
        "this", "want", "what", "when", "where", "which", "will", "with", "would", "your", "better",
    ];
    let words = words(said);
    let carries = |word: &&String| word.chars().count() > 3 && !EMPTY.contains(&word.as_str());
    words.iter().filter(carries).take(4).map(|word| word.chars().take(24).collect()).collect::<Vec<String>>().join(" ")
}

fn words(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '\'').filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

fn pick<'a>(text: &str, of: &[&'a str]) -> &'a str {
    of.get(seed(text) % of.len().max(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(name: &str, properties: Value) -> Value {
        json!({ "type": "function", "name": name, "parameters": { "type": "object", "properties": properties } })
    }

    fn request(said: &str) -> Prompted {
        Prompted {
            input: vec![json!({ "role": "user", "content": said })],
            tools: vec![
                tool("queue_status", json!({})),
                tool("list_my_reels", json!({ "limit": { "type": "integer" } })),
                tool(
                    "transcribe_reel",
                    json!({ "url": { "type": "string" }, "language": { "type": ["string", "null"] } }),
                ),
            ],
            ..Prompted::default()
        }
    }

    fn text(parts: &[Part]) -> String {
        match parts {
            [Part::Text(text)] => text.clone(),
            other => panic!("not one text: {other:?}"),
        }
    }

    fn called(parts: &[Part]) -> Vec<(String, String)> {
        let call = |part: &Part| match part {
            Part::Call(name, arguments) => (name.clone(), arguments.clone()),
            other => panic!("not a call: {other:?}"),
        };
        parts.iter().map(call).collect()
    }

    #[test]
    fn it_calls_the_tool_that_fits() {
        for (said, name, args) in [
            ("How long do I have to wait?", "queue_status", "{}"),
            ("where am I in the queue", "queue_status", "{}"),
            ("show me my reels", "list_my_reels", r#"{"limit":1}"#),
            (
                "look (https://www.instagram.com/reel/Abc/?igsh=1)!",
                "transcribe_reel",
                r#"{"language":null,"url":"https://www.instagram.com/reel/Abc/?igsh=1"}"#,
            ),
        ] {
            assert_eq!(called(&answer(&request(said))), [(name.to_owned(), args.to_owned())], "{said}");
        }
        let two = answer(&request("https://instagram.com/reel/A/ and https://instagram.com/reel/B/"));
        assert_eq!(called(&two).len(), 2);
    }

    #[test]
    fn without_the_tool_it_talks() {
        let request = Prompted { tools: Vec::new(), ..request("how long is the queue?") };
        assert!(text(&answer(&request)).contains("**long queue**"));
    }

    #[test]
    fn it_uses_what_the_tool_returned() {
        let mut request = request("how long?");
        request.input.extend([
            json!({ "type": "function_call", "call_id": "c1", "name": "queue_status", "arguments": "{}" }),
            json!({ "type": "function_call_output", "call_id": "c1", "output": r#"{"position":3,"eta_seconds":95}"# }),
        ]);
        let said = text(&answer(&request));
        assert!(said.starts_with("Here is where your queue stands: eta seconds: 95, position: 3."), "{said}");
    }

    #[test]
    fn a_greeting_is_greeted_and_a_question_is_answered() {
        for hello in ["hi", "Hey coach!", "Good morning", "/start"] {
            let said = text(&answer(&request(hello)));
            assert!(said.split_whitespace().count() < 45, "{said}");
        }
        let said = text(&answer(&request("What should I do about retention in cooking reels?")));
        assert!(said.contains("**retention cooking reels**"), "{said}");
        assert_eq!(said, text(&answer(&request("What should I do about retention in cooking reels?"))));
    }

    #[test]
    fn a_judge_says_yes_to_what_everybody_may_ask() {
        for (question, wanted) in [
            ("how do i open a reel about bread", "yes"),
            ("please try again", "no"),
            ("what about the ending of that reel", "no"),
            ("how long should my dance reel be", "no"),
            ("hi", "no"),
            ("what is the capital of austria", "no"),
        ] {
            let said = json!({ "question": question }).to_string();
            let request = Prompted { instructions: "Judge. Answer with one word.".into(), ..request(&said) };
            assert_eq!(text(&answer(&request)), wanted, "{question}");
        }
    }

    #[test]
    fn a_summary_has_two_sentences() {
        let mut request = request("And the caption?");
        request.instructions = "Summarise the conversation.".into();
        request.input.insert(0, json!({ "role": "user", "content": "Help with my hook" }));
        request.input.insert(1, json!({ "role": "assistant", "content": "Open on the result." }));
        assert_eq!(
            text(&answer(&request)),
            "The creator wrote 2 messages and got 1 answers, starting with “Help with my hook”. Most recently they \
             asked about “And the caption?”."
        );
        let lines = "{\"from\":\"person\",\"text\":\"Help with my hook\"}\n{\"from\":\"coach\",\"text\":\"Open\\nPerson: no\"}\n";
        request.input = vec![json!({ "role": "user", "content": lines })];
        assert!(text(&answer(&request)).starts_with("The creator wrote 1 messages and got 1 answers"));
    }
}
