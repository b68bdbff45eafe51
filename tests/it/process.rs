//! The real program as a process of its own: started with an environment of the test's, read over its standard
//! error and its HTTP address, ended by signals. It never outlives its test.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::bot::until;

/// A running `reelcoach`; killed when dropped.
pub struct Process {
    child: Child,
    log: Arc<Mutex<Vec<Value>>>,
    folder: tempfile::TempDir,
}

/// What a command that ended by itself said.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// Runs a command to its end with `input` on its standard input. Besides the given variables it has no environment,
/// and `env_file` is its `.env`.
pub async fn run(args: &[&str], environment: &[(String, String)], env_file: &str, input: &str) -> Ran {
    run_within(crate::bot::PATIENCE, args, environment, env_file, input).await
}

/// The same of one that takes longer.
pub async fn run_within(
    patience: std::time::Duration,
    args: &[&str],
    environment: &[(String, String)],
    env_file: &str,
    input: &str,
) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(".env"), env_file).unwrap();
    let mut child = command(args, environment, &folder).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let ran = tokio::task::spawn_blocking(move || {
        // A command that reads nothing may have closed it already.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        child.wait_with_output().unwrap()
    });
    let ran = tokio::time::timeout(patience, ran).await.expect("the command does not end").unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: ran.status.code().expect("it was killed"), out: text(ran.stdout), err: text(ran.stderr) }
}

impl Process {
    /// Starts `serve`; `args` come behind it.
    pub fn serve(environment: &[(String, String)], args: &[&str]) -> Process {
        Process::start(environment, &[&["serve"], args].concat())
    }

    /// The same where the process may have so many files and connections open.
    pub fn serve_with_files(files: u32, environment: &[(String, String)]) -> Process {
        Process::start_by(environment, |own, folder| {
            let mut limited = Command::new("/bin/sh");
            limited.args(["-c", "ulimit -n \"$0\" && exec \"$@\"", &files.to_string()]);
            limited.args([env!("CARGO_BIN_EXE_reelcoach"), "serve"]);
            in_folder(limited, own, folder)
        })
    }

    /// The same where it is told to keep within so many bytes of memory (`ulimit -m`). The kernel does not see to that.
    pub fn serve_with_memory(bytes: u64, environment: &[(String, String)]) -> Process {
        Process::start_by(environment, |own, folder| {
            let mut limited = Command::new("/bin/sh");
            limited.args(["-c", "ulimit -m \"$0\" && exec \"$@\"", &(bytes >> 10).to_string()]);
            limited.args([env!("CARGO_BIN_EXE_reelcoach"), "serve"]);
            in_folder(limited, own, folder)
        })
    }

    /// The memory that it holds and the system could not take back: what a container is killed for.
    pub fn held_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let kilobytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        (kilobytes("RssAnon:").unwrap_or(0) + kilobytes("RssShmem:").unwrap_or(0)) << 10
    }

    /// Starts any command; what it prints is not kept.
    pub fn start(environment: &[(String, String)], args: &[&str]) -> Process {
        Process::start_by(environment, |own, folder| command(args, own, folder))
    }

    fn start_by(
        environment: &[(String, String)],
        command: impl FnOnce(&[(String, String)], &tempfile::TempDir) -> Command,
    ) -> Process {
        let folder = tempfile::tempdir().unwrap();
        let mut own: BTreeMap<&str, &str> = environment.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        own.insert("LOG_FORMAT", "json");
        own.entry("DATABASE_CONNECTIONS").or_insert("4");
        let own: Vec<(String, String)> = own.into_iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        let mut child = command(&own, &folder).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (stderr, lines) = (child.stderr.take().unwrap(), log.clone());
        std::thread::spawn(move || read(stderr, &lines));
        Process { child, log, folder }
    }

    /// Waits until it listens; where.
    pub async fn ready(&mut self) -> SocketAddr {
        self.until("it is ready", |log| log.iter().any(|line| line["message"] == "listening")).await;
        let log = self.log();
        let line = log.iter().find(|line| line["message"] == "listening").unwrap();
        line["address"].as_str().unwrap().parse().unwrap()
    }

    /// Waits for something in its log; fails if it ends before.
    pub async fn until(&mut self, what: &str, holds: impl Fn(&[Value]) -> bool) {
        let lines = self.log.clone();
        until(what, async || holds(&lines.lock().unwrap())).await;
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        self.ended_at("the process ends").await
    }

    async fn ended_at(&mut self, what: &str) -> ExitStatus {
        let child = Mutex::new(&mut self.child);
        let log = &self.log;
        let ended = Mutex::new(None);
        until(what, async || {
            *ended.lock().unwrap() = child.lock().unwrap().try_wait().unwrap();
            ended.lock().unwrap().is_some()
        })
        .await;
        let status = ended.into_inner().unwrap().unwrap();
        assert!(status.code() != Some(101), "it panicked: {:?}", log.lock().unwrap());
        status
    }

    /// Waits until it has ended as a crash point ends it (`abort`).
    pub async fn aborted(&mut self, point: &str) {
        let status = self.ended_at(&format!("it dies at {point}")).await;
        assert_eq!(status.signal(), Some(6), "{point}: {status:?} {:#?}", self.log());
    }

    /// SIGKILL: as if the power went.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, then waits for the end; it must be a success.
    pub async fn stop(&mut self) {
        self.terminate();
        let status = self.ended().await;
        assert_eq!(status.code(), Some(0), "{:#?}", self.log());
    }

    pub fn terminate(&self) {
        self.signal("-TERM");
    }

    /// SIGSTOP: it does nothing from now on, as on a machine that is frozen.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// SIGCONT: it goes on, and does not know that any time has passed.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    /// Whether it is stopped by a signal.
    pub fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // The name of the program stands in brackets before its state.
        stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// What it has logged so far; a line that is not JSON is a text.
    pub fn log(&self) -> Vec<Value> {
        self.log.lock().unwrap().clone()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() && self.folder.path().exists() {
            let log = self.log.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            eprintln!("what the process said last:");
            for line in &log[log.len().saturating_sub(12)..] {
                eprintln!("  {line}");
            }
        }
    }
}

fn command(args: &[&str], environment: &[(String, String)], folder: &tempfile::TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reelcoach"));
    command.args(args);
    in_folder(command, environment, folder)
}

fn in_folder(mut command: Command, environment: &[(String, String)], folder: &tempfile::TempDir) -> Command {
    command.env_clear().envs(environment.iter().map(|(name, value)| (name, value)));
    command.current_dir(folder.path()).stderr(Stdio::piped());
    command
}

fn read(from: impl Read, into: &Mutex<Vec<Value>>) {
    for line in BufReader::new(from).lines().map_while(Result::ok) {
        let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
        into.lock().unwrap().push(line);
    }
}
