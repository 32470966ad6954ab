//! Imports point one way: down the list of the layers, and never in a circle between files.
//!
//! A path counts for the file that defines what it names, also where another module re-exports it.

use std::collections::{BTreeMap, BTreeSet};

use crate::only_known;
use crate::source::{before_tests, code, files};

/// The parts of the library from below. A part may import from its own row and from earlier rows.
const LAYERS: &[&[&str]] = &[
    &["tick", "peer", "error", "list", "sys/errno", "sys/retry"],
    &["date", "h1", "tracker"],
    &["timeouts"],
    &["drain"],
    &["sys"],
    &["app"],
    &["engine", "sse", "websocket"],
    &["sys/unix", "sys/delivered", "sys/signals"],
    &["sys/listen"],
    &["sys/real", "sys/sim"],
    &["sys/tls"],
    &["server"],
    &["lib"],
];

type Path = Vec<String>;

/// The files of a crate by module, what each imports, and what its names stand for.
struct Crate {
    files: BTreeMap<Path, String>,
    imports: Vec<(Path, Path)>,
    names: BTreeMap<Path, Path>,
}

#[test]
fn the_library_imports_down_its_layers() {
    let library = Crate::read("src");
    let mut faults = Vec::new();
    for (from, to) in library.edges() {
        let (upper, lower) = (layer(from), layer(to));
        if lower > upper {
            faults.push(format!("{from} -> {to}"));
        }
    }
    only_known("layer", faults);
    for part in LAYERS.iter().copied().flatten() {
        let exists = library.files.values().any(|file| covers(part, file));
        assert!(exists, "{part} is in the layers and nowhere else");
    }
}

#[test]
fn no_import_goes_in_a_circle() {
    let mut faults = Vec::new();
    for root in ["src", "cli/src"] {
        let read = Crate::read(root);
        let edges = read.edges();
        for (from, to) in &edges {
            if reachable(&edges, to).contains(from) {
                println!("in a circle: {from} -> {to}");
                faults.push((*from).to_owned());
            }
        }
    }
    only_known("circle", faults);
}

/// Returns the row of the longest part that a file belongs to.
fn layer(file: &str) -> usize {
    let rows = LAYERS.iter().enumerate();
    let rows = rows.filter_map(|(row, parts)| {
        let part = parts.iter().find(|part| covers(part, file))?;
        Some((part.len(), row))
    });
    let longest = rows.max();
    longest
        .unwrap_or_else(|| panic!("{file} has no row in the layers"))
        .1
}

fn covers(part: &str, file: &str) -> bool {
    let path = file
        .strip_prefix("src/")
        .and_then(|path| path.strip_prefix(part));
    path.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

fn reachable<'a>(edges: &BTreeSet<(&'a str, &'a str)>, from: &'a str) -> BTreeSet<&'a str> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(file) = open.pop() {
        if reached.insert(file) {
            open.extend(
                edges
                    .iter()
                    .filter(|(from, _)| *from == file)
                    .map(|(_, to)| *to),
            );
        }
    }
    reached
}

impl Crate {
    fn read(root: &str) -> Self {
        let texts: Vec<_> = files(&[root], &["rs"])
            .into_iter()
            .filter(|(path, _)| !path.ends_with("tests.rs"))
            .map(|(path, text)| (module(root, &path), path, text))
            .collect();
        let files = texts
            .iter()
            .map(|(module, path, _)| (module.clone(), path.clone()))
            .collect();
        let (imports, names) = (Vec::new(), BTreeMap::new());
        let mut read = Self {
            files,
            imports,
            names,
        };
        for (module, _, text) in texts {
            read.walk(&module, &words(&without_tests(&code(before_tests(&text)))));
        }
        read
    }

    /// Returns which file imports from which other.
    fn edges(&self) -> BTreeSet<(&str, &str)> {
        let edges = self.imports.iter().filter_map(|(from, path)| {
            let to = self.definer(path.clone())?;
            Some((self.files[from].as_str(), to))
        });
        edges.filter(|(from, to)| from != to).collect()
    }

    /// Returns the file that defines what a path names.
    fn definer(&self, mut path: Path) -> Option<&str> {
        for _ in 0..8 {
            let known = (1..=path.len()).find_map(|n| Some((n, self.names.get(&path[..n])?)));
            let Some((n, target)) = known.filter(|(n, target)| target[..] != path[..*n]) else {
                break;
            };
            path = [target, &path[n..]].concat();
        }
        let module = (0..=path.len())
            .rev()
            .find_map(|n| self.files.get(&path[..n]));
        module.map(String::as_str)
    }

    fn walk(&mut self, module: &Path, words: &[&str]) {
        let (mut at, mut uses, mut exports) = (0, false, false);
        while at < words.len() {
            let before = if at == 0 { "" } else { words[at - 1] };
            match words[at] {
                "use" => (uses, exports) = (true, matches!(before, "pub" | ")")),
                ";" => uses = false,
                _ if matches!(before, "::" | ".") || words.get(at + 1) != Some(&"::") => {}
                first => {
                    let child = [&module[..], &[first.to_owned()]].concat();
                    let start = match first {
                        "crate" => Some(Vec::new()),
                        "self" => Some(module.clone()),
                        "super" => Some(module[..module.len().saturating_sub(1)].to_vec()),
                        _ => self.files.contains_key(&child).then_some(child),
                    };
                    if let Some(start) = start {
                        let mut paths = Vec::new();
                        at = tree(words, at + 1, start, &mut paths);
                        for (path, name) in paths {
                            if uses {
                                let name = [&module[..], &[name]].concat();
                                self.names.insert(name, path.clone());
                            }
                            if !(uses && exports) {
                                self.imports.push((module.clone(), path));
                            }
                        }
                        continue;
                    }
                }
            }
            at += 1;
        }
    }
}

/// Reads the rest of a path behind `start`, and returns where it ends. Each path gets the name under
/// which a `use` imports it.
fn tree(words: &[&str], mut at: usize, start: Path, paths: &mut Vec<(Path, String)>) -> usize {
    let mut path = start;
    while words.get(at) == Some(&"::") {
        match words.get(at + 1) {
            Some(&"{") => {
                at += 2;
                while words[at] != "}" {
                    match words[at] {
                        "," => at += 1,
                        word => {
                            let mut next = path.clone();
                            match word {
                                "self" => {}
                                "super" => drop(next.pop()),
                                _ => next.push(word.to_owned()),
                            }
                            at = tree(words, at + 1, next, paths);
                        }
                    }
                }
                return at + 1;
            }
            Some(&"super") => drop(path.pop()),
            Some(word) if word.starts_with(|c: char| c.is_alphabetic() || c == '_') => {
                path.push((*word).to_owned());
            }
            _ => return at + 1,
        }
        at += 2;
    }
    let mut name = path.last().cloned().unwrap_or_default();
    if words.get(at) == Some(&"as") {
        name = words[at + 1].to_owned();
        at += 2;
    }
    paths.push((path, name));
    at
}

/// Returns the module that a file is, from the root of its crate.
fn module(root: &str, file: &str) -> Path {
    let path = file
        .strip_prefix(root)
        .unwrap()
        .strip_suffix(".rs")
        .unwrap();
    let names = path
        .split('/')
        .filter(|name| !matches!(*name, "" | "mod" | "lib"));
    names.map(str::to_owned).collect()
}

fn words(code: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let name = |c: char| c.is_alphanumeric() || c == '_';
        let length = match first {
            ':' if rest.starts_with("::") => 2,
            _ if name(first) => rest.find(|c| !name(c)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        words.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    words
}

/// Returns code without the items that only tests and the documentation compile.
fn without_tests(code: &str) -> String {
    let mut parts = code.split("#[cfg(");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let only = ["test)", "doc)", "any(test", "all(test", "any(doc"];
        if !only.iter().any(|start| part.starts_with(start)) {
            kept += part;
            continue;
        }
        let mut depth = 0;
        let end = part[part.find(']').unwrap()..].find(|c| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            depth == 0 && matches!(c, ';' | '}')
        });
        kept += end.map_or("", |end| &part[part.find(']').unwrap() + end + 1..]);
    }
    kept
}

#[test]
fn a_path_counts_for_the_file_that_defines_what_it_names() {
    let mut read = Crate {
        files: ["", "a", "b", "b::c"]
            .map(|name| {
                (
                    module("", &format!("{name}.rs").replace("::", "/")),
                    name.to_owned(),
                )
            })
            .into(),
        imports: Vec::new(),
        names: BTreeMap::new(),
    };
    let walk = |read: &mut Crate, module: &str, text: &str| {
        let module: Path = module
            .split("::")
            .filter(|n| !n.is_empty())
            .map(str::to_owned)
            .collect();
        read.walk(&module, &words(&without_tests(text)));
    };
    walk(&mut read, "", "pub use a::{One, Two as Deux};");
    walk(
        &mut read,
        "b",
        "pub(crate) use self::c::See; #[cfg(test)] use crate::a; fn b() { }",
    );
    walk(
        &mut read,
        "b::c",
        "use crate::{One, a::{self}}; use super::super::Deux;",
    );
    walk(&mut read, "a", "fn f(x: crate::b::See) { }");
    let edges: Vec<_> = read.edges().into_iter().collect();
    assert_eq!(edges, [("a", "b::c"), ("b::c", "a")]);
}
