//! By which of its words an answer is recognised on a screen, for whoever checks what people were shown. The sentences
//! take the words from here, so that they cannot part. Pure, like its parent.

use std::fmt::Display;

use crate::telemetry::Reference;
use crate::upstream::BudgetOf;

/// Before the reference of a failure.
const REFERENCE: &str = "reference ";

/// In the refusal of a call that a budget does not cover.
pub(super) const STILL: &str = "Until then I still answer from what I know";

/// Before the budget that does not cover an answer.
pub(super) const LEFT: &str = "What is left of ";

/// In place of a reel whose budget is not that of whoever reads this.
pub(super) const OF_ANOTHER: &str = "the budget of who asked for it first";

/// In place of an answer, or of its rest, for which too many are waiting.
pub(super) const CROWDED: &str = "Nothing was started: please ask again in";

/// In place of an answer that the service refuses until its next day.
pub(super) const DAILY: &str = "I've used up today's allowance at the AI service.";

/// In place of an answer that the service refuses for less than a day.
pub(super) const OVERLOADED: &str = "The AI service is overloaded right now.";

/// In an answer that may be on a screen twice.
pub(super) const TWICE: &str = "If you see this twice";

/// In what somebody is told who sends too many messages.
pub(super) const TOO_FAST: &str = "You're sending faster than I can answer";

/// A failure's reference, as every sentence tells it.
pub(super) fn reference(reference: impl Display) -> String {
    format!("{REFERENCE}{reference}")
}

/// Whether this ends in an apology: something failed, or too many were waiting.
pub fn is_apology(text: &str) -> bool {
    let follows = |(at, mark): (usize, &str)| Reference::begins(&text[at + mark.len()..]);
    [CROWDED, DAILY, OVERLOADED].iter().any(|mark| text.contains(mark)) || text.match_indices(REFERENCE).any(follows)
}

/// Whether this says that a budget does not cover an answer, or a reel.
pub fn is_refusal(text: &str) -> bool {
    text.contains(STILL) || text.contains(OF_ANOTHER)
}

/// Whose budget does not cover an answer, where its beginning says so.
pub fn refused_for(text: &str) -> Option<BudgetOf> {
    let says = |of: &BudgetOf| text.contains(used_up(*of)) || text.contains(&format!("{LEFT}{} ", budget_of(*of)));
    [BudgetOf::Person, BudgetOf::Chat, BudgetOf::Guild, BudgetOf::Everybody].into_iter().find(says)
}

/// A budget that is used up.
pub(super) fn used_up(of: BudgetOf) -> &'static str {
    match of {
        BudgetOf::Person => "You have used up your budget",
        BudgetOf::Chat => "The budget of this chat is used up",
        BudgetOf::Guild => "The budget of this server is used up",
        BudgetOf::Everybody => "My budget is used up",
    }
}

/// A budget, in a sentence.
pub(super) fn budget_of(of: BudgetOf) -> &'static str {
    match of {
        BudgetOf::Person => "your budget",
        BudgetOf::Chat => "this chat's budget",
        BudgetOf::Guild => "this server's budget",
        BudgetOf::Everybody => "my budget",
    }
}

/// Whether this tells somebody that they send too many messages.
pub fn is_too_fast(text: &str) -> bool {
    text.contains(TOO_FAST)
}

/// Whether this says of itself that it may be there twice.
pub fn is_repeated(text: &str) -> bool {
    text.contains(TWICE)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::*;
    use super::*;
    use crate::store::budgets::{Amount, Cap, Scope, Span, Standing};

    #[test]
    fn answers_are_told_apart_by_their_words() {
        let budget = |of: BudgetOf, percent| Budget { whose: of, percent, resets_at: Timestamp(1_795_564_800_000) };
        let everybody = [BudgetOf::Person, BudgetOf::Chat, BudgetOf::Guild, BudgetOf::Everybody];
        let budgets = everybody.iter().flat_map(|of| [budget(*of, 10), budget(*of, 95)]);
        let budgets: Vec<Budget> = budgets.collect();
        let refusals = budgets
            .iter()
            .flat_map(|budget| [over_budget(budget, "it"), reel_failure(&ReelFailure::OverBudget(*budget))]);
        for refusal in refusals {
            assert!(is_refusal(&refusal) && !is_apology(&refusal), "{refusal}");
        }
        for budget in &budgets {
            assert_eq!(refused_for(&over_budget(budget, "it")), Some(budget.whose));
        }
        assert_eq!(refused_for("Your budget of 20 dollars buys a lamp."), None);
        let reference = Reference::new();
        let remembered = KnownFailure { failure: ReelFailure::UpstreamBusy, reference: Some(reference.to_string()) };
        let now = Timestamp(1_795_500_000_000);
        let crowded = [150, 3_600, 86_400].map(|seconds| Cause::Crowded { again_in: Duration::from_secs(seconds) });
        let day = Cause::RateLimited { retry_after: Some(Duration::from_secs(86_400)) };
        let causes = [Cause::TimedOut, Cause::Blocked, day].into_iter().chain(crowded).collect::<Vec<_>>();
        let broken = causes.iter().map(|cause| broke_off(cause, &reference, now));
        let apologies = causes
            .iter()
            .map(|cause| failure(cause, &reference, now))
            .chain(broken)
            .chain([internal_failure(&reference), known_failure(&serde_json::to_string(&remembered).unwrap())]);
        for apology in apologies {
            assert!(is_apology(&apology) && !is_refusal(&apology), "{apology}");
        }
        let standing = Standing {
            cap: Cap { scope: Scope::Bot, span: Span::Day, micro_usd: 100 },
            used: Amount { spent: 85, set_aside: 0 },
            resets_at: Timestamp(1_795_564_800_000),
        };
        let answers = [
            "Film against the light, for reference see the first take.".to_owned(),
            reel_failure(&ReelFailure::Unavailable),
            sparing(&standing),
            help(true, Duration::from_secs(30)),
            late().to_owned(),
            length_limit(),
        ];
        for answer in answers {
            assert!(!is_apology(&answer) && !is_refusal(&answer) && !is_repeated(&answer), "{answer}");
        }
        assert!(is_repeated(&format!("Done.\n\n{}", maybe_repeated())));
    }
}
