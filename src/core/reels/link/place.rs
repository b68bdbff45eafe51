//! Which page of Instagram a path names. Owns the order of path segments; never looks at hosts.

use super::{ShareKind, Unsupported, from_media_id};
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
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).take(5).collect();
    // `/_u/` and `/_n/` make a phone open the app.
    let segments = match segments.split_first() {
        Some((&("_u" | "_n"), rest)) => rest,
        _ => &segments[..],
    };
    let keywords: Vec<String> = segments.iter().map(|segment| segment.to_ascii_lowercase()).collect();
    let keywords: Vec<&str> = keywords.iter().map(String::as_str).collect();
    let found = match keywords.as_slice() {
        [] => return None,
        ["share", kind @ ("reel" | "reels" | "p" | "tv"), _, ..] => {
            let kind = if kind.starts_with("reel") { ShareKind::Reel } else { ShareKind::Post };
            share(segments[2], kind)
        }
        ["share", "reel" | "reels" | "p" | "tv"] => Place::Unsupported(Unsupported::Incomplete),
        ["share", _, ..] => share(segments[1], ShareKind::Unknown),
        ["reels"] => Place::Unsupported(Unsupported::Explore),
        ["stories", "highlights", ..] => Place::Unsupported(Unsupported::Highlight),
        ["stories", ..] => Place::Unsupported(Unsupported::Story),
        ["s", ..] => Place::Unsupported(match segments.get(1) {
            Some(id) if id.starts_with("aGlnaGxpZ2h0") => Unsupported::Highlight,
            _ => Unsupported::Story,
        }),
        ["explore" | "popular", ..] => Place::Unsupported(Unsupported::Explore),
        ["audio", _, ..] => Place::Unsupported(Unsupported::Audio),
        ["p" | "tv" | "reel" | "reels", _, ..] => post(&segments[1..]),
        ["p" | "tv" | "reel"] => Place::Unsupported(Unsupported::Incomplete),
        [first, ..] if RESERVED.contains(first) => Place::Unsupported(Unsupported::Other),
        [_, "p" | "tv" | "reel" | "reels", _, ..] => post(&segments[2..]),
        [_, "p" | "tv" | "reel"] => Place::Unsupported(Unsupported::Incomplete),
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

/// Words of Instagram's own that stand where a code might: pages, and words that stand before the code.
const PAGES: [&str; 26] = [
    "audio",
    "videos",
    "video",
    "trending",
    "popular",
    "explore",
    "foryou",
    "following",
    "friends",
    "recommended",
    "suggested",
    "templates",
    "template",
    "effects",
    "effect",
    "remix",
    "tagged",
    "saved",
    "search",
    "create",
    "upload",
    "drafts",
    "reels",
    "reel",
    "p",
    "tv",
];

/// What stands behind `/reel/`: a code, however it is followed, or one of Instagram's pages.
fn post(segments: &[&str]) -> Place {
    let Some((first, rest)) = segments.split_first() else { return Place::Unsupported(Unsupported::Incomplete) };
    let word = first.to_ascii_lowercase();
    if word == "audio" {
        return Place::Unsupported(Unsupported::Audio);
    }
    if PAGES.contains(&word.as_str()) {
        // `/reels/videos/CODE/`.
        let code = rest.first().and_then(|segment| from_code(segment));
        return code.map_or(Place::Unsupported(Unsupported::Explore), Place::Post);
    }
    from_code(first).map_or(Place::Unsupported(Unsupported::Incomplete), Place::Post)
}

/// The code at the beginning of a segment: 11 characters, 10 before 2016, and for a private post 28 more, or the number
/// that it stands for. There are shorter ones, but they are older than video on Instagram, so that a short code is one that
/// was not copied whole.
pub(super) fn from_code(segment: &str) -> Option<Shortcode> {
    let own = leading(segment);
    let digits = own.bytes().take_while(u8::is_ascii_digit).count();
    if digits >= 15 && own[digits..].strip_prefix('_').is_none_or(|user| user.bytes().all(|b| b.is_ascii_digit())) {
        let id = own[..digits].parse().ok()?;
        return from_media_id(id).filter(|_| own.len() == digits || own[digits..].starts_with('_'));
    }
    // In `_address_` the last sign belongs to the emphasis, and after `address-` words go on.
    [own, own.trim_end_matches(['_', '-'])].into_iter().find_map(|code| match code.len() {
        10 | 11 => code.parse().ok(),
        38 | 39 => code[..code.len() - PRIVATE].parse().ok(),
        _ => None,
    })
}

/// Characters that a private post's code has more: probably what opens it, so they are not kept.
const PRIVATE: usize = 28;

/// Tokens seen have 10 characters; cobalt accepts up to 16.
fn share(segment: &str, kind: ShareKind) -> Place {
    let token = leading(segment);
    if (5..=24).contains(&token.len()) {
        Place::Share { token: token.to_owned(), kind }
    } else {
        Place::Unsupported(Unsupported::Incomplete)
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
