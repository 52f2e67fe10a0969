//! Parsers of flags whose values are those of a library's enum by name: the library knows nothing of flags, and `--help`
//! lists every name.

use std::str::FromStr;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

/// Takes one of `values` by its name.
pub(crate) fn named<T: Copy + Send + Sync + 'static>(
    values: &[T],
    name: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    parser(values.iter().map(|&value| (value, PossibleValue::new(name(value)))).collect())
}

/// As [`named`], with a line of help for each value.
pub(crate) fn described<T: Copy + Send + Sync + 'static>(
    values: &[(T, &'static str)],
    name: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    parser(values.iter().map(|&(value, help)| (value, PossibleValue::new(name(value)).help(help))).collect())
}

/// Takes one of `names`, which the library reads itself.
pub(crate) fn parsed<T>(names: &[&'static str]) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err = igpt::Error> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names.iter().copied()).try_map(|text| text.parse())
}

fn parser<T: Copy + Send + Sync + 'static>(values: Vec<(T, PossibleValue)>) -> impl TypedValueParser<Value = T> {
    let possible = PossibleValuesParser::new(values.iter().map(|(_, possible)| possible.clone()));
    possible.map(move |text| {
        let named = values.iter().find(|(_, possible)| possible.matches(&text, false));
        named.expect("other names are refused").0
    })
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command};
    use igpt::data::Split;
    use igpt::model::Preset;

    use super::*;

    #[test]
    fn every_name_is_taken_for_its_value_and_others_are_refused_with_the_list() {
        let flag = || Arg::new("preset").value_parser(named(&Preset::ALL, Preset::name));
        let parse = |text: &str| Command::new("test").arg(flag()).try_get_matches_from(["test", text]);
        for preset in Preset::ALL {
            assert_eq!(parse(preset.name()).unwrap().get_one("preset"), Some(&preset));
        }
        let split = Command::new("test").arg(Arg::new("split").value_parser(parsed::<Split>(&Split::NAMES)));
        let matches = split.clone().try_get_matches_from(["test", "test"]).unwrap();
        assert_eq!(matches.get_one("split"), Some(&Split::Test));
        let told = split.try_get_matches_from(["test", "tset"]).unwrap_err().to_string();
        assert!(told.contains("[possible values: train, validation, test, all]"), "{told}");
        let told = parse("huge").unwrap_err().to_string();
        assert!(told.contains("[possible values: nano, tiny, xs, s, m, l, xl]"), "{told}");
    }
}
