//! Joining a reel that waits for somebody else's spacing: whose slot it takes, who pays, and what the others get back.

use reelcoach::ids::GuildId;
use reelcoach::store::reels::Denied;
use reelcoach::upstream::BudgetOf;

use super::*;

/// Of the jobs that wait: the reel, from when on it may start, and whose slot it is.
async fn waiting(db: &TestDb) -> Vec<(Shortcode, Timestamp, PersonId)> {
    let line = db.line().await.unwrap().into_iter().filter(|job| job.running.is_none());
    line.map(|job| (job.shortcode, job.ready_at, job.asked_by)).collect()
}

async fn people<const N: usize>(db: &TestDb, names: [&str; N]) -> [PersonId; N] {
    let mut all = Vec::new();
    for name in names {
        all.push(person(db, name).await);
    }
    all.try_into().expect("as many as there are names")
}

on_both! {
    async fn whoever_joins_does_not_wait_for_somebody_elses_spacing(db: TestDb) {
        let [ana, ben] = people(&db, ["ana", "ben"]).await;
        submit(&db, ana, &[1, 2, 3, 4, 5], START).await;
        assert_eq!(submit(&db, ben, &[5], at(3)).await, [Submitted::Joined]);
        let expected = [
            (code(1), START, ana),
            (code(5), at(3), ben),
            (code(2), at(30), ana),
            (code(3), at(60), ana),
            (code(4), at(90), ana),
        ];
        assert_eq!(waiting(&db).await, expected);
        // It took his slot, and gave hers back.
        assert_eq!(submit(&db, ben, &[6], at(4)).await, [queued(33)]);
        assert_eq!(submit(&db, ana, &[7], at(4)).await, [queued(120)]);
        // He pays for it, where he asked for it.
        claim_job(&db, at(4)).await.unwrap();
        let job = claim_job(&db, at(4)).await.unwrap();
        assert_eq!((job.shortcode.clone(), job.asked_by, job.chat.clone()), (code(5), ben, chat(&format!("dm-{ben}"))));
        assert!(db.finish_job(&job, &done(), INTERVAL, at(20)).await.unwrap());
        let mut told: Vec<_> = claim(&db, InstanceId::new(), at(20)).await.iter().map(|turn| turn.person).collect();
        told.sort();
        let mut both = vec![ana, ben];
        both.sort();
        assert_eq!(told, both);
    }

    async fn the_earliest_slot_of_all_who_join_has_it(db: TestDb) {
        let [ana, ben, cleo, dan] = people(&db, ["ana", "ben", "cleo", "dan"]).await;
        submit(&db, ana, &[1, 2, 3], START).await;
        submit(&db, ben, &[11, 12], START).await;
        // Ben's own next slot is not earlier than where it stands.
        assert_eq!(submit(&db, ben, &[3], at(1)).await, [Submitted::Joined]);
        assert_eq!(waiting(&db).await.last().unwrap(), &(code(3), at(60), ana));
        assert_eq!(submit(&db, ben, &[13], at(1)).await, [queued(60)], "and none of his time was taken");
        // Cleo's is.
        submit(&db, cleo, &[21], at(2)).await;
        assert_eq!(submit(&db, cleo, &[3], at(2)).await, [Submitted::Joined]);
        assert!(waiting(&db).await.contains(&(code(3), at(32), cleo)));
        // Dan's is earlier still, and Cleo has hers back.
        assert_eq!(submit(&db, dan, &[3], at(5)).await, [Submitted::Joined]);
        assert!(waiting(&db).await.contains(&(code(3), at(5), dan)));
        assert_eq!(submit(&db, cleo, &[22], at(5)).await, [queued(32)]);
        // What may start already stays whose it is.
        assert_eq!(submit(&db, ben, &[21], at(40)).await, [Submitted::Joined]);
        assert!(waiting(&db).await.contains(&(code(21), at(2), cleo)));
    }

    async fn nobody_gets_more_waiting_than_they_may(db: TestDb) {
        let [ana, ben] = people(&db, ["ana", "ben"]).await;
        let quick = QueueLimits { interval: Duration::from_secs(1), ..LIMITS };
        let ask = async |person: PersonId, reels: &[u32], limits: QueueLimits| {
            let (chat, reels): (_, Vec<Shortcode>) = (chat("dm"), reels.iter().map(|n| code(*n)).collect());
            let turn = TurnId::new();
            let wish = Wish { turn, person, chat: &chat, reply_to: None, placeholder: None, question: "", reels: &reels, fresh: false };
            db.submit(&wish, limits, &|_| String::new(), START).await.unwrap()
        };
        ask(ana, &[1, 2, 3, 4, 5], LIMITS).await;
        ask(ben, &[11, 12, 13, 14, 15], quick).await;
        assert_eq!(ask(ben, &[5], quick).await, [Submitted::Joined]);
        assert!(waiting(&db).await.contains(&(code(5), at(120), ana)), "five wait for him already");
        assert!(matches!(ask(ben, &[16], quick).await[..], [Submitted::Denied(Denied::TooManyWaiting { .. })]));
    }

    async fn it_moves_to_who_still_waits_when_its_owner_leaves(db: TestDb) {
        let [ana, ben, cleo] = people(&db, ["ana", "ben", "cleo"]).await;
        // Both join when it is no gain; then their own slots are over before hers.
        submit(&db, ben, &[11], at(0)).await;
        submit(&db, cleo, &[21], at(10)).await;
        submit(&db, ana, &[1, 2], at(0)).await;
        submit(&db, ben, &[2], at(1)).await;
        submit(&db, cleo, &[2], at(11)).await;
        assert!(waiting(&db).await.contains(&(code(2), at(30), ana)));
        for _ in 0..3 {
            let job = db.claim_job(InstanceId::new(), &lanes(3, 0), at(12), LEASE).await.unwrap().unwrap();
            assert!(db.finish_job(&job, &done(), INTERVAL, at(13)).await.unwrap());
        }
        assert_eq!(db.cancel(&Cancelled::AllOf(ana), INTERVAL, at(14)).await.unwrap(), [code(2)]);
        assert_eq!(waiting(&db).await, [(code(2), at(30), ben)], "his own slot, and not later than it was");
        assert_eq!(submit(&db, ana, &[3], at(14)).await, [queued(30)], "hers is given back");
        assert_eq!(submit(&db, ben, &[12], at(14)).await, [queued(60)], "his is taken");
        // Joined by whose it is it stays; by somebody with an earlier slot it moves.
        let elsewhere = chat("elsewhere");
        let reels = [code(12)];
        let turn = TurnId::new();
        let wish = Wish { turn, person: ben, chat: &elsewhere, reply_to: None, placeholder: None, question: "", reels: &reels, fresh: false };
        assert_eq!(db.submit(&wish, LIMITS, &|_| String::new(), at(14)).await.unwrap(), [Submitted::Joined]);
        submit(&db, cleo, &[12], at(15)).await;
        assert!(waiting(&db).await.contains(&(code(12), at(40), cleo)));
    }

    async fn a_budget_that_does_not_cover_it_is_not_everybodys(db: TestDb) {
        let [ana, ben, cleo] = people(&db, ["ana", "ben", "cleo"]).await;
        submit(&db, ana, &[1, 2], START).await;
        submit(&db, ben, &[2], at(1)).await;
        submit(&db, cleo, &[2], at(2)).await;
        let first = claim_job(&db, at(3)).await.unwrap();
        let job = claim_job(&db, at(3)).await.unwrap();
        assert_eq!((first.asked_by, job.shortcode.clone(), job.asked_by), (ana, code(2), ben));
        // Ben cannot pay: it goes on in Cleo's slot.
        assert!(db.pass_on(&job, BudgetOf::Person, INTERVAL, 5, at(4)).await.unwrap());
        let again = db.claim_job(InstanceId::new(), &lanes(3, 0), at(4), LEASE).await.unwrap().unwrap();
        assert_eq!((again.job, again.asked_by), (job.job, cleo));
        assert_eq!(submit(&db, cleo, &[21], at(4)).await, [queued(34)]);
        assert!(!db.pass_on(&job, BudgetOf::Person, INTERVAL, 5, at(5)).await.unwrap(), "its lease is lost");
        // Nor can she: Ana's own next slot is later.
        assert!(db.pass_on(&again, BudgetOf::Person, INTERVAL, 5, at(5)).await.unwrap());
        assert!(waiting(&db).await.contains(&(code(2), at(30), ana)));
        // Who could not pay does not get it again, and has their time back.
        submit(&db, ben, &[2], at(6)).await;
        assert!(waiting(&db).await.contains(&(code(2), at(30), ana)));
        assert_eq!(submit(&db, ben, &[12], at(6)).await, [queued(6)]);
        let last = loop {
            let next = db.claim_job(InstanceId::new(), &lanes(4, 0), at(31), LEASE).await.unwrap().unwrap();
            if next.job == job.job {
                break next;
            }
        };
        assert_eq!(last.asked_by, ana);
        assert!(!db.pass_on(&last, BudgetOf::Person, INTERVAL, 5, at(32)).await.unwrap(), "nobody else is left");
        assert!(db.finish_job(&last, &failed(true), INTERVAL, at(32)).await.unwrap());
    }

    async fn the_budget_of_a_chat_or_a_community_is_that_of_all_who_wait_there(db: TestDb) {
        let guild = GuildId::new(Platform::Discord, "900");
        let [room, hall] = ["1", "2"].map(|key| ChatId::new(Platform::Discord, key));
        for (n, whose) in (1..).zip([BudgetOf::Chat, BudgetOf::Guild]) {
            let [ana, ben, cleo, dan] =
                people(&db, [&format!("ana {n}"), &format!("ben {n}"), &format!("cleo {n}"), &format!("dan {n}")]).await;
            let ask = async |person: PersonId, chat: &ChatId| {
                let message = MessageRef::new(chat.clone(), format!("{n} {person}"));
                db.receive(Arrival { guild: Some(&guild), ..arrival(&message, person, "{}", START) }).await.unwrap();
                let (turn, reels) = (TurnId::new(), [code(n)]);
                let wish = Wish { turn, person, chat, reply_to: None, placeholder: None, question: "", reels: &reels, fresh: false };
                db.submit(&wish, LIMITS, &|_| String::new(), START).await.unwrap();
            };
            for (person, chat) in [(ana, &room), (ben, &room), (cleo, &hall)] {
                ask(person, chat).await;
            }
            submit(&db, dan, &[n], START).await;
            let job = claim_job(&db, START).await.unwrap();
            assert!(db.pass_on(&job, whose, INTERVAL, 5, START).await.unwrap());
            let job = claim_job(&db, START).await.unwrap();
            let heir = if whose == BudgetOf::Chat { cleo } else { dan };
            assert_eq!((job.asked_by, job.attempt, job.tries()), (heir, 2, 1), "not Ben, who asked in the same chat");
            assert!(db.finish_job(&job, &done(), INTERVAL, START).await.unwrap());
        }
    }

    async fn however_often_it_is_passed_on_it_has_all_its_attempts(db: TestDb) {
        for n in 0..12 {
            let person = person(&db, &format!("poor {n}")).await;
            submit(&db, person, &[1], START).await;
        }
        for passed in 0..11 {
            let job = claim_job(&db, START).await.unwrap();
            assert_eq!((job.attempt, job.tries()), (passed + 1, 1));
            assert!(db.pass_on(&job, BudgetOf::Person, INTERVAL, 5, START).await.unwrap());
        }
        let job = claim_job(&db, START).await.unwrap();
        assert!(db.requeue_job(&job, START, None).await.unwrap());
        assert_eq!(claim_job(&db, START).await.unwrap().tries(), 2);
    }

    async fn it_is_not_passed_on_to_who_has_as_many_waiting_as_may(db: TestDb) {
        let [ana, ben, cleo] = people(&db, ["ana", "ben", "cleo"]).await;
        submit(&db, ana, &[1], START).await;
        submit(&db, ben, &[1], START).await;
        submit(&db, cleo, &[1], START).await;
        // Ben's next slot is the earlier one.
        let (dm, reels) = (chat("dm"), [code(11), code(12), code(13)]);
        let wish = Wish { turn: TurnId::new(), person: ben, chat: &dm, reply_to: None, placeholder: None, question: "", reels: &reels, fresh: false };
        let quick = QueueLimits { interval: Duration::from_secs(1), ..LIMITS };
        db.submit(&wish, quick, &|_| String::new(), START).await.unwrap();
        submit(&db, cleo, &[21, 22], START).await;
        let job = claim_job(&db, START).await.unwrap();
        assert_eq!((job.shortcode.clone(), job.asked_by), (code(1), ana));
        assert!(db.pass_on(&job, BudgetOf::Person, INTERVAL, 3, at(2)).await.unwrap());
        assert!(waiting(&db).await.iter().any(|(reel, _, whose)| (reel, whose) == (&code(1), &cleo)));
    }

    async fn many_who_join_at_once_keep_everybodys_spacing(db: TestDb) {
        let instances = three_instances(&db).await;
        let ana = person(&db, "ana").await;
        submit(&db, ana, &[1, 2, 3, 4, 5], START).await;
        let tasks = (0..12).map(|n: u32| {
            let store = instances[(n % 3) as usize].clone();
            tokio::spawn(async move {
                let person = person(&store, &format!("joins {n}")).await;
                submit(&store, person, &[5, 4, 100 + n], at(1)).await
            })
        });
        for outcomes in all(tasks).await {
            assert!(matches!(outcomes[..], [Submitted::Joined, Submitted::Joined, Submitted::Queued { .. }]));
        }
        let mut slots: std::collections::BTreeMap<PersonId, Vec<Timestamp>> = std::collections::BTreeMap::new();
        for (_, ready_at, owner) in waiting(&db).await {
            slots.entry(owner).or_default().push(ready_at);
        }
        for (owner, mut slots) in slots {
            slots.sort();
            assert!(slots.windows(2).all(|pair| pair[1].since(pair[0]) >= INTERVAL), "{owner}: {slots:?}");
        }
        let line = waiting(&db).await;
        assert!(line.iter().filter(|(reel, ..)| *reel == code(5) || *reel == code(4)).all(|(_, ready, _)| *ready <= at(1)));
        assert_eq!(db.number("SELECT waiting FROM line", &[]).await, line.len() as i64);
    }

    async fn a_jobs_own_time_is_kept_over_attempts_and_restarts(db: TestDb) {
        let ana = person(&db, "ana").await;
        submit(&db, ana, &[1], START).await;
        let first = claim_job(&db, at(100)).await.unwrap();
        assert_eq!((first.began_at, first.bought), (at(100), false), "the wait in the queue does not count");
        // Its worker is lost; a second one comes 40 s after the lease has ended.
        assert_eq!(db.renew_job(&first, at(120)).await.unwrap(), reelcoach::store::reels::JobLease::Held);
        let second = claim_job(&db, at(160)).await.unwrap();
        assert_eq!((second.job, second.began_at), (first.job, at(140)), "nobody worked on it for 40 s");
        assert!(second.bought, "what the lost one bought is not known");
        // A pause of its own counts, the wait for a lane behind it does not.
        assert!(db.requeue_job(&second, at(180), None).await.unwrap());
        let third = claim_job(&db, at(200)).await.unwrap();
        assert_eq!(third.began_at, at(160));
        // On SQLite a restart frees what was at work at once.
        db.release_everything(at(205)).await.unwrap();
        let fourth = claim_job(&db, at(210)).await.unwrap();
        assert_eq!(fourth.began_at, at(165));
    }
}
