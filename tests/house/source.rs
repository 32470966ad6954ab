//! The files of the repository, and Rust without its comments, strings and tests.

use std::fs;

use ebbtide_lab::pages::{root, walk};

/// Returns the files below some paths of the repository, as `(path, text)`.
pub(crate) fn files(below: &[&str], extensions: &[&str]) -> Vec<(String, String)> {
    let root = root();
    let mut paths = Vec::new();
    for path in below.iter().map(|path| root.join(path)) {
        for extension in extensions {
            walk(&path, extension, &mut paths);
        }
        paths.extend(path.is_file().then_some(path));
    }
    let read = |path: std::path::PathBuf| {
        let below = path.strip_prefix(&root).unwrap().to_str().unwrap();
        (below.to_owned(), fs::read_to_string(&path).unwrap())
    };
    let mut files: Vec<_> = paths.into_iter().map(read).collect();
    files.sort();
    files
}

/// Returns the text before the module of tests.
pub(crate) fn before_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap()
}

/// Returns the code with a blank for every byte of comments, strings and characters.
pub(crate) fn code(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = Vec::with_capacity(bytes.len());
    while let Some(rest) = bytes.get(code.len()..).filter(|rest| !rest.is_empty()) {
        let skipped = match rest {
            [b'/', b'/', ..] => until(rest, 0, b"\n"),
            [b'/', b'*', ..] => until(rest, 2, b"*/") + 2,
            [b'r', b'"', ..] if !follows_a_name(&code) => until(rest, 2, b"\"") + 1,
            [b'r', b'#', b'"', ..] => until(rest, 3, b"\"#") + 2,
            [b'"', ..] => quoted(rest, b'"'),
            [b'\'', b'\\', ..] | [b'\'', _, b'\'', ..] => quoted(rest, b'\''),
            _ => {
                code.push(rest[0]);
                continue;
            }
        };
        let blank = |byte: &u8| if *byte == b'\n' { b'\n' } else { b' ' };
        code.extend(rest.iter().take(skipped).map(blank));
    }
    String::from_utf8(code).unwrap()
}

fn follows_a_name(code: &[u8]) -> bool {
    code.last()
        .is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// Returns the distance to an end that is not before `from`.
fn until(bytes: &[u8], from: usize, end: &[u8]) -> usize {
    let found = bytes[from..]
        .windows(end.len())
        .position(|part| part == end);
    found.map_or(bytes.len(), |at| from + at)
}

/// Returns the length of a string or character, whose backslashes protect what follows.
fn quoted(bytes: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

#[test]
fn only_code_remains() {
    let text = "a // \"b\nc /* d */ \"e\\\"f\" 'g' 'h: '\\'' r\"i\\\" br\"j\" k r#\"l\"m\"#n";
    let words: Vec<_> = code(text).split_whitespace().map(str::to_owned).collect();
    assert_eq!(words, ["a", "c", "'h:", "br", "k", "n"]);
    assert_eq!(code(text).len(), text.len());
}
