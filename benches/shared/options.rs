//! The options that the benchmarks share. Owns their reading; what `--quick` leaves out is each one's own.

use std::path::PathBuf;

pub struct Options {
    /// Where the figures are kept: a file, or a folder in which each benchmark has a file of its own name.
    pub json: Option<PathBuf>,
    /// Less of everything, for a first look.
    pub quick: bool,
    only: Option<String>,
}

impl Options {
    pub fn read() -> Options {
        let mut options = Options { json: None, quick: false, only: None };
        let mut given = std::env::args().skip(1);
        while let Some(argument) = given.next() {
            match argument.as_str() {
                "--json" => options.json = given.next().map(PathBuf::from).map(in_folder),
                "--only" => options.only = given.next(),
                "--quick" => options.quick = true,
                // `cargo bench` passes `--bench`.
                _ => {}
            }
        }
        options
    }

    pub fn wants(&self, scenario: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.split(',').any(|name| name == scenario))
    }
}

fn in_folder(path: PathBuf) -> PathBuf {
    if path.is_dir() { path.join(concat!(env!("CARGO_CRATE_NAME"), ".json")) } else { path }
}
