//! The writing side of what each scope has spent: one statement that moves all sums of a call, and what it tells of them.
//! Part of other transactions; never decides whether a call may be made.

use crate::clock::Timestamp;

use super::{Amount, Cap, Scope, SetBudget, Span, Standing, amount};

/// Adds to the sums of a call, all of them in one statement, and tells how they stand then: [`Moved`]. Of `$micro_usd`
/// the part `$reserved` is set aside. Part of a transaction.
macro_rules! spend {
    ($tx:ident, $person:expr, $chat:expr, $guild:expr, $at:expr, $micro_usd:expr, $reserved:expr) => {{
        let scopes = $crate::store::budgets::scopes($person, $chat, $guild);
        let statement = $crate::store::budgets::add_to_sums(scopes.len());
        let mut query = sqlx::query_as(sqlx::AssertSqlSafe(statement)).bind::<i64>($micro_usd).bind::<i64>($reserved);
        for (scope, span) in &scopes {
            query = query.bind(scope.name()).bind(span.period($at));
        }
        let rows: Vec<$crate::store::budgets::MovedRow> = query.fetch_all(&mut *$tx).await?;
        $crate::store::budgets::Moved { scopes, rows, at: $at }
    }};
}
pub(in crate::store) use spend;

/// Adds `$1` to so many sums, `$2` of it set aside; then scope and period of each. No value of anybody's is part of the
/// text. Returns [`MovedRow`]s.
pub(in crate::store) fn add_to_sums(count: usize) -> String {
    let rows: Vec<String> = (0..count).map(|nth| format!("(${}, ${}, $1, 0, $2)", 2 * nth + 3, 2 * nth + 4)).collect();
    const SPAN: &str = "CASE LENGTH(spending.period) WHEN 10 THEN 'day' ELSE 'month' END";
    let set_for = |scope: &str| {
        format!(
            "(SELECT COALESCE(b.micro_usd, -1) FROM budgets b WHERE b.scope = {scope} \
             AND b.span = {SPAN} AND (b.scope NOT LIKE 'guild:%' OR b.by_owner))"
        )
    };
    format!(
        "INSERT INTO spending (scope, period, micro_usd, alerted, reserved) VALUES {} \
         ON CONFLICT (scope, period) DO UPDATE SET micro_usd = spending.micro_usd + excluded.micro_usd, \
         reserved = spending.reserved + excluded.reserved \
         RETURNING scope, period, micro_usd, reserved, alerted, {} AS own_budget, {} AS kind_budget, \
         (SELECT MIN(l.micro_usd) FROM (SELECT scope, span, micro_usd FROM lowered_budgets UNION ALL \
         SELECT scope, span, micro_usd FROM budgets WHERE scope LIKE 'guild:%' AND NOT by_owner) l \
         WHERE l.scope = spending.scope AND l.span = {SPAN}) AS lowered_budget",
        rows.join(", "),
        set_for("spending.scope"),
        set_for(
            "CASE WHEN spending.scope LIKE 'chat:%' THEN 'chat' WHEN spending.scope LIKE 'guild:%' THEN 'guild' \
             WHEN spending.scope LIKE 'person:%' THEN 'person' WHEN spending.scope LIKE 'platform:%' THEN 'platform' END"
        ),
    )
}

/// How one sum stands after it has moved, and what is set for its scope: read with it, so that knowing whether a mark is
/// passed costs no statement of its own.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(in crate::store) struct MovedRow {
    scope: String,
    period: String,
    micro_usd: i64,
    reserved: i64,
    alerted: i64,
    /// What admins have set for the very scope, and for all of its kind. -1: no limit; `None`: nothing is set.
    own_budget: Option<i64>,
    kind_budget: Option<i64>,
    /// What the managers of a server have lowered it to.
    lowered_budget: Option<i64>,
}

/// The sums of a call after they have moved.
pub(in crate::store) struct Moved {
    pub(in crate::store) scopes: Vec<(Scope, Span)>,
    pub(in crate::store) rows: Vec<MovedRow>,
    /// When the call began, which is the moment its sums are of.
    pub(in crate::store) at: Timestamp,
}

impl Moved {
    /// How the budgets stand now, with the mark that the owner was told of last.
    pub(in crate::store) fn standings(&self, configured: &[(&str, Span, i64)]) -> Vec<(Standing, i64)> {
        let standing = |(scope, span): &(Scope, Span)| {
            let (name, period) = (scope.name(), span.period(self.at));
            let row = self.rows.iter().find(|row| row.scope == name && row.period == period)?;
            let set = |scope: &str, budget: Option<i64>, only_lowers| {
                let micro_usd = budget?;
                let micro_usd = Some(micro_usd).filter(|set| *set >= 0);
                Some(SetBudget { scope: scope.to_owned(), span: *span, micro_usd, only_lowers })
            };
            let set: Vec<SetBudget> = [
                set(&name, row.own_budget, false),
                set(scope.kind(), row.kind_budget, false),
                set(&name, row.lowered_budget, true),
            ]
            .into_iter()
            .flatten()
            .collect();
            let micro_usd = amount(&set, configured, &name, scope.kind(), *span)?;
            let cap = Cap { scope: scope.clone(), span: *span, micro_usd };
            let used = Amount::new(row.micro_usd, row.reserved);
            Some((Standing { cap, used, resets_at: span.end(self.at) }, row.alerted))
        };
        self.scopes.iter().filter_map(standing).collect()
    }
}
