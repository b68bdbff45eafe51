//! Who may use the bot and who runs it, through the whole bot on Telegram and on Discord.

mod table;
mod ways;

use reelcoach::ids::{GuildId, Platform};
use sandbox::discord::{Disconnect, Shown};

use crate::bot::TestBot;
use crate::reels::link;
use crate::support::TestDb;

const ANA: i64 = 42;
const BEN: i64 = 43;
const ADMIN: (&str, &str) = ("ADMIN_IDS", "telegram:42,discord:42");
/// On Discord.
const MAY: &str = "77";
const NOOR: &str = "99";

impl TestBot {
    /// What the bot answers to this on Telegram, once nothing is owed; `None` if it says nothing.
    async fn told(&self, chat: i64, who: i64, text: &str) -> Option<String> {
        let before = self.telegram(chat).len();
        self.sandbox.telegram.say(chat, who, "Somebody", text);
        self.drain().await;
        let said = self.telegram(chat);
        assert!(said.len() <= before + 1, "{said:?}");
        said.into_iter().nth(before)
    }

    /// The same, where there must be an answer.
    async fn answer(&self, who: i64, text: &str) -> String {
        self.told(who, who, text).await.unwrap_or_else(|| panic!("no answer to {text}"))
    }

    /// The answer to a slash command.
    async fn slash(&self, channel: &str, user: &str, command: &str, options: &[(&str, &str)]) -> Shown {
        let before = self.said_in(channel).len();
        self.sandbox.discord.slash(channel, user, "P", command, options).unwrap();
        self.until(&format!("/{command} is answered"), async || {
            self.said_in(channel).len() > before && self.store.is_idle().await.unwrap()
        })
        .await;
        self.said_in(channel).into_iter().nth(before).unwrap()
    }

    /// Says something in a Discord channel, then makes sure that all of it was heard: an admin's `/help` comes behind.
    async fn heard(&self, channel: &str, user: &str, text: &str) {
        self.sandbox.discord.say(channel, user, "P", text);
        let dm = self.sandbox.discord.dm("42");
        let before = self.said_in(&dm).len();
        self.sandbox.discord.say(&dm, "42", "Ana", "/help");
        self.until("it was heard", async || self.said_in(&dm).len() > before && self.store.is_idle().await.unwrap())
            .await;
    }

    fn mention(&self, text: &str) -> String {
        format!("<@{}> {text}", self.sandbox.discord.bot().0)
    }

    async fn calls(&self) -> i64 {
        self.db.number("SELECT COUNT(*) FROM ledger", &[]).await
    }
}

fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// The code in an answer to `/invite`.
fn code(answer: &str) -> String {
    answer.rsplit("/start ").next().unwrap().trim_matches(['`', '\n']).to_owned()
}

on_both! {
    async fn an_invitation_lets_people_in_and_they_stay(db: TestDb) {
        let bot = TestBot::start(db, &[ADMIN, ("TELEGRAM_ACCESS", "invite")]).await;
        has(&bot.answer(BEN, "hello").await, &["This bot is invite-only"]);
        assert_eq!(bot.told(BEN, BEN, "hello? what is a hook?").await, None, "once a day");
        assert_eq!(bot.told(BEN, BEN, &link("DLlGZiCOBQ0")).await, None);
        has(&bot.answer(BEN, "/start nonsense").await, &["This invitation doesn't work"]);
        assert_eq!(bot.calls().await, 0);
        let kept = "SELECT COUNT(*) FROM inbox WHERE payload LIKE '%hook%' OR payload LIKE '%DLlGZ%'";
        assert_eq!(bot.db.number(kept, &[]).await, 0);
        assert_eq!(bot.db.number("SELECT COUNT(*) FROM accounts WHERE name LIKE 'Some%'", &[]).await, 0);

        let made = bot.answer(ANA, "/invite 2 14").await;
        has(&made, &["for 2 people", "https://t.me/", "?start="]);
        let code = code(&made);
        assert_eq!(code.len(), 16, "{made}");
        has(&bot.answer(ANA, "/invite 0").await, &["How many people"]);
        assert_eq!(bot.told(-100, BEN, &format!("/start {code}")).await, None, "not among people");
        has(&bot.answer(BEN, &format!("/start {code}")).await, &["Hi! I'm a coach for creators", "/reel", "/help"]);
        has(&bot.answer(BEN, &format!("/start {code}")).await, &["Hi! I'm a coach"]);
        assert!(!bot.answer(BEN, "what is a hook?").await.contains("invitation"));
        assert_eq!(bot.calls().await, 1);
        has(&bot.answer(44, &format!("/start {}", code.to_uppercase())).await, &["Hi! I'm a coach"]);
        has(&bot.answer(45, &format!("/start {code}")).await, &["This invitation doesn't work"]);
        assert_eq!(bot.db.number("SELECT uses_left FROM invites", &[]).await, 0);
        let plain = format!("SELECT COUNT(*) FROM inbox WHERE payload LIKE '%{code}%'");
        assert_eq!(bot.db.number(&plain, &[]).await, 0, "the code is nowhere");
        has(&bot.answer(ANA, "/audit").await, &["made an invitation: uses 2, days 14"]);
        bot.end().await;
    }

    async fn invitations_are_listed_and_one_that_is_revoked_admits_nobody_more(db: TestDb) {
        let bot = TestBot::start(db, &[ADMIN, ("TELEGRAM_ACCESS", "invite")]).await;
        has(&bot.answer(ANA, "/invites").await, &["There are no open invitations."]);
        let first = code(&bot.answer(ANA, "/invite 3 14").await);
        let second = code(&bot.answer(ANA, "/invite 1 7").await);
        has(&bot.answer(BEN, &format!("/start {first}")).await, &["Hi! I'm a coach"]);
        let listed = bot.answer(ANA, "/invites").await;
        has(&listed, &["2 uses left, until 20", "1 use left, until 20", "by telegram:42"]);
        assert!(!listed.contains(&first) && !listed.contains(&second), "codes are not kept: {listed}");
        has(&bot.answer(ANA, "/invites revoke nonsense").await, &["No open invitation has that name or code."]);
        has(&bot.answer(ANA, "/invites revoke").await, &["lists open invitations"]);

        // By its code, in any case.
        has(&bot.answer(ANA, &format!("/invites revoke {}", first.to_uppercase())).await, &["no longer works"]);
        has(&bot.answer(44, &format!("/start {first}")).await, &["This invitation doesn't work"]);
        assert!(!bot.answer(BEN, "what is a hook?").await.contains("invitation"), "who came in stays");
        has(&bot.answer(ANA, &format!("/invites revoke {first}")).await, &["No open invitation"]);
        // By the name in the list.
        let listed = bot.answer(ANA, "/invites").await;
        let name = listed.split_whitespace().nth(1).unwrap().trim_matches(['`', ':']).to_owned();
        assert_eq!(name.len(), 8, "{listed}");
        has(&bot.answer(ANA, &format!("/invites revoke {name}")).await, &[&format!("Invitation {name} no longer works")]);
        has(&bot.answer(44, &format!("/start {second}")).await, &["This invitation doesn't work"]);
        has(&bot.answer(ANA, "/invites").await, &["There are no open invitations."]);
        has(&bot.answer(ANA, "/audit").await, &[&format!("revoked the invitation {name}: uses left 1"), "uses left 2"]);
        bot.end().await;
    }

    async fn a_blocked_person_is_told_once_and_their_reels_are_cancelled(db: TestDb) {
        let bot = TestBot::start(db, &[ADMIN, ("REEL_LANES", "1")]).await;
        has(&bot.answer(ANA, "/queue pause").await, &["Paused"]);
        bot.sandbox.telegram.say(BEN, BEN, "Ben", &link("DWAITING001"));
        bot.until("the board is there", async || bot.telegram(BEN).len() == 1).await;
        bot.sandbox.telegram.say(44, 44, "Cleo", &link("DWAITING001"));
        bot.until("the other board is there", async || bot.telegram(44).len() == 1).await;
        let board = bot.sandbox.telegram.screen(BEN).into_iter().find(|shown| shown.from_bot).unwrap();
        let button = board.buttons[0].1.clone();
        bot.sandbox.telegram.say(ANA, ANA, "Ana", "/block 43 too loud");
        bot.until("Ben is told", async || bot.telegram(BEN)[0].contains("You no longer have access to this bot")).await;
        bot.until("Ana is told", async || bot.telegram(ANA).len() == 2).await;
        has(&bot.telegram(ANA)[1], &["Blocked: telegram:43", "Their waiting reel was cancelled"]);
        has(&bot.telegram(BEN)[0], &["cancelled"]);
        for _ in 0..2 {
            has(
                &bot.notice(BEN, BEN, board.message_id, &button).await,
                &["You don't have access to this bot: its admins have blocked you"],
            );
        }
        bot.sandbox.telegram.say(BEN, BEN, "Ben", "hello?");
        bot.until("the message was refused", async || bot.telegram(BEN).len() == 2).await;
        has(&bot.telegram(BEN)[1], &["You don't have access to this bot: its admins have blocked you"]);
        bot.sandbox.telegram.say(BEN, BEN, "Ben", "hello??");
        bot.sandbox.telegram.say(ANA, ANA, "Ana", "/queue resume");
        bot.drain().await;
        assert_eq!(bot.telegram(BEN).len(), 2, "{:?}", bot.telegram(BEN));
        has(&bot.telegram(44)[0], &["Hook"]);
        has(&bot.answer(ANA, "/blocked").await, &["telegram:43", "too loud"]);
        has(&bot.answer(ANA, "/limits").await, &["One person is blocked"]);
        has(&bot.answer(ANA, "/block 42").await, &["You can't block them"]);
        has(&bot.answer(ANA, "/block @Cleo").await, &["Use the ID", "telegram:44"]);
        has(&bot.answer(ANA, "/block").await, &["Name a person"]);
        has(&bot.answer(ANA, "/unblock telegram:43").await, &["has access again"]);
        has(&bot.answer(ANA, "/unblock telegram:43").await, &["wasn't blocked"]);
        assert!(!bot.answer(BEN, "what is a hook?").await.contains("blocked"));
        has(&bot.answer(ANA, "/audit").await, &["blocked telegram:43: too loud", "unblocked telegram:43"]);
        bot.end().await;
    }

    async fn the_whole_bot_pauses_and_goes_on(db: TestDb) {
        let bot = TestBot::start(db, &[ADMIN]).await;
        has(&bot.answer(ANA, "/pause new keys").await, &["Paused."]);
        has(&bot.answer(BEN, "what is a hook?").await, &["I'm taking a break (new keys)"]);
        has(&bot.answer(BEN, &link("DLlGZiCOBQ0")).await, &["I'm taking a break"]);
        has(&bot.answer(BEN, "/me").await, &["Your ID here is telegram:43."]);
        assert_eq!(bot.calls().await, 0);
        assert!(!bot.answer(ANA, "what is a hook?").await.contains("break"), "admins are served");
        bot.sandbox.telegram.say(ANA, ANA, "Ana", &link("DLlGZiCOBQ0"));
        bot.until("it waits", async || bot.telegram(ANA).last().unwrap().contains("you keep your position")).await;
        assert_eq!(bot.scrapes(), 0);
        bot.sandbox.telegram.say(ANA, ANA, "Ana", "/resume");
        bot.drain().await;
        assert!(bot.telegram(ANA).iter().any(|text| text == "Resumed."));
        assert!(bot.telegram(ANA).iter().any(|text| text.contains("Hook")));
        has(&bot.answer(ANA, "/resume").await, &["I wasn't paused"]);
        has(&bot.answer(ANA, "/audit 1d").await, &["paused the bot: new keys", "let the bot go on"]);
        bot.end().await;
    }

    async fn limits_are_set_at_run_time(db: TestDb) {
        let bot = TestBot::start(db, &[ADMIN, ("REEL_INTERVAL_SECONDS", "30")]).await;
        has(&bot.answer(ANA, "/limits").await, &["spacing  one new reel every 30 s", "waiting  5", "queue    500"]);
        has(&bot.answer(ANA, "/limits spacing 7").await, &["Done: one new reel every 7 s per person."]);
        has(&bot.answer(ANA, "/limits waiting 1").await, &["Done: up to 1 new reel may wait per person."]);
        has(&bot.answer(ANA, "/limits waiting 0").await, &["Name a limit and a number"]);
        has(&bot.answer(BEN, "/me").await, &["One new reel every 7 s, up to 1 waiting", "0 messages, 0 reels"]);
        has(&bot.answer(BEN, "/help").await, &["every 7 s"]);
        bot.answer(ANA, "/queue pause").await;
        let two = format!("{} {}", link("DWAITING001"), link("DWAITING002"));
        bot.sandbox.telegram.say(BEN, BEN, "Ben", &two);
        bot.until("one waits, one is denied", async || bot.telegram(BEN).last().unwrap().contains("DWAITING002")).await;
        has(bot.telegram(BEN).last().unwrap(), &["DWAITING002:"]);
        assert_eq!(bot.db.number("SELECT COUNT(*) FROM jobs", &[]).await, 1);
        bot.sandbox.telegram.say(ANA, ANA, "Ana", "/limits spacing default");
        bot.sandbox.telegram.say(ANA, ANA, "Ana", "/queue resume");
        bot.drain().await;
        has(&bot.answer(ANA, "/limits").await, &["spacing  one new reel every 30 s per person", "waiting  1 new reel may wait per person  (set in chat)"]);
        has(&bot.answer(ANA, "/audit").await, &["limit spacing: 7", "limit spacing: as configured"]);
        bot.end().await;
    }

    async fn who_is_no_admin_is_refused_and_an_admin_in_a_group_goes_elsewhere(db: TestDb) {
        let bot = TestBot::start(db, &[ADMIN]).await;
        let wishes = [
            "/usage", "/budget", "/budget bot month 1", "/limits", "/limits spacing 1", "/block 42", "/unblock 42", "/blocked",
            "/invite", "/invites", "/invites revoke 0a1b2c3d", "/pause", "/resume", "/audit",
        ];
        for wish in wishes {
            has(&bot.answer(BEN, wish).await, &["Only the bot's admins"]);
            has(&bot.told(-100, ANA, wish).await.unwrap(), &["in a direct message"]);
        }
        assert_eq!(bot.db.number("SELECT COUNT(*) FROM audit", &[]).await, 0);
        assert_eq!(bot.store.pause().await.unwrap(), None);
        bot.end().await;
    }

    async fn a_person_gets_a_budget_of_their_own_and_sees_when_most_of_it_is_used(db: TestDb) {
        let bot = TestBot::start(db, &[ADMIN]).await;
        bot.answer(BEN, "/me").await;
        has(&bot.answer(ANA, "/budget person 43 day 2").await, &["Done: $2.00 a day for telegram:43."]);
        has(&bot.answer(BEN, "/me").await, &[" of $2.00"]);
        assert!(!bot.answer(44, "/me").await.contains("$2.00"));
        bot.answer(BEN, "What is a hook?").await;
        bot.db.execute("UPDATE spending SET micro_usd = 1599990 WHERE scope LIKE 'person:%' AND LENGTH(period) = 10").await;
        let crossed = bot.answer(BEN, "And a call to action?").await;
        has(&crossed, &["You've used 80% of today's budget"]);
        // From here on the cheaper model answers and says so itself.
        let sparing = bot.answer(BEN, "And a caption?").await;
        assert!(sparing.contains("shorter and simpler") && !sparing.contains("today's budget"), "{sparing}");
        bot.db.execute("UPDATE spending SET micro_usd = 1599990 WHERE scope LIKE 'person:%' AND LENGTH(period) = 10").await;
        let again = bot.answer(BEN, "And pacing?").await;
        assert!(!again.contains("today's budget"), "once a day: {again}");
        bot.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_groups_and_blocks_of_the_configuration_on_telegram() {
    let lists = [
        ADMIN,
        ("TELEGRAM_ACCESS", "list"),
        ("ALLOWED_PEOPLE", "telegram:43"),
        ("ALLOWED_CHANNELS", "telegram:-100"),
        ("BLOCKED_PEOPLE", "telegram:66"),
    ];
    let bot = TestBot::start(TestDb::sqlite().await, &lists).await;
    assert!(bot.told(BEN, BEN, "what is a hook?").await.is_some_and(|text| !text.contains("This bot is private")));
    has(&bot.answer(44, "what is a hook?").await, &["This bot is private"]);
    has(&bot.answer(66, "what is a hook?").await, &["its admins have blocked you"]);
    assert!(bot.told(-100, 44, "/coach what is a hook?").await.is_some(), "in a listed group");
    assert_eq!(bot.told(-100, 66, "/coach what is a hook?").await, None);
    assert_eq!(bot.told(-101, BEN, "/coach what is a hook?").await, None, "it does not speak there");
    has(&bot.told(-101, ANA, "/help").await.unwrap(), &["I'll watch it and coach you"]);
    has(&bot.answer(BEN, "/start").await, &["Hi! I'm a coach"]);
    bot.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_channels_and_roles_on_discord() {
    let db = TestDb::sqlite().await;
    let start = crate::bot::sandbox().await;
    let [home, _] = start.discord.guilds();
    let open = start.discord.guild_channel("open");
    let closed = start.discord.guild_channel("closed");
    let elsewhere = start.discord.other_guild_channel("elsewhere");
    start.discord.set_member(&home, MAY, &[5], false);
    start.discord.set_member(&home, "66", &[5, 6], false);
    let lists = [
        ADMIN,
        ("DISCORD_ACCESS", "list"),
        ("ALLOWED_GUILDS", home.as_str()),
        ("ALLOWED_CHANNELS", &format!("discord:{open}")),
        ("ALLOWED_ROLES", "5"),
        ("BLOCKED_ROLES", "6"),
        ("OVERHEARD_REELS", "true"),
    ];
    let bot = TestBot::start_on(start, std::sync::Arc::new(db), &lists).await;
    bot.until_on_discord().await;
    bot.heard(&open, MAY, &bot.mention("what is a hook?")).await;
    assert_eq!(bot.said_in(&open).len(), 1);
    let thread = bot.sandbox.discord.thread(&open, "my hooks");
    bot.heard(&thread, MAY, &bot.mention("what is a hook?")).await;
    assert_eq!(bot.said_in(&thread).len(), 1, "a thread is its channel");
    // Without the role, with the blocked one, in another channel, in another server: not a word.
    let paid = bot.calls().await;
    for (channel, user) in [(&open, NOOR), (&open, "66"), (&closed, MAY), (&elsewhere, MAY)] {
        let before = bot.said_in(channel).len();
        bot.heard(channel, user, &bot.mention("what is a hook?")).await;
        bot.heard(channel, user, &link("DLlGZiCOBQ0")).await;
        assert_eq!(bot.said_in(channel).len(), before, "{user}");
    }
    assert_eq!(bot.calls().await, paid);
    assert_eq!(bot.scrapes(), 0);
    // A slash command is told why, for its asker's eyes.
    for (channel, user, why) in [
        (&closed, MAY, format!("Try <#{open}>.")),
        (&elsewhere, MAY, "I'm not set up to talk here.".to_owned()),
        (&open, NOOR, "This bot is private.".to_owned()),
        (&open, "66", "You don't have access to this bot in this server.".to_owned()),
    ] {
        let told = bot.slash(channel, user, "coach", &[("text", "what is a hook?")]).await;
        assert!(told.ephemeral, "{told:?}");
        has(&told.content, &[&why]);
    }
    assert_eq!(bot.calls().await, paid);
    let dm = bot.sandbox.discord.dm(MAY);
    bot.heard(&dm, MAY, "what is a hook?").await;
    has(&bot.said_in(&dm)[0].content, &["This bot is private"]);
    bot.heard(&dm, MAY, "what is a hook?").await;
    assert_eq!(bot.said_in(&dm).len(), 1, "once a day");
    bot.heard(&open, MAY, &link("DLlGZiCOBQ0")).await;
    assert_eq!(bot.scrapes(), 1, "an overheard link of who may");
    bot.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_manages_a_server_sees_and_touches_that_one_alone() {
    let sandbox = crate::bot::sandbox().await;
    let [home, other] = sandbox.discord.guilds();
    sandbox.discord.set_member(&home, MAY, &[], true);
    let here = sandbox.discord.guild_channel("here");
    let there = sandbox.discord.other_guild_channel("there");
    let db = std::sync::Arc::new(TestDb::sqlite().await);
    let bot = TestBot::start_on(sandbox, db, &[ADMIN, ("BUDGET_GUILD_MONTH_USD", "5")]).await;
    bot.until_on_discord().await;
    bot.heard(&here, NOOR, &bot.mention("what is a hook?")).await;
    bot.heard(&there, NOOR, &bot.mention("what is a story?")).await;
    bot.heard(&there, NOOR, &bot.mention("and a caption?")).await;

    let usage = bot.slash(&here, MAY, "usage", &[]).await;
    assert!(usage.ephemeral);
    has(&usage.content, &["in 1 paid call"]);
    has(&bot.slash(&here, "42", "usage", &[]).await.content, &["in 3 paid calls"]);
    for (channel, user) in [(&there, MAY), (&here, NOOR)] {
        for command in ["usage", "budget", "limits", "blocked", "audit"] {
            has(&bot.slash(channel, user, command, &[]).await.content, &["Only the bot's admins"]);
        }
    }
    has(&bot.slash(&here, MAY, "budget", &[("change", "here month 50")]).await.content, &["only lower", "$5.00"]);
    has(&bot.slash(&here, MAY, "budget", &[("change", "here month none")]).await.content, &["only lower"]);
    has(
        &bot.slash(&here, MAY, "budget", &[("change", "here month 4")]).await.content,
        &["Done: $4.00 a month for server"],
    );
    for change in ["bot month 1", "person <@99> day 1", &format!("server {other} month 1")] {
        has(&bot.slash(&here, MAY, "budget", &[("change", change)]).await.content, &["this server's budget"]);
    }
    let shown = bot.slash(&here, MAY, "budget", &[]).await.content;
    assert!(shown.contains("$4.00") && !shown.contains("the bot"), "{shown}");
    for (command, options) in [
        ("pause", &[][..]),
        ("resume", &[]),
        ("invite", &[]),
        ("invites", &[("revoke", "0a1b2c3d")]),
        ("limits", &[("change", "spacing 1")]),
    ] {
        has(&bot.slash(&here, MAY, command, options).await.content, &["only its own admins"]);
    }
    assert_eq!(bot.store.pause().await.unwrap(), None);

    let noor = &[("person", "<@99>"), ("reason", "spam")][..];
    has(&bot.slash(&here, MAY, "block", noor).await.content, &["Blocked in this server: `discord:99`"]);
    has(&bot.slash(&here, MAY, "block", &[("person", "telegram:43")]).await.content, &["I don't know who"]);
    has(&bot.slash(&here, MAY, "block", &[("person", "<@42>")]).await.content, &["You can't block them"]);
    let (before, elsewhere) = (bot.said_in(&here).len(), bot.said_in(&there).len());
    bot.heard(&here, NOOR, &bot.mention("hello?")).await;
    assert_eq!(bot.said_in(&here).len(), before, "silence");
    bot.heard(&there, NOOR, &bot.mention("hello?")).await;
    assert_eq!(bot.said_in(&there).len(), elsewhere + 1, "the other server is not concerned");
    let told = bot.slash(&here, NOOR, "help", &[]).await;
    has(&told.content, &["You don't have access to this bot in this server"]);

    let guild = GuildId::new(Platform::Discord, other.as_str());
    let noor = bot.store.known(Platform::Discord, NOOR, None).await.unwrap().person.unwrap();
    bot.store
        .block(noor, Some(&guild), "theirs", "discord:1", "", reelcoach::clock::Clock::System.now())
        .await
        .unwrap();
    let blocked = bot.slash(&here, MAY, "blocked", &[]).await.content;
    assert!(blocked.contains("spam") && !blocked.contains("theirs"), "{blocked}");
    has(&bot.slash(&here, MAY, "unblock", &[("person", "99")]).await.content, &["has access again in this server"]);
    has(&bot.slash(&here, MAY, "unblock", &[("person", "99")]).await.content, &["wasn't blocked in this server"]);
    assert!(bot.store.known(Platform::Discord, NOOR, Some(&guild)).await.unwrap().blocked_here, "theirs stays");
    // Who runs the bot lifts what a manager has set.
    has(&bot.slash(&here, "42", "unblock", &[("person", "99")]).await.content, &["has access again"]);
    assert!(!bot.store.known(Platform::Discord, NOOR, Some(&guild)).await.unwrap().blocked_here);

    has(&bot.slash(&here, "42", "limits", &[("change", "spacing 1")]).await.content, &["Done: "]);
    let audit = bot.slash(&here, MAY, "audit", &[]).await.content;
    assert!(audit.contains("blocked discord:99: spam") && audit.contains("budget of guild"), "{audit}");
    assert!(!audit.contains("limit spacing"), "the bot's own changes are not theirs to see: {audit}");
    has(
        &bot.slash(&here, "42", "audit", &[("days", "7")]).await.content,
        &["limit spacing: 1", "unblocked discord:99"],
    );
    bot.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_button_of_a_blocked_person_does_nothing_in_a_server() {
    let bot = TestBot::start(TestDb::sqlite().await, &[ADMIN, ("REEL_LANES", "1")]).await;
    bot.until_on_discord().await;
    let channel = bot.sandbox.discord.guild_channel("coach");
    bot.slash(&channel, "42", "queue", &[("action", "Pause")]).await;
    for user in [NOOR, MAY] {
        bot.sandbox.discord.slash(&channel, user, "P", "reel", &[("url", &link("DWAITING001"))]).unwrap();
    }
    bot.until("both boards are there", async || {
        bot.said_in(&channel).iter().filter(|shown| !shown.buttons.is_empty()).count() == 2
    })
    .await;
    bot.sandbox.discord.slash(&channel, "42", "Ana", "block", &[("person", NOOR)]).unwrap();
    bot.until("the reel is cancelled", async || {
        bot.said_in(&channel).iter().any(|shown| !shown.ephemeral && shown.content == "Cancelled.")
    })
    .await;
    let board = bot.said_in(&channel).into_iter().find(|shown| !shown.buttons.is_empty()).unwrap();
    let (_, cancel) = board.buttons[0].clone();
    bot.sandbox.discord.press(&channel, NOOR, "Noor", &board.id, &cancel).unwrap();
    bot.sandbox.discord.slash(&channel, "42", "Ana", "queue", &[("action", "Resume")]).unwrap();
    bot.drain().await;
    let said = bot.said_in(&channel);
    assert!(said.iter().any(|shown| shown.content.contains("Hook")), "the other one's is read: {said:?}");
    let told: Vec<_> = said.iter().filter(|shown| shown.content.contains("blocked you")).collect();
    assert!(told.len() == 1 && told[0].ephemeral, "whoever pressed alone: {told:?}");
    let public = said.iter().filter(|shown| !shown.ephemeral);
    assert!(public.into_iter().all(|shown| !shown.content.contains("cannot use")), "nobody else reads why: {said:?}");
    bot.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_gap_roles_are_asked_for() {
    let sandbox = crate::bot::sandbox().await;
    let [home, _] = sandbox.discord.guilds();
    sandbox.discord.set_member(&home, MAY, &[5], false);
    let channel = sandbox.discord.guild_channel("open");
    let lists = [ADMIN, ("DISCORD_ACCESS", "list"), ("ALLOWED_GUILDS", home.as_str()), ("ALLOWED_ROLES", "5")];
    let bot = TestBot::start_on(sandbox, std::sync::Arc::new(TestDb::sqlite().await), &lists).await;
    bot.until_on_discord().await;
    let thread = bot.sandbox.discord.thread(&channel, "hooks");
    bot.heard(&thread, MAY, &bot.mention("what is a hook?")).await;
    bot.sandbox.discord.disconnect(Disconnect::Invalidate);
    // In this order, so that whoever is answered last was not alone.
    bot.sandbox.discord.say(&thread, NOOR, "Noor", &bot.mention("what is a caption?"));
    bot.sandbox.discord.say(&thread, MAY, "May", &bot.mention("and a caption?"));
    bot.until("it was read again", async || {
        bot.said_in(&thread).len() > 1 && bot.sandbox.discord.is_connected() && bot.store.is_idle().await.unwrap()
    })
    .await;
    assert_eq!(bot.said_in(&thread).len(), 2, "only who has the role is answered");
    assert_eq!(bot.sandbox.discord.control.count(&format!("/guilds/{home}/members/{NOOR}")), 1);
    bot.end().await;
}
