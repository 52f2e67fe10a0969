//! A plain KV cache of one head: keys and values as f32, one position after the other.

use igpt_kernels::{Isa, Scalar};

#[derive(Clone, Copy, Debug)]
pub(crate) struct KvShape {
    n_ctx: usize,
    head: usize,
}

impl KvShape {
    pub(crate) fn new<S: Scalar>(n_ctx: usize, head: usize) -> Self {
        Self { n_ctx, head }
    }

    pub(crate) fn units(&self) -> usize {
        2 * self.n_ctx * self.head
    }

    pub(crate) fn append<S: Scalar>(&self, cache: &mut [u32], position: usize, k: &[S], v: &[S]) {
        let at = 2 * position * self.head;
        for (unit, x) in cache[at..at + 2 * self.head].iter_mut().zip(k.iter().chain(v)) {
            *unit = x.to_f32().to_bits();
        }
    }

    pub(crate) fn attend<S: Scalar>(&self, _: Isa, scale: f32, cache: &[u32], len: usize, q: &[S], out: &mut [S]) {
        let rows = || cache.chunks_exact(2 * self.head).take(len);
        let scores: Vec<f32> = rows()
            .map(|row| scale * row.iter().zip(q).map(|(k, q)| f32::from_bits(*k) * q.to_f32()).sum::<f32>())
            .collect();
        let max = scores.iter().copied().fold(f32::MIN, f32::max);
        let weights: Vec<f32> = scores.iter().map(|s| (s - max).exp()).collect();
        let total: f32 = weights.iter().sum();
        for (d, out) in out.iter_mut().enumerate() {
            let sum: f32 = rows().zip(&weights).map(|(row, w)| w * f32::from_bits(row[self.head + d])).sum();
            *out = S::from_f32(sum / total);
        }
    }
}
