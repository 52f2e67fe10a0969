//! Split of good pictures into those for the reference and those held out for the threshold.
//!
//! Neither the network nor the reference has seen the held-out pictures.

use crate::data::{Dataset, Images, Split, same_files::same_files};
use crate::rng::{Purpose, Rng};
use crate::train::TrainedOn;
use crate::{Error, Result};

/// Split of good pictures between the reference and the held-out pictures of the conformal threshold.
#[derive(Clone, Debug)]
pub struct GoodSplit {
    /// Pictures that the reference is fitted to.
    pub reference: Images,
    /// Held-out pictures, for the conformal threshold.
    pub held_out: Images,
    /// Description of how they were chosen.
    pub how: String,
    /// Notes for the user.
    pub notes: Vec<String>,
}

/// Divides the good pictures of `dataset`, called `spec`, for a network that was `trained` on some data.
///
/// If the network was trained on this data set, or if the data set has parts of its own, the training part is for the
/// reference, and validation and test are held out. In another folder, the fraction `share` of the pictures that the
/// network was not trained on is held out, drawn by seed. Held-out pictures whose file is a copy of one that the
/// reference is fitted to are omitted.
///
/// # Errors
/// When no pictures are left for the reference or to be held out, or `share` is not between 0 and 1.
pub fn split_good(dataset: &Dataset, spec: &str, trained: &TrainedOn, share: f64) -> Result<GoodSplit> {
    if !(share > 0.0 && share < 1.0) {
        return Err(Error::Invalid(format!("a held-out share of {share}: give one between 0 and 1, such as 0.5")));
    }
    let all = dataset.split(Split::All)?;
    let seen = trained.seen(Some((spec, dataset)), &all);
    let mut notes = seen.notes;
    if seen.marks.iter().all(Option::is_none) {
        notes.push(format!(
            "which pictures of {spec} the network was trained on is not known here: the rate of false alarms holds only if \
             it has seen none of those that are held out"
        ));
    }
    let is_seen = |i: usize| seen.marks[i] == Some(true);
    let own = trained.is_same(spec);
    let mut is_held = vec![false; all.len()];
    let how = if own || dataset.has_parts {
        for part in [&dataset.validation, &dataset.test] {
            part.indices().iter().for_each(|i| is_held[*i as usize] = true);
        }
        match own {
            true => "the run's own data: what it trained on, and its validation and test parts",
            false => "its own parts: train, and validation and test",
        }
        .to_owned()
    } else {
        let mut unseen: Vec<usize> = (0..all.len()).filter(|&i| !is_seen(i)).collect();
        let key = |i: usize| (Rng::new(dataset_seed(), Purpose::Split, 2, i as u64).next_u32(), i);
        unseen.sort_by_key(|&i| key(i));
        let count = (unseen.len() as f64 * share).round() as usize;
        unseen[..count].iter().for_each(|&i| is_held[i] = true);
        format!("{count} of {} pictures that the network was not trained on, drawn by seed, are held out", unseen.len())
    };
    let pick = |wanted: &dyn Fn(usize) -> bool| all.pick((0..all.len()).filter(|&i| wanted(i)));
    let known = (0..all.len()).filter(|&i| is_held[i] && is_seen(i)).count();
    let (reference, held_out) = (pick(&|i| !is_held[i]), pick(&|i| is_held[i] && !is_seen(i)));
    if reference.is_empty() || held_out.is_empty() {
        return Err(Error::Invalid(format!(
            "{spec} has {} pictures, of which {} are left for the reference and {} to be held out: give more good pictures",
            all.len(),
            reference.len(),
            held_out.len()
        )));
    }
    let copies = same_files(&held_out, &reference);
    let held_out = held_out.pick((0..held_out.len()).filter(|&i| copies[i] != Some(true)));
    let left_out = known + copies.iter().filter(|copy| **copy == Some(true)).count();
    if left_out > 0 {
        notes.push(format!(
            "{left_out} pictures are not held out, since they are copies of pictures that the network or the reference has seen"
        ));
    }
    Ok(GoodSplit { reference, held_out, how, notes })
}

/// The split belongs to the data, like all splits: no flag changes it.
fn dataset_seed() -> u64 {
    0
}
