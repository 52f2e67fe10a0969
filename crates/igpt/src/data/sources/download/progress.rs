//! Progress of downloads.

/// Progress of a download: file, bytes received, total bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DownloadProgress {
    /// Name of the file.
    pub file: &'static str,
    /// Bytes on the disk so far.
    pub received: u64,
    /// Total bytes of the file.
    pub total: u64,
}

/// Callback for the progress of downloads, called after every piece.
pub type DownloadHook = dyn Fn(&DownloadProgress) + Send + Sync;
