//! What is told of a download.

/// How far a download is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DownloadProgress {
    /// Name of the file.
    pub file: &'static str,
    /// Bytes on the disk.
    pub received: u64,
    /// Bytes of the whole file.
    pub total: u64,
}

/// Told after every piece.
pub type DownloadHook = dyn Fn(&DownloadProgress) + Send + Sync;
