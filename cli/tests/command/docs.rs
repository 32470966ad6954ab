//! The commands and flags that the documentation names exist.

use std::collections::BTreeSet;

use ebbtide_lab::command::served::run;
use ebbtide_lab::pages::pages;

#[test]
fn every_flag_that_the_documentation_names_is_in_the_help() {
    let commands = ["serve", "ctl", "probe"].map(|command| (command, flags_of(command)));
    let mut unknown = Vec::new();
    for page in pages() {
        let name = page.name();
        let is_about_the_command = ["README.md", "SECURITY.md", "examples/deploy/README.md"]
            .contains(&&*name)
            || name.starts_with("docs/");
        for line in page.commands() {
            let words: Vec<_> = line.split_whitespace().collect();
            let called = words.windows(2).position(|pair| {
                matches!(pair[0].rsplit('/').next(), Some("ebbtide" | "--"))
                    && commands.iter().any(|(command, _)| *command == pair[1])
            });
            let (known, words): (BTreeSet<_>, _) = match called {
                Some(at) => {
                    let mut of_it = commands
                        .iter()
                        .filter(|(command, _)| *command == words[at + 1]);
                    (
                        of_it.next().expect("a command").1.iter().collect(),
                        &words[at + 2..],
                    )
                }
                None if is_about_the_command && line.starts_with("--") => (
                    commands.iter().flat_map(|(_, flags)| flags).collect(),
                    &words[..],
                ),
                None => continue,
            };
            // What follows `--` is the command of a probe.
            let own = words.iter().take_while(|word| **word != "--");
            for flag in own.filter_map(|word| flag(word)) {
                if !known.contains(&flag) {
                    unknown.push(format!("{name}: {flag} in `{line}`"));
                }
            }
        }
    }
    assert!(
        unknown.is_empty(),
        "not in the help:\n{}",
        unknown.join("\n")
    );
}

#[test]
fn every_flag_of_serve_for_stopping_is_in_the_table() {
    let running = pages()
        .into_iter()
        .find(|page| page.name() == "docs/running.md");
    let running = running.expect("docs/running.md").text;
    let help = help(&["serve"]);
    let (_, stopping) = help.split_once("\nStopping:\n").expect("a section");
    let (stopping, _) = stopping
        .split_once("\nTimeouts:\n")
        .expect("the next section");
    for flag in stopping.split_whitespace().filter_map(flag) {
        assert!(running.contains(&flag), "docs/running.md has no {flag}");
    }
}

/// Returns the flags of a command and of its subcommands.
fn flags_of(command: &str) -> BTreeSet<String> {
    let mut text = help(&[command]);
    if command == "ctl" {
        for ask in ["status", "connections", "shutdown", "cut", "wait"] {
            text += &help(&[command, ask]);
        }
    }
    text.split_whitespace().filter_map(flag).collect()
}

fn help(command: &[&str]) -> String {
    let done = run(&[command, &["--help"]].concat());
    assert!(done.status.success(), "{command:?} has no help");
    String::from_utf8(done.stdout).expect("text")
}

/// Returns the flag that a word is or begins with: `--drain-delay=8s` is `--drain-delay`.
fn flag(word: &str) -> Option<String> {
    let name = word.strip_prefix("--")?;
    let end = name.find(|letter: char| !letter.is_ascii_lowercase() && letter != '-');
    let name = &name[..end.unwrap_or(name.len())];
    (!name.is_empty()).then(|| format!("--{name}"))
}
