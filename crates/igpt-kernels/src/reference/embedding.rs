//! Reference of token plus position embedding.

use crate::embedding::MASKED;

/// Embeddings in rows of `width` channels: row `i` is `wte[ids[i]] + wpe[i]`, or `wpe[i]` if the position is masked.
pub fn embed(wte: &[f64], wpe: &[f64], width: usize, ids: &[u32]) -> Vec<f64> {
    let mut x = Vec::with_capacity(ids.len() * width);
    for (i, &id) in ids.iter().enumerate() {
        let token = |c: usize| if id == MASKED { 0.0 } else { wte[id as usize * width + c] };
        x.extend((0..width).map(|c| token(c) + wpe[i * width + c]));
    }
    x
}

/// Gradient of `wte` (`n` rows), given the gradient `dx` of [`embed`]'s rows; that of `wpe` is `dx` itself.
pub fn embed_backward(dx: &[f64], width: usize, ids: &[u32], n: usize) -> Vec<f64> {
    let mut dwte = vec![0.0; n * width];
    for (i, &id) in ids.iter().enumerate().filter(|(_, id)| **id != MASKED) {
        for c in 0..width {
            dwte[id as usize * width + c] += dx[i * width + c];
        }
    }
    dwte
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_gradient, dot, values};

    #[test]
    fn the_gradient_is_the_slope_of_the_forward_pass() {
        let (width, ids) = (3, [2, 0, MASKED, 2, 3]);
        let (wte, wpe, dx) = (values(4 * width, 1), values(5 * width, 2), values(5 * width, 3));
        assert_gradient(&embed_backward(&dx, width, &ids, 4), &wte, |wte| dot(&embed(wte, &wpe, width, &ids), &dx));
        assert_gradient(&dx, &wpe, |wpe| dot(&embed(&wte, wpe, width, &ids), &dx));
    }
}
