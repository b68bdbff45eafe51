//! The picture of a conversation: a real run of the bot on the sandbox's Telegram, drawn as a phone shows it. Writes it with
//! `WRITE_GALLERY=1 cargo test --test it gallery::` and otherwise holds the picture in the repository to the run.

mod phone;

use std::sync::Arc;
use std::time::Duration;

use reelcoach::clock::Clock;
use sandbox::telegram::Shown;

use crate::bot::{PATIENCE, TestBot, sandbox, until};
use crate::reels::link;
use crate::support::TestDb;
use phone::Bubble;

const ANA: i64 = 42;
const BEN: i64 = 77;
const CARO: i64 = 78;
/// Longer than the test waits: a run ends when the test says so.
const HELD: Duration = Duration::from_secs(80);
/// How long each reel takes.
const REEL: u64 = 25;

/// What Ana has seen so far, as it goes onto the picture.
struct Recording<'b> {
    bot: &'b TestBot,
    clock: Clock,
    seen: Vec<Shown>,
    picture: Vec<Bubble>,
}

impl Recording<'_> {
    /// Adds every message that is new or has changed since the last look.
    fn look(&mut self, later: &str) {
        let screen = self.bot.sandbox.telegram.screen(ANA);
        for shown in &screen {
            let before = self.seen.iter().find(|before| before.message_id == shown.message_id);
            if before.is_some_and(|before| before.html == shown.html) {
                continue;
            }
            if before.is_some() {
                self.picture.push(Bubble::Note(format!("the same message, {later}")));
            }
            self.picture.push(Bubble::Message {
                from_bot: shown.from_bot,
                html: shown.html.clone(),
                buttons: shown.buttons.iter().map(|(label, _)| label.clone()).collect(),
            });
        }
        self.seen = screen;
    }

    async fn until_ana_reads(&self, words: &str) {
        // An edit may have to wait for the next millisecond in which its chat takes one.
        let read = async || {
            self.clock.advance(Duration::from_millis(1));
            self.bot.telegram(ANA).iter().any(|text| text.contains(words))
        };
        if tokio::time::timeout(PATIENCE / 2, until("she reads it", read)).await.is_err() {
            panic!("Ana does not read “{words}” but {:?}", self.bot.telegram(ANA));
        }
    }

    /// Lets so many seconds go by. The lease of the reel at work is renewed meanwhile.
    async fn pass(&self, seconds: u64) {
        for _ in 0..seconds.div_ceil(5) {
            self.clock.advance(Duration::from_secs(5));
            let now = self.clock.now().0;
            let behind = "SELECT COUNT(*) FROM jobs WHERE state = 'running' AND leased_until < $1 + 12000";
            self.bot.until("leases are renewed", async || self.bot.db.number(behind, &[now]).await == 0).await;
        }
    }

    /// The reel at work is done, and the next one is for a moment.
    async fn next_reel(&self, scrapes: usize) {
        self.pass(REEL).await;
        self.bot.sandbox.apify.finish_runs();
        self.bot.until("the next reel is at work", async || self.bot.scrapes() == scrapes).await;
        self.pass(5).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_conversation_is_a_real_one() {
    let clock = Clock::manual(Clock::System.now());
    let db = Arc::new(TestDb::sqlite().await);
    let bot = TestBot::start_at(sandbox().await, db, &[("REEL_LANES", "1")], clock.clone(), None).await;
    let mut ana = Recording { bot: &bot, clock: clock.clone(), seen: Vec::new(), picture: Vec::new() };
    bot.sandbox.telegram.say(ANA, ANA, "Ana", "hi, I design logos");
    bot.drain().await;
    ana.look("");
    bot.sandbox.apify.set_scrape(HELD);
    bot.sandbox.telegram.say(BEN, BEN, "Ben", &link("DBENSREEL01"));
    bot.until("Ben's reel is at work", async || bot.scrapes() == 1).await;
    bot.sandbox.telegram.say(CARO, CARO, "Caro", &link("DCAROLREEL1"));
    bot.until("Caro's reel waits", async || !bot.telegram(CARO).is_empty()).await;
    clock.advance(Duration::from_secs(1));
    bot.sandbox.telegram.say(ANA, ANA, "Ana", &link("DLlGZiCOBQ0"));
    // The whole words: what is shown has caught up with the clock.
    ana.until_ana_reads("number 2 in the queue, about 1 min 30 s").await;
    ana.look("");
    ana.next_reel(2).await;
    ana.until_ana_reads("next in the queue, about 50 s").await;
    ana.look("half a minute later");
    ana.next_reel(3).await;
    ana.until_ana_reads("20–25 s to go").await;
    ana.look("when its turn comes");
    ana.pass(REEL - 5).await;
    bot.sandbox.apify.set_scrape(Duration::ZERO);
    bot.sandbox.apify.finish_runs();
    bot.drain().await;
    ana.until_ana_reads("Hook").await;
    ana.look("when the reel is watched");
    let drawn = phone::draw(&ana.picture);
    bot.end().await;
    assert!(drawn.len() < 100_000, "{} bytes", drawn.len());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/gallery/conversation.svg");
    if std::env::var_os("WRITE_GALLERY").is_some() {
        std::fs::write(path, &drawn).unwrap();
    }
    assert!(
        std::fs::read_to_string(path).unwrap_or_default() == drawn,
        "docs/gallery/conversation.svg does not show what the bot says today: write it with\n\
         WRITE_GALLERY=1 cargo test --test it gallery::"
    );
}
