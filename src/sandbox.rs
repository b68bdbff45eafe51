//! Loopback stand-ins that speak the real wire protocols, as strict as the real services. Owns what all
//! of them share: being served, the log of what they were asked, the faults they are told to make.
//! The product never knows that it talks to one; only URLs differ.

pub mod apify;
pub mod discord;
pub mod gemini;
pub mod n8n;
pub mod openai;
pub mod telegram;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// What one request was.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    /// Path without host; secrets in it are replaced by `***`.
    pub path: String,
    /// The JSON body, or null.
    pub body: Value,
}

/// A fault for the next request that matches.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This answer instead of the real one.
    Answer { status: u16, headers: Vec<(String, String)>, body: String },
    /// No answer for so long, then the real one.
    Slow(Duration),
    /// The connection is closed without an answer; the request was NOT carried out.
    Drop,
    /// The request is carried out, but the connection is closed without an answer.
    DropAfter,
    /// The answer breaks off in the middle.
    Cut,
}

/// What a stand-in is told from outside and what it tells: shared by the server and its owner.
#[derive(Clone, Debug, Default)]
pub struct Control(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    asked: Vec<Asked>,
    /// A fault, and the part of the path it waits for.
    faults: VecDeque<(String, Fault)>,
}

impl Control {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The next request whose path contains `path` meets `fault`. Faults queue up.
    pub fn fault(&self, path: &str, fault: Fault) {
        self.lock().faults.push_back((path.to_owned(), fault));
    }

    /// For the server: notes a request and takes the fault that waits for it, if any.
    pub fn ask(&self, asked: Asked) -> Option<Fault> {
        let mut state = self.lock();
        let at = state.faults.iter().position(|(path, _)| asked.path.contains(path.as_str()));
        let fault = at.and_then(|at| state.faults.remove(at)).map(|(_, fault)| fault);
        state.asked.push(asked);
        drop(state);
        self.0.changed.notify_waiters();
        fault
    }

    /// Everything asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.lock().asked.clone()
    }

    /// How many requests had this in their path.
    pub fn count(&self, path: &str) -> usize {
        self.lock().asked.iter().filter(|a| a.path.contains(path)).count()
    }

    /// Waits until `seen` holds of what was asked. For tests: it has no timeout of its own.
    pub async fn until(&self, seen: impl Fn(&[Asked]) -> bool) {
        loop {
            let changed = self.0.changed.notified();
            if seen(&self.lock().asked) {
                return;
            }
            changed.await;
        }
    }

    /// Tells those who wait in [`Control::until`] to look again.
    pub fn touch(&self) {
        self.0.changed.notify_waiters();
    }
}

/// One running stand-in: where it listens, and its end when dropped.
#[derive(Debug)]
pub struct Served {
    pub addr: SocketAddr,
    stop: CancellationToken,
}

impl Served {
    /// `http://127.0.0.1:port`, without a trailing slash.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Serves `router` on `127.0.0.1:port` (0: any free port).
    ///
    /// # Errors
    /// When the port is taken.
    #[expect(clippy::disallowed_methods, reason = "a stand-in lives apart from the app, as the real service does")]
    pub async fn start(port: u16, router: axum::Router) -> std::io::Result<Served> {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
        let addr = listener.local_addr()?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                served = async { axum::serve(listener, router).await } => {
                    if let Err(error) = served {
                        tracing::error!(%error, "a sandbox server ended");
                    }
                }
                () = stopped.cancelled() => {}
            }
        });
        Ok(Served { addr, stop })
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
