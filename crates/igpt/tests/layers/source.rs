//! A source file as text: what compiles outside tests, without comments and texts, and the paths that it names.

use std::path::Path;

/// The code of a file: comments, texts and everything under `#[cfg(test)]` left out.
pub(crate) fn read(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    without_tests(&without_texts(&text))
}

/// Comments, string and character literals become blanks.
fn without_texts(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let starts = |i: usize, what: &str| what.chars().enumerate().all(|(k, c)| chars.get(i + k) == Some(&c));
    let mut code = String::with_capacity(text.len());
    let mut i = 0;
    while i < chars.len() {
        let word_before = i > 0 && (chars[i - 1].is_alphanumeric() || chars[i - 1] == '_');
        let hashes = chars[i..].iter().skip(1).take_while(|c| **c == '#').count();
        if starts(i, "//") {
            while i < chars.len() && chars[i] != '\n' {
                i += 1;
            }
        } else if starts(i, "/*") {
            while i < chars.len() && !starts(i, "*/") {
                i += 1;
            }
            i += 2;
        } else if chars[i] == 'r' && !word_before && chars.get(i + 1 + hashes) == Some(&'"') {
            let end = format!("\"{}", "#".repeat(hashes));
            i += 2 + hashes;
            while i < chars.len() && !starts(i, &end) {
                i += 1;
            }
            i += end.len();
        } else if chars[i] == '"' {
            i += 1;
            while i < chars.len() && chars[i] != '"' {
                i += if chars[i] == '\\' { 2 } else { 1 };
            }
            i += 1;
        } else if chars[i] == '\'' && (chars.get(i + 1) == Some(&'\\') || chars.get(i + 2) == Some(&'\'')) {
            // Not a lifetime.
            i += if chars[i + 1] == '\\' { 3 } else { 2 };
            while i < chars.len() && chars[i] != '\'' {
                i += 1;
            }
            i += 1;
        } else {
            code.push(chars[i]);
            i += 1;
            continue;
        }
        code.push(' ');
    }
    code
}

/// Cuts the items out that only tests compile.
fn without_tests(code: &str) -> String {
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(") {
        let attribute = &rest[at..];
        let end = attribute.find(']').map_or(attribute.len(), |end| end + 1);
        let is_test = attribute[..end].split(|c: char| !c.is_alphanumeric()).any(|word| word == "test");
        kept.push_str(&rest[..at]);
        rest = &attribute[end..];
        if is_test {
            rest = &rest[item_end(rest)..];
        }
    }
    kept + rest
}

/// Where the item that begins here ends: at its `;` or at the `}` of its braces.
fn item_end(code: &str) -> usize {
    let mut depth = 0;
    for (i, c) in code.char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth -= 1,
            _ => {}
        }
        if depth == 0 && (c == ';' || c == '}') {
            return i + 1;
        }
    }
    code.len()
}

/// Names of the modules that `code` declares in files of their own.
pub(crate) fn children(code: &str) -> Vec<String> {
    let words = words(code);
    let declared = words.windows(3).filter(|three| three[0] == "mod" && three[2] == ";");
    declared.map(|three| three[1].to_string()).collect()
}

/// An imported name and the path that it stands for.
#[derive(Debug)]
pub(crate) struct Import {
    pub(crate) name: String,
    pub(crate) path: Vec<String>,
}

/// What a file's `use` items bring in; a glob has the name `*`.
pub(crate) fn imports(words: &[&str]) -> Vec<Import> {
    let mut found = Vec::new();
    let mut rest = words;
    while let Some(at) = rest.iter().position(|word| *word == "use") {
        rest = &rest[at + 1..];
        let end = rest.iter().position(|word| *word == ";").unwrap_or(rest.len());
        tree(&rest[..end], &[], &mut found);
        rest = &rest[end..];
    }
    found
}

/// Adds the leaves of a tree of imports below `before`.
fn tree(words: &[&str], before: &[String], found: &mut Vec<Import>) {
    let mut path = before.to_vec();
    let mut i = 0;
    while i < words.len() {
        match words[i] {
            "::" => {}
            "{" => {
                let (mut depth, mut start) = (0, i + 1);
                for (k, word) in words.iter().enumerate().skip(i) {
                    depth += i32::from(*word == "{") - i32::from(*word == "}");
                    if (depth == 1 && *word == ",") || depth == 0 {
                        tree(&words[start..k], &path, found);
                        start = k + 1;
                    }
                }
                return;
            }
            "as" => {
                found.push(Import { name: words[i + 1].into(), path });
                return;
            }
            "self" if i > 0 || !before.is_empty() => {}
            word => path.push(word.into()),
        }
        i += 1;
    }
    if path.len() > before.len() || words == ["self"] {
        found.push(Import { name: path.last().cloned().unwrap_or_default(), path });
    }
}

/// The paths of two names and more outside of `use` and of `pub(in …)`.
pub(crate) fn paths(words: &[&str]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut i = 0;
    while i < words.len() {
        if words[i] == "use" || (words[i] == "in" && i > 1 && words[i - 1] == "(" && words[i - 2] == "pub") {
            let end = if words[i] == "use" { ";" } else { ")" };
            while i < words.len() && words[i] != end {
                i += 1;
            }
            continue;
        }
        let mut path = Vec::new();
        while i < words.len() && is_name(words[i]) {
            path.push(words[i].to_string());
            if words.get(i + 1) == Some(&"::") && words.get(i + 2).is_some_and(|word| is_name(word)) {
                i += 2;
            } else {
                break;
            }
        }
        // What follows on a value or on a type in angle brackets is no module.
        let begins = |at: usize| at == 0 || ![".", "::"].contains(&words[at - 1]);
        if path.len() > 1 && begins(i + 2 - 2 * path.len()) {
            found.push(path);
        }
        i += 1;
    }
    found
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The words and signs of `code`.
pub(crate) fn words(code: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let length = if is_part(first) {
            rest.find(|c| !is_part(c)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        words.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    words
}
