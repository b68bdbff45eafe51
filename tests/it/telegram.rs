//! The real Telegram adapter against the stand-in for api.telegram.org.

mod sending;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use futures::FutureExt as _;
use reelcoach::clock::{Clock, Timestamp};
use reelcoach::core::chat::{
    Addressed, Button, Destination, File, Inbound, Messenger, Piece, Receive, ReceiveFailed, SendError, Taken,
};
use reelcoach::core::leases::{Lease, Moment};
use reelcoach::ids::{ChatId, MessageRef, Platform};
use reelcoach::platforms::telegram::{IdentifyError, Me, PollEnded, Settings, Telegram, Undecodable};
use sandbox::telegram::{Settings as SandboxSettings, TelegramSandbox};
use sandbox::{Asked, Fault, Served};
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

const SECRET: &str = "AAF_sandbox_sandbox_sandbox_sandbox";
const GROUP: i64 = -1_001_234_567_890;

struct Bench {
    sandbox: TelegramSandbox,
    telegram: Telegram,
    clock: Clock,
    me: Me,
    role: Lease,
    stop: CancellationToken,
}

impl Bench {
    async fn start() -> Self {
        Self::with(SandboxSettings::default()).await
    }

    async fn with(settings: SandboxSettings) -> Self {
        let token = settings.token.clone();
        let sandbox = TelegramSandbox::start(settings).await.unwrap();
        let clock = Clock::manual(Timestamp(1_000_000));
        let telegram = adapter(&sandbox.url(), &token, &clock);
        let me =
            Me { id: 4_242_424_242, username: TelegramSandbox::USERNAME.to_owned(), can_read_all_group_messages: true };
        let role = Lease::granted(&Clock::System, Duration::from_secs(3600), Moment::now(&Clock::System));
        Bench { sandbox, telegram, clock, me, role, stop: CancellationToken::new() }
    }

    /// Runs `body` while the adapter polls and the adapter's clock runs fast, so that its pauses pass.
    async fn polling<T>(&self, receive: Receive, body: impl Future<Output = T>) -> T {
        let poll = self.telegram.poll(&self.me, receive, &self.role, &self.stop);
        tokio::select! {
            ended = poll => panic!("polling ended: {ended:?}"),
            done = in_time(body) => done,
            () = self.time_passes() => unreachable!(),
        }
    }

    async fn time_passes(&self) {
        let mut tick = tokio::time::interval(Duration::from_millis(1));
        loop {
            tick.tick().await;
            self.clock.advance(Duration::from_secs(1));
        }
    }

    async fn send(&self, chat: i64, piece: &Piece) -> Result<MessageRef, SendError> {
        self.telegram.send(&to(chat), piece, false, "n").await
    }
}

fn adapter(url: &str, token: &str, clock: &Clock) -> Telegram {
    let settings = Settings {
        token: token.to_owned().into(),
        api_url: Some(url.parse().unwrap()),
        poll_timeout: Duration::from_secs(50),
        per_second: 30,
        per_chat: 1,
    };
    Telegram::new(settings, clock.clone())
}

async fn in_time<T>(body: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), body).await.expect("nothing happened for 20 s")
}

/// A door that stores everything, except the first `failing` times.
fn door(failing: usize) -> (Receive, mpsc::UnboundedReceiver<Inbound>) {
    let (stored, inbox) = mpsc::unbounded_channel();
    let calls = Arc::new(AtomicUsize::new(0));
    let receive: Receive = Arc::new(move |inbound| {
        let fails = calls.fetch_add(1, Ordering::SeqCst) < failing;
        stored.send(inbound).unwrap();
        async move { if fails { Err(ReceiveFailed) } else { Ok(Taken::Stored) } }.boxed()
    });
    (receive, inbox)
}

/// The next so many, by chat: only within a chat is there an order.
async fn heard(inbox: &mut mpsc::UnboundedReceiver<Inbound>, many: usize) -> Vec<Inbound> {
    let mut heard = Vec::new();
    while heard.len() < many {
        heard.push(inbox.recv().await.unwrap());
    }
    heard.sort_by_key(|inbound| inbound.message.chat.clone());
    heard
}

fn chat(id: i64) -> ChatId {
    ChatId::new(Platform::Telegram, id.to_string())
}

fn to(id: i64) -> Destination {
    Destination { chat: chat(id), reply_to: None }
}

fn piece(markup: &str, plain: &str) -> Piece {
    Piece { markup: markup.to_owned(), plain: plain.to_owned(), ..Piece::default() }
}

#[tokio::test]
async fn an_update_is_acknowledged_only_after_it_is_stored() {
    let bench = Bench::start().await;
    let (called, mut calls) = mpsc::unbounded_channel();
    let gate = Arc::new(Semaphore::new(0));
    let waiting = gate.clone();
    let receive: Receive = Arc::new(move |inbound| {
        let waiting = waiting.clone();
        called.send(inbound).unwrap();
        async move {
            waiting.acquire().await.unwrap().forget();
            Ok(Taken::Stored)
        }
        .boxed()
    });
    bench
        .polling(receive, async {
            let id = bench.sandbox.say(7, 7, "Ann", "hello");
            let inbound = calls.recv().await.unwrap();
            assert_eq!(inbound.message, MessageRef::new(chat(7), id.to_string()));
            assert_eq!((inbound.text.as_str(), inbound.addressed), ("hello", Addressed::Direct));
            assert_eq!((inbound.author.account.as_str(), inbound.author.name.as_str()), ("7", "Ann"));
            assert_eq!(bench.sandbox.pending(), 1);
            let asked = bench.sandbox.control.count("getUpdates");
            gate.add_permits(1);
            bench.sandbox.control.until(|_| bench.sandbox.pending() == 0).await;
            assert!(bench.sandbox.control.count("getUpdates") > asked);
        })
        .await;
}

#[tokio::test]
async fn an_update_that_could_not_be_stored_comes_again_before_the_next() {
    let bench = Bench::start().await;
    let (receive, mut inbox) = door(2);
    bench.sandbox.say(7, 7, "Ann", "first");
    bench.sandbox.say(7, 7, "Ann", "second");
    bench
        .polling(receive, async {
            for wanted in ["first", "first", "first", "second"] {
                assert_eq!(inbox.recv().await.unwrap().text, wanted);
            }
            bench.sandbox.control.until(|_| bench.sandbox.pending() == 0).await;
        })
        .await;
}

#[tokio::test]
async fn an_update_nobody_can_read_neither_stops_nor_holds_up_the_others() {
    let bench = Bench::start().await;
    let (receive, mut inbox) = door(0);
    bench.sandbox.push(json!({"message": {"strange": true}}));
    bench.sandbox.push(json!({"message": "not even an object"}));
    bench.sandbox.push(json!({"callback_query": {"id": 5}}));
    bench.sandbox.push(json!({"a_kind_of_the_future": {"x": 1}}));
    bench.sandbox.push(json!({"message": {"message_id": 1, "chat": {"id": 7, "type": "private"}, "date": 1,
        "from": {"id": 7, "is_bot": false, "first_name": "Ann"}, "text": "new things",
        "entities": [{"type": "an_entity_of_the_future", "offset": 0, "length": 3, "more": {}}]}}));
    bench.sandbox.say(7, 7, "Ann", "after");
    bench
        .polling(receive, async {
            assert_eq!(inbox.recv().await.unwrap().text, "new things");
            assert_eq!(inbox.recv().await.unwrap().text, "after");
            bench.sandbox.control.until(|_| bench.sandbox.pending() == 0).await;
        })
        .await;
}

#[tokio::test]
async fn an_update_that_is_not_json_is_stepped_over() {
    let bench = Bench::start().await;
    let (receive, mut inbox) = door(0);
    let written = |text: &str| {
        format!(
            r#"{{"message_id":1,"chat":{{"id":7,"type":"private"}},"date":1,"from":{{"id":7,"is_bot":false,"first_name":"Ann"}},"text":{text}}}"#
        )
    };
    let deep = format!("{}1{}", "[".repeat(2_000), "]".repeat(2_000));
    let updates = [
        format!(r#"{{"update_id":700000001,"message":{}}}"#, written(r#""half \ud83d of a pair""#)),
        format!(r#"{{"update_id":700000002,"message":{}}}"#, written(&deep)),
        format!(r#"{{"update_id":700000003,"message":{}}}"#, written(r#""good""#)),
    ];
    let body = format!(r#"{{"ok":true,"result":[{}]}}"#, updates.join(","));
    bench.sandbox.control.fault("getUpdates", Fault::Answer { status: 200, headers: vec![], body });
    bench
        .polling(receive, async {
            assert_eq!(inbox.recv().await.unwrap().text, "good");
            let all_are_acknowledged = |all: &[Asked]| {
                all.iter().any(|asked| asked.path.ends_with("getUpdates") && asked.body["offset"] == 700_000_004)
            };
            bench.sandbox.control.until(all_are_acknowledged).await;
        })
        .await;
}

#[tokio::test]
async fn polling_outlives_a_rival_a_webhook_and_a_broken_line() {
    let bench = Bench::start().await;
    let (receive, mut inbox) = door(0);
    let asked = |count| bench.sandbox.control.until(move |all| polls(all) >= count);
    bench
        .polling(receive, async {
            asked(1).await;
            // The rival's own getUpdates ends the adapter's with 409, and the adapter comes back later.
            let rival = format!("{}/bot{}/getUpdates", bench.sandbox.url(), SandboxSettings::default().token);
            let answer = reqwest012::Client::new().post(&rival).body("timeout=0").send().await.unwrap();
            assert_eq!(answer.status(), 200);
            asked(3).await;
            bench.sandbox.say(7, 7, "Ann", "after the rival");
            assert_eq!(inbox.recv().await.unwrap().text, "after the rival");

            let hook = "https://example.com/hook".parse().unwrap();
            bench.telegram.set_webhook(&hook, &"s3cret".to_owned().into()).await.unwrap();
            assert_eq!(bench.telegram.webhook_info().await.unwrap().url, hook.as_str());
            let before = bench.sandbox.control.count("getUpdates");
            asked(before + 2).await;
            bench.telegram.delete_webhook().await.unwrap();
            bench.sandbox.say(7, 7, "Ann", "after the webhook");
            assert_eq!(inbox.recv().await.unwrap().text, "after the webhook");

            for fault in [Fault::Drop, Fault::Cut, Fault::DropAfter, too_many(2)] {
                bench.sandbox.control.fault("getUpdates", fault);
            }
            bench.sandbox.say(7, 7, "Ann", "one more");
            bench.sandbox.say(7, 7, "Ann", "after the storm");
            while inbox.recv().await.unwrap().text != "after the storm" {}
        })
        .await;
}

fn polls(asked: &[Asked]) -> usize {
    asked.iter().filter(|asked| asked.path.ends_with("getUpdates")).count()
}

fn too_many(seconds: u64) -> Fault {
    let body = json!({"ok": false, "error_code": 429, "description": format!("Too Many Requests: retry after {seconds}"),
                      "parameters": {"retry_after": seconds}});
    Fault::Answer { status: 429, headers: vec![], body: body.to_string() }
}

#[tokio::test]
async fn a_refused_token_ends_it_and_stopping_ends_it_in_peace() {
    let bench = Bench::start().await;
    let (receive, _inbox) = door(0);
    for token in ["4242424242:AAE_another_another_another_another_x", "nonsense"] {
        let stranger = adapter(&bench.sandbox.url(), token, &bench.clock);
        let identified = in_time(stranger.identify(&bench.stop)).await;
        assert_eq!(identified, Err(IdentifyError::BadToken));
        assert_eq!(
            in_time(stranger.poll(&bench.me, receive.clone(), &bench.role, &bench.stop)).await,
            Err(PollEnded::BadToken)
        );
    }
    let stop = bench.stop.clone();
    let stopping = async {
        bench.sandbox.control.until(|all| polls(all) == 3).await;
        stop.cancel();
    };
    let (ended, ()) =
        in_time(async { tokio::join!(bench.telegram.poll(&bench.me, receive, &bench.role, &bench.stop), stopping) })
            .await;
    assert_eq!(ended, Ok(()));
}

#[tokio::test]
async fn the_bot_learns_who_it_is_however_long_it_takes() {
    let bench = Bench::start().await;
    bench.sandbox.set_privacy_mode(true);
    bench.sandbox.control.fault("getMe", Fault::Drop);
    bench.sandbox.control.fault("getMe", too_many(3));
    bench.sandbox.control.fault("getMe", Fault::Cut);
    let me = tokio::select! {
        me = in_time(bench.telegram.identify(&bench.stop)) => me.unwrap(),
        () = bench.time_passes() => unreachable!(),
    };
    assert_eq!(me, Me { can_read_all_group_messages: false, ..bench.me.clone() });
    assert_eq!(bench.sandbox.control.count("getMe"), 4);
    for scope in ["default", "all_private_chats", "all_group_chats"] {
        let commands = bench.sandbox.commands(scope);
        assert!(commands.contains(&"reel".to_owned()) && commands.contains(&"cancel".to_owned()), "{commands:?}");
    }
    // Nobody answers, and the process is told to stop.
    bench.stop.cancel();
    assert_eq!(in_time(bench.telegram.identify(&bench.stop)).await, Err(IdentifyError::Stopped));
}

#[tokio::test]
async fn a_press_arrives_as_its_command_and_is_answered_to_whoever_pressed() {
    let bench = Bench::start().await;
    let (receive, mut inbox) = door(0);
    bench.sandbox.open(7);
    bench.sandbox.open(GROUP);
    let buttons = vec![Button { label: "Cancel".to_owned(), command: "/cancel 0192".to_owned() }];
    let sent = bench.send(7, &Piece { buttons, ..piece("waiting", "waiting") }).await.unwrap();
    let shown = bench.sandbox.screen(7).remove(0);
    assert_eq!(shown.buttons, [("Cancel".to_owned(), "/cancel 0192".to_owned())]);
    let press = bench.sandbox.press(7, 7, shown.message_id, "/cancel 0192");
    let in_group = bench.sandbox.press(GROUP, 7, 3, "/cancel 0193");
    let expired = bench.sandbox.press(GROUP, 7, 3, "/cancel 0194");
    let asking = bench.sandbox.press(GROUP, 7, 3, "/again 0195");
    bench.sandbox.expire(&expired);
    let heard = bench
        .polling(receive, async {
            let heard = heard(&mut inbox, 4).await;
            bench.sandbox.control.until(|_| bench.sandbox.pending() == 0).await;
            heard
        })
        .await;
    let [elsewhere, late, coach, inbound] = &heard[..] else { panic!("four presses") };
    assert_eq!(inbound.message, MessageRef::new(chat(7), format!("cb{press}")));
    assert_eq!((inbound.text.as_str(), inbound.atomic), ("/cancel 0192", true));
    assert_eq!(inbound.reply_to, Some(sent));
    assert_eq!((elsewhere.text.as_str(), &elsewhere.message.chat), ("/cancel 0193", &chat(GROUP)));
    assert_eq!((late.text.as_str(), coach.text.as_str()), ("/cancel 0194", "/again 0195"));
    // The coach takes its time, and its answer is a message. The others are waited for.
    assert_eq!(coach.placeholder, None);
    assert_eq!(
        [&asking, &press, &in_group].map(|press| bench.sandbox.answered(press)),
        [Some(true), Some(false), Some(false)]
    );

    let private = |text: &str| Piece { private: true, ..piece(text, text) };
    let told = async |inbound: &Inbound, piece: Piece| {
        bench.telegram.edit(inbound.placeholder.as_ref().unwrap(), &piece, false).await
    };
    assert_eq!(told(inbound, private("Nothing of yours.")).await, Ok(()));
    assert_eq!(bench.sandbox.notice(&press).as_deref(), Some("Nothing of yours."));
    assert_eq!(told(late, private("Nothing of yours.")).await, Ok(()), "too late: nobody else is told instead");
    // Too long for a notice: in a group it goes nowhere.
    let long = private(&"x".repeat(201));
    assert_eq!(told(elsewhere, long.clone()).await, Err(SendError::Gone));
    assert_eq!(bench.sandbox.answered(&in_group), Some(true));
    assert!(matches!(bench.send(GROUP, &long).await, Err(SendError::Failed(_))));
    assert_eq!(bench.sandbox.screen(GROUP), []);
    bench.send(7, &long).await.unwrap();
    // Without a word.
    let done = bench.sandbox.press(7, 7, shown.message_id, "/cancel 0192");
    bench.telegram.dismiss(&MessageRef::new(chat(7), format!("cb{done}"))).await.unwrap();
    assert_eq!(bench.sandbox.notice(&done).as_deref(), Some(""));
}

#[tokio::test]
async fn a_group_is_heard_as_telegram_tells_it() {
    let bench = Bench::start().await;
    let (receive, mut inbox) = door(0);
    let bot = TelegramSandbox::USERNAME;
    bench.sandbox.say(GROUP, 7, "Ann", "😀 see https://www.instagram.com/reel/DLlGZiCOBQ0/.");
    bench.sandbox.say(GROUP, 7, "Ann", &format!("@{bot} what do you think?"));
    bench.sandbox.say(GROUP, 7, "Ann", &format!("/queue@{bot}"));
    bench.sandbox.say(GROUP, 7, "Ann", "/queue@another_bot");
    bench.sandbox.say_in_topic(GROUP, 55, 7, "Ann", "in a topic");
    let answer = bench.send(GROUP, &piece("yes?", "yes?")).await.unwrap();
    bench.sandbox.reply(GROUP, 7, "Ann", answer.id.parse().unwrap(), "go on");
    bench
        .polling(receive, async {
            let heard = heard(&mut inbox, 5).await.into_iter();
            let mut heard =
                heard.map(|inbound| (inbound.text, inbound.addressed, inbound.message.chat.key, inbound.links));
            let mut next = || heard.next().unwrap();
            let group = GROUP.to_string();
            let link = "https://www.instagram.com/reel/DLlGZiCOBQ0/";
            let said = (format!("😀 see {link}."), Addressed::Overheard, group.clone(), vec![link.to_owned()]);
            assert_eq!(next(), said);
            assert_eq!(next(), ("what do you think?".to_owned(), Addressed::Mentioned, group.clone(), vec![]));
            assert_eq!(next(), ("/queue".to_owned(), Addressed::Mentioned, group.clone(), vec![]));
            assert_eq!(next(), ("go on".to_owned(), Addressed::Mentioned, group, vec![]));
            let topic = format!("{GROUP}/55");
            assert_eq!(next(), ("in a topic".to_owned(), Addressed::Overheard, topic, vec![]));
        })
        .await;
}

#[tokio::test]
async fn webhook_deliveries_are_read_and_repeated_until_they_are_stored() {
    let bench = Bench::start().await;
    bench.sandbox.set_webhook_retry(Duration::from_millis(5));
    let (receive, mut inbox) = door(1);
    let (telegram, me) = (bench.telegram.clone(), bench.me.clone());
    let hook = axum::Router::new().route(
        "/hook",
        post(async move |headers: HeaderMap, body: Bytes| {
            assert_eq!(headers["x-telegram-bot-api-secret-token"], "s3cret_-");
            match telegram.decode(&me, &body) {
                Ok(None) | Err(Undecodable::UnknownShape { .. }) => StatusCode::OK,
                Err(Undecodable::NotAnUpdate) => StatusCode::BAD_REQUEST,
                Ok(Some(update)) => match telegram.take(update, &receive).await {
                    Ok(()) => StatusCode::OK,
                    Err(ReceiveFailed) => StatusCode::INTERNAL_SERVER_ERROR,
                },
            }
        }),
    );
    let served = Served::start(0, hook).await.unwrap();
    let url = format!("{}/hook", served.url()).parse().unwrap();
    bench.telegram.set_webhook(&url, &"s3cret_-".to_owned().into()).await.unwrap();
    let allowed = ["message", "edited_message", "callback_query", "my_chat_member"];
    assert_eq!(bench.telegram.webhook_info().await.unwrap().allowed_updates, allowed);

    bench.sandbox.say(7, 7, "Ann", "hello");
    bench.sandbox.push(json!({"message": {"strange": true}}));
    in_time(async {
        assert_eq!(inbox.recv().await.unwrap().text, "hello");
        assert_eq!(inbox.recv().await.unwrap().text, "hello");
        let press = bench.sandbox.press(8, 8, 1, "/again 0123");
        assert_eq!(inbox.recv().await.unwrap().text, "/again 0123");
        bench.sandbox.control.until(|_| bench.sandbox.answered(&press) == Some(true)).await;
        bench.sandbox.control.until(|_| bench.sandbox.pending() == 0).await;
    })
    .await;
    let info = bench.telegram.webhook_info().await.unwrap();
    assert!(info.last_error_message.unwrap().contains("500"));

    for (body, wanted) in [("{", Undecodable::NotAnUpdate), ("[]", Undecodable::NotAnUpdate)] {
        assert_eq!(bench.telegram.decode(&bench.me, body.as_bytes()), Err(wanted));
    }
    let refused = bench.telegram.set_webhook(&"http://example.com/".parse().unwrap(), &"s".to_owned().into()).await;
    assert!(refused.unwrap_err().to_string().contains("HTTPS"));
    let refused = bench.telegram.set_webhook(&url, &"not allowed!".to_owned().into()).await;
    assert!(refused.unwrap_err().to_string().contains("unallowed characters"));
}

#[tokio::test]
async fn the_rules_tell_private_chats_from_groups() {
    let bench = Bench::start().await;
    let private = bench.telegram.rules(&chat(7));
    assert_eq!((private.limit, private.edit_interval), (4096, Duration::from_millis(1500)));
    let topic = ChatId::new(Platform::Telegram, format!("{GROUP}/55"));
    assert_eq!(bench.telegram.rules(&topic).edit_interval, Duration::from_secs(3));
}

/// `getUpdates` of somebody else; acknowledges what is before `offset`.
async fn polled_elsewhere(bench: &Bench, offset: i64) {
    let address = format!("{}/bot4242424242:{SECRET}/getUpdates?timeout=0&offset={offset}", bench.sandbox.url());
    assert_eq!(reqwest012::get(address).await.unwrap().status(), 200);
}

#[tokio::test]
async fn whoever_cannot_renew_its_role_leaves_polling_to_another_one() {
    let bench = Bench::start().await;
    let (receive, _inbox) = door(0);
    let ended = bench.clock.now() + Duration::from_secs(3600);
    bench
        .polling(receive, async {
            let control = &bench.sandbox.control;
            control.until(|all| polls(all) == 1).await;
            // Whoever has the role goes on.
            polled_elsewhere(&bench, 0).await;
            control.until(|all| polls(all) == 3).await;
            bench.role.given_up();
            polled_elsewhere(&bench, 0).await;
            bench.clock.sleep_until(ended).await;
            assert_eq!(polls(&control.asked()), 4, "it waits");
            bench.role.renewed(bench.role.now());
            control.until(|all| polls(all) == 5).await;
        })
        .await;
}

#[tokio::test]
async fn telegram_tells_whether_a_message_still_waits() {
    let bench = Bench::start().await;
    bench.telegram.identify(&bench.stop).await.unwrap();
    let first = MessageRef::new(chat(7), bench.sandbox.say(7, 7, "Ana", "hi").to_string());
    let second = MessageRef::new(chat(7), bench.sandbox.say(7, 7, "Ana", "hi again").to_string());
    for message in [&first, &second] {
        assert_eq!(bench.telegram.is_unanswered(message).await, Ok(true));
    }
    assert_eq!(bench.sandbox.pending(), 2, "nothing is acknowledged by that");
    polled_elsewhere(&bench, 700_000_002).await;
    assert_eq!(bench.telegram.is_unanswered(&first).await, Ok(false));
    assert_eq!(bench.telegram.is_unanswered(&second).await, Ok(true));
}
