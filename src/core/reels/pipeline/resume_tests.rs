//! Reels whose earlier attempts left a run behind: which is picked up, and when another one is bought.

use super::tests::{Notes, World};
use super::*;
use crate::clock::Clock;
use sandbox::Fault;
use sandbox::apify::ApifySandbox;

fn noted(run: &str) -> Earlier {
    Earlier { run: Some(run.to_owned()), ..Earlier::default() }
}

fn expired() -> Fault {
    Fault::Answer { status: 403, headers: vec![], body: "URL signature expired".into() }
}

#[tokio::test]
async fn a_paid_run_is_picked_up_and_not_bought_again() {
    let world = World::new(Duration::from_millis(100)).await;
    let mut stored = world.notes.stored.subscribe();
    // The process dies while it waits: the future is dropped, the run goes on.
    tokio::select! {
        ended = world.run("DLlGZiCOBQ0", None) => panic!("{ended:?}"),
        _ = stored.wait_for(|stored| *stored == 1) => {}
    }
    assert_eq!(world.notes.outcomes(), []);
    let run = world.notes.runs()[0].clone();
    let reel = world.run("DLlGZiCOBQ0", Some(run.clone())).await.unwrap();
    assert_eq!(reel.shortcode.as_str(), "DLlGZiCOBQ0");
    assert_eq!((world.apify.runs().len(), world.notes.spent.lock().unwrap()[0].key.clone()), (1, run));
}

#[tokio::test]
async fn a_run_that_came_to_nothing_is_replaced() {
    let world = World::new(Duration::from_millis(5)).await;
    let failed = world.run("DFAIL000000", None).await.unwrap_err();
    assert!(failed.again);
    for (resume, runs) in [(world.notes.runs()[0].as_str(), 2), ("0123456789abcdefg", 3), ("../users", 4)] {
        // The key of a run that is looked at again is told again, by another process.
        let fresh = Notes::new(None);
        let code = "DLlGZiCOBQ0".parse().unwrap();
        let resumed = world.pipeline.run(JobId::new(), &code, noted(resume), &fresh, &world.cancel);
        assert!(resumed.await.is_ok(), "{resume}");
        assert_eq!((world.apify.runs().len(), fresh.runs().len()), (runs, 1), "{resume}");
    }
}

#[tokio::test]
async fn an_expired_link_of_a_resumed_run_means_a_new_scrape() {
    let world = World::new(Duration::from_millis(5)).await;
    world.apify.control.fault("/video/", expired());
    let stopped = world.run("DLlGZiCOBQ0", None).await.unwrap_err();
    assert_eq!((stopped.why, stopped.again), (ReelFailure::UpstreamBusy, true), "a fresh link");
    let run = world.notes.runs()[0].clone();
    world.apify.control.fault("/video/", expired());
    let next = Notes::new(None);
    let code = "DLlGZiCOBQ0".parse().unwrap();
    assert!(world.pipeline.run(JobId::new(), &code, noted(&run), &next, &world.cancel).await.is_ok());
    assert_eq!((world.apify.runs().len(), next.runs().len()), (2, 1));
    let keys: Vec<String> = next.spent.lock().unwrap().iter().map(|spent| spent.key.clone()).collect();
    assert_eq!((keys.len(), &keys[0], &keys[1]), (3, &run, &next.runs()[0]));
}

#[tokio::test]
async fn a_run_that_nobody_heard_of_is_picked_up() {
    let world = World::new(Duration::from_millis(30)).await;
    let (job, code, began) = (JobId::new(), "DLlGZiCOBQ0".parse().unwrap(), Clock::System.now());
    let unheard = || Earlier { run: None, unheard_since: Some(began) };
    world.apify.control.fault("/runs", Fault::DropAfter);
    let stopped = world.pipeline.run(job, &code, Earlier::default(), &world.notes, &world.cancel).await.unwrap_err();
    assert!(stopped.again && world.notes.runs().is_empty() && world.apify.runs().len() == 1, "{stopped:?}");
    let next = world.notes.next();
    let ran = world.pipeline.run(job, &code, unheard(), &next, &world.cancel).await;
    assert!(ran.is_ok(), "{ran:?}");
    assert_eq!(next.runs(), [world.apify.runs()[0].id.clone()]);
    assert_eq!(world.apify.runs().len(), 1, "nothing is bought twice");
    // Another job for the reel, whose call was lost before it reached Apify, does not take the first one's run.
    let ran = world.pipeline.run(JobId::new(), &code, unheard(), &Notes::new(None), &world.cancel).await;
    assert!(ran.is_ok() && world.apify.runs().len() == 2, "{ran:?}");
    // Where it cannot be told, another one is started.
    world.apify.control.fault("/runs", ApifySandbox::refusal(404, "record-not-found"));
    let ran = world.pipeline.run(job, &code, unheard(), &world.notes.next(), &world.cancel).await;
    assert!(ran.is_ok() && world.apify.runs().len() == 3, "{ran:?}");
}

#[tokio::test]
async fn a_run_that_replaced_another_one_unheard_is_picked_up_too() {
    let world = World::new(Duration::from_millis(5)).await;
    let (job, code, began) = (JobId::new(), "DLlGZiCOBQ0".parse().unwrap(), Clock::System.now());
    world.apify.control.fault("/video/", expired());
    let stopped = world.pipeline.run(job, &code, Earlier::default(), &world.notes, &world.cancel).await.unwrap_err();
    let first = world.notes.runs()[0].clone();
    assert!(stopped.again, "{stopped:?}");
    // The link of the first run has expired, and the answer to the start of the second is lost.
    let second = world.notes.next();
    world.apify.control.fault("/video/", expired());
    world.apify.control.fault("/runs", Fault::DropAfter);
    let stopped = world.pipeline.run(job, &code, noted(&first), &second, &world.cancel).await.unwrap_err();
    assert!(stopped.again && second.runs().is_empty() && world.apify.runs().len() == 2, "{stopped:?}");
    // The first one's id is still what was noted last.
    let third = second.next();
    world.apify.control.fault("/video/", expired());
    let earlier = Earlier { unheard_since: Some(began), ..noted(&first) };
    let ran = world.pipeline.run(job, &code, earlier, &third, &world.cancel).await;
    assert!(ran.is_ok(), "{ran:?}");
    assert_eq!(third.runs(), [world.apify.runs()[1].id.clone()]);
    assert_eq!(world.apify.runs().len(), 2, "nothing is bought twice");
}
