//! What the operator hears, sees and can ask for when a paid service refuses everybody, fails too often or is about to
//! switch a model off: in the alert chats, on the dashboard and at `/readyz`, each by its own name.

use std::sync::Arc;
use std::time::Duration;

use reelcoach::clock::{Clock, Timestamp};
use sandbox::apify::ApifySandbox;
use sandbox::gemini::GeminiSandbox;
use sandbox::openai::Script;
use sandbox::{Fault, Sandbox};
use serde_json::{Value, json};

use crate::alerts::{LOOK, pass};
use crate::bot::{TestBot, sandbox, until};
use crate::dashboard::{ON, Visitor};
use crate::reels::link;
use crate::support::TestDb;

const OPERATOR: i64 = 900;
const ANA: i64 = 42;

/// One service that refuses everybody.
struct Refusal {
    fault: fn(&Sandbox),
    /// A reel, or a message.
    by_reel: bool,
    alert: &'static str,
    /// At `/readyz`: the service and the word for it.
    told: (&'static str, &'static str),
    /// On the dashboard.
    state: &'static str,
    /// Until a call that works counts.
    pause: Duration,
}

const MOMENT: Duration = Duration::from_secs(60);

fn openai(status: u16, code: &str) -> Fault {
    let body = json!({"error": {"message": "…", "type": "invalid_request_error", "param": null, "code": code}});
    Fault::Answer { status, headers: vec![], body: body.to_string() }
}

fn n8n(status: u16, kind: &str, body: &str) -> Fault {
    Fault::Answer { status, headers: vec![("content-type".into(), kind.into())], body: body.into() }
}

fn of_answers() -> Vec<Refusal> {
    let refusal = |fault, alert, word, state| Refusal {
        fault,
        by_reel: false,
        alert,
        told: ("openai", word),
        state,
        pause: MOMENT,
    };
    vec![
        refusal(
            |s| s.openai.control.fault("/responses", openai(401, "invalid_api_key")),
            "OpenAI: refuses the key. Replace OPENAI_API_KEY and restart. No answers until then.",
            "key_refused",
            "key refused",
        ),
        refusal(
            |s| s.openai.control.fault("/responses", openai(429, "insufficient_quota")),
            "OpenAI: out of credit. Add credit or raise the limit at platform.openai.com (Billing). No answers until then.",
            "out_of_credit",
            "out of credit",
        ),
        refusal(
            |s| s.openai.control.fault("/responses", openai(404, "model_not_found")),
            "OpenAI: no longer has the model gpt-5.4. Set COACH_MODEL to gpt-6.1-sol and restart. No answers until then.",
            "not_found",
            "not found",
        ),
        Refusal {
            pause: Duration::from_secs(3700),
            ..refusal(
                |s| s.openai.control.fault("/responses", openai(400, "invalid_value")),
                "OpenAI: refused a request of mine (",
                "bad_request",
                "bad request",
            )
        },
    ]
}

fn of_direct_lanes() -> Vec<Refusal> {
    let refusal = |fault, alert, told, state| Refusal { fault, by_reel: true, alert, told, state, pause: MOMENT };
    vec![
        refusal(
            |s| s.apify.control.fault("/runs", ApifySandbox::refusal(402, "not-enough-usage-to-run-paid-actor")),
            "Apify: out of credit. Top up at console.apify.com/billing. No new reels on direct lanes until then.",
            ("apify", "out_of_credit"),
            "out of credit",
        ),
        refusal(
            |s| s.apify.control.fault("/runs", ApifySandbox::refusal(401, "user-or-token-not-found")),
            "Apify: refuses the token. Replace APIFY_TOKEN and restart. No new reels on direct lanes until then.",
            ("apify", "key_refused"),
            "key refused",
        ),
        refusal(
            |s| s.apify.control.fault("/runs", ApifySandbox::refusal(404, "record-not-found")),
            "Apify: no longer has the actor apify~instagram-reel-scraper. Set APIFY_ACTOR and restart.",
            ("apify", "not_found"),
            "not found",
        ),
        refusal(
            |s| {
                let detail = json!({"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"});
                let refusal = GeminiSandbox::refusal(400, "INVALID_ARGUMENT", "API key not valid.", detail);
                s.gemini.control.fault(":generateContent", refusal);
            },
            "Gemini: refuses the key. Replace GEMINI_API_KEY and restart. No new reels on direct lanes until then.",
            ("gemini", "key_refused"),
            "key refused",
        ),
        refusal(
            |s| {
                let refusal = GeminiSandbox::refusal(404, "NOT_FOUND", "models/x is not found", Value::Null);
                s.gemini.control.fault(":generateContent", refusal);
            },
            "Gemini: no longer has the model gemini-3.8-flash. Set GEMINI_MODEL to a current model (docs/models-and-money.md)",
            ("gemini", "not_found"),
            "not found",
        ),
    ]
}

fn of_webhooks() -> Vec<Refusal> {
    let refusal = |fault, alert, told, state| Refusal { fault, by_reel: true, alert, told, state, pause: MOMENT };
    vec![
        refusal(
            |s| s.n8n.control.fault("/webhook", n8n(403, "text/plain", "Authorization data is wrong!")),
            "n8n (n8n:0): refuses the secret. Make N8N_SECRET match the workflow's X-Reel-Secret and restart.",
            ("n8n:0", "key_refused"),
            "key refused",
        ),
        refusal(
            |s| {
                let body = r#"{"code":404,"message":"The requested webhook is not registered.","hint":"…"}"#;
                s.n8n.control.fault("/webhook", n8n(404, "application/json", body));
            },
            "n8n (n8n:0): doesn't know the webhook. Publish the workflow and check N8N_WEBHOOK_URLS.",
            ("n8n:0", "not_found"),
            "not found",
        ),
    ]
}

/// A bot whose alerts are about paid services alone.
async fn bot(sandbox: &Arc<Sandbox>, db: &Arc<TestDb>, settings: &[(&str, &str)], clock: &Clock) -> TestBot {
    sandbox.telegram.open(OPERATOR);
    let chat = format!("telegram:{OPERATOR}");
    let alerts = ("ALERTS", "p95_s=off,cost_day_usd=off,instance_lost_s=off");
    let own = [("ALERT_CHAT", chat.as_str()), alerts, ("DISCORD_TOKEN", ""), ON];
    let settings = [&own, settings].concat();
    TestBot::start_at(sandbox.clone(), db.clone(), &settings, clock.clone(), None).await
}

async fn heard(bot: &TestBot, count: usize, words: &str) {
    until(&format!("the operator hears “{words}”"), async || bot.telegram(OPERATOR).len() >= count).await;
    bot.drain().await;
    let all = bot.telegram(OPERATOR);
    assert!(all.len() == count && all[count - 1].contains(words), "“{words}” is number {count} of {all:#?}");
}

async fn ready(bot: &TestBot) -> (u16, Value) {
    let answer = reqwest012::get(format!("http://{}/readyz", bot.http)).await.unwrap();
    (answer.status().as_u16(), serde_json::from_str(&answer.text().await.unwrap()).unwrap())
}

/// Has each refusal told, shown and over again.
async fn each_is_told(db: TestDb, refusals: Vec<Refusal>, settings: &[(&str, &str)]) {
    let (sandbox, db, clock) = (sandbox().await, Arc::new(db), Clock::manual(Clock::System.now()));
    let mut all = sandbox.n8n_environment();
    all.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let is_n8n = refusals.iter().any(|refusal| refusal.told.0 == "n8n:0");
    let own: Vec<(&str, &str)> = all
        .iter()
        .filter(|(name, _)| is_n8n || !name.starts_with("N8N"))
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let bot = bot(&sandbox, &db, &own, &clock).await;
    let visitor = Visitor::of(&bot);
    let cookie = visitor.sign_in().await;
    let mut asked = 0;
    let mut ask = async |by_reel: bool| {
        asked += 1;
        let text = if by_reel { link(&format!("DWORKS{asked:05}")) } else { format!("Hello number {asked}") };
        sandbox.telegram.say(ANA, ANA, "Ana", &text);
        bot.drain().await;
    };
    let (_, state) = ready(&bot).await;
    assert_eq!((&state["ready"], &state["degraded"]), (&json!(true), &json!(false)), "{state}");
    for (at, refusal) in refusals.iter().enumerate() {
        (refusal.fault)(&sandbox);
        ask(refusal.by_reel).await;
        pass(&db, &clock, LOOK).await;
        heard(&bot, 2 * at + 1, refusal.alert).await;
        let (status, state) = ready(&bot).await;
        assert_eq!(status, 200, "no instance is taken out of use for it: {state}");
        assert_eq!(state["services"][refusal.told.0], refusal.told.1, "{state}");
        assert_eq!(state["degraded"], json!(refusal.told.1 != "bad_request"), "{state}");
        let state = format!("bad\">{}</span>", refusal.state);
        let notice = refusal.alert.split_once(": ").unwrap().1.split(". ").next().unwrap().split(" (").next().unwrap();
        until(&format!("the dashboard shows {state}, {notice}"), async || {
            let page = visitor.page("/", &cookie).await;
            let row = page.split("id=\"upstreams\"").nth(1).unwrap().split("data-panel").next().unwrap();
            row.contains(&state) && page.contains(notice)
        })
        .await;

        pass(&db, &clock, Duration::from_secs(120)).await;
        heard(&bot, 2 * at + 1, refusal.alert).await;
        clock.advance(refusal.pause);
        ask(refusal.by_reel).await;
        pass(&db, &clock, Duration::from_secs(80)).await;
        heard(&bot, 2 * at + 2, "working again after").await;
        let (_, state) = ready(&bot).await;
        assert_eq!((&state["degraded"], &state["services"][refusal.told.0]), (&json!(false), &json!("working")));
        let state = if refusal.pause == MOMENT { "warn\">some fail</span>" } else { "good\">working</span>" };
        until(&format!("the dashboard shows {state}"), async || visitor.page("/", &cookie).await.contains(state)).await;
    }
    assert_eq!(db.number("SELECT COUNT(*) FROM alerts", &[]).await, 0);
    bot.end().await;
}

on_both! {
    async fn openai_refuses_everybody(db: TestDb) {
        each_is_told(db, of_answers(), &[("COACH_MODEL", "gpt-5.4")]).await;
    }

    async fn apify_and_gemini_refuse_everybody(db: TestDb) {
        each_is_told(db, of_direct_lanes(), &[("REEL_LANES", "1")]).await;
    }

    async fn a_webhook_refuses_everybody(db: TestDb) {
        each_is_told(db, of_webhooks(), &[("REEL_LANES", "0"), ("N8N_DEADLINE_SECONDS", "10")]).await;
    }

    async fn a_fifth_of_the_answers_failed(db: TestDb) {
        let (sandbox, db, clock) = (sandbox().await, Arc::new(db), Clock::manual(Clock::System.now()));
        let mut bot_now = bot(&sandbox, &db, &[], &clock).await;
        for at in 0..9 {
            // As fast as Telegram takes the answers.
            clock.advance(Duration::from_secs(6));
            if at % 3 == 0 {
                sandbox.openai.script(Script::CutAfter("The first thing to".into()));
            }
            sandbox.telegram.say(ANA, ANA, "Ana", &format!("Hello number {at}"));
            bot_now.drain().await;
        }
        pass(&db, &clock, LOOK).await;
        bot_now.drain().await;
        assert_eq!(bot_now.telegram(OPERATOR), Vec::<String>::new(), "nine are too few");
        clock.advance(Duration::from_secs(6));
        sandbox.openai.script(Script::CutAfter("The first thing to".into()));
        sandbox.telegram.say(ANA, ANA, "Ana", "Hello number 10");
        bot_now.drain().await;
        pass(&db, &clock, LOOK).await;
        let alert = "OpenAI: 40% of the last 10 answers failed (cut). Check status.openai.com. I keep trying.";
        heard(&bot_now, 1, alert).await;

        // Neither silence nor a restart ends it: nobody knows whether it works again.
        bot_now.stop().await;
        bot_now.leaves_work = true;
        drop(bot_now);
        clock.advance(Duration::from_secs(1200));
        let bot_now = bot(&sandbox, &db, &[], &clock).await;
        pass(&db, &clock, Duration::from_secs(400)).await;
        heard(&bot_now, 1, alert).await;
        sandbox.telegram.say(ANA, ANA, "Ana", "Hello again");
        bot_now.drain().await;
        pass(&db, &clock, Duration::from_secs(320)).await;
        heard(&bot_now, 2, "OpenAI: working again after").await;
        bot_now.end().await;
    }

    async fn the_end_of_a_model_is_told_in_time(db: TestDb) {
        // 15 days and a half before the end of gpt-5.
        let start = Timestamp(1_795_694_400_000);
        let (sandbox, db, clock) = (sandbox().await, Arc::new(db), Clock::manual(start));
        let going = [("COACH_MODEL", "gpt-5")];
        let mut first = bot(&sandbox, &db, &going, &clock).await;
        until("the models are looked up", async || {
            clock.advance(Duration::from_secs(30));
            db.number("SELECT COUNT(*) FROM providers WHERE looked_up_at > 0", &[]).await == 2
                && db.number("SELECT COUNT(*) FROM providers WHERE shutdown_on = '2026-12-11'", &[]).await == 1
                // That it is looked up is noted before it is asked for.
                && sandbox.openai.control.count("/v1/models") >= 2
        })
        .await;
        let asked = sandbox.openai.control.count("/v1/models");
        assert_eq!(asked, 2, "each model once");
        let mut told = Vec::new();
        for _ in 0..4 * 15 {
            clock.advance(Duration::from_secs(6 * 3600) - LOOK);
            pass(&db, &clock, LOOK).await;
            first.drain().await;
            told = first.telegram(OPERATOR);
        }
        let ends = ["in 14 days", "in 7 days", "tomorrow", "today"];
        assert_eq!(told.len(), ends.len(), "{told:#?}");
        for (alert, end) in told.iter().zip(ends) {
            let words = format!("OpenAI: gpt-5 is switched off {end} (2026-12-11). Set COACH_MODEL to gpt-6.1-sol and restart");
            assert!(alert.contains(&words), "{words}: {alert}");
        }
        let asked = sandbox.openai.control.count("/v1/models");
        assert!((20..=34).contains(&asked), "two models about once a day: {asked}");
        first.stop().await;
        first.leaves_work = true;
        drop(first);
        let again = bot(&sandbox, &db, &[], &clock).await;
        pass(&db, &clock, 2 * LOOK).await;
        heard(&again, 5, "gpt-5 is no longer used").await;
        again.end().await;
    }
}

/// What one instance meets, the other one tells and shows.
#[tokio::test(flavor = "multi_thread")]
async fn every_instance_knows_what_one_has_met() {
    let (sandbox, db) = (sandbox().await, Arc::new(TestDb::postgres().await));
    let clock = Clock::manual(Clock::System.now());
    let settings = [("DATABASE_CONNECTIONS", "6")];
    let one = bot(&sandbox, &db, &settings, &clock).await;
    sandbox.openai.control.fault("/responses", openai(401, "invalid_api_key"));
    sandbox.telegram.say(ANA, ANA, "Ana", "Hello");
    one.drain().await;
    let two = bot(&sandbox, &db, &settings, &clock).await;
    for instance in [&one, &two] {
        let (status, state) = ready(instance).await;
        assert_eq!((status, &state["services"]["openai"]), (200, &json!("key_refused")), "{state}");
    }
    pass(&db, &clock, 2 * LOOK).await;
    heard(&one, 1, "OpenAI: refuses the key").await;
    two.end().await;
    one.end().await;
}
