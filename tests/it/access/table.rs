//! Every combination of a configuration, a place and a person, against a list of decisions that is written independently of
//! the rules, and `docs/access.md` against both.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use reelcoach::config::{AccessConfig, AccessLists, AccessMode};
use reelcoach::core::access::{Asker, Authority, Refusal, Rules, Verdict};
use reelcoach::core::chat::Guild;
use reelcoach::ids::{ChatId, GuildId, Platform};
use reelcoach::store::access::Known;

use crate::docs::assert_block;

/// Where somebody writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Console,
    Direct(Platform),
    /// Named by an allow list, if the configuration has one; by none otherwise.
    Home(Platform),
    /// Named by none.
    Elsewhere(Platform),
    /// Named by a block list, whatever else names it.
    Blocked(Platform),
    /// A group that is listed, or blocked, under the id it had before it became a supergroup.
    UpgradedHome,
    UpgradedBlocked,
}

const PLACES: [Place; 11] = [
    Place::Console,
    Place::Direct(Platform::Discord),
    Place::Direct(Platform::Telegram),
    Place::Home(Platform::Discord),
    Place::Home(Platform::Telegram),
    Place::Elsewhere(Platform::Discord),
    Place::Elsewhere(Platform::Telegram),
    Place::Blocked(Platform::Discord),
    Place::Blocked(Platform::Telegram),
    Place::UpgradedHome,
    Place::UpgradedBlocked,
];

/// What the allow lists of a configuration name beside the one person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Nothing,
    Servers,
    Channels,
    ServersAndChannels,
}

const NAMED: [Named; 4] = [Named::Nothing, Named::Servers, Named::Channels, Named::ServersAndChannels];

/// One bit for each thing that may be true of a person there.
const ADMIN: u32 = 1;
const BLOCKED: u32 = 1 << 1;
const BLOCKED_BY_LIST: u32 = 1 << 2;
const BLOCKED_HERE: u32 = 1 << 3;
const BLOCKED_ROLE: u32 = 1 << 4;
const ROLES_UNKNOWN: u32 = 1 << 5;
const ROLE: u32 = 1 << 6;
const LISTED: u32 = 1 << 7;
const INVITED: u32 = 1 << 8;
const MANAGES: u32 = 1 << 9;
/// The bot is no member of the server: the person has installed its commands for themselves.
const USER_INSTALLED: u32 = 1 << 10;
/// Writes as the group, or as a channel.
const HIDDEN: u32 = 1 << 11;
const ALL_BITS: u32 = 1 << 12;

#[derive(Clone, Copy, Debug)]
struct Case {
    mode: AccessMode,
    named: Named,
    /// Whether ALLOWED_ROLES and BLOCKED_ROLES are set.
    roles: bool,
    place: Place,
    who: u32,
}

/// What it comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Blocked,
    BlockedHere,
    NotHere,
    Hidden,
    NotListed,
    NotInvited,
    Member,
    Manager,
    Admin,
}

impl Case {
    fn is(&self, bits: u32) -> bool {
        self.who & bits != 0
    }

    fn platform(&self) -> Platform {
        match self.place {
            Place::Console => Platform::Console,
            Place::Direct(platform) | Place::Home(platform) | Place::Elsewhere(platform) | Place::Blocked(platform) => {
                platform
            }
            Place::UpgradedHome | Place::UpgradedBlocked => Platform::Telegram,
        }
    }

    fn is_in_server(&self) -> bool {
        self.platform() == Platform::Discord && !matches!(self.place, Place::Direct(_))
    }

    /// Whether the configuration names places of this platform; servers are Discord's alone.
    fn names_places(&self) -> bool {
        match self.named {
            Named::Nothing => false,
            Named::Servers => self.platform() == Platform::Discord,
            Named::Channels | Named::ServersAndChannels => self.platform() != Platform::Console,
        }
    }

    /// Whether a chat writes there, and not a person; direct messages come from people.
    fn is_chat(&self) -> bool {
        self.is(HIDDEN) && self.platform() == Platform::Telegram && !matches!(self.place, Place::Direct(_))
    }

    fn is_at_home(&self) -> bool {
        self.names_places() && matches!(self.place, Place::Home(_) | Place::UpgradedHome)
    }
}

/// The decisions: the first that fits. In words, and as what they ask.
type Decision = (&'static str, &'static str, fn(&Case) -> bool, Outcome);

const DECISIONS: [Decision; 14] = [
    ("the console", "anybody", |case| case.place == Place::Console, Outcome::Member),
    ("anywhere", "is in `ADMIN_IDS`", |case| case.is(ADMIN), Outcome::Admin),
    (
        "anywhere",
        "is blocked, by `/block` or `BLOCKED_PEOPLE`",
        |case| case.is(BLOCKED | BLOCKED_BY_LIST),
        Outcome::Blocked,
    ),
    (
        "a server",
        "is blocked there by its managers, or has a role of `BLOCKED_ROLES`, or their roles are not known while that is set",
        |case| {
            case.is_in_server()
                && (case.is(BLOCKED_HERE)
                    || case.roles && case.is(BLOCKED_ROLE) && !case.is(ROLES_UNKNOWN)
                    || case.roles && case.is(ROLES_UNKNOWN))
        },
        Outcome::BlockedHere,
    ),
    (
        "a place of `BLOCKED_GUILDS` or `BLOCKED_CHANNELS`",
        "anybody else",
        |case| matches!(case.place, Place::Blocked(_) | Place::UpgradedBlocked),
        Outcome::NotHere,
    ),
    (
        "an unlisted place, while `ALLOWED_GUILDS` or `ALLOWED_CHANNELS` list others",
        "anybody else",
        |case| !matches!(case.place, Place::Direct(_)) && case.names_places() && !case.is_at_home(),
        Outcome::NotHere,
    ),
    (
        "a group where everybody may use it",
        "writes as the group or as a channel",
        |case| case.is_chat() && (case.mode == AccessMode::Open || case.is_at_home()),
        Outcome::Hidden,
    ),
    (
        "a listed server, or with `open` and no lists any server, to which the bot was added",
        "manages the server",
        |case| {
            case.is_in_server()
                && case.is(MANAGES)
                && !case.is(USER_INSTALLED)
                && (case.is_at_home() || case.mode == AccessMode::Open)
        },
        Outcome::Manager,
    ),
    ("anywhere else, with `open`", "anybody", |case| case.mode == AccessMode::Open, Outcome::Member),
    ("anywhere else", "is in `ALLOWED_PEOPLE`", |case| case.is(LISTED) && !case.is_chat(), Outcome::Member),
    (
        "a server, with `ALLOWED_ROLES`",
        "has one of the roles; in a listed server also who manages it",
        |case| {
            case.is_in_server()
                && case.roles
                && (case.is(ROLE) && !case.is(ROLES_UNKNOWN) || case.is_at_home() && case.is(MANAGES))
        },
        Outcome::Member,
    ),
    (
        "a listed place, without `ALLOWED_ROLES` or in a Telegram group",
        "anybody",
        |case| case.is_at_home() && !(case.is_in_server() && case.roles),
        Outcome::Member,
    ),
    (
        "anywhere else, with `invite`",
        "has used a code",
        |case| case.mode == AccessMode::Invite && case.is(INVITED),
        Outcome::Member,
    ),
    ("anywhere else, with `invite`", "anybody else", |case| case.mode == AccessMode::Invite, Outcome::NotInvited),
];

fn expected(case: &Case) -> (usize, Outcome) {
    let fits = DECISIONS.iter().position(|(_, _, fits, _)| fits(case));
    fits.map_or((DECISIONS.len(), Outcome::NotListed), |at| (at, DECISIONS[at].3))
}

fn set(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

/// The real rules, asked about a case.
fn decided(case: &Case) -> Outcome {
    let servers = matches!(case.named, Named::Servers | Named::ServersAndChannels);
    let channels = matches!(case.named, Named::Channels | Named::ServersAndChannels);
    let role = |id| if case.roles { set(&[id]) } else { BTreeSet::new() };
    let config = AccessConfig {
        discord: case.mode,
        telegram: case.mode,
        allowed: AccessLists {
            guilds: if servers { set(&["discord:7"]) } else { BTreeSet::new() },
            channels: if channels { set(&["discord:70", "telegram:-5", "telegram:-100"]) } else { BTreeSet::new() },
            roles: role("discord:50"),
            people: if case.is(LISTED) { set(&["discord:42", "telegram:42"]) } else { BTreeSet::new() },
        },
        blocked: AccessLists {
            guilds: set(&["discord:9"]),
            channels: set(&["telegram:-9", "telegram:-6"]),
            roles: role("discord:60"),
            people: if case.is(BLOCKED_BY_LIST) {
                set(&["discord:42", "telegram:42", "telegram:-100", "telegram:-200"])
            } else {
                BTreeSet::new()
            },
        },
    };
    let admins = if case.is(ADMIN) {
        set(&["discord:42", "telegram:42", "telegram:-100", "telegram:-200"])
    } else {
        BTreeSet::new()
    };
    let rules = Rules::new(config, admins);
    let (guild, channel, key) = match case.place {
        Place::Console => ("", "", "ana"),
        Place::Direct(Platform::Discord) => ("", "", "900"),
        Place::Direct(_) => ("", "", "42"),
        Place::Home(Platform::Discord) => ("7", "70", "700"),
        Place::Home(_) => ("", "", "-100/3"),
        Place::Elsewhere(Platform::Discord) => ("8", "80", "80"),
        Place::Elsewhere(_) => ("", "", "-200"),
        Place::Blocked(Platform::Discord) => ("9", "90", "90"),
        Place::Blocked(_) => ("", "", "-9"),
        Place::UpgradedHome => ("", "", "-1005"),
        Place::UpgradedBlocked => ("", "", "-1006"),
    };
    let platform = case.platform();
    let chat = ChatId::new(platform, key);
    let other_ids: Vec<ChatId> = match case.place {
        Place::UpgradedHome => vec![ChatId::new(platform, "-5")],
        Place::UpgradedBlocked => vec![ChatId::new(platform, "-6")],
        _ => Vec::new(),
    };
    let roles = [(ROLE, "50"), (BLOCKED_ROLE, "60"), (MANAGES, "1")];
    let roles = roles.into_iter().filter(|(bit, _)| case.is(*bit)).map(|(_, id)| id.to_owned()).collect();
    let guild = case.is_in_server().then(|| Guild {
        id: GuildId::new(platform, guild),
        channel: channel.to_owned(),
        roles: (!case.is(ROLES_UNKNOWN)).then_some(roles),
        manages: case.is(MANAGES),
        installed: !case.is(USER_INSTALLED),
    });
    let account = match case.is_chat() {
        true if case.place == Place::Elsewhere(platform) => "-200",
        true => "-100",
        false => "42",
    };
    let asker = Asker { account, chat: &chat, guild: guild.as_ref(), other_ids: &other_ids };
    let known = Known {
        blocked: case.is(BLOCKED),
        blocked_here: case.is(BLOCKED_HERE) && guild.is_some(),
        admitted: case.is(INVITED),
        ..Known::default()
    };
    match (rules.judge(&asker, &known), rules.authority(&asker)) {
        (Verdict::Refused(Refusal::Blocked), _) => Outcome::Blocked,
        (Verdict::Refused(Refusal::BlockedHere), _) => Outcome::BlockedHere,
        (Verdict::Refused(Refusal::Elsewhere(_)), _) => Outcome::NotHere,
        (Verdict::Refused(Refusal::Anonymous | Refusal::ChannelPost), _) => Outcome::Hidden,
        (Verdict::Refused(Refusal::NotListed), _) => Outcome::NotListed,
        (Verdict::Refused(Refusal::NotInvited), _) => Outcome::NotInvited,
        (Verdict::Refused(Refusal::BadCode), _) => panic!("no code was given"),
        (Verdict::Welcome, Authority::None) => Outcome::Member,
        (Verdict::Welcome, Authority::Guild(of)) => {
            assert_eq!(Some(&of), guild.as_ref().map(|guild| &guild.id));
            Outcome::Manager
        }
        (Verdict::Welcome, Authority::Everything) => Outcome::Admin,
    }
}

#[test]
fn every_combination_is_decided_as_written() {
    let mut used = [0_usize; DECISIONS.len() + 1];
    let mut faults = Vec::new();
    for mode in [AccessMode::List, AccessMode::Invite, AccessMode::Open] {
        for named in NAMED {
            for roles in [false, true] {
                for place in PLACES {
                    for who in 0..ALL_BITS {
                        let case = Case { mode, named, roles, place, who };
                        let (at, expected) = expected(&case);
                        used[at] += 1;
                        let decided = decided(&case);
                        // The lists name the account of a person: what a chat writes is nobody's.
                        if case.is_chat() && case.is(ADMIN | BLOCKED_BY_LIST) {
                            continue;
                        }
                        if decided != expected {
                            faults.push(format!("{case:?}: {decided:?}, not {expected:?}"));
                        }
                    }
                }
            }
        }
    }
    assert!(faults.is_empty(), "{} of them, such as\n{}", faults.len(), faults[..faults.len().min(8)].join("\n"));
    assert!(used.iter().all(|times| *times > 0), "each decision decides something: {used:?}");
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Blocked => "refused: blocked",
        Outcome::BlockedHere => "refused: blocked in this server",
        Outcome::NotHere => "refused: the bot does not speak here",
        Outcome::Hidden => "refused: told once how to be heard",
        Outcome::NotListed => "refused: the bot is private",
        Outcome::NotInvited => "refused: invite-only",
        Outcome::Member => "may use the bot",
        Outcome::Manager => "may use the bot and manage it for this server",
        Outcome::Admin => "may do everything, everywhere",
    }
}

/// The decisions, and what the real rules make of the usual people in the usual places.
fn tables() -> String {
    let mut text = String::from("| # | Where | Who | Outcome |\n|---|---|---|---|\n");
    for (n, (place, who, _, outcome)) in DECISIONS.iter().enumerate() {
        let _ = writeln!(text, "| {} | {place} | {who} | {} |", n + 1, word(*outcome));
    }
    let _ = writeln!(text, "| {} | anywhere else | anybody | {} |", DECISIONS.len() + 1, word(Outcome::NotListed));
    let modes = [AccessMode::List, AccessMode::Invite, AccessMode::Open];
    text.push_str(
        "\nWhat that makes of the usual people. **yes**: may use the bot, **manages**: also manages it for the server, \
         –: refused. Who is not in a row of their own fares like anybody.\n\n\
         | Where | Who | `list` | `list` + roles | `invite` | `invite` + roles | `open` | `open` + roles |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    let people = [
        ("anybody", 0),
        ("has a listed role", ROLE),
        ("manages the server", MANAGES),
        ("manages it, user-installed", MANAGES | USER_INSTALLED),
        ("listed by name", LISTED),
        ("invited", INVITED),
        ("writes as the group", HIDDEN),
    ];
    let places = [
        ("direct message", Place::Direct(Platform::Discord), Named::Servers),
        ("listed server", Place::Home(Platform::Discord), Named::Servers),
        ("server, none listed", Place::Elsewhere(Platform::Discord), Named::Nothing),
        ("server, others listed", Place::Elsewhere(Platform::Discord), Named::Servers),
        ("listed group", Place::Home(Platform::Telegram), Named::Channels),
        ("listed group, upgraded since", Place::UpgradedHome, Named::Channels),
        ("group, none listed", Place::Elsewhere(Platform::Telegram), Named::Nothing),
        ("group, others listed", Place::Elsewhere(Platform::Telegram), Named::Channels),
    ];
    for (at, place, named) in places {
        let row = |who: u32| -> Vec<&'static str> {
            let cases = modes.into_iter().flat_map(|mode| [false, true].map(|roles| (mode, roles)));
            cases
                .map(|(mode, roles)| match decided(&Case { mode, named, roles, place, who }) {
                    Outcome::Member => "yes",
                    Outcome::Manager => "manages",
                    Outcome::Admin => "everything",
                    Outcome::Blocked
                    | Outcome::BlockedHere
                    | Outcome::NotHere
                    | Outcome::Hidden
                    | Outcome::NotListed
                    | Outcome::NotInvited => "–",
                })
                .collect()
        };
        let usual = row(0);
        for (name, who) in people {
            let cells = row(who);
            if who == 0 || cells != usual {
                let _ = writeln!(text, "| {at} | {name} | {} |", cells.join(" | "));
            }
        }
    }
    text
}

#[test]
fn the_page_on_access_holds_these_tables() {
    assert_block("docs/access.md", "access", &tables());
}
