use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

use super::fetch::TRIES;
use super::*;
use crate::data::sources::catalog::RemoteFile;

/// What the server does with one connection.
#[derive(Clone, Copy)]
enum Answer {
    /// Sends the range asked for, or everything.
    Obey,
    /// Promises as much but hangs up after so many bytes.
    HangUp(usize),
    /// Sends everything, whatever was asked for.
    Whole,
    /// Sends something else of the same length.
    Corrupt,
    NotFound,
}

/// A web server on the loopback interface that gives one answer a connection, and the `Range` of each request.
struct Server {
    mirror: &'static str,
    ranges: Arc<Mutex<Vec<String>>>,
}

fn content() -> Vec<u8> {
    (0..200_000u64).map(|i| ((i * i) >> 3) as u8).collect()
}

fn serve(answers: Vec<Answer>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mirror = format!("http://{}/data/", listener.local_addr().unwrap()).leak();
    let ranges = Arc::new(Mutex::new(Vec::new()));
    let seen = ranges.clone();
    std::thread::spawn(move || {
        for answer in answers {
            let (stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let head: Vec<String> = lines.by_ref().map(|l| l.unwrap()).take_while(|l| !l.is_empty()).collect();
            assert!(head[0].starts_with("GET /data/file.bin "), "{head:?}");
            let range = head.iter().find_map(|l| l.to_lowercase().strip_prefix("range: ").map(str::to_owned));
            seen.lock().unwrap().push(range.clone().unwrap_or_default());
            let whole = content();
            let from = range.and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
            let (status, body) = match (answer, from) {
                (Answer::NotFound, _) => ("404 Not Found".to_owned(), Vec::new()),
                (Answer::Corrupt, _) => ("200 OK".to_owned(), whole.iter().map(|b| b ^ 1).collect()),
                (Answer::Whole, _) | (_, None) => ("200 OK".to_owned(), whole.clone()),
                (_, Some(from)) => {
                    let end = whole.len();
                    let head = format!("206 Partial Content\r\nContent-Range: bytes {from}-{}/{end}", end - 1);
                    (head, whole[from..].to_vec())
                }
            };
            let length = body.len();
            let sent = if let Answer::HangUp(n) = answer { n.min(length) } else { length };
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            let mut stream = stream;
            // The client may have hung up in turn.
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body[..sent]));
        }
    });
    Server { mirror, ranges }
}

/// A data set of one file that lies at `mirrors`.
fn known(mirrors: &[&'static str]) -> PublishedDataset {
    let digest: String = Sha256::digest(content()).iter().map(|b| format!("{b:02x}")).collect();
    let file = RemoteFile { name: "file.bin", bytes: content().len() as u64, sha256: digest.leak() };
    PublishedDataset {
        name: "set",
        folders: &["set"],
        system: &[],
        mirrors: mirrors.to_vec().leak(),
        files: vec![file].leak(),
        classes: &[],
    }
}

fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_file_gets_its_name_only_when_it_is_whole() {
    let (server, dir) = (serve(vec![Answer::Obey]), tempfile::tempdir().unwrap());
    let target = dir.path().join("file.bin");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (record, early) = (seen.clone(), target.clone());
    let hook = move |p: &DownloadProgress| {
        assert!(!early.exists(), "named before it is whole");
        record.lock().unwrap().push((p.received, p.total));
    };
    fetch_all(&known(&[server.mirror]), dir.path(), Some(&hook)).unwrap();
    assert_eq!(std::fs::read(target).unwrap(), content());
    assert_eq!(files(dir.path()), ["file.bin"]);
    let seen = seen.lock().unwrap();
    assert!(seen.is_sorted() && seen.last() == Some(&(200_000, 200_000)), "{seen:?}");
}

#[test]
fn a_broken_connection_is_resumed_where_it_broke() {
    let answers = vec![Answer::HangUp(1000), Answer::HangUp(70_000), Answer::Obey];
    let (server, dir) = (serve(answers), tempfile::tempdir().unwrap());
    fetch_all(&known(&[server.mirror]), dir.path(), None).unwrap();
    assert_eq!(std::fs::read(dir.path().join("file.bin")).unwrap(), content());
    assert_eq!(*server.ranges.lock().unwrap(), ["", "bytes=1000-", "bytes=71000-"]);
}

#[test]
fn a_part_of_an_earlier_run_is_continued_or_replaced() {
    for (answer, part) in [
        (Answer::Obey, content()[..50_000].to_vec()),
        // A server that can't resume.
        (Answer::Whole, content()[..50_000].to_vec()),
    ] {
        let (server, dir) = (serve(vec![answer]), tempfile::tempdir().unwrap());
        std::fs::write(dir.path().join("file.bin.part"), part).unwrap();
        fetch_all(&known(&[server.mirror]), dir.path(), None).unwrap();
        assert_eq!(std::fs::read(dir.path().join("file.bin")).unwrap(), content());
        assert_eq!(*server.ranges.lock().unwrap(), ["bytes=50000-"]);
    }
    // Complete but for its name; and longer than the file can be.
    for (extra, requests) in [(0, 0), (1, 1)] {
        let (server, dir) = (serve(vec![Answer::Obey]), tempfile::tempdir().unwrap());
        let part = [content(), vec![0; extra]].concat();
        std::fs::write(dir.path().join("file.bin.part"), part).unwrap();
        fetch_all(&known(&[server.mirror]), dir.path(), None).unwrap();
        assert_eq!(files(dir.path()), ["file.bin"]);
        assert_eq!(server.ranges.lock().unwrap().len(), requests);
    }
}

#[test]
fn a_wrong_checksum_or_a_missing_file_turns_to_the_next_mirror() {
    for bad in [Answer::Corrupt, Answer::NotFound] {
        let (first, second) = (serve(vec![bad; TRIES]), serve(vec![Answer::Obey]));
        let dir = tempfile::tempdir().unwrap();
        fetch_all(&known(&[first.mirror, second.mirror]), dir.path(), None).unwrap();
        assert_eq!(std::fs::read(dir.path().join("file.bin")).unwrap(), content());
        assert_eq!(*second.ranges.lock().unwrap(), [""], "nothing of the bad file is left");
    }
}

#[test]
fn without_a_good_mirror_nothing_is_left_and_the_error_says_what_to_do() {
    for (answer, words) in [(Answer::Corrupt, "checksum (SHA-256) is"), (Answer::NotFound, "404")] {
        let (server, dir) = (serve(vec![answer; TRIES]), tempfile::tempdir().unwrap());
        let options = crate::data::OpenOptions { data_dir: Some(dir.path().to_owned()), ..Default::default() };
        let error =
            crate::data::sources::locate::find(&known(&[server.mirror]), &options, |_| false).unwrap_err().to_string();
        let place = dir.path().join("set");
        for part in [words, server.mirror, "put file.bin from", &place.to_string_lossy()] {
            assert!(error.contains(part), "{part} in {error}");
        }
        assert!(!place.join("file.bin").exists());
    }
}

#[test]
fn no_network_is_an_error_that_names_files_and_places() {
    // A port that nobody listens on any more.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let dir = tempfile::tempdir().unwrap();
    let options = crate::data::OpenOptions { data_dir: Some(dir.path().to_owned()), ..Default::default() };
    let set = known(&[format!("http://127.0.0.1:{port}/").leak()]);
    let error = crate::data::sources::locate::find(&set, &options, |_| false).unwrap_err().to_string();
    assert!(error.contains("put file.bin from http://127.0.0.1") && error.contains("set is not on this"), "{error}");
}
