//! A crowd before the platforms' published limits: many people in one Discord channel and as many in Telegram's direct
//! messages ask at once; the stand-ins refuse what is too much, as the services would.

use std::time::{Duration, Instant};

use sandbox::Settings;
use serde_json::json;

use crate::bot::{Bot, link, until};
use crate::database::Outcome;
use crate::{Found, at};

/// A reel takes 1.5 s; two lanes.
const SPEED: f64 = 5.0;
/// At the end of a text that is still growing.
const CURSOR: char = '▌';

/// What one person sees: how many messages of the bot, their edits, and whether the answer is there.
struct Seen {
    messages: usize,
    edits: usize,
    answered: bool,
}

pub async fn run(quick: bool) -> Outcome<Found> {
    let people = if quick { 30 } else { 200 };
    println!(
        "Boards: {people} people in one Discord channel (5 sends and 5 edits in 5 s) and {people} in Telegram's direct messages\n\
         (30 a second in all, 1 a second in each) ask for {} different reels at once; 1.5 s a reel, 2 lanes.",
        people * 2
    );
    let bot = Bot::start(Settings { port: 0, speed: SPEED, enforce_limits: true }, None, &[]).await?;
    let sandbox = &bot.sandbox;
    let channel = sandbox.discord.guild_channel("reels");
    let (bot_user, _) = sandbox.discord.bot();
    let began = Instant::now();
    let mut asked = Vec::new();
    for person in 0..people {
        let text = format!("<@{bot_user}> {}", link(person));
        asked.push(sandbox.discord.say(&channel, &(1000 + person).to_string(), "Person", &text));
        let chat = i64::try_from(person)? + 1;
        sandbox.telegram.say(chat, chat, "Person", &link(people + person));
    }
    let look = || {
        let discord = on_discord(&bot, &channel, &asked);
        let telegram = (0..people).map(|person| on_telegram(&bot, person as i64 + 1)).collect::<Vec<_>>();
        (discord, telegram)
    };
    let mut done: [Option<Duration>; 2] = [None, None];
    let patience = Duration::from_secs(if quick { 300 } else { 1200 });
    let all = until("everybody sees their answer", patience, async || {
        tokio::time::sleep(Duration::from_millis(450)).await;
        let (discord, telegram) = look();
        for (done, seen) in done.iter_mut().zip([&discord, &telegram]) {
            if done.is_none() && seen.iter().all(|seen| seen.answered) {
                *done = Some(began.elapsed());
            }
        }
        Ok(done.iter().all(Option::is_some))
    })
    .await;
    let mut broken: Vec<String> = all.err().map(|error| format!("boards: {error}")).into_iter().collect();
    let (discord, telegram) = look();
    let mut figures = json!({"people": people * 2});
    let refused = [sandbox.discord.control.refused(), sandbox.telegram.control.refused()];
    for ((name, seen), (done, refused)) in
        [("Discord", discord), ("Telegram", telegram)].into_iter().zip(done.into_iter().zip(refused))
    {
        let answered = seen.iter().filter(|seen| seen.answered).count();
        let extra: usize = seen.iter().map(|seen| seen.messages.saturating_sub(1)).sum();
        let mut edits: Vec<usize> = seen.iter().map(|seen| seen.edits).collect();
        edits.sort_unstable();
        let mean = edits.iter().sum::<usize>() as f64 / edits.len().max(1) as f64;
        let took = done.map_or("-".to_owned(), |done| format!("{:.0} s", done.as_secs_f64()));
        println!(
            "  {name:<9} answered {answered} of {people}   after {took}   429: {refused}   edits a person: mean {mean:.1}, median {}, most {}   \
             messages beyond one: {extra}",
            at(&edits, 0.5),
            at(&edits, 1.0)
        );
        figures[name] = json!({"answered": answered, "seconds": done.map(|done| done.as_secs_f64()), "refused": refused,
            "edits_mean": mean, "edits_median": at(&edits, 0.5), "edits_most": at(&edits, 1.0), "messages_beyond_one": extra});
        if refused > 0 {
            broken.push(format!("boards: {name} had to refuse {refused} requests, promised 0"));
        }
        if answered < people {
            broken.push(format!("boards: {answered} of {people} on {name} see their answer"));
        }
    }
    bot.end().await?;
    Ok(Found { figures, broken })
}

fn on_discord(bot: &Bot, channel: &str, asked: &[String]) -> Vec<Seen> {
    let screen = bot.sandbox.discord.screen(channel);
    let mut to: std::collections::HashMap<&str, Vec<&_>> = std::collections::HashMap::new();
    for shown in screen.iter().filter(|shown| shown.from_bot) {
        to.entry(shown.reply_to.as_deref().unwrap_or_default()).or_default().push(shown);
    }
    let seen = |message: &String| {
        let shown = to.get(message.as_str()).map(Vec::as_slice).unwrap_or_default();
        Seen {
            messages: shown.len(),
            edits: shown.iter().map(|shown| shown.edits as usize).sum(),
            answered: shown.iter().any(|shown| is_answer(&shown.content)),
        }
    };
    asked.iter().map(seen).collect()
}

fn on_telegram(bot: &Bot, chat: i64) -> Seen {
    let shown: Vec<_> = bot.sandbox.telegram.screen(chat).into_iter().filter(|shown| shown.from_bot).collect();
    Seen {
        messages: shown.len(),
        edits: shown.iter().map(|shown| shown.edits).sum(),
        answered: shown.iter().any(|shown| is_answer(&shown.text)),
    }
}

/// The sandbox's coach speaks of a reel's hook, and no board does.
fn is_answer(text: &str) -> bool {
    text.contains("Hook") && !text.ends_with(CURSOR)
}
