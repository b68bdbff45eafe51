//! From the rows of the alerts and what was measured to the rows as they are from now on, and what is said of the change.
//! Pure but for the log.

use crate::clock::Timestamp;
use crate::core::alerts::{self, Change, Measure, Note, RULES, Rule, Standing, Thresholds};
use crate::core::chat::Body;
use crate::core::wording::alerts as wording;
use crate::store::alerts::{AlertRow, Judged, Mark};
use crate::store::budgets::{Amounts, Span};

/// The row that remembers which outage of the database was told: one is seen by several instances.
const DATABASE: &str = "database";

/// One look's measures.
pub(super) struct Look<'a> {
    pub measures: Vec<Measure>,
    pub thresholds: &'a Thresholds,
    pub amounts: Amounts,
    /// An outage of the database that is over: from when to when.
    pub outage: Option<(Timestamp, Timestamp)>,
    pub now: Timestamp,
}

impl Look<'_> {
    pub(super) fn judge(&self, stood: &[AlertRow], marks: &[Mark]) -> Judged {
        let mut judged = Judged::default();
        for (at, measure) in self.measures.iter().enumerate() {
            let is_of = |other: &Measure| other.rule.kind == measure.rule.kind && other.subject == measure.subject;
            // Two of one name are one subject.
            if self.measures[..at].iter().any(is_of) {
                continue;
            }
            let row = stood.iter().find(|row| row.rule == measure.rule.name && row.subject == measure.subject);
            self.step(&mut judged, measure.rule, &measure.subject, row, Some((measure.value, &measure.note)));
        }
        for row in stood {
            let is_measured =
                self.measures.iter().any(|measure| measure.rule.name == row.rule && measure.subject == row.subject);
            match RULES.iter().find(|rule| rule.name == row.rule) {
                Some(rule) if !is_measured => self.step(&mut judged, rule, &row.subject, Some(row), None),
                None if row.rule == DATABASE => judged.rows.push(row.clone()),
                // One that another version of this program knows is dropped.
                _ => {}
            }
        }
        for mark in marks {
            let span = if mark.period.len() > 7 { Span::Day } else { Span::Month };
            let budget = self.amounts.of(&mark.scope, span);
            say(&mut judged, wording::budget_mark(&mark.scope, &mark.period, mark.percent, mark.micro_usd, budget));
        }
        self.tell_outage(&mut judged);
        judged
    }

    fn step(
        &self,
        judged: &mut Judged,
        rule: &'static Rule,
        subject: &str,
        row: Option<&AlertRow>,
        measured: Option<(f64, &Note)>,
    ) {
        let threshold = self.thresholds.of(rule);
        let standing = row.map(standing);
        let (next, change) = alerts::step(rule, threshold, standing, measured.map(|(value, _)| value), self.now);
        judged.rows.extend(next.map(|next| AlertRow {
            rule: rule.name.into(),
            subject: subject.into(),
            raised_at: next.raised_at,
            turning_since: next.turning_since,
            since: next.since,
            worst: next.worst,
            seen_at: next.seen_at,
        }));
        match (change, threshold) {
            (Some(Change::Raised { value }), Some(threshold)) => {
                tracing::warn!(rule = rule.name, subject, value, threshold, "an alert is raised");
                let note = measured.map(|(_, note)| note).unwrap_or(&Note::Nothing);
                say(judged, wording::raised(rule, subject, value, threshold, note));
            }
            (Some(Change::Cleared { lasted, worst }), _) => {
                tracing::info!(rule = rule.name, subject, worst, lasted_s = lasted.as_secs(), "an alert is over");
                say(judged, wording::cleared(rule, subject, lasted, worst));
            }
            (Some(Change::Raised { .. }) | None, _) => {}
        }
    }

    fn tell_outage(&self, judged: &mut Judged) {
        let Some((since, until)) = self.outage else { return };
        let known = judged.rows.iter().position(|row| row.rule == DATABASE);
        if known.is_some_and(|at| judged.rows[at].seen_at >= since) {
            return;
        }
        if let Some(at) = known {
            judged.rows.remove(at);
        }
        let lasted = until.since(since);
        tracing::warn!(lasted_s = lasted.as_secs(), "the database answers again");
        judged.rows.push(AlertRow {
            rule: DATABASE.into(),
            subject: String::new(),
            raised_at: None,
            turning_since: None,
            since,
            worst: lasted.as_secs_f64(),
            seen_at: until,
        });
        say(judged, wording::outage_over(lasted, until));
    }
}

fn standing(row: &AlertRow) -> Standing {
    Standing {
        raised_at: row.raised_at,
        turning_since: row.turning_since,
        since: row.since,
        worst: row.worst,
        seen_at: row.seen_at,
    }
}

fn say(judged: &mut Judged, text: String) {
    judged.says.push(serde_json::to_string(&Body::text(text)).unwrap_or_default());
}
