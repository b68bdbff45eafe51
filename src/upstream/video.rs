//! The bounded download of a video. Owns which hosts are asked and how much is kept; never keeps a file
//! after its [`Video`] is gone, never logs an address.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use reqwest::{Client, Response};
use tokio::io::{AsyncSeekExt, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;

use super::{Cause, Failure, Provider, transport_cause};
use crate::config::Origin;

/// A video on the disk, in a file without a name: the system frees it even if the process is killed.
#[derive(Debug)]
pub struct Video {
    file: std::fs::File,
    pub bytes: u64,
    /// `video/mp4` and the like.
    pub mime: String,
}

/// How much of a video must arrive within each such time.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub bytes: u64,
    pub within: Duration,
}

/// What a download may be.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub max_bytes: u64,
    /// A slower one is given up, and so is one that does not begin within that time.
    pub slowest: Pace,
}

impl Video {
    /// Fetches a video within `bounds`, from an allowed origin only, the (at most three) redirects included. `http`
    /// must not follow redirects by itself. How long it takes in all is the caller's to bound.
    ///
    /// # Errors
    /// [`Cause::NotFound`]: the link has expired. [`Cause::TooLong`]: more bytes than allowed. [`Cause::TimedOut`]:
    /// slower than allowed. [`Cause::BadRequest`]: the origin is not allowed. [`Cause::Malformed`]: not a video.
    /// [`Cause::NoRoom`]: this machine could not keep it.
    pub async fn download(http: &Client, url: &str, allowed: &[Origin], bounds: Bounds) -> Result<Self, Failure> {
        let max_bytes = bounds.max_bytes;
        let Ok(response) = timeout(bounds.slowest.within, answered(http, url, allowed)).await else {
            return Err(failure(Cause::TimedOut, "no answer"));
        };
        let response = response?;
        let mime = mime(&response)?;
        let told = response.headers().get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
        if told.is_some_and(|told: u64| told > max_bytes) {
            return Err(failure(Cause::TooLong, format!("more than {max_bytes} bytes")));
        }
        keep(response, mime, bounds).await
    }

    /// A file that is there already.
    #[cfg(test)]
    pub(crate) fn of(file: std::fs::File, bytes: u64, mime: &str) -> Self {
        Self { file, bytes, mime: mime.to_owned() }
    }

    /// The content from its beginning. Readers share one position, so only one may be read at a time.
    pub async fn open(&self) -> std::io::Result<tokio::fs::File> {
        let mut file = tokio::fs::File::from_std(self.file.try_clone()?);
        file.rewind().await?;
        Ok(file)
    }
}

/// The provider is Apify because its link is what failed.
fn failure(cause: Cause, detail: impl Into<String>) -> Failure {
    Failure::new(Provider::Apify, cause, format!("video: {}", detail.into()))
}

async fn answered(http: &Client, url: &str, allowed: &[Origin]) -> Result<Response, Failure> {
    let mut url = Url::parse(url).map_err(|_| failure(Cause::Malformed, "not an address"))?;
    for _ in 0..=MAX_REDIRECTS {
        if !allowed.iter().any(|origin| origin.allows(&url)) {
            let host = url.host_str().unwrap_or("no host");
            return Err(failure(Cause::BadRequest, format!("{}://{host} is not an allowed origin", url.scheme())));
        }
        let response = http.get(url.clone()).send().await;
        let response = response.map_err(|e| failure(transport_cause(&e), "no answer"))?;
        let status = response.status();
        match status.as_u16() {
            200 => return Ok(response),
            301 | 302 | 303 | 307 | 308 => {
                let next = response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
                let next = next.and_then(|to| url.join(to).ok());
                url = next.ok_or_else(|| failure(Cause::Malformed, "a redirect to nowhere"))?;
            }
            403 | 404 | 410 => return Err(failure(Cause::NotFound, format!("HTTP {status}: the link has expired"))),
            429 => return Err(failure(Cause::RateLimited { retry_after: None }, format!("HTTP {status}"))),
            500.. => return Err(failure(Cause::Unavailable { retry_after: None }, format!("HTTP {status}"))),
            _ => return Err(failure(Cause::Malformed, format!("HTTP {status}"))),
        }
    }
    Err(failure(Cause::Malformed, "too many redirects"))
}

const MAX_REDIRECTS: u32 = 3;

/// What the answer says it is. Storage servers often know no better than "octets".
fn mime(response: &Response) -> Result<String, Failure> {
    let told = response.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let told = told.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match told.as_str() {
        "" | "application/octet-stream" | "binary/octet-stream" | "application/mp4" => Ok("video/mp4".into()),
        video if video.starts_with("video/") => Ok(told),
        _ => Err(failure(Cause::Malformed, "the answer is not a video")),
    }
}

async fn keep(mut response: Response, mime: String, bounds: Bounds) -> Result<Video, Failure> {
    let disk = |e: std::io::Error| failure(Cause::NoRoom, NoRoom::of(&e).to_string());
    let file = tempfile::tempfile().map_err(disk)?;
    let mut writer = tokio::fs::File::from_std(file.try_clone().map_err(disk)?);
    let (mut bytes, mut head) = (0, Vec::with_capacity(HEAD));
    let (mut pace_ends, mut in_pace) = (Instant::now() + bounds.slowest.within, 0);
    loop {
        let Ok(chunk) = timeout_at(pace_ends, response.chunk()).await else {
            if in_pace < bounds.slowest.bytes {
                return Err(failure(
                    Cause::TimedOut,
                    format!("{in_pace} bytes in {} s", bounds.slowest.within.as_secs()),
                ));
            }
            (pace_ends, in_pace) = (Instant::now() + bounds.slowest.within, 0);
            continue;
        };
        let chunk = chunk.map_err(|error| {
            failure(if error.is_timeout() { Cause::TimedOut } else { Cause::Cut }, "the download broke off")
        })?;
        let Some(chunk) = chunk else { break };
        bytes += chunk.len() as u64;
        in_pace += chunk.len() as u64;
        if bytes > bounds.max_bytes {
            return Err(failure(Cause::TooLong, format!("more than {} bytes", bounds.max_bytes)));
        }
        if head.len() < HEAD {
            head.extend(chunk.iter().take(HEAD - head.len()));
        }
        writer.write_all(&chunk).await.map_err(disk)?;
    }
    writer.flush().await.map_err(disk)?;
    if bytes == 0 {
        return Err(failure(Cause::Malformed, "an empty answer"));
    }
    if is_something_else(&head) {
        return Err(failure(Cause::Malformed, "the content is not a video"));
    }
    Ok(Video { file, bytes, mime })
}

/// Videos cannot be kept while they are read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no room for videos in {} ({why})", .folder.display())]
pub struct NoRoom {
    /// The system's folder for such files (`TMPDIR`).
    pub folder: PathBuf,
    pub why: std::io::ErrorKind,
}

impl NoRoom {
    fn of(error: &std::io::Error) -> NoRoom {
        NoRoom { folder: tempfile::env::temp_dir(), why: error.kind() }
    }
}

/// Looks whether there is room for a video, by writing a little where videos are kept.
///
/// # Errors
/// When there is none.
pub async fn look_for_room() -> Result<(), NoRoom> {
    let write = async {
        let mut file = tokio::fs::File::from_std(tempfile::tempfile()?);
        file.write_all(&[0; LITTLE]).await?;
        file.flush().await
    };
    write.await.map_err(|error| NoRoom::of(&error))
}

/// A full disk still takes an empty file, and what fits into the last block of one.
const LITTLE: usize = 256 << 10;

/// Bytes by which a content is known.
const HEAD: usize = 64;

/// Whether this begins as what servers send in place of a video, whatever they call it: a page, JSON, a playlist, sound.
fn is_something_else(head: &[u8]) -> bool {
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let is_text = [&b"<"[..], b"{", b"[", b"#EXTM3U", b"#EXT-X"].iter().any(|begins| text.starts_with(begins));
    // MP3 and AAC may also begin with a frame: eleven bits that are set.
    let is_frame = matches!(head, [0xff, second, ..] if second & 0xe0 == 0xe0);
    let is_sound = is_frame || [&b"ID3"[..], b"OggS", b"fLaC"].iter().any(|begins| head.starts_with(begins));
    let brand = head.get(4..8).filter(|kind| *kind == b"ftyp").and_then(|_| head.get(8..12));
    is_text || is_sound || brand.is_some_and(|brand| matches!(brand, b"M4A " | b"M4B " | b"M4P "))
}

#[cfg(test)]
mod tests;
