//! Tests that are ignored because they need a program.

use crate::source::files;
use ebbtide_lab::pages::root;

#[test]
fn the_name_of_an_ignored_test_has_the_program_that_ci_looks_for() {
    let ci = std::fs::read_to_string(root().join(".ci/run")).expect(".ci/run");
    for (path, text) in files(&["src", "tests", "cli"], &["rs"]) {
        for rest in text.split("#[ignore = \"needs ").skip(1) {
            let (program, rest) = rest.split_once('"').expect("a reason");
            let (_, rest) = rest.split_once("fn ").expect("a function");
            let (name, _) = rest.split_once('(').expect("a function");
            let filter = program.replace('-', "_");
            let is_found = path.contains(&filter) || name.contains(&filter);
            assert!(is_found, "{path}: {name} does not name {program}");
            let is_run = ci
                .lines()
                .any(|line| line.starts_with(&format!("{program} ")));
            assert!(is_run, "{path}: .ci/run does not look for {program}");
        }
    }
}
