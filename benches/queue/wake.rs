//! How fast one instance hears of what another one has submitted, through LISTEN and NOTIFY.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reelcoach::clock::Clock;
use reelcoach::ids::{ChatId, Platform, Shortcode, TurnId};
use reelcoach::store::Store;
use serde_json::json;

use crate::database::{Database, Outcome, server};
use crate::hits::{limits, submit};
use crate::{Found, at};

const TIMES: usize = 200;
const BOUND: Duration = Duration::from_millis(50);

pub async fn run() -> Outcome<Found> {
    let folder = tempfile::tempdir()?;
    let database = Database::make(folder.path(), Some(&server()?), "wake").await?;
    let here = Store::open(&database.url, 4).await?;
    here.migrate().await?;
    let there = Arc::new(Store::open(&database.url, 4).await?);
    let listener = there.clone();
    let listening = tokio::spawn(async move { listener.listen().await });
    let person = here.person(Platform::Telegram, "1", "Ana", Clock::System.now()).await?;
    let chat = ChatId::new(Platform::Telegram, "1");
    let (mut from_call, mut from_commit) = (Vec::new(), Vec::new());
    let mut heard_before = false;
    let mut number = 0;
    while from_call.len() < TIMES {
        number += 1;
        let code: Shortcode = format!("DW{number:09}").parse()?;
        let wake = there.wake.jobs.notified();
        tokio::pin!(wake);
        wake.as_mut().enable();
        let called = Instant::now();
        let waiting = async {
            let heard = tokio::time::timeout(Duration::from_secs(2), wake).await;
            heard.map(|()| Instant::now()).ok()
        };
        let submitting = async {
            submit(&here, TurnId::new(), person, &chat, &code, limits(), Clock::System.now()).await?;
            Ok::<_, crate::Failed>(Instant::now())
        };
        let (heard, returned) = tokio::join!(waiting, submitting);
        let returned = returned?;
        match heard {
            Some(heard) => {
                heard_before = true;
                from_call.push(heard - called);
                from_commit.push(heard.saturating_duration_since(returned));
            }
            // It may not have begun to listen when the first ones came.
            None if !heard_before && number < 10 => {}
            None => return Err("a wake-up was not heard within 2 s".into()),
        }
        // Further hints of the same submission have gone by.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    listening.abort();
    here.close().await;
    there.close().await;
    database.remove().await?;
    println!("Wake: {TIMES} submissions on one PostgreSQL instance, until another one's `wake.jobs` rings.");
    let mut figures = json!({});
    let mut p99 = Duration::ZERO;
    for (name, spans) in [("from the call", &mut from_call), ("beyond its return", &mut from_commit)] {
        spans.sort_unstable();
        let ms = |part| at(spans, part).as_secs_f64() * 1e3;
        println!("  {name:<18} p50 {:.2} ms   p99 {:.2} ms   max {:.2} ms", ms(0.5), ms(0.99), ms(1.0));
        figures[name] = json!({"p50_ms": ms(0.5), "p99_ms": ms(0.99), "max_ms": ms(1.0)});
        p99 = p99.max(at(spans, 0.99));
    }
    let broken = (p99 > BOUND).then(|| format!("wake: p99 {:.1} ms, promised 50 ms", p99.as_secs_f64() * 1e3));
    Ok(Found { figures, broken: broken.into_iter().collect() })
}
