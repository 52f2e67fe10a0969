//! Ranges of numeric settings.

/// Range of the numbers that a setting may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allowed {
    /// Above 0.
    Positive,
    /// At least 0.
    NotNegative,
    /// From 0 to below 1.
    BelowOne,
    /// Above 0 and below 1.
    Inside,
}

impl Allowed {
    /// Whether `value` lies in the range.
    pub(super) fn has(self, value: f64) -> bool {
        let is = match self {
            Self::Positive => value > 0.0,
            Self::NotNegative => value >= 0.0,
            Self::BelowOne => (0.0..1.0).contains(&value),
            Self::Inside => value > 0.0 && value < 1.0,
        };
        is && value.is_finite()
    }

    /// The range in words, for error messages.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Positive => "above 0",
            Self::NotNegative => "at least 0",
            Self::BelowOne => "from 0 to below 1",
            Self::Inside => "above 0 and below 1",
        }
    }
}
