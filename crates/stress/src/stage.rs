//! The stage of a load test: the sandbox and the bot as processes of their own, and the database between them. Owns how
//! they are started, watched and ended; knows no load.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;

use super::machine::{self, AHEAD, Frozen};
use super::measure::{Reading, machine_seconds, process_mb, process_peak_mb, process_seconds};
use super::proxy::Proxy;
use super::reach::Reach;
use reelcoach::store::Store;
use reelcoach::store::scratch::Scratch;
use sandbox::{Ready, Terms};

/// Longest wait for a process to be ready.
const PATIENCE: Duration = Duration::from_secs(30);

/// A line of the bot's log is kept so long, in characters.
const LINE: usize = 400;

/// So many lines of warnings of each instance are kept.
const LINES: usize = 200;

/// What is played on a stage.
#[derive(Clone, Debug)]
pub struct Setting {
    pub terms: Terms,
    /// Over the usual ones of a load test.
    pub variables: Vec<(&'static str, String)>,
    /// Processes of the bot; more than one needs PostgreSQL.
    pub instances: usize,
    /// How many workflows of n8n are lanes, too.
    pub workflows: u32,
    /// Whether the way to the database can be taken away, and an instance may have the wrong time.
    pub is_breakable: bool,
}

impl Setting {
    pub fn new(terms: Terms) -> Setting {
        Setting { terms, variables: Vec::new(), instances: 1, workflows: 0, is_breakable: false }
    }

    pub fn with(mut self, name: &'static str, value: impl ToString) -> Setting {
        self.variables.push((name, value.to_string()));
        self
    }
}

/// The processes, the database, and the way to both.
pub struct Stage {
    pub reach: Reach,
    pub store: Store,
    pub setting: Setting,
    /// The way to PostgreSQL, where it can be taken away.
    pub proxy: Option<Proxy>,
    /// What gives a program the wrong time.
    wrong_clock: Option<PathBuf>,
    program: PathBuf,
    sandbox: Leashed,
    bots: Mutex<Vec<Bot>>,
    /// Of each instance that ended by itself: how, and what it complained of last.
    exits: Mutex<Vec<String>>,
    gone: Mutex<Gone>,
    environment: BTreeMap<String, String>,
    scratch: Scratch,
    folder: tempfile::TempDir,
}

/// A process that ends when this does, also if this is killed: its standard input closes then.
struct Leashed(Child);

impl Drop for Leashed {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One instance.
struct Bot {
    process: Leashed,
    clock: Clock,
    log: Arc<Mutex<Log>>,
}

/// The time that an instance believes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    Right,
    /// Later by what [`Stage::clock_ahead`] says.
    Wrong,
}

/// What the instances leave behind that were killed, or ended by themselves.
#[derive(Default)]
struct Gone {
    cpu_seconds: f64,
    /// The most memory that all had together until the last of them died.
    peak_mb: f64,
    logs: Vec<Arc<Mutex<Log>>>,
    /// One of them had the wrong time.
    wrong_clock: bool,
}

#[derive(Default)]
struct Log {
    address: Option<SocketAddr>,
    warnings: usize,
    errors: usize,
    last: Vec<String>,
}

/// Where the binary is, and which server has the databases: none for SQLite.
#[derive(Clone, Debug)]
pub struct Host {
    pub program: PathBuf,
    pub server: Option<String>,
}

impl Stage {
    /// Starts everything; `host.server` is on this machine ([`super::refuse_others`]).
    pub async fn set(host: &Host, setting: Setting) -> anyhow::Result<Stage> {
        let folder = tempfile::tempdir()?;
        let scratch = Scratch::make(folder.path(), host.server.as_deref())
            .await
            .context("a database for the run cannot be made")?;
        let store = Store::open(&scratch.url, 4).await?;
        store.migrate().await?;
        let terms = serde_json::to_string(&setting.terms)?;
        let mut command = Command::new(&host.program);
        command.args(["sandbox", "--port", "0", "--leashed", "--terms", &terms]).env("LOG", "warn");
        let mut sandbox = leashed(command, folder.path(), Stdio::piped(), Stdio::inherit())?;
        let said = sandbox.0.stdout.take().context("the sandbox has no output")?;
        let ready = tokio::time::timeout(PATIENCE, tokio::task::spawn_blocking(move || first_line(said)));
        let ready = ready.await.context("the sandbox does not start")???;
        let ready: Ready = serde_json::from_str(&ready).context("the sandbox's first line")?;
        let is_far = host.server.is_some();
        let proxy = if setting.is_breakable && is_far { Some(Proxy::to(&scratch.url).await?) } else { None };
        let wrong_clock = if setting.is_breakable { machine::wrong_clock(folder.path())? } else { None };
        let database = proxy.as_ref().map_or_else(|| scratch.url.clone(), |proxy| proxy.url(&scratch.url));
        let mut environment: BTreeMap<String, String> = ready.environment.into_iter().collect();
        let usual = [
            ("DATABASE_URL", database),
            ("HTTP_ADDR", "127.0.0.1:0".into()),
            ("LOG", "warn,reelcoach::cli::serve=info".into()),
            ("LOG_FORMAT", "json".into()),
            // Deliberate waiting, spent while the model thinks.
            ("MERGE_WINDOW_MS", "0".into()),
            ("REEL_WAITING", "100000".into()),
            ("REEL_WAITING_PER_PERSON", "100".into()),
            ("BUDGET_MONTH_USD", "100000".into()),
            ("BUDGET_PERSON_DAY_USD", "1000".into()),
            ("BUDGET_PERSON_MONTH_USD", "1000".into()),
            // The tier is the terms'; and everybody is answered by the model, however often the same is asked.
            ("OPENAI_RPM", setting.terms.rpm.unwrap_or(10_000_000).to_string()),
            ("OPENAI_TPM", setting.terms.tpm.unwrap_or(4_000_000_000).to_string()),
            ("ANSWER_CACHE_HOURS", "0".into()),
            ("TELEGRAM_PER_SECOND", format!("{:.0}", setting.terms.telegram_per_second.min(10_000.0))),
            ("TELEGRAM_PER_CHAT", format!("{:.0}", setting.terms.telegram_per_chat.clamp(1.0, 1000.0))),
            // Few people say all there is.
            ("MESSAGES_PER_MINUTE", "0".into()),
        ];
        environment.extend(usual.into_iter().map(|(name, value)| (name.to_owned(), value)));
        if setting.workflows > 0 {
            let of =
                |name: &str| ready.workflow.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone()).unwrap_or_default();
            let urls = (0..setting.workflows).map(|at| format!("{}-{at}", of("N8N_WEBHOOK_URLS")));
            environment.insert("N8N_WEBHOOK_URLS".into(), urls.collect::<Vec<_>>().join(","));
            environment.insert("N8N_SECRET".into(), of("N8N_SECRET"));
        }
        environment.extend(setting.variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        let reach = Reach::new(&ready.hand)?;
        // From here on what is put on screens is noted.
        reach.seen(0, Duration::ZERO).await?;
        let (program, instances) = (host.program.clone(), setting.instances);
        let stage = Stage {
            reach,
            store,
            setting,
            proxy,
            wrong_clock,
            program,
            sandbox,
            bots: Mutex::default(),
            exits: Mutex::default(),
            gone: Mutex::default(),
            environment,
            scratch,
            folder,
        };
        // With a file for a database nobody else's time could be asked, so that it must do no harm there.
        let clock = if stage.setting.is_breakable && !is_far { Clock::Wrong } else { Clock::Right };
        for _ in 0..instances {
            stage.start_bot(clock).await?;
        }
        let began = Instant::now();
        while !stage.reach.books().await?.is_connected {
            if began.elapsed() > PATIENCE {
                bail!("the bot does not connect to Discord: {}", stage.last_words());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(stage)
    }

    /// One more instance; with the right time where there is nothing that could give it the wrong one.
    pub async fn start_bot(&self, clock: Clock) -> anyhow::Result<()> {
        let mut command = machine::unstoppable(&self.program);
        command.args(["serve", "--leashed"]).envs(&self.environment);
        let wrong = self.wrong_clock.as_ref().filter(|_| clock == Clock::Wrong);
        if let Some(library) = wrong {
            command.env("LD_PRELOAD", library);
        }
        let clock = if wrong.is_some() { Clock::Wrong } else { Clock::Right };
        let mut process = leashed(command, self.folder.path(), Stdio::null(), Stdio::piped())?;
        let log = Arc::new(Mutex::new(Log::default()));
        let lines = process.0.stderr.take().context("the bot has no log")?;
        let into = log.clone();
        std::thread::spawn(move || read_log(lines, &into));
        let began = Instant::now();
        while lock(&log).address.is_none() {
            if began.elapsed() > PATIENCE || process.0.try_wait()?.is_some() {
                bail!("the bot does not start: {}", lock(&log).last.join("\n"));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        lock(&self.bots).push(Bot { process, clock, log });
        Ok(())
    }

    /// Kills an instance as if the power went; the one that was started first.
    pub fn kill_bot(&self) -> bool {
        let mut bots = lock(&self.bots);
        if bots.is_empty() {
            return false;
        }
        let mut gone = lock(&self.gone);
        gone.peak_mb = gone.peak_mb.max(bots.iter().map(|bot| process_peak_mb(bot.process.0.id())).sum());
        let mut bot = bots.remove(0);
        // It may have ended already.
        let _ = bot.process.0.kill();
        // The dead keep their times until they are waited for.
        gone.cpu_seconds += process_seconds(bot.process.0.id());
        gone.wrong_clock |= bot.clock == Clock::Wrong;
        gone.logs.push(bot.log);
        true
    }

    /// Lets an instance stand still until what is returned is dropped: the one that was started first. Now it is the last
    /// one to be taken.
    ///
    /// # Errors
    /// When it is gone.
    pub fn freeze_bot(&self) -> std::io::Result<Option<Frozen>> {
        let mut bots = lock(&self.bots);
        let frozen = bots.first().map(|bot| Frozen::freeze(bot.process.0.id())).transpose()?;
        if frozen.is_some() {
            bots.rotate_left(1);
        }
        Ok(frozen)
    }

    /// The database takes no writes from now on, or takes them again: PostgreSQL as after a failover to a server that is
    /// only read, SQLite as on a disk that is full.
    ///
    /// # Errors
    /// When it cannot be reached, or an instance is gone.
    pub async fn refuse_writes(&self, refused: bool) -> anyhow::Result<()> {
        if self.scratch.is_far() {
            return Ok(self.scratch.refuse_writes(refused).await?);
        }
        let bots = lock(&self.bots);
        bots.iter().try_for_each(|bot| machine::refuse_writes(bot.process.0.id(), refused))?;
        Ok(())
    }

    /// Whether an instance has had the wrong time, by so many seconds.
    pub fn clock_ahead(&self) -> Option<u64> {
        let was = lock(&self.gone).wrong_clock || lock(&self.bots).iter().any(|bot| bot.clock == Clock::Wrong);
        was.then_some(AHEAD)
    }

    /// Lets an instance end by itself, as far as anybody here knows.
    pub fn crash_bot(&self) -> std::io::Result<()> {
        lock(&self.bots).first_mut().map_or(Ok(()), |bot| bot.process.0.kill())
    }

    /// Of each instance that ended by itself so far: how, and in further lines what it complained of last. They are
    /// not among the instances any more.
    pub fn exits(&self) -> Vec<String> {
        let mut exits = lock(&self.exits);
        let (mut bots, mut gone) = (lock(&self.bots), lock(&self.gone));
        bots.retain_mut(|bot| {
            // The dead keep their times until they are waited for.
            let cpu_seconds = process_seconds(bot.process.0.id());
            let ended = match bot.process.0.try_wait() {
                Ok(None) => return true,
                Ok(Some(status)) => status.to_string(),
                Err(error) => error.to_string(),
            };
            gone.cpu_seconds += cpu_seconds;
            gone.logs.push(bot.log.clone());
            let last = lock(&bot.log).last.join("\n");
            exits.push(format!("an instance ended by itself ({ended})\n{last}").trim_end().to_owned());
            false
        });
        exits.clone()
    }

    /// Waits until an instance ends by itself.
    pub async fn exit(&self) {
        let before = self.exits().len();
        while self.exits().len() == before {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// How many instances were started, and were neither killed nor seen to have ended.
    pub fn instances(&self) -> usize {
        lock(&self.bots).len()
    }

    /// What the processes have used so far, those that are gone among them.
    pub fn reading(&self) -> Reading {
        let bots: Vec<u32> = lock(&self.bots).iter().map(|bot| bot.process.0.id()).collect();
        let gone = lock(&self.gone);
        let sum = |of: fn(u32) -> f64| bots.iter().map(|id| of(*id)).sum::<f64>();
        Reading {
            bot: gone.cpu_seconds + sum(process_seconds),
            load: process_seconds(self.sandbox.0.id()) + process_seconds(std::process::id()),
            machine: machine_seconds(),
            bot_rss_mb: sum(process_mb),
            bot_peak_mb: gone.peak_mb.max(sum(process_peak_mb)),
        }
    }

    /// Where the first instance serves its health.
    pub fn health(&self) -> Option<SocketAddr> {
        lock(&self.bots).first().and_then(|bot| lock(&bot.log).address)
    }

    /// Warnings and errors in the logs of all instances that there ever were.
    pub fn complaints(&self) -> (usize, usize) {
        let (bots, gone) = (lock(&self.bots), lock(&self.gone));
        let logs = bots.iter().map(|bot| &bot.log).chain(&gone.logs).map(|log| lock(log));
        logs.fold((0, 0), |sum, log| (sum.0 + log.warnings, sum.1 + log.errors))
    }

    /// What the instances complained of last.
    pub fn last_words(&self) -> String {
        let bots = lock(&self.bots);
        bots.iter().flat_map(|bot| lock(&bot.log).last.clone()).collect::<Vec<_>>().join("\n")
    }

    /// Ends the processes and removes the database.
    pub async fn strike(self) -> anyhow::Result<()> {
        lock(&self.bots).clear();
        drop(self.sandbox);
        self.store.close().await;
        self.scratch.remove().await?;
        Ok(())
    }
}

fn leashed(mut command: Command, folder: &Path, out: Stdio, err: Stdio) -> anyhow::Result<Leashed> {
    let own: Vec<_> = command.get_envs().filter_map(|(n, v)| Some((n.to_owned(), v?.to_owned()))).collect();
    // What is set in this process's environment is nobody's business there.
    command.env_clear().envs(own).current_dir(folder).stdin(Stdio::piped()).stdout(out).stderr(err);
    #[cfg(unix)]
    // Ctrl-C is for this process, which ends the others in good order.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let name = command.get_program().to_owned();
    Ok(Leashed(command.spawn().with_context(|| format!("{} cannot be started", name.display()))?))
}

/// Reads on behind the first line, so that whoever writes is never held up.
fn first_line(from: impl Read + Send + 'static) -> std::io::Result<String> {
    let mut lines = BufReader::new(from);
    let mut first = String::new();
    lines.read_line(&mut first)?;
    std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
    Ok(first)
}

fn read_log(from: impl Read, into: &Mutex<Log>) {
    for line in BufReader::new(from).lines().map_while(Result::ok) {
        let value: Value = serde_json::from_str(&line).unwrap_or_default();
        let mut log = lock(into);
        if value["message"] == "listening" {
            log.address = value["address"].as_str().and_then(|address| address.parse().ok());
            continue;
        }
        match value["level"].as_str() {
            Some("INFO") => continue,
            Some("WARN") => log.warnings += 1,
            _ => log.errors += 1,
        }
        if log.last.len() >= LINES {
            log.last.remove(0);
        }
        log.last.push(line.chars().take(LINE).collect());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
