//! A set of binary files, unpacked in a directory or still in their tar.gz.

use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use crate::{Error, Result, files};

/// Names of the archive, of the folder that it unpacks to, and of the files that are needed.
#[derive(Debug)]
pub(super) struct Bundle {
    pub(super) archive: &'static str,
    pub(super) folder: &'static str,
    pub(super) members: &'static [&'static str],
}

/// A file and what is in it; the path is for messages.
pub(super) type Member = (PathBuf, Vec<u8>);

impl Bundle {
    /// Whether the files are in `dir`, in the unpacked folder below it, or in the archive there.
    pub(super) fn is_in(&self, dir: &Path) -> bool {
        self.unpacked(dir).is_some() || dir.join(self.archive).is_file()
    }

    fn unpacked(&self, dir: &Path) -> Option<PathBuf> {
        let complete = |dir: &PathBuf| self.members.iter().all(|name| dir.join(name).is_file());
        [dir.to_owned(), dir.join(self.folder)].into_iter().find(complete)
    }

    /// The files' contents in the order of `members`.
    pub(super) fn read(&self, dir: &Path) -> Result<Vec<Member>> {
        if let Some(dir) = self.unpacked(dir) {
            let read = |name: &&str| {
                let path = dir.join(name);
                Ok((path.clone(), files::read(&path)?))
            };
            return self.members.iter().map(read).collect();
        }
        self.unpack(&dir.join(self.archive))
    }

    /// Reads the archive as far as the last file needed.
    fn unpack(&self, path: &Path) -> Result<Vec<Member>> {
        let damaged = |e: std::io::Error| Error::format(path, format!("damaged archive ({e}): remove or replace it"));
        let file = BufReader::new(files::open(path)?);
        let mut archive = tar::Archive::new(flate2::bufread::GzDecoder::new(file));
        let mut found: Vec<Option<Vec<u8>>> = vec![None; self.members.len()];
        for entry in archive.entries().map_err(damaged)? {
            let mut entry = entry.map_err(damaged)?;
            let at =
                entry.path().ok().and_then(|p| self.members.iter().position(|&m| p.file_name() == Some(m.as_ref())));
            let Some(at) = at else { continue };
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(damaged)?;
            found[at] = Some(bytes);
            if found.iter().all(Option::is_some) {
                break;
            }
        }
        let named = self.members.iter().zip(found).map(|(name, bytes)| {
            let bytes = bytes.ok_or_else(|| Error::format(path, format!("there is no {name} in the archive")))?;
            Ok((path.join(name), bytes))
        });
        named.collect()
    }
}
