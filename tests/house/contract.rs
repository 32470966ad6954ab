//! The drain contract and its tests name each other.

use std::collections::BTreeSet;

use crate::source::{code, files};

#[test]
fn every_row_has_a_test_and_every_test_named_for_a_row_has_one() {
    let contract = files(&["docs/drain-contract.md"], &["md"]);
    let rows = contract[0]
        .1
        .lines()
        .filter_map(|line| line.strip_prefix("| `r")?.split('`').next());
    let rows: BTreeSet<String> = rows.map(str::to_owned).collect();
    let mut tested = BTreeSet::new();
    for (path, text) in files(&["src", "tests", "cli/src", "cli/tests"], &["rs"]) {
        for name in code(&text).split("fn r").skip(1) {
            // `r05_r06_half_a_head` stands for two rows.
            let numbers = format!("_r{name}");
            let mut numbers = numbers.split("_r").skip(1).map(|part| part.split_once('_'));
            while let Some(Some((number, _))) = numbers.next() {
                if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
                    break;
                }
                assert!(
                    rows.contains(number),
                    "{path}: the contract has no row r{number}"
                );
                tested.insert(number.to_owned());
            }
        }
    }
    assert_eq!(
        rows.len(),
        33,
        "a row was not read, or the contract has grown"
    );
    let untested: Vec<_> = rows.difference(&tested).collect();
    assert!(untested.is_empty(), "rows without a test: {untested:?}");
}
