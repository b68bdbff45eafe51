//! When the last byte of an answer arrived. async-openai passes neither keep-alive events nor the comments of an event
//! stream on, and a model that thinks for minutes sends nothing else: so the bytes are watched below it. Reads none of
//! them.

use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use tokio::time::Instant;

/// The time of the latest byte. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct LastByte(Arc<Mutex<Option<Instant>>>);

impl LastByte {
    /// `None`: nothing has arrived.
    pub(super) fn at(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same answer, whose bytes are noted as they are read.
    pub(super) fn watch(&self, response: reqwest::Response) -> reqwest::Response {
        let mut head = http::Response::new(());
        *head.status_mut() = response.status();
        head.headers_mut().clone_from(response.headers());
        let last = self.clone();
        let body = response.bytes_stream().inspect(move |_| last.note());
        head.map(|()| reqwest::Body::wrap_stream(body)).into()
    }

    fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}
