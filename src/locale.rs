//! The sentences that people read: `locales/en/reelcoach.ftl` in Fluent's syntax, and [`fl!`](crate::fl), which checks ids and
//! arguments while compiling. Which language is spoken is decided here alone, in [`language`].

use std::borrow::Cow;
use std::sync::LazyLock;

use i18n_embed::fluent::FluentLanguageLoader;
use i18n_embed::unic_langid::LanguageIdentifier;
use i18n_embed::{I18nAssets, LanguageLoader};

/// English, which is complete, and the reference for every other language.
const ENGLISH: &str = include_str!("../locales/en/reelcoach.ftl");

/// The texts as they are compiled in.
struct Compiled;

impl I18nAssets for Compiled {
    fn get_files(&self, path: &str) -> Vec<Cow<'_, [u8]>> {
        match path {
            "en/reelcoach.ftl" => vec![Cow::Borrowed(ENGLISH.as_bytes())],
            _ => Vec::new(),
        }
    }

    fn filenames_iter(&self) -> Box<dyn Iterator<Item = String> + '_> {
        Box::new(std::iter::once("en/reelcoach.ftl".to_owned()))
    }
}

/// The language of a sentence: English. Built once; looking a sentence up takes about 10 µs in a debug build.
#[must_use]
pub fn language() -> &'static FluentLanguageLoader {
    static ENGLISH: LazyLock<FluentLanguageLoader> = LazyLock::new(|| {
        let english: LanguageIdentifier = "en".parse().unwrap_or_default();
        let loader = FluentLanguageLoader::new("reelcoach", english.clone());
        if let Err(error) = loader.load_languages(&Compiled, &[english]) {
            // What is compiled in is there, and a test reads it.
            tracing::error!("the sentences cannot be loaded: {error}");
        }
        // Marks around each value would be glued to links, commands and numbers.
        loader.set_use_isolating(false);
        loader
    });
    &ENGLISH
}

/// The sentence of an id with its arguments: `fl!("queue-several", count = 3, interval = "30 s")`. Both are checked against
/// English while compiling.
#[macro_export]
macro_rules! fl {
    ($id:literal $(, $name:ident = $value:expr)* $(,)?) => {
        i18n_embed_fl::fl!($crate::locale::language(), $id $(, $name = ($value))*)
    };
}

pub use crate::fl;

#[cfg(test)]
mod tests;
