//! The whole bot in this process: the real `App` with the real adapters on a database of its own, against the sandbox.
//! Owns how it is set up and stopped; knows no scenario.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reelcoach::app::{App, CheckedConfig};
use reelcoach::clock::Clock;
use reelcoach::config::{Config, Environment};
use reelcoach::platforms::Platforms;
use reelcoach::store::Store;
use sandbox::{Sandbox, Settings};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::database::{Database, Failed, Outcome};

pub struct Bot {
    pub sandbox: Sandbox,
    pub store: Arc<Store>,
    pub config: Config,
    pub database: Database,
    stop: CancellationToken,
    running: JoinHandle<anyhow::Result<()>>,
    _folder: tempfile::TempDir,
}

impl Bot {
    /// On SQLite, or on a PostgreSQL `server`; `variables` go over the sandbox's.
    pub async fn start(settings: Settings, server: Option<&str>, variables: &[(&str, String)]) -> Outcome<Bot> {
        Self::start_on(Sandbox::start(settings).await?, server, variables).await
    }

    pub async fn start_on(sandbox: Sandbox, server: Option<&str>, variables: &[(&str, String)]) -> Outcome<Bot> {
        let folder = tempfile::tempdir()?;
        let name = format!("queue{}", sandbox.apify.served.addr.port());
        let database = Database::make(folder.path(), server, &name).await?;
        let mut all: BTreeMap<String, String> = sandbox.environment().into_iter().collect();
        let own = [
            ("DATABASE_URL", database.url.clone()),
            ("HTTP_ADDR", "127.0.0.1:0".to_owned()),
            ("MERGE_WINDOW_MS", "0".to_owned()),
            ("TELEGRAM_PER_CHAT", "1000".to_owned()),
            ("MESSAGES_PER_MINUTE", "0".to_owned()),
            ("REEL_WAITING", "10000".to_owned()),
        ];
        all.extend(own.iter().chain(variables).map(|(name, value)| ((*name).to_owned(), value.clone())));
        let environment: Environment = all.into_iter().collect();
        let (checked, faults) = CheckedConfig::read(&environment);
        if let Some(fault) = faults.first() {
            return Err(fault.to_string().into());
        }
        let platforms = Platforms::from_config(&checked.config, &Clock::System)?;
        let config = checked.config.clone();
        let app = App::build(checked, Clock::System, platforms).await?;
        let (store, stop) = (app.store(), CancellationToken::new());
        let running = tokio::spawn(app.run(None, stop.clone()));
        let bot = Bot { sandbox, store, config, database, stop, running, _folder: folder };
        let discord = &bot.sandbox.discord;
        until("Discord is connected", Duration::from_secs(30), async || Ok(discord.is_connected())).await?;
        Ok(bot)
    }

    /// Stops it and removes its database.
    pub async fn end(self) -> Outcome<()> {
        self.stop.cancel();
        self.running.await??;
        self.database.remove().await
    }
}

/// A link to a reel that nobody has asked for yet, by its number.
pub fn link(number: usize) -> String {
    format!("https://www.instagram.com/reel/DQ{number:09}/")
}

/// Looks again and again whether something holds.
pub async fn until(what: &str, patience: Duration, mut holds: impl AsyncFnMut() -> Outcome<bool>) -> Outcome<()> {
    let began = Instant::now();
    while !holds().await? {
        if began.elapsed() > patience {
            return Err(Failed::from(format!("not within {} s: {what}", patience.as_secs())));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
