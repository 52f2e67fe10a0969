//! Restricted reading of a run's files: only inside its directory, only up to a limit, and only regular files.
//!
//! A run may come from someone else. A link in it that leads outside would show any file of this machine to visitors of
//! the page, and a named pipe would block the page.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use igpt::files;

/// Size limit of a settings file, a palette or a summary, in bytes.
const SMALL: u64 = 4 << 20;

/// Opens a regular file inside `root`. Links may lead elsewhere in `root`, but not outside; `root` itself may be a
/// link.
pub(super) fn open(root: &Path, path: &Path) -> Option<File> {
    let place = place(root, path)?;
    let file = files::open(&place).ok()?;
    // Neither may have been replaced in the meantime.
    let same = self::place(root, path).as_ref() == Some(&place) && is_at(&file, &place);
    same.then_some(file)
}

/// Target of a path, if it is inside `root`.
fn place(root: &Path, path: &Path) -> Option<std::path::PathBuf> {
    let (root, place) = (root.canonicalize().ok()?, path.canonicalize().ok()?);
    place.starts_with(root).then_some(place)
}

#[cfg(unix)]
fn is_at(file: &File, place: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let key = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    file.metadata().ok().map(key).is_some_and(|own| fs::symlink_metadata(place).ok().map(key) == Some(own))
}

#[cfg(not(unix))]
fn is_at(_: &File, place: &Path) -> bool {
    fs::symlink_metadata(place).is_ok_and(|metadata| metadata.is_file())
}

/// Reads at most `most` bytes from `start` on.
pub(super) fn read_from(root: &Path, path: &Path, start: u64, most: u64) -> Option<Vec<u8>> {
    let mut file = open(root, path)?;
    file.seek(SeekFrom::Start(start)).ok()?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Reads at most the last `most` bytes.
pub(super) fn read_end(root: &Path, path: &Path, most: u64) -> Option<Vec<u8>> {
    let length = open(root, path)?.metadata().ok()?.len();
    read_from(root, path, length.saturating_sub(most), most)
}

/// Reads the whole of a file of at most `most` bytes.
pub(super) fn read(root: &Path, path: &Path, most: u64) -> Option<Vec<u8>> {
    read_from(root, path, 0, most + 1).filter(|bytes| bytes.len() as u64 <= most)
}

/// Reads the text of a settings file.
pub(super) fn text(root: &Path, path: &Path) -> Option<String> {
    String::from_utf8(read(root, path, SMALL)?).ok()
}

/// Whether a file exists inside `root` and is no larger than settings are, so that other code may read it.
pub(super) fn is_small(root: &Path, path: &Path) -> bool {
    open(root, path).and_then(|file| file.metadata().ok()).is_some_and(|metadata| metadata.len() <= SMALL)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_may_lead_to_another_place_inside_but_not_out() {
        let dir = tempfile::tempdir().unwrap();
        let (run, out) = (dir.path().join("run"), dir.path().join("out"));
        fs::create_dir_all(run.join("samples")).unwrap();
        fs::create_dir(&out).unwrap();
        fs::write(out.join("secret"), "secret").unwrap();
        fs::write(run.join("own"), "own").unwrap();
        symlink(out.join("secret"), run.join("samples/file")).unwrap();
        symlink("../../out/secret", run.join("samples/relative")).unwrap();
        symlink(&out, run.join("folder")).unwrap();
        symlink("../own", run.join("samples/inside")).unwrap();
        symlink(&run, dir.path().join("linked")).unwrap();
        let text = |root: &Path, name: &str| text(root, &root.join(name));
        for root in [run.clone(), dir.path().join("linked")] {
            assert_eq!(text(&root, "own").as_deref(), Some("own"));
            assert_eq!(text(&root, "samples/inside").as_deref(), Some("own"));
            for name in ["samples/file", "samples/relative", "folder/secret", "../out/secret", "none", "samples"] {
                assert_eq!(text(&root, name), None, "{name}");
            }
        }
        // A folder whose name starts like the run's is a different one.
        fs::create_dir(dir.path().join("run-2")).unwrap();
        fs::write(dir.path().join("run-2/own"), "other").unwrap();
        symlink("../run-2/own", run.join("near")).unwrap();
        assert_eq!(text(&run, "near"), None);
    }

    #[test]
    fn no_more_is_read_than_was_wanted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "0123456789").unwrap();
        assert_eq!(read_from(dir.path(), &path, 2, 3).unwrap(), b"234");
        assert_eq!(read_end(dir.path(), &path, 4).unwrap(), b"6789");
        assert_eq!(read(dir.path(), &path, 10).unwrap().len(), 10);
        assert_eq!(read(dir.path(), &path, 9), None);
        // This file reports a length of zero, and has no end.
        assert_eq!(read(Path::new("/dev"), Path::new("/dev/zero"), 9), None);
    }
}
