//! `chat`: the coach in this terminal. What has no key is answered by the sandbox.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;

use futures::FutureExt;
use tokio_util::sync::CancellationToken;

use super::stop_signal;
use crate::app::{App, CheckedConfig};
use crate::clock::Clock;
use crate::config::{Config, Environment};
use crate::platforms::Platforms;
use crate::platforms::console::{Console, Output};
use crate::telemetry;
use sandbox::Sandbox;

/// Where a conversation with the sandbox is kept.
const SANDBOX_DATABASE: &str = "sqlite://data/sandbox.db";

pub async fn run(mut environment: Environment, checked: CheckedConfig, name: String) -> anyhow::Result<ExitCode> {
    // The conversation is on the screen: logs only speak of trouble, unless asked for.
    if environment.get("LOG").is_none() {
        environment.set("LOG", "error");
    }
    let sandbox =
        Sandbox::start(sandbox::Settings { port: 0, speed: checked.config.sandbox_speed, enforce_limits: true })
            .await?;
    let scripted = stand_in(&mut environment, &checked.config, &sandbox);
    if !scripted.is_empty() && environment.get("DATABASE_URL").is_none() {
        // Scripted answers stay out of the database that `serve` works on.
        environment.set("DATABASE_URL", SANDBOX_DATABASE);
    }
    let (checked, _) = CheckedConfig::read(&environment);
    telemetry::start_logs(&checked.config).map_err(anyhow::Error::msg)?;
    let screen = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let clock = Clock::kept();
    let console = Console::new(clock.clone(), name, if screen { Output::Screen } else { Output::Lines });
    let platforms = Platforms { console: Some(console.clone()), ..Platforms::default() };
    let app = App::build(checked, clock, platforms).await?;
    if !scripted.is_empty() {
        println!("Sandbox answers for {}: no keys, no costs.", scripted.join(", "));
    }
    let (receive, store) = (app.receive(None), app.store());
    let stop = CancellationToken::new();
    let (front_stop, signalled) = (stop.clone(), stop.clone());
    let front = async {
        let result = if screen {
            console.run_screen(receive, &front_stop).await
        } else {
            let input = tokio::io::BufReader::new(tokio::io::stdin());
            let idle = Arc::new(store);
            let idle = move || {
                let store = idle.clone();
                async move { store.is_idle().await.unwrap_or(false) }.boxed()
            };
            console.run_lines(input, receive, idle, &front_stop).await
        };
        front_stop.cancel();
        result
    };
    let signal = async {
        stop_signal().await;
        signalled.cancel();
    };
    let (ran, fronted) = tokio::join!(app.run(None, stop.clone()), async {
        tokio::select! {
            result = front => result,
            () = signal => Ok(()),
        }
    });
    ran?;
    fronted?;
    Ok(ExitCode::SUCCESS)
}

/// Points everything that has no key at the sandbox; returns what that is.
fn stand_in(environment: &mut Environment, config: &Config, sandbox: &Sandbox) -> Vec<&'static str> {
    let missing = [
        ("OpenAI", "OPENAI_", config.openai.key.is_none()),
        ("Apify", "APIFY_", config.apify.token.is_none()),
        ("Gemini", "GEMINI_", config.gemini.key.is_none()),
    ];
    let mut scripted = Vec::new();
    for (title, prefix, missing) in missing {
        if !missing {
            continue;
        }
        scripted.push(title);
        for (name, value) in sandbox.environment() {
            let media = title == "Apify" && (name == "MEDIA_ORIGINS" || name == "INSTAGRAM_URL");
            if name.starts_with(prefix) || media {
                environment.set(&name, value);
            }
        }
    }
    scripted
}
