//! Integers of requests as clients send them: `4`, and `4.0` from languages with one kind of number.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

/// Bound above which not every integer has a floating-point representation of its own.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Non-negative integer.
struct Whole<T>(T);

impl<'de, T: TryFrom<u64>> Deserialize<'de> for Whole<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Read(PhantomData))
    }
}

struct Read<T>(PhantomData<T>);

impl<T: TryFrom<u64>> Visitor<'_> for Read<T> {
    type Value = Whole<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number below 2^{}", 8 * size_of::<T>())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        T::try_from(value).map(Whole).map_err(|_| E::invalid_value(Unexpected::Unsigned(value), &self))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        match u64::try_from(value) {
            Ok(value) => self.visit_u64(value),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(value), &self)),
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        match value.fract() == 0.0 && (0.0..=EXACT).contains(&value) {
            true => self.visit_u64(value as u64),
            false => Err(E::invalid_value(Unexpected::Float(value), &self)),
        }
    }
}

/// Reads an integer that must be present.
pub(super) fn one<'de, D: Deserializer<'de>, T: TryFrom<u64>>(from: D) -> Result<T, D::Error> {
    Whole::deserialize(from).map(|whole| whole.0)
}

/// Reads an integer that may be `null`.
pub(super) fn perhaps<'de, D: Deserializer<'de>, T: TryFrom<u64>>(from: D) -> Result<Option<T>, D::Error> {
    Option::<Whole<T>>::deserialize(from).map(|whole| whole.map(|whole| whole.0))
}

/// Reads a list of integers.
pub(super) fn list<'de, D: Deserializer<'de>, T: TryFrom<u64>>(from: D) -> Result<Vec<T>, D::Error> {
    Vec::<Whole<T>>::deserialize(from).map(plain)
}

/// Reads a list of integers that may be `null`.
pub(super) fn perhaps_list<'de, D: Deserializer<'de>, T: TryFrom<u64>>(from: D) -> Result<Option<Vec<T>>, D::Error> {
    Option::<Vec<Whole<T>>>::deserialize(from).map(|list| list.map(plain))
}

/// Reads a list of lists of integers that may be `null`.
pub(super) fn perhaps_lists<'de, D: Deserializer<'de>, T: TryFrom<u64>>(
    from: D,
) -> Result<Option<Vec<Vec<T>>>, D::Error> {
    let lists = Option::<Vec<Vec<Whole<T>>>>::deserialize(from)?;
    Ok(lists.map(|lists| lists.into_iter().map(plain).collect()))
}

fn plain<T>(list: Vec<Whole<T>>) -> Vec<T> {
    list.into_iter().map(|whole| whole.0).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::from_str;

    use super::*;

    fn read<T: TryFrom<u64>>(text: &str) -> Result<Option<T>, String> {
        perhaps(&mut serde_json::Deserializer::from_str(text)).map_err(|e| e.to_string())
    }

    #[test]
    fn whole_numbers_are_read_in_every_form_and_nothing_else_is() {
        for text in ["4", "4.0", "4e0", "0.4e1"] {
            assert_eq!(read::<usize>(text), Ok(Some(4)), "{text}");
        }
        assert_eq!(read::<u64>("null"), Ok(None));
        assert_eq!(read::<u64>("-0.0"), Ok(Some(0)));
        assert_eq!(read::<u64>("18446744073709551615"), Ok(Some(u64::MAX)));
        for (text, named) in
            [("1.5", "1.5"), ("-1", "-1"), ("-2.0", "-2"), ("1e30", "1e+30"), ("\"x\"", "x"), ("65536", "65536")]
        {
            let error = read::<u16>(text).unwrap_err();
            assert!(error.contains(named) && error.contains("2^16"), "{text}: {error}");
        }
        // The integer that was meant is ambiguous.
        assert!(read::<u64>("18446744073709551616").is_err() && read::<u64>("1e17").is_err());
        assert!(from_str::<Whole<u16>>("[]").is_err());
    }
}
