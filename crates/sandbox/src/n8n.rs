//! A stand-in for an n8n instance with the reel workflow on it. Owns n8n's answers, the unhelpful ones
//! too; no workflow is run.
//!
//! `/webhook/reel` and `/webhook/reel-…` are registered for POST. The shortcode decides: `DSTAR…` the
//! workflow was only started, `DNODA…` no data returned, `DEMP2…` an empty 200, `DERR5…` a failed
//! workflow, `DERR1…` one that fails the first time, `DNORE…` a workflow that is not set up, `D524X…` Cloudflare's 524 page, `DPRIV…` a private reel, `DSAFE…` blocked; anything else an analysis.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::scripts::{script_of, varied};
use super::{Asked, Control, Served};

/// What this stand-in is like.
#[derive(Clone, Debug)]
pub struct Settings {
    /// 0: any free port.
    pub port: u16,
    /// The header credential of the Webhook node, header `X-Reel-Secret`.
    pub secret: String,
    /// How long the workflow takes, and by which part of it this differs from reel to reel.
    pub duration: Duration,
    pub spread: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { port: 0, secret: "n8n-sandbox-secret".into(), duration: Duration::from_millis(50), spread: 0.0 }
    }
}

/// One run of a workflow.
#[derive(Clone, Debug)]
pub struct WorkflowRun {
    /// The last part of the webhook's path.
    pub webhook: String,
    /// The caller's name for it.
    pub job: String,
    pub code: String,
    /// It goes on to its end, also when nobody waits for it any more.
    pub at: Instant,
    pub takes: Duration,
}

/// The running stand-in.
#[derive(Debug)]
pub struct N8nSandbox {
    pub served: Served,
    pub control: Control,
    house: Arc<House>,
}

#[derive(Debug)]
struct House {
    settings: Settings,
    control: Control,
    runs: Mutex<Vec<WorkflowRun>>,
}

impl House {
    fn runs(&self) -> MutexGuard<'_, Vec<WorkflowRun>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl N8nSandbox {
    pub async fn start(settings: Settings) -> std::io::Result<Self> {
        let control = Control::default();
        let port = settings.port;
        let house = Arc::new(House { settings, control: control.clone(), runs: Mutex::default() });
        let served = Served::start(port, Router::new().fallback(serve).with_state(house.clone())).await?;
        Ok(Self { served, control, house })
    }

    /// Every run of a workflow so far, in order.
    pub fn runs(&self) -> Vec<WorkflowRun> {
        self.house.runs().clone()
    }

    /// The address of the workflow's production webhook.
    pub fn webhook_url(&self) -> String {
        format!("{}/webhook/reel", self.served.url())
    }
}

async fn serve(State(house): State<Arc<House>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    // N8N_PAYLOAD_SIZE_MAX
    let Ok(body) = to_bytes(body, 16 << 20).await else { return StatusCode::PAYLOAD_TOO_LARGE.into_response() };
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let asked = Asked { method: head.method.to_string(), path: head.uri.path().to_owned(), body: body.clone() };
    house.control.answer(asked, route(&house, &head.method, head.uri.path(), &head.headers, &body)).await
}

async fn route(house: &House, method: &Method, path: &str, headers: &HeaderMap, body: &Value) -> Response {
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    match segments[..] {
        ["healthz"] => axum::Json(json!({"status": "ok"})).into_response(),
        ["webhook", name] if name == "reel" || name.starts_with("reel-") => {
            if method != Method::POST {
                let message = format!(
                    "This webhook is not registered for {method} requests. Did you mean to make a POST request?"
                );
                return json_answer(404, json!({"code": 404, "message": message}));
            }
            if headers.get("x-reel-secret").is_none_or(|secret| secret.as_bytes() != house.settings.secret.as_bytes()) {
                let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"Webhook\"")];
                return (StatusCode::FORBIDDEN, challenge, "Authorization data is wrong!").into_response();
            }
            workflow(house, name, body).await
        }
        ["webhook", name] => unregistered(
            method,
            name,
            "The workflow must be active for a production URL to run successfully. You can activate the workflow using \
             the toggle in the top-right of the editor. Note that unlike test URL calls, production URL calls aren't \
             shown on the canvas (only in the executions list)",
        ),
        ["webhook-test", name] => unregistered(
            method,
            name,
            "Click the 'Execute workflow' button on the canvas, then try again. (In test mode, the webhook only works \
             for one call after you click this button)",
        ),
        _ => (StatusCode::NOT_FOUND, format!("Cannot {method} {path}")).into_response(),
    }
}

fn unregistered(method: &Method, name: &str, hint: &str) -> Response {
    let message = format!("The requested webhook \"{method} {name}\" is not registered.");
    json_answer(404, json!({"code": 404, "message": message, "hint": hint}))
}

async fn workflow(house: &House, webhook: &str, body: &Value) -> Response {
    let (Some(job), Some(code), Some(_)) = (body["job_id"].as_str(), body["shortcode"].as_str(), body["url"].as_str())
    else {
        return json_answer(500, json!({"message": "Error in workflow"}));
    };
    if code.starts_with("DNORE") {
        return json_answer(500, json!({"code": 0, "message": "No Respond to Webhook node found in the workflow"}));
    }
    let (at, takes) = (Instant::now(), varied(house.settings.duration, house.settings.spread, code));
    let (webhook, job_id) = (webhook.to_owned(), job.to_owned());
    house.runs().push(WorkflowRun { webhook, job: job_id, code: code.to_owned(), at, takes });
    if code.starts_with("DSTAR") {
        return json_answer(200, json!({"message": "Workflow was started"}));
    }
    tokio::time::sleep(takes).await;
    let script = script_of(code);
    let refused = |kind: &str, message: &str| {
        json_answer(200, json!({"job_id": job, "ok": false, "error": {"kind": kind, "message": message}}))
    };
    match code.get(..5) {
        Some("DNODA") => {
            json_answer(200, json!({"message": "Workflow executed successfully but no data was returned"}))
        }
        Some("DEMP2") => StatusCode::OK.into_response(),
        Some("DERR1") if house.runs().iter().filter(|run| run.code == code).count() == 1 => {
            json_answer(500, json!({"message": "Error in workflow"}))
        }
        Some("DERR5") => json_answer(500, json!({"message": "Error in workflow"})),
        Some("D524X") => {
            let page = "<!DOCTYPE html><title>example.app.n8n.cloud | 524: A timeout occurred</title>";
            (StatusCode::from_u16(524).unwrap_or_default(), [(header::CONTENT_TYPE, "text/html")], page).into_response()
        }
        Some("DPRIV") => refused("private", "Empty or private data"),
        Some("DSAFE") => refused("blocked", "The video was blocked"),
        _ => {
            let spoken: String = script.spoken.iter().map(|(at, words)| format!("0:{at:02} {words}\n")).collect();
            let analysis = format!("Hook: {}\n\nTranscript:\n{spoken}\n{}", script.hook, script.summary);
            json_answer(
                200,
                json!({"job_id": job, "ok": true, "caption": script.caption, "owner": script.owner, "analysis": analysis}),
            )
        }
    }
}

fn json_answer(status: u16, body: Value) -> Response {
    (StatusCode::from_u16(status).unwrap_or_default(), axum::Json(body)).into_response()
}
