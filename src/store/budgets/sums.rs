//! The writing side of what each scope has spent: one statement that moves all sums of a call, and what it tells of
//! them. Part of other transactions; never decides whether a call may be made.

use sqlx::AssertSqlSafe;

use crate::clock::Timestamp;
use crate::ids::{ChatId, GuildId, PersonId};
use crate::store::{Arg, Conn, Result};

use super::{Amount, Cap, Scope, SetBudget, Span, Standing, amount, scopes};

/// What the sums of a call move by.
pub(in crate::store) struct Spend<'a> {
    pub person: PersonId,
    pub chat: &'a ChatId,
    /// The community of the chat.
    pub guild: Option<&'a GuildId>,
    /// When the call began.
    pub at: Timestamp,
    pub micro_usd: i64,
    /// The part of it that is set aside.
    pub reserved: i64,
}

/// Moves the sums of a call, all of them in one statement, and tells how they stand then. Part of a transaction.
pub(in crate::store) async fn spend(tx: &mut Conn<'_>, spend: Spend<'_>) -> Result<Moved> {
    let Spend { person, chat, guild, at, micro_usd, reserved } = spend;
    let scopes = scopes(person, chat, guild);
    let mut args = [micro_usd, reserved].map(Arg::from).to_vec();
    for (scope, span) in &scopes {
        args.extend([scope.name(), span.period(at)].map(Arg::from));
    }
    let rows = tx.fetch_all(AssertSqlSafe(add_to_sums(scopes.len())), &args).await?;
    Ok(Moved { scopes, rows, at })
}

/// Adds `$1` to so many sums, `$2` of it set aside; then scope and period of each. No value of anybody's is part of the
/// text. Returns [`MovedRow`]s.
fn add_to_sums(count: usize) -> String {
    let rows: Vec<String> = (0..count).map(|nth| format!("(${}, ${}, $1, 0, $2)", 2 * nth + 3, 2 * nth + 4)).collect();
    const SPAN: &str = "CASE LENGTH(spending.period) WHEN 10 THEN 'day' ELSE 'month' END";
    let set_for = |scope: &str| {
        format!(
            r"(
                SELECT COALESCE(b.micro_usd, -1)
                FROM budgets b
                WHERE b.scope = {scope} AND b.span = {SPAN} AND (b.scope NOT LIKE 'guild:%' OR b.by_owner)
            )"
        )
    };
    let own = set_for("spending.scope");
    let kind = set_for(
        r"CASE
                    WHEN spending.scope LIKE 'chat:%' THEN 'chat'
                    WHEN spending.scope LIKE 'guild:%' THEN 'guild'
                    WHEN spending.scope LIKE 'person:%' THEN 'person'
                    WHEN spending.scope LIKE 'platform:%' THEN 'platform'
                END",
    );
    format!(
        r"
            INSERT INTO spending (scope, period, micro_usd, alerted, reserved)
            VALUES {}
            ON CONFLICT (scope, period) DO UPDATE SET
                micro_usd = spending.micro_usd + excluded.micro_usd,
                reserved = spending.reserved + excluded.reserved
            RETURNING scope, period, micro_usd, reserved, alerted,
                {own} AS own_budget,
                {kind} AS kind_budget,
                (
                    SELECT MIN(l.micro_usd)
                    FROM (
                        SELECT scope, span, micro_usd
                        FROM lowered_budgets
                        UNION ALL
                        SELECT scope, span, micro_usd
                        FROM budgets
                        WHERE scope LIKE 'guild:%' AND NOT by_owner
                    ) l
                    WHERE l.scope = spending.scope AND l.span = {SPAN}
                ) AS lowered_budget",
        rows.join(", "),
    )
}

/// How one sum stands after it has moved, and what is set for its scope: read with it, so that knowing whether a mark
/// is passed costs no statement of its own.
#[derive(Clone, Debug, sqlx::FromRow)]
struct MovedRow {
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
    scopes: Vec<(Scope, Span)>,
    rows: Vec<MovedRow>,
    /// When the call began, which is the moment its sums are of.
    at: Timestamp,
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
