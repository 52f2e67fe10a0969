//! Pairs of images whose hashes differ in few bits, without comparing all pairs.
//!
//! Two hashes that differ in at most d bits agree in at least one of d + 1 bands. For each band the images are sorted
//! by it, and only those that share its bits are compared. Images whose hashes are the very same are first put in a row
//! by brightness, each compared with the next; the first of each split stands for them from then on.

use super::seen::Seen;
use crate::{Error, Result};

/// Pairs that are looked at again at most: 64 MB of them.
const MOST: usize = 4 << 20;

/// Refuses distances at which bands become too short to tell images apart.
pub(super) fn check_distance(distance: u32) -> Result<()> {
    if distance <= 7 {
        return Ok(());
    }
    Err(Error::Invalid(format!("a distance of {distance} bits would compare almost all pairs: give at most 7")))
}

/// Pairs (earlier, later) of the images `kept` of `seen` that may be the same picture, sorted, and whether those are
/// all.
pub(super) fn candidates(seen: &[Seen], kept: &[usize], distance: u32) -> (Vec<[usize; 2]>, bool) {
    let look = |i: usize| (seen[i].hashes.across, seen[i].hashes.down);
    let mut order = kept.to_vec();
    order.sort_unstable_by_key(|&i| (look(i), seen[i].hashes.brightness, i));
    let mut pairs = Vec::new();
    let mut add = |a: usize, b: usize| {
        // Exact copies in other splits have been told of.
        if seen[a].hashes.exact != seen[b].hashes.exact {
            pairs.push([a.min(b), a.max(b)]);
        }
        pairs.len() < MOST
    };
    let mut complete = true;
    // One or, where several splits share a look, a few for each look.
    let mut standing: Vec<usize> = Vec::new();
    for run in order.chunk_by(|&a, &b| look(a) == look(b)) {
        run.windows(2).for_each(|pair| complete &= add(pair[0], pair[1]));
        for split in 0..3 {
            standing.extend(run.iter().find(|&&i| seen[i].split == split));
        }
    }

    let bands = distance + 1;
    let band = |hash: u64, k: u32| {
        let (from, to) = (64 * k / bands, 64 * (k + 1) / bands);
        hash << (64 - to) >> (64 - (to - from))
    };
    for k in 0..bands {
        standing.sort_unstable_by_key(|&i| (band(seen[i].hashes.across, k), i));
        for run in standing.chunk_by(|&a, &b| band(seen[a].hashes.across, k) == band(seen[b].hashes.across, k)) {
            for (n, &a) in run.iter().enumerate() {
                let (across, down) = look(a);
                for &b in &run[n + 1..] {
                    let (other_across, other_down) = look(b);
                    let near = (across ^ other_across).count_ones() <= distance
                        && (down ^ other_down).count_ones() <= distance;
                    let earlier = || (0..k).any(|k| band(across, k) == band(other_across, k));
                    if near && (across, down) != (other_across, other_down) && !earlier() {
                        complete &= add(a, b);
                    }
                }
                if !complete {
                    break;
                }
            }
        }
    }
    pairs.sort_unstable();
    pairs.dedup();
    (pairs, complete)
}
