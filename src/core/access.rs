//! Who may use the bot, and where: one gate for everything that a person starts. The rules are pure; the gate adds what
//! the database knows of blocks and invitations. Checked before anything is stored or spent, and once more before an
//! answer, because much may have been set in between. Never says anything itself.
//!
//! A block wins over everything but ADMIN_IDS, which no block may name. Then the place must be one where the bot speaks;
//! then the person must be let in: by name, by a role, by the listed place they write in, by an invitation, or because
//! everybody is.

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::chat::{Addressed, Guild, Inbound};
use super::command::Command;
use crate::clock::Timestamp;
use crate::config::{AccessConfig, AccessMode};
use crate::ids::{ChatId, PersonId, Platform};
use crate::store::access::{Known, Redeemed};
use crate::store::{Store, StoreError};

/// A refusal is told so rarely.
const TOLD_EVERY: Duration = Duration::from_secs(86_400);

/// Wrong codes of one account that are answered within that time.
const WRONG_CODES_TOLD: u32 = 5;

/// Channels that a refusal names.
const CHANNELS_NAMED: usize = 5;

/// Whether somebody may use the bot at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Welcome,
    Refused(Refusal),
}

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The person, everywhere.
    Blocked,
    /// The person, by a role or by the managers of this community.
    BlockedHere,
    /// The bot does not speak here, but in these channels (ids) of the platform, as far as any are named.
    Elsewhere(Vec<String>),
    /// The person is on no list.
    NotListed,
    /// The person needs an invitation.
    NotInvited,
    /// The invitation they brought is unknown, used up or expired.
    BadCode,
}

/// What came through the gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    Welcome(Known),
    /// With an invitation, just now.
    Invited,
    /// To be told so if `told`; the person, if the bot knows them.
    Refused {
        told: bool,
        person: Option<PersonId>,
        refusal: Refusal,
    },
}

/// The configured rules.
#[derive(Clone, Debug)]
pub struct Rules {
    config: AccessConfig,
    admins: std::collections::BTreeSet<String>,
}

/// Somebody at the door.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    pub account: &'a str,
    pub chat: &'a ChatId,
    pub guild: Option<&'a Guild>,
}

impl<'a> From<&'a Inbound> for Asker<'a> {
    fn from(inbound: &'a Inbound) -> Self {
        Asker { account: &inbound.author.account, chat: &inbound.message.chat, guild: inbound.guild.as_ref() }
    }
}

impl Asker<'_> {
    /// Whether others read along: in a server, or in a Telegram group (whose number is negative).
    fn is_among_people(&self) -> bool {
        self.guild.is_some() || self.chat.platform == Platform::Telegram && self.chat.key.starts_with('-')
    }

    /// The channel or group as the lists name it.
    fn channel(&self) -> Option<String> {
        let platform = self.chat.platform;
        match self.guild {
            Some(guild) => Some(format!("{platform}:{}", guild.channel)),
            // A topic is part of its group.
            None if self.is_among_people() => {
                self.chat.key.split('/').next().map(|group| format!("{platform}:{group}"))
            }
            None => None,
        }
    }
}

impl Rules {
    /// `admins` are `platform:account`; they may use the bot everywhere.
    pub fn new(config: AccessConfig, admins: std::collections::BTreeSet<String>) -> Self {
        Self { config, admins }
    }

    /// Whether this person may use the bot here, given what the database knows of them.
    pub fn judge(&self, asker: &Asker<'_>, known: &Known) -> Verdict {
        let platform = asker.chat.platform;
        let mode = match platform {
            // Whoever sits at the console runs the program.
            Platform::Console => return Verdict::Welcome,
            Platform::Discord => self.config.discord,
            Platform::Telegram => self.config.telegram,
        };
        let account = format!("{platform}:{}", asker.account);
        if self.admins.contains(&account) {
            return Verdict::Welcome;
        }
        let (allowed, blocked) = (&self.config.allowed, &self.config.blocked);
        if known.blocked || blocked.people.contains(&account) {
            return Verdict::Refused(Refusal::Blocked);
        }
        let role_in = |listed: &std::collections::BTreeSet<String>| {
            let roles = asker.guild.and_then(|guild| guild.roles.as_deref()).unwrap_or_default();
            roles.iter().any(|role| listed.contains(&format!("{platform}:{role}")))
        };
        let roles_unknown = asker.guild.is_some_and(|guild| guild.roles.is_none());
        if known.blocked_here || role_in(&blocked.roles) || roles_unknown && !blocked.roles.is_empty() {
            return Verdict::Refused(Refusal::BlockedHere);
        }
        let guild = asker.guild.map(|guild| guild.id.to_string());
        let channel = asker.channel();
        let is_of_platform = |id: &&String| id.split_once(':').is_some_and(|(of, _)| of == platform.name());
        let is_in = |listed: &std::collections::BTreeSet<String>, id: &Option<String>| {
            id.as_ref().is_some_and(|id| listed.contains(id))
        };
        let bars = |listed: &std::collections::BTreeSet<String>, id: &Option<String>| {
            id.is_some() && listed.iter().any(|id| is_of_platform(&id)) && !is_in(listed, id)
        };
        if is_in(&blocked.guilds, &guild) || bars(&allowed.guilds, &guild) {
            return Verdict::Refused(Refusal::Elsewhere(Vec::new()));
        }
        if is_in(&blocked.channels, &channel) || bars(&allowed.channels, &channel) {
            let channels = allowed.channels.iter().filter(is_of_platform).filter(|id| !blocked.channels.contains(*id));
            let named = channels.filter_map(|id| Some(id.split_once(':')?.1.to_owned())).take(CHANNELS_NAMED);
            return Verdict::Refused(Refusal::Elsewhere(named.collect()));
        }
        let by_place = is_in(&allowed.guilds, &guild) || is_in(&allowed.channels, &channel);
        let by_role = match allowed.roles.is_empty() || asker.guild.is_none() {
            true => by_place,
            false => role_in(&allowed.roles) || asker.guild.is_some_and(|guild| guild.manages),
        };
        if mode == AccessMode::Open || by_role || allowed.people.contains(&account) {
            return Verdict::Welcome;
        }
        match mode {
            AccessMode::Invite if known.admitted => Verdict::Welcome,
            AccessMode::Invite => Verdict::Refused(Refusal::NotInvited),
            AccessMode::List | AccessMode::Open => Verdict::Refused(Refusal::NotListed),
        }
    }

    /// Whether a code may let people in there.
    fn takes_codes(&self, platform: Platform) -> bool {
        match platform {
            Platform::Discord => self.config.discord == AccessMode::Invite,
            Platform::Telegram => self.config.telegram == AccessMode::Invite,
            Platform::Console => false,
        }
    }
}

/// The gate.
pub struct Gate {
    store: Arc<Store>,
    rules: Rules,
}

impl Gate {
    pub fn new(store: Arc<Store>, rules: Rules) -> Self {
        Self { store, rules }
    }

    /// Whether its author may use the bot there, now. Changes nothing.
    pub async fn judge(&self, inbound: &Inbound) -> Result<Verdict, StoreError> {
        Ok(self.look(inbound).await?.0)
    }

    /// Lets something a person started in, or not. An invitation in it is redeemed.
    pub async fn enter(&self, inbound: &Inbound, now: Timestamp) -> Result<Entry, StoreError> {
        let (verdict, known) = self.look(inbound).await?;
        let Verdict::Refused(mut refusal) = verdict else { return Ok(Entry::Welcome(known)) };
        let asker = Asker::from(inbound);
        let platform = asker.chat.platform;
        if refusal == Refusal::NotInvited
            && self.rules.takes_codes(platform)
            && !asker.is_among_people()
            && let Command::Start { code: Some(code) } = Command::read(&inbound.text)
        {
            let person = match known.person {
                Some(person) => person,
                None => self.store.person(platform, asker.account, "", now).await?,
            };
            match self.store.redeem(&code_hash(&code), person, now).await? {
                Redeemed::Yes | Redeemed::Already => return Ok(Entry::Invited),
                Redeemed::No => refusal = Refusal::BadCode,
            }
        }
        let told = self.may_tell(inbound, &refusal, now).await?;
        Ok(Entry::Refused { told, person: known.person, refusal })
    }

    /// Whether a refusal is to be told: to a command always, because its asker looks at an empty answer; in direct
    /// messages once a day; among people never.
    pub async fn may_tell(&self, inbound: &Inbound, refusal: &Refusal, now: Timestamp) -> Result<bool, StoreError> {
        if inbound.placeholder.is_some() {
            return Ok(true);
        }
        let asker = Asker::from(inbound);
        if inbound.addressed == Addressed::Overheard || asker.is_among_people() {
            return Ok(false);
        }
        let account = format!("{}:{}", asker.chat.platform, asker.account);
        let (what, times) = match refusal {
            Refusal::BadCode => ("wrong code", WRONG_CODES_TOLD),
            Refusal::Blocked
            | Refusal::BlockedHere
            | Refusal::Elsewhere(_)
            | Refusal::NotListed
            | Refusal::NotInvited => ("refused", 1),
        };
        self.store.may_tell(&account, what, times, TOLD_EVERY, now).await
    }

    /// Whether a person who asked for something before is kept out of its chat by now.
    pub async fn keeps_out(&self, person: PersonId, chat: &ChatId) -> Result<bool, StoreError> {
        if self.store.is_blocked(person, chat).await? {
            return Ok(true);
        }
        let listed = &self.rules.config.blocked.people;
        // Only a restart changes that list: mostly there is nobody to look for.
        Ok(!listed.is_empty() && self.store.accounts(person).await?.iter().any(|account| listed.contains(account)))
    }

    async fn look(&self, inbound: &Inbound) -> Result<(Verdict, Known), StoreError> {
        let asker = Asker::from(inbound);
        // Nothing that the database knows would matter there.
        if asker.chat.platform == Platform::Console {
            return Ok((Verdict::Welcome, Known::default()));
        }
        let guild = asker.guild.map(|guild| &guild.id);
        let known = self.store.known(asker.chat.platform, asker.account, guild).await?;
        Ok((self.rules.judge(&asker, &known), known))
    }
}

/// A new invitation code: 80 random bits, in letters and digits that are not mistaken for one another and that fit a
/// Telegram deep link (1-64 of A-Z a-z 0-9 _ -).
pub fn new_code() -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    (0..16).map(|_| char::from(LETTERS[usize::from(rand::random::<u8>() & 31)])).collect()
}

/// How a code stands in the database. It is random enough to need no salt.
pub fn code_hash(code: &str) -> String {
    Sha256::digest(code.trim().to_ascii_lowercase().as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How an invitation is called where its code is not to be seen: the beginning of its code's hash.
pub fn invite_name(code_hash: &str) -> &str {
    code_hash.get(..INVITE_NAME).unwrap_or(code_hash)
}

/// Whether this is such a name. A code is twice as long.
pub fn is_invite_name(text: &str) -> bool {
    text.len() == INVITE_NAME && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

const INVITE_NAME: usize = 8;

/// Who may use the bot on a platform, in words for its operator, and whether that is worth a warning.
pub fn describe(config: &AccessConfig, platform: Platform) -> (String, bool) {
    let mode = match platform {
        Platform::Console => return ("whoever sits at it".into(), false),
        Platform::Discord => config.discord,
        Platform::Telegram => config.telegram,
    };
    let (allowed, blocked) = (&config.allowed, &config.blocked);
    let count = |ids: &std::collections::BTreeSet<String>| {
        ids.iter().filter(|id| id.split_once(':').is_some_and(|(of, _)| of == platform.name())).count()
    };
    let named = |ids: &std::collections::BTreeSet<String>, one: &str, many: &str| match count(ids) {
        0 => None,
        1 => Some(format!("1 {one}")),
        n => Some(format!("{n} {many}")),
    };
    let channels = if platform == Platform::Telegram { ("group", "groups") } else { ("channel", "channels") };
    let places: Vec<String> =
        [named(&allowed.guilds, "server", "servers"), named(&allowed.channels, channels.0, channels.1)]
            .into_iter()
            .flatten()
            .collect();
    let roles = named(&allowed.roles, "role", "roles");
    let people = named(&allowed.people, "listed person", "listed people");
    let mut who = Vec::new();
    match (&roles, places.is_empty()) {
        (Some(roles), _) => who.push(format!("members with one of {roles}")),
        (None, false) => who.push(format!("everybody in {}", places.join(" and "))),
        (None, true) => {}
    }
    who.extend(people);
    let mut warning = false;
    let mut text = match mode {
        AccessMode::Open => {
            warning = places.is_empty();
            match places.is_empty() {
                true => "open to everybody who finds it".to_owned(),
                false => format!("open to everybody in direct messages and in {}", places.join(" and ")),
            }
        }
        AccessMode::Invite => {
            who.push("who has a code of /invite".to_owned());
            format!("the admins, {}", who.join(", "))
        }
        AccessMode::List if who.is_empty() => {
            warning = true;
            "nobody but the admins: list servers, channels, roles or people, or set it to open".to_owned()
        }
        AccessMode::List => format!("the admins, {}", who.join(", ")),
    };
    if mode != AccessMode::Open && !places.is_empty() && roles.is_some() {
        text.push_str(&format!("; it speaks in {} and in direct messages", places.join(" and ")));
    }
    let barred = [&blocked.guilds, &blocked.channels, &blocked.roles, &blocked.people].map(count).iter().sum::<usize>();
    if barred > 0 {
        text.push_str(&format!("; {barred} blocked by the configuration"));
    }
    (text, warning)
}

#[cfg(test)]
mod tests;
