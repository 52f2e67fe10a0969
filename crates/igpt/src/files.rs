//! Files that outlast a crash: there is always the old one or the new one, and what was written is on the disk.
//!
//! Everything a run must not lose is written through here, so that tests can make any byte of it fail.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::{Error, Result};

/// A file being written anew.
#[derive(Debug)]
pub(crate) struct NewFile(File);

impl NewFile {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        File::create(path).map(Self)
    }

    /// Makes what was written last.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.0.sync_all()
    }
}

impl Write for NewFile {
    #[cfg(not(test))]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    #[cfg(test)]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = full_disk::take(bytes.len());
        if room == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.write(&bytes[..room])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Writes and syncs a whole file.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let written = NewFile::create(path).and_then(|mut file| file.write_all(bytes).and_then(|()| file.finish()));
    written.map_err(Error::io(path))
}

/// Writes a file so that there is always either the old or the new one: beside it, synced, renamed.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.new"));
    let written = write(&beside, bytes).and_then(|()| fs::rename(&beside, path).map_err(Error::io(path)));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

/// Makes names in a directory last; Windows has no such call and does it by itself.
pub(crate) fn sync_directory(path: &Path) -> Result<()> {
    let synced = if cfg!(unix) { File::open(path).and_then(|directory| directory.sync_all()) } else { Ok(()) };
    synced.map_err(Error::io(path))
}

/// A disk that tests can fill, one of each thread.
#[cfg(test)]
pub(crate) mod full_disk {
    use std::cell::Cell;

    thread_local!(static ROOM: Cell<usize> = const { Cell::new(usize::MAX) });

    /// The disk of this thread takes so many bytes more.
    pub(crate) fn leave(bytes: usize) {
        ROOM.set(bytes);
    }

    /// Bytes that still fit, of those asked for.
    pub(super) fn take(bytes: usize) -> usize {
        let room = ROOM.get();
        let taken = bytes.min(room);
        if room != usize::MAX {
            ROOM.set(room - taken);
        }
        taken
    }
}
