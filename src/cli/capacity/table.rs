//! The planner's table for a terminal of 100 columns. Owns its look: what is right, is the planner's; colour is only for a
//! terminal.

use std::fmt::Write;

use crate::core::capacity::{Database, Demand, Load, Part, Report, Status, Tried};
use crate::core::money::Prices;
use crate::core::wording::{
    also_loaded, change, effect, grouped, load as percent, measured as wait, part, usd, wait_of,
};

/// The first column; the others are as wide as what is left for three of them.
const LABEL: usize = 28;
const CELL: usize = 22;
const BAR: usize = 6;
const WIDTH: usize = LABEL + 3 * (CELL + 2);

/// All reports side by side, and what to change below.
pub fn of(reports: &[Report], prices: &Prices, colour: bool) -> String {
    let table = Table { reports, colour };
    let mut text = String::new();
    table.head(&mut text, prices);
    table.demand(&mut text);
    table.load(&mut text);
    table.waits(&mut text);
    table.cost(&mut text);
    table.advice(&mut text);
    text
}

struct Table<'a> {
    reports: &'a [Report],
    colour: bool,
}

impl Table<'_> {
    fn head(&self, text: &mut String, prices: &Prices) {
        let day = self.reports.first().and_then(|report| report.plan.money.at.utc());
        let day = day.map(|day| day.date_naive().to_string()).unwrap_or_default();
        let _ = writeln!(text, "Simulated capacity. Prices of {day} (table {}).\n", prices.version);
        self.row(text, "", |report| self.bold(&report.plan.name, CELL));
    }

    fn demand(&self, text: &mut String) {
        let daily = |report: &Report, of: &dyn Fn(&crate::core::capacity::Daily) -> f64| match &report.plan.demand {
            Demand::Daily(daily) => grouped(of(daily)),
            Demand::Listed(_) => String::new(),
        };
        self.row(text, "People a day", |report| daily(report, &|daily| f64::from(daily.people)));
        self.row(text, "Messages a day", |report| daily(report, &|day| day.messages_a_day()));
        self.row(text, "Reels a day", |report| daily(report, &|day| day.reels_a_day()));
        self.row(text, "At once in the peak", |report| match &report.plan.demand {
            Demand::Daily(daily) => daily.at_once.map_or("spread".into(), |people| grouped(f64::from(people))),
            Demand::Listed(_) => String::new(),
        });
        self.row(text, "Lanes, model", |report| {
            let (reels, model) = (&report.plan.reels, &report.plan.answers.model);
            let n8n = if reels.n8n_lanes > 0 { format!("+{}", reels.n8n_lanes) } else { String::new() };
            format!("{}{n8n}, {}", reels.direct_lanes, model.chars().take(14).collect::<String>())
        });
        self.row(text, "Tier, instances, database", |report| {
            let tier = report.plan.tier.number;
            let tier = if tier > 0 { tier.to_string() } else { "own".into() };
            let database = match report.plan.bot.database {
                Database::Sqlite => "SQLite",
                Database::Postgres => "PostgreSQL",
            };
            format!("{tier}, {}, {database}", report.plan.bot.instances)
        });
    }

    fn load(&self, text: &mut String) {
        self.title(text, "Load at the busiest moment");
        for (at, each) in Part::ALL.into_iter().enumerate() {
            let of = |report: &Report| report.loads.get(at).copied();
            if self.reports.iter().filter_map(of).any(|load| load.load.is_some()) {
                self.row(text, &part(each), |report| of(report).map(|load| self.loaded(load)).unwrap_or_default());
            }
        }
    }

    fn waits(&self, text: &mut String) {
        self.title(text, "What people see");
        self.row(text, "New reel, median", |report| wait_of(&report.outcome.reel_wait, 50.0));
        self.row(text, "  95%", |report| wait_of(&report.outcome.reel_wait, 95.0));
        self.row(text, "  longest", |report| wait_of(&report.outcome.reel_wait, 100.0));
        self.row(text, "First text, median", |report| wait_of(&report.outcome.first_text, 50.0));
        self.row(text, "  95%", |report| wait_of(&report.outcome.first_text, 95.0));
        self.row(text, "  longest", |report| wait_of(&report.outcome.first_text, 100.0));
        let of_asked = |report: &Report, count: u64| share(count, report.outcome.counts.asked);
        self.row(text, "Reels already watched", |report| {
            of_asked(report, report.outcome.counts.cached + report.outcome.counts.remembered)
        });
        self.row(text, "  joined", |report| of_asked(report, report.outcome.counts.joined));
        self.row(text, "  refused", |report| of_asked(report, report.outcome.counts.refused()));
        self.row(text, "Answers refused", |report| {
            let counts = &report.outcome.counts;
            share(counts.given_up, counts.answers())
        });
        self.row(text, "Longest queue", |report| grouped(report.outcome.busiest.waiting as f64));
        self.row(text, "Estimate off by, median", |report| {
            let wrong = &report.outcome.told_wrong;
            if wrong.count() > 0 { percent(wrong.percentile(50.0).as_secs_f64()) } else { "-".into() }
        });
    }

    fn cost(&self, text: &mut String) {
        self.title(text, "Cost of 30 days");
        self.row(text, "OpenAI", |report| usd(report.cost.openai));
        self.row(text, "Apify", |report| usd(report.cost.apify));
        self.row(text, "Gemini", |report| usd(report.cost.gemini));
        if self.reports.iter().any(|report| report.cost.n8n > 0) {
            self.row(text, "n8n", |report| usd(report.cost.n8n));
        }
        self.row(text, "Hosting", |report| usd(report.cost.hosting));
        self.row(text, "Total", |report| self.bold(&usd(report.cost.total()), CELL));
        self.row(text, "  per person", |report| report.cost_per_person().map(usd).unwrap_or_default());
        self.row(text, "Break-even, subscribers", |report| match report.break_even() {
            Some(people) => {
                format!("{} at {}", grouped(people as f64), usd(report.plan.money.subscription))
            }
            None => "-".into(),
        });
    }

    fn advice(&self, text: &mut String) {
        self.title(text, "What to change");
        for report in self.reports {
            let name = &report.plan.name;
            let Some(worst) = report.bottleneck() else {
                let _ = writeln!(text, "  {name:<10}Nothing: no part is loaded above 70%.");
                continue;
            };
            let at = percent(worst.load.unwrap_or_default());
            match report.advice() {
                Some(tried) => {
                    let short = format!(
                        "{} at {at}. Cheapest fix: {}: {}.",
                        part(worst.part),
                        change(&tried.change),
                        effect(tried)
                    );
                    wrapped(text, name, &short);
                    wrapped(text, "", &better(report, tried));
                }
                None => {
                    wrapped(text, name, &format!("{} at {at}. Nothing I tried is enough.", part(worst.part)));
                }
            }
            if let Some(others) = also_loaded(report) {
                wrapped(text, "", &format!("{others}."));
            }
            let others: Vec<String> =
                report.tried.iter().skip(usize::from(report.advice().is_some())).map(other).collect();
            if !others.is_empty() {
                wrapped(text, "", &format!("Also tried: {}.", others.join("; ")));
            }
        }
    }

    fn title(&self, text: &mut String, title: &str) {
        let line =
            "─".repeat(WIDTH.min(LABEL + self.reports.len() * (CELL + 2)).saturating_sub(title.chars().count() + 1));
        let _ = match self.colour {
            true => writeln!(text, "\n\x1b[1m{title}\x1b[0m {line}"),
            false => writeln!(text, "\n{title} {line}"),
        };
    }

    /// A cell may hold colour, which takes no room: it is as wide as a cell already, or has none.
    fn row(&self, text: &mut String, label: &str, cell: impl Fn(&Report) -> String) {
        let mut line = format!("{label:<LABEL$}");
        for report in self.reports {
            let _ = write!(line, "  {:>CELL$}", cell(report));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }

    fn loaded(&self, load: Load) -> String {
        let Some(part) = load.load else { return "no limit".to_owned() };
        let full = ((part * BAR as f64).round() as usize).min(BAR);
        let full = if part > 0.005 { full.max(1) } else { full };
        let bar = format!("{}{}", "█".repeat(full), "░".repeat(BAR - full));
        let (colour, status) = match load.status() {
            Status::Fine => ("32", "fine"),
            Status::Watch => ("33", "watch"),
            Status::Over => ("31", "OVER"),
        };
        let plain = format!("{:>7}  {bar}  {status:<5}", percent(part));
        if self.colour { format!("\x1b[{colour}m{plain}\x1b[0m") } else { plain }
    }

    fn bold(&self, words: &str, width: usize) -> String {
        if self.colour { format!("\x1b[1m{words:>width$}\x1b[0m") } else { words.to_owned() }
    }
}

/// A part of all; `-` if there was nothing.
fn share(count: u64, all: u64) -> String {
    if all > 0 { percent(count as f64 / all as f64) } else { "-".into() }
}

/// What gets better, and what runs short next.
fn better(report: &Report, tried: &Tried) -> String {
    let (before, after) = (&report.outcome, &tried.report.outcome);
    let mut said = Vec::new();
    for (what, before, after) in
        [("a new reel", &before.reel_wait, &after.reel_wait), ("first text", &before.first_text, &after.first_text)]
    {
        let (before, after) = (before.percentile(95.0), after.percentile(95.0));
        if after.as_secs_f64() < 0.95 * before.as_secs_f64() {
            said.push(format!("{what} {} → {} (95%)", wait(before), wait(after)));
        }
    }
    let (few, many) = (after.counts.given_up_part(), before.counts.given_up_part());
    if many > few {
        said.push(format!("answers given up {} → {}", percent(many), percent(few)));
    }
    if said.is_empty() {
        said.push("waits stay as they are".to_owned());
    }
    let next = match tried.next {
        Some(next) => format!(" Next: {} at {}.", part(next.part), percent(next.load.unwrap_or_default())),
        None => String::new(),
    };
    format!("Then: {}.{next}", said.join(", "))
}

fn other(tried: &Tried) -> String {
    let enough = if tried.removes { "" } else { ", not enough" };
    format!("{} ({}{enough})", change(&tried.change), effect(tried))
}

/// Words in lines of the table's width, behind a name.
fn wrapped(text: &mut String, name: &str, words: &str) {
    let mut line = format!("  {name:<10}");
    let indent = line.chars().count();
    let mut length = indent;
    for word in words.split_inclusive(' ') {
        let wide = word.trim_end().chars().count();
        if length + wide > WIDTH && length > indent {
            text.push_str(line.trim_end());
            text.push('\n');
            line = " ".repeat(indent);
            length = indent;
        }
        line.push_str(word);
        length += word.chars().count();
    }
    text.push_str(line.trim_end());
    text.push('\n');
}
