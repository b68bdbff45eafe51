//! Whether the money is right: no budget overspent, and the ledger what the providers charge.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::{Evidence, Kind, Verdict};
use reelcoach::clock::Timestamp;
use reelcoach::core::money::Prices;
use reelcoach::store::history::{LedgerRow, SpendingRow};
use reelcoach::store::ledger::LOST;
use reelcoach::upstream::{BudgetOf, STARTED, Usage};
use sandbox::hand::Charge;

/// No budget is overspent; and where they are meant to be felt, somebody was refused for each.
pub(super) fn budgets(evidence: &Evidence<'_>, verdict: &mut Verdict) {
    let rules = evidence.rules;
    let (mut found, mut notes, mut compared) = (Vec::new(), Vec::new(), 0);
    let is_felt = rules.felt_from.is_some_and(|from| evidence.asked.len() >= from);
    for &(kind, is_of_a_day, cap) in &rules.caps {
        let under_it = |row: &&SpendingRow| row.scope.split(':').next() == Some(kind) && is_day(row) == is_of_a_day;
        let mut most = 0;
        for row in evidence.history.spending.iter().filter(under_it) {
            compared += 1;
            most = most.max(row.micro_usd);
            if row.micro_usd > cap {
                let what = format!("{} in {}: {} of {cap} micro-USD", row.scope, row.period, row.micro_usd);
                found.push((what, Vec::new()));
            }
        }
        let for_it = Kind::Refused(Some(whose(kind)));
        let refused = verdict.answers.iter().filter(|answer| answer.kind == for_it).count();
        notes.push(format!("{kind}: {most} of {cap} micro-USD at most, {refused} refused"));
        if is_felt && refused == 0 {
            found.push((format!("{kind}: nobody was refused for it, so that nothing is shown"), Vec::new()));
        }
    }
    verdict.rule("no budget is overspent", compared, found, notes.join(", "));
}

/// As people are told of a scope.
fn whose(kind: &str) -> BudgetOf {
    match kind {
        "person" => BudgetOf::Person,
        "chat" => BudgetOf::Chat,
        "guild" => BudgetOf::Guild,
        _ => BudgetOf::Everybody,
    }
}

/// Whether a sum is of a day, or else of a month.
pub(crate) fn is_day(row: &SpendingRow) -> bool {
    row.period.len() > "2026-11".len()
}

/// What the providers charge stands in the ledger to the micro-USD, and the sums that budgets are held by are those of the
/// ledger. A call that was cut, or whose process died, has a row that is no less than its charge.
pub(super) fn ledger(evidence: &Evidence<'_>, verdict: &mut Verdict) {
    let (mut found, mut notes) = (Vec::new(), Vec::new());
    let (books, history, prices) = (evidence.books, evidence.history, Prices::built_in());
    for (provider, charges) in [("openai", &books.openai), ("gemini", &books.gemini)] {
        let charged = charges.iter().map(|charge| (key_of(charge), cost(&prices, charge)));
        compare(evidence, provider, charged.collect(), &mut found, &mut notes);
    }
    let runs = books.apify.iter().map(|run| (run.id.clone(), run.micro_usd));
    compare(evidence, "apify", runs.collect(), &mut found, &mut notes);
    let workflows = books.n8n.iter().map(|run| (run.job.clone(), evidence.rules.workflow_micro_usd));
    compare(evidence, "n8n", workflows.collect(), &mut found, &mut notes);
    let sum: i64 = history.ledger.iter().map(|row| row.micro_usd).sum();
    let of_bot = history.spending.iter().filter(|row| row.scope == "bot" && is_day(row));
    let spent: i64 = of_bot.map(|row| row.micro_usd).sum();
    if sum != spent {
        found.push((format!("the ledger holds {sum} micro-USD, the bot's sums {spent}"), Vec::new()));
    }
    let charged = books.openai.len() + books.gemini.len() + books.apify.len() + books.n8n.len();
    verdict.rule("the ledger is what was charged", charged, found, notes.join(", "));
}

fn key_of(charge: &Charge) -> String {
    let Charge { model, input, cached, cache_write, output, .. } = charge;
    format!("{model} {input}/{cached}/{cache_write}/{output}")
}

fn key_of_row(row: &LedgerRow) -> String {
    match row.provider.as_str() {
        // The run's id.
        "apify" => return row.key.clone(),
        // The job's.
        "n8n" => return row.key.split(':').next().unwrap_or_default().to_owned(),
        _ => {}
    }
    let LedgerRow { model, input_tokens, cached_tokens, cache_write_tokens, output_tokens, .. } = row;
    format!("{model} {input_tokens}/{cached_tokens}/{cache_write_tokens}/{output_tokens}")
}

fn cost(prices: &Prices, charge: &Charge) -> i64 {
    let usage = Usage {
        input_tokens: charge.input,
        cached_tokens: charge.cached,
        cache_write_tokens: charge.cache_write,
        output_tokens: charge.output,
        ..Usage::default()
    };
    prices.cost(&charge.model, &usage, now()).unwrap_or(0)
}

fn now() -> Timestamp {
    reelcoach::clock::Clock::System.now()
}

/// Whether a row says what was charged, and not what may have been.
fn is_exact(row: &LedgerRow) -> bool {
    match row.provider.as_str() {
        // What a workflow pays is never told. Its price is agreed on; whether it ran may be unknown.
        "n8n" => matches!(row.outcome.as_str(), "ok" | "refused"),
        _ => !row.estimated && row.outcome != STARTED && row.outcome != LOST,
    }
}

/// Call by call: each charge and each row that are the same go together. No row that says it is exact may be left, and
/// no charge but of calls whose end nobody knows: each of them has an estimate of its own that is no less, or a row of a
/// call that died with its process, which holds what was sent.
fn compare(
    evidence: &Evidence<'_>,
    provider: &str,
    charges: Vec<(String, i64)>,
    found: &mut Vec<(String, Vec<String>)>,
    notes: &mut Vec<String>,
) {
    let rows = || evidence.history.ledger.iter().filter(|row| row.provider == provider);
    let (charged, counted): (i64, i64) =
        (charges.iter().map(|charge| charge.1).sum(), rows().map(|row| row.micro_usd).sum());
    let (exact, mut estimates): (Vec<&LedgerRow>, Vec<&LedgerRow>) = rows().partition(|row| is_exact(row));
    let mut over: BTreeMap<(String, i64), Vec<&LedgerRow>> = BTreeMap::new();
    // A call that was refused stands there, too, and costs nothing.
    for row in exact.into_iter().filter(|row| row.micro_usd != 0) {
        over.entry((key_of_row(row), row.micro_usd)).or_default().push(row);
    }
    let mut missing = charges;
    missing.retain(|charge| over.get_mut(charge).and_then(Vec::pop).is_none());
    let over: Vec<&LedgerRow> = over.into_values().flatten().collect();
    // Each to the nearest: if the dearest are covered, so can all be.
    missing.sort_by_key(|(_, micro_usd)| Reverse(*micro_usd));
    estimates.sort_by_key(|row| (row.outcome != LOST, Reverse(row.micro_usd)));
    let is_enough = |charge: &i64, row: &LedgerRow| row.outcome == LOST || *charge <= row.micro_usd;
    let is_covered = missing.len() <= estimates.len()
        && missing.iter().zip(&estimates).all(|((_, micro_usd), row)| is_enough(micro_usd, row));
    let may_estimate = evidence.rules.faults || evidence.rules.deaths;
    if !over.is_empty() || !is_covered || (!may_estimate && !estimates.is_empty()) {
        let what = format!(
            "{provider}: {counted} micro-USD in the ledger, {charged} charged; {} charges without their row, {} rows \
             estimated, {} rows beyond",
            missing.len(),
            estimates.len(),
            over.len()
        );
        let missing = missing
            .iter()
            .take(SHOWN)
            .map(|(key, micro_usd)| format!("charged and not in the ledger: {key} = {micro_usd} micro-USD"));
        let rows = over.iter().take(SHOWN).chain(estimates.iter().take(SHOWN)).map(|row| told(row));
        found.push((what, missing.chain(rows).collect()));
    } else if !estimates.is_empty() {
        let beyond = counted - charged;
        notes.push(format!("{provider}: {} rows estimated, {beyond} micro-USD more than charged", estimates.len()));
    }
}

/// So many charges, and rows, are told of each kind.
const SHOWN: usize = 10;

fn told(row: &LedgerRow) -> String {
    let LedgerRow { key, at, micro_usd, outcome, estimated, .. } = row;
    format!("ledger {key} at {at}: {} = {micro_usd} micro-USD, {outcome}, estimated {estimated}", key_of_row(row))
}
