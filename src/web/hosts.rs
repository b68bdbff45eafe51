//! Which names the dashboard and `/metrics` answer to. A page of another site can make a browser ask this machine under a
//! name of its own (DNS rebinding); the name then stands in the request, and nothing is told. Owns the list of names.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use url::Url;

use super::connections::LocalAddress;

/// What is said to everybody else.
const REFUSED: &str = "This bot does not go by that name. Add its address to PUBLIC_URL and restart.\n";

/// The names that are answered to, beside those of this machine and the address that was connected to.
#[derive(Clone, Debug)]
pub struct KnownHosts(Arc<[String]>);

impl KnownHosts {
    pub fn new(public: &[Url]) -> KnownHosts {
        KnownHosts(public.iter().filter_map(|url| url.host_str().map(plain)).collect())
    }

    /// Whether a request for this host may be answered on a connection to `local`. The port is the client's business: a
    /// forwarded one is another than ours.
    fn knows(&self, authority: &str, local: Option<IpAddr>) -> bool {
        let Ok(authority) = authority.parse::<Authority>() else { return false };
        let host = plain(authority.host());
        if self.0.contains(&host) {
            return true;
        }
        match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(address) => {
                let address = address.to_canonical();
                address.is_loopback() || Some(address) == local.map(|local| local.to_canonical())
            }
            Err(_) => host == "localhost" || host.ends_with(".localhost"),
        }
    }
}

/// As it is compared: names have no case, and may end in the dot of the root.
fn plain(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// Answers only requests for a known host.
pub async fn check(State(hosts): State<KnownHosts>, request: Request, next: Next) -> Response {
    let local = request.extensions().get::<LocalAddress>().map(|local| local.0.ip());
    let mut named = request.headers().get_all(header::HOST).into_iter();
    let (first, second) = (named.next().and_then(|value| value.to_str().ok()), named.next());
    // A whole address in the first line takes the place of the header (RFC 9112, 3.2.2).
    let host = request.uri().authority().map(Authority::as_str).or(first);
    match host {
        Some(host) if second.is_none() && hosts.knows(host, local) => next.run(request).await,
        _ => (StatusCode::MISDIRECTED_REQUEST, REFUSED).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_names() {
        let urls = ["https://Coach.Example.org/", "http://192.168.0.7:9000"].map(|url| url.parse().unwrap());
        let hosts = KnownHosts::new(&urls);
        let local = Some("::ffff:172.18.0.3".parse().unwrap());
        for own in [
            "localhost",
            "localhost:8080",
            "LOCALHOST.",
            "coach.localhost",
            "127.0.0.1:8080",
            "127.8.9.10",
            "[::1]:8080",
            "[::ffff:127.0.0.1]",
            "172.18.0.3:8080",
            "coach.example.org",
            "COACH.example.org.:443",
            "192.168.0.7:8080",
        ] {
            assert!(hosts.knows(own, local), "{own}");
        }
        for foreign in [
            "",
            "evil.example",
            "localhost.evil.example",
            "evil.example:8080",
            "127.0.0.1.evil.example",
            "evillocalhost",
            "localhost@evil.example",
            "coach.example.org.evil.example",
            "coach.example.org@evil.example:80",
            "172.18.0.4:8080",
            "127.0.0.1:8080, evil.example",
            "0.0.0.0:8080",
            "[::]:8080",
        ] {
            assert!(!hosts.knows(foreign, local), "{foreign}");
        }
        assert!(!KnownHosts::new(&[]).knows("coach.example.org", None));
    }
}
