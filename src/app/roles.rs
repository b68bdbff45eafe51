//! Runs what only one instance at a time may do (poll Telegram, hold the gateway of Discord) while this one has the role.
//! Owns when a role is asked for, renewed and given up; never what is done in it.

use std::future::Future;
use std::time::Duration;

use anyhow::anyhow;
use tokio_util::sync::CancellationToken;

use super::{App, wait};

/// How long a role is held without renewal.
const ROLE_LEASE: Duration = Duration::from_secs(8);

/// How often those without a role look whether it is free.
const ROLE_LOOK: Duration = Duration::from_secs(1);

impl App {
    /// Runs an adapter while this instance holds a role, so that only one of several does.
    pub(super) async fn in_role<F, R>(&self, role: &'static str, stop: &CancellationToken, run: F) -> anyhow::Result<()>
    where
        F: Fn(CancellationToken) -> R,
        R: Future<Output = anyhow::Result<()>>,
    {
        while !stop.is_cancelled() {
            let now = self.clock.now();
            match self.store.hold(role, self.instance, now, now + ROLE_LEASE).await {
                Ok(true) => {}
                Ok(false) => {
                    wait(stop, ROLE_LOOK).await;
                    continue;
                }
                Err(error) => {
                    tracing::warn!(role, "a role could not be asked for: {error}");
                    wait(stop, ROLE_LOOK).await;
                    continue;
                }
            }
            tracing::info!(role, "this instance has the role");
            let held = stop.child_token();
            // A holder that cannot ask goes on, until it hears that another has the role. Nothing is lost by that: what
            // cannot be stored is not acknowledged, or waits in memory, and what two have heard is one row.
            let keep = async {
                loop {
                    tokio::time::sleep(ROLE_LEASE / 4).await;
                    let now = self.clock.now();
                    let asked = self.store.hold(role, self.instance, now, now + ROLE_LEASE);
                    match tokio::time::timeout(ROLE_LEASE / 4, asked).await {
                        Ok(Ok(false)) => return,
                        Ok(Ok(true)) | Err(_) => {}
                        Ok(Err(error)) => tracing::warn!(role, "a role could not be renewed: {error}"),
                    }
                }
            };
            let running = run(held.clone());
            tokio::pin!(running);
            tokio::select! {
                result = &mut running => {
                    if let Err(error) = self.store.let_go(role, self.instance).await {
                        tracing::debug!(role, "a role could not be given up: {error}");
                    }
                    if !stop.is_cancelled() || result.is_err() {
                        return result.and_then(|()| Err(anyhow!("ended by itself")));
                    }
                }
                () = keep => {
                    tracing::warn!(role, "the role is lost");
                    held.cancel();
                    running.await?;
                }
            }
        }
        Ok(())
    }
}
