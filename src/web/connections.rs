//! Accepts connections and speaks HTTP/1.1 on them, within bounds: so many in all, so many of one address, so long for a
//! header. Descriptors stay free for the platforms, the database and the paid services, whoever connects. Owns no route.
//!
//! Where there is no room, whoever has waited longest for a request gives way: a client that works sends its header within
//! milliseconds, and one that holds connections open loses the oldest of them first.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::telemetry::system;

/// Longest wait for a whole header, that of the next request among them.
const HEADER_WITHIN: Duration = Duration::from_secs(10);

/// Longest header, in bytes.
const LONGEST_HEADER: usize = 64 << 10;

/// Longest life of a connection, and how long its last request may take then. A stream of the dashboard ends sooner; whoever
/// reads too slowly must not keep a place for ever.
const LONGEST_LIFE: Duration = Duration::from_secs(330);
const LAST_REQUEST_WITHIN: Duration = Duration::from_secs(30);

/// The part of the process's descriptors that connections may take, and bounds for it.
const PART_OF_DESCRIPTORS: usize = 4;
const FEWEST: usize = 16;
const MOST: usize = 1024;

/// The system has no descriptor left: accepting rests until others are freed.
const REST: Duration = Duration::from_millis(100);

/// Between two lines in the log about connections that were closed.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// The address that a client connected to, of this machine; in each request's extensions.
#[derive(Clone, Copy, Debug)]
pub struct LocalAddress(pub SocketAddr);

/// How many connections may be open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    pub all: usize,
    /// Of one address on the internet.
    pub of_one: usize,
    /// Of all addresses on the internet together: the rest is kept for reverse proxies, monitoring and health checks.
    pub of_internet: usize,
    /// Of one address of this machine or a private network, where reverse proxies are.
    pub of_proxy: usize,
}

impl ConnectionLimits {
    /// What this process can afford.
    pub fn of_process() -> ConnectionLimits {
        ConnectionLimits::within(system::open_files_limit().unwrap_or(1024))
    }

    fn within(descriptors: u64) -> ConnectionLimits {
        let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
        let all = (descriptors / PART_OF_DESCRIPTORS).clamp(FEWEST, MOST);
        ConnectionLimits { all, of_one: all / 8, of_internet: all - all / 8, of_proxy: all - all / 8 }
    }

    fn of(&self, address: IpAddr) -> usize {
        if is_private(address) { self.of_proxy } else { self.of_one }
    }
}

/// Serves until `stop`, then lets running requests end.
pub async fn serve(listener: TcpListener, app: Router, limits: ConnectionLimits, stop: CancellationToken) {
    let open = Arc::new(OpenConnections::new(limits));
    // Of this function alone: it returns once all have ended, and dropping it ends them.
    let mut running = JoinSet::new();
    let mut log = tokio::time::interval(LOG_EVERY);
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = running.join_next() => continue,
            _ = log.tick() => {
                open.log();
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                if let Some(place) = open.admit(peer.ip()) {
                    running.spawn(connection(stream, peer, place, app.clone(), stop.clone()));
                }
            }
            // The client has gone meanwhile.
            Err(error) if is_of_client(&error) => {}
            Err(error) => {
                open.not_accepted(error);
                open.close_waiting();
                tokio::time::sleep(REST).await;
            }
        }
    }
    drop(listener);
    open.close_waiting();
    while running.join_next().await.is_some() {}
}

fn is_of_client(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// One connection, until it ends or must.
async fn connection(stream: TcpStream, peer: SocketAddr, place: Place, app: Router, stop: CancellationToken) {
    let Ok(local) = stream.local_addr() else { return };
    // An event of the dashboard is small and for now; without this it waits for more. A socket that refuses it still works.
    let _ = stream.set_nodelay(true);
    let place = Arc::new(place);
    let serving = place.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let busy = serving.begin();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(LocalAddress(local));
        let app = app.clone();
        async move {
            let Ok(response) = app.oneshot(request).await;
            Ok::<_, Infallible>(response.map(|body| HeldBody { body, _busy: busy }))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_WITHIN)
        .max_buf_size(LONGEST_HEADER)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // What goes wrong here is the client's doing: a cut, a time-out, no HTTP.
        _ = connection.as_mut() => return,
        () = place.entry.close.cancelled() => return,
        () = stop.cancelled() => {}
        () = tokio::time::sleep(LONGEST_LIFE) => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        _ = connection => {}
        () = place.entry.close.cancelled() => {}
        () = tokio::time::sleep(LAST_REQUEST_WITHIN) => {}
    }
}

/// The connections that are open.
struct OpenConnections {
    limits: ConnectionLimits,
    state: Mutex<OpenState>,
}

#[derive(Default)]
struct OpenState {
    entries: HashMap<u64, Arc<Entry>>,
    /// Of entries and waits: later ones are larger.
    next: u64,
    /// Since the last line in the log: closed for others, and turned away at once.
    closed: u64,
    refused: u64,
    /// The first of those that the system did not let in.
    problem: Option<std::io::Error>,
}

struct Entry {
    network: IpAddr,
    is_private: bool,
    close: CancellationToken,
    /// Requests under way, the writing of their answers among it, and since when there is none.
    wait: Mutex<Wait>,
}

#[derive(Clone, Copy)]
struct Wait {
    requests: usize,
    since: u64,
}

impl OpenConnections {
    fn new(limits: ConnectionLimits) -> OpenConnections {
        OpenConnections { limits, state: Mutex::default() }
    }

    /// A place for a connection from this address, if need be that of another which only waits.
    fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let (network, is_private) = (network(address), is_private(address));
        let mut state = self.lock();
        let count = |among: &dyn Fn(&Entry) -> bool| state.entries.values().filter(|entry| among(entry)).count();
        let own = count(&|entry| entry.network == network);
        let of_internet = count(&|entry| !entry.is_private);
        let is_admitted = if own >= self.limits.of(address) {
            state.close_longest_waiting(|entry| entry.network == network)
        } else if !is_private && of_internet >= self.limits.of_internet {
            state.close_longest_waiting(|entry| !entry.is_private)
        } else if state.entries.len() >= self.limits.all {
            state.close_longest_waiting(|_| true)
        } else {
            true
        };
        if !is_admitted {
            state.refused += 1;
            return None;
        }
        let id = state.number();
        let wait = Mutex::new(Wait { requests: 0, since: id });
        let entry = Arc::new(Entry { network, is_private, close: CancellationToken::new(), wait });
        state.entries.insert(id, entry.clone());
        Some(Place { open: self.clone(), id, entry })
    }

    fn close_waiting(&self) {
        let mut state = self.lock();
        while state.close_longest_waiting(|_| true) {}
    }

    fn not_accepted(&self, problem: std::io::Error) {
        let mut state = self.lock();
        state.refused += 1;
        state.problem.get_or_insert(problem);
    }

    fn log(&self) {
        let mut state = self.lock();
        if let Some(problem) = state.problem.take() {
            tracing::error!("HTTP connections could not be accepted: {problem}");
        }
        let (closed, refused) = (std::mem::take(&mut state.closed), std::mem::take(&mut state.refused));
        let open = state.entries.len();
        drop(state);
        if closed > 0 || refused > 0 {
            tracing::warn!(open, closed, refused, "HTTP connections were closed because there were too many");
        }
    }

    fn lock(&self) -> MutexGuard<'_, OpenState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenState {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Closes the one that has waited longest for a request; `false` if all are at work.
    fn close_longest_waiting(&mut self, among: impl Fn(&Entry) -> bool) -> bool {
        let waiting = self.entries.iter().filter(|(_, entry)| among(entry)).filter_map(|(id, entry)| {
            let wait = entry.wait();
            (wait.requests == 0).then_some((wait.since, *id))
        });
        let Some((_, id)) = waiting.min() else { return false };
        if let Some(entry) = self.entries.remove(&id) {
            entry.close.cancel();
            self.closed += 1;
        }
        true
    }
}

impl Entry {
    fn wait(&self) -> Wait {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Wait> {
        self.wait.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one connection; free again when it is dropped.
struct Place {
    open: Arc<OpenConnections>,
    id: u64,
    entry: Arc<Entry>,
}

impl Place {
    /// A request has begun; it ends when what is returned is dropped.
    fn begin(self: &Arc<Self>) -> Busy {
        self.entry.lock().requests += 1;
        Busy(self.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.lock().entries.remove(&self.id);
    }
}

/// A request under way.
struct Busy(Arc<Place>);

impl Drop for Busy {
    fn drop(&mut self) {
        let since = self.0.open.lock().number();
        let mut wait = self.0.entry.lock();
        wait.requests -= 1;
        wait.since = since;
    }
}

/// The body of an answer: its connection is at work until it is written.
struct HeldBody {
    body: Body,
    _busy: Busy,
}

impl HttpBody for HeldBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What one client has many of counts as one.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

/// Of this machine, or of a network that the internet does not lead to (RFC 1918, 4193, 6598).
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let is_shared = Ipv4Addr::new(v4.octets()[0], v4.octets()[1] & 0xc0, 0, 0) == Ipv4Addr::new(100, 64, 0, 0);
            v4.is_loopback() || v4.is_private() || v4.is_link_local() || is_shared
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn open(all: usize, of_one: usize, of_internet: usize, of_proxy: usize) -> Arc<OpenConnections> {
        Arc::new(OpenConnections::new(ConnectionLimits { all, of_one, of_internet, of_proxy }))
    }

    #[test]
    fn who_has_waited_longest_gives_way() {
        let open = open(3, 2, 2, 3);
        let [a, b, c] = ["10.0.0.1", "192.0.2.1", "192.0.2.2"].map(|text| open.admit(address(text)).unwrap());
        let (a, b) = (Arc::new(a), Arc::new(b));
        let at_work = b.begin();
        drop(a.begin());
        let d = open.admit(address("192.0.2.3")).expect("a place");
        assert!(c.entry.close.is_cancelled() && !a.entry.close.is_cancelled(), "a was at work since c came");
        drop(c);
        let e = open.admit(address("10.0.0.2")).expect("a place");
        assert!(a.entry.close.is_cancelled() && !b.entry.close.is_cancelled());
        let (d, e) = (Arc::new(d), Arc::new(e));
        let all_at_work = [d.begin(), e.begin()];
        assert!(open.admit(address("127.0.0.1")).is_none(), "nobody waits");
        drop((all_at_work, at_work));
        assert!(open.admit(address("127.0.0.1")).is_some());
    }

    #[test]
    fn one_address_takes_its_share_alone() {
        let open = open(64, 8, 56, 56);
        let many: Vec<Place> = (0..100).filter_map(|_| open.admit(address("192.0.2.1"))).collect();
        let waiting = |many: &[Place]| many.iter().filter(|place| !place.entry.close.is_cancelled()).count();
        assert_eq!((many.len(), waiting(&many)), (100, 8), "each new one takes the place of its own oldest");
        let busy: Vec<_> = many.into_iter().filter(|place| !place.entry.close.is_cancelled()).map(Arc::new).collect();
        let _at_work: Vec<Busy> = busy.iter().map(Place::begin).collect();
        assert!(open.admit(address("192.0.2.1")).is_none());
        let other = open.admit(address("192.0.2.2")).unwrap();
        let proxy: Vec<Place> = (0..56).filter_map(|_| open.admit(address("172.18.0.1"))).collect();
        assert_eq!(waiting(&proxy), 56);
        assert!(other.entry.close.is_cancelled(), "in all there are too many: who waited longest gave way");
    }

    #[test]
    fn the_internet_leaves_places_to_this_machine_and_its_proxies() {
        let open = Arc::new(OpenConnections::new(ConnectionLimits::within(256)));
        let mut idle: Vec<Place> = (1..=7).filter_map(|at| open.admit(IpAddr::from([10, 0, 0, at]))).collect();
        idle.extend(open.admit(address("::1")));
        let flood: Vec<Arc<Place>> = (0..4000_u16)
            .filter_map(|at| open.admit(IpAddr::from([192, 0, 2, at.to_be_bytes()[1]])))
            .map(Arc::new)
            .collect();
        assert!(idle.iter().all(|place| !place.entry.close.is_cancelled()), "the flood closes its own connections");
        let kept = flood.iter().filter(|place| !place.entry.close.is_cancelled());
        let at_work: Vec<Busy> = kept.map(Place::begin).collect();
        assert_eq!(at_work.len(), 56);
        assert!(open.admit(address("198.51.100.1")).is_none(), "all places of the internet are at work");
        drop(idle);
        let own: Vec<Place> =
            ["127.0.0.1", "::1", "10.0.0.1", "172.18.0.1", "192.168.0.7", "fd12::1", "100.64.0.7", "127.0.0.1"]
                .into_iter()
                .filter_map(|text| open.admit(address(text)))
                .collect();
        assert!(own.len() == 8 && own.iter().all(|place| !place.entry.close.is_cancelled()));
    }

    /// At the end nobody waits for a header that may never come.
    #[tokio::test]
    async fn the_end_does_not_wait_for_headers() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let limits = ConnectionLimits::within(256);
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, Router::new(), limits, stop.clone()));
        let mut held = Vec::new();
        for sent in ["", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nhost: x\r\n\r\n"] {
            let mut stream = TcpStream::connect(at).await.unwrap();
            stream.write_all(sent.as_bytes()).await.unwrap();
            held.push(stream);
        }
        // The last one is answered, so all are accepted.
        assert!(held[2].read(&mut [0; 16]).await.unwrap() > 0);
        stop.cancel();
        tokio::time::timeout(HEADER_WITHIN / 2, serving.join_next()).await.expect("it ends").unwrap().unwrap();
    }

    #[test]
    fn limits_follow_the_descriptors() {
        let of = |descriptors| ConnectionLimits::within(descriptors).all;
        assert_eq!([0, 64, 256, 1024, 65_536, u64::MAX].map(of), [16, 16, 64, 256, 1024, 1024]);
        let limits = ConnectionLimits::within(1024);
        for (text, limit) in [
            ("8.8.8.8", 32),
            ("2001:db8::1", 32),
            ("100.128.0.1", 32),
            ("127.0.0.1", 224),
            ("::1", 224),
            ("::ffff:10.1.2.3", 224),
            ("100.64.0.7", 224),
            ("172.31.0.1", 224),
            ("fd12::1", 224),
        ] {
            assert_eq!(limits.of(address(text)), limit, "{text}");
        }
    }
}
