//! What somebody wrote, as text inside Markdown of ours: shown as it is, never read as formatting, links or lines.

/// Characters that mean something in Markdown, here or on Discord. A backslash before any of them makes it a character.
const SPECIAL: &str = r"\`*_~|[]<>#&";

/// The text in one line, with everything special in it taken for what it is.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if SPECIAL.contains(c) {
            escaped.push('\\');
        }
        escaped.push(if c.is_whitespace() || c.is_control() { ' ' } else { c });
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::text::formatted::Formatted;

    #[test]
    fn what_somebody_wrote_is_shown_as_it_is() {
        for text in [
            "[free money](https://x.y/z)",
            "<https://x.y> **bold** _it_ ~~gone~~ ||hidden||",
            "`code` ```fence``` # title",
            r"a \[b](c) back\\slash &lt;b&gt; &#91;",
            "![img](x) [a]: b",
            "- list 1. one",
        ] {
            let line = format!("- `telegram:7`: {}", escape(text));
            let formatted = Formatted::of(&line);
            assert!(formatted.text.ends_with(text), "{text}: {}", formatted.text);
            assert_eq!(formatted.text.lines().count(), 1, "{text}");
        }
        assert_eq!(escape("a\n# b\r\n\tc\u{0}"), r"a \# b   c ");
    }
}
