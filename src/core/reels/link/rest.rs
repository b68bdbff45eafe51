//! What a person says about the links of a message: its text without them. Owns what counts as decoration.

/// The text without these spans, in order, and without the brackets and signs around them.
pub(super) fn without(text: &str, spans: &[(usize, usize)]) -> String {
    if spans.is_empty() {
        return text.trim().to_owned();
    }
    // Bytes to leave out; a removed link leaves a mark by which the signs around it are recognised.
    let mut gone = vec![false; text.len()];
    let mut marks = vec![false; text.len()];
    for &(start, end) in spans {
        let (mut from, mut to) = (start, end);
        loop {
            let before = text[..from].chars().next_back();
            let after = text[to..].chars().next();
            let (Some(before), Some(after)) = (before, after) else { break };
            if text[..from].ends_with("](")
                && after == ')'
                && let Some(label) = text[..from - 2].rfind('[')
            {
                gone[label] = true;
                (from, to) = (from - 2, to + 1);
                break;
            }
            if !PAIRS.contains(&(before, after)) {
                break;
            }
            (from, to) = (from - before.len_utf8(), to + after.len_utf8());
        }
        gone[from..to].fill(true);
        marks[from] = true;
    }
    let mut lines = Vec::new();
    let mut marked = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        if marks[at] {
            marked.push(MARK);
        }
        if !gone[at] && c != MARK {
            marked.push(c);
        }
    }
    for line in marked.lines() {
        let words = line.split_whitespace().filter_map(|word| {
            let kept: String = word.chars().filter(|&c| c != MARK).collect();
            (kept.len() == word.len() || kept.chars().any(|c| c.is_alphanumeric())).then_some(kept)
        });
        let words: Vec<String> = words.collect();
        if !words.is_empty() {
            lines.push(words.join(" "));
        }
    }
    lines.join("\n")
}

const MARK: char = '\0';

/// What stands around a link and goes with it.
const PAIRS: [(char, char); 18] = [
    ('<', '>'),
    ('(', ')'),
    ('[', ']'),
    ('{', '}'),
    ('|', '|'),
    ('"', '"'),
    ('\'', '\''),
    ('`', '`'),
    ('*', '*'),
    ('_', '_'),
    ('~', '~'),
    ('“', '”'),
    ('„', '“'),
    ('‘', '’'),
    ('«', '»'),
    ('「', '」'),
    ('（', '）'),
    ('《', '》'),
];
