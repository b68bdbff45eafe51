//! Starts the edges: the adapters of the platforms and the web server. Owns what each is given; never what is answered.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{App, POLL, Refused, STORED_WITHIN, spawn, wait};
use crate::core::admin::overview::Overviews;
use crate::core::chat::{ReceiveFailed, TellPresence};
use crate::ids::Platform;
use crate::platforms::telegram::{ChatMoved, PollEnded, Telegram};
use crate::web::hosts::KnownHosts;
use crate::web::{self, Dashboard, Web, Webhook};

impl App {
    /// Starts the adapters and the web server; they end with `doors`.
    pub(super) fn start_adapters(
        self: &Arc<Self>,
        web: Option<(TcpListener, Option<PrometheusHandle>)>,
        doors: &CancellationToken,
        ended: &tokio::sync::mpsc::Sender<anyhow::Error>,
    ) -> TaskTracker {
        let adapters = TaskTracker::new();
        let start = |name: &'static str, future: futures::future::BoxFuture<'static, anyhow::Result<()>>| {
            let ended = ended.clone();
            spawn(&adapters, async move {
                if let Err(error) = future.await {
                    let _ = ended.send(error.context(name)).await;
                }
            });
        };
        let webhook = Arc::new(OnceLock::new());
        if let Some(telegram) = self.platforms.telegram.clone() {
            let (app, stop, webhook) = (self.clone(), doors.clone(), webhook.clone());
            start("Telegram", Box::pin(async move { app.run_telegram(telegram, &webhook, &stop).await }));
        }
        if let Some(discord) = self.platforms.discord.clone() {
            let (app, stop) = (self.clone(), doors.clone());
            start(
                "Discord",
                Box::pin(async move {
                    let door = app.discord_door();
                    app.in_role(&app.roles.discord, &stop, |stop| {
                        let (discord, door) = (discord.clone(), door.clone());
                        async move { discord.run(door, &stop).await.map_err(|ended| Refused::discord(ended).into()) }
                    })
                    .await
                }),
            );
        }
        if let Some((listener, metrics)) = web {
            let stop = doors.clone();
            let web = Web {
                store: self.store.clone(),
                clock: self.clock.clone(),
                time: self.time.clone(),
                roles: self.roles.all(),
                metrics,
                webhook,
                dashboard: self.dashboard(stop.clone()),
                hosts: KnownHosts::new(&self.config.public_urls),
                targets: self.watch.targets.clone(),
            };
            start(
                "the web server",
                Box::pin(async move {
                    web::serve(listener, web, stop).await;
                    Ok(())
                }),
            );
        }
        adapters
    }

    fn dashboard(&self, stop: CancellationToken) -> Arc<Dashboard> {
        let (store, boards, purse) = (self.store.clone(), self.boards.clone(), self.purse.clone());
        let targets = self.watch.targets.clone();
        let overviews = Overviews::new(store, boards, purse, self.clock.clone(), self.instance, targets);
        Dashboard::new(self.config.dashboard_token.clone(), self.store.clone(), overviews, stop)
    }

    /// Receives from Telegram: by polling, or by telling it where the webhook is, which is open from then on.
    async fn run_telegram(
        &self,
        telegram: Telegram,
        webhook: &OnceLock<Webhook>,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let me = match telegram.identify(stop).await {
            Ok(me) => me,
            Err(_) if stop.is_cancelled() => return Ok(()),
            Err(_) => return Err(Refused::telegram().into()),
        };
        self.replies.admin.is_named_on_telegram(&me.username);
        telegram.on_chat_moved(self.chat_moved());
        telegram.on_presence(self.tell_presence());
        let Some((url, secret)) = &self.config.telegram.webhook else {
            let role = self.roles.telegram.lease.clone();
            let receive = self.receive(Some(role.clone()));
            return self
                .in_role(&self.roles.telegram, stop, |stop| {
                    let (telegram, me, receive) = (telegram.clone(), me.clone(), receive.clone());
                    let role = role.clone();
                    async move {
                        telegram
                            .poll(&me, receive, &role, &stop)
                            .await
                            .map_err(|PollEnded::BadToken| Refused::telegram().into())
                    }
                })
                .await;
        };
        let mut pause = POLL * 2;
        while let Err(error) = telegram.set_webhook(url, secret).await {
            tracing::warn!(pause_ms = pause.as_millis() as u64, "telegram: the webhook could not be set: {error}");
            wait(stop, pause).await;
            if stop.is_cancelled() {
                return Ok(());
            }
            pause = (pause * 2).min(Duration::from_secs(60));
        }
        tracing::info!("telegram: the webhook is set");
        let _ = webhook.set(Webhook { telegram, me, secret: secret.clone(), receive: self.receive(None) });
        stop.cancelled().await;
        Ok(())
    }

    /// Who keeps the ids of groups that became supergroups, for the adapter.
    fn chat_moved(&self) -> ChatMoved {
        let inbox = self.inbox.clone();
        Arc::new(move |from, to| {
            let inbox = inbox.clone();
            Box::pin(async move {
                match tokio::time::timeout(STORED_WITHIN, inbox.chat_moved(&from, &to)).await {
                    Ok(Ok(())) => return Ok(()),
                    Ok(Err(error)) => {
                        tracing::error!(old = %from, new = %to, "a chat's new id could not be stored: {error}")
                    }
                    Err(_) => tracing::error!(old = %from, new = %to, "a chat's new id could not be stored in time"),
                }
                Err(ReceiveFailed)
            })
        })
    }

    /// Who keeps in which chats the bot is, for the adapters. Held weakly: it speaks through them itself.
    fn tell_presence(&self) -> TellPresence {
        let presence = Arc::downgrade(&self.presence);
        Arc::new(move |scope, change| {
            let presence = presence.upgrade();
            Box::pin(async move {
                let Some(presence) = presence else { return Err(ReceiveFailed) };
                match tokio::time::timeout(STORED_WITHIN, presence.told(&scope, change)).await {
                    Ok(Ok(())) => return Ok(()),
                    Ok(Err(error)) => tracing::error!(chats = %scope, ?change, "a change could not be stored: {error}"),
                    Err(_) => tracing::error!(chats = %scope, ?change, "a change could not be stored in time"),
                }
                Err(ReceiveFailed)
            })
        })
    }

    fn discord_door(&self) -> crate::platforms::discord::Door {
        let (takes_part, welcome, active) = (self.inbox.clone(), self.inbox.clone(), self.inbox.clone());
        crate::platforms::discord::Door {
            receive: self.receive(Some(self.roles.discord.lease.clone())),
            tell_presence: self.tell_presence(),
            takes_part: Arc::new(move |chat| {
                let inbox = takes_part.clone();
                Box::pin(async move {
                    inbox.takes_part(&chat).await.unwrap_or_else(|error| {
                        tracing::warn!("it is not known whether the bot takes part in a thread: {error}");
                        false
                    })
                })
            }),
            is_welcome: Arc::new(move |inbound| {
                let inbox = welcome.clone();
                Box::pin(async move { inbox.is_welcome(&inbound).await })
            }),
            active: Arc::new(move || {
                let inbox = active.clone();
                Box::pin(async move {
                    let chats = inbox.active_chats(Platform::Discord).await.unwrap_or_else(|error| {
                        tracing::warn!("what was missed cannot be looked up: {error}");
                        Vec::new()
                    });
                    chats
                        .into_iter()
                        .map(|(chat, last_message)| crate::platforms::discord::ActiveChat { chat, last_message })
                        .collect()
                })
            }),
        }
    }
}
