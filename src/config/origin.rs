//! Where files may be fetched from.

use std::fmt;
use std::str::FromStr;

use url::{Host, Url};

/// Where videos may come from: `https://*.cdninstagram.com` (any host below), `https://host`, or
/// `http://host:port` of a stand-in. Plain http needs an exact host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    scheme: String,
    /// A host, or with `below` the domain that it must be under.
    host: String,
    below: bool,
    port: Option<u16>,
}

impl Origin {
    /// Whether `url` comes from here.
    pub fn allows(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        let host_fits = if self.below {
            host.strip_suffix(self.host.as_str()).is_some_and(|sub| sub.len() > 1 && sub.ends_with('.'))
        } else {
            host == self.host
        };
        host_fits && url.scheme() == self.scheme && url.port_or_known_default() == self.port
    }
}

/// A text that is not an origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an origin: expected https://host, https://*.domain or http://host:port")]
pub struct BadOrigin;

impl FromStr for Origin {
    type Err = BadOrigin;

    fn from_str(text: &str) -> Result<Self, BadOrigin> {
        let (scheme, rest) = text.trim().split_once("://").ok_or(BadOrigin)?;
        let (below, rest) = rest.strip_prefix("*.").map_or((false, rest), |rest| (true, rest));
        let url = Url::parse(&format!("{scheme}://{rest}")).map_err(|_| BadOrigin)?;
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        let host = match url.host() {
            // A wildcard over a top-level domain would let everyone in.
            Some(Host::Domain(host)) if !host.contains('*') && (!below || host.contains('.')) => host.to_owned(),
            Some(ip @ (Host::Ipv4(_) | Host::Ipv6(_))) if !below => ip.to_string(),
            _ => return Err(BadOrigin),
        };
        match url.scheme() {
            "https" => {}
            "http" if !below => {}
            _ => return Err(BadOrigin),
        }
        if !bare || url.password().is_some() {
            return Err(BadOrigin);
        }
        Ok(Self { scheme: url.scheme().to_owned(), host, below, port: url.port_or_known_default() })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, if self.below { "*." } else { "" }, self.host)?;
        match (self.scheme.as_str(), self.port) {
            ("https", Some(443)) | ("http", Some(80)) | (_, None) => Ok(()),
            (_, Some(port)) => write!(f, ":{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_exact() {
        let wide: Origin = "https://*.cdninstagram.com".parse().unwrap();
        let exact: Origin = "http://127.0.0.1:7704".parse().unwrap();
        for (url, wide_allows, exact_allows) in [
            ("https://scontent-ams2-1.cdninstagram.com/v.mp4?oe=1", true, false),
            ("https://SCONTENT.CDNINSTAGRAM.COM/v.mp4", true, false),
            ("https://a.b.cdninstagram.com:443/v.mp4", true, false),
            ("https://cdninstagram.com/v.mp4", false, false),
            ("https://.cdninstagram.com/v.mp4", false, false),
            ("https://evilcdninstagram.com/v.mp4", false, false),
            ("https://cdninstagram.com.evil.example/v.mp4", false, false),
            ("https://evil.example/?x=.cdninstagram.com", false, false),
            ("https://scontent.cdninstagram.com@evil.example/v.mp4", false, false),
            ("http://scontent.cdninstagram.com/v.mp4", false, false),
            ("https://scontent.cdninstagram.com:8443/v.mp4", false, false),
            ("file:///etc/passwd", false, false),
            ("http://127.0.0.1:7704/v.mp4", false, true),
            ("http://127.0.0.1/v.mp4", false, false),
            ("http://127.0.0.1:7705/v.mp4", false, false),
            ("https://127.0.0.1:7704/v.mp4", false, false),
        ] {
            let allowed = Url::parse(url).map(|url| (wide.allows(&url), exact.allows(&url))).unwrap_or_default();
            assert_eq!(allowed, (wide_allows, exact_allows), "{url}");
        }
    }

    #[test]
    fn origins_are_read_and_shown_alike() {
        for good in ["https://*.fbcdn.net", "https://video.example", "http://sandbox:7704", "https://[::1]:8443"] {
            assert_eq!(good.parse::<Origin>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "*.fbcdn.net",
            "https://*",
            "https://*.net",
            "https://*.",
            "http://*.fbcdn.net",
            "ftp://a.example",
            "https://a.example/path",
            "https://u:p@a.example",
            "https://u@a.example",
            "https://a.*.example",
            "https://*.1.2.3.4",
            "https://a.example?q",
            "https://a.example#f",
        ] {
            assert_eq!(bad.parse::<Origin>(), Err(BadOrigin), "{bad}");
        }
    }
}
