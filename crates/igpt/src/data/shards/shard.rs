//! One shard, mapped for reading: every part is compared with its checksum before it is used.

use std::io::Read;
use std::path::{Path, PathBuf};

use igpt_kernels::map::{Mmap, map_file};
use sha2::{Digest, Sha256};

use super::format::{FIXED, HEADER, ID, MAGIC, NO_LABEL, Shape, TRAILER, crc, u32_at};
use super::manifest::Manifest;
use super::manifest::VERSION;
use crate::{Error, Result, files};

/// Bytes read at once when a whole file is checked.
const PIECE: usize = 1 << 20;

/// A mapped shard with an undamaged header and table.
pub(super) struct Shard {
    path: PathBuf,
    shape: Shape,
    n_vocab: usize,
    map: Mmap,
}

/// Result of inspecting an existing file.
pub(super) enum Found {
    /// The shard that belongs there, undamaged.
    Whole,
    /// A changed shard, and what is wrong with it.
    Damaged(String),
    /// An undamaged header, but of another directory's shard.
    Foreign,
}

impl Shard {
    /// Maps the file of the given `shape` in the directory that `manifest` describes.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub(super) fn open(root: &Path, shape: Shape, manifest: &Manifest) -> Result<Self> {
        let path = root.join(shape.name());
        let map = map_file(&path).map_err(Error::io(&path))?;
        let bad = |problem: &str| Err(damaged(&path, problem));
        let (table, length) = match header(&map, map.len() as u64, shape, &shape.fixed(manifest)) {
            Err((_, problem)) => return bad(&problem),
            Ok(table) => (shape.table(), table),
        };
        let bytes = &map[table..table + length];
        if crc(bytes) != u32_at(&map, FIXED + 8) {
            return bad("damaged table (names, labels and checksums)");
        }
        // Checksums are not signatures: nothing below may panic on a file that was made to fit them.
        let ends = |first: usize| (0..shape.images).map(move |i| u32_at(bytes, first + 4 * i) as usize);
        let (names, problems) = (shape.numbers() - 8 * shape.images, shape.numbers() - 4 * shape.images);
        let texts = [ends(names).next_back(), ends(problems).next_back()].map(|end| end.unwrap_or(0));
        let fits = ends(names).is_sorted() && ends(problems).is_sorted();
        if !fits || shape.numbers() + texts[0] + texts[1] != length {
            return bad("the table's names don't fit into it");
        }
        let is_class = |label: u32| label == NO_LABEL || (label as usize) < manifest.classes.len();
        if !(0..shape.images).all(|row| is_class(u32_at(bytes, 4 * row))) {
            return bad(&format!("a label in it is none of the {} classes", manifest.classes.len()));
        }
        Ok(Self { path, shape, n_vocab: manifest.n_vocab, map })
    }

    /// Reads a whole file and compares it with its SHA-256.
    ///
    /// # Errors
    /// When the file can't be read. Damage is not an error, but a result.
    pub(super) fn inspect(path: &Path, shape: Shape, fixed: &[u8]) -> Result<Found> {
        let mut file = files::open(path)?;
        let length = file.metadata().map_err(Error::io(path))?.len();
        let mut buffer = vec![0; PIECE];
        let mut left = length.saturating_sub(TRAILER as u64);
        let (mut sha, mut first) = (Sha256::new(), true);
        while left > 0 {
            let piece = &mut buffer[..PIECE.min(left as usize)];
            file.read_exact(piece).map_err(Error::io(path))?;
            if std::mem::take(&mut first)
                && let Err((foreign, problem)) = header(piece, length, shape, fixed)
            {
                return Ok(if foreign { Found::Foreign } else { Found::Damaged(problem) });
            }
            sha.update(&*piece);
            left -= piece.len() as u64;
        }
        let mut trailer = Vec::new();
        file.read_to_end(&mut trailer).map_err(Error::io(path))?;
        if first {
            return Ok(Found::Damaged("cut off".into()));
        }
        let whole = sha.finalize().as_slice() == trailer;
        Ok(if whole { Found::Whole } else { Found::Damaged("its contents are not what its SHA-256 says".into()) })
    }

    /// The recorded SHA-256 of the rest of the file.
    pub(super) fn trailer(&self) -> &[u8] {
        &self.map[self.map.len() - TRAILER..]
    }

    fn table(&self) -> &[u8] {
        &self.map[self.shape.table()..self.map.len() - TRAILER]
    }

    /// Class of image `row`.
    pub(super) fn label(&self, row: usize) -> Option<u32> {
        Some(u32_at(self.table(), 4 * row)).filter(|&label| label != NO_LABEL)
    }

    /// Name of image `row`.
    pub(super) fn name(&self, row: usize) -> String {
        self.text(row, 0)
    }

    /// Reason why image `row` could not be decoded, if it could not.
    pub(super) fn problem(&self, row: usize) -> Option<String> {
        Some(self.text(row, 1)).filter(|problem| !problem.is_empty())
    }

    /// Text of image `row`: its name (`which` is 0) or its problem (1).
    fn text(&self, row: usize, which: usize) -> String {
        let (shape, table) = (&self.shape, self.table());
        let ends = |which: usize| shape.numbers() - 4 * shape.images * (2 - which);
        let end = |which: usize, row: usize| u32_at(table, ends(which) + 4 * row) as usize;
        let texts = shape.numbers() + if which == 0 { 0 } else { end(0, shape.images - 1) };
        let start = if row == 0 { 0 } else { end(which, row - 1) };
        String::from_utf8_lossy(&table[texts + start..texts + end(which, row)]).into_owned()
    }

    /// Fills `out`, (T), with copy `copy` of image `row`.
    ///
    /// # Errors
    /// When the tokens don't match their checksum.
    pub(super) fn tokens(&self, row: usize, copy: usize, out: &mut [u16]) -> Result<()> {
        let Shape { copies, n_ctx, token_bytes, images, .. } = self.shape;
        let place = row * copies + copy;
        let bytes = &self.map[HEADER + place * n_ctx * token_bytes..][..n_ctx * token_bytes];
        match token_bytes {
            1 => out.iter_mut().zip(bytes).for_each(|(token, &byte)| *token = byte.into()),
            _ => out.iter_mut().zip(bytes.as_chunks().0).for_each(|(token, &pair)| *token = u16::from_le_bytes(pair)),
        }
        let whole = crc(bytes) == u32_at(self.table(), 4 * (images + place));
        if !whole || out.iter().any(|&token| usize::from(token) >= self.n_vocab) {
            return Err(damaged(&self.path, &format!("damaged tokens of image {row} in it, {}", self.name(row))));
        }
        Ok(())
    }
}

fn damaged(path: &Path, problem: &str) -> Error {
    Error::format(path, format!("{problem}: igpt data check tells what is whole, igpt data tokenize makes it again"))
}

/// Length of the table according to the header of a file that starts with `start` and is `length` bytes long.
///
/// The error is what is wrong, and whether the header is undamaged but belongs elsewhere.
fn header(start: &[u8], length: u64, shape: Shape, fixed: &[u8]) -> Result<usize, (bool, String)> {
    let bad = |problem: String| Err((false, problem));
    if start.len() < HEADER {
        return bad(format!("cut off: {length} bytes"));
    }
    if start[..8] != MAGIC {
        return bad("not a token shard: another magic number".into());
    }
    if crc(&start[..HEADER - 4]) != u32_at(start, HEADER - 4) {
        return bad("damaged header".into());
    }
    let version = u32_at(start, 8);
    if version != VERSION {
        return Err((true, format!("version {version}, but this igpt reads version {VERSION}")));
    }
    if start[..FIXED] != *fixed {
        let whose = if start[ID..FIXED] == fixed[ID..] { "another place in it" } else { "another token directory" };
        return Err((true, format!("a shard of {whose}")));
    }
    let table = u64::from_le_bytes(std::array::from_fn(|i| start[FIXED + i]));
    let expected = (shape.table() + TRAILER) as u64;
    if length.checked_sub(expected) != Some(table) || table < shape.numbers() as u64 {
        return bad(format!("{length} bytes long, but its header says {}", expected.saturating_add(table)));
    }
    Ok(table as usize)
}
