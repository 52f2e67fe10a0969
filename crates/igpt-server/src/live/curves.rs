//! Incremental reading of `metrics.jsonl`: only new rows are read, and a file that was restarted or cut back is
//! detected.

use std::path::PathBuf;

use igpt::train::MetricsRow;
use serde::Serialize;

use super::inside;

/// Largest number of points in a curve.
const POINTS: usize = 2000;
/// Bytes read at a time, which is also the limit for a file that is long from the start.
const PART: u64 = 32 << 20;
/// Longest line in bytes.
const LINE: usize = 64 << 10;

/// Rows read so far.
#[derive(Debug)]
pub(super) struct Rows {
    root: PathBuf,
    path: PathBuf,
    /// Bytes read, in whole lines only.
    read: u64,
    /// Offset and contents of the last line read. If they have changed, the file is another one.
    last: Option<(u64, Vec<u8>)>,
    pub(super) rows: Vec<MetricsRow>,
    /// Number of times that the file was restarted.
    pub(super) generation: u64,
}

impl Rows {
    /// Reader of the file `path` of the run in `root`.
    pub(super) fn new(root: PathBuf, path: PathBuf) -> Self {
        Self { root, path, read: 0, last: None, rows: Vec::new(), generation: 0 }
    }

    /// Reads new rows. A file that can't be read counts as empty.
    pub(super) fn refresh(&mut self) {
        if !self.goes_on() {
            let (root, path) = (std::mem::take(&mut self.root), std::mem::take(&mut self.path));
            *self = Self { generation: self.generation + 1, ..Self::new(root, path) };
        }
        if self.last.is_none() {
            let length = self.length();
            self.read = if length < self.read { 0 } else { self.read.max(length.saturating_sub(PART)) };
        }
        let Some(new) = inside::read_from(&self.root, &self.path, self.read, PART) else { return };
        let whole = new.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        for line in new[..whole].split_inclusive(|&byte| byte == b'\n') {
            if line.len() <= LINE {
                self.rows.extend(serde_json::from_slice(line).ok());
                self.last = Some((self.read, line.to_vec()));
            }
            self.read += line.len() as u64;
        }
        if new.len() - whole > LINE {
            // This is not a line of a run, and may never end.
            self.read += (new.len() - whole) as u64;
        }
    }

    fn length(&self) -> u64 {
        let file = inside::open(&self.root, &self.path);
        file.and_then(|file| file.metadata().ok()).map_or(0, |metadata| metadata.len())
    }

    /// Whether the file still has the last line read at its offset.
    fn goes_on(&self) -> bool {
        let Some((start, line)) = &self.last else { return true };
        let there = inside::read_from(&self.root, &self.path, *start, line.len() as u64);
        there.is_some_and(|there| there == *line)
    }
}

/// Points (step, value) of the displayed curves.
#[derive(Debug, Default, Serialize)]
pub(super) struct Curves {
    train: Vec<(u64, f64)>,
    validation: Vec<(u64, f64)>,
    lr: Vec<(u64, f64)>,
    tokens_per_s: Vec<(u64, f64)>,
    grad_norm: Vec<(u64, f64)>,
    accuracy: Vec<(u64, f64)>,
    probe: Vec<(u64, f64)>,
}

impl Curves {
    /// Curves of some rows, thinned if there are many.
    pub(super) fn of(rows: &[MetricsRow]) -> Self {
        let of = |split: &'static str, value: fn(&MetricsRow) -> Option<f64>| {
            let rows = rows.iter().filter(move |row| row.split == split);
            thin(rows.filter_map(|row| Some((row.step, value(row).filter(|value| value.is_finite())?))).collect())
        };
        Self {
            train: of("train", |row| Some(row.loss)),
            validation: of("validation", |row| Some(row.loss)),
            lr: of("train", |row| row.lr),
            tokens_per_s: of("train", |row| row.tokens_per_s),
            grad_norm: of("train", |row| row.grad_norm),
            accuracy: of("validation", |row| row.accuracy),
            probe: of("validation", |row| row.probe_accuracy),
        }
    }
}

/// At most [`POINTS`], spread evenly, always including the last.
fn thin(points: Vec<(u64, f64)>) -> Vec<(u64, f64)> {
    let n = points.len();
    if n <= POINTS {
        return points;
    }
    (1..=POINTS).map(|i| points[i * n / POINTS - 1]).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::*;

    fn line(step: u64, loss: f64) -> String {
        format!(
            r#"{{"step":{step},"tokens":1,"epoch":0.1,"split":"train","loss":{loss},"bits_per_dim":1.0,"elapsed_s":1.0}}"#
        ) + "\n"
    }

    fn steps(rows: &Rows) -> Vec<u64> {
        rows.rows.iter().map(|row| row.step).collect()
    }

    #[test]
    fn a_growing_file_is_read_on_and_a_cut_one_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let mut rows = Rows::new(dir.path().into(), path.clone());
        rows.refresh();
        assert!(rows.rows.is_empty());
        fs::write(&path, line(1, 2.0) + &line(2, 1.5) + "{\"step\":3,").unwrap();
        rows.refresh();
        assert_eq!((steps(&rows), rows.generation), (vec![1, 2], 0));
        // The half line becomes whole, and another line follows.
        let mut file = fs::File::options().append(true).open(&path).unwrap();
        file.write_all(&line(3, 1.0).as_bytes()[10..]).unwrap();
        file.write_all(line(4, 1.0).as_bytes()).unwrap();
        rows.refresh();
        assert_eq!((steps(&rows), rows.generation), (vec![1, 2, 3, 4], 0));
        // A resumed run returns to a checkpoint and then writes other rows; the file may have any length.
        fs::write(&path, line(1, 2.0) + &line(2, 1.5) + &line(3, 0.9) + &line(4, 0.8) + &line(5, 0.7)).unwrap();
        rows.refresh();
        assert_eq!((steps(&rows), rows.generation), (vec![1, 2, 3, 4, 5], 1));
        fs::remove_file(&path).unwrap();
        rows.refresh();
        assert_eq!((steps(&rows), rows.generation), (vec![], 2));
    }

    #[test]
    fn of_a_file_without_an_end_or_with_endless_lines_only_so_much_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let mut file = fs::File::create(&path).unwrap();
        // Holes take no space on the disk.
        file.set_len(5 * PART).unwrap();
        let mut rows = Rows::new(dir.path().into(), path.clone());
        for _ in 0..3 {
            rows.refresh();
            assert!(rows.read >= 4 * PART && rows.rows.is_empty());
        }
        use std::io::{Seek, SeekFrom};
        file.seek(SeekFrom::End(0)).unwrap();
        file.write_all(("\n".to_string() + &line(7, 1.0)).as_bytes()).unwrap();
        rows.refresh();
        assert_eq!((steps(&rows), rows.generation), (vec![7], 0));
    }

    #[test]
    fn long_curves_are_thinned_and_keep_their_end() {
        let points: Vec<_> = (1..=5001).map(|step| (step, 1.0)).collect();
        let thinned = thin(points);
        assert_eq!((thinned.len(), thinned.last().unwrap().0), (POINTS, 5001));
        assert!(thinned.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
