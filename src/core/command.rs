//! The commands that people give, in their one text form; the platforms' own menus are made from this table.

use std::str::FromStr;

use crate::ids::BoardId;
use crate::store::budgets::Span;

/// A command as menus and help show it.
#[derive(Debug)]
pub struct Entry {
    pub name: &'static str,
    /// What follows the name; empty if nothing.
    pub argument: &'static str,
    pub meaning: &'static str,
    pub admin: bool,
}

/// Every command, in the order of the help.
pub const COMMANDS: &[Entry] = &[
    Entry { name: "coach", argument: "text", meaning: "Ask the coach", admin: false },
    Entry { name: "reel", argument: "url", meaning: "Have a reel read and coached", admin: false },
    Entry { name: "queue", argument: "", meaning: "Where your reels are in the line", admin: false },
    Entry { name: "me", argument: "", meaning: "What you have used, and what is left", admin: false },
    Entry { name: "cancel", argument: "", meaning: "Take back the reels you wait for", admin: false },
    Entry { name: "new", argument: "", meaning: "Begin a new conversation", admin: false },
    Entry { name: "history", argument: "", meaning: "What the coach remembers of this conversation", admin: false },
    Entry { name: "help", argument: "", meaning: "What the coach can do", admin: false },
    Entry { name: "usage", argument: "", meaning: "Usage and cost by model (admins)", admin: true },
    Entry { name: "budget", argument: "change", meaning: "Budgets: see them, or set one (admins)", admin: true },
    Entry {
        name: "capacity",
        argument: "",
        meaning: "How loaded each part is, and what to change (admins)",
        admin: true,
    },
    Entry { name: "audit", argument: "", meaning: "What admins have changed (admins)", admin: true },
];

/// Whether this is a command's name, whatever its case; `start` is the one with which Telegram begins.
pub fn is_known(name: &str) -> bool {
    name.eq_ignore_ascii_case("start") || COMMANDS.iter().any(|entry| entry.name.eq_ignore_ascii_case(name))
}

/// What a text asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// No command, or `/coach`: something to talk about.
    Talk(String),
    /// `/reel`: there should be a link in it. `fresh`: read anew, whatever is known of it.
    Reel {
        text: String,
        fresh: bool,
    },
    Queue(QueueWish),
    Cancel(CancelWish),
    New,
    History,
    /// `/help`, and `/start` with which Telegram begins.
    Help,
    /// What the person has used and has left.
    Me,
    Usage,
    Capacity,
    Budget(BudgetWish),
    Audit,
    Unknown(String),
}

/// What `/budget` is to show or set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BudgetWish {
    Show,
    Set { whose: BudgetTarget, span: Span, micro_usd: Option<i64> },
    Unclear,
}

/// Whose budget is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BudgetTarget {
    Bot,
    /// Each platform, each chat, each person.
    EachPlatform,
    EachGuild,
    EachChat,
    EachPerson,
    /// The community of the chat in which it is said; a chat that belongs to none, itself.
    Here,
}

/// What `/queue` is to show or do. All but showing is for admins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueWish {
    Show,
    /// One lane, or all of them.
    Pause(Option<String>),
    Resume(Option<String>),
    /// Take no new reel.
    Drain,
    Unclear,
}

/// What `/cancel` takes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CancelWish {
    /// All the person's own.
    Everything,
    /// Of one board: its button.
    Board(BoardId),
    /// One reel, by link or shortcode.
    Reel(String),
}

impl Command {
    /// Whether it is answered at once, beside the talk: what only looks, and what stops something, does not wait for an
    /// answer that is being written.
    pub fn is_aside(&self) -> bool {
        match self {
            Command::Queue(_)
            | Command::Cancel(_)
            | Command::History
            | Command::Help
            | Command::Me
            | Command::Usage
            | Command::Capacity
            | Command::Budget(_)
            | Command::Audit
            | Command::Unknown(_) => true,
            Command::Talk(_) | Command::Reel { .. } | Command::New => false,
        }
    }

    /// Reads a text. Only a first word that begins with `/` and a letter makes a command.
    pub fn read(text: &str) -> Command {
        let text = text.trim();
        let Some(rest) = text.strip_prefix('/').filter(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic()))
        else {
            return Command::Talk(text.to_owned());
        };
        let (name, argument) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let argument = argument.trim();
        match name.to_ascii_lowercase().as_str() {
            "coach" => Command::Talk(argument.to_owned()),
            "reel" => reel(argument),
            "queue" => Command::Queue(queue_wish(argument)),
            "cancel" => Command::Cancel(match BoardId::from_str(argument) {
                Ok(board) => CancelWish::Board(board),
                Err(_) if argument.is_empty() => CancelWish::Everything,
                Err(_) => CancelWish::Reel(argument.to_owned()),
            }),
            "new" => Command::New,
            "history" => Command::History,
            "help" | "start" => Command::Help,
            "me" => Command::Me,
            "usage" => Command::Usage,
            "capacity" => Command::Capacity,
            "budget" => Command::Budget(budget_wish(argument)),
            "audit" => Command::Audit,
            // A path or a fraction is not a command.
            name if name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') => Command::Unknown(name.to_owned()),
            _ => Command::Talk(text.to_owned()),
        }
    }
}

/// `fresh:true` as Discord shows its option, or just `fresh`, behind the link.
fn reel(argument: &str) -> Command {
    let fresh = ["fresh:true", "fresh"].iter().find_map(|word| {
        let text = argument.strip_suffix(word)?;
        text.ends_with(char::is_whitespace).then(|| text.trim_end())
    });
    Command::Reel { text: fresh.unwrap_or(argument).to_owned(), fresh: fresh.is_some() }
}

/// `bot month 100`, `person day 0.50`, `here month none`.
fn budget_wish(argument: &str) -> BudgetWish {
    let words: Vec<String> = argument.split_whitespace().map(str::to_ascii_lowercase).collect();
    let [whose, span, amount] = &words[..] else {
        return if words.is_empty() { BudgetWish::Show } else { BudgetWish::Unclear };
    };
    let whose = match whose.as_str() {
        "bot" => BudgetTarget::Bot,
        "platform" => BudgetTarget::EachPlatform,
        "server" => BudgetTarget::EachGuild,
        "chat" => BudgetTarget::EachChat,
        "person" => BudgetTarget::EachPerson,
        "here" => BudgetTarget::Here,
        _ => return BudgetWish::Unclear,
    };
    let span = match span.as_str() {
        "day" => Span::Day,
        "month" => Span::Month,
        _ => return BudgetWish::Unclear,
    };
    // The sums that are kept (store, budgets).
    if span == Span::Day && !matches!(whose, BudgetTarget::Bot | BudgetTarget::EachPerson) {
        return BudgetWish::Unclear;
    }
    let micro_usd = match amount.trim_start_matches('$') {
        "none" => None,
        amount => match amount.parse::<f64>() {
            Ok(usd) if (0.0..=1e6).contains(&usd) => Some((usd * 1e6).round() as i64),
            _ => return BudgetWish::Unclear,
        },
    };
    BudgetWish::Set { whose, span, micro_usd }
}

fn queue_wish(argument: &str) -> QueueWish {
    let mut words = argument.split_whitespace();
    let (verb, lane, more) = (words.next(), words.next().map(str::to_owned), words.next());
    match (verb.map(str::to_ascii_lowercase).as_deref(), more) {
        (None, _) => QueueWish::Show,
        (Some("pause"), None) => QueueWish::Pause(lane),
        (Some("resume"), None) => QueueWish::Resume(lane),
        (Some("drain"), None) if lane.is_none() => QueueWish::Drain,
        _ => QueueWish::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let board = BoardId::new();
        let cases = [
            ("hi there", Command::Talk("hi there".into())),
            ("/coach  my hook ", Command::Talk("my hook".into())),
            ("/REEL https://x", Command::Reel { text: "https://x".into(), fresh: false }),
            ("/cancel", Command::Cancel(CancelWish::Everything)),
            (&format!("/cancel {board}"), Command::Cancel(CancelWish::Board(board))),
            ("/cancel DLlGZiCOBQ0", Command::Cancel(CancelWish::Reel("DLlGZiCOBQ0".into()))),
            ("/reel https://x.y fresh:true", Command::Reel { text: "https://x.y".into(), fresh: true }),
            ("/reel https://x.y fresh", Command::Reel { text: "https://x.y".into(), fresh: true }),
            ("/reel https://x.y/refresh", Command::Reel { text: "https://x.y/refresh".into(), fresh: false }),
            ("/queue", Command::Queue(QueueWish::Show)),
            ("/queue Pause", Command::Queue(QueueWish::Pause(None))),
            ("/queue resume n8n:0", Command::Queue(QueueWish::Resume(Some("n8n:0".into())))),
            ("/queue drain", Command::Queue(QueueWish::Drain)),
            ("/queue dance", Command::Queue(QueueWish::Unclear)),
            ("/start invite42", Command::Help),
            ("/me", Command::Me),
            ("/budget", Command::Budget(BudgetWish::Show)),
            (
                "/budget Bot month $12.50",
                Command::Budget(BudgetWish::Set {
                    whose: BudgetTarget::Bot,
                    span: Span::Month,
                    micro_usd: Some(12_500_000),
                }),
            ),
            (
                "/budget here month none",
                Command::Budget(BudgetWish::Set { whose: BudgetTarget::Here, span: Span::Month, micro_usd: None }),
            ),
            ("/budget here day 1", Command::Budget(BudgetWish::Unclear)),
            ("/budget bot month -1", Command::Budget(BudgetWish::Unclear)),
            ("/budget bot month NaN", Command::Budget(BudgetWish::Unclear)),
            ("/budget everything", Command::Budget(BudgetWish::Unclear)),
            ("/dance", Command::Unknown("dance".into())),
            ("/usr/bin/env is a path", Command::Talk("/usr/bin/env is a path".into())),
            ("/ hm", Command::Talk("/ hm".into())),
            ("1/2", Command::Talk("1/2".into())),
        ];
        for (text, wanted) in cases {
            assert_eq!(Command::read(text), wanted, "{text}");
        }
    }

    #[test]
    fn the_table_and_the_reader_agree() {
        for entry in COMMANDS {
            assert!(!matches!(Command::read(&format!("/{}", entry.name)), Command::Unknown(_)), "{}", entry.name);
        }
    }
}
