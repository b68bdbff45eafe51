//! The pages against the code: tables made from the code's own, files and headings that exist, commands that the program takes.
//!
//! `WRITE_DOCS=1 cargo test --test it docs::` writes the generated page and tables (`access::table` and `capacity::` theirs).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use clap::Parser;
use reelcoach::clock::Timestamp;
use reelcoach::config::VARIABLES;
use reelcoach::core::alerts::{RULES, Side};
use reelcoach::core::command::{COMMANDS, Entry};
use reelcoach::core::money::Prices;
use reelcoach::store::{FOR_COSTS, FOR_LEASES};
use reelcoach::telemetry::METRICS;
use reelcoach::upstream::Usage;
use reelcoach::upstream::openai::efforts;

/// Most lines of the README.
const README_LINES: usize = 200;

/// The models that the table names: what is or was usual for a coach, and what watches videos.
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

/// One writer of pages at a time.
static WRITING: Mutex<()> = Mutex::new(());

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page(path: &str) -> String {
    std::fs::read_to_string(top().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every page for people, by its path.
fn pages() -> BTreeMap<String, String> {
    let mut paths: Vec<String> = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(str::to_owned).to_vec();
    for entry in std::fs::read_dir(top().join("docs")).expect("docs/ is there") {
        let name = entry.expect("a file").file_name().into_string().expect("a plain name");
        paths.extend(name.ends_with(".md").then(|| format!("docs/{name}")));
    }
    let pages: BTreeMap<String, String> = paths.into_iter().map(|path| (path.clone(), page(&path))).collect();
    assert!(pages.len() > 15, "the pages are found");
    pages
}

/// What stands between `<!-- name:begin -->` and `<!-- name:end -->`, as a range of the text.
fn block(text: &str, name: &str) -> std::ops::Range<usize> {
    let begin = format!("<!-- {name}:begin -->\n");
    let from = text.find(&begin).unwrap_or_else(|| panic!("the page has no {begin}")) + begin.len();
    let length = text[from..].find(&format!("<!-- {name}:end -->")).expect("the block ends");
    from..from + length
}

/// Holds a block of a page to what the code makes of it, or writes it there with `WRITE_DOCS`.
#[track_caller]
pub fn assert_block(path: &str, name: &str, wanted: &str) {
    let _writing = WRITING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut text = page(path);
    let range = block(&text, name);
    if std::env::var_os("WRITE_DOCS").is_some() {
        text.replace_range(range.clone(), wanted);
        std::fs::write(top().join(path), &text).unwrap();
        return;
    }
    assert!(
        text[range] == *wanted,
        "the block {name} of {path} differs from the code: write it with\nWRITE_DOCS=1 cargo test --test it\nIt must read:\n{wanted}"
    );
}

#[test]
fn the_page_on_configuration_is_the_codes() {
    let path = "docs/configuration.md";
    let wanted = reelcoach::config::page();
    if std::env::var_os("WRITE_DOCS").is_some() {
        std::fs::write(top().join(path), &wanted).unwrap();
    }
    let written = std::fs::read_to_string(top().join(path)).unwrap_or_default();
    assert!(written == wanted, "{path} differs from the code: write it with\nWRITE_DOCS=1 cargo test --test it docs::");
}

#[test]
fn the_readme_is_short_and_each_page_says_for_whom_it_is() {
    let pages = pages();
    let lines = pages["README.md"].lines().count();
    assert!(lines <= README_LINES, "README.md has {lines} lines, more than {README_LINES}");
    for (path, text) in pages.iter().filter(|(path, _)| path.starts_with("docs/")) {
        let lines: Vec<&str> = text.lines().take(3).collect();
        assert!(lines[0].starts_with("# "), "{path} begins with its title");
        let (reader, use_of_it) = lines[2].split_once(" **Afterwards** ").unwrap_or_default();
        assert!(
            reader.starts_with("> **For** ") && !use_of_it.is_empty(),
            "{path} says on its third line for whom it is, and what they can do afterwards"
        );
        assert!(pages["README.md"].contains(&format!("]({path})")), "README.md does not lead to {path}");
    }
}

#[test]
fn no_page_leans_on_a_document_that_is_not_here() {
    for (path, text) in pages() {
        for words in ["operator's guide", "the guide", "guide's"] {
            assert!(!text.to_lowercase().contains(words), "{path}: {words}");
        }
    }
}

#[test]
fn every_benchmark_is_described() {
    let (manifest, described) = (page("Cargo.toml"), page("docs/benchmarks.md"));
    let names: Vec<&str> =
        manifest.split("[[bench]]\nname = \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(names.len() > 5, "the benchmarks are found");
    for name in names {
        assert!(
            described.contains(&format!("`cargo bench --bench {name}")),
            "docs/benchmarks.md does not describe {name}"
        );
    }
}

#[test]
fn the_changelog_is_of_this_version() {
    let changes = page("CHANGELOG.md");
    let versions: Vec<&str> = changes.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(versions[0], "[Unreleased]", "what is not released yet comes first");
    let this = format!("[{}]", env!("CARGO_PKG_VERSION"));
    assert!(versions.iter().any(|version| version.starts_with(&this)), "CHANGELOG.md has no {this}");
}

/// The table of those commands that fit.
fn commands(fits: impl Fn(&Entry) -> bool) -> String {
    let mut table = String::from("| Command | What it does |\n|---|---|\n");
    for entry in COMMANDS.iter().filter(|entry| fits(entry)) {
        let argument = if entry.argument.is_empty() { String::new() } else { format!(" <{}>", entry.argument) };
        writeln!(table, "| `/{}{argument}` | {} |", entry.name, (entry.meaning)()).unwrap();
    }
    table
}

#[test]
fn the_command_tables_are_the_codes() {
    assert_block("README.md", "commands", &commands(|entry| !entry.admin));
    assert_block("docs/admins.md", "admin-commands", &commands(|entry| entry.admin));
}

#[test]
fn the_table_of_the_programs_commands_is_its_help() {
    let mut table = String::from("| Command | What it does |\n|---|---|\n");
    for (name, meaning) in program_commands() {
        writeln!(table, "| `reelcoach {name}` | {meaning} |").unwrap();
    }
    assert_block("README.md", "program", &table);
}

/// The program's commands with what its help says of them; without `help` itself.
fn program_commands() -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for line in help(&[]).lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty()) {
        let words = line.trim();
        if line.starts_with("   ") {
            let (_, meaning) = found.last_mut().expect("a command comes first");
            meaning.push(' ');
            meaning.push_str(words);
        } else {
            let (name, meaning) = words.split_once(' ').expect("each command is explained");
            found.push((name.to_owned(), meaning.trim().to_owned()));
        }
    }
    found.retain(|(name, _)| name != "help");
    found
}

/// What the program prints with these words and `--help`.
fn help(command: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_reelcoach")).args(command).arg("--help").output().expect("it runs");
    assert!(output.status.success(), "reelcoach {command:?} --help");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn the_metrics_table_is_the_codes() {
    let mut wanted = String::from("| Metric | Kind | Meaning |\n|---|---|---|\n");
    for metric in METRICS {
        let kind = format!("{:?}", metric.kind).to_lowercase();
        writeln!(wanted, "| `{}` | {kind} | {} |", metric.name, metric.help).unwrap();
    }
    assert_block("docs/metrics.md", "metrics", &wanted);
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
    assert_block("docs/monitoring.md", "alerts", &wanted);
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
    assert_block("docs/models-and-money.md", "models", &wanted);
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
    let page = page("docs/discord.md");
    for row in page[block(&page, "permissions")].lines().skip(2) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let bit =
            known.iter().find(|(name, _)| *name == cells[1]).unwrap_or_else(|| panic!("{} is not known", cells[1])).1;
        assert_eq!(cells[2], bit.to_string(), "{}", cells[1]);
        sum |= 1 << bit;
        rows += 1;
    }
    assert_eq!(rows, known.len());
    assert!(page.contains(&format!("&permissions={sum}`")), "the invite link must end in &permissions={sum}");
}

#[test]
fn the_named_dates_and_defaults_are_the_codes() {
    let prices = Prices::built_in();
    for model in ["gpt-5", "gpt-5-mini", "gpt-5-nano"] {
        assert_eq!(prices.shutdown_of(model), Some("2026-12-11"), "docs/models-and-money.md names the day for {model}");
    }
    let default = |name: &str| VARIABLES.iter().find(|variable| variable.name == name).map(|variable| variable.default);
    assert_eq!(default("COACH_MODEL"), Some("gpt-6.1-sol"), "docs/models-and-money.md calls it the default");
    assert_eq!(default("REEL_CACHE_DAYS"), Some("30"), "README.md and docs/queue.md name it");
    assert_eq!(default("REEL_INTERVAL_SECONDS"), Some("30"), "README.md and docs/queue.md name it");
    assert_eq!(default("REEL_WAITING_PER_PERSON"), Some("5"), "README.md and docs/queue.md name it");
    assert_eq!(default("REEL_WAITING"), Some("500"), "README.md and docs/queue.md name it");
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
    assert!(
        replicas * (number("DATABASE_CONNECTIONS") + FOR_LEASES + FOR_COSTS + 1) <= 97,
        "PostgreSQL gives 100, three of them to superusers"
    );
}

#[test]
fn the_shortcodes_of_the_sandbox_are_the_stand_ins() {
    let prefixes = |text: &str| -> BTreeSet<String> {
        let codes = text.match_indices("…`").filter_map(|(at, _)| text.get(at.checked_sub(5)?..at));
        codes.filter(|code| code.starts_with('D')).map(str::to_owned).collect()
    };
    let files =
        [include_str!("../../crates/sandbox/src/apify.rs"), include_str!("../../crates/sandbox/src/apify/posts.rs")];
    let documented = files.iter().flat_map(|file| file.lines().take_while(|line| line.starts_with("//!")));
    let documented = prefixes(&documented.collect::<Vec<_>>().join("\n"));
    assert!(documented.len() > 10, "codes are found");
    let page = page("docs/sandbox-and-stress.md");
    let section = page.split("## Provoke a broken reel\n").nth(1).and_then(|rest| rest.split("\n## ").next());
    assert_eq!(prefixes(section.expect("the section is there")), documented);
}

/// The text without what stands in fences.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let kept = text.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        fenced ^= is_fence;
        !fenced && !is_fence
    });
    kept.map(|line| format!("{line}\n")).collect()
}

/// Where the links of a text lead to.
fn targets(text: &str) -> Vec<String> {
    let text = prose(text);
    let after = |start: &'static str, end: char| {
        let text = text.clone();
        let found: Vec<String> = text
            .match_indices(start)
            .map(|(at, _)| {
                let target = &text[at + start.len()..];
                target[..target.find(end).expect("a link ends")].to_owned()
            })
            .collect();
        found
    };
    [after("](", ')'), after("src=\"", '"')].concat()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let pages = pages();
    let anchors: BTreeMap<PathBuf, BTreeSet<String>> = pages
        .iter()
        .map(|(path, text)| {
            let text = prose(text);
            let headings =
                text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
            (PathBuf::from(path), headings.map(anchor).collect())
        })
        .collect();
    let mut links = 0;
    for (path, text) in &pages {
        let folder = Path::new(path).parent().expect("a page is a file");
        for target in targets(text).iter().filter(|target| !target.contains("://")) {
            let (file, heading) = target.split_once('#').map_or((target.as_str(), None), |(file, at)| (file, Some(at)));
            let file = if file.is_empty() { PathBuf::from(path) } else { resolved(folder, file) };
            assert!(top().join(&file).is_file(), "{path} links to {target}, which is not there");
            if let Some(heading) = heading {
                let known = anchors.get(&file).unwrap_or_else(|| panic!("{path} links to {target}, which is no page"));
                assert!(known.contains(heading), "{path} links to {target}: there is no such heading, only {known:?}");
            }
            links += 1;
        }
    }
    assert!(links > 60, "links are found");
}

/// A path as it is seen from the top folder.
fn resolved(folder: &Path, target: &str) -> PathBuf {
    let mut path = folder.to_owned();
    for part in target.split('/') {
        if part == ".." {
            assert!(path.pop(), "{target} leads out of the repository");
        } else {
            path.push(part);
        }
    }
    path
}

#[test]
fn named_files_are_there_and_files_that_people_use_are_named() {
    let pages = pages();
    for (path, text) in &pages {
        for name in prose(text).split('`').skip(1).step_by(2) {
            let of_ours = ["deploy/", "src/", "tests/", "docs/", "benches/", "migrations/"];
            if of_ours.iter().any(|folder| name.starts_with(folder)) && !name.contains(['<', '*', ' ']) {
                assert!(top().join(name).exists(), "{path} names {name}, which is not there");
            }
        }
    }
    let all: String = pages.values().cloned().collect();
    for (folder, named) in [("deploy", "deploy/"), ("docs/gallery", "gallery/")] {
        for entry in std::fs::read_dir(top().join(folder)).expect("the folder is there") {
            let name = entry.expect("a file").file_name().into_string().expect("a plain name");
            // What only Docker reads goes with the Dockerfile, and what only a test reads with the pictures.
            let is_aside = [".dockerignore", ".txt"].iter().any(|end| name.ends_with(end));
            let is_named = is_aside || all.contains(&format!("{named}{name}"));
            assert!(is_named, "no page names {folder}/{name}");
        }
    }
}

/// The states that the tables allow, by table; those of a table stand in the file that makes it.
#[test]
fn the_diagrams_of_life_cycles_have_the_states_of_the_tables() {
    let page = page("docs/architecture.md");
    let migrations =
        [include_str!("../../migrations/0002_chats.sql"), include_str!("../../migrations/0003_reels.sql")].concat();
    for (diagram, table) in [("turn", "turns"), ("job", "jobs"), ("board", "boards"), ("board", "subscriptions")] {
        let made = migrations.split(&format!("CREATE TABLE {table} (")).nth(1).expect("the table is made");
        let states =
            made.split("CHECK (state IN (").nth(1).and_then(|rest| rest.split(')').next()).expect("its states");
        let drawn = &page[block(&page, diagram)];
        let mut count = 0;
        for state in states.split(", ").map(|state| state.trim_matches('\'')) {
            assert!(drawn.contains(&format!("--> {state}")), "the diagram of a {diagram} does not lead to {state}");
            count += 1;
        }
        assert!(count >= 2, "the states of {table} are found");
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
    let known: BTreeSet<String> =
        program_commands().into_iter().map(|(name, _)| name).chain(["help".to_owned()]).collect();
    let mut named = BTreeSet::new();
    let lines = command_lines();
    for line in &lines {
        let words: Vec<&str> = line.split_whitespace().take_while(|word| !matches!(*word, ">" | "&" | "|")).collect();
        let arguments = match words[..] {
            ["cargo", "run", "--release", "--", ref rest @ ..] => rest,
            ["cargo", "run", "--release", "-p", "stress", ref rest @ ..] => {
                let arguments = rest.iter().filter(|word| **word != "--");
                let taken = stress::options::Options::try_parse_from(["stress"].iter().chain(arguments));
                assert!(taken.is_ok(), "`{line}`: {}", taken.err().unwrap());
                continue;
            }
            ["reelcoach", ref rest @ ..] => rest,
            ["tests/run", ..] => {
                assert!(top().join("tests/run").is_file(), "tests/run is not there");
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
    assert_eq!(named, all, "the pages show every command of the program");
}

/// Command lines of this program: in blocks of `sh`, and in backquotes.
fn command_lines() -> Vec<String> {
    let is_ours = |line: &&str| ["cargo run", "tests/run", "reelcoach "].iter().any(|start| line.starts_with(start));
    let mut lines = Vec::new();
    for text in pages().values() {
        let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
        lines.extend(blocks.flat_map(str::lines).map(str::trim).filter(is_ours).map(str::to_owned));
        let prose = prose(text);
        lines.extend(prose.split('`').skip(1).step_by(2).filter(is_ours).map(str::to_owned));
    }
    lines
}

/// The subcommand and the flags.
fn split<'a>(arguments: &[&'a str]) -> (&'a str, Vec<&'a str>) {
    let mut words = arguments.iter().copied().peekable();
    let (mut subcommand, mut flags) = ("", Vec::new());
    while let Some(word) = words.next() {
        if word.starts_with("--") {
            flags.push(word);
            // What follows may be its value; whether it is one is not looked at.
            words.next_if(|value| !value.starts_with("--"));
        } else if subcommand.is_empty() {
            subcommand = word;
        }
    }
    (subcommand, flags)
}
