//! Requests that carry files. Owns how a form is read and what is refused of it (Discord API reference: Uploading
//! Files, JSON Error Codes); changes nothing.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::{HeaderMap, header};
use serde_json::Value;

use super::rules::{No, invalid, no, too_large};

/// One file of a form.
pub(super) struct Upload {
    /// The name of the part.
    field: String,
    pub name: String,
    pub kind: Option<String>,
    pub content: Bytes,
}

/// The largest file (Uploading Files: 10 MiB by default), and how many a message takes.
const LARGEST: usize = 10 << 20;
const MOST: usize = 10;

/// The JSON of a request, and the files beside it. A form that cannot be read has no JSON, which is refused then.
pub(super) async fn read(headers: &HeaderMap, bytes: Bytes) -> (Value, Vec<Upload>) {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    if !kind.starts_with("multipart/form-data") {
        return (serde_json::from_slice(&bytes).unwrap_or_default(), Vec::new());
    }
    let mut request = Request::new(Body::from(bytes));
    *request.headers_mut() = headers.clone();
    axum::extract::DefaultBodyLimit::disable().apply(&mut request);
    let (mut body, mut files) = (Value::Null, Vec::new());
    let Ok(mut form) = Multipart::from_request(request, &()).await else { return (body, files) };
    while let Ok(Some(part)) = form.next_field().await {
        let field = part.name().unwrap_or("").to_owned();
        let (name, kind) = (part.file_name().map(str::to_owned), part.content_type().map(str::to_owned));
        let Ok(content) = part.bytes().await else { break };
        match (field.as_str(), name) {
            ("payload_json", _) => body = serde_json::from_slice(&content).unwrap_or_default(),
            (_, Some(name)) => files.push(Upload { field, name, kind, content }),
            _ => {}
        }
    }
    (body, files)
}

/// Number, names and sizes of the files, and that every new attachment that is described has its file.
pub(super) fn check(body: &Value, files: &[Upload]) -> Result<(), No> {
    if files.len() > MOST {
        return Err(no(400, 30015, "Maximum number of attachments in a message reached (10)"));
    }
    let number = |upload: &Upload| upload.field.strip_prefix("files[")?.strip_suffix(']')?.parse::<u64>().ok();
    let mut numbers = Vec::new();
    for upload in files {
        match number(upload) {
            Some(number) if !numbers.contains(&number) => numbers.push(number),
            _ => return Err(invalid(&upload.field, "BASE_TYPE_CHOICES", "Parts are named files[n], each n once.")),
        }
        if upload.content.len() > LARGEST {
            return Err(too_large());
        }
        if upload.content.is_empty() || upload.name.is_empty() {
            return Err(no(400, 50046, "Invalid file uploaded"));
        }
    }
    // Ids of what is there already are snowflakes, in quotes.
    let described = body["attachments"].as_array().into_iter().flatten();
    let new: Vec<u64> = described.filter_map(|one| one["id"].as_u64()).collect();
    if new.iter().any(|id| !numbers.contains(id)) {
        return Err(no(400, 50146, "Uploaded file not found."));
    }
    Ok(())
}
