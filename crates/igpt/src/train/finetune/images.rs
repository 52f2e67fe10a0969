//! Choice of the images that a classifier is trained on: labelled ones, either a few per class or balanced by class.

use crate::data::{Dataset, Images, Split};
use crate::probe::few;
use crate::train::config::FinetuneSettings;
use crate::{Error, Result};

/// The labelled images of a split.
///
/// # Errors
/// When no image has a label.
pub(in crate::train) fn labelled(dataset: &Dataset, split: Split) -> Result<Images> {
    let images = dataset.split(split)?;
    let known = |label: Option<u32>| label.is_some_and(|label| (label as usize) < dataset.classes.len());
    let labelled = images.pick((0..images.len()).filter(|&i| known(images.label(i))));
    if labelled.is_empty() {
        return Err(Error::Invalid(format!(
            "the {split} images of {} have no labels ({} has none): give a data set with classes, such as a folder with a \
             folder of pictures for each class",
            dataset.name,
            images.name(0)
        )));
    }
    Ok(labelled)
}

/// Number of training images of each class.
///
/// # Errors
/// When there are fewer than two classes, or a class without training images.
pub(in crate::train) fn count_classes(dataset: &Dataset) -> Result<Vec<usize>> {
    let (name, images) = (&dataset.name, &dataset.train);
    let mut counts = vec![0; dataset.classes.len()];
    (0..images.len()).filter_map(|i| images.label(i)).for_each(|label| counts[label as usize] += 1);
    if counts.len() < 2 {
        let class = dataset.classes.first().map_or("none", |class| class);
        return Err(Error::Invalid(format!("{name} has a single class ({class}): there is nothing to tell apart")));
    }
    let missing: Vec<&str> =
        counts.iter().zip(&dataset.classes).filter(|(count, _)| **count == 0).map(|(_, name)| name.as_str()).collect();
    if !missing.is_empty() {
        return Err(Error::Invalid(format!(
            "{name} has no training images of {}: add some, or leave the class out",
            missing.join(", ")
        )));
    }
    Ok(counts)
}

/// The images to train on: a few per class, or balanced by class, if the settings ask for it.
pub(in crate::train) fn chosen(
    images: &Images,
    settings: &FinetuneSettings,
    classes: usize,
    seed: u64,
) -> Result<Images> {
    let images = match settings.labels_per_class {
        Some(count) => {
            let labels: Vec<u32> = (0..images.len()).filter_map(|i| images.label(i)).collect();
            images.pick(few::subset(&labels, classes, count, seed)?)
        }
        None => images.clone(),
    };
    Ok(if settings.balanced { balanced(&images, classes) } else { images })
}

/// Repeats images of rarer classes in turn, so that every class has as many as the largest.
fn balanced(images: &Images, classes: usize) -> Images {
    let mut of_class = vec![Vec::new(); classes];
    for i in 0..images.len() {
        if let Some(label) = images.label(i) {
            of_class[label as usize].push(i);
        }
    }
    let most = of_class.iter().map(Vec::len).max().unwrap_or(0);
    let chosen = of_class.iter().flat_map(|class| class.iter().cycle().take(most)).copied();
    images.pick(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data;

    #[test]
    fn few_labels_are_those_that_a_probe_of_the_same_seed_sees() {
        let emoji = data::open("emoji", &data::OpenOptions::default()).unwrap();
        let images = emoji.split(Split::Train).unwrap();
        // Classes with enough images have as many as asked for.
        let mut counts = vec![0; emoji.classes.len()];
        (0..images.len()).filter_map(|i| images.label(i)).for_each(|label| counts[label as usize] += 1);
        let images = images.pick((0..images.len()).filter(|&i| counts[images.label(i).unwrap() as usize] >= 20));
        let settings = FinetuneSettings { labels_per_class: Some(20), ..FinetuneSettings::default() };
        let few = chosen(&images, &settings, counts.len(), 3).unwrap();
        let labels: Vec<u32> = (0..images.len()).filter_map(|i| images.label(i)).collect();
        let taken = few::subset(&labels, counts.len(), 20, 3).unwrap();
        assert_eq!(few.indices(), images.pick(taken).indices());
        assert_eq!(few.len(), 20 * counts.iter().filter(|count| **count >= 20).count());
        assert_ne!(few.indices(), chosen(&images, &settings, counts.len(), 4).unwrap().indices());

        let settings = FinetuneSettings { labels_per_class: Some(100_000), ..settings };
        assert!(chosen(&images, &settings, counts.len(), 3).unwrap_err().to_string().contains("too few"));
        let all = chosen(&images, &FinetuneSettings::default(), counts.len(), 3).unwrap();
        assert_eq!(all.indices(), images.indices());
    }
}
