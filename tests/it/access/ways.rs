//! Every way in, through the real adapters: each meets the same gate, and what is for one person is shown to nobody else.

use sandbox::discord::Shown;

use super::*;

const STRANGER: &str = "66";
const GROUP: i64 = -5001;
const SUPERGROUP: i64 = -1_000_000_000_556;

impl TestBot {
    /// What everybody in a Discord channel sees of the bot.
    fn public(&self, channel: &str) -> Vec<Shown> {
        self.said_in(channel).into_iter().filter(|shown| !shown.ephemeral).collect()
    }

    /// Presses a button on Discord; what whoever pressed is told.
    async fn pressed(&self, channel: &str, user: &str, message: &str, button: &str) -> String {
        let before = self.said_in(channel).len();
        self.sandbox.discord.press(channel, user, "P", message, button).unwrap();
        self.until("the press is answered", async || self.said_in(channel).len() > before).await;
        let told = self.said_in(channel).into_iter().nth(before).unwrap();
        assert!(told.ephemeral, "{told:?}");
        told.content
    }

    /// Presses a button on Telegram; the notice on it.
    pub(super) async fn notice(&self, chat: i64, user: i64, message: i64, data: &str) -> String {
        let press = self.sandbox.telegram.press(chat, user, message, data);
        self.until("the press is answered", async || self.sandbox.telegram.answered(&press) == Some(true)).await;
        self.sandbox.telegram.notice(&press).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_brings_the_bot_to_a_server_of_their_own_has_no_rights_there() {
    let sandbox = crate::bot::sandbox().await;
    let [home, other] = sandbox.discord.guilds();
    sandbox.discord.set_member(&home, MAY, &[5], false);
    sandbox.discord.set_member(&other, STRANGER, &[], true);
    let (here, theirs) = (sandbox.discord.guild_channel("here"), sandbox.discord.other_guild_channel("theirs"));
    let target = sandbox.discord.say(&theirs, STRANGER, "S", &link("DLlGZiCOBQ0"));
    // Roles, but no places.
    let lists = [ADMIN, ("DISCORD_ACCESS", "list"), ("ALLOWED_ROLES", "5")];
    let bot = TestBot::start_on(sandbox, std::sync::Arc::new(TestDb::sqlite().await), &lists).await;
    bot.until_on_discord().await;
    for added in [true, false] {
        if !added {
            bot.sandbox.discord.leave(&other);
        }
        let reel = link("DLlGZiCOBQ0");
        for (command, options) in [
            ("coach", &[("text", "what is a hook?")][..]),
            ("reel", &[("url", reel.as_str())]),
            ("usage", &[]),
            ("budget", &[("change", "here month 900000")]),
            ("block", &[("person", "<@77>")]),
            ("audit", &[]),
        ] {
            let told = bot.slash(&theirs, STRANGER, command, options).await;
            assert!(told.ephemeral, "{told:?}");
            has(&told.content, &["This bot is private"]);
        }
        let before = bot.said_in(&theirs).len();
        bot.sandbox.discord.context_menu(&theirs, STRANGER, "S", "Coach this reel", &target).unwrap();
        bot.until("the menu is answered", async || bot.said_in(&theirs).len() > before).await;
        has(&bot.said_in(&theirs)[before].content, &["This bot is private"]);
    }
    assert_eq!((bot.public(&theirs).len(), bot.calls().await, bot.scrapes()), (0, 0, 0));
    let answered = bot.slash(&here, MAY, "coach", &[("text", "what is a hook?")]).await;
    assert!(!answered.ephemeral, "{answered:?}");
    bot.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_everybody_may_use_it_a_server_is_managed_only_if_the_bot_was_added_to_it() {
    let sandbox = crate::bot::sandbox().await;
    let [_, other] = sandbox.discord.guilds();
    sandbox.discord.set_member(&other, STRANGER, &[], true);
    let theirs = sandbox.discord.other_guild_channel("theirs");
    let bot = TestBot::start_on(sandbox, std::sync::Arc::new(TestDb::sqlite().await), &[ADMIN]).await;
    bot.until_on_discord().await;
    has(&bot.slash(&theirs, STRANGER, "usage", &[]).await.content, &["paid call"]);
    bot.sandbox.discord.leave(&other);
    has(&bot.slash(&theirs, STRANGER, "usage", &[]).await.content, &["Only the bot's admins"]);
    let answer = bot.slash(&theirs, STRANGER, "coach", &[("text", "what is a hook?")]).await;
    assert!(!answer.content.contains("Only"), "{answer:?}");
    bot.end().await;
}

on_both! {
    async fn a_manager_can_only_lower_what_a_server_is_granted_now_and_later(db: TestDb) {
        let sandbox = crate::bot::sandbox().await;
        let [home, _] = sandbox.discord.guilds();
        sandbox.discord.set_member(&home, MAY, &[], true);
        let here = sandbox.discord.guild_channel("here");
        let bot = TestBot::start_on(sandbox, std::sync::Arc::new(db), &[ADMIN]).await;
        bot.until_on_discord().await;
        let set = async |user: &str, change: &str| bot.slash(&here, user, "budget", &[("change", change)]).await.content;
        // Nothing is granted yet, so anything goes; but a grant that comes later is not overruled.
        has(&set(MAY, "here month 900000").await, &["Done: "]);
        has(&set("42", &format!("server {home} month 0.01")).await, &["Done: "]);
        has(&bot.slash(&here, MAY, "budget", &[]).await.content, &["of   $0.0100", "by the server's managers"]);
        has(&set(MAY, "here month 1").await, &["only lower", "$0.01"]);
        has(&set("42", "server month 3").await, &["Done: "]);
        has(&set("42", &format!("server {home} month 7")).await, &["Done: "]);
        has(&set(MAY, "here month 5").await, &["Done: "]);
        has(&bot.slash(&here, MAY, "budget", &[]).await.content, &["$5.00"]);
        has(&set("42", &format!("server {home} month 4")).await, &["Done: "]);
        has(&bot.slash(&here, MAY, "budget", &[]).await.content, &["$4.00"]);
        bot.end().await;
    }

    async fn a_group_keeps_all_that_is_its_own_when_it_becomes_a_supergroup(db: TestDb) {
        let settings = [
            ADMIN,
            ("TELEGRAM_ACCESS", "list"),
            ("ALLOWED_CHANNELS", "telegram:-5001"),
            ("ALERT_CHAT", "telegram:42,telegram:-5001"),
            ("BUDGET_CHAT_MONTH_USD", "5"),
            ("REEL_LANES", "1"),
        ];
        let bot = TestBot::start(db, &settings).await;
        assert!(bot.told(GROUP, BEN, "/coach I bake bread").await.is_some());
        has(&bot.answer(ANA, "/queue pause").await, &["Paused"]);
        bot.sandbox.telegram.say(GROUP, BEN, "Ben", &format!("/reel {}", link("DWAITING001")));
        bot.until("the board is there", async || bot.telegram(GROUP).len() == 2).await;
        bot.sandbox.telegram.migrate(GROUP, SUPERGROUP);
        bot.sandbox.telegram.tell_of_migration(GROUP, SUPERGROUP);
        bot.until("the board has moved along", async || {
            bot.telegram(SUPERGROUP).iter().any(|text| text.contains("Reels are paused"))
        })
        .await;
        // The list, the memory and the budget.
        bot.sandbox.telegram.say(SUPERGROUP, BEN, "Ben", "/history");
        bot.until("it is remembered", async || {
            bot.telegram(SUPERGROUP).iter().any(|text| text.contains("I remember the last 2 messages"))
        })
        .await;
        bot.sandbox.telegram.say(SUPERGROUP, BEN, "Ben", "/coach and what do I bake?");
        bot.until("the model was asked again", async || bot.calls().await == 2).await;
        bot.sandbox.telegram.say(ANA, ANA, "Ana", "/queue resume");
        bot.until("the reel is coached there", async || {
            bot.telegram(SUPERGROUP).iter().any(|text| text.contains("Hook"))
        })
        .await;
        let told = async |chat| bot.telegram(chat).iter().filter(|text| text.contains("got a new ID")).count();
        bot.until("both alert chats were told", async || told(ANA).await == 1 && told(SUPERGROUP).await == 1).await;
        has(
            bot.telegram(ANA).iter().find(|text| text.contains("got a new ID")).unwrap(),
            &["telegram:-5001", &format!("telegram:{SUPERGROUP}"), "ALLOWED_CHANNELS"],
        );
        bot.drain().await;
        let number = async |sql: &str| bot.db.number(sql, &[]).await;
        for (table, column) in [("turns", "chat"), ("boards", "chat"), ("conversations", "chat"), ("usage_places", "chat"), ("chats", "id")] {
            assert_eq!(number(&format!("SELECT COUNT(*) FROM {table} WHERE {column} = 'telegram:{GROUP}'")).await, 0, "{table}");
        }
        let of = |scope: &str| format!("SELECT CAST(COALESCE(SUM(micro_usd), 0) AS BIGINT) FROM spending WHERE scope = '{scope}'");
        assert_eq!(number(&of(&format!("chat:telegram:{GROUP}"))).await, 0);
        let spent = "SELECT CAST(COALESCE(SUM(micro_usd), 0) AS BIGINT) FROM ledger WHERE chat LIKE 'telegram:-%'";
        assert_eq!(number(&of(&format!("chat:telegram:{SUPERGROUP}"))).await, number(spent).await);
        assert_eq!(told(ANA).await + told(SUPERGROUP).await, 2, "once");
        bot.end().await;
    }

    async fn a_group_is_followed_when_only_a_refused_send_tells_its_new_id(db: TestDb) {
        let settings = [ADMIN, ("TELEGRAM_ACCESS", "list"), ("ALLOWED_CHANNELS", "telegram:-5001"), ("REEL_LANES", "1")];
        let bot = TestBot::start(db, &settings).await;
        has(&bot.answer(ANA, "/queue pause").await, &["Paused"]);
        bot.sandbox.telegram.say(GROUP, BEN, "Ben", &format!("/reel {}", link("DWAITING001")));
        bot.until("the board is there", async || bot.telegram(GROUP).len() == 1).await;
        bot.sandbox.telegram.migrate(GROUP, SUPERGROUP);
        bot.sandbox.telegram.say(ANA, ANA, "Ana", "/queue resume");
        bot.drain().await;
        assert!(bot.telegram(SUPERGROUP).iter().any(|text| text.contains("Hook")), "{:?}", bot.telegram(SUPERGROUP));
        assert!(bot.told(SUPERGROUP, BEN, "/coach what is a hook?").await.is_some(), "listed under its old id");
        bot.sandbox.telegram.tell_of_migration(GROUP, SUPERGROUP);
        bot.drain().await;
        assert_eq!(bot.db.number("SELECT COUNT(*) FROM moved_chats", &[]).await, 1);
        // Blocked is blocked under each id.
        assert_eq!(bot.told(-5002, BEN, "/coach what is a hook?").await, None);
        bot.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn presses_in_a_telegram_group_are_answered_to_whoever_pressed() {
    let bot =
        TestBot::start(TestDb::sqlite().await, &[ADMIN, ("REEL_LANES", "1"), ("BLOCKED_PEOPLE", "telegram:66")]).await;
    has(&bot.answer(ANA, "/queue pause").await, &["Paused"]);
    bot.sandbox.telegram.say(GROUP, BEN, "Ben", &format!("/reel {}", link("DWAITING001")));
    bot.until("the board is there", async || bot.telegram(GROUP).len() == 1).await;
    let board = bot.sandbox.telegram.screen(GROUP).into_iter().find(|shown| shown.from_bot).unwrap();
    let cancel = board.buttons[0].1.as_str();
    for _ in 0..3 {
        has(&bot.notice(GROUP, 44, board.message_id, cancel).await, &["Nothing to cancel here"]);
    }
    has(&bot.notice(GROUP, 66, board.message_id, cancel).await, &["its admins have blocked you"]);
    // What no button of the bot's asks for, in case one ever does.
    for command in [
        "/usage",
        "/cost",
        "/audit",
        "/blocked",
        "/invite",
        "/budget",
        "/queue pause",
        "/pause",
        "/limits",
        "/capacity",
    ] {
        has(&bot.notice(GROUP, ANA, board.message_id, command).await, &["in a direct message"]);
        has(&bot.notice(GROUP, 44, board.message_id, command).await, &["Only the bot's admins"]);
    }
    has(&bot.notice(GROUP, 44, board.message_id, "/me").await, &["in a direct message"]);
    has(&bot.notice(GROUP, 44, board.message_id, "/help").await, &["in a direct message"]);
    assert_eq!(bot.notice(GROUP, BEN, board.message_id, cancel).await, "", "the board says it");
    has(&bot.notice(GROUP, BEN, board.message_id, cancel).await, &["Nothing to cancel here"]);
    bot.drain().await;
    assert_eq!(bot.telegram(GROUP).len(), 1, "{:?}", bot.telegram(GROUP));
    assert_eq!(bot.store.pause().await.unwrap(), None);
    bot.sandbox.telegram.say(ANA, ANA, "Ana", "/queue resume");
    bot.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn presses_in_a_discord_server_are_answered_to_whoever_pressed() {
    let bot = TestBot::start(
        TestDb::sqlite().await,
        &[ADMIN, ("REEL_LANES", "1"), ("BLOCKED_PEOPLE", "discord:66"), ("ANSWER_CACHE_HOURS", "24")],
    )
    .await;
    bot.until_on_discord().await;
    let channel = bot.sandbox.discord.guild_channel("coach");
    bot.slash(&channel, "42", "queue", &[("action", "Pause")]).await;
    bot.sandbox.discord.slash(&channel, MAY, "May", "reel", &[("url", &link("DWAITING001"))]).unwrap();
    bot.until("the board is there", async || bot.public(&channel).iter().any(|shown| !shown.buttons.is_empty())).await;
    let board = bot.public(&channel)[0].clone();
    let cancel = board.buttons[0].1.as_str();
    for _ in 0..3 {
        has(&bot.pressed(&channel, NOOR, &board.id, cancel).await, &["Nothing to cancel here"]);
    }
    has(&bot.pressed(&channel, STRANGER, &board.id, cancel).await, &["its admins have blocked you"]);
    assert_eq!(bot.public(&channel).len(), 1, "{:?}", bot.public(&channel));
    bot.sandbox.discord.press(&channel, MAY, "May", &board.id, cancel).unwrap();
    bot.drain().await;
    assert_eq!(bot.public(&channel).len(), 1, "{:?}", bot.public(&channel));
    bot.slash(&channel, "42", "queue", &[("action", "Resume")]).await;
    bot.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_asks_for_nothing() {
    let bot = TestBot::start(TestDb::sqlite().await, &[ADMIN]).await;
    bot.until_on_discord().await;
    let message = bot.sandbox.telegram.say(GROUP, BEN, "Ben", "just talk");
    bot.sandbox.telegram.edit(GROUP, message, "/coach what is a hook?");
    let message = bot.sandbox.telegram.say(BEN, BEN, "Ben", "/me");
    bot.drain().await;
    bot.sandbox.telegram.edit(BEN, message, "what is a hook?");
    bot.drain().await;
    assert_eq!((bot.telegram(GROUP).len(), bot.telegram(BEN).len(), bot.calls().await), (0, 1, 0));
    bot.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hides_who_they_are_is_told_once_how_to_be_heard() {
    let lists = [ADMIN, ("TELEGRAM_ACCESS", "list"), ("ALLOWED_CHANNELS", "telegram:-1001,telegram:-1002")];
    let bot = TestBot::start(TestDb::sqlite().await, &lists).await;
    for _ in 0..3 {
        bot.sandbox.telegram.say_as(-1001, -1001, "/coach what is a hook?");
        bot.sandbox.telegram.say_as(-1002, -1009, "/coach what is a hook?");
        // Small talk, and a place that is not listed.
        bot.sandbox.telegram.say_as(-1001, -1001, "hello all");
        bot.sandbox.telegram.say_as(-1003, -1003, "/coach what is a hook?");
    }
    bot.drain().await;
    let [anonymous, channel] = [-1001, -1002].map(|chat| bot.telegram(chat));
    assert_eq!((anonymous.len(), channel.len(), bot.telegram(-1003).len()), (1, 1, 0));
    has(&anonymous[0], &["I can't tell who's writing", "Remain anonymous"]);
    has(&channel[0], &["I only answer people"]);
    assert!(bot.told(-1001, BEN, "/coach what is a hook?").await.is_some());
    assert_eq!(bot.calls().await, 1);
    assert_eq!(bot.db.number("SELECT COUNT(*) FROM inbox WHERE payload LIKE '%hook%'", &[]).await, 0);
    bot.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reason_of_a_block_is_shown_as_it_was_written() {
    let sandbox = crate::bot::sandbox().await;
    let [home, _] = sandbox.discord.guilds();
    sandbox.discord.set_member(&home, MAY, &[], true);
    let here = sandbox.discord.guild_channel("here");
    let bot = TestBot::start_on(sandbox, std::sync::Arc::new(TestDb::sqlite().await), &[ADMIN]).await;
    bot.until_on_discord().await;
    let reason = "[free](http://x.y/z) **now**";
    bot.slash(&here, MAY, "block", &[("person", "<@99>"), ("reason", reason)]).await;
    for command in ["blocked", "audit"] {
        has(
            &bot.slash(&here, "42", command, &[]).await.content,
            &[if command == "audit" { reason } else { "\\[free\\](http:\u{2060}//x.y/z) \\*\\*now\\*\\*" }],
        );
        let html = format!("/{command}");
        bot.answer(ANA, &html).await;
        let shown = bot.sandbox.telegram.screen(ANA).pop().unwrap();
        assert!(shown.text.replace('\u{2060}', "").contains(reason) && !shown.html.contains("<a "), "{shown:?}");
    }
    bot.end().await;
}
