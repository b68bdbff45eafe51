//! What goes wrong during a run, by the seed: refusals, broken streams, slow upstreams, lost connections, the database,
//! and the death of an instance. Owns what and when; what must hold all the same is `check`'s.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;
use serde_json::json;

use super::proxy::Path;
use super::stage::Stage;
use crate::sandbox::hand::{At, Trouble};

/// How much goes wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Faults {
    #[default]
    None,
    /// 429s, 5xx, cut streams, slow upstreams, redelivered updates, gateway reconnects.
    Light,
    /// The same more often, requests that are carried out but not answered, and on PostgreSQL cuts of the database and a
    /// kill -9 of one of two instances.
    Heavy,
}

impl Faults {
    /// Of a hundred messages, so many are delivered twice.
    pub fn twice(self) -> f64 {
        match self {
            Faults::None => 0.0,
            Faults::Light => 0.1,
            Faults::Heavy => 0.2,
        }
    }

    /// Between two of them.
    fn pause(self) -> Duration {
        Duration::from_millis(if self == Faults::Heavy { 150 } else { 400 })
    }
}

/// How long the database is gone.
const OUTAGE: Duration = Duration::from_secs(2);

/// After the death of an instance the next one starts.
const RESTART: Duration = Duration::from_secs(1);

/// Makes trouble until it is dropped. `span`: how long the load will take; the database and the instance go within it.
pub async fn mix(faults: Faults, stage: &Stage, seed: u64, span: Duration) -> anyhow::Result<()> {
    if faults == Faults::None {
        return std::future::pending().await;
    }
    let small = async {
        let mut random = StdRng::seed_from_u64(seed ^ 0x000f_a117);
        loop {
            tokio::time::sleep(faults.pause()).await;
            for trouble in one(faults, &mut random) {
                stage.reach.trouble(&trouble).await?;
            }
        }
    };
    let large = async {
        let Some(proxy) = stage.proxy.as_ref().filter(|_| faults == Faults::Heavy) else {
            return std::future::pending::<anyhow::Result<()>>().await;
        };
        tokio::time::sleep(span / 5).await;
        proxy.set(Path::Cut).await;
        tokio::time::sleep(OUTAGE).await;
        proxy.set(Path::Open).await;
        tokio::time::sleep(span / 5).await;
        if stage.setting.instances > 1 {
            stage.kill_bot();
            tokio::time::sleep(RESTART).await;
            stage.start_bot().await?;
        }
        std::future::pending().await
    };
    tokio::select! {
        failed = small => failed,
        failed = large => failed,
    }
}

fn one(faults: Faults, random: &mut StdRng) -> Vec<Trouble> {
    let path = |at: At| match at {
        At::OpenAi => "/v1/responses",
        At::Apify => "/actor-runs/",
        At::Gemini => ":generateContent",
        At::N8n => "/webhook/",
        At::Telegram => "/sendMessage",
        At::Discord => "/messages",
    };
    let json_headers = || vec![("content-type".to_owned(), "application/json".to_owned())];
    let answer = |at: At, status: u16, mut more: Vec<(String, String)>, body: serde_json::Value| {
        let mut headers = json_headers();
        headers.append(&mut more);
        Trouble::Answer { at, path: path(at).to_owned(), status, headers, body: body.to_string() }
    };
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let kinds = if faults == Faults::Heavy { 15 } else { 12 };
    let trouble = match random.random_range(0..kinds) {
        0 => {
            let error = json!({"error": {"message": "Rate limit reached", "type": "requests", "param": null,
                "code": "rate_limit_exceeded"}});
            answer(At::OpenAi, 429, vec![header("retry-after", "1")], error)
        }
        1 => {
            let error = json!({"error": {"message": "The server is overloaded", "type": "server_error", "param": null,
                "code": null}});
            answer(At::OpenAi, 503, Vec::new(), error)
        }
        2 | 3 => Trouble::Cut { at: At::OpenAi, path: path(At::OpenAi).to_owned() },
        4 => Trouble::Slow { at: At::OpenAi, path: path(At::OpenAi).to_owned(), ms: random.random_range(300..1500) },
        5 => {
            let refused = json!({"ok": false, "error_code": 429, "description": "Too Many Requests: retry after 1",
                "parameters": {"retry_after": 1}});
            answer(At::Telegram, 429, Vec::new(), refused)
        }
        6 => {
            answer(At::Telegram, 502, Vec::new(), json!({"ok": false, "error_code": 502, "description": "Bad Gateway"}))
        }
        7 => answer(At::Discord, 503, Vec::new(), json!({"message": "upstream connect error", "code": 0})),
        8 => {
            let error = json!({"error": {"type": "internal-error", "message": "We have bugs"}});
            answer(At::Apify, 500, Vec::new(), error)
        }
        9 => {
            let error = json!({"error": {"code": 503, "status": "UNAVAILABLE", "message": "The model is overloaded.",
                "details": []}});
            answer(At::Gemini, 503, Vec::new(), error)
        }
        10 => {
            if random.random_bool(0.5) {
                Trouble::Reconnect
            } else {
                Trouble::DropSocket
            }
        }
        11 => answer(At::N8n, 503, Vec::new(), json!({"message": "Database is not ready!"})),
        12 => Trouble::Drop { at: At::Telegram, path: path(At::Telegram).to_owned(), after: true },
        13 => Trouble::Drop { at: At::Discord, path: path(At::Discord).to_owned(), after: true },
        _ => Trouble::Drop { at: At::OpenAi, path: path(At::OpenAi).to_owned(), after: random.random_bool(0.5) },
    };
    vec![trouble]
}
