//! `stress`: the load test at the command line. Owns its options, the progress bar and what is printed.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use indicatif::{ProgressBar, ProgressStyle};

use super::stop_signal;
use crate::core::capacity::scenarios::Scenario;
use crate::stress::faults::Faults;
use crate::stress::people::STEPS;
use crate::stress::report::page;
use crate::stress::{self, Lie, Part, Settings, Stop};

#[derive(clap::Args)]
pub struct Options {
    /// Only these parts, separated by commas; all without.
    #[arg(long, value_delimiter = ',', value_name = "PART")]
    only: Vec<Part>,
    /// Instead of the parts: one of the scenarios of `reelcoach capacity` while most people talk at once, compressed.
    #[arg(long, conflicts_with = "only", value_parser = scenarios())]
    profile: Option<Scenario>,
    /// How long the load of each part takes; the waiting for its last answers comes on top.
    ///
    /// Longer where it must be: each step of `people` takes 10 s, a profile 60 s of its people's time, so that everybody
    /// speaks; and with `--faults heavy` nothing ends before the outage and the kill.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// At most so many messages in each part.
    ///
    /// In `people` of each step, in which everybody speaks once whatever stands here. In `reels` and `money` there are fewer
    /// anyway; a profile ends earlier. Greetings in front of `--faults heavy` are not counted.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    messages: u32,
    /// The steps of `people`: so many at a time, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "N", default_values_t = STEPS,
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    people: Vec<u32>,
    /// What goes wrong meanwhile; never in `health`, `people` and `flood`.
    #[arg(long, value_enum, default_value_t = Faults::None)]
    faults: Faults,
    /// A PostgreSQL server on this machine that databases may be made on; SQLite without.
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// The same seed says the same at the same moments; without, one is drawn and printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Write everything that was measured.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write one page with plots.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// For tests of the checks: the sandbox lies.
    #[arg(long, hide = true)]
    lie: Option<Lie>,
}

/// Exit code of a run that was ended at once: as of a program that an interrupt ended.
const ENDED: u8 = 130;

/// The planner's scenarios by their names.
fn scenarios() -> impl TypedValueParser<Value = Scenario> {
    let named = |name: String| Scenario::ALL.into_iter().find(|scenario| scenario.name() == name);
    let values = Scenario::ALL.map(|scenario| PossibleValue::new(scenario.name()));
    PossibleValuesParser::new(values).try_map(move |name| named(name).ok_or("no such scenario"))
}

/// 1 if a rule was broken.
pub async fn run(options: Options) -> anyhow::Result<ExitCode> {
    if let Some(url) = &options.database_url
        && let Err(sentence) = stress::refuse_others(url)
    {
        eprintln!("reelcoach: {sentence}");
        return Ok(ExitCode::from(super::MISCONFIGURED));
    }
    let settings = Settings {
        program: std::env::current_exe().context("where this program is")?,
        server: options.database_url,
        parts: if options.only.is_empty() { Part::ALL.to_vec() } else { options.only },
        profile: options.profile,
        seconds: options.seconds,
        messages: options.messages as usize,
        people: options.people,
        faults: options.faults,
        seed: options.seed.unwrap_or_else(|| rand::random_range(1..1_000_000)),
        lie: options.lie,
    };
    let stop = Stop::default();
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(1000) } else { ProgressBar::hidden() };
    bar.set_style(ProgressStyle::with_template("{msg:12} {wide_bar} {elapsed}")?);
    let progress = |part: &str, done: f64, at: usize, of: usize| {
        // Where there is no terminal to draw on, as in a pipeline, it is told which part has begun.
        if bar.is_hidden() && bar.message() != part {
            eprintln!("{part} ({} of {of})", at + 1);
        }
        bar.set_message(part.to_owned());
        bar.set_position(((at as f64 + done.clamp(0.0, 1.0)) / of.max(1) as f64 * 1000.0) as u64);
    };
    let stopped = stop_signal();
    let told = async {
        stopped.await;
        stop.ask();
        bar.suspend(|| eprintln!("Stopping: what was said is still answered and checked. Once more ends it at once."));
        loop {
            stop_signal().await;
            stop.ask();
        }
    };
    let report = tokio::select! {
        report = stress::run(&settings, &stop, &progress) => report,
        never = told => never,
    };
    bar.finish_and_clear();
    let report = report.with_context(|| format!("seed {}", settings.seed))?;
    print!("{}", report.table());
    if let Some(file) = options.json {
        let text = serde_json::to_string_pretty(&report)?;
        std::fs::write(&file, text).with_context(|| file.display().to_string())?;
    }
    if let Some(file) = options.html {
        std::fs::write(&file, page(&report)?).with_context(|| file.display().to_string())?;
    }
    Ok(match report.breaches() {
        0 if report.ended_at_once => ExitCode::from(ENDED),
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}
