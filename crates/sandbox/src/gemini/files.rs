//! The Files API of the Gemini stand-in: resumable uploads, processing, deletion. Keeps no content.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::TryStreamExt;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{number_of, refuse};

/// Every file there is, and every upload under way.
#[derive(Debug)]
pub(super) struct Files {
    activation: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    uploads: HashMap<String, Upload>,
    files: HashMap<String, File>,
    made: u64,
}

#[derive(Clone, Debug)]
struct Upload {
    id: String,
    bytes: u64,
    mime: String,
}

#[derive(Clone, Debug)]
struct File {
    mime: String,
    bytes: u64,
    uri: String,
    active_at: Instant,
    /// The first box is not that of a video.
    broken: bool,
    /// Depends on the first bytes.
    number: u64,
}

const MAX_FILE: u64 = 2 << 30;

impl Files {
    pub(super) fn new(activation: Duration) -> Self {
        Self { activation, state: Mutex::default() }
    }

    pub(super) fn count(&self) -> usize {
        self.lock().files.len()
    }

    /// `X-Goog-Upload-Command: start`.
    pub(super) fn open(&self, head: &Parts, body: &Value) -> Response {
        let text = |name: &str| text_of(&head.headers, name);
        let bytes = text("x-goog-upload-header-content-length").parse::<u64>();
        let mime = text("x-goog-upload-header-content-type").to_owned();
        let named = body["file"]["name"].as_str().map(|name| name.strip_prefix("files/").unwrap_or(name).to_owned());
        let bad = |message: &str| refuse(400, "INVALID_ARGUMENT", message);
        let Ok(bytes) = bytes else { return bad("Missing X-Goog-Upload-Header-Content-Length") };
        if text("x-goog-upload-protocol") != "resumable" || text("x-goog-upload-command") != "start" {
            return bad("Expected a resumable upload to start");
        }
        if bytes == 0 || bytes > MAX_FILE {
            return bad("The file size is not supported");
        }
        if !mime.contains('/') {
            return bad("Unsupported MIME type");
        }
        let mut state = self.lock();
        state.made += 1;
        let upload_id = format!("upload{:016x}", number_of(&state.made.to_be_bytes()));
        let id = named.unwrap_or_else(|| format!("{:012x}", number_of(upload_id.as_bytes()) >> 16));
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if id.is_empty() || id.len() > 40 || !id.chars().all(good) || id.starts_with('-') || id.ends_with('-') {
            return bad("The file name is not valid");
        }
        if state.files.contains_key(&id) {
            return refuse(409, "ALREADY_EXISTS", "Requested entity already exists");
        }
        state.uploads.insert(upload_id.clone(), Upload { id, bytes, mime });
        let host = text_of(&head.headers, "host");
        let url = format!("http://{host}/upload/v1beta/files?upload_id={upload_id}&upload_protocol=resumable");
        (StatusCode::OK, [("x-goog-upload-url", url), ("x-goog-upload-status", "active".into())]).into_response()
    }

    /// `X-Goog-Upload-Command: upload, finalize`, at the address that the start gave; it needs no key.
    pub(super) async fn content(&self, head: &Parts, body: Body) -> Response {
        let query = head.uri.query().unwrap_or_default();
        let id = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "upload_id");
        let upload = id.and_then(|(_, id)| self.lock().uploads.remove(id.as_ref()));
        let Some(upload) = upload else { return refuse(404, "NOT_FOUND", "Upload has already been terminated.") };
        let text = |name: &str| text_of(&head.headers, name);
        if text("x-goog-upload-offset") != "0" || text("x-goog-upload-command") != "upload, finalize" {
            return refuse(400, "INVALID_ARGUMENT", "Expected offset 0 and the commands upload, finalize");
        }
        let mut stream = body.into_data_stream();
        let (mut bytes, mut begin) = (0_u64, Vec::new());
        loop {
            match stream.try_next().await {
                Ok(Some(chunk)) => {
                    bytes += chunk.len() as u64;
                    begin.extend(chunk.iter().take(64_usize.saturating_sub(begin.len())));
                }
                Ok(None) => break,
                Err(_) => return refuse(400, "INVALID_ARGUMENT", "The upload broke off"),
            }
        }
        if bytes != upload.bytes {
            return refuse(400, "INVALID_ARGUMENT", "The size is not the declared one");
        }
        let file = File {
            mime: upload.mime,
            bytes,
            uri: format!("http://{}/v1beta/files/{}", text_of(&head.headers, "host"), upload.id),
            active_at: Instant::now() + self.activation,
            broken: begin.get(4..8) != Some(b"ftyp"),
            number: number_of(&begin),
        };
        let answer = json!({"file": wire(&upload.id, &file)});
        self.lock().files.insert(upload.id, file);
        ([("x-goog-upload-status", "final")], axum::Json(answer)).into_response()
    }

    pub(super) fn get(&self, id: &str) -> Response {
        self.lock().files.get(id).map_or_else(|| unknown(id), |file| axum::Json(wire(id, file)).into_response())
    }

    pub(super) fn delete(&self, id: &str) -> Response {
        let deleted = self.lock().files.remove(id);
        deleted.map_or_else(|| unknown(id), |_| axum::Json(json!({})).into_response())
    }

    /// The number of a file that can be used now.
    pub(super) fn usable(&self, uri: &str) -> Result<u64, (u16, &'static str, String)> {
        let state = self.lock();
        let id = uri.rsplit('/').next().unwrap_or_default();
        match state.files.get(id).filter(|file| file.uri == uri) {
            None => Err((403, "PERMISSION_DENIED", no_permission(id))),
            Some(file) if state_of(file) != "ACTIVE" => Err((
                400,
                "FAILED_PRECONDITION",
                format!("The File {id} is not in an ACTIVE state and usage is not allowed."),
            )),
            Some(file) => Ok(file.number),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let name = header::HeaderName::from_bytes(name.as_bytes()).ok();
    name.and_then(|name| headers.get(name)).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn state_of(file: &File) -> &'static str {
    match () {
        () if Instant::now() < file.active_at => "PROCESSING",
        () if file.broken => "FAILED",
        () => "ACTIVE",
    }
}

fn wire(id: &str, file: &File) -> Value {
    let state = state_of(file);
    let mut wire = json!({
        "name": format!("files/{id}"), "displayName": "reel", "mimeType": file.mime, "sizeBytes": file.bytes.to_string(),
        "createTime": "2026-11-24T10:00:00.000000Z", "expirationTime": "2026-11-26T10:00:00.000000Z", "uri": file.uri,
        "state": state, "source": "UPLOADED",
    });
    if state == "FAILED" {
        wire["error"] = json!({"code": 3, "message": "The file could not be processed."});
    }
    wire
}

fn unknown(id: &str) -> Response {
    refuse(403, "PERMISSION_DENIED", &no_permission(id))
}

fn no_permission(id: &str) -> String {
    format!("You do not have permission to access the File {id} or it may not exist.")
}
