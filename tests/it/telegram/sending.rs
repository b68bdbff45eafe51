//! What the bot sends on Telegram, and what it makes of a refusal.

use super::*;

#[tokio::test]
async fn what_is_sent_and_edited_is_what_people_see() {
    let bench = Bench::start().await;
    let question = bench.sandbox.say(7, 7, "Ann", "?");
    let answering = Destination { chat: chat(7), reply_to: Some(MessageRef::new(chat(7), question.to_string())) };
    let sent = bench.telegram.send(&answering, &piece("<b>1 &lt; 2</b>", "1 < 2"), false, "n").await.unwrap();
    let shown = bench.sandbox.screen(7).remove(1);
    assert_eq!((shown.text.as_str(), shown.html.as_str()), ("1 < 2", "<b>1 &lt; 2</b>"));
    assert_eq!((shown.message_id.to_string(), shown.reply_to, shown.from_bot), (sent.id.clone(), Some(question), true));
    let asked = bench.sandbox.control.asked().pop().unwrap();
    assert_eq!(asked.body["link_preview_options"]["is_disabled"], true);

    // The plain form goes without markup: what would be a tag is text.
    bench.telegram.edit(&sent, &piece("<b>x</b>", "1 < <p>"), true).await.unwrap();
    let shown = bench.sandbox.screen(7).remove(1);
    assert_eq!((shown.text.as_str(), shown.edits), ("1 < <p>", 1));
    let same = bench.telegram.edit(&sent, &piece("1 &lt; &lt;p&gt;", ""), false).await;
    assert_eq!(same, Err(SendError::NotModified));

    // Replies to what is gone, and to a button press, go out without being replies.
    for gone in ["1", "cb99"] {
        let to = Destination { chat: chat(7), reply_to: Some(MessageRef::new(chat(7), gone)) };
        bench.telegram.send(&to, &piece("x", "x"), false, "n").await.unwrap();
        assert_eq!(bench.sandbox.screen(7).pop().unwrap().reply_to, None);
    }
    bench.telegram.typing(&chat(7)).await.unwrap();
    assert_eq!(bench.sandbox.control.asked().pop().unwrap().body["action"], "typing");
}

#[tokio::test]
async fn every_refusal_has_its_name() {
    let bench = Bench::start().await;
    let text = piece("x", "x");
    bench.sandbox.say(7, 7, "Ann", "?");
    bench.sandbox.open(8);
    let mine = bench.send(7, &text).await.unwrap();

    for markup in ["<p>x</p>", "1 < 2", "<b>x", "x</i>"] {
        assert_eq!(bench.send(7, &piece(markup, "x")).await, Err(SendError::Unparsable), "{markup}");
        assert_eq!(
            bench.telegram.edit(&mine, &piece(markup, "x"), false).await,
            Err(SendError::Unparsable),
            "{markup}"
        );
    }
    for gone in [
        MessageRef::new(chat(7), "999999"),
        MessageRef::new(chat(8), mine.id.clone()),
        MessageRef::new(chat(7), "cb5"),
        // Somebody else's message.
        MessageRef::new(chat(7), "101"),
    ] {
        assert_eq!(bench.telegram.edit(&gone, &piece("y", "y"), false).await, Err(SendError::Gone), "{gone:?}");
    }
    let long = "😀".repeat(2049);
    for piece in [piece(&long, &long), piece("<b> </b>", " ")] {
        assert!(matches!(bench.send(7, &piece).await, Err(SendError::Failed(_))));
        assert!(matches!(bench.telegram.edit(&mine, &piece, false).await, Err(SendError::Failed(_))));
    }
    let fits = "<b>😀</b>".repeat(2048);
    bench.send(7, &piece(&fits, "x")).await.unwrap();

    assert_eq!(bench.send(12345, &text).await, Err(SendError::Forbidden));
    bench.sandbox.block(7);
    assert_eq!(bench.send(7, &text).await, Err(SendError::Forbidden));
    assert_eq!(bench.telegram.edit(&mine, &piece("y", "y"), false).await, Err(SendError::Forbidden));
    assert_eq!(bench.telegram.typing(&chat(7)).await, Err(SendError::Forbidden));
    bench.sandbox.unblock(7);

    bench.sandbox.control.fault("sendMessage", too_many(17));
    let seconds = |seconds| Err(SendError::RateLimited { retry_after: Duration::from_secs(seconds) });
    assert_eq!(bench.send(7, &text).await, seconds(17));
    bench.sandbox.control.fault("editMessageText", too_many(4));
    assert_eq!(bench.telegram.edit(&mine, &text, false).await, seconds(4).map(|_: MessageRef| ()));
}

#[tokio::test]
async fn too_much_talk_is_refused_with_the_time_to_wait() {
    let bench = Bench::with(SandboxSettings { enforce_limits: true, ..SandboxSettings::default() }).await;
    bench.sandbox.open(7);
    let mut refused = None;
    for _ in 0..7 {
        refused = bench.send(7, &piece("x", "x")).await.err().or(refused);
    }
    assert_eq!(refused, Some(SendError::RateLimited { retry_after: Duration::from_secs(1) }));
    bench.sandbox.open(8);
    bench.send(8, &piece("x", "x")).await.unwrap();
}

#[tokio::test]
async fn a_lost_answer_is_unknown_and_no_connection_is_unreachable() {
    let bench = Bench::start().await;
    bench.sandbox.open(7);
    let text = piece("x", "x");
    let mut said = Vec::new();
    for (fault, delivered) in [(Fault::DropAfter, 1), (Fault::Cut, 2), (Fault::Drop, 2)] {
        bench.sandbox.control.fault("sendMessage", fault);
        let error = bench.send(7, &text).await.unwrap_err();
        assert!(matches!(error, SendError::Unknown(_)), "{error:?}");
        assert_eq!(bench.sandbox.screen(7).len(), delivered);
        said.push(format!("{error} {error:?}"));
    }
    bench.sandbox.control.fault("setWebhook", Fault::Drop);
    let hook = "https://example.com/".parse().unwrap();
    let error = bench.telegram.set_webhook(&hook, &"s".to_owned().into()).await.unwrap_err();
    said.push(format!("{error} {error:?}"));
    // A port on which nobody listens.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = adapter(&format!("http://{free}/"), &SandboxSettings::default().token, &bench.clock);
    let error = nobody.send(&to(7), &text, false, "n").await.unwrap_err();
    assert!(matches!(error, SendError::Unreachable(_)), "{error:?}");
    said.push(format!("{error} {error:?} {nobody:?} {:?}", nobody.webhook_info().await));
    assert!(said.iter().all(|said| !said.contains(SECRET)), "{said:?}");
}

#[tokio::test]
async fn a_file_goes_out_with_its_text() {
    let bench = Bench::start().await;
    bench.sandbox.open(7);
    let files = vec![File::text("plan.md", "# Plan ü")];
    let buttons = vec![Button { label: "New".to_owned(), command: "/new".to_owned() }];
    let with_file = Piece { files: files.clone(), buttons, ..piece("<i>the plan</i>", "the plan") };
    let sent = bench.send(7, &with_file).await.unwrap();
    let shown = bench.sandbox.screen(7).remove(0);
    assert_eq!(shown.document, Some(("plan.md".to_owned(), "# Plan ü".as_bytes().to_vec())));
    assert_eq!((shown.text.as_str(), shown.html.as_str(), shown.buttons.len()), ("the plan", "<i>the plan</i>", 1));
    assert_eq!(sent.id, shown.message_id.to_string());
    // Its text can not be edited as a message's can.
    assert_eq!(bench.telegram.edit(&sent, &piece("y", "y"), false).await, Err(SendError::Gone));
    bench.telegram.edit(&sent, &Piece { files: files.clone(), ..piece("y", "y") }, false).await.unwrap();
    assert_eq!(bench.sandbox.screen(7)[0].text, "y");
    let two = Piece { files: [files.clone(), files].concat(), ..piece("x", "x") };
    assert!(matches!(bench.send(7, &two).await, Err(SendError::Failed(_))));
}

#[tokio::test]
async fn an_answer_finds_its_topic_its_chat_and_its_supergroup() {
    let bench = Bench::start().await;
    bench.sandbox.say_in_topic(GROUP, 55, 7, "Ann", "?");
    let topic = Destination { chat: ChatId::new(Platform::Telegram, format!("{GROUP}/55")), reply_to: None };
    let last = |chat| bench.sandbox.screen(chat).pop().unwrap();
    bench.telegram.send(&topic, &piece("in", "in"), false, "n").await.unwrap();
    assert_eq!(last(GROUP).thread, Some(55));
    bench.telegram.typing(&topic.chat).await.unwrap();

    bench.sandbox.close_topic(GROUP, 55);
    let sent = bench.telegram.send(&topic, &piece("out", "out"), false, "n").await.unwrap();
    assert_eq!((last(GROUP).text.as_str(), last(GROUP).thread), ("out", None));
    bench.telegram.edit(&sent, &piece("edited", "edited"), false).await.unwrap();
    assert_eq!(last(GROUP).text, "edited");

    let old = bench.sandbox.say(-5, 7, "Ann", "?");
    let before = bench.send(-5, &piece("before", "before")).await.unwrap();
    bench.sandbox.migrate(-5, GROUP - 1);
    let answering = Destination { chat: chat(-5), reply_to: Some(MessageRef::new(chat(-5), old.to_string())) };
    let sent = bench.telegram.send(&answering, &piece("after", "after"), false, "n").await.unwrap();
    assert_eq!(sent.chat, chat(GROUP - 1));
    assert_eq!(last(GROUP - 1).text, "after");
    // Whoever knows the group by its old id still edits what went to the new one.
    for known_as in [-5, GROUP - 1] {
        let sent = MessageRef::new(chat(known_as), sent.id.clone());
        bench.telegram.edit(&sent, &piece(&format!("edited {known_as}"), ""), false).await.unwrap();
        assert_eq!(last(GROUP - 1).text, format!("edited {known_as}"));
    }
    assert_eq!(bench.telegram.edit(&before, &piece("y", "y"), false).await, Err(SendError::Gone));
}

#[tokio::test]
async fn a_new_id_of_a_group_is_told_before_what_is_said_there() {
    let bench = Bench::start().await;
    let (receive, mut inbox) = door(0);
    let (told, mut moves) = mpsc::unbounded_channel();
    let calls = Arc::new(AtomicUsize::new(0));
    bench.telegram.on_chat_moved(Arc::new(move |from, to| {
        let fails = calls.fetch_add(1, Ordering::SeqCst) == 0;
        told.send((from, to)).unwrap();
        async move { if fails { Err(ReceiveFailed) } else { Ok(()) } }.boxed()
    }));
    bench.sandbox.say(-5, 7, "Ann", "before");
    bench.sandbox.migrate(-5, GROUP);
    bench.sandbox.tell_of_migration(-5, GROUP);
    bench.sandbox.say(GROUP, 7, "Ann", "after");
    bench
        .polling(receive, async {
            // What could not be kept comes again, with all that is behind it.
            for _ in 0..3 {
                assert_eq!(moves.recv().await.unwrap(), (chat(-5), chat(GROUP)));
            }
            while inbox.recv().await.unwrap().text != "after" {}
            bench.sandbox.control.until(|_| bench.sandbox.pending() == 0).await;
        })
        .await;
    // A refused send tells it too.
    bench.sandbox.migrate(-6, GROUP);
    bench.send(-6, &piece("x", "x")).await.unwrap();
    assert_eq!(moves.recv().await.unwrap(), (chat(-6), chat(GROUP)));
}
