//! What must hold for every text, and the cases that models write most.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::core::chat::{Button, FileRules};

/// Markdown as a model might write it, and as it never would.
pub(super) fn markdown() -> impl Strategy<Value = String> {
    let fragments = [
        "```rust\n",
        "```\n",
        "\n```\n",
        "~~~~\n",
        "  ```js\n",
        "````md\n",
        "> ",
        "- ",
        "  - ",
        "1. ",
        "12) ",
        "**",
        "*",
        "~~",
        "~",
        "`",
        "[a link](https://x.y/z)",
        "[",
        "](",
        "![i](http://p.q)",
        "e\u{301}\u{302}",
        "👨‍👩‍👧‍👦",
        "שלום עולם",
        "สวัสดีครับ",
        "\n",
        "\n\n",
        " ",
        "word ",
        "A sentence. ",
        "    ",
        "\t",
        "&amp;",
        "<b>",
        "<!-- x",
        "| a | b |\n|---|---|\n| 1 | 2 |\n",
        "# ",
        "---\n",
        "\\",
        "x<y & z>\"",
        "你好。",
        "longlonglonglonglonglonglonglonglonglong",
    ];
    let fragment =
        prop_oneof![9 => proptest::sample::select(fragments.to_vec()).prop_map(str::to_owned), 1 => ".{0,12}"];
    proptest::collection::vec(fragment, 0..120).prop_map(|parts| parts.concat())
}

pub(crate) fn rules(markup: Markup, limit: usize) -> MessengerRules {
    MessengerRules {
        unit: if markup == Markup::Html { LengthUnit::Utf16 } else { LengthUnit::Chars },
        limit,
        markup,
        edit_interval: Duration::from_secs(1),
        editable_for: None,
        dedupes_sends: false,
        per_second: 30,
        in_chat: None,
        files: FileRules { most: 10, caption: 1024, picture_bytes: 1000, file_bytes: 1 << 20, all_bytes: 1 << 20 },
    }
}

fn telegram(markdown: &str) -> String {
    let pieces = render(&Body::text(markdown), &rules(Markup::Html, 4096));
    assert_eq!(pieces.len(), 1);
    pieces[0].markup.clone()
}

/// The visible text of Telegram HTML, or what Telegram would not take about it.
fn visible(html: &str) -> Result<String, String> {
    let mut text = String::new();
    let mut open: Vec<&str> = Vec::new();
    let mut rest = html;
    while let Some(at) = rest.find(['<', '&', '>']) {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(entity) = rest.strip_prefix('&') {
            let (name, after) = entity.split_once(';').ok_or("bare &")?;
            text.push(match name {
                "lt" => '<',
                "gt" => '>',
                "amp" => '&',
                "quot" => '"',
                _ => return Err(format!("entity {name}")),
            });
            rest = after;
            continue;
        }
        let (tag, after) = rest.strip_prefix('<').and_then(|tag| tag.split_once('>')).ok_or("bare < or >")?;
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return Err(format!("</{name}> closes nothing"));
            }
            continue;
        }
        let name = tag.split(' ').next().unwrap_or_default();
        let alone = match (name, &tag[name.len()..]) {
            ("b" | "i" | "s" | "code" | "pre" | "blockquote", "") => true,
            ("a", attribute) => {
                attribute.starts_with(" href=\"") && attribute.ends_with('"') && attribute.matches('"').count() == 2
            }
            ("code", attribute) => {
                open.last() == Some(&"pre")
                    && attribute.starts_with(" class=\"language-")
                    && attribute.matches('"').count() == 2
            }
            _ => false,
        };
        let in_code = open.contains(&"code") || (open.contains(&"pre") && name != "code");
        if !alone || in_code || open.contains(&name) {
            return Err(format!("<{tag}> in {open:?}"));
        }
        open.push(name);
    }
    text.push_str(rest);
    if open.is_empty() { Ok(text) } else { Err(format!("open {open:?}")) }
}

#[test]
fn telegram_shows_what_was_meant() {
    for (source, want) in [
        ("**b** *i* ~~s~~ `c<d`", "<b>b</b> <i>i</i> <s>s</s> <code>c&lt;d</code>"),
        ("***both***", "<b><i>both</i></b>"),
        ("**a `c` b**", "<b>a </b><code>c</code><b> b</b>"),
        ("about ~5~ minutes", "about ~5~ minutes"),
        ("# Title\ntext", "<b>Title</b>\ntext"),
        ("# A **b** c\n\ntext", "<b>A b c</b>\n\ntext"),
        ("Intro:\n- a\n- b\n  - c\n\nEnd", "Intro:\n• a\n• b\n   • c\n\nEnd"),
        ("3. x\n4. y", "3. x\n4. y"),
        ("1. x\n1. y\n\n   more\n5. z", "1. x\n2. y\n\n   more\n5. z"),
        ("- [x] done\n- [ ] open", "• ☑ done\n• ☐ open"),
        ("a\nb  \nc", "a\nb\nc"),
        ("> q1\n> **q2**\n\nout", "<blockquote>q1\n<b>q2</b></blockquote>\n\nout"),
        ("> a\n>> b", "<blockquote>a\nb</blockquote>"),
        ("[t](https://a.b/?x=1&y=\"2\")", "<a href=\"https://a.b/?x=1&amp;y=&quot;2&quot;\">t</a>"),
        ("[t](javascript:alert(1)) [u](/rel) [v](tg://user?id=1)", "t u <a href=\"tg://user?id=1\">v</a>"),
        ("<https://a.b> <x@y.zz>", "<a href=\"https://a.b\">https://a.b</a> <a href=\"mailto:x@y.zz\">x@y.zz</a>"),
        (
            "![cover](https://a.b/c.png) ![](https://a.b/d.png)",
            "<a href=\"https://a.b/c.png\">cover</a> <a href=\"https://a.b/d.png\">image</a>",
        ),
        (
            "```rust ignore\nlet a = \"<b>\";\n  x\n```",
            "<pre><code class=\"language-rust\">let a = &quot;&lt;b&gt;&quot;;\n  x</code></pre>",
        ),
        ("```\"><b>\nx\n```", "<pre><code class=\"language-b\">x</code></pre>"),
        ("- item\n  ```\n  code\n  ```\n- next", "• item\n<pre>code</pre>\n• next"),
        ("| a | b |\n|---|---:|\n| **x** | 10 |", "<pre>a |  b\n--+---\nx | 10</pre>"),
        ("a\n\n---\n\nb", "a\n\n———\n\nb"),
        ("<u>raw</u> & <script>", "&lt;u&gt;raw&lt;/u&gt; &amp; &lt;script&gt;"),
        ("<div>\nblock\n</div>", "&lt;div&gt;\nblock\n&lt;/div&gt;"),
        ("line<br>line", "line\nline"),
        ("", "…"),
        ("[x]: https://a.b", "[x]: https://a.b"),
    ] {
        let html = telegram(source);
        assert_eq!(html, want, "{source}");
        assert!(visible(&html).is_ok(), "{:?}", visible(&html));
    }
}

#[test]
fn buttons_stand_on_the_last_piece_and_all_are_private() {
    let buttons = vec![Button { label: "Cancel".into(), command: "/cancel 1".into() }];
    let body =
        Body { text: "A sentence of words. ".repeat(200), buttons: buttons.clone(), private: true, files: Vec::new() };
    let pieces = render(&body, &rules(Markup::Discord, 2000));
    assert_eq!(pieces.len(), 3);
    assert!(pieces.iter().all(|piece| piece.private && piece.files.is_empty()));
    assert!(pieces[0].buttons.is_empty() && pieces[1].buttons.is_empty());
    assert_eq!(pieces[2].buttons, buttons);
}

#[test]
fn far_too_long_becomes_a_file() {
    let text = "A sentence of words with **bold** ones. ".repeat(2000);
    for markup in [Markup::Html, Markup::Discord, Markup::Markdown] {
        let rules = rules(markup, 2000);
        let pieces = render(&Body::text(text.clone()), &rules);
        let [piece] = pieces.as_slice() else { panic!("{} pieces", pieces.len()) };
        assert_eq!(piece.files, [File::text(FILE_NAME, text.clone())]);
        assert!(piece.markup.starts_with("A sentence") && piece.markup.ends_with(REST_IN_FILE));
        assert!(measure(&piece.plain, rules.unit) <= rules.files.caption);
    }
}

#[test]
fn a_frame_shows_the_first_piece_with_a_cursor() {
    let short = frame("**Hello** wor", &rules(Markup::Html, 4096));
    assert_eq!((short.markup.as_str(), short.plain.as_str()), ("<b>Hello</b> wor▌", "Hello wor▌"));
    let code = frame("So:\n```rust\nlet a", &rules(Markup::Discord, 2000));
    assert_eq!(code.markup, "So:\n```rust\nlet a\n```\n▌");
    let long = frame(&"word ".repeat(4000), &rules(Markup::Html, 4096));
    assert!(long.markup.ends_with("word▌") && measure(&long.plain, LengthUnit::Utf16) <= 4096);
    assert_eq!(frame("", &rules(Markup::Discord, 2000)).markup, CURSOR);
}

#[test]
fn telegram_pieces_stay_below_the_byte_limit_too() {
    let text = format!("[x](https://example.org/{})", "&".repeat(1500)).repeat(60);
    let pieces = render(&Body::text(text), &rules(Markup::Html, 4096));
    assert!(pieces.iter().all(|piece| piece.markup.len() < html::MOST_BYTES));
}

#[test]
fn endless_texts_are_rendered_in_passing() {
    for pattern in [
        "word ",
        "```\ncode\n",
        "[",
        "> ",
        "- ",
        "**a** ",
        "| a ",
        "[a](http://b) ",
        "<",
        "- a\n  - b\n",
        "| a | b |\n|---|---|\n",
    ] {
        let text = pattern.repeat(200_000 / pattern.len());
        for markup in [Markup::Html, Markup::Discord] {
            assert!(!render(&Body::text(text.clone()), &rules(markup, 4096)).is_empty());
        }
    }
}

fn squeezed(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn telegram_html_is_always_valid_and_complete(source in markdown(), limit in 20usize..400) {
        let rules = rules(Markup::Html, limit);
        let source = tidy(&source);
        let mut all = String::new();
        for piece in pieces(&source, &rules, limit) {
            let text = visible(&piece.markup);
            prop_assert_eq!(text.as_deref(), Ok(piece.plain.as_str()), "{}", &piece.markup);
            prop_assert!(measure(&piece.plain, LengthUnit::Utf16) <= limit);
            all.push_str(&piece.plain);
        }
        let whole = Formatted::of(&source);
        if !is_blank(&whole.text) {
            prop_assert_eq!(squeezed(&all), squeezed(&whole.text));
        }
    }

    #[test]
    fn every_platform_gets_pieces_within_its_limit(source in markdown(), limit in 200usize..2000) {
        for markup in [Markup::Html, Markup::Discord, Markup::Markdown] {
            let rules = rules(markup, limit);
            let rendered = render(&Body::text(source.clone()), &rules);
            prop_assert!(!rendered.is_empty());
            let growing = frame(&source, &rules);
            prop_assert!(growing.markup.ends_with(CURSOR) && growing.plain.ends_with(CURSOR));
            for piece in rendered.iter().chain([&growing]) {
                let shown = if markup == Markup::Html { visible(&piece.markup).unwrap() } else { piece.markup.clone() };
                prop_assert!(measure(&shown, rules.unit) <= limit, "{:?}", shown);
                prop_assert!(measure(&piece.plain, rules.unit) <= limit && !is_blank(&piece.plain));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// What the platforms' clients make of a text, as the sandbox knows it.
    #[test]
    fn escaped_words_are_only_words(text in hostile()) {
        let body = Body::text(format!("> 0:07 {}", escape(&text)));
        for markup in [Markup::Discord, Markup::Markdown] {
            for piece in render(&body, &test_rules(markup, 2000)) {
                prop_assert_eq!(sandbox::discord::live(&piece.markup), ["> "], "{}", piece.markup);
            }
        }
        for piece in render(&body, &test_rules(Markup::Html, 4096)) {
            let found = sandbox::telegram::live(&piece.markup);
            prop_assert!(found.iter().all(|(kind, _)| kind == "blockquote"), "{} has {found:?}", piece.markup);
        }
    }
}
