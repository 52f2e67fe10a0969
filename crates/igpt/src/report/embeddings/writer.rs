//! Writer of embeddings files, in the format given by the file's ending.

use std::io::{BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use super::entry::EmbeddingEntry;
use super::field::{csv_field, plain};
#[cfg(feature = "parquet")]
use super::parquet::ParquetTable;
use crate::files::NewFile;
use crate::formats::npy::header;
use crate::{Error, Result};

/// Supported endings of an embeddings file's name, one per format.
pub const EMBEDDING_ENDINGS: [&str; 3] = ["npy", "csv", "parquet"];

/// Embeddings file that is being written.
#[derive(Debug)]
pub struct EmbeddingsWriter {
    path: PathBuf,
    format: Format,
    /// Shape of one image's values.
    shape: Vec<usize>,
    images: usize,
}

#[derive(Debug)]
enum Format {
    /// The array, whose header is rewritten at the end, and the list of images.
    Npy(BufWriter<NewFile>, BufWriter<NewFile>),
    Csv(BufWriter<NewFile>),
    #[cfg(feature = "parquet")]
    Parquet(Box<ParquetTable>),
}

impl EmbeddingsWriter {
    /// Creates the file `path` for images with values of `shape`.
    ///
    /// It is an array (images, shape…), or a table with one column per value.
    ///
    /// # Errors
    /// When the name has none of [`EMBEDDING_ENDINGS`] or the file can't be written.
    pub fn create(path: impl Into<PathBuf>, shape: &[usize]) -> Result<Self> {
        let path = path.into();
        let values = shape.iter().product();
        let format = match path.extension().and_then(|e| e.to_str()) {
            Some("npy") => {
                let (mut array, mut list) = (start(&path)?, start(&list_of(&path))?);
                array.write_all(&header("<f4", &sides(0, shape))).map_err(Error::io(&path))?;
                list.write_all(b"name\tlabel\n").map_err(Error::io(&path))?;
                Format::Npy(array, list)
            }
            Some("csv") => {
                let mut table = start(&path)?;
                let columns: String = (0..values).map(|i| format!(",embedding_{i}")).collect();
                writeln!(table, "filename,label{columns}").map_err(Error::io(&path))?;
                Format::Csv(table)
            }
            #[cfg(feature = "parquet")]
            Some("parquet") => Format::Parquet(Box::new(ParquetTable::create(&path, values)?)),
            #[cfg(not(feature = "parquet"))]
            Some("parquet") => {
                return Err(Error::Invalid(format!(
                    "{}: igpt was built without the feature `parquet`",
                    path.display()
                )));
            }
            _ => {
                let endings = EMBEDDING_ENDINGS.map(|ending| format!(".{ending}")).join(", ");
                return Err(Error::Invalid(format!("{} must end in one of {endings}", path.display())));
            }
        };
        Ok(Self { path, format, shape: shape.to_vec(), images: 0 })
    }

    /// Appends the embeddings of images.
    ///
    /// # Panics
    /// When an image has another number of values than the shape.
    pub fn push(&mut self, entries: &[EmbeddingEntry<'_>]) -> Result<()> {
        let values: usize = self.shape.iter().product();
        assert!(entries.iter().all(|entry| entry.values.len() == values), "{values} values an image");
        self.images += entries.len();
        let path = &self.path;
        match &mut self.format {
            Format::Npy(array, list) => {
                for EmbeddingEntry { name, label, values } in entries {
                    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                    array.write_all(&bytes).map_err(Error::io(path))?;
                    writeln!(list, "{}\t{}", plain(name), plain(label)).map_err(Error::io(list_of(path)))?;
                }
                Ok(())
            }
            Format::Csv(table) => {
                for EmbeddingEntry { name, label, values } in entries {
                    let values: String = values.iter().map(|value| format!(",{value}")).collect();
                    writeln!(table, "{},{}{values}", csv_field(name), csv_field(label)).map_err(Error::io(path))?;
                }
                Ok(())
            }
            #[cfg(feature = "parquet")]
            Format::Parquet(table) => table.push(entries),
        }
    }

    /// Completes the file; returns the paths of the files written.
    pub fn finish(self) -> Result<Vec<PathBuf>> {
        let Self { path, format, shape, images } = self;
        match format {
            Format::Npy(mut array, list) => {
                let again = array.rewind().and_then(|()| array.write_all(&header("<f4", &sides(images, &shape))));
                again.map_err(Error::io(&path))?;
                let (list_path, array, list) = (list_of(&path), whole(array, &path)?, whole(list, &list_of(&path))?);
                list.finish()?;
                array.finish()?;
                Ok(vec![path, list_path])
            }
            Format::Csv(table) => whole(table, &path)?.finish().map(|()| vec![path]),
            #[cfg(feature = "parquet")]
            Format::Parquet(table) => table.finish().map(|()| vec![path]),
        }
    }
}

fn sides(images: usize, shape: &[usize]) -> Vec<usize> {
    [&[images], shape].concat()
}

/// Path of the list beside an array.
fn list_of(path: &Path) -> PathBuf {
    path.with_extension("tsv")
}

fn start(path: &Path) -> Result<BufWriter<NewFile>> {
    NewFile::create(path).map(BufWriter::new)
}

/// Flushes the buffer and returns the file.
fn whole(file: BufWriter<NewFile>, path: &Path) -> Result<NewFile> {
    file.into_inner().map_err(|error| Error::io(path)(error.into_error()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::full_disk;

    fn write(path: &Path) -> Vec<PathBuf> {
        let mut file = EmbeddingsWriter::create(path, &[2, 2]).unwrap();
        let entry = |name, label, values| EmbeddingEntry { name, label, values };
        file.push(&[entry("a/1.png", "a", &[1.0, 2.0, 3.0, 4.5]), entry("b, \"c\"\t.png", "", &[0.0; 4])]).unwrap();
        assert!(!path.exists(), "unfinished files have another name");
        file.push(&[entry("3", "b", &[-1e-3, 5.0, 6.0, 7.0])]).unwrap();
        file.finish().unwrap()
    }

    #[test]
    fn an_array_has_all_images_in_its_shape_and_a_list_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let files = write(&folder.path().join("new/f.npy"));
        assert_eq!(files[1], folder.path().join("new/f.tsv"));
        let bytes = std::fs::read(&files[0]).unwrap();
        let data = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        assert!(String::from_utf8_lossy(&bytes[..data]).contains("'shape': (3, 2, 2,)"));
        let values: Vec<f32> = bytes[data..].chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        assert_eq!(values, [1.0, 2.0, 3.0, 4.5, 0.0, 0.0, 0.0, 0.0, -1e-3, 5.0, 6.0, 7.0]);
        let list = std::fs::read_to_string(&files[1]).unwrap();
        assert_eq!(list, "name\tlabel\na/1.png\ta\nb, \"c\" .png\t\n3\tb\n");
        assert_eq!(std::fs::read_dir(folder.path().join("new")).unwrap().count(), 2, "nothing else is left");
    }

    #[test]
    fn the_header_of_an_array_keeps_its_length_whatever_the_number_of_images() {
        for shape in [&[13, 1536][..], &[49, 4096, 1536], &[1_000_000_000, 1_000_000, 1_000_000]] {
            assert_eq!(header("<f4", &sides(0, shape)).len(), header("<f4", &sides(1 << 40, shape)).len());
        }
    }

    #[test]
    fn a_table_has_one_column_a_value_and_quotes_names() {
        let folder = tempfile::tempdir().unwrap();
        let files = write(&folder.path().join("f.csv"));
        let text = std::fs::read_to_string(&files[0]).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "filename,label,embedding_0,embedding_1,embedding_2,embedding_3");
        assert_eq!(lines[1], "a/1.png,a,1,2,3,4.5");
        assert!(lines[2].starts_with("\"b, \"\"c\"\"\t.png\",,0,"));
        assert_eq!((lines[3], lines.len()), ("3,b,-0.001,5,6,7", 4));
    }

    #[test]
    fn names_that_a_spreadsheet_or_terminal_would_act_on_are_defused() {
        for (name, field) in [
            ("=HYPERLINK(\"x\")", "\"'=HYPERLINK(\"\"x\"\")\""),
            ("+1.png", "'+1.png"),
            ("-1.png", "'-1.png"),
            ("@sum", "'@sum"),
            ("\tx", "'\tx"),
            ("\rx", "'\\u{d}x"),
            ("a\u{1b}[2J", "a\\u{1b}[2J"),
            ("a-b=c.png", "a-b=c.png"),
        ] {
            assert_eq!(csv_field(name), field);
        }
        assert_eq!((plain("=a\tb"), plain("\ta")), ("'=a b".to_owned(), " a".to_owned()));
    }

    #[test]
    fn a_full_disk_and_an_end_before_the_last_image_leave_the_old_files_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        for (i, ending) in EMBEDDING_ENDINGS.iter().enumerate() {
            let path = folder.path().join(format!("{i}/f.{ending}"));
            let files = write(&path);
            let old: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
            full_disk::leave(100);
            let full = EmbeddingsWriter::create(&path, &[2, 2]).and_then(|mut file| {
                file.push(&[EmbeddingEntry { name: "x", label: "", values: &[1.0; 4] }; 4])?;
                file.finish()
            });
            full_disk::leave(usize::MAX);
            assert!(full.is_err(), "{ending}");
            EmbeddingsWriter::create(&path, &[2, 2]).unwrap().push(&[]).unwrap();
            let now: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
            assert_eq!(old, now, "{ending}");
            assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), files.len(), "{ending}");
        }
    }

    #[test]
    fn other_endings_are_refused() {
        let error = EmbeddingsWriter::create("f.txt", &[1]).unwrap_err().to_string();
        assert!(error.contains("f.txt") && error.contains(".parquet"), "{error}");
    }
}
