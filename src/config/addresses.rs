//! How addresses are read: of the outside world, of webhooks, and the bot's own.

use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::reader::Reader;
use super::{N8nWebhook, VARIABLES};

impl Reader<'_> {
    pub(super) fn url(&mut self, name: &'static str) -> Option<Url> {
        let url: Url = self.parsed(name, "Give a full address such as https://example.org")?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            self.fault(name, "not an http or https address", "Give a full address such as https://example.org");
            return None;
        }
        Some(url)
    }

    pub(super) fn required_url(&mut self, name: &'static str) -> Url {
        let default = VARIABLES.iter().find(|v| v.name == name).map(|v| v.default).unwrap_or_default();
        match self.url(name) {
            Some(url) => url,
            // The default is an address: the table's test says so.
            None => Url::parse(default).unwrap_or_else(|_| unreachable!("{name} has no valid default")),
        }
    }

    pub(super) fn webhooks(
        &mut self,
        name: &'static str,
        secret: &'static str,
        deadline: &'static str,
    ) -> Vec<N8nWebhook> {
        let mut urls = Vec::new();
        for text in self.list(name) {
            match Url::parse(&text) {
                Ok(url) if matches!(url.scheme(), "http" | "https") => urls.push(url),
                _ => self.fault(name, "one address can't be read", "Give full addresses, separated by commas"),
            }
        }
        if urls.len() > 5 {
            self.fault(name, format!("{} addresses", urls.len()), "Give at most 5");
        }
        if urls.iter().any(|url| url.path().contains("/webhook-test/")) {
            self.fault(
                name,
                "a test address, which n8n forgets after one call",
                "Give the workflow's Production URL (/webhook/…)",
            );
        }
        let own = self.list(secret).into_iter().map(SecretString::from).collect();
        let secrets = self.for_each(secret, own, urls.len());
        let mut deadlines = Vec::new();
        for text in self.list(deadline) {
            match text.parse() {
                Ok(seconds @ 10..=3600) => deadlines.push(Duration::from_secs(seconds)),
                _ => self.fault(deadline, "can't be read", "Give whole numbers from 10 to 3600"),
            }
        }
        let deadlines = self.for_each(deadline, deadlines, urls.len());
        let parts = urls.into_iter().zip(secrets).zip(deadlines);
        parts.map(|((url, secret), deadline)| N8nWebhook { url, secret, deadline }).collect()
    }

    /// Full addresses, separated by commas; only their hosts matter.
    pub(super) fn urls(&mut self, name: &'static str) -> Vec<Url> {
        let mut urls = Vec::new();
        for text in self.list(name) {
            match Url::parse(&text) {
                Ok(url) if matches!(url.scheme(), "http" | "https") && url.host().is_some() => urls.push(url),
                _ => self.fault(
                    name,
                    format!("“{}” isn't an http or https address", super::reader::shorten(&text)),
                    "Give full addresses such as https://coach.example.org, separated by commas",
                ),
            }
        }
        urls
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Environment};

    #[test]
    fn public_addresses_are_read() {
        let read = |text: &str| {
            let environment: Environment = [("PUBLIC_URL".to_owned(), text.to_owned())].into_iter().collect();
            let (config, faults) = Config::read(&environment);
            let faults: Vec<_> = faults.into_iter().filter(|fault| fault.name == "PUBLIC_URL").collect();
            (config.public_urls.iter().map(ToString::to_string).collect::<Vec<_>>(), faults.len())
        };
        assert_eq!(read(""), (vec![], 0));
        let both = "https://coach.example.org, http://10.0.0.7:8080/";
        assert_eq!(read(both), (vec!["https://coach.example.org/".into(), "http://10.0.0.7:8080/".into()], 0));
        for wrong in ["coach.example.org", "ftp://coach.example.org", "https://", "localhost:8080"] {
            assert_eq!(read(wrong), (vec![], 1), "{wrong}");
        }
    }
}
