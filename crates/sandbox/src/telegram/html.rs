//! Telegram's HTML, read as strictly as the Bot API server reads it (tdlib, MessageEntity.cpp,
//! `parse_html`). Owns which tags there are and the words of the refusals; never mends anything.

/// Tags the Bot API knows, each with the entity it makes.
const TAGS: [(&str, &str); 17] = [
    ("a", "text_link"),
    ("b", "bold"),
    ("strong", "bold"),
    ("i", "italic"),
    ("em", "italic"),
    ("s", "strikethrough"),
    ("strike", "strikethrough"),
    ("del", "strikethrough"),
    ("u", "underline"),
    ("ins", "underline"),
    ("tg-spoiler", "spoiler"),
    ("span", "spoiler"),
    ("tg-emoji", "custom_emoji"),
    ("tg-time", "date_time"),
    ("pre", "pre"),
    ("code", "code"),
    ("blockquote", "blockquote"),
];

/// A text without its markup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Formatted {
    pub text: String,
    pub entities: Vec<Entity>,
}

/// A stretch of formatted text; offset and length are in UTF-16 units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entity {
    pub kind: &'static str,
    pub offset: usize,
    pub length: usize,
    /// The address of a link, the language of a code block.
    pub argument: String,
}

/// Reads HTML.
///
/// # Errors
/// The words behind `can't parse entities: `.
pub(super) fn parse(html: &str) -> Result<Formatted, String> {
    let mut reader = Reader { bytes: html.as_bytes(), html, at: 0 };
    let mut out = Formatted::default();
    let mut units = 0;
    let mut open: Vec<Open> = Vec::new();
    while let Some(char) = reader.char() {
        let start = reader.at;
        match char {
            '&' => {
                let decoded = reader.entity();
                units += decoded.len_utf16();
                out.text.push(decoded);
            }
            '<' if reader.byte(1) == Some(b'/') => {
                let Some(last) = open.pop() else {
                    return Err(format!("Unexpected end tag at byte offset {start}"));
                };
                let name = reader.end_tag(start)?;
                if !name.is_empty() && name != last.tag {
                    let tag = last.tag;
                    return Err(format!(
                        "Unmatched end tag at byte offset {start}, expected \"</{tag}>\", found \"</{name}>\""
                    ));
                }
                if units > last.offset {
                    let length = units - last.offset;
                    out.entities.push(Entity { kind: last.kind, offset: last.offset, length, argument: last.argument });
                }
            }
            '<' => open.push(reader.start_tag(start, units)?),
            char => {
                reader.at += char.len_utf8();
                units += char.len_utf16();
                out.text.push(char);
            }
        }
    }
    match open.pop() {
        Some(last) => Err(format!("Can't find end tag corresponding to start tag \"{}\"", last.tag)),
        None => {
            out.entities.sort_by(|a, b| (a.offset, b.length).cmp(&(b.offset, a.length)));
            Ok(out)
        }
    }
}

struct Open {
    tag: String,
    kind: &'static str,
    offset: usize,
    argument: String,
}

struct Reader<'h> {
    html: &'h str,
    bytes: &'h [u8],
    at: usize,
}

impl Reader<'_> {
    fn char(&self) -> Option<char> {
        self.html.get(self.at..)?.chars().next()
    }

    fn byte(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    fn skip_while(&mut self, wanted: impl Fn(u8) -> bool) {
        while self.byte(0).is_some_and(&wanted) {
            self.at += 1;
        }
    }

    /// At `&`: the character it stands for; a `&` that begins nothing known stands for itself.
    fn entity(&mut self) -> char {
        let rest = self.html.get(self.at..).unwrap_or_default();
        let named = [("&lt;", '<'), ("&gt;", '>'), ("&amp;", '&'), ("&quot;", '"')];
        if let Some((name, char)) = named.into_iter().find(|(name, _)| rest.starts_with(name)) {
            self.at += name.len();
            return char;
        }
        let number = rest.strip_prefix("&#").and_then(|rest| rest.split_once(';')).and_then(|(digits, _)| {
            let code = match digits.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => digits.parse().ok()?,
            };
            Some((char::from_u32(code).filter(|char| *char != '\0')?, digits.len() + 3))
        });
        let (char, length) = number.unwrap_or(('&', 1));
        self.at += length;
        char
    }

    /// At `</`.
    fn end_tag(&mut self, start: usize) -> Result<String, String> {
        self.at += 2;
        self.skip_while(|b| !b.is_ascii_whitespace() && b != b'>');
        let name = self.html[start + 2..self.at].to_ascii_lowercase();
        self.skip_while(|b| b.is_ascii_whitespace());
        if self.byte(0) != Some(b'>') {
            return Err(format!("Unclosed end tag at byte offset {start}"));
        }
        self.at += 1;
        Ok(name)
    }

    /// At `<`.
    fn start_tag(&mut self, start: usize, offset: usize) -> Result<Open, String> {
        self.at += 1;
        self.skip_while(|b| !b.is_ascii_whitespace() && b != b'>');
        let tag = self.html[start + 1..self.at].to_ascii_lowercase();
        let unclosed = || format!("Unclosed start tag at byte offset {start}");
        if self.byte(0).is_none() {
            return Err(unclosed());
        }
        let Some((_, mut kind)) = TAGS.into_iter().find(|(name, _)| *name == tag) else {
            return Err(format!("Unsupported start tag \"{tag}\" at byte offset {start}"));
        };
        let mut argument = String::new();
        loop {
            self.skip_while(|b| b.is_ascii_whitespace());
            match self.byte(0) {
                None => return Err(unclosed()),
                Some(b'>') => break,
                Some(_) => {}
            }
            let name_at = self.at;
            self.skip_while(|b| !b.is_ascii_whitespace() && !b"=>/\"'".contains(&b));
            let name = self.html[name_at..self.at].to_ascii_lowercase();
            if name.is_empty() {
                return Err(format!("Empty attribute name in the tag \"{tag}\" at byte offset {start}"));
            }
            self.skip_while(|b| b.is_ascii_whitespace());
            if self.byte(0) != Some(b'=') {
                if tag == "blockquote" && name == "expandable" {
                    kind = "expandable_blockquote";
                }
                continue;
            }
            self.at += 1;
            self.skip_while(|b| b.is_ascii_whitespace());
            let value = self.attribute_value()?;
            match (tag.as_str(), name.as_str()) {
                ("a", "href") | ("tg-emoji", "emoji-id") | ("tg-time", "unix") => argument = value,
                ("code", "class") => argument = value.strip_prefix("language-").unwrap_or_default().to_owned(),
                ("span", "class") => argument = value.strip_prefix("tg-").unwrap_or_default().to_owned(),
                _ => {}
            }
        }
        self.at += 1;
        if tag == "span" && argument != "spoiler" {
            return Err(format!("Tag \"span\" must have class \"tg-spoiler\" at byte offset {start}"));
        }
        Ok(Open { tag, kind, offset, argument })
    }

    fn attribute_value(&mut self) -> Result<String, String> {
        let quote = match self.byte(0) {
            Some(quote @ (b'"' | b'\'')) => quote,
            _ => {
                let start = self.at;
                self.skip_while(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-');
                if self.byte(0).is_some_and(|b| b != b'>' && !b.is_ascii_whitespace()) {
                    return Err(format!("Unexpected end of name token at byte offset {start}"));
                }
                return Ok(self.html[start..self.at].to_ascii_lowercase());
            }
        };
        self.at += 1;
        let mut value = String::new();
        while let Some(char) = self.char() {
            match char {
                '&' => value.push(self.entity()),
                char if u32::from(char) == u32::from(quote) => {
                    self.at += 1;
                    break;
                }
                char => {
                    self.at += char.len_utf8();
                    value.push(char);
                }
            }
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_telegram_shows() {
        for (html, text) in [
            ("plain & simple > all", "plain & simple > all"),
            ("<b>b</b> <I>i</I> <a href=\"https://x/?a=1&amp;b=2\">x</a>", "b i x"),
            ("&lt;b&gt; &amp;amp; &quot; &#65;&#x42; &nbsp;", "<b> &amp; \" AB &nbsp;"),
            ("<pre><code class=\"language-rust\">x</code></pre>", "x"),
            ("<blockquote expandable>q</blockquote><span class='tg-spoiler'>s</span>", "qs"),
            ("<b>closed by</>", "closed by"),
        ] {
            assert_eq!(parse(html).map(|f| f.text).as_deref(), Ok(text), "{html}");
        }
        let entities = parse("😀<a href='u'>x</a>").unwrap().entities;
        assert_eq!(entities, [Entity { kind: "text_link", offset: 2, length: 1, argument: "u".to_owned() }]);
    }

    #[test]
    fn what_telegram_refuses() {
        for (html, words) in [
            ("a < b", "Unsupported start tag \"\" at byte offset 2"),
            ("<p>x</p>", "Unsupported start tag \"p\" at byte offset 0"),
            ("x<br/>", "Unsupported start tag \"br/\" at byte offset 1"),
            ("<b>x", "Can't find end tag corresponding to start tag \"b\""),
            ("x</b>", "Unexpected end tag at byte offset 1"),
            ("<b><i>x</b></i>", "Unmatched end tag at byte offset 7, expected \"</i>\", found \"</b>\""),
            ("<b", "Unclosed start tag at byte offset 0"),
            ("<b>x</b", "Unclosed end tag at byte offset 4"),
            ("<a href=\"x", "Unclosed start tag at byte offset 0"),
            ("<span>x</span>", "Tag \"span\" must have class \"tg-spoiler\" at byte offset 0"),
            ("<a \"x\">x</a>", "Empty attribute name in the tag \"a\" at byte offset 0"),
        ] {
            assert_eq!(parse(html), Err(words.to_owned()), "{html}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(html in "[<>/&;a-c=\"' #x1😀\n]{0,40}") {
            if let Ok(formatted) = parse(&html) {
                let units = formatted.text.encode_utf16().count();
                prop_assert!(formatted.entities.iter().all(|e| e.offset + e.length <= units));
            }
        }
    }
}
