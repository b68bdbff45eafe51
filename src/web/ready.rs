//! Whether this instance is ready to work, at `/readyz`. Anybody may ask it, so all who ask within a second share one look at
//! the database. Owns the result of that look; the roles are read each time.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::clock::Timestamp;
use crate::core::providers::{ProviderStatus, ProviderTarget, status};
use crate::store::StoreError;
use crate::store::providers::Trouble;

use super::Web;

/// How long a look at the database serves everybody who asks.
const SHARED_FOR: Duration = Duration::from_secs(1);

/// A clock that is further off is told as degraded.
const CLOCK_OFF: Duration = Duration::from_secs(2);

/// What `/readyz` works on.
pub struct Readiness {
    web: Arc<Web>,
    looks: Mutex<Looks>,
}

/// The looks at the database: the latest, and the one under way, of which there is never a second. It is a task of its own, so
/// that it goes on when whoever asked first goes away.
#[derive(Default)]
struct Looks {
    last: Option<Look>,
    running: JoinSet<Look>,
}

/// What was found in the database.
#[derive(Clone)]
struct Look {
    at: Timestamp,
    takes_writes: bool,
    is_degraded: bool,
    /// The word for each paid service.
    services: Map<String, Value>,
}

impl Look {
    async fn take(web: &Web) -> Look {
        let written = web.store.check_writes(web.clock.now()).await;
        let services = match &written {
            Ok(()) => services(web).await.unwrap_or_else(|error| {
                tracing::warn!("how the paid services stand is not known: {error}");
                Vec::new()
            }),
            Err(error) => {
                tracing::warn!("not ready: {error}");
                // Whoever asks has waited for the database once.
                Vec::new()
            }
        };
        let is_degraded = services.iter().any(|(_, status)| refuses_everybody(status));
        let words = services.into_iter().map(|(name, status)| (name, status.name().into()));
        // A look that took long serves the others after it as well.
        Look { at: web.clock.now(), takes_writes: written.is_ok(), is_degraded, services: words.collect() }
    }

    /// A clock that was set back makes nothing last longer.
    fn is_recent(&self, now: Timestamp) -> bool {
        self.at <= now && now.since(self.at) < SHARED_FOR
    }
}

impl Readiness {
    pub fn new(web: Arc<Web>) -> Readiness {
        Readiness { web, looks: Mutex::default() }
    }

    /// A recent look; `None` if it failed by a fault of ours.
    async fn look(&self) -> Option<Look> {
        let mut looks = self.looks.lock().await;
        loop {
            if let Some(last) = looks.last.as_ref().filter(|last| last.is_recent(self.web.clock.now())) {
                return Some(last.clone());
            }
            if looks.running.is_empty() {
                let web = self.web.clone();
                looks.running.spawn(async move { Look::take(&web).await });
            }
            let done = looks.running.join_next().await?;
            looks.last = Some(done.ok()?);
        }
    }
}

/// 200 if the database takes writes and no role that this instance has is silent for too long; who has none waits for one,
/// and is ready. A paid service that refuses everybody is told beside it as `degraded`: another instance would be refused as
/// well, so none may be taken out of use for it. So is a clock that is off; an instance that takes no work for that still stores
/// what it hears.
pub async fn ready(State(readiness): State<Arc<Readiness>>) -> Response {
    let Some(look) = readiness.look().await else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let now = readiness.web.clock.steady();
    let clock = readiness.web.time.state();
    let is_clock_off = clock.is_some_and(|clock| clock.is_stopped || clock.skew() > CLOCK_OFF);
    let mut is_ready = look.takes_writes;
    let mut roles = Map::new();
    for role in &readiness.web.roles {
        let state = role.state(now);
        if !state.is_well {
            tracing::warn!(role = role.name, silence = ?state.silence, "not ready: a role is silent");
            is_ready = false;
        }
        let silence = state.silence.map(|silence| silence.as_secs());
        roles.insert(role.name.into(), json!({"held": state.is_held, "silent_s": silence, "well": state.is_well}));
    }
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let state = json!({
        "ready": is_ready,
        "degraded": look.is_degraded || is_clock_off,
        "database": look.takes_writes,
        "roles": roles,
        "clock": clock.map(|clock| json!({"skew_ms": clock.skew_ms, "takes_work": !clock.is_stopped})),
        "services": look.services,
    });
    (status, Json(state)).into_response()
}

fn refuses_everybody(status: &ProviderStatus) -> bool {
    match status {
        ProviderStatus::Stuck(Trouble::Credit | Trouble::Key | Trouble::Gone) => true,
        ProviderStatus::Stuck(Trouble::Request) => false,
        ProviderStatus::Working | ProviderStatus::SomeFail | ProviderStatus::Failing => false,
    }
}

/// How each paid service stands.
async fn services(web: &Web) -> Result<Vec<(String, ProviderStatus)>, StoreError> {
    let rows = web.store.providers().await?;
    let of = |target: &ProviderTarget| (target.name.clone(), status(&target.name, &rows, &web.targets, None));
    Ok(web.targets.iter().map(of).collect())
}
