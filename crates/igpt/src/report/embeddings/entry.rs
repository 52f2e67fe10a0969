//! What is written of each image.

/// What a file of embeddings holds of an image besides its values.
#[derive(Clone, Copy, Debug)]
pub struct EmbeddingEntry<'a> {
    /// The image's name.
    pub name: &'a str,
    /// Its class's name, empty where it has none.
    pub label: &'a str,
    /// As many values as the shape says.
    pub values: &'a [f32],
}
