//! The database goes away for 30 s, longer than any job's lease, with work at every stage: nothing is lost, nothing is
//! done or paid twice, and who waits longer is told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reelcoach::clock::Clock;
use reelcoach::core::wording;
use reelcoach::ids::InstanceId;
use reelcoach::store::Store;
use reelcoach::store::lanes::Lane;
use sandbox::{Fault, Sandbox, Settings};
use stress::proxy::{Path, Proxy};

use crate::bot::{environment, until, until_within};
use crate::process::Process;
use crate::support::TestDb;

const OUTAGE: Duration = Duration::from_secs(30);

/// The longest that a call on a dead path takes to be given up, and then the work itself.
const RECOVERY: Duration = Duration::from_secs(45);

/// The chat that is told of trouble.
const ALERTED: i64 = 900;

const ADA: &str = "101";
const BEA: &str = "102";

/// Who asks for a reel before the outage, who talks, and who writes in the midst of it.
const READERS: std::ops::RangeInclusive<i64> = 1..=4;
const TALKERS: std::ops::RangeInclusive<i64> = 11..=16;
const LATE_READERS: std::ops::RangeInclusive<i64> = 21..=22;
const LATE_TALKERS: std::ops::RangeInclusive<i64> = 31..=33;

fn link(person: i64) -> String {
    format!("https://www.instagram.com/reel/DOUTG{person:06}/")
}

/// `instances` processes that reach PostgreSQL by a path that is taken away as `how` says.
async fn outage(how: Path, instances: usize) {
    let what = format!("{how:?}");
    // Slow enough that everything is in the making when it happens.
    let sandbox = Arc::new(Sandbox::start(Settings { port: 0, speed: 1.5, enforce_limits: false }).await.unwrap());
    let db = TestDb::postgres().await;
    let proxy = Proxy::to(&db.url).await.unwrap();
    let environment = environment(
        &sandbox,
        &db,
        &[("DATABASE_URL", &proxy.url(&db.url)), ("REEL_LANES", "3"), ("ALERT_CHAT", "telegram:900")],
    );
    sandbox.telegram.open(ALERTED);
    let mut processes: Vec<Process> = (0..instances).map(|_| Process::serve(&environment, &[])).collect();
    let mut addresses = Vec::new();
    for process in &mut processes {
        addresses.push(process.ready().await);
    }
    until("Discord is connected", async || sandbox.discord.is_connected()).await;
    let (dm, channel) = (sandbox.discord.dm(ADA), sandbox.discord.guild_channel("general"));
    let me = sandbox.discord.bot().0;

    sandbox.apify.set_scrape(Duration::from_secs(4));
    for person in READERS.take(2) {
        sandbox.telegram.say(person, person, "P", &link(person));
    }
    until("two runs are going on and known", async || {
        db.number("SELECT COUNT(*) FROM jobs WHERE run_id IS NOT NULL", &[]).await == 2
    })
    .await;
    // The third is being started when it happens: its id is heard when it cannot be noted.
    sandbox.apify.control.fault("/runs", Fault::Slow(Duration::from_secs(3)));
    for person in READERS.skip(2) {
        sandbox.telegram.say(person, person, "P", &link(person));
    }
    until("the third is being started", async || sandbox.apify.control.count("/runs") == 3).await;
    for person in TALKERS {
        sandbox.telegram.say(person, person, "P", &format!("how long is the queue for {person}?"));
    }
    sandbox.discord.say(&dm, ADA, "Ada", "how long is the queue?");
    let bots = |person: i64| sandbox.telegram.screen(person).into_iter().filter(|shown| shown.from_bot);
    until("answers are growing", async || TALKERS.filter(|person| bots(*person).count() > 0).count() >= 3).await;

    proxy.set(how).await;
    let began = Instant::now();
    for person in LATE_READERS {
        sandbox.telegram.say(person, person, "P", &link(person));
    }
    for person in LATE_TALKERS {
        sandbox.telegram.say(person, person, "P", &format!("how long is the queue for {person}?"));
    }
    // A mention in a server's channel is told once, and is not read again after a gap.
    sandbox.discord.say(&channel, BEA, "Bea", &format!("<@{me}> how long is the queue?"));
    let told = |person: i64| bots(person).any(|shown| shown.text.contains(&wording::late()));
    let watching = async {
        let left = || OUTAGE.saturating_sub(began.elapsed());
        for person in LATE_READERS.chain(LATE_TALKERS) {
            until_within(left(), &format!("{what}: {person} is told"), async || told(person)).await;
        }
        let told = || sandbox.discord.screen(&channel).iter().any(|shown| shown.content.contains(&wording::late()));
        until_within(left(), &format!("{what}: Bea is told"), async || told()).await;
        for address in &addresses {
            for (path, status) in [("livez", 200), ("readyz", 503)] {
                let asked = reqwest012::get(format!("http://{address}/{path}"));
                let answer = tokio::time::timeout(Duration::from_secs(10), asked).await.expect(path).unwrap();
                assert_eq!(answer.status(), status, "{what}: {path}");
            }
        }
    };
    tokio::join!(watching, tokio::time::sleep(OUTAGE));
    assert!(began.elapsed() < OUTAGE * 3 / 2, "{what}: nothing hangs: {:?}", began.elapsed());
    proxy.set(Path::Open).await;

    until_within(RECOVERY, "all is answered", async || {
        let on_discord = [&dm, &channel].iter().all(|channel| !finals_on_discord(&sandbox, channel).is_empty());
        sandbox.telegram.pending() == 0 && on_discord && db.is_idle().await.unwrap()
    })
    .await;
    let alerts = || bots(ALERTED).map(|shown| shown.text).collect::<Vec<_>>();
    until("the operator is told of the outage", async || alerts().iter().any(|text| text.contains("Database"))).await;
    for process in &mut processes {
        process.stop().await;
    }
    let of_database = alerts().into_iter().filter(|text| text.contains("Database")).count();
    assert_eq!(of_database, 1, "{what}: {:#?}", alerts());

    for person in READERS.chain(LATE_READERS).chain(TALKERS).chain(LATE_TALKERS) {
        let sign =
            if READERS.chain(LATE_READERS).any(|reader| reader == person) { "Hook" } else { "your queue stands" };
        let shown: Vec<_> = bots(person).filter(|shown| !shown.text.contains(&wording::late())).collect();
        assert!(shown.len() == 1 && shown[0].text.contains(sign), "{what}, {person}: {shown:#?}");
        assert!(!shown[0].text.contains('▌') && shown[0].buttons.is_empty(), "{what}, {person}: {shown:#?}");
    }
    for channel in [&dm, &channel] {
        let finals = finals_on_discord(&sandbox, channel);
        assert!(finals.len() == 1 && finals[0].contains("your queue stands"), "{what}: {finals:#?}");
    }
    let reels = READERS.chain(LATE_READERS).count();
    let runs = sandbox.apify.runs();
    assert_eq!(runs.len(), reels, "{what}: no run is bought twice: {runs:#?}");
    let charged: i64 = runs.iter().map(|run| run.charged_micro_usd).sum();
    for (provider, calls) in
        [("apify", reels), ("gemini", sandbox.gemini.charged().len()), ("openai", sandbox.openai.charged().len())]
    {
        let rows = format!("SELECT COUNT(*) FROM ledger WHERE provider = '{provider}'");
        assert_eq!(db.number(&rows, &[]).await, calls as i64, "{what}: {provider}");
        let open = format!("{rows} AND outcome = 'started'");
        assert_eq!(db.number(&open, &[]).await, 0, "{what}: each call of {provider} has an end");
    }
    assert_eq!(sandbox.gemini.charged().len(), reels, "{what}");
    let sum = "SELECT CAST(SUM(micro_usd) AS BIGINT) FROM ledger WHERE provider = 'apify'";
    assert_eq!(db.number(sum, &[]).await, charged, "{what}");
    assert_eq!(db.number("SELECT COUNT(*) FROM jobs WHERE state = 'done'", &[]).await, reels as i64, "{what}");
    assert!(sandbox.apify.most_at_once() <= 3, "{what}");
    assert_eq!(sandbox.discord.violations(), Vec::<String>::new(), "{what}");
}

/// What stands in a channel of Discord for good, but for the note that it takes longer.
fn finals_on_discord(sandbox: &Sandbox, channel: &str) -> Vec<String> {
    let shown = sandbox.discord.screen(channel).into_iter().filter(|shown| shown.from_bot);
    let said = shown.map(|shown| shown.content).filter(|text| !text.contains(&wording::late()));
    said.filter(|text| !text.contains('▌')).collect()
}

/// An instance on a path that goes silent in the midst of transactions: its calls end, and the locks that the server
/// still holds for it do not keep the others out.
async fn silence_in_the_midst_of_transactions() {
    let db = TestDb::postgres().await;
    let proxy = Proxy::to(&db.url).await.unwrap();
    let cut_off = Arc::new(Store::open(&proxy.url(&db.url), 4).await.unwrap());
    let lanes = [Lane::direct(0)];
    let claim = async |store: &Store| {
        store.claim_job(InstanceId::new(), &lanes, Clock::System.now(), Duration::from_secs(15)).await
    };
    // Each call takes the queue's lock and gives it back: without a pause in between, one of the four is always inside.
    let calls: Vec<_> = (0..4)
        .map(|_| {
            let (store, lanes) = (cut_off.clone(), lanes.clone());
            tokio::spawn(async move {
                loop {
                    let began = Instant::now();
                    let now = Clock::System.now();
                    let claimed = store.claim_job(InstanceId::new(), &lanes, now, Duration::from_secs(15)).await;
                    if let Err(error) = claimed {
                        return (began.elapsed(), error);
                    }
                }
            })
        })
        .collect();
    until("the lock is held, and waited for", async || {
        let held = "SELECT COUNT(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database \
            WHERE locktype = 'advisory' AND datname = current_database()";
        db.number(held, &[]).await >= 2
    })
    .await;
    proxy.set(Path::Silent).await;
    // One that was cut off has the lock, and perhaps another gets it next.
    until_within(Duration::from_secs(10), "others get the lock", async || claim(&db).await.is_ok()).await;
    for call in calls {
        let (took, error) = call.await.unwrap();
        assert!(error.is_outage() && took < Duration::from_secs(18), "{took:?}: {error}");
    }
    let began = Instant::now();
    cut_off.ping().await.expect_err("nothing answers");
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    proxy.set(Path::Open).await;
    claim(&cut_off).await.expect("a new connection works, and no place in the pool is lost");
}

/// All at a time: most of it is waiting.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_database_loses_and_doubles_nothing() {
    tokio::join!(outage(Path::Cut, 2), outage(Path::Silent, 1), silence_in_the_midst_of_transactions());
}
