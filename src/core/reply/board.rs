//! The message that told where a reel was, taken over by its answer. Owns the wait until nobody else writes to it; what boards
//! say is in [`crate::core::board`].

use std::time::Duration;

use super::Replies;
use super::show::{LOOK_AGAIN, Screen};
use crate::core::leases::HeldTurn;
use crate::crash;
use crate::store::StoreError;
use crate::store::boards::TakenBoard;
use crate::store::reels::Subscription;

/// How long an answer waits for its board's message to be found, which may be on screen: longer than a right to write to
/// it is held by somebody who is gone.
const SOUGHT: Duration = Duration::from_secs(30);

impl Replies {
    /// A board of one reel becomes the answer; one of several stays, and the answer is a message of its own.
    pub(super) async fn take_board(
        &self,
        turn: &HeldTurn,
        wish: &Subscription,
        screen: &mut Screen,
    ) -> Result<(), StoreError> {
        if wish.on_board != 1 || !screen.shown.is_empty() {
            return Ok(());
        }
        let sought_until = self.clock.now() + SOUGHT;
        loop {
            // Else whoever has the turn by now would find its board taken.
            turn.lease.good().await;
            let now = self.clock.now();
            let is_found = || self.outbox.rules(&turn.chat).is_some_and(|rules| rules.dedupes_sends);
            match self.store.take_board(wish.board, now, now < sought_until && is_found()).await? {
                TakenBoard::Taken { message, placeholder } => {
                    crash::point("board taken");
                    screen.shown.extend(message.or(placeholder));
                    // Whoever goes on with this turn when its answer is stored does not come by here again.
                    if !screen.shown.is_empty() {
                        let noted = || self.store.show_turn(turn, &screen.shown, None);
                        self.store.insist("noting what is on screen", noted).await?;
                    }
                    return Ok(());
                }
                TakenBoard::BeingPosted => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    }
}
