//! The download against a stand-in of a video server.

use tokio::io::AsyncReadExt;

use super::*;
use crate::upstream::http_client;
use sandbox::Fault;
use sandbox::apify::{ApifySandbox, Settings as SandboxSettings};

const SLOWEST: Pace = Pace { bytes: 1, within: Duration::from_secs(20) };

async fn sandbox() -> (ApifySandbox, Vec<Origin>) {
    let sandbox = ApifySandbox::start(SandboxSettings::default()).await.unwrap();
    let origins = vec![sandbox.served.url().parse().unwrap()];
    (sandbox, origins)
}

async fn fetch_from(url: &str, allowed: &[Origin], max_bytes: u64) -> Result<Video, Failure> {
    let bounds = Bounds { max_bytes, slowest: SLOWEST };
    Video::download(&http_client().unwrap(), url, allowed, bounds).await
}

#[tokio::test]
async fn a_video_is_kept_and_can_be_read_twice() {
    let (sandbox, origins) = sandbox().await;
    let url = format!("{}/video/DLlGZiCOBQ0.mp4", sandbox.served.url());
    let video = fetch_from(&url, &origins, 1_000_000).await.unwrap();
    assert_eq!(video.mime, "video/mp4");
    for _ in 0..2 {
        let mut content = Vec::new();
        video.open().await.unwrap().read_to_end(&mut content).await.unwrap();
        assert_eq!((content.len() as u64, &content[4..8]), (video.bytes, b"ftyp".as_slice()));
    }
}

#[tokio::test]
async fn too_many_bytes_are_refused_told_or_counted() {
    let (sandbox, origins) = sandbox().await;
    for code in ["DHUGE000000", "DCHNK000000"] {
        let url = format!("{}/video/{code}.mp4", sandbox.served.url());
        assert_eq!(fetch_from(&url, &origins, 500_000).await.unwrap_err().cause, Cause::TooLong, "{code}");
    }
}

#[tokio::test]
async fn a_host_that_is_not_allowed_is_not_asked() {
    let (sandbox, _) = sandbox().await;
    let url = format!("{}/video/DLlGZiCOBQ0.mp4?secret=1", sandbox.served.url());
    let elsewhere = ["https://*.cdninstagram.com".parse().unwrap()];
    let failure = fetch_from(&url, &elsewhere, 1_000_000).await.unwrap_err();
    assert_eq!(failure.cause, Cause::BadRequest);
    assert!(!failure.to_string().contains("secret"), "{failure}");
    let plain = fetch_from("http://scontent.cdninstagram.com/v.mp4", &elsewhere, 1).await.unwrap_err();
    assert_eq!(plain.cause, Cause::BadRequest, "plain http");
    assert_eq!(fetch_from("no address", &elsewhere, 1).await.unwrap_err().cause, Cause::Malformed);
    assert_eq!(sandbox.control.asked().len(), 0);
}

fn answer(status: u16, name: &str, value: &str, body: &str) -> Fault {
    Fault::Answer { status, headers: vec![(name.into(), value.into())], body: body.into() }
}

#[tokio::test]
async fn redirects_stay_within_the_allowed_origins() {
    let (here, mut origins) = sandbox().await;
    let (there, more) = sandbox().await;
    let url = format!("{}/video/DLlGZiCOBQ0.mp4", here.served.url());
    let away = format!("{}/video/DLlGZiCOBQ0.mp4", there.served.url());
    here.control.fault("/video/", answer(302, "location", &away, ""));
    assert_eq!(fetch_from(&url, &origins, 1_000_000).await.unwrap_err().cause, Cause::BadRequest);
    assert_eq!(there.control.asked().len(), 0, "the other host was not asked");
    origins.extend(more);
    here.control.fault("/video/", answer(302, "location", &away, ""));
    assert!(fetch_from(&url, &origins, 1_000_000).await.is_ok());
    assert_eq!(there.control.asked().len(), 1);
    for (hops, arrives) in [(3, true), (4, false)] {
        for _ in 0..hops {
            here.control.fault("/video/", answer(307, "location", "/video/DLlGZiCOBQ0.mp4?hop", ""));
        }
        assert_eq!(fetch_from(&url, &origins, 1_000_000).await.is_ok(), arrives, "{hops}");
    }
    here.control.fault("/video/", answer(302, "location", "https://", ""));
    assert_eq!(fetch_from(&url, &origins, 1_000_000).await.unwrap_err().cause, Cause::Malformed);
}

#[tokio::test]
async fn every_bad_answer_has_its_cause() {
    let (sandbox, origins) = sandbox().await;
    let url = format!("{}/video/DLlGZiCOBQ0.mp4", sandbox.served.url());
    let (kind, mp4) = ("content-type", "video/mp4");
    for (fault, cause) in [
        (answer(403, kind, "text/plain", "URL signature expired"), Cause::NotFound),
        (answer(404, kind, mp4, ""), Cause::NotFound),
        (answer(410, kind, mp4, ""), Cause::NotFound),
        (answer(429, kind, mp4, ""), Cause::RateLimited { retry_after: None }),
        (answer(503, kind, mp4, ""), Cause::Unavailable { retry_after: None }),
        (answer(400, kind, mp4, ""), Cause::Malformed),
        (answer(302, kind, mp4, ""), Cause::Malformed),
        (answer(200, kind, "text/html; charset=utf-8", "<html>login</html>"), Cause::Malformed),
        (answer(200, kind, mp4, ""), Cause::Malformed),
    ] {
        sandbox.control.fault("/video/", fault.clone());
        assert_eq!(fetch_from(&url, &origins, 100).await.unwrap_err().cause, cause, "{fault:?}");
    }
    for told in ["application/octet-stream", "Video/MP4; codecs=avc1"] {
        sandbox.control.fault("/video/", answer(200, kind, told, "content"));
        let video = fetch_from(&url, &origins, 7).await.unwrap();
        assert_eq!((video.mime.as_str(), video.bytes), (mp4, 7), "{told}");
    }
}

#[tokio::test]
async fn a_broken_and_a_slow_download_end() {
    let (sandbox, origins) = sandbox().await;
    let url = format!("{}/video/DLlGZiCOBQ0.mp4", sandbox.served.url());
    sandbox.control.fault("/video/", Fault::Cut);
    assert_eq!(fetch_from(&url, &origins, 1_000_000).await.unwrap_err().cause, Cause::Cut);
    // Neither a server that never answers nor one that trickles is waited for.
    let pace = Pace { bytes: 1000, within: Duration::from_millis(50) };
    let hasty = Bounds { max_bytes: 1_000_000, slowest: pace };
    for code in ["DSTAL000000", "DTRIC000000"] {
        let url = format!("{}/video/{code}.mp4", sandbox.served.url());
        let failure = Video::download(&http_client().unwrap(), &url, &origins, hasty).await.unwrap_err();
        assert_eq!(failure.cause, Cause::TimedOut, "{code}");
    }
    sandbox.control.fault("/video/", Fault::Slow(Duration::from_secs(60)));
    let failure = Video::download(&http_client().unwrap(), &url, &origins, hasty).await.unwrap_err();
    assert_eq!(failure.cause, Cause::TimedOut);
}

#[tokio::test]
async fn what_is_no_video_is_known_by_its_content_too() {
    let (sandbox, origins) = sandbox().await;
    for code in
        ["DHTML000000", "DJSON000000", "DZERO000000", "DPART000000", "DHLSV000000", "DAUDI000000", "DLOOP000000"]
    {
        let url = format!("{}/video/{code}.mp4", sandbox.served.url());
        assert_eq!(fetch_from(&url, &origins, 1_000_000).await.unwrap_err().cause, Cause::Malformed, "{code}");
    }
    let url = format!("{}/video/DLlGZiCOBQ0.mp4", sandbox.served.url());
    for body in [
        "<html>",
        " \n<!doctype html>",
        "{\"status\":\"fail\"}",
        "#EXTM3U\n",
        "ID3\u{3}",
        "\u{feff}<?xml",
        "\0\0\0\x18ftypM4A ",
    ] {
        for kind in ["video/mp4", "application/octet-stream"] {
            sandbox.control.fault("/video/", answer(200, "content-type", kind, body));
            assert_eq!(fetch_from(&url, &origins, 1000).await.unwrap_err().cause, Cause::Malformed, "{kind} {body}");
        }
    }
}
