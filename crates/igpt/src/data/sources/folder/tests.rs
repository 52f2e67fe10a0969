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
        crate::data::Preprocess::new(crate::image::ImageSize::square(4)),
        |_, _| (),
    )
    .unwrap_err();
    let error = error.to_string();
    assert!(error.starts_with("1 of 4 images are damaged, more than 1 %") && error.contains("text.png ("), "{error}");
    assert!(!error.contains(&*dir.path().to_string_lossy()), "the path below the folder says enough: {error}");
}

/// The folder with `count` images in each of `folders`.
fn with(folders: &[(&str, usize)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (folder, count) in folders {
        std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        (0..*count).for_each(|i| save(dir.path(), &format!("{folder}/{i:02}.png"), false));
    }
    dir
}

fn counts(set: &Dataset) -> [usize; 3] {
    [set.train.len(), set.validation.len(), set.test.len()]
}

#[test]
fn parts_go_by_all_their_usual_names_in_any_case() {
    for names in [
        ["train", "val", "test"],
        ["training", "validation", "testing"],
        ["Train", "Valid", "Test"],
        ["TRAINING", "dev", "EVAL"],
        ["train", "VAL", "evaluation"],
    ] {
        let [train, validation, test] = names.map(|name| format!("{name}/cat"));
        let set = open(with(&[(&train, 9), (&validation, 3), (&test, 2)]).path(), 0).unwrap();
        assert_eq!((counts(&set), &set.notes), ([9, 3, 2], &Vec::new()), "{names:?}");
        assert!(set.has_parts && set.classes == ["cat"]);
    }
}

#[test]
fn two_folders_of_one_part_are_joined_and_an_empty_one_is_told() {
    let dir = with(&[("Train", 4), ("val", 2), ("validation", 3), ("test", 0)]);
    let set = open(dir.path(), 0).unwrap();
    assert_eq!(counts(&set), [3, 5, 1]);
    let notes = set.notes.join("\n");
    assert!(notes.contains("for the validation part together: val/ (2 images), validation/ (3 images)"), "{notes}");
    assert!(notes.contains("folder test has no images") && notes.contains("1 of train, drawn by seed"), "{notes}");
}

#[test]
fn one_folder_more_on_the_way_is_stepped_over() {
    for top in ["archive", "a/b c"] {
        let [train, test] = ["train/cat", "test/dog"].map(|part| format!("{top}/{part}"));
        let set = open(with(&[(&train, 10), (&test, 4)]).path(), 0).unwrap();
        assert_eq!((set.test.len(), set.classes.join(" ")), (4, "cat dog".into()), "{:?}", set.notes);
        assert!(set.notes[0].contains(top), "{:?}", set.notes);
    }
    let set = open(with(&[("archive/cat", 3), ("archive/dog", 3)]).path(), 0).unwrap();
    assert_eq!((set.classes, set.has_parts), (vec!["cat".to_owned(), "dog".into()], false));
    let set = open(with(&[("cat/deep/er", 3)]).path(), 0).unwrap();
    assert_eq!(set.classes, ["cat"], "a class alone is no folder on the way");
    let set = open(with(&[("train/train/cat", 8), ("test/test/cat", 2)]).path(), 0).unwrap();
    assert_eq!((set.test.len(), &*set.classes), (2, &["cat".to_owned()][..]));
    assert!(set.notes[0].contains("in a folder of its own name"), "{:?}", set.notes);
    let set = open(with(&[("train/test", 4), ("train/control", 4), ("test/test", 2)]).path(), 0).unwrap();
    assert_eq!(set.classes, ["control", "test"]);
}

#[test]
fn classes_that_are_called_like_parts_stay_classes_and_that_is_said() {
    for (folders, said) in [
        (
            &[("test", 5), ("control", 5)][..],
            "taken for a class, not for a part, as there is no folder train beside it: test/ (5",
        ),
        (
            &[("val", 5), ("Test", 5)],
            "taken for classes, not for parts, as there is no folder train beside them: Test/ (5",
        ),
        (&[("train2017", 5), ("val2017", 5)], "taken for classes, not for parts: train2017/ (5 images), val2017/ (5"),
        (&[("cat/train", 4), ("cat/test", 2), ("dog/train", 4)], "cat/test/ (2 images), cat/train/ (4 images)"),
        (&[("Cat", 5), ("cat", 5)], "differ in case only: Cat/ (5 images), cat/ (5 images)"),
        (&[("test/cat", 5), ("test/dog", 5)], "test is not taken for a part"),
    ] {
        let set = open(with(folders).path(), 0).unwrap();
        let all: usize = folders.iter().map(|(_, count)| count).sum();
        assert_eq!((set.has_parts, counts(&set).iter().sum::<usize>()), (false, all), "{folders:?}");
        assert!(set.notes.join("\n").contains(said), "{:?}", set.notes);
    }
}

#[test]
fn what_lies_beside_the_parts_is_left_alone_with_numbers() {
    let dir = with(&[("train/cat", 8), ("test/cat", 2), ("extra", 4), ("more/deep", 1)]);
    save(dir.path(), "cover.png", false);
    let set = open(dir.path(), 0).unwrap();
    assert_eq!(counts(&set).iter().sum::<usize>(), 10);
    let notes = set.notes.join("\n");
    let said = "left alone: 6 images beside the parts, in extra/ (4 images), more/ (1 image), 1 in no folder";
    assert!(notes.contains(said), "{notes}");
}

#[test]
fn other_files_are_counted_by_ending_and_leftovers_are_skipped_in_silence() {
    let dir = with(&[("cat", 3)]);
    for leftover in [
        "@eaDir/x@SynoEAStream.png",
        "__MACOSX/cat/._00.png",
        "$RECYCLE.BIN/$R1.png",
        "System Volume Information/a.png",
        "#recycle/a.png",
        "lost+found/a.png",
        ".git/a.png",
        "cat/.ipynb_checkpoints/a.png",
        "cat/._00.png",
        "cat/Thumbs.db",
        "desktop.ini",
        ".DS_Store",
    ] {
        let path = dir.path().join(leftover);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "left over").unwrap();
    }
    let set = open(dir.path(), 0).unwrap();
    assert_eq!((counts(&set).iter().sum::<usize>(), &set.notes), (3, &Vec::new()));
    for other in ["a.txt", "b.TXT", "cat/c.heic", "README", "v1.2 (final copy)", ".hidden.png", ".me/x.png"] {
        std::fs::create_dir_all(dir.path().join(".me")).unwrap();
        std::fs::write(dir.path().join(other), "other").unwrap();
    }
    let notes = open(dir.path(), 0).unwrap().notes;
    let said = "passed over: 7 files (2 .txt, 2 without an ending, 1 .heic, 1 hidden, 1 hidden folder)";
    assert_eq!(notes, [said]);
    std::fs::remove_dir_all(dir.path().join("cat")).unwrap();
    let error = open(dir.path(), 0).unwrap_err().to_string();
    assert!(error.contains("no images in") && error.contains("passed over: 6 files (2 .txt"), "{error}");
}

#[cfg(unix)]
#[test]
fn names_that_are_not_utf8_pipes_and_circles_of_links_refuse_nothing() {
    use std::os::unix::ffi::OsStrExt;
    let dir = with(&[("cat", 2)]);
    save(dir.path(), "plain.png", false);
    let odd = std::ffi::OsStr::from_bytes(b"cat/\xff.png");
    std::fs::copy(dir.path().join("plain.png"), dir.path().join(odd)).unwrap();
    let pipe = dir.path().join("cat/pipe.png");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::os::unix::fs::symlink("..", dir.path().join("cat/up")).unwrap();
    std::os::unix::fs::symlink("nowhere", dir.path().join("gone.png")).unwrap();
    let set = open(dir.path(), 0).unwrap();
    let all = set.split(Split::All).unwrap();
    assert_eq!(names(&all), ["cat/00.png", "cat/01.png", "cat/\u{fffd}.png", "plain.png"]);
    assert!((0..4).all(|i| all.pixels(i).is_ok()));
    let notes = set.notes.join("\n");
    for said in ["1 file name is not UTF-8", "3 files", "1 link in a circle", "1 link to nowhere", "1 no file: a pipe"]
    {
        assert!(notes.contains(said), "{said}: {notes}");
    }
}

#[test]
fn a_class_is_one_however_its_accents_are_stored() {
    let dir = with(&[("train/Ka\u{308}fer", 4), ("test/K\u{e4}fer", 2), ("test/Ka\u{308}fer", 1)]);
    let set = open(dir.path(), 0).unwrap();
    assert_eq!((&*set.classes, set.test.len()), (&["K\u{e4}fer".to_owned()][..], 3));
}

#[test]
fn one_file_is_a_set_of_one_image() {
    let dir = tempfile::tempdir().unwrap();
    ["00.png", "01.png"].iter().for_each(|name| save(dir.path(), name, false));
    let set = open_file(&dir.path().join("01.png")).unwrap();
    let all = set.split(Split::All).unwrap();
    assert_eq!((all.len(), all.name(0), set.has_parts), (1, "01.png".into(), false));
    assert!(all.pixels(0).is_ok());
    assert!(open_file(dir.path()).unwrap_err().to_string().contains("a folder, not a file"));
}

#[test]
fn a_summary_counts_the_parts_and_names_the_first_classes() {
    let set = open(with(&[("train/cat", 8), ("val/dog", 2), ("test/cat", 1)]).path(), 0).unwrap();
    assert_eq!(set.summary(), "train 8, validation 2, test 1 images; 2 classes: cat, dog");
    let many: Vec<String> = (10..25).map(|i| format!("c{i}")).collect();
    let many: Vec<(&str, usize)> = many.iter().map(|name| (&**name, 1)).collect();
    let summary = open(with(&many).path(), 0).unwrap().summary();
    assert!(
        summary.starts_with("train 11, validation 2, test 2 images, drawn by seed; 15 classes: c10, "),
        "{summary}"
    );
    assert!(summary.ends_with("c19 and 5 more"), "{summary}");
}
