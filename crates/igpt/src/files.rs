//! File access: reads regular files only, and writes files atomically.
//!
//! Everything that is read must be a regular file. It is opened without waiting, so that a named pipe among images does
//! not block. A written file is first written next to its target, synced and then renamed. There is always either the
//! old file or the new one, and nothing partial remains. All files that a run or a command must not lose go through
//! here, so that tests can make any byte of them fail.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::{Error, Result};

/// Opens a regular file for reading; symbolic links are followed.
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

/// Reads a regular file and returns its bytes.
///
/// # Errors
/// Same as [`open`], and when it can't be read to its end.
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

/// Reads a regular file as UTF-8 text.
///
/// # Errors
/// Same as [`read`], and when it is not UTF-8.
pub fn read_to_string(path: &Path) -> Result<String> {
    String::from_utf8(read(path)?).map_err(|_| Error::format(path, "this is not UTF-8 text"))
}

/// What something that is not a regular file is.
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

/// Files and folders that are being written next to their targets, to be removed when the process is ended.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A file or folder that is being written next to its target.
///
/// It is removed when this is dropped, and when the process is ended by [`remove_unfinished`], unless it was
/// [kept](Unfinished::keep).
#[derive(Debug)]
pub(crate) struct Unfinished(PathBuf);

impl Unfinished {
    /// Registers `path`, before anything is created there.
    pub(crate) fn at(path: PathBuf) -> Self {
        UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).push(path.clone());
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Keeps the file or folder: it is complete, or has been renamed to its target.
    pub(crate) fn keep(self) {
        self.leave_list();
        std::mem::forget(self);
    }

    fn leave_list(&self) {
        let mut list = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = list.iter().position(|path| *path == self.0) {
            list.swap_remove(place);
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        remove_whatever(&self.0);
        self.leave_list();
    }
}

fn remove_whatever(path: &Path) {
    // Best effort: there is an error to report already, or nobody to report to.
    let _ = fs::remove_file(path).or_else(|_| fs::remove_dir_all(path));
}

/// Removes all half-written files and blocks new ones.
///
/// Call it at the very end of a process that is being ended from outside.
pub fn remove_unfinished() {
    let list = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner);
    list.iter().for_each(|path| remove_whatever(path));
    std::mem::forget(list);
}

/// Removes a file if it exists.
///
/// # Errors
/// When the file exists and can't be removed.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(path)(error)),
        _ => Ok(()),
    }
}

/// File that is written atomically: [`NewFile::finish`] moves it to its target once it is complete.
///
/// It is written next to its target. Without [`NewFile::finish`] nothing remains.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    /// The temporary file while it is being written; none where the target is written directly.
    beside: Option<Unfinished>,
    path: PathBuf,
}

impl NewFile {
    /// Begins writing a file at `path`; missing parent folders are created.
    ///
    /// # Errors
    /// When the file can't be created, and when a file without write permission has that path.
    pub fn create(path: &Path) -> Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(Error::io(folder))?;
        }
        // A symbolic link remains one: its target is written anew.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let there = fs::metadata(&path).ok();
        if there.as_ref().is_some_and(|there| !there.is_file() && !there.is_dir()) {
            // A device or a pipe, such as /dev/null, is written to and never replaced.
            let file = OpenOptions::new().write(true).open(&path).map_err(Error::io(&path))?;
            return Ok(Self { file, beside: None, path });
        }
        if there.as_ref().is_some_and(|there| there.is_dir()) {
            return Err(Error::Io { path, source: io::ErrorKind::IsADirectory.into() });
        }
        if there.as_ref().is_some_and(|there| there.permissions().readonly()) {
            let source = io::Error::new(io::ErrorKind::PermissionDenied, "the file is write-protected");
            return Err(Error::Io { path, source });
        }
        let (file, beside) = begin(&path).map_err(Error::io(&path))?;
        if let Some(there) = there {
            // Whoever could read and write the old file can do so with the new one.
            let _ = file.set_permissions(there.permissions());
        }
        Ok(Self { file, beside: Some(beside), path })
    }

    /// Completes the file: syncs it and moves it to its target.
    ///
    /// # Errors
    /// When the disk does not take it; an earlier file then remains as it was.
    pub fn finish(mut self) -> Result<()> {
        if let Some(beside) = self.beside.take() {
            self.file.sync_all().map_err(Error::io(&self.path))?;
            fs::rename(beside.path(), &self.path).map_err(Error::io(&self.path))?;
            beside.keep();
        }
        Ok(())
    }
}

/// Creates the temporary file next to `path`.
///
/// It has a fixed name, so that the rest of a killed process is overwritten. It is locked, so that two processes that
/// write the same file don't mix: the second one takes a name of its own.
fn begin(path: &Path) -> io::Result<(File, Unfinished)> {
    let named = |ending: &str| {
        let mut name = std::ffi::OsString::from(".");
        // Some room remains within the 255 bytes that a name may have.
        let own = path.file_name().unwrap_or_default();
        name.push(if own.len() > 220 { "igpt".as_ref() } else { own });
        name.push(ending);
        path.with_file_name(name)
    };
    let create = |beside: PathBuf| {
        let beside = Unfinished::at(beside);
        // A link that somebody put there is not followed.
        match OpenOptions::new().write(true).create_new(true).open(beside.path()) {
            Ok(file) => {
                // Where there are no locks, one process at a time is the usual case.
                let _ = file.try_lock();
                Ok((file, beside))
            }
            Err(error) => {
                // The file belongs to another process.
                beside.keep();
                Err(error)
            }
        }
    };
    let usual = named(".new");
    match create(usual.clone()) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made,
    }
    let left = fs::symlink_metadata(&usual).is_ok_and(|there| there.is_file())
        && File::open(&usual).is_ok_and(|file| !matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock)));
    if left && fs::remove_file(&usual).is_ok() {
        return create(usual);
    }
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    create(named(&format!(".{}-{count}.new", std::process::id())))
}

impl Seek for NewFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
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

/// Writes a file atomically; missing parent folders are created.
///
/// There is always either the old or the new file.
///
/// # Errors
/// When the file can't be written; an earlier file then remains as it was.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = NewFile::create(path)?;
    file.write_all(bytes).map_err(Error::io(path))?;
    file.finish()
}

/// Syncs the names in a directory to the disk; Windows has no such call and does it by itself.
pub(crate) fn sync_directory(path: &Path) -> Result<()> {
    let synced = if cfg!(unix) { File::open(path).and_then(|directory| directory.sync_all()) } else { Ok(()) };
    synced.map_err(Error::io(path))
}

/// A disk that tests can fill; each thread has its own.
#[cfg(test)]
pub(crate) mod full_disk {
    use std::cell::Cell;

    thread_local!(static ROOM: Cell<usize> = const { Cell::new(usize::MAX) });

    /// Leaves room for `bytes` more bytes on this thread's disk.
    pub(crate) fn leave(bytes: usize) {
        ROOM.set(bytes);
    }

    /// Takes up to `bytes` bytes of room and returns how many still fit.
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
    fn two_that_write_the_same_file_do_not_mix_and_what_a_killed_one_left_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        fs::write(folder.path().join(".a.npy.new"), b"half of one that was killed, and longer").unwrap();
        let [mut first, mut second] = [(); 2].map(|()| NewFile::create(&path).unwrap());
        first.write_all(b"first").unwrap();
        second.write_all(b"2").unwrap();
        first.finish().unwrap();
        assert_eq!(read(&path).unwrap(), b"first");
        second.finish().unwrap();
        assert_eq!(read(&path).unwrap(), b"2");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_was_not_finished_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        NewFile::create(&path).unwrap().write_all(b"half").unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let model = Unfinished::at(folder.path().join("model"));
        fs::create_dir(model.path()).unwrap();
        fs::write(model.path().join("config.json"), b"{}").unwrap();
        drop(model);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[cfg(unix)]
    #[test]
    fn a_write_protected_file_is_not_replaced_and_a_new_one_keeps_the_rights_of_the_old() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write(&path, b"1").unwrap();
        let allow = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        allow(0o444);
        let message = write(&path, b"2").unwrap_err().to_string();
        assert!(message.contains("a.txt") && message.contains("protected"), "{message}");
        assert_eq!(read(&path).unwrap(), b"1");
        allow(0o660);
        write(&path, b"2").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
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
