//! The load test: the real program and the sandbox as processes of their own, people by the thousand, and a
//! check of what must hold. Owns what is run and in which order; the command line is `main`'s. Nothing but this machine
//! is ever spoken to.
#![forbid(unsafe_code)]

mod bad;
pub mod check;
mod crowd;
pub mod faults;
mod flood;
mod health;
pub mod kills;
pub mod lies;
mod machine;
pub mod measure;
mod money;
pub mod options;
pub mod people;
mod profile;
pub mod proxy;
mod reach;
pub mod report;
mod scene;
pub mod stage;
pub mod storm;
mod talk;

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use self::check::Rules;
use self::faults::Faults;
pub use self::lies::Lie;
use self::report::{Entry, Report};
use self::scene::{Ended, Play};
use self::stage::{Host, Setting};
use self::storm::StormSetting;
use reelcoach::core::capacity::scenarios::Scenario;
use sandbox::Terms;

/// What is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The health endpoint's throughput.
    Health,
    /// Conversations that need no tool.
    Simple,
    /// Conversations with a call of a tool.
    Tools,
    /// Answers that grow for two seconds.
    Streaming,
    /// More people from step to step, until something gives.
    People,
    /// Reel storms: few links, then many.
    Reels,
    /// People who spend until their budget and the bot's are used up.
    Money,
    /// One person's reels always fail, while others paste good ones.
    #[serde(rename = "bad-reel")]
    BadReel,
    /// One account that never stops writing.
    Flood,
}

impl Part {
    pub const ALL: [Part; 9] = [
        Part::Health,
        Part::Simple,
        Part::Tools,
        Part::Streaming,
        Part::People,
        Part::Reels,
        Part::Money,
        Part::BadReel,
        Part::Flood,
    ];

    /// As the command line takes it.
    fn name(self) -> String {
        clap::ValueEnum::to_possible_value(&self).map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// What is asked of a run.
pub struct Settings {
    pub program: PathBuf,
    /// A PostgreSQL server on this machine; SQLite without.
    pub server: Option<String>,
    pub parts: Vec<Part>,
    /// Instead of the parts.
    pub profile: Option<Scenario>,
    /// How long the load of one part takes, and how many messages it has at most; see the command line's help for what
    /// that means where.
    pub seconds: u64,
    pub messages: usize,
    /// The steps of [`Part::People`].
    pub people: Vec<u32>,
    pub faults: Faults,
    pub seed: u64,
    pub lie: Option<Lie>,
}

/// How a run is ended before its time.
#[derive(Debug, Default)]
pub struct Stop {
    load: CancellationToken,
    all: CancellationToken,
}

impl Stop {
    /// The first time the load ends, and what was said until then is answered and checked; the second time everything.
    pub fn ask(&self) {
        if self.load.is_cancelled() {
            self.all.cancel();
        }
        self.load.cancel();
    }

    /// Whether the load is to end.
    pub fn is_cancelled(&self) -> bool {
        self.load.is_cancelled()
    }

    /// Until the load is to end.
    pub async fn cancelled(&self) {
        self.load.cancelled().await;
    }

    /// Until everything is to end.
    pub async fn at_once(&self) {
        self.all.cancelled().await;
    }
}

/// Tells which part is running, how far it is (0 to 1), and which of how many it is.
pub type Progress<'a> = &'a (dyn Fn(&str, f64, usize, usize) + Sync);

/// Runs everything, one part after another; what was measured until `stop` was asked is reported.
///
/// # Errors
/// When something does not start, or the sandbox is lost. A rule that does not hold is no error: it is in the report.
pub async fn run(settings: &Settings, stop: &Stop, progress: Progress<'_>) -> anyhow::Result<Report> {
    let host = Host { program: settings.program.clone(), server: settings.server.clone() };
    let mut report = Report::new(settings);
    let names: Vec<String> = match settings.profile {
        Some(scenario) => vec![scenario.name().to_owned()],
        None => settings.parts.iter().map(|part| part.name()).collect(),
    };
    for (at, name) in names.iter().enumerate() {
        if stop.is_cancelled() {
            report.interrupted = true;
            break;
        }
        let tell = |part: f64| progress(name, part, at, names.len());
        tell(0.0);
        let run = Run { settings, host: &host, stop, tell: &tell };
        let entries = match settings.profile {
            Some(scenario) => profile::run(&run, scenario).await,
            None => run.part(settings.parts[at]).await,
        };
        match entries {
            Err(ended) if ended.is::<Ended>() => report.ended_at_once = true,
            entries => report.entries.extend(entries?),
        }
    }
    report.interrupted |= stop.is_cancelled();
    Ok(report)
}

struct Run<'a> {
    settings: &'a Settings,
    host: &'a Host,
    stop: &'a Stop,
    tell: &'a (dyn Fn(f64) + Sync),
}

impl Run<'_> {
    async fn part(&self, part: Part) -> anyhow::Result<Vec<Entry>> {
        let quick = Terms { first_token: 0.3, per_token: 0.001, ..Terms::at(1.0) };
        let slow = Terms { first_token: 0.3, per_token: 0.02, ..Terms::at(1.0) };
        match part {
            Part::Health => health::run(self.host, self.span() / 2, self.stop, self.tell).await,
            Part::Simple => self.talk("simple", quick, talk::SIMPLE).await,
            Part::Tools => self.talk("tools", quick, talk::TOOLS).await,
            Part::Streaming => self.talk("streaming", slow, talk::SIMPLE).await,
            Part::People => people::climb(self).await,
            Part::Reels => {
                let reels = u32::try_from(self.settings.messages).unwrap_or(u32::MAX);
                // In life twenty times as long as the run takes, and so much to do that it lasts.
                let span = self.span() * 20;
                let few = StormSetting::arrivals(100, reels.min(200), 5, span, self.settings.seed);
                // Each person asks for several, so that their spacing is seen.
                let some = reels.min(20);
                let people = (some / 2).clamp(1, 12);
                let many = StormSetting::arrivals(people, some, u32::MAX, span, self.settings.seed);
                let usual = |arrivals| StormSetting::usual(arrivals, self.settings.seed);
                let workflows = StormSetting { lanes: 1, workflows: 2, ..usual(many.clone()) };
                Ok(vec![
                    self.storm("reels, few links", usual(few)).await?,
                    self.storm("reels, many links", usual(many)).await?,
                    self.storm("reels, workflows", workflows).await?,
                ])
            }
            Part::Money => money::spend(self).await,
            Part::BadReel => bad::paste(self).await,
            Part::Flood => flood::flood(self).await,
        }
    }

    fn span(&self) -> Duration {
        Duration::from_secs(self.settings.seconds)
    }

    /// As a part is played that is not about limits of its own.
    fn play(&self, terms: Terms) -> Play {
        let play = Play {
            setting: Setting::new(terms),
            rules: Rules { lanes: 2, interval_ms: 30_000, ..Rules::default() },
            faults: self.settings.faults,
            seed: self.settings.seed,
            span: self.span(),
            backlog: Duration::ZERO,
            people: 0,
            lie: self.settings.lie,
        };
        let play = faulty(play, self.host);
        Play { people: talk::people(talk::IN_FLIGHT, play.faults.kill()), ..play }
    }

    async fn talk(&self, name: &str, terms: Terms, text: talk::Text) -> anyhow::Result<Vec<Entry>> {
        let played = scene::play(self.host, self.play(terms), self.stop, self.tell, async |scene| {
            talk::in_turns(scene, talk::IN_FLIGHT, text, self.settings.messages).await;
            Ok(())
        });
        let note = format!("{} conversations at a time", talk::IN_FLIGHT);
        Ok(vec![Entry::of(name, note, terms, played.await?.figures)])
    }

    async fn storm(&self, name: &str, setting: StormSetting) -> anyhow::Result<Entry> {
        let mut play = setting.play(self.settings.faults, self.host)?;
        play.lie = self.settings.lie;
        let (measured, played) = storm::storm(self.host, &setting, play.clone(), self.stop, self.tell).await?;
        let note = format!(
            "{} lanes{}, {} times as fast; in life: {:.2} reels read a minute, wait p50 {:.0} s, p95 {:.0} s",
            setting.lanes,
            if setting.workflows > 0 { format!(" and {} workflows", setting.workflows) } else { String::new() },
            setting.compress,
            measured.throughput_per_minute,
            measured.wait_s.p50,
            measured.wait_s.p95
        );
        let entry = Entry::of(name, note, play.setting.terms, played.figures).compressed(setting.compress);
        Ok(Entry { storm: Some(measured), ..entry })
    }
}

/// What the faults of a play need.
fn faulty(mut play: Play, host: &Host) -> Play {
    if play.faults.kill() {
        play.setting.is_breakable = true;
        play.setting.instances = if host.server.is_some() { 2 } else { 1 };
    }
    play
}

/// A database address that is not of this machine is refused, with a sentence that says so.
///
/// # Errors
/// That sentence.
pub fn refuse_others(url: &str) -> Result<(), String> {
    let parsed = url::Url::parse(url)
        .map_err(|_| "--database-url is not an address such as postgres://user@127.0.0.1/postgres")?;
    if !matches!(parsed.scheme(), "postgres" | "postgresql") {
        return Err("--database-url takes a postgres:// address; without it the runs use SQLite".into());
    }
    let is_own = |host: &str| {
        let host = host.trim_matches(['[', ']']);
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    };
    // The driver takes a host from the query, too.
    let others = parsed
        .query_pairs()
        .filter(|(name, _)| matches!(&**name, "host" | "hostaddr"))
        .map(|(_, host)| host.into_owned());
    let hosts: Vec<String> = parsed.host_str().map(str::to_owned).into_iter().chain(others).collect();
    match hosts.iter().find(|host| !is_own(host)) {
        Some(host) => {
            Err(format!("--database-url: {host} is not this machine; a load test only speaks to loopback addresses"))
        }
        None if hosts.is_empty() => Err("--database-url names no host".into()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_spoken_to() {
        for own in ["postgres://me@127.0.0.1:5599/postgres", "postgresql://localhost/x", "postgres://me:pw@[::1]:1/x"] {
            assert_eq!(refuse_others(own), Ok(()), "{own}");
        }
        for other in [
            "postgres://me@db.example.org/x",
            "postgres://10.0.0.7/x",
            "postgres://127.0.0.1/x?host=db.example.org",
            "postgres://127.0.0.1.example.org/x",
            "postgres://0.0.0.0/x",
            "mysql://127.0.0.1/x",
            "sqlite://x.db",
            "postgres:///x",
            "nonsense",
        ] {
            assert!(refuse_others(other).is_err(), "{other}");
        }
    }
}
