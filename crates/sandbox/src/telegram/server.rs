//! The HTTP side of the stand-in: addresses, bodies, answers, and the faults it is told to make. Owns no
//! rule of any method.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Multipart, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::methods::{METHODS, carry_out};
use super::params::{Params, Refusal};
use super::world::World;
use crate::{Asked, Fault};

/// The largest upload (Bot API: 50 MB).
const UPLOAD: usize = 50 * 1024 * 1024;

pub(super) fn router(world: Arc<World>) -> axum::Router {
    axum::Router::new().fallback(answer).layer(axum::extract::DefaultBodyLimit::max(UPLOAD)).with_state(world)
}

async fn answer(State(world): State<Arc<World>>, request: Request) -> Response {
    let verb = request.method().to_string();
    let path = request.uri().path().trim_start_matches('/').to_owned();
    let (token, method) = match path.strip_prefix("bot").and_then(|path| path.split_once('/')) {
        Some((token, method)) => (Some(token.to_owned()), method.to_owned()),
        None => (None, path),
    };
    // Names of methods are not case-sensitive; in the log of what was asked they stand as documented.
    let known = METHODS.into_iter().find(|name| name.eq_ignore_ascii_case(&method));
    let name = known.unwrap_or(&method).to_owned();
    let params = read(request).await;
    let body = params.as_ref().map_or(Value::Null, loggable);
    let head = if token.is_some() { "/bot***/" } else { "/" };
    let fault = world.control.ask(Asked { method: verb, path: format!("{head}{name}"), body });

    let carried_out = async {
        match &token {
            None => Err(Refusal::new(404, "Not Found")),
            Some(token) if !token.contains(':') => Err(Refusal::new(401, "Unauthorized: invalid token specified")),
            Some(token) if *token != world.token => Err(Refusal::new(401, "Unauthorized")),
            Some(_) => carry_out(&world, &name, params?).await,
        }
    };
    match fault {
        None => response(carried_out.await),
        Some(Fault::Slow(delay)) => {
            tokio::time::sleep(delay).await;
            response(carried_out.await)
        }
        Some(Fault::Answer { status, headers, body }) => told(status, &headers, body),
        Some(Fault::Drop) => broken(&[], 1),
        Some(Fault::DropAfter) => {
            let _ = carried_out.await;
            broken(&[], 1)
        }
        Some(Fault::Cut) => {
            let whole = document(&carried_out.await);
            broken(&whole.as_bytes()[..whole.len() / 2], whole.len())
        }
    }
}

async fn read(request: Request) -> Result<Params, Refusal> {
    let wrong = |_| Refusal::new(400, "Bad Request: can't parse the request body");
    let mut params = Params::default();
    let pairs = |text: &[u8]| -> Map<String, Value> {
        url::form_urlencoded::parse(text).map(|(name, value)| (name.into_owned(), json!(value))).collect()
    };
    params.fields = pairs(request.uri().query().unwrap_or_default().as_bytes());
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.starts_with("multipart/form-data") {
        let mut parts = Multipart::from_request(request, &()).await.map_err(|_| wrong(()))?;
        while let Some(part) = parts.next_field().await.map_err(|_| wrong(()))? {
            let field = part.name().unwrap_or_default().to_owned();
            match part.file_name().map(str::to_owned) {
                Some(name) => {
                    let content = part.bytes().await.map_err(|_| wrong(()))?;
                    params.files.push((field, name, content.to_vec()));
                }
                None => {
                    let text = part.text().await.map_err(|_| wrong(()))?;
                    params.fields.insert(field, Value::String(text));
                }
            }
        }
        return Ok(params);
    }
    let is_json = kind.starts_with("application/json");
    let body = Bytes::from_request(request, &()).await.map_err(|_| wrong(()))?;
    if is_json && !body.is_empty() {
        let fields: Map<String, Value> = serde_json::from_slice(&body).map_err(|_| wrong(()))?;
        params.fields.extend(fields);
    } else {
        params.fields.extend(pairs(&body));
    }
    Ok(params)
}

/// The parameters for the log of what was asked; of a file only its name and size.
fn loggable(params: &Params) -> Value {
    let mut shown = params.fields.clone();
    if shown.contains_key("secret_token") {
        shown.insert("secret_token".to_owned(), json!("***"));
    }
    let files: Vec<Value> =
        params.files.iter().map(|(_, name, content)| json!({"file_name": name, "size": content.len()})).collect();
    if !files.is_empty() {
        shown.insert("files".to_owned(), Value::Array(files));
    }
    Value::Object(shown)
}

fn document(result: &Result<Value, Refusal>) -> String {
    match result {
        Ok(result) => json!({"ok": true, "result": result}).to_string(),
        Err(refusal) => {
            let mut answer = json!({"ok": false, "error_code": refusal.code, "description": refusal.description});
            if let Some(parameters) = &refusal.parameters {
                answer["parameters"] = parameters.clone();
            }
            answer.to_string()
        }
    }
}

fn response(result: Result<Value, Refusal>) -> Response {
    let status = result.as_ref().err().map_or(200, |refusal| refusal.code);
    told(status, &[("content-type".to_owned(), "application/json".to_owned())], document(&result))
}

fn told(status: u16, headers: &[(String, String)], body: String) -> Response {
    let mut response = body.into_response();
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (name.parse::<header::HeaderName>(), HeaderValue::from_str(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// An answer that breaks off after `sent`, short of the length it promised.
fn broken(sent: &[u8], length: usize) -> Response {
    let parts = vec![Ok(Bytes::copy_from_slice(sent)), Err(std::io::Error::other("broken off on purpose"))];
    let mut response = Response::new(Body::from_stream(futures::stream::iter(parts)));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}
