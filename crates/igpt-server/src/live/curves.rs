//! `metrics.jsonl` as it grows: only what is new is read, and a file that was begun anew or cut back is noticed.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use igpt::train::Row;
use serde::Serialize;

/// Most points of a curve.
const POINTS: usize = 2000;

/// The rows read so far.
#[derive(Debug)]
pub(super) struct Rows {
    path: PathBuf,
    /// Bytes read, whole lines only.
    read: u64,
    /// The last line read: where it begins, and what it is. Elsewhere or changed, the file is another one.
    last: Option<(u64, Vec<u8>)>,
    pub(super) rows: Vec<Row>,
    /// How often the file was begun anew.
    pub(super) generation: u64,
}

impl Rows {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, read: 0, last: None, rows: Vec::new(), generation: 0 }
    }

    /// Reads what is new. A file that can't be read is empty.
    pub(super) fn refresh(&mut self) {
        if !self.goes_on() {
            let (path, generation) = (std::mem::take(&mut self.path), self.generation + 1);
            *self = Self { generation, ..Self::new(path) };
        }
        let Some(new) = read_from(&self.path, self.read) else { return };
        let whole = new.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        for line in new[..whole].split_inclusive(|&byte| byte == b'\n') {
            self.rows.extend(serde_json::from_slice(line).ok());
            self.last = Some((self.read, line.to_vec()));
            self.read += line.len() as u64;
        }
    }

    /// Whether the file still has the last line read where it was.
    fn goes_on(&self) -> bool {
        let Some((start, line)) = &self.last else { return true };
        read_from(&self.path, *start).is_some_and(|text| text.starts_with(line))
    }
}

fn read_from(path: &Path, start: u64) -> Option<Vec<u8>> {
    let mut file = File::open(path).ok()?;
    file.seek(SeekFrom::Start(start)).ok()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Points (step, value) of what is shown.
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
    /// Of some rows, thinned where they are many.
    pub(super) fn of(rows: &[Row]) -> Self {
        let of = |split: &'static str, value: fn(&Row) -> Option<f64>| {
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

/// At most [`POINTS`], spread evenly, the last always among them.
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
        let mut rows = Rows::new(path.clone());
        rows.refresh();
        assert!(rows.rows.is_empty());
        fs::write(&path, line(1, 2.0) + &line(2, 1.5) + "{\"step\":3,").unwrap();
        rows.refresh();
        assert_eq!((steps(&rows), rows.generation), (vec![1, 2], 0));
        // The half line becomes whole, and another one comes.
        let mut file = fs::File::options().append(true).open(&path).unwrap();
        file.write_all(&line(3, 1.0).as_bytes()[10..]).unwrap();
        file.write_all(line(4, 1.0).as_bytes()).unwrap();
        rows.refresh();
        assert_eq!((steps(&rows), rows.generation), (vec![1, 2, 3, 4], 0));
        // A resumed run goes back to a checkpoint, then writes other rows; the file may have any length.
        fs::write(&path, line(1, 2.0) + &line(2, 1.5) + &line(3, 0.9) + &line(4, 0.8) + &line(5, 0.7)).unwrap();
        rows.refresh();
        assert_eq!((steps(&rows), rows.generation), (vec![1, 2, 3, 4, 5], 1));
        fs::remove_file(&path).unwrap();
        rows.refresh();
        assert_eq!((steps(&rows), rows.generation), (vec![], 2));
    }

    #[test]
    fn long_curves_are_thinned_and_keep_their_end() {
        let points: Vec<_> = (1..=5001).map(|step| (step, 1.0)).collect();
        let thinned = thin(points);
        assert_eq!((thinned.len(), thinned.last().unwrap().0), (POINTS, 5001));
        assert!(thinned.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
