//! The scores: each makes one number of a picture, the higher the odder, and a map of where.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::evidence::{Evidence, Needs};
use super::map::{Map, SIDE};
use super::typical::Statistics;
use crate::Error;

/// Share of pixels that [`Score::Top`] looks at.
const TOP: f64 = 0.01;

/// How odd a picture is, by one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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
    /// How far a window's mean of nats is from what it is in good pictures, in standard deviations, the largest of all
    /// windows: to either side, since what is too predictable is odd, too.
    Typical,
}

impl Score {
    /// All of them, the simplest first.
    pub const ALL: [Self; 6] =
        [Self::Likelihood, Self::Excess, Self::Top, Self::Window, Self::LocalExcess, Self::Typical];

    /// What is taken unless another is asked for.
    pub const DEFAULT: Self = Self::LocalExcess;

    /// Its name in flags and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Likelihood => "likelihood",
            Self::Excess => "excess",
            Self::Top => "top",
            Self::Window => "window",
            Self::LocalExcess => "local-excess",
            Self::Typical => "typical",
        }
    }

    /// What it asks of the model.
    pub fn needs(self) -> Needs {
        Needs { expectation: false }
    }

    /// Whether it compares with [`Statistics`] of good pictures.
    pub fn needs_statistics(self) -> bool {
        self == Self::Typical
    }

    /// The picture's number and its map. Panics without the statistics that it needs.
    pub fn judge(self, evidence: &Evidence, statistics: Option<&Statistics>) -> (f64, Map) {
        let Evidence { surprise, reference, .. } = evidence;
        let beyond = || {
            let values = surprise.values.iter().zip(&reference.values).map(|(nats, reference)| nats - reference);
            Map::new(surprise.size, values.collect())
        };
        match self {
            Self::Likelihood => (surprise.sum(), surprise.clone()),
            // The difference of the sums, as in `igpt score`: not the sum of the differences, which rounds otherwise.
            Self::Excess => (surprise.sum() - reference.sum(), beyond()),
            Self::Top => (surprise.top(TOP), surprise.clone()),
            Self::Window => by_largest(surprise.windows(SIDE)),
            Self::LocalExcess => by_largest(beyond().windows(SIDE)),
            Self::Typical => {
                let statistics = statistics.expect("a fit has the statistics that its score needs");
                by_largest(statistics.deviations(surprise).map(f64::abs))
            }
        }
    }
}

fn by_largest(map: Map) -> (f64, Map) {
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
