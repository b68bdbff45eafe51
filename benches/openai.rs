//! What the bot promises about the model's provider, measured: that it stays within a tier without wasting it, and that
//! most of what it sends is read from the provider's prompt cache. The real program as processes of its own, against the
//! sandbox in this process, which counts and refuses as the real service does. Owns the bounds; the code under measure is
//! the product's.
//!
//! `cargo bench --bench openai -- [--json FILE] [--quick] [--only quota,cache]`, with `TEST_DATABASE_URL=postgres://…` for
//! two instances on PostgreSQL. Ends with 1 if a bound is not met.
#![expect(
    clippy::disallowed_methods,
    reason = "a program of its own: it starts its tasks and reads the environment itself"
)]

#[path = "openai/cache.rs"]
mod cache;
#[path = "shared/database.rs"]
mod database;
#[path = "shared/options.rs"]
mod options;
#[path = "shared/start.rs"]
mod start;
#[path = "shared/process.rs"]
mod process;
#[path = "openai/quota.rs"]
mod quota;

use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use database::{Failed, Outcome};
use options::Options;

const SCENARIOS: [&str; 2] = ["quota", "cache"];

fn main() -> ExitCode {
    start::start(&SCENARIOS, run)
}

/// What a scenario found.
struct Found {
    figures: Value,
    /// What was promised and is not so.
    broken: Vec<String>,
}

async fn run(options: &Options) -> Outcome<bool> {
    let mut report = Map::new();
    let mut broken = Vec::new();
    for scenario in SCENARIOS.into_iter().filter(|name| options.wants(name)) {
        let began = Instant::now();
        let found = match scenario {
            "quota" => quota::run(options.quick).await?,
            _ => cache::run(options.quick).await?,
        };
        println!("  ({:.0} s)\n", began.elapsed().as_secs_f64());
        report.insert(scenario.to_owned(), json!({"figures": found.figures, "holds": found.broken.is_empty()}));
        broken.extend(found.broken);
    }
    if let Some(file) = &options.json {
        fs::write(file, serde_json::to_string_pretty(&Value::Object(report))?)?;
    }
    for what in &broken {
        println!("NOT MET: {what}");
    }
    Ok(broken.is_empty())
}

/// Looks again and again whether something holds.
async fn until(what: &str, patience: Duration, mut holds: impl AsyncFnMut() -> Outcome<bool>) -> Outcome<()> {
    let began = Instant::now();
    while !holds().await? {
        if began.elapsed() > patience {
            return Err(Failed::from(format!("not within {} s: {what}", patience.as_secs())));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
