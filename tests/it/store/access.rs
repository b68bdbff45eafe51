//! Blocks, invitations, notices, the pause and the limits.

use reelcoach::core::access::code_hash;
use reelcoach::ids::GuildId;
use reelcoach::store::access::{Activity, Invite, Known, LimitName, Redeemed};

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

fn guild(id: &str) -> GuildId {
    GuildId::new(Platform::Discord, id)
}

on_both! {
    async fn a_code_is_redeemed_as_often_as_it_says_and_no_more(db: TestDb) {
        let hash = code_hash("abcd");
        db.invite(&hash, 5, at(86_400), "telegram:1", START).await.unwrap();
        let instances = three_instances(&db).await;
        let mut people = Vec::new();
        for n in 0..16 {
            people.push(person(&db, &format!("{n}")).await);
        }
        let tasks = people.iter().enumerate().map(|(n, person)| {
            let (store, person, hash) = (instances[n % 3].clone(), *person, hash.clone());
            tokio::spawn(async move { store.redeem(&hash, person, at(1)).await.unwrap() })
        });
        let outcomes = all(tasks).await;
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == Redeemed::Yes).count(), 5, "{outcomes:?}");
        assert_eq!(db.number("SELECT uses_left FROM invites", &[]).await, 0);
        assert_eq!(db.number("SELECT COUNT(*) FROM admissions", &[]).await, 5);
        for (n, outcome) in outcomes.iter().enumerate() {
            let known = db.known(Platform::Telegram, &format!("{n}"), None).await.unwrap();
            assert_eq!(known.admitted, *outcome == Redeemed::Yes);
        }
        assert!(!db.text("SELECT code_hash FROM invites").await.contains("abcd"));
    }

    async fn one_person_takes_one_use_however_often_they_try(db: TestDb) {
        let hash = code_hash("abcd");
        db.invite(&hash, 5, at(86_400), "telegram:1", START).await.unwrap();
        let ana = person(&db, "ana").await;
        let instances = three_instances(&db).await;
        let tasks = (0..16).map(|n| {
            let (store, hash) = (instances[n % 3].clone(), hash.clone());
            tokio::spawn(async move { store.redeem(&hash, ana, at(1)).await.unwrap() })
        });
        let outcomes = all(tasks).await;
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == Redeemed::Yes).count(), 1);
        assert!(!outcomes.contains(&Redeemed::No));
        assert_eq!(db.number("SELECT uses_left FROM invites", &[]).await, 4);
    }

    async fn a_code_expires_and_an_unknown_one_does_nothing(db: TestDb) {
        let ana = person(&db, "ana").await;
        db.invite(&code_hash("abcd"), 1, at(10), "telegram:1", START).await.unwrap();
        assert_eq!(db.redeem(&code_hash("other"), ana, at(1)).await.unwrap(), Redeemed::No);
        assert_eq!(db.redeem(&code_hash("abcd"), ana, at(10)).await.unwrap(), Redeemed::No);
        assert_eq!(db.redeem(&code_hash("abcd"), ana, at(9)).await.unwrap(), Redeemed::Yes);
        db.sweep(at(11)).await.unwrap();
        assert_eq!(db.number("SELECT COUNT(*) FROM invites", &[]).await, 0, "expired ones are deleted");
        assert!(db.known(Platform::Telegram, "ana", None).await.unwrap().admitted, "who came in stays");
    }

    async fn open_invitations_are_listed_and_taken_back_once(db: TestDb) {
        let (ana, ben) = (person(&db, "ana").await, person(&db, "ben").await);
        for (code, uses, until) in [("late", 2, 90), ("soon", 1, 20), ("over", 1, 5), ("used", 1, 50)] {
            db.invite(&code_hash(code), uses, at(until), "telegram:1", START).await.unwrap();
        }
        assert_eq!(db.redeem(&code_hash("used"), ana, at(1)).await.unwrap(), Redeemed::Yes);
        let open = db.invites(at(5), 9).await.unwrap();
        let soon = Invite { code_hash: code_hash("soon"), uses_left: 1, until: at(20), admin: "telegram:1".into(), at: START };
        assert_eq!(open, [soon.clone(), Invite { code_hash: code_hash("late"), uses_left: 2, until: at(90), ..soon.clone() }]);
        assert_eq!(db.invites(at(5), 1).await.unwrap(), std::slice::from_ref(&soon));
        for hash in [&code_hash("over"), &code_hash("used"), &code_hash("none"), "", "%", &code_hash("soon")[..7]] {
            assert_eq!(db.revoke_invite(hash, at(5)).await.unwrap(), None, "{hash}");
        }
        let instances = three_instances(&db).await;
        let tasks = (0..9).map(|n| {
            let store = instances[n % 3].clone();
            tokio::spawn(async move { store.revoke_invite(&code_hash("soon")[..8], at(5)).await.unwrap() })
        });
        let revoked: Vec<_> = all(tasks).await.into_iter().flatten().collect();
        assert_eq!(revoked, [soon]);
        assert_eq!(db.redeem(&code_hash("soon"), ben, at(6)).await.unwrap(), Redeemed::No);
        assert_eq!(db.redeem(&code_hash("late"), ben, at(6)).await.unwrap(), Redeemed::Yes);
        // Two that are called alike: neither is meant.
        db.invite("0a1b2c3d0", 1, at(90), "telegram:1", START).await.unwrap();
        db.invite("0a1b2c3d1", 1, at(90), "telegram:1", START).await.unwrap();
        assert_eq!(db.revoke_invite("0a1b2c3d", at(6)).await.unwrap(), None);
    }

    async fn blocks_are_of_everywhere_or_of_one_community(db: TestDb) {
        let known = async |guild: Option<&GuildId>| db.known(Platform::Telegram, "ana", guild).await.unwrap();
        assert_eq!(known(None).await, Known::default());
        let ana = person(&db, "ana").await;
        let known_ana = || Known { person: Some(ana), name: "ana".into(), ..Known::default() };
        let (here, there) = (guild("1"), guild("2"));
        db.block(ana, Some(&here), "loud", "discord:1", "told", at(1)).await.unwrap();
        assert_eq!(known(Some(&here)).await, Known { blocked_here: true, ..known_ana() });
        assert_eq!(known(Some(&there)).await, known_ana());
        assert_eq!(known(None).await, known_ana());
        db.block(ana, None, "", "discord:1", "told", at(2)).await.unwrap();
        assert!(known(None).await.blocked);
        let all = db.blocks(None, 10).await.unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].guild.clone(), all[1].guild.clone()), (None, Some(here.clone())));
        assert_eq!((all[1].reason.as_str(), &all[1].accounts[..]), ("loud", &["telegram:ana".to_owned()][..]));
        assert_eq!(db.blocks(Some(&here), 10).await.unwrap().len(), 1);
        assert_eq!(db.blocks(Some(&there), 10).await.unwrap(), []);
        assert!(!db.unblock(ana, Some(&there)).await.unwrap(), "another community's");
        db.block(ana, Some(&there), "", "discord:1", "told", at(3)).await.unwrap();
        assert!(db.unblock(ana, Some(&there)).await.unwrap());
        assert!(known(None).await.blocked && known(Some(&here)).await.blocked_here, "those stay");
        assert_eq!(db.count_blocks(None).await.unwrap(), 2);
        assert_eq!(db.count_blocks(Some(&here)).await.unwrap(), 1);
        // Who runs the bot lets somebody in everywhere.
        assert!(db.unblock(ana, None).await.unwrap());
        assert!(!db.unblock(ana, None).await.unwrap());
        assert_eq!(known(Some(&here)).await, known_ana());
    }

    async fn a_block_reaches_the_chats_of_its_community(db: TestDb) {
        let ana = person(&db, "ana").await;
        let (inside, outside) = (chat("inside"), chat("outside"));
        let (message, community) = (MessageRef::new(inside.clone(), "1"), guild("1"));
        db.receive(Arrival { guild: Some(&community), ..arrival(&message, ana, "{}", at(1)) }).await.unwrap();
        says(&db, ana, &outside, "2", at(1)).await;
        for (place, reel) in [(&inside, 1), (&outside, 2)] {
            let reels = [code(reel)];
            let wish = Wish {
                turn: TurnId::new(),
                person: ana,
                chat: place,
                reply_to: None,
                placeholder: None,
                question: "",
                reels: &reels,
                fresh: false,
            };
            db.submit(&wish, LIMITS, &|_| "note".into(), at(2)).await.unwrap();
        }
        db.block(ana, Some(&community), "", "discord:1", "You are out.", at(3)).await.unwrap();
        assert!(db.is_blocked(ana, &inside).await.unwrap());
        assert!(!db.is_blocked(ana, &outside).await.unwrap());
        // In a community others would read why.
        assert_eq!(db.number("SELECT COUNT(*) FROM boards WHERE note = '' AND chat = 'telegram:inside'", &[]).await, 1);
        assert_eq!(db.number("SELECT COUNT(*) FROM boards WHERE note = 'note'", &[]).await, 1);
        let cancelled = db.cancel(&Cancelled::AllIn(community, ana), INTERVAL, at(4)).await.unwrap();
        assert_eq!(cancelled, [code(1)]);
        db.block(ana, None, "", "discord:1", "Out.", at(5)).await.unwrap();
        assert!(db.is_blocked(ana, &outside).await.unwrap());
        let told = "SELECT COUNT(*) FROM boards WHERE note = 'Out.' AND chat = 'telegram:outside'";
        assert_eq!(db.number(told, &[]).await, 1);
        assert_eq!(db.number("SELECT COUNT(*) FROM boards WHERE note = 'Out.'", &[]).await, 1);
    }

    async fn something_is_told_only_so_often(db: TestDb) {
        let instances = three_instances(&db).await;
        let tasks = (0..16).map(|n| {
            let store = instances[n % 3].clone();
            tokio::spawn(async move { store.may_tell("telegram:1", "refused", 1, DAY, at(1)).await.unwrap() })
        });
        assert_eq!(all(tasks).await.into_iter().filter(|told| *told).count(), 1);
        let tell = async |what: &str, times, now| db.may_tell("telegram:1", what, times, DAY, now).await.unwrap();
        assert!(!tell("refused", 1, at(86_400)).await);
        assert!(tell("refused", 1, at(86_401)).await, "a day later");
        assert!(!tell("refused", 1, at(86_402)).await);
        let told: Vec<bool> = [tell("code", 2, at(1)).await, tell("code", 2, at(2)).await, tell("code", 2, at(3)).await].into();
        assert_eq!(told, [true, true, false]);
    }

    async fn while_the_bot_pauses_reels_wait_and_talk_does_not(db: TestDb) {
        let ana = person(&db, "ana").await;
        submit(&db, ana, &[1], START).await;
        assert_eq!(db.pause().await.unwrap(), None);
        db.pause_all("new keys", "telegram:1", at(1)).await.unwrap();
        db.pause_all("newer keys", "telegram:1", at(2)).await.unwrap();
        let pause = db.pause().await.unwrap().unwrap();
        assert_eq!((pause.reason.as_str(), pause.at), ("newer keys", at(1)), "it began when it began");
        assert!(claim_job(&db, at(3)).await.is_none());
        assert!(db.lanes().await.unwrap().is_paused(&Lane::direct(0)));
        says(&db, ana, &chat("talk"), "1", at(3)).await;
        let turn = claim_one(&db, at(4)).await;
        assert_eq!(turn.kind, TurnKind::Talk);
        assert!(db.close_turn(&turn, Outcome::Answered, at(4)).await.unwrap());
        assert!(db.resume_all().await.unwrap());
        assert!(!db.resume_all().await.unwrap());
        let job = claim_job(&db, at(5)).await.expect("it goes on");
        db.pause_all("", "telegram:1", at(6)).await.unwrap();
        assert!(db.finish_job(&job, &done(), INTERVAL, at(7)).await.unwrap());
        assert_eq!(claim(&db, InstanceId::new(), at(8)).await.len(), 0, "its coaching waits");
        db.resume_all().await.unwrap();
        assert!(matches!(claim_one(&db, at(9)).await.kind, TurnKind::Reel(_)));
    }

    async fn limits_are_set_and_given_back(db: TestDb) {
        assert_eq!(db.set_limits().await.unwrap(), []);
        db.set_limit(LimitName::Spacing, Some(60)).await.unwrap();
        db.set_limit(LimitName::Spacing, Some(90)).await.unwrap();
        db.set_limit(LimitName::Line, Some(1)).await.unwrap();
        db.set_limit(LimitName::Line, None).await.unwrap();
        assert_eq!(db.set_limits().await.unwrap(), [(LimitName::Spacing, 90)]);
    }

    async fn changes_are_paged_and_of_one_community(db: TestDb) {
        let (here, there) = (guild("1"), guild("2"));
        for n in 0..5 {
            let place = if n % 2 == 0 { Some(&here) } else { None };
            db.note_change_in(place, "discord:1", &format!("change {n}"), at(n)).await.unwrap();
        }
        let changes = async |guild: Option<&GuildId>, since, skip| -> Vec<String> {
            let found = db.changes_since(guild, since, skip, 2).await.unwrap();
            found.into_iter().map(|change| change.change).collect()
        };
        assert_eq!(changes(None, START, 0).await, ["change 4", "change 3"]);
        assert_eq!(changes(None, START, 4).await, ["change 0"]);
        assert_eq!(changes(None, at(4), 0).await, ["change 4"]);
        assert_eq!(changes(Some(&here), START, 1).await, ["change 2", "change 0"]);
        assert!(changes(Some(&there), START, 0).await.is_empty());
    }

    async fn what_a_person_did_is_counted(db: TestDb) {
        let ana = person(&db, "ana").await;
        says(&db, ana, &chat("a"), "1", at(1)).await;
        says(&db, ana, &chat("a"), "2", at(1)).await;
        says(&db, ana, &chat("b"), "3", at(100)).await;
        let aside = MessageRef::new(chat("a"), "4");
        db.receive(Arrival { atomic: true, aside: true, ..arrival(&aside, ana, "{}", at(2)) }).await.unwrap();
        submit(&db, ana, &[1, 2], at(1)).await;
        assert_eq!(db.activity(ana, START).await.unwrap(), Activity { messages: 3, reels: 2 });
        assert_eq!(db.activity(ana, at(50)).await.unwrap(), Activity { messages: 1, reels: 0 });
        assert_eq!(db.activity(PersonId::new(), START).await.unwrap(), Activity::default());
    }

    async fn names_lead_to_numbers(db: TestDb) {
        db.person(Platform::Telegram, "1", "Ben", START).await.unwrap();
        db.person(Platform::Discord, "2", "ben", at(1)).await.unwrap();
        assert_eq!(db.accounts_named("BEN", 5).await.unwrap(), ["discord:2", "telegram:1"]);
        assert!(db.accounts_named("be", 5).await.unwrap().is_empty());
    }
}
