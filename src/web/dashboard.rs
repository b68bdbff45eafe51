//! The operator's dashboard at `/`: signing in, its pages, and the stream that keeps an open one true. Owns the routes and
//! their headers; what is told comes from the core, and no rule is decided here.

mod chart;
mod page;
mod panels;
mod session;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Form, Path, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use futures::{Stream, StreamExt};
use maud::Markup;
use secrecy::SecretString;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use self::panels::Panel;
use self::session::{Attempt, Guard};
use crate::core::admin::overview::Overviews;
use crate::locale::fl;
use crate::store::{Store, StoreError};

/// The largest form: one token.
const LARGEST_FORM: usize = 4096;

/// Open pages are brought up to date this often, all by the same look.
const LOOK: Duration = Duration::from_secs(1);

/// Open pages in all; each keeps a connection.
const VIEWERS: usize = 64;

/// How soon an open page hears that its session was ended elsewhere.
const SESSION_LOOK: Duration = Duration::from_secs(5);

/// A stream ends after so long, and the page asks for another.
const LONGEST_STREAM: Duration = Duration::from_secs(300);

/// What an open page shows, panel by panel.
type Frame = Arc<[Panel]>;

/// The dashboard, switched on or off.
pub struct Dashboard {
    /// `None`: no token is set.
    on: Option<On>,
    policy: HeaderValue,
}

struct On {
    guard: Guard,
    store: Arc<Store>,
    overviews: Overviews,
    frames: watch::Sender<Frame>,
    viewers: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Dashboard {
    /// A dashboard behind `token`; without one it only says how it is switched on. Its streams end at `stop`.
    pub fn new(
        token: Option<SecretString>,
        store: Arc<Store>,
        overviews: Overviews,
        stop: CancellationToken,
    ) -> Arc<Dashboard> {
        let on = token.map(|token| On {
            guard: Guard::new(token),
            store,
            overviews,
            frames: watch::Sender::new(Arc::from([])),
            viewers: Arc::new(Semaphore::new(VIEWERS)),
            stop,
        });
        // Made of hashes alone, so it is a valid header.
        let policy = HeaderValue::from_str(&page::policy()).unwrap_or(HeaderValue::from_static("default-src 'none'"));
        Arc::new(Dashboard { on, policy })
    }

    /// Looks how things stand as long as somebody has a page open; never returns.
    pub async fn run(&self) {
        let Some(on) = &self.on else { return std::future::pending().await };
        loop {
            if on.frames.receiver_count() > 0 {
                on.frames.send_replace(on.frame().await);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn respond(&self, status: StatusCode, body: Markup) -> Response {
        // The form's own origin must reach us with it (see `session::is_https`); nothing here leads anywhere else.
        let referrer = if status == StatusCode::OK { "no-referrer" } else { "same-origin" };
        let headers: [(HeaderName, HeaderValue); 5] = [
            (header::CONTENT_SECURITY_POLICY, self.policy.clone()),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            (header::REFERRER_POLICY, HeaderValue::from_static(referrer)),
            (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
        ];
        (status, headers, axum::response::Html(body.into_string())).into_response()
    }

    /// The dashboard if it is on and these headers are those of somebody who is signed in; else what is said instead.
    async fn admit(&self, headers: &HeaderMap) -> Result<&On, Response> {
        let Some(on) = &self.on else { return Err(self.respond(StatusCode::NOT_FOUND, page::off())) };
        match on.is_signed_in(headers).await {
            Ok(true) => Ok(on),
            Ok(false) => Err(self.respond(StatusCode::UNAUTHORIZED, page::sign_in(None))),
            // Without the database nobody knows whether the session was ended elsewhere.
            Err(error) => {
                tracing::warn!("a session could not be looked up: {error}");
                Err(self.respond(StatusCode::SERVICE_UNAVAILABLE, page::no_database()))
            }
        }
    }
}

impl Dashboard {
    /// Returns once the session of these headers is ended. While that cannot be looked up it goes on.
    async fn signed_out(&self, headers: &HeaderMap) {
        let Some(on) = &self.on else { return };
        loop {
            tokio::time::sleep(SESSION_LOOK).await;
            if matches!(on.is_signed_in(headers).await, Ok(false)) {
                return;
            }
        }
    }
}

impl On {
    /// Whether these headers are those of somebody who is signed in, on whichever instance.
    async fn is_signed_in(&self, headers: &HeaderMap) -> Result<bool, StoreError> {
        let Some(session) = self.guard.session(headers, self.overviews.now()) else { return Ok(false) };
        if !self.store.is_session_ended(&session.hash()).await? {
            return Ok(true);
        }
        self.guard.end(&session);
        Ok(false)
    }

    /// What is shown now; without the database what is known of it.
    async fn frame(&self) -> Frame {
        match self.overviews.look().await {
            Ok(overview) => panels::all(&overview).into(),
            Err(error) => {
                tracing::warn!("the dashboard could not look: {error}");
                [panels::no_database()].into()
            }
        }
    }
}

/// The routes; the rest of the server has others.
pub fn router<S>(dashboard: Arc<Dashboard>) -> Router<S> {
    Router::new()
        .route("/", get(overview))
        .route("/usage", get(usage))
        .route("/events", get(events))
        .route("/icon.svg", get(|| async { ([(header::CONTENT_TYPE, "image/svg+xml")], page::ICON) }))
        .route("/failure", get(failure_by_form))
        .route("/failure/{reference}", get(failure))
        .route("/sign-in", post(sign_in).layer(DefaultBodyLimit::max(LARGEST_FORM)))
        .route("/sign-out", post(sign_out).layer(DefaultBodyLimit::max(LARGEST_FORM)))
        .fallback(not_found)
        .with_state(dashboard)
}

async fn not_found(State(dashboard): State<Arc<Dashboard>>) -> Response {
    dashboard.respond(StatusCode::NOT_FOUND, page::not_found())
}

async fn overview(State(dashboard): State<Arc<Dashboard>>, headers: HeaderMap) -> Response {
    match dashboard.admit(&headers).await {
        Ok(on) => dashboard.respond(StatusCode::OK, page::overview(&on.frame().await)),
        Err(response) => response,
    }
}

async fn usage(State(dashboard): State<Arc<Dashboard>>, headers: HeaderMap) -> Response {
    let on = match dashboard.admit(&headers).await {
        Ok(on) => on,
        Err(response) => return response,
    };
    match on.overviews.look().await {
        Ok(overview) => dashboard.respond(StatusCode::OK, page::usage(&overview.sums.charts())),
        Err(error) => {
            tracing::warn!("the dashboard could not look: {error}");
            dashboard.respond(StatusCode::SERVICE_UNAVAILABLE, page::no_database())
        }
    }
}

#[derive(Deserialize)]
struct SignIn {
    #[serde(default)]
    token: String,
}

async fn sign_in(
    State(dashboard): State<Arc<Dashboard>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Form(form): Form<SignIn>,
) -> Response {
    let Some(on) = &dashboard.on else { return dashboard.respond(StatusCode::NOT_FOUND, page::off()) };
    let refuse = |status, why| dashboard.respond(status, page::sign_in(Some(why)));
    if session::is_foreign(&headers) {
        return refuse(StatusCode::FORBIDDEN, fl!("web-token-here"));
    }
    match on.guard.attempt(form.token.trim(), from.ip(), &headers, on.overviews.now()) {
        Attempt::Admitted { session, browser } => {
            tracing::info!("somebody has signed in to the dashboard");
            let https = session::is_https(&headers);
            let cookies = [session::cookie(&session, https), session::browser_cookie(&browser, https)];
            (AppendHeaders(cookies.map(|cookie| (header::SET_COOKIE, cookie))), Redirect::to("/")).into_response()
        }
        Attempt::Wrong => {
            tracing::warn!("a wrong token was given to the dashboard");
            refuse(StatusCode::FORBIDDEN, fl!("web-token-wrong"))
        }
        Attempt::TooMany => {
            let mut response = refuse(StatusCode::TOO_MANY_REQUESTS, fl!("web-token-later", seconds = 10));
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
            response
        }
    }
}

async fn sign_out(State(dashboard): State<Arc<Dashboard>>, headers: HeaderMap) -> Response {
    let Some(on) = &dashboard.on else { return dashboard.respond(StatusCode::NOT_FOUND, page::off()) };
    if session::is_foreign(&headers) {
        return dashboard.respond(StatusCode::FORBIDDEN, page::not_found());
    }
    if let Some(session) = on.guard.session(&headers, on.overviews.now()) {
        on.guard.end(&session);
        if let Err(error) = on.store.end_session(&session.hash(), session.until).await {
            tracing::warn!("a session could not be ended: {error}");
            return dashboard.respond(StatusCode::SERVICE_UNAVAILABLE, page::no_database());
        }
    }
    ([(header::SET_COOKIE, session::no_cookie())], Redirect::to("/")).into_response()
}

#[derive(Deserialize)]
struct Wanted {
    #[serde(default)]
    reference: String,
}

async fn failure_by_form(
    State(dashboard): State<Arc<Dashboard>>,
    headers: HeaderMap,
    Query(wanted): Query<Wanted>,
) -> Response {
    tell_failure(&dashboard, &headers, &wanted.reference).await
}

async fn failure(
    State(dashboard): State<Arc<Dashboard>>,
    headers: HeaderMap,
    Path(reference): Path<String>,
) -> Response {
    tell_failure(&dashboard, &headers, &reference).await
}

async fn tell_failure(dashboard: &Dashboard, headers: &HeaderMap, reference: &str) -> Response {
    let on = match dashboard.admit(headers).await {
        Ok(on) => on,
        Err(response) => return response,
    };
    match on.overviews.failure(reference).await {
        Ok(Some(failure)) => dashboard.respond(StatusCode::OK, page::failure(&failure, on.overviews.now())),
        Ok(None) => dashboard.respond(StatusCode::NOT_FOUND, page::no_failure(reference)),
        Err(error) => {
            tracing::warn!("a failure could not be looked up: {error}");
            dashboard.respond(StatusCode::SERVICE_UNAVAILABLE, page::no_database())
        }
    }
}

/// The panels that have changed since this page was told of them, as they change.
async fn events(State(dashboard): State<Arc<Dashboard>>, headers: HeaderMap) -> Response {
    let on = match dashboard.admit(&headers).await {
        Ok(on) => on,
        Err(response) if response.status() == StatusCode::SERVICE_UNAVAILABLE => {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        Err(_) => return StatusCode::UNAUTHORIZED.into_response(),
    };
    let Ok(place) = on.viewers.clone().try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", fl!("web-too-many-pages"))).into_response();
    };
    let (stop, watched) = (on.stop.clone(), dashboard.clone());
    let changes = changes(on.frames.subscribe(), place).take_until(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(LONGEST_STREAM) => {}
            () = watched.signed_out(&headers) => {}
        }
    });
    let headers = [
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        // A proxy must not collect what is meant for now (nginx, X-Accel-Buffering).
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (headers, Sse::new(changes).keep_alive(KeepAlive::default())).into_response()
}

fn changes(
    frames: watch::Receiver<Frame>,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let told: Frame = Arc::from([]);
    futures::stream::unfold((frames, told, place), |(mut frames, told, place)| async move {
        loop {
            frames.changed().await.ok()?;
            let frame = frames.borrow_and_update().clone();
            let changed: String =
                frame.iter().filter(|panel| !told.contains(panel)).map(|panel| panel.html.as_str()).collect();
            if !changed.is_empty() {
                let event = Event::default().event("panels").data(changed);
                return Some((Ok(event), (frames, frame, place)));
            }
        }
    })
}
