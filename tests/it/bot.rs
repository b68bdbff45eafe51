//! The whole bot under test: the real `App` with the real adapters, on a database of its own, against the sandbox.
//! People speak through the sandbox's platforms and read what is on their screens.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reelcoach::app::{App, CheckedConfig};
use reelcoach::clock::Clock;
use reelcoach::config::Environment;
use reelcoach::platforms::Platforms;
use reelcoach::store::Store;
use reelcoach::web;
use sandbox::{Sandbox, Settings};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::TestDb;

/// Longest wait for anything: far beyond what is normal, so that a test fails instead of hanging.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running bot. Its end asserts that nothing is owed to anybody.
pub struct TestBot {
    pub sandbox: Arc<Sandbox>,
    pub db: Arc<TestDb>,
    pub store: Arc<Store>,
    /// Where its web server listens.
    pub http: SocketAddr,
    stop: CancellationToken,
    running: Option<JoinHandle<anyhow::Result<()>>>,
    /// Set by a test that ends in the middle of something on purpose.
    pub leaves_work: bool,
}

/// A sandbox that answers at once.
pub async fn sandbox() -> Arc<Sandbox> {
    let settings = Settings { port: 0, speed: f64::INFINITY, enforce_limits: false };
    Arc::new(Sandbox::start(settings).await.unwrap())
}

/// The variables of a bot in a test: the sandbox's, with no waiting where time itself is not the subject.
pub fn environment(sandbox: &Sandbox, db: &TestDb, overrides: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = [
        ("DATABASE_URL", db.url.as_str()),
        ("MERGE_WINDOW_MS", "0"),
        ("REEL_INTERVAL_SECONDS", "0"),
        ("HTTP_ADDR", "127.0.0.1:0"),
        // People of tests ask the same again and again.
        ("ANSWER_CACHE_HOURS", "0"),
        // Budgets are felt where a test sets them.
        ("BUDGET_DAY_USD", "none"),
        ("BUDGET_GUILD_MONTH_USD", "none"),
        ("TELEGRAM_PER_CHAT", "1000"),
    ];
    let mut all: BTreeMap<String, String> = sandbox.environment().into_iter().collect();
    for (name, value) in own.iter().chain(overrides) {
        all.insert((*name).to_owned(), (*value).to_owned());
    }
    all.into_iter().collect()
}

impl TestBot {
    /// A bot on a fresh database.
    pub async fn start(db: TestDb, overrides: &[(&str, &str)]) -> TestBot {
        Self::start_on(sandbox().await, Arc::new(db), overrides).await
    }

    /// A bot on a given sandbox and database, perhaps beside another one.
    pub async fn start_on(sandbox: Arc<Sandbox>, db: Arc<TestDb>, overrides: &[(&str, &str)]) -> TestBot {
        Self::start_at(sandbox, db, overrides, Clock::kept(), None).await
    }

    /// The same by a clock of the test's own, and on a listener of its own.
    pub async fn start_at(
        sandbox: Arc<Sandbox>,
        db: Arc<TestDb>,
        overrides: &[(&str, &str)],
        clock: Clock,
        web: Option<TcpListener>,
    ) -> TestBot {
        let environment: Environment = environment(&sandbox, &db, overrides).into_iter().collect();
        let (checked, faults) = CheckedConfig::read(&environment);
        assert_eq!(faults, []);
        let platforms = Platforms::from_config(&checked.config, &clock).unwrap();
        let listener = match web {
            Some(listener) => listener,
            None => web::bind(checked.config.http_addr).await.unwrap(),
        };
        let http = listener.local_addr().unwrap();
        let app = App::build(checked, clock, platforms).await.unwrap();
        let store = app.store();
        let stop = CancellationToken::new();
        let running = tokio::spawn(app.run(Some((listener, None)), stop.clone()));
        TestBot { sandbox, db, store, http, stop, running: Some(running), leaves_work: false }
    }

    /// Waits until everything said is answered.
    pub async fn drain(&self) {
        self.until("everything is answered", async || {
            self.sandbox.telegram.pending() == 0 && self.store.is_idle().await.unwrap()
        })
        .await;
    }

    /// Waits until `holds`; fails with `what` if it does not within [`PATIENCE`].
    pub async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        until(what, holds).await;
    }

    /// What the bot shows in a Telegram chat, oldest first.
    pub fn telegram(&self, chat: i64) -> Vec<String> {
        let screen = self.sandbox.telegram.screen(chat);
        screen.into_iter().filter(|shown| shown.from_bot).map(|shown| shown.text).collect()
    }

    /// Stops it as SIGTERM would, and asserts that it ended well.
    pub async fn stop(&mut self) {
        self.stop.cancel();
        if let Some(running) = self.running.take() {
            tokio::time::timeout(PATIENCE, running).await.expect("it did not stop").unwrap().unwrap();
        }
    }

    /// Stops, and asserts that nothing is owed.
    pub async fn end(mut self) {
        self.drain().await;
        self.stop().await;
        assert_eq!(self.sandbox.discord.violations(), Vec::<String>::new());
        self.leaves_work = true;
    }
}

impl Drop for TestBot {
    fn drop(&mut self) {
        self.stop.cancel();
        assert!(
            self.leaves_work || std::thread::panicking(),
            "a test ends with TestBot::end, which looks for what is still owed"
        );
    }
}

/// Looks every few milliseconds whether something holds.
pub async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    until_within(PATIENCE, what, holds).await;
}

/// The same where it may take longer, or must be faster.
pub async fn until_within(patience: Duration, what: &str, holds: impl AsyncFn() -> bool) {
    let looking = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(patience, looking).await.is_ok(), "not within {patience:?}: {what}");
}
