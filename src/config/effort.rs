//! How hard a model is told to think, by OpenAI's words for it. Which model takes which word is not known here.

use std::fmt;
use std::str::FromStr;

/// `reasoning.effort`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Effort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    XHigh,
    Max,
}

impl Effort {
    /// From the least to the most.
    pub const ALL: [Effort; 7] =
        [Effort::None, Effort::Minimal, Effort::Low, Effort::Medium, Effort::High, Effort::XHigh, Effort::Max];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Effort::None => "none",
            Effort::Minimal => "minimal",
            Effort::Low => "low",
            Effort::Medium => "medium",
            Effort::High => "high",
            Effort::XHigh => "xhigh",
            Effort::Max => "max",
        }
    }
}

impl fmt::Display for Effort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Not one of the names in [`Effort::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected one of none, minimal, low, medium, high, xhigh, max")]
pub struct UnknownEffort;

impl FromStr for Effort {
    type Err = UnknownEffort;

    fn from_str(name: &str) -> Result<Self, UnknownEffort> {
        let name = name.trim().to_ascii_lowercase();
        Effort::ALL.into_iter().find(|effort| effort.name() == name).ok_or(UnknownEffort)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_round_trips() {
        for effort in Effort::ALL {
            assert_eq!(effort.name().parse(), Ok(effort));
        }
        assert_eq!(" High ".parse(), Ok(Effort::High));
        assert_eq!("".parse::<Effort>(), Err(UnknownEffort));
        assert_eq!("ultra".parse::<Effort>(), Err(UnknownEffort));
    }
}
