//! Every sentence about who may use the bot, what admins do about it, and what a member may use. Pure, like its parent.

use std::fmt::Write;
use std::time::Duration;

use super::format::{day, exactly, minute, moment, note};
use crate::clock::Timestamp;
use crate::core::access::{Refusal, invite_name};
use crate::core::text::{escape, verbatim};
use crate::ids::Platform;
use crate::locale::fl;
use crate::store::access::{Activity, Block, Change, Invite, LimitName, Pause};
use crate::store::budgets::Standing;
use crate::store::reels::QueueLimits;

/// Why somebody may not use the bot there.
pub fn refused(refusal: &Refusal, platform: Platform) -> String {
    match refusal {
        Refusal::Blocked => fl!("access-blocked"),
        Refusal::BlockedHere => fl!("access-blocked-here"),
        Refusal::Elsewhere(channels) if channels.is_empty() || platform != Platform::Discord => fl!("access-not-here"),
        Refusal::Elsewhere(channels) => {
            let named: Vec<String> = channels.iter().map(|id| format!("<#{id}>")).collect();
            fl!("access-other-channel", channels = named.join(", "))
        }
        Refusal::NotListed => fl!("access-private"),
        Refusal::NotInvited => fl!("access-invite-only"),
        Refusal::BadCode => fl!("access-bad-code"),
        Refusal::Anonymous => fl!("access-anonymous"),
        Refusal::ChannelPost => fl!("access-channel-post"),
    }
}

/// On the board of somebody who was blocked while they waited.
pub fn cancelled_by_block() -> String {
    fl!("cancel-blocked")
}

/// A reel whose asker may not use the bot any more.
pub fn no_longer_yours() -> String {
    fl!("cancel-blocked-result")
}

/// The same among people, who need not know why.
pub fn reel_cancelled() -> String {
    fl!("reel-cancelled")
}

/// The first words with somebody new, above the help.
pub fn greeting(is_admin: bool, interval: Duration) -> String {
    format!("{}\n\n{}", fl!("start"), super::commands(is_admin, interval))
}

/// The whole bot pauses.
pub fn paused(pause: &Pause) -> String {
    match pause.reason.as_str() {
        "" => fl!("access-paused"),
        reason => fl!("access-paused-because", reason = escape(reason)),
    }
}

pub fn pause_set(pause: &Pause) -> String {
    fl!("pause-set", notice = paused(pause))
}

pub fn resumed(was_paused: bool) -> String {
    if was_paused { fl!("pause-resumed") } else { fl!("pause-none") }
}

/// Only for who runs the whole bot, not for the managers of one server.
pub fn not_for_managers() -> String {
    fl!("admin-whole-bot")
}

/// Somebody has no access from now on. `whole`: everywhere, not only in this server.
pub fn block_set(account: &str, whole: bool, cancelled: usize) -> String {
    let mut sentences = vec![match whole {
        true => fl!("block-set", account = account),
        false => fl!("block-set-here", account = account),
    }];
    sentences.extend((cancelled > 0).then(|| fl!("block-reels", count = cancelled)));
    sentences.push(fl!("block-undo", account = account));
    sentences.join(" ")
}

pub fn block_removed(account: &str, whole: bool, was_blocked: bool) -> String {
    match (was_blocked, whole) {
        (true, true) => fl!("block-removed", account = account),
        (true, false) => fl!("block-removed-here", account = account),
        (false, true) => fl!("block-not-set", account = account),
        (false, false) => fl!("block-not-set-here", account = account),
    }
}

pub fn cannot_block(account: &str) -> String {
    fl!("block-refused", account = account)
}

/// A person that could not be told from others.
pub fn who_is_that(name: &str, accounts: &[String]) -> String {
    let name = escape(&name.chars().take(40).collect::<String>());
    if accounts.is_empty() {
        return fl!("person-unknown", name = name);
    }
    let listed: Vec<String> = accounts.iter().map(|account| format!("`{account}`")).collect();
    fl!("person-ambiguous", name = name, accounts = listed.join(&format!(" {} ", fl!("person-or"))))
}

pub fn unclear_person() -> String {
    fl!("person-usage")
}

/// Who is blocked. `whole`: everywhere, else in one server.
pub fn blocked(blocks: &[Block], whole: bool) -> String {
    if blocks.is_empty() {
        return if whole { fl!("blocked-none") } else { fl!("blocked-none-here") };
    }
    let mut text = String::new();
    for block in blocks {
        let (accounts, date, admin) = (block.accounts.join(", "), day(block.at), block.admin.as_str());
        let line = match &block.guild {
            Some(guild) if whole => {
                let server = guild.to_string();
                fl!("blocked-line-server", accounts = accounts, server = server, date = date, admin = admin)
            }
            Some(_) | None => fl!("blocked-line", accounts = accounts, date = date, admin = admin),
        };
        let reason = if block.reason.is_empty() { String::new() } else { format!(": {}", escape(&block.reason)) };
        let _ = writeln!(text, "- {line}{reason}");
    }
    format!("{text}\n{}", fl!("blocked-hint"))
}

/// A new invitation.
pub fn invitation(code: &str, name: &str, bot: Option<&str>, uses: u32, until: Timestamp) -> String {
    let created = fl!("invite-created", uses = uses, until = minute(until));
    let mut lines = vec![format!("{created} {}", fl!("invite-revoke-hint", name = name))];
    match bot {
        Some(bot) => {
            lines.push(fl!("invite-link", bot = bot, code = code));
            lines.push(fl!("invite-telegram-too", code = code));
        }
        None => lines.push(fl!("invite-telegram", code = code)),
    }
    lines.join("\n")
}

/// The open invitations, at most `most` of them.
pub fn invites(invites: &[Invite], most: u32) -> String {
    if invites.is_empty() {
        return fl!("invites-none");
    }
    let mut text = String::new();
    for Invite { code_hash, uses_left, until, admin, at } in invites {
        let line = fl!(
            "invites-line",
            name = invite_name(code_hash),
            uses = *uses_left,
            until = minute(*until),
            date = day(*at),
            admin = admin.as_str()
        );
        let _ = writeln!(text, "- {line}");
    }
    if invites.len() >= usize::try_from(most).unwrap_or(usize::MAX) {
        let _ = writeln!(text, "\n{}", fl!("invites-more", count = most));
    }
    format!("{text}\n{}", fl!("invites-hint"))
}

/// An invitation was revoked, if it was open.
pub fn invite_revoked(invite: Option<&Invite>) -> String {
    match invite {
        Some(invite) => fl!("invite-revoked", name = invite_name(&invite.code_hash)),
        None => fl!("invite-not-found"),
    }
}

pub fn unclear_invites() -> String {
    fl!("invites-usage")
}

pub fn unclear_invitation() -> String {
    fl!("invite-usage")
}

/// The limits in force; `set`: those that admins have set.
pub fn limits(limits: &QueueLimits, set: &[LimitName], blocked: usize) -> String {
    let mut text = String::from("```\n");
    for limit in LimitName::ALL {
        let sentence = match limit {
            LimitName::Spacing => fl!("limits-spacing", seconds = limits.interval.as_secs()),
            LimitName::Waiting => fl!("limits-waiting", count = limits.waiting_per_person),
            LimitName::Line => fl!("limits-queue", count = limits.waiting),
        };
        let mark = if set.contains(&limit) { format!("  {}", fl!("limits-set-mark")) } else { String::new() };
        let _ = writeln!(text, "{:<8} {sentence}{mark}", shown_name(limit));
    }
    format!("{text}```\n{} {}", fl!("limits-blocked", count = blocked), fl!("limits-hint"))
}

pub fn limit_set(limit: LimitName, value: Option<u32>) -> String {
    match (limit, value) {
        (LimitName::Spacing, Some(value)) => fl!("limit-set-spacing", value = value),
        (LimitName::Waiting, Some(value)) => fl!("limit-set-waiting", value = value),
        (LimitName::Line, Some(value)) => fl!("limit-set-queue", value = value),
        (limit, None) => fl!("limit-reset", limit = shown_name(limit)),
    }
}

/// A limit's name in `/limits`; the database keeps an older one.
pub fn shown_name(limit: LimitName) -> &'static str {
    match limit {
        LimitName::Spacing | LimitName::Waiting => limit.name(),
        LimitName::Line => "queue",
    }
}

pub fn unclear_limits() -> String {
    fl!("limits-usage")
}

/// A budget that its own managers may not raise.
pub fn budget_only_lower(most: &str) -> String {
    fl!("budget-own-only-lower", cap = most)
}

/// Of a budget that is not the server's own.
pub fn budget_only_here() -> String {
    fl!("budget-own-only")
}

/// What admins have changed, newest first; `more`: there is another page.
pub fn audit(changes: &[Change], page: u32, more: bool) -> String {
    if changes.is_empty() {
        return fl!("audit-empty", page = page);
    }
    let mut text = String::new();
    for Change { at, admin, change } in changes {
        let line = fl!("audit-line", at = minute(*at), admin = admin.as_str(), change = verbatim(change).to_string());
        let _ = writeln!(text, "- {line}");
    }
    if more {
        let next = page + 1;
        let _ = writeln!(text, "\n{}", fl!("audit-more", next = next));
    }
    text.trim_end().to_owned()
}

pub fn unclear_audit() -> String {
    fl!("audit-usage")
}

/// A member's limits, and what they asked today and this month.
pub fn my_limits(limits: &QueueLimits, today: Activity, month: Activity, account: &str) -> String {
    let waiting = limits.waiting_per_person;
    let mut lines = vec![match limits.interval {
        Duration::ZERO => fl!("me-limits-no-spacing", waiting = waiting),
        interval => fl!("me-limits", interval = exactly(interval), waiting = waiting),
    }];
    let activity = |span: &str, of: Activity| fl!("me-activity", span = span, messages = of.messages, reels = of.reels);
    lines.push(activity("day", today));
    // On the first of a month both are the same.
    lines.extend((month != today).then(|| activity("month", month)));
    lines.push(fl!("me-account", account = account));
    lines.join("\n")
}

/// Behind an answer, once a day: a day's budget nears its end.
pub fn nearly_used(standing: &Standing) -> String {
    let resets = moment(standing.budget().resets_at);
    note(&fl!("budget-nearly-used", percent = standing.percent(), resets = resets))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{GuildId, PersonId};
    use crate::store::budgets::{Amount, Cap, Scope, Span};

    #[test]
    fn sentences() {
        let at = Timestamp(1_795_500_000_000);
        let pause = |reason: &str| Pause { reason: reason.into(), at };
        let block = |guild: Option<GuildId>, reason: &str| Block {
            person: PersonId::new(),
            guild,
            reason: reason.into(),
            admin: "telegram:42".into(),
            at,
            accounts: vec!["discord:7".into()],
        };
        let invite = |uses_left| Invite {
            code_hash: "0a1b2c3d4e5f".into(),
            uses_left,
            until: Timestamp(1_795_600_000_000),
            admin: "telegram:42".into(),
            at,
        };
        let numbers =
            QueueLimits { interval: Duration::from_secs(30), waiting_per_person: 5, waiting: 500, pipeline: 1 };
        let guild = GuildId::new(Platform::Discord, "9");
        let cap = Cap { scope: Scope::Person(PersonId::new()), span: Span::Day, micro_usd: 100 };
        let standing =
            Standing { cap, used: Amount { spent: 83, set_aside: 0 }, resets_at: Timestamp(1_795_564_800_000) };
        let change = Change { at, admin: "telegram:42".into(), change: "paused the bot".into() };
        let said = [
            refused(&Refusal::Blocked, Platform::Telegram),
            refused(&Refusal::BlockedHere, Platform::Discord),
            refused(&Refusal::Elsewhere(vec![]), Platform::Discord),
            refused(&Refusal::Elsewhere(vec!["70".into(), "71".into()]), Platform::Discord),
            refused(&Refusal::NotListed, Platform::Discord),
            refused(&Refusal::NotInvited, Platform::Telegram),
            refused(&Refusal::BadCode, Platform::Telegram),
            refused(&Refusal::Anonymous, Platform::Telegram),
            refused(&Refusal::ChannelPost, Platform::Telegram),
            cancelled_by_block(),
            no_longer_yours(),
            paused(&pause("")),
            pause_set(&pause("new keys")),
            resumed(true),
            resumed(false),
            not_for_managers(),
            block_set("telegram:7", true, 0),
            block_set("discord:7", false, 2),
            block_removed("discord:7", true, true),
            block_removed("discord:7", false, false),
            cannot_block("telegram:42"),
            who_is_that("ben`\n", &[]),
            who_is_that("ben", &["telegram:7".into(), "discord:8".into()]),
            unclear_person(),
            blocked(&[], true),
            blocked(&[], false),
            blocked(&[block(None, "spam [here](http://x.y)"), block(Some(guild), "")], true),
            invitation("abcdefghijkmnpqr", "0a1b2c3d", Some("coach_bot"), 5, at),
            invitation("abcdefghijkmnpqr", "0a1b2c3d", None, 1, at),
            unclear_invitation(),
            invites(&[], 30),
            invites(&[invite(1), invite(4)], 2),
            invites(&[invite(1)], 2),
            invite_revoked(Some(&invite(1))),
            invite_revoked(None),
            unclear_invites(),
            limits(&numbers, &[LimitName::Spacing], 2),
            limit_set(LimitName::Spacing, Some(60)),
            limit_set(LimitName::Line, None),
            unclear_limits(),
            budget_only_lower("$5.00"),
            budget_only_here(),
            audit(&[], 1, false),
            audit(&[], 2, false),
            audit(&[change], 1, true),
            unclear_audit(),
            my_limits(&numbers, Activity { messages: 1, reels: 0 }, Activity { messages: 12, reels: 1 }, "telegram:42"),
            nearly_used(&standing),
        ];
        insta::assert_snapshot!(said.join("\n---\n"));
    }
}
