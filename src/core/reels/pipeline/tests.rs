//! Whole reels against the stand-ins: how each one ends, and what was bought for it.

use std::sync::Mutex;

use secrecy::SecretString;
use tokio::sync::watch as state;

use super::*;
use crate::clock::Clock;
use crate::upstream::n8n::N8n;
use crate::upstream::{apify, gemini, n8n, patient_http_client};
use sandbox::apify::{ApifySandbox, Settings as ApifySettings};
use sandbox::gemini::{GeminiSandbox, Settings as GeminiSettings};
use sandbox::n8n::{N8nSandbox, Settings as N8nSettings};
use sandbox::{Control, Fault};

const QUICK: RetryPolicy =
    RetryPolicy { attempts: 2, first_pause: Duration::from_millis(1), longest_pause: Duration::from_millis(50) };

/// What a worker would write down.
#[derive(Debug)]
pub(super) struct Notes {
    apify: Option<Control>,
    runs: Mutex<Vec<String>>,
    phases: state::Sender<Vec<Phase>>,
    reserved: Mutex<Vec<Spent>>,
    pub(super) spent: Mutex<Vec<Spent>>,
    /// The number of runs stored so far.
    pub(super) stored: state::Sender<usize>,
}

impl Notes {
    pub(super) fn new(apify: Option<Control>) -> Self {
        Self {
            apify,
            runs: Mutex::default(),
            phases: state::Sender::new(vec![]),
            reserved: Mutex::default(),
            spent: Mutex::default(),
            stored: state::Sender::new(0),
        }
    }

    /// What the next process finds that works on the same job.
    pub(super) fn next(&self) -> Notes {
        Notes { reserved: Mutex::new(self.reserved.lock().unwrap().clone()), ..Notes::new(None) }
    }

    pub(super) fn outcomes(&self) -> Vec<(&'static str, &'static str)> {
        self.spent.lock().unwrap().iter().map(|spent| (spent.tool, spent.outcome)).collect()
    }

    pub(super) fn runs(&self) -> Vec<String> {
        self.runs.lock().unwrap().clone()
    }
}

#[async_trait]
impl Watch for Notes {
    async fn run_started(&self, run: &str) {
        if let Some(apify) = &self.apify {
            assert_eq!(apify.count(&format!("actor-runs/{run}")), 0, "the id is stored before the run is waited for");
        }
        self.runs.lock().unwrap().push(run.to_owned());
        self.stored.send_modify(|stored| *stored += 1);
    }

    async fn phase(&self, phase: Phase) {
        self.phases.send_modify(|phases| phases.push(phase));
    }

    async fn reserve(&self, spent: Spent) -> Result<(), ReelFailure> {
        assert!(
            self.spent.lock().unwrap().iter().all(|other| other.key != spent.key),
            "reserved behind its end: {spent:?}"
        );
        self.reserved.lock().unwrap().push(spent);
        Ok(())
    }

    async fn rekey(&self, key: &str, new: &str) {
        let mut reserved = self.reserved.lock().unwrap();
        reserved.iter_mut().find(|spent| spent.key == key).expect("it is reserved").key = new.to_owned();
    }

    /// As the ledger does it.
    async fn adopt(&self, prefix: &str, run: &str) -> bool {
        if self.spent.lock().unwrap().iter().any(|spent| spent.key == run) {
            return false;
        }
        let mut reserved = self.reserved.lock().unwrap();
        let lost = reserved.iter_mut().rev().find(|spent| spent.key.starts_with(prefix));
        lost.map(|spent| run.clone_into(&mut spent.key)).is_some()
    }

    async fn unreserve(&self, key: &str) {
        self.reserved.lock().unwrap().retain(|spent| spent.key != key);
    }

    async fn spent(&self, spent: Spent) {
        let mut all = self.spent.lock().unwrap();
        assert!(all.iter().all(|other| other.key != spent.key), "told twice: {spent:?}");
        all.push(spent);
    }
}

pub(super) struct World {
    pub(super) apify: ApifySandbox,
    gemini: GeminiSandbox,
    pub(super) pipeline: Pipeline,
    pub(super) notes: Notes,
    pub(super) cancel: CancellationToken,
}

impl World {
    pub(super) async fn new(scrape: Duration) -> Self {
        let apify = ApifySandbox::start(ApifySettings { scrape, ..ApifySettings::default() }).await.unwrap();
        let quick = Duration::from_millis(5);
        let gemini =
            GeminiSandbox::start(GeminiSettings { analysis: quick, activation: quick, ..GeminiSettings::default() })
                .await
                .unwrap();
        let http = patient_http_client().unwrap();
        let token = SecretString::from("apify_api_sandbox");
        let second_look = Duration::from_millis(1);
        let apify_settings =
            apify::Settings { retry: QUICK, second_look, ..apify::Settings::new(apify.served.url(), token) };
        let key = SecretString::from("AIza-sandbox");
        let gemini_settings =
            gemini::Settings { retry: QUICK, poll: quick, ..gemini::Settings::new(gemini.served.url(), key) };
        let limits =
            Limits { retry: QUICK, max_bytes: 20_000_000, ..Limits::new(vec![apify.served.url().parse().unwrap()]) };
        let pipeline = Pipeline::new(
            Apify::new(http.clone(), Clock::System, apify_settings),
            Gemini::new(http.clone(), Clock::System, gemini_settings),
            http,
            limits,
        );
        let notes = Notes::new(Some(apify.control.clone()));
        Self { apify, gemini, pipeline, notes, cancel: CancellationToken::new() }
    }

    pub(super) async fn run(&self, code: &str, resume: Option<String>) -> Result<Reel, Stopped> {
        let (code, earlier) = (code.parse().unwrap(), Earlier { run: resume, ..Earlier::default() });
        self.pipeline.run(JobId::new(), &code, earlier, &self.notes, &self.cancel).await
    }
}

#[tokio::test]
async fn a_good_reel_is_told_whole_and_each_call_once() {
    let world = World::new(Duration::from_millis(20)).await;
    let reel = world.run("DLlGZiCOBQ0", None).await.unwrap();
    assert!(reel.transcript.len() >= 7 && !reel.caption.is_empty() && !reel.owner.is_empty());
    assert_eq!((reel.source, reel.notes.as_str()), (Source::Direct, ""));
    let stored = serde_json::to_string(&reel).unwrap();
    assert_eq!(serde_json::from_str::<Reel>(&stored).unwrap(), reel);
    assert_eq!(*world.notes.phases.borrow(), [Phase::Scraping, Phase::Analysing]);
    assert_eq!(world.notes.outcomes(), [("scrape", "ok"), ("analyse", "ok")]);
    let spent = world.notes.spent.lock().unwrap().clone();
    assert_eq!((&spent[0].key, spent[0].usage.charged_micro_usd), (&world.notes.runs()[0], Some(3600)));
    assert_eq!(spent[1].usage.input_tokens, world.gemini.charged()[0].input_tokens);
    let hint = world.gemini.control.asked()[0].body.to_string();
    assert!(hint.contains("instagram.com/reel/DLlGZiCOBQ0/") && hint.contains(&reel.owner));
}

#[tokio::test]
async fn what_is_reserved_covers_what_is_spent() {
    let world = World::new(Duration::ZERO).await;
    let prices = crate::core::money::Prices::built_in();
    let unknown = |seconds: serde_json::Value| {
        let video = format!("{}/video/DLlGZiCOBQ0.mp4", world.apify.served.url());
        let items = serde_json::json!([{"shortCode": "DTHNK000002", "videoUrl": video, "videoDuration": seconds}]);
        Fault::Answer { status: 200, headers: vec![], body: items.to_string() }
    };
    for (code, items) in [
        ("DLlGZiCOBQ0", None),
        ("DTHNK000000", None),
        ("DCUTJ000000", None),
        ("DSAFE000000", None),
        ("DTHNK000002", Some(unknown(serde_json::Value::Null))),
        ("DTHNK000002", Some(unknown(0.into()))),
    ] {
        world.notes.reserved.lock().unwrap().clear();
        let before = world.notes.spent.lock().unwrap().len();
        let is_unknown = items.is_some();
        if let Some(items) = items {
            world.apify.control.fault("/items", items);
        }
        let ended = world.run(code, None).await;
        let reserved = world.notes.reserved.lock().unwrap().clone();
        let spent = world.notes.spent.lock().unwrap()[before..].to_vec();
        let keys = |all: &[Spent]| all.iter().map(|spent| spent.key.clone()).collect::<Vec<_>>();
        assert_eq!(keys(&reserved), keys(&spent), "{code}: {ended:?}");
        let ([_, most], [_, used]) = (&reserved[..], &spent[..]) else { panic!("{code}: {reserved:?} {spent:?}") };
        let charge = world.gemini.charged().pop().unwrap();
        assert_eq!((used.usage.input_tokens, used.audio_tokens), (charge.input_tokens, charge.audio_tokens), "{code}");
        assert!(used.audio_tokens > 0 && most.usage.input_tokens > used.usage.input_tokens, "{code}");
        let asked = world.gemini.control.asked().pop().unwrap().body;
        assert_eq!(asked["generationConfig"]["maxOutputTokens"], most.usage.output_tokens, "{code}");
        assert!(most.usage.output_tokens >= used.usage.output_tokens, "{code}");
        assert_eq!(most.usage.output_tokens == used.usage.output_tokens, code.starts_with("DTHNK"), "{code}");
        let longest = u64::from(world.pipeline.limits.max_seconds) * 290;
        assert_eq!(most.usage.input_tokens > longest, is_unknown, "{code}: the longest that is allowed");
        for model in ["gemini-3.8-flash", "gemini-2.5-flash", "gemini-2.5-flash-lite", "gemini-3.1-pro-preview"] {
            let now = Clock::System.now();
            let cost = prices.cost_with_audio(model, &used.usage, used.audio_tokens, now).unwrap();
            assert!(cost <= prices.cost(model, &most.usage, now).unwrap(), "{code} {model}");
        }
    }
}

#[tokio::test]
async fn every_kind_of_reel_ends_as_it_should() {
    let world = World::new(Duration::ZERO).await;
    for (code, why, tool_outcome, again) in [
        ("DGONE000000", ReelFailure::Unavailable, "not_available", false),
        ("DPRIV000000", ReelFailure::Unavailable, "not_available", false),
        ("DREST000000", ReelFailure::Unavailable, "not_available", false),
        ("DEMPT000000", ReelFailure::Unavailable, "not_available", false),
        ("DNURL000000", ReelFailure::NoVideoAddress, "no_link", false),
        ("DERRN000000", ReelFailure::UpstreamBusy, "unavailable", true),
        ("DERRO000000", ReelFailure::UpstreamBusy, "unavailable", true),
        ("DOUTS000000", ReelFailure::ForeignAddress, "ok", false),
        ("DHTML000000", ReelFailure::NoVideoAddress, "ok", false),
        ("DJSON000000", ReelFailure::NoVideoAddress, "ok", false),
        ("DZERO000000", ReelFailure::NoVideoAddress, "ok", false),
        ("DPART000000", ReelFailure::NoVideoAddress, "ok", false),
        ("DHLSV000000", ReelFailure::NoVideoAddress, "ok", false),
        ("DAUDI000000", ReelFailure::NoVideoAddress, "ok", false),
        ("DLOOP000000", ReelFailure::NoVideoAddress, "ok", false),
        ("DVCUT000000", ReelFailure::Download, "ok", false),
        ("DDOWN000000", ReelFailure::UpstreamBusy, "ok", true),
        ("DEXPI000000", ReelFailure::UpstreamBusy, "ok", true),
        ("DPHOT000000", ReelFailure::NotVideo, "no_video", false),
        ("DCAPH000000", ReelFailure::NotVideo, "no_video", false),
        ("DLONG000000", ReelFailure::TooLong { seconds: 2400 }, "ok", false),
        ("DHUGE000000", ReelFailure::TooLarge, "ok", false),
        ("DFAIL000000", ReelFailure::UpstreamBusy, "run_failed", true),
        ("DTIME000000", ReelFailure::UpstreamBusy, "run_timed_out", true),
    ] {
        let before = world.notes.outcomes().len();
        let stopped = world.run(code, None).await.unwrap_err();
        assert_eq!((stopped.why, stopped.again, stopped.bought), (why, again, true), "{code}");
        assert_eq!(world.notes.outcomes()[before..], [("scrape", tool_outcome)], "{code}");
    }
    assert_eq!(world.gemini.control.asked().len(), 0);
    assert_eq!(world.apify.control.count("/video/DLONG"), 0, "too long is known before the download");
    for (code, why, outcome) in [
        ("DSAFE000000", ReelFailure::Blocked, "blocked"),
        ("DCUTJ000000", ReelFailure::Unreadable, "too_long"),
        ("DLANG000000", ReelFailure::Language, "language"),
        ("DOTHE000000", ReelFailure::Unreadable, "unreadable"),
    ] {
        let before = world.notes.outcomes().len();
        let stopped = world.run(code, None).await.unwrap_err();
        assert_eq!((stopped.why, stopped.again), (why, false), "{code}");
        assert_eq!(world.notes.outcomes()[before..], [("scrape", "ok"), ("analyse", outcome)], "{code}");
    }
    // What holds no result is asked for once more, and each answer is paid.
    for code in ["DMALF000000", "DNOCA000000", "DHALF000000", "DPROS000000", "DSCHM000000", "DNOTH000000"] {
        let before = world.notes.outcomes().len();
        let stopped = world.run(code, None).await.unwrap_err();
        assert_eq!((stopped.why, stopped.again), (ReelFailure::Unreadable, false), "{code}");
        let paid = [("scrape", "ok"), ("analyse", "unusable"), ("analyse", "unusable")];
        assert_eq!(world.notes.outcomes()[before..], paid, "{code}");
    }
    for code in ["DCARO000000", "DLATE000000", "DNEXT000000"] {
        assert_eq!(world.run(code, None).await.unwrap().shortcode.as_str(), code);
    }
    assert!(world.run("DMUTE000000", None).await.unwrap().transcript.is_empty());
    let charged: i64 = world.apify.runs().iter().map(|run| run.charged_micro_usd).sum();
    let spent: i64 = world.notes.spent.lock().unwrap().iter().filter_map(|spent| spent.usage.charged_micro_usd).sum();
    assert_eq!(spent, charged, "every run is told once");
}

#[tokio::test]
async fn a_large_video_goes_through_the_files_api_and_is_deleted() {
    let world = World::new(Duration::ZERO).await;
    assert!(world.run("DBIGV000000", None).await.is_ok());
    assert_eq!((world.gemini.control.count("upload/"), world.gemini.files()), (2, 0));
}

#[tokio::test]
async fn a_video_that_gemini_cannot_take_is_unreadable_and_a_request_of_ours_is_not() {
    let world = World::new(Duration::ZERO).await;
    let stopped = world.run("DUNPR000000", None).await.unwrap_err();
    assert_eq!((&stopped.why, stopped.again), (&ReelFailure::Unreadable, false));
    assert_eq!(stopped.why.lifetime(), Duration::from_secs(24 * 3600));
    for (status, message) in [
        (
            "INVALID_ARGUMENT",
            "Invalid JSON payload received. Unknown name \"responseJsonSchema\" at 'generation_config'",
        ),
        ("INVALID_ARGUMENT", "Request contains an invalid argument."),
        ("FAILED_PRECONDITION", "no"),
    ] {
        let refusal = GeminiSandbox::refusal(400, status, message, serde_json::Value::Null);
        world.gemini.control.fault(":generateContent", refusal);
        let stopped = world.run("DLlGZiCOBQ0", None).await.unwrap_err();
        assert_eq!((&stopped.why, stopped.again), (&ReelFailure::Misconfigured, false), "{message}");
        assert_eq!(stopped.why.lifetime(), Duration::ZERO, "it says nothing about the reel");
    }
}

#[tokio::test]
async fn a_video_that_does_not_arrive_ends_in_time() {
    let mut world = World::new(Duration::ZERO).await;
    world.pipeline.limits.slowest = Pace { bytes: 1 << 20, within: Duration::from_millis(30) };
    for code in ["DSTAL000000", "DTRIC000000"] {
        let stopped = world.run(code, None).await.unwrap_err();
        assert_eq!((stopped.why, stopped.again), (ReelFailure::Download, false), "{code}");
        assert_eq!(world.apify.control.count(&format!("/video/{code}")), 2, "{code}: tried once more, and no more");
    }
    // All tries together have one bound, whatever each of them may take.
    world.pipeline.limits.slowest = Pace { bytes: 0, within: Duration::from_secs(60) };
    world.pipeline.limits.download = Duration::from_millis(50);
    let stopped = world.run("DTRIC000001", None).await.unwrap_err();
    assert_eq!((stopped.why, world.apify.control.count("/video/DTRIC000001")), (ReelFailure::Download, 1));
}

#[tokio::test]
async fn no_address_gets_a_third_round() {
    let world = World::new(Duration::ZERO).await;
    for (code, runs, asked) in [("DDOWN000000", 1, 4), ("DEXPI000000", 2, 3)] {
        let before = world.apify.runs().len();
        assert!(world.run(code, None).await.unwrap_err().again, "{code}");
        let run = world.notes.runs().pop().unwrap();
        let next = Notes::new(None);
        let parsed = code.parse().unwrap();
        let stopped = world
            .pipeline
            .run(JobId::new(), &parsed, Earlier { run: Some(run), ..Earlier::default() }, &next, &world.cancel)
            .await
            .unwrap_err();
        assert_eq!((stopped.why, stopped.again), (ReelFailure::Download, false), "{code}");
        let found = (world.apify.runs().len() - before, world.apify.control.count(&format!("/video/{code}")));
        assert_eq!(found, (runs, asked), "{code}");
    }
}

#[tokio::test]
async fn an_actor_that_failed_is_asked_anew_not_looked_at_again() {
    let world = World::new(Duration::ZERO).await;
    assert!(world.run("DERRN000000", None).await.unwrap_err().again);
    let run = world.notes.runs().pop().unwrap();
    let next = Notes::new(None);
    let code = "DERRN000000".parse().unwrap();
    let stopped = world
        .pipeline
        .run(JobId::new(), &code, Earlier { run: Some(run), ..Earlier::default() }, &next, &world.cancel)
        .await
        .unwrap_err();
    assert_eq!((stopped.why, next.runs().len()), (ReelFailure::UpstreamBusy, 1));
}

#[tokio::test]
async fn what_apify_does_not_know_yet_is_not_taken_for_a_wrong_set_up() {
    let world = World::new(Duration::ZERO).await;
    for path in ["/actor-runs", "/items"] {
        world.apify.control.fault(path, ApifySandbox::refusal(404, "record-not-found"));
        let stopped = world.run("DLlGZiCOBQ0", None).await.unwrap_err();
        assert_eq!((stopped.why, stopped.again), (ReelFailure::UpstreamBusy, true), "{path}");
    }
}

#[tokio::test]
async fn a_refusal_before_anything_was_bought_buys_nothing() {
    let world = World::new(Duration::ZERO).await;
    for (status, kind, why) in [
        (401, "token-not-valid", ReelFailure::Misconfigured),
        (404, "record-not-found", ReelFailure::Misconfigured),
        (402, "not-enough-usage-to-run-paid-actor", ReelFailure::OutOfCredit),
    ] {
        world.apify.control.fault("/runs", ApifySandbox::refusal(status, kind));
        let stopped = world.run("DLlGZiCOBQ0", None).await.unwrap_err();
        assert_eq!((&stopped.why, stopped.again, stopped.bought), (&why, false, false));
        assert_eq!(why.lifetime(), Duration::ZERO, "it says nothing about the reel");
    }
    assert_eq!(world.notes.outcomes(), []);
}

#[tokio::test]
async fn a_start_of_unknown_outcome_is_told_as_an_estimate() {
    let world = World::new(Duration::ZERO).await;
    world.apify.control.fault("/runs", Fault::DropAfter);
    let stopped = world.run("DLlGZiCOBQ0", None).await.unwrap_err();
    assert_eq!((stopped.why, stopped.again, stopped.bought), (ReelFailure::UpstreamBusy, true, true));
    assert_eq!((world.notes.outcomes(), world.notes.runs().len()), (vec![("scrape", "cut")], 0));
    assert!(world.notes.spent.lock().unwrap()[0].usage.estimated);
}

#[tokio::test]
async fn a_hiccup_of_the_video_server_passes() {
    let world = World::new(Duration::ZERO).await;
    world.apify.control.fault("/video/", Fault::Cut);
    assert!(world.run("DLlGZiCOBQ0", None).await.is_ok());
    assert_eq!(world.apify.runs().len(), 1);
}

#[tokio::test]
async fn calling_off_aborts_the_run() {
    let world = World::new(Duration::from_secs(3600)).await;
    let mut stored = world.notes.stored.subscribe();
    let call_off = async {
        stored.wait_for(|stored| *stored == 1).await.unwrap();
        world.cancel.cancel();
        Instant::now()
    };
    let (ended, at) = tokio::join!(world.run("DLlGZiCOBQ0", None), call_off);
    assert_eq!(ended.unwrap_err().why, ReelFailure::Cancelled);
    assert!(at.elapsed() < Duration::from_secs(2));
    assert_eq!(world.apify.runs()[0].status, "ABORTED");
    assert_eq!(world.notes.outcomes(), [("scrape", "cancelled")]);
    assert_eq!(world.notes.spent.lock().unwrap()[0].usage.charged_micro_usd, Some(1000));
}

#[tokio::test]
async fn calling_off_while_the_run_is_being_started_aborts_it_too() {
    let world = World::new(Duration::from_secs(3600)).await;
    world.apify.control.fault("/runs", Fault::Slow(Duration::from_millis(100)));
    let call_off = async {
        world.apify.control.until(|asked| !asked.is_empty()).await;
        world.cancel.cancel();
    };
    let (ended, ()) = tokio::join!(world.run("DLlGZiCOBQ0", None), call_off);
    assert_eq!(ended.unwrap_err().why, ReelFailure::Cancelled);
    assert_eq!((world.apify.runs()[0].status, world.notes.runs().len()), ("ABORTED", 1));
    let stopped = world.run("DLlGZiCOBQ0", None).await.unwrap_err();
    assert_eq!((stopped.why, world.apify.runs().len()), (ReelFailure::Cancelled, 1), "called off before it began");
}

#[tokio::test]
async fn calling_off_the_analysis_tells_what_it_may_have_used() {
    let world = World::new(Duration::ZERO).await;
    world.gemini.control.fault(":generateContent", Fault::Slow(Duration::from_secs(3600)));
    let call_off = async {
        world.gemini.control.until(|asked| !asked.is_empty()).await;
        world.cancel.cancel();
    };
    let (ended, ()) = tokio::join!(world.run("DLlGZiCOBQ0", None), call_off);
    assert_eq!(ended.unwrap_err().why, ReelFailure::Cancelled);
    assert_eq!(world.notes.outcomes(), [("scrape", "ok"), ("analyse", "cancelled")]);
    let usage = world.notes.spent.lock().unwrap()[1].usage;
    assert!(usage.estimated && usage.input_tokens > 3_000 && usage.output_tokens > 0, "{usage:?}");
    assert!(usage.output_tokens < 5_000, "a usual one, not the worst that is reserved: {usage:?}");
}

#[tokio::test]
async fn a_run_beyond_the_deadline_is_aborted_and_told() {
    let mut world = World::new(Duration::from_secs(3600)).await;
    let token = SecretString::from("apify_api_sandbox");
    let hasty = apify::Settings {
        retry: QUICK,
        deadline: Duration::from_millis(50),
        ..apify::Settings::new(world.apify.served.url(), token)
    };
    world.pipeline.apify = Apify::new(patient_http_client().unwrap(), Clock::System, hasty);
    let stopped = world.run("DLlGZiCOBQ0", None).await.unwrap_err();
    assert_eq!((stopped.why, stopped.again), (ReelFailure::UpstreamBusy, true));
    assert_eq!(world.apify.runs()[0].status, "ABORTED");
    assert_eq!(world.notes.outcomes(), [("scrape", "timed_out")]);
}

#[tokio::test]
async fn gemini_refusing_us_is_not_the_reels_fault() {
    let world = World::new(Duration::ZERO).await;
    let quota = serde_json::json!({"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel"}]});
    let midnight = gemini::next_midnight(Clock::System.now());
    let day = ReelFailure::DayQuota { resets_at: midnight };
    for (code, status, detail, why) in [
        (429, "RESOURCE_EXHAUSTED", quota, day),
        (403, "PERMISSION_DENIED", serde_json::Value::Null, ReelFailure::Misconfigured),
        (404, "NOT_FOUND", serde_json::Value::Null, ReelFailure::Misconfigured),
    ] {
        world.gemini.control.fault("", GeminiSandbox::refusal(code, status, "no", detail));
        let stopped = world.run("DLlGZiCOBQ0", None).await.unwrap_err();
        assert_eq!((stopped.why, stopped.bought), (why, true));
    }
    for _ in 0..2 {
        world.gemini.control.fault("", GeminiSandbox::refusal(503, "UNAVAILABLE", "no", serde_json::Value::Null));
    }
    let stopped = world.run("DLlGZiCOBQ0", None).await.unwrap_err();
    assert_eq!((stopped.why, stopped.again), (ReelFailure::UpstreamBusy, true));
    assert!(world.notes.outcomes().iter().all(|(tool, _)| *tool == "scrape"), "a refusal costs nothing");
}

#[tokio::test]
async fn another_post_is_not_taken_for_the_asked_one() {
    let world = World::new(Duration::ZERO).await;
    let items = serde_json::json!([{"shortCode": "DOTHER00000", "videoUrl": "https://x.cdninstagram.com/v.mp4"}]);
    world.apify.control.fault("/items", Fault::Answer { status: 200, headers: vec![], body: items.to_string() });
    assert_eq!(world.run("DLlGZiCOBQ0", None).await.unwrap_err().why, ReelFailure::Unavailable);
    let items = serde_json::json!([{"shortCode": "DLlGZiCOBQ0", "videoUrl": "https://evil.example/v.mp4"}]);
    world.apify.control.fault("/items", Fault::Answer { status: 200, headers: vec![], body: items.to_string() });
    assert_eq!(world.run("DLlGZiCOBQ0", None).await.unwrap_err().why, ReelFailure::ForeignAddress);
}

#[tokio::test]
async fn a_workflow_serves_a_reel_or_says_why_not() {
    let sandbox = N8nSandbox::start(N8nSettings { duration: Duration::ZERO, ..N8nSettings::default() }).await.unwrap();
    let settings = n8n::Settings {
        url: sandbox.webhook_url(),
        secret: SecretString::from("n8n-sandbox-secret"),
        timeout: Duration::from_secs(20),
        retry: QUICK,
    };
    let n8n = N8n::new(patient_http_client().unwrap(), Clock::System, settings);
    let cancel = CancellationToken::new();
    let runs: [(&str, Option<ReelFailure>, &[&str]); 8] = [
        ("DLlGZiCOBQ0", None, &["ok"]),
        // Each run is a row of its own, because each pays.
        ("DERR1000000", None, &["unavailable", "ok"]),
        ("DPRIV000000", Some(ReelFailure::Unavailable), &["refused"]),
        ("DSAFE000000", Some(ReelFailure::Blocked), &["refused"]),
        ("DSTAR000000", Some(ReelFailure::Misconfigured), &["malformed"]),
        ("DNORE000000", Some(ReelFailure::Misconfigured), &[]),
        ("DERR5000000", Some(ReelFailure::UpstreamBusy), &["unavailable", "unavailable"]),
        ("D524X000000", Some(ReelFailure::UpstreamBusy), &["timed_out"]),
    ];
    for (code, why, outcomes) in runs {
        let notes = Notes::new(None);
        let ended = run_n8n(&n8n, JobId::new(), &code.parse().unwrap(), &notes, &cancel).await;
        match (ended, why) {
            (Ok(reel), None) => assert!(reel.source == Source::N8n && reel.notes.contains("Transcript")),
            (Err(stopped), Some(why)) => assert_eq!((stopped.why, stopped.again), (why, false), "{code}"),
            (ended, _) => panic!("{code}: {ended:?}"),
        }
        let paid: Vec<_> = outcomes.iter().map(|outcome| ("workflow", *outcome)).collect();
        assert_eq!(notes.outcomes(), paid, "{code}");
        assert_eq!(notes.reserved.lock().unwrap().len(), paid.len(), "{code}");
    }
    // A refused secret ran nothing; a workflow that is called off may run on.
    sandbox.control.fault("/webhook", Fault::Answer { status: 403, headers: vec![], body: "Authorization".into() });
    sandbox.control.fault("/webhook", Fault::Slow(Duration::from_secs(3600)));
    let (notes, code) = (Notes::new(None), "DLlGZiCOBQ0".parse().unwrap());
    let refused = run_n8n(&n8n, JobId::new(), &code, &notes, &cancel).await.unwrap_err();
    assert_eq!((refused.why, refused.bought), (ReelFailure::Misconfigured, false));
    let asked = sandbox.control.asked().len();
    let call_off = async {
        sandbox.control.until(|all| all.len() > asked).await;
        cancel.cancel();
    };
    let (ended, ()) = tokio::join!(run_n8n(&n8n, JobId::new(), &code, &notes, &cancel), call_off);
    assert_eq!(ended.unwrap_err().why, ReelFailure::Cancelled);
    assert_eq!(notes.outcomes(), [("workflow", "cancelled")]);
}
