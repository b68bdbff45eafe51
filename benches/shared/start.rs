//! A benchmark's `main`. Owns its runtime, its end by a signal, and what its exit code says.

use std::process::ExitCode;

use crate::database::Outcome;
use crate::options::Options;

/// Runs it with the options of the command line, whose `--only` takes `scenarios`: 0 if all that is promised is so. A
/// signal ends what it started, which would outlive this process otherwise.
pub fn start(scenarios: &[&str], run: impl AsyncFnOnce(&Options) -> Outcome<bool>) -> ExitCode {
    let ran = Options::read(scenarios).and_then(|options| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(until_told(run(&options)))
    });
    match ran {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{}: {error}", env!("CARGO_CRATE_NAME"));
            ExitCode::FAILURE
        }
    }
}

async fn until_told(work: impl Future<Output = Outcome<bool>>) -> Outcome<bool> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        done = work => done,
        _ = terminated.recv() => Err("told to stop".into()),
        _ = tokio::signal::ctrl_c() => Err("told to stop".into()),
    }
}
