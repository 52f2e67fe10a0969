//! Binary tree that sums the gradients of a batch's groups.
//!
//! All data-parallel ranks share the tree. Each rank sums the subtree of its own groups, and the all-reduce over
//! ranks continues the same tree. The sums have the same bits, whichever rank computes them. With one group, there is
//! no tree and no memory for it.

use std::ops::Range;

use igpt_kernels::Buffer;

/// Sums of gradient groups that wait for other groups.
#[derive(Debug, Default)]
pub(super) struct GradientTree {
    /// Sums of complete subtrees: `levels[l]` holds 2^l groups when `filled[l]`.
    levels: Vec<Buffer<f32>>,
    filled: Vec<bool>,
}

impl GradientTree {
    /// Returns a tree for `groups` groups (a power of two) of gradients with `len` values. It holds log2(`groups`)
    /// gradients.
    pub(super) fn new(groups: usize, len: usize) -> Self {
        let depth = groups.max(1).ilog2() as usize;
        Self { levels: (0..depth).map(|_| Buffer::zeroed(len)).collect(), filled: vec![false; depth] }
    }

    /// Adds a finished group to the complete subtrees before it.
    ///
    /// Unless the sum is the whole tree, it is stored and the result is true: `gradients` then count as zero.
    pub(super) fn join(&mut self, gradients: &mut [f32]) -> bool {
        for (level, filled) in self.levels.iter_mut().zip(&mut self.filled) {
            if !*filled {
                level.copy_from_slice(gradients);
                *filled = true;
                return true;
            }
            gradients.iter_mut().zip(level.iter()).for_each(|(sum, earlier)| *sum += *earlier);
            *filled = false;
        }
        false
    }

    /// Adds all stored sums in `range` of the gradient to `values`, which are the last group's.
    pub(super) fn add_waiting(&self, range: &Range<usize>, values: &mut [f32]) {
        for level in &self.levels {
            values.iter_mut().zip(&level[range.clone()]).for_each(|(sum, earlier)| *sum += *earlier);
        }
    }

    /// Discards all stored sums.
    pub(super) fn clear(&mut self) {
        self.filled.fill(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_summed_by_a_binary_tree() {
        // As pairs these four add to 4 in f32, in sequence to 3.
        let parts = [1.0f32, 33_554_432.0, -33_554_432.0, 3.0];
        let mut tree = GradientTree::new(4, 1);
        let mut gradients = [0.0];
        for (i, part) in parts.into_iter().enumerate() {
            gradients[0] += part;
            let kept = tree.join(&mut gradients);
            assert_eq!(kept, i < 3);
            if kept {
                gradients[0] = 0.0;
            }
        }
        assert_eq!(gradients[0], (parts[0] + parts[1]) + (parts[2] + parts[3]));
        assert_ne!(gradients[0], ((parts[0] + parts[1]) + parts[2]) + parts[3]);
    }

    #[test]
    fn the_last_group_is_joined_with_those_that_wait_part_by_part_to_the_same_bits() {
        let parts = [0.1f32, 0.7, 1e-3, 3e5];
        let [mut whole, mut early] = [GradientTree::new(4, 2), GradientTree::new(4, 2)];
        let mut sum = [0.0; 2];
        for part in parts {
            sum = [part, part * 0.3];
            let mut copy = sum;
            whole.join(&mut sum);
            if part != parts[3] {
                early.join(&mut copy);
            } else {
                early.add_waiting(&(1..2), &mut copy[1..]);
                early.add_waiting(&(0..1), &mut copy[..1]);
                assert_eq!(copy, sum);
            }
        }
        assert!(sum[0] > 3e5);
    }
}
