//! Entry of an embeddings file, one per image.

/// Entry of an embeddings file: an image's name, class and values.
#[derive(Clone, Copy, Debug)]
pub struct EmbeddingEntry<'a> {
    /// Name of the image.
    pub name: &'a str,
    /// Name of the image's class; empty without one.
    pub label: &'a str,
    /// Values of the embedding, as many as the writer's shape demands.
    pub values: &'a [f32],
}
