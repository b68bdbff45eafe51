//! Runs what only one instance at a time may do (poll Telegram, hold the gateway of Discord) while this one has the role,
//! and keeps to this one's part of what all share. Owns when a role is asked for, renewed and given up; never what is
//! done in it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use tokio_util::sync::CancellationToken;

use super::{App, wait};
use crate::clock::Clock;
use crate::core::leases::{Lease, Moment};
use crate::platforms::Platforms;
use crate::store::instances::SHORTEST_LEASE;
use crate::telemetry::life::Role;

/// How long a role is held without renewal.
const ROLE_LEASE: Duration = SHORTEST_LEASE;

/// How often those without a role look whether it is free.
const ROLE_LOOK: Duration = Duration::from_secs(1);

/// Whoever polls and has not been answered for so long is not ready: a poll is held open for 50 s, and paused for up to
/// 60 s after errors.
const LONGEST_WITHOUT_POLL: Duration = Duration::from_secs(180);

/// Discord acknowledges a heartbeat every 41 s, and a lost connection is made again after 60 s at most.
const LONGEST_WITHOUT_HEARTBEAT: Duration = Duration::from_secs(180);

/// The roles that this process may have.
#[derive(Clone)]
pub(super) struct Roles {
    pub telegram: HeldRole,
    pub discord: HeldRole,
}

/// A role, and until when this process surely has it.
#[derive(Clone)]
pub(super) struct HeldRole {
    role: Arc<Role>,
    pub lease: Arc<Lease>,
}

impl Roles {
    pub fn of(platforms: &Platforms, clock: &Clock) -> Roles {
        let poll = platforms.telegram.as_ref().map(|telegram| telegram.sign_of_life().clone()).unwrap_or_default();
        let heartbeat = platforms.discord.as_ref().map(|discord| discord.sign_of_life().clone()).unwrap_or_default();
        let role = |name, longest_silence, sign| HeldRole {
            role: Arc::new(Role::new(name, longest_silence, sign)),
            lease: Arc::new(Lease::unheld(clock, ROLE_LEASE)),
        };
        Roles {
            telegram: role("telegram polling", LONGEST_WITHOUT_POLL, poll),
            discord: role("discord gateway", LONGEST_WITHOUT_HEARTBEAT, heartbeat),
        }
    }

    pub fn all(&self) -> Vec<Arc<Role>> {
        vec![self.telegram.role.clone(), self.discord.role.clone()]
    }
}
/// How often it is looked who shares the quota.
const SHARED_AGAIN: Duration = Duration::from_secs(3);

impl App {
    /// Keeps to this instance's part of the model provider's quota: all that live share it alike.
    pub(super) async fn share_quota(&self) -> anyhow::Result<()> {
        loop {
            if self.store.is_shared() {
                match self.store.live_instances(self.clock.now()).await {
                    Ok(instances) => self.openai.share_between(instances.max(1)),
                    Err(error) => tracing::warn!("it is not known how many instances there are: {error}"),
                }
            }
            tokio::time::sleep(SHARED_AGAIN).await;
        }
    }

    /// Runs an adapter while this instance holds a role, so that only one of several does.
    pub(super) async fn in_role<F, R>(
        &self,
        HeldRole { role: held, lease }: &HeldRole,
        stop: &CancellationToken,
        run: F,
    ) -> anyhow::Result<()>
    where
        F: Fn(CancellationToken) -> R,
        R: Future<Output = anyhow::Result<()>>,
    {
        let role = held.name;
        while !stop.is_cancelled() {
            if !self.time.may_claim().await {
                wait(stop, ROLE_LOOK).await;
                continue;
            }
            let asked = Moment::now(&self.clock);
            match self.store.hold(role, self.instance, asked.wall, asked.wall + ROLE_LEASE).await {
                Ok(true) => lease.renewed(asked),
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
            held.take_up(self.clock.steady());
            let while_held = stop.child_token();
            // A holder that cannot ask goes on, until it hears that another has the role, from the database or the platform.
            // Nothing is lost by that: what cannot be stored is not acknowledged, or waits in memory, and what two have
            // heard is one row.
            let keep = async {
                loop {
                    // Not at once where somebody waits for it: a database that is away is asked at the usual pace.
                    tokio::time::sleep(ROLE_LEASE / 4).await;
                    let asked = lease.now();
                    let held = self.store.hold(role, self.instance, asked.wall, asked.wall + ROLE_LEASE);
                    match tokio::time::timeout(ROLE_LEASE / 4, held).await {
                        Ok(Ok(false)) => return,
                        Ok(Ok(true)) => lease.renewed(asked),
                        Err(_) => {}
                        Ok(Err(error)) => tracing::warn!(role, "a role could not be renewed: {error}"),
                    }
                }
            };
            let running = run(while_held.clone());
            tokio::pin!(running);
            tokio::select! {
                result = &mut running => {
                    held.give_up();
                    lease.given_up();
                    if let Err(error) = self.store.let_go(role, self.instance).await {
                        tracing::debug!(role, "a role could not be given up: {error}");
                    }
                    if !stop.is_cancelled() || result.is_err() {
                        return result.and_then(|()| Err(anyhow!("ended by itself")));
                    }
                }
                () = keep => {
                    tracing::warn!(role, "the role is lost");
                    held.give_up();
                    lease.given_up();
                    while_held.cancel();
                    running.await?;
                }
            }
        }
        Ok(())
    }
}
