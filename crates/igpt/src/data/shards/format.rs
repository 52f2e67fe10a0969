//! The bytes of a shard; all numbers are little-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 128 | header: magic, version, split, number, images, copies, height, width, n_vocab, bytes per token, 0, SHA-256 of the palette, the directory's id, length and CRC-32 of the table, CRC-32 of the header |
//! | images · copies · T · (1 or 2) | tokens (images, copies, T): copy 0 is the image as evaluated, then its augmented views |
//! | the table | labels u32 (all ones: none), CRC-32 of each copy's tokens, ends of the names u32, ends of the problems u32, the names, the problems (empty where the image is whole) |
//! | 32 | SHA-256 of everything before |
//!
//! The checksums are of three kinds because a set may be larger than memory: opening reads headers and tables, training
//! reads the tokens that it needs, and only `igpt data check` reads all.

use flate2::Crc;
use sha2::{Digest, Sha256};

use super::manifest::{Manifest, SPLITS, VERSION};

pub(super) const MAGIC: [u8; 8] = *b"igpttok\n";
/// Bytes of the header, and of its part that follows from the manifest.
pub(super) const HEADER: usize = 128;
pub(super) const FIXED: usize = HEADER - 16;
/// Where the directory's id starts in the header.
pub(super) const ID: usize = FIXED - 32;
/// Bytes of the SHA-256 at the end.
pub(super) const TRAILER: usize = 32;
/// The label of an image without one.
pub(super) const NO_LABEL: u32 = u32::MAX;

/// Identity of a shard within its directory, and the shape of its tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) split: usize,
    pub(super) number: usize,
    pub(super) images: usize,
    pub(super) copies: usize,
    pub(super) n_ctx: usize,
    pub(super) token_bytes: usize,
}

impl Shape {
    /// Creates the shape of one of [`Manifest::shards`].
    pub(super) fn new(manifest: &Manifest, (split, number, images): (usize, usize, usize)) -> Self {
        let (copies, token_bytes) = (manifest.copies(split), manifest.token_bytes());
        Self { split, number, images, copies, n_ctx: manifest.n_px().pixels(), token_bytes }
    }

    /// Name of the shard's file.
    pub(super) fn name(&self) -> String {
        format!("{}-{:05}.tokens", SPLITS[self.split], self.number)
    }

    /// Bytes of one image's tokens, with all copies.
    pub(super) fn row(&self) -> usize {
        self.copies * self.n_ctx * self.token_bytes
    }

    /// Offset of the table.
    pub(super) fn table(&self) -> usize {
        HEADER + self.images * self.row()
    }

    /// Bytes of the table's numbers, which precede its texts.
    pub(super) fn numbers(&self) -> usize {
        4 * self.images * (self.copies + 3)
    }

    /// The part of the header that follows from the manifest.
    pub(super) fn fixed(&self, manifest: &Manifest) -> Vec<u8> {
        let mut header = MAGIC.to_vec();
        let n_px = manifest.n_px();
        let sizes = [self.split, self.number, self.images, self.copies, n_px.height, n_px.width, manifest.n_vocab];
        header.extend(VERSION.to_le_bytes());
        sizes.into_iter().chain([self.token_bytes, 0]).for_each(|n| header.extend((n as u32).to_le_bytes()));
        let palette = manifest.palette_hash.as_bytes().chunks(2);
        let byte = |digits: &[u8]| std::str::from_utf8(digits).ok().and_then(|d| u8::from_str_radix(d, 16).ok());
        header.extend(palette.map(|digits| byte(digits).unwrap_or(0)));
        header.resize(ID, 0);
        header.extend(manifest.id());
        header
    }
}

/// Entry of one image in the table.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    pub(super) label: Option<u32>,
    /// CRC-32 of each copy's bytes.
    pub(super) checksums: Vec<u32>,
    pub(super) name: String,
    /// Reason why the image could not be decoded; empty if it could.
    pub(super) problem: String,
}

/// Completes a shard; `bytes` holds [`HEADER`] free bytes and the tokens of all entries.
pub(super) fn finish(mut bytes: Vec<u8>, fixed: &[u8], entries: &[Entry]) -> Vec<u8> {
    let start = bytes.len();
    let mut put = |n: u32| bytes.extend(n.to_le_bytes());
    entries.iter().for_each(|entry| put(entry.label.unwrap_or(NO_LABEL)));
    entries.iter().flat_map(|entry| &entry.checksums).for_each(|&checksum| put(checksum));
    for length in [|entry: &Entry| entry.name.len(), |entry: &Entry| entry.problem.len()] {
        let mut end = 0;
        entries.iter().map(length).for_each(|length| {
            end += length as u32;
            put(end);
        });
    }
    entries.iter().for_each(|entry| bytes.extend(entry.name.as_bytes()));
    entries.iter().for_each(|entry| bytes.extend(entry.problem.as_bytes()));

    let table = &bytes[start..];
    let (length, checksum) = (table.len() as u64, crc(table));
    bytes[..FIXED].copy_from_slice(fixed);
    bytes[FIXED..FIXED + 8].copy_from_slice(&length.to_le_bytes());
    bytes[FIXED + 8..FIXED + 12].copy_from_slice(&checksum.to_le_bytes());
    let checksum = crc(&bytes[..HEADER - 4]);
    bytes[HEADER - 4..HEADER].copy_from_slice(&checksum.to_le_bytes());
    let sha = Sha256::digest(&bytes);
    bytes.extend(sha);
    bytes
}

/// CRC-32 (IEEE).
pub(super) fn crc(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// Reads the number at `offset`.
pub(super) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| bytes[offset + i]))
}
