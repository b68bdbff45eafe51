//! Where a text that is too long is best cut: at a paragraph, else a line, a sentence, a word, a
//! grapheme. Owns the choice among places; never knows a markup or a length unit.

use unicode_segmentation::UnicodeSegmentation;

/// A cut: the piece ends before `end`, the next one begins at `next`; what lies between is dropped.
/// Outside code that is white space only; in code it is one line break or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub end: usize,
    pub next: usize,
}

/// What is known about the byte positions of the text.
pub(super) struct Places<'a> {
    /// The byte belongs to code, whose white space is kept exactly.
    pub verbatim: &'a dyn Fn(usize) -> bool,
    /// A piece may end before this byte at all.
    pub possible: &'a dyn Fn(usize) -> bool,
    /// A cut here tears nothing apart that belongs together (a link, a heading and its text).
    pub nice: &'a dyn Fn(usize) -> bool,
}

/// The best cut of `text` with `end <= max`. `max` is less than the length of the text, and a piece
/// always gets at least one character, so that a caller that goes on from `next` comes to an end.
pub(super) fn best(text: &str, max: usize, places: &Places<'_>) -> Cut {
    let last = candidates(text, max, places);
    let found =
        PREFERENCE.iter().find_map(|&(rank, parts)| last[rank as usize].filter(|cut| cut.end * 4 >= max * parts));
    found.unwrap_or_else(|| {
        let end = inside_word(text, max, places);
        let next = if (places.verbatim)(end) {
            end + usize::from(text[end..].starts_with('\n'))
        } else {
            after_space(text, end, places.verbatim)
        };
        Cut { end, next }
    })
}

/// The position after the white space that begins at `from`, stopping before code. If there is a line
/// break in it, the position after the last one, because the indentation of a line means something.
pub(super) fn after_space(text: &str, from: usize, verbatim: &dyn Fn(usize) -> bool) -> usize {
    let mut line = None;
    let mut end = from;
    for (at, c) in text[from..].char_indices() {
        if !c.is_whitespace() || verbatim(from + at) {
            break;
        }
        end = from + at + c.len_utf8();
        if c == '\n' {
            line = Some(end);
        }
    }
    line.unwrap_or(end)
}

#[derive(Clone, Copy)]
enum Rank {
    Paragraph,
    Line,
    CodeLine,
    Sentence,
    Word,
    CodeWord,
}

/// Which kind of place is taken first, and how many quarters of the piece must be full for it.
const PREFERENCE: [(Rank, usize); 13] = [
    (Rank::Paragraph, 2),
    (Rank::Line, 2),
    (Rank::Paragraph, 1),
    (Rank::Line, 1),
    (Rank::CodeLine, 1),
    (Rank::Sentence, 1),
    (Rank::Word, 1),
    (Rank::Paragraph, 0),
    (Rank::Line, 0),
    (Rank::CodeLine, 0),
    (Rank::Sentence, 0),
    (Rank::Word, 0),
    (Rank::CodeWord, 2),
];

/// The last place of each rank.
fn candidates(text: &str, max: usize, places: &Places<'_>) -> [Option<Cut>; 6] {
    let mut last = [None; 6];
    let mut line_start = 0;
    let mut resume = 0;
    for (at, c) in text.char_indices() {
        if at > max {
            break;
        }
        if at < resume || at == 0 {
            continue;
        }
        let verbatim = (places.verbatim)(at);
        let found = if verbatim && c == '\n' {
            Some((Rank::CodeLine, Cut { end: at, next: at + 1 }))
        } else if verbatim {
            text[..at].ends_with([' ', '\t', ',', ';']).then_some((Rank::CodeWord, Cut { end: at, next: at }))
        } else if may_break(c) {
            let next = after_space(text, at, places.verbatim);
            let space = &text[at..next];
            resume = next;
            let breaks = space.matches('\n').count();
            let head = &text[line_start..at];
            if breaks > 0 {
                line_start = next;
            }
            if joined_to_next(text, next) || leads_a_line(head) {
                None
            } else {
                let rank = match breaks {
                    0 if ends_sentence(head) => Rank::Sentence,
                    0 => Rank::Word,
                    1 => Rank::Line,
                    _ => Rank::Paragraph,
                };
                Some((rank, Cut { end: at, next }))
            }
        } else {
            let before = text[..at].chars().next_back();
            let ends = before.is_some_and(|b| matches!(b, '。' | '！' | '？')) && c.is_alphanumeric();
            ends.then_some((Rank::Sentence, Cut { end: at, next: at }))
        };
        if c == '\n' && verbatim {
            line_start = at + 1;
        }
        if let Some((rank, cut)) = found
            && (places.possible)(cut.end)
            && (places.nice)(cut.end)
        {
            last[rank as usize] = Some(cut);
        }
    }
    last
}

/// A place within an endless word: between what Unicode calls words (which finds something in Chinese
/// and Japanese), else between graphemes, else between characters.
fn inside_word(text: &str, max: usize, places: &Places<'_>) -> usize {
    let window = &text[..text.ceil_char_boundary(max + 128)];
    let fits = |&at: &usize| at > 0 && at <= max && (places.possible)(at);
    let nice = |at: &usize| (places.nice)(*at);
    let words = || window.split_word_bound_indices().map(|(at, _)| at).take_while(|&at| at <= max);
    let graphemes = || window.grapheme_indices(true).map(|(at, _)| at).take_while(|&at| at <= max);
    words()
        .filter(|at| at * 2 >= max)
        .filter(fits)
        .filter(nice)
        .last()
        .or_else(|| graphemes().filter(fits).filter(nice).last())
        .or_else(|| graphemes().filter(fits).last())
        .or_else(|| window.char_indices().map(|(at, _)| at).filter(fits).last())
        .unwrap_or_else(|| text.ceil_char_boundary(1))
}

fn may_break(c: char) -> bool {
    c.is_whitespace() && !matches!(c, '\u{a0}' | '\u{2007}' | '\u{202f}')
}

/// A combining mark at `at` belongs to the white space before it.
fn joined_to_next(text: &str, at: usize) -> bool {
    let Some(next) = text[at..].chars().next().filter(|c| !c.is_ascii()) else { return false };
    let Some(space) = text[..at].chars().next_back() else { return false };
    let pair: String = [space, next].iter().collect();
    pair.graphemes(true).count() == 1
}

/// Indentation, `- `, `1. `, `> `, `## `: the text of the line belongs to it.
fn leads_a_line(head: &str) -> bool {
    let head = head.trim();
    head.len() <= 12
        && (head.chars().all(|c| matches!(c, '-' | '*' | '+' | '•' | '>' | '#' | ' '))
            || head.strip_suffix(['.', ')']).is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit())))
}

fn ends_sentence(head: &str) -> bool {
    let head = head.trim_end_matches([')', ']', '"', '\'', '»', '”', '’', '*', '_']);
    head.ends_with(['.', '!', '?', '…', '。', '！', '？', '؟', '۔', '।'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str, max: usize) -> (&str, &str) {
        let places = Places { verbatim: &|_| false, possible: &|_| true, nice: &|_| true };
        let cut = best(text, max, &places);
        (&text[..cut.end], &text[cut.next..])
    }

    #[test]
    fn the_largest_unit_that_fills_the_piece_wins() {
        for (text, max, want) in [
            ("One. Two. Three.\n\nFour five\nsix", 29, ("One. Two. Three.", "Four five\nsix")),
            ("One. Two.\nThree four five six", 14, ("One. Two.", "Three four five six")),
            ("One two. Three four", 15, ("One two.", "Three four")),
            ("One two three", 9, ("One two", "three")),
            ("Onetwothree", 5, ("Onetw", "othree")),
            ("a\n\n  - indented", 6, ("a", "  - indented")),
            ("Intro words\n- item number one", 13, ("Intro words", "- item number one")),
            ("你好世界。再见世界", 18, ("你好世界。", "再见世界")),
        ] {
            assert_eq!(cut(text, max), want, "{text:?} at {max}");
        }
    }

    #[test]
    fn a_cluster_is_kept_whole() {
        let family = "👨‍👩‍👧‍👦";
        let text = format!("{family}{family}");
        assert_eq!(cut(&text, family.len() + 3), (family, family));
        assert_eq!(cut("ae\u{301}\u{302}b", 3), ("a", "e\u{301}\u{302}b"));
        // A cluster larger than the piece is cut all the same: never a loop.
        assert_eq!(cut("e\u{301}\u{302}b", 3), ("e\u{301}", "\u{302}b"));
    }
}
