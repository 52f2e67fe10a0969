//! Record of an image while others are compared with it.

use super::hash::PerceptualHashes;

/// Record of one decodable image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) hashes: PerceptualHashes,
    pub(super) split: u8,
    pub(super) position: u32,
    pub(super) label: Option<u32>,
}
