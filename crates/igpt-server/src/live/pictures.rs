//! Pictures drawn during training: their list, and the bytes of one.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::inside;

/// Size limit of a picture, in bytes.
const MOST: u64 = 64 << 20;
/// First bytes of every PNG file.
const PNG: [u8; 8] = *b"\x89PNG\r\n\x1a\n";

/// Picture drawn during training.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Sheet {
    pub(super) step: u64,
    url: String,
}

/// Pictures of a kind (`step-` or `completions-`), by step.
pub(super) fn sheets(root: &Path, kind: &str) -> Vec<Sheet> {
    let folder = root.join("samples");
    // A folder that leads outside the run is ignored.
    if !folder.canonicalize().ok().zip(root.canonicalize().ok()).is_some_and(|(place, root)| place.starts_with(root)) {
        return Vec::new();
    }
    let entries = fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok);
    let shown = |entry: &fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_symlink() => inside::open(root, &entry.path()).is_some(),
        kind => kind.is_ok_and(|kind| kind.is_file()),
    };
    let sheet = |entry: fs::DirEntry| {
        let name = entry.file_name();
        let name = name.to_str().filter(|name| name.starts_with(kind))?;
        let step = step(name).filter(|_| shown(&entry))?;
        Some(Sheet { step, url: format!("/api/picture/{name}") })
    };
    let mut sheets: Vec<Sheet> = entries.filter_map(sheet).collect();
    sheets.sort();
    sheets
}

/// Step in a picture's name; `None` for other names.
fn step(name: &str) -> Option<u64> {
    let kinds = ["step-", "completions-"].into_iter().find_map(|kind| name.strip_prefix(kind));
    let digits = kinds?.strip_suffix(".png")?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Contents of the PNG file of this name.
pub(super) fn picture(root: &Path, name: &str) -> Option<Vec<u8>> {
    step(name)?;
    let path: PathBuf = root.join("samples").join(name);
    inside::read(root, &path, MOST).filter(|bytes| bytes.starts_with(&PNG))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_a_picture_of_the_run_is_listed_and_shown() {
        let dir = tempfile::tempdir().unwrap();
        let samples = dir.path().join("samples");
        fs::create_dir(&samples).unwrap();
        for name in ["step-00000020.png", "step-7.png", "completions-00000007.png"] {
            fs::write(samples.join(name), PNG).unwrap();
        }
        fs::write(samples.join("step-00000030.png"), "<script>").unwrap();
        for name in ["step-+8.png", "step-.png", "step-8.gif", "other.png", "step-a.png"] {
            fs::write(samples.join(name), PNG).unwrap();
            assert_eq!(picture(dir.path(), name), None, "{name}");
        }
        fs::create_dir(samples.join("step-00000040.png")).unwrap();
        fs::write(dir.path().join("step-00000050.png"), PNG).unwrap();
        let steps = |kind| sheets(dir.path(), kind).iter().map(|sheet| sheet.step).collect::<Vec<_>>();
        assert_eq!(steps("step-"), [7, 20, 30]);
        assert_eq!(steps("completions-"), [7]);
        assert_eq!(sheets(dir.path(), "step-")[0].url, "/api/picture/step-7.png");
        assert_eq!(picture(dir.path(), "step-7.png").unwrap(), PNG);
        for name in ["step-00000030.png", "step-00000040.png", "../step-00000050.png", "step-99.png", ""] {
            assert_eq!(picture(dir.path(), name), None, "{name}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn nothing_outside_the_run_is_listed_or_shown() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let (run, out) = (dir.path().join("run"), dir.path().join("out"));
        fs::create_dir_all(run.join("samples")).unwrap();
        fs::create_dir(&out).unwrap();
        fs::write(out.join("step-1.png"), PNG).unwrap();
        symlink(out.join("step-1.png"), run.join("samples/step-2.png")).unwrap();
        assert_eq!((sheets(&run, "step-").len(), picture(&run, "step-2.png")), (0, None));
        fs::remove_dir_all(run.join("samples")).unwrap();
        symlink(&out, run.join("samples")).unwrap();
        assert_eq!((sheets(&run, "step-").len(), picture(&run, "step-1.png")), (0, None));
    }
}
