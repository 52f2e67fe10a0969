//! The scores: each makes one number of a picture, the higher the odder, and a map of where.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::map::{PixelMap, SIDE};
use super::score_maps::ScoreMaps;
use super::typical::FilterStatistics;
use crate::Error;

/// Share of pixels that [`Score::Top`] looks at.
const TOP: f64 = 0.01;

/// How odd a picture is, by one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Score {
    /// Its nats under the model.
    Likelihood,
    /// Its nats beyond the reference's: a plain likelihood calls busy pictures odd.
    Excess,
    /// Mean nats of the most surprising hundredth of its pixels.
    Top,
    /// The largest mean of nats over a window.
    Window,
    /// The largest mean over a window of nats beyond the reference's.
    LocalExcess,
    /// Straight lines and small windows with more nats than the model itself expects, and large windows with fewer: how much
    /// further than in good pictures, in robust standard deviations, the furthest of all. To either side, since what is too
    /// smooth is odd, too.
    Typical,
    /// The largest mean over a window of how far the network's features at a pixel are from the nearest of a bank of good
    /// pictures' (the idea of PatchCore).
    Features,
}

impl Score {
    /// All of them, the simplest first.
    pub const ALL: [Self; 7] =
        [Self::Likelihood, Self::Excess, Self::Top, Self::Window, Self::LocalExcess, Self::Typical, Self::Features];

    /// What is taken unless another is asked for.
    pub const DEFAULT: Self = Self::Typical;

    /// Its name in flags and files.
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

    /// Whether it asks what the model expected each pixel to cost.
    pub fn needs_expectation(self) -> bool {
        self == Self::Typical
    }

    /// Whether it asks how far features are from those of a bank.
    pub fn needs_bank(self) -> bool {
        self == Self::Features
    }

    /// Whether it compares with [`FilterStatistics`] of good pictures.
    pub fn needs_statistics(self) -> bool {
        self == Self::Typical
    }

    /// The picture's number and its map. Panics without the statistics that it needs.
    pub fn judge(self, maps: &ScoreMaps, statistics: Option<&FilterStatistics>) -> (f64, PixelMap) {
        let ScoreMaps { surprise, reference, .. } = maps;
        let beyond = || surprise.minus(reference);
        match self {
            Self::Likelihood => (surprise.sum(), surprise.clone()),
            // The difference of the sums, as in `igpt score`: not the sum of the differences, which rounds otherwise.
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
