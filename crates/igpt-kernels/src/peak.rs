//! Peak rates of this processor, to which benchmarks are compared.

use std::hint::black_box;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use crate::Scalar;
use crate::amx::{self, Amx, TILE_UNITS, Tiles};
use crate::isa::{Isa, Kernel};
use crate::simd::Simd;

/// Number of independent chains of additions.
///
/// This is more than latency times throughput on any processor so far, and few enough to stay in sixteen registers with
/// both operands.
const CHAINS: usize = 14;
/// Multiply-adds of each chain between two readings of the clock.
const ROUND: usize = 20_000;

/// Peak floating-point rate of one thread in flops per second, measured for at least `time`.
///
/// A multiply-add counts as two flops. The thread does nothing but the micro-kernel's multiply-adds of format `S` from
/// registers; with AMX, products of blocks from its L1 cache.
pub fn flops<S: Scalar>(isa: Isa, time: Duration) -> f64 {
    let round = || match isa.amx::<S>() {
        Some(amx) => blocks(amx),
        None => isa.run(Chains::<S>(PhantomData)),
    };
    round(); // the clock of a core that slept needs a moment
    let (start, mut flops) = (Instant::now(), 0.0);
    while start.elapsed() < time {
        flops += round();
    }
    flops / start.elapsed().as_secs_f64()
}

/// Multiplies a block and a panel of 30 KiB; returns the flops done.
fn blocks(amx: Amx) -> f64 {
    const UNITS: usize = 15 * TILE_UNITS;
    const TIMES: usize = 1000;
    let left = [[0_u32; TILE_UNITS]; amx::BLOCK];
    let right = vec![0_u32; UNITS * amx::BLOCK];
    let mut tiles = Tiles::new(amx);
    let halves = [0, amx::TILE_ROWS].map(|row| left[row].as_ptr().cast());
    for _ in 0..TIMES {
        // SAFETY: the left operand's only block of units is taken again and again, the right one has all units.
        unsafe {
            let left = amx::Left { halves, row: size_of_val(&left[0]), block: 0 };
            black_box(tiles.product(amx::BLOCK, UNITS / TILE_UNITS, left, black_box(&right).as_ptr()));
        }
    }
    (2 * 2 * UNITS * amx::BLOCK * amx::BLOCK * TIMES) as f64
}

struct Chains<S>(PhantomData<S>);

impl<S: Scalar> Kernel for Chains<S> {
    /// Number of flops done.
    type Output = f64;
    #[inline(always)]
    fn run<V: Simd>(self, simd: V) -> f64 {
        let [a, b] = [simd.splat_unit(black_box(0)), simd.splat_unit(black_box(0))];
        let mut sums = [simd.zero(); CHAINS];
        for _ in 0..ROUND {
            for sum in &mut sums {
                *sum = simd.dot::<S>(a, b, *sum);
            }
        }
        black_box(sums.iter().fold(0.0, |total, &sum| total + simd.reduce_add(sum)));
        (2 * CHAINS * ROUND * V::LANES * S::PACK) as f64
    }
}

/// Reads all of `data` once, as fast as one thread can, and returns the sum, so that nothing is optimised away.
///
/// For the memory bandwidth, time it over a buffer far larger than the caches.
pub fn read(isa: Isa, data: &[f32]) -> f32 {
    isa.run(Read(data))
}

struct Read<'a>(&'a [f32]);

impl Kernel for Read<'_> {
    type Output = f32;
    #[inline(always)]
    fn run<V: Simd>(self, simd: V) -> f32 {
        let mut sums = [simd.zero(); 4];
        let mut blocks = self.0.chunks_exact(4 * V::LANES);
        for block in &mut blocks {
            for (i, sum) in sums.iter_mut().enumerate() {
                *sum = simd.add(*sum, simd.read(&block[i * V::LANES..]));
            }
        }
        let rest: f32 = blocks.remainder().iter().sum();
        sums.iter().fold(rest, |total, &sum| total + simd.reduce_add(sum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bf16;

    #[test]
    fn every_isa_has_a_peak_and_reads_everything() {
        let data: Vec<f32> = (0..1000).map(|i| (i % 7) as f32).collect();
        for isa in Isa::available() {
            assert!(flops::<f32>(isa, Duration::ZERO) >= 0.0);
            assert!(flops::<bf16>(isa, Duration::from_millis(1)) > 1e6);
            assert_eq!(read(isa, &data), data.iter().sum::<f32>());
        }
    }
}
