//! Reports on usage and cost, through the whole bot and at the command line: what they say, and to whom.

use reelcoach::clock::{Clock, Timestamp};
use reelcoach::core::admin::chart::Painter;
use reelcoach::core::admin::figures::{ALL_LINES, answer, report};
use reelcoach::core::command::figures::{Figures, Lead};
use reelcoach::ids::{ChatId, GuildId, MessageRef, Platform};
use reelcoach::store::ledger::Entry;
use reelcoach::store::turns::{Arrival, Outcome, Source, Told};
use reelcoach::upstream::{Provider, Usage};

use crate::bot::{TestBot, environment, sandbox};
use crate::process::run;
use crate::reels::link;
use crate::support::TestDb;

const ANA: i64 = 42;
const BEN: i64 = 77;
const ADMINS: (&str, &str) = ("ADMIN_IDS", "telegram:42,discord:42");
const PNG: &[u8] = b"\x89PNG";

fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// What the bot says to somebody, files left out, since `before` messages.
fn said(bot: &TestBot, person: i64, before: usize) -> String {
    bot.telegram(person)[before..].join("\n")
}

async fn ask(bot: &TestBot, person: i64, text: &str) -> String {
    let before = bot.telegram(person).len();
    bot.sandbox.telegram.say(person, person, "P", text);
    bot.drain().await;
    said(bot, person, before)
}

/// Everything within a table is narrow enough for a phone.
fn is_narrow(text: &str) {
    for line in text.lines().filter(|line| line.contains("$") && line.starts_with(|c: char| c.is_ascii_lowercase())) {
        assert!(line.chars().count() <= 40, "{line}");
    }
}

on_both! {
    async fn talk_and_reels_are_told_to_admins_alone(db: TestDb) {
        let bot = TestBot::start(db, &[ADMINS]).await;
        has(&ask(&bot, ANA, "/cost").await, &["Cost: $0.00 in 0 paid calls"]);
        ask(&bot, ANA, "How do I open a reel about bread?").await;
        ask(&bot, ANA, &link("DLlGZiCOBQ0")).await;
        ask(&bot, BEN, &link("DLlGZiCOBQ0")).await;
        for wish in ["/usage", "/cost", "/cost 7d by person csv", "/usage dance"] {
            assert_eq!(ask(&bot, BEN, wish).await, "Only the bot's admins can see that.");
        }
        let usage = ask(&bot, ANA, "/usage today").await;
        has(&usage, &["Usage, ", " so far, UTC", "messages, 1 reel", "Answers: 3 from the model, 5 ready-made"]);
        has(&usage, &["Reels sent: 1 new, 0 joined, 1 already watched (50% free)", "First text: median ", "Whole answer: median "]);
        has(&usage, &["Queue wait: median ", "Succeeded: 100% of calls", "Tokens: ", "gpt-6.1-sol", "gemini-3.8-flash"]);
        let cost = ask(&bot, ANA, "/cost").await;
        has(&cost, &["Forecast: $", " a day (today so far)", "Average: $", " per new reel", "Saved: ", "gpt-6.1-sol"]);
        is_narrow(&cost);
        let paid = bot.db.number("SELECT CAST(SUM(micro_usd) AS BIGINT) FROM ledger", &[]).await;
        let dollars = format!("Cost: ${:.4} in 5 paid calls", paid as f64 / 1e6);
        has(&cost, &[&dollars]);
        for (by, name) in [("tool", "scrape"), ("platform", "telegram"), ("person", "P"), ("chat", "t:77"), ("server", "no server"), ("day", "202")] {
            let text = ask(&bot, ANA, &format!("/cost week by {by}")).await;
            assert!(text.lines().any(|line| line.starts_with(name)), "{by}: {text}");
        }
        has(&ask(&bot, ANA, "/usage dance").await, &["Name a period and what to group by"]);
        has(&ask(&bot, ANA, "/cost 2020-01").await, &["Cost: $0.00 in 0 paid calls, $0.00 a day"]);
        bot.end().await;
    }

    async fn pictures_and_tables_come_as_files(db: TestDb) {
        let bot = TestBot::start(db, &[ADMINS]).await;
        ask(&bot, ANA, &link("DLlGZiCOBQ0")).await;
        let files = async |wish: &str| {
            let before = bot.shown(ANA).len();
            ask(&bot, ANA, wish).await;
            let shown = bot.shown(ANA);
            let pictures: Vec<_> = shown[before..].iter().filter_map(|shown| shown.photo.clone()).collect();
            let tables: Vec<_> = shown[before..].iter().filter_map(|shown| shown.document.clone()).collect();
            assert!(pictures.iter().all(|(_, content)| content.starts_with(PNG)));
            (pictures.len(), tables)
        };
        let (pictures, tables) = files("/cost by tool csv").await;
        assert_eq!((pictures, tables.len()), (2, 1));
        let (name, content) = &tables[0];
        let table = String::from_utf8(content.clone()).unwrap();
        assert!(name.starts_with("reelcoach-20") && name.ends_with("-by-tool.csv"), "{name}");
        let paid = bot.db.number("SELECT micro_usd FROM ledger WHERE tool = 'scrape'", &[]).await;
        assert!(table.starts_with("tool,calls,failed,called_off,input_tokens,"), "{table}");
        assert!(table.lines().any(|line| line == format!("scrape,1,0,0,0,0,0,0,0,0.{paid:06},0.{paid:06}")), "{table}");
        let (pictures, tables) = files("/usage").await;
        assert_eq!((pictures, tables.len()), (2, 0), "messages and reels, and the wait in line");
        bot.end().await;
    }

    async fn a_community_sees_itself_alone(db: TestDb) {
        let now = Clock::System.now();
        for (n, (guild, name)) in [(Some("7"), "Mia"), (Some("8"), "Zoe"), (None, "Leo")].into_iter().enumerate() {
            use_it(&db, n, guild, name, now).await;
        }
        let own = GuildId::new(Platform::Discord, "7");
        for by in ["model", "tool", "platform", "server", "chat", "person", "day"] {
            for lead in [Lead::Usage, Lead::Cost] {
                let figures = Figures::read(lead, &format!("7d by {by} csv")).unwrap();
                let body = answer(&db, &Painter::default(), Some(figures), Some(&own), now).await.unwrap();
                assert!(body.private);
                let table = body.files.iter().find_map(|file| file.as_text()).unwrap();
                let all = format!("{}\n{table}", body.text);
                has(&all, &["of this server", "1 paid call"]);
                for other in ["Zoe", "Leo", "model-8", "model-none", "discord:8", "d:101", "telegram", "no server"] {
                    assert!(!all.contains(other), "{by} {other}: {all}");
                }
                let report = report(&db, figures, Some(&own), ALL_LINES, now).await.unwrap();
                assert_eq!((report.total.calls, report.total.micro_usd, report.lines.len()), (1, 1000, 1), "{by}");
                let counted = (report.activity.messages_answered, report.activity.by_model, report.answer.unwrap().count);
                assert_eq!(counted, (1, 1, 1));
                assert_eq!(report.forecast.map(|forecast| forecast.per_day_micro_usd >= 1000), Some(true));
                let json = serde_json::to_string(&report).unwrap();
                assert!(!json.contains("Zoe") && !json.contains("model-8"), "{json}");
            }
        }
        let figures = Figures::read(Lead::Cost, "7d by server").unwrap();
        let all = report(&db, figures, None, ALL_LINES, now).await.unwrap();
        let names: Vec<_> = all.lines.iter().map(|line| line.name.as_str()).collect();
        assert_eq!(names, ["no server", "discord:8", "discord:7"], "the dearest first");
    }

    async fn the_command_line_tells_them_too(db: TestDb) {
        let now = Clock::System.now();
        use_it(&db, 0, Some("7"), "Mia, the \"first\"", now).await;
        use_it(&db, 1, None, "=HYPERLINK(1)", now).await;
        let environment = [("DATABASE_URL".to_owned(), db.url.clone())];
        let usage = async |args: &[&str]| {
            let args: Vec<&str> = ["usage"].iter().chain(args).copied().collect();
            run(&args, &environment, "", "").await
        };
        let ran = usage(&["7d", "by", "person"]).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        has(&ran.out, &["Usage and cost, ", "Cost                $0.0030 in 2 paid calls", "Forecast            $", "Mia, the \"first\"", "total", "████"]);
        assert!(!ran.out.contains('\x1b'), "no colours in a file: {ran:?}");
        let ran = usage(&["today", "--json"]).await;
        let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!((&json["total"]["micro_usd"], &json["activity"]["messages_answered"]), (&3000.into(), &2.into()), "{json}");
        let ran = usage(&["by", "person", "--csv", "-"]).await;
        has(&ran.out, &["\"Mia, the \"\"first\"\"\",1,0,", "\n'=HYPERLINK(1),1,0,", ",0.002000,0.000000\r\n"]);
        let folder = tempfile::tempdir().unwrap();
        let (table, chart) = (folder.path().join("a.csv"), folder.path().join("a.png"));
        let ran = usage(&["--csv", table.to_str().unwrap(), "--chart", chart.to_str().unwrap()]).await;
        assert!(ran.code == 0 && ran.out.contains("Wrote 2 rows to "), "{ran:?}");
        assert!(std::fs::read_to_string(&table).unwrap().contains("model-7") && std::fs::read(&chart).unwrap().starts_with(PNG));
        let ran = usage(&["dance"]).await;
        assert!(ran.code == 2 && ran.err.contains("today, yesterday, week"), "{ran:?}");
        let ran = usage(&["2020-01", "--chart", chart.to_str().unwrap()]).await;
        assert!(ran.code == 1 && ran.err.contains("nothing to draw"), "{ran:?}");
    }
}

/// One answered message with one call; `guild` 7 costs 1000, and each further one a thousand more.
async fn use_it(db: &TestDb, n: usize, guild: Option<&str>, name: &str, now: Timestamp) {
    let platform = if guild.is_some() { Platform::Discord } else { Platform::Telegram };
    let person = db.person(platform, name, name, now).await.unwrap();
    let chat = ChatId::new(platform, format!("10{n}"));
    let guild_id = guild.map(|guild| GuildId::new(platform, guild));
    let message = MessageRef::new(chat.clone(), "1");
    let arrival = Arrival {
        message: &message,
        guild: guild_id.as_ref(),
        person,
        payload: "{}",
        placeholder: None,
        atomic: true,
        aside: false,
        merge_window: std::time::Duration::ZERO,
        limit: None,
        at: now,
    };
    db.receive(arrival).await.unwrap();
    let (instance, lease) = (reelcoach::ids::InstanceId::new(), std::time::Duration::from_secs(9));
    let turn = db.claim_turns(instance, &[platform], now, lease, 1).await.unwrap().remove(0);
    let told = Told { source: Some(Source::Model), ..Told::default() };
    assert!(db.end_turn(&turn, Outcome::Answered, &told, now).await.unwrap());
    let entry = Entry {
        key: &format!("call-{n}"),
        at: now,
        person,
        chat: &chat,
        provider: Provider::OpenAi,
        model: &format!("model-{}", guild.unwrap_or("none")),
        tool: "coach",
        usage: Usage { input_tokens: 1000, cached_tokens: 250, output_tokens: 300, ..Usage::default() },
        micro_usd: 1000 * (n as i64 + 1),
        price_version: "2026-01",
        latency_ms: 900,
        outcome: "ok",
    };
    assert!(db.record(entry).await.unwrap());
}

#[tokio::test]
async fn at_the_console() {
    let (sandbox, db) = (sandbox().await, TestDb::sqlite().await);
    let environment = environment(&sandbox, &db, &[]);
    let ran = run(&["chat", "--as", "Ana"], &environment, "ADMIN_IDS=console:Ana\n", "/cost by day").await;
    assert!(ran.code == 0 && ran.out.contains("Cost: $0.00 in 0 paid calls"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn slash_commands_take_the_same_words() {
    let bot = TestBot::start(TestDb::sqlite().await, &[ADMINS]).await;
    bot.until_on_discord().await;
    let channel = bot.sandbox.discord.guild_channel("coach");
    let (mention, _) = bot.sandbox.discord.bot();
    bot.sandbox.discord.say(&channel, "42", "Ana", &format!("<@{mention}> How do I open a reel?"));
    bot.until("it is answered", async || !bot.said_in(&channel).is_empty()).await;
    bot.drain().await;
    let slash = async |command: &str, options: &[(&str, &str)]| {
        let before = bot.said_in(&channel).len();
        bot.sandbox.discord.slash(&channel, "42", "Ana", command, options).unwrap();
        bot.until("it is answered", async || bot.said_in(&channel).len() > before).await;
        bot.drain().await;
        bot.said_in(&channel)[before].clone()
    };
    let said = slash("cost", &[("period", "7d"), ("by", "server"), ("csv", "true")]).await;
    has(&said.content, &["Cost, ", "server", "calls"]);
    assert!(said.ephemeral && said.files.len() == 3, "{:?}", said.files.iter().map(|file| &file.0).collect::<Vec<_>>());
    let said = slash("usage", &[("by", "tool")]).await;
    has(&said.content, &["Usage, ", "Answered: 2 messages", "coach"]);
    bot.end().await;
}
