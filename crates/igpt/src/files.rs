//! Files: read only where they are files, and written so that they outlast a crash or a full disk.
//!
//! Whatever is read must be a regular file and is opened without waiting, so that a named pipe among images holds
//! nothing up. Whatever is written is written beside its place, synced and renamed: there is always the old file or the
//! new one, and nothing partial stays. All files that a run or a verb must not lose go through here, so that tests can
//! make any byte of them fail.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Opens a regular file for reading; links are followed.
///
/// # Errors
/// When it can't be opened, or is a directory, named pipe, socket or device.
pub fn open(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        // A pipe without a writer would otherwise wait for one.
        options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    }
    let file = options.open(path).map_err(Error::io(path))?;
    match file.metadata().map_err(Error::io(path))?.file_type() {
        kind if kind.is_file() => Ok(file),
        kind => Err(Error::format(path, format!("this is {}, not a file", name_of(kind)))),
    }
}

/// The bytes of a regular file.
///
/// # Errors
/// As [`open`], and when it can't be read to its end.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let mut file = open(path)?;
    let mut bytes = Vec::new();
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    bytes
        .try_reserve(usize::try_from(length).unwrap_or(usize::MAX))
        .map_err(|_| Error::Invalid(format!("{}: there is no memory for its {length} bytes", path.display())))?;
    file.read_to_end(&mut bytes).map_err(Error::io(path))?;
    Ok(bytes)
}

/// The text of a regular file.
///
/// # Errors
/// As [`read`], and when it is not UTF-8.
pub fn read_to_string(path: &Path) -> Result<String> {
    String::from_utf8(read(path)?).map_err(|_| Error::format(path, "this is not UTF-8 text"))
}

/// Whether a file's bytes are a pointer that Git LFS puts in the place of a large file that it hasn't fetched.
///
/// Source: the pointer format of git-lfs (docs/spec.md): less than 1024 bytes, with the version first.
pub fn is_lfs_pointer(bytes: &[u8]) -> bool {
    const VERSIONS: [&[u8]; 2] =
        [b"version https://git-lfs.github.com/spec/", b"version https://hawser.github.com/spec/"];
    bytes.len() < 1024
        && VERSIONS.iter().any(|version| bytes.starts_with(version))
        && bytes.split(|&byte| byte == b'\n').any(|line| line.starts_with(b"oid "))
}

/// What something that is no file is.
fn name_of(kind: fs::FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return "a named pipe";
        }
        if kind.is_socket() {
            return "a socket";
        }
        if kind.is_block_device() || kind.is_char_device() {
            return "a device";
        }
    }
    if kind.is_dir() { "a folder" } else { "something else" }
}

/// A file being written beside its place; [`NewFile::finish`] puts it there, and without it nothing stays.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    /// Where it is while it is being written; none once it is in its place.
    beside: Option<PathBuf>,
    path: PathBuf,
}

impl NewFile {
    /// Begins a file at `path`; folders on the way are made.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn create(path: &Path) -> Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(Error::io(folder))?;
        }
        // A link stays one: what it leads to is written anew.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if fs::metadata(&path).is_ok_and(|there| !there.is_file() && !there.is_dir()) {
            // A device or a pipe, such as /dev/null, is written to and never replaced.
            let file = OpenOptions::new().write(true).open(&path).map_err(Error::io(&path))?;
            return Ok(Self { file, beside: None, path });
        }
        let mut name = std::ffi::OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(".new");
        let beside = path.with_file_name(name);
        let file = File::create(&beside).map_err(Error::io(&path))?;
        Ok(Self { file, beside: Some(beside), path })
    }

    /// Makes what was written last, in its place.
    ///
    /// # Errors
    /// When the disk does not take it; an earlier file is then as it was.
    pub fn finish(mut self) -> Result<()> {
        if let Some(beside) = &self.beside {
            self.file.sync_all().map_err(Error::io(&self.path))?;
            fs::rename(beside, &self.path).map_err(Error::io(&self.path))?;
        }
        self.beside = None;
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(beside) = &self.beside {
            let _ = fs::remove_file(beside);
        }
    }
}

impl Write for NewFile {
    #[cfg(not(test))]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    #[cfg(test)]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = full_disk::take(bytes.len());
        if room == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.write(&bytes[..room])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Writes a file so that there is always either the old or the new one; folders on the way are made.
///
/// # Errors
/// When it can't be written; an earlier file is then as it was.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = NewFile::create(path)?;
    file.write_all(bytes).map_err(Error::io(path))?;
    file.finish()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        write(&path, b"the old one").unwrap();
        full_disk::leave(5);
        let message = write(&path, b"the new one").unwrap_err().to_string();
        full_disk::leave(usize::MAX);
        assert!(message.contains("a.npy"), "{message}");
        assert_eq!(read(&path).unwrap(), b"the old one");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_written_lies_where_a_link_leads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/a.txt");
        write(&path, b"1").unwrap();
        #[cfg(unix)]
        {
            let link = folder.path().join("link.txt");
            std::os::unix::fs::symlink(&path, &link).unwrap();
            write(&link, b"2").unwrap();
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
            assert_eq!(read_to_string(&path).unwrap(), "2");
        }
    }

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

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_is_named_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe.png");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let socket = folder.path().join("socket.png");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        write(Path::new("/dev/null"), b"gone").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
        for (path, kind) in [(&*pipe, "named pipe"), (Path::new("/dev/null"), "device"), (folder.path(), "folder")] {
            let message = read(path).unwrap_err().to_string();
            assert!(message.contains(kind), "{message}");
        }
        assert!(read(&socket).is_err());
    }
}
