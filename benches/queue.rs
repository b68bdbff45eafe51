//! What the reel queue promises, measured: how busy it keeps its lanes, how true its times are, how often nothing has
//! to be bought, how fast instances hear of each other, and what a crowd sees. Owns the scenarios and their bounds; the
//! code under measure is the product's.
//!
//! `cargo bench --bench queue -- [--json FILE] [--quick] [--only lanes,eta,hits,wake,boards]`, with
//! `TEST_DATABASE_URL=postgres://…` for what needs PostgreSQL. Ends with 1 if a bound is not met.
#![expect(
    clippy::disallowed_methods,
    reason = "a program of its own: it starts its tasks and reads the environment itself"
)]

#[path = "queue/boards.rs"]
mod boards;
#[path = "queue/bot.rs"]
mod bot;
#[path = "shared/database.rs"]
mod database;
#[path = "queue/eta.rs"]
mod eta;
#[path = "queue/hits.rs"]
mod hits;
#[path = "queue/lanes.rs"]
mod lanes;
#[path = "shared/options.rs"]
mod options;
#[path = "shared/start.rs"]
mod start;
#[path = "queue/wake.rs"]
mod wake;

use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use database::{Failed, Outcome};
use options::Options;

const SCENARIOS: [&str; 5] = ["lanes", "eta", "hits", "wake", "boards"];

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
        let busy = Busy::start();
        let began = Instant::now();
        let found = match scenario {
            "lanes" => lanes::run(options.quick).await?,
            "eta" => eta::run(options.quick).await?,
            "hits" => hits::run(options.quick).await?,
            "wake" => wake::run().await?,
            _ => boards::run(options.quick).await?,
        };
        let others = busy.others();
        let took = began.elapsed().as_secs_f64();
        println!("  ({took:.0} s; other programs used {:.0} % of the processors)\n", others * 100.0);
        let held = found.broken.is_empty();
        let entry = json!({"figures": found.figures, "holds": held, "seconds": took, "others_share": others});
        report.insert(scenario.to_owned(), entry);
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

/// The `part` (0 to 1) of sorted values, by rank.
fn at<T: Copy + Default>(sorted: &[T], part: f64) -> T {
    let rank = (part * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// What other processes use of the machine, from /proc.
struct Busy {
    began: Instant,
    others: Duration,
}

impl Busy {
    fn start() -> Busy {
        Busy { began: Instant::now(), others: Busy::read() }
    }

    fn others(&self) -> f64 {
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        Busy::read().saturating_sub(self.others).as_secs_f64() / (self.began.elapsed().as_secs_f64() * cores).max(1e-3)
    }

    fn read() -> Duration {
        let ticks = |text: &str, fields: &[usize]| -> u64 {
            let numbers: Vec<&str> = text.split_whitespace().collect();
            fields.iter().filter_map(|at| numbers.get(*at)?.parse::<u64>().ok()).sum()
        };
        let own = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // utime and stime, counted from the state, which follows the name in parentheses (proc(5)).
        let own = ticks(own.rsplit(')').next().unwrap_or_default(), &[11, 12]);
        let all = fs::read_to_string("/proc/stat").unwrap_or_default();
        // user, nice, system, irq, softirq
        let all = ticks(all.lines().next().unwrap_or_default(), &[1, 2, 3, 6, 7]);
        // A tick is 10 ms wherever Linux runs (USER_HZ).
        Duration::from_millis(all.saturating_sub(own) * 10)
    }
}
