//! A benchmark's `main`. Owns its runtime, its end by a signal, and what its exit code says.

use std::process::ExitCode;

use crate::database::{Failed, Outcome};
use crate::options::Options;

/// Runs it with the options of the command line: 0 if all that is promised is so. A signal ends what it started, which
/// would outlive this process otherwise.
pub fn start(run: impl AsyncFnOnce(&Options) -> Outcome<bool>) -> ExitCode {
    let options = Options::read();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.map_err(Failed::from).and_then(|runtime| runtime.block_on(until_told(run(&options)))) {
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
