//! The commands of the program. Owns what they print; exit code 0 is success, 1 a failure, 2 a wrong configuration.

mod capacity;
mod chat;
mod doctor;
mod serve;
mod usage;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::app::{self, CheckedConfig};
use crate::config::{Config, Environment};
use crate::store::Store;
use crate::telemetry;

/// The exit code of a wrong configuration.
pub const MISCONFIGURED: u8 = 2;

#[derive(Parser)]
#[command(name = "reelcoach", version, about = "A coach for creators on Discord and Telegram", max_term_width = 100)]
struct Cli {
    /// Read variables from this file (NAME=value lines). Default: `.env` if it exists. The environment takes precedence
    #[arg(long, global = true, value_name = "FILE")]
    env_file: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Talk to the coach in this terminal. Works without keys: the sandbox answers.
    Chat {
        /// Name to speak as
        #[arg(long = "as", default_value = "you", value_name = "NAME")]
        name: String,
    },
    /// Run the bot on every platform that has a token.
    Serve(serve::Options),
    /// Bring the database's tables to this version.
    Migrate,
    /// Check configuration, database, network, keys and platforms.
    Doctor {
        /// Skip everything that needs the network
        #[arg(long)]
        offline: bool,
        /// Repair what is safe to repair: delete a Telegram webhook that keeps long polling from receiving messages
        #[arg(long, conflicts_with = "offline")]
        fix: bool,
    },
    /// Plan capacity: load, waiting times and cost of three example communities, or of your own plan.
    Capacity(Box<capacity::Options>),
    /// Show what was used and what it cost.
    Usage(usage::Options),
    /// Run local stand-ins for OpenAI, Apify, Gemini, n8n, Telegram and Discord.
    Sandbox {
        /// First port; each stand-in takes the next one. 0 picks free ones
        #[arg(long, default_value_t = 7700)]
        port: u16,
        /// For load tests: what the outside world does and allows, as JSON
        #[arg(long, hide = true)]
        terms: Option<String>,
        /// End when standard input ends
        #[arg(long, hide = true)]
        leashed: bool,
    },
}

/// Runs the command that the arguments name.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let environment = match Environment::read(cli.env_file.as_deref()) {
        Ok(environment) => environment,
        Err(sentence) => {
            eprintln!("reelcoach: {sentence}");
            return ExitCode::from(MISCONFIGURED);
        }
    };
    let (checked, mut faults) = CheckedConfig::read(&environment);
    if matches!(cli.command, Command::Serve(_)) {
        faults.extend(serve::missing(&checked.config));
    }
    if !faults.is_empty() && !matches!(cli.command, Command::Doctor { .. }) {
        let problems = if faults.len() == 1 { "problem" } else { "problems" };
        eprintln!("reelcoach: {} {problems} in the configuration:", faults.len());
        for fault in &faults {
            eprintln!("  {fault}");
        }
        if matches!(cli.command, Command::Serve(_)) {
            eprintln!("`reelcoach chat` needs no keys. `reelcoach doctor` checks the ones you have.");
        }
        return ExitCode::from(MISCONFIGURED);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("reelcoach: can't start the async runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        match cli.command {
            Command::Chat { name } => chat::run(environment, checked, name).await,
            Command::Serve(options) => serve::run(checked, options).await,
            Command::Migrate => migrate(&checked.config).await,
            Command::Doctor { offline, fix } => doctor::run(&checked, &faults, offline, fix).await,
            Command::Capacity(options) => capacity::run(&checked, *options).await,
            Command::Usage(options) => usage::run(&checked.config, options).await,
            Command::Sandbox { port, terms, leashed } => run_sandbox(&checked.config, port, terms, leashed).await,
        }
    });
    // A blocked read of standard input must not hold the process up.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    result.unwrap_or_else(|error| {
        eprintln!("reelcoach: {error:#}");
        match error.downcast_ref::<app::Refused>() {
            Some(_) => ExitCode::from(MISCONFIGURED),
            None => ExitCode::FAILURE,
        }
    })
}

async fn migrate(config: &Config) -> anyhow::Result<ExitCode> {
    let store = Store::open(&config.database_url, 2).await?;
    store.migrate().await?;
    store.close().await;
    println!("The database is up to date.");
    Ok(ExitCode::SUCCESS)
}

async fn run_sandbox(config: &Config, port: u16, terms: Option<String>, leashed: bool) -> anyhow::Result<ExitCode> {
    telemetry::start_logs(config).map_err(anyhow::Error::msg)?;
    let checked = sandbox::Settings { port, speed: config.sandbox_speed, enforce_limits: true };
    let stopped = told_to_stop(leashed);
    if let Some(terms) = terms {
        let sandbox = sandbox::Sandbox::start_on(checked, serde_json::from_str(&terms)?).await?;
        sandbox.forget();
        let ready = sandbox::Ready {
            environment: sandbox.environment(),
            workflow: sandbox.n8n_environment(),
            hand: sandbox.hand.url(),
        };
        println!("{}", serde_json::to_string(&ready)?);
        stopped.await;
        return Ok(ExitCode::SUCCESS);
    }
    let sandbox = sandbox::Sandbox::start(checked).await?;
    println!("# The sandbox is running and costs nothing. Put these lines into a .env to use it:");
    for (name, value) in sandbox.environment() {
        println!("{name}={value}");
    }
    println!("# For one more lane through n8n:");
    for (name, value) in sandbox.n8n_environment() {
        println!("#{name}={value}");
    }
    let hand = sandbox.hand.url();
    println!("# Write to the bot as Ana and see her screen (telegram or discord):");
    println!("#   curl -d 'hi' '{hand}/telegram/42?name=Ana'; curl '{hand}/telegram/42'");
    println!("# Press Ctrl-C to stop.");
    stopped.await;
    Ok(ExitCode::SUCCESS)
}

/// The returned future ends at a signal, or if this process is `leashed`, with its standard input.
fn told_to_stop(leashed: bool) -> impl Future<Output = ()> {
    let signal = stop_signal();
    async move {
        let ended = async {
            if !leashed {
                return std::future::pending().await;
            }
            // Whatever comes there means nothing; an error means that nobody holds it any more.
            let _ = tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await;
        };
        tokio::select! {
            () = signal => {}
            () = ended => {}
        }
    }
}

/// Listens for SIGINT and SIGTERM from now on; the returned future ends at the first of them.
pub fn stop_signal() -> impl Future<Output = ()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        // Made here and not at the first poll: until then a signal would end the process on the spot.
        let listen = |kind: SignalKind| {
            signal(kind).inspect_err(|error| tracing::warn!("can't listen for stop signals: {error}")).ok()
        };
        let (mut terminate, mut interrupt) = (listen(SignalKind::terminate()), listen(SignalKind::interrupt()));
        async move {
            let next = async |signal: &mut Option<tokio::signal::unix::Signal>| match signal {
                Some(signal) => {
                    signal.recv().await;
                }
                None => std::future::pending().await,
            };
            tokio::select! {
                () = next(&mut terminate) => {}
                () = next(&mut interrupt) => {}
            }
        }
    }
    #[cfg(not(unix))]
    async {
        let _ = tokio::signal::ctrl_c().await;
    }
}
