//! Embeddings as Parquet: columns `filename`, `label` and `embedding`, a list of floats.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType, DataType, FloatType};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use super::entry::EmbeddingEntry;
use crate::files::NewFile;
use crate::{Error, Result};

/// Images per row group, which is kept in memory until it is written.
const GROUP: usize = 1024;
/// Largest number of values in a row group, unless a single image has more.
const VALUES: usize = 1 << 22;

const SCHEMA: &str = "message embeddings {
    required binary filename (UTF8);
    required binary label (UTF8);
    required group embedding (LIST) { repeated group list { required float element; } }
}";

/// Parquet file that is being written.
pub(super) struct ParquetTable {
    path: PathBuf,
    writer: SerializedFileWriter<NewFile>,
    /// Number of values per image.
    values: usize,
    names: Vec<ByteArray>,
    labels: Vec<ByteArray>,
    floats: Vec<f32>,
}

impl std::fmt::Debug for ParquetTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParquetTable").field("path", &self.path).field("values", &self.values).finish_non_exhaustive()
    }
}

impl ParquetTable {
    pub(super) fn create(path: &Path, values: usize) -> Result<Self> {
        let file = NewFile::create(path)?;
        let schema = parse_message_type(SCHEMA).map_err(failed(path))?;
        // Floats don't repeat: a dictionary of them would only be abandoned later.
        let properties = WriterProperties::builder().set_dictionary_enabled(false).build();
        let writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties)).map_err(failed(path))?;
        Ok(Self { path: path.to_owned(), writer, values, names: Vec::new(), labels: Vec::new(), floats: Vec::new() })
    }

    pub(super) fn push(&mut self, entries: &[EmbeddingEntry<'_>]) -> Result<()> {
        for entry in entries {
            self.names.push(entry.name.into());
            self.labels.push(entry.label.into());
            self.floats.extend_from_slice(entry.values);
            if self.names.len() >= (VALUES / self.values.max(1)).clamp(1, GROUP) {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Writes the buffered images as a row group.
    fn flush(&mut self) -> Result<()> {
        let path = self.path.clone();
        self.write_group().map_err(failed(&path))?;
        self.names.clear();
        self.labels.clear();
        self.floats.clear();
        Ok(())
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        let mut group = self.writer.next_row_group()?;
        write::<ByteArrayType>(&mut group, &self.names, None)?;
        write::<ByteArrayType>(&mut group, &self.labels, None)?;
        // A value is defined once inside its list, and the first value of each image starts the list.
        let starts: Vec<i16> = (0..self.floats.len()).map(|i| i16::from(i % self.values != 0)).collect();
        write::<FloatType>(&mut group, &self.floats, Some((&vec![1; starts.len()], &starts)))?;
        group.close()?;
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<()> {
        if !self.names.is_empty() {
            self.flush()?;
        }
        self.writer.into_inner().map_err(failed(&self.path))?.finish()
    }
}

/// Writes the next column of a row group, with (definition, repetition) levels.
fn write<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, NewFile>,
    values: &[T::T],
    levels: Option<(&[i16], &[i16])>,
) -> Result<(), ParquetError> {
    let Some(mut column) = group.next_column()? else {
        return Err(ParquetError::General("a column is missing".into()));
    };
    let (definitions, repetitions) = levels.unzip();
    column.typed::<T>().write_batch(values, definitions, repetitions)?;
    column.close()
}

fn failed(path: &Path) -> impl FnOnce(ParquetError) -> Error {
    let path = path.to_owned();
    move |error| Error::format(path, format!("the table could not be written: {error}"))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::{ListAccessor, RowAccessor};

    use super::*;

    #[test]
    fn rows_come_back_in_order_over_several_row_groups() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.parquet");
        let mut table = ParquetTable::create(&path, 3).unwrap();
        let count = 2 * GROUP + 5;
        for i in 0..count {
            let values = [i as f32, -0.5, 1e-3];
            table.push(&[EmbeddingEntry { name: &format!("{i}.png"), label: "cat", values: &values }]).unwrap();
        }
        table.finish().unwrap();
        let reader = SerializedFileReader::new(File::open(&path).unwrap()).unwrap();
        assert_eq!(reader.metadata().num_row_groups(), 3);
        let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
        assert_eq!(rows.len(), count);
        for (i, row) in rows.iter().enumerate() {
            assert_eq!((row.get_string(0).unwrap(), row.get_string(1).unwrap()), (&format!("{i}.png"), &"cat".into()));
            let list = row.get_list(2).unwrap();
            let values: Vec<f32> = (0..list.len()).map(|j| list.get_float(j).unwrap()).collect();
            assert_eq!(values, [i as f32, -0.5, 1e-3]);
        }
    }
}
