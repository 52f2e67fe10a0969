//! Limit on the pixels of an image, because headers are not trusted.

use std::sync::OnceLock;

use super::Problem;

/// The environment variable that sets another limit.
const VARIABLE: &str = "IGPT_MAX_IMAGE_PIXELS";
/// The limit that Pillow has (twice its `MAX_IMAGE_PIXELS`): 0.5 GB of RGB.
const PIXELS: u64 = 178_956_970;

/// Largest number of pixels of an image, and the advice for an image with more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    most: u64,
    advice: &'static str,
}

impl Limit {
    /// Returns the limit for files: [`PIXELS`], or that of the environment.
    pub(super) fn of_files() -> Result<Self, Problem> {
        static PIXELS_ALLOWED: OnceLock<Result<u64, String>> = OnceLock::new();
        let most = PIXELS_ALLOWED.get_or_init(|| match std::env::var(VARIABLE) {
            Ok(text) if !text.is_empty() => text.parse().map_err(|_| {
                format!("{VARIABLE} is {text:?}: give the most pixels that an image may have, such as {PIXELS}")
            }),
            _ => Ok(PIXELS),
        });
        match most {
            Ok(most) => Ok(Self { most: *most, advice: "shrink it, or set IGPT_MAX_IMAGE_PIXELS" }),
            Err(problem) => Err(Problem::damaged(problem)),
        }
    }

    /// Returns this limit, or `most` if that is smaller.
    pub(super) fn or(self, most: u64) -> Self {
        if most < self.most { Self { most, advice: "shrink it" } } else { self }
    }

    /// No limit, for reading headers only.
    pub(super) const NONE: Self = Self { most: u64::MAX, advice: "" };

    /// Refuses an image of more pixels.
    pub(super) fn check(&self, width: u32, height: u32) -> Result<(), Problem> {
        if u64::from(width) * u64::from(height) <= self.most {
            return Ok(());
        }
        let Self { most, advice } = self;
        Err(Problem::damaged(format!("it has {width}×{height} pixels, but at most {most} are allowed: {advice}")))
    }
}
