//! Phrases that make a reader stop. They are banned from comments, messages, names and documents.

use crate::only_known;
use crate::source::files;

const BANNED: &[&str] = &[
    "as a rule",
    "be it",
    "but for",
    "it is they",
    "it is he",
    "so many",
    "who is",
    "whoever",
    "whomever",
    "whosoever",
];

#[test]
fn no_text_has_a_banned_phrase() {
    let extensions = ["rs", "md", "toml", "txt", "sh"];
    let mut places = vec!["src", "cli", "tests", "examples", "benches", "fuzz", "docs"];
    places.extend([
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
    ]);
    places.extend(["Cargo.toml", ".ci/run", ".ci/docs"]);
    let mut faults = Vec::new();
    for (path, text) in files(&places, &extensions) {
        if path != "tests/house/prose.rs" && path != "tests/house/known.txt" {
            for phrase in banned(&text) {
                println!("{path}: {phrase}");
                faults.push(path.clone());
            }
        }
    }
    only_known("prose", faults);
}

/// Returns the banned phrases of a text, also where a phrase goes over the end of a line.
fn banned(text: &str) -> impl Iterator<Item = &'static str> {
    let words = |text: &str| {
        let split = text.split(|c: char| !c.is_alphanumeric() && c != '\'');
        let words: Vec<_> = split.filter(|word| !word.is_empty()).collect();
        format!(" {} ", words.join(" ").to_lowercase())
    };
    let text = words(text);
    BANNED
        .iter()
        .copied()
        .filter(move |phrase| text.contains(&format!(" {phrase} ")))
}

#[test]
fn a_phrase_is_found_in_comments_and_names() {
    let found = |text| banned(text).collect::<Vec<_>>();
    assert_eq!(found("/// All but\n/// for one."), ["but for"]);
    assert_eq!(found("fn somebody_who_is_late()"), ["who is"]);
    assert_eq!(found("the robe it wears, but forward"), [""; 0]);
}
