//! The rules of the gate, case by case.

use super::*;
use crate::config::AccessLists;
use crate::ids::GuildId;

fn set(ids: &[&str]) -> std::collections::BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

fn config(discord: AccessMode, telegram: AccessMode, allowed: AccessLists, blocked: AccessLists) -> AccessConfig {
    AccessConfig { discord, telegram, allowed, blocked }
}

fn lists(guilds: &[&str], channels: &[&str], roles: &[&str], people: &[&str]) -> AccessLists {
    AccessLists { guilds: set(guilds), channels: set(channels), roles: set(roles), people: set(people) }
}

/// What becomes of account 42 (admin: 1) under these rules.
struct Case {
    rules: Rules,
    known: Known,
}

impl Case {
    fn new(mode: AccessMode, allowed: AccessLists, blocked: AccessLists) -> Self {
        let admins = set(&["discord:1", "telegram:1"]);
        Self { rules: Rules::new(config(mode, mode, allowed, blocked), admins), known: Known::default() }
    }

    fn on_discord(&self, account: &str, place: Option<(&str, &str, Option<&[&str]>, bool)>) -> Verdict {
        let guild = place.map(|(guild, channel, roles, manages)| Guild {
            id: GuildId::new(Platform::Discord, guild),
            channel: channel.to_owned(),
            roles: roles.map(|roles| roles.iter().map(|role| (*role).to_owned()).collect()),
            manages,
            installed: true,
        });
        let chat = ChatId::new(Platform::Discord, "900");
        self.rules.judge(&Asker { account, chat: &chat, guild: guild.as_ref(), other_ids: &[] }, &self.known)
    }

    fn on_telegram(&self, account: &str, chat: &str) -> Verdict {
        let chat = ChatId::new(Platform::Telegram, chat);
        self.rules.judge(&Asker { account, chat: &chat, guild: None, other_ids: &[] }, &self.known)
    }
}

const DM: Option<(&str, &str, Option<&[&str]>, bool)> = None;

fn refused(refusal: Refusal) -> Verdict {
    Verdict::Refused(refusal)
}

#[test]
fn nothing_listed() {
    let none = AccessLists::default;
    let open = Case::new(AccessMode::Open, none(), none());
    assert_eq!(open.on_discord("42", DM), Verdict::Welcome);
    assert_eq!(open.on_discord("42", Some(("7", "70", None, false))), Verdict::Welcome);
    let list = Case::new(AccessMode::List, none(), none());
    assert_eq!(list.on_discord("42", DM), refused(Refusal::NotListed));
    assert_eq!(list.on_discord("42", Some(("7", "70", Some(&["5"]), true))), refused(Refusal::NotListed));
    assert_eq!(list.on_discord("1", DM), Verdict::Welcome, "an admin");
    let mut invite = Case::new(AccessMode::Invite, none(), none());
    assert_eq!(invite.on_telegram("42", "42"), refused(Refusal::NotInvited));
    invite.known.admitted = true;
    assert_eq!(invite.on_telegram("42", "42"), Verdict::Welcome);
    assert_eq!(invite.on_telegram("42", "-100"), Verdict::Welcome, "in groups too");
    let mut list = Case::new(AccessMode::List, none(), none());
    list.known.admitted = true;
    assert_eq!(list.on_telegram("42", "42"), refused(Refusal::NotListed), "invitations count no more");
    let console = ChatId::new(Platform::Console, "x");
    let asker = Asker { account: "you", chat: &console, guild: None, other_ids: &[] };
    assert_eq!(list.rules.judge(&asker, &list.known), Verdict::Welcome);
}

#[test]
fn places() {
    let allowed = lists(&["discord:7"], &["discord:70", "discord:71", "telegram:-100"], &[], &["discord:43"]);
    let list = Case::new(AccessMode::List, allowed.clone(), AccessLists::default());
    let at = |guild, channel| Some((guild, channel, Some(&[] as &[&str]), false));
    let named = refused(Refusal::Elsewhere(vec!["70".into(), "71".into()]));
    assert_eq!(list.on_discord("42", at("7", "70")), Verdict::Welcome);
    assert_eq!(list.on_discord("42", at("7", "72")), named);
    assert_eq!(list.on_discord("42", at("8", "70")), refused(Refusal::Elsewhere(Vec::new())), "another server");
    assert_eq!(list.on_discord("42", DM), refused(Refusal::NotListed), "nobody knows where from");
    assert_eq!(list.on_discord("43", DM), Verdict::Welcome, "listed by name");
    assert_eq!(list.on_discord("43", at("7", "72")), named, "but it does not speak there");
    assert_eq!(list.on_discord("1", at("8", "1")), Verdict::Welcome, "an admin, anywhere");
    assert_eq!(list.on_telegram("42", "-100"), Verdict::Welcome);
    assert_eq!(list.on_telegram("42", "-100/5"), Verdict::Welcome, "a topic of the group");
    assert_eq!(list.on_telegram("42", "-101"), refused(Refusal::Elsewhere(vec!["-100".into()])));
    assert_eq!(list.on_telegram("42", "42"), refused(Refusal::NotListed));

    let open = Case::new(AccessMode::Open, allowed, lists(&["discord:9"], &["discord:71"], &[], &[]));
    assert_eq!(open.on_discord("42", DM), Verdict::Welcome);
    assert_eq!(open.on_discord("42", at("7", "71")), refused(Refusal::Elsewhere(vec!["70".into()])), "block wins");
    let open = Case::new(AccessMode::Open, AccessLists::default(), lists(&["discord:9"], &["telegram:-5"], &[], &[]));
    assert_eq!(open.on_discord("42", at("9", "1")), refused(Refusal::Elsewhere(Vec::new())));
    assert_eq!(open.on_discord("42", at("8", "1")), Verdict::Welcome);
    assert_eq!(open.on_telegram("42", "-5/1"), refused(Refusal::Elsewhere(Vec::new())));
}

#[test]
fn roles_and_people() {
    let allowed = lists(&["discord:7"], &[], &["discord:5"], &[]);
    let list = Case::new(AccessMode::List, allowed, lists(&[], &[], &["discord:6"], &["discord:66", "telegram:66"]));
    let with = |roles: Option<&'static [&'static str]>, manages| Some(("7", "70", roles, manages));
    assert_eq!(list.on_discord("42", with(Some(&["4", "5"]), false)), Verdict::Welcome);
    assert_eq!(list.on_discord("42", with(Some(&["4"]), false)), refused(Refusal::NotListed));
    assert_eq!(list.on_discord("42", with(Some(&[]), true)), Verdict::Welcome, "who manages the server");
    assert_eq!(list.on_discord("42", with(Some(&["5", "6"]), true)), refused(Refusal::BlockedHere), "block wins");
    assert_eq!(list.on_discord("66", with(Some(&["5"]), false)), refused(Refusal::Blocked));
    assert_eq!(list.on_discord("42", with(None, false)), refused(Refusal::BlockedHere), "roles are not known");
    let list = Case::new(AccessMode::List, lists(&[], &[], &["discord:5"], &[]), AccessLists::default());
    assert_eq!(list.on_discord("42", with(None, false)), refused(Refusal::NotListed), "roles are not known");
    assert_eq!(list.on_discord("42", with(Some(&["5"]), false)), Verdict::Welcome, "in any server");
    assert_eq!(list.on_discord("42", with(Some(&[]), true)), refused(Refusal::NotListed), "a server of one's own");
    let open = Case::new(AccessMode::Open, AccessLists::default(), lists(&[], &[], &[], &["telegram:66"]));
    assert_eq!(open.on_telegram("66", "66"), refused(Refusal::Blocked));
    assert_eq!(open.on_discord("66", DM), Verdict::Welcome, "another account");
}

#[test]
fn what_admins_set_wins_over_the_lists() {
    let allowed = lists(&["discord:7"], &[], &[], &["discord:42", "discord:1"]);
    let mut case = Case::new(AccessMode::Open, allowed, AccessLists::default());
    case.known.blocked = true;
    assert_eq!(case.on_discord("42", DM), refused(Refusal::Blocked));
    assert_eq!(case.on_discord("1", DM), Verdict::Welcome, "but nobody locks an admin out");
    case.known = Known { blocked_here: true, ..Known::default() };
    assert_eq!(case.on_discord("42", Some(("7", "1", Some(&[]), true))), refused(Refusal::BlockedHere));
}

#[test]
fn codes_fit_a_deep_link_and_are_not_kept() {
    let code = new_code();
    assert!(code.len() == 16 && code.bytes().all(|b| b.is_ascii_alphanumeric()), "{code}");
    assert_ne!(new_code(), code);
    assert_eq!(code_hash(&format!(" {} ", code.to_uppercase())), code_hash(&code));
    assert_eq!(code_hash("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "FIPS 180-2, B.1");
}

#[test]
fn in_words() {
    let none = AccessLists::default;
    let full = lists(&["discord:1", "discord:2"], &["telegram:-1"], &["discord:3"], &["discord:4"]);
    let cases = [
        config(AccessMode::Open, AccessMode::Open, none(), none()),
        config(AccessMode::List, AccessMode::Invite, none(), none()),
        config(AccessMode::List, AccessMode::List, full.clone(), lists(&[], &[], &[], &["discord:5"])),
        config(AccessMode::Open, AccessMode::Open, full, none()),
        config(AccessMode::List, AccessMode::List, lists(&[], &["telegram:-1"], &["discord:3"], &[]), none()),
    ];
    let said: Vec<String> = cases
        .iter()
        .flat_map(|config| [Platform::Discord, Platform::Telegram].map(|platform| describe(config, platform)))
        .map(|(text, warning)| format!("{}{text}", if warning { "WARNING " } else { "" }))
        .collect();
    assert_eq!(
        said,
        [
            "WARNING open to everyone who finds it",
            "WARNING open to everyone who finds it",
            "WARNING the admins only. List servers, channels, roles or people, or set it to open",
            "the admins, anyone with an invitation code",
            "the admins, members with one of 1 role, 1 listed person; it talks in 2 servers and in direct messages; \
             1 blocked by the configuration",
            "the admins, everyone in 1 group",
            "open to everyone in direct messages and in 2 servers",
            "open to everyone in direct messages and in 1 group",
            "WARNING the admins, members with one of 1 role; their server is not listed, so its managers have no rights \
             there. Set ALLOWED_GUILDS",
            "the admins, everyone in 1 group",
        ]
    );
}
