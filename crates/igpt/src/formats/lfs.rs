//! Pointer files of Git LFS, which replace large files that were not fetched.

use std::io::Read;
use std::path::Path;

use crate::{Error, Result, files};

/// Whether a file's bytes are a pointer with which Git LFS replaces a large file that it hasn't fetched.
///
/// Source: the pointer format of git-lfs (docs/spec.md): less than 1024 bytes, with the version first.
pub(crate) fn is_lfs_pointer(bytes: &[u8]) -> bool {
    const VERSIONS: [&[u8]; 2] =
        [b"version https://git-lfs.github.com/spec/", b"version https://hawser.github.com/spec/"];
    bytes.len() < 1024
        && VERSIONS.iter().any(|version| bytes.starts_with(version))
        && bytes.split(|&byte| byte == b'\n').any(|line| line.starts_with(b"oid "))
}

/// Refuses a Git LFS pointer instead of a file of `what`.
pub(crate) fn expect_no_pointer(path: &Path, what: &str) -> Result<()> {
    let mut start = Vec::new();
    files::open(path)?.take(100).read_to_end(&mut start).map_err(Error::io(path))?;
    if !is_lfs_pointer(&start) {
        return Ok(());
    }
    Err(Error::format(
        path,
        format!("this is a Git LFS pointer, not the {what}: run git lfs pull in the clone it is of"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_of_git_lfs_are_told_from_what_they_stand_for() {
        let pointer =
            format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 12345\n", "4d".repeat(32));
        assert!(is_lfs_pointer(pointer.as_bytes()));
        assert!(is_lfs_pointer(pointer.replace("git-lfs", "hawser").replace('\n', "\r\n").as_bytes()));
        assert!(!is_lfs_pointer(pointer.replace("oid", "id").as_bytes()));
        assert!(!is_lfs_pointer(format!("{pointer}{}", "x".repeat(1024)).as_bytes()));
        assert!(!is_lfs_pointer(b"") && !is_lfs_pointer(b"version 1") && !is_lfs_pointer(b"\x89PNG\r\n"));
    }
}
