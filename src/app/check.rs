//! What a configuration must fulfil beyond the form of each variable: models with a price, efforts they take, files
//! that can be read.

use crate::config::{Config, Fault};
use crate::core::alerts::Thresholds;
use crate::core::money::Prices;
use crate::telemetry;
use crate::upstream::openai::{Effort, efforts};
use crate::upstream::video::Origin;

/// Everything that is wrong with a well-formed configuration.
pub fn faults(config: &Config) -> Vec<Fault> {
    let mut faults = Vec::new();
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
    let prices = Prices::load(config.money.prices_file.as_deref()).unwrap_or_else(|problem| {
        faults.push(Fault {
            name: "PRICES_FILE",
            problem,
            mend: "Give a JSON file in the format of src/core/prices.json, or leave it empty".into(),
        });
        Prices::built_in()
    });
    if let Err(problem) = Thresholds::read(&config.alerts.thresholds) {
        faults.push(Fault {
            name: "ALERTS",
            problem,
            mend: "Give rule=number or rule=off, separated by commas, with the rules of docs/monitoring.md".into(),
        });
    }
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
    let given = [
        ("COACH_EFFORT", &coach.effort, &coach.model),
        ("ECONOMY_EFFORT", &coach.economy_effort, &coach.economy_model),
    ];
    for (name, effort, model) in given {
        let Some(effort) = effort else { continue };
        let taken = efforts(model);
        let known: Option<Effort> = effort.parse().ok();
        let fits = known.is_some_and(|effort| taken.is_none_or(|taken| taken.contains(&effort)));
        if !fits {
            let choice = match taken {
                Some(taken) => taken.iter().map(|effort| effort.name()).collect::<Vec<_>>().join(", "),
                None => "none, minimal, low, medium, high, xhigh, max".into(),
            };
            faults.push(Fault {
                name,
                problem: format!(
                    "{model} doesn't support the effort “{}”",
                    effort.chars().take(20).collect::<String>()
                ),
                mend: format!("Use one of: {choice}"),
            });
        }
    }
    if let Some(file) = &coach.prompt_file {
        match std::fs::read_to_string(file) {
            Ok(text) if text.trim().is_empty() => faults.push(Fault {
                name: "COACH_PROMPT_FILE",
                problem: format!("{} is empty", file.display()),
                mend: "Write the coach's persona and rules into it, or leave the variable empty".into(),
            }),
            Ok(_) => {}
            Err(error) => faults.push(Fault {
                name: "COACH_PROMPT_FILE",
                problem: format!("can't read {} ({error})", file.display()),
                mend: "Give the path of a Markdown file, or leave it empty for the built-in one".into(),
            }),
        }
    }
    for origin in &config.reels.media_origins {
        if origin.parse::<Origin>().is_err() {
            faults.push(Fault {
                name: "MEDIA_ORIGINS",
                problem: format!("“{}” isn't an origin", origin.chars().take(40).collect::<String>()),
                mend: "Give origins such as https://*.cdninstagram.com, separated by commas".into(),
            });
        }
    }
    faults
}
