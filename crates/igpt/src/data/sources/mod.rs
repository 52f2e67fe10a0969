//! Where images come from: one file for each format, and what they share: names and checksums of published files
//! ([`catalog`]), finding ([`locate`]) and fetching them ([`download`]), archives, and images of one size in memory
//! ([`packed`]).

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
