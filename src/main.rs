//! The command line: reads the configuration and runs one command.

use std::process::ExitCode;

fn main() -> ExitCode {
    reelcoach::cli::run()
}
