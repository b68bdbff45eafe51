//! A file that goes with a message. Owns its kinds, its name and its form in the database; never knows a platform.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The longest name, in bytes; a longer one is cut before its extension.
const LONGEST_NAME: usize = 100;

/// A file that goes with a message. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// What it is called on screen: ASCII letters, digits and `-_.`, which every platform shows as they are.
    name: String,
    pub kind: FileKind,
    #[serde(with = "base64")]
    pub content: Bytes,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// A picture, shown as one.
    Png,
    /// A table (RFC 4180).
    Csv,
    /// UTF-8 text, Markdown among it.
    Text,
}

impl FileKind {
    /// The media type.
    pub fn mime(self) -> &'static str {
        match self {
            FileKind::Png => "image/png",
            FileKind::Csv => "text/csv",
            FileKind::Text => "text/plain",
        }
    }

    /// Shown in the chat instead of being offered for download.
    pub fn is_picture(self) -> bool {
        self == FileKind::Png
    }
}

impl File {
    /// A picture. `name` is a file name with its extension; characters that platforms replace are replaced here.
    pub fn png(name: &str, content: impl Into<Bytes>) -> Self {
        Self::new(name, FileKind::Png, content.into())
    }

    /// A table.
    pub fn csv(name: &str, content: impl Into<Bytes>) -> Self {
        Self::new(name, FileKind::Csv, content.into())
    }

    /// A text.
    pub fn text(name: &str, content: impl Into<Bytes>) -> Self {
        Self::new(name, FileKind::Text, content.into())
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The content as text, unless it is a picture or not UTF-8.
    pub fn as_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.content).ok().filter(|_| !self.kind.is_picture())
    }

    fn new(name: &str, kind: FileKind, content: Bytes) -> Self {
        Self { name: tidy(name), kind, content }
    }
}

/// A name without folders and without what Discord and Telegram replace.
fn tidy(name: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    let name: String = name.rsplit(['/', '\\']).next().unwrap_or_default().chars().map(allowed).collect();
    let name = name.trim_start_matches(['.', '-']);
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let extension = &extension[..extension.len().min(10)];
    let stem = if stem.is_empty() { "file" } else { &stem[..stem.len().min(LONGEST_NAME - 11)] };
    if extension.is_empty() { stem.to_owned() } else { format!("{stem}.{extension}") }
}

/// JSON knows no bytes.
mod base64 {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(content: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(content))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Bytes::from).map_err(|_| D::Error::custom("not base64"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::chat::Body;

    #[test]
    fn a_body_survives_the_database_and_an_older_one_is_still_read() {
        let body = Body::text("Cost").with(File::png("cost.png", vec![0x89, 0, 255])).with(File::csv("c.csv", "a,b\n"));
        let stored = serde_json::to_string(&body).unwrap();
        assert_eq!(serde_json::from_str::<Body>(&stored).unwrap(), body);
        assert!(stored.contains(r#"{"name":"cost.png","kind":"png","content":"iQD/"}"#), "{stored}");
        let older: Body = serde_json::from_str(r#"{"text":"hi","buttons":[],"private":false}"#).unwrap();
        assert_eq!(older, Body::text("hi"));
        assert_eq!(serde_json::to_string(&older).unwrap(), r#"{"text":"hi","buttons":[],"private":false}"#);
    }

    #[test]
    fn a_name_is_safe_everywhere() {
        for (given, name) in [
            ("cost.png", "cost.png"),
            ("../../etc/passwd", "passwd"),
            ("C:\\x\\..", "file"),
            (".env", "env"),
            ("", "file"),
            ("Kosten für März.csv", "Kosten-f-r-M-rz.csv"),
            ("a\"\r\nX: y.png", "a---X--y.png"),
        ] {
            assert_eq!(File::text(given, "x").name(), name, "{given:?}");
        }
        let long = File::png(&format!("{}.png", "x".repeat(300)), "x");
        assert!(long.name().len() <= LONGEST_NAME && long.name().ends_with("x.png"), "{}", long.name());
    }
}
