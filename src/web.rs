//! The HTTP server: health, metrics, the Telegram webhook and the dashboard. Owns the routes; never decides what is answered.

pub mod connections;
mod dashboard;
pub mod hosts;
mod ready;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, middleware};
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::{RequestBodyTimeoutLayer, TimeoutLayer};

use crate::clock::Clock;
use crate::core::chat::{Receive, ReceiveFailed};
use crate::core::providers::ProviderTarget;
use crate::core::timekeeping::Timekeeper;
use crate::platforms::telegram::{Me, Telegram, Undecodable};
use crate::store::Store;
use crate::telemetry::life::Role;
use crate::telemetry::system;

use self::connections::ConnectionLimits;
use self::hosts::KnownHosts;
use self::ready::Readiness;

pub use self::dashboard::Dashboard;

/// The largest update taken: Telegram's are a few kB.
const LARGEST_UPDATE: usize = 1 << 20;

/// Longest pause in a request's body. All of it must be there when the request must be answered.
const BODY_SILENCE: Duration = Duration::from_secs(5);

/// How long measured times wait for their buckets.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// Where Telegram may send its updates to.
pub struct Webhook {
    pub telegram: Telegram,
    pub me: Me,
    pub secret: SecretString,
    pub receive: Receive,
}

/// What the routes work on.
pub struct Web {
    pub store: Arc<Store>,
    pub clock: Clock,
    pub time: Arc<Timekeeper>,
    /// What this instance may be the only one to do.
    pub roles: Vec<Arc<Role>>,
    pub metrics: Option<PrometheusHandle>,
    /// Set once Telegram knows of it.
    pub webhook: Arc<OnceLock<Webhook>>,
    pub dashboard: Arc<Dashboard>,
    /// Names of the dashboard and `/metrics`.
    pub hosts: KnownHosts,
    /// The paid services that the configuration uses.
    pub targets: Vec<ProviderTarget>,
}

/// Serves until `stop`, then lets running requests end.
pub async fn serve(listener: TcpListener, web: Web, stop: CancellationToken) {
    let (metrics, dashboard) = (web.metrics.clone(), web.dashboard.clone());
    let app = router(Arc::new(web));
    tokio::select! {
        () = connections::serve(listener, app, ConnectionLimits::of_process(), stop) => {}
        () = keep_metrics(metrics) => {}
        () = dashboard.run() => {}
    }
}

/// Puts measured times into their buckets: until then each takes memory, and nobody may ever ask for `/metrics`.
async fn keep_metrics(metrics: Option<PrometheusHandle>) {
    let Some(metrics) = metrics else { return std::future::pending().await };
    loop {
        tokio::time::sleep(METRICS_UPKEEP).await;
        metrics.run_upkeep();
    }
}

/// Takes the address.
///
/// # Errors
/// When it is taken by another program, or is not this machine's.
pub async fn bind(addr: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(addr).await
}

fn router(web: Arc<Web>) -> Router {
    // For people's browsers and for Prometheus. The others tell nothing, or know their caller by a secret.
    let named = Router::new()
        .route("/metrics", get(metrics))
        .merge(dashboard::router(web.dashboard.clone()))
        .layer(middleware::from_fn_with_state(web.hosts.clone(), hosts::check));
    let readiness = Arc::new(Readiness::new(web.clone()));
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready::ready).with_state(readiness))
        .route("/telegram", post(telegram).layer(DefaultBodyLimit::max(LARGEST_UPDATE)))
        .merge(named)
        .layer(RequestBodyTimeoutLayer::new(BODY_SILENCE))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, Duration::from_secs(20)))
        .layer(CatchPanicLayer::new())
        .with_state(web)
}

async fn metrics(State(web): State<Arc<Web>>) -> Response {
    match &web.metrics {
        Some(handle) => {
            let text = handle.render() + &system::exposition();
            ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// One update. 200 only once its row is committed: Telegram repeats everything else (Bot API, setWebhook).
async fn telegram(State(web): State<Arc<Web>>, request: Request) -> StatusCode {
    let Some(webhook) = web.webhook.get() else { return StatusCode::SERVICE_UNAVAILABLE };
    let given = request.headers().get("x-telegram-bot-api-secret-token").map(|value| value.as_bytes());
    if !bool::from(given.unwrap_or_default().ct_eq(webhook.secret.expose_secret().as_bytes())) {
        return StatusCode::FORBIDDEN;
    }
    // Read only now: the bodies of strangers would fill the memory.
    let body = match Bytes::from_request(request, &()).await {
        Ok(body) => body,
        Err(refused) => return refused.status(),
    };
    let update = match webhook.telegram.decode(&webhook.me, &body) {
        Ok(Some(update)) => update,
        Ok(None) => return StatusCode::OK,
        Err(error @ Undecodable::UnknownShape { .. }) => {
            // A repeat would not be understood either, and would hold up its chat.
            tracing::warn!("an update is left out: {error}");
            return StatusCode::OK;
        }
        Err(error @ Undecodable::NotAnUpdate) => {
            tracing::warn!("a request to the webhook is refused: {error}");
            return StatusCode::BAD_REQUEST;
        }
    };
    match webhook.telegram.take(update, &webhook.receive).await {
        Ok(()) => StatusCode::OK,
        Err(ReceiveFailed) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
