//! Every sentence about who may use the bot, what admins do about it, and what a member may use. Pure, like its parent.

use std::fmt::Write;
use std::time::Duration;

use super::filled_again;
use crate::clock::Timestamp;
use crate::core::access::{Refusal, invite_name};
use crate::core::text::{escape, verbatim};
use crate::ids::Platform;
use crate::store::access::{Activity, Block, Change, Invite, LimitName, Pause};
use crate::store::budgets::Standing;
use crate::store::reels::QueueLimits;

/// Why somebody may not use the bot there.
pub fn refused(refusal: &Refusal, platform: Platform) -> String {
    match refusal {
        Refusal::Blocked => {
            "You cannot use this bot: its admins have blocked you. If you think that this is a mistake, write to whoever runs it.".into()
        }
        Refusal::BlockedHere => "You cannot use this bot in this server.".into(),
        Refusal::Elsewhere(channels) if channels.is_empty() || platform != Platform::Discord => {
            "I am not set up to speak here.".into()
        }
        Refusal::Elsewhere(channels) => {
            let named: Vec<String> = channels.iter().map(|id| format!("<#{id}>")).collect();
            format!("I do not speak in this channel. Use me in {}.", named.join(", "))
        }
        Refusal::NotListed => {
            "This bot is not open to everybody. Use it in a server or group where it is at home, or ask whoever runs it.".into()
        }
        Refusal::NotInvited => {
            "I work by invitation. Open your invitation link again, or send me `/start` and your code. Codes come from whoever runs me.".into()
        }
        Refusal::BadCode => {
            "This invitation does not work: it was used up or taken back, has expired, or has a typing mistake in it. Ask whoever gave it to you for a new one.".into()
        }
        Refusal::Anonymous => {
            "I can't tell who's writing, so I can't answer. Turn off “Remain anonymous” for your admin role, or write as yourself.".into()
        }
        Refusal::ChannelPost => {
            "I only answer people, not channel posts. Write to me in the group or in a direct message.".into()
        }
    }
}

/// On the board of somebody who was blocked while they waited.
pub fn taken_off_the_line() -> &'static str {
    "You cannot use this bot any more, so your waiting reels are cancelled."
}

/// A reel whose asker may not use the bot any more.
pub fn no_longer_yours() -> String {
    "This reel was cancelled: you cannot use this bot any more.".into()
}

/// The same among people, who need not know why.
pub fn reel_cancelled() -> String {
    "This reel was cancelled.".into()
}

/// The first words with somebody new.
pub fn greeting(help: &str) -> String {
    format!("Welcome! {help}")
}

/// The whole bot pauses.
pub fn paused(pause: &Pause) -> String {
    let reason = if pause.reason.is_empty() { String::new() } else { format!(" ({})", escape(&pause.reason)) };
    format!("I am taking a break{reason}. Reels in the line keep their place; please write again a little later.")
}

pub fn pause_set(pause: &Pause) -> String {
    format!(
        "Paused. Everybody but the admins is told: “{}” Reels under way end, those in the line wait. `/resume` lets me go on.",
        paused(pause)
    )
}

pub fn resumed(was_paused: bool) -> String {
    if was_paused { "Going on.".into() } else { "I was not paused.".into() }
}

/// Only for who runs the whole bot, not for the managers of one server.
pub fn not_for_managers() -> String {
    "That concerns the whole bot: only its own admins can do it.".into()
}

/// Where an admin's command is answered.
pub fn admins_in_private() -> String {
    "Ask me that in private, please, in a direct message: here everybody would read it.".into()
}

/// Somebody is kept out from now on. `whole`: everywhere, not only in this server.
pub fn block_set(account: &str, whole: bool, cancelled: usize) -> String {
    let place = if whole { "" } else { " in this server" };
    let reels = match cancelled {
        0 => String::new(),
        1 => " One waiting reel of theirs is cancelled.".into(),
        many => format!(" {many} waiting reels of theirs are cancelled."),
    };
    format!("Blocked{place}: `{account}`.{reels} `/unblock {account}` lets them in again.")
}

pub fn block_removed(account: &str, whole: bool, was_blocked: bool) -> String {
    let place = if whole { "" } else { " in this server" };
    if was_blocked {
        format!("`{account}` may use me again{place}.")
    } else {
        format!("`{account}` was not blocked{place} with `/block`; lists of the configuration change with a restart.")
    }
}

pub fn cannot_block(account: &str) -> String {
    format!("`{account}` is one of my admins, or you yourself: nobody can block them.")
}

/// A person that could not be told from others.
pub fn who_is_that(name: &str, accounts: &[String]) -> String {
    let name = escape(&name.chars().take(40).collect::<String>());
    if accounts.is_empty() {
        return format!(
            "I do not know whom you mean by “{name}”. Give a number such as `telegram:42` (a person sees theirs with `/me`), or mention them on Discord."
        );
    }
    let listed: Vec<String> = accounts.iter().map(|account| format!("`{account}`")).collect();
    format!("Names are nobody's own. “{name}” may be {}: give the number.", listed.join(" or "))
}

pub fn unclear_person() -> String {
    "Give a person: `/block telegram:42 a reason`, `/block @mention`, `/unblock discord:80351110224678912`.".into()
}

/// Who is kept out. `whole`: everywhere, else in one server.
pub fn blocked(blocks: &[Block], whole: bool) -> String {
    if blocks.is_empty() {
        return if whole { "Nobody is blocked.".into() } else { "Nobody is blocked in this server.".into() };
    }
    let mut text = String::new();
    for block in blocks {
        let accounts = block.accounts.join(", ");
        let place = match &block.guild {
            Some(guild) if whole => format!(" in {guild}"),
            Some(_) | None => String::new(),
        };
        let reason = if block.reason.is_empty() { String::new() } else { format!(": {}", escape(&block.reason)) };
        let _ = writeln!(text, "- `{accounts}`{place} since {} by `{}`{reason}", day(block.at), block.admin);
    }
    text.push_str("`/unblock` and the number lets somebody in again.");
    text
}

/// A new invitation.
pub fn invitation(code: &str, name: &str, bot: Option<&str>, uses: u32, until: Timestamp) -> String {
    let times = if uses == 1 { "one person".to_owned() } else { format!("{uses} people") };
    let link = match bot {
        Some(bot) => format!("https://t.me/{bot}?start={code}\nOr on Telegram: `/start {code}`"),
        None => format!("On Telegram: `/start {code}`"),
    };
    format!(
        "An invitation for {times}, until {}. I do not keep the code, so this is the only time you see it. \
         `/invites revoke {name}` takes it back.\n{link}",
        minute(until)
    )
}

/// The open invitations, at most `most` of them.
pub fn invites(invites: &[Invite], most: u32) -> String {
    if invites.is_empty() {
        return "No invitation is open. `/invite 5 14` makes one for 5 people and 14 days.".into();
    }
    let mut text = String::new();
    for Invite { code_hash, uses_left, until, admin, at } in invites {
        let (name, people) = (invite_name(code_hash), if *uses_left == 1 { "person" } else { "people" });
        let _ = writeln!(
            text,
            "- `{name}`: {uses_left} more {people}, until {}; made {} by `{admin}`",
            minute(*until),
            day(*at)
        );
    }
    if invites.len() >= usize::try_from(most).unwrap_or(usize::MAX) {
        let _ = writeln!(text, "There may be more; these {most} end first.");
    }
    text.push_str("`/invites revoke` and the name or the code takes one back. Who came in with it stays.");
    text
}

/// An invitation was taken back, if it was open.
pub fn invite_revoked(invite: Option<&Invite>) -> String {
    match invite {
        Some(invite) => format!(
            "The invitation `{}` lets nobody in any more. Who came in with it stays; `/block` keeps somebody out.",
            invite_name(&invite.code_hash)
        ),
        None => "No open invitation has this name or code. `/invites` lists them.".into(),
    }
}

pub fn unclear_invites() -> String {
    "`/invites` lists the open invitations, `/invites revoke` and the name or the code takes one back.".into()
}

pub fn unclear_invitation() -> String {
    "Give how many people and for how many days: `/invite 5 14` (1 to 10000, 1 to 365). `/invite` alone: one person, 7 days.".into()
}

/// The limits in force; `set`: those that admins have set.
pub fn limits(limits: &QueueLimits, set: &[LimitName], blocked: usize) -> String {
    let mark = |limit: LimitName| if set.contains(&limit) { "  (set here)" } else { "" };
    format!(
        "```\nspacing  {} s between two new reels of one person{}\nwaiting  {} new reels may wait for one person{}\nline     {} reels may wait in all{}\n```\n{blocked} blocked (`/blocked`). \
         `/limits spacing 60` sets one, `/limits spacing default` gives it back to the configuration.",
        limits.interval.as_secs(),
        mark(LimitName::Spacing),
        limits.waiting_per_person,
        mark(LimitName::Waiting),
        limits.waiting,
        mark(LimitName::Line)
    )
}

pub fn limit_set(limit: LimitName, value: Option<u32>) -> String {
    match value {
        Some(value) => format!("From now on: {} {value}.", limit.name()),
        None => format!("From now on: {} as it is configured.", limit.name()),
    }
}

pub fn unclear_limits() -> String {
    "Give a limit and a number or default: `/limits spacing 60` (0 to 3600 s), `/limits waiting 5` (1 to 100), `/limits line 500` (1 to 100000).".into()
}

/// A budget that its own managers may not raise.
pub fn budget_only_lower(most: &str) -> String {
    format!("Whoever runs the bot pays for it, so you can only lower this server's budget: to at most {most}.")
}

/// Of a budget that is not the server's own.
pub fn budget_only_here() -> String {
    "You can set the budget of this server: `/budget here month 5`.".into()
}

/// What admins have changed, newest first; `more`: there is another page.
pub fn audit(changes: &[Change], page: u32, more: bool) -> String {
    if changes.is_empty() {
        return match page {
            1 => "No admin has changed anything yet.".into(),
            _ => format!("There is nothing on page {page}."),
        };
    }
    let mut text = String::new();
    for Change { at, admin, change } in changes {
        let _ = writeln!(text, "- {}, `{admin}`: {}", minute(*at), verbatim(change));
    }
    if more {
        let _ = writeln!(text, "`/audit {}` shows older ones, `/audit 7d` those of a week.", page + 1);
    }
    text.trim_end().to_owned()
}

pub fn unclear_audit() -> String {
    "Give a page, or days: `/audit 2`, `/audit 7d`, `/audit 30d 2`.".into()
}

/// A member's limits, and what they asked today and this month.
pub fn my_limits(limits: &QueueLimits, today: Activity, month: Activity, account: &str) -> String {
    let spacing = match limits.interval {
        Duration::ZERO => "New reels as fast as the line goes".to_owned(),
        interval => format!("One new reel every {} s", interval.as_secs()),
    };
    format!(
        "{spacing}, at most {} waiting; reels that were read before are free.\n\
         Today: {} and {}. This month: {} and {}.\nYour number here is `{account}`.",
        limits.waiting_per_person,
        counted(today.messages, "message"),
        counted(today.reels, "reel"),
        counted(month.messages, "message"),
        counted(month.reels, "reel"),
    )
}

/// Behind an answer, once a day: a day's budget nears its end.
pub fn nearly_used(standing: &Standing) -> String {
    format!(
        "*You have used {}% of what is yours for today; it is filled again on {}. `/me` tells more.*",
        standing.percent(),
        filled_again(&standing.budget())
    )
}

fn counted(count: i64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn day(at: Timestamp) -> String {
    at.utc().map(|at| at.format("%Y-%m-%d").to_string()).unwrap_or_default()
}

fn minute(at: Timestamp) -> String {
    at.utc().map(|at| at.format("%Y-%m-%d %H:%M UTC").to_string()).unwrap_or_default()
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
            taken_off_the_line().to_owned(),
            no_longer_yours(),
            paused(&pause("")),
            pause_set(&pause("new keys")),
            resumed(true),
            resumed(false),
            not_for_managers(),
            admins_in_private(),
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
