//! Somebody else's words as Markdown that shows exactly these words. Owns what each platform would make of them: its
//! formatting, and what it turns into links and mentions without being asked. Pure.

/// Stands where a platform would find a link, a mention or a command: it has no width, allows no line break, and is part of
/// none of them (tdlib, `MessageEntity.cpp`: `is_url_unicode_symbol`, `is_hashtag_letter`; Discord's rules are ASCII).
const BREAK: char = '\u{2060}';

/// Runs of digits this long might be a number to call or to pay with; shorter ones stay whole.
const LONGEST_NUMBER: usize = 6;

/// One line of Markdown that every platform shows as `text`: no formatting, no link that can be followed, nobody
/// mentioned. For words that are not the bot's own: names, reasons, captions, transcripts. Line breaks become spaces, and
/// what would turn the direction of the words behind it is left out. Not for use between backticks, where a backslash is
/// shown.
pub fn escape(text: &str) -> String {
    let line: String = text.chars().filter_map(shown).collect();
    let line: Vec<char> = line.trim().chars().collect();
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let mut digits = 0;
    for (at, &c) in line.iter().enumerate() {
        let (before, after) = (at.checked_sub(1).map(|at| line[at]), line.get(at + 1).copied());
        let is_numbering = matches!(c, '.' | ')') && line[..at].iter().all(char::is_ascii_digit);
        if is_markup(c, after) || is_numbering || (at == 0 && matches!(c, '-' | '+' | '=')) {
            out.push('\\');
        }
        out.push(c);
        digits = if c.is_numeric() { digits + 1 } else { 0 };
        if is_live(before, c, &line[at + 1..]) || (digits >= LONGEST_NUMBER && after.is_some_and(char::is_numeric)) {
            out.push(BREAK);
            digits = 0;
        }
    }
    out
}

/// The same between backticks, where every character stands for itself and can be copied: for ids and lines of a log.
/// Backticks become apostrophes.
pub fn verbatim(text: &str) -> String {
    let line: String = text.chars().filter_map(shown).map(|c| if c == '`' { '\'' } else { c }).collect();
    match line.trim() {
        "" => String::new(),
        line => format!("`{line}`"),
    }
}

/// The character that stands for `c`, if any.
fn shown(c: char) -> Option<char> {
    match c {
        // Embeddings, overrides and isolates reach beyond the text that they stand in.
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => None,
        '\u{2028}' | '\u{2029}' | '\u{85}' => Some(' '),
        c if c.is_whitespace() => Some(' '),
        c if c.is_control() => None,
        c => Some(c),
    }
}

/// Whether Markdown, as CommonMark or as Discord reads it, makes something of `c`.
fn is_markup(c: char, after: Option<char>) -> bool {
    match c {
        '\\' | '`' | '*' | '_' | '~' | '|' | '[' | ']' | '<' | '>' | '#' | '&' => true,
        // `:name:` is an emoji on Discord.
        ':' => after.is_some_and(|after| after.is_alphanumeric() || matches!(after, '_' | '+' | '-')),
        _ => false,
    }
}

/// Whether something that can be followed might begin or go on behind `c`.
fn is_live(before: Option<char>, c: char, rest: &[char]) -> bool {
    let Some(after) = rest.first().copied().filter(|after| !after.is_whitespace()) else { return false };
    let second = rest.get(1).copied();
    match c {
        // Domains, and the dots that browsers take for one. The last part of a domain is of two letters at least.
        '.' | '\u{3002}' | '\u{ff0e}' | '\u{ff61}' => {
            (after.is_alphabetic() || before.is_some_and(char::is_alphabetic) && after.is_alphanumeric())
                && second.is_some_and(|second| second.is_alphanumeric() || matches!(second, '-' | '_'))
        }
        // Mentions, addresses of mail; `<@1>`, `<t:1>`, `<#1>`, `<:a:1>`, `</a:1>`.
        '@' | '<' => true,
        ':' => after == '/',
        '#' | '$' | '+' => after.is_alphanumeric() || after == '_',
        '\u{ff03}' | '\u{fe5f}' => true,
        // A command; not `and/or`.
        '/' => {
            before.is_none_or(|before| !before.is_alphanumeric() && before != '/')
                && (after.is_alphanumeric() || after == '_')
        }
        _ => false,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::text::formatted::{Block, Formatted, Style};

    /// Without what only breaks.
    fn visible(text: &str) -> String {
        text.chars().filter(|&c| c != BREAK).collect()
    }

    /// Text that somebody might write to get more than words onto the screen.
    pub(crate) fn hostile() -> impl Strategy<Value = String> {
        let parts = [
            "[click](https://evil.test)",
            "https://evil.test/a_b",
            "http:",
            "//",
            "evil.test",
            "www.",
            "tg://resolve?domain=a",
            "<https://evil.test>",
            "<@123>",
            "<@&5>",
            "<#7>",
            "<t:1700000000:R>",
            "<:x:1>",
            "<a:x:1>",
            "</me:1>",
            "<id:home>",
            "@everyone",
            "@here",
            "@ana",
            "#tag",
            "$USD",
            "/start",
            "a@b.co",
            "+1 212 555 0123",
            "4111111111111111",
            ":smile:",
            "**b**",
            "__u__",
            "_i_",
            "*i*",
            "~~s~~",
            "||sp||",
            "`c`",
            "```\n",
            "~~~\n",
            "# h\n",
            "## h",
            "-# sub",
            "> q",
            ">>> q",
            "- l",
            "+ l",
            "* l",
            "1. l",
            "12) l",
            "    code",
            "\tcode",
            "---",
            "===",
            "| a |",
            "&lt;b&gt;",
            "&#64;",
            "<b>",
            "\\",
            "\\[",
            "![i](http://p.q)",
            "[a]: http://b.c",
            "[^1]",
            "- [ ] x",
            "\n",
            "\r\n",
            "\u{2028}",
            " ",
            "word",
            "\u{202e}",
            "\u{200b}",
            "\u{0}",
            "é",
            "日本。com",
            "ｅｖｉｌ．ｔｅｓｔ",
            "👋",
            "discord.gg/abc",
            "steam://run/1",
            "mailto:a@b.co",
        ];
        let part = prop_oneof![4 => proptest::sample::select(parts.to_vec()).prop_map(str::to_owned), 1 => any::<char>().prop_map(String::from)];
        proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
    }

    #[test]
    fn everyday_words_stay_as_they_are() {
        for text in [
            "Hello, how are you? It's 50 % off (today only) - and/or tomorrow.",
            "3 + 4 = 7!",
            "„Grüße“ … 日本語です。",
            "a - b",
            "It takes 3.5 s, e.g. at 9 a.m.",
        ] {
            assert_eq!(escape(text), text);
        }
    }

    #[test]
    fn what_platforms_make_more_of_is_broken_up() {
        for (text, escaped) in [
            ("[a](https://b.co)", "\\[a\\](https:\u{2060}//b.\u{2060}co)"),
            ("@everyone <@12>", "@\u{2060}everyone \\<\u{2060}@\u{2060}12\\>"),
            ("1. one\n2. two", "1\\. one 2. two"),
            ("- one", "\\- one"),
            ("# one", "\\# one"),
            ("a\u{202e}b", "ab"),
            (":wave: at 12:30", "\\:wave: at 12\\:30"),
            ("a.b.co and 1.test", "a.b.\u{2060}co and 1.\u{2060}test"),
            ("/start and/or", "/\u{2060}start and/or"),
        ] {
            assert_eq!(escape(text), escaped, "{text}");
        }
    }

    #[test]
    fn what_is_verbatim_is_code() {
        let id = verbatim("blocked discord:803511102246789120: `spam` @everyone");
        assert_eq!(id, "`blocked discord:803511102246789120: 'spam' @everyone`");
        assert_eq!((verbatim(" "), verbatim("a\nb")), (String::new(), "`a b`".to_owned()));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_reads_as_plain_text_with_the_same_words(text in hostile(), before in prop_oneof![Just(""), Just("> "), Just("> 0:07 "), Just("- `7`: ")]) {
            let escaped = escape(&text);
            prop_assert!(!escaped.contains('\n'));
            let read = Formatted::of(&format!("{before}{escaped}"));
            prop_assert!(read.links.is_empty(), "{escaped}");
            for run in &read.runs {
                let own = before.starts_with("- ") && run.style.code;
                let plain = Style { block: run.style.block, code: own, ..Style::default() };
                prop_assert!(run.style == plain && !matches!(run.style.block, Block::Code(_)), "{escaped}");
            }
            let words: String = text.chars().filter_map(shown).filter(|&c| c != BREAK).collect();
            prop_assert!(visible(&read.text).trim_end().ends_with(words.trim()), "{escaped:?} is shown as {:?}", read.text);
        }
    }
}
