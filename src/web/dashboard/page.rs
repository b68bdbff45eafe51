//! The dashboard's pages around the panels: frame, signing in, one failure, what is not there. Owns the stylesheet, the
//! script and the policy that lets only these two run.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use super::panels::{Panel, ago, moment, words};
use crate::clock::Timestamp;
use crate::core::admin::chart::{self, Chart, Look};
use crate::locale::fl;
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
    let section = |id: &str, title: String, about: Markup, inner: Markup| {
        html! {
            section id=(format!("section-{id}")) aria-labelledby=(format!("title-{id}")) {
                header { h2 id=(format!("title-{id}")) { (title) } span.past { (about) } }
                (inner)
            }
        }
    };
    let find = html! {
        form.find method="get" action="/failure" role="search" {
            label for="reference" { (fl!("web-find-reference")) }
            input id="reference" name="reference" type="search" required maxlength="12" size="10" autocomplete="off"
                autocapitalize="characters" spellcheck="false" placeholder="K7M2QX";
            button { (fl!("web-find")) }
        }
    };
    frame(
        &fl!("web-page-overview"),
        true,
        html! {
            (place("notice"))
            (place("tiles"))
            div.grid {
                div.column {
                    (section("lanes", fl!("web-section-lanes"), html! {}, place("lanes")))
                    (section("queue", fl!("web-section-queue"), html! {}, place("queue")))
                    (section("failures", fl!("web-section-failures"), html! {}, html! { (find) (place("failures")) }))
                    (section("upstreams", fl!("web-section-providers"), html! { (fl!("web-section-providers-about")) }, place("upstreams")))
                }
                div.column {
                    (section("budgets", fl!("web-section-budgets"), html! { (fl!("web-section-budgets-about")) }, place("budgets")))
                    (section("usage", fl!("web-section-usage"), html! {
                        (fl!("web-section-usage-about")) " · " a href="/usage" { (fl!("web-section-usage-larger")) }
                    }, place("usage")))
                    (section("models", fl!("web-section-models"), html! { (fl!("web-section-models-about")) }, place("models")))
                    (section("instances", fl!("web-section-instances"), html! {}, place("instances")))
                }
            }
        },
        &place("clock"),
    )
}

/// The charts, as large as the window; on a narrow one each is moved within its own frame.
pub fn usage(charts: &[Chart]) -> Markup {
    let body = html! {
        nav.back { a href="/" { (fl!("web-back")) } }
        h1.quiet { (fl!("web-page-usage")) }
        @for chart in charts {
            section.chart aria-label=(chart.title) {
                div.scroll tabindex="0" role="region" aria-label=(fl!("web-chart", title = chart.title.as_str())) {
                    (PreEscaped(chart::svg(chart, Look::Page)))
                }
            }
        }
    };
    frame(&fl!("web-page-usage"), true, body, &html! {})
}

/// Where the token is asked for; `refused` says why it was not taken.
pub fn sign_in(refused: Option<String>) -> Markup {
    frame(
        &fl!("web-sign-in"),
        false,
        html! {
            div.alone {
                h1 { "reelcoach" }
                form method="post" action="/sign-in" {
                    label for="token" { (fl!("web-token")) }
                    input id="token" name="token" type="password" required autocomplete="current-password" autofocus
                        aria-invalid=[refused.as_ref().map(|_| "true")] aria-describedby="about";
                    p id="about" class={ @if refused.is_some() { "refused" } @else { "past" } } role=[refused.as_ref().map(|_| "alert")] {
                        (refused.unwrap_or_else(|| fl!("web-token-hint")))
                    }
                    button { (fl!("web-sign-in")) }
                }
            }
        },
        &html! {},
    )
}

/// How it is switched on.
pub fn off() -> Markup {
    alone(
        &fl!("web-off"),
        html! {
            p { (fl!("web-off-how")) }
            p.past { (fl!("web-off-example")) }
        },
    )
}

pub fn not_found() -> Markup {
    alone(&fl!("web-not-found"), html! { p { (to_overview()) } })
}

pub fn no_database() -> Markup {
    alone(&fl!("web-no-database"), html! { p { (fl!("web-no-database-how")) " " (to_overview()) } })
}

fn to_overview() -> Markup {
    html! { a href="/" { (fl!("web-to-overview")) } }
}

/// One failure.
pub fn failure(failure: &Noted, now: Timestamp) -> Markup {
    frame(
        &fl!("web-page-failure"),
        true,
        html! {
            nav.back { a href="/" { (fl!("web-back")) } }
            section.detail aria-labelledby="title" {
                h1 id="title" { (fl!("web-failure", reference = failure.reference.as_str())) }
                dl {
                    dt { (fl!("web-failure-cause")) } dd { (words(&failure.cause)) }
                    dt { (fl!("web-failure-when")) } dd { (moment(failure.at)) span.past { " " (ago(failure.at, now)) } }
                    dt { (fl!("web-failure-where")) } dd { (failure.part) " " code { (failure.subject) } }
                    dt { (fl!("web-failure-details")) } dd { (failure.detail) }
                }
                p.past { (fl!("web-failure-more")) }
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
        &fl!("web-page-failure"),
        true,
        html! {
            nav.back { a href="/" { (fl!("web-back")) } }
            section.detail aria-labelledby="title" {
                h1 id="title" { (fl!("web-no-failure", reference = shown)) }
                p { (fl!("web-no-failure-how")) }
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
                title { (fl!("web-title", page = title)) }
                link rel="icon" type="image/svg+xml" href="/icon.svg";
                style { (PreEscaped(STYLE)) }
            }
            body {
                @if signed_in {
                    header.top {
                        @if is_live { h1 { "reelcoach" } } @else { a.home href="/" { "reelcoach" } }
                        @if is_live {
                            p.live id="live" role="status" data-state="connecting" { span.dot aria-hidden="true" {} span { (fl!("web-connecting")) } }
                            (clock)
                        }
                        form.out method="post" action="/sign-out" { button.plain { (fl!("web-sign-out")) } }
                    }
                }
                main { (inner) }
                @if is_live { script { (PreEscaped(SCRIPT)) } }
            }
        }
    }
}
