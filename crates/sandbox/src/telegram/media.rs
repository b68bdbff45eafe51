//! Files in messages. Owns what is refused of a file and in which words
//! (Bot API, Sending files; tdlib/telegram-bot-api).

use serde_json::{Value, json};

use super::params::{Params, Refusal, bad, check_length, formatted};

/// Longest caption, in UTF-16 units.
const CAPTION: usize = 1024;
/// The largest photo and the largest other file, in bytes.
const PHOTO: usize = 10 << 20;
const DOCUMENT: usize = 50 << 20;

/// The file of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Media {
    /// Shown as a picture; else a document.
    pub photo: bool,
    pub name: String,
    pub content: Vec<u8>,
    /// Width and height of a photo.
    pub size: (u32, u32),
}

/// The file of a sendPhoto or sendDocument: itself, or a name by which another part holds it (`attach://name`).
pub(super) fn sent(method: &str, params: &Params) -> Result<Media, Refusal> {
    let kind = if method == "sendPhoto" { "photo" } else { "document" };
    let field = match params.text(kind) {
        Some(name) => name.strip_prefix("attach://").unwrap_or_default().to_owned(),
        None => kind.to_owned(),
    };
    file(kind, &field, params)
}

/// The caption as it came and as it is shown; `fields` are those of the call or of an InputMedia.
pub(super) fn caption(params: &Params) -> Result<(String, super::html::Formatted), Refusal> {
    let raw = params.text("caption").unwrap_or_default();
    let formatted = formatted(&raw, params)?;
    check_length(&formatted, CAPTION, "message caption is too long")?;
    Ok((raw, formatted))
}

pub(super) fn file(kind: &str, field: &str, params: &Params) -> Result<Media, Refusal> {
    let found = params.files.iter().find(|(name, ..)| name == field);
    let (_, name, content) = found.ok_or_else(|| bad(format!("there is no {kind} in the request")))?;
    if content.is_empty() {
        return Err(bad("file must be non-empty"));
    }
    let photo = kind == "photo";
    let (most, words) = if photo { (PHOTO, "a photo") } else { (DOCUMENT, "a document") };
    if content.len() > most {
        let words =
            format!("file of size {} bytes is too big for {words}; the maximum size is {most} bytes", content.len());
        return Err(bad(words));
    }
    let mut size = (0, 0);
    if photo {
        size = dimensions(content).ok_or_else(|| bad("IMAGE_PROCESS_FAILED"))?;
        let (long, short) = (size.0.max(size.1), size.0.min(size.1));
        if long + short > 10_000 || short == 0 || long / short > 20 {
            return Err(bad("PHOTO_INVALID_DIMENSIONS"));
        }
    }
    Ok(Media { photo, name: name.clone(), content: content.clone(), size })
}

/// Of a whole PNG; the bot sends no other pictures.
fn dimensions(content: &[u8]) -> Option<(u32, u32)> {
    let header = content.strip_prefix(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR")?;
    content.ends_with(b"IEND\xae\x42\x60\x82").then_some(())?;
    let number = |at: usize| Some(u32::from_be_bytes(header.get(at..at + 4)?.try_into().ok()?));
    Some((number(0)?, number(4)?))
}

/// The field of a message object that shows the file.
pub(super) fn object(message: i64, media: &Media) -> (&'static str, Value) {
    let id = format!("file-{message}");
    let size = media.content.len();
    match media.photo {
        true => {
            let sizes = json!([{"file_id": id, "file_unique_id": id, "width": media.size.0, "height": media.size.1,
                "file_size": size}]);
            ("photo", sizes)
        }
        false => {
            let document = json!({"file_id": id, "file_unique_id": id, "file_name": media.name,
                "mime_type": "text/plain", "file_size": size});
            ("document", document)
        }
    }
}
