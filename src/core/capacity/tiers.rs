//! What an OpenAI usage tier allows. Owns the table; which tier an account has, and what it allows today, is told by the
//! account's limits page and by the `x-ratelimit-*` headers of each answer.
//!
//! Requests a minute are assumed for tier 2 and of scriptbyai.com (2025) for the others; tokens a minute of gpt-5 and
//! gpt-5-mini by simonwillison.net (2025-09-12), of mini models for all small ones; the month's spending limit and what must have
//! been paid by the help pages of July 2026. None of it is published for the gpt-6 models.

/// Limits of one tier for one model; `None`: no limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tier {
    /// 1 to 5; 0 for limits given by hand.
    pub number: u8,
    pub requests_a_minute: Option<f64>,
    pub tokens_a_minute: Option<f64>,
    /// Not a limit of OpenAI's for single calls: its 3,000,000 are the batch queue's.
    pub tokens_a_day: Option<f64>,
    /// Micro-USD.
    pub spending_a_month: Option<i64>,
    /// Micro-USD that must have been paid in all.
    pub paid_before: i64,
    /// The minute that the first two are counted over.
    pub minute_ms: i64,
}

/// Requests, thousands of tokens, of small models, spending, paid before (USD).
const TABLE: [(u32, u32, u32, u32, u32); 5] = [
    (500, 500, 500, 100, 5),
    (5_000, 1_000, 2_000, 500, 50),
    (5_000, 2_000, 4_000, 1_000, 100),
    (10_000, 4_000, 10_000, 5_000, 250),
    (15_000, 40_000, 180_000, 200_000, 1_000),
];

impl Tier {
    /// The highest there is.
    pub const LAST: u8 = 5;

    /// Tier `number` (1 to 5, others are taken as the nearest) for a model.
    pub fn of(number: u8, model: &str) -> Tier {
        let number = number.clamp(1, Tier::LAST);
        let (requests, tokens, small, spending, paid) = TABLE[usize::from(number) - 1];
        let is_small = ["mini", "nano", "luna"].iter().any(|name| model.contains(name));
        Tier {
            number,
            requests_a_minute: Some(f64::from(requests)),
            tokens_a_minute: Some(1000.0 * f64::from(if is_small { small } else { tokens })),
            tokens_a_day: None,
            spending_a_month: Some(1_000_000 * i64::from(spending)),
            paid_before: 1_000_000 * i64::from(paid),
            minute_ms: 60_000,
        }
    }

    /// The tier whose limits these are, for this model or for the large ones that the limits were told of; then its limits
    /// for this model, as its answers tell them. Limits that no tier has stand as they are, numbered 0, with the spending
    /// limit of the lowest tier that allows as much.
    pub fn allowing(requests_a_minute: u64, tokens_a_minute: u64, model: &str) -> Tier {
        let (requests, tokens) = (requests_a_minute as f64, tokens_a_minute as f64);
        let all = |model| (1..=Tier::LAST).map(move |number| Tier::of(number, model));
        let is_it = |tier: &Tier| tier.requests_a_minute == Some(requests) && tier.tokens_a_minute == Some(tokens);
        if let Some(tier) = all(model).chain(all("")).find(is_it) {
            return Tier::of(tier.number, model);
        }
        let allows = |tier: &Tier| tier.requests_a_minute >= Some(requests) && tier.tokens_a_minute >= Some(tokens);
        let nearest = all(model).find(allows).unwrap_or(Tier::of(Tier::LAST, model));
        Tier { number: 0, requests_a_minute: Some(requests), tokens_a_minute: Some(tokens), ..nearest }
    }

    /// Nothing is limited.
    pub fn unlimited() -> Tier {
        Tier {
            number: 0,
            requests_a_minute: None,
            tokens_a_minute: None,
            tokens_a_day: None,
            spending_a_month: None,
            paid_before: 0,
            minute_ms: 60_000,
        }
    }

    pub(super) fn compressed(self, factor: f64) -> Tier {
        Tier { minute_ms: ((self.minute_ms as f64 / factor) as i64).max(1), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiers_grow_and_small_models_have_more() {
        for number in 1..Tier::LAST {
            let (low, high) = (Tier::of(number, "gpt-6.1-sol"), Tier::of(number + 1, "gpt-6.1-sol"));
            assert!(low.requests_a_minute <= high.requests_a_minute && low.tokens_a_minute < high.tokens_a_minute);
            assert!(low.spending_a_month < high.spending_a_month);
            assert!(Tier::of(number, "gpt-6-luna").tokens_a_minute >= low.tokens_a_minute);
        }
        assert_eq!((Tier::of(0, "x").number, Tier::of(9, "x").number), (1, 5));
    }

    #[test]
    fn limits_that_are_configured_are_a_tiers_or_their_own() {
        let (sol, luna) = ("gpt-6.1-sol", "gpt-6-luna");
        assert_eq!(Tier::allowing(5_000, 1_000_000, sol), Tier::of(2, sol));
        assert_eq!(Tier::allowing(5_000, 2_000_000, sol), Tier::of(3, sol));
        assert_eq!(Tier::allowing(5_000, 2_000_000, luna), Tier::of(2, luna));
        // The defaults are tier 2's; the small model's answers tell its own.
        assert_eq!(Tier::allowing(5_000, 1_000_000, luna), Tier::of(2, luna));
        let own = Tier::allowing(600, 1_500_000, sol);
        assert_eq!((own.number, own.requests_a_minute, own.tokens_a_minute), (0, Some(600.0), Some(1_500_000.0)));
        assert_eq!(own.spending_a_month, Tier::of(3, sol).spending_a_month);
    }
}
