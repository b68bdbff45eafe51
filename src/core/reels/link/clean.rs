//! A text as links are looked for in it: what nobody sees is gone, and what only looks different is as in ASCII. Knows
//! where each part of it stood in the text.

/// The cleaned text.
pub(super) struct Cleaned {
    pub text: String,
    /// Where each of its bytes comes from, and behind them the length of the original.
    origins: Vec<usize>,
}

impl Cleaned {
    /// The place in the original text of a place in this one.
    pub fn origin(&self, at: usize) -> usize {
        self.origins.get(at).or(self.origins.last()).copied().unwrap_or_default()
    }
}

pub(super) fn clean(text: &str) -> Cleaned {
    let mut cleaned = Cleaned { text: String::with_capacity(text.len()), origins: Vec::with_capacity(text.len() + 1) };
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let shown = match c {
            c if is_invisible(c) => continue,
            // Full-width forms stand in the order of ASCII.
            '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
            // Markdown and JSON escape signs with it; elsewhere browsers take it for a slash.
            '\\' => match chars.peek() {
                Some((_, next)) if next.is_ascii_punctuation() && !matches!(next, '\\' | '@') => continue,
                _ => '/',
            },
            c => c,
        };
        cleaned.text.push(shown);
        cleaned.origins.resize(cleaned.text.len(), at);
    }
    cleaned.origins.push(text.len());
    cleaned
}

/// Marks of direction, joiners, selectors: apps put them around links, and into them where a line may break.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// With each `%2F` as the byte that it stands for; what is no UTF-8 becomes a replacement character.
pub(super) fn percent_decoded(text: &str) -> String {
    let hex = |byte: Option<&u8>| byte.and_then(|&byte| char::from(byte).to_digit(16));
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match (byte, hex(bytes.get(at + 1)), hex(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                // Two hexadecimal digits are a byte.
                decoded.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
