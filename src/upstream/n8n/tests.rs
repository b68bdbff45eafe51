//! The client against the stand-in: every answer n8n gives for something that is no result.

use super::*;
use crate::upstream::patient_http_client;
use sandbox::Fault;
use sandbox::n8n::{N8nSandbox, Settings as SandboxSettings};

const QUICK: RetryPolicy =
    RetryPolicy { attempts: 4, first_pause: Duration::from_millis(1), longest_pause: Duration::from_millis(50) };

async fn sandbox() -> (N8nSandbox, N8n) {
    let duration = Duration::from_millis(5);
    let sandbox = N8nSandbox::start(SandboxSettings { duration, ..SandboxSettings::default() }).await.unwrap();
    let n8n = client(&sandbox, |_| {});
    (sandbox, n8n)
}

fn client(sandbox: &N8nSandbox, change: impl FnOnce(&mut Settings)) -> N8n {
    let mut settings = Settings {
        url: sandbox.webhook_url(),
        secret: SecretString::from("n8n-sandbox-secret"),
        timeout: Duration::from_secs(20),
        retry: QUICK,
    };
    change(&mut settings);
    N8n::new(patient_http_client().unwrap(), Clock::System, settings)
}

async fn run(n8n: &N8n, code: &str) -> Result<N8nResult, Failure> {
    n8n.run(&JobId::new(), &code.parse().unwrap()).await
}

#[tokio::test]
async fn a_result_and_a_refusal_are_read() {
    let (_sandbox, n8n) = sandbox().await;
    let done = run(&n8n, "DLlGZiCOBQ0").await.unwrap();
    assert!(
        matches!(done, N8nResult::Done { analysis, owner, .. } if analysis.contains("Transcript") && !owner.is_empty())
    );
    let refused = run(&n8n, "DPRIV000000").await.unwrap();
    assert!(matches!(refused, N8nResult::Refused { kind, .. } if kind == "private"));
}

#[tokio::test]
async fn an_answer_that_is_no_result_says_how_to_mend_it() {
    let (sandbox, n8n) = sandbox().await;
    for code in ["DSTAR000000", "DNODA000000", "DEMP2000000"] {
        let failure = run(&n8n, code).await.unwrap_err();
        assert_eq!(failure.cause, Cause::Malformed, "{code}");
        assert!(failure.detail.contains("'Using Respond to Webhook node' or 'When last node finishes'"), "{failure}");
    }
    assert_eq!(sandbox.control.asked().len(), 3, "none was repeated");
    assert_eq!(run(&n8n, "D524X000000").await.unwrap_err().cause, Cause::TimedOut);
    assert_eq!(sandbox.control.asked().len(), 4, "the workflow may still run");
}

#[tokio::test]
async fn a_failed_workflow_has_run_and_says_so() {
    let (sandbox, n8n) = sandbox().await;
    let failure = run(&n8n, "DERR5000000").await.unwrap_err();
    assert_eq!((&failure.cause, sandbox.control.asked().len()), (&Cause::Unavailable { retry_after: None }, 1));
    assert!(failure.usage.is_some() && failure.detail.contains("(n8n: Error in workflow)"), "{failure}");
}

#[tokio::test]
async fn n8ns_own_words_reach_the_operator_and_no_secret_does() {
    let (sandbox, n8n) = sandbox().await;
    let long = "x".repeat(999);
    for (message, cause, told) in [
        ("No Respond to Webhook node found in the workflow", Cause::BadRequest, "No Respond to Webhook node found"),
        ("Unused Respond to Webhook node found in the workflow", Cause::BadRequest, "Unused Respond"),
        ("Workflow Webhook Error: Workflow could not be started!", Cause::BadRequest, "could not be started"),
        ("No authentication data defined on node!", Cause::BadRequest, "No authentication data"),
        (
            "got n8n-sandbox-secret at\nhttps://x.example/?key=1",
            Cause::Unavailable { retry_after: None },
            "got *** at …)",
        ),
        (&long, Cause::Unavailable { retry_after: None }, "xxx"),
    ] {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        let body = json!({"message": message}).to_string();
        sandbox.control.fault("/webhook", Fault::Answer { status: 500, headers, body });
        let failure = run(&n8n, "DLlGZiCOBQ0").await.unwrap_err();
        assert_eq!(failure.cause, cause, "{message}");
        assert!(failure.detail.contains(told) && failure.detail.len() < 300, "{failure}");
        assert_eq!(failure.usage.is_some(), cause != Cause::BadRequest, "a workflow that is not set up does not run");
    }
}

#[tokio::test]
async fn a_wrong_address_method_or_secret_is_for_the_operator() {
    let (sandbox, n8n) = sandbox().await;
    let wrong = client(&sandbox, |settings| settings.secret = SecretString::from("wrong"));
    assert_eq!(run(&wrong, "DLlGZiCOBQ0").await.unwrap_err().cause, Cause::Unauthorized);
    for (path, is_test) in [("/webhook/other", false), ("/webhook-test/reel", true), ("/nothing", false)] {
        let elsewhere = client(&sandbox, |settings| settings.url = format!("{}{path}", sandbox.served.url()));
        assert_eq!(run(&elsewhere, "DLlGZiCOBQ0").await.unwrap_err().cause, Cause::NotFound, "{path}");
        assert_eq!(elsewhere.is_test_url(), is_test, "{path}");
    }
    assert_eq!(sandbox.control.asked().len(), 4, "none was repeated");
    let no_address = client(&sandbox, |settings| settings.url = "webhook/reel".into());
    assert_eq!(run(&no_address, "DLlGZiCOBQ0").await.unwrap_err().cause, Cause::NotFound);
    let get = n8n.http.get(sandbox.webhook_url()).send().await.unwrap();
    assert_eq!(get.status(), 404, "a webhook answers its own method only");
}

#[tokio::test]
async fn a_call_whose_workflow_may_run_is_not_repeated() {
    let (sandbox, n8n) = sandbox().await;
    let html = |status| Fault::Answer {
        status,
        headers: vec![("content-type".into(), "text/html".into())],
        body: "<p>".into(),
    };
    for (fault, cause) in [
        (html(502), Cause::Cut),
        (html(504), Cause::TimedOut),
        (html(302), Cause::BadRequest),
        (html(200), Cause::Malformed),
        (html(401), Cause::Unauthorized),
        (html(413), Cause::BadRequest),
        (Fault::DropAfter, Cause::Cut),
        (Fault::Cut, Cause::Cut),
    ] {
        let before = sandbox.control.asked().len();
        sandbox.control.fault("/webhook", fault.clone());
        assert_eq!(run(&n8n, "DLlGZiCOBQ0").await.unwrap_err().cause, cause, "{fault:?}");
        assert_eq!(sandbox.control.asked().len() - before, 1, "{fault:?}");
    }
    sandbox.control.fault("/webhook", Fault::Slow(Duration::from_secs(60)));
    let hasty = client(&sandbox, |settings| settings.timeout = Duration::from_millis(50));
    assert_eq!(run(&hasty, "DLlGZiCOBQ0").await.unwrap_err().cause, Cause::TimedOut);
}

#[tokio::test]
async fn without_a_connection_it_is_tried_again() {
    let (sandbox, _) = sandbox().await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let n8n = client(&sandbox, |settings| settings.url = format!("http://{closed}/webhook/reel"));
    assert_eq!(run(&n8n, "DLlGZiCOBQ0").await.unwrap_err().cause, Cause::Unavailable { retry_after: None });
}

#[test]
fn answers_are_held_to_the_contract() {
    let job = JobId::new();
    let read = |answer: Value| done(&job, Some(answer), "", 1);
    let result = N8nResult::Done { caption: String::new(), owner: String::new(), analysis: "text".into() };
    assert_eq!(read(json!({"ok": true, "analysis": "text"})), Ok(result.clone()));
    assert_eq!(read(json!([{"ok": true, "analysis": "text", "job_id": job.to_string()}])), Ok(result));
    let structured = read(json!({"ok": true, "analysis": {"hook": "h"}})).unwrap();
    assert!(matches!(structured, N8nResult::Done { analysis, .. } if analysis == r#"{"hook":"h"}"#));
    let odd = read(json!({"ok": false, "error": {"kind": "pri vate\n<x>", "message": 7}})).unwrap();
    assert_eq!(odd, N8nResult::Refused { kind: "privatex".into(), message: String::new() });
    for bad in [
        json!({"ok": true, "analysis": " "}),
        json!({"ok": true}),
        json!({"analysis": "text"}),
        json!({"ok": true, "analysis": "text", "job_id": JobId::new().to_string()}),
        json!([]),
        json!("text"),
        json!(null),
    ] {
        assert_eq!(read(bad.clone()).unwrap_err().cause, Cause::Malformed, "{bad}");
    }
}
