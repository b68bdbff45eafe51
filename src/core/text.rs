//! From Markdown to what a platform shows. Owns lengths, splitting and markup; pure, and never decides
//! what is said.

mod attach;
mod cut;
mod discord;
mod escape;
pub mod formatted;
mod html;
mod split;
mod table;

use crate::core::chat::{Body, File, LengthUnit, Markup, MessengerRules, Piece};
use formatted::Formatted;

pub use attach::without_files;
#[cfg(test)]
pub(crate) use escape::tests::hostile;
pub use escape::{escape, verbatim};
pub use split::split;
#[cfg(test)]
pub(crate) use tests::rules as test_rules;

/// An answer of more messages than this becomes its beginning and a file.
pub const MAX_PIECES: usize = 8;
/// The mark at the end of an answer that is still growing.
pub const CURSOR: &str = "▌";
/// The name of the file that holds an answer that is far too long.
pub const FILE_NAME: &str = "answer.md";

/// A whole answer for one platform: its pieces in order, at least one, with the files and the buttons on the
/// last and `private` on all. More than [`MAX_PIECES`] pieces of text become one piece with the beginning, which
/// says that the rest is in the attached file, and the full text as that file.
pub fn render(body: &Body, rules: &MessengerRules) -> Vec<Piece> {
    let mut source = tidy(&body.text);
    let (mut files, left_out) = attach::sort_out(&body.files, &rules.files);
    if let Some(left_out) = left_out {
        source = format!("{}\n\n{left_out}", source.trim_end());
    }
    let mut pieces = pieces(&source, rules, rules.limit);
    if pieces.len() > MAX_PIECES {
        let room = rules.limit.min(rules.files.caption).saturating_sub(measure(REST_IN_FILE, rules.unit) + 2);
        let beginning = pieces_of_beginning(&source, rules, room);
        let mut piece = Piece::default();
        if let Some(first) = beginning.into_iter().next() {
            piece.markup = format!("{}\n\n", first.markup);
            piece.plain = format!("{}\n\n", first.plain);
        }
        piece.markup.push_str(REST_IN_FILE);
        piece.plain.push_str(REST_IN_FILE);
        files.insert(0, File::text(FILE_NAME, body.text.clone()));
        pieces = vec![piece];
    }
    if pieces.is_empty() && files.is_empty() {
        pieces.push(Piece { markup: NOTHING.to_owned(), plain: NOTHING.to_owned(), ..Piece::default() });
    }
    attach::attach(&mut pieces, files, rules);
    if let Some(last) = pieces.last_mut() {
        last.buttons = body.buttons.clone();
    }
    for piece in &mut pieces {
        piece.private = body.private;
    }
    pieces
}

/// The newest state of an answer that is still growing, in one message: its first piece, open fences
/// closed, and [`CURSOR`] at the end of markup and plain text alike.
pub fn frame(markdown: &str, rules: &MessengerRules) -> Piece {
    let room = rules.limit.saturating_sub(measure(CURSOR, rules.unit) + 1);
    let first = pieces_of_beginning(&tidy(markdown), rules, room).into_iter().next().unwrap_or_default();
    let with_cursor = |text: String| {
        // A fence's line holds nothing but the fence.
        let gap = if text.ends_with("```") || text.ends_with("~~~") { "\n" } else { "" };
        format!("{text}{gap}{CURSOR}")
    };
    Piece { markup: with_cursor(first.markup), plain: with_cursor(first.plain), ..Piece::default() }
}

/// The length of `text` as a platform counts it.
pub fn measure(text: &str, unit: LengthUnit) -> usize {
    match unit {
        LengthUnit::Utf16 => text.encode_utf16().count(),
        LengthUnit::Chars => text.chars().count(),
    }
}

/// What stands for an answer without any visible text: platforms refuse an empty message.
const NOTHING: &str = "…";
const REST_IN_FILE: &str = "… The rest is in the attached file.";
/// Discord does not say how it counts, so its limit is not used to the last character.
const DISCORD_MARGIN: usize = 20;

fn tidy(markdown: &str) -> String {
    markdown.replace("\r\n", "\n").replace(['\r', '\0'], "\n")
}

/// As much of the source as one message can ever show, cut before it is read.
fn pieces_of_beginning(source: &str, rules: &MessengerRules, limit: usize) -> Vec<Piece> {
    let most = source.floor_char_boundary(html::MOST_BYTES.max(16 * limit));
    pieces(&source[..most], rules, limit)
}

fn pieces(source: &str, rules: &MessengerRules, limit: usize) -> Vec<Piece> {
    let fallback = |markup: String| {
        let plain = Formatted::of(&markup).text;
        let fits = !is_blank(&plain) && measure(&plain, rules.unit) <= limit;
        Piece { plain: if fits { plain } else { markup.clone() }, markup, ..Piece::default() }
    };
    let pieces: Vec<Piece> = match rules.markup {
        Markup::Markdown => split(source, rules.unit, limit).into_iter().map(fallback).collect(),
        Markup::Discord => {
            let limit = limit.saturating_sub(limit / DISCORD_MARGIN);
            split(&discord::adapt(source), rules.unit, limit).into_iter().map(fallback).collect()
        }
        Markup::Html => {
            let mut formatted = Formatted::of(source);
            if is_blank(&formatted.text) {
                formatted = Formatted::plain(source);
            }
            let ranges = html::split(&formatted, rules.unit, limit);
            let piece = |range: std::ops::Range<usize>| Piece {
                markup: html::html(&formatted, range.clone()),
                plain: formatted.text[range].to_owned(),
                ..Piece::default()
            };
            ranges.into_iter().map(piece).collect()
        }
    };
    pieces.into_iter().filter(|piece| !is_blank(&piece.plain)).collect()
}

/// Nothing in it that a platform would take as text.
fn is_blank(text: &str) -> bool {
    let invisible = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{ad}');
    text.chars().all(|c| c.is_whitespace() || c.is_control() || invisible(c))
}

/// The length in bytes of the longest beginning of `text` that is at most `limit` long in `unit`.
fn prefix(text: &str, unit: LengthUnit, limit: usize) -> usize {
    let mut length = 0;
    for (at, c) in text.char_indices() {
        length += match unit {
            LengthUnit::Utf16 => c.len_utf16(),
            LengthUnit::Chars => 1,
        };
        if length > limit {
            return at;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests;
