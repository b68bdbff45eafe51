//! Budgets: what each scope has spent in a period, and how much it may. Owns the periods and the arithmetic of the
//! spending rows; the ledger writes them with its own.

mod sums;

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveTime, Utc};

use crate::clock::Timestamp;
use crate::ids::{ChatId, GuildId, PersonId, Platform};
use crate::upstream::{Budget, BudgetOf};

use super::{Arg, Conn, Result, Store, StoreError, args, sql};

pub(super) use self::sums::{Moved, Spend, spend};

/// Who or what a budget is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    Bot,
    Platform(Platform),
    /// A community with all its chats.
    Guild(GuildId),
    Chat(ChatId),
    Person(PersonId),
}

impl Scope {
    /// The name in the database.
    pub fn name(&self) -> String {
        match self {
            Scope::Bot => "bot".into(),
            Scope::Platform(platform) => format!("platform:{platform}"),
            Scope::Guild(guild) => format!("guild:{guild}"),
            Scope::Chat(chat) => format!("chat:{chat}"),
            Scope::Person(person) => format!("person:{person}"),
        }
    }

    /// Under which a budget for all scopes of the kind stands.
    pub fn kind(&self) -> &'static str {
        match self {
            Scope::Bot => "bot",
            Scope::Platform(_) => "platform",
            Scope::Guild(_) => "guild",
            Scope::Chat(_) => "chat",
            Scope::Person(_) => "person",
        }
    }
}

/// How long a budget lasts; days and months are those of UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    Day,
    Month,
}

impl Span {
    pub fn name(self) -> &'static str {
        match self {
            Span::Day => "day",
            Span::Month => "month",
        }
    }

    /// The name of the period that a moment is in.
    pub fn period(self, at: Timestamp) -> String {
        let day = day(at);
        match self {
            Span::Day => day.format("%Y-%m-%d").to_string(),
            Span::Month => day.format("%Y-%m").to_string(),
        }
    }

    /// When the period that a moment is in is over.
    pub fn end(self, at: Timestamp) -> Timestamp {
        let day = day(at);
        let next = match self {
            Span::Day => day.checked_add_days(Days::new(1)),
            Span::Month => day.with_day(1).and_then(|first| first.checked_add_months(Months::new(1))),
        };
        next.map_or(Timestamp::NEVER, |day| Timestamp(day.and_time(NaiveTime::MIN).and_utc().timestamp_millis()))
    }
}

fn day(at: Timestamp) -> NaiveDate {
    at.utc().as_ref().map(DateTime::<Utc>::date_naive).unwrap_or_default()
}

/// A budget as it is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cap {
    pub scope: Scope,
    pub span: Span,
    pub micro_usd: i64,
}

/// Which sums a call of a person in a chat belongs to; `guild`: the community of the chat.
fn scopes(person: PersonId, chat: &ChatId, guild: Option<&GuildId>) -> Vec<(Scope, Span)> {
    let mut scopes = vec![
        (Scope::Bot, Span::Day),
        (Scope::Bot, Span::Month),
        (Scope::Platform(chat.platform), Span::Month),
        (Scope::Chat(chat.clone()), Span::Month),
        (Scope::Person(person), Span::Day),
        (Scope::Person(person), Span::Month),
    ];
    scopes.extend(guild.map(|guild| (Scope::Guild(guild.clone()), Span::Month)));
    scopes
}

/// The community of a chat. Part of a transaction.
pub(super) async fn guild_of(tx: &mut Conn<'_>, chat: &ChatId) -> Result<Option<GuildId>> {
    let guild: Option<Option<String>> = tx.fetch_optional_value(GUILD_OF_CHAT, args![chat.to_string()]).await?;
    read_guild(guild.flatten())
}

const GUILD_OF_CHAT: &str = "SELECT guild FROM chats WHERE id = $1";

pub(super) fn read_guild(guild: Option<String>) -> Result<Option<GuildId>> {
    Ok(guild.map(|guild| guild.parse()).transpose()?)
}

/// A budget that was set in chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetBudget {
    /// A scope's name, or a kind for all scopes of it.
    pub scope: String,
    pub span: Span,
    /// `None`: there is none.
    pub micro_usd: Option<i64>,
    /// By the managers of a server, not by who runs the bot: it lowers what the server may spend, and never raises it.
    pub only_lowers: bool,
}

#[derive(sqlx::FromRow)]
struct SetRow {
    scope: String,
    span: String,
    micro_usd: Option<i64>,
    only_lowers: bool,
}

impl SetBudget {
    fn read(row: SetRow) -> Result<SetBudget> {
        let span = match row.span.as_str() {
            "day" => Span::Day,
            "month" => Span::Month,
            _ => return Err(StoreError::Corrupt("budgets.span")),
        };
        Ok(SetBudget { scope: row.scope, span, micro_usd: row.micro_usd, only_lowers: row.only_lowers })
    }
}

/// A server's budget of which nobody knows who set it counts as its managers'.
const ONLY_LOWERS: &str = "(scope LIKE 'guild:%' AND NOT by_owner)";

const SET_BUDGETS: &str = sql!(
    "SELECT scope, span, micro_usd,",
    ONLY_LOWERS,
    r"AS only_lowers
    FROM budgets
    UNION ALL
    SELECT scope, span, micro_usd, TRUE
    FROM lowered_budgets
    ORDER BY 1, 2, 4"
);

/// What the budgets of a person in a chat rest on: [`FundsRow`]s. `$1` the chat, `$2` the day, `$3` the month, `$4` to
/// `$6` scopes, `$7` the key of a call.
const FUNDS: &str = sql!(
    r"
        WITH own AS (
            SELECT 'guild:' || guild AS scope
            FROM chats
            WHERE id = $1 AND guild IS NOT NULL
        )
        SELECT CASE WHEN",
    ONLY_LOWERS,
    r"THEN 'lowered' ELSE 'set' END AS part, scope, span, micro_usd, 0 AS reserved
    FROM budgets
    WHERE scope IN ('bot', 'platform', 'guild', 'chat', 'person', $4, $5, $6, (SELECT scope FROM own))
    UNION ALL
    SELECT 'lowered', scope, span, micro_usd, 0
    FROM lowered_budgets
    WHERE scope = (SELECT scope FROM own)
    UNION ALL
    SELECT 'guild', scope, '', NULL, 0
    FROM own
    UNION ALL
    SELECT 'spent', scope, period, micro_usd, reserved
    FROM spending
    WHERE scope IN ('bot', $4, $5, $6, (SELECT scope FROM own)) AND period IN ($2, $3)
    UNION ALL
    SELECT 'written', '', '', NULL, 0
    FROM ledger
    WHERE key = $7"
);

/// The arguments of [`FUNDS`].
fn funds_args<'a>(person: PersonId, chat: &ChatId, at: Timestamp, call: &'a str) -> [Arg<'a>; 7] {
    let scopes = [Scope::Platform(chat.platform), Scope::Chat(chat.clone()), Scope::Person(person)];
    let [platform, of_chat, of_person] = scopes.map(|scope| scope.name());
    let [day, month] = [Span::Day, Span::Month].map(|span| Arg::from(span.period(at)));
    let [platform, of_chat, of_person] = [platform, of_chat, of_person].map(Arg::from);
    [Arg::from(chat.to_string()), day, month, platform, of_chat, of_person, Arg::from(call)]
}

/// What the budgets of a person in a chat rest on.
pub(super) struct Funds {
    /// The community of the chat.
    pub(super) guild: Option<GuildId>,
    set: Vec<SetBudget>,
    /// Scope, period, amount; what has no row has spent nothing.
    spent: Vec<(String, String, Amount)>,
    /// The call stands in the ledger already.
    pub(super) is_written: bool,
}

#[derive(sqlx::FromRow)]
struct FundsRow {
    part: String,
    scope: String,
    /// Of what is spent the period.
    span: String,
    micro_usd: Option<i64>,
    /// What of it is set aside.
    reserved: i64,
}

impl Funds {
    /// For a call with this key. Part of a transaction.
    pub(super) async fn read(
        tx: &mut Conn<'_>,
        person: PersonId,
        chat: &ChatId,
        at: Timestamp,
        call: &str,
    ) -> Result<Funds> {
        Funds::of_rows(tx.fetch_all(FUNDS, &funds_args(person, chat, at, call)).await?)
    }

    fn of_rows(rows: Vec<FundsRow>) -> Result<Funds> {
        let mut funds = Funds { guild: None, set: Vec::new(), spent: Vec::new(), is_written: false };
        for FundsRow { part, scope, span, micro_usd, reserved } in rows {
            match (part.as_str(), micro_usd) {
                (part @ ("set" | "lowered"), micro_usd) => {
                    let row = SetRow { scope, span, micro_usd, only_lowers: part == "lowered" };
                    funds.set.push(SetBudget::read(row)?);
                }
                ("spent", Some(micro_usd)) => funds.spent.push((scope, span, Amount::new(micro_usd, reserved))),
                ("written", _) => funds.is_written = true,
                ("guild", _) => funds.guild = read_guild(scope.strip_prefix("guild:").map(str::to_owned))?,
                _ => return Err(StoreError::Corrupt("spending.micro_usd")),
            }
        }
        Ok(funds)
    }

    /// How the budgets stand that a call falls under.
    pub(super) fn standings(
        &self,
        configured: &[(&str, Span, i64)],
        person: PersonId,
        chat: &ChatId,
        at: Timestamp,
    ) -> Vec<Standing> {
        let standing = |(scope, span): (Scope, Span)| {
            let (name, period) = (scope.name(), span.period(at));
            let micro_usd = amount(&self.set, configured, &name, scope.kind(), span)?;
            let used = self.spent.iter().find(|(of, within, _)| *of == name && *within == period);
            let used = used.map_or_else(Amount::default, |(_, _, used)| *used);
            Some(Standing { cap: Cap { scope, span, micro_usd }, used, resets_at: span.end(at) })
        };
        scopes(person, chat, self.guild.as_ref()).into_iter().filter_map(standing).collect()
    }
}

/// The budget of one scope, if it has one: what it is granted, unless those who may only lower it have set less.
fn amount(set: &[SetBudget], configured: &[(&str, Span, i64)], scope: &str, kind: &str, span: Span) -> Option<i64> {
    let lowered = set.iter().filter(|set| set.only_lowers && set.scope == scope && set.span == span);
    let lowered = lowered.filter_map(|set| set.micro_usd).min();
    granted(set, configured, scope, kind, span).into_iter().chain(lowered).min()
}

/// What who runs the bot grants a scope: what is set for the very scope, else for its kind, else in the configuration.
fn granted(set: &[SetBudget], configured: &[(&str, Span, i64)], scope: &str, kind: &str, span: Span) -> Option<i64> {
    let set_for = |wanted: &str| {
        let found = set.iter().find(|set| !set.only_lowers && set.scope == wanted && set.span == span);
        found.map(|set| set.micro_usd)
    };
    let default = || {
        let found = configured.iter().find(|(configured, for_span, _)| *configured == kind && *for_span == span);
        found.map(|(_, _, micro_usd)| *micro_usd)
    };
    set_for(scope).or_else(|| set_for(kind)).unwrap_or_else(default)
}

/// The budgets in force, of any scope.
#[derive(Clone, Debug)]
pub struct Amounts {
    set: Vec<SetBudget>,
    configured: Vec<(&'static str, Span, i64)>,
}

impl Amounts {
    /// Of the scope with this name.
    pub fn of(&self, scope: &str, span: Span) -> Option<i64> {
        amount(&self.set, &self.configured, scope, kind_of(scope), span)
    }

    /// The same without what the managers of a server have lowered.
    pub fn granted(&self, scope: &str, span: Span) -> Option<i64> {
        granted(&self.set, &self.configured, scope, kind_of(scope), span)
    }
}

/// The kind of the scope with this name.
fn kind_of(scope: &str) -> &str {
    scope.split(':').next().unwrap_or_default()
}

/// What a scope has spent in a period, and what it may where there is a budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spending {
    pub scope: Scope,
    pub span: Span,
    pub used: Amount,
    pub cap: Option<i64>,
    pub resets_at: Timestamp,
}

impl Spending {
    /// How its budget stands, if it has one.
    pub fn standing(self) -> Option<Standing> {
        let cap = Cap { scope: self.scope, span: self.span, micro_usd: self.cap? };
        Some(Standing { cap, used: self.used, resets_at: self.resets_at })
    }
}

/// What a budget has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub cap: Cap,
    pub used: Amount,
    pub resets_at: Timestamp,
}

/// What a scope has used of its money in a period, in micro-USD.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// By calls that have ended.
    pub spent: i64,
    /// For calls that are under way: the most that they may cost.
    pub set_aside: i64,
}

impl Amount {
    /// Of the columns of `spending`, whose `micro_usd` is both together.
    fn new(micro_usd: i64, reserved: i64) -> Amount {
        Amount { spent: micro_usd - reserved, set_aside: reserved }
    }

    /// What no other call may have.
    pub fn total(self) -> i64 {
        self.spent.saturating_add(self.set_aside)
    }
}

impl Standing {
    /// What a person is told of it.
    pub fn budget(&self) -> Budget {
        let whose = match self.cap.scope {
            Scope::Person(_) => BudgetOf::Person,
            Scope::Chat(_) => BudgetOf::Chat,
            Scope::Guild(_) => BudgetOf::Guild,
            Scope::Platform(_) | Scope::Bot => BudgetOf::Everybody,
        };
        Budget { whose, resets_at: self.resets_at, percent: u32::try_from(self.percent()).unwrap_or(u32::MAX) }
    }

    /// What is spent in percent of the budget; 100 and more: used up. What is set aside for calls under way does not
    /// count, because most of it comes back.
    pub fn percent(&self) -> i64 {
        match self.cap.micro_usd {
            ..=0 => 100,
            limit => (i128::from(self.used.spent) * 100 / i128::from(limit)).clamp(0, 1_000_000) as i64,
        }
    }

    /// What a new call may cost.
    pub fn left(&self) -> i64 {
        (self.cap.micro_usd - self.used.total()).max(0)
    }
}

/// Forgets the marks of a budget that has changed, and of those of its kind.
async fn forget_marks(connection: &mut Conn<'_>, scope: &str, span: Span) -> Result<()> {
    let sql = r"
        UPDATE spending
        SET alerted = 0, announced = 0
        WHERE alerted > 0 AND (scope = $1 OR scope LIKE $2) AND LENGTH(period) = $3";
    let length = span.period(Timestamp(0)).len() as i64;
    connection.execute(sql, args![scope, format!("{scope}:%"), length]).await?;
    Ok(())
}

impl Store {
    /// What a scope has used of its money in the period of `at`.
    pub async fn used(&self, scope: &Scope, span: Span, at: Timestamp) -> Result<Amount> {
        #[derive(sqlx::FromRow)]
        struct SpentRow {
            micro_usd: i64,
            reserved: i64,
        }
        let sql = "SELECT micro_usd, reserved FROM spending WHERE scope = $1 AND period = $2";
        let row: Option<SpentRow> = self.db.fetch_optional(sql, args![scope.name(), span.period(at)]).await?;
        Ok(row.map_or_else(Amount::default, |row| Amount::new(row.micro_usd, row.reserved)))
    }

    /// How the budgets stand that a call of this person in this chat would fall under.
    pub async fn standings(
        &self,
        person: PersonId,
        chat: &ChatId,
        configured: &[(&str, Span, i64)],
        at: Timestamp,
    ) -> Result<Vec<Standing>> {
        let funds = Funds::of_rows(self.db.fetch_all(FUNDS, &funds_args(person, chat, at, "")).await?)?;
        Ok(funds.standings(configured, person, chat, at))
    }

    /// The budgets that admins have set, and `configured` ones where they have set none.
    pub async fn amounts(&self, configured: Vec<(&'static str, Span, i64)>) -> Result<Amounts> {
        Ok(Amounts { set: self.budgets().await?, configured })
    }

    /// What scopes have spent in the period of `at`, whether they have a budget or not.
    pub async fn spending_of(
        &self,
        scopes: &[(Scope, Span)],
        configured: &[(&str, Span, i64)],
        at: Timestamp,
    ) -> Result<Vec<Spending>> {
        let set = self.budgets().await?;
        let mut all = Vec::with_capacity(scopes.len());
        for (scope, span) in scopes {
            let used = self.used(scope, *span, at).await?;
            let cap = amount(&set, configured, &scope.name(), scope.kind(), *span);
            all.push(Spending { scope: scope.clone(), span: *span, used, cap, resets_at: span.end(at) });
        }
        Ok(all)
    }

    /// The community that a chat belongs to, if it is known of one.
    pub async fn guild_of(&self, chat: &ChatId) -> Result<Option<GuildId>> {
        let guild: Option<Option<String>> =
            self.db.fetch_optional_value(GUILD_OF_CHAT, args![chat.to_string()]).await?;
        read_guild(guild.flatten())
    }

    /// The budgets that were set in chat.
    pub async fn budgets(&self) -> Result<Vec<SetBudget>> {
        let rows: Vec<SetRow> = self.db.fetch_all(SET_BUDGETS, args![]).await?;
        rows.into_iter().map(SetBudget::read).collect()
    }

    /// Sets a budget for a scope or for all of a kind, as who runs the bot. Its marks are told anew: they are parts of
    /// another amount.
    pub async fn set_budget(&self, scope: &str, span: Span, micro_usd: Option<i64>) -> Result<()> {
        self.db
            .write(async |connection| {
                let sql = r"
                    INSERT INTO budgets (scope, span, micro_usd, by_owner)
                    VALUES ($1, $2, $3, TRUE)
                    ON CONFLICT (scope, span) DO UPDATE SET micro_usd = excluded.micro_usd, by_owner = TRUE";
                connection.execute(sql, args![scope, span.name(), micro_usd]).await?;
                forget_marks(connection, scope, span).await
            })
            .await
    }

    /// Sets how much of what a server is granted it may spend, for its managers; `None`: all of it. The lower of the
    /// two holds, whichever was set first.
    pub async fn lower_budget(&self, server: &Scope, span: Span, micro_usd: Option<i64>) -> Result<()> {
        let name = server.name();
        self.db
            .write(async |connection| {
                let sql = "DELETE FROM lowered_budgets WHERE scope = $1 AND span = $2 AND $3 IS NULL";
                connection.execute(sql, args![&name, span.name(), micro_usd]).await?;
                let sql = r"
                    INSERT INTO lowered_budgets (scope, span, micro_usd)
                    SELECT $1, $2, $3
                    WHERE $3 IS NOT NULL
                    ON CONFLICT (scope, span) DO UPDATE SET micro_usd = excluded.micro_usd";
                connection.execute(sql, args![&name, span.name(), micro_usd]).await?;
                forget_marks(connection, &name, span).await
            })
            .await
    }

    /// Notes that the operator is told that a budget is used to `percent`; `false` if somebody told it before.
    pub async fn alert_budget(&self, scope: &Scope, span: Span, at: Timestamp, percent: i64) -> Result<bool> {
        let sql = r"
            UPDATE spending
            SET alerted = $1
            WHERE scope = $2 AND period = $3 AND alerted < $1";
        let changed = self.db.execute(sql, args![percent, scope.name(), span.period(at)]).await?;
        Ok(changed == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_utc() {
        let at = Timestamp(1_795_564_799_999); // 2026-11-24T23:59:59.999Z
        assert_eq!((Span::Day.period(at), Span::Month.period(at)), ("2026-11-24".into(), "2026-11".into()));
        assert_eq!(Span::Day.end(at), Timestamp(at.0 + 1));
        assert_eq!(Span::Month.end(at), Timestamp(1_796_083_200_000), "2026-12-01");
        assert_eq!(Span::Month.end(Timestamp(1_798_700_000_000)), Timestamp(1_798_761_600_000), "the year turns");
    }

    #[test]
    fn a_budget_of_nothing_is_used_up() {
        let standing = |limit, spent| Standing {
            cap: Cap { scope: Scope::Bot, span: Span::Day, micro_usd: limit },
            used: Amount { spent, set_aside: 1_000 },
            resets_at: Timestamp(0),
        };
        assert_eq!(standing(2_000, 900).left(), 100);
        assert_eq!(
            [standing(0, 0), standing(200, 99), standing(200, 200), standing(1, i64::MAX)].map(|s| s.percent()),
            [100, 49, 100, 1_000_000]
        );
    }
}
