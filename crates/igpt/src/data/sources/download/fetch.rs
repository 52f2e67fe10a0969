//! Download of one file over HTTP, resumed and checked.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::progress::{DownloadHook, DownloadProgress};
use crate::data::sources::catalog::RemoteFile;

/// Connections to one server without a new byte before it is given up.
pub(super) const TRIES: usize = 2;
const PIECE: usize = 64 * 1024;

/// Downloads `url` to `dir`, resuming as long as each connection delivers new bytes.
pub(super) fn fetch(url: &str, file: &RemoteFile, dir: &Path, progress: Option<&DownloadHook>) -> Result<(), String> {
    let path = dir.join(format!("{}.part", file.name));
    let io = |e: std::io::Error| format!("{}: {e}", path.display());
    let mut part = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path).map_err(io)?;
    part.try_lock().map_err(|_| "another igpt is downloading it".to_owned())?;

    let agent = ureq::Agent::config_builder()
        .timeout_connect(Some(Duration::from_secs(15)))
        .timeout_recv_response(Some(Duration::from_secs(30)))
        .timeout_per_read(Some(Duration::from_secs(60)))
        // An unpacked file would have another length and checksum.
        .accept_encoding("identity")
        .build()
        .new_agent();
    let mut have = part.seek(SeekFrom::End(0)).map_err(io)?;
    let mut fruitless = 0;
    while have != file.bytes {
        if have > file.bytes {
            part.set_len(0).map_err(io)?;
        }
        let before = have;
        let result = receive(&agent, url, file, &mut part, progress);
        have = part.seek(SeekFrom::End(0)).map_err(io)?;
        fruitless = if have > before { 0 } else { fruitless + 1 };
        match result {
            Err(problem) if fruitless >= TRIES => return Err(problem),
            _ if fruitless >= TRIES => return Err(format!("only {have} of {} bytes came", file.bytes)),
            _ => {}
        }
    }

    let found = checksum(&mut part).map_err(io)?;
    if found != file.sha256 {
        std::fs::remove_file(&path).map_err(io)?;
        return Err(format!("the checksum (SHA-256) is {found} instead of {}", file.sha256));
    }
    part.sync_all().map_err(io)?;
    std::fs::rename(&path, dir.join(file.name)).map_err(io)
}

/// Makes one connection: appends to `part`, or starts anew if the server sends the whole file.
fn receive(
    agent: &ureq::Agent,
    url: &str,
    file: &RemoteFile,
    part: &mut File,
    progress: Option<&DownloadHook>,
) -> Result<(), String> {
    let mut have = part.seek(SeekFrom::End(0)).map_err(|e| e.to_string())?;
    let mut request = agent.get(url);
    if have > 0 {
        request = request.header("Range", format!("bytes={have}-"));
    }
    let mut response = request.call().map_err(|e| e.to_string())?;
    let range = response.headers().get("content-range").and_then(|v| v.to_str().ok()).unwrap_or_default();
    let resumed = response.status() == 206 && range.starts_with(&format!("bytes {have}-"));
    if !resumed {
        part.set_len(0).and_then(|()| part.rewind()).map_err(|e| e.to_string())?;
        have = 0;
        if response.status() != 200 {
            return Err(format!("the server answered {} with the range {range:?}", response.status()));
        }
    }
    let mut body = response.body_mut().as_reader();
    let mut piece = vec![0; PIECE];
    loop {
        let n = body.read(&mut piece).map_err(|e| e.to_string())?;
        if n == 0 {
            return Ok(());
        }
        have += n as u64;
        if have > file.bytes {
            part.set_len(0).map_err(|e| e.to_string())?;
            return Err(format!("more than the published {} bytes come", file.bytes));
        }
        part.write_all(&piece[..n]).map_err(|e| e.to_string())?;
        if let Some(progress) = progress {
            progress(&DownloadProgress { file: file.name, received: have, total: file.bytes });
        }
    }
}

/// SHA-256 of a whole file in hexadecimal.
fn checksum(file: &mut File) -> std::io::Result<String> {
    file.rewind()?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            n => hash.update(&piece[..n]),
        }
    }
}
