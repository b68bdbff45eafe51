//! Telegram's HTML subset (Bot API, Formatting options): writes formatted text, and cuts it where it
//! is too long. Cutting what is seen instead of the source makes the length exact and keeps every
//! style whole across a cut. Only `b i s a code pre blockquote`, always balanced.

use std::fmt::Write;
use std::ops::Range;

use super::cut::{self, Places};
use super::formatted::{Block, Formatted, Run, Style};
use super::prefix;
use crate::core::chat::LengthUnit;

/// The text before parsing must be smaller (tdlib/telegram-bot-api, `Client.cpp`: "Text is too long").
pub(super) const MOST_BYTES: usize = 32_768;

/// The ranges of the visible text that become one message each, at most `limit` long in `unit`.
pub(super) fn split(formatted: &Formatted, unit: LengthUnit, limit: usize) -> Vec<Range<usize>> {
    let text = formatted.text.as_str();
    let limit = limit.max(1);
    let verbatim = |at: usize| formatted.run(at).is_some_and(|run| matches!(run.style.block, Block::Code(_)));
    let mut pieces = Vec::new();
    let mut start = cut::after_space(text, 0, &verbatim);
    while start < text.len() {
        let rest = &text[start..];
        if prefix(rest, unit, limit) == rest.len() {
            let end = if verbatim(text.len() - 1) { text.len() } else { start + rest.trim_end().len() };
            if html(formatted, start..end).len() < MOST_BYTES {
                pieces.extend((end > start).then_some(start..end));
                break;
            }
        }
        let nice = |at: usize| !torn(formatted, start, start + at, limit);
        let places = Places { verbatim: &|at| verbatim(start + at), possible: &|_| true, nice: &nice };
        let mut max = prefix(rest, unit, limit).min(rest.len() - 1);
        let cut = loop {
            max = rest.floor_char_boundary(max).max(rest.ceil_char_boundary(1));
            let cut = if max < rest.len() { cut::best(rest, max, &places) } else { cut::Cut { end: max, next: max } };
            if html(formatted, start..start + cut.end).len() < MOST_BYTES || cut.end <= 4 {
                break cut;
            }
            max = cut.end / 2;
        };
        if !rest[..cut.end].trim().is_empty() {
            pieces.push(start..start + cut.end);
        }
        start += cut.next.max(1);
    }
    pieces
}

/// The HTML of a range of the visible text.
pub(super) fn html(formatted: &Formatted, range: Range<usize>) -> String {
    let mut out = String::with_capacity(range.len() + range.len() / 4);
    let mut open: Vec<Tag> = Vec::new();
    let first = formatted.runs.partition_point(|run| run.end <= range.start);
    for run in formatted.runs[first..].iter().take_while(|run| run.start < range.end) {
        let wanted = tags(run.style);
        let common = open.iter().zip(&wanted).take_while(|(a, b)| a == b).count();
        while open.len() > common {
            if let Some(tag) = open.pop() {
                close(&mut out, tag, formatted);
            }
        }
        for &tag in &wanted[common..] {
            start(&mut out, tag, formatted);
            open.push(tag);
        }
        escape(&mut out, &formatted.text[run.start.max(range.start)..run.end.min(range.end)]);
    }
    while let Some(tag) = open.pop() {
        close(&mut out, tag, formatted);
    }
    out
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tag {
    Quote(usize),
    Pre(usize),
    Link(usize),
    Bold,
    Italic,
    Strike,
    Code,
}

/// From the outermost to the innermost, always in one order, so that neighbours share what they can.
fn tags(style: Style) -> Vec<Tag> {
    let mut tags = Vec::new();
    match style.block {
        Block::Code(language) => return vec![Tag::Pre(language)],
        Block::Quote(number) => tags.push(Tag::Quote(number)),
        Block::Text => {}
    }
    tags.extend(style.link.map(Tag::Link));
    if style.code {
        tags.push(Tag::Code);
        return tags;
    }
    tags.extend(style.bold.then_some(Tag::Bold));
    tags.extend(style.italic.then_some(Tag::Italic));
    tags.extend(style.strike.then_some(Tag::Strike));
    tags
}

fn start(out: &mut String, tag: Tag, formatted: &Formatted) {
    match tag {
        Tag::Quote(_) => out.push_str("<blockquote>"),
        Tag::Pre(index) if formatted.languages[index].is_empty() => out.push_str("<pre>"),
        // The class cannot hold anything that would need escaping, see `language`.
        Tag::Pre(index) => {
            let _ = write!(out, "<pre><code class=\"language-{}\">", formatted.languages[index]);
        }
        Tag::Link(index) => {
            out.push_str("<a href=\"");
            escape(out, &formatted.links[index]);
            out.push_str("\">");
        }
        Tag::Bold => out.push_str("<b>"),
        Tag::Italic => out.push_str("<i>"),
        Tag::Strike => out.push_str("<s>"),
        Tag::Code => out.push_str("<code>"),
    }
}

fn close(out: &mut String, tag: Tag, formatted: &Formatted) {
    out.push_str(match tag {
        Tag::Quote(_) => "</blockquote>",
        Tag::Pre(index) if formatted.languages[index].is_empty() => "</pre>",
        Tag::Pre(_) => "</code></pre>",
        Tag::Link(_) => "</a>",
        Tag::Bold => "</b>",
        Tag::Italic => "</i>",
        Tag::Strike => "</s>",
        Tag::Code => "</code>",
    });
}

fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
}

/// Whether a cut at `at` tears a link, a short span or a heading from what belongs to it.
fn torn(formatted: &Formatted, piece: usize, at: usize, limit: usize) -> bool {
    let (Some(before), Some(after)) = (at.checked_sub(1).and_then(|at| formatted.run(at)), formatted.run(at)) else {
        return false;
    };
    let whole = |run: &Run| run.start >= piece && run.end - run.start <= limit / 2;
    if before.style.link.is_some() && before.style.link == after.style.link {
        return whole(before);
    }
    let one = before.start == after.start;
    let span = before.style.code || before.style.bold || before.style.italic || before.style.strike;
    (one && span && whole(before)) || (before.style.heading && whole(before))
}
