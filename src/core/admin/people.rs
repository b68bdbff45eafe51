//! What admins do about people: blocks and invitations. A manager of a server blocks within it alone.

use std::time::Duration;

use super::{Admin, Asked};
use crate::core::access::{code_hash, invite_name, is_invite_name, new_code};
use crate::core::command::{Invitation, InvitesWish, Who};
use crate::core::wording;
use crate::ids::{PersonId, Platform};
use crate::store::StoreError;
use crate::store::reels::Cancelled;

/// Blocks that are listed.
const LISTED: u32 = 30;

/// Accounts of one name that are offered.
const OFFERED: u32 = 5;

/// Somebody an admin has named, with their account as `platform:account`; or what to say because nobody is meant.
type Found = Result<(PersonId, String), String>;

impl Admin {
    /// Keeps a person out, and takes their waiting reels back; what is said of it.
    pub(super) async fn block(&self, who: &Who, reason: &str, asked: &Asked<'_>) -> Result<String, StoreError> {
        let (person, account) = match self.find(who, asked).await? {
            Ok(found) => found,
            Err(sentence) => return Ok(sentence),
        };
        let theirs = self.store.accounts(person).await?;
        if theirs.iter().any(|account| self.ids.contains(account) || *account == asked.by()) {
            return Ok(wording::cannot_block(&account));
        }
        let guild = asked.authority.guild();
        let told = wording::cancelled_by_block();
        self.store.block(person, guild, reason, &asked.by(), &told, asked.now).await?;
        let waiting = match guild {
            Some(guild) => Cancelled::AllIn(guild.clone(), person),
            None => Cancelled::AllOf(person),
        };
        let cancelled = self.reels.cancel(&waiting, asked.now).await?.len();
        let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        self.changed(asked, "block", &format!("blocked {account}{why}")).await?;
        Ok(wording::block_set(&account, guild.is_none(), cancelled))
    }

    /// Lets a person in again; what is said of it.
    pub(super) async fn unblock(&self, who: &Who, asked: &Asked<'_>) -> Result<String, StoreError> {
        let (person, account) = match self.find(who, asked).await? {
            Ok(found) => found,
            Err(sentence) => return Ok(sentence),
        };
        let guild = asked.authority.guild();
        let was_blocked = self.store.unblock(person, guild).await?;
        if was_blocked {
            self.changed(asked, "unblock", &format!("unblocked {account}")).await?;
        }
        Ok(wording::block_removed(&account, guild.is_none(), was_blocked))
    }

    /// Who is kept out.
    pub(super) async fn blocked(&self, asked: &Asked<'_>) -> Result<String, StoreError> {
        let guild = asked.authority.guild();
        Ok(wording::blocked(&self.store.blocks(guild, LISTED).await?, guild.is_none()))
    }

    /// Makes an invitation; its code is said once and kept nowhere.
    pub(super) async fn invite(&self, wish: Invitation, asked: &Asked<'_>) -> Result<String, StoreError> {
        let code = new_code();
        let hash = code_hash(&code);
        let until = asked.now + Duration::from_secs(86_400) * wish.days;
        self.store.invite(&hash, wish.uses, until, &asked.by(), asked.now).await?;
        let name = invite_name(&hash);
        let change = format!("made an invitation: uses {}, days {}, name {name}", wish.uses, wish.days);
        self.changed(asked, "invite", &change).await?;
        Ok(wording::invitation(&code, name, self.telegram.get().map(String::as_str), wish.uses, until))
    }

    /// Shows the open invitations or takes one back; what is said of it.
    pub(super) async fn invites(&self, wish: InvitesWish, asked: &Asked<'_>) -> Result<String, StoreError> {
        let code = match wish {
            InvitesWish::Show => return Ok(wording::invites(&self.store.invites(asked.now, LISTED).await?, LISTED)),
            InvitesWish::Unclear => return Ok(wording::unclear_invites()),
            InvitesWish::Revoke(code) => code.to_ascii_lowercase(),
        };
        // A code is longer than a name, so that neither is taken for the other.
        let hash = if is_invite_name(&code) { code } else { code_hash(&code) };
        let revoked = self.store.revoke_invite(&hash, asked.now).await?;
        if let Some(invite) = &revoked {
            let (name, uses) = (invite_name(&invite.code_hash), invite.uses_left);
            self.changed(asked, "invites", &format!("revoked the invitation {name}: uses left {uses}")).await?;
        }
        Ok(wording::invite_revoked(revoked.as_ref()))
    }

    /// The person that is meant. One who has never written can be named by number.
    pub(super) async fn find(&self, who: &Who, asked: &Asked<'_>) -> Result<Found, StoreError> {
        let here = asked.turn.chat.platform;
        let (platform, account) = match who {
            Who::Account(Some(platform), account) => (*platform, account),
            Who::Account(None, account) if here != Platform::Console => (here, account),
            Who::Account(None, name) | Who::Named(name) => {
                // Who manages one server need not know who else there is.
                let known = match asked.authority.guild() {
                    Some(_) => Vec::new(),
                    None => self.store.accounts_named(name, OFFERED).await?,
                };
                return Ok(Err(wording::who_is_that(name, &known)));
            }
        };
        if asked.authority.guild().is_some_and(|guild| guild.platform != platform) {
            return Ok(Err(wording::who_is_that(account, &[])));
        }
        // Naming somebody must not change the name they go by.
        let person = match self.store.known(platform, account, None).await?.person {
            Some(person) => person,
            None => self.store.person(platform, account, "", asked.now).await?,
        };
        Ok(Ok((person, format!("{platform}:{account}"))))
    }
}
