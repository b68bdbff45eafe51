//! How busy the lanes are kept: a line that does not run dry, against what the lanes could do if no time were lost
//! between two reels.

use std::time::Duration;

use sandbox::{Sandbox, Settings};
use serde_json::json;

use crate::Found;
use crate::bot::{Bot, link, until};
use crate::database::{Outcome, server};

/// Three times as fast as usual: 5 s and 8 s become these.
const SPEED: f64 = 3.0;
const ANALYSIS: f64 = 5.0 / SPEED;
const WORKFLOW: f64 = 8.0 / SPEED;

/// Of what the lanes could do.
const BOUND: f64 = 0.98;

pub async fn run(quick: bool) -> Outcome<Found> {
    let rounds = if quick { 8 } else { 40 };
    println!(
        "Lanes: {rounds} reels for each lane, asked for by as many people at once. T is the upstreams' own time for one\n\
         reel, {WORKFLOW:.3} s as the sandbox is set (scrape {:.3} s and analysis {ANALYSIS:.3} s, or one n8n workflow). Possible are\n\
         lanes × 60 / T reels a minute; measured from the first start to the last end. Lost, for each reel: `run` beside T\n\
         within its lane's lease (requests, video, rows), `between` from one reel's end to the next one's start.",
        WORKFLOW - ANALYSIS
    );
    println!("  database     direct  n8n  reels  possible/min  measured/min  share    lost: run  between");
    let settings: [(usize, usize, Option<String>); 5] =
        [(2, 0, None), (3, 0, None), (5, 0, None), (2, 3, None), (5, 0, Some(server()?))];
    let (mut figures, mut broken) = (Vec::new(), Vec::new());
    for (direct, n8n, server) in settings {
        let reels = rounds * (direct + n8n);
        let times = times(direct, n8n, server.as_deref(), reels).await?;
        let database = if server.is_some() { "PostgreSQL" } else { "SQLite" };
        let first = times.iter().map(|(start, _)| *start).min().unwrap_or(0);
        let last = times.iter().map(|(_, end)| *end).max().unwrap_or(0);
        let span = (last - first) as f64 / 1e3;
        let lanes = (direct + n8n) as f64;
        let held: f64 = times.iter().map(|(start, end)| (end - start) as f64 / 1e3).sum();
        let possible = lanes * 60.0 / WORKFLOW;
        let measured = reels as f64 * 60.0 / span;
        let share = measured / possible;
        let run = (held / reels as f64 - WORKFLOW) * 1e3;
        let between = (lanes * span - held) / reels as f64 * 1e3;
        println!(
            "  {database:<11} {direct:>7} {n8n:>4} {reels:>6} {possible:>13.2} {measured:>13.2} {:>6.1} % {run:>9.1} ms {between:>6.1} ms",
            share * 100.0
        );
        figures.push(
            json!({"database": database, "direct": direct, "n8n": n8n, "reels": reels, "possible_per_minute": possible,
            "measured_per_minute": measured, "share": share, "lost_in_run_ms": run, "lost_between_ms": between}),
        );
        if share < BOUND {
            let share = share * 100.0;
            broken.push(format!(
                "lanes: {share:.1} % of {direct} direct and {n8n} n8n lanes ({database}), promised 98 %"
            ));
        }
    }
    Ok(Found { figures: json!(figures), broken })
}

/// When each reel was started and ended, in epoch ms.
async fn times(direct: usize, n8n: usize, server: Option<&str>, reels: usize) -> Outcome<Vec<(i64, i64)>> {
    let sandbox = Sandbox::start(Settings { port: 0, speed: SPEED, enforce_limits: false }).await?;
    sandbox.apify.set_scrape(Duration::from_secs_f64(WORKFLOW - ANALYSIS));
    let mut variables = vec![("REEL_LANES", direct.to_string())];
    let workflow = sandbox.n8n_environment();
    if n8n > 0 {
        let webhooks: Vec<String> = (0..n8n).map(|at| format!("{}-{at}", workflow[0].1)).collect();
        variables.push(("N8N_WEBHOOK_URLS", webhooks.join(",")));
        variables.push(("N8N_SECRET", workflow[1].1.clone()));
    }
    let mut bot = Bot::start_on(sandbox, server, &variables).await?;
    for person in 0..reels {
        let chat = i64::try_from(person)? + 1;
        bot.sandbox.telegram.say(chat, chat, "Person", &link(person));
    }
    let wanted = i64::try_from(reels)?;
    let ideal = reels as f64 * WORKFLOW / (direct + n8n) as f64;
    let patience = Duration::from_secs_f64(60.0 + 2.0 * ideal);
    until("every reel is through", patience, async || {
        tokio::time::sleep(Duration::from_millis(500)).await;
        Ok(bot.database.number("SELECT COUNT(*) FROM jobs WHERE state IN ('done', 'failed')").await? >= wanted)
    })
    .await?;
    let times = bot.database.rows("SELECT started_at, finished_at FROM jobs WHERE state = 'done'").await?;
    if times.len() != reels {
        return Err(format!("{} of {reels} reels came to a result", times.len()).into());
    }
    let store = bot.store.clone();
    until("every reel is answered", Duration::from_secs(120), async || Ok(store.is_idle().await?)).await?;
    bot.end().await?;
    Ok(times)
}
