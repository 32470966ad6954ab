//! Imports point one way: every path in `src/**` is held against the table of the layers.
//!
//! The table reads like the design: one row for each module, with what it may name of this crate,
//! of other crates, and whether it may read the clock. A file without a row fails, and so does one
//! of more than 500 lines before its tests. A new module is a new row.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[path = "layers/reader.rs"]
mod reader;

/// What one module, with those below it that have no row of their own, may name.
struct Layer {
    name: &'static str,
    /// Modules of this crate, besides itself.
    modules: &'static [&'static [&'static str]],
    /// Crates, besides `std`.
    crates: &'static [&'static str],
    /// Whether it may name `Instant` and `SystemTime`.
    clock: bool,
}

/// ```text
/// tick, peer, list ← {h1, tracker, drain} ← sys (a trait) ← engine
///     ← {sys::real, sys::tls, sys::sim} ← server
/// ```
const LAYERS: &[Layer] = &[
    layer("tick", &[], &[]),
    layer("peer", &[], &[]),
    layer("date", &[&["tick"]], &[]),
    layer("h1", &[], &["httparse", "memchr"]),
    layer("list", &[], &["slab"]),
    layer("tracker", &[&["tick", "list"]], &["slab"]),
    layer("drain", &[&["tick", "tracker"]], &[]),
    layer("error", &[], &[]),
    layer("app", &[CORE, &["error"]], &["log", "serde", "serde_json"]),
    layer("sse", &[CORE, FACE], &["slab"]),
    layer("websocket", &[CORE, FACE], &["sha1_smol", "log"]),
    layer("sys", &[&["tick", "tracker", "peer"]], &[]),
    layer("engine", &[CORE, FACE, &["sys"]], &["slab", "log"]),
    Layer {
        name: "sys::real",
        modules: &[
            SYSTEM,
            &["sys::listen", "sys::signals", "sys::delivered", "sys::unix"],
        ],
        crates: &["mio", "signal_hook", "signal_hook_mio", "socket2", "log"],
        clock: true,
    },
    layer(
        "sys::listen",
        &[SYSTEM, &["sys::unix"]],
        &["mio", "socket2", "log"],
    ),
    layer("sys::unix", &[SYSTEM], &["socket2", "log"]),
    layer(
        "sys::signals",
        &[SYSTEM],
        &["signal_hook", "signal_hook_mio"],
    ),
    layer("sys::delivered", &[SYSTEM], &["socket2", "log"]),
    layer("sys::tls", &[SYSTEM, &["sys::real"]], &["rustls", "log"]),
    layer("sys::sim", &[SYSTEM], &[]),
    Layer {
        name: "server",
        modules: &[
            CORE,
            FACE,
            &[
                "sys",
                "engine",
                "sys::real",
                "sys::signals",
                "sys::listen",
                "sys::tls",
            ],
        ],
        crates: &["log"],
        clock: true, // for threads that wait
    },
    anything("cli"),
    anything("lib"),
];

const CORE: &[&str] = &["tick", "peer", "date", "h1", "list", "tracker", "drain"];
const FACE: &[&str] = &["app", "error"];
const SYSTEM: &[&str] = &["sys", "tick", "tracker", "peer", "error"];

const fn layer(
    name: &'static str,
    modules: &'static [&'static [&'static str]],
    crates: &'static [&'static str],
) -> Layer {
    Layer {
        name,
        modules,
        crates,
        clock: false,
    }
}

/// At the top: may name all there is.
const fn anything(name: &'static str) -> Layer {
    Layer {
        name,
        modules: &[ANYTHING],
        crates: ANYTHING,
        clock: true,
    }
}

const ANYTHING: &[&str] = &["*"];

/// The most lines of a file before its tests.
const CEILING: usize = 500;

#[test]
fn every_file_keeps_to_its_layer() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dependencies = dependencies(&fs::read_to_string(root.join("Cargo.toml")).unwrap());
    let mut files = Vec::new();
    collect(&root.join("src"), "", &mut files);
    collect(&root.join("cli/src"), "cli/", &mut files);
    assert!(files.len() >= 5, "src was not found");
    let faults: Vec<String> = files
        .iter()
        .flat_map(|(name, text)| check(name, text, &dependencies))
        .collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// Every Rust file below `dir`, as `(path, text)`, with the path as it is below `src`.
fn collect(dir: &Path, prefix: &str, files: &mut Vec<(String, String)>) {
    let mut entries: Vec<_> = fs::read_dir(dir).unwrap().map(Result::unwrap).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), &format!("{name}/"), files);
        } else if name.ends_with(".rs") {
            files.push((name, fs::read_to_string(entry.path()).unwrap()));
        }
    }
}

/// The names that the crate's dependencies have in code.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.contains("dependencies]") && !line.contains("dev-");
        } else if let Some((name, _)) = line.split_once('=').filter(|_| inside) {
            names.insert(name.trim().replace('-', "_"));
        }
    }
    names
}

/// What is wrong with one file: `src/file:line: rule`.
fn check(file: &str, text: &str, dependencies: &BTreeSet<String>) -> Vec<String> {
    let at = |line: usize, rule: String| format!("src/{file}:{line}: {rule}");
    let mut faults = Vec::new();
    let code = text.find("#[cfg(test)]\nmod tests").unwrap_or(text.len());
    let lines = text[..code].lines().count();
    if lines > CEILING {
        let rule = format!("{lines} lines before its tests, of at most {CEILING}");
        faults.push(at(CEILING + 1, rule));
    }
    let module = module_of(file);
    if let Some(layer) = layer_of(&module) {
        for (line, path) in reader::paths(text, &module) {
            let rules = layer.objections(&path, dependencies);
            faults.extend(rules.into_iter().map(|rule| at(line, rule)));
        }
    } else {
        let module = module.join("::");
        faults.push(at(
            1,
            format!("no row in the table of the layers for `{module}`"),
        ));
    }
    faults
}

const CLOCK: &[&str] = &["Instant", "SystemTime"];

impl Layer {
    /// Why this layer may not name that path, in words; empty if it may.
    fn objections(&self, path: &[String], dependencies: &BTreeSet<String>) -> Vec<String> {
        let (name, named) = (self.name, path.join("::"));
        let mut rules = Vec::new();
        let clock = path.iter().find(|word| CLOCK.contains(&word.as_str()));
        if let Some(word) = clock.filter(|_| !self.clock) {
            rules.push(format!("`{name}` may not read the clock: {word}"));
        }
        let first = path[0].as_str();
        if first == "crate" || first == "ebbtide" {
            match layer_of(&path[1..]).map(|target| target.name) {
                Some(target) if target == name || self.may_name(target) => {}
                None if self.may_name("lib") => {}
                Some(target) => {
                    rules.push(format!("`{name}` may not import `{target}`: {named}"));
                }
                None => rules.push(format!(
                    "`{name}` must name the module that has it: {named}"
                )),
            }
        } else if dependencies.contains(first) && !self.may_use(first) {
            rules.push(format!("`{name}` may not use the crate `{first}`"));
        }
        rules
    }

    fn may_use(&self, name: &str) -> bool {
        self.crates == ANYTHING || self.crates.contains(&name)
    }

    fn may_name(&self, name: &str) -> bool {
        let mut modules = self.modules.iter().copied().flatten();
        modules.any(|module| *module == name || *module == "*")
    }
}

/// The module that a file is, below the crate: `sys/mod.rs` is `sys`.
fn module_of(file: &str) -> Vec<String> {
    let path = file.strip_suffix(".rs").unwrap_or(file);
    let path = path.strip_suffix("/mod").unwrap_or(path);
    path.split('/').map(str::to_owned).collect()
}

/// The row for a path below the crate: the one that names most of it.
fn layer_of(path: &[String]) -> Option<&'static Layer> {
    let covers = |layer: &&Layer| {
        let mut names = layer.name.split("::").enumerate();
        names.all(|(n, name)| path.get(n).is_some_and(|part| part == name))
    };
    LAYERS
        .iter()
        .filter(covers)
        .max_by_key(|layer| layer.name.len())
}

// The checker itself.

/// `layers/samples.txt`: after `==` a file and its code, after `!!` what must be said of it.
#[test]
fn the_checker_says_what_is_wrong_and_nothing_else() {
    let manifest = "[package]\nversion = \"1\"\n\
                    [dependencies]\nmio = \"1\"\nslab = \"1\"\nlog = \"1\"\nsocket2 = \"1\"\n\
                    httparse = \"1\"\nmemchr = \"1\"\nsignal-hook = \"1\"\nclap = \"1\"\n\
                    [dev-dependencies]\nnix = \"1\"\n";
    let dependencies = dependencies(manifest);
    assert_eq!(dependencies.len(), 8);
    assert!(dependencies.contains("signal_hook"));
    for sample in include_str!("layers/samples.txt").split("== ").skip(1) {
        let (file, rest) = sample.split_once('\n').unwrap();
        let (expected, code): (Vec<_>, Vec<_>) = rest.lines().partition(|l| l.starts_with("!! "));
        let faults = check(file, &code.join("\n"), &dependencies);
        let agree = faults.len() == expected.len()
            && faults
                .iter()
                .zip(&expected)
                .all(|(fault, part)| fault.contains(&part[3..]));
        assert!(agree, "{sample}{faults:#?}");
    }
}

#[test]
fn the_checker_counts_lines_before_the_tests() {
    let none = BTreeSet::new();
    let tests = "#[cfg(test)]\nmod tests {}\n".to_owned() + &"\n".repeat(900);
    let full = "// line\n".repeat(500) + &tests;
    assert_eq!(check("tick.rs", &full, &none), [""; 0]);
    let over = check("tick.rs", &("\n".to_owned() + &full), &none);
    assert_eq!(
        over,
        ["src/tick.rs:501: 501 lines before its tests, of at most 500"]
    );
}

#[test]
fn the_table_names_each_module_once_and_only_what_it_has() {
    let names: BTreeSet<&str> = LAYERS.iter().map(|layer| layer.name).collect();
    assert_eq!(names.len(), LAYERS.len());
    for layer in LAYERS {
        for module in layer.modules.iter().copied().flatten() {
            assert!(*module == "*" || names.contains(module), "{module}");
        }
    }
}
