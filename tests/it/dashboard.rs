//! The dashboard, as its operator meets it: signing in, what a page may do and shows, the stream, and all of it in a real
//! browser. Owns no rule of the line or of money.

use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use reqwest::header::{ACCEPT, CONTENT_TYPE, COOKIE, LOCATION, ORIGIN, SET_COOKIE};
use reqwest::{Client, Response, StatusCode};
use sandbox::apify::ApifySandbox;

use crate::bot::{PATIENCE, TestBot};
use crate::browser::Browser;
use crate::reels::link;
use crate::support::TestDb;

const ANA: i64 = 42;
const TOKEN: &str = "a long random token";
pub const ON: (&str, &str) = ("DASHBOARD_TOKEN", TOKEN);
const HELD: Duration = Duration::from_secs(80);

/// Somebody with a browser of no kind: no cookies but those given, no redirects followed.
pub struct Visitor {
    pub client: Client,
    pub base: String,
}

impl Visitor {
    pub fn of(bot: &TestBot) -> Visitor {
        let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Visitor { client, base: format!("http://{}", bot.http) }
    }

    pub async fn get(&self, path: &str, cookie: &str) -> Response {
        self.client.get(format!("{}{path}", self.base)).header(COOKIE, cookie).send().await.unwrap()
    }

    pub async fn post(&self, path: &str, form: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = self.client.post(format!("{}{path}", self.base));
        request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").header(ORIGIN, &self.base);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(form.to_owned()).send().await.unwrap()
    }

    pub async fn sign_in(&self) -> String {
        let answer = self.post("/sign-in", &format!("token={}", TOKEN.replace(' ', "+")), &[]).await;
        assert_eq!((answer.status(), &answer.headers()[LOCATION]), (StatusCode::SEE_OTHER, &"/".parse().unwrap()));
        let cookie = answer.headers()[SET_COOKIE].to_str().unwrap();
        assert!(cookie.contains("; HttpOnly; SameSite=Strict") && !cookie.contains("Secure"), "{cookie}");
        assert!(!cookie.contains("random") && cookie.contains("Path=/; Max-Age=43200"), "{cookie}");
        cookie.split(';').next().unwrap().to_owned()
    }

    pub async fn page(&self, path: &str, cookie: &str) -> String {
        let answer = self.get(path, cookie).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.text().await.unwrap()
    }
}

fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_it_says_how_it_is_switched_on() {
    let bot = TestBot::start(TestDb::sqlite().await, &[]).await;
    let visitor = Visitor::of(&bot);
    for path in ["/", "/failure/K7M2QX"] {
        let answer = visitor.get(path, "").await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
        has(&answer.text().await.unwrap(), &["The dashboard is off", "DASHBOARD_TOKEN"]);
    }
    assert_eq!(visitor.get("/events", "").await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(visitor.post("/sign-in", "token=", &[]).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(visitor.get("/livez", "").await.status(), StatusCode::OK);
    bot.end().await;
}

on_both! {
    async fn it_opens_to_the_token_alone(db: TestDb) {
        let bot = TestBot::start(db, &[ON]).await;
        let visitor = Visitor::of(&bot);
        for (path, status) in [("/", 401), ("/usage", 401), ("/failure/K7M2QX", 401), ("/failure?reference=K7M2QX", 401), ("/nowhere", 404)] {
            let answer = visitor.get(path, "reelcoach_session=AAAA").await;
            assert_eq!(answer.status().as_u16(), status, "{path}");
            let headers = answer.headers().clone();
            for (name, value) in [
                ("cache-control", "no-store"),
                ("x-content-type-options", "nosniff"),
                ("content-type", "text/html; charset=utf-8"),
            ] {
                assert_eq!(headers[name], value, "{path}");
            }
            let policy = headers["content-security-policy"].to_str().unwrap();
            has(policy, &["default-src 'none'", "script-src 'sha256-", "style-src 'sha256-", "frame-ancestors 'none'"]);
            assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
            let text = answer.text().await.unwrap();
            assert!(!text.contains("Budgets") && !text.contains(TOKEN), "{text}");
        }
        let cookie = visitor.sign_in().await;
        let answer = visitor.get("/", &cookie).await;
        assert_eq!(answer.headers()["referrer-policy"], "no-referrer");
        let page = answer.text().await.unwrap();
        has(&page, &["The queue is empty.", "Nothing has happened yet.", "No failures.", "direct:0", "this one", "of $100.00"]);
        assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("style=\""), "nothing from elsewhere");
        let foreign = [("sec-fetch-site", "cross-site")];
        assert_eq!(visitor.post("/sign-out", "", &[("cookie", &cookie), foreign[0]]).await.status(), StatusCode::FORBIDDEN);
        assert_eq!(visitor.get("/", &cookie).await.status(), StatusCode::OK);
        let out = visitor.post("/sign-out", "", &[("cookie", &cookie)]).await;
        has(out.headers()[SET_COOKIE].to_str().unwrap(), &["reelcoach_session=;", "Max-Age=0"]);
        assert_eq!(visitor.get("/", &cookie).await.status(), StatusCode::UNAUTHORIZED, "the cookie is worth nothing now");
        bot.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_are_slowed_down() {
    let bot = TestBot::start(TestDb::sqlite().await, &[ON]).await;
    let visitor = Visitor::of(&bot);
    let own = format!("token={}", TOKEN.replace(' ', "+"));
    let foreign = visitor.post("/sign-in", &own, &[("sec-fetch-site", "cross-site")]).await;
    assert_eq!((foreign.status(), foreign.headers().get(SET_COOKIE)), (StatusCode::FORBIDDEN, None));
    for guess in ["", "token=", "token=a+guess", "token=<script>"] {
        let answer = visitor.post("/sign-in", guess, &[]).await;
        assert_eq!((answer.status(), answer.headers().get(SET_COOKIE)), (StatusCode::FORBIDDEN, None), "{guess}");
        let page = answer.text().await.unwrap();
        assert!(page.contains("That token isn't right.") && !page.contains("<script>\""), "{page}");
    }
    assert_eq!(visitor.post("/sign-in", "token=a+guess", &[]).await.status(), StatusCode::FORBIDDEN);
    let answer = visitor.post("/sign-in", &own, &[]).await;
    assert_eq!(
        (answer.status(), &answer.headers()["retry-after"]),
        (StatusCode::TOO_MANY_REQUESTS, &"10".parse().unwrap())
    );
    let large = visitor.post("/sign-in", &format!("token={}", "x".repeat(10_000)), &[]).await;
    assert_eq!(large.status(), StatusCode::PAYLOAD_TOO_LARGE);
    bot.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_given_over_https_stays_there() {
    let bot = TestBot::start(TestDb::sqlite().await, &[ON]).await;
    let answer = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
        .post(format!("http://{}/sign-in", bot.http))
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(ORIGIN, "https://coach.example")
        .body(format!("token={}", TOKEN.replace(' ', "+")))
        .send()
        .await
        .unwrap();
    has(answer.headers()[SET_COOKIE].to_str().unwrap(), &["; HttpOnly; SameSite=Strict; Secure"]);
    bot.end().await;
}

on_both! {
    async fn a_failure_is_found_by_what_the_person_was_told(db: TestDb) {
        let bot = TestBot::start(db, &[ON, ("REEL_LANES", "1")]).await;
        let visitor = Visitor::of(&bot);
        bot.sandbox.apify.control.fault("/runs", ApifySandbox::refusal(402, "not-enough-usage-to-run-paid-actor"));
        bot.sandbox.telegram.say(ANA, ANA, "Ana", &format!("My secret plan: {}", link("DNOCREDIT01")));
        bot.drain().await;
        let told = bot.telegram(ANA).pop().unwrap();
        let code = told.split("reference ").nth(1).and_then(|rest| rest.split(')').next()).expect("a reference").to_owned();
        let cookie = visitor.sign_in().await;
        bot.until("the lane is out", async || visitor.page("/", &cookie).await.contains("out of use, next try in")).await;
        has(&visitor.page("/", &cookie).await, &[&code, "out of credit", "DNOCREDIT01", "No lane is working"]);
        let lower = code.to_lowercase();
        for path in [format!("/failure/{code}"), format!("/failure?reference=+{lower}+")] {
            let page = visitor.page(&path, &cookie).await;
            has(&page, &[&code, "out of credit", "reel <code>DNOCREDIT01", "direct:0, attempt 1"]);
            assert!(!page.contains("secret plan") && !page.contains("Ana"), "{page}");
        }
        let unknown = visitor.get("/failure/%3Cscript%3Ealert(1)%3C%2Fscript%3E%3Cscript%3E", &cookie).await;
        assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
        let page = unknown.text().await.unwrap();
        assert!(page.contains("No failure found for") && !page.contains("<script>alert"), "{page}");
        bot.end().await;
    }

    async fn an_open_page_hears_what_changes(db: TestDb) {
        let bot = TestBot::start(db, &[ON, ("REEL_LANES", "1")]).await;
        let visitor = Visitor::of(&bot);
        let cookie = visitor.sign_in().await;
        let mut pages = Vec::new();
        for _ in 0..3 {
            let answer = visitor.get("/events", &cookie).await;
            assert_eq!((answer.status(), &answer.headers()["content-type"]), (StatusCode::OK, &"text/event-stream".parse().unwrap()));
            assert_eq!(answer.headers()["cache-control"], "no-store");
            pages.push(answer.bytes_stream());
        }
        let mut heard = vec![String::new(); pages.len()];
        for (page, heard) in pages.iter_mut().zip(&mut heard) {
            hear(page, heard, "The queue is empty.").await;
            has(heard, &["event: panels\ndata: ", "id=\"tiles\"", "id=\"instances\""]);
            heard.clear();
        }
        bot.sandbox.apify.set_scrape(HELD);
        bot.sandbox.telegram.say(ANA, ANA, "Ana", &link("DRUNNING001"));
        for (page, heard) in pages.iter_mut().zip(&mut heard) {
            hear(page, heard, "DRUNNING001").await;
            assert!(!heard.contains("id=\"models\"") && !heard.contains("Ana"), "only what has changed: {heard}");
        }
        bot.sandbox.apify.finish_runs();
        for (page, heard) in pages.iter_mut().zip(&mut heard) {
            hear(page, heard, "The queue is empty.").await;
        }
        // The streams end with the server, which does not wait for them.
        bot.end().await;
        for mut page in pages {
            while page.next().await.is_some() {}
        }
    }
}

/// Reads a stream until it has said something.
async fn hear<E: std::fmt::Debug>(
    page: &mut (impl futures::Stream<Item = Result<bytes::Bytes, E>> + Unpin),
    heard: &mut String,
    words: &str,
) {
    let listening = async {
        while !heard.contains(words) {
            let bytes = page.next().await.expect("the stream goes on").unwrap();
            heard.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, listening).await.is_ok();
    assert!(in_time, "“{words}” is not heard: {heard}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_never_close_are_bounded() {
    let bot = TestBot::start(TestDb::sqlite().await, &[ON]).await;
    let visitor = Visitor::of(&bot);
    let cookie = visitor.sign_in().await;
    let mut open = Vec::new();
    for _ in 0..64 {
        let answer =
            visitor.client.get(format!("{}/events", visitor.base)).header(COOKIE, &cookie).header(ACCEPT, "*/*");
        let answer = answer.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        open.push(answer);
    }
    assert_eq!(visitor.get("/events", &cookie).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    drop(open);
    bot.until("they are closed", async || visitor.get("/events", &cookie).await.status() == StatusCode::OK).await;
    bot.end().await;
}

/// A month of use, told to the database, with names nobody would choose.
async fn a_month(db: &TestDb) {
    db.execute("INSERT INTO people (id, created_at) VALUES ('0190b6f0d1e27a3c8f4e5d6c7b8a9f01', 0)").await;
    db.execute(
        "INSERT INTO turns (id, kind, state, person_id, chat, merge_until, inputs, aside, sealed, due_at, attempt, shown, \
         outcome, created_at, closed_at) VALUES ('t', 'talk', 'closed', '0190b6f0d1e27a3c8f4e5d6c7b8a9f01', 'telegram:1', 0, 1, \
         FALSE, TRUE, 0, 1, '[]', 'answered', 0, 9000000000000)",
    )
    .await;
    let days = "WITH RECURSIVE d(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM d WHERE n < 29), \
                k(m) AS (SELECT 1 UNION ALL SELECT m + 1 FROM k WHERE m < 90)";
    let at = "(CAST(strftime('%s', 'now') AS INTEGER) - n * 86400) * 1000";
    let today = "CAST(strftime('%s', 'now') AS INTEGER) / 86400";
    db.execute(&format!(
        "INSERT INTO usage_counts (guild, day, platform, what, outcome, count) {days} SELECT '', {today} - n, 'telegram', 'talk', \
         'answered', 30 + (n * 37) % 53 - CASE n % 7 WHEN 0 THEN 25 WHEN 1 THEN 20 ELSE 0 END FROM d \
         UNION ALL SELECT '', {today} - n, 'telegram', 'job', 'done', 4 + (n * 13) % 17 FROM d \
         UNION ALL SELECT '', {today}, 'telegram', 'talk', 'answered', 38 \
         UNION ALL SELECT '', {today}, 'telegram', 'job', 'done', 9"
    ))
    .await;
    db.execute(&format!(
        "INSERT INTO usage_models (guild, day, platform, provider, model, tool, calls, failed, input_tokens, cached_tokens, \
         cache_write_tokens, output_tokens, reasoning_tokens, micro_usd) {days} SELECT '', {today} - n, 'telegram', 'openai', \
         'gpt-6.1-sol', 'coach', 60, 0, 126000, 84000, 0, 22800, 0, 900000 + (n * 731000) % 2100000 FROM d"
    ))
    .await;
    db.execute(&format!(
        "INSERT INTO jobs (id, shortcode, state, phase, asked_by, ready_at, lane, lane_kind, attempt, leased_until, cancel, \
         created_at, started_at, finished_at) {days} SELECT n || '/' || m, 'DPAST000001', 'done', 'analysing', \
         '0190b6f0d1e27a3c8f4e5d6c7b8a9f01', 0, 'direct:0', 'direct', 1, 0, FALSE, {at} - 30000, {at} - 27000, {at} FROM d, k \
         WHERE m <= 4 + (n * 13) % 17"
    ))
    .await;
    let month = "strftime('%Y-%m', 'now')";
    db.execute(&format!(
        "INSERT INTO spending (scope, period, micro_usd, alerted) VALUES ('bot', {month}, 46180000, 0), \
         ('platform:discord', {month}, 33100000, 0), ('platform:telegram', {month}, 13080000, 0), ('bot', date('now'), 1240000, 0)"
    ))
    .await;
    let models = [
        ("openai", "gpt-6.1-sol", 1840, "ok", 2),
        ("openai", "gpt-6-luna", 310, "ok", 1),
        ("openai", "gpt-6.1-sol", 9, "rate_limited", 0),
        ("gemini", "gemini-3.8-flash", 402, "ok", 3),
        ("apify", "apify~instagram-reel-scraper", 420, "ok", 4),
        ("apify", "apify~instagram-reel-scraper", 31, "timed_out", 0),
        (
            "n8n",
            "<b>a-workflow-with-a-name-that-nobody-should-ever-have-given-to-anything-at-all-because-it-never-ends</b>",
            12,
            "ok",
            5,
        ),
    ];
    for (at, (provider, model, calls, outcome, price)) in models.into_iter().enumerate() {
        db.execute(&format!(
            "INSERT INTO ledger (key, at, person_id, platform, chat, provider, model, tool, input_tokens, cached_tokens, \
             cache_write_tokens, output_tokens, reasoning_tokens, micro_usd, price_version, estimated, latency_ms, outcome) \
             WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {calls}) \
             SELECT '{at}/' || n, CAST(strftime('%s', 'now') AS INTEGER) * 1000 - n * 1900, 'p', 'telegram', 'telegram:1', \
             '{provider}', '{model}', 'coach', 2100, 1400, 0, 380, 0, {price} * 179, 'v', FALSE, 900, '{outcome}' FROM c"
        ))
        .await;
    }
    db.execute(
        "INSERT INTO usage_models SELECT '', at / 86400000, platform, provider, model, tool, COUNT(*), \
         SUM(CASE WHEN outcome = 'ok' THEN 0 ELSE 1 END), SUM(input_tokens), SUM(cached_tokens), SUM(cache_write_tokens), \
         SUM(output_tokens), SUM(reasoning_tokens), SUM(micro_usd), 0, 0 FROM ledger WHERE outcome <> 'started' GROUP BY 1, 2, 3, 4, 5, 6 \
         ON CONFLICT DO UPDATE SET calls = usage_models.calls + excluded.calls, failed = usage_models.failed + excluded.failed, \
         micro_usd = usage_models.micro_usd + excluded.micro_usd",
    )
    .await;
    let failures = [
        ("K7M2QX", 4, "reel", "DMB5Yp0xvQ2", "timed_out"),
        ("9TRWH4", 27, "answer", "0190b6f0d1e27a3c8f4e5d6c7b8a9f01", "rate_limited"),
        ("C3VJ8N", 95, "reel", "DLlGZiCOBQ0", "unavailable"),
        ("PX56ZD", 260, "reel", "DNf2kQWs1aa", "a_cause_with_a_very_long_name_that_a_newer_program_may_have_written"),
    ];
    for (code, minutes, part, subject, cause) in failures {
        db.execute(&format!(
            "INSERT INTO failures (reference, at, part, subject, cause, detail) VALUES ('{code}', \
             (CAST(strftime('%s', 'now') AS INTEGER) - {minutes} * 60) * 1000, '{part}', '{subject}', '{cause}', \
             'direct:0, attempt 2: apify: timed out (run ABORTED)')"
        ))
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_real_browser() {
    let bot =
        TestBot::start(TestDb::sqlite().await, &[ON, ("REEL_LANES", "2"), ("REEL_WAITING_PER_PERSON", "50")]).await;
    let base = format!("http://{}", bot.http);
    let mut browser = Browser::start().await;
    browser.show_as(1280, 900, "light").await;

    browser.open(&format!("{base}/")).await;
    assert_eq!(browser.text("document.title").await, "Sign in · reelcoach");
    browser.until("document.activeElement.id === 'token'").await;
    picture(&mut browser, "sign-in").await;
    browser.enter("#token", "not the token").await;
    browser.until("document.querySelector('[role=alert]')?.textContent.startsWith('That token isn')").await;
    browser.enter("#token", TOKEN).await;
    browser.until("document.title === 'Overview · reelcoach' && location.pathname === '/'").await;
    assert_eq!(browser.text("document.cookie").await, "", "no script sees the session");
    browser.until("document.getElementById('live').innerText === 'live'").await;
    assert!(browser.text("document.getElementById('queue').innerText").await.contains("The queue is empty."));
    picture(&mut browser, "empty").await;

    // What happens is seen without a reload, and what is open stays open.
    browser.value("window.loaded = 'once'; document.querySelector('#reference').focus()").await;
    a_month(&bot.db).await;
    bot.sandbox.apify.set_scrape(HELD);
    for (n, code) in ["DRUNNING001", "DRUNNING002", "DWAITING003", "DWAITING004", "DWAITING005"].iter().enumerate() {
        let person = ANA + i64::try_from(n).unwrap();
        bot.sandbox.telegram.say(person, person, "Ana", &link(code));
        bot.until("it is in the line", async || {
            bot.db.number("SELECT COUNT(*) FROM jobs WHERE state <> 'done'", &[]).await > n as i64
        })
        .await;
    }
    browser.until("document.getElementById('queue').innerText.includes('DWAITING005')").await;
    browser.until("document.getElementById('lanes').innerText.includes('fetching DRUNNING001')").await;
    browser.until("document.querySelector('#usage details summary') !== null").await;
    assert_eq!(browser.text("window.loaded").await, "once");
    assert_eq!(browser.text("document.activeElement.id").await, "reference", "the focus stays");
    browser
        .value(
            "document.querySelector('#usage details').open = true; document.querySelector('#usage summary').id = 'old'",
        )
        .await;
    bot.db.execute("UPDATE usage_models SET micro_usd = 777000 WHERE day = (SELECT MIN(day) FROM usage_models)").await;
    browser.until("document.querySelector('#usage summary').id !== 'old'").await;
    assert_eq!(browser.value("document.querySelector('#usage details').open").await, true, "it stays open");
    browser.value("document.querySelector('#usage details').open = false").await;

    for (name, width, height, scheme) in [
        ("light", 1280, 900, "light"),
        ("dark", 1280, 900, "dark"),
        ("phone-light", 360, 780, "light"),
        ("phone", 360, 780, "dark"),
    ] {
        browser.show_as(width, height, scheme).await;
        picture(&mut browser, name).await;
        if name == "light" {
            is_what_the_gallery_shows(&mut browser).await;
        }
        let wide = browser.value("document.documentElement.scrollWidth").await;
        assert_eq!(wide, width, "{name}: nothing reaches beyond the window");
        let faint = browser.value(FAINT).await;
        assert_eq!(faint, serde_json::json!([]), "{name}: text of too little contrast (WCAG AA)");
    }

    // The larger charts, which are those of the chat.
    for (name, width, scheme) in [("usage", 1280, "light"), ("usage-dark", 1280, "dark"), ("usage-phone", 360, "light")]
    {
        browser.show_as(width, 900, scheme).await;
        browser.open(&format!("{base}/usage")).await;
        assert_eq!(browser.value("document.querySelectorAll('section.chart svg title').length >= 3").await, true);
        assert_eq!(browser.value("document.documentElement.scrollWidth").await, width, "{name}");
        picture(&mut browser, name).await;
    }
    browser.open(&format!("{base}/")).await;

    // A code leads to its failure, by the link and by the form.
    browser.show_as(1280, 900, "light").await;
    browser.value("document.querySelector('#failures a[href=\"/failure/K7M2QX\"]').click()").await;
    browser.until("document.querySelector('h1')?.innerText === 'Failure K7M2QX'").await;
    picture(&mut browser, "failure").await;
    browser.open(&format!("{base}/")).await;
    browser.enter("#reference", "9trwh4").await;
    browser.until("document.querySelector('h1')?.innerText === 'Failure 9TRWH4'").await;
    browser.open(&format!("{base}/")).await;
    browser.until("document.getElementById('live').innerText === 'live'").await;
    browser.value("document.querySelector('.out').requestSubmit()").await;
    browser.until("document.title === 'Sign in · reelcoach'").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());

    bot.sandbox.apify.finish_runs();
    bot.sandbox.apify.set_scrape(Duration::ZERO);
    bot.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_says_that_it_lost_the_server_and_finds_it_again() {
    let db = std::sync::Arc::new(TestDb::sqlite().await);
    let sandbox = crate::bot::sandbox().await;
    let mut bot = TestBot::start_on(sandbox.clone(), db.clone(), &[ON]).await;
    let address = bot.http.to_string();
    let mut browser = Browser::start().await;
    browser.open(&format!("http://{address}/")).await;
    browser.enter("#token", TOKEN).await;
    browser.until("document.getElementById('live')?.innerText === 'live'").await;
    browser.value("window.loaded = 'once'").await;
    bot.drain().await;
    bot.stop().await;
    bot.leaves_work = true;
    drop(bot);
    browser.until("document.getElementById('live').innerText === 'reconnecting'").await;
    let again = TestBot::start_on(sandbox, db, &[ON, ("HTTP_ADDR", &address)]).await;
    browser.until("document.getElementById('live').innerText === 'live'").await;
    assert_eq!(browser.text("window.loaded").await, "once", "the session holds, and the page was never loaded anew");
    again.end().await;
}

/// Texts whose contrast with what is behind them is below 4.5 (3 for large ones).
const FAINT: &str = r#"(() => {
    const parts = (colour) => colour.match(/[\d.]+/g).map(Number);
    const light = (colour) => {
        const [r, g, b] = parts(colour).map((v) => v / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const colour = getComputedStyle(at).backgroundColor;
            if (parts(colour)[3] !== 0) return colour;
        }
        return "rgb(255, 255, 255)";
    };
    const faint = [];
    for (const element of document.querySelectorAll("body *")) {
        const text = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        if (!text || element.closest("svg") || !element.checkVisibility() || element.closest(".quiet")) continue;
        const style = getComputedStyle(element);
        const [a, b] = [light(style.color), light(behind(element))].sort((x, y) => y - x);
        const ratio = (a + 0.05) / (b + 0.05);
        const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
        if (ratio < (large ? 3 : 4.5)) faint.push([element.className, element.textContent.slice(0, 30), ratio.toFixed(2)]);
    }
    return faint;
})()"#;

/// The pictures of the gallery, and how much of the page they show.
const GALLERY: [(&str, u32); 3] = [("light", 900), ("dark", 900), ("phone", 1560)];

/// Titles and labels of the page, without its figures: a line each.
const LABELS: &str = r#"[...document.querySelectorAll("h1, h2, h3, thead th, label, button")].map((label) => label.innerText.trim())
    .filter((label) => label).join("\n") + "\n""#;

/// Holds the gallery's pictures to the page: they are written with its titles and labels, and those are still the page's.
async fn is_what_the_gallery_shows(browser: &mut Browser) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/gallery/dashboard.txt");
    let labels = browser.text(LABELS).await;
    assert!(labels.lines().count() > 15, "{labels}");
    if std::env::var_os("WRITE_GALLERY").is_some() {
        std::fs::write(&path, &labels).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(&path).unwrap_or_default(),
        labels,
        "docs/gallery shows another dashboard: write its pictures with\nWRITE_GALLERY=1 cargo test --test it dashboard::"
    );
}

/// Keeps a picture where somebody wants to look: the gallery's with `WRITE_GALLERY=1`, whole ones of every step in the
/// folder of `DASHBOARD_PICTURES`.
async fn picture(browser: &mut Browser, name: &str) {
    browser.value("document.activeElement?.blur()").await;
    let of_gallery = GALLERY.iter().find(|(of_gallery, _)| *of_gallery == name);
    if let Some((_, height)) = of_gallery.filter(|_| std::env::var_os("WRITE_GALLERY").is_some()) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/gallery");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("dashboard-{name}.png")), browser.picture(Some(*height)).await).unwrap();
    }
    if let Some(folder) = std::env::var_os("DASHBOARD_PICTURES") {
        std::fs::write(Path::new(&folder).join(format!("{name}.png")), browser.picture(None).await).unwrap();
    }
}
