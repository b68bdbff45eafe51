//! Configuration: every variable once, with its default, its meaning and how it is read. The one place that
//! reads the environment. All faults are found together, each with the variable's name and how to mend it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

mod access;
mod addresses;
mod alerts;
mod effort;
mod origin;
mod reader;
mod variables;

pub use access::{AccessConfig, AccessLists, AccessMode};
pub use alerts::AlertsConfig;
pub use effort::{Effort, UnknownEffort};
pub use origin::{BadOrigin, Origin};
use reader::Reader;
pub use variables::{Section, VARIABLES, Variable, example, page};

/// A shorter token could be guessed.
const DASHBOARD_TOKEN_LENGTH: usize = 16;

/// The parts of the month's budget that one day and one server may use where nothing else is set: a tenth and a third.
const DAY_SHARE: i64 = 10;
const GUILD_SHARE: i64 = 3;

/// What a fault about an effort says.
const EFFORTS: &str = "Use one of none, minimal, low, medium, high, xhigh, max, or leave it empty";

/// Everything that can be set. The meaning of each field stands with its variable in [`VARIABLES`].
#[derive(Clone, Debug)]
pub struct Config {
    pub database_url: String,
    pub database_connections: u32,
    pub http_addr: SocketAddr,
    /// Addresses under which the dashboard and `/metrics` are opened, besides those of this machine.
    pub public_urls: Vec<Url>,
    pub dashboard_token: Option<SecretString>,
    pub log: String,
    pub log_format: LogFormat,
    pub shutdown: Duration,
    pub retention: Duration,
    pub admin_ids: BTreeSet<String>,
    pub access: AccessConfig,
    pub discord: DiscordConfig,
    pub telegram: TelegramConfig,
    pub openai: OpenAiConfig,
    pub coach: CoachConfig,
    pub apify: ApifyConfig,
    pub gemini: GeminiConfig,
    pub n8n: N8nConfig,
    pub reels: ReelConfig,
    pub money: MoneyConfig,
    pub alerts: AlertsConfig,
    pub sandbox_speed: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Debug)]
pub struct DiscordConfig {
    pub token: Option<SecretString>,
    pub api_url: Option<Url>,
    pub message_content: bool,
    pub guild: Option<u64>,
}

#[derive(Clone, Debug)]
pub struct TelegramConfig {
    pub token: Option<SecretString>,
    pub api_url: Option<Url>,
    /// Where Telegram sends updates, and the secret it names itself with; polling without.
    pub webhook: Option<(Url, SecretString)>,
    pub per_second: u32,
    pub per_chat: u32,
}

#[derive(Clone, Debug)]
pub struct OpenAiConfig {
    pub key: Option<SecretString>,
    pub base_url: Url,
    pub requests_per_minute: u64,
    pub tokens_per_minute: u64,
    pub longest_wait: Duration,
}

#[derive(Clone, Debug)]
pub struct CoachConfig {
    pub model: String,
    pub effort: Option<Effort>,
    pub economy_model: String,
    pub economy_effort: Option<Effort>,
    pub max_output_tokens: u32,
    pub prompt_file: Option<PathBuf>,
    pub max_turns: u32,
    /// `None`: as many as they like.
    pub messages_per_minute: Option<u32>,
    pub merge_window: Duration,
    pub history_chars: usize,
    pub overheard_reels: bool,
    /// Zero: answers are not kept for others.
    pub answer_cache: Duration,
}

#[derive(Clone, Debug)]
pub struct ApifyConfig {
    pub token: Option<SecretString>,
    pub base_url: Url,
    pub actor: String,
    pub max_charge_micro_usd: i64,
    pub estimate_micro_usd: i64,
    pub deadline: Duration,
}

#[derive(Clone, Debug)]
pub struct GeminiConfig {
    pub key: Option<SecretString>,
    pub base_url: Url,
    pub model: String,
}

#[derive(Clone, Debug)]
pub struct N8nConfig {
    pub webhooks: Vec<N8nWebhook>,
    pub estimate_micro_usd: i64,
}

#[derive(Clone, Debug)]
pub struct N8nWebhook {
    pub url: Url,
    pub secret: SecretString,
    pub deadline: Duration,
}

#[derive(Clone, Debug)]
pub struct ReelConfig {
    pub lanes: u32,
    pub interval: Duration,
    pub waiting_per_person: u32,
    pub waiting: u32,
    pub cache: Duration,
    pub max_length: Duration,
    pub max_bytes: u64,
    pub deadline: Duration,
    pub media_origins: Vec<Origin>,
    pub instagram_url: Url,
    pub mirrors: Vec<String>,
}

/// Prices and budgets; these in micro-USD, `None`: no limit.
#[derive(Clone, Debug)]
pub struct MoneyConfig {
    pub prices_file: Option<PathBuf>,
    pub bot_day: Option<i64>,
    pub bot_month: Option<i64>,
    pub platform_month: Option<i64>,
    pub guild_month: Option<i64>,
    pub chat_month: Option<i64>,
    pub person_day: Option<i64>,
    pub person_month: Option<i64>,
}

/// One thing that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The variable.
    pub name: &'static str,
    /// What is wrong, without the value of a secret.
    pub problem: String,
    pub mend: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}. {}.", self.name, self.problem, self.mend)
    }
}

/// The variables as they are set: the process's environment over the `.env` file. No `set_var`: the process's
/// own environment stays as it is.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Reads `file`, or `.env` if that is there, and the process's environment over it.
    ///
    /// # Errors
    /// A sentence that names the line, never its value: it may be a secret.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn read(file: Option<&Path>) -> Result<Environment, String> {
        let mut set = BTreeMap::new();
        let path = file.unwrap_or(Path::new(".env"));
        let shown = path.display();
        if file.is_some() || path.exists() {
            let text = std::fs::read_to_string(path)
                .map_err(|error| format!("can't read {shown} ({error}). Check --env-file"))?;
            let mut faults: Vec<String> = Vec::new();
            for (at, line) in
                text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.trim().starts_with('#'))
            {
                // dotenvy would put a variable's value in place of a `$`, and so change passwords silently.
                let is_literal = line.split_once('=').is_none_or(|(_, value)| value.trim().starts_with('\''));
                if line.contains('$') && !is_literal {
                    faults.push(format!(
                        "{shown}, line {}: contains a $. Put the value in single quotes: NAME='value'",
                        at + 1
                    ));
                    continue;
                }
                match dotenvy::from_read_iter(line.as_bytes()).next() {
                    Some(Ok((name, value))) => drop(set.insert(name, value)),
                    _ => faults
                        .push(format!("{shown}, line {}: can't be read. Write NAME=value or NAME='value'", at + 1)),
                }
            }
            if !faults.is_empty() {
                return Err(faults.join("\n"));
            }
        }
        // What is not Unicode is none of ours.
        set.extend(
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        );
        Ok(Environment(set))
    }

    /// Sets a variable over everything else.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// A variable's value; empty counts as not set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl Config {
    /// Reads everything. With faults, the configuration holds defaults in their place and must not be used.
    pub fn read(environment: &Environment) -> (Config, Vec<Fault>) {
        let mut r = Reader { environment, faults: Vec::new() };
        let telegram_webhook = r.url("TELEGRAM_WEBHOOK_URL");
        let telegram_secret = r.secret("TELEGRAM_WEBHOOK_SECRET");
        if telegram_webhook.as_ref().is_some_and(|url| url.scheme() != "https") {
            r.fault("TELEGRAM_WEBHOOK_URL", "Telegram only calls https addresses", "Give the bot's https address");
        }
        let webhook = match (telegram_webhook, telegram_secret) {
            (Some(url), Some(secret)) => Some((url, secret)),
            (Some(_), None) => {
                r.fault(
                    "TELEGRAM_WEBHOOK_SECRET",
                    "not set, but TELEGRAM_WEBHOOK_URL is",
                    "Set it to a random text of A-Z a-z 0-9 _ -",
                );
                None
            }
            (None, _) => None,
        };
        if let Some(secret) = environment.get("TELEGRAM_WEBHOOK_SECRET")
            && (secret.len() > 256 || !secret.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'))
        {
            r.fault(
                "TELEGRAM_WEBHOOK_SECRET",
                "contains characters Telegram doesn't accept, or is too long",
                "Use 1 to 256 of A-Z a-z 0-9 _ -",
            );
        }
        if environment.get("DASHBOARD_TOKEN").is_some_and(|token| token.chars().count() < DASHBOARD_TOKEN_LENGTH) {
            r.fault(
                "DASHBOARD_TOKEN",
                "too short to be safe",
                "Use at least 16 random characters, for example from `openssl rand -hex 16`",
            );
        }
        let config = Config {
            database_url: r.text("DATABASE_URL"),
            database_connections: r.number("DATABASE_CONNECTIONS", 2..=200),
            http_addr: r
                .parsed("HTTP_ADDR", "Give an address and port such as 127.0.0.1:8080")
                .unwrap_or(([127, 0, 0, 1], 8080).into()),
            public_urls: r.urls("PUBLIC_URL"),
            dashboard_token: r.secret("DASHBOARD_TOKEN"),
            log: r.text("LOG"),
            log_format: match r.word("LOG_FORMAT", &["text", "json"]) {
                "json" => LogFormat::Json,
                _ => LogFormat::Text,
            },
            shutdown: Duration::from_secs(r.number("SHUTDOWN_SECONDS", 1..=600)),
            retention: Duration::from_secs(86_400 * r.number::<u64>("RETENTION_DAYS", 2..=3650)),
            admin_ids: r.admins("ADMIN_IDS"),
            access: AccessConfig {
                discord: r.access("DISCORD_ACCESS"),
                telegram: r.access("TELEGRAM_ACCESS"),
                allowed: AccessLists {
                    guilds: r.discord_ids("ALLOWED_GUILDS"),
                    channels: r.platform_ids("ALLOWED_CHANNELS"),
                    roles: r.discord_ids("ALLOWED_ROLES"),
                    people: r.platform_ids("ALLOWED_PEOPLE"),
                },
                blocked: AccessLists {
                    guilds: r.discord_ids("BLOCKED_GUILDS"),
                    channels: r.platform_ids("BLOCKED_CHANNELS"),
                    roles: r.discord_ids("BLOCKED_ROLES"),
                    people: r.platform_ids("BLOCKED_PEOPLE"),
                },
            },
            discord: DiscordConfig {
                token: r.secret("DISCORD_TOKEN"),
                api_url: r.url("DISCORD_API_URL"),
                message_content: r.switch("DISCORD_MESSAGE_CONTENT"),
                guild: r.parsed("DISCORD_GUILD_ID", "Give the server's ID, or leave it empty"),
            },
            telegram: TelegramConfig {
                token: r.secret("TELEGRAM_TOKEN"),
                api_url: r.url("TELEGRAM_API_URL"),
                webhook,
                per_second: r.number("TELEGRAM_PER_SECOND", 1..=10_000),
                per_chat: r.number("TELEGRAM_PER_CHAT", 1..=1_000),
            },
            openai: OpenAiConfig {
                key: r.secret("OPENAI_API_KEY"),
                base_url: r.required_url("OPENAI_BASE_URL"),
                requests_per_minute: r.number("OPENAI_RPM", 1..=10_000_000),
                tokens_per_minute: r.number("OPENAI_TPM", 1_000..=4_000_000_000),
                longest_wait: Duration::from_secs(r.number("OPENAI_WAIT_SECONDS", 5..=240)),
            },
            coach: CoachConfig {
                model: r.text("COACH_MODEL"),
                effort: r.parsed("COACH_EFFORT", EFFORTS),
                economy_model: r.text("ECONOMY_MODEL"),
                economy_effort: r.parsed("ECONOMY_EFFORT", EFFORTS),
                max_output_tokens: r.number("COACH_MAX_OUTPUT_TOKENS", 256..=128_000),
                prompt_file: r.raw("COACH_PROMPT_FILE").map(PathBuf::from),
                max_turns: r.number("MAX_TURNS", 1..=100_000),
                messages_per_minute: Some(r.number("MESSAGES_PER_MINUTE", 0..=10_000)).filter(|most| *most > 0),
                merge_window: Duration::from_millis(r.number("MERGE_WINDOW_MS", 0..=10_000)),
                history_chars: r.number("HISTORY_CHARS", 2_000..=1_000_000),
                overheard_reels: r.switch("OVERHEARD_REELS"),
                answer_cache: Duration::from_secs(3600 * r.number::<u64>("ANSWER_CACHE_HOURS", 0..=720)),
            },
            apify: ApifyConfig {
                token: r.secret("APIFY_TOKEN"),
                base_url: r.required_url("APIFY_BASE_URL"),
                actor: r.text("APIFY_ACTOR"),
                max_charge_micro_usd: r.dollars("APIFY_MAX_CHARGE_USD"),
                estimate_micro_usd: r.dollars("APIFY_ESTIMATE_USD"),
                deadline: Duration::from_secs(r.number("APIFY_DEADLINE_SECONDS", 120..=3600)),
            },
            gemini: GeminiConfig {
                key: r.secret("GEMINI_API_KEY"),
                base_url: r.required_url("GEMINI_BASE_URL"),
                model: r.text("GEMINI_MODEL"),
            },
            n8n: N8nConfig {
                webhooks: r.webhooks("N8N_WEBHOOK_URLS", "N8N_SECRET", "N8N_DEADLINE_SECONDS"),
                estimate_micro_usd: r.dollars("N8N_ESTIMATE_USD"),
            },
            reels: ReelConfig {
                lanes: r.number("REEL_LANES", 0..=32),
                interval: Duration::from_secs(r.number("REEL_INTERVAL_SECONDS", 0..=3600)),
                waiting_per_person: r.number("REEL_WAITING_PER_PERSON", 1..=100),
                waiting: r.number("REEL_WAITING", 1..=100_000),
                cache: Duration::from_secs(86_400 * r.number::<u64>("REEL_CACHE_DAYS", 0..=3650)),
                max_length: Duration::from_secs(60 * r.number::<u64>("REEL_MAX_MINUTES", 1..=180)),
                max_bytes: 1_000_000 * r.number::<u64>("REEL_MAX_MB", 1..=2000),
                deadline: Duration::from_secs(r.number("REEL_DEADLINE_SECONDS", 30..=3600)),
                media_origins: r.origins("MEDIA_ORIGINS"),
                instagram_url: r.required_url("INSTAGRAM_URL"),
                mirrors: r.list("INSTAGRAM_MIRRORS"),
            },
            money: {
                let bot_month = r.budget("BUDGET_MONTH_USD");
                MoneyConfig {
                    prices_file: r.raw("PRICES_FILE").map(PathBuf::from),
                    bot_day: r.budget_or_share("BUDGET_DAY_USD", bot_month, DAY_SHARE),
                    bot_month,
                    platform_month: r.budget("BUDGET_PLATFORM_MONTH_USD"),
                    guild_month: r.budget_or_share("BUDGET_GUILD_MONTH_USD", bot_month, GUILD_SHARE),
                    chat_month: r.budget("BUDGET_CHAT_MONTH_USD"),
                    person_day: r.budget("BUDGET_PERSON_DAY_USD"),
                    person_month: r.budget("BUDGET_PERSON_MONTH_USD"),
                }
            },
            alerts: r.alerts("ALERT_CHAT", "ALERTS"),
            sandbox_speed: r.speed("SANDBOX_SPEED"),
        };
        let lanes_are_known = !r.faults.iter().any(|fault| matches!(fault.name, "REEL_LANES" | "N8N_WEBHOOK_URLS"));
        if lanes_are_known && config.reels.lanes == 0 && config.n8n.webhooks.is_empty() {
            r.fault(
                "REEL_LANES",
                "0, and N8N_WEBHOOK_URLS is empty, so no reel could be watched",
                "Set REEL_LANES to 1 or more",
            );
        }
        if !config.admin_ids.is_disjoint(&config.access.blocked.people) {
            r.fault("BLOCKED_PEOPLE", "names one of ADMIN_IDS", "Remove them from one of the two");
        }
        (config, r.faults)
    }
}

#[cfg(test)]
mod tests;
