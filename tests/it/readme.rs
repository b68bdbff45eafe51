//! The README against the code: tables made from the code's own, files that exist, commands that the program takes.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use reelcoach::clock::Timestamp;
use reelcoach::config::VARIABLES;
use reelcoach::core::alerts::{RULES, Side};
use reelcoach::core::command::COMMANDS;
use reelcoach::core::money::Prices;
use reelcoach::telemetry::METRICS;
use reelcoach::upstream::Usage;
use reelcoach::upstream::openai::efforts;

const README: &str = include_str!("../../README.md");

/// The models that the README speaks of: what is or was usual for a coach, and what watches videos.
const MODELS: [&str; 10] = [
    "gpt-6.1-sol",
    "gpt-6.2-sol",
    "gpt-6.1-terra",
    "gpt-6-luna",
    "gpt-6.2-astra",
    "gpt-5",
    "gpt-5-mini",
    "gpt-5-nano",
    "gemini-3.8-flash",
    "gemini-3.5-flash-lite",
];

/// 24 November 2026: the prices of that day.
const PRICED_AT: Timestamp = Timestamp(1_795_478_400_000);

/// What stands between `<!-- name:begin -->` and `<!-- name:end -->`.
fn block(name: &str) -> &'static str {
    let begin = format!("<!-- {name}:begin -->\n");
    let from = README.find(&begin).unwrap_or_else(|| panic!("the README has no {begin}")) + begin.len();
    let length = README[from..].find(&format!("<!-- {name}:end -->")).expect("the block ends");
    &README[from..from + length]
}

#[track_caller]
fn assert_block(name: &str, wanted: &str) {
    let found = block(name);
    assert!(found == wanted, "between <!-- {name}:begin --> and <!-- {name}:end --> the README must read:\n{wanted}");
}

fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}

#[test]
fn the_configuration_table_is_the_codes() {
    let mut wanted = String::new();
    let mut section = None;
    for variable in VARIABLES {
        if section != Some(variable.section) {
            let gap = if section.is_some() { "\n" } else { "" };
            section = Some(variable.section);
            write!(
                wanted,
                "{gap}**{}**\n\n| Variable | Default | Meaning |\n|---|---|---|\n",
                variable.section.title()
            )
            .unwrap();
        }
        let key = if variable.secret { " 🔑" } else { "" };
        writeln!(wanted, "| `{}`{key} | {} | {} |", variable.name, code(variable.default), variable.meaning).unwrap();
    }
    assert_block("config", &wanted);
}

#[test]
fn the_command_table_is_the_codes() {
    let mut wanted = String::from("| Command | Meaning |\n|---|---|\n");
    for entry in COMMANDS {
        let argument = if entry.argument.is_empty() { String::new() } else { format!(" <{}>", entry.argument) };
        writeln!(wanted, "| `/{}{argument}` | {} |", entry.name, entry.meaning).unwrap();
    }
    assert_block("commands", &wanted);
}

#[test]
fn the_metrics_table_is_the_codes() {
    let mut wanted = String::from("| Metric | Kind | Meaning |\n|---|---|---|\n");
    for metric in METRICS {
        let kind = format!("{:?}", metric.kind).to_lowercase();
        writeln!(wanted, "| `{}` | {kind} | {} |", metric.name, metric.help).unwrap();
    }
    assert_block("metrics", &wanted);
}

#[test]
fn the_alerts_table_is_the_codes() {
    let mut wanted = String::from("| Rule | Limit | Lasts | What it measures |\n|---|---|---|---|\n");
    for rule in RULES {
        let side = if rule.side == Side::Above { "above" } else { "below" };
        let lasts = match rule.raise_after.as_secs() {
            0 => "at once".to_owned(),
            seconds => format!("{} min", seconds / 60),
        };
        writeln!(wanted, "| `{}` | {side} {} | {lasts} | {} |", rule.name, rule.threshold, rule.measures).unwrap();
    }
    assert_block("alerts", &wanted);
}

#[test]
fn the_models_table_is_the_codes() {
    let prices = Prices::built_in();
    let mut wanted = String::from(
        "| Model | Input | Cached | Cache write | Output | `COACH_EFFORT` | Switched off |\n|---|---|---|---|---|---|---|\n",
    );
    // Fewer tokens than any limit above which other prices hold.
    const TOKENS: u64 = 100_000;
    for model in MODELS {
        let price = |usage: Usage| {
            let cost = prices.cost(model, &usage, PRICED_AT).expect("a model of the table");
            format!("{}", cost as f64 / TOKENS as f64)
        };
        let input = Usage { input_tokens: TOKENS, ..Usage::default() };
        let columns = [
            price(input),
            price(Usage { cached_tokens: TOKENS, ..input }),
            price(Usage { cache_write_tokens: TOKENS, ..input }),
            price(Usage { output_tokens: TOKENS, ..Usage::default() }),
        ]
        .join(" | ");
        let efforts = efforts(model).unwrap_or_default();
        let efforts = efforts.iter().map(|effort| effort.name()).collect::<Vec<_>>().join(", ");
        let end = prices.shutdown_of(model).unwrap_or_default();
        writeln!(wanted, "| `{model}` | {columns} | {efforts} | {end} |").unwrap();
    }
    assert_block("models", &wanted);
}

#[test]
fn the_invite_link_asks_for_the_permissions_that_are_named() {
    // Bits of the Discord API reference, Permissions.
    let known = [
        ("View Channels", 10),
        ("Send Messages", 11),
        ("Attach Files", 15),
        ("Read Message History", 16),
        ("Send Messages in Threads", 38),
    ];
    let mut sum = 0_u64;
    let mut rows = 0;
    for row in block("permissions").lines().skip(2) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let bit =
            known.iter().find(|(name, _)| *name == cells[1]).unwrap_or_else(|| panic!("{} is not known", cells[1])).1;
        assert_eq!(cells[2], bit.to_string(), "{}", cells[1]);
        sum |= 1 << bit;
        rows += 1;
    }
    assert_eq!(rows, known.len());
    assert!(README.contains(&format!("&permissions={sum}`")), "the invite link must end in &permissions={sum}");
}

#[test]
fn the_named_dates_and_defaults_are_the_codes() {
    let prices = Prices::built_in();
    for model in ["gpt-5", "gpt-5-mini", "gpt-5-nano"] {
        assert_eq!(prices.shutdown_of(model), Some("2026-12-11"), "the README names the day for {model}");
    }
    let default = |name: &str| VARIABLES.iter().find(|variable| variable.name == name).map(|variable| variable.default);
    assert_eq!(default("COACH_MODEL"), Some("gpt-6.1-sol"), "the README calls it the default");
    assert_eq!(default("REEL_CACHE_DAYS"), Some("30"), "the README's queue table names it");
    assert_eq!(default("REEL_INTERVAL_SECONDS"), Some("30"), "the README's queue table names it");
    assert_eq!(default("REEL_WAITING_PER_PERSON"), Some("5"), "the README's queue table names it");
    assert_eq!(default("REEL_WAITING"), Some("500"), "the README's queue table names it");
    assert_eq!(default("SHUTDOWN_SECONDS"), Some("30"), "deploy/ gives 50 s for 10 s and this");
}

#[test]
fn the_compose_files_set_variables_that_exist_and_fit_together() {
    let scale = include_str!("../../deploy/compose.scale.yaml");
    let set = |file: &'static str| -> Vec<(&str, &str)> {
        let lines = file.lines().filter_map(|line| line.strip_prefix("      ")?.split_once(": "));
        let upper = lines.filter(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'));
        // Those of PostgreSQL's own image.
        upper
            .filter(|(name, _)| !name.starts_with("POSTGRES_"))
            .map(|(name, value)| (name, value.trim_matches('"')))
            .collect()
    };
    for file in [scale, include_str!("../../deploy/compose.yaml")] {
        assert!(set(file).len() >= 2, "variables are found");
        for (name, _) in set(file) {
            assert!(VARIABLES.iter().any(|variable| variable.name == name), "{name} is no variable of the program");
        }
    }
    let number = |name: &str| -> u32 {
        let value = set(scale).into_iter().find(|(set, _)| *set == name).map(|(_, value)| value);
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("compose.scale.yaml sets {name}"))
    };
    let replicas = scale.lines().find_map(|line| line.trim().strip_prefix("replicas: ")?.parse::<u32>().ok());
    let replicas = replicas.expect("compose.scale.yaml sets replicas");
    assert!(replicas >= 3);
    let telegram =
        VARIABLES.iter().find(|variable| variable.name == "TELEGRAM_PER_SECOND").map(|variable| variable.default);
    assert_eq!(
        Some((replicas * number("TELEGRAM_PER_SECOND")).to_string().as_str()),
        telegram,
        "each instance paces for itself"
    );
    assert!(replicas * (number("DATABASE_CONNECTIONS") + 1) <= 97, "PostgreSQL gives 100, three of them to superusers");
}

#[test]
fn the_shortcodes_of_the_sandbox_are_the_stand_ins() {
    let prefixes = |text: &str| -> BTreeSet<String> {
        let codes = text.match_indices("…`").filter_map(|(at, _)| text.get(at.checked_sub(5)?..at));
        codes.filter(|code| code.starts_with('D')).map(str::to_owned).collect()
    };
    let files = [include_str!("../../src/sandbox/apify.rs"), include_str!("../../src/sandbox/apify/posts.rs")];
    let documented = files.iter().flat_map(|file| file.lines().take_while(|line| line.starts_with("//!")));
    let documented = prefixes(&documented.collect::<Vec<_>>().join("\n"));
    assert!(documented.len() > 10, "codes are found");
    let section = README.split("## Sandbox\n").nth(1).and_then(|rest| rest.split("\n## ").next());
    assert_eq!(prefixes(section.expect("the section is there")), documented);
}

#[test]
fn every_linked_file_and_heading_is_there() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let anchors: BTreeSet<String> = README.lines().filter_map(|line| line.strip_prefix("## ")).map(anchor).collect();
    let mut files = 0;
    for (at, _) in README.match_indices("](") {
        let target = &README[at + 2..];
        let target = &target[..target.find(')').expect("a link ends")];
        if let Some(heading) = target.strip_prefix('#') {
            assert!(anchors.contains(heading), "the README has no heading for #{heading}");
        } else if !target.starts_with("https://") {
            assert!(top.join(target).is_file(), "the README links to {target}, which is not there");
            files += 1;
        }
    }
    assert!(files > 10, "links are found");
    for name in
        README.split('`').skip(1).step_by(2).filter(|name| name.starts_with("deploy/") || name.starts_with("src/"))
    {
        assert!(top.join(name).exists(), "the README names {name}, which is not there");
    }
    for name in std::fs::read_dir(top.join("deploy")).expect("deploy/ is there") {
        let name = name.expect("a file").file_name().into_string().expect("a plain name");
        // What only Docker reads goes with the Dockerfile.
        assert!(
            name.ends_with(".dockerignore") || README.contains(&format!("deploy/{name}")),
            "deploy/{name} is not in the README"
        );
    }
}

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-')
        .collect::<String>()
        .replace(' ', "-")
}

#[test]
fn every_command_line_is_taken_by_the_program() {
    let help = |command: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_reelcoach")).args(command).arg("--help").output().expect("it runs");
        assert!(output.status.success(), "reelcoach {command:?} --help");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let top = help(&[]);
    let known: BTreeSet<String> = top
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .map_while(|line| line.strip_prefix("  "))
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect();
    let mut named = BTreeSet::new();
    let lines = command_lines();
    for line in &lines {
        let words: Vec<&str> = line.split_whitespace().take_while(|word| !matches!(*word, ">" | "&" | "|")).collect();
        let arguments = match words[..] {
            ["cargo", "run", "--release", "--", ref rest @ ..] => rest,
            ["reelcoach", ref rest @ ..] => rest,
            ["tests/run"] => {
                assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/run").is_file(), "tests/run is not there");
                continue;
            }
            _ => panic!("a form that this test does not know: {line}"),
        };
        let (subcommand, flags) = split(arguments);
        assert!(known.contains(subcommand), "`{line}`: the program has no command {subcommand:?}, only {known:?}");
        named.insert(subcommand);
        if subcommand == "help" {
            continue;
        }
        let help = help(&[subcommand]);
        for flag in flags {
            assert!(
                help.contains(&format!("{flag} ")) || help.contains(&format!("{flag}\n")),
                "`{line}`: no flag {flag}"
            );
        }
    }
    let all: BTreeSet<&str> = known.iter().map(String::as_str).collect();
    assert_eq!(named, all, "the README shows every command of the program");
}

/// Command lines of this program: in blocks of `sh`, and in backquotes.
fn command_lines() -> Vec<String> {
    let is_ours = |line: &&str| ["cargo run", "tests/run", "reelcoach "].iter().any(|start| line.starts_with(start));
    let blocks = README.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let fenced = blocks.flat_map(str::lines).map(str::trim).filter(is_ours);
    // Three backquotes are an odd number, as one is: what is inside stays inside.
    let quoted = README.split('`').skip(1).step_by(2).filter(|text| !text.contains('\n')).filter(is_ours);
    fenced.chain(quoted).map(|line| line.replace(['[', ']'], "")).collect()
}

/// The subcommand and the flags.
fn split<'a>(arguments: &[&'a str]) -> (&'a str, Vec<&'a str>) {
    let mut words = arguments.iter().copied();
    let (mut subcommand, mut flags) = ("", Vec::new());
    while let Some(word) = words.next() {
        if word.starts_with("--") {
            flags.push(word);
            // `--offline` alone has no value.
            if word != "--offline" {
                words.next();
            }
        } else if subcommand.is_empty() {
            subcommand = word;
        }
    }
    (subcommand, flags)
}
