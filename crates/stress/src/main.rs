//! The load test at the command line. Owns the progress bar and what is printed.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

use reelcoach::cli::{self, stop_signal};
use stress::options::Options;
use stress::report::page;
use stress::{Part, Settings, Stop};

/// Exit code of a run that was ended at once: as of a program that an interrupt ended.
const ENDED: u8 = 130;

fn main() -> ExitCode {
    // The sandbox and the bots of a run are processes of this program as well: as the product.
    if std::env::args().nth(1).is_some_and(|command| ["serve", "sandbox"].contains(&command.as_str())) {
        return cli::run();
    }
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = runtime.context("the runtime cannot be started").and_then(|runtime| runtime.block_on(run(options)));
    result.unwrap_or_else(|error| {
        eprintln!("stress: {error:#}");
        ExitCode::FAILURE
    })
}

/// 1 if a rule was broken.
async fn run(options: Options) -> anyhow::Result<ExitCode> {
    if let Some(url) = &options.database_url
        && let Err(sentence) = stress::refuse_others(url)
    {
        eprintln!("stress: {sentence}");
        return Ok(ExitCode::from(cli::MISCONFIGURED));
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
        std::fs::write(&file, page(&report)).with_context(|| file.display().to_string())?;
    }
    Ok(match report.breaches() {
        0 if report.ended_at_once => ExitCode::from(ENDED),
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}
