use super::*;
use crate::generate::toy::Toy;
use crate::generate::{self, ImageRequest};
use crate::image::ImageSize;

fn request(known: Vec<Option<u16>>, image: u64, seed: u64, candidates: usize) -> GenerationRequest {
    GenerationRequest {
        known,
        image,
        attempt: 0,
        settings: SamplingSettings { seed, ..SamplingSettings::default() },
        candidates,
    }
}

fn nothing_known(toy: &Toy) -> Vec<Option<u16>> {
    vec![None; toy.config().n_ctx()]
}

/// Runs a session to its end; returns what was reported of each image, pixel by pixel.
fn finish(session: &mut GenerationSession, images: &mut [Vec<u16>]) {
    while !session.is_idle() {
        step(session, images);
    }
}

fn step(session: &mut GenerationSession, images: &mut [Vec<u16>]) {
    session
        .step(&mut |progress| {
            let image = &mut images[progress.id as usize];
            assert!(progress.from <= image.len());
            image.truncate(progress.from);
            image.extend_from_slice(progress.tokens);
        })
        .unwrap();
}

#[test]
fn images_that_join_later_are_the_same_as_alone() {
    let toy = Toy::new(6, 5);
    let settings = SamplingSettings { seed: 3, ..SamplingSettings::default() };
    let alone = generate::sample(&toy, 4, 0, &settings, 1, &mut |_, _| ()).unwrap();
    let mut session = GenerationSession::new(&toy, 3).unwrap();
    let mut images = vec![Vec::new(); 4];
    for image in 0..3 {
        session.add(image, request(nothing_known(&toy), image, 3, 1)).unwrap();
        (0..=4 * image).for_each(|_| step(&mut session, &mut images));
    }
    assert_eq!(session.free(), 0);
    let full = session.add(3, request(nothing_known(&toy), 3, 3, 1)).unwrap_err().to_string();
    assert!(full.contains("1 rows") && full.contains("0 are free"), "{full}");
    while session.free() == 0 {
        step(&mut session, &mut images);
    }
    session.add(3, request(nothing_known(&toy), 3, 3, 1)).unwrap();
    finish(&mut session, &mut images);
    assert_eq!(images, alone);
    assert_eq!(session.free(), 3);
}

#[test]
fn what_several_images_begin_with_is_read_once_and_each_is_the_same_as_alone() {
    let toy = Toy::new(6, 5);
    let mut images = vec![Vec::new(); 4];
    let mut session = GenerationSession::new(&toy, 4).unwrap();
    let known = |given: &[u16]| {
        let open = std::iter::repeat_n(None, 36 - given.len());
        given.iter().map(|token| Some(*token)).chain(open).collect::<Vec<_>>()
    };
    for image in 0..2 {
        images[image as usize] = vec![4, 0, 2];
        session.add(image, request(known(&[4, 0, 2]), image, 3, 1)).unwrap();
    }
    assert_eq!(toy.starts(), 1);
    step(&mut session, &mut images);
    // Where the first image is now, and where it was.
    for (image, given) in [(2, images[0].clone()), (3, vec![4, 0, 2])] {
        images[image as usize].clone_from(&given);
        session.add(image, request(known(&given), image, 3, 1)).unwrap();
    }
    assert_eq!(toy.starts(), 2);
    let begun: Vec<Vec<u16>> = vec![vec![4, 0, 2], vec![4, 0, 2], images[2].clone(), vec![4, 0, 2]];
    finish(&mut session, &mut images);
    let settings = SamplingSettings { seed: 3, ..SamplingSettings::default() };
    for (image, given) in begun.iter().enumerate() {
        let drawing = ImageRequest { given, image: image as u64, attempt: 0 };
        assert_eq!(images[image], generate::draw_all(&toy, &[drawing], &settings, 1, &mut |_, _| ()).unwrap()[0]);
    }
}

#[test]
fn who_leaves_frees_rows_and_changes_nobody() {
    let toy = Toy::new(6, 5);
    let mut holed = nothing_known(&toy);
    holed[30] = Some(2);
    let mut session = GenerationSession::new(&toy, 5).unwrap();
    let mut images = vec![Vec::new(); 2];
    session.add(0, request(holed, 0, 1, 4)).unwrap();
    session.add(1, request(nothing_known(&toy), 9, 1, 1)).unwrap();
    assert_eq!(session.free(), 0);
    (0..5).for_each(|_| step(&mut session, &mut images));
    session.remove(0);
    assert_eq!(session.free(), 4);
    finish(&mut session, &mut images);
    let settings = SamplingSettings { seed: 1, ..SamplingSettings::default() };
    let drawing = ImageRequest { given: &[], image: 9, attempt: 0 };
    assert_eq!(images[1], generate::draw_all(&toy, &[drawing], &settings, 1, &mut |_, _| ()).unwrap()[0]);
}

/// Images of 2×2 pixels of 3 colours, small enough to list: the exact distribution of those that agree with `known`.
fn exact(toy: &Toy, known: &[Option<u16>]) -> Vec<(Vec<u16>, f64)> {
    let mut all = vec![(Vec::new(), 1.0)];
    for known in known {
        all = all
            .into_iter()
            .flat_map(|(tokens, p): (Vec<u16>, f64)| {
                let logits = toy.logits_after(&tokens);
                let sum: f64 = logits.iter().map(|&v| f64::from(v).exp()).sum();
                let agreeing = (0..3u16).filter(move |token| known.is_none_or(|known| known == *token));
                let next = agreeing.map(move |token| {
                    let share = f64::from(logits[token as usize]).exp() / sum;
                    ([tokens.clone(), vec![token]].concat(), p * share)
                });
                next.collect::<Vec<_>>()
            })
            .collect();
    }
    let total: f64 = all.iter().map(|(_, p)| p).sum();
    all.into_iter().map(|(tokens, p)| (tokens, p / total)).collect()
}

/// Half the summed difference between how often images came and their exact probabilities.
fn distance(toy: &Toy, known: &[Option<u16>], candidates: usize, n: u64) -> f64 {
    let mut session = GenerationSession::new(toy, candidates).unwrap();
    let mut counts = std::collections::HashMap::new();
    for image in 0..n {
        let mut drawn = vec![known.iter().map_while(|token| *token).collect()];
        session.add(0, request(known.to_vec(), image, 11, candidates)).unwrap();
        finish(&mut session, &mut drawn);
        *counts.entry(drawn.remove(0)).or_insert(0.0) += 1.0 / n as f64;
    }
    let exact = exact(toy, known);
    assert!(counts.keys().all(|tokens| exact.iter().any(|(other, _)| other == tokens)), "known pixels are kept");
    exact.iter().map(|(tokens, p)| (counts.get(tokens).unwrap_or(&0.0) - p).abs()).sum::<f64>() / 2.0
}

#[test]
fn many_candidates_come_near_the_exact_conditional_and_one_does_not() {
    let toy = Toy::new(2, 3);
    assert_eq!(toy.config().n_px, ImageSize::square(2));
    for known in [[None, None, None, Some(1)], [None, Some(2), None, Some(0)], [Some(1), None, Some(0), Some(2)]] {
        let n = 1000;
        let (one, many) = (distance(&toy, &known, 1, n), distance(&toy, &known, 256, n));
        // Nine outcomes of 1000 draws differ by about √(9 / 1000) / 2 by chance.
        assert!(many < 0.06, "{known:?}: {many}");
        assert!(one > 2.0 * many, "{known:?}: {one} of one candidate, {many} of 256");
    }
}

#[test]
fn effective_numbers_lie_between_one_and_the_candidates() {
    let toy = Toy::new(4, 4);
    let known: Vec<_> = (0..16).map(|t| (t % 3 == 1).then_some(t % 4)).collect();
    let mut session = GenerationSession::new(&toy, 8).unwrap();
    session.add(0, request(known, 0, 2, 8)).unwrap();
    let mut least = 8.0f64;
    while !session.is_idle() {
        session
            .step(&mut |progress| {
                let effective = progress.effective.unwrap();
                assert!((0.999..8.001).contains(&effective), "{effective}");
                least = least.min(effective);
            })
            .unwrap();
    }
    assert!(least < 7.9, "weights differ: {least}");
}

#[test]
fn what_can_not_be_drawn_is_refused_with_the_reason() {
    let toy = Toy::new(4, 4);
    let mut session = GenerationSession::new(&toy, 2).unwrap();
    let mut refused = |request: GenerationRequest| session.add(0, request).unwrap_err().to_string();
    assert!(refused(request(vec![Some(0); 16], 0, 0, 1)).contains("nothing to draw"));
    assert!(refused(request(vec![None; 15], 0, 0, 1)).contains("15 pixels"));
    assert!(refused(request([None, Some(4)].repeat(8), 0, 0, 1)).contains("token 4"));
    assert!(refused(request([None, Some(3)].repeat(8), 0, 0, 3)).contains("3 rows"));
    assert!(refused(request(vec![None; 16], 1 << 32, 0, 1)).contains("2^32"));
    assert!(refused(request(vec![None; 16], 0, 0, 0)).contains("0 candidates"));
}
