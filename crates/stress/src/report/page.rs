//! One page that holds everything: a picture for each part, then the table. Owns its form; needs nothing from anywhere.

use std::fmt::Write;

use reelcoach::core::admin::chart::{Drawing, Look, Measures, Unit};

use super::{Entry, Report};

/// The page as HTML.
pub fn page(report: &Report) -> String {
    let mut html = String::from(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>reelcoach stress</title>\
         <style>body{font:15px/1.45 system-ui,sans-serif;max-width:1000px;margin:2em auto;padding:0 1em;color:#222;\
         background:#fff;--chart-ground:#fff}pre{overflow-x:auto;background:#f6f6f4;padding:1em;font-size:12px}\
         .bad{color:#b00020}svg{max-width:100%;height:auto}</style><h1>reelcoach stress</h1>",
    );
    let breaches = report.breaches();
    // Writing to a String cannot fail.
    let _ = match breaches {
        0 => write!(html, "<p>Every rule held.</p>"),
        _ => write!(html, "<p class=\"bad\">{breaches} breaches: see below.</p>"),
    };
    for entry in &report.entries {
        html.push_str(&Drawing::from(measures(entry)).svg(Look::Page));
    }
    let _ = write!(html, "<h2>Everything</h2><pre>{}</pre></html>", escape(&report.table()));
    html
}

/// How long a part's answers took. Each part has a picture and a scale of its own: health checks take milliseconds, and
/// reels take minutes.
fn measures(entry: &Entry) -> Measures {
    let Entry { name, figures, .. } = entry;
    let rows = [("first text", figures.first_text_ms), ("final answer", figures.final_ms)].into_iter().flat_map(
        |(what, ms)| {
            let shares = [("half within", ms.p50), ("95 % within", ms.p95), ("99 % within", ms.p99)];
            shares.map(|(share, ms)| (format!("{what}, {share}"), ms / 1000.0))
        },
    );
    Measures {
        title: name.clone(),
        subtitle: format!(
            "{} messages, {:.1} answers a second, {:.1} s of processor time, {:.0} MB",
            figures.messages, figures.per_second, figures.used.bot_cpu_seconds, figures.used.bot_rss_mb
        ),
        unit: Unit::Seconds,
        rows: rows.collect(),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
