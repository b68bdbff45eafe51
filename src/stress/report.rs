//! What a run came to: as a table for a terminal, as JSON, and as one page with plots. Owns the form, no figure.

mod page;

use std::fmt::Write;

use serde::Serialize;

use super::faults::Faults;
use super::people::Step;
use super::scene::Figures;
use super::storm::Measured;
use super::{Profile, Settings};
use crate::sandbox::Terms;

pub use self::page::page;

/// One row: a part, or a step of one.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    pub name: String,
    pub note: String,
    /// What the outside world took and allowed.
    pub terms: Terms,
    /// How many times faster than in life it ran.
    pub compress: u32,
    #[serde(flatten)]
    pub figures: Figures,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storm: Option<Measured>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<Step>,
}

impl Entry {
    pub(super) fn of(name: &str, note: String, terms: Terms, figures: Figures) -> Entry {
        Entry { name: name.to_owned(), note, terms, compress: 1, figures, storm: None, step: None }
    }
}

/// The whole run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub version: &'static str,
    pub seed: u64,
    pub faults: Faults,
    pub profile: Option<Profile>,
    pub database: &'static str,
    pub cores: f64,
    pub debug_build: bool,
    pub interrupted: bool,
    pub entries: Vec<Entry>,
}

impl Report {
    pub(super) fn new(settings: &Settings) -> Report {
        Report {
            version: env!("CARGO_PKG_VERSION"),
            seed: settings.seed,
            faults: settings.faults,
            profile: settings.profile,
            database: if settings.server.is_some() { "PostgreSQL" } else { "SQLite" },
            cores: super::measure::cores(),
            debug_build: cfg!(debug_assertions),
            interrupted: false,
            entries: Vec::new(),
        }
    }

    /// How many things did not hold.
    pub fn breaches(&self) -> usize {
        self.entries.iter().map(|entry| entry.figures.breaches.len()).sum()
    }

    /// The table, the rules, and the history of what broke them.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let build = if self.debug_build { ", debug build" } else { "" };
        let faults = format!("{:?}", self.faults).to_lowercase();
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "reelcoach {} on {}, {} cores shared by bot, sandbox and load{build}; seed {}, faults {faults}",
            self.version, self.database, self.cores, self.seed
        );
        let _ = writeln!(
            text,
            "{:<18} {:>6} {:>7} {:>20} {:>20} {:>7} {:>6} {:>5} {:>6} {:>6} {:>6} {:>6}",
            "part",
            "msgs",
            "/s",
            "first p50/95/99 ms",
            "final p50/95/99 ms",
            "refused",
            "failed",
            "lost",
            "errors",
            "CPU s",
            "RSS MB",
            "others"
        );
        for entry in &self.entries {
            let figures = &entry.figures;
            let spans = |of: super::measure::Percentiles| format!("{:.0}/{:.0}/{:.0}", of.p50, of.p95, of.p99);
            let _ = writeln!(
                text,
                "{:<18} {:>6} {:>7.1} {:>20} {:>20} {:>7} {:>6} {:>5} {:>6} {:>6.1} {:>6.0} {:>5.0}%",
                entry.name,
                figures.messages,
                figures.per_second,
                spans(figures.first_text_ms),
                spans(figures.final_ms),
                figures.refused,
                figures.failed,
                figures.lost,
                figures.errors,
                figures.used.bot_cpu_seconds,
                figures.used.bot_rss_mb,
                figures.used.others_share * 100.0
            );
            let _ = writeln!(text, "    {}", entry.note);
        }
        let checked: Vec<_> = self.entries.iter().flat_map(|entry| &entry.figures.checks).collect();
        let mut rules: Vec<&str> = checked.iter().map(|check| check.rule).collect();
        rules.dedup();
        let mut told = std::collections::BTreeSet::new();
        for rule in rules.into_iter().filter(|rule| told.insert(*rule)) {
            let of = || checked.iter().filter(|check| check.rule == rule);
            let breaches: usize = of().map(|check| check.breaches).sum();
            let looked_at: usize = of().map(|check| check.looked_at).sum();
            let held = match (breaches, looked_at) {
                (0, 0) => "nothing to see".to_owned(),
                (0, _) => "holds".to_owned(),
                _ => format!("BROKEN {breaches} times"),
            };
            let _ = writeln!(text, "{held:<16} {rule} ({looked_at} looked at)");
            for note in of().filter(|check| !check.note.is_empty()).map(|check| &check.note) {
                let _ = writeln!(text, "                 - {note}");
            }
        }
        for entry in &self.entries {
            for breach in entry.figures.breaches.iter().take(10) {
                let _ = writeln!(text, "\nBREACH in {}: {}\n  {}", entry.name, breach.rule, breach.what);
                for line in &breach.history {
                    let _ = writeln!(text, "    {line}");
                }
            }
        }
        if self.interrupted {
            let _ = writeln!(text, "Interrupted: what was measured until then.");
        }
        text
    }
}
