//! The options that the benchmarks share. Owns their reading; what `--quick` leaves out is each one's own.

use std::path::PathBuf;

use crate::database::Outcome;

pub struct Options {
    /// Where the figures are kept: a file, or a folder in which each benchmark has a file of its own name.
    pub json: Option<PathBuf>,
    /// Less of everything, for a first look.
    pub quick: bool,
    only: Option<Vec<String>>,
}

impl Options {
    /// Of the command line. `scenarios` are the names that `--only` takes.
    ///
    /// # Errors
    /// For an option or a name that there is not: a benchmark that measured nothing would seem to have kept everything.
    pub fn read(scenarios: &[&str]) -> Outcome<Options> {
        let mut options = Options { json: None, quick: false, only: None };
        let mut given = std::env::args().skip(1);
        while let Some(argument) = given.next() {
            let mut value = || given.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--json" => options.json = Some(place(PathBuf::from(value()?))?),
                "--only" => {
                    let names: Vec<String> = value()?.split(',').map(str::to_owned).collect();
                    if let Some(unknown) = names.iter().find(|name| !scenarios.contains(&name.as_str())) {
                        return Err(format!("--only {unknown}: there are {}", scenarios.join(", ")).into());
                    }
                    options.only = Some(names);
                }
                "--quick" => options.quick = true,
                // `cargo bench` passes `--bench`; the stage of a load test looks for the other itself.
                "--bench" | "--verbose" => {}
                unknown => return Err(format!("{unknown}: there are --json, --only, --quick and --verbose").into()),
            }
        }
        Ok(options)
    }

    pub fn wants(&self, scenario: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.iter().any(|name| name == scenario))
    }
}

/// A name without an ending is a folder's.
fn place(path: PathBuf) -> Outcome<PathBuf> {
    if path.extension().is_some() && !path.is_dir() {
        return Ok(path);
    }
    std::fs::create_dir_all(&path)?;
    Ok(path.join(concat!(env!("CARGO_CRATE_NAME"), ".json")))
}
