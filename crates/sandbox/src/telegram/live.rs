//! What Telegram makes of a text by itself (tdlib, `MessageEntity.cpp`): addresses, mentions, tags, commands. Owns the rules
//! of each; markup is `html`'s.

use super::html::Formatted;

/// What can be followed or is formatted in a message's HTML, each with its words: the entities that are written, and those
/// that the server finds outside code and links.
pub fn live(html: &str) -> Vec<(String, String)> {
    let Ok(Formatted { text, entities }) = super::html::parse(html) else { return Vec::new() };
    let units: Vec<u16> = text.encode_utf16().collect();
    let words = |from: usize, length: usize| String::from_utf16_lossy(&units[from..from + length]);
    let mut live: Vec<(String, String)> =
        entities.iter().map(|entity| (entity.kind.to_owned(), words(entity.offset, entity.length))).collect();
    let is_closed = |at: usize| {
        let closed = entities.iter().filter(|entity| matches!(entity.kind, "code" | "pre" | "text_link"));
        closed.into_iter().any(|entity| (entity.offset..entity.offset + entity.length).contains(&at))
    };
    let chars: Vec<char> = text.chars().collect();
    let mut unit = 0;
    for (at, &c) in chars.iter().enumerate() {
        if let Some(kind) = begins(&chars, at).filter(|_| !is_closed(unit)) {
            live.push((kind.to_owned(), chars[at..].iter().take(24).collect()));
        }
        unit += c.len_utf16();
    }
    live
}

/// What the server finds around `at`, if anything.
fn begins(chars: &[char], at: usize) -> Option<&'static str> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let before = at.checked_sub(1).map(|at| chars[at]);
    let is_free = before.is_none_or(|before| !is_word(before));
    let follows = |test: &dyn Fn(char) -> bool| chars.get(at + 1).is_some_and(|&after| test(after));
    let run = |from: usize, test: &dyn Fn(char) -> bool| chars[from..].iter().take_while(|&&c| test(c)).count();
    match chars[at] {
        '@' if is_free && run(at + 1, &|c| c.is_ascii_alphanumeric() || c == '_') >= 3 => Some("mention"),
        '@' if before.is_some_and(is_word) && follows(&is_word) => Some("email"),
        '#' if is_free && follows(&is_word) => Some("hashtag"),
        '$' if is_free && follows(&|c| c.is_ascii_uppercase()) => Some("cashtag"),
        '/' if is_free && !matches!(before, Some('/' | '<' | '>')) && follows(&is_word) => Some("bot_command"),
        // A dot between two labels, the latter of letters as a top-level domain's.
        '.' if before.is_some_and(char::is_alphanumeric) && run(at + 1, &|c| c.is_alphabetic()) >= 2 => Some("url"),
        ':' if chars[at..].starts_with(&[':', '/', '/']) && before.is_some_and(is_word) => Some("url"),
        '+' if run(at + 1, &|c| c.is_ascii_digit()) >= 1 => Some("phone_number"),
        c if c.is_ascii_digit() && is_free && run(at, &|c| c.is_ascii_digit()) >= 10 => Some("phone_number"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_finds_more_than_is_written() {
        for (html, kind) in [
            ("see evil.test now", "url"),
            ("https://evil.test/a", "url"),
            ("tg://resolve", "url"),
            ("<a href=\"https://e.co\">x</a>", "text_link"),
            ("by @ana_b", "mention"),
            ("a@b.co", "email"),
            ("so #good", "hashtag"),
            ("in $USD", "cashtag"),
            ("use /start", "bot_command"),
            ("+12125550123", "phone_number"),
        ] {
            assert!(live(html).iter().any(|(found, _)| found == kind), "{html}: {:?}", live(html));
        }
        assert_eq!(
            live("and/or 10:30, e.g. 3.5 (a) <code>evil.test</code>"),
            [("code".to_owned(), "evil.test".to_owned())]
        );
    }
}
