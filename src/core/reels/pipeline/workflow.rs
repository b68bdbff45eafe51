//! The other way of a reel: a workflow of n8n does everything. Owns what its answers mean.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Going, Phase, Reel, ReelFailure, Source, Spent, Stopped, Watch, ms, said};
use crate::ids::{JobId, Shortcode};
use crate::upstream::n8n::{N8n, N8nResult};
use crate::upstream::{Cause, Failure, Provider, Usage};

/// The pause before a workflow that failed runs once more.
const PAUSE: Duration = Duration::from_millis(500);

/// Has a workflow process one reel. It cannot be picked up or aborted; `cancel` only stops waiting for it. One that failed
/// by n8n's own word runs once more.
pub async fn run_n8n(
    n8n: &N8n,
    job: JobId,
    code: &Shortcode,
    watch: &dyn Watch,
    cancel: &CancellationToken,
) -> Result<Reel, Stopped> {
    let going = Going { job, code, watch, cancel, bought: AtomicBool::new(false) };
    watch.phase(Phase::Scraping).await;
    let mut answered = run_once(n8n, &going).await?;
    let has_failed = |failure: &Failure| failure.usage.is_some() && matches!(failure.cause, Cause::Unavailable { .. });
    if answered.as_ref().is_err_and(has_failed) {
        going.unless_cancelled(tokio::time::sleep(PAUSE)).await?;
        answered = run_once(n8n, &going).await?;
    }
    match answered {
        Ok(N8nResult::Done { caption, owner, analysis }) => Ok(Reel {
            shortcode: code.clone(),
            source: Source::N8n,
            caption,
            owner,
            duration_s: None,
            plays: None,
            likes: None,
            comments: None,
            posted_at: None,
            music: None,
            hashtags: Vec::new(),
            language: String::new(),
            transcript: Vec::new(),
            on_screen_text: Vec::new(),
            hook: String::new(),
            scenes: Vec::new(),
            summary: String::new(),
            notes: analysis,
        }),
        Ok(N8nResult::Refused { kind, .. }) => Err(Stopped { again: false, ..going.stopped(refused(&kind), None) }),
        Err(failure) => {
            let why = if failure.cause == Cause::Malformed { ReelFailure::Misconfigured } else { said(&failure) };
            let again = failure.usage.is_none() && why == ReelFailure::UpstreamBusy;
            Err(Stopped { again, ..going.stopped(why, Some(failure)) })
        }
    }
}

/// One run at most, which is one row in the ledger; `Err` if it must not be made.
async fn run_once(n8n: &N8n, going: &Going<'_>) -> Result<Result<N8nResult, Failure>, Stopped> {
    going.check()?;
    let began = Instant::now();
    let estimated = Usage { estimated: true, ..Usage::default() };
    let call = Spent::begun(Provider::N8n, "workflow", "workflow", estimated, going.new_key("workflow"));
    going.watch.reserve(call.clone()).await.map_err(|why| going.stopped(why, None))?;
    let answered = tokio::select! {
        answered = n8n.run(&going.job, going.code) => answered,
        () = going.cancel.cancelled() => Err(Failure {
            usage: Some(Box::new(estimated)),
            ..Failure::new(Provider::N8n, Cause::Cancelled, "called off")
        }),
    };
    // What a workflow pays is not told. One that ended or may have run counts; one never started does not.
    let (ran, outcome) = match &answered {
        Ok(N8nResult::Done { .. }) => (true, "ok"),
        Ok(N8nResult::Refused { .. }) => (true, "refused"),
        Err(failure) => (failure.usage.is_some(), failure.cause.name()),
    };
    if ran {
        going.spent(Spent { latency_ms: ms(began), outcome, ..call }).await;
    } else {
        going.watch.unreserve(&call.key).await;
    }
    Ok(answered)
}

/// What a workflow's own refusal means. A kind that is not in the contract says that the reel came to
/// nothing, and asking again would pay again.
fn refused(kind: &str) -> ReelFailure {
    match kind {
        "private" | "not_found" | "unavailable" | "deleted" | "restricted" => ReelFailure::Unavailable,
        "not_video" | "no_video" => ReelFailure::NotVideo,
        "too_long" => ReelFailure::TooLong { seconds: 0 },
        "too_large" => ReelFailure::TooLarge,
        "blocked" | "safety" => ReelFailure::Blocked,
        "busy" | "rate_limited" | "timeout" => ReelFailure::UpstreamBusy,
        "out_of_credit" => ReelFailure::OutOfCredit,
        "misconfigured" | "unauthorized" => ReelFailure::Misconfigured,
        _ => ReelFailure::Unreadable,
    }
}
