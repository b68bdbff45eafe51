//! The house rules, checked from the source text: who may use whom, what may stand where.

mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use source::{Source, module_of, paths};

/// A file may be this long.
const LONGEST: usize = 600;

/// Crates that only some files may use: everything else stays free of them.
const HOMES: &[(&str, &[&str])] = &[
    ("sqlx", &["src/store"]),
    ("deadpool", &["src/store"]),
    ("serenity", &["src/platforms/discord"]),
    ("poise", &["src/platforms/discord"]),
    ("teloxide", &["src/platforms/telegram"]),
    ("axum", &["src/web", "crates/sandbox"]),
    ("resvg", &["src/core/admin/chart"]),
];

/// Texts that only some files may hold.
const PLACES: &[(&str, &[&str])] = &[
    ("env::var", &["src/config"]),
    ("env::vars", &["src/config"]),
    ("env::var_os", &["src/config"]),
    ("env::vars_os", &["src/config"]),
    ("env::set_var", &[]),
    ("env::args", &["src/main.rs", "src/cli", "crates/stress/src/main.rs"]),
    ("env::args_os", &["src/main.rs", "src/cli"]),
    ("dotenvy::", &["src/config"]),
    ("Utc::now", &["src/clock.rs", "crates/sandbox"]),
    ("Local::now", &["src/clock.rs"]),
    ("SystemTime::now", &["src/clock.rs"]),
    (".unwrap()", &[]),
    (".expect_err(", &[]),
    ("todo!", &[]),
    ("unimplemented!", &[]),
    ("dbg!", &[]),
    ("static mut", &[]),
];

/// Names that say of what kind a file is instead of what it is for.
const NAMELESS: &[&str] =
    &["mod", "util", "utils", "types", "helper", "helpers", "manager", "service", "models", "traits", "common", "misc"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files below a folder, as paths from the root; without what is built, hidden folders and personal files.
fn files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap()) {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let own = !["target", "data", ".git", ".env"].contains(&name.as_str());
            if !own || name.ends_with(".db") {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Whether a file holds only tests: its parent declares it under `#[cfg(test)]`.
fn holds_tests(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem == "tests" || stem.to_string_lossy().ends_with("_tests"))
}

/// The sources of the product and of the crates beside it, without their tests.
fn sources() -> Vec<Source> {
    let sources: Vec<Source> = files("src")
        .into_iter()
        .chain(files("crates"))
        .filter(|path| path.components().any(|part| part.as_os_str() == "src"))
        .filter(|path| path.extension().is_some_and(|e| e == "rs") && !holds_tests(path))
        .map(|path| Source::new(path.to_string_lossy().into_owned(), &read(&path)))
        .collect();
    assert!(sources.len() > 20, "the sources are found");
    sources
}

fn fail_if_any(faults: Vec<String>) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

fn below(path: &str, homes: &[&str]) -> bool {
    homes.iter().any(|home| {
        path.strip_prefix(home).is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || rest.starts_with(".rs"))
    })
}

/// The modules that a file declares, in its order.
fn modules_in(path: &str) -> Vec<String> {
    let source = Source::new(path.to_owned(), &read(path));
    let modules: Vec<String> = source
        .code
        .lines()
        .map(str::trim)
        .filter_map(|line| {
            let line = line.strip_prefix("pub(crate) ").or(line.strip_prefix("pub ")).unwrap_or(line);
            line.strip_prefix("mod ")?.strip_suffix(';')
        })
        .map(str::to_owned)
        .collect();
    assert!(modules.len() > 1, "{path} declares its modules");
    modules
}

/// Uses of a module that stands later in the list, among the files of the modules of `parent`.
fn upward_uses(parent: &[&str], order: &[String], sources: &[Source]) -> Vec<String> {
    let mut faults = Vec::new();
    for source in sources {
        let here = module_of(&source.path);
        let Some(rank) = here
            .strip_prefix(parent)
            .and_then(|rest| rest.first())
            .and_then(|module| order.iter().position(|name| name == module))
        else {
            continue;
        };
        for (line, used) in paths(source) {
            let used: Vec<&str> = used.iter().map(String::as_str).collect();
            let Some(later) = used.strip_prefix(parent).and_then(|rest| rest.first()) else { continue };
            if order.iter().position(|name| name == later).is_some_and(|other| other > rank) {
                faults
                    .push(format!("{}:{line}: {} stands above {later} and must not use it", source.path, order[rank]));
            }
        }
    }
    faults
}

#[test]
fn a_module_uses_only_modules_above_it() {
    let mut sources = sources();
    sources.retain(|source| source.path.starts_with("src/"));
    let mut faults = upward_uses(&[], &modules_in("src/lib.rs"), &sources);
    faults.extend(upward_uses(&["core"], &modules_in("src/core.rs"), &sources));
    fail_if_any(faults);
}

/// Which siblings each module uses, as paths, with the first place where it does: for a folder whose files may use each
/// other only one way round.
fn uses_of_siblings(sources: &[Source]) -> BTreeMap<Vec<String>, BTreeMap<Vec<String>, String>> {
    let owned = |path: Vec<&str>| path.into_iter().map(str::to_owned).collect::<Vec<String>>();
    let modules: BTreeSet<Vec<String>> = sources.iter().map(|source| owned(module_of(&source.path))).collect();
    let mut uses: BTreeMap<Vec<String>, BTreeMap<Vec<String>, String>> = BTreeMap::new();
    for source in sources {
        let here = owned(module_of(&source.path));
        for (line, used) in paths(source) {
            let is_module = |length: &usize| modules.contains(&used[..*length]);
            let Some(length) = (1..=used.len()).rev().find(is_module) else { continue };
            let Some(at) = (0..here.len().min(length)).find(|at| here[*at] != used[*at]) else { continue };
            let of_here = uses.entry(here[..=at].to_vec()).or_default();
            of_here.entry(used[..=at].to_vec()).or_insert_with(|| format!("{}:{line}", source.path));
        }
    }
    uses
}

/// All that a module reaches by uses of siblings.
fn reached(uses: &BTreeMap<Vec<String>, BTreeMap<Vec<String>, String>>, from: &[String]) -> BTreeSet<Vec<String>> {
    let (mut seen, mut left) = (BTreeSet::new(), vec![from.to_vec()]);
    while let Some(module) = left.pop() {
        let next = uses.get(&module).into_iter().flat_map(BTreeMap::keys);
        left.extend(next.filter(|next| next.len() == from.len() && seen.insert((*next).clone())).cloned());
    }
    seen
}

#[test]
fn files_of_a_folder_use_each_other_one_way_round() {
    let sources = sources();
    let mut faults = Vec::new();
    for folder in ["src/", "crates/sandbox/src/", "crates/stress/src/"] {
        let of_folder = |source: &&Source| source.path.starts_with(folder);
        let inside: Vec<Source> = sources.iter().filter(of_folder).cloned().collect();
        assert!(inside.len() > 5, "{folder} has sources");
        let uses = uses_of_siblings(&inside);
        for (module, used) in &uses {
            for (other, place) in used.iter().filter(|(other, _)| reached(&uses, other).contains(module)) {
                faults.push(format!(
                    "{place}: {} uses {} and the other way round",
                    module.join("::"),
                    other.join("::")
                ));
            }
        }
    }
    fail_if_any(faults);
}

/// Each crate beside the product, and which of our own crates it may use: a stand-in that used the product would agree
/// with its mistakes.
const CRATES: &[(&str, &[&str])] = &[("sandbox", &[]), ("stress", &["reelcoach", "sandbox"])];

#[test]
fn a_crate_uses_only_what_it_may() {
    let ours: Vec<&str> = CRATES.iter().map(|(name, _)| *name).chain(["reelcoach"]).collect();
    let mut faults = Vec::new();
    let folders = files("crates").into_iter().filter(|path| path.ends_with("Cargo.toml"));
    for manifest in folders {
        let name = manifest.parent().and_then(Path::file_name).unwrap().to_string_lossy().into_owned();
        let Some((_, may)) = CRATES.iter().find(|(known, _)| *known == name) else {
            faults.push(format!("{}: not in CRATES", manifest.display()));
            continue;
        };
        for line in read(&manifest).lines().filter(|line| line.contains('=')) {
            let used = line.split(['.', ' ', '=']).next().unwrap();
            if ours.contains(&used) && !may.contains(&used) {
                faults.push(format!("{}: uses {used}", manifest.display()));
            }
        }
    }
    fail_if_any(faults);
}

#[test]
fn crates_stay_at_home() {
    let mut faults = Vec::new();
    for source in sources() {
        for (name, homes) in HOMES.iter().filter(|(_, homes)| !below(&source.path, homes)) {
            for line in source.lines_with_word(name) {
                faults.push(format!("{}:{line}: {name} is only used in {}", source.path, homes.join(", ")));
            }
        }
    }
    fail_if_any(faults);
}

#[test]
fn some_things_stand_in_one_place_only() {
    let mut faults = Vec::new();
    for source in sources() {
        for (text, homes) in PLACES.iter().filter(|(_, homes)| !below(&source.path, homes)) {
            for line in source.lines_with(text) {
                let rule =
                    if homes.is_empty() { "nowhere in src".into() } else { format!("only in {}", homes.join(", ")) };
                faults.push(format!("{}:{line}: {text} may stand {rule}", source.path));
            }
        }
    }
    fail_if_any(faults);
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    let mut faults = Vec::new();
    for path in files("src").into_iter().chain(files("crates")).chain(files("tests")) {
        if path.extension().is_none_or(|e| e != "rs") {
            continue;
        }
        let text = read(&path);
        let lines = text.lines().count();
        if !path.starts_with("tests") && lines > LONGEST {
            faults.push(format!("{}: {lines} lines, more than {LONGEST}", path.display()));
        }
        if !text.starts_with("//! ") {
            faults.push(format!("{}: does not begin with `//!`: what it owns and what it never does", path.display()));
        }
        for part in path.with_extension("").iter() {
            if NAMELESS.contains(&part.to_string_lossy().as_ref()) {
                faults.push(format!("{}: the name says its kind, not what it is for", path.display()));
            }
        }
    }
    let lines = read("src/main.rs").lines().count();
    if lines > 60 {
        faults.push(format!("src/main.rs: {lines} lines, more than 60"));
    }
    fail_if_any(faults);
}

#[test]
fn no_test_is_skipped_and_no_snapshot_waits() {
    let mut faults = Vec::new();
    for path in files("src").into_iter().chain(files("crates")).chain(files("tests")) {
        let name = path.to_string_lossy().into_owned();
        if name.ends_with(".snap.new") || name.ends_with(".pending-snap") {
            faults.push(format!("{name}: accept or remove it"));
        }
        if name.ends_with(".rs") {
            let source = Source::with_tests(name, &read(&path));
            faults.extend(source.lines_with("#[ignore").map(|line| format!("{}:{line}: an ignored test", source.path)));
        }
    }
    fail_if_any(faults);
}

#[test]
fn the_example_configuration_is_the_table_of_variables() {
    let path = root().join(".env.example");
    let example = reelcoach::config::example();
    if std::env::var_os("WRITE_ENV_EXAMPLE").is_some() {
        std::fs::write(&path, &example).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == example,
        ".env.example differs from the table in src/config/variables.rs: write it with\n\
         WRITE_ENV_EXAMPLE=1 cargo test --test it tidy::the_example"
    );
}

#[test]
fn nothing_outside_the_project_is_needed() {
    // Written in two parts, so that this file does not mention it.
    let outside = concat!("..", "/shared");
    let mut faults = Vec::new();
    for path in files("") {
        let Ok(bytes) = std::fs::read(root().join(&path)) else { continue };
        if String::from_utf8_lossy(&bytes).contains(outside) {
            faults.push(format!("{}: mentions {outside}", path.display()));
        }
    }
    fail_if_any(faults);
}

#[test]
fn one_tls_and_no_c_library_for_it() {
    let lock = read("Cargo.lock");
    assert!(lock.contains("name = \"rustls\""));
    for name in ["openssl-sys", "openssl", "native-tls", "aws-lc-rs", "aws-lc-sys"] {
        assert!(!lock.contains(&format!("name = \"{name}\"")), "Cargo.lock holds {name}");
    }
}

#[test]
fn columns_are_of_types_that_both_databases_read_alike() {
    let mut faults = Vec::new();
    let mut columns = 0;
    let migrations: Vec<PathBuf> = files("migrations");
    assert!(!migrations.is_empty());
    for path in migrations {
        let text = read(&path);
        let mut in_table = false;
        for (n, line) in text.lines().enumerate() {
            let line = line.split("--").next().unwrap_or_default().trim();
            if line.starts_with("CREATE TABLE") {
                in_table = true;
                continue;
            }
            in_table = in_table && !line.starts_with(')');
            let added = line.split_once(" ADD COLUMN ").map(|(_, column)| column);
            let Some(column) = added.or(in_table.then_some(line)) else { continue };
            let mut words = column.trim_end_matches([',', ';']).split_whitespace();
            let (Some(name), Some(kind)) = (words.next(), words.next()) else { continue };
            if name.starts_with(|c: char| c.is_ascii_uppercase()) {
                continue; // a constraint of the table
            }
            columns += 1;
            let known = match kind {
                "TEXT" | "BIGINT" | "BOOLEAN" => true,
                "DOUBLE" => words.next() == Some("PRECISION"),
                _ => false,
            };
            if !known {
                faults.push(format!("{}:{}: {name} is {kind}", path.display(), n + 1));
            }
        }
    }
    assert!(columns > 50, "the columns are found: {columns}");
    fail_if_any(faults);
}

#[test]
fn secrets_and_data_are_not_committed() {
    let ignored = read(".gitignore");
    for line in ["/target", "/data", ".env"] {
        assert!(ignored.lines().any(|ignored| ignored == line), ".gitignore holds no {line}");
    }
}

#[test]
fn a_file_of_tests_is_only_built_for_tests() {
    let mut seen = 0;
    for path in files("src").into_iter().chain(files("crates")).filter(|path| holds_tests(path)) {
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        let parent = path.parent().unwrap();
        let parent =
            [parent.with_extension("rs"), parent.join("lib.rs")].into_iter().find(|p| root().join(p).exists()).unwrap();
        let declared = format!("#[cfg(test)]\nmod {stem};");
        assert!(
            read(&parent).contains(&declared),
            "{} is declared in {} under #[cfg(test)]",
            path.display(),
            parent.display()
        );
        seen += 1;
    }
    assert!(seen > 0, "there are such files");
}
