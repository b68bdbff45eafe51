//! Presses of buttons, and answers for one person's eyes.

use super::*;

#[tokio::test]
async fn a_button_is_its_command() {
    let bot = Bot::usual().await;
    let general = bot.sandbox.guild_channel("general");
    bot.run(async |bot| {
        let board = Piece { buttons: vec![cancel_button()], ..piece("Position 1") };
        let sent = bot.discord.send(&to(&general), &board, false, "n").await.unwrap();
        let id = bot.sandbox.press(&general, ADA, "Ada", &sent.id, "/cancel 7").unwrap();
        let heard = bot.next().await;
        assert_eq!((heard.text.as_str(), heard.message.id), ("/cancel 7", format!("i{id}")));
        assert_eq!(heard.reply_to.unwrap().id, sent.id);
        assert_eq!(bot.shown(&general).len(), 1);
        // Whoever pressed is answered, and nobody else.
        let placeholder = heard.placeholder.unwrap();
        assert_eq!(bot.discord.edit(&placeholder, &piece("not yours"), false).await, Err(SendError::Gone));
        let after = Destination { chat: chat(&general), reply_to: Some(placeholder.clone()) };
        let told = bot.discord.send(&after, &piece("not yours"), false, "n5").await.unwrap();
        bot.discord.edit(&told, &piece("not yours at all"), false).await.unwrap();
        bot.discord.dismiss(&placeholder).await.unwrap();
        let shown = bot.shown(&general);
        assert_eq!(
            shown.iter().map(|s| (s.content.as_str(), s.ephemeral)).collect::<Vec<_>>(),
            [("Position 1", false), ("not yours at all", true)]
        );
        bot.sandbox.age_interactions(Duration::from_secs(16 * 60));
        assert!(matches!(bot.discord.send(&after, &piece("late"), false, "n6").await, Err(SendError::Failed(_))));
        assert_eq!(bot.shown(&general).len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_button_that_asks_the_coach_is_answered_to_whoever_pressed() {
    let bot = Bot::usual().await;
    let general = bot.sandbox.guild_channel("general");
    bot.run(async |bot| {
        let dm = bot.sandbox.dm(ADA);
        for (channel, alone) in [(&general, false), (&dm, true)] {
            let fresh = Button { label: "Fresh answer".to_owned(), command: "/again 7".to_owned() };
            let answer = Piece { buttons: vec![fresh], ..piece("An answer") };
            let sent = bot.discord.send(&to(channel), &answer, false, channel).await.unwrap();
            bot.sandbox.press(channel, ADA, "Ada", &sent.id, "/again 7").unwrap();
            let placeholder = bot.next().await.placeholder.unwrap();
            assert!(bot.shown(channel)[1].deferred);
            bot.discord.edit(&placeholder, &piece("Another one"), false).await.unwrap();
            let after = Destination { chat: chat(channel), reply_to: Some(placeholder) };
            bot.discord.send(&after, &piece("and more"), false, "n").await.unwrap();
            let shown = bot.shown(channel);
            assert_eq!((shown.len(), shown[0].content.as_str()), (3, "An answer"));
            assert!(shown[1..].iter().all(|shown| shown.ephemeral != alone), "{shown:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_private_takes_the_place_of_what_everybody_sees() {
    let bot = Bot::usual().await;
    let general = bot.sandbox.guild_channel("general");
    bot.run(async |bot| {
        bot.sandbox.slash(&general, ADA, "Ada", "coach", &[("text", "hi")]).unwrap();
        let placeholder = bot.next().await.placeholder.unwrap();
        assert!(!bot.shown(&general)[0].ephemeral);
        let private = |text: &str| Piece { private: true, ..piece(text) };
        bot.discord.edit(&placeholder, &private("you are blocked"), false).await.unwrap();
        let after = Destination { chat: chat(&general), reply_to: Some(placeholder) };
        bot.discord.send(&after, &private("and why"), false, "n").await.unwrap();
        let shown = bot.shown(&general);
        assert_eq!(shown.iter().map(|s| s.content.as_str()).collect::<Vec<_>>(), ["you are blocked", "and why"]);
        assert!(shown.iter().all(|shown| shown.ephemeral), "{shown:?}");

        bot.sandbox.slash(&general, ADA, "Ada", "coach", &[("text", "hi")]).unwrap();
        let placeholder = bot.next().await.placeholder.unwrap();
        bot.discord.dismiss(&placeholder).await.unwrap();
        assert_eq!(bot.shown(&general).len(), 2, "nothing is thought about any more");
    })
    .await;
}
