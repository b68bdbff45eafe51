//! Calls within the quota, and beyond it.

use futures::future::join_all;

use super::wire_tests::{Stage, ask, error};
use super::*;

/// A quota of this bot's own, and the service's.
async fn stage(ours: (u64, u64), real: (u32, u64), longest_wait: u64) -> Stage {
    let quota = QuotaSettings {
        limits: Limits { requests: ours.0, tokens: ours.1 },
        longest_wait: Duration::from_secs(longest_wait),
    };
    Stage::with(|settings| (settings.rpm, settings.tpm) = (Some(real.0), Some(real.1)), |own| own.quota = quota).await
}

fn small(said: &str) -> Ask {
    Ask { max_output_tokens: 100, ..ask(said) }
}

#[tokio::test]
async fn a_burst_beyond_the_quota_is_paced_and_not_refused() {
    // 10 a second; half a minute's worth at once.
    let stage = stage((600, 1_000_000), (600, 1_000_000), 30).await;
    let began = Instant::now();
    let asks: Vec<Ask> = (0..330).map(|_| small("hi")).collect();
    let replies = join_all(asks.iter().map(|ask| stage.ask(ask))).await;
    assert!(replies.iter().all(|(_, ended)| ended.is_ok()));
    assert_eq!((stage.requests(), stage.sandbox.control.refused()), (330, 0));
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn the_service_corrects_what_was_assumed() {
    // A higher tier than was set: nobody waits once the first answer has told so.
    let stage = stage((4, 2_000), (6_000, 6_000_000), 5).await;
    let asks: Vec<Ask> = (0..100).map(|_| small("hi")).collect();
    let began = Instant::now();
    let replies = join_all(asks.iter().take(2).map(|ask| stage.ask(ask))).await;
    assert!(replies.iter().all(|(_, ended)| ended.is_ok()));
    let replies = join_all(asks.iter().map(|ask| stage.ask(ask))).await;
    assert!(replies.iter().all(|(_, ended)| ended.is_ok()));
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());

    // A lower one: what would have to wait too long is not made.
    let stage = self::stage((5_000, 1_000_000), (4, 1_000_000), 5).await;
    for _ in 0..3 {
        stage.reply(&small("hi")).await;
    }
    let (_, failure) = stage.failure(&small("hi")).await;
    let Cause::Crowded { again_in } = failure.cause else { panic!("{failure}") };
    assert!(again_in > Duration::from_secs(4) && again_in <= Duration::from_secs(60), "{again_in:?}");
    assert_eq!((stage.requests(), failure.usage), (3, None), "it was not made");
    assert!(
        stage.ask(&Ask { model: "gpt-6.1-sol".into(), ..small("hi") }).await.1.is_ok(),
        "another model has its own"
    );
}

#[tokio::test]
async fn after_a_refusal_everybody_waits() {
    let stage = stage((6_000, 6_000_000), (6_000, 6_000_000), 30).await;
    let limited = error("requests", "rate_limit_exceeded");
    stage.fault(429, &[("retry-after-ms", "700")], &limited);
    let (first, began) = (small("first"), Instant::now());
    let refused = stage.ask(&first);
    let other = async {
        stage.sandbox.control.until(|asked| !asked.is_empty()).await;
        // Its answer is on its way back.
        tokio::time::timeout(Duration::from_millis(100), std::future::pending::<()>()).await.expect_err("a pause");
        let asks: Vec<Ask> = (0..5).map(|_| small("other")).collect();
        join_all(asks.iter().map(|ask| stage.ask(ask))).await.into_iter().all(|(_, ended)| ended.is_ok())
    };
    let (refused, others) = tokio::join!(refused, other);
    assert!(refused.1.is_ok() && others);
    let timed = stage.sandbox.control.timed();
    assert_eq!(timed.len(), 7);
    assert!(timed[1].0.duration_since(began.into_std()) >= Duration::from_millis(700), "nothing was sent meanwhile");
}

#[tokio::test]
async fn slow_down_halves_the_rate_also_where_it_comes_with_503() {
    for status in [429, 503] {
        // Ten a second.
        let stage = stage((600, 1_000_000), (600, 1_000_000), 60).await;
        stage.fault(status, &[("retry-after-ms", "1")], &error("server_error", "slow_down"));
        // From then on nothing is there but what comes in.
        assert!(stage.ask(&small("first")).await.1.is_ok());
        let (asks, began): (Vec<Ask>, _) = ((0..15).map(|_| small("hi")).collect(), Instant::now());
        assert!(join_all(asks.iter().map(|ask| stage.ask(ask))).await.iter().all(|(_, ended)| ended.is_ok()));
        assert!(began.elapsed() >= Duration::from_millis(2_500), "{status}: {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn whoever_waits_hears_how_long_and_goes_in_order() {
    let stage = stage((600, 1_000_000), (600, 1_000_000), 30).await;
    let asks: Vec<Ask> = (0..335).map(|n| small(&format!("number {n:03}"))).collect();
    // Who left, in that order; on their way, over many connections, they may overtake one another.
    let order = std::sync::Mutex::new(Vec::new());
    let calls = asks.iter().enumerate().map(|(n, ask)| {
        let (openai, order) = (stage.openai.clone(), &order);
        async move {
            let (mut waits, mut left) = (Vec::new(), false);
            let mut hear = |heard: Heard<'_>| match heard {
                Heard::Waits(wait) => waits.push(wait),
                Heard::Leaves(_) => {
                    left = true;
                    order.lock().expect("nobody panics").push(n);
                }
                Heard::Text(_) | Heard::Revised(_) | Heard::Ended(_) => assert!(left, "it left before it came back"),
            };
            openai.respond(ask, &LostConnections::default(), &mut hear).await.expect("a reply");
            waits
        }
    });
    // The order in which they come is that in which they are first looked at.
    let mut calls: Vec<_> = calls.map(Box::pin).collect();
    for call in &mut calls {
        let looked = tokio::task::unconstrained(async { futures::poll!(call) });
        assert!(looked.await.is_pending(), "nothing is answered at once");
    }
    let waits = join_all(calls).await;
    assert_eq!(waits.iter().take(300).flatten().count(), 0, "what is there is given at once");
    let last = waits[334].first().expect("the last one waits");
    assert!(*last > Duration::from_secs(1) && *last < Duration::from_secs(5), "{last:?}");
    let order = order.into_inner().expect("nobody panics");
    assert_eq!(order, (0..335).collect::<Vec<_>>(), "first come, first served");
}

/// What is heard of its waits, and how it ended.
async fn waits(stage: &Stage, ask: &Ask) -> (Vec<Duration>, Result<Reply, Failure>) {
    let mut waits = Vec::new();
    let mut hear = |heard: Heard<'_>| {
        if let Heard::Waits(left) = heard {
            waits.push(left);
        }
    };
    let ended = stage.openai.respond(ask, &LostConnections::default(), &mut hear).await;
    (waits, ended)
}

#[tokio::test]
async fn whoever_meets_a_pause_within_the_bound_waits_it_out() {
    // Longer than any pause between free attempts, and twice in a row.
    let stage = stage((6_000, 6_000_000), (6_000, 6_000_000), 30).await;
    for _ in 0..2 {
        stage.fault(429, &[("retry-after-ms", "2200")], &error("requests", "rate_limit_exceeded"));
    }
    let began = Instant::now();
    let (heard, ended) = waits(&stage, &small("hi")).await;
    assert!(ended.is_ok() && began.elapsed() >= Duration::from_millis(4_400), "{ended:?}");
    assert!(heard.len() >= 2 && heard[0] > Duration::from_secs(2), "{heard:?}");
    assert_eq!(stage.requests(), 3);
}

#[tokio::test]
async fn the_bound_holds_for_all_pauses_together() {
    let stage = stage((6_000, 6_000_000), (6_000, 6_000_000), 3).await;
    for _ in 0..2 {
        stage.fault(429, &[("retry-after-ms", "2000")], &error("requests", "rate_limit_exceeded"));
    }
    let began = Instant::now();
    let failure = waits(&stage, &small("hi")).await.1.expect_err("two are too long");
    assert_eq!(failure.cause, Cause::RateLimited { retry_after: Some(Duration::from_secs(2)) });
    assert!(began.elapsed() < Duration::from_secs(4) && stage.requests() == 2, "{:?}", began.elapsed());
    // However short, they come to an end.
    let stage = self::stage((6_000, 6_000_000), (6_000, 6_000_000), 30).await;
    for _ in 0..50 {
        stage.fault(429, &[("retry-after-ms", "1")], &error("requests", "rate_limit_exceeded"));
    }
    assert!(waits(&stage, &small("hi")).await.1.is_err());
    assert_eq!(stage.requests(), 11);
}

#[tokio::test]
async fn a_pause_of_a_day_is_told_to_everybody_at_once() {
    let stage = stage((6_000, 6_000_000), (6_000, 6_000_000), 30).await;
    stage.fault(429, &[("retry-after", "86400")], &error("requests", "rate_limit_exceeded"));
    let failure = waits(&stage, &small("hi")).await.1.expect_err("a day");
    assert_eq!(failure.cause, Cause::RateLimited { retry_after: Some(Duration::from_secs(86_400)) });
    let (heard, ended) = waits(&stage, &small("hi")).await;
    let Cause::Crowded { again_in } = ended.expect_err("it is known").cause else { panic!("not made") };
    assert!(again_in > Duration::from_secs(86_000) && heard.is_empty() && stage.requests() == 1, "{again_in:?}");
}
