//! What goes on beside the work on a turn: its lease is kept, and the person hears of an outage of the database.

use std::convert::Infallible;
use std::time::Duration;

use super::{LEASE, Replies};
use crate::core::leases::HeldTurn;
use crate::core::{late, outbox};
use crate::store::turns::TurnKind;

/// A renewal that failed or takes longer than this is tried again, so that after an outage of the database those who are
/// at work are heard before anything is taken over.
const RENEWAL: Duration = Duration::from_secs(3);
pub(super) const RENEWAL_AGAIN: Duration = Duration::from_secs(1);

impl Replies {
    /// Renews the lease until it is lost.
    pub(super) async fn keep(&self, turn: &HeldTurn) {
        let mut pause = LEASE / 3;
        loop {
            turn.lease.due(pause).await;
            let asked = turn.lease.now();
            pause = match tokio::time::timeout(RENEWAL, self.store.renew_turn(turn, asked.wall + LEASE)).await {
                Ok(Ok(true)) => {
                    turn.lease.renewed(asked);
                    LEASE / 3
                }
                Ok(Ok(false)) => return,
                Ok(Err(error)) => {
                    tracing::warn!(turn = %turn.id, "a lease could not be renewed: {error}");
                    RENEWAL_AGAIN
                }
                Err(_) => RENEWAL_AGAIN,
            };
        }
    }

    /// Tells the person, once in an outage of the database, that the answer takes longer. One who sees a placeholder knows
    /// that it is awaited, and nobody waits for an alert.
    pub(super) async fn tell_of_outages(&self, turn: &HeldTurn) -> Infallible {
        loop {
            self.store.refused_for(late::PATIENCE).await;
            let is_alert = turn.kind == TurnKind::Talk && turn.inputs == 0;
            let tell = async {
                while turn.placeholder.is_none()
                    && !is_alert
                    && !self.late.not_answered(turn, outbox::reply_to(turn)).await
                {
                    tokio::time::sleep(RENEWAL_AGAIN).await;
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = tell => {}
                () = self.store.writes_again() => {}
            }
            self.late.over();
        }
    }
}
