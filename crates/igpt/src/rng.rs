//! Counter-based random numbers (Philox4x32-10, Salmon et al. 2011), keyed by their purpose.
//!
//! A draw is a pure function of (seed, purpose, two counters), never of the order of the calls. Therefore image `i` of
//! seed `s` is the same in any batch, and a resumed run sees the same augmentations.
//!
//! ```
//! use igpt::rng::{Purpose, Rng};
//!
//! let draw = |image| Rng::new(1, Purpose::Split, image, 0).uniform();
//! assert_eq!(draw(7), draw(7)); // whatever was drawn before
//! assert_ne!(draw(7), draw(8));
//! ```

/// Purpose of a random number; different purposes never share a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[non_exhaustive]
pub enum Purpose {
    /// Initial weights, with counters (tensor index, element).
    Init = 1,
    /// Order of the images in an epoch, with counters (epoch, position).
    Shuffle = 2,
    /// Augmentation, with counters (epoch, image).
    Augment = 3,
    /// Sampling of pixels, with counters (image, pixel).
    Sample = 4,
    /// Choice of the pixels that a palette is fitted to, and k-means++, with counters (round, index).
    Palette = 5,
    /// Splits of a data set, with counters (0, image).
    Split = 6,
    /// Choice and order of the labelled images for probes, with counters (use, round).
    Probe = 7,
    /// Masked positions, one draw per pixel, with counters (use, image).
    Mask = 8,
    /// Resampling of the candidates of a completion (particle filter), with counters (image, pixel).
    Resample = 9,
    /// Order in which a masked model fills a hole, with counters (image, attempt).
    Infill = 10,
    /// Positions whose features go into a memory bank, with counters (picture, draw).
    Inspect = 11,
    /// Positions of the tiles that a model of tiles is validated on, with counters (0, tile).
    Tiles = 12,
}

/// A keyed stream of random numbers, determined by seed, purpose and two counters.
#[derive(Clone, Debug)]
pub struct Rng {
    key: [u32; 2],
    counter: [u32; 4],
    block: [u32; 4],
    used: usize,
}

impl Rng {
    /// Creates the stream of (`seed`, `purpose`, `a`, `b`); `a` is below 2^32, `b` below 2^44.
    pub fn new(seed: u64, purpose: Purpose, a: u64, b: u64) -> Self {
        debug_assert!(a < 1 << 32 && b < 1 << 44);
        let key = [seed as u32, (seed >> 32) as u32];
        // counter[3]: purpose and the high bits of b; counter[0] counts blocks within the stream.
        let counter = [0, b as u32, a as u32, (purpose as u32) << 12 | (b >> 32) as u32];
        Self { key, counter, block: [0; 4], used: 4 }
    }

    /// Returns the next 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.used == 4 {
            self.block = philox(self.counter, self.key);
            self.counter[0] = self.counter[0].wrapping_add(1);
            self.used = 0;
        }
        self.used += 1;
        self.block[self.used - 1]
    }

    /// Returns a uniform number in [0, 1) with 53 random bits.
    pub fn uniform(&mut self) -> f64 {
        let bits = (self.next_u32() as u64) << 32 | self.next_u32() as u64;
        (bits >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Returns a uniform integer in 0..n (n > 0), unbiased to 2^-32 of n.
    pub fn below(&mut self, n: u64) -> u64 {
        ((self.next_u32() as u128 * n as u128 + ((self.next_u32() as u128 * n as u128) >> 32)) >> 32) as u64
    }

    /// Returns a standard normal number (Box–Muller, one of the pair).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// Ten rounds of Philox4x32.
fn philox(mut c: [u32; 4], mut k: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let x = c[0] as u64 * 0xD251_1F53;
        let y = c[2] as u64 * 0xCD9E_8D57;
        c = [(y >> 32) as u32 ^ c[1] ^ k[0], y as u32, (x >> 32) as u32 ^ c[3] ^ k[1], x as u32];
        k = [k[0].wrapping_add(0x9E37_79B9), k[1].wrapping_add(0xBB67_AE85)];
    }
    c
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_the_published_test_vectors() {
        // Random123's kat_vectors for philox4x32-10.
        assert_eq!(philox([0; 4], [0; 2]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
    }

    #[test]
    fn streams_differ_by_every_part_of_their_key() {
        let draw = |s, p, a, b| Rng::new(s, p, a, b).next_u32();
        let base = draw(1, Purpose::Sample, 2, 3);
        assert_ne!(base, draw(9, Purpose::Sample, 2, 3));
        assert_ne!(base, draw(1, Purpose::Init, 2, 3));
        assert_ne!(base, draw(1, Purpose::Sample, 9, 3));
        assert_ne!(base, draw(1, Purpose::Sample, 2, 9));
        assert_ne!(base, draw(1, Purpose::Sample, 2, 3 + (1 << 33)));
    }
}
