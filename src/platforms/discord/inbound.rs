//! What Discord delivers, as an [`Inbound`]: pure. Owns who is meant by a message and what counts as its
//! text; never asks Discord or the core anything.

use serenity::all::{
    AuthorizingIntegrationOwner, AuthorizingIntegrationOwners, ChannelId, CommandInteraction, ComponentInteraction,
    Embed, Member, Message, MessageReferenceKind, MessageType, PartialChannel, Permissions, RoleId, User, UserId,
};

use super::interaction::snowflake_time;
use crate::core::chat::{Addressed, Author, Guild, Inbound};
use crate::ids::{ChatId, GuildId, MessageRef, Platform};

/// What kind of place a channel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Between one person and the bot.
    Direct,
    /// A channel of a server.
    Channel,
    /// A thread in a server, in this channel.
    Thread(ChannelId),
}

impl Place {
    /// The channel of a message here; of a thread, the one it hangs on.
    pub(super) fn channel(self, message: &Message) -> ChannelId {
        match self {
            Place::Thread(parent) => parent,
            Place::Direct | Place::Channel => message.channel_id,
        }
    }
}

/// A message as an [`Inbound`], or `None` for what nobody said to be read: the bot's own messages, other
/// bots, webhooks, system messages, and messages whose content Discord withholds.
///
/// In a thread the answer is `Overheard` for what is not a mention or a reply to the bot: whether the bot
/// takes part in the thread is for the caller to find out.
pub(super) fn message(message: &Message, bot: UserId, place: Place) -> Option<Inbound> {
    if !is_from_a_person(message, bot) {
        return None;
    }
    let text = text_of(message, bot);
    let links = links_of(message);
    let attachments = attachments_of(message);
    let addressed = addressed(message, bot, place);
    // Without the MESSAGE_CONTENT intent the content is empty in all but direct messages and mentions. There is
    // nothing to answer in it.
    let withheld = text.is_empty() && links.is_empty() && attachments == 0;
    if withheld && place != Place::Direct && !mentions(message, bot) {
        return None;
    }
    let chat = chat(message.channel_id.get());
    let nick = message.member.as_ref().and_then(|member| member.nick.as_deref());
    Some(Inbound {
        message: MessageRef::new(chat.clone(), message.id.to_string()),
        author: author(&message.author, nick),
        guild: message.guild_id.map(|id| {
            let roles = message.member.as_ref().map(|member| member.roles.as_slice());
            guild(id, place.channel(message), roles)
        }),
        text,
        links,
        attachments,
        reply_to: replied_to(message).map(|id| MessageRef::new(chat, id.to_string())),
        addressed,
        placeholder: None,
        atomic: false,
        at: snowflake_time(message.id.get()),
        sent_at: None,
    })
}

/// Whether a human being wrote it, to be read.
pub(super) fn is_from_a_person(message: &Message, bot: UserId) -> bool {
    matches!(message.kind, MessageType::Regular | MessageType::InlineReply)
        && !message.author.bot
        && !message.author.system
        && message.author.id != bot
        && message.webhook_id.is_none()
}

/// A slash command or a context-menu command in its text form.
pub(super) fn command(
    interaction: &CommandInteraction,
    text: String,
    links: Vec<String>,
    placeholder: Option<MessageRef>,
) -> Inbound {
    let chat = chat(interaction.channel_id.get());
    Inbound {
        message: MessageRef::new(chat, format!("i{}", interaction.id)),
        author: author(&interaction.user, nick(interaction.member.as_deref())),
        guild: guild_of(
            interaction.guild_id,
            interaction.channel_id,
            &interaction.channel,
            interaction.member.as_deref(),
            &interaction.authorizing_integration_owners,
        ),
        text,
        links,
        attachments: 0,
        reply_to: None,
        addressed: Addressed::Direct,
        placeholder,
        atomic: true,
        at: snowflake_time(interaction.id.get()),
        sent_at: None,
    }
}

/// The press of a button: its `custom_id` is a command in its text form.
pub(super) fn press(interaction: &ComponentInteraction, placeholder: MessageRef) -> Inbound {
    let chat = chat(interaction.channel_id.get());
    Inbound {
        message: MessageRef::new(chat.clone(), format!("i{}", interaction.id)),
        author: author(&interaction.user, nick(interaction.member.as_ref())),
        guild: guild_of(
            interaction.guild_id,
            interaction.channel_id,
            &interaction.channel,
            interaction.member.as_ref(),
            &interaction.authorizing_integration_owners,
        ),
        text: interaction.data.custom_id.clone(),
        links: Vec::new(),
        attachments: 0,
        reply_to: Some(MessageRef::new(chat, interaction.message.id.to_string())),
        addressed: Addressed::Direct,
        placeholder: Some(placeholder),
        atomic: true,
        at: snowflake_time(interaction.id.get()),
        sent_at: None,
    }
}

/// The chat of a channel, a thread or a direct message.
pub(super) fn chat(channel: u64) -> ChatId {
    ChatId::new(Platform::Discord, channel.to_string())
}

/// The text of a message without the mention of the bot; what was forwarded with it stands below it.
pub(super) fn text_of(message: &Message, bot: UserId) -> String {
    let mut text = without_mention(&message.content, bot);
    for snapshot in &message.message_snapshots {
        if !text.is_empty() && !snapshot.content.is_empty() {
            text.push('\n');
        }
        text.push_str(snapshot.content.trim());
    }
    text
}

/// The addresses in the previews of a message and of what was forwarded with it, each once.
pub(super) fn links_of(message: &Message) -> Vec<String> {
    let mut links: Vec<String> = Vec::new();
    let forwarded = message.message_snapshots.iter().flat_map(|snapshot| &snapshot.embeds);
    for url in message.embeds.iter().chain(forwarded).filter_map(|embed: &Embed| embed.url.as_ref()) {
        if !links.contains(url) {
            links.push(url.clone());
        }
    }
    links
}

fn attachments_of(message: &Message) -> u32 {
    let forwarded: usize = message.message_snapshots.iter().map(|snapshot| snapshot.attachments.len()).sum();
    u32::try_from(message.attachments.len() + forwarded).unwrap_or(u32::MAX)
}

fn addressed(message: &Message, bot: UserId, place: Place) -> Addressed {
    let answers_bot = message.referenced_message.as_ref().is_some_and(|original| original.author.id == bot);
    match place {
        Place::Direct => Addressed::Direct,
        Place::Channel | Place::Thread(_) if mentions(message, bot) || answers_bot => Addressed::Mentioned,
        Place::Channel | Place::Thread(_) => Addressed::Overheard,
    }
}

/// Only the mention of the user counts: `@everyone` and a role are not meant for the bot, and Discord keeps
/// them in fields of their own.
fn mentions(message: &Message, bot: UserId) -> bool {
    message.mentions.iter().any(|user| user.id == bot)
}

/// The message this one answers. A forward carries a reference too, but is no answer.
fn replied_to(message: &Message) -> Option<u64> {
    let reference = message.message_reference.as_ref()?;
    let same_place = reference.channel_id == message.channel_id;
    (reference.kind == MessageReferenceKind::Default && same_place).then_some(reference.message_id?.get())
}

fn author(user: &User, nick: Option<&str>) -> Author {
    let name = nick.or(user.global_name.as_deref()).unwrap_or(&user.name);
    Author { account: user.id.to_string(), name: name.to_owned() }
}

/// The server that an interaction comes from. Its member carries the permissions in the channel (Discord, interaction
/// object: `member.permissions`), and its owners tell whether the bot was added to the server, or only its user brought it
/// along.
fn guild_of(
    id: Option<serenity::all::GuildId>,
    channel: ChannelId,
    place: &Option<PartialChannel>,
    member: Option<&Member>,
    owners: &AuthorizingIntegrationOwners,
) -> Option<Guild> {
    let id = id?;
    let parent = place.as_ref().filter(|place| place.thread_metadata.is_some()).and_then(|place| place.parent_id);
    let manages = member
        .and_then(|member| member.permissions)
        .is_some_and(|may| may.intersects(Permissions::MANAGE_GUILD | Permissions::ADMINISTRATOR));
    let roles = member.map(|member| member.roles.as_slice());
    let is_of_guild = |owner: &AuthorizingIntegrationOwner| matches!(owner, AuthorizingIntegrationOwner::GuildInstall(Some(of)) if *of == id);
    let installed = owners.0.iter().any(is_of_guild);
    Some(Guild { manages, installed, ..guild(id, parent.unwrap_or(channel), roles) })
}

/// A server, the channel there, and the roles of its member. What a message tells: only interactions tell more.
pub(super) fn guild(id: serenity::all::GuildId, channel: ChannelId, roles: Option<&[RoleId]>) -> Guild {
    Guild {
        id: guild_id(id),
        channel: channel.to_string(),
        roles: roles.map(|roles| roles.iter().map(RoleId::to_string).collect()),
        manages: false,
        installed: true,
    }
}

pub(super) fn guild_id(id: serenity::all::GuildId) -> GuildId {
    GuildId::new(Platform::Discord, id.to_string())
}

fn nick(member: Option<&Member>) -> Option<&str> {
    member.and_then(|member| member.nick.as_deref())
}

/// Cuts `<@id>` and the old `<@!id>` out, with the space on one side of it.
fn without_mention(content: &str, bot: UserId) -> String {
    let mut text = content.to_owned();
    for mention in [format!("<@{bot}>"), format!("<@!{bot}>")] {
        while let Some(at) = text.find(&mention) {
            let mut end = at + mention.len();
            let before = text[..at].chars().next_back().is_none_or(char::is_whitespace);
            if before && text[end..].starts_with(' ') {
                end += 1;
            }
            text.replace_range(at..end, "");
        }
    }
    text.trim().to_owned()
}

#[cfg(test)]
mod tests;
