//! Every sentence about budgets and what was spent. Pure, like its parent.

use std::fmt::Write;
use std::time::Duration;

use super::{filled_again, line::seconds_up, whose};
use crate::core::money::{SPARING, dollars};
use crate::store::budgets::{Scope, SetBudget, Span, Standing};

/// What a person has used and has left.
pub fn me(standings: &[Standing], waiting: usize, next_reel: Duration) -> String {
    let mut text = String::new();
    for standing in standings.iter().filter(|standing| matches!(standing.cap.scope, Scope::Person(_))) {
        let span = match standing.cap.span {
            Span::Day => "Today",
            Span::Month => "This month",
        };
        let aside = match standing.used.set_aside {
            ..=0 => String::new(),
            set_aside => format!(" ({} set aside for what I'm working on)", dollars(set_aside)),
        };
        let _ = writeln!(
            text,
            "**{span}** you have used {} of {}: {} left{aside} until {}.",
            dollars(standing.used.spent),
            dollars(standing.cap.micro_usd),
            dollars(standing.left()),
            filled_again(&standing.budget())
        );
    }
    if text.is_empty() {
        text.push_str("There is no limit to what you may use.\n");
    }
    let _ = match waiting {
        0 => writeln!(text, "You have no reel waiting."),
        1 => writeln!(text, "One reel of yours is waiting: `/queue` says where."),
        many => writeln!(text, "{many} reels of yours are waiting: `/queue` says where."),
    };
    let _ = match next_reel.is_zero() {
        true => write!(text, "A new reel can start at once."),
        false => write!(text, "Your next new reel can start in {} s.", seconds_up(next_reel)),
    };
    text
}

/// The budgets that are in force here, and those set for others.
pub fn budgets(standings: &[Standing], set: &[SetBudget]) -> String {
    let mut text = String::from("```\n");
    for standing in standings {
        let whose = match standing.cap.scope {
            Scope::Bot => "the bot",
            Scope::Platform(_) => "this platform",
            Scope::Guild(_) => "this server",
            Scope::Chat(_) => "this chat",
            Scope::Person(_) => "you",
        };
        let _ = writeln!(
            text,
            "{whose:<14}{:<7}{:>10} of {:>9}  {:>3}%",
            standing.cap.span.name(),
            dollars(standing.used.spent),
            dollars(standing.cap.micro_usd),
            standing.percent()
        );
        if standing.used.set_aside > 0 {
            let _ = writeln!(text, "{:<20}+{:>10} set aside", "", dollars(standing.used.set_aside));
        }
    }
    text.push_str("```\n");
    for SetBudget { scope, span, micro_usd, only_lowers } in set {
        let amount = micro_usd.map_or("no limit".into(), dollars);
        let by = if *only_lowers { " by its managers" } else { "" };
        let _ = writeln!(text, "- set in chat{by}: {scope}, {}: {amount}", span.name());
    }
    text.push_str("`/budget bot month 100`: whose (bot, platform, server, chat, person, here, or one: person telegram:42, server 12), day or month, dollars or none.");
    text
}

/// Behind an answer of the cheaper model: a budget is nearly used up, or its rest does not cover the usual one.
pub fn sparing(standing: &Standing) -> String {
    let (whose, percent, again) = (whose(&standing.budget()), standing.percent(), filled_again(&standing.budget()));
    if percent >= SPARING {
        return format!("*{percent}% of {whose} is used: I answer more simply until {again}.*");
    }
    format!(
        "*I answered more simply: what is left of {whose} does not cover my usual way. It is filled again on {again}.*"
    )
}

pub fn budget_set(scope: &str, span: Span, micro_usd: Option<i64>) -> String {
    let amount = micro_usd.map_or("no limit".into(), dollars);
    format!("From now on: {scope}, {}: {amount}.", span.name())
}

pub fn unclear_budget() -> String {
    "Give whose budget, day or month, and dollars or none: `/budget bot month 100`, `/budget person day 0.50`, `/budget here month none`, `/budget person telegram:42 day 2`. Platforms, servers and chats have months only.".into()
}

#[cfg(test)]
mod tests {
    use super::super::over_budget;
    use super::*;
    use crate::clock::Timestamp;
    use crate::ids::PersonId;
    use crate::store::budgets::{Amount, Cap};

    #[test]
    fn sentences() {
        let person: PersonId = "0192f5e2b3c47d5e8f901234567890ab".parse().unwrap();
        let standing = |scope, span, micro_usd, spent| Standing {
            cap: Cap { scope, span, micro_usd },
            used: Amount { spent, set_aside: spent / 1_000 },
            resets_at: Timestamp(1_795_564_800_000),
        };
        let standings = [
            standing(Scope::Bot, Span::Month, 100_000_000, 87_654_321),
            standing(Scope::Person(person), Span::Day, 1_000_000, 123_456),
        ];
        let said = [
            me(&standings, 0, Duration::ZERO),
            me(&[], 2, Duration::from_millis(1_001)),
            budgets(
                &standings,
                &[("chat:discord:17", None, false), ("guild:discord:9", Some(4_000_000), true)].map(
                    |(scope, micro_usd, only_lowers)| SetBudget {
                        scope: scope.into(),
                        span: Span::Month,
                        micro_usd,
                        only_lowers,
                    },
                ),
            ),
            budget_set("person", Span::Day, Some(500_000)),
            unclear_budget(),
            sparing(&standings[0]),
            sparing(&standings[1]),
            over_budget(&standings[0].budget(), "an answer to this"),
            over_budget(&standings[1].budget(), "an answer to this"),
        ];
        insta::assert_snapshot!(said.join("\n---\n"));
    }
}
