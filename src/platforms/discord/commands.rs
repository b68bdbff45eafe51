//! The slash commands and the context-menu command, through poise. Owns their options and who sees the answer (their
//! descriptions are the core's); each only acknowledges at once and hands its text form over. Never decides what a
//! command does or who may use it: the core knows.

use poise::serenity_prelude as serenity;
use serde_json::Value;
use serenity::http::HttpError;
use tokio::sync::{mpsc, oneshot};

use super::inbound;
use super::interaction::InteractionRef;
use crate::core::chat::Inbound;
use crate::core::command::COMMANDS;
use crate::core::wording;

/// A command on its way to the core, and where to tell whether it is stored.
pub(super) struct Given {
    pub inbound: Inbound,
    pub stored: oneshot::Sender<bool>,
}

/// Where commands and buttons are handed in.
#[derive(Clone)]
pub(super) struct Desk(pub mpsc::UnboundedSender<Given>);

impl Desk {
    /// Whether it is stored now.
    pub(super) async fn give(&self, inbound: Inbound) -> bool {
        let (stored, answer) = oneshot::channel();
        self.0.send(Given { inbound, stored }).is_ok() && answer.await.unwrap_or(false)
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
        let slash = command.create_as_slash_command().map(|slash| match command.custom_data.is::<AdminsOnly>() {
            // Empty permissions hide a command from all but administrators; poise leaves them out.
            true => slash.default_member_permissions(serenity::Permissions::empty()),
            false => slash,
        });
        slash.into_iter().chain(command.create_as_context_menu_command())
    });
    serde_json::to_value(creations.collect::<Vec<_>>()).unwrap_or_default()
}

/// Marks a command that the menu shows to administrators of a server only.
struct AdminsOnly;

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
        capacity(),
        budget(),
        audit(),
        coach_this_reel(),
    ];
    for command in &mut commands {
        if let Some(entry) = COMMANDS.iter().find(|entry| entry.name == command.name) {
            command.description = Some(entry.meaning.into());
        }
    }
    commands
}

#[poise::command(slash_command, install_context = "Guild|User", interaction_context = "Guild|BotDm|PrivateChannel")]
async fn coach(
    ctx: Context<'_>,
    #[description = "Your question"]
    #[max_length = 4000]
    text: String,
) -> Result<(), serenity::Error> {
    take(ctx, format!("/coach {text}"), Vec::new(), Seen::ByAll).await
}

#[poise::command(slash_command, install_context = "Guild|User", interaction_context = "Guild|BotDm|PrivateChannel")]
async fn reel(
    ctx: Context<'_>,
    #[description = "The link to the reel"]
    #[max_length = 500]
    url: String,
    #[description = "Read it anew, whatever is known of it (admins)"] fresh: Option<bool>,
) -> Result<(), serenity::Error> {
    let fresh = if fresh == Some(true) { " fresh:true" } else { "" };
    take(ctx, format!("/reel {url}{fresh}"), Vec::new(), Seen::ByAll).await
}

#[poise::command(slash_command, install_context = "Guild|User", interaction_context = "Guild|BotDm|PrivateChannel")]
async fn cancel(
    ctx: Context<'_>,
    #[description = "Only this reel, by its link (admins: anyone's)"]
    #[max_length = 500]
    url: Option<String>,
) -> Result<(), serenity::Error> {
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
    #[description = "Show the line (if empty), or set it (admins)"]
    #[choices("pause", "resume", "drain")]
    action: Option<&'static str>,
    #[description = "A lane, such as direct:0; all of them if empty (admins)"]
    #[max_length = 20]
    lane: Option<String>,
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
    custom_data = "AdminsOnly",
    install_context = "Guild|User",
    interaction_context = "Guild|BotDm|PrivateChannel"
)]
async fn budget(
    ctx: Context<'_>,
    #[description = "Such as: bot month 100. Empty: show them"]
    #[max_length = 60]
    change: Option<String>,
) -> Result<(), serenity::Error> {
    take(ctx, format!("/budget {}", change.unwrap_or_default()).trim_end().to_owned(), Vec::new(), Seen::ByAsker).await
}

#[poise::command(
    slash_command,
    custom_data = "AdminsOnly",
    install_context = "Guild|User",
    interaction_context = "Guild|BotDm|PrivateChannel"
)]
async fn audit(ctx: Context<'_>) -> Result<(), serenity::Error> {
    take(ctx, "/audit".to_owned(), Vec::new(), Seen::ByAsker).await
}

#[poise::command(
    slash_command,
    custom_data = "AdminsOnly",
    install_context = "Guild|User",
    interaction_context = "Guild|BotDm|PrivateChannel"
)]
async fn usage(ctx: Context<'_>) -> Result<(), serenity::Error> {
    take(ctx, "/usage".to_owned(), Vec::new(), Seen::ByAsker).await
}

#[poise::command(
    slash_command,
    custom_data = "AdminsOnly",
    install_context = "Guild|User",
    interaction_context = "Guild|BotDm|PrivateChannel"
)]
async fn capacity(ctx: Context<'_>) -> Result<(), serenity::Error> {
    take(ctx, "/capacity".to_owned(), Vec::new(), Seen::ByAsker).await
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

/// Who sees the answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    ByAll,
    ByAsker,
}

/// Acknowledges at once (Discord waits 3 s), then hands the command over.
async fn take(ctx: Context<'_>, text: String, links: Vec<String>, seen: Seen) -> Result<(), serenity::Error> {
    let interaction = ctx.interaction;
    let acknowledged = match ctx.defer_response(seen == Seen::ByAsker).await {
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
        token: interaction.token.clone(),
        message: None,
    };
    let chat = inbound::chat(interaction.channel_id.get());
    let placeholder = acknowledged.then(|| placeholder.reference(chat));
    let stored = ctx.data().give(inbound::command(interaction, text, links, placeholder)).await;
    if !stored && acknowledged {
        let sentence = serenity::EditInteractionResponse::new()
            .content(wording::not_stored())
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
        assert_eq!(
            names,
            [
                "coach",
                "reel",
                "cancel",
                "new",
                "help",
                "queue",
                "history",
                "me",
                "usage",
                "capacity",
                "budget",
                "audit",
                "Coach this reel"
            ]
        );
        for command in commands {
            assert_eq!(command["contexts"], serde_json::json!([0, 1, 2]), "{}", command["name"]);
            assert_eq!(command["integration_types"], serde_json::json!([0, 1]), "{}", command["name"]);
            let hidden = ["usage", "capacity", "budget", "audit"].contains(&command["name"].as_str().unwrap());
            assert_eq!(command["default_member_permissions"].as_str(), hidden.then_some("0"), "{}", command["name"]);
        }
        assert_eq!(commands[1]["options"][0]["name"], "url");
        assert_eq!(commands[1]["options"][0]["max_length"], 500);
        assert_eq!(commands[12]["type"], 3);
    }
}
