//! Finds Instagram links in what people write. Owns every form such a link comes in; never calls
//! anything: of a link only the code or the token is taken.

mod address;
mod clean;
mod hosts;
mod place;
mod rest;

use url::Url;

use crate::ids::Shortcode;
use clean::{clean, percent_decoded};
use hosts::OWN;
use place::from_code;

pub use hosts::Hosts;

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
    /// The address of a post, but no code can be as long as this one.
    Incomplete,
    /// Messages, the account's settings.
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

/// The Instagram links of a message. `extra_links` are those that its visible text does not show.
pub fn find(text: &str, extra_links: &[String], hosts: &Hosts) -> Found {
    let mut links: Vec<Link> = Vec::new();
    let mut spans = Vec::new();
    let mut report = |link| {
        if !links.contains(&link) {
            links.push(link);
        }
    };
    let cleaned = clean(text);
    for (start, end) in words(&cleaned.text) {
        in_word(&cleaned.text[start..end], hosts, &mut |link, (from, to)| {
            report(link);
            spans.push((cleaned.origin(start + from), cleaned.origin(start + to)));
        });
    }
    for extra in extra_links {
        in_word(clean(extra.trim()).text.as_str(), hosts, &mut |link, _| report(link));
    }
    Found { rest: rest::without(text, &spans), links }
}

/// The code that a word is, as the bot itself writes it: for commands that are about a reel. What might as well be an
/// ordinary word is none.
pub fn bare_code(word: &str) -> Option<Shortcode> {
    let cleaned = clean(word).text;
    let code = cleaned.trim_matches(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '-'));
    let is_whole = code.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    let is_word = code.bytes().skip(1).all(|b| b.is_ascii_lowercase());
    from_code(code).filter(|_| is_whole && !is_word)
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
    match address::first(url.as_str(), &Hosts::with_mirrors(&[""; 0])).and_then(|found| found.link) {
        Some(Link::Reel(code)) => ShareTarget::Reel(code),
        _ => match url.path_segments().and_then(|mut segments| segments.next()) {
            Some("accounts" | "challenge" | "auth_platform" | "consent") => ShareTarget::Login,
            _ => ShareTarget::Elsewhere,
        },
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

/// Longest chain of encodings that is undone.
const ENCODED: usize = 3;

/// The parts of a text that may hold an address: what stands between white space, brackets, quotes, commas and any
/// punctuation outside ASCII.
fn words(text: &str) -> Vec<(usize, usize)> {
    let ends = |at: usize, c: char| {
        c.is_whitespace()
            || c.is_control()
            || matches!(c, '<' | '>' | '"' | '|' | '^' | '`' | '{' | '}' | '[' | ']' | '(' | ')')
            // `https;//` is a slip of the fingers.
            || (matches!(c, ',' | ';') && !text[at + 1..].starts_with("//"))
            || (!c.is_ascii() && !c.is_alphanumeric())
            // Letters in circles and squares are signs: no host has one.
            || matches!(c, '\u{24b6}'..='\u{24e9}' | '\u{1f130}'..='\u{1f189}')
    };
    let mut words = Vec::new();
    let mut start: Option<usize> = None;
    for (at, c) in text.char_indices() {
        match start {
            None if !ends(at, c) => start = Some(at),
            // An address for Android goes on behind these.
            Some(from) if ends(at, c) && !(c == ';' && text[from..at].contains("#Intent")) => {
                words.push((from, at));
                start = None;
            }
            _ => {}
        }
    }
    words.extend(start.map(|from| (from, text.len())));
    words
}

/// Reports the links of one word; more than one if addresses were pasted without a space.
fn in_word(word: &str, hosts: &Hosts, report: &mut dyn FnMut(Link, (usize, usize))) {
    let mut start = 0;
    while let Some(found) = address::first(&word[start..], hosts) {
        if let Some(link) = found.link {
            report(link, (start + found.start, start + found.end));
        }
        match found.next {
            Some(next) => start += next,
            None => return,
        }
    }
    // An address that was encoded as a whole.
    let mut decoded = word[start..].to_owned();
    for _ in 0..ENCODED {
        if !decoded.contains('%') {
            return;
        }
        decoded = percent_decoded(&decoded);
        let mut is_found = false;
        for (from, to) in words(&decoded) {
            let mut next = from;
            while let Some(found) = address::first(&decoded[next..to], hosts) {
                is_found = true;
                if let Some(link) = found.link {
                    report(link, (start, word.len()));
                }
                match found.next {
                    Some(step) => next += step,
                    None => break,
                }
            }
        }
        if is_found {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
