//! The roll-ups: that they are the ledger's sums whatever happens to a call, and what reports read of them.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reelcoach::ids::GuildId;
use reelcoach::store::budgets::Span;
use reelcoach::store::ledger::{Entry, Reserved};
use reelcoach::store::turns::{Source, Told};
use reelcoach::store::usage::{Buckets, Days, Place, Sums};
use reelcoach::upstream::{Provider, STARTED, Usage};

use super::*;

const SUMS: &str = "COUNT(*), SUM(CASE WHEN outcome IN ('ok', 'cancelled') THEN 0 ELSE 1 END), \
    SUM(CASE WHEN outcome = 'cancelled' THEN 1 ELSE 0 END), SUM(input_tokens), \
    SUM(cached_tokens), SUM(cache_write_tokens), SUM(output_tokens), SUM(reasoning_tokens), SUM(micro_usd), \
    SUM(CASE WHEN estimated THEN micro_usd ELSE 0 END)";
const COLUMNS: &str = "calls, failed, called_off, input_tokens, cached_tokens, cache_write_tokens, output_tokens, \
    reasoning_tokens, micro_usd, estimated_micro_usd";

/// Rows by which the roll-ups differ from what the ledger says.
async fn differences(db: &TestDb) -> i64 {
    let ended = "FROM ledger WHERE outcome <> 'started'";
    let places = |days: i64| {
        (
            format!("SELECT first_day, person_id, chat, guild, {COLUMNS} FROM usage_places WHERE days = {days}"),
            format!(
                "SELECT at / 86400000 / {days} * {days}, person_id, chat, COALESCE(guild, ''), {SUMS} {ended} GROUP BY 1, 2, 3, 4"
            ),
        )
    };
    let pairs = [
        (
            format!("SELECT day, platform, provider, model, tool, {COLUMNS} FROM usage_models WHERE guild = ''"),
            format!("SELECT at / 86400000, platform, provider, model, tool, {SUMS} {ended} GROUP BY 1, 2, 3, 4, 5"),
        ),
        (
            format!(
                "SELECT guild, day, platform, provider, model, tool, {COLUMNS} FROM usage_models WHERE guild <> ''"
            ),
            format!(
                "SELECT guild, at / 86400000, platform, provider, model, tool, {SUMS} {ended} AND guild IS NOT NULL GROUP BY 1, 2, 3, 4, 5, 6"
            ),
        ),
        places(1),
        places(28),
    ];
    let mut differences = 0;
    for (kept, wanted) in pairs {
        // What has gone to another model leaves a row of nothing.
        let kept = format!("SELECT * FROM ({kept}) k WHERE calls <> 0 OR micro_usd <> 0 OR input_tokens <> 0");
        for (one, other) in [(&kept, &wanted), (&wanted, &kept)] {
            differences += db
                .number(
                    &format!("SELECT COUNT(*) FROM (SELECT * FROM ({one}) a EXCEPT SELECT * FROM ({other}) b) d"),
                    &[],
                )
                .await;
        }
    }
    differences
}

fn entry<'a>(key: &'a str, person: PersonId, chat: &'a ChatId, at: Timestamp) -> Entry<'a> {
    Entry {
        key,
        at,
        person,
        chat,
        provider: Provider::OpenAi,
        model: "large",
        tool: "coach",
        usage: Usage { input_tokens: 1000, cached_tokens: 200, output_tokens: 300, ..Usage::default() },
        micro_usd: 1234,
        price_version: "2026-01",
        latency_ms: 900,
        outcome: "ok",
    }
}

/// A chat of a community that the bot knows of.
async fn guild_chat(db: &TestDb, person: PersonId, key: &str, guild: &str) -> ChatId {
    let (chat, guild) = (ChatId::new(Platform::Discord, key), GuildId::new(Platform::Discord, guild));
    let message = MessageRef::new(chat.clone(), format!("first-{key}-{person}"));
    db.receive(Arrival { guild: Some(&guild), ..arrival(&message, person, "{}", START) }).await.unwrap();
    chat
}

/// What could happen to a call, at random: reserved, taken back, ended once or twice, given up, ended late.
async fn live_through(db: &TestDb, seed: u64, calls: usize) -> Vec<(Timestamp, PersonId, ChatId)> {
    let mut random = StdRng::seed_from_u64(seed);
    let people = [person(db, "mia").await, person(db, "leo").await, person(db, "zoe").await];
    let mut chats = vec![chat("1"), chat("2")];
    for (key, guild) in [("10", "7"), ("11", "7"), ("12", "8")] {
        chats.push(guild_chat(db, people[0], key, guild).await);
    }
    let mut made = Vec::new();
    for number in 0..calls {
        let key = format!("{seed}-{number}");
        let (person, chat) = (people[random.random_range(0..3)], chats[random.random_range(0..chats.len())].clone());
        let time = at(random.random_range(0..86_400 * 90));
        let tool = ["coach", "summary", "scrape"][random.random_range(0..3)];
        let usage = |random: &mut StdRng, estimated: bool| Usage {
            input_tokens: random.random_range(0..50_000),
            cached_tokens: random.random_range(0..100),
            cache_write_tokens: random.random_range(0..100),
            output_tokens: random.random_range(0..5_000),
            reasoning_tokens: random.random_range(0..100),
            estimated,
            ..Usage::default()
        };
        if random.random_bool(0.8) {
            let reserved = Entry {
                usage: usage(&mut random, true),
                micro_usd: random.random_range(0..90_000),
                tool,
                outcome: STARTED,
                ..entry(&key, person, &chat, time)
            };
            let reserved = db.reserve(&reserved, &[], time + INTERVAL).await.unwrap();
            assert!(matches!(reserved, Reserved::Yes));
        }
        for _ in 0..random.random_range(0..4) {
            match random.random_range(0..8) {
                0 => db.unreserve(&key).await.unwrap(),
                1 => db.give_up_reservation(&key, random.random_range(0..1000)).await.unwrap(),
                _ => {
                    let estimated = random.random_bool(0.3);
                    let ended = Entry {
                        usage: usage(&mut random, estimated),
                        micro_usd: random.random_range(0..50_000),
                        model: ["large", "small"][random.random_range(0..2)],
                        tool,
                        outcome: ["ok", "timed_out", "cancelled"][random.random_range(0..3)],
                        // A call is of when it began, however late it ends.
                        ..entry(&key, person, &chat, time + INTERVAL * random.random_range(0..9000))
                    };
                    db.record(ended).await.unwrap();
                }
            }
        }
        made.push((time, person, chat));
    }
    made
}

on_both! {
    async fn they_are_the_ledgers_sums_whatever_happens_to_a_call(db: TestDb) {
        for seed in 0..6 {
            live_through(&db, seed, 60).await;
            assert_eq!(differences(&db).await, 0, "seed {seed}");
        }
        assert!(db.number("SELECT COUNT(*) FROM ledger WHERE outcome = 'started'", &[]).await > 10);
        assert!(db.number("SELECT COUNT(*) FROM ledger WHERE outcome = 'lost'", &[]).await > 3);
        assert!(db.number("SELECT COUNT(*) FROM usage_models WHERE guild <> ''", &[]).await > 50);
    }

    async fn the_migration_makes_them_of_what_stands_there(db: TestDb) {
        live_through(&db, 7, 150).await;
        let sums = "SELECT CAST(SUM(micro_usd * LENGTH(scope || period)) AS BIGINT) FROM spending";
        let spent = db.number(sums, &[]).await;
        let turns = claim(&db, InstanceId::new(), at(10)).await;
        for turn in &turns {
            assert!(db.close_turn(turn, Outcome::Answered, at(86_400)).await.unwrap());
        }
        let counted = "SELECT CAST(SUM(count * (day + LENGTH(guild || what))) AS BIGINT) FROM usage_counts";
        let counts = db.number(counted, &[]).await;
        for table in ["usage_models", "usage_places", "usage_counts"] {
            db.empty(table).await;
        }
        // Before budgets were kept there were no sums; some of a month may be there.
        db.execute("DELETE FROM spending WHERE scope LIKE 'person:%'").await;
        db.execute("UPDATE spending SET micro_usd = 1 WHERE micro_usd > 0").await;
        for table in ["usage_models", "usage_places"] {
            for column in ["called_off", "estimated_micro_usd"] {
                db.execute(&format!("ALTER TABLE {table} DROP COLUMN {column}")).await;
            }
        }
        let first = include_str!("../../../migrations/0009_usage.sql").split("\nINSERT").skip(1).collect::<Vec<_>>();
        let estimated = include_str!("../../../migrations/0029_charges.sql");
        let estimated = &estimated[estimated.find("CREATE TEMPORARY TABLE").unwrap()..];
        let migrations = [
            format!("INSERT{}", first.join("\nINSERT")),
            include_str!("../../../migrations/0013_called_off.sql").into(),
            estimated.into(),
        ];
        // While a table is changed nobody may use it: the ledger, which may be long, is read once and before.
        for migration in &migrations[1..] {
            let (read, changed) = (migration.find("FROM ledger"), migration.find("ALTER TABLE"));
            assert!(read < changed && migration.matches("FROM ledger").count() == 1);
        }
        for migration in migrations {
            let lines: Vec<&str> = migration.lines().filter(|line| !line.starts_with("--")).collect();
            for statement in lines.join("\n").split(';').filter(|statement| !statement.trim().is_empty()) {
                db.execute(statement).await;
            }
        }
        for column in ["called_off", "estimated_micro_usd"] {
            let sum = format!("SELECT CAST(SUM({column}) AS BIGINT) FROM usage_models");
            assert!(db.number(&sum, &[]).await > 0, "{column}");
        }
        assert_eq!(differences(&db).await, 0);
        assert_eq!(db.number(sums, &[]).await, spent);
        assert_eq!((turns.len(), db.number(counted, &[]).await), (3, counts));
        let day = db.text("SELECT MIN(period) FROM spending WHERE scope = 'bot' AND LENGTH(period) = 10").await;
        assert_eq!(day, Span::Day.period(START));
    }

    async fn any_period_is_the_sum_of_its_days(db: TestDb) {
        live_through(&db, 3, 200).await;
        let first = Days::of(START);
        let mut random = StdRng::seed_from_u64(5);
        let guild = GuildId::new(Platform::Discord, "7");
        for _ in 0..40 {
            let from = first + random.random_range(-40..80);
            let period = Days { from, to: from + random.random_range(1..100) };
            let bounds = [Days::begin(period.from).0, Days::begin(period.to).0];
            let within = "FROM ledger WHERE outcome <> 'started' AND at >= $1 AND at < $2";
            let cost = async |more: &str| db.number(&format!("SELECT CAST(COALESCE(SUM(micro_usd), 0) AS BIGINT) {within}{more}"), &bounds).await;
            for by in [Place::Guild, Place::Chat, Place::Person] {
                let rows = db.usage_of_places(by, period, None, 100).await.unwrap();
                assert_eq!(rows.iter().map(|row| row.sums.micro_usd).sum::<i64>(), cost("").await, "{period:?} {by:?}");
                assert!(rows.windows(2).all(|pair| pair[0].sums.micro_usd >= pair[1].sums.micro_usd));
                let own = db.usage_of_places(by, period, Some(&guild), 100).await.unwrap();
                let wanted = cost(" AND guild = 'discord:7'").await;
                assert_eq!(own.iter().map(|row| row.sums.micro_usd).sum::<i64>(), wanted, "{period:?} {by:?}");
                if by == Place::Chat {
                    assert!(own.iter().all(|row| ["discord:10", "discord:11"].contains(&row.key.as_str())), "{own:?}");
                }
                let one = db.usage_of_places(by, period, None, 1).await.unwrap();
                assert_eq!(one.first().map(|row| row.groups), (!rows.is_empty()).then_some(rows.len() as i64));
            }
            let models = db.usage_of_models(period, Some(&guild)).await.unwrap();
            assert_eq!(models.iter().map(|row| row.sums.micro_usd).sum::<i64>(), cost(" AND guild = 'discord:7'").await);
        }
        let year = Days { from: first, to: first + 365 };
        let people = db.usage_of_places(Place::Person, year, None, 100).await.unwrap();
        let mut names: Vec<_> = people.iter().filter_map(|row| row.name.as_deref()).collect();
        names.sort_unstable();
        assert_eq!(names, ["leo", "mia", "zoe"]);
        let guilds = db.usage_of_places(Place::Guild, year, None, 100).await.unwrap();
        assert_eq!(guilds.len(), 3, "two, and what belongs to none: {guilds:?}");
    }

    async fn what_is_only_reserved_is_no_cost(db: TestDb) {
        let mia = person(&db, "mia").await;
        let chat = guild_chat(&db, mia, "10", "7").await;
        let reserved = Entry { outcome: STARTED, micro_usd: 9_000, ..entry("a", mia, &chat, START) };
        db.reserve(&reserved, &[], at(3600)).await.unwrap();
        let today = Days { from: Days::of(START), to: Days::of(START) + 1 };
        assert_eq!(db.usage_of_models(today, None).await.unwrap(), []);
        let (own, other) = (GuildId::new(Platform::Discord, "7"), GuildId::new(Platform::Discord, "8"));
        let now = async |guild: Option<&GuildId>| {
            let reserved = db.reserved_now(guild).await.unwrap();
            (reserved.calls, reserved.micro_usd)
        };
        assert_eq!((now(None).await, now(Some(&own)).await, now(Some(&other)).await), ((1, 9_000), (1, 9_000), (0, 0)));
        db.record(entry("a", mia, &chat, at(5))).await.unwrap();
        assert_eq!(now(None).await, (0, 0));
        let used = db.usage_of_models(today, Some(&own)).await.unwrap();
        let wanted = Sums { calls: 1, input_tokens: 1000, cached_tokens: 200, output_tokens: 300, micro_usd: 1234, ..Sums::default() };
        assert_eq!(used.iter().map(|row| row.sums).collect::<Vec<_>>(), [wanted]);
        assert_eq!(db.usage_of_models(today, Some(&other)).await.unwrap(), []);
    }

    async fn an_absurd_count_breaks_no_sum(db: TestDb) {
        let (mia, chat) = (person(&db, "mia").await, chat("1"));
        for key in ["a", "b", "c"] {
            let usage = Usage { input_tokens: u64::MAX, output_tokens: u64::MAX, ..Usage::default() };
            assert!(db.record(Entry { usage, ..entry(key, mia, &chat, START) }).await.unwrap());
        }
        let today = Days { from: Days::of(START), to: Days::of(START) + 1 };
        let used = db.usage_of_models(today, None).await.unwrap();
        assert_eq!((used[0].sums.calls, used[0].sums.input_tokens), (3, 3_000_000_000_000));
    }

    async fn turns_and_their_times_are_counted_once(db: TestDb) {
        let mia = person(&db, "mia").await;
        let chat = guild_chat(&db, mia, "10", "7").await;
        let turn = claim_one(&db, at(1)).await;
        let told = Told { source: Some(Source::Model), first_text: Some(at_ms(1_500)), ..Told::default() };
        assert!(db.end_turn(&turn, Outcome::Answered, &told, at(9)).await.unwrap());
        assert!(!db.end_turn(&turn, Outcome::Answered, &told, at(9)).await.unwrap());
        says(&db, mia, &super::chat("1"), "2", at(20)).await;
        let turn = claim_one(&db, at(21)).await;
        let told = Told { source: Some(Source::Own), ..Told::default() };
        assert!(db.end_turn(&turn, Outcome::Answered, &told, at(21)).await.unwrap());
        let today = Days { from: Days::of(START), to: Days::of(START) + 1 };
        let counts = async |guild: Option<&GuildId>| -> Vec<String> {
            let rows = db.usage_counts(today, guild).await.unwrap();
            rows.iter().map(|row| format!("{} {} {} {}", row.platform, row.what, row.outcome, row.count)).collect()
        };
        let own = GuildId::new(Platform::Discord, "7");
        assert_eq!(counts(Some(&own)).await, ["discord source model 1", "discord talk answered 1"]);
        let all = ["discord source model 1", "discord talk answered 1", "telegram source own 1", "telegram talk answered 1"];
        assert_eq!(counts(None).await, all);
        let times = db.usage_times(today, 1, None).await.unwrap();
        let times: Vec<_> = times.iter().map(|row| (row.what.as_str(), row.bucket, row.count)).collect();
        assert_eq!(times, [("answer", Buckets::of(9_000), 1), ("first_text", Buckets::of(1_500), 1)]);
        assert_eq!(chat.platform, Platform::Discord);
    }

    async fn reels_are_counted_by_outcome_and_wait(db: TestDb) {
        let (mia, leo) = (person(&db, "mia").await, person(&db, "leo").await);
        submit(&db, mia, &[1, 2], START).await;
        submit(&db, leo, &[1], START).await;
        let turn = TurnId::new();
        for _ in 0..2 {
            // The second time it is the same wish.
            submit_as(&db, turn, leo, &[2], at(1)).await;
        }
        let job = claim_job(&db, at(4)).await.unwrap();
        assert!(db.requeue_job(&job, at(5), None).await.unwrap());
        let job = claim_job(&db, at(6)).await.unwrap();
        assert!(db.finish_job(&job, &done(), INTERVAL, at(8)).await.unwrap());
        submit(&db, mia, &[1], at(9)).await;
        let today = Days { from: Days::of(START), to: Days::of(START) + 1 };
        let rows = db.usage_counts(today, None).await.unwrap();
        let counts: Vec<_> = rows.iter().map(|row| (row.what.as_str(), row.outcome.as_str(), row.count)).collect();
        assert_eq!(counts, [("job", "done", 1), ("request", "cached", 1), ("request", "joined", 2), ("request", "queued", 2)]);
        let waits = db.usage_times(today, 1, None).await.unwrap();
        let waits: Vec<_> = waits.iter().map(|row| (row.what.as_str(), row.bucket, row.count)).collect();
        assert_eq!(waits, [("wait", Buckets::of(4_000), 1)], "the second claim is no second wait");
    }

    async fn tools_are_counted(db: TestDb) {
        for worked in [true, false, true] {
            db.count_tool(&chat("1"), worked, START).await.unwrap();
        }
        let today = Days { from: Days::of(START), to: Days::of(START) + 1 };
        let rows = db.usage_counts(today, None).await.unwrap();
        let counts: Vec<_> = rows.iter().map(|row| (row.outcome.as_str(), row.count)).collect();
        assert_eq!(counts, [("failed", 1), ("ok", 2)]);
    }

    async fn many_at_once_lose_nothing(db: TestDb) {
        let instances = three_instances(&db).await;
        let mia = person(&db, "mia").await;
        let chat = guild_chat(&db, mia, "10", "7").await;
        let tasks = (0..48).map(|n| {
            let (store, chat) = (instances[n % 3].clone(), chat.clone());
            tokio::spawn(async move {
                let key = format!("call-{n}");
                store.count_tool(&chat, n % 2 == 0, START).await.unwrap();
                store.record(entry(&key, mia, &chat, START)).await.unwrap()
            })
        });
        assert!(all(tasks).await.into_iter().all(|new| new));
        assert_eq!(differences(&db).await, 0);
        assert_eq!(db.number("SELECT CAST(SUM(count) AS BIGINT) FROM usage_counts WHERE guild = ''", &[]).await, 48);
    }
}
