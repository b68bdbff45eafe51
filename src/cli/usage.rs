//! `usage`: what was used and what it cost, at the command line. Owns its table and files; the figures and their
//! sentences are the core's.

use std::fmt::Write;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::MISCONFIGURED;
use crate::clock::Clock;
use crate::config::Config;
use crate::core::admin::chart::{Look, Painter};
use crate::core::admin::figures::{ALL_LINES, charts, report};
use crate::core::command::figures::{By, Figures, GRAMMAR, Lead};
use crate::core::money::dollars;
use crate::core::report::Report;
use crate::core::wording;
use crate::store::Store;

/// Lines of the table; a file has them all.
const LINES_SHOWN: usize = 40;

/// Columns of the names, and of the bars.
const NAME: usize = 32;
const BAR: usize = 20;

#[derive(clap::Args)]
pub struct Options {
    /// Period and grouping, for example `7d by tool`. Periods: today, yesterday, week, month, year, 7d, 2026-10,
    /// 2026-10-05, 2026-10-01..2026-10-31. Group by: model, tool, platform, server, chat, person, day
    #[arg(value_name = "WORDS")]
    words: Vec<String>,
    /// Print JSON
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Write every row to this file; `-` prints it
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Draw the cost per day into this PNG, by tool if grouped by tool, else by model
    #[arg(long, value_name = "FILE.png")]
    chart: Option<PathBuf>,
}

pub async fn run(config: &Config, options: Options) -> anyhow::Result<ExitCode> {
    let words = options.words.join(" ");
    let Some(figures) = Figures::read(Lead::Cost, &words) else {
        let grammar = GRAMMAR.replace("; csv", "");
        eprintln!("reelcoach: can't read “{words}”. Give a period and a grouping: {grammar}.");
        return Ok(ExitCode::from(MISCONFIGURED));
    };
    let store = Store::open(&config.database_url, 4).await?;
    store.tables().await?;
    let most = if options.json || options.csv.is_some() { ALL_LINES } else { LINES_SHOWN };
    let report = report(&store, figures, None, most, Clock::System.now())
        .await
        .context("can't read the usage figures. Run `reelcoach migrate`")?;
    store.close().await;
    if let Some(file) = &options.chart {
        draw(&report, file).await?;
    }
    match &options.csv {
        Some(file) if file.as_os_str() == "-" => print!("{}", report.csv()),
        Some(file) => {
            std::fs::write(file, report.csv()).with_context(|| format!("can't write {}", file.display()))?;
            let rows = report.lines.len();
            println!("Wrote {rows} {} to {}.", if rows == 1 { "row" } else { "rows" }, file.display());
        }
        None if options.json => println!("{}", serde_json::to_string_pretty(&report)?),
        None => print!("{}", shown(&report, std::io::stdout().is_terminal())),
    }
    Ok(ExitCode::SUCCESS)
}

async fn draw(report: &Report, file: &Path) -> anyhow::Result<()> {
    let wanted = if report.figures.by == By::Tool { "cost-by-tool" } else { "cost-by-model" };
    let Some((_, chart)) = charts(report).into_iter().find(|(name, _)| *name == wanted) else {
        bail!("nothing was paid in this period, so there's nothing to draw");
    };
    let picture = Painter::default().picture("cost.png", chart, Look::Light).await?;
    std::fs::write(file, &picture.content).with_context(|| format!("can't write {}", file.display()))?;
    Ok(())
}

/// The report as a terminal shows it; with emphasis if it is one.
fn shown(report: &Report, emphasis: bool) -> String {
    let strong = |text: &str| if emphasis { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() };
    let mut text = format!("{}\n\n", strong(&format!("Usage and cost, {}", wording::usage::period(report))));
    for line in wording::usage::summary(report).lines() {
        let _ = match line.split_once(": ") {
            Some((what, rest)) => writeln!(text, "  {what:<20}{rest}"),
            None => writeln!(text, "  {line}"),
        };
    }
    if report.lines.is_empty() {
        return text;
    }
    let head = format!(
        "{:<NAME$} {:>8} {:>7} {:>9} {:>7} {:>9} {:>11}",
        report.figures.by.name(),
        "calls",
        "failed",
        "input",
        "cached",
        "output",
        "cost"
    );
    let _ = writeln!(text, "\n{}", strong(&head));
    let dearest = report.lines.iter().map(|line| line.sums.micro_usd).max().unwrap_or(0).max(1);
    let more = (report.more > 0).then(|| (format!("and {} more", report.more), report.rest));
    let total = ("total".to_owned(), report.total);
    let lines = report.lines.iter().map(|line| (line.name.clone(), line.sums)).chain(more).chain([total]);
    for (name, sums) in lines {
        let cached = if sums.input_tokens > 0 { sums.cached_tokens * 100 / sums.input_tokens } else { 0 };
        let full = (i128::from(sums.micro_usd.max(0)) * (BAR as i128) * 2 / i128::from(dearest)) as usize;
        let bar = match name.as_str() {
            "total" => String::new(),
            _ => {
                format!("{}{}", "█".repeat((full / 2).min(BAR)), if full % 2 == 1 && full / 2 < BAR { "▌" } else { "" })
            }
        };
        let line = format!(
            "{} {:>8} {:>7} {:>9} {:>6}% {:>9} {:>11} {bar}",
            fitted(&name),
            sums.calls,
            sums.failed,
            wording::usage::compact(sums.input_tokens),
            cached,
            wording::usage::compact(sums.output_tokens),
            dollars(sums.micro_usd)
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// A name as wide as its column; it may be anybody's, and moves no cursor.
fn fitted(name: &str) -> String {
    let mut kept = String::new();
    let mut width = 0;
    for c in name.chars().filter(|c| !c.is_control()) {
        width += c.width().unwrap_or(0);
        if width > NAME - 1 {
            kept.push('…');
            break;
        }
        kept.push(c);
    }
    kept.extend(std::iter::repeat_n(' ', NAME.saturating_sub(kept.width())));
    kept
}
