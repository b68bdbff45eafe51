//! Conversations of twenty turns: how much of what the model is sent comes from the provider's prompt cache, what they
//! cost, and what they would have cost without it.

use std::time::Duration;

use reelcoach::clock::{Clock, Timestamp};
use reelcoach::core::money::{Prices, dollars};
use reelcoach::store::Store;
use reelcoach::upstream::Usage;
use sandbox::{Sandbox, Settings};
use serde_json::{Value, json};

use crate::database::{Database, Outcome};
use crate::process::Bot;
use crate::{Found, until};

/// Of the input tokens, read from the cache at least.
const CACHED: f64 = 0.8;

const TURNS: usize = 20;

/// What people do in a conversation.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// They ask and tell, in a sentence or two.
    Talk,
    /// They paste whole scripts.
    Scripts,
    /// Every fourth question needs a tool.
    Tools,
    /// Three reels, and questions about them.
    Reels,
}

const KINDS: [(Kind, &str); 4] = [
    (Kind::Talk, "questions of a sentence or two"),
    (Kind::Scripts, "every third message is a script"),
    (Kind::Tools, "every fourth question needs a tool"),
    (Kind::Reels, "three reels, and questions about them"),
];

/// A call as the ledger has it: model, tokens, price.
type Row = (String, i64, i64, i64, i64, i64);

#[derive(Default)]
struct Sums {
    calls: usize,
    input: u64,
    cached: u64,
    written: u64,
    cost: i64,
    without: i64,
}

impl Sums {
    fn add(&mut self, row: &Row, prices: &Prices, now: Timestamp) -> Outcome<()> {
        let (model, input, cached, written, output, cost) = row;
        let count = |count: &i64| u64::try_from(*count);
        let usage = Usage { input_tokens: count(input)?, output_tokens: count(output)?, ..Usage::default() };
        self.calls += 1;
        self.input += count(input)?;
        self.cached += count(cached)?;
        self.written += count(written)?;
        self.cost += cost;
        self.without += prices.cost(model, &usage, now)?;
        Ok(())
    }

    fn share(&self) -> f64 {
        self.cached as f64 / self.input.max(1) as f64
    }
}

pub async fn run(quick: bool) -> Outcome<Found> {
    let each = if quick { 1 } else { 6 };
    println!(
        "Cache: {each} conversations of {TURNS} turns of each kind, summaries of long ones among the calls, with the built-in\n\
         persona, the usual models and HISTORY_CHARS. The stand-in reads and writes its cache as documented for GPT-5.6 and\n\
         later; a token is five characters. Costs are those of one conversation's model calls, without reels."
    );
    let sandbox = Sandbox::start(Settings { port: 0, speed: f64::INFINITY, enforce_limits: false }).await?;
    let folder = tempfile::tempdir()?;
    let mut database = Database::make(folder.path(), None, "cache").await?;
    let mut variables = sandbox.environment();
    let own = [
        ("DATABASE_URL", database.url.as_str()),
        ("MERGE_WINDOW_MS", "0"),
        ("REEL_INTERVAL_SECONDS", "0"),
        ("TELEGRAM_PER_SECOND", "10000"),
        ("TELEGRAM_PER_CHAT", "1000"),
        ("MESSAGES_PER_MINUTE", "0"),
        ("BUDGET_MONTH_USD", "none"),
        ("BUDGET_PERSON_DAY_USD", "none"),
        ("BUDGET_PERSON_MONTH_USD", "none"),
    ];
    variables.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let _bot = Bot::start(folder.path(), variables).await?;
    let store = Store::open(&database.url, 2).await?;
    for turn in 0..TURNS {
        for (kind, chat) in chats(each) {
            sandbox.telegram.say(chat, chat, "Ana Lima", &message(kind, usize::try_from(chat)?, turn));
        }
        until("a turn is over", Duration::from_secs(120), async || {
            Ok(sandbox.telegram.pending() == 0 && store.is_idle().await?)
        })
        .await?;
    }
    // The summary of a long conversation is made when its answer is out.
    let charged = || sandbox.openai.charged();
    let ledger = "SELECT COUNT(*) FROM ledger WHERE provider = 'openai'";
    until("the ledger has every call", Duration::from_secs(30), async || {
        tokio::time::sleep(Duration::from_millis(300)).await;
        Ok(usize::try_from(database.number(ledger).await?)? == charged().len())
    })
    .await?;

    let (prices, now) = (Prices::built_in(), Clock::System.now());
    println!(
        "  kind                                   calls    input tokens   cached  written      cost  without    saved"
    );
    let (mut figures, mut broken, mut all) = (Vec::new(), Vec::new(), Sums::default());
    for (kind, name) in KINDS {
        let mut sums = Sums::default();
        for (_, chat) in chats(each).filter(|(of, _)| *of == kind) {
            let rows: Vec<Row> = database
                .rows(format!(
                    "SELECT model, input_tokens, cached_tokens, cache_write_tokens, output_tokens, micro_usd FROM ledger \
                     WHERE provider = 'openai' AND chat = 'telegram:{chat}'"
                ))
                .await?;
            for row in &rows {
                sums.add(row, &prices, now)?;
                all.add(row, &prices, now)?;
            }
        }
        figures.push(show(name, &sums, each));
        if sums.share() < CACHED {
            broken.push(format!("cache, {name}: {:.1} % of the input was cached, promised 80 %", sums.share() * 100.0));
        }
    }
    figures.push(show("all", &all, each * i64::try_from(KINDS.len())?));
    let said = chats(each).filter(|(_, chat)| answers(&sandbox, *chat) < TURNS).count();
    if said > 0 {
        broken.push(format!("cache: {said} conversations have fewer answers than questions"));
    }
    // By the stand-in's own account.
    let mut wanted = 0;
    for call in charged() {
        let usage = Usage {
            input_tokens: call.usage.input,
            cached_tokens: call.usage.cached,
            cache_write_tokens: call.usage.cache_write,
            output_tokens: call.usage.output,
            ..Usage::default()
        };
        wanted += prices.cost(&call.model, &usage, now)?;
    }
    let booked = database
        .number("SELECT CAST(COALESCE(SUM(micro_usd), 0) AS BIGINT) FROM ledger WHERE provider = 'openai'")
        .await?;
    println!("  The ledger's sum is {}, what the stand-in charged is {}.", micro(booked), micro(wanted));
    if booked != wanted || all.cost != wanted {
        broken.push(format!("cache: the ledger has {booked} micro-USD, the calls were worth {wanted}"));
    }
    store.close().await;
    Ok(Found { figures: json!({"kinds": figures, "ledger_micro_usd": booked, "charged_micro_usd": wanted}), broken })
}

fn show(name: &str, sums: &Sums, conversations: i64) -> Value {
    let each = |micro_usd: i64| dollars(micro_usd / conversations);
    let saved = 1.0 - sums.cost as f64 / sums.without.max(1) as f64;
    let written = sums.written as f64 / sums.input.max(1) as f64;
    println!(
        "  {name:<38} {:>5} {:>15} {:>6.1} % {:>6.1} % {:>9} {:>8} {:>6.1} %",
        sums.calls,
        sums.input,
        sums.share() * 100.0,
        written * 100.0,
        each(sums.cost),
        each(sums.without),
        saved * 100.0
    );
    json!({"kind": name, "conversations": conversations, "calls": sums.calls, "input_tokens": sums.input,
        "cached_tokens": sums.cached, "cache_write_tokens": sums.written, "cached_share": sums.share(),
        "micro_usd": sums.cost, "without_cache_micro_usd": sums.without, "saved_share": saved})
}

fn micro(micro_usd: i64) -> String {
    format!("${}.{:06}", micro_usd / 1_000_000, micro_usd % 1_000_000)
}

/// The chats of each kind, by number.
fn chats(each: i64) -> impl Iterator<Item = (Kind, i64)> {
    KINDS.into_iter().zip(1..).flat_map(move |((kind, _), at)| (0..each).map(move |n| (kind, at * 100 + n)))
}

/// Messages of the bot in a chat that are not the beginning of one.
fn answers(sandbox: &Sandbox, chat: i64) -> usize {
    sandbox.telegram.screen(chat).iter().filter(|shown| shown.from_bot && !shown.text.ends_with('▌')).count()
}

fn message(kind: Kind, chat: usize, turn: usize) -> String {
    let question = QUESTIONS[(turn + chat) % QUESTIONS.len()];
    match kind {
        Kind::Scripts if turn % 3 == 1 => {
            format!("Here is my script, please mark what to cut.\n\n{}", SCRIPT.repeat(4))
        }
        Kind::Tools if turn % 8 == 3 => "How long do I still wait in the queue?".to_owned(),
        Kind::Tools if turn % 8 == 7 => "Which of my reels do you have?".to_owned(),
        Kind::Reels if [2, 8, 14].contains(&turn) => {
            format!("https://www.instagram.com/reel/DQ{:09}/ what do you think?", chat * 100 + turn)
        }
        _ => question.to_owned(),
    }
}

const QUESTIONS: [&str; 10] = [
    "How do I open a reel about sourdough so that people stay?",
    "My videos get many views in the first hour and then nothing. What am I doing wrong, and where should I look first?",
    "I bake in a small kitchen and I film with my phone on a tripod. Can you write me three hooks for a reel about a starter that died?",
    "Make the second one shorter.",
    "How often should I post if I have one evening a week for it? I would rather make few good ones than many bad ones.",
    "What would a good caption for that be?",
    "A friend says that I have to speak faster, another one says slower. People from abroad watch me too, so I am not sure.",
    "And the call to action?",
    "I have 1,200 followers, mostly women over forty who bake on weekends. Which of the ideas so far fits them best, and why?",
    "Thanks! What do I do next?",
];

const SCRIPT: &str = "Hi everyone, welcome back to my kitchen. Today I want to show you something that I get asked about all the time. \
    So, as you can see, this is my starter, and it has been standing here for about two weeks now, and to be honest I forgot it. \
    It smells like nail polish, there is some grey water on top, and most people would throw it away at this point. But wait. \
    I take one spoon of it, just one, and I put it into a clean glass with fifty grams of flour and fifty grams of water. \
    Then I stir, I close it, and I leave it on the window for a day. And look what happens the next morning. Bubbles! ";
