//! Who may look: the token, the session in the cookie, the pace of wrong tokens. Owns no page; the token itself is in no
//! cookie, no address and no log.

use std::collections::HashSet;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256, Sha512};

use crate::clock::Timestamp;
use crate::web::connections::network;

/// The cookie's name.
const COOKIE: &str = "reelcoach_session";

/// The cookie of a browser that has signed in before. It opens nothing.
const BROWSER: &str = "reelcoach_browser";
const BROWSER_KEPT: Duration = Duration::from_secs(180 * 86_400);

/// What a seal is for: one cookie's value is worth nothing in the other.
const SESSION_SEAL: &str = "reelcoach dashboard session";
const BROWSER_SEAL: &str = "reelcoach dashboard browser";

/// Ended sessions that are kept in mind; the store knows those that are forgotten.
const ENDED: usize = 1024;

/// After so long the token is asked for again.
const SESSION: Duration = Duration::from_secs(12 * 3600);

/// Attempts that one address may make at once, and the time after which it has one more.
const ATTEMPTS: NonZeroU32 = NonZeroU32::MIN.saturating_add(4);
const ATTEMPT_EVERY: Duration = Duration::from_secs(10);

/// Addresses that are kept in mind before those are forgotten whose time is over.
const ADDRESSES: usize = 1024;

const NONCE: usize = 16;
const SEAL: usize = 32;

/// Lets people in who know the token.
pub struct Guard {
    token: SecretString,
    attempts: DefaultKeyedRateLimiter<Guesser>,
    /// Sessions that are known to be ended, by their hashes; the store knows all of them.
    ended: Mutex<HashSet<String>>,
}

/// Whose attempts are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Guesser {
    Network(IpAddr),
    /// A browser that has signed in before: others who share its address cannot use its attempts up.
    Browser([u8; NONCE]),
}

/// What becomes of an attempt to sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The values of the two cookies.
    Admitted {
        session: String,
        browser: String,
    },
    Wrong,
    /// Too many attempts; whether this one was right is not looked at.
    TooMany,
}

/// A session as its cookie has it: until when, a nonce, and the seal over both. Every instance with the same token can
/// check it, and a new token ends them all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub until: Timestamp,
    nonce: [u8; NONCE],
}

impl Session {
    /// What the store knows it by.
    pub fn hash(&self) -> String {
        let hash = Sha256::new().chain_update("reelcoach ended session\0").chain_update(self.nonce).finalize();
        URL_SAFE_NO_PAD.encode(hash)
    }
}

impl Guard {
    pub fn new(token: SecretString) -> Guard {
        let quota = Quota::with_period(ATTEMPT_EVERY).map(|quota| quota.allow_burst(ATTEMPTS));
        let attempts = RateLimiter::keyed(quota.unwrap_or(Quota::per_minute(ATTEMPTS)));
        Guard { token, attempts, ended: Mutex::default() }
    }

    /// Compares a token in constant time; `from` is who is on the other end of the connection. Behind a proxy that is
    /// the proxy, so that all share one pace, for what it says of others is anybody's word: all but the browsers that
    /// have signed in before, which show it (OWASP, "Device cookies").
    pub fn attempt(&self, given: &str, from: IpAddr, headers: &HeaderMap, now: Timestamp) -> Attempt {
        if self.attempts.len() > ADDRESSES {
            self.attempts.retain_recent();
        }
        let known = self.find(headers, BROWSER, BROWSER_SEAL);
        let guesser = known.map_or(Guesser::Network(network(from)), |browser| Guesser::Browser(browser.nonce));
        if self.attempts.check_key(&guesser).is_err() {
            return Attempt::TooMany;
        }
        // Of the same length, whatever is given: the length of the token is nobody's business either.
        let (given, token) = (Sha256::digest(given), Sha256::digest(self.token.expose_secret()));
        if !bool::from(subtle::ConstantTimeEq::ct_eq(&given[..], &token[..])) {
            return Attempt::Wrong;
        }
        let cookie = |seal, age| self.seal(&Session { until: now + age, nonce: rand::random() }, seal);
        Attempt::Admitted { session: cookie(SESSION_SEAL, SESSION), browser: cookie(BROWSER_SEAL, BROWSER_KEPT) }
    }

    /// The session of these headers, unless its time is over or it is known here to be ended: whether it was ended
    /// elsewhere, the store knows.
    pub fn session(&self, headers: &HeaderMap, now: Timestamp) -> Option<Session> {
        let session = self.find(headers, COOKIE, SESSION_SEAL)?;
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        (session.until > now && !ended.contains(&session.hash())).then_some(session)
    }

    /// Remembers that a session is ended, whatever the database says.
    pub fn end(&self, session: &Session) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.len() >= ENDED {
            ended.clear();
        }
        ended.insert(session.hash());
    }

    fn seal(&self, session: &Session, what: &str) -> String {
        let mut bytes = session.until.0.to_be_bytes().to_vec();
        bytes.extend(session.nonce);
        let seal = self.mac(what, &bytes).finalize().into_bytes();
        bytes.extend(seal);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn find(&self, headers: &HeaderMap, name: &str, what: &str) -> Option<Session> {
        let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
        let mut values = cookies
            .flat_map(|cookies| cookies.split(';'))
            .filter_map(|cookie| cookie.trim().strip_prefix(name)?.strip_prefix('='));
        values.find_map(|value| self.open(value, what))
    }

    fn open(&self, value: &str, what: &str) -> Option<Session> {
        let bytes = URL_SAFE_NO_PAD.decode(value).ok()?;
        let (said, seal) = bytes.split_at_checked(bytes.len().checked_sub(SEAL)?)?;
        self.mac(what, said).verify_slice(seal).ok()?;
        let (until, nonce) = said.split_first_chunk::<8>()?;
        Some(Session { until: Timestamp(i64::from_be_bytes(*until)), nonce: nonce.try_into().ok()? })
    }

    fn mac(&self, what: &str, said: &[u8]) -> Hmac<Sha256> {
        // As long as a block of SHA-256, which is what a key is brought to anyway.
        let key =
            Sha512::new().chain_update(what).chain_update("\0").chain_update(self.token.expose_secret()).finalize();
        Hmac::<Sha256>::new(&key).chain_update(said)
    }
}

/// Whether the page that sends this form was loaded over https. The browser says so itself in `Origin`, which needs no
/// trust in what a proxy may or may not have put into `X-Forwarded-Proto`; who leaves it out gets the strict answer
/// wherever the connection is not this machine's own.
pub fn is_https(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match text(header::ORIGIN) {
        Some(origin) if origin.starts_with("https://") => true,
        Some(origin) if origin.starts_with("http://") => false,
        _ => {
            let host = text(header::HOST).unwrap_or_default();
            !["localhost", "127.", "[::1]"].iter().any(|own| host.starts_with(own))
        }
    }
}

/// Whether a form was sent by a page of another site. Every browser in use says so itself, at least over https and to
/// this machine (Fetch Metadata Request Headers, Sec-Fetch-Site); elsewhere the cookie's `SameSite=Strict` stands.
pub fn is_foreign(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"))
}

/// The header that keeps a session.
pub fn cookie(value: &str, https: bool) -> String {
    set_cookie(COOKIE, "/", value, SESSION, https)
}

/// The header that makes a browser known at the next sign-in.
pub fn browser_cookie(value: &str, https: bool) -> String {
    set_cookie(BROWSER, "/sign-in", value, BROWSER_KEPT, https)
}

/// The header that takes a session away, over https and http alike.
pub fn no_cookie() -> String {
    set_cookie(COOKIE, "/", "", Duration::ZERO, false)
}

fn set_cookie(name: &str, path: &str, value: &str, age: Duration, https: bool) -> String {
    let secure = if https { "; Secure" } else { "" };
    format!("{name}={value}; Path={path}; Max-Age={}; HttpOnly; SameSite=Strict{secure}", age.as_secs())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    const NOW: Timestamp = Timestamp(1_795_521_600_000);
    const HERE: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

    fn guard(token: &str) -> Guard {
        Guard::new(SecretString::from(token.to_owned()))
    }

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    fn admitted(guard: &Guard, token: &str) -> HeaderMap {
        let Attempt::Admitted { session, browser } = guard.attempt(token, HERE, &HeaderMap::new(), NOW) else {
            panic!("not admitted")
        };
        assert!(!session.contains(token) && !browser.contains(token));
        headers(&[(header::COOKIE, &format!("theme=dark; {COOKIE}={session}; {BROWSER}={browser}"))])
    }

    fn until(guard: &Guard, cookie: &HeaderMap, now: Timestamp) -> Option<Timestamp> {
        guard.session(cookie, now).map(|session| session.until)
    }

    #[test]
    fn a_session_lasts_and_ends() {
        let (one, same, other) =
            (guard("a long random text"), guard("a long random text"), guard("another random text"));
        let cookie = admitted(&one, "a long random text");
        let end = NOW + SESSION;
        assert_eq!(until(&one, &cookie, NOW), Some(end));
        assert_eq!(until(&same, &cookie, NOW), Some(end), "another instance");
        assert_eq!(until(&other, &cookie, NOW), None, "a new token");
        assert_eq!(until(&one, &cookie, end), None, "its time is over");
        one.end(&one.session(&cookie, NOW).unwrap());
        assert_eq!(until(&one, &cookie, NOW), None, "signed out");
        assert!(until(&one, &admitted(&one, "a long random text"), NOW).is_some());
    }

    #[test]
    fn what_is_not_sealed_is_no_session() {
        let guard = guard("a long random text");
        let good = admitted(&guard, "a long random text");
        let cookies = good[header::COOKIE].to_str().unwrap().to_owned();
        let value = cookies.split(&format!("{COOKIE}=")).nth(1).unwrap().split(';').next().unwrap().to_owned();
        let browser = cookies.rsplit('=').next().unwrap().to_owned();
        let swapped = headers(&[(header::COOKIE, &format!("{COOKIE}={browser}"))]);
        assert_eq!(guard.session(&swapped, NOW), None, "a browser's cookie opens nothing");
        let mut bytes = URL_SAFE_NO_PAD.decode(&value).unwrap();
        bytes[0] ^= 1;
        for bad in ["", "x", "AAAA", &value[1..], &URL_SAFE_NO_PAD.encode(&bytes), &URL_SAFE_NO_PAD.encode([0; 56])] {
            let cookie = headers(&[(header::COOKIE, &format!("{COOKIE}={bad}"))]);
            assert_eq!(guard.session(&cookie, NOW), None, "{bad}");
        }
        assert_eq!(guard.session(&HeaderMap::new(), NOW), None);
    }

    #[test]
    fn guesses_are_slowed_down_per_network() {
        let guard = guard("a long random text");
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let nobody = HeaderMap::new();
        let known = admitted(&guard, "a long random text");
        for _ in 0..5 {
            assert_eq!(guard.attempt("a guess", address("2001:db8::1"), &nobody, NOW), Attempt::Wrong);
        }
        for from in ["2001:db8::1", "2001:db8::ffff:2"] {
            let attempt = guard.attempt("a long random text", address(from), &nobody, NOW);
            assert_eq!(attempt, Attempt::TooMany, "{from}");
        }
        for from in ["2001:db8:0:1::1", "192.0.2.1"] {
            let attempt = guard.attempt("a long random text", address(from), &nobody, NOW);
            assert!(matches!(attempt, Attempt::Admitted { .. }), "{from}");
        }
        // Whoever has signed in before is not locked out by others behind the same proxy, and may guess no faster.
        let attempt = guard.attempt("a long random text", address("2001:db8::1"), &known, NOW);
        assert!(matches!(attempt, Attempt::Admitted { .. }));
        for _ in 0..4 {
            assert_eq!(guard.attempt("a guess", address("2001:db8::1"), &known, NOW), Attempt::Wrong);
        }
        assert_eq!(guard.attempt("a guess", address("192.0.2.7"), &known, NOW), Attempt::TooMany);
    }

    #[test]
    fn https_is_what_the_browser_says() {
        let cases: [(&[(header::HeaderName, &str)], bool); 6] = [
            (&[(header::ORIGIN, "https://coach.example"), (header::HOST, "127.0.0.1:8080")], true),
            (&[(header::ORIGIN, "http://192.168.0.7:8080"), (header::HOST, "192.168.0.7:8080")], false),
            (&[(header::ORIGIN, "null"), (header::HOST, "coach.example")], true),
            (&[(header::HOST, "coach.example")], true),
            (&[(header::HOST, "127.0.0.1:8080")], false),
            (&[(header::HOST, "[::1]:8080")], false),
        ];
        for (pairs, https) in cases {
            assert_eq!(is_https(&headers(pairs)), https, "{pairs:?}");
        }
        assert!(cookie("v", true).ends_with("; HttpOnly; SameSite=Strict; Secure"));
        assert!(!cookie("v", false).contains("Secure") && no_cookie().contains("Max-Age=0"));
    }

    #[test]
    fn forms_of_other_sites_are_known() {
        let site = |value: &str| is_foreign(&headers(&[(header::HeaderName::from_static("sec-fetch-site"), value)]));
        assert!(site("cross-site") && site("same-site") && !site("same-origin") && !site("none"));
        assert!(!is_foreign(&HeaderMap::new()));
    }
}
