//! What Discord's clients make of a message's text: its Markdown, mentions, links, emoji. Owns how each begins; never shows
//! anything.

/// What a text has that is more than words, each with its beginning.
pub fn live(content: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in content.lines() {
        let mut line = line;
        if let Some(block) = block(line) {
            found.push(block.to_owned());
            line = &line[block.len()..];
        }
        let mut at = 0;
        while at < line.len() {
            let rest = &line[at..];
            let mut chars = rest.chars();
            let (Some(c), next) = (chars.next(), chars.next()) else { break };
            if c == '\\' && next.is_some_and(|next| !next.is_ascii_alphanumeric() && !next.is_whitespace()) {
                at += 1 + next.map_or(0, char::len_utf8);
                continue;
            }
            if inline(rest, at.checked_sub(1).and_then(|_| line[..at].chars().next_back())) {
                found.push(rest.chars().take(24).collect());
            }
            at += c.len_utf8();
        }
    }
    found
}

/// The beginning of a line that makes it a heading, a quote or an entry of a list.
fn block(line: &str) -> Option<&'static str> {
    let line = line.trim_start();
    let numbered = line.trim_start_matches(|c: char| c.is_ascii_digit());
    if numbered.len() < line.len() && numbered.starts_with(". ") {
        return Some("1");
    }
    ["# ", "## ", "### ", "-# ", "> ", ">>> ", "- ", "* "].into_iter().find(|mark| line.starts_with(mark))
}

/// Whether something begins here that is not shown as it is written.
fn inline(rest: &str, before: Option<char>) -> bool {
    let closes = |mark: &str| rest[mark.len()..].contains(mark);
    let schemes = ["http://", "https://", "steam://", "discord://"];
    if schemes.iter().any(|scheme| rest.starts_with(scheme)) || rest.starts_with("discord.gg/") {
        return true;
    }
    match rest.as_bytes()[0] {
        b'@' => rest.starts_with("@everyone") || rest.starts_with("@here"),
        b'<' => {
            ["<@", "<#", "<t:", "<:", "<a:", "</", "<id:", "<http"].iter().any(|mark| rest.starts_with(mark))
                && rest.contains('>')
        }
        b'[' => rest.contains("]("),
        b'`' => closes("`"),
        b'*' => closes("*"),
        b'_' => before.is_none_or(|before| !before.is_alphanumeric()) && closes("_"),
        b'~' => rest.starts_with("~~") && closes("~~"),
        b'|' => rest.starts_with("||") && closes("||"),
        b':' => {
            let name =
                rest[1..].find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '+' | '-')).unwrap_or(0);
            name > 0 && rest[1 + name..].starts_with(':')
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_words_is_found() {
        for text in [
            "https://e.co",
            "[a](https://b.co)",
            "@everyone",
            "<@1>",
            "<t:1:R>",
            "**b**",
            "_i_",
            "||s||",
            ":wave:",
            "# h",
            "> q",
            "1. a",
            "`c`",
        ] {
            assert!(!live(text).is_empty(), "{text}");
        }
        for text in [
            "words, 3 * 4 and a_b",
            "\\*\\*b\\*\\*",
            "@\u{2060}everyone",
            "\\<\u{2060}@1\\>",
            "https:\u{2060}//e.\u{2060}co",
            "10:30",
        ] {
            assert_eq!(live(text), Vec::<String>::new(), "{text}");
        }
    }
}
