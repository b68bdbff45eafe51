//! The Files API: a large video there and away again. Owns the resumable upload protocol; never keeps a
//! file longer than its analysis.

use std::time::Duration;

use reqwest::Body;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::time::Instant;
use url::Url;

use super::{CALL_TIMEOUT, Cause, Failure, Gemini, failure};
use crate::upstream::video::Video;
use crate::upstream::{retry, transport_cause};

/// A name of our own choice (Gemini API, File: up to 40 lowercase letters, digits and dashes), so that
/// the file can be deleted even when the answer to its upload was lost.
pub(super) fn new_name() -> String {
    format!("files/reel-{}", uuid::Uuid::now_v7().simple())
}

impl Gemini {
    /// Uploads a video under `name` and waits until it can be used. Returns its address.
    pub(super) async fn upload(&self, name: &str, video: &Video) -> Result<String, Failure> {
        let session = retry(self.settings.retry, |f| f.cause.is_transient(), |_| self.open_upload(name, video)).await?;
        let mut file = self.send_content(&session, video).await?["file"].take();
        let deadline = Instant::now() + self.settings.activation;
        loop {
            match file["state"].as_str() {
                Some("ACTIVE") => break,
                Some("FAILED") => return Err(failure(Cause::Unreadable, "the uploaded video could not be processed")),
                _ if Instant::now() >= deadline => {
                    return Err(failure(Cause::TimedOut, "the uploaded video was not processed in time"));
                }
                _ => tokio::time::sleep(self.settings.poll).await,
            }
            let url = format!("{}/v1beta/{name}", self.settings.base_url);
            file = retry(
                self.settings.retry,
                |f| f.cause.is_transient(),
                async |_| self.json(self.http.get(&url), CALL_TIMEOUT).await,
            )
            .await
            .map_err(|failure| match failure.cause {
                // The file is our own and was there: Google answers 403, not 404, for one that is not.
                Cause::NotFound | Cause::Unauthorized => {
                    Failure { cause: Cause::Unavailable { retry_after: None }, ..failure }
                }
                _ => failure,
            })?;
        }
        file["uri"].as_str().map(str::to_owned).ok_or_else(|| failure(Cause::Malformed, "the file has no address"))
    }

    /// Deletes an uploaded file. One that is not there is fine; one that cannot be deleted now goes by
    /// itself after 48 hours.
    pub(super) async fn forget(&self, name: &str) {
        let url = format!("{}/v1beta/{name}", self.settings.base_url);
        let deleted = retry(
            self.settings.retry,
            |f| f.cause.is_transient(),
            async |_| self.json(self.http.delete(&url), Duration::from_secs(10)).await,
        );
        match tokio::time::timeout(Duration::from_secs(15), deleted).await {
            Ok(Ok(_)) => {}
            // Google answers 403, not 404, for a file that is not there.
            Ok(Err(failure)) if matches!(failure.cause, Cause::NotFound | Cause::Unauthorized) => {}
            Ok(Err(failure)) => tracing::warn!("an uploaded video was not deleted: {failure}"),
            Err(_) => tracing::warn!("an uploaded video was not deleted in time"),
        }
    }

    async fn open_upload(&self, name: &str, video: &Video) -> Result<Url, Failure> {
        let base = &self.settings.base_url;
        let request = self
            .http
            .post(format!("{base}/upload/v1beta/files"))
            .header("X-Goog-Upload-Protocol", "resumable")
            .header("X-Goog-Upload-Command", "start")
            .header("X-Goog-Upload-Header-Content-Length", video.bytes)
            .header("X-Goog-Upload-Header-Content-Type", &video.mime)
            .json(&json!({"file": {"name": name, "display_name": "reel"}}));
        let response = self.send(request, CALL_TIMEOUT).await?;
        let session = response.headers().get("x-goog-upload-url").and_then(|url| url.to_str().ok()).map(str::to_owned);
        self.decode_any(response).await?;
        let session = session.and_then(|url| Url::parse(&url).ok());
        // Plain http is for a stand-in only, which is where the base address leads too.
        session
            .filter(|url| url.scheme() == "https" || base.starts_with("http://"))
            .ok_or_else(|| failure(Cause::Malformed, "the upload has no address"))
    }

    /// The address is its own permission, so the key is not sent along.
    async fn send_content(&self, session: &Url, video: &Video) -> Result<Value, Failure> {
        let file = video.open().await.map_err(|error| {
            failure(Cause::Unavailable { retry_after: None }, format!("reading the video: {}", error.kind()))
        })?;
        let chunks = futures::stream::try_unfold(file, |mut file| async move {
            let mut chunk = bytes::BytesMut::with_capacity(CHUNK);
            let read = file.read_buf(&mut chunk).await?;
            Ok::<_, std::io::Error>((read > 0).then(|| (chunk.freeze(), file)))
        });
        let request = self
            .http
            .post(session.clone())
            .header("X-Goog-Upload-Offset", 0)
            .header("X-Goog-Upload-Command", "upload, finalize")
            .header(reqwest::header::CONTENT_LENGTH, video.bytes)
            .body(Body::wrap_stream(chunks))
            .timeout(self.settings.timeout);
        let response = request.send().await.map_err(|error| failure(transport_cause(&error), "uploading"))?;
        self.decode(response).await
    }

    /// The answer to the start of an upload has no body worth reading, unless it is a refusal.
    async fn decode_any(&self, response: reqwest::Response) -> Result<(), Failure> {
        if response.status().is_success() { Ok(()) } else { self.decode(response).await.map(drop) }
    }
}

const CHUNK: usize = 64 << 10;
