//! Draws messages as a phone shows them: an SVG as wide as a phone, whose lines keep their length in whatever font is there.

use std::fmt::Write;

/// Of the picture, in pixels.
const WIDTH: f64 = 400.0;
const MARGIN: f64 = 10.0;
const PADDING: f64 = 11.0;
const BUBBLE: f64 = 348.0;
const SIZE: f64 = 15.0;
const LINE: f64 = 20.0;

/// One thing on the screen, from top to bottom.
pub enum Bubble {
    /// What is not a message: a word between two states of one.
    Note(String),
    /// `html` as Telegram takes it.
    Message { from_bot: bool, html: String, buttons: Vec<String> },
}

/// A stretch of text in one style.
#[derive(Clone, Debug, PartialEq)]
struct Run {
    text: String,
    bold: bool,
    code: bool,
}

/// The picture.
pub fn draw(screen: &[Bubble]) -> String {
    let mut body = String::new();
    let mut y = MARGIN;
    for bubble in screen {
        match bubble {
            Bubble::Note(words) => {
                let _ = writeln!(
                    body,
                    r##"<text x="{}" y="{}" text-anchor="middle" font-size="13" fill="#8fa3b5">{}</text>"##,
                    WIDTH / 2.0,
                    y + 13.0,
                    escaped(words)
                );
                y += 24.0;
            }
            Bubble::Message { from_bot, html, buttons } => {
                y = message(&mut body, y, *from_bot, html, buttons) + 10.0;
            }
        }
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" width=\"{WIDTH}\" height=\"{y}\" role=\"img\" \
         font-family=\"system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif\" font-size=\"{SIZE}\" fill=\"#ffffff\">\n\
         <title>A conversation on Telegram: a reel link, the message that counts down, and the coaching</title>\n\
         <rect width=\"{WIDTH}\" height=\"{y}\" rx=\"14\" fill=\"#0e1621\"/>\n{body}</svg>\n"
    )
}

/// Draws one message from `top` on, and tells where it ends.
fn message(body: &mut String, top: f64, from_bot: bool, html: &str, buttons: &[String]) -> f64 {
    let lines = wrapped(&runs(html), BUBBLE - 2.0 * PADDING);
    let widest = lines.iter().map(|line| width(line)).fold(0.0, f64::max);
    let wide = if buttons.is_empty() { widest + 2.0 * PADDING } else { BUBBLE };
    let high = lines.len() as f64 * LINE + 2.0 * PADDING - 4.0;
    let left = if from_bot { MARGIN } else { WIDTH - MARGIN - wide };
    let ground = if from_bot { "#182533" } else { "#2b5278" };
    let _ = writeln!(
        body,
        r#"<rect x="{left:.1}" y="{top:.1}" width="{wide:.1}" height="{high:.1}" rx="12" fill="{ground}"/>"#
    );
    for (at, line) in lines.iter().enumerate() {
        let spans: String = line.iter().map(span).collect();
        if spans.is_empty() {
            continue;
        }
        let _ = writeln!(
            body,
            r#"<text x="{:.1}" y="{:.1}" textLength="{:.1}" lengthAdjust="spacingAndGlyphs" xml:space="preserve">{spans}</text>"#,
            left + PADDING,
            top + PADDING + 13.0 + at as f64 * LINE,
            width(line)
        );
    }
    let mut bottom = top + high;
    for label in buttons {
        bottom += 4.0;
        let _ = writeln!(
            body,
            r##"<rect x="{left:.1}" y="{bottom:.1}" width="{wide:.1}" height="32" rx="8" fill="#24384d"/><text x="{:.1}" y="{:.1}" text-anchor="middle">{}</text>"##,
            left + wide / 2.0,
            bottom + 21.0,
            escaped(label)
        );
        bottom += 32.0;
    }
    bottom
}

fn span(run: &Run) -> String {
    let text = escaped(&run.text);
    match (run.bold, run.code) {
        (false, false) => text,
        (true, false) => format!(r#"<tspan font-weight="700">{text}</tspan>"#),
        (_, true) => format!(
            r##"<tspan font-family="ui-monospace,Menlo,Consolas,monospace" font-size="13.5" fill="#a5d0ff">{text}</tspan>"##
        ),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Telegram's HTML as runs; a tag that says nothing of weight or code leaves the text as it is.
fn runs(html: &str) -> Vec<Run> {
    let (mut bold, mut code) = (0_u32, 0_u32);
    let mut found: Vec<Run> = Vec::new();
    for (at, part) in html.split('<').enumerate() {
        let text = match (at, part.split_once('>')) {
            (0, _) | (_, None) => part,
            (_, Some((tag, text))) => {
                let counter = match tag.trim_start_matches('/').split(' ').next() {
                    Some("b" | "strong") => Some(&mut bold),
                    Some("code" | "pre") => Some(&mut code),
                    _ => None,
                };
                if let Some(counter) = counter {
                    *counter = if tag.starts_with('/') { counter.saturating_sub(1) } else { *counter + 1 };
                }
                text
            }
        };
        let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&");
        if !text.is_empty() {
            found.push(Run { text, bold: bold > 0, code: code > 0 });
        }
    }
    found
}

/// Lines of at most this width, broken at spaces.
fn wrapped(runs: &[Run], limit: f64) -> Vec<Vec<Run>> {
    let mut lines = vec![Vec::new()];
    for run in runs {
        for (at, paragraph) in run.text.split('\n').enumerate() {
            if at > 0 {
                lines.push(Vec::new());
            }
            for word in paragraph.split_inclusive(' ') {
                let word = Run { text: word.to_owned(), ..run.clone() };
                let line = lines.last_mut().expect("there is a line");
                let bare = Run { text: word.text.trim_end().to_owned(), ..run.clone() };
                if !line.is_empty() && width(line) + width(std::slice::from_ref(&bare)) > limit {
                    lines.push(vec![word]);
                } else {
                    push(line, word);
                }
            }
        }
    }
    for line in &mut lines {
        if let Some(last) = line.last_mut() {
            last.text.truncate(last.text.trim_end().len());
        }
        line.retain(|run| !run.text.is_empty());
    }
    lines
}

/// Adds a word to a line, to the run before it if that is of the same style.
fn push(line: &mut Vec<Run>, word: Run) {
    match line.last_mut() {
        Some(last) if (last.bold, last.code) == (word.bold, word.code) => last.text.push_str(&word.text),
        _ => line.push(word),
    }
}

/// How wide a line is in a usual sans-serif font.
fn width(line: &[Run]) -> f64 {
    let of = |run: &Run| -> f64 {
        if run.code {
            return run.text.chars().count() as f64 * 0.6 * 13.5;
        }
        let weight = if run.bold { 1.06 } else { 1.0 };
        run.text.chars().map(|c| f64::from(advance(c)) / 1000.0 * SIZE * weight).sum()
    };
    line.iter().map(of).sum()
}

/// The advance width of a character in Helvetica, in thousandths of its size.
fn advance(c: char) -> u16 {
    match c {
        'i' | 'j' | 'l' | '\'' | '|' => 222,
        ' ' | '!' | ',' | '.' | '/' | ':' | ';' | 'I' | 'f' | 't' | '[' | ']' => 278,
        '(' | ')' | '-' | 'r' | '`' | '“' | '”' | '‘' | '’' | '{' | '}' => 333,
        'J' | 'c' | 'k' | 's' | 'v' | 'x' | 'y' | 'z' => 500,
        'F' | 'T' | 'Z' => 611,
        'A' | 'B' | 'E' | 'K' | 'P' | 'S' | 'V' | 'X' | 'Y' | '&' => 667,
        'C' | 'D' | 'H' | 'N' | 'R' | 'U' | 'w' => 722,
        'G' | 'O' | 'Q' => 778,
        'M' | 'm' => 833,
        'W' => 944,
        '…' | '—' | '%' => 950,
        // Variation selectors of emoji.
        '\u{fe0f}' => 0,
        c if c > '\u{2300}' => 1300,
        _ => 556,
    }
}
