//! Splits Markdown source for platforms that show Markdown themselves. Owns the code fences at the
//! cuts: closed at the end of a piece, opened again in the next. Never changes a word.

use pulldown_cmark::{Event, Options, Parser, Tag};

use super::cut::{self, Places};
use super::{measure, prefix};
use crate::core::chat::LengthUnit;

/// The pieces of `markdown`, each at most `limit` (taken as at least 64) in `unit`, in order.
///
/// A cut is made at a paragraph, else a line, a sentence, a word, a grapheme. What is dropped at a
/// cut: white space outside code; in a code block one line break, or nothing if a line of code is
/// longer than a piece. What is added: the fence lines that close and reopen a code block. A fence
/// that the source leaves open is closed at the end.
pub fn split(markdown: &str, unit: LengthUnit, limit: usize) -> Vec<String> {
    let source =
        if markdown.contains('\r') { markdown.replace("\r\n", "\n").replace('\r', "\n") } else { markdown.to_owned() };
    parts(&source, unit, limit.max(64)).into_iter().map(|part| part.text(&source)).collect()
}

/// One piece: a range of the source and the lines added around it.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    start: usize,
    end: usize,
    before: String,
    after: String,
}

impl Part {
    fn text(&self, source: &str) -> String {
        format!("{}{}{}", self.before, &source[self.start..self.end], self.after)
    }
}

/// A code block's fence.
struct Fence {
    /// What stands before the fence in its line, list markers as spaces.
    container: String,
    /// "```" or longer, or "~~~".
    marker: String,
    info: String,
}

impl Fence {
    fn close(&self) -> String {
        format!("\n{}{}", self.container, self.marker)
    }

    /// The opening line again; the rest of a quoted line that was cut gets its `>` back.
    fn reopen(&self, mid_line: bool) -> String {
        let again = if mid_line && self.container.contains('>') { self.container.as_str() } else { "" };
        format!("{}{}{}\n{again}", self.container, self.marker, self.info)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Prose,
    /// The index is that of the fence.
    Open(usize),
    Code(usize),
    Close,
}

struct Line {
    start: usize,
    /// Without the line break.
    end: usize,
    place: Place,
}

fn parts(source: &str, unit: LengthUnit, limit: usize) -> Vec<Part> {
    let map = Map::new(source, unit, limit);
    let mut parts = Vec::new();
    let space = source.len() - source.trim_start().len();
    let mut start = source[..space].rfind('\n').map_or(0, |at| at + 1);
    while start < source.len() {
        let rest = &source[start..];
        let line = map.line(start);
        let open = match line.place {
            Place::Code(fence) => Some(&map.fences[fence]),
            _ if rest.trim_start().is_empty() => break,
            _ => None,
        };
        let before = open.map(|fence| fence.reopen(start > line.start)).unwrap_or_default();
        let budget = limit.saturating_sub(measure(&before, unit)).max(1);

        let last = map.unclosed().map(Fence::close).unwrap_or_default();
        if prefix(rest, unit, budget.saturating_sub(measure(&last, unit))) == rest.len() {
            let mut end = source.len();
            if map.unclosed().is_none() {
                end = start + rest.trim_end().len();
            }
            if end > start {
                parts.push(Part { start, end, before, after: last });
            }
            break;
        }

        let max = prefix(rest, unit, budget).min(rest.len() - 1);
        let closing = map.longest_close(start, start + max, unit);
        let max_code = prefix(rest, unit, budget.saturating_sub(closing));
        let places = Places {
            verbatim: &|at| map.verbatim(start + at),
            possible: &|at| map.possible(start + at, start + max_code),
            nice: &|at| map.nice(start, start + at),
        };
        let max = rest.floor_char_boundary(max).max(rest.ceil_char_boundary(1).min(rest.len()));
        let cut = cut::best(rest, max, &places);
        let end = start + cut.end;
        let after = match map.line(end).place {
            Place::Code(fence) => map.fences[fence].close(),
            _ => String::new(),
        };
        if !before.is_empty() || !source[start..end].trim().is_empty() {
            parts.push(Part { start, end, before, after });
        }
        start += cut.next.max(1);
    }
    parts
}

/// What stands where in the source.
struct Map<'a> {
    source: &'a str,
    lines: Vec<Line>,
    fences: Vec<Fence>,
    /// Links and other spans that should stay in one piece, in order, not overlapping.
    atoms: Vec<(usize, usize)>,
}

impl<'a> Map<'a> {
    fn new(source: &'a str, unit: LengthUnit, limit: usize) -> Self {
        let (lines, fences) = scan(source, unit, limit);
        Self { source, lines, fences, atoms: atoms(source, unit, limit) }
    }

    fn line(&self, at: usize) -> &Line {
        let index = self.lines.partition_point(|line| line.start <= at).saturating_sub(1);
        &self.lines[index]
    }

    fn verbatim(&self, at: usize) -> bool {
        let line = self.line(at);
        match line.place {
            Place::Prose => false,
            Place::Open(_) | Place::Code(_) => true,
            Place::Close => at < line.end,
        }
    }

    /// A fence line is never cut, and no piece ends with an opening line or begins with a closing one.
    fn possible(&self, at: usize, max_code: usize) -> bool {
        let line = self.line(at);
        match line.place {
            Place::Prose => true,
            Place::Open(_) => at == line.start,
            Place::Code(_) => {
                at > line.start
                    && at <= max_code
                    && (at < line.end || at + 1 >= self.source.len() || self.line(at + 1).place != Place::Close)
            }
            Place::Close => at == line.end,
        }
    }

    /// A cut at `at`, in a piece that begins at `start`, tears no span, and the rest of its line does
    /// not become a fence by standing at the start of a line.
    fn nice(&self, start: usize, at: usize) -> bool {
        let line = self.line(at);
        let rest = &self.source[at..line.end.max(at).min(self.source.ceil_char_boundary(at + 64))];
        if at > line.start && fence(rest.trim_start()).is_some() {
            return false;
        }
        let index = self.atoms.partition_point(|&(atom, _)| atom < at);
        // An atom that began before this piece is torn already.
        index == 0 || self.atoms[index - 1].1 <= at || self.atoms[index - 1].0 < start
    }

    fn longest_close(&self, from: usize, to: usize, unit: LengthUnit) -> usize {
        let first = self.lines.partition_point(|line| line.start <= from).saturating_sub(1);
        let inside = self.lines[first..].iter().take_while(|line| line.start <= to);
        let fences = inside.filter_map(|line| if let Place::Code(fence) = line.place { Some(fence) } else { None });
        fences.map(|fence| measure(&self.fences[fence].close(), unit)).max().unwrap_or(0)
    }

    fn unclosed(&self) -> Option<&Fence> {
        match self.lines.last()?.place {
            Place::Open(fence) | Place::Code(fence) => Some(&self.fences[fence]),
            _ => None,
        }
    }
}

/// The lines, with the code blocks that stand in lists and quotes too. More generous than CommonMark
/// about indentation: chat platforms are, and models indent fences as they like.
fn scan(source: &str, unit: LengthUnit, limit: usize) -> (Vec<Line>, Vec<Fence>) {
    let mut lines = Vec::new();
    let mut fences: Vec<Fence> = Vec::new();
    let mut open = false;
    let mut start = 0;
    for text in source.split('\n') {
        let end = start + text.len();
        // A fence line must leave room for the code between two of them.
        let short = text.len() <= 4 * limit && measure(text.trim_end(), unit) <= limit / 3;
        let place = match fences.last() {
            Some(fence) if open => {
                if short && closes(text, fence) {
                    open = false;
                    Place::Close
                } else {
                    Place::Code(fences.len() - 1)
                }
            }
            _ => match fence(text).filter(|_| short) {
                Some(mut fence) => {
                    if measure(&fence.reopen(true), unit) > limit / 3 {
                        fence.info.clear();
                    }
                    fences.push(fence);
                    open = true;
                    Place::Open(fences.len() - 1)
                }
                None => Place::Prose,
            },
        };
        lines.push(Line { start, end, place });
        start = end + 1;
    }
    (lines, fences)
}

/// The fence that `line` opens, if it does.
fn fence(line: &str) -> Option<Fence> {
    let at = container(line);
    let rest = &line[at..];
    let mark = rest.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let count = rest.chars().take_while(|&c| c == mark).count();
    let info = rest[count..].trim_end();
    if count < 3 || (mark == '`' && info.contains('`')) {
        return None;
    }
    let container = line[..at].chars().map(|c| if matches!(c, '>' | '\t') { c } else { ' ' }).collect();
    Some(Fence { container, marker: rest[..count].to_owned(), info: info.to_owned() })
}

/// The length of the indentation, quote signs and list markers at the start of a line.
fn container(line: &str) -> usize {
    let bytes = line.as_bytes();
    let mut at = 0;
    loop {
        match bytes.get(at) {
            Some(b' ' | b'\t' | b'>') => at += 1,
            Some(b'-' | b'*' | b'+') if matches!(bytes.get(at + 1), Some(b' ' | b'\t')) => at += 2,
            Some(b'0'..=b'9') => {
                let digits = bytes[at..].iter().take_while(|b| b.is_ascii_digit()).count();
                let after = (bytes.get(at + digits), bytes.get(at + digits + 1));
                if digits > 9 || !matches!(after, (Some(b'.' | b')'), Some(b' ' | b'\t'))) {
                    return at;
                }
                at += digits + 2;
            }
            _ => return at,
        }
    }
}

fn closes(line: &str, fence: &Fence) -> bool {
    let line = line.trim_start_matches([' ', '\t', '>']).trim_end();
    line.len() >= fence.marker.len() && fence.marker.chars().next().is_some_and(|mark| line.chars().all(|c| c == mark))
}

/// Links that fit into a piece; other spans only if they are short against it, because keeping a long
/// bold paragraph together would leave holes.
fn atoms(source: &str, unit: LengthUnit, limit: usize) -> Vec<(usize, usize)> {
    let mut atoms: Vec<(usize, usize)> = Vec::new();
    for (event, range) in Parser::new_ext(source, Options::ENABLE_STRIKETHROUGH).into_offset_iter() {
        let most = match event {
            Event::Start(Tag::Link { .. } | Tag::Image { .. }) => limit,
            Event::Start(Tag::Strong | Tag::Emphasis | Tag::Strikethrough) | Event::Code(_) => limit / 4,
            Event::Start(Tag::Heading { .. }) => {
                // A heading and the line break after it: it is not left alone at the end of a piece.
                let end = (range.end + 1).min(source.len());
                if range.len() <= limit / 4 {
                    atoms.push((range.start, source.ceil_char_boundary(end)));
                }
                continue;
            }
            _ => continue,
        };
        if range.len() <= 4 * limit && measure(&source[range.clone()], unit) <= most {
            atoms.push((range.start, range.end));
        }
    }
    atoms.sort_unstable();
    let mut apart: Vec<(usize, usize)> = Vec::new();
    for (start, end) in atoms {
        match apart.last_mut() {
            Some(last) if start < last.1 => last.1 = last.1.max(end),
            _ => apart.push((start, end)),
        }
    }
    apart
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::text::tests::markdown;

    /// Whether a reader that knows nothing but the lines sees every block closed.
    fn balanced(text: &str) -> bool {
        let mut open: Option<Fence> = None;
        for line in text.split('\n') {
            open = match open {
                Some(fence) if closes(line, &fence) => None,
                Some(fence) => Some(fence),
                None => fence(line),
            };
        }
        open.is_none()
    }

    #[test]
    fn a_cut_block_is_closed_and_reopened_with_its_language() {
        let code: Vec<String> = (0..12).map(|n| format!("    let line_{n} = {n};")).collect();
        let source = format!("Intro.\n\n```rust\n{}\n```\n\nDone.", code.join("\n"));
        let pieces = split(&source, LengthUnit::Chars, 170);
        assert_eq!(pieces.len(), 2, "{pieces:#?}");
        assert!(pieces[0].starts_with("Intro.\n\n```rust\n    let line_0") && pieces[0].ends_with(";\n```"));
        assert!(
            pieces[1].starts_with("```rust\n    let line_") && pieces[1].ends_with("let line_11 = 11;\n```\n\nDone."),
            "{pieces:#?}"
        );
    }

    #[test]
    fn a_block_in_a_list_or_quote_keeps_its_place() {
        let long = ["first line of code", "second line of code", "third line of code", "fourth line of it"];
        for (indent, open) in [("  ", "- ~~~~py"), ("> ", "> ~~~~py"), ("   ", "1. ~~~~py")] {
            let code: Vec<String> = long.iter().map(|line| format!("{indent}{line}")).collect();
            let source = format!("{open}\n{}\n{indent}~~~~", code.join("\n"));
            let pieces = split(&source, LengthUnit::Chars, 64);
            assert!(pieces.len() > 1);
            for piece in &pieces {
                assert!(balanced(piece) && piece.chars().count() <= 64, "{piece}");
            }
            assert!(pieces[1].starts_with(&format!("{indent}~~~~py\n{indent}")), "{}", pieces[1]);
        }
    }

    #[test]
    fn links_lists_and_headings_stay_whole() {
        let link = "[the whole guide to hooks](https://example.org/guide)";
        let source = format!("{} {link}", "word ".repeat(8).trim());
        assert_eq!(split(&source, LengthUnit::Chars, 64)[1], link);
        let source = format!("{}\n\n## Title\n\n{}", "word ".repeat(8).trim(), "text ".repeat(9).trim());
        assert!(split(&source, LengthUnit::Chars, 64)[1].starts_with("## Title\n\ntext"));
        let source = (1..=9).map(|n| format!("{n}. an item of some length")).collect::<Vec<_>>().join("\n");
        let pieces = split(&source, LengthUnit::Chars, 64);
        assert!(pieces[1].starts_with("3. an item"), "{}", pieces[1]);
    }

    #[test]
    fn endless_texts_are_split_in_passing() {
        for pattern in [
            "word ",
            "x",
            "```\ncode\n",
            "[",
            "> ",
            "- ",
            "**a** ",
            "`",
            "\n",
            "| a ",
            "[a](b) ",
            "<",
            "é\u{301}",
            "| a | b |\n|---|---|\n",
        ] {
            let source = pattern.repeat(200_000 / pattern.len());
            let pieces = split(&source, LengthUnit::Utf16, 2000);
            assert!(pieces.iter().all(|piece| measure(piece, LengthUnit::Utf16) <= 2000), "{pattern}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        /// The parts without their added lines and the source between them are the source; between
        /// them is white space outside code, and one line break or nothing in code.
        #[test]
        fn nothing_is_lost(source in markdown(), limit in 64usize..300, chars in any::<bool>()) {
            let unit = if chars { LengthUnit::Chars } else { LengthUnit::Utf16 };
            let source = source.replace('\r', "");
            let parts = parts(&source, unit, limit);
            // A fence line that is longer than the rules allow for is prose to the splitter.
            let odd = source.split('\n').any(|line| fence(line).is_some() && measure(line.trim_end(), unit) > limit / 3);
            let mut done = 0;
            for part in &parts {
                let between = &source[done..part.start];
                if part.before.is_empty() {
                    prop_assert!(between.trim().is_empty(), "lost {:?}", between);
                } else {
                    prop_assert!(between.is_empty() || between == "\n", "lost {:?} in code", between);
                    prop_assert!(done > 0);
                }
                let text = part.text(&source);
                prop_assert!(measure(&text, unit) <= limit, "{} > {}: {:?}", measure(&text, unit), limit, text);
                prop_assert!(odd || balanced(&text), "open fence in {:?}", text);
                done = part.end;
            }
            prop_assert!(source[done..].trim().is_empty());
        }
    }
}
