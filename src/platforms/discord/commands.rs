//! The slash commands and the context-menu command, through poise. Owns their options and who sees the answer (their
//! descriptions are the core's); each only acknowledges at once and hands its text form over. Never decides what a
//! command does or who may use it: the core knows.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use poise::serenity_prelude as serenity;
use serde_json::Value;
use serenity::http::HttpError;
use tokio::sync::{mpsc, oneshot};

use super::inbound;
use super::interaction::InteractionRef;
use crate::core::chat::{Inbound, Taken};
use crate::core::command::COMMANDS;
use crate::core::wording::{self, menu};

/// A command on its way to the core, and where to tell whether it is stored.
pub(super) struct Given {
    pub inbound: Inbound,
    /// `None`: it is not.
    pub stored: oneshot::Sender<Option<Taken>>,
}

/// Where commands and buttons are handed in.
#[derive(Clone)]
pub(super) struct Desk {
    pub give: mpsc::UnboundedSender<Given>,
    pub is_welcome: Arc<dyn Fn(Inbound) -> BoxFuture<'static, bool> + Send + Sync>,
}

impl Desk {
    /// What the core has made of it; `None` if it could not be stored.
    pub(super) async fn give(&self, inbound: Inbound) -> Option<Taken> {
        let (stored, answer) = oneshot::channel();
        self.give.send(Given { inbound, stored }).ok()?;
        answer.await.ok().flatten()
    }
}

type Context<'a> = poise::ApplicationContext<'a, Desk, serenity::Error>;

/// The framework that runs the commands. Its setup only hands over the desk: serenity's events wait for it.
pub(super) fn framework(desk: Desk) -> poise::Framework<Desk, serenity::Error> {
    let options = poise::FrameworkOptions {
        commands: all(),
        on_error: |error| Box::pin(failed(error)),
        allowed_mentions: Some(serenity::CreateAllowedMentions::new()),
        // Mentions are for the coach; poise would take them for commands.
        prefix_options: poise::PrefixFrameworkOptions { mention_as_prefix: false, ..Default::default() },
        ..Default::default()
    };
    poise::Framework::builder()
        .options(options)
        .initialize_owners(false)
        .setup(move |_, _, _| Box::pin(async move { Ok(desk) }))
        .build()
}

/// The commands as Discord wants them registered.
pub(super) fn registration() -> Value {
    let commands = all();
    let creations = commands.iter().flat_map(|command| {
        let shown = command.custom_data.downcast_ref::<Shown>();
        let slash = command.create_as_slash_command().map(|slash| match shown {
            // Empty permissions hide a command from all but administrators; poise leaves them out.
            Some(Shown::ToAdministrators) => slash.default_member_permissions(serenity::Permissions::empty()),
            Some(Shown::ToManagers) => slash.default_member_permissions(serenity::Permissions::MANAGE_GUILD),
            None => slash,
        });
        slash.into_iter().chain(command.create_as_context_menu_command())
    });
    serde_json::to_value(creations.collect::<Vec<_>>()).unwrap_or_default()
}

/// Whom Discord's menu shows a command; the core decides who may use it.
#[derive(Clone, Copy)]
enum Shown {
    /// Those with Manage Server.
    ToManagers,
    /// Administrators of a server alone, because it concerns the whole bot.
    ToAdministrators,
}

fn all() -> Vec<poise::Command<Desk, serenity::Error>> {
    let mut commands = vec![
        coach(),
        reel(),
        cancel(),
        new(),
        help(),
        queue(),
        history(),
        me(),
        usage(),
        cost(),
        capacity(),
        budget(),
        limits(),
        block(),
        unblock(),
        blocked(),
        invite(),
        invites(),
        pause(),
        resume(),
        audit(),
        coach_this_reel(),
    ];
    for command in &mut commands {
        if let Some(entry) = COMMANDS.iter().find(|entry| entry.name == command.name) {
            command.description = Some((entry.meaning)().into());
        }
        for option in &mut command.parameters {
            option.description = menu::option(&command.name, &option.name).map(Into::into);
            for choice in option.choices.to_mut() {
                if let Some(name) = menu::choice(&choice.name) {
                    choice.name = name.into();
                }
            }
        }
        if command.context_menu_action.is_some() {
            command.context_menu_name = Some(menu::coach_this_reel().into());
        }
    }
    commands
}

#[poise::command(slash_command, install_context = "Guild|User", interaction_context = "Guild|BotDm|PrivateChannel")]
async fn coach(ctx: Context<'_>, #[max_length = 4000] text: String) -> Result<(), serenity::Error> {
    take(ctx, format!("/coach {text}"), Vec::new(), Seen::ByAll).await
}

#[poise::command(slash_command, install_context = "Guild|User", interaction_context = "Guild|BotDm|PrivateChannel")]
async fn reel(ctx: Context<'_>, #[max_length = 500] url: String, fresh: Option<bool>) -> Result<(), serenity::Error> {
    let fresh = if fresh == Some(true) { " fresh:true" } else { "" };
    take(ctx, format!("/reel {url}{fresh}"), Vec::new(), Seen::ByAll).await
}

#[poise::command(slash_command, install_context = "Guild|User", interaction_context = "Guild|BotDm|PrivateChannel")]
async fn cancel(ctx: Context<'_>, #[max_length = 500] url: Option<String>) -> Result<(), serenity::Error> {
    take(ctx, format!("/cancel {}", url.unwrap_or_default()), Vec::new(), Seen::ByAsker).await
}

#[poise::command(slash_command, install_context = "Guild|User", interaction_context = "Guild|BotDm|PrivateChannel")]
async fn new(ctx: Context<'_>) -> Result<(), serenity::Error> {
    take(ctx, "/new".to_owned(), Vec::new(), Seen::ByAll).await
}

#[poise::command(slash_command, install_context = "Guild|User", interaction_context = "Guild|BotDm|PrivateChannel")]
async fn help(ctx: Context<'_>) -> Result<(), serenity::Error> {
    take(ctx, "/help".to_owned(), Vec::new(), Seen::ByAsker).await
}

#[poise::command(slash_command, install_context = "Guild|User", interaction_context = "Guild|BotDm|PrivateChannel")]
async fn queue(
    ctx: Context<'_>,
    #[choices("pause", "resume", "drain")] action: Option<&'static str>,
    #[max_length = 20] lane: Option<String>,
) -> Result<(), serenity::Error> {
    let wish = format!("/queue {} {}", action.unwrap_or_default(), lane.unwrap_or_default());
    take(ctx, wish.trim_end().to_owned(), Vec::new(), Seen::ByAsker).await
}

#[poise::command(slash_command, install_context = "Guild|User", interaction_context = "Guild|BotDm|PrivateChannel")]
async fn history(ctx: Context<'_>) -> Result<(), serenity::Error> {
    take(ctx, "/history".to_owned(), Vec::new(), Seen::ByAsker).await
}

#[poise::command(slash_command, install_context = "Guild|User", interaction_context = "Guild|BotDm|PrivateChannel")]
async fn me(ctx: Context<'_>) -> Result<(), serenity::Error> {
    take(ctx, "/me".to_owned(), Vec::new(), Seen::ByAsker).await
}

#[poise::command(
    slash_command,
    custom_data = "Shown::ToManagers",
    install_context = "Guild|User",
    interaction_context = "Guild|BotDm|PrivateChannel"
)]
async fn usage(
    ctx: Context<'_>,
    #[max_length = 30] period: Option<String>,
    #[choices("model", "tool", "platform", "server", "chat", "person", "day")] by: Option<&'static str>,
    csv: Option<bool>,
) -> Result<(), serenity::Error> {
    take(ctx, figures("/usage", period, by, csv), Vec::new(), Seen::ByAsker).await
}

#[poise::command(
    slash_command,
    custom_data = "Shown::ToManagers",
    install_context = "Guild|User",
    interaction_context = "Guild|BotDm|PrivateChannel"
)]
async fn cost(
    ctx: Context<'_>,
    #[max_length = 30] period: Option<String>,
    #[choices("model", "tool", "platform", "server", "chat", "person", "day")] by: Option<&'static str>,
    csv: Option<bool>,
) -> Result<(), serenity::Error> {
    take(ctx, figures("/cost", period, by, csv), Vec::new(), Seen::ByAsker).await
}

#[poise::command(
    slash_command,
    custom_data = "Shown::ToAdministrators",
    install_context = "Guild|User",
    interaction_context = "Guild|BotDm|PrivateChannel"
)]
async fn capacity(ctx: Context<'_>) -> Result<(), serenity::Error> {
    take(ctx, "/capacity".to_owned(), Vec::new(), Seen::ByAsker).await
}

#[poise::command(
    slash_command,
    custom_data = "Shown::ToManagers",
    install_context = "Guild|User",
    interaction_context = "Guild|BotDm|PrivateChannel"
)]
async fn budget(ctx: Context<'_>, #[max_length = 100] change: Option<String>) -> Result<(), serenity::Error> {
    take(ctx, given("/budget", [change]), Vec::new(), Seen::ByAsker).await
}

#[poise::command(
    slash_command,
    custom_data = "Shown::ToManagers",
    install_context = "Guild|User",
    interaction_context = "Guild|BotDm|PrivateChannel"
)]
async fn limits(ctx: Context<'_>, #[max_length = 60] change: Option<String>) -> Result<(), serenity::Error> {
    take(ctx, given("/limits", [change]), Vec::new(), Seen::ByAsker).await
}

#[poise::command(
    slash_command,
    custom_data = "Shown::ToManagers",
    install_context = "Guild|User",
    interaction_context = "Guild|BotDm|PrivateChannel"
)]
async fn block(
    ctx: Context<'_>,
    #[max_length = 60] person: String,
    #[max_length = 200] reason: Option<String>,
) -> Result<(), serenity::Error> {
    take(ctx, given("/block", [Some(person), reason]), Vec::new(), Seen::ByAsker).await
}

#[poise::command(
    slash_command,
    custom_data = "Shown::ToManagers",
    install_context = "Guild|User",
    interaction_context = "Guild|BotDm|PrivateChannel"
)]
async fn unblock(ctx: Context<'_>, #[max_length = 60] person: String) -> Result<(), serenity::Error> {
    take(ctx, given("/unblock", [Some(person)]), Vec::new(), Seen::ByAsker).await
}

#[poise::command(
    slash_command,
    custom_data = "Shown::ToManagers",
    install_context = "Guild|User",
    interaction_context = "Guild|BotDm|PrivateChannel"
)]
async fn blocked(ctx: Context<'_>) -> Result<(), serenity::Error> {
    take(ctx, "/blocked".to_owned(), Vec::new(), Seen::ByAsker).await
}

#[poise::command(
    slash_command,
    custom_data = "Shown::ToAdministrators",
    install_context = "Guild|User",
    interaction_context = "Guild|BotDm|PrivateChannel"
)]
async fn invite(
    ctx: Context<'_>,
    #[min = 1]
    #[max = 10_000]
    uses: Option<u32>,
    #[min = 1]
    #[max = 365]
    days: Option<u32>,
) -> Result<(), serenity::Error> {
    take(ctx, format!("/invite {} {}", uses.unwrap_or(1), days.unwrap_or(7)), Vec::new(), Seen::ByAsker).await
}

#[poise::command(
    slash_command,
    custom_data = "Shown::ToAdministrators",
    install_context = "Guild|User",
    interaction_context = "Guild|BotDm|PrivateChannel"
)]
async fn invites(ctx: Context<'_>, #[max_length = 60] revoke: Option<String>) -> Result<(), serenity::Error> {
    let text = given("/invites", [revoke.filter(|name| !name.trim().is_empty()).map(|name| format!("revoke {name}"))]);
    take(ctx, text, Vec::new(), Seen::ByAsker).await
}

#[poise::command(
    slash_command,
    custom_data = "Shown::ToAdministrators",
    install_context = "Guild|User",
    interaction_context = "Guild|BotDm|PrivateChannel"
)]
async fn pause(ctx: Context<'_>, #[max_length = 200] reason: Option<String>) -> Result<(), serenity::Error> {
    take(ctx, given("/pause", [reason]), Vec::new(), Seen::ByAsker).await
}

#[poise::command(
    slash_command,
    custom_data = "Shown::ToAdministrators",
    install_context = "Guild|User",
    interaction_context = "Guild|BotDm|PrivateChannel"
)]
async fn resume(ctx: Context<'_>) -> Result<(), serenity::Error> {
    take(ctx, "/resume".to_owned(), Vec::new(), Seen::ByAsker).await
}

#[poise::command(
    slash_command,
    custom_data = "Shown::ToManagers",
    install_context = "Guild|User",
    interaction_context = "Guild|BotDm|PrivateChannel"
)]
async fn audit(
    ctx: Context<'_>,
    #[min = 1]
    #[max = 3650]
    days: Option<u32>,
    #[min = 1]
    #[max = 10_000]
    page: Option<u32>,
) -> Result<(), serenity::Error> {
    take(
        ctx,
        given("/audit", [days.map(|days| format!("{days}d")), page.map(|page| page.to_string())]),
        Vec::new(),
        Seen::ByAsker,
    )
    .await
}

#[poise::command(
    context_menu_command = "Coach this reel",
    install_context = "Guild|User",
    interaction_context = "Guild|BotDm|PrivateChannel"
)]
async fn coach_this_reel(ctx: Context<'_>, message: serenity::Message) -> Result<(), serenity::Error> {
    let bot = ctx.framework.bot_id();
    let text = format!("/reel {}", inbound::text_of(&message, bot));
    take(ctx, text.trim_end().to_owned(), inbound::links_of(&message), Seen::ByAll).await
}

/// The text form of a command with these options.
fn given<const N: usize>(name: &str, options: [Option<String>; N]) -> String {
    let options = options.into_iter().flatten().filter(|option| !option.trim().is_empty());
    std::iter::once(name.to_owned()).chain(options).collect::<Vec<_>>().join(" ")
}

/// A report's options in their text form.
fn figures(name: &str, period: Option<String>, by: Option<&str>, csv: Option<bool>) -> String {
    given(name, [period, by.map(|by| format!("by {by}")), (csv == Some(true)).then(|| "csv".to_owned())])
}

/// Who sees the answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    ByAll,
    ByAsker,
}

/// How long an answer may wait for whether all may see it: Discord waits 3 s for the acknowledgement.
const WELCOME_WITHIN: Duration = Duration::from_millis(1200);

/// Acknowledges at once (Discord waits 3 s), then hands the command over. Who is not welcome is told so alone.
async fn take(ctx: Context<'_>, text: String, links: Vec<String>, seen: Seen) -> Result<(), serenity::Error> {
    let interaction = ctx.interaction;
    let inbound = |placeholder| inbound::command(interaction, text.clone(), links.clone(), placeholder);
    let seen = match seen {
        Seen::ByAll if interaction.context != Some(serenity::InteractionContext::BotDm) => {
            let welcome = (ctx.data().is_welcome)(inbound(None));
            match tokio::time::timeout(WELCOME_WITHIN, welcome).await {
                Ok(false) => Seen::ByAsker,
                Ok(true) | Err(_) => Seen::ByAll,
            }
        }
        seen => seen,
    };
    let response = ctx.defer_response(seen == Seen::ByAsker).await;
    let is_first_response = response.is_ok();
    let acknowledged = match response {
        Ok(()) => true,
        // Another instance was faster; the message for the answer is there all the same.
        Err(error) if code(&error) == Some(40060) => true,
        Err(error) => {
            tracing::warn!(interaction = %interaction.id, code = code(&error), "a command could not be acknowledged");
            false
        }
    };
    // Without the acknowledgement an answer could only be public. Discord itself tells the person that the
    // command failed.
    if !acknowledged && seen == Seen::ByAsker {
        return Ok(());
    }
    let placeholder = InteractionRef {
        application: interaction.application_id.get(),
        interaction: interaction.id.get(),
        ephemeral: seen == Seen::ByAsker,
        unanswered: false,
        token: interaction.token.clone(),
        message: None,
    };
    let chat = inbound::chat(interaction.channel_id.get());
    let placeholder = acknowledged.then(|| placeholder.reference(chat));
    let sentence = match ctx.data().give(inbound(placeholder)).await {
        Some(Taken::Stored) => return Ok(()),
        Some(Taken::TooFast { again_in, is_first: true }) => wording::too_fast(again_in),
        // They know it; nothing of this delivery must go on saying that an answer comes.
        Some(Taken::TooFast { .. }) if is_first_response => {
            return interaction.delete_response(ctx.serenity_context()).await;
        }
        Some(Taken::TooFast { .. }) => return Ok(()),
        None => wording::not_stored(),
    };
    if acknowledged {
        let sentence = serenity::EditInteractionResponse::new()
            .content(sentence)
            .allowed_mentions(serenity::CreateAllowedMentions::new());
        interaction.edit_response(ctx.serenity_context(), sentence).await?;
    }
    Ok(())
}

/// Discord's error code in what serenity says.
pub(super) fn code(error: &serenity::Error) -> Option<i64> {
    match error {
        serenity::Error::Http(HttpError::UnsuccessfulRequest(answer)) => i64::try_from(answer.error.code).ok(),
        _ => None,
    }
}

/// Poise's own handler would show people the inside of an error and log what they wrote.
async fn failed(error: poise::FrameworkError<'_, Desk, serenity::Error>) {
    match error {
        poise::FrameworkError::Command { error, ctx, .. } => {
            tracing::warn!(command = %ctx.command().name, code = code(&error), "a command could not be answered");
        }
        poise::FrameworkError::CommandPanic { ctx, .. } => {
            tracing::error!(command = %ctx.command().name, "a command panicked");
        }
        poise::FrameworkError::UnknownInteraction { framework, interaction, .. } => {
            tracing::warn!("Discord sent a command that is not registered any more");
            outdated(framework.serenity_context, interaction).await;
        }
        poise::FrameworkError::CommandStructureMismatch { ctx, .. } => {
            tracing::warn!(command = %ctx.command().name, "Discord sent a command in a form that is not registered");
            outdated(ctx.serenity_context(), ctx.interaction).await;
        }
        poise::FrameworkError::ArgumentParse { ctx, .. } => {
            tracing::warn!(command = %ctx.command().name, "an argument of a command could not be read");
        }
        _ => tracing::warn!("a command was refused before it began"),
    }
}

async fn outdated(ctx: &serenity::Context, interaction: &serenity::CommandInteraction) {
    let message = serenity::CreateInteractionResponseMessage::new()
        .content(wording::outdated_command())
        .ephemeral(true)
        .allowed_mentions(serenity::CreateAllowedMentions::new());
    let answer = serenity::CreateInteractionResponse::Message(message);
    if let Err(error) = interaction.create_response(ctx, answer).await {
        tracing::warn!(code = code(&error), "an outdated command could not be answered");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_registered() {
        let registered = registration();
        let commands = registered.as_array().unwrap();
        let names: Vec<_> = commands.iter().map(|command| command["name"].as_str().unwrap()).collect();
        let mut table: Vec<_> = COMMANDS.iter().map(|entry| entry.name).chain(["Coach this reel"]).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        table.sort_unstable();
        assert_eq!(sorted, table);
        for command in commands {
            let name = command["name"].as_str().unwrap();
            assert_eq!(command["contexts"], serde_json::json!([0, 1, 2]), "{name}");
            assert_eq!(command["integration_types"], serde_json::json!([0, 1]), "{name}");
            let is_for_admins = COMMANDS.iter().any(|entry| entry.name == name && entry.admin);
            let of_the_bot = ["capacity", "invite", "invites", "pause", "resume"].contains(&name);
            let shown = is_for_admins.then_some(if of_the_bot { "0" } else { "32" });
            assert_eq!(command["default_member_permissions"].as_str(), shown, "{name}");
        }
        for option in commands.iter().filter_map(|command| command["options"].as_array()).flatten() {
            let described = option["description"].as_str().unwrap_or_default();
            assert!((1..=100).contains(&described.chars().count()) && described.contains(' '), "{option}");
        }
        assert_eq!(commands[1]["options"][0]["name"], "url");
        assert_eq!(commands[1]["options"][0]["max_length"], 500);
        assert_eq!(commands.last().unwrap()["type"], 3);
        assert_eq!(given("/block", [Some("<@42>".into()), None]), "/block <@42>");
        assert_eq!(given("/limits", [Some(" ".into())]), "/limits");
    }
}
