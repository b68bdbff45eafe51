//! The gate once more, right before an answer: what was allowed when a message came in need not be any more. Owns what is
//! said then; who may use the bot is decided in [`crate::core::access`].

use super::Replies;
use super::plan::{Kept, Plan};
use crate::core::access::{Authority, Refusal, Verdict};
use crate::core::chat::{Addressed, Body, Inbound};
use crate::core::inbox::WRONG_CODE;
use crate::core::wording;
use crate::store::StoreError;
use crate::store::turns::Turn;

impl Replies {
    /// What a message comes to whose author may not use the bot (any more); `None` if they may.
    pub(super) async fn turned_away(&self, inbound: &Inbound) -> Result<Option<Plan>, StoreError> {
        let Verdict::Refused(refusal) = self.gate.judge(inbound).await? else { return Ok(None) };
        let refusal = if inbound.text == WRONG_CODE { Refusal::BadCode } else { refusal };
        // What was refused on its way in holds no words any more, and was let in to be told so.
        let is_to_be_told = inbound.text.is_empty() && inbound.attachments == 0 || refusal == Refusal::BadCode;
        if !is_to_be_told && !self.gate.may_tell(inbound, &refusal, self.clock.now()).await? {
            return Ok(Some(Plan::Nothing));
        }
        Ok(Some(Plan::say_privately(wording::refused(&refusal, inbound.message.chat.platform))))
    }

    /// What a question or a reel comes to while the whole bot pauses; `None` if it does not, or not for them.
    pub(super) async fn pausing(&self, inbound: &Inbound) -> Result<Option<Plan>, StoreError> {
        let Some(pause) = self.store.pause().await? else { return Ok(None) };
        if self.gate.authority(inbound) == Authority::Everything {
            return Ok(None);
        }
        Ok(Some(match inbound.addressed {
            Addressed::Overheard => Plan::Nothing,
            Addressed::Direct | Addressed::Mentioned => Plan::say_privately(wording::paused(&pause)),
        }))
    }

    /// What the result of a reel comes to whose asker was kept out meanwhile; `None` if they were not.
    pub(super) async fn kept_out(&self, turn: &Turn) -> Result<Option<Plan>, StoreError> {
        if !self.gate.keeps_out(turn.person, &turn.chat).await? {
            return Ok(None);
        }
        // Why is for nobody else to read.
        let is_among_people = turn.chat.is_telegram_group() || self.store.guild_of(&turn.chat).await?.is_some();
        let sentence = if is_among_people { wording::reel_cancelled() } else { wording::no_longer_yours() };
        Ok(Some(Plan::Say(Body::text(sentence), Kept::default())))
    }
}
