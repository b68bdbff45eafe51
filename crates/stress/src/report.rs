//! What a run came to: as a table for a terminal, as JSON, and as one page with plots. Owns the form, no figure.

mod page;

use std::fmt::Write;

use serde::Serialize;

use super::Settings;
use super::faults::{Faults, Happened};
use super::scene::Figures;
use super::storm::Measured;
use reelcoach::core::capacity::scenarios::Scenario;
use sandbox::Terms;

pub use self::page::page;

/// So many breaches of a row are printed.
const BREACHES: usize = 10;

/// What the columns mean.
const LEGEND: &str = "\
first, final: from the message to its answer's first text, and to its end, as the platform took them; failed: answered with an
apology; lost: not answered; CPU s: the bot's, until the last answer; others: the part of all cores that other programs used
";

/// The same where it ran faster than in life.
const COMPRESSED: &str = "\
Where it ran so many times as fast, times and rates are as in life: what the bot itself takes counts so many times, too.
";

/// What one step came to.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    pub people: u32,
    /// Those of them who did say something.
    pub spoke: usize,
    /// What gave, if something did; no step follows then.
    pub gave: Option<Gave>,
}

/// Why a step was the last one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gave {
    /// What did not hold.
    pub what: Vec<String>,
    /// What was at its end meanwhile.
    pub at_its_end: Vec<String>,
}

/// One row: a part, or a step of one.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    pub name: String,
    pub note: String,
    /// What the outside world took and allowed.
    pub terms: Terms,
    /// How many times faster than in life it ran. The times and rates of the figures are as in life all the same; processor
    /// time and memory are what was used.
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

    /// It ran so many times as fast as in life.
    pub(super) fn compressed(self, compress: u32) -> Entry {
        let by = f64::from(compress);
        let figures = Figures {
            per_second: self.figures.per_second / by,
            first_text_ms: self.figures.first_text_ms.times(by),
            final_ms: self.figures.final_ms.times(by),
            ..self.figures
        };
        Entry { compress, figures, ..self }
    }
}

/// The whole run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub version: &'static str,
    pub seed: u64,
    pub faults: Faults,
    pub profile: Option<&'static str>,
    pub database: &'static str,
    pub cores: f64,
    pub debug_build: bool,
    pub interrupted: bool,
    /// The part under way was given up: nothing is known of it.
    pub ended_at_once: bool,
    pub entries: Vec<Entry>,
}

impl Report {
    pub(super) fn new(settings: &Settings) -> Report {
        Report {
            version: env!("CARGO_PKG_VERSION"),
            seed: settings.seed,
            faults: settings.faults,
            profile: settings.profile.map(Scenario::name),
            database: if settings.server.is_some() { "PostgreSQL" } else { "SQLite" },
            cores: super::measure::cores(),
            debug_build: cfg!(debug_assertions),
            interrupted: false,
            ended_at_once: false,
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
            if self.faults != Faults::None {
                let happened = figures.happened.as_ref().map(Happened::told);
                let _ = writeln!(text, "    faults: {}", happened.as_deref().unwrap_or("none in this part"));
            }
        }
        text.push_str(LEGEND);
        if self.entries.iter().any(|entry| entry.compress > 1) {
            text.push_str(COMPRESSED);
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
            for breach in entry.figures.breaches.iter().take(BREACHES) {
                let _ = writeln!(text, "\nBREACH in {}: {}\n  {}", entry.name, breach.rule, breach.what);
                for line in &breach.history {
                    let _ = writeln!(text, "    {line}");
                }
            }
            let more = entry.figures.breaches.len().saturating_sub(BREACHES);
            if more > 0 {
                let _ = writeln!(text, "\nand {more} more in {}; --json FILE keeps them all", entry.name);
            }
        }
        if self.interrupted {
            let end = match self.ended_at_once {
                true => "Ended at once: the part under way was neither finished nor checked.",
                false => "Stopped: what was measured until then.",
            };
            let _ = writeln!(text, "{end}");
        }
        text
    }
}
