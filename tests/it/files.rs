//! Files in answers, over the wire: the outbox, the real adapters, and what stands on screen in the end.

use std::sync::Arc;
use std::time::Duration;

use reelcoach::clock::{Clock, Timestamp};
use reelcoach::core::chat::{Body, Button, Destination, File, Messenger, Piece};
use reelcoach::core::leases::{HeldTurn, Moment};
use reelcoach::core::outbox::{Delivered, Outbox};
use reelcoach::ids::{ChatId, InstanceId, MessageRef, Platform};
use reelcoach::platforms::discord::{self, Discord};
use reelcoach::platforms::telegram::{self, Telegram};
use reelcoach::store::turns::Arrival;
use reqwest012::multipart::{Form, Part};
use sandbox::Fault;
use sandbox::discord::{DiscordSandbox, Settings as DiscordSettings};
use sandbox::telegram::{Settings as TelegramSettings, Shown, TelegramSandbox};
use serde_json::{Value, json};

use crate::support::TestDb;

const ANA: i64 = 42;
const MARK: &str = "(This may have been sent before.)";

/// A picture of one pixel.
pub const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\0\0\0\x0d\
IDATx\x9cc`\0\0\0\x02\0\x01\xe2!\xbc3\0\0\0\0IEND\xaeB`\x82";
pub const CSV: &[u8] = "day,usd\n2026-11-01,0.25\n".as_bytes();

struct Bench {
    telegram: TelegramSandbox,
    discord: DiscordSandbox,
    outbox: Outbox,
    db: TestDb,
    adapter: Telegram,
}

impl Bench {
    async fn start() -> Bench {
        let sandbox = TelegramSandbox::start(TelegramSettings::default()).await.unwrap();
        let settings = telegram::Settings {
            token: TelegramSettings::default().token.into(),
            api_url: Some(sandbox.url().parse().unwrap()),
            poll_timeout: Duration::from_secs(50),
            per_second: 30,
            per_chat: 1,
        };
        let adapter = Telegram::new(settings, Clock::System);
        let other = DiscordSandbox::start(DiscordSettings::default()).await.unwrap();
        let settings = discord::Settings {
            token: DiscordSettings::default().token.into(),
            api_url: Some(other.served.url().parse().unwrap()),
            message_content: true,
            guild_commands: None,
        };
        let discord = Discord::new(settings, Clock::System).unwrap();
        let db = TestDb::sqlite().await;
        let links: Vec<(Platform, Arc<dyn Messenger>)> =
            vec![(Platform::Telegram, Arc::new(adapter.clone())), (Platform::Discord, Arc::new(discord))];
        let outbox = Outbox::new(links, db.store(), Clock::System);
        sandbox.open(ANA);
        Bench { telegram: sandbox, discord: other, outbox, db, adapter }
    }

    /// Somebody has written there and is owed an answer.
    async fn turn(&self, chat: ChatId) -> HeldTurn {
        let now = Timestamp(1_790_000_000_000);
        let person = self.db.person(chat.platform, "42", "Ana", now).await.unwrap();
        let message = MessageRef::new(chat, "1");
        let window = Duration::ZERO;
        let arrival = Arrival {
            message: &message,
            person,
            payload: "{}",
            guild: None,
            placeholder: None,
            atomic: true,
            aside: false,
            merge_window: window,
            limit: None,
            at: now,
        };
        self.db.receive(arrival).await.unwrap();
        let lease = Duration::from_secs(3600);
        let turns = self.db.claim_turns(InstanceId::new(), &Platform::ALL, now, lease, 1).await.unwrap();
        let turn = turns.into_iter().next().unwrap();
        HeldTurn::new(turn, self.db.store(), &Clock::System, lease, Moment::now(&Clock::System))
    }

    async fn deliver(&self, turn: &HeldTurn, body: &Body, shown: &mut Vec<String>, repeated: bool) {
        let delivered = self.outbox.deliver(turn, body, shown, repeated, MARK).await.unwrap();
        assert_eq!(delivered, Delivered::Yes);
    }

    fn screen(&self) -> Vec<Shown> {
        self.telegram.screen(ANA)
    }
}

fn ana() -> ChatId {
    ChatId::new(Platform::Telegram, ANA.to_string())
}

pub fn report(text: &str) -> Body {
    let buttons = vec![Button { label: "Week".into(), command: "/cost week".into() }];
    let body = Body { buttons, ..Body::text(text) };
    body.with(File::png("cost.png", PNG)).with(File::csv("cost.csv", CSV))
}

fn refusal(code: u16, description: &str, parameters: Value) -> Fault {
    let body = json!({"ok": false, "error_code": code, "description": description, "parameters": parameters});
    Fault::Answer { status: code, headers: Vec::new(), body: body.to_string() }
}

#[tokio::test]
async fn telegram_shows_a_picture_under_its_text_and_a_table_behind_it() {
    let bench = Bench::start().await;
    let turn = bench.turn(ana()).await;
    let pause = refusal(429, "Too Many Requests: retry after 1", json!({"retry_after": 1}));
    bench.telegram.control.fault("sendDocument", pause);
    let mut shown = Vec::new();
    bench.deliver(&turn, &report("**Cost** this month"), &mut shown, false).await;
    let screen = bench.screen();
    assert_eq!(screen.len(), 2, "{screen:?}");
    assert_eq!(screen[0].photo, Some(("cost.png".into(), PNG.to_vec())));
    assert_eq!((screen[0].html.as_str(), screen[0].buttons.len()), ("<b>Cost</b> this month", 0));
    assert_eq!(screen[1].document, Some(("cost.csv".into(), CSV.to_vec())));
    assert_eq!(screen[1].buttons, [("Week".to_owned(), "/cost week".to_owned())]);
    let ids: Vec<String> = screen.iter().map(|shown| shown.message_id.to_string()).collect();
    assert_eq!(shown, ids);
    assert_eq!(bench.telegram.control.count("sendDocument"), 2, "the pause was kept and the file sent again");

    // Again after a crash: what is on screen is edited, and nothing is sent.
    bench.deliver(&turn, &report("**Cost** this month"), &mut shown, true).await;
    assert_eq!((bench.screen().len(), shown), (2, ids));
}

#[tokio::test]
async fn telegram_puts_a_long_text_before_its_picture() {
    let bench = Bench::start().await;
    let turn = bench.turn(ana()).await;
    let long = "word ".repeat(300);
    bench.deliver(&turn, &report(&long), &mut Vec::new(), false).await;
    let screen = bench.screen();
    let kinds: Vec<_> = screen.iter().map(|s| (s.text.len() > 1024, s.photo.is_some(), s.document.is_some())).collect();
    assert_eq!(kinds, [(true, false, false), (false, true, false), (false, false, true)]);
    assert_eq!(screen[2].buttons.len(), 1);
}

#[tokio::test]
async fn telegram_turns_a_message_that_said_thinking_into_the_picture() {
    let bench = Bench::start().await;
    let turn = bench.turn(ana()).await;
    let to = Destination { chat: ana(), reply_to: None };
    let thinking = Piece { markup: "thinking…".into(), plain: "thinking…".into(), ..Piece::default() };
    let first = bench.adapter.send(&to, &thinking, false, "n").await.unwrap();
    let mut shown = vec![first.id.clone()];
    bench.deliver(&turn, &report("Cost"), &mut shown, false).await;
    let screen = bench.screen();
    assert_eq!((screen.len(), shown[0].as_str()), (2, first.id.as_str()));
    assert_eq!((screen[0].text.as_str(), screen[0].edits, screen[0].photo.is_some()), ("Cost", 1, true));

    // Where the server adds no media to a text, the answer is a message of its own.
    let other = bench.adapter.send(&to, &thinking, false, "n").await.unwrap();
    let words = "Bad Request: there is no media in the message to edit";
    bench.telegram.control.fault("editMessageMedia", refusal(400, words, Value::Null));
    let mut shown = vec![other.id];
    bench.deliver(&turn, &report("Cost again"), &mut shown, false).await;
    let texts: Vec<String> = bench.screen().into_iter().map(|shown| shown.text).collect();
    assert_eq!(texts, ["Cost", "", "thinking…", "Cost again", ""]);
}

#[tokio::test]
async fn telegram_says_so_when_a_file_may_have_come_twice() {
    let bench = Bench::start().await;
    let turn = bench.turn(ana()).await;
    bench.telegram.control.fault("sendDocument", Fault::DropAfter);
    bench.deliver(&turn, &report("Cost"), &mut Vec::new(), false).await;
    let texts: Vec<(String, bool)> = bench.screen().into_iter().map(|s| (s.text, s.document.is_some())).collect();
    assert_eq!(texts, [("Cost".into(), false), (String::new(), true), (MARK.to_owned(), true)]);
}

#[tokio::test]
async fn where_files_are_not_allowed_the_text_comes_without_them() {
    let bench = Bench::start().await;
    let turn = bench.turn(ana()).await;
    let words = "Bad Request: not enough rights to send photos to the chat";
    bench.telegram.control.fault("sendPhoto", refusal(400, words, Value::Null));
    let body = Body { files: report("").files[..1].to_vec(), ..report("Cost") };
    bench.deliver(&turn, &body, &mut Vec::new(), false).await;
    let screen = bench.screen();
    assert_eq!(screen.len(), 1);
    assert!(screen[0].text.starts_with("Cost\n\n(A file") && screen[0].buttons.len() == 1, "{screen:?}");

    let channel = bench.discord.guild_channel("general");
    let missing = r#"{"message": "Missing Permissions", "code": 50013}"#.to_owned();
    bench.discord.control.fault("/messages", Fault::Answer { status: 403, headers: Vec::new(), body: missing });
    let turn = bench.turn(ChatId::new(Platform::Discord, &channel)).await;
    bench.deliver(&turn, &report("Cost"), &mut Vec::new(), false).await;
    let screen = bench.discord.screen(&channel);
    assert!(screen.len() == 1 && screen[0].content.starts_with("Cost\n\n(A file"), "{screen:?}");
}

#[tokio::test]
async fn discord_shows_text_buttons_and_files_in_one_message_and_once() {
    let bench = Bench::start().await;
    let channel = bench.discord.guild_channel("general");
    let turn = bench.turn(ChatId::new(Platform::Discord, &channel)).await;
    let pause = r#"{"message": "You are being rate limited.", "retry_after": 0.3, "global": false}"#.to_owned();
    bench.discord.control.fault("/messages", Fault::Answer { status: 429, headers: Vec::new(), body: pause });
    bench.discord.control.fault("/messages", Fault::DropAfter);
    let mut shown = Vec::new();
    bench.deliver(&turn, &report("**Cost**"), &mut shown, false).await;
    let expected = [("cost.png".to_owned(), PNG.to_vec()), ("cost.csv".to_owned(), CSV.to_vec())];
    for repeated in [false, true] {
        let screen = bench.discord.screen(&channel);
        assert_eq!(screen.len(), 1, "{screen:?}");
        assert_eq!((screen[0].content.as_str(), screen[0].buttons.len()), ("**Cost**", 1));
        assert_eq!(screen[0].files, expected);
        assert_eq!(shown, [screen[0].id.clone()]);
        bench.deliver(&turn, &report("**Cost**"), &mut shown, repeated).await;
    }
    // An edit without files takes them away.
    bench.deliver(&turn, &Body::text("no files"), &mut shown, false).await;
    assert_eq!(bench.discord.screen(&channel)[0].files, []);
    assert_eq!(bench.discord.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn twelve_files_are_two_messages_on_discord() {
    let bench = Bench::start().await;
    let channel = bench.discord.guild_channel("general");
    let turn = bench.turn(ChatId::new(Platform::Discord, &channel)).await;
    let files = (0..12).map(|n| File::png(&format!("{n}.png"), PNG)).collect();
    bench.deliver(&turn, &Body { files, ..report("Cost") }, &mut Vec::new(), false).await;
    let screen = bench.discord.screen(&channel);
    let counts: Vec<_> = screen.iter().map(|s| (s.content.as_str(), s.files.len(), s.buttons.len())).collect();
    assert_eq!(counts, [("Cost", 10, 0), ("", 2, 1)]);
}

/// The stand-ins refuse what the real services refuse; asked by hand, because the adapters never send it.
#[tokio::test]
async fn the_stand_ins_look_at_forms_closely() {
    let bench = Bench::start().await;
    let client = reqwest012::Client::new();
    let part = |bytes: Vec<u8>| Part::bytes(bytes).file_name("a.png");
    let channel = bench.discord.guild_channel("general");
    let url = format!("{}/api/v10/channels/{channel}/messages", bench.discord.served.url());
    let form = |json: &str| Form::new().text("payload_json", json.to_owned());
    let eleven = (0..11).fold(form("{}"), |form, n| form.part(format!("files[{n}]"), part(PNG.to_vec())));
    for (form, status, code) in [
        (form("{}").part("photo", part(PNG.to_vec())), 400, 50035),
        (form("{}").part("files[0]", part(Vec::new())), 400, 50046),
        (form("{}").part("files[0]", part(vec![0; (10 << 20) + 1])), 413, 40005),
        (form("{}").part("files[0]", part(vec![0; 25 << 20])), 413, 40005),
        (form(r#"{"attachments":[{"id":1}]}"#).part("files[0]", part(PNG.to_vec())), 400, 50146),
        (form("{").part("files[0]", part(PNG.to_vec())), 400, 50109),
        (form("{}"), 400, 50006),
        (eleven, 400, 30015),
    ] {
        let request = client.post(&url).header("authorization", format!("Bot {}", DiscordSettings::default().token));
        let answer = request.multipart(form).send().await.unwrap();
        let (told, body) = (answer.status().as_u16(), answer.bytes().await.unwrap());
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((told, &body["code"]), (status, &json!(code)), "{body}");
    }
    assert_eq!(bench.discord.screen(&channel).len(), 0);

    let url = format!("{}/bot{}", bench.telegram.url(), TelegramSettings::default().token);
    let form = |field: &'static str, bytes: Vec<u8>| Form::new().text("chat_id", "42").part(field, part(bytes));
    let mut wide = PNG.to_vec();
    wide[16..20].copy_from_slice(&10_000_u32.to_be_bytes());
    let big = [PNG, &vec![0; 10 << 20]].concat();
    let caption = || form("photo", PNG.to_vec()).text("caption", "x".repeat(1025));
    for (method, form, words) in [
        ("sendPhoto", form("document", PNG.to_vec()), "there is no photo in the request"),
        ("sendDocument", form("photo", PNG.to_vec()), "there is no document in the request"),
        ("sendPhoto", form("photo", Vec::new()), "file must be non-empty"),
        ("sendPhoto", form("photo", b"GIF89a".to_vec()), "IMAGE_PROCESS_FAILED"),
        ("sendPhoto", form("photo", wide), "PHOTO_INVALID_DIMENSIONS"),
        ("sendPhoto", form("photo", big), "is too big for a photo; the maximum size is 10485760 bytes"),
        ("sendPhoto", caption(), "message caption is too long"),
        ("editMessageMedia", form("photo", PNG.to_vec()), "there is no media in the request"),
    ] {
        let answer = client.post(format!("{url}/{method}")).multipart(form).send().await.unwrap();
        let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        assert!(body["ok"] == false && body["description"].as_str().unwrap().ends_with(words), "{body}");
    }
    assert_eq!(bench.screen().len(), 0);
}
