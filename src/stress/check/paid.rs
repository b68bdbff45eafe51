//! Whether the money is right: no budget overspent, and the ledger what the providers charge.

use std::collections::BTreeMap;

use super::{Evidence, Verdict};
use crate::clock::Timestamp;
use crate::core::money::Prices;
use crate::sandbox::hand::Charge;
use crate::store::history::LedgerRow;
use crate::upstream::{RetryPolicy, STARTED, Usage};

/// No budget is overspent, and the sums that budgets are held by are those of the ledger.
pub(super) fn budgets(evidence: &Evidence<'_>, verdict: &mut Verdict) {
    let history = evidence.history;
    let mut found = Vec::new();
    for row in &history.spending {
        let kind = row.scope.split(':').next().unwrap_or_default();
        let is_day = row.period.len() > "2026-11".len();
        for (_, _, cap) in evidence.rules.caps.iter().filter(|(of, day, _)| *of == kind && *day == is_day) {
            if row.micro_usd > *cap {
                let what = format!("{} in {}: {} of {cap} micro-USD", row.scope, row.period, row.micro_usd);
                found.push((what, Vec::new()));
            }
        }
    }
    let sum: i64 = history.ledger.iter().map(|row| row.micro_usd).sum();
    let days = history.spending.iter().filter(|row| row.scope == "bot" && row.period.len() > "2026-11".len());
    let spent: i64 = days.map(|row| row.micro_usd).sum();
    if sum != spent {
        found.push((format!("the ledger holds {sum} micro-USD, the bot's sums {spent}"), Vec::new()));
    }
    verdict.rule("no budget is overspent", history.spending.len(), found, String::new());
}

/// What the providers charge stands in the ledger to the micro-USD. A call that was cut, or whose process died, has a row
/// that is no less than its charge.
pub(super) fn ledger(evidence: &Evidence<'_>, verdict: &mut Verdict) {
    let (mut found, mut notes) = (Vec::new(), Vec::new());
    let prices = Prices::built_in();
    for (provider, charges) in [("openai", &evidence.books.openai), ("gemini", &evidence.books.gemini)] {
        let charged = charges.iter().map(|charge| (charge.finished, key_of(charge), cost(&prices, charge)));
        compare(evidence, provider, charged.collect(), &mut found, &mut notes);
    }
    let runs = evidence.books.apify.iter().map(|run| (true, run.micro_usd.to_string(), run.micro_usd));
    compare(evidence, "apify", runs.collect(), &mut found, &mut notes);
    let charged = evidence.books.openai.len() + evidence.books.gemini.len() + evidence.books.apify.len();
    verdict.rule("the ledger is what was charged", charged, found, notes.join(", "));
}

fn key_of(charge: &Charge) -> String {
    let Charge { model, input, cached, cache_write, output, .. } = charge;
    format!("{model} {input}/{cached}/{cache_write}/{output}")
}

fn key_of_row(row: &LedgerRow) -> String {
    if row.provider == "apify" {
        return row.micro_usd.to_string();
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
    crate::clock::Clock::System.now()
}

/// Call by call: each charge and each row that are the same go together; what is left must be explained.
fn compare(
    evidence: &Evidence<'_>,
    provider: &str,
    charges: Vec<(bool, String, i64)>,
    found: &mut Vec<(String, Vec<String>)>,
    notes: &mut Vec<String>,
) {
    let rows: Vec<&LedgerRow> = evidence.history.ledger.iter().filter(|row| row.provider == provider).collect();
    let mut exact: BTreeMap<(String, i64), Vec<&LedgerRow>> = BTreeMap::new();
    let mut rest: Vec<&LedgerRow> = Vec::new();
    for row in &rows {
        if row.estimated || row.outcome == STARTED || row.outcome == "lost" {
            rest.push(row);
        } else {
            exact.entry((key_of_row(row), row.micro_usd)).or_default().push(row);
        }
    }
    let mut unmatched = Vec::new();
    for (finished, key, micro_usd) in &charges {
        let key = (key.clone(), *micro_usd);
        if exact.get_mut(&key).and_then(Vec::pop).is_none() {
            unmatched.push((*finished, key));
        }
    }
    let over: Vec<&LedgerRow> = exact.into_values().flatten().collect();
    let (charged, counted): (i64, i64) =
        (charges.iter().map(|charge| charge.2).sum(), rows.iter().map(|row| row.micro_usd).sum());
    let told = |row: &LedgerRow| {
        let LedgerRow { key, at, micro_usd, outcome, estimated, .. } = row;
        format!("ledger {key} at {at}: {} = {micro_usd} micro-USD, {outcome}, estimated {estimated}", key_of_row(row))
    };
    if evidence.rules.faults || evidence.rules.deaths {
        if counted < charged {
            let what = format!("{provider} charges {charged} micro-USD, the ledger has {counted}");
            let history = rest.iter().chain(&over).take(20).map(|row| told(row));
            found.push((what, history.collect()));
        }
        // Attempts of one call share its row: one that was cut, or whose answer was not heard, is an estimate in it.
        let spare: Vec<&LedgerRow> = rest.iter().chain(&over).copied().collect();
        let most = spare.len() * RetryPolicy::STANDARD.attempts as usize;
        let (open, set_aside): (i64, i64) =
            (unmatched.iter().map(|(_, (_, cost))| cost).sum(), spare.iter().map(|row| row.micro_usd).sum());
        if unmatched.len() > most || open > set_aside {
            let what = format!(
                "{provider}: {} charges of {open} micro-USD, {} rows of {set_aside} for them",
                unmatched.len(),
                spare.len()
            );
            let charged = unmatched.iter().take(10).map(|(finished, (key, micro_usd))| {
                format!("charged and not in the ledger: {key} = {micro_usd} micro-USD, finished: {finished}")
            });
            found.push((what, charged.chain(spare.iter().take(10).map(|row| told(row))).collect()));
        }
        if !rest.is_empty() {
            let beyond = counted - charged;
            notes.push(format!("{provider}: {} rows estimated, {beyond} micro-USD more than charged", rest.len()));
        }
        return;
    }
    if counted != charged || !unmatched.is_empty() || !rest.is_empty() {
        let what = format!(
            "{provider}: {counted} micro-USD in the ledger, {charged} charged; {} charges without their row, {} rows beyond",
            unmatched.len(),
            rest.len() + over.len()
        );
        let missing = unmatched.iter().take(10).map(|(finished, (key, micro_usd))| {
            format!("charged and not in the ledger: {key} = {micro_usd} micro-USD, finished: {finished}")
        });
        found.push((what, missing.chain(rest.iter().chain(&over).take(10).map(|row| told(row))).collect()));
    }
}
