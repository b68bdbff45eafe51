//! Prices, and what a call costs. All money is integer micro-USD; an unknown model has no price and is refused,
//! never counted as nothing.

mod purse;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::clock::Timestamp;
use crate::upstream::{ServiceTier, Usage};

pub use self::purse::{Allowed, CONFIRM_AFTER, Call, Purse, RESERVED_FOR, SPARING, TOLD_AT};

/// The dated table of prices.
#[derive(Clone, Debug, Deserialize)]
pub struct Prices {
    /// Stands in every ledger row.
    pub version: String,
    models: BTreeMap<String, ModelPrice>,
    tiers: Option<TierPrices>,
}

/// What OpenAI's tiers cost, in percent of the standard one (price page of November 2026).
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
struct TierPrices {
    flex: u64,
    priority: u64,
}

impl TierPrices {
    /// A tier that nobody knows costs what the dearest one does.
    fn percent(self, tier: ServiceTier) -> u64 {
        match tier {
            ServiceTier::Standard => 100,
            ServiceTier::Flex => self.flex,
            ServiceTier::Priority => self.priority,
            ServiceTier::Unknown => self.priority.max(self.flex).max(100),
        }
    }
}

/// Micro-USD per million tokens.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
struct Rates {
    input: u64,
    cached: u64,
    /// Below `input`: a write costs nothing extra.
    cache_write: u64,
    output: u64,
    /// Of audio in the input, where it differs from the rest of it.
    audio: Option<u64>,
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
#[error("no price for “{0}”")]
pub struct UnknownPrice(pub String);

impl Prices {
    /// The table this program was made with.
    pub fn built_in() -> Prices {
        serde_json::from_str(include_str!("prices.json")).unwrap_or_else(|error| unreachable!("prices.json: {error}"))
    }

    /// The table this program was made with, and over it the one in `file` if there is one: of the same form, its models
    /// replace those of the same name, its tiers the others, and its version is noted behind the built-in one's.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the file.
    pub fn load(file: Option<&Path>) -> Result<Prices, String> {
        let mut prices = Prices::built_in();
        let Some(file) = file else { return Ok(prices) };
        let text = std::fs::read_to_string(file).map_err(|error| format!("can't read {} ({error})", file.display()))?;
        let own: Prices = serde_json::from_str(&text)
            .map_err(|error| format!("{} is not a price table ({error})", file.display()))?;
        if own.models.is_empty() || own.version.trim().is_empty() {
            return Err(format!("{} has no version or no models", file.display()));
        }
        prices.version = format!("{}+{}", prices.version, own.version);
        prices.models.extend(own.models);
        prices.tiers = own.tiers.or(prices.tiers);
        Ok(prices)
    }

    /// What a call without audio cost: see [`Prices::cost_with_audio`].
    ///
    /// # Errors
    /// [`UnknownPrice`]: the caller alerts; nothing unpriced is called.
    pub fn cost(&self, model: &str, usage: &Usage, at: Timestamp) -> Result<i64, UnknownPrice> {
        self.cost_with_audio(model, usage, 0, at)
    }

    /// What a call cost, in micro-USD, rounded up: the documented formula
    /// `(input - cached - cache_write - audio) * input + cached * cached + cache_write * cache_write + audio * audio +
    /// output * output` (OpenAI, guide "Prompt caching"; Gemini bills thinking as output, its cached part at the cached
    /// rate, audio at a rate of its own with some models). What is both audio and cached counts as audio as far as what
    /// is not cached reaches.
    ///
    /// An estimate counts as written what it knows no better: that part costs what the dearest kind of input does,
    /// whatever the table says of writes. All of it is multiplied by what the tier costs that processed the call.
    ///
    /// # Errors
    /// [`UnknownPrice`]: the caller alerts; nothing unpriced is called.
    pub fn cost_with_audio(
        &self,
        model: &str,
        usage: &Usage,
        audio_tokens: u64,
        at: Timestamp,
    ) -> Result<i64, UnknownPrice> {
        if let Some(charged) = usage.charged_micro_usd {
            return Ok(charged.max(0));
        }
        let price = self.models.get(model).ok_or_else(|| UnknownPrice(model.to_owned()))?;
        let rates = price.rates_for(usage.input_tokens, at);
        let cache_write = if usage.estimated { rates.dearest_input() } else { rates.cache_write.max(rates.input) };
        let cached = usage.cached_tokens.min(usage.input_tokens);
        let written = usage.cache_write_tokens.min(usage.input_tokens - cached);
        let fresh = usage.input_tokens - cached - written;
        let audio = audio_tokens.min(fresh);
        let millionths = [
            (fresh - audio, rates.input),
            (audio, rates.audio.unwrap_or(rates.input)),
            (cached, rates.cached),
            (written, cache_write),
            (usage.output_tokens, rates.output),
        ]
        .iter()
        .map(|(tokens, rate)| u128::from(*tokens) * u128::from(*rate))
        .sum::<u128>();
        let percent = self.tiers.map_or(100, |tiers| tiers.percent(usage.tier));
        Ok(i64::try_from((millionths * u128::from(percent)).div_ceil(100_000_000)).unwrap_or(i64::MAX))
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
        let other = match (&self.long, &self.later) {
            (Some(long), _) if input_tokens > long.above => long.rates,
            (_, Some(later)) if at.utc().is_some_and(|now| now.date_naive() >= later.from) => later.rates,
            _ => return self.rates,
        };
        // Audio that has a price of its own does not become cheaper by being passed over.
        let audio = other.audio.or(self.rates.audio.map(|audio| audio.max(other.input)));
        Rates { audio, ..other }
    }
}

impl Rates {
    fn dearest_input(&self) -> u64 {
        self.input.max(self.cached).max(self.cache_write).max(self.audio.unwrap_or(0))
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
        // gpt-6.2-astra: 8 / 0.40 / 10 / 40; from 272k on doubled, output 1.5 times.
        assert_eq!(
            prices.cost("gpt-6.2-astra", &usage(10_000, 2_000, 3_000, 1_000), NOW),
            Ok(40_000 + 800 + 30_000 + 40_000)
        );
        let long = usage(300_000, 100_000, 100_000, 1_000);
        assert_eq!(prices.cost("gpt-6.2-astra", &long, NOW), Ok(1_600_000 + 80_000 + 2_000_000 + 60_000));
    }

    #[test]
    fn the_tier_multiplies_the_price() {
        let prices = Prices::built_in();
        let cost = |tier| prices.cost("gpt-6.1-sol", &Usage { tier, ..usage(10_000, 0, 0, 1_000) }, NOW);
        assert_eq!(cost(ServiceTier::Standard), Ok(30_000));
        assert_eq!(cost(ServiceTier::Flex), Ok(15_000));
        assert_eq!(cost(ServiceTier::Priority), Ok(60_000));
        assert_eq!(cost(ServiceTier::Unknown), Ok(60_000), "as the dearest one that is known");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("prices.json");
        let model = r#""m": {"provider": "openai", "input": 1000000, "cached": 0, "cache_write": 0, "output": 0}"#;
        let tiers = r#""tiers": {"flex": 60, "priority": 250}"#;
        std::fs::write(&file, format!(r#"{{"version": "mine", {tiers}, "models": {{{model}}}}}"#)).unwrap();
        let prices = Prices::load(Some(&file)).unwrap();
        let cost = |tier| prices.cost("gpt-6.1-sol", &Usage { tier, ..usage(10_000, 0, 0, 1_000) }, NOW);
        assert_eq!([cost(ServiceTier::Flex), cost(ServiceTier::Priority)], [Ok(18_000), Ok(75_000)]);
    }

    /// OpenAI, guide "Prompt caching" and price page: from GPT-5.6 on a write costs 1.25 times the input, and above 272,000
    /// input tokens all input costs twice as much and the output 1.5 times.
    #[test]
    fn the_newer_models_follow_the_documented_rules() {
        let prices = Prices::built_in();
        let newer = |name: &str| name.starts_with("gpt-5.6") || name.starts_with("gpt-6");
        let mut seen = 0;
        for (name, price) in prices.models.iter().filter(|(name, _)| newer(name)) {
            let Rates { input, cached, cache_write, output, audio } = price.rates;
            assert_eq!(cache_write * 4, input * 5, "{name}");
            let long = price.long.as_ref().unwrap_or_else(|| panic!("{name} has rates for long input"));
            let doubled = Rates {
                input: input * 2,
                cached: cached * 2,
                cache_write: cache_write * 2,
                output: output * 3 / 2,
                audio,
            };
            assert_eq!((long.above, long.rates), (272_000, doubled), "{name}");
            seen += 1;
        }
        assert!(seen >= 10, "{seen}");
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
        let most = Usage { estimated: true, ..usage(1_000, 0, 1_000, 0) };
        assert_eq!(prices.cost("gpt-7", &most, NOW), Ok(1_000), "a reservation is not for nothing");
        assert_eq!(prices.cost("gpt-7", &usage(1_000, 0, 600, 0), NOW), Ok(1_000), "a write costs nothing extra");
        assert_eq!(prices.cost("gpt-6.1-sol", &usage(1_000, 0, 0, 0), NOW), Ok(2_000), "the others stay");
        for broken in
            ["", "[]", r#"{"version": "x", "models": {}}"#, r#"{"version": "x", "models": {"m": {"input": -1}}}"#]
        {
            write(broken);
            assert!(Prices::load(Some(&file)).unwrap_err().contains("prices.json"), "{broken}");
        }
        assert!(Prices::load(Some(&folder.path().join("none.json"))).unwrap_err().contains("can't read"));
    }

    fn table(rates: Rates, long: Option<LongRates>) -> Prices {
        let model = ModelPrice { provider: "gemini".into(), rates, long, later: None, shutdown: None };
        Prices { version: "1".into(), models: BTreeMap::from([("m".to_owned(), model)]), tiers: None }
    }

    #[test]
    fn audio_has_a_price_of_its_own() {
        let prices = Prices::built_in();
        let cost = |model, cached| prices.cost_with_audio(model, &usage(10_000, cached, 0, 0), 2_500, NOW).unwrap();
        // 0.30 and 1.00 USD per million; 0.03 cached.
        assert_eq!(cost("gemini-2.5-flash", 0), 2_250 + 2_500);
        assert_eq!(cost("gemini-2.5-flash", 5_000), 750 + 2_500 + 150);
        assert_eq!(cost("gemini-2.5-flash", 9_000), 1_000 + 270, "only what is not cached");
        assert_eq!(cost("gemini-3.8-flash", 0), 7_500, "the same for all input");
        let most = Usage { estimated: true, ..usage(10_000, 0, 10_000, 0) };
        assert_eq!(prices.cost("gemini-2.5-flash", &most, NOW), Ok(10_000), "reserved as if all of it were audio");
        // A long input whose audio is passed over.
        let rates = |input, audio| Rates { input, cached: 0, cache_write: 0, output: 0, audio };
        let long = |audio| Some(LongRates { above: 5_000, rates: rates(2_000_000, audio) });
        for (audio, wanted) in [(None, 3_000_000), (Some(2_500_000), 2_500_000)] {
            let prices = table(rates(1_000_000, Some(3_000_000)), long(audio));
            assert_eq!(prices.cost_with_audio("m", &usage(10_000, 0, 0, 0), 10_000, NOW), Ok(wanted / 100));
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

        #[test]
        fn audio_is_priced_by_the_documented_formula(
            input in 0u64..200_000, cached in 0u64..200_000, audio in 0u64..200_000, output in 0u64..65_536
        ) {
            let cached = cached.min(input);
            let audio = audio.min(input - cached);
            let used = usage(input, cached, 0, output);
            let cost = Prices::built_in().cost_with_audio("gemini-2.5-flash", &used, audio, NOW).unwrap();
            let exact = (input - cached - audio) as f64 * 0.3 + audio as f64 + cached as f64 * 0.03 + output as f64 * 2.5;
            prop_assert!(cost as f64 >= exact - 1e-6 && (cost as f64) < exact + 1.0 + 1e-6, "{cost} {exact}");
        }

        /// What reservations and the estimates of calls that were cut rest on: all of their input counts as written.
        #[test]
        fn no_call_costs_more_than_its_worst_case_by_any_table(
            rates in proptest::array::uniform5(0u64..5_000_000), tokens in proptest::array::uniform4(0u64..10_000)
        ) {
            let [input, cached, cache_write, output, audio] = rates;
            let audio = (audio % 3 > 0).then_some(audio);
            let prices = table(Rates { input, cached, cache_write, output, audio }, None);
            let [fresh, heard, read, written] = tokens;
            let all = fresh + heard + read + written;
            let most = Usage { estimated: true, ..usage(all, 0, all, 100) };
            let used = usage(all, read, written, 100);
            let most = prices.cost("m", &most, NOW).unwrap();
            prop_assert!(prices.cost_with_audio("m", &used, heard, NOW).unwrap() <= most);
        }

        #[test]
        fn no_call_costs_more_than_its_worst_case_by_the_table_of_this_program(
            input in 0u64..1_000_000, cached in 0u64..1_000_000, written in 0u64..1_000_000, audio in 0u64..1_000_000,
            at in prop_oneof![Just(NOW), Just(Timestamp(1_798_761_600_000))]
        ) {
            let prices = Prices::built_in();
            let cached = cached.min(input);
            let used = usage(input, cached, written.min(input - cached), 500);
            let most = Usage { estimated: true, ..usage(input, 0, input, 500) };
            for model in prices.models.keys() {
                let cost = prices.cost_with_audio(model, &used, audio, at).unwrap();
                prop_assert!(cost <= prices.cost(model, &most, at).unwrap(), "{}", model);
            }
        }
    }
}
