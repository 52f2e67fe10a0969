//! Drawing of many images through a decoder, in batches of rows.
//!
//! Rows never influence one another and every draw is keyed by its image, so batches only affect speed.

use crate::device::{Engine, name_suspect_weight};
use crate::generate::SamplingSettings;
use crate::generate::session::{GenerationRequest, GenerationSession, MOST};
use crate::machine::expect_memory;
use crate::model::ModelConfig;
use crate::{Error, Result};

/// Request for one image: the pixels that it starts from and the key of its random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageRequest<'a> {
    /// First tokens in raster order; empty to draw everything.
    pub given: &'a [u16],
    /// Number of the image: with the seed and `attempt`, the key of its random numbers.
    pub image: u64,
    /// Number of the attempt at this image.
    pub attempt: u64,
}

/// Draws the images `first_image .. first_image + n` of the seed and returns n images of n_ctx tokens.
///
/// `rows` images are drawn at once; 0 chooses a good number. `on_progress` receives the pixels drawn and their total.
pub fn sample(
    engine: &dyn Engine,
    n: usize,
    first_image: u64,
    settings: &SamplingSettings,
    rows: usize,
    on_progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Vec<u16>>> {
    expect_room(engine.config(), n, 1)?;
    let drawings: Vec<_> =
        (0..n as u64).map(|i| ImageRequest { given: &[], image: first_image + i, attempt: 0 }).collect();
    draw_all(engine, &drawings, settings, rows, on_progress)
}

/// Completes each image of `given` `attempts` times and returns each image's completions.
///
/// An entry of `given` is the first tokens of an image, for example its upper half. Completions are whole images that
/// begin with the given tokens. The images' numbers are `first_image ..`. Completion `j` of image `i` is the same,
/// whatever is completed with it.
pub fn complete(
    engine: &dyn Engine,
    given: &[&[u16]],
    first_image: u64,
    attempts: usize,
    settings: &SamplingSettings,
    rows: usize,
    on_progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Vec<Vec<u16>>>> {
    expect_room(engine.config(), given.len(), attempts)?;
    let mut drawings = Vec::with_capacity(given.len() * attempts);
    for (image, given) in (first_image..).zip(given) {
        drawings.extend((0..attempts as u64).map(|attempt| ImageRequest { given, image, attempt }));
    }
    let mut drawn = draw_all(engine, &drawings, settings, rows, on_progress)?.into_iter();
    Ok(given.iter().map(|_| drawn.by_ref().take(attempts).collect()).collect())
}

/// Draws all images of `drawings`; see [`sample`] for `rows` and `on_progress`.
///
/// # Errors
/// When the model can't read a drawing's given tokens; the message names the drawing.
pub fn draw_all(
    engine: &dyn Engine,
    drawings: &[ImageRequest<'_>],
    settings: &SamplingSettings,
    rows: usize,
    on_progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Vec<u16>>> {
    let (n_ctx, n_vocab) = (engine.config().n_ctx(), engine.config().n_vocab);
    settings.validate()?;
    for drawing in drawings {
        check(drawing, n_ctx, n_vocab)?;
    }
    // An image that is whole already is not drawn.
    let mut images: Vec<Vec<u16>> = drawings.iter().map(|drawing| drawing.given.to_vec()).collect();
    let open: Vec<usize> = (0..drawings.len()).filter(|&i| drawings[i].given.len() < n_ctx).collect();
    let requests = open.iter().map(|&i| request(&drawings[i], n_ctx, settings)).collect();
    for (i, image) in open.into_iter().zip(draw_requests(engine, requests, rows, on_progress)?) {
        images[i] = image;
    }
    Ok(images)
}

fn request(drawing: &ImageRequest<'_>, n_ctx: usize, settings: &SamplingSettings) -> GenerationRequest {
    let ImageRequest { given, image, attempt } = *drawing;
    let known = given.iter().map(|&token| Some(token)).chain(std::iter::repeat(None)).take(n_ctx).collect();
    GenerationRequest { known, image, attempt, settings: *settings, candidates: 1 }
}

/// Draws all images of `requests`, holes included; see [`sample`] for `rows` and `on_progress`.
///
/// At least as many rows are used as one request needs.
///
/// # Errors
/// When a request can't be drawn (see [`GenerationSession::add`]), or the model's logits are not finite.
pub fn draw_requests(
    engine: &dyn Engine,
    requests: Vec<GenerationRequest>,
    rows: usize,
    on_progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Vec<u16>>> {
    let wanted: usize = requests.iter().map(GenerationRequest::rows).sum();
    let Some(widest) = requests.iter().map(GenerationRequest::rows).max() else { return Ok(Vec::new()) };
    let rows = if rows == 0 { default_rows(engine.config()) } else { rows }.max(widest);
    // As many batches as needed, all of about the same size.
    let batch = wanted.div_ceil(wanted.div_ceil(rows)).max(widest);
    let given = |request: &GenerationRequest| request.known.iter().map_while(|token| *token).collect::<Vec<u16>>();
    let mut images: Vec<Vec<u16>> = requests.iter().map(given).collect();
    let (mut done, total) = (0, images.iter().map(|given| engine.config().n_ctx() - given.len()).sum());
    let config = engine.config();
    expect_memory((batch * (cache_bytes(config) + 8 * config.n_vocab)) as u64, || {
        format!("drawing {batch} rows side by side")
    })?;
    let mut session = GenerationSession::new(engine, batch)?;
    let mut waiting = (0u64..).zip(requests).peekable();
    loop {
        while let Some((id, request)) = waiting.next_if(|(_, request)| request.rows() <= session.free()) {
            session.add(id, request)?;
        }
        if session.is_idle() {
            return Ok(images);
        }
        let step = session.step(&mut |progress| {
            let image = &mut images[progress.id as usize];
            image.truncate(progress.from);
            image.extend_from_slice(progress.tokens);
            done += 1;
        });
        step.map_err(|error| name_suspect_weight(engine, error))?;
        on_progress(done, total);
    }
}

fn check(drawing: &ImageRequest<'_>, n_ctx: usize, n_vocab: usize) -> Result<()> {
    let ImageRequest { given, image, .. } = drawing;
    if given.len() > n_ctx {
        let pixels = given.len();
        return Err(Error::Mismatch(format!("image {image} gives {pixels} pixels, but the model's have {n_ctx}")));
    }
    match given.iter().find(|token| **token as usize >= n_vocab) {
        Some(token) => Err(Error::Mismatch(format!(
            "image {image} has token {token}, but the model knows {n_vocab} colours: use the model's own palette"
        ))),
        None => Ok(()),
    }
}

/// Refuses to draw more images than their random numbers' keys can tell apart, or than memory holds.
///
/// # Errors
/// When there are too many.
pub fn expect_room(config: &ModelConfig, images: usize, attempts: usize) -> Result<()> {
    if images as u64 > 1 << 32 || attempts > MOST {
        return Err(Error::Invalid(format!(
            "{images} images, {attempts} times each: at most 2^32 images and {MOST} times are possible"
        )));
    }
    // The request with its known pixels, and the tokens as they are drawn, collected and returned.
    let each = (size_of::<Option<u16>>() + 3 * size_of::<u16>()) * config.n_ctx() + 256;
    let bytes = (images as u64).saturating_mul(attempts as u64).saturating_mul(each as u64);
    expect_memory(bytes, || format!("drawing {images} images, {attempts} times each,"))
}

/// Bytes of the KV cache of one image.
fn cache_bytes(config: &ModelConfig) -> usize {
    config.n_ctx() * config.n_layer * 2 * config.n_embd * size_of::<f32>()
}

/// Default number of images drawn at once: up to 64, or fewer if their KV caches would exceed half a gigabyte.
pub fn default_rows(config: &ModelConfig) -> usize {
    ((512 << 20) / cache_bytes(config)).clamp(1, 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::toy::Toy;
    use proptest::prelude::*;

    fn settings(seed: u64) -> SamplingSettings {
        SamplingSettings { seed, ..SamplingSettings::default() }
    }

    fn quiet() -> impl FnMut(usize, usize) {
        |_, _| ()
    }

    #[test]
    fn an_image_is_the_same_in_any_batch_and_order() {
        let toy = Toy::new(8, 5);
        let all = sample(&toy, 7, 0, &settings(3), 0, &mut quiet()).unwrap();
        assert_eq!(all.len(), 7);
        assert!(all.iter().all(|image| image.len() == 64));
        assert_ne!(all[0], all[1]);
        for rows in [1, 2, 3, 5, 100] {
            assert_eq!(sample(&toy, 7, 0, &settings(3), rows, &mut quiet()).unwrap(), all, "{rows} rows");
        }
        assert_eq!(sample(&toy, 2, 4, &settings(3), 0, &mut quiet()).unwrap(), all[4..6]);
        let backwards: Vec<_> = (0..7).rev().map(|image| ImageRequest { given: &[], image, attempt: 0 }).collect();
        let mut drawn = draw_all(&toy, &backwards, &settings(3), 2, &mut quiet()).unwrap();
        drawn.reverse();
        assert_eq!(drawn, all);
        assert_ne!(sample(&toy, 7, 0, &settings(4), 0, &mut quiet()).unwrap(), all);
    }

    #[test]
    fn greedy_drawing_follows_the_likeliest_colour() {
        let toy = Toy::new(8, 9);
        let greedy = SamplingSettings { temperature: 0.0, ..settings(1) };
        let images = sample(&toy, 2, 0, &greedy, 0, &mut quiet()).unwrap();
        assert_eq!(images[0], images[1]);
        for t in 0..64 {
            let logits = toy.logits_after(&images[0][..t]);
            let best = logits.iter().cloned().fold(f32::MIN, f32::max);
            assert_eq!(logits[images[0][t] as usize], best);
        }
    }

    #[test]
    fn completions_of_nothing_are_samples_and_progress_ends_at_the_total() {
        let toy = Toy::new(8, 5);
        let mut heard = (0, 0);
        let mut steps = 0;
        let mut hear = |done, total| {
            heard = (done, total);
            steps += 1;
        };
        let completed = complete(&toy, &[&[], &[]], 2, 1, &settings(3), 1, &mut hear).unwrap();
        assert_eq!((heard, steps), ((128, 128), 128));
        let sampled = sample(&toy, 2, 2, &settings(3), 0, &mut quiet()).unwrap();
        assert_eq!(completed.concat(), sampled);
    }

    #[test]
    fn tokens_the_model_cannot_read_are_refused() {
        let toy = Toy::new(8, 5);
        let wrong = complete(&toy, &[&[1, 5]], 0, 1, &settings(0), 0, &mut quiet()).unwrap_err().to_string();
        assert!(wrong.contains("token 5") && wrong.contains("5 colours"), "{wrong}");
        let long = complete(&toy, &[&[0; 65]], 0, 1, &settings(0), 0, &mut quiet()).unwrap_err().to_string();
        assert!(long.contains("65 pixels"), "{long}");
        let bad = SamplingSettings { top_p: 2.0, ..settings(0) };
        assert!(sample(&toy, 1, 0, &bad, 0, &mut quiet()).is_err());
        assert!(sample(&toy, 0, 0, &settings(0), 0, &mut quiet()).unwrap().is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn completions_keep_what_was_given(
            lengths in prop::collection::vec(0usize..=64, 1..4), attempts in 1usize..4, rows in 0usize..6,
        ) {
            let toy = Toy::new(8, 5);
            let given: Vec<Vec<u16>> =
                lengths.iter().map(|&n| (0..n).map(|i| (i * i % 5) as u16).collect()).collect();
            let given: Vec<&[u16]> = given.iter().map(Vec::as_slice).collect();
            let completed = complete(&toy, &given, 0, attempts, &settings(1), rows, &mut quiet()).unwrap();
            prop_assert_eq!(completed.len(), given.len());
            for (i, (given, completions)) in given.iter().zip(&completed).enumerate() {
                prop_assert_eq!(completions.len(), attempts);
                for completion in completions {
                    prop_assert_eq!(completion.len(), 64);
                    prop_assert_eq!(&completion[..given.len()], *given);
                }
                // One image alone gives the same.
                let alone = complete(&toy, &[given], i as u64, 1, &settings(1), 0, &mut quiet()).unwrap();
                prop_assert_eq!(&alone[0][0], &completions[0]);
            }
        }
    }
}
