//! People and the accounts they write from.

use crate::clock::Timestamp;
use crate::ids::{PersonId, Platform};

use super::{Result, Store, exclusive, read, storable, write};

impl Store {
    /// The person behind an account; an account seen for the first time becomes a new person.
    pub async fn person(&self, platform: Platform, account: &str, name: &str, now: Timestamp) -> Result<PersonId> {
        let name = storable(name);
        let known: Option<(String, String)> = read!(&self.db, connection => sqlx::query_as(
                "SELECT person_id, name FROM accounts WHERE platform = $1 AND account = $2")
            .bind(platform.name())
            .bind(account)
            .fetch_optional(connection)
            .await)?;
        if let Some((person, known_name)) = known {
            if known_name != name {
                write!(&self.db, connection => sqlx::query(
                        "UPDATE accounts SET name = $1 WHERE platform = $2 AND account = $3")
                    .bind(&name)
                    .bind(platform.name())
                    .bind(account)
                    .execute(connection)
                    .await
                    .map(|_| ()))?;
            }
            return Ok(person.parse()?);
        }
        let lock = format!("account:{platform}:{account}");
        exclusive!(&self.db, [lock], tx => {
            let known: Option<(String,)> =
                sqlx::query_as("SELECT person_id FROM accounts WHERE platform = $1 AND account = $2")
                    .bind(platform.name())
                    .bind(account)
                    .fetch_optional(&mut *tx)
                    .await?;
            if let Some((person,)) = known {
                return Ok(person.parse()?);
            }
            let person = PersonId::new();
            sqlx::query("INSERT INTO people (id, created_at) VALUES ($1, $2)")
                .bind(person.to_string())
                .bind(now.0)
                .execute(&mut *tx)
                .await?;
            sqlx::query("INSERT INTO accounts (platform, account, person_id, name, created_at) VALUES ($1, $2, $3, $4, $5)")
                .bind(platform.name())
                .bind(account)
                .bind(person.to_string())
                .bind(&name)
                .bind(now.0)
                .execute(&mut *tx)
                .await?;
            Ok(person)
        })
    }

    /// When a person's next new reel may start, as far as their spacing goes.
    pub async fn next_reel_at(&self, person: PersonId) -> Result<Timestamp> {
        let row: Option<(i64,)> = read!(&self.db, connection => sqlx::query_as("SELECT next_reel_at FROM people WHERE id = $1")
            .bind(person.to_string())
            .fetch_optional(connection)
            .await)?;
        Ok(Timestamp(row.map_or(0, |(at,)| at)))
    }

    /// The account names of a person, for people to read (never for logs).
    pub async fn names(&self, person: PersonId) -> Result<Vec<String>> {
        let rows: Vec<(String,)> = read!(&self.db, connection => sqlx::query_as(
                "SELECT name FROM accounts WHERE person_id = $1 ORDER BY created_at")
            .bind(person.to_string())
            .fetch_all(connection)
            .await)?;
        Ok(rows.into_iter().map(|(name,)| name).collect())
    }
}
