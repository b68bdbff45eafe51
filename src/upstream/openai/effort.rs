//! How hard a model is told to think, which model takes which word for it, and how long it may take. Knows no prices.

use std::time::Duration;

use crate::config::Effort;

/// How long a call may take. The harder a model thinks, the longer it is silent: thoughts of 8.5 minutes without a word
/// have been seen of gpt-6-astra.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// The longest time without a byte: from the request to the first one, and between two. Keep-alive events and
    /// comments count.
    pub silence: Duration,
    /// A call with its free attempts and the pauses between them.
    pub total: Duration,
}

impl Deadlines {
    /// `None`: the model thinks as hard as it does by itself, which is `medium` as far as is documented.
    pub fn of(effort: Option<Effort>) -> Self {
        let (silence, total) = match effort.unwrap_or(Effort::Medium) {
            Effort::None | Effort::Minimal | Effort::Low => (1, 5),
            Effort::Medium => (2, 10),
            Effort::High => (5, 20),
            Effort::XHigh => (10, 30),
            Effort::Max => (15, 45),
        };
        Self { silence: Duration::from_secs(60 * silence), total: Duration::from_secs(60 * total) }
    }
}

/// Which efforts a model takes; any other is refused with HTTP 400. An empty list: the model does not
/// reason and takes none. `None`: an unknown model, for which anything may be right.
///
/// Sources: models.dev of 2026-07-02, OpenAI's model pages and LiteLLM's documentation of October 2026.
pub fn efforts(model: &str) -> Option<&'static [Effort]> {
    use Effort::{High, Low, Max, Medium, Minimal, None as Off, XHigh};
    match undated(model) {
        "gpt-5" | "gpt-5-mini" | "gpt-5-nano" => Some(&[Minimal, Low, Medium, High]),
        "gpt-5.4-mini" => Some(&[Off, Low, Medium, High, XHigh]),
        "gpt-5.6-luna" | "gpt-6-luna" | "gpt-6-sol" | "gpt-6.1-terra" => Some(&[Off, Low, Medium, High, XHigh, Max]),
        "gpt-6.1-sol" | "gpt-6.2-sol" | "gpt-6-astra" | "gpt-6.2-astra" => Some(&[Low, Medium, High, XHigh, Max]),
        name if name.starts_with("gpt-4") || name.starts_with("gpt-3") || name.ends_with("chat-latest") => Some(&[]),
        _ => None,
    }
}

/// The name without the date of a snapshot: `gpt-5-mini-2025-08-07` is a `gpt-5-mini`.
fn undated(model: &str) -> &str {
    let Some(at) = model.len().checked_sub("-2025-08-07".len()).filter(|at| model.is_char_boundary(*at)) else {
        return model;
    };
    let (name, date) = model.split_at(at);
    let is_date =
        date.bytes().enumerate().all(|(i, b)| if matches!(i, 0 | 5 | 8) { b == b'-' } else { b.is_ascii_digit() });
    if is_date { name } else { model }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_harder_it_thinks_the_longer_it_may_take() {
        let all = Effort::ALL.map(|effort| Deadlines::of(Some(effort)));
        assert!(all.is_sorted_by_key(|deadlines| (deadlines.silence, deadlines.total)));
        assert!(
            all.iter().all(|deadlines| deadlines.total >= deadlines.silence * 3),
            "a long thought may follow another"
        );
        assert!(Deadlines::of(Some(Effort::Max)).silence > Duration::from_secs(8 * 60 + 30));
        assert_eq!(Deadlines::of(None), Deadlines::of(Some(Effort::Medium)));
    }

    #[test]
    fn minimal_is_for_the_gpt_5_generation_only() {
        let takes = |model, effort| efforts(model).map(|all| all.contains(&effort));
        for (model, minimal, none, max) in [
            ("gpt-5", true, false, false),
            ("gpt-5-mini-2025-08-07", true, false, false),
            ("gpt-5.4-mini", false, true, false),
            ("gpt-6-luna", false, true, true),
            ("gpt-6.1-terra", false, true, true),
            ("gpt-6.1-sol", false, false, true),
            ("gpt-6.2-astra", false, false, true),
            ("gpt-4.1-mini", false, false, false),
        ] {
            assert_eq!(takes(model, Effort::Minimal), Some(minimal), "{model}");
            assert_eq!(takes(model, Effort::None), Some(none), "{model}");
            assert_eq!(takes(model, Effort::Max), Some(max), "{model}");
        }
    }

    #[test]
    fn an_unknown_model_may_take_anything() {
        for model in ["gpt-7-luna", "gpt-5.1", "gpt-5-20250807", "", "é-2025-08-07é", "my-own-model"] {
            assert_eq!(efforts(model), None, "{model}");
        }
    }
}
