//! A process that is stopped for longer than its leases, as a frozen machine is, and wakes up again: it writes nothing over
//! what others have delivered meanwhile, and tells nobody of trouble that there is none of. So with one that is cut off from
//! the database alone.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use reelcoach::core::wording;
use sandbox::openai::Script;
use sandbox::{Control, Sandbox, Settings};
use stress::proxy::{Path, Proxy};

use crate::bot::{TestBot, environment, until, until_within};
use crate::process::Process;
use crate::support::TestDb;

const ANA: i64 = 42;
const ADA: &str = "101";

/// Longer than any lease.
const STOPPED: Duration = Duration::from_secs(45);

/// A turn's lease of 20 s, and the time of a slow answer.
const PATIENCE: Duration = Duration::from_secs(90);

/// An answer that grows for seconds.
fn answer() -> String {
    let words: Vec<String> = (1..=260).map(|n| format!("w{n}")).collect();
    words.join(" ")
}

/// A sandbox so slow that everything is in the making when it happens.
async fn slow(speed: f64) -> Arc<Sandbox> {
    Arc::new(Sandbox::start(Settings { port: 0, speed, enforce_limits: false }).await.unwrap())
}

/// The texts that were shown in the making of an answer, in their order.
fn frames(control: &Control, chat: &str) -> Vec<String> {
    let of_chat = |asked: &sandbox::Asked| {
        asked.body["chat_id"].as_i64().is_some_and(|id| id.to_string() == chat) || asked.path.contains(chat)
    };
    let text = |asked: &sandbox::Asked| {
        ["text", "content"].iter().find_map(|field| asked.body[field].as_str().map(str::to_owned))
    };
    control.asked().iter().filter(|asked| of_chat(asked)).filter_map(text).filter(|text| text.contains('▌')).collect()
}

fn assert_never_shortened(control: &Control, chat: &str, what: &str) {
    let lengths: Vec<usize> = frames(control, chat).iter().map(|frame| frame.chars().count()).collect();
    assert!(lengths.is_sorted(), "{what}: {lengths:?}");
}

/// Where the person speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Telegram,
    Discord,
}

use Place::{Discord, Telegram};

/// Its holder is stopped right before it is sent, when it is the `nth`, and wakes up when another one has done it.
async fn stopped_at(place: Place, point: &str, nth: u32, says: &str) {
    let what = format!("{place:?}, {point} {nth}");
    let (sandbox, db) = (slow(0.5).await, TestDb::postgres().await);
    sandbox.apify.set_scrape(Duration::from_secs(3));
    let environment = environment(&sandbox, &db, &[]);
    for _ in 0..2 {
        sandbox.openai.script(Script::Text(answer()));
    }
    let channel = sandbox.discord.dm(ADA);
    let screen = || -> Vec<String> {
        match place {
            Telegram => sandbox
                .telegram
                .screen(ANA)
                .into_iter()
                .filter(|shown| shown.from_bot)
                .map(|shown| shown.text)
                .collect(),
            Discord => {
                let screen = sandbox.discord.screen(&channel).into_iter();
                screen.filter(|shown| shown.from_bot).map(|shown| shown.content).collect()
            }
        }
    };
    let mut first = Process::serve(&environment, &["--freeze-at", point, "--freeze-nth", &nth.to_string()]);
    first.ready().await;
    match place {
        Telegram => {
            sandbox.telegram.say(ANA, ANA, "Ana", says);
        }
        Discord => {
            until("Discord is connected", async || sandbox.discord.is_connected()).await;
            sandbox.discord.say(&channel, ADA, "Ada", says);
        }
    }
    until(&format!("{what}: it is stopped"), async || first.is_stopped()).await;
    let mut second = Process::serve(&environment, &[]);
    second.ready().await;
    until_within(PATIENCE, &format!("{what}: the other one answers"), async || {
        screen().iter().any(|text| text.ends_with("w260")) && db.is_idle().await.unwrap()
    })
    .await;
    let delivered = screen();
    first.resume();
    first
        .until("it hears that it is alone no more", |log| log.iter().any(|line| line["message"] == "the role is lost"))
        .await;
    // It ends when all that it had begun has ended.
    first.stop().await;
    second.stop().await;
    assert_eq!(screen(), delivered, "{what}");
    assert!(delivered.len() == 1 && delivered[0].ends_with("w260"), "{what}: {delivered:#?}");
    match place {
        Telegram => assert_never_shortened(&sandbox.telegram.control, &ANA.to_string(), &what),
        Discord => assert_never_shortened(&sandbox.discord.control, &channel, &what),
    }
    assert_eq!(sandbox.discord.violations(), Vec::<String>::new(), "{what}");
    if matches!(point, "call due" | "purchase due") {
        let paid = (sandbox.openai.charged().len(), sandbox.apify.runs().len(), sandbox.gemini.charged().len());
        let once = if says.contains("/reel/") { (1, 1, 1) } else { (1, 0, 0) };
        assert_eq!(paid, once, "{what}");
        // The call that was not made any more is none of the budget's.
        let reserved = "SELECT COUNT(*) FROM ledger WHERE reserved_until IS NOT NULL";
        assert_eq!(db.number(reserved, &[]).await, 0, "{what}");
    }
}

/// All at a time: most of it is waiting.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_about_to_be_sent_is_not_sent_behind_the_lease() {
    const TALK: &str = "tell me everything";
    const REEL: &str = "https://www.instagram.com/reel/DFROZEN0001/";
    let all = [
        (Telegram, "frame due", 4, TALK),
        (Discord, "frame due", 4, TALK),
        (Telegram, "piece due", 1, TALK),
        (Discord, "piece due", 1, TALK),
        (Telegram, "board due", 1, REEL),
        (Telegram, "board due", 2, REEL),
        // Reserved, and not yet paid for.
        (Telegram, "call due", 1, TALK),
        (Discord, "call due", 1, TALK),
        (Telegram, "purchase due", 1, REEL),
        (Telegram, "purchase due", 2, REEL),
        // Heard by both: whoever wakes up with it finds it stored, and apologises for nothing.
        (Telegram, "message due", 1, TALK),
    ];
    let all = all.map(|(place, point, nth, says)| stopped_at(place, point, nth, says));
    futures::stream::iter(all).buffer_unordered(7).collect::<Vec<()>>().await;
}

const TALKERS: std::ops::RangeInclusive<i64> = 1..=8;
const READERS: std::ops::RangeInclusive<i64> = 11..=12;

fn link(person: i64) -> String {
    format!("https://www.instagram.com/reel/DFRZN{person:06}/")
}

/// Everybody's answer is in the making, and what stands on screen is noted.
async fn all_in_the_making(sandbox: &Sandbox, db: &TestDb) {
    for _ in TALKERS.chain(TALKERS).chain(READERS).chain(READERS) {
        sandbox.openai.script(Script::Text(answer()));
    }
    for person in READERS {
        sandbox.telegram.say(person, person, "P", &link(person));
    }
    until("the boards are there", async || {
        db.number("SELECT COUNT(*) FROM boards WHERE message IS NOT NULL AND posting_until = 0", &[]).await == 2
    })
    .await;
    for person in TALKERS {
        sandbox.telegram.say(person, person, "P", &format!("what do you think of idea {person}?"));
    }
    until("all answers are growing", async || {
        db.number("SELECT COUNT(*) FROM turns WHERE kind = 'talk' AND state = 'open' AND shown <> '[]'", &[]).await == 8
    })
    .await;
}

/// What the bot shows in all chats.
fn texts(sandbox: &Sandbox) -> Vec<String> {
    sandbox.telegram.shown_by_bot().into_iter().map(|(_, shown)| shown.text).collect()
}

fn assert_whole(sandbox: &Sandbox, people: impl Iterator<Item = i64>) {
    for person in people {
        let shown: Vec<_> = sandbox.telegram.screen(person).into_iter().filter(|shown| shown.from_bot).collect();
        assert!(shown.len() == 1 && shown[0].text.ends_with("w260"), "{person}: {shown:#?}");
        assert_never_shortened(&sandbox.telegram.control, &person.to_string(), &person.to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_wakes_up_in_the_midst_of_many_answers_shortens_none_and_tells_nobody_of_trouble() {
    const LATE: i64 = 31;
    let (sandbox, db) = (slow(0.4).await, TestDb::postgres().await);
    sandbox.apify.set_scrape(Duration::from_secs(4));
    let environment = environment(&sandbox, &db, &[("REEL_LANES", "2")]);
    let mut first = Process::serve(&environment, &[]);
    first.ready().await;
    all_in_the_making(&sandbox, &db).await;
    first.freeze();
    let mut second = Process::serve(&environment, &[]);
    second.ready().await;
    sandbox.telegram.say(LATE, LATE, "P", "/help");
    until_within(PATIENCE, "the other one answers", async || {
        sandbox.telegram.pending() == 0 && db.is_idle().await.unwrap()
    })
    .await;
    let delivered = texts(&sandbox);
    first.resume();
    first
        .until("it hears that it is alone no more", |log| log.iter().any(|line| line["message"] == "the role is lost"))
        .await;
    first.stop().await;
    second.stop().await;
    assert_eq!(texts(&sandbox), delivered);
    assert_whole(&sandbox, TALKERS.chain(READERS));
    assert!(delivered.iter().all(|text| !text.contains('▌') && !text.contains(&wording::late())), "{delivered:#?}");
    assert_eq!(delivered.len(), 11, "{delivered:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_alone_that_was_stopped_goes_on_and_pays_nothing_twice() {
    let (sandbox, db) = (slow(0.4).await, TestDb::sqlite().await);
    sandbox.apify.set_scrape(Duration::from_secs(4));
    let environment = environment(&sandbox, &db, &[("REEL_LANES", "2")]);
    let mut process = Process::serve(&environment, &[]);
    process.ready().await;
    all_in_the_making(&sandbox, &db).await;
    process.freeze();
    tokio::time::sleep(STOPPED).await;
    process.resume();
    until("all is answered", async || sandbox.telegram.pending() == 0 && db.is_idle().await.unwrap()).await;
    process.stop().await;
    assert_whole(&sandbox, TALKERS.chain(READERS));
    for again in ["SELECT COUNT(*) FROM turns WHERE attempt > 1", "SELECT COUNT(*) FROM jobs WHERE attempt > 1"] {
        assert_eq!(db.number(again, &[]).await, 0, "{again}");
    }
    assert_eq!(sandbox.openai.charged().len(), 10);
    assert_eq!((sandbox.apify.runs().len(), sandbox.gemini.charged().len()), (2, 2));
}

/// Its path to the database goes silent while it polls, and holds the gateway: another one does both from the end of its
/// roles on, and it hears so from Telegram.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_cut_off_from_the_database_leaves_the_platforms_to_the_other() {
    const WAITING: &str = "telegram: another process polls, and the role cannot be renewed: waiting until it can";
    let (sandbox, db) = (slow(8.0).await, TestDb::postgres().await);
    let proxy = Proxy::to(&db.url).await.unwrap();
    let near = environment(&sandbox, &db, &[]);
    let far = environment(&sandbox, &db, &[("DATABASE_URL", &proxy.url(&db.url))]);
    let mut first = Process::serve(&far, &[]);
    first.ready().await;
    until("Discord is connected", async || sandbox.discord.is_connected()).await;
    let dm = sandbox.discord.dm(ADA);
    let in_dm = || -> Vec<String> {
        let screen = sandbox.discord.screen(&dm).into_iter();
        screen.filter(|shown| shown.from_bot).map(|shown| shown.content).collect()
    };
    // A chat in which the bot has heard something is read again by the next holder.
    sandbox.discord.say(&dm, ADA, "Ada", "/help");
    until("Ada is answered", async || in_dm().len() == 1 && db.is_idle().await.unwrap()).await;
    let mut second = Process::serve(&near, &[]);
    second.ready().await;

    proxy.set(Path::Silent).await;
    for person in TALKERS {
        sandbox.telegram.say(person, person, "P", "/help");
    }
    sandbox.discord.say(&dm, ADA, "Ada", "/queue");
    let said = |person: i64| -> Vec<String> {
        let screen = sandbox.telegram.screen(person).into_iter();
        screen.filter(|shown| shown.from_bot).map(|shown| shown.text).collect()
    };
    until("the other one answers", async || {
        TALKERS.into_iter().all(|person| !said(person).is_empty()) && in_dm().len() > 1
    })
    .await;
    first.until("it hears that another one polls", |log| log.iter().any(|line| line["message"] == WAITING)).await;
    // What it heard itself it has looked for by then: nobody is told that it takes longer.
    let tried = |log: &[serde_json::Value]| {
        log.iter()
            .filter(|line| line["message"].as_str().is_some_and(|said| said.contains("could not be stored")))
            .count()
    };
    first.until("it has given up to store what it heard", |log| tried(log) > 0).await;
    proxy.set(Path::Open).await;
    first
        .until("it hears that it is alone no more", |log| log.iter().any(|line| line["message"] == "the role is lost"))
        .await;
    until("all is stored", async || sandbox.telegram.pending() == 0 && db.is_idle().await.unwrap()).await;
    first.stop().await;
    second.stop().await;
    for person in TALKERS {
        let said = said(person);
        assert!(said.len() == 1 && !said[0].contains(&wording::late()), "{person}: {said:#?}");
    }
    let in_dm = in_dm();
    assert!(in_dm.len() == 2 && in_dm.iter().all(|said| !said.contains(&wording::late())), "{in_dm:#?}");
    let conflicts = second.log().iter().filter(|line| line.to_string().contains("another process polls")).count();
    assert!(conflicts <= 2, "{conflicts} times the one that works was kept from polling");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_of_trouble_about_a_message_that_is_stored() {
    const BEN: i64 = 77;
    let bot = TestBot::start(TestDb::postgres().await, &[]).await;
    let telegram = &bot.sandbox.telegram;
    let message = telegram.say(ANA, ANA, "Ana", "/help");
    bot.drain().await;
    // Nobody can be looked up, as while another transaction hangs; what is stored can.
    bot.db.execute_all("BEGIN; LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE").await;
    telegram.redeliver(ANA, message);
    telegram.say(BEN, BEN, "Ben", "/help");
    bot.until("who waits is told", async || bot.telegram(BEN).iter().any(|text| text.contains(&wording::late()))).await;
    let polls = telegram.control.count("getUpdates");
    bot.until("both are asked for again", async || telegram.control.count("getUpdates") > polls).await;
    bot.db.execute_all("COMMIT").await;
    bot.drain().await;
    assert_eq!(bot.telegram(ANA).len(), 1, "{:#?}", bot.telegram(ANA));
    assert_eq!(bot.telegram(BEN).len(), 2, "{:#?}", bot.telegram(BEN));
    bot.end().await;
}
