//! Coaching about a reel, from its transcript: the built-in coach's longest answer. Pure and deterministic.

/// A transcript as it stands in a message, between a line that starts with `<reel` and one that starts with `</reel`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reel {
    /// The tag names the reel, so that it is one also without a spoken line.
    is_named: bool,
    lines: Vec<Line>,
    caption: Option<String>,
    /// What a workflow wrote about it, or its summary.
    notes: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    /// As written: `0:07`.
    at: String,
    second: u64,
    words: String,
}

/// The last reel in a text, if it has one that is named or has a spoken line.
pub(super) fn find(text: &str) -> Option<Reel> {
    let mut reel: Option<Reel> = None;
    let mut open = false;
    // Lines with a time are speech until a section says that they are something else.
    let mut said = true;
    for line in text.lines().map(str::trim) {
        if line.starts_with("<reel") {
            open = true;
            said = true;
            let is_named = attribute(line, "shortcode").is_some();
            reel = Some(Reel { is_named, caption: attribute(line, "caption"), ..Reel::default() });
        } else if line.starts_with("</reel") {
            open = false;
        } else if open && let Some(reel) = &mut reel {
            if let Some(caption) = line.get(..8).filter(|name| name.eq_ignore_ascii_case("caption:")) {
                reel.caption = line.get(caption.len()..).map(unquoted);
            }
            if let Some(notes) = line.strip_prefix("Notes:").or(line.strip_prefix("Summary:")) {
                reel.notes = Some(unquoted(notes));
            }
            let lower = line.to_ascii_lowercase();
            if lower.starts_with("transcript") {
                said = true;
            } else if ["on-screen text:", "scenes:", "notes:"].iter().any(|title| lower.starts_with(title)) {
                said = false;
            }
            reel.lines.extend(spoken(line).filter(|_| said));
        }
    }
    reel.filter(|reel| reel.is_named || !reel.lines.is_empty())
}

/// The first words of the reel's, without those that a platform would make more of: as the instructions want it.
fn quote(text: &str, words: usize) -> String {
    let is_word = |word: &&str| {
        let inner = word.trim_matches(|c: char| !c.is_alphanumeric());
        !word.contains(['[', ']', '<', '>', '*', '_', '`', '|', '~', '@', '#', '\\', '/'])
            && !inner.contains(['.', ':'])
    };
    let kept: Vec<&str> = text.split_whitespace().map(|word| if is_word(&word) { word } else { "…" }).collect();
    opening(&kept.join(" "), words)
}

/// A string of JSON as its text; anything else as it is.
fn unquoted(text: &str) -> String {
    let text = text.trim();
    let first = serde_json::Deserializer::from_str(text).into_iter::<String>().next();
    first.and_then(Result::ok).unwrap_or_else(|| text.to_owned())
}

/// 150 to 220 words of Markdown that quote the transcript.
pub(super) fn coaching(reel: &Reel) -> String {
    let (Some(hook), Some(last)) = (reel.lines.first(), reel.lines.last()) else { return silent(reel) };
    let mut text = format!("{}\n\n", intro(reel));
    text.push_str(&format!("**Hook**\nAt {} you say “{}”. {}\n\n", hook.at, quote(&hook.words, 9), hook_note(hook)));
    text.push_str(&format!("**Structure**\n{}\n\n", structure(reel)));
    text.push_str(&format!("**Pacing**\n{}\n\n", pacing(reel)));
    text.push_str(&format!("**Call to action**\n{}\n\n", call_to_action(reel, last)));
    text.push_str(&format!("**Caption**\n{}", caption(reel, hook)));
    text
}

/// About a reel without a transcript: its pictures, and what else is known of it.
fn silent(reel: &Reel) -> String {
    let about = match reel.notes.as_deref().or(reel.caption.as_deref()).filter(|text| !text.is_empty()) {
        Some(text) => format!("I have no words from this one, but this much I know: “{}”.", quote(text, 12)),
        None => "Nobody speaks in this one, so the pictures and the text on them have to carry everything.".to_owned(),
    };
    format!(
        "{about}\n\n**Hook**\nWithout a voice the first frame is the hook. Start on the finished result, or on the moment before \
         something happens, and put five words on it that open a question.\n\n**Structure**\nThree beats are enough: what it is, what \
         you do, what came of it. Give each its own shot, and let the text change with the shot and never in the middle of it.\n\n\
         **Pacing**\nCut on the beat, and hold every text long enough to be read twice aloud. If a shot lasts longer than three \
         seconds, something in it has to move.\n\n**Call to action**\nSay it on screen in the last two seconds: one request, with a \
         reason, such as “save this for your next shoot”.\n\n**Caption**\nHere the caption does the talking. Put the promise into the \
         first line, because only that one is seen, and end on a question that takes one word to answer."
    )
}

/// A line such as `[0:07] some words` or `[0:07-0:10] some words`.
fn spoken(line: &str) -> Option<Line> {
    let (stamp, words) = line.strip_prefix('[')?.split_once(']')?;
    let at = stamp.split(['-', '–', ' ']).next()?.trim();
    let mut second = 0_u64;
    for part in at.split(':') {
        second = second.checked_mul(60)?.checked_add(part.parse().ok()?)?;
    }
    let words = unquoted(words);
    let is_stamp = at.contains(':') && !words.is_empty();
    is_stamp.then(|| Line { at: at.to_owned(), second, words })
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!("{name}=\""))?;
    rest.split_once('"').map(|(value, _)| value.to_owned()).filter(|value| !value.is_empty())
}

fn intro(reel: &Reel) -> &'static str {
    let key: String = reel.lines.iter().map(|line| line.words.as_str()).collect();
    match seed(&key) % 3 {
        0 => "There is a good reel in here. This is what I would keep, and what I would change before the next take.",
        1 => "I went through it line by line. The idea carries; the order and the ending can work harder for you.",
        _ => "Nice material. A few small edits would make more people stay, and most of them need no new footage.",
    }
}

fn hook_note(hook: &Line) -> &'static str {
    let lower = hook.words.to_lowercase();
    if lower.contains('?') {
        "A question is a fair start, but viewers answer it silently and scroll on. Put the surprising half of your answer first."
    } else if lower.chars().any(|c| c.is_ascii_digit()) {
        "The number makes it concrete, which is what stops a thumb. Show that number large on screen from the very first frame, before your face moves."
    } else if lower.contains("you") {
        "It speaks to the viewer, which is right. Make the promise sharper: say what they will be able to do by the end, in fewer words."
    } else {
        "It tells me the subject, not yet why I should stay. Open with the result or the mistake, and move this line to second place."
    }
}

fn structure(reel: &Reel) -> String {
    let middle = reel.lines.get(reel.lines.len() / 2).filter(|_| reel.lines.len() > 2);
    match middle {
        Some(line) => format!(
            "The turn comes at {} with “{}”. Everything before it is set-up, so ask of each line whether the turn still works \
             without it. One problem, one step, one result is enough; move side remarks to another reel.",
            line.at,
            quote(&line.words, 8)
        ),
        None => "There is hardly a middle yet. Give it three beats: the problem, what you did about it, and what came of it. One \
                 short shot for each keeps the eye busy and gives your last line something to stand on."
            .into(),
    }
}

fn pacing(reel: &Reel) -> String {
    let words: usize = reel.lines.iter().map(|line| line.words.split_whitespace().count()).sum();
    let start = reel.lines.first().map_or(0, |line| line.second);
    let end = reel.lines.last().map_or(0, |line| line.second);
    let gap = reel.lines.windows(2).filter_map(|pair| match pair {
        [a, b] => Some((b.second.saturating_sub(a.second), a.at.as_str(), b.at.as_str())),
        _ => None,
    });
    let longest = gap.max_by_key(|(length, ..)| *length).filter(|(length, ..)| *length > 0);
    let speed = match u64::try_from(words).unwrap_or(0).saturating_mul(60).checked_div(end.saturating_sub(start)) {
        None => "too short a piece to judge the speed".to_owned(),
        Some(pace @ ..120) => format!("about {pace} words a minute: calm, so the pictures must move instead"),
        Some(pace @ 120..190) => format!("about {pace} words a minute: a comfortable speed for a reel"),
        Some(pace) => format!("about {pace} words a minute: fast, so leave a breath before the turn"),
    };
    let rest = match longest {
        Some((_, from, to)) => {
            format!("The longest stretch without a new line runs from {from} to {to}; cut there or change the angle.")
        }
        None => "Change the angle or the text on screen every two or three seconds.".into(),
    };
    format!("{words} words over {} lines, {speed}. {rest}", reel.lines.len())
}

fn call_to_action(reel: &Reel, last: &Line) -> String {
    const ASKS: &[&str] = &["follow", "comment", "save", "share", "link", "subscribe", "tell me", "send", "dm"];
    let lower = last.words.to_lowercase();
    let asks =
        ASKS.iter().any(|ask| lower.split(|c: char| !c.is_alphanumeric() && c != ' ').any(|part| part.contains(ask)));
    let quote = if reel.lines.len() > 1 {
        format!("You close at {} with “{}”.", last.at, quote(&last.words, 9))
    } else {
        "Your opening is also your ending.".to_owned()
    };
    let note = if asks {
        "Good that you ask. Ask for one thing only, and say what they get for it."
    } else {
        "That ends the story, but asks for nothing. Add one request with a reason, such as “save this for your next shoot”."
    };
    format!("{quote} {note}")
}

fn caption(reel: &Reel, hook: &Line) -> String {
    match &reel.caption {
        Some(caption) if !caption.is_empty() => format!(
            "Yours starts “{}”. Put the promise into the first line, because the rest is folded away, and end on a question that \
             takes one word to answer.",
            quote(caption, 7)
        ),
        _ => format!(
            "Start it with the promise, for example “{}”, because only the first line is seen. End on a question that takes one \
             word to answer.",
            quote(&hook.words, 7)
        ),
    }
}

/// A number that depends on the text alone.
pub(super) fn seed(text: &str) -> usize {
    // FNV-1a: the standard library's hasher may change from one Rust to the next.
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    usize::try_from(hash).unwrap_or(0)
}

/// The first words of a text, on one line; `…` stands for the rest.
pub(super) fn opening(text: &str, words: usize) -> String {
    let all: Vec<&str> = text.split_whitespace().collect();
    let cut: String = all.iter().take(words).copied().collect::<Vec<_>>().join(" ").chars().take(words * 16).collect();
    let trimmed = cut.trim_end_matches(['.', ',', ';', ':', '!']);
    if all.len() > words { format!("{trimmed}…") } else { trimmed.to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MESSAGE: &str = "Coach me on this.\n<reel shortcode=\"Abc\">\nCaption: My kitchen light trick\n[0:00] You are lighting \
        your food wrong\n[0:07] I did this for years until a chef stopped me\n[0:15-0:19] Turn the plate to the window\nnot a line\n\
        [0:24] Save this for your next shoot\n</reel>\n[0:30] not in it";

    fn words(text: &str) -> usize {
        text.split_whitespace().count()
    }

    #[test]
    fn it_quotes_the_transcript() {
        let reel = find(MESSAGE).expect("a reel");
        assert_eq!(reel.lines.len(), 4);
        assert_eq!(reel.caption.as_deref(), Some("My kitchen light trick"));
        let text = coaching(&reel);
        for part in [
            "At 0:00 you say “You are lighting your food wrong”",
            "at 0:15 with “Turn the plate to the window”",
            "at 0:24 with “Save this for your next shoot”. Good that you ask.",
            "Yours starts “My kitchen light trick”",
            "from 0:15 to 0:24",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        for section in ["**Hook**", "**Structure**", "**Pacing**", "**Call to action**", "**Caption**"] {
            assert!(text.contains(section), "{section}");
        }
        assert_eq!(text, coaching(&find(MESSAGE).expect("a reel")));
    }

    #[test]
    fn texts_are_strings_of_json() {
        let block = "<reel-0f1e shortcode=\"Abc\">\nCaption: \"One \\u003c3\\ntwo\"\nTranscript:\n[0:00] \"Say \\\"cheese\\\"\" \n\
            [0:03] \"Follow me\" (cut)\n</reel-0f1e>";
        let reel = find(block).expect("a reel");
        assert_eq!(reel.caption.as_deref(), Some("One <3\ntwo"));
        let words: Vec<&str> = reel.lines.iter().map(|line| line.words.as_str()).collect();
        assert_eq!(words, ["Say \"cheese\"", "Follow me"]);
    }

    #[test]
    fn a_reel_without_words_is_coached_too() {
        for (block, about) in [
            ("Caption: \"Golden hour\"\nTranscript: (no speech)\n[0:01] \"x\"", "“x”"),
            ("Caption: \"Golden hour\"\nTranscript: (no speech)", "“Golden hour”"),
            ("Notes: \"A workflow wrote this\"", "“A workflow wrote this”"),
            ("Transcript: (no speech)", "Nobody speaks"),
        ] {
            let reel = find(&format!("<reel-0f1e shortcode=\"Abc\">\n{block}\n</reel-0f1e>")).expect("a reel");
            let text = coaching(&reel);
            assert!(text.contains(about) && !text.contains("<reel"), "{text}");
            assert!((100..=220).contains(&words(&text)), "{}", words(&text));
        }
    }

    #[test]
    fn what_is_no_reel_is_none() {
        for text in [
            "",
            "<reel>",
            "<reel>\n</reel>",
            "[0:01] words",
            "<reel>\n[x] words\n[0:01]\n[99999999999999999999:1] w\n</reel>",
        ] {
            assert_eq!(find(text), None, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_is_always_about_as_long(lines in proptest::collection::vec((0u64..90, proptest::collection::vec("[a-z?0-9]{1,9}", 1..25)), 1..40), caption: bool) {
            let mut message = String::from("<reel id=\"x\">\n");
            if caption {
                message.push_str("caption: one two three four five six seven eight nine\n");
            }
            for (second, words) in &lines {
                message.push_str(&format!("[{}:{:02}] {}\n", second / 60, second % 60, words.join(" ")));
            }
            message.push_str("</reel>");
            let text = coaching(&find(&message).expect("a reel"));
            let count = words(&text);
            prop_assert!((150..=220).contains(&count), "{count} words: {text}");
        }

        #[test]
        fn nothing_can_break_it(text: String) {
            let _ = find(&text);
            let _ = find(&format!("<reel>\n{text}\n[0:00] {text}\n[{text}] a"));
        }
    }
}
