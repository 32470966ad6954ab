//! The rules of the house that no compiler checks: sizes, imports, prose, waits, and the drain contract.
//!
//! `known.txt` lists what does not keep to them yet. The list only shrinks: a line that is no longer
//! needed fails the test.

mod contract;
mod documents;
mod imports;
mod prose;
mod sizes;
mod source;
mod waits;

use std::collections::BTreeSet;

/// Compares the faults of one rule with the lines of `known.txt` that begin with the rule's name.
#[track_caller]
fn only_known(rule: &str, faults: impl IntoIterator<Item = String>) {
    let known = include_str!("known.txt").lines();
    let known: BTreeSet<_> = known
        .filter_map(|l| l.strip_prefix(rule)?.strip_prefix(' '))
        .collect();
    let faults: BTreeSet<String> = faults.into_iter().collect();
    let found: BTreeSet<&str> = faults.iter().map(String::as_str).collect();
    let (new, gone): (Vec<_>, Vec<_>) = (
        found.difference(&known).collect(),
        known.difference(&found).collect(),
    );
    assert!(new.is_empty(), "{rule}: {new:#?}");
    assert!(
        gone.is_empty(),
        "{rule}: no longer needed in known.txt: {gone:#?}"
    );
}
