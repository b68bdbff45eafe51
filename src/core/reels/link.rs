//! Finds Instagram links in what people write. Owns every form such a link comes in; never calls
//! anything: of a link only the code or the token is taken.

mod place;

use url::Url;

use crate::ids::Shortcode;
use place::{Place, place};

/// What a link to Instagram leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// A reel or a post; whether there is a video in it shows later.
    Reel(Shortcode),
    /// A share link of the app: its token is not a code, the redirect of [`share_url`] tells the code.
    Share { token: String, kind: ShareKind },
    /// Instagram, but not a post.
    Unsupported(Unsupported),
}

/// What the app said that it shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShareKind {
    Reel,
    Post,
    Unknown,
}

/// Pages of Instagram that are not a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsupported {
    Story,
    Highlight,
    Profile,
    Audio,
    Explore,
    /// Messages, the account's settings, a code that cannot be one.
    Other,
}

/// What was found in a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Distinct, in the order of the text, then the links that are not in the text.
    pub links: Vec<Link>,
    /// The text without the links and what decorates them: what the person asks about them.
    pub rest: String,
}

/// The hosts whose links are read: Instagram's own, and mirrors, which are never called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts(Vec<String>);

impl Default for Hosts {
    fn default() -> Self {
        Self::with_mirrors(&MIRRORS)
    }
}

impl Hosts {
    /// Instagram's own hosts and these mirrors, each also with `www.`, `d.` and `g.` before it.
    pub fn with_mirrors(mirrors: &[impl AsRef<str>]) -> Self {
        let own = OWN.iter().chain(&["instagr.am", "www.instagr.am"]).map(|&host| host.to_owned());
        Self(own.collect()).and_mirrors(mirrors)
    }

    /// These hosts and more mirrors.
    pub fn and_mirrors(mut self, mirrors: &[impl AsRef<str>]) -> Self {
        let mirrors = mirrors.iter().map(|mirror| mirror.as_ref().trim().to_ascii_lowercase());
        self.0.extend(mirrors.flat_map(|mirror| ["", "www.", "d.", "g."].map(|sub| format!("{sub}{mirror}"))));
        self
    }

    fn contains(&self, host: &str) -> bool {
        self.0.iter().any(|known| known.eq_ignore_ascii_case(host))
    }
}

/// The Instagram links of a message. `extra_links` are those that its visible text does not show.
pub fn find(text: &str, extra_links: &[String], hosts: &Hosts) -> Found {
    let mut links = Vec::new();
    let mut spans = Vec::new();
    for (start, end) in tokens(text) {
        in_token(text, start, end, hosts, &mut |link, span| {
            links.push(link);
            spans.push(span);
        });
    }
    for extra in extra_links {
        let extra = extra.trim();
        in_token(extra, 0, extra.len(), hosts, &mut |link, _| links.push(link));
    }
    let mut distinct: Vec<Link> = Vec::new();
    for link in links {
        if !distinct.contains(&link) {
            distinct.push(link);
        }
    }
    Found { links: distinct, rest: without(text, &spans) }
}

/// Where the redirect of a share link leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShareTarget {
    Reel(Shortcode),
    /// Instagram wants a login first.
    Login,
    /// Not to a post, or not to Instagram: not followed.
    Elsewhere,
}

/// Reads the `Location` of a share link's answer: an address on instagram.com or a path.
pub fn share_target(location: &str) -> ShareTarget {
    let base = Url::parse("https://www.instagram.com/");
    let Ok(url) = base.and_then(|base| base.join(location)) else { return ShareTarget::Elsewhere };
    let own = url.host_str().is_some_and(|host| OWN.contains(&host));
    if !matches!(url.scheme(), "http" | "https")
        || !own
        || url.port().is_some()
        || !url.username().is_empty()
        || url.password().is_some()
    {
        return ShareTarget::Elsewhere;
    }
    if let Some(Place::Post(code)) = place(url.path()) {
        return ShareTarget::Reel(code);
    }
    let mut segments = url.path().split('/').filter(|segment| !segment.is_empty());
    match (segments.next(), segments.next()) {
        (Some("accounts"), Some("login")) => {
            let next = url.query_pairs().find(|(name, _)| name == "next");
            match next.and_then(|(_, path)| place(path.split(['?', '#']).next().unwrap_or_default())) {
                Some(Place::Post(code)) => ShareTarget::Reel(code),
                _ => ShareTarget::Login,
            }
        }
        (Some("challenge"), _) => ShareTarget::Login,
        _ => ShareTarget::Elsewhere,
    }
}

/// The address whose redirect tells where a share link leads. `base` is Instagram's.
pub fn share_url(base: &Url, token: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("/share/{token}/"));
    url.set_query(None);
    url.set_fragment(None);
    url
}

/// The code of a media id (Instagram's `pk`): big-endian base 64. `None` for ids too small to be one.
pub fn from_media_id(id: u64) -> Option<Shortcode> {
    let mut digits = Vec::new();
    let mut left = id;
    while left > 0 {
        digits.push(ALPHABET[(left % 64) as usize]);
        left /= 64;
    }
    digits.reverse();
    String::from_utf8(digits).ok()?.parse().ok()
}

/// The media id of a code; `None` if it is larger than an id can be.
pub fn media_id(code: &Shortcode) -> Option<u64> {
    code.as_str().bytes().try_fold(0u64, |id, byte| {
        let digit = ALPHABET.iter().position(|&known| known == byte)?;
        id.checked_mul(64)?.checked_add(digit as u64)
    })
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const OWN: [&str; 3] = ["instagram.com", "www.instagram.com", "m.instagram.com"];
/// Seen in public code that rewrites links; they come and go.
const MIRRORS: [&str; 6] =
    ["ddinstagram.com", "kkinstagram.com", "eeinstagram.com", "uuinstagram.com", "rxinstagram.com", "vxinstagram.com"];

/// The parts of a text that may be an address: what stands between white space, brackets, quotes,
/// commas and any punctuation outside ASCII.
fn tokens(text: &str) -> Vec<(usize, usize)> {
    let ends = |c: char| {
        c.is_whitespace()
            || c.is_control()
            || matches!(c, '<' | '>' | '"' | '|' | '\\' | '^' | '`' | '{' | '}' | '[' | ']' | '(' | ')' | ',' | ';')
            || (!c.is_ascii() && !c.is_alphanumeric())
    };
    let mut tokens = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices() {
        match (start, ends(c)) {
            (None, false) => start = Some(at),
            (Some(from), true) => {
                tokens.push((from, at));
                start = None;
            }
            _ => {}
        }
    }
    tokens.extend(start.map(|from| (from, text.len())));
    tokens
}

/// Reports the links of one token; more than one if addresses were pasted without a space.
fn in_token(text: &str, start: usize, end: usize, hosts: &Hosts, report: &mut dyn FnMut(Link, (usize, usize))) {
    let mut start = start;
    while start < end {
        let token = &text[start..end];
        let Some((skipped, read)) = address(token, hosts) else { return };
        let from = start + skipped;
        // Another address directly after the path is a paste without a space; in a query it is a
        // value of this address.
        let path = text[from..end].find(['?', '#']).map_or(end, |at| from + at);
        let glued = scheme_in(&text[from..path], 1).map(|at| from + at);
        let until = glued.unwrap_or(end);
        if let Some((link, length)) = read {
            report(link, (from, until.min(from + length)));
        }
        match glued {
            Some(next) => start = next,
            None => return,
        }
    }
}

/// What an address at the start of `token` leads to and how long it is, and how many bytes of
/// decoration stand before it. `None` if there is no address of a known host.
fn address(token: &str, hosts: &Hosts) -> Option<(usize, Option<(Link, usize)>)> {
    let scheme = scheme_in(token, 0);
    let skipped = match scheme {
        // `link:https://…` or `1.https://…`; but not an address in the query or path of another.
        Some(at) => (!token[..at].contains(['/', '?', '=', '&', '#', '@', '%'])).then_some(at)?,
        None => token.len() - token.trim_start_matches(['*', '_', '~', '\'', '!', ':']).len(),
    };
    let url = &token[skipped..];
    let after_scheme = match scheme {
        Some(_) => url.find("://")? + 3,
        None => 0,
    };
    let ascii = url.find(|c: char| !c.is_ascii()).unwrap_or(url.len());
    let host_end = url[after_scheme..].find(['/', '?', '#']).map_or(url.len(), |at| after_scheme + at);
    if host_end > ascii {
        return None;
    }
    let host = &url[after_scheme..host_end];
    if url[..after_scheme].eq_ignore_ascii_case("instagram://") {
        return Some((skipped, app_link(host, &url[host_end..ascii]).map(|link| (link, ascii))));
    }
    if !hosts.contains(host) {
        return None;
    }
    // Sentence ends and emphasis after an address are not part of it.
    let length = url[..ascii].trim_end_matches(['.', '!', '?', ':', '\'', '*', '~']).len().max(host_end);
    let path = url[host_end..length].split(['?', '#']).next().unwrap_or_default();
    let path = scheme_in(path, 1).map_or(path, |at| &path[..at]);
    let link = match place(path) {
        None => return Some((skipped, None)),
        Some(Place::Post(code)) => Link::Reel(code),
        Some(Place::Share { token, kind }) => Link::Share { token, kind },
        Some(Place::Unsupported(kind)) => Link::Unsupported(kind),
    };
    Some((skipped, Some((link, length))))
}

/// Where at or after `from` an address with a scheme begins.
fn scheme_in(text: &str, from: usize) -> Option<usize> {
    let mut search = from;
    while let Some(at) = text.get(search..)?.find("://").map(|at| at + search) {
        let before = &text.as_bytes()[..at];
        for scheme in ["https", "http", "instagram"] {
            let begins = at.checked_sub(scheme.len()).filter(|&begins| begins >= from);
            if let Some(begins) = begins.filter(|&begins| before[begins..].eq_ignore_ascii_case(scheme.as_bytes())) {
                return Some(begins);
            }
        }
        search = at + 3;
    }
    None
}

/// `instagram://media?id=ID`, where ID may be `pk_userid`.
fn app_link(host: &str, query: &str) -> Option<Link> {
    if host.eq_ignore_ascii_case("user") {
        return Some(Link::Unsupported(Unsupported::Profile));
    }
    if !host.eq_ignore_ascii_case("media") {
        return None;
    }
    let query = query.trim_start_matches('/').strip_prefix('?')?;
    let id = query.split('&').find_map(|pair| pair.strip_prefix("id="))?;
    let digits = id.bytes().take_while(u8::is_ascii_digit).count();
    let code = id[..digits].parse().ok().and_then(from_media_id);
    Some(code.map_or(Link::Unsupported(Unsupported::Other), Link::Reel))
}

/// The text without these spans, in order, and without the brackets and signs around them.
fn without(text: &str, spans: &[(usize, usize)]) -> String {
    if spans.is_empty() {
        return text.trim().to_owned();
    }
    // Bytes to leave out; a removed link leaves a mark by which the signs around it are recognised.
    let mut gone = vec![false; text.len()];
    let mut marks = vec![false; text.len()];
    for &(start, end) in spans {
        let (mut from, mut to) = (start, end);
        loop {
            let before = text[..from].chars().next_back();
            let after = text[to..].chars().next();
            let (Some(before), Some(after)) = (before, after) else { break };
            if text[..from].ends_with("](")
                && after == ')'
                && let Some(label) = text[..from - 2].rfind('[')
            {
                gone[label] = true;
                (from, to) = (from - 2, to + 1);
                break;
            }
            if !PAIRS.contains(&(before, after)) {
                break;
            }
            (from, to) = (from - before.len_utf8(), to + after.len_utf8());
        }
        gone[from..to].fill(true);
        marks[from] = true;
    }
    let mut lines = Vec::new();
    let mut marked = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        if marks[at] {
            marked.push(MARK);
        }
        if !gone[at] && c != MARK {
            marked.push(c);
        }
    }
    for line in marked.lines() {
        let words = line.split_whitespace().filter_map(|word| {
            let kept: String = word.chars().filter(|&c| c != MARK).collect();
            (kept.len() == word.len() || kept.chars().any(|c| c.is_alphanumeric())).then_some(kept)
        });
        let words: Vec<String> = words.collect();
        if !words.is_empty() {
            lines.push(words.join(" "));
        }
    }
    lines.join("\n")
}

const MARK: char = '\0';

/// What stands around a link and goes with it.
const PAIRS: [(char, char); 18] = [
    ('<', '>'),
    ('(', ')'),
    ('[', ']'),
    ('{', '}'),
    ('|', '|'),
    ('"', '"'),
    ('\'', '\''),
    ('`', '`'),
    ('*', '*'),
    ('_', '_'),
    ('~', '~'),
    ('“', '”'),
    ('„', '“'),
    ('‘', '’'),
    ('«', '»'),
    ('「', '」'),
    ('（', '）'),
    ('《', '》'),
];

#[cfg(test)]
mod tests;
