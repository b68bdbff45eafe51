//! Markdown as Discord shows it. Owns the few constructs that Discord does not know; everything else
//! stays as it was written.

use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag};

use super::formatted::{Block, Formatted};

/// Tables become code blocks, headings below the third level become third, images become links, and
/// fences that Discord does not know (`~~~`, four backticks) become the one it knows.
pub(super) fn adapt(markdown: &str) -> String {
    let mut out = String::with_capacity(markdown.len());
    let mut done = 0;
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    for (event, range) in Parser::new_ext(markdown, options).into_offset_iter() {
        let Event::Start(tag) = event else { continue };
        if range.start < done {
            continue;
        }
        if let Some((replaced, text)) = change(markdown, &tag, range) {
            out.push_str(&markdown[done..replaced.start]);
            out.push_str(&text);
            done = replaced.end;
        }
    }
    out.push_str(&markdown[done..]);
    out
}

/// What stands for a part of the source instead.
fn change(markdown: &str, tag: &Tag<'_>, range: Range<usize>) -> Option<(Range<usize>, String)> {
    let source = &markdown[range.clone()];
    match tag {
        Tag::Table(_) => {
            let table = Formatted::of(source);
            let [run] = table.runs.as_slice() else { return None };
            matches!(run.style.block, Block::Code(_)).then_some(())?;
            let end = range.start + source.trim_end().len();
            Some((range.start..end, format!("```\n{}\n```", unfenced(&table.text))))
        }
        Tag::Heading { level, .. } if *level > HeadingLevel::H3 => {
            let marks = source.bytes().take_while(|&b| b == b'#').count();
            (marks > 3).then(|| (range.start + 3..range.start + marks, String::new()))
        }
        Tag::Image { .. } if source.starts_with('!') => Some((range.start..range.start + 1, String::new())),
        Tag::CodeBlock(CodeBlockKind::Fenced(info)) => {
            let mark = source.chars().next()?;
            let length = source.chars().take_while(|&c| c == mark).count();
            if mark == '`' && length == 3 {
                return None;
            }
            let (_, inside) = source.split_once('\n')?;
            let inside = inside.trim_end();
            let closed = inside.trim_end_matches(mark);
            // Without a closing fence the answer is still growing; the splitter closes it.
            let closed = (inside.len() - closed.len() >= length).then_some(closed);
            let code = unfenced(closed.map_or(inside, |code| code.trim_end_matches([' ', '\t', '>'])));
            let code = code.strip_suffix('\n').unwrap_or(&code);
            let end = range.start + source.trim_end().len();
            let close = if closed.is_some() { "\n```" } else { "" };
            Some((range.start..end, format!("```{}\n{code}{close}", info.replace('`', ""))))
        }
        _ => None,
    }
}

/// Three backticks in a row would end the block: a zero-width space keeps them apart.
fn unfenced(code: &str) -> String {
    code.replace("```", "`\u{200b}`\u{200b}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_discord_does_not_know_changes() {
        for (source, want) in [
            (
                "# A\n**b** `c` [d](https://e.f) ||g|| <@1> @everyone",
                "# A\n**b** `c` [d](https://e.f) ||g|| <@1> @everyone",
            ),
            ("#### Deep\ntext", "### Deep\ntext"),
            ("a ![alt](https://x.y/z.png) b", "a [alt](https://x.y/z.png) b"),
            ("~~~rust\nlet a;\n~~~\nafter", "```rust\nlet a;\n```\nafter"),
            ("````md\n```\nx\n```\n````", "```md\n`\u{200b}`\u{200b}`\nx\n`\u{200b}`\u{200b}`\n```"),
            ("~~~rust\nlet a", "```rust\nlet a"),
            ("```\n~~~\n```", "```\n~~~\n```"),
            ("x\n\n| a | bb |\n|---|---:|\n| 1 | **2** |\n\ny", "x\n\n```\na | bb\n--+---\n1 |  2\n```\n\ny"),
        ] {
            assert_eq!(adapt(source), want, "{source}");
        }
    }
}
