//! One address in a word: where it begins, whose it is, where it leads. Owns schemes, their misspellings, app links and
//! addresses within addresses; what a path means is `place`'s affair.

use super::clean::percent_decoded;
use super::hosts::{HostKind, Hosts, OWN};
use super::place::{Place, from_code, place};
use super::{Link, Unsupported};

/// An address found in a word; places are in bytes of the word.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub start: usize,
    pub end: usize,
    /// `None` for the front page and the like.
    pub link: Option<Link>,
    /// Where another one begins, pasted behind it without a space.
    pub next: Option<usize>,
}

/// Addresses within addresses within addresses: no more than so many.
const DEEPEST: usize = 4;

/// Longest word that is read: chats take messages of some 4,000 characters.
const LONGEST: usize = 16_000;

/// The first address in a word that is not part of somebody else's.
pub(super) fn first(word: &str, hosts: &Hosts) -> Option<Address> {
    read(word, hosts, 0)
}

fn read(word: &str, hosts: &Hosts, depth: usize) -> Option<Address> {
    if depth > DEEPEST || word.len() > LONGEST {
        return None;
    }
    app(word, hosts, depth).or_else(|| web(word, hosts, depth))
}

/// An address of the web, with a scheme, a misspelt one or none.
fn web(word: &str, hosts: &Hosts, depth: usize) -> Option<Address> {
    let mut at = 0;
    loop {
        let rest = &word[at..];
        let host_end = at + rest.find(['/', '?', '#']).unwrap_or(rest.len());
        if let Some(kind) = hosts.kind(&word[at..host_end])
            && let Some(start) = beginning(&word[..at], &word[at..host_end])
        {
            return behind_host(word, start, host_end, kind, hosts, depth);
        }
        // The next place where a host may begin: behind anything that is not part of one.
        let is_host = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.' | '_');
        let inside = rest.find(|c: char| !is_host(c));
        let split = rest.find("www.").filter(|&at| at > 0 && inside.is_none_or(|end| at < end));
        let dots = rest.len() - rest.trim_start_matches('.').len();
        at += match (split, inside) {
            (Some(split), _) => split,
            (None, _) if dots > 0 => dots,
            (None, Some(end)) => end + rest[end..].chars().next().map_or(1, char::len_utf8),
            (None, None) => return None,
        };
        if at >= word.len() {
            return None;
        }
    }
}

/// Where an address begins whose host stands behind `prefix`; `None` if the host is part of something else.
fn beginning(prefix: &str, host: &str) -> Option<usize> {
    let unsigned = prefix.trim_end_matches([':', ';', '/', '.', ',']);
    let signs = &prefix[unsigned.len()..];
    let letters = unsigned.len() - unsigned.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len();
    let (lead, scheme) = unsigned.split_at(unsigned.len() - letters);
    let (lead, scheme) = match scheme_at_end(scheme) {
        Some(begins) => (&unsigned[..lead.len() + begins], &scheme[begins..]),
        None => (lead, scheme),
    };
    let is_lead = |lead: &str| is_plain(lead) || (lead.ends_with(['/', ':']) && beginning(lead, "").is_some());
    if is_near_http(scheme) && !signs.ends_with("///") {
        // `httpswww.` is one too.
        let is_joined =
            !signs.is_empty() || host.len() > 4 && host.is_char_boundary(4) && host[..4].eq_ignore_ascii_case("www.");
        return (is_joined && is_lead(lead)).then_some(lead.len());
    }
    // A paste that lost its beginning: `tps://`, `//`.
    let is_end = ["http", "https"].iter().any(|whole| whole.ends_with(&scheme.to_ascii_lowercase()));
    if is_end && matches!(signs, "://" | "//" | "/") && !has_words(lead) {
        return Some(lead.len());
    }
    let is_host_end = prefix.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '-' | '.' | '_' | '@' | '%'));
    let words = has_words(prefix);
    ((!words || !is_host_end && !signs.contains('/')) && is_plain(prefix)).then_some(prefix.len())
}

/// Words and signs that belong to no address, such as `see:` or `1.`.
fn is_plain(lead: &str) -> bool {
    !has_words(lead) || !(lead.contains(['/', '?', '@', '%']) || (lead.contains('.') && lead.contains(['=', '#', '&'])))
}

fn has_words(text: &str) -> bool {
    text.contains(char::is_alphanumeric)
}

/// Where a scheme begins that a word ends with.
fn scheme_at_end(word: &str) -> Option<usize> {
    let lower = word.to_ascii_lowercase();
    let scheme =
        ["googlechromes", "googlechrome", "https", "http"].into_iter().find(|scheme| lower.ends_with(scheme))?;
    Some(word.len() - scheme.len())
}

/// `http`, `https`, and what is one slip of the fingers away from them; `hxxp` is how careful people write it.
fn is_near_http(scheme: &str) -> bool {
    let scheme = scheme.to_ascii_lowercase();
    matches!(scheme.as_str(), "hxxp" | "hxxps" | "googlechrome" | "googlechromes")
        || ["http", "https"].iter().any(|right| is_one_slip_away(&scheme, right))
}

/// One letter too many, too few, wrong, or two in the wrong order.
fn is_one_slip_away(written: &str, right: &str) -> bool {
    let (a, b) = (written.as_bytes(), right.as_bytes());
    let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[same..], &b[same..]);
    match (a, b) {
        ([], []) => true,
        ([_, a @ ..], [_, b @ ..]) if a == b => true,
        ([_, rest @ ..], b) if rest == b => true,
        (a, [_, rest @ ..]) if a == rest => true,
        ([a1, a2, a @ ..], [b1, b2, b @ ..]) => a1 == b2 && a2 == b1 && a == b,
        _ => false,
    }
}

/// The address from its host's end on.
fn behind_host(
    word: &str,
    start: usize,
    host_end: usize,
    kind: HostKind,
    hosts: &Hosts,
    depth: usize,
) -> Option<Address> {
    let tail = &word[host_end..];
    let glued = match kind {
        HostKind::Post => glued(tail),
        HostKind::Wrapper | HostKind::PathWrapper => None,
    };
    let tail = &tail[..glued.unwrap_or(tail.len())];
    let tail = &tail[..tail.find(|c: char| !c.is_ascii()).unwrap_or(tail.len())];
    // Sentence ends and emphasis after an address are not part of it.
    let tail = tail.trim_end_matches(['.', '!', '?', ':', '\'', '*', '~']);
    let link = match kind {
        HostKind::Post => on_instagram(tail, hosts, depth),
        HostKind::Wrapper => Some(in_query(tail, hosts, depth)?),
        HostKind::PathWrapper => Some(in_query(tail, hosts, depth).or_else(|| in_path(tail, hosts, depth))?),
    };
    let next = glued.map(|next| host_end + next);
    Some(Address { start, end: host_end + tail.len(), link, next })
}

/// Where a path and query of Instagram's lead.
fn on_instagram(tail: &str, hosts: &Hosts, depth: usize) -> Option<Link> {
    let decoded = fully_decoded(path_of(tail));
    let link = match place(path_of(&decoded)) {
        Some(Place::Post(code)) => return Some(Link::Reel(code)),
        Some(Place::Share { token, kind }) => return Some(Link::Share { token, kind }),
        Some(Place::Unsupported(kind)) => Some(Link::Unsupported(kind)),
        None => None,
    };
    // A page that asks for a login first says what it stands before.
    in_query(tail, hosts, depth).or(link)
}

/// The post that a value of a query leads to.
fn in_query(tail: &str, hosts: &Hosts, depth: usize) -> Option<Link> {
    let query = &tail[tail.find(['?', '#'])? + 1..];
    query.split(['&', '#']).find_map(|pair| {
        let mut value = pair.split_once('=').map_or(pair, |(_, value)| value).to_owned();
        (0..DEEPEST).find_map(|_| {
            let found = match value.as_str() {
                path if path.starts_with('/') && !path.starts_with("//") => match place(path_of(path)) {
                    Some(Place::Post(code)) => Some(Link::Reel(code)),
                    Some(Place::Share { token, kind }) => Some(Link::Share { token, kind }),
                    // A login behind a login.
                    Some(Place::Unsupported(_)) | None => {
                        (depth < DEEPEST).then(|| in_query(path, hosts, depth + 1)).flatten()
                    }
                },
                value => value.split_whitespace().find_map(|word| post(read(word, hosts, depth + 1)?)),
            };
            value = percent_decoded(&value);
            found
        })
    })
}

/// The post of an address that stands in the path of another.
fn in_path(tail: &str, hosts: &Hosts, depth: usize) -> Option<Link> {
    let decoded = fully_decoded(tail);
    let scheme = decoded.find("http")?;
    post(read(&decoded[scheme..], hosts, depth + 1)?)
}

fn post(address: Address) -> Option<Link> {
    address.link.filter(|link| matches!(link, Link::Reel(_) | Link::Share { .. }))
}

fn path_of(tail: &str) -> &str {
    tail.split(['?', '#']).next().unwrap_or_default()
}

/// Decoded as often as anybody may have encoded it.
fn fully_decoded(text: &str) -> String {
    (0..DEEPEST).fold(text.to_owned(), |text, _| if text.contains('%') { percent_decoded(&text) } else { text })
}

/// Where this address ends and another one begins that was pasted directly behind it: anywhere but as a value of a query
/// that is meant to hold one.
fn glued(tail: &str) -> Option<usize> {
    let lower = tail.to_ascii_lowercase();
    let mut from = 1;
    loop {
        let scheme = next_scheme(&lower, from);
        let host = next_own_host(&lower, from);
        let begins = match (scheme, host) {
            (Some(scheme), Some(host)) => scheme.min(host),
            (one, other) => one.or(other)?,
        };
        if let Some(value) = held_from(&lower[..begins]) {
            // Past the value: whatever it holds is part of it.
            from = lower[value..].find('&').map(|end| value + end)?;
            continue;
        }
        // A misspelt scheme before a host belongs to that host.
        let before = lower[..begins].trim_end_matches([':', ';', '/', '.']);
        let misspelt = scheme_at_end(before).filter(|_| before.len() < begins && Some(begins) == host);
        return Some(misspelt.unwrap_or(begins));
    }
}

/// Where the value begins that `query` ends in, if its name says that it holds an address.
fn held_from(query: &str) -> Option<usize> {
    let pair = query.rfind(['?', '&', '#'])? + 1;
    let (name, value) = query[pair..].split_once('=')?;
    let is_holder = matches!(
        name,
        "next" | "u" | "url" | "q" | "to" | "target" | "link" | "href" | "redirect" | "redirect_uri" | "continue"
    );
    // Only directly behind the sign: what stands behind another value was pasted there.
    let is_start = value.is_empty() || matches!(value, "http://" | "https://" | "//");
    (is_holder && is_start).then_some(pair)
}

fn next_scheme(lower: &str, from: usize) -> Option<usize> {
    let mut search = from;
    while let Some(at) = lower.get(search..)?.find("://").map(|at| at + search) {
        let schemes = ["https", "http", "instagram"];
        let begins = schemes.iter().find(|&&scheme| lower[..at].ends_with(scheme)).map(|scheme| at - scheme.len());
        if let Some(begins) = begins.filter(|&begins| begins >= from) {
            return Some(begins);
        }
        search = at + 3;
    }
    None
}

fn next_own_host(lower: &str, from: usize) -> Option<usize> {
    let at = from + lower.get(from..)?.find("instagram.com/")?;
    let longer = ["www.", "m."].into_iter().find(|sub| lower[from..at].ends_with(sub));
    Some(at - longer.map_or(0, str::len))
}

/// A link that opens an app: Instagram's own scheme, and those of Android and iOS around it or around an address.
fn app(word: &str, hosts: &Hosts, depth: usize) -> Option<Address> {
    let signs = word.find("://")?;
    let lower = word[..signs].to_ascii_lowercase();
    let scheme =
        ["instagram", "intent", "android-app", "ios-app"].into_iter().find(|scheme| lower.ends_with(scheme))?;
    let start = signs - scheme.len();
    is_plain(&word[..start]).then_some(())?;
    let tail = &word[signs + 3..];
    let glued = (scheme == "instagram").then(|| glued(tail)).flatten();
    let tail = &tail[..glued.unwrap_or(tail.len())];
    let tail = &tail[..tail.find(|c: char| !c.is_ascii()).unwrap_or(tail.len())];
    let web = |rest: &str| read(&format!("https://{rest}"), hosts, depth + 1)?.link;
    let link = match scheme {
        "instagram" => in_app(tail, hosts, depth),
        "intent" => {
            let (body, extras) = tail.split_once("#Intent").unwrap_or((tail, ""));
            let fallback = extras.split(';').find_map(|extra| extra.split_once("browser_fallback_url="));
            let own = if extras.contains("scheme=instagram") { in_app(body, hosts, depth) } else { web(body) };
            own.or_else(|| post(read(&fully_decoded(fallback?.1), hosts, depth + 1)?))
        }
        // The package or the number of the app, then the scheme.
        _ => match tail.split('/').nth(1)?.to_ascii_lowercase().as_str() {
            "http" | "https" => web(tail.splitn(3, '/').nth(2)?),
            "instagram" => in_app(tail.splitn(3, '/').nth(2)?, hosts, depth),
            _ => None,
        },
    };
    let next = glued.map(|next| signs + 3 + next);
    Some(Address { start, end: signs + 3 + tail.len(), link, next })
}

/// Where the rest of an `instagram://` link leads.
fn in_app(tail: &str, hosts: &Hosts, depth: usize) -> Option<Link> {
    let path = fully_decoded(path_of(tail));
    let page = path.split('/').next().unwrap_or_default().to_ascii_lowercase();
    if OWN.contains(&page.as_str()) {
        return read(&format!("https://{tail}"), hosts, depth + 1)?.link;
    }
    let unsupported = |kind| Some(Link::Unsupported(kind));
    match page.as_str() {
        "media" | "reel" | "reels" | "clips" | "post" | "p" | "tv" => {
            const NAMES: [&str; 7] = ["id", "media_id", "pk", "shortcode", "short_code", "code", "media"];
            let pairs = tail.split(['?', '&', '#']).filter_map(|pair| pair.split_once('='));
            let named = pairs.into_iter().filter(|(name, _)| NAMES.contains(&name.to_ascii_lowercase().as_str()));
            let code = named.map(|(_, value)| fully_decoded(value)).find_map(|value| from_code(&value));
            let in_path = || place(&format!("p/{}", path.split_once('/').map_or("", |(_, rest)| rest)));
            match code.map(Place::Post).or_else(in_path) {
                Some(Place::Post(code)) => Some(Link::Reel(code)),
                _ => in_query(tail, hosts, depth).or(unsupported(Unsupported::Incomplete)),
            }
        }
        "user" | "profile" => unsupported(Unsupported::Profile),
        "tag" | "explore" | "location" | "search" => unsupported(Unsupported::Explore),
        "audio" | "music" => unsupported(Unsupported::Audio),
        "story" | "stories" => unsupported(Unsupported::Story),
        _ => in_query(tail, hosts, depth),
    }
}
