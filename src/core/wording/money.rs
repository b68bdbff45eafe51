//! Every sentence about budgets and what was spent. Pure, like its parent.

use std::fmt::Write;
use std::time::Duration;

use super::format::{about, moment, note};
use crate::core::money::{SPARING, dollars};
use crate::ids::Platform;
use crate::locale::fl;
use crate::store::budgets::{Scope, SetBudget, Span, Standing};
use crate::upstream::{Budget, BudgetOf};

/// An answer that a budget does not cover: near its end it is used up to people, but not before.
pub fn over_budget(budget: &Budget) -> String {
    refused(budget, not_enough)
}

/// A reel that a budget does not cover.
pub(super) fn over_budget_for_reel(budget: &Budget) -> String {
    refused(budget, not_enough_for_reel)
}

fn refused(budget: &Budget, not_enough: fn(BudgetOf) -> String) -> String {
    let why = match i64::from(budget.percent) < SPARING {
        true => not_enough(budget.whose),
        false => used_up(budget.whose),
    };
    format!("{why} {} {}", resets(budget), fl!("budget-still"))
}

pub(super) fn used_up(whose: BudgetOf) -> String {
    fl!("budget-used-up", scope = scope(whose))
}

pub(super) fn not_enough(whose: BudgetOf) -> String {
    fl!("budget-not-enough", scope = scope(whose))
}

pub(super) fn not_enough_for_reel(whose: BudgetOf) -> String {
    fl!("budget-not-enough-reel", scope = scope(whose))
}

fn resets(budget: &Budget) -> String {
    fl!("budget-resets", resets = moment(budget.resets_at))
}

/// The name of a budget's owner in the sentences' variants.
fn scope(whose: BudgetOf) -> &'static str {
    match whose {
        BudgetOf::Person => "person",
        BudgetOf::Chat => "chat",
        BudgetOf::Guild => "server",
        BudgetOf::Everybody => "bot",
    }
}

/// What a person has left.
pub fn me(standings: &[Standing], waiting: usize, next_reel: Duration) -> String {
    let mut lines = Vec::new();
    for standing in standings.iter().filter(|standing| matches!(standing.cap.scope, Scope::Person(_))) {
        let mut line = fl!(
            "me-budget",
            span = standing.cap.span.name(),
            left = dollars(standing.left()),
            cap = dollars(standing.cap.micro_usd),
            resets = moment(standing.budget().resets_at)
        );
        if standing.used.set_aside > 0 {
            let _ = write!(line, " {}", fl!("me-set-aside", amount = dollars(standing.used.set_aside)));
        }
        lines.push(line);
    }
    if lines.is_empty() {
        lines.push(fl!("me-no-budget"));
    }
    lines.push(fl!("me-waiting", count = waiting));
    lines.push(match next_reel.is_zero() {
        true => fl!("me-next-now"),
        false => fl!("me-next-later", wait = about(next_reel)),
    });
    lines.join("\n")
}

/// The budgets that are in force here, and those set for others.
pub fn budgets(standings: &[Standing], set: &[SetBudget]) -> String {
    let mut text = String::from("```\n");
    for standing in standings {
        let whose = match standing.cap.scope {
            Scope::Bot => "bot",
            Scope::Platform(_) => "platform",
            Scope::Guild(_) => "server",
            Scope::Chat(_) => "chat",
            Scope::Person(_) => "person",
        };
        let _ = writeln!(
            text,
            "{:<14}{:<7}{:>10} {} {:>9}  {:>3}%",
            fl!("budget-table-owner", scope = whose),
            standing.cap.span.name(),
            dollars(standing.used.spent),
            fl!("budget-table-of"),
            dollars(standing.cap.micro_usd),
            standing.percent()
        );
        if standing.used.set_aside > 0 {
            let (amount, aside) = (dollars(standing.used.set_aside), fl!("budget-table-aside"));
            let _ = writeln!(text, "{:<20}+{amount:>10} {aside}", "");
        }
    }
    text.push_str("```\n");
    for SetBudget { scope, span, micro_usd, only_lowers } in set {
        let (span, cap, budget) = (span.name(), cap(*micro_usd), budget_name(scope));
        let line = match only_lowers {
            true => fl!("budget-set-by-managers", span = span, cap = cap, budget = budget),
            false => fl!("budget-set-elsewhere", span = span, cap = cap, budget = budget),
        };
        let _ = writeln!(text, "- {line}");
    }
    if !set.is_empty() {
        text.push('\n');
    }
    text.push_str(&fl!("budget-usage"));
    text
}

/// Behind an answer of the cheaper model: a budget is nearly used up, or its rest does not cover the usual one.
pub fn sparing(standing: &Standing) -> String {
    let (budget, percent) = (standing.budget(), standing.percent());
    let scope = scope(budget.whose);
    if percent >= SPARING {
        return note(&fl!("budget-saving", scope = scope, percent = percent, resets = moment(budget.resets_at)));
    }
    note(&format!("{} {}", fl!("budget-saving-left", scope = scope), resets(&budget)))
}

/// A budget was set. `scope`: its name in the database, or `person` and an account.
pub fn budget_set(scope: &str, span: Span, micro_usd: Option<i64>) -> String {
    let budget = budget_name(scope);
    match micro_usd {
        Some(cap) => fl!("budget-set", span = span.name(), cap = dollars(cap), budget = budget),
        None => fl!("budget-set-none", span = span.name(), budget = budget),
    }
}

fn cap(micro_usd: Option<i64>) -> String {
    micro_usd.map_or_else(|| fl!("budget-no-limit"), dollars)
}

/// A budget for people, from its name in the database: `bot`, `chat`, `guild:discord:9`.
pub(super) fn budget_name(scope: &str) -> String {
    let (kind, name) = scope.split_once([':', ' ']).unwrap_or((scope, ""));
    let name = match (kind, name.parse::<Platform>()) {
        ("platform", Ok(Platform::Discord)) => "Discord",
        ("platform", Ok(Platform::Telegram)) => "Telegram",
        _ => name,
    };
    let scope = match (kind, name) {
        ("platform", "") => "each-platform",
        ("guild", "") => "each-server",
        ("chat", "") => "each-chat",
        ("person", "") => "each-person",
        ("platform", _) => "platform",
        ("guild", _) => "server",
        ("chat", _) => "chat",
        ("person", _) => "person",
        _ => "bot",
    };
    fl!("budget-name", scope = scope, name = name)
}

pub fn unclear_budget() -> String {
    fl!("budget-usage")
}

#[cfg(test)]
mod tests {
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
            budget_set("chat:discord:17", Span::Month, None),
            unclear_budget(),
            sparing(&standings[0]),
            sparing(&standings[1]),
            over_budget(&standings[0].budget()),
            over_budget_for_reel(&standings[1].budget()),
        ];
        insta::assert_snapshot!(said.join("\n---\n"));
    }
}
