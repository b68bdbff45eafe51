//! A real headless Chromium, driven over the Chrome DevTools Protocol. It never outlives its test; a machine without one
//! fails the test, which `tests/run` prevents.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::bot::PATIENCE;

/// Under which names distributions have it.
const NAMES: [&str; 6] = [
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome-headless-shell",
];

/// A browser with one page.
pub struct Browser {
    child: Child,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    session: Option<String>,
    last_id: u64,
    events: Vec<Value>,
    _profile: tempfile::TempDir,
}

impl Browser {
    pub async fn start() -> Browser {
        let profile = tempfile::tempdir().unwrap();
        let mut child = Command::new(program())
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"])
            .args(["--remote-debugging-port=0", "--no-first-run", "--disable-background-networking"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (tell, told) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let mut tell = Some(tell);
            // Read to the end, so that the browser never waits for its reader.
            for line in stderr.lines().map_while(Result::ok) {
                if let Some(address) = line.strip_prefix("DevTools listening on ")
                    && let Some(tell) = tell.take()
                {
                    let _ = tell.send(address.to_owned());
                }
            }
        });
        let address = tokio::time::timeout(PATIENCE, told).await.expect("the browser does not listen").unwrap();
        let (socket, _) = tokio_tungstenite::connect_async(address).await.unwrap();
        let mut browser = Browser { child, socket, session: None, last_id: 0, events: Vec::new(), _profile: profile };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"})).await["targetId"].clone();
        let attached = browser.call("Target.attachToTarget", json!({"targetId": target, "flatten": true})).await;
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Audits"] {
            browser.call(&format!("{domain}.enable"), json!({})).await;
        }
        browser
    }

    /// Calls a method of the protocol.
    pub async fn call(&mut self, method: &str, params: Value) -> Value {
        let answer = self.ask(method, params).await;
        assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
        answer["result"].clone()
    }

    async fn ask(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let id = self.last_id;
        let mut request = json!({"id": id, "method": method, "params": params});
        if let Some(session) = &self.session {
            request["sessionId"] = json!(session);
        }
        self.socket.send(Message::text(request.to_string())).await.unwrap();
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next()).await;
            let message = message.unwrap_or_else(|_| panic!("{method} is not answered")).expect("it is there").unwrap();
            let Message::Text(text) = message else { continue };
            let message: Value = serde_json::from_str(&text).unwrap();
            if message["id"] == id {
                return message;
            }
            self.events.push(message);
        }
    }

    pub async fn open(&mut self, url: &str) {
        let opened = self.call("Page.navigate", json!({"url": url})).await;
        assert!(opened["errorText"].is_null(), "{opened}");
        self.until("document.readyState === 'complete'").await;
    }

    /// The value of an expression on the page.
    pub async fn value(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let result = self.call("Runtime.evaluate", asked).await;
        assert!(result["exceptionDetails"].is_null(), "{expression}: {}", result["exceptionDetails"]);
        result["result"]["value"].clone()
    }

    pub async fn text(&mut self, expression: &str) -> String {
        self.value(expression).await.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until an expression is true; a page that is being left may not have it yet.
    pub async fn until(&mut self, expression: &str) {
        let asked = json!({"expression": expression, "returnByValue": true});
        let looking = async {
            while self.ask("Runtime.evaluate", asked.clone()).await["result"]["result"]["value"] != true {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, looking).await.is_err() {
            let seen = self.text("`${location.pathname} · ${document.title}\n${document.body?.innerText}`").await;
            panic!("never: {expression}\non the page:\n{seen}");
        }
    }

    /// Types into a field of a form and submits it. Not by the Enter key: the browser drops keys that come before it has
    /// drawn a new page, which under load is long after the page is there.
    pub async fn enter(&mut self, field: &str, text: &str) {
        self.until(&format!("document.querySelector('{field}')?.form != null")).await;
        self.value(&format!("document.querySelector('{field}').focus()")).await;
        self.call("Input.insertText", json!({"text": text})).await;
        assert_eq!(
            self.text(&format!("document.querySelector('{field}').value")).await,
            text,
            "what was typed is there"
        );
        self.value(&format!("document.querySelector('{field}').form.requestSubmit()")).await;
    }

    /// The size of the window in CSS pixels, and the person's colour scheme.
    pub async fn show_as(&mut self, width: u32, height: u32, scheme: &str) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", size).await;
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features})).await;
    }

    /// A PNG of the page's upper part: `height` CSS pixels of it, or all there is.
    pub async fn picture(&mut self, height: Option<u32>) -> Vec<u8> {
        self.value("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))").await;
        let mut how = json!({"format": "png", "captureBeyondViewport": true, "optimizeForSpeed": false});
        if let Some(height) = height {
            let width = self.value("innerWidth").await;
            how["clip"] = json!({"x": 0, "y": 0, "width": width, "height": height, "scale": 1});
        }
        let taken = self.call("Page.captureScreenshot", how).await;
        STANDARD.decode(taken["data"].as_str().unwrap()).unwrap()
    }

    /// What the page has complained of: exceptions, errors in the console, broken rules of its own security policy.
    /// Answers that are refusals on purpose (401, 403, 404) are none.
    pub async fn complaints(&mut self) -> Vec<String> {
        self.value("new Promise((done) => setTimeout(done, 50))").await;
        let complaint = |event: &Value| {
            let params = &event["params"];
            let is_one = match event["method"].as_str()? {
                "Runtime.exceptionThrown" => true,
                "Runtime.consoleAPICalled" => matches!(params["type"].as_str(), Some("error" | "warning" | "assert")),
                "Log.entryAdded" => {
                    let entry = &params["entry"];
                    let refused = entry["source"] == "network"
                        && entry["text"].as_str().is_some_and(|text| text.contains("status of 40"));
                    matches!(entry["level"].as_str(), Some("error" | "warning")) && !refused
                }
                "Audits.issueAdded" => params["issue"]["code"] == "ContentSecurityPolicyIssue",
                _ => false,
            };
            is_one.then(|| params.to_string())
        };
        self.events.iter().filter_map(complaint).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // All of them: what was started may be a script that waits for the browser itself.
        let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", self.child.id())]).status();
        let _ = self.child.wait();
    }
}

fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let mut all = NAMES.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    all.find(|file| file.is_file())
        .expect("no Chromium on PATH: run the tests with `tests/run`, which installs chromium-headless-shell")
}
