//! How many times a second the health endpoint answers. Owns the asking; what health means is the bot's.

use std::time::{Duration, Instant};

use anyhow::Context;

use super::Stop;
use super::check::Verdict;
use super::measure::{Meter, Percentiles};
use super::report::Entry;
use super::scene::Figures;
use super::stage::{Host, Setting, Stage};
use sandbox::Terms;

/// Connections that ask all the time.
const CONNECTIONS: usize = 16;

pub async fn run(
    host: &Host,
    span: Duration,
    stop: &Stop,
    progress: &(dyn Fn(f64) + Sync),
) -> anyhow::Result<Vec<Entry>> {
    let terms = Terms::at(1.0);
    let stage = Stage::set(host, Setting::new(terms)).await?;
    let address = stage.health().context("the bot has no address")?;
    let http = reqwest012::Client::builder().no_proxy().tcp_nodelay(true).timeout(Duration::from_secs(5)).build()?;
    let (meter, began) = (Meter::start(stage.reading()), Instant::now());
    let asking = (0..CONNECTIONS).map(|_| async {
        let (mut took, mut failed) = (Vec::new(), 0);
        while began.elapsed() < span && !stop.is_cancelled() {
            progress(began.elapsed().as_secs_f64() / span.as_secs_f64());
            let asked = Instant::now();
            let answer = http.get(format!("http://{address}/readyz")).send().await;
            let whole = match answer.and_then(reqwest012::Response::error_for_status) {
                Ok(answer) => answer.bytes().await.is_ok(),
                Err(_) => false,
            };
            if whole {
                took.push(asked.elapsed().as_secs_f64() * 1e3);
            } else {
                failed += 1;
            }
        }
        (took, failed)
    });
    let done = futures::future::join_all(asking).await;
    let used = meter.stop(stage.reading());
    let (exits, (warnings, errors)) = (stage.exits(), stage.complaints());
    stage.strike().await?;
    let failed: usize = done.iter().map(|(_, failed)| failed).sum();
    let took: Vec<f64> = done.into_iter().flat_map(|(took, _)| took).collect();
    let spans = Percentiles::of(took.iter().copied());
    let mut verdict = Verdict::default();
    let mut found: Vec<(String, Vec<String>)> = exits.into_iter().map(|exit| (exit, Vec::new())).collect();
    if failed > 0 {
        found.push((format!("{failed} of {} requests were not answered well", took.len() + failed), Vec::new()));
    }
    if errors > 0 {
        found.push((format!("{errors} errors in the log"), Vec::new()));
    }
    verdict.rule("nothing fails by itself", took.len() + failed, found, String::new());
    let figures = Figures {
        messages: took.len() + failed,
        answered: took.len(),
        failed,
        per_second: took.len() as f64 / used.seconds.max(1e-3),
        first_text_ms: spans,
        final_ms: spans,
        used,
        warnings,
        errors,
        checks: verdict.checks,
        breaches: verdict.breaches,
        ..Figures::default()
    };
    Ok(vec![Entry::of("health", format!("{CONNECTIONS} connections ask /readyz all the time"), terms, figures)])
}
