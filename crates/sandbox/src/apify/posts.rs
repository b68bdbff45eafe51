//! What a scrape finds and what the video servers give for it, by the shortcode: `DGONE…` not found, `DPRIV…` no items,
//! `DREST…` restricted page, `DERRN…` an error by a name that is not documented, `DERRO…` one that is an object, `DEMPT…` an
//! empty dataset, `DLATE…` one that is empty at the first look, `DNEXT…` another post first, `DPHOT…` photo, `DCARO…`
//! carousel with a video, `DCAPH…` carousel of photos, `DLONG…` 40 minutes, `DNURL…` video without a link, `DOUTS…` one on a
//! host that nobody knows.
//!
//! Of the video: `DBIGV…` 16 MB, `DHUGE…` 300 MB, `DCHNK…` 300 MB without a length, `DHTML…` a page, `DJSON…` JSON,
//! `DZERO…` nothing, `DPART…` 206, `DHLSV…` a playlist that is called a video, `DAUDI…` sound, `DVCUT…` it breaks off, `DSTAL…` no
//! answer, `DTRIC…` a byte a second, `DLOOP…` a redirect to itself, `DEXPI…` 403, `DDOWN…` 503.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::scripts::{number_of, script_of};

/// The dataset of a run for one address, as it is at the `look`th look.
pub(super) fn found(code: &str, url: &str, host: &str, look: u32) -> Value {
    let script = script_of(code);
    let number = number_of(code.as_bytes());
    let video = format!("http://{host}/video/{code}.mp4?efg=sandbox&oe=6A84E974");
    let mut item = json!({
        "inputUrl": url, "id": (3_600_000_000_000_000_000 + number % 60_000_000_000_000_000).to_string(),
        "type": "Video", "shortCode": code, "caption": script.caption, "hashtags": script.hashtags, "mentions": [],
        "url": format!("https://www.instagram.com/p/{code}/"),
        "commentsCount": number % 900, "firstComment": "", "latestComments": [],
        "dimensionsHeight": 1916, "dimensionsWidth": 1080, "displayUrl": "https://instagram.example/d.jpg", "images": [],
        "videoUrl": video, "likesCount": if number.is_multiple_of(7) { -1 } else { (number % 90_000) as i64 },
        "videoViewCount": null, "videoPlayCount": 1_000 + number % 2_000_000,
        "timestamp": "2026-11-20T09:30:00.000Z", "childPosts": [], "ownerUsername": script.owner,
        "ownerFullName": script.owner, "ownerId": "5583800796", "productType": "clips", "isCommentsDisabled": false,
        "videoDuration": script.seconds,
        "musicInfo": {"artist_name": script.owner, "song_name": script.song, "uses_original_audio": true},
    });
    let mut without_video = |kind: &str, children: Value| {
        item["type"] = json!(kind);
        item["childPosts"] = children;
        for field in ["videoUrl", "videoDuration", "videoPlayCount", "videoViewCount"] {
            item.as_object_mut().map(|item| item.remove(field));
        }
    };
    match code.get(..5) {
        Some("DGONE") => {
            return json!([{"url": url, "username": "reel", "error": "not_found", "errorDescription": "Post does not exist"}]);
        }
        Some("DPRIV") => return json!([{"error": "no_items", "errorDescription": "Empty or private data"}]),
        Some("DREST") => {
            return json!([{"url": url, "description": "Someone on August 1, 2026", "user": {"username": script.owner},
                "error": "restricted_page", "errorDescription": "Restricted access, only partial data available"}]);
        }
        Some("DERRN") => {
            return json!([{"url": url, "error": "request_failed", "errorDescription": "429 Too Many Requests"}]);
        }
        Some("DERRO") => return json!([{"url": url, "error": {"message": "Something went wrong"}}]),
        Some("DEMPT") => return json!([]),
        Some("DLATE") if look < 2 => return json!([]),
        Some("DOUTS") => item["videoUrl"] = json!("https://videos.example.com/v.mp4?oe=6A84E974"),
        Some("DPHOT") => without_video("Image", json!([])),
        Some("DCAPH") => without_video("Sidecar", json!([{"type": "Image"}, {"type": "Image"}])),
        Some("DCARO") => without_video("Sidecar", json!([{"type": "Image"}, {"type": "Video", "videoUrl": video}])),
        Some("DNURL") => {
            item.as_object_mut().map(|item| item.remove("videoUrl"));
        }
        Some("DLONG") => item["videoDuration"] = json!(2400.0),
        Some("DNEXT") => {
            let other =
                json!({"type": "Image", "shortCode": "DSOMEOTHER1", "url": "https://www.instagram.com/p/DSOMEOTHER1/"});
            return json!([other, item]);
        }
        _ => {}
    }
    json!([item])
}

/// Longer than anybody waits.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

const MP4_HEAD: &[u8] = b"\0\0\0\x18ftypisom\0\0\x02\0isommp42";

type Chunk = std::io::Result<bytes::Bytes>;

/// What the video server answers.
pub(super) fn video(code: &str) -> Response {
    let mp4 = [(header::CONTENT_TYPE, "video/mp4")];
    match code.get(..5) {
        Some("DHTML") => ([(header::CONTENT_TYPE, "text/html")], "<!doctype html><title>Login</title>").into_response(),
        Some("DJSON") => axum::Json(json!({"status": "fail", "message": "login_required"})).into_response(),
        Some("DZERO") => (mp4, "").into_response(),
        Some("DPART") => (StatusCode::PARTIAL_CONTENT, mp4, whole(code)).into_response(),
        Some("DHLSV") => (mp4, "#EXTM3U\n#EXT-X-VERSION:3\n").into_response(),
        Some("DAUDI") => ([(header::CONTENT_TYPE, "audio/mp4")], "\0\0\0\x18ftypM4A ").into_response(),
        Some("DVCUT") => (mp4, Body::from_stream(breaks_off())).into_response(),
        Some("DSTAL") => (mp4, Body::from_stream(every(NEVER))).into_response(),
        Some("DTRIC") => (mp4, Body::from_stream(every(Duration::from_secs(1)))).into_response(),
        Some("DLOOP") => (StatusCode::FOUND, [(header::LOCATION, format!("/video/{code}.mp4"))]).into_response(),
        Some("DEXPI") => (StatusCode::FORBIDDEN, "URL signature expired").into_response(),
        Some("DDOWN") => (StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable").into_response(),
        _ => whole(code),
    }
}

/// The beginning, and a moment later, when it is under way, no more.
fn breaks_off() -> impl futures::Stream<Item = Chunk> {
    futures::stream::unfold(true, async |is_first| {
        if is_first {
            return Some((Ok(bytes::Bytes::from_static(MP4_HEAD)), false));
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
        Some((Err(std::io::Error::other("as the code wants it")), false))
    })
}

/// A byte after each pause, without an end.
fn every(pause: Duration) -> impl futures::Stream<Item = Chunk> {
    futures::stream::unfold((), move |()| async move {
        tokio::time::sleep(pause).await;
        Some((Ok(bytes::Bytes::from_static(b"\0")), ()))
    })
}

/// An MP4 file by its first box; the rest is filler that depends on the code.
fn whole(code: &str) -> Response {
    let number = number_of(code.as_bytes());
    let (size, told) = match code.get(..5) {
        Some("DBIGV") => (16 << 20, true),
        Some("DHUGE") => (300 << 20, true),
        Some("DCHNK") => (300 << 20, false),
        _ => (150_000 + number % 200_000, true),
    };
    let mut head = MP4_HEAD.to_vec();
    head.extend_from_slice(&(u32::try_from(size - 24).unwrap_or(0)).to_be_bytes());
    head.extend_from_slice(b"mdat");
    let filler: bytes::Bytes = number.to_be_bytes().repeat(8 << 10).into();
    let body = futures::stream::unfold((Some(head), size), move |(head, left)| {
        let filler = filler.clone();
        async move {
            let chunk = head.map_or(filler, bytes::Bytes::from);
            let chunk = chunk.slice(..chunk.len().min(left as usize));
            let left = left - chunk.len() as u64;
            (!chunk.is_empty()).then_some((Ok::<_, std::io::Error>(chunk), (None, left)))
        }
    });
    let mut response = Response::new(Body::from_stream(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("video/mp4"));
    if told {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    }
    response
}
