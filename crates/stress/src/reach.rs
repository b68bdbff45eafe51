//! The other end of the sandbox's hand: how a load test speaks and sees. Owns the requests; decides nothing.

use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use serde::de::DeserializeOwned;

use sandbox::hand::{Books, OnScreen, Said, Say, SeenSince, Trouble};

/// Speaks to the hand of a sandbox in another process.
#[derive(Clone)]
pub struct Reach {
    http: reqwest012::Client,
    url: String,
}

impl Reach {
    /// To the hand at `http://127.0.0.1:port`.
    pub fn new(url: &str) -> anyhow::Result<Reach> {
        let http = reqwest012::Client::builder().no_proxy().tcp_nodelay(true).timeout(Duration::from_secs(60));
        Ok(Reach { http: http.build()?, url: url.to_owned() })
    }

    /// Many write at once.
    pub async fn say(&self, all: &[Say]) -> anyhow::Result<Vec<Said>> {
        self.post("say", &all).await?.json().await.context("the sandbox's answer to /say")
    }

    /// What was put on screens after `after`; waits for it a while.
    pub async fn seen(&self, after: usize, wait: Duration) -> anyhow::Result<SeenSince> {
        self.get(&format!("seen?after={after}&wait={}", wait.as_millis())).await
    }

    /// All that the bot shows now.
    pub async fn screens(&self) -> anyhow::Result<Vec<OnScreen>> {
        self.get("screens").await
    }

    /// What the providers charge, and what the platforms had to refuse.
    pub async fn books(&self) -> anyhow::Result<Books> {
        self.get("books").await
    }

    /// Something goes wrong.
    pub async fn trouble(&self, trouble: &Trouble) -> anyhow::Result<()> {
        self.post("trouble", trouble).await.map(|_| ())
    }

    async fn post(&self, path: &str, body: &impl Serialize) -> anyhow::Result<reqwest012::Response> {
        let request = self.http.post(format!("{}/{path}", self.url)).header("content-type", "application/json");
        let response = request.body(serde_json::to_vec(body)?).send().await;
        response.and_then(reqwest012::Response::error_for_status).with_context(|| format!("the sandbox's /{path}"))
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let response = self.http.get(format!("{}/{path}", self.url)).send().await;
        let response = response.and_then(reqwest012::Response::error_for_status);
        let body = response.with_context(|| format!("the sandbox's /{path}"))?.bytes().await?;
        serde_json::from_slice(&body).with_context(|| format!("the sandbox's answer to /{path}"))
    }
}
