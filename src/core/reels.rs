//! Reels from a link to a place in the line: finds links, resolves share links, submits. Owns the rules' numbers;
//! the store holds them.

pub mod link;
pub mod eta;
pub mod pipeline;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::clock::{Clock, Timestamp};
use crate::config::ReelConfig;
use crate::ids::Shortcode;
use crate::store::access::LimitName;
use crate::store::reels::{Cancelled, Note, QueueLimits, Submitted, Wish};
use crate::store::{Store, StoreError};
use crate::telemetry::SUBMITTED;
use link::{Found, Hosts, Link, ShareTarget, Unsupported};
use pipeline::{PIPELINE_VERSION, Reel, ReelFailure};

/// Reels taken from one message.
pub const REELS_PER_MESSAGE: usize = 5;

/// Longest wait for Instagram to say where a share link leads.
const SHARE_DEADLINE: Duration = Duration::from_secs(8);

/// What a message says about reels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mentioned {
    /// Distinct, in order, at most [`REELS_PER_MESSAGE`].
    pub reels: Vec<Shortcode>,
    /// How many more there were.
    pub left_out: usize,
    /// Share links that led nowhere.
    pub unresolved: usize,
    /// The first Instagram link of a kind that cannot be read.
    pub unsupported: Option<Unsupported>,
    /// The text without the links.
    pub question: String,
}

/// The reel side of the core.
pub struct Reels {
    store: Arc<Store>,
    clock: Clock,
    http: reqwest::Client,
    hosts: Hosts,
    instagram: Url,
    limits: QueueLimits,
}

impl Reels {
    pub fn new(store: Arc<Store>, clock: Clock, http: reqwest::Client, config: &ReelConfig) -> Self {
        Self {
            store,
            clock,
            http,
            hosts: Hosts::default().and_mirrors(&config.mirrors),
            instagram: config.instagram_url.clone(),
            limits: QueueLimits {
                interval: config.interval,
                waiting_per_person: i64::from(config.waiting_per_person),
                waiting: i64::from(config.waiting),
                pipeline: PIPELINE_VERSION,
            },
        }
    }

    /// The limits in force: those that admins have set over those of the configuration.
    pub async fn limits(&self) -> Result<QueueLimits, StoreError> {
        let mut limits = self.limits;
        for (limit, value) in self.store.set_limits().await? {
            match limit {
                LimitName::Spacing => limits.interval = Duration::from_secs(value.unsigned_abs()),
                LimitName::Waiting => limits.waiting_per_person = value,
                LimitName::Line => limits.waiting = value,
            }
        }
        Ok(limits)
    }

    /// The links in a text, without asking anybody.
    pub fn find(&self, text: &str, extra: &[String]) -> Found {
        link::find(text, extra, &self.hosts)
    }

    /// The one reel that a text names, by its link or its shortcode; asks Instagram where a share link leads.
    pub async fn named(&self, text: &str) -> Option<Shortcode> {
        match self.find(text, &[]).links.into_iter().next() {
            Some(Link::Reel(code)) => Some(code),
            Some(Link::Share { token, .. }) => self.share(&token).await,
            Some(Link::Unsupported(_)) => None,
            None => text.trim().trim_matches('`').parse().ok(),
        }
    }

    /// The reels that a message is about; asks Instagram where share links lead.
    pub async fn mentioned(&self, text: &str, extra: &[String]) -> Mentioned {
        let found = self.find(text, extra);
        let mut mentioned = Mentioned { question: found.rest, ..Mentioned::default() };
        let mut asked = 0;
        for link in found.links {
            let code = match link {
                Link::Reel(code) => code,
                // Each takes a call: not more of them than reels.
                Link::Share { .. } if asked == REELS_PER_MESSAGE => {
                    mentioned.left_out += 1;
                    continue;
                }
                Link::Share { token, .. } => {
                    asked += 1;
                    let Some(code) = self.share(&token).await else {
                        mentioned.unresolved += 1;
                        continue;
                    };
                    code
                }
                Link::Unsupported(kind) => {
                    mentioned.unsupported.get_or_insert(kind);
                    continue;
                }
            };
            if mentioned.reels.contains(&code) {
                continue;
            }
            if mentioned.reels.len() == REELS_PER_MESSAGE {
                mentioned.left_out += 1;
            } else {
                mentioned.reels.push(code);
            }
        }
        mentioned
    }

    /// The reels that a command is about: as in any message, or by nothing but their codes, which come before the question.
    pub async fn requested(&self, text: &str, extra: &[String]) -> Mentioned {
        let mentioned = self.mentioned(text, extra).await;
        if mentioned != (Mentioned { question: mentioned.question.clone(), ..Mentioned::default() }) {
            return mentioned;
        }
        let words: Vec<&str> = mentioned.question.split_whitespace().collect();
        let codes: Vec<Shortcode> = words.iter().map_while(|word| link::bare_code(word)).collect();
        let question = match codes.is_empty() {
            true => mentioned.question,
            false => words[codes.len()..].join(" "),
        };
        let mut reels = Vec::new();
        for code in codes {
            if !reels.contains(&code) {
                reels.push(code);
            }
        }
        let left_out = reels.len().saturating_sub(REELS_PER_MESSAGE);
        reels.truncate(REELS_PER_MESSAGE);
        Mentioned { reels, left_out, question, ..Mentioned::default() }
    }

    /// Submits reels; see [`Store::submit`].
    pub async fn submit(&self, wish: &Wish<'_>, note: Note<'_>, now: Timestamp) -> Result<Vec<Submitted>, StoreError> {
        let outcomes = self.store.submit(wish, self.limits().await?, note, now).await?;
        for outcome in &outcomes {
            metrics::counter!(SUBMITTED, "outcome" => outcome.name()).increment(1);
        }
        Ok(outcomes)
    }

    /// Takes wishes back; see [`Store::cancel`].
    pub async fn cancel(&self, which: &Cancelled, now: Timestamp) -> Result<Vec<Shortcode>, StoreError> {
        self.store.cancel(which, self.limits().await?.interval, now).await
    }

    /// What is known of a reel now; a failure as the JSON of a [`KnownFailure`].
    pub async fn known(
        &self,
        code: &Shortcode,
        now: Timestamp,
    ) -> Result<Option<Result<Box<Reel>, String>>, StoreError> {
        self.store.reel(code, PIPELINE_VERSION, now).await?.map(read_result).transpose()
    }

    /// Where a share link leads; `None` if Instagram does not say.
    async fn share(&self, token: &str) -> Option<Shortcode> {
        let url = link::share_url(&self.instagram, token);
        // A browser's user agent gets a page without the redirect (cobalt, services/instagram.js).
        let asked = self.http.get(url).header("User-Agent", "curl/8.0").timeout(SHARE_DEADLINE).send().await;
        let answer = match asked {
            Ok(answer) => answer,
            Err(error) => {
                tracing::warn!("a share link could not be resolved: {}", error.without_url());
                return None;
            }
        };
        let location = answer.headers().get(reqwest::header::LOCATION)?.to_str().ok()?;
        match link::share_target(location) {
            ShareTarget::Reel(code) => Some(code),
            ShareTarget::Login | ShareTarget::Elsewhere => None,
        }
    }

    /// The clock that all reel times are of.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// Why a reel failed, as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownFailure {
    #[serde(flatten)]
    pub failure: ReelFailure,
    /// The code under which the operator finds it in the log, where there is something to find.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

/// A stored result as what it was.
///
/// # Errors
/// When this program cannot have written it.
pub fn read_result(stored: Result<String, String>) -> Result<Result<Box<Reel>, String>, StoreError> {
    Ok(match stored {
        Ok(content) => Ok(serde_json::from_str(&content).map_err(|_| StoreError::Corrupt("reels.content"))?),
        Err(failure) => Err(failure),
    })
}
