//! The configuration with all that it names: files that were read, models with a price, efforts that they take. What is
//! wrong is found here, once; nothing behind it reads a file or a word of the configuration again.

use crate::config::{Config, Environment, Fault};
use crate::core::alerts::Thresholds;
use crate::core::coach;
use crate::core::money::Prices;
use crate::telemetry;
use crate::upstream::openai::{Effort, efforts};

/// What the program runs with.
#[derive(Clone, Debug)]
pub struct CheckedConfig {
    pub config: Config,
    /// The built-in prices, or those of `PRICES_FILE`.
    pub prices: Prices,
    /// From when on the alerts of `ALERTS` are raised.
    pub thresholds: Thresholds,
    /// The coach's persona and rules: those of `COACH_PROMPT_FILE`, or the built-in ones.
    pub persona: String,
}

impl CheckedConfig {
    /// Reads everything. With faults, it holds defaults in their place and must not be run.
    pub fn read(environment: &Environment) -> (CheckedConfig, Vec<Fault>) {
        let (config, mut faults) = Config::read(environment);
        check_forms(&config, &mut faults);
        let prices = prices(&config, &mut faults);
        let thresholds = Thresholds::read(&config.alerts.thresholds).unwrap_or_else(|problem| {
            faults.push(Fault {
                name: "ALERTS",
                problem,
                mend: "Give rule=number or rule=off, separated by commas, with the rules of docs/monitoring.md".into(),
            });
            Thresholds::default()
        });
        check_models(&config, &prices, &mut faults);
        let persona = persona(&config, &mut faults);
        (CheckedConfig { config, prices, thresholds, persona }, faults)
    }
}

fn check_forms(config: &Config, faults: &mut Vec<Fault>) {
    if telemetry::filter(&config.log).is_err() {
        faults.push(Fault {
            name: "LOG",
            problem: "not a log filter".into(),
            mend: "Give a level (error, warn, info, debug) or a filter such as info,reelcoach=debug".into(),
        });
    }
    if !["sqlite:", "postgres:", "postgresql:"].iter().any(|scheme| config.database_url.starts_with(scheme)) {
        faults.push(Fault {
            name: "DATABASE_URL",
            problem: "not the address of a database".into(),
            mend: "Give sqlite://path or postgres://user:password@host/database".into(),
        });
    }
}

fn prices(config: &Config, faults: &mut Vec<Fault>) -> Prices {
    Prices::load(config.money.prices_file.as_deref()).unwrap_or_else(|problem| {
        faults.push(Fault {
            name: "PRICES_FILE",
            problem,
            mend: "Give a JSON file in the format of src/core/prices.json, or leave it empty".into(),
        });
        Prices::built_in()
    })
}

/// Each model has a price, and takes the effort that it is asked for.
fn check_models(config: &Config, prices: &Prices, faults: &mut Vec<Fault>) {
    let coach = &config.coach;
    let models = [
        ("COACH_MODEL", &coach.model, "openai"),
        ("ECONOMY_MODEL", &coach.economy_model, "openai"),
        ("GEMINI_MODEL", &config.gemini.model, "gemini"),
    ];
    for (name, model, provider) in models {
        if prices.provider_of(model) != Some(provider) {
            faults.push(Fault {
                name,
                problem: format!("the price of “{model}” is unknown, so its cost couldn't be counted"),
                mend: "Use a model from the price table (docs/models-and-money.md), or add its prices to PRICES_FILE"
                    .into(),
            });
        }
    }
    let given =
        [("COACH_EFFORT", coach.effort, &coach.model), ("ECONOMY_EFFORT", coach.economy_effort, &coach.economy_model)];
    for (name, effort, model) in given {
        let (Some(effort), Some(taken)) = (effort, efforts(model)) else { continue };
        if !taken.contains(&effort) {
            let choice = match taken {
                [] => "Leave it empty: this model doesn't reason".into(),
                taken => {
                    format!("Use one of: {}", taken.iter().map(|e: &Effort| e.name()).collect::<Vec<_>>().join(", "))
                }
            };
            faults.push(Fault {
                name,
                problem: format!("{model} doesn't support the effort “{effort}”"),
                mend: choice,
            });
        }
    }
}

fn persona(config: &Config, faults: &mut Vec<Fault>) -> String {
    let Some(file) = &config.coach.prompt_file else { return coach::PROMPT.to_owned() };
    let (problem, mend) = match std::fs::read_to_string(file) {
        Ok(text) if text.trim().is_empty() => (
            format!("{} is empty", file.display()),
            "Write the coach's persona and rules into it, or leave the variable empty",
        ),
        Ok(text) => return text,
        Err(error) => (
            format!("can't read {} ({error})", file.display()),
            "Give the path of a Markdown file, or leave it empty for the built-in one",
        ),
    };
    faults.push(Fault { name: "COACH_PROMPT_FILE", problem, mend: mend.into() });
    coach::PROMPT.to_owned()
}
