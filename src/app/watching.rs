//! Runs the watcher while the process runs. Owns how often it looks and how it ends; never what it looks at.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::App;
use super::roles::Roles;
use crate::clock::Clock;
use crate::config::Config;
use crate::core::alerts::Thresholds;
use crate::core::money::Purse;
use crate::core::providers::targets;
use crate::core::timekeeping::Timekeeper;
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
        Ok(())
    }

    /// Looks up until when the models live.
    pub(super) async fn look_up_models(&self) -> anyhow::Result<()> {
        loop {
            self.clock.sleep_until(self.clock.now() + LOOK_UP_EVERY).await;
            if let Err(error) = self.watch.look_up_models(&self.openai).await {
                tracing::warn!("models could not be looked up: {error}");
            }
        }
    }
}

/// Until models are looked up, and between two looks whether any is due: an instance that is started again and again asks
/// for none.
const LOOK_UP_EVERY: Duration = Duration::from_secs(300);

/// The watcher of this instance.
#[expect(clippy::too_many_arguments, reason = "what it watches, by what, and for whom")]
pub(super) fn build(
    config: &Config,
    thresholds: Thresholds,
    clock: Clock,
    time: Arc<Timekeeper>,
    instance: InstanceId,
    roles: &Roles,
    store: Arc<Store>,
    purse: Arc<Purse>,
) -> Watch {
    Watch {
        store,
        purse,
        clock,
        time,
        instance,
        name: name(config, instance),
        lanes: worker::lanes(config),
        targets: targets(config),
        roles: roles.all(),
        chats: config.alerts.chats.clone(),
        thresholds,
        metrics: OnceLock::new(),
    }
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
