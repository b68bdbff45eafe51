//! `serve`: the bot on every platform that has a token.

use std::process::ExitCode;

use tokio_util::sync::CancellationToken;

use super::told_to_stop;
use crate::app::{App, CheckedConfig};
use crate::clock::Clock;
use crate::config::{Config, Fault};
use crate::core::access::describe;
use crate::ids::Platform;
use crate::platforms::Platforms;
use crate::{crash, telemetry, web};

#[derive(clap::Args)]
pub struct Options {
    /// For crash tests (debug builds): end the process at this named point
    #[arg(long, hide = true)]
    crash_at: Option<String>,
    /// On this pass
    #[arg(long, hide = true, default_value_t = 1)]
    crash_nth: u32,
    /// For crash tests (debug builds): stop the process at this named point until SIGCONT
    #[arg(long, hide = true)]
    freeze_at: Option<String>,
    #[arg(long, hide = true, default_value_t = 1)]
    freeze_nth: u32,
    /// End when standard input ends
    #[arg(long, hide = true)]
    leashed: bool,
}

/// What `serve` needs beyond a well-formed configuration; `chat` needs none of it.
pub fn missing(config: &Config) -> Vec<Fault> {
    let direct = config.reels.lanes > 0;
    let lanes = "Set it, or set REEL_LANES=0 and use N8N_WEBHOOK_URLS";
    let no_platform = config.discord.token.is_none() && config.telegram.token.is_none();
    let alerted = |platform| config.alerts.chats.iter().any(|chat| chat.platform == platform);
    let needed = [
        ("DISCORD_TOKEN", no_platform, "not set, and neither is TELEGRAM_TOKEN", "Set at least one of them"),
        (
            "DISCORD_TOKEN",
            config.discord.token.is_none() && alerted(Platform::Discord),
            "not set, but ALERT_CHAT names a chat on Discord",
            "Set the token or change ALERT_CHAT",
        ),
        (
            "TELEGRAM_TOKEN",
            config.telegram.token.is_none() && alerted(Platform::Telegram),
            "not set, but ALERT_CHAT names a chat on Telegram",
            "Set the token or change ALERT_CHAT",
        ),
        (
            "OPENAI_API_KEY",
            config.openai.key.is_none(),
            "not set",
            "Create a key in the OpenAI project that pays for the coaching",
        ),
        ("APIFY_TOKEN", direct && config.apify.token.is_none(), "not set", lanes),
        ("GEMINI_API_KEY", direct && config.gemini.key.is_none(), "not set", lanes),
    ];
    needed
        .into_iter()
        .filter(|(_, missing, ..)| *missing)
        .map(|(name, _, problem, mend)| Fault { name, problem: problem.into(), mend: mend.into() })
        .collect()
}

pub async fn run(checked: CheckedConfig, options: Options) -> anyhow::Result<ExitCode> {
    let config = &checked.config;
    telemetry::start_logs(config).map_err(anyhow::Error::msg)?;
    let clock = Clock::kept();
    let platforms = Platforms::from_config(config, &clock).map_err(anyhow::Error::msg)?;
    for line in platforms.report(config) {
        tracing::info!("{line}");
    }
    for (platform, is_on) in
        [(Platform::Discord, config.discord.token.is_some()), (Platform::Telegram, config.telegram.token.is_some())]
    {
        match describe(&config.access, platform) {
            _ if !is_on => {}
            (who, true) => tracing::warn!("{platform} access: {who}"),
            (who, false) => tracing::info!("{platform} access: {who}"),
        }
    }
    if config.admin_ids.is_empty() {
        tracing::warn!("ADMIN_IDS is empty: nobody can invite or block people, or see what is spent");
    }
    if let Some(point) = &options.crash_at {
        crash::arm(point, options.crash_nth);
    }
    if let Some(point) = &options.freeze_at {
        crash::arm_freeze(point, options.freeze_nth);
    }
    let stopped = told_to_stop(options.leashed);
    let metrics = telemetry::start_metrics().map_err(anyhow::Error::msg)?;
    let listener = web::bind(config.http_addr).await.map_err(|error| {
        anyhow::anyhow!(
            "HTTP_ADDR: can't listen on {}: {error}. Choose a free port, or stop what uses this one.",
            config.http_addr
        )
    })?;
    let stop = CancellationToken::new();
    let app = App::build(checked, clock, platforms).await?;
    tracing::info!(address = %listener.local_addr()?, "listening");
    let signalled = stop.clone();
    let signal = async {
        stopped.await;
        signalled.cancel();
        std::future::pending::<()>().await
    };
    tokio::select! {
        result = app.run(Some((listener, Some(metrics))), stop) => result.map(|()| ExitCode::SUCCESS),
        () = signal => Ok(ExitCode::SUCCESS),
    }
}
