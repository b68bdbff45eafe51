//! Which page of Instagram a path names. Owns the order of path segments; never looks at hosts.

use super::{ShareKind, Unsupported};
use crate::ids::Shortcode;

/// What a path leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    Post(Shortcode),
    Share { token: String, kind: ShareKind },
    Unsupported(Unsupported),
}

/// The place of a path without query and fragment; `None` for the front page.
pub(super) fn place(path: &str) -> Option<Place> {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).take(4).collect();
    let keywords: Vec<String> = segments.iter().map(|segment| segment.to_ascii_lowercase()).collect();
    let keywords: Vec<&str> = keywords.iter().map(String::as_str).collect();
    let found = match keywords.as_slice() {
        [] => return None,
        ["share", kind @ ("reel" | "reels" | "p" | "tv"), _, ..] => {
            let kind = if kind.starts_with("reel") { ShareKind::Reel } else { ShareKind::Post };
            share(segments[2], kind)
        }
        ["share", "reel" | "reels" | "p" | "tv"] => Place::Unsupported(Unsupported::Other),
        ["share", _, ..] => share(segments[1], ShareKind::Unknown),
        ["reels"] => Place::Unsupported(Unsupported::Explore),
        ["stories", "highlights", ..] => Place::Unsupported(Unsupported::Highlight),
        ["stories", ..] => Place::Unsupported(Unsupported::Story),
        ["s", ..] => Place::Unsupported(match segments.get(1) {
            Some(id) if id.starts_with("aGlnaGxpZ2h0") => Unsupported::Highlight,
            _ => Unsupported::Story,
        }),
        ["explore", ..] => Place::Unsupported(Unsupported::Explore),
        ["audio", _, ..] | ["reel" | "reels", "audio", ..] => Place::Unsupported(Unsupported::Audio),
        ["p" | "tv" | "reel" | "reels", _, ..] => post(segments[1]),
        [first, ..] if RESERVED.contains(first) => Place::Unsupported(Unsupported::Other),
        [_, "reel" | "reels", "audio", ..] => Place::Unsupported(Unsupported::Audio),
        [_, "p" | "tv" | "reel" | "reels", _, ..] => post(segments[2]),
        [_, ..] if is_user(segments[0]) => Place::Unsupported(Unsupported::Profile),
        _ => Place::Unsupported(Unsupported::Other),
    };
    Some(found)
}

/// First segments that are no user's name.
const RESERVED: [&str; 24] = [
    "p",
    "tv",
    "reel",
    "share",
    "accounts",
    "direct",
    "about",
    "legal",
    "developer",
    "web",
    "api",
    "graphql",
    "oauth",
    "challenge",
    "emails",
    "session",
    "ar",
    "download",
    "directory",
    "nametag",
    "terms",
    "privacy",
    "help",
    "press",
];

/// A code, however it is followed: the code's own characters are what counts.
fn post(segment: &str) -> Place {
    let own = leading(segment);
    // In `_address_` the last sign belongs to the emphasis.
    let code = own.parse::<Shortcode>().or_else(|_| own.trim_end_matches('_').parse());
    code.map_or(Place::Unsupported(Unsupported::Other), Place::Post)
}

/// Tokens seen have 10 characters; cobalt accepts up to 16.
fn share(segment: &str, kind: ShareKind) -> Place {
    let token = leading(segment);
    if (5..=24).contains(&token.len()) {
        Place::Share { token: token.to_owned(), kind }
    } else {
        Place::Unsupported(Unsupported::Other)
    }
}

fn leading(segment: &str) -> &str {
    let end = segment.bytes().position(|b| !b.is_ascii_alphanumeric() && b != b'-' && b != b'_');
    &segment[..end.unwrap_or(segment.len())]
}

/// At most 30 of `A-Za-z0-9._` (common practice, not documented).
fn is_user(name: &str) -> bool {
    name.len() <= 30 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'_')
}
