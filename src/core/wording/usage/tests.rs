//! Reports as people see them.

use super::*;
use crate::clock::Timestamp;
use crate::core::command::figures::Figures;
use crate::core::report::Facts;
use crate::ids::{GuildId, Platform};
use crate::store::usage::{CountRow, ModelRow, PlaceRow, ReservedNow, Sums, TimeRow};

/// 2026-11-24, 12:00 UTC.
const NOON: Timestamp = Timestamp(1_795_521_600_000);

fn facts(days: crate::store::usage::Days) -> Facts {
    let sums = |calls, micro_usd: i64| Sums {
        estimated_micro_usd: micro_usd / 50,
        calls,
        failed: calls / 100,
        input_tokens: calls * 2_000,
        cached_tokens: calls * 1_300,
        output_tokens: calls * 300,
        micro_usd,
        ..Sums::default()
    };
    let model = |day, model: &str, tool: &str, calls, micro_usd| ModelRow {
        day,
        platform: "discord".into(),
        provider: "openai".into(),
        model: model.into(),
        tool: tool.into(),
        sums: sums(calls, micro_usd),
    };
    let models: Vec<ModelRow> = (days.from..days.to)
        .flat_map(|day| {
            [
                model(day, "gpt-6.1-sol", "coach", 410, 1_230_000),
                model(day, "gemini-3.8-flash", "analyse", 40, 254_000),
                model(day, "apify~instagram-reel-scraper", "scrape", 40, 92_000),
            ]
        })
        .collect();
    let place = |key: &str, name: Option<&str>| PlaceRow {
        key: key.into(),
        name: name.map(str::to_owned),
        groups: 14,
        sums: sums(700, 4_000_000),
    };
    let places = vec![
        place("discord:613425648685547541", None),
        place("0192f5e2b3c47d5e8f901234567890ab", Some("Ana-Maria 🥐 the baker of the north")),
        place("", None),
    ];
    let count = |what: &str, outcome: &str, count| CountRow {
        day: days.from,
        platform: "discord".into(),
        what: what.into(),
        outcome: outcome.into(),
        count,
    };
    let counts = vec![
        count("talk", "answered", 8_120),
        count("talk", "undeliverable", 3),
        count("reel", "answered", 1_400),
        count("source", "model", 9_000),
        count("source", "recalled", 310),
        count("source", "own", 200),
        count("source", "failure", 10),
        count("request", "queued", 960),
        count("request", "joined", 140),
        count("request", "cached", 420),
        count("request", "failed", 30),
        count("request", "denied", 12),
        count("job", "done", 950),
        count("tool", "ok", 1_990),
        count("tool", "failed", 10),
    ];
    let time = |what: &str, ms: i64, count| TimeRow { slot: 0, what: what.into(), bucket: Buckets::of(ms), count };
    let times = vec![
        time("first_text", 700, 90),
        time("first_text", 2_300, 10),
        time("answer", 4_300, 90),
        time("answer", 11_000, 10),
        time("wait", 14_000, 80),
        time("wait", 150_000, 20),
    ];
    let reserved = ReservedNow { calls: 2, micro_usd: 120_000 };
    Facts { recent: models.clone(), models, places, counts, times, reserved }
}

fn said(lead: Lead, words: &str, guild: Option<&GuildId>) -> String {
    let figures = Figures::read(lead, words).unwrap();
    let days = figures.period.days(NOON);
    report(&Report::new(figures, days, facts(days), guild, 12, NOON))
}

#[test]
fn reports() {
    let guild = GuildId::new(Platform::Discord, "613425648685547541");
    let figures = Figures::read(Lead::Usage, "2026-02").unwrap();
    let days = figures.period.days(NOON);
    let said = [
        said(Lead::Cost, "", None),
        said(Lead::Cost, "year by server", None),
        said(Lead::Cost, "2025-12-30..2026-01-02 by person", Some(&guild)),
        said(Lead::Usage, "today by tool", None),
        report(&Report::new(figures, days, Facts::default(), None, 12, NOON)),
        unclear_figures(),
    ];
    for line in said[..4].iter().flat_map(|text| {
        let table = text.split("```").nth(1).unwrap();
        table.lines()
    }) {
        assert!(line.width() <= 40, "{line}");
    }
    insta::assert_snapshot!(said.join("\n---\n"));
}
