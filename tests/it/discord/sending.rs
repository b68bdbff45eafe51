//! What the bot sends, and what it makes of a refusal.

use super::*;

#[tokio::test]
async fn the_adapter_itself_knows_when_a_token_has_run_out() {
    let now = 1_795_000_000_000;
    let id = |minutes_ago: u64| (now - minutes_ago * 60_000 - 1_420_070_400_000) << 22;
    let edit = |minutes_ago| MessageRef::new(chat("7"), format!("@1:{}:p:token", id(minutes_ago)));
    // By Discord's own time, whatever this machine says.
    for off_s in [-7 * 86_400, -1000, 0, 1000, 7 * 86_400] {
        let time = Some(Arc::new(AtomicI64::new(now as i64)));
        let clock = Clock::manual(Timestamp(now as i64 + off_s * 1000));
        let bot = Bot::new(Settings { time, ..Settings::default() }, true, clock).await;
        bot.discord.identify().await.unwrap();
        let before = bot.sandbox.control.asked().len();
        assert_eq!(bot.discord.edit(&edit(20), &piece("x"), false).await, Err(SendError::Gone));
        assert_eq!(bot.sandbox.control.asked().len(), before, "{off_s}: Discord is not even asked");
        // It knows no such token, which nobody but itself can say.
        assert_eq!(bot.discord.edit(&edit(14), &piece("x"), false).await, Err(SendError::Gone));
        assert_eq!(bot.sandbox.control.asked().len(), before + 1, "{off_s}: it is");
    }
}

#[tokio::test]
async fn a_machine_whose_clock_is_wrong_answers_in_the_placeholder() {
    for off_s in [-1000_i64, 1000, 86_400] {
        let clock = Clock::kept();
        clock.set_by(off_s * 1000);
        let bot = Bot::new(Settings::default(), true, clock.clone()).await;
        let general = bot.sandbox.guild_channel("general");
        bot.run(async |bot| {
            for command in ["me", "coach"] {
                let options: &[(&str, &str)] = if command == "coach" { &[("text", "hi")] } else { &[] };
                bot.sandbox.slash(&general, ADA, "Ada", command, options).unwrap();
                let asked = bot.next().await;
                let age = clock.now().since(asked.at).max(asked.at.since(clock.now()));
                assert!(age < Duration::from_secs(3), "{off_s}: it was asked {age:?} from now");
                let placeholder = asked.placeholder.unwrap();
                let answer = Piece { private: command == "me", ..piece(command) };
                bot.discord.edit(&placeholder, &answer, false).await.unwrap();
            }
        })
        .await;
        let shown: Vec<String> = bot.shown(&general).into_iter().map(|shown| shown.content).collect();
        assert_eq!(shown, ["me", "coach"], "{off_s}");
    }
}

#[tokio::test]
async fn a_refusal_says_what_to_do() {
    let bot = Bot::new(Settings { enforce_limits: true, ..Settings::default() }, true, Clock::System).await;
    let general = bot.sandbox.guild_channel("general");
    let mut last = None;
    for n in 0..5 {
        last = Some(bot.discord.send(&to(&general), &piece("x"), false, &format!("n{n}")).await.unwrap());
    }
    let refused = bot.discord.send(&to(&general), &piece("x"), false, "n5").await;
    let Err(SendError::RateLimited { retry_after }) = refused else { panic!("{refused:?}") };
    assert!(retry_after > Duration::from_secs(1) && retry_after <= Duration::from_secs(5), "{retry_after:?}");

    let last = last.unwrap();
    bot.sandbox.delete(&last.id);
    assert_eq!(bot.discord.edit(&last, &piece("y"), false).await, Err(SendError::Gone));
    assert_eq!(bot.discord.send(&to("12345"), &piece("y"), false, "n6").await, Err(SendError::Forbidden));

    let quiet = bot.sandbox.guild_channel("quiet");
    bot.sandbox.forbid(&quiet);
    assert_eq!(bot.discord.send(&to(&quiet), &piece("y"), false, "n7").await, Err(SendError::Forbidden));
    assert_eq!(bot.discord.typing(&chat(&quiet)).await, Err(SendError::Forbidden));
    let blocked = bot.sandbox.dm(BOB);
    bot.sandbox.forbid(&blocked);
    assert_eq!(bot.discord.send(&to(&blocked), &piece("y"), false, "n8").await, Err(SendError::Forbidden));

    let other = bot.sandbox.guild_channel("other");
    let refused = bot.discord.send(&to(&other), &piece(&"x".repeat(2001)), false, "n9").await;
    let Err(SendError::Failed(why)) = refused else { panic!("{refused:?}") };
    assert!(why.contains("50035") && why.contains("BASE_TYPE_MAX_LENGTH at content"), "{why}");
    let long_nonce = bot.discord.send(&to(&other), &piece("y"), false, &"n".repeat(26)).await;
    assert_eq!(long_nonce, Err(SendError::Failed("HTTP 400, code 50035 (BASE_TYPE_MAX_LENGTH at nonce)".to_owned())));
    let empty = bot.discord.send(&to(&other), &piece(" "), false, "n10").await;
    assert_eq!(empty, Err(SendError::Failed("HTTP 400, code 50006".to_owned())));
    let theirs = bot.sandbox.say(&other, ADA, "Ada", "mine");
    let edited = bot.discord.edit(&MessageRef::new(chat(&other), theirs), &piece("y"), false).await;
    assert_eq!(edited, Err(SendError::Failed("HTTP 403, code 50005".to_owned())));
    bot.discord.typing(&chat(&other)).await.unwrap();
    assert_eq!(bot.sandbox.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_lost_answer_is_unknown_and_its_repeat_shows_once() {
    let bot = Bot::usual().await;
    let general = bot.sandbox.guild_channel("general");
    for (n, fault) in [Fault::DropAfter, Fault::Cut, Fault::Drop].into_iter().enumerate() {
        bot.sandbox.control.fault("/messages", fault.clone());
        let (text, nonce) = (format!("text {n}"), format!("nonce-{n}"));
        let first = bot.discord.send(&to(&general), &piece(&text), false, &nonce).await;
        assert!(matches!(first, Err(SendError::Unknown(_))), "{fault:?}: {first:?}");
        let second = bot.discord.send(&to(&general), &piece(&text), false, &nonce).await.unwrap();
        let shown: Vec<Shown> = bot.shown(&general).into_iter().filter(|s| s.content == text).collect();
        assert_eq!(shown.len(), 1, "{fault:?}");
        assert_eq!(shown[0].id, second.id);
    }
    let broken = Fault::Answer { status: 502, headers: Vec::new(), body: "<html>".to_owned() };
    bot.sandbox.control.fault("/messages", broken);
    let refused = bot.discord.send(&to(&general), &piece("x"), false, "n").await;
    assert!(matches!(refused, Err(SendError::Unknown(_))), "{refused:?}");
    let banned = Fault::Answer {
        status: 429,
        headers: vec![("retry-after".to_owned(), "37".to_owned())],
        body: "error code: 1015".to_owned(),
    };
    bot.sandbox.control.fault("/messages", banned);
    let refused = bot.discord.send(&to(&general), &piece("x"), false, "n").await;
    assert_eq!(refused, Err(SendError::RateLimited { retry_after: Duration::from_secs(37) }));
}

#[tokio::test]
async fn without_a_connection_nothing_was_delivered() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let settings = discord::Settings {
        token: "x".to_owned().into(),
        api_url: Some(format!("http://{free}").parse().unwrap()),
        message_content: false,
        guild_commands: None,
    };
    let discord = Discord::new(settings, Clock::System).unwrap();
    let refused = discord.send(&to("7"), &piece("x"), false, "n").await;
    assert!(matches!(refused, Err(SendError::Unreachable(_))), "{refused:?}");
    assert!(matches!(discord.identify().await, Err(IdentifyError::Unavailable(_))));
}

#[tokio::test]
async fn a_message_looks_as_asked() {
    let bot = Bot::usual().await;
    let general = bot.sandbox.guild_channel("general");
    let theirs = bot.sandbox.say(&general, ADA, "Ada", "question");
    let full = Piece {
        files: vec![File::text("answer.md", "# long")],
        buttons: vec![cancel_button()],
        ..piece("see https://x.y")
    };
    let to = Destination { chat: chat(&general), reply_to: Some(MessageRef::new(chat(&general), theirs.clone())) };
    bot.discord.send(&to, &full, false, "n1").await.unwrap();
    let gone = Destination { chat: chat(&general), reply_to: Some(MessageRef::new(chat(&general), "4242")) };
    bot.discord.send(&gone, &piece("plain"), false, "n2").await.unwrap();
    let shown = bot.shown(&general);
    assert_eq!(shown[0].reply_to, Some(theirs));
    assert_eq!(shown[0].files, [("answer.md".to_owned(), b"# long".to_vec())]);
    assert_eq!(shown[0].buttons, [("Cancel".to_owned(), "/cancel 7".to_owned())]);
    assert_eq!(shown[0].flags & 4, 4);
    assert_eq!((&shown[1].reply_to, shown[1].flags), (&None, 0));
    assert_eq!(bot.sandbox.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn time_runs_out_for_edits_and_for_nonces() {
    let time = Arc::new(AtomicI64::new(1_795_000_000_000));
    let settings = Settings { time: Some(time.clone()), ..Settings::default() };
    let clock = Clock::manual(Timestamp(time.load(Ordering::SeqCst)));
    let bot = Bot::new(settings, true, clock.clone()).await;
    let general = bot.sandbox.guild_channel("general");
    let first = bot.discord.send(&to(&general), &piece("one"), false, "same").await.unwrap();
    assert_eq!(bot.discord.send(&to(&general), &piece("one"), false, "same").await, Ok(first.clone()));
    time.fetch_add(61 * 60 * 1000, Ordering::SeqCst);
    clock.advance(Duration::from_secs(61 * 60));
    let mut edited = Ok(());
    for n in 0..5 {
        edited = edited.and(bot.discord.edit(&first, &piece(&n.to_string()), false).await);
    }
    assert_eq!(edited, Err(SendError::Gone));
    assert_ne!(bot.discord.send(&to(&general), &piece("one"), false, "same").await.unwrap(), first);
}

#[tokio::test]
async fn discord_tells_whether_a_message_is_answered() {
    let bot = Bot::usual().await;
    let general = bot.sandbox.guild_channel("general");
    let asked = MessageRef::new(chat(&general), bot.sandbox.say(&general, ADA, "Ada", "hi"));
    bot.discord.send(&to(&general), &piece("something else"), false, "n1").await.unwrap();
    bot.sandbox.reply(&general, ADA, "Ada", "still there?", &asked.id);
    assert_eq!(bot.discord.is_unanswered(&asked).await, Ok(true));
    let answer = Destination { reply_to: Some(asked.clone()), ..to(&general) };
    bot.discord.send(&answer, &piece("hello"), false, "n2").await.unwrap();
    assert_eq!(bot.discord.is_unanswered(&asked).await, Ok(false));
}
