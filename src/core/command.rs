//! The commands that people give, in their one text form; the platforms' own menus are made from this table.

pub mod figures;

use std::str::FromStr;

use self::figures::{Figures, Lead};
use crate::ids::{BoardId, Platform};
use crate::locale::fl;
use crate::store::access::LimitName;
use crate::store::budgets::Span;

/// A command as menus and help show it.
#[derive(Debug)]
pub struct Entry {
    pub name: &'static str,
    /// What follows the name; empty if nothing.
    pub argument: &'static str,
    /// What it does, in the menus and the help.
    pub meaning: fn() -> String,
    pub admin: bool,
}

/// Every command, in the order of the help.
pub const COMMANDS: &[Entry] = &[
    Entry { name: "coach", argument: "text", meaning: || fl!("cmd-coach"), admin: false },
    Entry { name: "reel", argument: "url", meaning: || fl!("cmd-reel"), admin: false },
    Entry { name: "queue", argument: "", meaning: || fl!("cmd-queue"), admin: false },
    Entry { name: "me", argument: "", meaning: || fl!("cmd-me"), admin: false },
    Entry { name: "cancel", argument: "", meaning: || fl!("cmd-cancel"), admin: false },
    Entry { name: "new", argument: "", meaning: || fl!("cmd-new"), admin: false },
    Entry { name: "history", argument: "", meaning: || fl!("cmd-history"), admin: false },
    Entry { name: "help", argument: "", meaning: || fl!("cmd-help"), admin: false },
    Entry { name: "usage", argument: "period", meaning: || fl!("cmd-usage"), admin: true },
    Entry { name: "cost", argument: "period", meaning: || fl!("cmd-cost"), admin: true },
    Entry { name: "budget", argument: "change", meaning: || fl!("cmd-budget"), admin: true },
    Entry { name: "capacity", argument: "", meaning: || fl!("cmd-capacity"), admin: true },
    Entry { name: "limits", argument: "change", meaning: || fl!("cmd-limits"), admin: true },
    Entry { name: "block", argument: "person reason", meaning: || fl!("cmd-block"), admin: true },
    Entry { name: "unblock", argument: "person", meaning: || fl!("cmd-unblock"), admin: true },
    Entry { name: "blocked", argument: "", meaning: || fl!("cmd-blocked"), admin: true },
    Entry { name: "invite", argument: "uses days", meaning: || fl!("cmd-invite"), admin: true },
    Entry { name: "invites", argument: "change", meaning: || fl!("cmd-invites"), admin: true },
    Entry { name: "pause", argument: "reason", meaning: || fl!("cmd-pause"), admin: true },
    Entry { name: "resume", argument: "", meaning: || fl!("cmd-resume"), admin: true },
    Entry { name: "audit", argument: "since page", meaning: || fl!("cmd-audit"), admin: true },
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
    /// The button under an apology, or under an answer that was given before: ask once more what this turn asked.
    Again(String),
    History,
    Help,
    /// With which Telegram begins, perhaps with the code of an invitation.
    Start {
        code: Option<String>,
    },
    /// What the person has used and has left.
    Me,
    /// `/usage` and `/cost`; `None`: the words behind it are not understood.
    Usage(Option<Figures>),
    Capacity,
    Budget(BudgetWish),
    Limits(LimitsWish),
    /// `None`: there is nobody in it.
    Block(Option<(Who, String)>),
    Unblock(Option<Who>),
    Blocked,
    /// `None`: not understood.
    Invite(Option<Invitation>),
    Invites(InvitesWish),
    Pause(String),
    Resume,
    /// `None`: not understood.
    Audit(Option<AuditWish>),
    Unknown(String),
}

/// Whom an admin means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// An account; without a platform, one of the platform on which it is said.
    Account(Option<Platform>, String),
    /// A name, which is nobody's own.
    Named(String),
}

/// What `/limits` is to show or set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitsWish {
    Show,
    /// `None`: as it is configured.
    Set(LimitName, Option<u32>),
    Unclear,
}

/// An invitation that an admin wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// 1 to 10,000.
    pub uses: u32,
    /// 1 to 365.
    pub days: u32,
}

/// What `/invites` is to show or take back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvitesWish {
    Show,
    /// The code, or the name that the list gives it.
    Revoke(String),
    Unclear,
}

/// Which changes `/audit` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditWish {
    /// Of the last so many days.
    pub days: Option<u32>,
    /// 1 for the latest.
    pub page: u32,
}

/// What `/budget` is to show or set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BudgetWish {
    Show,
    Set { whose: BudgetTarget, span: Span, micro_usd: Option<i64> },
    Unclear,
}

/// Whose budget is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BudgetTarget {
    Bot,
    /// Each platform, each chat, each person.
    EachPlatform,
    EachGuild,
    EachChat,
    EachPerson,
    /// The community of the chat in which it is said; a chat that belongs to none, itself.
    Here,
    /// This one person, this one Discord server.
    Person(Who),
    Guild(String),
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
            | Command::Usage(_)
            | Command::Capacity
            | Command::Budget(_)
            | Command::Limits(_)
            | Command::Block(_)
            | Command::Unblock(_)
            | Command::Blocked
            | Command::Invite(_)
            | Command::Invites(_)
            | Command::Pause(_)
            | Command::Resume
            | Command::Audit(_)
            | Command::Start { .. }
            | Command::Unknown(_) => true,
            Command::Talk(_) | Command::Reel { .. } | Command::New | Command::Again(_) => false,
        }
    }

    /// Whether the coach answers it, or a board that leads to the coach: at length, and some time later.
    pub fn asks_the_coach(&self) -> bool {
        matches!(self, Command::Talk(_) | Command::Reel { .. } | Command::Again(_))
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
            // "fresh" stands in buttons of earlier versions.
            "again" | "fresh" => Command::Again(argument.to_owned()),
            "history" => Command::History,
            "help" => Command::Help,
            "start" => Command::Start { code: argument.split_whitespace().next().map(str::to_owned) },
            "me" => Command::Me,
            "usage" => Command::Usage(Figures::read(Lead::Usage, argument)),
            "cost" => Command::Usage(Figures::read(Lead::Cost, argument)),
            "capacity" => Command::Capacity,
            "budget" => Command::Budget(budget_wish(argument)),
            "limits" => Command::Limits(limits_wish(argument)),
            "block" => Command::Block(first_person(argument)),
            "unblock" => Command::Unblock(first_person(argument).map(|(who, _)| who)),
            "blocked" => Command::Blocked,
            "invite" => Command::Invite(invitation(argument)),
            "invites" => Command::Invites(invites_wish(argument)),
            "pause" => Command::Pause(argument.to_owned()),
            "resume" => Command::Resume,
            "audit" => Command::Audit(audit_wish(argument)),
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

/// `bot month 100`, `person day 0.50`, `here month none`, `person discord:42 day 2`, `server 12 month 5`.
fn budget_wish(argument: &str) -> BudgetWish {
    let words: Vec<String> = argument.split_whitespace().map(str::to_ascii_lowercase).collect();
    let (whose, one, span, amount) = match &words[..] {
        [] => return BudgetWish::Show,
        [whose, span, amount] => (whose, None, span, amount),
        [whose, one, span, amount] => (whose, Some(one), span, amount),
        _ => return BudgetWish::Unclear,
    };
    let whose = match (whose.as_str(), one) {
        // A name at the console keeps its case.
        ("person", Some(_)) => BudgetTarget::Person(who(argument.split_whitespace().nth(1).unwrap_or_default())),
        ("server", Some(one)) => match one.strip_prefix("discord:").unwrap_or(one) {
            id if is_number(id) => BudgetTarget::Guild(id.to_owned()),
            _ => return BudgetWish::Unclear,
        },
        (_, Some(_)) => return BudgetWish::Unclear,
        (whose, None) => match whose {
            "bot" => BudgetTarget::Bot,
            "platform" => BudgetTarget::EachPlatform,
            "server" => BudgetTarget::EachGuild,
            "chat" => BudgetTarget::EachChat,
            "person" => BudgetTarget::EachPerson,
            "here" => BudgetTarget::Here,
            _ => return BudgetWish::Unclear,
        },
    };
    let span = match span.as_str() {
        "day" => Span::Day,
        "month" => Span::Month,
        _ => return BudgetWish::Unclear,
    };
    // The sums that are kept (store, budgets).
    if span == Span::Day && !matches!(whose, BudgetTarget::Bot | BudgetTarget::EachPerson | BudgetTarget::Person(_)) {
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

/// `spacing 60`, `waiting 3`, `queue default`; `line` is how `queue` was called before.
fn limits_wish(argument: &str) -> LimitsWish {
    let words: Vec<String> = argument.split_whitespace().map(str::to_ascii_lowercase).collect();
    let [name, value] = &words[..] else {
        return if words.is_empty() { LimitsWish::Show } else { LimitsWish::Unclear };
    };
    let limit = match name.as_str() {
        "spacing" => LimitName::Spacing,
        "waiting" => LimitName::Waiting,
        "queue" | "line" => LimitName::Line,
        _ => return LimitsWish::Unclear,
    };
    // The bounds that the configuration has too.
    let bounds = match limit {
        LimitName::Spacing => 0..=3600,
        LimitName::Waiting => 1..=100,
        LimitName::Line => 1..=100_000,
    };
    match (value.as_str(), value.parse()) {
        ("default", _) => LimitsWish::Set(limit, None),
        (_, Ok(value)) if bounds.contains(&value) => LimitsWish::Set(limit, Some(value)),
        _ => LimitsWish::Unclear,
    }
}

/// The person that a text begins with, and what follows.
fn first_person(argument: &str) -> Option<(Who, String)> {
    let (first, rest) = argument.split_once(char::is_whitespace).unwrap_or((argument, ""));
    (!first.is_empty()).then(|| (who(first), rest.trim().to_owned()))
}

/// `<@42>` as Discord writes a mention, `telegram:42`, `42`, `@name`.
fn who(word: &str) -> Who {
    let mention = word.strip_prefix("<@").and_then(|rest| rest.strip_suffix('>'));
    if let Some(id) = mention.map(|id| id.trim_start_matches('!')).filter(|id| is_number(id)) {
        return Who::Account(Some(Platform::Discord), id.to_owned());
    }
    if let Some((platform, account)) = word.split_once(':')
        && let Ok(platform) = platform.to_ascii_lowercase().parse::<Platform>()
        && !account.is_empty()
        && (platform == Platform::Console || is_number(account))
    {
        return Who::Account(Some(platform), account.to_owned());
    }
    if is_number(word) {
        return Who::Account(None, word.to_owned());
    }
    Who::Named(word.trim_start_matches('@').to_owned())
}

fn is_number(id: &str) -> bool {
    !id.is_empty() && id.len() <= 20 && id.bytes().all(|b| b.is_ascii_digit())
}

/// `5 14`: uses and days; 1 and 7 if they are left out.
fn invitation(argument: &str) -> Option<Invitation> {
    let mut words = argument.split_whitespace();
    let uses = words.next().map_or(Some(1), |word| word.parse().ok())?;
    let days = words.next().map_or(Some(7), |word| word.parse().ok())?;
    let fits = words.next().is_none() && (1..=10_000).contains(&uses) && (1..=365).contains(&days);
    fits.then_some(Invitation { uses, days })
}

/// `revoke k7mwx…`.
fn invites_wish(argument: &str) -> InvitesWish {
    match argument.split_whitespace().collect::<Vec<_>>()[..] {
        [] => InvitesWish::Show,
        [verb, code] if verb.eq_ignore_ascii_case("revoke") => InvitesWish::Revoke(code.to_owned()),
        _ => InvitesWish::Unclear,
    }
}

/// `7d` (the last 7 days), `2` or `page 2`, or both.
fn audit_wish(argument: &str) -> Option<AuditWish> {
    let mut wish = AuditWish { days: None, page: 1 };
    for word in argument.split_whitespace().filter(|word| !word.eq_ignore_ascii_case("page")) {
        match word.strip_suffix(['d', 'D']) {
            Some(days) => wish.days = Some(days.parse().ok().filter(|days| (1..=3650).contains(days))?),
            None => wish.page = word.parse().ok().filter(|page| (1..=10_000).contains(page))?,
        }
    }
    Some(wish)
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
            ("/again 0123abcd", Command::Again("0123abcd".into())),
            ("/start invite42", Command::Start { code: Some("invite42".into()) }),
            ("/start", Command::Start { code: None }),
            ("/limits", Command::Limits(LimitsWish::Show)),
            ("/limits spacing 60", Command::Limits(LimitsWish::Set(LimitName::Spacing, Some(60)))),
            ("/limits Line default", Command::Limits(LimitsWish::Set(LimitName::Line, None))),
            ("/limits waiting 0", Command::Limits(LimitsWish::Unclear)),
            ("/limits spacing -1", Command::Limits(LimitsWish::Unclear)),
            ("/block", Command::Block(None)),
            (
                "/block <@!42> too  loud",
                Command::Block(Some((Who::Account(Some(Platform::Discord), "42".into()), "too  loud".into()))),
            ),
            ("/block 42", Command::Block(Some((Who::Account(None, "42".into()), String::new())))),
            ("/unblock Telegram:42", Command::Unblock(Some(Who::Account(Some(Platform::Telegram), "42".into())))),
            ("/unblock @ben", Command::Unblock(Some(Who::Named("ben".into())))),
            ("/unblock mail:42", Command::Unblock(Some(Who::Named("mail:42".into())))),
            ("/blocked", Command::Blocked),
            ("/invite", Command::Invite(Some(Invitation { uses: 1, days: 7 }))),
            ("/invite 5 30", Command::Invite(Some(Invitation { uses: 5, days: 30 }))),
            ("/invite 0", Command::Invite(None)),
            ("/invite 1 2 3", Command::Invite(None)),
            ("/invites", Command::Invites(InvitesWish::Show)),
            ("/invites Revoke 0a1b2c3d", Command::Invites(InvitesWish::Revoke("0a1b2c3d".into()))),
            ("/invites revoke", Command::Invites(InvitesWish::Unclear)),
            ("/invites 5 14", Command::Invites(InvitesWish::Unclear)),
            ("/pause new keys ", Command::Pause("new keys".into())),
            ("/resume", Command::Resume),
            ("/audit", Command::Audit(Some(AuditWish { days: None, page: 1 }))),
            ("/audit 7d page 2", Command::Audit(Some(AuditWish { days: Some(7), page: 2 }))),
            ("/audit yesterday", Command::Audit(None)),
            ("/audit 0", Command::Audit(None)),
            (
                "/budget person <@42> day 2",
                Command::Budget(BudgetWish::Set {
                    whose: BudgetTarget::Person(Who::Account(Some(Platform::Discord), "42".into())),
                    span: Span::Day,
                    micro_usd: Some(2_000_000),
                }),
            ),
            (
                "/budget server discord:12 month none",
                Command::Budget(BudgetWish::Set {
                    whose: BudgetTarget::Guild("12".into()),
                    span: Span::Month,
                    micro_usd: None,
                }),
            ),
            ("/budget server here month 1", Command::Budget(BudgetWish::Unclear)),
            ("/budget chat 4 month 1", Command::Budget(BudgetWish::Unclear)),
            ("/me", Command::Me),
            ("/usage", Command::Usage(Figures::read(Lead::Usage, ""))),
            ("/Cost 7d by tool", Command::Usage(Figures::read(Lead::Cost, "7d by tool"))),
            ("/cost dance", Command::Usage(None)),
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
