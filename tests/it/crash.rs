//! Death at every named point, and at moments nobody chose: after the next start each message has its one answer, and
//! each paid call its one row.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sandbox::openai::Script;
use sandbox::{Sandbox, Settings};

use crate::bot::{environment, until};
use crate::power::Disk;
use crate::process::Process;
use crate::support::TestDb;

const ANA: i64 = 42;
const ADA: &str = "101";
const MARK: &str = "Seeing this twice?";

/// Where the person speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Telegram,
    Discord,
}

use Place::{Discord, Telegram};

/// A question that the stand-in answers after it has called a tool.
const TALK: &str = "how long is the queue?";

/// The points that a turn with a tool passes, and at which passing it dies.
const TALK_POINTS: [(&str, u32); 15] = [
    ("message received", 1),
    ("turn claimed", 1),
    ("turn planned", 1),
    ("call reserved", 1),
    ("ledger written", 1),
    ("tools ran", 1),
    ("turn sealed", 1),
    ("first text sent", 1),
    ("first text noted", 1),
    ("ledger written", 2),
    ("turn answered by the model", 1),
    ("answer stored", 1),
    ("piece sent", 1),
    ("answer sent", 1),
    ("turn closed", 1),
];

/// The same of a reel that nobody has asked for before.
const REEL_POINTS: [(&str, u32); 23] = [
    ("message received", 1),
    ("turn planned", 1),
    ("reel submitted", 1),
    ("turn closed", 1),
    ("board posted", 1),
    ("board noted", 1),
    ("job claimed", 1),
    ("scrape reserved", 1),
    ("scrape started", 1),
    ("scrape paid", 1),
    ("cost written", 1),
    ("scrape done", 1),
    ("analysis reserved", 1),
    ("analysis paid", 1),
    ("cost written", 2),
    ("job ran", 1),
    ("job finished", 1),
    ("board taken", 1),
    ("turn planned", 2),
    ("ledger written", 1),
    ("answer stored", 1),
    ("piece sent", 1),
    ("answer sent", 1),
];

/// Where a send may be under way: Telegram cannot be asked whether it has arrived, so it may stand there twice. The
/// board is posted beside all else that happens at a reel's beginning.
const MAY_REPEAT: [&str; 8] = [
    "first text sent",
    "reel submitted",
    "turn closed",
    "board posted",
    "job claimed",
    "scrape reserved",
    "scrape started",
    "scrape paid",
];

/// One person, one bot that dies, and the database that outlives it.
struct Scene {
    sandbox: Arc<Sandbox>,
    db: TestDb,
    /// Its power is cut when the bot dies.
    disk: Option<Disk>,
    environment: Vec<(String, String)>,
    /// The person's direct messages on Discord.
    channel: String,
}

impl Scene {
    async fn new(db: TestDb) -> Scene {
        Self::at_speed(db, 8.0).await
    }

    async fn at_speed(db: TestDb, speed: f64) -> Scene {
        let sandbox = Sandbox::start(Settings { port: 0, speed, enforce_limits: false }).await.unwrap();
        let environment = environment(&sandbox, &db, &[]);
        let channel = sandbox.discord.dm(ADA);
        Scene { sandbox: Arc::new(sandbox), db, disk: None, environment, channel }
    }

    /// The same on a disk whose power can be cut.
    fn on(self, disk: Disk) -> Scene {
        let environment = self.environment.into_iter().chain(disk.environment()).collect();
        Scene { disk: Some(disk), environment, ..self }
    }

    /// The process is dead; what it had not synced is gone, too, where its power was cut.
    async fn is_dead(&mut self) {
        match &self.disk {
            Some(disk) => self.db.lose_power(disk).await,
            None => self.leases_run_out().await,
        }
    }

    async fn serve(&self, args: &[&str]) -> Process {
        let mut process = Process::serve(&self.environment, args);
        process.ready().await;
        process
    }

    async fn say(&self, place: Place, text: &str) {
        match place {
            Telegram => {
                self.sandbox.telegram.say(ANA, ANA, "Ana", text);
            }
            Discord => {
                until("Discord is connected", async || self.sandbox.discord.is_connected()).await;
                self.sandbox.discord.say(&self.channel, ADA, "Ada", text);
            }
        }
    }

    /// All that the bot shows: whether it is finished, and its text.
    fn screen(&self, place: Place) -> Vec<(bool, String)> {
        let finished = |text: &str, buttons: usize| !text.contains('▌') && buttons == 0;
        match place {
            Telegram => {
                let screen = self.sandbox.telegram.screen(ANA).into_iter().filter(|shown| shown.from_bot);
                screen.map(|shown| (finished(&shown.text, shown.buttons.len()), shown.text)).collect()
            }
            Discord => {
                let screen = self.sandbox.discord.screen(&self.channel).into_iter().filter(|shown| shown.from_bot);
                screen.map(|shown| (finished(&shown.content, shown.buttons.len()), shown.content)).collect()
            }
        }
    }

    /// The time of all leases of the dead passes.
    async fn leases_run_out(&self) {
        self.db.execute("UPDATE turns SET due_at = 0 WHERE leased_by IS NOT NULL AND state <> 'closed'").await;
        self.db.execute("UPDATE jobs SET leased_until = 0 WHERE state = 'running'").await;
        self.db.execute("UPDATE boards SET posting_until = 1 WHERE posting_until > 0").await;
        self.db.execute("UPDATE leases SET until = 0").await;
    }

    async fn drained(&self, place: Place, what: &str) {
        until(what, async || {
            let answered = self.screen(place).iter().any(|(finished, _)| *finished);
            self.sandbox.telegram.pending() == 0 && answered && self.db.is_idle().await.unwrap()
        })
        .await;
    }

    /// One finished answer; on Telegram another one only with the mark, or behind an unfinished one.
    fn assert_answered_once(&self, place: Place, what: &str, may_repeat: bool, sign: &str) {
        let screen = self.screen(place);
        let finals: Vec<&String> = screen.iter().filter(|(finished, _)| *finished).map(|(_, text)| text).collect();
        let unmarked = finals.iter().filter(|text| !text.contains(MARK)).count();
        assert!(!finals.is_empty() && unmarked <= 1, "{what}: {screen:#?}");
        assert!(finals.iter().all(|text| text.contains(sign)), "{what}: {screen:#?}");
        let most = if may_repeat && place == Telegram { 2 } else { 1 };
        assert!(screen.len() <= most, "{what}: {screen:#?}");
    }

    /// Every call that the providers charge is in the ledger, once.
    async fn assert_paid_once(&self, what: &str, reels: usize) {
        let runs = self.sandbox.apify.runs();
        // What was reserved for a run that was not started any more counts as lost.
        let unheard = "SELECT COUNT(*) FROM ledger WHERE provider = 'apify' AND outcome IN ('started', 'lost')";
        let unheard = usize::try_from(self.db.number(unheard, &[]).await).unwrap();
        assert!(unheard <= 1 && runs.len() == reels, "{what}: {runs:?}, {unheard} lost");
        let charged: i64 = runs.iter().map(|run| run.charged_micro_usd).sum();
        let known = "SELECT COUNT(*) FROM ledger WHERE provider = 'apify' AND outcome NOT IN ('started', 'lost')";
        let sum = "SELECT CAST(COALESCE(SUM(micro_usd), 0) AS BIGINT) FROM ledger WHERE provider = 'apify' AND outcome NOT IN ('started', 'lost')";
        let rows = (self.db.number(known, &[]).await, self.db.number(sum, &[]).await);
        assert_eq!(rows, (reels as i64, charged), "{what}: Apify");
        // The call that died with its process stands there with what it may have cost, charged or not.
        let gemini = self.sandbox.gemini.charged().len() as i64;
        let rows = self.db.number("SELECT COUNT(*) FROM ledger WHERE provider = 'gemini'", &[]).await;
        let died = self
            .db
            .number("SELECT COUNT(*) FROM ledger WHERE provider = 'gemini' AND outcome IN ('started', 'lost')", &[])
            .await;
        assert!(died <= 1 && (rows - died..=rows).contains(&gemini), "{what}: Gemini {rows}, {died} died, {gemini}");
        let openai = self.sandbox.openai.charged().len() as i64;
        let rows = self.db.number("SELECT COUNT(*) FROM ledger WHERE provider = 'openai'", &[]).await;
        let died = self
            .db
            .number("SELECT COUNT(*) FROM ledger WHERE provider = 'openai' AND outcome IN ('started', 'lost')", &[])
            .await;
        assert!(died <= 1 && (rows - died..=rows).contains(&openai), "{what}: OpenAI {rows}, {died} died, {openai}");
        let free = self.db.number("SELECT COUNT(*) FROM ledger WHERE micro_usd <= 0", &[]).await;
        assert_eq!(free, 0, "{what}: nothing is counted as nothing");
    }
}

/// Dies at a point while it answers `text`, starts again, and is looked at.
async fn die(on: On, place: Place, text: &str, (point, nth): (&str, u32), reels: usize, sign: &str) {
    let what = format!("{place:?}, {point} {nth}");
    // Fast, but slow enough that an answer is seen growing where that is when it dies, and that its first text is noted
    // before its end.
    let is_while_growing = point.starts_with("first text") || (point, nth) == ("ledger written", 2);
    let speed = if is_while_growing { 2.0 } else { 8.0 };
    let mut scene = match on {
        On::Sqlite => Scene::at_speed(TestDb::sqlite().await, speed).await,
        On::Postgres => Scene::at_speed(TestDb::postgres().await, speed).await,
        On::Disk => {
            let disk = Disk::new();
            Scene::at_speed(TestDb::sqlite_on(&disk).await, speed).await.on(disk)
        }
    };
    let mut process = scene.serve(&["--crash-at", point, "--crash-nth", &nth.to_string()]).await;
    scene.say(place, text).await;
    process.aborted(&what).await;
    scene.is_dead().await;
    let mut process = scene.serve(&[]).await;
    scene.drained(place, &what).await;
    process.stop().await;
    scene.assert_answered_once(place, &what, MAY_REPEAT.contains(&point), sign);
    scene.assert_paid_once(&what, reels).await;
}

#[derive(Clone, Copy)]
enum On {
    Sqlite,
    /// SQLite, and the power goes with the process.
    Disk,
    Postgres,
}

/// Several at a time: most of it is waiting.
async fn die_everywhere(on: On, place: Place, text: &str, points: &[(&str, u32)], reels: usize, sign: &str) {
    let all = points.iter().map(|point| async { die(on, place, text, *point, reels, sign).await });
    futures::stream::iter(all).buffer_unordered(4).collect::<Vec<()>>().await;
}

const REEL: &str = "is my hook any good? https://www.instagram.com/reel/DLlGZiCOBQ0/";

macro_rules! everywhere {
    ($($name:ident: $place:expr, $text:expr, $points:expr, $reels:expr, $sign:expr;)+) => {$(
        mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread")]
            async fn sqlite() {
                die_everywhere(On::Sqlite, $place, $text, $points, $reels, $sign).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn power_cut() {
                die_everywhere(On::Disk, $place, $text, $points, $reels, $sign).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn postgres() {
                die_everywhere(On::Postgres, $place, $text, $points, $reels, $sign).await;
            }
        }
    )+};
}

everywhere! {
    a_talk_on_telegram_outlives_every_point: Telegram, TALK, &TALK_POINTS, 0, "your queue stands";
    a_reel_on_telegram_outlives_every_point: Telegram, REEL, &REEL_POINTS, 1, "Hook";
    a_talk_on_discord_outlives_every_point: Discord, TALK, &TALK_POINTS, 0, "your queue stands";
    a_reel_on_discord_outlives_every_point: Discord, REEL, &REEL_POINTS, 1, "Hook";
}

/// What has no growing text is one new message: on Telegram it may come twice, the second time with the mark.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_without_frames_is_repeated_with_the_mark_on_telegram_alone() {
    for point in ["piece sent", "answer sent"] {
        for (place, messages) in [(Telegram, 2), (Discord, 1)] {
            let scene = Scene::new(TestDb::sqlite().await).await;
            let mut process = scene.serve(&["--crash-at", point]).await;
            scene.say(place, "https://www.instagram.com/stories/someone/123456/").await;
            process.aborted(point).await;
            let mut process = scene.serve(&[]).await;
            scene.drained(place, point).await;
            process.stop().await;
            let screen = scene.screen(place);
            assert_eq!(screen.len(), messages, "{place:?} {point}: {screen:#?}");
            let marked: Vec<bool> = screen.iter().map(|(_, text)| text.contains(MARK)).collect();
            let wanted: &[bool] = if place == Telegram { &[false, true] } else { &[false] };
            assert_eq!(marked, wanted, "{place:?} {point}: {screen:#?}");
        }
    }
}

/// An answer of several messages that dies behind its second one: no message is lost, and what stands there twice on
/// Telegram says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_goes_on_behind_the_piece_it_died_at() {
    for nth in 1..=3_u32 {
        for place in [Telegram, Discord] {
            let scene = Scene::new(TestDb::sqlite().await).await;
            let limit = if place == Telegram { 4096 } else { 2000 };
            let paragraph = |at: usize| format!("Paragraph {at}. {}", "word ".repeat(limit / 12));
            let answer = (0..6).map(paragraph).collect::<Vec<_>>().join("\n\n");
            scene.sandbox.openai.script(Script::Text(answer));
            let mut process = scene.serve(&["--crash-at", "piece sent", "--crash-nth", &nth.to_string()]).await;
            scene.say(place, "tell me everything").await;
            process.aborted("piece sent").await;
            let mut process = scene.serve(&[]).await;
            scene.drained(place, "the whole answer").await;
            process.stop().await;
            let screen = scene.screen(place);
            let whole = screen.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("\n");
            for at in 0..6 {
                let times = whole.matches(&format!("Paragraph {at}.")).count();
                let most = if place == Telegram && whole.contains(MARK) { 2 } else { 1 };
                assert!((1..=most).contains(&times), "{place:?} {nth}: paragraph {at} {times} times: {screen:#?}");
            }
            assert!(screen.iter().all(|(finished, _)| *finished), "{place:?} {nth}: {screen:#?}");
            assert_eq!(scene.sandbox.openai.charged().len(), 1, "what is known is not asked for again");
        }
    }
}

#[test]
fn every_point_of_the_program_is_died_at() {
    let mut named = BTreeSet::new();
    let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let source = std::fs::read_to_string(&path).unwrap();
            for call in source.split("crash::point(\"").skip(1) {
                named.insert(call.split('"').next().unwrap().to_owned());
            }
        }
    }
    let tried: BTreeSet<String> =
        TALK_POINTS.iter().chain(&REEL_POINTS).map(|(point, _)| (*point).to_owned()).collect();
    assert_eq!(named, tried);
}

/// Ten lives, each ended by `kill -9` at a moment that only the seed knows.
async fn storm(db: TestDb, seed: u64) {
    const LIVES: usize = 10;
    const PEOPLE: i64 = 24;
    const CALM: usize = 4;
    let scene = Scene::new(db).await;
    let mut random = StdRng::seed_from_u64(seed);
    let channels: Vec<String> = (0..6).map(|at| scene.sandbox.discord.dm(&format!("90{at}"))).collect();
    // A chat in which the bot has never heard anything is not read again after a gap.
    let mut process = scene.serve(&[]).await;
    until("Discord is connected", async || scene.sandbox.discord.is_connected()).await;
    for (at, channel) in channels.iter().enumerate() {
        scene.sandbox.discord.say(channel, &format!("90{at}"), "D", "/help");
    }
    until("all have been greeted", async || {
        let greeted = |channel: &String| scene.sandbox.discord.screen(channel).iter().any(|shown| shown.from_bot);
        channels.iter().all(greeted) && scene.db.is_idle().await.unwrap()
    })
    .await;
    process.stop().await;

    let reel = |number: usize| format!("https://www.instagram.com/reel/DSTORM{number:05}/");
    let (mut reels, mut person, mut on_discord) = (0, 0, 0);
    for life in 0..LIVES {
        let mut process = scene.serve(&[]).await;
        if life % CALM == CALM - 1 {
            // Nothing is begun more often than is tried, however slow the machine is.
            until("nothing is owed", async || {
                scene.sandbox.telegram.pending() == 0 && scene.db.is_idle().await.unwrap()
            })
            .await;
        }
        let share = PEOPLE / LIVES as i64 + 1;
        for _ in 0..share {
            person += 1;
            if person > PEOPLE {
                break;
            }
            let text = if random.random_bool(0.4) {
                reels += 1;
                reel(reels)
            } else {
                format!("{TALK} I am number {person}")
            };
            scene.sandbox.telegram.say(person, person, "P", &text);
        }
        if life < channels.len() {
            scene.sandbox.discord.say(&channels[life], &format!("90{life}"), "D", &format!("{TALK} in life {life}"));
            on_discord += 1;
        }
        let moment = Duration::from_millis(random.random_range(20..1500));
        tokio::time::sleep(moment).await;
        assert!(process.runs(), "seed {seed}, life {life}: it died by itself");
        process.kill();
        scene.leases_run_out().await;
    }
    let mut process = scene.serve(&[]).await;
    until("everything is answered", async || {
        let discord = channels.iter().take(on_discord).all(|channel| {
            let screen = scene.sandbox.discord.screen(channel);
            screen.iter().filter(|shown| shown.from_bot && !shown.content.contains('▌')).count() >= 2
        });
        scene.sandbox.telegram.pending() == 0 && discord && scene.db.is_idle().await.unwrap()
    })
    .await;
    process.stop().await;

    for person in 1..=PEOPLE {
        let screen: Vec<_> = scene.sandbox.telegram.screen(person).into_iter().filter(|s| s.from_bot).collect();
        let finals: Vec<&str> = screen
            .iter()
            .filter(|shown| !shown.text.contains('▌') && shown.buttons.is_empty())
            .map(|shown| shown.text.as_str())
            .collect();
        let unmarked = finals.iter().filter(|text| !text.contains(MARK)).count();
        assert!(!finals.is_empty() && unmarked <= 1, "seed {seed}, person {person}: {screen:#?}");
    }
    for channel in channels.iter().take(on_discord) {
        let screen = scene.sandbox.discord.screen(channel);
        let bots: Vec<_> = screen.iter().filter(|shown| shown.from_bot).collect();
        assert_eq!(bots.len(), 2, "seed {seed}: {bots:#?}");
    }
    // A death between the start of a run and the row that holds its id loses the run, but not what it cost.
    let runs = scene.sandbox.apify.runs();
    let rows = scene.db.number("SELECT COUNT(*) FROM ledger WHERE provider = 'apify'", &[]).await as usize;
    let lost = scene
        .db
        .number("SELECT COUNT(*) FROM ledger WHERE provider = 'apify' AND outcome IN ('started', 'lost')", &[])
        .await;
    // On a slow machine all lives together may be too short for a reel: what was taken up nine times is given up, and told.
    let given_up = scene.db.number("SELECT COUNT(*) FROM jobs WHERE state = 'failed' AND attempt = 9", &[]).await;
    let failed = scene.db.number("SELECT COUNT(*) FROM jobs WHERE state <> 'done'", &[]).await;
    assert_eq!(failed, given_up, "seed {seed}: no reel ends without a result for another cause");
    let paid = rows - lost as usize;
    assert!((reels - given_up as usize..=reels).contains(&paid), "seed {seed}: each of {reels} is paid once: {paid}");
    assert!(runs.len() <= rows && lost <= 6, "seed {seed}: {rows} rows, {lost} lost, {runs:?}");
    // What was lost stands there with the most that it may have cost.
    let wrong = "SELECT COUNT(*) FROM ledger WHERE provider = 'apify' \
        AND (micro_usd < 3600 OR (outcome NOT IN ('started', 'lost') AND micro_usd <> 3600))";
    assert_eq!(scene.db.number(wrong, &[]).await, 0, "seed {seed}");
    let jobs = scene.db.number("SELECT COUNT(*) FROM jobs", &[]).await as usize;
    assert_eq!(jobs, reels, "seed {seed}: one job for each reel");
    assert_eq!(scene.sandbox.discord.violations(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_deaths_loses_nothing_on_sqlite() {
    storm(TestDb::sqlite().await, 20_261_124).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_deaths_loses_nothing_on_postgres() {
    storm(TestDb::postgres().await, 4_711).await;
}

/// What Telegram was told is stored, moments ago: seven people are answered although the power went.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_outlives_a_power_cut() {
    let disk = Disk::new();
    let mut scene = Scene::at_speed(TestDb::sqlite_on(&disk).await, 2.0).await.on(disk);
    let mut process = scene.serve(&[]).await;
    for person in 1..=6 {
        scene.sandbox.telegram.say(person, person, "P", &format!("{TALK} I am number {person}"));
    }
    scene.sandbox.telegram.say(7, 7, "P", REEL);
    until("all is acknowledged", async || scene.sandbox.telegram.pending() == 0).await;
    process.kill();
    scene.is_dead().await;
    assert_eq!(scene.db.number("SELECT COUNT(*) FROM inbox", &[]).await, 7);
    let mut process = scene.serve(&[]).await;
    until("all are answered", async || scene.db.is_idle().await.unwrap()).await;
    process.stop().await;
    for person in 1..=7 {
        let screen: Vec<_> = scene.sandbox.telegram.screen(person).into_iter().filter(|shown| shown.from_bot).collect();
        let finals = screen.iter().filter(|shown| !shown.text.contains('▌') && shown.buttons.is_empty());
        assert_eq!(finals.count(), 1, "{person}: {screen:#?}");
    }
    let rows = scene.db.number("SELECT COUNT(*) FROM ledger WHERE provider = 'openai'", &[]).await;
    assert!(rows >= scene.sandbox.openai.charged().len() as i64, "each paid call is known: {rows}");
    assert_eq!(scene.sandbox.apify.runs().len(), 1, "the paid run is known");
}

/// A sync that failed is not taken for done, and the next one is not taken for both.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_after_a_sync_that_failed_outlives_a_power_cut() {
    let disk = Disk::new();
    let mut scene = Scene::at_speed(TestDb::sqlite_on(&disk).await, 2.0).await.on(disk);
    let disk = || scene.disk.as_ref().unwrap();
    let mut process = scene.serve(&[]).await;
    until("it polls", async || scene.sandbox.telegram.control.count("getUpdates") > 0).await;
    disk().fail_once();
    for person in 1..=3 {
        scene.sandbox.telegram.say(person, person, "P", "/help");
    }
    until("a sync fails", async || disk().has_failed()).await;
    until("all is acknowledged all the same", async || scene.sandbox.telegram.pending() == 0).await;
    process.kill();
    scene.is_dead().await;
    assert_eq!(scene.db.number("SELECT COUNT(*) FROM inbox", &[]).await, 3);
    let mut process = scene.serve(&[]).await;
    until("all are answered", async || scene.db.is_idle().await.unwrap()).await;
    process.stop().await;
}
