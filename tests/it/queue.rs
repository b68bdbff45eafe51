//! The line with many people in it, end to end: who shares a run, who takes a wish back, what admins may do. Owns no wire.

use std::time::Duration;

use crate::bot::TestBot;
use crate::reels::link;

const ANA: i64 = 42;
const BEN: i64 = 77;
/// Longer than any test waits, and within the time that a run is given: it ends when the test says so.
const HELD: Duration = Duration::from_secs(80);
/// Six ways to write the link to one reel.
const SPELLINGS: [&str; 6] = [
    "https://www.instagram.com/reel/DLlGZiCOBQ0/",
    "instagram.com/reels/DLlGZiCOBQ0?igsh=MzRlODBiNWFlZA==",
    "<https://m.instagram.com/p/DLlGZiCOBQ0/?img_index=1>",
    "https://instagram.com/maya.makes.reels/reel/DLlGZiCOBQ0/",
    "https://www.ddinstagram.com/tv/DLlGZiCOBQ0",
    "https://www.instagram.com/share/reel/LlGZiCOBQ0",
];

/// Somebody in a chat of their own or among others, and how to read what they are shown.
enum Place {
    Telegram(i64),
    Discord { channel: String, user: String, asked: String },
}

impl TestBot {
    /// A person asks for that reel in the `n`th spelling, with a question that only they ask.
    fn ask_for_it(&self, n: usize, channels: &[String]) -> Place {
        let text = format!("{} q{n:03} is my ending fine?", SPELLINGS[n % SPELLINGS.len()]);
        if n.is_multiple_of(2) {
            let chat = 1000 + n as i64;
            self.sandbox.telegram.say(chat, chat, &format!("T{n}"), &text);
            return Place::Telegram(chat);
        }
        let user = format!("{}", 80_000_000_000_000_000 + n);
        let (me, _) = self.sandbox.discord.bot();
        let (channel, text) = match channels.get(n % 10) {
            Some(channel) => (channel.clone(), format!("<@{me}> {text}")),
            None => (self.sandbox.discord.dm(&user), text),
        };
        let asked = self.sandbox.discord.say(&channel, &user, &format!("D{n}"), &text);
        Place::Discord { channel, user, asked }
    }

    /// What a person is shown in answer to what they asked.
    fn shown_at(&self, place: &Place) -> Vec<String> {
        match place {
            Place::Telegram(chat) => self.telegram(*chat),
            Place::Discord { channel, asked, .. } => {
                let said = self.said_in(channel).into_iter();
                said.filter(|shown| shown.reply_to.as_ref() == Some(asked)).map(|shown| shown.content).collect()
            }
        }
    }

    async fn waiting(&self) -> i64 {
        self.db.number("SELECT COUNT(*) FROM subscriptions WHERE state = 'waiting'", &[]).await
    }

    async fn press_cancel(&self, place: &Place) {
        match place {
            Place::Telegram(chat) => {
                let board = self.shown(*chat).into_iter().find(|shown| !shown.buttons.is_empty()).expect("a button");
                self.sandbox.telegram.press(*chat, *chat, board.message_id, &board.buttons[0].1);
            }
            Place::Discord { channel, user, asked } => {
                let board = self.said_in(channel).into_iter().find(|shown| shown.reply_to.as_ref() == Some(asked));
                let board = board.expect("a board");
                self.sandbox.discord.press(channel, user, "D", &board.id, &board.buttons[0].1).unwrap();
            }
        }
    }
}

on_both! {
    async fn a_hundred_who_want_one_reel_share_one_run_and_get_an_answer_each(db: TestDb) {
        let bot = TestBot::start(db, &[]).await;
        bot.until_on_discord().await;
        bot.sandbox.apify.set_scrape(HELD);
        let channels: Vec<String> = (0..6).map(|n| bot.sandbox.discord.guild_channel(&format!("reels-{n}"))).collect();
        let people: Vec<Place> = (0..100).map(|n| bot.ask_for_it(n, &channels)).collect();
        bot.until("all hundred wait for it", async || bot.waiting().await == 100).await;
        assert_eq!(bot.db.number("SELECT COUNT(*) FROM jobs", &[]).await, 1);
        bot.until("each has a board", async || people.iter().all(|place| bot.shown_at(place).len() == 1)).await;
        // Some are not there any more when it is done.
        let Place::Discord { channel: deleted, .. } = &people[99] else { panic!("the last one is on Discord") };
        let Place::Discord { channel: forbidden, .. } = &people[97] else { panic!("so is this one") };
        let Place::Telegram(blocked) = people[98] else { panic!("this one is on Telegram") };
        bot.sandbox.discord.remove_channel(deleted);
        bot.sandbox.discord.forbid(forbidden);
        bot.sandbox.telegram.block(blocked);
        bot.until("who blocked the bot waits no more", async || bot.waiting().await < 100).await;
        bot.sandbox.apify.finish_runs();
        bot.drain().await;
        assert_eq!(bot.scrapes(), 1);
        assert_eq!(bot.sandbox.gemini.charged().len(), 1);
        for (n, place) in people.iter().enumerate().take(97) {
            let shown = bot.shown_at(place);
            assert!(shown.len() == 1 && shown[0].contains("Hook"), "{n}: {shown:?}");
        }
        // Each was coached on their own question, and on nobody else's.
        let asked: Vec<String> =
            bot.sandbox.openai.control.asked().iter().map(|asked| asked.body["input"].to_string()).collect();
        let is_coached = |n: usize| asked.iter().any(|input| input.contains(&format!("q{n:03} is my ending")));
        assert!((0..97).all(is_coached));
        assert!(!is_coached(98), "nothing is paid for who blocked the bot");
        assert_eq!(asked.iter().map(|input| input.matches(" is my ending").count()).max(), Some(1));
        for (open, sql) in [
            ("boards", "SELECT COUNT(*) FROM boards WHERE state <> 'closed'"),
            ("turns", "SELECT COUNT(*) FROM turns WHERE state <> 'closed'"),
            ("wishes", "SELECT COUNT(*) FROM subscriptions WHERE state IN ('waiting', 'answering')"),
        ] {
            assert_eq!(bot.db.number(sql, &[]).await, 0, "{open}");
        }
        bot.end().await;
    }

    async fn the_first_asker_leaves_and_the_others_still_get_it(db: TestDb) {
        let bot = TestBot::start(db, &[]).await;
        bot.until_on_discord().await;
        bot.sandbox.apify.set_scrape(HELD);
        let first = bot.ask_for_it(0, &[]);
        bot.until("it runs", async || bot.scrapes() == 1).await;
        let others = [bot.ask_for_it(1, &[]), bot.ask_for_it(2, &[])];
        bot.until("all wait", async || bot.waiting().await == 3).await;
        bot.until("she has a board", async || !bot.shown_at(&first).is_empty()).await;
        bot.press_cancel(&first).await;
        bot.until("she is out", async || bot.shown_at(&first)[0] == "Cancelled.").await;
        assert_eq!(bot.waiting().await, 2);
        bot.sandbox.apify.finish_runs();
        bot.drain().await;
        assert_eq!(bot.scrapes(), 1);
        assert_eq!(bot.sandbox.apify.runs()[0].status, "SUCCEEDED");
        for place in &others {
            let shown = bot.shown_at(place);
            assert!(shown.len() == 1 && shown[0].contains("Hook"), "{shown:?}");
        }
        assert!(bot.shown_at(&first).iter().all(|text| !text.contains("Hook")), "{:?}", bot.shown_at(&first));
        bot.end().await;
    }

    async fn when_the_last_asker_leaves_the_run_is_aborted(db: TestDb) {
        let bot = TestBot::start(db, &[]).await;
        bot.until_on_discord().await;
        bot.sandbox.apify.set_scrape(HELD);
        let people: Vec<Place> = (0..3).map(|n| bot.ask_for_it(n, &[])).collect();
        bot.until("all wait", async || bot.scrapes() == 1 && bot.waiting().await == 3).await;
        bot.until("all have a board", async || people.iter().all(|place| !bot.shown_at(place).is_empty())).await;
        for (left, place) in people.iter().enumerate() {
            assert_eq!(bot.sandbox.apify.control.count("/abort"), 0, "{left} have left");
            bot.press_cancel(place).await;
            bot.until("it is taken back", async || bot.waiting().await == 2 - left as i64).await;
        }
        bot.sandbox.apify.control.until(|asked| asked.iter().any(|asked| asked.path.contains("/abort"))).await;
        bot.drain().await;
        assert_eq!(bot.sandbox.apify.runs()[0].status, "ABORTED");
        assert_eq!(bot.db.number("SELECT COUNT(*) FROM jobs WHERE state = 'cancelled'", &[]).await, 1);
        for place in &people {
            let shown = bot.shown_at(place);
            assert_eq!(shown, ["Cancelled."]);
        }
        bot.end().await;
    }
}

on_both! {
    async fn each_takes_back_their_own_and_nobody_elses(db: TestDb) {
        let bot = TestBot::start(db, &[("REEL_LANES", "1")]).await;
        bot.sandbox.apify.set_scrape(HELD);
        let say = |who: i64, text: &str| bot.sandbox.telegram.say(who, who, "P", text);
        say(ANA, &format!("{} {}", link("DANAFIRST01"), link("DANASECND01")));
        bot.until("the first one runs", async || bot.scrapes() == 1 && bot.waiting().await == 2).await;
        say(BEN, &link("DBENFIRST01"));
        bot.until("Ben waits", async || bot.waiting().await == 3).await;
        // Not his: nothing happens to it.
        say(BEN, &format!("/cancel {}", link("DANASECND01")));
        bot.until("he is told", async || said(&bot, BEN, "DANASECND01 isn't in the queue")).await;
        say(BEN, "/cancel hello there");
        bot.until("he is told", async || said(&bot, BEN, "I don't see a reel link there")).await;
        assert_eq!(bot.waiting().await, 3);
        // One by its link, in the line: at once.
        say(ANA, "/cancel https://www.instagram.com/share/reel/ANASECND01");
        bot.until("she is told", async || said(&bot, ANA, "Cancelled DANASECND01.")).await;
        assert_eq!(bot.waiting().await, 2);
        assert_eq!(bot.db.number("SELECT COUNT(*) FROM jobs WHERE state = 'cancelled'", &[]).await, 1);
        // All the rest, at work: stopped.
        say(ANA, "/cancel");
        bot.sandbox.apify.control.until(|asked| asked.iter().any(|asked| asked.path.contains("/abort"))).await;
        bot.until("Ben's turn has come", async || bot.scrapes() == 2).await;
        say(ANA, "/cancel");
        bot.until("nothing is left", async || said(&bot, ANA, "Nothing to cancel: you have no reels in the queue.")).await;
        bot.sandbox.apify.finish_runs();
        bot.drain().await;
        let runs: Vec<_> = bot.sandbox.apify.runs().into_iter().map(|run| (run.code, run.status)).collect();
        assert_eq!(runs, [("DANAFIRST01".into(), "ABORTED"), ("DBENFIRST01".into(), "SUCCEEDED")]);
        assert!(bot.telegram(BEN).iter().any(|text| text.contains("Hook")));
        bot.end().await;
    }

    async fn an_admin_takes_back_anyones(db: TestDb) {
        let bot = TestBot::start(db, &[("REEL_LANES", "1"), ("ADMIN_IDS", "discord:42,telegram:42")]).await;
        bot.until_on_discord().await;
        bot.sandbox.apify.set_scrape(HELD);
        let channel = bot.sandbox.discord.guild_channel("reels");
        let (me, _) = bot.sandbox.discord.bot();
        let ask = |code: &str| bot.sandbox.discord.say(&channel, "99", "Ben", &format!("<@{me}> {}", link(code)));
        ask("DFIRST00001");
        bot.until("it runs", async || bot.scrapes() == 1 && bot.said_in(&channel).len() == 1).await;
        ask("DSECOND0001");
        bot.until("it waits", async || bot.waiting().await == 2 && bot.said_in(&channel).len() == 2).await;
        let boards = bot.said_in(&channel);
        let (_, button) = boards[1].buttons[0].clone();
        // Somebody else's button.
        bot.sandbox.discord.press(&channel, "98", "Mia", &boards[1].id, &button).unwrap();
        bot.until("she is told", async || bot.said_in(&channel).len() == 3).await;
        let told = bot.said_in(&channel).pop().unwrap();
        assert!(told.content.contains("Only the person who sent the reel can cancel it"), "{told:?}");
        assert_eq!(bot.waiting().await, 2);
        // An admin's.
        bot.sandbox.discord.press(&channel, "42", "Ana", &boards[1].id, &button).unwrap();
        bot.until("it is out", async || bot.said_in(&channel)[1].content == "Cancelled.").await;
        assert_eq!(bot.waiting().await, 1);
        // By its link, from elsewhere.
        bot.sandbox.telegram.say(ANA, ANA, "Ana", &format!("/cancel {}", link("DFIRST00001")));
        bot.sandbox.apify.control.until(|asked| asked.iter().any(|asked| asked.path.contains("/abort"))).await;
        bot.drain().await;
        assert_eq!(bot.said_in(&channel)[0].content, "Cancelled.");
        assert_eq!(bot.telegram(ANA), ["Cancelled DFIRST00001."]);
        bot.end().await;
    }
}

fn said(bot: &TestBot, person: i64, words: &str) -> bool {
    bot.telegram(person).iter().any(|text| text.contains(words))
}
