//! The clients of the outside services, as the configuration sets them.

use std::time::Duration;

use secrecy::SecretString;

use crate::clock::Clock;
use crate::config::Config;
use crate::core::reels::pipeline::{Limits, Pipeline};
use crate::upstream::apify::{self, Apify};
use crate::upstream::gemini::{self, Gemini};
use crate::upstream::n8n::{self, N8n};
use crate::upstream::openai::{self, OpenAi};
use crate::upstream::{RetryPolicy, patient_http_client};

/// The clients of the services that are paid by the call.
pub struct Upstreams {
    pub openai: OpenAi,
    pub apify: Apify,
    pub gemini: Gemini,
    pub n8n: Vec<N8n>,
}

/// All clients; one without a key is refused by its service.
///
/// # Errors
/// As [`patient_http_client`].
pub fn upstreams(config: &Config, http: reqwest::Client, clock: Clock) -> Result<Upstreams, reqwest::Error> {
    let patient = patient_http_client()?;
    let key = |key: &Option<SecretString>| key.clone().unwrap_or_else(|| SecretString::from("not-set"));
    let base = |url: &url::Url| url.as_str().trim_end_matches('/').to_owned();
    let openai = OpenAi::new(
        // A model that thinks hard is silent for minutes.
        patient.clone(),
        clock.clone(),
        openai::Settings {
            base_url: base(&config.openai.base_url),
            api_key: key(&config.openai.key),
            retry: RetryPolicy::STANDARD,
            deadlines: openai::Deadlines::of,
            quota: openai::QuotaSettings {
                limits: openai::Limits {
                    requests: config.openai.requests_per_minute,
                    tokens: config.openai.tokens_per_minute,
                },
                longest_wait: config.openai.longest_wait,
            },
        },
    );
    let apify = Apify::new(
        http,
        clock.clone(),
        apify::Settings {
            actor: config.apify.actor.clone(),
            max_charge_micro_usd: config.apify.max_charge_micro_usd,
            deadline: config.apify.deadline,
            // The run ends before the waiting for it does.
            run_timeout: config.apify.deadline - Duration::from_secs(30),
            ..apify::Settings::new(base(&config.apify.base_url), key(&config.apify.token))
        },
    );
    let gemini = Gemini::new(
        patient.clone(),
        clock.clone(),
        gemini::Settings {
            model: config.gemini.model.clone(),
            ..gemini::Settings::new(base(&config.gemini.base_url), key(&config.gemini.key))
        },
    );
    let n8n = config
        .n8n
        .webhooks
        .iter()
        .map(|webhook| {
            let settings = n8n::Settings {
                url: webhook.url.as_str().to_owned(),
                secret: webhook.secret.clone(),
                timeout: webhook.deadline,
                retry: RetryPolicy::STANDARD,
            };
            N8n::new(patient.clone(), clock.clone(), settings)
        })
        .collect();
    Ok(Upstreams { openai, apify, gemini, n8n })
}

/// The way of a reel through Apify and Gemini.
pub fn pipeline(config: &Config, apify: Apify, gemini: Gemini, http: reqwest::Client) -> Pipeline {
    let limits = Limits {
        max_seconds: u32::try_from(config.reels.max_length.as_secs()).unwrap_or(u32::MAX),
        max_bytes: config.reels.max_bytes,
        ..Limits::new(config.reels.media_origins.clone())
    };
    Pipeline::new(apify, gemini, http, limits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;
    use crate::upstream::http_client;

    #[test]
    fn nothing_but_its_own_deadlines_ends_the_silence_of_a_model() {
        let (config, _) = Config::read(&Environment::default());
        let is_bounded = |client: String| client.contains("read_timeout");
        let http = http_client().unwrap();
        assert!(is_bounded(format!("{http:?}")), "a client's bound is shown");
        let upstreams = upstreams(&config, http, Clock::System).unwrap();
        assert!(!is_bounded(format!("{:?}", upstreams.openai)));
    }
}
