//! `doctor`: checks everything a start depends on, and says how to fix what is wrong.

use std::process::ExitCode;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::MISCONFIGURED;
use crate::app::{self, CheckedConfig, Upstreams};
use crate::clock::{Clock, RemoteClock};
use crate::config::{Config, Fault};
use crate::core::access::describe;
use crate::core::wording::alerts as wording;
use crate::ids::Platform;
use crate::platforms::Platforms;
use crate::store::versions::Tables;
use crate::store::{Store, StoreError};
use crate::upstream::{self, Failure, video};

/// Longest wait for any one answer.
const DEADLINE: Duration = Duration::from_secs(15);

/// A model that is switched off within so many days is worth a warning.
const SHUTDOWN_WARNING_DAYS: i64 = 90;

/// A clock that is off by so much is worth a warning, and one by which signatures and tokens end too early is wrong. A `Date`
/// header tells the second, of which the middle is taken: a clock that is right seems half a second off.
const CLOCK_WARNING: Duration = Duration::from_secs(2);
const CLOCK_BAD: Duration = Duration::from_secs(60);

const TELEGRAM: &str = "https://api.telegram.org";
const DISCORD: &str = "https://discord.com";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Grade {
    Good,
    Skipped,
    Warning,
    Bad,
}

struct Finding {
    grade: Grade,
    what: String,
    detail: String,
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, grade: Grade, what: impl Into<String>, detail: impl Into<String>) {
        let finding = Finding { grade, what: what.into(), detail: detail.into() };
        let mark = match finding.grade {
            Grade::Good => "ok     ",
            Grade::Skipped => "skipped",
            Grade::Warning => "warning",
            Grade::Bad => "FAILED ",
        };
        println!("{mark}  {:<22} {}", finding.what, finding.detail);
        self.0.push(finding);
    }

    fn result<T>(&mut self, what: &str, result: Result<T, String>, good: impl FnOnce(T) -> String) {
        match result {
            Ok(value) => self.add(Grade::Good, what, good(value)),
            Err(detail) => self.add(Grade::Bad, what, detail),
        }
    }

    fn count(&self, grade: Grade) -> usize {
        self.0.iter().filter(|finding| finding.grade == grade).count()
    }
}

pub async fn run(checked: &CheckedConfig, faults: &[Fault], offline: bool, fix: bool) -> anyhow::Result<ExitCode> {
    let config = &checked.config;
    let mut findings = Findings::default();
    if faults.is_empty() {
        findings.add(Grade::Good, "configuration", "every variable is valid");
    }
    for fault in faults {
        findings.add(Grade::Bad, "configuration", fault.to_string());
    }
    database(config, &mut findings).await;
    let http = crate::upstream::http_client();
    findings.result(
        "CA certificates",
        http.as_ref().map(|_| ()).map_err(|_| "none found. Install the package ca-certificates.".to_owned()),
        |()| "found".into(),
    );
    if config.reels.lanes > 0 {
        let room = video::look_for_room().await.map_err(|no_room| {
            format!("{no_room}. Free space, or set TMPDIR to a folder that reelcoach may write to.")
        });
        findings.result("room for videos", room, |()| "can write a file".into());
    }
    shutdown_dates(checked, &mut findings);
    access(config, &mut findings);
    if offline {
        findings.add(Grade::Skipped, "network", "--offline: nothing outside was checked");
    } else if let Ok(http) = http {
        clock(config, &http, &mut findings).await;
        let upstreams = app::upstreams(config, http, Clock::System)?;
        ask_upstreams(config, &upstreams, &mut findings).await;
        // A configuration with faults may lack the webhook that it names: nothing is deleted for it.
        ask_platforms(config, fix && faults.is_empty(), &mut findings).await;
    }
    let (bad, warnings) = (findings.count(Grade::Bad), findings.count(Grade::Warning));
    let failed = if bad == 0 { "Nothing failed".to_owned() } else { format!("{bad} failed") };
    println!("\n{failed}, {warnings} {}.", if warnings == 1 { "warning" } else { "warnings" });
    Ok(match bad {
        0 => ExitCode::SUCCESS,
        _ if !faults.is_empty() => ExitCode::from(MISCONFIGURED),
        _ => ExitCode::FAILURE,
    })
}

async fn database(config: &Config, findings: &mut Findings) {
    let opened = async {
        let store = Store::open(&config.database_url, 2).await?;
        store.ping().await?;
        let tables = store.tables().await?;
        let shared = store.is_shared();
        store.close().await;
        Ok((shared, tables))
    };
    let opened = match tokio::time::timeout(DEADLINE, opened).await {
        Ok(opened) => opened,
        Err(_) => return findings.add(Grade::Bad, "database", "no response. Check DATABASE_URL."),
    };
    match opened {
        Ok((_, Tables::Newer { found, own })) => findings.add(
            Grade::Warning,
            "database",
            format!("was changed by a newer reelcoach (tables {found}; this program: {own}). Update this program."),
        ),
        Ok((true, Tables::Known)) => findings.add(Grade::Good, "database", "PostgreSQL responds"),
        Ok((false, Tables::Known)) => findings.add(Grade::Good, "database", "SQLite opens (one instance only)"),
        Err(error @ StoreError::Query(_)) => {
            findings.add(Grade::Bad, "database", format!("{error}. Check DATABASE_URL."));
        }
        Err(error) => findings.add(Grade::Bad, "database", error.to_string()),
    }
}

/// Who may use the bot, where it is switched on.
fn access(config: &Config, findings: &mut Findings) {
    let platforms =
        [(Platform::Discord, config.discord.token.is_some()), (Platform::Telegram, config.telegram.token.is_some())];
    for (platform, _) in platforms.into_iter().filter(|(_, is_on)| *is_on) {
        let (who, is_worth_a_warning) = describe(&config.access, platform);
        let grade = if is_worth_a_warning { Grade::Warning } else { Grade::Good };
        findings.add(grade, format!("access on {platform}"), who);
    }
    if config.admin_ids.is_empty() && platforms.iter().any(|(_, is_on)| *is_on) {
        findings.add(Grade::Warning, "admins", "ADMIN_IDS is empty: nobody can invite people or see what is spent.");
    }
}

/// What the price table knows of the models' ends.
fn shutdown_dates(CheckedConfig { config, prices, .. }: &CheckedConfig, findings: &mut Findings) {
    let models = [&config.coach.model, &config.coach.economy_model, &config.gemini.model];
    for model in models {
        if let Some(date) = prices.shutdown_of(model) {
            findings.add(
                shutdown_grade(date),
                format!("model {model}"),
                format!("switched off on {date}. Set its successor before then."),
            );
        }
    }
}

fn shutdown_grade(date: &str) -> Grade {
    let left = date
        .parse::<chrono::NaiveDate>()
        .ok()
        .zip(Clock::System.now().utc())
        .map(|(date, now)| (date - now.date_naive()).num_days());
    match left {
        Some(days) if days <= 0 => Grade::Bad,
        Some(days) if days > SHUTDOWN_WARNING_DAYS => Grade::Good,
        _ => Grade::Warning,
    }
}

/// Compares this machine's clock with the `Date` header of a service that is used anyway: the first that answers. What it
/// answers beside that is of no account.
async fn clock(config: &Config, http: &reqwest::Client, findings: &mut Findings) {
    let used = |is_used: bool, url: &url::Url| is_used.then(|| url.clone());
    let platform = |url: Option<&url::Url>, own: &str| url.cloned().or_else(|| own.parse().ok());
    let services = [
        used(config.openai.key.is_some(), &config.openai.base_url),
        used(config.gemini.key.is_some(), &config.gemini.base_url),
        used(config.apify.token.is_some(), &config.apify.base_url),
        config.telegram.token.as_ref().and_then(|_| platform(config.telegram.api_url.as_ref(), TELEGRAM)),
        config.discord.token.as_ref().and_then(|_| platform(config.discord.api_url.as_ref(), DISCORD)),
    ];
    for service in services.into_iter().flatten() {
        let (own, remote) = (Clock::kept(), RemoteClock::default());
        let sent = own.steady();
        let Ok(Ok(answer)) = tokio::time::timeout(DEADLINE, http.head(service).send()).await else { continue };
        let Some(shown) = upstream::date(answer.headers()) else { continue };
        remote.observe(shown, Duration::from_secs(1), sent, own.steady());
        let Some(there) = remote.now(own.steady()) else { continue };
        let off = Duration::from_millis(own.now().0.abs_diff(there.0));
        let grade = clock_grade(off);
        return match grade {
            Grade::Good => findings.add(grade, "clock", "right"),
            _ => findings.add(grade, "clock", format!("{} off. Set up time synchronisation.", wording::span(off))),
        };
    }
    findings.add(Grade::Skipped, "clock", "no service sent its time");
}

fn clock_grade(off: Duration) -> Grade {
    match off {
        off if off < CLOCK_WARNING => Grade::Good,
        off if off < CLOCK_BAD => Grade::Warning,
        _ => Grade::Bad,
    }
}

async fn ask_upstreams(config: &Config, upstreams: &Upstreams, findings: &mut Findings) {
    if config.openai.key.is_none() {
        findings.add(Grade::Skipped, "OpenAI", "OPENAI_API_KEY isn't set");
    } else {
        for (name, model) in [("COACH_MODEL", &config.coach.model), ("ECONOMY_MODEL", &config.coach.economy_model)] {
            let what = format!("OpenAI {model}");
            match within(upstreams.openai.model(model)).await {
                Ok(found) => match found.shutdown_date {
                    Some(date) => findings.add(shutdown_grade(&date), what, format!("exists, switched off on {date}")),
                    None => findings.add(Grade::Good, what, "exists"),
                },
                Err(detail) => findings.add(Grade::Bad, what, format!("{detail}. Check OPENAI_API_KEY and {name}.")),
            }
        }
    }
    if config.apify.token.is_none() {
        findings.add(Grade::Skipped, "Apify", "APIFY_TOKEN isn't set");
    } else {
        let result = within(upstreams.apify.reachable())
            .await
            .map_err(|detail| format!("{detail}. Check APIFY_TOKEN and APIFY_ACTOR."));
        findings.result("Apify", result, |_| "responds".into());
    }
    if config.gemini.key.is_none() {
        findings.add(Grade::Skipped, "Gemini", "GEMINI_API_KEY isn't set");
    } else {
        let result = within(upstreams.gemini.model_exists())
            .await
            .map_err(|detail| format!("{detail}. Check GEMINI_API_KEY and GEMINI_MODEL."));
        findings.result("Gemini", result, |_| format!("{} exists", config.gemini.model));
    }
    if !config.n8n.webhooks.is_empty() {
        findings.add(Grade::Skipped, "n8n", "can't be checked without running the workflow");
    }
}

async fn ask_platforms(config: &Config, fix: bool, findings: &mut Findings) {
    let platforms = match Platforms::from_config(config, &Clock::System) {
        Ok(platforms) => platforms,
        Err(sentence) => return findings.add(Grade::Bad, "platforms", sentence),
    };
    if !platforms.any() {
        findings.add(
            Grade::Warning,
            "platforms",
            "no token is set. `serve` needs DISCORD_TOKEN or TELEGRAM_TOKEN; `chat` needs neither.",
        );
    }
    if let Some(discord) = &platforms.discord {
        match tokio::time::timeout(DEADLINE, discord.identify()).await {
            Ok(Ok(me)) => {
                findings.add(Grade::Good, "Discord", format!("logs in as {}", me.name));
                match (config.discord.message_content, me.message_content) {
                    (true, false) => findings.add(
                        Grade::Bad,
                        "Discord intent",
                        "off in the developer portal. Turn it on (Bot page), or set DISCORD_MESSAGE_CONTENT=false.",
                    ),
                    (false, true) => findings.add(
                        Grade::Warning,
                        "Discord intent",
                        "on in the portal, but DISCORD_MESSAGE_CONTENT=false: in threads people have to mention the bot.",
                    ),
                    (wanted, _) => findings.add(Grade::Good, "Discord intent", if wanted { "on, as configured" } else { "off, as configured" }),
                }
            }
            Ok(Err(error)) => findings.add(Grade::Bad, "Discord", format!("{error}. Check DISCORD_TOKEN.")),
            Err(_) => findings.add(Grade::Bad, "Discord", "no response. Check the network."),
        }
    }
    if let Some(telegram) = &platforms.telegram {
        match tokio::time::timeout(DEADLINE, telegram.identify(&CancellationToken::new())).await {
            Ok(Ok(me)) => findings.add(Grade::Good, "Telegram", format!("logs in as @{}", me.username)),
            Ok(Err(error)) => return findings.add(Grade::Bad, "Telegram", format!("{error}. Check TELEGRAM_TOKEN.")),
            Err(_) => return findings.add(Grade::Bad, "Telegram", "no response. Check the network."),
        }
        match (telegram.webhook_info().await, &config.telegram.webhook) {
            (Err(error), _) => findings.add(Grade::Bad, "Telegram webhook", error.to_string()),
            (Ok(info), None) if !info.url.is_empty() && fix => {
                let deleted = telegram.delete_webhook().await.map_err(|error| error.to_string());
                findings.result("Telegram webhook", deleted, |()| "deleted; long polling receives messages again".into());
            }
            (Ok(info), None) if !info.url.is_empty() => findings.add(
                Grade::Bad,
                "Telegram webhook",
                "one is set, so long polling receives nothing. Set TELEGRAM_WEBHOOK_URL and TELEGRAM_WEBHOOK_SECRET, or run `reelcoach doctor --fix` to delete it.",
            ),
            (Ok(_), None) => findings.add(Grade::Good, "Telegram webhook", "none, as configured (long polling)"),
            (Ok(info), Some((url, _))) if info.url == url.as_str() => {
                findings.add(Grade::Good, "Telegram webhook", "set, as configured")
            }
            (Ok(_), Some(_)) => findings.add(Grade::Warning, "Telegram webhook", "not set yet; `serve` sets it"),
        }
    }
}

async fn within<T>(call: impl Future<Output = Result<T, Failure>>) -> Result<T, String> {
    match tokio::time::timeout(DEADLINE, call).await {
        Ok(result) => result.map_err(|failure| failure.to_string()),
        Err(_) => Err("no response".into()),
    }
}
