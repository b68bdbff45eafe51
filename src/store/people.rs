//! People and the accounts they write from.

use crate::clock::Timestamp;
use crate::ids::{PersonId, Platform};

use super::{Conn, Result, Store, args, storable};

impl Store {
    /// The person behind an account; an account seen for the first time becomes a new person.
    pub async fn person(&self, platform: Platform, account: &str, name: &str, now: Timestamp) -> Result<PersonId> {
        #[derive(sqlx::FromRow)]
        struct NamedAccount {
            person_id: String,
            name: String,
        }
        let name = storable(name);
        let sql = "SELECT person_id, name FROM accounts WHERE platform = $1 AND account = $2";
        let known: Option<NamedAccount> = self.db.fetch_optional(sql, args![platform.name(), account]).await?;
        if let Some(known) = known {
            if known.name != name {
                let sql = "UPDATE accounts SET name = $1 WHERE platform = $2 AND account = $3";
                self.db.execute(sql, args![&name, platform.name(), account]).await?;
            }
            return Ok(known.person_id.parse()?);
        }
        let lock = format!("account:{platform}:{account}");
        self.db.exclusive(&[lock], async |tx| new_person(tx, platform, account, &name, now).await).await
    }

    /// When a person's next new reel may start, as far as their spacing goes.
    pub async fn next_reel_at(&self, person: PersonId) -> Result<Timestamp> {
        let row: Option<i64> = self
            .db
            .fetch_optional_value("SELECT next_reel_at FROM people WHERE id = $1", args![person.to_string()])
            .await?;
        Ok(Timestamp(row.unwrap_or(0)))
    }

    /// The account names of a person, for people to read (never for logs).
    pub async fn names(&self, person: PersonId) -> Result<Vec<String>> {
        self.db
            .fetch_values(
                "SELECT name FROM accounts WHERE person_id = $1 ORDER BY created_at",
                args![person.to_string()],
            )
            .await
    }
}

/// The person behind an account that was unknown a moment ago.
async fn new_person(
    tx: &mut Conn<'_>,
    platform: Platform,
    account: &str,
    name: &str,
    now: Timestamp,
) -> Result<PersonId> {
    let sql = "SELECT person_id FROM accounts WHERE platform = $1 AND account = $2";
    let known: Option<String> = tx.fetch_optional_value(sql, args![platform.name(), account]).await?;
    if let Some(person) = known {
        return Ok(person.parse()?);
    }
    let person = PersonId::new();
    let sql = "INSERT INTO people (id, created_at) VALUES ($1, $2)";
    tx.execute(sql, args![person.to_string(), now.0]).await?;
    let sql = r"
        INSERT INTO accounts (platform, account, person_id, name, created_at)
        VALUES ($1, $2, $3, $4, $5)";
    tx.execute(sql, args![platform.name(), account, person.to_string(), name, now.0]).await?;
    Ok(person)
}
