//! By which of its words an answer is recognised on a screen, for whoever checks what people were shown. The sentences
//! take the words from the same messages (`mark-…`), so that they cannot part. Pure, like its parent.

use std::fmt::Display;

use super::money::{not_enough, not_enough_for_reel, used_up};
use crate::locale::fl;
use crate::telemetry::Reference;
use crate::upstream::BudgetOf;

/// A failure's reference, as every sentence tells it.
pub(super) fn reference(reference: impl Display) -> String {
    fl!("mark-reference", reference = reference.to_string())
}

/// Whether this ends in an apology: something failed, or too many were waiting.
pub fn is_apology(text: &str) -> bool {
    let before = reference("");
    let follows = |(at, mark): (usize, &str)| Reference::begins(&text[at + mark.len()..]);
    [fl!("mark-crowded"), fl!("mark-daily-quota"), fl!("mark-overloaded")].iter().any(|mark| text.contains(mark))
        || text.match_indices(&before).any(follows)
}

/// Whether this says that a budget does not cover an answer, or a reel.
pub fn is_refusal(text: &str) -> bool {
    text.contains(&fl!("mark-still")) || text.contains(&fl!("mark-other-payer"))
}

/// Whose budget does not cover an answer, where its beginning says so.
pub fn refused_for(text: &str) -> Option<BudgetOf> {
    let says = |of: &BudgetOf| {
        [used_up(*of), not_enough(*of), not_enough_for_reel(*of)].iter().any(|sentence| text.contains(sentence))
    };
    [BudgetOf::Person, BudgetOf::Chat, BudgetOf::Guild, BudgetOf::Everybody].into_iter().find(says)
}

/// Whether this tells somebody that they send too many messages.
pub fn is_too_fast(text: &str) -> bool {
    text.contains(&fl!("mark-too-fast"))
}

/// Whether this says of itself that it may be there twice.
pub fn is_repeated(text: &str) -> bool {
    text.contains(&fl!("mark-repeated"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::*;
    use super::*;
    use crate::clock::Timestamp;
    use crate::core::reels::KnownFailure;
    use crate::core::reels::pipeline::ReelFailure;
    use crate::store::budgets::{Amount, Cap, Scope, Span, Standing};
    use crate::upstream::{Budget, Cause};

    #[test]
    fn answers_are_told_apart_by_their_words() {
        let budget = |of: BudgetOf, percent| Budget { whose: of, percent, resets_at: Timestamp(1_795_564_800_000) };
        let everybody = [BudgetOf::Person, BudgetOf::Chat, BudgetOf::Guild, BudgetOf::Everybody];
        let budgets = everybody.iter().flat_map(|of| [budget(*of, 10), budget(*of, 95)]);
        let budgets: Vec<Budget> = budgets.collect();
        let refusals =
            budgets.iter().flat_map(|budget| [over_budget(budget), reel_failure(&ReelFailure::OverBudget(*budget))]);
        for refusal in refusals {
            assert!(is_refusal(&refusal) && !is_apology(&refusal), "{refusal}");
        }
        for budget in &budgets {
            assert_eq!(refused_for(&over_budget(budget)), Some(budget.whose));
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
            late(),
            length_limit(),
        ];
        for answer in answers {
            assert!(!is_apology(&answer) && !is_refusal(&answer) && !is_repeated(&answer), "{answer}");
        }
        assert!(is_repeated(&format!("Done.\n\n{}", maybe_repeated())));
    }
}
