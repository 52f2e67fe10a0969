//! Chainable setters for settings structs that may get further fields: `SamplingSettings::default().seed(1).top_k(40)`.

/// Defines a setter for each of the named fields of a settings struct.
macro_rules! setters {
    ($settings:ty { $($field:ident: $type:ty),* $(,)? }) => {
        impl $settings {
            $(
                #[doc = concat!("Sets [`Self::", stringify!($field), "`](#structfield.", stringify!($field), ").")]
                #[must_use]
                pub fn $field(mut self, $field: $type) -> Self {
                    self.$field = $field;
                    self
                }
            )*
        }
    };
}
pub(crate) use setters;
