//! The dashboard's pages around the panels: frame, signing in, one failure, what is not there. Owns the stylesheet, the
//! script and the policy that lets only these two run.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use super::panels::{Panel, moment, span_of, words};
use crate::clock::Timestamp;
use crate::core::admin::chart::{self, Chart, Look};
use crate::store::failures::Noted;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("live.js");
pub const ICON: &str = include_str!("icon.svg");

/// A reference that was asked for is repeated up to this length.
const REPEATED: usize = 24;

/// What a page may do: nothing but this stylesheet, this script, and its own icon, forms and stream.
pub fn policy() -> String {
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
    format!(
        "default-src 'none'; style-src {}; script-src {}; img-src 'self'; connect-src 'self'; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

/// Everything at a glance.
pub fn overview(panels: &[Panel]) -> Markup {
    let place = |id: &str| {
        let found = panels.iter().find(|panel| panel.id == id);
        html! { @if let Some(panel) = found { (PreEscaped(&panel.html)) } @else { div data-panel id=(id) {} } }
    };
    let section = |id: &str, title: &str, about: Markup, inner: Markup| {
        html! {
            section id=(format!("section-{id}")) aria-labelledby=(format!("title-{id}")) {
                header { h2 id=(format!("title-{id}")) { (title) } span.past { (about) } }
                (inner)
            }
        }
    };
    let find = html! {
        form.find method="get" action="/failure" role="search" {
            label for="reference" { "Reference code" }
            input id="reference" name="reference" type="search" required maxlength="12" size="10" autocomplete="off"
                autocapitalize="characters" spellcheck="false" placeholder="K7M2QX";
            button { "Find" }
        }
    };
    frame(
        "Overview",
        true,
        html! {
            (place("notice"))
            (place("tiles"))
            div.grid {
                div.column {
                    (section("lanes", "Lanes", html! {}, place("lanes")))
                    (section("queue", "Line", html! {}, place("queue")))
                    (section("failures", "Failures", html! {}, html! { (find) (place("failures")) }))
                    (section("upstreams", "Upstreams", html! { "last hour" }, place("upstreams")))
                }
                div.column {
                    (section("budgets", "Budgets", html! { "UTC" }, place("budgets")))
                    (section("usage", "Usage", html! { "30 days · " a href="/usage" { "larger, by model" } }, place("usage")))
                    (section("models", "Models", html! { "this month" }, place("models")))
                    (section("instances", "Instances", html! {}, place("instances")))
                }
            }
        },
        &place("clock"),
    )
}

/// The charts, as large as the window; on a narrow one each is moved within its own frame.
pub fn usage(charts: &[Chart]) -> Markup {
    let body = html! {
        nav.back { a href="/" { "← Overview" } }
        h1.quiet { "Usage" }
        @for chart in charts {
            section.chart aria-label=(chart.title) {
                div.scroll tabindex="0" role="region" aria-label=(format!("{}, chart", chart.title)) {
                    (PreEscaped(chart::svg(chart, Look::Page)))
                }
            }
        }
    };
    frame("Usage", true, body, &html! {})
}

/// Where the token is asked for; `refused` says why it was not taken.
pub fn sign_in(refused: Option<&str>) -> Markup {
    frame(
        "Sign in",
        false,
        html! {
            div.alone {
                h1 { "reelcoach" }
                form method="post" action="/sign-in" {
                    label for="token" { "Dashboard token" }
                    input id="token" name="token" type="password" required autocomplete="current-password" autofocus
                        aria-invalid=[refused.map(|_| "true")] aria-describedby="about";
                    p id="about" class={ @if refused.is_some() { "refused" } @else { "past" } } role=[refused.map(|_| "alert")] {
                        (refused.unwrap_or("It is the value of DASHBOARD_TOKEN."))
                    }
                    button { "Sign in" }
                }
            }
        },
        &html! {},
    )
}

/// How it is switched on.
pub fn off() -> Markup {
    alone(
        "The dashboard is off",
        html! {
            p { "Set " code { "DASHBOARD_TOKEN" } " to a random text of 16 characters or more, and start reelcoach again." }
            p.past { "For example: " code { "openssl rand -hex 16" } }
        },
    )
}

pub fn not_found() -> Markup {
    alone("There is nothing here", html! { p { a href="/" { "To the overview" } } })
}

pub fn no_database() -> Markup {
    alone("The database does not answer", html! { p { "Try again in a moment. " a href="/" { "To the overview" } } })
}

/// One failure.
pub fn failure(failure: &Noted, now: Timestamp) -> Markup {
    frame(
        "Failure",
        true,
        html! {
            nav.back { a href="/" { "← Overview" } }
            section.detail aria-labelledby="title" {
                h1 id="title" { "Failure " code { (failure.reference) } }
                dl {
                    dt { "Cause" } dd { (words(&failure.cause)) }
                    dt { "When" } dd { (moment(failure.at)) span.past { " " (span_of(now.since(failure.at))) " ago" } }
                    dt { "What" } dd { (failure.part) " " code { (failure.subject) } }
                    dt { "Detail" } dd { (failure.detail) }
                }
                p.past { "The log has more under the same reference." }
            }
        },
        &html! {},
    )
}

/// A code that nothing is known of.
pub fn no_failure(reference: &str) -> Markup {
    let mut shown: String = reference.trim().chars().take(REPEATED).collect();
    if shown.len() < reference.trim().len() {
        shown.push('…');
    }
    frame(
        "No such failure",
        true,
        html! {
            nav.back { a href="/" { "← Overview" } }
            section.detail aria-labelledby="title" {
                h1 id="title" { "Nothing is known of “" (shown) "”" }
                p { "Codes have six letters and digits, without I, L, O, U, 0 and 1. Failures are forgotten after RETENTION_DAYS." }
            }
        },
        &html! {},
    )
}

fn alone(title: &str, inner: Markup) -> Markup {
    frame(title, false, html! { div.alone { h1 { (title) } (inner) } }, &html! {})
}

fn frame(title: &str, signed_in: bool, inner: Markup, clock: &Markup) -> Markup {
    let is_live = !clock.0.is_empty();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                title { (title) " · reelcoach" }
                link rel="icon" type="image/svg+xml" href="/icon.svg";
                style { (PreEscaped(STYLE)) }
            }
            body {
                @if signed_in {
                    header.top {
                        @if is_live { h1 { "reelcoach" } } @else { a.home href="/" { "reelcoach" } }
                        @if is_live {
                            p.live id="live" role="status" data-state="connecting" { span.dot aria-hidden="true" {} span { "connecting" } }
                            (clock)
                        }
                        form.out method="post" action="/sign-out" { button.plain { "Sign out" } }
                    }
                }
                main { (inner) }
                @if is_live { script { (PreEscaped(SCRIPT)) } }
            }
        }
    }
}
