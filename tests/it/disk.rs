//! This machine has no room for videos: that is told as such, no service is blamed, and the reel is watched once there is room.

use crate::bot::{environment, sandbox, until};
use crate::process::{Process, run};
use crate::support::TestDb;

const OPERATOR: i64 = 900;
const ANA: i64 = 42;

on_both! {
    async fn a_reel_waits_for_room_and_no_service_is_blamed(db: TestDb) {
        let sandbox = sandbox().await;
        sandbox.telegram.open(OPERATOR);
        let folder = tempfile::tempdir().unwrap();
        let videos = folder.path().join("videos");
        let videos_text = videos.display().to_string();
        let variables = [
            ("TMPDIR", videos_text.as_str()),
            ("ALERT_CHAT", "telegram:900"),
            // Tried again after 10 s.
            ("REEL_DEADLINE_SECONDS", "80"),
        ];
        let environment = environment(&sandbox, &db, &variables);
        let mut process = Process::serve(&environment, &[]);
        process.ready().await;
        let shown = |chat: i64| {
            let screen = sandbox.telegram.screen(chat).into_iter().filter(|shown| shown.from_bot);
            screen.map(|shown| shown.text).collect::<Vec<_>>()
        };
        let alert = format!("no room for videos in {videos_text} (entity not found)");
        until("the operator is told", async || shown(OPERATOR).iter().any(|text| text.contains(&alert))).await;
        sandbox.telegram.say(ANA, ANA, "Ana", "https://www.instagram.com/reel/DLlGZiCOBQ0/");
        let tries = "SELECT COUNT(*) FROM jobs WHERE state = 'queued' AND attempt > 0";
        until("it is to be tried again", async || db.number(tries, &[]).await == 1).await;
        std::fs::create_dir(&videos).unwrap();
        until("it is watched", async || shown(ANA).iter().any(|text| text.contains("Hook"))).await;
        until("nothing is owed", async || db.is_idle().await.unwrap()).await;
        process.stop().await;
        assert_eq!((sandbox.apify.runs().len(), sandbox.gemini.charged().len()), (1, 1), "each is bought once");
        assert_eq!(db.number("SELECT COUNT(*) FROM breakers WHERE failures > 0", &[]).await, 0, "no upstream is found failing");
        assert_eq!(db.number("SELECT COUNT(*) FROM providers WHERE failing", &[]).await, 0, "and no service");
        assert_eq!(db.number("SELECT COUNT(*) FROM failures WHERE cause = 'no_room'", &[]).await, 1);
        assert_eq!(shown(OPERATOR).len(), 1, "{:?}", shown(OPERATOR));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_writes_a_file_where_videos_are_kept() {
    let (sandbox, db) = (sandbox().await, TestDb::sqlite().await);
    let folder = tempfile::tempdir().unwrap();
    let good = environment(&sandbox, &db, &[("TMPDIR", &folder.path().display().to_string())]);
    let ran = run(&["doctor", "--offline"], &good, "", "").await;
    let line =
        |out: &str| out.lines().find(|line| line.contains("room for videos")).map(str::to_owned).unwrap_or_default();
    assert!(line(&ran.out).starts_with("ok") && ran.code == 0, "{ran:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left");
    let bad = environment(&sandbox, &db, &[("TMPDIR", "/nonexistent")]);
    let ran = run(&["doctor", "--offline"], &bad, "", "").await;
    assert!(line(&ran.out).starts_with("FAILED") && ran.code != 0, "{ran:?}");
    assert!(line(&ran.out).contains("no room for videos in /nonexistent (entity not found)"), "{ran:?}");
}
