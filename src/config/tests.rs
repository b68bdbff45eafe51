//! What the configuration makes of its variables.

use secrecy::ExposeSecret;

use super::*;

fn read(pairs: &[(&str, &str)]) -> (Config, Vec<Fault>) {
    Config::read(&pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect())
}

#[test]
fn nothing_set_is_a_valid_configuration() {
    let (config, faults) = read(&[]);
    assert_eq!(faults, []);
    assert_eq!(config.coach.model, "gpt-6.1-sol");
    assert_eq!(config.reels.interval, Duration::from_secs(30));
    assert_eq!(config.reels.cache, Duration::from_secs(30 * 86_400));
    assert!(config.discord.token.is_none());
}

#[test]
fn nobody_gets_in_unless_somebody_says_so() {
    let (config, _) = read(&[]);
    assert_eq!((config.access.discord, config.access.telegram), (AccessMode::List, AccessMode::Invite));
    let (config, faults) = read(&[
        ("TELEGRAM_ACCESS", "Open"),
        ("ALLOWED_GUILDS", "12, discord:13"),
        ("ALLOWED_CHANNELS", "discord:5,telegram:-1001"),
    ]);
    assert_eq!(faults, []);
    assert_eq!(config.access.telegram, AccessMode::Open);
    assert_eq!(config.access.allowed.guilds, ["discord:12", "discord:13"].map(String::from).into());
    assert_eq!(config.access.allowed.channels, ["discord:5", "telegram:-1001"].map(String::from).into());
    let wrong = [
        ("DISCORD_ACCESS", "everybody"),
        ("ALLOWED_GUILDS", "my server"),
        ("ALLOWED_ROLES", "telegram:4"),
        ("ALLOWED_PEOPLE", "42"),
        ("BLOCKED_CHANNELS", "telegram:-"),
        ("ADMIN_IDS", "telegram:42"),
        ("BLOCKED_PEOPLE", "telegram:42"),
    ];
    let names: BTreeSet<&str> = read(&wrong).1.iter().map(|fault| fault.name).collect();
    let faulty =
        ["ALLOWED_GUILDS", "ALLOWED_PEOPLE", "ALLOWED_ROLES", "BLOCKED_CHANNELS", "BLOCKED_PEOPLE", "DISCORD_ACCESS"];
    assert_eq!(names, BTreeSet::from(faulty));
}

#[test]
fn webhooks_share_or_have_their_own_settings() {
    let urls = ("N8N_WEBHOOK_URLS", "https://a.example/webhook/r, https://b.example/webhook/r");
    let (config, faults) = read(&[urls, ("N8N_SECRET", "one")]);
    assert_eq!(faults, []);
    let secrets = |config: &Config| -> Vec<String> {
        config.n8n.webhooks.iter().map(|webhook| webhook.secret.expose_secret().to_owned()).collect()
    };
    assert_eq!(secrets(&config), ["one", "one"]);
    assert_eq!(config.n8n.webhooks[1].deadline, Duration::from_secs(120));
    let (config, faults) = read(&[urls, ("N8N_SECRET", "one,two"), ("N8N_DEADLINE_SECONDS", "60, 90")]);
    assert_eq!(faults, []);
    assert_eq!(secrets(&config), ["one", "two"]);
    assert_eq!(config.n8n.webhooks[1].deadline, Duration::from_secs(90));
    let (_, faults) = read(&[urls, ("N8N_SECRET", "one,two,three"), ("N8N_DEADLINE_SECONDS", "5")]);
    let names: Vec<&str> = faults.iter().map(|fault| fault.name).collect();
    assert!(names.contains(&"N8N_SECRET") && names.contains(&"N8N_DEADLINE_SECONDS"), "{names:?}");
    assert!(faults.iter().all(|fault| !fault.to_string().contains("three")), "a secret is not told");
}

#[test]
fn every_fault_is_reported_with_its_name_and_mend() {
    let (_, faults) = read(&[
        ("REEL_LANES", "two"),
        ("REEL_INTERVAL_SECONDS", "-1"),
        ("OPENAI_BASE_URL", "not an address"),
        ("LOG_FORMAT", "xml"),
        ("ADMIN_IDS", "80351110224678912"),
        ("N8N_WEBHOOK_URLS", "https://n8n.example/webhook-test/reel"),
        ("TELEGRAM_WEBHOOK_URL", "https://bot.example/hook"),
        ("APIFY_MAX_CHARGE_USD", "0"),
        ("SANDBOX_SPEED", "fast"),
    ]);
    let names: BTreeSet<&str> = faults.iter().map(|fault| fault.name).collect();
    let wanted = [
        "ADMIN_IDS",
        "APIFY_MAX_CHARGE_USD",
        "LOG_FORMAT",
        "N8N_SECRET",
        "N8N_WEBHOOK_URLS",
        "OPENAI_BASE_URL",
        "REEL_INTERVAL_SECONDS",
        "REEL_LANES",
        "SANDBOX_SPEED",
        "TELEGRAM_WEBHOOK_SECRET",
    ];
    assert_eq!(names, BTreeSet::from(wanted));
    assert!(faults.iter().all(|fault| !fault.mend.is_empty()));
}

#[test]
fn every_variable_of_the_table_is_read_and_no_other() {
    let source = include_str!("../config.rs");
    let body = &source[source.find("pub fn read(environment").unwrap()..];
    let read: BTreeSet<&str> = body
        .split('"')
        .skip(1)
        .step_by(2)
        .filter(|word| {
            word.len() > 2 && word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        })
        .collect();
    let table: BTreeSet<&str> = VARIABLES.iter().map(|v| v.name).collect();
    assert_eq!(read, table);
}

#[test]
fn no_secret_is_shown() {
    let (config, _) = read(&[("OPENAI_API_KEY", "sk-very-secret"), ("DISCORD_TOKEN", "also-secret")]);
    let shown = format!("{config:?}");
    assert!(!shown.contains("secret\"") && !shown.contains("sk-very"), "{shown}");
}
