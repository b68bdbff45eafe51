//! The whole bot while its database answers, but refuses writes: a lock that another program holds, a full disk, a primary
//! that has become read-only. Nothing is bought twice, nothing that was paid for is lost, and people are told once.

use std::sync::Arc;
use std::time::Duration;

use reelcoach::core::wording;
use sandbox::openai::Script;
use sandbox::{Sandbox, Settings};

use crate::bot::{TestBot, until, until_within};
use crate::refusals::{Refusal, Why};
use crate::support::TestDb;

/// Longer than any lease, with what it is held before the refusal begins.
const REFUSED: Duration = Duration::from_secs(50);

/// From the end of the refusal until all is answered.
const RECOVERY: Duration = Duration::from_secs(45);

const TALKERS: [i64; 3] = [1, 2, 3];
const READERS: [i64; 2] = [11, 12];
/// Who writes when nothing can be stored.
const LATE: i64 = 21;

fn link(person: i64) -> String {
    format!("https://www.instagram.com/reel/DREFU{person:06}/")
}

async fn refused(db: TestDb, why: Why) {
    let settings = Settings { port: 0, speed: 1.5, enforce_limits: false };
    let sandbox = Arc::new(Sandbox::start(settings).await.unwrap());
    let db = Arc::new(db);
    let mut bot = TestBot::start_on(sandbox.clone(), db.clone(), &[("REEL_LANES", "2")]).await;
    sandbox.apify.set_scrape(Duration::from_secs(3));
    for person in READERS {
        sandbox.telegram.say(person, person, "P", &link(person));
    }
    until("the runs are going on and known", async || {
        db.number("SELECT COUNT(*) FROM jobs WHERE run_id IS NOT NULL", &[]).await == 2
    })
    .await;
    for person in TALKERS {
        sandbox.openai.script(Script::Text((0..60).map(|word| format!("word{word}")).collect::<Vec<_>>().join(" ")));
        sandbox.telegram.say(person, person, "P", "tell me something long");
    }
    until("answers are growing", async || TALKERS.iter().all(|person| !bot.telegram(*person).is_empty())).await;

    let refusal = Refusal::begin(&db, why).await;
    let began = std::time::Instant::now();
    sandbox.telegram.say(LATE, LATE, "P", "/help");
    let texts = |person: i64| {
        let screen = sandbox.telegram.screen(person).into_iter().filter(|shown| shown.from_bot);
        screen.map(|shown| shown.text).collect::<Vec<_>>()
    };
    let notes = |person: i64| texts(person).iter().filter(|text| text.contains(&wording::late())).count();
    let http = bot.http;
    let ready = async || {
        let answer = reqwest012::get(format!("http://{http}/readyz")).await.unwrap();
        answer.status().as_u16()
    };
    until_within(REFUSED, &format!("{why:?}: who waits is told"), async || {
        TALKERS.into_iter().chain([LATE]).all(|person| notes(person) == 1)
    })
    .await;
    assert_eq!(ready().await, 503, "{why:?}");
    tokio::time::sleep(REFUSED.saturating_sub(began.elapsed())).await;
    for person in TALKERS.into_iter().chain(READERS).chain([LATE]) {
        assert!(notes(person) <= 1, "{why:?}: {person} is told once: {:#?}", texts(person));
    }
    refusal.end().await;

    until_within(RECOVERY, &format!("{why:?}: all is answered"), async || {
        sandbox.telegram.pending() == 0 && bot.store.is_idle().await.unwrap()
    })
    .await;
    until(&format!("{why:?}: it is ready"), async || ready().await == 200).await;
    bot.stop().await;
    bot.leaves_work = true;
    for person in TALKERS.into_iter().chain(READERS).chain([LATE]) {
        let finals: Vec<_> = texts(person).into_iter().filter(|text| !text.contains(&wording::late())).collect();
        let sign = if TALKERS.contains(&person) { "word59" } else { "" };
        assert!(finals.len() == 1 && finals[0].contains(sign) && !finals[0].contains('▌'), "{why:?}: {finals:#?}");
        assert!(notes(person) <= 1, "{why:?}: {person} is told once");
    }
    let (talkers, readers) = (TALKERS.len() as i64, READERS.len() as i64);
    let openai = sandbox.openai.charged().len() as i64;
    assert_eq!(openai, talkers + readers, "{why:?}: no answer is bought twice");
    assert_eq!(sandbox.apify.runs().len() as i64, readers, "{why:?}: no run is bought twice");
    assert_eq!(sandbox.gemini.charged().len() as i64, readers, "{why:?}: no analysis is bought twice");
    assert_eq!(db.number("SELECT COUNT(*) FROM turns WHERE attempt > 1", &[]).await, 0, "{why:?}");
    assert_eq!(db.number("SELECT COUNT(*) FROM ledger", &[]).await, openai + 2 * readers, "{why:?}");
    let known = "SELECT COUNT(*) FROM ledger WHERE outcome = 'ok' AND reserved_until IS NULL";
    assert_eq!(db.number(known, &[]).await, openai + 2 * readers, "{why:?}: each cost is written down");
}

/// All at a time: most of it is waiting.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_refuses_writes_loses_and_doubles_nothing() {
    let (busy, full, read_only) = (TestDb::sqlite().await, TestDb::sqlite().await, TestDb::postgres().await);
    tokio::join!(refused(busy, Why::Busy), refused(full, Why::Full), refused(read_only, Why::ReadOnlySessions));
}
