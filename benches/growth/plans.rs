//! Which statements the product ran, and how a database carries them out. Owns the listening (sqlx tells each statement
//! to `tracing`) and the reading of plans; never runs a statement itself.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::database::{Database, Outcome};

/// Hears statements while it is switched on.
#[derive(Clone, Default)]
pub struct Ear {
    open: Arc<AtomicBool>,
    heard: Arc<Mutex<BTreeSet<String>>>,
}

impl Ear {
    /// The one ear of this process.
    pub fn installed() -> Ear {
        let ear = Ear::default();
        let open = ear.open.clone();
        let wanted =
            dynamic_filter_fn(move |metadata, _| open.load(Ordering::Relaxed) && metadata.target() == "sqlx::query");
        tracing_subscriber::registry().with(ear.clone().with_filter(wanted)).init();
        ear
    }

    pub fn open(&self) {
        self.heard().clear();
        self.open.store(true, Ordering::Relaxed);
    }

    /// What was heard since it was opened, without what every transaction says.
    pub async fn close(&self) -> Vec<String> {
        // SQLite's own thread tells a statement when it is over, which may be after its last row has come.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        self.open.store(false, Ordering::Relaxed);
        let usual = ["BEGIN", "COMMIT", "ROLLBACK", "SELECT pg_"];
        let heard = self.heard();
        heard.iter().filter(|sql| !usual.iter().any(|usual| sql.starts_with(usual))).cloned().collect()
    }

    fn heard(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber> Layer<S> for Ear {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        // A short statement is its own summary.
        let sql = if said.statement.trim().is_empty() { said.summary } else { said.statement };
        self.heard().insert(sql.split_whitespace().collect::<Vec<_>>().join(" "));
    }
}

#[derive(Default)]
struct Said {
    summary: String,
    statement: String,
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "summary" => value.clone_into(&mut self.summary),
            "db.statement" => value.clone_into(&mut self.statement),
            _ => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if matches!(field.name(), "summary" | "db.statement") {
            self.record_str(field, &format!("{value:?}"));
        }
    }
}

/// How one statement is carried out.
pub struct Plan {
    pub statement: String,
    pub lines: Vec<String>,
    /// Lines that read a whole table, or a whole index of one.
    pub scans: Vec<String>,
}

/// The plans of these statements.
pub async fn plans(database: &mut Database, statements: &[String]) -> Outcome<Vec<Plan>> {
    let mut plans = Vec::new();
    for statement in statements {
        let lines = match database.plan(statement).await {
            Ok(lines) => lines,
            Err(error) => vec![format!("no plan: {error}")],
        };
        let scans = lines.iter().filter(|line| is_scan(line)).map(|line| line.trim().to_owned()).collect();
        plans.push(Plan { statement: statement.clone(), lines, scans });
    }
    Ok(plans)
}

/// SQLite says SCAN, with or without an index; PostgreSQL says Seq Scan, and an index scan without a condition stands
/// for itself. A scan of an index may stop at its first row: the times tell.
fn is_scan(line: &str) -> bool {
    let line = line.trim();
    line.contains("Seq Scan") || (line.starts_with("SCAN ") && !line.contains("CONSTANT ROW"))
}
