//! Whether a kill -9 at any moment loses, doubles or pays for anything twice. Owns the table; the trials are `stress`'s.
//!
//! `cargo bench -p stress --bench kills -- [--json FILE] [--quick] [--only sqlite,postgres]`, with `TEST_DATABASE_URL=postgres://…`:
//! 200 trials on each database, 10 with `--quick`. Ends with 1 if a rule is broken or a reel was paid for twice.
#![expect(clippy::disallowed_methods, reason = "a program of its own: it reads the environment itself")]

#[path = "../../../benches/shared/database.rs"]
mod database;
#[path = "../../../benches/shared/options.rs"]
mod options;
#[path = "../../../benches/shared/start.rs"]
mod start;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use serde_json::{Value, json};
use stress::Stop;
use stress::kills::{Killed, kills};
use stress::stage::Host;

use database::{Outcome, server};
use options::Options;

const DATABASES: [&str; 2] = ["sqlite", "postgres"];

fn main() -> ExitCode {
    start::start(&DATABASES, run)
}

async fn run(options: &Options) -> Outcome<bool> {
    let trials = if options.quick { 10 } else { 200 };
    println!("{trials} trials on each database: four questions and two reels, then a kill -9, a third of them twice.");
    println!(
        "{:<9} {:>6} {:>6} {:>6} {:>8} {:>5} {:>8} {:>9} {:>14} {:>14} {:>14} {:>7}",
        "database",
        "trials",
        "kills",
        "owed",
        "messages",
        "lost",
        "breaches",
        "apologies",
        "scrapes",
        "analyses",
        "answers",
        "s"
    );
    let mut all: Vec<(&str, Killed)> = Vec::new();
    for name in DATABASES.into_iter().filter(|name| options.wants(name)) {
        let began = Instant::now();
        let server = if name == "postgres" { Some(server()?) } else { None };
        let host = Host { program: PathBuf::from(env!("CARGO_BIN_EXE_stress")), server };
        let killed = kills(&host, trials, 1, &Stop::default(), &|_| {}).await?;
        let of = |paid: &stress::kills::Paid| format!("{} of {}", paid.paid, paid.needed);
        println!(
            "{name:<9} {:>6} {:>6} {:>6} {:>8} {:>5} {:>8} {:>9} {:>14} {:>14} {:>14} {:>7.0}",
            killed.trials,
            killed.kills,
            killed.owed,
            killed.figures.messages,
            killed.figures.lost,
            killed.figures.breaches.len(),
            killed.figures.failed,
            of(&killed.reels),
            of(&killed.analyses),
            of(&killed.answers),
            began.elapsed().as_secs_f64()
        );
        for breach in &killed.figures.breaches {
            println!("  {}: {}\n    {}", breach.rule, breach.what, breach.history.join("\n    "));
        }
        all.push((name, killed));
    }
    println!("  scrapes, analyses, answers: paid for to their end, of those that were needed");
    if let Some(file) = &options.json {
        let rows: serde_json::Map<String, Value> =
            all.iter().map(|(name, killed)| ((*name).to_owned(), json!(killed))).collect();
        std::fs::write(file, serde_json::to_string_pretty(&rows)?)?;
    }
    let is_kept = |killed: &Killed| {
        let (figures, reels) = (&killed.figures, &killed.reels);
        figures.lost == 0 && figures.failed == 0 && figures.breaches.is_empty() && reels.paid == reels.needed
    };
    Ok(all.iter().all(|(_, killed)| is_kept(killed)))
}
