//! The forms of the variables: how a number, a list, an amount or an address is written, and what a fault in it says.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use secrecy::SecretString;

use super::variables::VARIABLES;
use super::{Environment, Fault, Origin};

/// No daily or server budget is cut smaller where none is set: it covers a few reels.
const LEAST_SHARE_MICRO_USD: i64 = 1_000_000;

/// Reads one variable after the other, and gathers what is wrong with them.
pub(super) struct Reader<'a> {
    pub environment: &'a Environment,
    pub faults: Vec<Fault>,
}

impl Reader<'_> {
    pub fn fault(&mut self, name: &'static str, problem: impl Into<String>, mend: impl Into<String>) {
        self.faults.push(Fault { name, problem: problem.into(), mend: mend.into() });
    }

    /// The value or the default of a variable, which must be in the table.
    pub fn raw(&self, name: &'static str) -> Option<String> {
        let default = VARIABLES.iter().find(|v| v.name == name).map(|v| v.default).unwrap_or_default();
        self.environment.get(name).or(Some(default).filter(|d| !d.is_empty())).map(str::to_owned)
    }

    pub fn text(&self, name: &'static str) -> String {
        self.raw(name).unwrap_or_default()
    }

    pub fn secret(&self, name: &'static str) -> Option<SecretString> {
        self.raw(name).map(SecretString::from)
    }

    pub fn parsed<T: FromStr>(&mut self, name: &'static str, mend: &str) -> Option<T> {
        let text = self.raw(name)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(_) => {
                self.fault(name, format!("can't read “{}”", shorten(&text)), mend);
                None
            }
        }
    }

    pub fn number<T: FromStr + PartialOrd + Copy + fmt::Display>(
        &mut self,
        name: &'static str,
        range: RangeInclusive<T>,
    ) -> T {
        let mend = format!("Give a whole number from {} to {}", range.start(), range.end());
        match self.parsed::<T>(name, &mend) {
            Some(value) if range.contains(&value) => value,
            Some(value) => {
                self.fault(name, format!("{value} is out of range"), mend);
                *range.start()
            }
            None => *range.start(),
        }
    }

    pub fn switch(&mut self, name: &'static str) -> bool {
        self.word(name, &["false", "true"]) == "true"
    }

    pub fn word(&mut self, name: &'static str, words: &[&'static str]) -> &'static str {
        let text = self.text(name).to_lowercase();
        match words.iter().find(|word| **word == text) {
            Some(word) => word,
            None => {
                self.fault(
                    name,
                    format!("can't read “{}”", shorten(&text)),
                    format!("Use one of: {}", words.join(", ")),
                );
                words.first().copied().unwrap_or_default()
            }
        }
    }

    pub fn list(&self, name: &'static str) -> Vec<String> {
        self.text(name).split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
    }

    pub fn origins(&mut self, name: &'static str) -> Vec<Origin> {
        let mut origins = Vec::new();
        for text in self.list(name) {
            match text.parse() {
                Ok(origin) => origins.push(origin),
                Err(_) => self.fault(
                    name,
                    format!("“{}” isn't an origin", shorten(&text)),
                    "Give origins such as https://*.cdninstagram.com, separated by commas",
                ),
            }
        }
        origins
    }

    /// One value for all of them, or one for each.
    pub fn for_each<T: Clone>(&mut self, name: &'static str, values: Vec<T>, count: usize) -> Vec<T> {
        let mend = "Give one value for all webhooks, or one per webhook in the order of N8N_WEBHOOK_URLS";
        match &values[..] {
            [] if count > 0 => self.fault(name, "not set, but N8N_WEBHOOK_URLS is", mend),
            [one] => return vec![one.clone(); count],
            many if count > 0 && many.len() != count => {
                self.fault(name, format!("{} values for {count} webhooks", many.len()), mend);
            }
            _ => {}
        }
        values
    }

    pub fn admins(&mut self, name: &'static str) -> BTreeSet<String> {
        let ids: BTreeSet<String> = self.list(name).into_iter().collect();
        if ids.iter().any(|id| !matches!(id.split_once(':'), Some(("discord" | "telegram" | "console", account)) if !account.is_empty())) {
            self.fault(name, "one entry can't be read", "Give platform:id, such as discord:80351110224678912,telegram:42");
        }
        ids
    }

    /// Dollars as micro-dollars, or none.
    pub fn budget(&mut self, name: &'static str) -> Option<i64> {
        if self.text(name).eq_ignore_ascii_case("none") {
            return None;
        }
        Some(self.dollars_up_to(name, 1e6, "Give US dollars above 0, such as 100, or none"))
    }

    /// The same; where nothing is set, the `share`th part of what the bot may spend in a month, so that no single day and no
    /// single server uses up everybody's month. A small month is not cut into parts that cover no reel.
    pub fn budget_or_share(&mut self, name: &'static str, bot_month: Option<i64>, share: i64) -> Option<i64> {
        match self.text(name).is_empty() {
            true => bot_month.map(|month| (month / share).max(month.min(LEAST_SHARE_MICRO_USD))),
            false => self.budget(name),
        }
    }

    /// Dollars as micro-dollars.
    pub fn dollars(&mut self, name: &'static str) -> i64 {
        self.dollars_up_to(name, 100.0, "Give US dollars above 0 and up to 100, such as 0.02")
    }

    pub fn dollars_up_to(&mut self, name: &'static str, most: f64, mend: &str) -> i64 {
        match self.parsed::<f64>(name, mend) {
            Some(usd) if usd > 0.0 && usd <= most => (usd * 1e6).round() as i64,
            Some(usd) => {
                self.fault(name, format!("{usd} is out of range"), mend);
                1
            }
            None => 1,
        }
    }

    pub fn speed(&mut self, name: &'static str) -> f64 {
        let mend = "Give a factor from 0.01 (slow) to 1000 (instant), such as 1";
        match self.parsed::<f64>(name, mend) {
            Some(speed) if (0.01..=1000.0).contains(&speed) => speed,
            Some(_) => {
                self.fault(name, "out of range", mend);
                1.0
            }
            None => 1.0,
        }
    }
}

/// Enough of a wrong value to recognise it by.
pub(super) fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(24).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
