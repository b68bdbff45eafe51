//! Runs the watcher while the process runs. Owns how often it looks and how it ends; never what it looks at.

use std::sync::{Arc, OnceLock};

use anyhow::anyhow;
use tokio_util::sync::CancellationToken;

use super::App;
use super::roles::Roles;
use crate::clock::Clock;
use crate::config::Config;
use crate::core::alerts::Thresholds;
use crate::core::money::Purse;
use crate::core::watch::{EVERY, Past, Watch};
use crate::core::worker;
use crate::ids::InstanceId;
use crate::store::Store;
use crate::telemetry::system;

impl App {
    /// Looks every few seconds until `stop`.
    pub(super) async fn watch(&self, stop: &CancellationToken) -> anyhow::Result<()> {
        let mut past = Past::default();
        while !stop.is_cancelled() {
            let next = self.clock.now() + EVERY;
            // Nothing that it does is lost by being dropped: each write is one transaction.
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.watch.look(&mut past) => {}
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.clock.sleep_until(next) => {}
            }
        }
        self.watch.leave().await;
        Ok(())
    }
}

/// The watcher of this instance.
///
/// # Errors
/// When `ALERTS` is not understood.
pub(super) fn build(
    config: &Config,
    clock: Clock,
    instance: InstanceId,
    roles: &Roles,
    store: Arc<Store>,
    purse: Arc<Purse>,
) -> anyhow::Result<Watch> {
    let thresholds = Thresholds::read(&config.alerts.thresholds).map_err(|problem| anyhow!("ALERTS: {problem}"))?;
    Ok(Watch {
        store,
        purse,
        clock,
        instance,
        name: name(config, instance),
        lanes: worker::lanes(config),
        roles: roles.all(),
        chats: config.alerts.chats.clone(),
        thresholds,
        metrics: OnceLock::new(),
    })
}

/// What an instance is called: its host and port, which are the same after a restart.
fn name(config: &Config, instance: InstanceId) -> String {
    let host = system::host().unwrap_or_else(|| "reelcoach".to_owned());
    match config.http_addr.port() {
        // Any free port: only the instance itself tells it from others.
        0 => format!("{host}:{}", instance.to_string().split_at(24).1),
        port => format!("{host}:{port}"),
    }
}
