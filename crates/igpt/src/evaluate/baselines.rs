//! N-gram baselines (uniform, unigram, context): a trained network must beat them to have learned anything.
//!
//! `context` predicts a pixel from its left and upper neighbours. Rarely seen contexts are smoothed by simpler ones
//! (Witten–Bell interpolation): after a context seen N times with T different colours, colour x has probability
//! `(count(x) + T · p(x)) / (N + T)`, where p is the next simpler model (Witten and Bell 1991, method C).

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::data::TokenSet;
use crate::image::ImageSize;
use crate::{Error, Result};

/// N-gram baselines (uniform, unigram, context), fitted by counting the colours of training images.
#[derive(Clone, Debug)]
pub struct NgramBaselines {
    n_vocab: usize,
    /// Count of (left, above, colour).
    triples: Table<u64>,
    /// Counts of (left, above).
    pairs: Table<Seen>,
    /// Count of (left, colour).
    after_left: Table<u64>,
    /// Counts of left, `n_vocab` for outside.
    left: Vec<Seen>,
    /// Probability of each colour, interpolated to uniform (Witten–Bell), so that an unseen colour has some, too.
    unigram: Vec<f64>,
}

/// Number of times that a context was seen, and of different colours after it.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    times: u64,
    different: u64,
}

/// Count of a colour after its left and upper neighbours.
///
/// A neighbour outside of the image is the symbol `n_vocab`, the number of colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContextCount {
    /// Colour of the pixel to the left.
    pub left: u32,
    /// Colour of the pixel above.
    pub above: u32,
    /// Colour of the pixel itself.
    pub token: u32,
    /// Number of times that it was seen: at least 1.
    pub times: u64,
}

/// Scores of the n-gram baselines on some images in nats per token, the first pixel included.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct BaselineScores {
    /// Score of the uniform model, in which all colours are equally likely: `ln n_vocab`.
    pub uniform: f64,
    /// Score of the unigram model: the colours' frequencies in the training images.
    pub unigram: f64,
    /// Score of the context model: (left, above), interpolated to left, then to `unigram`, then to uniform.
    ///
    /// A neighbour outside of the image is a symbol of its own.
    pub context: f64,
}

impl BaselineScores {
    /// Returns the name and the nats per token of the lowest score.
    pub fn best_named(&self) -> (&'static str, f64) {
        let scores = [("context", self.context), ("unigram", self.unigram), ("uniform", self.uniform)];
        scores.into_iter().min_by(|a, b| a.1.total_cmp(&b.1)).expect("there are three")
    }
}

impl Seen {
    fn count(&mut self, times: u64) {
        self.times += times;
        self.different += 1;
    }

    /// Witten–Bell probability of a colour that was seen `count` times here and has probability `simpler` in the
    /// simpler model.
    fn interpolate(self, count: u64, simpler: f64) -> f64 {
        if self.times == 0 {
            return simpler;
        }
        (count as f64 + self.different as f64 * simpler) / (self.times + self.different) as f64
    }
}

impl NgramBaselines {
    /// Fits the baselines to the training images `train`, with a palette of `n_vocab` colours.
    ///
    /// # Panics
    /// When a token is not below `n_vocab`.
    pub fn fit(train: &TokenSet, n_vocab: usize) -> Self {
        let mut triples: Table<u64> = Table::default();
        each_pixel(&train.tokens, train.n_px, n_vocab, |left, above, token| {
            assert!((token as usize) < n_vocab, "token {token} of {n_vocab} colours");
            *triples.entry(key(left, above, token)).or_default() += 1;
        });
        Self::of_triples(triples, n_vocab)
    }

    /// Rebuilds baselines from the counts of [`NgramBaselines::counts`], with the same bits as the original.
    ///
    /// # Errors
    /// When a symbol is not one of `n_vocab` colours, or a count is 0 or there twice.
    pub fn from_counts(counts: impl IntoIterator<Item = ContextCount>, n_vocab: usize) -> Result<Self> {
        let mut triples: Table<u64> = Table::default();
        for ContextCount { left, above, token, times } in counts {
            let is_symbol = |symbol: u32| symbol as usize <= n_vocab;
            if !is_symbol(left) || !is_symbol(above) || token as usize >= n_vocab {
                return Err(Error::Invalid(format!(
                    "token {token} after {left} and {above}, but there are {n_vocab} colours"
                )));
            }
            if times == 0 || triples.insert(key(left, above, token), times).is_some() {
                return Err(Error::Invalid(format!("token {token} after {left} and {above} is not counted once")));
            }
        }
        Ok(Self::of_triples(triples, n_vocab))
    }

    fn of_triples(triples: Table<u64>, n_vocab: usize) -> Self {
        let mut pairs: Table<Seen> = Table::default();
        let mut after_left: Table<u64> = Table::default();
        for (&triple, &count) in &triples {
            let (left, _, token) = parts(triple);
            pairs.entry(triple >> BITS).or_default().count(count);
            *after_left.entry(key(0, left, token)).or_default() += count;
        }
        let mut left = vec![Seen::default(); n_vocab + 1];
        let mut counts = vec![0u64; n_vocab];
        for (&pair, &count) in &after_left {
            let (_, from, token) = parts(pair);
            left[from as usize].count(count);
            counts[token as usize] += count;
        }
        let mut all = Seen::default();
        counts.iter().filter(|&&count| count > 0).for_each(|&count| all.count(count));
        let unigram = counts.iter().map(|&count| all.interpolate(count, 1.0 / n_vocab as f64)).collect();
        Self { n_vocab, triples, pairs, after_left, left, unigram }
    }

    /// Returns the number of palette colours that the baselines were fitted with.
    pub fn n_vocab(&self) -> usize {
        self.n_vocab
    }

    /// Returns the counts of colours after each pair of neighbours, sorted by symbols.
    ///
    /// They determine the baselines completely.
    pub fn counts(&self) -> Vec<ContextCount> {
        let mut triples: Vec<(u64, u64)> = self.triples.iter().map(|(&key, &times)| (key, times)).collect();
        triples.sort_unstable();
        let count = |(key, times)| {
            let (left, above, token) = parts(key);
            ContextCount { left, above, token, times }
        };
        triples.into_iter().map(count).collect()
    }

    /// Scores the three baselines on `set`, in nats per token.
    pub fn score(&self, set: &TokenSet) -> BaselineScores {
        let (mut unigram, mut context) = (0.0, 0.0);
        each_pixel(&set.tokens, set.n_px, self.n_vocab, |left, above, token| {
            unigram -= self.unigram[token as usize].ln();
            context -= self.context(left, above, token).ln();
        });
        let tokens = set.tokens.len() as f64;
        BaselineScores { uniform: (self.n_vocab as f64).ln(), unigram: unigram / tokens, context: context / tokens }
    }

    /// Returns the nats of each image of `set` under the context model.
    pub fn context_nats(&self, set: &TokenSet) -> Vec<f64> {
        (0..set.images()).map(|i| self.context_map(set.image(i), set.n_px).iter().sum()).collect()
    }

    /// Returns the nats of each pixel under the context model.
    ///
    /// `tokens` are those of images of size `n_px`, one after the other.
    pub fn context_map(&self, tokens: &[u16], n_px: ImageSize) -> Vec<f64> {
        let mut nats = Vec::with_capacity(tokens.len());
        each_pixel(tokens, n_px, self.n_vocab, |left, above, token| nats.push(-self.context(left, above, token).ln()));
        nats
    }

    /// Probability of `token` after its neighbours; `n_vocab` stands for a neighbour outside of the image.
    fn context(&self, left: u32, above: u32, token: u32) -> f64 {
        let count = |table: &Table<u64>, key: u64| table.get(&key).copied().unwrap_or(0);
        let seen = self.left[left as usize];
        let by_left = seen.interpolate(count(&self.after_left, key(0, left, token)), self.unigram[token as usize]);
        let triple = key(left, above, token);
        match self.pairs.get(&(triple >> BITS)) {
            Some(seen) => seen.interpolate(count(&self.triples, triple), by_left),
            None => by_left,
        }
    }
}

/// Calls `visit` with (left, above, token) of every pixel; `outside` stands for a missing neighbour.
fn each_pixel(tokens: &[u16], n_px: ImageSize, outside: usize, mut visit: impl FnMut(u32, u32, u32)) {
    let width = n_px.width;
    for image in tokens.chunks_exact(n_px.pixels()) {
        for (t, &token) in image.iter().enumerate() {
            let left = if t % width == 0 { outside as u32 } else { u32::from(image[t - 1]) };
            let above = if t < width { outside as u32 } else { u32::from(image[t - width]) };
            visit(left, above, u32::from(token));
        }
    }
}

/// Number of bits of a symbol in a key, for 65536 colours and outside.
const BITS: u32 = 17;

fn key(left: u32, above: u32, token: u32) -> u64 {
    (u64::from(left) << BITS | u64::from(above)) << BITS | u64::from(token)
}

fn parts(key: u64) -> (u32, u32, u32) {
    let symbol = |place: u32| (key >> (place * BITS)) as u32 & ((1 << BITS) - 1);
    (symbol(2), symbol(1), symbol(0))
}

type Table<V> = HashMap<u64, V, BuildHasherDefault<KeyHasher>>;

/// Hasher of our own keys by two multiplications. There are tens of millions of them, and no attacker chooses them.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, key: u64) {
        let mixed = (self.0 ^ key).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = (mixed ^ mixed >> 32).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    }

    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, Rng};

    fn set(height: usize, width: usize, tokens: Vec<u16>) -> TokenSet {
        let images = tokens.len() / (height * width);
        TokenSet {
            tokens,
            n_px: ImageSize { height, width },
            labels: vec![None; images],
            names: vec![String::new(); images],
            damaged: Vec::new(),
        }
    }

    /// Images whose pixels mostly repeat a neighbour; the last colour never occurs.
    fn images(n_vocab: u64, images: u64, seed: u64) -> TokenSet {
        let mut tokens: Vec<u16> = Vec::new();
        for t in 0..images * 48 {
            let mut rng = Rng::new(seed, Purpose::Sample, 0, t);
            let repeat = t % 8 > 0 && rng.below(4) > 0;
            tokens.push(if repeat { tokens[t as usize - 1] } else { rng.below(n_vocab - 1) as u16 });
        }
        set(6, 8, tokens)
    }

    #[test]
    fn probabilities_sum_to_one_in_every_context() {
        for n_vocab in [2, 61, 512] {
            let baselines = NgramBaselines::fit(&images(n_vocab, 30, 1), n_vocab as usize);
            let n = n_vocab as u32;
            let mut rng = Rng::new(2, Purpose::Sample, 1, 0);
            assert!((baselines.unigram.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            for _ in 0..200 {
                let neighbour = |rng: &mut Rng| rng.below(u64::from(n) + 1) as u32;
                let (left, above) = (neighbour(&mut rng), neighbour(&mut rng));
                let sum: f64 = (0..n).map(|token| baselines.context(left, above, token)).sum();
                assert!((sum - 1.0).abs() < 1e-9, "{left} {above}: {sum}");
                assert!(baselines.context(left, above, n - 1) > 0.0);
            }
        }
    }

    #[test]
    fn counts_make_the_model_that_they_were_counted_for_to_the_last_bit() {
        let (train, other) = (images(61, 30, 1), images(61, 5, 2));
        let fitted = NgramBaselines::fit(&train, 61);
        let counts = fitted.counts();
        assert_eq!(counts.iter().map(|count| count.times).sum::<u64>(), train.tokens.len() as u64);
        let again = NgramBaselines::from_counts(counts.clone(), 61).unwrap();
        assert_eq!((again.counts(), again.n_vocab()), (counts.clone(), 61));
        let bits =
            |model: &NgramBaselines| -> Vec<u64> { model.context_nats(&other).iter().map(|n| n.to_bits()).collect() };
        assert_eq!(bits(&again), bits(&fitted));
        // Alone and among others.
        let alone = fitted.context_map(other.image(3), other.n_px);
        assert_eq!(alone.iter().sum::<f64>().to_bits(), bits(&fitted)[3]);
        let bad = |change: fn(&mut ContextCount)| {
            let mut counts = counts.clone();
            change(&mut counts[7]);
            NgramBaselines::from_counts(counts, 61).is_err()
        };
        assert!(bad(|count| count.token = 61) && bad(|count| count.left = 62) && bad(|count| count.times = 0));
        assert!(NgramBaselines::from_counts([counts[0], counts[0]], 61).is_err());
    }

    #[test]
    fn scores_of_a_small_picture_are_those_worked_out_by_hand() {
        // One image 0 1 / 0 1, two colours. Unigram: (2 + 2/2) / (4 + 2) = 1/2.
        let picture = set(2, 2, vec![0, 1, 0, 1]);
        let scores = NgramBaselines::fit(&picture, 2).score(&picture);
        assert!((scores.uniform - 2f64.ln()).abs() < 1e-12 && (scores.unigram - 2f64.ln()).abs() < 1e-12);
        // Both 0s follow an outside left: (2 + 1/2) / 3 = 5/6, and each pair was seen once: (1 + 5/6) / 2 = 11/12.
        // The 1s follow 0 and score the same.
        assert!((scores.context + (11f64 / 12.0).ln()).abs() < 1e-12, "{scores:?}");
        assert_eq!(scores.best_named(), ("context", scores.context));
    }

    #[test]
    fn nats_of_images_are_the_context_score_image_by_image() {
        let baselines = NgramBaselines::fit(&images(16, 30, 1), 16);
        let set = images(16, 7, 9);
        let nats = baselines.context_nats(&set);
        assert_eq!(nats.len(), 7);
        let mean = nats.iter().sum::<f64>() / set.tokens.len() as f64;
        assert!((mean - baselines.score(&set).context).abs() < 1e-12);
        let last = TokenSet { tokens: set.image(6).to_vec(), names: vec![String::new()], ..set.clone() };
        assert!((baselines.context_nats(&last)[0] - nats[6]).abs() < 1e-9);
    }

    #[test]
    fn the_context_model_learns_what_the_neighbours_tell() {
        let baselines = NgramBaselines::fit(&images(16, 300, 1), 16);
        let scores = baselines.score(&images(16, 50, 9));
        assert!(scores.context < 0.75 * scores.unigram && scores.unigram < scores.uniform, "{scores:?}");
    }

    #[test]
    fn colours_never_seen_in_training_cost_a_finite_loss() {
        let scores = NgramBaselines::fit(&images(16, 3, 1), 16).score(&set(2, 3, vec![15; 6]));
        assert!(scores.unigram.is_finite() && scores.context.is_finite());
    }
}
