use super::*;
use crate::data::{Images, Split};

fn save(root: &Path, name: &str, grey: bool) {
    let path = root.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    if grey {
        image::GrayImage::from_pixel(4, 5, image::Luma([7])).save(path).unwrap();
    } else {
        image::RgbImage::from_pixel(4, 5, image::Rgb([7, 8, 9])).save(path).unwrap();
    }
}

fn names(images: &Images) -> Vec<String> {
    (0..images.len()).map(|i| images.name(i)).collect()
}

#[test]
fn a_flat_folder_is_cut_80_10_10_by_the_seed() {
    let dir = tempfile::tempdir().unwrap();
    (0..50).for_each(|i| save(dir.path(), &format!("{i:02}.png"), false));
    let set = open(dir.path(), 3).unwrap();
    assert_eq!((set.train.len(), set.validation.len(), set.test.len(), set.channels), (40, 5, 5, 3));
    assert!(set.classes.is_empty() && set.train.label(0).is_none());
    let all = names(&set.split(Split::All).unwrap());
    assert_eq!(all.len(), 50);
    assert!(all.is_sorted());
    let mut parts = [names(&set.train), names(&set.validation), names(&set.test)].concat();
    parts.sort_unstable();
    assert_eq!(parts, all, "every image in one part");
    assert_eq!(names(&open(dir.path(), 3).unwrap().test), names(&set.test));
    assert_ne!(names(&open(dir.path(), 4).unwrap().test), names(&set.test));
}

#[test]
fn sub_folders_are_classes() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["dog/a.png", "cat/b.png", "cat/deep/er/c.png", "plain.png", "note.txt", ".hidden/d.png"] {
        if name.ends_with("txt") {
            std::fs::write(dir.path().join(name), "").unwrap()
        } else {
            save(dir.path(), name, false)
        }
    }
    let set = open(dir.path(), 0).unwrap();
    let all = set.split(Split::All).unwrap();
    assert_eq!(set.classes, ["cat", "dog"]);
    assert_eq!(names(&all), ["cat/b.png", "cat/deep/er/c.png", "dog/a.png", "plain.png"]);
    assert_eq!([0, 1, 2, 3].map(|i| all.label(i)), [Some(0), Some(0), Some(1), None]);
}

#[test]
fn a_folder_may_bring_its_own_parts() {
    let dir = tempfile::tempdir().unwrap();
    for class in ["cat", "dog"] {
        (0..10).for_each(|i| save(dir.path(), &format!("train/{class}/{i}.png"), false));
        save(dir.path(), &format!("val/{class}/v.png"), false);
    }
    save(dir.path(), "test/emu/t.png", false);
    save(dir.path(), "extra/x.png", false);
    let set = open(dir.path(), 0).unwrap();
    assert_eq!(set.classes, ["cat", "dog", "emu"]);
    assert_eq!((set.train.len(), set.split(Split::All).unwrap().len()), (20, 23));
    assert_eq!(names(&set.validation), ["val/cat/v.png", "val/dog/v.png"]);
    assert_eq!((names(&set.test), set.test.label(0)), (vec!["test/emu/t.png".to_owned()], Some(2)));

    std::fs::remove_dir_all(dir.path().join("test")).unwrap();
    let set = open(dir.path(), 0).unwrap();
    assert_eq!((set.train.len(), set.validation.len(), set.test.len()), (18, 2, 2));
}

#[test]
fn a_folder_of_grey_files_has_one_channel() {
    let dir = tempfile::tempdir().unwrap();
    (0..5).for_each(|i| save(dir.path(), &format!("{i}.png"), true));
    let grey = open(dir.path(), 0).unwrap();
    assert_eq!((grey.channels, grey.train.pixels(0).unwrap().data), (1, vec![7; 20]));
    save(dir.path(), "color.png", false);
    let mixed = open(dir.path(), 0).unwrap();
    assert_eq!((mixed.channels, mixed.split(Split::All).unwrap().pixels(0).unwrap().data), (3, vec![7; 60]));
}

#[test]
fn an_empty_folder_is_an_error_and_one_image_lacks_parts() {
    let dir = tempfile::tempdir().unwrap();
    let error = open(dir.path(), 0).unwrap_err().to_string();
    assert!(error.contains("no images in") && error.contains("PNG"), "{error}");
    save(dir.path(), "only.png", false);
    let set = open(dir.path(), 0).unwrap();
    assert_eq!(set.split(Split::All).unwrap().len(), 1);
    let error = set.split(Split::Validation).unwrap_err().to_string();
    assert!(error.contains("has 1 image, too few for a validation split"), "{error}");
    for (n, parts) in [(2, [1, 1, 0]), (3, [1, 1, 1]), (4, [2, 1, 1])] {
        save(dir.path(), &format!("{n}.png"), false);
        let set = open(dir.path(), 0).unwrap();
        assert_eq!([set.train.len(), set.validation.len(), set.test.len()], parts, "of {n}");
    }
}

#[test]
fn damaged_images_are_told_by_name() {
    let dir = tempfile::tempdir().unwrap();
    (0..3).for_each(|i| save(dir.path(), &format!("{i}.png"), false));
    std::fs::write(dir.path().join("text.png"), "hello").unwrap();
    let all = open(dir.path(), 0).unwrap().split(Split::All).unwrap();
    let error = crate::data::tokens::tokenize_with(
        &all,
        crate::data::Preprocess::new(crate::model::ImageSize::square(4)),
        |_, _| (),
    )
    .unwrap_err();
    let error = error.to_string();
    assert!(error.starts_with("1 of 4 images are damaged, more than 1 %") && error.contains("text.png ("), "{error}");
    assert!(!error.contains(&*dir.path().to_string_lossy()), "the path below the folder says enough: {error}");
}
