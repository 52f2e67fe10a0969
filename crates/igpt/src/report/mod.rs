//! Pictures and pages of what a model learned: PNG grids, NumPy arrays, animations, charts and the one-file report.

pub mod chart;
pub mod data_check;
pub mod embeddings;
pub mod gif;
pub mod grid;
pub mod heat;
pub mod npy;
pub mod page;
pub mod png;
pub mod runs;

pub use chart::Chart;
pub use embeddings::{Embeddings, Entry, csv_field};
pub use grid::{GAP, grid, hidden, not_given, readable_scale};
pub use heat::heat;
pub use page::Page;
pub use png::Text;
