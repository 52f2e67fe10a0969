//! Sources of images, one file per format, and what they share.
//!
//! Shared are names and checksums of published files ([`catalog`]), finding ([`locate`]) and downloading them
//! ([`download`]), archives, and images of one size in memory ([`packed`]).

mod bundle;
pub(crate) mod catalog;
pub(crate) mod cifar;
pub(crate) mod download;
pub(crate) mod emoji;
pub(crate) mod folder;
pub(crate) mod idx;
pub(crate) mod locate;
pub(crate) mod packed;
pub(crate) mod stl10;
