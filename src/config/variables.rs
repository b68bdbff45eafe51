//! The table of variables: the documentation of the configuration, from which `.env.example` and the README's
//! table are made and tested.

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
            Section::Platforms => "Platforms: at least one token for `serve`",
            Section::Access => "Who may use it",
            Section::Coach => "Coach",
            Section::Reels => "Reels",
            Section::Money => "Budgets",
            Section::Alerts => "Alerts",
            Section::Ground => "Database, web, logs",
            Section::Addresses => "Other addresses of the outside world (sandbox, proxies, tests)",
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
        "true once the Message Content Intent is on in the portal: threads without mentions work then",
    ),
    variable(
        Platforms,
        "DISCORD_GUILD_ID",
        "",
        "Register the slash commands in this one server only (at once, for trying out)",
    ),
    secret(Platforms, "TELEGRAM_TOKEN", "Bot token from @BotFather"),
    variable(
        Platforms,
        "TELEGRAM_WEBHOOK_URL",
        "",
        "Public https address of /telegram on this bot; long polling without",
    ),
    secret(
        Platforms,
        "TELEGRAM_WEBHOOK_SECRET",
        "What Telegram names itself with at the webhook: 1-256 of A-Z a-z 0-9 _ -",
    ),
    variable(
        Platforms,
        "TELEGRAM_PER_SECOND",
        "30",
        "Messages and edits a second in all; Telegram itself takes about 30 unless it has granted the bot more",
    ),
    variable(
        Platforms,
        "TELEGRAM_PER_CHAT",
        "1",
        "Messages and edits a second in one chat, after a short burst, and 20 times as many a minute in a group; raise it only if Telegram has granted the bot more",
    ),
    variable(
        Platforms,
        "ADMIN_IDS",
        "",
        "Who runs the bot: platform:id, separated by commas (discord:80351110224678912,telegram:42)",
    ),
    variable(
        Access,
        "DISCORD_ACCESS",
        "list",
        "Who may use it on Discord: list (who is listed below), invite (also with a code of /invite), or open (everybody)",
    ),
    variable(Access, "TELEGRAM_ACCESS", "invite", "The same on Telegram"),
    variable(
        Access,
        "ALLOWED_GUILDS",
        "",
        "Discord servers, by number: it speaks in no other, and in them everybody may use it (with ALLOWED_ROLES only who has one)",
    ),
    variable(
        Access,
        "ALLOWED_CHANNELS",
        "",
        "Channels and Telegram groups, as platform:id: it speaks in no others of that platform, and who writes there may use it",
    ),
    variable(Access, "ALLOWED_ROLES", "", "Discord roles, by number: who has one may use it, in servers"),
    variable(Access, "ALLOWED_PEOPLE", "", "People, as platform:id: they may use it in direct messages too"),
    variable(
        Access,
        "BLOCKED_GUILDS",
        "",
        "Discord servers in which it never speaks; what is blocked wins over what is allowed",
    ),
    variable(Access, "BLOCKED_CHANNELS", "", "Channels and Telegram groups in which it never speaks"),
    variable(Access, "BLOCKED_ROLES", "", "Discord roles whose members may not use it in servers"),
    variable(Access, "BLOCKED_PEOPLE", "", "People who may not use it"),
    secret(Coach, "OPENAI_API_KEY", "Key of the OpenAI project that pays for the coaching"),
    variable(
        Coach,
        "OPENAI_RPM",
        "5000",
        "Requests a minute of the OpenAI tier, for each model and all instances together; its answers correct it",
    ),
    variable(Coach, "OPENAI_TPM", "1000000", "Tokens a minute of the OpenAI tier, likewise"),
    variable(
        Coach,
        "OPENAI_WAIT_SECONDS",
        "120",
        "Longest time a message may wait for that quota, in seconds. Beyond it, people are told when to ask again",
    ),
    variable(Coach, "COACH_MODEL", "gpt-6.1-sol", "Model that coaches"),
    variable(
        Coach,
        "COACH_EFFORT",
        "low",
        "Its reasoning.effort: none, minimal, low, medium, high, xhigh, max, as far as the model takes it",
    ),
    variable(Coach, "ECONOMY_MODEL", "gpt-6-luna", "Model for summaries of long conversations"),
    variable(Coach, "ECONOMY_EFFORT", "none", "Its reasoning.effort"),
    variable(Coach, "COACH_MAX_OUTPUT_TOKENS", "4000", "Longest answer in tokens, reasoning included"),
    variable(
        Coach,
        "COACH_PROMPT_FILE",
        "",
        "Markdown file that replaces the built-in persona and rules; the rules on untrusted data are always added",
    ),
    variable(
        Coach,
        "HISTORY_CHARS",
        "24000",
        "Conversation length in characters beyond which its older half is summarised",
    ),
    variable(
        Coach,
        "MERGE_WINDOW_MS",
        "800",
        "Messages of one person within this time are one turn; it runs while the model thinks",
    ),
    variable(Coach, "MAX_TURNS", "2000", "Answers in the making at a time, per instance"),
    variable(
        Coach,
        "MESSAGES_PER_MINUTE",
        "30",
        "Most messages one person may send per minute, commands and buttons included. Beyond it they're told once and slowed down; 0: no limit, and admins have none",
    ),
    variable(Coach, "OVERHEARD_REELS", "false", "true: also take reel links from messages that do not address the bot"),
    variable(
        Coach,
        "ANSWER_CACHE_HOURS",
        "24",
        "How long an answer to a common first question may be used again, in hours. 0: never",
    ),
    secret(Reels, "APIFY_TOKEN", "Apify API token: reads reels"),
    variable(Reels, "APIFY_ACTOR", "apify~instagram-reel-scraper", "Apify actor"),
    variable(Reels, "APIFY_MAX_CHARGE_USD", "0.02", "Most that one run may charge"),
    variable(Reels, "APIFY_ESTIMATE_USD", "0.0036", "Counted for a run that does not tell its charge"),
    variable(
        Reels,
        "APIFY_DEADLINE_SECONDS",
        "120",
        "Longest wait for one run, which itself may take 30 s less; deleted reels take about 60 s to fail",
    ),
    secret(Reels, "GEMINI_API_KEY", "Google AI key: watches the videos"),
    variable(Reels, "GEMINI_MODEL", "gemini-3.8-flash", "Model that watches the videos"),
    variable(Reels, "REEL_LANES", "2", "Reels read at a time through Apify and Gemini"),
    variable(Reels, "N8N_WEBHOOK_URLS", "", "Up to 5 n8n webhooks, separated by commas: one more lane each"),
    secret(
        Reels,
        "N8N_SECRET",
        "Value of the header X-Reel-Secret that the webhooks check: one for all, or one for each, separated by commas",
    ),
    variable(Reels, "N8N_DEADLINE_SECONDS", "120", "Longest wait for a webhook: one for all, or one for each"),
    variable(Reels, "N8N_ESTIMATE_USD", "0.01", "Counted for one run of a webhook"),
    variable(Reels, "REEL_INTERVAL_SECONDS", "30", "One new reel per person in this time"),
    variable(Reels, "REEL_WAITING_PER_PERSON", "5", "New reels that may wait for one person"),
    variable(Reels, "REEL_WAITING", "500", "Reels that may wait in all"),
    variable(Reels, "REEL_CACHE_DAYS", "30", "How long a reel's result is used again"),
    variable(Reels, "REEL_MAX_MINUTES", "15", "Longest video that is watched"),
    variable(Reels, "REEL_MAX_MB", "200", "Largest video that is downloaded, in millions of bytes"),
    variable(
        Reels,
        "REEL_DEADLINE_SECONDS",
        "180",
        "Longest time that one reel may take once it has started, all attempts together: 30 to 3600",
    ),
    variable(Money, "PRICES_FILE", "", "JSON file whose prices are added to the built-in table, in its form"),
    variable(Money, "BUDGET_MONTH_USD", "100", "Most that the bot may spend in a month (UTC); none: no limit"),
    variable(
        Money,
        "BUDGET_DAY_USD",
        "",
        "Most that the bot may spend in a day; a tenth of BUDGET_MONTH_USD unless set, none: no limit",
    ),
    variable(Money, "BUDGET_PLATFORM_MONTH_USD", "none", "Most for all of one platform in a month"),
    variable(
        Money,
        "BUDGET_GUILD_MONTH_USD",
        "",
        "Most for one Discord server in a month; a third of BUDGET_MONTH_USD unless set, none: no limit",
    ),
    variable(Money, "BUDGET_CHAT_MONTH_USD", "none", "Most for one chat in a month"),
    variable(Money, "BUDGET_PERSON_DAY_USD", "1", "Most for one person in a day"),
    variable(Money, "BUDGET_PERSON_MONTH_USD", "10", "Most for one person in a month"),
    variable(
        Alerts,
        "ALERT_CHAT",
        "",
        "Chats that are told of trouble: telegram:chat or discord:channel, separated by commas; only the log without",
    ),
    variable(
        Alerts,
        "ALERTS",
        "",
        "Thresholds other than those under Monitoring: rule=number or rule=off, separated by commas (queue_age_s=900,p95_s=off)",
    ),
    variable(
        Ground,
        "DATABASE_URL",
        "sqlite://data/reelcoach.db",
        "sqlite://path, or postgres://user:password@host/database for several instances",
    ),
    variable(Ground, "DATABASE_CONNECTIONS", "10", "Connections to PostgreSQL"),
    variable(
        Ground,
        "HTTP_ADDR",
        "127.0.0.1:8080",
        "Where /livez, /readyz, /metrics, the Telegram webhook and the dashboard are served",
    ),
    variable(
        Ground,
        "PUBLIC_URL",
        "",
        "Addresses under which the dashboard and /metrics are opened from elsewhere, separated by commas (https://coach.example.org)",
    ),
    secret(
        Ground,
        "DASHBOARD_TOKEN",
        "Opens the dashboard at /: a random text of 16 characters or more; the dashboard is off without",
    ),
    variable(Ground, "LOG", "info", "Log level, or a filter such as info,reelcoach=debug"),
    variable(Ground, "LOG_FORMAT", "text", "text or json"),
    variable(Ground, "SHUTDOWN_SECONDS", "30", "How long answers in the making may take to end at a stop"),
    variable(
        Ground,
        "RETENTION_DAYS",
        "30",
        "How long answered messages, ended reels and conversations put aside with /new are kept",
    ),
    variable(Addresses, "OPENAI_BASE_URL", "https://api.openai.com/v1", "OpenAI"),
    variable(Addresses, "APIFY_BASE_URL", "https://api.apify.com", "Apify"),
    variable(Addresses, "GEMINI_BASE_URL", "https://generativelanguage.googleapis.com", "Gemini"),
    variable(Addresses, "DISCORD_API_URL", "", "Discord, if not discord.com"),
    variable(Addresses, "TELEGRAM_API_URL", "", "Telegram, if not api.telegram.org"),
    variable(Addresses, "INSTAGRAM_URL", "https://www.instagram.com", "Where share links are resolved"),
    variable(
        Addresses,
        "INSTAGRAM_MIRRORS",
        "",
        "More mirror hosts of Instagram whose links are understood, separated by commas",
    ),
    variable(
        Addresses,
        "MEDIA_ORIGINS",
        "https://*.cdninstagram.com,https://*.fbcdn.net",
        "Where videos may be downloaded from",
    ),
    variable(Addresses, "SANDBOX_SPEED", "1", "How many times faster than usual the sandbox answers"),
];

/// The text of `.env.example`.
pub fn example() -> String {
    let mut text = String::from(
        "# Every variable of reelcoach. Copy to .env and fill in what you need; what is commented out has its default.\n",
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
