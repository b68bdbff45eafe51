//! One of two processes dies by `kill -9`; the other one takes up what it held: its job with the run that is paid for,
//! the gateway of Discord, the polling of Telegram.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reelcoach::clock::Clock;
use reelcoach::ids::InstanceId;
use reelcoach::store::lanes::Lane;
use sandbox::{Sandbox, Settings};

use crate::bot::{TestBot, environment, until, until_within};
use crate::process::Process;
use crate::support::TestDb;

const ANA: i64 = 42;
const BEN: i64 = 77;
const ADA: &str = "101";

const REEL: &str = "https://www.instagram.com/reel/DTAKEOVER01/";

/// From the end of a lease to the take-over.
const TAKEN_OVER: Duration = Duration::from_secs(5);

/// From a death to the next holder of a role.
const ROLE_TAKEN_OVER: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn a_job_and_both_roles_outlive_their_holder() {
    let sandbox = Arc::new(Sandbox::start(Settings { port: 0, speed: 8.0, enforce_limits: false }).await.unwrap());
    let db = TestDb::postgres().await;
    let environment = environment(&sandbox, &db, &[]);
    let mut first = Process::serve(&environment, &[]);
    first.ready().await;
    until("Discord is connected", async || sandbox.discord.is_connected()).await;
    let dm = sandbox.discord.dm(ADA);
    let said = |channel: &str| sandbox.discord.screen(channel).into_iter().filter(|shown| shown.from_bot).count();
    // A chat in which the bot has heard something is read again after a gap.
    sandbox.discord.say(&dm, ADA, "Ada", "/help");
    until("Ada is answered", async || said(&dm) == 1 && db.is_idle().await.unwrap()).await;

    // Longer than the lease and the take-over: the run that is paid for is still going on then.
    sandbox.apify.set_scrape(Duration::from_secs(21));
    sandbox.telegram.say(ANA, ANA, "Ana", REEL);
    until("the run is known and the board is there", async || {
        db.number("SELECT COUNT(*) FROM jobs WHERE run_id IS NOT NULL", &[]).await == 1
            && sandbox.telegram.screen(ANA).iter().any(|shown| shown.from_bot)
    })
    .await;
    let mut second = Process::serve(&environment, &[]);
    second.ready().await;
    first.kill();
    let died = Instant::now();
    let lease_ends = db.number("SELECT leased_until FROM jobs", &[]).await;

    // Nobody listens now.
    sandbox.telegram.say(BEN, BEN, "Ben", "/help");
    sandbox.discord.say(&dm, ADA, "Ada", "/help");
    let roles = async {
        until_within(ROLE_TAKEN_OVER, "Telegram is polled", async || {
            sandbox.telegram.screen(BEN).iter().any(|shown| shown.from_bot)
        })
        .await;
        until_within(ROLE_TAKEN_OVER.saturating_sub(died.elapsed()), "Discord is heard", async || said(&dm) == 2).await;
    };
    let job = async {
        until("the job is taken over", async || db.number("SELECT attempt FROM jobs", &[]).await == 2).await;
        let late = Clock::System.now().0 - lease_ends;
        assert!((0..=TAKEN_OVER.as_millis() as i64).contains(&late), "{late} ms after the lease's end");
        assert_eq!(sandbox.apify.runs()[0].status, "RUNNING");
    };
    tokio::join!(roles, job);
    until("all is answered", async || sandbox.telegram.pending() == 0 && db.is_idle().await.unwrap()).await;
    second.stop().await;

    let shown: Vec<_> = sandbox.telegram.screen(ANA).into_iter().filter(|shown| shown.from_bot).collect();
    assert!(shown.len() == 1 && shown[0].text.contains("Hook") && shown[0].buttons.is_empty(), "{shown:#?}");
    let runs = sandbox.apify.runs();
    assert_eq!(runs.len(), 1, "the paid run is picked up: {runs:#?}");
    let rows = "SELECT COUNT(*) FROM ledger WHERE provider = 'apify'";
    assert_eq!(db.number(rows, &[]).await, 1);
    let cost = "SELECT micro_usd FROM ledger WHERE provider = 'apify' AND outcome = 'ok'";
    assert_eq!(db.number(cost, &[]).await, runs[0].charged_micro_usd);
    assert_eq!(db.number("SELECT COUNT(*) FROM jobs WHERE state = 'done' AND attempt = 2", &[]).await, 1);
    assert_eq!(sandbox.gemini.charged().len(), 1);
    assert_eq!(sandbox.telegram.screen(BEN).into_iter().filter(|shown| shown.from_bot).count(), 1);
    assert_eq!(said(&dm), 2, "{:#?}", sandbox.discord.screen(&dm));
    assert_eq!(sandbox.discord.violations(), Vec::<String>::new());
}

/// What a job came to cannot be written for longer than its lease: the lease is kept, so that nobody begins it anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_held_until_its_end_is_written() {
    let sandbox = Arc::new(Sandbox::start(Settings { port: 0, speed: 100.0, enforce_limits: false }).await.unwrap());
    let db = Arc::new(TestDb::postgres().await);
    // The disk is full for this one change.
    db.execute("CREATE SEQUENCE refused").await;
    db.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         PERFORM nextval('refused'); RAISE EXCEPTION 'full' USING ERRCODE = '53100'; END $$",
    )
    .await;
    db.execute(
        "CREATE TRIGGER refuse BEFORE UPDATE ON jobs FOR EACH ROW WHEN (NEW.state = 'done') EXECUTE FUNCTION refuse()",
    )
    .await;
    let clock = Clock::manual(Clock::System.now());
    let bot = TestBot::start_at(sandbox.clone(), db.clone(), &[], clock.clone(), None).await;
    sandbox.telegram.say(ANA, ANA, "Ana", REEL);
    until("the end is refused", async || {
        db.number("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM refused", &[]).await > 0
    })
    .await;
    for _ in 0..3 {
        clock.advance(Duration::from_secs(12));
        until("the lease is renewed", async || {
            db.number("SELECT leased_until FROM jobs", &[]).await > clock.now().0 + 12_000
        })
        .await;
        let lanes = [Lane::direct(0), Lane::direct(1)];
        let taken = db.claim_job(InstanceId::new(), &lanes, clock.now(), Duration::from_secs(15)).await.unwrap();
        assert!(taken.is_none(), "{taken:?}");
    }
    db.execute("DROP TRIGGER refuse ON jobs").await;
    bot.drain().await;
    assert_eq!(db.number("SELECT COUNT(*) FROM jobs WHERE state = 'done' AND attempt = 1", &[]).await, 1);
    assert_eq!((sandbox.apify.runs().len(), sandbox.gemini.charged().len()), (1, 1));
    bot.end().await;
}
