//! `capacity`: what a number of people will make of the bot, its upstreams and its bill. Owns the flags and what is taken
//! where one is not given; the simulation is [`crate::core::capacity`]'s, the table is in [`table`].

mod json;
mod table;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};

use crate::app::CheckedConfig;
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::core::admin::chart::{Look, Painter};
use crate::core::admin::figures;
use crate::core::capacity::chance::Times;
use crate::core::capacity::scenarios::{EVENING, FLAT, MOST_ASKS, Scenario, asks, enough};
use crate::core::capacity::tiers::Tier;
use crate::core::capacity::{Database, Demand, Plan, Report, from_past, report, too_little};
use crate::core::wording::grouped;
use crate::store::Store;
use crate::telemetry;

const DAY: Duration = Duration::from_secs(86_400);

/// How far back `--from-ledger` looks.
const PAST: Duration = Duration::from_secs(30 * 86_400);

/// Where a default is not named here it is the configuration's (lanes, models, spacing, cache), or stands in
/// `src/core/capacity/scenarios.rs` with its source.
#[derive(Args, Debug)]
pub struct Options {
    /// Only this example community instead of all three
    #[arg(long, value_enum)]
    scenario: Option<Named>,
    /// Use the last 30 days of DATABASE_URL
    #[arg(long, conflicts_with = "scenario")]
    from_ledger: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Draw each part's load into this .png or .svg
    #[arg(long, value_name = "FILE", value_parser = picture)]
    chart: Option<Picture>,
    /// Random seed; another one plays another month
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Days to simulate (3 to 30 by default, as many as steady figures need)
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=366))]
    days: Option<u32>,

    /// People a day. Makes a plan of your own (100)
    #[arg(long, help_heading = "Demand", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    people: Option<u32>,
    /// Messages per person a day (10)
    #[arg(long, help_heading = "Demand", value_parser = amount)]
    messages: Option<f64>,
    /// Reels per person a day (0.1)
    #[arg(long, help_heading = "Demand", value_parser = amount)]
    reels: Option<f64>,
    /// People talking at the same time in the busiest hour, each once a minute. 0 spreads them evenly
    #[arg(long, help_heading = "Demand", value_name = "PEOPLE")]
    at_once: Option<u32>,
    /// `evening`, `flat`, or 24 hourly weights from 0:00 UTC, separated by commas (evening)
    #[arg(long, help_heading = "Demand", value_parser = curve)]
    curve: Option<Curve>,
    /// Different reels in circulation (1000; viral: 5000)
    #[arg(long, help_heading = "Demand", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    catalogue: Option<u32>,
    /// Zipf exponent of their popularity (1.1)
    #[arg(long, help_heading = "Demand", value_parser = amount)]
    zipf: Option<f64>,
    /// Average days a reel stays popular. 0: forever (0)
    #[arg(long, help_heading = "Demand", value_parser = amount)]
    circulates: Option<f64>,

    /// Direct lanes (REEL_LANES)
    #[arg(long, help_heading = "Reels", value_parser = clap::value_parser!(u32).range(0..=1000))]
    lanes: Option<u32>,
    /// n8n webhooks (N8N_WEBHOOK_URLS)
    #[arg(long, help_heading = "Reels", value_parser = clap::value_parser!(u32).range(0..=1000))]
    n8n: Option<u32>,
    /// Seconds of scraping, `5-10` or `7`
    #[arg(long, help_heading = "Reels", value_parser = times, value_name = "SECONDS")]
    scrape: Option<Times>,
    /// Seconds of analysis, `15-20`
    #[arg(long, help_heading = "Reels", value_parser = times, value_name = "SECONDS")]
    analysis: Option<Times>,
    /// Seconds of one webhook run, `20-30`
    #[arg(long, help_heading = "Reels", value_parser = times, value_name = "SECONDS")]
    n8n_seconds: Option<Times>,

    /// Coach's model (COACH_MODEL)
    #[arg(long, help_heading = "Answers")]
    model: Option<String>,
    /// Seconds to the first text of an answer, `1-3`
    #[arg(long, help_heading = "Answers", value_parser = times, value_name = "SECONDS")]
    first_text: Option<Times>,
    /// Seconds from there to its end, `2-6`
    #[arg(long, help_heading = "Answers", value_parser = times, value_name = "SECONDS")]
    writing: Option<Times>,
    /// Model calls per answer (1.2)
    #[arg(long, help_heading = "Answers", value_parser = amount)]
    calls: Option<f64>,
    /// Input tokens per answer, all calls together (4000)
    #[arg(long, help_heading = "Answers", value_name = "TOKENS", value_parser = clap::value_parser!(u64).range(0..=100_000_000))]
    input: Option<u64>,
    /// Share of the input read from cache, in % (80)
    #[arg(long, help_heading = "Answers", value_name = "PERCENT", value_parser = clap::value_parser!(u64).range(0..=100))]
    cached: Option<u64>,
    /// Output tokens per answer (350)
    #[arg(long, help_heading = "Answers", value_name = "TOKENS", value_parser = clap::value_parser!(u64).range(0..=100_000_000))]
    output: Option<u64>,
    /// OpenAI usage tier, 1 to 5 (the one that matches OPENAI_RPM and OPENAI_TPM)
    #[arg(long, help_heading = "Answers", value_parser = clap::value_parser!(u8).range(1..=5))]
    tier: Option<u8>,
    /// Requests per minute instead of the tier's
    #[arg(long, help_heading = "Answers", value_parser = amount)]
    rpm: Option<f64>,
    /// Tokens per minute instead of the tier's
    #[arg(long, help_heading = "Answers", value_parser = amount)]
    tpm: Option<f64>,
    /// Longest wait for OpenAI quota, in seconds (OPENAI_WAIT_SECONDS)
    #[arg(long, help_heading = "Answers", value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3600))]
    wait: Option<u32>,
    /// Tokens per day. Tiers have no such limit
    #[arg(long, help_heading = "Answers", value_parser = amount)]
    tpd: Option<f64>,

    /// Instances. Two or more share PostgreSQL (1)
    #[arg(long, help_heading = "Bot", value_parser = clap::value_parser!(u32).range(1..=100))]
    instances: Option<u32>,
    /// CPU cores per instance (2)
    #[arg(long, help_heading = "Bot", value_parser = clap::value_parser!(u32).range(1..=256))]
    cores: Option<u32>,
    /// CPU milliseconds per turn (7)
    #[arg(long, help_heading = "Bot", value_parser = minute, value_name = "MS")]
    cpu: Option<f64>,
    /// Database milliseconds per turn (3)
    #[arg(long, help_heading = "Bot", value_parser = minute, value_name = "MS")]
    database: Option<f64>,

    /// Day whose prices apply (the price table's)
    #[arg(long, help_heading = "Money", value_name = "YYYY-MM-DD")]
    at: Option<chrono::NaiveDate>,
    /// Dollars one subscriber pays a month (20)
    #[arg(long, help_heading = "Money", value_parser = amount, value_name = "USD")]
    subscription: Option<f64>,
    /// Dollars per instance or database server a month (20; small: 5)
    #[arg(long, help_heading = "Money", value_parser = amount, value_name = "USD")]
    hosting: Option<f64>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Named {
    Small,
    Growing,
    Viral,
}

/// Where a picture is written, and what it is.
#[derive(Clone, Debug)]
struct Picture {
    file: PathBuf,
    is_svg: bool,
}

/// 24 weights.
#[derive(Clone, Debug)]
struct Curve([f64; 24]);

pub async fn run(checked: &CheckedConfig, options: Options) -> anyhow::Result<ExitCode> {
    let CheckedConfig { config, prices, .. } = checked;
    let base = Plan::of(config, prices);
    let plans = if options.from_ledger {
        vec![measured(config, &base).await?]
    } else if options.people.is_some() && options.scenario.is_none() {
        vec![Plan { name: "yours".to_owned(), ..base }]
    } else {
        let wanted = options.scenario.map(|named| match named {
            Named::Small => Scenario::Small,
            Named::Growing => Scenario::Growing,
            Named::Viral => Scenario::Viral,
        });
        let all = Scenario::ALL.into_iter().filter(|scenario| wanted.is_none_or(|wanted| wanted == *scenario));
        all.map(|scenario| scenario.plan(&base)).collect()
    };
    let plans: Vec<Plan> = plans.into_iter().map(|plan| options.apply(plan)).collect();
    if plans.iter().any(|plan| plan.lanes().is_empty()) {
        anyhow::bail!("no lane at all, so no reel could be watched. Set --lanes or --n8n above 0");
    }
    if let Some(plan) = plans.iter().find(|plan| asks(plan) > MOST_ASKS) {
        anyhow::bail!(
            "plan “{}” needs {} messages and reels, warm-up included; I simulate up to {}. Lower --people, --messages, --reels or --days",
            plan.name,
            grouped(asks(plan)),
            grouped(MOST_ASKS)
        );
    }
    let reports: Vec<Report> = plans
        .iter()
        .map(|plan| report(plan, prices).with_context(|| format!("the plan “{}”", plan.name)))
        .collect::<anyhow::Result<_>>()?;
    if let Some(picture) = &options.chart {
        draw(&reports, options.from_ledger, picture)?;
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&json::of(&reports, prices))?);
    } else {
        print!("{}", table::of(&reports, prices, std::io::stdout().is_terminal()));
    }
    Ok(ExitCode::SUCCESS)
}

/// The picture that `/capacity` gives in a chat, on a light ground.
fn draw(reports: &[Report], from_ledger: bool, picture: &Picture) -> anyhow::Result<()> {
    let basis =
        if from_ledger { "when each is loaded most, planned from the ledger" } else { "when each is loaded most" };
    let loads = figures::loads(reports, basis);
    let painter = Painter::default();
    let content =
        if picture.is_svg { painter.svg(loads, Look::Light).into_bytes() } else { painter.png(loads, Look::Light)? };
    std::fs::write(&picture.file, content).with_context(|| format!("can't write {}", picture.file.display()))
}

/// The plan of the last 30 days.
async fn measured(config: &Config, base: &Plan) -> anyhow::Result<Plan> {
    telemetry::start_logs(config).map_err(anyhow::Error::msg)?;
    let store = Store::open(&config.database_url, 2).await?;
    store.tables().await?;
    let now = Clock::System.now();
    let measured = store.measured(now - PAST, now).await;
    store.close().await;
    let measured = measured?;
    if too_little(&measured) {
        anyhow::bail!(
            "the last 30 days hold {} answers in {:.1} days, too few to plan with. Without --from-ledger you get the example communities",
            measured.answers(),
            measured.days
        );
    }
    Ok(from_past(base, &measured))
}

impl Options {
    fn apply(&self, mut plan: Plan) -> Plan {
        plan.seed = self.seed;
        if let Demand::Daily(daily) = &mut plan.demand {
            let changes_crowd = self.people.is_some() || self.messages.is_some() || self.curve.is_some();
            set(&mut daily.people, self.people);
            set(&mut daily.messages_per_person, self.messages);
            set(&mut daily.reels_per_person, self.reels);
            set(&mut daily.curve, self.curve.as_ref().map(|curve| curve.0));
            match self.at_once {
                Some(people) => daily.at_once = Some(people).filter(|people| *people > 0),
                None if changes_crowd => daily.at_once = None,
                None => {}
            }
        }
        plan.span = self.days.map_or_else(|| enough(&plan), |days| DAY * days);
        set(&mut plan.popularity.catalogue, self.catalogue);
        set(&mut plan.popularity.exponent, self.zipf);
        if let Some(days) = self.circulates {
            plan.popularity.circulates = Some(days).filter(|days| *days > 0.0);
        }
        set(&mut plan.reels.direct_lanes, self.lanes);
        set(&mut plan.reels.n8n_lanes, self.n8n);
        set(&mut plan.reels.scrape, self.scrape.clone());
        set(&mut plan.reels.analysis, self.analysis.clone());
        set(&mut plan.reels.n8n, self.n8n_seconds.clone());
        let answers = &mut plan.answers;
        set(&mut answers.model, self.model.clone());
        set(&mut answers.first_text, self.first_text.clone());
        set(&mut answers.writing, self.writing.clone());
        set(&mut answers.calls, self.calls.map(|calls| calls.max(1.0)));
        set(&mut answers.message.output_tokens, self.output);
        if self.input.is_some() || self.cached.is_some() {
            let message = &mut answers.message;
            let share = |tokens: u64| (tokens * 100).checked_div(message.input_tokens).unwrap_or_default();
            let (cached, written) =
                (self.cached.unwrap_or(share(message.cached_tokens)), share(message.cache_write_tokens));
            set(&mut message.input_tokens, self.input);
            message.cached_tokens = message.input_tokens * cached / 100;
            message.cache_write_tokens = message.input_tokens * written.min(100 - cached) / 100;
        }
        // Limits that are configured and no tier's stay, whatever the model.
        if let Some(number) = self.tier.or(Some(plan.tier.number).filter(|number| *number > 0)) {
            plan.tier = Tier::of(number, &answers.model);
        }
        if self.rpm.is_some() || self.tpm.is_some() {
            // Limits by hand belong to no tier, so that there is no next one.
            plan.tier.number = 0;
        }
        plan.tier.requests_a_minute = self.rpm.or(plan.tier.requests_a_minute);
        plan.tier.tokens_a_minute = self.tpm.or(plan.tier.tokens_a_minute);
        plan.tier.tokens_a_day = self.tpd;
        set(&mut plan.answers.longest_wait, self.wait.map(|seconds| Duration::from_secs(seconds.into())));
        let bot = &mut plan.bot;
        set(&mut bot.instances, self.instances);
        if bot.instances > 1 {
            bot.database = Database::Postgres;
        }
        set(&mut bot.cores, self.cores);
        set(&mut bot.cpu, self.cpu.map(milliseconds));
        set(&mut bot.database_time, self.database.map(milliseconds));
        if let Some(day) = self.at {
            plan.money.at = Timestamp(day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_millis());
        }
        set(&mut plan.money.subscription, self.subscription.map(micro_usd));
        set(&mut plan.money.hosting_month, self.hosting.map(micro_usd));
        plan
    }
}

fn set<T>(place: &mut T, wanted: Option<T>) {
    if let Some(wanted) = wanted {
        *place = wanted;
    }
}

fn milliseconds(ms: f64) -> Duration {
    Duration::from_secs_f64(ms / 1000.0)
}

fn micro_usd(usd: f64) -> i64 {
    (usd * 1e6).round() as i64
}

/// A number that is not negative, nor so large that sums of it overflow.
fn amount(text: &str) -> Result<f64, String> {
    up_to(1e9, "a billion")(text)
}

/// Milliseconds, a minute at most.
fn minute(text: &str) -> Result<f64, String> {
    up_to(60_000.0, "60000")(text)
}

fn up_to(most: f64, told: &str) -> impl Fn(&str) -> Result<f64, String> {
    move |text| match text.parse::<f64>() {
        Ok(number) if (0.0..=most).contains(&number) => Ok(number),
        _ => Err(format!("give a number from 0 to {told}")),
    }
}

/// `7` or `5-10`, in seconds.
fn times(text: &str) -> Result<Times, String> {
    let (least, most) = text.split_once('-').unwrap_or((text, text));
    match (least.trim().parse::<f64>(), most.trim().parse::<f64>()) {
        (Ok(least), Ok(most)) if 0.0 <= least && least <= most && most <= 86_400.0 => {
            Ok(Times::Between(Duration::from_secs_f64(least), Duration::from_secs_f64(most)))
        }
        _ => Err("give seconds, for example 7 or 5-10".to_owned()),
    }
}

fn picture(text: &str) -> Result<Picture, String> {
    let file = PathBuf::from(text);
    let ending = file.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
    match ending.as_deref() {
        Some("png") => Ok(Picture { file, is_svg: false }),
        Some("svg") => Ok(Picture { file, is_svg: true }),
        _ => Err("give a file ending in .png or .svg".to_owned()),
    }
}

fn curve(text: &str) -> Result<Curve, String> {
    match text {
        "evening" => return Ok(Curve(EVENING)),
        "flat" => return Ok(Curve(FLAT)),
        _ => {}
    }
    let weights: Result<Vec<f64>, String> = text.split(',').map(|weight| amount(weight.trim())).collect();
    let weights: [f64; 24] = weights?.try_into().map_err(|_| "give 24 weights, or evening, or flat".to_owned())?;
    if weights.iter().sum::<f64>() > 0.0 {
        Ok(Curve(weights))
    } else {
        Err("at least one weight must be above 0".to_owned())
    }
}
