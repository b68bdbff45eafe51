//! People and accounts.

use super::*;

on_both! {
    async fn an_account_is_one_person(db: TestDb) {
        let first = db.person(Platform::Discord, "42", "Mia", START).await.unwrap();
        assert_eq!(db.person(Platform::Discord, "42", "Mia", at(5)).await.unwrap(), first);
        assert_ne!(db.person(Platform::Telegram, "42", "Mia", at(5)).await.unwrap(), first, "another platform");
        assert_ne!(db.person(Platform::Discord, "43", "Mia", at(5)).await.unwrap(), first, "another account");
    }

    async fn a_new_name_replaces_the_old_one(db: TestDb) {
        let mia = db.person(Platform::Discord, "42", "Mia", START).await.unwrap();
        assert_eq!(db.names(mia).await.unwrap(), ["Mia"]);
        db.person(Platform::Discord, "42", "Mia\0 🎬", at(5)).await.unwrap();
        assert_eq!(db.names(mia).await.unwrap(), ["Mia 🎬"]);
        assert!(db.names(PersonId::new()).await.unwrap().is_empty());
    }

    async fn sixteen_first_contacts_at_once_make_one_person(db: TestDb) {
        let instances = three_instances(&db).await;
        let tasks = (0..16).map(|n| {
            let store = instances[n % 3].clone();
            tokio::spawn(async move { store.person(Platform::Telegram, "7", "Noor", START).await.unwrap() })
        });
        let people = all(tasks).await;
        assert!(people.iter().all(|person| *person == people[0]), "{people:?}");
        assert_eq!(db.number("SELECT COUNT(*) FROM people", &[]).await, 1);
        assert_eq!(db.number("SELECT COUNT(*) FROM accounts", &[]).await, 1);
    }
}
