//! Webhooks: takes updates to the address the bot gave. Owns their order and repetition (Bot API,
//! setWebhook; tdlib/telegram-bot-api, WebhookActor.cpp); never reads what the bot answers beyond its status.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::world::{State, World};

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Delivers for as long as the stand-in lives.
#[expect(clippy::disallowed_methods, reason = "a stand-in lives apart from the app, as the real service does")]
pub(super) async fn run(world: Arc<World>, stop: CancellationToken) {
    let client = reqwest012::Client::new();
    loop {
        let changed = world.changed.notified();
        loop {
            let next = next(&mut world.state());
            let Some(delivery) = next else { break };
            let (world, client, stop) = (world.clone(), client.clone(), stop.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = deliver(&world, &client, delivery) => {}
                }
            });
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = changed => {}
        }
    }
}

struct Delivery {
    queue: i64,
    id: i64,
    update: Value,
}

/// The first update whose queue is free: those of one chat go one after another, and one that fails
/// holds up only its own chat.
fn next(state: &mut State) -> Option<Delivery> {
    let webhook = state.webhook.as_ref()?;
    if state.in_flight.len() >= webhook.max_connections {
        return None;
    }
    let free = state.updates.iter().find(|(id, update)| !state.in_flight.contains(&queue(*id, update)));
    let (id, update) = free.cloned()?;
    let queue = queue(id, &update);
    state.in_flight.insert(queue);
    Some(Delivery { queue, id, update })
}

fn queue(id: i64, update: &Value) -> i64 {
    let chat = update["message"]["chat"]["id"].as_i64();
    chat.or_else(|| update["callback_query"]["from"]["id"].as_i64()).unwrap_or(id)
}

async fn deliver(world: &World, client: &reqwest012::Client, delivery: Delivery) {
    let mut pause = world.state().webhook_retry;
    loop {
        let Some(webhook) = world.state().webhook.clone() else { break };
        let mut request = client
            .post(&webhook.url)
            .header("content-type", "application/json")
            .timeout(Duration::from_secs(60))
            .body(delivery.update.to_string());
        if let Some(secret) = &webhook.secret {
            request = request.header("X-Telegram-Bot-Api-Secret-Token", secret);
        }
        let (error, asked) = match request.send().await {
            Ok(response) if response.status().is_success() => {
                world.state().updates.retain(|(id, _)| *id != delivery.id);
                break;
            }
            Ok(response) => {
                let after = response.headers().get("retry-after").and_then(|after| after.to_str().ok());
                let after = after.and_then(|after| after.parse().ok()).map(|after: u64| after.min(3600));
                (format!("Wrong response from the webhook: {}", response.status()), after.map(Duration::from_secs))
            }
            Err(error) if error.is_timeout() => ("Read timeout expired".to_owned(), None),
            Err(_) => ("Connection refused".to_owned(), None),
        };
        world.state().webhook_error = Some(error);
        world.control.touch();
        tokio::time::sleep(asked.unwrap_or(pause)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    world.state().in_flight.remove(&delivery.queue);
    world.ring();
}
