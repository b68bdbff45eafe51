//! The HTTP port as strangers meet it: connections that never say anything, names that are not the bot's, sessions that were
//! ended elsewhere.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reelcoach::clock::Clock;
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, COOKIE, HOST};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bot::{TestBot, environment, sandbox, until};
use crate::dashboard::{ON, Visitor};
use crate::process::Process;
use crate::reels::link;
use crate::support::TestDb;

const ANA: i64 = 42;

/// A connection on which this has been sent, and no more.
async fn unfinished(address: SocketAddr, sent: &str) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    // It may be closed already.
    let _ = stream.write_all(sent.as_bytes()).await;
    Some(stream)
}

/// Waits until the other side has closed it; what came before.
async fn closed(stream: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    match stream.read_to_end(&mut heard).await {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    String::from_utf8_lossy(&heard).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_half_open_connections_stop_nothing() {
    let sandbox = sandbox().await;
    let db = TestDb::sqlite().await;
    let environment = environment(&sandbox, &db, &[ON, ("DISCORD_TOKEN", "")]);
    let mut process = Process::serve_with_files(256, &environment);
    let address = process.ready().await;
    let mut held = Vec::new();
    for at in 0..1000 {
        let sent = ["", "GET /livez HT", "GET / HTTP/1.1\r\nhost: loc", "POST /sign-in HTTP/1.1\r\n"][at % 4];
        held.extend(unfinished(address, sent).await);
    }
    assert!(held.len() > 900, "they get through to a listener that goes on accepting: {}", held.len());
    // And more come all the time: of the 56 places for one address none is taken again within a quarter of a second, in which
    // a client that works sends its header.
    let flood = tokio::spawn(async move {
        let mut held = std::collections::VecDeque::from(held);
        loop {
            held.extend(unfinished(address, "GET /livez HTTP/1.1\r\nhost: ").await);
            if held.len() > 1000 {
                held.pop_front();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    // A machine under load may hold up a client for longer: it then asks again, as clients do.
    let is_answered = async |path: &str| {
        for _ in 0..5 {
            let client = reqwest012::Client::builder().timeout(Duration::from_secs(10)).build().unwrap();
            match client.get(format!("http://{address}{path}")).send().await {
                Ok(answer) => return answer.status().as_u16() == 200,
                Err(_) => continue,
            }
        }
        false
    };
    for at in 0..20 {
        assert!(is_answered("/livez").await, "number {at}");
    }
    assert!(is_answered("/readyz").await);
    sandbox.telegram.say(ANA, ANA, "Ana", "How do I open a reel about bread?");
    sandbox.telegram.say(ANA + 1, ANA + 1, "Ben", &link("DWORKS00001"));
    let shown = |chat: i64| sandbox.telegram.screen(chat).into_iter().filter(|shown| shown.from_bot).count();
    until("both are answered", async || {
        sandbox.telegram.pending() == 0 && shown(ANA) > 0 && shown(ANA + 1) > 0 && db.is_idle().await.unwrap()
    })
    .await;
    assert_eq!(db.number("SELECT COUNT(*) FROM jobs WHERE state = 'done'", &[]).await, 1);
    assert!(is_answered("/livez").await);
    flood.abort();
    let log = process.log();
    let refused = |line: &&serde_json::Value| line.to_string().contains("not be accepted");
    assert_eq!(log.iter().find(refused), None, "descriptors are left");
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_slowly_is_let_go() {
    let bot = TestBot::start(TestDb::sqlite().await, &[ON]).await;
    let began = Instant::now();
    let mut silent = unfinished(bot.http, "").await.unwrap();
    let mut header = unfinished(bot.http, "GET /livez HTTP/1.1\r\nhost: local").await.unwrap();
    let form = "POST /sign-in HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\ncontent-type: application/x-www-form-urlencoded\r\n\r\ntoken=";
    let mut body = unfinished(bot.http, form).await.unwrap();
    let mut trickle = unfinished(bot.http, form).await.unwrap();
    let mut idle = unfinished(bot.http, "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    // A byte a second for ever.
    let trickled = async {
        let (mut from, mut to) = trickle.split();
        let (mut heard, sending) = (Vec::new(), async {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if to.write_all(b"x").await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        });
        tokio::select! {
            _ = from.read_to_end(&mut heard) => String::from_utf8_lossy(&heard).into_owned(),
            () = sending => unreachable!(),
        }
    };
    let all = async {
        tokio::join!(closed(&mut silent), closed(&mut header), closed(&mut body), trickled, closed(&mut idle))
    };
    let (silent, header, body, trickled, idle) =
        tokio::time::timeout(Duration::from_secs(50), all).await.expect("they are closed");
    assert!(began.elapsed() > Duration::from_secs(4), "who is slow for a moment is waited for");
    assert!(silent.is_empty(), "{silent}");
    assert!(header.is_empty() || header.starts_with("HTTP/1.1 408"), "{header}");
    assert!(body.starts_with("HTTP/1.1 4"), "{body}");
    assert!(trickled.starts_with("HTTP/1.1 503"), "{trickled}");
    assert!(idle.starts_with("HTTP/1.1 200") && idle.ends_with("ok\n"), "{idle}");
    bot.end().await;
}

/// Bodies of strangers are not waited for, and so take no memory.
#[tokio::test(flavor = "multi_thread")]
async fn the_webhook_knows_its_caller_before_it_reads() {
    // All of the body is missing, and the connection stays open for it.
    let ask = async |bot: &TestBot, secret: &str| {
        let secret =
            if secret.is_empty() { String::new() } else { format!("x-telegram-bot-api-secret-token: {secret}\r\n") };
        let header = format!("POST /telegram HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n{secret}\r\n");
        let said = closed(&mut unfinished(bot.http, &header).await.unwrap()).await;
        said.split(' ').nth(1).map(str::to_owned).unwrap_or(said)
    };
    let without = TestBot::start(TestDb::sqlite().await, &[]).await;
    assert_eq!(ask(&without, "s3cret").await, "503", "no webhook is set");
    without.end().await;
    let settings = [("TELEGRAM_WEBHOOK_URL", "https://bot.invalid/telegram"), ("TELEGRAM_WEBHOOK_SECRET", "s3cret")];
    let bot = TestBot::start(TestDb::sqlite().await, &settings).await;
    until("the webhook is open", async || ask(&bot, "").await != "503").await;
    for secret in ["", "wrong", "s3cre", "s3crets"] {
        assert_eq!(ask(&bot, secret).await, "403", "{secret:?}");
    }
    let known = ask(&bot, "s3cret").await;
    assert!(known.starts_with('4') && known != "403", "Telegram's body is waited for: {known}");
    bot.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_by_its_own_names_alone() {
    let bot = TestBot::start(TestDb::sqlite().await, &[ON, ("PUBLIC_URL", "https://coach.example.org")]).await;
    let visitor = Visitor::of(&bot);
    let port = bot.http.port();
    let get = async |path: &str, host: &str| {
        let request = visitor.client.get(format!("{}{path}", visitor.base)).header(HOST, host);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    for (own, port) in [("localhost", port), ("127.0.0.1", port), ("[::1]", 9), ("coach.example.org", 443)] {
        let host = format!("{own}:{port}");
        for (path, status) in [("/", 401), ("/metrics", 404), ("/events", 401), ("/nowhere", 404), ("/icon.svg", 200)] {
            assert_eq!(get(path, &host).await.0, status, "{path} at {host}");
        }
    }
    for foreign in
        ["rebound.example", "rebound.example:8080", "127.0.0.1.rebound.example", "10.0.0.1", "localhost@x.org"]
    {
        for path in ["/", "/metrics", "/events", "/usage", "/failure/K7M2QX", "/nowhere", "/icon.svg"] {
            let (status, said) = get(path, foreign).await;
            assert!(status == 421 && said.contains("PUBLIC_URL") && !said.contains(foreign), "{path}: {status} {said}");
        }
        let token = visitor.post("/sign-in", "token=a+long+random+token", &[("host", foreign)]).await;
        assert_eq!((token.status(), token.headers().get("set-cookie")), (StatusCode::MISDIRECTED_REQUEST, None));
        for path in ["/livez", "/readyz"] {
            assert_eq!(get(path, foreign).await.0, 200, "a load balancer asks by any name");
        }
        let hook = visitor.post("/telegram", "{}", &[("host", foreign)]).await;
        assert_eq!(hook.status(), StatusCode::SERVICE_UNAVAILABLE, "no webhook is set, whoever asks");
    }
    // A whole address in the first line says who is meant, whatever the header says; none at all and two say nothing.
    for (request, status) in [
        ("GET http://rebound.example/metrics HTTP/1.1\r\nhost: localhost\r\n", "421"),
        ("GET http://localhost/metrics HTTP/1.1\r\nhost: localhost\r\n", "404"),
        ("GET /metrics HTTP/1.0\r\n", "421"),
        ("GET /metrics HTTP/1.1\r\nhost: localhost\r\nhost: rebound.example\r\n", "421"),
    ] {
        let mut stream = unfinished(bot.http, &format!("{request}connection: close\r\n\r\n")).await.unwrap();
        let said = closed(&mut stream).await;
        assert!(said.contains(&format!(" {status} ")), "{request}: {said}");
    }
    bot.end().await;
}

/// How Prometheus asks: by the address that it found, not by a name.
#[tokio::test(flavor = "multi_thread")]
async fn the_address_that_was_connected_to_is_a_name() {
    let db = TestDb::sqlite().await;
    let bot = TestBot::start(db, &[ON, ("HTTP_ADDR", "0.0.0.0:0")]).await;
    let address = SocketAddr::from(([127, 0, 0, 1], bot.http.port()));
    let ask = async |host: &str| {
        let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        closed(&mut unfinished(address, &request).await.unwrap()).await
    };
    assert!(ask(&format!("127.0.0.1:{}", address.port())).await.contains(" 401 "));
    assert!(ask("172.18.0.3:8080").await.contains(" 421 "), "an address of another machine");
    bot.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_out_is_signed_out_everywhere_and_for_good() {
    let (sandbox, db) = (sandbox().await, Arc::new(TestDb::postgres().await));
    let settings = [ON, ("DATABASE_CONNECTIONS", "6")];
    let one = TestBot::start_on(sandbox.clone(), db.clone(), &settings).await;
    let mut two = TestBot::start_on(sandbox.clone(), db.clone(), &settings).await;
    let (here, there) = (Visitor::of(&one), Visitor::of(&two));
    let (cookie, other) = (here.sign_in().await, here.sign_in().await);
    for cookie in [&cookie, &other] {
        assert_eq!(there.get("/", cookie).await.status(), StatusCode::OK, "one token, one session for all instances");
    }
    let stream = there.client.get(format!("{}/events", there.base)).header(COOKIE, &cookie).header(ACCEPT, "*/*");
    let mut stream = stream.send().await.unwrap();
    assert_eq!(stream.status(), StatusCode::OK);
    assert_eq!(here.post("/sign-out", "", &[("cookie", &cookie)]).await.status(), StatusCode::SEE_OTHER);
    for visitor in [&here, &there] {
        for path in ["/", "/usage", "/events", "/failure/K7M2QX"] {
            assert_eq!(visitor.get(path, &cookie).await.status(), StatusCode::UNAUTHORIZED, "{path}");
        }
        assert_eq!(visitor.get("/", &other).await.status(), StatusCode::OK, "another session goes on");
    }
    let ends = async { while stream.chunk().await.unwrap().is_some() {} };
    tokio::time::timeout(Duration::from_secs(60), ends).await.expect("an open page hears it too");
    two.stop().await;
    two.leaves_work = true;
    let again = TestBot::start_on(sandbox.clone(), db.clone(), &settings).await;
    let restarted = Visitor::of(&again);
    assert_eq!(restarted.get("/", &cookie).await.status(), StatusCode::UNAUTHORIZED, "after a restart");
    assert_eq!(restarted.get("/", &other).await.status(), StatusCode::OK);
    assert_eq!(db.number("SELECT COUNT(*) FROM ended_sessions", &[]).await, 1);
    again.end().await;
    one.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_out_survives_a_restart_on_sqlite() {
    let (sandbox, db) = (sandbox().await, Arc::new(TestDb::sqlite().await));
    let mut bot = TestBot::start_on(sandbox.clone(), db.clone(), &[ON]).await;
    let visitor = Visitor::of(&bot);
    let cookie = visitor.sign_in().await;
    assert_eq!(visitor.post("/sign-out", "", &[("cookie", &cookie)]).await.status(), StatusCode::SEE_OTHER);
    bot.stop().await;
    bot.leaves_work = true;
    drop(bot);
    let bot = TestBot::start_on(sandbox, db, &[ON]).await;
    assert_eq!(Visitor::of(&bot).get("/", &cookie).await.status(), StatusCode::UNAUTHORIZED);
    bot.end().await;
}

/// The bot ends within the time that it has although somebody holds connections open.
#[tokio::test(flavor = "multi_thread")]
async fn half_open_connections_do_not_hold_up_the_end() {
    let mut bot = TestBot::start(TestDb::sqlite().await, &[ON]).await;
    bot.drain().await;
    let mut held = Vec::new();
    for sent in ["", "GET /livez HTTP/1.1\r\n", "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n"] {
        held.extend(unfinished(bot.http, sent).await);
    }
    let began = Instant::now();
    bot.stop().await;
    // 10 s for the adapters, and what `SHUTDOWN_SECONDS` gives to answers.
    assert!(began.elapsed() < Duration::from_secs(10 + 30), "{:?}", began.elapsed());
    let ends = async {
        for stream in &mut held {
            closed(stream).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ends).await.expect("they are closed");
    // It had nothing to do when it was stopped.
    bot.leaves_work = true;
}

on_both! {
    /// Anybody may ask, however often: the database is written to once a second.
    async fn who_asks_for_readiness_all_the_time_shares_one_write(db: TestDb) {
        let (db, clock) = (Arc::new(db), Clock::manual(Clock::System.now()));
        let bot = TestBot::start_at(sandbox().await, db.clone(), &[ON], clock.clone(), None).await;
        let address = format!("http://{}/readyz", bot.http);
        let client = reqwest012::Client::new();
        let ask = async || client.get(&address).send().await.unwrap().status().as_u16();
        // The time of the latest write.
        let written = async || db.number("SELECT at FROM write_check", &[]).await;
        assert_eq!(ask().await, 200);
        let first = written().await;
        for _ in 0..9 {
            clock.advance(Duration::from_millis(100));
            let all = futures::future::join_all((0..8).map(|_| ask())).await;
            assert_eq!((all, written().await), (vec![200; 8], first));
            // Who goes away at once costs nothing either.
            drop(unfinished(bot.http, "GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n").await);
        }
        clock.advance(Duration::from_millis(100));
        assert_eq!(ask().await, 200);
        assert_eq!(written().await, first + 1000, "a second later it is looked at again");
        bot.end().await;
    }
}
