//! HTML reports on models, data sets and inspections, with charts; and files of embeddings.
//!
//! ```
//! use igpt::report::csv_field;
//!
//! assert_eq!(csv_field("cat, black"), "\"cat, black\"");
//! ```

pub(crate) mod chart;
pub(crate) mod data_check;
pub(crate) mod embeddings;
mod html;
pub(crate) mod inspection;
pub(crate) mod page;
pub(crate) mod runs;

pub use chart::{Chart, ReferenceLine, Series, SeriesStyle, layer_chart};
pub use data_check::data_check_page;
pub use embeddings::{EMBEDDING_ENDINGS, EmbeddingEntry, EmbeddingsWriter, csv_field};
pub use inspection::{FalseAlarmCheck, InspectionPage, JudgedPicture, percent, thumbnail};
pub use page::{
    Block, Command, Completion, ConfusionMatrix, Figure, ImagePair, ImageWithMap, Page, Section, Swatch, Table,
};
pub use runs::{
    FeatureMap, Findings, LayerProbes, ModelPictures, PointCloud, ReportProgress, ReportSettings, grouped, quoted,
    run_page, surprise_pairs,
};
