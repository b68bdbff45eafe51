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
    /// Only these parts, separated by commas; all without.
    #[arg(long, value_delimiter = ',', value_name = "PART")]
    pub only: Vec<Part>,
    /// Instead of the parts: one of the scenarios of `reelcoach capacity` while most people talk at once, compressed.
    #[arg(long, conflicts_with = "only", value_parser = scenarios())]
    pub profile: Option<Scenario>,
    /// How long the load of each part takes; the waiting for its last answers comes on top.
    ///
    /// Longer where it must be: each step of `people` takes 10 s, a profile 60 s of its people's time, so that everybody
    /// speaks; and with `--faults heavy` nothing ends before the outage and the kill.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// At most so many messages in each part.
    ///
    /// In `people` of each step, in which everybody speaks once whatever stands here. In `reels` and `money` there are fewer
    /// anyway; a profile ends earlier. Greetings in front of `--faults heavy` are not counted.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub messages: u32,
    /// The steps of `people`: so many at a time, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "N", default_values_t = STEPS,
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub people: Vec<u32>,
    /// What goes wrong meanwhile; never in `health`, `people` and `flood`.
    #[arg(long, value_enum, default_value_t = Faults::None)]
    pub faults: Faults,
    /// A PostgreSQL server on this machine that databases may be made on; SQLite without.
    #[arg(long, value_name = "URL")]
    pub database_url: Option<String>,
    /// The same seed says the same at the same moments; without, one is drawn and printed.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Write everything that was measured.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write one page with plots.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// For tests of the checks: the sandbox lies.
    #[arg(long, hide = true)]
    pub lie: Option<Lie>,
}

/// The planner's scenarios by their names.
fn scenarios() -> impl TypedValueParser<Value = Scenario> {
    let named = |name: String| Scenario::ALL.into_iter().find(|scenario| scenario.name() == name);
    let values = Scenario::ALL.map(|scenario| PossibleValue::new(scenario.name()));
    PossibleValuesParser::new(values).try_map(move |name| named(name).ok_or("no such scenario"))
}
