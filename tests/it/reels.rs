//! Reels, end to end: a pasted link, the line, the live message, the coached answer.

use std::time::Duration;

use sandbox::Fault;
use sandbox::telegram::Shown;

use crate::bot::TestBot;
use crate::support::TestDb;

const ANA: i64 = 42;
const BEN: i64 = 77;

pub fn link(code: &str) -> String {
    format!("https://www.instagram.com/reel/{code}/")
}

impl TestBot {
    pub fn shown(&self, chat: i64) -> Vec<Shown> {
        self.sandbox.telegram.screen(chat).into_iter().filter(|shown| shown.from_bot).collect()
    }

    pub fn scrapes(&self) -> usize {
        self.sandbox.apify.runs().len()
    }
}

on_both! {
    async fn a_pasted_link_becomes_one_message_that_ends_as_the_coaching(db: TestDb) {
        let bot = TestBot::start(db, &[]).await;
        bot.sandbox.telegram.say(ANA, ANA, "Ana", &format!("is my hook any good? {}", link("DLlGZiCOBQ0")));
        bot.drain().await;
        let shown = bot.shown(ANA);
        assert_eq!(shown.len(), 1, "{shown:?}");
        assert!(shown[0].text.contains("At 0:0") && shown[0].text.contains("Hook"), "{}", shown[0].text);
        assert!(shown[0].buttons.is_empty(), "no Cancel button under an answer");
        assert_eq!(bot.scrapes(), 1);
        let asked = bot.sandbox.openai.control.asked().pop().unwrap().body["input"].to_string();
        assert!(asked.contains("is my hook any good?") && asked.contains("<reel-") && asked.contains("shortcode="), "{asked}");
        // Scrape, analysis, coaching: three rows, each with what the provider charged.
        assert_eq!(bot.db.number("SELECT COUNT(*) FROM ledger", &[]).await, 3);
        let scraped = bot.db.number("SELECT CAST(SUM(micro_usd) AS BIGINT) FROM ledger WHERE provider = 'apify'", &[]).await;
        assert_eq!(scraped, bot.sandbox.apify.runs()[0].charged_micro_usd);
        bot.end().await;
    }

    async fn a_known_reel_is_answered_at_once_and_free(db: TestDb) {
        let bot = TestBot::start(db, &[]).await;
        bot.sandbox.telegram.say(ANA, ANA, "Ana", &link("DLlGZiCOBQ0"));
        bot.drain().await;
        bot.sandbox.telegram.say(BEN, BEN, "Ben", "instagram.com/reel/DLlGZiCOBQ0?igsh=abc");
        bot.drain().await;
        assert_eq!(bot.scrapes(), 1);
        assert!(bot.telegram(BEN)[0].contains("Hook"), "{:?}", bot.telegram(BEN));
        bot.end().await;
    }

    async fn two_who_want_one_reel_share_its_run(db: TestDb) {
        let bot = TestBot::start(db, &[]).await;
        bot.sandbox.apify.control.fault("/runs", Fault::Slow(Duration::from_millis(300)));
        bot.sandbox.telegram.say(ANA, ANA, "Ana", &link("DLlGZiCOBQ0"));
        bot.sandbox.telegram.say(BEN, BEN, "Ben", &link("DLlGZiCOBQ0"));
        bot.drain().await;
        assert_eq!(bot.scrapes(), 1);
        for person in [ANA, BEN] {
            let screen = bot.telegram(person);
            assert!(screen.len() == 1 && screen[0].contains("Hook"), "{screen:?}");
        }
        bot.end().await;
    }

    async fn a_reel_that_cannot_be_seen_ends_in_a_sentence_and_is_remembered(db: TestDb) {
        let bot = TestBot::start(db, &[]).await;
        bot.sandbox.telegram.say(ANA, ANA, "Ana", &link("DPRIV000000"));
        bot.drain().await;
        bot.sandbox.telegram.say(BEN, BEN, "Ben", &link("DPRIV000000"));
        bot.drain().await;
        for person in [ANA, BEN] {
            let screen = bot.telegram(person);
            assert!(screen.len() == 1 && screen[0].contains("private, deleted or restricted"), "{screen:?}");
        }
        assert_eq!(bot.scrapes(), 1, "what is known not to work is not bought again");
        bot.end().await;
    }

    async fn several_links_in_one_message_share_a_board(db: TestDb) {
        let bot = TestBot::start(db, &[]).await;
        bot.sandbox.telegram.say(ANA, ANA, "Ana", &format!("{} {}", link("DAAAAAAAAA1"), link("DAAAAAAAAA2")));
        bot.drain().await;
        let screen = bot.telegram(ANA);
        assert_eq!(screen.len(), 3, "{screen:?}");
        assert!(screen[0].contains("1. ✅") && screen[0].contains("2. ✅"), "{}", screen[0]);
        assert!(screen[1..].iter().all(|answer| answer.contains("Hook")), "{screen:?}");
        bot.end().await;
    }

    async fn cancelled_by_its_button_while_it_waits_and_while_it_runs(db: TestDb) {
        let bot = TestBot::start(db, &[("REEL_LANES", "1")]).await;
        bot.sandbox.apify.set_scrape(Duration::from_secs(60));
        bot.sandbox.telegram.say(ANA, ANA, "Ana", &link("DRUNNING001"));
        bot.until("the first one runs", async || bot.scrapes() == 1).await;
        bot.sandbox.telegram.say(BEN, BEN, "Ben", &link("DWAITING001"));
        bot.until("both have a board", async || [ANA, BEN].iter().all(|p| !bot.shown(*p).is_empty())).await;
        for person in [BEN, ANA] {
            let board = &bot.shown(person)[0];
            let (_, data) = board.buttons.first().expect("a Cancel button");
            bot.sandbox.telegram.press(person, person, board.message_id, data);
        }
        bot.drain().await;
        assert!(bot.sandbox.apify.runs()[0].status == "ABORTED", "the run is aborted upstream");
        assert_eq!(bot.scrapes(), 1);
        for person in [ANA, BEN] {
            let screen = bot.telegram(person);
            assert!(screen.len() == 1 && screen[0] == "Cancelled.", "{screen:?}");
        }
        bot.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_line_is_told_and_ends_in_order() {
    let bot = TestBot::start(TestDb::sqlite().await, &[("REEL_LANES", "1")]).await;
    bot.sandbox.apify.set_scrape(Duration::from_secs(2));
    for (person, code) in [(1, "DAAAAAAAAA1"), (2, "DAAAAAAAAA2"), (3, "DAAAAAAAAA3")] {
        bot.sandbox.telegram.say(person, person, "P", &link(code));
        bot.until("it is in the line", async || bot.db.number("SELECT COUNT(*) FROM jobs", &[]).await == person).await;
    }
    bot.until("the third is told its place", async || {
        bot.telegram(3).iter().any(|text| text.contains("number 2 in the queue"))
    })
    .await;
    bot.sandbox.telegram.say(3, 3, "P", "/queue");
    bot.until("the line is told", async || {
        bot.telegram(3).iter().any(|text| text.contains("1 in progress, 2 waiting"))
    })
    .await;
    bot.drain().await;
    bot.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_works_instead_of_a_story() {
    let bot = TestBot::start(TestDb::sqlite().await, &[]).await;
    for text in ["https://www.instagram.com/stories/someone/123456/", "/reel hello", "/dance"] {
        bot.sandbox.telegram.say(ANA, ANA, "Ana", text);
        bot.drain().await;
    }
    let screen = bot.telegram(ANA);
    assert!(screen[0].contains("Stories") && screen[0].contains("Copy link"), "{screen:?}");
    assert!(screen[1].contains("see a reel link"), "{screen:?}");
    assert!(screen[2].contains("/help"), "{screen:?}");
    bot.end().await;
}
