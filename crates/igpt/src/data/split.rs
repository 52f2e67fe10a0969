//! Splits train, validation and test: their names, and seeded splits of data sets without their own.

use std::fmt;
use std::str::FromStr;

use crate::Error;
use crate::rng::{Purpose, Rng};

/// Split of a data set: train, validation, test, or all images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Training images.
    Train,
    /// Validation images, for the choice of settings.
    #[default]
    Validation,
    /// Test images, for reported results.
    Test,
    /// Every image of the source, in file-name order.
    All,
}

impl Split {
    /// Names of the splits, in the order of the variants.
    pub const NAMES: [&'static str; 4] = ["train", "validation", "test", "all"];
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(Self::NAMES[*self as usize])
    }
}

impl FromStr for Split {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "train" => Ok(Self::Train),
            "validation" => Ok(Self::Validation),
            "test" => Ok(Self::Test),
            "all" => Ok(Self::All),
            _ => Err(Error::Invalid(format!("no split is called {name:?}: say train, validation, test or all"))),
        }
    }
}

/// Removes `count` of `indices`, chosen by `seed`, and returns them.
///
/// Both parts keep their order. `turn` distinguishes several splits by the same seed.
pub(super) fn take_seeded(indices: &mut Vec<u32>, count: usize, seed: u64, turn: u64) -> Vec<u32> {
    let mut drawn: Vec<(u32, u32)> =
        indices.iter().map(|&i| (Rng::new(seed, Purpose::Split, turn, i as u64).next_u32(), i)).collect();
    drawn.sort_unstable();
    let mut taken: Vec<u32> = drawn.into_iter().take(count).map(|(_, i)| i).collect();
    taken.sort_unstable();
    indices.retain(|i| taken.binary_search(i).is_err());
    taken
}

/// A tenth of `n`, rounded; at least one image if some remain.
pub(super) fn tenth(n: usize) -> usize {
    if n < 2 { 0 } else { ((n + 5) / 10).max(1) }
}

/// Splits images into (train, validation, test) by about 80, 10 and 10 %, so that each group stays in one part.
///
/// Groups are distributed in a seeded order: to test while they fit, then to validation, then to train. A group larger
/// than a tenth of a part goes to train, so that no single motif fills the part.
pub(super) fn by_groups(groups: &[u32], seed: u64) -> [Vec<u32>; 3] {
    let mut sizes = vec![0usize; groups.iter().max().map_or(0, |&g| g as usize + 1)];
    groups.iter().for_each(|&g| sizes[g as usize] += 1);
    let mut order: Vec<u32> = (0..sizes.len() as u32).collect();
    order.sort_unstable_by_key(|&g| (Rng::new(seed, Purpose::Split, 0, g as u64).next_u32(), g));

    let room = tenth(groups.len());
    // Of two images one is for training, the other for validation.
    let rooms = [0, room, if groups.len() == 2 { 0 } else { room }];
    let mut filled = [0usize; 3];
    let mut side = vec![0u8; sizes.len()];
    for g in order {
        let size = sizes[g as usize];
        let fits = |part: &usize| size <= rooms[*part].div_ceil(10) && filled[*part] + size <= rooms[*part];
        let part = [2, 1].into_iter().find(fits).unwrap_or(0);
        filled[part] += size;
        side[g as usize] = part as u8;
    }
    [0, 1, 2].map(|part| (0..groups.len() as u32).filter(|&i| side[groups[i as usize] as usize] == part).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_reads_what_it_prints() {
        for name in Split::NAMES {
            assert_eq!(name.parse::<Split>().unwrap().to_string(), name);
            assert_eq!(serde_json::to_string(&name.parse::<Split>().unwrap()).unwrap(), format!("{name:?}"));
        }
        assert!("val".parse::<Split>().is_err());
    }

    #[test]
    fn a_seeded_cut_takes_the_count_and_depends_on_the_seed() {
        let cut = |seed, turn| {
            let mut rest: Vec<u32> = (0..1000).collect();
            let taken = take_seeded(&mut rest, 100, seed, turn);
            assert_eq!((taken.len(), rest.len()), (100, 900));
            assert!(taken.iter().all(|i| rest.binary_search(i).is_err()));
            taken
        };
        assert_eq!(cut(1, 0), cut(1, 0));
        assert_ne!(cut(1, 0), cut(2, 0));
        assert_ne!(cut(1, 0), cut(1, 1));
    }

    #[test]
    fn groups_stay_whole_and_parts_are_a_tenth() {
        let groups: Vec<u32> = (0..2000u32).map(|i| if i < 300 { 0 } else { i / 3 }).collect();
        let [train, validation, test] = by_groups(&groups, 7);
        assert_eq!(train.len() + validation.len() + test.len(), groups.len());
        for part in [&validation, &test] {
            assert!((190..=200).contains(&part.len()), "{}", part.len());
            assert!(part.iter().all(|&i| groups[i as usize] != 0), "the large group belongs to train");
        }
        let side = |part: &[u32]| part.iter().map(|&i| groups[i as usize]).collect::<std::collections::HashSet<_>>();
        assert!(side(&train).is_disjoint(&side(&test)));
        assert!(side(&train).is_disjoint(&side(&validation)));
        assert!(side(&test).is_disjoint(&side(&validation)));
    }
}
