//! The same bot on Discord: a server, its threads, slash commands and buttons.

use sandbox::discord::Shown;
use sandbox::openai::Script;

use crate::bot::TestBot;
use crate::support::TestDb;

const ANA: &str = "80351110224678912";
const LINK: &str = "https://www.instagram.com/reel/DLlGZiCOBQ0/";

impl TestBot {
    async fn on_discord(overrides: &[(&str, &str)]) -> TestBot {
        let bot = TestBot::start(TestDb::sqlite().await, overrides).await;
        bot.until_on_discord().await;
        bot
    }

    /// Waits until the gateway is up and the commands are registered.
    pub async fn until_on_discord(&self) {
        self.until("the gateway is up", async || {
            self.sandbox.discord.is_connected() && !self.sandbox.discord.commands().is_empty()
        })
        .await;
    }

    /// What the bot shows in a Discord channel, oldest first, without what it is still thinking about.
    pub fn said_in(&self, channel: &str) -> Vec<Shown> {
        self.sandbox.discord.screen(channel).into_iter().filter(|shown| shown.from_bot && !shown.deferred).collect()
    }

    /// Waits until the bot has said something there that fits, and nothing is owed.
    async fn until_said(&self, channel: &str, fits: impl Fn(&[Shown]) -> bool) {
        self.until("it is said", async || fits(&self.said_in(channel)) && self.store.is_idle().await.unwrap()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dm_a_mention_and_a_thread() {
    let bot = TestBot::on_discord(&[]).await;
    let dm = bot.sandbox.discord.dm(ANA);
    bot.sandbox.discord.say(&dm, ANA, "Ana", "hi");
    bot.until_said(&dm, |said| said.len() == 1 && !said[0].content.contains('▌')).await;

    let channel = bot.sandbox.discord.guild_channel("general");
    bot.sandbox.discord.say(&channel, ANA, "Ana", "hi all");
    bot.sandbox.openai.script(Script::Text("Hello @everyone, here I am.".into()));
    let (me, _) = bot.sandbox.discord.bot();
    let asked = bot.sandbox.discord.say(&channel, ANA, "Ana", &format!("<@{me}> hello coach"));
    bot.until_said(&channel, |said| said.len() == 1).await;
    assert_eq!(bot.said_in(&channel)[0].reply_to.as_deref(), Some(asked.as_str()), "only what mentions it is answered");

    let thread = bot.sandbox.discord.thread(&channel, "my hooks");
    bot.sandbox.discord.say(&thread, ANA, "Ana", &format!("<@{me}> in here"));
    bot.until_said(&thread, |said| said.len() == 1).await;
    bot.sandbox.discord.say(&thread, ANA, "Ana", "and on without a mention");
    bot.until_said(&thread, |said| said.len() == 2).await;
    bot.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slash_command_is_deferred_and_its_message_becomes_the_answer() {
    let bot = TestBot::on_discord(&[]).await;
    let channel = bot.sandbox.discord.guild_channel("coach");
    bot.sandbox.discord.slash(&channel, ANA, "Ana", "reel", &[("url", LINK)]).unwrap();
    bot.until_said(&channel, |said| said.len() == 1 && said[0].content.contains("**Hook**")).await;
    let answer = &bot.said_in(&channel)[0];
    assert!(answer.buttons.is_empty() && !answer.ephemeral, "{answer:?}");

    bot.sandbox.discord.slash(&channel, ANA, "Ana", "coach", &[("text", "hello there")]).unwrap();
    bot.until_said(&channel, |said| said.len() == 2).await;
    bot.sandbox.discord.slash(&channel, ANA, "Ana", "help", &[]).unwrap();
    bot.until_said(&channel, |said| said.len() == 3).await;
    let help = &bot.said_in(&channel)[2];
    assert!(help.ephemeral && help.content.contains("`/reel <url>`"), "{help:?}");
    bot.sandbox.discord.slash(&channel, ANA, "Ana", "usage", &[]).unwrap();
    bot.until_said(&channel, |said| said.len() == 4).await;
    let usage = &bot.said_in(&channel)[3];
    assert!(usage.ephemeral && usage.content.contains("Only the bot's admins"), "{usage:?}");
    bot.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_menu_of_a_message_coaches_its_reel() {
    let bot = TestBot::on_discord(&[]).await;
    let channel = bot.sandbox.discord.guild_channel("reels");
    let target = bot.sandbox.discord.say(&channel, "99", "Ben", &format!("look ||{LINK}||"));
    bot.sandbox.discord.context_menu(&channel, ANA, "Ana", "Coach this reel", &target).unwrap();
    bot.until_said(&channel, |said| said.len() == 1 && said[0].content.contains("**Hook**")).await;
    bot.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_outlives_its_token_becomes_a_message() {
    let bot = TestBot::on_discord(&[]).await;
    let channel = bot.sandbox.discord.guild_channel("slow");
    bot.sandbox.apify.set_scrape(std::time::Duration::from_millis(600));
    bot.sandbox.discord.slash(&channel, ANA, "Ana", "reel", &[("url", LINK)]).unwrap();
    bot.until("the board is on screen", async || bot.said_in(&channel).len() == 1).await;
    bot.sandbox.discord.age_interactions(std::time::Duration::from_secs(16 * 60));
    bot.until_said(&channel, |said| said.iter().any(|shown| shown.content.contains("**Hook**"))).await;
    let answers = bot.said_in(&channel).iter().filter(|shown| shown.content.contains("**Hook**")).count();
    assert_eq!(answers, 1);
    bot.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_private_stays_private_however_long_it_is() {
    let bot = TestBot::on_discord(&[("ADMIN_IDS", &format!("discord:{ANA}"))]).await;
    let channel = bot.sandbox.discord.guild_channel("costs");
    // Enough for more than one message.
    for n in 0..15 {
        let (now, change) = (reelcoach::clock::Clock::System.now().0, "a change of some length ".repeat(12));
        let values = format!("('k{n:02}', {now}, 'discord:{ANA}', '{change}')");
        bot.db.execute(&format!("INSERT INTO audit (id, at, admin, change) VALUES {values}")).await;
    }
    bot.sandbox.discord.slash(&channel, ANA, "Ana", "audit", &[]).unwrap();
    bot.until_said(&channel, |said| said.len() > 1).await;
    assert!(bot.said_in(&channel).iter().all(|shown| shown.ephemeral), "{:?}", bot.said_in(&channel));
    let (me, _) = bot.sandbox.discord.bot();
    bot.sandbox.discord.say(&channel, ANA, "Ana", &format!("<@{me}> /usage"));
    bot.until_said(&channel, |said| said.iter().any(|shown| shown.content.contains("direct message"))).await;
    bot.end().await;
}
