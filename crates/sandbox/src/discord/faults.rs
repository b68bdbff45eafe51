//! What a fault does to one answer. Owns nothing else.

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::Response;
use futures::stream;

use crate::Fault;

/// Carries `request` out, with or without the fault that waits for it.
pub(super) async fn meet(fault: Option<Fault>, request: impl AsyncFnOnce() -> Response) -> Response {
    match fault {
        None => request().await,
        Some(Fault::Answer { status, headers, body }) => {
            let mut response = Response::new(Body::from(body));
            *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
            for (name, value) in headers {
                if let (Ok(name), Ok(value)) = (name.parse::<header::HeaderName>(), value.parse()) {
                    response.headers_mut().insert(name, value);
                }
            }
            response
        }
        Some(Fault::Slow(pause)) => {
            tokio::time::sleep(pause).await;
            request().await
        }
        Some(Fault::Drop) => hang_up(),
        Some(Fault::DropAfter) => {
            request().await;
            hang_up()
        }
        Some(Fault::Cut) => cut(request().await).await,
    }
}

/// Closes the connection without a word: the only way there is to end it from within a handler is to end
/// the task that serves it. The panic hook is not called.
fn hang_up() -> ! {
    std::panic::resume_unwind(Box::new("the connection is closed on purpose"))
}

async fn cut(response: Response) -> Response {
    let (parts, body) = response.into_parts();
    let whole = axum::body::to_bytes(body, 25 << 20).await.unwrap_or_default();
    let half = whole.slice(..whole.len() / 2);
    let broken = std::io::Error::other("cut on purpose");
    let body = Body::from_stream(stream::iter([Ok::<Bytes, std::io::Error>(half), Err(broken)]));
    let mut response = Response::from_parts(parts, body);
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response
}
