//! Pairs of images whose hashes differ in few bits, without comparing all pairs.
//!
//! Two hashes that differ in at most d bits agree in at least one of d + 1 bands. For each band the images are sorted by
//! it, and only those that share its bits are compared. Images with identical hashes are first sorted by brightness, and
//! each is compared with the next. From then on, the first image of each split stands for them.

use super::seen::Seen;
use crate::{Error, Result};

/// Largest number of pairs that are compared again: 64 MB of them.
const MOST: usize = 4 << 20;

/// Refuses distances for which the bands become too short to distinguish images.
pub(super) fn check_distance(distance: u32) -> Result<()> {
    if distance <= 7 {
        return Ok(());
    }
    Err(Error::Invalid(format!("a distance of {distance} bits would compare almost all pairs: give at most 7")))
}

/// Finds pairs (earlier, later) of the images `kept` of `seen` that may be the same picture, sorted.
///
/// Also returns whether these are all such pairs.
pub(super) fn candidates(seen: &[Seen], kept: &[usize], distance: u32) -> (Vec<[usize; 2]>, bool) {
    let look = |i: usize| (seen[i].hashes.across, seen[i].hashes.down);
    let mut order = kept.to_vec();
    order.sort_unstable_by_key(|&i| (look(i), seen[i].hashes.brightness, i));
    let mut pairs = Vec::new();
    let mut add = |a: usize, b: usize| {
        // Exact copies in other splits have been reported already.
        if seen[a].hashes.exact != seen[b].hashes.exact {
            pairs.push([a.min(b), a.max(b)]);
        }
        pairs.len() < MOST
    };
    let mut complete = true;
    // One image per pair of hashes, or a few if several splits share it.
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
