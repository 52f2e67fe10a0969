//! Where images come from: one file for each format, and what they share: names and checksums of published files
//! ([`catalog`]), finding ([`locate`]) and fetching them ([`download`]), archives, and images of one size in memory
//! ([`packed`]).

mod bundle;
pub mod catalog;
pub mod cifar;
pub mod download;
pub mod emoji;
pub mod folder;
pub mod idx;
pub mod locate;
pub mod packed;
pub mod stl10;
