//! The real program as a process of its own. Owns its start and its end; knows no scenario.

#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::database::{Failed, Outcome};

/// One that takes longer to become ready will not.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program under measure; killed when dropped.
pub struct Bot {
    process: Child,
    pub url: String,
    pub ready_after: Duration,
}

impl Bot {
    /// Starts `serve` in `folder`, where its warnings go to the file `log`, with these variables and no others, and waits
    /// until it is ready.
    pub async fn start<K, V>(folder: &Path, variables: impl IntoIterator<Item = (K, V)>) -> Outcome<Bot>
    where
        K: AsRef<std::ffi::OsStr>,
        V: AsRef<std::ffi::OsStr>,
    {
        let addr = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_reelcoach"));
        command.arg("serve").current_dir(folder).env_clear();
        command.envs(variables).env("HTTP_ADDR", addr.to_string()).env("LOG", "warn");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(folder.join("log"))?);
        let began = Instant::now();
        let process = command.spawn()?;
        let mut bot = Bot { process, url: format!("http://{addr}"), ready_after: Duration::ZERO };
        let http = reqwest012::Client::builder().no_proxy().build()?;
        loop {
            let ready = http.get(format!("{}/readyz", bot.url)).send().await;
            if ready.is_ok_and(|response| response.status().is_success()) {
                bot.ready_after = began.elapsed();
                return Ok(bot);
            }
            if let Some(status) = bot.process.try_wait()? {
                let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
                return Err(format!("the bot ended: {status}\n{log}").into());
            }
            if began.elapsed() > PATIENCE {
                return Err(Failed::from("the bot did not become ready"));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Bot {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A part of one core, as a smaller machine would have: a control group of Linux (its cpu controller, version 1 or 2).
pub struct Share {
    group: PathBuf,
}

impl Share {
    /// From now on the process has no more than that.
    pub fn of_one(process: u32, cores: f64) -> Outcome<Share> {
        let period = 20_000;
        let quota = (cores * f64::from(period)).round();
        let (root, limits) = if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
            ("/sys/fs/cgroup", vec![("cpu.max", format!("{quota} {period}"))])
        } else {
            let limits = vec![("cpu.cfs_period_us", period.to_string()), ("cpu.cfs_quota_us", quota.to_string())];
            ("/sys/fs/cgroup/cpu", limits)
        };
        let share = Share { group: Path::new(root).join(format!("reelcoach-bench-{process}")) };
        let told = |error| format!("a part of a core needs the right to make a control group in {root}: {error}");
        fs::create_dir(&share.group).map_err(told)?;
        for (file, value) in limits.into_iter().chain([("cgroup.procs", process.to_string())]) {
            fs::write(share.group.join(file), value).map_err(told)?;
        }
        Ok(share)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.group);
    }
}
