//! A path to PostgreSQL that can be taken away: with an error, or in silence.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
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
    /// Ends with it.
    _running: JoinSet<()>,
}

impl Proxy {
    /// A path to the server of a postgres:// address.
    ///
    /// # Errors
    /// When that is no address, or no port is free.
    pub async fn to(url: &str) -> io::Result<Proxy> {
        let url = Url::parse(url).map_err(io::Error::other)?;
        let host = url.host_str().ok_or_else(|| io::Error::other("the address names no host"))?;
        let server = (host.trim_matches(['[', ']']).to_owned(), url.port().unwrap_or(5432));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (path, seen) = watch::channel(Path::Open);
        let carrying = watch::Sender::new(0);
        let mut running = JoinSet::new();
        running.spawn(run(listener, address, server, seen, carrying.clone()));
        Ok(Proxy { address, path, carrying, _running: running })
    }

    /// The address of the same database by this path.
    pub fn url(&self, url: &str) -> String {
        let Ok(mut by) = Url::parse(url) else { return url.to_owned() };
        // What has a host takes another one.
        let _ = by.set_host(Some("127.0.0.1"));
        let _ = by.set_port(Some(self.address.port()));
        by.into()
    }

    /// Once it returns, the path is so for everybody.
    pub async fn set(&self, path: Path) {
        self.path.send_replace(path);
        if path != Path::Open {
            // It fails only without a sender, and this is one.
            let _ = self.carrying.subscribe().wait_for(|carrying| *carrying == 0).await;
        }
    }
}

async fn run(
    listener: TcpListener,
    address: SocketAddr,
    server: (String, u16),
    path: watch::Receiver<Path>,
    carrying: watch::Sender<usize>,
) {
    let mut connections = JoinSet::new();
    let mut seen = path.clone();
    let mut listener = Some(listener);
    loop {
        let now = *seen.borrow_and_update();
        let open = match listener.take() {
            Some(open) if now != Path::Cut => open,
            closed => {
                drop(closed);
                // The port stays ours: bound, but nobody listens, so who comes is refused.
                let reserved = bound(address);
                if seen.wait_for(|path| *path != Path::Cut).await.is_err() {
                    return;
                }
                drop(reserved);
                listener = bound(address).and_then(|socket| socket.listen(64)).ok();
                continue;
            }
        };
        tokio::select! {
            accepted = open.accept() => {
                if let Ok((client, _)) = accepted {
                    connections.spawn(carry(client, server.clone(), path.clone(), carrying.clone()));
                }
            }
            changed = seen.changed() => if changed.is_err() { return },
        }
        listener = Some(open);
    }
}

fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
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
            if let Ok(connection) = TcpStream::connect((host, port)).await {
                // Either side may end it as it likes.
                let _ = tokio::io::copy_bidirectional(&mut client, server.insert(connection)).await;
            }
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
    // Closed with a reset, as a server that is gone does.
    let _ = client.set_zero_linger();
}
