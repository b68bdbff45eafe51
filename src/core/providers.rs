//! The paid services as the configuration uses them, and how each stands: what a failed call says of its service, and what
//! follows from the store's rows for alerts, dashboard and `/readyz`. Owns no row; says nothing itself.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::config::{Config, VARIABLES};
use crate::store::Store;
use crate::store::lanes::{Lane, LaneKind};
use crate::store::providers::{CallEnd, ProviderCalls, ProviderRow, Trouble};
use crate::telemetry::PROVIDER_RESULTS;
use crate::upstream::{Cause, Failure, Provider};

/// The time whose failures are held against a service.
pub const WINDOW: Duration = Duration::from_secs(600);

/// Longest wait for the database where a call is noted.
const NOTED_WITHIN: Duration = Duration::from_secs(2);

/// Calls in that time below which their share of failures says nothing.
pub const FEW_CALLS: i64 = 10;

/// A service, and what it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderTarget {
    pub provider: Provider,
    /// As the store has it: `openai`, `n8n:0`.
    pub name: String,
    /// The model or the actor; empty for a webhook.
    pub target: String,
    /// The variables that name the target.
    pub variables: Vec<&'static str>,
}

impl ProviderTarget {
    fn new(provider: Provider, target: &str, variables: &[&'static str]) -> ProviderTarget {
        let name = provider.name().to_owned();
        ProviderTarget { provider, name, target: target.to_owned(), variables: variables.to_vec() }
    }

    /// A model that is asked, whatever names it.
    pub fn model(provider: Provider, model: &str) -> ProviderTarget {
        ProviderTarget::new(provider, model, &[])
    }

    /// What may take the target's place: the variable's default, where that is another one.
    pub fn successor(&self) -> Option<&'static str> {
        let [variable] = self.variables[..] else { return None };
        let default = VARIABLES.iter().find(|known| known.name == variable)?.default;
        (default != self.target && !default.is_empty()).then_some(default)
    }
}

/// The services of a configuration, in the order in which they are shown.
pub fn targets(config: &Config) -> Vec<ProviderTarget> {
    let (coach, economy) = (&config.coach.model, &config.coach.economy_model);
    let mut all = Vec::new();
    if coach == economy {
        all.push(ProviderTarget::new(Provider::OpenAi, coach, &["COACH_MODEL", "ECONOMY_MODEL"]));
    } else {
        all.push(ProviderTarget::new(Provider::OpenAi, coach, &["COACH_MODEL"]));
        all.push(ProviderTarget::new(Provider::OpenAi, economy, &["ECONOMY_MODEL"]));
    }
    if config.reels.lanes > 0 {
        all.push(ProviderTarget::new(Provider::Apify, &config.apify.actor, &["APIFY_ACTOR"]));
        all.push(ProviderTarget::new(Provider::Gemini, &config.gemini.model, &["GEMINI_MODEL"]));
    }
    let webhooks = (0..config.n8n.webhooks.len()).map(|at| ProviderTarget {
        name: webhook(at),
        ..ProviderTarget::new(Provider::N8n, "", &["N8N_WEBHOOK_URLS"])
    });
    all.extend(webhooks);
    all
}

/// The name of the `at`th webhook, which is that of its lane.
pub fn webhook(at: usize) -> String {
    format!("{}:{at}", Provider::N8n.name())
}

/// What the end of a call says of its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallVerdict {
    Worked,
    /// It may pass.
    Failed,
    /// It stays until somebody does something about it.
    Stuck(Trouble),
    /// Nothing: we did not ask, or did not wait for the answer.
    Silent,
}

/// What a failed call says of its service.
pub fn verdict(cause: &Cause) -> CallVerdict {
    match cause {
        Cause::OutOfCredit => CallVerdict::Stuck(Trouble::Credit),
        Cause::Unauthorized => CallVerdict::Stuck(Trouble::Key),
        Cause::NotFound => CallVerdict::Stuck(Trouble::Gone),
        Cause::BadRequest => CallVerdict::Stuck(Trouble::Request),
        // It answered, and does not like what it was asked or had to say.
        Cause::Blocked | Cause::Filtered | Cause::Unreadable | Cause::Language => CallVerdict::Worked,
        Cause::Cancelled | Cause::NoRoom | Cause::OverBudget(_) => CallVerdict::Silent,
        // A shorter request is made next.
        Cause::InputTooLong => CallVerdict::Silent,
        Cause::RateLimited { .. }
        | Cause::Unavailable { .. }
        | Cause::TimedOut
        | Cause::Cut
        | Cause::Malformed
        | Cause::Unusable
        | Cause::DayQuota { .. }
        | Cause::TooLong
        | Cause::Crowded { .. } => CallVerdict::Failed,
    }
}

/// What is noted of a call: what it says of its service, and of a failure its cause and its details for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallReport {
    verdict: CallVerdict,
    cause: &'static str,
    detail: String,
    /// It is an answer, a video or a run, and not a step towards one: the share of those that failed is told.
    counted: bool,
}

impl CallReport {
    pub fn worked() -> CallReport {
        CallReport { verdict: CallVerdict::Worked, cause: "ok", detail: String::new(), counted: true }
    }

    pub fn of(verdict: CallVerdict, cause: &'static str, detail: String) -> CallReport {
        CallReport { verdict, cause, detail, counted: true }
    }

    /// The same of a call that is counted only if `counted`.
    pub fn counted(self, counted: bool) -> CallReport {
        CallReport { counted, ..self }
    }

    pub fn verdict(&self) -> CallVerdict {
        self.verdict
    }

    /// Of a call where nothing is known beyond its failure.
    pub fn failed(failure: &Failure) -> CallReport {
        CallReport::of(verdict(&failure.cause), failure.cause.name(), failure.to_string())
    }
}

/// Notes a call that began at `began`. `reference`: its code, or its subject until that is noted under one.
pub async fn note(
    store: &Store,
    target: &ProviderTarget,
    report: &CallReport,
    reference: &str,
    began: Timestamp,
    now: Timestamp,
) {
    let failed = |trouble| CallEnd::Failed { cause: report.cause, trouble, detail: &report.detail, reference };
    let (end, outcome) = match report.verdict {
        CallVerdict::Silent => return,
        CallVerdict::Worked => (CallEnd::Worked, "ok"),
        CallVerdict::Failed => (failed(None), report.cause),
        CallVerdict::Stuck(trouble) => (failed(Some(trouble)), report.cause),
    };
    let noted = async {
        if report.counted {
            metrics::counter!(PROVIDER_RESULTS, "provider" => target.name.clone(), "outcome" => outcome).increment(1);
            store.count_provider_call(&target.name, end, now).await?;
        }
        store.note_provider(&target.name, &target.target, end, began, now).await
    };
    // The next call tells as much; nobody's answer waits for it.
    match tokio::time::timeout(NOTED_WITHIN, noted).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(provider = target.name, "it could not be noted how a service did: {error}"),
        Err(_) => tracing::warn!(provider = target.name, "it could not be noted in time how a service did"),
    }
}

/// How a service stands, the worst of what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderStatus {
    Working,
    /// Its latest call worked, others lately did not.
    SomeFail,
    Failing,
    Stuck(Trouble),
}

impl ProviderStatus {
    /// In one word, for programs.
    pub fn name(self) -> &'static str {
        match self {
            ProviderStatus::Working => "working",
            ProviderStatus::SomeFail => "some_fail",
            ProviderStatus::Failing => "failing",
            ProviderStatus::Stuck(Trouble::Credit) => "out_of_credit",
            ProviderStatus::Stuck(Trouble::Key) => "key_refused",
            ProviderStatus::Stuck(Trouble::Gone) => "not_found",
            ProviderStatus::Stuck(Trouble::Request) => "bad_request",
        }
    }
}

/// Rows that concern a configuration. A model that is not asked any more cannot be missed; a refused key stays refused
/// whatever it was used for, until a call works.
pub fn relevant<'a>(
    rows: &'a [ProviderRow],
    targets: &'a [ProviderTarget],
) -> impl Iterator<Item = (&'a ProviderTarget, &'a ProviderRow)> {
    rows.iter().filter_map(|row| {
        let exact = targets.iter().find(|target| target.name == row.name && target.target == row.target);
        let is_of_all = matches!(row.trouble, Some(Trouble::Credit | Trouble::Key | Trouble::Request));
        let other = || targets.iter().find(|target| target.name == row.name).filter(|_| is_of_all);
        Some((exact.or_else(other)?, row))
    })
}

/// The service because of which a lane's upstream failed with this cause: the one that failed last with it, or the webhook
/// itself.
pub fn failed_for<'a>(
    lane: &Lane,
    cause: &str,
    rows: &'a [ProviderRow],
    targets: &'a [ProviderTarget],
) -> Option<&'a ProviderRow> {
    let is_it = |target: &ProviderTarget, row: &ProviderRow| match lane.kind() {
        LaneKind::Direct => matches!(target.provider, Provider::Apify | Provider::Gemini) && row.cause == cause,
        LaneKind::N8n => target.name == lane.name(),
    };
    let failing = relevant(rows, targets).filter(|(target, row)| row.failing && is_it(target, row));
    failing.map(|(_, row)| row).max_by_key(|row| row.failed_at)
}

/// How the service of this name stands. `calls`: its latest ones.
pub fn status(
    name: &str,
    rows: &[ProviderRow],
    targets: &[ProviderTarget],
    calls: Option<&ProviderCalls>,
) -> ProviderStatus {
    let own: Vec<&ProviderRow> = relevant(rows, targets).map(|(_, row)| row).filter(|row| row.name == name).collect();
    let stuck = |trouble: Trouble| own.iter().any(|row| row.trouble == Some(trouble));
    let first = [Trouble::Credit, Trouble::Key, Trouble::Gone, Trouble::Request].into_iter().find(|one| stuck(*one));
    match first {
        Some(trouble) => ProviderStatus::Stuck(trouble),
        None if own.iter().any(|row| row.failing) => ProviderStatus::Failing,
        None if calls.is_some_and(|calls| calls.failed > 0) => ProviderStatus::SomeFail,
        None => ProviderStatus::Working,
    }
}

/// How one service did, for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderHealth {
    pub name: String,
    pub status: ProviderStatus,
    /// The model, actor or webhook that is in trouble, or one of those that are not.
    pub target: ProviderTarget,
    pub calls: ProviderCalls,
    pub last_failure: Option<(String, Timestamp)>,
}

/// How each configured service did that was called or is in trouble. `calls`: those of the time that is shown.
pub fn health(rows: &[ProviderRow], calls: &[ProviderCalls], targets: &[ProviderTarget]) -> Vec<ProviderHealth> {
    let mut all: Vec<ProviderHealth> = Vec::new();
    for target in targets {
        let name = &target.name;
        if all.iter().any(|known| known.name == *name) {
            continue;
        }
        let own = calls.iter().find(|calls| calls.name == *name);
        let status = status(name, rows, targets, own);
        if own.is_none() && status == ProviderStatus::Working {
            continue;
        }
        let none = ProviderCalls { name: name.clone(), calls: 0, failed: 0, rate_limited: 0 };
        let failed = relevant(rows, targets).map(|(_, row)| row).filter(|row| row.name == *name && row.failed_at.0 > 0);
        let in_trouble = relevant(rows, targets)
            .find(|(_, row)| row.name == *name && row.trouble.map(ProviderStatus::Stuck) == Some(status))
            .map_or(target, |(target, _)| target);
        let last = failed.max_by_key(|row| row.failed_at).filter(|_| status != ProviderStatus::Working);
        all.push(ProviderHealth {
            name: name.clone(),
            status,
            target: in_trouble.clone(),
            calls: own.cloned().unwrap_or(none),
            last_failure: last.map(|row| (row.cause.clone(), row.failed_at)),
        });
    }
    all
}

/// What people call a service.
pub fn title(provider: Provider) -> &'static str {
    match provider {
        Provider::OpenAi => "OpenAI",
        Provider::Apify => "Apify",
        Provider::Gemini => "Gemini",
        Provider::N8n => "n8n",
    }
}

/// The service of a stored name.
pub fn provider_of(name: &str) -> Option<Provider> {
    let kind = name.split(':').next().unwrap_or_default();
    [Provider::OpenAi, Provider::Apify, Provider::Gemini, Provider::N8n].into_iter().find(|known| known.name() == kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(provider: Provider, target: &str, variable: &'static str) -> ProviderTarget {
        ProviderTarget::new(provider, target, &[variable])
    }

    fn row(name: &str, target: &str, failing: bool, trouble: Option<Trouble>) -> ProviderRow {
        ProviderRow {
            name: name.into(),
            target: target.into(),
            failing,
            trouble,
            failed_at: Timestamp(5),
            cause: "cut".into(),
            detail: String::new(),
            reference: String::new(),
            shutdown_on: None,
        }
    }

    #[test]
    fn a_service_is_as_bad_as_the_worst_that_is_known_of_it() {
        let targets = [
            target(Provider::OpenAi, "gpt-6.1-sol", "COACH_MODEL"),
            target(Provider::OpenAi, "gpt-6-luna", "ECONOMY_MODEL"),
            target(Provider::Apify, "actor", "APIFY_ACTOR"),
        ];
        let of = |rows: &[ProviderRow], failed: i64| {
            let calls = ProviderCalls { name: "openai".into(), calls: 9, failed, rate_limited: 0 };
            status("openai", rows, &targets, Some(&calls))
        };
        let stuck = ProviderStatus::Stuck;
        assert_eq!(of(&[], 0), ProviderStatus::Working);
        assert_eq!(of(&[], 1), ProviderStatus::SomeFail);
        assert_eq!(of(&[row("openai", "gpt-6-luna", true, None)], 1), ProviderStatus::Failing);
        assert_eq!(of(&[row("openai", "gpt-6-luna", true, Some(Trouble::Gone))], 1), stuck(Trouble::Gone));
        assert_eq!(of(&[row("openai", "gpt-5", true, Some(Trouble::Gone))], 0), ProviderStatus::Working, "not asked");
        assert_eq!(
            of(&[row("openai", "gpt-5", true, Some(Trouble::Key))], 0),
            stuck(Trouble::Key),
            "whatever is asked"
        );
        assert_eq!(of(&[row("openai", "gpt-5", true, None)], 0), ProviderStatus::Working);
        assert_eq!(of(&[row("apify", "actor", true, Some(Trouble::Credit))], 0), ProviderStatus::Working);
        let gone = row("openai", "gpt-6.1-sol", true, Some(Trouble::Gone));
        assert_eq!(of(&[gone, row("openai", "gpt-6-luna", true, Some(Trouble::Credit))], 9), stuck(Trouble::Credit));
    }

    #[test]
    fn a_lane_is_out_because_of_the_service_that_failed() {
        let targets = [
            target(Provider::OpenAi, "gpt", "COACH_MODEL"),
            target(Provider::Apify, "actor", "APIFY_ACTOR"),
            target(Provider::Gemini, "g", "GEMINI_MODEL"),
        ];
        let rows =
            [row("openai", "gpt", true, None), row("apify", "actor", false, None), row("gemini", "g", true, None)];
        let failed = |lane: Lane, cause: &str| failed_for(&lane, cause, &rows, &targets).map(|row| row.name.as_str());
        assert_eq!(failed(Lane::direct(0), "cut"), Some("gemini"));
        assert_eq!(failed(Lane::direct(0), "out_of_credit"), None);
        assert_eq!(failed(Lane::n8n(0), "cut"), None);
    }

    #[test]
    fn a_service_is_shown_once_it_was_called_or_is_in_trouble() {
        let targets = [target(Provider::Apify, "actor", "APIFY_ACTOR"), target(Provider::Gemini, "g", "GEMINI_MODEL")];
        let called = ProviderCalls { name: "gemini".into(), calls: 3, failed: 0, rate_limited: 0 };
        let shown = health(&[row("apify", "actor", true, Some(Trouble::Credit))], &[called], &targets);
        let shown: Vec<_> = shown.iter().map(|one| (one.name.as_str(), one.status.name(), one.calls.calls)).collect();
        assert_eq!(shown, [("apify", "out_of_credit", 0), ("gemini", "working", 3)]);
        assert_eq!(health(&[], &[], &targets), []);
    }

    #[test]
    fn the_default_takes_the_place_of_what_is_gone() {
        assert_eq!(target(Provider::OpenAi, "gpt-5", "COACH_MODEL").successor(), Some("gpt-6.1-sol"));
        assert_eq!(target(Provider::OpenAi, "gpt-6.1-sol", "COACH_MODEL").successor(), None);
        let config = Config::read(&Default::default()).0;
        let all: Vec<_> = targets(&config).into_iter().map(|one| (one.name, one.target)).collect();
        let pairs = [("openai", "gpt-6.1-sol"), ("openai", "gpt-6-luna"), ("apify", "apify~instagram-reel-scraper")];
        let pairs = pairs.into_iter().chain([("gemini", "gemini-3.8-flash")]);
        assert_eq!(all, pairs.map(|(name, target)| (name.to_owned(), target.to_owned())).collect::<Vec<_>>());
    }
}
