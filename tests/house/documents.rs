//! Links, anchors, commands and blocks of code in the documents.
//!
//! `cargo test --doc` compiles the Rust blocks, `.ci/docs` runs the `sh` blocks, and a test of the
//! command checks the flags.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ebbtide_lab::pages::{Page, pages, root, walk};

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
            if let Err(what) = check_cargo(&command[at..]) {
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
            "--manifest-path" | "--path" => {
                let path = words.next().ok_or("a path is missing")?;
                is_there(&root().join(path), path)?;
                continue;
            }
            "--profile" | "--features" | "-p" => {
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
    let is_known = |part: &str| names.iter().any(|name| name.contains(part));
    let unknown = |filter: &&&str| !filter.split("::").all(is_known);
    match filters.iter().find(unknown).filter(|_| is_test) {
        Some(filter) => Err(format!("no test is named like {filter}")),
        None => Ok(()),
    }
}

fn is_there(path: &Path, name: &str) -> Result<(), String> {
    path.exists()
        .then_some(())
        .ok_or_else(|| format!("no {name}"))
}

/// Returns the files of a test, bench or example of the library or the command.
fn files_of(folder: &str, name: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for package in ["", "cli"] {
        let base = root().join(package).join(folder);
        let single = base.join(format!("{name}.rs"));
        if single.is_file() || base.join(name).join("main.rs").is_file() {
            files.extend(single.is_file().then_some(single));
            walk(&base.join(name), "rs", &mut files);
        }
    }
    files
}

/// Returns the names of the functions of a file, and of the modules that hold them.
fn tests_in(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).expect("a readable file");
    let functions = text.split("fn ").skip(1).filter_map(|rest| {
        let end = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_')?;
        Some(rest[..end].to_owned())
    });
    let modules = file.strip_prefix(root()).expect("below the root").iter();
    let modules = modules.map(|part| part.to_string_lossy().replace(".rs", ""));
    functions.chain(modules).collect()
}

#[test]
fn every_rust_block_is_compiled_or_quoted() {
    let crate_root = fs::read_to_string(root().join("src/lib.rs")).expect("the crate's root");
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for page in pages() {
        let is_tested = crate_root.contains(&format!("include_str!(\"../{}\")", page.name()));
        for (mark, block) in page.fences() {
            if mark.starts_with("rust") && !is_tested {
                let mut files = Vec::new();
                walk(&page.path.with_file_name(""), "rs", &mut files);
                let mut texts = files
                    .iter()
                    .map(|file| fs::read_to_string(file).expect("code"));
                let is_quoted = |text: String| words(&text).contains(&words(block));
                assert!(texts.any(is_quoted), "{}: {block}", page.name());
            }
        }
    }
}

#[test]
fn every_public_name_in_the_documents_exists() {
    let mut files = Vec::new();
    walk(&root().join("src"), "rs", &mut files);
    let texts = files
        .iter()
        .map(|file| fs::read_to_string(file).expect("code"));
    let code = texts.collect::<Vec<_>>().concat();
    let declared = declared(&code);
    let mut unknown = Vec::new();
    for mut page in pages() {
        if page.name() == "CHANGELOG.md" {
            continue; // it has the earlier names
        }
        if page.name() == "docs/coming-from.md" {
            // The first column has the names of others.
            let second = |line: &str| line.splitn(3, '|').last().unwrap_or_default().to_owned();
            page.text = page.text.lines().map(|line| second(line) + "\n").collect();
        }
        for name in page.commands() {
            let path = name.split(['(', '?']).next().unwrap_or_default();
            let parts: Vec<_> = path.split("::").collect();
            let is_word = |part: &str| part.chars().all(|c| c.is_alphanumeric() || c == '_');
            let &[.., of, member] = &parts[..] else {
                continue;
            };
            if of.starts_with(char::is_uppercase)
                && parts.iter().all(|part| is_word(part))
                && !(declared.contains(of) && declared.contains(member))
            {
                unknown.push(format!("{}: `{name}`", page.name()));
            }
        }
    }
    assert!(unknown.is_empty(), "not in src:\n{}", unknown.join("\n"));
}

/// Returns the names of types, functions and variants.
fn declared(code: &str) -> BTreeSet<&str> {
    let is_other = |letter: char| !letter.is_alphanumeric() && letter != '_';
    let words: Vec<_> = code
        .split(is_other)
        .filter(|word| !word.is_empty())
        .collect();
    let declares = |word: &str| ["struct", "enum", "trait", "type", "fn"].contains(&word);
    let after = words.windows(2).filter(|pair| declares(pair[0]));
    let lines = code.lines().filter_map(|line| line.strip_prefix("    "));
    let variants = lines.filter_map(|line| line.split(is_other).next());
    after.map(|pair| pair[1]).chain(variants).collect()
}

#[test]
fn every_path_in_the_documents_exists() {
    let mut missing = Vec::new();
    for page in pages() {
        if page.name().contains('/') && !page.name().starts_with("docs/") {
            continue;
        }
        for path in page.commands() {
            let is_path = |letter: char| letter.is_alphanumeric() || "/._-".contains(letter);
            let folders = [
                "benches/",
                "cli/",
                "examples/",
                "fuzz/",
                "scripts/",
                "src/",
                "tests/",
            ];
            let begins = folders.iter().any(|folder| path.starts_with(folder));
            if begins && path.chars().all(is_path) && !root().join(&path).exists() {
                missing.push(format!("{}: {path}", page.name()));
            }
        }
    }
    assert!(missing.is_empty(), "no such path:\n{}", missing.join("\n"));
}

#[test]
fn the_architecture_has_the_states_and_functions_of_the_code() {
    let page = Page::read(&root().join("docs/architecture.md"));
    let read = |path: &str| fs::read_to_string(root().join(path)).expect("a file");
    let connection = read("src/engine/connection/mod.rs");
    let rows = connection
        .lines()
        .filter_map(|line| line.strip_prefix("//! "));
    let rows: Vec<_> = rows.filter(|row| row.starts_with('|')).collect();
    assert!(!rows.is_empty(), "the module of a connection has no table");
    for row in rows {
        assert!(page.text.contains(row), "docs/architecture.md has no {row}");
    }
    for row in page.text.lines().filter(|line| line.starts_with("| ")) {
        let spans: Vec<_> = row.split('`').skip(1).step_by(2).collect();
        let is_file = |span: &&&str| span.ends_with(".rs");
        let Some(file) = spans.iter().find(is_file) else {
            continue;
        };
        for function in spans.iter().filter(|span| !span.contains('/')) {
            let is_there = read(file).contains(&format!("fn {function}"));
            assert!(is_there, "{file} has no {function}");
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
