//! Read-only memory maps of files: weights and token shards are used directly from the system's cache.

use std::fs::File;
use std::io;
use std::path::Path;

pub use memmap2::Mmap;

/// Maps a file for reading; an empty file is an empty map.
///
/// The usual caveat of memory maps applies: the bytes are the file's. Another process that writes to it changes them,
/// and one that truncates it turns reading into a bus error. The project's files are replaced by rename (which leaves
/// the mapped one intact) and never written in place. A reader of the bytes must validate what it reads once, and not
/// assume that a second read finds the same.
pub fn map_file(path: &Path) -> io::Result<Mmap> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    // SAFETY: the map is private, read-only memory of plain bytes; that a foreign process may change the file is
    // the documented caveat, which no check here could remove.
    unsafe { Mmap::map(&file) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_shows_the_bytes_of_the_file() {
        let path = std::env::temp_dir().join(format!("igpt-map-{}", std::process::id()));
        for bytes in [&b""[..], b"x", &[7; 10_000]] {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(&map_file(&path).unwrap()[..], bytes);
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(map_file(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_directory_is_refused() {
        assert_eq!(map_file(&std::env::temp_dir()).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
