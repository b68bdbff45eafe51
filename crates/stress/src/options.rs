//! What can be said at the command line. Owns the names, the bounds and the help of each option.

use std::path::PathBuf;

use clap::Parser;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use reelcoach::core::capacity::scenarios::Scenario;

use super::faults::Faults;
use super::people::STEPS;
use super::{Lie, Part};

/// Load-test the bot on this machine against the sandbox: is anything lost, doubled or overspent?
#[derive(Parser)]
#[command(name = "stress", version)]
pub struct Options {
    /// Only these parts, separated by commas. Default: all
    #[arg(long, value_delimiter = ',', value_name = "PART")]
    pub only: Vec<Part>,
    /// Instead of parts: an example community of `reelcoach capacity` at its busiest, in fast motion
    #[arg(long, conflicts_with = "only", value_parser = scenarios())]
    pub profile: Option<Scenario>,
    /// Seconds of load per part; waiting for the last answers comes on top
    ///
    /// Takes longer where needed: 10 s per step of `people`, 60 s of a profile's time. With `--faults heavy` nothing ends
    /// before the outage and the kill.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// Most messages per part
    ///
    /// In `people`: per step, where everyone writes at least once. `reels` and `money` send fewer; a profile may end earlier.
    /// Warm-up messages before `--faults heavy` don't count.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub messages: u32,
    /// Steps of `people`: people at a time, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "N", default_values_t = STEPS,
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub people: Vec<u32>,
    /// What goes wrong meanwhile; never in `health`, `people` and `flood`
    #[arg(long, value_enum, default_value_t = Faults::None)]
    pub faults: Faults,
    /// PostgreSQL server on this machine where databases may be created. Default: SQLite
    #[arg(long, value_name = "URL")]
    pub database_url: Option<String>,
    /// Random seed for the same messages at the same moments. Default: drawn and printed
    #[arg(long)]
    pub seed: Option<u64>,
    /// Write all measurements to this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write one page with plots to this file
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// For tests of the checks: make the sandbox misbehave
    #[arg(long, hide = true)]
    pub lie: Option<Lie>,
}

/// The planner's scenarios by their names.
fn scenarios() -> impl TypedValueParser<Value = Scenario> {
    let named = |name: String| Scenario::ALL.into_iter().find(|scenario| scenario.name() == name);
    let values = Scenario::ALL.map(|scenario| PossibleValue::new(scenario.name()));
    PossibleValuesParser::new(values).try_map(move |name| named(name).ok_or("no such profile"))
}
