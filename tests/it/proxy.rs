//! A path to PostgreSQL that a test can take away: with an error, or in silence.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use url::Url;

/// What the path does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    Open,
    /// What stands is reset, what comes is refused: the server is down.
    Cut,
    /// Nothing passes any more, and nobody is told: a network that swallows packets. What was there when it began, or
    /// came meanwhile, stays dead for good.
    Silent,
}

/// A TCP proxy on loopback; gone when dropped.
pub struct Proxy {
    address: SocketAddr,
    path: watch::Sender<Path>,
    /// Connections over which bytes pass.
    carrying: watch::Sender<usize>,
    running: JoinHandle<()>,
}

impl Proxy {
    /// A path to the server of a postgres:// address.
    pub async fn to(url: &str) -> Proxy {
        let url = Url::parse(url).unwrap();
        let server = (url.host_str().unwrap().to_owned(), url.port().unwrap_or(5432));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (path, seen) = watch::channel(Path::Open);
        let carrying = watch::Sender::new(0);
        let running = tokio::spawn(run(listener, server, seen, carrying.clone()));
        Proxy { address, path, carrying, running }
    }

    /// The address of the same database by this path.
    pub fn url(&self, url: &str) -> String {
        let mut url = Url::parse(url).unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(self.address.port())).unwrap();
        url.into()
    }

    /// Once it returns, the path is so for everybody.
    pub async fn set(&self, path: Path) {
        self.path.send_replace(path);
        if path != Path::Open {
            self.carrying.subscribe().wait_for(|carrying| *carrying == 0).await.unwrap();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.running.abort();
    }
}

async fn run(
    mut listener: TcpListener,
    server: (String, u16),
    path: watch::Receiver<Path>,
    carrying: watch::Sender<usize>,
) {
    let mut connections = tokio::task::JoinSet::new();
    let address = listener.local_addr().unwrap();
    let mut seen = path.clone();
    loop {
        let now = *seen.borrow_and_update();
        if now == Path::Cut {
            drop(listener);
            // The port stays ours: bound, but nobody listens, so who comes is refused.
            let _reserved = bound(address);
            seen.wait_for(|path| *path != Path::Cut).await.unwrap();
            listener = bound(address).listen(64).unwrap();
            continue;
        }
        tokio::select! {
            accepted = listener.accept() => {
                let (client, _) = accepted.unwrap();
                connections.spawn(carry(client, server.clone(), path.clone(), carrying.clone()));
            }
            changed = seen.changed() => changed.unwrap(),
        }
    }
}

fn bound(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

async fn carry(
    mut client: TcpStream,
    (host, port): (String, u16),
    mut path: watch::Receiver<Path>,
    carrying: watch::Sender<usize>,
) {
    let mut server = None;
    // Counted before the look, so that whoever takes the path away waits for this one, too.
    carrying.send_modify(|carrying| *carrying += 1);
    let is_open = *path.borrow() == Path::Open;
    let ended = tokio::select! {
        biased;
        _ = path.wait_for(|path| *path != Path::Open) => false,
        () = async {
            let server = server.insert(TcpStream::connect((host, port)).await.unwrap());
            // Either side may end it as it likes.
            let _ = tokio::io::copy_bidirectional(&mut client, server).await;
        }, if is_open => true,
    };
    carrying.send_modify(|carrying| *carrying -= 1);
    if ended {
        return;
    }
    if *path.borrow() == Path::Silent {
        // The server does not hear either that its client is gone.
        std::future::pending::<()>().await;
    }
    client.set_zero_linger().unwrap();
}
