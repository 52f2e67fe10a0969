//! Token directories against their source, against damage, and against interruption.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use super::write::manifest_of;
use super::*;
use crate::data::{Augment, Batch, Dataset, Images, Loader, OpenOptions, Preprocess, Source, Split, tokenize};
use crate::image::{ImageSize, Pixels};
use crate::palette::{Palette, Quantizer};
use crate::rng::{Purpose, Rng};
use crate::{Error, Result, data};

/// Noisy images of 9×11; those in `broken` are damaged.
struct Noise {
    count: usize,
    broken: Vec<usize>,
}

impl Source for Noise {
    fn len(&self) -> usize {
        self.count
    }
    fn channels(&self) -> usize {
        3
    }
    fn pixels(&self, i: usize) -> Result<Pixels> {
        if self.broken.contains(&i) {
            return Err(Error::format(format!("{i}.png"), "cut off"));
        }
        let mut rng = Rng::new(7, Purpose::Sample, 1, i as u64);
        let data = (0..9 * 11 * 3).map(|_| rng.below(256) as u8).collect();
        Ok(Pixels::new(ImageSize { height: 9, width: 11 }, 3, data))
    }
    fn label(&self, i: usize) -> Option<u32> {
        (!i.is_multiple_of(5)).then_some(i as u32 % 3)
    }
    fn name(&self, i: usize) -> String {
        format!("ä/{i}.png")
    }
    fn in_memory(&self) -> bool {
        false
    }
}

const SIZE: ImageSize = ImageSize { height: 6, width: 8 };

/// `count` images, of which every tenth is of validation and every tenth of test.
fn noise(count: usize, broken: &[usize]) -> Dataset {
    let source = Arc::new(Noise { count, broken: broken.to_vec() });
    let part = |which: [usize; 2]| (0..count).filter(|i| which.contains(&(i % 10).min(2))).map(|i| i as u32).collect();
    let classes = ["a", "b", "c"].map(String::from).to_vec();
    Dataset::new("noise", classes, source, [part([2, 2]), part([0, 0]), part([1, 1])])
}

fn palette(n: usize) -> Palette {
    let colors = (0..n).map(|i| [0.0, 0.3, 0.6].map(|c| ((i as f32 * 0.618 + c) % 1.0) * 2.0 - 1.0)).collect();
    Palette::new(colors, 3).unwrap()
}

/// A palette of `n` colours, its tables made once.
fn quantizer(n: usize) -> Arc<Quantizer> {
    static MADE: Mutex<BTreeMap<usize, Arc<Quantizer>>> = Mutex::new(BTreeMap::new());
    MADE.lock().unwrap().entry(n).or_insert_with(|| Arc::new(Quantizer::new(palette(n)))).clone()
}

fn settings() -> TokenizeSettings {
    TokenizeSettings {
        source: "noise".into(),
        n_px: SIZE,
        augment: Augment::None,
        views: 0,
        seed: 3,
        shard_images: Some(37),
        threads: 2,
    }
}

fn made(dataset: &Dataset, settings: &TokenizeSettings, colors: usize, out: &Path) -> Result<TokenizeSummary> {
    write_token_dir(dataset, &quantizer(colors), settings, out, &mut |_, _, _| ())
}

/// A directory of tokens with everything in it: damaged images, missing labels, several shards.
fn directory(settings: &TokenizeSettings, colors: usize) -> (TempDir, Dataset) {
    let (folder, dataset) = (tempfile::tempdir().unwrap(), noise(300, &[13, 77]));
    made(&dataset, settings, colors, folder.path()).unwrap();
    (folder, dataset)
}

fn opened(root: &Path) -> Result<Dataset> {
    data::open(root.to_str().unwrap(), &OpenOptions::default())
}

/// All files with their contents.
fn contents(root: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(root).unwrap().map(|entry| entry.unwrap());
    let mut files: Vec<_> =
        entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect();
    files.sort();
    files
}

/// Reads everything that training and evaluation read.
fn read_all(root: &Path, colors: usize) -> Result<()> {
    let set = opened(root)?;
    for split in [Split::Train, Split::Validation, Split::Test] {
        tokenize(&set.split(split)?, SIZE, &quantizer(colors))?;
    }
    Ok(())
}

fn batches(images: &Images, augment: Augment, seed: u64, colors: usize, n: usize) -> Vec<Batch> {
    let preprocess = Preprocess { augment, ..Preprocess::new(SIZE) };
    let mut loader = Loader::new(images.clone(), preprocess, quantizer(colors), seed, 24, 0).unwrap();
    (0..n).map(|_| loader.next().unwrap()).collect()
}

#[test]
fn tokens_are_the_sources_with_the_same_splits_names_labels_and_damage() {
    for colors in [40, 700] {
        let (folder, source) = directory(&settings(), colors);
        let tokens = opened(folder.path()).unwrap();
        assert_eq!((&tokens.classes, tokens.channels), (&source.classes, 3));
        for split in [Split::Train, Split::Validation, Split::Test] {
            let [theirs, ours] = [&source, &tokens].map(|set| set.split(split).unwrap());
            assert_eq!(ours.len(), theirs.len());
            let [theirs, ours] = [theirs, ours].map(|images| tokenize(&images, SIZE, &quantizer(colors)).unwrap());
            assert_eq!(ours, theirs, "{split}");
        }
        let names: Vec<String> = {
            let train = tokens.split(Split::Train).unwrap();
            tokenize(&train, SIZE, &quantizer(colors)).unwrap().damaged.into_iter().map(|d| d.name).collect()
        };
        assert_eq!(names, ["ä/13.png", "ä/77.png"]);
    }
}

#[test]
fn batches_are_the_sources_for_everything_that_is_exact_on_tokens() {
    let (folder, source) = directory(&settings(), 40);
    let tokens = opened(folder.path()).unwrap();
    for augment in [Augment::None, Augment::Cifar] {
        let [theirs, ours] = [&source, &tokens].map(|set| batches(&set.train, augment, 9, 40, 25));
        assert!(ours == theirs, "{augment:?}");
        assert!(ours[0].tokens() != batches(&tokens.train, augment, 8, 40, 1)[0].tokens(), "the seed counts");
    }
    // A part of a split too: fine-tuning on few labels.
    let part = |set: &Dataset| set.train.pick((0..set.train.len()).step_by(2));
    assert!(batches(&part(&tokens), Augment::Cifar, 1, 40, 9) == batches(&part(&source), Augment::Cifar, 1, 40, 9));
}

#[test]
fn stored_views_are_what_the_sources_run_sees_in_as_many_epochs() {
    for augment in [Augment::Cifar, Augment::Imagenet] {
        let (folder, source) = directory(&TokenizeSettings { augment, views: 3, ..settings() }, 40);
        let tokens = opened(folder.path()).unwrap();
        // 240 training images, 24 a batch: three epochs are 30 batches.
        let [theirs, ours] = [&source, &tokens].map(|set| batches(&set.train, augment, 3, 40, 60));
        assert!(ours[..30] == theirs[..30], "{augment:?}");
        assert!(ours[30..] != theirs[30..], "{augment:?}: views come again, images don't");
        // What is evaluated is no view.
        let [theirs, ours] = [&source, &tokens].map(|set| tokenize(&set.train, SIZE, &quantizer(40)).unwrap());
        assert_eq!(ours, theirs);
        let refused = Loader::new(tokens.train.clone(), Preprocess::new(SIZE), quantizer(40), 0, 4, 0);
        let problem = refused.err().unwrap().to_string();
        assert!(problem.contains(&format!("{augment:?}").to_lowercase()) && problem.contains("none"), "{problem}");
    }
}

#[test]
fn flips_go_on_where_stored_views_come_again() {
    let (folder, _) = directory(&TokenizeSettings { augment: Augment::Cifar, views: 1, ..settings() }, 40);
    let tokens = opened(folder.path()).unwrap();
    let one = tokens.train.pick([5]);
    let mut seen: Vec<Vec<u16>> = batches(&one, Augment::Cifar, 0, 40, 4)
        .iter()
        .flat_map(|batch| (0..batch.images()).map(|i| batch.image(i).to_vec()).collect::<Vec<_>>())
        .collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 2, "one crop, flipped and not");
    let flipped: Vec<u16> = seen[0].chunks(SIZE.width).flat_map(|row| row.iter().rev().copied()).collect();
    assert_eq!(seen[1], flipped);
}

#[test]
fn the_bytes_do_not_depend_on_threads_or_interruptions() {
    let (folder, source) = directory(&TokenizeSettings { augment: Augment::Imagenet, views: 2, ..settings() }, 40);
    let whole = contents(folder.path());
    for threads in [1, 3, 8] {
        let again = tempfile::tempdir().unwrap();
        let settings = TokenizeSettings { augment: Augment::Imagenet, views: 2, threads, ..settings() };
        made(&source, &settings, 40, again.path()).unwrap();
        assert!(contents(again.path()) == whole, "{threads} threads");
        // As if it had been killed: some files are missing, one is half written under its passing name.
        let names = ["train-00003.tokens", "test-00000.tokens", "preprocessor_config.json"];
        names.iter().for_each(|name| fs::remove_file(again.path().join(name)).unwrap());
        fs::write(again.path().join(".train-00003.tokens.new"), "half").unwrap();
        let written = made(&source, &settings, 40, again.path()).unwrap();
        assert_eq!((written.made, written.kept, written.mended.len()), (2, 7, 0));
        assert_eq!((written.damaged, written.first_damaged[0].name.as_str()), (2, "ä/13.png"));
        assert!(contents(again.path()) == whole, "{threads} threads");
    }
}

#[test]
fn every_flipped_byte_and_every_cut_is_told_with_the_files_name_and_mended() {
    let (folder, source) = directory(&settings(), 40);
    let whole = contents(folder.path());
    for (name, bytes) in &whole {
        let path = folder.path().join(name);
        let step = (bytes.len() / 40).max(1);
        let flips = (0..bytes.len()).step_by(step).chain(bytes.len().saturating_sub(40)..bytes.len());
        let flipped = flips.map(|i| {
            let mut damaged = bytes.clone();
            damaged[i] ^= 1 << (i % 8);
            (format!("byte {i} of {}", bytes.len()), damaged)
        });
        let cuts = [0, 1, 7, 127, 128, 200, bytes.len() / 2, bytes.len() - 33, bytes.len() - 1];
        let cut = cuts.into_iter().map(|end| (format!("cut to {end}"), bytes[..end.min(bytes.len() - 1)].to_vec()));
        let longer = ("longer".to_owned(), [bytes.as_slice(), b"\n"].concat());
        for (what, damaged) in flipped.chain(cut).chain([longer]) {
            fs::write(&path, &damaged).unwrap();
            let problems = TokenDir::verify(folder.path(), &mut |_, _| ()).unwrap();
            assert_eq!(problems.iter().map(|p| &p.file).collect::<Vec<_>>(), [name], "{what}");
            let trailer = name.ends_with(".tokens") && damaged.len() == bytes.len() && {
                damaged[..bytes.len() - 32] == bytes[..bytes.len() - 32]
            };
            // What is read is checked; the checksum of the whole isn't read but by verify.
            match read_all(folder.path(), 40) {
                Ok(()) => assert!(trailer, "{name}, {what}: nobody noticed"),
                Err(problem) => assert!(problem.to_string().contains(name.as_str()), "{what}: {problem}"),
            }
        }
        if name.ends_with(".tokens") {
            let written = made(&source, &settings(), 40, folder.path()).unwrap();
            assert_eq!(written.mended.iter().map(|p| &p.file).collect::<Vec<_>>(), [name]);
            assert!(contents(folder.path()) == whole);
        }
        fs::write(&path, bytes).unwrap();
    }
}

#[test]
fn a_directory_begun_otherwise_is_left_alone_and_the_difference_is_named() {
    let (folder, source) = directory(&settings(), 40);
    let before = contents(folder.path());
    let refuse = |dataset: &Dataset, settings: TokenizeSettings, colors: usize| {
        let problem = made(dataset, &settings, colors, folder.path()).unwrap_err().to_string();
        assert!(contents(folder.path()) == before);
        problem
    };
    let problem = refuse(&source, settings(), 41);
    assert!([40, 41].iter().all(|&n| problem.contains(&palette(n).hash())), "{problem}");
    let problem = refuse(&source, TokenizeSettings { n_px: ImageSize::square(8), ..settings() }, 40);
    assert!(problem.contains("6×8") && problem.contains("8×8"), "{problem}");
    let problem = refuse(&source, TokenizeSettings { source: "other".into(), ..settings() }, 40);
    assert!(problem.contains("noise") && problem.contains("other"), "{problem}");
    let problem = refuse(&noise(310, &[13, 77]), settings(), 40);
    assert!(problem.contains("[240, 30, 30]") && problem.contains("[248, 31, 31]"), "{problem}");
    assert!(
        refuse(&source, TokenizeSettings { augment: Augment::Cifar, views: 2, ..settings() }, 40)
            .contains("views is 0")
    );

    let taken = tempfile::tempdir().unwrap();
    fs::write(taken.path().join("notes.txt"), "mine").unwrap();
    let problem = made(&source, &settings(), 40, taken.path()).unwrap_err().to_string();
    assert!(problem.contains("notes.txt"), "{problem}");
    // A shard of another directory is not overwritten.
    let foreign = tempfile::tempdir().unwrap();
    fs::copy(folder.path().join("train-00000.tokens"), foreign.path().join("train-00000.tokens")).unwrap();
    let other = TokenizeSettings { source: "other".into(), ..settings() };
    let problem = made(&source, &other, 40, foreign.path()).unwrap_err().to_string();
    assert!(problem.contains("train-00000.tokens") && problem.contains("another"), "{problem}");
}

#[test]
fn more_than_one_percent_of_damage_in_a_split_stops() {
    let folder = tempfile::tempdir().unwrap();
    let problem = made(&noise(300, &[13, 77, 78]), &settings(), 40, folder.path()).unwrap_err().to_string();
    assert!(problem.contains("3 of 240 images are damaged") && problem.contains("78.png"), "{problem}");
    let problem = made(&noise(300, &[20]), &settings(), 40, folder.path()).unwrap_err().to_string();
    assert!(problem.contains("was begun otherwise") || problem.contains("1 of 30"), "{problem}");
}

#[test]
fn an_unfinished_directory_names_what_is_missing() {
    let (folder, _) = directory(&settings(), 40);
    fs::remove_file(folder.path().join("validation-00000.tokens")).unwrap();
    let problem = opened(folder.path()).unwrap_err().to_string();
    assert!(problem.contains("validation-00000.tokens") && problem.contains("igpt data tokenize"), "{problem}");
}

#[test]
fn another_palette_or_size_is_refused_with_both_named() {
    let (folder, _) = directory(&settings(), 40);
    let train = opened(folder.path()).unwrap().train;
    let problem = tokenize(&train, SIZE, &quantizer(41)).unwrap_err().to_string();
    assert!([40, 41].iter().all(|&n| problem.contains(&palette(n).hash())), "{problem}");
    let problem = tokenize(&train, ImageSize::square(8), &quantizer(40)).unwrap_err().to_string();
    assert!(problem.contains("6×8") && problem.contains("8×8"), "{problem}");
}

#[test]
fn pixels_of_tokens_are_the_palettes_colours() {
    let (folder, source) = directory(&settings(), 40);
    let (tokens, quantizer) = (opened(folder.path()).unwrap(), quantizer(40));
    let set = tokenize(&source.test, SIZE, &quantizer).unwrap();
    assert_eq!(tokens.test.pixels(3).unwrap(), quantizer.pixels(set.image(3), SIZE));
}

/// Memory that is the process's own, not a file's, in bytes.
#[cfg(target_os = "linux")]
fn own_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    1024 * line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn a_loader_over_a_large_directory_keeps_no_copy_of_it() {
    use std::io::{Seek, SeekFrom, Write};

    use super::format::{Entry, FIXED, HEADER, Shape, crc, finish};

    // One shard of 600 MB, almost all of it a hole in the file: every token is 0, so every checksum is the same.
    const IMAGES: usize = 150_000;
    let (folder, size) = (tempfile::tempdir().unwrap(), ImageSize::square(64));
    let source = {
        let source = Arc::new(Noise { count: IMAGES, broken: Vec::new() });
        Dataset::new("hole", Vec::new(), source, [(0..IMAGES as u32).collect(), Vec::new(), Vec::new()])
    };
    let quantizer = quantizer(40);
    let settings = TokenizeSettings { n_px: size, shard_images: Some(IMAGES), ..settings() };
    let manifest = manifest_of(&source, &quantizer, &settings);
    let shape = Shape::new(&manifest, manifest.shards().next().unwrap());
    let entry = Entry { checksums: vec![crc(&[0; 64 * 64])], ..Entry::default() };
    // A shard without tokens gives header and table; the header's checksum does not depend on what lies between.
    let bytes = finish(vec![0; HEADER], &shape.fixed(&manifest), &vec![entry; IMAGES]);
    let mut file = fs::File::create(folder.path().join(shape.name())).unwrap();
    file.write_all(&bytes[..HEADER]).unwrap();
    file.seek(SeekFrom::Start(shape.table() as u64)).unwrap();
    file.write_all(&bytes[HEADER..]).unwrap();
    assert!(FIXED < HEADER && file.metadata().unwrap().len() > 600_000_000);
    fs::write(folder.path().join("tokens.json"), manifest.text()).unwrap();
    fs::write(folder.path().join("preprocessor_config.json"), dir::palette_text(quantizer.palette(), size)).unwrap();

    let images = opened(folder.path()).unwrap().train;
    let before = own_memory();
    let preprocess = Preprocess::new(size);
    let mut loader = Loader::new(images, preprocess, quantizer, 0, 500, 0).unwrap();
    for _ in 0..100 {
        assert_eq!(loader.next().unwrap().images(), 500);
    }
    let grown = own_memory().saturating_sub(before);
    assert!(grown < 100 << 20, "50,000 images of 200 MB took {grown} bytes");
}

/// Writes the manifest anew after an `edit`, with a checksum that fits.
fn rewrite_token_dir(root: &Path, edit: impl FnOnce(&mut serde_json::Value)) {
    let path = root.join("tokens.json");
    let mut value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    edit(&mut value);
    value["sha256"] = "".into();
    let unsealed: Manifest = serde_json::from_value(value).unwrap();
    fs::write(path, unsealed.sealed().text()).unwrap();
}

#[test]
fn no_number_of_a_manifest_is_believed_before_the_files_agree_with_it() {
    let numbers = [0, 1, 2, 255, 1 << 16, 1 << 24, 1 << 32, 1 << 48, i64::MAX as u64, u64::MAX];
    type Edit = fn(&mut serde_json::Value, u64);
    let edits: [(&str, Edit); 9] = [
        ("height", |m, n| m["n_px"][0] = n.into()),
        ("width", |m, n| m["n_px"][1] = n.into()),
        ("n_vocab", |m, n| m["n_vocab"] = n.into()),
        ("channels", |m, n| m["channels"] = n.into()),
        ("views", |m, n| m["views"] = n.into()),
        ("shard_images", |m, n| m["shard_images"] = n.into()),
        ("train", |m, n| m["images"]["train"] = n.into()),
        ("validation", |m, n| m["images"]["validation"] = n.into()),
        ("test", |m, n| m["images"]["test"] = n.into()),
    ];
    for (name, edit) in edits {
        for n in numbers {
            let (folder, _) = directory(&settings(), 40);
            rewrite_token_dir(folder.path(), |manifest| edit(manifest, n));
            if (name, n) == ("views", 0) {
                // So it is.
                continue;
            }
            // No file fits to another manifest, so every number but the right one is refused, quickly and by name.
            let problems = TokenDir::verify(folder.path(), &mut |_, _| ()).unwrap();
            assert!(!problems.is_empty() && problems.len() < 40, "{name} {n}: {}", problems.len());
            let problem = opened(folder.path()).unwrap_err().to_string();
            assert!(problem.contains(folder.path().to_str().unwrap()), "{name} {n}: {problem}");
        }
    }
}

#[test]
fn many_shards_that_are_only_said_to_be_there_are_neither_gathered_nor_listed() {
    let (folder, _) = directory(&settings(), 40);
    rewrite_token_dir(folder.path(), |manifest| {
        manifest["shard_images"] = 1.into();
        manifest["images"]["train"] = 4_000_000_000_u64.into();
    });
    let problems = TokenDir::verify(folder.path(), &mut |_, _| ()).unwrap();
    assert!(problems.len() < 40 && problems.last().unwrap().problem.contains("20 are missing"), "{problems:?}");
    assert!(opened(folder.path()).unwrap_err().to_string().contains("not finished"));
}
