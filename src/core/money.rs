//! Prices, and what a call costs. All money is integer micro-USD; an unknown model has no price and is refused,
//! never counted as nothing.

mod purse;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::clock::Timestamp;
use crate::upstream::Usage;

pub use self::purse::{Allowed, Call, Purse, SPARING, TOLD_AT};

/// The dated table of prices.
#[derive(Clone, Debug, Deserialize)]
pub struct Prices {
    /// Stands in every ledger row.
    pub version: String,
    models: BTreeMap<String, ModelPrice>,
}

/// Micro-USD per million tokens.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
struct Rates {
    input: u64,
    cached: u64,
    cache_write: u64,
    output: u64,
}

#[derive(Clone, Debug, Deserialize)]
struct ModelPrice {
    provider: String,
    #[serde(flatten)]
    rates: Rates,
    /// Rates of a whole request whose input is longer than `above` tokens.
    long: Option<LongRates>,
    /// Rates that hold from a date on.
    later: Option<LaterRates>,
    /// The day on which the model is switched off.
    shutdown: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct LongRates {
    above: u64,
    #[serde(flatten)]
    rates: Rates,
}

#[derive(Clone, Debug, Deserialize)]
struct LaterRates {
    from: chrono::NaiveDate,
    #[serde(flatten)]
    rates: Rates,
}

/// A model that the table does not know.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the price of “{0}” is not known")]
pub struct UnknownPrice(pub String);

impl Prices {
    /// The table this program was made with.
    pub fn built_in() -> Prices {
        serde_json::from_str(include_str!("prices.json")).unwrap_or_else(|error| unreachable!("prices.json: {error}"))
    }

    /// The table this program was made with, and over it the one in `file` if there is one: of the same form, its models
    /// replace those of the same name, its version is noted behind the built-in one's.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the file.
    pub fn load(file: Option<&Path>) -> Result<Prices, String> {
        let mut prices = Prices::built_in();
        let Some(file) = file else { return Ok(prices) };
        let text =
            std::fs::read_to_string(file).map_err(|error| format!("{} cannot be read ({error})", file.display()))?;
        let own: Prices = serde_json::from_str(&text)
            .map_err(|error| format!("{} is not a price table ({error})", file.display()))?;
        if own.models.is_empty() || own.version.trim().is_empty() {
            return Err(format!("{} has no version or no models", file.display()));
        }
        prices.version = format!("{}+{}", prices.version, own.version);
        prices.models.extend(own.models);
        Ok(prices)
    }

    /// What a call cost, in micro-USD, rounded up: the documented formula
    /// `(input - cached - cache_write) * input + cached * cached + cache_write * cache_write + output * output`
    /// (OpenAI, guide "Prompt caching"; Gemini bills thinking as output, its cached part at the cached rate).
    ///
    /// # Errors
    /// [`UnknownPrice`]: the caller alerts; nothing unpriced is called.
    pub fn cost(&self, model: &str, usage: &Usage, at: Timestamp) -> Result<i64, UnknownPrice> {
        if let Some(charged) = usage.charged_micro_usd {
            return Ok(charged.max(0));
        }
        let price = self.models.get(model).ok_or_else(|| UnknownPrice(model.to_owned()))?;
        let rates = price.rates_for(usage.input_tokens, at);
        let cached = usage.cached_tokens.min(usage.input_tokens);
        let written = usage.cache_write_tokens.min(usage.input_tokens - cached);
        let fresh = usage.input_tokens - cached - written;
        let millionths = [
            (fresh, rates.input),
            (cached, rates.cached),
            (written, rates.cache_write),
            (usage.output_tokens, rates.output),
        ]
        .iter()
        .map(|(tokens, rate)| u128::from(*tokens) * u128::from(*rate))
        .sum::<u128>();
        Ok(i64::try_from(millionths.div_ceil(1_000_000)).unwrap_or(i64::MAX))
    }

    /// What it would cost on the dearest model.
    pub fn dearest(&self, usage: &Usage, at: Timestamp) -> i64 {
        self.models.keys().filter_map(|model| self.cost(model, usage, at).ok()).max().unwrap_or(i64::MAX)
    }

    /// Whether the table knows the model, and as whose.
    pub fn provider_of(&self, model: &str) -> Option<&str> {
        self.models.get(model).map(|price| price.provider.as_str())
    }

    /// The day on which the model is switched off, as far as the table knows.
    pub fn shutdown_of(&self, model: &str) -> Option<&str> {
        self.models.get(model).and_then(|price| price.shutdown.as_deref())
    }
}

impl ModelPrice {
    fn rates_for(&self, input_tokens: u64, at: Timestamp) -> Rates {
        if let Some(long) = &self.long
            && input_tokens > long.above
        {
            return long.rates;
        }
        match &self.later {
            Some(later) if at.utc().is_some_and(|now| now.date_naive() >= later.from) => later.rates,
            _ => self.rates,
        }
    }
}

/// Micro-USD for people: `$0.0042`, `$12.30`.
pub fn dollars(micro_usd: i64) -> String {
    let sign = if micro_usd < 0 { "-" } else { "" };
    let micro = micro_usd.unsigned_abs();
    if micro == 0 || micro >= 1_000_000 {
        let cents = (micro + 5_000) / 10_000;
        format!("{sign}${}.{:02}", cents / 100, cents % 100)
    } else if micro < 100 {
        format!("{sign}<$0.0001")
    } else {
        let hundredths = (micro + 50) / 100;
        format!("{sign}${}.{:04}", hundredths / 10_000, hundredths % 10_000)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp(1_795_500_000_000); // 2026-11-24

    fn usage(input: u64, cached: u64, cache_write: u64, output: u64) -> Usage {
        Usage {
            input_tokens: input,
            cached_tokens: cached,
            cache_write_tokens: cache_write,
            output_tokens: output,
            ..Usage::default()
        }
    }

    #[test]
    fn documented_examples() {
        let prices = Prices::built_in();
        // gpt-6.1-sol: 2 / 0.10 / 2.50 / 10 USD per million tokens.
        assert_eq!(
            prices.cost("gpt-6.1-sol", &usage(1_000_000, 0, 0, 0), NOW),
            Ok(4_000_000),
            "over 272k input: doubled"
        );
        assert_eq!(prices.cost("gpt-6.1-sol", &usage(100_000, 0, 0, 1_000), NOW), Ok(210_000));
        assert_eq!(prices.cost("gpt-6.1-sol", &usage(2_000, 1_024, 500, 300), NOW), Ok(102 + 1_250 + 952 + 3_000 + 1));
        // gpt-6-luna: 0.10 in, 0.50 out.
        assert_eq!(prices.cost("gpt-6-luna", &usage(1_000, 0, 0, 100), NOW), Ok(150));
        assert_eq!(prices.cost("gpt-7", &usage(1, 0, 0, 0), NOW), Err(UnknownPrice("gpt-7".into())));
    }

    #[test]
    fn a_file_adds_and_replaces() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("prices.json");
        let write = |text: &str| std::fs::write(&file, text).unwrap();
        write(
            r#"{"version": "mine", "models": {
            "gpt-6-luna": {"provider": "openai", "input": 200000, "cached": 0, "cache_write": 0, "output": 0},
            "gpt-7": {"provider": "openai", "input": 1000000, "cached": 0, "cache_write": 0, "output": 0}}}"#,
        );
        let prices = Prices::load(Some(&file)).unwrap();
        assert!(prices.version.ends_with("+mine"));
        assert_eq!(prices.cost("gpt-7", &usage(1_000, 0, 0, 0), NOW), Ok(1_000));
        assert_eq!(prices.cost("gpt-6-luna", &usage(1_000, 0, 0, 100), NOW), Ok(200));
        assert_eq!(prices.cost("gpt-6.1-sol", &usage(1_000, 0, 0, 0), NOW), Ok(2_000), "the others stay");
        for broken in
            ["", "[]", r#"{"version": "x", "models": {}}"#, r#"{"version": "x", "models": {"m": {"input": -1}}}"#]
        {
            write(broken);
            assert!(Prices::load(Some(&file)).unwrap_err().contains("prices.json"), "{broken}");
        }
        assert!(Prices::load(Some(&folder.path().join("none.json"))).unwrap_err().contains("cannot be read"));
    }

    #[test]
    fn no_part_of_the_input_is_dearer_than_one_that_is_written_to_the_cache() {
        // What estimates and reservations rest on: they count all of an input as written.
        let prices = Prices::built_in();
        for model in prices.models.keys() {
            for (input, at) in [(100_000, NOW), (1_000_000, NOW), (100_000, Timestamp(1_798_761_600_000))] {
                let cost = |cached, written| prices.cost(model, &usage(input, cached, written, 0), at).unwrap();
                assert!(cost(0, input) >= cost(0, 0) && cost(0, input) >= cost(input, 0), "{model}");
            }
        }
    }

    #[test]
    fn gemini_flash_doubles_on_new_year() {
        let prices = Prices::built_in();
        let before = prices.cost("gemini-3.8-flash", &usage(6_000, 0, 0, 500), NOW).unwrap();
        let after = prices.cost("gemini-3.8-flash", &usage(6_000, 0, 0, 500), Timestamp(1_798_761_600_000)).unwrap();
        assert_eq!((before, after), (6_375, 12_750));
    }

    #[test]
    fn amounts_for_people() {
        let shown: Vec<String> = [0, 40, 4_250, 999_960, 1_000_000, 12_345_678, -5].into_iter().map(dollars).collect();
        assert_eq!(shown, ["$0.00", "<$0.0001", "$0.0043", "$1.0000", "$1.00", "$12.35", "-<$0.0001"]);
    }

    proptest! {
        #[test]
        fn never_below_the_exact_cost_and_less_than_a_micro_dollar_above(
            input in 0u64..200_000, cached in 0u64..200_000, written in 0u64..200_000, output in 0u64..128_000
        ) {
            let cached = cached.min(input);
            let written = written.min(input - cached);
            let cost = Prices::built_in().cost("gpt-6.1-terra", &usage(input, cached, written, output), NOW).unwrap();
            let exact = ((input - cached - written) as f64) + cached as f64 * 0.05 + written as f64 * 1.25 + output as f64 * 5.0;
            prop_assert!(cost as f64 >= exact - 1e-6 && (cost as f64) < exact + 1.0 + 1e-6, "{cost} {exact}");
        }
    }
}
