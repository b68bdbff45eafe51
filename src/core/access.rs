//! Who may use the bot, where, and with which rights: one gate for everything that a person starts. The rules are pure; the
//! gate adds what the database knows of blocks, invitations and groups that got another id. Checked before anything is
//! stored or spent, and once more before an answer, because much may have been set in between. Never says anything itself.
//!
//! A block wins over everything but ADMIN_IDS, which no block may name. Then the place must be one where the bot speaks;
//! then the person must be let in: by name, by a role, by the listed place they write in, by an invitation, or because
//! everybody is. `docs/access.md` holds the rules in words and every combination with its outcome.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::chat::{Addressed, Guild, Inbound};
use super::command::Command;
use crate::clock::Timestamp;
use crate::config::{AccessConfig, AccessMode};
use crate::ids::{ChatId, GuildId, PersonId, Platform};
use crate::store::access::{Known, Redeemed};
use crate::store::{Store, StoreError};

/// A refusal is told so rarely.
const TOLD_EVERY: Duration = Duration::from_secs(86_400);

/// Wrong codes of one account that are answered within that time.
const WRONG_CODES_TOLD: u32 = 5;

/// How often a chat is told that those who hide who they are cannot be answered.
const HIDDEN_TOLD_EVERY: Duration = Duration::from_secs(30 * 86_400);

/// Channels that a refusal names.
const CHANNELS_NAMED: usize = 5;

/// Chats whose refusals the log has named are remembered up to this number.
const LOGGED: usize = 1000;

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
    /// An admin of a Telegram group who writes as the group: nobody knows which person it is.
    Anonymous,
    /// A channel, not a person, writes in a Telegram group.
    ChannelPost,
}

/// What somebody may see and change beyond their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authority {
    None,
    /// What concerns this community.
    Guild(GuildId),
    Everything,
}

impl Authority {
    /// The community that everything shown must be limited to; `None` for no limit. Only for those who have some authority.
    pub fn guild(&self) -> Option<&GuildId> {
        match self {
            Authority::Guild(guild) => Some(guild),
            Authority::None | Authority::Everything => None,
        }
    }
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
    admins: BTreeSet<String>,
}

/// Somebody at the door.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    pub account: &'a str,
    pub chat: &'a ChatId,
    pub guild: Option<&'a Guild>,
    /// The chat's other ids: a group that became a supergroup is listed and blocked under each of them.
    pub other_ids: &'a [ChatId],
}

impl<'a> From<&'a Inbound> for Asker<'a> {
    fn from(inbound: &'a Inbound) -> Self {
        let (account, chat) = (&inbound.author.account, &inbound.message.chat);
        Asker { account, chat, guild: inbound.guild.as_ref(), other_ids: &[] }
    }
}

impl Asker<'_> {
    /// The channel or group as the lists may name it; nothing for a direct message.
    fn channels(&self) -> Vec<String> {
        match self.guild {
            Some(guild) => vec![format!("{}:{}", self.chat.platform, guild.channel)],
            None if self.chat.is_telegram_group() => {
                std::iter::once(self.chat).chain(self.other_ids).map(|chat| group_of(chat).to_string()).collect()
            }
            None => Vec::new(),
        }
    }

    /// Why nobody knows which person this is, if so.
    fn hidden(&self) -> Option<Refusal> {
        let is_chat = self.chat.platform == Platform::Telegram && self.account.starts_with('-');
        let is_own = || self.account == group_of(self.chat).key;
        is_chat.then(|| if is_own() { Refusal::Anonymous } else { Refusal::ChannelPost })
    }
}

/// The group of a topic on Telegram; any other chat is its own.
fn group_of(chat: &ChatId) -> ChatId {
    ChatId::new(chat.platform, chat.key.split('/').next().unwrap_or_default())
}

impl Rules {
    /// `admins` are `platform:account`; they may use the bot everywhere.
    pub fn new(config: AccessConfig, admins: BTreeSet<String>) -> Self {
        Self { config, admins }
    }

    /// What this person may see and change here, if they may use the bot at all. Managing a server counts only where the bot
    /// was added to it and may speak: in a listed place, or where everybody may use it and no place is listed.
    pub fn authority(&self, asker: &Asker<'_>) -> Authority {
        if self.admins.contains(&format!("{}:{}", asker.chat.platform, asker.account)) {
            return Authority::Everything;
        }
        let Some(guild) = asker.guild.filter(|guild| guild.manages && guild.installed) else { return Authority::None };
        let is_open = || asker.chat.platform == Platform::Discord && self.config.discord == AccessMode::Open;
        match self.is_listed(asker) {
            Ok(listed) if listed || is_open() => Authority::Guild(guild.id.clone()),
            Ok(_) | Err(_) => Authority::None,
        }
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
        let role_in = |listed: &BTreeSet<String>| {
            let roles = asker.guild.and_then(|guild| guild.roles.as_deref()).unwrap_or_default();
            roles.iter().any(|role| listed.contains(&format!("{platform}:{role}")))
        };
        let roles_unknown = asker.guild.is_some_and(|guild| guild.roles.is_none());
        if known.blocked_here || role_in(&blocked.roles) || roles_unknown && !blocked.roles.is_empty() {
            return Verdict::Refused(Refusal::BlockedHere);
        }
        let by_place = match self.is_listed(asker) {
            Ok(listed) => listed,
            Err(refusal) => return Verdict::Refused(refusal),
        };
        if let Some(hidden) = asker.hidden()
            && (mode == AccessMode::Open || by_place)
        {
            return Verdict::Refused(hidden);
        }
        let by_role = match allowed.roles.is_empty() || asker.guild.is_none() {
            true => by_place,
            false => role_in(&allowed.roles) || by_place && asker.guild.is_some_and(|guild| guild.manages),
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

    /// Whether the lists name this place as one where the bot speaks.
    ///
    /// # Errors
    /// Why the bot does not speak here: the place is blocked, or others are listed and this one is not.
    fn is_listed(&self, asker: &Asker<'_>) -> Result<bool, Refusal> {
        let (allowed, blocked) = (&self.config.allowed, &self.config.blocked);
        let guild: Vec<String> = asker.guild.map(|guild| guild.id.to_string()).into_iter().collect();
        let channel = asker.channels();
        let is_of_platform = |id: &&String| id.split_once(':').is_some_and(|(of, _)| of == asker.chat.platform.name());
        let is_in = |listed: &BTreeSet<String>, ids: &[String]| ids.iter().any(|id| listed.contains(id));
        let bars = |listed: &BTreeSet<String>, ids: &[String]| {
            !ids.is_empty() && listed.iter().any(|id| is_of_platform(&id)) && !is_in(listed, ids)
        };
        if is_in(&blocked.guilds, &guild) || bars(&allowed.guilds, &guild) {
            return Err(Refusal::Elsewhere(Vec::new()));
        }
        if is_in(&blocked.channels, &channel) || bars(&allowed.channels, &channel) {
            let channels = allowed.channels.iter().filter(is_of_platform).filter(|id| !blocked.channels.contains(*id));
            let named = channels.filter_map(|id| Some(id.split_once(':')?.1.to_owned())).take(CHANNELS_NAMED);
            return Err(Refusal::Elsewhere(named.collect()));
        }
        Ok(is_in(&allowed.guilds, &guild) || is_in(&allowed.channels, &channel))
    }

    /// Whether the lists name any group on Telegram.
    fn names_groups(&self) -> bool {
        let lists = [&self.config.allowed.channels, &self.config.blocked.channels];
        lists.into_iter().flatten().any(|id| id.starts_with("telegram:"))
    }

    /// Whether this person runs the bot: an admin, or whoever sits at the console.
    fn is_exempt(&self, asker: &Asker<'_>) -> bool {
        let platform = asker.chat.platform;
        platform == Platform::Console || self.admins.contains(&format!("{platform}:{}", asker.account))
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
    /// Chats whose refusal the log has named.
    logged: Mutex<HashSet<ChatId>>,
}

impl Gate {
    pub fn new(store: Arc<Store>, rules: Rules) -> Self {
        Self { store, rules, logged: Mutex::default() }
    }

    /// What its author may see and change there. A manager of a server is known as one only by what Discord sends with
    /// commands and buttons.
    pub fn authority(&self, inbound: &Inbound) -> Authority {
        self.rules.authority(&Asker::from(inbound))
    }

    /// Whether its author may send as many messages as they like.
    pub fn is_exempt(&self, inbound: &Inbound) -> bool {
        self.rules.is_exempt(&Asker::from(inbound))
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
            && !inbound.is_among_people()
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
        self.log_place(inbound, &refusal);
        let told = self.may_tell(inbound, &refusal, now).await?;
        Ok(Entry::Refused { told, person: known.person, refusal })
    }

    /// Tells the operator, once for each chat, that the bot was spoken to where it may not answer: the chat's id is what the
    /// lists want to know.
    fn log_place(&self, inbound: &Inbound, refusal: &Refusal) {
        let why = match refusal {
            Refusal::Elsewhere(_) => "it is not one where the bot may speak (ALLOWED_GUILDS, ALLOWED_CHANNELS)",
            Refusal::Anonymous => "an admin writes as the group, so nobody knows who it is",
            Refusal::ChannelPost => "a channel writes, not a person",
            Refusal::Blocked | Refusal::BlockedHere | Refusal::NotListed | Refusal::NotInvited | Refusal::BadCode => {
                return;
            }
        };
        let chat = &inbound.message.chat;
        if inbound.addressed == Addressed::Overheard {
            return;
        }
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.len() < LOGGED && logged.insert(chat.clone()) {
            let guild = inbound.guild.as_ref().map(|guild| guild.id.to_string());
            tracing::info!(%chat, guild, "not answered in this chat: {why}");
        }
    }

    /// Whether a refusal is to be told: to a command and a button always, because its asker alone sees it and waits for it;
    /// in direct messages once a day; among people never, but how to be heard to those who hide who they are.
    pub async fn may_tell(&self, inbound: &Inbound, refusal: &Refusal, now: Timestamp) -> Result<bool, StoreError> {
        if inbound.placeholder.is_some() {
            return Ok(true);
        }
        if inbound.addressed == Addressed::Overheard {
            return Ok(false);
        }
        let asker = Asker::from(inbound);
        if matches!(refusal, Refusal::Anonymous | Refusal::ChannelPost) {
            let group = group_of(asker.chat).to_string();
            return self.store.may_tell(&group, "hidden author", 1, HIDDEN_TOLD_EVERY, now).await;
        }
        if inbound.is_among_people() {
            return Ok(false);
        }
        let account = format!("{}:{}", asker.chat.platform, asker.account);
        let (what, times) = match refusal {
            Refusal::BadCode => ("wrong code", WRONG_CODES_TOLD),
            Refusal::Blocked
            | Refusal::BlockedHere
            | Refusal::Elsewhere(_)
            | Refusal::NotListed
            | Refusal::NotInvited
            | Refusal::Anonymous
            | Refusal::ChannelPost => ("refused", 1),
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
        let other_ids = match asker.chat.is_telegram_group() && self.rules.names_groups() {
            true => self.store.other_ids(&group_of(asker.chat)).await?,
            false => Vec::new(),
        };
        Ok((self.rules.judge(&Asker { other_ids: &other_ids, ..asker }, &known), known))
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
        Platform::Console => return ("whoever uses this terminal".into(), false),
        Platform::Discord => config.discord,
        Platform::Telegram => config.telegram,
    };
    let (allowed, blocked) = (&config.allowed, &config.blocked);
    let count = |ids: &BTreeSet<String>| {
        ids.iter().filter(|id| id.split_once(':').is_some_and(|(of, _)| of == platform.name())).count()
    };
    let named = |ids: &BTreeSet<String>, one: &str, many: &str| match count(ids) {
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
        (None, false) => who.push(format!("everyone in {}", places.join(" and "))),
        (None, true) => {}
    }
    who.extend(people);
    let mut warning = false;
    let mut text = match mode {
        AccessMode::Open => {
            warning = places.is_empty();
            match places.is_empty() {
                true => "open to everyone who finds it".to_owned(),
                false => format!("open to everyone in direct messages and in {}", places.join(" and ")),
            }
        }
        AccessMode::Invite => {
            who.push("anyone with an invitation code".to_owned());
            format!("the admins, {}", who.join(", "))
        }
        AccessMode::List if who.is_empty() => {
            warning = true;
            "the admins only. List servers, channels, roles or people, or set it to open".to_owned()
        }
        AccessMode::List => format!("the admins, {}", who.join(", ")),
    };
    if mode != AccessMode::Open && roles.is_some() {
        match places.is_empty() {
            false => text.push_str(&format!("; it talks in {} and in direct messages", places.join(" and "))),
            // Who has the role may use it anywhere; but no list says where the bot is at home.
            true => {
                warning = true;
                text.push_str("; their server is not listed, so its managers have no rights there. Set ALLOWED_GUILDS");
            }
        }
    }
    let barred = [&blocked.guilds, &blocked.channels, &blocked.roles, &blocked.people].map(count).iter().sum::<usize>();
    if barred > 0 {
        text.push_str(&format!("; {barred} blocked by the configuration"));
    }
    (text, warning)
}

#[cfg(test)]
mod tests;
