//! The planner against the product: its line decides as the store does, what it measures is what was written, and what
//! it prints is what `docs/capacity.md` shows.

use std::collections::HashMap;
use std::time::Duration;

use reelcoach::clock::Timestamp;
use reelcoach::core::capacity::line::{JobNumber, Line};
use reelcoach::core::capacity::{Demand, Plan, from_past, too_little};
use reelcoach::ids::{ChatId, InstanceId, JobId, PersonId, Platform, Shortcode, TurnId};
use reelcoach::store::Store;
use reelcoach::store::chats::Role;
use reelcoach::store::lanes::Lane;
use reelcoach::store::ledger::Entry;
use reelcoach::store::reels::{Claimed, JobEnd, QueueLimits, Submitted, Wish};
use reelcoach::store::turns::memory::Remembered;
use reelcoach::store::turns::{Arrival, NewMessage};
use reelcoach::upstream::{Provider, Usage};
use serde_json::Value;

use crate::docs::assert_block;

use crate::bot::TestBot;
use crate::process::run;
use crate::support::TestDb;

const START: Timestamp = Timestamp(1_790_000_000_000);
const DAY: i64 = 86_400_000;
const LIMITS: QueueLimits =
    QueueLimits { interval: Duration::from_secs(30), waiting_per_person: 3, waiting: 8, pipeline: 1 };

/// xorshift64*, so that an afternoon is named by its seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }
}

fn code(n: u64) -> Shortcode {
    format!("REEL{n:06}").parse().unwrap()
}

async fn submit(store: &Store, person: PersonId, reel: u64, now: Timestamp) -> Submitted {
    let chat = ChatId::new(Platform::Telegram, "1");
    let reels = [code(reel)];
    let turn = TurnId::new();
    let wish = Wish {
        turn,
        person,
        chat: &chat,
        reply_to: None,
        placeholder: None,
        question: "",
        reels: &reels,
        fresh: false,
    };
    store.submit(&wish, LIMITS, &|_| String::new(), now).await.unwrap().remove(0)
}

/// One random afternoon through the store and through the planner's line, step by step the same.
async fn afternoon(db: &TestDb, seed: u64) -> HashMap<&'static str, u32> {
    let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut lanes: Vec<Lane> = (0..1 + chance.below(2) as u32).map(Lane::direct).collect();
    let n8n = (0..chance.below(4) as u32).map(|at| Lane::n8n(at + 10 * seed as u32));
    lanes.extend(n8n);
    if chance.below(3) == 0 {
        // Webhooks first.
        lanes.rotate_left(1);
    }
    let mut line = Line::new(LIMITS, &lanes);
    let mut people = Vec::new();
    for n in 0..6 {
        people.push(db.person(Platform::Telegram, &format!("{seed} {n}"), "P", START).await.unwrap());
    }
    // Reels of other afternoons are not among them.
    let base = seed * 1000;
    let begin = START + Duration::from_secs(seed * 100_000);
    let mut now = begin;
    let mut running: Vec<(Claimed, usize, Timestamp)> = Vec::new();
    let mut numbers: HashMap<JobId, JobNumber> = HashMap::new();
    let mut seen: HashMap<&'static str, u32> = HashMap::new();
    while now < begin + Duration::from_secs(1_500) || !running.is_empty() || line.waiting() > 0 {
        now = now + Duration::from_millis(200 + chance.below(4_000));
        while let Some(at) = running.iter().position(|(.., end)| *end <= now) {
            let (job, lane, _) = running.remove(at);
            let failed = chance.below(5) == 0;
            let until = now + Duration::from_secs(60 + chance.below(300));
            let end = if failed {
                JobEnd::Failed { content: "\"private\"".into(), pipeline: 1, until, refund: false }
            } else {
                JobEnd::Done { content: "{}".into(), pipeline: 1, until }
            };
            assert!(db.finish_job(&job, &end, LIMITS.interval, now).await.unwrap());
            line.finish(lane, until, failed);
        }
        let bursts = if now < begin + Duration::from_secs(1_500) { chance.below(4) } else { 0 };
        for _ in 0..bursts {
            let (person, reel) = (chance.below(6), base + chance.below(40));
            let stored = match submit(db, people[person as usize], reel, now).await {
                Submitted::Failed(_) => Submitted::Failed(String::new()),
                other => other,
            };
            let (planned, _) = line.submit(person as u32, reel, now);
            assert_eq!(stored, planned, "seed {seed}: person {person}, reel {reel} at {now:?}");
            *seen
                .entry(match planned {
                    Submitted::Cached => "cached",
                    Submitted::Failed(_) => "failed",
                    Submitted::Joined => "joined",
                    Submitted::Queued { .. } => "queued",
                    Submitted::Denied(_) => "denied",
                })
                .or_default() += 1;
        }
        loop {
            let stored = db.claim_job(InstanceId::new(), &lanes, now, Duration::from_secs(10_000)).await.unwrap();
            let planned = line.claim(now);
            let (Some(job), Some(taken)) = (&stored, planned) else {
                assert_eq!((stored.is_some(), planned.is_some()), (false, false), "seed {seed} at {now:?}");
                break;
            };
            assert_eq!(
                (job.shortcode.clone(), &job.lane),
                (code(taken.reel), &lanes[taken.lane]),
                "seed {seed} at {now:?}"
            );
            assert_eq!(numbers.insert(job.job, taken.job), None);
            let end = now + Duration::from_secs(5 + chance.below(60));
            running.push((stored.unwrap(), taken.lane, end));
        }
    }
    seen
}

on_both! {
    async fn the_planned_line_decides_as_the_store_does(db: TestDb) {
        let mut all: HashMap<&'static str, u32> = HashMap::new();
        for seed in 1..=4 {
            for (what, count) in afternoon(&db, seed).await {
                *all.entry(what).or_default() += count;
            }
        }
        for what in ["cached", "failed", "joined", "queued", "denied"] {
            assert!(all.get(what).is_some_and(|count| *count > 10), "the afternoons had {what}: {all:?}");
        }
    }

    async fn what_is_measured_is_what_was_written(db: TestDb) {
        // Ids begin with the system's time.
        let now = reelcoach::clock::Clock::System.now();
        let from = Timestamp(now.0 - 30 * DAY);
        let end = Timestamp(now.0 + 60_000);
        assert_eq!(db.measured(from, end).await.unwrap(), Default::default());
        let chat = ChatId::new(Platform::Telegram, "1");
        let mut people = Vec::new();
        for name in ["ana", "ben"] {
            people.push(db.person(Platform::Telegram, name, name, now).await.unwrap());
        }
        let midnight = (now.0 / DAY - 5) * DAY;
        let record = async |key: String, at: i64, person: usize, tool: &str, outcome: &str, latency_ms: i64| {
            let (provider, model) = match tool {
                "scrape" => (Provider::Apify, "apify"),
                "analyse" => (Provider::Gemini, "gemini-3.8-flash"),
                _ => (Provider::OpenAi, "gpt-6.1-sol"),
            };
            let usage = Usage { input_tokens: 1_000, cached_tokens: 800, output_tokens: 100, ..Usage::default() };
            let entry = Entry {
                key: &key, at: Timestamp(at), person: people[person], chat: &chat, provider, model, tool, usage,
                micro_usd: 3_600, price_version: "x", latency_ms, outcome,
            };
            assert!(db.record(entry).await.unwrap());
        };
        for n in 0..40 {
            record(format!("a{n}"), midnight + 20 * 3_600_000 + n, 0, "coach", "ok", 1_000 + n).await;
        }
        for n in 0..20 {
            record(format!("b{n}"), midnight + DAY + 8 * 3_600_000 + n, (n % 2) as usize, "coach", "ok", 2_000).await;
        }
        record("c".into(), midnight + DAY, 0, "coach", "timed_out", 90_000).await;
        record("d".into(), midnight + DAY, 0, "coach", "started", 0).await;
        record("e".into(), midnight + DAY, 0, "coach", "lost", 0).await;
        record("f".into(), midnight + DAY, 0, "summary", "cut", 3_000).await;
        for n in 0..3 {
            record(format!("s{n}"), midnight + n, 0, "scrape", "ok", 7_000).await;
            record(format!("g{n}"), midnight + n, 0, "analyse", "ok", 16_000).await;
        }
        record("gone".into(), midnight, 0, "scrape", "not_available", 60_000).await;
        record("failed".into(), midnight, 0, "scrape", "run_failed", 60_000).await;
        record("again".into(), midnight, 0, "analyse", "unavailable", 16_000).await;
        record("old".into(), from.0 - 1, 1, "coach", "ok", 1).await;
        // A turn with a reel in it, and one without; a reel that was run, and one that failed.
        for (n, reel) in [(0, true), (1, false)] {
            let message = reelcoach::ids::MessageRef::new(chat.clone(), format!("m{n}"));
            let arrival = Arrival { message: &message, person: people[n], payload: "{}", placeholder: None, atomic: false, guild: None,
                aside: false, merge_window: Duration::ZERO, limit: None, at: now };
            db.receive(arrival).await.unwrap();
            let turn = db.claim_turns(InstanceId::new(), &Platform::ALL, now, Duration::from_secs(60), 9).await.unwrap().remove(0);
            let conversation = db.memory(people[n], &chat, now).await.unwrap().conversation;
            let role = if reel { Role::Reel } else { Role::Person };
            let lines = [role, Role::Coach].map(|role| NewMessage { role, content: "x".into() });
            assert!(db.answer_turn(&turn, "{}", Some(&Remembered::of(conversation, &lines)), now).await.unwrap());
        }
        let failed = |kind: &str, until| {
            JobEnd::Failed { content: format!(r#"{{"kind":"{kind}"}}"#), pipeline: 1, until, refund: false }
        };
        for (n, link, end) in [
            (0, 0, JobEnd::Done { content: "{}".into(), pipeline: 1, until: end }),
            (1, 1, failed("unavailable", now)),
            (2, 1, failed("upstream_busy", now)),
        ] {
            let now = now + Duration::from_secs(20) * n;
            submit(&db, people[(n % 2) as usize], link, now).await;
            let job = db.claim_job(InstanceId::new(), &[Lane::direct(0)], now, Duration::from_secs(60)).await.unwrap().unwrap();
            assert!(db.finish_job(&job, &end, LIMITS.interval, now).await.unwrap());
        }
        let measured = db.measured(from, end).await.unwrap();
        assert_eq!(measured.person_days, 3, "Ana on two days, Ben on one");
        assert_eq!((measured.answers_by_hour[20], measured.answers_by_hour[8]), (40, 20));
        assert_eq!(measured.answers_by_hour.iter().sum::<i64>(), 60);
        assert_eq!((measured.coach_calls, measured.input_tokens, measured.cached_tokens, measured.output_tokens), (61, 61_000, 48_800, 6_100),
            "what failed was paid for too");
        assert_eq!(measured.beside_micro_usd, 7_200, "the summary, and the call whose end is not known");
        assert_eq!((measured.said, measured.answered, measured.reels_coached), (1, 2, 1));
        assert_eq!((measured.reels_run, measured.reels_failed, measured.links_run), (3, 2, 2));
        let causes: Vec<&str> = measured.failed.iter().map(|(_, cause)| cause.as_str()).collect();
        assert_eq!(causes, [r#"{"kind":"upstream_busy"}"#, r#"{"kind":"unavailable"}"#]);
        assert!(measured.failed.iter().all(|(link, _)| *link == code(1).to_string()));
        assert_eq!((measured.apify_runs, measured.apify_micro_usd, measured.gemini_calls, measured.gemini_input), (4, 18_000, 3, 4_000));
        assert_eq!(measured.scrape, [Duration::from_secs(7); 3]);
        assert_eq!(measured.analysis, [Duration::from_secs(16); 3]);
        assert_eq!((measured.coach.len(), measured.n8n.len()), (60, 0));
        assert!((5.0..6.1).contains(&measured.days), "{}", measured.days);
        assert!(too_little(&measured));
        let enough = reelcoach::store::measured::Measured { answered: 300, ..measured };
        let Demand::Daily(day) = from_past(&Plan::default(), &enough).demand else { panic!("days") };
        assert_eq!(day.people, 1);
    }

    async fn admins_see_it_in_a_chat(db: TestDb) {
        let bot = TestBot::start(db, &[("ADMIN_IDS", "telegram:42")]).await;
        bot.sandbox.telegram.say(77, 77, "Ben", "/capacity");
        bot.sandbox.telegram.say(42, 42, "Ana", "/capacity");
        bot.drain().await;
        assert_eq!(bot.telegram(77).pop().unwrap(), "Only the bot's admins can see that.");
        let shown = bot.telegram(42).join("\n");
        for words in ["Capacity of three example communities", "small", "viral", "OpenAI tokens/min", "Cost a month", "cheapest fix: "] {
            assert!(shown.contains(words), "{words}: {shown}");
        }
        let pictures: Vec<_> = bot.shown(42).into_iter().filter_map(|shown| shown.photo).collect();
        assert_eq!(pictures.len(), 1, "one picture");
        is_picture(&pictures[0]);
        assert!(bot.shown(77).iter().all(|shown| shown.photo.is_none()));
        bot.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn admins_see_it_on_discord_too() {
    let bot = TestBot::start(TestDb::sqlite().await, &[("ADMIN_IDS", "discord:42")]).await;
    bot.until_on_discord().await;
    let channel = bot.sandbox.discord.guild_channel("coach");
    for (who, name) in [("42", "Ana"), ("77", "Ben")] {
        let before = bot.said_in(&channel).len();
        bot.sandbox.discord.slash(&channel, who, name, "capacity", &[]).unwrap();
        bot.until("it is answered", async || bot.said_in(&channel).len() > before).await;
        bot.drain().await;
        let said = bot.said_in(&channel)[before].clone();
        assert!(said.ephemeral, "{}", said.content);
        if who == "42" {
            assert!(said.content.contains("Lanes") && said.files.len() == 1, "{}", said.content);
            is_picture(&said.files[0]);
        } else {
            assert!(said.files.is_empty(), "{}", said.content);
        }
    }
    bot.end().await;
}

/// A whole PNG of a chart's size, with more in it than a ground.
fn is_picture((name, content): &(String, Vec<u8>)) {
    assert_eq!(name, "capacity.png");
    let mut reader = png::Decoder::new(std::io::Cursor::new(content)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let frame = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((frame.width, frame.height), (2000, 1120));
    let colours: std::collections::BTreeSet<u8> = pixels.into_iter().collect();
    assert!(colours.len() > 50, "letters, bars and lines: {} colours", colours.len());
}

#[tokio::test]
async fn the_page_on_capacity_shows_what_the_command_prints() {
    let ran = run(&["capacity"], &[], "", "").await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_block("docs/capacity.md", "capacity", &format!("```text\n{}```\n", ran.out));
    assert!(!ran.out.contains('\x1b'), "no colour into a pipe");
    for line in ran.out.lines() {
        assert!(line.chars().count() <= 100, "{} columns: {line}", line.chars().count());
    }
}

#[tokio::test]
async fn flags_make_another_plan() {
    let args = [
        "capacity",
        "--people",
        "50",
        "--reels",
        "2",
        "--messages",
        "4",
        "--lanes",
        "1",
        "--scrape",
        "10",
        "--analysis",
        "20-40",
        "--curve",
        "flat",
        "--days",
        "5",
        "--model",
        "gpt-6-luna",
        "--subscription",
        "5",
        "--json",
    ];
    let ran = run(&args, &[], "", "").await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let json: Value = serde_json::from_str(&ran.out).unwrap();
    let plan = &json["plans"][0];
    assert_eq!((plan["name"].as_str(), json["plans"].as_array().map(Vec::len)), (Some("yours"), Some(1)));
    assert_eq!(
        (plan["direct_lanes"].as_u64(), plan["model"].as_str(), plan["days"].as_f64()),
        (Some(1), Some("gpt-6-luna"), Some(5.0))
    );
    let reels = &plan["reels"];
    let asked = reels["asked"].as_u64().unwrap();
    let sum: u64 = ["cached", "remembered_failures", "joined", "run", "refused_for_person", "refused_for_line"]
        .iter()
        .map(|part| reels[part].as_u64().unwrap())
        .sum();
    assert!(asked == sum && (400..600).contains(&asked), "{reels}");
    assert!(plan["reel_ms"]["p50"].as_u64().unwrap() >= 25_000, "{plan}");
    let total = plan["micro_usd_a_month"]["total"].as_i64().unwrap();
    assert_eq!(plan["break_even_people"].as_i64(), Some((total + 4_999_999) / 5_000_000));
    let folder = tempfile::tempdir().unwrap();
    for (name, begins) in [("loads.svg", &b"<svg"[..]), ("loads.PNG", b"\x89PNG\r\n\x1a\n")] {
        let file = folder.path().join(name);
        let ran = run(&[&args[..], &["--chart", file.to_str().unwrap()]].concat(), &[], "", "").await;
        let drawn = std::fs::read(&file).unwrap();
        assert!(ran.code == 0 && drawn.starts_with(begins), "{name}: {ran:?}");
    }
    let drawn = std::fs::read_to_string(folder.path().join("loads.svg")).unwrap();
    let lanes = plan["loads"]["transcriber_lanes"]["load"].as_f64().unwrap() * 100.0;
    let shown = drawn.split("<title>Lanes: ").nth(1).unwrap().split('%').next().unwrap();
    assert!((shown.parse::<f64>().unwrap() - lanes).abs() < 0.51, "{shown} of {lanes}");
    let again = run(&args, &[], "", "").await;
    assert_eq!(again.out, ran.out, "the same seed prints the same");

    let ran = run(&["capacity", "--scenario", "viral", "--tier", "5", "--days", "1"], &[], "", "").await;
    assert!(ran.code == 0 && ran.out.contains("viral") && !ran.out.contains("growing"), "{}", ran.out);
}

#[tokio::test]
async fn the_quota_is_the_configured_one_until_a_flag_says_otherwise() {
    let plan = async |environment: &[(&str, &str)], args: &[&str]| {
        let environment: Vec<(String, String)> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let args = [&["capacity", "--people", "300", "--at-once", "60", "--days", "1", "--json"], args].concat();
        let ran = run(&args, &environment, "", "").await;
        assert_eq!(ran.code, 0, "{ran:?}");
        let json: Value = serde_json::from_str(&ran.out).unwrap();
        json["plans"][0].clone()
    };
    let quota = |plan: &Value| {
        ["tier", "requests_a_minute", "tokens_a_minute", "longest_wait_s"].map(|name| plan[name].as_f64().unwrap())
    };
    let given_up = |plan: &Value| plan["answers_given_up"].as_u64().unwrap();
    let usual = plan(&[], &[]).await;
    assert_eq!((quota(&usual), given_up(&usual)), ([2.0, 5_000.0, 1e6, 120.0], 0));
    let own = [("OPENAI_RPM", "40"), ("OPENAI_TPM", "700000"), ("OPENAI_WAIT_SECONDS", "60")];
    let narrow = plan(&own, &[]).await;
    assert_eq!(quota(&narrow), [0.0, 40.0, 700_000.0, 60.0]);
    assert!(given_up(&narrow) > 0, "60 people a minute of 1.2 calls each: {narrow}");
    let patient = plan(&own, &["--wait", "240"]).await;
    assert!(given_up(&patient) < given_up(&narrow));
    let wide = plan(&own, &["--tier", "3", "--wait", "20"]).await;
    assert_eq!((quota(&wide), given_up(&wide)), ([3.0, 5_000.0, 2e6, 20.0], 0));
    let luna = plan(&own, &["--model", "gpt-6-luna"]).await;
    assert_eq!(quota(&luna), quota(&narrow), "what is configured stays");
}

#[tokio::test]
async fn wrong_flags_are_refused_with_what_is_right() {
    for (args, told) in [
        (&["capacity", "--scrape", "fast"][..], "give seconds"),
        (&["capacity", "--curve", "1,2"], "24 weights"),
        (&["capacity", "--messages=-1"], "--messages"),
        (&["capacity", "--tier", "9"], "1..=5"),
        (&["capacity", "--chart", "loads.gif"], ".png or .svg"),
        (&["capacity", "--from-ledger", "--scenario", "small"], "cannot be used with"),
        (&["capacity", "--messages", "1e12"], "a billion"),
        (&["capacity", "--cpu", "60001"], "60000"),
        (&["capacity", "--input", "100000001"], "--input"),
    ] {
        let ran = run(args, &[], "", "").await;
        assert!(ran.code == 2 && ran.err.contains(told), "{args:?}: {ran:?}");
    }
    let ran = run(&["capacity", "--model", "gpt-7"], &[], "", "").await;
    assert!(ran.code == 1 && ran.err.contains("gpt-7"), "{ran:?}");
    let ran = run(&["capacity", "--lanes", "0"], &[], "", "").await;
    assert!(ran.code == 1 && ran.err.contains("no lane"), "{ran:?}");
    for args in [
        &["capacity", "--people", "100", "--messages", "1e9"][..],
        &["capacity", "--people", "1000000", "--days", "366"],
        &["capacity", "--people", "1000000", "--reels", "1", "--messages", "0"],
    ] {
        let ran = run(args, &[], "", "").await;
        assert!(ran.code == 1 && ran.err.contains("up to 20,000,000"), "{args:?}: {ran:?}");
    }
}

#[tokio::test]
async fn what_was_not_seen_is_a_dash_and_a_part_has_one_denominator() {
    let ran = run(&["capacity", "--people", "20", "--reels", "0", "--days", "1"], &[], "", "").await;
    assert_eq!(ran.code, 0, "{ran:?}");
    for row in ["New reel, median", "Reels already watched", "Estimate off by, median"] {
        let line = ran.out.lines().find(|line| line.starts_with(row)).unwrap();
        assert!(line.ends_with(" -"), "{line}");
    }
    // 200 short messages in 12 s on a tier of 500,000 tokens a minute, each charged for its longest answer.
    let crowd =
        "capacity --people 100 --messages 20 --at-once 1000 --input 100 --output 10 --tier 1 --wait 20 --days 1";
    let ran = run(&crowd.split(' ').collect::<Vec<_>>(), &[], "", "").await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let row = ran.out.lines().find_map(|line| line.strip_prefix("Answers refused")).unwrap().trim();
    assert_ne!(row, "0%");
    assert!(ran.out.contains(&format!("answers given up {row} → 0%")), "{}", ran.out);
}

on_both! {
    async fn from_the_ledger_or_why_not(db: TestDb) {
        let environment = [("DATABASE_URL".to_owned(), db.url.clone())];
        let ran = run(&["capacity", "--from-ledger"], &environment, "", "").await;
        assert!(ran.code == 1 && ran.err.contains("too few to plan with"), "{ran:?}");
        let now = reelcoach::clock::Clock::System.now();
        let person = db.person(Platform::Telegram, "ana", "Ana", now).await.unwrap();
        let chat = ChatId::new(Platform::Telegram, "1");
        for n in 0..400_i64 {
            let usage = Usage { input_tokens: 5_000, cached_tokens: 4_000, output_tokens: 200, ..Usage::default() };
            let key = format!("k{n}");
            let entry = Entry {
                key: &key, at: Timestamp(now.0 - n * DAY / 100 - 1), person, chat: &chat, provider: Provider::OpenAi,
                model: "gpt-6.1-sol", tool: "coach", usage, micro_usd: 1, price_version: "x", latency_ms: 6_000, outcome: "ok",
            };
            assert!(db.record(entry).await.unwrap());
        }
        let ran = run(&["capacity", "--from-ledger", "--json"], &environment, "", "").await;
        assert_eq!(ran.code, 0, "{ran:?}");
        let json: Value = serde_json::from_str(&ran.out).unwrap();
        let plan = &json["plans"][0];
        assert_eq!((plan["name"].as_str(), plan["demand"]["people"].as_u64()), (Some("measured"), Some(1)));
        assert!((90.0..110.0).contains(&plan["demand"]["messages_per_person"].as_f64().unwrap()), "{plan}");
        assert_eq!(plan["first_text_ms"]["p50"].as_u64().unwrap() / 10, 201, "a third of 6 s, and the bot's own 10 ms");
    }
}
