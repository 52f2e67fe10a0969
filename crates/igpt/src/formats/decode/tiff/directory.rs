//! The first directory of a TIFF file: its tags' numbers, read without believing what they claim.
//!
//! Source: TIFF 6.0, section 2, and the BigTIFF design of libtiff.

use super::Problem;

/// A file's first directory.
pub(super) struct Directory<'a> {
    bytes: &'a [u8],
    big_endian: bool,
    entries: Vec<Entry>,
}

struct Entry {
    tag: u16,
    kind: u16,
    count: usize,
    /// Where its values are.
    at: usize,
}

impl<'a> Directory<'a> {
    /// Reads it; a value that lies outside the file is damage.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Problem> {
        let mut directory = Self { bytes, big_endian: bytes.first() == Some(&b'M'), entries: Vec::new() };
        // BigTIFF has offsets of 8 bytes.
        let big = directory.number(2, 2) == Some(43);
        let (wide, count_width, length) = if big { (8, 8, 20) } else { (4, 2, 12) };
        let start = directory.place(if big { 8 } else { 4 }, wide)?;
        let count = directory.place(start, count_width)?;
        let first = start + count_width;
        for at in (0..count).map_while(|i| i.checked_mul(length)?.checked_add(first)) {
            let tag = directory.number(at, 2).ok_or_else(cut)? as u16;
            let kind = directory.number(at + 2, 2).ok_or_else(cut)? as u16;
            let count = directory.place(at + 4, wide)?;
            let inside = at + 4 + wide;
            let bytes = count.checked_mul(width(kind)).ok_or_else(cut)?;
            let at = if bytes <= wide { inside } else { directory.place(inside, wide)? };
            if at.checked_add(bytes).is_none_or(|end| end > directory.bytes.len()) {
                return Err(cut());
            }
            directory.entries.push(Entry { tag, kind, count, at });
        }
        Ok(directory)
    }

    /// A number in the file's own byte order.
    fn number(&self, at: usize, width: usize) -> Option<u64> {
        let bytes = self.bytes.get(at..at.checked_add(width)?)?;
        let add = |number: u64, &byte: &u8| number << 8 | u64::from(byte);
        Some(if self.big_endian { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) })
    }

    /// A number that says where or how many.
    fn place(&self, at: usize, width: usize) -> Result<usize, Problem> {
        self.number(at, width).and_then(|number| usize::try_from(number).ok()).ok_or_else(cut)
    }

    fn entry(&self, tag: u16) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.tag == tag)
    }

    /// All whole numbers of a tag; none where it isn't there or is of another kind.
    pub(super) fn numbers(&self, tag: u16) -> Option<Vec<u64>> {
        let entry = self.entry(tag).filter(|entry| matches!(entry.kind, 1 | 3 | 4 | 16))?;
        let width = width(entry.kind);
        (0..entry.count).map(|i| self.number(entry.at + i * width, width)).collect()
    }

    /// The first whole number of a tag.
    pub(super) fn first(&self, tag: u16) -> Option<u64> {
        self.numbers(tag)?.first().copied()
    }

    /// The fractions of a tag.
    pub(super) fn fractions(&self, tag: u16) -> Option<Vec<f64>> {
        let entry = self.entry(tag).filter(|entry| entry.kind == 5)?;
        let fraction = |i: usize| {
            let at = entry.at + 8 * i;
            Some(self.number(at, 4)? as f64 / self.number(at + 4, 4)? as f64)
        };
        (0..entry.count).map(fraction).collect()
    }

    /// The bytes of a tag.
    pub(super) fn bytes(&self, tag: u16) -> Option<&'a [u8]> {
        let entry = self.entry(tag)?;
        self.bytes.get(entry.at..entry.at + entry.count * width(entry.kind))
    }

    /// A copy of the file in which a tag's first value is `number`.
    pub(super) fn with(&self, tag: u16, number: u16) -> Result<Vec<u8>, Problem> {
        let mut copy = super::room(self.bytes.len() as u64)?;
        copy.extend_from_slice(self.bytes);
        if let Some(entry) = self.entry(tag) {
            let width = width(entry.kind);
            for (i, byte) in copy[entry.at..entry.at + width].iter_mut().enumerate() {
                let place = if self.big_endian { width - 1 - i } else { i };
                *byte = u64::from(number).to_le_bytes()[place.min(7)];
            }
        }
        Ok(copy)
    }
}

/// Bytes of a value of a kind; unknown kinds count as bytes.
fn width(kind: u16) -> usize {
    match kind {
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16..=18 => 8,
        _ => 1,
    }
}

fn cut() -> Problem {
    Problem::damaged("the TIFF file is cut off, or its directory is damaged: copy or download it again")
}
