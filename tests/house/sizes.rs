//! The lengths of files and functions.

use crate::only_known;
use crate::source::{before_tests, code, files};

const LINES_OF_A_FILE: usize = 400;
const LINES_OF_A_FUNCTION: usize = 60;

/// Functions that are one table.
const TABLES: &[&str] = &["src/h1/write.rs status_line"];

#[test]
fn no_file_has_more_than_400_lines_before_its_tests() {
    let long = |(path, text): (String, String)| {
        let tests = path.ends_with("/tests.rs");
        let lines = before_tests(&text).lines().count();
        (lines > LINES_OF_A_FILE && !tests).then_some(path)
    };
    let files = files(&["src", "cli/src"], &["rs"]);
    assert!(files.len() > 50, "src was not found");
    only_known("file", files.into_iter().filter_map(long));
}

#[test]
fn no_function_has_more_than_60_lines() {
    let mut long = Vec::new();
    let files = files(&["src", "cli/src"], &["rs"]).into_iter();
    for (path, text) in files.filter(|(path, _)| !path.ends_with("/tests.rs")) {
        let functions = functions(&code(before_tests(&text)));
        let over = functions
            .into_iter()
            .filter(|(_, lines)| *lines > LINES_OF_A_FUNCTION);
        long.extend(over.map(|(name, _)| format!("{path} {name}")));
    }
    long.retain(|function| !TABLES.contains(&function.as_str()));
    only_known("function", long);
}

/// Returns the name of each function with a body, and the lines from its name to its last brace.
fn functions(code: &str) -> Vec<(String, usize)> {
    let mut functions = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let whole = at == 0 || !code.as_bytes()[at - 1].is_ascii_alphanumeric();
        let rest = &code[at..];
        let Some(open) = rest
            .find(['{', ';'])
            .filter(|open| whole && rest[*open..].starts_with('{'))
        else {
            continue;
        };
        let mut depth = 0;
        let end = rest[open..].find(|c| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            depth == 0
        });
        let body = &rest[..open + end.expect("a body ends")];
        let name = body[3..]
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .next()
            .unwrap();
        functions.push((name.to_owned(), body.matches('\n').count() + 1));
    }
    functions
}

#[test]
fn a_function_ends_with_its_brace() {
    let code = "fn a() {\n if b { }\n}\ntrait T { fn c(); fn d() { } }";
    assert_eq!(functions(code), [("a".to_owned(), 3), ("d".to_owned(), 1)]);
}
