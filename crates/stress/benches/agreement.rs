//! Whether the capacity planner is right: each setting is simulated, and played by the real program against the sandbox,
//! with the same arrivals. Owns the comparison and its bound; what is measured is `stress`'s, what is planned the planner's.
//!
//! `cargo bench -p stress --bench agreement -- [--json FILE] [--quick] [--only NAME,…]`, with `TEST_DATABASE_URL=postgres://…` for
//! what needs PostgreSQL. Ends with 1 if a deviation is too large or a rule is broken.
//!
//! A wait is from the message's arrival at its platform to the whole answer on the screen, of every message, on both sides:
//! those whose reel is known, being read for somebody else, or deleted, among them. Times and rates are as in life.
#![expect(clippy::disallowed_methods, reason = "a program of its own: it reads the environment itself")]

#[path = "../../../benches/shared/database.rs"]
mod database;
#[path = "../../../benches/shared/options.rs"]
mod options;
#[path = "../../../benches/shared/start.rs"]
mod start;
#[path = "agreement/plan.rs"]
mod plan;
#[path = "agreement/settings.rs"]
mod settings;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures::StreamExt;
use serde_json::{Value, json};
use stress::stage::Host;
use stress::storm::{Measured, reel_storm};

use database::{Outcome, server};
use options::Options;
use plan::Planned;
use settings::Compared;

/// The largest deviation of throughput and of the 95 % wait.
const BOUND: f64 = 0.10;

/// Settings that are played at a time, each by a program and a sandbox of its own.
const AT_ONCE: usize = 12;

fn main() -> ExitCode {
    let all = settings::all(false);
    let names: Vec<&str> = all.iter().map(|compared| compared.name).collect();
    start::start(&names, run)
}

async fn run(options: &Options) -> Outcome<bool> {
    let server = server()?;
    let all: Vec<Compared> =
        settings::all(options.quick).into_iter().filter(|compared| options.wants(compared.name)).collect();
    println!(
        "Reels a minute, and waits in seconds from the message to the whole answer: measured by the program under stress,\n\
         planned by simulation, and by how much the plan is off. {AT_ONCE} settings are played at a time, compressed."
    );
    let figures = format!("{:>7} {:>7} {:>8}", "measured", "planned", "off");
    println!("  {:<26}  {:^24} {:^24} {:^24}", "", "reels a minute", "wait of half, s", "wait of 95 %, s");
    println!("  {:<14} asked  read {figures} {figures} {figures}", "setting");
    let (began, busy) = (Instant::now(), Busy::read());
    let playing = all.iter().enumerate().map(|(at, compared)| {
        let server = compared.on_server.then(|| server.clone());
        async move {
            let host = Host { program: PathBuf::from(env!("CARGO_BIN_EXE_stress")), server };
            let measured = reel_storm(&host, &compared.storm).await;
            measured.map(|measured| (at, Row { compared, planned: plan::planned(compared), measured }))
        }
    });
    let mut playing = futures::stream::iter(playing).buffer_unordered(AT_ONCE);
    let mut rows: Vec<Option<Row>> = all.iter().map(|_| None).collect();
    let mut printed = 0;
    while let Some(played) = playing.next().await {
        let (at, row) = played?;
        rows[at] = Some(row);
        while let Some(row) = rows.get(printed).and_then(Option::as_ref) {
            row.print();
            printed += 1;
        }
    }
    let rows: Vec<Row> = rows.into_iter().flatten().collect();
    let broken: Vec<String> = rows.iter().flat_map(Row::broken).collect();
    let took = began.elapsed().as_secs_f64();
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let now = Busy::read();
    let share = |now: Duration, then: Duration| now.saturating_sub(then).as_secs_f64() / (took * cores);
    let (own, all_of_it) = (share(now.own, busy.own), share(now.all, busy.all));
    let others = (all_of_it - own).max(0.0);
    println!(
        "  ({took:.0} s; programs, sandboxes and load used {:.0} % of the processors, others {:.0} %)",
        own * 100.0,
        others * 100.0
    );
    for compared in &all {
        println!("  {:<14} {}", compared.name, compared.about);
    }
    if let Some(file) = &options.json {
        let settings: Vec<Value> = rows.iter().map(Row::json).collect();
        let report =
            json!({"bound": BOUND, "seconds": took, "own_share": own, "others_share": others, "settings": settings});
        fs::write(file, serde_json::to_string_pretty(&report)?)?;
    }
    for what in &broken {
        println!("NOT MET: {what}");
    }
    Ok(broken.is_empty() && !rows.is_empty())
}

struct Row<'a> {
    compared: &'a Compared,
    planned: Planned,
    measured: Measured,
}

impl Row<'_> {
    /// What is compared: measured, planned.
    fn pairs(&self) -> [(&'static str, f64, f64); 3] {
        let (planned, measured) = (&self.planned, &self.measured);
        [
            ("reels a minute", measured.throughput_per_minute, planned.per_minute),
            ("wait of half of all", measured.wait_s.p50, planned.p50),
            ("wait of 95 %", measured.wait_s.p95, planned.p95),
        ]
    }

    fn print(&self) {
        let of = |(_, measured, planned): (&str, f64, f64)| {
            format!("{measured:>7.2} {planned:>7.2} {:>+6.1} %", off(measured, planned) * 100.0)
        };
        let [rate, half, most] = self.pairs().map(of);
        let Measured { asked, read, .. } = self.measured;
        println!("  {:<14} {asked:>5} {read:>5} {rate} {half} {most}", self.compared.name);
    }

    fn broken(&self) -> Vec<String> {
        let name = self.compared.name;
        let held = |(what, _, _): &(&str, f64, f64)| *what != "wait of half of all";
        let far = self
            .pairs()
            .into_iter()
            .filter(held)
            .filter(|(_, measured, planned)| off(*measured, *planned).abs() > BOUND);
        let mut broken: Vec<String> = far
            .map(|(what, measured, planned)| format!("{name}: {what}: measured {measured:.2}, planned {planned:.2}"))
            .collect();
        let Measured { asked, read, answered, .. } = self.measured;
        if answered < asked {
            broken.push(format!("{name}: {answered} of {asked} answered"));
        }
        broken.extend(self.measured.broken.iter().map(|what| format!("{name}: {what}")));
        if read != self.planned.read {
            broken.push(format!("{name}: {read} reels read, {} planned", self.planned.read));
        }
        broken
    }

    fn json(&self) -> Value {
        let (planned, measured, compared) = (&self.planned, &self.measured, self.compared);
        let figures: Vec<Value> = self
            .pairs()
            .iter()
            .map(|(what, measured, planned)| {
                json!({"what": what, "measured": measured, "planned": planned, "off": off(*measured, *planned)})
            })
            .collect();
        let storm = &compared.storm;
        json!({"setting": compared.name, "about": compared.about, "lanes": storm.lanes, "workflows": storm.workflows,
            "compressed": storm.compress, "seed": storm.seed, "asked": measured.asked, "read": measured.read,
            "read_planned": planned.read, "answered": measured.answered, "breaches": measured.breaches, "figures": figures})
    }
}

/// By which part of what was measured the plan is off.
fn off(measured: f64, planned: f64) -> f64 {
    planned / measured.max(1e-9) - 1.0
}

/// What was used of the processors so far, from /proc.
struct Busy {
    /// By this program and those it has started and seen end.
    own: Duration,
    all: Duration,
}

impl Busy {
    fn read() -> Busy {
        let ticks = |text: &str, fields: &[usize]| -> Duration {
            let numbers: Vec<&str> = text.split_whitespace().collect();
            let ticks: u64 = fields.iter().filter_map(|at| numbers.get(*at)?.parse::<u64>().ok()).sum();
            // A tick is 10 ms wherever Linux runs (USER_HZ).
            Duration::from_millis(ticks * 10)
        };
        let own = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let all = fs::read_to_string("/proc/stat").unwrap_or_default();
        Busy {
            // utime, stime, cutime and cstime, counted from the state, which follows the name in parentheses (proc(5)).
            own: ticks(own.rsplit(')').next().unwrap_or_default(), &[11, 12, 13, 14]),
            // user, nice, system, irq, softirq
            all: ticks(all.lines().next().unwrap_or_default(), &[1, 2, 3, 6, 7]),
        }
    }
}
