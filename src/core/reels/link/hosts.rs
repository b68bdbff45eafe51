//! The hosts whose addresses are read: Instagram's own, mirrors, and those that only pass people on. None of them but
//! Instagram's own is ever called.

/// The hosts whose links are read: Instagram's own, and mirrors, which are never called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts(Vec<String>);

/// What an address of a host is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HostKind {
    /// Its paths are Instagram's.
    Post,
    /// Another address stands in its query.
    Wrapper,
    /// Another address stands in its path, or alone in its query.
    PathWrapper,
}

impl Default for Hosts {
    fn default() -> Self {
        Self::with_mirrors(&MIRRORS)
    }
}

impl Hosts {
    /// Instagram's own hosts and these mirrors, each also with `www.`, `d.`, `g.` and `n.` before it.
    pub fn with_mirrors(mirrors: &[impl AsRef<str>]) -> Self {
        let own = OWN.iter().chain(&READ_ONLY).map(|&host| host.to_owned());
        Self(own.collect()).and_mirrors(mirrors)
    }

    /// These hosts and more mirrors.
    pub fn and_mirrors(mut self, mirrors: &[impl AsRef<str>]) -> Self {
        let mirrors = mirrors.iter().map(|mirror| mirror.as_ref().trim().to_ascii_lowercase());
        self.0.extend(mirrors.flat_map(|mirror| ["", "www.", "d.", "g.", "n."].map(|sub| format!("{sub}{mirror}"))));
        self
    }

    /// What a host is, as it is written in an address: with the port, if that is the usual one. The whole host counts.
    pub(super) fn kind(&self, written: &str) -> Option<HostKind> {
        let host = written.strip_suffix(":443").or(written.strip_suffix(":80")).unwrap_or(written);
        let host = host.strip_suffix(':').unwrap_or(host);
        let host = host.strip_suffix('.').unwrap_or(host);
        let is = |known: &str| known.eq_ignore_ascii_case(host);
        if self.0.iter().any(|known| is(known)) {
            Some(HostKind::Post)
        } else if PATH_WRAPPERS.iter().any(|known| is(known)) {
            Some(HostKind::PathWrapper)
        } else if WRAPPERS.iter().any(|known| is(known)) || is_wrapper_of_many_hosts(host) {
            Some(HostKind::Wrapper)
        } else {
            None
        }
    }
}

/// The hosts that a share link may be asked of, and that its redirect may lead to.
pub(super) const OWN: [&str; 3] = ["instagram.com", "www.instagram.com", "m.instagram.com"];

/// Instagram's short host, and misspellings that can mean nothing else.
const READ_ONLY: [&str; 6] = [
    "instagr.am",
    "www.instagr.am",
    "wwwinstagram.com",
    "ww.instagram.com",
    "wwww.instagram.com",
    "www..instagram.com",
];

/// Seen in public code that rewrites links; they come and go.
const MIRRORS: [&str; 15] = [
    "ddinstagram.com",
    "kkinstagram.com",
    "eeinstagram.com",
    "uuinstagram.com",
    "rxinstagram.com",
    "vxinstagram.com",
    "fxinstagram.com",
    "toinstagram.com",
    "deinstagram.com",
    "67instagram.com",
    "instagramez.com",
    "instagramfix.com",
    "instagram7.com",
    "kkclip.com",
    "fxig.seria.moe",
];

/// Pages that pass people on to the address in their query.
const WRAPPERS: [&str; 46] = [
    "l.instagram.com",
    "lm.instagram.com",
    "api.instagram.com",
    "l.facebook.com",
    "lm.facebook.com",
    "facebook.com",
    "www.facebook.com",
    "m.facebook.com",
    "graph.facebook.com",
    "l.messenger.com",
    "l.workplace.com",
    "l.threads.net",
    "l.threads.com",
    "l.wl.co",
    "l.whatsapp.com",
    "api.whatsapp.com",
    "wa.me",
    "t.me",
    "telegram.me",
    "twitter.com",
    "x.com",
    "out.reddit.com",
    "vk.com",
    "away.vk.com",
    "youtube.com",
    "www.youtube.com",
    "m.youtube.com",
    "linkedin.com",
    "www.linkedin.com",
    "slack-redir.net",
    "t.umblr.com",
    "www.pinterest.com",
    "pinterest.com",
    "steamcommunity.com",
    "duckduckgo.com",
    "translate.google.com",
    "urldefense.proofpoint.com",
    "deref-gmx.net",
    "deref-mail.com",
    "deref-web.de",
    "deref-web-02.de",
    "go.redirectingat.com",
    "statics.teams.cdn.office.net",
    "outgoing.prod.webservices.mozgcp.net",
    "www.tiktok.com",
    "nullrefer.com",
];

/// Pages that pass people on to the address behind their own.
const PATH_WRAPPERS: [&str; 6] =
    ["web.archive.org", "r.jina.ai", "href.li", "anonym.to", "urldefense.com", "r.search.yahoo.com"];

/// Google's search under each country's domain, and Outlook's scanner under each region's.
fn is_wrapper_of_many_hosts(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let country = host.strip_prefix("www.").unwrap_or(&host).strip_prefix("google.");
    let is_country = |domain: &str| domain.len() <= 6 && domain.split('.').all(|part| (2..=3).contains(&part.len()));
    country.is_some_and(is_country) || host.ends_with(".safelinks.protection.outlook.com")
}
