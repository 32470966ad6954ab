//! An attribute for tests that need a program or a right which a machine may lack.

use proc_macro::{TokenStream, TokenTree};
use std::io::{copy, sink};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

/// How long a check may take before its need counts as not met.
const LIMIT: Duration = Duration::from_secs(30);

/// Ignores a test, with the reason, where a shell command fails: `#[needs("curl", "curl -V")]`. The
/// attribute stands above `#[test]`.
///
/// The command runs when the test is compiled. `cargo test -- --ignored` runs a test whose need has
/// been met since.
#[proc_macro_attribute]
pub fn needs(arguments: TokenStream, test: TokenStream) -> TokenStream {
    let literal = |token| match token {
        TokenTree::Literal(literal) => Some(literal.to_string().trim_matches('"').to_owned()),
        _ => None,
    };
    let literals: Vec<String> = arguments.into_iter().filter_map(literal).collect();
    let [need, check] = &literals[..] else {
        panic!("a need and a shell command expected: {literals:?}");
    };
    if is_met(check) {
        return test;
    }
    let ignore: TokenStream = format!("#[ignore = \"needs {need}\"]").parse().unwrap();
    ignore.into_iter().chain(test).collect()
}

/// Returns whether a command succeeds in time. The end of its output is the event to wait for.
fn is_met(check: &str) -> bool {
    let mut shell = Command::new("sh");
    shell.args(["-c", check]).stdin(Stdio::null());
    shell.stdout(Stdio::piped()).stderr(Stdio::null());
    let Ok(mut shell) = shell.spawn() else {
        return false;
    };
    let mut output = shell.stdout.take().expect("it is piped");
    let (tell, ended) = channel();
    thread::spawn(move || tell.send(copy(&mut output, &mut sink()).is_ok()));
    let in_time = ended.recv_timeout(LIMIT).is_ok();
    if !in_time {
        let _ = shell.kill();
    }
    shell.wait().is_ok_and(|status| in_time && status.success())
}
