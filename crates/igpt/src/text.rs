//! Escaping of text from elsewhere (names of files, classes, tensors) before it is shown.

use std::borrow::Cow;

/// Escapes the control characters of a text, except line breaks and tabs.
///
/// A name that is shown this way can't move a terminal's cursor or set its title.
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |c| is_harmful(c) && c != '\n' && c != '\t')
}

/// Escapes all control characters of a text, line breaks and tabs included.
///
/// A name that is shown this way can't look like another line of a list or log.
pub fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, is_harmful)
}

fn escaped(text: &str, harmful: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&harmful) {
        return Cow::Borrowed(text);
    }
    text.chars()
        .fold(String::with_capacity(text.len() + 8), |mut shown, c| {
            if harmful(c) {
                shown.extend(c.escape_unicode())
            } else {
                shown.push(c)
            }
            shown
        })
        .into()
}

/// Whether a terminal may act on a character, or reorder what follows, instead of showing it.
fn is_harmful(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_act_on_is_escaped_and_everything_else_is_kept() {
        assert_eq!(printable("a\u{1b}[2J\u{9b}1m\u{202e}\r\u{7f}"), "a\\u{1b}[2J\\u{9b}1m\\u{202e}\\u{d}\\u{7f}");
        assert!(matches!(printable("Käfer – 甲虫\n\t"), Cow::Borrowed("Käfer – 甲虫\n\t")));
        assert_eq!(one_line("a\nstep 5:\t\u{2028}.png"), "a\\u{a}step 5:\\u{9}\\u{2028}.png");
        assert!(matches!(one_line("Käfer – 甲虫"), Cow::Borrowed("Käfer – 甲虫")));
    }
}
