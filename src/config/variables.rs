//! The table of variables: the documentation of the configuration, from which `.env.example` and `docs/configuration.md`
//! are made and tested.

use std::fmt::Write;

/// One variable.
#[derive(Debug)]
pub struct Variable {
    pub section: Section,
    pub name: &'static str,
    /// Empty: not set.
    pub default: &'static str,
    pub meaning: &'static str,
    pub secret: bool,
}

/// A group of variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    Platforms,
    Access,
    Coach,
    Reels,
    Money,
    Alerts,
    Ground,
    Addresses,
}

impl Section {
    pub fn title(self) -> &'static str {
        match self {
            Section::Platforms => "Platforms (`serve` needs at least one token)",
            Section::Access => "Access: who may use the bot",
            Section::Coach => "Coach",
            Section::Reels => "Reels",
            Section::Money => "Budgets",
            Section::Alerts => "Alerts",
            Section::Ground => "Database, web, logs",
            Section::Addresses => "Addresses of services (for the sandbox, proxies and tests)",
        }
    }
}

const fn variable(section: Section, name: &'static str, default: &'static str, meaning: &'static str) -> Variable {
    Variable { section, name, default, meaning, secret: false }
}

const fn secret(section: Section, name: &'static str, meaning: &'static str) -> Variable {
    Variable { section, name, default: "", meaning, secret: true }
}

use Section::{Access, Addresses, Alerts, Coach, Ground, Money, Platforms, Reels};

/// Every variable, in the order in which it is documented.
pub const VARIABLES: &[Variable] = &[
    secret(Platforms, "DISCORD_TOKEN", "Bot token from the Discord developer portal"),
    variable(
        Platforms,
        "DISCORD_MESSAGE_CONTENT",
        "false",
        "Set to true once the Message Content Intent is on in the developer portal. People then needn't mention the bot in threads",
    ),
    variable(
        Platforms,
        "DISCORD_GUILD_ID",
        "",
        "Register slash commands in this server only. They appear at once, so it's good for trying things out",
    ),
    secret(Platforms, "TELEGRAM_TOKEN", "Bot token from @BotFather"),
    variable(
        Platforms,
        "TELEGRAM_WEBHOOK_URL",
        "",
        "Public https address that ends in /telegram on this bot. Empty: long polling",
    ),
    secret(
        Platforms,
        "TELEGRAM_WEBHOOK_SECRET",
        "Secret that Telegram sends with every webhook call, 1 to 256 of A-Z a-z 0-9 _ -",
    ),
    variable(
        Platforms,
        "TELEGRAM_PER_SECOND",
        "30",
        "Most messages and edits per second, over all chats. Telegram allows about 30 unless it has granted the bot more",
    ),
    variable(
        Platforms,
        "TELEGRAM_PER_CHAT",
        "1",
        "Most messages and edits per second in one chat, after a short burst, and 20 times as many per minute in a group. Raise it only if Telegram has granted the bot more",
    ),
    variable(
        Platforms,
        "ADMIN_IDS",
        "",
        "Accounts that run the bot, as platform:id, separated by commas (discord:80351110224678912,telegram:42)",
    ),
    variable(
        Access,
        "DISCORD_ACCESS",
        "list",
        "Who may use the bot on Discord. list: those listed below; invite: also people with an invitation code; open: everyone",
    ),
    variable(Access, "TELEGRAM_ACCESS", "invite", "Who may use the bot on Telegram: list, invite or open, as above"),
    variable(
        Access,
        "ALLOWED_GUILDS",
        "",
        "IDs of Discord servers. The bot talks only there, and everyone there may use it (with ALLOWED_ROLES: only members with such a role)",
    ),
    variable(
        Access,
        "ALLOWED_CHANNELS",
        "",
        "Discord channels and Telegram groups, as platform:id. On that platform the bot talks only there, and everyone who writes there may use it",
    ),
    variable(Access, "ALLOWED_ROLES", "", "IDs of Discord roles whose members may use the bot in servers"),
    variable(Access, "ALLOWED_PEOPLE", "", "People who may use the bot, also in direct messages, as platform:id"),
    variable(
        Access,
        "BLOCKED_GUILDS",
        "",
        "IDs of Discord servers where the bot never talks. Blocked wins over allowed",
    ),
    variable(
        Access,
        "BLOCKED_CHANNELS",
        "",
        "Discord channels and Telegram groups where the bot never talks, as platform:id",
    ),
    variable(Access, "BLOCKED_ROLES", "", "IDs of Discord roles whose members may not use the bot in servers"),
    variable(Access, "BLOCKED_PEOPLE", "", "People who may not use the bot, as platform:id"),
    secret(Coach, "OPENAI_API_KEY", "Key of the OpenAI project that pays for coaching"),
    variable(
        Coach,
        "OPENAI_RPM",
        "5000",
        "Requests per minute of your OpenAI tier, per model, shared by all instances. Corrected from OpenAI's response headers",
    ),
    variable(
        Coach,
        "OPENAI_TPM",
        "1000000",
        "Tokens per minute of your OpenAI tier, per model, shared by all instances. Corrected from OpenAI's response headers",
    ),
    variable(
        Coach,
        "OPENAI_WAIT_SECONDS",
        "120",
        "Longest time a message may wait for OpenAI quota, in seconds. Beyond it, people are asked to try again later",
    ),
    variable(Coach, "COACH_MODEL", "gpt-6.1-sol", "Model that coaches"),
    variable(
        Coach,
        "COACH_EFFORT",
        "low",
        "How hard the coach's model thinks (reasoning.effort): none, minimal, low, medium, high, xhigh or max, as far as the model supports it",
    ),
    variable(
        Coach,
        "ECONOMY_MODEL",
        "gpt-6-luna",
        "Cheaper model for summaries, and for answers when a budget runs low",
    ),
    variable(Coach, "ECONOMY_EFFORT", "none", "How hard the cheaper model thinks; values as above"),
    variable(Coach, "COACH_MAX_OUTPUT_TOKENS", "4000", "Longest answer in tokens, thinking included"),
    variable(
        Coach,
        "COACH_PROMPT_FILE",
        "",
        "Markdown file that replaces the built-in persona and rules. The rules on untrusted data are always added",
    ),
    variable(
        Coach,
        "HISTORY_CHARS",
        "24000",
        "Length of a conversation, in characters, above which its older half is summarised",
    ),
    variable(
        Coach,
        "MERGE_WINDOW_MS",
        "800",
        "Messages a person sends within this time get one answer, in milliseconds. The model already thinks meanwhile",
    ),
    variable(
        Coach,
        "MAX_TURNS",
        "2000",
        "Most answers written at a time, per instance. In a small memory there are fewer: 10 for each MB beyond 40",
    ),
    variable(
        Coach,
        "MESSAGES_PER_MINUTE",
        "30",
        "Most messages one person may send per minute, commands and buttons included. Beyond it they're told once and slowed down; 0: no limit, and admins have none",
    ),
    variable(
        Coach,
        "OVERHEARD_REELS",
        "false",
        "Set to true to also watch reel links in messages that don't address the bot",
    ),
    variable(
        Coach,
        "ANSWER_CACHE_HOURS",
        "24",
        "How long an answer to a common first question may be used again, in hours. 0: never",
    ),
    secret(Reels, "APIFY_TOKEN", "Apify API token. Gets reels from Instagram"),
    variable(Reels, "APIFY_ACTOR", "apify~instagram-reel-scraper", "Apify actor that gets reels"),
    variable(Reels, "APIFY_MAX_CHARGE_USD", "0.02", "Most that one run may charge, in US dollars"),
    variable(Reels, "APIFY_ESTIMATE_USD", "0.0036", "Cost assumed for a run that reports none, in US dollars"),
    variable(
        Reels,
        "APIFY_DEADLINE_SECONDS",
        "120",
        "Longest wait for a run, in seconds. The run itself gets 30 s less. Deleted reels take about 60 s to fail",
    ),
    secret(Reels, "GEMINI_API_KEY", "Google AI key. Watches the videos"),
    variable(Reels, "GEMINI_MODEL", "gemini-3.8-flash", "Model that watches the videos"),
    variable(Reels, "REEL_LANES", "2", "Reels processed at a time through Apify and Gemini"),
    variable(Reels, "N8N_WEBHOOK_URLS", "", "Up to 5 n8n webhooks, separated by commas. Each is one more lane"),
    secret(
        Reels,
        "N8N_SECRET",
        "Value of the X-Reel-Secret header that your workflows check: one for all, or one per webhook, separated by commas",
    ),
    variable(
        Reels,
        "N8N_DEADLINE_SECONDS",
        "120",
        "Longest wait for a webhook, in seconds: one for all, or one per webhook",
    ),
    variable(Reels, "N8N_ESTIMATE_USD", "0.01", "Cost assumed for one webhook run, in US dollars"),
    variable(Reels, "REEL_INTERVAL_SECONDS", "30", "Time between two new reels of one person, in seconds"),
    variable(Reels, "REEL_WAITING_PER_PERSON", "5", "New reels that may wait per person"),
    variable(Reels, "REEL_WAITING", "500", "Reels that may wait in all"),
    variable(Reels, "REEL_CACHE_DAYS", "30", "How long a reel's result may be used again, in days"),
    variable(Reels, "REEL_MAX_MINUTES", "15", "Longest video to watch, in minutes"),
    variable(Reels, "REEL_MAX_MB", "200", "Biggest video to download, in megabytes (1,000,000 bytes)"),
    variable(
        Reels,
        "REEL_DEADLINE_SECONDS",
        "180",
        "Longest time a reel may take once it has started, all attempts together, in seconds: 30 to 3600",
    ),
    variable(
        Money,
        "PRICES_FILE",
        "",
        "JSON file with prices that add to or replace the built-in table, in the same format",
    ),
    variable(Money, "BUDGET_MONTH_USD", "100", "Most the bot may spend a month (UTC), in US dollars. none: no limit"),
    variable(
        Money,
        "BUDGET_DAY_USD",
        "",
        "Most the bot may spend a day (UTC), in US dollars. Empty: a tenth of BUDGET_MONTH_USD. none: no limit",
    ),
    variable(
        Money,
        "BUDGET_PLATFORM_MONTH_USD",
        "none",
        "Most for one platform a month, in US dollars. none: no limit",
    ),
    variable(
        Money,
        "BUDGET_GUILD_MONTH_USD",
        "",
        "Most for one Discord server a month, in US dollars. Empty: a third of BUDGET_MONTH_USD. none: no limit",
    ),
    variable(Money, "BUDGET_CHAT_MONTH_USD", "none", "Most for one chat a month, in US dollars. none: no limit"),
    variable(Money, "BUDGET_PERSON_DAY_USD", "1", "Most for one person a day, in US dollars. none: no limit"),
    variable(Money, "BUDGET_PERSON_MONTH_USD", "10", "Most for one person a month, in US dollars. none: no limit"),
    variable(
        Alerts,
        "ALERT_CHAT",
        "",
        "Chats that get alerts: telegram:chat or discord:channel, separated by commas. Empty: alerts go to the log only",
    ),
    variable(
        Alerts,
        "ALERTS",
        "",
        "Thresholds that differ from the defaults: rule=number or rule=off, separated by commas (queue_age_s=900,p95_s=off)",
    ),
    variable(
        Ground,
        "DATABASE_URL",
        "sqlite://data/reelcoach.db",
        "sqlite://path, or postgres://user:password@host/database to run several instances",
    ),
    variable(
        Ground,
        "DATABASE_CONNECTIONS",
        "10",
        "Connections to PostgreSQL per instance, besides 4 for leases and costs",
    ),
    variable(
        Ground,
        "HTTP_ADDR",
        "127.0.0.1:8080",
        "Address and port of /livez, /readyz, /metrics, the Telegram webhook and the dashboard",
    ),
    variable(
        Ground,
        "PUBLIC_URL",
        "",
        "Addresses under which people open the dashboard and /metrics from elsewhere, separated by commas (https://coach.example.org)",
    ),
    secret(
        Ground,
        "DASHBOARD_TOKEN",
        "Token for signing in to the dashboard, at least 16 random characters. Empty: the dashboard is off",
    ),
    variable(Ground, "LOG", "info", "Log level (error, warn, info, debug), or a filter such as info,reelcoach=debug"),
    variable(Ground, "LOG_FORMAT", "text", "Log format: text or json"),
    variable(Ground, "SHUTDOWN_SECONDS", "30", "How long unfinished answers may take at a stop, in seconds"),
    variable(
        Ground,
        "RETENTION_DAYS",
        "30",
        "How long answered messages, finished reels and conversations ended with /new are kept, in days",
    ),
    variable(Addresses, "OPENAI_BASE_URL", "https://api.openai.com/v1", "Address of the OpenAI API"),
    variable(Addresses, "APIFY_BASE_URL", "https://api.apify.com", "Address of the Apify API"),
    variable(Addresses, "GEMINI_BASE_URL", "https://generativelanguage.googleapis.com", "Address of the Gemini API"),
    variable(Addresses, "DISCORD_API_URL", "", "Address of the Discord API. Empty: discord.com"),
    variable(Addresses, "TELEGRAM_API_URL", "", "Address of the Telegram Bot API. Empty: api.telegram.org"),
    variable(Addresses, "INSTAGRAM_URL", "https://www.instagram.com", "Address where share links are resolved"),
    variable(
        Addresses,
        "INSTAGRAM_MIRRORS",
        "",
        "Extra Instagram mirrors whose links are understood, separated by commas",
    ),
    variable(
        Addresses,
        "MEDIA_ORIGINS",
        "https://*.cdninstagram.com,https://*.fbcdn.net",
        "Origins videos may be downloaded from, separated by commas",
    ),
    variable(Addresses, "SANDBOX_SPEED", "1", "How many times faster than real life the sandbox answers"),
];

/// The text of `.env.example`.
pub fn example() -> String {
    let mut text = String::from(
        "# Every variable of reelcoach. Copy this file to .env and set what you need. Commented lines show the defaults.\n",
    );
    let mut section = None;
    for variable in VARIABLES {
        if section != Some(variable.section) {
            section = Some(variable.section);
            // Writing to a String cannot fail.
            let _ = write!(text, "\n# --- {} ---\n", variable.section.title());
        }
        let _ = write!(text, "\n# {}\n#{}={}\n", variable.meaning, variable.name, variable.default);
    }
    text
}

/// The text of `docs/configuration.md`.
pub fn page() -> String {
    let mut text = String::from(PAGE_HEAD);
    let mut section = None;
    for variable in VARIABLES {
        if section != Some(variable.section) {
            section = Some(variable.section);
            // Writing to a String cannot fail.
            let _ =
                write!(text, "\n## {}\n\n| Variable | Default | Meaning |\n|---|---|---|\n", variable.section.title());
        }
        let default = if variable.default.is_empty() { String::new() } else { format!("`{}`", variable.default) };
        let key = if variable.secret { " 🔑" } else { "" };
        let _ = writeln!(text, "| `{}`{key} | {default} | {} |", variable.name, variable.meaning);
    }
    text
}

/// What stands above the tables of [`page`].
const PAGE_HEAD: &str = "\
# Configuration

> **For** whoever runs the bot. **Afterwards** you know every setting, its default, and how to check your choice.

1. Copy [.env.example](../.env.example) to `.env` and set what you need. Variables of the environment take precedence over the file.
2. Run `reelcoach doctor`. It names every mistake at once, each with its remedy.
3. Restart the bot. Settings are read at the start.

An empty value counts as not set. 🔑 marks a secret: it never reaches a log or an error message. `--env-file FILE` reads another file.

This page is generated from `src/config/variables.rs`.
";
