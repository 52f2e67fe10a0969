//! Page of `igpt data check`: the problems of a data set, with similar pictures side by side.

use super::Page;
use super::page::{Block, Command, Figure, ImagePair, Section, Table};
use crate::data::{
    Dataset, Images,
    check::{CheckReport, DuplicatePair, DuplicatePairs, ImageLocation, checked_images},
    shards::FileProblem,
};
use crate::image::{
    ImageSize, Pixels,
    resize::{Rect, resize},
};

/// Longest side of a picture on the page.
const SIDE: usize = 96;
/// Number of classes whose image counts are shown.
const CLASSES: usize = 200;

/// Composes the page of `igpt data check` from the findings `found` in `dataset`.
///
/// `images` is the number of images of each split that were looked at (0: all). `files` are the damaged files of a
/// token directory, if the data set is one. `made` is the command that makes the page.
pub fn data_check_page(
    dataset: &Dataset,
    found: &CheckReport,
    images: usize,
    files: Option<&[FileProblem]>,
    made: &str,
) -> Page {
    let parts = checked_images(dataset, images);
    let total: usize = found.splits.iter().map(|part| part.images).sum();
    let leaks = found.exact.leaks() + found.near.leaks();
    let lead = format!(
        "{total} images were looked at: {} are damaged, {} are copies of another one, {} look like another one, and {leaks} \
         times one of them stands in a split where it gives another one away.",
        found.damaged, found.exact.images, found.near.images
    );
    let headline = vec![
        (found.damaged.to_string(), "damaged".into()),
        (found.exact.images.to_string(), "exact copies".into()),
        (found.near.images.to_string(), "near duplicates".into()),
        (leaks.to_string(), "across splits".into()),
    ];
    let mut alike = Vec::new();
    for (heading, matches) in [("Exact copies", &found.exact), ("Near duplicates", &found.near)] {
        alike.push(Section::new(heading, matches_blocks(matches, &parts)));
    }
    let going_on = vec![Block::Commands(vec![Command { purpose: "This page".into(), line: made.into() }])];
    let mut sections = vec![
        Section::new("Files", files.map(file_blocks).unwrap_or_default()),
        Section::new("Splits and classes", splits(dataset, found)),
    ];
    sections.extend(alike);
    sections.push(Section::new("Damaged and unsupported images", damaged(found)));
    sections.push(Section::new("Sizes", sizes(found)));
    sections.push(Section::new("Going on", going_on));
    let icon = parts[0].len().checked_sub(1).and_then(|_| parts[0].pixels(0).ok()).map(|pixels| shown(&pixels));
    let footer = format!("igpt {} · {}", env!("CARGO_PKG_VERSION"), dataset.name);
    Page { title: format!("{}, looked through", dataset.name), lead, headline, icon, sections, footer }
}

fn table(head: &[&str], rows: Vec<Vec<String>>) -> Block {
    Block::Table(Table { head: head.iter().map(|&name| name.into()).collect(), rows })
}

fn file_blocks(files: &[FileProblem]) -> Vec<Block> {
    if files.is_empty() {
        return vec![Block::caption("Every file of the token directory is what its checksum says.")];
    }
    vec![table(&["file", "problem"], files.iter().map(|file| vec![file.file.clone(), file.problem.clone()]).collect())]
}

fn splits(dataset: &Dataset, found: &CheckReport) -> Vec<Block> {
    let part = |part: &crate::data::check::CheckedSplit| {
        let labelled = part.classes.iter().filter(|&&count| count > 0).count();
        let (images, unlabelled) = (part.images.to_string(), part.unlabelled.to_string());
        vec![part.split.to_string(), images, unlabelled, labelled.to_string()]
    };
    let rows = found.splits.iter().map(part).collect();
    let mut blocks = vec![table(&["split", "images", "without a label", "classes"], rows)];
    let class = |(i, name): (usize, &String)| {
        let counts = found.splits.iter().map(|part| part.classes[i].to_string());
        std::iter::once(name.clone()).chain(counts).collect()
    };
    let rows: Vec<Vec<String>> = dataset.classes.iter().enumerate().take(CLASSES).map(class).collect();
    if !rows.is_empty() {
        blocks.push(table(&["class", "train", "validation", "test"], rows));
    }
    if dataset.classes.len() > CLASSES {
        blocks.push(Block::caption(format!("The first {CLASSES} of {} classes.", dataset.classes.len())));
    }
    blocks
}

fn matches_blocks(matches: &DuplicatePairs, parts: &[Images; 3]) -> Vec<Block> {
    let figure = |name: &str, value: usize, meaning: &str| Figure {
        name: name.into(),
        value: value.to_string(),
        meaning: meaning.into(),
    };
    let mut blocks = vec![Block::Figures(vec![
        figure("images", matches.images, "are like one that comes before them"),
        figure(
            "of another class",
            matches.other_label,
            "than that one: one of the two labels is wrong, or both are right",
        ),
        figure("train in validation", matches.train_in_validation, "images of validation that are like one of train"),
        figure("train in test", matches.train_in_test, "images of test that are like one of train"),
        figure("validation in test", matches.validation_in_test, "images of test that are like one of validation"),
    ])];
    let pair = |pair: &DuplicatePair| {
        let image = |place: &ImageLocation| {
            let pixels = parts[place.split as usize].pixels(place.position).ok()?;
            Some((place.name.clone(), shown(&pixels)))
        };
        let [a, b] = pair.images.each_ref().map(said);
        let images = [image(&pair.images[0])?, image(&pair.images[1])?];
        Some(ImagePair { caption: format!("{a} and {b}: {:.1} levels", pair.difference), images })
    };
    let pairs: Vec<ImagePair> = matches.pairs.iter().filter_map(pair).collect();
    if !pairs.is_empty() {
        let caption =
            format!("{} pairs, those across splits first; levels are the difference of thumbnails.", pairs.len());
        blocks.push(Block::Alike(pairs));
        blocks.push(Block::Caption(caption));
    }
    blocks
}

/// Location of an image in words.
fn said(place: &ImageLocation) -> String {
    let class = place.class.as_ref().map_or(String::new(), |class| format!(", {class}"));
    format!("{} ({}{class})", place.name, place.split)
}

fn damaged(found: &CheckReport) -> Vec<Block> {
    let rows: Vec<_> = found.first_damaged.iter().map(|d| vec![d.name.clone(), d.problem.clone()]).collect();
    match rows.is_empty() {
        true => Vec::new(),
        false => {
            let caption =
                format!("{} of {} images that can't be read.", rows.len(), found.damaged + found.not_supported);
            vec![table(&["image", "problem"], rows), Block::Caption(caption)]
        }
    }
}

fn sizes(found: &CheckReport) -> Vec<Block> {
    const MOST: usize = 20;
    let rows = found.sizes.iter().take(MOST).map(|(size, count)| vec![size.to_string(), count.to_string()]).collect();
    let mut blocks = vec![table(&["height × width", "images"], rows)];
    if found.sizes.len() > MOST {
        blocks.push(Block::caption(format!("The {MOST} most frequent of {} sizes.", found.sizes.len())));
    }
    blocks
}

/// Scales a picture to at most [`SIDE`] pixels per side.
fn shown(pixels: &Pixels) -> Pixels {
    let longest = pixels.size.height.max(pixels.size.width);
    if longest <= SIDE {
        return pixels.clone();
    }
    let side = |side: usize| (side * SIDE / longest).max(1);
    let size = ImageSize { height: side(pixels.size.height), width: side(pixels.size.width) };
    resize(pixels, Rect::whole(pixels.size), size)
}
