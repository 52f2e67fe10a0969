use proptest::prelude::*;

use super::*;
use crate::data::augment::reflect;
use crate::rng::{Purpose, Rng};

fn image(height: usize, width: usize, channels: usize) -> Pixels {
    let data = (0..height * width * channels).map(|i| (i * 7 % 251) as u8).collect();
    Pixels::new(ImageSize { height, width }, channels, data)
}

fn preprocess(height: usize, width: usize, augment: Augment) -> Preprocess {
    Preprocess { augment, ..Preprocess::new(ImageSize { height, width }) }
}

fn rng(image: u64) -> Rng {
    Rng::new(1, Purpose::Augment, 0, image)
}

#[test]
fn an_image_of_the_models_size_is_untouched() {
    let original = image(12, 9, 3);
    assert_eq!(preprocess(12, 9, Augment::None).evaluation(&original).unwrap(), original);
    assert_eq!(preprocess(12, 9, Augment::None).training(&original, &mut rng(0)).unwrap(), original);
}

#[test]
fn evaluation_crops_the_middle_then_scales() {
    // 8×20: the middle 8×8 starts at column 6.
    let wide = image(8, 20, 1);
    let out = preprocess(8, 8, Augment::None).evaluation(&wide).unwrap();
    for y in 0..8 {
        assert_eq!(out.data[y * 8..][..8], wide.data[y * 20 + 6..][..8]);
    }
    let tall = preprocess(8, 8, Augment::None).evaluation(&image(20, 8, 1)).unwrap();
    assert_eq!(tall.data, image(20, 8, 1).data[6 * 8..14 * 8]);
}

#[test]
fn cifar_crops_reach_every_offset_and_both_directions() {
    let original = image(10, 11, 1);
    let recipe = preprocess(10, 11, Augment::Cifar);
    let padded = |y: isize, x: isize| original.data[reflect(y, 10) * 11 + reflect(x, 11)];
    let mut seen = std::collections::HashSet::new();
    for n in 0..3000 {
        let out = recipe.training(&original, &mut rng(n)).unwrap();
        let found = (0..162).find(|&k| {
            let (top, left, flip) = (k / 18 - 4, k % 18 / 2 - 4, k % 2 == 1);
            (0..10).all(|y| {
                (0..11).all(|x| {
                    let from = if flip { 10 - x } else { x };
                    out.data[(y * 11 + x) as usize] == padded(top + y, left + from)
                })
            })
        });
        seen.insert(found.expect("a crop of the padded image or of its mirror image"));
    }
    assert_eq!(seen.len(), 162);
}

#[test]
fn imagenet_crops_keep_to_the_papers_range() {
    let (image, model) = (ImageSize { height: 480, width: 640 }, ImageSize::square(32));
    let areas: Vec<Rect> = (0..2000)
        .map(|n| {
            let rng = &mut rng(n);
            random_area(image, model, Augment::Imagenet.share(rng), rng)
        })
        .collect();
    for a in &areas {
        assert!(a.width == a.height && a.width >= 480.0 * 224.0 / 384.0 && a.width <= 480.0 * 224.0 / 256.0);
        assert!(a.left >= 0.0 && a.top >= 0.0 && a.left + a.width <= 640.0 && a.top + a.height <= 480.0);
    }
    let spread = |f: fn(&Rect) -> f64| {
        let values: Vec<f64> = areas.iter().map(f).collect();
        values.iter().copied().fold(f64::MIN, f64::max) - values.iter().copied().fold(f64::MAX, f64::min)
    };
    assert!(spread(|a| a.width) > 135.0 && spread(|a| a.left) > 300.0 && spread(|a| a.top) > 150.0);
}

#[test]
fn augmentation_is_a_function_of_its_key() {
    let original = image(40, 50, 3);
    for augment in [Augment::Imagenet, Augment::Cifar] {
        let recipe = preprocess(16, 16, augment);
        let draw = |n| recipe.training(&original, &mut rng(n)).unwrap();
        assert_eq!(draw(5), draw(5));
        assert!((0..20).any(|n| draw(n) != draw(5)));
    }
}

#[test]
fn recipes_have_their_names() {
    for (name, augment) in
        Augment::NAMES.into_iter().filter(|name| *name != "crop-flip").map(|name| (name, name.parse().unwrap()))
    {
        assert_eq!(Augment::name(augment), name);
        assert_eq!(serde_json::to_string(&augment).unwrap(), format!("{name:?}"));
    }
    assert!("flip".parse::<Augment>().unwrap_err().to_string().contains("imagenet, cifar, crop-flip or tiles"));
    assert_eq!("crop-flip".parse::<Augment>().unwrap(), Augment::Cifar);
    assert_eq!(serde_json::from_str::<Augment>("\"crop-flip\"").unwrap(), Augment::Cifar);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_size_comes_out_as_the_models(h in 1usize..60, w in 1usize..60, mh in 8usize..20, mw in 8usize..20, n in 0u64..50) {
        for augment in [Augment::None, Augment::Imagenet, Augment::Cifar] {
            let recipe = preprocess(mh, mw, augment);
            prop_assert_eq!(recipe.training(&image(h, w, 3), &mut rng(n)).unwrap().size, recipe.size);
            prop_assert_eq!(recipe.evaluation(&image(h, w, 1)).unwrap().size, recipe.size);
        }
    }

    #[test]
    fn the_crop_is_the_largest_of_the_models_aspect(h in 1usize..500, w in 1usize..500, mh in 8usize..64, mw in 8usize..64) {
        let crop = largest_crop(ImageSize { height: h, width: w }, ImageSize { height: mh, width: mw });
        prop_assert!(crop.height <= h && crop.width <= w && (crop.height == h || crop.width == w));
        // Off the exact aspect by no more than the rounding of one side.
        let exact = crop.height as f64 * mw as f64 / mh as f64 - crop.width as f64;
        prop_assert!(exact.abs() <= 0.5 * (1.0f64).max(mw as f64 / mh as f64) + 1e-9 || crop.height == 1 || crop.width == 1);
    }

    #[test]
    fn reflection_mirrors_about_the_border_pixels(n in 1usize..30, i in -60isize..90) {
        let at = reflect(i, n);
        prop_assert!(at < n);
        if (0..n as isize).contains(&i) {
            prop_assert_eq!(at, i as usize);
        }
        prop_assert_eq!(at, reflect(-i, n));
        prop_assert_eq!(at, reflect(2 * (n as isize - 1) - i, n));
    }

    #[test]
    fn a_flat_image_stays_flat(h in 1usize..50, w in 1usize..50, v in 0u8..=255, n in 0u64..50) {
        let size = ImageSize { height: h, width: w };
        let flat = Pixels::new(size, 1, vec![v; size.pixels()]);
        let out = preprocess(9, 8, Augment::Imagenet).training(&flat, &mut rng(n)).unwrap();
        prop_assert!(out.data.iter().all(|&o| o == v));
    }
}

#[test]
fn a_model_that_forbids_scaling_reads_images_of_its_size_and_no_others() {
    let off = |augment| Preprocess { resampling: Resampling::Off, ..preprocess(8, 9, augment) };
    for augment in [Augment::None, Augment::Imagenet, Augment::Cifar] {
        let own = image(8, 9, 3);
        assert_eq!(off(augment).evaluation(&own).unwrap(), own);
        off(augment).training(&own, &mut rng(0)).unwrap();
        off(augment).unflipped(&own, &mut rng(0)).unwrap();
        let other = image(9, 9, 3);
        for refused in [
            off(augment).evaluation(&other),
            off(augment).training(&other, &mut rng(0)),
            off(augment).unflipped(&other, &mut rng(0)),
        ] {
            let message = refused.unwrap_err().to_string();
            assert!(message.contains("9×9") && message.contains("8×9") && message.contains("do_resize"), "{message}");
        }
    }
}

#[test]
fn the_filter_decides_the_pixels() {
    let picture = image(19, 19, 3);
    let of = |resampling| Preprocess { resampling, ..preprocess(8, 8, Augment::None) }.evaluation(&picture).unwrap();
    let all = [Resampling::Nearest, Resampling::Bilinear, Resampling::Bicubic].map(of);
    assert!(all[0] != all[1] && all[1] != all[2] && all[0] != all[2]);
    assert_eq!(all[1], preprocess(8, 8, Augment::None).evaluation(&picture).unwrap());
}
