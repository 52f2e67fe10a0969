//! Report on one run, or on several side by side: the findings about each ([`Findings`]), and the page that shows them
//! ([`page`]).

mod compare;
mod features;
mod findings;
mod page;
mod pca;
mod pictures;
mod sections;
mod settings;
#[cfg(test)]
mod tests;
mod words;

pub use features::{FeatureMap, LayerProbes, PointCloud};
pub use findings::Findings;
pub use page::run_page;
pub use pictures::{ModelPictures, surprise_pairs};
pub use settings::{ReportProgress, ReportSettings};
pub use words::{grouped, quoted};
