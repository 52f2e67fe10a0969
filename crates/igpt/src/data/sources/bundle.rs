//! Binary files of a data set, unpacked in a directory or still in their tar.gz.

#[cfg(feature = "archives")]
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use crate::{Error, Result, files};

/// Names of the archive, of its unpacked folder, and of the required files.
#[derive(Debug)]
pub(super) struct Bundle {
    pub(super) archive: &'static str,
    pub(super) folder: &'static str,
    pub(super) members: &'static [&'static str],
    /// Bytes of the largest file, as published.
    #[cfg_attr(not(feature = "archives"), expect(dead_code, reason = "only archives are not trusted"))]
    pub(super) largest: u64,
}

/// A file's path, for messages, and its contents.
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

    /// Reads the files' contents, in the order of `members`.
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

    #[cfg(not(feature = "archives"))]
    fn unpack(&self, path: &Path) -> Result<Vec<Member>> {
        Err(Error::format(path, "igpt was built without the feature `archives`: unpack it"))
    }

    /// Reads the archive to its end, because gzip's checksum follows after everything else.
    #[cfg(feature = "archives")]
    fn unpack(&self, path: &Path) -> Result<Vec<Member>> {
        let damaged = |e: std::io::Error| Error::format(path, format!("damaged archive ({e}): remove or replace it"));
        let wrong = |name: &str, problem: String| Err(Error::format(path, format!("{name} in the archive {problem}")));
        let file = BufReader::new(files::open(path)?);
        let mut archive = tar::Archive::new(flate2::bufread::MultiGzDecoder::new(file));
        let mut found: Vec<Option<Vec<u8>>> = vec![None; self.members.len()];
        // Raw: long names and sparse files, which these archives don't have, may ask for any memory.
        for entry in archive.entries().map_err(damaged)?.raw(true) {
            let mut entry = entry.map_err(damaged)?;
            let at =
                entry.path().ok().and_then(|p| self.members.iter().position(|&m| p.file_name() == Some(m.as_ref())));
            let Some(at) = at else { continue };
            let (name, size) = (self.members[at], entry.size());
            if !entry.header().entry_type().is_file() {
                return wrong(name, "is not a plain file: replace the archive".into());
            }
            if size > self.largest {
                return wrong(name, format!("has {size} bytes, but at most {} are published", self.largest));
            }
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(damaged)?;
            if bytes.len() as u64 != size {
                return wrong(name, format!("is cut off after {} of {size} bytes: replace the archive", bytes.len()));
            }
            if found[at].replace(bytes).is_some() {
                return wrong(name, "is there twice: replace the archive".into());
            }
        }
        std::io::copy(&mut archive.into_inner(), &mut std::io::sink()).map_err(damaged)?;
        let named = self.members.iter().zip(found).map(|(name, bytes)| {
            let bytes = bytes.ok_or_else(|| Error::format(path, format!("there is no {name} in the archive")))?;
            Ok((path.join(name), bytes))
        });
        named.collect()
    }
}
