//! Links, anchors, commands and blocks of code in the documents.
//!
//! `cargo test --doc` compiles the Rust blocks, `.ci/docs` runs the `sh` blocks, and a test of the
//! command checks the flags.

use std::fs;
use std::path::{Path, PathBuf};

use crate::pages::{Page, pages, root, walk};

#[test]
fn every_relative_link_and_anchor_resolves() {
    let pages = pages();
    let mut broken = Vec::new();
    for page in &pages {
        for link in page.links() {
            if link.contains("://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => page.path.clone(),
                _ => page.path.with_file_name("").join(path),
            };
            let is_there = match (fs::canonicalize(&target), anchor) {
                (Ok(_), "") => true,
                (Ok(target), _) => {
                    let found = pages.iter().find(|page| page.path == target);
                    found.is_some_and(|page| page.anchors().any(|known| known == anchor))
                }
                (Err(_), _) => false,
            };
            if !is_there {
                broken.push(format!("{}: {link}", page.name()));
            }
        }
    }
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
}

#[test]
fn every_named_test_and_bench_exists() {
    let mut missing = Vec::new();
    for page in pages() {
        for command in page.commands() {
            let Some(at) = command.find("cargo ") else {
                continue;
            };
            let is_elsewhere = command.contains("--manifest-path");
            if let Err(what) = check_cargo(&command[at..])
                && !is_elsewhere
            {
                missing.push(format!("{}: `{command}`: {what}", page.name()));
            }
        }
    }
    assert!(missing.is_empty(), "not there:\n{}", missing.join("\n"));
}

/// Checks the names of tests, benches and examples, and that a filter selects at least one test.
fn check_cargo(command: &str) -> Result<(), String> {
    let mut words = command.split_whitespace().skip(2);
    let (mut names, mut filters) = (Vec::new(), Vec::new());
    while let Some(word) = words.next() {
        let folder = match word {
            "--test" => "tests",
            "--bench" => "benches",
            "--example" => "examples",
            "--profile" | "--features" | "-p" | "--manifest-path" | "--path" => {
                words.next();
                continue;
            }
            _ => {
                filters.extend((!word.starts_with('-')).then_some(word));
                continue;
            }
        };
        let name = words.next().ok_or("a name is missing")?;
        let files = files_of(folder, name);
        if files.is_empty() {
            return Err(format!("no {name} in {folder}"));
        }
        names.extend(files.iter().flat_map(|file| tests_in(file)));
    }
    let is_test = command.starts_with("cargo test") && !names.is_empty();
    let unknown = |filter: &&&str| !names.iter().any(|name| name.contains(**filter));
    match filters.iter().find(unknown).filter(|_| is_test) {
        Some(filter) => Err(format!("no test is named like {filter}")),
        None => Ok(()),
    }
}

/// The files of a test, bench or example of the library or the command.
fn files_of(folder: &str, name: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for package in ["", "cli"] {
        let base = root().join(package).join(folder);
        let single = base.join(format!("{name}.rs"));
        files.extend(single.is_file().then_some(single));
        walk(&base.join(name), "rs", &mut files);
    }
    files
}

/// What the tests of a file are named: functions, and the module that the file is.
fn tests_in(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).expect("a readable file");
    let functions = text.split("fn ").skip(1).filter_map(|rest| {
        let end = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_')?;
        Some(rest[..end].to_owned())
    });
    let module = file.file_stem().expect("a name").to_string_lossy();
    functions.chain([module.into_owned()]).collect()
}

#[test]
fn every_rust_block_is_compiled() {
    let crate_root = fs::read_to_string(root().join("src/lib.rs")).expect("the crate's root");
    for page in pages() {
        let is_documentation = page.name() == "README.md" || page.name().starts_with("docs/");
        if is_documentation && page.fences().any(|(mark, _)| mark.starts_with("rust")) {
            let include = format!("include_str!(\"../{}\")", page.name());
            assert!(crate_root.contains(&include), "no doctest {include}");
        }
    }
}

#[test]
fn every_block_of_code_says_what_it_is() {
    const KNOWN: &[&str] = &[
        "rust",
        "rust,no_run",
        "sh",
        "console",
        "text",
        "http",
        "log",
    ];
    for page in pages() {
        for (mark, _) in page.fences() {
            assert!(KNOWN.contains(&mark), "{}: ```{mark}", page.name());
        }
    }
}

#[test]
fn the_readme_fits_and_begins_with_the_first_example() {
    let readme = Page::read(&root().join("README.md"));
    assert!(readme.text.lines().count() <= 180, "README.md is too long");
    let (_, program) = readme.fences().next().expect("a program");
    let example = fs::read_to_string(root().join("examples/hello.rs")).expect("the example");
    assert!(example.contains(program), "examples/hello.rs is another");
}
