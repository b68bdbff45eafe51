//! Budgets: what is reserved, settled, taken back and given up.

use reelcoach::ids::GuildId;
use reelcoach::store::budgets::{Scope, Span};
use reelcoach::store::ledger::{Entry, Reserved};
use reelcoach::upstream::{Provider, STARTED, Usage};

use super::*;

const UNTIL: Timestamp = Timestamp(START.0 + 600_000);

fn entry<'a>(key: &'a str, person: PersonId, chat: &'a ChatId, micro_usd: i64, outcome: &'a str) -> Entry<'a> {
    Entry {
        key,
        at: START,
        person,
        chat,
        provider: Provider::OpenAi,
        model: "gpt",
        tool: "coach",
        usage: Usage { estimated: outcome == STARTED, ..Usage::default() },
        micro_usd,
        price_version: "1",
        latency_ms: 1,
        outcome,
    }
}

fn call<'a>(key: &'a str, person: PersonId, chat: &'a ChatId, micro_usd: i64) -> Entry<'a> {
    entry(key, person, chat, micro_usd, STARTED)
}

fn is_yes(reserved: &Reserved) -> bool {
    matches!(reserved, Reserved::Yes { .. })
}

on_both! {
    async fn what_does_not_fit_is_not_reserved(db: TestDb) {
        let (mia, chat) = (person(&db, "mia").await, chat("1"));
        let caps = [("person", Span::Day, 100), ("bot", Span::Month, 150)];
        assert!(is_yes(&db.reserve(&call("a", mia, &chat, 60), &caps, UNTIL).await.unwrap()));
        let Reserved::Over(standing) = db.reserve(&call("b", mia, &chat, 41), &caps, UNTIL).await.unwrap() else {
            panic!("101 of 100")
        };
        assert_eq!((standing.cap.scope, standing.spent, standing.resets_at), (Scope::Person(mia), 60, Span::Day.end(START)));
        assert_eq!(db.number("SELECT COUNT(*) FROM ledger", &[]).await, 1, "nothing is written of it");
        assert!(is_yes(&db.reserve(&call("b", mia, &chat, 40), &caps, UNTIL).await.unwrap()), "to the last");
        // Another person, but the bot as a whole has 50 left.
        let noor = person(&db, "noor").await;
        assert!(!is_yes(&db.reserve(&call("c", noor, &chat, 51), &caps, UNTIL).await.unwrap()));
        assert!(is_yes(&db.reserve(&call("c", noor, &chat, 50), &caps, UNTIL).await.unwrap()));
    }

    async fn what_it_was_takes_the_place_of_what_was_reserved(db: TestDb) {
        let (mia, chat) = (person(&db, "mia").await, chat("1"));
        let spent = async |scope: Scope, span| db.spent(&scope, span, START).await.unwrap();
        db.reserve(&call("a", mia, &chat, 60), &[], UNTIL).await.unwrap();
        assert_eq!(spent(Scope::Bot, Span::Day).await, 60);
        assert!(db.record(entry("a", mia, &chat, 7, "ok")).await.unwrap());
        assert!(!db.record(entry("a", mia, &chat, 9, "ok")).await.unwrap());
        for (scope, span) in [
            (Scope::Bot, Span::Day),
            (Scope::Bot, Span::Month),
            (Scope::Platform(chat.platform), Span::Month),
            (Scope::Chat(chat.clone()), Span::Month),
            (Scope::Person(mia), Span::Day),
            (Scope::Person(mia), Span::Month),
        ] {
            assert_eq!(spent(scope, span).await, 7);
        }
        db.reserve(&call("b", mia, &chat, 60), &[], UNTIL).await.unwrap();
        db.unreserve("b").await.unwrap();
        db.unreserve("a").await.unwrap();
        assert_eq!(spent(Scope::Bot, Span::Day).await, 7, "only what is reserved can be taken back");
    }

    async fn what_is_reserved_gets_another_key_and_nobody_takes_it_in_between(db: TestDb) {
        let instances = three_instances(&db).await;
        let (mia, chat) = (person(&db, "mia").await, chat("1"));
        let caps = [("bot", Span::Month, 60)];
        assert!(is_yes(&db.reserve(&call("call", mia, &chat, 60), &caps, UNTIL).await.unwrap()));
        // As long as it changes its key others try to take what it holds.
        let others = (0..32).map(|n| {
            let (store, chat) = (instances[n % 3].clone(), chat.clone());
            tokio::spawn(async move {
                is_yes(&store.reserve(&call(&format!("other-{n}"), mia, &chat, 1), &caps, UNTIL).await.unwrap())
            })
        });
        let others: Vec<_> = others.collect();
        let keys = ["call", "run-1", "run-2", "run-3", "run-4", "run-5", "run-6"];
        for pair in keys.windows(2) {
            assert!(db.rekey(pair[0], pair[1]).await.unwrap(), "{pair:?}");
        }
        assert!(all(others.into_iter()).await.into_iter().all(|yes| !yes));
        assert_eq!(db.spent(&Scope::Bot, Span::Month, START).await.unwrap(), 60);
        assert_eq!(db.number("SELECT COUNT(*) FROM ledger WHERE key = 'run-6' AND reserved_until = $1", &[UNTIL.0]).await, 1);
        assert_eq!(db.number("SELECT COUNT(*) FROM ledger", &[]).await, 1);
        assert!(db.record(entry("run-6", mia, &chat, 7, "ok")).await.unwrap());
        assert!(!db.rekey("run-6", "run-7").await.unwrap(), "it has ended");
        assert!(!db.rekey("call", "run-7").await.unwrap(), "it is not there");
        db.reserve(&call("late", mia, &chat, 5), &caps, UNTIL).await.unwrap();
        assert!(!db.rekey("late", "run-6").await.unwrap(), "that one stands");
        assert_eq!(db.spent(&Scope::Bot, Span::Month, START).await.unwrap(), 12);
    }

    async fn a_call_that_never_ended_is_given_up(db: TestDb) {
        let (mia, chat) = (person(&db, "mia").await, chat("1"));
        db.reserve(&call("a", mia, &chat, 60), &[], UNTIL).await.unwrap();
        assert!(db.lost_reservations(UNTIL, 9).await.unwrap().is_empty());
        let lost = db.lost_reservations(UNTIL + Duration::from_millis(1), 9).await.unwrap();
        assert_eq!((lost.len(), lost[0].key.as_str(), lost[0].micro_usd), (1, "a", 60));
        for _ in 0..2 {
            db.give_up_reservation("a", 5).await.unwrap();
            assert_eq!(db.spent(&Scope::Bot, Span::Day, START).await.unwrap(), 5);
        }
        assert!(db.lost_reservations(Timestamp::NEVER, 9).await.unwrap().is_empty());
        // It comes back after all.
        assert!(db.record(entry("a", mia, &chat, 8, "ok")).await.unwrap());
        assert_eq!(db.spent(&Scope::Bot, Span::Day, START).await.unwrap(), 8);
    }

    async fn admins_set_over_the_configuration(db: TestDb) {
        let (mia, chat) = (person(&db, "mia").await, chat("1"));
        let noor = person(&db, "noor").await;
        let caps = [("person", Span::Day, 100)];
        db.set_budget("person", Span::Day, Some(10)).await.unwrap();
        assert!(!is_yes(&db.reserve(&call("a", mia, &chat, 11), &caps, UNTIL).await.unwrap()));
        db.set_budget(&Scope::Person(mia).name(), Span::Day, Some(20)).await.unwrap();
        assert!(is_yes(&db.reserve(&call("a", mia, &chat, 11), &caps, UNTIL).await.unwrap()));
        assert!(!is_yes(&db.reserve(&call("b", noor, &chat, 11), &caps, UNTIL).await.unwrap()));
        db.set_budget("person", Span::Day, None).await.unwrap();
        assert!(is_yes(&db.reserve(&call("b", noor, &chat, 1_000), &caps, UNTIL).await.unwrap()), "no limit");
        assert_eq!(db.standings(mia, &chat, &caps, START).await.unwrap()[0].percent(), 55);
    }

    async fn a_server_has_one_budget_for_all_its_chats(db: TestDb) {
        let mia = person(&db, "mia").await;
        let guild = GuildId::new(chat("1").platform, "613");
        let (talk, help, own) = (chat("7"), chat("8"), chat("9"));
        for (chat, guild) in [(&talk, Some(&guild)), (&help, Some(&guild)), (&own, None)] {
            let message = MessageRef::new(chat.clone(), "1");
            db.receive(Arrival { guild, ..arrival(&message, mia, "{}", START) }).await.unwrap();
        }
        assert_eq!(db.guild_of(&help).await.unwrap(), Some(guild.clone()));
        let caps = [("guild", Span::Month, 100)];
        assert!(is_yes(&db.reserve(&call("a", mia, &talk, 60), &caps, UNTIL).await.unwrap()));
        let Reserved::Over(standing) = db.reserve(&call("b", mia, &help, 41), &caps, UNTIL).await.unwrap() else {
            panic!("101 of 100")
        };
        assert_eq!(standing.cap.scope, Scope::Guild(guild.clone()));
        assert!(is_yes(&db.reserve(&call("b", mia, &own, 1_000), &caps, UNTIL).await.unwrap()), "no server's");
        db.record(entry("a", mia, &talk, 7, "ok")).await.unwrap();
        assert_eq!(db.spent(&Scope::Guild(guild), Span::Month, START).await.unwrap(), 7);
        // A message that was read again after a gap does not name its server.
        let message = MessageRef::new(talk.clone(), "2");
        db.receive(arrival(&message, mia, "{}", START)).await.unwrap();
        assert!(db.guild_of(&talk).await.unwrap().is_some());
    }

    async fn sixty_four_at_once_never_overspend(db: TestDb) {
        let instances = three_instances(&db).await;
        let mia = person(&db, "mia").await;
        let tasks = (0..64).map(|n| {
            let store = instances[n % 3].clone();
            tokio::spawn(async move {
                let (key, chat) = (format!("call-{n}"), chat(&n.to_string()));
                let caps = [("bot", Span::Month, 100)];
                let reserved = store.reserve(&call(&key, mia, &chat, 10), &caps, UNTIL).await.unwrap();
                is_yes(&reserved)
            })
        });
        assert_eq!(all(tasks).await.into_iter().filter(|yes| *yes).count(), 10);
        assert_eq!(db.spent(&Scope::Bot, Span::Month, START).await.unwrap(), 100);
    }

    async fn a_mark_is_told_once(db: TestDb) {
        let (mia, chat) = (person(&db, "mia").await, chat("1"));
        db.reserve(&call("a", mia, &chat, 60), &[], UNTIL).await.unwrap();
        let told = async |percent| db.alert_budget(&Scope::Bot, Span::Day, START, percent).await.unwrap();
        assert_eq!([told(50).await, told(50).await, told(100).await, told(80).await], [true, false, true, false]);
        // Of another amount they are told anew; those of a month, or of others, stay.
        db.set_budget("person", Span::Day, Some(1)).await.unwrap();
        db.set_budget("bot", Span::Month, Some(1)).await.unwrap();
        assert!(!told(80).await);
        db.set_budget("bot", Span::Day, Some(1)).await.unwrap();
        assert!(told(50).await);
    }
}
