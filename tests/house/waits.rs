//! Tests wait for events, and each wait has a limit.

use crate::only_known;
use crate::source::{code, files};

/// Calls that wait for a time, or without a limit for a process, and where they may stand.
const CALLS: &[&str] = &[
    "sleep(",
    "park_timeout(",
    ".spawn()",
    ".output()",
    "wait_with_output(",
];

/// The two homes of processes, which limit each wait, and a server whose slow handler is the
/// subject of a test.
const HOMES: &[&str] = &[
    "tests/lab/src/command/child.rs",
    "tests/needs/src/lib.rs",
    "cli/tests/command/probe/bad.rs",
];

#[test]
fn no_test_sleeps_or_waits_for_a_process_without_a_limit() {
    let mut faults = Vec::new();
    for (path, text) in files(&["tests", "cli/tests"], &["rs"]) {
        let code = code(&text);
        let found = CALLS.iter().filter(|call| code.contains(**call));
        if !HOMES.contains(&path.as_str()) {
            faults.extend(found.map(|call| format!("{path} {call}")));
        }
    }
    only_known("wait", faults);
}
