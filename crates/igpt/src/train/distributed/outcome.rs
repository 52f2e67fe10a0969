//! Outcomes that ranks exchange: a text, or an error whose kind is preserved.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::ranks::Collective;
use crate::{Error, Result};

/// Outcome of one rank.
#[derive(Debug, Serialize, Deserialize)]
enum Said {
    Done(String),
    Failed(Failure),
}

/// An error in a form that can be sent.
#[derive(Debug, Serialize, Deserialize)]
enum Failure {
    Io { path: PathBuf, text: String },
    Format { path: PathBuf, problem: String },
    Invalid(String),
    Mismatch(String),
    NotFound(String),
    Missing(String),
}

impl Failure {
    fn of(error: Error) -> Self {
        match error {
            Error::Io { path, source } => Self::Io { path, text: source.to_string() },
            Error::Format { path, problem } => Self::Format { path, problem },
            Error::Mismatch(text) => Self::Mismatch(text),
            Error::NotFound(text) => Self::NotFound(text),
            Error::Missing(text) => Self::Missing(text),
            other => Self::Invalid(other.to_string()),
        }
    }

    /// The error, with the name of the rank where it occurred.
    fn of_rank(self, name: &str) -> Error {
        let told = |text: String| format!("{name}: {text}");
        match self {
            Self::Io { path, text } => Error::Io { path, source: io::Error::other(told(text)) },
            Self::Format { path, problem } => Error::Format { path, problem: told(problem) },
            Self::Invalid(text) => Error::Invalid(told(text)),
            Self::Mismatch(text) => Error::Mismatch(told(text)),
            Self::NotFound(text) => Error::NotFound(told(text)),
            Self::Missing(text) => Error::Missing(told(text)),
        }
    }
}

/// Outcomes of all ranks, or the error of the first rank that failed, with its kind preserved.
pub(in crate::train) fn agreed(ranks: &mut Collective, own: Result<String>) -> Result<Vec<String>> {
    let own = own.map_or_else(|error| Said::Failed(Failure::of(error)), Said::Done);
    let own = serde_json::to_vec(&own).expect("texts have a JSON form");
    let all = ranks.gather(&own)?;
    let said = all.iter().enumerate().map(|(rank, bytes)| match serde_json::from_slice(bytes) {
        Ok(Said::Done(text)) => Ok(text),
        Ok(Said::Failed(failure)) => Err(failure.of_rank(&ranks.name(rank))),
        Err(error) => Err(Error::Invalid(format!("{} says what no rank says: {error}", ranks.name(rank)))),
    });
    said.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ranks::collective::tests::on_ranks;

    #[test]
    fn an_error_of_one_rank_is_the_same_kind_of_error_on_all_and_names_it() {
        let errors: [fn() -> Error; 6] = [
            || Error::io("a")(io::Error::other("full")),
            || Error::format("a", "cut off"),
            || Error::Invalid("bad".into()),
            || Error::Mismatch("!other".into()),
            || Error::NotFound("=no file".into()),
            || Error::Missing("=none".into()),
        ];
        for error in errors {
            let found = on_ranks(2, |mut ranks| {
                let own = if ranks.rank() == 1 { Err(error()) } else { Ok("=fine".into()) };
                let found = agreed(&mut ranks, own).unwrap_err();
                assert_eq!(agreed(&mut ranks, Ok("!".into())).unwrap(), ["!", "!"]);
                ranks.close().unwrap();
                found
            });
            for found in found {
                assert_eq!(std::mem::discriminant(&found), std::mem::discriminant(&error()));
                let (message, own) = (found.to_string(), error().to_string());
                assert!(message.contains("rank 1 on host"), "{message}");
                assert!(message.contains(own.trim_start_matches("a: ")), "{message} {own}");
            }
        }
    }
}
