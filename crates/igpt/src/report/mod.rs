//! Pages of what a model learned: charts, tables of embeddings and the one-file report.

pub mod chart;
pub mod data_check;
pub mod embeddings;
mod html;
pub mod inspection;
pub mod page;
pub mod runs;

pub use chart::Chart;
pub use embeddings::{Embeddings, Entry, csv_field};
pub use page::Page;
