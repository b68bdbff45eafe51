//! The program at the command line: what it prints, what it ends with, and how it serves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use sandbox::openai::Script;
use sandbox::{Sandbox, Settings};
use serde_json::{Value, json};

use crate::bot::{environment, sandbox, until};
use crate::process::{Process, run};
use crate::support::{LATER_MIGRATION, TestDb};

const ANA: i64 = 42;

fn with(environment: &[(String, String)], changes: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut all = environment.to_vec();
    for (name, value) in changes {
        all.retain(|(known, _)| known != name);
        all.push(((*name).to_owned(), (*value).to_owned()));
    }
    all
}

#[tokio::test]
async fn help_lists_the_commands() {
    let ran = run(&["--help"], &[], "", "").await;
    assert_eq!(ran.code, 0);
    for command in ["chat", "serve", "migrate", "doctor", "usage", "capacity", "sandbox"] {
        assert!(ran.out.lines().any(|line| line.trim_start().starts_with(command)), "{command}: {}", ran.out);
    }
    assert!(!ran.out.contains("crash"), "{}", ran.out);
    let ran = run(&["--version"], &[], "", "").await;
    assert_eq!(ran.out.trim(), concat!("reelcoach ", env!("CARGO_PKG_VERSION")));
    assert_eq!(run(&["dance"], &[], "", "").await.code, 2);
}

#[tokio::test]
async fn a_wrong_env_file_shows_every_fault_with_its_mend() {
    let file = "REEL_LANES=two\nLOG_FORMAT=xml\nCOACH_MODEL=gpt-7\nADMIN_IDS=42\nAPIFY_TOKEN=secret-token\n";
    for command in ["serve", "migrate", "chat"] {
        let ran = run(&[command], &[], file, "").await;
        assert_eq!(ran.code, 2, "{command}");
        // `serve` also misses what it cannot do without.
        let count = if command == "serve" { "6 problems" } else { "4 problems" };
        assert!(ran.err.contains(count), "{command}: {}", ran.err);
        for name in ["REEL_LANES", "LOG_FORMAT", "COACH_MODEL", "ADMIN_IDS"] {
            let line = ran.err.lines().find(|line| line.trim_start().starts_with(name));
            assert!(
                line.is_some_and(|line| line.contains(". Give ") || line.contains(". Use ")),
                "{name}: {}",
                ran.err
            );
        }
        assert!(!ran.err.contains("secret-token") && ran.out.is_empty(), "{ran:?}");
    }
    let ran =
        run(&["migrate"], &[], "LOG=info\nthis is not a line\nDATABASE_URL=postgres://me:pa$word@x/y\n", "").await;
    assert!(
        ran.code == 2 && ran.err.contains("line 2") && ran.err.contains("line 3") && !ran.err.contains("pa$word"),
        "{ran:?}"
    );
    let ran = run(&["migrate"], &[], "LOG=in=fo=x\nDATABASE_URL=mysql://x\n", "").await;
    assert!(ran.code == 2 && ran.err.contains("  LOG: ") && ran.err.contains("  DATABASE_URL: "), "{ran:?}");
    let ran = run(&["--env-file", "/nowhere/.env", "migrate"], &[], "", "").await;
    assert!(ran.code == 2 && ran.err.contains("/nowhere/.env"), "{ran:?}");
}

#[tokio::test]
async fn serve_without_tokens_says_what_to_set() {
    let ran = run(&["serve"], &[], "", "").await;
    assert_eq!(ran.code, 2);
    for name in ["DISCORD_TOKEN", "TELEGRAM_TOKEN", "OPENAI_API_KEY", "APIFY_TOKEN", "GEMINI_API_KEY", "chat"] {
        assert!(ran.err.contains(name), "{name}: {}", ran.err);
    }
}

on_both! {
    /// One sentence, the same from each command, that says what to do.
    async fn a_database_of_a_newer_version_is_refused(db: TestDb) {
        let sandbox = sandbox().await;
        let good = environment(&sandbox, &db, &[]);
        db.execute(LATER_MIGRATION[usize::from(db.is_shared())]).await;
        let ran = run(&["doctor", "--offline"], &good, "", "").await;
        assert!(ran.code == 0 && line(&ran.out, "warning", "database").is_some(), "it can be read: {ran:?}");
        for command in ["migrate", "usage"] {
            assert_eq!(run(&[command], &good, "", "").await.code, 0, "{command}");
        }
        let mut process = Process::serve(&good, &[]);
        process.ready().await;
        process.stop().await;

        db.execute("UPDATE compatibility SET readable_from = 9999").await;
        for command in [&["serve"][..], &["usage"], &["migrate"], &["doctor", "--offline"]] {
            let ran = run(command, &good, "", "").await;
            let said = format!("{}{}", ran.out, ran.err);
            assert_eq!(ran.code, 1, "{command:?}: {said}");
            let sentence = "this database was written by a newer reelcoach (tables 9999) than this program";
            assert_eq!(said.matches(sentence).count(), 1, "{command:?}: {said}");
            assert!(said.contains("restore a backup from before the update") && !said.contains("resolved"), "{said}");
        }
    }

    async fn migrate_twice_is_no_harm(db: TestDb) {
        let environment = [("DATABASE_URL".to_owned(), db.url.clone())];
        for _ in 0..2 {
            let ran = run(&["migrate"], &environment, "", "").await;
            assert!(ran.code == 0 && ran.out.contains("up to date"), "{ran:?}");
        }
    }
}

#[tokio::test]
async fn doctor_needs_no_keys_offline() {
    let ran = run(&["doctor", "--offline"], &[], "", "").await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("Nothing failed") && ran.out.contains("SQLite"), "{}", ran.out);
    let ran = run(&["doctor", "--offline"], &[], "REEL_LANES=two\n", "").await;
    assert!(ran.code == 2 && ran.out.contains("REEL_LANES"), "{ran:?}");
    let ran = run(&["doctor", "--offline"], &[], "DATABASE_URL=postgres://nobody@127.0.0.1:1/x\n", "").await;
    assert!(ran.code == 1 && ran.out.contains("Check DATABASE_URL"), "{ran:?}");
}

/// The line of a report about something.
fn line<'a>(out: &'a str, grade: &str, what: &str) -> Option<&'a str> {
    out.lines().find(|line| line.starts_with(grade) && line[grade.len()..].trim_start().starts_with(what))
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_tells_what_works_and_what_does_not() {
    let sandbox = sandbox().await;
    let db = TestDb::sqlite().await;
    let good = environment(&sandbox, &db, &[]);
    let ran = run(&["doctor"], &good, "", "").await;
    for what in [
        "configuration",
        "database",
        "OpenAI gpt-6.1-sol",
        "OpenAI gpt-6-luna",
        "Apify",
        "Gemini",
        "Discord",
        "Discord intent",
        "Telegram",
        "Telegram webhook",
        "clock",
    ] {
        assert!(line(&ran.out, "ok", what).is_some(), "{what}: {}", ran.out);
    }
    assert_eq!(ran.code, 0, "{}", ran.out);

    let wrong = [
        ("OPENAI_API_KEY", "sk-wrong", "OpenAI gpt-6.1-sol", "OPENAI_API_KEY"),
        ("APIFY_TOKEN", "apify_api_wrong", "Apify", "APIFY_TOKEN"),
        ("GEMINI_API_KEY", "AIza-wrong", "Gemini", "GEMINI_API_KEY"),
        (
            "DISCORD_TOKEN",
            "MTIzNDU2Nzg5MDEyMzQ1Njc4.wrong0.wrongwrongwrongwrongwrongwrongwrongwro",
            "Discord",
            "DISCORD_TOKEN",
        ),
        ("TELEGRAM_TOKEN", "1234567890:AAwrongwrongwrongwrongwrongwrongwr", "Telegram", "TELEGRAM_TOKEN"),
    ];
    for (name, value, what, mend) in wrong {
        let ran = run(&["doctor"], &with(&good, &[(name, value)]), "", "").await;
        let told = line(&ran.out, "FAILED", what);
        assert!(ran.code == 1 && told.is_some_and(|told| told.contains(mend)), "{name}: {}", ran.out);
        assert!(!ran.out.contains(value) && !ran.err.contains(value), "{name} is shown");
    }
    let ran = run(&["doctor"], &with(&good, &[("DISCORD_MESSAGE_CONTENT", "false")]), "", "").await;
    assert!(ran.code == 0 && line(&ran.out, "warning", "Discord intent").is_some(), "{}", ran.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_compares_the_clock_with_that_of_a_service() {
    let sandbox = sandbox().await;
    let db = TestDb::sqlite().await;
    let all = environment(&sandbox, &db, &[]);
    let ahead = &sandbox.openai.served.clock_ahead_s;
    for (seconds, grade, code) in [(0, "ok", 0), (-30, "warning", 0), (30, "warning", 0), (3600, "FAILED", 1)] {
        ahead.store(seconds, Ordering::Relaxed);
        let ran = run(&["doctor"], &all, "", "").await;
        let told = line(&ran.out, grade, "clock").unwrap_or_else(|| panic!("{seconds}: {}", ran.out));
        assert!(seconds == 0 || told.ends_with(" off. Set up time synchronisation."), "{told}");
        assert_eq!(ran.code, code, "{}", ran.out);
    }
    // Without a key for it another service is asked.
    let without: Vec<_> = all.iter().filter(|(name, _)| name != "OPENAI_API_KEY").cloned().collect();
    sandbox.gemini.served.clock_ahead_s.store(-7 * 86_400, Ordering::Relaxed);
    let ran = run(&["doctor"], &without, "", "").await;
    assert!(line(&ran.out, "FAILED", "clock").is_some_and(|told| told.contains("7 d off")), "{}", ran.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_sees_a_webhook_in_the_way_and_a_switched_off_intent() {
    let sandbox = sandbox().await;
    let db = TestDb::sqlite().await;
    let api = format!("{}/bot{}/setWebhook", sandbox.telegram.url(), token(&sandbox));
    let set =
        reqwest012::Client::new().post(api).json(&json!({"url": "http://127.0.0.1:9/telegram"})).send().await.unwrap();
    assert!(set.status().is_success());
    let discord = sandbox::discord::Settings { message_content: false, ..Default::default() };
    let discord = sandbox::discord::DiscordSandbox::start(discord).await.unwrap();
    let url = discord.served.url();
    let changes = [("DISCORD_API_URL", url.as_str()), ("DISCORD_TOKEN", "sandbox-discord-token")];
    let ran = run(&["doctor"], &with(&environment(&sandbox, &db, &[]), &changes), "", "").await;
    assert_eq!(ran.code, 1, "{}", ran.out);
    assert!(
        line(&ran.out, "FAILED", "Telegram webhook").is_some_and(|told| told.contains("reelcoach doctor --fix")),
        "{}",
        ran.out
    );
    let told = line(&ran.out, "FAILED", "Discord intent");
    assert!(
        told.is_some_and(|told| told.contains("portal") && told.contains("DISCORD_MESSAGE_CONTENT")),
        "{}",
        ran.out
    );
    let fixed = run(&["doctor", "--fix"], &environment(&sandbox, &db, &[]), "", "").await;
    assert!(line(&fixed.out, "ok", "Telegram webhook").is_some_and(|told| told.contains("deleted")), "{}", fixed.out);
    let after = run(&["doctor"], &environment(&sandbox, &db, &[]), "", "").await;
    assert!(line(&after.out, "ok", "Telegram webhook").is_some_and(|told| told.contains("none")), "{}", after.out);
}

fn token(sandbox: &Sandbox) -> String {
    sandbox.environment().into_iter().find(|(name, _)| name == "TELEGRAM_TOKEN").unwrap().1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_the_answer_end() {
    let sandbox = Arc::new(Sandbox::start(Settings { port: 0, speed: 1.0, enforce_limits: false }).await.unwrap());
    let db = TestDb::sqlite().await;
    let ana = format!("telegram:{ANA}");
    let access =
        [("DISCORD_ACCESS", "list"), ("TELEGRAM_ACCESS", "list"), ("ALLOWED_GUILDS", "1"), ("ADMIN_IDS", &ana)];
    let access: Vec<_> = access.into_iter().chain([("ALLOWED_PEOPLE", ana.as_str())]).collect();
    let mut process = Process::serve(&environment(&sandbox, &db, &access), &[]);
    process.ready().await;
    let answer = (0..200).map(|at| format!("w{at}")).collect::<Vec<_>>().join(" ");
    sandbox.openai.script(Script::Text(answer.clone()));
    sandbox.telegram.say(ANA, ANA, "Ana", "go");
    let shown =
        || sandbox.telegram.screen(ANA).into_iter().filter(|shown| shown.from_bot).map(|s| s.text).collect::<Vec<_>>();
    until("the answer grows", async || !shown().is_empty()).await;
    assert!(shown()[0].contains('▌'), "{:?}", shown());
    process.stop().await;
    assert_eq!(shown(), [answer]);
    assert!(db.is_idle().await.unwrap());
    assert!(
        process.log().iter().all(|line| line["level"] != "ERROR" && line["level"] != "WARN"),
        "{:#?}",
        process.log()
    );
    assert_eq!(db.number("SELECT COUNT(*) FROM leases", &[]).await, 0, "roles are given up");
}

#[tokio::test(flavor = "multi_thread")]
async fn chat_answers_each_line_and_ends() {
    let db = TestDb::sqlite().await;
    let environment = [("DATABASE_URL", db.url.as_str()), ("SANDBOX_SPEED", "1000")];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let input = "hi\n\n/as Ben\nhello there\nhttps://www.instagram.com/reel/DLlGZiCOBQ0/\n";
    let ran = run(&["chat", "--as", "Ana"], &environment, "REEL_INTERVAL_SECONDS=0\n", input).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let answers = |start: &str| ran.out.lines().filter(|line| line.starts_with(start)).count();
    assert_eq!(answers("coach: "), 1, "{}", ran.out);
    let first = ran.out.lines().find(|line| line.starts_with("coach: ")).unwrap_or_default();
    assert!(first.starts_with("coach: H"), "a greeting is greeted: {first}");
    // A greeting, the board as it stood when it changed, and the coaching.
    assert!(answers("coach to Ben: ") >= 2 && ran.out.contains("Hook"), "{}", ran.out);
    assert!(ran.out.contains("Sandbox answers for OpenAI, Apify, Gemini"), "{}", ran.out);
    assert!(db.is_idle().await.unwrap());
    assert_eq!(db.number("SELECT COUNT(*) FROM people", &[]).await, 2);
    assert_eq!(db.number("SELECT COUNT(*) FROM turns WHERE outcome = 'answered'", &[]).await, 3);
    assert!(!ran.err.contains("ERROR"), "{}", ran.err);
}

async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let answer = reqwest012::get(format!("http://{address}{path}")).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn health_metrics_and_the_webhook() {
    let sandbox = sandbox().await;
    let db = TestDb::sqlite().await;
    let changes = [("TELEGRAM_WEBHOOK_URL", "https://bot.invalid/telegram"), ("TELEGRAM_WEBHOOK_SECRET", "s3cret")];
    let mut process = Process::serve(&environment(&sandbox, &db, &changes), &[]);
    let address = process.ready().await;
    until("the webhook is set", async || sandbox.telegram.control.count("setWebhook") == 1).await;
    until("it serves", async || reqwest012::get(format!("http://{address}/livez")).await.is_ok()).await;
    assert_eq!(get(address, "/livez").await, (200, "ok\n".to_owned()));
    until("it holds Discord's gateway", async || {
        let (status, body) = get(address, "/readyz").await;
        let state: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, &state["ready"], &state["database"]), (200, &json!(true), &json!(true)), "{body}");
        // By webhook nobody polls.
        assert_eq!(
            state["roles"]["telegram polling"],
            json!({"held": false, "silent_s": null, "well": true}),
            "{body}"
        );
        state["roles"]["discord gateway"]["held"] == true
    })
    .await;
    assert_eq!(get(address, "/nothing").await.0, 404);

    sandbox.telegram.open(ANA);
    let hook = format!("http://{address}/telegram");
    let shown = || sandbox.telegram.screen(ANA).iter().filter(|shown| shown.from_bot).count();
    let update = json!({"update_id": 900_000_001, "message": {"message_id": 5001, "date": 1_790_000_000, "text": "/queue",
        "from": {"id": ANA, "is_bot": false, "first_name": "Ana"}, "chat": {"id": ANA, "type": "private", "first_name": "Ana"}}});
    let client = reqwest012::Client::new();
    let post = async |secret: Option<&str>, body: &Value| {
        let mut request = client.post(&hook).json(body);
        if let Some(secret) = secret {
            request = request.header("X-Telegram-Bot-Api-Secret-Token", secret);
        }
        request.send().await.unwrap().status().as_u16()
    };
    until("the webhook is open", async || post(None, &update).await != 503).await;
    assert_eq!(post(None, &update).await, 403);
    assert_eq!(post(Some("wrong"), &update).await, 403);
    assert_eq!(post(Some("s3cret"), &json!("x")).await, 400);
    for _ in 0..3 {
        assert_eq!(post(Some("s3cret"), &update).await, 200);
    }
    assert_eq!(post(Some("s3cret"), &json!({"update_id": 900_000_002, "novelty": {}})).await, 200);
    until("it is answered", async || shown() == 1 && db.is_idle().await.unwrap()).await;
    assert_eq!(db.number("SELECT COUNT(*) FROM inbox", &[]).await, 1);

    assert_eq!(get(address, "/metrics").await.0, 200);
    // It is counted once the row is closed.
    let counted = "reelcoach_turns_total{kind=\"talk\",outcome=\"answered\"} 1";
    until("it is counted", async || get(address, "/metrics").await.1.contains(counted)).await;
    process.stop().await;
    assert_eq!(shown(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_ends_the_program_and_says_why() {
    let sandbox = sandbox().await;
    let db = TestDb::sqlite().await;
    let changes = [("TELEGRAM_TOKEN", "1234567890:AAwrongwrongwrongwrongwrongwrongwr")];
    let mut process = Process::serve(&environment(&sandbox, &db, &changes), &[]);
    let status = process.ended().await;
    assert_eq!(status.code(), Some(2));
    until("it says why", async || {
        process.log().iter().any(|line| line.as_str().is_some_and(|l| l.contains("refuses the token")))
    })
    .await;
    assert!(!process.log().iter().any(|line| line.to_string().contains("AAwrong")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_in_use_is_named() {
    let sandbox = sandbox().await;
    let db = TestDb::sqlite().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut process = Process::serve(&environment(&sandbox, &db, &[("HTTP_ADDR", &address)]), &[]);
    assert_eq!(process.ended().await.code(), Some(1));
    until("it says why", async || {
        process.log().iter().any(|line| line.as_str().is_some_and(|l| l.contains("HTTP_ADDR") && l.contains(&address)))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_telegram_holds_nothing_up() {
    let sandbox = sandbox().await;
    let db = TestDb::sqlite().await;
    let changes = [
        ("TELEGRAM_WEBHOOK_URL", "https://bot.invalid/telegram"),
        ("TELEGRAM_WEBHOOK_SECRET", "s3cret"),
        ("TELEGRAM_API_URL", "http://127.0.0.1:9"),
    ];
    let mut process = Process::serve(&environment(&sandbox, &db, &changes), &[]);
    let address = process.ready().await;
    until("it serves", async || reqwest012::get(format!("http://{address}/livez")).await.is_ok()).await;
    assert_eq!(get(address, "/readyz").await.0, 200);
    let hook = reqwest012::Client::new().post(format!("http://{address}/telegram")).json(&json!({}));
    assert_eq!(hook.send().await.unwrap().status().as_u16(), 503);
    until("Discord is up all the same", async || sandbox.discord.is_connected()).await;
    process.stop().await;
}
