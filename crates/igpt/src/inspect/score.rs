//! Scores: each returns a number for a picture, the higher the odder, and a map of where it is odd.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::map::{PixelMap, SIDE};
use super::score_maps::ScoreMaps;
use super::typical::FilterStatistics;
use crate::Error;

/// Share of pixels that [`Score::Top`] averages.
const TOP: f64 = 0.01;

/// Score: a rule that measures how odd a picture is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Score {
    /// Negative log-likelihood of the picture under the model, in nats.
    Likelihood,
    /// Nats under the model in excess of those under the reference.
    ///
    /// A plain likelihood calls busy pictures odd.
    Excess,
    /// Mean nats of the most surprising hundredth of the picture's pixels.
    Top,
    /// Largest mean of nats over a window.
    Window,
    /// Largest mean over a window of nats in excess of the reference's.
    LocalExcess,
    /// Largest deviation of three filters' responses from those in good pictures, in robust standard deviations.
    ///
    /// The filters look for straight lines and small windows with more nats than the model itself expects, and for
    /// large windows with fewer. Both directions count, because what is too smooth is odd, too.
    Typical,
    /// Largest mean over a window of the distance between a pixel's features and their nearest neighbour in a memory
    /// bank.
    ///
    /// The bank holds features of good pictures (the idea of PatchCore).
    Features,
}

impl Score {
    /// All scores, the simplest first.
    pub const ALL: [Self; 7] =
        [Self::Likelihood, Self::Excess, Self::Top, Self::Window, Self::LocalExcess, Self::Typical, Self::Features];

    /// Default score.
    pub const DEFAULT: Self = Self::Typical;

    /// Name of the score in flags and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Likelihood => "likelihood",
            Self::Excess => "excess",
            Self::Top => "top",
            Self::Window => "window",
            Self::LocalExcess => "local-excess",
            Self::Typical => "typical",
            Self::Features => "features",
        }
    }

    /// Returns whether the score needs the model's own expectation of each pixel's nats.
    pub fn needs_expectation(self) -> bool {
        self == Self::Typical
    }

    /// Returns whether the score needs distances to a memory bank of features.
    pub fn needs_bank(self) -> bool {
        self == Self::Features
    }

    /// Returns whether the score needs [`FilterStatistics`] of good pictures.
    pub fn needs_statistics(self) -> bool {
        self == Self::Typical
    }

    /// Returns the picture's score and its map.
    ///
    /// # Panics
    /// Without the statistics or maps that the score needs.
    pub fn judge(self, maps: &ScoreMaps, statistics: Option<&FilterStatistics>) -> (f64, PixelMap) {
        let ScoreMaps { surprise, reference, .. } = maps;
        let beyond = || surprise.minus(reference);
        match self {
            Self::Likelihood => (surprise.sum(), surprise.clone()),
            // The difference of the sums, as in `igpt score`. The sum of the differences would round otherwise.
            Self::Excess => (surprise.sum() - reference.sum(), beyond()),
            Self::Top => (surprise.top(TOP), surprise.clone()),
            Self::Window => by_largest(surprise.windows(SIDE)),
            Self::LocalExcess => by_largest(beyond().windows(SIDE)),
            Self::Typical => {
                let statistics = statistics.expect("a fit has the statistics that its score needs");
                by_largest(statistics.deviations(maps))
            }
            Self::Features => {
                let distance = maps.distance.as_ref().expect("a score's maps has what the score needs");
                by_largest(distance.windows(SIDE))
            }
        }
    }
}

fn by_largest(map: PixelMap) -> (f64, PixelMap) {
    (map.max(), map)
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Score {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|score| score.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::Invalid(format!("no score is called {name:?}: say one of {names}"))
        })
    }
}
