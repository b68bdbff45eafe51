//! What must hold of any plan: nothing lost, no lane twice, the spacing, no harm by more lanes, the same for the same seed.

use proptest::prelude::*;

use super::chance::Dice;
use super::scenarios::{FLAT, Scenario};
use super::tiers::Tier;
use super::*;
use crate::core::money::Prices;

/// Requests of `people` at random moments of an hour for reels among `reels`.
pub(super) fn listed(seed: u64, asks: u32, people: u32, reels: u32) -> Plan {
    let mut dice = Dice::new(seed, 9);
    let mut at = 0.0;
    let gap = 3_600_000.0 / f64::from(asks);
    let asks = (0..asks).map(|_| {
        at += dice.gap(gap);
        Ask { at: Duration::from_millis(at as u64), person: dice.below(people), what: Asked::Reel(dice.below(reels)) }
    });
    let asks: Vec<Ask> = asks.collect();
    let mut plan = Plan { demand: Demand::Listed(asks), warm_up: Duration::ZERO, ..Plan::default() };
    plan.span = scenarios::quick(&plan).span;
    plan.popularity.unreadable = 0.0;
    plan.merge = Duration::ZERO;
    plan
}

fn daily(plan: &mut Plan) -> &mut Daily {
    match &mut plan.demand {
        Demand::Daily(daily) => daily,
        Demand::Listed(_) => panic!("a daily plan"),
    }
}

/// Three days of 300 people.
fn three_days() -> Plan {
    let mut plan = Plan { span: Duration::from_secs(3 * 86_400), ..Plan::default() };
    plan.warm_up = Duration::from_secs(86_400);
    *daily(&mut plan) = Daily { people: 300, reels_per_person: 3.0, ..daily(&mut plan).clone() };
    plan
}

#[track_caller]
fn holds(plan: &Plan, outcome: &Outcome) {
    let counts = &outcome.counts;
    let free = counts.cached + counts.remembered + counts.joined;
    assert_eq!(counts.asked, free + counts.queued + counts.refused(), "everything asked for has an outcome");
    assert_eq!(counts.queued, counts.direct_runs + counts.n8n_runs, "each new reel is run once");
    assert_eq!(outcome.runs.len() as u64, counts.queued, "and ends");
    assert_eq!(outcome.reel_wait.count() as u64, counts.queued + counts.joined, "everybody who waits hears of it");
    let answered = counts.message_answers + counts.reel_answers + counts.told_unreadable + counts.given_up;
    assert_eq!(answered, counts.messages + counts.cached + counts.queued + counts.joined, "and is answered");
    for lane in 0..plan.lanes().len() {
        let mut runs = outcome.runs.iter().filter(|run| run.lane == lane);
        let mut last = runs.next().map_or(Duration::ZERO, |run| run.ended);
        for run in runs {
            assert!(run.started >= last, "lane {lane} has two at {:?}", run.started);
            last = run.ended;
        }
    }
    assert!(outcome.runs.iter().all(|run| run.asked <= run.ready && run.ready <= run.started));
    let mut ready: std::collections::BTreeMap<u32, Vec<Duration>> = std::collections::BTreeMap::new();
    outcome.runs.iter().for_each(|run| ready.entry(run.person).or_default().push(run.ready));
    for (person, mut ready) in ready {
        ready.sort_unstable();
        let close = ready.windows(2).find(|pair| pair[1] - pair[0] < plan.limits.interval);
        assert_eq!(close, None, "person {person} has two within the interval");
    }
}

#[test]
fn the_same_seed_is_the_same_month() {
    let plan = three_days();
    let (one, other) = (simulate(&plan), simulate(&plan));
    assert_eq!((one.counts, one.runs, one.first_text), (other.counts, other.runs, other.first_text));
    let other = simulate(&Plan { seed: 2, ..plan });
    assert_ne!(one.counts, other.counts);
}

#[test]
fn a_month_has_what_was_planned() {
    let plan = three_days();
    let outcome = simulate(&plan);
    let counts = &outcome.counts;
    assert!((8_700..9_300).contains(&counts.messages), "{}", counts.messages);
    assert!((2_550..2_850).contains(&counts.asked), "{}", counts.asked);
    let runs = counts.unreadable_runs as f64 / counts.queued as f64;
    assert!((0.02..0.3).contains(&runs), "some cannot be read: {runs}");
    let first = outcome.first_text.percentile(50.0).as_secs_f64();
    assert!((1.9..2.1).contains(&first), "between 1 and 3 s: {first}");
}

#[test]
fn scenarios_are_as_documented() {
    let told = |scenario: Scenario| {
        let day = scenario.demand();
        let Burst { hour, lasts, messages, .. } = day.busiest();
        assert_eq!((hour, messages), (20, day.messages_a_day() / 10.0), "a tenth of the day comes in its busiest hour");
        // At that pace: everybody who is there says something once a minute.
        assert_eq!(f64::from(day.at_once.unwrap()) * lasts.as_secs_f64() / 60.0, messages);
        (day.people, day.messages_a_day(), day.reels_a_day(), day.at_once, lasts.as_secs() / 60)
    };
    assert_eq!(told(Scenario::Small), (100, 1_000.0, 10.0, Some(20), 5));
    assert_eq!(told(Scenario::Growing), (1_000, 10_000.0, 100.0, Some(100), 10));
    assert_eq!(told(Scenario::Viral), (10_000, 100_000.0, 1_000.0, Some(500), 20));
    let spread = Daily { at_once: None, ..Scenario::Small.demand() }.busiest();
    assert_eq!(spread.lasts, Duration::from_secs(3_600));
    assert_eq!(Plan::default().span, scenarios::enough(&Plan::default()));
}

#[test]
fn a_plan_is_no_longer_than_can_be_played() {
    let days = |people, messages_per_person, reels_per_person| {
        let mut plan = Plan::default();
        *daily(&mut plan) = Daily { people, messages_per_person, reels_per_person, ..daily(&mut plan).clone() };
        plan.span = scenarios::enough(&plan);
        (plan.span.as_secs() / 86_400, scenarios::asks(&plan) <= scenarios::MOST_ASKS)
    };
    assert_eq!(days(100, 10.0, 0.1), (30, true));
    assert_eq!(days(10_000, 10.0, 0.1), (3, true));
    assert_eq!(days(500_000, 10.0, 0.1), (3, true), "5 million a day, and 1.5 million reels of the warm-up");
    assert_eq!(days(1_000_000, 10.0, 0.1), (1, true));
    assert_eq!(days(1_000_000, 30.0, 0.1), (1, false), "a day is the least");
}

#[test]
fn all_parts_are_loaded_by_the_same_minute() {
    let mut plan = three_days();
    plan.tier = Tier::unlimited();
    plan.answers.calls = 1.0;
    (plan.bot.cpu, plan.bot.database_time) = (Duration::from_millis(40), Duration::from_millis(20));
    daily(&mut plan).reels_per_person = 0.0;
    for at_once in [None, Some(60)] {
        daily(&mut plan).at_once = at_once;
        let busiest = simulate(&plan).busiest;
        let close = |load: f64, wanted: f64| assert!((load / wanted - 1.0).abs() < 1e-9, "{load} {wanted}");
        // Two cores; one writer.
        close(busiest.cpu, busiest.requests * 0.040 / 120.0);
        close(busiest.database, busiest.requests * 0.020 / 60.0);
    }
    // 10 of 100 messages come in the busiest hour; evenly over the day it would be 4.2.
    daily(&mut plan).at_once = None;
    let evening = simulate(&plan).busiest.requests;
    daily(&mut plan).curve = FLAT;
    let flat = simulate(&plan).busiest.requests;
    assert!((10.0..20.0).contains(&evening) && flat < 0.8 * evening, "{evening} {flat}");
}

#[test]
fn lanes_are_loaded_by_the_new_reels_of_five_minutes() {
    let ask = |at: u64, reel| Ask { at: Duration::from_secs(at), person: reel, what: Asked::Reel(reel) };
    let mut plan = listed(1, 1, 1, 1);
    plan.bot.lane_time = Duration::ZERO;
    (plan.reels.scrape, plan.reels.analysis) =
        (Times::exactly(Duration::from_secs(10)), Times::exactly(Duration::from_secs(20)));
    // Eight in the first five minutes, one of them twice; four in the second.
    let mut asks: Vec<Ask> = (0..8).map(|nth| ask(nth * 30, nth as u32)).collect();
    asks.push(ask(290, 0));
    asks.extend((0..4).map(|nth| ask(300 + nth * 60, 100 + nth as u32)));
    plan.demand = Demand::Listed(asks);
    let busiest = simulate(&plan).busiest;
    assert!((busiest.lanes - 8.0 * 30.0 / 600.0).abs() < 1e-9, "{}", busiest.lanes);
}

#[test]
fn a_burst_comes_at_its_pace() {
    let mut plan = three_days();
    plan.tier = Tier::unlimited();
    plan.answers.calls = 1.0;
    let spread = simulate(&plan).busiest.requests;
    daily(&mut plan).at_once = Some(60);
    let burst = simulate(&plan).busiest.requests;
    assert!(spread < 25.0 && (60.0..100.0).contains(&burst), "{spread} {burst}");
}

/// Ten messages within a second, one call each, whose first text takes 2 s.
fn ten_messages() -> Plan {
    let mut plan = listed(1, 1, 1, 1);
    let ask = |ms| Ask { at: Duration::from_millis(ms), person: 0, what: Asked::Message };
    plan.demand = Demand::Listed((0..10).map(|at| ask(at * 100)).collect());
    plan.span = Duration::from_secs(60);
    plan.answers.calls = 1.0;
    plan.answers.first_text = Times::exactly(Duration::from_secs(2));
    plan
}

#[test]
fn a_tier_makes_people_wait_and_then_gives_up() {
    let mut plan = ten_messages();
    plan.tier = Tier { requests_a_minute: Some(4.0), ..Tier::unlimited() };
    let outcome = simulate(&plan);
    // Two at once, one each 15 s; who would wait for more than 96 of 120 s is told so at once.
    assert_eq!((outcome.counts.message_answers, outcome.counts.given_up), (8, 2));
    let longest = outcome.first_text.longest();
    assert!((91_000..91_700).contains(&longest.as_millis()), "the eighth, from 0.7 s to 90 s and 2 s: {longest:?}");
    plan.answers.longest_wait = Duration::from_secs(40);
    assert_eq!(simulate(&plan).counts.given_up, 6, "beyond 32 s");
}

#[test]
fn a_call_is_charged_the_larger_one_of_its_input_and_its_longest_answer() {
    let mut plan = ten_messages();
    plan.tier = Tier { tokens_a_minute: Some(4.0 * 4_000.0), ..Tier::unlimited() };
    for (input, max_output, given_up) in [(4_000, 4_000, 2), (100, 4_000, 2), (4_000, 100, 2), (8_000, 4_000, 6)] {
        plan.answers.message.input_tokens = input;
        plan.answers.max_output = max_output;
        let outcome = simulate(&plan);
        assert_eq!(outcome.counts.given_up, given_up, "{input} {max_output}");
        assert_eq!(outcome.busiest.tokens, 10.0 * input.max(max_output) as f64);
    }
    // Each of two calls has half of the input.
    plan.answers.calls = 2.0;
    let charged = |input_tokens| plan.answers.charged_tokens(&Usage { input_tokens, ..Usage::default() });
    assert_eq!((charged(6_000), charged(8_000), charged(10_000)), (8_000.0, 8_000.0, 10_000.0));
    // What is said about a reel is charged by its own input.
    let mut reel = listed(1, 1, 1, 1);
    (reel.answers.calls, reel.answers.max_output) = (1.0, 4_000);
    assert_eq!(simulate(&reel).busiest.tokens, 6_000.0);
    reel.answers.reel.input_tokens = 9_000;
    assert_eq!(simulate(&reel).busiest.tokens, 9_000.0);
}

#[test]
fn answers_at_once_are_limited() {
    let mut plan = listed(1, 1, 1, 1);
    let ask = |at| Ask { at: Duration::from_millis(at), person: 0, what: Asked::Message };
    plan.demand = Demand::Listed((0..4).map(ask).collect());
    plan.span = Duration::from_secs(60);
    plan.answers.first_text = Times::exactly(Duration::from_secs(1));
    plan.answers.writing = Times::exactly(Duration::from_secs(3));
    plan.bot.turns_at_once = 2;
    plan.tier = Tier::unlimited();
    let outcome = simulate(&plan);
    let waits: Vec<u128> = [25.0, 50.0, 75.0, 100.0].map(|p| outcome.first_text.percentile(p).as_millis() / 100).into();
    assert_eq!(waits, [10, 10, 50, 50]);
    // Two are in the making, and two wait: twice as many as may be.
    assert_eq!((outcome.busiest.turns_at_once, outcome.busiest.owed_at_once, outcome.busiest.turns), (2, 4, 2.0));
}

#[test]
fn loads_costs_and_break_even_add_up() {
    let prices = Prices::built_in();
    let plan = Scenario::Small.plan(&Plan::default());
    let report = report(&plan, &prices).unwrap();
    // 30 days: no extrapolation.
    assert_eq!(report.outcome.span, Duration::from_secs(30 * 86_400));
    let counts = &report.outcome.counts;
    let each = prices.cost("gpt-6.1-sol", &plan.answers.message, plan.money.at).unwrap();
    let reel = prices.cost("gpt-6.1-sol", &plan.answers.reel, plan.money.at).unwrap();
    let cost = &report.cost;
    assert_eq!(cost.openai, counts.message_answers as i64 * each + counts.reel_answers as i64 * reel);
    assert_eq!(cost.apify, counts.direct_runs as i64 * 3_600);
    assert_eq!((cost.n8n, cost.hosting), (0, 5_000_000));
    assert_eq!(cost.total(), cost.openai + cost.apify + cost.gemini + cost.hosting);
    let people = report.break_even().unwrap();
    assert!((people - 1) * 20_000_000 < cost.total() && cost.total() <= people * 20_000_000);
    assert_eq!(report.cost_per_person(), Some(cost.total() / 100));
    assert_eq!(report.loads.len(), Part::ALL.len());
    assert!(report.loads.iter().any(|load| load.load.is_none()), "no limit of tokens a day");
    assert!(report.tried.is_empty() && report.bottleneck().is_none(), "{:?}", report.loads);
    let unknown = Plan { answers: Answers { model: "gpt-7".into(), ..plan.answers.clone() }, ..plan };
    assert!(super::report(&unknown, &prices).is_err(), "nothing is counted as free");
}

#[test]
fn the_cheapest_change_removes_the_bottleneck() {
    let prices = Prices::built_in();
    let mut crowded = three_days();
    daily(&mut crowded).reels_per_person = 10.0;
    crowded.popularity.catalogue = 1_000_000;
    crowded.popularity.exponent = 0.5;
    crowded.tier = Tier::unlimited();
    let report = super::report(&crowded, &prices).unwrap();
    assert_eq!(report.bottleneck().map(|load| load.part), Some(Part::Lanes));
    let best = report.advice().expect("lanes help");
    assert!(matches!(best.change, Change::Lanes(1..) | Change::Webhooks(1..)), "{:?}", best.change);
    assert!(
        best.load.unwrap() <= 0.7
            && best.report.outcome.reel_wait.percentile(95.0) < report.outcome.reel_wait.percentile(95.0)
    );
    let cheaper = report.tried.iter().filter(|tried| tried.removes && tried.extra < best.extra).count();
    assert_eq!(cheaper, 0);
    // Every change that says so does what it says.
    for tried in &report.tried {
        let again = simulate(&tried.change.apply(&crowded));
        assert_eq!(again.counts, tried.report.outcome.counts, "{:?}", tried.change);
    }
    // A processor that is too slow: an instance more.
    let mut slow = three_days();
    slow.tier = Tier::unlimited();
    slow.bot.cpu = Duration::from_secs(20);
    let report = super::report(&slow, &prices).unwrap();
    assert_eq!(report.bottleneck().map(|load| load.part), Some(Part::Processor));
    let best = report.advice().expect("instances help");
    assert!(matches!(best.change, Change::Instances(_)));
    assert_eq!(
        best.extra,
        best.report.cost.hosting - report.cost.hosting + best.report.cost.openai - report.cost.openai
    );
    let mut stored = three_days();
    stored.tier = Tier::unlimited();
    stored.bot.database_time = Duration::from_secs(10);
    let report = super::report(&stored, &prices).unwrap();
    assert_eq!(report.tried.first().map(|tried| &tried.change), Some(&Change::Postgres));
}

#[test]
fn time_that_is_compressed_is_the_same_time() {
    let mut plan = listed(5, 200, 40, 1_000);
    plan.tier = Tier::unlimited();
    // The bot's own time is not compressed.
    plan.bot.lane_time = Duration::ZERO;
    let (slow, quick) = (simulate(&plan), simulate(&plan.compressed(20.0)));
    assert_eq!(slow.counts, quick.counts);
    for percent in [50.0, 95.0, 100.0] {
        let (slow, quick) = (slow.reel_wait.percentile(percent), quick.reel_wait.percentile(percent) * 20);
        let off = slow.as_secs_f64() / quick.as_secs_f64() - 1.0;
        assert!(off.abs() < 0.01, "{percent}: {slow:?} {quick:?}");
    }
    let daily = three_days();
    let (slow, quick) = (simulate(&daily), simulate(&daily.compressed(100.0)));
    assert_eq!(slow.counts.messages, quick.counts.messages);
    assert_eq!(quick.span, Duration::from_millis(3 * 864_000));
}

/// What a person waits for is the answer; and what cannot be read is told without the model.
#[test]
fn the_whole_wait_for_a_reel_ends_with_what_is_said_about_it() {
    let (s, ms) = (Duration::from_secs, Duration::from_millis);
    let ask = |at, person, reel| Ask { at: s(at), person, what: Asked::Reel(reel) };
    let mut plan = listed(1, 1, 1, 1);
    plan.demand = Demand::Listed(vec![ask(0, 0, 1), ask(5, 1, 1), ask(100, 2, 1)]);
    plan.tier = Tier::unlimited();
    plan.merge = ms(800);
    (plan.reels.scrape, plan.reels.analysis) = (Times::exactly(s(8)), Times::exactly(s(17)));
    (plan.answers.first_text, plan.answers.writing) = (Times::exactly(s(2)), Times::exactly(s(3)));
    let took = |outcome: &Outcome| [0.0, 50.0, 100.0].map(|percent| outcome.reel_answer.percentile(percent));
    let turn = plan.bot.cpu + plan.bot.database_time;
    let reading = ms(800) + s(25) + plan.bot.lane_time;
    let outcome = simulate(&plan);
    holds(&plan, &outcome);
    let answer = s(5) + turn;
    // The two who waited are answered at the same moment, one database after the other.
    let close = |found: Duration, wanted: Duration| found.abs_diff(wanted) <= ms(5);
    let wanted = [ms(800) + answer, reading - s(5) + answer, reading + answer];
    assert!(took(&outcome).iter().zip(wanted).all(|(found, wanted)| close(*found, wanted)), "{:?}", took(&outcome));
    plan.popularity.unreadable = 1.0;
    let outcome = simulate(&plan);
    holds(&plan, &outcome);
    let counts = &outcome.counts;
    assert_eq!((counts.reel_answers, counts.told_unreadable, counts.remembered), (0, 2, 1));
    let wanted = [ms(800) + turn, reading - s(22) + turn, reading - s(17) + turn];
    assert!(took(&outcome).iter().zip(wanted).all(|(found, wanted)| close(*found, wanted)), "{:?}", took(&outcome));
}

#[test]
fn the_past_takes_the_place_of_assumptions() {
    use crate::store::measured::Measured;
    let mut measured = Measured::default();
    assert!(too_little(&measured));
    let ms = |ms: &[u64]| ms.iter().map(|ms| Duration::from_millis(*ms)).collect::<Vec<_>>();
    measured.days = 10.0;
    measured.person_days = 200;
    // Four of these told that a reel cannot be read.
    measured.answered = 2_104;
    measured.coach_calls = 4_200;
    measured.beside_micro_usd = 21_000;
    (measured.input_tokens, measured.cached_tokens, measured.output_tokens) = (21_000_000, 10_500_000, 420_000);
    measured.answers_by_hour[20] = 1_050;
    measured.answers_by_hour[8] = 1_050;
    (measured.reels_coached, measured.reels_run, measured.reels_failed, measured.links_run) = (96, 40, 4, 39);
    // One link failed twice; one failure was Apify's.
    let failed = [("A", "unavailable"), ("A", "unavailable"), ("B", "not_video"), ("C", "upstream_busy")];
    measured.failed =
        failed.map(|(link, kind)| (link.to_owned(), format!(r#"{{"kind":"{kind}","reference":"7K3QXZ"}}"#))).into();
    measured.scrape = ms(&[4_000; 40]);
    measured.coach = ms(&[3_000; 40]);
    (measured.apify_runs, measured.apify_micro_usd) = (40, 80_000);
    assert!(!too_little(&measured));
    let mut plan = from_past(&Plan::default(), &measured);
    let day = daily(&mut plan).clone();
    assert_eq!((day.people, day.messages_per_person, day.reels_per_person), (20, 10.02, 0.5));
    assert_eq!((day.curve[20], day.curve[8], day.curve[0]), (1_050.0, 1_050.0, 0.0));
    let usage = plan.answers.message;
    assert_eq!((usage.input_tokens, usage.cached_tokens, usage.output_tokens), (10_000, 5_000, 200));
    assert_eq!((plan.answers.calls, plan.money.apify_run, plan.money.beside_answer), (2.0, 2_000, 10));
    assert_eq!(plan.popularity.unreadable, 2.0 / 39.0);
    assert_eq!(plan.reels.scrape.mean(), Duration::from_secs(4));
    assert_eq!(plan.reels.analysis, Plan::default().reels.analysis, "too seldom");
    assert_eq!(plan.answers.first_text.mean() + plan.answers.writing.mean(), Duration::from_secs(3));
    let outcome = simulate(&plan);
    let free = outcome.counts.free();
    assert!((free - 0.6).abs() < 0.1, "{free} of the reels are free, 60 % were");
    // The bill has everything that OpenAI was paid for.
    let prices = Prices::built_in();
    let cost = Cost::of(&plan, &outcome, &prices).unwrap();
    let alone = plan.answers.model.clone();
    let each = prices.cost(&alone, &usage, plan.money.at).unwrap() + 10;
    assert_eq!(cost.openai, (outcome.counts.message_answers + outcome.counts.reel_answers) as i64 * each);
    // How often links cannot be read is known without a single free one.
    (measured.reels_coached, measured.reels_run) = (36, 40);
    assert_eq!(from_past(&Plan::default(), &measured).popularity.unreadable, 2.0 / 39.0);
    (measured.reels_run, measured.links_run) = (9, 9);
    assert_eq!(from_past(&Plan::default(), &measured).popularity.unreadable, Plan::default().popularity.unreadable);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_is_lost_and_no_lane_has_two(
        seed in 0u64..1_000_000,
        asks in 1u32..600,
        people in 1u32..40,
        reels in 1u32..200,
        direct in 0u32..4,
        n8n in 0u32..3,
        line in 1i64..30,
        unreadable in 0.0f64..0.5,
    ) {
        let mut plan = listed(seed, asks, people, reels);
        (plan.reels.direct_lanes, plan.reels.n8n_lanes) = (direct + u32::from(n8n == 0), n8n);
        plan.limits.waiting = line;
        plan.popularity.unreadable = unreadable;
        plan.cache = Duration::from_secs(600);
        holds(&plan, &simulate(&plan));
    }

    #[test]
    fn another_lane_makes_nobody_wait_longer(
        seed in 0u64..1_000_000,
        asks in 1u32..400,
        lanes in 1u32..5,
    ) {
        // Everybody asks for a reel of their own, and nobody is refused: otherwise those who were would come in between.
        let mut plan = listed(seed, asks, 1_000_000, u32::MAX);
        plan.limits.waiting = i64::MAX;
        plan.reels.direct_lanes = lanes;
        let few = simulate(&plan);
        plan.reels.direct_lanes += 1;
        let many = simulate(&plan);
        prop_assert_eq!(few.runs.len(), many.runs.len());
        for (few, many) in few.runs.iter().zip(&many.runs) {
            prop_assert!(many.started <= few.started, "{:?} {:?}", few, many);
        }
        prop_assert!(many.reel_wait.longest() <= few.reel_wait.longest());
    }

    #[test]
    fn the_line_is_as_long_as_the_waits_make_it(seed in 0u64..1_000_000, asks in 50u32..500, people in 5u32..100) {
        // Little's law: over a time that begins and ends empty, the mean number waiting is the rate times the mean wait.
        let mut plan = listed(seed, asks, people, u32::MAX);
        plan.limits.waiting_per_person = i64::MAX;
        let outcome = simulate(&plan);
        let over = outcome.runs.iter().map(|run| run.ended).max().unwrap_or_default().as_secs_f64();
        let little = outcome.line_wait.count() as f64 / over * outcome.line_wait.mean().as_secs_f64();
        prop_assert!((outcome.mean_waiting - little).abs() <= 1e-3 + 1e-6 * little, "{} {}", outcome.mean_waiting, little);
    }
}
