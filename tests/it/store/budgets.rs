//! Budgets: what is reserved, settled, taken back and given up.

use reelcoach::ids::GuildId;
use reelcoach::store::budgets::{Scope, Span};
use reelcoach::store::ledger::{Entry, Reserved};

use super::*;

const UNTIL: Timestamp = Timestamp(START.0 + 600_000);

fn call<'a>(key: &'a str, person: PersonId, chat: &'a ChatId, micro_usd: i64) -> Entry<'a> {
    entry(key, person, chat, micro_usd, STARTED)
}

fn is_yes(reserved: &Reserved) -> bool {
    matches!(reserved, Reserved::Yes)
}

on_both! {
    async fn what_does_not_fit_is_not_reserved(db: TestDb) {
        let (mia, chat) = (person(&db, "mia").await, chat("1"));
        let caps = [("person", Span::Day, 100), ("bot", Span::Month, 150)];
        assert!(is_yes(&db.reserve(&call("a", mia, &chat, 60), &caps, UNTIL).await.unwrap()));
        let Reserved::Over(standing) = db.reserve(&call("b", mia, &chat, 41), &caps, UNTIL).await.unwrap() else {
            panic!("101 of 100")
        };
        assert_eq!((standing.cap.scope, standing.used.total(), standing.resets_at), (Scope::Person(mia), 60, Span::Day.end(START)));
        assert_eq!(db.number("SELECT COUNT(*) FROM ledger", &[]).await, 1, "nothing is written of it");
        assert!(is_yes(&db.reserve(&call("b", mia, &chat, 40), &caps, UNTIL).await.unwrap()), "to the last");
        // Another person, but the bot as a whole has 50 left.
        let noor = person(&db, "noor").await;
        assert!(!is_yes(&db.reserve(&call("c", noor, &chat, 51), &caps, UNTIL).await.unwrap()));
        assert!(is_yes(&db.reserve(&call("c", noor, &chat, 50), &caps, UNTIL).await.unwrap()));
    }

    async fn what_it_was_takes_the_place_of_what_was_reserved(db: TestDb) {
        let (mia, chat) = (person(&db, "mia").await, chat("1"));
        let spent = async |scope: Scope, span| db.used(&scope, span, START).await.unwrap().total();
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
        assert_eq!(db.used(&Scope::Bot, Span::Month, START).await.unwrap().total(), 60);
        assert_eq!(db.number("SELECT COUNT(*) FROM ledger WHERE key = 'run-6' AND reserved_until = $1", &[UNTIL.0]).await, 1);
        assert_eq!(db.number("SELECT COUNT(*) FROM ledger", &[]).await, 1);
        assert!(db.record(entry("run-6", mia, &chat, 7, "ok")).await.unwrap());
        assert!(!db.rekey("run-6", "run-7").await.unwrap(), "it has ended");
        assert!(!db.rekey("call", "run-7").await.unwrap(), "it is not there");
        db.reserve(&call("late", mia, &chat, 5), &caps, UNTIL).await.unwrap();
        assert!(!db.rekey("late", "run-6").await.unwrap(), "that one stands");
        assert_eq!(db.used(&Scope::Bot, Span::Month, START).await.unwrap().total(), 12);
    }

    async fn a_call_that_never_ended_is_given_up(db: TestDb) {
        let (mia, chat) = (person(&db, "mia").await, chat("1"));
        db.reserve(&call("a", mia, &chat, 60), &[], UNTIL).await.unwrap();
        assert!(db.lost_reservations(UNTIL, 9).await.unwrap().is_empty());
        let lost = db.lost_reservations(UNTIL + Duration::from_millis(1), 9).await.unwrap();
        assert_eq!((lost.len(), lost[0].key.as_str(), lost[0].micro_usd), (1, "a", 60));
        for _ in 0..2 {
            db.give_up_reservation("a", 5).await.unwrap();
            assert_eq!(db.used(&Scope::Bot, Span::Day, START).await.unwrap().total(), 5);
        }
        assert!(db.lost_reservations(Timestamp::NEVER, 9).await.unwrap().is_empty());
        // It comes back after all.
        assert!(db.record(entry("a", mia, &chat, 8, "ok")).await.unwrap());
        assert_eq!(db.used(&Scope::Bot, Span::Day, START).await.unwrap().total(), 8);
    }

    async fn what_an_older_release_leaves_set_aside_is_taken_back(db: TestDb) {
        let (mia, chat) = (person(&db, "mia").await, chat("1"));
        for key in ["ended", "given up", "under way"] {
            db.reserve(&call(key, mia, &chat, 60), &[], UNTIL).await.unwrap();
        }
        // As the release before the column ends a call, and gives one up.
        for (key, outcome) in [("ended", "ok"), ("given up", "lost")] {
            db.execute(&format!(
                "UPDATE ledger SET micro_usd = 7, estimated = FALSE, outcome = '{outcome}', reserved_until = NULL \
                 WHERE key = '{key}' AND outcome IN ('started', 'lost')"
            ))
            .await;
            db.execute("UPDATE spending SET micro_usd = micro_usd - 53").await;
        }
        let used = async || {
            let day = db.used(&Scope::Bot, Span::Day, START).await.unwrap();
            assert_eq!(day, db.used(&Scope::Person(mia), Span::Month, START).await.unwrap());
            (day.spent, day.set_aside)
        };
        assert_eq!(used().await, (-106, 180));
        assert_eq!(db.free_left_over(1).await.unwrap(), 1);
        assert_eq!(db.free_left_over(9).await.unwrap(), 1);
        assert_eq!(db.free_left_over(9).await.unwrap(), 0);
        assert_eq!(used().await, (14, 60), "what is under way stays set aside");
        db.record(entry("under way", mia, &chat, 5, "ok")).await.unwrap();
        assert_eq!(used().await, (19, 0));
        assert_eq!(db.number("SELECT CAST(SUM(reserved) AS BIGINT) FROM ledger", &[]).await, 0);
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
        let standing = &db.standings(mia, &chat, &caps, START).await.unwrap()[0];
        assert_eq!((standing.percent(), standing.used.set_aside, standing.left()), (0, 11, 9), "only set aside so far");
        db.record(entry("a", mia, &chat, 11, "ok")).await.unwrap();
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
        assert_eq!(db.used(&Scope::Guild(guild), Span::Month, START).await.unwrap().total(), 7);
        // A message that was read again after a gap does not name its server.
        let message = MessageRef::new(talk.clone(), "2");
        db.receive(arrival(&message, mia, "{}", START)).await.unwrap();
        assert!(db.guild_of(&talk).await.unwrap().is_some());
    }

    async fn what_a_servers_managers_set_only_lowers(db: TestDb) {
        let mia = person(&db, "mia").await;
        let guild = GuildId::new(chat("1").platform, "613");
        let (scope, talk) = (Scope::Guild(guild.clone()), chat("7"));
        let message = MessageRef::new(talk.clone(), "1");
        db.receive(Arrival { guild: Some(&guild), ..arrival(&message, mia, "{}", START) }).await.unwrap();
        let configured = [("guild", Span::Month, 100)];
        let caps = async |configured: &[(&str, Span, i64)]| {
            let standings = db.standings(mia, &talk, configured, START).await.unwrap();
            let cap = standings.into_iter().find(|standing| standing.cap.scope == scope).map(|standing| standing.cap.micro_usd);
            let named: Vec<_> = configured.iter().map(|(_, span, cap)| ("guild", *span, *cap)).collect();
            let amounts = db.amounts(named).await.unwrap();
            assert_eq!(amounts.of(&scope.name(), Span::Month), cap);
            (cap, amounts.granted(&scope.name(), Span::Month))
        };
        // Before anything is granted, and whatever is granted later.
        db.lower_budget(&scope, Span::Month, Some(900)).await.unwrap();
        assert_eq!(caps(&[]).await, (Some(900), None));
        assert_eq!(caps(&configured).await, (Some(100), Some(100)));
        db.lower_budget(&scope, Span::Month, Some(40)).await.unwrap();
        assert_eq!(caps(&configured).await, (Some(40), Some(100)));
        db.set_budget("guild", Span::Month, Some(30)).await.unwrap();
        assert_eq!(caps(&configured).await, (Some(30), Some(30)));
        db.set_budget(&scope.name(), Span::Month, Some(500)).await.unwrap();
        assert_eq!(caps(&configured).await, (Some(40), Some(500)));
        assert!(!is_yes(&db.reserve(&call("a", mia, &talk, 41), &configured, UNTIL).await.unwrap()));
        db.lower_budget(&scope, Span::Month, None).await.unwrap();
        assert_eq!(caps(&configured).await, (Some(500), Some(500)));
        assert!(is_yes(&db.reserve(&call("a", mia, &talk, 41), &configured, UNTIL).await.unwrap()));
        // One of which nobody knows who set it is taken for theirs.
        db.execute("UPDATE budgets SET by_owner = FALSE").await;
        assert_eq!(caps(&configured).await, (Some(30), Some(30)), "those of all servers are never theirs");
        db.execute("DELETE FROM budgets WHERE scope = 'guild'").await;
        assert_eq!(caps(&configured).await, (Some(100), Some(100)));
    }

    async fn who_set_a_servers_budget_before_is_told_by_the_audit(db: TestDb) {
        for undo in [
            "DROP TABLE moved_chats",
            "DROP TABLE lowered_budgets",
            "ALTER TABLE budgets DROP COLUMN by_owner",
            "DELETE FROM _sqlx_migrations WHERE version = 24",
            "INSERT INTO budgets (scope, span, micro_usd) VALUES \
             ('guild:discord:1', 'month', 9), ('guild:discord:2', 'month', 9), ('guild:discord:3', 'month', 9), ('person', 'day', 9)",
            "INSERT INTO audit (id, at, admin, change, guild) VALUES \
             ('1', 1, 'discord:42', 'limit spacing: 1', NULL), \
             ('2', 2, 'discord:77', 'budget of guild:discord:1 for a month: $9.00', 'discord:1'), \
             ('3', 3, 'discord:42', 'budget of guild:discord:1 for a month: $9.00', 'discord:1'), \
             ('4', 4, 'discord:42', 'budget of guild:discord:2 for a month: $8.00', 'discord:2'), \
             ('5', 5, 'discord:77', 'budget of guild:discord:2 for a month: $9.00', 'discord:2')",
        ] {
            db.execute(undo).await;
        }
        db.migrate().await.unwrap();
        let only_lower: Vec<(String, bool)> =
            db.budgets().await.unwrap().into_iter().map(|set| (set.scope, set.only_lowers)).collect();
        let wanted = [("guild:discord:1", false), ("guild:discord:2", true), ("guild:discord:3", true), ("person", false)];
        assert_eq!(only_lower, wanted.map(|(scope, only_lowers)| (scope.to_owned(), only_lowers)));
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
        assert_eq!(db.used(&Scope::Bot, Span::Month, START).await.unwrap().total(), 100);
    }

    async fn what_is_set_aside_is_told_apart_from_what_is_spent(db: TestDb) {
        let (mia, chat) = (person(&db, "mia").await, chat("1"));
        let caps = [("bot", Span::Month, 100), ("person", Span::Day, 80)];
        let used = async || {
            let used = db.used(&Scope::Person(mia), Span::Day, START).await.unwrap();
            (used.spent, used.set_aside)
        };
        for key in ["a", "b", "c"] {
            assert!(is_yes(&db.reserve(&call(key, mia, &chat, 20), &caps, UNTIL).await.unwrap()));
        }
        assert_eq!(used().await, (0, 60));
        db.rekey("b", "run").await.unwrap();
        let standings = db.settle(entry("a", mia, &chat, 50, "ok"), &caps, None).await.unwrap().unwrap();
        let mut told: Vec<_> = standings
            .iter()
            .map(|(standing, told)| (standing.cap.scope.kind(), standing.percent(), standing.used.set_aside, *told))
            .collect();
        told.sort_unstable();
        assert_eq!(told, [("bot", 50, 40, 0), ("person", 62, 40, 0)]);
        assert!(db.settle(entry("a", mia, &chat, 50, "ok"), &caps, None).await.unwrap().is_none(), "it stands there");
        assert!(db.alert_budget(&Scope::Bot, Span::Month, START, 50).await.unwrap());
        db.unreserve("c").await.unwrap();
        assert_eq!(used().await, (50, 20));
        db.give_up_reservation("run", 5).await.unwrap();
        assert_eq!(used().await, (55, 0));
        // What admins have set is what counts, and what the owner was told of is known.
        db.set_budget("bot", Span::Month, Some(1_000)).await.unwrap();
        db.set_budget(&Scope::Person(mia).name(), Span::Day, None).await.unwrap();
        let standings = db.settle(entry("d", mia, &chat, 45, "ok"), &caps, None).await.unwrap().unwrap();
        assert_eq!(standings.iter().map(|(standing, _)| standing.percent()).collect::<Vec<_>>(), [10]);
    }

    async fn a_charge_is_asked_for_again_until_it_is_final(db: TestDb) {
        let (mia, chat) = (person(&db, "mia").await, chat("1"));
        let provisional = || {
            let mut entry = entry("run1", mia, &chat, 30, "ok");
            (entry.provider, entry.tool, entry.usage.estimated) = (Provider::Apify, "scrape", true);
            entry
        };
        let reserved = Entry { provider: Provider::Apify, tool: "scrape", ..call("run1", mia, &chat, 60) };
        db.reserve(&reserved, &[], UNTIL).await.unwrap();
        assert_eq!(db.next_charge_at().await.unwrap(), None);
        db.settle(provisional(), &[], Some(UNTIL)).await.unwrap().unwrap();
        assert!(db.charges_to_confirm(Timestamp(UNTIL.0 - 1), 9).await.unwrap().is_empty(), "not yet");
        let due = db.charges_to_confirm(UNTIL, 9).await.unwrap();
        assert_eq!((due.len(), due[0].key.as_str(), due[0].provider.as_str(), due[0].tries), (1, "run1", "apify", 0));
        let later = UNTIL + Duration::from_secs(9);
        db.postpone_charge("run1", Some(later), 1).await.unwrap();
        assert_eq!(db.next_charge_at().await.unwrap(), Some(later));
        assert_eq!(db.charges_to_confirm(later, 9).await.unwrap()[0].tries, 1);
        let estimated = "SELECT CAST(SUM(estimated_micro_usd) AS BIGINT) FROM usage_models";
        assert_eq!(db.number(estimated, &[]).await, 30);
        let caps = [("bot", Span::Day, 20)];
        let (difference, standings) = db.confirm_charge("run1", 12, &caps).await.unwrap().unwrap();
        assert_eq!((difference, standings[0].0.percent(), standings[0].1), (-18, 60, 0));
        assert!(db.confirm_charge("run1", 99, &caps).await.unwrap().is_none(), "it was said");
        assert_eq!(db.used(&Scope::Bot, Span::Day, START).await.unwrap().total(), 12);
        assert_eq!((db.number(estimated, &[]).await, db.next_charge_at().await.unwrap()), (0, None));
        for sums in ["usage_models", "usage_places WHERE days = 1"] {
            assert_eq!(db.number(&format!("SELECT CAST(SUM(micro_usd) AS BIGINT) FROM {sums}"), &[]).await, 12, "{sums}");
        }
        // The estimate of one that nobody can tell stays what it is.
        let mut second = provisional();
        second.key = "run2";
        db.settle(second, &[], Some(UNTIL)).await.unwrap().unwrap();
        db.postpone_charge("run2", None, 6).await.unwrap();
        assert_eq!((db.number(estimated, &[]).await, db.next_charge_at().await.unwrap()), (30, None));
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
